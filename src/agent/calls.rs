//! Calls, seen from the caller: whom to give them to, when to move on, when to give up.
//!
//! A call is a request message and what is known about it. It ends with the answer, a refusal, the worker's going, the caller's own limits, or when
//! the worker shows no life. A call that isn't bound to one peer moves on when its worker is gone, busy or lapsed; each move raises the
//! attempt, and answers to earlier attempts are not taken. Candidates are the linked holders of the skill, one at random; when all are
//! away the call waits, for as long as its time to live.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use bytes::Bytes;

use super::error::{CallError, SendError};
use super::event::{CallRequest, Content, Event, Outgoing, ReceiptState, Token};
use super::inbox::incoming;
use super::limits::{CALLS_MAX, LAPSE_AFTER, RETRY_AFTER_MAX, TTL_MAX};
use super::member::{Member, Shared};
use super::message::{MessageHeader, MessageKind, Refusal, RefusalCode, SkillName};
use super::outbox::check_causality;
use super::roster::Presence;
use crate::proto::{AgentId, Lane, MessageId, Now, ThreadId};

/// How often calls are looked at for their limits. Chosen: limits are in seconds, and thousands of calls may be open.
const TICK: Duration = Duration::from_millis(100);

/// What kind of message makes the request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Purpose {
    Call,
    Describe,
}

struct Call {
    purpose: Purpose,
    request: CallRequest,
    thread: ThreadId,
    began: Duration,
    attempt: u32,
    /// The message that is out, and with whom.
    current: Option<Current>,
    /// Peers that refused as busy or lapsed; tried again when there is nobody else.
    avoided: BTreeSet<AgentId>,
    /// A busy worker's wish: not before this.
    not_before: Duration,
    /// Since when nobody has it. Its time to live counts from here, as that of its message does from when somebody is given it.
    idle_since: Duration,
    last_progress: Duration,
}

struct Current {
    peer: AgentId,
    message: MessageId,
    token: Token,
    delivered: bool,
    /// When the worker last showed life.
    life: Duration,
}

#[derive(Default)]
pub(super) struct Calls {
    calls: BTreeMap<Token, Call>,
    by_message: BTreeMap<MessageId, Token>,
    by_request: BTreeMap<Token, Token>,
    /// Calls that have nobody.
    waiting: BTreeSet<Token>,
    tick_at: Option<Duration>,
}

impl Calls {
    pub(super) fn poll_timeout(&self) -> Option<Duration> {
        self.tick_at
    }

    pub(super) fn len(&self) -> usize {
        self.calls.len()
    }

    /// The receipt token and id of the request that is out, and with whom it is.
    pub(super) fn request_of(&self, call: Token) -> Option<(Token, MessageId, AgentId)> {
        self.calls.get(&call)?.current.as_ref().map(|current| (current.token, current.message, current.peer))
    }

    pub(super) fn handle_peer_up(&mut self, id: AgentId, now: Now) {
        for call in self.calls.values_mut() {
            if let Some(current) = call.current.as_mut().filter(|current| current.peer == id) {
                current.life = now.monotonic;
            }
        }
    }

    fn remove(&mut self, token: Token) -> Option<Call> {
        let call = self.calls.remove(&token)?;
        self.waiting.remove(&token);
        if let Some(current) = &call.current {
            self.by_message.remove(&current.message);
            self.by_request.remove(&current.token);
        }
        if self.calls.is_empty() {
            self.tick_at = None;
        }
        Some(call)
    }
}

impl Call {
    /// Whether this peer may be chosen for it.
    fn admits(&self, peer: &AgentId) -> bool {
        self.request.among.is_empty() || self.request.among.contains(peer)
    }

    /// Whether another peer may do it as well.
    fn may_move(&self) -> bool {
        self.request.to.is_none() && self.request.skill.is_some()
    }
}

impl Member {
    /// Starts a call or a plain request.
    pub(super) fn call(&mut self, cx: &mut Shared, request: CallRequest, now: Now) -> Result<Token, SendError> {
        self.start_call(cx, request, Purpose::Call, now)
    }

    /// Asks a peer for the definition of one of its skills.
    pub(super) fn describe(
        &mut self,
        cx: &mut Shared,
        peer: AgentId,
        hash: [u8; 32],
        timeout: Duration,
        now: Now,
    ) -> Result<Token, SendError> {
        if let Some(definition) = self.definitions.get(&hash).cloned() {
            let call = cx.token();
            cx.emit(Event::Definition { call, definition: Some(definition) });
            return Ok(call);
        }
        let content = Content { content_type: super::message::ContentType::Bytes, bytes: Bytes::copy_from_slice(&hash) };
        let request = CallRequest {
            skill: None,
            to: Some(peer),
            among: Vec::new(),
            lane: Lane::High,
            thread: None,
            ttl: timeout,
            timeout: Some(timeout),
            progress_timeout: None,
            depth: 0,
            budget: None,
            headers: Bytes::new(),
            content,
        };
        self.start_call(cx, request, Purpose::Describe, now)
    }

    fn start_call(&mut self, cx: &mut Shared, request: CallRequest, purpose: Purpose, now: Now) -> Result<Token, SendError> {
        self.check_room(cx, request.content.bytes.len())?;
        check_causality(cx, request.depth, request.budget)?;
        if !self.membership.rights().originate && purpose == Purpose::Call {
            return Err(SendError::NotPermitted { right: "originate tasks" });
        }
        if self.calls.len() >= CALLS_MAX {
            return Err(SendError::OutboxFull { messages: self.calls.len(), bytes: self.outbox.bytes });
        }
        if let Some(skill) = &request.skill
            && request.to.is_none()
            && self.roster.holders(skill).all(|entry| entry.card.identity == cx.identity.id())
        {
            return Err(SendError::SkillUnknown(skill.clone()));
        }
        if let Some(peer) = request.to
            && (self.roster.get(&peer).is_none() || peer == cx.identity.id())
        {
            return Err(SendError::PeerUnknown(peer));
        }
        // What can't be said at all fails here and not at some later attempt.
        self.call_header(cx, &request, purpose, 1, ThreadId::ZERO, now)?;
        let token = cx.token();
        let thread = request.thread.unwrap_or_else(|| ThreadId::from_bytes(cx.random.array()));
        let call = Call {
            purpose,
            request,
            thread,
            began: now.monotonic,
            attempt: 0,
            current: None,
            avoided: BTreeSet::new(),
            not_before: Duration::ZERO,
            idle_since: now.monotonic,
            last_progress: now.monotonic,
        };
        self.calls.calls.insert(token, call);
        self.calls.tick_at.get_or_insert(now.monotonic + TICK);
        self.place_call(cx, token, now);
        Ok(token)
    }

    fn call_header(
        &self,
        cx: &mut Shared,
        request: &CallRequest,
        purpose: Purpose,
        attempt: u32,
        thread: ThreadId,
        now: Now,
    ) -> Result<MessageHeader, SendError> {
        let outgoing = Outgoing {
            to: AgentId::ZERO,
            lane: request.lane,
            thread: Some(thread),
            ttl: request.ttl.min(TTL_MAX),
            until_done: false,
            depth: request.depth,
            budget: request.budget,
            reply_to: None,
            headers: request.headers.clone(),
            content: request.content.clone(),
        };
        let kind = if purpose == Purpose::Describe { MessageKind::Describe } else { MessageKind::Request };
        let mut header = self.header(cx, kind, &outgoing, now)?;
        header.attempt = attempt;
        header.skill = match &request.skill {
            Some(skill) => Some(SkillName::new(skill).map_err(|_| SendError::SkillUnknown(skill.clone()))?),
            None => None,
        };
        Ok(header)
    }

    /// Gives a call to somebody, or lets it wait.
    fn place_call(&mut self, cx: &mut Shared, token: Token, now: Now) {
        let Some(call) = self.calls.calls.get(&token) else { return };
        let Some(peer) = self.choose_worker(cx, call, now) else {
            if self.calls.waiting.insert(token)
                && let Some(call) = self.calls.calls.get_mut(&token)
            {
                call.idle_since = now.monotonic;
            }
            return;
        };
        let (request, purpose, attempt, thread) = (call.request.clone(), call.purpose, call.attempt + 1, call.thread);
        let request_token = cx.token();
        let id = match self.call_header(cx, &request, purpose, attempt, thread, now) {
            Ok(header) => {
                let id = header.id;
                match self.queue(cx, peer, request.lane, request_token, header, request.content.bytes.clone(), now) {
                    Ok(()) => id,
                    Err(_) => return self.fail_call(cx, token, CallError::PeerGone(peer)),
                }
            }
            Err(_) => return self.fail_call(cx, token, CallError::Expired),
        };
        let Some(call) = self.calls.calls.get_mut(&token) else { return };
        call.attempt = attempt;
        call.last_progress = now.monotonic;
        call.current = Some(Current { peer, message: id, token: request_token, delivered: false, life: now.monotonic });
        self.calls.waiting.remove(&token);
        self.calls.by_message.insert(id, token);
        self.calls.by_request.insert(request_token, token);
        if purpose == Purpose::Call {
            cx.emit(Event::CallMoved { call: token, peer, attempt });
        }
    }

    fn choose_worker(&self, cx: &mut Shared, call: &Call, now: Now) -> Option<AgentId> {
        if let Some(peer) = call.request.to {
            return Some(peer);
        }
        if call.not_before > now.monotonic {
            return None;
        }
        let skill = call.request.skill.as_deref()?;
        let me = cx.identity.id();
        let linked = self.roster.holders(skill).filter(|entry| entry.presence.is_linked()).map(|entry| entry.card.identity);
        let candidates: Vec<AgentId> = linked.filter(|id| *id != me && call.admits(id)).collect();
        let fresh: Vec<AgentId> = candidates.iter().filter(|id| !call.avoided.contains(id)).copied().collect();
        let pool = if fresh.is_empty() { candidates } else { fresh };
        let draw = u64::from_be_bytes(cx.random.array());
        let at = draw.checked_rem(pool.len() as u64)?;
        pool.get(usize::try_from(at).ok()?).copied()
    }

    /// Somebody came, or a card changed: calls that have nobody are tried again.
    pub(super) fn move_calls(&mut self, cx: &mut Shared, now: Now) {
        let waiting: Vec<Token> = self.calls.waiting.iter().copied().collect();
        waiting.into_iter().for_each(|token| self.place_call(cx, token, now));
    }

    /// The worker is gone: calls that may move do, the others are over.
    pub(super) fn abandon_calls_to(&mut self, cx: &mut Shared, id: AgentId, now: Now) {
        let affected: Vec<Token> = self
            .calls
            .calls
            .iter()
            .filter(|(_, call)| call.current.as_ref().is_some_and(|current| current.peer == id))
            .map(|(token, _)| *token)
            .collect();
        for token in affected {
            if self.calls.calls.get(&token).is_some_and(Call::may_move) {
                self.move_call(cx, token, now);
            } else {
                self.take_back(cx, token, now);
                self.fail_call(cx, token, CallError::PeerGone(id));
            }
        }
    }

    /// Takes the call back from its worker and gives it to another.
    fn move_call(&mut self, cx: &mut Shared, token: Token, now: Now) {
        self.take_back(cx, token, now);
        if let Some(call) = self.calls.calls.get_mut(&token) {
            if let Some(current) = call.current.take() {
                self.calls.by_message.remove(&current.message);
                self.calls.by_request.remove(&current.token);
                call.avoided.insert(current.peer);
            }
            self.place_call(cx, token, now);
        }
    }

    /// Withdraws the request where that is still possible, and tells the worker otherwise.
    fn take_back(&mut self, cx: &mut Shared, token: Token, now: Now) {
        let Some(current) = self.calls.calls.get(&token).and_then(|call| call.current.as_ref()) else { return };
        let (id, message, request) = (current.peer, current.message, current.token);
        let Some(call) = self.calls.calls.get(&token) else { return };
        let lane = call.request.lane;
        self.calls.by_request.remove(&request);
        let Some(peer) = self.peers.get_mut(&id) else { return };
        let mut settled = Vec::new();
        let never_left = peer.send[lane.index()].withdraw(request, &mut settled) && !peer.has_keys();
        self.settle(cx, settled);
        if !never_left {
            let mut header = Self::own_header(cx, MessageKind::Cancel, TTL_MAX, now);
            header.reply_to = Some(message);
            self.queue_untracked(cx, id, Lane::Control, header, Bytes::new(), now);
        }
        self.touch(cx, id, now);
    }

    /// The application doesn't want the answer any more.
    pub(super) fn cancel_call(&mut self, cx: &mut Shared, token: Token, now: Now) {
        self.take_back(cx, token, now);
        self.calls.remove(token);
    }

    fn fail_call(&mut self, cx: &mut Shared, token: Token, error: CallError) {
        if self.calls.remove(token).is_some() {
            cx.emit(Event::CallFailed { call: token, error });
        }
    }

    /// The outbox knows what became of a request.
    pub(super) fn note_request_settled(&mut self, cx: &mut Shared, request: Token, state: &ReceiptState) {
        let Some(&token) = self.calls.by_request.get(&request) else { return };
        match state {
            ReceiptState::Delivered => {
                if let Some(current) = self.calls.calls.get_mut(&token).and_then(|call| call.current.as_mut()) {
                    current.delivered = true;
                }
            }
            ReceiptState::Expired => self.fail_call(cx, token, CallError::Expired),
            ReceiptState::Failed => {
                // The worker's identity ended; `abandon_calls_to` has dealt with those that may move.
                if let Some(peer) = self.calls.request_of(token).map(|(_, _, peer)| peer) {
                    self.fail_call(cx, token, CallError::PeerGone(peer));
                }
            }
            ReceiptState::Queued
            | ReceiptState::Unknown
            | ReceiptState::Full { .. }
            | ReceiptState::Accepted
            | ReceiptState::Done
            | ReceiptState::Refused { .. } => {}
        }
    }

    /// An answer, a part of one, a refusal, or a definition.
    pub(super) fn handle_answer_message(
        &mut self,
        cx: &mut Shared,
        sender: AgentId,
        lane: Lane,
        header: MessageHeader,
        body: Bytes,
        now: Now,
    ) {
        let token = header.reply_to.and_then(|id| self.calls.by_message.get(&id).copied());
        let Some(token) = token else { return self.handle_stray_answer(cx, sender, &header, &body) };
        let Some(call) = self.calls.calls.get_mut(&token) else { return };
        // Only the peer that was asked may answer, whatever it knows of the id.
        let Some(current) = call.current.as_mut().filter(|current| current.peer == sender) else { return };
        current.life = now.monotonic;
        current.delivered = true;
        call.last_progress = now.monotonic;
        let clock_offset = self.peers.get(&sender).and_then(|peer| peer.clock_offset).unwrap_or_default();
        match header.kind {
            MessageKind::Progress => {
                let answer = incoming(cx.token(), sender, lane, header, body, clock_offset);
                cx.emit(Event::Progress { call: token, answer });
            }
            MessageKind::Answer => {
                self.calls.remove(token);
                let answer = incoming(cx.token(), sender, lane, header, body, clock_offset);
                cx.emit(Event::Answered { call: token, answer });
            }
            MessageKind::Definition => {
                let Some(call) = self.calls.remove(token) else { return };
                let hash = call.request.content.bytes.as_ref().try_into().unwrap_or([0; 32]);
                let known = !body.is_empty() && self.definitions.learn(&hash, body.clone()).is_ok();
                cx.emit(Event::Definition { call: token, definition: known.then_some(body) });
            }
            _ => {
                let refusal = Refusal::decode(&body)
                    .unwrap_or_else(|_| Refusal::new(RefusalCode::HandlerError, "the peer's refusal can't be read"));
                self.handle_refusal(cx, token, refusal, now);
            }
        }
    }

    /// What answers no call that is open: an answer that came too late, or word that a chain of plain messages was stopped.
    fn handle_stray_answer(&mut self, cx: &mut Shared, sender: AgentId, header: &MessageHeader, body: &Bytes) {
        let is_stop = header.kind == MessageKind::Refusal
            && Refusal::decode(body).is_ok_and(|refusal| refusal.code == RefusalCode::TooDeep);
        if is_stop {
            cx.emit(Event::LoopStopped { peer: sender, thread: header.thread.unwrap_or(ThreadId::ZERO), here: false });
        }
    }

    /// Busy and lapsed workers are left for another where the call may move; everything else is final.
    fn handle_refusal(&mut self, cx: &mut Shared, token: Token, refusal: Refusal, now: Now) {
        let moves = matches!(refusal.code, RefusalCode::Busy) && self.calls.calls.get(&token).is_some_and(Call::may_move);
        let retry_after = Duration::from_millis(refusal.retry_after_ms.into()).min(RETRY_AFTER_MAX);
        if !moves {
            let error = CallError::Refused { code: refusal.code, type_name: refusal.type_name, text: refusal.text, retry_after };
            return self.fail_call(cx, token, error);
        }
        let Some(call) = self.calls.calls.get_mut(&token) else { return };
        if let Some(current) = call.current.take() {
            self.calls.by_message.remove(&current.message);
            self.calls.by_request.remove(&current.token);
            call.avoided.insert(current.peer);
        }
        let skill = call.request.skill.clone().unwrap_or_default();
        let everybody_is_busy = self
            .roster
            .holders(&skill)
            .filter(|entry| entry.presence.is_linked() && call.admits(&entry.card.identity))
            .all(|entry| call.avoided.contains(&entry.card.identity));
        if everybody_is_busy {
            call.avoided.clear();
            call.not_before = now.monotonic + retry_after.max(TICK);
        }
        self.place_call(cx, token, now);
    }

    pub(super) fn handle_heartbeats(&mut self, sender: AgentId, requests: &[MessageId], now: Now) {
        for id in requests {
            let call = self.calls.by_message.get(id).and_then(|token| self.calls.calls.get_mut(token));
            if let Some(current) = call.and_then(|call| call.current.as_mut()).filter(|current| current.peer == sender) {
                current.life = now.monotonic;
                current.delivered = true;
            }
        }
    }

    pub(super) fn handle_call_timeout(&mut self, cx: &mut Shared, now: Now) {
        if self.calls.tick_at.is_none_or(|at| at > now.monotonic) {
            return;
        }
        self.calls.tick_at = Some(now.monotonic + TICK);
        let mut over = Vec::new();
        for (token, call) in &mut self.calls.calls {
            if let Some(limit) = call.request.timeout
                && call.began + limit <= now.monotonic
            {
                over.push((*token, CallError::TimedOut(limit)));
                continue;
            }
            let Some(current) = call.current.as_mut() else {
                if call.idle_since + call.request.ttl.min(TTL_MAX) <= now.monotonic {
                    over.push((*token, CallError::Expired));
                }
                continue;
            };
            let presence = self.roster.get(&current.peer).map(|entry| entry.presence);
            let linked = cx.link.is_up() && presence.is_some_and(Presence::is_linked);
            // A peer that was gone when the call was made has as long to come back as one that goes.
            if cx.link.is_up()
                && presence.is_none_or(Presence::is_gone)
                && call.began + cx.config.peer_gone_after <= now.monotonic
            {
                over.push((*token, CallError::PeerGone(current.peer)));
            } else if let Some(limit) = call.request.progress_timeout
                && current.delivered
                && call.last_progress + limit <= now.monotonic
            {
                over.push((*token, CallError::NoProgress(limit)));
            } else if !linked || !current.delivered {
                current.life = now.monotonic;
            } else if current.life + LAPSE_AFTER <= now.monotonic {
                over.push((*token, CallError::Lapsed { peer: current.peer, silent: LAPSE_AFTER }));
            }
        }
        for (token, error) in over {
            let moves = matches!(error, CallError::Lapsed { .. }) && self.calls.calls.get(&token).is_some_and(Call::may_move);
            if moves {
                self.move_call(cx, token, now);
            } else {
                self.take_back(cx, token, now);
                self.fail_call(cx, token, error);
            }
        }
        self.move_calls(cx, now);
    }

    /// The agent closes: nobody will answer.
    pub(super) fn fail_all_calls(&mut self, cx: &mut Shared) {
        let tokens: Vec<Token> = self.calls.calls.keys().copied().collect();
        tokens.into_iter().for_each(|token| self.fail_call(cx, token, CallError::Closed));
    }
}
