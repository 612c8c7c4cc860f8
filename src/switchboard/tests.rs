//! The core in virtual time: every policy that `mod.rs` names, and hostile input.

mod world;

use std::time::Duration;

use bytes::Bytes;

use super::{Config, LinkId, Origin, Output};
use crate::proto::{
    Binding, Bounce, BounceReason, ClientFrame, DataFrame, Features, GoodbyeReason, HelloBody, Label, LabelChanges, Lane,
    LaneLimits, LinkCertificate, LinkChain, LinkRights, OuterHeader, RegisterStatus, RejectCode, Role, RoutingKeyPair,
    ServerFrame, limits, sign_hello,
};
use world::*;

// Links.

#[test]
fn a_member_is_welcomed_and_told_who_is_there() {
    let mut world = World::new();
    let ann = world.member(1);
    let bob = world.open();
    let frames = world.hello(bob, &member(2));
    assert!(matches!(&frames[..], [ServerFrame::Welcome(welcome), ServerFrame::Labels(labels)]
        if welcome.ping_seconds == 20 && *labels == forget_others_and([label(1)])));
    assert_eq!(world.heard(ann), [came([label(2)])]);
}

#[test]
fn a_link_that_says_nothing_is_refused_after_its_time() {
    let mut world = World::new();
    let silent = world.open();
    world.pass(Duration::from_millis(4_999));
    assert_eq!(world.heard(silent), []);
    world.pass(Duration::from_millis(1));
    world.assert_rejected(silent, RejectCode::TooSlow);
}

#[test]
fn a_wrong_hello_is_refused_with_the_reason() {
    let mut world = World::new();
    for (expected, spoil) in [
        (RejectCode::Authentication, (|body| body.features = Features::RESUME) as fn(&mut HelloBody)),
        (RejectCode::CertificateChain, |body| body.role = Role::Member(chain(3, LinkRights::default(), LATER))),
        (RejectCode::CertificateExpired, |body| body.role = Role::Member(chain(1, LinkRights::default(), START - 300_001))),
    ] {
        let link = world.open();
        let challenge = world.challenge(link);
        let mut body = member(1);
        spoil(&mut body);
        let hello = sign_hello(&challenge, &Binding::None, &key(1), body);
        let mut bytes = hello.bytes().to_vec();
        if expected == RejectCode::Authentication {
            bytes[2] ^= 1;
        }
        world.frame(link, bytes.into());
        world.assert_rejected(link, expected);
    }
}

#[test]
fn a_hello_for_another_version_binding_or_challenge_is_refused() {
    let mut world = World::new();
    let (first, second, third) = (world.open(), world.open(), world.open());
    let hello = sign_hello(&world.challenge(first), &Binding::None, &key(1), member(1));
    world.frame(second, hello.bytes().clone());
    world.assert_rejected(second, RejectCode::Authentication);

    let mut other_version = hello.bytes().to_vec();
    other_version[1] = 9;
    world.frame(first, other_version.into());
    world.assert_rejected(first, RejectCode::Version);

    let bound = sign_hello(&world.challenge(third), &Binding::Exporter([1; 32]), &key(1), member(1));
    world.frame(third, bound.bytes().clone());
    world.assert_rejected(third, RejectCode::Binding);
}

#[test]
fn a_hello_bound_to_its_connection_is_accepted_on_that_connection_only() {
    let mut world = World::new();
    for (value, accepted) in [([1; 32], true), ([2; 32], false)] {
        let link = world.board.handle_open(world.now, None, Binding::Exporter([1; 32]), [9; 32]);
        let challenge = world.challenge(link);
        world.frame(link, sign_hello(&challenge, &Binding::Exporter(value), &key(1), member(1)).bytes().clone());
        let welcomed = world.heard(link).iter().any(|frame| matches!(frame, ServerFrame::Welcome(_)));
        assert_eq!(welcomed, accepted);
    }
}

#[test]
fn a_second_link_of_the_same_key_replaces_the_first() {
    let mut world = World::new();
    let (older, bob) = (world.member(1), world.member(2));
    world.hear_all();
    world.send(bob, label(1), b"for the first");
    let newer = world.member(1);

    assert_eq!(world.heard(older), [ServerFrame::Replaced]);
    assert_eq!(world.closed(), [older]);
    assert_eq!(world.heard(bob), [bounce(0, BounceReason::Absent), came([label(1)])]);
    world.send(bob, label(1), b"for the second");
    assert_eq!(world.sealed(newer), [b"for the second"]);
    world.board.handle_closed(older, world.now);
    world.send(bob, label(1), b"still there");
    assert_eq!(world.sealed(newer), [b"still there"]);
    assert_eq!(world.heard(bob), []);
}

#[test]
fn the_same_key_in_another_swarm_is_somebody_else() {
    let mut world = World::new();
    let here = world.member(1);
    let there = world.open();
    let routing = RoutingKeyPair::from_seed(&[0xEE; 32]);
    let certificate = LinkCertificate::issue_by_routing(&routing, key(1).public(), LATER, ISSUER);
    let role = Role::Member(LinkChain::new(vec![certificate]).expect("one"));
    let frames = world.hello(there, &HelloBody { routing: routing.public(), role, ..member(1) });
    assert_eq!(frames.last(), Some(&forget_others_and_frame([])));
    assert_eq!(world.closed(), []);
    world.send(there, label(2), b"nobody");
    assert_eq!(world.heard(there), [bounce(0, BounceReason::Absent)]);
    assert_eq!((world.heard(here), world.board.stats().swarms), (vec![], 2));
}

#[test]
fn a_link_ends_when_its_certificate_has_expired() {
    let mut world = World::new();
    let hour = 3_600_000;
    let link = world.open();
    world.hello(link, &HelloBody { role: Role::Member(chain(1, ISSUER, START + hour)), ..member(1) });
    world.pass(Duration::from_millis(hour) + limits::CLOCK_TOLERANCE);
    assert_eq!(world.closed(), []);
    world.pass(Duration::from_millis(1));
    world.assert_rejected(link, RejectCode::CertificateExpired);
}

#[test]
fn a_clock_that_was_set_back_doesn_t_end_a_link() {
    let mut world = World::new();
    let hour = 3_600_000;
    let link = world.open();
    world.hello(link, &HelloBody { role: Role::Member(chain(1, ISSUER, START + hour)), ..member(1) });
    world.now.wall -= hour;
    world.pass(Duration::from_millis(hour + 300_001));
    assert_eq!(world.closed(), []);
    world.pass(Duration::from_millis(hour));
    world.assert_rejected(link, RejectCode::CertificateExpired);
}

#[test]
fn links_beyond_the_limits_are_refused() {
    let mut world = World::with(Config { links: 3, links_per_origin: 2, ..Config::default() });
    let origin = Some(Origin(1));
    let links: Vec<_> = (0..3).map(|n| world.board.handle_open(world.now, origin, Binding::None, [n; 32])).collect();
    world.assert_rejected(links[2], RejectCode::Full);
    world.board.handle_closed(links[2], world.now);
    let elsewhere = world.open();
    let one_too_many = world.open();
    world.assert_rejected(one_too_many, RejectCode::Full);
    world.board.handle_closed(one_too_many, world.now);
    assert_eq!(world.hello(elsewhere, &member(1)).len(), 2);
}

#[test]
fn a_frame_that_isn_t_what_a_link_may_say_ends_it() {
    for bytes in [&b""[..], &[0x02, 1], &[0x11, 1, 2], &[0x13]] {
        let mut world = World::new();
        let link = world.member(1);
        world.frame(link, Bytes::copy_from_slice(bytes));
        world.assert_rejected(link, RejectCode::Malformed);
    }
    let mut world = World::new();
    let early = world.open();
    world.frame(early, data(label(2), Lane::Normal, b"before hello").into_bytes());
    world.assert_rejected(early, RejectCode::Malformed);
}

#[test]
fn unknown_kinds_are_skipped_and_counted() {
    let mut world = World::new();
    let link = world.open();
    world.frame(link, Bytes::from_static(&[0x7F, 1, 2, 3]));
    assert_eq!(world.hello(link, &member(1)).len(), 2);
    for kind in [0x14, 0x15, 0x22, 0x30, 0x40, 0xFF] {
        world.frame(link, Bytes::copy_from_slice(&[kind]));
    }
    assert_eq!((world.board.stats().unknown_kinds, world.closed()), (7, vec![]));
}

#[test]
fn goodbye_ends_a_link_and_the_others_hear_of_it() {
    let mut world = World::new();
    let (ann, bob) = (world.member(1), world.member(2));
    world.hear_all();
    world.frame(ann, ClientFrame::Goodbye(GoodbyeReason::Closing).encode());
    assert_eq!(world.closed(), [ann]);
    assert_eq!(world.heard(bob), [went([label(1)])]);
    world.frame(ann, data(label(2), Lane::Normal, b"after goodbye").into_bytes());
    assert_eq!(world.heard(bob), []);
}

#[test]
fn shutting_down_tells_every_link_and_refuses_new_ones() {
    let mut world = World::new();
    let (ann, bob) = (world.member(1), world.member(2));
    world.hear_all();
    world.send(ann, label(2), b"never written");
    world.board.shut_down(world.now);
    for link in [ann, bob] {
        assert_eq!(world.heard(link), [ServerFrame::Goodbye(GoodbyeReason::ShuttingDown)]);
    }
    assert_eq!(world.closed(), [ann, bob]);
    let late = world.open();
    world.assert_rejected(late, RejectCode::ShuttingDown);
}

// Labels.

#[test]
fn labels_that_come_and_go_while_a_link_is_busy_are_told_once() {
    let mut world = World::new();
    let ann = world.member(1);
    world.hear_all();
    for _ in 0..10 {
        let bob = world.member(2);
        world.board.handle_closed(bob, world.now);
    }
    world.member(3);
    let news = LabelChanges { came: vec![label(3)], went: vec![label(2)], ..LabelChanges::default() };
    assert_eq!(world.heard(ann), [ServerFrame::Labels(news)]);
}

#[test]
fn a_link_that_missed_too_much_gets_the_whole_list_again() {
    let mut world = World::new();
    let ann = world.member(1);
    world.hear_all();
    let swarm = world.board.swarms.find(&routing().public()).expect("ann's");
    for n in 0..2_000u32 {
        let mut name = [0xAA; 16];
        name[..4].copy_from_slice(&n.to_be_bytes());
        let gone = LinkId::default();
        world.board.swarms[swarm].join(Label::from_bytes(name), gone);
        world.board.swarms[swarm].leave(Label::from_bytes(name), gone);
    }
    world.member(2);
    assert_eq!(world.heard(ann), [forget_others_and_frame([label(2)])]);
}

#[test]
fn a_list_longer_than_a_frame_comes_in_several() {
    let mut world = World::new();
    let ann = world.member(1);
    world.hear_all();
    let swarm = world.board.swarms.find(&routing().public()).expect("ann's");
    let total = limits::LABELS_PER_FRAME * 2 + 10;
    for n in 0..total as u32 {
        let mut name = [0; 16];
        name[..4].copy_from_slice(&n.to_be_bytes());
        world.board.swarms[swarm].join(Label::from_bytes(name), LinkId::default());
    }
    let frames = world.heard(ann);
    let mut told = Vec::new();
    for (index, frame) in frames.iter().enumerate() {
        assert!(frame.encoded_len() <= limits::FRAME);
        let ServerFrame::Labels(labels) = frame else { panic!("{frame:?}") };
        assert_eq!((labels.forget_others, labels.went.len()), (index == 0, 0));
        told.extend_from_slice(&labels.came);
    }
    assert_eq!((frames.len(), told.len()), (3, total));
    assert!(told.is_sorted());
}

// Data.

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
    assert_eq!(world.sealed(bob), [b"u1", b"n1", b"n2", b"b1", b"b2"]);
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
fn when_memory_is_short_links_that_read_still_get_theirs() {
    let mut world = World::with(Config { queued_bytes: 10_000, small_backlog: 2_000, ..Config::default() });
    let (ann, bob, eve) = (world.member(1), world.member(2), world.member(3));
    world.hear_all();
    for _ in 0..12 {
        world.send(ann, label(2), &[0; 1_000 - DataFrame::HEADER_LEN]);
    }
    for _ in 0..3 {
        world.send(ann, label(3), &[0; 1_000 - DataFrame::HEADER_LEN]);
    }
    let full: Vec<_> =
        world.heard(ann).iter().map(|frame| matches!(frame, ServerFrame::Bounce(b) if b.reason == BounceReason::Full)).collect();
    assert_eq!(full, [true, true, true], "two of bob's and the third of eve's");
    assert_eq!((world.sealed(bob).len(), world.sealed(eve).len()), (10, 2));
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

// Mailboxes and strangers.

#[test]
fn a_stranger_and_its_member_reach_one_another_and_nobody_else() {
    let mut world = World::new();
    let (admin, bob) = (world.admin(1), world.member(2));
    world.register(admin, MAILBOX);
    world.hear_all();
    let stranger = world.stranger(9, MAILBOX);
    assert!(matches!(&world.heard(stranger)[..], [ServerFrame::Welcome(_)]), "no labels for strangers");

    world.send(stranger, MAILBOX, b"let me in");
    world.send(stranger, label(2), b"psst");
    assert_eq!(world.heard(stranger), [bounce(1, BounceReason::NotAllowed)]);
    assert!(
        matches!(&world.heard(admin)[..], [ServerFrame::Data(frame)] if frame.source() == label(9) && frame.sealed() == b"let me in")
    );

    world.send(admin, label(9), b"come in");
    world.send(bob, label(9), b"who are you");
    assert_eq!(world.sealed(stranger), [b"come in"]);
    assert_eq!(world.heard(bob), [bounce(0, BounceReason::Absent)]);
    assert_eq!(world.heard(admin), []);
}

#[test]
fn a_mailbox_that_nobody_answers_for_is_unknown() {
    let mut world = World::new();
    let stranger = world.stranger(9, MAILBOX);
    world.assert_rejected(stranger, RejectCode::UnknownMailbox);

    let admin = world.admin(1);
    world.frame(admin, ClientFrame::Register { mailbox: MAILBOX, expiry: START + 1_000 }.encode());
    world.now.wall += 1_000;
    let late = world.stranger(9, MAILBOX);
    world.assert_rejected(late, RejectCode::UnknownMailbox);

    world.register(admin, MAILBOX);
    world.frame(admin, ClientFrame::Unregister { mailbox: MAILBOX }.encode());
    let later = world.stranger(9, MAILBOX);
    world.assert_rejected(later, RejectCode::UnknownMailbox);
    assert_eq!(world.board.stats().mailboxes, 0);
}

#[test]
fn strangers_are_spread_over_those_who_answer() {
    let mut world = World::with(Config { strangers_per_member: 2, ..Config::default() });
    let admins = [world.admin(1), world.admin(2)];
    for admin in admins {
        world.register(admin, MAILBOX);
    }
    for seed in 10..14 {
        let stranger = world.stranger(seed, MAILBOX);
        world.send(stranger, MAILBOX, &[seed]);
    }
    assert_eq!(world.sealed(admins[0]), [[10], [12]]);
    assert_eq!(world.sealed(admins[1]), [[11], [13]]);
    let fifth = world.stranger(14, MAILBOX);
    world.assert_rejected(fifth, RejectCode::Full);
}

#[test]
fn a_stranger_whose_member_is_gone_reaches_another_with_its_next_frame() {
    let mut world = World::new();
    let (first, second) = (world.admin(1), world.admin(2));
    world.register(first, MAILBOX);
    let stranger = world.stranger(9, MAILBOX);
    world.hear_all();
    world.board.handle_closed(first, world.now);
    world.send(stranger, MAILBOX, b"nobody");
    assert_eq!(world.heard(stranger), [bounce(0, BounceReason::Absent)]);

    world.register(second, MAILBOX);
    world.hear_all();
    world.send(stranger, MAILBOX, b"again");
    assert_eq!(world.sealed(second), [b"again"]);
    world.send(second, label(9), b"welcome");
    assert_eq!(world.sealed(stranger), [b"welcome"]);
}

#[test]
fn only_who_may_issue_registers_and_only_so_many() {
    let mut world = World::new();
    let (admin, member) = (world.admin(1), world.member(2));
    world.hear_all();
    world.frame(member, ClientFrame::Register { mailbox: MAILBOX, expiry: LATER }.encode());
    assert_eq!(world.heard(member), [ServerFrame::Registered { mailbox: MAILBOX, status: RegisterStatus::NotAllowed }]);

    let mailbox = |n: u8| Label::from_bytes([n; 16]);
    for n in 0..64 {
        world.frame(admin, ClientFrame::Register { mailbox: mailbox(n), expiry: START + 1_000 }.encode());
    }
    assert!(world.heard(admin).iter().all(|frame| matches!(frame, ServerFrame::Registered { status: RegisterStatus::Done, .. })));
    world.frame(admin, ClientFrame::Register { mailbox: mailbox(64), expiry: LATER }.encode());
    assert_eq!(world.heard(admin), [ServerFrame::Registered { mailbox: mailbox(64), status: RegisterStatus::Full }]);
    world.frame(admin, ClientFrame::Register { mailbox: mailbox(3), expiry: START + 2_000 }.encode());
    assert_eq!(world.heard(admin), [ServerFrame::Registered { mailbox: mailbox(3), status: RegisterStatus::Done }]);

    world.now.wall += 1_000;
    world.frame(admin, ClientFrame::Register { mailbox: mailbox(64), expiry: LATER }.encode());
    assert_eq!(world.heard(admin), [ServerFrame::Registered { mailbox: mailbox(64), status: RegisterStatus::Done }]);
    assert_eq!(world.board.stats().mailboxes, 2, "the expired ones have made room");
}

#[test]
fn a_stranger_has_its_time_and_no_more() {
    let mut world = World::new();
    let admin = world.admin(1);
    world.register(admin, MAILBOX);
    let stranger = world.stranger(9, MAILBOX);
    world.hear_all();
    world.pass(Duration::from_secs(600));
    assert_eq!(world.heard(stranger), [ServerFrame::Goodbye(GoodbyeReason::Closing)]);
    assert_eq!(world.closed(), [stranger]);
}

// Bookkeeping and hostile input.

#[test]
fn nothing_is_left_when_all_links_are_gone() {
    let mut world = World::new();
    let (admin, bob) = (world.admin(1), world.member(2));
    world.register(admin, MAILBOX);
    let stranger = world.stranger(9, MAILBOX);
    world.send(admin, label(2), b"unread");
    for link in [stranger, bob, admin] {
        world.board.handle_closed(link, world.now);
        world.board.handle_closed(link, world.now);
    }
    let stats = world.board.stats();
    assert_eq!((stats.links, stats.swarms, stats.mailboxes, stats.queued_bytes), (0, 0, 0, 0));
    world.pass(Duration::from_secs(1));
    assert_eq!((world.board.poll_timeout(), world.board.poll_output()), (None, None));
}

#[test]
fn a_link_is_woken_once_until_it_has_nothing_left() {
    let mut world = World::new();
    let (ann, bob) = (world.member(1), world.member(2));
    world.hear_all();
    while world.board.poll_output().is_some() {}
    world.send(ann, label(2), b"1");
    world.send(ann, label(2), b"2");
    assert_eq!((world.board.poll_output(), world.board.poll_output()), (Some(Output::Wake(bob)), None));
    assert!(world.board.poll_transmit(bob, world.now).is_some());
    world.send(ann, label(2), b"3");
    assert_eq!(world.board.poll_output(), None);
    assert_eq!(world.sealed(bob).len(), 2);
    world.send(ann, label(2), b"4");
    assert_eq!(world.board.poll_output(), Some(Output::Wake(bob)));
}

#[test]
fn no_input_makes_it_panic_or_lose_count() {
    for seed in 0..50 {
        let mut dice = Dice(seed);
        let mut world = World::with(Config {
            lanes: LaneLimits { frames_per_lane: 4, bytes_per_lane: 4_000 },
            queued_bytes: 8_000,
            small_backlog: 500,
            ..Config::default()
        });
        let mut links = Vec::new();
        for _ in 0..300 {
            world.random_step(&mut links, &mut dice);
        }
        for link in links {
            world.board.handle_closed(link, world.now);
        }
        let stats = world.board.stats();
        assert_eq!((stats.links, stats.swarms, stats.mailboxes, stats.queued_bytes), (0, 0, 0, 0), "seed {seed}");
        assert!(world.board.deadlines.is_empty(), "seed {seed}");
    }
}
