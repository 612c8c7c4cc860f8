//! Who opens a session when, what becomes of frames whose session isn't known, and how a broken session is replaced.
//!
//! ```text
//!   no keys --something to send--> opening (early frames) --answer--> session --24 h, counters used up--> opening ...
//!      ^                              |                                  |
//!      +------ no answer, bounce -----+------------ cannot-open ---------+
//! ```
//!
//! See PROTOCOL.md section 6.2.

use std::collections::{BTreeSet, VecDeque};
use std::time::Duration;

use bytes::Bytes;

use super::card::Card;
use super::limits::{EARLY_LIFE, OPEN_MAX, OPEN_TIMEOUT, REOPEN_MIN, STRAY_WAIT, STRAYS};
use super::link::Origin;
use super::member::{Member, Shared};
use super::peer::Pending;
use super::transport::{Grants, SendLane};
use crate::crypto::{Initiation, InitiatorParams, Opening, ResponderParams, SessionHello, envelope};
use crate::proto::{AgentId, DataFrame, Lane, Now, OuterHeader, OuterKind, SessionId};

/// Openers and answers tell when they were made inside the seal; the switchboard, whose clock may differ by minutes, has no part in it.
const NO_EXPIRY: u64 = 0;

/// Larger frames that are mostly padding are not kept in memory for the little that they carry, in bytes.
const SPARSE_FRAME: usize = 5_000;

/// How far this clock is ahead of a peer's, in milliseconds. Whatever the peer says, it is only what it says of its own messages.
fn clock_offset(here: u64, there: u64) -> i64 {
    let signed = |wall: u64| i64::try_from(wall).unwrap_or(i64::MAX);
    signed(here).saturating_sub(signed(there))
}

/// Frames whose session isn't known yet: their opener may be on its way in another lane.
#[derive(Default)]
pub(super) struct Strays {
    frames: VecDeque<(Duration, DataFrame)>,
}

impl Strays {
    pub(super) fn poll_timeout(&self) -> Option<Duration> {
        self.frames.front().map(|&(until, _)| until)
    }

    /// Keeps a frame for a while. Returns the one that has to make room, at the bound.
    fn push(&mut self, frame: DataFrame, now: Now) -> Option<DataFrame> {
        self.frames.push_back((now.monotonic + STRAY_WAIT, frame));
        if self.frames.len() > STRAYS { self.frames.pop_front().map(|(_, frame)| frame) } else { None }
    }

    fn take(&mut self, session: SessionId) -> Vec<DataFrame> {
        let (found, rest) =
            std::mem::take(&mut self.frames).into_iter().partition(|(_, frame)| frame.header().session == session);
        self.frames = rest;
        let found: VecDeque<(Duration, DataFrame)> = found;
        found.into_iter().map(|(_, frame)| frame).collect()
    }

    fn pop_late(&mut self, now: Now) -> Option<DataFrame> {
        let is_late = self.frames.front().is_some_and(|(until, _)| *until <= now.monotonic);
        is_late.then(|| self.frames.pop_front()).flatten().map(|(_, frame)| frame)
    }
}

impl Member {
    /// Takes a frame that another agent sent, or that claims so.
    pub(super) fn handle_data(&mut self, cx: &mut Shared, frame: DataFrame, now: Now) {
        cx.counters.frames_received += 1;
        match frame.header().kind {
            OuterKind::Session => self.handle_session_frame(cx, frame, now),
            OuterKind::Opener => self.handle_opener(cx, &frame, now),
            OuterKind::Answer => self.handle_answer(cx, &frame, now),
            OuterKind::CannotOpen => self.handle_cannot_open(cx, frame.header().session, now),
            OuterKind::AdmissionRequest => self.handle_admission_request(cx, &frame, now),
            OuterKind::Pairing => self.handle_pairing(cx, &frame, now),
            OuterKind::Envelope => self.handle_envelope(cx, frame, now),
            OuterKind::AdmissionReply | OuterKind::Unknown(_) => {
                cx.counters.refused_frames += 1;
            }
        }
    }

    fn handle_session_frame(&mut self, cx: &mut Shared, frame: DataFrame, now: Now) {
        let (session, lane) = (frame.header().session, frame.header().lane);
        let id = self.sessions.get(&session).copied();
        let Some(peer) = id.and_then(|id| self.peers.get_mut(&id)) else { return self.keep_stray(frame, now) };
        let id = peer.id;
        let Some(keys) = peer.session(session) else { return self.keep_stray(frame, now) };
        let held = frame.bytes().len();
        match keys.open(frame) {
            // A content that is small for its frame would keep all of it in memory. Honest padding beyond 4 KiB is a tenth.
            Ok(content) if held > SPARSE_FRAME && content.len() < held / 2 => {
                self.handle_content(cx, id, lane, Bytes::copy_from_slice(&content), now);
            }
            Ok(content) => self.handle_content(cx, id, lane, content, now),
            Err(_) => cx.counters.refused_frames += 1,
        }
    }

    fn keep_stray(&mut self, frame: DataFrame, now: Now) {
        if let Some(overflow) = self.strays.push(frame, now) {
            self.say_cannot_open(&overflow);
        }
    }

    pub(super) fn handle_stray_timeout(&mut self, now: Now) {
        let mut told = BTreeSet::new();
        while let Some(frame) = self.strays.pop_late(now) {
            if told.insert(frame.header().session) {
                self.say_cannot_open(&frame);
            }
        }
    }

    fn say_cannot_open(&mut self, frame: &DataFrame) {
        let header = OuterHeader {
            kind: OuterKind::CannotOpen,
            lane: Lane::Control,
            parkable: false,
            early: false,
            destination: frame.source(),
            session: frame.header().session,
            generation: 0,
            counter: 0,
            expiry: 0,
        };
        self.outbox.stage(DataFrame::new(header, &[]), Origin::Other);
    }

    /// Starts a session with a peer whose card is known.
    pub(super) fn open_session(&mut self, cx: &mut Shared, id: AgentId, now: Now) {
        let hello = self.session_hello(now);
        let Some(entry) = self.roster.get(&id) else { return };
        let Some(peer) = self.peers.get_mut(&id) else { return };
        let session = SessionId::from_bytes(cx.random.array());
        let params = InitiatorParams {
            founder: self.membership.founder,
            identity: &cx.identity,
            run: cx.run,
            chain: &self.membership.chain,
            peer: id,
            peer_run: entry.card.run,
            prekey: &entry.card.prekey,
            destination: entry.card.label,
            session,
            expiry: NO_EXPIRY,
        };
        // It fails only on what would have made the card unverifiable: such a peer isn't in the roster.
        let Ok((initiation, frame)) = Initiation::start(params, &hello, &mut cx.random) else { return };
        let timeout = (OPEN_TIMEOUT * 2u32.saturating_pow(peer.failed_openings.min(8))).min(OPEN_MAX);
        peer.pending = Some(Pending { initiation, session, since: now.monotonic, deadline: now.monotonic + timeout });
        peer.open_not_before = now.monotonic + REOPEN_MIN;
        self.sessions.insert(session, id);
        self.outbox.stage(frame, Origin::Opener { peer: id, session });
    }

    fn session_hello(&self, now: Now) -> SessionHello {
        SessionHello {
            wall: now.wall,
            roster_digest: self.roster.digest(),
            grants: Grants::first().encode(),
            card: self.roster.own().bytes.to_vec(),
        }
    }

    /// An opener had no answer: another one may follow.
    pub(super) fn give_up_opening(&mut self, id: AgentId, now: Now) {
        let Some(peer) = self.peers.get_mut(&id) else { return };
        if let Some(pending) = peer.pending.take() {
            self.sessions.remove(&pending.session);
            peer.failed_openings += 1;
            peer.open_not_before = now.monotonic;
            peer.send.iter_mut().for_each(SendLane::doubt_all);
        }
    }

    fn handle_opener(&mut self, cx: &mut Shared, frame: &DataFrame, now: Now) {
        let header = *frame.header();
        if self.sessions.contains_key(&header.session) || self.openers.was_taken(&header.session) {
            cx.counters.refused_frames += 1;
            return;
        }
        let Some(prekey) = cx.prekeys.find(header.counter) else {
            // Sealed to a key that is gone: the sender has to learn the present card first. It may know nobody else to hear it from.
            self.say_cannot_open(frame);
            return self.introduce_to_stranger(cx, frame.source(), now);
        };
        if !self.openers.allow(frame.source(), now) {
            // Its sender tries again in a few seconds.
            cx.counters.refused_frames += 1;
            return;
        }
        let opening = envelope::open(frame, prekey, cx.identity.id()).and_then(Opening::from_envelope);
        let Ok(opening) = opening else {
            cx.counters.refused_frames += 1;
            return;
        };
        let card = Card::parse(Bytes::copy_from_slice(&opening.hello().card))
            .and_then(|card| card.verify(&self.membership.founder, now.wall));
        let Ok(card) = card else {
            cx.counters.refused_cards += 1;
            return;
        };
        if card.identity != opening.sender() || card.run != opening.run() {
            cx.counters.refused_cards += 1;
            return;
        }
        let (id, run, label, chain) = (card.identity, card.run, card.label, card.chain.clone());
        // Only members have a share of the table: other keys cost nothing to make.
        if !self.openers.take(header.session, id, opening.hello().wall, now) {
            cx.counters.refused_frames += 1;
            return;
        }
        self.learn_card(cx, card, Some(id), now);
        // Of an earlier run than the one that is known: nobody waits for the answer.
        if self.roster.get(&id).is_none_or(|entry| entry.card.run != run) {
            return;
        }
        let hello = self.session_hello(now);
        let params = ResponderParams {
            founder: self.membership.founder,
            identity: &cx.identity,
            run: cx.run,
            chain: &self.membership.chain,
            destination: label,
            expiry: NO_EXPIRY,
        };
        let (theirs, knew_run) = (opening.hello().clone(), opening.receiver_run());
        let Ok((mut session, answer)) = opening.answer(params, &chain, &hello, &mut cx.random) else {
            cx.counters.refused_frames += 1;
            return;
        };
        let early_is_for_this_run = knew_run == cx.run;
        if !early_is_for_this_run {
            session.forget_early();
        }
        let Some(peer) = self.peer_mut(id) else { return };
        let crossed = peer.pending.is_some();
        peer.clock_offset = Some(clock_offset(now.wall, theirs.wall));
        peer.early_until = early_is_for_this_run.then_some(now.monotonic + EARLY_LIFE);
        peer.take_first_grants(&Grants::decode(&theirs.grants));
        let session_id = session.id();
        let gone = peer.establish(session, crossed, now);
        self.sessions.insert(session_id, id);
        gone.iter().for_each(|session| {
            self.sessions.remove(session);
        });
        cx.counters.sessions += 1;
        self.outbox.stage(answer, Origin::Other);
        self.handle_strays_of(cx, session_id, now);
        self.touch(cx, id, now);
    }

    fn handle_answer(&mut self, cx: &mut Shared, frame: &DataFrame, now: Now) {
        let session_id = frame.header().session;
        let id = self.sessions.get(&session_id).copied();
        let pending = id
            .and_then(|id| self.peers.get(&id))
            .and_then(|peer| peer.pending.as_ref())
            .filter(|pending| pending.session == session_id);
        let (Some(id), Some(pending)) = (id, pending) else {
            cx.counters.refused_frames += 1;
            return;
        };
        let Ok(answered) = pending.initiation.receive_answer(frame) else {
            cx.counters.refused_frames += 1;
            return;
        };
        let hello = answered.hello().clone();
        let card = Card::parse(Bytes::from(hello.card)).and_then(|card| card.verify(&self.membership.founder, now.wall));
        let Ok(card) = card else {
            cx.counters.refused_cards += 1;
            return;
        };
        if card.identity != id || card.run != answered.run() {
            cx.counters.refused_cards += 1;
            return;
        }
        let (run, chain) = (card.run, card.chain.clone());
        self.learn_card(cx, card, Some(id), now);
        if self.roster.get(&id).is_none_or(|entry| entry.card.run != run) {
            return;
        }
        let Some(peer) = self.peers.get_mut(&id) else { return };
        // Learning a card of another run has dropped the opening: what it carried goes again, to the run that answers now.
        let Some(pending) = peer.pending.take() else { return };
        let crossed = peer.was_crossed(&pending);
        let Ok(session) = pending.initiation.establish(answered, &chain) else { return };
        peer.clock_offset = Some(clock_offset(now.wall, hello.wall));
        peer.take_first_grants(&Grants::decode(&hello.grants));
        let gone = peer.establish(session, crossed, now);
        gone.iter().for_each(|session| {
            self.sessions.remove(session);
        });
        cx.counters.sessions += 1;
        self.compare_rosters(cx, id, &hello.roster_digest, now);
        self.handle_strays_of(cx, session_id, now);
        self.touch(cx, id, now);
    }

    fn handle_strays_of(&mut self, cx: &mut Shared, session: SessionId, now: Now) {
        for frame in self.strays.take(session) {
            self.handle_session_frame(cx, frame, now);
        }
    }

    /// Somebody, not proven to be the peer, says that it can't open a session's frames. All that it can cause is a new opener.
    fn handle_cannot_open(&mut self, cx: &mut Shared, session: SessionId, now: Now) {
        let Some(peer) = self.sessions.get(&session).and_then(|id| self.peers.get_mut(id)) else { return };
        let id = peer.id;
        if peer.open_not_before > now.monotonic {
            return;
        }
        // An opening that is under way has its own deadline: its answer may already be on the way.
        if !peer.stop_sending_on(session) {
            return;
        }
        // An admin that was started anew may know nobody.
        self.introduce_to(cx, id, now);
        self.touch(cx, id, now);
    }
}
