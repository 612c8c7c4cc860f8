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
    fn is_announced(self) -> bool {
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
        self.changes.record(label, Change::Whole);
        self.members.insert(label, Seat::Gone(life));
    }

    /// Takes note that the link of a label goes on with another socket. Returns whether the others are to hear of it.
    pub(super) fn resume(&mut self, label: Label, link: LinkId) -> bool {
        let was_gone = matches!(self.members.insert(label, Seat::Linked(link)), Some(Seat::Gone(_)));
        if was_gone {
            self.changes.record(label, Change::Whole);
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
        View { heard: self.changes.next, walk: Some(Walk::default()) }
    }

    /// Returns the view of a link that goes on, and has heard for certain all changes below `heard`, if that is known. It is given all labels
    /// again: those whose links have gone on since then as resumed, the rest as having come.
    pub(super) fn resumed_view(&self, heard: Option<u64>) -> View {
        let whole_since = heard.filter(|heard| *heard >= self.changes.first_kept());
        View { heard: self.changes.next, walk: Some(Walk { whole_since, ..Walk::default() }) }
    }

    /// Returns the next Labels for a member, if there is news.
    ///
    /// First it is given all labels in their order, in as many frames as that takes, then each change in the order of
    /// changes. A change that happens meanwhile may be told twice; what is told last is true.
    pub(super) fn labels_for(&self, member: &mut Member) -> Option<LabelChanges> {
        let view = &mut member.view;
        let needed = view.walk.as_ref().and_then(|walk| walk.whole_since.or(walk.but_whole_since)).unwrap_or(view.heard);
        if needed < self.changes.first_kept() {
            *view = self.new_view();
        }
        while let Some(walk) = &mut view.walk {
            let labels = self.walk(walk, &member.label);
            if walk.is_over {
                view.walk = None;
            }
            if labels.is_some() {
                return labels;
            }
        }
        self.news(view, &member.label)
    }

    /// Tells the next labels of the list; first those whose links have gone on, if that is told apart.
    fn walk(&self, walk: &mut Walk, own: &Label) -> Option<LabelChanges> {
        let resumed = walk.whole_since.is_some();
        let is_meant = |label: &Label| match (walk.whole_since, walk.but_whole_since) {
            (Some(since), _) => self.changes.is_whole_since(label, since),
            (None, Some(since)) => !self.changes.is_whole_since(label, since),
            (None, None) => true,
        };
        let from = walk.told.map_or(Bound::Unbounded, Bound::Excluded);
        let others = self.members.range((from, Bound::Unbounded)).filter(|(label, seat)| seat.is_announced() && *label != own);
        let came: Vec<_> = others.map(|(label, _)| *label).filter(is_meant).take(limits::LABELS_PER_FRAME).collect();
        let is_last = came.len() < limits::LABELS_PER_FRAME;
        // Once it has begun, a list whose labels fill a frame exactly would get an empty one to its end.
        walk.told = came.last().copied().or(walk.told);
        let forget_others = !std::mem::replace(&mut walk.has_begun, true);
        if is_last {
            (walk.but_whole_since, walk.told) = (walk.whole_since.take(), None);
            walk.is_over = walk.but_whole_since.is_none();
        }
        let labels = LabelChanges { forget_others, resumed, came, went: Vec::new() };
        (forget_others || !labels.came.is_empty()).then_some(labels)
    }

    /// Tells changes in their order. Links that were resumed and links that came are told apart, in frames of their own.
    fn news(&self, view: &mut View, own: &Label) -> Option<LabelChanges> {
        let mut labels = LabelChanges::default();
        for (number, (label, change)) in self.changes.by_number.range(view.heard..).take(limits::LABELS_PER_FRAME) {
            let is_there = self.members.get(label).is_some_and(|seat| seat.is_announced());
            let is_resumed = *change == Change::Whole;
            if label != own && is_there {
                if !labels.came.is_empty() && labels.resumed != is_resumed {
                    break;
                }
                labels.resumed = is_resumed;
                labels.came.push(*label);
            } else if label != own && (is_resumed || !self.changes.is_followed(label)) {
                labels.went.push(*label);
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
    /// While it is being given the whole list.
    walk: Option<Walk>,
}

impl View {
    /// Returns below which number a client has surely heard all changes, even if it reads nothing of what it is being told; none
    /// while it is told the whole list for the first time.
    pub(super) fn heard(&self) -> Option<u64> {
        match &self.walk {
            Some(walk) => walk.whole_since.or(walk.but_whole_since),
            None => Some(self.heard),
        }
    }
}

#[derive(Debug, Default)]
struct Walk {
    has_begun: bool,
    /// The last label told.
    told: Option<Label>,
    /// Only labels are told whose links have gone on since this change; the others are told after them.
    whole_since: Option<u64>,
    /// Only those others are told.
    but_whole_since: Option<u64>,
    is_over: bool,
}

/// What a change means for what is under way to a label.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Change {
    /// It is lost: another link has the label, or none.
    Broken,
    /// It is kept: the link was lost or was resumed.
    Whole,
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
    whole: Option<u64>,
}

impl Changes {
    fn record(&mut self, label: Label, change: Change) {
        let numbers = self.numbers_by_label.entry(label).or_default();
        let older = match change {
            Change::Broken => [numbers.broken.replace(self.next), numbers.whole.take()],
            Change::Whole => [numbers.whole.replace(self.next), None],
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
            Change::Whole => numbers.whole = None,
        }
        if numbers.broken.is_none() && numbers.whole.is_none() {
            self.numbers_by_label.remove(&label);
        }
    }

    /// Whether what is under way to a label has been kept since the change of this number, which must be kept itself.
    fn is_whole_since(&self, label: &Label, since: u64) -> bool {
        self.numbers_by_label.get(label).and_then(|numbers| numbers.broken).is_none_or(|broken| broken < since)
    }

    /// Whether the last change that broke something was followed by another.
    fn is_followed(&self, label: &Label) -> bool {
        self.numbers_by_label.get(label).is_some_and(|numbers| numbers.whole.is_some())
    }

    fn first_kept(&self) -> u64 {
        self.forgotten_below
    }
}
