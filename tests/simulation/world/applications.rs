//! The applications' side of the world: what they send, what they make of events, and what the history learns of it.

use std::time::Duration;

use a2alinker::agent::{
    CallRequest, CloseReason, ContentType, Event, Incoming, Outgoing, ReceiptState, Refusal, RefusalCode, SendError, Token,
};
use a2alinker::proto::{Lane, ThreadId};

use super::{Happening, SKILL, World, skill};
use crate::simulation::application::{Job, Unread, answer, body, headers, read, read_answer};
use crate::simulation::history::{Path, State, Uid, What, Who};

/// How often an application's event loop turns by itself.
const TURN: Duration = Duration::from_secs(5);

/// A plain message to be sent.
#[derive(Clone, Copy, Debug)]
pub struct SendPlan {
    pub to: Who,
    pub lane: Lane,
    pub thread: u8,
    pub len: usize,
    pub ttl: Duration,
    pub until_done: bool,
}

impl SendPlan {
    /// A short message that may take an hour.
    pub fn to(to: Who) -> Self {
        Self { to, lane: Lane::Normal, thread: 0, len: 100, ttl: Duration::from_secs(3_600), until_done: false }
    }
}

/// A call to be made.
#[derive(Clone, Copy, Debug)]
pub struct CallPlan {
    pub to: Option<Who>,
    /// Nobody else may do it; unlike with `to`, it is a call to whoever is free.
    pub among: Option<Who>,
    pub lane: Lane,
    pub len: usize,
    pub ttl: Duration,
    pub timeout: Option<Duration>,
}

impl CallPlan {
    /// A call to whoever is free.
    pub fn anybody() -> Self {
        Self { to: None, among: None, lane: Lane::Normal, len: 100, ttl: Duration::from_secs(3_600), timeout: None }
    }

    pub fn to(to: Who) -> Self {
        Self { to: Some(to), ..Self::anybody() }
    }
}

/// What applications do.
impl World {
    /// Sends a message. None if the agent took nothing.
    pub fn send(&mut self, from: Who, plan: SendPlan) -> Option<Uid> {
        self.try_send(from, plan).ok()
    }

    pub fn try_send(&mut self, from: Who, plan: SendPlan) -> Result<Uid, SendError> {
        let message = self.next_uid;
        let now = self.clock(from);
        let outgoing = Outgoing {
            to: self.seats[plan.to].id,
            lane: plan.lane,
            thread: (plan.thread > 0).then(|| ThreadId::from_bytes([plan.thread; 16])),
            ttl: plan.ttl,
            until_done: plan.until_done,
            depth: 0,
            budget: None,
            reply_to: None,
            headers: headers(message, plan.len),
            content: body(message, plan.len),
        };
        let seat = &mut self.seats[from];
        let agent = seat.agent.as_mut().ok_or(SendError::Closed)?;
        let sent = agent.send(outgoing, now);
        seat.is_full |= matches!(sent, Err(SendError::OutboxFull { .. }));
        let (token, _) = sent?;
        self.next_uid += 1;
        self.seats[from].application.sent.insert(token, message);
        let path = Path { from, to: plan.to, lane: plan.lane, thread: plan.thread };
        let what = What::Sent { message, path, expires: self.now + plan.ttl, until_done: plan.until_done };
        self.history.add(self.now, from, what);
        self.settle(from);
        Ok(message)
    }

    pub fn call(&mut self, from: Who, plan: CallPlan) -> Result<Uid, SendError> {
        let call = self.next_uid;
        let now = self.clock(from);
        let request = CallRequest {
            skill: Some(SKILL.to_owned()),
            to: plan.to.map(|to| self.seats[to].id),
            among: plan.among.map(|who| self.seats[who].id).into_iter().collect(),
            lane: plan.lane,
            thread: None,
            ttl: plan.ttl,
            timeout: plan.timeout,
            progress_timeout: None,
            depth: 0,
            budget: None,
            headers: headers(call, plan.len),
            content: body(call, plan.len),
        };
        let agent = self.seats[from].agent.as_mut().ok_or(SendError::Closed)?;
        let token = agent.call(request, now)?;
        self.next_uid += 1;
        self.seats[from].application.calls.insert(token, call);
        self.seats[from].application.open_calls.insert(token);
        self.history.add(self.now, from, What::Called { call });
        self.settle(from);
        Ok(call)
    }

    /// Changes the word beside the skill on an agent's card.
    pub fn retag(&mut self, who: Who, tag: String) {
        let now = self.clock(who);
        let seat = &mut self.seats[who];
        if let Some(agent) = &mut seat.agent
            && agent.offer(vec![skill(&tag)], now).is_ok()
        {
            seat.tag = tag;
        }
        self.settle(who);
    }

    /// The caller's application doesn't want the answer any more.
    pub fn cancel(&mut self, from: Who, call: Uid) {
        let now = self.clock(from);
        let seat = &mut self.seats[from];
        let open = &mut seat.application.open_calls;
        let found = open.iter().find(|token| seat.application.calls[token] == call).copied();
        if let (Some(token), Some(agent)) = (found, &mut seat.agent) {
            agent.cancel(token, now);
            open.remove(&token);
            self.history.add(self.now, from, What::Withdrawn { call });
            self.settle(from);
        }
    }

    /// The application takes one message out of its inbox, and handles it.
    pub(super) fn read(&mut self, who: Who) {
        let now = self.clock(who);
        let seat = &mut self.seats[who];
        if !seat.application.manner.reads {
            return;
        }
        let Some(agent) = &mut seat.agent else { return };
        let Some(Unread { token, message, lane, wants_done }) = seat.application.inbox.pop_front() else { return };
        if wants_done && self.dice.chance(seat.application.manner.declines) {
            self.history.add(self.now, who, What::Declined { message });
            let refusal = Refusal::new(RefusalCode::Application, "not today");
            agent.refuse(token, &refusal, now).expect("it is unread");
        } else {
            self.history.add(self.now, who, What::Handled { message });
        }
        agent.consumed(lane, 1, now);
        self.settle(who);
    }

    /// The application reads again what it left unread.
    pub fn read_all(&mut self, who: Who) {
        self.seats[who].application.manner.reads = true;
        for _ in 0..self.seats[who].application.inbox.len() {
            self.put(self.now, Happening::Read(who));
        }
    }

    pub(super) fn turn(&mut self, who: Who) {
        let now = self.clock(who);
        let seat = &mut self.seats[who];
        let Some(agent) = &mut seat.agent else { return };
        if seat.application.manner.turns {
            agent.turned(now);
        }
        self.put(self.now + TURN, Happening::Turn(who));
    }

    /// The next step of a request: a part of the answer, the answer, or a refusal.
    pub(super) fn work(&mut self, who: Who, token: Token) {
        let now = self.clock(who);
        let seat = &mut self.seats[who];
        let manner = seat.application.manner;
        let Some(agent) = &mut seat.agent else { return };
        let Some(job) = seat.application.jobs.get_mut(&token) else { return };
        if !manner.turns {
            return self.put(self.now + TURN, Happening::Work(who, token));
        }
        if job.refuses {
            seat.application.jobs.remove(&token);
            let refusal = Refusal::new(RefusalCode::HandlerError, "it broke");
            agent.refuse(token, &refusal, now).expect("the request is open");
            return self.settle(who);
        }
        let Job { call, attempt, parts, .. } = *job;
        let is_final = parts == 0;
        let len = if self.dice.chance(100) { self.dice.within(0..40_000) } else { self.dice.within(0..500) } as usize;
        let content = answer(call, who, attempt, len);
        let answered = agent.answer(token, content, is_final, 0, None, now);
        if is_final {
            answered.expect("the request is open, and a final answer always finds room");
            seat.application.jobs.remove(&token);
        } else {
            job.parts -= 1;
            let pause = self.dice.millis(0..manner.works_for.as_millis() as u64 + 1);
            self.put(self.now + pause, Happening::Work(who, token));
        }
        self.history.add(self.now, who, What::Worked { call, attempt });
        self.settle(who);
    }
}

/// What agents tell their applications.
impl World {
    pub(super) fn tell_application(&mut self, who: Who, event: Event) {
        let at = self.now;
        match event {
            Event::Linked { resumed } => self.history.add(at, who, What::Linked { resumed }),
            Event::LinkLost { .. } => self.history.add(at, who, What::LinkLost),
            Event::Joined => self.seats[who].joined = true,
            Event::Closed(reason) => self.handle_closed(who, reason),
            Event::Peer { id, change } => {
                let peer = self.who_by_id[&id];
                self.note(|| format!("agent {who} hears that agent {peer} is {change:?}"));
                self.seats[who].changes.push((peer, change));
            }
            Event::Message(incoming) if incoming.content.content_type == ContentType::Large => self.handle_large(who, &incoming),
            Event::Message(incoming) => self.handle_message(who, &incoming),
            Event::Request(incoming) => self.handle_request(who, &incoming),
            Event::Cancelled { request } => self.handle_cancelled(who, request),
            Event::Gap { .. } => self.seats[who].gaps += 1,
            Event::Receipt { token, state } => {
                self.handle_body_receipt(who, token, &state);
                self.handle_receipt(who, token, &state);
            }
            Event::BodyWanted { .. } | Event::BodyOver { .. } | Event::BodyMoved { .. } | Event::BodyArrived { .. } => {
                self.handle_body_event(who, &event);
            }
            Event::CallMoved { call, peer, attempt } => {
                let (call, to) = (self.uid_of_call(who, call), self.who_by_id[&peer]);
                self.history.add(at, who, What::Moved { call, to, attempt });
            }
            Event::Progress { call, answer } => {
                let (uid, worker, attempt, _) = read_answer(&answer.content).expect("the seal keeps answers whole");
                assert_eq!(uid, self.uid_of_call(who, call), "an answer to another call");
                let from = self.who_by_id[&answer.sender];
                self.history.add(at, who, What::Progress { call: uid, from, worker, attempt });
            }
            Event::Answered { call, answer } => {
                let (uid, worker, attempt, intact) = read_answer(&answer.content).expect("the seal keeps answers whole");
                assert_eq!(uid, self.uid_of_call(who, call), "an answer to another call");
                self.seats[who].application.open_calls.remove(&call);
                let from = self.who_by_id[&answer.sender];
                self.history.add(at, who, What::Answered { call: uid, from, worker, attempt, intact });
            }
            Event::CallFailed { call, error } => {
                let uid = self.uid_of_call(who, call);
                self.seats[who].application.open_calls.remove(&call);
                self.history.add(at, who, What::CallFailed { call: uid, error: format!("{error:?}") });
            }
            Event::Invite { invite, result } => {
                self.invites.insert((who, invite), Some(result.is_ok()));
                if let Ok(Some(code)) = result {
                    self.codes.insert((who, invite), code);
                }
            }
            Event::Burnt { invite, why } => {
                self.burnt.insert((who, invite), why);
            }
            Event::Space => self.seats[who].is_full = false,
            Event::LoopStopped { .. } => {}
            Event::Admitted { .. } | Event::Definition { .. } => {}
            Event::NotSaved { error } => panic!("no save fails here: {error}"),
        }
    }

    fn uid_of_call(&self, who: Who, call: Token) -> Uid {
        self.seats[who].application.calls[&call]
    }

    fn handle_closed(&mut self, who: Who, reason: Option<CloseReason>) {
        self.seats[who].closed = Some(format!("{reason:?}"));
        if self.seats[who].agent.take().is_some() {
            self.history.add(self.now, who, What::Ended);
            self.hang_up(who);
        }
    }

    fn handle_message(&mut self, who: Who, incoming: &Incoming) {
        let (message, intact) = read(&incoming.headers, &incoming.content).expect("the seal keeps headers whole");
        let thread = incoming.thread.as_bytes()[0];
        let path = Path { from: self.who_by_id[&incoming.sender], to: who, lane: incoming.lane, thread };
        let repeated = incoming.maybe_repeated;
        self.history.add(self.now, who, What::Handed { message, path, intact, repeated });
        let hasty = incoming.wants_done && self.dice.chance(self.seats[who].application.manner.hurries);
        if hasty {
            self.history.add(self.now, who, What::Handled { message });
            let now = self.clock(who);
            if let Some(agent) = &mut self.seats[who].agent {
                agent.done(incoming.token, now);
            }
        }
        let application = &mut self.seats[who].application;
        application.inbox.push_back(Unread {
            token: incoming.token,
            message,
            lane: incoming.lane,
            wants_done: incoming.wants_done && !hasty,
        });
        let wait = self.dice.millis(0..application.manner.reads_within.as_millis() as u64 + 1);
        self.put(self.now + wait, Happening::Read(who));
    }

    fn handle_request(&mut self, who: Who, incoming: &Incoming) {
        let (call, intact) = read(&incoming.headers, &incoming.content).expect("the seal keeps headers whole");
        let (from, attempt) = (self.who_by_id[&incoming.sender], incoming.attempt);
        self.request_ids.insert(call, incoming.id);
        self.history.add(self.now, who, What::Requested { call, from, attempt, intact });
        let now = self.clock(who);
        let seat = &mut self.seats[who];
        let manner = seat.application.manner;
        if seat.application.jobs.len() >= manner.works_on {
            let refusal = Refusal { retry_after_ms: 500, ..Refusal::new(RefusalCode::Busy, "all hands are full") };
            if let Some(agent) = &mut seat.agent {
                agent.refuse(incoming.token, &refusal, now).expect("the request is open");
            }
            return;
        }
        let (parts, refuses) = (self.dice.within(0..3), self.dice.chance(manner.refuses));
        seat.application.jobs.insert(incoming.token, Job { call, attempt, parts, refuses });
        let pause = self.dice.millis(0..manner.works_for.as_millis() as u64 + 1);
        self.put(self.now + pause, Happening::Work(who, incoming.token));
    }

    fn handle_cancelled(&mut self, who: Who, request: Token) {
        let now = self.clock(who);
        let seat = &mut self.seats[who];
        if seat.application.jobs.remove(&request).is_some()
            && let Some(agent) = &mut seat.agent
        {
            agent.refuse(request, &Refusal::new(RefusalCode::Cancelled, "cancelled"), now).expect("the request is open");
        }
    }

    fn handle_receipt(&mut self, who: Who, token: Token, state: &ReceiptState) {
        // Answers have receipts too; of them only the call's outcome counts.
        let Some(&message) = self.seats[who].application.sent.get(&token) else { return };
        let state = match state {
            ReceiptState::Queued => State::Sent,
            ReceiptState::Unknown => State::Unknown,
            ReceiptState::Full { .. } => State::Full,
            ReceiptState::Accepted => State::Accepted,
            ReceiptState::Delivered => State::Delivered,
            ReceiptState::Done => State::Done,
            ReceiptState::Refused { .. } => State::Refused,
            ReceiptState::Expired => State::Expired,
            ReceiptState::Failed => State::Failed,
        };
        self.history.add(self.now, who, What::Receipt { message, state });
    }
}
