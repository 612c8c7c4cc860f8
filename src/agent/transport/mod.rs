//! Between two runs of agents, above sessions: who has which message, in which order, and how much more may come.
//!
//! A [`SendLane`] numbers messages when they are first sealed, keeps their plaintext until the receiver has them, and offers them
//! again after a bounce, a reconnect or silence. A [`ReceiveLane`] takes each number once, puts chunks together, holds a message back
//! until the one before it in its thread was handed over, and knows what to say in receipts. Both know nothing of keys, links or
//! other peers, and survive sessions. Numbers are those of the sender's run: they go on when the receiver's run is another.
//!
//! See PROTOCOL.md section 7.

mod credit;
mod numbers;
mod outbound;
mod outcomes;
mod receive;
mod send;
#[cfg(test)]
mod tests;

pub(super) use credit::{Cost, GRANTED_CLASSES, Grants, Room};
pub(super) use outbound::{Hint, Outbound};
pub(super) use receive::{HandedOver, ReceiveLane};
pub(super) use send::{Built, SendLane, Settled};
