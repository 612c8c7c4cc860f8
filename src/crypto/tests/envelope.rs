use super::*;
use crate::{
    crypto::{hpke::Sender, padding},
    proto::{OuterKind, VERSION},
};

#[test]
fn an_opener_with_any_byte_changed_is_refused() {
    let (alice, bob) = two_agents();
    let (_, opener) = alice.open_to(&bob, &mut Random::from_seed([9; 32]));
    for at in 0..opener.bytes().len() {
        let Some(changed) = tampered(&opener, at) else { continue };
        match open_envelope(&changed, &bob.prekey, bob.id()) {
            Err(Error::Open) => assert!(!SOURCE.contains(&at)),
            opened => assert!(SOURCE.contains(&at) && opened.is_ok(), "byte {at}"),
        }
    }
}

#[test]
fn an_envelope_that_is_cut_is_refused() {
    let (alice, bob) = two_agents();
    let (_, opener) = alice.open_to(&bob, &mut Random::from_seed([9; 32]));
    for len in (DataFrame::HEADER_LEN..opener.bytes().len()).step_by(97) {
        let cut = DataFrame::parse(opener.bytes().slice(..len)).unwrap();
        assert!(matches!(open_envelope(&cut, &bob.prekey, bob.id()), Err(Error::Open)), "{len} bytes");
    }
}

#[test]
fn another_prekey_or_another_receiver_does_not_open_it() {
    let (alice, bob) = two_agents();
    let (_, opener) = alice.open_to(&bob, &mut Random::from_seed([9; 32]));
    let other = KeyPair::from_seed(&[3; 32]);
    assert!(matches!(open_envelope(&opener, &other, bob.id()), Err(Error::Open)));
    assert!(matches!(open_envelope(&opener, &bob.prekey, alice.id()), Err(Error::Open)));
    open_envelope(&opener, &bob.prekey, bob.id()).unwrap();
}

#[test]
fn an_envelope_sealed_again_to_somebody_else_is_refused() {
    let (alice, bob) = two_agents();
    let carol = Agent::new(&founder(), "carol", 3);
    let (_, opener) = alice.open_to(&bob, &mut Random::from_seed([9; 32]));
    let body = body_of(&opener, &bob);

    // Bob passes on what Alice signed for him, to Carol.
    let mut header = *opener.header();
    header.counter = carol.prekey.public().id();
    let passed_on = seal_body(header, carol.prekey.public(), |_| body.clone());
    assert!(matches!(open_envelope(&passed_on, &carol.prekey, carol.id()), Err(Error::Open)));

    // The same to himself: it opens to the right receiver, but `enc` is not what Alice signed.
    let again = seal_body(*opener.header(), bob.prekey.public(), |_| body.clone());
    assert!(matches!(open_envelope(&again, &bob.prekey, bob.id()), Err(Error::Open)));
}

#[test]
fn an_envelope_signed_by_another_than_it_names_is_refused() {
    let (alice, bob) = two_agents();
    let mallory = Identity::from_seed([66; 32]);
    let (_, opener) = alice.open_to(&bob, &mut Random::from_seed([9; 32]));
    let header = *opener.header();
    let forged = |signer: &Identity| {
        let sealed = seal_body(header, bob.prekey.public(), |enc| {
            body(alice.id(), &bob, 1, b"payload", |parts| signer.sign("envelope", &signed(parts, enc, &header)))
        });
        open_envelope(&sealed, &bob.prekey, bob.id())
    };
    assert!(matches!(forged(&mallory), Err(Error::Open)));
    assert_eq!(forged(&alice.identity).unwrap().payload, b"payload");
}

#[test]
fn outer_kind_and_payload_kind_have_to_fit() {
    let (alice, bob) = two_agents();
    let (_, opener) = alice.open_to(&bob, &mut Random::from_seed([9; 32]));
    let open = |outer, payload_kind| {
        let mut header = *opener.header();
        header.kind = outer;
        let sealed = seal_body(header, bob.prekey.public(), |enc| {
            body(alice.id(), &bob, payload_kind, b"payload", |parts| {
                alice.identity.sign("envelope", &signed(parts, enc, &header))
            })
        });
        open_envelope(&sealed, &bob.prekey, bob.id()).map(|opened| opened.kind)
    };
    assert_eq!(open(OuterKind::Opener, 1).unwrap(), PayloadKind::Opener);
    assert_eq!(open(OuterKind::Envelope, 2).unwrap(), PayloadKind::Parked);
    assert_eq!(open(OuterKind::Envelope, 3).unwrap(), PayloadKind::Unknown(3));
    assert!(matches!(open(OuterKind::Envelope, 1), Err(Error::Proto(_))));
    assert!(matches!(open(OuterKind::Opener, 2), Err(Error::Proto(_))));
    assert!(matches!(open(OuterKind::Session, 1), Err(Error::Open)));
}

#[test]
fn nothing_outside_the_seal_names_the_sender() {
    let (alice, bob) = two_agents();
    let (_, opener) = alice.open_to(&bob, &mut Random::from_seed([9; 32]));
    let contains = |needle: &[u8]| opener.bytes().windows(needle.len()).any(|window| window == needle);
    assert!(!contains(alice.id().as_bytes()) && !contains(alice.run.as_bytes()) && !contains(bob.id().as_bytes()));
    assert!(contains(bob.label.as_bytes()), "the destination is there to be found");
}

/// The parts of a body before its signature, in the order of the wire.
struct Parts<'a> {
    sender: AgentId,
    receiver: &'a Agent,
    kind: u8,
    payload: &'a [u8],
}

fn body(sender: AgentId, receiver: &Agent, kind: u8, payload: &[u8], sign: impl FnOnce(&Parts<'_>) -> [u8; 64]) -> Vec<u8> {
    let signature = sign(&Parts { sender, receiver, kind, payload });
    let len = (payload.len() as u32).to_be_bytes();
    let (id, hash) = (receiver.id(), receiver.prekey.public().hash());
    [sender.as_bytes(), id.as_bytes(), &hash[..], receiver.run.as_bytes(), &[kind], &len, payload, &signature].concat()
}

fn signed(parts: &Parts<'_>, enc: &[u8], header: &crate::proto::OuterHeader) -> Vec<u8> {
    let (receiver, hash) = (parts.receiver, parts.receiver.prekey.public().hash());
    let head = [&[VERSION][..], parts.sender.as_bytes(), receiver.id().as_bytes(), &hash].concat();
    [&head[..], enc, &header.encode(), receiver.run.as_bytes(), &[parts.kind], parts.payload].concat()
}

fn seal_body(header: crate::proto::OuterHeader, to: &PublicKey, body: impl FnOnce(&[u8]) -> Vec<u8>) -> DataFrame {
    let context = Sender::setup(to, None, b"a2alinker/1 envelope", &mut Random::from_seed([12; 32])).unwrap();
    let body = body(context.enc());
    DataFrame::new(header, &context.seal(&header.encode(), &body).unwrap())
}

/// What is inside an envelope, as its receiver sees it.
fn body_of(frame: &DataFrame, receiver: &Agent) -> Vec<u8> {
    let mut context = hpke::Receiver::setup(&receiver.prekey, None, b"a2alinker/1 envelope", frame.sealed()).unwrap();
    padding::unpad(&context.open(frame.header_bytes()).unwrap()).unwrap().to_vec()
}
