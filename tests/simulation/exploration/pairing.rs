//! Pairing by code: somebody who knows the words, somebody who guesses, and an attacker that holds what passes between them and the inviter.
//!
//! In every state at most one has joined, it isn't the guesser, and once the code is burnt nobody joins any more. From every state each of the
//! two comes to an end that it is told of: it joins, or hears why it doesn't, at the latest when the code is over.

use std::cell::RefCell;
use std::collections::{BTreeSet, VecDeque};
use std::rc::Rc;
use std::time::Duration;

use a2alinker::agent::Token;
use a2alinker::proto::{DataFrame, OuterKind, SessionId};
use bytes::{Bytes, BytesMut};

use super::Game;
use crate::simulation::application::Manner;
use crate::simulation::history::Who;
use crate::simulation::network::{Fate, Line};
use crate::simulation::world::{CODE_TTL, World};

const HOST: Who = 0;
const KNOWS: Who = 1;
const GUESSES: Who = 2;
const MOMENT: Duration = Duration::from_millis(50);
/// Longer than a joiner waits before it says something again.
const PAUSE: Duration = Duration::from_millis(2_100);
const WAITS: usize = 1;
/// Where a Data frame has its source, its destination and its session.
const SOURCE: usize = 1;
const DESTINATION: usize = 21;
const SESSION: usize = 37;

/// A frame as the attacker sees it: to whom, its first byte, and of which exchange in the order of their appearance.
pub type Item = (Who, u8, usize);

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Step {
    Deliver(Item),
    Drop(Item),
    /// One that went on or was lost goes again.
    Replay(Item),
    /// What is in one exchange is put into the other.
    Splice(Item),
    Wait,
}

#[derive(Default)]
struct Hands {
    waiting: VecDeque<(Item, Bytes)>,
    old: Vec<(Item, Bytes)>,
    sessions: Vec<SessionId>,
}

pub struct Play {
    world: World,
    hands: Rc<RefCell<Hands>>,
    invite: Token,
    /// Who had joined when the code was burnt.
    joined_before: Option<bool>,
}

impl Game for Play {
    type Step = Step;

    fn begin() -> Self {
        let mut world = World::new(9);
        let host = world.host(Line::NEAR, 0, Manner::PROMPT);
        assert_eq!(host, HOST);
        let (invite, code) = world.code(host);
        let hands = Rc::<RefCell<Hands>>::default();
        let held = Rc::clone(&hands);
        world.rule = Some(Box::new(move |crossing| {
            if crossing.frame.header().kind != OuterKind::Pairing {
                return Fate::Pass;
            }
            let (mut hands, session) = (held.borrow_mut(), crossing.frame.header().session);
            let at = hands.sessions.iter().position(|known| *known == session).unwrap_or_else(|| {
                hands.sessions.push(session);
                hands.sessions.len() - 1
            });
            let item = (crossing.to, crossing.frame.sealed().first().copied().unwrap_or_default(), at);
            hands.waiting.push_back((item, crossing.frame.bytes().clone()));
            Fate::Lose
        }));
        let guess = format!("{}-acid-acid-acid", code.slot()).parse().expect("a code");
        assert_ne!(guess, code);
        assert_eq!([world.pair(&code), world.pair(&guess)], [KNOWS, GUESSES]);
        let mut play = Self { world, hands, invite, joined_before: None };
        play.world.run_for(MOMENT);
        play
    }

    fn make(&mut self, step: Step) {
        match step {
            Step::Deliver(item) | Step::Drop(item) => {
                let mut hands = self.hands.borrow_mut();
                let Some(at) = hands.waiting.iter().position(|(held, _)| *held == item) else { return };
                let Some((item, frame)) = hands.waiting.remove(at) else { return };
                hands.old.push((item, frame.clone()));
                drop(hands);
                if matches!(step, Step::Deliver(_)) {
                    self.world.inject(item.0, frame);
                }
            }
            Step::Replay(item) => {
                let old = self.hands.borrow().old.iter().find(|(held, _)| *held == item).map(|(_, frame)| frame.clone());
                old.into_iter().for_each(|frame| self.world.inject(item.0, frame));
            }
            Step::Splice(item) => self.splice(item),
            Step::Wait => self.world.run_for(PAUSE),
        }
        self.world.run_for(MOMENT);
        if self.is_burnt() && self.joined_before.is_none() {
            self.joined_before = Some(self.world.seats[KNOWS].joined);
        }
    }

    fn steps(&self, done: &[Step]) -> Vec<Step> {
        let hands = self.hands.borrow();
        let waiting: BTreeSet<Item> = hands.waiting.iter().map(|(item, _)| *item).collect();
        let old: BTreeSet<Item> = hands.old.iter().map(|(item, _)| *item).collect();
        let all = waiting.union(&old).copied().map(Step::Splice);
        let mut steps: Vec<Step> = waiting.iter().flat_map(|item| [Step::Deliver(*item), Step::Drop(*item)]).collect();
        steps.extend(old.iter().copied().map(Step::Replay));
        steps.extend(all);
        steps.extend((done.iter().filter(|step| **step == Step::Wait).count() < WAITS).then_some(Step::Wait));
        steps
    }

    fn looks(&self) -> String {
        let hands = self.hands.borrow();
        let mut waiting: Vec<Item> = hands.waiting.iter().map(|(item, _)| *item).collect();
        waiting.sort_unstable();
        let old: BTreeSet<Item> = hands.old.iter().map(|(item, _)| *item).collect();
        let seats = [KNOWS, GUESSES].map(|who| (self.world.seats[who].joined, self.world.seats[who].closed.clone()));
        let peers = self.world.agent(HOST).peers().len();
        format!("{waiting:?} {old:?} {seats:?} {peers} {} {:?}", self.is_burnt(), self.joined_before)
    }

    fn conclude(mut self) -> Result<(), String> {
        self.check()?;
        self.world.rule = None;
        self.world.run_for(Duration::from_secs(30));
        self.check()?;
        // An exchange that was given another's Ask is lost: whoever is in it hears so when the code is over.
        if !self.is_over() {
            self.world.run_for(CODE_TTL);
            self.check()?;
        }
        if self.is_over() { Ok(()) } else { Err(format!("somebody waits for ever\n{}", self.world.tell())) }
    }
}

impl Play {
    /// Each of the two has joined, or was told why not.
    fn is_over(&self) -> bool {
        [KNOWS, GUESSES].into_iter().all(|who| self.world.seats[who].joined || self.world.seats[who].closed.is_some())
    }

    fn is_burnt(&self) -> bool {
        self.world.burnt.contains_key(&(HOST, self.invite))
    }

    fn check(&self) -> Result<(), String> {
        let [knows, guesses] = [KNOWS, GUESSES].map(|who| self.world.seats[who].joined);
        let peers = self.world.agent(HOST).peers().len();
        if guesses {
            return Err("wrong words made a member".to_owned());
        }
        if peers > usize::from(self.world.seats[KNOWS].agent.is_some()) {
            return Err(format!("the inviter knows {peers} peers"));
        }
        if self.joined_before == Some(false) && knows {
            return Err("a burnt code made a member".to_owned());
        }
        Ok(())
    }

    /// Puts what a frame says into the other exchange: the frames of that one tell its id and its labels.
    fn splice(&mut self, (to, kind, at): Item) {
        let hands = self.hands.borrow();
        let all = || hands.waiting.iter().chain(&hands.old);
        let Some((_, frame)) = all().find(|(item, _)| *item == (to, kind, at)) else { return };
        let other = |item: &Item| item.2 != at && (item.0 == HOST) == (to == HOST);
        let Some((item, model)) = all().find(|(item, _)| other(item)) else { return };
        let mut spliced = BytesMut::from(&frame[..]);
        for (start, len) in [(SOURCE, 16), (DESTINATION, 16), (SESSION, 16)] {
            spliced[start..start + len].copy_from_slice(&model[start..start + len]);
        }
        debug_assert!(DataFrame::parse(spliced.clone().freeze()).is_ok());
        let receiver = item.0;
        drop(hands);
        self.world.inject(receiver, spliced.freeze());
    }
}
