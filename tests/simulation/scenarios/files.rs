//! Agents that go on from their files: alone, all at once, together with the switchboard, after a week, for months.

use std::collections::BTreeMap;
use std::time::Duration;

use a2alinker::agent::PeerChange;
use a2alinker::crypto::Rights;

use crate::simulation::application::Manner;
use crate::simulation::history::{State, What, Who};
use crate::simulation::network::Line;
use crate::simulation::world::{CallPlan, SendPlan, World};

const SECOND: Duration = Duration::from_secs(1);
const DAY: Duration = Duration::from_secs(24 * 60 * 60);

/// A host and so many workers that keep files, and know each other.
fn lasting_swarm(workers: usize) -> World {
    let mut world = World::new(11);
    let host = world.lasting_host(Line::NEAR, 0, Manner::PROMPT);
    let ticket = world.ticket(host, Some(workers as u32));
    for _ in 0..workers {
        world.join_to_stay(ticket.clone(), Line::NEAR, 0, Manner::PROMPT);
    }
    world.run_until("everybody knows everybody", SECOND * 20, World::is_complete);
    world.run_for(SECOND * 20);
    world
}

fn assert_delivers(world: &mut World, from: Who, to: Who) {
    let message = world.send(from, SendPlan::to(to)).expect("it is known");
    world.run_for(SECOND * 10);
    assert_eq!(world.history.state(message), State::Delivered, "from {from} to {to}");
}

#[test]
fn a_member_that_was_killed_is_the_same_member_and_needs_no_invite() {
    let mut world = lasting_swarm(2);
    let before = world.agent(0).peers().len();
    world.kill(1);
    world.run_for(SECOND * 30);
    let again = world.resume(1);
    world.run_until("everybody knows everybody", SECOND * 20, World::is_complete);
    assert_eq!(world.agent(0).peers().len(), before);
    for (from, to) in [(0, again), (again, 0), (2, again), (again, 2)] {
        assert_delivers(&mut world, from, to);
    }
    world.conclude();
}

#[test]
fn a_member_that_closes_comes_back_as_the_same() {
    let mut world = lasting_swarm(1);
    world.close(1);
    world.run_for(SECOND * 30);
    assert!(!world.seats[0].changes.contains(&(1, PeerChange::Left)), "its identity hasn't ended");
    let again = world.resume(1);
    assert_delivers(&mut world, 0, again);
    world.conclude();
}

#[test]
fn a_host_that_was_killed_goes_on_with_its_swarm_and_its_open_tickets() {
    let mut world = lasting_swarm(2);
    let open = world.ticket(0, None);
    world.kill(0);
    assert_delivers(&mut world, 1, 2);
    let host = world.resume(0);
    world.run_until("everybody knows everybody", SECOND * 20, World::is_complete);
    let newcomer = world.join(open, Line::NEAR, 0, Manner::PROMPT);
    world.run_until("the old ticket admits", SECOND * 20, |world| world.seats[newcomer].joined && world.is_complete());
    let ticket = world.ticket(host, Some(1));
    let another = world.join(ticket, Line::NEAR, 0, Manner::PROMPT);
    world.run_until("a new one, too", SECOND * 20, |world| world.seats[another].joined && world.is_complete());
    assert_delivers(&mut world, another, 1);
    world.conclude();
}

#[test]
fn a_host_that_ends_before_it_has_saved_any_card_hears_of_all() {
    let mut world = World::new(14);
    let host = world.lasting_host(Line::NEAR, 0, Manner::PROMPT);
    let ticket = world.ticket(host, None);
    (0..2).for_each(|_| {
        world.join_to_stay(ticket.clone(), Line::NEAR, 0, Manner::PROMPT);
    });
    world.run_until("everybody knows everybody", SECOND * 5, World::is_complete);
    world.kill(host);
    world.resume(host);
    world.run_until("everybody knows everybody", SECOND * 10, World::is_complete);
    world.conclude();
}

#[test]
fn a_swarm_that_restarts_with_its_switchboard_finds_itself_again() {
    let mut world = lasting_swarm(3);
    (0..4).for_each(|who| world.kill(who));
    world.restart_switchboard(SECOND);
    world.run_for(SECOND * 2);
    let again: Vec<Who> = (0..4).map(|who| world.resume(who)).collect();
    world.run_until("everybody knows everybody", SECOND * 20, World::is_complete);
    for from in &again {
        for to in again.iter().filter(|to| *to != from) {
            assert_delivers(&mut world, *from, *to);
        }
    }
    world.conclude();
}

#[test]
fn members_that_restart_find_each_other_by_their_files_when_the_host_stays_away() {
    let mut world = lasting_swarm(2);
    (0..3).for_each(|who| world.kill(who));
    world.run_for(DAY * 7);
    let (one, two) = (world.resume(1), world.resume(2));
    world.run_for(SECOND * 5);
    assert_delivers(&mut world, one, two);
    assert_delivers(&mut world, two, one);
    world.conclude();
}

#[test]
fn a_member_that_closes_comes_back_to_its_peers_while_the_host_is_away() {
    let mut world = lasting_swarm(2);
    assert_delivers(&mut world, 1, 2);
    world.kill(0);
    world.close(1);
    world.run_for(SECOND * 30);
    let again = world.resume(1);
    world.run_until("everybody knows everybody", SECOND * 20, World::is_complete);
    assert_delivers(&mut world, 2, again);
    world.conclude();
}

#[test]
fn a_member_whose_peer_has_other_keys_by_now_is_heard_all_the_same() {
    let mut world = lasting_swarm(2);
    world.kill(0);
    world.kill(1);
    world.run_for(DAY * 7);
    // What the file says of agent 2 is a week old: none of its prekeys is left.
    let again = world.resume(1);
    world.run_for(SECOND * 5);
    assert_delivers(&mut world, again, 2);
    world.conclude();
}

#[test]
fn what_was_on_its_way_to_a_killed_agent_comes_to_its_next_run() {
    let mut world = lasting_swarm(1);
    world.seats[1].application.manner.reads_within = Duration::ZERO;
    let messages: Vec<_> = (0..50)
        .filter_map(|number| {
            let message =
                world.send(0, SendPlan { thread: 1 + (number % 3) as u8, until_done: number % 2 == 0, ..SendPlan::to(1) });
            world.run_for(Duration::from_millis(2));
            if number == 25 {
                world.kill(1);
            }
            message
        })
        .collect();
    world.run_for(SECOND * 3);
    world.resume(1);
    world.conclude();
    let handed = world.history.records.iter().filter(|record| matches!(record.what, What::Handed { .. })).count();
    assert!(handed >= messages.len(), "{handed} of {}", messages.len());
    let marked =
        |record: &&_| matches!(record, &&crate::simulation::history::Record { what: What::Handed { repeated: true, .. }, .. });
    assert!(world.history.records.iter().filter(marked).count() > 0, "nothing was in doubt: the test shows too little");
}

#[test]
fn a_request_whose_call_is_over_isnt_begun_by_a_worker_that_comes_back() {
    let mut world = lasting_swarm(1);
    world.kill(1);
    let call = world.call(0, CallPlan::to(1)).expect("agent 1 is known");
    world.run_for(SECOND * 20);
    assert!(world.history.outcome(call).is_some_and(|(_, end)| end.err().is_some()), "its worker is gone");
    world.resume(1);
    world.run_for(SECOND * 20);
    assert!(world.history.requested(call).is_empty(), "nobody waits for it");
    world.conclude();
}

#[test]
fn a_call_moves_from_a_worker_that_was_killed_and_comes_back() {
    let mut world = lasting_swarm(2);
    world.seats[1].application.manner.works_for = SECOND * 60;
    let call = world.call(0, CallPlan { among: None, ..CallPlan::anybody() }).expect("two can do it");
    world.run_for(SECOND);
    let first = world.history.requested(call)[0];
    world.kill(first);
    world.resume(first);
    world.conclude();
    assert!(world.history.outcome(call).is_some_and(|(_, outcome)| outcome.is_ok()));
}

#[test]
fn whoever_ends_before_it_is_admitted_asks_again_and_counts_once() {
    let mut world = World::new(12);
    let host = world.lasting_host(Line::NEAR, 0, Manner::PROMPT);
    let ticket = world.ticket(host, Some(1));
    let line = Line { delay: SECOND, ..Line::NEAR };
    let joiner = world.join_to_stay(ticket.clone(), line, 0, Manner::PROMPT);
    // Its request has been answered by then, and the answer is on its way.
    world.run_for(SECOND * 6);
    world.kill(joiner);
    assert!(!world.seats[joiner].joined);
    let again = world.resume(joiner);
    world.run_until("it is a member", SECOND * 60, |world| world.seats[again].joined);
    let other = world.join(ticket, Line::NEAR, 0, Manner::PROMPT);
    world.run_for(SECOND * 20);
    assert!(world.seats[other].closed.as_deref().is_some_and(|why| why.contains("UsedUp")), "the ticket counts once");
    world.conclude();
}

#[test]
fn an_admin_that_restarts_still_admits() {
    let mut world = World::new(13);
    let host = world.lasting_host(Line::NEAR, 0, Manner::PROMPT);
    let rights = Rights { admit: true, ..Rights::default() };
    let (token, ticket) = world.ticket_with(host, Some(1), rights, SECOND * 600);
    world.run_until("the ticket can be used", SECOND * 10, |world| world.invites[&(host, token)] == Some(true));
    let admin = world.join_to_stay(ticket, Line::NEAR, 0, Manner::PROMPT);
    world.run_until("the admin is there", SECOND * 10, |world| world.seats[admin].joined && world.is_complete());
    let open = world.ticket(host, None);
    world.run_for(SECOND * 5);
    world.kill(host);
    world.kill(admin);
    let admin = world.resume(admin);
    world.run_for(SECOND * 5);
    let newcomer = world.join(open, Line::NEAR, 0, Manner::PROMPT);
    world.run_until("the newcomer is a member", SECOND * 20, |world| world.seats[newcomer].joined);
    assert_delivers(&mut world, newcomer, admin);
    world.conclude();
}

/// Ninety days are three lives of a certificate.
#[test]
fn a_swarm_lives_for_ninety_days_with_members_that_are_away_for_a_week() {
    let mut world = lasting_swarm(2);
    let rights = Rights { admit: true, ..Rights::default() };
    let (token, ticket) = world.ticket_with(0, Some(1), rights, SECOND * 600);
    world.run_until("the ticket can be used", SECOND * 10, |world| world.invites[&(0, token)] == Some(true));
    world.join_to_stay(ticket, Line::NEAR, 0, Manner::PROMPT);
    let mut at: BTreeMap<Who, Who> = (0..4).map(|person| (person, person)).collect();
    world.run_until("all are there", SECOND * 20, World::is_complete);
    let mut expiries: BTreeMap<Who, u64> = BTreeMap::new();
    for week in 0..13 {
        // Every week another one is away; the host, too.
        let person = week % 4;
        world.kill(at[&person]);
        world.run_for(DAY * 7);
        at.insert(person, world.resume(at[&person]));
        world.run_until("all are there", SECOND * 60, World::is_complete);
        for (person, who) in &at {
            let expiry = world.agent(*who).health().certificate_expiry.expect("it is a member");
            assert!(expiry > world.clock(*who).wall, "week {week}: the certificate of {person} has expired");
            let before = expiries.insert(*person, expiry);
            assert!(before.is_none_or(|before| before <= expiry), "week {week}: {person} has an older certificate than before");
        }
    }
    let lived = world.now;
    assert!(lived > DAY * 90, "{lived:?}");
    for from in at.values() {
        for to in at.values().filter(|to| *to != from) {
            assert_delivers(&mut world, *from, *to);
        }
    }
    world.conclude();
}

#[test]
fn whoever_is_away_for_longer_than_its_membership_is_refused_and_hears_why() {
    let mut world = lasting_swarm(1);
    world.cut_off(1);
    world.run_for(DAY * 31);
    world.rejoin(1);
    world.run_for(SECOND * 60);
    let closed = world.seats[1].closed.as_deref().unwrap_or("still there");
    assert!(closed.contains("CertificateExpired"), "{closed}");
    assert!(world.agent(0).health().linked, "the host has renewed itself, and its link with it");
}
