//! Agents and a switchboard in memory and in virtual time, over a network that goes wrong in all the ways that networks do.
//!
//! ```text
//! chaos         one seed: a random swarm, its work, and everything that goes wrong; then rest, then the reckoning
//! siege         one seed: swarms and a switchboard that attacks them with all that it can; then it turns honest, then the reckoning
//! world         the machinery: agents, switchboard, wires, applications, one queue of happenings
//! network       what a wire and a hostile relay do to frames;  application  what the programs on top do
//! history       what applications saw;   checker   holds it against the guarantee (ARCHITECTURE.md)
//! exploration   all orders of an attacker's moves at the opening of a session, and at a pairing by code
//! villain       a member that keeps to no rule;  memory   what a world holds
//! scenarios     what is worth a name: the ways in which it went wrong once, or would be likely to
//! ```
//!
//! `A2ALINKER_SEEDS=0..100000` plays other seeds; one number plays one seed and prints all that happened.

mod simulation {
    pub mod application;
    pub mod chaos;
    pub mod checker;
    pub mod dice;
    pub mod exploration;
    pub mod history;
    pub mod memory;
    pub mod network;
    pub mod siege;
    pub mod villain;
    pub mod world;

    mod scenarios {
        mod admission;
        mod bodies;
        mod calls;
        mod delivery;
        mod files;
        mod hostile_agents;
        mod hostile_relay;
        mod pairing;
        mod parking;
        mod paths;
        mod resume;
        mod sessions;
    }
}

use std::ops::Range;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};

use simulation::checker::Violation;
use simulation::exploration::{self, Game, opening, pairing};
use simulation::world::World;
use simulation::{chaos, siege};

/// What `cargo test` plays.
const SEEDS: Range<u64> = 0..1_000;
/// The same of sieges, which take longer: `make soak` plays more of them.
const SIEGES: Range<u64> = 0..400;
/// Moves of an attacker at the opening of a session, of which all orders are tried; A2ALINKER_DEPTH says otherwise.
const MOVES_AT_OPENING: usize = 2;
/// The same at a pairing, which takes less time.
const MOVES_AT_PAIRING: usize = 4;
/// Lines of the trace that a failure shows.
const TRACE: usize = 400;

type Play = fn(&mut World) -> Result<(), Violation>;

#[test]
fn a_thousand_seeds_keep_the_guarantee() {
    play_all(chaos::play, SEEDS);
}

#[test]
fn four_hundred_sieges_keep_the_guarantee() {
    play_all(siege::play, SIEGES);
}

#[test]
fn an_envelope_that_a_relay_holds_back_is_not_overtaken_by_the_next() {
    play(chaos::play, 1_001_232, false).unwrap();
}

/// Plays all seeds on all processors, and shows the lowest that fails.
fn play_all(kind: Play, usual: Range<u64>) {
    let seeds = seeds().unwrap_or(usual);
    let next = AtomicU64::new(seeds.start);
    let failure = Mutex::new(None::<(u64, String)>);
    let threads = std::thread::available_parallelism().map_or(1, usize::from);
    std::thread::scope(|scope| {
        for _ in 0..threads {
            scope.spawn(|| {
                loop {
                    let seed = next.fetch_add(1, Ordering::Relaxed);
                    if !seeds.contains(&seed) {
                        return;
                    }
                    if let Err(text) = play(kind, seed, false) {
                        // Seeds that are under way are still played to their end: the lowest that fails is shown.
                        next.store(seeds.end, Ordering::Relaxed);
                        let mut failure = failure.lock().expect("no other thread panics here");
                        if failure.as_ref().is_none_or(|(lowest, _)| seed < *lowest) {
                            *failure = Some((seed, text));
                        }
                    }
                }
            });
        }
    });
    if let Some((seed, text)) = failure.into_inner().expect("no thread panicked") {
        let again = play(kind, seed, true).err().unwrap_or_default();
        panic!("seed {seed}: {text}\n\n{again}\nplay it again with A2ALINKER_SEEDS={seed}");
    }
}

#[test]
fn every_way_to_open_a_session_keeps_the_guarantee_and_can_be_recovered_from() {
    explore::<opening::Play>(MOVES_AT_OPENING);
}

#[test]
fn every_way_to_pair_leaves_one_guess_and_tells_everybody_how_it_ended() {
    explore::<pairing::Play>(MOVES_AT_PAIRING);
}

fn explore<G: Game>(usual: usize) {
    let depth = std::env::var("A2ALINKER_DEPTH").ok().map_or(usual, |text| text.parse().expect("A2ALINKER_DEPTH is a number"));
    let explored = exploration::explore::<G>(depth);
    println!("{} states, {} ways of at most {depth} moves", explored.states, explored.ways);
    assert!(explored.states > 25 && explored.ways > explored.states, "{explored:?}: the attacker has no choice");
}

#[test]
fn a_seed_plays_the_same_world_each_time() {
    let played = || {
        let mut world = World::new(7);
        chaos::play(&mut world).expect("seed 7 keeps the guarantee");
        world.history.records.iter().map(ToString::to_string).collect::<Vec<_>>()
    };
    assert_eq!(played(), played());
}

/// Plays one seed. `Err` says what was not kept, with the trace if it is wanted.
fn play(kind: Play, seed: u64, traced: bool) -> Result<(), String> {
    let mut world = World::new(seed);
    world.trace = traced.then(Vec::new);
    let outcome = catch_unwind(AssertUnwindSafe(|| kind(&mut world)));
    let (text, uid) = match outcome {
        Ok(Ok(())) => return Ok(()),
        Ok(Err(violation)) => (violation.to_string(), violation.uid),
        Err(panic) => {
            let text = panic.downcast_ref::<String>().cloned().or(panic.downcast_ref::<&str>().map(|text| (*text).to_owned()));
            (text.unwrap_or_default(), None)
        }
    };
    let Some(trace) = &world.trace else { return Err(text) };
    let mut lines = trace.clone();
    lines.extend(world.history.about(uid).map(|record| (record.at, record.to_string())));
    lines.sort_by_key(|(at, _)| *at);
    let lines: Vec<String> = lines.into_iter().map(|(_, line)| line).collect();
    let shown = if std::env::var("A2ALINKER_SEEDS").is_ok() { lines.len() } else { TRACE };
    Err(format!("{}\n{}", lines[lines.len().saturating_sub(shown)..].join("\n"), world.tell()))
}

fn seeds() -> Option<Range<u64>> {
    let text = std::env::var("A2ALINKER_SEEDS").ok()?;
    let number = |text: &str| text.trim().parse::<u64>().expect("A2ALINKER_SEEDS is one seed or a range, as in 0..1000");
    Some(match text.split_once("..") {
        Some((start, end)) => number(start)..number(end),
        None => number(&text)..number(&text) + 1,
    })
}
