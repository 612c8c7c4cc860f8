//! Which openers are worth looking at: not too many, none too old, none twice.
//!
//! A session ends, and an agent forgets peers that left: neither may bring what an old opener carried back to life. Whoever sends too many
//! uses up its own share of time and memory, and not that of others.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use crate::proto::limits::CLOCK_TOLERANCE;
use crate::proto::{AgentId, Label, Now, SessionId};

/// An opener is taken until this long after it was made, with the usual tolerance for its maker's clock: so long a relay may hold it back.
const OPENER_LIFE: Duration = Duration::from_secs(60);
/// Openers that are looked at in a second. Chosen: each costs about a millisecond, and whoever can reach this agent's label can send them.
const PER_SECOND: u32 = 200;
/// Those of one source among them. Chosen: a peer opens once a second at most (`REOPEN_MIN`), and the bound is for the label that the
/// switchboard names.
const PER_SOURCE: u32 = 20;
/// Openers that are remembered; at the bound others are refused. Chosen: two seconds for each of a full roster's sessions, in a megabyte.
const REMEMBERED: usize = 8_192;
/// Those of one member among them. Chosen: more than one a second for as long as an opener lives.
const OF_ONE: usize = 512;

#[derive(Default)]
pub(super) struct Openers {
    /// The second that `count` is of.
    since: Duration,
    count: u32,
    counts_by_source: BTreeMap<Label, u32>,
    /// Until when each session that was opened from elsewhere could be opened again, Unix milliseconds.
    until_by_session: BTreeMap<SessionId, u64>,
    by_time: BTreeSet<(u64, SessionId, AgentId)>,
    counts_by_sender: BTreeMap<AgentId, usize>,
}

impl Openers {
    /// Whether another one, from this source, may be looked at in this second.
    pub(super) fn allow(&mut self, source: Label, now: Now) -> bool {
        if now.monotonic.saturating_sub(self.since) >= Duration::from_secs(1) {
            self.since = now.monotonic;
            self.count = 0;
            self.counts_by_source.clear();
        }
        if self.count >= PER_SECOND {
            return false;
        }
        let of_source = self.counts_by_source.entry(source).or_default();
        if *of_source >= PER_SOURCE {
            return false;
        }
        *of_source += 1;
        self.count += 1;
        true
    }

    pub(super) fn was_taken(&self, session: &SessionId) -> bool {
        self.until_by_session.contains_key(session)
    }

    /// Takes an opener of a member that proved genuine and was made at `wall`. False: it is too old, or so far ahead that it would have to be
    /// remembered for long; it was taken before; or there is no room.
    pub(super) fn take(&mut self, session: SessionId, sender: AgentId, wall: u64, now: Now) -> bool {
        while let Some((until, oldest, of)) = self.by_time.first().copied().filter(|(until, ..)| *until < now.wall) {
            self.by_time.remove(&(until, oldest, of));
            self.until_by_session.remove(&oldest);
            if let Some(count) = self.counts_by_sender.get_mut(&of) {
                *count -= 1;
                if *count == 0 {
                    self.counts_by_sender.remove(&of);
                }
            }
        }
        let life = (OPENER_LIFE + CLOCK_TOLERANCE).as_millis() as u64;
        let until = wall.saturating_add(life);
        let is_timely = until >= now.wall && wall <= now.wall.saturating_add(life);
        let of_sender = self.counts_by_sender.get(&sender).copied().unwrap_or_default();
        if !is_timely || self.was_taken(&session) || self.by_time.len() >= REMEMBERED || of_sender >= OF_ONE {
            return false;
        }
        self.until_by_session.insert(session, until);
        self.counts_by_sender.insert(sender, of_sender + 1);
        self.by_time.insert((until, session, sender))
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
        let one = AgentId::ZERO;
        assert!(openers.take(session, one, 1_000, at(2_000)));
        assert!(!openers.take(session, one, 1_000, at(300_000)), "played again");
        assert!(!openers.take(session, one, 1_000, at(361_001)), "played again when it is forgotten, but too old");
        assert!(!openers.was_taken(&session));
        assert!(openers.counts_by_sender.is_empty());
        assert!(openers.take(session, one, 900_000, at(600_000)), "its maker's clock is ahead");
        let other = SessionId::from_bytes([2; 16]);
        assert!(!openers.take(other, one, 960_001, at(600_000)), "it would be remembered for longer than others");
        assert!(!openers.take(other, one, u64::MAX, at(600_000)));
    }

    #[test]
    fn a_full_table_refuses_and_does_not_forget() {
        let mut openers = Openers::default();
        let session = |number: u64| SessionId::from_bytes(std::array::from_fn(|at| number.to_be_bytes()[at % 8]));
        let member = |number: u64| AgentId::from_bytes([(number / OF_ONE as u64) as u8; 32]);
        for number in 0..REMEMBERED as u64 {
            assert!(openers.take(session(number), member(number), 0, at(0)));
        }
        let another = AgentId::from_bytes([0xff; 32]);
        assert!(!openers.take(session(u64::MAX), another, 0, at(0)));
        assert!(openers.was_taken(&session(0)));
        assert!(openers.take(session(u64::MAX), another, 400_000, at(400_000)), "there is room when the old ones are over");
    }

    #[test]
    fn a_member_that_opens_and_opens_leaves_room_for_others() {
        let mut openers = Openers::default();
        let session = |number: u64| SessionId::from_bytes(std::array::from_fn(|at| number.to_be_bytes()[at % 8]));
        let taken = (0..10_000).filter(|number| openers.take(session(*number), AgentId::ZERO, 0, at(0))).count();
        assert_eq!(taken, OF_ONE);
        assert!(openers.take(session(10_001), AgentId::from_bytes([1; 32]), 0, at(0)));
    }

    #[test]
    fn a_flood_is_cut_to_so_many_a_second() {
        let mut openers = Openers::default();
        let source = |number: u32| Label::from_bytes([number as u8; 16]);
        assert_eq!((0..1_000).filter(|_| openers.allow(source(0), at(500))).count(), PER_SOURCE as usize);
        let all = (0..1_000).filter(|number| openers.allow(source(1 + number % 100), at(500))).count();
        assert_eq!(all, (PER_SECOND - PER_SOURCE) as usize);
        assert!(openers.allow(source(0), at(1_500)));
    }
}
