//! Which counters of a lane have been seen: a sliding window that lets frames overtake one another, but none come twice.
//!
//! The bitmap is a ring of words (RFC 6479): moving ahead clears whole words and never shifts bits.

use super::Error;

/// How far behind the highest counter a frame may still come (PROTOCOL.md section 6.2): frames of one lane overtake one another only where a
/// link was replaced.
pub(super) const WINDOW: u64 = 1_024;

const WORD_BITS: u64 = 64;
/// One word more than the window needs, because the highest counter stands anywhere within its word.
const WORDS: usize = (WINDOW / WORD_BITS) as usize + 1;

/// The counters of one lane and direction that have been authenticated.
#[derive(Clone)]
pub(super) struct ReplayWindow {
    /// The counter after the highest seen.
    next: u64,
    seen: [u64; WORDS],
}

impl ReplayWindow {
    pub(super) const fn new() -> Self {
        Self { next: 0, seen: [0; WORDS] }
    }

    /// Says whether a frame with this counter may be opened at all. It changes nothing: the counter isn't authentic yet.
    ///
    /// # Errors
    /// [`Error::Replayed`] if the counter was seen, or is too far behind to know.
    pub(super) fn check(&self, counter: u64) -> Result<(), Error> {
        let fresh = counter >= self.next || (self.next - 1 - counter <= WINDOW && self.seen[word(counter)] & bit(counter) == 0);
        if (fresh || cfg!(feature = "planted_replay_on")) && counter < u64::MAX { Ok(()) } else { Err(Error::Replayed) }
    }

    /// Remembers a counter that [`Self::check`] let pass and whose frame is authentic.
    pub(super) fn commit(&mut self, counter: u64) {
        if counter >= self.next {
            // The word of the highest counter so far holds marks; those after it, up to the one of `counter`, are left from a round ago.
            let first = self.next.div_ceil(WORD_BITS);
            let last = counter / WORD_BITS;
            for index in first..=last.min(first + WORDS as u64) {
                self.seen[(index % WORDS as u64) as usize] = 0;
            }
            self.next = counter + 1;
        }
        self.seen[word(counter)] |= bit(counter);
    }
}

fn word(counter: u64) -> usize {
    (counter / WORD_BITS % WORDS as u64) as usize
}

fn bit(counter: u64) -> u64 {
    1 << (counter % WORD_BITS)
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;
    use crate::crypto::Random;

    #[test]
    fn a_counter_passes_once_in_any_order_within_the_window() {
        let mut window = ReplayWindow::new();
        for counter in (0..=WINDOW).rev() {
            window.check(counter).unwrap();
            window.commit(counter);
        }
        for counter in 0..=WINDOW {
            assert!(matches!(window.check(counter), Err(Error::Replayed)), "counter {counter}");
        }
        window.check(WINDOW + 1).unwrap();
    }

    #[test]
    fn a_counter_further_behind_than_the_window_is_refused_though_never_seen() {
        let mut window = ReplayWindow::new();
        window.commit(5_000);
        window.check(5_000 - WINDOW).unwrap();
        assert!(matches!(window.check(5_000 - WINDOW - 1), Err(Error::Replayed)));
    }

    #[test]
    fn the_last_counter_is_never_accepted_so_that_the_next_one_always_exists() {
        let mut window = ReplayWindow::new();
        window.commit(u64::MAX - 1);
        assert!(matches!(window.check(u64::MAX), Err(Error::Replayed)));
        assert!(matches!(window.check(u64::MAX - 1), Err(Error::Replayed)));
        window.check(u64::MAX - 2).unwrap();
    }

    #[test]
    fn it_agrees_with_a_plain_set_on_any_walk() {
        let mut random = Random::from_seed([3; 32]);
        for _ in 0..50 {
            let (mut window, mut seen, mut highest) = (ReplayWindow::new(), BTreeSet::new(), 0);
            for _ in 0..2_000 {
                let [kind, step, low, high] = random.array();
                let jump = match kind {
                    0..=3 => u64::from(step) * 64,
                    4..=6 => u64::from(u16::from_be_bytes([low, high])) * 1_024,
                    _ => u64::from(step % 8),
                };
                let back = u64::from(u16::from_be_bytes([high, low]) % 1_100);
                let counter = if kind % 2 == 0 { highest + jump } else { u64::saturating_sub(highest, back) };
                let fresh = !seen.contains(&counter) && (counter >= highest || highest - counter <= WINDOW);
                assert_eq!(window.check(counter).is_ok(), fresh, "counter {counter} with {highest} the highest");
                if fresh {
                    window.commit(counter);
                    seen.insert(counter);
                    highest = highest.max(counter);
                }
            }
        }
    }
}
