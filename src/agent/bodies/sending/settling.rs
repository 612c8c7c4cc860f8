//! What the sender of a body hears of it: what arrived, how far the reader is, and how it ends.

use super::super::{HEAD, PART, PART_HEADER, RANKS};
use super::{BodySource, Sending, Stage, of_body, weight_of};
use crate::agent::bodies::wire::End;
use crate::agent::event::{Event, ReceiptState, Token};
use crate::agent::limits::PROGRESS_PAUSE;
use crate::agent::member::{Member, Shared};
use crate::agent::message::{MessageHeader, MessageKind, Refusal, RefusalCode};
use crate::proto::codec::Reader;
use crate::proto::{AgentId, Error, Lane, Now};

impl Member {
    pub(in crate::agent) fn handle_head_delivered(&mut self, cx: &mut Shared, token: Token, now: Now) {
        let Some(body) = self.bodies.sending.get_mut(&token).filter(|body| body.stage == Stage::Announced) else { return };
        body.stage = Stage::Open;
        body.moved_at = now.monotonic;
        let deadline = body.moved_at + body.outgoing.ttl;
        self.bodies.lines.entry(body.line()).or_default().push(token);
        self.bodies.check_by(deadline);
        self.continue_body(cx, token, now);
    }

    pub(in crate::agent) fn handle_part_delivered(&mut self, cx: &mut Shared, token: Token, cost: usize, now: Now) {
        let Some(body) = self.bodies.sending.get_mut(&token) else { return };
        let len = cost.saturating_sub(PART_HEADER);
        body.confirmed += len as u64;
        body.unconfirmed = body.unconfirmed.saturating_sub(weight_of(len));
        body.moved_at = now.monotonic;
        let is_last = body.is_sent() && body.confirmed == body.fed;
        if is_last || now.monotonic >= body.told_at + PROGRESS_PAUSE {
            body.told_at = now.monotonic;
            let confirmed = body.confirmed;
            cx.emit(Event::BodyMoved { body: token, confirmed });
        }
        self.note_delivered(cx, token);
        self.continue_body(cx, token, now);
    }

    /// What became of the end.
    pub(in crate::agent) fn handle_end_settled(
        &mut self,
        cx: &mut Shared,
        token: Token,
        state: ReceiptState,
        cost: usize,
        now: Now,
    ) {
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

    /// The body to whose head this message is an answer.
    fn body_meant_by(&self, sender: AgentId, header: &MessageHeader) -> Option<Token> {
        self.bodies.by_head.get(&(sender, header.reply_to?)).copied()
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
        let (Ok(taken), Some(token)) = (read(), self.body_meant_by(sender, header)) else { return };
        let Some(body) = self.bodies.sending.get_mut(&token) else { return };
        while body.untaken.front().is_some_and(|(end, _)| *end <= taken) {
            body.weight -= body.untaken.pop_front().map_or(0, |(_, weight)| weight);
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
        let Some(token) = self.body_meant_by(sender, header) else { return false };
        let Some(body_state) = self.bodies.sending.get_mut(&token) else { return false };
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
    pub(in crate::agent) fn fail_sending(&mut self, cx: &mut Shared, token: Token, state: ReceiptState, now: Now) {
        let why = if state == ReceiptState::Expired { "it expired" } else { "its sender gave up" };
        self.end_sending(cx, token, Some(state), Some(why), now);
    }

    /// Forgets a body and takes back what is under way of it; tells the application if `state` says what, and the receiver if `why` does.
    pub(super) fn end_sending(
        &mut self,
        cx: &mut Shared,
        token: Token,
        state: Option<ReceiptState>,
        why: Option<&str>,
        now: Now,
    ) {
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
    pub(in crate::agent) fn restart_sending_to(&mut self, cx: &mut Shared, peer: AgentId, now: Now) {
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
    pub(in crate::agent) fn fail_sending_to(&mut self, cx: &mut Shared, peer: AgentId, now: Now) {
        let tokens = self.bodies.sending.iter().filter(|(_, body)| body.outgoing.to == peer);
        for (token, is_settled) in tokens.map(|(token, body)| (*token, body.is_end_settled)).collect::<Vec<_>>() {
            self.end_sending(cx, token, (!is_settled).then_some(ReceiptState::Failed), None, now);
        }
    }

    pub(in crate::agent) fn check_sending(&mut self, cx: &mut Shared, now: Now) {
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
