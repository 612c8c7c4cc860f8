//! How links come, are refused, are replaced and go.

use std::time::Duration;

use bytes::Bytes;

use super::world::*;
use crate::proto::{
    Binding, BounceReason, ClientFrame, Features, GoodbyeReason, HelloBody, Lane, LinkRights, RejectCode, Role, ServerFrame,
    limits, sign_hello,
};
use crate::switchboard::{Config, Origin};

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
    let frames = world.hello(there, &foreign(1));
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
    for kind in [0x15, 0x22, 0x30, 0x40, 0xFF] {
        world.frame(link, Bytes::copy_from_slice(&[kind]));
    }
    assert_eq!((world.board.stats().unknown_kinds, world.closed()), (6, vec![]));
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
