//! The first and the last message of a large body. A codec and nothing else; parts have no form of their own.
//!
//! Specification: PROTOCOL.md section 7.4.

use bytes::{BufMut, Bytes, BytesMut};

use crate::agent::message::put_text8;
use crate::proto::Error;
use crate::proto::codec::{Reader, cut};

/// Longest name or reason, in bytes.
const TEXT_MAX: usize = u8::MAX as usize;

/// What the sender says of its source.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum BodyForm {
    /// Bytes in memory.
    Bytes = 1,
    /// A file: the name means something.
    File = 2,
    /// Something that is made while it is sent.
    Stream = 3,
}

/// The body of the message that announces a large one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Head {
    pub form: BodyForm,
    /// `None`: not known.
    pub length: Option<u64>,
    /// Of a file. A stranger's text: it may hold anything, slashes included.
    pub name: String,
}

impl Head {
    /// Encodes the head; a name beyond 255 bytes is cut at a character.
    pub fn encode(&self) -> Bytes {
        let name = cut(&self.name, TEXT_MAX);
        let mut out = BytesMut::with_capacity(10 + name.len());
        out.put_u8(self.form as u8);
        out.put_u64(self.length.unwrap_or(u64::MAX));
        put_text8(&mut out, name);
        out.freeze()
    }

    /// Reads a head.
    ///
    /// # Errors
    /// `Malformed` by the peer's fault.
    pub fn decode(body: &[u8]) -> Result<Self, Error> {
        let mut reader = Reader::new(body);
        let form = match reader.u8()? {
            1 => BodyForm::Bytes,
            2 => BodyForm::File,
            3 => BodyForm::Stream,
            _ => return Err(Error::Malformed { what: "form of a large body" }),
        };
        let length = Some(reader.u64()?).filter(|length| *length != u64::MAX);
        let name = reader.text8("name of a large body")?.to_owned();
        reader.finish("head of a large body")?;
        Ok(Self { form, length, name })
    }
}

/// The body of the message that ends a large one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum End {
    Complete { total: u64, digest: [u8; 32] },
    GivenUp { total: u64, why: String },
}

impl End {
    /// Encodes the end; a reason beyond 255 bytes is cut at a character.
    pub fn encode(&self) -> Bytes {
        let (status, total, digest, why) = match self {
            Self::Complete { total, digest } => (0, *total, *digest, ""),
            Self::GivenUp { total, why } => (1, *total, [0; 32], cut(why, TEXT_MAX)),
        };
        let mut out = BytesMut::with_capacity(42 + why.len());
        out.put_u8(status);
        out.put_u64(total);
        out.put_slice(&digest);
        put_text8(&mut out, why);
        out.freeze()
    }

    /// Reads an end.
    ///
    /// # Errors
    /// `Malformed` by the peer's fault.
    pub fn decode(body: &[u8]) -> Result<Self, Error> {
        let mut reader = Reader::new(body);
        let (status, total, digest) = (reader.u8()?, reader.u64()?, reader.array()?);
        let why = reader.text8("end of a large body")?.to_owned();
        reader.finish("end of a large body")?;
        match status {
            0 => Ok(Self::Complete { total, digest }),
            1 => Ok(Self::GivenUp { total, why }),
            _ => Err(Error::Malformed { what: "end of a large body" }),
        }
    }
}
