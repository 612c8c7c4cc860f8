//! Being a member, and making others members.

use std::time::Duration;

use super::InviteError;
use crate::agent::card::VerifiedCard;
use crate::crypto::certificate::{CertificateChain, CertificateError, CertificateRequest, MAX_NAME, Member, Rights};
use crate::crypto::{AdmissionRequest, FounderKey, Identity, PublicKey};
use crate::proto::{self, FounderId, LinkCertificate, LinkChain, LinkKey, LinkRights, Now, RoutingKey};

/// How long a certificate is in force. Chosen: long enough for a deployment that nobody looks after for some weeks.
pub const CERTIFICATE_LIFE: Duration = Duration::from_secs(30 * 24 * 60 * 60);

/// What makes an agent a member of its swarm.
#[derive(Clone, Debug)]
pub struct Membership {
    pub founder: FounderId,
    pub routing: RoutingKey,
    /// What `chain` says.
    pub member: Member,
    pub chain: CertificateChain,
    pub link_chain: LinkChain,
    /// The cards that came with the admission, the issuer's first; none at the founder's own agent.
    pub cards: Vec<VerifiedCard>,
}

impl Membership {
    /// Makes the founder's own agent a member, with all rights.
    ///
    /// # Errors
    /// [`CertificateError::Name`], by the caller's fault.
    pub fn found(
        founder: &FounderKey,
        identity: &Identity,
        name: &str,
        long_term: &PublicKey,
        now: Now,
    ) -> Result<Self, CertificateError> {
        let routing = founder.routing();
        let expiry = expiry_of(now.wall);
        let request = CertificateRequest {
            identity: identity.id(),
            name: name.to_owned(),
            rights: Rights { skills: None, admit: true, terminals: true, originate: true },
            long_term_hash: long_term.hash(),
            issued: now.wall,
            expiry,
        };
        let chain = CertificateChain::issue_by_founder(founder, &request)?;
        let link_key = identity.link_key(&routing.public()).public();
        let link_certificate = LinkCertificate::issue_by_routing(&routing, link_key, expiry, link_rights(&request.rights));
        Ok(Self {
            founder: founder.id(),
            routing: routing.public(),
            member: chain.verify(&founder.id(), now.wall)?,
            chain,
            link_chain: LinkChain::from(link_certificate),
            cards: Vec::new(),
        })
    }

    /// Returns what the member may do.
    pub fn rights(&self) -> &Rights {
        &self.member.rights
    }
}

/// A member that admits others.
#[derive(Clone, Copy)]
pub struct Issuer<'a> {
    pub identity: &'a Identity,
    pub membership: &'a Membership,
    /// At the founder's own agent only.
    pub founder: Option<&'a FounderKey>,
}

impl Issuer<'_> {
    /// Checks that this issuer may give these rights to others.
    ///
    /// # Errors
    /// [`InviteError::NotPermitted`] names the right that is missing.
    pub fn check(&self, rights: &Rights) -> Result<(), InviteError> {
        let own = self.membership.rights();
        if !own.admit {
            return Err(InviteError::NotPermitted { right: "admit" });
        }
        if rights.admit && self.founder.is_none() {
            return Err(InviteError::NotPermitted { right: "make admins" });
        }
        rights.beyond(own).map_or(Ok(()), |right| Err(InviteError::NotPermitted { right }))
    }

    /// Checks that certificates can hold these rights, whatever the name of their holder.
    pub(in crate::agent) fn check_size(&self, rights: &Rights, now_wall: u64) -> Result<(), InviteError> {
        let trial = CertificateRequest {
            identity: self.identity.id(),
            name: "n".repeat(MAX_NAME),
            rights: rights.clone(),
            long_term_hash: [0; 32],
            issued: now_wall,
            expiry: expiry_of(now_wall),
        };
        self.certify_identity(&trial)?;
        Ok(())
    }

    /// Certifies whoever made `request`, as from `issued` (Unix milliseconds).
    pub(super) fn certify(
        &self,
        request: &AdmissionRequest,
        rights: &Rights,
        issued: u64,
    ) -> Result<(CertificateChain, LinkChain), InviteError> {
        self.check(rights)?;
        let expiry = expiry_of(issued);
        let chain = self.certify_identity(&CertificateRequest {
            identity: request.identity,
            name: request.name.clone(),
            rights: rights.clone(),
            long_term_hash: request.long_term.hash(),
            issued,
            expiry,
        })?;
        Ok((chain, self.certify_link(request.link_key, rights, expiry)?))
    }

    /// Certifies a member for another term, with the rights that it has.
    ///
    /// # Errors
    /// [`InviteError::NotPermitted`] if this issuer may not give these rights.
    pub(in crate::agent) fn renew(
        &self,
        member: &Member,
        link_key: LinkKey,
        issued: u64,
    ) -> Result<(CertificateChain, LinkChain), InviteError> {
        self.check(&member.rights)?;
        let expiry = expiry_of(issued);
        let chain = self.certify_identity(&CertificateRequest {
            identity: member.identity,
            name: member.name.clone(),
            rights: member.rights.clone(),
            long_term_hash: member.long_term_hash,
            issued,
            expiry,
        })?;
        Ok((chain, self.certify_link(link_key, &member.rights, expiry)?))
    }

    fn certify_identity(&self, request: &CertificateRequest) -> Result<CertificateChain, CertificateError> {
        match self.founder {
            Some(founder) => CertificateChain::issue_by_founder(founder, request),
            None => CertificateChain::issue_by_admin(self.identity, &self.membership.chain, request),
        }
    }

    fn certify_link(&self, holder: LinkKey, rights: &Rights, expiry: u64) -> Result<LinkChain, proto::Error> {
        match self.founder {
            Some(founder) => {
                Ok(LinkCertificate::issue_by_routing(&founder.routing(), holder, expiry, link_rights(rights)).into())
            }
            None => {
                let own = self.membership.link_chain.holder();
                let key = self.identity.link_key(&self.membership.routing);
                LinkChain::new(vec![LinkCertificate::issue_by_link(&key, own, holder, expiry), *own])
            }
        }
    }
}

fn expiry_of(issued: u64) -> u64 {
    issued.saturating_add(CERTIFICATE_LIFE.as_millis() as u64)
}

/// An admin has to issue link certificates to those it admits, and to revoke those of whom it removes.
fn link_rights(rights: &Rights) -> LinkRights {
    LinkRights { may_issue: rights.admit, may_revoke: rights.admit }
}
