//! How much a sender may have under way: totals of messages and bytes, granted end to end by the receiver.

use crate::agent::limits::{CREDIT_WINDOW_BYTES, CREDIT_WINDOW_MESSAGES};
use crate::agent::message::CreditClass;
use crate::proto::Lane;

/// Before the first grant a sender may have this many messages under way, in each lane and class. Chosen: it fills one frame.
pub const INITIAL_MESSAGES: u64 = 32;
/// Before the first grant a sender may have this many bytes under way, in each lane and class.
pub const INITIAL_BYTES: u64 = 65_536;

/// How many classes of credit there are: plain messages, requests, everything else, parts of large bodies.
pub const CLASSES: usize = 4;

/// The classes that opener and answer grant something in. Parts begin with the initial credit: their first grant follows the first of them.
pub const GRANTED_CLASSES: usize = 3;

/// What a message costs its sender, to be given back when it no longer takes the receiver's memory.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Cost {
    pub class: CreditClass,
    pub bytes: u64,
    /// Its number was given without credit, and neither side counts it there.
    pub free: bool,
}

/// Unread messages that were sent without credit, of one peer in one lane: as many as two windows in each class.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Room([(u64, u64); CLASSES]);

impl Room {
    pub fn admits(&self, cost: Cost) -> bool {
        let (messages, bytes) = self.0[cost.class.index()];
        messages < 2 * u64::from(CREDIT_WINDOW_MESSAGES) && bytes + cost.bytes <= 2 * u64::from(CREDIT_WINDOW_BYTES)
    }

    pub fn take(&mut self, cost: Cost) {
        let (messages, bytes) = &mut self.0[cost.class.index()];
        *messages += 1;
        *bytes += cost.bytes;
    }

    pub fn give_back(&mut self, cost: Cost) {
        let (messages, bytes) = &mut self.0[cost.class.index()];
        *messages = messages.saturating_sub(1);
        *bytes = bytes.saturating_sub(cost.bytes);
    }
}

/// The first grants as opener and answer carry them: lanes 1 to 4, classes 0 to 2, each `u32 messages, u32 bytes`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Grants([[(u32, u32); GRANTED_CLASSES]; 4]);

impl Grants {
    /// What every agent grants a run that it meets.
    pub fn first() -> Self {
        Self([[(CREDIT_WINDOW_MESSAGES, CREDIT_WINDOW_BYTES); GRANTED_CLASSES]; 4])
    }

    /// Messages and bytes for a lane and class; nothing for the control lane, which needs none.
    pub fn of(&self, lane: Lane, class: usize) -> (u64, u64) {
        match lane.index().checked_sub(1) {
            Some(row) => {
                let (messages, bytes) = self.0[row][class];
                (messages.into(), bytes.into())
            }
            None => (0, 0),
        }
    }

    /// The 96 bytes of PROTOCOL.md section 6.2.
    pub fn encode(&self) -> [u8; 96] {
        let mut bytes = [0; 96];
        for (slot, (messages, volume)) in bytes.chunks_exact_mut(8).zip(self.0.iter().flatten()) {
            slot[..4].copy_from_slice(&messages.to_be_bytes());
            slot[4..].copy_from_slice(&volume.to_be_bytes());
        }
        bytes
    }

    /// Reads what `encode` wrote; every value is a possible one.
    pub fn decode(bytes: &[u8; 96]) -> Self {
        let mut grants = [[(0, 0); GRANTED_CLASSES]; 4];
        for (slot, grant) in bytes.chunks_exact(8).zip(grants.iter_mut().flatten()) {
            let word = |at: usize| u32::from_be_bytes([slot[at], slot[at + 1], slot[at + 2], slot[at + 3]]);
            *grant = (word(0), word(4));
        }
        Self(grants)
    }
}

/// The sender's side of one lane and class.
#[derive(Clone, Debug)]
pub struct SendCredit {
    granted: (u64, u64),
    used: (u64, u64),
}

impl Default for SendCredit {
    fn default() -> Self {
        Self { granted: (INITIAL_MESSAGES, INITIAL_BYTES), used: (0, 0) }
    }
}

impl SendCredit {
    /// Whether there is credit for one message of this size.
    pub fn covers(&self, bytes: u64) -> bool {
        self.used.0 < self.granted.0 && self.used.1 + bytes <= self.granted.1
    }

    /// Takes the cost of one message that is covered.
    pub fn take(&mut self, bytes: u64) {
        self.used.0 += 1;
        self.used.1 += bytes;
    }

    /// A grant arrived. Totals only rise, so an old one changes nothing.
    pub fn grant(&mut self, messages: u64, bytes: u64) {
        self.granted.0 = self.granted.0.max(messages);
        self.granted.1 = self.granted.1.max(bytes);
    }
}

/// The receiver's side of one lane and class.
#[derive(Clone, Debug)]
pub struct ReceiveCredit {
    granted: (u64, u64),
    received: (u64, u64),
    returned: (u64, u64),
}

impl Default for ReceiveCredit {
    fn default() -> Self {
        let window = (CREDIT_WINDOW_MESSAGES.into(), CREDIT_WINDOW_BYTES.into());
        Self { granted: window, received: (0, 0), returned: (0, 0) }
    }
}

impl ReceiveCredit {
    /// Of a class in which nothing was granted yet.
    pub fn initial() -> Self {
        Self { granted: (INITIAL_MESSAGES, INITIAL_BYTES), ..Self::default() }
    }

    /// Whether only the initial credit was granted.
    pub fn is_initial(&self) -> bool {
        self.granted == (INITIAL_MESSAGES, INITIAL_BYTES)
    }

    /// Whether a sender that keeps to its credit may send a message of this size.
    pub fn admits(&self, bytes: u64) -> bool {
        self.received.0 < self.granted.0 && self.received.1 + bytes <= self.granted.1
    }

    /// A message was taken in.
    pub fn receive(&mut self, bytes: u64) {
        self.received.0 += 1;
        self.received.1 += bytes;
    }

    /// A message no longer takes memory. True when it is time to say so.
    pub fn give_back(&mut self, bytes: u64) -> bool {
        self.returned.0 += 1;
        self.returned.1 += bytes;
        // A quarter of the window: late enough to be rare, early enough that the sender never runs dry for a round trip.
        self.returned.0 + u64::from(CREDIT_WINDOW_MESSAGES) * 3 / 4 >= self.granted.0
            || self.returned.1 + u64::from(CREDIT_WINDOW_BYTES) * 3 / 4 >= self.granted.1
    }

    /// The totals to tell the sender.
    pub fn grant(&mut self) -> (u64, u64) {
        self.granted = (self.returned.0 + u64::from(CREDIT_WINDOW_MESSAGES), self.returned.1 + u64::from(CREDIT_WINDOW_BYTES));
        self.granted
    }

    /// The totals that were granted last.
    pub fn granted(&self) -> (u64, u64) {
        self.granted
    }
}
