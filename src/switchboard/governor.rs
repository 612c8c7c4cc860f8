//! The memory of a switchboard, in one account: what waits in queues, what is kept for a resume, what is parked, and a constant for each
//! link and each label that is remembered. What is small and bounded anyhow (notices, slots, mailboxes) isn't in it.
//!
//! As it fills, what can best be done without goes first:
//!
//! - From 70 % on bulk is shed: a new bulk frame bounces as full. Written frames are no longer kept for a resume.
//! - From 85 % on nothing more may wait for absent agents.
//! - From 95 % on new links are refused.
//! - When it is full, frames of all lanes bounce as full.
//!
//! A link may always have [`Config::small_backlog`] waiting, in any lane, so that links that read don't suffer for those that don't. So
//! what is in use can exceed the account by that much for each link, and by nothing else.

use super::{Config, Switchboard};
use crate::proto::Lane;

/// Bytes that a frame costs beside its own. Chosen: its place in a queue and the allocator's, rounded up.
const FRAME_COST: usize = 128;

/// Bytes that a link costs while it is idle. Measured: 12 KiB with TLS (`make bench-links`).
const LINK_COST: usize = 12 * 1024;

/// Bytes that a label costs that is remembered: an absent agent, or a link that can be resumed. Reckoned: at most that.
const LABEL_COST: usize = 1024;

/// How many frames there are in one place, and how many bytes.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Tally {
    pub(super) frames: usize,
    pub(super) bytes: usize,
}

impl Tally {
    pub(super) fn add(&mut self, bytes: usize) {
        self.frames += 1;
        self.bytes += bytes;
    }

    pub(super) fn sub(&mut self, bytes: usize) {
        self.frames -= 1;
        self.bytes -= bytes;
    }

    fn cost(&self) -> usize {
        self.bytes + self.frames * FRAME_COST
    }
}

/// What is in use, and from where on what is refused.
#[derive(Debug)]
pub(super) struct Governor {
    full: usize,
    bulk: usize,
    parking: usize,
    links: usize,
    /// What waits in the lanes of all links, lost ones included.
    pub(super) queued: Tally,
    /// What was written and is kept for a resume.
    pub(super) retained: Tally,
}

impl Governor {
    pub(super) fn new(config: &Config) -> Self {
        let percent = |percent: u8| (config.memory as u128 * u128::from(percent.min(100)) / 100) as usize;
        Self {
            full: config.memory,
            bulk: percent(config.bulk_percent),
            parking: percent(config.parking_percent),
            links: percent(config.link_percent),
            queued: Tally::default(),
            retained: Tally::default(),
        }
    }
}

impl Switchboard {
    /// Bytes in use. A few additions: it is asked for each frame.
    pub(super) fn memory_in_use(&self) -> usize {
        let frames = self.memory.queued.cost() + self.memory.retained.cost() + self.parking.waiting().cost();
        frames + self.links.len() * LINK_COST + (self.lives.dormant() + self.parking.known()) * LABEL_COST
    }

    /// Whether a frame may be queued for a link that has more waiting than any link may.
    pub(super) fn has_room_for(&self, lane: Lane, len: usize) -> bool {
        let most = if lane == Lane::Bulk { self.memory.bulk } else { self.memory.full };
        self.memory_in_use() + len + FRAME_COST <= most
    }

    /// Whether a frame that was written may be kept for a resume.
    pub(super) fn has_room_to_retain(&self) -> bool {
        self.memory_in_use() <= self.memory.bulk
    }

    /// Whether a frame may begin to wait for an absent agent.
    pub(super) fn has_room_to_park(&self, len: usize) -> bool {
        self.memory_in_use() + len + FRAME_COST <= self.memory.parking
    }

    /// Whether the links that there are fit, a new one among them.
    pub(super) fn has_room_for_links(&self) -> bool {
        self.memory_in_use() <= self.memory.links
    }
}
