//! Slots: the small numbers under which guests find a link (PROTOCOL.md section 3.3). A table that knows no links: who holds
//! which number, until when, and which comes next.
//!
//! A slot belongs to a key in a swarm and not to its link: a holder that comes back is found under the same number. No number
//! changes hands soon, so that somebody with an old code reaches nobody instead of spoiling another's.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::time::Duration;

use super::{Config, Origin};
use crate::proto::{Label, RoutingKey, SlotStatus, limits};

/// Openings for which a number that was closed is given to nobody. Protocol.
const REST: u64 = 1_000;

/// Numbers that counting may begin with: three digits, which are easily said.
const FIRST: std::ops::RangeInclusive<u32> = 100..=999;

/// Who may be found under a slot.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Holder {
    pub(super) routing: RoutingKey,
    pub(super) label: Label,
}

/// All slots of a switchboard.
#[derive(Debug)]
pub(super) struct Slots {
    most: usize,
    most_per_swarm: usize,
    most_per_origin: usize,
    slots: BTreeMap<u32, Slot>,
    /// One entry for each slot, the same as in the slot.
    due: BTreeSet<(Duration, u32)>,
    /// How many slots each has; none is zero.
    counts: BTreeMap<Account, usize>,
    /// How many were opened since the start.
    opened: u64,
    /// Numbers that are nobody's and can't be given yet, and after how many openings they can, the earliest first.
    resting: VecDeque<(u64, u32)>,
    /// The same numbers, to find one.
    rest: BTreeSet<u32>,
    /// Where counting goes on; none until [`Slots::begin`].
    next: Option<u32>,
}

#[derive(Debug)]
struct Slot {
    holder: Holder,
    origin: Option<Origin>,
    until: Duration,
}

/// Against whose limit a slot counts.
#[derive(Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Account {
    Holder(Holder),
    Swarm(RoutingKey),
    Origin(Origin),
}

impl Slots {
    pub(super) fn new(config: &Config) -> Self {
        Self {
            most: config.slots,
            most_per_swarm: config.slots_per_swarm,
            most_per_origin: config.slots_per_origin,
            slots: BTreeMap::new(),
            due: BTreeSet::new(),
            counts: BTreeMap::new(),
            opened: 0,
            resting: VecDeque::new(),
            rest: BTreeSet::new(),
            next: None,
        }
    }

    /// Chooses where counting begins, if it hasn't: at another number in each run, as codes of the last may still be about.
    pub(super) fn begin(&mut self, random: &[u8; 32]) {
        let (first, _) = random.split_first_chunk().expect("32 bytes are more than 8");
        let among = u64::from(FIRST.end() - FIRST.start() + 1);
        self.next.get_or_insert(FIRST.start() + (u64::from_be_bytes(*first) % among) as u32);
    }

    /// Opens a slot, or changes until when it is open: the one that is asked for, or with 0 the next one.
    ///
    /// The holder gets its own again, at any time until it ends. A number of its choice that is nobody's it gets too: after a
    /// restart of the switchboard codes go on.
    pub(super) fn open(
        &mut self,
        asked: u32,
        holder: Holder,
        origin: Option<Origin>,
        until: Duration,
    ) -> Result<u32, SlotStatus> {
        match self.slots.get_mut(&asked) {
            Some(slot) if slot.holder == holder => {
                self.due.remove(&(slot.until, asked));
                slot.until = until;
                self.due.insert((until, asked));
                return Ok(asked);
            }
            Some(_) => return Err(SlotStatus::Taken),
            None if asked > limits::SLOT => return Err(SlotStatus::NotAllowed),
            None if self.rest.contains(&asked) => return Err(SlotStatus::Taken),
            None => {}
        }
        if self.slots.len() >= self.most || Self::accounts(holder, origin).any(|account| self.is_full(&account)) {
            return Err(SlotStatus::Full);
        }
        let number = if asked == 0 { self.count_on().ok_or(SlotStatus::Full)? } else { asked };
        for account in Self::accounts(holder, origin) {
            *self.counts.entry(account).or_default() += 1;
        }
        self.slots.insert(number, Slot { holder, origin, until });
        self.due.insert((until, number));
        self.opened += 1;
        while let Some(&(until, number)) = self.resting.front()
            && until <= self.opened
        {
            self.resting.pop_front();
            self.rest.remove(&number);
        }
        Ok(number)
    }

    /// Closes a slot, if it is this holder's.
    pub(super) fn close(&mut self, number: u32, holder: Holder) {
        if self.slots.get(&number).is_some_and(|slot| slot.holder == holder) {
            self.remove(number);
        }
    }

    /// Closes those whose time is over.
    pub(super) fn expire(&mut self, now: Duration) {
        while let Some(&(until, number)) = self.due.first()
            && until <= now
        {
            self.remove(number);
        }
    }

    /// Returns when [`expire`](Self::expire) has something to do.
    pub(super) fn next_due(&self) -> Option<Duration> {
        self.due.first().map(|(until, _)| *until)
    }

    /// Returns who holds a slot.
    pub(super) fn holder(&self, number: u32) -> Option<Holder> {
        self.slots.get(&number).map(|slot| slot.holder)
    }

    pub(super) fn len(&self) -> usize {
        self.slots.len()
    }

    /// Returns the next number that nobody has or has just had. Counting begins again at 1 once it has gone so far that one
    /// is free in any case.
    fn count_on(&mut self) -> Option<u32> {
        let last = u32::try_from(self.most as u64 + REST + 1).unwrap_or(u32::MAX).clamp(*FIRST.end(), limits::SLOT);
        let first = self.next.unwrap_or(*FIRST.start());
        let mut candidates = (first..=last).chain(1..first);
        let number = candidates.find(|number| !self.slots.contains_key(number) && !self.rest.contains(number))?;
        self.next = Some(if number >= last { 1 } else { number + 1 });
        Some(number)
    }

    fn accounts(holder: Holder, origin: Option<Origin>) -> impl Iterator<Item = Account> {
        [Account::Holder(holder), Account::Swarm(holder.routing)].into_iter().chain(origin.map(Account::Origin))
    }

    fn is_full(&self, account: &Account) -> bool {
        let most = match account {
            Account::Holder(_) => limits::SLOTS_PER_LINK,
            Account::Swarm(_) => self.most_per_swarm,
            Account::Origin(_) => self.most_per_origin,
        };
        self.counts.get(account).is_some_and(|count| *count >= most)
    }

    fn remove(&mut self, number: u32) {
        let Some(slot) = self.slots.remove(&number) else { return };
        self.due.remove(&(slot.until, number));
        self.resting.push_back((self.opened + REST, number));
        self.rest.insert(number);
        for account in Self::accounts(slot.holder, slot.origin) {
            if let Some(count) = self.counts.get_mut(&account) {
                *count -= 1;
                if *count == 0 {
                    self.counts.remove(&account);
                }
            }
        }
    }
}
