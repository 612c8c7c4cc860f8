//! The agent's link to the switchboard: when to connect, how to prove the key, which labels are linked, what bounced.
//!
//! It knows frames, not messages: a Data frame is bytes with a [`Origin`] that is handed back when it bounces. A link that is lost goes on
//! in the next one if the switchboard still knows it (see `ledger`): then only those frames are lost that it never got. `pulse` says whether
//! it lives.
//!
//! ```text
//!   Waiting --time--> Connecting --connected--> Greeting --Challenge, Welcome--> Up
//!      ^                                                                          |
//!      +------------------- lost, silent, refused for now -----------------------+      refused for good, replaced --> Over
//! ```
//!
//! A connection can die without a word: a NAT forgets it, the machine sleeps, its address changes. So silence beyond the switchboard's pings,
//! and whatever makes the link doubtful, leads to a ping of the agent's own, and no answer to that to a new link. When the shell knows that
//! the path is gone, or that the network is another one, nothing is waited for.

mod ledger;
mod pulse;
mod refusal;
#[cfg(test)]
mod tests;

use std::collections::VecDeque;
use std::time::Duration;

use bytes::Bytes;

use super::error::LinkError;
use super::event::{Command, Connected, PathChange};
use super::limits::{
    BACKOFF_MAX, BACKOFF_MIN, CONNECT_TIMEOUT, HANDSHAKE_TIMEOUT, MAILBOX_PATIENCE, PROBE_TIMEOUT, RETRY_AFTER_MAX,
};
use super::transport::Built;
use crate::crypto::Random;
use crate::proto::{
    AgentId, Binding, Bounce, BounceReason, Challenge, ClientFrame, DataFrame, Features, GoodbyeReason, HelloBody, Label, Lane,
    LinkKeyPair, Now, RegisterStatus, Reject, Role, RoutingKey, ServerFrame, SessionId, SlotStatus, VERSION, Welcome, base32,
    sign_hello,
};
use ledger::{Continuity, Ledger};
use pulse::{Pulse, Verdict};
use refusal::{is_final, may_differ_elsewhere};

/// Where a frame came from, to be found again when it bounces.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Origin {
    /// Messages of this peer's lane.
    Messages { peer: AgentId, lane: Lane, built: Built },
    /// Messages of this peer's lane, to wait at the switchboard: which envelope of the lane it is.
    Parked { peer: AgentId, lane: Lane, serial: u64 },
    /// Receipts and the like for this peer, which are said again.
    Control { peer: AgentId },
    /// The opener of this session.
    Opener { peer: AgentId, session: SessionId },
    /// Nothing that could be sent again.
    Other,
}

/// As whom the agent links.
pub(super) struct Credentials {
    pub(super) routing: RoutingKey,
    pub(super) key: LinkKeyPair,
    pub(super) role: Role,
}

/// What a frame from the switchboard means to the agent.
pub(super) enum LinkInput {
    /// The link is up.
    Up(LinkUp),
    /// A frame from another agent.
    Data(DataFrame),
    /// These labels came and went; with `reset` all others are gone too, with `resumed` nothing that was under way to those that came is lost.
    Labels { came: Vec<Label>, gone: Vec<Label>, reset: bool, resumed: bool },
    /// A frame could not be passed on.
    Bounced { origin: Origin, reason: BounceReason, retry_after: Duration },
    /// A frame waits at the switchboard for its receiver.
    Accepted { origin: Origin },
    /// Answer to `register`.
    Registered { mailbox: Label, status: RegisterStatus },
    /// Answer to `open_slot`.
    SlotOpened { slot: u32, status: SlotStatus },
    /// The link ended, and is tried again after this pause.
    Down { error: LinkError, retry_in: Duration },
    /// The link ended for good.
    Over(Option<LinkError>),
    /// Nothing to do.
    Nothing,
}

/// How a link came up.
#[derive(Debug)]
pub(super) struct LinkUp {
    /// It goes on from the one before, and these frames were lost; `None`: nothing is left of that one.
    pub(super) resumed: Option<Vec<Origin>>,
    /// The switchboard has begun another life, in which it knows nothing of what it accepted.
    pub(super) is_other_boot: bool,
}

enum Phase {
    /// Whatever happens, not before `not_before`: the switchboard said so.
    Waiting {
        until: Duration,
        not_before: Duration,
    },
    Connecting {
        until: Duration,
    },
    Greeting {
        binding: Binding,
        until: Duration,
    },
    Up,
    Over,
}

pub(super) struct Link {
    phase: Phase,
    credentials: Credentials,
    /// The credentials were renewed since they were shown.
    is_renewed: bool,
    any_certificate: bool,
    /// How the last connection was made.
    connected: Option<Connected>,
    attempts: u32,
    commands: VecDeque<Command>,
    /// The answer to the Challenge; nothing else may go before Welcome.
    hello: Option<Bytes>,
    /// Link frames that go out before everything else.
    notices: VecDeque<Bytes>,
    ledger: Ledger,
    pulse: Pulse,
    /// What both sides can do, as the last Welcome says.
    features: Features,
    /// Names the life of the switchboard linked to last.
    boot: Option<[u8; 16]>,
    /// How far this clock is ahead of the switchboard's, in milliseconds.
    clock_skew: Option<i64>,
    /// How often the link of a member was up, and how often it went on from the one before.
    pub(super) ups: u64,
    pub(super) resumptions: u64,
    /// Other addresses than the one connected to, and how many have refused since the link was up.
    others: usize,
    refusals: usize,
    /// When the link was last up, with these credentials.
    last_up: Option<Duration>,
    unknown_frames: u64,
}

fn retry_after(milliseconds: u32) -> Duration {
    Duration::from_millis(milliseconds.into()).min(RETRY_AFTER_MAX)
}

impl Link {
    pub(super) fn new(credentials: Credentials, now: Now) -> Self {
        Self {
            phase: Phase::Waiting { until: now.monotonic, not_before: now.monotonic },
            credentials,
            is_renewed: false,
            any_certificate: false,
            connected: None,
            attempts: 0,
            commands: VecDeque::new(),
            hello: None,
            notices: VecDeque::new(),
            ledger: Ledger::default(),
            pulse: Pulse::new(now),
            features: Features(0),
            boot: None,
            clock_skew: None,
            ups: 0,
            resumptions: 0,
            others: 0,
            refusals: 0,
            last_up: None,
            unknown_frames: 0,
        }
    }

    pub(super) fn is_up(&self) -> bool {
        matches!(self.phase, Phase::Up)
    }

    /// The link has ended for good.
    pub(super) fn is_over(&self) -> bool {
        matches!(self.phase, Phase::Over)
    }

    /// The link is lost, and may go on in the next one.
    pub(super) fn may_resume(&self) -> bool {
        !self.is_over() && self.ledger.can_resume()
    }

    /// The switchboard keeps envelopes for those who aren't linked.
    pub(super) fn can_park(&self) -> bool {
        self.is_up() && self.features.in_force(Features::PARKING) == Features::PARKING
    }

    /// How far this clock is ahead of the switchboard's, in milliseconds, as far as it says. `None` before the first link.
    pub(super) fn clock_skew(&self) -> Option<i64> {
        self.clock_skew
    }

    /// How long the switchboard took to answer, when it was last asked.
    pub(super) fn round_trip(&self) -> Option<Duration> {
        self.pulse.round_trip()
    }

    /// Frames of kinds that this version doesn't know.
    pub(super) fn unknown_frames(&self) -> u64 {
        self.unknown_frames
    }

    /// Ends this link in good order and begins another with other credentials.
    pub(super) fn relink(&mut self, credentials: Credentials, now: Now) {
        self.commands.push_back(Command::Disconnect);
        self.credentials = credentials;
        self.reset();
        self.ledger.forget();
        self.attempts = 0;
        self.refusals = 0;
        self.last_up = None;
        self.phase = Phase::Waiting { until: now.monotonic, not_before: now.monotonic };
    }

    /// Takes credentials of the same key for the links to come.
    pub(super) fn renew(&mut self, credentials: Credentials) {
        self.credentials = credentials;
        self.is_renewed = true;
    }

    /// Takes other credentials for the links to come, and keeps this one.
    pub(super) fn continue_as(&mut self, credentials: Credentials) {
        self.credentials = credentials;
    }

    /// Takes any certificate until [`believe`](Self::believe).
    pub(super) fn take_any_certificate(&mut self) {
        self.any_certificate = true;
    }

    /// From the next link on connects to the address that answered and believes the certificate that it showed, or tries `others`,
    /// which somebody on another machine gave. Returns these addresses.
    pub(super) fn believe(&mut self, others: &[String]) -> Vec<String> {
        self.any_certificate = false;
        let Some(connected) = &self.connected else { return others.to_vec() };
        let place = |address: &str| address.split('#').next().map(str::to_owned).unwrap_or_default();
        let here = place(&connected.address);
        let others = others.iter().filter(|other| place(other) != here && !is_loopback(other)).cloned();
        let known = match &connected.pin {
            Some(pin) => format!("{here}#{}", base32::encode(pin)),
            None => connected.address.clone(),
        };
        let addresses: Vec<String> = std::iter::once(known).chain(others).collect();
        self.commands.push_back(Command::Switchboards(addresses.clone()));
        addresses
    }

    /// What the last connection showed.
    pub(super) fn connected(&self) -> Option<&Connected> {
        self.connected.as_ref()
    }

    /// The certificate that the last connection showed; `None` without TLS.
    pub(super) fn pin(&self) -> Option<[u8; 32]> {
        self.connected.as_ref()?.pin
    }

    pub(super) fn close(&mut self) {
        if self.is_up() {
            let received = self.ledger.handle_close();
            self.acknowledge(received);
            self.notices.push_back(ClientFrame::Goodbye(GoodbyeReason::Closing).encode());
        }
        self.phase = match self.phase {
            // What is queued, the goodbye included, may still be written; the shell disconnects after that.
            Phase::Up => Phase::Over,
            _ => {
                self.commands.push_back(Command::Disconnect);
                Phase::Over
            }
        };
    }

    pub(super) fn register(&mut self, mailbox: Label, expiry: u64) {
        self.notices.push_back(ClientFrame::Register { mailbox, expiry }.encode());
    }

    pub(super) fn unregister(&mut self, mailbox: Label) {
        self.notices.push_back(ClientFrame::Unregister { mailbox }.encode());
    }

    pub(super) fn open_slot(&mut self, slot: u32, expiry: u64) {
        self.notices.push_back(ClientFrame::OpenSlot { slot, expiry }.encode());
    }

    pub(super) fn close_slot(&mut self, slot: u32) {
        self.notices.push_back(ClientFrame::CloseSlot { slot }.encode());
    }

    pub(super) fn handle_connected(&mut self, connected: Connected, now: Now) {
        if matches!(self.phase, Phase::Connecting { .. }) {
            self.pulse.handle_heard(now);
            self.others = connected.others;
            self.phase = Phase::Greeting { binding: connected.binding, until: now.monotonic + HANDSHAKE_TIMEOUT };
            self.connected = Some(connected);
        }
    }

    /// Something came from the switchboard.
    pub(super) fn handle_heard(&mut self, now: Now) {
        self.pulse.handle_heard(now);
    }

    /// The answer to a ping came.
    pub(super) fn handle_pong(&mut self, now: Now) {
        if self.pulse.handle_pong(now) {
            self.commands.push_back(Command::Ping);
        }
    }

    /// The network changed: what was waited for on the old one isn't any more.
    pub(super) fn handle_path_change(&mut self, change: PathChange, now: Now) -> LinkInput {
        if change == PathChange::Lost && matches!(self.phase, Phase::Greeting { .. } | Phase::Up) {
            self.commands.push_back(Command::Disconnect);
            return self.retry_at_once(LinkError::NetworkChanged, now);
        }
        self.doubt(now);
        LinkInput::Nothing
    }

    /// The network may be another one: an attempt is made anew, a link has to prove that it lives.
    fn doubt(&mut self, now: Now) {
        match &mut self.phase {
            Phase::Over => {}
            Phase::Waiting { until, not_before } => *until = now.monotonic.max(*not_before),
            Phase::Connecting { .. } => {
                self.commands.push_back(Command::Disconnect);
                self.phase = Phase::Waiting { until: now.monotonic, not_before: now.monotonic };
            }
            Phase::Greeting { until, .. } => *until = (*until).min(now.monotonic + PROBE_TIMEOUT),
            Phase::Up => self.probe(now),
        }
    }

    pub(super) fn handle_down(&mut self, error: LinkError, now: Now, random: &mut Random) -> LinkInput {
        self.down(error, Duration::ZERO, now, random)
    }

    pub(super) fn handle_frame(&mut self, frame: Bytes, now: Now, random: &mut Random) -> LinkInput {
        self.handle_heard(now);
        let parsed = match ServerFrame::decode(frame.clone()) {
            Ok(parsed) => parsed,
            Err(error) => return self.broken(&error.to_string(), now, random),
        };
        match (&self.phase, parsed) {
            (Phase::Over, _) => LinkInput::Nothing,
            (_, ServerFrame::Unknown { .. }) => {
                self.unknown_frames += 1;
                LinkInput::Nothing
            }
            (_, ServerFrame::Reject(reject)) => self.handle_reject(reject, now, random),
            (_, ServerFrame::Replaced) => {
                self.end();
                LinkInput::Over(None)
            }
            (_, ServerFrame::Goodbye { .. }) => {
                self.commands.push_back(Command::Disconnect);
                if self.refusals < self.others {
                    self.refusals += 1;
                    self.commands.push_back(Command::PreferOthers);
                    return self.retry_at_once(LinkError::ShuttingDown, now);
                }
                self.down(LinkError::ShuttingDown, Duration::ZERO, now, random)
            }
            (Phase::Greeting { binding, .. }, ServerFrame::Challenge(challenge)) => {
                // What the switchboard asks for is followed, except that a proof is never bound to what this side doesn't have.
                let binding = if challenge.binding == binding.kind() { *binding } else { Binding::None };
                self.handle_challenge(&frame, &challenge, binding, now)
            }
            (Phase::Greeting { .. }, ServerFrame::Welcome(welcome)) => self.handle_welcome(&welcome, now, random),
            (Phase::Up, ServerFrame::Data(data)) => {
                let received = self.ledger.handle_data(data.bytes().len(), now.monotonic);
                self.acknowledge(received);
                LinkInput::Data(data)
            }
            (Phase::Up, ServerFrame::Labels(labels)) => {
                LinkInput::Labels { came: labels.came, gone: labels.went, reset: labels.forget_others, resumed: labels.resumed }
            }
            (Phase::Up, ServerFrame::Bounce(Bounce { number, reason, retry_after_ms })) => match self.ledger.origin(number) {
                Some(origin) => LinkInput::Bounced { origin, reason, retry_after: retry_after(retry_after_ms) },
                None => LinkInput::Nothing,
            },
            (Phase::Up, ServerFrame::Accepted { number }) => match self.ledger.origin(number) {
                Some(origin) => LinkInput::Accepted { origin },
                None => LinkInput::Nothing,
            },
            (Phase::Up, ServerFrame::Registered { mailbox, status }) => LinkInput::Registered { mailbox, status },
            (Phase::Up, ServerFrame::SlotOpened { slot, status, .. }) => LinkInput::SlotOpened { slot, status },
            (Phase::Waiting { .. } | Phase::Connecting { .. }, _) => LinkInput::Nothing,
            (_, _) => self.broken("a frame came at the wrong time", now, random),
        }
    }

    /// Answers with a Hello.
    fn handle_challenge(&mut self, frame: &Bytes, challenge: &Challenge, binding: Binding, now: Now) -> LinkInput {
        if !(challenge.version_min..=challenge.version_max).contains(&VERSION) {
            let text =
                format!("it speaks versions {} to {}, this agent speaks {VERSION}", challenge.version_min, challenge.version_max);
            self.end();
            return LinkInput::Over(Some(LinkError::Protocol(text)));
        }
        let is_member = matches!(self.credentials.role, Role::Member(_));
        let (resume_token, received) = if is_member { self.ledger.claim() } else { (Bytes::new(), 0) };
        let body = HelloBody {
            features: Features(if is_member { Features::RESUME.0 | Features::PARKING.0 } else { 0 }),
            binding: binding.kind(),
            routing: self.credentials.routing,
            link_key: self.credentials.key.public(),
            resume_token,
            received,
            role: self.credentials.role.clone(),
        };
        self.is_renewed = false;
        let hello = sign_hello(frame, &binding, &self.credentials.key, body);
        self.hello = Some(hello.bytes().clone());
        self.pulse.handle_hello(now);
        LinkInput::Nothing
    }

    fn handle_welcome(&mut self, welcome: &Welcome, now: Now, random: &mut Random) -> LinkInput {
        self.pulse.handle_welcome(Duration::from_secs(welcome.ping_seconds.into()), now);
        self.phase = Phase::Up;
        self.attempts = 0;
        self.refusals = 0;
        self.last_up = Some(now.monotonic);
        self.features = welcome.features;
        let half_way = self.pulse.round_trip().map_or(0, |time| time.as_millis() as i64 / 2);
        let signed = |wall: u64| i64::try_from(wall).unwrap_or(i64::MAX);
        self.clock_skew = Some(signed(now.wall).saturating_sub(signed(welcome.wall)).saturating_sub(half_way));
        let Ok(continuity) = self.ledger.handle_welcome(welcome) else {
            self.ledger.forget();
            return self.broken("it says that it received more than was sent", now, random);
        };
        let is_other_boot = welcome.boot.is_none() || welcome.boot != self.boot;
        self.boot = welcome.boot;
        self.ups += u64::from(matches!(self.credentials.role, Role::Member(_)));
        let resumed = match continuity {
            Continuity::New => None,
            Continuity::Resumed { lost } => Some(lost),
        };
        self.resumptions += u64::from(resumed.is_some());
        LinkInput::Up(LinkUp { resumed, is_other_boot })
    }

    fn handle_reject(&mut self, reject: Reject, now: Now, random: &mut Random) -> LinkInput {
        let error = LinkError::Rejected { code: reject.code, text: reject.text };
        if self.refusals < self.others && may_differ_elsewhere(reject.code) {
            self.refusals += 1;
            self.commands.extend([Command::Disconnect, Command::PreferOthers]);
            return self.retry_at_once(error, now);
        }
        self.refusals = 0;
        let was_up = self.last_up.is_some_and(|at| at + MAILBOX_PATIENCE > now.monotonic);
        if is_final(reject.code, was_up, self.is_renewed) {
            self.end();
            LinkInput::Over(Some(error))
        } else {
            self.commands.push_back(Command::Disconnect);
            self.down(error, retry_after(reject.retry_after_ms), now, random)
        }
    }

    fn acknowledge(&mut self, received: Option<u64>) {
        self.notices.extend(received.map(|received| ClientFrame::LinkAck { received }.encode()));
    }

    /// Notes a Data frame that is being written, so that its number leads back to it.
    pub(super) fn track(&mut self, origin: Origin) {
        self.ledger.track(origin);
    }

    pub(super) fn poll_notice(&mut self) -> Option<Bytes> {
        match self.phase {
            Phase::Waiting { .. } | Phase::Connecting { .. } => None,
            Phase::Greeting { .. } => self.hello.take(),
            Phase::Up | Phase::Over => self.notices.pop_front(),
        }
    }

    pub(super) fn poll_command(&mut self) -> Option<Command> {
        self.commands.pop_front()
    }

    pub(super) fn poll_timeout(&self) -> Option<Duration> {
        match self.phase {
            Phase::Waiting { until, .. } | Phase::Connecting { until } | Phase::Greeting { until, .. } => Some(until),
            Phase::Up => {
                let quiet = self.pulse.poll_timeout();
                Some(self.ledger.poll_timeout().map_or(quiet, |ack| ack.min(quiet)))
            }
            Phase::Over => None,
        }
    }

    pub(super) fn handle_timeout(&mut self, now: Now, random: &mut Random) -> LinkInput {
        if self.pulse.has_slept(now) {
            self.doubt(now);
        }
        let received = self.ledger.handle_timeout(now.monotonic);
        self.acknowledge(received);
        match self.phase {
            Phase::Waiting { until, .. } if until <= now.monotonic => {
                self.phase = Phase::Connecting { until: now.monotonic + CONNECT_TIMEOUT };
                self.commands.push_back(Command::Connect { any_certificate: self.any_certificate });
                LinkInput::Nothing
            }
            Phase::Connecting { until } if until <= now.monotonic => self.silent(CONNECT_TIMEOUT, now, random),
            Phase::Greeting { until, .. } if until <= now.monotonic => self.silent(HANDSHAKE_TIMEOUT, now, random),
            Phase::Up => match self.pulse.verdict(now) {
                Verdict::Silent(silence) => self.silent(silence, now, random),
                Verdict::Quiet => {
                    self.probe(now);
                    LinkInput::Nothing
                }
                Verdict::Alive => LinkInput::Nothing,
            },
            _ => LinkInput::Nothing,
        }
    }

    fn probe(&mut self, now: Now) {
        if self.pulse.probe(now) {
            self.commands.push_back(Command::Ping);
        }
    }

    fn silent(&mut self, limit: Duration, now: Now, random: &mut Random) -> LinkInput {
        self.commands.push_back(Command::Disconnect);
        self.down(LinkError::Silent(limit), Duration::ZERO, now, random)
    }

    fn broken(&mut self, what: &str, now: Now, random: &mut Random) -> LinkInput {
        self.commands.push_back(Command::Disconnect);
        self.down(LinkError::Protocol(what.to_owned()), Duration::ZERO, now, random)
    }

    /// Waits with growing, jittered pauses, so that a swarm doesn't come back to a restarted switchboard in one instant.
    fn down(&mut self, error: LinkError, at_least: Duration, now: Now, random: &mut Random) -> LinkInput {
        if matches!(self.phase, Phase::Over | Phase::Waiting { .. }) {
            return LinkInput::Nothing;
        }
        self.reset();
        let ceiling = (BACKOFF_MIN * 2u32.saturating_pow(self.attempts.min(16))).min(BACKOFF_MAX);
        self.attempts = self.attempts.saturating_add(1);
        let share = f64::from(u32::from_be_bytes(random.array())) / f64::from(u32::MAX);
        let retry_in = ceiling.mul_f64(0.5 + share / 2.0).max(at_least);
        let until = now.monotonic + retry_in;
        self.phase = Phase::Waiting { until, not_before: now.monotonic + at_least };
        LinkInput::Down { error, retry_in }
    }

    /// Links again without a pause, where what went wrong says nothing about the next attempt.
    fn retry_at_once(&mut self, error: LinkError, now: Now) -> LinkInput {
        self.reset();
        self.attempts = 0;
        self.phase = Phase::Waiting { until: now.monotonic, not_before: now.monotonic };
        LinkInput::Down { error, retry_in: Duration::ZERO }
    }

    fn end(&mut self) {
        self.reset();
        self.ledger.forget();
        self.commands.push_back(Command::Disconnect);
        self.phase = Phase::Over;
    }

    fn reset(&mut self) {
        self.hello = None;
        self.pulse.reset();
        self.notices.clear();
        self.ledger.handle_down();
    }
}

/// The address means the machine on which it is used.
fn is_loopback(address: &str) -> bool {
    let host = address.split_once("://").map_or(address, |(_, host)| host);
    ["127.", "localhost", "[::1]"].iter().any(|local| host.starts_with(local))
}
