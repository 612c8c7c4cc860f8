//! One frame in one buffer: built, padded and sealed in place, and opened in place.

use bytes::{Buf, Bytes, BytesMut};

use super::{
    Error,
    aead::{AeadKey, TAG_LEN, counter_nonce},
    padding::{self, PREFIX_LEN},
};
use crate::proto::{DataFrame, Label, Lane, OuterHeader, OuterKind, SessionId};

/// Where the content of a session frame starts: behind the frame's header and the length prefix of its plaintext.
const CONTENT_START: usize = DataFrame::HEADER_LEN + PREFIX_LEN;
/// Largest content on the control lane, in bytes: padded it has 1 KiB, and the switchboard refuses more (PROTOCOL.md section 3.4).
const MAX_CONTROL_CONTENT: usize = 1_024 - PREFIX_LEN;
/// Where the outer header starts: behind kind and source.
const OUTER_HEADER_START: usize = 17;

/// A frame that is being filled: the content is appended where it will be sealed, with room for the headers before it.
///
/// Fill it, then hand it to [`Session::seal`](super::Session::seal) or [`Initiation::seal_early`](super::Initiation::seal_early).
pub struct FrameBuilder {
    buffer: BytesMut,
}

impl FrameBuilder {
    /// Starts an empty frame.
    pub fn new() -> Self {
        Self::with_capacity(0)
    }

    /// Starts an empty frame whose content may grow to `content_len` bytes without another allocation.
    pub fn with_capacity(content_len: usize) -> Self {
        let padded = padding::padded_len(content_len.min(padding::MAX_CONTENT));
        let mut buffer = BytesMut::with_capacity(DataFrame::HEADER_LEN + padded + TAG_LEN);
        buffer.resize(CONTENT_START, 0);
        Self { buffer }
    }

    /// Returns how many bytes of content there are.
    pub fn content_len(&self) -> usize {
        self.buffer.len() - CONTENT_START
    }

    /// Returns whether there is no content.
    pub fn is_empty(&self) -> bool {
        self.content_len() == 0
    }

    /// Appends `bytes` to the content.
    pub fn put(&mut self, bytes: &[u8]) {
        self.buffer.extend_from_slice(bytes);
    }

    /// Returns the buffer, for writers that append to it. What it holds already belongs to the frame.
    pub(crate) fn buffer(&mut self) -> &mut BytesMut {
        &mut self.buffer
    }

    /// Checks that the content fits into a frame of `lane`.
    pub(super) fn check(&self, lane: Lane) -> Result<(), Error> {
        let limit = if lane == Lane::Control { MAX_CONTROL_CONTENT } else { padding::MAX_CONTENT };
        match self.content_len() {
            got if got > limit => Err(Error::TooLarge { what: "content", limit, got }),
            _ => Ok(()),
        }
    }

    /// Writes the headers, pads and seals.
    pub(super) fn seal(self, header: OuterHeader, key: &AeadKey) -> Result<DataFrame, Error> {
        let content_len = self.content_len();
        let sealed_end = DataFrame::HEADER_LEN + padding::padded_len(content_len);
        let mut buffer = with_room_for(self.buffer, sealed_end + TAG_LEN);
        buffer.resize(sealed_end, 0);
        buffer[DataFrame::HEADER_LEN..CONTENT_START].copy_from_slice(&padding::prefix(content_len));
        let tag = key.seal(counter_nonce(header.counter), bound(&header.encode()), &mut buffer[DataFrame::HEADER_LEN..])?;
        buffer.extend_from_slice(&tag);
        Ok(DataFrame::around(header, buffer))
    }
}

/// What a seal vouches for beside the content: all of the header.
fn bound(header: &[u8]) -> &[u8] {
    if cfg!(feature = "planted_header_unbound") { &[] } else { header }
}

/// Returns the buffer with room for `len` bytes in all, and not much more: a frame that waits in a queue must not hold several times the
/// memory that it is counted for.
fn with_room_for(mut buffer: BytesMut, len: usize) -> BytesMut {
    if buffer.capacity() > 2 * len {
        let mut fitting = BytesMut::with_capacity(len);
        fitting.extend_from_slice(&buffer);
        return fitting;
    }
    buffer.reserve(len - buffer.len());
    buffer
}

impl Default for FrameBuilder {
    fn default() -> Self {
        Self::new()
    }
}

/// Authenticates and decrypts a session frame; returns its padded plaintext.
///
/// The frame's own buffer is used if nobody else holds it, else one copy is made.
pub(super) fn open(frame: DataFrame, key: &AeadKey) -> Result<Plaintext, Error> {
    let nonce = counter_nonce(frame.header().counter);
    let mut buffer = frame.into_bytes().try_into_mut().unwrap_or_else(|shared| BytesMut::from(&shared[..]));
    let (headers, sealed) = buffer.split_at_mut(DataFrame::HEADER_LEN);
    let padded_len = key.open(nonce, bound(&headers[OUTER_HEADER_START..]), sealed)?.len();
    Ok(Plaintext { buffer, padded_len })
}

/// An authentic plaintext that has not been looked into.
pub(super) struct Plaintext {
    buffer: BytesMut,
    padded_len: usize,
}

impl Plaintext {
    /// Returns the content without its padding.
    pub(super) fn into_content(mut self) -> Result<Bytes, Error> {
        let padded = &self.buffer[DataFrame::HEADER_LEN..DataFrame::HEADER_LEN + self.padded_len];
        let content_len = padding::unpad(padded)?.len();
        self.buffer.truncate(CONTENT_START + content_len);
        self.buffer.advance(CONTENT_START);
        Ok(self.buffer.freeze())
    }
}

/// Where the frames of a session go.
#[derive(Clone, Copy)]
pub(super) struct Route {
    pub(super) session: SessionId,
    /// The label of the peer.
    pub(super) destination: Label,
}

impl Route {
    pub(super) fn header(&self, lane: Lane, expiry: u64, generation: u32, counter: u64) -> OuterHeader {
        OuterHeader {
            kind: OuterKind::Session,
            lane,
            parkable: false,
            early: false,
            destination: self.destination,
            session: self.session,
            generation,
            counter,
            expiry,
        }
    }

    pub(super) fn early_header(&self, lane: Lane, expiry: u64, counter: u64) -> OuterHeader {
        OuterHeader { early: true, ..self.header(lane, expiry, 0, counter) }
    }
}

/// What names the key and the nonce of one frame.
pub(super) struct Slot<'a> {
    pub(super) generation: u32,
    pub(super) counter: u64,
    pub(super) key: &'a AeadKey,
}

/// The outer header of what is sealed to a key and not within a session.
pub(super) fn key_header(kind: OuterKind, destination: Label, session: SessionId, expiry: u64) -> OuterHeader {
    OuterHeader {
        kind,
        lane: Lane::Urgent,
        parkable: false,
        early: false,
        destination,
        session,
        generation: 0,
        counter: 0,
        expiry,
    }
}
