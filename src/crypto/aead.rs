//! AES-256-GCM-SIV (RFC 8452) with explicit nonces: the one cipher of sessions and admission requests.
//!
//! GCM-SIV forgives a repeated nonce (it shows only that two messages were equal), which a forked process or a cloned machine can cause.

use aws_lc_rs::aead::{AES_256_GCM_SIV, Aad, LessSafeKey, Nonce, UnboundKey};

use super::Error;

pub(super) const NONCE_LEN: usize = 12;
pub(super) const TAG_LEN: usize = 16;

/// A key, expanded once for many frames.
pub(super) struct AeadKey(LessSafeKey);

impl AeadKey {
    pub(super) fn new(key: &[u8; 32]) -> Self {
        let key = UnboundKey::new(&AES_256_GCM_SIV, key).expect("the key is 32 bytes");
        Self(LessSafeKey::new(key))
    }

    /// Encrypts `in_out` in place and returns the tag.
    pub(super) fn seal(&self, nonce: [u8; NONCE_LEN], aad: &[u8], in_out: &mut [u8]) -> Result<[u8; TAG_LEN], Error> {
        let tag = self
            .0
            .seal_in_place_separate_tag(Nonce::assume_unique_for_key(nonce), Aad::from(aad), in_out)
            .map_err(|_| Error::Seal)?;
        tag.as_ref().try_into().map_err(|_| Error::Seal)
    }

    /// Decrypts `in_out`, ciphertext and tag, in place and returns the plaintext at its front. What is in `in_out` after an error is
    /// neither.
    pub(super) fn open<'a>(&self, nonce: [u8; NONCE_LEN], aad: &[u8], in_out: &'a mut [u8]) -> Result<&'a mut [u8], Error> {
        self.0.open_in_place(Nonce::assume_unique_for_key(nonce), Aad::from(aad), in_out).map_err(|_| Error::Open)
    }
}

/// The nonce of a session frame: four zero bytes and its counter.
pub(super) fn counter_nonce(counter: u64) -> [u8; NONCE_LEN] {
    let mut nonce = [0; NONCE_LEN];
    nonce[4..].copy_from_slice(&counter.to_be_bytes());
    nonce
}
