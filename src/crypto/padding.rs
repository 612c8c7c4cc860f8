//! Padding hides how long a content is: the length travels inside the seal, and zeros fill up to one of few sizes.
//!
//! ```text
//! u32 length | content | zeros          256, 1,024 or 4,096 bytes, then Padmé up to 32,768
//! ```
//!
//! Padmé (Nikitin et al., "Reducing Metadata Leakage from Encrypted Files and Communication with PURBs", PETS 2019) rounds a length L up so
//! that it shows O(log log L) bits, at a cost of at most 12 percent.

use super::Error;

/// Bytes before the content: its length.
pub(super) const PREFIX_LEN: usize = 4;
/// Largest padded plaintext, in bytes (PROTOCOL.md section 6): two chunks, and a frame stays below 64 KiB.
pub const MAX_PADDED: usize = 32_768;
/// Largest content of a sealed frame, in bytes.
pub const MAX_CONTENT: usize = MAX_PADDED - PREFIX_LEN;

const SMALL_SIZES: [usize; 3] = [256, 1_024, 4_096];

/// Returns how many bytes a content of `content_len` bytes becomes, its length prefix included.
///
/// Above [`MAX_CONTENT`] the result is above [`MAX_PADDED`], and sealing refuses.
pub const fn padded_len(content_len: usize) -> usize {
    let len = content_len.saturating_add(PREFIX_LEN);
    let mut i = 0;
    while i < SMALL_SIZES.len() {
        if len <= SMALL_SIZES[i] {
            return SMALL_SIZES[i];
        }
        i += 1;
    }
    padme(len)
}

/// Rounds `len` up so that its binary form has no more significant bits than its exponent has digits.
const fn padme(len: usize) -> usize {
    let exponent = len.ilog2();
    let significant = exponent.ilog2() + 1;
    let mask = (1 << (exponent - significant)) - 1;
    len.saturating_add(mask) & !mask
}

/// Returns `content` with its length before and its zeros behind it.
///
/// # Errors
/// [`Error::TooLarge`] above [`MAX_CONTENT`].
pub(super) fn pad(content: &[u8]) -> Result<Vec<u8>, Error> {
    check(content.len())?;
    let mut padded = Vec::with_capacity(padded_len(content.len()) + super::aead::TAG_LEN);
    padded.extend_from_slice(&prefix(content.len()));
    padded.extend_from_slice(content);
    padded.resize(padded_len(content.len()), 0);
    Ok(padded)
}

/// Returns the content of a padded plaintext.
///
/// # Errors
/// [`Error::Padding`] if it is too long, shorter than it says, or filled with anything but zeros.
pub(super) fn unpad(padded: &[u8]) -> Result<&[u8], Error> {
    let (prefix, rest) = padded.split_first_chunk::<PREFIX_LEN>().ok_or(Error::Padding)?;
    let len = usize::try_from(u32::from_be_bytes(*prefix)).map_err(|_| Error::Padding)?;
    let (content, zeros) = rest.split_at_checked(len).ok_or(Error::Padding)?;
    // Without a way out of the loop the compiler looks at many bytes at once: there are up to 3,000 in a small frame.
    let filling = zeros.iter().fold(0, |bits, byte| bits | byte);
    if padded.len() > MAX_PADDED || filling != 0 {
        return Err(Error::Padding);
    }
    Ok(content)
}

pub(super) fn check(content_len: usize) -> Result<(), Error> {
    if content_len > MAX_CONTENT {
        return Err(Error::TooLarge { what: "content", limit: MAX_CONTENT, got: content_len });
    }
    Ok(())
}

pub(super) fn prefix(content_len: usize) -> [u8; PREFIX_LEN] {
    // `check` bounds the content far below 4 GiB.
    (content_len as u32).to_be_bytes()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lengths_step_through_the_small_sizes_and_then_padme() {
        let expected = [
            (0, 256),
            (252, 256),
            (253, 1_024),
            (1_020, 1_024),
            (1_021, 4_096),
            (4_092, 4_096),
            (4_093, 4_352),
            (16_384, 17_408),
            (MAX_CONTENT, MAX_PADDED),
        ];
        for (content, padded) in expected {
            assert_eq!(padded_len(content), padded, "content of {content} bytes");
        }
        assert!(padded_len(MAX_CONTENT + 1) > MAX_PADDED);
        assert!(padded_len(usize::MAX) > MAX_PADDED);
    }

    #[test]
    fn padding_grows_with_the_content_and_costs_at_most_an_eighth_beyond_the_small_sizes() {
        let mut last = 0;
        for content in 0..=MAX_CONTENT {
            let padded = padded_len(content);
            assert!(padded >= content + PREFIX_LEN && padded >= last && padded <= MAX_PADDED);
            assert!(content <= 4_092 || (padded - content - PREFIX_LEN) * 8 <= content);
            last = padded;
        }
    }

    #[test]
    fn what_was_padded_comes_back_whole() {
        for len in [0, 1, 252, 253, 1_020, 5_000, MAX_CONTENT] {
            let content = vec![0xa5; len];
            assert_eq!(unpad(&pad(&content).unwrap()).unwrap(), content);
        }
        assert!(matches!(pad(&vec![0; MAX_CONTENT + 1]), Err(Error::TooLarge { .. })));
    }

    #[test]
    fn a_byte_that_is_not_zero_behind_the_content_is_refused_at_every_place() {
        let padded = pad(b"content").unwrap();
        for at in PREFIX_LEN + 7..padded.len() {
            let mut changed = padded.clone();
            changed[at] = 1;
            assert!(matches!(unpad(&changed), Err(Error::Padding)), "byte {at}");
        }
    }

    #[test]
    fn a_plaintext_that_is_cut_or_too_long_is_refused() {
        assert!(matches!(unpad(&[]), Err(Error::Padding)));
        assert!(matches!(unpad(&[0, 0, 0]), Err(Error::Padding)));
        assert!(matches!(unpad(&[0, 0, 0, 2, 9]), Err(Error::Padding)));
        assert!(matches!(unpad(&[0xff; 300]), Err(Error::Padding)));
        assert!(matches!(unpad(&vec![0; MAX_PADDED + 1]), Err(Error::Padding)));
    }
}
