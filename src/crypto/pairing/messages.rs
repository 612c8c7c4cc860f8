//! The four frames of pairing, and what they carry.

use super::super::Error;
use super::super::seal::key_header;
use super::super::ticket::MAX_ADDRESSES;
use crate::proto::codec::{Reader, Writer};
use crate::proto::{self, DataFrame, FounderId, Label, OuterKind, RoutingKey, SessionId};

/// Bytes of a SPAKE2 message: a letter for the side, and an element of the group.
pub const ELEMENT_LEN: usize = 33;
/// Bytes of a confirmation.
pub const PROOF_LEN: usize = 32;

pub(super) type Element = [u8; ELEMENT_LEN];
pub(super) type Proof = [u8; PROOF_LEN];

const ASK: u8 = 1;
const TELL: u8 = 2;
const CONFIRM: u8 = 3;
const OFFER: u8 = 4;

const WHAT: &str = "pairing frame";

/// One frame of an exchange. Nothing in it is secret; what is sealed in an Offer is sealed already.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Message {
    Ask([u8; ELEMENT_LEN]),
    Tell([u8; ELEMENT_LEN]),
    Confirm {
        seen: Seen,
        confirmation: [u8; PROOF_LEN],
    },
    Offer {
        status: PairingStatus,
        /// There if the status is one that is proven.
        proof: Option<[u8; PROOF_LEN]>,
        /// There if the status is [`PairingStatus::Paired`].
        sealed: Vec<u8>,
    },
}

/// What a joiner says of the certificate that its switchboard showed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Seen {
    /// Its own roots, or a pin that it was given, vouch for the certificate.
    pub vouched: bool,
    /// Hash of the certificate's key; zero on a link without TLS.
    pub pin: [u8; 32],
}

/// How an exchange ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum PairingStatus {
    Paired,
    /// The words were wrong. Not authenticated, as no secret is shared.
    WrongCode,
    /// What the joiner saw isn't the switchboard's certificate.
    Certificate,
    /// The code was used up, expired, revoked or burnt before. Not authenticated.
    Closed,
    /// A status that this build doesn't know.
    Unknown(u8),
}

impl PairingStatus {
    /// Says whether the inviter has to prove it.
    pub fn is_proven(self) -> bool {
        matches!(self, Self::Paired | Self::Certificate)
    }

    fn to_byte(self) -> u8 {
        match self {
            Self::Paired => 0,
            Self::WrongCode => 1,
            Self::Certificate => 2,
            Self::Closed => 3,
            Self::Unknown(byte) => byte,
        }
    }

    fn from_byte(byte: u8) -> Self {
        match byte {
            0 => Self::Paired,
            1 => Self::WrongCode,
            2 => Self::Certificate,
            3 => Self::Closed,
            byte => Self::Unknown(byte),
        }
    }
}

impl Message {
    /// Reads what a frame carries.
    ///
    /// # Errors
    /// [`Error::Open`] for a frame of another kind, [`Error::Proto`] for a malformed one.
    pub fn read(frame: &DataFrame) -> Result<Self, Error> {
        if frame.header().kind != OuterKind::Pairing {
            return Err(Error::Open);
        }
        let mut reader = Reader::new(frame.sealed());
        let message = match reader.u8()? {
            ASK => Self::Ask(reader.array()?),
            TELL => Self::Tell(reader.array()?),
            CONFIRM => {
                let vouched = match reader.u8()? {
                    0 => false,
                    1 => true,
                    _ => return Err(Error::Proto(proto::Error::Malformed { what: WHAT })),
                };
                Self::Confirm { seen: Seen { vouched, pin: reader.array()? }, confirmation: reader.array()? }
            }
            OFFER => {
                let status = PairingStatus::from_byte(reader.u8()?);
                let proof = if status.is_proven() { Some(reader.array()?) } else { None };
                let sealed = if status == PairingStatus::Paired { reader.rest().to_vec() } else { Vec::new() };
                if let PairingStatus::Unknown(_) = status {
                    // What a later version puts there is its own.
                    reader.rest();
                }
                Self::Offer { status, proof, sealed }
            }
            _ => return Err(Error::Proto(proto::Error::Malformed { what: WHAT })),
        };
        reader.finish(WHAT)?;
        Ok(message)
    }

    pub(super) fn frame(&self, destination: Label, exchange: SessionId) -> DataFrame {
        const NEVER: u64 = 0;
        DataFrame::new(key_header(OuterKind::Pairing, destination, exchange, NEVER), &self.encode())
    }

    fn encode(&self) -> Vec<u8> {
        match self {
            Self::Ask(element) => [&[ASK], &element[..]].concat(),
            Self::Tell(element) => [&[TELL], &element[..]].concat(),
            Self::Confirm { seen, confirmation } => [&proven_by_joiner(seen)[..], confirmation].concat(),
            Self::Offer { status, proof, sealed } => {
                [&[OFFER, status.to_byte()][..], proof.as_ref().map_or(&[][..], |proof| &proof[..]), sealed].concat()
            }
        }
    }
}

/// What confirmation A covers.
pub(super) fn proven_by_joiner(seen: &Seen) -> Vec<u8> {
    [&[CONFIRM, u8::from(seen.vouched)], &seen.pin[..]].concat()
}

/// What confirmation B covers.
pub(super) fn proven_by_inviter(status: PairingStatus, confirmation: &Proof, sealed: &[u8]) -> Vec<u8> {
    [&[OFFER, status.to_byte()], &confirmation[..], sealed].concat()
}

/// What a joiner has to know beside the secret: with it the offer is a ticket.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Offer {
    pub founder: FounderId,
    pub routing: RoutingKey,
    /// Unix milliseconds.
    pub expiry: u64,
    /// At most eight.
    pub addresses: Vec<String>,
}

impl Offer {
    pub(super) fn encode(&self) -> Vec<u8> {
        let mut writer = Writer::new();
        let addresses = &self.addresses[..self.addresses.len().min(MAX_ADDRESSES)];
        writer.raw(self.founder.as_bytes()).raw(self.routing.as_bytes()).u64(self.expiry).u8(addresses.len() as u8);
        for address in addresses {
            writer.text8(address);
        }
        writer.extensions();
        writer.into_vec()
    }

    pub(super) fn decode(bytes: &[u8]) -> Result<Self, proto::Error> {
        let mut reader = Reader::new(bytes);
        let founder = FounderId::from_bytes(reader.array()?);
        let routing = RoutingKey::from_bytes(reader.array()?);
        let expiry = reader.u64()?;
        let count = usize::from(reader.u8()?);
        if count > MAX_ADDRESSES {
            return Err(proto::Error::Malformed { what: "addresses" });
        }
        let addresses = (0..count).map(|_| reader.text8("address").map(str::to_owned)).collect::<Result<_, _>>()?;
        reader.extensions()?;
        reader.finish("offer")?;
        Ok(Self { founder, routing, expiry, addresses })
    }
}
