//! A switchboard that lies: it holds every frame that agents send, and does with them what an attacker would.
//!
//! Beneath it the honest switchboard goes on working, so that there is something to attack. What the attacker does is a list of
//! [`Move`]s, each with the share of frames on which it is made; frames that no move hits pass. Everything that it was ever given is
//! searched for what was meant to stay secret.

use std::collections::BTreeMap;
use std::time::Duration;

use a2alinker::proto::{DataFrame, Label, OuterHeader, OuterKind, SessionId};
use bytes::{BufMut, Bytes, BytesMut};
use memchr::memmem;

use super::{Happening, Notice, PLANTED, World};
use crate::simulation::dice::Dice;
use crate::simulation::history::Who;

/// Frames that the attacker has recorded and can play again.
const TAPE: usize = 400;
/// First byte of the outer header, and of what is sealed.
const HEADER: usize = 17;
const SEALED: usize = DataFrame::HEADER_LEN;
/// Where the outer header has its destination.
const DESTINATION: usize = HEADER + 4;
/// Kinds of link frames that a switchboard may send, and one that nobody knows.
const NOTICES: [u8; 13] = [0x01, 0x03, 0x04, 0x10, 0x13, 0x14, 0x20, 0x21, 0x22, 0x23, 0x24, 0x25, 0x7e];

/// What a hostile switchboard does to a frame, or instead of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Move {
    Lose,
    Twice,
    /// It is held back, for a moment or for more than a minute, while others pass.
    Late,
    /// One bit is another: in the prefix, in the outer header, or in what is sealed.
    Flip,
    Truncate,
    Extend,
    /// Another source, which may be that of nobody.
    Mislabel,
    /// It goes to somebody else, whether that one is in its swarm or not.
    Redirect,
    /// It comes back to its sender.
    Reflect,
    /// An old frame goes again to whom it was for.
    Replay,
    /// An old frame goes to somebody else.
    ReplayElsewhere,
    /// All that is left of an old session goes again, to its receiver or to another.
    ReplaySession,
    /// The header of this frame stands before the sealed part of another.
    Graft,
    /// A Data frame of any kind is made up.
    ForgeData,
    /// A link frame of any kind is made up, with sense or without. None of those that end an agent.
    ForgeNotice,
    /// The frame is delivered, and its sender hears that it bounced.
    BounceDelivered,
    /// Somebody is said to have come or gone; everybody is forgotten.
    LieAboutLabels,
    /// Nothing passes from this agent to that one for up to a minute.
    Withhold,
    /// The attacker answers for a mailbox itself, and lies about who has registered one.
    AnswerMailbox,
    /// The connection breaks.
    Cut,
    /// It forgets all links and mailboxes.
    Restart,
    /// A Reject for good, or the word that another link has taken over: it can end an agent, which says why.
    EndAgent,
}

impl Move {
    pub const ALL: [Self; 22] = [
        Self::Lose,
        Self::Twice,
        Self::Late,
        Self::Flip,
        Self::Truncate,
        Self::Extend,
        Self::Mislabel,
        Self::Redirect,
        Self::Reflect,
        Self::Replay,
        Self::ReplayElsewhere,
        Self::ReplaySession,
        Self::Graft,
        Self::ForgeData,
        Self::ForgeNotice,
        Self::BounceDelivered,
        Self::LieAboutLabels,
        Self::Withhold,
        Self::AnswerMailbox,
        Self::Cut,
        Self::Restart,
        Self::EndAgent,
    ];

    /// On how many of a thousand frames it is made at most, so that something still gets through.
    fn most(self) -> u64 {
        match self {
            Self::EndAgent => 2,
            Self::Restart | Self::Cut => 4,
            Self::Withhold => 6,
            Self::ForgeNotice | Self::ReplaySession => 25,
            Self::Lose | Self::Flip | Self::Truncate | Self::Extend | Self::Redirect | Self::LieAboutLabels => 60,
            _ => 120,
        }
    }
}

/// The attacker's plan, and what it has kept.
#[derive(Debug, Default)]
pub struct Hostile {
    moves: Vec<(Move, u64)>,
    tape: Vec<(Who, Bytes)>,
    withheld: BTreeMap<(Option<Who>, Who), Duration>,
}

impl Hostile {
    pub fn new(moves: Vec<(Move, u64)>) -> Self {
        Self { moves, ..Self::default() }
    }

    /// Some of all moves, each as often as chance will have it.
    pub fn random(dice: &mut Dice) -> Self {
        let moves = Move::ALL.into_iter().filter(|_| dice.chance(450)).collect::<Vec<_>>();
        Self::new(moves.into_iter().map(|act| (act, 1 + dice.within(0..act.most()))).collect())
    }

    fn record(&mut self, to: Who, frame: &Bytes, dice: &mut Dice) {
        if self.tape.len() < TAPE {
            self.tape.push((to, frame.clone()));
        } else {
            let place = dice.within(0..TAPE as u64) as usize;
            self.tape[place] = (to, frame.clone());
        }
    }
}

/// A frame that the attacker is about to write: how much later, to whom, and the bytes.
type Outgoing = Vec<(Duration, Who, Bytes)>;

impl World {
    /// An honest switchboard takes the place of the attacker, and of all that it holds back.
    pub fn turn_honest(&mut self) {
        self.hostile = None;
        self.queue.retain(|_, happening| !matches!(happening, Happening::Again(..)));
        self.restart_switchboard(Duration::ZERO);
    }

    /// Looks for secrets in what a switchboard is given.
    pub fn eavesdrop(&mut self, frame: &Bytes) {
        self.heard_bytes += frame.len() as u64;
        let reads_text = memmem::find(frame, PLANTED).is_some();
        // A Hello shows link keys and V; nothing shows whose they are.
        let reads_id = self.seats.iter().any(|seat| memmem::find(frame, seat.id.as_bytes()).is_some());
        if (reads_text || reads_id) && self.overheard.is_none() {
            self.overheard = Some(format!("a frame of kind {:?} and {} bytes at {:?}", frame.first(), frame.len(), self.now));
        }
    }

    /// What the attacker makes of a frame that the switchboard has for an agent.
    pub(super) fn hostile_down(&mut self, mut relay: Hostile, at: usize, frame: Bytes) {
        let to = self.wires[at].who;
        let from = DataFrame::parse(frame.clone()).ok().and_then(|data| self.who_by_label.get(&data.source()).copied());
        relay.record(to, &frame, &mut self.dice);
        let mut outgoing = vec![(Duration::ZERO, to, frame.clone())];
        if relay.withheld.get(&(from, to)).is_some_and(|until| *until > self.now) {
            outgoing.clear();
        }
        for (act, share) in relay.moves.clone() {
            if self.dice.chance(share) {
                self.note(|| format!("the attacker: {act:?}, a frame of {} bytes from {from:?} to {to}", frame.len()));
                self.attack(&mut relay, act, (from, to), &frame, &mut outgoing);
            }
        }
        for (later, receiver, frame) in outgoing {
            if later.is_zero() && receiver == to {
                self.write_down(at, frame);
            } else {
                self.put(self.now + later, Happening::Again(receiver, frame));
            }
        }
        self.hostile = Some(relay);
    }

    fn attack(&mut self, relay: &mut Hostile, act: Move, path: (Option<Who>, Who), frame: &Bytes, out: &mut Outgoing) {
        let (from, to) = path;
        let soon = self.dice.millis(0..3_000);
        match act {
            Move::Lose => out.clear(),
            Move::Twice => out.push((soon, to, frame.clone())),
            Move::Late => {
                let wait = if self.dice.chance(150) { self.dice.millis(3_000..90_000) } else { soon };
                out.iter_mut().for_each(|(later, ..)| *later += wait);
            }
            // Whoever answers a Challenge that was changed is refused for good by the honest switchboard: it is not to happen all the time.
            Move::Flip | Move::Extend | Move::Graft if frame.first() == Some(&0x01) && !self.dice.chance(30) => {}
            Move::Flip | Move::Truncate | Move::Extend | Move::Mislabel => {
                let changed = self.damage(act, frame);
                out.clear();
                out.push((Duration::ZERO, to, changed));
            }
            Move::Redirect => {
                let other = self.anybody();
                if self.dice.chance(500) {
                    out.clear();
                }
                out.push((Duration::ZERO, other, self.address(frame, other)));
            }
            Move::Reflect => out.extend(from.map(|from| (Duration::ZERO, from, self.address(frame, from)))),
            Move::Replay | Move::ReplayElsewhere => {
                if let Some((receiver, old)) = self.dice.pick(&relay.tape).cloned() {
                    let receiver = if act == Move::Replay { receiver } else { self.anybody() };
                    let old = if self.dice.chance(500) { self.address(&old, receiver) } else { old };
                    out.push((soon, receiver, old));
                }
            }
            Move::ReplaySession => self.replay_session(relay, out),
            Move::Graft => {
                if let Some((_, other)) = self.dice.pick(&relay.tape)
                    && frame.len().min(other.len()) > SEALED
                {
                    out.push((Duration::ZERO, to, [&frame[..SEALED], &other[SEALED..]].concat().into()));
                }
            }
            Move::ForgeData => out.push((soon, to, self.forged_data(relay, to))),
            Move::ForgeNotice => {
                let kind = *self.dice.pick(&NOTICES).unwrap_or(&0x7e);
                out.push((Duration::ZERO, to, self.forged_notice(kind)));
            }
            Move::BounceDelivered => {
                if let Some(from) = from {
                    out.push((soon, from, self.bounce(from)));
                }
            }
            Move::LieAboutLabels => {
                self.lied = true;
                out.push((Duration::ZERO, to, self.labels()));
            }
            Move::Withhold => {
                let until = self.now + self.dice.millis(500..60_000);
                relay.withheld.insert(path, until);
            }
            // It happens where requests and registrations come in.
            Move::AnswerMailbox => {}
            Move::Cut => {
                let notice = *self.dice.pick(&[Notice::Both, Notice::Agent, Notice::Nobody]).unwrap_or(&Notice::Both);
                self.at(self.now, move |world| world.cut(to, notice));
            }
            Move::Restart => {
                let pause = self.dice.millis(0..4_000);
                self.at(self.now, move |world| world.restart_switchboard(pause));
            }
            Move::EndAgent => {
                let code = self.dice.within(1..14) as u8;
                let reject = [&[0x04, code, 0, 0, 0, 0, 0, 2][..], b"no"].concat().into();
                let replaced = Bytes::from_static(&[0x23]);
                out.push((Duration::ZERO, to, if self.dice.chance(200) { replaced } else { reject }));
            }
        }
    }

    /// What the attacker makes of a frame that an agent has sent. The honest switchboard, beneath, gets what is returned.
    pub(super) fn hostile_up(&mut self, at: usize, frame: Bytes) -> Vec<Bytes> {
        let Some(relay) = &self.hostile else { return vec![frame] };
        let (who, moves) = (self.wires[at].who, relay.moves.clone());
        let mut passed = vec![frame.clone()];
        for (act, share) in moves {
            let first = frame.first().copied().unwrap_or_default();
            match (act, first) {
                // One attack in each direction is enough for a frame.
                (Move::Lose | Move::Flip | Move::Twice | Move::Truncate, DataFrame::KIND) if self.dice.chance(share / 2) => {
                    passed = match act {
                        Move::Lose => Vec::new(),
                        Move::Twice => vec![frame.clone(), frame.clone()],
                        _ => vec![self.damage(act, &frame)],
                    };
                }
                (Move::AnswerMailbox, DataFrame::KIND) if self.dice.chance(share * 4) => {
                    if let Ok(data) = DataFrame::parse(frame.clone())
                        && data.header().kind == OuterKind::AdmissionRequest
                    {
                        let reply = OuterHeader { kind: OuterKind::AdmissionReply, ..*data.header() };
                        self.inject(who, DataFrame::new(reply, &self.sealed_of_old(OuterKind::AdmissionReply)).into_bytes());
                        passed = if self.dice.chance(500) { vec![frame.clone()] } else { Vec::new() };
                    }
                }
                // It says that a mailbox is open, or refused, and has done nothing.
                (Move::AnswerMailbox, 0x11) if self.dice.chance(share) => {
                    let status = self.dice.within(0..3) as u8;
                    self.inject(who, [&[0x24][..], &frame[1..17], &[status]].concat().into());
                    passed = Vec::new();
                }
                _ => {}
            }
        }
        passed
    }

    fn damage(&mut self, act: Move, frame: &Bytes) -> Bytes {
        let mut bytes = BytesMut::from(&frame[..]);
        match act {
            Move::Truncate => bytes.truncate(self.dice.within(0..frame.len() as u64) as usize),
            Move::Extend => {
                let more = self.dice.within(1..200) as usize;
                let fill = self.dice.within(0..2) as u8;
                bytes.extend_from_slice(&vec![fill; more]);
            }
            Move::Mislabel if frame.len() >= SEALED => {
                let source = if self.dice.chance(700) { self.some_label() } else { self.noise_label() };
                bytes[1..HEADER].copy_from_slice(source.as_bytes());
            }
            _ => {
                let parts = [
                    1..HEADER.min(frame.len()),
                    HEADER.min(frame.len())..SEALED.min(frame.len()),
                    SEALED.min(frame.len())..frame.len(),
                ];
                let part = self.dice.pick(&parts).filter(|part| !part.is_empty()).cloned().unwrap_or(0..frame.len());
                let at = self.dice.within(part.start as u64..part.end as u64) as usize;
                bytes[at] ^= 1 << self.dice.within(0..8);
            }
        }
        bytes.freeze()
    }

    /// The same frame with the destination that a receiver would expect.
    fn address(&self, frame: &Bytes, to: Who) -> Bytes {
        if frame.first() != Some(&DataFrame::KIND) || frame.len() < SEALED {
            return frame.clone();
        }
        let mut bytes = BytesMut::from(&frame[..]);
        bytes[DESTINATION..DESTINATION + Label::LENGTH].copy_from_slice(self.label(to).as_bytes());
        bytes.freeze()
    }

    fn replay_session(&mut self, relay: &Hostile, out: &mut Outgoing) {
        let session_of = |frame: &Bytes| DataFrame::parse(frame.clone()).ok().map(|data| data.header().session);
        let Some((receiver, session)) = self.dice.pick(&relay.tape).and_then(|(to, frame)| Some((*to, session_of(frame)?)))
        else {
            return;
        };
        let elsewhere = self.dice.chance(400).then(|| self.anybody());
        let wait = self.dice.millis(0..20_000);
        for (to, frame) in relay.tape.iter().filter(|(to, frame)| *to == receiver && session_of(frame) == Some(session)) {
            let to = elsewhere.unwrap_or(*to);
            out.push((wait, to, self.address(frame, to)));
        }
    }

    /// A Data frame of a random kind about a session that exists or doesn't, with noise or with old bytes in it.
    fn forged_data(&mut self, relay: &Hostile, to: Who) -> Bytes {
        let mut known = relay.tape.iter().filter_map(|(_, frame)| DataFrame::parse(frame.clone()).ok());
        let session = known.nth(self.dice.within(0..TAPE as u64 / 4) as usize).map(|data| data.header().session);
        let kind = self.dice.within(1..11) as u8;
        let mut bytes = BytesMut::new();
        bytes.put_u8(DataFrame::KIND);
        bytes.put_slice(self.some_label().as_bytes());
        bytes.put_slice(&[1, kind, self.dice.within(0..6) as u8, self.dice.within(0..4) as u8]);
        bytes.put_slice(self.label(to).as_bytes());
        bytes.put_slice(session.unwrap_or(SessionId::ZERO).as_bytes());
        bytes.put_u32(*self.dice.pick(&[0, 1, 17, u32::MAX]).unwrap_or(&0));
        bytes.put_u64(*self.dice.pick(&[0, 1, 1_025, u64::MAX - 1, u64::MAX]).unwrap_or(&0));
        bytes.put_u64(0);
        let len = *self.dice.pick(&[0, 15, 16, 272, 1_136, 2_000]).unwrap_or(&0);
        (0..len).for_each(|_| bytes.put_u8(self.dice.number() as u8));
        bytes.freeze()
    }

    fn sealed_of_old(&self, kind: OuterKind) -> Bytes {
        let tape = self.hostile.iter().flat_map(|relay| &relay.tape);
        let mut of_kind =
            tape.filter_map(|(_, frame)| DataFrame::parse(frame.clone()).ok().filter(|data| data.header().kind == kind));
        of_kind.next().map_or_else(|| Bytes::from(vec![7; 1_400]), DataFrame::into_sealed)
    }

    /// A link frame of this kind: as the protocol has it with numbers that are wrong, cut short, or without any sense.
    fn forged_notice(&mut self, kind: u8) -> Bytes {
        let mut bytes = BytesMut::new();
        bytes.put_u8(kind);
        match kind {
            // It may end an agent, which is a move of its own.
            0x04 => {
                let retry: [u8; 4] = if self.dice.chance(200) { [0xff; 4] } else { [0, 0, 3, 232] };
                bytes.put_slice(&[&[6][..], &retry, &[0, 2, b'n', b'o']].concat());
            }
            0x20 => return self.labels(),
            0x21 => {
                bytes.put_u64(*self.dice.pick(&[0, 1, 7, 100, 10_000, u64::MAX]).unwrap_or(&0));
                bytes.put_slice(&[self.dice.within(0..8) as u8, 0, 0, 1, 0]);
            }
            0x23 => bytes[0] = 0x7e,
            0x24 => {
                bytes.put_slice(self.noise_label().as_bytes());
                bytes.put_u8(self.dice.within(0..4) as u8);
            }
            0x25 => {
                bytes.put_u32(self.dice.number() as u32);
                bytes.put_u32(self.dice.number() as u32);
                bytes.put_u8(self.dice.within(0..5) as u8);
            }
            0x13 => bytes.put_u8(1),
            _ => (0..self.dice.within(0..120)).for_each(|_| bytes.put_u8(self.dice.number() as u8)),
        }
        if self.dice.chance(150) {
            bytes.truncate(1 + self.dice.within(0..bytes.len() as u64) as usize);
        }
        bytes.freeze()
    }

    fn bounce(&mut self, to: Who) -> Bytes {
        let frames = self.seats[to].wire.map_or(0, |at| self.wires[at].frames);
        let number = frames.saturating_sub(1 + self.dice.within(0..4));
        let mut bytes = BytesMut::new();
        bytes.put_u8(0x21);
        bytes.put_u64(number);
        bytes.put_u8(self.dice.within(1..7) as u8);
        bytes.put_u32(if self.dice.chance(100) { u32::MAX } else { self.dice.within(0..2_000) as u32 });
        bytes.freeze()
    }

    fn labels(&mut self) -> Bytes {
        let labels = [self.some_label(), self.noise_label()];
        let forget = u8::from(self.dice.chance(200));
        let came = self.dice.chance(500);
        let (came, went): (&[Label], &[Label]) = if came { (&labels, &[]) } else { (&[], &labels) };
        let mut bytes = BytesMut::new();
        bytes.put_slice(&[0x20, forget]);
        for list in [came, went] {
            bytes.put_u16(list.len() as u16);
            list.iter().for_each(|label| bytes.put_slice(label.as_bytes()));
        }
        bytes.freeze()
    }

    fn noise_label(&mut self) -> Label {
        let seed = self.dice.seed();
        Label::from_bytes(std::array::from_fn(|at| seed[at]))
    }

    /// That of any agent of any swarm, dead or alive.
    fn some_label(&mut self) -> Label {
        let who = self.dice.within(0..self.seats.len() as u64) as Who;
        self.label(who)
    }

    /// Any agent that lives.
    fn anybody(&mut self) -> Who {
        let living: Vec<Who> = self.living().collect();
        self.dice.pick(&living).copied().unwrap_or_default()
    }
}
