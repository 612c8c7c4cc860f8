//! Data frames on their way: passed on, queued, bounced.

use std::time::Duration;

use bytes::Bytes;

use super::world::*;
use crate::proto::{Bounce, BounceReason, DataFrame, Lane, LaneLimits, OuterHeader, ServerFrame, limits};
use crate::switchboard::Config;

#[test]
fn a_frame_arrives_with_its_source_and_otherwise_as_it_was() {
    let mut world = World::new();
    let (ann, bob) = (world.member(1), world.member(2));
    world.hear_all();
    let sent = data(label(2), Lane::Urgent, b"sealed");
    world.frame(ann, sent.bytes().clone());
    let [ServerFrame::Data(frame)] = &world.heard(bob)[..] else { panic!("one frame") };
    assert_eq!((frame.source(), frame.header_bytes(), frame.sealed()), (label(1), sent.header_bytes(), sent.sealed()));
}

#[test]
fn a_source_that_lies_is_put_right_and_a_frame_in_its_own_memory_isn_t_copied() {
    let mut world = World::new();
    let (ann, bob) = (world.member(1), world.member(2));
    world.hear_all();
    let bytes = data(label(2), Lane::Normal, b"sealed").with_source(label(9)).into_bytes();
    let place = bytes.as_ptr();
    world.frame(ann, bytes);
    let passed_on = world.board.poll_transmit(bob, world.now).expect("queued");
    assert_eq!(passed_on.as_ptr(), place);
    assert_eq!(DataFrame::parse(passed_on).expect("a frame").source(), label(1));
}

#[test]
fn lanes_are_served_by_rank_and_each_in_its_order() {
    let mut world = World::new();
    let (ann, bob) = (world.member(1), world.member(2));
    world.hear_all();
    for (lane, sealed) in
        [(Lane::Bulk, b"b1"), (Lane::Normal, b"n1"), (Lane::Bulk, b"b2"), (Lane::Urgent, b"u1"), (Lane::Normal, b"n2")]
    {
        world.frame(ann, data(label(2), lane, sealed).into_bytes());
    }
    assert_eq!(world.sealed(bob), [b"u1", b"n1", b"n2", b"b1", b"b2"], "the lanes are out of rank");
}

#[test]
fn what_can_t_be_passed_on_is_bounced_by_its_number() {
    let mut world = World::new();
    let ann = world.member(1);
    world.member(2);
    world.hear_all();
    let long_past = OuterHeader { expiry: START - 60_001, ..*data(label(2), Lane::Normal, b"").header() };
    let just_past = OuterHeader { expiry: START - 60_000, ..long_past };
    let mut bad_lane = data(label(2), Lane::Normal, b"").into_bytes().to_vec();
    bad_lane[19] = 5;
    for bytes in [
        data(label(2), Lane::Normal, b"fine").into_bytes(),
        data(label(8), Lane::Normal, b"nobody").into_bytes(),
        data(label(2), Lane::Control, &[0; limits::CONTROL_FRAME - DataFrame::HEADER_LEN + 1]).into_bytes(),
        DataFrame::new(long_past, b"").into_bytes(),
        Bytes::from_static(&[0x10, 0, 0]),
        bad_lane.into(),
        DataFrame::new(just_past, b"in time").into_bytes(),
        data(label(2), Lane::Control, &[0; limits::CONTROL_FRAME - DataFrame::HEADER_LEN]).into_bytes(),
    ] {
        world.frame(ann, bytes);
    }
    let expected = [
        bounce(1, BounceReason::Absent),
        bounce(2, BounceReason::ControlTooLarge),
        bounce(3, BounceReason::Expired),
        bounce(4, BounceReason::Malformed),
        bounce(5, BounceReason::Malformed),
    ];
    assert_eq!(world.heard(ann), expected);
    assert_eq!((world.board.stats().forwarded_frames, world.board.stats().bounced), (3, 5));
}

#[test]
fn a_full_lane_bounces_the_newcomer_and_leaves_other_lanes_and_links_alone() {
    let lanes = LaneLimits { frames_per_lane: 2, ..LaneLimits::default() };
    let mut world = World::with(Config { lanes, ..Config::default() });
    let (ann, bob, eve) = (world.member(1), world.member(2), world.member(3));
    world.hear_all();
    for sealed in [b"1", b"2", b"3"] {
        world.send(ann, label(2), sealed);
    }
    world.frame(ann, data(label(2), Lane::Urgent, b"u").into_bytes());
    world.send(ann, label(3), b"e");
    assert!(matches!(
        &world.heard(ann)[..],
        [ServerFrame::Bounce(Bounce { number: 2, reason: BounceReason::Full, retry_after_ms: 1.. })]
    ));
    assert_eq!(world.sealed(bob), [b"u", b"1", b"2"]);
    assert_eq!(world.sealed(eve), [b"e"]);
    assert_eq!(world.board.stats().queued_bytes, 0);
}

#[test]
fn what_waits_for_a_link_that_ends_is_bounced_as_absent() {
    let mut world = World::new();
    let (ann, bob) = (world.member(1), world.member(2));
    world.hear_all();
    world.send(ann, label(2), b"1");
    world.send(ann, label(2), b"2");
    world.board.handle_closed(bob, world.now);
    assert_eq!(world.heard(ann), [bounce(0, BounceReason::Absent), bounce(1, BounceReason::Absent), went([label(2)])]);
    assert_eq!(world.board.stats().queued_bytes, 0);
}

#[test]
fn a_frame_that_expires_while_it_waits_is_bounced() {
    let mut world = World::new();
    let (ann, bob) = (world.member(1), world.member(2));
    world.hear_all();
    let header = OuterHeader { expiry: START + 1_000, ..*data(label(2), Lane::Normal, b"").header() };
    world.frame(ann, DataFrame::new(header, b"old").into_bytes());
    world.send(ann, label(2), b"ageless");
    world.now.wall += 61_001;
    assert_eq!(world.sealed(bob), [b"ageless"]);
    assert_eq!(world.heard(ann), [bounce(0, BounceReason::Expired)]);
}

#[test]
fn a_reader_that_takes_nothing_is_cut_and_its_senders_are_told() {
    let mut world = World::new();
    let (ann, bob) = (world.member(1), world.member(2));
    world.hear_all();
    world.send(ann, label(2), b"1");
    world.send(ann, label(2), b"2");
    world.pass(Duration::from_secs(14));
    assert!(world.board.poll_transmit(bob, world.now).is_some(), "it takes one, and has its time again");
    world.pass(Duration::from_secs(14));
    assert_eq!(world.closed(), []);
    world.pass(Duration::from_secs(2));
    assert_eq!(world.closed(), [bob]);
    assert_eq!(world.heard(ann), [bounce(1, BounceReason::Absent), went([label(2)])]);
    assert_eq!(world.board.stats().stalled, 1);
}

#[test]
fn a_sender_that_leaves_its_bounces_unread_isn_t_read_and_in_the_end_is_cut() {
    let mut world = World::new();
    let ann = world.member(1);
    world.hear_all();
    for _ in 0..1_023 {
        world.send(ann, label(9), b"");
    }
    assert!(world.board.wants_frames(ann));
    world.send(ann, label(9), b"");
    assert!(!world.board.wants_frames(ann));
    assert_eq!(world.heard(ann).len(), 1_024);
    assert!(world.board.wants_frames(ann));

    for _ in 0..65_537 {
        world.send(ann, label(9), b"");
    }
    world.pass(Duration::ZERO);
    assert_eq!(world.closed(), [ann]);
}
