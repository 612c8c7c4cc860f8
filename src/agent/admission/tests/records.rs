use super::*;

#[test]
fn a_record_is_pinned() {
    let ticket = ticket();
    let skills = ["review".to_owned(), "test".to_owned()].into();
    let record = TicketRecord { ticket: ticket.clone(), rights: Rights { skills: Some(skills), ..Rights::default() } };
    let encoded = ticket.to_bytes();
    let mut expected = ticket.expiry.to_be_bytes().to_vec();
    expected.extend((encoded.len() as u16).to_be_bytes());
    expected.extend(encoded);
    expected.extend(b"\x04\x02\x06review\x04test");
    assert_eq!(record.encode().unwrap(), expected);

    let read = TicketRecord::decode(&expected).unwrap();
    assert_eq!(read.ticket.to_string(), ticket.to_string());
    assert_eq!(read.rights, record.rights);
}

#[test]
fn a_record_of_any_skill_names_none() {
    let record = TicketRecord { ticket: ticket(), rights: Rights::default() };
    let bytes = record.encode().unwrap();
    assert_eq!(bytes[bytes.len() - 2..], [0x0c, 0]);
    assert_eq!(TicketRecord::decode(&bytes).unwrap().rights, Rights::default());
}

#[test]
fn a_record_cut_or_continued_is_malformed() {
    let bytes = TicketRecord { ticket: ticket(), rights: Rights::default() }.encode().unwrap();
    for len in 0..bytes.len() {
        assert!(TicketRecord::decode(&bytes[..len]).is_err(), "cut to {len}");
    }
    assert!(TicketRecord::decode(&[&bytes[..], &[0]].concat()).is_err());
}

#[test]
fn the_earlier_expiry_of_a_record_counts() {
    let mut bytes = TicketRecord { ticket: ticket(), rights: Rights::default() }.encode().unwrap().to_vec();
    bytes[..8].copy_from_slice(&START.to_be_bytes());
    assert_eq!(TicketRecord::decode(&bytes).unwrap().ticket.expiry, START);
    bytes[..8].fill(0xff);
    assert_eq!(TicketRecord::decode(&bytes).unwrap().ticket.expiry, ticket().expiry);
}

#[test]
fn an_uncounted_ticket_is_honoured_by_all_admins() {
    let (mut founder, founding, mut admin, membership) = founder_and_admin();
    let ticket = founder.create(&founding, terms(None), at(1)).unwrap();
    let records: Vec<_> = founder.invites.records(at(1)).collect();
    assert_eq!(records.len(), 1, "not the ticket that makes admins");
    let record = TicketRecord::decode(&records[0].encode().unwrap()).unwrap();
    let adopted = admin.adopt(&membership, record.clone(), &founding, at(2)).unwrap();
    assert_eq!(adopted, Some(ticket.keys().mailbox()));
    assert_eq!(admin.adopt(&membership, record, &founding, at(2)).unwrap(), None, "it is known");

    let joined = Party::new(3).join(&ticket, &mut admin, &membership, at(3)).unwrap();
    assert_eq!(joined.cards[0].identity, admin.identity.id());
    assert_eq!(admin.invites.records(at(3)).count(), 1, "it is passed on from there too");
}

#[test]
fn a_counted_a_revoked_or_an_expired_ticket_is_not_passed_on() {
    let (mut founder, founding) = Party::founder();
    founder.create(&founding, terms(Some(5)), at(0)).unwrap();
    let revoked = founder.create(&founding, terms(None), at(0)).unwrap();
    founder.invites.revoke(&revoked.keys().mailbox(), at(0));
    assert_eq!(founder.invites.records(at(0)).count(), 0);
    founder.create(&founding, terms(None), at(0)).unwrap();
    assert_eq!(founder.invites.records(at(0)).count(), 1);
    assert_eq!(founder.invites.records(at(601)).count(), 0);
}

#[test]
fn a_record_that_is_of_no_use_is_refused() {
    let (mut founder, founding, mut admin, membership) = founder_and_admin();
    let uncounted = founder.create(&founding, terms(None), at(0)).unwrap();
    let counted = founder.create(&founding, terms(Some(1)), at(0)).unwrap();
    let record = |ticket: &Ticket, rights| TicketRecord { ticket: ticket.clone(), rights };
    let mut adopt = |record, from: &Membership, now| admin.adopt(&membership, record, from, now).unwrap_err();

    assert_eq!(adopt(record(&counted, Rights::default()), &founding, at(1)), InviteError::Counted);
    assert_eq!(adopt(record(&uncounted, Rights::default()), &founding, at(600)), InviteError::Expired);
    let with_terminals = Rights { terminals: true, ..Rights::default() };
    let refused = adopt(record(&uncounted, with_terminals), &founding, at(1));
    assert_eq!(refused, InviteError::NotPermitted { right: "terminals" }, "the admin itself lacks it");

    let other = FounderKey::from_seed([66; 32]);
    let mut foreign = Party::new(9);
    let elsewhere = Membership::found(&other, &foreign.identity, "other", foreign.long_term.public(), at(0)).unwrap();
    foreign.founder = Some(other);
    let ticket = foreign.create(&elsewhere, terms(None), at(0)).unwrap();
    assert_eq!(adopt(record(&ticket, Rights::default()), &founding, at(1)), InviteError::OtherSwarm);
}

#[test]
fn a_record_from_whom_may_not_give_its_rights_is_refused() {
    let (mut founder, founding, _, membership) = founder_and_admin();
    let ticket = founder.create(&founding, terms(None), at(0)).unwrap();
    let joined = Party::new(3).join(&ticket, &mut founder, &founding, at(0)).unwrap();
    let mut random = Random::from_seed([0x77; 32]);
    let made_up =
        Ticket::new(false, founding.founder, founding.routing, at(600).wall, vec!["wss://a:1".into()], &mut random).unwrap();
    let record = |rights| TicketRecord { ticket: made_up.clone(), rights };
    let mut adopt = |rights, from: &Membership| founder.adopt(&founding, record(rights), from, at(1));

    assert_eq!(adopt(Rights::default(), &joined).unwrap_err(), InviteError::NotPermitted { right: "admit" });
    assert_eq!(adopt(admin_rights(), &membership).unwrap_err(), InviteError::NotPermitted { right: "admit" });
    let with_terminals = Rights { terminals: true, ..Rights::default() };
    assert_eq!(adopt(with_terminals, &membership).unwrap_err(), InviteError::NotPermitted { right: "terminals" });
    assert!(adopt(Rights::default(), &membership).unwrap().is_some());
}

fn ticket() -> Ticket {
    let (mut founder, founding) = Party::founder();
    founder.create(&founding, terms(None), at(0)).unwrap()
}
