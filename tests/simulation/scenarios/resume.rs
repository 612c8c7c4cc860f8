//! Links that go on in the next one: what is said again, what is not, and what happens when they can't.

use std::time::Duration;

use a2alinker::agent::PathChange;
use a2alinker::proto::OuterKind;
use a2alinker::switchboard;

use crate::simulation::history::{State, Uid, What, Who};
use crate::simulation::network::{Fate, Line};
use crate::simulation::world::{Notice, SendPlan, World};

const SECOND: Duration = Duration::from_secs(1);

/// Agents 1 and 2 have a session, over lines on which a burst takes a while.
fn acquainted() -> World {
    let mut world = World::swarm(2);
    let first = world.send(1, SendPlan::to(2)).expect("there is room");
    world.run_for(SECOND * 15);
    assert_eq!(world.history.state(first), State::Delivered);
    for who in [1, 2] {
        world.seats[who].line = Line { bandwidth: 1 << 20, delay: Duration::from_millis(30), ..Line::NEAR };
    }
    world
}

fn burst(world: &mut World, from: Who, to: Who) -> Vec<Uid> {
    let plan = SendPlan { len: 20_000, thread: 1, ..SendPlan::to(to) };
    (0..60).map(|_| world.send(from, plan).expect("there is room")).collect()
}

fn all_delivered(world: &World, messages: &[Uid]) -> bool {
    messages.iter().all(|message| world.history.state(*message) == State::Delivered)
}

/// How often an agent's links went on from the one before, and how often they were new, since this time.
fn links(world: &World, who: Who, since: Duration) -> (usize, usize) {
    let records = world.history.records.iter().filter(|record| record.who == who && record.at >= since);
    let linked: Vec<bool> = records
        .filter_map(|record| match record.what {
            What::Linked { resumed } => Some(resumed),
            _ => None,
        })
        .collect();
    (linked.iter().filter(|resumed| **resumed).count(), linked.iter().filter(|resumed| !**resumed).count())
}

#[test]
fn frames_that_are_lost_in_both_directions_go_again_and_nothing_else_does() {
    for who in [1, 2] {
        let mut world = acquainted();
        let since = world.now;
        let sessions = world.agent(who).health().counters.sessions;
        let heard = world.seats[3 - who].changes.len();
        let messages = [burst(&mut world, 1, 2), burst(&mut world, 2, 1)].concat();
        world.run_for(SECOND / 2);
        world.cut(who, Notice::Both);
        world.run_for(SECOND * 10);
        assert!(all_delivered(&world, &messages));
        assert_eq!(links(&world, who, since), (1, 0), "agent {who}");
        assert_eq!(world.agent(who).health().counters.sessions, sessions, "no session ended");
        assert_eq!(
            world.seats[3 - who].changes.len(),
            heard,
            "the other one need not notice: {:?}",
            world.seats[3 - who].changes
        );
        world.conclude();
    }
}

#[test]
fn a_link_that_is_away_for_a_minute_goes_on_where_it_stopped() {
    let mut world = acquainted();
    let since = world.now;
    let messages = [burst(&mut world, 1, 2), burst(&mut world, 2, 1)].concat();
    world.run_for(SECOND / 2);
    world.cut(2, Notice::Both);
    world.seats[2].cut_off = true;
    world.run_for(SECOND * 60);
    world.rejoin(2);
    world.run_for(SECOND * 15);
    assert!(all_delivered(&world, &messages));
    assert_eq!(links(&world, 2, since), (1, 0));
    world.conclude();
}

#[test]
fn a_link_that_is_away_for_longer_than_the_grace_is_new() {
    let mut world = acquainted();
    let since = world.now;
    let messages = [burst(&mut world, 1, 2), burst(&mut world, 2, 1)].concat();
    world.run_for(SECOND / 2);
    world.cut(2, Notice::Both);
    world.seats[2].cut_off = true;
    world.run_for(SECOND * 180);
    world.rejoin(2);
    world.run_for(SECOND * 20);
    assert!(all_delivered(&world, &messages));
    assert_eq!(links(&world, 2, since), (0, 1));
    world.conclude();
}

#[test]
fn a_new_link_takes_over_from_one_that_is_half_open() {
    let mut world = acquainted();
    let since = world.now;
    let messages = [burst(&mut world, 1, 2), burst(&mut world, 2, 1)].concat();
    world.run_for(SECOND / 2);
    // The switchboard doesn't know that the old connection is dead; the machine has another address.
    world.cut(2, Notice::Nobody);
    world.change_path(2, PathChange::Lost);
    world.run_for(SECOND * 10);
    assert!(all_delivered(&world, &messages));
    assert_eq!(links(&world, 2, since), (1, 0));
    assert!(world.seats[2].closed.is_none(), "its own old link is nobody who takes over from it");
    world.conclude();
}

#[test]
fn a_switchboard_that_starts_anew_resumes_nothing_and_nothing_is_lost() {
    let mut world = acquainted();
    let since = world.now;
    let messages = [burst(&mut world, 1, 2), burst(&mut world, 2, 1)].concat();
    world.run_for(SECOND / 2);
    world.restart_switchboard(SECOND);
    world.run_for(SECOND * 30);
    assert!(all_delivered(&world, &messages));
    assert_eq!(links(&world, 1, since), (0, 1));
    world.conclude();
}

#[test]
fn a_switchboard_without_resume_is_one_as_before() {
    let mut world = acquainted();
    world.board = switchboard::Config { grace: Duration::ZERO, ..switchboard::Config::default() };
    world.restart_switchboard(Duration::ZERO);
    world.run_for(SECOND * 20);
    let since = world.now;
    let messages = burst(&mut world, 1, 2);
    world.run_for(SECOND / 2);
    world.cut(2, Notice::Both);
    world.run_for(SECOND * 20);
    assert!(all_delivered(&world, &messages));
    assert_eq!(links(&world, 2, since), (0, 1));
    world.conclude();
}

#[test]
fn a_peer_whose_link_goes_on_is_sent_nothing_twice() {
    let mut world = acquainted();
    let messages = burst(&mut world, 1, 2);
    world.run_for(SECOND * 10);
    assert!(all_delivered(&world, &messages));
    world.set_reading(2, false);
    let held = burst(&mut world, 1, 2);
    world.run_for(SECOND);
    let before = world.agent(1).health().counters.frames_sent;
    world.set_reading(2, true);
    world.cut(2, Notice::Both);
    world.seats[2].cut_off = true;
    world.run_for(SECOND * 10);
    world.rejoin(2);
    world.run_for(SECOND * 10);
    assert!(all_delivered(&world, &held));
    let sent = world.agent(1).health().counters.frames_sent - before;
    assert!(sent < 60, "{sent} frames for what the switchboard had kept");
    world.conclude();
}

#[test]
fn receipts_that_were_lost_with_a_link_are_said_again() {
    let mut world = acquainted();
    world.rule = Some(Box::new(|crossing| {
        let is_receipt = crossing.to == 1 && crossing.frame.header().kind == OuterKind::Session;
        if is_receipt { Fate::Lose } else { Fate::Pass }
    }));
    let message = world.send(1, SendPlan::to(2)).expect("there is room");
    world.run_for(SECOND / 2);
    world.rule = None;
    assert!(world.history.handed(message).is_some());
    assert_ne!(world.history.state(message), State::Delivered);
    world.cut(1, Notice::Both);
    world.run_for(SECOND * 8);
    assert_eq!(world.history.state(message), State::Delivered);
    world.conclude();
}
