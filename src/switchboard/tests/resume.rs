//! Links that are lost and go on.

use std::time::Duration;

use bytes::Bytes;

use super::world::*;
use crate::proto::{
    BounceReason, ClientFrame, DataFrame, Features, GoodbyeReason, HelloBody, Label, LabelChanges, Lane, OuterHeader, RejectCode,
    Role, ServerFrame,
};
use crate::switchboard::{Config, LinkId};

/// Ann, who sends, and bob, who can resume, with his token. Both have heard all that there is.
fn pair(world: &mut World) -> (LinkId, LinkId, Bytes) {
    let (ann, _) = world.able(1, ABLE);
    let (bob, welcome) = world.able(2, ABLE);
    world.hear_all();
    (ann, bob, welcome.resume_token)
}

/// The same, and bob has received and acknowledged one frame after he heard who is there.
fn settled_pair(world: &mut World) -> (LinkId, LinkId, Bytes) {
    let (ann, bob, token) = pair(world);
    world.send(ann, label(2), b"so that it is known what he heard");
    world.heard(bob);
    world.ack(bob, 1);
    (ann, bob, token)
}

/// The sealed parts of the Data frames among these.
fn sealed_of(frames: &[ServerFrame]) -> Vec<&[u8]> {
    frames.iter().filter_map(|frame| if let ServerFrame::Data(frame) = frame { Some(frame.sealed()) } else { None }).collect()
}

fn labels(forget_others: bool, resumed: bool, came: &[Label]) -> ServerFrame {
    ServerFrame::Labels(LabelChanges { forget_others, resumed, came: came.to_vec(), went: Vec::new() })
}

// What is offered.

#[test]
fn a_member_that_names_resume_gets_a_token_the_grace_and_the_name_of_this_run() {
    let mut world = World::new();
    let (_, ann) = world.able(1, ABLE);
    let (_, bob) = world.able(2, Features::RESUME);
    assert_eq!((ann.features, bob.features), (ABLE, Features::RESUME));
    assert_eq!((ann.grace_seconds, ann.resume_token.len(), ann.resumed), (120, 32, None));
    assert_ne!(ann.resume_token, bob.resume_token);
    assert!(ann.boot.is_some() && ann.boot == bob.boot);
}

#[test]
fn who_names_nothing_and_who_is_no_member_gets_nothing() {
    let mut world = World::new();
    let (_, plain) = world.able(1, Features::NONE);
    assert_eq!((plain.features, plain.grace_seconds, plain.resume_token.len(), plain.boot), (Features::NONE, 0, 0, None));
    let admin = world.admin(3);
    world.register(admin, MAILBOX);
    let stranger = world.open();
    let body = HelloBody { features: ABLE, role: Role::Stranger { mailbox: MAILBOX }, ..member(9) };
    assert!(matches!(&world.hello(stranger, &body)[..], [ServerFrame::Welcome(welcome)]
        if welcome.features == Features::NONE && welcome.resume_token.is_empty()));
}

#[test]
fn a_switchboard_without_grace_or_room_offers_neither() {
    let mut world = World::with(Config { grace: Duration::ZERO, parked_bytes: 0, ..Config::default() });
    assert_eq!(world.able(1, ABLE).1.features, Features::NONE);
    let mut again = World::with(Config { announce_after: Duration::from_secs(900), ..Config::default() });
    let (ann, _) = again.able(1, ABLE);
    again.cut(ann);
    assert_eq!(again.board.poll_timeout().map(|due| due - again.now.monotonic), Some(Duration::from_secs(120)));
}

// What is kept.

#[test]
fn what_was_written_and_not_acknowledged_is_written_again_in_its_order_and_before_what_waits() {
    let mut world = World::new();
    let (ann, bob, token) = pair(&mut world);
    for sealed in [b"0", b"1", b"2", b"3"] {
        world.send(ann, label(2), sealed);
    }
    world.frame(ann, data(label(2), Lane::Urgent, b"u").into_bytes());
    assert_eq!(world.sealed(bob), [b"u", b"0", b"1", b"2", b"3"]);
    world.ack(bob, 2);
    world.send(ann, label(2), b"unwritten");
    world.cut(bob);
    world.frame(ann, data(label(2), Lane::Urgent, b"meanwhile").into_bytes());
    world.pass(Duration::from_secs(1));

    let (bob, welcome) = world.resume(2, &token, 3);
    assert_eq!(welcome.resumed, Some(0));
    let frames = world.heard(bob);
    assert_eq!(sealed_of(&frames), [&b"2"[..], b"3", b"meanwhile", b"unwritten"]);
    assert_eq!(world.heard(ann), [], "nobody else need notice");
    world.ack(bob, 7);
    assert_eq!((world.board.stats().retained_bytes, world.board.stats().resumed), (0, 1));
}

#[test]
fn both_directions_count_on() {
    let mut world = World::new();
    let (ann, _, _) = pair(&mut world);
    let (bob, welcome) = world.able(3, ABLE);
    world.hear_all();
    world.send(bob, label(1), b"0");
    world.send(bob, label(9), b"1");
    world.send(ann, label(3), b"a");
    world.heard(ann);
    assert_eq!(world.heard(bob).len(), 2);
    world.cut(bob);

    let (bob, welcome) = world.resume(3, &welcome.resume_token, 1);
    assert_eq!(welcome.resumed, Some(2), "of these the switchboard knows");
    world.heard(bob);
    world.send(bob, label(9), b"2");
    assert_eq!(world.heard(bob), [bounce(2, BounceReason::Absent)]);
    world.send(ann, label(3), b"b");
    assert_eq!(world.sealed(bob), [b"b"]);
    world.ack(bob, 2);
    world.ack(bob, 3);
    world.assert_rejected(bob, RejectCode::Malformed);
}

#[test]
fn bounces_that_wait_or_were_written_into_the_void_are_told_to_the_next_socket() {
    let mut world = World::new();
    let (_, bob, token) = pair(&mut world);
    world.send(bob, label(9), b"written");
    assert_eq!(world.heard(bob), [bounce(0, BounceReason::Absent)]);
    world.send(bob, label(9), b"waits");
    world.cut(bob);
    let (bob, _) = world.resume(2, &token, 0);
    let frames = world.heard(bob);
    assert_eq!(frames[..2], [bounce(0, BounceReason::Absent), bounce(1, BounceReason::Absent)]);
}

#[test]
fn a_bounce_that_came_before_an_acknowledged_frame_is_not_told_again() {
    let mut world = World::new();
    let (ann, bob, token) = pair(&mut world);
    world.send(bob, label(9), b"0");
    world.heard(bob);
    world.send(ann, label(2), b"after the bounce");
    world.heard(bob);
    world.ack(bob, 1);
    world.cut(bob);
    let (bob, _) = world.resume(2, &token, 1);
    assert_eq!(world.heard(bob), [labels(true, true, &[label(1)])]);
}

#[test]
fn a_frame_of_a_link_that_was_resumed_since_is_bounced_to_its_new_socket() {
    let mut world = World::new();
    let (ann, bob, token) = pair(&mut world);
    world.send(bob, label(1), b"for ann");
    world.cut(bob);
    let (bob, _) = world.resume(2, &token, 0);
    world.heard(bob);
    world.frame(ann, ClientFrame::Goodbye(GoodbyeReason::Closing).encode());
    assert_eq!(world.heard(bob)[0], bounce(0, BounceReason::Absent));
}

#[test]
fn a_bounce_for_a_link_that_is_away_waits_for_it() {
    let mut world = World::new();
    let (ann, bob, token) = pair(&mut world);
    world.send(bob, label(1), b"for ann");
    world.cut(bob);
    world.frame(ann, ClientFrame::Goodbye(GoodbyeReason::Closing).encode());
    let (bob, _) = world.resume(2, &token, 0);
    assert_eq!(world.heard(bob)[0], bounce(0, BounceReason::Absent));
}

#[test]
fn what_a_link_asked_for_stays_and_its_answers_do_not() {
    let mut world = World::new();
    let (link, welcome) = world.able_admin(1);
    world.hear_all();
    world.register(link, MAILBOX);
    world.heard(link);
    let slot = world.open_slot(link, 0);
    let stranger = world.stranger(9, MAILBOX);
    world.send(stranger, MAILBOX, b"let me in");
    world.cut(link);
    let (link, _) = world.resume_admin(1, &welcome.resume_token, 0);
    let frames = world.heard(link);
    assert!(!frames.iter().any(|frame| matches!(frame, ServerFrame::Registered { .. } | ServerFrame::SlotOpened { .. })));
    assert_eq!(sealed_of(&frames), [b"let me in"]);
    world.send(link, label(9), b"come in");
    assert_eq!(world.sealed(stranger), [b"come in"]);
    let another = world.stranger(10, MAILBOX);
    assert!(matches!(&world.heard(another)[..], [ServerFrame::Welcome(_)]));
    let guest = world.guest(11, slot.expect("opened"), None);
    assert!(matches!(&world.heard(guest)[..], [ServerFrame::Welcome(_)]));
}

#[test]
fn without_resume_nothing_is_kept_and_the_end_is_told_at_once() {
    let mut world = World::new();
    let (ann, _) = world.able(1, ABLE);
    let (bob, _) = world.able(2, Features::NONE);
    world.hear_all();
    world.send(ann, label(2), b"written");
    world.sealed(bob);
    assert_eq!(world.board.stats().retained_bytes, 0);
    world.send(ann, label(2), b"waits");
    world.ack(bob, 1_000);
    assert_eq!(world.closed(), [], "an acknowledgement without the feature means nothing");
    world.cut(bob);
    assert_eq!(world.heard(ann), [bounce(1, BounceReason::Absent), went([label(2)])]);
    assert_eq!(world.board.stats().dormant, 0);
}

// When it is over.

#[test]
fn the_others_hear_of_a_lost_link_after_two_seconds_and_lose_its_frames_after_two_minutes() {
    let mut world = World::new();
    let (ann, bob, token) = pair(&mut world);
    world.send(ann, label(2), b"written");
    world.sealed(bob);
    world.cut(bob);
    world.send(ann, label(2), b"in the first two seconds");
    world.pass(Duration::from_millis(1_999));
    assert_eq!(world.heard(ann), []);
    world.pass(Duration::from_millis(1));
    assert_eq!(world.heard(ann), [went([label(2)])]);
    world.send(ann, label(2), b"after them");
    assert_eq!(world.heard(ann), [bounce(2, BounceReason::Absent)]);

    world.pass(Duration::from_millis(117_999));
    assert_eq!(world.heard(ann), []);
    assert_eq!(world.board.stats().dormant, 1);
    world.pass(Duration::from_millis(1));
    assert_eq!(world.heard(ann), [bounce(0, BounceReason::Absent), bounce(1, BounceReason::Absent)]);
    let (late, welcome) = world.resume(2, &token, 0);
    assert_eq!(welcome.resumed, None);
    assert_eq!((world.sealed(late).len(), world.heard(ann)), (0, vec![came([label(2)])]));
    for link in [ann, late] {
        world.frame(link, ClientFrame::Goodbye(GoodbyeReason::Closing).encode());
        world.cut(link);
    }
    world.assert_nothing_is_left();
}

#[test]
fn a_link_that_was_announced_as_gone_comes_back_as_resumed() {
    let mut world = World::new();
    let (ann, bob, token) = pair(&mut world);
    world.cut(bob);
    world.pass(Duration::from_secs(3));
    assert_eq!(world.heard(ann), [went([label(2)])]);
    world.resume(2, &token, 0);
    assert_eq!(world.heard(ann), [labels(false, true, &[label(2)])]);
}

#[test]
fn a_new_link_of_the_same_key_ends_what_was_kept() {
    let mut world = World::new();
    let (ann, bob, _) = pair(&mut world);
    world.send(ann, label(2), b"0");
    world.sealed(bob);
    world.send(ann, label(2), b"1");
    world.cut(bob);
    let (bob, welcome) = world.able(2, ABLE);
    assert_eq!((welcome.resumed, world.sealed(bob).len()), (None, 0));
    assert_eq!(world.heard(ann), [bounce(0, BounceReason::Absent), bounce(1, BounceReason::Absent), came([label(2)])]);
    assert_eq!(world.board.stats().dormant, 0);
}

#[test]
fn goodbye_ends_at_once() {
    let mut world = World::new();
    let (ann, bob, token) = pair(&mut world);
    world.send(ann, label(2), b"0");
    world.frame(bob, ClientFrame::Goodbye(GoodbyeReason::Closing).encode());
    assert_eq!(world.heard(ann), [bounce(0, BounceReason::Absent), went([label(2)])]);
    world.cut(bob);
    assert_eq!(world.resume(2, &token, 0).1.resumed, None);
}

#[test]
fn a_reader_that_takes_nothing_can_come_back_for_what_waits() {
    let mut world = World::new();
    let (ann, bob, token) = pair(&mut world);
    world.send(ann, label(2), b"0");
    world.pass(Duration::from_secs(16));
    assert_eq!(world.closed(), [bob]);
    let (bob, welcome) = world.resume(2, &token, 0);
    assert_eq!((welcome.resumed, world.sealed(bob)), (Some(0), vec![b"0".to_vec()]));
    assert_eq!(world.heard(ann), []);
}

#[test]
fn shutting_down_keeps_nothing() {
    let mut world = World::new();
    let (ann, bob, _) = pair(&mut world);
    world.send(ann, label(2), b"0");
    world.cut(bob);
    world.board.shut_down(world.now);
    assert_eq!(world.heard(ann), [ServerFrame::Goodbye(GoodbyeReason::ShuttingDown)]);
    world.cut(ann);
    world.assert_nothing_is_left();
}

// Who may.

#[test]
fn a_valid_token_takes_over_from_a_socket_that_is_still_open() {
    let mut world = World::new();
    let (ann, half_open, token) = pair(&mut world);
    world.send(ann, label(2), b"0");
    world.sealed(half_open);
    world.closed();
    let (bob, welcome) = world.resume(2, &token, 0);
    assert_eq!(welcome.resumed, Some(0));
    assert_eq!((world.closed(), world.heard(half_open)), (vec![half_open], vec![]), "without a farewell");
    world.frame(half_open, data(label(1), Lane::Normal, b"too late").into_bytes());
    world.cut(half_open);
    assert_eq!((world.sealed(bob), world.heard(ann)), (vec![b"0".to_vec()], vec![]));
    assert_eq!((world.board.stats().replaced, world.board.stats().dormant), (0, 0));
}

#[test]
fn forged_tokens_and_those_of_others_resume_nothing() {
    let mut world = World::new();
    let (ann, bob, token) = pair(&mut world);
    let (_, eve) = world.able(3, ABLE);
    let mut flipped = token.to_vec();
    flipped[31] ^= 1;
    let longer = [&token[..], &[0]].concat();
    for (seed, forged) in [(3, token.clone()), (2, eve.resume_token), (2, flipped.into()), (2, longer.into())] {
        world.send(ann, label(2), b"kept");
        let (link, welcome) = world.resume(seed, &forged, 0);
        assert_eq!(welcome.resumed, None);
        assert_ne!(welcome.resume_token, token);
        world.heard(link);
    }
    world.cut(bob);
    let empty = world.resume(2, &Bytes::new(), 0).1;
    let zeros = world.resume(2, &Bytes::from_static(&[0; 32]), 0).1;
    assert_eq!((empty.resumed, zeros.resumed), (None, None));
}

#[test]
fn a_token_is_good_in_its_own_swarm_only() {
    let mut world = World::new();
    let (_, bob, token) = pair(&mut world);
    world.cut(bob);
    let elsewhere = world.open();
    let frames = world.hello(elsewhere, &HelloBody { features: ABLE, resume_token: token.clone(), ..foreign(2) });
    assert!(matches!(&frames[..], [ServerFrame::Welcome(welcome), _] if welcome.resumed.is_none()));
    assert_eq!(world.resume(2, &token, 0).1.resumed, Some(0), "and stays good there");
}

#[test]
fn the_token_before_is_good_as_its_welcome_may_be_lost() {
    let mut world = World::new();
    let (ann, bob, first) = pair(&mut world);
    world.send(ann, label(2), b"0");
    world.sealed(bob);
    world.cut(bob);
    let (lost, _) = world.resume(2, &first, 0);
    world.cut(lost);
    let (bob, welcome) = world.resume(2, &first, 0);
    assert_eq!((welcome.resumed, world.sealed(bob)), (Some(0), vec![b"0".to_vec()]));
    world.cut(bob);
    let (bob, _) = world.resume(2, &welcome.resume_token, 1);
    assert_eq!(world.sealed(bob).len(), 0);
    world.cut(bob);
    assert_eq!(world.resume(2, &first, 1).1.resumed, None, "by now it is too old");
}

#[test]
fn a_client_that_counts_what_it_never_got_or_forgets_what_it_had_gets_a_new_link() {
    let mut world = World::new();
    for (received, resumed) in [(0, None), (1, Some(0)), (2, Some(0)), (3, None), (u64::MAX, None)] {
        let (ann, bob, token) = pair(&mut world);
        world.send(ann, label(2), b"0");
        world.send(ann, label(2), b"1");
        world.heard(bob);
        world.ack(bob, 1);
        world.ack(bob, 0);
        world.cut(bob);
        assert_eq!(world.resume(2, &token, received).1.resumed, resumed, "{received}");
    }
}

#[test]
fn who_acknowledges_more_than_was_sent_is_refused() {
    for sent in 0..3 {
        let mut world = World::new();
        let (ann, bob, _) = pair(&mut world);
        for _ in 0..sent {
            world.send(ann, label(2), b"");
        }
        world.heard(bob);
        world.ack(bob, sent);
        assert_eq!(world.closed(), []);
        world.ack(bob, sent + 1);
        world.assert_rejected(bob, RejectCode::Malformed);
    }
}

#[test]
fn what_is_not_written_again_yet_cannot_be_acknowledged() {
    let mut world = World::new();
    let (ann, bob, token) = pair(&mut world);
    world.send(ann, label(2), b"0");
    world.heard(bob);
    world.cut(bob);
    let (bob, _) = world.resume(2, &token, 0);
    world.ack(bob, 1);
    world.assert_rejected(bob, RejectCode::Malformed);
}

// At the bounds.

#[test]
fn beyond_the_bound_the_oldest_is_forgotten_and_who_needs_it_gets_a_new_link() {
    for (received, resumed) in [(1, None), (2, Some(0)), (4, Some(0))] {
        let mut world = World::with(Config { retained_frames: 2, ..Config::default() });
        let (ann, bob, token) = pair(&mut world);
        for sealed in [b"0", b"1", b"2", b"3"] {
            world.send(ann, label(2), sealed);
        }
        world.heard(bob);
        let len = DataFrame::HEADER_LEN + 1;
        assert_eq!(world.board.stats().retained_bytes, 2 * len as u64);
        world.cut(bob);
        assert_eq!(world.resume(2, &token, received).1.resumed, resumed, "{received}");
    }
    let mut world = World::with(Config { retained_bytes: 1_000, ..Config::default() });
    let (ann, bob, token) = pair(&mut world);
    world.send(ann, label(2), &[0; 1_000]);
    world.heard(bob);
    assert_eq!(world.board.stats().retained_bytes, 0);
    world.cut(bob);
    assert_eq!(world.resume(2, &token, 1).1.resumed, Some(0));
}

#[test]
fn a_forgotten_bounce_is_missing_for_who_has_received_nothing_after_it() {
    let mut world = World::with(Config { retained_frames: 1, ..Config::default() });
    let (ann, bob, token) = pair(&mut world);
    world.send(bob, label(8), b"");
    world.send(bob, label(9), b"");
    world.heard(bob);
    world.cut(bob);
    let (bob, welcome) = world.resume(2, &token, 0);
    assert_eq!(welcome.resumed, None);
    world.heard(bob);
    world.send(ann, label(2), b"");
    world.heard(bob);
    world.cut(bob);
    assert_eq!(world.resume(2, &welcome.resume_token, 1).1.resumed, Some(0));
}

#[test]
fn of_too_many_lost_links_the_first_is_over() {
    let mut world = World::with(Config { dormant_links: 2, ..Config::default() });
    let links: Vec<_> = (1..=3).map(|seed| world.able(seed, ABLE)).collect();
    for (link, _) in &links {
        world.cut(*link);
        world.pass(Duration::from_millis(1));
    }
    assert_eq!(world.board.stats().dormant, 2);
    let resumed: Vec<_> = (1..=3).map(|seed| world.resume(seed, &links[seed as usize - 1].1.resume_token, 0).1.resumed).collect();
    assert_eq!(resumed, [None, Some(0), Some(0)]);
}

#[test]
fn a_lane_of_a_lost_link_is_as_full_as_any() {
    let lanes = crate::proto::LaneLimits { frames_per_lane: 2, ..Default::default() };
    let mut world = World::with(Config { lanes, ..Config::default() });
    let (ann, bob, token) = pair(&mut world);
    world.cut(bob);
    for _ in 0..3 {
        world.send(ann, label(2), b"");
    }
    assert!(matches!(world.heard(ann)[..], [ServerFrame::Bounce(bounce)] if bounce.reason == BounceReason::Full));
    let (bob, _) = world.resume(2, &token, 0);
    assert_eq!(world.sealed(bob).len(), 2);
}

#[test]
fn a_lost_link_with_more_bounces_than_are_kept_cannot_be_resumed() {
    let mut world = World::with(Config { retained_frames: 100_000, retained_bytes: 100_000_000, ..Config::default() });
    let (ann, bob, token) = pair(&mut world);
    for _ in 0..70 {
        for _ in 0..1_000 {
            world.send(bob, label(1), b"");
        }
        world.heard(ann);
    }
    world.cut(bob);
    world.frame(ann, ClientFrame::Goodbye(GoodbyeReason::Closing).encode());
    assert_eq!(world.board.stats().bounced, 70_000);
    assert_eq!(world.resume(2, &token, 0).1.resumed, None);
}

// What is heard of the others.

#[test]
fn a_link_that_goes_on_hears_all_labels_and_which_of_them_go_on() {
    let mut world = World::new();
    let (carl, _) = world.able(3, ABLE);
    world.able(4, ABLE);
    let (_, bob, token) = settled_pair(&mut world);
    world.cut(bob);
    world.frame(carl, ClientFrame::Goodbye(GoodbyeReason::Closing).encode());
    world.able(4, ABLE);
    world.able(5, ABLE);
    let (bob, _) = world.resume(2, &token, 1);
    let news = LabelChanges { came: vec![label(4), label(5)], went: vec![label(3)], ..LabelChanges::default() };
    assert_eq!(world.heard(bob), [labels(true, true, &[label(1)]), ServerFrame::Labels(news)]);
}

#[test]
fn labels_that_may_have_been_written_into_the_void_are_told_as_if_they_never_were() {
    let mut world = World::new();
    let (ann, bob, mut token) = settled_pair(&mut world);
    world.able(3, ABLE);
    assert_eq!(world.heard(bob), [came([label(3)])]);
    let mut bob = bob;
    for _ in 0..3 {
        world.cut(bob);
        let (next, welcome) = world.resume(2, &token, 1);
        (bob, token) = (next, welcome.resume_token);
        assert_eq!(world.heard(bob), [labels(true, true, &[label(1)]), labels(false, false, &[label(3)])]);
    }
    world.send(ann, label(2), b"so that it is known that he heard it");
    world.heard(bob);
    world.ack(bob, 2);
    world.cut(bob);
    let (bob, _) = world.resume(2, &token, 2);
    let mut both = [label(1), label(3)];
    both.sort();
    assert_eq!(world.heard(bob), [labels(true, true, &both)]);
}

#[test]
fn a_link_that_never_heard_the_whole_list_is_told_it_plainly() {
    let mut world = World::new();
    world.able(1, ABLE);
    let (bob, welcome) = world.able(2, ABLE);
    world.cut(bob);
    let (bob, welcome_back) = world.resume(2, &welcome.resume_token, 0);
    assert_eq!((welcome_back.resumed, world.heard(bob)), (Some(0), vec![labels(true, false, &[label(1)])]));
}

#[test]
fn who_was_busy_hears_of_a_break_before_it_hears_that_a_link_went_on() {
    let mut world = World::new();
    let (ann, _, _) = pair(&mut world);
    let (bob, welcome) = world.able(2, ABLE);
    world.cut(bob);
    world.pass(Duration::from_secs(3));
    let (bob, welcome) = world.resume(2, &welcome.resume_token, 0);
    world.cut(bob);
    world.pass(Duration::from_secs(3));
    assert_eq!(world.heard(ann), [came([label(2)]), went([label(2)])], "for all of that");
    world.resume(2, &welcome.resume_token, 0);
    world.able(3, ABLE);
    assert_eq!(world.heard(ann), [labels(false, true, &[label(2)]), came([label(3)])]);

    let (bob, welcome) = world.able(2, ABLE);
    world.cut(bob);
    world.pass(Duration::from_secs(3));
    world.resume(2, &welcome.resume_token, 0);
    assert_eq!(world.heard(ann), [came([label(2)]), labels(false, true, &[label(2)])]);
}

#[test]
fn who_was_given_the_list_while_a_link_was_gone_does_not_take_it_for_the_one_it_knew() {
    let mut world = World::new();
    let (_, bob, token) = pair(&mut world);
    world.cut(bob);
    world.pass(Duration::from_secs(3));
    let (carl, _) = world.able(3, ABLE);
    assert_eq!(world.heard(carl), [labels(true, false, &[label(1)])]);
    let (_, welcome) = world.resume(2, &token, 0);
    assert_eq!((welcome.resumed, world.heard(carl)), (Some(0), vec![came([label(2)])]));
}

#[test]
fn a_resumed_link_has_the_rights_of_its_new_certificate() {
    let mut world = World::new();
    let (link, welcome) = world.able_admin(1);
    world.register(link, MAILBOX);
    world.cut(link);
    world.resume(1, &welcome.resume_token, 0);
    assert_eq!(world.board.stats().mailboxes, 0);
    let stranger = world.stranger(9, MAILBOX);
    world.assert_rejected(stranger, RejectCode::UnknownMailbox);
}

#[test]
fn a_frame_that_expires_while_its_receiver_is_away_is_bounced_as_expired() {
    let mut world = World::new();
    let (ann, bob, token) = pair(&mut world);
    world.cut(bob);
    let header = OuterHeader { expiry: world.now.wall + 1_000, ..*data(label(2), Lane::Normal, b"").header() };
    world.frame(ann, DataFrame::new(header, b"old").into_bytes());
    world.pass(Duration::from_secs(70));
    let (bob, _) = world.resume(2, &token, 0);
    assert_eq!(world.sealed(bob).len(), 0);
    assert!(world.heard(ann).contains(&bounce(0, BounceReason::Expired)));
}

// All of it at once.

/// A client on a network that loses what is under way when it breaks.
struct Client {
    link: LinkId,
    token: Bytes,
    /// Written by the switchboard, and not received; each with the life that carl had then.
    under_way: std::collections::VecDeque<(ServerFrame, u32)>,
    received: u64,
    data: Vec<Vec<u8>>,
    bounced: std::collections::BTreeSet<u64>,
    there: std::collections::BTreeSet<Label>,
    /// Of carl's lives the last of which this client has heard that it knows nothing of those before.
    carls: u32,
}

impl Client {
    fn receive(&mut self, frames: usize) {
        for (frame, carls) in self.under_way.drain(..frames.min(self.under_way.len())) {
            match frame {
                ServerFrame::Data(frame) => {
                    self.received += 1;
                    self.data.push(frame.sealed().to_vec());
                }
                ServerFrame::Bounce(bounce) => self.bounced.extend([bounce.number]),
                ServerFrame::Labels(labels) => {
                    if labels.forget_others {
                        self.there.clear();
                    }
                    self.there.extend(&labels.came);
                    if !labels.resumed && labels.came.contains(&label(4)) {
                        self.carls = carls;
                    }
                    self.there.retain(|label| !labels.went.contains(label));
                }
                ServerFrame::Welcome(_) => {}
                other => panic!("{other:?}"),
            }
        }
    }
}

#[test]
fn whatever_breaks_when_a_link_that_goes_on_loses_repeats_and_reorders_nothing() {
    for seed in 0..60 {
        let mut dice = Dice(seed);
        let mut world = World::new();
        let (ann, _, _) = pair(&mut world);
        let (link, welcome) = world.able(3, ABLE);
        let (data, bounced, there) = Default::default();
        let under_way = Default::default();
        let mut bob = Client { link, token: welcome.resume_token, under_way, received: 0, data, bounced, there, carls: 0 };
        let (mut sent, mut sent_by_bob) = ([0u16; 5], 0);
        let (mut carl, mut carls, mut carls_token) = (None, 0, Bytes::new());
        for _ in 0..200 {
            match dice.roll(12) {
                0..=3 => {
                    let lane = Lane::ALL[dice.roll(5) as usize];
                    let number = &mut sent[lane.index()];
                    let sealed = [&[lane as u8][..], &number.to_be_bytes(), &vec![0; dice.roll(900) as usize]].concat();
                    *number += 1;
                    world.frame(ann, super::world::data(label(3), lane, &sealed).into_bytes());
                }
                4 => {
                    world.send(bob.link, label(9), b"for nobody");
                    sent_by_bob += 1;
                }
                5 | 6 => {
                    for _ in 0..dice.roll(8) {
                        let frame = world.board.poll_transmit(bob.link, world.now);
                        bob.under_way.extend(frame.map(|frame| (ServerFrame::decode(frame).expect("well-formed"), carls)));
                    }
                }
                7 | 8 => bob.receive(dice.roll(8) as usize),
                9 => world.ack(bob.link, bob.received - dice.roll(bob.received.min(3) + 1)),
                10 => match carl.take() {
                    Some(link) => world.cut(link),
                    None => {
                        let token = if dice.roll(2) == 0 { carls_token } else { Bytes::new() };
                        let (link, welcome) = world.resume(4, &token, 0);
                        carls += u32::from(welcome.resumed.is_none());
                        (carl, carls_token) = (Some(link), welcome.resume_token);
                    }
                },
                _ => {
                    bob.receive(dice.roll(20) as usize);
                    bob.under_way.clear();
                    if dice.roll(3) > 0 {
                        world.cut(bob.link);
                        world.pass(Duration::from_millis(dice.roll(1_990)));
                    }
                    let (link, welcome) = world.resume(3, &bob.token, bob.received);
                    assert_eq!(welcome.resumed, Some(sent_by_bob), "seed {seed}");
                    bob.link = link;
                    if dice.roll(4) > 0 {
                        bob.token = welcome.resume_token;
                    } else {
                        // This Welcome is lost, with all that comes after it.
                        world.cut(link);
                        let (link, welcome) = world.resume(3, &bob.token, bob.received);
                        (bob.link, bob.token) = (link, welcome.resume_token);
                    }
                }
            }
        }
        bob.under_way.extend(world.heard(bob.link).into_iter().map(|frame| (frame, carls)));
        bob.receive(usize::MAX);
        for lane in Lane::ALL {
            let of_lane = bob.data.iter().filter(|sealed| sealed[0] == lane as u8).map(|sealed| [sealed[1], sealed[2]]);
            let expected: Vec<_> = (0..sent[lane.index()]).map(u16::to_be_bytes).collect();
            assert_eq!(of_lane.collect::<Vec<_>>(), expected, "seed {seed}, {lane:?}");
        }
        assert_eq!(bob.bounced, (0..sent_by_bob).collect(), "seed {seed}");
        let swarm = world.board.swarms.find(&routing().public()).expect("theirs");
        let members = world.board.swarms[swarm].members.iter().filter(|(of, seat)| **of != label(3) && seat.is_announced());
        let there = members.map(|(of, _)| *of).collect();
        assert_eq!(bob.there, there, "seed {seed}");
        assert!(!there.contains(&label(4)) || bob.carls == carls, "seed {seed}: what was lost on the way to carl isn't doubted");
        world.ack(bob.link, bob.received);
        let frames = world.board.stats().retained_bytes;
        assert_eq!(frames, 0, "seed {seed}");
    }
}
