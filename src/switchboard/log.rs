//! What was written on a link and isn't acknowledged, in the order in which it was written: what a resume writes again.
//!
//! ```text
//!   acknowledged │ first                                written │
//!   ─────────────┼──[hint]─[data 7]─[labels]─[data 8]─[data 9]──┼── waits in the lanes
//!                │  ◀──────────── entries ───────────────────▶  │
//! ```
//!
//! Only Data frames are numbered and acknowledged. A hint that was written before a Data frame is known to have been read when that
//! frame is acknowledged. That labels were told is noted without them, as they are told anew (`swarm.rs`).
//!
//! At its bounds the oldest entry is forgotten, and the link can then be resumed only by a client that has received what came after it.

use std::collections::VecDeque;

use bytes::Bytes;

use super::link::Waiting;
use super::notices::Hint;

/// Room that an empty log may keep, in entries. Chosen: twice what a client acknowledges at once; 4 KiB.
const ROOM_KEPT: usize = 64;

#[derive(Debug)]
pub(super) enum Entry {
    Data(Waiting),
    Hint(Hint),
    /// Labels were told to a client that had heard all changes of its swarm below this number; none if it was still being given
    /// the whole list.
    Labels(Option<u64>),
}

impl Entry {
    /// Bytes for the account.
    pub(super) fn len(&self) -> usize {
        match self {
            Self::Data(waiting) => waiting.frame.len(),
            Self::Hint(_) | Self::Labels(_) => 0,
        }
    }
}

#[derive(Debug, Default)]
pub(super) struct Log {
    entries: VecDeque<Entry>,
    /// The sum of the lengths in `entries`.
    bytes: usize,
    /// The number of the first Data frame in `entries`, or of the next one that will be.
    first: u64,
    /// The number of the next Data frame to be written on this socket.
    written: u64,
    /// Nothing is missing for a client that has received this many Data frames.
    complete_from: u64,
    /// How many entries, the last ones, are to be written once more.
    to_replay: usize,
}

impl Log {
    /// Takes note of what is being written. Nothing may be left to be replayed.
    pub(super) fn push(&mut self, entry: Entry) {
        self.written += u64::from(matches!(entry, Entry::Data(_)));
        self.bytes += entry.len();
        self.entries.push_back(entry);
    }

    pub(super) fn exceeds(&self, frames: usize, bytes: usize) -> bool {
        self.entries.len() > frames || self.bytes > bytes
    }

    /// Forgets the oldest entry, which can't be replayed then.
    pub(super) fn forget(&mut self) -> Option<Entry> {
        let entry = self.pop()?;
        // A hint was read for certain only by who has received the Data frame after it.
        let missing = if matches!(entry, Entry::Data(_)) { self.first } else { self.first + 1 };
        self.complete_from = self.complete_from.max(missing);
        Some(entry)
    }

    /// Returns the oldest entry if a client that has received so many Data frames has surely read it.
    pub(super) fn pop_acknowledged(&mut self, received: u64) -> Option<Entry> {
        if self.first < received { self.pop() } else { None }
    }

    fn pop(&mut self) -> Option<Entry> {
        let entry = self.entries.pop_front()?;
        self.bytes -= entry.len();
        self.first += u64::from(matches!(entry, Entry::Data(_)));
        self.to_replay = self.to_replay.min(self.entries.len());
        if self.entries.is_empty() && self.entries.capacity() > ROOM_KEPT {
            self.entries = VecDeque::new();
        }
        Some(entry)
    }

    /// How many Data frames the client can have received.
    pub(super) fn written(&self) -> u64 {
        self.written
    }

    /// Whether nothing would be missing if the link went on with a client that has received so many Data frames.
    pub(super) fn can_resume(&self, received: u64) -> bool {
        let frames = self.entries.iter().filter(|entry| matches!(entry, Entry::Data(_))).count() as u64;
        (self.complete_from.max(self.first)..=self.first + frames).contains(&received)
    }

    /// Begins to write everything once more, after what the client has received has been taken away. Returns what the client has
    /// heard of its swarm for certain, if that isn't what is noted in its view.
    pub(super) fn begin_replay(&mut self) -> Option<Option<u64>> {
        let heard = self.entries.iter().find_map(|entry| if let Entry::Labels(heard) = entry { Some(*heard) } else { None });
        self.to_replay = self.entries.len();
        self.written = self.first;
        heard
    }

    /// Returns the next frame to be written once more. It stays in the log.
    pub(super) fn replay(&mut self) -> Option<Bytes> {
        while self.to_replay > 0 {
            let entry = &self.entries[self.entries.len() - self.to_replay];
            self.to_replay -= 1;
            match entry {
                Entry::Data(waiting) => {
                    self.written += 1;
                    return Some(waiting.frame.clone());
                }
                Entry::Hint(hint) => return Some(hint.into_frame().encode()),
                Entry::Labels(_) => {}
            }
        }
        None
    }
}
