use crate::crypto::code::Code;
use crate::crypto::pairing::{Asking, Confirmed, Confirming, Message, Offer, PairingStatus, Seen, Telling, refusal};
use crate::crypto::{Error, Random};
use crate::proto::{DataFrame, FounderId, Label, OuterHeader, RoutingKey};

const SOURCE: Label = Label::from_bytes([0xee; 16]);
const SEEN: Seen = Seen { vouched: false, pin: [7; 32] };

#[test]
fn two_that_know_the_words_come_to_the_same_ticket() {
    let (confirming, confirmed) = exchange("7-acid-yo-yo-walrus", "7 Acid Yo Yo Walrus").unwrap();
    assert_eq!(confirmed.seen(), &SEEN);
    let frame = confirmed.offer(&offer()).unwrap();
    let at_joiner = confirming.open(&frame).unwrap().unwrap();
    let at_inviter = confirmed.ticket(offer());
    assert_eq!(at_joiner.to_bytes(), at_inviter.to_bytes());
    assert!(at_joiner.counted);
    assert_eq!((at_joiner.founder, at_joiner.routing), (offer().founder, offer().routing));
    assert_eq!((at_joiner.expiry, at_joiner.addresses), (offer().expiry, offer().addresses));
}

#[test]
fn another_word_or_another_slot_is_a_wrong_guess() {
    for guess in ["7-acid-yo-yo-octopus", "7-yo-yo-acid-walrus", "8-acid-yo-yo-walrus"] {
        assert!(matches!(exchange("7-acid-yo-yo-walrus", guess), Err(Error::Open)), "{guess}");
    }
}

#[test]
fn each_exchange_has_secrets_of_its_own() {
    let code = "7-acid-acid-acid";
    let tickets = [1, 2].map(|seed| exchange_with(code, code, seed).unwrap().1.ticket(offer()).to_bytes());
    assert_ne!(tickets[0], tickets[1]);
}

#[test]
fn any_changed_byte_of_a_message_ends_without_a_pairing() {
    let code: Code = "7-acid-yo-yo-walrus".parse().unwrap();
    let mut random = Random::from_seed([5; 32]);
    let ask = Asking::start(&code, &mut random).frame();
    for at in 1..ask.sealed().len() {
        let asking = Asking::start(&code, &mut random);
        let Ok(Message::Ask(element)) = Message::read(&changed(&asking.frame(), at)) else { continue };
        let exchange = asking.exchange();
        let Ok(telling) = Telling::answer(&code, exchange, SOURCE, &element, &mut random) else { continue };
        let Ok(Message::Tell(tell)) = Message::read(&telling.frame()) else { panic!("a Tell") };
        let Ok(confirming) = asking.confirm(&tell, SEEN) else { continue };
        let Ok(Message::Confirm { seen, confirmation }) = Message::read(confirming.frame()) else { panic!("a Confirm") };
        assert!(telling.check(seen, &confirmation).is_err(), "byte {at} of the Ask");
    }
    for at in 1..ask.sealed().len() {
        let asking = Asking::start(&code, &mut random);
        let telling = tell(&asking, &code, &mut random);
        let Ok(Message::Tell(element)) = Message::read(&changed(&telling.frame(), at)) else { continue };
        let Ok(confirming) = asking.confirm(&element, SEEN) else { continue };
        let Ok(Message::Confirm { seen, confirmation }) = Message::read(confirming.frame()) else { panic!("a Confirm") };
        assert!(telling.check(seen, &confirmation).is_err(), "byte {at} of the Tell");
    }
    let (confirming, _) = exchange("7-acid-acid-acid", "7-acid-acid-acid").unwrap();
    for at in 1..confirming.frame().sealed().len() {
        let asking = Asking::start(&code, &mut random);
        let telling = tell(&asking, &code, &mut random);
        let Ok(Message::Tell(element)) = Message::read(&telling.frame()) else { panic!("a Tell") };
        let confirming = asking.confirm(&element, SEEN).unwrap();
        let Ok(Message::Confirm { seen, confirmation }) = Message::read(&changed(confirming.frame(), at)) else { continue };
        assert!(telling.check(seen, &confirmation).is_err(), "byte {at} of the Confirm");
    }
}

#[test]
fn an_offer_with_any_byte_changed_or_cut_is_not_believed() {
    let (confirming, confirmed) = exchange("7-acid-acid-acid", "7-acid-acid-acid").unwrap();
    let frame = confirmed.offer(&offer()).unwrap();
    for at in 0..frame.sealed().len() {
        let outcome = confirming.open(&changed(&frame, at));
        assert!(!matches!(outcome, Ok(Ok(_) | Err(PairingStatus::Certificate))), "byte {at}");
        let cut = DataFrame::new(*frame.header(), &frame.sealed()[..at]);
        assert!(confirming.open(&cut).is_err(), "cut at {at}");
    }
    let elsewhere = DataFrame::new(OuterHeader { destination: Label::ZERO, ..*frame.header() }, frame.sealed());
    assert!(confirming.open(&elsewhere).is_err(), "its header is sealed in");
}

#[test]
fn an_offer_of_another_exchange_is_not_believed() {
    let code = "7-acid-acid-acid";
    let (confirming, _) = exchange_with(code, code, 1).unwrap();
    let (_, confirmed) = exchange_with(code, code, 2).unwrap();
    assert!(confirming.open(&confirmed.offer(&offer()).unwrap()).is_err());
    assert!(confirming.open(&confirmed.refuse(PairingStatus::Certificate)).is_err());
}

#[test]
fn a_refusal_is_believed_with_a_proof_where_one_can_be_had() {
    let (confirming, confirmed) = exchange("7-acid-acid-acid", "7-acid-acid-acid").unwrap();
    let proven = confirmed.refuse(PairingStatus::Certificate);
    assert!(matches!(confirming.open(&proven), Ok(Err(PairingStatus::Certificate))));
    let exchange = proven.header().session;
    for status in [PairingStatus::WrongCode, PairingStatus::Closed, PairingStatus::Unknown(9)] {
        let outcome = confirming.open(&refusal(status, SOURCE, exchange));
        assert!(matches!(outcome, Ok(Err(told)) if told == status), "{outcome:?}");
    }
    assert!(confirming.open(&refusal(PairingStatus::Certificate, SOURCE, exchange)).is_err(), "without a proof");
}

#[test]
fn what_is_no_pairing_frame_is_refused() {
    let frame = refusal(PairingStatus::Closed, SOURCE, crate::proto::SessionId::ZERO);
    for sealed in [&[][..], &[0], &[1; 33], &[1; 35], &[2; 33], &[3; 65], &[3; 67], &[4], &[4, 3, 0], &[4, 2], &[5; 34]] {
        assert!(Message::read(&DataFrame::new(*frame.header(), sealed)).is_err(), "{sealed:?}");
    }
    let later = DataFrame::new(*frame.header(), &[4, 77, 1, 2, 3]);
    assert!(matches!(Message::read(&later), Ok(Message::Offer { status: PairingStatus::Unknown(77), .. })));
}

/// Plays an exchange up to the guess.
fn exchange(invited: &str, guessed: &str) -> Result<(Confirming, Confirmed), Error> {
    exchange_with(invited, guessed, 1)
}

fn exchange_with(invited: &str, guessed: &str, seed: u8) -> Result<(Confirming, Confirmed), Error> {
    let [invited, guessed]: [Code; 2] = [invited, guessed].map(|text| text.parse().unwrap());
    let mut random = Random::from_seed([seed; 32]);
    let asking = Asking::start(&guessed, &mut random);
    let telling = tell(&asking, &invited, &mut random);
    let Message::Tell(element) = Message::read(&telling.frame())? else { panic!("a Tell") };
    let confirming = asking.confirm(&element, SEEN)?;
    let Message::Confirm { seen, confirmation } = Message::read(confirming.frame())? else { panic!("a Confirm") };
    Ok((confirming, telling.check(seen, &confirmation)?))
}

fn tell(asking: &Asking, code: &Code, random: &mut Random) -> Telling {
    let Ok(Message::Ask(element)) = Message::read(&asking.frame()) else { panic!("an Ask") };
    Telling::answer(code, asking.exchange(), SOURCE, &element, random).unwrap()
}

fn changed(frame: &DataFrame, at: usize) -> DataFrame {
    let mut sealed = frame.sealed().to_vec();
    sealed[at] ^= 1;
    DataFrame::new(*frame.header(), &sealed)
}

fn offer() -> Offer {
    Offer {
        founder: FounderId::from_bytes([1; 32]),
        routing: RoutingKey::from_bytes([2; 32]),
        expiry: 1_790_000_600_000,
        addresses: vec!["wss://relay.example:7447".to_owned()],
    }
}
