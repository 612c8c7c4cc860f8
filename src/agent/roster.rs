//! The roster: whom this agent knows, by which card, and who of them is there.
//!
//! A data structure: it sends nothing and verifies nothing. It takes verified cards, the switchboard's word on which labels are
//! linked, and goodbyes; it says who has a name or a skill, and which cards another agent still lacks. The agent's own card
//! is part of it, because the digest that two agents compare is over all cards.
//!
//! Presence. A peer whose label is linked is *linked*. When its label goes it is *away*, and after a delay *gone*: calls to it
//! move on. One that says goodbye has *left* at once, whatever its label does, until it comes back as another run. While the
//! agent's own link is down nobody is declared gone, since nothing is known of them; afterwards all get the whole delay anew.
//!
//! At the bound the card makes room whose owner has been gone for the longest time, first among those that left for good. If
//! nobody is gone, the newcomer isn't taken.
//!
//! Specification: PROTOCOL.md sections 3.3, 5.2 and 7.1 (card, roster).

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use bytes::{BufMut, Bytes, BytesMut};

use super::card::VerifiedCard;
use crate::proto::codec::Reader;
use crate::proto::{AgentId, Error, Label, RunId, signature};

#[cfg(test)]
mod tests;

/// Most cards, the agent's own included. Chosen: at most 8 MiB of memory.
pub const CARDS_LIMIT: usize = 1024;

/// Most linked labels without a card that are remembered. Chosen: cards come soon after labels; of a label beyond this its
/// agent counts as gone until it links again.
pub const UNKNOWN_LABELS_LIMIT: usize = 4096;

const SUMMARY_ENTRY_LEN: usize = 40;

/// Whether a peer is there, and since when.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Presence {
    Linked {
        since: Duration,
    },
    /// Its label went; it may be back in a moment.
    Away {
        since: Duration,
    },
    /// It has been away for too long, or was never seen.
    Gone {
        since: Duration,
    },
    /// It said goodbye; if that was final, its identity has ended too. Otherwise it may be back once its link has been seen to end.
    Left {
        since: Duration,
        is_final: bool,
    },
}

impl Presence {
    /// Says whether frames to the peer can arrive.
    pub fn is_linked(self) -> bool {
        matches!(self, Self::Linked { .. })
    }

    /// Says whether calls to the peer have to move on.
    pub fn is_gone(self) -> bool {
        matches!(self, Self::Gone { .. } | Self::Left { .. })
    }

    /// Orders the gone by who is forgotten first; `None` for those who aren't gone.
    fn rank_to_forget(self) -> Option<(bool, Duration)> {
        match self {
            Self::Linked { .. } | Self::Away { .. } => None,
            Self::Gone { since } => Some((true, since)),
            Self::Left { since, is_final } => Some((!is_final, since)),
        }
    }
}

/// What a change of labels, or the time that passed, means for a peer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PresenceChange {
    Linked(AgentId),
    /// Linked as before, by another link: what was under way to the earlier one may be lost.
    Relinked(AgentId),
    Away(AgentId),
    Gone(AgentId),
}

/// What became of a card.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Learned {
    /// The first card of this peer.
    New {
        /// Who was forgotten to make room.
        forgotten: Option<AgentId>,
    },
    /// It replaces an older card of this peer.
    Newer {
        /// The run that ended, if the peer has begun another.
        restarted_from: Option<RunId>,
        /// What it means for the peer's presence: one that had left is back, or its label is another.
        presence: Option<PresenceChange>,
    },
    /// This very card was known.
    Known,
    /// A later card of this peer is known.
    Stale,
    /// No room, and nobody to forget.
    Full,
    /// Somebody has a later card of this agent itself, from a run whose clock was ahead: it has to sign one that is later still.
    OutranksOwn { stamp: u64 },
}

/// A card and the presence of its owner.
#[derive(Clone, Debug)]
pub struct RosterEntry {
    pub card: VerifiedCard,
    pub presence: Presence,
}

/// The cards that an agent knows, and who is there.
///
/// Feed it with [`learn`](Self::learn), [`handle_labels`](Self::handle_labels), [`handle_link_lost`](Self::handle_link_lost),
/// [`handle_goodbye`](Self::handle_goodbye) and, when [`poll_timeout`](Self::poll_timeout) is reached,
/// [`handle_timeout`](Self::handle_timeout). Whatever it lists is in the order of identities.
#[derive(Debug)]
pub struct Roster {
    me: AgentId,
    gone_after: Duration,
    entries_by_id: BTreeMap<AgentId, RosterEntry>,
    /// Pairs, because a member may claim the link key of another; it wins nothing but a share in that one's presence.
    labels_and_ids: BTreeSet<(Label, AgentId)>,
    ids_by_name: BTreeMap<String, BTreeSet<AgentId>>,
    ids_by_skill: BTreeMap<String, BTreeSet<AgentId>>,
    /// Peers that are away, by the time since when they are.
    away: BTreeSet<(Duration, AgentId)>,
    linked: BTreeSet<Label>,
    link_is_up: bool,
}

impl Roster {
    /// Makes a roster that knows nobody but the agent itself.
    pub fn new(own: VerifiedCard, gone_after: Duration, now: Duration) -> Self {
        let mut roster = Self {
            me: own.identity,
            gone_after,
            entries_by_id: BTreeMap::new(),
            labels_and_ids: BTreeSet::new(),
            ids_by_name: BTreeMap::new(),
            ids_by_skill: BTreeMap::new(),
            away: BTreeSet::new(),
            linked: BTreeSet::new(),
            link_is_up: false,
        };
        roster.insert(own, Presence::Linked { since: now });
        roster
    }

    /// Replaces the agent's own card; `own` is of the identity that the roster was made for.
    pub fn set_own(&mut self, own: VerifiedCard, now: Duration) {
        debug_assert_eq!(own.identity, self.me);
        let me = self.me;
        self.remove(&me);
        self.insert(own, Presence::Linked { since: now });
    }

    /// Says whether a card of this identity and stamp would change anything, so that only such a card need be verified.
    pub fn is_news(&self, identity: &AgentId, stamp: u64) -> bool {
        self.entries_by_id.get(identity).is_none_or(|entry| entry.card.stamp < stamp)
    }

    /// Takes a card into the roster. Whether a new peer is there stands in its entry afterwards.
    pub fn learn(&mut self, card: VerifiedCard, now: Duration) -> Learned {
        let id = card.identity;
        let Some(known) = self.entries_by_id.get(&id) else {
            return self.learn_new(card, now);
        };
        if card.stamp == known.card.stamp {
            return Learned::Known;
        }
        if card.stamp < known.card.stamp {
            return Learned::Stale;
        }
        if id == self.me {
            return Learned::OutranksOwn { stamp: card.stamp };
        }
        let ended_run = Some(known.card.run).filter(|run| *run != card.run);
        let presence = self.presence_after(known, &card, now);
        let change = match (known.presence.is_linked(), presence.is_linked()) {
            (false, true) => Some(PresenceChange::Linked(id)),
            (true, false) => Some(PresenceChange::Away(id)),
            (true, true) | (false, false) => None,
        };
        self.remove(&id);
        self.insert(card, presence);
        Learned::Newer { restarted_from: ended_run, presence: change }
    }

    fn learn_new(&mut self, card: VerifiedCard, now: Duration) -> Learned {
        let mut forgotten = None;
        if self.entries_by_id.len() >= CARDS_LIMIT {
            forgotten = self.longest_gone();
            match &forgotten {
                Some(id) => self.remove(id),
                None => return Learned::Full,
            }
        }
        let presence =
            if self.linked.contains(&card.label) { Presence::Linked { since: now } } else { Presence::Gone { since: now } };
        self.insert(card, presence);
        Learned::New { forgotten }
    }

    /// Returns the presence of a peer whose card is being replaced by a newer one.
    fn presence_after(&self, known: &RosterEntry, card: &VerifiedCard, now: Duration) -> Presence {
        let is_same_run = known.card.run == card.run;
        match (known.presence, self.linked.contains(&card.label)) {
            (presence @ Presence::Left { .. }, _) if is_same_run => presence,
            (presence @ Presence::Linked { .. }, true) => presence,
            (Presence::Left { .. } | Presence::Away { .. } | Presence::Gone { .. }, true) => Presence::Linked { since: now },
            (Presence::Linked { .. }, false) => Presence::Away { since: now },
            (Presence::Left { .. }, false) => Presence::Gone { since: now },
            (presence @ (Presence::Away { .. } | Presence::Gone { .. }), false) => presence,
        }
    }

    fn longest_gone(&self) -> Option<AgentId> {
        let gone = self.peers().filter_map(|peer| Some((peer.presence.rank_to_forget()?, peer.card.identity)));
        gone.min().map(|(_, id)| id)
    }

    fn insert(&mut self, card: VerifiedCard, presence: Presence) {
        let id = card.identity;
        self.labels_and_ids.insert((card.label, id));
        self.ids_by_name.entry(card.name().to_owned()).or_default().insert(id);
        for skill in &card.skills {
            self.ids_by_skill.entry(skill.name.clone()).or_default().insert(id);
        }
        if let Presence::Away { since } = presence {
            self.away.insert((since, id));
        }
        self.entries_by_id.insert(id, RosterEntry { card, presence });
    }

    fn remove(&mut self, id: &AgentId) {
        let Some(RosterEntry { card, presence }) = self.entries_by_id.remove(id) else {
            return;
        };
        self.labels_and_ids.remove(&(card.label, *id));
        remove_from(&mut self.ids_by_name, card.name(), id);
        for skill in &card.skills {
            remove_from(&mut self.ids_by_skill, &skill.name, id);
        }
        if let Presence::Away { since } = presence {
            self.away.remove(&(since, *id));
        }
    }
}

/// Who is known.
impl Roster {
    /// Returns how many cards are known, the agent's own included.
    pub fn len(&self) -> usize {
        self.entries_by_id.len()
    }

    /// Says whether nobody is known but the agent itself.
    pub fn is_empty(&self) -> bool {
        self.len() == 1
    }

    /// Returns the entry of an agent.
    pub fn get(&self, id: &AgentId) -> Option<&RosterEntry> {
        self.entries_by_id.get(id)
    }

    /// Returns the agent's own card.
    pub fn own(&self) -> &VerifiedCard {
        &self.entries_by_id.get(&self.me).expect("the own card is put in by `new` and never left out").card
    }

    /// Returns all cards, the agent's own included.
    pub fn cards(&self) -> impl Iterator<Item = &VerifiedCard> {
        self.entries_by_id.values().map(|entry| &entry.card)
    }

    /// Returns everybody but the agent itself.
    pub fn peers(&self) -> impl Iterator<Item = &RosterEntry> {
        self.entries_by_id.values().filter(|entry| entry.card.identity != self.me)
    }

    /// Returns the peers that claim a label: one, unless somebody lies.
    pub fn at_label(&self, label: &Label) -> impl Iterator<Item = &RosterEntry> {
        self.entries(self.ids_at(label))
    }

    /// Returns the peers that have a name, which several may share.
    pub fn named(&self, name: &str) -> impl Iterator<Item = &RosterEntry> {
        self.entries(self.ids_by_name.get(name).into_iter().flatten().copied())
    }

    /// Returns the peers that offer a skill and may offer it, whether they are there or not.
    pub fn holders(&self, skill: &str) -> impl Iterator<Item = &RosterEntry> {
        self.entries(self.ids_by_skill.get(skill).into_iter().flatten().copied())
    }

    fn ids_at(&self, label: &Label) -> impl Iterator<Item = AgentId> + use<'_> {
        let range = (*label, AgentId::ZERO)..=(*label, AgentId::from_bytes([0xff; 32]));
        self.labels_and_ids.range(range).map(|(_, id)| *id)
    }

    fn entries(&self, ids: impl Iterator<Item = AgentId>) -> impl Iterator<Item = &RosterEntry> {
        ids.filter(|id| *id != self.me).filter_map(|id| self.entries_by_id.get(&id))
    }
}

/// What others know.
impl Roster {
    /// Returns the digest that openers and answers carry: equal digests say that both know the same cards.
    pub fn digest(&self) -> [u8; 32] {
        signature::hash(&[&self.summary()])
    }

    /// Returns the body of a roster message: which cards are known here.
    pub fn summary(&self) -> Bytes {
        let mut out = BytesMut::with_capacity(self.len() * SUMMARY_ENTRY_LEN);
        for card in self.cards() {
            out.put_slice(card.identity.as_bytes());
            out.put_u64(card.stamp);
        }
        out.freeze()
    }

    /// Returns whose cards the sender of a summary lacks, or knows in an older version.
    ///
    /// # Errors
    /// `Malformed`, by the peer's fault.
    pub fn missing_in(&self, summary: &[u8]) -> Result<Vec<AgentId>, Error> {
        let stamps_by_id = read_summary(summary)?;
        let is_missing = |card: &&VerifiedCard| stamps_by_id.get(&card.identity).is_none_or(|stamp| *stamp < card.stamp);
        Ok(self.cards().filter(is_missing).map(|card| card.identity).collect())
    }

    /// Says whether the sender of a summary knows a card that is missing here, or known in an older version.
    ///
    /// # Errors
    /// `Malformed`, by the peer's fault.
    pub fn is_behind(&self, summary: &[u8]) -> Result<bool, Error> {
        Ok(read_summary(summary)?.iter().any(|(id, stamp)| self.is_news(id, *stamp)))
    }
}

fn read_summary(summary: &[u8]) -> Result<BTreeMap<AgentId, u64>, Error> {
    let mut reader = Reader::new(summary);
    let mut stamps_by_id = BTreeMap::new();
    while !reader.is_empty() {
        stamps_by_id.insert(AgentId::from_bytes(reader.array()?), reader.u64()?);
    }
    Ok(stamps_by_id)
}

/// Who is there.
impl Roster {
    /// Takes the switchboard's word on labels: all that are linked (`is_all`), or those that came and went.
    pub fn handle_labels(&mut self, is_all: bool, came: &[Label], went: &[Label], now: Duration) -> Vec<PresenceChange> {
        let mut changes = Vec::new();
        if is_all {
            self.link_is_up = true;
            self.restart_delays(now);
            let came: BTreeSet<_> = came.iter().collect();
            let others: Vec<_> = self.linked.iter().filter(|label| !came.contains(label)).copied().collect();
            others.iter().for_each(|label| self.label_went(label, now, &mut changes));
        }
        came.iter().for_each(|label| self.label_came(*label, is_all, now, &mut changes));
        went.iter().for_each(|label| self.label_went(label, now, &mut changes));
        changes
    }

    /// Notes that the agent's own link is down: until all labels are told again, nobody is declared gone.
    pub fn handle_link_lost(&mut self) {
        self.link_is_up = false;
    }

    /// Takes a peer's goodbye, and says whether it was one from its present run.
    pub fn handle_goodbye(&mut self, id: &AgentId, run: &RunId, is_final: bool, now: Duration) -> bool {
        match self.entries_by_id.get(id) {
            Some(entry) if entry.card.run == *run && *id != self.me => {
                let has_ended = !is_final && !self.linked.contains(&entry.card.label);
                let presence = if has_ended { Presence::Gone { since: now } } else { Presence::Left { since: now, is_final } };
                self.set_presence(*id, presence);
                true
            }
            _ => false,
        }
    }

    /// Declares those gone that have been away for too long.
    pub fn handle_timeout(&mut self, now: Duration) -> Vec<PresenceChange> {
        let mut changes = Vec::new();
        while self.poll_timeout().is_some_and(|timeout| timeout <= now) {
            let Some((since, id)) = self.away.first().copied() else { break };
            self.set_presence(id, Presence::Gone { since });
            changes.push(PresenceChange::Gone(id));
        }
        changes
    }

    /// Returns when the next peer will be gone.
    pub fn poll_timeout(&self) -> Option<Duration> {
        let (since, _) = self.away.first()?;
        self.link_is_up.then(|| since.saturating_add(self.gone_after))
    }

    fn label_came(&mut self, label: Label, is_all: bool, now: Duration, changes: &mut Vec<PresenceChange>) {
        let ids: Vec<_> = self.ids_at(&label).collect();
        if ids.is_empty() && self.linked.len() >= CARDS_LIMIT + UNKNOWN_LABELS_LIMIT {
            return;
        }
        let was_linked = !self.linked.insert(label);
        for id in ids {
            match self.presence(&id) {
                Some(Presence::Away { .. } | Presence::Gone { .. }) => {
                    self.set_presence(id, Presence::Linked { since: now });
                    changes.push(PresenceChange::Linked(id));
                }
                Some(Presence::Linked { .. }) if was_linked && !is_all && id != self.me => {
                    changes.push(PresenceChange::Relinked(id))
                }
                Some(Presence::Linked { .. } | Presence::Left { .. }) | None => {}
            }
        }
    }

    fn label_went(&mut self, label: &Label, now: Duration, changes: &mut Vec<PresenceChange>) {
        self.linked.remove(label);
        let ids: Vec<_> = self.ids_at(label).filter(|id| *id != self.me).collect();
        for id in ids {
            match self.presence(&id) {
                Some(Presence::Linked { .. }) => {
                    self.set_presence(id, Presence::Away { since: now });
                    changes.push(PresenceChange::Away(id));
                }
                // It was told as gone with its goodbye. A link after this one is another run's.
                Some(Presence::Left { since, is_final: false }) => self.set_presence(id, Presence::Gone { since }),
                _ => {}
            }
        }
    }

    fn restart_delays(&mut self, now: Duration) {
        for (_, id) in std::mem::take(&mut self.away) {
            self.set_presence(id, Presence::Away { since: now });
        }
    }

    fn presence(&self, id: &AgentId) -> Option<Presence> {
        self.entries_by_id.get(id).map(|entry| entry.presence)
    }

    fn set_presence(&mut self, id: AgentId, presence: Presence) {
        let Some(entry) = self.entries_by_id.get_mut(&id) else { return };
        if let Presence::Away { since } = entry.presence {
            self.away.remove(&(since, id));
        }
        if let Presence::Away { since } = presence {
            self.away.insert((since, id));
        }
        entry.presence = presence;
    }
}

fn remove_from(ids_by_key: &mut BTreeMap<String, BTreeSet<AgentId>>, key: &str, id: &AgentId) {
    if let Some(ids) = ids_by_key.get_mut(key) {
        ids.remove(id);
        if ids.is_empty() {
            ids_by_key.remove(key);
        }
    }
}
