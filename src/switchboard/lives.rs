//! Which links there are over all their sockets, and what is kept of those that have none. A table that decides nothing.

use std::collections::{BTreeMap, BTreeSet};
use std::num::NonZeroU64;
use std::time::Duration;

use super::Config;
use super::link::{LinkId, Member, Stream};

/// Names a link over all its sockets, and no other link after. So a bounce finds the sender of a frame after that was resumed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Life(NonZeroU64);

impl Life {
    /// What is left when a link's stream has been taken from it.
    pub(super) const OVER: Self = Self(NonZeroU64::MAX);
}

/// Where a link is.
#[derive(Debug)]
pub(super) enum Place {
    Linked(LinkId),
    Dormant(Box<Dormant>),
}

/// A link that was lost and can be resumed.
#[derive(Debug)]
pub(super) struct Dormant {
    /// When it was lost.
    pub(super) since: Duration,
    /// What its last socket was called.
    pub(super) was: LinkId,
    pub(super) member: Member,
    pub(super) stream: Stream,
}

#[derive(Debug)]
pub(super) struct Lives {
    grace: Duration,
    announce_after: Duration,
    last: NonZeroU64,
    places: BTreeMap<Life, Place>,
    /// Those that are dormant, the one that was lost first in front.
    dormant: BTreeSet<(Duration, Life)>,
    /// Those of them that haven't been announced as gone.
    unannounced: BTreeSet<(Duration, Life)>,
}

impl Lives {
    pub(super) fn new(config: &Config) -> Self {
        Self {
            grace: config.grace,
            announce_after: config.announce_after.min(config.grace),
            last: NonZeroU64::MIN,
            places: BTreeMap::new(),
            dormant: BTreeSet::new(),
            unannounced: BTreeSet::new(),
        }
    }

    /// Names a link that is to come.
    pub(super) fn begin(&mut self) -> Life {
        self.last = self.last.saturating_add(1);
        Life(self.last)
    }

    pub(super) fn set_linked(&mut self, life: Life, link: LinkId) {
        self.places.insert(life, Place::Linked(link));
    }

    pub(super) fn place_mut(&mut self, life: Life) -> Option<&mut Place> {
        self.places.get_mut(&life)
    }

    pub(super) fn dormant_mut(&mut self, life: Life) -> Option<&mut Dormant> {
        match self.places.get_mut(&life) {
            Some(Place::Dormant(dormant)) => Some(dormant),
            Some(Place::Linked(_)) | None => None,
        }
    }

    /// Forgets a link that is over.
    pub(super) fn end(&mut self, life: Life) {
        self.places.remove(&life);
    }

    pub(super) fn put_to_sleep(&mut self, dormant: Dormant) {
        let (life, since) = (dormant.stream.life, dormant.since);
        self.dormant.insert((since, life));
        self.unannounced.insert((since, life));
        self.places.insert(life, Place::Dormant(Box::new(dormant)));
    }

    /// Takes a dormant link out of the table.
    pub(super) fn take(&mut self, life: Life) -> Option<Dormant> {
        if !matches!(self.places.get(&life), Some(Place::Dormant(_))) {
            return None;
        }
        let Some(Place::Dormant(dormant)) = self.places.remove(&life) else { return None };
        self.dormant.remove(&(dormant.since, life));
        self.unannounced.remove(&(dormant.since, life));
        Some(*dormant)
    }

    /// Returns the next link that is to be announced as gone, once.
    pub(super) fn next_to_announce(&mut self, now: Duration) -> Option<Life> {
        let (since, life) = *self.unannounced.first()?;
        if since + self.announce_after > now {
            return None;
        }
        self.unannounced.pop_first();
        Some(life)
    }

    /// Returns the dormant link that ends next, if it is over by now or there are more than `most`.
    pub(super) fn next_to_end(&self, now: Duration, most: usize) -> Option<Life> {
        let (since, life) = *self.dormant.first()?;
        (since + self.grace <= now || self.dormant.len() > most).then_some(life)
    }

    pub(super) fn next_due(&self) -> Option<Duration> {
        let announcement = self.unannounced.first().map(|(since, _)| *since + self.announce_after);
        let end = self.dormant.first().map(|(since, _)| *since + self.grace);
        announcement.into_iter().chain(end).min()
    }

    /// How many links are dormant.
    pub(super) fn dormant(&self) -> usize {
        self.dormant.len()
    }

    #[cfg(test)]
    pub(super) fn is_empty(&self) -> bool {
        self.places.is_empty() && self.dormant.is_empty() && self.unannounced.is_empty()
    }
}
