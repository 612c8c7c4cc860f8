//! Everything that an attacker can do in a few moves, in every order, to machines that are real.
//!
//! The machines can't be copied, so a state is the list of moves that leads to it, played from the beginning; states that look alike from
//! outside are visited once. Each game says what the moves are, what may never be so in any state, and what an honest switchboard has to be
//! enough for from every state on.

pub mod opening;
pub mod pairing;

use std::collections::BTreeSet;
use std::fmt::Debug;
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};

/// What is explored.
pub trait Game {
    type Step: Copy + Debug + Send + Sync;

    fn begin() -> Self;
    fn make(&mut self, step: Self::Step);
    /// All that could be done next, given what was done already.
    fn steps(&self, done: &[Self::Step]) -> Vec<Self::Step>;
    /// What tells this state from others.
    fn looks(&self) -> String;
    /// From here on the switchboard is honest. Says what was promised and not kept.
    fn conclude(self) -> Result<(), String>;
}

/// What an exploration has seen: states that look different, and the ways that led to them.
#[derive(Debug)]
pub struct Explored {
    pub states: usize,
    pub ways: usize,
}

/// Goes all ways of at most so many moves, on all processors. Panics with the moves that lead to a state in which something is wrong.
pub fn explore<G: Game>(depth: usize) -> Explored {
    let seen = Mutex::new(BTreeSet::new());
    let mut ways = 0;
    let mut border: Vec<Vec<G::Step>> = vec![Vec::new()];
    for level in 0..=depth {
        ways += border.len();
        let next = Mutex::new(Vec::new());
        let at = AtomicUsize::new(0);
        let threads = std::thread::available_parallelism().map_or(1, usize::from);
        std::thread::scope(|scope| {
            for _ in 0..threads {
                scope.spawn(|| {
                    while let Some(way) = border.get(at.fetch_add(1, Ordering::Relaxed)) {
                        let further = visit::<G>(way, &seen);
                        if level < depth {
                            next.lock().expect("no other thread panics here").extend(further);
                        }
                    }
                });
            }
        });
        border = next.into_inner().expect("no thread panicked");
    }
    Explored { states: seen.into_inner().expect("no thread panicked").len(), ways }
}

/// Goes one way. Returns those that go on from there, if nobody was there before.
fn visit<G: Game>(way: &[G::Step], seen: &Mutex<BTreeSet<String>>) -> Vec<Vec<G::Step>> {
    let mut play = G::begin();
    way.iter().for_each(|step| play.make(*step));
    if !seen.lock().expect("no other thread panics here").insert(play.looks()) {
        return Vec::new();
    }
    let further = play.steps(way).into_iter().map(|step| [way, &[step]].concat()).collect();
    if let Err(violation) = play.conclude() {
        panic!("{violation}\nafter {way:?}");
    }
    further
}
