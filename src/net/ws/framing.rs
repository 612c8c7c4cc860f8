//! WebSocket's frames (RFC 6455 section 5) in memory: what came is taken apart, what goes is put together.
//!
//! The HTTP handshake is tungstenite's. Its framing isn't used, because a link that once carried a large frame would keep its
//! buffers for good, 157 KiB measured where 24 are promised, and because here a frame reaches the kernel from the buffer it was
//! read into. What a link needs is little: binary messages up to one limit, ping, pong and close, no extension.

use std::collections::VecDeque;
use std::io::IoSlice;

use aws_lc_rs::rand;
use bytes::{Buf, Bytes, BytesMut};

use crate::proto::limits;

/// Frames shorter than this get memory of their own. So a frame that waits in a queue holds little more than its length, and
/// not the buffer of everything that was read with it. Chosen: copying it costs less than what is saved by not sharing.
const OWN_MEMORY_BELOW: usize = 4 * 1024;

/// Room for what is read at once. Chosen: a frame of 16 KiB of payload with all its headers, without a second allocation.
const READ_BYTES: usize = 24 * 1024;

/// Bytes of the payload of a control frame. RFC 6455 section 5.5.
const CONTROL_BYTES: usize = 125;

/// Pieces that one system call takes. Chosen: a batch of small frames.
const PIECES_AT_ONCE: usize = 32;

/// Room for pieces that an empty queue may keep.
const PIECES_KEPT: usize = 16;

/// "The connection has fulfilled its purpose": 1000 (RFC 6455 section 7.4.1).
const NORMAL_CLOSURE: [u8; 2] = 1000u16.to_be_bytes();

const FIN: u8 = 0x80;
const RESERVED: u8 = 0x70;
const MASKED: u8 = 0x80;

const CONTINUATION: u8 = 0x0;
const TEXT: u8 = 0x1;
const BINARY: u8 = 0x2;
const CLOSE: u8 = 0x8;
const PING: u8 = 0x9;
const PONG: u8 = 0xA;

/// Which end of a connection this is: clients mask what they send, switchboards don't.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[allow(dead_code, reason = "a build for one side makes only that one")]
pub(super) enum Side {
    Client,
    Switchboard,
}

/// What has been received.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Received {
    Binary(Bytes),
    Ping(Bytes),
    Pong,
    Close,
}

/// Takes received bytes apart.
#[derive(Debug)]
pub(super) struct Decoder {
    side: Side,
    buffer: BytesMut,
    /// The parts of a message in several frames, as far as they have come.
    parts: Option<BytesMut>,
}

struct Header {
    first: u8,
    mask: Option<[u8; 4]>,
    /// Bytes of the header.
    size: usize,
    /// Bytes of the payload.
    length: usize,
}

impl Decoder {
    /// Begins with bytes that came behind the handshake.
    pub(super) fn new(side: Side, begun: BytesMut) -> Self {
        Self { side, buffer: begun, parts: None }
    }

    /// Returns the next message that is there in whole.
    ///
    /// # Errors
    /// The rule that the other side broke. Nothing can be read after that.
    pub(super) fn next(&mut self) -> Result<Option<Received>, &'static str> {
        while let Some(header) = self.header()? {
            if self.buffer.len() < header.size + header.length {
                return Ok(None);
            }
            self.buffer.advance(header.size);
            let payload = self.payload(&header);
            if let Some(received) = self.accept(&header, payload)? {
                return Ok(Some(received));
            }
        }
        Ok(None)
    }

    /// Returns where to read into: at least as much as the frame that has begun needs, at most to its end if it is large, so
    /// that it has the memory to itself.
    pub(super) fn room(&mut self) -> impl bytes::BufMut {
        let missing = match self.header() {
            Ok(Some(header)) => (header.size + header.length).saturating_sub(self.buffer.len()),
            Ok(None) | Err(_) => 0,
        };
        let room = if missing > READ_BYTES { missing } else { READ_BYTES.saturating_sub(self.buffer.len()).max(missing) };
        self.buffer.reserve(room);
        bytes::BufMut::limit(&mut self.buffer, room)
    }

    /// Gives memory back that isn't needed while nothing comes.
    pub(super) fn rest(&mut self) {
        if self.buffer.is_empty() {
            self.buffer = BytesMut::new();
        }
    }

    fn header(&self) -> Result<Option<Header>, &'static str> {
        let [first, second, ..] = self.buffer[..] else { return Ok(None) };
        if first & RESERVED != 0 {
            return Err("a frame with reserved bits");
        }
        match (self.side, second & MASKED != 0) {
            (Side::Client, true) => return Err("a masked frame from a switchboard"),
            (Side::Switchboard, false) => return Err("an unmasked frame from a client"),
            (Side::Client, false) | (Side::Switchboard, true) => {}
        }
        let rest = &self.buffer[2..];
        let (length, rest) = match second & !MASKED {
            126 => match rest.split_first_chunk() {
                Some((length, rest)) => (u64::from(u16::from_be_bytes(*length)), rest),
                None => return Ok(None),
            },
            127 => match rest.split_first_chunk() {
                Some((length, rest)) => (u64::from_be_bytes(*length), rest),
                None => return Ok(None),
            },
            length => (u64::from(length), rest),
        };
        let length = usize::try_from(length).unwrap_or(usize::MAX);
        if length > limits::FRAME {
            return Err("a message above the limit");
        }
        let (mask, rest) = match self.side {
            Side::Client => (None, rest),
            Side::Switchboard => match rest.split_first_chunk() {
                Some((mask, rest)) => (Some(*mask), rest),
                None => return Ok(None),
            },
        };
        Ok(Some(Header { first, mask, size: self.buffer.len() - rest.len(), length }))
    }

    fn payload(&mut self, header: &Header) -> BytesMut {
        let mut payload = if header.length < OWN_MEMORY_BELOW {
            let payload = BytesMut::from(&self.buffer[..header.length]);
            self.buffer.advance(header.length);
            payload
        } else {
            let payload = self.buffer.split_to(header.length);
            // A remainder without bytes would still hold the payload's memory.
            self.rest();
            payload
        };
        if let Some(mask) = header.mask {
            apply_mask(&mut payload, mask);
        }
        payload
    }

    fn accept(&mut self, header: &Header, payload: BytesMut) -> Result<Option<Received>, &'static str> {
        let is_last = header.first & FIN != 0;
        let opcode = header.first & 0x0F;
        if opcode >= CLOSE {
            return match opcode {
                _ if !is_last || payload.len() > CONTROL_BYTES => Err("a control frame in parts or above its limit"),
                CLOSE => Ok(Some(Received::Close)),
                PING => Ok(Some(Received::Ping(payload.freeze()))),
                PONG => Ok(Some(Received::Pong)),
                _ => Err("a frame of unknown opcode"),
            };
        }
        let message = match (opcode, self.parts.take()) {
            (BINARY, None) => payload,
            (CONTINUATION, Some(mut parts)) => {
                if parts.len() + payload.len() > limits::FRAME {
                    return Err("a message above the limit");
                }
                parts.extend_from_slice(&payload);
                parts
            }
            (TEXT, _) => return Err("a text message where frames are binary"),
            (BINARY, Some(_)) | (CONTINUATION, None) => return Err("parts of a message out of order"),
            _ => return Err("a frame of unknown opcode"),
        };
        if is_last {
            return Ok(Some(Received::Binary(message.freeze())));
        }
        self.parts = Some(message);
        Ok(None)
    }
}

/// Puts together what is to be sent, and holds it until it is written.
#[derive(Debug)]
pub(super) struct Encoder {
    pieces: VecDeque<Piece>,
    masks: Option<Masks>,
}

/// One frame, or what is left of it.
#[derive(Debug)]
struct Piece {
    header: [u8; Self::HEADER_BYTES],
    /// Which bytes of `header` are still to be written.
    header_start: u8,
    header_end: u8,
    payload: Bytes,
}

impl Encoder {
    pub(super) fn new(side: Side) -> Self {
        let masks = match side {
            Side::Client => Some(Masks::default()),
            Side::Switchboard => None,
        };
        Self { pieces: VecDeque::new(), masks }
    }

    pub(super) fn binary(&mut self, payload: Bytes) {
        self.push(BINARY, payload);
    }

    pub(super) fn ping(&mut self) {
        self.push(PING, Bytes::new());
    }

    pub(super) fn pong(&mut self, payload: Bytes) {
        self.push(PONG, payload);
    }

    pub(super) fn close(&mut self) {
        self.push(CLOSE, Bytes::from_static(&NORMAL_CLOSURE));
    }

    pub(super) fn is_empty(&self) -> bool {
        self.pieces.is_empty()
    }

    /// Calls `write` with what comes next, and takes away what it says that it has written.
    pub(super) fn write_with<E>(&mut self, write: impl FnOnce(&[IoSlice<'_>]) -> Result<usize, E>) -> Result<usize, E> {
        let mut slices = [IoSlice::new(&[]); 2 * PIECES_AT_ONCE];
        let mut filled = 0;
        for piece in self.pieces.iter().take(PIECES_AT_ONCE) {
            for bytes in [piece.header_left(), &piece.payload[..]] {
                if !bytes.is_empty() {
                    slices[filled] = IoSlice::new(bytes);
                    filled += 1;
                }
            }
        }
        let written = write(&slices[..filled])?;
        self.advance(written);
        Ok(written)
    }

    fn advance(&mut self, mut written: usize) {
        while let Some(piece) = self.pieces.front_mut() {
            let of_header = written.min(piece.header_left().len());
            piece.header_start += of_header as u8;
            written -= of_header;
            let of_payload = written.min(piece.payload.len());
            piece.payload.advance(of_payload);
            written -= of_payload;
            if !piece.payload.is_empty() || !piece.header_left().is_empty() {
                return;
            }
            self.pieces.pop_front();
        }
        if self.pieces.capacity() > PIECES_KEPT {
            self.pieces = VecDeque::new();
        }
    }

    fn push(&mut self, opcode: u8, payload: Bytes) {
        let mask = self.masks.as_mut().map(Masks::next);
        let payload = match mask {
            None => payload,
            Some(mask) => {
                let mut masked = payload.try_into_mut().unwrap_or_else(|shared| BytesMut::from(&shared[..]));
                apply_mask(&mut masked, mask);
                masked.freeze()
            }
        };
        self.pieces.push_back(Piece::new(opcode, payload, mask));
    }
}

impl Piece {
    /// The longest header of a message within the limit, which is shorter than WebSocket's longest.
    const HEADER_BYTES: usize = 14;

    fn new(opcode: u8, payload: Bytes, mask: Option<[u8; 4]>) -> Self {
        let mut header = [0; Self::HEADER_BYTES];
        header[0] = FIN | opcode;
        let masked = if mask.is_some() { MASKED } else { 0 };
        let mut end = match payload.len() {
            length @ 0..=125 => {
                header[1] = masked | length as u8;
                2
            }
            length @ 126..=0xFFFF => {
                header[1] = masked | 126;
                header[2..4].copy_from_slice(&(length as u16).to_be_bytes());
                4
            }
            length => {
                header[1] = masked | 127;
                header[2..10].copy_from_slice(&(length as u64).to_be_bytes());
                10
            }
        };
        if let Some(mask) = mask {
            header[end..end + 4].copy_from_slice(&mask);
            end += 4;
        }
        Self { header, header_start: 0, header_end: end as u8, payload }
    }

    fn header_left(&self) -> &[u8] {
        &self.header[self.header_start.into()..self.header_end.into()]
    }
}

/// Masking keys, which RFC 6455 section 5.3 wants to be unpredictable. Drawn in bulk, as each draw costs a microsecond.
#[derive(Debug)]
struct Masks {
    pool: [u8; 64],
    used: usize,
}

impl Default for Masks {
    fn default() -> Self {
        Self { pool: [0; 64], used: 64 }
    }
}

impl Masks {
    fn next(&mut self) -> [u8; 4] {
        if self.used == self.pool.len() {
            rand::fill(&mut self.pool).expect("the system gives random bytes after it gave those of the handshake");
            self.used = 0;
        }
        let mask = self.pool[self.used..self.used + 4].try_into().expect("four bytes");
        self.used += 4;
        mask
    }
}

fn apply_mask(payload: &mut [u8], mask: [u8; 4]) {
    let [a, b, c, d] = mask;
    let wide = u64::from_ne_bytes([a, b, c, d, a, b, c, d]);
    let (chunks, rest) = payload.as_chunks_mut();
    for chunk in chunks {
        *chunk = (u64::from_ne_bytes(*chunk) ^ wide).to_ne_bytes();
    }
    for (byte, key) in rest.iter_mut().zip(mask.into_iter().cycle()) {
        *byte ^= key;
    }
}
