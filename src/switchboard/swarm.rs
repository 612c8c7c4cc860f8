//! Who is linked in one swarm, and how the others hear of it. Nothing in one swarm is visible from another.

use std::collections::BTreeMap;
use std::ops::{Bound, Index, IndexMut};

use super::link::{LinkId, Member};
use super::lives::Life;
use crate::proto::{Label, LabelChanges, RoutingKey, limits};

/// Changes of labels that a swarm remembers. A link that is further behind gets the whole list again. Chosen: more than
/// change while a live link is busy for a second.
const CHANGES_KEPT: usize = 1_024;

/// The place of a swarm in [`Swarms`], for as long as it has a link, or one that can be resumed.
pub(super) type SwarmIndex = usize;

/// All swarms with a link, or with one that can be resumed.
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
    pub(super) members: BTreeMap<Label, Seat>,
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

/// Where the link of a label is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Seat {
    Linked(LinkId),
    /// It was lost just now: the others don't know, and what they send waits for it.
    Lost(Life),
    /// The others know that it is lost. It can be resumed.
    Gone(Life),
}

impl Seat {
    /// Whether the others take the label for linked.
    pub(super) fn is_announced(self) -> bool {
        !matches!(self, Self::Gone(_))
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
    /// Takes note that a label has a link, which knows of no earlier one; returns where that is.
    pub(super) fn join(&mut self, label: Label, link: LinkId) -> Option<Seat> {
        self.changes.record(label, Change::Broken);
        self.members.insert(label, Seat::Linked(link))
    }

    /// Takes note that a link has left its label for good; false if another link has it by now.
    pub(super) fn leave(&mut self, label: Label, link: LinkId) -> bool {
        if self.members.get(&label) != Some(&Seat::Linked(link)) {
            return false;
        }
        self.members.remove(&label);
        self.changes.record(label, Change::Broken);
        true
    }

    /// Takes note that a link was lost and can be resumed.
    pub(super) fn lose(&mut self, label: Label, life: Life) {
        self.members.insert(label, Seat::Lost(life));
    }

    /// Lets the others know that a link is lost.
    pub(super) fn announce_lost(&mut self, label: Label, life: Life) {
        self.changes.record(label, Change::Lost);
        self.members.insert(label, Seat::Gone(life));
    }

    /// Takes note that the link of a label goes on with another socket. Returns whether the others are to hear of it.
    pub(super) fn resume(&mut self, label: Label, link: LinkId) -> bool {
        let was_gone = matches!(self.members.insert(label, Seat::Linked(link)), Some(Seat::Gone(_)));
        if was_gone {
            let lost = self.changes.later(&label);
            self.changes.record(label, Change::Resumed { lost });
        }
        was_gone
    }

    /// Takes note that a link can be resumed no more; returns whether the others are to hear of it.
    pub(super) fn bury(&mut self, label: Label, life: Life) -> bool {
        match self.members.get(&label) {
            Some(Seat::Lost(of)) if *of == life => self.changes.record(label, Change::Broken),
            Some(Seat::Gone(of)) if *of == life => {
                self.members.remove(&label);
                return false;
            }
            Some(Seat::Linked(_) | Seat::Lost(_) | Seat::Gone(_)) | None => return false,
        }
        self.members.remove(&label);
        true
    }

    /// Gives what the socket of a link was registered for to its next one.
    pub(super) fn hand_over(&mut self, mailboxes: &[Label], from: LinkId, to: LinkId) {
        for mailbox in mailboxes {
            let registrants = self.mailboxes.get_mut(mailbox).into_iter().flatten();
            registrants.filter(|registrant| registrant.link == from).for_each(|registrant| registrant.link = to);
        }
    }

    /// The links of members.
    pub(super) fn linked(&self) -> impl Iterator<Item = LinkId> {
        self.members.values().filter_map(|seat| if let Seat::Linked(link) = seat { Some(*link) } else { None })
    }

    /// The link of a member, if it is linked.
    pub(super) fn link_of(&self, label: &Label) -> Option<LinkId> {
        if let Some(Seat::Linked(link)) = self.members.get(label) { Some(*link) } else { None }
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
        View { heard: self.changes.next, listed: u64::MAX, walk: Some(Walk::default()) }
    }

    /// Returns the view of a link that goes on, and has heard for certain all changes below `heard`, if that is known. It is given all labels
    /// again whose links have gone on since then, as resumed, and then hears all changes since then.
    pub(super) fn resumed_view(&self, view: &View, heard: Option<u64>) -> View {
        match heard.filter(|heard| *heard >= self.changes.first_kept()) {
            Some(heard) => View { heard, listed: view.listed, walk: Some(Walk { whole_since: Some(heard), ..Walk::default() }) },
            None => self.new_view(),
        }
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
        if let Some(walk) = &mut view.walk {
            let (labels, is_over) = self.walk(walk, &member.label);
            if is_over {
                if walk.whole_since.is_none() {
                    view.listed = self.changes.next;
                }
                view.walk = None;
            }
            return Some(labels);
        }
        self.news(view, &member.label)
    }

    /// Tells the next labels of the list.
    fn walk(&self, walk: &mut Walk, own: &Label) -> (LabelChanges, bool) {
        let from = walk.told.map_or(Bound::Unbounded, Bound::Excluded);
        let others = self.members.range((from, Bound::Unbounded)).filter(|(label, seat)| seat.is_announced() && *label != own);
        let is_meant = |label: &Label| walk.whole_since.is_none_or(|since| self.changes.is_whole_since(label, since));
        let came: Vec<_> = others.map(|(label, _)| *label).filter(is_meant).take(limits::LABELS_PER_FRAME).collect();
        let is_over = came.len() < limits::LABELS_PER_FRAME;
        let forget_others = walk.told.is_none();
        // A swarm whose labels fill a frame exactly gets an empty second one.
        walk.told = came.last().copied().or(walk.told);
        (LabelChanges { forget_others, resumed: walk.whole_since.is_some(), came, went: Vec::new() }, is_over)
    }

    /// Tells changes in their order. Links that were resumed and links that came are told apart, in frames of their own.
    fn news(&self, view: &mut View, own: &Label) -> Option<LabelChanges> {
        let mut labels = LabelChanges::default();
        for (number, (label, change)) in self.changes.by_number.range(view.heard..).take(limits::LABELS_PER_FRAME) {
            let is_there = self.members.get(label).is_some_and(|seat| seat.is_announced());
            let (came, resumed) = match change {
                // That it was there for a while has to be said, as what was under way before is lost; that it has gone is said next.
                Change::Broken => (is_there || self.changes.is_followed(label), false),
                Change::Lost => (is_there, false),
                Change::Resumed { lost } => (is_there, *lost >= view.listed),
            };
            let is_apart = match came {
                true => !labels.came.is_empty() && labels.resumed != resumed,
                false => labels.came.contains(label),
            };
            if label != own {
                if is_apart {
                    break;
                }
                if came {
                    labels.resumed = resumed;
                    labels.came.push(*label);
                } else {
                    labels.went.push(*label);
                }
            }
            view.heard = number + 1;
        }
        (!labels.came.is_empty() || !labels.went.is_empty()).then_some(labels)
    }
}

/// How much of the changes of its swarm a link has heard.
#[derive(Debug, Default)]
pub(super) struct View {
    /// The number of the first change that it hasn't heard.
    heard: u64,
    /// The number of the next change when it had been given the whole list. What was lost before that wasn't on the list: if it is
    /// resumed, this link doesn't know whether it goes on where it last knew it.
    listed: u64,
    /// While it is being given the whole list.
    walk: Option<Walk>,
}

impl View {
    /// Returns below which number a client has surely heard all changes, even if it reads nothing of what it is being told; none
    /// while it is told the whole list for the first time.
    pub(super) fn heard(&self) -> Option<u64> {
        match &self.walk {
            Some(walk) => walk.whole_since,
            None => Some(self.heard),
        }
    }
}

#[derive(Debug, Default)]
struct Walk {
    /// The last label told.
    told: Option<Label>,
    /// Only labels are told whose links have gone on since this change.
    whole_since: Option<u64>,
}

/// What a change means for what is under way to a label.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Change {
    /// It is lost: another link has the label, or none.
    Broken,
    /// It is kept for now.
    Lost,
    /// It is kept. When the link was announced as lost is told by the number of that change, 0 if that is forgotten.
    Resumed { lost: u64 },
}

/// The last changes of each label, in the order of changes: the last that broke what was under way, and if there is a later one, the
/// last of those. Who has heard neither must hear both, as it would take nothing for lost otherwise.
///
/// One log for all links: a change costs the same in a swarm of ten thousand as in one of two, a label that comes and goes
/// a hundred times while a link is busy is one line for it, or two, and a link that never reads costs nothing.
#[derive(Debug, Default)]
struct Changes {
    next: u64,
    by_number: BTreeMap<u64, (Label, Change)>,
    numbers_by_label: BTreeMap<Label, Numbers>,
    /// Changes below this may be missing.
    forgotten_below: u64,
}

#[derive(Debug, Default)]
struct Numbers {
    broken: Option<u64>,
    /// Of a change after that.
    later: Option<u64>,
}

impl Changes {
    fn record(&mut self, label: Label, change: Change) {
        let numbers = self.numbers_by_label.entry(label).or_default();
        let older = match change {
            Change::Broken => [numbers.broken.replace(self.next), numbers.later.take()],
            Change::Lost | Change::Resumed { .. } => [numbers.later.replace(self.next), None],
        };
        for number in older.into_iter().flatten() {
            self.by_number.remove(&number);
        }
        self.by_number.insert(self.next, (label, change));
        self.next += 1;
        if self.by_number.len() > CHANGES_KEPT
            && let Some((number, (label, change))) = self.by_number.pop_first()
        {
            self.forget(label, change);
            self.forgotten_below = number + 1;
        }
    }

    fn forget(&mut self, label: Label, change: Change) {
        let Some(numbers) = self.numbers_by_label.get_mut(&label) else { return };
        match change {
            Change::Broken => numbers.broken = None,
            Change::Lost | Change::Resumed { .. } => numbers.later = None,
        }
        if numbers.broken.is_none() && numbers.later.is_none() {
            self.numbers_by_label.remove(&label);
        }
    }

    /// Whether what is under way to a label has been kept since the change of this number, which must be kept itself.
    fn is_whole_since(&self, label: &Label, since: u64) -> bool {
        self.numbers_by_label.get(label).and_then(|numbers| numbers.broken).is_none_or(|broken| broken < since)
    }

    /// Whether the last change that broke something was followed by another.
    fn is_followed(&self, label: &Label) -> bool {
        self.numbers_by_label.get(label).is_some_and(|numbers| numbers.later.is_some())
    }

    /// The number of the last change of a label that broke nothing; 0 if there is none.
    fn later(&self, label: &Label) -> u64 {
        self.numbers_by_label.get(label).and_then(|numbers| numbers.later).unwrap_or(0)
    }

    fn first_kept(&self) -> u64 {
        self.forgotten_below
    }
}
