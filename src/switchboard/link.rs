//! One link: its phase, and everything that waits to be written on it.

use std::fmt;
use std::time::Duration;

use bytes::Bytes;
use subtle::ConstantTimeEq;

use super::lives::Life;
use super::log::Log;
use super::notices::Notices;
use super::origins::Origin;
use super::swarm::{SwarmIndex, View};
use crate::proto::{Binding, Features, Label, Lane, LaneLimits, LaneQueue, LinkRights};

/// Names a link for as long as its socket lives, and no other link after. What it is called over several is its [`Life`].
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
    pub(super) stream: Stream,
    /// When the queue last gave something, or began to hold something.
    pub(super) moved: Duration,
    /// Whether the shell knows that there is something to write.
    pub(super) awake: bool,
    pub(super) deadline: Option<Duration>,
}

impl Link {
    pub(super) fn new(origin: Option<Origin>, greeting: Greeting, stream: Stream) -> Self {
        Self { origin, phase: Phase::Greeting(greeting), stream, moved: Duration::ZERO, awake: false, deadline: None }
    }

    /// Queues a frame; false if its lane is full.
    pub(super) fn push(&mut self, lane: Lane, waiting: Waiting, now: Duration) -> bool {
        if self.stream.queue.is_empty() {
            self.moved = now;
        }
        self.stream.push(lane, waiting)
    }

    pub(super) fn take(&mut self, now: Duration) -> Option<Waiting> {
        let waiting = self.stream.queue.pop(now)?;
        self.moved = now;
        Some(waiting)
    }
}

/// What goes over a link in both directions, and goes on with its next socket if it is resumed.
#[derive(Debug)]
pub(super) struct Stream {
    pub(super) life: Life,
    /// What is in force; nothing before the Welcome.
    pub(super) features: Features,
    pub(super) tokens: Tokens,
    /// The number of the next Data frame that this link sends.
    pub(super) received: u64,
    pub(super) notices: Notices,
    pub(super) queue: LaneQueue<Waiting>,
    pub(super) log: Log,
    /// Whether there may be something on the shelf of this member that found no room in the queue.
    pub(super) has_shelf: bool,
}

impl Stream {
    pub(super) fn new(life: Life, lanes: LaneLimits) -> Self {
        Self {
            life,
            features: Features::NONE,
            tokens: Tokens::default(),
            received: 0,
            notices: Notices::default(),
            queue: LaneQueue::new(lanes),
            log: Log::default(),
            has_shelf: false,
        }
    }

    /// Whether the link can be resumed.
    pub(super) fn resumes(&self) -> bool {
        self.features.in_force(Features::RESUME) != Features::NONE
    }

    /// Whether the link's frames may wait for absent agents, and frames for it when it is absent.
    pub(super) fn parks(&self) -> bool {
        self.features.in_force(Features::PARKING) != Features::NONE
    }

    pub(super) fn push(&mut self, lane: Lane, waiting: Waiting) -> bool {
        self.queue.push(lane, waiting.frame.len(), waiting).is_ok()
    }
}

/// The tokens by which a link is resumed: that of its last Welcome, and the one before, as that Welcome may never have arrived. Neither
/// shown nor written anywhere.
#[derive(Default)]
pub(super) struct Tokens {
    last: Option<[u8; 32]>,
    before: Option<[u8; 32]>,
}

impl Tokens {
    /// Adds the token of a Welcome.
    pub(super) fn push(&mut self, token: [u8; 32]) {
        self.before = self.last.replace(token);
    }

    /// Compares in constant time: a token is a secret of this link and the switchboard.
    pub(super) fn fits(&self, shown: &[u8]) -> bool {
        let fits = |token: &Option<[u8; 32]>| token.is_some_and(|token| token.ct_eq(shown).into());
        fits(&self.last) | fits(&self.before)
    }
}

impl fmt::Debug for Tokens {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_struct("Tokens").finish_non_exhaustive()
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
    /// What a resume token would be made of.
    pub(super) random: Random,
}

/// Random bytes that nobody else knows.
pub(super) struct Random(pub(super) [u8; 32]);

impl fmt::Debug for Random {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_struct("Random").finish_non_exhaustive()
    }
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
    /// None if it was on the shelf: its sender knows that it was accepted, and hears no more of it.
    pub(super) from: Option<Life>,
    pub(super) number: u64,
    pub(super) expiry: u64,
}
