//! How sessions come to be, break, and are replaced.

use std::cell::RefCell;
use std::collections::BTreeSet;
use std::rc::Rc;
use std::time::Duration;

use a2alinker::proto::{OuterKind, SessionId};
use bytes::Bytes;

use crate::simulation::application::Manner;
use crate::simulation::history::{State, Uid, Who};
use crate::simulation::network::{Crossing, Fate, Line};
use crate::simulation::world::{SendPlan, World};

const SECOND: Duration = Duration::from_secs(1);

/// Two agents that know each other and have never spoken: 1 and 2.
fn strangers() -> World {
    World::swarm(2)
}

fn is_between(crossing: &Crossing<'_>, from: Who, to: Who, kind: OuterKind) -> bool {
    crossing.from == Some(from) && crossing.to == to && crossing.frame.header().kind == kind
}

/// Loses the first frame of a kind between two agents.
fn lose_first(world: &mut World, from: Who, to: Who, kind: OuterKind) {
    let mut left = 1;
    world.rule = Some(Box::new(move |crossing| {
        if is_between(crossing, from, to, kind) && left > 0 {
            left -= 1;
            return Fate::Lose;
        }
        Fate::Pass
    }));
}

type Seen = Rc<RefCell<Vec<(Who, OuterKind, SessionId, Bytes)>>>;

/// Notes every frame that crosses, by receiver.
fn watch(world: &mut World) -> Seen {
    let seen = Seen::default();
    let notes = Rc::clone(&seen);
    world.rule = Some(Box::new(move |crossing| {
        let header = crossing.frame.header();
        notes.borrow_mut().push((crossing.to, header.kind, header.session, crossing.frame.bytes().clone()));
        Fate::Pass
    }));
    seen
}

fn count(seen: &Seen, kind: OuterKind) -> usize {
    seen.borrow().iter().filter(|(_, of, ..)| *of == kind).count()
}

fn assert_delivered(world: &World, message: Uid) {
    assert_eq!(world.history.state(message), State::Delivered, "message {message}");
}

#[test]
fn crossing_openers_end_in_one_session_that_both_send_on() {
    let mut world = strangers();
    let seen = watch(&mut world);
    let first = [world.send(1, SendPlan::to(2)), world.send(2, SendPlan::to(1))];
    world.run_for(SECOND);
    first.into_iter().flatten().for_each(|message| assert_delivered(&world, message));
    assert_eq!(count(&seen, OuterKind::Opener), 2);

    seen.borrow_mut().clear();
    let later = [world.send(1, SendPlan::to(2)), world.send(2, SendPlan::to(1))];
    world.run_for(SECOND);
    later.into_iter().flatten().for_each(|message| assert_delivered(&world, message));
    let sessions: BTreeSet<SessionId> = seen.borrow().iter().map(|(_, _, session, _)| *session).collect();
    assert_eq!(sessions.len(), 1, "they send on different sessions");
    world.conclude();
}

#[test]
fn a_lost_opener_is_made_up_for_in_a_few_seconds() {
    let mut world = strangers();
    lose_first(&mut world, 1, 2, OuterKind::Opener);
    let message = world.send(1, SendPlan::to(2)).expect("there is room");
    world.run_for(SECOND * 4);
    assert_delivered(&world, message);
    world.conclude();
}

#[test]
fn a_lost_answer_is_made_up_for_in_a_few_seconds() {
    let mut world = strangers();
    lose_first(&mut world, 2, 1, OuterKind::Answer);
    let message = world.send(1, SendPlan::to(2)).expect("there is room");
    let reply = world.send(2, SendPlan::to(1)).expect("there is room");
    world.run_for(SECOND * 8);
    assert_delivered(&world, message);
    assert_delivered(&world, reply);
    world.conclude();
}

#[test]
fn frames_whose_opener_comes_too_late_bounce_and_are_sealed_anew() {
    let mut world = strangers();
    world.rule = Some(Box::new(|crossing| match is_between(crossing, 1, 2, OuterKind::Opener) {
        true => Fate::Late(Duration::from_millis(2_500)),
        false => Fate::Pass,
    }));
    let message = world.send(1, SendPlan::to(2)).expect("there is room");
    world.run_for(SECOND * 10);
    assert_delivered(&world, message);
    world.conclude();
}

#[test]
fn frames_that_overtake_their_opener_wait_for_it() {
    let mut world = strangers();
    let seen = watch(&mut world);
    let mut watching = world.rule.take().expect("set by watch");
    world.rule = Some(Box::new(move |crossing| {
        watching(crossing);
        match is_between(crossing, 1, 2, OuterKind::Opener) {
            true => Fate::Late(Duration::from_millis(900)),
            false => Fate::Pass,
        }
    }));
    let message = world.send(1, SendPlan::to(2)).expect("there is room");
    world.run_for(SECOND * 2);
    assert_delivered(&world, message);
    assert_eq!(count(&seen, OuterKind::CannotOpen), 0);
    assert_eq!(count(&seen, OuterKind::Opener), 1);
    world.conclude();
}

#[test]
fn forged_complaints_cost_some_openers_and_nothing_else() {
    let mut world = strangers();
    let seen = watch(&mut world);
    let mut messages = Vec::new();
    for _ in 0..100 {
        let sessions: BTreeSet<SessionId> = seen.borrow().iter().map(|(_, _, session, _)| *session).collect();
        for session in sessions {
            for to in [1, 2] {
                let frame = world.complaint(session, to).into_bytes();
                world.inject(to, frame);
            }
        }
        messages.extend(world.send(1, SendPlan { until_done: true, ..SendPlan::to(2) }));
        world.run_for(SECOND / 10);
    }
    // Ten seconds, an opener a second for each side.
    assert!(count(&seen, OuterKind::Opener) <= 22, "{} openers", count(&seen, OuterKind::Opener));
    world.run_for(SECOND * 20);
    messages.into_iter().for_each(|message| assert_eq!(world.history.state(message), State::Done));
    world.conclude();
}

#[test]
fn a_receiver_that_gave_up_its_session_confirms_on_another() {
    let mut world = strangers();
    let seen = watch(&mut world);
    world.send(1, SendPlan::to(2)).expect("there is room");
    world.run_for(SECOND * 3);
    let session = seen.borrow().iter().find(|(_, kind, ..)| *kind == OuterKind::Opener).map(|(_, _, session, _)| *session);
    let frame = world.complaint(session.expect("an opener crossed"), 2).into_bytes();
    world.inject(2, frame);
    world.run_for(SECOND);
    // Agent 2 has nothing to say but receipts.
    let message = world.send(1, SendPlan::to(2)).expect("there is room");
    world.run_for(SECOND * 3);
    assert_delivered(&world, message);
    world.conclude();
}

#[test]
fn an_opener_that_is_played_again_after_a_goodbye_brings_nothing_back() {
    let mut world = strangers();
    let seen = watch(&mut world);
    let message = world.send(2, SendPlan::to(1)).expect("there is room");
    world.run_for(SECOND);
    assert!(world.history.handed(message).is_some());
    let frames: Vec<Bytes> = seen.borrow().iter().filter(|(to, ..)| *to == 1).map(|(.., frame)| frame.clone()).collect();
    world.close(2);
    world.run_for(SECOND);
    for frame in frames {
        world.inject(1, frame);
    }
    world.run_for(SECOND * 5);
    // The checker has the last word: handed over at most once.
    world.conclude();
}

#[test]
fn after_a_day_sessions_are_made_anew_and_nobody_waits_for_them() {
    let mut world = strangers();
    let seen = watch(&mut world);
    let mut messages = Vec::new();
    for _ in 0..50 {
        messages.extend(world.send(1, SendPlan::to(2)));
        messages.extend(world.send(2, SendPlan::to(1)));
        world.run_for(SECOND * 3_600);
    }
    for message in messages {
        let sent = world.history.sent(message).expect("it was sent");
        let took = world.history.handed(message).expect("it arrived") - sent;
        assert!(took < SECOND / 10, "message {message} took {took:?}");
    }
    let openers = seen.borrow().iter().filter(|(to, kind, ..)| [1, 2].contains(to) && *kind == OuterKind::Opener).count();
    // Each of them has two peers. In fifty hours there are three sessions, of which each may be opened from both sides.
    assert!((6..=12).contains(&openers), "{openers} openers");
    world.conclude();
}

#[test]
fn clocks_that_are_minutes_apart_keep_nobody_from_talking() {
    let mut world = World::new(3);
    let host = world.host(Line::NEAR, 0, Manner::PROMPT);
    let ticket = world.ticket(host, None);
    let slow = world.join(ticket.clone(), Line::NEAR, -200_000, Manner::PROMPT);
    let fast = world.join(ticket, Line::NEAR, 80_000, Manner::PROMPT);
    world.run_until("they know each other", SECOND * 20, |world| world.seats.len() == 3 && world.is_complete());
    let plan = |to| SendPlan { ttl: SECOND * 5, ..SendPlan::to(to) };
    let messages = [world.send(slow, plan(fast)), world.send(fast, plan(slow)), world.send(host, plan(slow))];
    world.run_for(SECOND);
    messages.into_iter().flatten().for_each(|message| assert_delivered(&world, message));
    world.conclude();
}

#[test]
fn an_agent_that_was_started_anew_is_found_though_nobody_tells_of_it() {
    let mut world = strangers();
    let ticket = world.ticket(0, None);
    world.cut_off(1);
    world.run_for(SECOND * 20);
    let anew = world.restart(2, ticket);
    world.run_until("it is a member again", SECOND * 20, |world| world.seats[anew].joined);
    world.run_for(SECOND * 10);
    world.kill(0);
    world.rejoin(1);
    world.run_until("the first is back", SECOND * 60, |world| world.agent(1).health().linked);
    // All that it knows is the card of the run that ended.
    let message = world.send(1, SendPlan::to(anew)).expect("there is room");
    world.run_until("it is delivered", SECOND * 20, |world| world.history.state(message) == State::Delivered);
    world.conclude();
}
