//! Messages that wait at the switchboard: for one that is away, for its next run, and after their sender is gone.

use std::cell::RefCell;
use std::rc::Rc;
use std::time::Duration;

use a2alinker::proto::{DataFrame, OuterKind};
use a2alinker::switchboard;
use bytes::Bytes;

use crate::simulation::application::Manner;
use crate::simulation::history::{State, Uid, What, Who};
use crate::simulation::network::{Crossing, Fate, Line};
use crate::simulation::world::{SendPlan, World};

const SECOND: Duration = Duration::from_secs(1);
/// After so long a link that was cut off is known to be, and announced.
const AWAY: Duration = Duration::from_secs(70);

/// A host and two workers that keep files and have talked.
fn swarm() -> World {
    let mut world = World::new(31);
    let host = world.lasting_host(Line::NEAR, 0, Manner::PROMPT);
    let ticket = world.ticket(host, None);
    for _ in 0..2 {
        world.join_to_stay(ticket.clone(), Line::NEAR, 0, Manner::PROMPT);
    }
    world.run_until("everybody knows everybody", SECOND * 20, World::is_complete);
    let first = world.send(1, SendPlan::to(2)).expect("there is room");
    world.run_for(SECOND * 20);
    assert_eq!(world.history.state(first), State::Delivered);
    world
}

/// The same when agent 2 has been cut off for a while.
fn with_one_away() -> World {
    let mut world = swarm();
    world.cut_off(2);
    world.run_for(AWAY);
    world
}

fn send_all(world: &mut World, plan: SendPlan, count: usize) -> Vec<Uid> {
    (0..count).map(|_| world.send(1, plan).expect("there is room")).collect()
}

fn all_are(world: &World, messages: &[Uid], state: State) -> bool {
    messages.iter().all(|message| world.history.state(*message) == state)
}

/// To whom a message was handed over, and whether it was marked.
fn handed(world: &World, message: Uid) -> Vec<(Who, bool)> {
    let records = world.history.records.iter();
    let handed = records.filter_map(|record| match record.what {
        What::Handed { message: uid, repeated, .. } if uid == message => Some((record.who, repeated)),
        _ => None,
    });
    handed.collect()
}

fn is_session(crossing: &Crossing<'_>) -> bool {
    matches!(crossing.frame.header().kind, OuterKind::Session | OuterKind::Opener | OuterKind::Answer)
}

#[test]
fn what_waits_is_drained_when_its_receiver_is_back() {
    let mut world = with_one_away();
    let messages = send_all(&mut world, SendPlan { thread: 1, ..SendPlan::to(2) }, 500);
    world.run_for(SECOND * 5);
    assert!(all_are(&world, &messages, State::Accepted));
    assert!(world.agent(1).outstanding().is_empty(), "what is accepted need not be waited for");
    world.run_for(SECOND * 600);
    world.rejoin(2);
    world.run_for(SECOND * 10);
    assert!(all_are(&world, &messages, State::Delivered));
    assert!(messages.iter().all(|message| handed(&world, *message) == [(2, false)]), "no other run can have had them");
    world.conclude();
}

#[test]
fn the_next_run_gets_what_waits_marked_because_the_one_before_may_have_had_it() {
    let mut world = swarm();
    world.kill(2);
    world.run_for(AWAY);
    let messages = send_all(&mut world, SendPlan::to(2), 20);
    world.run_for(SECOND * 5);
    assert!(all_are(&world, &messages, State::Accepted));
    let again = world.resume(2);
    world.run_for(SECOND * 10);
    assert!(messages.iter().all(|message| handed(&world, *message) == [(again, true)]));
    assert!(all_are(&world, &messages, State::Delivered));
    world.conclude();
}

#[test]
fn what_was_accepted_arrives_though_its_sender_is_dead() {
    for is_next_run in [false, true] {
        let mut world = swarm();
        if is_next_run {
            world.kill(2);
        } else {
            world.cut_off(2);
        }
        world.run_for(AWAY);
        let messages = send_all(&mut world, SendPlan { thread: 2, len: 3_000, ..SendPlan::to(2) }, 50);
        world.run_for(SECOND * 5);
        assert!(all_are(&world, &messages, State::Accepted));
        world.kill(1);
        world.run_for(SECOND * 600);
        let receiver = if is_next_run { world.resume(2) } else { 2 };
        world.rejoin(2);
        world.run_for(SECOND * 10);
        assert!(messages.iter().all(|message| handed(&world, *message) == [(receiver, is_next_run)]));
        world.conclude();
    }
}

#[test]
fn nothing_overtakes_what_waits() {
    let mut world = with_one_away();
    let plan = SendPlan { thread: 3, ..SendPlan::to(2) };
    let waiting = send_all(&mut world, plan, 5);
    let large = send_all(&mut world, SendPlan { len: 40_000, ..plan }, 1);
    let after = send_all(&mut world, plan, 5);
    let other = send_all(&mut world, SendPlan { thread: 4, ..plan }, 5);
    world.run_for(SECOND * 5);
    assert!(all_are(&world, &waiting, State::Accepted) && all_are(&world, &other, State::Accepted));
    assert!(all_are(&world, &large, State::Unknown), "it is too large to wait there");
    assert!(all_are(&world, &after, State::Unknown), "its thread would go on without it");
    world.rejoin(2);
    world.run_for(SECOND / 2);
    let more = send_all(&mut world, plan, 5);
    world.run_for(SECOND * 10);
    let in_thread: Vec<Uid> = [waiting, large, after, more].concat();
    let order: Vec<Uid> = world
        .history
        .records
        .iter()
        .filter_map(|record| match record.what {
            What::Handed { message, path, .. } if path.thread == 3 => Some(message),
            _ => None,
        })
        .collect();
    assert_eq!(order, in_thread);
    world.conclude();
}

#[test]
fn what_follows_something_that_a_relay_holds_back_waits_for_as_long_as_that_may_live() {
    let mut world = with_one_away();
    let short = SendPlan { thread: 5, ttl: SECOND * 300, ..SendPlan::to(2) };
    let first = world.send(1, short).expect("there is room");
    world.run_for(SECOND * 3);
    let second = world.send(1, SendPlan { ttl: SECOND * 3_600, ..short }).expect("there is room");
    world.run_for(SECOND * 3);
    world.kill(1);
    let held = Rc::new(RefCell::new(Vec::<Bytes>::new()));
    let kept = Rc::clone(&held);
    world.rule = Some(Box::new(move |crossing| {
        let is_first = crossing.to == 2 && crossing.frame.header().kind == OuterKind::Envelope && kept.borrow().is_empty();
        if is_first {
            kept.borrow_mut().push(crossing.frame.bytes().clone());
        }
        if is_first { Fate::Lose } else { Fate::Pass }
    }));
    world.rejoin(2);
    world.run_for(SECOND * 60);
    assert!(handed(&world, first).is_empty() && handed(&world, second).is_empty());
    world.run_for(SECOND * 300);
    assert_eq!(handed(&world, second), [(2, false)], "the first is worth nothing any more");
    let first_envelope = held.borrow()[0].clone();
    world.inject(2, first_envelope);
    world.run_for(SECOND * 5);
    assert!(handed(&world, first).is_empty());
    world.conclude();
}

#[test]
fn a_full_mailbox_is_told_and_tried_again() {
    let mut world = swarm();
    world.board = switchboard::Config { parked_per_agent: 2, ..switchboard::Config::default() };
    world.restart_switchboard(Duration::ZERO);
    world.run_for(SECOND * 20);
    world.cut_off(2);
    world.run_for(AWAY);
    let messages = send_all(&mut world, SendPlan { len: 10_000, ttl: SECOND * 7_200, ..SendPlan::to(2) }, 4);
    world.run_for(SECOND * 5);
    let states: Vec<State> = messages.iter().map(|message| world.history.state(*message)).collect();
    assert_eq!(states, [State::Accepted, State::Accepted, State::Full, State::Unknown]);
    let short = send_all(&mut world, SendPlan { ttl: SECOND * 60, ..SendPlan::to(2) }, 1);
    world.run_for(SECOND * 120);
    assert!(all_are(&world, &short, State::Expired));
    assert_eq!(world.history.state(messages[2]), State::Full);
    world.rejoin(2);
    world.run_for(SECOND * 60);
    assert!(all_are(&world, &messages, State::Delivered));
    world.conclude();
}

#[test]
fn a_switchboard_that_starts_anew_has_forgotten_what_it_accepted_and_is_told_again() {
    let mut world = with_one_away();
    let messages = send_all(&mut world, SendPlan::to(2), 10);
    world.run_for(SECOND * 5);
    assert!(all_are(&world, &messages, State::Accepted));
    world.restart_switchboard(SECOND);
    world.run_for(SECOND * 20);
    assert!(all_are(&world, &messages, State::Unknown), "nobody keeps them, and nobody has seen their receiver");
    // Once it was there it may be away.
    world.rejoin(2);
    world.run_for(SECOND * 10);
    assert!(all_are(&world, &messages, State::Delivered));
    world.cut_off(2);
    world.run_for(AWAY);
    let more = send_all(&mut world, SendPlan::to(2), 10);
    world.run_for(SECOND * 5);
    assert!(all_are(&world, &more, State::Accepted));
    world.rejoin(2);
    world.conclude();
}

#[test]
fn an_envelope_that_is_played_again_is_taken_once_by_each_run() {
    let mut world = with_one_away();
    let envelopes = Rc::new(RefCell::new(Vec::<Bytes>::new()));
    let kept = Rc::clone(&envelopes);
    world.rule = Some(Box::new(move |crossing| {
        if crossing.to == 2 && crossing.frame.header().kind == OuterKind::Envelope {
            kept.borrow_mut().push(crossing.frame.bytes().clone());
        }
        Fate::Pass
    }));
    let messages = send_all(&mut world, SendPlan { thread: 6, ..SendPlan::to(2) }, 10);
    world.run_for(SECOND * 5);
    world.rejoin(2);
    world.run_for(SECOND * 10);
    world.rule = None;
    let frames = envelopes.borrow().clone();
    assert!(!frames.is_empty());
    let play = |world: &mut World, to: Who| {
        frames.iter().rev().for_each(|frame| world.inject(to, frame.clone()));
        world.run_for(SECOND * 5);
    };
    play(&mut world, 2);
    // Neither another run of the sender, nor its goodbye, makes the receiver forget.
    world.kill(1);
    let sender = world.resume(1);
    world.run_for(SECOND * 10);
    play(&mut world, 2);
    world.close(sender);
    world.run_for(SECOND * 10);
    play(&mut world, 2);
    assert!(messages.iter().all(|message| handed(&world, *message) == [(2, false)]));
    // The receiver's own next run can't know.
    world.kill(2);
    let receiver = world.resume(2);
    world.run_for(SECOND * 10);
    play(&mut world, receiver);
    play(&mut world, receiver);
    assert!(messages.iter().all(|message| handed(&world, *message) == [(2, false), (receiver, true)]));
    world.conclude();
}

#[test]
fn an_envelope_of_an_expired_message_hands_nothing_over() {
    let mut world = with_one_away();
    let message = world.send(1, SendPlan { ttl: SECOND * 30, ..SendPlan::to(2) }).expect("there is room");
    let frames = Rc::new(RefCell::new(Vec::<Bytes>::new()));
    world.run_for(SECOND * 5);
    let kept = Rc::clone(&frames);
    world.rule = Some(Box::new(move |crossing| {
        if crossing.to == 2 && crossing.frame.header().kind == OuterKind::Envelope {
            kept.borrow_mut().push(crossing.frame.bytes().clone());
            return Fate::Lose;
        }
        if is_session(crossing) && crossing.to == 2 { Fate::Lose } else { Fate::Pass }
    }));
    world.rejoin(2);
    world.run_for(SECOND * 30);
    world.rule = None;
    assert_eq!(world.history.state(message), State::Expired);
    for frame in frames.borrow().clone() {
        world.inject(2, frame);
    }
    world.run_for(SECOND * 10);
    assert!(handed(&world, message).is_empty());
    world.conclude();
}

#[test]
fn an_envelope_with_any_bit_of_its_header_changed_is_refused() {
    let mut world = with_one_away();
    let frames = Rc::new(RefCell::new(Vec::<Bytes>::new()));
    let kept = Rc::clone(&frames);
    world.rule = Some(Box::new(move |crossing| {
        let is_it = crossing.to == 2 && crossing.frame.header().kind == OuterKind::Envelope;
        if is_it {
            kept.borrow_mut().push(crossing.frame.bytes().clone());
        }
        if is_it { Fate::Lose } else { Fate::Pass }
    }));
    let message = world.send(1, SendPlan::to(2)).expect("there is room");
    world.run_for(SECOND * 3);
    world.kill(1);
    world.rejoin(2);
    world.run_for(SECOND * 5);
    world.rule = None;
    let genuine = frames.borrow()[0].clone();
    for bit in (DataFrame::HEADER_LEN - 56) * 8..DataFrame::HEADER_LEN * 8 {
        let mut changed = genuine.to_vec();
        changed[bit / 8] ^= 1 << (bit % 8);
        world.inject(2, changed.into());
    }
    world.run_for(SECOND * 10);
    assert!(handed(&world, message).is_empty());
    world.inject(2, genuine);
    world.run_for(SECOND);
    assert_eq!(handed(&world, message), [(2, false)], "the genuine one is as good as before");
    world.conclude();
}

#[test]
fn a_sender_that_nobody_answers_asks_less_and_less() {
    let mut world = with_one_away();
    let before = world.agent(1).health().counters.frames_sent;
    // A switchboard that is told of envelopes and says nothing: what it would say is lost.
    world.cut_off(1);
    let message = world.send(1, SendPlan { ttl: SECOND * 3_600, ..SendPlan::to(2) }).expect("there is room");
    world.run_for(SECOND * 600);
    world.rejoin(1);
    world.run_for(SECOND * 20);
    assert_eq!(world.history.state(message), State::Accepted);
    assert!(world.agent(1).health().counters.frames_sent < before + 40);
    world.rejoin(2);
    world.conclude();
}
