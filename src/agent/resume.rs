//! The same agent again: from an agent file to a member, and from a member to its file.

use bytes::Bytes;

use super::admission::{Issuer, Membership};
use super::card::Card;
use super::error::ResumeError;
use super::file::{AgentFile, CARDS_KEPT, KeptKeys, KeptMembership};
use super::member::{Member, Shared};
use super::roster::{Presence, RosterEntry};
use super::{Agent, Config, Keys, Stage, credentials};
use crate::crypto::certificate::CertificateError;
use crate::crypto::{FounderKey, Identity, KeyPair, Random, Ticket};
use crate::proto::{AuthError, Now};

impl Agent {
    /// Goes on with the membership of an agent file: in the same swarm, under the same identity, without an invite. The file of a founder
    /// needs no membership; its agent certifies itself.
    ///
    /// # Errors
    /// See [`ResumeError`]. After [`ResumeError::NoMembership`] and [`ResumeError::Expired`] the agent can join with an invite, as the
    /// same identity: [`Config::keys`].
    pub fn resume(mut config: Config, file: AgentFile, random: Random, now: Now) -> Result<Self, ResumeError> {
        if config.name != file.name {
            return Err(ResumeError::Name { file: file.name, given: config.name });
        }
        config.keys = Some(file.keys.clone());
        if config.switchboards.is_empty() {
            config.switchboards.clone_from(&file.switchboards);
        }
        let mut keys = Keys::make(&config, random, now)?;
        // A key that the card is about to show lasts for a day.
        keys.prekeys.renew(&mut keys.random, now.monotonic);
        let founder = file.founder.as_ref().map(|seed| FounderKey::from_seed(**seed));
        let membership = restore_membership(&file, founder.as_ref(), &keys.identity, &keys.long_term, now)?;
        let credentials = credentials(&keys.identity, &membership);
        let mut shared = keys.share(config, credentials, now);
        let mut member = Member::new(&mut shared, membership, founder, now)?;
        member.restore(&mut shared, file, now);
        shared.keeper.save(now);
        Ok(Self { shared, stage: Stage::Member(Box::new(member)) })
    }

    /// Returns what has to be kept for [`resume`](Self::resume); nothing of an agent that is over: its file may be another process's by now.
    pub fn file(&self, now: Now) -> Option<AgentFile> {
        let cx = &self.shared;
        let keys = KeptKeys { identity: cx.identity.seed(), long_term: cx.long_term.seed(), prekeys: cx.prekeys.keep(now) };
        let mut file = AgentFile {
            name: cx.config.name.clone(),
            keys,
            founder: None,
            membership: None,
            card_stamp: 0,
            switchboards: cx.config.switchboards.clone(),
            tickets: Vec::new(),
            cards: Vec::new(),
        };
        match &self.stage {
            Stage::Pairing(_) | Stage::Joining(_) => {}
            Stage::Member(member) => member.fill(&mut file, now),
            Stage::Over => return None,
        }
        Some(file)
    }
}

impl AgentFile {
    /// Says whether the agent has to join with an invite, because it never did or its membership has expired. One that doesn't need an
    /// invite, and is given one all the same, has no use for it.
    pub fn needs_invite(&self, now: Now) -> bool {
        let keys = (Identity::from_seed(*self.keys.identity), KeyPair::from_seed(&self.keys.long_term));
        let founder = self.founder.as_ref().map(|seed| FounderKey::from_seed(**seed));
        let restored = restore_membership(self, founder.as_ref(), &keys.0, &keys.1, now);
        matches!(restored, Err(ResumeError::NoMembership | ResumeError::Expired { .. }))
    }

    /// Checks that a ticket is for the swarm of this file, if it belongs to one already.
    ///
    /// # Errors
    /// [`ResumeError::OtherSwarm`]
    pub fn check_ticket(&self, ticket: &Ticket) -> Result<(), ResumeError> {
        match self.swarm() {
            Some(file) if file != ticket.founder => Err(ResumeError::OtherSwarm { file, given: ticket.founder }),
            _ => Ok(()),
        }
    }
}

/// A founder doesn't depend on what is in the file: it certifies itself when that is old, or not there yet.
fn restore_membership(
    file: &AgentFile,
    founder: Option<&FounderKey>,
    identity: &Identity,
    long_term: &KeyPair,
    now: Now,
) -> Result<Membership, ResumeError> {
    let kept = file.membership.as_ref().ok_or(ResumeError::NoMembership);
    let restored = kept.and_then(|kept| verify(kept, &file.name, identity, long_term, now));
    match (restored, founder) {
        (Ok(membership), None) => Ok(membership),
        (Ok(membership), Some(founder)) if membership.founder == founder.id() => Ok(membership),
        (Ok(_), Some(_)) => Err(ResumeError::Mismatch { what: "founder key" }),
        (Err(ResumeError::NoMembership | ResumeError::Expired { .. }), Some(founder)) => {
            Ok(Membership::found(founder, identity, &file.name, long_term.public(), now)?)
        }
        (Err(error), _) => Err(error),
    }
}

fn verify(
    kept: &KeptMembership,
    name: &str,
    identity: &Identity,
    long_term: &KeyPair,
    now: Now,
) -> Result<Membership, ResumeError> {
    let founder = kept.chain.leaf().founder;
    let member = kept.chain.verify(&founder, now.wall).map_err(|error| match error {
        CertificateError::Expired { expiry, .. } => ResumeError::Expired { expiry },
        error => ResumeError::Certificate(error),
    })?;
    let link = kept.link_chain.verify(now.wall).map_err(|error| match error {
        AuthError::Expired { expiry, .. } => ResumeError::Expired { expiry },
        _ => ResumeError::Mismatch { what: "link certificate" },
    })?;
    let matches = [
        (member.identity == identity.id(), "identity"),
        (member.name == name, "name"),
        (member.long_term_hash == long_term.public().hash(), "long-term key"),
        (link.link_key == identity.link_key(&link.routing).public(), "link key"),
    ];
    match matches.into_iter().find(|(same, _)| !same) {
        Some((_, what)) => Err(ResumeError::Mismatch { what }),
        None => Ok(Membership {
            founder,
            routing: link.routing,
            member,
            chain: kept.chain.clone(),
            link_chain: kept.link_chain.clone(),
            cards: Vec::new(),
        }),
    }
}

impl Member {
    /// Takes up what else is in the file. A card or ticket that is no longer good is left out.
    fn restore(&mut self, cx: &mut Shared, file: AgentFile, now: Now) {
        for card in file.cards {
            if let Ok(card) = Card::parse(card).and_then(|card| card.verify(&self.membership.founder, now.wall))
                && card.identity != cx.identity.id()
            {
                self.learn_card(cx, card, None, now);
            }
        }
        let issuer = Issuer { identity: &cx.identity, membership: &self.membership, founder: self.founder_key.as_ref() };
        for record in file.tickets {
            // What the agent may no longer give is no ticket any more.
            let _ = self.invites.restore(&issuer, record, now);
        }
        if self.card_stamp <= file.card_stamp {
            // The clock was set back: peers would take this run's card for an old one.
            self.card_stamp = file.card_stamp;
            self.renew_card(cx, now);
        }
    }

    fn fill(&self, file: &mut AgentFile, now: Now) {
        file.founder = self.founder_key.as_ref().map(FounderKey::seed);
        let Membership { chain, link_chain, .. } = &self.membership;
        file.membership = Some(KeptMembership { chain: chain.clone(), link_chain: link_chain.clone() });
        file.card_stamp = self.card_stamp;
        file.tickets = self.invites.uncounted(now).collect();
        file.cards = self.cards_to_keep();
    }

    /// The cards of those who may admit come first, since they tell about all others; then of those who are linked; then the newest. Whose
    /// identity has ended is left out.
    fn cards_to_keep(&self) -> Vec<Bytes> {
        let has_left = |entry: &&RosterEntry| matches!(entry.presence, Presence::Left { is_final: true, .. });
        let mut entries: Vec<&RosterEntry> = self.roster.peers().filter(|entry| !has_left(entry)).collect();
        entries.sort_by_key(|entry| {
            let card = &entry.card;
            std::cmp::Reverse((card.member.rights.admit, entry.presence.is_linked(), card.stamp))
        });
        entries.iter().take(CARDS_KEPT).map(|entry| entry.card.bytes.clone()).collect()
    }
}
