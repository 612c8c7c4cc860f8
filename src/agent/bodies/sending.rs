//! The sender's side: head first, then parts as the receiver has room for them, then the end.

use std::collections::VecDeque;
use std::time::Duration;

use bytes::Bytes;

use super::wire::{End, Head};
use super::{HEAD, PART, PART_BYTES, PART_HEADER, RANKS, share};
use crate::agent::error::SendError;
use crate::agent::event::{Content, Event, Outgoing, ReceiptState, Token};
use crate::agent::limits::{
    BODIES_TO_PEER, CREDIT_WINDOW_BYTES, CREDIT_WINDOW_MESSAGES, LARGE_BODY_MAX, PROGRESS_PAUSE, TTL_MAX,
};
use crate::agent::member::{Member, Shared};
use crate::agent::message::{ContentType, MessageHeader, MessageKind, Refusal, RefusalCode};
use crate::agent::outbox::{UNTRACKED, check_causality};
use crate::agent::transport::Outbound;
use crate::proto::codec::Reader;
use crate::proto::signature::Hasher;
use crate::proto::{AgentId, Error, Lane, MessageId, Now, ThreadId};

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
            let room = share(rank).saturating_sub(body.weight);
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

    pub(super) fn handle_head_delivered(&mut self, cx: &mut Shared, token: Token, now: Now) {
        let Some(body) = self.bodies.sending.get_mut(&token).filter(|body| body.stage == Stage::Announced) else { return };
        body.stage = Stage::Open;
        body.moved_at = now.monotonic;
        let deadline = body.moved_at + body.outgoing.ttl;
        self.bodies.lines.entry(body.line()).or_default().push(token);
        self.bodies.check_by(deadline);
        self.continue_body(cx, token, now);
    }

    pub(super) fn handle_part_delivered(&mut self, cx: &mut Shared, token: Token, cost: usize, now: Now) {
        let Some(body) = self.bodies.sending.get_mut(&token) else { return };
        body.confirmed += cost.saturating_sub(PART_HEADER) as u64;
        body.moved_at = now.monotonic;
        let is_last = body.is_sent() && body.confirmed == body.fed;
        if is_last || now.monotonic >= body.told_at + PROGRESS_PAUSE {
            body.told_at = now.monotonic;
            let confirmed = body.confirmed;
            cx.emit(Event::BodyMoved { body: token, confirmed });
        }
        self.note_delivered(cx, token);
    }

    /// What became of the end.
    pub(super) fn handle_end_settled(&mut self, cx: &mut Shared, token: Token, state: ReceiptState, cost: usize, now: Now) {
        let Some(body) = self.bodies.sending.get_mut(&token) else { return };
        body.is_end_settled |= cost > 0;
        match state {
            ReceiptState::Delivered => {
                body.is_end_there = true;
                self.note_delivered(cx, token);
                self.forget_if_over(cx, token, now);
            }
            ReceiptState::Done => {
                // It can't be handled unless it was delivered.
                body.is_delivered = true;
                cx.emit(Event::Receipt { token, state });
                self.forget_if_over(cx, token, now);
            }
            ReceiptState::Refused { .. } => self.end_sending(cx, token, Some(state), None, now),
            ReceiptState::Expired | ReceiptState::Failed => self.end_sending(cx, token, Some(state), Some("it expired"), now),
            ReceiptState::Queued | ReceiptState::Unknown | ReceiptState::Full { .. } | ReceiptState::Accepted => {}
        }
    }

    /// Tells that all of a body has arrived, once it has.
    fn note_delivered(&mut self, cx: &mut Shared, token: Token) {
        let Some(body) = self.bodies.sending.get_mut(&token) else { return };
        let has_all = body.confirmed == body.fed || body.untaken.is_empty();
        if body.is_end_there && has_all && !std::mem::replace(&mut body.is_delivered, true) {
            cx.emit(Event::Receipt { token, state: ReceiptState::Delivered });
        }
    }

    /// The receiving application has taken so much.
    pub(in crate::agent) fn handle_taken(
        &mut self,
        cx: &mut Shared,
        sender: AgentId,
        header: &MessageHeader,
        body: &[u8],
        now: Now,
    ) {
        let read = || -> Result<u64, Error> {
            let mut reader = Reader::new(body);
            let taken = reader.u64()?;
            reader.finish("taken").map(|()| taken)
        };
        let token = header.reply_to.and_then(|id| self.bodies.by_head.get(&(sender, id)).copied());
        let (Ok(taken), Some(token)) = (read(), token) else { return };
        let Some(body) = self.bodies.sending.get_mut(&token) else { return };
        while let Some((_, weight)) = body.untaken.pop_front_if(|(end, _)| *end <= taken) {
            body.weight -= weight;
        }
        body.moved_at = now.monotonic;
        self.note_delivered(cx, token);
        self.continue_body(cx, token, now);
        self.forget_if_over(cx, token, now);
    }

    /// A refusal by the receiver, if it is one of a body.
    pub(in crate::agent) fn handle_body_refusal(
        &mut self,
        cx: &mut Shared,
        sender: AgentId,
        header: &MessageHeader,
        body: &[u8],
        now: Now,
    ) -> bool {
        let token = header.reply_to.and_then(|id| self.bodies.by_head.get(&(sender, id)).copied());
        let Some((token, body_state)) = token.and_then(|token| self.bodies.sending.get_mut(&token).map(|body| (token, body)))
        else {
            return false;
        };
        if body_state.is_end_there && !body_state.is_end_settled {
            // Its outcome comes, by the same frame or the next.
            body_state.untaken.clear();
            body_state.weight = 0;
            return true;
        }
        let refusal =
            Refusal::decode(body).unwrap_or_else(|_| Refusal::new(RefusalCode::Unsupported, "the peer's refusal can't be read"));
        let state = ReceiptState::Refused { code: refusal.code, reason: refusal.text };
        let state = (!body_state.is_delivered).then_some(state);
        self.end_sending(cx, token, state, None, now);
        true
    }

    /// Nothing is left to send or to hear.
    fn forget_if_over(&mut self, cx: &mut Shared, token: Token, now: Now) {
        if self.bodies.sending.get(&token).is_some_and(|body| body.is_end_settled && body.untaken.is_empty()) {
            // Without a word if there is nothing that wasn't told.
            self.end_sending(cx, token, None, None, now);
        }
    }

    /// A head or a part will not arrive.
    pub(super) fn fail_sending(&mut self, cx: &mut Shared, token: Token, state: ReceiptState, now: Now) {
        let why = if state == ReceiptState::Expired { "it expired" } else { "its sender gave up" };
        self.end_sending(cx, token, Some(state), Some(why), now);
    }

    /// Forgets a body and takes back what is under way of it; tells the application if `state` says what, and the receiver if `why` does.
    fn end_sending(&mut self, cx: &mut Shared, token: Token, state: Option<ReceiptState>, why: Option<&str>, now: Now) {
        let Some(body) = self.bodies.sending.remove(&token) else { return };
        let (to, lane) = (body.outgoing.to, body.outgoing.lane);
        self.bodies.by_head.remove(&(to, body.id));
        self.withdraw_body(token, to, lane);
        if let Some(state) = state {
            cx.emit(Event::Receipt { token, state });
        }
        cx.emit(Event::BodyOver { body: token });
        if let Some(why) = why {
            let header = of_body(Self::own_header(cx, MessageKind::End, body.outgoing.ttl, now), body.id);
            let end = End::GivenUp { total: body.fed, why: why.to_owned() };
            self.queue_untracked(cx, to, lane, header, end.encode(), now);
        }
        self.touch(cx, to, now);
        // Room for another one, which may be waited for.
        self.settle(cx, Vec::new());
        self.leave_line(cx, body.line(), token, now);
    }

    /// The others of a line move up.
    fn leave_line(&mut self, cx: &mut Shared, line: (AgentId, usize), token: Token, now: Now) {
        let Some(tokens) = self.bodies.lines.get_mut(&line) else { return };
        tokens.retain(|other| *other != token);
        if tokens.is_empty() {
            self.bodies.lines.remove(&line);
            return;
        }
        let moved: Vec<Token> = tokens.iter().take(RANKS).copied().collect();
        moved.into_iter().for_each(|token| self.continue_body(cx, token, now));
    }

    fn withdraw_body(&mut self, token: Token, to: AgentId, lane: Lane) {
        let Some(peer) = self.peers.get_mut(&to) else { return };
        let lane = &mut peer.send[lane.index()];
        for inner in [token | HEAD, token | PART] {
            lane.withdraw_all(inner);
        }
        for cost in lane.withdraw_all(token) {
            self.outbox.bytes -= cost;
            self.outbox.messages -= 1;
        }
    }

    /// The receiver begins anew: so does what can be read again and wasn't delivered.
    pub(super) fn restart_sending_to(&mut self, cx: &mut Shared, peer: AgentId, now: Now) {
        let tokens = self.bodies.sending.iter().filter(|(_, body)| body.outgoing.to == peer).map(|(token, _)| *token);
        for token in tokens.collect::<Vec<_>>() {
            let Some(body) = self.bodies.sending.get_mut(&token) else { continue };
            if body.is_end_settled && body.is_delivered {
                self.end_sending(cx, token, None, None, now);
                continue;
            }
            if matches!(body.source, BodySource::Fed { repeatable: false }) {
                self.end_sending(cx, token, Some(ReceiptState::Failed), None, now);
                continue;
            }
            let (outgoing, length, source) = (body.outgoing.clone(), body.length, body.source.clone());
            let (line, id) = (body.line(), body.id);
            self.withdraw_body(token, outgoing.to, outgoing.lane);
            self.bodies.by_head.remove(&(peer, id));
            if let Some(tokens) = self.bodies.lines.get_mut(&line) {
                tokens.retain(|other| *other != token);
            }
            match self.announce_body(cx, token, &outgoing, true, now) {
                Ok(id) => {
                    self.bodies.by_head.insert((peer, id), token);
                    self.bodies.sending.insert(token, Sending::new(outgoing, length, source, id, now));
                }
                Err(_) => self.end_sending(cx, token, Some(ReceiptState::Failed), None, now),
            }
        }
    }

    /// The receiver will never come back.
    pub(super) fn fail_sending_to(&mut self, cx: &mut Shared, peer: AgentId, now: Now) {
        let tokens = self.bodies.sending.iter().filter(|(_, body)| body.outgoing.to == peer);
        for (token, is_settled) in tokens.map(|(token, body)| (*token, body.is_end_settled)).collect::<Vec<_>>() {
            self.end_sending(cx, token, (!is_settled).then_some(ReceiptState::Failed), None, now);
        }
    }

    pub(super) fn check_sending(&mut self, cx: &mut Shared, now: Now) {
        let deadlines = self.bodies.sending.iter().filter_map(|(token, body)| body.deadline().map(|at| (*token, at)));
        for (token, at) in deadlines.collect::<Vec<_>>() {
            if at <= now.monotonic {
                self.end_sending(cx, token, Some(ReceiptState::Expired), Some("nothing of it moved for too long"), now);
            } else {
                self.bodies.check_by(at);
            }
        }
    }
}

/// Makes a header one of this body's: of its thread, and naming its head.
fn of_body(mut header: MessageHeader, head: MessageId) -> MessageHeader {
    header.reply_to = Some(head);
    header.thread = Some(ThreadId::from_bytes(*head.as_bytes()));
    header
}

const _: () = assert!(UNTRACKED & (HEAD | PART) == 0);
