//! What of a lane waits at the switchboard while its receiver is away: which messages, in which envelope, and what it says of them.
//!
//! Policy. Only plain messages wait, only short ones, and in order: one envelope at a time has no answer yet, and what follows something in
//! its thread that can't wait stays here as well. A receiver that lost its memory meanwhile needs what came before in a thread, so messages
//! that were delivered and not done go along. The switchboard's word is a hint: whatever it accepted stays here until the receiver has it.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use bytes::{Bytes, BytesMut};

use super::super::outbound::{Hint, Outbound};
use super::{Entry, SendLane, Settled};
use crate::agent::event::ReceiptState;
use crate::agent::limits::{CREDIT_WINDOW_BYTES, CREDIT_WINDOW_MESSAGES};
use crate::agent::message::{ContentType, CreditClass, MessageHeader, MessageKind};
use crate::agent::parcel::ParkedMessage;
use crate::agent::section::CHUNK_LIMIT;
use crate::proto::ThreadId;

#[derive(Debug, Default)]
pub(super) struct Parking {
    /// How many envelopes there were.
    serial: u64,
    /// The numbers in the envelope that has no answer yet.
    under_way: Vec<u64>,
    /// Nothing to be parked was found, and nothing has changed since.
    is_done: bool,
    /// The numbers that messages in envelopes wait for, and their threads. Whatever stands there for another run of the receiver has to keep its
    /// place in the thread: what the envelope says can't be changed any more.
    awaited: BTreeMap<u64, ThreadId>,
}

impl Parking {
    pub(super) fn look_again(&mut self) {
        self.is_done = false;
    }

    /// The receiver is another run, which gets all from this number on: an answer to the envelope means what it meant.
    pub(super) fn restart(&mut self, first: u64) {
        self.is_done = false;
        self.awaited = self.awaited.split_off(&first);
    }

    /// The thread in which a message in an envelope waits for this number.
    pub(super) fn waits_in(&self, number: u64) -> Option<ThreadId> {
        self.awaited.get(&number).copied()
    }
}

/// What goes into an envelope.
#[derive(Debug)]
pub struct Draft {
    /// Names the envelope when the switchboard answers.
    pub serial: u64,
    pub floor: u64,
    pub messages: Vec<ParkedMessage>,
    /// When the last of them is worth nothing any more, Unix milliseconds.
    pub expiry: u64,
}

/// What was seen on the way through a lane.
#[derive(Default)]
struct Survey {
    /// Threads in which something earlier can't wait.
    blocked: BTreeSet<ThreadId>,
    /// What comes before in a thread and isn't settled: the last number, and until when any of it may still arrive.
    unsettled: BTreeMap<ThreadId, (u64, u64)>,
    /// Of those that are kept there or are about to be.
    parked: (u64, u64),
    /// Bytes of the envelope.
    bytes: usize,
    /// What is waited for, and in which thread.
    awaited: Vec<(u64, ThreadId)>,
}

enum Choice {
    Take,
    Leave,
    /// It and all that follows wait for the next envelope.
    Stop,
}

impl Survey {
    /// Looks at the next message of the lane, which the switchboard keeps or the receiver has.
    fn choose(&mut self, number: u64, message: &Outbound, is_kept: bool, is_there: bool, wall: u64) -> Choice {
        let Some(thread) = message.order() else { return Choice::Leave };
        if self.blocked.contains(&thread) {
            return Choice::Leave;
        }
        if !message.may_be_parked() {
            // What is there and isn't done would only be missed by another run, which then waits for it.
            if is_there {
                self.count(number, message);
            } else {
                self.blocked.insert(thread);
            }
            return Choice::Leave;
        }
        if is_kept {
            self.count(number, message);
            return Choice::Leave;
        }
        if message.header.expiry <= wall {
            // It hasn't ended yet, and by a clock that was set it may be long until it does: a session could still carry it, after what follows.
            self.blocked.insert(thread);
            return Choice::Leave;
        }
        let is_full = self.parked.0 >= u64::from(CREDIT_WINDOW_MESSAGES)
            || self.parked.1 + message.cost() as u64 > u64::from(CREDIT_WINDOW_BYTES);
        if is_full || (self.bytes > 0 && self.bytes + message.cost() > CHUNK_LIMIT) {
            return Choice::Stop;
        }
        self.bytes += message.cost();
        Choice::Take
    }

    fn count(&mut self, number: u64, message: &Outbound) {
        self.parked.0 += 1;
        self.parked.1 += message.cost() as u64;
        let (last, until) = self.unsettled.entry(message.order().unwrap_or(ThreadId::ZERO)).or_default();
        *last = number;
        *until = message.header.expiry.max(*until);
    }

    /// Puts a message that was chosen into the envelope, with the message before it, gaps left out.
    fn add(&mut self, number: u64, after: u32, message: &Outbound, draft: &mut Draft) {
        let before = message.order().and_then(|thread| Some((thread, *self.unsettled.get(&thread)?)));
        self.awaited.extend(before.map(|(thread, (before, _))| (before, thread)));
        let (before, waits_until) = before.map_or((number, 0), |(_, before)| before);
        self.count(number, message);
        draft.expiry = message.header.expiry.max(draft.expiry);
        draft.messages.push(ParkedMessage { number, before, waits_until, message: message.encode(after) });
    }
}

impl Outbound {
    /// Whether it may wait at the switchboard at all.
    fn may_be_parked(&self) -> bool {
        let is_known = matches!(
            self.header.content_type,
            ContentType::None | ContentType::Bytes | ContentType::Text | ContentType::MessagePack
        );
        self.header.kind == MessageKind::Plain && is_known && self.cost() <= CHUNK_LIMIT
    }

    fn encode(&self, after: u32) -> Bytes {
        let mut out = BytesMut::with_capacity(self.cost());
        MessageHeader { after, ..self.header.clone() }.encode_into(&mut out);
        out.extend_from_slice(&self.body);
        out.freeze()
    }

    /// Tells a hint that is news. What was delivered once gets none.
    fn give_hint(&mut self, hint: Hint, settled: &mut Vec<Settled>) {
        if self.hint.is_some_and(|before| before != hint) {
            self.hint = Some(hint);
            settled.push((self.token, hint.into(), 0));
        }
    }
}

impl From<Hint> for ReceiptState {
    fn from(hint: Hint) -> Self {
        match hint {
            Hint::Queued => Self::Queued,
            Hint::Unknown => Self::Unknown,
            Hint::Full { retry_after } => Self::Full { retry_after },
            Hint::Accepted => Self::Accepted,
        }
    }
}

impl SendLane {
    /// Whether [`next_draft`](Self::next_draft) may find something.
    pub fn may_park(&self) -> bool {
        self.parking.under_way.is_empty() && !self.parking.is_done
    }

    /// Whether the switchboard keeps something of this lane, as far as it says.
    pub fn has_accepted(&self) -> bool {
        self.entries.iter().any(|entry| entry.accepted && entry.is_under_way())
    }

    /// What goes into the next envelope; nothing while one has no answer. It stays under way until one of the `handle_*` below, or `unpark`.
    pub fn next_draft(&mut self, now: Duration, wall: u64, settled: &mut Vec<Settled>) -> Option<Draft> {
        if !self.may_park() {
            return None;
        }
        let mut survey = Survey::default();
        let mut draft = Draft { serial: self.parking.serial, floor: self.first, messages: Vec::new(), expiry: 0 };
        let mut is_full = false;
        let afters: Vec<u32> = (self.first..self.next()).map(|number| self.after_without_gaps(number)).collect();
        for ((number, entry), after) in (self.first..).zip(&mut self.entries).zip(afters) {
            let Some(message) = entry.message.as_mut().filter(|message| !message.is_gap()) else { continue };
            match survey.choose(number, message, entry.accepted, entry.delivered, wall) {
                Choice::Take => {
                    survey.add(number, after, message, &mut draft);
                    message.give_hint(Hint::Unknown, settled);
                    entry.sent_at = now;
                    entry.repeated = true;
                }
                Choice::Leave => {}
                Choice::Stop => {
                    is_full = true;
                    break;
                }
            }
        }
        let mut at = 0;
        while !is_full && let Some(message) = self.waiting.get(CreditClass::Plain.index(), at) {
            if !self.waiting.is_first_of_thread(message) {
                survey.blocked.extend(message.order());
            }
            match survey.choose(self.next(), message, false, false, wall) {
                Choice::Take => self.park_waiting(at, &mut survey, &mut draft, settled, now),
                Choice::Leave => at += 1,
                Choice::Stop => is_full = true,
            }
        }
        self.parking.awaited = self.parking.awaited.split_off(&self.first);
        self.parking.awaited.extend(survey.awaited);
        self.parking.is_done = draft.messages.is_empty();
        self.parking.under_way = draft.messages.iter().map(|parked| parked.number).collect();
        self.parking.serial += 1;
        (!draft.messages.is_empty()).then_some(draft)
    }

    /// Numbers a waiting message, without credit, and puts it into the envelope.
    fn park_waiting(&mut self, at: usize, survey: &mut Survey, draft: &mut Draft, settled: &mut Vec<Settled>, now: Duration) {
        let Some(mut message) = self.waiting.remove(CreditClass::Plain.index(), at) else { return };
        message.header.free = true;
        message.give_hint(Hint::Unknown, settled);
        let number = self.next();
        self.number(message, number, now);
        let after = self.after_without_gaps(number);
        if let Some(Entry { message: Some(message), repeated, .. }) = self.entries.back_mut() {
            *repeated = true;
            survey.add(number, after, message, draft);
        }
    }

    /// Where `after` of this message leads if gaps, for which nobody in a mailbox waits, are passed over.
    fn after_without_gaps(&self, number: u64) -> u32 {
        let message = |number: u64| {
            let at = number.checked_sub(self.first).and_then(|at| usize::try_from(at).ok())?;
            self.entries.get(at)?.message.as_ref()
        };
        let Some(mut after) = message(number).map(|message| u64::from(message.header.after)) else { return 0 };
        while after > 0
            && let Some(gap) = message(number.saturating_sub(after)).filter(|message| message.is_gap())
        {
            match gap.header.after {
                0 => return 0,
                further => after += u64::from(further),
            }
        }
        u32::try_from(after).unwrap_or(0)
    }

    /// The switchboard keeps the messages of this envelope.
    pub fn handle_accepted(&mut self, serial: u64, settled: &mut Vec<Settled>) {
        for number in self.end_parcel(serial) {
            self.resend.remove(&number);
            let Some(entry) = self.entry(number).filter(|entry| entry.message.is_some()) else { continue };
            entry.accepted = true;
            if let Some(message) = entry.message.as_mut().filter(|message| !message.is_gap()) {
                message.give_hint(Hint::Accepted, settled);
            }
        }
    }

    /// The switchboard doesn't keep them: they wait here, and this is what is said of them.
    pub fn handle_not_parked(&mut self, serial: u64, hint: Hint, settled: &mut Vec<Settled>) {
        for number in self.end_parcel(serial) {
            let message = self.entry(number).and_then(|entry| entry.message.as_mut());
            if let Some(message) = message.filter(|message| !message.is_gap()) {
                message.give_hint(hint, settled);
            }
        }
    }

    fn end_parcel(&mut self, serial: u64) -> Vec<u64> {
        if serial + 1 != self.parking.serial {
            return Vec::new();
        }
        self.parking.is_done = false;
        std::mem::take(&mut self.parking.under_way)
    }

    /// No answer to the envelope that is under way is waited for any more.
    pub fn unpark(&mut self) {
        self.parking.under_way.clear();
        self.parking.is_done = false;
        // A late answer would be taken for one to what is done from here on.
        self.parking.serial += 1;
    }

    /// The switchboard has forgotten what it accepted.
    pub fn forget_accepted(&mut self, hint: Hint, settled: &mut Vec<Settled>) {
        for number in self.first..self.next() {
            let Some(entry) = self.entry(number).filter(|entry| entry.accepted) else { continue };
            entry.accepted = false;
            if let Some(message) = entry.message.as_mut().filter(|message| !message.is_gap()) {
                message.give_hint(hint, settled);
            }
            self.resend_unless_settled(number);
        }
        self.parking.is_done = false;
    }

    /// The receiver isn't there: whatever it isn't known to have, and nobody keeps for it, is shown so.
    pub fn note_unknown(&mut self, settled: &mut Vec<Settled>) {
        let entries = self.entries.iter_mut().filter(|entry| entry.is_under_way() && !entry.accepted);
        let under_way = entries.filter_map(|entry| entry.message.as_mut()).filter(|message| !message.is_gap());
        for message in under_way.chain(self.waiting.iter_mut()) {
            message.give_hint(Hint::Unknown, settled);
        }
    }

    /// Messages and bytes that wait for their first frame, and how many are sent and not confirmed.
    pub fn load(&self) -> (usize, usize, usize) {
        let bytes = self.waiting.iter().map(Outbound::cost).sum();
        (self.waiting(), bytes, self.entries.iter().filter(|entry| entry.is_under_way()).count())
    }
}
