//! Slots, and the guests that they are for.

use std::collections::BTreeSet;
use std::time::Duration;

use super::world::*;
use crate::proto::{
    Binding, BounceReason, ClientFrame, GoodbyeReason, HelloBody, LinkCertificate, LinkChain, RejectCode, Role, RoutingKeyPair,
    ServerFrame, SlotStatus, limits, slot_label,
};
use crate::switchboard::{Config, LinkId, Origin};

// Guests.

#[test]
fn a_guest_and_the_holder_of_its_slot_reach_one_another_and_nobody_else() {
    let mut world = World::new();
    let (admin, bob) = (world.admin(1), world.member(2));
    world.hear_all();
    let slot = world.open_slot(admin, 0).expect("a slot");
    let guest = world.guest(9, slot, None);
    assert!(matches!(&world.heard(guest)[..], [ServerFrame::Welcome(_)]), "no labels for guests");

    for (destination, sealed) in [(slot_label(slot), b"ask"), (label(2), b"bob"), (MAILBOX, b"box")] {
        world.send(guest, destination, sealed);
    }
    let frames = world.heard(admin);
    assert!(frames.iter().all(|frame| matches!(frame, ServerFrame::Data(data) if data.source() == label(9))), "{frames:?}");
    assert_eq!((frames.len(), world.heard(guest)), (3, vec![]));

    world.send(admin, label(9), b"tell");
    world.send(bob, label(9), b"who are you");
    assert_eq!(world.sealed(guest), [b"tell"]);
    assert_eq!(world.heard(bob), [bounce(0, BounceReason::Absent)]);
    assert_eq!(world.board.stats().guests, 1);
}

#[test]
fn a_guest_whose_slot_nobody_holds_or_whose_holder_is_away_is_refused() {
    let mut world = World::new();
    let admin = world.admin(1);
    world.hear_all();
    let slot = world.open_slot(admin, 0).expect("a slot");
    for number in [0, slot + 1, limits::SLOT + 1] {
        let guest = world.guest(9, number, None);
        world.assert_rejected(guest, RejectCode::UnknownMailbox);
    }
    world.board.handle_closed(admin, world.now);
    let guest = world.guest(9, slot, None);
    world.assert_rejected(guest, RejectCode::UnknownMailbox);

    let admin = world.admin(1);
    world.hear_all();
    let guest = world.guest(9, slot, None);
    world.send(guest, slot_label(slot), b"found without opening it again");
    assert_eq!(world.sealed(admin).len(), 1);
}

#[test]
fn a_guest_goes_on_with_its_holder_after_that_reconnects() {
    let mut world = World::new();
    let (admin, other) = (world.admin(1), world.admin(2));
    world.hear_all();
    let slot = world.open_slot(admin, 0).expect("a slot");
    let guest = world.guest(9, slot, None);
    world.hear_all();
    world.board.handle_closed(admin, world.now);
    world.send(guest, slot_label(slot), b"nobody");
    assert_eq!(world.heard(guest), [bounce(0, BounceReason::Absent)]);

    let admin = world.admin(1);
    world.hear_all();
    world.frame(admin, ClientFrame::CloseSlot { slot }.encode());
    world.send(guest, slot_label(slot), b"again");
    assert_eq!(world.sealed(admin), [b"again"], "the exchange outlives the slot");
    world.send(admin, label(9), b"here");
    assert_eq!(world.sealed(guest), [b"here"]);
    assert_eq!(world.heard(other), []);
}

#[test]
fn a_guest_is_never_handed_to_the_next_holder_of_the_number() {
    let mut world = World::new();
    let admin = world.admin(1);
    world.hear_all();
    let slot = world.open_slot(admin, 0).expect("a slot");
    let guest = world.guest(9, slot, None);
    world.frame(admin, ClientFrame::CloseSlot { slot }.encode());
    let elsewhere = outsider(&mut world, 7);
    for _ in 0..1_000 {
        let number = world.open_slot(elsewhere, 0).expect("a slot");
        world.frame(elsewhere, ClientFrame::CloseSlot { slot: number }.encode());
    }
    assert_eq!(world.open_slot(elsewhere, slot), Ok(slot));
    world.board.handle_closed(admin, world.now);
    world.heard(guest);
    world.send(guest, slot_label(slot), b"secret");
    assert_eq!((world.heard(guest), world.heard(elsewhere)), (vec![bounce(0, BounceReason::Absent)], vec![]));
}

#[test]
fn a_guest_has_a_stranger_s_limits() {
    let mut world = World::with(Config { strangers_per_member: 2, ..Config::default() });
    let admin = world.admin(1);
    world.hear_all();
    let slot = world.open_slot(admin, 0).expect("a slot");
    let guests = [world.guest(9, slot, None), world.guest(10, slot, None)];
    let third = world.guest(11, slot, None);
    world.assert_rejected(third, RejectCode::Full);
    world.hear_all();
    world.pass(Duration::from_secs(600));
    for guest in guests {
        assert_eq!(world.heard(guest), [ServerFrame::Goodbye(GoodbyeReason::Closing)]);
    }
}

#[test]
fn guests_of_one_origin_are_slowed_and_those_of_others_and_of_none_are_not() {
    let mut world = World::new();
    let admin = world.admin(1);
    world.hear_all();
    let slot = world.open_slot(admin, 0).expect("a slot");
    let here = Some(Origin(1));
    for number in 0..10 {
        // One that guesses at slots pays as well.
        let guest = world.guest(9, if number == 5 { slot + 1 } else { slot }, here);
        world.board.handle_closed(guest, world.now);
    }
    let eleventh = world.guest(9, slot, here);
    let frames = world.heard(eleventh);
    assert!(
        matches!(frames.last(), Some(ServerFrame::Reject(reject)) if reject.code == RejectCode::Rate && reject.retry_after_ms == 6_000),
        "{frames:?}"
    );
    for origin in [Some(Origin(2)), None] {
        let guest = world.guest(10, slot, origin);
        assert!(matches!(&world.heard(guest)[..], [ServerFrame::Welcome(_)]));
    }
    world.pass(Duration::from_secs(6));
    let later = world.guest(9, slot, here);
    assert!(matches!(&world.heard(later)[..], [ServerFrame::Welcome(_)]));
}

// Numbers.

#[test]
fn numbers_are_small_begin_elsewhere_in_each_run_and_count_on() {
    let firsts: BTreeSet<u32> = (0..50u8)
        .map(|run| {
            let mut world = World::new();
            world.board.handle_open(world.now, None, Binding::None, [run; 32]);
            let admin = world.admin(1);
            world.hear_all();
            let first = world.open_slot(admin, 0).expect("a slot");
            assert_eq!((100..=999).contains(&first).then(|| world.open_slot(admin, 0)), Some(Ok(first + 1)));
            first
        })
        .collect();
    assert!(firsts.len() > 40, "{firsts:?}");
}

#[test]
fn a_number_rests_for_a_thousand_openings_after_it_was_closed() {
    let mut world = World::with(Config { slots: 5, ..Config::default() });
    let admin = world.admin(1);
    world.hear_all();
    let mut closed_at = std::collections::BTreeMap::new();
    for opening in 0..5_000u32 {
        let slot = world.open_slot(admin, 0).expect("there is always a free one");
        assert!((1..=1_006).contains(&slot), "{slot}");
        if let Some(closed) = closed_at.insert(slot, opening) {
            assert!(opening - closed > 1_000, "{slot} was given again after {} openings", opening - closed);
        }
        assert_eq!(world.open_slot(admin, slot), Ok(slot), "its own");
        world.frame(admin, ClientFrame::CloseSlot { slot }.encode());
        assert_eq!(world.open_slot(admin, slot), Err(SlotStatus::Taken), "nobody gets it, not even who had it");
    }
    assert!(closed_at.contains_key(&1), "counting has begun again");
}

#[test]
fn counting_passes_over_a_number_that_was_wished_for_and_closed() {
    let mut world = World::new();
    let admin = world.admin(1);
    world.hear_all();
    let first = world.open_slot(admin, 0).expect("a slot");
    assert_eq!(world.open_slot(admin, first + 1), Ok(first + 1));
    world.frame(admin, ClientFrame::CloseSlot { slot: first + 1 }.encode());
    assert_eq!(world.open_slot(admin, 0), Ok(first + 2));
}

#[test]
fn a_slot_is_its_holder_s_through_a_reconnect_until_it_expires() {
    let mut world = World::new();
    let (admin, other) = (world.admin(1), world.admin(2));
    world.hear_all();
    let slot = world.open_slot(admin, 0).expect("a slot");
    world.board.handle_closed(admin, world.now);
    world.hear_all();
    assert_eq!(world.open_slot(other, slot), Err(SlotStatus::Taken));
    let again = world.admin(1);
    world.hear_all();
    world.pass(Duration::from_secs(300));
    assert_eq!(world.open_slot(again, slot), Ok(slot));
    world.board.handle_closed(again, world.now);
    world.hear_all();
    world.pass(Duration::from_millis(599_999));
    assert_eq!((world.open_slot(other, slot), world.board.stats().slots), (Err(SlotStatus::Taken), 1));
    world.pass(Duration::from_millis(1));
    assert_eq!(world.board.stats().slots, 0);
    let late = world.admin(1);
    world.hear_all();
    let guest = world.guest(9, slot, None);
    world.assert_rejected(guest, RejectCode::UnknownMailbox);
    assert_eq!(world.heard(late), []);
}

#[test]
fn a_wish_is_granted_by_a_switchboard_that_was_started_again() {
    let mut world = World::new();
    let admin = world.admin(1);
    world.hear_all();
    for wish in [7, 54_321, limits::SLOT] {
        assert_eq!(world.open_slot(admin, wish), Ok(wish));
    }
    assert_eq!(world.open_slot(admin, limits::SLOT + 1), Err(SlotStatus::NotAllowed));
}

#[test]
fn the_same_link_key_in_another_swarm_holds_nothing_of_this_one() {
    let mut world = World::new();
    let admin = world.admin(1);
    world.hear_all();
    let slot = world.open_slot(admin, 0).expect("a slot");
    let elsewhere = outsider(&mut world, 1);
    assert_eq!(world.open_slot(elsewhere, slot), Err(SlotStatus::Taken));
    world.frame(elsewhere, ClientFrame::CloseSlot { slot }.encode());
    let guest = world.guest(9, slot, None);
    world.send(guest, slot_label(slot), b"ask");
    assert_eq!((world.sealed(admin).len(), world.heard(elsewhere)), (1, vec![]));
}

// Bounds.

#[test]
fn only_who_may_issue_opens_slots_and_only_for_a_time_to_come() {
    let mut world = World::new();
    let (admin, member) = (world.admin(1), world.member(2));
    world.hear_all();
    assert_eq!(world.open_slot(member, 0), Err(SlotStatus::NotAllowed));
    world.frame(admin, ClientFrame::OpenSlot { slot: 0, expiry: world.now.wall }.encode());
    assert_eq!(world.heard(admin), [ServerFrame::SlotOpened { asked: 0, slot: 0, status: SlotStatus::NotAllowed }]);

    world.frame(admin, ClientFrame::OpenSlot { slot: 7, expiry: u64::MAX }.encode());
    assert_eq!(world.heard(admin), [ServerFrame::SlotOpened { asked: 7, slot: 7, status: SlotStatus::Done }]);
    world.pass(limits::SLOT_TIME - Duration::from_millis(1));
    assert_eq!(world.board.stats().slots, 1);
    world.pass(Duration::from_millis(1));
    assert_eq!(world.board.stats().slots, 0, "an hour is the most");
}

#[test]
fn slots_are_bounded_by_holder_swarm_origin_and_in_all() {
    let mut world = World::with(Config { slots: 40, slots_per_swarm: 18, slots_per_origin: 20, ..Config::default() });
    let fill = |world: &mut World, link: LinkId| (0..).find(|_| world.open_slot(link, 0).is_err()).expect("a bound");
    let (first, second) = (world.admin(1), world.admin(2));
    world.hear_all();
    let slot = world.open_slot(first, 0).expect("a slot");
    assert_eq!(fill(&mut world, first), 15);
    world.board.handle_closed(first, world.now);
    let first = world.admin(1);
    world.hear_all();
    assert_eq!(fill(&mut world, first), 0, "coming back makes no room");
    assert_eq!(fill(&mut world, second), 2, "of this swarm");

    let origin = Some(Origin(1));
    let (third, fourth, fifth) =
        (outsider_from(&mut world, 3, origin), outsider_from(&mut world, 4, origin), outsider(&mut world, 5));
    assert_eq!((fill(&mut world, third), fill(&mut world, fourth)), (16, 4), "of this origin");
    assert_eq!(fill(&mut world, fifth), 2, "in all");

    world.frame(first, ClientFrame::CloseSlot { slot }.encode());
    assert_eq!(fill(&mut world, fifth), 1, "closing makes room");
}

#[test]
fn openings_are_answered_in_their_order() {
    let mut world = World::new();
    let admin = world.admin(1);
    world.hear_all();
    let wishes = [30, 0, 20, 0, 10];
    for slot in wishes {
        world.frame(admin, ClientFrame::OpenSlot { slot, expiry: LATER }.encode());
    }
    let asked: Vec<_> = world
        .heard(admin)
        .iter()
        .map(|frame| if let ServerFrame::SlotOpened { asked, .. } = frame { *asked } else { panic!("{frame:?}") })
        .collect();
    assert_eq!(asked, wishes);
}

// Helpers.

/// A link of the founder of another swarm, who may issue.
fn outsider(world: &mut World, seed: u8) -> LinkId {
    outsider_from(world, seed, None)
}

fn outsider_from(world: &mut World, seed: u8, origin: Option<Origin>) -> LinkId {
    let routing = RoutingKeyPair::from_seed(&[0xA0 + seed; 32]);
    let certificate = LinkCertificate::issue_by_routing(&routing, key(seed).public(), LATER, ISSUER);
    let role = Role::Member(LinkChain::new(vec![certificate]).expect("one"));
    let link = world.open_from(origin);
    world.hello(link, &HelloBody { routing: routing.public(), role, ..member(seed) });
    link
}
