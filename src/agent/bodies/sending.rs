//! The sender's side: head first, then parts as the receiver has room for them, then the end. `settling`: what becomes of them.

mod settling;

use std::collections::VecDeque;
use std::time::Duration;

use bytes::Bytes;

use super::wire::{End, Head};
use super::{HEAD, PART, PART_BYTES, PART_HEADER, RANKS, share};
use crate::agent::error::SendError;
use crate::agent::event::{Content, Event, Outgoing, ReceiptState, Token};
use crate::agent::limits::{BODIES_TO_PEER, CREDIT_WINDOW_BYTES, CREDIT_WINDOW_MESSAGES, LARGE_BODY_MAX, TTL_MAX};
use crate::agent::member::{Member, Shared};
use crate::agent::message::{ContentType, MessageHeader, MessageKind};
use crate::agent::outbox::{UNTRACKED, check_causality};
use crate::agent::transport::Outbound;
use crate::proto::signature::Hasher;
use crate::proto::{AgentId, Lane, MessageId, Now, ThreadId};

/// Where a body comes from.
#[derive(Clone, Debug)]
pub enum BodySource {
    /// It is there.
    Whole(Bytes),
    /// The shell gives it piece by piece, when [`Event::BodyWanted`] asks; also from the beginning, if it can.
    Fed { repeatable: bool },
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Stage {
    /// The head isn't known to have arrived.
    Announced,
    /// It has, and the body waits for its turn or is under way.
    Open,
    /// The end is in the outbox.
    Sent,
}

pub(super) struct Sending {
    outgoing: Outgoing,
    length: Option<u64>,
    source: BodySource,
    stage: Stage,
    id: MessageId,
    /// Bytes that were made parts of.
    fed: u64,
    /// Bytes that are in the receiver's memory, or were taken from there.
    confirmed: u64,
    /// Parts that the receiving application hasn't taken: where each ends, and what it weighs.
    untaken: VecDeque<(u64, u64)>,
    /// Of all of these together.
    weight: u64,
    /// Of all parts that aren't confirmed: whatever a receiver says it has taken, so much is kept here at most.
    unconfirmed: u64,
    /// The source has nothing more.
    is_finished: bool,
    /// The shell was asked for so many bytes.
    wanted: Option<usize>,
    digest: Option<Hasher>,
    /// The end is in the receiver's memory. Parts before it may be missing.
    is_end_there: bool,
    /// Nothing is left to hear about the end.
    is_end_settled: bool,
    /// All of it has arrived, and the application was told.
    is_delivered: bool,
    moved_at: Duration,
    told_at: Duration,
}

impl Sending {
    fn new(outgoing: Outgoing, length: Option<u64>, source: BodySource, id: MessageId, now: Now) -> Self {
        Self {
            outgoing,
            length,
            source,
            stage: Stage::Announced,
            id,
            fed: 0,
            confirmed: 0,
            untaken: VecDeque::new(),
            weight: 0,
            unconfirmed: 0,
            is_finished: false,
            wanted: None,
            digest: Some(Hasher::new()),
            is_end_there: false,
            is_end_settled: false,
            is_delivered: false,
            moved_at: now.monotonic,
            told_at: now.monotonic,
        }
    }

    pub(super) fn is_sent(&self) -> bool {
        self.stage == Stage::Sent
    }

    fn line(&self) -> (AgentId, usize) {
        (self.outgoing.to, self.outgoing.lane.index())
    }

    /// When it has stood still for too long, if it can.
    fn deadline(&self) -> Option<Duration> {
        (self.stage == Stage::Open).then(|| self.moved_at + self.outgoing.ttl)
    }
}

/// What a part costs of the receiver's room: bytes, or its place among the messages.
fn weight_of(len: usize) -> u64 {
    ((PART_HEADER + len) as u64).max(u64::from(CREDIT_WINDOW_BYTES / CREDIT_WINDOW_MESSAGES))
}

impl Member {
    /// Announces a large body. It ends like a message, by a receipt under the same token.
    pub(in crate::agent) fn send_body(
        &mut self,
        cx: &mut Shared,
        mut outgoing: Outgoing,
        head: &Head,
        source: BodySource,
        now: Now,
    ) -> Result<(Token, MessageId), SendError> {
        let length = match &source {
            BodySource::Whole(bytes) => Some(bytes.len() as u64),
            BodySource::Fed { .. } => head.length,
        };
        if let Some(got) = length.filter(|length| *length > LARGE_BODY_MAX) {
            return Err(SendError::BodyTooLarge { got: got as usize, limit: LARGE_BODY_MAX as usize });
        }
        let to_peer = self.bodies.sending.values().filter(|body| body.outgoing.to == outgoing.to);
        if to_peer.count() >= BODIES_TO_PEER {
            return Err(self.outbox.refuse_more());
        }
        check_causality(cx, outgoing.depth, outgoing.budget)?;
        outgoing.ttl = outgoing.ttl.min(TTL_MAX);
        outgoing.content = Content { content_type: ContentType::Large, bytes: Head { length, ..head.clone() }.encode() };
        let token = cx.token();
        let id = self.announce_body(cx, token, &outgoing, false, now)?;
        self.bodies.by_head.insert((outgoing.to, id), token);
        self.bodies.sending.insert(token, Sending::new(outgoing, length, source, id, now));
        Ok((token, id))
    }

    fn announce_body(
        &mut self,
        cx: &mut Shared,
        token: Token,
        outgoing: &Outgoing,
        is_repeated: bool,
        now: Now,
    ) -> Result<MessageId, SendError> {
        let mut header = self.header(cx, MessageKind::Plain, outgoing, now)?;
        // The end asks for the outcome.
        header.wants_done = false;
        header.maybe_repeated = is_repeated;
        let id = header.id;
        let is_linked = self.roster.get(&outgoing.to).is_some_and(|entry| entry.presence.is_linked());
        self.push_for_body(cx, outgoing.to, outgoing.lane, token | HEAD, header, outgoing.content.bytes.clone(), now)?;
        if !is_linked {
            cx.emit(Event::Receipt { token, state: ReceiptState::Unknown });
        }
        Ok(id)
    }

    /// Gives a message to its peer's lane. Heads and parts are bounded by rank and credit, not by the room of the application's messages.
    #[allow(clippy::too_many_arguments, reason = "all of them make up one message")]
    fn push_for_body(
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
        let peer = self.peer_mut(to).ok_or(SendError::PeerUnknown(to))?;
        peer.send[lane.index()].push(Outbound::new(token, header, body));
        let in_ring = peer.in_ring[lane.index()];
        self.outbox.note_expiry(expiry, now);
        if !in_ring {
            self.touch(cx, to, now);
        }
        Ok(())
    }

    /// The shell gives what [`Event::BodyWanted`] asked for, or some of it. A piece from elsewhere than asked for is not looked at.
    pub(in crate::agent) fn feed_body(
        &mut self,
        cx: &mut Shared,
        token: Token,
        offset: u64,
        piece: Bytes,
        now: Now,
    ) -> Result<(), SendError> {
        let Some(body) = self.bodies.sending.get_mut(&token).filter(|body| body.stage == Stage::Open) else {
            return Err(SendError::NotOpen { what: "body" });
        };
        let Some(wanted) = body.wanted.filter(|_| offset == body.fed && !piece.is_empty()) else { return Ok(()) };
        if piece.len() > wanted {
            return Err(SendError::Invalid(format!("{wanted} bytes of the body were asked for, and {} came", piece.len())));
        }
        let limit = body.length.unwrap_or(LARGE_BODY_MAX);
        if offset + piece.len() as u64 > limit {
            let got = (offset + piece.len() as u64) as usize;
            return Err(SendError::BodyTooLarge { got, limit: limit as usize });
        }
        body.wanted = None;
        let mut rest = piece;
        while !rest.is_empty() {
            let part = rest.split_to(rest.len().min(PART_BYTES));
            self.push_part(cx, token, part, now);
        }
        self.continue_body(cx, token, now);
        Ok(())
    }

    /// The source of a body has nothing more.
    pub(in crate::agent) fn finish_body(&mut self, cx: &mut Shared, token: Token, now: Now) {
        let Some(body) = self.bodies.sending.get_mut(&token).filter(|body| body.stage != Stage::Sent) else { return };
        if let Some(length) = body.length.filter(|length| *length != body.fed) {
            let why = format!("its source had {} bytes instead of {length}", body.fed);
            return self.give_up_body(cx, token, &why, now);
        }
        body.is_finished = true;
        self.continue_body(cx, token, now);
    }

    /// The source of a body failed, or the application doesn't want it sent any more.
    pub(in crate::agent) fn give_up_body(&mut self, cx: &mut Shared, token: Token, why: &str, now: Now) {
        let is_open = self.bodies.sending.get(&token).is_some_and(|body| !body.is_sent());
        if is_open {
            self.end_sending(cx, token, Some(ReceiptState::Failed), Some(why), now);
        }
    }

    /// Makes parts, or asks for what to make them of, as far as the receiver has room; ends the body if there is nothing more.
    fn continue_body(&mut self, cx: &mut Shared, token: Token, now: Now) {
        loop {
            let Some(body) = self.bodies.sending.get(&token).filter(|body| body.stage == Stage::Open) else { return };
            let line = self.bodies.lines.get(&body.line());
            let rank = line.and_then(|line| line.iter().position(|other| *other == token));
            let Some(rank) = rank.filter(|rank| *rank < RANKS) else { return };
            if body.is_finished || body.length == Some(body.fed) {
                return self.send_end(cx, token, now);
            }
            let room = share(rank).saturating_sub(body.weight).min(share(0).saturating_sub(body.unconfirmed));
            let left = body.length.unwrap_or(LARGE_BODY_MAX) - body.fed;
            match &body.source {
                BodySource::Whole(bytes) => {
                    let len = PART_BYTES.min(usize::try_from(left).unwrap_or(usize::MAX));
                    if weight_of(len) > room {
                        return;
                    }
                    let from = body.fed as usize;
                    let part = bytes.slice(from..from + len);
                    self.push_part(cx, token, part, now);
                }
                BodySource::Fed { .. } => {
                    let parts = room / weight_of(PART_BYTES);
                    if parts == 0 || body.wanted.is_some() {
                        return;
                    }
                    // One byte more than may be sent is asked for, so that a stream that is too long is noticed.
                    let room = (parts as usize * PART_BYTES).min(usize::try_from(left).unwrap_or(usize::MAX).max(1));
                    let offset = body.fed;
                    if let Some(body) = self.bodies.sending.get_mut(&token) {
                        body.wanted = Some(room);
                    }
                    return cx.emit(Event::BodyWanted { body: token, offset, room });
                }
            }
        }
    }

    fn push_part(&mut self, cx: &mut Shared, token: Token, part: Bytes, now: Now) {
        let Some(body) = self.bodies.sending.get_mut(&token) else { return };
        let (to, lane, ttl, id) = (body.outgoing.to, body.outgoing.lane, body.outgoing.ttl, body.id);
        if let Some(digest) = &mut body.digest {
            digest.update(&part);
        }
        let weight = weight_of(part.len());
        body.fed += part.len() as u64;
        body.weight += weight;
        body.unconfirmed += weight;
        body.untaken.push_back((body.fed, weight));
        body.moved_at = now.monotonic;
        let header = of_body(Self::own_header(cx, MessageKind::Part, ttl, now), id);
        // The only error is a peer without a card, whose bodies have failed.
        let _ = self.push_for_body(cx, to, lane, token | PART, header, part, now);
    }

    fn send_end(&mut self, cx: &mut Shared, token: Token, now: Now) {
        let Some(body) = self.bodies.sending.get_mut(&token) else { return };
        let Some(digest) = body.digest.take() else { return };
        body.stage = Stage::Sent;
        let (to, lane, ttl, id, total) = (body.outgoing.to, body.outgoing.lane, body.outgoing.ttl, body.id, body.fed);
        let until_done = body.outgoing.until_done;
        let mut header = of_body(Self::own_header(cx, MessageKind::End, ttl, now), id);
        header.wants_done = until_done;
        let end = End::Complete { total, digest: digest.finish() };
        let _ = self.queue(cx, to, lane, token, header, end.encode(), now);
    }
}

/// Makes a header one of this body's: of its thread, and naming its head.
fn of_body(mut header: MessageHeader, head: MessageId) -> MessageHeader {
    header.reply_to = Some(head);
    header.thread = Some(ThreadId::from_bytes(*head.as_bytes()));
    header
}

const _: () = assert!(UNTRACKED & (HEAD | PART) == 0);
