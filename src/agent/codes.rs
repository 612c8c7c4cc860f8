//! Inviting by code: slots at the switchboard, frames of guests, and the ticket that comes of a good guess.

use super::admission::{InviteError, InviteTerms, Issuer};
use super::error::{LinkError, SendError};
use super::event::{Burnt, Event, Token};
use super::link::Origin;
use super::member::{Member, Shared};
use super::pairing::{CODE_TTL_MAX, CodeTerms, Decision, Inviter, Opened};
use crate::crypto::TicketError;
use crate::crypto::pairing::{PairingStatus, refusal};
use crate::crypto::ticket::MAX_ADDRESSES;
use crate::proto::{DataFrame, Now, SlotStatus};

impl Member {
    /// Makes a code, whose text is there once its slot is open.
    pub(super) fn invite_by_code(&mut self, cx: &mut Shared, terms: InviteTerms, now: Now) -> Result<Token, SendError> {
        let issuer = Issuer { identity: &cx.identity, membership: &self.membership, founder: self.founder_key.as_ref() };
        issuer.check(&terms.rights)?;
        issuer.check_size(&terms.rights, now.wall)?;
        if terms.uses != Some(1) || terms.ttl.is_zero() || terms.ttl > CODE_TTL_MAX {
            return Err(InviteError::CodeTerms.into());
        }
        let fits = |address: &String| (1..=usize::from(u8::MAX)).contains(&address.len());
        if terms.addresses.len() > MAX_ADDRESSES || !terms.addresses.iter().all(fits) {
            return Err(InviteError::Ticket(TicketError::Addresses).into());
        }
        let invite = cx.token();
        let terms = CodeTerms { invite, ttl: terms.ttl, rights: terms.rights, addresses: terms.addresses };
        if !self.codes.create(terms, &mut cx.random, now) {
            return Err(InviteError::TooManyCodes.into());
        }
        self.give_slots_back(cx);
        self.ask_for_slots(cx, false);
        Ok(invite)
    }

    /// Asks for the slots of codes; on a new link for those that they had.
    pub(super) fn ask_for_slots(&mut self, cx: &mut Shared, is_new_link: bool) {
        if cx.link.is_up() {
            for (slot, expiry) in self.codes.wanted(is_new_link) {
                cx.link.open_slot(slot, expiry);
            }
        }
    }

    pub(super) fn handle_slot_opened(&mut self, cx: &mut Shared, slot: u32, status: SlotStatus) {
        match self.codes.handle_opened(slot, status) {
            Opened::Code(invite, code) => cx.emit(Event::Invite { invite, result: Ok(Some(code)) }),
            Opened::Known => {}
            Opened::Refused(invite) => cx.emit(Event::Invite { invite, result: Err(LinkError::SlotRefused) }),
            Opened::Lost(invite) => cx.emit(Event::Burnt { invite, why: Burnt::Lost }),
        }
        self.give_slots_back(cx);
    }

    /// A guest says something.
    pub(super) fn handle_pairing(&mut self, cx: &mut Shared, frame: &DataFrame, now: Now) {
        let inviter = Inviter { founder: self.membership.founder, routing: self.membership.routing, pin: cx.link.pin() };
        let Some((frames, decision)) = self.codes.handle_frame(&inviter, frame, &mut cx.random, now) else {
            cx.counters.refused_frames += 1;
            return;
        };
        self.say(frames);
        match decision {
            Some(Decision::Paired { invite, ticket, rights, offer }) => match self.invites.open_paired(*ticket, rights, now) {
                Ok(mailbox) => {
                    self.invite_tokens.insert(mailbox, invite);
                    self.register(cx, mailbox);
                    self.say(vec![offer]);
                }
                // As many tickets as there can be are open.
                Err(_) => {
                    self.say(vec![refusal(PairingStatus::Closed, frame.source(), frame.header().session)]);
                    cx.emit(Event::Burnt { invite, why: Burnt::Lost });
                }
            },
            Some(Decision::Burnt { invite, why }) => cx.emit(Event::Burnt { invite, why }),
            None => {}
        }
    }

    /// Takes a code back; nothing if the invite isn't one, or is over.
    pub(super) fn revoke_code(&mut self, cx: &mut Shared, invite: Token) {
        let frames = self.codes.close(invite);
        self.say(frames);
        self.give_slots_back(cx);
    }

    pub(super) fn handle_code_timeout(&mut self, cx: &mut Shared, now: Now) {
        let frames = self.codes.handle_timeout(now);
        self.say(frames);
        self.give_slots_back(cx);
    }

    fn say(&mut self, frames: Vec<DataFrame>) {
        frames.into_iter().for_each(|frame| self.outbox.stage(frame, Origin::Other));
    }

    fn give_slots_back(&mut self, cx: &mut Shared) {
        while let Some(slot) = self.codes.poll_closed() {
            if cx.link.is_up() {
                cx.link.close_slot(slot);
            }
        }
    }
}
