//! The issuer's side: open tickets, and what is answered to those who hold them.

use std::collections::{BTreeMap, VecDeque};
use std::time::Duration;

use super::{CERTIFICATE_LIFE, Issuer, TicketRecord};
use crate::agent::card::VerifiedCard;
use crate::agent::pairing::{CODE_TTL_MAX, CODES_LIMIT};
use crate::agent::roster::Roster;
use crate::crypto::admission::{open_request, seal_reply};
use crate::crypto::certificate::{CertificateChain, CertificateError, Member, Rights};
use crate::crypto::{AdmissionReply, AdmissionRequest, AdmissionStatus, Random, Ticket, TicketError};
use crate::proto::{self, AgentId, DataFrame, Label, LinkChain, Now, RegisterStatus, limits};

/// Most tickets of one agent that have a mailbox, its own and those adopted from other admins.
pub const INVITES_LIMIT: usize = limits::MAILBOXES_PER_LINK;

/// Most uses of a counted ticket, and most identities that are remembered for an uncounted one. Chosen: as many as a roster holds.
pub const ADMITTED_LIMIT: usize = 1024;

/// Requests to one mailbox that are opened in a second; the rest is left to the joiner's next try. Chosen: each costs about a
/// millisecond, so that a ticket in the wrong hands takes a twentieth of one core at most.
pub const REQUESTS_PER_SECOND: u32 = 50;

/// How long a ticket that has expired keeps its mailbox, to tell latecomers so. Chosen.
pub const CLOSED_KEPT: Duration = Duration::from_secs(10 * 60);

/// Most bytes of cards that are put into a reply; beyond it none would fit (a plaintext has 32 KiB).
const CARDS_BYTES: usize = 32 * 1024;

/// Why an invite can't be made or taken over.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum InviteError {
    /// The agent lacks a right, or would give one that it lacks.
    #[error("this agent's certificate doesn't include the right: {right}")]
    NotPermitted { right: &'static str },
    /// The caller's fault; revoking an open invite helps.
    #[error("{INVITES_LIMIT} invites are open already: revoke one first")]
    TooMany,
    /// The caller's fault; revoking an open code helps, and codes end by themselves.
    #[error("{CODES_LIMIT} codes are open already: revoke one first")]
    TooManyCodes,
    /// The caller's fault.
    #[error("a code is for one joiner, and for {} seconds at most", CODE_TTL_MAX.as_secs())]
    CodeTerms,
    /// The caller's fault.
    #[error("an invite can be used 1 to {ADMITTED_LIMIT} times, or without a count")]
    Uses,
    /// The caller's fault, or the record came too late.
    #[error("the invite would have expired already")]
    Expired,
    /// The sender's fault: a record that is of no use here.
    #[error("the ticket belongs to another swarm")]
    OtherSwarm,
    /// The sender's fault: only its issuer may admit with a counted ticket.
    #[error("a counted ticket is not to be passed on")]
    Counted,
    /// The caller's fault: addresses.
    #[error(transparent)]
    Ticket(#[from] TicketError),
    /// The caller's fault: rights that no certificate can hold.
    #[error(transparent)]
    Certificate(#[from] CertificateError),
    /// The agent's own link certificate is of no use.
    #[error(transparent)]
    Malformed(#[from] proto::Error),
}

/// What a new ticket is to say.
#[derive(Clone, Debug)]
pub struct InviteTerms {
    /// How many identities may use it; `None`: as many as like, at any admin.
    pub uses: Option<u32>,
    /// Life of the ticket, not of the membership that it gives.
    pub ttl: Duration,
    /// What those who use it may do.
    pub rights: Rights,
    /// Where the switchboard is reached.
    pub addresses: Vec<String>,
}

/// What the switchboard's answer to a registration means.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Registration {
    /// The invite can be used from now on.
    Opened,
    /// It could be used before, and still can, on another link.
    Renewed,
    /// The switchboard doesn't take the mailbox; the invite is forgotten.
    Refused,
}

/// Who was admitted.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Newcomer {
    /// Names the invite.
    pub mailbox: Label,
    pub identity: AgentId,
    pub name: String,
    /// It had been admitted with this ticket before, and asked again.
    pub is_repeated: bool,
}

/// What becomes of a request.
#[derive(Debug)]
pub enum Outcome {
    Admitted {
        reply: DataFrame,
        newcomer: Newcomer,
    },
    Refused {
        reply: DataFrame,
        status: AdmissionStatus,
    },
    /// Nothing is answered.
    Ignored(Ignored),
}

/// Why a request isn't answered.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ignored {
    /// No such mailbox, or not any more.
    NoMailbox,
    /// Over [`REQUESTS_PER_SECOND`].
    TooMany,
    /// Not from a holder of the ticket, or malformed.
    NotOpened,
    /// The reply could not be sealed.
    NotSealed,
}

/// The open tickets of one agent.
///
/// Commands are [`create`](Self::create), [`adopt`](Self::adopt) and [`revoke`](Self::revoke); inputs are
/// [`handle_registered`](Self::handle_registered) and [`handle_request`](Self::handle_request). On each new link the
/// [`open_mailboxes`](Self::open_mailboxes) have to be registered; after any of these, those that [`poll_closed`](Self::poll_closed)
/// returns are to be given up.
#[derive(Default)]
pub struct Invites {
    invites_by_mailbox: BTreeMap<Label, Invite>,
    closed: VecDeque<Label>,
}

struct Invite {
    ticket: Ticket,
    rights: Rights,
    /// `None` for an uncounted ticket.
    uses_left: Option<u32>,
    is_revoked: bool,
    is_registered: bool,
    /// When each identity was certified, in Unix milliseconds: enough to make the same certificate again.
    issued_by_identity: BTreeMap<AgentId, u64>,
    rate: Rate,
}

impl Invite {
    fn new(ticket: Ticket, rights: Rights, uses_left: Option<u32>) -> Self {
        let (issued_by_identity, rate) = (BTreeMap::new(), Rate::default());
        Self { ticket, rights, uses_left, is_revoked: false, is_registered: false, issued_by_identity, rate }
    }

    fn mailbox_expiry(&self) -> u64 {
        self.ticket.expiry.saturating_add(CLOSED_KEPT.as_millis() as u64)
    }

    /// Says why the ticket can't be used for one more identity, if so.
    fn closed_as(&self, now_wall: u64) -> Option<AdmissionStatus> {
        if self.is_revoked {
            Some(AdmissionStatus::Revoked)
        } else if now_wall > self.ticket.expiry {
            Some(AdmissionStatus::Expired)
        } else if self.uses_left == Some(0) {
            Some(AdmissionStatus::UsedUp)
        } else {
            None
        }
    }

    /// Decides whether `identity` is admitted, and when its certificate is issued, or was.
    fn decide(&self, identity: &AgentId, now_wall: u64) -> Result<Admitted, AdmissionStatus> {
        let known = self.issued_by_identity.get(identity).copied();
        if self.is_revoked || known.is_none() {
            self.closed_as(now_wall).map_or(Ok(()), Err)?;
        }
        let half_life = CERTIFICATE_LIFE.as_millis() as u64 / 2;
        let good = known.filter(|issued| now_wall.saturating_sub(*issued) <= half_life);
        Ok(Admitted { issued: good.unwrap_or(now_wall), is_repeated: known.is_some() })
    }

    /// Remembers whom it admitted, and counts a first use.
    fn note(&mut self, identity: AgentId, admitted: &Admitted) {
        if !admitted.is_repeated {
            self.uses_left = self.uses_left.map(|left| left.saturating_sub(1));
            if self.issued_by_identity.len() >= ADMITTED_LIMIT {
                self.forget_earliest();
            }
        }
        self.issued_by_identity.insert(identity, admitted.issued);
    }

    /// Makes room for another identity; only an uncounted ticket comes to this, and loses no more than that a repeated request
    /// gets another certificate.
    fn forget_earliest(&mut self) {
        let earliest = self.issued_by_identity.iter().min_by_key(|(_, issued)| **issued).map(|(identity, _)| *identity);
        if let Some(identity) = earliest {
            self.issued_by_identity.remove(&identity);
        }
    }
}

struct Admitted {
    issued: u64,
    is_repeated: bool,
}

/// What was opened in the present second.
#[derive(Default)]
pub(in crate::agent) struct Rate {
    since: Duration,
    count: u32,
}

impl Rate {
    pub(in crate::agent) fn allows(&mut self, now: Duration) -> bool {
        if now.saturating_sub(self.since) >= Duration::from_secs(1) {
            *self = Self { since: now, count: 0 };
        }
        self.count += 1;
        self.count <= REQUESTS_PER_SECOND
    }
}

impl Invites {
    /// Makes a ticket. Its mailbox is to be registered; it can be used once that is done.
    ///
    /// # Errors
    /// See [`InviteError`]: the caller's fault.
    pub fn create(
        &mut self,
        issuer: &Issuer<'_>,
        terms: InviteTerms,
        random: &mut Random,
        now: Now,
    ) -> Result<Ticket, InviteError> {
        issuer.check(&terms.rights)?;
        issuer.check_size(&terms.rights, now.wall)?;
        if terms.uses.is_some_and(|uses| !(1..=ADMITTED_LIMIT as u32).contains(&uses)) {
            return Err(InviteError::Uses);
        }
        let expiry = now.wall.saturating_add(terms.ttl.as_millis() as u64);
        let membership = issuer.membership;
        let counted = terms.uses.is_some();
        let ticket = Ticket::new(counted, membership.founder, membership.routing, expiry, terms.addresses, random)?;
        self.insert(Invite::new(ticket.clone(), terms.rights, terms.uses), now)?;
        Ok(ticket)
    }

    /// Takes over an uncounted ticket that another admin passed on, and returns its mailbox; `None` if it was known.
    ///
    /// A ticket that makes admins isn't taken: only the founder could honour it, and an admin must not tell it to.
    ///
    /// # Errors
    /// `NotPermitted` if `from` or this agent may not give these rights, `OtherSwarm`, `Counted`, `Expired` or `TooMany`.
    pub fn adopt(
        &mut self,
        issuer: &Issuer<'_>,
        record: TicketRecord,
        from: &Member,
        now: Now,
    ) -> Result<Option<Label>, InviteError> {
        let TicketRecord { ticket, rights } = record;
        check_uncounted(issuer, &ticket)?;
        if !from.rights.admit || rights.admit {
            return Err(InviteError::NotPermitted { right: "admit" });
        }
        if let Some(right) = rights.beyond(&from.rights) {
            return Err(InviteError::NotPermitted { right });
        }
        issuer.check(&rights)?;
        let mailbox = ticket.keys().mailbox();
        if self.invites_by_mailbox.contains_key(&mailbox) {
            return Ok(None);
        }
        self.insert(Invite::new(ticket, rights, None), now).map(Some)
    }

    /// Takes a ticket that came of a code: it admits one, and was announced as a code already.
    ///
    /// # Errors
    /// `TooMany`
    pub(in crate::agent) fn open_paired(&mut self, ticket: Ticket, rights: Rights, now: Now) -> Result<Label, InviteError> {
        self.insert(Invite { is_registered: true, ..Invite::new(ticket, rights, Some(1)) }, now)
    }

    fn insert(&mut self, invite: Invite, now: Now) -> Result<Label, InviteError> {
        if now.wall >= invite.ticket.expiry {
            return Err(InviteError::Expired);
        }
        self.make_room(now)?;
        let mailbox = invite.ticket.keys().mailbox();
        self.invites_by_mailbox.insert(mailbox, invite);
        Ok(mailbox)
    }

    /// At the bound, forgets the closed invite that expires first.
    fn make_room(&mut self, now: Now) -> Result<(), InviteError> {
        if self.invites_by_mailbox.len() < INVITES_LIMIT {
            return Ok(());
        }
        let closed = self.invites_by_mailbox.iter().filter(|(_, invite)| invite.closed_as(now.wall).is_some());
        let first = closed.min_by_key(|(_, invite)| invite.ticket.expiry).map(|(mailbox, _)| *mailbox);
        let mailbox = first.ok_or(InviteError::TooMany)?;
        self.invites_by_mailbox.remove(&mailbox);
        self.closed.push_back(mailbox);
        Ok(())
    }

    /// Takes an invite back, and says whether there was one that could still be used. Members that it made stay members.
    pub fn revoke(&mut self, mailbox: &Label, now: Now) -> bool {
        match self.invites_by_mailbox.get_mut(mailbox) {
            Some(invite) => {
                let was_open = invite.closed_as(now.wall).is_none();
                invite.is_revoked = true;
                was_open
            }
            None => false,
        }
    }

    /// Returns the mailboxes that are to be registered on a link, with the time until when.
    pub fn open_mailboxes(&self, now: Now) -> Vec<(Label, u64)> {
        let expiries = self.invites_by_mailbox.iter().map(|(mailbox, invite)| (*mailbox, invite.mailbox_expiry()));
        expiries.filter(|(_, expiry)| now.wall < *expiry).collect()
    }

    /// Returns the time until when a mailbox is to be registered.
    pub fn mailbox_expiry(&self, mailbox: &Label) -> Option<u64> {
        self.invites_by_mailbox.get(mailbox).map(Invite::mailbox_expiry)
    }

    /// Returns the next mailbox that is to be unregistered.
    pub fn poll_closed(&mut self) -> Option<Label> {
        self.closed.pop_front()
    }

    /// Takes up an uncounted ticket that this agent had open before it ended.
    ///
    /// # Errors
    /// `NotPermitted`, `OtherSwarm`, `Counted`, `Expired` or `TooMany`.
    pub fn restore(&mut self, issuer: &Issuer<'_>, record: TicketRecord, now: Now) -> Result<Label, InviteError> {
        let TicketRecord { ticket, rights } = record;
        check_uncounted(issuer, &ticket)?;
        issuer.check(&rights)?;
        self.insert(Invite::new(ticket, rights, None), now)
    }

    /// Returns the uncounted tickets that are known here and can be used: what a restart must not lose.
    pub fn uncounted(&self, now: Now) -> impl Iterator<Item = TicketRecord> {
        let open = move |invite: &&Invite| invite.uses_left.is_none() && invite.closed_as(now.wall).is_none();
        let open = self.invites_by_mailbox.values().filter(open);
        open.map(|invite| TicketRecord { ticket: invite.ticket.clone(), rights: invite.rights.clone() })
    }

    /// Returns what other admins have to know in order to admit with the uncounted tickets that are known here.
    pub fn records(&self, now: Now) -> impl Iterator<Item = TicketRecord> {
        self.uncounted(now).filter(|record| !record.rights.admit)
    }

    /// Takes the switchboard's answer to a registration; `None` if the mailbox isn't known.
    pub fn handle_registered(&mut self, mailbox: &Label, status: RegisterStatus) -> Option<Registration> {
        let invite = self.invites_by_mailbox.get_mut(mailbox)?;
        if status != RegisterStatus::Done {
            self.invites_by_mailbox.remove(mailbox);
            return Some(Registration::Refused);
        }
        let was_registered = std::mem::replace(&mut invite.is_registered, true);
        Some(if was_registered { Registration::Renewed } else { Registration::Opened })
    }

    /// Decides a request that came to one of the mailboxes. The reply carries the agent's own card and as many of the roster's
    /// as fit, those of linked peers first.
    pub fn handle_request(
        &mut self,
        issuer: &Issuer<'_>,
        roster: &Roster,
        frame: &DataFrame,
        random: &mut Random,
        now: Now,
    ) -> Outcome {
        let mailbox = frame.header().destination;
        let Some(invite) = self.invites_by_mailbox.get_mut(&mailbox) else {
            return Outcome::Ignored(Ignored::NoMailbox);
        };
        if !invite.rate.allows(now.monotonic) {
            return Outcome::Ignored(Ignored::TooMany);
        }
        let Ok((exchange, request)) = open_request(&invite.ticket, frame) else {
            return Outcome::Ignored(Ignored::NotOpened);
        };
        let mut seal = |reply| {
            const NEVER: u64 = 0;
            seal_reply(&exchange, issuer.identity, &request.long_term, frame.source(), &reply, NEVER, random)
        };
        let issuer_id = issuer.identity.id();
        let answered = match decide(invite, issuer, &request, now) {
            Ok(Decision { is_repeated, chain, link_chain }) => {
                let newcomer = Newcomer { mailbox, identity: request.identity, name: request.name.clone(), is_repeated };
                seal(AdmissionReply {
                    status: AdmissionStatus::Admitted,
                    text: String::new(),
                    chain: Some(chain),
                    link_chain: Some(link_chain),
                    cards: cards_for_newcomer(roster),
                    issuer: issuer_id,
                })
                .map(|reply| Outcome::Admitted { reply, newcomer })
            }
            Err((status, text)) => {
                seal(AdmissionReply { status, text, chain: None, link_chain: None, cards: Vec::new(), issuer: issuer_id })
                    .map(|reply| Outcome::Refused { reply, status })
            }
        };
        answered.unwrap_or(Outcome::Ignored(Ignored::NotSealed))
    }
}

fn check_uncounted(issuer: &Issuer<'_>, ticket: &Ticket) -> Result<(), InviteError> {
    if ticket.founder != issuer.membership.founder || ticket.routing != issuer.membership.routing {
        return Err(InviteError::OtherSwarm);
    }
    if ticket.counted { Err(InviteError::Counted) } else { Ok(()) }
}

struct Decision {
    is_repeated: bool,
    chain: CertificateChain,
    link_chain: LinkChain,
}

fn decide(
    invite: &mut Invite,
    issuer: &Issuer<'_>,
    request: &AdmissionRequest,
    now: Now,
) -> Result<Decision, (AdmissionStatus, String)> {
    if request.identity == issuer.identity.id() {
        let text = "this is the identity of the issuer itself: two agents can't share one".to_owned();
        return Err((AdmissionStatus::Refused, text));
    }
    let admitted = invite.decide(&request.identity, now.wall).map_err(|status| (status, text_for(status).to_owned()))?;
    let certified = issuer.certify(request, &invite.rights, admitted.issued);
    let (chain, link_chain) = certified.map_err(|error| (AdmissionStatus::Refused, error.to_string()))?;
    invite.note(request.identity, &admitted);
    Ok(Decision { is_repeated: admitted.is_repeated, chain, link_chain })
}

fn text_for(status: AdmissionStatus) -> &'static str {
    match status {
        AdmissionStatus::UsedUp => "this ticket has been used as often as it may be: ask for another one",
        AdmissionStatus::Expired => "this ticket has expired: ask for another one",
        AdmissionStatus::Revoked => "this ticket was taken back: ask for another one",
        AdmissionStatus::Admitted | AdmissionStatus::Refused | AdmissionStatus::Busy | AdmissionStatus::Unknown(_) => "",
    }
}

fn cards_for_newcomer(roster: &Roster) -> Vec<Vec<u8>> {
    let of_peers = |linked: bool| roster.peers().filter(move |peer| peer.presence.is_linked() == linked).map(|peer| &peer.card);
    let mut room = CARDS_BYTES;
    let fits = |card: &&VerifiedCard| {
        let left = room.checked_sub(card.bytes.len());
        room = left.unwrap_or(0);
        left.is_some()
    };
    let cards = std::iter::once(roster.own()).chain(of_peers(true)).chain(of_peers(false));
    cards.take_while(fits).map(|card| card.bytes.to_vec()).collect()
}
