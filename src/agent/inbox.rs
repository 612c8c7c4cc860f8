//! What comes out of sessions: sections first, then messages in the order of their threads, each handed to whom it concerns.
//!
//! A plain message waits here, as far as memory goes, until the application says that it took it; a request until it is answered.

use std::collections::VecDeque;

use bytes::Bytes;

use super::card::Card;
use super::error::BodyError;
use super::event::{Content, Event, Incoming, PeerChange, Token};
use super::member::{Member, Shared};
use super::message::{ContentType, MessageHeader, MessageKind, Refusal, RefusalCode};
use super::parking::is_over;
use super::section::{Section, sections};
use super::transport::{Cost, HandedOver};
use crate::proto::{AgentId, Lane, Now, RunId, ThreadId};

/// Whose a message is.
#[derive(Clone, Copy, Debug)]
pub(super) struct Sender {
    pub(super) id: AgentId,
    pub(super) run: RunId,
    /// How far this clock is ahead of its, in milliseconds, if a session told.
    pub(super) clock: Option<i64>,
}

/// A plain message that the application may still have to read.
struct Unread {
    token: Token,
    sender: AgentId,
    run: RunId,
    lane: Lane,
    number: u64,
    cost: Cost,
    wants_done: bool,
}

/// Plain messages of each lane, in the order in which they were handed to the application.
#[derive(Default)]
pub(super) struct Inbox {
    unread: [VecDeque<Unread>; Lane::COUNT],
}

impl Inbox {
    /// Finds a message that was not consumed. Tokens rise within a lane.
    fn find(&mut self, token: Token) -> Option<&mut Unread> {
        self.unread.iter_mut().find_map(|lane| {
            let at = lane.binary_search_by_key(&token, |unread| unread.token).ok()?;
            lane.get_mut(at)
        })
    }

    fn remove(&mut self, token: Token) -> Option<Unread> {
        self.unread.iter_mut().find_map(|lane| {
            let at = lane.binary_search_by_key(&token, |unread| unread.token).ok()?;
            lane.remove(at)
        })
    }
}

impl Member {
    /// Takes the content of a session frame.
    pub(super) fn handle_content(&mut self, cx: &mut Shared, id: AgentId, lane: Lane, content: Bytes, now: Now) {
        let mut handed = Vec::new();
        for section in sections(content) {
            let Ok(section) = section else {
                cx.counters.refused_frames += 1;
                break;
            };
            let Some(peer) = self.peers.get_mut(&id) else { return };
            match section {
                Section::Messages(messages) => {
                    let receive = &mut peer.receive[lane.index()];
                    let room = self.rooms.entry((id, lane)).or_default();
                    let before = handed.len();
                    receive.handle_floor(messages.floor, &mut handed);
                    // Numbers end below 2^64: what lies beyond is nobody's message.
                    for (number, message) in (messages.first..u64::MAX).zip(messages.messages) {
                        match receive.handle_message(lane, number, message, room, &mut handed) {
                            Ok(_) => {}
                            Err(_) => cx.counters.refused_messages += 1,
                        }
                    }
                    let fresh = handed[before..].iter().any(|message| is_prompt(message.header.kind)) || handed.len() == before;
                    peer.owe_receipt(lane, now, fresh);
                }
                Section::Chunk(chunk) => {
                    let receive = &mut peer.receive[lane.index()];
                    let room = self.rooms.entry((id, lane)).or_default();
                    receive.handle_floor(chunk.floor, &mut handed);
                    match receive.handle_chunk(lane, &chunk, room, &mut handed) {
                        // Parts of a message that isn't whole have nothing to confirm.
                        Ok(_) if handed.is_empty() && chunk.offset.saturating_add(chunk.bytes.len() as u64) < chunk.total => {}
                        Ok(_) => peer.owe_receipt(lane, now, true),
                        Err(_) => cx.counters.refused_messages += 1,
                    }
                }
                Section::Receipt(receipt) => {
                    let mut settled = Vec::new();
                    peer.handle_receipt(&receipt, &mut settled, now);
                    self.settle(cx, settled);
                }
                Section::Credit(credit) => {
                    peer.send[credit.lane.index()].handle_credit(credit.class.index(), credit.messages, credit.bytes);
                }
                Section::Heartbeat(requests) => self.handle_heartbeats(id, &requests, now),
                Section::Probe => peer.say_everything(),
                Section::Goodbye { is_final } => self.handle_goodbye(cx, id, is_final, now),
                Section::Unknown(_) => {}
            }
        }
        let Some((run, clock)) = self.peers.get(&id).map(|peer| (peer.run, peer.clock_offset)) else { return };
        for message in handed {
            self.handle_message_of(cx, Sender { id, run, clock }, lane, message, now);
        }
        self.touch(cx, id, now);
    }

    fn handle_goodbye(&mut self, cx: &mut Shared, id: AgentId, is_final: bool, now: Now) {
        let Some(run) = self.peers.get(&id).map(|peer| peer.run) else { return };
        if self.roster.handle_goodbye(&id, &run, is_final, now.monotonic) {
            self.handle_gone(cx, id, now);
            self.fail_receiving_from(cx, id, &BodyError::SenderGone, now);
            if is_final {
                cx.emit(Event::Peer { id, change: PeerChange::Left });
                self.forget_peer(cx, id, now);
            }
            self.move_calls(cx, now);
        }
    }

    /// A message whose turn it is. Of a run that has ended only plain ones mean anything: nobody waits for what comes of the others.
    pub(super) fn handle_message_of(&mut self, cx: &mut Shared, sender: Sender, lane: Lane, message: HandedOver, now: Now) {
        let is_present = self.peers.get(&sender.id).is_some_and(|peer| peer.run == sender.run);
        match message.header.kind {
            MessageKind::Plain => self.handle_plain(cx, sender, lane, message, now),
            _ if is_present => self.handle_message(cx, sender.id, lane, message, now),
            _ if message.cost.free => drop(self.give_back(sender.id, lane, message.cost)),
            _ => {}
        }
    }

    fn handle_message(&mut self, cx: &mut Shared, sender: AgentId, lane: Lane, message: HandedOver, now: Now) {
        let HandedOver { number, header, body, cost } = message;
        match header.kind {
            // Dealt with above, as they may be of any run.
            MessageKind::Plain => {}
            MessageKind::Request => self.handle_request(cx, sender, lane, header, body, cost, now),
            MessageKind::Answer | MessageKind::Progress | MessageKind::Refusal | MessageKind::Definition => {
                self.give_back(sender, lane, cost);
                if header.kind == MessageKind::Refusal && self.handle_body_refusal(cx, sender, &header, &body, now) {
                    return;
                }
                self.handle_answer_message(cx, sender, lane, header, body, now);
            }
            MessageKind::Cancel => self.handle_cancel(cx, sender, &header),
            MessageKind::Gap => {
                self.give_back(sender, lane, cost);
                // Without the id of what was lost its sender took it back, and nobody misses it.
                let thread = header.thread.unwrap_or(ThreadId::ZERO);
                if header.reply_to.is_some() && !self.handle_body_gap(cx, sender, thread, now) {
                    cx.emit(Event::Gap { peer: sender, lane, thread });
                }
            }
            MessageKind::Part => self.handle_part(cx, sender, lane, &header, body, cost, now),
            MessageKind::End => {
                self.give_back(sender, lane, cost);
                self.handle_body_end(cx, sender, number, &header, &body, now);
            }
            MessageKind::Taken => {
                self.give_back(sender, lane, cost);
                self.handle_taken(cx, sender, &header, &body, now);
            }
            MessageKind::Card => {
                self.give_back(sender, lane, cost);
                // Cards come several ways; only one that brings news is worth its signatures.
                let verified = Card::parse(body).and_then(|card| match self.roster.is_news(&card.identity(), card.stamp()) {
                    true => card.verify(&self.membership.founder, now.wall).map(Some),
                    false => Ok(None),
                });
                match verified {
                    Ok(Some(card)) => self.learn_card(cx, card, Some(sender), now),
                    Ok(None) => {}
                    Err(_) => cx.counters.refused_cards += 1,
                }
            }
            MessageKind::Describe => {
                self.give_back(sender, lane, cost);
                self.answer_describe(cx, sender, lane, &header, &body, now);
            }
            MessageKind::Roster => {
                self.give_back(sender, lane, cost);
                self.handle_roster(cx, sender, &header, &body, now);
            }
            MessageKind::TicketRecord => {
                self.give_back(sender, lane, cost);
                self.adopt_ticket(cx, sender, &body, now);
            }
            MessageKind::RenewalRequest => {
                self.give_back(sender, lane, cost);
                self.handle_renewal_request(cx, sender, lane, &header, now);
            }
            MessageKind::Renewal => {
                self.give_back(sender, lane, cost);
                self.handle_renewal(cx, sender, &header, &body, now);
            }
            MessageKind::Unknown(_) => {
                self.give_back(sender, lane, cost);
                let refusal = Refusal::new(RefusalCode::Unsupported, "this agent's version doesn't know such messages");
                self.send_refusal(cx, sender, lane, &header, &refusal, now);
            }
        }
    }

    fn handle_plain(&mut self, cx: &mut Shared, sender: Sender, lane: Lane, message: HandedOver, now: Now) {
        let Sender { id, run, clock } = sender;
        let HandedOver { number, header, body, cost } = message;
        let wants_done = header.wants_done;
        if is_over(header.expiry, clock, now) {
            if wants_done && let Some(peer) = self.peers.get_mut(&id).filter(|peer| peer.run == run) {
                peer.receive[lane.index()].refuse(number, RefusalCode::Expired, "it came too late");
            }
            if header.content_type == ContentType::Large {
                let refusal = Refusal::new(RefusalCode::Expired, "it came too late");
                self.send_refusal(cx, id, lane, &header, &refusal, now);
            }
            self.give_back_of(sender.id, run, lane, cost);
            return;
        }
        let token = cx.token();
        if header.content_type == ContentType::Large && !self.open_body(cx, id, lane, &header, &body, token, now) {
            self.give_back_of(id, run, lane, cost);
            return;
        }
        self.inbox.unread[lane.index()].push_back(Unread { token, sender: id, run, lane, number, cost, wants_done });
        cx.emit(Event::Message(incoming(token, id, lane, header, body, clock.unwrap_or_default())));
    }

    /// The application took so many more plain messages of a lane: their senders may send as many again.
    pub(super) fn consumed(&mut self, cx: &mut Shared, lane: Lane, messages: usize, now: Now) {
        for _ in 0..messages {
            let Some(unread) = self.inbox.unread[lane.index()].pop_front() else { break };
            if unread.wants_done {
                self.mark_done(cx, &unread, now);
            }
            self.handle_body_handled(cx, unread.token, now);
            self.give_back_unread(cx, &unread, now);
        }
    }

    /// The application can't read this plain message: it is refused, and `consumed` doesn't count it.
    pub(super) fn discard(&mut self, cx: &mut Shared, token: Token, reason: &str, now: Now) {
        self.refuse_plain(cx, token, RefusalCode::Unsupported, reason, now);
        if let Some(unread) = self.inbox.remove(token) {
            self.give_back_unread(cx, &unread, now);
        }
    }

    fn give_back_unread(&mut self, cx: &mut Shared, unread: &Unread, now: Now) {
        let Unread { sender, run, lane, cost, .. } = *unread;
        if self.give_back_of(sender, run, lane, cost) {
            self.touch(cx, sender, now);
        }
    }

    /// The same as `give_back` for a message of a run that may have ended, whose credit is nobody's any more.
    fn give_back_of(&mut self, id: AgentId, run: RunId, lane: Lane, cost: Cost) -> bool {
        let is_present = self.peers.get(&id).is_some_and(|peer| peer.run == run);
        (is_present || cost.free) && self.give_back(id, lane, cost)
    }

    /// The application has handled this plain message.
    pub(super) fn done(&mut self, cx: &mut Shared, token: Token, now: Now) {
        self.handle_body_handled(cx, token, now);
        let Some(unread) = self.inbox.find(token) else { return };
        if std::mem::take(&mut unread.wants_done) {
            let unread = Unread { wants_done: true, ..*unread };
            self.mark_done(cx, &unread, now);
        }
    }

    fn mark_done(&mut self, cx: &mut Shared, unread: &Unread, now: Now) {
        let Some(peer) = self.peers.get_mut(&unread.sender).filter(|peer| peer.run == unread.run) else { return };
        peer.receive[unread.lane.index()].done(unread.number);
        peer.owe_receipt(unread.lane, now, true);
        self.touch(cx, unread.sender, now);
    }

    /// The application refuses a plain message. Its sender is told if it waits for more than delivery. False: it is over already.
    pub(super) fn refuse_plain(&mut self, cx: &mut Shared, token: Token, code: RefusalCode, reason: &str, now: Now) -> bool {
        let is_body = self.release_body(cx, token, &Refusal::new(code, reason), now);
        let Some(unread) = self.inbox.find(token) else { return is_body };
        let (sender, run, lane, number) = (unread.sender, unread.run, unread.lane, unread.number);
        if std::mem::take(&mut unread.wants_done)
            && let Some(peer) = self.peers.get_mut(&sender).filter(|peer| peer.run == run)
        {
            peer.receive[lane.index()].refuse(number, code, reason);
            peer.owe_receipt(lane, now, true);
            self.touch(cx, sender, now);
        }
        true
    }

    /// A message no longer takes memory. True if its sender is to be told.
    pub(super) fn give_back(&mut self, id: AgentId, lane: Lane, cost: Cost) -> bool {
        if cost.free {
            if let Some(room) = self.rooms.get_mut(&(id, lane)) {
                room.give_back(cost);
            }
            return false;
        }
        let Some(peer) = self.peers.get_mut(&id) else { return false };
        let due = lane != Lane::Control && peer.receive[lane.index()].give_back(cost);
        if due {
            peer.owe_credit(lane);
        }
        due
    }
}

/// Whether the sender should hear at once that such a message arrived: nothing that implies it follows soon.
fn is_prompt(kind: MessageKind) -> bool {
    !matches!(kind, MessageKind::Request | MessageKind::Answer | MessageKind::Progress)
}

/// A sender's expiry on this agent's clock.
pub(super) fn expiry_here(expiry: u64, clock_offset: i64) -> u64 {
    expiry.saturating_add_signed(clock_offset)
}

/// What the application gets to see of a message.
pub(super) fn incoming(
    token: Token,
    sender: AgentId,
    lane: Lane,
    header: MessageHeader,
    body: Bytes,
    clock_offset: i64,
) -> Incoming {
    Incoming {
        token,
        sender,
        id: header.id,
        reply_to: header.reply_to,
        lane,
        thread: header.thread.unwrap_or(ThreadId::ZERO),
        expiry: expiry_here(header.expiry, clock_offset),
        ttl_ms: header.ttl_ms,
        depth: header.depth,
        budget: (header.budget > 0).then_some(header.budget),
        attempt: header.attempt,
        skill: header.skill.map(|skill| skill.to_string()),
        headers: Bytes::clone(&header.headers),
        maybe_repeated: header.maybe_repeated,
        wants_done: header.wants_done,
        content: Content { content_type: header.content_type, bytes: body },
    }
}
