//! Which openers are worth looking at: not too many, none too old, none twice.
//!
//! A session ends, and an agent forgets peers that left: neither may bring what an old opener carried back to life.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use crate::proto::limits::CLOCK_TOLERANCE;
use crate::proto::{Now, SessionId};

/// An opener is taken until this long after it was made, with the usual tolerance for its maker's clock: so long a relay may hold it back.
const OPENER_LIFE: Duration = Duration::from_secs(60);
/// Openers that are looked at in a second. Chosen: each costs about a millisecond, and whoever can reach this agent's label can send them.
const PER_SECOND: u32 = 200;
/// Openers that are remembered; at the bound others are refused. Chosen: two seconds for each of a full roster's sessions, in a megabyte.
const REMEMBERED: usize = 8_192;

#[derive(Default)]
pub(super) struct Openers {
    /// The second that `count` is of.
    since: Duration,
    count: u32,
    /// Until when each session that was opened from elsewhere could be opened again, Unix milliseconds.
    until_by_session: BTreeMap<SessionId, u64>,
    by_time: BTreeSet<(u64, SessionId)>,
}

impl Openers {
    /// Whether another one may be looked at in this second.
    pub(super) fn allow(&mut self, now: Now) -> bool {
        if now.monotonic.saturating_sub(self.since) >= Duration::from_secs(1) {
            self.since = now.monotonic;
            self.count = 0;
        }
        self.count += 1;
        self.count <= PER_SECOND
    }

    pub(super) fn was_taken(&self, session: &SessionId) -> bool {
        self.until_by_session.contains_key(session)
    }

    /// Takes an opener that proved genuine and was made at `wall`. False: it is too old, was taken before, or there is no room.
    pub(super) fn take(&mut self, session: SessionId, wall: u64, now: Now) -> bool {
        while let Some(&(until, oldest)) = self.by_time.first().filter(|(until, _)| *until < now.wall) {
            self.by_time.remove(&(until, oldest));
            self.until_by_session.remove(&oldest);
        }
        let until = wall.saturating_add((OPENER_LIFE + CLOCK_TOLERANCE).as_millis() as u64);
        if until < now.wall || self.was_taken(&session) || self.by_time.len() >= REMEMBERED {
            return false;
        }
        self.until_by_session.insert(session, until);
        self.by_time.insert((until, session))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(wall: u64) -> Now {
        Now { monotonic: Duration::from_millis(wall), wall }
    }

    #[test]
    fn an_opener_is_taken_once_and_not_when_it_is_old() {
        let mut openers = Openers::default();
        let session = SessionId::from_bytes([1; 16]);
        assert!(openers.take(session, 1_000, at(2_000)));
        assert!(!openers.take(session, 1_000, at(300_000)), "played again");
        assert!(!openers.take(session, 1_000, at(361_001)), "played again when it is forgotten, but too old");
        assert!(!openers.was_taken(&session));
    }

    #[test]
    fn a_full_table_refuses_and_does_not_forget() {
        let mut openers = Openers::default();
        let session = |number: u64| SessionId::from_bytes(std::array::from_fn(|at| number.to_be_bytes()[at % 8]));
        for number in 0..REMEMBERED as u64 {
            assert!(openers.take(session(number), 0, at(0)));
        }
        assert!(!openers.take(session(u64::MAX), 0, at(0)));
        assert!(openers.was_taken(&session(0)));
        assert!(openers.take(session(u64::MAX), 400_000, at(400_000)), "there is room when the old ones are over");
    }

    #[test]
    fn a_flood_is_cut_to_so_many_a_second() {
        let mut openers = Openers::default();
        assert_eq!((0..1_000).filter(|_| openers.allow(at(500))).count(), PER_SECOND as usize);
        assert!(openers.allow(at(1_500)));
    }
}
