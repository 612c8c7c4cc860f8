//! The X-Wing keys that envelopes to this agent are sealed to: one that the card shows, and those before it.
//!
//! Timers run on the monotonic clock; an agent file keeps wall time, so that the rule holds over restarts. A key that was current
//! when the agent ended is current again, and replaced at once if it is too old by then; counted from there it is kept as long as any.

use std::collections::VecDeque;
use std::time::Duration;

use super::file::KeptPrekey;
use super::limits::{PREKEY_LIFE, TTL_MAX};
use crate::crypto::{KeyPair, PublicKey, Random};
use crate::proto::Now;

/// How long a key that was replaced is kept: some card may show it for a day, and what is sealed to it then may take as long as anything.
const KEPT: Duration = Duration::from_secs(PREKEY_LIFE.as_secs() + TTL_MAX.as_secs());

/// Call `renew` when `poll_timeout` is reached, and show the new key on the card.
pub(super) struct Prekeys {
    current: KeyPair,
    renew_at: Duration,
    /// Newest first, each with the time until which envelopes sealed to it may still come.
    older: VecDeque<(KeyPair, Duration)>,
}

impl Prekeys {
    pub(super) fn new(random: &mut Random, now: Duration) -> Self {
        Self { current: KeyPair::generate(random), renew_at: now + PREKEY_LIFE, older: VecDeque::new() }
    }

    /// Takes up those of an agent file. A clock that was set back lets none of them live longer than it would have at first. `None` for
    /// no keys at all.
    pub(super) fn restore(kept: &[KeptPrekey], now: Now) -> Option<Self> {
        let left = |key: &KeptPrekey, most| now.monotonic + Duration::from_millis(key.until.saturating_sub(now.wall)).min(most);
        let (current, older) = kept.split_first()?;
        let older = older.iter().filter(|key| key.until > now.wall);
        Some(Self {
            current: KeyPair::from_seed(&current.seed),
            renew_at: left(current, PREKEY_LIFE),
            older: older.map(|key| (KeyPair::from_seed(&key.seed), left(key, KEPT))).collect(),
        })
    }

    /// What an agent file keeps of them.
    pub(super) fn keep(&self, now: Now) -> Vec<KeptPrekey> {
        let kept = |key: &KeyPair, until: Duration| KeptPrekey {
            seed: key.seed(),
            until: now.wall.saturating_add(until.saturating_sub(now.monotonic).as_millis() as u64),
        };
        let older = self.older.iter().filter(|(_, until)| *until > now.monotonic);
        std::iter::once(kept(&self.current, self.renew_at)).chain(older.map(|(key, until)| kept(key, *until))).collect()
    }

    pub(super) fn public(&self) -> &PublicKey {
        self.current.public()
    }

    /// The key with this id, as an envelope's header names it.
    pub(super) fn find(&self, id: u64) -> Option<&KeyPair> {
        std::iter::once(&self.current).chain(self.older.iter().map(|(key, _)| key)).find(|key| key.public().id() == id)
    }

    pub(super) fn poll_timeout(&self) -> Duration {
        self.renew_at
    }

    /// Replaces the key if it is old enough. True if it did.
    pub(super) fn renew(&mut self, random: &mut Random, now: Duration) -> bool {
        self.older.retain(|(_, until)| *until > now);
        if now < self.renew_at {
            return false;
        }
        let old = std::mem::replace(&mut self.current, KeyPair::generate(random));
        self.older.push_front((old, now + KEPT));
        self.renew_at = now + PREKEY_LIFE;
        true
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const DAY: Duration = PREKEY_LIFE;
    const EPOCH: u64 = 1_790_000_000_000;

    /// A machine that was started `up` ago, so long after the epoch of these tests.
    fn at(up: Duration, since_epoch: Duration) -> Now {
        Now { monotonic: up, wall: EPOCH + since_epoch.as_millis() as u64 }
    }

    #[test]
    fn a_key_is_replaced_daily_and_kept_two_days_more() {
        let mut random = Random::counting();
        let mut prekeys = Prekeys::new(&mut random, Duration::ZERO);
        let first = prekeys.public().id();
        assert!(!prekeys.renew(&mut random, DAY - Duration::from_millis(1)));
        assert!(prekeys.renew(&mut random, DAY));
        assert_ne!(prekeys.public().id(), first);
        prekeys.renew(&mut random, DAY * 3 - Duration::from_millis(1));
        assert!(prekeys.find(first).is_some());
        prekeys.renew(&mut random, DAY * 3);
        assert!(prekeys.find(first).is_none());
    }

    #[test]
    fn the_ages_count_over_a_restart_on_another_monotonic_clock() {
        let mut random = Random::counting();
        let mut prekeys = Prekeys::new(&mut random, DAY * 5);
        let first = prekeys.public().id();
        prekeys.renew(&mut random, DAY * 6);
        let second = prekeys.public().id();
        let kept = prekeys.keep(at(DAY * 6, DAY));

        // Half a day later, on a machine that was started anew.
        let mut restored = Prekeys::restore(&kept, at(Duration::ZERO, DAY * 3 / 2)).unwrap();
        assert_eq!(restored.public().id(), second);
        assert_eq!(restored.poll_timeout(), DAY / 2);
        restored.renew(&mut random, DAY * 3 / 2 - Duration::from_millis(1));
        assert!(restored.find(first).is_some());
        restored.renew(&mut random, DAY * 3 / 2);
        assert!(restored.find(first).is_none());
    }

    #[test]
    fn what_was_current_before_a_long_pause_is_replaced_at_once_and_still_opens() {
        let mut random = Random::counting();
        let prekeys = Prekeys::new(&mut random, Duration::ZERO);
        let first = prekeys.public().id();
        let kept = prekeys.keep(at(Duration::ZERO, Duration::ZERO));
        let mut restored = Prekeys::restore(&kept, at(Duration::ZERO, DAY * 7)).unwrap();
        assert!(restored.renew(&mut random, Duration::ZERO));
        assert_ne!(restored.public().id(), first);
        assert!(restored.find(first).is_some());
    }

    #[test]
    fn a_clock_that_was_set_back_prolongs_no_key() {
        let mut random = Random::counting();
        let mut prekeys = Prekeys::new(&mut random, Duration::ZERO);
        prekeys.renew(&mut random, DAY);
        let kept = prekeys.keep(at(DAY, DAY * 100));
        let restored = Prekeys::restore(&kept, at(Duration::ZERO, Duration::ZERO)).unwrap();
        assert_eq!(restored.poll_timeout(), DAY);
        assert_eq!(restored.older.front().map(|(_, until)| *until), Some(KEPT));
    }
}
