//! Messages that wait at the switchboard: sealed to a receiver that isn't linked, and taken out when this agent was the one that was away.
//!
//! ```text
//! peer not linked --> envelope of a lane --> Accepted: the next one | MailboxFull: later | Bounce: when the peer was there again
//! peer linked     --> a session as usual; what was accepted goes again only if no receipt comes
//! ```
//!
//! Policy. An envelope is opened as an opener is: by whom a card in it vouches for. What is in it then is taken like messages of a session, in
//! the lane of the sender's run, which may have ended. A relay can hold an envelope back, play it again, or give it to a later run of this
//! agent: the lane takes each number once, messages wait for those before them as long as these may live, and a run that the envelope
//! doesn't name takes its messages for perhaps repeated.
//!
//! See PROTOCOL.md section 7.3.

use std::collections::{BTreeMap, VecDeque};
use std::time::Duration;

use super::card::Card;
use super::inbox::Sender;
use super::limits::{BOUNCE_PAUSE, PARKING_PAUSE_MAX, PARKING_TIMEOUT, UNKNOWN_CLOCK_TOLERANCE};
use super::link::Origin;
use super::member::{Member, Shared};
use super::parcel::Parcel;
use super::peer::Peer;
use super::runs::EndedRun;
use super::transport::{HandedOver, Hint};
use crate::crypto::{PayloadKind, envelope};
use crate::proto::{AgentId, BounceReason, DataFrame, Label, Lane, Now, RunId};

/// Envelopes that are opened in a second; others wait. Chosen: each costs about a millisecond, and a mailbox may hold thousands.
const OPENED_PER_SECOND: u32 = 256;
/// Envelopes that wait to be opened, in frames and bytes; at the bound they are dropped, and their senders repeat what was in them.
const WAITING: usize = 4_096;
const WAITING_BYTES: usize = 32 << 20;
/// Those of one source among them.
const WAITING_OF_ONE: usize = 2_048;
/// How far apart two clocks are taken to be because the switchboard says so. Chosen: what the delay of an opener can make of it.
const MOST_BY_SWITCHBOARD: Duration = Duration::from_secs(6 * 60);
/// Least time to the next look at what waits for its turn.
const TICK: Duration = Duration::from_millis(50);

/// What is known about parking at one peer.
#[derive(Debug, Default)]
pub(super) struct Parking {
    /// The switchboard doesn't know the peer, and won't before that has been linked.
    is_refused: bool,
    lanes: [ParkingLane; Lane::COUNT],
}

#[derive(Debug, Default)]
struct ParkingLane {
    /// When the envelope that is under way has no answer.
    deadline: Option<Duration>,
    not_before: Duration,
    /// Envelopes in a row that had none.
    unanswered: u32,
}

impl Peer {
    /// No envelope is under way any more, and what was said of them is over.
    pub(super) fn unpark(&mut self) {
        self.parking = Parking::default();
        self.send.iter_mut().for_each(super::transport::SendLane::unpark);
    }

    /// When to look at envelopes again, while the peer isn't linked.
    pub(super) fn parking_timer(&self, now: Now) -> Option<Duration> {
        if self.parking.is_refused {
            return None;
        }
        let lanes = self.parking.lanes.iter().zip(&self.send).skip(1);
        let due = lanes.filter_map(|(lane, send)| lane.deadline.or(send.may_park().then_some(lane.not_before)));
        due.min().map(|at| at.max(now.monotonic + TICK))
    }
}

/// Envelopes that came faster than they are opened, and when lanes have waited for long enough.
#[derive(Default)]
pub(super) struct Envelopes {
    since: Duration,
    opened: u32,
    waiting: VecDeque<DataFrame>,
    bytes: usize,
    counts_by_source: BTreeMap<Label, usize>,
    /// When something in this lane of a run need not wait any longer.
    releases: BTreeMap<(AgentId, RunId, Lane), Duration>,
}

impl Envelopes {
    pub(super) fn poll_timeout(&self) -> Option<Duration> {
        let next = (!self.waiting.is_empty()).then(|| self.since + Duration::from_secs(1));
        next.into_iter().chain(self.releases.values().copied()).min()
    }

    /// Whether one more may be opened in this second.
    fn allow(&mut self, now: Now) -> bool {
        if now.monotonic.saturating_sub(self.since) >= Duration::from_secs(1) {
            self.since = now.monotonic;
            self.opened = 0;
        }
        let allowed = self.opened < OPENED_PER_SECOND;
        self.opened += u32::from(allowed);
        allowed
    }

    /// Takes an envelope. False: there is no room.
    fn push(&mut self, frame: DataFrame) -> bool {
        let of_source = self.counts_by_source.entry(frame.source()).or_default();
        let len = frame.bytes().len();
        if *of_source >= WAITING_OF_ONE || self.waiting.len() >= WAITING || self.bytes + len > WAITING_BYTES {
            return false;
        }
        *of_source += 1;
        self.bytes += len;
        self.waiting.push_back(frame);
        true
    }

    /// The next one that may be opened.
    fn pop(&mut self, now: Now) -> Option<DataFrame> {
        if self.waiting.is_empty() || !self.allow(now) {
            return None;
        }
        let frame = self.waiting.pop_front()?;
        self.bytes -= frame.bytes().len();
        if let Some(count) = self.counts_by_source.get_mut(&frame.source()) {
            *count -= 1;
            if *count == 0 {
                self.counts_by_source.remove(&frame.source());
            }
        }
        Some(frame)
    }
}

/// The sender's side.
impl Member {
    /// Puts what may wait for a peer that isn't linked into envelopes, one a lane.
    pub(super) fn park(&mut self, cx: &mut Shared, id: AgentId, now: Now) {
        let Some(card) = self.roster.get(&id).map(|entry| &entry.card) else { return };
        let (run, destination, prekey) = (card.run, card.label, card.prekey.clone());
        let own_card = self.roster.own().bytes.clone();
        let Some(peer) = self.peers.get_mut(&id) else { return };
        if peer.parking.is_refused {
            return;
        }
        let mut settled = Vec::new();
        for lane in Lane::ALL.into_iter().skip(1) {
            let (parking, send) = (&mut peer.parking.lanes[lane.index()], &mut peer.send[lane.index()]);
            if parking.deadline.take_if(|deadline| *deadline <= now.monotonic).is_some() {
                send.unpark();
                parking.unanswered += 1;
            }
            if parking.deadline.is_some() || parking.not_before > now.monotonic || !send.may_park() {
                continue;
            }
            let Some(draft) = send.next_draft(now.monotonic, now.wall, &mut settled) else { continue };
            let serial = draft.serial;
            let to_switchboard =
                |wall: u64| wall.saturating_add_signed(cx.link.clock_skew().unwrap_or_default().saturating_neg());
            let parcel = Parcel {
                run: cx.run,
                wall: now.wall,
                wall_there: to_switchboard(now.wall),
                card: own_card.clone(),
                floor: draft.floor,
                messages: draft.messages,
            };
            // How long it is kept is the switchboard's business, and goes by its clock.
            let expiry = to_switchboard(draft.expiry).max(1);
            let to = envelope::Addressee { receiver: id, run, prekey: &prekey, destination, lane, expiry };
            let timeout = PARKING_TIMEOUT * 2u32.saturating_pow(parking.unanswered.min(8));
            parking.deadline = Some(now.monotonic + timeout.min(PARKING_PAUSE_MAX));
            // It fails only on what is longer than a draft can be; without an answer it is made anew.
            if let Ok(frame) = envelope::seal_parked(&cx.identity, &to, &parcel.encode(), &mut cx.random) {
                self.outbox.stage(frame, Origin::Parked { peer: id, lane, serial });
            }
        }
        self.settle(cx, settled);
    }

    /// The switchboard keeps an envelope.
    pub(super) fn handle_accepted(&mut self, cx: &mut Shared, origin: Origin, now: Now) {
        let Origin::Parked { peer: id, lane, serial } = origin else { return };
        let Some(peer) = self.peers.get_mut(&id) else { return };
        let mut settled = Vec::new();
        peer.send[lane.index()].handle_accepted(serial, &mut settled);
        peer.parking.lanes[lane.index()] = ParkingLane::default();
        self.settle(cx, settled);
        self.touch(cx, id, now);
    }

    /// It doesn't, or the envelope never got there.
    pub(super) fn handle_not_parked(
        &mut self,
        cx: &mut Shared,
        (id, lane, serial): (AgentId, Lane, u64),
        bounce: Option<(BounceReason, Duration)>,
        now: Now,
    ) {
        let Some(peer) = self.peers.get_mut(&id) else { return };
        let pause = match bounce {
            None => Duration::ZERO,
            Some((BounceReason::Full | BounceReason::MailboxFull, retry_after)) => retry_after.max(BOUNCE_PAUSE),
            Some((BounceReason::Absent, _)) => {
                peer.parking.is_refused = true;
                Duration::ZERO
            }
            Some((_, retry_after)) => retry_after.max(PARKING_PAUSE_MAX),
        };
        let hint = match bounce {
            Some((BounceReason::MailboxFull, _)) => Hint::Full { retry_after: pause },
            _ => Hint::Unknown,
        };
        let mut settled = Vec::new();
        peer.send[lane.index()].handle_not_parked(serial, hint, &mut settled);
        peer.parking.lanes[lane.index()] = ParkingLane { deadline: None, not_before: now.monotonic + pause, unanswered: 0 };
        self.settle(cx, settled);
        self.touch(cx, id, now);
    }

    /// The switchboard has begun another life: nothing that it accepted before is there any more.
    pub(super) fn forget_accepted(&mut self, cx: &mut Shared) {
        let mut settled = Vec::new();
        for (id, peer) in &mut self.peers {
            let linked = self.roster.get(id).is_some_and(|entry| entry.presence.is_linked());
            let hint = if linked { Hint::Queued } else { Hint::Unknown };
            peer.send.iter_mut().for_each(|lane| lane.forget_accepted(hint, &mut settled));
        }
        self.settle(cx, settled);
    }
}

/// The receiver's side.
impl Member {
    pub(super) fn handle_envelope(&mut self, cx: &mut Shared, frame: DataFrame, now: Now) {
        if self.envelopes.waiting.is_empty() && self.envelopes.allow(now) {
            self.open_envelope(cx, &frame, now);
        } else if !self.envelopes.push(frame) {
            cx.counters.refused_frames += 1;
        }
    }

    pub(super) fn handle_envelope_timeout(&mut self, cx: &mut Shared, now: Now) {
        while let Some(frame) = self.envelopes.pop(now) {
            self.open_envelope(cx, &frame, now);
        }
        let due = self.envelopes.releases.iter().filter(|(_, at)| **at <= now.monotonic);
        for (id, run, lane) in due.map(|(of, _)| *of).collect::<Vec<_>>() {
            self.release(cx, id, run, lane, Vec::new(), now);
        }
        self.runs.handle_timeout(now);
        self.runs.settle_rooms(&mut self.rooms);
    }

    fn open_envelope(&mut self, cx: &mut Shared, frame: &DataFrame, now: Now) {
        let Some(prekey) = cx.prekeys.find(frame.header().counter) else {
            // Sealed to a key that is gone: its sender needs a newer card, if it lives.
            cx.counters.refused_frames += 1;
            return self.introduce_to_stranger(cx, frame.source(), now);
        };
        let opened = envelope::open(frame, prekey, cx.identity.id()).ok();
        let opened = opened.filter(|opened| opened.kind == PayloadKind::Parked && frame.header().lane != Lane::Control);
        let Some((opened, parcel)) =
            opened.and_then(|opened| Parcel::decode(&opened.payload).ok().map(|parcel| (opened, parcel)))
        else {
            cx.counters.refused_frames += 1;
            return;
        };
        if !self.learn_sender(cx, opened.sender, &parcel, now) {
            cx.counters.refused_cards += 1;
            return;
        }
        let is_for_this_run = opened.receiver_run == cx.run;
        self.take_parcel(cx, opened.sender, parcel, frame.header().lane, is_for_this_run, now);
    }

    /// Learns who sent it. False: it isn't who it says, or there is no room for it.
    fn learn_sender(&mut self, cx: &mut Shared, sender: AgentId, parcel: &Parcel, now: Now) -> bool {
        if self.roster.get(&sender).is_some_and(|entry| entry.card.bytes == parcel.card && entry.card.run == parcel.run) {
            return true;
        }
        let card = Card::parse(parcel.card.clone()).and_then(|card| card.verify(&self.membership.founder, now.wall));
        let Some(card) = card.ok().filter(|card| card.identity == sender && card.run == parcel.run) else { return false };
        self.learn_card(cx, card, Some(sender), now);
        self.roster.get(&sender).is_some() && sender != cx.identity.id()
    }

    /// Takes the messages of a parcel as if they had come in a session with the run that sent them.
    fn take_parcel(&mut self, cx: &mut Shared, id: AgentId, parcel: Parcel, lane: Lane, is_for_this_run: bool, now: Now) {
        let run = parcel.run;
        let is_present = self.roster.get(&id).is_some_and(|entry| entry.card.run == run);
        let present = if is_present { self.peer_mut(id).map(|peer| peer.forgotten_until) } else { None };
        let is_remembered = self.runs.get(id, run).is_some();
        let forgotten_until = present.unwrap_or_else(|| self.runs.forgotten_until(&id));
        if !is_remembered && parcel.wall <= forgotten_until {
            cx.counters.refused_messages += 1;
            return;
        }
        let clock = self.peers.get(&id).and_then(|peer| peer.clock_offset).or(clock_by_switchboard(cx, &parcel));
        if present.is_none() && !is_remembered {
            let stamp = self.roster.get(&id).map_or(0, |entry| entry.card.stamp);
            self.runs.insert(id, run, EndedRun::unheard(clock, stamp, now.monotonic), now);
        }
        if let Some(ended) = self.runs.get(id, run) {
            ended.note_made(parcel.wall);
            ended.clock_offset = ended.clock_offset.or(clock);
        }
        if let Some(peer) = self.peers.get_mut(&id) {
            peer.clock_offset = clock;
        }
        let room = self.rooms.entry((id, lane)).or_default();
        let receive = match self.peers.get_mut(&id).filter(|peer| peer.run == run) {
            Some(peer) => &mut peer.receive[lane.index()],
            None => match self.runs.get(id, run) {
                Some(ended) => &mut ended.receive[lane.index()],
                None => return,
            },
        };
        let mut handed = Vec::new();
        receive.handle_floor(parcel.floor, &mut handed);
        for parked in parcel.messages {
            if receive.handle_parked(parked, is_for_this_run, room, &mut handed).is_err() {
                cx.counters.refused_messages += 1;
            }
        }
        self.release(cx, id, run, lane, handed, now);
        if let Some(peer) = self.peers.get_mut(&id).filter(|peer| peer.run == run) {
            peer.owe_receipt(lane, now, true);
            self.touch(cx, id, now);
        }
    }

    /// Hands over what came parked and what has waited for long enough, and notes when to look again.
    fn release(&mut self, cx: &mut Shared, id: AgentId, run: RunId, lane: Lane, mut handed: Vec<HandedOver>, now: Now) {
        let peer = self.peers.get_mut(&id).filter(|peer| peer.run == run);
        let (clock, receive) = match peer {
            Some(peer) => (peer.clock_offset, Some(&mut peer.receive[lane.index()])),
            None => match self.runs.get(id, run) {
                Some(ended) => (ended.clock_offset, Some(&mut ended.receive[lane.index()])),
                None => (None, None),
            },
        };
        self.envelopes.releases.remove(&(id, run, lane));
        if let Some(receive) = receive {
            receive.release_until(there(now.wall, clock), &mut handed);
            if let Some(until) = receive.next_release() {
                let wait = Duration::from_millis(until.saturating_sub(there(now.wall, clock)));
                self.envelopes.releases.insert((id, run, lane), now.monotonic + wait.max(TICK));
            }
        }
        for message in handed {
            self.handle_message_of(cx, Sender { id, run, clock }, lane, message, now);
        }
    }

    /// Remembers what came from a run that has ended, or whose peer is forgotten.
    pub(super) fn end_run(&mut self, id: AgentId, run: RunId, mut ended: EndedRun, is_over: bool, now: Now) {
        if ended.receive.iter().all(|lane| !lane.was_used()) {
            return;
        }
        if is_over {
            for lane in Lane::ALL {
                let room = self.rooms.entry((id, lane)).or_default();
                ended.receive[lane.index()].retire(room);
            }
        }
        self.runs.insert(id, run, ended, now);
        self.runs.settle_rooms(&mut self.rooms);
    }
}

/// How far this clock is ahead of that of somebody with whom there was no session, by the switchboard's word on what time it is. Whatever it
/// says, it moves an expiry by no more than the delay of an opener would.
fn clock_by_switchboard(cx: &Shared, parcel: &Parcel) -> Option<i64> {
    let theirs = i64::try_from(parcel.wall).ok()?.checked_sub(i64::try_from(parcel.wall_there).ok()?)?;
    let offset = cx.link.clock_skew()?.checked_sub(theirs)?;
    (offset.unsigned_abs() <= MOST_BY_SWITCHBOARD.as_millis() as u64).then_some(offset)
}

/// What the sender's clock shows, at the earliest: if nothing tells, it is taken to agree with this one, and to be a minute behind.
fn there(wall: u64, clock_offset: Option<i64>) -> u64 {
    match clock_offset {
        Some(offset) => wall.saturating_add_signed(offset.saturating_neg()),
        None => wall.saturating_sub(UNKNOWN_CLOCK_TOLERANCE.as_millis() as u64),
    }
}

/// Whether something that expires then, by its sender's clock, is too late.
pub(super) fn is_over(expiry: u64, clock_offset: Option<i64>, now: Now) -> bool {
    expiry <= there(now.wall, clock_offset)
}
