//! How a link key belongs to a swarm: certificates under the routing key V (PROTOCOL.md section 3.2).
//!
//! V signs the certificates of founder and admins, who may issue to others; nobody goes further. A switchboard that checks a
//! chain learns which pseudonyms share a swarm, and nothing else about them: no identity, no name, no founder key.

use super::codec::Reader;
use super::signature::{self, SIGNATURE_LENGTH, SigningKey};
use super::{Error, Label, LinkKey, RejectCode, RoutingKey, VERSION, limits};

const PURPOSE: &str = "link certificate";
const LABEL_DOMAIN: &[u8] = b"a2alinker/1 agent label\0";
const SLOT_DOMAIN: &[u8] = b"a2alinker/1 slot label\0";

const ROUTING: usize = 1;
const HOLDER: usize = 33;
const ISSUER: usize = 65;
const EXPIRY: usize = 97;
const RIGHTS: usize = 105;
const SIGNATURE: usize = 106;

/// Why a link is refused. The other side is at fault.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum AuthError {
    /// The Hello is for another version of the protocol.
    #[error("the link speaks version {got}, expected {expected}")]
    Version { expected: u8, got: u8 },
    /// The Hello isn't bound to this connection in the way that the Challenge asked for.
    #[error("the proof is not bound to this connection")]
    Binding,
    /// The Hello wasn't signed by the link key that it names, for this challenge and connection.
    #[error("the link key is not proven")]
    Signature,
    /// A certificate in the chain is not signed by whom it names, or doesn't lead to V.
    #[error("the link certificate chain is broken: {what}")]
    Chain { what: &'static str },
    /// A certificate in the chain is past its expiry, the tolerance included. Renewing it helps.
    #[error("the link certificate expired at {expiry}, the time is {now}")]
    Expired { expiry: u64, now: u64 },
}

impl AuthError {
    /// Returns the code by which a switchboard tells the client.
    pub fn reject_code(&self) -> RejectCode {
        match self {
            Self::Version { .. } => RejectCode::Version,
            Self::Binding => RejectCode::Binding,
            Self::Signature => RejectCode::Authentication,
            Self::Chain { .. } => RejectCode::CertificateChain,
            Self::Expired { .. } => RejectCode::CertificateExpired,
        }
    }
}

/// The private half of a [`LinkKey`].
pub struct LinkKeyPair(SigningKey);

impl LinkKeyPair {
    /// Derives the key from its seed.
    pub fn from_seed(seed: &[u8; 32]) -> Self {
        Self(SigningKey::from_seed(seed))
    }

    /// Returns the public key.
    pub fn public(&self) -> LinkKey {
        LinkKey::from_bytes(self.0.public())
    }

    /// Returns the label under which this key is linked.
    pub fn label(&self) -> Label {
        label_of(&self.public())
    }

    pub(super) fn sign(&self, purpose: &str, parts: &[&[u8]]) -> [u8; SIGNATURE_LENGTH] {
        self.0.sign(purpose, parts)
    }
}

/// The private half of a [`RoutingKey`], which only a founder has.
pub struct RoutingKeyPair(SigningKey);

impl RoutingKeyPair {
    /// Derives the key from its seed.
    pub fn from_seed(seed: &[u8; 32]) -> Self {
        Self(SigningKey::from_seed(seed))
    }

    /// Returns the public key V.
    pub fn public(&self) -> RoutingKey {
        RoutingKey::from_bytes(self.0.public())
    }
}

/// Returns the label of the agent that holds `key`.
pub fn label_of(key: &LinkKey) -> Label {
    short_hash(LABEL_DOMAIN, key.as_bytes())
}

/// Returns the destination that a guest names when it talks to whoever opened `slot` (PROTOCOL.md section 9).
pub fn slot_label(slot: u32) -> Label {
    short_hash(SLOT_DOMAIN, &slot.to_be_bytes())
}

fn short_hash(domain: &[u8], bytes: &[u8]) -> Label {
    let hash = signature::hash(&[domain, bytes]);
    Label::from_bytes(*hash.first_chunk().expect("a hash is longer than a label"))
}

/// What the holder of a link certificate may do at a switchboard.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct LinkRights {
    /// May sign certificates for others and register mailboxes.
    pub may_issue: bool,
    /// May revoke certificates.
    pub may_revoke: bool,
}

impl LinkRights {
    const MAY_ISSUE: u8 = 0x01;
    const MAY_REVOKE: u8 = 0x02;

    fn to_bits(self) -> u8 {
        (u8::from(self.may_issue) * Self::MAY_ISSUE) | (u8::from(self.may_revoke) * Self::MAY_REVOKE)
    }

    fn from_bits(bits: u8) -> Self {
        Self { may_issue: bits & Self::MAY_ISSUE != 0, may_revoke: bits & Self::MAY_REVOKE != 0 }
    }
}

/// A statement by V or an issuer that a link key belongs to the swarm.
///
/// Kept as the bytes that are signed. One that was parsed is only well-formed: [`LinkChain::verify`] says whether it is true.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct LinkCertificate([u8; Self::LENGTH]);

impl LinkCertificate {
    /// Bytes of a certificate.
    pub const LENGTH: usize = SIGNATURE + SIGNATURE_LENGTH;

    /// Issues a certificate as the founder.
    pub fn issue_by_routing(routing: &RoutingKeyPair, holder: LinkKey, expiry: u64, rights: LinkRights) -> Self {
        let v = routing.public();
        Self::issue(&routing.0, v, holder, expiry, rights)
    }

    /// Issues a certificate as an admin whose own certificate V signed with may-issue. It carries no rights.
    pub fn issue_by_link(issuer: &LinkKeyPair, own: &LinkCertificate, holder: LinkKey, expiry: u64) -> Self {
        Self::issue(&issuer.0, own.routing(), holder, expiry, LinkRights::default())
    }

    fn issue(issuer: &SigningKey, routing: RoutingKey, holder: LinkKey, expiry: u64, rights: LinkRights) -> Self {
        let mut bytes = [0; Self::LENGTH];
        bytes[0] = VERSION;
        bytes[ROUTING..HOLDER].copy_from_slice(routing.as_bytes());
        bytes[HOLDER..ISSUER].copy_from_slice(holder.as_bytes());
        bytes[ISSUER..EXPIRY].copy_from_slice(&issuer.public());
        bytes[EXPIRY..RIGHTS].copy_from_slice(&expiry.to_be_bytes());
        bytes[RIGHTS] = rights.to_bits();
        let signature = issuer.sign(PURPOSE, &[&bytes[..SIGNATURE]]);
        bytes[SIGNATURE..].copy_from_slice(&signature);
        Self(bytes)
    }

    /// Takes a certificate from the wire, unverified.
    pub fn from_bytes(bytes: [u8; Self::LENGTH]) -> Result<Self, Error> {
        match bytes[0] {
            VERSION => Ok(Self(bytes)),
            got => Err(Error::Version { what: "link certificate", expected: VERSION, got }),
        }
    }

    /// Returns the certificate as it is on the wire.
    pub fn to_bytes(&self) -> [u8; Self::LENGTH] {
        self.0
    }

    /// The swarm.
    pub fn routing(&self) -> RoutingKey {
        RoutingKey::from_bytes(self.field(ROUTING))
    }

    /// Whose certificate this is.
    pub fn holder(&self) -> LinkKey {
        LinkKey::from_bytes(self.field(HOLDER))
    }

    /// Unix milliseconds after which it no longer counts.
    pub fn expiry(&self) -> u64 {
        u64::from_be_bytes(self.field(EXPIRY))
    }

    fn issuer(&self) -> [u8; 32] {
        self.field(ISSUER)
    }

    fn rights(&self) -> LinkRights {
        LinkRights::from_bits(self.0[RIGHTS])
    }

    fn is_signed_by_its_issuer(&self) -> bool {
        signature::verify(&self.issuer(), PURPOSE, &[&self.0[..SIGNATURE]], &self.field(SIGNATURE))
    }

    fn field<const N: usize>(&self, start: usize) -> [u8; N] {
        self.0[start..start + N].try_into().expect("the layout lies within the certificate")
    }
}

impl std::fmt::Debug for LinkCertificate {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter
            .debug_struct("LinkCertificate")
            .field("routing", &self.routing())
            .field("holder", &self.holder())
            .field("issuer", &LinkKey::from_bytes(self.issuer()))
            .field("expiry", &self.expiry())
            .field("rights", &self.rights())
            .finish()
    }
}

/// What a good chain proves about its holder.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct VerifiedLink {
    /// The swarm.
    pub routing: RoutingKey,
    /// The holder.
    pub link_key: LinkKey,
    /// None unless V itself signed the holder's certificate.
    pub rights: LinkRights,
    /// Unix milliseconds: the earliest expiry in the chain.
    pub expiry: u64,
}

/// The holder's certificate and, when its issuer isn't V, the issuer's.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LinkChain(Vec<LinkCertificate>);

impl LinkChain {
    /// Joins certificates, the holder's first.
    ///
    /// # Errors
    /// [`Error::Malformed`] unless there are one or two.
    pub fn new(certificates: Vec<LinkCertificate>) -> Result<Self, Error> {
        match certificates.len() {
            1..=limits::LINK_CHAIN => Ok(Self(certificates)),
            _ => Err(Error::Malformed { what: "link certificate chain" }),
        }
    }

    /// Reads a chain as it stands in an admission reply: 170 or 340 bytes.
    pub fn decode(bytes: &[u8]) -> Result<Self, Error> {
        let mut reader = Reader::new(bytes);
        let chain = Self::read(&mut reader, bytes.len() / LinkCertificate::LENGTH)?;
        reader.finish("link certificate chain")?;
        Ok(chain)
    }

    /// Returns the certificates one after the other.
    pub fn encode(&self) -> Vec<u8> {
        self.0.iter().flat_map(LinkCertificate::to_bytes).collect()
    }

    /// Returns the holder's certificate.
    pub fn holder(&self) -> &LinkCertificate {
        &self.0[0]
    }

    /// Returns the certificates, the holder's first.
    pub fn certificates(&self) -> &[LinkCertificate] {
        &self.0
    }

    /// Checks that the chain leads from its holder to V, and that it is in force at `now_wall` (Unix milliseconds).
    ///
    /// # Errors
    /// [`AuthError::Chain`] or, for a chain that is genuine but too old, [`AuthError::Expired`].
    pub fn verify(&self, now_wall: u64) -> Result<VerifiedLink, AuthError> {
        let leaf = self.holder();
        let rights = match self.0.get(1) {
            None => leaf.rights(),
            Some(issuer) => {
                check_issuer(issuer, leaf)?;
                LinkRights::default()
            }
        };
        let root = self.0.last().unwrap_or(leaf);
        if root.issuer() != *root.routing().as_bytes() {
            return Err(AuthError::Chain { what: "it doesn't end at V" });
        }
        if !self.0.iter().all(LinkCertificate::is_signed_by_its_issuer) {
            return Err(AuthError::Chain { what: "a signature is wrong" });
        }
        let expiry = leaf.expiry().min(root.expiry());
        if now_wall > expiry.saturating_add(limits::CLOCK_TOLERANCE.as_millis() as u64) {
            return Err(AuthError::Expired { expiry, now: now_wall });
        }
        Ok(VerifiedLink { routing: leaf.routing(), link_key: leaf.holder(), rights, expiry })
    }

    pub(super) fn read(reader: &mut Reader<'_>, count: usize) -> Result<Self, Error> {
        if count > limits::LINK_CHAIN {
            return Err(Error::Malformed { what: "link certificate chain" });
        }
        let certificates = (0..count).map(|_| LinkCertificate::from_bytes(reader.array()?)).collect::<Result<_, _>>()?;
        Self::new(certificates)
    }
}

impl From<LinkCertificate> for LinkChain {
    /// A certificate that V signed is a chain by itself.
    fn from(certificate: LinkCertificate) -> Self {
        Self(vec![certificate])
    }
}

fn check_issuer(issuer: &LinkCertificate, leaf: &LinkCertificate) -> Result<(), AuthError> {
    if issuer.routing() != leaf.routing() {
        return Err(AuthError::Chain { what: "its certificates belong to different swarms" });
    }
    if *issuer.holder().as_bytes() != leaf.issuer() {
        return Err(AuthError::Chain { what: "the second certificate isn't the issuer's" });
    }
    if !issuer.rights().may_issue {
        return Err(AuthError::Chain { what: "the issuer may not issue" });
    }
    Ok(())
}
