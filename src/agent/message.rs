//! Messages as they lie inside a seal: a header that only the two agents see, then the body.
//!
//! A codec and nothing else: what a kind causes, when a message is handed over and what its numbers mean is decided by those who hold the
//! header. It stands here and not in `proto`, so that the switchboard is built without it. Decoding copies the few variable fields and
//! slices the body out of the frame.
//!
//! Specification: PROTOCOL.md section 7.1.

use std::borrow::Borrow;
use std::fmt;
use std::ops::Deref;

use bytes::{BufMut, Bytes, BytesMut};

use crate::proto::codec::{Reader, cut};
use crate::proto::{Error, MessageId, ThreadId};

#[cfg(test)]
mod tests;

/// Bytes of a header without any of its optional fields.
pub const HEADER_LEN: usize = 46;

/// Largest `headers` map of a message, in bytes (PROTOCOL 7.1).
pub const HEADERS_LIMIT: usize = 1024;

/// Largest skill name, type name or short reason, in bytes: what a `u8` length can say.
pub const SHORT_TEXT_LIMIT: usize = u8::MAX as usize;

/// Largest text of a refusal that this side writes, in bytes. Chosen so that a refusal never needs chunks; a handler's whole exception
/// text seldom reaches it.
pub const REFUSAL_TEXT_LIMIT: usize = 8 * 1024;

const REPLY_TO: u16 = 0x0001;
const THREAD: u16 = 0x0002;
const PROVENANCE: u16 = 0x0004;
const HEADERS: u16 = 0x0008;
const EXTENSIONS: u16 = 0x0010;
const SKILL: u16 = 0x0020;
const WANTS_DONE: u16 = 0x0100;
const MAYBE_REPEATED: u16 = 0x0200;
const FREE: u16 = 0x0400;

/// What a message is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum MessageKind {
    Plain,
    Request,
    Answer,
    Progress,
    Refusal,
    Cancel,
    Gap,
    Card,
    Describe,
    Definition,
    TicketRecord,
    Roster,
    RenewalRequest,
    Renewal,
    /// A piece of a large body, whose head is in reply_to.
    Part,
    /// The end of a large body.
    End,
    /// How much of a large body its reader has taken.
    Taken,
    /// A kind of a later version. It is refused with [`RefusalCode::Unsupported`].
    Unknown(u8),
}

impl MessageKind {
    /// Returns the class whose credit a first transmission of this kind costs.
    pub fn credit_class(self) -> CreditClass {
        match self {
            Self::Plain => CreditClass::Plain,
            Self::Request => CreditClass::Request,
            Self::Part => CreditClass::Part,
            Self::Answer
            | Self::Progress
            | Self::Refusal
            | Self::Cancel
            | Self::Gap
            | Self::Card
            | Self::Describe
            | Self::Definition
            | Self::TicketRecord
            | Self::Roster
            | Self::RenewalRequest
            | Self::Renewal
            | Self::End
            | Self::Taken
            | Self::Unknown(_) => CreditClass::Other,
        }
    }
}

impl From<u8> for MessageKind {
    fn from(code: u8) -> Self {
        match code {
            1 => Self::Plain,
            2 => Self::Request,
            3 => Self::Answer,
            4 => Self::Progress,
            5 => Self::Refusal,
            6 => Self::Cancel,
            7 => Self::Gap,
            8 => Self::Card,
            9 => Self::Describe,
            10 => Self::Definition,
            11 => Self::TicketRecord,
            12 => Self::Roster,
            13 => Self::RenewalRequest,
            14 => Self::Renewal,
            15 => Self::Part,
            16 => Self::End,
            17 => Self::Taken,
            code => Self::Unknown(code),
        }
    }
}

impl From<MessageKind> for u8 {
    fn from(kind: MessageKind) -> u8 {
        match kind {
            MessageKind::Plain => 1,
            MessageKind::Request => 2,
            MessageKind::Answer => 3,
            MessageKind::Progress => 4,
            MessageKind::Refusal => 5,
            MessageKind::Cancel => 6,
            MessageKind::Gap => 7,
            MessageKind::Card => 8,
            MessageKind::Describe => 9,
            MessageKind::Definition => 10,
            MessageKind::TicketRecord => 11,
            MessageKind::Roster => 12,
            MessageKind::RenewalRequest => 13,
            MessageKind::Renewal => 14,
            MessageKind::Part => 15,
            MessageKind::End => 16,
            MessageKind::Taken => 17,
            MessageKind::Unknown(code) => code,
        }
    }
}

/// The classes that credit is counted in: a full inbox stops plain messages without stopping answers.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum CreditClass {
    /// What the application iterates over.
    Plain = 0,
    /// What occupies a handler.
    Request = 1,
    /// Answers and everything that keeps the peers themselves going.
    Other = 2,
    /// Pieces of large bodies, until the application has taken them.
    Part = 3,
}

impl CreditClass {
    pub const ALL: [Self; 4] = [Self::Plain, Self::Request, Self::Other, Self::Part];

    /// Returns the place of this class in a table of all classes.
    pub fn index(self) -> usize {
        self as usize
    }
}

impl TryFrom<u8> for CreditClass {
    type Error = Error;

    fn try_from(code: u8) -> Result<Self, Error> {
        match code {
            0 => Ok(Self::Plain),
            1 => Ok(Self::Request),
            2 => Ok(Self::Other),
            3 => Ok(Self::Part),
            _ => Err(Error::Malformed { what: "credit class" }),
        }
    }
}

/// The body of a gap: what the message in whose place it stands had cost its sender.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Lost {
    pub class: CreditClass,
    /// Its encoded length.
    pub cost: u32,
    /// So many numbers before it won't come either: an earlier run of the receiver has had what they stood for.
    pub before: u32,
}

impl Lost {
    pub fn encode(self) -> Bytes {
        let mut out = BytesMut::with_capacity(9);
        out.put_u8(self.class as u8);
        out.put_u32(self.cost);
        if self.before > 0 {
            out.put_u32(self.before);
        }
        out.freeze()
    }

    /// Reads the body of a gap.
    ///
    /// # Errors
    /// `Malformed` by the peer's fault.
    pub fn decode(body: &[u8]) -> Result<Self, Error> {
        let mut reader = Reader::new(body);
        let mut lost = Self { class: reader.u8()?.try_into()?, cost: reader.u32()?, before: 0 };
        if !reader.is_empty() {
            lost.before = reader.u32()?;
        }
        reader.finish("gap")?;
        Ok(lost)
    }
}

/// How the bytes of a body are to be read.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum ContentType {
    None,
    Bytes,
    Text,
    MessagePack,
    /// The head of a large body, which follows in parts.
    Large,
    Unknown(u8),
}

impl From<u8> for ContentType {
    fn from(code: u8) -> Self {
        match code {
            0 => Self::None,
            1 => Self::Bytes,
            2 => Self::Text,
            3 => Self::MessagePack,
            4 => Self::Large,
            code => Self::Unknown(code),
        }
    }
}

impl From<ContentType> for u8 {
    fn from(content_type: ContentType) -> u8 {
        match content_type {
            ContentType::None => 0,
            ContentType::Bytes => 1,
            ContentType::Text => 2,
            ContentType::MessagePack => 3,
            ContentType::Large => 4,
            ContentType::Unknown(code) => code,
        }
    }
}

/// The name of a skill: at most 255 bytes of UTF-8.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct SkillName(Box<str>);

impl SkillName {
    /// Takes a name.
    ///
    /// # Errors
    /// `TooLarge` beyond [`SHORT_TEXT_LIMIT`].
    pub fn new(name: &str) -> Result<Self, Error> {
        within("skill name", name.len(), SHORT_TEXT_LIMIT)?;
        Ok(Self(name.into()))
    }
}

impl Deref for SkillName {
    type Target = str;

    fn deref(&self) -> &str {
        &self.0
    }
}

impl Borrow<str> for SkillName {
    fn borrow(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for SkillName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(&self.0, f)
    }
}

impl fmt::Display for SkillName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// The application's own map beside a body: MessagePack, at most [`HEADERS_LIMIT`] bytes, not looked into here.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Headers(Bytes);

impl Headers {
    /// Takes an encoded map; no bytes at all mean that there is none.
    ///
    /// # Errors
    /// `TooLarge` beyond [`HEADERS_LIMIT`].
    pub fn new(map: Bytes) -> Result<Self, Error> {
        within("message headers", map.len(), HEADERS_LIMIT)?;
        Ok(Self(map))
    }

    /// The same in a buffer of its own.
    pub fn detached(&self) -> Self {
        Self(Bytes::copy_from_slice(&self.0))
    }
}

impl Deref for Headers {
    type Target = Bytes;

    fn deref(&self) -> &Bytes {
        &self.0
    }
}

/// The sealed header of one message.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MessageHeader {
    pub id: MessageId,
    pub kind: MessageKind,
    pub content_type: ContentType,
    /// The sender waits for the outcome, not only for the arrival.
    pub wants_done: bool,
    /// An earlier run of the receiver may have had this message.
    pub maybe_repeated: bool,
    /// Its number was given without credit: it was parked, or was unsettled when the receiver's run changed.
    pub free: bool,
    /// Unix milliseconds on the sender's clock; nothing is handed over after it.
    pub expiry: u64,
    /// Milliseconds: the message was sent at `expiry` minus this.
    pub ttl_ms: u32,
    /// How many messages lie between this one and the one that began it all.
    pub depth: u16,
    /// How many messages this thread may still cause; 0 says that none was set.
    pub budget: u32,
    /// The fencing number of a call; of two attempts the higher one counts.
    pub attempt: u32,
    /// This transport number minus that of the message before it in the same thread and lane; 0 if there is none.
    pub after: u32,
    pub reply_to: Option<MessageId>,
    pub thread: Option<ThreadId>,
    /// Hash of the provenance token that this message is sent under.
    pub provenance: Option<[u8; 32]>,
    pub skill: Option<SkillName>,
    pub headers: Headers,
}

impl MessageHeader {
    /// Makes a header without optional fields; the rest is set by assignment.
    pub fn new(id: MessageId, kind: MessageKind, expiry: u64, ttl_ms: u32) -> Self {
        Self {
            id,
            kind,
            content_type: ContentType::None,
            wants_done: false,
            maybe_repeated: false,
            free: false,
            expiry,
            ttl_ms,
            depth: 0,
            budget: 0,
            attempt: 0,
            after: 0,
            reply_to: None,
            thread: None,
            provenance: None,
            skill: None,
            headers: Headers::default(),
        }
    }

    /// Returns how many bytes [`encode_into`](Self::encode_into) writes.
    pub fn encoded_len(&self) -> usize {
        HEADER_LEN
            + self.reply_to.map_or(0, |_| 16)
            + self.thread.map_or(0, |_| 16)
            + self.provenance.map_or(0, |_| 32)
            + self.skill.as_ref().map_or(0, |skill| 1 + skill.len())
            + if self.headers.is_empty() { 0 } else { 2 + self.headers.len() }
    }

    /// Appends the header; the body follows it without a length.
    pub fn encode_into(&self, out: &mut BytesMut) {
        out.reserve(self.encoded_len());
        out.put_slice(self.id.as_bytes());
        out.put_u8(self.kind.into());
        out.put_u8(self.content_type.into());
        out.put_u16(self.flags());
        out.put_u64(self.expiry);
        out.put_u32(self.ttl_ms);
        out.put_u16(self.depth);
        out.put_u32(self.budget);
        out.put_u32(self.attempt);
        out.put_u32(self.after);
        if let Some(id) = &self.reply_to {
            out.put_slice(id.as_bytes());
        }
        if let Some(thread) = &self.thread {
            out.put_slice(thread.as_bytes());
        }
        if let Some(hash) = &self.provenance {
            out.put_slice(hash);
        }
        if let Some(skill) = &self.skill {
            put_text8(out, skill);
        }
        if !self.headers.is_empty() {
            out.put_u16(self.headers.len() as u16);
            out.put_slice(&self.headers);
        }
    }

    fn flags(&self) -> u16 {
        let flag = |is_set: bool, bit: u16| if is_set { bit } else { 0 };
        flag(self.reply_to.is_some(), REPLY_TO)
            | flag(self.thread.is_some(), THREAD)
            | flag(self.provenance.is_some(), PROVENANCE)
            | flag(self.skill.is_some(), SKILL)
            | flag(!self.headers.is_empty(), HEADERS)
            | flag(self.wants_done, WANTS_DONE)
            | flag(self.maybe_repeated, MAYBE_REPEATED)
            | flag(self.free, FREE)
    }

    /// Splits an encoded message into its header and its body, which stays in the same buffer.
    ///
    /// # Errors
    /// `Malformed` or `TooLarge` by the peer's fault: too short, or a field beyond its limit.
    pub fn decode(message: Bytes) -> Result<(Self, Bytes), Error> {
        let mut reader = Reader::new(&message);
        let id = MessageId::from_bytes(reader.array()?);
        let kind = reader.u8()?.into();
        let content_type = reader.u8()?.into();
        let flags = reader.u16()?;
        let has = |bit| flags & bit != 0;
        let mut header = Self {
            content_type,
            wants_done: has(WANTS_DONE),
            maybe_repeated: has(MAYBE_REPEATED),
            free: has(FREE),
            ..Self::new(id, kind, reader.u64()?, reader.u32()?)
        };
        header.depth = reader.u16()?;
        header.budget = reader.u32()?;
        header.attempt = reader.u32()?;
        header.after = reader.u32()?;
        if has(REPLY_TO) {
            header.reply_to = Some(MessageId::from_bytes(reader.array()?));
        }
        if has(THREAD) {
            header.thread = Some(ThreadId::from_bytes(reader.array()?));
        }
        if has(PROVENANCE) {
            header.provenance = Some(reader.array()?);
        }
        if has(SKILL) {
            header.skill = Some(SkillName::new(reader.text8("skill name")?)?);
        }
        if has(HEADERS) {
            header.headers = Headers(message.slice_ref(reader.bytes16("message headers", HEADERS_LIMIT)?));
        }
        if has(EXTENSIONS) {
            reader.extensions()?;
        }
        let body = message.slice_ref(reader.rest());
        Ok((header, body))
    }
}

/// Why a request or message was not done.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum RefusalCode {
    /// The application said no.
    Application,
    Unsupported,
    Expired,
    Busy,
    SkillUnknown,
    BadArguments,
    NotPermitted,
    Cancelled,
    HandlerError,
    /// The handler stopped showing life.
    Lapsed,
    TooDeep,
    ResultNotConvertible,
    Unknown(u8),
}

impl From<u8> for RefusalCode {
    fn from(code: u8) -> Self {
        match code {
            1 => Self::Application,
            2 => Self::Unsupported,
            3 => Self::Expired,
            4 => Self::Busy,
            5 => Self::SkillUnknown,
            6 => Self::BadArguments,
            7 => Self::NotPermitted,
            8 => Self::Cancelled,
            9 => Self::HandlerError,
            10 => Self::Lapsed,
            11 => Self::TooDeep,
            12 => Self::ResultNotConvertible,
            code => Self::Unknown(code),
        }
    }
}

impl From<RefusalCode> for u8 {
    fn from(code: RefusalCode) -> u8 {
        match code {
            RefusalCode::Application => 1,
            RefusalCode::Unsupported => 2,
            RefusalCode::Expired => 3,
            RefusalCode::Busy => 4,
            RefusalCode::SkillUnknown => 5,
            RefusalCode::BadArguments => 6,
            RefusalCode::NotPermitted => 7,
            RefusalCode::Cancelled => 8,
            RefusalCode::HandlerError => 9,
            RefusalCode::Lapsed => 10,
            RefusalCode::TooDeep => 11,
            RefusalCode::ResultNotConvertible => 12,
            RefusalCode::Unknown(code) => code,
        }
    }
}

/// The body of a message of kind refusal.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Refusal {
    pub code: RefusalCode,
    /// Milliseconds after which another try makes sense; 0 says nothing.
    pub retry_after_ms: u32,
    /// The type of the error that a handler raised, otherwise empty.
    pub type_name: String,
    pub text: String,
}

impl Refusal {
    /// Makes a refusal that names no error type and no time to wait.
    pub fn new(code: RefusalCode, text: impl Into<String>) -> Self {
        Self { code, retry_after_ms: 0, type_name: String::new(), text: text.into() }
    }

    /// Encodes the refusal; texts beyond [`SHORT_TEXT_LIMIT`] and [`REFUSAL_TEXT_LIMIT`] are cut at a character.
    pub fn encode(&self) -> Bytes {
        let type_name = cut(&self.type_name, SHORT_TEXT_LIMIT);
        let text = cut(&self.text, REFUSAL_TEXT_LIMIT);
        let mut out = BytesMut::with_capacity(8 + type_name.len() + text.len());
        out.put_u8(self.code.into());
        out.put_u32(self.retry_after_ms);
        put_text8(&mut out, type_name);
        out.put_u16(text.len() as u16);
        out.put_slice(text.as_bytes());
        out.freeze()
    }

    /// Reads the body of a refusal.
    ///
    /// # Errors
    /// `Malformed` by the peer's fault.
    pub fn decode(body: &[u8]) -> Result<Self, Error> {
        let mut reader = Reader::new(body);
        let refusal = Self {
            code: reader.u8()?.into(),
            retry_after_ms: reader.u32()?,
            type_name: reader.text8("refusal type")?.to_owned(),
            text: reader.text16("refusal text", u16::MAX as usize)?.to_owned(),
        };
        reader.finish("refusal")?;
        Ok(refusal)
    }
}

/// Appends a text that is known to be short, or was clipped.
pub(super) fn put_text8(out: &mut BytesMut, text: &str) {
    debug_assert!(text.len() <= SHORT_TEXT_LIMIT);
    out.put_u8(text.len() as u8);
    out.put_slice(text.as_bytes());
}

fn within(what: &'static str, got: usize, limit: usize) -> Result<(), Error> {
    if got > limit { Err(Error::TooLarge { what, limit, got }) } else { Ok(()) }
}
