//! Requests, seen from the worker: who waits for what, and how to tell that it is being worked on.

use std::collections::{BTreeMap, VecDeque};
use std::time::Duration;

use bytes::Bytes;

use super::error::SendError;
use super::event::{Content, Event, Outgoing, Token};
use super::inbox::{expiry_here, incoming};
use super::limits::{EARLY_CANCELS, HEARTBEAT_INTERVAL, LOOP_STALL, TTL_MAX};
use super::member::{Member, Shared};
use super::message::{MessageHeader, MessageKind, Refusal, RefusalCode};
use super::transport::Cost;
use crate::proto::{AgentId, Lane, MessageId, Now, ThreadId};

/// How long an answer is worth delivering.
const ANSWER_TTL: Duration = Duration::from_secs(60 * 60);

struct Request {
    sender: AgentId,
    id: MessageId,
    lane: Lane,
    thread: Option<ThreadId>,
    cost: Cost,
    cancelled: bool,
}

#[derive(Default)]
pub(super) struct Requests {
    requests: BTreeMap<Token, Request>,
    by_id: BTreeMap<(AgentId, MessageId), Token>,
    /// Cancels that overtook their request, by sender.
    early_cancels: BTreeMap<AgentId, VecDeque<MessageId>>,
    heartbeat_at: Option<Duration>,
    /// When the application's event loop last turned.
    turned_at: Duration,
}

impl Requests {
    pub(super) fn poll_timeout(&self) -> Option<Duration> {
        self.heartbeat_at
    }

    pub(super) fn len(&self) -> usize {
        self.requests.len()
    }

    /// The application's event loop lives.
    pub(super) fn turned(&mut self, now: Now) {
        self.turned_at = now.monotonic;
    }

    /// At the bound the oldest of the same sender goes: its request, if it ever comes, is worked on in vain.
    fn remember_cancel(&mut self, sender: AgentId, id: MessageId) {
        let cancels = self.early_cancels.entry(sender).or_default();
        if cancels.len() == EARLY_CANCELS {
            cancels.pop_front();
        }
        cancels.push_back(id);
    }

    fn was_cancelled(&mut self, sender: AgentId, id: MessageId) -> bool {
        let Some(cancels) = self.early_cancels.get_mut(&sender) else { return false };
        let found = cancels.iter().position(|early| *early == id).and_then(|at| cancels.remove(at)).is_some();
        if cancels.is_empty() {
            self.early_cancels.remove(&sender);
        }
        found
    }

    fn remove(&mut self, token: Token) -> Option<Request> {
        let request = self.requests.remove(&token)?;
        self.by_id.remove(&(request.sender, request.id));
        if self.requests.is_empty() {
            self.heartbeat_at = None;
        }
        Some(request)
    }
}

impl Member {
    #[allow(clippy::too_many_arguments, reason = "all of them make up one message")]
    pub(super) fn handle_request(
        &mut self,
        cx: &mut Shared,
        sender: AgentId,
        lane: Lane,
        header: MessageHeader,
        body: Bytes,
        cost: Cost,
        now: Now,
    ) {
        let offset = self.peers.get(&sender).map(|peer| peer.clock_offset.unwrap_or_default());
        let Some((offset, entry)) = offset.zip(self.roster.get(&sender)) else { return };
        let offered = header.skill.as_ref().is_none_or(|skill| self.roster.own().skill(skill).is_some());
        let refusal = if expiry_here(header.expiry, offset) <= now.wall {
            Some(Refusal::new(RefusalCode::Expired, "it came too late"))
        } else if !entry.card.member.rights.originate {
            Some(Refusal::new(
                RefusalCode::NotPermitted,
                "the caller's certificate does not include the right to originate tasks",
            ))
        } else if !offered {
            Some(Refusal::new(RefusalCode::SkillUnknown, "this agent does not offer the skill"))
        } else {
            None
        };
        if let Some(refusal) = refusal {
            self.give_back(sender, lane, cost);
            return self.send_refusal(cx, sender, lane, &header, &refusal, now);
        }
        if self.requests.was_cancelled(sender, header.id) {
            self.give_back(sender, lane, cost);
            return;
        }
        let token = cx.token();
        self.requests.by_id.insert((sender, header.id), token);
        self.requests
            .requests
            .insert(token, Request { sender, id: header.id, lane, thread: header.thread, cost, cancelled: false });
        self.requests.heartbeat_at.get_or_insert(now.monotonic + HEARTBEAT_INTERVAL);
        cx.emit(Event::Request(incoming(token, sender, lane, header, body, offset)));
    }

    pub(super) fn handle_cancel(&mut self, cx: &mut Shared, sender: AgentId, header: &MessageHeader) {
        let Some(id) = header.reply_to else { return };
        match self.requests.by_id.get(&(sender, id)) {
            Some(&request) => self.cancel_request(cx, request),
            None => self.requests.remember_cancel(sender, id),
        }
    }

    fn cancel_request(&mut self, cx: &mut Shared, request: Token) {
        if let Some(entry) = self.requests.requests.get_mut(&request)
            && !std::mem::replace(&mut entry.cancelled, true)
        {
            cx.emit(Event::Cancelled { request });
        }
    }

    /// The caller is gone: nobody waits for these answers.
    pub(super) fn cancel_requests_of(&mut self, cx: &mut Shared, id: AgentId) {
        self.requests.early_cancels.remove(&id);
        let affected: Vec<Token> =
            self.requests.requests.iter().filter(|(_, request)| request.sender == id).map(|(token, _)| *token).collect();
        affected.into_iter().for_each(|token| self.cancel_request(cx, token));
    }

    /// The application couldn't go on with a chain of messages: whoever sent the one that it was handling is told.
    pub(super) fn stop_loop(&mut self, cx: &mut Shared, to: AgentId, id: MessageId, lane: Lane, thread: ThreadId, now: Now) {
        let refusal = Refusal::new(RefusalCode::TooDeep, "this chain of messages that cause each other has come to its limit");
        let mut header = Self::own_header(cx, MessageKind::Refusal, ANSWER_TTL, now);
        header.reply_to = Some(id);
        header.thread = (thread != ThreadId::ZERO).then_some(thread);
        self.queue_untracked(cx, to, lane, header, refusal.encode(), now);
        cx.emit(Event::LoopStopped { peer: to, thread, here: true });
    }

    /// Answers a request: with a part, or finally. Parts are bounded by the outbox, the final answer always finds room.
    #[allow(clippy::too_many_arguments, reason = "all of them make up one message")]
    pub(super) fn answer(
        &mut self,
        cx: &mut Shared,
        request: Token,
        content: Content,
        is_final: bool,
        depth: u16,
        budget: Option<u32>,
        now: Now,
    ) -> Result<(Token, MessageId), SendError> {
        let Some(entry) = self.requests.requests.get(&request) else { return Err(SendError::NotOpen { what: "request" }) };
        let outgoing = Outgoing {
            to: entry.sender,
            lane: entry.lane,
            thread: entry.thread,
            ttl: ANSWER_TTL,
            until_done: false,
            depth,
            budget,
            reply_to: Some(entry.id),
            headers: Bytes::new(),
            content,
        };
        if !is_final {
            self.check_room(cx, outgoing.content.bytes.len())?;
        }
        let kind = if is_final { MessageKind::Answer } else { MessageKind::Progress };
        let header = self.header(cx, kind, &outgoing, now)?;
        let id = header.id;
        if is_final {
            self.finish_request(cx, request, now);
        }
        let token = cx.token();
        self.queue(cx, outgoing.to, outgoing.lane, token, header, outgoing.content.bytes, now)?;
        Ok((token, id))
    }

    /// Refuses a request. False: it is over already, or was none.
    pub(super) fn refuse_request(&mut self, cx: &mut Shared, request: Token, refusal: &Refusal, now: Now) -> bool {
        let Some(entry) = self.finish_request(cx, request, now) else { return false };
        let mut header = Self::own_header(cx, MessageKind::Refusal, ANSWER_TTL, now);
        header.reply_to = Some(entry.id);
        header.thread = entry.thread;
        self.queue_untracked(cx, entry.sender, entry.lane, header, refusal.encode(), now);
        true
    }

    fn finish_request(&mut self, cx: &mut Shared, request: Token, now: Now) -> Option<Request> {
        let entry = self.requests.remove(request)?;
        if self.give_back(entry.sender, entry.lane, entry.cost) {
            self.touch(cx, entry.sender, now);
        }
        Some(entry)
    }

    /// Refuses a message that the application never sees.
    pub(super) fn send_refusal(
        &mut self,
        cx: &mut Shared,
        to: AgentId,
        lane: Lane,
        header: &MessageHeader,
        refusal: &Refusal,
        now: Now,
    ) {
        let mut answer = Self::own_header(cx, MessageKind::Refusal, TTL_MAX, now);
        answer.reply_to = Some(header.id);
        answer.thread = header.thread;
        self.queue_untracked(cx, to, lane, answer, refusal.encode(), now);
    }

    pub(super) fn answer_describe(
        &mut self,
        cx: &mut Shared,
        to: AgentId,
        lane: Lane,
        header: &MessageHeader,
        hash: &[u8],
        now: Now,
    ) {
        let definition =
            <[u8; 32]>::try_from(hash).ok().and_then(|hash| self.definitions.own(&hash).cloned()).unwrap_or_default();
        let mut answer = Self::own_header(cx, MessageKind::Definition, ANSWER_TTL, now);
        answer.reply_to = Some(header.id);
        answer.content_type = super::message::ContentType::Bytes;
        self.queue_untracked(cx, to, lane, answer, definition, now);
    }

    /// Tells callers that their requests are worked on, as long as the application's event loop turns.
    pub(super) fn handle_heartbeat_timeout(&mut self, cx: &mut Shared, now: Now) {
        if self.requests.heartbeat_at.is_none_or(|at| at > now.monotonic) {
            return;
        }
        self.requests.heartbeat_at = (!self.requests.requests.is_empty()).then_some(now.monotonic + HEARTBEAT_INTERVAL);
        if self.requests.turned_at + LOOP_STALL <= now.monotonic {
            return;
        }
        let running: Vec<(AgentId, MessageId)> =
            self.requests.requests.values().map(|request| (request.sender, request.id)).collect();
        for (sender, id) in running {
            if let Some(peer) = self.peers.get_mut(&sender) {
                peer.owe_heartbeat(id);
            }
            self.touch(cx, sender, now);
        }
    }
}
