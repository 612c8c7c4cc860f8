//! What can be wrong with bytes from the wire. The sender is at fault, and sending them again doesn't help.

/// A frame or structure that can't be read.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// A field holds a value that it may not hold.
    #[error("malformed {what}")]
    Malformed { what: &'static str },
    /// The bytes end inside a field.
    #[error("cut short: {needed} more bytes expected, {left} left")]
    CutShort { needed: usize, left: usize },
    /// Bytes are left over after the last field.
    #[error("{left} bytes left over after {what}")]
    LeftOver { what: &'static str, left: usize },
    /// A length lies beyond the limit of its field.
    #[error("{what} is too large: {got} bytes, the limit is {limit}")]
    TooLarge { what: &'static str, limit: usize, got: usize },
    /// The structure belongs to a version of the protocol that this build doesn't speak.
    #[error("{what} has version {got}, expected {expected}")]
    Version { what: &'static str, expected: u8, got: u8 },
}
