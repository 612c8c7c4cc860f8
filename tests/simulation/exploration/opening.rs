//! Session opening: two agents that have never spoken, and an attacker that holds what passes between them.
//!
//! In every state nothing may have come twice, changed, or from somebody else; from every state both messages must come through.

use std::cell::RefCell;
use std::collections::{BTreeSet, VecDeque};
use std::rc::Rc;
use std::time::Duration;

use a2alinker::proto::{DataFrame, OuterKind, SessionId};
use bytes::Bytes;

use super::Game;
use crate::simulation::checker::{self, REST, Span};
use crate::simulation::history::{What, Who};
use crate::simulation::network::Fate;
use crate::simulation::world::{Notice, SendPlan, World};

/// The two that talk; the host, agent 0, only introduced them.
const PAIR: [Who; 2] = [1, 2];
/// Long enough for what a move sets off to reach the attacker.
const MOMENT: Duration = Duration::from_millis(50);
/// Times a move of these kinds may be made on a way: each makes the rest repeat itself.
const RESTARTS: usize = 1;
const CUTS: usize = 1;
const WAITS: usize = 2;

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Step {
    /// Of the frames that wait, the first of these: it goes on, or is lost.
    Deliver(Item),
    Drop(Item),
    /// One that went on or was lost goes again.
    Replay(Item),
    /// Somebody complains to this agent about the newest session.
    Complain(Who),
    /// The second agent dies and is started anew with its identity.
    Restart,
    /// The first agent's link breaks.
    Cut,
    /// More time passes than an opener waits for its answer.
    Wait,
}

/// A frame as the attacker sees it: to whom, of which kind, and of which session in the order of their appearance.
pub type Item = (usize, u8, usize);

/// What the attacker holds.
#[derive(Default)]
struct Hands {
    waiting: VecDeque<(Item, Bytes)>,
    old: Vec<(Item, Bytes)>,
    sessions: Vec<SessionId>,
}

impl Hands {
    fn item(&mut self, to: usize, frame: &DataFrame) -> Item {
        let session = frame.header().session;
        let at = self.sessions.iter().position(|known| *known == session).unwrap_or_else(|| {
            self.sessions.push(session);
            self.sessions.len() - 1
        });
        let kind = match frame.header().kind {
            OuterKind::Opener => 0,
            OuterKind::Answer => 1,
            OuterKind::Session if frame.header().early => 2,
            OuterKind::Session => 3,
            _ => 4,
        };
        (to, kind, at)
    }
}

pub struct Play {
    world: World,
    hands: Rc<RefCell<Hands>>,
}

impl Game for Play {
    type Step = Step;

    /// Both have something to say to the other, and have never spoken.
    fn begin() -> Self {
        let mut world = World::swarm(2);
        let hands = Rc::<RefCell<Hands>>::default();
        let held = Rc::clone(&hands);
        let people: Vec<_> = PAIR.iter().map(|who| world.label(*who)).collect();
        world.rule = Some(Box::new(move |crossing| {
            let to = people.iter().position(|label| *label == crossing.frame.header().destination);
            let from = people.iter().position(|label| *label == crossing.frame.source());
            let (Some(to), Some(_)) = (to, from) else { return Fate::Pass };
            let mut hands = held.borrow_mut();
            let item = hands.item(to, crossing.frame);
            hands.waiting.push_back((item, crossing.frame.bytes().clone()));
            Fate::Lose
        }));
        for (from, to) in [(PAIR[0], PAIR[1]), (PAIR[1], PAIR[0])] {
            world.send(from, SendPlan::to(to)).expect("there is room");
        }
        let mut play = Self { world, hands };
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
                    self.give(item.0, frame);
                }
            }
            Step::Replay(item) => {
                let old = self.hands.borrow().old.iter().find(|(held, _)| *held == item).map(|(_, frame)| frame.clone());
                old.into_iter().for_each(|frame| self.give(item.0, frame));
            }
            Step::Complain(of) => {
                let newest = self.hands.borrow().sessions.last().copied();
                if let Some(session) = newest {
                    let to = self.living(of);
                    let frame = self.world.complaint(session, to).into_bytes();
                    self.give(of, frame);
                }
            }
            Step::Restart => {
                let ticket = self.world.ticket(0, None);
                self.world.restart(self.living(1), ticket);
                self.world.run_for(Duration::from_millis(500));
            }
            Step::Cut => self.world.cut(self.living(0), Notice::Both),
            Step::Wait => self.world.run_for(Duration::from_millis(3_500)),
        }
        self.world.run_for(MOMENT);
    }

    fn steps(&self, done: &[Step]) -> Vec<Step> {
        let hands = self.hands.borrow();
        let waiting: BTreeSet<Item> = hands.waiting.iter().map(|(item, _)| *item).collect();
        let old: BTreeSet<Item> = hands.old.iter().map(|(item, _)| *item).collect();
        let times = |step: Step| done.iter().filter(|made| **made == step).count();
        let mut steps: Vec<Step> = waiting.iter().flat_map(|item| [Step::Deliver(*item), Step::Drop(*item)]).collect();
        steps.extend(old.into_iter().map(Step::Replay));
        steps.extend([0, 1].map(Step::Complain));
        steps.extend((times(Step::Restart) < RESTARTS).then_some(Step::Restart));
        steps.extend((times(Step::Cut) < CUTS).then_some(Step::Cut));
        steps.extend((times(Step::Wait) < WAITS).then_some(Step::Wait));
        steps
    }

    fn looks(&self) -> String {
        let hands = self.hands.borrow();
        let mut waiting: Vec<Item> = hands.waiting.iter().map(|(item, _)| *item).collect();
        waiting.sort_unstable();
        let old: BTreeSet<Item> = hands.old.iter().map(|(item, _)| *item).collect();
        let seen: Vec<&What> =
            self.world.history.records.iter().map(|record| &record.what).filter(|what| what.uid().is_some()).collect();
        let agents = [0, 1].map(|of| {
            let health = self.world.agent(self.living(of)).health();
            (self.living(of), health.linked, health.outbox_messages, health.counters.sessions)
        });
        format!("{waiting:?} {old:?} {seen:?} {agents:?}")
    }

    fn conclude(mut self) -> Result<(), String> {
        self.world.rule = None;
        let calm = self.world.now;
        self.world.run_for(REST);
        let span = Span { calm, end: self.world.now };
        checker::check(&self.world.history, span).map_err(|violation| violation.to_string())
    }
}

impl Play {
    /// The run of one of the two that lives.
    fn living(&self, of: usize) -> Who {
        let person = PAIR[of];
        let runs = 0..self.world.seats.len();
        runs.rev().find(|who| self.world.seats[*who].person == person).expect("it was seated")
    }

    fn give(&mut self, of: usize, frame: Bytes) {
        let to = self.living(of);
        self.world.inject(to, frame);
    }
}
