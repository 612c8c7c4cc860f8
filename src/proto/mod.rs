//! What both sides of a link share: frames, ids, link authentication, lanes and limits.
//!
//! This is the bottom layer. It knows how the wire looks (PROTOCOL.md sections 1 to 4) and nothing of what is sealed inside a
//! Data frame. It holds no state beyond a queue and decides nothing about sessions or routing.
//!
//! ```text
//! switchboard                                client
//!     Challenge  ------------------------------>          hello.rs: what is signed, and the only signatures
//!              <------------------------------  Hello     that a switchboard checks (with auth.rs)
//!     Welcome    ------------------------------>
//!     Data       <----------------------------->  Data    frame.rs: the kinds; data.rs: one Data frame in place
//! ```
//!
//! Both ends queue what they have to send in a [`LaneQueue`], which keeps urgent work ahead and everything moving.

pub mod auth;
pub mod base32;
pub mod codec;
mod data;
mod error;
mod frame;
mod hello;
mod ids;
mod lanes;
pub mod limits;
pub mod signature;
mod time;

pub use auth::{
    AuthError, LinkCertificate, LinkChain, LinkKeyPair, LinkRights, RoutingKeyPair, VerifiedLink, label_of, slot_label,
};
pub use data::{DataFrame, OuterHeader, OuterKind};
pub use error::Error;
pub use frame::{
    Bounce, BounceReason, ClientFrame, Features, GoodbyeReason, LabelChanges, RegisterStatus, Reject, RejectCode, ServerFrame,
    SlotStatus, Welcome,
};
pub use hello::{Binding, BindingKind, Challenge, Hello, HelloBody, Role, VerifiedHello, sign_hello, verify_hello};
pub use ids::{AgentId, FounderId, Label, LinkKey, MessageId, RoutingKey, RunId, SessionId, ThreadId};
pub use lanes::{Lane, LaneLimits, LaneQueue};
pub use time::Now;

/// The protocol version that this crate speaks, on the link and inside it.
pub const VERSION: u8 = 1;
