//! Shelves: what waits for agents that aren't linked (PROTOCOL.md section 3.6). A table that knows no links: which labels are known, and
//! which envelopes wait for each.
//!
//! ```text
//!                  leave                     park                arrive
//!   linked ───────────────▶ known, empty ──────────▶ known, n ──────────▶ linked, n on their way
//!      ▲                         │ a day                  │ expired             │ put_back: it left again
//!      └─── release, n times ────┼────────────────────────┼─────────────────────┘
//!                                ▼                        ▼
//!                            forgotten                 dropped
//! ```
//!
//! A *shelf* is where envelopes wait for a member; a *mailbox* (`swarm.rs`) is where strangers knock, and nothing waits in one.
//!
//! - An envelope that was taken off a shelf counts against the bounds until its receiver has acknowledged it, so that it has its place
//!   if it must come back, and what comes back goes before what came meanwhile.
//! - A label is known once a link of it is over, for a day. When too many are known in a swarm or in all, the one that left first and has
//!   nothing waiting is forgotten; if there is none, the newcomer isn't remembered.
//! - What has expired is dropped, at most a second late. Its sender knows the time itself.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::time::Duration;

use bytes::Bytes;

use super::Config;
use super::governor::Tally;
use super::log::Entry;
use super::slots::Holder;
use crate::proto::{Label, Lane, Now, OuterHeader, OuterKind, RoutingKey, limits};

/// How far a frame may be past its expiry, which is on its sender's clock and that clock may be wrong. Chosen.
pub(super) const EXPIRY_TOLERANCE: Duration = Duration::from_secs(60);

/// How often a shelf is looked over while envelopes on it expire. Chosen: a shelf of a thousand costs a few microseconds.
const LOOK_INTERVAL: Duration = Duration::from_secs(1);

/// Lanes in which an envelope may wait: all but control.
const LANES: usize = Lane::COUNT - 1;

/// No more envelopes fit, for a label, in its swarm or in all.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Full;

/// An envelope on a shelf.
#[derive(Debug)]
pub(super) struct Parked {
    pub(super) frame: Bytes,
    pub(super) lane: Lane,
    /// Unix milliseconds, as its sender says.
    pub(super) expiry: u64,
    /// When it is dropped, on the monotonic clock.
    due: Duration,
}

impl Parked {
    /// Takes a frame that [`may_wait`].
    pub(super) fn new(frame: Bytes, lane: Lane, expiry: u64, now: Now) -> Self {
        let left = Duration::from_millis(expiry.saturating_sub(now.wall)).min(limits::PARKING_TIME);
        Self { frame, lane, expiry, due: now.monotonic + left + EXPIRY_TOLERANCE }
    }
}

/// Whether a frame with this header may wait for an absent receiver, if its sender may let frames wait.
pub(super) fn may_wait(header: &OuterHeader, now: Now) -> bool {
    let latest = now.wall.saturating_add(millis(limits::PARKING_TIME + EXPIRY_TOLERANCE));
    let in_time = header.expiry != 0 && header.expiry <= latest && !is_expired(header.expiry, now);
    header.parkable && header.kind == OuterKind::Envelope && header.lane != Lane::Control && in_time
}

/// Whether a frame is past its expiry.
pub(super) fn is_expired(expiry: u64, now: Now) -> bool {
    expiry != 0 && expiry.saturating_add(millis(EXPIRY_TOLERANCE)) < now.wall
}

fn millis(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}

/// All shelves of a switchboard.
#[derive(Debug)]
pub(super) struct Parking {
    bounds: Bounds,
    shelves: BTreeMap<Holder, Shelf>,
    accounts: BTreeMap<RoutingKey, Account>,
    /// One entry for each shelf that has something to wait for, the same as in the shelf.
    due: BTreeSet<(Duration, Holder)>,
    /// One entry for each shelf of an absent label on which nothing is: who can be forgotten, the first to go in front.
    idle: BTreeSet<(Duration, Holder)>,
    /// What is on the shelves.
    waiting: Tally,
    /// Bytes on the shelves and on their way from them.
    held_bytes: usize,
}

#[derive(Debug)]
struct Bounds {
    envelopes: usize,
    bytes: usize,
    bytes_per_swarm: usize,
    bytes_in_all: usize,
    known_for: Duration,
    known_per_swarm: usize,
    known: usize,
}

/// What one swarm has.
#[derive(Debug, Default)]
struct Account {
    held_bytes: usize,
    shelves: usize,
}

/// What waits for one label. There is one for each label that is known, and for one that is linked while envelopes are on their way
/// to it.
#[derive(Debug, Default)]
struct Shelf {
    lanes: [VecDeque<Parked>; LANES],
    /// Envelopes on it and on their way from it.
    held: usize,
    held_bytes: usize,
    /// When the label left; none while it is linked.
    left: Option<Duration>,
    due: Option<Duration>,
}

impl Parking {
    pub(super) fn new(config: &Config) -> Self {
        let bounds = Bounds {
            envelopes: config.parked_per_agent,
            bytes: config.parked_bytes_per_agent,
            bytes_per_swarm: config.parked_bytes_per_swarm,
            bytes_in_all: config.parked_bytes,
            known_for: config.known_for,
            known_per_swarm: config.known_per_swarm,
            known: config.known,
        };
        let (shelves, accounts, due, idle) = Default::default();
        Self { bounds, shelves, accounts, due, idle, waiting: Tally::default(), held_bytes: 0 }
    }

    /// Takes note that a label has left: from now on something may wait for it.
    pub(super) fn leave(&mut self, holder: Holder, now: Duration) {
        if !self.shelves.contains_key(&holder) && !self.make_room_for(&holder.routing) {
            return;
        }
        if let Some(left) = self.shelf(holder).left.replace(now) {
            self.idle.remove(&(left, holder));
        }
        self.tidy(holder, Duration::ZERO);
    }

    /// Whether something may begin to wait for a label: it has left, and not too long ago.
    pub(super) fn knows(&self, holder: &Holder, now: Duration) -> bool {
        let left = self.shelves.get(holder).and_then(|shelf| shelf.left);
        left.is_some_and(|left| now < left + self.bounds.known_for)
    }

    /// Puts an envelope on the shelf of a label that is known, behind those of its lane.
    pub(super) fn park(&mut self, holder: Holder, parked: Parked) -> Result<(), Full> {
        self.count_under_way(holder, parked.frame.len())?;
        self.waiting.add(parked.frame.len());
        let due = parked.due;
        let shelf = self.shelf(holder);
        shelf.lanes[parked.lane.index() - 1].push_back(parked);
        if let Some(left) = shelf.left {
            self.idle.remove(&(left, holder));
        }
        self.look_at(holder, due);
        Ok(())
    }

    /// Counts an envelope that is under way to a label as one from its shelf, so that it can be [`put_back`](Self::put_back) there.
    pub(super) fn count_under_way(&mut self, holder: Holder, len: usize) -> Result<(), Full> {
        let (held, held_bytes) = self.shelves.get(&holder).map_or((0, 0), |shelf| (shelf.held, shelf.held_bytes));
        let of_agent = held < self.bounds.envelopes && held_bytes + len <= self.bounds.bytes;
        let of_swarm = self.accounts.get(&holder.routing).map_or(0, |account| account.held_bytes) + len;
        let has_room = (of_agent || cfg!(feature = "planted_parking_unbounded"))
            && of_swarm <= self.bounds.bytes_per_swarm
            && self.held_bytes + len <= self.bounds.bytes_in_all;
        if !has_room {
            return Err(Full);
        }
        self.held_bytes += len;
        let shelf = self.shelf(holder);
        shelf.held += 1;
        shelf.held_bytes += len;
        if let Some(account) = self.accounts.get_mut(&holder.routing) {
            account.held_bytes += len;
        }
        Ok(())
    }

    /// Takes counted envelopes back to where they were, in their order: before all others.
    pub(super) fn put_back(&mut self, holder: Holder, envelopes: Vec<Parked>) {
        if envelopes.is_empty() {
            return;
        }
        let Some(shelf) = self.shelves.get_mut(&holder) else { return };
        for parked in envelopes.into_iter().rev() {
            self.waiting.add(parked.frame.len());
            shelf.lanes[parked.lane.index() - 1].push_front(parked);
        }
        self.tidy(holder, Duration::ZERO);
    }

    /// Takes note that a label is linked.
    pub(super) fn arrive(&mut self, holder: Holder) {
        let Some(shelf) = self.shelves.get_mut(&holder) else { return };
        if let Some(left) = shelf.left.take() {
            self.idle.remove(&(left, holder));
        }
        self.tidy(holder, Duration::ZERO);
    }

    /// Returns the next envelope for a label that is linked: lane by lane, each in its order. It counts until it is
    /// [`released`](Self::release) or put back.
    pub(super) fn take(&mut self, holder: Holder) -> Option<Parked> {
        let parked = self.shelves.get_mut(&holder)?.lanes.iter_mut().find_map(VecDeque::pop_front)?;
        self.waiting.sub(parked.frame.len());
        Some(parked)
    }

    /// Takes note that an envelope that was under way has arrived, or needs to no more.
    pub(super) fn release(&mut self, holder: Holder, len: usize) {
        self.count_out(holder, Tally { frames: 1, bytes: len });
        if self.shelves.get(&holder).is_some_and(|shelf| shelf.held == 0) {
            self.tidy(holder, Duration::ZERO);
        }
    }

    /// Does the same if what was under way was from a shelf.
    pub(super) fn release_if_parked(&mut self, holder: Holder, entry: &Entry) {
        if let Entry::Data(waiting) = entry
            && waiting.from.is_none()
        {
            self.release(holder, waiting.frame.len());
        }
    }

    /// Drops what has expired, and forgets who has been away for too long. Returns how many envelopes that were.
    pub(super) fn expire(&mut self, now: Duration) -> u64 {
        let mut expired = 0;
        while let Some(&(due, holder)) = self.due.first()
            && due <= now
        {
            let Some(shelf) = self.shelves.get_mut(&holder) else { break };
            let mut gone = Tally::default();
            for lane in &mut shelf.lanes {
                lane.retain(|parked| {
                    let stays = parked.due > now;
                    if !stays {
                        gone.add(parked.frame.len());
                        self.waiting.sub(parked.frame.len());
                    }
                    stays
                });
            }
            let is_over = shelf.held == gone.frames && shelf.left.is_some_and(|left| left + self.bounds.known_for <= now);
            self.count_out(holder, gone);
            expired += gone.frames as u64;
            if is_over { self.remove(holder) } else { self.tidy(holder, now + LOOK_INTERVAL) }
        }
        expired
    }

    /// Returns when [`expire`](Self::expire) has something to do.
    pub(super) fn next_due(&self) -> Option<Duration> {
        self.due.first().map(|(due, _)| *due)
    }

    /// What is on the shelves.
    pub(super) fn waiting(&self) -> Tally {
        self.waiting
    }

    /// How many shelves there are.
    pub(super) fn known(&self) -> usize {
        self.shelves.len()
    }

    pub(super) fn clear(&mut self) {
        self.shelves.clear();
        self.accounts.clear();
        self.due.clear();
        self.idle.clear();
        (self.waiting, self.held_bytes) = (Tally::default(), 0);
    }

    /// Bytes on the shelves and on their way from them.
    #[cfg(test)]
    pub(super) fn held_bytes(&self) -> usize {
        self.held_bytes
    }

    /// Makes room for one more label; false if there is none.
    fn make_room_for(&mut self, routing: &RoutingKey) -> bool {
        if self.accounts.get(routing).is_some_and(|account| account.shelves >= self.bounds.known_per_swarm) {
            let first = Holder { routing: *routing, label: Label::ZERO };
            let last = Holder { routing: *routing, label: Label::from_bytes([0xFF; Label::LENGTH]) };
            let idle = self.shelves.range(first..=last).filter(|(_, shelf)| shelf.held == 0);
            match idle.min_by_key(|(_, shelf)| shelf.left).map(|(holder, _)| *holder) {
                Some(oldest) => self.remove(oldest),
                None => return false,
            }
        }
        if self.shelves.len() >= self.bounds.known {
            match self.idle.first() {
                Some(&(_, oldest)) => self.remove(oldest),
                None => return false,
            }
        }
        true
    }

    fn shelf(&mut self, holder: Holder) -> &mut Shelf {
        self.shelves.entry(holder).or_insert_with(|| {
            self.accounts.entry(holder.routing).or_default().shelves += 1;
            Shelf::default()
        })
    }

    fn count_out(&mut self, holder: Holder, gone: Tally) {
        let Some(shelf) = self.shelves.get_mut(&holder) else { return };
        shelf.held -= gone.frames;
        shelf.held_bytes -= gone.bytes;
        self.held_bytes -= gone.bytes;
        if let Some(account) = self.accounts.get_mut(&holder.routing) {
            account.held_bytes -= gone.bytes;
        }
    }

    /// Puts a shelf in its place after it has changed, and removes one that has no more use. It isn't looked over before `earliest`.
    fn tidy(&mut self, holder: Holder, earliest: Duration) {
        let Some(shelf) = self.shelves.get_mut(&holder) else { return };
        let due = match (shelf.lanes.iter().flatten().map(|parked| parked.due).min(), shelf.left) {
            (Some(due), _) => Some(due.max(earliest)),
            (None, Some(left)) if shelf.held == 0 => Some(left + self.bounds.known_for),
            (None, Some(_)) => None,
            (None, None) if shelf.held == 0 => return self.remove(holder),
            (None, None) => None,
        };
        if let Some(left) = shelf.left {
            if shelf.held == 0 {
                self.idle.insert((left, holder))
            } else {
                self.idle.remove(&(left, holder))
            };
        }
        if let Some(old) = std::mem::replace(&mut shelf.due, due) {
            self.due.remove(&(old, holder));
        }
        self.due.extend(due.map(|due| (due, holder)));
    }

    /// Has a shelf looked over at a time, if that isn't done earlier.
    fn look_at(&mut self, holder: Holder, due: Duration) {
        let shelf = self.shelf(holder);
        if shelf.due.is_some_and(|old| old <= due) {
            return;
        }
        if let Some(old) = shelf.due.replace(due) {
            self.due.remove(&(old, holder));
        }
        self.due.insert((due, holder));
    }

    /// Removes a shelf that holds nothing.
    fn remove(&mut self, holder: Holder) {
        let Some(shelf) = self.shelves.remove(&holder) else { return };
        if let Some(due) = shelf.due {
            self.due.remove(&(due, holder));
        }
        if let Some(left) = shelf.left {
            self.idle.remove(&(left, holder));
        }
        if let Some(account) = self.accounts.get_mut(&holder.routing) {
            account.shelves -= 1;
            if account.shelves == 0 {
                self.accounts.remove(&holder.routing);
            }
        }
    }
}
