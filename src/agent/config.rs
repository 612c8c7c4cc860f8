//! What an application decides about its agent before it starts, and the bounds it may move.

use std::time::Duration;

use super::card::SkillEntry;
use super::file::KeptKeys;
use super::limits::DEPTH_MAX;
use crate::proto::signature::hash;

/// Settings of one agent; see [`Config::new`] for the defaults.
#[derive(Clone)]
pub struct Config {
    /// Name shown to peers: 1 to 64 of `[A-Za-z0-9._-]`. It need not be unique.
    pub name: String,
    /// Seed of the Ed25519 identity, from the operating system's generator. Not looked at if there are `keys`.
    pub identity_seed: [u8; 32],
    /// The keys of an agent file, for an agent that has one: it says when that is to be written ([`super::Command::Save`]).
    pub keys: Option<KeptKeys>,
    /// Where its switchboards are, best first: what an agent file keeps.
    pub switchboards: Vec<String>,
    /// Skills on offer, each with its definition.
    pub skills: Vec<SkillOffer>,
    /// Most bytes of encoded messages that wait in the outbox, over all peers.
    pub outbox_bytes: usize,
    /// Most messages that wait in the outbox, over all peers.
    pub outbox_messages: usize,
    /// Longest chain of messages that were sent while handling one another.
    pub depth_max: u16,
    /// How long a peer's link may be down before calls to it are given up or given to another.
    pub peer_gone_after: Duration,
}

/// One skill on offer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SkillOffer {
    /// 1 to 64 characters.
    pub name: String,
    /// Free words for discovery.
    pub tags: Vec<String>,
    /// How many requests the agent handles at a time.
    pub concurrency: u16,
    /// The definition: a JSON object (PROTOCOL.md section 5.2), at most 16 KiB.
    pub definition: Vec<u8>,
}

impl Config {
    /// 64 MiB or 65,536 messages in the outbox, chains of 64, gone after 10 s, an identity that ends with the process.
    pub fn new(name: &str, identity_seed: [u8; 32]) -> Self {
        Self {
            name: name.to_owned(),
            identity_seed,
            keys: None,
            switchboards: Vec::new(),
            skills: Vec::new(),
            outbox_bytes: 64 << 20,
            outbox_messages: 65_536,
            depth_max: DEPTH_MAX,
            peer_gone_after: Duration::from_secs(10),
        }
    }
}

impl Config {
    /// The identity ends with the process: peers may forget it once it said goodbye.
    pub fn is_ephemeral(&self) -> bool {
        self.keys.is_none()
    }
}

impl SkillOffer {
    /// The entry that stands for this skill on the card.
    pub fn entry(&self) -> SkillEntry {
        SkillEntry {
            name: self.name.clone(),
            tags: self.tags.clone(),
            concurrency: self.concurrency,
            definition_hash: hash(&[&self.definition]),
        }
    }
}
