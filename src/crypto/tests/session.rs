use super::*;
use crate::crypto::padding::MAX_CONTENT;

#[test]
fn contents_of_any_size_come_back_whole() {
    let (mut alice, mut bob) = session();
    for len in [0, 1, 252, 253, 4_092, 4_093, 16_384, MAX_CONTENT] {
        let content: Vec<u8> = (0..len).map(|at| at as u8).collect();
        let frame = seal(&mut alice, Lane::Bulk, &content);
        assert_eq!(bob.open(frame).unwrap(), content, "{len} bytes");
    }
}

#[test]
fn a_frame_says_where_it_goes_and_when_it_expires() {
    let (_, bob) = two_agents();
    let (mut at_alice, _) = session();
    let header = *at_alice.seal(Lane::High, 77, filled(b"x")).unwrap().header();
    assert_eq!((header.destination, header.expiry, header.lane), (bob.label, 77, Lane::High));
    assert_eq!((header.session, header.generation, header.counter), (at_alice.id(), 0, 0));
    assert!(!header.early && !header.parkable);
}

#[test]
fn the_size_of_a_frame_shows_only_the_padded_length() {
    let (mut alice, _) = session();
    let sizes = [b"a".to_vec(), vec![b'a'; 252]].map(|content| seal(&mut alice, Lane::Normal, &content).bytes().len());
    assert_eq!(sizes, [DataFrame::HEADER_LEN + 256 + 16; 2]);
}

#[test]
fn a_content_that_is_too_large_is_refused_before_it_takes_a_counter() {
    let (mut alice, mut bob) = session();
    for (lane, limit) in [(Lane::Bulk, MAX_CONTENT), (Lane::Control, 1_020)] {
        let refused = alice.seal(lane, 0, filled(&vec![0; limit + 1]));
        assert!(matches!(refused, Err(Error::TooLarge { limit: at, got, .. }) if at == limit && got == limit + 1));
        let largest = seal(&mut alice, lane, &vec![0; limit]);
        assert_eq!(largest.header().counter, 0);
        assert_eq!(bob.open(largest).unwrap().len(), limit);
    }
}

#[test]
fn frames_of_a_lane_may_overtake_one_another_within_the_window() {
    let (mut alice, mut bob) = session();
    let mut frames: Vec<_> = (0..=1_024_u32).map(|i| seal(&mut alice, Lane::Normal, &i.to_be_bytes())).collect();
    frames.reverse();
    for frame in frames {
        let expected = (frame.header().counter as u32).to_be_bytes();
        assert_eq!(bob.open(frame).unwrap(), expected[..]);
    }
}

#[test]
fn a_frame_that_came_before_is_refused_within_the_window_and_beyond() {
    let (mut alice, mut bob) = session();
    let first = seal(&mut alice, Lane::Normal, b"first");
    bob.open(copy(&first)).unwrap();
    assert!(matches!(bob.open(copy(&first)), Err(Error::Replayed)));
    let late = seal(&mut alice, Lane::Normal, b"late");
    for _ in 0..1_100 {
        bob.open(seal(&mut alice, Lane::Normal, b"next")).unwrap();
    }
    assert!(matches!(bob.open(first), Err(Error::Replayed)));
    assert!(matches!(bob.open(late), Err(Error::Replayed)), "too late to know whether it came");
}

#[test]
fn counters_of_one_lane_say_nothing_of_another() {
    let (mut alice, mut bob) = session();
    for lane in Lane::ALL {
        let frame = seal(&mut alice, lane, b"x");
        assert_eq!(frame.header().counter, 0);
        bob.open(frame).unwrap();
    }
}

#[test]
fn a_frame_sent_back_to_its_sender_is_refused() {
    let (mut alice, mut bob) = session();
    let from_alice = seal(&mut alice, Lane::Normal, b"x");
    let from_bob = seal(&mut bob, Lane::Normal, b"x");
    assert!(matches!(alice.open(copy(&from_alice)), Err(Error::Open)));
    assert!(matches!(bob.open(copy(&from_bob)), Err(Error::Open)));
    bob.open(from_alice).unwrap();
    alice.open(from_bob).unwrap();
}

#[test]
fn a_frame_with_any_byte_changed_is_refused_and_changes_nothing() {
    let (mut alice, mut bob) = session();
    let frame = seal(&mut alice, Lane::Normal, b"content");
    for at in 0..frame.bytes().len() {
        let Some(changed) = tampered(&frame, at) else { continue };
        match bob.open(changed) {
            Err(Error::Open) => assert!(!SOURCE.contains(&at)),
            opened => {
                assert!(SOURCE.contains(&at) && opened.is_ok(), "byte {at}");
                bob = session().1;
            }
        }
    }
    assert_eq!(bob.open(frame).unwrap(), &b"content"[..]);
}

#[test]
fn a_frame_that_is_cut_anywhere_is_refused() {
    let (mut alice, mut bob) = session();
    let frame = seal(&mut alice, Lane::Normal, b"content");
    for len in DataFrame::HEADER_LEN..frame.bytes().len() {
        let cut = DataFrame::parse(frame.bytes().to_vec()[..len].to_vec().into()).unwrap();
        assert!(matches!(bob.open(cut), Err(Error::Open)), "{len} bytes");
    }
    bob.open(frame).unwrap();
}

#[test]
fn a_frame_of_another_session_is_refused() {
    let (mut alice, mut bob) = session();
    let (carol, dave) = (Agent::new(&founder(), "carol", 3), Agent::new(&founder(), "dave", 4));
    let mut random = Random::from_seed([10; 32]);
    let (_, opener) = carol.open_to(&dave, &mut random);
    let (mut elsewhere, _) = dave.answer(dave.receive(&opener).unwrap(), &carol, &mut random);
    let frame = seal(&mut alice, Lane::Normal, b"x");
    assert!(matches!(elsewhere.open(copy(&frame)), Err(Error::Open)));
    bob.open(frame).unwrap();
}

#[test]
fn a_frame_is_opened_where_it_lies_if_nobody_else_holds_its_buffer() {
    let (mut alice, mut bob) = session();
    let frame = seal(&mut alice, Lane::Normal, b"content");
    let place = frame.bytes().as_ptr().addr();
    assert_eq!(bob.open(frame).unwrap().as_ptr().addr(), place + DataFrame::HEADER_LEN + 4);

    let frame = seal(&mut alice, Lane::Normal, b"content");
    let held = frame.bytes().clone();
    let before = held.to_vec();
    assert_eq!(bob.open(frame).unwrap(), &b"content"[..]);
    assert_eq!(held, before, "what others hold stays as it was");
}

#[test]
fn a_frame_is_sealed_where_it_was_built() {
    let (mut alice, _) = session();
    let mut builder = FrameBuilder::with_capacity(1_000);
    builder.put(&[1; 1_000]);
    let place = builder.buffer().as_ptr().addr();
    let frame = alice.seal(Lane::Normal, 0, builder).unwrap();
    assert_eq!(frame.bytes().as_ptr().addr(), place);
}

#[test]
fn a_small_frame_does_not_keep_the_memory_of_a_large_builder() {
    let (mut alice, mut bob) = session();
    let mut builder = FrameBuilder::with_capacity(16_384);
    builder.put(b"small");
    let frame = alice.seal(Lane::Normal, 0, builder).unwrap();
    let len = frame.bytes().len();
    assert_eq!(bob.open(copy(&frame)).unwrap(), &b"small"[..]);
    assert!(frame.into_bytes().try_into_mut().unwrap().capacity() <= 2 * len);
}
