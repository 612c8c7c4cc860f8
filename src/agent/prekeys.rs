//! The X-Wing keys that envelopes to this agent are sealed to: one that the card shows, and those before it.

use std::collections::VecDeque;
use std::time::Duration;

use super::limits::{PREKEY_LIFE, TTL_MAX};
use crate::crypto::{KeyPair, PublicKey, Random};

/// Call `renew` when `poll_timeout` is reached, and show the new key on the card.
pub(super) struct Prekeys {
    current: KeyPair,
    made_at: Duration,
    /// Newest last, each with the time until which envelopes sealed to it may still come.
    older: VecDeque<(KeyPair, Duration)>,
}

impl Prekeys {
    pub(super) fn new(random: &mut Random, now: Duration) -> Self {
        Self { current: KeyPair::generate(random), made_at: now, older: VecDeque::new() }
    }

    pub(super) fn public(&self) -> &PublicKey {
        self.current.public()
    }

    /// The key with this id, as an envelope's header names it.
    pub(super) fn find(&self, id: u64) -> Option<&KeyPair> {
        std::iter::once(&self.current).chain(self.older.iter().map(|(key, _)| key)).find(|key| key.public().id() == id)
    }

    pub(super) fn poll_timeout(&self) -> Duration {
        self.made_at + PREKEY_LIFE
    }

    /// Replaces the key if it is old enough. True if it did.
    pub(super) fn renew(&mut self, random: &mut Random, now: Duration) -> bool {
        self.older.retain(|(_, until)| *until > now);
        if now < self.poll_timeout() {
            return false;
        }
        let old = std::mem::replace(&mut self.current, KeyPair::generate(random));
        self.older.push_back((old, now + PREKEY_LIFE + TTL_MAX));
        self.made_at = now;
        true
    }
}
