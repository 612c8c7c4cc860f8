//! Sections: what one session frame carries, side by side under one seal.
//!
//! A codec and nothing else. Reading yields slices of the opened frame, one section at a time, and
//! stops for good at the first that is malformed; whoever applies sections as they come has then
//! applied those before it. Writing appends to the buffer that will be sealed. Which section is due,
//! and whether it fits, is decided by the writer's caller, who finds all lengths here.
//!
//! Specification: PROTOCOL.md section 7.

use std::iter::FusedIterator;
use std::ops::Range;

use bytes::{Buf, BufMut, Bytes, BytesMut};

use super::message::{CreditClass, MessageHeader, RefusalCode, SHORT_TEXT_LIMIT, put_text8};
use crate::proto::codec::{Reader, cut};
use crate::proto::{Error, Lane, MessageId};

#[cfg(test)]
mod tests;

/// Bytes that precede the body of every section: type and length.
pub const SECTION_HEADER_LEN: usize = 5;

/// Bytes of a messages section without its messages.
pub const MESSAGES_OVERHEAD: usize = SECTION_HEADER_LEN + 18;

/// Bytes that precede each message of a messages section.
pub const MESSAGE_OVERHEAD: usize = 4;

/// Bytes of a chunk section without the chunk.
pub const CHUNK_OVERHEAD: usize = SECTION_HEADER_LEN + 32;

/// Bytes of a whole credit section.
pub const CREDIT_LEN: usize = SECTION_HEADER_LEN + 18;

/// Largest chunk, in bytes (PROTOCOL 7): small enough that an urgent frame waits for little.
pub const CHUNK_LIMIT: usize = 16 * 1024;

/// Most entries of one list of a receipt or heartbeat: what its `u8` count can say.
pub const LIST_LIMIT: usize = u8::MAX as usize;

const MESSAGES: u8 = 1;
const CHUNK: u8 = 2;
const RECEIPT: u8 = 3;
const CREDIT: u8 = 4;
const HEARTBEAT: u8 = 5;
const PROBE: u8 = 6;
const GOODBYE: u8 = 7;

/// One section of a session frame.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Section {
    Messages(Messages),
    Chunk(Chunk),
    Receipt(Receipt),
    Credit(Credit),
    /// The requests that the sender is handling.
    Heartbeat(Vec<MessageId>),
    /// Asks for all receipts and credits.
    Probe,
    Goodbye {
        /// The identity ends with its process and won't be back.
        is_final: bool,
    },
    /// A section of a later version, skipped.
    Unknown(u8),
}

/// Whole messages with consecutive transport numbers.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Messages {
    /// Lowest number whose outcome the sender still waits for.
    pub floor: u64,
    /// Number of the first message; `first` plus their count doesn't overflow.
    pub first: u64,
    pub messages: EncodedMessages,
}

/// The encoded messages of one section, each a slice of the frame.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct EncodedMessages {
    /// Exactly `left` lengths and messages: checked when the section was read.
    bytes: Bytes,
    left: u16,
}

impl EncodedMessages {
    fn checked(bytes: Bytes, count: u16) -> Result<Self, Error> {
        let mut reader = Reader::new(&bytes);
        for _ in 0..count {
            let len = reader.u32()? as usize;
            reader.take(len)?;
        }
        reader.finish("messages section")?;
        Ok(Self { bytes, left: count })
    }
}

impl Iterator for EncodedMessages {
    type Item = Bytes;

    fn next(&mut self) -> Option<Bytes> {
        self.left = self.left.checked_sub(1)?;
        let len = self.bytes.get_u32() as usize;
        Some(self.bytes.split_to(len))
    }

    fn size_hint(&self) -> (usize, Option<usize>) {
        (self.left.into(), Some(self.left.into()))
    }
}

impl ExactSizeIterator for EncodedMessages {}
impl FusedIterator for EncodedMessages {}

/// A piece of a message that is too long for one frame.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Chunk {
    pub floor: u64,
    pub number: u64,
    /// Where the piece belongs in the encoded message; it ends within `total`.
    pub offset: u64,
    /// Bytes of the whole encoded message, as the sender claims: to be held against the receiver's
    /// own limit before anything is reserved for it.
    pub total: u64,
    /// 1 to [`CHUNK_LIMIT`] bytes.
    pub bytes: Bytes,
}

/// What became of messages of one lane.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Receipt {
    pub lane: Lane,
    /// Every number below is in the receiver's memory.
    pub delivered_below: u64,
    /// Numbers beyond it that are there too. A range is never empty, but may reach as far as the
    /// peer likes: intersect it with what is outstanding, never count it out.
    pub delivered: Vec<Range<u64>>,
    /// Numbers that were handled, with the same caution.
    pub done: Vec<Range<u64>>,
    pub refused: Vec<RefusedNumber>,
}

impl Receipt {
    /// Makes a receipt that reports nothing beyond `delivered_below`.
    pub fn new(lane: Lane, delivered_below: u64) -> Self {
        Self { lane, delivered_below, delivered: Vec::new(), done: Vec::new(), refused: Vec::new() }
    }

    /// Returns how many bytes [`put_receipt`] writes.
    pub fn encoded_len(&self) -> usize {
        let refused = self.refused.iter().take(LIST_LIMIT);
        SECTION_HEADER_LEN
            + 12
            + 16 * self.delivered.len().min(LIST_LIMIT)
            + 16 * self.done.len().min(LIST_LIMIT)
            + refused.map(RefusedNumber::encoded_len).sum::<usize>()
    }
}

/// A message that its receiver refused.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RefusedNumber {
    pub number: u64,
    pub code: RefusalCode,
    pub reason: String,
}

impl RefusedNumber {
    fn encoded_len(&self) -> usize {
        10 + cut(&self.reason, SHORT_TEXT_LIMIT).len()
    }
}

/// What a sender may have sent in all, since the runs met, in one lane and class.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Credit {
    /// Any lane but control, which needs no credit.
    pub lane: Lane,
    pub class: CreditClass,
    pub messages: u64,
    pub bytes: u64,
}

/// Reads the sections of an opened frame in order.
///
/// The iterator ends after the last section or after the first error.
pub fn sections(content: Bytes) -> Sections {
    Sections { rest: content }
}

/// The sections of one frame; see [`sections`].
#[derive(Clone, Debug)]
pub struct Sections {
    rest: Bytes,
}

impl Iterator for Sections {
    type Item = Result<Section, Error>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.rest.is_empty() {
            return None;
        }
        let section = self.read();
        if section.is_err() {
            self.rest.clear();
        }
        Some(section)
    }
}

impl FusedIterator for Sections {}

impl Sections {
    fn read(&mut self) -> Result<Section, Error> {
        let malformed = Error::Malformed { what: "section" };
        if self.rest.len() < SECTION_HEADER_LEN {
            return Err(malformed);
        }
        let section_type = self.rest.get_u8();
        let len = self.rest.get_u32() as usize;
        if len > self.rest.len() {
            return Err(malformed);
        }
        let body = self.rest.split_to(len);
        match section_type {
            MESSAGES => read_messages(body).map(Section::Messages),
            CHUNK => read_chunk(body).map(Section::Chunk),
            RECEIPT => read_receipt(&body).map(Section::Receipt),
            CREDIT => read_credit(&body).map(Section::Credit),
            HEARTBEAT => read_heartbeat(&body).map(Section::Heartbeat),
            PROBE => Reader::new(&body).finish("probe").map(|()| Section::Probe),
            GOODBYE => read_goodbye(&body),
            unknown => Ok(Section::Unknown(unknown)),
        }
    }
}

fn read_messages(body: Bytes) -> Result<Messages, Error> {
    let mut reader = Reader::new(&body);
    let floor = reader.u64()?;
    let first = reader.u64()?;
    let count = reader.u16()?;
    if first.checked_add(count.into()).is_none() {
        return Err(Error::Malformed { what: "message number" });
    }
    let messages = EncodedMessages::checked(body.slice_ref(reader.rest()), count)?;
    Ok(Messages { floor, first, messages })
}

fn read_chunk(body: Bytes) -> Result<Chunk, Error> {
    let mut reader = Reader::new(&body);
    let floor = reader.u64()?;
    let number = reader.u64()?;
    let offset = reader.u64()?;
    let total = reader.u64()?;
    let bytes = body.slice_ref(reader.rest());
    if bytes.is_empty() || bytes.len() > CHUNK_LIMIT || number == u64::MAX {
        return Err(Error::Malformed { what: "chunk" });
    }
    // Whole chunks and one rest: smaller ones would cost more memory than they carry.
    let is_on_grid = offset % CHUNK_LIMIT as u64 == 0;
    match total.checked_sub(offset) {
        Some(rest) if is_on_grid && bytes.len() as u64 == rest.min(CHUNK_LIMIT as u64) => {
            Ok(Chunk { floor, number, offset, total, bytes })
        }
        _ => Err(Error::Malformed { what: "chunk offset" }),
    }
}

fn read_receipt(body: &[u8]) -> Result<Receipt, Error> {
    let mut reader = Reader::new(body);
    let mut receipt = Receipt::new(Lane::try_from(reader.u8()?)?, reader.u64()?);
    receipt.delivered = read_ranges(&mut reader)?;
    receipt.done = read_ranges(&mut reader)?;
    receipt.refused = read_list(&mut reader, |reader| {
        Ok(RefusedNumber { number: reader.u64()?, code: reader.u8()?.into(), reason: reader.text8("refusal reason")?.to_owned() })
    })?;
    reader.finish("receipt")?;
    Ok(receipt)
}

fn read_credit(body: &[u8]) -> Result<Credit, Error> {
    let mut reader = Reader::new(body);
    let credit = Credit {
        lane: Lane::try_from(reader.u8()?)?,
        class: CreditClass::try_from(reader.u8()?)?,
        messages: reader.u64()?,
        bytes: reader.u64()?,
    };
    reader.finish("credit")?;
    if credit.lane == Lane::Control {
        return Err(Error::Malformed { what: "lane of a credit" });
    }
    Ok(credit)
}

fn read_heartbeat(body: &[u8]) -> Result<Vec<MessageId>, Error> {
    let mut reader = Reader::new(body);
    let ids = read_list(&mut reader, |reader| Ok(MessageId::from_bytes(reader.array()?)))?;
    reader.finish("heartbeat")?;
    Ok(ids)
}

fn read_goodbye(body: &[u8]) -> Result<Section, Error> {
    let mut reader = Reader::new(body);
    let is_final = reader.u8()? == 1;
    reader.finish("goodbye")?;
    Ok(Section::Goodbye { is_final })
}

fn read_range(reader: &mut Reader<'_>) -> Result<Range<u64>, Error> {
    let range = reader.u64()?..reader.u64()?;
    if range.is_empty() {
        return Err(Error::Malformed { what: "range of a receipt" });
    }
    Ok(range)
}

/// Ranges rise, so that no number is named twice: looking through them costs no more than there are messages under way.
fn read_ranges(reader: &mut Reader<'_>) -> Result<Vec<Range<u64>>, Error> {
    let ranges = read_list(reader, read_range)?;
    match ranges.is_sorted_by(|before, after| before.end <= after.start) {
        true => Ok(ranges),
        false => Err(Error::Malformed { what: "ranges of a receipt" }),
    }
}

/// Reads a `u8` count and that many items, reserving nothing before an item is really there.
fn read_list<T>(reader: &mut Reader<'_>, read: impl Fn(&mut Reader<'_>) -> Result<T, Error>) -> Result<Vec<T>, Error> {
    let count = reader.u8()?;
    (0..count).map(|_| read(reader)).collect()
}

/// Writes one messages section, message by message.
///
/// [`end`](Self::end) must be called: it fills in length and count.
#[must_use = "a section is valid only after `end`"]
pub struct MessagesWriter<'a> {
    out: &'a mut BytesMut,
    start: usize,
    count: u16,
}

impl<'a> MessagesWriter<'a> {
    /// Begins a section at the end of `out`; the first message added has the number `first`.
    pub fn begin(out: &'a mut BytesMut, floor: u64, first: u64) -> Self {
        let start = out.len();
        out.put_u8(MESSAGES);
        out.put_u32(0);
        out.put_u64(floor);
        out.put_u64(first);
        out.put_u16(0);
        Self { out, start, count: 0 }
    }

    /// Adds a message. Its body is copied, once, into the frame.
    pub fn add(&mut self, header: &MessageHeader, body: &[u8]) {
        self.out.put_u32((header.encoded_len() + body.len()) as u32);
        header.encode_into(self.out);
        self.out.put_slice(body);
        self.count += 1;
    }

    /// Adds a message that is encoded already.
    pub fn add_encoded(&mut self, message: &[u8]) {
        self.out.put_u32(message.len() as u32);
        self.out.put_slice(message);
        self.count += 1;
    }

    /// Returns how many messages were added.
    pub fn count(&self) -> u16 {
        self.count
    }

    /// Returns how many bytes the buffer holds, other sections included.
    pub fn buffer_len(&self) -> usize {
        self.out.len()
    }

    /// Ends the section; without a message it leaves nothing behind.
    pub fn end(self) -> u16 {
        if self.count == 0 {
            self.out.truncate(self.start);
            return 0;
        }
        end_section(self.out, self.start);
        let count_at = self.start + MESSAGES_OVERHEAD - 2;
        self.out[count_at..count_at + 2].copy_from_slice(&self.count.to_be_bytes());
        self.count
    }
}

/// Appends a chunk section; `chunk.bytes` is copied into the frame.
pub fn put_chunk(out: &mut BytesMut, floor: u64, number: u64, offset: u64, total: u64, bytes: &[u8]) {
    debug_assert!((1..=CHUNK_LIMIT).contains(&bytes.len()));
    out.reserve(CHUNK_OVERHEAD + bytes.len());
    put_section_header(out, CHUNK, CHUNK_OVERHEAD - SECTION_HEADER_LEN + bytes.len());
    out.put_u64(floor);
    out.put_u64(number);
    out.put_u64(offset);
    out.put_u64(total);
    out.put_slice(bytes);
}

/// Appends a receipt section. Of each list only the first [`LIST_LIMIT`] entries are written, and
/// reasons are cut to [`SHORT_TEXT_LIMIT`]: a receipt is repeated anyhow until it has done its work.
pub fn put_receipt(out: &mut BytesMut, receipt: &Receipt) {
    let start = out.len();
    put_section_header(out, RECEIPT, 0);
    out.put_u8(receipt.lane as u8);
    out.put_u64(receipt.delivered_below);
    put_list(out, &receipt.delivered, put_range);
    put_list(out, &receipt.done, put_range);
    put_list(out, &receipt.refused, |out, refused| {
        out.put_u64(refused.number);
        out.put_u8(refused.code.into());
        put_text8(out, cut(&refused.reason, SHORT_TEXT_LIMIT));
    });
    end_section(out, start);
}

/// Appends a credit section.
pub fn put_credit(out: &mut BytesMut, credit: &Credit) {
    put_section_header(out, CREDIT, CREDIT_LEN - SECTION_HEADER_LEN);
    out.put_u8(credit.lane as u8);
    out.put_u8(credit.class as u8);
    out.put_u64(credit.messages);
    out.put_u64(credit.bytes);
}

/// Appends a heartbeat section with the first [`LIST_LIMIT`] of `requests`.
pub fn put_heartbeat(out: &mut BytesMut, requests: &[MessageId]) {
    let start = out.len();
    put_section_header(out, HEARTBEAT, 0);
    put_list(out, requests, |out, id| out.put_slice(id.as_bytes()));
    end_section(out, start);
}

/// Appends a probe section.
pub fn put_probe(out: &mut BytesMut) {
    put_section_header(out, PROBE, 0);
}

/// Appends a goodbye section.
pub fn put_goodbye(out: &mut BytesMut, is_final: bool) {
    put_section_header(out, GOODBYE, 1);
    out.put_u8(is_final.into());
}

fn put_section_header(out: &mut BytesMut, section_type: u8, len: usize) {
    out.put_u8(section_type);
    out.put_u32(len as u32);
}

/// Fills in the length of the section that began at `start`.
fn end_section(out: &mut BytesMut, start: usize) {
    let len = (out.len() - start - SECTION_HEADER_LEN) as u32;
    out[start + 1..start + SECTION_HEADER_LEN].copy_from_slice(&len.to_be_bytes());
}

fn put_range(out: &mut BytesMut, range: &Range<u64>) {
    out.put_u64(range.start);
    out.put_u64(range.end);
}

fn put_list<T>(out: &mut BytesMut, items: &[T], put: impl Fn(&mut BytesMut, &T)) {
    let items = &items[..items.len().min(LIST_LIMIT)];
    out.put_u8(items.len() as u8);
    for item in items {
        put(out, item);
    }
}
