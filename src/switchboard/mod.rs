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
//!  socket ended  handle_closed  link.rs      what waits for one link?
//!  timer         handle_timeout origins.rs   how many, how fast, from where? poll_timeout   when to call again
//! ```
//!
//! The policies, each next to the code that keeps it:
//!
//! - A link is refused when it is one too many, in all or from its origin, or when its origin comes too fast (`hello.rs`).
//! - A second link of the same key in the same swarm replaces the first, which is told (`hello.rs`).
//! - A link hears of a label that came or went once, in the order of the changes, and only of the last change (`swarm.rs`).
//! - A stranger reaches one registrant of its mailbox and nobody else; to others it doesn't exist. So does a guest, who reaches
//!   the member that opened its slot (`forward.rs`).
//! - A slot stays its holder's while that is away, until it expires; its number goes to nobody else soon after (`slots.rs`).
//! - Guests of one origin are few: each is a guess at somebody's code, and a wrong one spoils it (`origins.rs`).
//! - A Data frame is queued or its sender gets a Bounce that cites it; nothing is dropped in silence while its sender is
//!   linked (`forward.rs`). What was handed to a socket that then failed is the senders' business, end to end.
//! - A receiver that doesn't read fills its own queue and is cut off after a while; nobody waits for it (`mod.rs`).
//!
//! PROTOCOL.md sections 2 to 4 are all that this module knows of the protocol.

mod config;
mod forward;
mod hello;
mod link;
mod origins;
mod requests;
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

use crate::proto::{BounceReason, DataFrame, GoodbyeReason, Now, Reject, RejectCode, ServerFrame};
use link::{Link, Links, Phase, Waiting};
use origins::Origins;
use slots::Slots;
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
    outputs: VecDeque<Output>,
    /// One entry for each link that has a deadline, the same as in the link.
    deadlines: BTreeSet<(Duration, LinkId)>,
    /// Set while any queue holds something.
    next_sweep: Option<Duration>,
    /// Bytes in the lanes of all links.
    queued_bytes: usize,
    shutting_down: bool,
    stats: Stats,
}

impl Switchboard {
    /// Makes a switchboard without links.
    pub fn new(config: Config, _now: Now) -> Self {
        Self {
            slots: Slots::new(&config),
            origins: Origins::new(&config),
            config,
            links: Links::default(),
            swarms: Swarms::default(),
            outputs: VecDeque::new(),
            deadlines: BTreeSet::new(),
            next_sweep: None,
            queued_bytes: 0,
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

    /// Takes note that the socket of a link is gone.
    pub fn handle_closed(&mut self, id: LinkId, now: Now) {
        self.end(id, None);
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
        if self.next_sweep.is_some_and(|due| due <= now.monotonic) {
            self.sweep(now);
        }
    }

    /// Ends each link whose socket took nothing for too long while something waited for it.
    fn sweep(&mut self, now: Now) {
        let limit = self.config.stall_limit;
        let stalled = |link: &Link| !link.queue.is_empty() && now.monotonic.saturating_sub(link.moved) >= limit;
        let stalled: Vec<_> = self.links.iter().filter(|(_, link)| stalled(link)).map(|(id, _)| id).collect();
        for id in stalled {
            self.stats.stalled += 1;
            self.end(id, None);
        }
        self.next_sweep = (self.queued_bytes > 0).then(|| now.monotonic + SWEEP_INTERVAL);
    }

    /// Returns when to call [`handle_timeout`](Self::handle_timeout) next, on the monotonic clock.
    pub fn poll_timeout(&self) -> Option<Duration> {
        let deadline = self.deadlines.first().map(|(due, _)| *due);
        deadline.into_iter().chain(self.next_sweep).chain(self.slots.next_due()).min()
    }

    /// Returns the next thing for the shell to do.
    pub fn poll_output(&mut self) -> Option<Output> {
        self.outputs.pop_front()
    }

    /// Returns the next frame to write on a link: bounces and other notices, then labels, then its lanes. So whoever hears that
    /// a label is back knows already what was lost while it was away. A frame that expired while it waited is bounced instead.
    pub fn poll_transmit(&mut self, id: LinkId, now: Now) -> Option<Bytes> {
        let link = self.links.get_mut(id)?;
        if let Some(notice) = link.notices.pop() {
            return Some(notice.encode());
        }
        if let Phase::Member(member) = &mut link.phase
            && let Some(labels) = self.swarms[member.swarm].labels_for(member)
        {
            return Some(ServerFrame::Labels(labels).encode());
        }
        while let Some(waiting) = self.links.get_mut(id)?.take(now.monotonic) {
            self.queued_bytes -= waiting.frame.len();
            if !self.is_expired(waiting.expiry, now) {
                return Some(waiting.frame);
            }
            self.bounce(waiting.from, waiting.number, BounceReason::Expired, Duration::ZERO);
        }
        self.links.get_mut(id)?.awake = false;
        None
    }

    /// Reports whether the shell should read from a link. It should not while the link leaves its notices unread: a sender
    /// that outruns its own bounces is slowed by its socket, and by nothing else.
    pub fn wants_frames(&self, id: LinkId) -> bool {
        self.links.get(id).is_some_and(|link| !link.notices.are_many())
    }

    /// Ends all links and refuses new ones. Nothing is bounced: every receiver is told the same.
    pub fn shut_down(&mut self, _now: Now) {
        self.shutting_down = true;
        let all: Vec<_> = self.links.iter().map(|(id, _)| id).collect();
        for id in all {
            self.end(id, Some(ServerFrame::Goodbye(GoodbyeReason::ShuttingDown)));
        }
    }

    /// Counts since the start, and what there is at this moment.
    pub fn stats(&self) -> Stats {
        Stats {
            links: self.links.len() as u64,
            swarms: self.swarms.len() as u64,
            mailboxes: self.swarms.mailboxes() as u64,
            slots: self.slots.len() as u64,
            queued_bytes: self.queued_bytes as u64,
            ..self.stats
        }
    }

    /// Refuses a link and ends it.
    fn reject(&mut self, id: LinkId, code: RejectCode, retry_after: Duration, text: &str) {
        self.stats.rejected += 1;
        let retry_after_ms = millis(retry_after);
        self.end(id, Some(ServerFrame::Reject(Reject { code, retry_after_ms, text: text.to_owned() })));
    }

    /// Ends a link: it leaves its swarm, what waits for it is bounced as absent, and `farewell` is the last that it hears.
    fn end(&mut self, id: LinkId, farewell: Option<ServerFrame>) {
        let Some(link) = self.links.get_mut(id) else { return };
        let phase = std::mem::replace(&mut link.phase, Phase::Ended);
        if matches!(phase, Phase::Ended) {
            return;
        }
        if let Some(due) = link.deadline.take() {
            self.deadlines.remove(&(due, id));
        }
        link.notices.end_with(farewell);
        link.awake = true;
        let waiting: Vec<Waiting> = link.queue.drain().collect();
        self.outputs.push_back(Output::Close(id));
        match phase {
            Phase::Greeting(_) | Phase::Ended => {}
            Phase::Member(member) => self.leave_as_member(id, &member),
            Phase::Stranger(stranger) => self.leave_as_stranger(id, &stranger),
        }
        for item in waiting {
            self.queued_bytes -= item.frame.len();
            if !self.shutting_down {
                self.bounce(item.from, item.number, BounceReason::Absent, Duration::ZERO);
            }
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
            Some(link) if link.notices.overflowed => self.set_deadline(id, Duration::ZERO),
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
