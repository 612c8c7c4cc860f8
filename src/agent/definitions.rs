//! Definitions of skills, found by their hash: the agent's own, and those that peers told.
//!
//! A card names a skill and the hash of its definition; the definition itself, with its description and schemas, is asked
//! for over a session when somebody wants to see it. What a definition says is not looked into here.
//!
//! At the bound the definition that was learned first makes room: it can be asked for again.
//!
//! Specification: PROTOCOL.md sections 5.2 and 7.1 (describe, definition).

use std::collections::{BTreeMap, VecDeque};

use bytes::Bytes;
use thiserror::Error;

use crate::proto::signature;

/// Largest definition, in bytes (PROTOCOL 5.2).
pub const DEFINITION_LIMIT: usize = 16 * 1024;

/// Most definitions of peers that are kept. Chosen: a swarm seldom has more different skills.
pub const CACHE_COUNT_LIMIT: usize = 256;

/// Most bytes of peers' definitions that are kept. Chosen; larger values only save repeated questions.
pub const CACHE_BYTES_LIMIT: usize = 1024 * 1024;

/// SHA-256 of a definition.
pub type DefinitionHash = [u8; 32];

/// Why a definition was not taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum DefinitionError {
    /// The caller's or the peer's fault: the description or the schemas are too long.
    #[error("a skill definition of {got} bytes is over the limit of {DEFINITION_LIMIT}")]
    TooLarge { got: usize },
    /// The peer's fault: it sent something else than its card names.
    #[error("a skill definition doesn't have the hash that the card names")]
    WrongHash,
    /// The caller's or the peer's fault.
    #[error("a skill definition isn't UTF-8")]
    NotText,
}

/// The definitions that this agent knows.
#[derive(Debug, Default)]
pub struct Definitions {
    own: BTreeMap<DefinitionHash, Bytes>,
    learned: BTreeMap<DefinitionHash, Bytes>,
    /// The hashes of `learned`, in the order in which they came.
    arrivals: VecDeque<DefinitionHash>,
    learned_bytes: usize,
}

impl Definitions {
    /// Adds a definition of the agent's own, which is kept for good, and returns the hash that its card names.
    ///
    /// # Errors
    /// `TooLarge` or `NotText`, by the caller's fault.
    pub fn add_own(&mut self, definition: Bytes) -> Result<DefinitionHash, DefinitionError> {
        let hash = checked_hash(&definition)?;
        self.own.insert(hash, definition);
        Ok(hash)
    }

    /// Takes the definition that a peer gave when asked for `hash`.
    ///
    /// # Errors
    /// `TooLarge`, `NotText` or `WrongHash`, by the peer's fault; nothing is kept then.
    pub fn learn(&mut self, hash: &DefinitionHash, definition: Bytes) -> Result<(), DefinitionError> {
        if checked_hash(&definition)? != *hash {
            return Err(DefinitionError::WrongHash);
        }
        if self.get(hash).is_some() {
            return Ok(());
        }
        self.learned_bytes += definition.len();
        // A copy of its own: a slice would keep the whole frame alive that it came in.
        self.learned.insert(*hash, Bytes::copy_from_slice(&definition));
        self.arrivals.push_back(*hash);
        while self.learned.len() > CACHE_COUNT_LIMIT || self.learned_bytes > CACHE_BYTES_LIMIT {
            self.forget_oldest();
        }
        Ok(())
    }

    /// Returns a definition, whoever's it is.
    pub fn get(&self, hash: &DefinitionHash) -> Option<&Bytes> {
        self.own.get(hash).or_else(|| self.learned.get(hash))
    }

    /// Returns a definition of the agent's own: what it answers to those who ask.
    pub fn own(&self, hash: &DefinitionHash) -> Option<&Bytes> {
        self.own.get(hash)
    }

    fn forget_oldest(&mut self) {
        let oldest = self.arrivals.pop_front().and_then(|hash| self.learned.remove(&hash));
        self.learned_bytes -= oldest.map_or(0, |definition| definition.len());
    }
}

fn checked_hash(definition: &[u8]) -> Result<DefinitionHash, DefinitionError> {
    if definition.len() > DEFINITION_LIMIT {
        return Err(DefinitionError::TooLarge { got: definition.len() });
    }
    if std::str::from_utf8(definition).is_err() {
        return Err(DefinitionError::NotText);
    }
    Ok(signature::hash(&[definition]))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_own_definition_is_found_by_the_hash_that_the_card_names() {
        let mut definitions = Definitions::default();
        let hash = definitions.add_own(Bytes::from_static(b"abc")).unwrap();
        // SHA-256 of "abc": FIPS 180-2, appendix B.1.
        assert_eq!(hash[..4], [0xba, 0x78, 0x16, 0xbf]);
        assert_eq!(definitions.own(&hash).unwrap(), "abc");
        assert_eq!(definitions.get(&hash).unwrap(), "abc");
    }

    #[test]
    fn a_learned_definition_is_found_but_not_given_to_others() {
        let mut definitions = Definitions::default();
        let hash = checked_hash(b"theirs").unwrap();
        assert_eq!(definitions.get(&hash), None);
        definitions.learn(&hash, Bytes::from_static(b"theirs")).unwrap();
        assert_eq!(definitions.get(&hash).unwrap(), "theirs");
        assert_eq!(definitions.own(&hash), None);
    }

    #[test]
    fn another_definition_than_asked_for_is_refused() {
        let mut definitions = Definitions::default();
        let hash = checked_hash(b"asked for").unwrap();
        let refused = definitions.learn(&hash, Bytes::from_static(b"given"));
        assert_eq!(refused, Err(DefinitionError::WrongHash));
        assert_eq!(definitions.get(&hash), None);
    }

    #[test]
    fn a_definition_that_is_too_large_or_no_text_is_refused() {
        let mut definitions = Definitions::default();
        let refused = definitions.add_own(vec![b' '; DEFINITION_LIMIT + 1].into());
        assert_eq!(refused, Err(DefinitionError::TooLarge { got: DEFINITION_LIMIT + 1 }));
        assert!(definitions.add_own(vec![b' '; DEFINITION_LIMIT].into()).is_ok());
        let refused = definitions.add_own(Bytes::from_static(&[0xff]));
        assert_eq!(refused, Err(DefinitionError::NotText));
    }

    #[test]
    fn the_first_learned_makes_room_when_there_are_too_many() {
        let mut definitions = Definitions::default();
        let hashes: Vec<_> = (0..CACHE_COUNT_LIMIT + 2).map(|n| learn(&mut definitions, n.to_string())).collect();
        assert_eq!(definitions.learned.len(), CACHE_COUNT_LIMIT);
        assert_eq!(definitions.get(&hashes[1]), None);
        assert!(definitions.get(&hashes[2]).is_some());
    }

    #[test]
    fn the_first_learned_makes_room_when_they_are_too_large() {
        let mut definitions = Definitions::default();
        let fitting = CACHE_BYTES_LIMIT / DEFINITION_LIMIT;
        let hashes: Vec<_> = (0..fitting + 1).map(|n| learn(&mut definitions, format!("{n:DEFINITION_LIMIT$}"))).collect();
        assert_eq!(definitions.get(&hashes[0]), None);
        assert!(definitions.get(&hashes[1]).is_some());
        assert_eq!(definitions.learned_bytes, CACHE_BYTES_LIMIT);
    }

    #[test]
    fn learning_twice_counts_once() {
        let mut definitions = Definitions::default();
        let hash = learn(&mut definitions, "same".into());
        assert_eq!(learn(&mut definitions, "same".into()), hash);
        assert_eq!(definitions.learned_bytes, 4);
        assert_eq!(definitions.arrivals.len(), 1);
    }

    fn learn(definitions: &mut Definitions, text: String) -> DefinitionHash {
        let hash = checked_hash(text.as_bytes()).unwrap();
        definitions.learn(&hash, text.into()).unwrap();
        hash
    }
}
