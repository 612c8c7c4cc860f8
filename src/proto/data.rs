//! A Data frame: hop-by-hop prefix, end-to-end outer header, sealed rest (PROTOCOL.md section 3.4).
//!
//! A frame stays in the buffer in which it came. The switchboard reads the header, writes the source and passes the same bytes
//! on; an agent opens the sealed part in place.

use bytes::{Buf, Bytes, BytesMut};

use super::codec::Reader;
use super::frame::kind;
use super::{Error, Label, Lane, SessionId, VERSION, limits};

const SOURCE: usize = 1;
const HEADER: usize = SOURCE + Label::LENGTH;

const PARKABLE: u8 = 0x01;
const EARLY: u8 = 0x02;

/// What the sealed part of a Data frame is. The switchboard passes all of them on alike.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum OuterKind {
    /// A frame of an established session.
    Session,
    /// An envelope.
    Envelope,
    /// An envelope that opens a session.
    Opener,
    /// The answer to an opener.
    Answer,
    /// The receiver doesn't know the session. Not authenticated.
    CannotOpen,
    /// A ticket holder asks to be admitted.
    AdmissionRequest,
    /// The answer to that.
    AdmissionReply,
    /// A step of an admission by code.
    Pairing,
    /// A kind that this build doesn't know; 8 is reserved for groups.
    Unknown(u8),
}

impl OuterKind {
    fn to_byte(self) -> u8 {
        match self {
            Self::Session => 1,
            Self::Envelope => 2,
            Self::Opener => 3,
            Self::Answer => 4,
            Self::CannotOpen => 5,
            Self::AdmissionRequest => 6,
            Self::AdmissionReply => 7,
            Self::Pairing => 9,
            Self::Unknown(byte) => byte,
        }
    }

    fn from_byte(byte: u8) -> Self {
        match byte {
            1 => Self::Session,
            2 => Self::Envelope,
            3 => Self::Opener,
            4 => Self::Answer,
            5 => Self::CannotOpen,
            6 => Self::AdmissionRequest,
            7 => Self::AdmissionReply,
            9 => Self::Pairing,
            byte => Self::Unknown(byte),
        }
    }
}

/// The end-to-end header: authenticated by the seal, forwarded byte for byte.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct OuterHeader {
    pub kind: OuterKind,
    pub lane: Lane,
    /// May wait in a mailbox for an absent receiver.
    pub parkable: bool,
    /// Sealed under the early key of a session that isn't answered yet.
    pub early: bool,
    pub destination: Label,
    /// The session, or the exchange of an admission.
    pub session: SessionId,
    /// Which key of the lane, counted in rekeys.
    pub generation: u32,
    /// The counter of the seal; in an envelope the id of the prekey.
    pub counter: u64,
    /// Unix milliseconds on the sender's clock, 0 if it doesn't expire.
    pub expiry: u64,
}

impl OuterHeader {
    /// Bytes of the header.
    pub const LENGTH: usize = 56;

    /// Returns the header as it is on the wire.
    pub fn encode(&self) -> [u8; Self::LENGTH] {
        let mut bytes = [0; Self::LENGTH];
        bytes[0] = VERSION;
        bytes[1] = self.kind.to_byte();
        bytes[2] = self.lane as u8;
        bytes[3] = (u8::from(self.parkable) * PARKABLE) | (u8::from(self.early) * EARLY);
        bytes[4..20].copy_from_slice(self.destination.as_bytes());
        bytes[20..36].copy_from_slice(self.session.as_bytes());
        bytes[36..40].copy_from_slice(&self.generation.to_be_bytes());
        bytes[40..48].copy_from_slice(&self.counter.to_be_bytes());
        bytes[48..].copy_from_slice(&self.expiry.to_be_bytes());
        bytes
    }

    /// Reads a header of exactly [`OuterHeader::LENGTH`] bytes.
    ///
    /// Flags that version 1 doesn't know are lost: what authenticates a frame is [`DataFrame::header_bytes`], not this encoded
    /// again.
    pub fn decode(bytes: &[u8]) -> Result<Self, Error> {
        let mut reader = Reader::new(bytes);
        match reader.u8()? {
            VERSION => {}
            got => return Err(Error::Version { what: "outer header", expected: VERSION, got }),
        }
        let kind = OuterKind::from_byte(reader.u8()?);
        let lane = Lane::try_from(reader.u8()?)?;
        let flags = reader.u8()?;
        let header = Self {
            kind,
            lane,
            parkable: flags & PARKABLE != 0,
            early: flags & EARLY != 0,
            destination: Label::from_bytes(reader.array()?),
            session: SessionId::from_bytes(reader.array()?),
            generation: reader.u32()?,
            counter: reader.u64()?,
            expiry: reader.u64()?,
        };
        reader.finish("outer header")?;
        Ok(header)
    }
}

/// One Data frame, in its buffer.
#[derive(Clone, PartialEq, Eq)]
pub struct DataFrame {
    /// At least [`DataFrame::HEADER_LEN`] bytes, whose header is `header`.
    bytes: Bytes,
    header: OuterHeader,
}

impl DataFrame {
    /// The first byte of a Data frame.
    pub const KIND: u8 = kind::DATA;

    /// Bytes before the sealed part: kind, source and outer header.
    pub const HEADER_LEN: usize = HEADER + OuterHeader::LENGTH;

    /// Reads a frame without copying it.
    ///
    /// That a control frame keeps to [`limits::CONTROL_FRAME`] is left to the switchboard, which answers it with a Bounce.
    pub fn parse(bytes: Bytes) -> Result<Self, Error> {
        if bytes.len() > limits::FRAME {
            return Err(Error::TooLarge { what: "frame", limit: limits::FRAME, got: bytes.len() });
        }
        let mut reader = Reader::new(&bytes);
        if reader.u8()? != kind::DATA {
            return Err(Error::Malformed { what: "Data" });
        }
        reader.take(Label::LENGTH)?;
        let header = OuterHeader::decode(reader.take(OuterHeader::LENGTH)?)?;
        Ok(Self { bytes, header })
    }

    /// Builds a frame around what is sealed already, with no source.
    ///
    /// # Panics
    /// If the frame would be larger than [`limits::FRAME`].
    pub fn new(header: OuterHeader, sealed: &[u8]) -> Self {
        let length = Self::HEADER_LEN + sealed.len();
        assert!(length <= limits::FRAME, "a frame of {length} bytes");
        let mut bytes = BytesMut::with_capacity(length);
        bytes.extend_from_slice(&[kind::DATA]);
        bytes.extend_from_slice(Label::ZERO.as_bytes());
        bytes.extend_from_slice(&header.encode());
        bytes.extend_from_slice(sealed);
        Self { bytes: bytes.freeze(), header }
    }

    /// Completes a frame that was sealed in its own buffer, behind room for [`DataFrame::HEADER_LEN`] bytes; with no source.
    ///
    /// # Panics
    /// If there is no such room, or the frame is larger than [`limits::FRAME`].
    pub fn around(header: OuterHeader, mut buffer: BytesMut) -> Self {
        assert!(buffer.len() <= limits::FRAME, "a frame of {} bytes", buffer.len());
        buffer[0] = kind::DATA;
        buffer[SOURCE..HEADER].copy_from_slice(Label::ZERO.as_bytes());
        buffer[HEADER..Self::HEADER_LEN].copy_from_slice(&header.encode());
        Self { bytes: buffer.freeze(), header }
    }

    /// Returns who the switchboard says has sent it: a hint, zero on the way there.
    pub fn source(&self) -> Label {
        let mut source = [0; Label::LENGTH];
        source.copy_from_slice(&self.bytes[SOURCE..HEADER]);
        Label::from_bytes(source)
    }

    /// Returns the outer header, parsed.
    pub fn header(&self) -> &OuterHeader {
        &self.header
    }

    /// Returns the outer header as it came, which is what the seal authenticates.
    pub fn header_bytes(&self) -> &[u8] {
        &self.bytes[HEADER..Self::HEADER_LEN]
    }

    /// Returns the sealed part.
    pub fn sealed(&self) -> &[u8] {
        &self.bytes[Self::HEADER_LEN..]
    }

    /// Returns the sealed part in the same buffer, without copying it.
    pub fn into_sealed(self) -> Bytes {
        let mut bytes = self.bytes;
        bytes.advance(Self::HEADER_LEN);
        bytes
    }

    /// Returns the whole frame.
    pub fn bytes(&self) -> &Bytes {
        &self.bytes
    }

    /// Returns the whole frame.
    pub fn into_bytes(self) -> Bytes {
        self.bytes
    }

    /// Writes the source: in place if nobody else holds the buffer, else into a copy.
    pub fn with_source(self, source: Label) -> Self {
        let mut bytes = self.bytes.try_into_mut().unwrap_or_else(|shared| BytesMut::from(&shared[..]));
        bytes[SOURCE..HEADER].copy_from_slice(source.as_bytes());
        Self { bytes: bytes.freeze(), header: self.header }
    }
}

impl std::fmt::Debug for DataFrame {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter
            .debug_struct("DataFrame")
            .field("source", &self.source())
            .field("header", &self.header)
            .field("sealed", &self.sealed().len())
            .finish()
    }
}
