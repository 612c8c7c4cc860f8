//! One seed under a hostile switchboard: one or two swarms that work while it attacks; then it turns honest, and everything that hasn't
//! expired has to arrive.

use std::time::Duration;

use a2alinker::crypto::Ticket;

use super::application::Manner;
use super::chaos;
use super::checker::{self, REST, Span, Violation};
use super::dice::Dice;
use super::history::Who;
use super::network::Line;
use super::world::{Hostile, World};

/// Plays a seed to its end, which must have been started with [`World::new`].
pub fn play(world: &mut World) -> Result<(), Violation> {
    let swarms = if world.dice.chance(400) { 2 } else { 1 };
    let tickets: Vec<Ticket> = (0..swarms).map(|_| found(world)).collect();
    // Some swarms are there before the attack, others come to be under it.
    if world.dice.chance(600) {
        world.run_for(Duration::from_secs(5));
    }
    world.hostile = Some(Hostile::random(&mut world.dice));
    let calm = world.now + world.dice.millis(15_000..60_000);
    plan(world, &tickets, calm);
    world.run_until_time(calm);

    world.turn_honest();
    chaos::calm_down(world);
    world.run_for(REST);
    checker::check(&world.history, Span { calm, end: world.now })?;
    check_secrets(world)?;
    check_recovery(world)
}

fn found(world: &mut World) -> Ticket {
    let (line, skew, manner) = stranger(&mut world.dice);
    let host = if world.dice.chance(500) { world.lasting_host(line, skew, manner) } else { world.host(line, skew, manner) };
    let ticket = world.ticket(host, None);
    for _ in 0..world.dice.within(1..3) {
        newcomer(world, ticket.clone());
    }
    ticket
}

fn stranger(dice: &mut Dice) -> (Line, i64, Manner) {
    let line = Line { bandwidth: 10 << 20, ..Line::random(dice) };
    (line, dice.within(0..120_000) as i64 - 60_000, Manner::random(dice))
}

fn newcomer(world: &mut World, ticket: Ticket) -> Who {
    let (line, skew, manner) = stranger(&mut world.dice);
    if world.dice.chance(500) {
        return world.join_to_stay(ticket, line, skew, manner);
    }
    let config = world.config("worker", true);
    world.join_as(config, ticket, line, skew, manner)
}

fn plan(world: &mut World, tickets: &[Ticket], calm: Duration) {
    let mut moments = |most: u64, act: fn(&mut World, &Ticket)| {
        for _ in 0..world.dice.within(1..most + 1) {
            let at = world.now + world.dice.millis(0..(calm - world.now).as_millis() as u64);
            let Some(ticket) = world.dice.pick(tickets).cloned() else { return };
            world.at(at, move |world| act(world, &ticket));
        }
    };
    moments(8, chaos::burst);
    moments(6, chaos::make_call);
    moments(2, |world, ticket| {
        newcomer(world, ticket.clone());
    });
    // The same identity in another run, with new keys or with those of its file: what was recorded for the first is played to the second.
    moments(2, |world, ticket| {
        let can = |who: &Who| world.seats[*who].file.is_some() || world.seats[*who].host != *who;
        let of_swarm = |who: &Who| world.agent(*who).swarm() == Some(ticket.founder) && can(who);
        let members: Vec<Who> = world.living().filter(of_swarm).collect();
        match world.dice.pick(&members).copied() {
            Some(who) if world.seats[who].file.is_some() => {
                world.kill(who);
                world.resume(who);
            }
            Some(who) => {
                world.restart(who, ticket.clone());
            }
            None => {}
        }
    });
}

/// Nothing that was meant for agents only could be read by the switchboard.
fn check_secrets(world: &World) -> Result<(), Violation> {
    match &world.overheard {
        Some(about) => Err(Violation { rule: "readable", uid: None, about: about.clone() }),
        None => Ok(()),
    }
}

/// An honest switchboard is all that is needed: whoever lives is linked, knows everybody, and has nothing left to say or to do.
fn check_recovery(world: &World) -> Result<(), Violation> {
    let violated = |rule, about| Err(Violation { rule, uid: None, about });
    for who in world.living() {
        let health = world.agent(who).health();
        if world.seats[who].joined && !health.linked {
            return violated("not linked", format!("agent {who}"));
        }
        if health.calls > 0 {
            return violated("work left", format!("agent {who} has {} calls open", health.calls));
        }
    }
    // Newcomers whose host was ended by the attacker have nobody to introduce them.
    let has_host = |who: Who| world.living().any(|other| world.seats[other].person == world.seats[who].host);
    if world.living().all(has_host) && !world.is_complete() {
        return violated("not all know each other", world.tell());
    }
    Ok(())
}
