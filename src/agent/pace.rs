//! How fast a lane may send to a peer whose queue at the switchboard is full.
//!
//! A bounce says that the queue is full, and nothing says when it isn't any more. Whoever then sends everything again at once has most of
//! it bounced again: the way to the switchboard is busy with what won't be taken, and the queue with pieces of messages of which none gets
//! whole. So after a bounce a lane sends a limited number of bytes in each turn, a quarter more after each turn that was taken, half as many
//! after one that bounced.

use std::time::Duration;

/// How long a turn is, at least. Chosen: the shortest pause that a switchboard asks for, and longer than most round trips.
const TURN: Duration = Duration::from_millis(200);
/// Bytes of a turn, at least: a full frame goes through even then.
const ALLOWANCE_MIN: usize = 20 << 10;
/// Bytes of the first turn after a bounce. Chosen: a megabyte a second.
const ALLOWANCE_START: usize = 200 << 10;
/// At so many bytes there is no limit any more. Chosen: what a queue holds.
const ALLOWANCE_FREE: usize = 4 << 20;

#[derive(Debug, Default)]
pub(super) struct Pace {
    limit: Option<Limit>,
}

#[derive(Debug)]
struct Limit {
    allowance: usize,
    /// Bytes that may still go in this turn.
    left: usize,
    /// When the next turn begins.
    next: Duration,
    /// Something of this turn bounced.
    bounced: bool,
}

impl Pace {
    /// The queue is full; the switchboard asks for a pause.
    pub(super) fn handle_full(&mut self, retry_after: Duration, now: Duration) {
        let next = now + retry_after.max(TURN);
        match &mut self.limit {
            None => self.limit = Some(Limit { allowance: ALLOWANCE_START, left: 0, next, bounced: true }),
            // What bounces together was sent together.
            Some(limit) if limit.bounced && limit.next > now => {}
            Some(limit) => {
                let allowance = (limit.allowance / 2).max(ALLOWANCE_MIN);
                *limit = Limit { allowance, left: 0, next, bounced: true };
            }
        }
    }

    /// When the lane may send again, if not now.
    pub(super) fn opens_at(&self, now: Duration) -> Option<Duration> {
        self.limit.as_ref().filter(|limit| limit.left == 0 && limit.next > now).map(|limit| limit.next)
    }

    /// So many bytes were sent.
    pub(super) fn take(&mut self, bytes: usize, now: Duration) {
        let Some(limit) = &mut self.limit else { return };
        if limit.next <= now {
            if !limit.bounced {
                limit.allowance += limit.allowance / 4;
            }
            if limit.allowance >= ALLOWANCE_FREE {
                self.limit = None;
                return;
            }
            *limit = Limit { allowance: limit.allowance, left: limit.allowance, next: now + TURN, bounced: false };
        }
        limit.left = limit.left.saturating_sub(bytes);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Sends as fast as it may for so long, to a queue that takes `rate` bytes in a turn. Returns what was taken and what bounced.
    fn play(rate: usize, turns: usize) -> (usize, usize) {
        let (mut pace, mut taken, mut bounced) = (Pace::default(), 0, 0);
        pace.handle_full(TURN, Duration::ZERO);
        for turn in 1..=turns {
            let now = TURN * turn as u32;
            let mut room = rate;
            // Without a limit it sends a megabyte and sees.
            for _ in 0..64 {
                if pace.opens_at(now).is_some() {
                    break;
                }
                pace.take(16 << 10, now);
                match room.checked_sub(16 << 10) {
                    Some(rest) => {
                        room = rest;
                        taken += 16 << 10;
                    }
                    None => {
                        bounced += 16 << 10;
                        pace.handle_full(TURN, now);
                    }
                }
            }
        }
        (taken, bounced)
    }

    #[test]
    fn a_lane_that_never_bounced_has_no_limit() {
        let mut pace = Pace::default();
        for _ in 0..1_000 {
            assert_eq!(pace.opens_at(Duration::ZERO), None);
            pace.take(1 << 20, Duration::ZERO);
        }
    }

    #[test]
    fn most_of_what_is_sent_to_a_slow_receiver_is_taken() {
        let (taken, bounced) = play(64 << 10, 500);
        assert!(taken > 500 * (64 << 10) / 3, "{taken} bytes were taken");
        assert!(bounced < taken / 2, "{bounced} bytes bounced, {taken} were taken");
    }

    #[test]
    fn the_limit_goes_when_nothing_bounces_any_more() {
        let mut pace = Pace::default();
        pace.handle_full(TURN, Duration::ZERO);
        assert_eq!(pace.opens_at(TURN / 2), Some(TURN));
        for turn in 1..40 {
            assert_eq!(pace.opens_at(TURN * turn), None);
            pace.take(ALLOWANCE_FREE, TURN * turn);
        }
        assert!(pace.limit.is_none());
    }
}
