//! The receiving half of one lane from one run of a peer: each number once, whole, and in the order of its thread.
//!
//! Numbers are the sender's, and begin anywhere: its floor says below which there is nothing more to come.

use std::collections::{BTreeMap, BTreeSet};

use bytes::{Bytes, BytesMut};
use thiserror::Error;

use super::credit::{CLASSES, Cost, ReceiveCredit, Room};
use super::numbers::Numbers;
use super::outcomes::{Outcomes, RECEIPT_RANGES, Said};
use crate::agent::limits::{BODY_MAX, CREDIT_WINDOW_BYTES, MESSAGE_OVERHEAD_MAX};
use crate::agent::message::{CreditClass, Lost, MessageHeader, MessageKind, RefusalCode};
use crate::agent::parcel::ParkedMessage;
use crate::agent::section::{CHUNK_LIMIT, Chunk, Credit, Receipt};
use crate::proto::Lane;

/// Numbers this far beyond the first missing one are not taken. Chosen: far above any credit window.
const NUMBERS_AHEAD: u64 = 1 << 20;
/// Most separate ranges beyond the first missing number. Chosen: loss comes in bursts, so there are few.
const RANGES: usize = 1_024;
/// Bytes of long messages that are being put together in one lane, at most: what a sender that keeps to its credit can have under way.
const PARTIAL_BYTES: usize = CLASSES * CREDIT_WINDOW_BYTES as usize;

/// Why a message was not taken. It is not confirmed, so its sender learns by its expiry.
#[derive(Clone, Copy, Debug, Error, PartialEq, Eq)]
pub enum ReceiveError {
    /// The sender exceeds what it was granted, or what may be unread without a grant.
    #[error("the peer sent more than it was granted")]
    OverCredit,
    /// The number is too far ahead, or there are too many gaps.
    #[error("the peer numbered a message too far ahead")]
    TooFarAhead,
    /// The chunks don't fit together, or are too many.
    #[error("the peer's chunks don't fit together")]
    BadChunk,
    /// Only plain messages wait at a switchboard.
    #[error("the peer parked what can't wait")]
    WrongKind,
    /// Such a message may not travel in this lane.
    #[error("the peer used the control lane for a message")]
    WrongLane,
}

/// A message whose turn it is.
#[derive(Clone, Debug)]
pub struct HandedOver {
    pub number: u64,
    pub header: MessageHeader,
    pub body: Bytes,
    /// What to give back when it no longer takes memory.
    pub cost: Cost,
}

impl HandedOver {
    /// The number before it in its thread, if it has to wait for one.
    fn before(&self) -> Option<u64> {
        let after = u64::from(self.header.after).min(self.number);
        (after > 0).then_some(self.number - after)
    }

    /// The same with bytes of its own. Of what the header holds only the application's map is a slice of the frame.
    fn detached(mut self) -> Self {
        self.body = Bytes::copy_from_slice(&self.body);
        self.header.headers = self.header.headers.detached();
        self
    }
}

/// Call `handle_message` and `handle_chunk` for what comes in; then the application's `done` and `refuse`, and `receipt`.
#[derive(Debug)]
pub struct ReceiveLane {
    got: Numbers,
    /// In memory, but the message before it in its thread is missing.
    held: BTreeMap<u64, HandedOver>,
    /// (number that is waited for, number that waits)
    heirs: BTreeSet<(u64, u64)>,
    partial: BTreeMap<u64, Partial>,
    /// Of those that are held and came parked: until when they wait, on the sender's clock, and the number.
    waits: BTreeSet<(u64, u64)>,
    outcomes: Outcomes,
    credit: [ReceiveCredit; CLASSES],
    /// The sender's run has ended, and counts no credit any more.
    is_retired: bool,
}

impl Default for ReceiveLane {
    fn default() -> Self {
        let mut credit: [ReceiveCredit; CLASSES] = Default::default();
        credit[CreditClass::Part.index()] = ReceiveCredit::initial();
        Self {
            got: Numbers::default(),
            held: BTreeMap::new(),
            heirs: BTreeSet::new(),
            partial: BTreeMap::new(),
            waits: BTreeSet::new(),
            outcomes: Outcomes::default(),
            credit,
            is_retired: false,
        }
    }
}

/// A long message of which some parts are there, in any order.
#[derive(Debug, Default)]
struct Partial {
    total: usize,
    have: usize,
    parts_by_offset: BTreeMap<usize, Bytes>,
}

impl Partial {
    /// Adds a part, or skips one that is there. Parts that overlap otherwise aren't of one message.
    fn add(&mut self, chunk: &Chunk) -> Result<(), ReceiveError> {
        let offset = usize::try_from(chunk.offset).unwrap_or(usize::MAX);
        let end = offset.saturating_add(chunk.bytes.len());
        if self.parts_by_offset.get(&offset).is_some_and(|part| part.len() == chunk.bytes.len()) {
            return Ok(());
        }
        let before = self.parts_by_offset.range(..=offset).next_back();
        let after = self.parts_by_offset.range(offset..).next();
        let overlaps = before.is_some_and(|(at, part)| at + part.len() > offset) || after.is_some_and(|(at, _)| *at < end);
        if chunk.bytes.is_empty() || end > self.total || overlaps {
            return Err(ReceiveError::BadChunk);
        }
        self.have += chunk.bytes.len();
        // The last part is short: a copy of it doesn't keep a whole frame in memory.
        let is_short = chunk.bytes.len() < CHUNK_LIMIT / 2;
        let part = if is_short { Bytes::copy_from_slice(&chunk.bytes) } else { chunk.bytes.clone() };
        self.parts_by_offset.insert(offset, part);
        Ok(())
    }

    fn join(self) -> Bytes {
        let mut whole = BytesMut::with_capacity(self.total);
        self.parts_by_offset.values().for_each(|part| whole.extend_from_slice(part));
        whole.freeze()
    }
}

impl ReceiveLane {
    /// Takes a whole message. What may be handed over now is added to `out`, in order. Returns false for a duplicate.
    pub fn handle_message(
        &mut self,
        lane: Lane,
        number: u64,
        encoded: Bytes,
        room: &mut Room,
        out: &mut Vec<HandedOver>,
    ) -> Result<bool, ReceiveError> {
        if self.got.contains(number) && !cfg!(feature = "planted_dedup_off") {
            return Ok(false);
        }
        if self.is_too_far_ahead(number) {
            return Err(ReceiveError::TooFarAhead);
        }
        let Ok((header, body, cost)) = read(encoded.clone()) else {
            // It will not get better by being sent again.
            self.got.insert(number);
            self.refuse(number, RefusalCode::Unsupported, "the message is malformed");
            self.release_heirs(number, out);
            return Ok(true);
        };
        if lane == Lane::Control {
            if header.kind != MessageKind::Cancel && header.kind != MessageKind::Gap {
                return Err(ReceiveError::WrongLane);
            }
        } else {
            self.charge(cost, room)?;
        }
        if header.kind == MessageKind::Gap {
            self.skip_before(number, &body, out);
        }
        let is_short = encoded.len() <= CHUNK_LIMIT;
        let message = HandedOver { number, header, body, cost };
        // It may wait for long: alone, and not with all of the frame that it came in.
        let alone = if is_short && self.has_to_wait(&message).is_some() { message.detached() } else { message };
        self.take(alone, out);
        Ok(true)
    }

    /// Takes a message out of an envelope that waited at the switchboard. `is_for_this_run`: the envelope names this run of the agent; in
    /// another one an earlier may have had the message, and the sender counts no credit for it. Returns false for a duplicate.
    pub fn handle_parked(
        &mut self,
        parked: ParkedMessage,
        is_for_this_run: bool,
        room: &mut Room,
        out: &mut Vec<HandedOver>,
    ) -> Result<bool, ReceiveError> {
        let number = parked.number;
        if self.got.contains(number) && !cfg!(feature = "planted_dedup_off") {
            return Ok(false);
        }
        if self.is_too_far_ahead(number) {
            return Err(ReceiveError::TooFarAhead);
        }
        let read = read(parked.message.clone()).ok().filter(|(header, ..)| header.kind == MessageKind::Plain);
        let Some((mut header, body, mut cost)) = read else { return Err(ReceiveError::WrongKind) };
        if !is_for_this_run {
            header.maybe_repeated = true;
            header.after = u32::try_from(number - parked.before.min(number)).unwrap_or(0);
            cost.free = true;
        }
        cost.free |= self.is_retired;
        self.charge(cost, room)?;
        self.take(HandedOver { number, header, body, cost }, out);
        if self.held.contains_key(&number) {
            self.waits.insert((parked.waits_until, number));
        }
        Ok(true)
    }

    /// Counts a message that is being taken.
    fn charge(&mut self, cost: Cost, room: &mut Room) -> Result<(), ReceiveError> {
        if cost.free {
            if !room.admits(cost) {
                return Err(ReceiveError::OverCredit);
            }
            room.take(cost);
        } else {
            let credit = &mut self.credit[cost.class.index()];
            if !credit.admits(cost.bytes) {
                return Err(ReceiveError::OverCredit);
            }
            credit.receive(cost.bytes);
        }
        Ok(())
    }

    /// When the first of those that came parked has waited for long enough, on the sender's clock.
    pub fn next_release(&self) -> Option<u64> {
        self.waits.first().map(|&(until, _)| until)
    }

    /// Hands over what came parked and has waited until `wall`, on the sender's clock. What it waited for isn't taken any more.
    pub fn release_until(&mut self, wall: u64, out: &mut Vec<HandedOver>) {
        while let Some((until, number)) = self.waits.first().copied().filter(|(until, _)| *until <= wall) {
            self.waits.remove(&(until, number));
            // Whatever is held between it and the first that is missing waits for the same.
            let mut missing = None;
            let mut at = number;
            while let Some(before) = self.held.get(&at).and_then(HandedOver::before) {
                missing = Some(before);
                at = before;
            }
            if let Some(missing) = missing {
                self.got.insert(missing);
                self.partial.remove(&missing);
                self.release_heirs(missing, out);
            }
        }
    }

    /// The sender's run has ended. Only what came parked is still of use: the rest waited for what is lost with it.
    pub fn retire(&mut self, room: &mut Room) {
        self.partial.clear();
        self.outcomes = Outcomes::default();
        self.is_retired = true;
        let parked: BTreeSet<u64> = self.waits.iter().map(|&(_, number)| number).collect();
        for (number, mut message) in std::mem::take(&mut self.held) {
            if message.cost.free && !parked.contains(&number) {
                room.give_back(message.cost);
            } else if parked.contains(&number) && (message.cost.free || room.admits(message.cost)) {
                if !std::mem::replace(&mut message.cost.free, true) {
                    room.take(message.cost);
                }
                self.held.insert(number, message);
            }
        }
    }

    /// The run hasn't ended after all.
    pub fn reinstate(&mut self) {
        self.is_retired = false;
    }

    /// Nothing more comes of what is held.
    pub fn give_up(&self, room: &mut Room) {
        self.held.values().filter(|message| message.cost.free).for_each(|message| room.give_back(message.cost));
    }

    fn is_too_far_ahead(&self, number: u64) -> bool {
        number >= self.got.below().saturating_add(NUMBERS_AHEAD) || (self.got.ranges() >= RANGES && !self.got.touches(number))
    }

    /// Hands a message over, or holds it until it is its turn.
    fn take(&mut self, message: HandedOver, out: &mut Vec<HandedOver>) {
        let number = message.number;
        self.partial.remove(&number);
        self.got.insert(number);
        match self.has_to_wait(&message) {
            Some(before) => {
                self.heirs.insert((before, number));
                self.held.insert(number, message);
            }
            None => {
                out.push(message);
                self.release_heirs(number, out);
            }
        }
    }

    /// The number that has to be handed over or given up before this message.
    fn has_to_wait(&self, message: &HandedOver) -> Option<u64> {
        let before = message.before().filter(|before| !self.got.contains(*before) || self.held.contains_key(before));
        before.filter(|_| !cfg!(feature = "planted_order_off"))
    }

    /// What a gap says of the numbers before it: they were settled with an earlier run of this agent.
    fn skip_before(&mut self, number: u64, gap: &[u8], out: &mut Vec<HandedOver>) {
        let before = Lost::decode(gap).map_or(0, |lost| lost.before);
        if before > 0 {
            let first = number.saturating_sub(before.into());
            self.got.insert_range(first, number);
            self.release_settled(first, number, out);
        }
    }

    /// Hands over what waited for these numbers, none of which will come any more.
    fn release_settled(&mut self, first: u64, end: u64, out: &mut Vec<HandedOver>) {
        let numbers: BTreeSet<u64> = self.heirs.range((first, 0)..(end, 0)).map(|&(number, _)| number).collect();
        // What is here and waits itself releases its heirs in its turn.
        for number in numbers.into_iter().filter(|number| !self.held.contains_key(number)).collect::<Vec<_>>() {
            self.release_heirs(number, out);
        }
    }

    /// Hands over what waited for `number`, and what waited for that.
    fn release_heirs(&mut self, number: u64, out: &mut Vec<HandedOver>) {
        let mut free = vec![number];
        while let Some(number) = free.pop() {
            let heirs: Vec<u64> = self.heirs.range((number, 0)..=(number, u64::MAX)).map(|&(_, heir)| heir).collect();
            for heir in heirs {
                self.heirs.remove(&(number, heir));
                if let Some(message) = self.held.remove(&heir) {
                    out.push(message);
                    free.push(heir);
                }
            }
        }
    }

    /// Takes a part of a long message, in any order; the last one that is missing makes it whole. Returns false for a duplicate of a whole
    /// message.
    pub fn handle_chunk(
        &mut self,
        lane: Lane,
        chunk: &Chunk,
        room: &mut Room,
        out: &mut Vec<HandedOver>,
    ) -> Result<bool, ReceiveError> {
        if self.got.contains(chunk.number) {
            return Ok(false);
        }
        let total = usize::try_from(chunk.total).unwrap_or(usize::MAX);
        if lane == Lane::Control || total > BODY_MAX + MESSAGE_OVERHEAD_MAX {
            return Err(ReceiveError::BadChunk);
        }
        if !self.partial.contains_key(&chunk.number) {
            let claimed: usize = self.partial.values().map(|partial| partial.total).sum();
            if claimed + total > PARTIAL_BYTES {
                return Err(ReceiveError::BadChunk);
            }
            self.partial.insert(chunk.number, Partial { total, ..Partial::default() });
        }
        let Some(partial) = self.partial.get_mut(&chunk.number) else { return Err(ReceiveError::BadChunk) };
        if partial.total != total {
            return Err(ReceiveError::BadChunk);
        }
        partial.add(chunk)?;
        if partial.have < total {
            return Ok(true);
        }
        let Some(whole) = self.partial.remove(&chunk.number) else { return Err(ReceiveError::BadChunk) };
        self.handle_message(lane, chunk.number, whole.join(), room, out)
    }

    /// The lowest number that the sender still waits for: below it everything is settled, here or with an earlier run. What waited for
    /// something there is handed over.
    pub fn handle_floor(&mut self, floor: u64, out: &mut Vec<HandedOver>) {
        self.outcomes.handle_floor(floor);
        if floor > self.got.below() {
            self.got.insert_below(floor);
            self.partial = self.partial.split_off(&floor);
            self.release_settled(0, floor, out);
        }
    }

    /// The message was handled. Worth calling only for those that want it.
    pub fn done(&mut self, number: u64) {
        self.outcomes.done(number);
    }

    /// The message was not handled, and will not be.
    pub fn refuse(&mut self, number: u64, code: RefusalCode, reason: &str) {
        self.outcomes.refuse(number, code, reason);
    }

    /// What the sender should know by now, and what of it are outcomes.
    pub fn receipt(&self, lane: Lane) -> (Receipt, Said) {
        let said = self.outcomes.next();
        let mut receipt = Receipt::new(lane, self.got.below());
        receipt.delivered = self.got.beyond().take(RECEIPT_RANGES).map(|(first, end)| first..end).collect();
        receipt.done = said.done.clone();
        receipt.refused = said.refused.clone();
        (receipt, said)
    }

    /// The receipt was written. True if another one has more to say.
    pub fn note_said(&mut self, said: &Said) -> bool {
        self.outcomes.note_said(said)
    }

    /// Receipts may have been lost: outcomes are said again.
    pub fn say_again(&mut self) {
        self.outcomes.say_again();
    }

    /// Whether anything ever came in this lane, so that a receipt has something to say.
    pub fn was_used(&self) -> bool {
        self.got != Numbers::default()
    }

    /// A message no longer takes memory. True when the sender should be told.
    pub fn give_back(&mut self, cost: Cost) -> bool {
        self.credit[cost.class.index()].give_back(cost.bytes)
    }

    /// Whether the sender hasn't been told yet what it may send in this class: parts begin with the initial credit.
    pub fn owes_first_grant(&self, class: CreditClass) -> bool {
        self.credit[class.index()].is_initial()
    }

    /// Renews the grants of those classes where it is worth a section, or of all.
    pub fn credits(&mut self, lane: Lane, all: bool) -> Vec<Credit> {
        let mut credits = Vec::new();
        for class in CreditClass::ALL {
            let credit = &mut self.credit[class.index()];
            let before = credit.granted();
            let (messages, bytes) = credit.grant();
            if all || (messages, bytes) != before {
                credits.push(Credit { lane, class, messages, bytes });
            }
        }
        credits
    }
}

/// Reads a message, and what it costs its sender: a gap costs what the message in whose place it stands had cost.
fn read(encoded: Bytes) -> Result<(MessageHeader, Bytes, Cost), crate::proto::Error> {
    let len = encoded.len() as u64;
    let (header, body) = MessageHeader::decode(encoded)?;
    let (class, bytes) = match header.kind {
        MessageKind::Gap => Lost::decode(&body).map(|lost| (lost.class, u64::from(lost.cost)))?,
        kind => (kind.credit_class(), len),
    };
    let cost = Cost { class, bytes, free: header.free };
    Ok((header, body, cost))
}
