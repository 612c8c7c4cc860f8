//! The relay as a state machine: links, labels, lanes, mailboxes and slots. It takes frames and says what to write; it never
//! sends, waits or looks into what it passes on.
//!
//! ```text
//! shell                        Switchboard                                   shell
//!  socket is up  handle_open    hello.rs     who is it, is the proof good?
//!  frame read    handle_frame   forward.rs   where does it go, may it?       poll_output    wake this link, close that one
//!                               requests.rs  may it open a mailbox or slot?  poll_transmit  the next frame to write
//!                               swarm.rs     who is linked, in which swarm?
//!                               slots.rs     who is found under a number?
//!                               parking.rs   what waits for who isn't there?
//!  socket ended  handle_closed  resume.rs    what becomes of its link?
//!                               link.rs      what waits for one link? (notices.rs, log.rs: what was written? lives.rs: where is it?)
//!  timer         handle_timeout origins.rs   how many, how fast, from where? poll_timeout   when to call again
//!                               governor.rs  how much is in use?
//! ```
//!
//! The policies, each next to the code that keeps it:
//!
//! - A link is refused when it is one too many, in all or from its origin, or when its origin comes too fast (`hello.rs`).
//! - A second link of the same key in the same swarm replaces the first, which is told (`hello.rs`); or resumes it, if it has the
//!   first one's token (`resume.rs`).
//! - A link hears of a label that came or went once, in the order of the changes, and only of the last change (`swarm.rs`).
//! - A stranger reaches one registrant of its mailbox and nobody else; to others it doesn't exist. So does a guest, who reaches
//!   the member that opened its slot (`forward.rs`).
//! - A slot stays its holder's while that is away, until it expires; its number goes to nobody else soon after (`slots.rs`).
//! - Guests of one origin are few: each is a guess at somebody's code, and a wrong one spoils it (`origins.rs`).
//! - A Data frame is queued, parked, or its sender gets a Bounce that cites it; nothing is dropped in silence while its sender is
//!   linked or can be (`forward.rs`). What was handed to a socket that then failed is written again if the link is resumed, and else
//!   bounced; of who doesn't acknowledge it is the senders' business, end to end.
//! - A member that was linked in this run is known for a day: envelopes wait for it, until they expire (`parking.rs`).
//! - A receiver that doesn't read fills its own queue and is cut off after a while; nobody waits for it (`mod.rs`).
//! - As memory fills, bulk goes first, then parking, then new links (`governor.rs`).
//!
//! PROTOCOL.md sections 2 to 4 are all that this module knows of the protocol.

mod config;
mod forward;
mod governor;
mod hello;
mod link;
mod lives;
mod log;
mod notices;
mod origins;
mod parking;
mod requests;
mod resume;
mod slots;
mod swarm;
#[cfg(test)]
mod tests;

use std::collections::{BTreeSet, VecDeque};
use std::time::Duration;

use bytes::Bytes;

pub use config::{Config, Stats};
pub use link::LinkId;
pub use origins::{Admission, Origin};

use crate::proto::{Bounce, BounceReason, DataFrame, GoodbyeReason, Now, Reject, RejectCode, ServerFrame};
use governor::Governor;
use link::{Link, Links, Phase, Stream};
use lives::{Life, Lives};
use log::Entry;
use notices::Hint;
use origins::Origins;
use parking::{Parking, is_expired};
use slots::{Holder, Slots};
use swarm::Swarms;

/// How often queues are looked over while any of them holds something. Chosen: a stalled reader is cut at most this late.
const SWEEP_INTERVAL: Duration = Duration::from_secs(1);

/// What the shell is to do.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Output {
    /// The link has frames to write: call [`Switchboard::poll_transmit`] until it gives nothing or the socket takes nothing.
    Wake(LinkId),
    /// The link is over: write what `poll_transmit` still gives, then close the socket and call
    /// [`Switchboard::handle_closed`].
    Close(LinkId),
}

/// The relay.
///
/// Input: [`admit`](Self::admit), [`handle_open`](Self::handle_open), [`handle_frame`](Self::handle_frame),
/// [`handle_closed`](Self::handle_closed), [`handle_timeout`](Self::handle_timeout), [`shut_down`](Self::shut_down). After
/// any of them take every [`poll_output`](Self::poll_output), and ask [`poll_timeout`](Self::poll_timeout) when to call
/// `handle_timeout`. Each opened link must be reported closed exactly once.
#[derive(Debug)]
pub struct Switchboard {
    config: Config,
    links: Links,
    swarms: Swarms,
    slots: Slots,
    origins: Origins,
    lives: Lives,
    parking: Parking,
    memory: Governor,
    /// Names this run; none before the first link.
    boot: Option<[u8; 16]>,
    outputs: VecDeque<Output>,
    /// One entry for each link that has a deadline, the same as in the link.
    deadlines: BTreeSet<(Duration, LinkId)>,
    /// Set while any queue holds something.
    next_sweep: Option<Duration>,
    shutting_down: bool,
    stats: Stats,
}

impl Switchboard {
    /// Makes a switchboard without links.
    pub fn new(config: Config, _now: Now) -> Self {
        Self {
            slots: Slots::new(&config),
            origins: Origins::new(&config),
            lives: Lives::new(&config),
            parking: Parking::new(&config),
            memory: Governor::new(&config),
            config,
            links: Links::default(),
            swarms: Swarms::default(),
            outputs: VecDeque::new(),
            deadlines: BTreeSet::new(),
            next_sweep: None,
            boot: None,
            shutting_down: false,
            stats: Stats::default(),
        }
    }

    /// Takes a frame that came on a link. Frames of a link that is over are ignored.
    pub fn handle_frame(&mut self, id: LinkId, frame: Bytes, now: Now) {
        let Some(link) = self.links.get_mut(id) else { return };
        let is_data = frame.first() == Some(&DataFrame::KIND);
        match (&link.phase, is_data) {
            (Phase::Ended, _) => {}
            (Phase::Greeting(_), _) => self.handle_greeting(id, frame, now),
            (Phase::Member(_) | Phase::Stranger(_), true) => self.handle_data(id, frame, now),
            (Phase::Member(_) | Phase::Stranger(_), false) => self.handle_request(id, frame, now),
        }
    }

    /// Takes note that the socket of a link is gone. The link itself may go on with another.
    pub fn handle_closed(&mut self, id: LinkId, now: Now) {
        self.lose(id, now);
        let Some(link) = self.links.remove(id) else { return };
        // A link that ended just now asked to be closed; that is done.
        self.outputs.retain(|output| !matches!(output, Output::Wake(of) | Output::Close(of) if *of == id));
        if let Some(origin) = link.origin {
            self.origins.leave(origin, now.monotonic);
        }
    }

    /// Does what is due by time.
    pub fn handle_timeout(&mut self, now: Now) {
        while let Some(&(due, id)) = self.deadlines.first()
            && due <= now.monotonic
        {
            self.deadlines.remove(&(due, id));
            if let Some(link) = self.links.get_mut(id) {
                link.deadline = None;
                self.handle_deadline(id, now);
            }
        }
        self.slots.expire(now.monotonic);
        self.handle_lost_links(now);
        self.stats.expired += self.parking.expire(now.monotonic);
        if self.next_sweep.is_some_and(|due| due <= now.monotonic) {
            self.sweep(now);
        }
    }

    /// Gives up each socket that took nothing for too long while something waited for it.
    fn sweep(&mut self, now: Now) {
        let limit = self.config.stall_limit;
        let stalled = |link: &Link| !link.stream.queue.is_empty() && now.monotonic.saturating_sub(link.moved) >= limit;
        let stalled: Vec<_> = self.links.iter().filter(|(_, link)| stalled(link)).map(|(id, _)| id).collect();
        for id in stalled {
            self.stats.stalled += 1;
            self.lose(id, now);
        }
        self.next_sweep = (self.memory.queued.frames > 0).then(|| now.monotonic + SWEEP_INTERVAL);
    }

    /// Returns when to call [`handle_timeout`](Self::handle_timeout) next, on the monotonic clock.
    pub fn poll_timeout(&self) -> Option<Duration> {
        let deadline = self.deadlines.first().map(|(due, _)| *due);
        let of_tables = [self.next_sweep, self.slots.next_due(), self.lives.next_due(), self.parking.next_due()];
        deadline.into_iter().chain(of_tables.into_iter().flatten()).min()
    }

    /// Returns the next thing for the shell to do.
    pub fn poll_output(&mut self) -> Option<Output> {
        self.outputs.pop_front()
    }

    /// Returns the next frame to write on a link: what opens or ends it, what its last socket may have lost, then bounces and other
    /// notices, then labels, then its lanes. So whoever hears that a label is back knows already what was lost while it was away. A
    /// frame that expired while it waited is bounced instead.
    pub fn poll_transmit(&mut self, id: LinkId, now: Now) -> Option<Bytes> {
        let link = self.links.get_mut(id)?;
        let stream = &mut link.stream;
        if let Some(frame) = stream.notices.pop_frame() {
            return Some(frame.encode());
        }
        if let Some(frame) = stream.log.replay() {
            return Some(frame);
        }
        if let Some(answer) = stream.notices.pop_answer() {
            return Some(answer.encode());
        }
        let resumes = stream.resumes();
        if let Some(hint) = stream.notices.pop_hint() {
            if resumes {
                self.retain(id, Entry::Hint(hint), now);
            }
            return Some(hint.into_frame().encode());
        }
        if let Phase::Member(member) = &mut link.phase {
            let heard = member.view.heard();
            if let Some(labels) = self.swarms[member.swarm].labels_for(member) {
                if resumes {
                    self.retain(id, Entry::Labels(heard), now);
                }
                return Some(ServerFrame::Labels(labels).encode());
            }
        }
        self.transmit_data(id, now)
    }

    /// Returns the next Data frame to write on a link.
    ///
    /// For a link that can be resumed it is kept: a move of 56 bytes, and one more owner for the buffer, which costs an allocation of
    /// 24 bytes where the frame was its only user (below 4 KiB) and an increment elsewhere. Nothing is copied. Measured, with the
    /// acknowledgement: 0.17 us more for a frame of 256 bytes, nothing to be seen for 16 KiB.
    fn transmit_data(&mut self, id: LinkId, now: Now) -> Option<Bytes> {
        loop {
            let link = self.links.get_mut(id)?;
            let Some(waiting) = link.take(now.monotonic) else {
                if std::mem::take(&mut link.stream.has_shelf) && self.fill_from_shelf(id, now) {
                    continue;
                }
                self.links.get_mut(id)?.awake = false;
                return None;
            };
            let len = waiting.frame.len();
            self.memory.queued.sub(len);
            if !is_expired(waiting.expiry, now) {
                if link.stream.resumes() {
                    let frame = waiting.frame.clone();
                    link.stream.log.push(Entry::Data(waiting));
                    let exceeds = link.stream.log.exceeds(self.config.retained_frames, self.config.retained_bytes);
                    self.memory.retained.add(len);
                    if exceeds || !self.has_room_to_retain() {
                        self.forget_oldest(id, now);
                    }
                    return Some(frame);
                }
                if waiting.from.is_none() {
                    self.release(id, len);
                }
                return Some(waiting.frame);
            }
            match waiting.from {
                Some(from) => self.bounce(from, waiting.number, BounceReason::Expired, Duration::ZERO),
                None => self.release(id, len),
            }
        }
    }

    /// Keeps a notice that is being written on a link for its resume.
    fn retain(&mut self, id: LinkId, entry: Entry, now: Now) {
        let has_room = self.has_room_to_retain();
        let Some(link) = self.links.get_mut(id) else { return };
        self.memory.retained.add(entry.len());
        link.stream.log.push(entry);
        if !has_room || link.stream.log.exceeds(self.config.retained_frames, self.config.retained_bytes) {
            self.forget_oldest(id, now);
        }
    }

    /// Reports whether the shell should read from a link. It should not while the link leaves its notices unread: a sender
    /// that outruns its own bounces is slowed by its socket, and by nothing else.
    pub fn wants_frames(&self, id: LinkId) -> bool {
        self.links.get(id).is_some_and(|link| !link.stream.notices.are_many())
    }

    /// Ends all links and refuses new ones. Nothing is bounced: every receiver is told the same. What is kept for who is away is gone.
    pub fn shut_down(&mut self, now: Now) {
        self.shutting_down = true;
        let all: Vec<_> = self.links.iter().map(|(id, _)| id).collect();
        for id in all {
            self.end(id, Some(ServerFrame::Goodbye(GoodbyeReason::ShuttingDown)), now);
        }
        while let Some(life) = self.lives.next_to_end(now.monotonic, 0) {
            self.end_dormant(life, now);
        }
        self.parking.clear();
    }

    /// Counts since the start, and what there is at this moment.
    pub fn stats(&self) -> Stats {
        Stats {
            links: self.links.len() as u64,
            swarms: self.swarms.len() as u64,
            mailboxes: self.swarms.mailboxes() as u64,
            slots: self.slots.len() as u64,
            dormant: self.lives.dormant() as u64,
            queued_bytes: self.memory.queued.bytes as u64,
            retained_bytes: self.memory.retained.bytes as u64,
            parked: self.parking.waiting().frames as u64,
            parked_bytes: self.parking.waiting().bytes as u64,
            known: self.parking.known() as u64,
            memory_bytes: self.memory_in_use() as u64,
            ..self.stats
        }
    }

    /// Refuses a link and ends it.
    fn reject(&mut self, id: LinkId, code: RejectCode, retry_after: Duration, text: &str, now: Now) {
        self.stats.rejected += 1;
        let retry_after_ms = millis(retry_after);
        self.end(id, Some(ServerFrame::Reject(Reject { code, retry_after_ms, text: text.to_owned() })), now);
    }

    /// Ends a link for good: it leaves its swarm, what waits for it is bounced as absent or parked, and `farewell` is the last that it
    /// hears.
    fn end(&mut self, id: LinkId, farewell: Option<ServerFrame>, now: Now) {
        let Some(link) = self.links.get_mut(id) else { return };
        let phase = std::mem::replace(&mut link.phase, Phase::Ended);
        if matches!(phase, Phase::Ended) {
            return;
        }
        if let Some(due) = link.deadline.take() {
            self.deadlines.remove(&(due, id));
        }
        let mut stream = std::mem::replace(&mut link.stream, Stream::new(Life::OVER, self.config.lanes));
        std::mem::swap(&mut link.stream.notices, &mut stream.notices);
        link.stream.notices.end_with(farewell);
        link.awake = true;
        self.outputs.push_back(Output::Close(id));
        let holder = match phase {
            Phase::Greeting(_) | Phase::Ended => None,
            Phase::Member(member) => Some(self.leave_as_member(id, &member, &stream, now)),
            Phase::Stranger(stranger) => {
                self.leave_as_stranger(id, &stranger);
                None
            }
        };
        self.scatter(holder, stream, now);
    }

    /// Tells a link that one of its frames was not passed on.
    fn bounce(&mut self, to: Life, number: u64, reason: BounceReason, retry_after: Duration) {
        self.stats.bounced += 1;
        self.hint(to, Hint::Bounce(Bounce { number, reason, retry_after_ms: millis(retry_after) }));
    }

    /// Takes note that an envelope that was on the shelf of this member is under way no more.
    fn release(&mut self, id: LinkId, len: usize) {
        if let Some(holder) = self.holder(id) {
            self.parking.release(holder, len);
        }
    }

    /// Names a member over all its links.
    fn holder(&self, id: LinkId) -> Option<Holder> {
        match &self.links.get(id)?.phase {
            Phase::Member(member) => Some(Holder { routing: self.swarms[member.swarm].key, label: member.label }),
            Phase::Greeting(_) | Phase::Stranger(_) | Phase::Ended => None,
        }
    }

    /// Asks the shell to write on a link, once until the link has nothing left.
    fn wake(&mut self, id: LinkId) {
        if let Some(link) = self.links.get_mut(id)
            && !std::mem::replace(&mut link.awake, true)
        {
            self.outputs.push_back(Output::Wake(id));
        }
    }

    /// Wakes a link that has a notice, or has it cut when it leaves too many unread. The cut waits for
    /// [`handle_timeout`](Self::handle_timeout), as ending a link bounces what waits for it, to links that may be no better.
    fn notify(&mut self, id: LinkId) {
        match self.links.get(id) {
            Some(link) if link.stream.notices.overflowed => self.set_deadline(id, Duration::ZERO),
            Some(_) => self.wake(id),
            None => {}
        }
    }

    /// Gives a link its only deadline.
    fn set_deadline(&mut self, id: LinkId, due: Duration) {
        let Some(link) = self.links.get_mut(id) else { return };
        if let Some(old) = link.deadline.replace(due) {
            self.deadlines.remove(&(old, id));
        }
        self.deadlines.insert((due, id));
    }
}

fn millis(duration: Duration) -> u32 {
    u32::try_from(duration.as_millis()).unwrap_or(u32::MAX)
}
