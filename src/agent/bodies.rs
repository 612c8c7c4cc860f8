//! Large bodies: what is too large for one message, or isn't there yet when its sending begins.
//!
//! ```text
//!   sender                                                receiver
//!   head  (a plain message: form, length, name)   -->     handed to the application, which begins to read
//!   part, part, ...  (at most 64 KiB each)        -->     kept until the application takes them
//!                                                 <--     taken: how far the application is
//!   end   (length, SHA-256)                       -->     whole, or an error
//! ```
//!
//! All of it is messages: numbered, kept, sent again and confirmed like others (`transport`), so that a body goes on after a cut where it
//! stopped. What this module adds is memory that doesn't grow with the body. A sender asks its shell for a piece of the source only when the
//! receiver has room for it; a receiver never holds more than the credit that it gave. Bodies to one peer and lane share that credit by rank:
//! the first may have half of it unread, the next half of what is left, and so on, so that one that nobody reads can't stop the others.
//!
//! A body belongs to two runs. If the receiver's ends, what can be read again begins anew under another head, marked as maybe repeated; a
//! stream fails. If the sender's ends, the receiver has an error. See PROTOCOL.md section 7.4.

mod receiving;
mod sending;
#[cfg(test)]
mod tests;
mod wire;

use std::collections::{BTreeMap, VecDeque};
use std::time::Duration;

pub use receiving::Taken;
pub use sending::BodySource;
pub use wire::{BodyForm, End, Head};

use super::event::{Event, ReceiptState, Token};
use super::limits::CREDIT_WINDOW_BYTES;
use super::member::{Member, Shared};
use super::message::HEADER_LEN;
use super::section::CHUNK_LIMIT;
use super::transport::Settled;
use crate::proto::{AgentId, MessageId, Now};
use receiving::Receiving;
use sending::Sending;

/// Bytes of a part's header: it names the head twice, as what it belongs to and as its thread.
const PART_HEADER: usize = HEADER_LEN + 32;

/// Bytes of a body in a part that is full. Chosen: with its header it makes four whole chunks.
pub const PART_BYTES: usize = 4 * CHUNK_LIMIT - PART_HEADER;

/// Bodies to one peer and lane that are under way at a time; the others wait for one of them to be over. Chosen: the share of the last is then
/// still more than a part.
const RANKS: usize = 5;

/// Marks the tokens of heads and of parts: they name the body, and nobody outside asks about them.
const HEAD: Token = 1 << 63;
const PART: Token = 1 << 62;

/// Bytes that a body of this rank may have in the receiver's memory.
fn share(rank: usize) -> u64 {
    u64::from(CREDIT_WINDOW_BYTES) >> (rank + 1)
}

/// The large bodies of an agent, in both directions.
#[derive(Default)]
pub(super) struct Bodies {
    sending: BTreeMap<Token, Sending>,
    by_head: BTreeMap<(AgentId, MessageId), Token>,
    /// Whose heads have arrived, by peer and lane, in that order: the first of them are under way.
    lines: BTreeMap<(AgentId, usize), Vec<Token>>,
    receiving: BTreeMap<Token, Receiving>,
    by_sender: BTreeMap<(AgentId, MessageId), Token>,
    /// What became of messages of bodies, to be looked at.
    settled: VecDeque<Settled>,
    /// When a body may have stood still for too long; may be early.
    check_at: Option<Duration>,
}

impl Bodies {
    /// The body that a message in the outbox belongs to, if it is a head or a part.
    pub(super) fn owner(token: Token) -> Option<Token> {
        (token & (HEAD | PART) != 0).then_some(token & !(HEAD | PART))
    }

    /// Takes note of what became of a message. True if it was one of a body, which has its own to say.
    pub(super) fn note_settled(&mut self, settled: &Settled) -> bool {
        let is_of_body = Self::owner(settled.0).is_some() || self.sending.contains_key(&settled.0);
        if is_of_body {
            self.settled.push_back(settled.clone());
        }
        is_of_body
    }

    /// Bodies whose end isn't in the outbox yet.
    pub(super) fn unsent(&self) -> impl Iterator<Item = Token> + '_ {
        self.sending.iter().filter(|(_, body)| !body.is_sent()).map(|(token, _)| *token)
    }

    pub(super) fn poll_timeout(&self) -> Option<Duration> {
        self.check_at
    }

    /// How many are open in each direction.
    pub(super) fn len(&self) -> (usize, usize) {
        (self.sending.len(), self.receiving.len())
    }

    fn check_by(&mut self, at: Duration) {
        self.check_at = Some(self.check_at.map_or(at, |check| check.min(at)));
    }
}

impl Member {
    /// Does what follows from messages of bodies that arrived, or that never will.
    pub(super) fn advance_bodies(&mut self, cx: &mut Shared, now: Now) {
        while let Some((token, state, cost)) = self.bodies.settled.pop_front() {
            let body = token & !(HEAD | PART);
            match (token & (HEAD | PART), state) {
                (HEAD, ReceiptState::Delivered) => self.handle_head_delivered(cx, body, now),
                (PART, ReceiptState::Delivered) => self.handle_part_delivered(cx, body, cost, now),
                (0, state) => self.handle_end_settled(cx, body, state, cost, now),
                // Nothing of a body is kept for a receiver that is away, but its sender may know that it is.
                (HEAD, state @ (ReceiptState::Queued | ReceiptState::Unknown)) => {
                    if self.bodies.sending.contains_key(&body) {
                        cx.emit(Event::Receipt { token: body, state });
                    }
                }
                (_, ReceiptState::Queued | ReceiptState::Unknown | ReceiptState::Full { .. } | ReceiptState::Accepted) => {}
                (_, state) => self.fail_sending(cx, body, state, now),
            }
        }
    }

    /// Ends what has stood still for too long.
    pub(super) fn handle_body_timeout(&mut self, cx: &mut Shared, now: Now) {
        if self.bodies.check_at.is_none_or(|at| at > now.monotonic) {
            return;
        }
        self.bodies.check_at = None;
        self.check_sending(cx, now);
        self.check_receiving(cx, now);
    }

    /// The peer's process is another one, or is about to be.
    pub(super) fn handle_body_restart(&mut self, cx: &mut Shared, peer: AgentId, now: Now) {
        self.restart_sending_to(cx, peer, now);
        self.fail_receiving_from(cx, peer, &super::error::BodyError::SenderRestarted, now);
    }

    /// This peer is forgotten. What was sent to it has failed with its messages.
    pub(super) fn forget_bodies_of(&mut self, cx: &mut Shared, peer: AgentId, now: Now) {
        self.fail_sending_to(cx, peer, now);
        self.fail_receiving_from(cx, peer, &super::error::BodyError::SenderGone, now);
    }
}
