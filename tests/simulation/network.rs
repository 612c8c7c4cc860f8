//! The way between an agent and the switchboard: delay, bandwidth, what a socket holds, and what a relay may do to frames.

use std::collections::VecDeque;
use std::time::Duration;

use a2alinker::proto::DataFrame;
use a2alinker::switchboard::LinkId;
use bytes::Bytes;

use super::dice::Dice;
use super::history::Who;

/// What sockets hold between two processes before the writer has to wait, in bytes.
const SOCKET: usize = 256 << 10;

/// How an agent reaches the switchboard.
#[derive(Clone, Copy, Debug)]
pub struct Line {
    pub delay: Duration,
    pub jitter: Duration,
    /// Bytes in a second, each way.
    pub bandwidth: u64,
}

impl Line {
    /// A machine in the next room.
    pub const NEAR: Self = Self { delay: Duration::from_millis(1), jitter: Duration::ZERO, bandwidth: 100 << 20 };

    pub fn random(dice: &mut Dice) -> Self {
        let bandwidth = *dice.pick(&[100 << 20, 10 << 20, 1 << 20, 300 << 10]).unwrap_or(&(1 << 20));
        Self { delay: dice.millis(1..80), jitter: dice.millis(0..30), bandwidth }
    }
}

/// One direction of a connection: ordered and without loss while it lasts, as TCP is.
#[derive(Debug, Default)]
pub struct Pipe {
    free_at: Duration,
    last_arrival: Duration,
    /// Written and not read yet.
    held: usize,
    /// Arrived while the reader didn't read.
    pub unread: VecDeque<Bytes>,
}

impl Pipe {
    pub fn has_room(&self) -> bool {
        self.held < SOCKET
    }

    /// Takes a frame. Returns when it arrives.
    pub fn write(&mut self, len: usize, line: Line, now: Duration, dice: &mut Dice) -> Duration {
        self.held += len;
        self.free_at = self.free_at.max(now) + Duration::from_nanos(len as u64 * 1_000_000_000 / line.bandwidth);
        let jitter = dice.millis(0..line.jitter.as_millis() as u64 + 1);
        self.last_arrival = self.last_arrival.max(self.free_at + line.delay + jitter);
        self.last_arrival
    }

    /// The reader took a frame.
    pub fn read(&mut self, len: usize) {
        self.held -= len;
    }

    /// When everything that was written will have arrived.
    pub fn empty_at(&self) -> Duration {
        self.last_arrival
    }
}

/// A connection between an agent and the switchboard.
#[derive(Debug)]
pub struct Wire {
    pub who: Who,
    pub link: LinkId,
    pub up: Pipe,
    pub down: Pipe,
    pub open_at_agent: bool,
    pub open_at_switchboard: bool,
    /// Nothing passes any more, and neither side needs to know.
    pub dead: bool,
    /// When the switchboard last heard anything.
    pub heard: Duration,
    /// Data frames that the agent wrote.
    pub frames: u64,
    pub tally: Tally,
}

/// How the Data frames that an agent counts compare with those that its switchboard counts, where something between them loses frames and
/// adds others. As switchboard and attacker are one, it is told what it would know.
#[derive(Debug, Default)]
pub struct Tally {
    /// Both counts when the link began: another one than 0 if it was resumed.
    base: u64,
    /// What the agent claimed in its Hello.
    claimed: u64,
    /// Frames that the switchboard wrote.
    written: u64,
    /// For each that the agent gets: how many the switchboard had written by then.
    given: Vec<u64>,
}

impl Tally {
    pub fn claim(&mut self, received: u64) {
        self.claimed = received;
    }

    pub fn begin(&mut self, is_resumed: bool) {
        self.base = if is_resumed { self.claimed } else { 0 };
    }

    pub fn written(&mut self) {
        self.written += 1;
    }

    pub fn given(&mut self) {
        self.given.push(self.written);
    }

    /// How many of the switchboard's frames an agent means that says it has received so many.
    pub fn translate(&self, received: u64) -> u64 {
        match received.checked_sub(self.base).and_then(|count| usize::try_from(count).ok()) {
            Some(count) if count > 0 => self.base + self.given.get(count - 1).copied().unwrap_or(self.written),
            _ => received.min(self.base),
        }
    }
}

/// What becomes of a Data frame on its way from the switchboard to an agent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fate {
    Pass,
    Lose,
    /// It comes twice, the second time so much later.
    Twice(Duration),
    /// It comes so much later, after others that were sent after it.
    Late(Duration),
    /// One bit of this byte of its sealed part is another.
    Changed(usize),
}

/// A Data frame on its way.
pub struct Crossing<'a> {
    pub from: Option<Who>,
    pub to: Who,
    pub frame: &'a DataFrame,
}

/// What a relay does, in so many of a thousand frames.
#[derive(Clone, Copy, Debug, Default)]
pub struct Relay {
    pub loses: u64,
    pub repeats: u64,
    pub delays: u64,
    /// An old frame comes along with this one.
    pub replays: u64,
    /// It makes up a notice: that a frame bounced, that a session is unknown, that somebody came or went.
    pub lies: u64,
}

impl Relay {
    pub const HONEST: Self = Self { loses: 0, repeats: 0, delays: 0, replays: 0, lies: 0 };

    pub fn random(dice: &mut Dice) -> Self {
        let mut often = |most: u64| if dice.chance(500) { 0 } else { dice.within(1..most) };
        Self { loses: often(60), repeats: often(150), delays: often(150), replays: often(100), lies: often(60) }
    }

    pub fn decide(&self, dice: &mut Dice) -> Fate {
        if dice.chance(self.loses) {
            Fate::Lose
        } else if dice.chance(self.repeats) {
            Fate::Twice(dice.millis(0..3_000))
        } else if dice.chance(self.delays) {
            Fate::Late(dice.millis(0..3_000))
        } else {
            Fate::Pass
        }
    }
}
