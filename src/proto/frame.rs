//! The frames of a link, one enum per direction (PROTOCOL.md section 3): encode, encoded length, decode; no state.
//!
//! A kind that isn't known, or that the other direction owns, decodes to `Unknown`: a receiver skips and counts it. Codes that
//! aren't known decode to `Unknown` of their enum. Everything else that isn't as the page says is an [`Error`].

use bytes::Bytes;

use super::codec::{Reader, Writer, cut};
use super::hello::{BindingKind, Challenge, Hello};
use super::{DataFrame, Error, Label, limits};

/// The first byte of a frame.
pub(super) mod kind {
    pub const CHALLENGE: u8 = 0x01;
    pub const HELLO: u8 = 0x02;
    pub const WELCOME: u8 = 0x03;
    pub const REJECT: u8 = 0x04;
    pub const DATA: u8 = 0x10;
    pub const REGISTER: u8 = 0x11;
    pub const UNREGISTER: u8 = 0x12;
    pub const GOODBYE: u8 = 0x13;
    pub const LINK_ACK: u8 = 0x14;
    pub const OPEN_SLOT: u8 = 0x16;
    pub const CLOSE_SLOT: u8 = 0x17;
    pub const LABELS: u8 = 0x20;
    pub const BOUNCE: u8 = 0x21;
    pub const ACCEPTED: u8 = 0x22;
    pub const REPLACED: u8 = 0x23;
    pub const REGISTERED: u8 = 0x24;
    pub const SLOT_OPENED: u8 = 0x25;
}

/// What a side can do beyond version 1.0, one bit each. In force is what both sides name.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Features(pub u64);

impl Features {
    pub const NONE: Self = Self(0);
    pub const RESUME: Self = Self(1);
    pub const PARKING: Self = Self(1 << 1);
    pub const RESERVATIONS: Self = Self(1 << 2);
    pub const TOPICS: Self = Self(1 << 3);

    /// Returns what both sides name.
    pub fn in_force(self, other: Self) -> Self {
        Self(self.0 & other.0)
    }
}

/// Defines an enum over a code of one byte that keeps codes which it doesn't know.
macro_rules! codes {
    ($($(#[$doc:meta])* $name:ident { $($(#[$variant_doc:meta])* $variant:ident = $code:literal,)* })*) => {$(
        $(#[$doc])*
        #[derive(Debug, Clone, Copy, PartialEq, Eq)]
        pub enum $name {
            $($(#[$variant_doc])* $variant,)*
            /// A code that this build doesn't know.
            Unknown(u8),
        }

        impl $name {
            /// Returns the code as it is on the wire.
            pub fn to_byte(self) -> u8 {
                match self {
                    $(Self::$variant => $code,)*
                    Self::Unknown(code) => code,
                }
            }

            /// Returns what `code` stands for.
            pub fn from_byte(code: u8) -> Self {
                match code {
                    $($code => Self::$variant,)*
                    code => Self::Unknown(code),
                }
            }
        }
    )*};
}

codes! {
    /// Why a link is refused.
    RejectCode {
        Version = 1,
        Authentication = 2,
        CertificateExpired = 3,
        CertificateChain = 4,
        /// Nobody who is linked has registered the mailbox that a stranger asks for, or holds the slot that a guest asks for.
        UnknownMailbox = 5,
        Full = 6,
        /// Too many attempts.
        Rate = 7,
        ShuttingDown = 8,
        Malformed = 9,
        /// No Hello within [`limits::HELLO_TIMEOUT`].
        TooSlow = 10,
        Binding = 11,
    }

    /// Why a Data frame was not passed on.
    BounceReason {
        /// No such label is linked.
        Absent = 1,
        /// The receiver's queue is full.
        Full = 2,
        NotAllowed = 3,
        Expired = 4,
        Malformed = 5,
        /// Larger than [`limits::CONTROL_FRAME`] in lane 0.
        ControlTooLarge = 6,
        /// The receiver isn't linked, and nothing more can wait for it.
        MailboxFull = 7,
    }

    /// Why a side ends the link.
    GoodbyeReason {
        Closing = 0,
        ShuttingDown = 1,
    }

    /// What became of a Register.
    RegisterStatus {
        Done = 0,
        Full = 1,
        NotAllowed = 2,
    }

    /// What became of an OpenSlot.
    SlotStatus {
        Done = 0,
        /// As many slots as the link, its swarm or the switchboard may have are open.
        Full = 1,
        NotAllowed = 2,
        /// Somebody else has, or has just had, the slot that was asked for.
        Taken = 3,
    }
}

/// The link is up.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Welcome {
    pub version: u8,
    /// What is in force on this link.
    pub features: Features,
    /// The switchboard's clock, Unix milliseconds.
    pub wall: u64,
    pub binding: BindingKind,
    pub ping_seconds: u16,
    pub grace_seconds: u16,
    /// To be shown on the next link, at most [`limits::RESUME_TOKEN`] bytes; empty if there is no resume.
    pub resume_token: Bytes,
    /// The link goes on from an earlier one, on which so many of the client's Data frames were received; both directions count on.
    pub resumed: Option<u64>,
    /// Names the switchboard's life: another one has forgotten what it accepted. Random.
    pub boot: Option<[u8; 16]>,
}

/// The link is refused, and closed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Reject {
    pub code: RejectCode,
    /// 0 if the switchboard doesn't say.
    pub retry_after_ms: u32,
    /// One sentence for a person; encoding cuts it to [`limits::REJECT_TEXT`] bytes.
    pub text: String,
}

/// Which labels of the swarm came and went; together at most [`limits::LABELS_PER_FRAME`].
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct LabelChanges {
    /// Whether all labels that aren't in `came` are to be forgotten.
    pub forget_others: bool,
    /// Whether what was under way to the labels in `came` is kept, as their links were resumed.
    pub resumed: bool,
    pub came: Vec<Label>,
    pub went: Vec<Label>,
}

/// A Data frame could not be passed on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Bounce {
    /// Which of the Data frames sent on this link, counted from 0.
    pub number: u64,
    pub reason: BounceReason,
    /// 0 if the switchboard doesn't say.
    pub retry_after_ms: u32,
}

/// What a client sends.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ClientFrame {
    Hello(Hello),
    Data(DataFrame),
    /// Opens a mailbox for strangers until `expiry`, Unix milliseconds.
    Register {
        mailbox: Label,
        expiry: u64,
    },
    Unregister {
        mailbox: Label,
    },
    Goodbye(GoodbyeReason),
    /// So many Data frames have been received: the switchboard needn't keep them for a resume.
    LinkAck {
        received: u64,
    },
    /// Opens a slot for guests until `expiry`, Unix milliseconds, at most [`limits::SLOT_TIME`] ahead.
    OpenSlot {
        /// Which one; 0 for any.
        slot: u32,
        expiry: u64,
    },
    CloseSlot {
        slot: u32,
    },
    /// Not sent: it would be its kind and nothing else.
    Unknown {
        kind: u8,
    },
}

impl ClientFrame {
    /// Reads a frame. Data frames stay in the buffer of `frame`.
    pub fn decode(frame: Bytes) -> Result<Self, Error> {
        match first_byte(&frame)? {
            kind::HELLO => Hello::decode(frame).map(Self::Hello),
            kind::DATA => DataFrame::parse(frame).map(Self::Data),
            kind::REGISTER => fields("Register", &frame, |reader| {
                Ok(Self::Register { mailbox: Label::from_bytes(reader.array()?), expiry: reader.u64()? })
            }),
            kind::UNREGISTER => {
                fields("Unregister", &frame, |reader| Ok(Self::Unregister { mailbox: Label::from_bytes(reader.array()?) }))
            }
            kind::GOODBYE => fields("Goodbye", &frame, |reader| Ok(Self::Goodbye(GoodbyeReason::from_byte(reader.u8()?)))),
            kind::LINK_ACK => fields("LinkAck", &frame, |reader| Ok(Self::LinkAck { received: reader.u64()? })),
            kind::OPEN_SLOT => {
                fields("OpenSlot", &frame, |reader| Ok(Self::OpenSlot { slot: reader.u32()?, expiry: reader.u64()? }))
            }
            kind::CLOSE_SLOT => fields("CloseSlot", &frame, |reader| Ok(Self::CloseSlot { slot: reader.u32()? })),
            kind => Ok(Self::Unknown { kind }),
        }
    }

    /// Returns the frame as it is on the wire. Hello and Data are not copied.
    pub fn encode(&self) -> Bytes {
        let mut writer = Writer::with_capacity(self.encoded_len());
        match self {
            Self::Hello(hello) => return hello.bytes().clone(),
            Self::Data(frame) => return frame.bytes().clone(),
            Self::Register { mailbox, expiry } => writer.u8(kind::REGISTER).raw(mailbox.as_bytes()).u64(*expiry),
            Self::Unregister { mailbox } => writer.u8(kind::UNREGISTER).raw(mailbox.as_bytes()),
            Self::Goodbye(reason) => writer.u8(kind::GOODBYE).u8(reason.to_byte()),
            Self::LinkAck { received } => writer.u8(kind::LINK_ACK).u64(*received),
            Self::OpenSlot { slot, expiry } => writer.u8(kind::OPEN_SLOT).u32(*slot).u64(*expiry),
            Self::CloseSlot { slot } => writer.u8(kind::CLOSE_SLOT).u32(*slot),
            Self::Unknown { kind } => writer.u8(*kind),
        };
        writer.into_vec().into()
    }

    /// Returns the length of the encoded frame in bytes.
    pub fn encoded_len(&self) -> usize {
        match self {
            Self::Hello(hello) => hello.bytes().len(),
            Self::Data(frame) => frame.bytes().len(),
            Self::Register { .. } => 1 + Label::LENGTH + 8,
            Self::Unregister { .. } => 1 + Label::LENGTH,
            Self::Goodbye(_) => 2,
            Self::LinkAck { .. } => 1 + 8,
            Self::OpenSlot { .. } => 1 + 4 + 8,
            Self::CloseSlot { .. } => 1 + 4,
            Self::Unknown { .. } => 1,
        }
    }
}

/// What a switchboard sends.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ServerFrame {
    Challenge(Challenge),
    Welcome(Welcome),
    Reject(Reject),
    Data(DataFrame),
    Labels(LabelChanges),
    Bounce(Bounce),
    /// The parkable Data frame of this number waits for its receiver.
    Accepted {
        number: u64,
    },
    /// Another link of the same key took over; this one is closed.
    Replaced,
    Registered {
        mailbox: Label,
        status: RegisterStatus,
    },
    SlotOpened {
        /// The slot of the OpenSlot that this answers.
        asked: u32,
        /// The slot that is open, 0 unless the status is done.
        slot: u32,
        status: SlotStatus,
    },
    Goodbye(GoodbyeReason),
    /// Not sent: it would be its kind and nothing else.
    Unknown {
        kind: u8,
    },
}

impl ServerFrame {
    /// Reads a frame. Data frames stay in the buffer of `frame`.
    pub fn decode(frame: Bytes) -> Result<Self, Error> {
        match first_byte(&frame)? {
            kind::CHALLENGE => fields("Challenge", &frame, |reader| Challenge::read(reader).map(Self::Challenge)),
            kind::WELCOME => fields("Welcome", &frame, |reader| Welcome::read(reader).map(Self::Welcome)),
            kind::REJECT => fields("Reject", &frame, |reader| Reject::read(reader).map(Self::Reject)),
            kind::DATA => DataFrame::parse(frame).map(Self::Data),
            kind::LABELS => fields("Labels", &frame, |reader| LabelChanges::read(reader).map(Self::Labels)),
            kind::BOUNCE => fields("Bounce", &frame, |reader| Bounce::read(reader).map(Self::Bounce)),
            kind::ACCEPTED => fields("Accepted", &frame, |reader| Ok(Self::Accepted { number: reader.u64()? })),
            kind::REPLACED => fields("Replaced", &frame, |_| Ok(Self::Replaced)),
            kind::REGISTERED => fields("Registered", &frame, |reader| {
                let mailbox = Label::from_bytes(reader.array()?);
                Ok(Self::Registered { mailbox, status: RegisterStatus::from_byte(reader.u8()?) })
            }),
            kind::SLOT_OPENED => fields("SlotOpened", &frame, |reader| {
                let (asked, slot) = (reader.u32()?, reader.u32()?);
                Ok(Self::SlotOpened { asked, slot, status: SlotStatus::from_byte(reader.u8()?) })
            }),
            kind::GOODBYE => fields("Goodbye", &frame, |reader| Ok(Self::Goodbye(GoodbyeReason::from_byte(reader.u8()?)))),
            kind => Ok(Self::Unknown { kind }),
        }
    }

    /// Returns the frame as it is on the wire. Data is not copied.
    pub fn encode(&self) -> Bytes {
        let mut writer = Writer::with_capacity(self.encoded_len());
        match self {
            Self::Data(frame) => return frame.bytes().clone(),
            Self::Challenge(challenge) => challenge.write(writer.u8(kind::CHALLENGE)),
            Self::Welcome(welcome) => welcome.write(writer.u8(kind::WELCOME)),
            Self::Reject(reject) => reject.write(writer.u8(kind::REJECT)),
            Self::Labels(changes) => changes.write(writer.u8(kind::LABELS)),
            Self::Bounce(bounce) => bounce.write(writer.u8(kind::BOUNCE)),
            Self::Accepted { number } => drop(writer.u8(kind::ACCEPTED).u64(*number)),
            Self::Replaced => drop(writer.u8(kind::REPLACED)),
            Self::Registered { mailbox, status } => {
                writer.u8(kind::REGISTERED).raw(mailbox.as_bytes()).u8(status.to_byte());
            }
            Self::SlotOpened { asked, slot, status } => {
                writer.u8(kind::SLOT_OPENED).u32(*asked).u32(*slot).u8(status.to_byte());
            }
            Self::Goodbye(reason) => {
                writer.u8(kind::GOODBYE).u8(reason.to_byte());
            }
            Self::Unknown { kind } => {
                writer.u8(*kind);
            }
        }
        writer.into_vec().into()
    }

    /// Returns the length of the encoded frame in bytes.
    pub fn encoded_len(&self) -> usize {
        match self {
            Self::Challenge(_) => 1 + Challenge::LENGTH,
            Self::Welcome(welcome) => {
                let resumed = if welcome.resumed.is_some() { 4 + 8 } else { 0 };
                let boot = if welcome.boot.is_some() { 4 + 16 } else { 0 };
                1 + 1 + 8 + 8 + 1 + 2 + 2 + 2 + welcome.resume_token.len() + 2 + resumed + boot
            }
            Self::Reject(reject) => 1 + 1 + 4 + 2 + cut(&reject.text, limits::REJECT_TEXT).len(),
            Self::Data(frame) => frame.bytes().len(),
            Self::Labels(changes) => 1 + 1 + 2 + 2 + (changes.came.len() + changes.went.len()) * Label::LENGTH,
            Self::Bounce(_) => 1 + 8 + 1 + 4,
            Self::Accepted { .. } => 1 + 8,
            Self::Registered { .. } => 1 + Label::LENGTH + 1,
            Self::SlotOpened { .. } => 1 + 4 + 4 + 1,
            Self::Goodbye(_) => 2,
            Self::Replaced | Self::Unknown { .. } => 1,
        }
    }
}

impl Welcome {
    /// Types of its extensions.
    const RESUMED: u16 = 1;
    const BOOT: u16 = 2;

    fn read(reader: &mut Reader<'_>) -> Result<Self, Error> {
        let mut welcome = Self {
            version: reader.u8()?,
            features: Features(reader.u64()?),
            wall: reader.u64()?,
            binding: BindingKind::from_byte(reader.u8()?),
            ping_seconds: reader.u16()?,
            grace_seconds: reader.u16()?,
            resume_token: Bytes::copy_from_slice(reader.bytes16("resume token", limits::RESUME_TOKEN)?),
            resumed: None,
            boot: None,
        };
        reader.each_extension(|kind, mut value| match kind {
            Self::RESUMED => {
                welcome.resumed = Some(value.u64()?);
                value.finish("resumed")
            }
            Self::BOOT => {
                welcome.boot = Some(value.array()?);
                value.finish("boot")
            }
            _ => Ok(()),
        })?;
        Ok(welcome)
    }

    fn write(&self, writer: &mut Writer) {
        writer.u8(self.version).u64(self.features.0).u64(self.wall).u8(self.binding.to_byte());
        writer.u16(self.ping_seconds).u16(self.grace_seconds).bytes16(&self.resume_token);
        let received = self.resumed.map(u64::to_be_bytes);
        let resumed = received.as_ref().map(|received| (Self::RESUMED, &received[..]));
        let boot = self.boot.as_ref().map(|boot| (Self::BOOT, &boot[..]));
        writer.these_extensions(&resumed.into_iter().chain(boot).collect::<Vec<_>>());
    }
}

impl Reject {
    fn read(reader: &mut Reader<'_>) -> Result<Self, Error> {
        let code = RejectCode::from_byte(reader.u8()?);
        let retry_after_ms = reader.u32()?;
        let text = reader.text16("text", limits::REJECT_TEXT)?.to_owned();
        Ok(Self { code, retry_after_ms, text })
    }

    fn write(&self, writer: &mut Writer) {
        writer.u8(self.code.to_byte()).u32(self.retry_after_ms).text16(cut(&self.text, limits::REJECT_TEXT));
    }
}

impl LabelChanges {
    const FORGET_OTHERS: u8 = 0x01;
    const RESUMED: u8 = 0x02;

    fn read(reader: &mut Reader<'_>) -> Result<Self, Error> {
        let flags = reader.u8()?;
        let came = read_labels(reader)?;
        let went = read_labels(reader)?;
        Ok(Self { forget_others: flags & Self::FORGET_OTHERS != 0, resumed: flags & Self::RESUMED != 0, came, went })
    }

    fn write(&self, writer: &mut Writer) {
        writer.u8((u8::from(self.forget_others) * Self::FORGET_OTHERS) | (u8::from(self.resumed) * Self::RESUMED));
        write_labels(writer, &self.came);
        write_labels(writer, &self.went);
    }
}

impl Bounce {
    fn read(reader: &mut Reader<'_>) -> Result<Self, Error> {
        let number = reader.u64()?;
        Ok(Self { number, reason: BounceReason::from_byte(reader.u8()?), retry_after_ms: reader.u32()? })
    }

    fn write(&self, writer: &mut Writer) {
        writer.u64(self.number).u8(self.reason.to_byte()).u32(self.retry_after_ms);
    }
}

fn read_labels(reader: &mut Reader<'_>) -> Result<Vec<Label>, Error> {
    let count = usize::from(reader.u16()?);
    let labels = reader.take(count * Label::LENGTH)?.as_chunks().0;
    Ok(labels.iter().map(|label| Label::from_bytes(*label)).collect())
}

fn write_labels(writer: &mut Writer, labels: &[Label]) {
    writer.u16(u16::try_from(labels.len()).expect("a Labels frame holds at most LABELS_PER_FRAME"));
    for label in labels {
        writer.raw(label.as_bytes());
    }
}

fn first_byte(frame: &[u8]) -> Result<u8, Error> {
    if frame.len() > limits::FRAME {
        return Err(Error::TooLarge { what: "frame", limit: limits::FRAME, got: frame.len() });
    }
    Reader::new(frame).u8()
}

/// Reads everything after the kind, to the last byte.
fn fields<T>(what: &'static str, frame: &[u8], read: impl FnOnce(&mut Reader<'_>) -> Result<T, Error>) -> Result<T, Error> {
    let mut reader = Reader::new(&frame[1..]);
    let value = read(&mut reader)?;
    reader.finish(what)?;
    Ok(value)
}
