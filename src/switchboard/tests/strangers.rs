//! Mailboxes, and the strangers that they are for.

use std::time::Duration;

use super::world::*;
use crate::proto::{BounceReason, ClientFrame, GoodbyeReason, Label, RegisterStatus, RejectCode, ServerFrame};
use crate::switchboard::Config;

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
