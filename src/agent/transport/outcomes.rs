//! What became of the messages of one lane, for as long as their sender may not know.
//!
//! A receipt has room for a few outcomes only. Those that were not said yet go first, in as many receipts as that takes; when the sender
//! asks, or the path broke, all are said again from the lowest on, because receipts may have been lost.

use std::collections::{BTreeMap, BTreeSet};
use std::ops::Range;

use super::numbers::Numbers;
use crate::agent::message::RefusalCode;
use crate::agent::section::RefusedNumber;

/// Ranges and refusals that one receipt names; with them it fits into a control frame.
pub const RECEIPT_RANGES: usize = 12;
const RECEIPT_REFUSALS: usize = 2;
/// Most separate ranges that are remembered. Chosen: as many as there can be of numbers that were received.
const RANGES: usize = 1_024;
/// Most refusals kept until the sender has seen them; older ones are dropped, and their messages expire as unconfirmed.
const REFUSALS: usize = 1_024;
/// Longest reason of a refusal in a receipt, in bytes.
const REASON_MAX: usize = 200;

#[derive(Debug, Default)]
pub struct Outcomes {
    /// The sender knows the outcome of everything below.
    floor: u64,
    done: Numbers,
    refused: BTreeMap<u64, (RefusalCode, String)>,
    unsaid: BTreeSet<u64>,
    /// From this number on everything is being said again.
    again_from: Option<u64>,
}

/// What one receipt says of outcomes.
#[derive(Debug, Default)]
pub struct Said {
    pub done: Vec<Range<u64>>,
    pub refused: Vec<RefusedNumber>,
    /// Everything below this was said, in its turn.
    up_to: u64,
}

impl Outcomes {
    pub fn done(&mut self, number: u64) {
        if number >= self.floor && (self.done.ranges() < RANGES || self.done.contains(number)) {
            self.done.insert(number);
            self.unsaid.insert(number);
        }
    }

    pub fn refuse(&mut self, number: u64, code: RefusalCode, reason: &str) {
        if number < self.floor {
            return;
        }
        let mut end = reason.len().min(REASON_MAX);
        while !reason.is_char_boundary(end) {
            end -= 1;
        }
        self.refused.insert(number, (code, reason[..end].to_owned()));
        self.unsaid.insert(number);
        if self.refused.len() > REFUSALS
            && let Some((oldest, _)) = self.refused.pop_first()
        {
            self.unsaid.remove(&oldest);
        }
    }

    /// The sender waits for no outcome below `floor`.
    pub fn handle_floor(&mut self, floor: u64) {
        if floor > self.floor {
            self.floor = floor;
            self.done.forget_below(floor);
            self.refused = self.refused.split_off(&floor);
            self.unsaid = self.unsaid.split_off(&floor);
        }
    }

    /// What was said may not have arrived.
    pub fn say_again(&mut self) {
        self.again_from = Some(self.floor);
    }

    /// What the next receipt says.
    pub fn next(&self) -> Said {
        if self.again_from.is_none() && !self.unsaid.is_empty() {
            let done = self.unsaid.iter().filter(|number| !self.refused.contains_key(number)).map(|&number| number..number + 1);
            let refused = self.unsaid.iter().filter_map(|number| self.refused.get_key_value(number));
            return Said::fill(done, refused);
        }
        let from = self.again_from.unwrap_or_default().max(self.floor);
        let lowest = (self.done.below() > from).then(|| from..self.done.below());
        let beyond = self.done.beyond().filter(|&(_, end)| end > from).map(|(first, end)| first.max(from)..end);
        Said::fill(lowest.into_iter().chain(beyond), self.refused.range(from..))
    }

    /// This was said. True if there is more to say.
    pub fn note_said(&mut self, said: &Said) -> bool {
        if self.again_from.is_some() {
            self.again_from = (said.up_to < u64::MAX).then_some(said.up_to);
        }
        for range in said.done.iter().cloned() {
            let covered: Vec<u64> = self.unsaid.range(range).copied().collect();
            covered.iter().for_each(|number| {
                self.unsaid.remove(number);
            });
        }
        said.refused.iter().for_each(|refused| {
            self.unsaid.remove(&refused.number);
        });
        self.again_from.is_some() || !self.unsaid.is_empty()
    }
}

impl Said {
    /// Takes ranges and refusals in the order of their numbers, as far as both fit.
    fn fill<'a>(
        done: impl Iterator<Item = Range<u64>>,
        refused: impl Iterator<Item = (&'a u64, &'a (RefusalCode, String))>,
    ) -> Self {
        let mut said = Self { up_to: u64::MAX, ..Self::default() };
        for range in done {
            let is_full = said.done.len() == RECEIPT_RANGES;
            match said.done.last_mut() {
                Some(last) if last.end == range.start => last.end = range.end,
                _ if is_full => {
                    said.up_to = range.start;
                    break;
                }
                _ => said.done.push(range),
            }
        }
        for (&number, (code, reason)) in refused {
            if said.refused.len() == RECEIPT_REFUSALS {
                said.up_to = said.up_to.min(number);
                break;
            }
            said.refused.push(RefusedNumber { number, code: *code, reason: reason.clone() });
        }
        said.done.retain(|range| range.start < said.up_to);
        if let Some(last) = said.done.last_mut() {
            last.end = last.end.min(said.up_to);
        }
        said.refused.retain(|refused| refused.number < said.up_to);
        said
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Takes receipts until there is nothing more to say.
    fn say_all(outcomes: &mut Outcomes) -> (Vec<u64>, Vec<u64>, usize) {
        let (mut done, mut refused, mut receipts) = (Vec::new(), Vec::new(), 0);
        loop {
            let said = outcomes.next();
            assert!(said.done.len() <= RECEIPT_RANGES && said.refused.len() <= RECEIPT_REFUSALS);
            done.extend(said.done.iter().cloned().flatten());
            refused.extend(said.refused.iter().map(|refused| refused.number));
            receipts += 1;
            assert!(receipts < 1_000, "it never ends");
            if !outcomes.note_said(&said) {
                return (done, refused, receipts);
            }
        }
    }

    fn mixed() -> Outcomes {
        let mut outcomes = Outcomes::default();
        for number in 0..200 {
            match number % 4 {
                0 => outcomes.done(number),
                1 => outcomes.refuse(number, RefusalCode::Application, "no"),
                _ => {}
            }
        }
        outcomes
    }

    #[test]
    fn everything_is_said_once_and_again_when_it_may_be_lost() {
        let mut outcomes = mixed();
        let all = say_all(&mut outcomes);
        assert_eq!(all.0, (0..200).step_by(4).collect::<Vec<u64>>());
        assert_eq!(all.1, (1..200).step_by(4).collect::<Vec<u64>>());
        outcomes.say_again();
        assert_eq!(say_all(&mut outcomes), all);
    }

    #[test]
    fn what_is_new_is_said_without_what_was_said_before() {
        let mut outcomes = mixed();
        say_all(&mut outcomes);
        outcomes.done(2);
        assert_eq!(say_all(&mut outcomes), (vec![2], vec![], 1));
    }

    #[test]
    fn what_comes_while_all_is_said_again_is_said_too() {
        let mut outcomes = mixed();
        say_all(&mut outcomes);
        outcomes.say_again();
        for _ in 0..10 {
            let said = outcomes.next();
            assert!(outcomes.note_said(&said));
        }
        outcomes.done(2);
        outcomes.refuse(199, RefusalCode::Application, "no");
        let (done, refused, _) = say_all(&mut outcomes);
        assert!(done.contains(&2) && refused.contains(&199));
    }

    #[test]
    fn below_the_floor_nothing_is_said() {
        let mut outcomes = mixed();
        outcomes.handle_floor(190);
        outcomes.done(10);
        let (done, refused, _) = say_all(&mut outcomes);
        assert_eq!((done, refused), (vec![192, 196], vec![193, 197]));
    }
}
