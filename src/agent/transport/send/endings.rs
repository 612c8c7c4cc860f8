//! What ends without having arrived: what is too late or taken back, and what was under way to a run that is over.
//!
//! A number that was given stands for its message at the receiver. What will not come leaves a gap there, so that its thread goes on.

use std::time::Duration;

use super::super::outbound::Outbound;
use super::{Entry, SendLane, Settled};
use crate::agent::event::{ReceiptState, Token};
use crate::agent::limits::CREDIT_WINDOW_MESSAGES;
use crate::agent::message::{CreditClass, Lost, MessageHeader, MessageKind};
use crate::proto::MessageId;

/// Gaps that are kept for a receiver. Chosen: one for each message of a credit window.
const GAPS: usize = CREDIT_WINDOW_MESSAGES as usize;

impl SendLane {
    /// Ends what is too late, by the sender's clock. A message that has a number leaves a gap in its place, which is sent until the
    /// receiver has it, so that its thread goes on. Returns the next expiry.
    pub fn expire(&mut self, wall: u64, settled: &mut Vec<Settled>) -> Option<u64> {
        let mut next: Option<u64> = None;
        let mut keep = |expiry: u64| next = Some(next.map_or(expiry, |earliest: u64| earliest.min(expiry)));
        for message in self.waiting.take_late(wall) {
            settled.push((message.token, ReceiptState::Expired, message.cost()));
        }
        self.waiting.iter().for_each(|message| keep(message.header.expiry));
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
        let is_gap = |entry: &Entry| entry.message.as_ref().is_some_and(Outbound::is_gap);
        let gaps = (self.first..).zip(&self.entries).filter(|(_, entry)| is_gap(entry)).map(|(number, _)| number);
        for number in gaps.take(many).collect::<Vec<_>>() {
            self.settle(number, ReceiptState::Failed, &mut Vec::new());
        }
    }

    /// Takes a message back, wherever it is. False if the receiver has it, or it isn't here.
    pub fn withdraw(&mut self, token: Token, settled: &mut Vec<Settled>) -> bool {
        if let Some(message) = self.waiting.withdraw(token) {
            settled.push((token, ReceiptState::Failed, message.cost()));
            return true;
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
    /// begins anew. Each stretch of numbers between them that the earlier run settled is one gap; those that something in an envelope waits for
    /// are gaps of their own, in their place in the thread, because what is before them there may come later than they.
    pub fn restart(&mut self) {
        self.chunking = None;
        self.holes.clear();
        self.resend.clear();
        self.last_in_thread.clear();
        self.credit = Default::default();
        self.starved = false;
        self.flight.restart();
        self.bytes_under_way = 0;
        self.progress_at = Duration::ZERO;
        self.progress_sent_at = Duration::ZERO;
        for entry in self.entries.iter_mut().filter(|entry| entry.message.as_ref().is_some_and(Outbound::is_gap)) {
            entry.message = None;
        }
        self.pop_settled();
        self.delivered_below = self.first;
        self.parking.restart(self.first);
        let mut settled_before = 0;
        let mut unsettled = (self.first..).zip(&mut self.entries).peekable();
        while let Some((number, entry)) = unsettled.next() {
            entry.delivered = false;
            entry.repeated = true;
            entry.bytes = 0;
            entry.flight = None;
            if let Some(message) = &mut entry.message {
                let last = message.order().and_then(|thread| self.last_in_thread.insert(thread, number));
                message.header.after = last.map_or(0, |last| u32::try_from(number - last).unwrap_or(0));
                message.header.maybe_repeated = true;
                message.header.free = true;
            } else if let waits_in = self.parking.waits_in(number)
                && (waits_in.is_some() || unsettled.peek().is_none_or(|(_, next)| next.message.is_some()))
            {
                let mut nothing = MessageHeader::new(MessageId::ZERO, MessageKind::Gap, 0, 0);
                nothing.free = true;
                if let Some(thread) = waits_in {
                    let last = self.last_in_thread.insert(thread, number);
                    nothing.after = last.map_or(0, |last| u32::try_from(number - last).unwrap_or(0));
                }
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
        let waiting = std::mem::take(&mut self.waiting).into_messages();
        let under_way = self.entries.drain(..).filter_map(|entry| entry.message).filter(|message| !message.is_gap());
        settled.extend(under_way.chain(waiting).map(|message| (message.token, ReceiptState::Failed, message.cost())));
        let mut flight = std::mem::take(&mut self.flight);
        flight.restart();
        *self = Self { first: next, delivered_below: next, flight, ..Self::default() };
    }
}
