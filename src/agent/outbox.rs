//! From the application's message to the next frame on the link: bounds, expiry, and whose turn it is.
//!
//! Messages wait with their peer, in plaintext. In each lane the peers that have something stand in a ring and take turns, a frame
//! each; among the lanes the queue of `proto::lanes` decides, as the switchboard does. At most one frame a lane is sealed ahead.

use std::collections::VecDeque;
use std::time::Duration;

use bytes::Bytes;

use super::bodies::Bodies;
use super::error::SendError;
use super::event::{Event, Outgoing, ReceiptState, Token};
use super::limits::{BODY_MAX, HEADERS_MAX, TTL_MAX};
use super::link::Origin;
use super::member::{Member, Shared};
use super::message::{Headers, MessageHeader, MessageKind};
use super::transport::{Hint, Outbound, Settled};
use crate::proto::{AgentId, DataFrame, Lane, LaneLimits, LaneQueue, MessageId, Now};

/// Token of messages that nobody asks about: cards, definitions, refusals.
pub(super) const UNTRACKED: Token = 0;

/// Least time between two searches for expired messages: each looks at all that wait.
const EXPIRY_PAUSE: Duration = Duration::from_millis(50);

/// Messages that may wait for a peer in a lane when the agent adds one of its own. Chosen: twice a full roster.
const UNTRACKED_MAX: usize = 2_048;

/// Messages that may be sent and unconfirmed in a lane when the agent adds one of its own. Chosen: more than the credit of all classes that an
/// honest peer gives; one that gives more and confirms nothing must not fill the memory either.
const UNTRACKED_UNDER_WAY_MAX: usize = 16_384;

/// Handshake frames and one sealed frame a lane wait here. Chosen: an opener to each peer of a full roster, at 8 KiB.
const STAGED: LaneLimits = LaneLimits { frames_per_lane: 2_048, bytes_per_lane: 16 << 20 };

pub(super) struct Outbox {
    /// Of the application's messages.
    pub(super) bytes: usize,
    pub(super) messages: usize,
    was_full: bool,
    rings: [VecDeque<AgentId>; Lane::COUNT],
    staged: LaneQueue<(Bytes, Origin)>,
    /// Earliest expiry of a message, Unix milliseconds; may name one that is settled already.
    next_expiry: Option<u64>,
    /// The same on the monotonic clock.
    expire_at: Option<Duration>,
}

impl Default for Outbox {
    fn default() -> Self {
        Self {
            bytes: 0,
            messages: 0,
            was_full: false,
            rings: Default::default(),
            staged: LaneQueue::new(STAGED),
            next_expiry: None,
            expire_at: None,
        }
    }
}

impl Outbox {
    pub(super) fn enter_ring(&mut self, lane: Lane, peer: AgentId) {
        self.rings[lane.index()].push_back(peer);
    }

    pub(super) fn forget_staged(&mut self) {
        self.staged = LaneQueue::new(STAGED);
    }

    /// Queues a frame that isn't made of messages.
    pub(super) fn stage(&mut self, frame: DataFrame, origin: Origin) {
        let lane = frame.header().lane;
        let frame = frame.into_bytes();
        // At the bound the frame is dropped: whoever waits for it asks again.
        let _ = self.staged.push(lane, frame.len(), (frame, origin));
    }

    pub(super) fn poll_timeout(&self) -> Option<Duration> {
        self.expire_at
    }

    /// Says that there is no room; when there is again, the application hears of it.
    pub(super) fn refuse_more(&mut self) -> SendError {
        self.was_full = true;
        SendError::OutboxFull { messages: self.messages, bytes: self.bytes }
    }

    pub(super) fn note_expiry(&mut self, expiry: u64, now: Now) {
        if self.next_expiry.is_none_or(|next| expiry < next) {
            self.next_expiry = Some(expiry);
            let wait = Duration::from_millis(expiry.saturating_sub(now.wall));
            self.expire_at = Some(now.monotonic + wait.max(EXPIRY_PAUSE));
        }
    }
}

impl Member {
    /// Takes a plain message of the application.
    pub(super) fn send(&mut self, cx: &mut Shared, outgoing: Outgoing, now: Now) -> Result<(Token, MessageId), SendError> {
        self.check_room(cx, outgoing.content.bytes.len())?;
        check_causality(cx, outgoing.depth, outgoing.budget)?;
        let header = self.header(cx, MessageKind::Plain, &outgoing, now)?;
        let id = header.id;
        let token = cx.token();
        self.queue(cx, outgoing.to, outgoing.lane, token, header, outgoing.content.bytes, now)?;
        Ok((token, id))
    }

    /// Makes the sealed header of an application's message, within the limits.
    pub(super) fn header(
        &self,
        cx: &mut Shared,
        kind: MessageKind,
        outgoing: &Outgoing,
        now: Now,
    ) -> Result<MessageHeader, SendError> {
        let got = outgoing.content.bytes.len();
        if got > BODY_MAX {
            return Err(SendError::BodyTooLarge { got, limit: BODY_MAX });
        }
        let headers = Headers::new(outgoing.headers.clone())
            .map_err(|_| SendError::HeadersTooLarge { got: outgoing.headers.len(), limit: HEADERS_MAX })?;
        let ttl_ms = u32::try_from(outgoing.ttl.min(TTL_MAX).as_millis()).unwrap_or(u32::MAX);
        let id = MessageId::from_bytes(cx.random.array());
        let mut header = MessageHeader::new(id, kind, now.wall + u64::from(ttl_ms), ttl_ms);
        header.content_type = outgoing.content.content_type;
        header.wants_done = outgoing.until_done;
        header.depth = outgoing.depth;
        // Zero says that there is no budget. An answer ends a chain, and is sent even on a budget that is spent.
        header.budget = outgoing.budget.map_or(0, |budget| budget.max(1));
        header.thread = outgoing.thread;
        header.reply_to = outgoing.reply_to;
        header.headers = headers;
        Ok(header)
    }

    pub(super) fn check_room(&mut self, cx: &Shared, body: usize) -> Result<(), SendError> {
        if self.outbox.messages < cx.config.outbox_messages && self.outbox.bytes + body <= cx.config.outbox_bytes {
            return Ok(());
        }
        Err(self.outbox.refuse_more())
    }

    /// Hands a message to its peer's lane.
    #[allow(clippy::too_many_arguments, reason = "all of them make up one message")]
    pub(super) fn queue(
        &mut self,
        cx: &mut Shared,
        to: AgentId,
        lane: Lane,
        token: Token,
        header: MessageHeader,
        body: Bytes,
        now: Now,
    ) -> Result<(), SendError> {
        let expiry = header.expiry;
        let linked = self.roster.get(&to).is_some_and(|entry| entry.presence.is_linked());
        let peer = self.peer_mut(to).ok_or(SendError::PeerUnknown(to))?;
        let mut message = Outbound::new(token, header, body);
        if !linked {
            message.hint = Some(Hint::Unknown);
        }
        let cost = message.cost();
        peer.send[lane.index()].push(message);
        // Its own words are bounded for each peer: one that takes nothing leaves the application all of its room.
        if token != UNTRACKED {
            self.outbox.bytes += cost;
            self.outbox.messages += 1;
        }
        self.outbox.note_expiry(expiry, now);
        if !linked && token != UNTRACKED {
            cx.emit(Event::Receipt { token, state: ReceiptState::Unknown });
        }
        // A peer that stands in the ring of the lane already needs no second look: this is the path of each message of a burst.
        if !self.peers.get(&to).is_some_and(|peer| peer.in_ring[lane.index()]) {
            self.touch(cx, to, now);
        }
        Ok(())
    }

    /// Sends something of the agent's own, which needs no receipt.
    pub(super) fn queue_untracked(
        &mut self,
        cx: &mut Shared,
        to: AgentId,
        lane: Lane,
        header: MessageHeader,
        body: Bytes,
        now: Now,
    ) {
        // A peer that asks and asks, and takes nothing, must not fill the memory with answers.
        let lane_of = self.peers.get(&to).map(|peer| &peer.send[lane.index()]);
        if lane_of.is_some_and(|lane| lane.waiting() >= UNTRACKED_MAX || lane.under_way() >= UNTRACKED_UNDER_WAY_MAX) {
            cx.counters.withheld_messages += 1;
            return;
        }
        // The only error is a peer without a card, for whom there is nothing to say.
        let _ = self.queue(cx, to, lane, UNTRACKED, header, body, now);
    }

    /// A header for a message of the agent's own.
    pub(super) fn own_header(cx: &mut Shared, kind: MessageKind, ttl: Duration, now: Now) -> MessageHeader {
        let ttl_ms = u32::try_from(ttl.as_millis()).unwrap_or(u32::MAX);
        MessageHeader::new(MessageId::from_bytes(cx.random.array()), kind, now.wall + u64::from(ttl_ms), ttl_ms)
    }

    /// Accounts for messages that came to an end, and reports them.
    pub(super) fn settle(&mut self, cx: &mut Shared, settled: Vec<Settled>) {
        for settled in settled {
            let is_of_body = self.bodies.note_settled(&settled);
            let (token, state, cost) = settled;
            if Bodies::owner(token).is_some() {
                continue;
            }
            if cost > 0 && token != UNTRACKED {
                self.outbox.bytes -= cost;
                self.outbox.messages -= 1;
            }
            if token != UNTRACKED && !is_of_body {
                self.note_request_settled(cx, token, &state);
                cx.emit(Event::Receipt { token, state });
            }
        }
        let below = |used: usize, limit: usize| used < limit - limit / 4;
        if self.outbox.was_full
            && below(self.outbox.messages, cx.config.outbox_messages)
            && below(self.outbox.bytes, cx.config.outbox_bytes)
        {
            self.outbox.was_full = false;
            cx.emit(Event::Space);
        }
    }

    /// Tokens of sent messages that their receivers aren't known to have, nor the switchboard to keep.
    pub(super) fn undelivered(&self) -> Vec<Token> {
        let lanes = self.peers.values().flat_map(|peer| &peer.send);
        let whole =
            lanes.flat_map(|lane| lane.undelivered()).filter(|token| *token != UNTRACKED && Bodies::owner(*token).is_none());
        whole.chain(self.bodies.unsent()).collect()
    }

    /// What waits for its first frame, by lane, in messages and bytes, and how many messages are sent and not confirmed.
    pub(super) fn load(&self) -> ([(usize, usize); Lane::COUNT], usize) {
        let (mut queued, mut unconfirmed) = ([(0, 0); Lane::COUNT], 0);
        for (at, lane) in self.peers.values().flat_map(|peer| peer.send.iter().enumerate()) {
            let (messages, bytes, under_way) = lane.load();
            queued[at].0 += messages;
            queued[at].1 += bytes;
            unconfirmed += under_way;
        }
        (queued, unconfirmed)
    }

    /// Ends what is too late. It looks at everything that waits, hence seldom.
    pub(super) fn handle_outbox_timeout(&mut self, cx: &mut Shared, now: Now) {
        if self.outbox.expire_at.is_none_or(|at| at > now.monotonic) {
            return;
        }
        self.outbox.next_expiry = None;
        self.outbox.expire_at = None;
        let mut settled = Vec::new();
        let mut touched = Vec::new();
        for (id, peer) in &mut self.peers {
            let before = settled.len();
            for lane in &mut peer.send {
                if let Some(expiry) = lane.expire(now.wall, &mut settled) {
                    self.outbox.note_expiry(expiry, now);
                }
            }
            if settled.len() > before {
                touched.push(*id);
            }
        }
        self.settle(cx, settled);
        touched.into_iter().for_each(|id| self.touch(cx, id, now));
    }

    /// The next frame for the link, by lane and turn.
    pub(super) fn next_frame(&mut self, cx: &mut Shared, now: Now) -> Option<Bytes> {
        for lane in Lane::ALL {
            while self.outbox.staged.bytes_in(lane) == 0 {
                let Some(id) = self.outbox.rings[lane.index()].pop_front() else { break };
                self.take_turn(cx, lane, id, now);
            }
        }
        let (frame, origin) = self.outbox.staged.pop(now.monotonic)?;
        if cfg!(feature = "planted_receipt_early")
            && let Origin::Messages { peer, lane, built } = origin
            && let Some(peer) = self.peers.get_mut(&peer)
        {
            let mut settled = Vec::new();
            peer.send[lane.index()].believe(built, &mut settled, now.monotonic);
            self.settle(cx, settled);
        }
        cx.link.track(origin);
        cx.counters.frames_sent += 1;
        Some(frame)
    }

    fn take_turn(&mut self, cx: &mut Shared, lane: Lane, id: AgentId, now: Now) {
        let reachable = self.roster.get(&id).is_some_and(|entry| entry.presence.is_linked());
        let Some(peer) = self.peers.get_mut(&id) else { return };
        peer.in_ring[lane.index()] = false;
        let is_paced = peer.pace[lane.index()].opens_at(now.monotonic).is_some();
        if !reachable || peer.hold_until > now.monotonic || is_paced || !peer.has_keys() {
            return self.touch(cx, id, now);
        }
        if let Some((frame, origin)) = peer.build(lane, now) {
            self.outbox.stage(frame, origin);
        }
        self.touch(cx, id, now);
    }
}

/// Whether a message may still be sent in a chain of so many that caused each other.
pub(super) fn check_causality(cx: &Shared, depth: u16, budget: Option<u32>) -> Result<(), SendError> {
    let limit = cx.config.depth_max;
    match budget {
        _ if depth > limit => Err(SendError::TooDeep { depth, limit }),
        Some(0) => Err(SendError::BudgetSpent),
        Some(_) | None => Ok(()),
    }
}
