//! Networks that change under a link.

use std::time::Duration;

use a2alinker::agent::PathChange;
use a2alinker::proto::limits::PING_INTERVAL;

use crate::simulation::history::{State, Uid, Who};
use crate::simulation::world::{Notice, SendPlan, World};

const SECOND: Duration = Duration::from_secs(1);

fn send(world: &mut World, from: Who, to: Who) -> Uid {
    world.send(from, SendPlan::to(to)).expect("the outbox has room")
}

/// Agents 1 and 2 have a session.
fn acquainted() -> World {
    let mut world = World::swarm(2);
    let first = send(&mut world, 1, 2);
    world.run_for(SECOND * 15);
    assert_eq!(world.history.state(first), State::Delivered);
    world
}

#[test]
fn an_address_that_changes_in_a_burst_costs_less_than_a_second_and_loses_nothing() {
    let mut world = acquainted();
    for _ in 0..3 {
        let messages: Vec<Uid> = (0..50).map(|at| send(&mut world, 1 + at % 2, 2 - at % 2)).collect();
        world.run_for(SECOND / 50);
        world.cut(1, Notice::Nobody);
        world.change_path(1, PathChange::Lost);
        world.run_for(SECOND);
        assert!(messages.iter().all(|message| world.history.state(*message) == State::Delivered));
    }
    world.conclude();
}

#[test]
fn a_nat_that_forgets_an_idle_link_is_noticed_within_two_pings() {
    let mut world = acquainted();
    world.cut(1, Notice::Nobody);
    let waiting = send(&mut world, 2, 1);
    world.run_for(PING_INTERVAL * 2);
    assert_eq!(world.history.state(waiting), State::Delivered);
    world.conclude();
}

#[test]
fn a_doubt_costs_nothing_where_the_link_lives_and_seconds_where_it_does_not() {
    let mut world = acquainted();
    let links = world.switchboard().stats().links;
    world.change_path(1, PathChange::Unsure);
    world.run_for(SECOND * 10);
    assert_eq!((world.switchboard().stats().links, world.switchboard().stats().replaced), (links, 0));
    world.cut(1, Notice::Nobody);
    world.change_path(1, PathChange::Unsure);
    let message = send(&mut world, 1, 2);
    world.run_for(SECOND * 6);
    assert_eq!(world.history.state(message), State::Delivered);
    world.conclude();
}
