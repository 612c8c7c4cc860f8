//! The proof that a link belongs to its key (PROTOCOL.md section 3.1).
//!
//! The client signs the hash of the Challenge, the TLS exporter value and its own Hello. So a proof can't be replayed to
//! another connection (fresh nonce), nor be carried over by a switchboard in the middle (exporter), nor be changed.

use bytes::Bytes;

use super::auth::{AuthError, LinkChain, LinkKeyPair, LinkRights, label_of};
use super::codec::{Reader, Writer};
use super::frame::{Features, kind};
use super::signature::{self, SIGNATURE_LENGTH};
use super::{Error, Label, LinkKey, RoutingKey, VERSION, limits};

const PURPOSE: &str = "link hello";
const MEMBER: u8 = 1;
const STRANGER: u8 = 2;
const GUEST: u8 = 3;

/// Whether a proof is tied to the TLS connection, as the two sides announce it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum BindingKind {
    /// It isn't: plain WebSocket, or a proxy that ends TLS.
    None,
    /// It is tied by the TLS exporter value.
    Exporter,
    /// A way that this build doesn't know.
    Unknown(u8),
}

impl BindingKind {
    pub(super) fn to_byte(self) -> u8 {
        match self {
            Self::None => 0,
            Self::Exporter => 1,
            Self::Unknown(byte) => byte,
        }
    }

    pub(super) fn from_byte(byte: u8) -> Self {
        match byte {
            0 => Self::None,
            1 => Self::Exporter,
            byte => Self::Unknown(byte),
        }
    }
}

/// What ties a proof to the connection: the value that each side takes from its own end of it.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Binding {
    /// Nothing.
    None,
    /// The TLS exporter value with label `EXPORTER-a2alinker-link-1`.
    Exporter([u8; 32]),
}

impl Binding {
    /// Returns what is announced on the wire.
    pub fn kind(&self) -> BindingKind {
        match self {
            Self::None => BindingKind::None,
            Self::Exporter(_) => BindingKind::Exporter,
        }
    }

    fn value(&self) -> [u8; 32] {
        match self {
            Self::None => [0; 32],
            Self::Exporter(value) => *value,
        }
    }
}

impl std::fmt::Debug for Binding {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        self.kind().fmt(formatter)
    }
}

/// The first frame on a link: what the switchboard speaks, and the nonce to sign.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Challenge {
    pub version_min: u8,
    pub version_max: u8,
    pub features: Features,
    /// The switchboard's clock, Unix milliseconds.
    pub wall: u64,
    pub binding: BindingKind,
    pub nonce: [u8; 32],
}

impl Challenge {
    pub(super) fn read(reader: &mut Reader<'_>) -> Result<Self, Error> {
        let challenge = Self {
            version_min: reader.u8()?,
            version_max: reader.u8()?,
            features: Features(reader.u64()?),
            wall: reader.u64()?,
            binding: BindingKind::from_byte(reader.u8()?),
            nonce: reader.array()?,
        };
        reader.extensions()?;
        Ok(challenge)
    }

    pub(super) fn write(&self, writer: &mut Writer) {
        writer.u8(self.version_min).u8(self.version_max).u64(self.features.0).u64(self.wall);
        writer.u8(self.binding.to_byte()).raw(&self.nonce).extensions();
    }

    /// Bytes after the kind.
    pub(super) const LENGTH: usize = 1 + 1 + 8 + 8 + 1 + 32 + 2;
}

/// As what a link asks to be taken.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Role {
    /// A member of the swarm, by its chain.
    Member(LinkChain),
    /// Somebody who holds a ticket, and may talk to its mailbox only.
    Stranger { mailbox: Label },
    /// Somebody who holds a code, and may talk only to whoever opened the slot. It knows no V: [`HelloBody::routing`] is zero.
    Guest { slot: u32 },
}

/// What a Hello says, without the signature.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HelloBody {
    pub features: Features,
    pub binding: BindingKind,
    pub routing: RoutingKey,
    pub link_key: LinkKey,
    /// From an earlier Welcome, or empty; at most [`limits::RESUME_TOKEN`] bytes.
    pub resume_token: Bytes,
    /// How many Data frames were received on the link to be resumed; on the wire only beside a token.
    pub received: u64,
    pub role: Role,
}

/// Type of the extension of a Hello that says how many Data frames were received.
const RECEIVED: u16 = 1;

impl HelloBody {
    fn read(reader: &mut Reader<'_>) -> Result<Self, Error> {
        match reader.u8()? {
            VERSION => {}
            got => return Err(Error::Version { what: "Hello", expected: VERSION, got }),
        }
        let features = Features(reader.u64()?);
        let binding = BindingKind::from_byte(reader.u8()?);
        let role = reader.u8()?;
        let routing = RoutingKey::from_bytes(reader.array()?);
        let link_key = LinkKey::from_bytes(reader.array()?);
        let resume_token = Bytes::copy_from_slice(reader.bytes16("resume token", limits::RESUME_TOKEN)?);
        let role = match role {
            MEMBER => {
                let count = reader.u8()?;
                Role::Member(LinkChain::read(reader, count.into())?)
            }
            STRANGER => Role::Stranger { mailbox: Label::from_bytes(reader.array()?) },
            GUEST if routing != RoutingKey::ZERO => return Err(Error::Malformed { what: "routing key" }),
            GUEST => Role::Guest { slot: reader.u32()? },
            _ => return Err(Error::Malformed { what: "role" }),
        };
        let mut received = 0;
        reader.each_extension(|kind, mut value| {
            if kind == RECEIVED && !resume_token.is_empty() {
                received = value.u64()?;
                value.finish("received")?;
            }
            Ok(())
        })?;
        Ok(Self { features, binding, routing, link_key, resume_token, received, role })
    }

    fn write(&self, writer: &mut Writer) {
        writer.u8(kind::HELLO).u8(VERSION).u64(self.features.0).u8(self.binding.to_byte());
        writer.u8(match self.role {
            Role::Member(_) => MEMBER,
            Role::Stranger { .. } => STRANGER,
            Role::Guest { .. } => GUEST,
        });
        writer.raw(self.routing.as_bytes()).raw(self.link_key.as_bytes()).bytes16(&self.resume_token);
        match &self.role {
            Role::Member(chain) => {
                let count = u8::try_from(chain.certificates().len()).expect("a chain has one or two certificates");
                writer.u8(count).raw(&chain.encode());
            }
            Role::Stranger { mailbox } => {
                writer.raw(mailbox.as_bytes());
            }
            Role::Guest { slot } => {
                writer.u32(*slot);
            }
        }
        let received = self.received.to_be_bytes();
        let extensions: &[(u16, &[u8])] = if self.resume_token.is_empty() { &[] } else { &[(RECEIVED, &received)] };
        writer.these_extensions(extensions);
    }
}

/// A Hello as it came: what it says, and the bytes that are signed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Hello {
    body: HelloBody,
    frame: Bytes,
}

impl Hello {
    /// Reads a Hello from a whole frame, unverified.
    pub fn decode(frame: Bytes) -> Result<Self, Error> {
        let mut reader = Reader::new(&frame);
        if reader.u8()? != kind::HELLO {
            return Err(Error::Malformed { what: "Hello" });
        }
        let body = HelloBody::read(&mut reader)?;
        reader.array::<SIGNATURE_LENGTH>()?;
        reader.finish("Hello")?;
        Ok(Self { body, frame })
    }

    /// Returns what it says, which is proven only after [`verify_hello`].
    pub fn body(&self) -> &HelloBody {
        &self.body
    }

    /// Returns the frame.
    pub fn bytes(&self) -> &Bytes {
        &self.frame
    }

    fn signed(&self) -> (&[u8], &[u8; SIGNATURE_LENGTH]) {
        self.frame.split_last_chunk().expect("decode has read a signature at the end")
    }
}

/// Answers a Challenge: returns the Hello, signed for this connection.
///
/// `challenge` are the bytes of the Challenge frame as they came; `body.binding` is set from `binding`.
pub fn sign_hello(challenge: &[u8], binding: &Binding, key: &LinkKeyPair, body: HelloBody) -> Hello {
    let body = HelloBody { binding: binding.kind(), ..body };
    let mut writer = Writer::new();
    body.write(&mut writer);
    let signature = key.sign(PURPOSE, &[&signature::hash(&[challenge]), &binding.value(), writer.as_slice()]);
    writer.raw(&signature);
    Hello { body, frame: writer.into_vec().into() }
}

/// Whom a switchboard has on a link, after the proof.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum VerifiedHello {
    /// A member of the swarm `routing`.
    Member { routing: RoutingKey, label: Label, rights: LinkRights, expiry: u64 },
    /// Somebody who wants to reach `mailbox` in the swarm `routing`. Whether there is one is not checked here.
    Stranger { routing: RoutingKey, label: Label, mailbox: Label },
    /// Somebody who wants to reach whoever opened `slot`. Whether anybody did is not checked here.
    Guest { label: Label, slot: u32 },
}

/// Checks a Hello against the Challenge frame that was sent and the connection it came on.
///
/// # Errors
/// Any [`AuthError`]; the link is to be refused with its [`AuthError::reject_code`].
pub fn verify_hello(challenge: &[u8], binding: &Binding, hello: &Hello, now_wall: u64) -> Result<VerifiedHello, AuthError> {
    let body = &hello.body;
    if body.binding != binding.kind() {
        return Err(AuthError::Binding);
    }
    let (signed, signature) = hello.signed();
    let parts: [&[u8]; 3] = [&signature::hash(&[challenge]), &binding.value(), signed];
    if !signature::verify(body.link_key.as_bytes(), PURPOSE, &parts, signature) {
        return Err(AuthError::Signature);
    }
    let (routing, label) = (body.routing, label_of(&body.link_key));
    match &body.role {
        Role::Stranger { mailbox } => Ok(VerifiedHello::Stranger { routing, label, mailbox: *mailbox }),
        Role::Guest { slot } => Ok(VerifiedHello::Guest { label, slot: *slot }),
        Role::Member(chain) => {
            let link = chain.verify(now_wall)?;
            if link.routing != routing || link.link_key != body.link_key {
                return Err(AuthError::Chain { what: "it is somebody else's" });
            }
            Ok(VerifiedHello::Member { routing, label, rights: link.rights, expiry: link.expiry })
        }
    }
}
