//! Membership goes on: certificates last 30 days, and from half of that a member asks for others.
//!
//! ```text
//! member                                    an admin that is linked
//!   past half-life    -- renewal request -->   the certificate on the sender's card is past half-life, too, and still good
//!   checks, takes up  <-- renewal ----------   the same name, rights and keys, 30 days from now
//!   new card to all
//! ```
//!
//! Policy. A founder renews itself. A member asks one admin after the other, each ten minutes, in the order of their ids, and at once when one
//! is linked after there was none; only the founder's agent can renew an admin, the others refuse. What isn't an answer to the last
//! request, or gives less than what there is, is left alone. Who was away for longer than its membership needs a new invite.
//!
//! The link certificate is renewed with it. The link stands; the new certificate is shown when the next one is made, at the latest when the
//! switchboard ends this one because the old certificate has expired.

use std::time::Duration;

use bytes::Bytes;

use super::admission::{CERTIFICATE_LIFE, Issuer, Membership};
use super::credentials;
use super::member::{Member, Shared};
use super::message::{MessageHeader, MessageKind, Refusal, RefusalCode};
use crate::crypto::certificate::{CertificateChain, MAX_CERTIFICATE};
use crate::proto::codec::{Reader, Writer};
use crate::proto::limits::CLOCK_TOLERANCE;
use crate::proto::{self, AgentId, Lane, LinkCertificate, LinkChain, MessageId, Now};

#[cfg(test)]
mod tests;

/// Pause between two requests.
const ASK_PAUSE: Duration = Duration::from_secs(10 * 60);
/// Longest pause between two looks at the clock: the wall clock may be set, and the monotonic one stands still while a machine sleeps.
const LOOK_PAUSE: Duration = Duration::from_secs(60 * 60);
/// A chain of two certificates.
const CHAIN_LIMIT: usize = 1 + 2 * (2 + MAX_CERTIFICATE);

pub(super) struct Renewal {
    look_at: Duration,
    /// The last request, and who got it.
    asked: Option<(MessageId, AgentId)>,
}

impl Renewal {
    pub(super) fn new(now: Now) -> Self {
        Self { look_at: now.monotonic, asked: None }
    }

    pub(super) fn poll_timeout(&self) -> Duration {
        self.look_at
    }

    /// There is somebody to ask, who wasn't there before.
    pub(super) fn look_now(&mut self, now: Now) {
        if self.asked.is_none() {
            self.look_at = now.monotonic;
        }
    }
}

/// When half of a certificate's life is over. That it ends when its issuer's does is counted in.
fn half_life(chain: &CertificateChain, expiry: u64) -> u64 {
    let issued = chain.leaf().issued;
    issued.saturating_add(expiry.saturating_sub(issued) / 2)
}

fn encode(chain: &CertificateChain, link_chain: &LinkChain) -> Bytes {
    let mut writer = Writer::with_capacity(CHAIN_LIMIT + 2 * LinkCertificate::LENGTH + 16);
    writer.bytes16(&chain.encode()).bytes16(&link_chain.encode()).extensions();
    writer.into_vec().into()
}

fn decode(body: &[u8]) -> Result<(CertificateChain, LinkChain), proto::Error> {
    let mut reader = Reader::new(body);
    let chain = CertificateChain::decode(reader.bytes16("certificate chain", CHAIN_LIMIT)?)?;
    let link_chain = LinkChain::decode(reader.bytes16("link certificate chain", 2 * LinkCertificate::LENGTH)?)?;
    reader.extensions()?;
    reader.finish("renewal")?;
    Ok((chain, link_chain))
}

impl Member {
    pub(super) fn handle_renewal_timeout(&mut self, cx: &mut Shared, now: Now) {
        if self.renewal.look_at > now.monotonic {
            return;
        }
        let due = half_life(&self.membership.chain, self.membership.member.expiry);
        if now.wall < due {
            self.renewal.asked = None;
            self.renewal.look_at = now.monotonic + LOOK_PAUSE.min(Duration::from_millis(due - now.wall));
            return;
        }
        self.renewal.look_at = now.monotonic + ASK_PAUSE;
        match &self.founder_key {
            Some(founder) => {
                let renewed = Membership::found(founder, &cx.identity, &cx.config.name, cx.long_term.public(), now);
                // The only error is a name that can't be, and this one has been certified before.
                if let Ok(Membership { member, chain, link_chain, .. }) = renewed {
                    let membership = Membership { member, chain, link_chain, ..self.membership.clone() };
                    self.take_up(cx, membership, now);
                }
            }
            None => self.ask_for_renewal(cx, now),
        }
    }

    fn ask_for_renewal(&mut self, cx: &mut Shared, now: Now) {
        let admins = self.roster.peers().filter(|entry| entry.presence.is_linked() && entry.card.member.rights.admit);
        let admins: Vec<AgentId> = admins.map(|entry| entry.card.identity).collect();
        let last = self.renewal.asked.take().map(|(_, admin)| admin);
        let next = admins.iter().find(|id| last.is_none_or(|last| **id > last)).or(admins.first());
        if let Some(&admin) = next {
            let header = Self::own_header(cx, MessageKind::RenewalRequest, ASK_PAUSE, now);
            self.renewal.asked = Some((header.id, admin));
            self.queue_untracked(cx, admin, Lane::High, header, Bytes::new(), now);
        }
    }

    /// A member asks an admin for a new certificate. It gets what it has, for another term.
    pub(super) fn handle_renewal_request(
        &mut self,
        cx: &mut Shared,
        sender: AgentId,
        lane: Lane,
        header: &MessageHeader,
        now: Now,
    ) {
        match self.renew(cx, &sender, now) {
            Ok(body) => {
                let mut answer = Self::own_header(cx, MessageKind::Renewal, ASK_PAUSE, now);
                answer.reply_to = Some(header.id);
                self.queue_untracked(cx, sender, Lane::High, answer, body, now);
            }
            Err(why) => self.send_refusal(cx, sender, lane, header, &Refusal::new(RefusalCode::NotPermitted, why), now),
        }
    }

    fn renew(&self, cx: &Shared, sender: &AgentId, now: Now) -> Result<Bytes, String> {
        let entry = self.roster.get(sender).ok_or("the sender is not known here")?;
        let member = entry.card.chain.verify(&self.membership.founder, now.wall).map_err(|error| error.to_string())?;
        // Whose clock is behind has no use for certificates from the future.
        if now.wall + (CLOCK_TOLERANCE.as_millis() as u64) < half_life(&entry.card.chain, member.expiry) {
            return Err("it is too early to renew this certificate".to_owned());
        }
        let issuer = Issuer { identity: &cx.identity, membership: &self.membership, founder: self.founder_key.as_ref() };
        let renewed = issuer.renew(&member, entry.card.link_key, now.wall);
        renewed.map(|(chain, link_chain)| encode(&chain, &link_chain)).map_err(|error| error.to_string())
    }

    /// An admin answers. What is worse than the certificate that there is, is left alone.
    pub(super) fn handle_renewal(&mut self, cx: &mut Shared, sender: AgentId, header: &MessageHeader, body: &[u8], now: Now) {
        let is_answer = header.reply_to.zip(Some(sender)) == self.renewal.asked && self.renewal.asked.is_some();
        let renewed = decode(body).ok().filter(|_| is_answer).and_then(|(chain, link_chain)| {
            let member = chain.verify(&self.membership.founder, now.wall).ok()?;
            let link = link_chain.verify(now.wall).ok()?;
            let own = &self.membership.member;
            let same = (&member.identity, &member.name, &member.rights, &member.long_term_hash)
                == (&own.identity, &own.name, &own.rights, &own.long_term_hash)
                && link.routing == self.membership.routing
                && link.link_key == cx.identity.link_key(&link.routing).public();
            (same && member.expiry > own.expiry).then(|| Membership { member, chain, link_chain, ..self.membership.clone() })
        });
        match renewed {
            Some(membership) => self.take_up(cx, membership, now),
            None => cx.counters.refused_messages += 1,
        }
    }

    fn take_up(&mut self, cx: &mut Shared, membership: Membership, now: Now) {
        cx.link.renew(credentials(&cx.identity, &membership));
        self.membership = membership;
        self.renewal = Renewal::new(now);
        self.renew_card(cx, now);
        cx.keeper.save(now);
    }
}

const _: () = assert!(ASK_PAUSE.as_secs() * 100 < CERTIFICATE_LIFE.as_secs() / 2, "there is time to ask a hundred admins");
