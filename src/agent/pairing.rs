//! Pairing by code: how three words that were said aloud become a ticket (PROTOCOL.md section 9).
//!
//! Both sides are state machines without a link of their own; what stands in the frames is `crypto::pairing`'s.
//!
//! ```text
//! joiner                                     inviter
//!   Pairing::new(code)                         Codes::create, slot opened  -> the code
//!   poll_transmit  --- Ask, Confirm -->        Codes::handle_frame
//!   handle_data    <-- Tell, Offer ----          Decision::{Paired, Burnt}
//!   Step::Ended(ticket)                        the same ticket, its mailbox open
//! ```
//!
//! From there on it is an admission by ticket, of which nobody else knows.
//!
//! Policies. A Confirm is a guess, and a wrong one burns the code; before it nothing is tested, so nothing is counted but the Asks of a
//! second. A code that is used or burnt keeps its slot until it expires, so that whoever comes too late hears why. A joiner makes one
//! exchange and no more: each Confirm tells whoever answered it whether *its* guess was right.

mod inviter;
mod joiner;

pub use inviter::{CODE_TTL_MAX, CODES_LIMIT};
pub(super) use inviter::{CodeTerms, Codes, Decision, Inviter, Opened};
pub(super) use joiner::{Pairing, Step};
