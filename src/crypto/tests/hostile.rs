//! Decoders meet what nobody would send: they may refuse it, and nothing else.

use super::*;
use crate::crypto::admission::{open_reply, open_request};

const ROUNDS: usize = 20_000;

#[test]
fn damaged_certificate_chains_and_tickets_never_panic() {
    let (alice, _) = two_agents();
    let founder = founder();
    let routing = founder.routing().public();
    let addresses = vec!["wss://relay.example:7447".to_owned()];
    let mut random = Random::from_seed([1; 32]);
    let ticket = Ticket::new(true, founder.id(), routing, EXPIRY, addresses, &mut random).unwrap();
    let (chain, ticket) = (alice.chain.encode(), ticket.to_string().into_bytes());
    for _ in 0..ROUNDS {
        if let Ok(chain) = CertificateChain::decode(&damaged(&chain, &mut random)) {
            assert_eq!(CertificateChain::decode(&chain.encode()).as_ref(), Ok(&chain));
        }
        let _ = String::from_utf8_lossy(&damaged(&ticket, &mut random)).parse::<Ticket>();
        let _ = Ticket::from_bytes(&damaged(&ticket, &mut random));
    }
}

#[test]
fn damaged_frames_of_all_kinds_never_panic_and_never_open() {
    let (alice, bob) = two_agents();
    let mut random = Random::from_seed([2; 32]);
    let (initiation, opener) = alice.open_to(&bob, &mut random);
    let (mut at_bob, answer) = bob.answer(bob.receive(&opener).unwrap(), &alice, &mut random);
    let answered = initiation.receive_answer(&answer).unwrap();
    let (waiting, _) = alice.open_to(&bob, &mut random);
    let mut at_alice = initiation.establish(answered, &bob.chain).unwrap();
    let frame = seal(&mut at_alice, Lane::Normal, b"x");
    for _ in 0..ROUNDS {
        let bytes = damaged(frame.bytes(), &mut random);
        // A frame in which only the source was changed is as good as before.
        let Ok(damaged) = DataFrame::parse(bytes.into()) else { continue };
        if damaged.header_bytes() != frame.header_bytes() || damaged.sealed() != frame.sealed() {
            at_bob.open(damaged).unwrap_err();
        }
    }
    for _ in 0..200 {
        for frame in [&opener, &answer] {
            let Ok(damaged) = DataFrame::parse(damaged(frame.bytes(), &mut random).into()) else { continue };
            let whole = damaged.header_bytes() == frame.header_bytes() && damaged.sealed() == frame.sealed();
            assert!(whole || bob.receive(&damaged).is_err());
            assert!(waiting.receive_answer(&damaged).is_err());
        }
    }
}

#[test]
fn sealed_garbage_never_panics() {
    let (alice, bob) = two_agents();
    let founder = founder();
    let mut random = Random::from_seed([3; 32]);
    let routing = founder.routing().public();
    let ticket = Ticket::new(true, founder.id(), routing, EXPIRY, vec!["x".to_owned()], &mut random).unwrap();
    let (_, opener) = alice.open_to(&bob, &mut random);
    for len in [0, 1, 63, 64, 65, 200] {
        let garbage: [u8; 200] = random.array();
        let header = *opener.header();
        let context = hpke::Sender::setup(bob.prekey.public(), None, b"a2alinker/1 envelope", &mut random).unwrap();
        let sealed = context.seal(&header.encode(), &garbage[..len]).unwrap();
        assert!(open_envelope(&DataFrame::new(header, &sealed), &bob.prekey, bob.id()).is_err());

        let keys = ticket.keys();
        let header =
            crate::proto::OuterHeader { kind: crate::proto::OuterKind::AdmissionRequest, destination: keys.mailbox, ..header };
        let mut padded = padding::pad(&garbage[..len]).unwrap();
        let tag = keys.request.seal([0; 12], &header.encode(), &mut padded).unwrap();
        let frame = DataFrame::new(header, &[&[0; 12][..], &padded, &tag].concat());
        assert!(open_request(&ticket, &frame).is_err());

        let exchange = Exchange::new(keys, &frame);
        let header = crate::proto::OuterHeader { kind: crate::proto::OuterKind::AdmissionReply, ..header };
        assert!(open_reply(&exchange, &bob.prekey, &DataFrame::new(header, &garbage[..len])).is_err());
    }
}

/// A copy with a few bytes changed, put in, taken out or cut off.
fn damaged(bytes: &[u8], random: &mut Random) -> Vec<u8> {
    let mut bytes = bytes.to_vec();
    let [times, ..] = random.array::<2>();
    for _ in 0..=times % 4 {
        let [kind, value, a, b] = random.array();
        if bytes.is_empty() {
            break;
        }
        let at = usize::from(u16::from_be_bytes([a, b])) % bytes.len();
        match kind % 4 {
            0 => bytes[at] ^= value | 1,
            1 => bytes.insert(at, value),
            2 => drop(bytes.remove(at)),
            _ => bytes.truncate(at),
        }
    }
    bytes
}
