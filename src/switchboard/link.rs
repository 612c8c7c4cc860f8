//! One link: its phase, and everything that waits to be written on it.

use std::collections::VecDeque;
use std::time::Duration;

use bytes::Bytes;

use super::origins::Origin;
use super::swarm::{SwarmIndex, View};
use crate::proto::{Binding, Bounce, Label, Lane, LaneLimits, LaneQueue, LinkRights, RegisterStatus, ServerFrame, SlotStatus};

/// Notices that a link may leave unread before it isn't read from. Chosen: an ordinary burst to an absent receiver.
const MANY_NOTICES: usize = 1_024;

/// Notices that are kept for a link. Other links that end can bounce more to it at once than it has sent lately; beyond
/// this it is cut. Chosen: 64 full lanes of its frames; 1.5 MiB.
const NOTICE_LIMIT: usize = 65_536;

/// Names a link for as long as its socket lives, and no other link after.
#[cfg_attr(test, derive(Default))]
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct LinkId {
    slot: u32,
    generation: u32,
}

impl LinkId {
    /// A small number that no other link has at the same time, for tables.
    pub fn slot(self) -> usize {
        self.slot as usize
    }
}

/// All links, in a table whose places are used again.
#[derive(Debug, Default)]
pub(super) struct Links {
    slots: Vec<Slot>,
    free: Vec<u32>,
}

#[derive(Debug)]
struct Slot {
    generation: u32,
    /// Boxed, as most slots of a table that was once large are empty.
    link: Option<Box<Link>>,
}

impl Links {
    pub(super) fn insert(&mut self, link: Link) -> LinkId {
        let link = Some(Box::new(link));
        match self.free.pop() {
            Some(slot) => {
                let place = &mut self.slots[slot as usize];
                place.link = link;
                LinkId { slot, generation: place.generation }
            }
            None => {
                let slot = u32::try_from(self.slots.len()).expect("links are bounded far below");
                self.slots.push(Slot { generation: 0, link });
                LinkId { slot, generation: 0 }
            }
        }
    }

    pub(super) fn remove(&mut self, id: LinkId) -> Option<Box<Link>> {
        let place = self.slots.get_mut(id.slot()).filter(|place| place.generation == id.generation)?;
        let link = place.link.take()?;
        place.generation = place.generation.wrapping_add(1);
        self.free.push(id.slot);
        Some(link)
    }

    pub(super) fn get(&self, id: LinkId) -> Option<&Link> {
        self.slots.get(id.slot()).filter(|place| place.generation == id.generation)?.link.as_deref()
    }

    pub(super) fn get_mut(&mut self, id: LinkId) -> Option<&mut Link> {
        self.slots.get_mut(id.slot()).filter(|place| place.generation == id.generation)?.link.as_deref_mut()
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = (LinkId, &Link)> {
        let links = self.slots.iter().enumerate();
        links.filter_map(|(slot, place)| {
            let id = LinkId { slot: slot as u32, generation: place.generation };
            place.link.as_deref().map(|link| (id, link))
        })
    }

    pub(super) fn len(&self) -> usize {
        self.slots.len() - self.free.len()
    }
}

#[derive(Debug)]
pub(super) struct Link {
    pub(super) origin: Option<Origin>,
    pub(super) phase: Phase,
    pub(super) notices: Notices,
    pub(super) queue: LaneQueue<Waiting>,
    /// The number of the next Data frame that this link sends.
    pub(super) received: u64,
    /// When the queue last gave something, or began to hold something.
    pub(super) moved: Duration,
    /// Whether the shell knows that there is something to write.
    pub(super) awake: bool,
    pub(super) deadline: Option<Duration>,
}

impl Link {
    pub(super) fn new(origin: Option<Origin>, greeting: Greeting, lanes: LaneLimits) -> Self {
        Self {
            origin,
            phase: Phase::Greeting(greeting),
            notices: Notices::default(),
            queue: LaneQueue::new(lanes),
            received: 0,
            moved: Duration::ZERO,
            awake: false,
            deadline: None,
        }
    }

    /// Queues a frame; false if its lane is full.
    pub(super) fn push(&mut self, lane: Lane, waiting: Waiting, now: Duration) -> bool {
        if self.queue.is_empty() {
            self.moved = now;
        }
        self.queue.push(lane, waiting.frame.len(), waiting).is_ok()
    }

    pub(super) fn take(&mut self, now: Duration) -> Option<Waiting> {
        let waiting = self.queue.pop(now)?;
        self.moved = now;
        Some(waiting)
    }
}

/// A link is greeted, then is a member or a stranger, then is over.
#[derive(Debug)]
pub(super) enum Phase {
    Greeting(Greeting),
    Member(Member),
    Stranger(Stranger),
    /// Only its farewell is left to be written.
    Ended,
}

/// A link that hasn't proved anything yet.
#[derive(Debug)]
pub(super) struct Greeting {
    /// The frame that the Hello signs.
    pub(super) challenge: Bytes,
    pub(super) binding: Binding,
}

/// A link of an agent of a swarm.
#[derive(Debug)]
pub(super) struct Member {
    pub(super) swarm: SwarmIndex,
    pub(super) label: Label,
    pub(super) rights: LinkRights,
    /// Unix milliseconds.
    pub(super) expiry: u64,
    /// What it has registered; all of it stands in the swarm.
    pub(super) mailboxes: Vec<Label>,
    /// How many strangers are bound to it.
    pub(super) strangers: usize,
    pub(super) view: View,
}

/// A link of somebody who holds a ticket, or of a guest, who holds a code.
#[derive(Debug)]
pub(super) struct Stranger {
    pub(super) swarm: SwarmIndex,
    pub(super) label: Label,
    pub(super) seeks: Seeks,
    /// The link that it reaches. When that is over, the next frame finds another.
    pub(super) bound_to: LinkId,
}

/// Whom a stranger is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Seeks {
    /// Any member that answers for this mailbox, which is all that it may send to.
    Mailbox(Label),
    /// The member that held the slot when the guest came, whatever it calls it.
    Member(Label),
}

/// A Data frame in a queue, and whom to tell if it isn't written.
#[derive(Debug)]
pub(super) struct Waiting {
    pub(super) frame: Bytes,
    pub(super) from: LinkId,
    pub(super) number: u64,
    pub(super) expiry: u64,
}

/// What the switchboard itself has to say on a link, but for labels. Kept as facts, encoded when they are written.
#[derive(Debug, Default)]
pub(super) struct Notices {
    frames: VecDeque<ServerFrame>,
    answers: VecDeque<Answer>,
    bounces: VecDeque<Bounce>,
    /// Whether more came than are kept: the link is to be cut, as what it can't be told must not pile up.
    pub(super) overflowed: bool,
}

impl Notices {
    pub(super) fn push(&mut self, frame: ServerFrame) {
        self.frames.push_back(frame);
    }

    pub(super) fn push_registered(&mut self, mailbox: Label, status: RegisterStatus) {
        self.push_answer(Answer::Registered(mailbox, status));
    }

    pub(super) fn push_slot_opened(&mut self, asked: u32, result: Result<u32, SlotStatus>) {
        self.push_answer(Answer::SlotOpened(asked, result));
    }

    fn push_answer(&mut self, answer: Answer) {
        if self.has_room() {
            self.answers.push_back(answer);
        }
    }

    pub(super) fn push_bounce(&mut self, bounce: Bounce) {
        if self.has_room() {
            self.bounces.push_back(bounce);
        }
    }

    fn has_room(&mut self) -> bool {
        self.overflowed |= self.answers.len() + self.bounces.len() >= NOTICE_LIMIT;
        !self.overflowed
    }

    pub(super) fn are_many(&self) -> bool {
        self.answers.len() + self.bounces.len() >= MANY_NOTICES
    }

    /// Forgets everything but the handshake, and adds the last word.
    pub(super) fn end_with(&mut self, farewell: Option<ServerFrame>) {
        self.answers = VecDeque::new();
        self.bounces = VecDeque::new();
        self.frames.extend(farewell);
    }

    pub(super) fn pop(&mut self) -> Option<ServerFrame> {
        if let Some(frame) = self.frames.pop_front() {
            return Some(frame);
        }
        if let Some(answer) = self.answers.pop_front() {
            return Some(answer.into_frame());
        }
        let bounce = self.bounces.pop_front()?;
        if self.bounces.is_empty() {
            self.bounces = VecDeque::new();
        }
        Some(ServerFrame::Bounce(bounce))
    }
}

/// An answer to what a link asked for.
#[derive(Debug)]
enum Answer {
    Registered(Label, RegisterStatus),
    SlotOpened(u32, Result<u32, SlotStatus>),
}

impl Answer {
    fn into_frame(self) -> ServerFrame {
        match self {
            Self::Registered(mailbox, status) => ServerFrame::Registered { mailbox, status },
            Self::SlotOpened(asked, Ok(slot)) => ServerFrame::SlotOpened { asked, slot, status: SlotStatus::Done },
            Self::SlotOpened(asked, Err(status)) => ServerFrame::SlotOpened { asked, slot: 0, status },
        }
    }
}
