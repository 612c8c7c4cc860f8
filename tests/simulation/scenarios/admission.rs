//! Joining by ticket, who answers, who is refused and why; and how everybody comes to know everybody.

use std::time::Duration;

use a2alinker::agent::{Config, PeerChange};
use a2alinker::crypto::Rights;
use a2alinker::proto::OuterKind;

use crate::simulation::application::Manner;
use crate::simulation::history::{State, Who};
use crate::simulation::network::{Fate, Line};
use crate::simulation::world::{Notice, SendPlan, World};

const SECOND: Duration = Duration::from_secs(1);

fn lone_host() -> (World, Who) {
    let mut world = World::new(5);
    let host = world.host(Line::NEAR, 0, Manner::PROMPT);
    (world, host)
}

fn closed(world: &World, who: Who) -> &str {
    world.seats[who].closed.as_deref().unwrap_or("still there")
}

#[test]
fn a_counted_ticket_admits_as_many_as_it_says() {
    let (mut world, host) = lone_host();
    let ticket = world.ticket(host, Some(2));
    let joiners: Vec<Who> = (0..3).map(|_| world.join(ticket.clone(), Line::NEAR, 0, Manner::PROMPT)).collect();
    world.run_for(SECOND * 10);
    let admitted = joiners.iter().filter(|who| world.seats[**who].joined).count();
    assert_eq!(admitted, 2);
    let refused = joiners.iter().find(|who| !world.seats[**who].joined).expect("one of three");
    assert!(closed(&world, *refused).contains("UsedUp"), "{}", closed(&world, *refused));
}

#[test]
fn an_expired_and_a_revoked_ticket_say_what_they_are() {
    let (mut world, host) = lone_host();
    let (_, short) = world.ticket_with(host, None, Rights::default(), SECOND * 30);
    let (token, revoked) = world.ticket_with(host, None, Rights::default(), SECOND * 3_600);
    world.run_for(SECOND * 31);
    world.revoke(host, token);
    world.run_for(SECOND);
    let late = world.join(short, Line::NEAR, 0, Manner::PROMPT);
    let unwanted = world.join(revoked, Line::NEAR, 0, Manner::PROMPT);
    world.run_for(SECOND * 10);
    assert!(closed(&world, late).contains("Expired"), "{}", closed(&world, late));
    assert!(closed(&world, unwanted).contains("Revoked"), "{}", closed(&world, unwanted));
}

#[test]
fn a_ticket_of_another_swarm_opens_nothing() {
    let (mut world, host) = lone_host();
    world.ticket(host, None);
    let elsewhere = World::swarm(0).ticket(0, None);
    let lost = world.join(elsewhere, Line::NEAR, 0, Manner::PROMPT);
    world.run_for(SECOND * 10);
    assert!(closed(&world, lost).contains("Unknown"), "{}", closed(&world, lost));
    assert!(world.agent(host).peers().is_empty());
}

#[test]
fn a_joiner_survives_the_loss_of_everything_on_its_way() {
    let (mut world, host) = lone_host();
    let ticket = world.ticket(host, Some(1));
    let joiner = world.join(ticket, Line { delay: SECOND / 10, ..Line::NEAR }, 0, Manner::PROMPT);
    for pause in [800, 1_400, 2_600] {
        world.run_for(Duration::from_millis(pause));
        world.restart_switchboard(SECOND / 2);
    }
    world.run_until("the joiner is a member", SECOND * 30, |world| world.seats[joiner].joined && world.is_complete());
}

#[test]
fn with_an_uncounted_ticket_any_admin_admits() {
    let (mut world, host) = lone_host();
    let rights = Rights { admit: true, ..Rights::default() };
    let (token, ticket) = world.ticket_with(host, Some(1), rights, SECOND * 600);
    world.run_until("the ticket can be used", SECOND * 10, |world| world.invites[&(host, token)] == Some(true));
    let admin = world.join(ticket, Line::NEAR, 0, Manner::PROMPT);
    world.run_until("the admin is there", SECOND * 10, |world| world.seats[admin].joined && world.is_complete());
    let open = world.ticket(host, None);
    world.run_for(SECOND * 5);

    world.cut_off(host);
    world.run_for(SECOND * 60);
    let newcomer = world.join(open, Line::NEAR, 0, Manner::PROMPT);
    world.run_until("the newcomer is a member", SECOND * 20, |world| world.seats[newcomer].joined);
    let message = world.send(newcomer, SendPlan::to(admin)).expect("the admin is known");
    world.run_for(SECOND * 5);
    assert_eq!(world.history.state(message), State::Delivered);

    world.rejoin(host);
    world.run_until("the host hears of the newcomer", SECOND * 30, World::is_complete);
    let message = world.send(newcomer, SendPlan::to(host)).expect("the host is known");
    world.run_for(SECOND * 5);
    assert_eq!(world.history.state(message), State::Delivered, "what an admin has signed is good for the host");
    world.conclude();
}

/// The links of both are lost. That of the second goes on when that of the first, which was lost for too long, is another.
fn come_back(world: &mut World, (other, same): (Who, Who), meanwhile: impl FnOnce(&mut World)) {
    let lose = |world: &mut World, who: Who| {
        world.cut(who, Notice::Both);
        world.seats[who].cut_off = true;
    };
    lose(world, other);
    world.run_for(SECOND * 60);
    lose(world, same);
    world.run_for(SECOND * 70);
    world.rejoin(other);
    world.run_until("another link", SECOND * 20, |world| world.agent(other).health().linked);
    world.run_for(SECOND);
    meanwhile(world);
    world.run_for(SECOND);
    world.rejoin(same);
    world.run_until("the link goes on", SECOND * 20, |world| world.agent(same).health().linked);
    assert_eq!([other, same].map(|who| world.agent(who).health().resumed), [0, 1]);
}

#[test]
fn who_joined_while_a_member_was_away_is_known_to_it_also_when_the_host_has_another_link() {
    let mut world = World::swarm(1);
    let ticket = world.ticket(0, None);
    come_back(&mut world, (0, 1), |world| {
        let newcomer = world.join(ticket, Line::NEAR, 0, Manner::PROMPT);
        world.run_until("the newcomer is a member", SECOND * 10, |world| world.seats[newcomer].joined);
    });
    world.run_until("everybody knows everybody", SECOND * 20, World::is_complete);
    world.conclude();
}

#[test]
fn a_card_that_changed_while_the_host_was_away_is_known_to_it_also_when_its_owner_has_another_link() {
    let mut world = World::swarm(1);
    come_back(&mut world, (1, 0), |world| world.retag(1, "changed".to_owned()));
    world.run_until("the host knows the card", SECOND * 20, World::is_up_to_date);
    world.conclude();
}

#[test]
fn two_agents_may_have_one_name() {
    let (mut world, host) = lone_host();
    let ticket = world.ticket(host, None);
    let twins: Vec<Who> = (0..2)
        .map(|_| {
            let seed = world.dice.seed();
            world.join_as(Config::new("twin", seed), ticket.clone(), Line::NEAR, 0, Manner::PROMPT)
        })
        .collect();
    world.run_until("all know each other", SECOND * 20, |world| {
        twins.iter().all(|who| world.seats[*who].joined) && world.is_complete()
    });
    for twin in twins {
        let message = world.send(host, SendPlan::to(twin)).expect("it is known");
        world.run_for(SECOND);
        assert_eq!(world.history.state(message), State::Delivered);
    }
    world.conclude();
}

#[test]
fn an_identity_that_links_elsewhere_replaces_itself_and_the_first_stays_away() {
    let (mut world, host) = lone_host();
    let ticket = world.ticket(host, None);
    let config = world.config("copied", false);
    let first = world.join_as(config.clone(), ticket.clone(), Line::NEAR, 0, Manner::PROMPT);
    world.run_until("the first is there", SECOND * 10, |world| world.seats[first].joined);
    world.run_for(SECOND * 5);
    let second = world.join_as(config, ticket, Line::NEAR, 0, Manner::PROMPT);
    world.run_for(SECOND * 60);
    assert!(closed(&world, first).contains("Replaced"), "{}", closed(&world, first));
    assert_eq!(world.switchboard().stats().replaced, 1, "they take the link from each other");
    assert!(world.agent(second).health().linked);
    for (from, to) in [(host, second), (second, host)] {
        let message = world.send(from, SendPlan::to(to)).expect("they know each other");
        world.run_for(SECOND * 5);
        assert_eq!(world.history.state(message), State::Delivered, "from {from} to {to}");
    }
}

#[test]
fn twelve_agents_come_to_know_each_other() {
    let (mut world, host) = lone_host();
    let ticket = world.ticket(host, None);
    for _ in 0..11 {
        let line = Line::random(&mut world.dice);
        world.join(ticket.clone(), line, 0, Manner::PROMPT);
        let pause = world.dice.millis(0..700);
        world.run_for(pause);
    }
    world.run_until("all know all", SECOND * 20, World::is_complete);
    world.run_for(SECOND * 30);
    let frames: u64 = world.living().map(|who| world.agent(who).health().counters.frames_sent).sum();
    assert!(frames < 1_000, "{frames} frames for twelve agents to know each other");
    world.conclude();
}

#[test]
fn whoever_was_away_hears_of_newcomers_when_it_is_back() {
    let mut world = World::swarm(2);
    let ticket = world.ticket(0, None);
    world.cut_off(2);
    world.run_for(SECOND * 5);
    let newcomer = world.join(ticket, Line::NEAR, 0, Manner::PROMPT);
    world.run_for(SECOND * 30);
    world.rejoin(2);
    world.run_until("all know the newcomer", SECOND * 60, World::is_complete);
    assert!(world.seats[2].changes.contains(&(newcomer, PeerChange::Joined)));
    world.conclude();
}

#[test]
fn a_newcomer_that_the_host_hears_of_from_others_becomes_known_to_all() {
    let mut world = World::swarm(2);
    let ticket = world.ticket(0, None);
    let newcomer = world.join(ticket, Line::NEAR, 0, Manner::PROMPT);
    // The host admits it and hears nothing of it any more; of the others only one is spoken to.
    world.run_until("the newcomer is a member", SECOND * 10, |world| world.seats[newcomer].joined);
    world.rule = Some(Box::new(move |crossing| match (crossing.from, crossing.to) {
        (Some(from), 0) if from == newcomer => Fate::Lose,
        _ => Fate::Pass,
    }));
    world.send(newcomer, SendPlan::to(1)).expect("it was told of all members");
    world.run_for(SECOND);
    world.cut(0, Notice::Both);
    world.run_until("all know all", SECOND * 10, World::is_complete);
    world.conclude();
}

#[test]
fn a_newcomer_whose_admin_is_gone_is_known_to_the_host_all_the_same() {
    let (mut world, host) = lone_host();
    let rights = Rights { admit: true, ..Rights::default() };
    let (token, ticket) = world.ticket_with(host, Some(1), rights, SECOND * 600);
    world.run_until("the ticket can be used", SECOND * 10, |world| world.invites[&(host, token)] == Some(true));
    let admin = world.join(ticket, Line::NEAR, 0, Manner::PROMPT);
    let open = world.ticket(host, None);
    world.run_for(SECOND * 5);
    world.cut_off(host);
    world.run_for(SECOND * 60);
    let newcomer = world.join(open, Line::NEAR, 0, Manner::PROMPT);
    world.run_until("the newcomer is a member", SECOND * 20, |world| world.seats[newcomer].joined);
    world.run_for(SECOND * 5);
    world.kill(admin);
    world.rejoin(host);
    world.run_until("the host knows it", SECOND * 30, World::is_complete);
    world.conclude();
}

#[test]
fn what_one_admin_brings_another_passes_on() {
    let (mut world, host) = lone_host();
    let rights = Rights { admit: true, ..Rights::default() };
    let (token, ticket) = world.ticket_with(host, Some(1), rights, SECOND * 600);
    world.run_until("the ticket can be used", SECOND * 10, |world| world.invites[&(host, token)] == Some(true));
    let open = world.ticket(host, None);
    // An admin and a member that never heard of each other, because the host could not tell them.
    world.rule = Some(Box::new(|crossing| match (crossing.from, crossing.frame.header().kind) {
        (Some(0), OuterKind::Session) => Fate::Lose,
        _ => Fate::Pass,
    }));
    let admin = world.join(ticket, Line::NEAR, 0, Manner::PROMPT);
    let member = world.join(open.clone(), Line::NEAR, 0, Manner::PROMPT);
    world.run_until("both are members", SECOND * 10, |world| world.seats[admin].joined && world.seats[member].joined);
    world.cut_off(host);
    world.rule = None;
    world.run_for(SECOND * 60);
    let id = world.agent(admin).id();
    assert!(world.agent(member).peer(&id).is_none());
    world.rejoin(host);
    world.run_until("the ticket has come to the admin", SECOND * 20, World::is_complete);
    world.conclude();

    // The host hears of a newcomer from the admin first; it is slow to introduce itself.
    world.cut_off(host);
    world.run_for(SECOND * 60);
    let newcomer = world.join(open, Line { delay: SECOND, ..Line::NEAR }, 0, Manner::PROMPT);
    world.rule = Some(Box::new(move |crossing| match (crossing.from, crossing.to) {
        (Some(from), to) if from == admin && to == member => Fate::Lose,
        _ => Fate::Pass,
    }));
    world.run_until("the newcomer is a member", SECOND * 60, |world| world.seats[newcomer].joined);
    world.run_for(SECOND * 5);
    world.rejoin(host);
    world.run_until("the member hears of it", SECOND * 60, World::is_complete);
    world.conclude();
}
