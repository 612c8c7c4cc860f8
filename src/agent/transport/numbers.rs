//! A set of transport numbers that is dense at its lower end.

use std::collections::BTreeMap;

/// All numbers below a bound, and some ranges beyond it; as compact as receipts are.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Numbers {
    below: u64,
    /// First number and exclusive end; disjoint, not adjacent, all starting above `below`.
    beyond: BTreeMap<u64, u64>,
}

impl Numbers {
    /// Every number below this is in the set.
    pub fn below(&self) -> u64 {
        self.below
    }

    /// The ranges beyond `below`, lowest first: first number and exclusive end.
    pub fn beyond(&self) -> impl Iterator<Item = (u64, u64)> + '_ {
        self.beyond.iter().map(|(&first, &end)| (first, end))
    }

    /// How many ranges there are beyond `below`: the memory that the set takes.
    pub fn ranges(&self) -> usize {
        self.beyond.len()
    }

    /// Whether the number is in the set.
    pub fn contains(&self, number: u64) -> bool {
        number < self.below || self.beyond.range(..=number).next_back().is_some_and(|(_, &end)| number < end)
    }

    /// Whether the number would make a range longer, not another one.
    pub fn touches(&self, number: u64) -> bool {
        number == self.below
            || self.contains(number.saturating_add(1))
            || number.checked_sub(1).is_some_and(|before| self.contains(before))
    }

    /// Adds a number; false if it was there already.
    pub fn insert(&mut self, number: u64) -> bool {
        if number == self.below && self.beyond.is_empty() {
            self.below += 1;
            return true;
        }
        if self.contains(number) {
            return false;
        }
        self.insert_range(number, number + 1);
        true
    }

    /// Adds `first..end`.
    pub fn insert_range(&mut self, first: u64, end: u64) {
        if first >= end || end <= self.below {
            return;
        }
        let (mut first, mut end) = (first, end);
        if let Some((&start, &stop)) = self.beyond.range(..=first).next_back()
            && stop >= first
        {
            first = start;
            end = end.max(stop);
            self.beyond.remove(&start);
        }
        while let Some((&start, &stop)) = self.beyond.range(first..=end).next() {
            end = end.max(stop);
            self.beyond.remove(&start);
        }
        if first <= self.below {
            self.below = end;
        } else {
            self.beyond.insert(first, end);
        }
    }

    /// Adds everything below `bound`.
    pub fn insert_below(&mut self, bound: u64) {
        self.insert_range(self.below, bound);
    }

    /// Forgets the ranges that start below `bound`; for sets whose lower end nobody asks for any more.
    pub fn forget_below(&mut self, bound: u64) {
        self.insert_below(bound);
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn a_set_of_numbers_agrees_with_a_plain_set(ranges in proptest::collection::vec((0u64..60, 0u64..8), 0..40), probe in 0u64..80) {
            let mut numbers = Numbers::default();
            let mut plain = BTreeSet::new();
            for (first, len) in ranges {
                if len == 1 {
                    prop_assert_eq!(numbers.insert(first), plain.insert(first));
                } else {
                    numbers.insert_range(first, first + len);
                    plain.extend(first..first + len);
                }
                prop_assert_eq!(numbers.contains(probe), plain.contains(&probe));
                let mut last = numbers.below();
                for (first, end) in numbers.beyond() {
                    prop_assert!(first > last && end > first, "ranges touch: {:?}", numbers);
                    last = end;
                }
            }
            let all: BTreeSet<u64> = (0..numbers.below()).chain(numbers.beyond().flat_map(|(first, end)| first..end)).collect();
            prop_assert_eq!(all, plain);
        }
    }
}
