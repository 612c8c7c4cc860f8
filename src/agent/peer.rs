//! Everything that an agent holds for one peer between two runs: sessions, lanes in both directions, and what is due to be said.
//!
//! A peer decides what goes into its next frame; when a frame may go, and to whom first, is the agent's (see `outbox`).

use std::time::Duration;

use super::limits::{CALLS_MAX, RECEIPT_DELAY, RESEND_MAX, RESEND_MIN, SESSION_LIFE, SESSIONS_PER_PEER};
use super::link::Origin;
use super::message::CreditClass;
use super::pace::Pace;
use super::parking::Parking;
use super::runs::EndedRun;
use super::section::{self, put_credit, put_goodbye, put_heartbeat, put_probe, put_receipt};
use super::transport::{GRANTED_CLASSES, Grants, ReceiveLane, SendLane, Settled};
use crate::crypto::{FrameBuilder, Initiation, Session};
use crate::proto::{AgentId, DataFrame, Label, Lane, MessageId, Now, RunId, SessionId};

/// Content bytes of a control frame: 1 KiB of padded plaintext, less the length prefix.
const CONTROL_CONTENT: usize = 1_020;
/// Content of a control frame that messages (cancels) may take, so that receipts always find room beside them.
const CONTROL_MESSAGES: usize = 512;
/// Content of other frames: what coalescing aims at, and control sections beside it.
const CONTENT: usize = section::CHUNK_LIMIT + section::CHUNK_OVERHEAD + CONTROL_CONTENT;
/// Least time to the next look at a peer. Chosen: the resolution of the shell's timers.
const TICK: Duration = Duration::from_millis(1);
/// Content that a frame has room for when little waits. Chosen: a request of some hundred bytes, and the receipts that ride along.
const SMALL_CONTENT: usize = 1_020;
/// Message ids in one heartbeat, so that it fits into a control frame.
const HEARTBEATS: usize = 32;

/// A session that was opened from here and has no answer yet.
pub(super) struct Pending {
    pub(super) initiation: Initiation,
    pub(super) session: SessionId,
    pub(super) since: Duration,
    pub(super) deadline: Duration,
}

/// What has to be said, apart from messages.
#[derive(Debug, Default)]
struct Due {
    receipts: [bool; Lane::COUNT],
    receipts_at: Option<Duration>,
    credits: [bool; Lane::COUNT],
    all_credits: bool,
    probe: bool,
    heartbeats: Vec<MessageId>,
    goodbye: Option<bool>,
}

pub(super) struct Peer {
    pub(super) id: AgentId,
    pub(super) label: Label,
    /// The run that the lanes belong to.
    pub(super) run: RunId,
    sessions: Vec<Session>,
    /// The session that carries what is sent: one of `sessions`.
    sending: Option<SessionId>,
    /// When the newest session was established.
    established_at: Duration,
    pub(super) pending: Option<Pending>,
    /// Openers in a row that had no answer.
    pub(super) failed_openings: u32,
    pub(super) open_not_before: Duration,
    /// Until then nothing is sent: the switchboard doesn't pass it on.
    pub(super) hold_until: Duration,
    pub(super) send: [SendLane; Lane::COUNT],
    pub(super) receive: [ReceiveLane; Lane::COUNT],
    pub(super) pace: [Pace; Lane::COUNT],
    /// Whether the peer stands in the agent's ring of a lane.
    pub(super) in_ring: [bool; Lane::COUNT],
    due: Due,
    resend_after: Duration,
    /// How long what is sent takes to be confirmed, by and large: queues on the way may hold it for many seconds.
    path_time: Duration,
    /// When silence was last taken for loss; it isn't again before `resend_after` has passed, whether or not the link took anything since.
    doubted_at: Duration,
    /// Its clock plus this is ours, in milliseconds; `None` before a session told.
    pub(super) clock_offset: Option<i64>,
    /// What was parked for it.
    pub(super) parking: Parking,
    /// Others were sent cards while it wasn't linked, and it hasn't heard of them since.
    pub(super) lacks_cards: bool,
    /// By its own clock: envelopes that it made until then may be of a run of which too much was forgotten.
    pub(super) forgotten_until: u64,
    /// The first grants of the run were taken.
    granted: bool,
    /// The timer that the agent has set for this peer.
    pub(super) timer: Option<Duration>,
    pub(super) probe_at: Option<Duration>,
    /// Until then frames sealed before the answer are taken.
    pub(super) early_until: Option<Duration>,
}

impl Peer {
    /// `first` is the number with which the lanes begin: none that was given to it before.
    pub(super) fn new(id: AgentId, label: Label, run: RunId, first: u64) -> Self {
        Self {
            id,
            label,
            run,
            sessions: Vec::new(),
            sending: None,
            established_at: Duration::ZERO,
            pending: None,
            failed_openings: 0,
            open_not_before: Duration::ZERO,
            hold_until: Duration::ZERO,
            send: Lane::ALL.map(|lane| SendLane::new(lane, first)),
            receive: Default::default(),
            pace: Default::default(),
            in_ring: Default::default(),
            due: Due::default(),
            resend_after: RESEND_MIN,
            path_time: Duration::ZERO,
            doubted_at: Duration::ZERO,
            clock_offset: None,
            parking: Parking::default(),
            lacks_cards: false,
            forgotten_until: 0,
            granted: false,
            timer: None,
            probe_at: None,
            early_until: None,
        }
    }

    /// Whether frames can be sealed, early ones included.
    pub(super) fn has_keys(&self) -> bool {
        self.sending.is_some() || self.pending.is_some()
    }

    pub(super) fn has_session(&self) -> bool {
        self.sending.is_some()
    }

    /// Whether the session is old enough to be replaced; until that has happened it serves on.
    fn is_old(&self, now: Now) -> bool {
        self.has_session() && now.monotonic.saturating_sub(self.established_at) >= SESSION_LIFE
    }

    /// Whether it is time to open a session.
    pub(super) fn wants_opener(&self, now: Now) -> bool {
        self.pending.is_none()
            && (!self.has_session() || self.is_old(now))
            && self.open_not_before <= now.monotonic
            && self.wants_session(now)
    }

    /// Whether the peer opened a session while this opening was under way.
    pub(super) fn was_crossed(&self, pending: &Pending) -> bool {
        self.has_session() && self.established_at >= pending.since
    }

    pub(super) fn session(&mut self, id: SessionId) -> Option<&mut Session> {
        self.sessions.iter_mut().find(|session| session.id() == id)
    }

    /// Adds a session and decides which one carries what is sent. Of two that crossed it is the one opened by the smaller identity, on both
    /// sides; otherwise the newest, because whoever opened it has given up the others. Returns the sessions that had to go.
    pub(super) fn establish(&mut self, session: Session, crossed: bool, now: Now) -> Vec<SessionId> {
        let keep_present = crossed
            && self
                .sending
                .and_then(|id| self.sessions.iter().find(|present| present.id() == id))
                .is_some_and(|present| present.initiator() < session.initiator());
        if !keep_present {
            self.sending = Some(session.id());
        }
        self.established_at = now.monotonic;
        self.failed_openings = 0;
        self.sessions.push(session);
        let excess = self.sessions.len().saturating_sub(SESSIONS_PER_PEER);
        let sending = self.sending;
        let mut gone = Vec::new();
        self.sessions.retain(|session| {
            let goes = gone.len() < excess && Some(session.id()) != sending;
            if goes {
                gone.push(session.id());
            }
            !goes
        });
        self.say_everything();
        gone
    }

    /// The peer can't open what this session seals: nothing more is sent on it.
    pub(super) fn stop_sending_on(&mut self, id: SessionId) -> bool {
        if self.sending != Some(id) {
            return false;
        }
        self.sending = None;
        self.send.iter_mut().for_each(SendLane::doubt_all);
        true
    }

    /// Drops the sessions of a run that ended, but not the opening that its successor may answer. Returns their ids.
    pub(super) fn forget_established(&mut self) -> Vec<SessionId> {
        self.sending = None;
        self.sessions.drain(..).map(|session| session.id()).collect()
    }

    /// Drops all keys. Returns the ids of the sessions that ended.
    pub(super) fn forget_sessions(&mut self) -> Vec<SessionId> {
        self.sending = None;
        let opening = self.pending.take().map(|opening| opening.session);
        self.sessions.drain(..).map(|session| session.id()).chain(opening).collect()
    }

    /// The peer's process is another: it has sent nothing yet, and what is unconfirmed goes to it in its order. Returns what came from the one
    /// before.
    pub(super) fn restart(&mut self, run: RunId) -> [ReceiveLane; Lane::COUNT] {
        self.run = run;
        self.send.iter_mut().for_each(SendLane::restart);
        self.due = Due::default();
        self.granted = false;
        std::mem::take(&mut self.receive)
    }

    /// Goes on with what is remembered of its present run.
    pub(super) fn take_up(&mut self, ended: EndedRun) {
        self.receive = ended.receive;
        self.receive.iter_mut().for_each(ReceiveLane::reinstate);
        self.clock_offset = ended.clock_offset.or(self.clock_offset);
    }

    /// Takes the first grants of a run; those of later sessions repeat them.
    pub(super) fn take_first_grants(&mut self, grants: &Grants) {
        if std::mem::replace(&mut self.granted, true) {
            return;
        }
        for lane in &Lane::ALL[1..] {
            for class in 0..GRANTED_CLASSES {
                let (messages, bytes) = grants.of(*lane, class);
                self.send[lane.index()].handle_credit(class, messages, bytes);
            }
        }
    }

    /// The path to the peer broke: what is unconfirmed goes again, and both sides tell each other where they stand.
    pub(super) fn doubt_everything(&mut self) {
        self.send.iter_mut().for_each(SendLane::doubt_all);
        self.pace = Default::default();
        self.resend_after = RESEND_MIN;
        self.path_time = Duration::ZERO;
        if self.has_session() {
            self.say_everything();
            self.due.probe = true;
        }
    }

    /// It has been away, and begins to answer only now.
    pub(super) fn restart_silence(&mut self, now: Now) {
        self.doubted_at = now.monotonic;
    }

    /// All receipts and credits are due.
    pub(super) fn say_everything(&mut self) {
        for lane in Lane::ALL {
            if self.receive[lane.index()].was_used() {
                self.receive[lane.index()].say_again();
                self.due.receipts[lane.index()] = true;
                self.due.credits[lane.index()] = lane != Lane::Control;
            }
        }
        self.due.all_credits = true;
        self.due.receipts_at = Some(Duration::ZERO);
    }

    /// A receipt is due, at once or when it can ride along.
    pub(super) fn owe_receipt(&mut self, lane: Lane, now: Now, prompt: bool) {
        self.due.receipts[lane.index()] = true;
        let at = if prompt { now.monotonic } else { now.monotonic + RECEIPT_DELAY };
        self.due.receipts_at = Some(self.due.receipts_at.map_or(at, |due| due.min(at)));
    }

    pub(super) fn owe_credit(&mut self, lane: Lane) {
        self.due.credits[lane.index()] = true;
        self.due.receipts_at = Some(Duration::ZERO);
    }

    pub(super) fn owe_heartbeat(&mut self, request: MessageId) {
        if self.due.heartbeats.len() < CALLS_MAX {
            self.due.heartbeats.push(request);
        }
    }

    pub(super) fn owe_probe(&mut self) {
        self.due.probe = true;
    }

    pub(super) fn owe_goodbye(&mut self, is_final: bool) {
        self.due.goodbye = Some(is_final);
    }

    /// Whether a frame on this lane may go now, and has something to carry.
    pub(super) fn has_work(&self, lane: Lane, now: Now) -> bool {
        if self.pace[lane.index()].opens_at(now.monotonic).is_some() {
            return false;
        }
        self.send[lane.index()].has_work() || (lane == Lane::Control && self.has_session() && self.control_is_due(now))
    }

    fn control_is_due(&self, now: Now) -> bool {
        let due = &self.due;
        due.probe || due.goodbye.is_some() || !due.heartbeats.is_empty() || due.receipts_at.is_some_and(|at| at <= now.monotonic)
    }

    /// Whether anything waits that a session would carry. Receipts count: a peer that still sends on a session which was given up here would
    /// otherwise never hear that its messages arrive.
    pub(super) fn wants_session(&self, now: Now) -> bool {
        self.send.iter().any(SendLane::has_work) || self.control_is_due(now)
    }

    /// Seals the next frame of a lane, if there is anything to say.
    pub(super) fn build(&mut self, lane: Lane, now: Now) -> Option<(DataFrame, Origin)> {
        let mut builder =
            FrameBuilder::with_capacity(if self.send[lane.index()].fills_a_frame() { CONTENT } else { SMALL_CONTENT });
        let room = if lane == Lane::Control { CONTROL_MESSAGES } else { section::CHUNK_LIMIT };
        let under_way = self.send.iter().map(SendLane::bytes_under_way).sum::<u64>();
        let own = self.send[lane.index()].bytes_under_way();
        self.send[lane.index()].note_beside(under_way - own);
        let built = self.send[lane.index()].build(builder.buffer(), room, now.monotonic);
        if self.has_session() && (built.is_some() || (lane == Lane::Control && self.control_is_due(now))) {
            self.add_control(&mut builder, if lane == Lane::Control { CONTROL_CONTENT } else { CONTENT });
        }
        if builder.is_empty() {
            return None;
        }
        let frame = match (self.sending, self.pending.as_mut()) {
            (Some(id), _) => self.session(id)?.seal(lane, 0, builder),
            (None, Some(opening)) => opening.initiation.seal_early(lane, 0, builder),
            (None, None) => return None,
        };
        let origin = match built {
            Some(built) => Origin::Messages { peer: self.id, lane, built },
            None => Origin::Control { peer: self.id },
        };
        match frame {
            Ok(frame) => {
                self.pace[lane.index()].take(frame.bytes().len(), now.monotonic);
                Some((frame, origin))
            }
            Err(_) => {
                // The session has used up its counters: another one carries what was in this frame.
                if let Some(id) = self.sending {
                    self.stop_sending_on(id);
                }
                None
            }
        }
    }

    /// Adds what is due, as far as it fits; the rest stays due.
    fn add_control(&mut self, builder: &mut FrameBuilder, limit: usize) {
        let mut room = limit.saturating_sub(builder.content_len());
        let mut left = false;
        for lane in Lane::ALL {
            let at = lane.index();
            if self.due.receipts[at] {
                let (receipt, said) = self.receive[at].receipt(lane);
                let len = section::SECTION_HEADER_LEN + receipt.encoded_len();
                if len <= room {
                    put_receipt(builder.buffer(), &receipt);
                    room -= len;
                    self.due.receipts[at] = self.receive[at].note_said(&said);
                    left |= self.due.receipts[at];
                } else {
                    left = true;
                }
            }
            if (self.due.credits[at] || self.due.all_credits) && lane != Lane::Control {
                if room >= CreditClass::ALL.len() * section::CREDIT_LEN {
                    for credit in self.receive[at].credits(lane, self.due.all_credits) {
                        put_credit(builder.buffer(), &credit);
                        room -= section::CREDIT_LEN;
                    }
                    self.due.credits[at] = false;
                } else {
                    self.due.credits[at] = true;
                    left = true;
                }
            }
        }
        self.due.all_credits = false;
        if !self.due.heartbeats.is_empty()
            && room >= 1 + section::SECTION_HEADER_LEN + 16 * HEARTBEATS.min(self.due.heartbeats.len())
        {
            let rest = self.due.heartbeats.split_off(HEARTBEATS.min(self.due.heartbeats.len()));
            put_heartbeat(builder.buffer(), &self.due.heartbeats);
            room -= 1 + section::SECTION_HEADER_LEN + 16 * self.due.heartbeats.len();
            self.due.heartbeats = rest;
        }
        if room >= 2 * (1 + section::SECTION_HEADER_LEN) {
            if std::mem::take(&mut self.due.probe) {
                put_probe(builder.buffer());
            }
            if let Some(is_final) = self.due.goodbye.take() {
                put_goodbye(builder.buffer(), is_final);
            }
        }
        self.due.receipts_at = left.then_some(Duration::ZERO);
    }

    /// Takes what a receipt settles, and measures that the path is alive.
    pub(super) fn handle_receipt(&mut self, receipt: &section::Receipt, settled: &mut Vec<Settled>, now: Now) {
        if let Some(took) = self.send[receipt.lane.index()].handle_receipt(receipt, settled, now.monotonic) {
            self.path_time = took.max((self.path_time * 7 + took) / 8);
            self.resend_after = (self.path_time * 2).clamp(RESEND_MIN, RESEND_MAX);
        }
    }

    /// Drops the keys of early frames when their time is over.
    pub(super) fn forget_early(&mut self, now: Now) {
        if self.early_until.is_some_and(|until| until <= now.monotonic) {
            self.early_until = None;
            self.sessions.iter_mut().for_each(Session::forget_early);
        }
    }

    /// What was sent long ago and isn't confirmed goes again, with growing pauses.
    pub(super) fn handle_silence(&mut self, now: Now) {
        let Some(deadline) = self.silence_deadline() else { return };
        if deadline > now.monotonic {
            return;
        }
        let since = now.monotonic.saturating_sub(self.resend_after);
        let mut any = false;
        for lane in &mut self.send {
            any |= lane.doubt_silent(since);
        }
        if any {
            self.doubted_at = now.monotonic;
            self.resend_after = (self.resend_after * 2).min(RESEND_MAX);
        }
    }

    fn silence_deadline(&self) -> Option<Duration> {
        let oldest = self.send.iter().filter_map(SendLane::silent_since).min()?;
        Some(oldest.max(self.doubted_at) + self.resend_after)
    }

    /// When this peer has to be looked at again, given that its link is up.
    pub(super) fn next_timer(&self, now: Now) -> Option<Duration> {
        let held = (self.hold_until > now.monotonic).then_some(self.hold_until);
        // What is due already stands in the ring.
        let receipts = self.due.receipts_at.filter(|at| *at > now.monotonic);
        // What the switchboard keeps may be confirmed only because it is sent again after all.
        let expects = self.has_session() || self.send.iter().any(SendLane::has_accepted);
        let silence = expects.then(|| self.silence_deadline()).flatten();
        let pending = self.pending.as_ref().map(|pending| pending.deadline);
        let paced = self.send.iter().zip(&self.pace).filter(|(lane, _)| lane.has_work());
        let paced = paced.filter_map(|(_, pace)| pace.opens_at(now.monotonic)).min();
        let reopen = (!self.has_keys() && self.wants_session(now)).then_some(self.open_not_before);
        let next =
            [held, paced, receipts, silence, pending, reopen, self.probe_at, self.early_until].into_iter().flatten().min()?;
        // A deadline that passes while something else is looked at is met a moment later.
        Some(next.max(now.monotonic + TICK))
    }
}
