//! What a hostile switchboard can do to single frames, by name.

use std::cell::RefCell;
use std::rc::Rc;
use std::time::Duration;

use a2alinker::proto::{DataFrame, OuterKind};
use bytes::{Bytes, BytesMut};

use crate::simulation::application::Manner;
use crate::simulation::history::{State, Who};
use crate::simulation::network::{Fate, Line};
use crate::simulation::world::{PLANTED, SendPlan, World};

const SECOND: Duration = Duration::from_secs(1);
/// Kind and source stand before the outer header.
const HEADER: usize = DataFrame::HEADER_LEN - 56;

type Frames = Rc<RefCell<Vec<Bytes>>>;

/// Keeps the session frames from 1 to 2, and lets them pass or not.
fn keep(world: &mut World, fate: Fate) -> Frames {
    let frames = Frames::default();
    let kept = Rc::clone(&frames);
    world.rule = Some(Box::new(move |crossing| {
        let is_it = (crossing.from, crossing.to) == (Some(1), 2) && crossing.frame.header().kind == OuterKind::Session;
        if is_it {
            kept.borrow_mut().push(crossing.frame.bytes().clone());
        }
        if is_it { fate } else { Fate::Pass }
    }));
    frames
}

/// Two that have a session: 1 and 2.
fn acquaintances() -> World {
    let mut world = World::swarm(2);
    let message = world.send(1, SendPlan::to(2)).expect("there is room");
    world.run_until("it is delivered", SECOND * 2, |world| world.history.state(message) == State::Delivered);
    world.run_for(SECOND * 10);
    world
}

fn refused(world: &World, who: Who) -> u64 {
    world.agent(who).health().counters.refused_frames
}

#[test]
fn frames_that_are_played_again_are_refused() {
    let mut world = acquaintances();
    let frames = keep(&mut world, Fate::Pass);
    for _ in 0..20 {
        world.send(1, SendPlan::to(2)).expect("there is room");
        world.run_for(SECOND / 10);
    }
    world.rule = None;
    let (before, kept) = (refused(&world, 2), frames.borrow().clone());
    kept.iter().rev().for_each(|frame| world.inject(2, frame.clone()));
    world.run_for(SECOND);
    assert!(kept.len() >= 20);
    let taken = kept.len() as u64 - (refused(&world, 2) - before);
    assert_eq!(taken, 0, "of {} frames {taken} were taken again", kept.len());
    world.conclude();
}

#[test]
fn a_frame_with_any_bit_of_its_header_changed_is_refused() {
    let mut world = acquaintances();
    let frames = keep(&mut world, Fate::Lose);
    let message = world.send(1, SendPlan::to(2)).expect("there is room");
    world.run_for(SECOND / 100);
    let frame = frames.borrow().first().expect("it was sent").clone();
    for bit in 0..(DataFrame::HEADER_LEN - HEADER) * 8 {
        let mut changed = BytesMut::from(&frame[..]);
        changed[HEADER + bit / 8] ^= 1 << (bit % 8);
        world.inject(2, changed.freeze());
        world.run_for(Duration::from_millis(3));
        assert_eq!(world.history.handed(message), None, "with bit {bit} of its header changed it was believed");
    }
    world.inject(2, frame);
    world.run_for(SECOND / 10);
    assert!(world.history.handed(message).is_some(), "the genuine frame is as good as before");
    world.conclude();
}

#[test]
fn a_bounce_is_a_hint_and_no_verdict() {
    let mut world = acquaintances();
    let frames = keep(&mut world, Fate::Lose);
    let message = world.send(1, SendPlan::to(2)).expect("there is room");
    world.run_for(SECOND / 10);
    assert!(!frames.borrow().is_empty());
    for (number, reason) in (0..100u64).flat_map(|number| [(number, 1), (number, 3), (number, 4)]) {
        let bounce = [&[0x21][..], &number.to_be_bytes(), &[reason, 0, 0, 0, 0]].concat();
        world.inject(1, bounce.into());
    }
    world.run_for(SECOND);
    world.rule = None;
    world.run_for(SECOND * 40);
    assert_eq!(world.history.state(message), State::Delivered, "it was given up because a switchboard said so");
    world.conclude();
}

#[test]
fn a_pause_that_a_switchboard_imposes_ends_soon() {
    let mut world = acquaintances();
    let never = u32::MAX.to_be_bytes();
    let frames = keep(&mut world, Fate::Lose);
    let message = world.send(1, SendPlan::to(2)).expect("there is room");
    world.run_for(SECOND / 10);
    assert!(!frames.borrow().is_empty());
    for number in 0..20u64 {
        let bounce = [&[0x21][..], &number.to_be_bytes(), &[1], &never].concat();
        world.inject(1, bounce.into());
    }
    world.inject(2, [&[0x04, 6][..], &never, &[0, 0]].concat().into());
    world.run_for(SECOND);
    assert!(!world.agent(2).health().linked, "it was told to come back in seven weeks");
    world.rule = None;
    world.run_until("it is delivered", SECOND * 130, |world| world.history.state(message) == State::Delivered);
}

#[test]
fn what_a_switchboard_is_given_holds_no_name_skill_body_or_identity() {
    let mut world = World::new(4);
    let host = world.host(Line::NEAR, 0, Manner::PROMPT);
    let ticket = world.ticket(host, None);
    world.join(ticket.clone(), Line::NEAR, 0, Manner::PROMPT);
    world.join(ticket, Line::NEAR, 0, Manner::PROMPT);
    world.run_for(SECOND * 10);
    for len in [10, 1_000, 10_000, 100_000] {
        world.send(1, SendPlan { len, ..SendPlan::to(2) }).expect("there is room");
    }
    world.run_for(SECOND * 10);
    assert!(world.heard_bytes > 100_000);
    assert_eq!(world.overheard, None);

    // The search finds what is there.
    let body = crate::simulation::application::body(7, 1_000);
    assert!(body.bytes.windows(PLANTED.len()).any(|part| part == PLANTED));
    world.eavesdrop(&body.bytes);
    assert!(world.overheard.is_some());
    world.overheard = None;
    let id = world.seats[1].id;
    world.eavesdrop(&Bytes::copy_from_slice(id.as_bytes()));
    assert!(world.overheard.is_some());
}
