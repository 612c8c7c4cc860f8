//! Which Data frames passed on a link, so that another link can go on where it stopped.
//!
//! Both sides number the Data frames of each direction by counting. A client keeps where each of its frames came from, because
//! notices of the switchboard cite numbers; and it says how many it has received, because the switchboard keeps the others for a while. When the
//! link is lost and resumed, both say how many they have: what is missing of the client's comes back to its origin, what is missing of the
//! switchboard's is written once more. All of this is the switchboard's word: a wrong one costs time, and nothing else.

use std::collections::VecDeque;
use std::time::Duration;

use bytes::Bytes;

use super::Origin;
use crate::proto::limits::{LINK_ACK_BYTES, LINK_ACK_DELAY, LINK_ACK_FRAMES};
use crate::proto::{Features, Welcome};

/// Frames that went out and may still bounce. Chosen: more than the switchboard holds for a link; older ones are found missing by silence.
const TRACKED: usize = 8_192;

/// What a Welcome says of the link before.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Continuity {
    /// Nothing is left of it.
    New,
    /// It goes on, and these frames did not arrive.
    Resumed { lost: Vec<Origin> },
}

/// Call `track` and `handle_data` while the link is up, `handle_down` when it is lost, and `handle_welcome` when another is there.
#[derive(Debug, Default)]
pub(super) struct Ledger {
    tracked: VecDeque<Origin>,
    /// Number of the first tracked frame.
    tracked_from: u64,
    /// Data frames that came.
    received: u64,
    /// To be shown to resume the link; empty if it can't be.
    token: Bytes,
    /// What came since the last acknowledgement.
    unsaid_frames: u64,
    unsaid_bytes: usize,
    ack_at: Option<Duration>,
}

impl Ledger {
    /// Notes a Data frame that is being written, so that its number leads back to it.
    pub(super) fn track(&mut self, origin: Origin) {
        if self.tracked.len() == TRACKED {
            self.tracked.pop_front();
            self.tracked_from += 1;
        }
        self.tracked.push_back(origin);
    }

    pub(super) fn origin(&self, number: u64) -> Option<Origin> {
        let at = number.checked_sub(self.tracked_from)?;
        self.tracked.get(usize::try_from(at).ok()?).copied()
    }

    /// Whether the link can be resumed when it is lost.
    pub(super) fn can_resume(&self) -> bool {
        !self.token.is_empty()
    }

    /// Token and number of received frames, as a Hello shows them.
    pub(super) fn claim(&self) -> (Bytes, u64) {
        if self.can_resume() { (self.token.clone(), self.received) } else { (Bytes::new(), 0) }
    }

    /// The link is lost: what can't be resumed is forgotten.
    pub(super) fn handle_down(&mut self) {
        self.said();
        if !self.can_resume() {
            self.forget();
        }
    }

    pub(super) fn forget(&mut self) {
        *self = Self::default();
    }

    /// Takes what the switchboard says of the link before, and the token for the next. `Err`: it claims more than was ever sent.
    pub(super) fn handle_welcome(&mut self, welcome: &Welcome) -> Result<Continuity, ()> {
        let continuity = match welcome.resumed.filter(|_| self.can_resume()) {
            Some(received) => self.go_on_from(received)?,
            None => {
                self.forget();
                Continuity::New
            }
        };
        let has_resume = welcome.features.in_force(Features::RESUME) == Features::RESUME;
        self.token = if has_resume { welcome.resume_token.clone() } else { Bytes::new() };
        Ok(continuity)
    }

    fn go_on_from(&mut self, received: u64) -> Result<Continuity, ()> {
        let sent = self.tracked_from + self.tracked.len() as u64;
        if received > sent {
            return Err(());
        }
        let Some(arrived) = received.checked_sub(self.tracked_from).and_then(|at| usize::try_from(at).ok()) else {
            // Of what is missing some is too long ago to be known: all of it is in doubt, and the count goes on.
            self.tracked.clear();
            self.tracked_from = received;
            return Ok(Continuity::New);
        };
        Ok(Continuity::Resumed { lost: self.tracked.drain(arrived..).collect() })
    }

    /// A Data frame came. Returns what to acknowledge, if it is time.
    pub(super) fn handle_data(&mut self, bytes: usize, now: Duration) -> Option<u64> {
        self.received += 1;
        if !self.can_resume() {
            return None;
        }
        self.unsaid_frames += 1;
        self.unsaid_bytes += bytes;
        self.ack_at.get_or_insert(now + LINK_ACK_DELAY);
        let is_due = self.unsaid_frames >= LINK_ACK_FRAMES || self.unsaid_bytes >= LINK_ACK_BYTES;
        is_due.then(|| self.said())
    }

    /// What to acknowledge because it has waited for long enough.
    pub(super) fn handle_timeout(&mut self, now: Duration) -> Option<u64> {
        self.ack_at.is_some_and(|at| at <= now).then(|| self.said())
    }

    /// What to acknowledge before the link ends in good order: what isn't acknowledged then counts as lost, and its senders hear so.
    pub(super) fn handle_close(&mut self) -> Option<u64> {
        self.ack_at.is_some().then(|| self.said())
    }

    pub(super) fn poll_timeout(&self) -> Option<Duration> {
        self.ack_at
    }

    fn said(&mut self) -> u64 {
        self.unsaid_frames = 0;
        self.unsaid_bytes = 0;
        self.ack_at = None;
        self.received
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::proto::{AgentId, BindingKind, VERSION};

    fn origin(number: u8) -> Origin {
        Origin::Control { peer: AgentId::from_bytes([number; 32]) }
    }

    fn welcome(features: Features, resumed: Option<u64>) -> Welcome {
        Welcome {
            version: VERSION,
            features,
            wall: 0,
            binding: BindingKind::None,
            ping_seconds: 20,
            grace_seconds: 120,
            resume_token: Bytes::from_static(b"token"),
            resumed,
            boot: None,
        }
    }

    /// A link on which five frames were sent and three came, and that was lost.
    fn lost() -> Ledger {
        let mut ledger = Ledger::default();
        ledger.handle_welcome(&welcome(Features::RESUME, None)).unwrap();
        (0..5).for_each(|number| ledger.track(origin(number)));
        (0..3).for_each(|_| assert_eq!(ledger.handle_data(100, Duration::ZERO), None));
        ledger.handle_down();
        ledger
    }

    #[test]
    fn a_resumed_link_says_what_was_lost_and_counts_on() {
        let mut ledger = lost();
        assert_eq!(ledger.claim(), (Bytes::from_static(b"token"), 3));
        let goes_on = ledger.handle_welcome(&welcome(Features::RESUME, Some(3)));
        assert_eq!(goes_on, Ok(Continuity::Resumed { lost: vec![origin(3), origin(4)] }));
        ledger.track(origin(9));
        assert_eq!((ledger.origin(2), ledger.origin(3), ledger.origin(4)), (Some(origin(2)), Some(origin(9)), None));
        assert_eq!(ledger.claim().1, 3);
    }

    #[test]
    fn a_switchboard_that_received_more_than_was_sent_is_not_believed() {
        assert_eq!(lost().handle_welcome(&welcome(Features::RESUME, Some(6))), Err(()));
    }

    #[test]
    fn what_nobody_asked_to_resume_is_new() {
        let mut ledger = Ledger::default();
        assert_eq!(ledger.handle_welcome(&welcome(Features::RESUME, Some(0))), Ok(Continuity::New));
        let mut ledger = lost();
        assert_eq!(ledger.handle_welcome(&welcome(Features::NONE, None)), Ok(Continuity::New));
        assert!(!ledger.can_resume() && ledger.origin(0).is_none());
    }

    #[test]
    fn what_came_is_acknowledged_by_count_by_size_and_by_time() {
        let mut ledger = lost();
        ledger.handle_welcome(&welcome(Features::RESUME, Some(5))).unwrap();
        let acks: Vec<u64> = (0..LINK_ACK_FRAMES).filter_map(|_| ledger.handle_data(100, Duration::ZERO)).collect();
        assert_eq!(acks, [3 + LINK_ACK_FRAMES]);
        assert_eq!(ledger.handle_data(LINK_ACK_BYTES, Duration::ZERO), Some(4 + LINK_ACK_FRAMES));
        assert_eq!(ledger.handle_data(1, Duration::from_secs(1)), None);
        assert_eq!(ledger.poll_timeout(), Some(Duration::from_secs(1) + LINK_ACK_DELAY));
        assert_eq!(ledger.handle_timeout(Duration::from_secs(2)), Some(5 + LINK_ACK_FRAMES));
        assert_eq!(ledger.poll_timeout(), None);
    }
}
