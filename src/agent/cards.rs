//! How agents come to know each other: the agent's own card, the cards of others, and who tells whom.
//!
//! Everybody sends its own changed card to all peers. An agent that may admit passes on cards that it learns, so that a newcomer is known to all
//! after one session. Where two rosters may differ, as an answer, a new link or a peer's return after a time in which a card went round show, each
//! side hears what the other has, and sends what that one lacks.

use std::time::Duration;

use bytes::Bytes;

use super::admission::Membership;
use super::card::{Card, CardDraft, VerifiedCard};
use super::config::SkillOffer;
use super::definitions::Definitions;
use super::error::SendError;
use super::event::{Event, PeerChange};
use super::member::{Member, Shared};
use super::message::{MessageHeader, MessageKind};
use super::peer::Peer;
use super::roster::{Learned, RosterEntry};
use super::runs::EndedRun;
use crate::proto::{AgentId, Label, Lane, MessageId, Now};

#[cfg(test)]
mod tests;

/// How long a card is worth delivering: until its owner would have sent another one.
const CARD_TTL: Duration = Duration::from_secs(60 * 60);

/// Signs the card of an agent that has just become a member, or whose card changed at `stamp`.
pub(super) fn own_card(cx: &Shared, membership: &Membership, stamp: u64) -> Result<VerifiedCard, SendError> {
    for skill in &cx.config.skills {
        if !membership.rights().may_offer(&skill.name) {
            return Err(SendError::NotPermitted { right: "offer this skill" });
        }
    }
    let skills: Vec<_> = cx.config.skills.iter().map(SkillOffer::entry).collect();
    let draft = CardDraft {
        founder: membership.founder,
        identity: &cx.identity,
        run: cx.run,
        stamp,
        link_key: cx.identity.link_key(&membership.routing).public(),
        chain: &membership.chain,
        prekey: cx.prekeys.public(),
        skills: &skills,
        is_ephemeral: cx.config.is_ephemeral(),
    };
    let verified = draft.sign().and_then(Card::parse).and_then(|card| card.verify(&membership.founder, stamp));
    verified.map_err(|error| SendError::Invalid(error.to_string()))
}

/// Makes a skill's definition available to peers.
pub(super) fn add_definition(definitions: &mut Definitions, skill: &SkillOffer) -> Result<(), SendError> {
    let added = definitions.add_own(Bytes::copy_from_slice(&skill.definition));
    added.map(|_| ()).map_err(|error| SendError::Invalid(format!("skill {:?}: {error}", skill.name)))
}

impl Member {
    /// Takes a verified card, from its owner or from somebody who passes it on.
    pub(super) fn learn_card(&mut self, cx: &mut Shared, card: VerifiedCard, from: Option<AgentId>, now: Now) {
        let (id, run, bytes) = (card.identity, card.run, card.bytes.clone());
        match self.roster.learn(card, now.monotonic) {
            Learned::New { forgotten } => {
                if let Some(forgotten) = forgotten {
                    self.forget_peer(cx, forgotten, now);
                }
                cx.emit(Event::Peer { id, change: PeerChange::Joined });
                if self.roster.get(&id).is_some_and(|entry| entry.presence.is_linked()) {
                    cx.emit(Event::Peer { id, change: PeerChange::Up });
                }
                self.spread_card(cx, id, &bytes, from, now);
                self.share_tickets(cx, id, now);
            }
            Learned::Newer { restarted_from, presence } => {
                if restarted_from.is_some() {
                    self.handle_restart(cx, id, run, now);
                }
                if let Some(label) = self.roster.get(&id).map(|entry| entry.card.label)
                    && let Some(peer) = self.peers.get_mut(&id)
                {
                    peer.label = label;
                }
                cx.emit(Event::Peer { id, change: PeerChange::Changed });
                self.handle_presence(cx, presence.as_slice(), now);
                self.spread_card(cx, id, &bytes, from, now);
            }
            Learned::OutranksOwn { stamp } => {
                self.card_stamp = self.card_stamp.max(stamp);
                self.renew_card(cx, now);
            }
            Learned::Known | Learned::Stale => return,
            Learned::Full => cx.counters.refused_cards += 1,
        }
        cx.keeper.save_soon(now);
        self.touch(cx, id, now);
        self.move_calls(cx, now);
    }

    /// The peer runs anew: its old run's sessions are void, its requests and our calls to it are over, messages wait for it.
    fn handle_restart(&mut self, cx: &mut Shared, id: AgentId, run: crate::proto::RunId, now: Now) {
        self.cancel_requests_of(cx, id);
        self.abandon_calls_to(cx, id, now);
        let stamp = self.roster.get(&id).map_or(0, |entry| entry.card.stamp);
        let taken_up = self.runs.take(id, run);
        self.handle_body_restart(cx, id, now);
        let Some(peer) = self.peers.get_mut(&id) else { return };
        for session in peer.forget_established() {
            self.sessions.remove(&session);
        }
        let before = peer.run;
        let receive = peer.restart(run);
        let ended = EndedRun::new(receive, peer.clock_offset, stamp, now.monotonic);
        if let Some(run) = taken_up {
            peer.take_up(run);
        }
        self.end_run(id, before, ended, true, now);
    }

    /// Passes a card on, if admitting agents is this one's business; also what another of those brings, who may not know all that are known here.
    fn spread_card(&mut self, cx: &mut Shared, owner: AgentId, bytes: &Bytes, from: Option<AgentId>, now: Now) {
        if from.is_none() || !self.membership.rights().admit {
            return;
        }
        self.tell_card(cx, bytes, |id| *id != owner && Some(*id) != from, now);
    }

    /// Sends a card to those of all peers who are linked, and notes that the others lack it.
    fn tell_card(&mut self, cx: &mut Shared, bytes: &Bytes, is_meant: impl Fn(&AgentId) -> bool, now: Now) {
        let (linked, absent): (Vec<&RosterEntry>, Vec<_>) =
            self.roster.peers().filter(|entry| is_meant(&entry.card.identity)).partition(|entry| entry.presence.is_linked());
        for entry in absent {
            if let Some(peer) = self.peers.get_mut(&entry.card.identity) {
                peer.lacks_cards = true;
            }
        }
        let linked: Vec<AgentId> = linked.into_iter().map(|entry| entry.card.identity).collect();
        linked.into_iter().for_each(|id| self.send_card(cx, id, bytes.clone(), now));
    }

    fn send_card(&mut self, cx: &mut Shared, to: AgentId, bytes: Bytes, now: Now) {
        let header = Self::own_header(cx, MessageKind::Card, CARD_TTL, now);
        self.queue_untracked(cx, to, Lane::High, header, bytes, now);
    }

    /// The agent's own card changed: a new one goes to all peers.
    pub(super) fn renew_card(&mut self, cx: &mut Shared, now: Now) {
        let stamp = now.wall.max(self.card_stamp + 1);
        // What can fail was checked when the skills were set.
        let Ok(card) = own_card(cx, &self.membership, stamp) else { return };
        self.card_stamp = stamp;
        let bytes = card.bytes.clone();
        self.roster.set_own(card, now.monotonic);
        cx.keeper.save_soon(now);
        self.tell_card(cx, &bytes, |_| true, now);
    }

    /// Shows the own card to somebody who admits agents, and so spreads it, unless there is a session, in which it was shown.
    pub(super) fn introduce_to(&mut self, cx: &mut Shared, id: AgentId, now: Now) {
        let admits = self.roster.get(&id).is_some_and(|entry| entry.card.member.rights.admit);
        if admits && !self.peers.get(&id).is_some_and(Peer::has_session) {
            let bytes = self.roster.own().bytes.clone();
            self.send_card(cx, id, bytes, now);
        }
    }

    /// Shows the own card to whoever is linked under this label, and tried to open a session by an old one. Nothing proves that it did: what
    /// a switchboard can cause by saying so is one opener, and none while there are keys or something waits for them.
    pub(super) fn introduce_to_stranger(&mut self, cx: &mut Shared, label: Label, now: Now) {
        let at_label = self.roster.at_label(&label).filter(|entry| entry.presence.is_linked()).map(|entry| entry.card.identity);
        let has_work = |id: &AgentId| self.peers.get(id).is_some_and(|peer| peer.has_keys() || peer.wants_session(now));
        let ids: Vec<AgentId> = at_label.filter(|id| !has_work(id)).collect();
        let bytes = self.roster.own().bytes.clone();
        ids.into_iter().for_each(|id| self.send_card(cx, id, bytes.clone(), now));
    }

    /// Replaces the skills on offer.
    pub(super) fn offer(&mut self, cx: &mut Shared, skills: Vec<SkillOffer>, now: Now) -> Result<(), SendError> {
        let before = std::mem::replace(&mut cx.config.skills, skills);
        let skills = cx.config.skills.clone();
        let checked = skills.iter().try_for_each(|skill| add_definition(&mut self.definitions, skill));
        if let Err(error) = checked.and_then(|()| own_card(cx, &self.membership, now.wall).map(|_| ())) {
            cx.config.skills = before;
            return Err(error);
        }
        self.renew_card(cx, now);
        Ok(())
    }

    /// A peer is linked. Whoever comes last compares cards, but may not when its link goes on: those whose links are others by then are told to it
    /// after the others, like peers that come after it. So one that lacks cards hears of them from here.
    pub(super) fn meet(&mut self, cx: &mut Shared, id: AgentId, now: Now) {
        let lacks_cards = self.peers.get(&id).is_some_and(|peer| peer.lacks_cards);
        if lacks_cards && self.roster.get(&id).is_some_and(|entry| self.compares_with(entry)) {
            self.send_roster(cx, id, None, now);
        } else {
            self.introduce_to(cx, id, now);
        }
    }

    /// Those who may admit compare cards with all, the others with them: so everybody hears of everything without all asking all.
    fn compares_with(&self, peer: &RosterEntry) -> bool {
        self.membership.rights().admit || peer.card.member.rights.admit
    }

    /// The link is up again: whoever came or changed meanwhile may be unknown here.
    pub(super) fn catch_up(&mut self, cx: &mut Shared, now: Now) {
        let linked = self.roster.peers().filter(|entry| entry.presence.is_linked());
        let others: Vec<AgentId> = linked.filter(|entry| self.compares_with(entry)).map(|entry| entry.card.identity).collect();
        for id in others {
            let peer = self.peers.get(&id);
            if peer.is_some_and(Peer::has_session) {
                self.send_roster(cx, id, None, now);
            } else if peer.is_none_or(|peer| !peer.wants_session(now)) {
                // Without a session, whoever opens one compares.
                self.introduce_to(cx, id, now);
            }
        }
    }

    /// The answer to an opener showed which cards the peer knows; where that differs, it hears which are known here.
    pub(super) fn compare_rosters(&mut self, cx: &mut Shared, id: AgentId, theirs: &[u8; 32], now: Now) {
        if *theirs != self.roster.digest() {
            self.send_roster(cx, id, None, now);
        }
    }

    fn send_roster(&mut self, cx: &mut Shared, to: AgentId, reply_to: Option<MessageId>, now: Now) {
        let mut header = Self::own_header(cx, MessageKind::Roster, CARD_TTL, now);
        header.reply_to = reply_to;
        let summary = self.roster.summary();
        if let Some(peer) = self.peers.get_mut(&to) {
            peer.lacks_cards = false;
        }
        self.queue_untracked(cx, to, Lane::High, header, summary, now);
    }

    /// A peer said which cards it knows: it gets those that it lacks, and is asked for those that are missing here.
    pub(super) fn handle_roster(&mut self, cx: &mut Shared, id: AgentId, header: &MessageHeader, summary: &[u8], now: Now) {
        let (Ok(missing), Ok(is_behind)) = (self.roster.missing_in(summary), self.roster.is_behind(summary)) else {
            cx.counters.refused_messages += 1;
            return;
        };
        for missing in missing {
            if let Some(bytes) = self.roster.get(&missing).map(|entry| entry.card.bytes.clone()) {
                self.send_card(cx, id, bytes, now);
            }
        }
        // A reply to a reply would go on for ever where a card can't be taken.
        if is_behind && header.reply_to.is_none() {
            self.send_roster(cx, id, Some(header.id), now);
        }
    }
}
