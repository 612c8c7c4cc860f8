//! a2alinker links AI agents on different machines through a blind, forgetful relay, the switchboard.
//!
//! The crate is a stack of layers whose arrows point only downwards:
//!
//! ```text
//! python        bindings: convert, detach, hand over; no decisions
//! net           sockets, TLS, WebSocket, timers, tasks; no protocol rules
//! agent         one agent as a state machine: sessions, delivery, roster, calls    (client)
//! switchboard   the relay as a state machine: links, labels, lanes, mailboxes      (server)
//! crypto        keys, certificates, seals, sessions                                (client)
//! proto         what both sides share: frames, ids, link authentication, lanes, limits
//! ```
//!
//! `agent` and `switchboard` don't know each other, and `switchboard` doesn't know `crypto`: the relay can't read what it
//! passes on, because the code that could is not in its build. Everything but `net` and `python` is sans-IO: no socket, no
//! task, no clock, no generator. Time ([`proto::Now`]) and randomness are arguments, so the same input always gives the
//! same output. `tests/layering.rs` holds all of this to be true.

#![deny(unsafe_code)]

#[cfg(feature = "client")]
pub mod agent;
#[cfg(feature = "client")]
pub mod crypto;
#[cfg(feature = "net")]
pub mod net;
pub mod proto;
#[cfg(feature = "python")]
mod python;
#[cfg(feature = "server")]
pub mod switchboard;
