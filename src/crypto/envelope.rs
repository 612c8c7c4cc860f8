//! The envelope: one message, signed by its sender and sealed to a receiver's prekey (PROTOCOL.md section 6.1).
//!
//! ```text
//! outer header | enc | HPKE.Seal(sender, receiver, H(prekey), run, kind, payload, signature)
//! ```
//!
//! Nothing outside names the sender. The signature stands inside and covers everything, `enc` and outer header included, so an envelope can't
//! be sealed again to somebody else, nor be given another destination or lifetime.

use super::{
    Error, Identity, KeyPair, PublicKey, Random,
    hpke::{Receiver, Sender},
    identity,
    kdf::Secret,
    padding,
};
use crate::proto::{
    self, AgentId, DataFrame, Label, Lane, OuterHeader, OuterKind, RunId, SessionId, VERSION,
    codec::{Reader, Writer},
    signature::{SIGNATURE_LENGTH, hash},
};

const PURPOSE: &str = "envelope";
const INFO: &[u8] = b"a2alinker/1 envelope";
const EXPORT: &str = "a2alinker/1 opener export";

/// What is in an envelope.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum PayloadKind {
    /// The opener of a session.
    Opener,
    /// Messages that wait at the switchboard for their receiver.
    Parked,
    /// A kind that this build doesn't know.
    Unknown(u8),
}

impl PayloadKind {
    fn to_byte(self) -> u8 {
        match self {
            Self::Opener => 1,
            Self::Parked => 2,
            Self::Unknown(byte) => byte,
        }
    }

    fn from_byte(byte: u8) -> Self {
        match byte {
            1 => Self::Opener,
            2 => Self::Parked,
            byte => Self::Unknown(byte),
        }
    }
}

/// To whom an envelope goes whose receiver isn't there, and how.
pub struct Addressee<'a> {
    pub receiver: AgentId,
    /// The run of the receiver that the sender knows of.
    pub run: RunId,
    pub prekey: &'a PublicKey,
    pub destination: Label,
    pub lane: Lane,
    /// When it is worth nothing any more, on the switchboard's clock.
    pub expiry: u64,
}

/// Seals messages to wait for their receiver at the switchboard.
///
/// # Errors
/// [`Error::TooLarge`] for a payload that no frame holds.
pub fn seal_parked(sender: &Identity, to: &Addressee<'_>, payload: &[u8], random: &mut Random) -> Result<DataFrame, Error> {
    let header = OuterHeader {
        kind: OuterKind::Envelope,
        lane: to.lane,
        parkable: true,
        early: false,
        destination: to.destination,
        session: SessionId::from_bytes(random.array()),
        generation: 0,
        counter: 0,
        expiry: to.expiry,
    };
    let correspondents = Correspondents { sender, receiver: to.receiver, receiver_run: to.run, prekey: to.prekey };
    seal(&correspondents, header, PayloadKind::Parked, payload, random).map(|(frame, _)| frame)
}

/// From whom, to whom.
pub(super) struct Correspondents<'a> {
    pub(super) sender: &'a Identity,
    pub(super) receiver: AgentId,
    /// The run of the receiver that the sender knows of, or zero.
    pub(super) receiver_run: RunId,
    pub(super) prekey: &'a PublicKey,
}

/// Seals an envelope. `header` is completed with the prekey's id. Also returns the secret that a session starts from.
pub(super) fn seal(
    correspondents: &Correspondents<'_>,
    mut header: OuterHeader,
    kind: PayloadKind,
    payload: &[u8],
    random: &mut Random,
) -> Result<(DataFrame, Secret), Error> {
    let Correspondents { sender, receiver, receiver_run, prekey } = correspondents;
    padding::check(payload.len())?;
    header.generation = 0;
    header.counter = prekey.id();
    let header_bytes = header.encode();
    let context = Sender::setup(prekey, None, INFO, random)?;
    let body =
        Body { sender: sender.id(), receiver: *receiver, prekey_hash: prekey.hash(), receiver_run: *receiver_run, kind, payload };
    let signature = sender.sign(PURPOSE, &body.signed(context.enc(), &header_bytes));
    let export = context.export(EXPORT);
    let sealed = context.seal(&header_bytes, &body.encode(&signature))?;
    Ok((DataFrame::new(header, &sealed), export))
}

/// An envelope that was opened, and whose sender is who it says.
pub struct OpenedEnvelope {
    /// Who signed it.
    pub sender: AgentId,
    /// The run of the receiver that the sender knew of, or zero.
    pub receiver_run: RunId,
    pub kind: PayloadKind,
    pub payload: Vec<u8>,
    pub header: OuterHeader,
    /// SHA-256 of outer header and sealed part.
    pub(super) hash: [u8; 32],
    pub(super) export: Secret,
}

/// Opens an envelope that is sealed to `prekey` for the agent `me`.
///
/// The key is chosen by the header's `counter`, which is the prekey's [`PublicKey::id`]. Whether the sender is a member, and whether the
/// envelope came before, is not known here.
///
/// # Errors
/// [`Error::Open`] if it isn't authentic or not for this receiver; [`Error::Padding`] or [`Error::Proto`] if what was sealed is malformed.
pub fn open(frame: &DataFrame, prekey: &KeyPair, me: AgentId) -> Result<OpenedEnvelope, Error> {
    let header = *frame.header();
    let kind_fits = matches!(header.kind, OuterKind::Envelope | OuterKind::Opener);
    if !kind_fits || header.generation != 0 || header.counter != prekey.public().id() {
        return Err(Error::Open);
    }
    let mut context = Receiver::setup(prekey, None, INFO, frame.sealed())?;
    let padded = context.open(frame.header_bytes())?;
    let (body, signature) = Body::decode(padding::unpad(&padded)?)?;
    if body.receiver != me || body.prekey_hash != prekey.public().hash() {
        return Err(Error::Open);
    }
    let signed = body.signed(context.enc(), frame.header_bytes());
    identity::verify(body.sender.as_bytes(), PURPOSE, &signed, &signature)?;
    if (header.kind == OuterKind::Opener) != (body.kind == PayloadKind::Opener) {
        return Err(Error::Proto(proto::Error::Malformed { what: "payload kind" }));
    }
    Ok(OpenedEnvelope {
        sender: body.sender,
        receiver_run: body.receiver_run,
        kind: body.kind,
        payload: body.payload.to_vec(),
        header,
        hash: frame_hash(frame),
        export: context.export(EXPORT),
    })
}

/// Hashes the end-to-end part of a frame: outer header and sealed part.
pub(super) fn frame_hash(frame: &DataFrame) -> [u8; 32] {
    hash(&[frame.header_bytes(), frame.sealed()])
}

struct Body<'a> {
    sender: AgentId,
    receiver: AgentId,
    prekey_hash: [u8; 32],
    receiver_run: RunId,
    kind: PayloadKind,
    payload: &'a [u8],
}

impl<'a> Body<'a> {
    fn encode(&self, signature: &[u8; SIGNATURE_LENGTH]) -> Vec<u8> {
        let mut writer = Writer::with_capacity(self.payload.len() + 256);
        writer
            .raw(self.sender.as_bytes())
            .raw(self.receiver.as_bytes())
            .raw(&self.prekey_hash)
            .raw(self.receiver_run.as_bytes())
            .u8(self.kind.to_byte())
            .bytes32(self.payload)
            .raw(signature);
        writer.into_vec()
    }

    fn decode(bytes: &'a [u8]) -> Result<(Self, [u8; SIGNATURE_LENGTH]), proto::Error> {
        let mut reader = Reader::new(bytes);
        let body = Self {
            sender: AgentId::from_bytes(reader.array()?),
            receiver: AgentId::from_bytes(reader.array()?),
            prekey_hash: reader.array()?,
            receiver_run: RunId::from_bytes(reader.array()?),
            kind: PayloadKind::from_byte(reader.u8()?),
            payload: reader.bytes32("envelope payload", padding::MAX_CONTENT)?,
        };
        let signature = reader.array()?;
        reader.finish("envelope")?;
        Ok((body, signature))
    }

    fn signed(&self, enc: &[u8], header: &[u8]) -> Vec<u8> {
        let mut writer = Writer::with_capacity(self.payload.len() + enc.len() + 256);
        writer
            .u8(VERSION)
            .raw(self.sender.as_bytes())
            .raw(self.receiver.as_bytes())
            .raw(&self.prekey_hash)
            .raw(enc)
            .raw(header)
            .raw(self.receiver_run.as_bytes())
            .u8(self.kind.to_byte())
            .raw(self.payload);
        writer.into_vec()
    }
}
