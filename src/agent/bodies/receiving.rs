//! The receiver's side: parts wait for the application, within the credit of their sender.

use std::collections::VecDeque;
use std::time::Duration;

use bytes::{BufMut, Bytes, BytesMut};

use super::wire::{End, Head};
use crate::agent::error::BodyError;
use crate::agent::event::{Event, Token};
use crate::agent::limits::{BODIES_FROM_PEER, LARGE_BODY_MAX, PART_MAX, PROGRESS_PAUSE, TTL_MAX};
use crate::agent::member::{Member, Shared};
use crate::agent::message::{CreditClass, MessageHeader, MessageKind, Refusal, RefusalCode};
use crate::agent::transport::Cost;
use crate::proto::signature::Hasher;
use crate::proto::{AgentId, Lane, MessageId, Now, RunId, ThreadId};

/// The sender hears how far the application is after so many bytes or parts. Chosen: a third of the smallest share that a body may have.
const TELL_BYTES: u64 = 32 << 10;
const TELL_PARTS: u32 = 32;

/// By so much a receiver waits longer than the sender, which knows better why nothing moves.
const STALL_GRACE: Duration = Duration::from_secs(10);

/// The shortest pause that makes a body one that stands still, whatever its sender says.
const STALL_MIN: Duration = Duration::from_secs(1);

/// What [`crate::agent::Agent::take_part`] gives.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Taken {
    /// The next bytes.
    Part(Bytes),
    /// There is nothing yet; [`Event::BodyArrived`] tells when there may be.
    Nothing,
    /// All bytes were taken, and they are what the sender sent.
    Whole,
    /// The body isn't whole, and won't be.
    Failed(BodyError),
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum State {
    Open,
    Whole,
    Failed(BodyError),
}

pub(super) struct Receiving {
    sender: AgentId,
    run: RunId,
    lane: Lane,
    id: MessageId,
    ttl: Duration,
    length: Option<u64>,
    state: State,
    received: u64,
    taken: u64,
    /// What the sender heard of it.
    told: u64,
    untold_parts: u32,
    /// Parts that the application hasn't taken, and what each cost its sender.
    unread: VecDeque<(Bytes, Cost)>,
    digest: Option<Hasher>,
    /// The number of the end, if its sender waits until the message is handled.
    wants_done: Option<u64>,
    /// The application is done with the message; it may still read.
    is_handled: bool,
    /// The application is done with the body.
    is_released: bool,
    /// It found nothing to take, and hasn't been told that there is something since.
    is_waiting: bool,
    moved_at: Duration,
    shown_at: Duration,
}

impl Receiving {
    /// When it has stood still for too long. While something waits for the application it isn't the sender that stands still.
    fn deadline(&self) -> Option<Duration> {
        (self.state == State::Open && self.unread.is_empty()).then(|| self.moved_at + self.ttl + STALL_GRACE)
    }
}

impl Member {
    /// Takes the head of a large body, whose message has this token. False if there can be no such body; its sender is told.
    #[allow(clippy::too_many_arguments, reason = "all of them make up one message")]
    pub(in crate::agent) fn open_body(
        &mut self,
        cx: &mut Shared,
        sender: AgentId,
        lane: Lane,
        header: &MessageHeader,
        body: &[u8],
        token: Token,
        now: Now,
    ) -> bool {
        let Some(run) = self.peers.get(&sender).map(|peer| peer.run) else { return false };
        let open = self.bodies.receiving.values().filter(|body| body.sender == sender && body.state == State::Open).count();
        let refusal = match Head::decode(body) {
            Err(_) => Refusal::new(RefusalCode::Unsupported, "the head of the body can't be read"),
            Ok(head) if head.length.is_some_and(|length| length > LARGE_BODY_MAX) => {
                Refusal::new(RefusalCode::Unsupported, format!("the body is longer than {LARGE_BODY_MAX} bytes"))
            }
            Ok(_) if open >= BODIES_FROM_PEER || self.bodies.by_sender.contains_key(&(sender, header.id)) => {
                Refusal::new(RefusalCode::Busy, "too many large bodies of this sender are open here")
            }
            Ok(head) => {
                let ttl = Duration::from_millis(header.ttl_ms.into()).clamp(STALL_MIN, TTL_MAX);
                let receiving = Receiving {
                    sender,
                    run,
                    lane,
                    id: header.id,
                    ttl,
                    length: head.length,
                    state: State::Open,
                    received: 0,
                    taken: 0,
                    told: 0,
                    untold_parts: 0,
                    unread: VecDeque::new(),
                    digest: Some(Hasher::new()),
                    wants_done: None,
                    is_handled: false,
                    is_released: false,
                    is_waiting: true,
                    moved_at: now.monotonic,
                    shown_at: now.monotonic,
                };
                self.bodies.receiving.insert(token, receiving);
                self.bodies.by_sender.insert((sender, header.id), token);
                self.bodies.check_by(now.monotonic + ttl + STALL_GRACE);
                return true;
            }
        };
        self.send_refusal(cx, sender, lane, header, &refusal, now);
        false
    }

    fn body_from(&mut self, sender: AgentId, header: &MessageHeader) -> Option<(Token, &mut Receiving)> {
        let token = *self.bodies.by_sender.get(&(sender, header.reply_to?))?;
        let body = self.bodies.receiving.get_mut(&token).filter(|body| body.state == State::Open)?;
        Some((token, body))
    }

    /// A part came. Of a body that isn't open it is dropped: that one was refused, or never was.
    #[allow(clippy::too_many_arguments, reason = "all of them make up one message")]
    pub(in crate::agent) fn handle_part(
        &mut self,
        cx: &mut Shared,
        sender: AgentId,
        lane: Lane,
        header: &MessageHeader,
        part: Bytes,
        cost: Cost,
        now: Now,
    ) {
        if let Some(peer) = self.peers.get_mut(&sender)
            && peer.receive[lane.index()].owes_first_grant(CreditClass::Part)
        {
            peer.owe_credit(lane);
        }
        let Some((token, body)) = self.body_from(sender, header) else {
            self.give_back(sender, lane, cost);
            return;
        };
        let length = body.length;
        let limit = length.unwrap_or(LARGE_BODY_MAX);
        let received = body.received + part.len() as u64;
        if part.is_empty() || part.len() > PART_MAX || body.lane != lane {
            self.give_back(sender, lane, cost);
            return self.fail_receiving(cx, token, BodyError::Malformed, now);
        }
        if received > limit {
            self.give_back(sender, lane, cost);
            let error = match length {
                Some(expected) => BodyError::WrongLength { expected, got: received },
                None => BodyError::TooLong { limit },
            };
            return self.fail_receiving(cx, token, error, now);
        }
        body.received = received;
        if let Some(digest) = &mut body.digest {
            digest.update(&part);
        }
        body.unread.push_back((part, cost));
        body.moved_at = now.monotonic;
        if std::mem::take(&mut body.is_waiting) || now.monotonic >= body.shown_at + PROGRESS_PAUSE {
            body.shown_at = now.monotonic;
            cx.emit(Event::BodyArrived { body: token, received });
        }
    }

    pub(in crate::agent) fn handle_body_end(
        &mut self,
        cx: &mut Shared,
        sender: AgentId,
        number: u64,
        header: &MessageHeader,
        body: &[u8],
        now: Now,
    ) {
        let end = End::decode(body);
        let Some((token, body)) = self.body_from(sender, header) else { return };
        body.wants_done = header.wants_done.then_some(number);
        let digest = body.digest.take().map(Hasher::finish);
        let error = match end {
            Err(_) => BodyError::Malformed,
            Ok(End::GivenUp { why, .. }) => BodyError::GivenUp(why),
            Ok(End::Complete { total, .. }) if total != body.received || body.length.is_some_and(|length| length != total) => {
                BodyError::WrongLength { expected: body.length.unwrap_or(total), got: body.received }
            }
            Ok(End::Complete { digest: expected, .. }) if digest != Some(expected) => BodyError::WrongDigest,
            Ok(End::Complete { .. }) => {
                body.state = State::Whole;
                cx.emit(Event::BodyArrived { body: token, received: body.received });
                return self.finish_receiving(cx, token, now);
            }
        };
        self.fail_receiving(cx, token, error, now);
    }

    /// A message of this thread will never come. True if it was one of a large body.
    pub(in crate::agent) fn handle_body_gap(&mut self, cx: &mut Shared, sender: AgentId, thread: ThreadId, now: Now) -> bool {
        let head = MessageId::from_bytes(*thread.as_bytes());
        let Some(&token) = self.bodies.by_sender.get(&(sender, head)) else { return false };
        self.fail_receiving(cx, token, BodyError::Expired, now);
        true
    }

    /// Gives the application what came next.
    pub(in crate::agent) fn take_part(&mut self, cx: &mut Shared, token: Token, now: Now) -> Taken {
        let Some(body) = self.bodies.receiving.get_mut(&token) else { return Taken::Failed(BodyError::SenderGone) };
        if let State::Failed(error) = &body.state {
            return Taken::Failed(error.clone());
        }
        let Some((part, cost)) = body.unread.pop_front() else {
            body.is_waiting = body.state == State::Open;
            return if body.is_waiting { Taken::Nothing } else { Taken::Whole };
        };
        body.taken += part.len() as u64;
        body.untold_parts += 1;
        body.moved_at = now.monotonic;
        let is_due = body.taken - body.told >= TELL_BYTES || body.untold_parts >= TELL_PARTS || body.unread.is_empty();
        let deadline = body.deadline();
        let (sender, run, lane) = (body.sender, body.run, body.lane);
        if let Some(at) = deadline {
            self.bodies.check_by(at);
        }
        self.give_back_part(cx, sender, run, lane, cost, now);
        if is_due {
            self.tell_taken(cx, token, now);
        }
        self.finish_receiving(cx, token, now);
        Taken::Part(part)
    }

    /// How much of a body has come.
    pub(in crate::agent) fn received_of(&self, token: Token) -> Option<u64> {
        self.bodies.receiving.get(&token).map(|body| body.received)
    }

    fn give_back_part(&mut self, cx: &mut Shared, sender: AgentId, run: RunId, lane: Lane, cost: Cost, now: Now) {
        let is_same_run = self.peers.get(&sender).is_some_and(|peer| peer.run == run);
        if is_same_run && self.give_back(sender, lane, cost) {
            self.touch(cx, sender, now);
        }
    }

    fn tell_taken(&mut self, cx: &mut Shared, token: Token, now: Now) {
        let Some(body) = self.bodies.receiving.get_mut(&token) else { return };
        body.told = body.taken;
        body.untold_parts = 0;
        let (sender, run, lane, id, taken) = (body.sender, body.run, body.lane, body.id, body.taken);
        if self.peers.get(&sender).is_none_or(|peer| peer.run != run) {
            return;
        }
        let mut header = Self::own_header(cx, MessageKind::Taken, TTL_MAX, now);
        header.reply_to = Some(id);
        let mut body = BytesMut::with_capacity(8);
        body.put_u64(taken);
        self.queue_untracked(cx, sender, lane, header, body.freeze(), now);
    }

    /// The application has handled the message; it may go on reading.
    pub(in crate::agent) fn handle_body_handled(&mut self, cx: &mut Shared, token: Token, now: Now) {
        if let Some(body) = self.bodies.receiving.get_mut(&token) {
            body.is_handled = true;
            self.finish_receiving(cx, token, now);
        }
    }

    /// The application doesn't read on. What it hasn't read it refuses, unless that is nothing.
    pub(in crate::agent) fn release_body(&mut self, cx: &mut Shared, token: Token, refusal: &Refusal, now: Now) -> bool {
        let Some(body) = self.bodies.receiving.get_mut(&token) else { return false };
        body.is_released = true;
        let is_read = body.state == State::Whole && body.unread.is_empty();
        if !is_read && !matches!(body.state, State::Failed(_)) {
            self.refuse_body(cx, token, refusal, now);
            self.drop_unread(cx, token, now);
            if let Some(body) = self.bodies.receiving.get_mut(&token) {
                body.state = State::Failed(BodyError::GivenUp(refusal.text.clone()));
            }
        }
        self.finish_receiving(cx, token, now);
        true
    }

    fn refuse_body(&mut self, cx: &mut Shared, token: Token, refusal: &Refusal, now: Now) {
        let Some(body) = self.bodies.receiving.get_mut(&token) else { return };
        let (sender, run, lane, id, wants_done) = (body.sender, body.run, body.lane, body.id, body.wants_done.take());
        let Some(peer) = self.peers.get_mut(&sender).filter(|peer| peer.run == run) else { return };
        if let Some(number) = wants_done {
            peer.receive[lane.index()].refuse(number, refusal.code, &refusal.text);
            peer.owe_receipt(lane, now, true);
        }
        let header = MessageHeader::new(id, MessageKind::Plain, 0, 0);
        self.send_refusal(cx, sender, lane, &header, refusal, now);
    }

    fn drop_unread(&mut self, cx: &mut Shared, token: Token, now: Now) {
        let Some(body) = self.bodies.receiving.get_mut(&token) else { return };
        let (sender, run, lane) = (body.sender, body.run, body.lane);
        for (_, cost) in std::mem::take(&mut body.unread) {
            self.give_back_part(cx, sender, run, lane, cost, now);
        }
    }

    /// The body won't be whole: what is there of it is dropped, and its sender is told if it still sends.
    fn fail_receiving(&mut self, cx: &mut Shared, token: Token, error: BodyError, now: Now) {
        let Some(body) = self.bodies.receiving.get_mut(&token).filter(|body| body.state == State::Open) else { return };
        body.digest = None;
        let received = body.received;
        let refusal = match &error {
            BodyError::GivenUp(_) | BodyError::SenderRestarted | BodyError::SenderGone | BodyError::Expired => None,
            BodyError::Stalled(_) => Some(Refusal::new(RefusalCode::Lapsed, error.to_string())),
            _ => Some(Refusal::new(RefusalCode::Unsupported, error.to_string())),
        };
        body.state = State::Failed(error);
        if let Some(refusal) = refusal {
            self.refuse_body(cx, token, &refusal, now);
        }
        self.drop_unread(cx, token, now);
        cx.emit(Event::BodyArrived { body: token, received });
        self.finish_receiving(cx, token, now);
    }

    /// Says that a body was handled, and forgets it, as far as both are due.
    fn finish_receiving(&mut self, cx: &mut Shared, token: Token, now: Now) {
        let Some(body) = self.bodies.receiving.get_mut(&token) else { return };
        let is_read = body.state == State::Whole && body.unread.is_empty();
        let (sender, run, lane, id) = (body.sender, body.run, body.lane, body.id);
        if is_read
            && body.is_handled
            && let Some(number) = body.wants_done.take()
            && let Some(peer) = self.peers.get_mut(&sender).filter(|peer| peer.run == run)
        {
            peer.receive[lane.index()].done(number);
            peer.owe_receipt(lane, now, true);
            self.touch(cx, sender, now);
        }
        let Some(body) = self.bodies.receiving.get(&token) else { return };
        // Whoever waits for `done` hears of it also when the reader is gone and the message is still in hand.
        if body.is_released && (body.is_handled || body.wants_done.is_none()) && body.state != State::Open {
            self.bodies.receiving.remove(&token);
            self.bodies.by_sender.remove(&(sender, id));
        }
    }

    pub(in crate::agent) fn fail_receiving_from(&mut self, cx: &mut Shared, sender: AgentId, error: &BodyError, now: Now) {
        let tokens = self.bodies.receiving.iter().filter(|(_, body)| body.sender == sender).map(|(token, _)| *token);
        for token in tokens.collect::<Vec<_>>() {
            self.fail_receiving(cx, token, error.clone(), now);
        }
    }

    pub(super) fn check_receiving(&mut self, cx: &mut Shared, now: Now) {
        let deadlines = self.bodies.receiving.iter().filter_map(|(token, body)| body.deadline().map(|at| (*token, at, body.ttl)));
        for (token, at, ttl) in deadlines.collect::<Vec<_>>() {
            if at <= now.monotonic {
                self.fail_receiving(cx, token, BodyError::Stalled(ttl), now);
            } else {
                self.bodies.check_by(at);
            }
        }
    }
}
