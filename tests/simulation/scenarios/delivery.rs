//! From one application's memory into another's, or a word about it.

use std::time::Duration;

use a2alinker::agent::limits::{CREDIT_WINDOW_BYTES, CREDIT_WINDOW_MESSAGES};
use a2alinker::proto::{Lane, OuterKind};

use crate::simulation::application::{BODY_MAX, Manner};
use crate::simulation::history::{State, Uid, What, Who};
use crate::simulation::network::{Crossing, Fate, Line};
use crate::simulation::world::{CallPlan, Notice, SendPlan, World};

const SECOND: Duration = Duration::from_secs(1);

fn is_session(crossing: &Crossing<'_>, from: Who, to: Who) -> bool {
    crossing.from == Some(from) && crossing.to == to && crossing.frame.header().kind == OuterKind::Session
}

/// Sends so many copies of a plan.
fn send_all(world: &mut World, from: Who, plan: SendPlan, count: usize) -> Vec<Uid> {
    (0..count).map(|_| world.send(from, plan).expect("the outbox has room")).collect()
}

fn handed(world: &World, messages: &[Uid]) -> usize {
    messages.iter().filter(|message| world.history.handed(**message).is_some()).count()
}

fn in_state(world: &World, messages: &[Uid], state: State) -> usize {
    messages.iter().filter(|message| world.history.state(**message) == state).count()
}

/// Agents 1 and 2 have a session.
fn acquainted(workers: usize) -> World {
    let mut world = World::swarm(workers);
    let first = world.send(1, SendPlan::to(2)).expect("there is room");
    world.run_for(SECOND * 15);
    assert_eq!(world.history.state(first), State::Delivered);
    world
}

#[test]
fn a_switchboard_that_restarts_in_the_middle_of_a_burst_loses_nothing() {
    let mut world = acquainted(2);
    world.seats[1].line = Line { bandwidth: 1 << 20, ..Line::NEAR };
    let messages = send_all(&mut world, 1, SendPlan { len: 20_000, thread: 1, ..SendPlan::to(2) }, 100);
    world.run_for(SECOND / 2);
    let before = handed(&world, &messages);
    assert!((1..100).contains(&before), "{before} were handed over before the restart");
    world.restart_switchboard(SECOND);
    world.run_for(SECOND * 15);
    assert_eq!(in_state(&world, &messages, State::Delivered), 100, "what the switchboard lost never arrived");
    world.conclude();
}

#[test]
fn a_link_that_breaks_unnoticed_loses_nothing() {
    let mut world = acquainted(2);
    let messages = send_all(&mut world, 1, SendPlan { len: 5_000, ..SendPlan::to(2) }, 50);
    world.cut(2, Notice::Nobody);
    world.run_for(SECOND * 120);
    assert_eq!(in_state(&world, &messages, State::Delivered), 50);
    world.conclude();
}

#[test]
fn a_receiver_that_never_reads_stops_its_sender_and_nobody_else() {
    let mut world = acquainted(3);
    world.seats[2].application.manner.reads = false;
    let window = CREDIT_WINDOW_MESSAGES as usize;
    let plan = SendPlan { len: 10, ..SendPlan::to(2) };
    let many = send_all(&mut world, 1, plan, window + 500);
    world.run_for(SECOND * 30);
    assert!(handed(&world, &many) <= window, "{} messages in memory", handed(&world, &many));
    assert!(handed(&world, &many) > window - 10, "the window is used: {}", handed(&world, &many));

    let elsewhere = [world.send(1, SendPlan::to(3)), world.send(3, SendPlan::to(1)), world.send(3, SendPlan::to(2))];
    let call = world.call(1, CallPlan::to(2)).expect("agent 2 is known");
    world.run_for(SECOND * 5);
    elsewhere.into_iter().flatten().for_each(|message| assert_eq!(world.history.state(message), State::Delivered));
    assert!(matches!(world.history.outcome(call), Some((_, Ok(2)))), "calls have credit of their own");

    world.read_all(2);
    world.run_for(SECOND * 30);
    assert_eq!(in_state(&world, &many, State::Delivered), window + 500);
    world.conclude();
}

#[test]
fn an_expired_message_leaves_a_gap_and_its_thread_goes_on() {
    let mut world = acquainted(2);
    world.rule = Some(Box::new(|crossing| if is_session(crossing, 1, 2) { Fate::Lose } else { Fate::Pass }));
    let lost = world.send(1, SendPlan { thread: 1, ttl: SECOND, ..SendPlan::to(2) }).expect("there is room");
    let other = world.send(1, SendPlan { thread: 1, ..SendPlan::to(2) }).expect("there is room");
    world.run_for(SECOND * 5);
    world.rule = None;
    world.run_for(SECOND * 10);
    assert_eq!(world.history.state(lost), State::Expired);
    assert_eq!(world.history.state(other), State::Delivered);
    assert_eq!(world.seats[2].gaps, 1);
    world.conclude();
}

#[test]
fn messages_that_expire_on_the_way_do_not_use_up_the_credit() {
    let mut world = acquainted(2);
    world.rule = Some(Box::new(|crossing| if is_session(crossing, 1, 2) { Fate::Lose } else { Fate::Pass }));
    let each = 64 << 10;
    let lost = CREDIT_WINDOW_BYTES as usize / each + 2;
    send_all(&mut world, 1, SendPlan { ttl: SECOND * 5, len: each, ..SendPlan::to(2) }, lost);
    world.run_for(SECOND * 40);
    world.rule = None;
    world.run_for(SECOND * 40);
    let later = send_all(&mut world, 1, SendPlan { len: each, ..SendPlan::to(2) }, lost);
    world.run_for(SECOND * 40);
    assert_eq!(in_state(&world, &later, State::Delivered), lost);
    world.conclude();
}

#[test]
fn urgent_overtakes_a_bulk_backlog() {
    let mut world = acquainted(2);
    let slow = Line { delay: Duration::from_millis(20), jitter: Duration::ZERO, bandwidth: 300 << 10 };
    world.seats[2].line = slow;
    let bulk = send_all(&mut world, 1, SendPlan { lane: Lane::Bulk, len: BODY_MAX, ..SendPlan::to(2) }, 12);
    world.run_for(SECOND);
    let urgent = world.send(1, SendPlan { lane: Lane::Urgent, ..SendPlan::to(2) }).expect("there is room");
    let sent_at = world.now;
    world.run_for(SECOND * 40);
    let took = world.history.handed(urgent).expect("it arrived") - sent_at;
    // What sockets hold already (256 KiB at 300 KiB/s) can't be overtaken.
    assert!(took < SECOND * 3 / 2, "an urgent message took {took:?}");
    assert_eq!(in_state(&world, &bulk, State::Delivered), bulk.len());
    world.conclude();
}

#[test]
fn every_refusal_is_reported_however_many_there_are() {
    let mut world = acquainted(2);
    world.seats[2].application.manner.declines = 1_000;
    let messages = send_all(&mut world, 1, SendPlan { until_done: true, ..SendPlan::to(2) }, 100);
    world.run_for(SECOND * 5);
    assert_eq!(in_state(&world, &messages, State::Refused), 100);
    world.conclude();
}

#[test]
fn what_is_handled_is_reported_however_many_gaps_there_are() {
    let mut world = acquainted(2);
    let mut messages = Vec::new();
    for _ in 0..100 {
        messages.extend(world.send(1, SendPlan { until_done: true, ..SendPlan::to(2) }));
        world.send(1, SendPlan::to(2));
        world.send(1, SendPlan::to(3 - 1));
    }
    world.run_for(SECOND * 5);
    assert_eq!(in_state(&world, &messages, State::Done), 100);
    world.conclude();
}

#[test]
fn a_long_message_survives_the_loss_of_one_of_its_chunks() {
    let mut world = acquainted(2);
    let mut left = 7;
    world.rule = Some(Box::new(move |crossing| {
        let is_chunk = is_session(crossing, 1, 2) && crossing.frame.sealed().len() > 10_000;
        left -= i32::from(is_chunk);
        if is_chunk && left == 0 { Fate::Lose } else { Fate::Pass }
    }));
    let message = world.send(1, SendPlan { len: BODY_MAX, ..SendPlan::to(2) }).expect("there is room");
    world.run_for(SECOND * 5);
    assert_eq!(world.history.state(message), State::Delivered);
    world.conclude();
}

#[test]
fn a_peer_that_is_away_gets_what_was_meant_for_it_when_it_is_back() {
    let mut world = acquainted(2);
    world.cut_off(2);
    world.run_for(SECOND * 70);
    let waits = world.send(1, SendPlan::to(2)).expect("there is room");
    let too_late = world.send(1, SendPlan { ttl: SECOND * 10, ..SendPlan::to(2) }).expect("there is room");
    world.run_for(SECOND * 30);
    assert_eq!(world.history.state(waits), State::Accepted);
    assert_eq!(world.history.state(too_late), State::Expired);
    world.rejoin(2);
    world.run_for(SECOND * 10);
    assert_eq!(world.history.state(waits), State::Delivered);
    assert_eq!(world.history.handed(too_late), None);
    world.conclude();
}

#[test]
fn a_restart_hint_is_given_once_for_each_message() {
    let mut world = acquainted(2);
    world.seats[2].reads_socket = false;
    let messages = send_all(&mut world, 1, SendPlan { len: 20_000, ..SendPlan::to(2) }, 120);
    world.run_for(SECOND * 2);
    world.cut(2, Notice::Switchboard);
    world.run_for(SECOND * 2);
    let hints = world.history.records.iter().filter(|record| matches!(record.what, What::Receipt { state: State::Unknown, .. }));
    assert!(hints.count() <= messages.len() * 2, "a bounced frame says of every message again that its receiver is away");
    world.set_reading(2, true);
    world.conclude();
}

#[test]
fn a_full_queue_slows_its_senders_and_does_not_make_them_repeat_themselves() {
    let mut world = acquainted(3);
    world.seats[2].line = Line { delay: Duration::from_millis(20), jitter: Duration::ZERO, bandwidth: 200 << 10 };
    let plan = SendPlan { lane: Lane::Bulk, len: BODY_MAX, ..SendPlan::to(2) };
    let frames_sent = |world: &World| -> u64 { [1, 3].iter().map(|who| world.agent(*who).health().counters.frames_sent).sum() };
    let before = frames_sent(&world);
    let messages = [send_all(&mut world, 1, plan, 30), send_all(&mut world, 3, plan, 30)].concat();
    // Twelve megabytes at 200 KiB a second.
    world.run_for(SECOND * 90);
    assert_eq!(in_state(&world, &messages, State::Delivered), messages.len());
    let chunks = (messages.len() * BODY_MAX.div_ceil(16 << 10)) as u64;
    let frames = frames_sent(&world) - before;
    assert!(frames < chunks * 2, "{frames} frames for {chunks} chunks");
    world.conclude();
}

#[test]
fn a_full_bulk_queue_keeps_nothing_else_from_its_receiver() {
    let mut world = acquainted(2);
    world.seats[2].line = Line { delay: Duration::from_millis(20), jitter: Duration::ZERO, bandwidth: 300 << 10 };
    send_all(&mut world, 1, SendPlan { lane: Lane::Bulk, len: BODY_MAX, ..SendPlan::to(2) }, 40);
    for _ in 0..20 {
        world.run_for(SECOND);
        let urgent = world.send(1, SendPlan { lane: Lane::Urgent, ..SendPlan::to(2) }).expect("there is room");
        let sent_at = world.now;
        world.run_for(SECOND * 2);
        let took = world.history.handed(urgent).map(|at| at - sent_at);
        assert!(took.is_some_and(|took| took < SECOND * 3 / 2), "an urgent message took {took:?}");
    }
    world.conclude();
}

#[test]
fn nothing_is_kept_for_a_peer_that_has_left_for_good() {
    let mut world = acquainted(2);
    world.seats[1].application.manner = Manner { works_for: SECOND * 60, ..Manner::PROMPT };
    world.call(2, CallPlan::to(1)).expect("agent 1 is known");
    world.run_for(SECOND);
    world.rule = Some(Box::new(|crossing| if is_session(crossing, 1, 2) { Fate::Lose } else { Fate::Pass }));
    let message = world.send(1, SendPlan::to(2)).expect("there is room");
    world.run_for(SECOND);
    world.close(2);
    world.run_for(SECOND * 120);
    assert_eq!(world.history.state(message), State::Failed, "its sender heard of the goodbye");
    assert!(world.try_send(1, SendPlan::to(2)).is_err());
    assert_eq!(world.agent(1).health().outbox_messages, 0);
    assert_eq!(world.agent(1).health().requests, 0);
    world.conclude();
}
