//! Calls: who gets them, who answers, and what becomes of them when workers fail.

use std::time::Duration;

use a2alinker::agent::limits::{HEARTBEAT_INTERVAL, LAPSE_AFTER, LOOP_STALL};
use a2alinker::proto::{Lane, OuterKind};

use crate::simulation::application::Manner;
use crate::simulation::history::{Uid, Who};
use crate::simulation::network::{Fate, Line};
use crate::simulation::world::{CallPlan, Notice, World};

const SECOND: Duration = Duration::from_secs(1);
/// How long a peer may be away until calls to it are over, as `Config::new` has it.
const PEER_GONE_AFTER: Duration = Duration::from_secs(10);

fn busy_for(world: &mut World, who: Who, works_for: Duration) {
    world.seats[who].application.manner = Manner { works_for, ..Manner::PROMPT };
}

fn answered_by(world: &World, call: Uid) -> Option<Who> {
    world.history.outcome(call)?.1.ok()
}

fn failed_with(world: &World, call: Uid) -> Option<&str> {
    world.history.outcome(call)?.1.err()
}

#[test]
fn a_cancel_that_overtakes_its_request_keeps_it_from_being_started() {
    let mut world = World::swarm(1);
    world.rule = Some(Box::new(|crossing| {
        let header = crossing.frame.header();
        let is_request = crossing.to == 1 && header.kind == OuterKind::Session && header.lane == Lane::Normal;
        if is_request { Fate::Late(SECOND) } else { Fate::Pass }
    }));
    let call = world.call(0, CallPlan::to(1)).expect("agent 1 is known");
    world.run_for(SECOND / 10);
    world.cancel(0, call);
    world.run_for(SECOND * 5);
    assert!(world.history.requested(call).is_empty(), "the worker got it all the same");
    assert_eq!(world.history.outcome(call), None);
    world.conclude();
}

#[test]
fn a_cancel_ends_the_work_however_many_came_before() {
    let mut world = World::swarm(1);
    busy_for(&mut world, 1, SECOND * 3_000);
    for number in 0..100 {
        let call = world.call(0, CallPlan::to(1)).expect("agent 1 is known");
        world.run_for(SECOND / 10);
        world.cancel(0, call);
        world.run_for(SECOND / 10);
        assert_eq!(world.agent(1).health().requests, 0, "cancel {number} never came");
    }
    world.conclude();
}

#[test]
fn a_call_that_nobody_takes_ends_with_its_time_to_live() {
    let mut world = World::swarm(1);
    world.kill(1);
    world.run_for(PEER_GONE_AFTER * 2);
    let made_at = world.now;
    let plan = CallPlan { ttl: SECOND * 30, ..CallPlan::anybody() };
    let call = world.call(0, plan).expect("agent 1 is known, although it is gone");
    world.run_for(SECOND * 29);
    assert_eq!(world.history.outcome(call), None);
    world.run_for(SECOND * 2);
    assert_eq!(failed_with(&world, call), Some("Expired"));
    assert_eq!(world.history.outcome(call).map(|(at, _)| (at - made_at).as_secs()), Some(30));
    world.conclude();
}

#[test]
fn a_call_moves_on_when_its_worker_is_gone_for_too_long() {
    let mut world = World::swarm(2);
    busy_for(&mut world, 1, SECOND * 600);
    busy_for(&mut world, 2, SECOND * 600);
    let call = world.call(0, CallPlan::anybody()).expect("there are workers");
    world.run_for(SECOND * 2);
    let first = world.history.requested(call)[0];
    let other = 3 - first;
    world.seats[other].application.manner = Manner::PROMPT;
    let killed_at = world.now;
    world.kill(first);
    world.run_for(SECOND * 20);
    assert_eq!(world.history.requested(call), [first, other]);
    assert_eq!(answered_by(&world, call), Some(other));
    let (at, _) = world.history.outcome(call).expect("it ended");
    assert!(at - killed_at >= PEER_GONE_AFTER && at - killed_at < PEER_GONE_AFTER + SECOND * 3, "after {:?}", at - killed_at);
    world.conclude();
}

#[test]
fn a_call_moves_on_at_once_when_its_worker_says_goodbye() {
    let mut world = World::swarm(2);
    busy_for(&mut world, 1, SECOND * 600);
    busy_for(&mut world, 2, SECOND * 600);
    let call = world.call(0, CallPlan::anybody()).expect("there are workers");
    world.run_for(SECOND * 2);
    let first = world.history.requested(call)[0];
    world.seats[3 - first].application.manner = Manner::PROMPT;
    world.close(first);
    world.run_for(SECOND);
    assert_eq!(answered_by(&world, call), Some(3 - first));
    world.conclude();
}

#[test]
fn a_call_to_one_peer_fails_when_that_is_gone() {
    let mut world = World::swarm(2);
    busy_for(&mut world, 1, SECOND * 600);
    let call = world.call(0, CallPlan::to(1)).expect("agent 1 is known");
    world.run_for(SECOND);
    world.kill(1);
    world.run_for(SECOND * 15);
    assert!(failed_with(&world, call).is_some_and(|error| error.starts_with("PeerGone")), "{:?}", world.history.outcome(call));
    assert_eq!(world.history.requested(call), [1]);
    world.conclude();
}

#[test]
fn a_call_to_a_peer_that_was_gone_before_fails_too() {
    let mut world = World::swarm(2);
    world.kill(1);
    world.run_for(SECOND * 30);
    let call = world.call(0, CallPlan::to(1)).expect("agent 1 is known");
    world.run_for(PEER_GONE_AFTER + SECOND);
    assert!(failed_with(&world, call).is_some_and(|error| error.starts_with("PeerGone")), "{:?}", world.history.outcome(call));
    world.conclude();
}

#[test]
fn when_all_workers_are_busy_a_call_waits_for_one() {
    let mut world = World::swarm(2);
    for who in [1, 2] {
        world.seats[who].application.manner = Manner { works_on: 1, works_for: SECOND * 4, ..Manner::PROMPT };
    }
    let calls: Vec<Uid> = (0..6).map(|_| world.call(0, CallPlan::anybody()).expect("there are workers")).collect();
    let frames = world.agent(0).health().counters.frames_sent;
    world.run_for(SECOND * 60);
    calls.iter().for_each(|call| assert!(answered_by(&world, *call).is_some(), "{:?}", world.history.outcome(*call)));
    let frames = world.agent(0).health().counters.frames_sent - frames;
    assert!(frames < 600, "{frames} frames: it asks far too often");
    world.conclude();
}

#[test]
fn a_call_that_only_one_may_do_does_not_hammer_it_while_it_is_busy() {
    let mut world = World::swarm(2);
    world.seats[1].application.manner = Manner { works_on: 0, ..Manner::PROMPT };
    let call = world.call(0, CallPlan { among: Some(1), ..CallPlan::anybody() }).expect("there is a worker");
    world.run_for(SECOND * 5);
    let asked = world.history.requested(call).len();
    assert!((5..=11).contains(&asked), "asked {asked} times in five seconds");
    world.seats[1].application.manner = Manner::PROMPT;
    world.run_for(SECOND * 2);
    assert_eq!(answered_by(&world, call), Some(1));
    world.conclude();
}

#[test]
fn a_worker_that_shows_no_life_loses_the_call() {
    let mut world = World::swarm(2);
    for who in [1, 2] {
        busy_for(&mut world, who, SECOND * 600);
    }
    let call = world.call(0, CallPlan::anybody()).expect("there are workers");
    world.run_for(SECOND * 2);
    let first = world.history.requested(call)[0];
    world.seats[3 - first].application.manner = Manner::PROMPT;
    world.seats[first].application.manner.turns = false;
    world.run_for(LOOP_STALL + LAPSE_AFTER + HEARTBEAT_INTERVAL * 3);
    assert_eq!(answered_by(&world, call), Some(3 - first));
    world.seats[first].application.manner = Manner::PROMPT;
    world.conclude();
}

#[test]
fn heartbeats_keep_a_call_alive_for_as_long_as_the_work_takes() {
    let mut world = World::swarm(1);
    world.seats[1].application.manner = Manner { works_for: SECOND * 900, ..Manner::PROMPT };
    let call = world.call(0, CallPlan::anybody()).expect("there is a worker");
    world.run_for(SECOND * 3_000);
    assert_eq!(answered_by(&world, call), Some(1));
    assert_eq!(world.history.requested(call), [1]);
    world.conclude();
}

#[test]
fn a_call_waits_while_all_workers_are_away_and_then_gives_up() {
    let mut world = World::swarm(1);
    world.cut_off(1);
    world.run_for(SECOND * 70);
    let patient = world.call(0, CallPlan::anybody()).expect("the skill is known");
    let hasty = world.call(0, CallPlan { timeout: Some(SECOND * 5), ..CallPlan::anybody() }).expect("the skill is known");
    world.run_for(SECOND * 10);
    assert!(failed_with(&world, hasty).is_some_and(|error| error.starts_with("TimedOut")));
    assert_eq!(world.history.outcome(patient), None);
    world.rejoin(1);
    world.run_for(SECOND * 10);
    assert_eq!(answered_by(&world, patient), Some(1));
    world.conclude();
}

#[test]
fn a_broken_link_that_comes_back_in_time_costs_a_call_nothing() {
    let mut world = World::swarm(1);
    world.seats[1].line = Line::NEAR;
    world.seats[1].application.manner = Manner { works_for: SECOND * 20, ..Manner::PROMPT };
    let call = world.call(0, CallPlan::anybody()).expect("there is a worker");
    for pause in [1, 3, 2] {
        world.run_for(SECOND * pause);
        world.restart_switchboard(SECOND);
    }
    world.run_for(SECOND * 90);
    assert_eq!(answered_by(&world, call), Some(1));
    assert_eq!(world.history.requested(call), [1]);
    world.conclude();
}

#[test]
fn a_request_and_an_answer_that_are_sent_again_run_the_handler_once() {
    let mut world = World::swarm(1);
    busy_for(&mut world, 1, SECOND);
    // Nothing gets back to the caller: neither word that its request arrived, nor the answer. So both sides send again.
    world.rule = Some(Box::new(|crossing| if crossing.to == 0 { Fate::Lose } else { Fate::Pass }));
    let call = world.call(0, CallPlan::to(1)).expect("agent 1 is known");
    world.run_for(SECOND * 20);
    assert_eq!(world.history.requested(call), [1]);
    assert_eq!(world.history.outcome(call), None, "the caller can't know anything yet");
    world.rule = None;
    world.cut(1, Notice::Both);
    world.run_for(SECOND * 40);
    assert_eq!(answered_by(&world, call), Some(1));
    assert_eq!(world.history.requested(call), [1], "the handler ran again");
    world.conclude();
}
