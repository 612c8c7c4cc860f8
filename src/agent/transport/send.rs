//! The sending half of one lane to one peer: numbers, credit, what is under way, what has to go again.
//!
//! A message keeps its number for good, whichever run of the receiver gets it in the end: what waits at the switchboard under that number
//! can then be told from what comes in a session. The floor tells a receiver where the numbers that concern it begin.
//!
//! `waiting`: what has no number yet; `parked`: what waits at the switchboard; `endings`: what doesn't arrive.

mod endings;
mod parked;
mod waiting;

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::time::Duration;

use bytes::{Bytes, BytesMut};

use super::credit::{CLASSES, SendCredit};
use super::outbound::Outbound;
use crate::agent::event::{ReceiptState, Token};
use crate::agent::flight::{Flight, Start};
use crate::agent::message::{ContentType, MessageHeader, MessageKind};
use crate::agent::section::{CHUNK_LIMIT, MESSAGE_OVERHEAD, MESSAGES_OVERHEAD, MessagesWriter, Receipt, put_chunk};
use crate::proto::{Lane, ThreadId};
use waiting::Waiting;

/// What `build` put into a frame, to be found again when the frame bounces.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Built {
    pub first: u64,
    pub count: u16,
    /// Where the part begins, if it is one of a long message.
    pub offset: Option<u32>,
}

/// A message that needs no more care: its token, how it ended, and its cost.
pub type Settled = (Token, ReceiptState, usize);

/// Call `push`, then `build` for each frame that may go out; `handle_*` for what comes back.
#[derive(Debug, Default)]
pub struct SendLane {
    waiting: Waiting,
    /// Numbered, from `first` on; the front one is never settled.
    entries: VecDeque<Entry>,
    first: u64,
    resend: BTreeSet<u64>,
    /// Parts of long messages that bounced: number, offset.
    holes: BTreeSet<(u64, u32)>,
    chunking: Option<Chunking>,
    /// The last number of each thread that may still be on its way.
    last_in_thread: BTreeMap<ThreadId, u64>,
    delivered_below: u64,
    /// When the receiver last said that something more had arrived, and when the newest of that was sent.
    progress_at: Duration,
    progress_sent_at: Duration,
    credit: [SendCredit; CLASSES],
    flight: Flight,
    /// Those of all entries: a sum that each frame needs.
    bytes_under_way: u64,
    starved: bool,
    parking: parked::Parking,
}

#[derive(Debug)]
struct Entry {
    /// `None` once settled.
    message: Option<Outbound>,
    delivered: bool,
    sent_at: Duration,
    /// It went more than once: when it arrives says nothing about how long that takes.
    repeated: bool,
    /// The switchboard keeps it: it goes again only if its receiver stays silent once it is there.
    accepted: bool,
    /// Those that are on the way to its receiver.
    bytes: u64,
    /// It counts for what may be under way.
    flight: Option<Start>,
}

/// A long message that is being cut up, and how far.
#[derive(Debug)]
struct Chunking {
    number: u64,
    offset: usize,
    header: Bytes,
    body: Bytes,
}

impl SendLane {
    /// A lane whose first number is this one.
    pub fn new(lane: Lane, first: u64) -> Self {
        Self { first, delivered_below: first, flight: Flight::new(lane == Lane::Bulk), ..Self::default() }
    }

    /// Takes a message to send.
    pub fn push(&mut self, message: Outbound) {
        self.starved = false;
        self.parking.look_again();
        self.waiting.push(message);
    }

    /// Whether `build` may have something to do.
    pub fn has_work(&self) -> bool {
        self.chunking.is_some() || !self.resend.is_empty() || !self.holes.is_empty() || (!self.starved && self.waiting.len() > 0)
    }

    /// Whether the receiver has still to say something about what was sent, or to give credit for what waits.
    pub fn has_unsettled(&self) -> bool {
        !self.entries.is_empty() || self.starved
    }

    /// Bytes that were sent and aren't known to have arrived.
    pub fn bytes_under_way(&self) -> u64 {
        self.bytes_under_way
    }

    /// Other lanes have so many bytes under way on the same path.
    pub fn note_beside(&mut self, bytes: u64) {
        self.flight.note_beside(bytes);
    }

    /// How many messages wait for their number.
    pub fn waiting(&self) -> usize {
        self.waiting.len()
    }

    /// Messages that were sent and aren't settled, those between settled ones included.
    pub fn under_way(&self) -> usize {
        self.entries.len()
    }

    /// Whether the next frame is likely to be a full one: worth its whole buffer at once instead of by doubling.
    pub fn fills_a_frame(&self) -> bool {
        self.chunking.is_some()
            || !self.holes.is_empty()
            || self.resend.len() > 8
            || self.waiting() > 8
            || self.waiting.fronts().any(|(_, message)| message.body.len() > 1_024)
    }

    /// Since when nothing has been heard of the message that has been under way for the longest.
    pub fn silent_since(&self) -> Option<Duration> {
        self.entries.iter().find(|entry| entry.is_under_way()).map(|entry| self.silence_of(entry))
    }

    /// What was sent waits in queues, and arrives in its order: as long as something arrives, only what was overtaken is silent.
    fn silence_of(&self, entry: &Entry) -> Duration {
        if entry.sent_at < self.progress_sent_at { entry.sent_at } else { entry.sent_at.max(self.progress_at) }
    }

    /// Writes as much as fits into one frame (a buffer of `room` bytes; one message always fits): a chunk that bounced or the next one, else
    /// what has to go again, else what waits and has credit.
    pub fn build(&mut self, out: &mut BytesMut, room: usize, now: Duration) -> Option<Built> {
        while let Some((number, offset)) = self.holes.pop_first() {
            if let Some(built) = self.build_hole(number, offset, out, now) {
                return Some(built);
            }
        }
        if self.chunking.is_some() {
            return self.build_chunk(out, now);
        }
        if cfg!(feature = "planted_retry_off") {
            self.resend.clear();
        }
        while let Some(number) = self.resend.pop_first() {
            if let Some(built) = self.build_again(number, out, room, now) {
                return Some(built);
            }
        }
        self.build_waiting(out, room, now)
    }

    fn build_chunk(&mut self, out: &mut BytesMut, now: Duration) -> Option<Built> {
        let floor = self.first;
        let chunking = self.chunking.as_mut()?;
        let (number, offset) = (chunking.number, chunking.offset);
        let total = chunking.header.len() + chunking.body.len();
        put_part(out, floor, number, offset, &chunking.header, &chunking.body);
        chunking.offset = total.min(offset + CHUNK_LIMIT);
        if chunking.offset == total {
            self.chunking = None;
        }
        self.note_part(number, offset, now)
    }

    /// Sends a part again that did not arrive.
    fn build_hole(&mut self, number: u64, offset: u32, out: &mut BytesMut, now: Duration) -> Option<Built> {
        let floor = self.first;
        let message = self.entry(number)?.message.clone().filter(|message| message.cost() > CHUNK_LIMIT)?;
        put_part(out, floor, number, offset as usize, &encode_header(&message.header), &message.body);
        self.note_part(number, offset as usize, now)
    }

    fn note_part(&mut self, number: u64, offset: usize, now: Duration) -> Option<Built> {
        self.entry(number)?.sent_at = now;
        Some(Built { first: number, count: 1, offset: u32::try_from(offset).ok() })
    }

    /// Sends `number` again, and those that follow it and have to go again as well, as far as they fit.
    fn build_again(&mut self, number: u64, out: &mut BytesMut, room: usize, now: Duration) -> Option<Built> {
        let floor = self.first;
        let entry = self.entry(number)?;
        entry.repeated = true;
        let message = entry.message.clone()?;
        if message.cost() > CHUNK_LIMIT {
            self.start_chunks(number, &message);
            return self.build_chunk(out, now);
        }
        let mut section = MessagesWriter::begin(out, floor, number);
        section.add(&message.header, &message.body);
        let mut end = number + 1;
        if let Some(entry) = self.entries.get_mut((number - self.first) as usize) {
            entry.sent_at = now;
        }
        while self.resend.first() == Some(&end) {
            let Some(entry) = self.entries.get_mut((end - self.first) as usize) else { break };
            let Some(message) = entry.message.as_ref() else { break };
            if section.buffer_len() + MESSAGE_OVERHEAD + message.cost() > room {
                break;
            }
            section.add(&message.header, &message.body);
            entry.sent_at = now;
            entry.repeated = true;
            self.resend.pop_first();
            end += 1;
        }
        Some(Built { first: number, count: section.end(), offset: None })
    }

    fn build_waiting(&mut self, out: &mut BytesMut, room: usize, now: Duration) -> Option<Built> {
        let first = self.next();
        let mut section: Option<MessagesWriter<'_>> = None;
        let mut out = Some(out);
        while let Some(class) = self.next_class() {
            let cost = self.waiting.front(class).map(Outbound::cost)?;
            let used = section.as_ref().map_or(MESSAGES_OVERHEAD, MessagesWriter::buffer_len);
            if section.is_some()
                && (used + MESSAGE_OVERHEAD + cost > room || section.as_ref().is_some_and(|s| s.count() == u16::MAX))
            {
                break;
            }
            let message = self.waiting.take(class)?;
            if !message.is_cancel() {
                self.credit[class].take(cost as u64);
            }
            let flight = self.counts(&message).then(|| self.flight.start(cost as u64, now));
            let number = self.next();
            self.number(message, number, now);
            self.depart(cost as u64, flight);
            let message = self.entries.back().and_then(|entry| entry.message.as_ref())?;
            if cost > CHUNK_LIMIT {
                let message = message.clone();
                self.start_chunks(number, &message);
                return self.build_chunk(out.take()?, now);
            }
            let writer = match section.as_mut() {
                Some(writer) => writer,
                None => section.insert(MessagesWriter::begin(out.take()?, self.first, first)),
            };
            writer.add(&message.header, &message.body);
        }
        section.map(|section| Built { first, count: section.end(), offset: None })
    }

    /// The class whose front message goes next: the oldest among those that have credit and keep the order of their threads. Of those that
    /// count for what may be under way, none overtakes an older one that there is no room for: small ones would starve large ones.
    fn next_class(&mut self) -> Option<usize> {
        self.starved = false;
        let mut blocked = false;
        let mut best: Option<(u64, usize)> = None;
        let mut counted: Option<(u64, usize, u64)> = None;
        for (class, message) in self.waiting.fronts() {
            let (cost, place) = (message.cost() as u64, message.place);
            let is_covered = message.is_cancel() || self.credit[class].covers(cost);
            if !is_covered || !self.waiting.is_first_of_thread(message) {
                blocked = true;
            } else if self.counts(message) && !message.is_cancel() {
                if counted.is_none_or(|(oldest, ..)| place < oldest) {
                    counted = Some((place, class, cost));
                }
            } else if best.is_none_or(|(oldest, _)| place < oldest) {
                best = Some((place, class));
            }
        }
        if let Some((place, class, cost)) = counted
            && best.is_none_or(|(oldest, _)| place < oldest)
        {
            if self.flight.admits(cost) {
                best = Some((place, class));
            } else {
                blocked = true;
            }
        }
        self.starved = blocked && best.is_none();
        best.map(|(_, class)| class)
    }

    /// Whether a message counts for what may be under way.
    fn counts(&self, message: &Outbound) -> bool {
        self.flight.counts_all() || message.header.kind == MessageKind::Part
    }

    /// Gives the message its number and its place in its thread.
    fn number(&mut self, mut message: Outbound, number: u64, now: Duration) {
        let last = message.order().and_then(|thread| self.last_in_thread.insert(thread, number));
        // What the receiver is known to have needs no waiting for: everything below is in its memory, in order.
        message.header.after = match last {
            Some(last) if last >= self.delivered_below => u32::try_from(number - last).unwrap_or(0),
            _ => 0,
        };
        // The first part of a large body waits for its head, which is of another thread.
        if message.header.content_type == ContentType::Large {
            self.last_in_thread.insert(ThreadId::from_bytes(*message.header.id.as_bytes()), number);
        }
        self.entries.push_back(Entry {
            message: Some(message),
            delivered: false,
            sent_at: now,
            repeated: false,
            accepted: false,
            bytes: 0,
            flight: None,
        });
    }

    /// The newest message goes to its receiver itself, and not to the switchboard to wait there.
    fn depart(&mut self, bytes: u64, flight: Option<Start>) {
        let Some(entry) = self.entries.back_mut() else { return };
        (entry.bytes, entry.flight) = (bytes, flight);
        self.bytes_under_way += bytes;
    }

    /// A message has arrived, or nothing is to be heard of it any more. `went_once`: it tells something about the path.
    fn land(&mut self, number: u64, went_once: bool, now: Duration) {
        let Some(entry) = self.entry(number) else { return };
        let (bytes, flight) = (std::mem::take(&mut entry.bytes), entry.flight.take());
        self.bytes_under_way -= bytes;
        if let Some(start) = flight {
            self.flight.land(start, went_once, now);
            self.starved = false;
        }
    }

    fn start_chunks(&mut self, number: u64, message: &Outbound) {
        self.chunking = Some(Chunking { number, offset: 0, header: encode_header(&message.header), body: message.body.clone() });
    }

    /// The receiver says what it has, and what came of it. Numbers that were never given are not believed. Returns how long the newest of
    /// what arrived was under way, if that can be told.
    pub fn handle_receipt(&mut self, receipt: &Receipt, settled: &mut Vec<Settled>, now: Duration) -> Option<Duration> {
        let next = self.next();
        let mut newest = None;
        let below = receipt.delivered_below.min(next);
        self.delivered_below = self.delivered_below.max(below);
        let ranges = receipt.delivered.iter().map(|range| (range.start, range.end));
        for (first, end) in std::iter::once((self.first, below)).chain(ranges) {
            for number in first.max(self.first)..end.min(next) {
                newest = newest.max(self.deliver(number, settled, now));
            }
        }
        for range in &receipt.done {
            for number in range.start.max(self.first)..range.end.min(next) {
                self.settle(number, ReceiptState::Done, settled);
            }
        }
        for refused in &receipt.refused {
            let state = ReceiptState::Refused { code: refused.code, reason: refused.reason.clone() };
            self.settle(refused.number, state, settled);
        }
        self.pop_settled();
        newest.map(|sent_at| now.saturating_sub(sent_at))
    }

    /// Takes what was written for delivered, which it isn't: a fault that the simulation has to find.
    pub fn believe(&mut self, built: Built, settled: &mut Vec<Settled>, now: Duration) {
        for number in built.first..built.first + u64::from(built.count) {
            self.deliver(number, settled, now);
        }
        self.pop_settled();
    }

    /// Returns when the message was sent, if it went once and was not known to have arrived.
    fn deliver(&mut self, number: u64, settled: &mut Vec<Settled>, now: Duration) -> Option<Duration> {
        let entry = self.entry(number).filter(|entry| !entry.delivered)?;
        entry.delivered = true;
        let (sent_at, repeated) = (entry.sent_at, entry.repeated);
        if let Some(message) = &mut entry.message {
            message.hint = None;
        }
        self.land(number, !repeated, now);
        let entry = self.entry(number)?;
        let (is_gap, wants_done, token) =
            entry.message.as_ref().map(|message| (message.is_gap(), message.wants_done(), message.token))?;
        self.progress_at = now;
        if !repeated {
            self.progress_sent_at = self.progress_sent_at.max(sent_at);
        }
        if wants_done && !is_gap {
            settled.push((token, ReceiptState::Delivered, 0));
        } else {
            self.settle(number, ReceiptState::Delivered, settled);
        }
        (!repeated).then_some(sent_at)
    }

    fn settle(&mut self, number: u64, state: ReceiptState, settled: &mut Vec<Settled>) {
        let Some(message) = self.entry(number).and_then(|entry| entry.message.take()) else { return };
        self.land(number, false, Duration::ZERO);
        self.resend.remove(&number);
        self.forget_holes(number);
        if self.chunking.as_ref().is_some_and(|chunking| chunking.number == number) {
            self.chunking = None;
        }
        if let Some(thread) = message.order()
            && self.last_in_thread.get(&thread) == Some(&number)
            && number < self.delivered_below
        {
            self.last_in_thread.remove(&thread);
        }
        if !message.is_gap() {
            settled.push((message.token, state, message.cost()));
        }
    }

    fn pop_settled(&mut self) {
        while self.entries.front().is_some_and(|entry| entry.message.is_none()) {
            self.entries.pop_front();
            self.first += 1;
        }
        let (first, below) = (self.first, self.delivered_below);
        // Threads whose last message is known to have arrived need no entry; swept when there are many, so that the cost is spread.
        if self.last_in_thread.len() > 64 + 2 * self.entries.len() {
            self.last_in_thread.retain(|_, last| *last >= first.min(below));
        }
    }

    /// More may be sent. True if something waited for it.
    pub fn handle_credit(&mut self, class: usize, messages: u64, bytes: u64) -> bool {
        self.credit[class].grant(messages, bytes);
        std::mem::take(&mut self.starved)
    }

    /// A frame did not arrive: what it carried goes again, unless the receiver has it.
    pub fn handle_bounce(&mut self, built: Built) {
        for number in built.first..built.first + u64::from(built.count) {
            if !self.entry(number).is_some_and(|entry| entry.is_under_way() && !entry.accepted) || self.resend.contains(&number) {
                continue;
            }
            match built.offset {
                Some(offset) => self.holes.insert((number, offset)),
                None => self.resend.insert(number),
            };
        }
    }

    fn forget_holes(&mut self, number: u64) {
        while let Some(&hole) = self.holes.range((number, 0)..=(number, u32::MAX)).next() {
            self.holes.remove(&hole);
        }
    }

    /// The path broke, or the session did: everything goes again that isn't confirmed and that the switchboard doesn't keep.
    pub fn doubt_all(&mut self) {
        self.chunking = None;
        for number in self.first..self.next() {
            if !self.entry(number).is_some_and(|entry| entry.accepted) {
                self.resend_unless_settled(number);
            }
        }
    }

    /// Nothing was heard for long: what has been silent since `since` goes again. True if there is anything.
    pub fn doubt_silent(&mut self, since: Duration) -> bool {
        let numbers: Vec<u64> = (self.first..)
            .zip(&self.entries)
            .filter(|(_, entry)| entry.is_under_way() && self.silence_of(entry) <= since)
            .map(|(number, _)| number)
            .collect();
        for number in &numbers {
            self.resend_unless_settled(*number);
        }
        !numbers.is_empty()
    }

    fn resend_unless_settled(&mut self, number: u64) {
        let chunking = self.chunking.as_ref().is_some_and(|chunking| chunking.number == number);
        if !chunking && self.entry(number).is_some_and(|entry| entry.is_under_way()) {
            self.forget_holes(number);
            self.resend.insert(number);
        }
    }

    /// Tokens of everything that the receiver isn't known to have, nor the switchboard to keep for it.
    pub fn undelivered(&self) -> impl Iterator<Item = Token> + '_ {
        let under_way = self
            .entries
            .iter()
            .filter(|entry| entry.is_under_way() && !entry.accepted)
            .filter_map(|entry| entry.message.as_ref())
            .filter(|message| !message.is_gap());
        under_way.chain(self.waiting.iter()).map(|message| message.token)
    }

    /// The number that is given next.
    pub fn next(&self) -> u64 {
        self.first + self.entries.len() as u64
    }

    fn entry(&mut self, number: u64) -> Option<&mut Entry> {
        let at = number.checked_sub(self.first)?;
        self.entries.get_mut(usize::try_from(at).ok()?)
    }
}

impl Entry {
    fn is_under_way(&self) -> bool {
        self.message.is_some() && !self.delivered
    }
}

fn encode_header(header: &MessageHeader) -> Bytes {
    let mut out = BytesMut::with_capacity(header.encoded_len());
    header.encode_into(&mut out);
    out.freeze()
}

/// Writes the part of a long message that begins at `offset`.
fn put_part(out: &mut BytesMut, floor: u64, number: u64, offset: usize, header: &[u8], body: &[u8]) {
    let total = header.len() + body.len();
    let end = total.min(offset + CHUNK_LIMIT);
    let mut joined = BytesMut::new();
    // Only the first part holds the header and has to be put together.
    let bytes: &[u8] = match offset.checked_sub(header.len()) {
        Some(from) => &body[from..end - header.len()],
        None => {
            joined.extend_from_slice(&header[offset..]);
            joined.extend_from_slice(&body[..end - header.len()]);
            &joined
        }
    };
    put_chunk(out, floor, number, offset as u64, total as u64, bytes);
}
