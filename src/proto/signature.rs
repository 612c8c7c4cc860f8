//! Ed25519 over `"a2alinker/1 " purpose 0x00 message`, and SHA-256: the two primitives that both sides of a link need.
//!
//! The purpose keeps a signature made for one thing from being shown as a signature for another.

use aws_lc_rs::digest;
use aws_lc_rs::signature::{ED25519, Ed25519KeyPair, KeyPair, UnparsedPublicKey};

/// Bytes of an Ed25519 signature (RFC 8032 section 5.1).
pub const SIGNATURE_LENGTH: usize = 64;

const DOMAIN: &[u8] = b"a2alinker/1 ";

/// An Ed25519 private key. Neither shown nor written anywhere.
pub struct SigningKey {
    pair: Ed25519KeyPair,
    public: [u8; 32],
}

impl SigningKey {
    /// Derives the key from its seed.
    pub fn from_seed(seed: &[u8; 32]) -> Self {
        let pair = Ed25519KeyPair::from_seed_unchecked(seed).expect("any 32 bytes are an Ed25519 seed");
        let public = pair.public_key().as_ref().try_into().expect("an Ed25519 public key has 32 bytes");
        Self { pair, public }
    }

    /// Returns the public key.
    pub fn public(&self) -> [u8; 32] {
        self.public
    }

    /// Signs the concatenation of `parts` for `purpose`.
    pub fn sign(&self, purpose: &str, parts: &[&[u8]]) -> [u8; SIGNATURE_LENGTH] {
        let signature = self.pair.sign(&signed_bytes(purpose, parts));
        signature.as_ref().try_into().expect("an Ed25519 signature has 64 bytes")
    }
}

/// Returns whether `signature` is `key`'s over the concatenation of `parts` for `purpose`.
#[must_use]
pub fn verify(key: &[u8; 32], purpose: &str, parts: &[&[u8]], signature: &[u8; SIGNATURE_LENGTH]) -> bool {
    UnparsedPublicKey::new(&ED25519, key).verify(&signed_bytes(purpose, parts), signature).is_ok()
}

/// Returns SHA-256 over the concatenation of `parts`.
pub fn hash(parts: &[&[u8]]) -> [u8; 32] {
    let mut context = digest::Context::new(&digest::SHA256);
    for part in parts {
        context.update(part);
    }
    context.finish().as_ref().try_into().expect("SHA-256 gives 32 bytes")
}

/// SHA-256 over what comes piece by piece.
pub struct Hasher(digest::Context);

impl Hasher {
    /// Begins with nothing.
    #[allow(clippy::new_without_default, reason = "a hash has no default")]
    pub fn new() -> Self {
        Self(digest::Context::new(&digest::SHA256))
    }

    /// Adds a piece.
    pub fn update(&mut self, piece: &[u8]) {
        self.0.update(piece);
    }

    /// Returns the hash of all pieces.
    pub fn finish(self) -> [u8; 32] {
        self.0.finish().as_ref().try_into().expect("SHA-256 gives 32 bytes")
    }
}

fn signed_bytes(purpose: &str, parts: &[&[u8]]) -> Vec<u8> {
    [&[DOMAIN, purpose.as_bytes(), &[0]], parts].concat().concat()
}
