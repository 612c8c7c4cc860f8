//! One seed: a swarm of a random shape that works while everything goes wrong, then a network at rest, then the reckoning.

use std::time::Duration;

use a2alinker::agent::Health;
use a2alinker::crypto::{Rights, Ticket};
use a2alinker::proto::Lane;
use a2alinker::proto::limits::LINK_SILENCE;
use a2alinker::switchboard;

use super::application::{BODY_MAX, Manner};
use super::checker::{self, REST, Span, Violation};
use super::dice::Dice;
use super::history::{Record, What, Who};
use super::network::{Line, Relay};
use super::world::{CallPlan, Notice, SendPlan, World};

/// How long after everything has arrived nobody may say anything any more.
const SILENCE: Duration = Duration::from_secs(60);
/// Frames that a message may cost on an average, all repetitions, receipts, credits, openers and answers included.
const FRAMES_PER_MESSAGE: u64 = 15;
/// Frames that an agent may send to each other one without any message: cards, rosters, openers, probes after each fault.
const FRAMES_PER_PAIR: u64 = 60;

/// Plays a seed to its end, which must have been started with [`World::new`].
pub fn play(world: &mut World) -> Result<(), Violation> {
    let calm = begin(world);
    world.run_until_time(calm);
    world.relay = Relay::HONEST;
    if world.lied {
        world.restart_switchboard(Duration::ZERO);
    }
    calm_down(world);
    world.run_for(REST);
    let before = frames_sent(world);
    world.run_for(SILENCE);
    let span = Span { calm, end: world.now };
    checker::check(&world.history, span)?;
    check_links(world, calm)?;
    check_rest(world, &before)
}

/// Starts the swarm and plans what will happen. Returns when the network comes to rest.
fn begin(world: &mut World) -> Duration {
    if world.dice.chance(400) {
        let board = board(&mut world.dice);
        world.set_up(board);
    }
    let (line, skew, manner) = stranger(&mut world.dice);
    let host = if world.dice.chance(400) { world.lasting_host(line, skew, manner) } else { world.host(line, skew, manner) };
    let joiners = *world.dice.pick(&[1, 1, 2, 2, 2, 3, 3, 4]).unwrap_or(&2);
    let uses = world.dice.chance(500).then_some(16);
    let ticket = world.ticket(host, uses);
    let calm = world.now + world.dice.millis(25_000..70_000);
    if world.dice.chance(700) {
        world.relay = Relay::random(&mut world.dice);
    }
    if world.dice.chance(300) {
        let rights = Rights { admit: true, ..Rights::default() };
        let (_, ticket) = world.ticket_with(host, Some(1), rights, Duration::from_secs(600));
        world.at(world.now + Duration::from_secs(1), move |world| newcomer(world, ticket));
    }
    for _ in 0..joiners {
        let (at, ticket) = (world.now + world.dice.millis(0..4_000), ticket.clone());
        world.at(at, move |world| newcomer(world, ticket));
    }
    let mut moments = |most: u64, act: fn(&mut World, &Ticket)| {
        for _ in 0..world.dice.within(0..most + 1) {
            let (at, ticket) = (world.now + world.dice.millis(500..(calm - world.now).as_millis() as u64), ticket.clone());
            world.at(at, move |world| act(world, &ticket));
        }
    };
    moments(14, burst);
    moments(16, make_call);
    moments(6, fault);
    moments(2, clock_jump);
    calm
}

/// A switchboard that keeps less, or for a shorter time, than it usually does.
fn board(dice: &mut Dice) -> switchboard::Config {
    let usual = switchboard::Config::default();
    let seconds = |seconds: &u64| Duration::from_secs(*seconds);
    switchboard::Config {
        grace: dice.pick(&[0, 3, 10, 120]).map_or(usual.grace, seconds),
        announce_after: dice.pick(&[0, 2, 2]).map_or(usual.announce_after, seconds),
        parked_per_agent: *dice.pick(&[0, 1, 3, usual.parked_per_agent]).unwrap_or(&1),
        retained_frames: *dice.pick(&[4, 50, usual.retained_frames]).unwrap_or(&4),
        ..usual
    }
}

fn stranger(dice: &mut Dice) -> (Line, i64, Manner) {
    (Line::random(dice), skew(dice), Manner::random(dice))
}

/// Two clocks are never further apart than agents bear with one another.
fn skew(dice: &mut Dice) -> i64 {
    dice.within(0..360_000) as i64 - 180_000
}

/// Somebody sets a clock, or a machine finds out what time it is.
fn clock_jump(world: &mut World, _: &Ticket) {
    let Some(who) = somebody(world) else { return };
    let skew = skew(&mut world.dice);
    world.set_clock(who, skew);
}

fn newcomer(world: &mut World, ticket: Ticket) {
    let (line, skew, manner) = stranger(&mut world.dice);
    if world.dice.chance(300) {
        world.join_to_stay(ticket, line, skew, manner);
        return;
    }
    let mut config = world.config("worker", true);
    if world.dice.chance(200) {
        config.outbox_messages = world.dice.within(5..60) as usize;
        config.outbox_bytes = BODY_MAX + world.dice.within(0..200_000) as usize;
    }
    world.join_as(config, ticket, line, skew, manner);
}

fn somebody(world: &mut World) -> Option<Who> {
    let living: Vec<Who> = world.living().collect();
    world.dice.pick(&living).copied()
}

/// Two agents, of which the first knows the second.
fn acquainted(world: &mut World) -> Option<(Who, Who)> {
    let from = somebody(world)?;
    let peers: Vec<Who> = world.agent(from).peers().iter().filter_map(|peer| world.who(&peer.card.identity)).collect();
    Some((from, *world.dice.pick(&peers)?))
}

fn lane(dice: &mut Dice) -> Lane {
    *dice.pick(&[Lane::Urgent, Lane::High, Lane::Normal, Lane::Normal, Lane::Bulk]).unwrap_or(&Lane::Normal)
}

fn ttl(dice: &mut Dice) -> Duration {
    match dice.within(0..10) {
        0..3 => dice.millis(500..20_000),
        3..5 => dice.millis(20_000..120_000),
        _ => Duration::from_secs(3_600),
    }
}

fn len(dice: &mut Dice) -> usize {
    let most = match dice.within(0..100) {
        0..10 => 1,
        10..70 => 400,
        70..90 => 8_000,
        90..98 => 40_000,
        _ => BODY_MAX as u64,
    };
    dice.within(0..most) as usize
}

pub fn burst(world: &mut World, _: &Ticket) {
    let Some((from, to)) = acquainted(world) else { return };
    for _ in 0..world.dice.within(1..25) {
        let dice = &mut world.dice;
        let (lane, thread, len) = (lane(dice), dice.within(0..4) as u8, len(dice));
        let plan = SendPlan { to, lane, thread, len, ttl: ttl(dice), until_done: dice.chance(300) };
        world.send(from, plan);
    }
}

pub fn make_call(world: &mut World, _: &Ticket) {
    let Some((from, to)) = acquainted(world) else { return };
    let dice = &mut world.dice;
    let to = dice.chance(300).then_some(to);
    let plan =
        CallPlan { to, among: None, lane: lane(dice), len: len(dice), ttl: ttl(dice), timeout: Some(dice.millis(500..90_000)) };
    let Ok(call) = world.call(from, plan) else { return };
    if world.dice.chance(300) {
        let at = world.now + world.dice.millis(0..10_000);
        world.at(at, move |world| world.cancel(from, call));
    }
}

fn fault(world: &mut World, ticket: &Ticket) {
    let Some(who) = somebody(world) else { return };
    let pause = world.dice.millis(100..30_000);
    let back = world.now + pause;
    match world.dice.within(0..100) {
        0..30 => {
            let notice =
                *world.dice.pick(&[Notice::Both, Notice::Agent, Notice::Switchboard, Notice::Nobody]).unwrap_or(&Notice::Both);
            world.cut(who, notice);
        }
        30..45 => {
            world.cut_off(who);
            world.at(back, move |world| world.rejoin(who));
        }
        45..60 => {
            let down = world.dice.millis(0..6_000);
            world.restart_switchboard(down);
        }
        60..70 => {
            world.set_reading(who, false);
            world.at(back, move |world| world.set_reading(who, true));
        }
        70..80 => {
            world.seats[who].application.manner.reads = false;
            world.at(back, move |world| world.read_all(who));
        }
        80..85 => {
            world.seats[who].application.manner.turns = false;
            world.at(back * 3, move |world| world.seats[who].application.manner.turns = true);
        }
        85..88 => {
            let tag = format!("tag-{}", world.dice.within(0..1_000));
            world.retag(who, tag);
        }
        88..93 if world.seats[who].file.is_some() => {
            world.kill(who);
            world.at(back, move |world| {
                if world.resumable().contains(&who) {
                    world.resume(who);
                }
            });
        }
        88..93 if who != 0 => {
            world.kill(who);
            newcomer(world, ticket.clone());
        }
        93..97 if who != 0 => world.close(who),
        _ => newcomer(world, ticket.clone()),
    }
}

/// What goes wrong at agents ends, and applications work quickly. Whoever wasn't admitted before the only one who knew of its ticket died
/// gives up, as people do.
pub fn calm_down(world: &mut World) {
    for who in world.living().collect::<Vec<_>>() {
        let seat = &world.seats[who];
        if !seat.joined && seat.has_counted_ticket && world.history.runs(seat.host) > 1 {
            world.kill(who);
        }
    }
    for who in world.resumable() {
        world.resume(who);
    }
    for who in 0..world.seats.len() {
        world.rejoin(who);
        world.set_reading(who, true);
        world.read_all(who);
        world.seats[who].application.manner = Manner::PROMPT;
    }
}

/// Envelopes are left out: as long as a mailbox is full they are tried again.
fn frames_sent(world: &World) -> Vec<(Who, u64)> {
    let enveloped = |who: Who| {
        let records = world.history.records.iter();
        records.filter(|record| record.who == who && matches!(record.what, What::Enveloped { .. })).count() as u64
    };
    world.living().map(|who| (who, world.agent(who).health().counters.frames_sent - enveloped(who))).collect()
}

/// A network at rest keeps its links, once the last break has been noticed.
fn check_links(world: &World, calm: Duration) -> Result<(), Violation> {
    let lost = |record: &&Record| record.what == What::LinkLost && record.at > calm + LINK_SILENCE * 2;
    match world.history.records.iter().find(lost) {
        Some(record) => Err(Violation { rule: "link lost at rest", uid: None, about: record.to_string() }),
        None => Ok(()),
    }
}

/// In the end nobody has anything left, nobody says anything any more, and not too much was said.
fn check_rest(world: &World, before: &[(Who, u64)]) -> Result<(), Violation> {
    let violated = |rule, about| Err(Violation { rule, uid: None, about });
    if before != frames_sent(world) {
        return violated("no silence", format!("frames that agents sent: {before:?}, and later {:?}", frames_sent(world)));
    }
    let somebody_died = world.living().count() < world.seats.len();
    for who in world.living() {
        let Health { linked, outbox_messages, outbox_bytes, calls, requests, .. } = world.agent(who).health();
        if !linked {
            return violated("not linked", format!("agent {who}"));
        }
        // What is meant for the dead waits until it expires.
        if (outbox_messages > 0 || outbox_bytes > 0) && !somebody_died {
            return violated("outbox not empty", format!("agent {who} keeps {outbox_messages} messages, {outbox_bytes} bytes"));
        }
        if world.seats[who].is_full && !somebody_died {
            return violated("no word of space", format!("agent {who} waits for room in its outbox"));
        }
        if calls > 0 || requests > 0 {
            return violated("work left", format!("agent {who} has {calls} calls and {requests} requests open"));
        }
    }
    let stats = world.switchboard().stats();
    if stats.queued_bytes > 0 || stats.links != world.living().count() as u64 {
        return violated("the switchboard keeps something", format!("{stats:?}"));
    }
    if !world.is_complete() {
        return violated("not all know each other", world.tell());
    }
    if !world.is_up_to_date() {
        return violated("an old card", world.tell());
    }
    let sent: u64 = before.iter().map(|(_, frames)| frames).sum();
    let agents = world.seats.len() as u64;
    let allowed = FRAMES_PER_PAIR * agents * agents + FRAMES_PER_MESSAGE * world.history.messages();
    if sent > allowed {
        return violated("frame storm", format!("{sent} frames for {} messages and calls", world.history.messages()));
    }
    Ok(())
}
