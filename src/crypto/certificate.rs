//! Membership: a founder, or an admin whom the founder made, vouches for an identity (PROTOCOL.md section 5.1).
//!
//! ```text
//! F --signs--> admin (rights: admit) --signs--> member        two steps and no third
//! F --signs--> member
//! ```
//!
//! A chain is only ever as good as [`CertificateChain::verify`] says; everything before that is parsing.

use std::collections::BTreeSet;

use super::{FounderKey, Identity};
use crate::proto::{
    self, AgentId, FounderId, VERSION,
    codec::{Reader, Writer},
    limits,
    signature::{self, SIGNATURE_LENGTH, SigningKey, hash},
};

/// Largest certificate, in bytes: room for some forty skills, and a card still holds two.
pub const MAX_CERTIFICATE: usize = 1_024;
/// Longest name, in bytes.
pub const MAX_NAME: usize = 64;

const PURPOSE: &str = "certificate";
/// Certificates in a chain, at most: founder, admin, member. Admins don't make admins.
const MAX_CHAIN: usize = 2;

const ADMIT: u8 = 0x01;
const TERMINALS: u8 = 0x02;
const ORIGINATE: u8 = 0x04;
const ANY_SKILL: u8 = 0x08;

/// Why a certificate proves nothing, or can't be issued.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum CertificateError {
    /// The name isn't 1 to 64 of `[A-Za-z0-9._-]`.
    #[error("a name is 1 to 64 letters, digits, dots, underscores and hyphens")]
    Name,
    /// A skill's name is empty or longer than 255 bytes, or there are more than 255.
    #[error("a skill's name is 1 to 255 bytes, and a certificate lists at most 255")]
    Skills,
    /// The certificate would be too large: it lists too many skills.
    #[error("the certificate would have {got} bytes, the limit is {MAX_CERTIFICATE}: it lists too many skills")]
    TooLarge { got: usize },
    /// The chain belongs to another swarm.
    #[error("the certificate belongs to another swarm")]
    OtherSwarm,
    /// The chain doesn't lead from the founder to its holder.
    #[error("the certificate chain is broken: {what}")]
    Chain { what: &'static str },
    /// A signature in the chain is wrong.
    #[error("the certificate is not genuine")]
    Signature,
    /// The certificate names more rights than its issuer may give.
    #[error("the certificate names a right that its issuer may not give: {right}")]
    Rights { right: &'static str },
    /// The certificate is genuine but about somebody or something else.
    #[error("the certificate names another {what}")]
    Mismatch { what: &'static str },
    /// The chain is genuine but no longer in force. Renewing it helps.
    #[error("the certificate expired at {expiry}, the time is {now}")]
    Expired { expiry: u64, now: u64 },
}

/// Checks that `name` may stand in a certificate.
///
/// # Errors
/// [`CertificateError::Name`]
pub fn validate_name(name: &str) -> Result<(), CertificateError> {
    let allowed = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'_' | b'-');
    if (1..=MAX_NAME).contains(&name.len()) && name.bytes().all(allowed) { Ok(()) } else { Err(CertificateError::Name) }
}

/// What a member may do. By default it may offer any skill and give others work, but neither admit nor open terminals.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Rights {
    /// The skills that it may offer; `None` for any.
    pub skills: Option<BTreeSet<String>>,
    /// May admit others. Only the founder gives this.
    pub admit: bool,
    /// May open terminals on others.
    pub terminals: bool,
    /// May start tasks that nobody asked it for.
    pub originate: bool,
}

impl Default for Rights {
    fn default() -> Self {
        Self { skills: None, admit: false, terminals: false, originate: true }
    }
}

impl Rights {
    /// Returns whether the member may offer `skill`.
    pub fn may_offer(&self, skill: &str) -> bool {
        self.skills.as_ref().is_none_or(|skills| skills.contains(skill))
    }

    /// Returns whether these rights contain nothing that `other` lacks.
    pub fn is_within(&self, other: &Self) -> bool {
        self.beyond(other).is_none()
    }

    /// Names a right that `other` lacks.
    pub fn beyond(&self, other: &Self) -> Option<&'static str> {
        let skills_within = match (&self.skills, &other.skills) {
            (_, None) => true,
            (None, Some(_)) => false,
            (Some(mine), Some(theirs)) => mine.is_subset(theirs),
        };
        [
            (!skills_within, "skills"),
            (self.admit && !other.admit, "admit"),
            (self.terminals && !other.terminals, "terminals"),
            (self.originate && !other.originate, "originate"),
        ]
        .into_iter()
        .find_map(|(beyond, right)| beyond.then_some(right))
    }

    /// Returns the byte that stands for all but the names of skills.
    pub(crate) fn bits(&self) -> u8 {
        [(self.admit, ADMIT), (self.terminals, TERMINALS), (self.originate, ORIGINATE), (self.skills.is_none(), ANY_SKILL)]
            .into_iter()
            .map(|(held, bit)| u8::from(held) * bit)
            .sum()
    }

    /// Writes the skills, none of them if any may be offered.
    ///
    /// # Errors
    /// [`CertificateError::Skills`]
    pub(crate) fn write_skills(&self, writer: &mut Writer) -> Result<(), CertificateError> {
        let skills = self.skills.iter().flatten();
        writer.u8(u8::try_from(skills.clone().count()).map_err(|_| CertificateError::Skills)?);
        for skill in skills {
            if !(1..=usize::from(u8::MAX)).contains(&skill.len()) {
                return Err(CertificateError::Skills);
            }
            writer.text8(skill);
        }
        Ok(())
    }

    /// Reads the skills that belong to `bits`.
    pub(crate) fn read(bits: u8, reader: &mut Reader<'_>) -> Result<Self, proto::Error> {
        Ok(Self {
            skills: read_skills(reader, bits & ANY_SKILL != 0)?,
            admit: bits & ADMIT != 0,
            terminals: bits & TERMINALS != 0,
            originate: bits & ORIGINATE != 0,
        })
    }
}

/// What is to be certified.
#[derive(Debug, Clone)]
pub struct CertificateRequest {
    /// Who is to become, or to stay, a member.
    pub identity: AgentId,
    pub name: String,
    pub rights: Rights,
    /// SHA-256 of the long-term X-Wing public key.
    pub long_term_hash: [u8; 32],
    /// Unix milliseconds.
    pub issued: u64,
    /// Unix milliseconds.
    pub expiry: u64,
}

/// One certificate: well-formed, and not more than that.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Certificate {
    pub founder: FounderId,
    pub identity: AgentId,
    /// F, or the identity of an admin.
    pub issuer: [u8; 32],
    pub issued: u64,
    pub expiry: u64,
    pub rights: Rights,
    pub name: String,
    pub long_term_hash: [u8; 32],
    /// What is signed, and the signature.
    bytes: Vec<u8>,
}

impl Certificate {
    /// Signs whatever is asked for.
    pub(super) fn issue(founder: FounderId, issuer: &SigningKey, request: &CertificateRequest) -> Result<Self, CertificateError> {
        validate_name(&request.name)?;
        let mut writer = Writer::with_capacity(MAX_CERTIFICATE);
        writer
            .u8(VERSION)
            .raw(founder.as_bytes())
            .raw(request.identity.as_bytes())
            .raw(&issuer.public())
            .u64(request.issued)
            .u64(request.expiry)
            .u8(request.rights.bits())
            .text8(&request.name);
        request.rights.write_skills(&mut writer)?;
        writer.raw(&request.long_term_hash).extensions();
        let signature = issuer.sign(PURPOSE, &[writer.as_slice()]);
        writer.raw(&signature);
        let bytes = writer.into_vec();
        if bytes.len() > MAX_CERTIFICATE {
            return Err(CertificateError::TooLarge { got: bytes.len() });
        }
        Ok(Self {
            founder,
            identity: request.identity,
            issuer: issuer.public(),
            issued: request.issued,
            expiry: request.expiry,
            rights: request.rights.clone(),
            name: request.name.clone(),
            long_term_hash: request.long_term_hash,
            bytes,
        })
    }

    /// Reads a certificate, unverified.
    pub fn decode(bytes: &[u8]) -> Result<Self, proto::Error> {
        const WHAT: &str = "certificate";
        if bytes.len() > MAX_CERTIFICATE {
            return Err(proto::Error::TooLarge { what: WHAT, limit: MAX_CERTIFICATE, got: bytes.len() });
        }
        let mut reader = Reader::new(bytes);
        match reader.u8()? {
            VERSION => {}
            got => return Err(proto::Error::Version { what: WHAT, expected: VERSION, got }),
        }
        let founder = FounderId::from_bytes(reader.array()?);
        let identity = AgentId::from_bytes(reader.array()?);
        let issuer = reader.array()?;
        let issued = reader.u64()?;
        let expiry = reader.u64()?;
        let bits = reader.u8()?;
        let name = reader.text8("name")?.to_owned();
        validate_name(&name).map_err(|_| proto::Error::Malformed { what: "name" })?;
        let rights = Rights::read(bits, &mut reader)?;
        let long_term_hash = reader.array()?;
        reader.extensions()?;
        reader.array::<SIGNATURE_LENGTH>()?;
        reader.finish(WHAT)?;
        Ok(Self { founder, identity, issuer, issued, expiry, rights, name, long_term_hash, bytes: bytes.to_vec() })
    }

    /// Returns the certificate as it is on the wire.
    pub fn bytes(&self) -> &[u8] {
        &self.bytes
    }

    fn is_signed_by_its_issuer(&self) -> bool {
        self.bytes
            .split_last_chunk()
            .is_some_and(|(signed, signature)| signature::verify(&self.issuer, PURPOSE, &[signed], signature))
    }

    fn is_signed_by_founder(&self) -> bool {
        self.issuer == *self.founder.as_bytes()
    }
}

/// Reads the skills, which stand in ascending order, so that one set of rights has one encoding.
fn read_skills(reader: &mut Reader<'_>, any: bool) -> Result<Option<BTreeSet<String>>, proto::Error> {
    let malformed = proto::Error::Malformed { what: "skills" };
    let mut skills = BTreeSet::new();
    for _ in 0..reader.u8()? {
        let skill = reader.text8("skill")?;
        if skill.is_empty() || skills.last().is_some_and(|last: &String| last.as_str() >= skill) {
            return Err(malformed);
        }
        skills.insert(skill.to_owned());
    }
    match (any, skills.is_empty()) {
        (true, true) => Ok(None),
        (true, false) => Err(malformed),
        (false, _) => Ok(Some(skills)),
    }
}

/// Who vouches for a member.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Issuer {
    Founder,
    Admin(AgentId),
}

/// What a good chain proves about its holder.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Member {
    pub identity: AgentId,
    pub name: String,
    pub rights: Rights,
    /// Unix milliseconds: the earliest expiry in the chain.
    pub expiry: u64,
    pub long_term_hash: [u8; 32],
    pub issuer: Issuer,
}

/// The holder's certificate and, when its issuer isn't the founder, the issuer's.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CertificateChain {
    leaf: Certificate,
    admin: Option<Certificate>,
}

impl CertificateChain {
    /// Certifies a member as the founder.
    ///
    /// # Errors
    /// [`CertificateError::Name`], [`CertificateError::Skills`] or [`CertificateError::TooLarge`] for a request that has no encoding.
    pub fn issue_by_founder(founder: &FounderKey, request: &CertificateRequest) -> Result<Self, CertificateError> {
        Ok(Self { leaf: Certificate::issue(founder.id(), founder.key(), request)?, admin: None })
    }

    /// Certifies a member as an admin, whose own chain the founder signed.
    ///
    /// # Errors
    /// As [`Self::issue_by_founder`]; [`CertificateError::Mismatch`], [`CertificateError::Chain`] or [`CertificateError::Rights`] if the
    /// admin's chain isn't the admin's, doesn't let it admit, or lacks a right that is asked for.
    pub fn issue_by_admin(
        admin: &Identity,
        admin_chain: &CertificateChain,
        request: &CertificateRequest,
    ) -> Result<Self, CertificateError> {
        let own = &admin_chain.leaf;
        if own.identity != admin.id() {
            return Err(CertificateError::Mismatch { what: "identity" });
        }
        let leaf = Certificate::issue(own.founder, admin.key(), request)?;
        check_admin(own, &leaf)?;
        Ok(Self { leaf, admin: Some(own.clone()) })
    }

    /// Reads a chain, unverified.
    pub fn decode(bytes: &[u8]) -> Result<Self, proto::Error> {
        const WHAT: &str = "certificate chain";
        let mut reader = Reader::new(bytes);
        let count = reader.u8()?;
        if !(1..=MAX_CHAIN).contains(&usize::from(count)) {
            return Err(proto::Error::Malformed { what: WHAT });
        }
        let mut certificate = || Certificate::decode(reader.bytes16("certificate", MAX_CERTIFICATE)?);
        let leaf = certificate()?;
        let admin = if usize::from(count) == MAX_CHAIN { Some(certificate()?) } else { None };
        reader.finish(WHAT)?;
        Ok(Self { leaf, admin })
    }

    /// Returns the chain as it is on the wire.
    pub fn encode(&self) -> Vec<u8> {
        let mut writer = Writer::with_capacity(2 * MAX_CERTIFICATE);
        writer.u8(1 + u8::from(self.admin.is_some())).bytes16(&self.leaf.bytes);
        if let Some(admin) = &self.admin {
            writer.bytes16(&admin.bytes);
        }
        writer.into_vec()
    }

    /// Returns the holder's certificate.
    pub fn leaf(&self) -> &Certificate {
        &self.leaf
    }

    /// Returns SHA-256 of the encoded chain, by which a session binds it.
    pub fn hash(&self) -> [u8; 32] {
        hash(&[&self.encode()])
    }

    /// Checks that the chain leads from `founder` to its holder, and that it is in force at `now_wall` (Unix milliseconds).
    ///
    /// # Errors
    /// Says what is wrong; [`CertificateError::Expired`] only for a chain that is genuine.
    pub fn verify(&self, founder: &FounderId, now_wall: u64) -> Result<Member, CertificateError> {
        let Self { leaf, admin } = self;
        let root = admin.as_ref().unwrap_or(leaf);
        if leaf.founder != *founder || root.founder != *founder {
            return Err(CertificateError::OtherSwarm);
        }
        if !root.is_signed_by_founder() {
            return Err(CertificateError::Chain { what: "it doesn't end at the founder" });
        }
        if let Some(admin) = admin {
            check_admin(admin, leaf)?;
        }
        if !leaf.is_signed_by_its_issuer() || !admin.as_ref().is_none_or(Certificate::is_signed_by_its_issuer) {
            return Err(CertificateError::Signature);
        }
        let expiry = leaf.expiry.min(root.expiry);
        if now_wall > expiry.saturating_add(limits::CLOCK_TOLERANCE.as_millis() as u64) {
            return Err(CertificateError::Expired { expiry, now: now_wall });
        }
        Ok(Member {
            identity: leaf.identity,
            name: leaf.name.clone(),
            rights: leaf.rights.clone(),
            expiry,
            long_term_hash: leaf.long_term_hash,
            issuer: admin.as_ref().map_or(Issuer::Founder, |admin| Issuer::Admin(admin.identity)),
        })
    }
}

/// Checks that `admin` may have issued `leaf`.
fn check_admin(admin: &Certificate, leaf: &Certificate) -> Result<(), CertificateError> {
    if leaf.issuer != *admin.identity.as_bytes() {
        return Err(CertificateError::Chain { what: "the second certificate isn't the issuer's" });
    }
    if !admin.is_signed_by_founder() {
        return Err(CertificateError::Chain { what: "the issuer isn't vouched for by the founder" });
    }
    if !admin.rights.admit {
        return Err(CertificateError::Chain { what: "the issuer may not admit" });
    }
    if leaf.rights.admit {
        return Err(CertificateError::Rights { right: "admit" });
    }
    match leaf.rights.beyond(&admin.rights) {
        Some(right) => Err(CertificateError::Rights { right }),
        None => Ok(()),
    }
}
