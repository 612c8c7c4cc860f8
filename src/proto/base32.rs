//! The text form of ids, pins and tickets: RFC 4648 base32, lower case, without padding.

use std::sync::LazyLock;

use data_encoding::{Encoding, Specification};

/// One text per value: upper case, padding and stray trailing bits are refused, so that texts can be compared.
static BASE32: LazyLock<Encoding> = LazyLock::new(|| {
    let mut specification = Specification::new();
    specification.symbols.push_str("abcdefghijklmnopqrstuvwxyz234567");
    specification.encoding().expect("32 distinct ASCII symbols make an encoding")
});

/// Returns the text form of `bytes`.
pub fn encode(bytes: &[u8]) -> String {
    BASE32.encode(bytes)
}

/// Reads a text form back; `None` if it isn't one.
pub fn decode(text: &str) -> Option<Vec<u8>> {
    BASE32.decode(text.as_bytes()).ok()
}

/// Reads the text form of exactly `N` bytes; `None` if it isn't one.
pub fn decode_array<const N: usize>(text: &str) -> Option<[u8; N]> {
    decode(text)?.try_into().ok()
}
