use super::*;
use crate::crypto::ticket::PREFIX;
use crate::proto::base32;

#[test]
fn a_ticket_survives_its_text() {
    for counted in [false, true] {
        let ticket = make(counted);
        let read: Ticket = ticket.to_string().parse().unwrap();
        assert_eq!(read.to_bytes(), ticket.to_bytes());
        assert_eq!((read.counted, read.founder, read.routing), (counted, ticket.founder, ticket.routing));
        assert_eq!((read.expiry, read.addresses.clone()), (EXPIRY, ticket.addresses.clone()));
        assert_eq!(read.keys().mailbox(), ticket.keys().mailbox());
    }
}

#[test]
fn a_ticket_that_was_wrapped_on_its_way_is_read_all_the_same() {
    let text = make(true).to_string();
    let wrapped: String = text.as_bytes().chunks(60).map(|line| format!("  {}\r\n", str::from_utf8(line).unwrap())).collect();
    assert_eq!(wrapped.parse::<Ticket>().unwrap().to_string(), text);
}

#[test]
fn a_ticket_with_any_character_changed_missing_or_added_is_refused() {
    let text = make(true).to_string();
    for at in 0..text.len() {
        let expected = if at < PREFIX.len() { TicketError::NotATicket } else { TicketError::Damaged };
        let mut changed = text.clone().into_bytes();
        changed[at] = if changed[at] == b'b' { b'c' } else { b'b' };
        assert_eq!(parse(str::from_utf8(&changed).unwrap()), Err(expected), "changed {at}");
        let missing = [&text[..at], &text[at + 1..]].concat();
        assert_eq!(parse(&missing), Err(expected), "missing {at}");
    }
    assert_eq!(parse(&format!("{text}a")), Err(TicketError::Damaged));
    assert_eq!(parse(&text.to_uppercase()), Err(TicketError::NotATicket));
    assert_eq!(parse(""), Err(TicketError::NotATicket));
    assert_eq!(parse(PREFIX), Err(TicketError::Damaged));
    assert_eq!(parse("7-lantern-paprika-walrus"), Err(TicketError::NotATicket));
}

#[test]
fn a_ticket_of_a_later_version_is_named_as_such() {
    let mut fields = make(false).to_bytes();
    fields.truncate(fields.len() - 4);
    fields[0] = 2;
    let sum = crate::proto::signature::hash(&[&fields]);
    fields.extend_from_slice(&sum[..4]);
    let text = format!("{PREFIX}{}", base32::encode(&fields));
    assert_eq!(parse(&text), Err(TicketError::Version { got: 2 }));
}

#[test]
fn a_ticket_holds_one_to_eight_addresses() {
    let with = |addresses: Vec<String>| {
        let founder = founder();
        let routing = founder.routing().public();
        Ticket::new(true, founder.id(), routing, EXPIRY, addresses, &mut Random::counting()).map(|_| ())
    };
    with(vec!["ws://localhost:1".to_owned(); 8]).unwrap();
    for addresses in [vec![], vec!["x".to_owned(); 9], vec![String::new()], vec!["x".repeat(256)]] {
        assert_eq!(with(addresses), Err(TicketError::Addresses));
    }
}

#[test]
fn the_secret_is_in_the_text_and_not_in_what_debug_shows() {
    let ticket = make(true);
    let secret: [u8; 32] = Random::counting().array();
    assert!(ticket.to_bytes().windows(32).any(|window| window == secret));
    let shown = format!("{ticket:?}");
    assert!(!shown.contains(&base32::encode(&secret)[..8]) && !shown.contains("0, 1, 2, 3"));
    assert!(shown.contains("relay.example"));
}

fn make(counted: bool) -> Ticket {
    let founder = founder();
    let addresses = vec!["wss://relay.example:7447#pin".to_owned(), "ws://localhost:7447".to_owned()];
    let routing = founder.routing().public();
    Ticket::new(counted, founder.id(), routing, EXPIRY, addresses, &mut Random::counting()).unwrap()
}

fn parse(text: &str) -> Result<(), TicketError> {
    text.parse::<Ticket>().map(|_| ())
}
