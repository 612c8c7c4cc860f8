//! How much to hand to a socket at once.
//!
//! What was handed over can't be overtaken: on a narrow link it is what an urgent message waits for. On a fast one, larger pieces cost less. So a
//! link that stays blocked for long gets little at a time, until it takes many pieces in a row without blocking.

use std::time::{Duration, Instant};

use crate::net::os;

/// Bytes at once. Chosen: what one system call carries well, and less than 0.1 ms of sealing.
const BATCH: usize = 64 * 1024;
/// The same on a slow link. Chosen: one frame of the usual size.
const SLOW_BATCH: usize = 16 * 1024;
/// A link that is blocked for longer is slow; a batch takes that long at 25 Mbit/s. Chosen: what an urgent message may well wait.
const SLOW: Duration = Duration::from_millis(20);
/// So many small batches in a row that didn't block show that a link isn't slow. Chosen: a quarter of a mebibyte.
const FAST_BATCHES: u8 = 16;

#[derive(Debug, Default)]
pub(super) struct Pace {
    blocked_since: Option<Instant>,
    is_slow: bool,
    /// Batches that a slow link took in a row without blocking.
    taken_at_once: u8,
}

impl Pace {
    /// Bytes to hand over at once.
    pub(super) fn batch(&self) -> usize {
        if self.is_slow { SLOW_BATCH } else { BATCH }
    }

    /// Bytes that may wait unsent in the kernel.
    pub(super) fn unsent(&self) -> usize {
        if self.is_slow { SLOW_BATCH } else { os::UNSENT_BYTES }
    }

    /// The socket takes nothing more.
    pub(super) fn handle_blocked(&mut self, now: Instant) {
        self.blocked_since.get_or_insert(now);
    }

    /// The socket has taken everything. Returns whether the pace is another one. Asks for the time only if the socket was blocked.
    pub(super) fn handle_taken(&mut self, now: impl FnOnce() -> Instant) -> bool {
        let was_slow = self.is_slow;
        match self.blocked_since.take() {
            Some(since) => {
                self.taken_at_once = 0;
                self.is_slow |= now().duration_since(since) > SLOW;
            }
            None => {
                self.taken_at_once = self.taken_at_once.saturating_add(1);
                self.is_slow &= self.taken_at_once < FAST_BATCHES;
            }
        }
        self.is_slow != was_slow
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn take_after(pace: &mut Pace, blocked: Duration) -> bool {
        let now = Instant::now();
        pace.handle_blocked(now);
        pace.handle_blocked(now + blocked / 2);
        pace.handle_taken(|| now + blocked)
    }

    #[test]
    fn a_link_that_stays_blocked_gets_little_at_a_time() {
        let mut pace = Pace::default();
        assert!(!take_after(&mut pace, SLOW));
        assert_eq!((pace.batch(), pace.unsent()), (BATCH, os::UNSENT_BYTES));
        assert!(take_after(&mut pace, SLOW * 2));
        assert_eq!((pace.batch(), pace.unsent()), (SLOW_BATCH, SLOW_BATCH));
    }

    #[test]
    fn a_link_that_takes_much_in_a_row_is_fast_again() {
        let mut pace = Pace::default();
        take_after(&mut pace, SLOW * 2);
        for _ in 1..FAST_BATCHES {
            assert!(!pace.handle_taken(Instant::now));
        }
        assert!(!take_after(&mut pace, Duration::ZERO), "it blocked once more, so the count begins anew");
        for _ in 1..FAST_BATCHES {
            assert!(!pace.handle_taken(Instant::now));
        }
        assert!(pace.handle_taken(Instant::now));
        assert_eq!(pace.batch(), BATCH);
    }
}
