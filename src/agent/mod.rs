//! One agent as a state machine: what it says, to whom, in which order, and what it makes of what it hears.
//!
//! It holds no socket, clock or generator. The shell ([`crate::net::client`]) obeys [`Command`]s, hands in what comes from the
//! switchboard, writes what [`Agent::poll_transmit`] gives, and comes back at [`Agent::poll_timeout`]; the application uses the verbs
//! (`send`, `call`, `answer`, ...) and takes [`Event`]s. The same inputs always give the same outputs.
//!
//! ```text
//! link         the link to the switchboard: handshake, backoff, what bounced
//! member       a member of a swarm: labels, timers, peers; with the files below it is one state machine
//!   sessions   openers, answers, frames of unknown sessions;  openers  which of them are worth looking at
//!   outbox     from a message to the next frame: bounds, expiry, turns
//!   inbox      from a frame to the application
//!   calls      the caller's side of requests;  requests  the worker's side
//!   cards      who tells whom about whom;      invites   admitting others
//! peer         what is held for one peer: sessions, lanes, what is due;  transport  numbers, credit, chunks, order
//! message, section, card, roster, admission, definitions   codecs and tables, without behaviour of their own
//! ```
//!
//! Call order for the shell: after any `handle_*` or verb, take `poll_command`, `poll_transmit` and `poll_event` until they are empty,
//! then set the timer to `poll_timeout`. See PROTOCOL.md sections 5 to 8.

pub mod admission;
mod calls;
pub mod card;
mod cards;
mod config;
pub mod definitions;
mod error;
mod event;
mod inbox;
mod invites;
pub mod limits;
mod link;
mod member;
pub mod message;
mod openers;
mod outbox;
mod peer;
mod prekeys;
mod requests;
pub mod roster;
pub mod section;
mod sessions;
mod transport;

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;

pub use admission::InviteTerms;
pub use config::{Config, SkillOffer};
pub use error::{AdmissionError, CallError, ConnectFailure, LinkError, SendError};
pub use event::{
    CallRequest, CloseReason, Command, Content, Event, Incoming, Outgoing, PeerChange, PeerView, ReceiptState, Token,
};
pub use member::Counters;
pub use message::{ContentType, Refusal, RefusalCode};

use admission::{Applicant, Joining, Membership};
use link::{Credentials, Link, LinkInput};
use member::{Member, Shared};
use prekeys::Prekeys;

use crate::crypto::{FounderKey, Identity, KeyPair, Random, Ticket};
use crate::proto::{AgentId, Binding, FounderId, MessageId, Now, RejectCode, Role, RunId};

/// One agent. See the module's story for how to drive it.
pub struct Agent {
    shared: Shared,
    stage: Stage,
}

enum Stage {
    /// Knows a ticket, and is about to become a member.
    Joining(Box<Joining>),
    Member(Box<Member>),
    Over,
}

/// What an agent knows about its own state.
#[derive(Clone, Debug)]
pub struct Health {
    /// The link is up.
    pub linked: bool,
    /// Membership is there.
    pub member: bool,
    /// Peers known, and those of them that are linked.
    pub peers: usize,
    pub peers_linked: usize,
    /// Messages and bytes in the outbox.
    pub outbox_messages: usize,
    pub outbox_bytes: usize,
    /// Calls made here that are open, and requests from others.
    pub calls: usize,
    pub requests: usize,
    /// The identity ends with the process.
    pub ephemeral: bool,
    /// When membership ends, Unix milliseconds.
    pub certificate_expiry: Option<u64>,
    /// Link frames of kinds that this version doesn't know.
    pub unknown_frames: u64,
    pub counters: Counters,
}

impl Agent {
    /// Founds a swarm. `founder_seed` is the seed of its founder key.
    ///
    /// # Errors
    /// [`SendError::Invalid`] for a name or skill that can't be: the caller's fault.
    pub fn host(config: Config, founder_seed: [u8; 32], random: Random, now: Now) -> Result<Self, SendError> {
        let founder = FounderKey::from_seed(founder_seed);
        let (identity, mut random, long_term) = keys(&config, random)?;
        let membership = Membership::found(&founder, &identity, &config.name, long_term.public(), now)
            .map_err(|error| SendError::Invalid(error.to_string()))?;
        let run = RunId::from_bytes(random.array());
        let prekeys = Prekeys::new(&mut random, now.monotonic);
        let link = Link::new(credentials(&identity, &membership), now);
        let mut shared = Shared {
            config,
            identity,
            run,
            long_term,
            prekeys,
            link,
            random,
            events: VecDeque::new(),
            last_token: 0,
            counters: Counters::default(),
        };
        let member = Member::new(&mut shared, membership, Some(founder), now)?;
        Ok(Self { shared, stage: Stage::Member(Box::new(member)) })
    }

    /// Joins a swarm with a ticket.
    ///
    /// # Errors
    /// [`SendError::Invalid`] for a name or skill that can't be: the caller's fault.
    pub fn join(config: Config, ticket: Ticket, random: Random, now: Now) -> Result<Self, SendError> {
        let (identity, mut random, long_term) = keys(&config, random)?;
        let run = RunId::from_bytes(random.array());
        let prekeys = Prekeys::new(&mut random, now.monotonic);
        let joining = Joining::new(ticket, &mut random);
        let credentials = Credentials {
            routing: joining.routing(),
            key: joining.link_key(),
            role: Role::Stranger { mailbox: joining.mailbox() },
        };
        let link = Link::new(credentials, now);
        let shared = Shared {
            config,
            identity,
            run,
            long_term,
            prekeys,
            link,
            random,
            events: VecDeque::new(),
            last_token: 0,
            counters: Counters::default(),
        };
        Ok(Self { shared, stage: Stage::Joining(Box::new(joining)) })
    }

    /// The agent's own id.
    pub fn id(&self) -> AgentId {
        self.shared.identity.id()
    }

    /// The agent's own name.
    pub fn name(&self) -> &str {
        &self.shared.config.name
    }

    /// The swarm; for a joining agent the one of its ticket.
    pub fn swarm(&self) -> Option<FounderId> {
        match &self.stage {
            Stage::Joining(joining) => Some(joining.founder()),
            Stage::Member(member) => Some(member.membership.founder),
            Stage::Over => None,
        }
    }
}

/// For the shell.
impl Agent {
    /// The connection that [`Command::Connect`] asked for is there, and ties proofs to itself by `binding`.
    pub fn handle_connected(&mut self, binding: Binding, now: Now) {
        self.shared.link.handle_connected(binding, now);
    }

    /// The connection could not be made, or ended.
    pub fn handle_disconnected(&mut self, error: LinkError, now: Now) {
        let input = self.shared.link.handle_down(error, now, &mut self.shared.random);
        self.take(input, now);
    }

    /// The switchboard lives: a ping or pong came.
    pub fn handle_heard(&mut self, now: Now) {
        self.shared.link.handle_heard(now);
    }

    /// One binary message came from the switchboard.
    pub fn handle_frame(&mut self, frame: Bytes, now: Now) {
        let input = self.shared.link.handle_frame(frame, now, &mut self.shared.random);
        self.take(input, now);
    }

    /// Time has passed; worth calling at or after [`poll_timeout`](Self::poll_timeout).
    pub fn handle_timeout(&mut self, now: Now) {
        let input = self.shared.link.handle_timeout(now, &mut self.shared.random);
        self.take(input, now);
        match &mut self.stage {
            Stage::Member(member) => member.handle_timeout(&mut self.shared, now),
            Stage::Joining(_) | Stage::Over => {}
        }
    }

    /// The next binary message for the switchboard.
    pub fn poll_transmit(&mut self, now: Now) -> Option<Bytes> {
        if !self.shared.link.is_over()
            && let Some(frame) = self.shared.link.poll_notice()
        {
            return Some(frame);
        }
        let frame = match &mut self.stage {
            Stage::Joining(joining) if self.shared.link.is_up() => poll_request(joining, &mut self.shared, now),
            Stage::Member(member) if self.shared.link.is_up() || self.shared.link.is_over() => {
                member.next_frame(&mut self.shared, now)
            }
            Stage::Joining(_) | Stage::Member(_) | Stage::Over => None,
        };
        // A closing agent says goodbye to the switchboard last: it drops what comes after.
        frame.or_else(|| self.shared.link.poll_notice())
    }

    /// What the shell has to do next about the connection.
    pub fn poll_command(&mut self) -> Option<Command> {
        self.shared.link.poll_command()
    }

    /// The next event for the application.
    pub fn poll_event(&mut self) -> Option<Event> {
        self.shared.events.pop_front()
    }

    /// When to call [`handle_timeout`](Self::handle_timeout), on the monotonic clock.
    pub fn poll_timeout(&self) -> Option<Duration> {
        let stage = match &self.stage {
            Stage::Joining(joining) if self.shared.link.is_up() => joining.poll_timeout(),
            Stage::Member(member) => member.poll_timeout(&self.shared),
            Stage::Joining(_) | Stage::Over => None,
        };
        self.shared.link.poll_timeout().into_iter().chain(stage).min()
    }

    fn take(&mut self, input: LinkInput, now: Now) {
        let cx = &mut self.shared;
        match (input, &mut self.stage) {
            (LinkInput::Nothing, _) => {}
            (LinkInput::Over(error), stage) => {
                let reason = match (error, &*stage) {
                    (None, _) => CloseReason::Replaced,
                    (Some(LinkError::Rejected { code: RejectCode::UnknownMailbox, .. }), Stage::Joining(joining)) => {
                        let is_expired = joining.is_expired(now);
                        CloseReason::Admission(if is_expired { AdmissionError::Expired } else { AdmissionError::Unknown })
                    }
                    (Some(error), Stage::Joining(_)) => CloseReason::Admission(AdmissionError::Link(error)),
                    (Some(error), _) => CloseReason::Refused(error),
                };
                self.end(Some(reason));
            }
            (LinkInput::Down { error, retry_in }, stage) => {
                if let Stage::Member(member) = stage {
                    member.handle_down(cx, now);
                }
                cx.emit(Event::LinkLost { error, retry_in });
            }
            (LinkInput::Up, Stage::Member(member)) => member.handle_up(cx, now),
            (LinkInput::Up, Stage::Joining(joining)) => joining.handle_up(now),
            (LinkInput::Data(frame), Stage::Joining(joining)) => {
                if let Some(outcome) = joining.handle_data(&frame, &cx.long_term, now) {
                    self.finish_joining(outcome, now);
                }
            }
            (LinkInput::Data(frame), Stage::Member(member)) => member.handle_data(cx, frame, now),
            (LinkInput::Labels { came, gone, reset }, Stage::Member(member)) => {
                member.handle_labels(cx, &came, &gone, reset, now)
            }
            (LinkInput::Bounced { origin, reason, retry_after }, Stage::Member(member)) => {
                member.handle_bounce(cx, origin, reason, retry_after, now)
            }
            (LinkInput::Registered { mailbox, status }, Stage::Member(member)) => member.handle_registered(cx, mailbox, status),
            // A stranger's request that bounced is sent again by the joiner's own timer.
            (LinkInput::Labels { .. } | LinkInput::Bounced { .. } | LinkInput::Registered { .. }, Stage::Joining(_))
            | (_, Stage::Over) => {}
        }
    }

    fn finish_joining(&mut self, outcome: Result<Membership, AdmissionError>, now: Now) {
        let membership = match outcome {
            Ok(membership) => membership,
            Err(error) => return self.end(Some(CloseReason::Admission(error))),
        };
        let credentials = credentials(&self.shared.identity, &membership);
        let cards = membership.cards.clone();
        match Member::new(&mut self.shared, membership, None, now) {
            Ok(mut member) => {
                self.shared.link.relink(credentials, now);
                for card in cards {
                    member.learn_card(&mut self.shared, card, None, now);
                }
                self.stage = Stage::Member(Box::new(member));
            }
            Err(error) => self.end(Some(CloseReason::Admission(AdmissionError::Refused(error.to_string())))),
        }
    }

    fn end(&mut self, reason: Option<CloseReason>) {
        if let Stage::Member(member) = &mut self.stage {
            member.fail_all_calls(&mut self.shared);
        }
        self.stage = Stage::Over;
        self.shared.emit(Event::Closed(reason));
    }
}

/// For the application.
impl Agent {
    fn member(&mut self) -> Result<(&mut Member, &mut Shared), SendError> {
        match &mut self.stage {
            Stage::Member(member) if !self.shared.link.is_over() => Ok((member, &mut self.shared)),
            Stage::Member(_) | Stage::Joining(_) | Stage::Over => Err(SendError::Closed),
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
            Stage::Joining(_) | Stage::Over => None,
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
        now: Now,
    ) -> Result<(Token, MessageId), SendError> {
        let (member, cx) = self.member()?;
        member.answer(cx, request, content, is_final, depth, now)
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

    /// The application took and handled so many more plain messages, in the order of their events.
    pub fn consumed(&mut self, messages: usize, now: Now) {
        if let Ok((member, cx)) = self.member() {
            member.consumed(cx, messages, now);
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
            Stage::Joining(_) | Stage::Over => Vec::new(),
        }
    }

    /// One peer.
    pub fn peer(&self, id: &AgentId) -> Option<PeerView> {
        match &self.stage {
            Stage::Member(member) if *id != self.shared.identity.id() => member.roster.get(id).map(view),
            Stage::Member(_) | Stage::Joining(_) | Stage::Over => None,
        }
    }

    /// Tokens of sent messages that their receivers aren't known to have.
    pub fn outstanding(&self) -> Vec<Token> {
        match &self.stage {
            Stage::Member(member) => member.undelivered(),
            Stage::Joining(_) | Stage::Over => Vec::new(),
        }
    }

    /// Numbers about the agent's own state.
    pub fn health(&self) -> Health {
        let member = match &self.stage {
            Stage::Member(member) => Some(member),
            Stage::Joining(_) | Stage::Over => None,
        };
        Health {
            linked: self.shared.link.is_up(),
            member: member.is_some(),
            peers: member.map_or(0, |member| member.roster.peers().count()),
            peers_linked: member.map_or(0, |member| member.roster.peers().filter(|entry| entry.presence.is_linked()).count()),
            outbox_messages: member.map_or(0, |member| member.outbox.messages),
            outbox_bytes: member.map_or(0, |member| member.outbox.bytes),
            calls: member.map_or(0, |member| member.calls.len()),
            requests: member.map_or(0, |member| member.requests.len()),
            ephemeral: self.shared.config.ephemeral,
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
            self.shared.link.close();
            self.shared.emit(Event::Closed(None));
        }
    }
}

fn keys(config: &Config, mut random: Random) -> Result<(Identity, Random, KeyPair), SendError> {
    crate::crypto::certificate::validate_name(&config.name).map_err(|error| SendError::Invalid(error.to_string()))?;
    let identity = Identity::from_seed(config.identity_seed);
    let long_term = KeyPair::generate(&mut random);
    Ok((identity, random, long_term))
}

/// The joiner's next frame. What could fail is the name, which was checked at the start.
fn poll_request(joining: &mut Joining, cx: &mut Shared, now: Now) -> Option<Bytes> {
    let applicant = Applicant {
        identity: &cx.identity,
        run: cx.run,
        name: &cx.config.name,
        long_term: cx.long_term.public(),
        prekey: cx.prekeys.public(),
    };
    joining.poll_transmit(&applicant, &mut cx.random, now).ok().flatten()
}

fn credentials(identity: &Identity, membership: &Membership) -> Credentials {
    Credentials {
        routing: membership.routing,
        key: identity.link_key(&membership.routing),
        role: Role::Member(membership.link_chain.clone()),
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
