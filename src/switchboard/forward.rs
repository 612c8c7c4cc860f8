//! The path of a Data frame from one link into the queue of another. It stays in the buffer it came in: the source is written
//! in place when the shell has read the frame into memory of its own, as it does with most. Nothing is allocated but the
//! queue's growth, and nothing behind the outer header is looked at.

use std::time::Duration;

use bytes::Bytes;

use super::Switchboard;
use super::link::{LinkId, Phase, Seeks, Stranger, Waiting};
use crate::proto::{Bounce, BounceReason, DataFrame, Label, Lane, Now, limits};

/// When to try again after a queue was full. Chosen: a reader that is alive takes a full lane in less.
const RETRY_FULL: Duration = Duration::from_millis(200);

/// How far a frame may be past its expiry, which is on its sender's clock and that clock may be wrong. Chosen.
const EXPIRY_TOLERANCE_MS: u64 = 60_000;

/// Where a label leads.
///
/// This is the seam for a mesh of switchboards: a label that is linked elsewhere becomes one more variant, with its own
/// queue, found where `Absent` is given.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Route {
    Local(LinkId),
    Absent,
    NotAllowed,
}

impl Switchboard {
    /// Queues a Data frame for its destination, or bounces it.
    pub(super) fn handle_data(&mut self, from: LinkId, bytes: Bytes, now: Now) {
        let Some(link) = self.links.get_mut(from) else { return };
        let number = link.received;
        link.received += 1;
        if let Err((reason, retry_after)) = self.forward(from, number, bytes, now) {
            self.bounce(from, number, reason, retry_after);
        }
    }

    fn forward(&mut self, from: LinkId, number: u64, bytes: Bytes, now: Now) -> Result<(), (BounceReason, Duration)> {
        let refuse = |reason| Err((reason, Duration::ZERO));
        let Ok(frame) = DataFrame::parse(bytes) else { return refuse(BounceReason::Malformed) };
        let (lane, expiry, destination) = (frame.header().lane, frame.header().expiry, frame.header().destination);
        let len = frame.bytes().len();
        if lane == Lane::Control && len > limits::CONTROL_FRAME {
            return refuse(BounceReason::ControlTooLarge);
        }
        if self.is_expired(expiry, now) {
            return refuse(BounceReason::Expired);
        }
        let Some((source, route)) = self.route(from, destination, now) else { return refuse(BounceReason::NotAllowed) };
        let to = match route {
            Route::Local(to) => to,
            Route::Absent => return refuse(BounceReason::Absent),
            Route::NotAllowed => return refuse(BounceReason::NotAllowed),
        };

        let is_crowded = self.queued_bytes + len > self.config.queued_bytes;
        let Some(receiver) = self.links.get_mut(to) else { return refuse(BounceReason::Absent) };
        let has_room = !is_crowded || receiver.queue.bytes() + len <= self.config.small_backlog;
        let waiting = Waiting { frame: frame.with_source(source).into_bytes(), from, number, expiry };
        if !has_room || !receiver.push(lane, waiting, now.monotonic) {
            return Err((BounceReason::Full, RETRY_FULL));
        }
        self.queued_bytes += len;
        self.stats.forwarded_frames += 1;
        self.stats.forwarded_bytes += len as u64;
        if self.next_sweep.is_none() {
            self.next_sweep = Some(now.monotonic + super::SWEEP_INTERVAL);
        }
        self.wake(to);
        Ok(())
    }

    /// Finds where a label leads for one link, and under which label that link sends.
    ///
    /// A member reaches the members of its swarm, and the strangers that are bound to it; a stranger reaches, through its
    /// mailbox, the member that it is bound to, a guest does so under any label. To everybody else a stranger is absent.
    fn route(&mut self, from: LinkId, destination: Label, now: Now) -> Option<(Label, Route)> {
        match &self.links.get(from)?.phase {
            Phase::Member(member) => {
                let swarm = &self.swarms[member.swarm];
                if let Some(to) = swarm.members.get(&destination) {
                    return Some((member.label, Route::Local(*to)));
                }
                let stranger = swarm.strangers.get(&destination).copied();
                let route = stranger.filter(|to| self.is_bound(*to, from)).map_or(Route::Absent, Route::Local);
                Some((member.label, route))
            }
            Phase::Stranger(stranger) => {
                let Stranger { label, swarm, seeks, bound_to } = *stranger;
                if matches!(seeks, Seeks::Mailbox(mailbox) if mailbox != destination) {
                    return Some((label, Route::NotAllowed));
                }
                let is_linked = self.links.get(bound_to).is_some_and(|link| matches!(link.phase, Phase::Member(_)));
                let route = if is_linked { Route::Local(bound_to) } else { self.rebind(from, swarm, seeks, now) };
                Some((label, route))
            }
            Phase::Greeting(_) | Phase::Ended => None,
        }
    }

    fn is_bound(&self, stranger: LinkId, to: LinkId) -> bool {
        matches!(self.links.get(stranger).map(|link| &link.phase), Some(Phase::Stranger(stranger)) if stranger.bound_to == to)
    }

    /// Binds a stranger whose member is gone to another that registered the mailbox, or to the same agent linked again. A
    /// guest is bound to nobody else, whoever may have its slot by then.
    fn rebind(&mut self, stranger: LinkId, swarm: usize, seeks: Seeks, now: Now) -> Route {
        let member = match seeks {
            Seeks::Mailbox(mailbox) => self.least_busy_registrant(swarm, &mailbox, now).map(|(_, member)| member),
            Seeks::Member(label) => self.swarms[swarm].members.get(&label).copied(),
        };
        let Some(member) = member else { return Route::Absent };
        if let Some(Phase::Stranger(stranger)) = self.links.get_mut(stranger).map(|link| &mut link.phase) {
            stranger.bound_to = member;
        }
        self.count_stranger(member, 1);
        Route::Local(member)
    }

    /// Tells a link that one of its frames was not passed on.
    pub(super) fn bounce(&mut self, to: LinkId, number: u64, reason: BounceReason, retry_after: Duration) {
        self.stats.bounced += 1;
        let Some(link) = self.links.get_mut(to) else { return };
        if matches!(link.phase, Phase::Ended) {
            return;
        }
        let bounce = Bounce { number, reason, retry_after_ms: super::millis(retry_after) };
        link.notices.push_bounce(bounce);
        self.notify(to);
    }

    pub(super) fn is_expired(&self, expiry: u64, now: Now) -> bool {
        expiry != 0 && expiry.saturating_add(EXPIRY_TOLERANCE_MS) < now.wall
    }
}
