//! Admitting others: tickets of this agent, the mailboxes that stand for them at the switchboard, and requests that come there.

use std::time::Duration;

use bytes::Bytes;

use super::admission::{InviteTerms, Issuer, Outcome, Registration, TicketRecord};
use super::error::{LinkError, SendError};
use super::event::{Event, Token};
use super::link::Origin;
use super::member::{Member, Shared};
use super::message::MessageKind;
use crate::crypto::Ticket;
use crate::proto::{AgentId, DataFrame, Label, Lane, Now, RegisterStatus};

impl Member {
    /// Makes a ticket and registers its mailbox; an uncounted one is passed to all who may admit.
    pub(super) fn invite(&mut self, cx: &mut Shared, terms: InviteTerms, now: Now) -> Result<(Token, Ticket), SendError> {
        let issuer = Issuer { identity: &cx.identity, membership: &self.membership, founder: self.founder_key.as_ref() };
        let shared_rights = terms.uses.is_none().then(|| terms.rights.clone());
        let ticket = self.invites.create(&issuer, terms, &mut cx.random, now)?;
        let mailbox = ticket.keys().mailbox();
        let token = cx.token();
        self.invite_tokens.insert(mailbox, token);
        self.register(cx, mailbox);
        if shared_rights.is_some() {
            cx.keeper.save(now);
        }
        if let Some(rights) = shared_rights
            && let Ok(record) = (TicketRecord { ticket: ticket.clone(), rights }).encode()
        {
            let admins = self.roster.peers().filter(|entry| entry.card.member.rights.admit);
            let admins: Vec<AgentId> = admins.map(|entry| entry.card.identity).collect();
            admins.into_iter().for_each(|admin| self.send_record(cx, admin, record.clone(), now));
        }
        Ok((token, ticket))
    }

    /// Passes the uncounted tickets that are known here to an admin who has just become known.
    pub(super) fn share_tickets(&mut self, cx: &mut Shared, with: AgentId, now: Now) {
        if !self.membership.rights().admit || !self.roster.get(&with).is_some_and(|entry| entry.card.member.rights.admit) {
            return;
        }
        let records: Vec<Bytes> = self.invites.records(now).filter_map(|record| record.encode().ok()).collect();
        records.into_iter().for_each(|record| self.send_record(cx, with, record, now));
    }

    fn send_record(&mut self, cx: &mut Shared, to: AgentId, record: Bytes, now: Now) {
        const RECORD_TTL: Duration = Duration::from_secs(60 * 60);
        let header = Self::own_header(cx, MessageKind::TicketRecord, RECORD_TTL, now);
        self.queue_untracked(cx, to, Lane::Normal, header, record, now);
    }

    /// Takes over another admin's uncounted ticket: whoever holds it can join as long as one of us is there.
    pub(super) fn adopt_ticket(&mut self, cx: &mut Shared, from: AgentId, record: &[u8], now: Now) {
        let issuer = Issuer { identity: &cx.identity, membership: &self.membership, founder: self.founder_key.as_ref() };
        let sender = self.roster.get(&from).map(|entry| &entry.card.member);
        let adopted = TicketRecord::decode(record)
            .ok()
            .zip(sender)
            .and_then(|(record, sender)| self.invites.adopt(&issuer, record, sender, now).ok());
        match adopted {
            Some(Some(mailbox)) => {
                cx.keeper.save(now);
                self.register(cx, mailbox);
            }
            Some(None) => {}
            None => cx.counters.refused_messages += 1,
        }
        self.give_up_closed(cx);
    }

    pub(super) fn revoke_invite(&mut self, cx: &mut Shared, invite: Token, now: Now) {
        let mailbox = self.invite_tokens.iter().find(|(_, token)| **token == invite).map(|(mailbox, _)| *mailbox);
        if let Some(mailbox) = mailbox {
            self.invites.revoke(&mailbox, now);
            cx.keeper.save(now);
        }
        self.revoke_code(cx, invite);
        self.give_up_closed(cx);
    }

    pub(super) fn register(&mut self, cx: &mut Shared, mailbox: Label) {
        if let Some(expiry) = self.invites.mailbox_expiry(&mailbox).filter(|_| cx.link.is_up()) {
            cx.link.register(mailbox, expiry);
        }
        self.give_up_closed(cx);
    }

    /// Mailboxes that made room for others are closed at the switchboard too.
    fn give_up_closed(&mut self, cx: &mut Shared) {
        while let Some(mailbox) = self.invites.poll_closed() {
            self.invite_tokens.remove(&mailbox);
            if cx.link.is_up() {
                cx.link.unregister(mailbox);
            }
        }
    }

    pub(super) fn handle_registered(&mut self, cx: &mut Shared, mailbox: Label, status: RegisterStatus) {
        let registration = self.invites.handle_registered(&mailbox, status);
        let Some(&invite) = self.invite_tokens.get(&mailbox) else { return };
        match registration {
            Some(Registration::Opened) => cx.emit(Event::Invite { invite, result: Ok(None) }),
            Some(Registration::Refused) => {
                self.invite_tokens.remove(&mailbox);
                cx.emit(Event::Invite { invite, result: Err(LinkError::MailboxRefused) });
            }
            Some(Registration::Renewed) | None => {}
        }
    }

    /// Somebody who holds a ticket asks to be admitted.
    pub(super) fn handle_admission_request(&mut self, cx: &mut Shared, frame: &DataFrame, now: Now) {
        let issuer = Issuer { identity: &cx.identity, membership: &self.membership, founder: self.founder_key.as_ref() };
        match self.invites.handle_request(&issuer, &self.roster, frame, &mut cx.random, now) {
            Outcome::Admitted { reply, newcomer } => {
                self.outbox.stage(reply, Origin::Other);
                if let Some(&invite) = self.invite_tokens.get(&newcomer.mailbox).filter(|_| !newcomer.is_repeated) {
                    cx.emit(Event::Admitted { invite, id: newcomer.identity, name: newcomer.name });
                }
            }
            Outcome::Refused { reply, .. } => self.outbox.stage(reply, Origin::Other),
            Outcome::Ignored(_) => cx.counters.refused_frames += 1,
        }
    }
}
