//! What waits for agents that aren't linked.

use std::collections::{BTreeSet, VecDeque};
use std::time::Duration;

use super::world::*;
use crate::proto::{
    Bounce, BounceReason, ClientFrame, DataFrame, Features, GoodbyeReason, HelloBody, Lane, LaneLimits, OuterHeader, OuterKind,
    ServerFrame,
};
use crate::switchboard::{Config, LinkId};

/// Ann, who sends, and bob's label, who was linked and has left.
fn with_bob_away(world: &mut World) -> LinkId {
    let (ann, _) = world.able(1, ABLE);
    let (bob, _) = world.able(2, ABLE);
    leave(world, bob);
    world.hear_all();
    ann
}

fn leave(world: &mut World, link: LinkId) {
    world.frame(link, ClientFrame::Goodbye(GoodbyeReason::Closing).encode());
    world.cut(link);
}

fn accepted(number: u64) -> ServerFrame {
    ServerFrame::Accepted { number }
}

fn mailbox_full(number: u64) -> ServerFrame {
    ServerFrame::Bounce(Bounce { number, reason: BounceReason::MailboxFull, retry_after_ms: 30_000 })
}

// What may wait.

#[test]
fn an_envelope_waits_for_a_member_that_has_left_and_comes_before_anything_new() {
    let mut world = World::new();
    let ann = with_bob_away(&mut world);
    for (lane, sealed) in
        [(Lane::Bulk, b"b1"), (Lane::Normal, b"n1"), (Lane::Urgent, b"u1"), (Lane::Normal, b"n2"), (Lane::High, b"h1")]
    {
        world.park(ann, label(2), lane, sealed);
    }
    assert_eq!(world.heard(ann), (0..5).map(accepted).collect::<Vec<_>>());
    assert_eq!((world.board.stats().parked, world.board.stats().accepted), (5, 5));
    world.pass(Duration::from_secs(1800));

    let (bob, _) = world.able(2, ABLE);
    world.send(ann, label(2), b"new");
    assert_eq!(world.sealed(bob), [&b"u1"[..], b"h1", b"n1", b"n2", b"new", b"b1"]);
    world.ack(bob, 6);
    assert_eq!(world.board.parking.held_bytes(), 0);
    assert_eq!(world.heard(ann), [came([label(2)])], "the receiver's word is what counts from here");
}

#[test]
fn the_source_of_what_waited_is_its_sender() {
    let mut world = World::new();
    let ann = with_bob_away(&mut world);
    world.park(ann, label(2), Lane::Normal, b"sealed");
    let (bob, _) = world.able(2, ABLE);
    let frames = world.heard(bob);
    assert!(matches!(&frames[1..], [ServerFrame::Data(frame)] if frame.source() == label(1) && frame.header().parkable));
}

#[test]
fn a_label_that_never_linked_in_this_run_is_absent() {
    let mut world = World::new();
    let ann = with_bob_away(&mut world);
    world.park(ann, label(7), Lane::Normal, b"");
    assert_eq!(world.heard(ann), [bounce(0, BounceReason::Absent)]);
}

#[test]
fn who_cannot_be_parked_for_and_who_cannot_park_gets_a_bounce() {
    let mut world = World::new();
    let (ann, _) = world.able(1, ABLE);
    let (plain, _) = world.able(2, Features::RESUME);
    leave(&mut world, plain);
    let (bob, _) = world.able(3, Features::PARKING);
    leave(&mut world, bob);
    let (carl, _) = world.able(4, Features::RESUME);
    world.hear_all();
    world.park(ann, label(2), Lane::Normal, b"it wouldn't know what to do with it");
    world.park(ann, label(3), Lane::Normal, b"it would");
    world.park(carl, label(3), Lane::Normal, b"not in force here");
    assert_eq!(world.heard(ann), [bounce(0, BounceReason::Absent), accepted(1)]);
    assert_eq!(world.heard(carl), [bounce(0, BounceReason::Absent)]);
}

#[test]
fn strangers_park_nothing() {
    let mut world = World::new();
    let (admin, _) = world.able_admin(1);
    world.register(admin, MAILBOX);
    let stranger = world.stranger(9, MAILBOX);
    world.hear_all();
    world.park(stranger, MAILBOX, Lane::Normal, b"on its way");
    leave(&mut world, admin);
    world.park(stranger, MAILBOX, Lane::Normal, b"knock");
    world.park(stranger, label(1), Lane::Normal, b"knock");
    let heard = world.heard(stranger);
    let expected = [bounce(0, BounceReason::Absent), bounce(1, BounceReason::Absent), bounce(2, BounceReason::NotAllowed)];
    assert_eq!((&heard[..], world.board.stats().parked), (&expected[..], 0));
}

#[test]
fn only_an_envelope_in_a_lane_with_a_sensible_expiry_waits() {
    let mut world = World::new();
    let ann = with_bob_away(&mut world);
    let wall = world.now.wall;
    let day = 24 * 3_600_000;
    let good = *envelope(label(2), Lane::Normal, wall + day + 60_000, b"").header();
    let odd = [
        OuterHeader { expiry: 0, ..good },
        OuterHeader { expiry: wall + day + 60_001, ..good },
        OuterHeader { expiry: u64::MAX, ..good },
        OuterHeader { lane: Lane::Control, ..good },
        OuterHeader { kind: OuterKind::Session, ..good },
        OuterHeader { kind: OuterKind::Opener, ..good },
        OuterHeader { kind: OuterKind::Unknown(77), ..good },
        OuterHeader { parkable: false, ..good },
    ];
    for header in odd {
        world.frame(ann, DataFrame::new(header, b"").into_bytes());
    }
    world.frame(ann, DataFrame::new(OuterHeader { expiry: wall - 60_001, ..good }, b"").into_bytes());
    world.frame(ann, DataFrame::new(good, b"").into_bytes());
    let mut expected: Vec<_> = (0..8).map(|number| bounce(number, BounceReason::Absent)).collect();
    expected.extend([bounce(8, BounceReason::Expired), accepted(9)]);
    assert_eq!(world.heard(ann), expected);
}

#[test]
fn for_a_member_that_is_linked_a_parkable_frame_is_like_any_other() {
    let mut world = World::new();
    let (ann, _) = world.able(1, ABLE);
    let (bob, _) = world.able(2, ABLE);
    world.hear_all();
    world.park(ann, label(2), Lane::Normal, b"direct");
    assert_eq!((world.sealed(bob), world.heard(ann)), (vec![b"direct".to_vec()], vec![]));
    assert_eq!(world.board.stats().accepted, 0);
}

// Times.

#[test]
fn what_expires_is_dropped_and_the_rest_stays() {
    let mut world = World::new();
    let ann = with_bob_away(&mut world);
    for (seconds, sealed) in [(10, b"1"), (500, b"2"), (20, b"3"), (10, b"4")] {
        let frame = envelope(label(2), Lane::Normal, world.now.wall + seconds * 1_000, sealed);
        world.frame(ann, frame.into_bytes());
    }
    world.pass(Duration::from_secs(69));
    assert_eq!((world.board.stats().parked, world.board.stats().expired), (4, 0), "the sender's clock may be a minute late");
    world.pass(Duration::from_secs(1));
    assert_eq!((world.board.stats().parked, world.board.stats().expired), (2, 2));
    world.pass(Duration::from_secs(11));
    assert_eq!((world.board.stats().parked, world.board.stats().expired), (1, 3));
    let (bob, _) = world.able(2, ABLE);
    assert_eq!(world.sealed(bob), [b"2"]);
    leave(&mut world, bob);
    leave(&mut world, ann);
    world.assert_nothing_is_left();
}

#[test]
fn a_member_is_known_for_a_day_after_it_left() {
    let mut world = World::new();
    let ann = with_bob_away(&mut world);
    world.pass(Duration::from_secs(24 * 3600) - Duration::from_millis(1));
    world.park(ann, label(2), Lane::Normal, b"just in time");
    world.pass(Duration::from_millis(1));
    world.park(ann, label(2), Lane::Normal, b"too late");
    assert_eq!(world.heard(ann), [accepted(0), bounce(1, BounceReason::Absent)]);
    let (bob, _) = world.able(2, ABLE);
    assert_eq!(world.sealed(bob), [b"just in time"], "what waits stays until it expires");
    leave(&mut world, bob);
    world.park(ann, label(2), Lane::Normal, b"it was there again");
    assert_eq!(world.heard(ann)[0], accepted(2));
}

#[test]
fn a_swarm_that_all_have_left_keeps_what_waits_and_then_nothing() {
    let mut world = World::new();
    let ann = with_bob_away(&mut world);
    world.park(ann, label(2), Lane::Normal, b"waits");
    leave(&mut world, ann);
    assert_eq!((world.board.stats().swarms, world.board.stats().parked, world.board.stats().known), (0, 1, 2));
    let (bob, _) = world.able(2, ABLE);
    assert_eq!(world.sealed(bob), [b"waits"]);
    world.ack(bob, 1);
    leave(&mut world, bob);
    world.assert_nothing_is_left();
}

#[test]
fn nothing_of_one_swarm_waits_in_another() {
    let mut world = World::new();
    let ann = with_bob_away(&mut world);
    world.park(ann, label(2), Lane::Normal, b"here");
    let there = world.open();
    let frames = world.hello(there, &HelloBody { features: ABLE, ..foreign(2) });
    assert!(!frames.iter().any(|frame| matches!(frame, ServerFrame::Data(_))));
    world.park(there, label(1), Lane::Normal, b"nobody here");
    assert_eq!(world.heard(there), [bounce(0, BounceReason::Absent)]);
}

#[test]
fn shutting_down_forgets_what_waits() {
    let mut world = World::new();
    let ann = with_bob_away(&mut world);
    world.park(ann, label(2), Lane::Normal, b"");
    world.board.shut_down(world.now);
    world.cut(ann);
    world.assert_nothing_is_left();
}

// Bounds.

#[test]
fn nobody_has_more_waiting_than_its_share() {
    let config = Config { parked_per_agent: 3, parked_bytes_per_agent: 1_000, ..Config::default() };
    let mut world = World::with(config);
    let ann = with_bob_away(&mut world);
    let (carl, _) = world.able(3, ABLE);
    leave(&mut world, carl);
    world.hear_all();
    for _ in 0..4 {
        world.park(ann, label(2), Lane::Normal, b"");
    }
    world.park(ann, label(3), Lane::Normal, &[0; 800]);
    world.park(ann, label(3), Lane::Normal, &[0; 100]);
    let expected = [accepted(0), accepted(1), accepted(2), mailbox_full(3), accepted(4), mailbox_full(5)];
    assert_eq!(world.heard(ann), expected, "more waits than one agent may have");
}

#[test]
fn no_swarm_has_more_waiting_than_its_share_and_all_have_no_more_than_all() {
    let len = DataFrame::HEADER_LEN + 100;
    let config = Config { parked_bytes_per_swarm: 2 * len, parked_bytes: 3 * len, ..Config::default() };
    let mut world = World::with(config);
    let ann = with_bob_away(&mut world);
    let (carl, _) = world.able(3, ABLE);
    leave(&mut world, carl);
    let elsewhere: Vec<_> = [4, 5].map(|seed| (world.open(), seed)).to_vec();
    for (link, seed) in &elsewhere {
        world.hello(*link, &HelloBody { features: ABLE, ..foreign(*seed) });
    }
    leave(&mut world, elsewhere[1].0);
    world.hear_all();
    for to in [2, 3, 2] {
        world.park(ann, label(to), Lane::Normal, &[0; 100]);
    }
    assert_eq!(world.heard(ann), [accepted(0), accepted(1), mailbox_full(2)]);
    for _ in 0..2 {
        world.park(elsewhere[0].0, label(5), Lane::Normal, &[0; 100]);
    }
    assert_eq!(world.heard(elsewhere[0].0), [accepted(0), mailbox_full(1)]);
    assert_eq!(world.board.stats().parked_bytes, 3 * len as u64);
}

#[test]
fn what_was_given_out_has_its_place_until_it_is_acknowledged() {
    let mut world = World::with(Config { parked_per_agent: 2, ..Config::default() });
    let ann = with_bob_away(&mut world);
    for sealed in [b"1", b"2"] {
        world.park(ann, label(2), Lane::Normal, sealed);
    }
    for _ in 0..5 {
        let (bob, _) = world.able(2, ABLE);
        assert_eq!(world.sealed(bob), [b"1", b"2"]);
        leave(&mut world, bob);
        world.park(ann, label(2), Lane::Normal, b"no room");
        assert!(
            world
                .heard(ann)
                .iter()
                .any(|frame| matches!(frame, ServerFrame::Bounce(bounce) if bounce.reason == BounceReason::MailboxFull))
        );
    }
    let (bob, _) = world.able(2, ABLE);
    world.heard(bob);
    world.ack(bob, 1);
    leave(&mut world, bob);
    world.hear_all();
    world.park(ann, label(2), Lane::Normal, b"3");
    assert_eq!(world.heard(ann), [accepted(7)]);
    let (bob, _) = world.able(2, ABLE);
    assert_eq!(world.sealed(bob), [b"2", b"3"]);
}

#[test]
fn of_too_many_who_left_the_first_that_nothing_waits_for_is_forgotten() {
    let mut world = World::with(Config { known_per_swarm: 2, ..Config::default() });
    let (ann, _) = world.able(1, ABLE);
    for seed in 2..=4 {
        let (link, _) = world.able(seed, ABLE);
        leave(&mut world, link);
        world.pass(Duration::from_secs(1));
    }
    world.hear_all();
    for seed in 2..=4 {
        world.park(ann, label(seed), Lane::Normal, b"");
    }
    assert_eq!(world.heard(ann), [bounce(0, BounceReason::Absent), accepted(1), accepted(2)]);
    let (link, _) = world.able(5, ABLE);
    leave(&mut world, link);
    world.hear_all();
    world.park(ann, label(5), Lane::Normal, b"the others have something waiting");
    assert_eq!(world.heard(ann), [bounce(3, BounceReason::Absent)]);
    assert_eq!(world.board.stats().known, 2);
}

#[test]
fn the_same_holds_over_all_swarms() {
    let mut world = World::with(Config { known: 2, ..Config::default() });
    let ann = with_bob_away(&mut world);
    world.pass(Duration::from_secs(1));
    for seed in [3, 4] {
        let link = world.open();
        world.hello(link, &HelloBody { features: ABLE, ..foreign(seed) });
        leave(&mut world, link);
    }
    world.park(ann, label(2), Lane::Normal, b"");
    assert_eq!((world.heard(ann), world.board.stats().known), (vec![bounce(0, BounceReason::Absent)], 2));
}

#[test]
fn a_shelf_that_does_not_fit_into_the_lanes_follows_when_they_are_empty() {
    let lanes = LaneLimits { frames_per_lane: 2, ..LaneLimits::default() };
    let mut world = World::with(Config { lanes, ..Config::default() });
    let ann = with_bob_away(&mut world);
    for sealed in [b"1", b"2", b"3", b"4", b"5"] {
        world.park(ann, label(2), Lane::Normal, sealed);
    }
    let (bob, _) = world.able(2, ABLE);
    assert_eq!(world.sealed(bob), [b"1", b"2", b"3", b"4", b"5"]);
}

// What comes back.

#[test]
fn envelopes_of_a_link_that_ends_go_back_in_their_order_before_what_came_meanwhile() {
    let mut world = World::new();
    let ann = with_bob_away(&mut world);
    for sealed in [b"1", b"2", b"3"] {
        world.park(ann, label(2), Lane::Normal, sealed);
    }
    let (bob, _) = world.able(2, ABLE);
    for expected in [b"1", b"2"] {
        let frame = std::iter::from_fn(|| world.board.poll_transmit(bob, world.now)).find(|frame| frame[0] == DataFrame::KIND);
        assert_eq!(DataFrame::parse(frame.expect("it waits")).expect("a frame").sealed(), expected);
    }
    world.ack(bob, 1);
    world.park(ann, label(2), Lane::Normal, b"4");
    world.park(ann, label(2), Lane::Urgent, b"u");
    world.send(ann, label(2), b"session");
    world.heard(ann);
    world.cut(bob);
    world.pass(Duration::from_secs(2));
    world.park(ann, label(2), Lane::Normal, b"5");
    assert_eq!(world.heard(ann), [accepted(6), went([label(2)])]);
    world.pass(Duration::from_secs(118));
    assert_eq!(world.heard(ann), [accepted(4), accepted(3), bounce(5, BounceReason::Absent)], "lane by lane");
    let (bob, _) = world.able(2, ABLE);
    assert_eq!(world.sealed(bob), [b"u", b"2", b"3", b"4", b"5"]);
    world.ack(bob, 5);
    assert_eq!(world.board.parking.held_bytes(), 0);
}

#[test]
fn in_the_first_two_seconds_an_envelope_waits_for_the_link_and_after_them_on_the_shelf() {
    let mut world = World::new();
    let (ann, _) = world.able(1, ABLE);
    let (bob, welcome) = world.able(2, ABLE);
    world.hear_all();
    world.cut(bob);
    world.park(ann, label(2), Lane::Normal, b"1");
    assert_eq!(world.heard(ann), []);
    world.pass(Duration::from_secs(2));
    world.park(ann, label(2), Lane::Normal, b"2");
    world.park(ann, label(2), Lane::Normal, b"3");
    assert_eq!(world.heard(ann), [accepted(1), accepted(2), went([label(2)])]);
    let (bob, _) = world.resume(2, &welcome.resume_token, 0);
    assert_eq!(world.sealed(bob), [b"1", b"2", b"3"]);
    world.ack(bob, 3);
    assert_eq!(world.board.parking.held_bytes(), 0);
}

#[test]
fn envelopes_of_a_link_that_is_replaced_go_to_the_next_one() {
    let mut world = World::new();
    let (ann, _) = world.able(1, ABLE);
    world.able(2, ABLE);
    world.hear_all();
    world.park(ann, label(2), Lane::Normal, b"1");
    world.send(ann, label(2), b"session");
    let (bob, _) = world.able(2, ABLE);
    assert_eq!(world.sealed(bob), [b"1"]);
    assert_eq!(world.heard(ann), [accepted(0), bounce(1, BounceReason::Absent), came([label(2)])]);
}

#[test]
fn what_was_given_to_a_link_that_acknowledges_nothing_is_gone() {
    let mut world = World::new();
    let (ann, _) = world.able(1, ABLE);
    let (bob, _) = world.able(2, Features::PARKING);
    leave(&mut world, bob);
    world.hear_all();
    world.park(ann, label(2), Lane::Normal, b"1");
    let (bob, _) = world.able(2, Features::PARKING);
    assert_eq!(world.sealed(bob), [b"1"]);
    assert_eq!(world.board.parking.held_bytes(), 0);
    leave(&mut world, bob);
    let (bob, _) = world.able(2, Features::PARKING);
    assert_eq!(world.sealed(bob).len(), 0);
}

#[test]
fn what_expires_on_its_way_from_the_shelf_is_dropped() {
    let mut world = World::new();
    let ann = with_bob_away(&mut world);
    let frame = envelope(label(2), Lane::Normal, world.now.wall + 1_000, b"old");
    world.frame(ann, frame.into_bytes());
    world.able(2, ABLE);
    world.hear_all_but_data();
    world.now.wall += 61_001;
    world.pass(Duration::from_secs(16));
    assert_eq!(world.board.stats().dormant, 1);
    world.pass(Duration::from_secs(120));
    assert_eq!((world.board.stats().parked, world.board.parking.held_bytes()), (0, 0));
}

#[test]
fn an_accepted_that_was_written_into_the_void_is_told_again() {
    let mut world = World::new();
    let (ann, welcome) = world.able(1, ABLE);
    let (bob, _) = world.able(2, ABLE);
    leave(&mut world, bob);
    world.hear_all();
    world.park(ann, label(2), Lane::Normal, b"1");
    assert_eq!(world.heard(ann), [accepted(0)]);
    world.park(ann, label(2), Lane::Normal, b"2");
    world.cut(ann);
    let (ann, welcome) = world.resume(1, &welcome.resume_token, 0);
    assert_eq!(welcome.resumed, Some(2));
    assert_eq!(world.heard(ann)[..2], [accepted(0), accepted(1)]);
}

#[test]
fn an_envelope_that_is_forgotten_unacknowledged_comes_with_the_next_link() {
    let mut world = World::with(Config { retained_frames: 2, ..Config::default() });
    let ann = with_bob_away(&mut world);
    for sealed in [b"1", b"2", b"3", b"4"] {
        world.park(ann, label(2), Lane::Normal, sealed);
    }
    let (bob, _) = world.able(2, ABLE);
    assert_eq!(world.sealed(bob), [b"1", b"2", b"3", b"4"]);
    world.ack(bob, 4);
    assert_eq!(world.board.stats().parked, 2, "the acknowledgement came too late for two of them");
    leave(&mut world, bob);
    let (bob, _) = world.able(2, ABLE);
    let mut again = world.sealed(bob);
    again.sort();
    assert_eq!(again, [b"1", b"2"]);
    world.ack(bob, 2);
    assert_eq!(world.board.parking.held_bytes(), 0);
}

// Floods.

#[test]
fn a_flood_for_many_who_left_takes_what_it_may_and_no_more() {
    let config = Config { parked_bytes_per_swarm: 200_000, parked_bytes: 100_000, ..Config::default() };
    let mut world = World::with(config);
    let (ann, _) = world.able(1, ABLE);
    for seed in 2..30 {
        let (link, _) = world.able(seed, ABLE);
        leave(&mut world, link);
    }
    for round in 0..2_000u32 {
        world.park(
            ann,
            label(2 + (round % 28) as u8),
            Lane::ALL[1 + round as usize % 4],
            &vec![0; (round * 37 % 2_000) as usize],
        );
        if round % 100 == 0 {
            world.heard(ann);
        }
    }
    let stats = world.board.stats();
    assert!(stats.parked_bytes <= 100_000 && stats.parked_bytes > 97_000, "{stats:?}");
    assert_eq!(world.board.parking.held_bytes() as u64, stats.parked_bytes);
    leave(&mut world, ann);
    world.assert_nothing_is_left();
}

// All of it at once.

#[test]
fn whatever_becomes_of_its_receiver_an_accepted_envelope_arrives_or_expires_and_no_other_is_lost_in_silence() {
    for seed in 0..100 {
        let mut dice = Dice(seed);
        let frames = [4_096, 3][seed as usize % 2];
        let mut world = World::with(Config { parked_per_agent: 20, retained_frames: frames, ..Config::default() });
        let (ann, _) = world.able(1, ABLE);
        let (mut bob, mut welcome) = world.able(2, ABLE);
        let (mut sent, mut answered, mut received) = (0u64, BTreeSet::new(), BTreeSet::new());
        let (mut under_way, mut count) = (VecDeque::new(), 0);
        let mut is_linked = true;
        for step in 0..400 {
            match dice.roll(10) {
                0..=2 if step < 390 => {
                    let lane = Lane::ALL[1 + dice.roll(4) as usize];
                    world.park(ann, label(2), lane, &sent.to_be_bytes());
                    sent += 1;
                }
                3 | 4 if is_linked => under_way.extend(world.board.poll_transmit(bob, world.now)),
                5 if is_linked => {
                    for bytes in under_way.drain(..) {
                        if let Ok(ServerFrame::Data(frame)) = ServerFrame::decode(bytes) {
                            received.insert(u64::from_be_bytes(frame.sealed().try_into().expect("a number")));
                            count += 1;
                        }
                    }
                }
                6 if is_linked => world.ack(bob, count),
                7 if is_linked => {
                    is_linked = false;
                    under_way.clear();
                    if dice.roll(3) == 0 { leave(&mut world, bob) } else { world.cut(bob) }
                }
                8 => {
                    under_way.clear();
                    if dice.roll(2) == 0 {
                        (bob, welcome) = world.resume(2, &welcome.resume_token, count);
                    } else {
                        (bob, welcome) = world.able(2, ABLE);
                    }
                    count = if welcome.resumed.is_some() { count } else { 0 };
                    is_linked = true;
                }
                9 => {
                    let step = [100, 3_000, 60_000][dice.roll(3) as usize];
                    world.now.wall -= step;
                    world.pass(Duration::from_millis(step));
                }
                _ => {}
            }
            for frame in world.heard(ann) {
                match frame {
                    ServerFrame::Accepted { number } => answered.extend([number]),
                    ServerFrame::Bounce(bounce) => answered.extend([u64::MAX - bounce.number]),
                    _ => {}
                }
            }
        }
        for _ in 0..2 {
            let (link, _) = world.able(2, ABLE);
            let numbers = world.sealed(link).into_iter().map(|sealed| u64::from_be_bytes(sealed.try_into().expect("a number")));
            let numbers: Vec<_> = numbers.collect();
            world.ack(link, numbers.len() as u64);
            received.extend(numbers);
        }
        answered.extend(world.heard(ann).iter().filter_map(|frame| match frame {
            ServerFrame::Accepted { number } => Some(*number),
            ServerFrame::Bounce(bounce) => Some(u64::MAX - bounce.number),
            _ => None,
        }));
        for number in 0..sent {
            let is_bounced = answered.contains(&(u64::MAX - number));
            assert!(received.contains(&number) || (is_bounced && !answered.contains(&number)), "seed {seed}: {number} is lost");
        }
        world.cut_all();
        world.assert_nothing_is_left();
    }
}
