//! X-Wing keys (draft-connolly-cfrg-xwing-kem: X25519 and ML-KEM-768 in one): prekeys, long-term keys and the ephemeral keys of openers.

use std::fmt;

use hpke::{Deserializable, Kem, Serializable, kem::XWing};
use zeroize::Zeroizing;

use super::{Error, Random};
use crate::proto::signature;

/// Length of a public key, in bytes.
pub const PUBLIC_KEY_LEN: usize = 1_216;
/// Length of an encapsulation (`enc`), in bytes.
pub const ENC_LEN: usize = 1_120;

/// An X-Wing public key whose encoding has been checked.
#[derive(Clone, PartialEq, Eq)]
pub struct PublicKey(Box<[u8; PUBLIC_KEY_LEN]>);

impl PublicKey {
    /// Takes the encoding of a public key.
    ///
    /// # Errors
    /// [`Error::PublicKey`] if it has another length or isn't a valid ML-KEM key.
    pub fn from_bytes(bytes: &[u8]) -> Result<Self, Error> {
        let key: [u8; PUBLIC_KEY_LEN] = bytes.try_into().map_err(|_| Error::PublicKey)?;
        <XWing as Kem>::PublicKey::from_bytes(&key).map_err(|_| Error::PublicKey)?;
        Ok(Self(Box::new(key)))
    }

    /// Returns the encoding.
    pub fn as_bytes(&self) -> &[u8; PUBLIC_KEY_LEN] {
        &self.0
    }

    /// Returns the SHA-256 of the encoding, by which certificates and envelopes name the key.
    pub fn hash(&self) -> [u8; 32] {
        signature::hash(&[&*self.0])
    }

    /// Returns the first 8 bytes of the hash, by which an envelope's outer header tells which key it is sealed to.
    pub fn id(&self) -> u64 {
        let [a, b, c, d, e, f, g, h, ..] = self.hash();
        u64::from_be_bytes([a, b, c, d, e, f, g, h])
    }

    /// Decodes the key for use. It is kept encoded because the decoded form is several times as large.
    pub(super) fn decode(&self) -> Result<<XWing as Kem>::PublicKey, Error> {
        <XWing as Kem>::PublicKey::from_bytes(&*self.0).map_err(|_| Error::PublicKey)
    }
}

impl fmt::Debug for PublicKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "PublicKey({:016x})", self.id())
    }
}

/// An X-Wing key pair; the private half is wiped when dropped.
pub struct KeyPair {
    private: <XWing as Kem>::PrivateKey,
    public: PublicKey,
}

impl KeyPair {
    /// Makes a fresh key pair from 32 random bytes.
    pub fn generate(random: &mut Random) -> Self {
        Self::from_seed(&Zeroizing::new(random.array()))
    }

    /// Derives the key pair whose X-Wing decapsulation key is `seed`.
    pub fn from_seed(seed: &[u8; 32]) -> Self {
        let private = <XWing as Kem>::PrivateKey::from_bytes(seed).expect("an X-Wing decapsulation key is any 32 bytes");
        let mut public = Box::new([0; PUBLIC_KEY_LEN]);
        XWing::sk_to_pk(&private).write_exact(&mut *public);
        Self { private, public: PublicKey(public) }
    }

    /// Returns the public half.
    pub fn public(&self) -> &PublicKey {
        &self.public
    }

    /// Returns the seed that the pair follows from, for an agent file.
    pub(crate) fn seed(&self) -> Zeroizing<[u8; 32]> {
        let mut seed = Zeroizing::new([0; 32]);
        self.private.write_exact(&mut *seed);
        seed
    }

    pub(super) fn private(&self) -> &<XWing as Kem>::PrivateKey {
        &self.private
    }
}
