//! An agent that is a member of its swarm: what it holds, and what it does when its link or its clock says something.
//!
//! The rest of its behaviour stands beside it, one subject a file: `sessions`, `outbox`, `inbox`, `calls`, `requests`, `cards`, `invites`, `codes`,
//! `renewal`.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::time::Duration;

use super::admission::{Invites, Membership};
use super::bodies::Bodies;
use super::calls::Calls;
use super::config::Config;
use super::definitions::Definitions;
use super::event::{Event, PeerChange, Token};
use super::inbox::Inbox;
use super::keeper::Keeper;
use super::limits::PROBE_INTERVAL;
use super::link::{Link, LinkUp, Origin};
use super::openers::Openers;
use super::outbox::Outbox;
use super::pairing::Codes;
use super::parking::Envelopes;
use super::peer::Peer;
use super::prekeys::Prekeys;
use super::renewal::Renewal;
use super::requests::Requests;
use super::roster::{Presence, PresenceChange, Roster};
use super::runs::{EndedRun, EndedRuns};
use super::sessions::Strays;
use super::transport::{Room, SendLane};
use crate::crypto::{FounderKey, Identity, KeyPair, Random};
use crate::proto::limits::CLOCK_TOLERANCE;
use crate::proto::{AgentId, BounceReason, Label, Lane, Now, RunId, SessionId};

/// What every part of an agent needs, member or not yet.
pub(super) struct Shared {
    pub(super) config: Config,
    pub(super) identity: Identity,
    pub(super) run: RunId,
    pub(super) long_term: KeyPair,
    pub(super) prekeys: Prekeys,
    pub(super) link: Link,
    pub(super) keeper: Keeper,
    pub(super) random: Random,
    pub(super) events: VecDeque<Event>,
    pub(super) last_token: Token,
    pub(super) counters: Counters,
}

/// What went wrong without being anybody's business in particular; `health` shows it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counters {
    /// Frames that could not be opened or read.
    pub refused_frames: u64,
    /// Messages that broke the rules of a lane.
    pub refused_messages: u64,
    /// Messages of the agent's own that were not sent because too many waited for that peer already.
    pub withheld_messages: u64,
    /// Cards that did not verify.
    pub refused_cards: u64,
    /// Sessions that were established.
    pub sessions: u64,
    /// Data frames sent and received.
    pub frames_sent: u64,
    pub frames_received: u64,
    /// Data frames that bounced.
    pub bounces: u64,
}

impl Shared {
    pub(super) fn token(&mut self) -> Token {
        self.last_token += 1;
        self.last_token
    }

    pub(super) fn emit(&mut self, event: Event) {
        self.events.push_back(event);
    }
}

pub(super) struct Member {
    pub(super) membership: Membership,
    pub(super) founder_key: Option<FounderKey>,
    pub(super) roster: Roster,
    pub(super) peers: BTreeMap<AgentId, Peer>,
    pub(super) sessions: BTreeMap<SessionId, AgentId>,
    /// No lane to a peer that was forgotten gave a number as high as this: with it the lanes of the next one begin.
    numbers_from: u64,
    /// What of the messages that came without credit is unread.
    pub(super) rooms: BTreeMap<(AgentId, Lane), Room>,
    pub(super) envelopes: Envelopes,
    pub(super) runs: EndedRuns,
    /// The link is lost, and what was under way on it has to be doubted if it can't be resumed.
    is_in_doubt: bool,
    pub(super) strays: Strays,
    pub(super) openers: Openers,
    pub(super) outbox: Outbox,
    pub(super) inbox: Inbox,
    pub(super) bodies: Bodies,
    pub(super) calls: Calls,
    pub(super) requests: Requests,
    pub(super) definitions: Definitions,
    pub(super) invites: Invites,
    pub(super) codes: Codes,
    /// Token of each invite, by its mailbox.
    pub(super) invite_tokens: BTreeMap<Label, Token>,
    /// When each peer has to be looked at.
    timers: BTreeSet<(Duration, AgentId)>,
    pub(super) card_stamp: u64,
    pub(super) renewal: Renewal,
    joined: bool,
}

impl Member {
    pub(super) fn new(
        shared: &mut Shared,
        membership: Membership,
        founder_key: Option<FounderKey>,
        now: Now,
    ) -> Result<Self, super::error::SendError> {
        let mut definitions = Definitions::default();
        for skill in &shared.config.skills {
            super::cards::add_definition(&mut definitions, skill)?;
        }
        let card = super::cards::own_card(shared, &membership, now.wall)?;
        let roster = Roster::new(card, shared.config.peer_gone_after, now.monotonic);
        Ok(Self {
            membership,
            founder_key,
            roster,
            peers: BTreeMap::new(),
            sessions: BTreeMap::new(),
            numbers_from: 0,
            rooms: BTreeMap::new(),
            envelopes: Envelopes::default(),
            runs: EndedRuns::default(),
            is_in_doubt: false,
            strays: Strays::default(),
            openers: Openers::default(),
            outbox: Outbox::default(),
            inbox: Inbox::default(),
            bodies: Bodies::default(),
            calls: Calls::default(),
            requests: Requests::default(),
            definitions,
            invites: Invites::default(),
            codes: Codes::default(),
            invite_tokens: BTreeMap::new(),
            timers: BTreeSet::new(),
            card_stamp: now.wall,
            renewal: Renewal::new(now),
            joined: false,
        })
    }

    /// The link is up: mailboxes are registered and slots opened again. The labels follow, and with them everything else begins to move.
    pub(super) fn handle_up(&mut self, cx: &mut Shared, up: LinkUp, now: Now) {
        let resumed = up.resumed.is_some();
        let is_in_doubt = std::mem::take(&mut self.is_in_doubt);
        match up.resumed {
            Some(lost) => self.go_on(cx, lost, now),
            None if is_in_doubt => self.doubt_everything(cx, now),
            None => {}
        }
        if up.is_other_boot {
            self.forget_accepted(cx);
        }
        for (mailbox, expiry) in self.invites.open_mailboxes(now) {
            cx.link.register(mailbox, expiry);
        }
        self.ask_for_slots(cx, true);
        self.renewal.look_now(now);
        cx.emit(Event::Linked { resumed });
        self.announce(cx);
    }

    /// Says that the agent is ready: once, and when a restart wouldn't lose its membership any more.
    pub(super) fn announce(&mut self, cx: &mut Shared) {
        if !self.joined && cx.link.is_up() && cx.keeper.is_settled() {
            self.joined = true;
            cx.emit(Event::Joined);
        }
    }

    /// The link is down, and nothing is known about who is there. What was on its way is in doubt, unless the next link goes on from here.
    pub(super) fn handle_down(&mut self, cx: &mut Shared, now: Now) {
        self.roster.handle_link_lost();
        self.is_in_doubt = true;
        if cx.link.may_resume() {
            let ids: Vec<AgentId> = self.peers.keys().copied().collect();
            ids.into_iter().for_each(|id| self.touch(cx, id, now));
        } else {
            self.is_in_doubt = false;
            self.doubt_everything(cx, now);
        }
    }

    /// The link goes on from the one that was lost. What it lost is said again, and nothing else is doubted.
    fn go_on(&mut self, cx: &mut Shared, lost: Vec<Origin>, now: Now) {
        for origin in lost {
            match origin {
                Origin::Messages { peer, lane, built } => {
                    if let Some(peer) = self.peers.get_mut(&peer) {
                        peer.send[lane.index()].handle_bounce(built);
                        peer.say_everything();
                    }
                }
                Origin::Control { peer } => {
                    if let Some(peer) = self.peers.get_mut(&peer) {
                        peer.say_everything();
                    }
                }
                Origin::Parked { peer, lane, serial } => self.handle_not_parked(cx, (peer, lane, serial), None, now),
                Origin::Opener { peer, session } => self.lose_opening(peer, session, now),
                Origin::Other => {}
            }
        }
        let ids: Vec<AgentId> = self.peers.keys().copied().collect();
        for id in ids {
            if let Some(peer) = self.peers.get_mut(&id) {
                peer.restart_silence(now);
            }
            self.touch(cx, id, now);
        }
    }

    /// An opener did not get there: another one may follow, and what followed it goes again.
    fn lose_opening(&mut self, id: AgentId, session: SessionId, now: Now) {
        let Some(peer) = self.peers.get_mut(&id) else { return };
        if peer.pending.take_if(|pending| pending.session == session).is_some() {
            self.sessions.remove(&session);
            peer.send.iter_mut().for_each(SendLane::doubt_all);
            peer.open_not_before = now.monotonic;
        }
    }

    fn doubt_everything(&mut self, cx: &mut Shared, now: Now) {
        self.outbox.forget_staged();
        let ids: Vec<AgentId> = self.peers.keys().copied().collect();
        for id in ids {
            if let Some(peer) = self.peers.get_mut(&id) {
                if let Some(opening) = peer.pending.take() {
                    self.sessions.remove(&opening.session);
                    peer.open_not_before = now.monotonic;
                }
                peer.unpark();
                peer.doubt_everything();
            }
            self.touch(cx, id, now);
        }
    }

    /// The switchboard's word on who is linked. With `resumed` nothing that was under way to those that came is lost.
    pub(super) fn handle_labels(
        &mut self,
        cx: &mut Shared,
        came: &[Label],
        gone: &[Label],
        reset: bool,
        resumed: bool,
        now: Now,
    ) {
        let changes = self.roster.handle_labels(reset, came, gone, now.monotonic);
        self.handle_presence_as(cx, &changes, resumed, now);
        if reset {
            // Peers that were there all along are not among the changes, but the path to them is another one.
            let ids: Vec<AgentId> = self.peers.keys().copied().collect();
            ids.into_iter().for_each(|id| self.touch(cx, id, now));
            self.move_calls(cx, now);
        }
        if reset {
            self.catch_up(cx, now);
        }
    }

    pub(super) fn handle_presence(&mut self, cx: &mut Shared, changes: &[PresenceChange], now: Now) {
        self.handle_presence_as(cx, changes, false, now);
    }

    fn handle_presence_as(&mut self, cx: &mut Shared, changes: &[PresenceChange], resumed: bool, now: Now) {
        for change in changes {
            match *change {
                PresenceChange::Linked(id) => {
                    if let Some(peer) = self.peers.get_mut(&id) {
                        peer.unpark();
                        peer.restart_silence(now);
                        peer.hold_until = Duration::ZERO;
                        peer.open_not_before = Duration::ZERO;
                        if !resumed {
                            peer.doubt_everything();
                            if let Some(opening) = peer.pending.take() {
                                self.sessions.remove(&opening.session);
                            }
                        }
                    }
                    cx.emit(Event::Peer { id, change: PeerChange::Up });
                    self.meet(cx, id, now);
                    if self.roster.get(&id).is_some_and(|entry| entry.card.member.rights.admit) {
                        self.renewal.look_now(now);
                    }
                    self.touch(cx, id, now);
                    self.calls.handle_peer_up(id, now);
                }
                PresenceChange::Relinked(id) => {
                    if let Some(peer) = self.peers.get_mut(&id) {
                        peer.restart_silence(now);
                        if !resumed {
                            peer.doubt_everything();
                        }
                    }
                    self.touch(cx, id, now);
                }
                PresenceChange::Away(id) => {
                    cx.emit(Event::Peer { id, change: PeerChange::Down });
                    if let Some(peer) = self.peers.get_mut(&id) {
                        peer.unpark();
                    }
                    self.touch(cx, id, now);
                }
                PresenceChange::Gone(id) => self.handle_gone(cx, id, now),
            }
        }
        self.move_calls(cx, now);
    }

    /// Calls to this peer and requests from it are over; messages wait for it until they expire.
    pub(super) fn handle_gone(&mut self, cx: &mut Shared, id: AgentId, now: Now) {
        cx.emit(Event::Peer { id, change: PeerChange::Gone });
        self.cancel_requests_of(cx, id);
        self.abandon_calls_to(cx, id, now);
    }

    pub(super) fn handle_bounce(
        &mut self,
        cx: &mut Shared,
        origin: Origin,
        reason: BounceReason,
        retry_after: Duration,
        now: Now,
    ) {
        cx.counters.bounces += 1;
        match origin {
            Origin::Messages { peer: id, lane, built } => {
                let Some(peer) = self.peers.get_mut(&id) else { return };
                if cfg!(feature = "planted_bounce_final") {
                    let mut settled = Vec::new();
                    peer.send[lane.index()].fail_all(&mut settled);
                    return self.settle(cx, settled);
                }
                peer.send[lane.index()].handle_bounce(built);
                if reason == BounceReason::Full {
                    peer.pace[lane.index()].handle_full(retry_after, now.monotonic);
                } else {
                    // Of the frames that bounce together the first says it for all that waits.
                    let is_first = peer.hold_until <= now.monotonic;
                    peer.hold_until = now.monotonic + retry_after.max(super::limits::BOUNCE_PAUSE);
                    if reason == BounceReason::Absent && is_first {
                        let mut settled = Vec::new();
                        peer.send.iter_mut().for_each(|lane| lane.note_unknown(&mut settled));
                        self.settle(cx, settled);
                    }
                }
                self.touch(cx, id, now);
            }
            Origin::Parked { peer, lane, serial } => {
                self.handle_not_parked(cx, (peer, lane, serial), Some((reason, retry_after)), now);
            }
            Origin::Opener { peer: id, session } => {
                let Some(peer) = self.peers.get_mut(&id) else { return };
                if peer.pending.take_if(|pending| pending.session == session).is_some() {
                    self.sessions.remove(&session);
                    peer.send.iter_mut().for_each(SendLane::doubt_all);
                }
                peer.hold_until = now.monotonic + retry_after.max(super::limits::BOUNCE_PAUSE);
                peer.open_not_before = peer.open_not_before.max(peer.hold_until);
                self.touch(cx, id, now);
            }
            Origin::Control { .. } | Origin::Other => {}
        }
    }

    pub(super) fn handle_timeout(&mut self, cx: &mut Shared, now: Now) {
        while let Some(&(at, id)) = self.timers.first() {
            if at > now.monotonic {
                break;
            }
            self.timers.pop_first();
            self.handle_peer_timeout(cx, id, now);
        }
        self.handle_stray_timeout(now);
        self.handle_envelope_timeout(cx, now);
        self.handle_code_timeout(cx, now);
        let changes = self.roster.handle_timeout(now.monotonic);
        self.handle_presence(cx, &changes, now);
        self.handle_outbox_timeout(cx, now);
        self.handle_body_timeout(cx, now);
        self.handle_call_timeout(cx, now);
        self.handle_heartbeat_timeout(cx, now);
        if cx.prekeys.renew(&mut cx.random, now.monotonic) {
            self.renew_card(cx, now);
            cx.keeper.save(now);
        }
        self.handle_renewal_timeout(cx, now);
    }

    fn handle_peer_timeout(&mut self, cx: &mut Shared, id: AgentId, now: Now) {
        let Some(peer) = self.peers.get_mut(&id) else { return };
        peer.timer = None;
        peer.forget_early(now);
        if cx.link.is_up() && self.roster.get(&id).is_some_and(|entry| entry.presence.is_linked()) {
            if peer.pending.as_ref().is_some_and(|opening| opening.deadline <= now.monotonic) {
                self.give_up_opening(id, now);
            }
            let Some(peer) = self.peers.get_mut(&id) else { return };
            peer.handle_silence(now);
            if peer.probe_at.is_some_and(|at| at <= now.monotonic) {
                peer.probe_at = None;
                if peer.send.iter().any(|lane| lane.has_unsettled()) {
                    peer.owe_probe();
                }
            }
        }
        self.touch(cx, id, now);
    }

    /// Looks at a peer after something about it changed: opens a session if one is wanted, puts it into the rings, sets its timer.
    pub(super) fn touch(&mut self, cx: &mut Shared, id: AgentId, now: Now) {
        let Some(peer) = self.peers.get_mut(&id) else { return };
        let is_linked = self.roster.get(&id).is_some_and(|entry| entry.presence.is_linked());
        let reachable = cx.link.is_up() && is_linked;
        let may_park = cx.link.can_park() && !is_linked;
        if reachable && peer.wants_opener(now) {
            self.open_session(cx, id, now);
        }
        if may_park {
            self.park(cx, id, now);
        }
        let Some(peer) = self.peers.get_mut(&id) else { return };
        let mut timer = None;
        if reachable {
            if peer.probe_at.is_none() && peer.send.iter().any(|lane| lane.has_unsettled()) {
                peer.probe_at = Some(now.monotonic + PROBE_INTERVAL);
            }
            if peer.has_keys() && peer.hold_until <= now.monotonic {
                for lane in Lane::ALL {
                    if !peer.in_ring[lane.index()] && peer.has_work(lane, now) {
                        peer.in_ring[lane.index()] = true;
                        self.outbox.enter_ring(lane, id);
                    }
                }
            }
            timer = peer.next_timer(now);
        } else if may_park {
            timer = peer.parking_timer(now);
        }
        if peer.timer != timer {
            if let Some(old) = peer.timer {
                self.timers.remove(&(old, id));
            }
            if let Some(new) = timer {
                self.timers.insert((new, id));
            }
            peer.timer = timer;
        }
    }

    pub(super) fn poll_timeout(&self, cx: &Shared) -> Option<Duration> {
        let timers = [
            self.timers.first().map(|&(at, _)| at),
            self.strays.poll_timeout(),
            self.envelopes.poll_timeout(),
            self.runs.poll_timeout(),
            self.codes.poll_timeout(),
            self.roster.poll_timeout(),
            self.outbox.poll_timeout(),
            self.bodies.poll_timeout(),
            self.calls.poll_timeout(),
            self.requests.poll_timeout(),
            Some(cx.prekeys.poll_timeout()),
            Some(self.renewal.poll_timeout()),
        ];
        timers.into_iter().flatten().min()
    }

    /// The peer's state, made when there is something to say to it or to hear from it. `None`: no card of it is known, or it has left for good.
    pub(super) fn peer_mut(&mut self, id: AgentId) -> Option<&mut Peer> {
        let entry = self.roster.get(&id)?;
        if matches!(entry.presence, Presence::Left { is_final: true, .. }) {
            return None;
        }
        let (card, runs, first) = (&entry.card, &mut self.runs, self.numbers_from);
        let peer = self.peers.entry(id).or_insert_with(|| {
            let mut peer = Peer::new(id, card.label, card.run, first);
            match runs.take(id, card.run) {
                Some(ended) => peer.take_up(ended),
                None => peer.forgotten_until = runs.forgotten_until(&id),
            }
            peer
        });
        Some(peer)
    }

    /// The identity of this peer ended, or others need the room: nothing is kept for it. What came from it is remembered, as some of it may
    /// come once more.
    pub(super) fn forget_peer(&mut self, cx: &mut Shared, id: AgentId, now: Now) {
        let Some(mut peer) = self.peers.remove(&id) else { return };
        if let Some(timer) = peer.timer {
            self.timers.remove(&(timer, id));
        }
        for session in peer.forget_sessions() {
            self.sessions.remove(&session);
        }
        self.numbers_from = peer.send.iter().map(SendLane::next).fold(self.numbers_from, u64::max);
        let made = now.wall.saturating_add_signed(peer.clock_offset.unwrap_or_default().saturating_neg());
        let made = made.saturating_add(CLOCK_TOLERANCE.as_millis() as u64);
        let receive = std::mem::take(&mut peer.receive);
        let ended = EndedRun::new(receive, peer.clock_offset, made, now.monotonic);
        let is_final = self.roster.get(&id).is_some_and(|entry| matches!(entry.presence, Presence::Left { is_final: true, .. }));
        self.end_run(id, peer.run, ended, is_final, now);
        self.rooms.retain(|(of, _), room| *of != id || *room != Room::default());
        let mut settled = Vec::new();
        peer.send.iter_mut().for_each(|lane| lane.fail_all(&mut settled));
        self.settle(cx, settled);
        self.forget_bodies_of(cx, id, now);
    }

    /// Says goodbye to every peer there is a session with.
    pub(super) fn say_goodbye(&mut self, cx: &mut Shared, now: Now) {
        let is_final = cx.config.is_ephemeral();
        let ids: Vec<AgentId> = self.peers.iter().filter(|(_, peer)| peer.has_session()).map(|(id, _)| *id).collect();
        for id in ids {
            if let Some(peer) = self.peers.get_mut(&id) {
                peer.owe_goodbye(is_final);
            }
            self.touch(cx, id, now);
        }
    }
}
