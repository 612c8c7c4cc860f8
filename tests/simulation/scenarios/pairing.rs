//! Joining by code: who gets in, what a wrong guess costs, and what a relay can do about it.

use std::cell::Cell;
use std::rc::Rc;
use std::time::Duration;

use a2alinker::agent::{Burnt, Token};
use a2alinker::crypto::Code;
use a2alinker::proto::OuterKind;

use crate::simulation::application::Manner;
use crate::simulation::history::{State, Who};
use crate::simulation::network::{Crossing, Fate, Line, Relay};
use crate::simulation::world::{CODE_TTL, Notice, SendPlan, World};

const SECOND: Duration = Duration::from_secs(1);
/// First byte of each frame of an exchange.
const FRAMES: [u8; 4] = [1, 2, 3, 4];
const CONFIRM: u8 = 3;

fn host_with_code() -> (World, Who, Token, Code) {
    let mut world = World::new(9);
    let host = world.host(Line::NEAR, 0, Manner::PROMPT);
    let (token, code) = world.code(host);
    (world, host, token, code)
}

fn closed(world: &World, who: Who) -> &str {
    world.seats[who].closed.as_deref().unwrap_or("still there")
}

fn assert_joins(world: &mut World, joiner: Who) {
    world.run_until("the joiner is a member", SECOND * 60, |world| world.seats[joiner].joined && world.is_complete());
}

/// The same slot with other words.
fn wrong(code: &Code) -> Code {
    let guess = format!("{}-acid-acid-acid", code.slot()).parse().expect("a code");
    assert_ne!(&guess, code);
    guess
}

fn is_frame(crossing: &Crossing<'_>, kind: u8) -> bool {
    crossing.frame.header().kind == OuterKind::Pairing && crossing.frame.sealed().first() == Some(&kind)
}

/// Does something to the first frame of a kind.
fn once(kind: u8, fate: Fate) -> Box<dyn FnMut(&Crossing<'_>) -> Fate> {
    let mut is_done = false;
    Box::new(move |crossing| if is_frame(crossing, kind) && !std::mem::replace(&mut is_done, true) { fate } else { Fate::Pass })
}

#[test]
fn a_code_makes_a_member() {
    let (mut world, host, token, code) = host_with_code();
    let joiner = world.pair(&code);
    assert_joins(&mut world, joiner);
    for (from, to) in [(host, joiner), (joiner, host)] {
        let message = world.send(from, SendPlan::to(to)).expect("they know each other");
        world.run_for(SECOND);
        assert_eq!(world.history.state(message), State::Delivered);
    }
    assert!(!world.burnt.contains_key(&(host, token)));
    world.conclude();
}

#[test]
fn wrong_words_burn_a_code_and_both_sides_are_told() {
    let (mut world, host, token, code) = host_with_code();
    let guesser = world.pair(&wrong(&code));
    world.run_for(SECOND);
    assert!(closed(&world, guesser).contains("WrongCode"), "{}", closed(&world, guesser));
    assert_eq!(world.burnt.get(&(host, token)), Some(&Burnt::WrongWords));
    assert!(world.agent(host).peers().is_empty());
}

#[test]
fn a_second_guess_finds_a_code_closed_whether_right_or_wrong() {
    let (mut world, host, _, code) = host_with_code();
    world.pair(&wrong(&code));
    world.run_for(SECOND);
    for second in [code.clone(), wrong(&code)] {
        let late = world.pair(&second);
        world.run_for(SECOND);
        assert!(closed(&world, late).contains("Closed"), "{}", closed(&world, late));
    }
    assert!(world.agent(host).peers().is_empty());
}

#[test]
fn a_code_is_used_once() {
    let (mut world, host, token, code) = host_with_code();
    let first = world.pair(&code);
    assert_joins(&mut world, first);
    let second = world.pair(&code);
    world.run_for(SECOND * 5);
    assert!(closed(&world, second).contains("Closed"), "{}", closed(&world, second));
    assert_eq!((world.agent(host).peers().len(), world.burnt.get(&(host, token))), (1, None));
}

#[test]
fn of_two_joiners_at_once_one_wins() {
    let (mut world, host, _, code) = host_with_code();
    let joiners = [world.pair(&code), world.pair(&code)];
    world.run_for(SECOND * 10);
    let won = joiners.iter().filter(|who| world.seats[**who].joined).count();
    let told = joiners.iter().filter(|who| closed(&world, **who).contains("Closed")).count();
    assert_eq!((won, told, world.agent(host).peers().len()), (1, 1, 1));
    world.conclude();
}

#[test]
fn a_wrong_guess_ends_the_exchanges_of_others() {
    let (mut world, host, token, code) = host_with_code();
    // The one who knows the words is slow to say so.
    world.rule = Some(once(CONFIRM, Fate::Lose));
    let joiner = world.pair(&code);
    world.run_for(SECOND);
    world.pair(&wrong(&code));
    world.run_for(SECOND / 2);
    assert!(closed(&world, joiner).contains("WrongCode"), "{}", closed(&world, joiner));
    assert_eq!(world.burnt.get(&(host, token)), Some(&Burnt::WrongWords));
    assert!(world.agent(host).peers().is_empty());
}

#[test]
fn probing_without_a_confirm_costs_nothing() {
    let (mut world, _, _, code) = host_with_code();
    world.rule = Some(Box::new(|crossing| if is_frame(crossing, CONFIRM) { Fate::Lose } else { Fate::Pass }));
    // The switchboard lets no more guests of one address in at once; the inviter keeps eight exchanges.
    let probes: Vec<Who> = (0..9).map(|_| world.pair(&wrong(&code))).collect();
    world.run_for(SECOND);
    assert!(closed(&world, probes[0]).contains("Closed"), "the oldest gives way: {}", closed(&world, probes[0]));
    probes.into_iter().for_each(|probe| world.kill(probe));
    world.rule = None;
    let joiner = world.pair(&code);
    assert_joins(&mut world, joiner);
}

#[test]
fn pairing_bears_that_each_frame_is_lost_doubled_or_late() {
    for kind in FRAMES {
        for fate in [Fate::Lose, Fate::Twice(SECOND / 100), Fate::Twice(SECOND * 3), Fate::Late(SECOND * 3)] {
            let (mut world, host, token, code) = host_with_code();
            world.rule = Some(once(kind, fate));
            let joiner = world.pair(&code);
            assert_joins(&mut world, joiner);
            world.run_for(SECOND * 10);
            assert_eq!((world.agent(host).peers().len(), world.burnt.get(&(host, token))), (1, None), "frame {kind}: {fate:?}");
            world.conclude();
        }
    }
}

#[test]
fn a_relay_that_loses_repeats_and_replays_can_only_delay_a_pairing() {
    for seed in 0..60 {
        let mut world = World::new(seed);
        world.relay = Relay { lies: 0, ..Relay::random(&mut world.dice) };
        let line = Line::random(&mut world.dice);
        let host = world.host(line, 0, Manner::PROMPT);
        let (token, code) = world.code(host);
        let joiner = world.pair(&code);
        world.run_until("the joiner is a member", SECOND * 120, |world| world.seats[joiner].joined);
        let guesser = world.pair(&wrong(&code));
        world.run_until("the guesser is told", SECOND * 120, |world| world.seats[guesser].closed.is_some());
        assert!(closed(&world, guesser).contains("Closed"), "seed {seed}: {}", closed(&world, guesser));
        assert!(!world.burnt.contains_key(&(host, token)), "seed {seed}");
        world.run_until("the host knows it", SECOND * 120, |world| world.agent(host).peers().len() == 1);
    }
}

#[test]
fn pairing_bears_that_either_link_is_cut_at_each_step() {
    for step in 1..=6 {
        for cuts_host in [true, false] {
            let (mut world, host, token, code) = host_with_code();
            let passed = Rc::new(Cell::new(0));
            let counter = Rc::clone(&passed);
            world.rule = Some(Box::new(move |crossing| {
                let kind = crossing.frame.header().kind;
                let counts = matches!(kind, OuterKind::Pairing | OuterKind::AdmissionRequest | OuterKind::AdmissionReply);
                counter.set(counter.get() + u32::from(counts));
                if counts && counter.get() == step { Fate::Lose } else { Fate::Pass }
            }));
            let joiner = world.pair(&code);
            world.run_until("the step is reached", SECOND * 10, |_| passed.get() >= step);
            world.cut(if cuts_host { host } else { joiner }, Notice::Both);
            assert_joins(&mut world, joiner);
            assert!(!world.burnt.contains_key(&(host, token)), "step {step}");
            world.conclude();
        }
    }
}

#[test]
fn a_changed_byte_in_any_frame_never_pairs() {
    for (kind, len) in FRAMES.into_iter().zip([34, 34, 66, 306]) {
        for byte in (0..len).step_by(7) {
            let (mut world, host, _, code) = host_with_code();
            world.rule = Some(Box::new(move |crossing| if is_frame(crossing, kind) { Fate::Changed(byte) } else { Fate::Pass }));
            let joiner = world.pair(&code);
            world.run_for(SECOND * 5);
            assert!(!world.seats[joiner].joined && world.agent(host).peers().is_empty(), "byte {byte} of frame {kind}");
        }
    }
}

#[test]
fn an_expired_code_and_a_revoked_one_open_nothing() {
    let (mut world, host, token, revoked) = host_with_code();
    let (_, expired) = world.code(host);
    let waiting = {
        world.rule = Some(once(CONFIRM, Fate::Lose));
        let waiting = world.pair(&revoked);
        world.run_for(SECOND);
        waiting
    };
    world.revoke(host, token);
    world.run_for(SECOND);
    assert!(closed(&world, waiting).contains("Closed"), "who is at it is told: {}", closed(&world, waiting));
    world.run_for(CODE_TTL);
    for code in [revoked, expired] {
        let late = world.pair(&code);
        world.run_for(SECOND);
        assert!(closed(&world, late).contains("Unknown"), "{}", closed(&world, late));
    }
    assert_eq!(world.switchboard().stats().slots, 0);
    assert!(world.agent(host).peers().is_empty());
}

#[test]
fn a_code_outlives_a_restart_of_the_switchboard() {
    for pause in [0, 3, 6, 9, 12] {
        let (mut world, host, token, code) = host_with_code();
        let joiner = world.pair(&code);
        world.run_for(Duration::from_millis(pause));
        world.restart_switchboard(SECOND / 2);
        // A guest that finds no inviter yet is refused for good: it never was linked.
        world.run_for(SECOND * 10);
        let joiner = if world.seats[joiner].agent.is_some() { joiner } else { world.pair(&code) };
        assert_joins(&mut world, joiner);
        assert!(!world.burnt.contains_key(&(host, token)), "after {pause} ms");
    }
}

#[test]
fn a_certificate_in_the_middle_is_noticed_by_both_sides() {
    let mut world = World::new(9);
    let host = world.host(Line::NEAR, 0, Manner::PROMPT);
    let (real, other) = ([1; 32], [2; 32]);
    world.seats[host].shown = Some(real);
    world.seats[host].vouched = true;
    world.seats[host].believed = vec![format!("wss://relay.example:1#{}", a2alinker::proto::base32::encode(&real))];
    let (token, code) = world.code(host);
    let deceived = world.pair_with(&code, Some(other));
    world.run_for(SECOND * 5);
    assert!(closed(&world, deceived).contains("Untrusted"), "{}", closed(&world, deceived));
    assert_eq!(world.burnt.get(&(host, token)), Some(&Burnt::Certificate));
    assert!(world.agent(host).peers().is_empty());

    // The control: the same certificate, and another one that roots vouch for.
    let (_, code) = world.code(host);
    let joiner = world.pair_with(&code, Some(real));
    assert_joins(&mut world, joiner);
    let (_, code) = world.code(host);
    let vouched = world.pair_with(&code, Some(other));
    world.seats[vouched].vouched = true;
    assert_joins(&mut world, vouched);
}

#[test]
fn after_pairing_the_certificate_that_was_seen_is_the_only_one() {
    let mut world = World::new(9);
    let host = world.host(Line::NEAR, 0, Manner::PROMPT);
    let (real, other) = ([1; 32], [2; 32]);
    world.seats[host].shown = Some(real);
    world.seats[host].believed = vec![format!("wss://relay.example:1#{}", a2alinker::proto::base32::encode(&real))];
    let (_, code) = world.code(host);
    let joiner = world.pair_with(&code, Some(real));
    assert_joins(&mut world, joiner);
    world.seats[joiner].shown = Some(other);
    world.cut(joiner, Notice::Both);
    world.run_for(SECOND * 30);
    assert!(!world.agent(joiner).health().linked, "it links past another certificate");
    world.seats[joiner].shown = Some(real);
    world.run_until("it is back", SECOND * 30, World::is_complete);
}
