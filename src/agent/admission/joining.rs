//! The joiner's side: a request until there is a reply.

use std::time::Duration;

use bytes::Bytes;
use zeroize::Zeroizing;

use super::Membership;
use crate::agent::card::{Card, VerifiedCard};
use crate::agent::error::AdmissionError;
use crate::crypto::admission::{open_reply, seal_request};
use crate::crypto::certificate::Issuer as IssuedBy;
use crate::crypto::{
    self, AdmissionReply, AdmissionRequest, AdmissionStatus, Exchange, Identity, KeyPair, PublicKey, Random, Ticket, TicketKeys,
};
use crate::proto::{DataFrame, FounderId, Label, LinkKeyPair, Now, RoutingKey, RunId, limits};

/// Pause between two tries. Chosen: well above a reply's way around the world.
pub const RETRY_INTERVAL: Duration = Duration::from_secs(2);

/// Pause after the issuer said that it is busy. Chosen.
pub const BUSY_PAUSE: Duration = Duration::from_secs(5);

/// Who wants to be admitted.
pub struct Applicant<'a> {
    pub identity: &'a Identity,
    pub run: RunId,
    pub name: &'a str,
    /// The key that the reply is sealed to.
    pub long_term: &'a PublicKey,
    pub prekey: &'a PublicKey,
}

/// The way from a ticket to membership.
///
/// Link as a stranger with [`link_key`](Self::link_key) and [`mailbox`](Self::mailbox), then call [`handle_up`](Self::handle_up),
/// send what [`poll_transmit`](Self::poll_transmit) gives, hand Data frames to [`handle_data`](Self::handle_data), and come back at
/// [`poll_timeout`](Self::poll_timeout). The request is sealed once and sent again as it is, on another link too, so that the reply
/// to any of its copies is good. How long to go on is the caller's decision.
pub struct Joining {
    ticket: Ticket,
    keys: TicketKeys,
    link_seed: Zeroizing<[u8; 32]>,
    sealed: Option<Sealed>,
    /// When the request goes out next; `None` before the link is up.
    send_at: Option<Duration>,
}

struct Sealed {
    request: AdmissionRequest,
    exchange: Exchange,
    frame: Bytes,
}

impl Joining {
    /// Takes a ticket, and makes a link key that serves for this alone.
    pub fn new(ticket: Ticket, random: &mut Random) -> Self {
        let keys = ticket.keys();
        Self { ticket, keys, link_seed: Zeroizing::new(random.array()), sealed: None, send_at: None }
    }

    /// Returns the swarm that the ticket is for.
    pub fn founder(&self) -> FounderId {
        self.ticket.founder
    }

    /// Returns the swarm's routing key, which the stranger's hello names.
    pub fn routing(&self) -> RoutingKey {
        self.ticket.routing
    }

    /// Returns the link key of the stranger, who isn't to be known again by it.
    pub fn link_key(&self) -> LinkKeyPair {
        LinkKeyPair::from_seed(&self.link_seed)
    }

    /// Returns the mailbox that the stranger's hello names.
    pub fn mailbox(&self) -> Label {
        self.keys.mailbox()
    }

    /// Says whether the ticket has expired by this machine's clock, with the tolerance that certificates have. It explains why a
    /// switchboard doesn't know the mailbox; a clock that is wrong is no reason not to try.
    pub fn is_expired(&self, now: Now) -> bool {
        now.wall > self.ticket.expiry.saturating_add(limits::CLOCK_TOLERANCE.as_millis() as u64)
    }

    /// Notes that the stranger's link is up: the request goes out at once.
    pub fn handle_up(&mut self, now: Now) {
        self.send_at = Some(now.monotonic);
    }

    /// Returns the request, if it is time to send it.
    ///
    /// # Errors
    /// [`crypto::Error::Certificate`] for a name that can't be certified: the caller's fault, and final.
    pub fn poll_transmit(
        &mut self,
        applicant: &Applicant<'_>,
        random: &mut Random,
        now: Now,
    ) -> Result<Option<Bytes>, crypto::Error> {
        if self.send_at.is_none_or(|at| now.monotonic < at) {
            return Ok(None);
        }
        let sealed = match self.sealed.take() {
            Some(sealed) => sealed,
            None => self.seal(applicant, random, now)?,
        };
        self.send_at = Some(now.monotonic + RETRY_INTERVAL);
        Ok(Some(self.sealed.insert(sealed).frame.clone()))
    }

    /// Returns when [`poll_transmit`](Self::poll_transmit) has something again.
    pub fn poll_timeout(&self) -> Option<Duration> {
        self.send_at
    }

    fn seal(&self, applicant: &Applicant<'_>, random: &mut Random, now: Now) -> Result<Sealed, crypto::Error> {
        const NEVER: u64 = 0;
        let request = AdmissionRequest {
            identity: applicant.identity.id(),
            link_key: applicant.identity.link_key(&self.ticket.routing).public(),
            run: applicant.run,
            name: applicant.name.to_owned(),
            long_term: applicant.long_term.clone(),
            prekey: applicant.prekey.clone(),
            wall: now.wall,
        };
        let (exchange, frame) = seal_request(&self.ticket, applicant.identity, &request, NEVER, random)?;
        Ok(Sealed { request, exchange, frame: frame.into_bytes() })
    }

    /// Takes a frame that came over the stranger's link. `None`: it decided nothing, and the joiner goes on.
    ///
    /// # Errors
    /// The inner result says why the ticket doesn't make this agent a member. Only `Forged` leaves room for another try with the
    /// same ticket.
    pub fn handle_data(
        &mut self,
        frame: &DataFrame,
        long_term: &KeyPair,
        now: Now,
    ) -> Option<Result<Membership, AdmissionError>> {
        let sealed = self.sealed.as_ref()?;
        let reply = open_reply(&sealed.exchange, long_term, frame).ok()?;
        match reply.status {
            AdmissionStatus::Admitted => Some(self.accept(&sealed.request, &reply, now).ok_or(AdmissionError::Forged)),
            AdmissionStatus::UsedUp => Some(Err(AdmissionError::UsedUp)),
            AdmissionStatus::Expired => Some(Err(AdmissionError::Expired)),
            AdmissionStatus::Revoked => Some(Err(AdmissionError::Revoked)),
            AdmissionStatus::Refused | AdmissionStatus::Unknown(_) => Some(Err(AdmissionError::Refused(reply.text))),
            AdmissionStatus::Busy => {
                self.send_at = Some(now.monotonic + BUSY_PAUSE);
                None
            }
        }
    }

    /// Believes a reply, if its chains are good and it is signed by somebody who may admit. Other cards that don't verify are
    /// left out: they aren't the issuer's doing.
    fn accept(&self, request: &AdmissionRequest, reply: &AdmissionReply, now: Now) -> Option<Membership> {
        let member = reply.verify(&self.ticket, request, now.wall).ok()?.member;
        let verified = |card: &Vec<u8>| Card::parse(Bytes::copy_from_slice(card))?.verify(&self.ticket.founder, now.wall);
        let (first, others) = reply.cards.split_first()?;
        let issuer: VerifiedCard = verified(first).ok()?;
        let is_issuer = issuer.identity == reply.issuer && issuer.member.rights.admit;
        let has_certified = match member.issuer {
            IssuedBy::Founder => true,
            IssuedBy::Admin(admin) => admin == reply.issuer,
        };
        if !is_issuer || !has_certified {
            return None;
        }
        let others = others.iter().filter_map(|card| verified(card).ok());
        Some(Membership {
            founder: self.ticket.founder,
            routing: self.ticket.routing,
            member,
            chain: reply.chain.clone()?,
            link_chain: reply.link_chain.clone()?,
            cards: std::iter::once(issuer).chain(others).collect(),
        })
    }
}
