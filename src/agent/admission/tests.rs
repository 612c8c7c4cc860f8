//! Issuer and joiner against each other, frame by frame.

mod issuing;
mod joining;
mod records;

use std::time::Duration;

use bytes::Bytes;

use super::*;
use crate::agent::card::{Card, CardDraft, VerifiedCard};
use crate::agent::error::AdmissionError;
use crate::agent::roster::Roster;
use crate::crypto::certificate::Rights;
use crate::crypto::{AdmissionStatus, FounderKey, Identity, KeyPair, Random, Ticket};
use crate::proto::{DataFrame, Label, Now, RunId};

const START: u64 = 1_800_000_000_000;
const DAY: u64 = 24 * 60 * 60;
const STRANGER: Label = Label::from_bytes([0x5a; 16]);

/// An agent, member or not yet.
struct Party {
    name: String,
    identity: Identity,
    long_term: KeyPair,
    founder: Option<FounderKey>,
    invites: Invites,
    random: Random,
}

impl Party {
    fn new(seed: u8) -> Self {
        Self {
            name: format!("agent-{seed}"),
            identity: Identity::from_seed([seed; 32]),
            long_term: KeyPair::from_seed(&[seed; 32]),
            founder: None,
            invites: Invites::default(),
            random: Random::from_seed([seed; 32]),
        }
    }

    fn founder() -> (Self, Membership) {
        let mut party = Self::new(1);
        let key = FounderKey::from_seed([100; 32]);
        let membership = Membership::found(&key, &party.identity, &party.name, party.long_term.public(), at(0)).unwrap();
        party.founder = Some(key);
        (party, membership)
    }

    fn create(&mut self, own: &Membership, terms: InviteTerms, now: Now) -> Result<Ticket, InviteError> {
        let issuer = Issuer { identity: &self.identity, membership: own, founder: self.founder.as_ref() };
        self.invites.create(&issuer, terms, &mut self.random, now)
    }

    fn adopt(
        &mut self,
        own: &Membership,
        record: TicketRecord,
        from: &Membership,
        now: Now,
    ) -> Result<Option<Label>, InviteError> {
        let issuer = Issuer { identity: &self.identity, membership: own, founder: self.founder.as_ref() };
        self.invites.adopt(&issuer, record, &from.member, now)
    }

    fn handle_request(&mut self, own: &Membership, frame: Bytes, now: Now) -> Outcome {
        let roster = Roster::new(self.card(own), Duration::ZERO, now.monotonic);
        self.handle_request_with(own, &roster, frame, now)
    }

    fn handle_request_with(&mut self, own: &Membership, roster: &Roster, frame: Bytes, now: Now) -> Outcome {
        let issuer = Issuer { identity: &self.identity, membership: own, founder: self.founder.as_ref() };
        let frame = DataFrame::parse(frame).unwrap().with_source(STRANGER);
        self.invites.handle_request(&issuer, roster, &frame, &mut self.random, now)
    }

    fn card(&self, own: &Membership) -> VerifiedCard {
        let draft = CardDraft {
            founder: own.founder,
            identity: &self.identity,
            run: RunId::from_bytes([9; 16]),
            stamp: START,
            link_key: self.identity.link_key(&own.routing).public(),
            chain: &own.chain,
            prekey: self.long_term.public(),
            skills: &[],
            is_ephemeral: true,
        };
        Card::parse(draft.sign().unwrap()).unwrap().verify(&own.founder, START).unwrap()
    }

    fn joining(&mut self, ticket: &Ticket) -> Joining {
        Joining::new(ticket.clone(), &mut self.random)
    }

    fn request(&mut self, joining: &mut Joining, now: Now) -> Option<Bytes> {
        let applicant = Applicant {
            identity: &self.identity,
            run: RunId::from_bytes([9; 16]),
            name: &self.name,
            long_term: self.long_term.public(),
            prekey: self.long_term.public(),
        };
        joining.poll_transmit(&applicant, &mut self.random, now).unwrap()
    }

    /// Joins with a ticket, over a switchboard that loses nothing.
    fn join(&mut self, ticket: &Ticket, issuer: &mut Party, own: &Membership, now: Now) -> Result<Membership, AdmissionError> {
        let mut joining = self.joining(ticket);
        joining.handle_up(now);
        let request = self.request(&mut joining, now).unwrap();
        let reply = match issuer.handle_request(own, request, now) {
            Outcome::Admitted { reply, .. } | Outcome::Refused { reply, .. } => reply,
            Outcome::Ignored(why) => panic!("{why:?}"),
        };
        assert_eq!(reply.header().destination, STRANGER);
        joining.handle_data(&reply, &self.long_term, now).expect("the reply decides")
    }
}

/// `seconds` after the start, on both clocks.
fn at(seconds: u64) -> Now {
    Now { monotonic: Duration::from_secs(seconds), wall: START + seconds * 1000 }
}

fn terms(uses: Option<u32>) -> InviteTerms {
    InviteTerms {
        uses,
        ttl: Duration::from_secs(600),
        rights: Rights::default(),
        addresses: vec!["wss://relay.example:7447".into()],
    }
}

fn terms_with(rights: Rights) -> InviteTerms {
    InviteTerms { rights, ..terms(None) }
}

fn admin_rights() -> Rights {
    Rights { admit: true, ..Rights::default() }
}

/// A founder, and an admin that it admitted.
fn founder_and_admin() -> (Party, Membership, Party, Membership) {
    let (mut founder, founding) = Party::founder();
    let mut admin = Party::new(2);
    let ticket = founder.create(&founding, terms_with(admin_rights()), at(0)).unwrap();
    let membership = admin.join(&ticket, &mut founder, &founding, at(0)).unwrap();
    (founder, founding, admin, membership)
}

fn status(outcome: &Outcome) -> AdmissionStatus {
    match outcome {
        Outcome::Admitted { .. } => AdmissionStatus::Admitted,
        Outcome::Refused { status, .. } => *status,
        Outcome::Ignored(why) => panic!("{why:?}"),
    }
}
