//! Keys and seals: who an agent is, and how what it says stays between it and its peer (PROTOCOL.md sections 5, 6, 8 and 9).
//!
//! This layer sees keys and payloads, never sockets, addresses in use or clocks: random bytes come from a [`Random`] and wall time
//! from the caller. It decides nothing about delivery: it opens what is authentic, refuses the rest, and says no more than that.
//! Primitives come from `aws-lc-rs` and `hpke`; what is ours is which bytes go where.
//!
//! ```text
//! identity     Ed25519 keys and what follows from them: link keys, the routing key of a swarm
//! certificate  membership: a founder or an admin vouches for an identity, a name and its rights
//! xwing        the keys that envelopes are sealed to; hpke seals to them
//! envelope     one sealed, signed message to a key: opens a session
//! handshake    opener and answer, which turn two runs of agents into a session
//! session      frames under one key and one counter per direction and lane (lane_keys, replay, seal), and the frames before (early)
//! ticket       the invitation as text; admission is the request and reply that it allows
//! code         the invitation that is said aloud; pairing makes a ticket of it; invited tells the two apart
//! ```
//!
//! The life of a session: [`Initiation::start`] gives the opener; [`envelope::open`] and [`Opening`] receive it, [`Opening::answer`]
//! gives the responder its [`Session`]; [`Initiation::receive_answer`] and [`Initiation::establish`] give the initiator the same.

pub mod admission;
mod aead;
pub mod certificate;
pub mod code;
mod early;
pub mod envelope;
mod error;
mod handshake;
mod hpke;
pub mod identity;
pub mod invited;
mod kdf;
mod lane_keys;
pub mod padding;
pub mod pairing;
mod random;
mod replay;
mod seal;
mod session;
pub mod ticket;
pub mod xwing;

#[cfg(test)]
mod tests;

pub use admission::{AdmissionReply, AdmissionRequest, AdmissionStatus, Exchange, Membership};
pub use certificate::{Certificate, CertificateChain, CertificateError, CertificateRequest, Issuer, Member, Rights};
pub use code::{Code, CodeError};
pub use envelope::{OpenedEnvelope, PayloadKind};
pub use error::Error;
pub use handshake::{Answered, Initiation, InitiatorParams, Opening, ResponderParams, SessionHello};
pub use identity::{FounderKey, Identity};
pub use invited::{Invited, InvitedError};
pub use random::Random;
pub use seal::FrameBuilder;
pub use session::Session;
pub use ticket::{Ticket, TicketError, TicketKeys};
pub use xwing::{KeyPair, PublicKey};
