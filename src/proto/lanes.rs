//! The priority queue on both ends of a link (PROTOCOL.md section 4): a pure data structure.
//!
//! ```text
//! notices ───────────────────────────────────────────────▶ first, always
//! control ──┐ in turns ──▶ strictly before the rest, but at most half
//! urgent  ──┘              of the bytes of 100 ms while the rest waits
//! high    ──┐
//! normal  ──┼ deficit round robin 8:4:2, 16 KiB
//! bulk    ──┘
//! ```
//!
//! Within a lane it is first in, first out, and nothing is ever moved to another lane. The queue is work-conserving: if
//! anything waits, [`LaneQueue::pop`] gives something. At a bound it refuses the newcomer and keeps what it has.
//!
//! The half rule is kept by a balance: what control and urgent send while the rest waits is taken from it, what the rest
//! sends is added, and below zero the rest goes first. What the rest can save up for an urgent burst is the size of a frame;
//! what it is owed is forgiven after a window, so that a slow link doesn't keep urgent waiting for long.

use std::collections::VecDeque;
use std::time::Duration;

use super::{Error, limits};

/// A priority class. Each has keys, counters and queues of its own.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[repr(u8)]
pub enum Lane {
    /// Receipts, credits, cancels: small frames that other work waits for.
    Control = 0,
    Urgent = 1,
    High = 2,
    Normal = 3,
    Bulk = 4,
}

impl Lane {
    /// How many lanes there are.
    pub const COUNT: usize = 5;
    /// All lanes, in the order of their numbers.
    pub const ALL: [Self; Self::COUNT] = [Self::Control, Self::Urgent, Self::High, Self::Normal, Self::Bulk];

    /// Returns the number of the lane, for tables with a place for each.
    pub const fn index(self) -> usize {
        self as usize
    }
}

impl TryFrom<u8> for Lane {
    type Error = Error;

    fn try_from(number: u8) -> Result<Self, Error> {
        Self::ALL.get(usize::from(number)).copied().ok_or(Error::Malformed { what: "lane" })
    }
}

/// What one lane of a queue may hold. The notices have the same bounds, and are counted apart.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct LaneLimits {
    pub frames_per_lane: usize,
    pub bytes_per_lane: usize,
}

impl Default for LaneLimits {
    fn default() -> Self {
        Self { frames_per_lane: limits::LANE_FRAMES, bytes_per_lane: limits::LANE_BYTES }
    }
}

/// The lanes of one link, in one direction.
///
/// Items carry a length of the caller's choice: the bytes that they take on the wire.
#[derive(Debug)]
pub struct LaneQueue<T> {
    limits: LaneLimits,
    notices: Fifo<T>,
    lanes: [Fifo<T>; Lane::COUNT],
    half_rule: HalfRule,
    urgent_turn: bool,
    round_robin: RoundRobin,
}

impl<T> LaneQueue<T> {
    /// Makes an empty queue, which holds no memory.
    pub fn new(limits: LaneLimits) -> Self {
        Self {
            limits,
            notices: Fifo::default(),
            lanes: Default::default(),
            half_rule: HalfRule::default(),
            urgent_turn: false,
            round_robin: RoundRobin::default(),
        }
    }

    /// Adds an item of `len` bytes to the end of a lane.
    ///
    /// # Errors
    /// Gives the item back if the lane is full.
    pub fn push(&mut self, lane: Lane, len: usize, item: T) -> Result<(), T> {
        let lane = if cfg!(feature = "planted_lanes_fifo") { Lane::Normal } else { lane };
        self.lanes[lane.index()].push(&self.limits, len, item)
    }

    /// Adds a notice of `len` bytes, which goes before everything but earlier notices.
    ///
    /// # Errors
    /// Gives the item back if there are too many.
    pub fn push_notice(&mut self, len: usize, item: T) -> Result<(), T> {
        self.notices.push(&self.limits, len, item)
    }

    /// Takes the item whose turn it is at `now`, on the monotonic clock; `None` only if the queue is empty.
    pub fn pop(&mut self, now: Duration) -> Option<T> {
        if let Some((_, notice)) = self.notices.pop() {
            return Some(notice);
        }
        let rest_waits = WEIGHTED.iter().any(|lane| !self.lanes[lane.index()].is_empty());
        self.half_rule.advance(now);
        if !rest_waits {
            return self.pop_urgent().map(|(_, item)| item);
        }
        if self.half_rule.lets_urgent_go()
            && let Some((len, item)) = self.pop_urgent()
        {
            self.half_rule.urgent_sent(len);
            return Some(item);
        }
        let (len, item) = self.round_robin.pop(&mut self.lanes)?;
        self.half_rule.rest_sent(len);
        Some(item)
    }

    /// Returns whether nothing waits.
    pub fn is_empty(&self) -> bool {
        self.notices.is_empty() && self.lanes.iter().all(Fifo::is_empty)
    }

    /// Returns how many items wait.
    pub fn len(&self) -> usize {
        self.notices.items.len() + self.lanes.iter().map(|lane| lane.items.len()).sum::<usize>()
    }

    /// Returns how many bytes wait, notices included.
    pub fn bytes(&self) -> usize {
        self.notices.bytes + self.lanes.iter().map(|lane| lane.bytes).sum::<usize>()
    }

    /// Returns how many bytes wait in a lane.
    pub fn bytes_in(&self, lane: Lane) -> usize {
        self.lanes[lane.index()].bytes
    }

    /// Empties the queue: notices first, then lane by lane, each in its order.
    pub fn drain(&mut self) -> impl Iterator<Item = T> {
        let notices = std::mem::take(&mut self.notices);
        let lanes = std::mem::take(&mut self.lanes);
        notices.items.into_iter().chain(lanes.into_iter().flat_map(|lane| lane.items)).map(|(_, item)| item)
    }

    /// Takes from control and urgent in turns, so that a flood in one of them doesn't starve the other.
    fn pop_urgent(&mut self) -> Option<(usize, T)> {
        let order = if self.urgent_turn { [Lane::Urgent, Lane::Control] } else { [Lane::Control, Lane::Urgent] };
        let lane = order.into_iter().find(|lane| !self.lanes[lane.index()].is_empty())?;
        self.urgent_turn = lane == Lane::Control;
        self.lanes[lane.index()].pop()
    }
}

/// One lane.
#[derive(Debug)]
struct Fifo<T> {
    items: VecDeque<(usize, T)>,
    /// The sum of the lengths in `items`.
    bytes: usize,
}

impl<T> Default for Fifo<T> {
    fn default() -> Self {
        Self { items: VecDeque::new(), bytes: 0 }
    }
}

impl<T> Fifo<T> {
    /// Room that an empty lane may keep, in items. Chosen; more would make each link that was once busy costly for good.
    const ROOM_KEPT: usize = 16;

    fn push(&mut self, limits: &LaneLimits, len: usize, item: T) -> Result<(), T> {
        let fits = self.items.len() < limits.frames_per_lane && len <= limits.bytes_per_lane.saturating_sub(self.bytes);
        if !fits {
            return Err(item);
        }
        self.items.push_back((len, item));
        self.bytes += len;
        Ok(())
    }

    fn pop(&mut self) -> Option<(usize, T)> {
        let (len, item) = self.items.pop_front()?;
        self.bytes -= len;
        if self.items.is_empty() && self.items.capacity() > Self::ROOM_KEPT {
            self.items = VecDeque::new();
        }
        Some((len, item))
    }

    fn first_len(&self) -> Option<usize> {
        self.items.front().map(|(len, _)| *len)
    }

    fn is_empty(&self) -> bool {
        self.items.is_empty()
    }
}

/// Keeps control and urgent to half of the bytes while the rest waits.
#[derive(Debug, Default)]
struct HalfRule {
    window_start: Duration,
    /// Bytes that the rest is ahead, at most [`HalfRule::SAVED_UP`]; negative: what it is owed.
    balance: i64,
}

impl HalfRule {
    /// A frame: with less, urgent would get less than half beside large frames; with more, a burst could fill a window.
    const SAVED_UP: i64 = limits::FRAME as i64;

    fn advance(&mut self, now: Duration) {
        if now.saturating_sub(self.window_start) >= limits::URGENT_WINDOW {
            self.window_start = now;
            self.balance = self.balance.max(0);
        }
    }

    fn lets_urgent_go(&self) -> bool {
        self.balance >= 0
    }

    fn urgent_sent(&mut self, len: usize) {
        self.balance = self.balance.saturating_sub_unsigned(len as u64);
    }

    fn rest_sent(&mut self, len: usize) {
        self.balance = self.balance.saturating_add_unsigned(len as u64).min(Self::SAVED_UP);
    }
}

/// The lanes that share by weight, in the order of [`limits::LANE_WEIGHTS`].
const WEIGHTED: [Lane; 3] = [Lane::High, Lane::Normal, Lane::Bulk];

/// Deficit round robin (Shreedhar and Varghese 1995) over [`WEIGHTED`].
#[derive(Debug, Default)]
struct RoundRobin {
    /// Which of the lanes has its turn.
    turn: usize,
    /// Whether this turn's quantum has been added.
    granted: bool,
    /// Bytes that each lane may still send. An empty lane saves nothing up.
    deficits: [usize; 3],
}

impl RoundRobin {
    fn pop<T>(&mut self, lanes: &mut [Fifo<T>; Lane::COUNT]) -> Option<(usize, T)> {
        if WEIGHTED.iter().all(|lane| lanes[lane.index()].is_empty()) {
            return None;
        }
        loop {
            let lane = &mut lanes[WEIGHTED[self.turn].index()];
            let deficit = &mut self.deficits[self.turn];
            if !self.granted {
                *deficit = deficit.saturating_add(limits::LANE_WEIGHTS[self.turn] * limits::LANE_QUANTUM);
                self.granted = true;
            }
            match lane.first_len() {
                Some(len) if len <= *deficit => {
                    *deficit -= len;
                    return lane.pop();
                }
                Some(_) => {}
                None => *deficit = 0,
            }
            self.turn = (self.turn + 1) % WEIGHTED.len();
            self.granted = false;
        }
    }
}
