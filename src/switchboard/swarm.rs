//! Who is linked in one swarm, and how the others hear of it. Nothing in one swarm is visible from another.

use std::collections::BTreeMap;
use std::ops::{Bound, Index, IndexMut};

use super::link::{LinkId, Member};
use crate::proto::{Label, LabelChanges, RoutingKey, limits};

/// Changes of labels that a swarm remembers. A link that is further behind gets the whole list again. Chosen: more than
/// change while a live link is busy for a second.
const CHANGES_KEPT: usize = 1_024;

/// The place of a swarm in [`Swarms`], for as long as it has a link.
pub(super) type SwarmIndex = usize;

/// All swarms with a link.
#[derive(Debug, Default)]
pub(super) struct Swarms {
    by_key: BTreeMap<RoutingKey, SwarmIndex>,
    swarms: Vec<Swarm>,
    free: Vec<SwarmIndex>,
}

impl Swarms {
    pub(super) fn find(&self, key: &RoutingKey) -> Option<SwarmIndex> {
        self.by_key.get(key).copied()
    }

    pub(super) fn find_or_make(&mut self, key: RoutingKey) -> SwarmIndex {
        *self.by_key.entry(key).or_insert_with(|| {
            let swarm = Swarm { key, ..Swarm::default() };
            match self.free.pop() {
                Some(index) => {
                    self.swarms[index] = swarm;
                    index
                }
                None => {
                    self.swarms.push(swarm);
                    self.swarms.len() - 1
                }
            }
        })
    }

    /// Forgets a swarm that nobody is linked in.
    pub(super) fn tidy(&mut self, index: SwarmIndex) {
        let swarm = &mut self.swarms[index];
        if swarm.members.is_empty() && swarm.strangers.is_empty() {
            self.by_key.remove(&swarm.key);
            *swarm = Swarm::default();
            self.free.push(index);
        }
    }

    pub(super) fn len(&self) -> usize {
        self.by_key.len()
    }

    pub(super) fn mailboxes(&self) -> usize {
        self.swarms.iter().map(|swarm| swarm.mailboxes.len()).sum()
    }
}

impl Index<SwarmIndex> for Swarms {
    type Output = Swarm;

    fn index(&self, index: SwarmIndex) -> &Swarm {
        &self.swarms[index]
    }
}

impl IndexMut<SwarmIndex> for Swarms {
    fn index_mut(&mut self, index: SwarmIndex) -> &mut Swarm {
        &mut self.swarms[index]
    }
}

/// The links of one routing key.
#[derive(Debug)]
pub(super) struct Swarm {
    pub(super) key: RoutingKey,
    pub(super) members: BTreeMap<Label, LinkId>,
    pub(super) strangers: BTreeMap<Label, LinkId>,
    mailboxes: BTreeMap<Label, Vec<Registrant>>,
    changes: Changes,
}

impl Default for Swarm {
    fn default() -> Self {
        let (members, strangers, mailboxes) = Default::default();
        Self { key: RoutingKey::ZERO, members, strangers, mailboxes, changes: Changes::default() }
    }
}

/// A link that answers for a mailbox.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Registrant {
    pub(super) link: LinkId,
    /// Unix milliseconds; 0 if it lasts as long as the link.
    expiry: u64,
}

impl Swarm {
    /// Takes note that a label is linked, by a new link or by the first; returns the link that had it.
    pub(super) fn join(&mut self, label: Label, link: LinkId) -> Option<LinkId> {
        self.changes.record(label);
        self.members.insert(label, link)
    }

    /// Takes note that a link has left its label; false if another link has it by now.
    pub(super) fn leave(&mut self, label: Label, link: LinkId) -> bool {
        if self.members.get(&label) != Some(&link) {
            return false;
        }
        self.members.remove(&label);
        self.changes.record(label);
        true
    }

    /// Registers a link for a mailbox, or changes until when.
    pub(super) fn register(&mut self, mailbox: Label, link: LinkId, expiry: u64) {
        let registrants = self.mailboxes.entry(mailbox).or_default();
        match registrants.iter_mut().find(|registrant| registrant.link == link) {
            Some(registrant) => registrant.expiry = expiry,
            None => registrants.push(Registrant { link, expiry }),
        }
    }

    pub(super) fn unregister(&mut self, mailbox: Label, link: LinkId) {
        if let Some(registrants) = self.mailboxes.get_mut(&mailbox) {
            registrants.retain(|registrant| registrant.link != link);
            if registrants.is_empty() {
                self.mailboxes.remove(&mailbox);
            }
        }
    }

    /// Whether a link answers for a mailbox at this time.
    pub(super) fn is_registered(&self, mailbox: &Label, link: LinkId, wall: u64) -> bool {
        self.registrants(mailbox, wall).any(|registrant| registrant == link)
    }

    /// The links that answer for a mailbox at this time, in the order in which they registered.
    pub(super) fn registrants(&self, mailbox: &Label, wall: u64) -> impl Iterator<Item = LinkId> {
        let registrants = self.mailboxes.get(mailbox).into_iter().flatten();
        registrants.filter(move |registrant| registrant.expiry == 0 || registrant.expiry > wall).map(|registrant| registrant.link)
    }

    /// Returns the view of a link that has heard nothing yet.
    pub(super) fn new_view(&self) -> View {
        View { heard: self.changes.next, walk: Some(Walk::default()) }
    }

    /// Returns the next Labels for a member, if there is news.
    ///
    /// First it is given all labels in their order, in as many frames as that takes, then each change in the order of
    /// changes. A change that happens meanwhile may be told twice; what is told last is true.
    pub(super) fn labels_for(&self, member: &mut Member) -> Option<LabelChanges> {
        let view = &mut member.view;
        if view.heard < self.changes.first_kept() {
            *view = self.new_view();
        }
        match &mut view.walk {
            Some(walk) => {
                let (labels, done) = self.walk(walk, &member.label);
                if done {
                    view.walk = None;
                }
                Some(labels)
            }
            None => self.news(view, &member.label),
        }
    }

    fn walk(&self, walk: &mut Walk, own: &Label) -> (LabelChanges, bool) {
        let from = walk.told.map_or(Bound::Unbounded, Bound::Excluded);
        let others = self.members.range((from, Bound::Unbounded)).map(|(label, _)| *label).filter(|label| label != own);
        let came: Vec<_> = others.take(limits::LABELS_PER_FRAME).collect();
        let done = came.len() < limits::LABELS_PER_FRAME;
        let forget_others = walk.told.is_none();
        // A swarm whose labels fill a frame exactly gets an empty second one.
        walk.told = came.last().copied().or(walk.told);
        (LabelChanges { forget_others, came, ..LabelChanges::default() }, done)
    }

    fn news(&self, view: &mut View, own: &Label) -> Option<LabelChanges> {
        let mut labels = LabelChanges::default();
        for (number, label) in self.changes.by_number.range(view.heard..).take(limits::LABELS_PER_FRAME) {
            view.heard = number + 1;
            if label == own {
                continue;
            }
            if self.members.contains_key(label) { labels.came.push(*label) } else { labels.went.push(*label) }
        }
        (!labels.came.is_empty() || !labels.went.is_empty()).then_some(labels)
    }
}

/// How much of the changes of its swarm a link has heard.
#[derive(Debug, Default)]
pub(super) struct View {
    /// The number of the first change that it hasn't heard.
    heard: u64,
    /// While it is being given the whole list.
    walk: Option<Walk>,
}

#[derive(Debug, Default)]
struct Walk {
    /// The last label told.
    told: Option<Label>,
}

/// The last change of each label, in the order of changes.
///
/// One log for all links: a change costs the same in a swarm of ten thousand as in one of two, a label that comes and goes
/// a hundred times while a link is busy is one line for it, and a link that never reads costs nothing.
#[derive(Debug, Default)]
struct Changes {
    next: u64,
    by_number: BTreeMap<u64, Label>,
    numbers_by_label: BTreeMap<Label, u64>,
    /// Changes below this may be missing.
    forgotten_below: u64,
}

impl Changes {
    fn record(&mut self, label: Label) {
        if let Some(older) = self.numbers_by_label.insert(label, self.next) {
            self.by_number.remove(&older);
        }
        self.by_number.insert(self.next, label);
        self.next += 1;
        if self.by_number.len() > CHANGES_KEPT
            && let Some((number, label)) = self.by_number.pop_first()
        {
            self.numbers_by_label.remove(&label);
            self.forgotten_below = number + 1;
        }
    }

    fn first_kept(&self) -> u64 {
        self.forgotten_below
    }
}
