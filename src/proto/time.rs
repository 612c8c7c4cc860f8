//! The two clocks that a state machine is told of.

use std::time::Duration;

/// The moment at which a state machine is called.
///
/// Timers run on `monotonic`, which never jumps; expiries, which mean something to another machine, on `wall`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Now {
    /// Time since a fixed moment of the caller's choice, the same for the life of the state machine.
    pub monotonic: Duration,
    /// Unix time in milliseconds, as this machine believes it.
    pub wall: u64,
}
