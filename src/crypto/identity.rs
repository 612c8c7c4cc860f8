//! Ed25519 keys: who an agent is, who founded a swarm, and the link and routing keys that follow from them (PROTOCOL.md section 5).

use zeroize::Zeroizing;

use super::{
    Error,
    kdf::{Prk, Secret},
};
use crate::proto::{
    AgentId, FounderId, LinkKeyPair, RoutingKey, RoutingKeyPair,
    signature::{self, SIGNATURE_LENGTH, SigningKey},
};

/// An agent's private key. Its public half is the agent's id.
pub struct Identity {
    seed: Secret,
    key: SigningKey,
}

impl Identity {
    /// Takes the Ed25519 seed.
    pub fn from_seed(seed: [u8; 32]) -> Self {
        Self { key: SigningKey::from_seed(&seed), seed: Secret::new(seed) }
    }

    /// Returns the public key, by which peers know the agent.
    pub fn id(&self) -> AgentId {
        AgentId::from_bytes(self.key.public())
    }

    /// Signs `message` for `purpose`, which keeps a signature from being shown as one for something else.
    pub fn sign(&self, purpose: &str, message: &[u8]) -> [u8; SIGNATURE_LENGTH] {
        self.key.sign(purpose, &[message])
    }

    /// Derives the key that proves this agent to a switchboard. It differs from swarm to swarm, so that a switchboard can't link them.
    pub fn link_key(&self, routing: &RoutingKey) -> LinkKeyPair {
        LinkKeyPair::from_seed(&derive(routing.as_bytes(), &self.seed, b"a2alinker/1 link key"))
    }

    /// Returns the seed, for an agent file.
    pub(crate) fn seed(&self) -> Zeroizing<[u8; 32]> {
        self.seed.clone()
    }

    pub(super) fn key(&self) -> &SigningKey {
        &self.key
    }
}

/// The private key that stands for a swarm. Whoever holds it decides who belongs.
pub struct FounderKey {
    seed: Secret,
    key: SigningKey,
}

impl FounderKey {
    /// Takes the Ed25519 seed.
    pub fn from_seed(seed: [u8; 32]) -> Self {
        Self { key: SigningKey::from_seed(&seed), seed: Secret::new(seed) }
    }

    /// Returns the public key F.
    pub fn id(&self) -> FounderId {
        FounderId::from_bytes(self.key.public())
    }

    /// Derives the key V under which switchboards know the swarm. V tells nothing about F.
    pub fn routing(&self) -> RoutingKeyPair {
        RoutingKeyPair::from_seed(&derive(&[], &self.seed, b"a2alinker/1 routing key"))
    }

    /// Signs `message` for `purpose`.
    pub fn sign(&self, purpose: &str, message: &[u8]) -> [u8; SIGNATURE_LENGTH] {
        self.key.sign(purpose, &[message])
    }

    /// Returns the seed, for an agent file.
    pub(crate) fn seed(&self) -> Zeroizing<[u8; 32]> {
        self.seed.clone()
    }

    pub(super) fn key(&self) -> &SigningKey {
        &self.key
    }
}

/// Checks a signature that [`Identity::sign`] or [`FounderKey::sign`] made.
///
/// # Errors
/// [`Error::Open`] if `key` didn't sign `message` for `purpose`.
pub fn verify(key: &[u8; 32], purpose: &str, message: &[u8], signature: &[u8; SIGNATURE_LENGTH]) -> Result<(), Error> {
    if signature::verify(key, purpose, &[message], signature) { Ok(()) } else { Err(Error::Open) }
}

fn derive(salt: &[u8], seed: &Secret, info: &[u8]) -> Secret {
    Prk::extract(salt, &**seed).expand(&[info])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_signature_holds_for_its_key_purpose_and_message_only() {
        let (mine, other) = (Identity::from_seed([1; 32]), Identity::from_seed([2; 32]));
        let signature = mine.sign("card", b"message");
        let check = |id: AgentId, purpose, message| verify(id.as_bytes(), purpose, message, &signature);
        check(mine.id(), "card", b"message").unwrap();
        assert!(matches!(check(other.id(), "card", b"message"), Err(Error::Open)));
        assert!(matches!(check(mine.id(), "certificate", b"message"), Err(Error::Open)));
        assert!(matches!(check(mine.id(), "card", b"massage"), Err(Error::Open)));
    }

    #[test]
    fn link_keys_of_one_identity_differ_from_swarm_to_swarm() {
        let identity = Identity::from_seed([1; 32]);
        let routing = |seed| FounderKey::from_seed([seed; 32]).routing().public();
        assert_eq!(identity.link_key(&routing(3)).public(), identity.link_key(&routing(3)).public());
        assert_ne!(identity.link_key(&routing(3)).public(), identity.link_key(&routing(4)).public());
    }

    #[test]
    fn the_routing_key_is_not_the_founder_key() {
        let founder = FounderKey::from_seed([5; 32]);
        assert_ne!(founder.routing().public().as_bytes(), founder.id().as_bytes());
    }
}
