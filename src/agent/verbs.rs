//! What an application may ask of its agent: the verbs and getters of [`Agent`]. What comes of them are events.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;

use super::config::SkillOffer;
use super::event::{CallRequest, Content, Event, Outgoing, PeerView, Token};
use super::member::{Member, Shared};
use super::message::Refusal;
use super::{Agent, BodyError, BodySource, Head, Health, InviteTerms, SendError, Stage, Taken, roster};
use crate::crypto::Ticket;
use crate::proto::{AgentId, Lane, MessageId, Now, ThreadId};

/// For the application.
impl Agent {
    fn member(&mut self) -> Result<(&mut Member, &mut Shared), SendError> {
        match &mut self.stage {
            Stage::Member(member) if !self.shared.link.is_over() => Ok((member, &mut self.shared)),
            Stage::Member(_) | Stage::Joining(_) | Stage::Pairing(_) | Stage::Over => Err(SendError::Closed),
        }
    }

    /// Queues a plain message. Returns the token of its receipt and its id.
    ///
    /// # Errors
    /// See [`SendError`]; nothing was queued.
    pub fn send(&mut self, outgoing: Outgoing, now: Now) -> Result<(Token, MessageId), SendError> {
        let (member, cx) = self.member()?;
        member.send(cx, outgoing, now)
    }

    /// Announces a large body: `outgoing` without its content, which `head` and `source` are. Returns the token of its receipt, which also names
    /// the body, and the id of its message.
    ///
    /// # Errors
    /// See [`SendError`]; nothing was queued. `OutboxFull`: too many bodies to this peer are open.
    pub fn send_body(
        &mut self,
        outgoing: Outgoing,
        head: &Head,
        source: BodySource,
        now: Now,
    ) -> Result<(Token, MessageId), SendError> {
        let (member, cx) = self.member()?;
        member.send_body(cx, outgoing, head, source, now)
    }

    /// Gives what [`Event::BodyWanted`] asked for, or a part of it from its beginning on. What wasn't asked for is not looked at.
    ///
    /// # Errors
    /// [`SendError::NotOpen`]: nobody wants more of it. [`SendError::BodyTooLarge`]: it is more than was announced, or than a body may have;
    /// [`SendError::Invalid`]: more than was asked for.
    pub fn feed_body(&mut self, body: Token, offset: u64, piece: Bytes, now: Now) -> Result<(), SendError> {
        let (member, cx) = self.member()?;
        member.feed_body(cx, body, offset, piece, now)
    }

    /// The source of a body has no more than what was given. If more was announced, the body is given up.
    pub fn finish_body(&mut self, body: Token, now: Now) {
        if let Ok((member, cx)) = self.member() {
            member.finish_body(cx, body, now);
        }
    }

    /// A body that isn't sent yet will not be. Its receiver is told why.
    pub fn give_up_body(&mut self, body: Token, why: &str, now: Now) {
        if let Ok((member, cx)) = self.member() {
            member.give_up_body(cx, body, why, now);
        }
    }

    /// Takes the next part of a body that comes in; the token is that of its message.
    pub fn take_part(&mut self, body: Token, now: Now) -> Taken {
        match self.member() {
            Ok((member, cx)) => member.take_part(cx, body, now),
            Err(_) => Taken::Failed(BodyError::SenderGone),
        }
    }

    /// How many bytes of a body have come in; `None` when it is over and let go.
    pub fn received_of(&self, body: Token) -> Option<u64> {
        match &self.stage {
            Stage::Member(member) => member.received_of(body),
            Stage::Joining(_) | Stage::Pairing(_) | Stage::Over => None,
        }
    }

    /// The application doesn't read on in a body that comes in. What it hasn't read is refused.
    pub fn release_body(&mut self, body: Token, refusal: &Refusal, now: Now) {
        if let Ok((member, cx)) = self.member() {
            member.release_body(cx, body, refusal, now);
        }
    }

    /// Starts a call to a skill, or a request to a peer. It ends with `Answered` or `CallFailed`, or by `cancel`.
    ///
    /// # Errors
    /// See [`SendError`]; nothing was started.
    pub fn call(&mut self, request: CallRequest, now: Now) -> Result<Token, SendError> {
        let (member, cx) = self.member()?;
        member.call(cx, request, now)
    }

    /// Ends a call: its answer isn't wanted any more. No event follows. Cancelling what is over does nothing.
    pub fn cancel(&mut self, call: Token, now: Now) {
        if let Ok((member, cx)) = self.member() {
            member.cancel_call(cx, call, now);
        }
    }

    /// The receipt token and id of the request that a call has out, and with whom it is.
    pub fn request_of(&self, call: Token) -> Option<(Token, MessageId, AgentId)> {
        match &self.stage {
            Stage::Member(member) => member.calls.request_of(call),
            Stage::Joining(_) | Stage::Pairing(_) | Stage::Over => None,
        }
    }

    /// Answers a request, with a part or finally.
    ///
    /// # Errors
    /// [`SendError::NotOpen`] after the final answer; [`SendError::OutboxFull`] for a part.
    pub fn answer(
        &mut self,
        request: Token,
        content: Content,
        is_final: bool,
        depth: u16,
        budget: Option<u32>,
        now: Now,
    ) -> Result<(Token, MessageId), SendError> {
        let (member, cx) = self.member()?;
        member.answer(cx, request, content, is_final, depth, budget, now)
    }

    /// A message that was caused by this one of a peer was refused as [`SendError::TooDeep`] or [`SendError::BudgetSpent`]: that peer is told, and
    /// both sides get [`Event::LoopStopped`].
    pub fn stop_loop(&mut self, peer: AgentId, id: MessageId, lane: Lane, thread: ThreadId, now: Now) {
        if let Ok((member, cx)) = self.member() {
            member.stop_loop(cx, peer, id, lane, thread, now);
        }
    }

    /// Refuses a request or a plain message.
    ///
    /// # Errors
    /// [`SendError::NotOpen`] if it is over already.
    pub fn refuse(&mut self, token: Token, refusal: &Refusal, now: Now) -> Result<(), SendError> {
        let (member, cx) = self.member()?;
        let found =
            member.refuse_request(cx, token, refusal, now) || member.refuse_plain(cx, token, refusal.code, &refusal.text, now);
        if found { Ok(()) } else { Err(SendError::NotOpen { what: "message" }) }
    }

    /// The application can't read a plain message, and doesn't count it as consumed: it is refused.
    pub fn discard(&mut self, token: Token, reason: &str, now: Now) {
        if let Ok((member, cx)) = self.member() {
            member.discard(cx, token, reason, now);
        }
    }

    /// A plain message has been handled, ahead of its turn in [`consumed`](Self::consumed).
    pub fn done(&mut self, token: Token, now: Now) {
        if let Ok((member, cx)) = self.member() {
            member.done(cx, token, now);
        }
    }

    /// The application took and handled so many more plain messages of a lane, in the order of their events.
    pub fn consumed(&mut self, lane: Lane, messages: usize, now: Now) {
        if let Ok((member, cx)) = self.member() {
            member.consumed(cx, lane, messages, now);
        }
    }

    /// The application's event loop turned: requests that it handles are alive.
    pub fn turned(&mut self, now: Now) {
        if let Stage::Member(member) = &mut self.stage {
            member.requests.turned(now);
        }
    }

    /// Asks for the definition of a skill, by the hash on the card. [`Event::Definition`] answers, or [`Event::CallFailed`].
    ///
    /// # Errors
    /// [`SendError::PeerUnknown`].
    pub fn describe(&mut self, peer: AgentId, hash: [u8; 32], timeout: Duration, now: Now) -> Result<Token, SendError> {
        let (member, cx) = self.member()?;
        member.describe(cx, peer, hash, timeout, now)
    }

    /// Replaces the skills on offer; peers get the changed card.
    ///
    /// # Errors
    /// [`SendError::NotPermitted`], [`SendError::Invalid`]; nothing changed.
    pub fn offer(&mut self, skills: Vec<SkillOffer>, now: Now) -> Result<(), SendError> {
        let (member, cx) = self.member()?;
        member.offer(cx, skills, now)
    }

    /// Makes a ticket. It can be used once [`Event::Invite`] says so.
    ///
    /// # Errors
    /// [`SendError::NotPermitted`] without the right to admit, [`SendError::Invalid`] for too many invites.
    pub fn invite(&mut self, terms: InviteTerms, now: Now) -> Result<(Token, Ticket), SendError> {
        let (member, cx) = self.member()?;
        member.invite(cx, terms, now)
    }

    /// Makes a code: an invite for one, for ten minutes at most. [`Event::Invite`] brings its text, [`Event::Burnt`] its early end.
    ///
    /// # Errors
    /// [`SendError::Invite`]: the agent may not admit, the terms aren't those of a code, or there are too many codes.
    pub fn invite_by_code(&mut self, terms: InviteTerms, now: Now) -> Result<Token, SendError> {
        let (member, cx) = self.member()?;
        member.invite_by_code(cx, terms, now)
    }

    /// Takes an invite back. Who joined with it stays a member.
    pub fn revoke_invite(&mut self, invite: Token, now: Now) {
        if let Ok((member, cx)) = self.member() {
            member.revoke_invite(cx, invite, now);
        }
    }

    /// All peers that are known, in the order of their ids.
    pub fn peers(&self) -> Vec<PeerView> {
        match &self.stage {
            Stage::Member(member) => member.roster.peers().map(view).collect(),
            Stage::Joining(_) | Stage::Pairing(_) | Stage::Over => Vec::new(),
        }
    }

    /// One peer.
    pub fn peer(&self, id: &AgentId) -> Option<PeerView> {
        match &self.stage {
            Stage::Member(member) if *id != self.shared.identity.id() => member.roster.get(id).map(view),
            Stage::Member(_) | Stage::Joining(_) | Stage::Pairing(_) | Stage::Over => None,
        }
    }

    /// Tokens of sent messages that their receivers aren't known to have.
    pub fn outstanding(&self) -> Vec<Token> {
        match &self.stage {
            Stage::Member(member) => member.undelivered(),
            Stage::Joining(_) | Stage::Pairing(_) | Stage::Over => Vec::new(),
        }
    }

    /// Numbers about the agent's own state.
    pub fn health(&self) -> Health {
        let member = match &self.stage {
            Stage::Member(member) => Some(member),
            Stage::Joining(_) | Stage::Pairing(_) | Stage::Over => None,
        };
        let (queued, unconfirmed) = member.map(|member| member.load()).unwrap_or_default();
        Health {
            linked: self.shared.link.is_up(),
            member: member.is_some(),
            peers: member.map_or(0, |member| member.roster.peers().count()),
            peers_linked: member.map_or(0, |member| member.roster.peers().filter(|entry| entry.presence.is_linked()).count()),
            round_trip: self.shared.link.round_trip(),
            clock_skew: self.shared.link.clock_skew(),
            reconnects: self.shared.link.ups.saturating_sub(1),
            resumed: self.shared.link.resumptions,
            queued,
            unconfirmed,
            outbox_messages: member.map_or(0, |member| member.outbox.messages),
            outbox_bytes: member.map_or(0, |member| member.outbox.bytes),
            calls: member.map_or(0, |member| member.calls.len()),
            requests: member.map_or(0, |member| member.requests.len()),
            bodies: member.map_or((0, 0), |member| member.bodies.len()),
            ephemeral: self.shared.config.is_ephemeral(),
            save_error: self.shared.keeper.error.clone(),
            certificate_expiry: member.map(|member| member.roster.own().member.expiry),
            unknown_frames: self.shared.link.unknown_frames(),
            counters: self.shared.counters,
        }
    }

    /// Says goodbye to peers and switchboard. What `poll_transmit` still gives should be written; then the shell disconnects.
    pub fn close(&mut self, now: Now) {
        if let Stage::Member(member) = &mut self.stage {
            member.say_goodbye(&mut self.shared, now);
            member.fail_all_calls(&mut self.shared);
        }
        if !self.shared.link.is_over() {
            self.shared.keeper.finish(now);
            self.shared.link.close();
            self.shared.emit(Event::Closed(None));
        }
    }
}

fn view(entry: &roster::RosterEntry) -> PeerView {
    PeerView {
        card: Arc::new(entry.card.clone()),
        linked: entry.presence.is_linked(),
        gone: entry.presence.is_gone(),
        run: entry.card.run,
    }
}
