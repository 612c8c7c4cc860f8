//! HKDF-SHA256 (RFC 5869) in the shape that the protocol uses. Labels are written out by the callers.

use aws_lc_rs::hkdf;
use zeroize::Zeroizing;

/// Thirty-two secret bytes, wiped when dropped.
pub(super) type Secret = Zeroizing<[u8; 32]>;

/// A pseudorandom key: what HKDF-Extract gives and HKDF-Expand takes.
pub(super) struct Prk(hkdf::Prk);

impl Prk {
    pub(super) fn extract(salt: &[u8], secret: &[u8]) -> Self {
        Self(hkdf::Salt::new(hkdf::HKDF_SHA256, salt).extract(secret))
    }

    /// Takes a secret that is uniformly random already.
    pub(super) fn from_secret(secret: &Secret) -> Self {
        Self(hkdf::Prk::new_less_safe(hkdf::HKDF_SHA256, &**secret))
    }

    /// Expands to `N` bytes under the concatenation of `info`.
    pub(super) fn expand<const N: usize>(&self, info: &[&[u8]]) -> Zeroizing<[u8; N]> {
        const { assert!(N <= 255 * 32, "HKDF-SHA256 gives at most 255 blocks") };
        let mut bytes = Zeroizing::new([0; N]);
        self.0
            .expand(info, Length(N))
            .and_then(|expanded| expanded.fill(&mut *bytes))
            .expect("the length is within what HKDF-SHA256 can give");
        bytes
    }
}

struct Length(usize);

impl hkdf::KeyType for Length {
    fn len(&self) -> usize {
        self.0
    }
}
