//! The ticket: an invitation as a text that is pasted, and the keys that follow from its secret (PROTOCOL.md section 8.1).

use std::{fmt, str::FromStr};

use super::{
    Random,
    aead::AeadKey,
    kdf::{Prk, Secret},
};
use crate::proto::{
    self, FounderId, Label, RoutingKey, VERSION, base32,
    codec::{Reader, Writer},
    signature,
};

/// What the text of a ticket begins with.
pub const PREFIX: &str = "a2alt_";
/// Addresses of switchboards in one ticket, at most.
pub const MAX_ADDRESSES: usize = 8;

/// Bytes of a ticket, at most: eight long addresses, and room for extensions to come.
const MAX_TICKET: usize = 4_096;
const CHECKSUM_LEN: usize = 4;
const COUNTED: u8 = 0x01;

/// Why a text isn't a usable ticket.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum TicketError {
    /// It doesn't begin as tickets do.
    #[error("this is not a ticket: a ticket begins with {PREFIX}")]
    NotATicket,
    /// A character is missing, added or changed.
    #[error("the ticket is damaged: a part of it is missing or changed; copy it again, whole")]
    Damaged,
    /// The ticket is whole, but made by a later version.
    #[error("the ticket has version {got}, this program reads version {VERSION}: upgrade it")]
    Version { got: u8 },
    /// A ticket holds 1 to 8 addresses of 1 to 255 bytes each.
    #[error("a ticket holds 1 to {MAX_ADDRESSES} addresses of 1 to 255 bytes")]
    Addresses,
}

/// An invitation: who holds it may ask to be admitted.
///
/// [`Display`](fmt::Display) gives the text with its secret; `Debug` doesn't show it.
#[derive(Clone)]
pub struct Ticket {
    /// Known to its issuer alone, which counts how often it is used.
    pub counted: bool,
    pub founder: FounderId,
    pub routing: RoutingKey,
    /// Unix milliseconds.
    pub expiry: u64,
    /// Where the swarm is linked: `wss://host:port#pin`. Only a ticket that came of a code may have none.
    pub addresses: Vec<String>,
    pub(super) secret: Secret,
}

impl Ticket {
    /// Makes a ticket with a fresh secret.
    ///
    /// # Errors
    /// [`TicketError::Addresses`]
    pub fn new(
        counted: bool,
        founder: FounderId,
        routing: RoutingKey,
        expiry: u64,
        addresses: Vec<String>,
        random: &mut Random,
    ) -> Result<Self, TicketError> {
        let lengths_fit = addresses.iter().all(|address| (1..=usize::from(u8::MAX)).contains(&address.len()));
        if !lengths_fit || !(1..=MAX_ADDRESSES).contains(&addresses.len()) {
            return Err(TicketError::Addresses);
        }
        Ok(Self { counted, founder, routing, expiry, addresses, secret: Secret::new(random.array()) })
    }

    /// Derives the keys that holder and issuers share.
    pub fn keys(&self) -> TicketKeys {
        let prk = Prk::extract(b"a2alinker/1 ticket", &*self.secret);
        TicketKeys {
            mailbox: Label::from_bytes(*prk.expand(&[b"a2alinker/1 mailbox"])),
            request: AeadKey::new(&prk.expand(&[b"a2alinker/1 request key"])),
            psk: prk.expand(&[b"a2alinker/1 reply psk"]),
        }
    }

    /// Returns the ticket as it is in a ticket record. Secret.
    pub fn to_bytes(&self) -> Vec<u8> {
        let mut writer = Writer::new();
        writer
            .u8(VERSION)
            .u8(u8::from(self.counted) * COUNTED)
            .raw(&*self.secret)
            .raw(self.founder.as_bytes())
            .raw(self.routing.as_bytes())
            .u64(self.expiry)
            .u8(self.addresses.len() as u8);
        for address in &self.addresses {
            writer.text8(address);
        }
        writer.extensions();
        let checksum = checksum(writer.as_slice());
        writer.raw(&checksum);
        writer.into_vec()
    }

    /// Reads a ticket as it is in a ticket record.
    ///
    /// # Errors
    /// [`TicketError::Damaged`] or [`TicketError::Version`]
    pub fn from_bytes(bytes: &[u8]) -> Result<Self, TicketError> {
        let (fields, sum) = bytes.split_last_chunk::<CHECKSUM_LEN>().ok_or(TicketError::Damaged)?;
        if checksum(fields) != *sum || bytes.len() > MAX_TICKET {
            return Err(TicketError::Damaged);
        }
        match fields.first() {
            Some(&VERSION) => Self::read(fields).map_err(|_| TicketError::Damaged),
            Some(&got) => Err(TicketError::Version { got }),
            None => Err(TicketError::Damaged),
        }
    }

    fn read(fields: &[u8]) -> Result<Self, proto::Error> {
        let mut reader = Reader::new(fields);
        reader.u8()?;
        let counted = reader.u8()? & COUNTED != 0;
        let secret = Secret::new(reader.array()?);
        let founder = FounderId::from_bytes(reader.array()?);
        let routing = RoutingKey::from_bytes(reader.array()?);
        let expiry = reader.u64()?;
        let count = usize::from(reader.u8()?);
        if !(1..=MAX_ADDRESSES).contains(&count) {
            return Err(proto::Error::Malformed { what: "addresses" });
        }
        let addresses = (0..count)
            .map(|_| match reader.text8("address")? {
                "" => Err(proto::Error::Malformed { what: "address" }),
                address => Ok(address.to_owned()),
            })
            .collect::<Result<_, _>>()?;
        reader.extensions()?;
        reader.finish("ticket")?;
        Ok(Self { counted, founder, routing, expiry, addresses, secret })
    }
}

impl fmt::Display for Ticket {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(PREFIX)?;
        formatter.write_str(&base32::encode(&self.to_bytes()))
    }
}

impl FromStr for Ticket {
    type Err = TicketError;

    /// Reads the text of a ticket. White space in it counts for nothing: it may have been wrapped on its way.
    fn from_str(text: &str) -> Result<Self, TicketError> {
        let text: String = text.split_whitespace().collect();
        let encoded = text.strip_prefix(PREFIX).ok_or(TicketError::NotATicket)?;
        Self::from_bytes(&base32::decode(encoded).ok_or(TicketError::Damaged)?)
    }
}

impl fmt::Debug for Ticket {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter
            .debug_struct("Ticket")
            .field("counted", &self.counted)
            .field("founder", &self.founder)
            .field("routing", &self.routing)
            .field("expiry", &self.expiry)
            .field("addresses", &self.addresses)
            .finish_non_exhaustive()
    }
}

/// What follows from the secret of a ticket.
pub struct TicketKeys {
    pub(super) mailbox: Label,
    pub(super) request: AeadKey,
    pub(super) psk: Secret,
}

impl TicketKeys {
    /// Returns the label that the issuer registers, and to which the request is sent.
    pub fn mailbox(&self) -> Label {
        self.mailbox
    }
}

fn checksum(fields: &[u8]) -> [u8; CHECKSUM_LEN] {
    let [a, b, c, d, ..] = signature::hash(&[fields]);
    [a, b, c, d]
}
