//! Where links come from: how many at one moment, how fast, and how many of them guests.
//!
//! An origin is a number that the shell makes from an address with a secret of this run, so that nothing here names anybody.

use std::collections::BTreeMap;
use std::time::Duration;

use super::Config;

/// Origins that are remembered. Beyond it newcomers share one bucket. Chosen: 4 MiB.
const ORIGINS: usize = 65_536;

/// How long an origin without links is remembered Chosen: an attacker gains nothing by waiting longer.
const FORGET_AFTER: Duration = Duration::from_secs(600);

/// One network address, or a block of them, as the shell groups them.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Origin(pub u64);

impl Origin {
    /// What newcomers share when the table is full.
    const OVERFLOW: Self = Self(u64::MAX);
}

/// What becomes of a socket that was accepted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Admission {
    /// It goes on with the handshakes.
    Granted,
    /// It is dropped unanswered: its origin keeps on coming although it was told to wait.
    Dropped,
}

/// Why an origin may not open one more link.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Refusal {
    /// It has too many links.
    Full,
    /// It came too fast, and may come again after this time.
    Rate(Duration),
}

/// A token bucket and a count for each origin.
///
/// A handshake takes a token when its socket is accepted. A bucket may go into debt to the amount that it holds: a link that
/// comes in debt is told to wait, which costs its handshakes; at the end of the debt sockets are dropped, which costs nothing.
/// Guests take from a second bucket, which has no debt.
#[derive(Debug)]
pub(super) struct Origins {
    links_per_origin: usize,
    at_once: f64,
    per_second: f64,
    guests_at_once: f64,
    guests_per_second: f64,
    origins: BTreeMap<Origin, State>,
    swept: Duration,
}

#[derive(Debug)]
struct State {
    links: usize,
    tokens: f64,
    guest_tokens: f64,
    updated: Duration,
}

impl Origins {
    pub(super) fn new(config: &Config) -> Self {
        Self {
            links_per_origin: config.links_per_origin,
            at_once: config.handshakes_at_once.max(1).into(),
            per_second: config.handshakes_per_second.max(1).into(),
            guests_at_once: config.guests_at_once.max(1).into(),
            guests_per_second: f64::from(config.guests_per_minute.max(1)) / 60.0,
            origins: BTreeMap::new(),
            swept: Duration::ZERO,
        }
    }

    /// Returns under which origin one is counted: itself, or what newcomers share when the table is full.
    pub(super) fn counted_as(&self, origin: Origin) -> Origin {
        let has_room = self.origins.len() < ORIGINS || self.origins.contains_key(&origin);
        if has_room { origin } else { Origin::OVERFLOW }
    }

    /// Takes a token for a socket.
    pub(super) fn knock(&mut self, origin: Origin, now: Duration) -> Admission {
        let floor = -self.at_once;
        let origin = self.counted_as(origin);
        let state = self.refill(origin, now);
        if state.tokens <= floor {
            return Admission::Dropped;
        }
        state.tokens -= 1.0;
        Admission::Granted
    }

    /// Counts a link in, whether or not it may stay: its socket exists. `origin` is the one that it is counted as.
    pub(super) fn enter(&mut self, origin: Origin, now: Duration) -> Result<(), Refusal> {
        let (most, per_second) = (self.links_per_origin, self.per_second);
        let state = self.refill(origin, now);
        state.links += 1;
        if state.tokens < 0.0 {
            return Err(Refusal::Rate(Duration::from_secs_f64(-state.tokens / per_second)));
        }
        if state.links > most {
            return Err(Refusal::Full);
        }
        Ok(())
    }

    /// Takes a token for a guest, or says how long until there is one.
    pub(super) fn let_guest_in(&mut self, origin: Origin, now: Duration) -> Result<(), Duration> {
        let per_second = self.guests_per_second;
        let state = self.refill(origin, now);
        if state.guest_tokens < 1.0 {
            return Err(Duration::from_secs_f64((1.0 - state.guest_tokens) / per_second));
        }
        state.guest_tokens -= 1.0;
        Ok(())
    }

    /// Counts a link out.
    pub(super) fn leave(&mut self, origin: Origin, now: Duration) {
        if let Some(state) = self.origins.get_mut(&origin) {
            state.links = state.links.saturating_sub(1);
            state.updated = state.updated.max(now);
        }
    }

    fn refill(&mut self, origin: Origin, now: Duration) -> &mut State {
        self.forget_old(now);
        let new = State { links: 0, tokens: self.at_once, guest_tokens: self.guests_at_once, updated: now };
        let state = self.origins.entry(origin).or_insert(new);
        let passed = now.saturating_sub(state.updated).as_secs_f64();
        state.tokens = (state.tokens + passed * self.per_second).min(self.at_once);
        state.guest_tokens = (state.guest_tokens + passed * self.guests_per_second).min(self.guests_at_once);
        state.updated = now;
        state
    }

    /// Forgets origins without links, at most once in a while so that a newcomer doesn't pay for all.
    fn forget_old(&mut self, now: Duration) {
        if now.saturating_sub(self.swept) < FORGET_AFTER / 10 {
            return;
        }
        self.swept = now;
        self.origins.retain(|_, state| state.links > 0 || now.saturating_sub(state.updated) < FORGET_AFTER);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const HERE: Origin = Origin(7);

    fn origins() -> Origins {
        Origins::new(&Config { handshakes_at_once: 2, handshakes_per_second: 1, links_per_origin: 3, ..Config::default() })
    }

    #[test]
    fn who_comes_too_fast_is_told_to_wait_and_then_dropped() {
        let mut origins = origins();
        let now = Duration::from_secs(1);
        let knocks: Vec<_> = (0..5).map(|_| origins.knock(HERE, now)).collect();
        assert_eq!(knocks, [Admission::Granted, Admission::Granted, Admission::Granted, Admission::Granted, Admission::Dropped]);
        assert_eq!(origins.enter(HERE, now), Err(Refusal::Rate(Duration::from_secs(2))));
        assert_eq!(origins.knock(Origin(8), now), Admission::Granted, "another origin pays nothing for it");
        assert_eq!(origins.enter(HERE, now + Duration::from_secs(2)), Ok(()), "the debt is paid by waiting");
    }

    #[test]
    fn links_of_one_origin_are_counted_in_and_out() {
        let mut origins = origins();
        for _ in 0..3 {
            assert_eq!(origins.enter(HERE, Duration::ZERO), Ok(()));
        }
        assert_eq!(origins.enter(HERE, Duration::ZERO), Err(Refusal::Full));
        origins.leave(HERE, Duration::ZERO);
        origins.leave(HERE, Duration::ZERO);
        assert_eq!(origins.enter(HERE, Duration::ZERO), Ok(()));
    }

    #[test]
    fn an_origin_without_links_is_forgotten_and_one_with_links_is_not() {
        let mut origins = origins();
        assert_eq!(origins.enter(HERE, Duration::ZERO), Ok(()));
        origins.knock(Origin(8), Duration::ZERO);
        origins.knock(Origin(9), Duration::from_secs(601));
        assert_eq!(origins.origins.keys().copied().collect::<Vec<_>>(), [HERE, Origin(9)]);
    }

    #[test]
    fn beyond_the_table_newcomers_share_a_bucket() {
        let mut origins = origins();
        for number in 0..ORIGINS as u64 {
            origins.knock(Origin(number), Duration::ZERO);
        }
        for number in 0..4 {
            origins.knock(Origin(1_000_000 + number), Duration::ZERO);
        }
        assert_eq!(origins.knock(Origin(2_000_000), Duration::ZERO), Admission::Dropped);
        assert_eq!((origins.counted_as(Origin(5)), origins.counted_as(Origin(2_000_000))), (Origin(5), Origin::OVERFLOW));
        assert_eq!(origins.origins.len(), ORIGINS + 1);
    }
}
