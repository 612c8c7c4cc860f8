//! Names for the things on the wire, each a type of its own, so that a label can't be passed where a session is meant.
//!
//! All of them are plain bytes that mean nothing by themselves. Their text form is base32 (26 or 52 characters); `Debug` shows
//! only the first characters, enough to tell two apart in a log.

use std::fmt;
use std::str::FromStr;

use super::{Error, base32};

/// Characters of an id that are shown where the whole would only be noise: 40 bits.
const SHORT_LENGTH: usize = 8;

macro_rules! ids {
    ($($(#[$doc:meta])* $name:ident: $length:literal, $what:literal;)*) => {$(
        $(#[$doc])*
        #[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub struct $name([u8; $length]);

        impl $name {
            /// The length in bytes.
            pub const LENGTH: usize = $length;
            /// All bytes zero: on the wire, "none" or "unknown".
            pub const ZERO: Self = Self([0; $length]);

            /// Takes the bytes as they are on the wire.
            pub const fn from_bytes(bytes: [u8; $length]) -> Self {
                Self(bytes)
            }

            /// Returns the bytes as they are on the wire.
            pub const fn as_bytes(&self) -> &[u8; $length] {
                &self.0
            }

            /// Returns the first characters of the text form, for logs and people.
            pub fn short(&self) -> String {
                let mut text = base32::encode(&self.0);
                text.truncate(SHORT_LENGTH);
                text
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
                formatter.pad(&base32::encode(&self.0))
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(formatter, "{}({})", stringify!($name), self.short())
            }
        }

        impl FromStr for $name {
            type Err = Error;

            fn from_str(text: &str) -> Result<Self, Error> {
                base32::decode_array(text).map(Self).ok_or(Error::Malformed { what: $what })
            }
        }
    )*};
}

ids! {
    /// Where a Data frame goes: an agent or a mailbox, meaningful only inside one swarm.
    Label: 16, "label";
    /// One message, for the application and for telling a repetition.
    MessageId: 16, "message id";
    /// One run of an agent's process.
    RunId: 16, "run id";
    /// One session between two runs.
    SessionId: 16, "session id";
    /// One thread of messages.
    ThreadId: 16, "thread id";
    /// The Ed25519 public key that is an agent's identity.
    AgentId: 32, "agent id";
    /// The Ed25519 public key F that stands for a swarm.
    FounderId: 32, "founder id";
    /// The Ed25519 public key V under which a swarm is known to a switchboard.
    RoutingKey: 32, "routing key";
    /// The Ed25519 public key by which one agent proves itself to a switchboard.
    LinkKey: 32, "link key";
}
