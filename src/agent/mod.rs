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
//!   parking    messages that wait at the switchboard for one that is away;  runs  what came of runs that ended
//!   bodies     what is too large for one message
//!   calls      the caller's side of requests;  requests  the worker's side
//!   cards      who tells whom about whom;      invites   admitting others by ticket;  codes  inviting them by code
//!   renewal    certificates that are to last
//! verbs        what the application may ask of an agent
//! file         what a restart must not lose, as text;  keeper  when it is to be written;  resume  an agent from it
//! peer         what is held for one peer: sessions, lanes, what is due;  transport  numbers, credit, chunks, order;  flight  how much is under way
//! message, section, parcel, card, roster, admission, pairing, definitions   codecs and tables, without behaviour of their own
//! ```
//!
//! Call order for the shell: after any `handle_*` or verb, take `poll_command`, `poll_transmit` and `poll_event` until they are empty,
//! then set the timer to `poll_timeout`. See PROTOCOL.md sections 5 to 8.

pub mod admission;
pub mod bodies;
mod calls;
pub mod card;
mod cards;
mod codes;
mod config;
pub mod definitions;
mod error;
mod event;
pub mod file;
mod flight;
mod inbox;
mod invites;
mod keeper;
pub mod limits;
mod link;
mod member;
pub mod message;
mod openers;
mod outbox;
mod pace;
pub mod pairing;
pub mod parcel;
mod parking;
mod peer;
mod prekeys;
mod renewal;
mod requests;
mod resume;
pub mod roster;
mod runs;
pub mod section;
mod sessions;
mod transport;
mod verbs;

use std::collections::VecDeque;
use std::time::Duration;

use bytes::Bytes;

pub use admission::InviteTerms;
pub use bodies::{BodyForm, BodySource, Head, Taken};
pub use config::{Config, SkillOffer};
pub use error::{AdmissionError, BodyError, CallError, ConnectFailure, LinkError, ResumeError, SendError};
pub use event::{
    Burnt, CallRequest, CloseReason, Command, Connected, Content, Event, Incoming, Outgoing, PathChange, PeerChange, PeerView,
    ReceiptState, Token,
};
pub use file::{AgentFile, FileError};
pub use member::Counters;
pub use message::{ContentType, Refusal, RefusalCode};

use admission::{Applicant, Joining, Membership};
use keeper::Keeper;
use link::{Credentials, Link, LinkInput};
use member::{Member, Shared};
use pairing::{Pairing, Step};
use prekeys::Prekeys;

use crate::crypto::pairing::Seen;
use crate::crypto::{Code, FounderKey, Identity, KeyPair, Random, Ticket};
use crate::proto::{AgentId, FounderId, Lane, Now, RejectCode, Role, RoutingKey, RunId};

/// One agent. See the module's story for how to drive it.
pub struct Agent {
    shared: Shared,
    stage: Stage,
}

enum Stage {
    /// Knows a code, and is about to have a ticket.
    Pairing(Box<Pairing>),
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
    /// How long the switchboard took to answer when it was last asked: at the last handshake or ping.
    pub round_trip: Option<Duration>,
    /// How far this clock is ahead of the switchboard's, in milliseconds, by its word; `None` before the first link.
    pub clock_skew: Option<i64>,
    /// How often the link came up again, and how often it went on from the one before.
    pub reconnects: u64,
    pub resumed: u64,
    /// Messages and bytes that wait for their first frame, by lane.
    pub queued: [(usize, usize); Lane::COUNT],
    /// Messages that were sent and aren't confirmed.
    pub unconfirmed: usize,
    /// Messages and bytes in the outbox.
    pub outbox_messages: usize,
    pub outbox_bytes: usize,
    /// Calls made here that are open, and requests from others.
    pub calls: usize,
    pub requests: usize,
    /// Large bodies that are being sent, and that come in.
    pub bodies: (usize, usize),
    /// The identity ends with the process.
    pub ephemeral: bool,
    /// Why the agent file could not be written the last time.
    pub save_error: Option<String>,
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
        let keys = Keys::make(&config, random, now)?;
        let membership = Membership::found(&founder, &keys.identity, &config.name, keys.long_term.public(), now)
            .map_err(|error| SendError::Invalid(error.to_string()))?;
        let credentials = credentials(&keys.identity, &membership);
        let mut shared = keys.share(config, credentials, now);
        let member = Member::new(&mut shared, membership, Some(founder), now)?;
        Ok(Self { shared, stage: Stage::Member(Box::new(member)) })
    }

    /// Joins a swarm with a ticket.
    ///
    /// # Errors
    /// [`SendError::Invalid`] for a name or skill that can't be: the caller's fault.
    pub fn join(mut config: Config, ticket: Ticket, random: Random, now: Now) -> Result<Self, SendError> {
        let mut keys = Keys::make(&config, random, now)?;
        if config.switchboards.is_empty() {
            config.switchboards.clone_from(&ticket.addresses);
        }
        let joining = Joining::new(ticket, &mut keys.random);
        let shared = keys.share(config, as_stranger(&joining), now);
        Ok(Self { shared, stage: Stage::Joining(Box::new(joining)) })
    }

    /// Joins a swarm with a code, at a switchboard whose certificate need not be known.
    ///
    /// # Errors
    /// [`SendError::Invalid`] for a name or skill that can't be: the caller's fault.
    pub fn pair(config: Config, code: &Code, random: Random, now: Now) -> Result<Self, SendError> {
        let mut keys = Keys::make(&config, random, now)?;
        let pairing = Pairing::new(code, &mut keys.random);
        let credentials = Credentials { routing: RoutingKey::ZERO, key: pairing.link_key(), role: pairing.role() };
        let mut shared = keys.share(config, credentials, now);
        shared.link.take_any_certificate();
        Ok(Self { shared, stage: Stage::Pairing(Box::new(pairing)) })
    }

    /// The agent's own id.
    pub fn id(&self) -> AgentId {
        self.shared.identity.id()
    }

    /// The agent's own name.
    pub fn name(&self) -> &str {
        &self.shared.config.name
    }

    /// The swarm; for a joining agent the one of its ticket, `None` while it has only a code.
    pub fn swarm(&self) -> Option<FounderId> {
        match &self.stage {
            Stage::Joining(joining) => Some(joining.founder()),
            Stage::Member(member) => Some(member.membership.founder),
            Stage::Pairing(_) | Stage::Over => None,
        }
    }
}

/// For the shell.
impl Agent {
    /// The connection that [`Command::Connect`] asked for is there.
    pub fn handle_connected(&mut self, connected: Connected, now: Now) {
        self.shared.link.handle_connected(connected, now);
        if let (Stage::Pairing(_), Some(connected)) = (&self.stage, self.shared.link.connected())
            && is_contradicted(connected)
        {
            // A pin that was given and doesn't match is reason enough not to spend the code.
            self.end(Some(CloseReason::Admission(AdmissionError::Untrusted)));
        }
    }

    /// The connection could not be made, or ended.
    pub fn handle_disconnected(&mut self, error: LinkError, now: Now) {
        let input = self.shared.link.handle_down(error, now, &mut self.shared.random);
        self.take(input, now);
    }

    /// Something came from the switchboard, if only a part of a frame: it lives.
    pub fn handle_heard(&mut self, now: Now) {
        self.shared.link.handle_heard(now);
    }

    /// The switchboard answered a ping.
    pub fn handle_pong(&mut self, now: Now) {
        self.shared.link.handle_pong(now);
    }

    /// The network of this machine changed.
    pub fn handle_path_change(&mut self, change: PathChange, now: Now) {
        let input = self.shared.link.handle_path_change(change, now);
        self.take(input, now);
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
        self.shared.keeper.handle_timeout(now);
        match &mut self.stage {
            Stage::Member(member) => {
                member.handle_timeout(&mut self.shared, now);
                member.advance_bodies(&mut self.shared, now);
            }
            Stage::Pairing(_) | Stage::Joining(_) | Stage::Over => {}
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
            Stage::Pairing(pairing) if self.shared.link.is_up() => pairing.poll_transmit(now),
            Stage::Joining(joining) if self.shared.link.is_up() => poll_request(joining, &mut self.shared, now),
            Stage::Member(member) if self.shared.link.is_up() || self.shared.link.is_over() => {
                member.next_frame(&mut self.shared, now)
            }
            Stage::Pairing(_) | Stage::Joining(_) | Stage::Member(_) | Stage::Over => None,
        };
        // A closing agent says goodbye to the switchboard last: it drops what comes after.
        frame.or_else(|| self.shared.link.poll_notice())
    }

    /// What became of the last [`Command::Save`]; if it failed, why. The agent goes on, and asks again.
    pub fn handle_saved(&mut self, result: Result<(), String>, now: Now) {
        if self.shared.keeper.handle_saved(result, now)
            && let Some(error) = self.shared.keeper.error.clone()
        {
            self.shared.emit(Event::NotSaved { error });
        }
        if let Stage::Member(member) = &mut self.stage {
            member.announce(&mut self.shared);
        }
    }

    /// What the shell has to do next about the connection and the agent file.
    pub fn poll_command(&mut self) -> Option<Command> {
        self.shared.link.poll_command().or_else(|| self.shared.keeper.poll_command())
    }

    /// The next event for the application.
    pub fn poll_event(&mut self) -> Option<Event> {
        self.shared.events.pop_front()
    }

    /// When to call [`handle_timeout`](Self::handle_timeout), on the monotonic clock.
    pub fn poll_timeout(&self) -> Option<Duration> {
        let stage = match &self.stage {
            Stage::Pairing(pairing) if self.shared.link.is_up() => pairing.poll_timeout(),
            Stage::Joining(joining) if self.shared.link.is_up() => joining.poll_timeout(),
            Stage::Member(member) => member.poll_timeout(&self.shared),
            Stage::Pairing(_) | Stage::Joining(_) | Stage::Over => None,
        };
        [self.shared.link.poll_timeout(), self.shared.keeper.poll_timeout(), stage].into_iter().flatten().min()
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
                    (Some(LinkError::Rejected { code: RejectCode::UnknownMailbox, .. }), Stage::Pairing(_)) => {
                        CloseReason::Admission(AdmissionError::Unknown)
                    }
                    (Some(error), Stage::Pairing(_) | Stage::Joining(_)) => CloseReason::Admission(AdmissionError::Link(error)),
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
            (LinkInput::Up(up), Stage::Member(member)) => member.handle_up(cx, up, now),
            (LinkInput::Up(_), Stage::Joining(joining)) => joining.handle_up(now),
            (LinkInput::Up(_), Stage::Pairing(pairing)) => pairing.handle_up(now),
            (LinkInput::Data(frame), Stage::Pairing(pairing)) => {
                let seen = cx.link.connected().map_or(Seen { vouched: false, pin: [0; 32] }, seen);
                match pairing.handle_data(&frame, seen, now) {
                    Step::Nothing => {}
                    Step::Confirmed => cx.config.switchboards = cx.link.believe(&[]),
                    Step::Ended(Ok(ticket)) => self.continue_with(ticket, now),
                    Step::Ended(Err(error)) => self.end(Some(CloseReason::Admission(error))),
                }
            }
            (LinkInput::Data(frame), Stage::Joining(joining)) => {
                if let Some(outcome) = joining.handle_data(&frame, &cx.long_term, now) {
                    self.finish_joining(outcome, now);
                }
            }
            (LinkInput::Data(frame), Stage::Member(member)) => member.handle_data(cx, frame, now),
            (LinkInput::Labels { came, gone, reset, resumed }, Stage::Member(member)) => {
                member.handle_labels(cx, &came, &gone, reset, resumed, now)
            }
            (LinkInput::Bounced { origin, reason, retry_after }, Stage::Member(member)) => {
                member.handle_bounce(cx, origin, reason, retry_after, now)
            }
            (LinkInput::Registered { mailbox, status }, Stage::Member(member)) => member.handle_registered(cx, mailbox, status),
            (LinkInput::SlotOpened { slot, status }, Stage::Member(member)) => member.handle_slot_opened(cx, slot, status),
            (LinkInput::Accepted { origin }, Stage::Member(member)) => member.handle_accepted(cx, origin, now),
            // What bounced of a joiner is sent again by its own timer.
            (
                LinkInput::Labels { .. }
                | LinkInput::Accepted { .. }
                | LinkInput::Bounced { .. }
                | LinkInput::Registered { .. }
                | LinkInput::SlotOpened { .. },
                Stage::Pairing(_) | Stage::Joining(_),
            )
            | (_, Stage::Over) => {}
        }
        if let Stage::Member(member) = &mut self.stage {
            member.advance_bodies(&mut self.shared, now);
        }
    }

    /// Goes on with the ticket that a code has become, on the guest's link as long as it lasts.
    fn continue_with(&mut self, ticket: Ticket, now: Now) {
        self.shared.config.switchboards = self.shared.link.believe(&ticket.addresses);
        let mut joining = Joining::new(ticket, &mut self.shared.random);
        self.shared.link.continue_as(as_stranger(&joining));
        joining.handle_up(now);
        self.stage = Stage::Joining(Box::new(joining));
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
                self.shared.keeper.save(now);
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
        self.shared.keeper.stop();
        self.shared.emit(Event::Closed(reason));
    }
}

/// What an agent has before it has a link.
struct Keys {
    identity: Identity,
    run: RunId,
    long_term: KeyPair,
    prekeys: Prekeys,
    random: Random,
}

impl Keys {
    fn make(config: &Config, mut random: Random, now: Now) -> Result<Self, SendError> {
        crate::crypto::certificate::validate_name(&config.name).map_err(|error| SendError::Invalid(error.to_string()))?;
        let (identity, long_term, prekeys) = match &config.keys {
            Some(kept) => (*kept.identity, KeyPair::from_seed(&kept.long_term), Prekeys::restore(&kept.prekeys, now)),
            None => (config.identity_seed, KeyPair::generate(&mut random), None),
        };
        Ok(Self {
            identity: Identity::from_seed(identity),
            long_term,
            run: RunId::from_bytes(random.array()),
            prekeys: prekeys.unwrap_or_else(|| Prekeys::new(&mut random, now.monotonic)),
            random,
        })
    }

    fn share(self, config: Config, credentials: Credentials, now: Now) -> Shared {
        let Self { identity, run, long_term, prekeys, random } = self;
        let (link, events, counters) = (Link::new(credentials, now), VecDeque::new(), Counters::default());
        let keeper = Keeper::new(config.keys.is_some());
        Shared { config, identity, run, long_term, prekeys, link, keeper, random, events, last_token: 0, counters }
    }
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

fn as_stranger(joining: &Joining) -> Credentials {
    Credentials { routing: joining.routing(), key: joining.link_key(), role: Role::Stranger { mailbox: joining.mailbox() } }
}

/// What a joiner tells its inviter about the certificate of its link.
fn seen(connected: &Connected) -> Seen {
    Seen { vouched: connected.vouched, pin: connected.pin.unwrap_or_default() }
}

/// Its address has a pin, and it showed a certificate that neither the pin nor the roots vouch for.
fn is_contradicted(connected: &Connected) -> bool {
    connected.pin.is_some() && !connected.vouched && connected.address.contains('#')
}

fn credentials(identity: &Identity, membership: &Membership) -> Credentials {
    Credentials {
        routing: membership.routing,
        key: identity.link_key(&membership.routing),
        role: Role::Member(membership.link_chain.clone()),
    }
}
