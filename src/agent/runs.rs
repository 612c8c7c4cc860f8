//! What came from runs of peers that have ended, so that nothing of it is taken twice: an envelope may have waited for a day, and a relay may
//! play it again.
//!
//! Policy. The lanes of a run are kept for as long as anything that it sent may be worth something, at most sixteen runs of a peer. When
//! one has to go, envelopes of runs that aren't known are refused if they were made before: that run's are among them. All of this is
//! on the sender's own clock, which says when its envelopes and its cards were made.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use super::limits::TTL_MAX;
use super::transport::{ReceiveLane, Room};
use crate::proto::limits::CLOCK_TOLERANCE;
use crate::proto::{AgentId, Lane, Now, RunId};

/// Runs of one peer that are remembered beside its present one. Chosen: a process that dies every hour and a half for a day.
const RUNS_OF_ONE: usize = 16;
/// Runs of all peers. Chosen: a few of each of a full roster, some kilobytes each.
const RUNS: usize = 4_096;
/// How long a run is remembered after its end: as long as what it sent may live.
const KEPT: Duration = Duration::from_secs(TTL_MAX.as_secs() + CLOCK_TOLERANCE.as_secs());
/// Peers of whom a run was forgotten. Chosen: more than a roster holds.
const MARKS: usize = 4_096;

/// The lanes of a run that isn't its peer's present one.
#[derive(Debug)]
pub(super) struct EndedRun {
    since: Duration,
    pub(super) receive: [ReceiveLane; Lane::COUNT],
    /// How far this clock is ahead of the sender's, if a session told.
    pub(super) clock_offset: Option<i64>,
    /// By the sender's clock: nothing that it sent was made after this.
    last_made: u64,
}

impl EndedRun {
    /// A run of which nothing came yet.
    pub(super) fn unheard(clock_offset: Option<i64>, last_made: u64, now: Duration) -> Self {
        Self::new(Default::default(), clock_offset, last_made, now)
    }

    /// A run that was its peer's present one until a card with this stamp, or the end of all, came.
    pub(super) fn new(receive: [ReceiveLane; Lane::COUNT], clock_offset: Option<i64>, last_made: u64, now: Duration) -> Self {
        Self { since: now, receive, clock_offset, last_made }
    }

    /// Something came that was made at `wall`.
    pub(super) fn note_made(&mut self, wall: u64) {
        self.last_made = self.last_made.max(wall);
    }
}

#[derive(Debug, Default)]
pub(super) struct EndedRuns {
    runs: BTreeMap<(AgentId, RunId), EndedRun>,
    by_time: BTreeSet<(Duration, AgentId, RunId)>,
    /// Envelopes of unknown runs that were made until then, by their senders' clocks, are refused; and how long to remember that.
    refused_until: BTreeMap<AgentId, (u64, Duration)>,
    /// The same for all peers, once there are too many to remember.
    refused_of_all: u64,
    /// What was held in lanes that were forgotten: peer, lane, and the lane itself, to give back what it took.
    forgotten: Vec<(AgentId, EndedRun)>,
}

impl EndedRuns {
    pub(super) fn get(&mut self, id: AgentId, run: RunId) -> Option<&mut EndedRun> {
        self.runs.get_mut(&(id, run))
    }

    /// Takes up a run again that is its peer's present one after all.
    pub(super) fn take(&mut self, id: AgentId, run: RunId) -> Option<EndedRun> {
        let ended = self.runs.remove(&(id, run))?;
        self.by_time.remove(&(ended.since, id, run));
        Some(ended)
    }

    /// An envelope of a run that isn't known may be of one that was forgotten, if it was made until then by its sender's clock.
    pub(super) fn forgotten_until(&self, id: &AgentId) -> u64 {
        self.refused_until.get(id).map_or(0, |&(until, _)| until).max(self.refused_of_all)
    }

    /// Remembers a run. At the bounds the one goes that ended first.
    pub(super) fn insert(&mut self, id: AgentId, run: RunId, ended: EndedRun, now: Now) {
        self.by_time.insert((ended.since, id, run));
        self.runs.insert((id, run), ended);
        let of_one = self.runs.range((id, RunId::ZERO)..=(id, RunId::from_bytes([0xff; 16])));
        let oldest = of_one.clone().map(|(&(_, run), ended)| (ended.since, run)).min();
        if of_one.count() > RUNS_OF_ONE
            && let Some((_, oldest)) = oldest
        {
            self.forget(id, oldest, now);
        }
        while self.runs.len() > RUNS
            && let Some(&(_, id, run)) = self.by_time.first()
        {
            self.forget(id, run, now);
        }
    }

    /// Forgets what is worth nothing any more.
    pub(super) fn handle_timeout(&mut self, now: Now) {
        while let Some(&(since, id, run)) = self.by_time.first()
            && since + KEPT <= now.monotonic
        {
            self.forget(id, run, now);
        }
    }

    pub(super) fn poll_timeout(&self) -> Option<Duration> {
        self.by_time.first().map(|&(since, ..)| since + KEPT)
    }

    fn forget(&mut self, id: AgentId, run: RunId, now: Now) {
        let Some(ended) = self.take(id, run) else { return };
        self.refused_until.retain(|_, (_, forget_at)| *forget_at > now.monotonic);
        let mark = self.refused_until.entry(id).or_default();
        // As long again: whoever's clock is wrong may still hold what it made then for worth something.
        *mark = (mark.0.max(ended.last_made), now.monotonic + KEPT * 2);
        if self.refused_until.len() > MARKS
            && let Some((id, (until, _))) =
                self.refused_until.iter().min_by_key(|(_, (_, at))| *at).map(|(id, mark)| (*id, *mark))
        {
            self.refused_until.remove(&id);
            // Whoever claims to live in the future makes only itself unheard.
            let plausible = now.wall.saturating_add(KEPT.as_millis() as u64);
            self.refused_of_all = self.refused_of_all.max(until.min(plausible));
        }
        self.forgotten.push((id, ended));
    }

    /// Gives back what was held in lanes that were forgotten.
    pub(super) fn settle_rooms(&mut self, rooms: &mut BTreeMap<(AgentId, Lane), Room>) {
        for (id, ended) in self.forgotten.drain(..) {
            for lane in Lane::ALL {
                if let Some(room) = rooms.get_mut(&(id, lane)) {
                    ended.receive[lane.index()].give_up(room);
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(seconds: u64) -> Now {
        Now { monotonic: Duration::from_secs(seconds), wall: 1_000_000 + seconds * 1_000 }
    }

    fn run(number: u8) -> RunId {
        RunId::from_bytes([number; 16])
    }

    fn ended(at: u64, last_made: u64) -> EndedRun {
        EndedRun::unheard(None, last_made, Duration::from_secs(at))
    }

    #[test]
    fn a_run_that_has_to_go_leaves_a_mark() {
        let (mut runs, one) = (EndedRuns::default(), AgentId::from_bytes([1; 32]));
        for number in 0..=RUNS_OF_ONE as u8 {
            runs.insert(one, run(number), ended(number.into(), 1_000 + u64::from(number)), at(100));
        }
        assert!(runs.get(one, run(0)).is_none() && runs.get(one, run(1)).is_some());
        assert_eq!(runs.forgotten_until(&one), 1_000);
        assert_eq!(runs.forgotten_until(&AgentId::ZERO), 0, "it is of nobody else");
    }

    #[test]
    fn a_run_is_remembered_for_as_long_as_what_it_sent_may_live() {
        let (mut runs, one) = (EndedRuns::default(), AgentId::from_bytes([1; 32]));
        runs.insert(one, run(1), ended(10, 500), at(10));
        runs.handle_timeout(at(9 + KEPT.as_secs()));
        assert!(runs.get(one, run(1)).is_some());
        runs.handle_timeout(at(10 + KEPT.as_secs()));
        assert!(runs.get(one, run(1)).is_none() && runs.forgotten_until(&one) == 500);
        assert_eq!(runs.poll_timeout(), None);
    }

    #[test]
    fn many_peers_with_forgotten_runs_are_refused_together() {
        let (mut runs, now) = (EndedRuns::default(), at(1));
        let peer = |number: u32| AgentId::from_bytes(std::array::from_fn(|at| number.to_be_bytes()[at % 4]));
        for number in 0..(RUNS + MARKS + 10) as u32 {
            runs.insert(peer(number), run(1), ended(number.into(), u64::from(number) + 1), now);
        }
        assert!(runs.runs.len() <= RUNS && runs.refused_until.len() <= MARKS);
        assert!(runs.forgotten_until(&peer(0)) >= 1 && runs.forgotten_until(&peer(9)) >= 10);
    }
}
