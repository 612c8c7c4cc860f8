//! The sending half of one lane to one peer: numbers, credit, what is under way, what has to go again.
//!
//! A message keeps its number for good, whichever run of the receiver gets it in the end: what waits at the switchboard under that number
//! can then be told from what comes in a session. The floor tells a receiver where the numbers that concern it begin.

mod parked;

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::time::Duration;

use bytes::{Bytes, BytesMut};

use super::credit::{CLASSES, SendCredit};
use crate::agent::event::{ReceiptState, Token};
use crate::agent::flight::{Flight, Start};
use crate::agent::limits::CREDIT_WINDOW_MESSAGES;
use crate::agent::message::{ContentType, CreditClass, Lost, MessageHeader, MessageKind};
use crate::agent::section::{CHUNK_LIMIT, MESSAGE_OVERHEAD, MESSAGES_OVERHEAD, MessagesWriter, Receipt, put_chunk};
use crate::proto::{Lane, MessageId, ThreadId};

/// Gaps that are kept for a receiver. Chosen: one for each message of a credit window.
const GAPS: usize = CREDIT_WINDOW_MESSAGES as usize;

/// A message on its way out: its plaintext stays here until the receiver has it.
#[derive(Clone, Debug)]
pub struct Outbound {
    pub token: Token,
    pub header: MessageHeader,
    pub body: Bytes,
    /// What its sender was told of it, as far as that is a hint; `None` once more than that is known.
    pub hint: Option<Hint>,
    /// Its place in the order of pushing. Tokens don't say that: all messages that nobody asks about share one.
    place: u64,
}

impl Outbound {
    pub fn new(token: Token, header: MessageHeader, body: Bytes) -> Self {
        Self { token, header, body, hint: Some(Hint::Queued), place: 0 }
    }

    /// Bytes of the encoded message: what it costs in credit and in the outbox.
    pub fn cost(&self) -> usize {
        self.header.encoded_len() + self.body.len()
    }

    fn wants_done(&self) -> bool {
        self.header.wants_done
    }

    /// It needs no credit, as it is all that the control lane carries.
    fn is_cancel(&self) -> bool {
        self.header.kind == MessageKind::Cancel
    }

    /// Where its order is promised. The common thread is for plain messages.
    fn order(&self) -> Option<ThreadId> {
        self.header.thread.or((self.header.kind == MessageKind::Plain).then_some(ThreadId::ZERO))
    }

    /// A gap in the place of what will not be sent, which stands for so many numbers before it as well.
    fn gap(lost: &MessageHeader, reply_to: Option<MessageId>, credit: Lost) -> Self {
        let mut header = MessageHeader::new(lost.id, MessageKind::Gap, 0, 0);
        header.after = lost.after;
        header.thread = lost.thread;
        header.free = lost.free;
        header.reply_to = reply_to;
        Self::new(0, header, credit.encode())
    }

    fn is_gap(&self) -> bool {
        self.header.kind == MessageKind::Gap
    }
}

/// What a switchboard may say of a message: never final, and told only if it changes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Hint {
    Queued,
    Unknown,
    Full { retry_after: Duration },
    Accepted,
}

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
    /// Not numbered yet, one queue for each class of credit so that a class without credit doesn't hold up the others.
    waiting: [VecDeque<Outbound>; CLASSES],
    /// How many messages were pushed.
    pushed: u64,
    /// Places of waiting messages within named threads, across classes.
    thread_order: BTreeMap<ThreadId, VecDeque<u64>>,
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
    /// Bytes that were sent and aren't known to have arrived.
    under_way: u64,
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
    /// Its bytes, while it is under way.
    under_way: u64,
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
    pub fn push(&mut self, mut message: Outbound) {
        self.starved = false;
        self.parking.look_again();
        message.place = self.pushed;
        self.pushed += 1;
        if let Some(thread) = message.header.thread {
            self.thread_order.entry(thread).or_default().push_back(message.place);
        }
        self.waiting[message.header.kind.credit_class().index()].push_back(message);
    }

    /// Whether `build` may have something to do.
    pub fn has_work(&self) -> bool {
        self.chunking.is_some()
            || !self.resend.is_empty()
            || !self.holes.is_empty()
            || (!self.starved && self.waiting.iter().any(|queue| !queue.is_empty()))
    }

    /// Whether the receiver has still to say something about what was sent, or to give credit for what waits.
    pub fn has_unsettled(&self) -> bool {
        !self.entries.is_empty() || self.starved
    }

    /// Bytes that were sent and aren't known to have arrived.
    pub fn bytes_under_way(&self) -> u64 {
        self.under_way
    }

    /// Other lanes have so many bytes under way on the same path.
    pub fn note_beside(&mut self, bytes: u64) {
        self.flight.note_beside(bytes);
    }

    /// How many messages wait for their number.
    pub fn waiting(&self) -> usize {
        self.waiting.iter().map(VecDeque::len).sum()
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
            || self.waiting.iter().any(|queue| queue.front().is_some_and(|message| message.body.len() > 1_024))
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
            let cost = self.waiting[class].front().map(Outbound::cost)?;
            let used = section.as_ref().map_or(MESSAGES_OVERHEAD, MessagesWriter::buffer_len);
            if section.is_some()
                && (used + MESSAGE_OVERHEAD + cost > room || section.as_ref().is_some_and(|s| s.count() == u16::MAX))
            {
                break;
            }
            let message = self.take_waiting(class)?;
            if !message.is_cancel() {
                self.credit[class].take(cost as u64);
            }
            let flight = self.counts(&message).then(|| self.flight.start(cost as u64, now));
            let number = self.next();
            self.under_way += cost as u64;
            let message = self.number(message, number, flight, now);
            if cost > CHUNK_LIMIT {
                let message = message.clone();
                self.start_chunks(number, &message);
                return self.build_chunk(out.take()?, now);
            }
            let floor = self.first;
            let writer = match section.as_mut() {
                Some(writer) => writer,
                None => section.insert(MessagesWriter::begin(out.take()?, floor, first)),
            };
            if let Some(Entry { message: Some(message), .. }) = self.entries.back() {
                writer.add(&message.header, &message.body);
            }
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
        for (class, queue) in self.waiting.iter().enumerate() {
            let Some(message) = queue.front() else { continue };
            let in_order = message
                .header
                .thread
                .is_none_or(|thread| self.thread_order.get(&thread).and_then(VecDeque::front) == Some(&message.place));
            let cost = message.cost() as u64;
            let place = message.place;
            if !in_order || !(message.is_cancel() || self.credit[class].covers(cost)) {
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

    fn take_waiting(&mut self, class: usize) -> Option<Outbound> {
        let message = self.waiting[class].pop_front()?;
        self.leave_thread_order(&message);
        Some(message)
    }

    fn leave_thread_order(&mut self, message: &Outbound) {
        let Some(thread) = message.header.thread else { return };
        if let Some(order) = self.thread_order.get_mut(&thread) {
            order.retain(|place| *place != message.place);
            if order.is_empty() {
                self.thread_order.remove(&thread);
            }
        }
    }

    /// Gives the message its number and its place in its thread.
    fn number(&mut self, mut message: Outbound, number: u64, flight: Option<Start>, now: Duration) -> &Outbound {
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
        let message_cost = message.cost() as u64;
        self.entries.push_back(Entry {
            message: Some(message),
            delivered: false,
            sent_at: now,
            repeated: false,
            accepted: false,
            under_way: message_cost,
            flight,
        });
        self.entries.back().and_then(|entry| entry.message.as_ref()).expect("pushed on the line above")
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
        let under_way = std::mem::take(&mut entry.under_way);
        if let Some(start) = entry.flight.take() {
            self.flight.land(start, !repeated, now);
            self.starved = false;
        }
        self.under_way = self.under_way.saturating_sub(under_way);
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
        if let Some(entry) = self.entry(number) {
            let (under_way, start) = (std::mem::take(&mut entry.under_way), entry.flight.take());
            self.under_way = self.under_way.saturating_sub(under_way);
            if let Some(start) = start {
                self.flight.land(start, false, Duration::ZERO);
                self.starved = false;
            }
        }
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

    /// Ends what is too late, by the sender's clock. A message that has a number leaves a gap in its place, which is sent until the
    /// receiver has it, so that its thread goes on. Returns the next expiry.
    pub fn expire(&mut self, wall: u64, settled: &mut Vec<Settled>) -> Option<u64> {
        let mut next: Option<u64> = None;
        let mut keep = |expiry: u64| next = Some(next.map_or(expiry, |earliest: u64| earliest.min(expiry)));
        for class in 0..CLASSES {
            let (late, rest): (VecDeque<_>, VecDeque<_>) =
                std::mem::take(&mut self.waiting[class]).into_iter().partition(|message| message.header.expiry <= wall);
            rest.iter().for_each(|message| keep(message.header.expiry));
            self.waiting[class] = rest;
            for message in late {
                self.leave_thread_order(&message);
                settled.push((message.token, ReceiptState::Expired, message.cost()));
            }
        }
        let mut gaps = 0usize;
        for number in self.first..self.next() {
            let Some(message) = self.entry(number).and_then(|entry| entry.message.as_ref()) else { continue };
            if message.is_gap() {
                gaps += 1;
                continue;
            }
            if message.header.expiry > wall {
                keep(message.header.expiry);
            } else {
                let lost = Some(message.header.id);
                self.give_up(number, lost, ReceiptState::Expired, settled);
            }
        }
        self.forget_gaps(gaps.saturating_sub(GAPS));
        self.parking.look_again();
        self.pop_settled();
        next
    }

    /// Lets the oldest gaps go, for a receiver that is away for so long that nothing but gaps is left for it: the floor tells it as much.
    fn forget_gaps(&mut self, many: usize) {
        let gaps = |entry: &Entry| entry.message.as_ref().is_some_and(Outbound::is_gap);
        for (number, entry) in (self.first..).zip(&mut self.entries).filter(|(_, entry)| gaps(entry)).take(many) {
            entry.message = None;
            self.resend.remove(&number);
        }
    }

    /// Takes a message back, wherever it is. False if the receiver has it, or it isn't here.
    pub fn withdraw(&mut self, token: Token, settled: &mut Vec<Settled>) -> bool {
        for class in 0..CLASSES {
            if let Some(at) = self.waiting[class].iter().position(|message| message.token == token)
                && let Some(message) = self.waiting[class].remove(at)
            {
                self.leave_thread_order(&message);
                settled.push((token, ReceiptState::Failed, message.cost()));
                return true;
            }
        }
        let found = (self.first..).zip(&self.entries).find(|(_, entry)| {
            entry.is_under_way() && entry.message.as_ref().is_some_and(|message| message.token == token && !message.is_gap())
        });
        let Some(number) = found.map(|(number, _)| number) else { return false };
        self.give_up(number, None, ReceiptState::Failed, settled);
        self.pop_settled();
        true
    }

    /// Takes back all messages of this token, also those that the receiver has and hasn't handled. Returns what each had cost.
    pub fn withdraw_all(&mut self, token: Token) -> Vec<usize> {
        let mut settled = Vec::new();
        while self.withdraw(token, &mut settled) {}
        let is_left = |entry: &Entry| entry.message.as_ref().is_some_and(|message| message.token == token && !message.is_gap());
        let left: Vec<u64> =
            (self.first..).zip(&self.entries).filter(|(_, entry)| is_left(entry)).map(|(number, _)| number).collect();
        for number in left {
            self.settle(number, ReceiptState::Failed, &mut settled);
        }
        self.pop_settled();
        settled.into_iter().map(|(_, _, cost)| cost).collect()
    }

    /// Puts a gap in the place of a message, or just settles it when the receiver has it already.
    fn give_up(&mut self, number: u64, lost: Option<MessageId>, state: ReceiptState, settled: &mut Vec<Settled>) {
        let Some(entry) = self.entry(number) else { return };
        if entry.delivered {
            return self.settle(number, state, settled);
        }
        entry.accepted = false;
        let Some(message) = entry.message.as_mut() else { return };
        settled.push((message.token, state, message.cost()));
        let cost = u32::try_from(message.cost()).unwrap_or(u32::MAX);
        let credit = Lost { class: message.header.kind.credit_class(), cost, before: 0 };
        *message = Outbound::gap(&message.header, lost, credit);
        if self.chunking.as_ref().is_some_and(|chunking| chunking.number == number) {
            self.chunking = None;
        }
        self.forget_holes(number);
        self.resend.insert(number);
    }

    /// The receiver is another run, and knows nothing. What isn't settled goes again under its old number, marked, and without credit, which
    /// begins anew. Each stretch of numbers between them that the earlier run settled is one gap.
    pub fn restart(&mut self) {
        self.chunking = None;
        self.holes.clear();
        self.resend.clear();
        self.last_in_thread.clear();
        self.credit = Default::default();
        self.starved = false;
        self.flight.restart();
        self.under_way = 0;
        self.parking.restart();
        self.progress_at = Duration::ZERO;
        self.progress_sent_at = Duration::ZERO;
        for entry in self.entries.iter_mut().filter(|entry| entry.message.as_ref().is_some_and(Outbound::is_gap)) {
            entry.message = None;
        }
        self.pop_settled();
        self.delivered_below = self.first;
        let mut settled_before = 0;
        let mut unsettled = (self.first..).zip(&mut self.entries).peekable();
        while let Some((number, entry)) = unsettled.next() {
            entry.delivered = false;
            entry.repeated = true;
            entry.under_way = 0;
            entry.flight = None;
            if let Some(message) = &mut entry.message {
                let last = message.order().and_then(|thread| self.last_in_thread.insert(thread, number));
                message.header.after = last.map_or(0, |last| u32::try_from(number - last).unwrap_or(0));
                message.header.maybe_repeated = true;
                message.header.free = true;
            } else if unsettled.peek().is_none_or(|(_, next)| next.message.is_some()) {
                let mut nothing = MessageHeader::new(MessageId::ZERO, MessageKind::Gap, 0, 0);
                nothing.free = true;
                let credit = Lost { class: CreditClass::Other, cost: 0, before: settled_before };
                entry.message = Some(Outbound::gap(&nothing, None, credit));
                settled_before = 0;
            } else {
                settled_before += 1;
                continue;
            }
            if !entry.accepted {
                self.resend.insert(number);
            }
        }
    }

    /// The receiver will never come back: everything that it doesn't have ends so.
    pub fn fail_all(&mut self, settled: &mut Vec<Settled>) {
        let next = self.next();
        let waiting = std::mem::take(&mut self.waiting).into_iter().flatten();
        let under_way = self.entries.drain(..).filter_map(|entry| entry.message).filter(|message| !message.is_gap());
        settled.extend(under_way.chain(waiting).map(|message| (message.token, ReceiptState::Failed, message.cost())));
        let mut flight = std::mem::take(&mut self.flight);
        flight.restart();
        *self = Self { first: next, delivered_below: next, flight, ..Self::default() };
    }

    /// Tokens of everything that the receiver isn't known to have, nor the switchboard to keep for it.
    pub fn undelivered(&self) -> impl Iterator<Item = Token> + '_ {
        let under_way = self
            .entries
            .iter()
            .filter(|entry| entry.is_under_way() && !entry.accepted)
            .filter_map(|entry| entry.message.as_ref())
            .filter(|message| !message.is_gap());
        under_way.chain(self.waiting.iter().flatten()).map(|message| message.token)
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
