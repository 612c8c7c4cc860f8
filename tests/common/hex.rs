//! Bytes written out in a test as they stand in PROTOCOL.md.

use data_encoding::HEXLOWER;

/// Reads hexadecimal digits; blanks and line ends are for the reader.
pub fn hex(text: &str) -> Vec<u8> {
    let digits: String = text.split_whitespace().collect();
    HEXLOWER.decode(digits.as_bytes()).expect("hexadecimal digits in a test")
}
