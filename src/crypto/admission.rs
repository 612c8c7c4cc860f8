//! How the holder of a ticket is admitted: one request, one reply (PROTOCOL.md section 8.2).
//!
//! ```text
//! joiner                                             issuer
//!   seal_request  -- under the ticket's secret -->     open_request, (decides, certifies)
//!   open_reply    <-- to the joiner's key and the ticket's secret --  seal_reply
//!   AdmissionReply::verify
//! ```
//!
//! The ticket's secret keeps the relay out of both. The reply is also sealed to the joiner's long-term key, so that of two holders of one ticket
//! neither reads the other's certificates, and to this request, so that it can't be shown again for another.

use super::{
    CertificateChain, Error, Identity, KeyPair, Member, PublicKey, Random, Ticket, TicketKeys,
    aead::NONCE_LEN,
    certificate::{CertificateError, validate_name},
    hpke::{Psk, Receiver, Sender},
    identity,
    kdf::Secret,
    padding,
    seal::key_header,
    xwing::PUBLIC_KEY_LEN,
};
use crate::proto::{
    self, AgentId, DataFrame, Label, LinkChain, LinkKey, OuterKind, RunId, SessionId, VERSION, VerifiedLink,
    codec::{self, Reader, Writer},
    signature::{self, SIGNATURE_LENGTH},
};

/// Longest text of a reply, in bytes.
pub const MAX_TEXT: usize = 512;

const REQUEST_PURPOSE: &str = "admission request";
const REPLY_PURPOSE: &str = "admission reply";
const REPLY_INFO: &[u8] = b"a2alinker/1 admission reply";
const PSK_ID: &[u8] = b"a2alinker/1 admission";

const STATUS: u16 = 1;
const CHAIN: u16 = 2;
const LINK_CHAIN: u16 = 3;
const CARD: u16 = 4;
const ISSUER: u16 = 5;
/// Bytes of a field of a reply before its value.
const FIELD_HEAD: usize = 6;

/// What a joiner says of itself.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AdmissionRequest {
    pub identity: AgentId,
    pub link_key: LinkKey,
    pub run: RunId,
    pub name: String,
    pub long_term: PublicKey,
    pub prekey: PublicKey,
    /// The joiner's clock, in Unix milliseconds.
    pub wall: u64,
}

impl AdmissionRequest {
    fn encode(&self) -> Writer {
        let mut writer = Writer::with_capacity(3_072);
        writer
            .u8(VERSION)
            .raw(self.identity.as_bytes())
            .raw(self.link_key.as_bytes())
            .raw(self.run.as_bytes())
            .text8(&self.name)
            .raw(self.long_term.as_bytes())
            .raw(self.prekey.as_bytes())
            .u64(self.wall)
            .extensions();
        writer
    }

    fn decode(bytes: &[u8]) -> Result<Self, Error> {
        const WHAT: &str = "admission request";
        let mut reader = Reader::new(bytes);
        match reader.u8()? {
            VERSION => {}
            got => return Err(Error::Proto(proto::Error::Version { what: WHAT, expected: VERSION, got })),
        }
        let request = Self {
            identity: AgentId::from_bytes(reader.array()?),
            link_key: LinkKey::from_bytes(reader.array()?),
            run: RunId::from_bytes(reader.array()?),
            name: reader.text8("name")?.to_owned(),
            long_term: PublicKey::from_bytes(reader.take(PUBLIC_KEY_LEN)?)?,
            prekey: PublicKey::from_bytes(reader.take(PUBLIC_KEY_LEN)?)?,
            wall: reader.u64()?,
        };
        reader.extensions()?;
        reader.finish(WHAT)?;
        validate_name(&request.name)?;
        Ok(request)
    }
}

/// What binds a reply to its request. The joiner keeps it until the reply comes, the issuer until it has answered.
pub struct Exchange {
    id: SessionId,
    mailbox: Label,
    psk: Secret,
    request_hash: [u8; 32],
}

impl Exchange {
    pub(super) fn new(keys: TicketKeys, request: &DataFrame) -> Self {
        Self {
            id: request.header().session,
            mailbox: keys.mailbox,
            psk: keys.psk,
            request_hash: signature::hash(&[request.sealed()]),
        }
    }

    /// Returns the id in the outer headers of request and reply.
    pub fn id(&self) -> SessionId {
        self.id
    }

    fn psk_id(&self) -> Vec<u8> {
        [PSK_ID, self.mailbox.as_bytes()].concat()
    }

    fn signed_reply(&self, enc: &[u8], fields: &[u8]) -> Vec<u8> {
        [self.id.as_bytes(), &self.request_hash[..], enc, fields].concat()
    }
}

/// Seals a request to the mailbox of `ticket`, under a fresh exchange id. `expiry` is Unix milliseconds.
///
/// # Errors
/// [`Error::Certificate`] for a name that can't be certified, or if the request isn't `identity`'s.
pub fn seal_request(
    ticket: &Ticket,
    identity: &Identity,
    request: &AdmissionRequest,
    expiry: u64,
    random: &mut Random,
) -> Result<(Exchange, DataFrame), Error> {
    validate_name(&request.name)?;
    if request.identity != identity.id() {
        return Err(Error::Certificate(CertificateError::Mismatch { what: "identity" }));
    }
    let keys = ticket.keys();
    let header = key_header(OuterKind::AdmissionRequest, keys.mailbox, SessionId::from_bytes(random.array()), expiry);
    let mut body = request.encode();
    let signed = signed_request(ticket, &keys, header.session, body.as_slice());
    body.raw(&identity.sign(REQUEST_PURPOSE, &signed));
    let nonce: [u8; NONCE_LEN] = random.array();
    let mut padded = padding::pad(body.as_slice())?;
    let tag = keys.request.seal(nonce, &header.encode(), &mut padded)?;
    let frame = DataFrame::new(header, &[&nonce[..], &padded, &tag].concat());
    Ok((Exchange::new(keys, &frame), frame))
}

/// Opens a request that came to the mailbox of `ticket`.
///
/// # Errors
/// [`Error::Open`] if it isn't authentic; [`Error::Padding`], [`Error::Proto`], [`Error::PublicKey`] or [`Error::Certificate`] if what was
/// sealed is malformed.
pub fn open_request(ticket: &Ticket, frame: &DataFrame) -> Result<(Exchange, AdmissionRequest), Error> {
    let keys = ticket.keys();
    let header = frame.header();
    if header.kind != OuterKind::AdmissionRequest || header.destination != keys.mailbox {
        return Err(Error::Open);
    }
    let (nonce, ciphertext) = frame.sealed().split_first_chunk().ok_or(Error::Open)?;
    let mut buffer = ciphertext.to_vec();
    let padded = keys.request.open(*nonce, frame.header_bytes(), &mut buffer)?;
    let content = padding::unpad(padded)?;
    let (body, signature) = content.split_last_chunk::<SIGNATURE_LENGTH>().ok_or(Error::Open)?;
    let request = AdmissionRequest::decode(body)?;
    let signed = signed_request(ticket, &keys, header.session, body);
    identity::verify(request.identity.as_bytes(), REQUEST_PURPOSE, &signed, signature)?;
    Ok((Exchange::new(keys, frame), request))
}

fn signed_request(ticket: &Ticket, keys: &TicketKeys, exchange: SessionId, body: &[u8]) -> Vec<u8> {
    [&ticket.founder.as_bytes()[..], ticket.routing.as_bytes(), keys.mailbox.as_bytes(), exchange.as_bytes(), body].concat()
}

/// How a request was decided.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum AdmissionStatus {
    Admitted,
    /// The ticket has been used as often as it may.
    UsedUp,
    Expired,
    Revoked,
    /// The name is taken, or the issuer doesn't want this agent.
    Refused,
    /// Worth another try, later.
    Busy,
    /// A status that this build doesn't know.
    Unknown(u8),
}

impl AdmissionStatus {
    fn to_byte(self) -> u8 {
        match self {
            Self::Admitted => 0,
            Self::UsedUp => 1,
            Self::Expired => 2,
            Self::Revoked => 3,
            Self::Refused => 4,
            Self::Busy => 5,
            Self::Unknown(byte) => byte,
        }
    }

    fn from_byte(byte: u8) -> Self {
        match byte {
            0 => Self::Admitted,
            1 => Self::UsedUp,
            2 => Self::Expired,
            3 => Self::Revoked,
            4 => Self::Refused,
            5 => Self::Busy,
            byte => Self::Unknown(byte),
        }
    }
}

/// What an issuer answers.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AdmissionReply {
    pub status: AdmissionStatus,
    /// For a person; at most 512 bytes are sent.
    pub text: String,
    /// The joiner's certificate chain, if it is admitted.
    pub chain: Option<CertificateChain>,
    /// The joiner's link certificate chain, if it is admitted.
    pub link_chain: Option<LinkChain>,
    /// Cards of members, the issuer's first.
    pub cards: Vec<Vec<u8>>,
    /// Who signed the reply.
    pub issuer: AgentId,
}

/// What a good reply proves.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Membership {
    pub member: Member,
    pub link: VerifiedLink,
}

impl AdmissionReply {
    /// Checks that an admission makes the joiner a member of the ticket's swarm, under the name and keys that it asked for.
    ///
    /// That the issuer is a member who may admit is still to be checked, in its card.
    ///
    /// # Errors
    /// [`Error::Certificate`] or [`Error::Link`] if a chain is missing, not genuine or about somebody else.
    pub fn verify(&self, ticket: &Ticket, request: &AdmissionRequest, now_wall: u64) -> Result<Membership, Error> {
        let missing = |what| CertificateError::Chain { what };
        let chain = self.chain.as_ref().ok_or(missing("the reply holds no certificate"))?;
        let link_chain = self.link_chain.as_ref().ok_or(missing("the reply holds no link certificate"))?;
        let member = chain.verify(&ticket.founder, now_wall)?;
        let link = link_chain.verify(now_wall)?;
        let matches = [
            (member.identity == request.identity, "identity"),
            (member.name == request.name, "name"),
            (member.long_term_hash == request.long_term.hash(), "long-term key"),
            (link.link_key == request.link_key, "link key"),
            (link.routing == ticket.routing, "routing key"),
        ];
        match matches.into_iter().find(|(same, _)| !same) {
            Some((_, what)) => Err(Error::Certificate(CertificateError::Mismatch { what })),
            None => Ok(Membership { member, link }),
        }
    }

    /// Writes the fields. Cards that no longer fit are left out: the joiner gets them when it meets the members.
    fn encode(&self) -> Writer {
        let text = codec::cut(&self.text, MAX_TEXT);
        let mut status = Writer::new();
        status.u8(self.status.to_byte()).text16(text);
        let mut writer = Writer::with_capacity(padding::MAX_CONTENT);
        writer.u16(STATUS).bytes32(status.as_slice());
        writer.u16(ISSUER).bytes32(self.issuer.as_bytes());
        if let Some(chain) = &self.chain {
            writer.u16(CHAIN).bytes32(&chain.encode());
        }
        if let Some(chain) = &self.link_chain {
            writer.u16(LINK_CHAIN).bytes32(&chain.encode());
        }
        for card in &self.cards {
            let len = writer.as_slice().len() + FIELD_HEAD + card.len() + SIGNATURE_LENGTH;
            if len > padding::MAX_CONTENT {
                break;
            }
            writer.u16(CARD).bytes32(card);
        }
        writer
    }

    fn decode(bytes: &[u8]) -> Result<Self, proto::Error> {
        let malformed = proto::Error::Malformed { what: "admission reply" };
        let (mut status, mut issuer, mut chain, mut link_chain) = (None, None, None, None);
        let mut cards = Vec::new();
        let mut reader = Reader::new(bytes);
        while !reader.is_empty() {
            let kind = reader.u16()?;
            let value = reader.bytes32("admission reply field", padding::MAX_CONTENT)?;
            let repeated = match kind {
                STATUS => status.replace(read_status(value)?).is_some(),
                CHAIN => chain.replace(CertificateChain::decode(value)?).is_some(),
                LINK_CHAIN => link_chain.replace(LinkChain::decode(value)?).is_some(),
                ISSUER => issuer.replace(AgentId::from_bytes(value.try_into().map_err(|_| malformed)?)).is_some(),
                CARD => {
                    cards.push(value.to_vec());
                    false
                }
                _ => false,
            };
            if repeated {
                return Err(malformed);
            }
        }
        let (status, text) = status.ok_or(malformed)?;
        Ok(Self { status, text, chain, link_chain, cards, issuer: issuer.ok_or(malformed)? })
    }
}

fn read_status(value: &[u8]) -> Result<(AdmissionStatus, String), proto::Error> {
    let mut reader = Reader::new(value);
    let status = AdmissionStatus::from_byte(reader.u8()?);
    let text = reader.text16("admission text", MAX_TEXT)?.to_owned();
    reader.finish("admission status")?;
    Ok((status, text))
}

/// Seals a reply to the joiner's long-term key. `destination` is the source of its request, `expiry` is Unix milliseconds.
///
/// # Errors
/// [`Error::Certificate`] if `reply.issuer` isn't `issuer`.
pub fn seal_reply(
    exchange: &Exchange,
    issuer: &Identity,
    long_term: &PublicKey,
    destination: Label,
    reply: &AdmissionReply,
    expiry: u64,
    random: &mut Random,
) -> Result<DataFrame, Error> {
    if reply.issuer != issuer.id() {
        return Err(Error::Certificate(CertificateError::Mismatch { what: "identity" }));
    }
    let header = key_header(OuterKind::AdmissionReply, destination, exchange.id, expiry);
    let psk_id = exchange.psk_id();
    let psk = Psk { key: &exchange.psk, id: &psk_id };
    let context = Sender::setup(long_term, Some(psk), REPLY_INFO, random)?;
    let mut body = reply.encode();
    let signature = issuer.sign(REPLY_PURPOSE, &exchange.signed_reply(context.enc(), body.as_slice()));
    body.raw(&signature);
    let sealed = context.seal(&header.encode(), body.as_slice())?;
    Ok(DataFrame::new(header, &sealed))
}

/// Opens the reply to a request. On an error the joiner goes on waiting.
///
/// # Errors
/// [`Error::Open`] if it isn't authentic, or isn't the reply to this request; [`Error::Padding`] or [`Error::Proto`] if what was sealed is
/// malformed.
pub fn open_reply(exchange: &Exchange, long_term: &KeyPair, frame: &DataFrame) -> Result<AdmissionReply, Error> {
    let header = frame.header();
    if header.kind != OuterKind::AdmissionReply || header.session != exchange.id {
        return Err(Error::Open);
    }
    let psk_id = exchange.psk_id();
    let psk = Psk { key: &exchange.psk, id: &psk_id };
    let mut context = Receiver::setup(long_term, Some(psk), REPLY_INFO, frame.sealed())?;
    let padded = context.open(frame.header_bytes())?;
    let content = padding::unpad(&padded)?;
    let (fields, signature) = content.split_last_chunk::<SIGNATURE_LENGTH>().ok_or(Error::Open)?;
    let reply = AdmissionReply::decode(fields)?;
    let signed = exchange.signed_reply(context.enc(), fields);
    identity::verify(reply.issuer.as_bytes(), REPLY_PURPOSE, &signed, signature)?;
    Ok(reply)
}
