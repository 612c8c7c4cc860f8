use super::*;
use crate::crypto::handshake::MAX_CARD;

#[test]
fn opener_and_answer_give_both_sides_the_same_session() {
    let (alice, bob) = two_agents();
    let mut random = Random::from_seed([9; 32]);
    let (initiation, opener) = alice.open_to(&bob, &mut random);

    let opening = bob.receive(&opener).unwrap();
    assert_eq!((opening.sender(), opening.run(), opening.receiver_run()), (alice.id(), alice.run, bob.run));
    assert_eq!(opening.hello(), &alice.hello());
    let (mut at_bob, answer) = bob.answer(opening, &alice, &mut random);

    let answered = initiation.receive_answer(&answer).unwrap();
    assert_eq!((answered.run(), answered.hello()), (bob.run, &bob.hello()));
    let mut at_alice = initiation.establish(answered, &bob.chain).unwrap();

    assert_eq!((at_alice.id(), at_alice.initiator()), (at_bob.id(), at_bob.initiator()));
    for lane in Lane::ALL {
        let there = seal(&mut at_alice, lane, b"question");
        assert_eq!(at_bob.open(there).unwrap(), &b"question"[..]);
        let back = seal(&mut at_bob, lane, b"answer");
        assert_eq!(at_alice.open(back).unwrap(), &b"answer"[..]);
    }
}

#[test]
fn an_answer_with_any_byte_changed_is_refused_and_the_initiation_goes_on_waiting() {
    let (alice, bob) = two_agents();
    let mut random = Random::from_seed([9; 32]);
    let (initiation, opener) = alice.open_to(&bob, &mut random);
    let (_, answer) = bob.answer(bob.receive(&opener).unwrap(), &alice, &mut random);
    for at in 0..answer.bytes().len() {
        let Some(changed) = tampered(&answer, at) else { continue };
        match initiation.receive_answer(&changed) {
            Err(Error::Open) => assert!(!SOURCE.contains(&at)),
            opened => assert!(SOURCE.contains(&at) && opened.is_ok(), "byte {at}"),
        }
    }
    initiation.receive_answer(&answer).unwrap();
}

#[test]
fn an_answer_is_good_for_its_own_opener_only() {
    let (alice, bob) = two_agents();
    let (first, opener) = alice.open_to(&bob, &mut Random::from_seed([9; 32]));
    let (_, answer) = bob.answer(bob.receive(&opener).unwrap(), &alice, &mut Random::from_seed([10; 32]));
    first.receive_answer(&answer).unwrap();

    let (other_session, _) = alice.open_to(&bob, &mut Random::from_seed([11; 32]));
    assert!(matches!(other_session.receive_answer(&answer), Err(Error::Open)));

    // The same session id and ephemeral key, but an opener with another expiry: the signature covers the opener.
    let (same_keys, _) = {
        let mut random = Random::from_seed([9; 32]);
        let session = SessionId::from_bytes(random.array());
        let params = InitiatorParams { expiry: EXPIRY + 1, session, ..alice.towards(&bob) };
        Initiation::start(params, &alice.hello(), &mut random).unwrap()
    };
    assert!(matches!(same_keys.receive_answer(&answer), Err(Error::Open)));
}

#[test]
fn an_answer_from_anybody_but_the_peer_is_refused() {
    let (alice, bob) = two_agents();
    // Mallory has got hold of Bob's prekey, but not of his identity.
    let mallory = Agent { identity: Identity::from_seed([66; 32]), ..Agent::new(&founder(), "bob", 2) };
    let mallory = Agent {
        chain: CertificateChain::issue_by_founder(
            &founder(),
            &certificate_request(&mallory.identity, "mallory", Rights::default()),
        )
        .unwrap(),
        ..mallory
    };
    let mut random = Random::from_seed([9; 32]);
    let (initiation, opener) = alice.open_to(&bob, &mut random);
    let opening = Opening::from_envelope(open_envelope(&opener, &mallory.prekey, bob.id()).unwrap()).unwrap();
    let (_, answer) = mallory.answer(opening, &alice, &mut random);
    assert!(matches!(initiation.receive_answer(&answer), Err(Error::Open)));
}

#[test]
fn sides_that_believe_in_different_chains_or_founders_cannot_talk() {
    let (alice, bob) = two_agents();
    let renewed = {
        let request = CertificateRequest { expiry: EXPIRY + 1, ..certificate_request(&bob.identity, "bob", Rights::default()) };
        CertificateChain::issue_by_founder(&founder(), &request).unwrap()
    };
    let other_founder = FounderKey::from_seed([0xf1; 32]).id();
    let cases = [
        ("nothing", alice.founder, bob.chain.clone(), true),
        ("the responder's chain", alice.founder, renewed, false),
        ("the founder", other_founder, bob.chain.clone(), false),
    ];
    for (what, founder, chain, talk) in cases {
        let mut random = Random::from_seed([9; 32]);
        let params = InitiatorParams { founder, ..alice.towards(&bob) };
        let (initiation, opener) = Initiation::start(params, &alice.hello(), &mut random).unwrap();
        let (mut at_bob, answer) = bob.answer(bob.receive(&opener).unwrap(), &alice, &mut random);
        let answered = initiation.receive_answer(&answer).unwrap();
        let mut at_alice = initiation.establish(answered, &chain).unwrap();
        let opened = at_bob.open(seal(&mut at_alice, Lane::Normal, b"x"));
        assert_eq!(opened.is_ok(), talk, "different: {what}");
        assert_eq!(at_alice.open(seal(&mut at_bob, Lane::Normal, b"x")).is_ok(), talk, "different: {what}");
    }
}

#[test]
fn a_chain_of_somebody_else_is_refused_at_every_step() {
    let (alice, bob) = two_agents();
    let mut random = Random::from_seed([9; 32]);
    let theirs = InitiatorParams { chain: &bob.chain, ..alice.towards(&bob) };
    assert!(matches!(Initiation::start(theirs, &alice.hello(), &mut random), Err(Error::Certificate(_))));

    let (initiation, opener) = alice.open_to(&bob, &mut random);
    let opening = bob.receive(&opener).unwrap();
    assert!(matches!(
        opening.answer(bob.answering(&alice), &bob.chain, &bob.hello(), &mut random),
        Err(Error::Certificate(CertificateError::Mismatch { what: "identity" }))
    ));
    let (_, answer) = bob.answer(bob.receive(&opener).unwrap(), &alice, &mut random);
    let answered = initiation.receive_answer(&answer).unwrap();
    assert!(matches!(initiation.establish(answered, &alice.chain), Err(Error::Certificate(_))));
}

#[test]
fn a_card_beyond_its_limit_is_refused_by_the_sender() {
    let (alice, bob) = two_agents();
    let hello = |len| SessionHello { card: vec![0; len], ..alice.hello() };
    let start = |len| Initiation::start(alice.towards(&bob), &hello(len), &mut Random::from_seed([9; 32]));
    assert!(matches!(start(MAX_CARD + 1), Err(Error::TooLarge { what: "card", .. })));
    let (_, opener) = start(MAX_CARD).unwrap();
    assert_eq!(bob.receive(&opener).unwrap().hello().card.len(), MAX_CARD);
}

#[test]
fn frames_sent_before_the_answer_are_read_until_they_are_forgotten() {
    let (alice, bob) = two_agents();
    let mut random = Random::from_seed([9; 32]);
    let (mut initiation, opener) = alice.open_to(&bob, &mut random);
    let mut early = |content: &[u8]| initiation.seal_early(Lane::Normal, EXPIRY, filled(content)).unwrap();
    let frames = [early(b"first"), early(b"second"), early(b"third")];
    assert!(frames.iter().enumerate().all(|(at, frame)| frame.header().early && frame.header().counter == at as u64));

    let (mut at_bob, _) = bob.answer(bob.receive(&opener).unwrap(), &alice, &mut random);
    let [first, second, third] = frames;
    assert_eq!(at_bob.open(copy(&second)).unwrap(), &b"second"[..]);
    assert!(matches!(at_bob.open(second), Err(Error::Replayed)));
    assert_eq!(at_bob.open(first).unwrap(), &b"first"[..]);
    at_bob.forget_early();
    assert!(matches!(at_bob.open(third), Err(Error::Open)));
}

#[test]
fn an_early_frame_with_any_byte_changed_is_refused() {
    let (alice, bob) = two_agents();
    let mut random = Random::from_seed([9; 32]);
    let (mut initiation, opener) = alice.open_to(&bob, &mut random);
    let frame = initiation.seal_early(Lane::Normal, EXPIRY, filled(b"x")).unwrap();
    let (mut at_bob, _) = bob.answer(bob.receive(&opener).unwrap(), &alice, &mut random);
    for at in (0..frame.bytes().len()).filter(|at| !SOURCE.contains(at)) {
        let Some(changed) = tampered(&frame, at) else { continue };
        assert!(matches!(at_bob.open(changed), Err(Error::Open)), "byte {at}");
    }
    at_bob.open(frame).unwrap();
}

#[test]
fn an_early_frame_sent_back_to_the_initiator_is_refused() {
    let (alice, bob) = two_agents();
    let mut random = Random::from_seed([9; 32]);
    let (mut initiation, opener) = alice.open_to(&bob, &mut random);
    let frame = initiation.seal_early(Lane::Normal, EXPIRY, filled(b"x")).unwrap();
    let (_, answer) = bob.answer(bob.receive(&opener).unwrap(), &alice, &mut random);
    let answered = initiation.receive_answer(&answer).unwrap();
    let mut at_alice = initiation.establish(answered, &bob.chain).unwrap();
    assert!(matches!(at_alice.open(frame), Err(Error::Open)));
}

#[test]
fn early_frames_keep_to_the_limits_of_their_lane_and_key() {
    let (alice, bob) = two_agents();
    let (mut initiation, _) = alice.open_to(&bob, &mut Random::from_seed([9; 32]));
    let large = initiation.seal_early(Lane::Control, 0, filled(&[0; 1_021]));
    assert!(matches!(large, Err(Error::TooLarge { limit: 1_020, .. })));
    for _ in 0..65_536 {
        initiation.seal_early(Lane::Bulk, 0, FrameBuilder::new()).unwrap();
    }
    assert!(matches!(initiation.seal_early(Lane::Bulk, 0, FrameBuilder::new()), Err(Error::Exhausted)));
    initiation.seal_early(Lane::Normal, 0, FrameBuilder::new()).unwrap();
}

#[test]
fn crossing_openers_give_two_sessions_that_both_stand() {
    let (alice, bob) = two_agents();
    let mut random = Random::from_seed([9; 32]);
    let (from_alice, opener_a) = alice.open_to(&bob, &mut random);
    let (from_bob, opener_b) = bob.open_to(&alice, &mut random);
    let (mut b_of_a, answer_b) = bob.answer(bob.receive(&opener_a).unwrap(), &alice, &mut random);
    let (mut a_of_b, answer_a) = alice.answer(alice.receive(&opener_b).unwrap(), &bob, &mut random);
    let answered = from_alice.receive_answer(&answer_b).unwrap();
    let mut a_of_a = from_alice.establish(answered, &bob.chain).unwrap();
    let answered = from_bob.receive_answer(&answer_a).unwrap();
    let mut b_of_b = from_bob.establish(answered, &alice.chain).unwrap();

    assert_eq!((a_of_a.initiator(), a_of_b.initiator()), (alice.id(), bob.id()));
    b_of_a.open(seal(&mut a_of_a, Lane::Normal, b"x")).unwrap();
    b_of_b.open(seal(&mut a_of_b, Lane::Normal, b"x")).unwrap();
    assert!(matches!(b_of_b.open(seal(&mut a_of_a, Lane::Normal, b"x")), Err(Error::Open)));
}
