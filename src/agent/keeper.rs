//! When the agent file is to be written.
//!
//! Policy. At once: a membership that is new or renewed, a prekey that was replaced, a ticket that was opened or revoked, other addresses.
//! Cards of peers, of which a swarm that comes together changes many, and which others could tell again: at most every ten seconds, and
//! when the agent closes. A save that failed is tried again every half minute, and the agent goes on meanwhile: what it would lose by
//! a restart is said in [`super::Health`].

use std::time::Duration;

use super::event::Command;
use crate::proto::Now;

/// Pause between two saves for the sake of cards.
const CARDS_PAUSE: Duration = Duration::from_secs(10);
/// Pause after a save that failed. Chosen: a full disk is cleared by people.
const RETRY: Duration = Duration::from_secs(30);

/// Does nothing for an agent without a file.
pub(super) struct Keeper {
    has_file: bool,
    /// A save was asked for, and the shell hasn't heard of it.
    is_wanted: bool,
    /// A save was asked for, and nothing was heard of it.
    is_under_way: bool,
    /// When a save that may wait is due.
    due: Option<Duration>,
    last: Option<Duration>,
    /// Why the last save failed.
    pub(super) error: Option<String>,
}

impl Keeper {
    pub(super) fn new(has_file: bool) -> Self {
        Self { has_file, is_wanted: false, is_under_way: false, due: None, last: None, error: None }
    }

    /// Something changed that a restart must not lose.
    pub(super) fn save(&mut self, now: Now) {
        if self.has_file {
            self.is_wanted = true;
            self.is_under_way = true;
            self.due = None;
            self.last = Some(now.monotonic);
        }
    }

    /// Something changed that a restart may lose for a while.
    pub(super) fn save_soon(&mut self, now: Now) {
        if self.has_file && !self.is_wanted {
            let earliest = self.last.map_or(now.monotonic, |last| last + CARDS_PAUSE);
            self.due.get_or_insert(earliest.max(now.monotonic));
        }
    }

    /// Nothing changes any more: what waits is saved.
    pub(super) fn finish(&mut self, now: Now) {
        if self.due.is_some() {
            self.save(now);
        }
    }

    /// The file belongs to somebody else by this time.
    pub(super) fn stop(&mut self) {
        *self = Self { error: self.error.take(), ..Self::new(false) };
    }

    /// What was to be saved at once is on disk, or can't be.
    pub(super) fn is_settled(&self) -> bool {
        !self.is_under_way
    }

    /// Takes what became of a save. True if the application should hear of it.
    pub(super) fn handle_saved(&mut self, result: Result<(), String>, now: Now) -> bool {
        self.is_under_way = false;
        let error = result.err();
        if error.is_some() && self.has_file {
            self.due = Some(now.monotonic + RETRY);
        }
        let is_news = error.is_some() && error != self.error;
        self.error = error;
        is_news
    }

    pub(super) fn handle_timeout(&mut self, now: Now) {
        if self.due.is_some_and(|due| due <= now.monotonic) {
            self.save(now);
        }
    }

    pub(super) fn poll_command(&mut self) -> Option<Command> {
        std::mem::take(&mut self.is_wanted).then_some(Command::Save)
    }

    pub(super) fn poll_timeout(&self) -> Option<Duration> {
        self.due
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(seconds: u64) -> Now {
        Now { monotonic: Duration::from_secs(seconds), wall: 0 }
    }

    fn saves(keeper: &mut Keeper, now: Now) -> bool {
        keeper.handle_timeout(now);
        keeper.poll_command().is_some()
    }

    #[test]
    fn many_cards_cost_one_save_in_ten_seconds() {
        let mut keeper = Keeper::new(true);
        keeper.save(at(0));
        assert!(saves(&mut keeper, at(0)));
        let times: Vec<u64> = (1..40)
            .filter(|second| {
                keeper.save_soon(at(*second));
                saves(&mut keeper, at(*second))
            })
            .collect();
        assert_eq!(times, [10, 20, 30]);
    }

    #[test]
    fn what_must_not_be_lost_waits_for_nothing_and_takes_along_what_waits() {
        let mut keeper = Keeper::new(true);
        keeper.save(at(0));
        assert!(saves(&mut keeper, at(0)));
        keeper.save_soon(at(1));
        assert!(!saves(&mut keeper, at(1)));
        keeper.save(at(2));
        assert!(saves(&mut keeper, at(2)));
        assert_eq!(keeper.poll_timeout(), None);
    }

    #[test]
    fn an_agent_that_closes_saves_what_waits() {
        let mut keeper = Keeper::new(true);
        keeper.save(at(0));
        assert!(saves(&mut keeper, at(0)));
        keeper.save_soon(at(1));
        keeper.finish(at(1));
        assert!(saves(&mut keeper, at(1)));
    }

    #[test]
    fn a_failed_save_is_reported_once_and_tried_again() {
        let mut keeper = Keeper::new(true);
        let full = || Err("the disk is full".to_owned());
        assert!(keeper.handle_saved(full(), at(0)));
        assert!(!saves(&mut keeper, at(29)));
        assert!(saves(&mut keeper, at(30)));
        assert!(!keeper.handle_saved(full(), at(30)), "the same again is no news");
        assert!(!keeper.handle_saved(Ok(()), at(60)));
        assert_eq!(keeper.error, None);
    }

    #[test]
    fn an_agent_without_a_file_asks_for_nothing() {
        let mut keeper = Keeper::new(false);
        keeper.save(at(0));
        keeper.save_soon(at(0));
        assert_eq!(keeper.poll_timeout(), None);
        assert!(!saves(&mut keeper, at(100)));
    }
}
