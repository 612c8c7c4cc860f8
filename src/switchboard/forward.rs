//! The path of a Data frame from one link into the queue of another. It stays in the buffer it came in: the source is written
//! in place when the shell has read the frame into memory of its own, as it does with most. Nothing is allocated but the
//! queue's growth, and nothing behind the outer header is looked at.

use std::time::Duration;

use bytes::Bytes;

use super::Switchboard;
use super::link::{LinkId, Phase, Seeks, Stranger, Waiting};
use super::lives::Life;
use super::notices::Hint;
use super::parking::{Parked, is_expired, may_wait};
use super::slots::Holder;
use super::swarm::Seat;
use crate::proto::{BounceReason, DataFrame, Label, Lane, Now, limits};

/// When to try again after a queue was full. Chosen: a reader that is alive takes a full lane in less.
const RETRY_FULL: Duration = Duration::from_millis(200);

/// When to try again after no more could wait for an absent agent. Chosen: it comes back, or something expires, in minutes; who tries
/// again in half of one costs nothing.
const RETRY_PARKING: Duration = Duration::from_secs(30);

/// Where a label leads.
///
/// This is the seam for a mesh of switchboards: a label that is linked elsewhere becomes one more variant, with its own
/// queue, found where `Absent` is given.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Route {
    Local(LinkId),
    /// Its link was lost just now, and is taken for linked.
    Lost(Life),
    Absent,
    NotAllowed,
}

/// Why a frame is not passed on, and when to try again.
type Refused = (BounceReason, Duration);

impl Switchboard {
    /// Queues a Data frame for its destination, or bounces it.
    pub(super) fn handle_data(&mut self, from: LinkId, bytes: Bytes, now: Now) {
        let Some(link) = self.links.get_mut(from) else { return };
        let stream = &mut link.stream;
        let (sender, number) = (stream.life, stream.received);
        stream.received += 1;
        if let Err((reason, retry_after)) = self.forward(from, sender, number, bytes, now) {
            self.bounce(sender, number, reason, retry_after);
        }
    }

    fn forward(&mut self, from: LinkId, sender: Life, number: u64, bytes: Bytes, now: Now) -> Result<(), Refused> {
        let refuse = |reason| Err((reason, Duration::ZERO));
        let Ok(frame) = DataFrame::parse(bytes) else { return refuse(BounceReason::Malformed) };
        let (lane, expiry, destination) = (frame.header().lane, frame.header().expiry, frame.header().destination);
        let len = frame.bytes().len();
        if lane == Lane::Control && len > limits::CONTROL_FRAME {
            return refuse(BounceReason::ControlTooLarge);
        }
        if is_expired(expiry, now) {
            return refuse(BounceReason::Expired);
        }
        let Some((source, route)) = self.route(from, destination, now) else { return refuse(BounceReason::NotAllowed) };
        let has_room = self.has_room_for(lane, len);
        let most = if has_room { usize::MAX } else { self.config.small_backlog };
        let frame = frame.with_source(source);
        let waiting = |frame: DataFrame| Waiting { frame: frame.into_bytes(), from: Some(sender), number, expiry };
        let is_queued = match route {
            Route::Local(to) => {
                let Some(link) = self.links.get_mut(to) else { return refuse(BounceReason::Absent) };
                link.stream.queue.bytes().saturating_add(len) <= most && link.push(lane, waiting(frame), now.monotonic)
            }
            Route::Lost(to) => {
                let Some(dormant) = self.lives.dormant_mut(to) else { return refuse(BounceReason::Absent) };
                dormant.stream.queue.bytes().saturating_add(len) <= most && dormant.stream.push(lane, waiting(frame))
            }
            Route::Absent => return self.park(from, sender, number, frame, now),
            Route::NotAllowed => return refuse(BounceReason::NotAllowed),
        };
        if !is_queued {
            return Err((BounceReason::Full, RETRY_FULL));
        }
        self.memory.queued.add(len);
        self.stats.forwarded_frames += 1;
        self.stats.forwarded_bytes += len as u64;
        self.sweep_soon(now);
        if let Route::Local(to) = route {
            self.wake(to);
        }
        Ok(())
    }

    fn sweep_soon(&mut self, now: Now) {
        if self.next_sweep.is_none() {
            self.next_sweep = Some(now.monotonic + super::SWEEP_INTERVAL);
        }
    }

    /// Lets a frame wait for an absent member, if it may, and tells its sender.
    fn park(&mut self, from: LinkId, sender: Life, number: u64, frame: DataFrame, now: Now) -> Result<(), Refused> {
        let may_park = self.links.get(from).is_some_and(|link| link.stream.parks()) && may_wait(frame.header(), now);
        let destination = frame.header().destination;
        let holder = self.holder(from).map(|sender| Holder { label: destination, ..sender });
        let Some(holder) = holder.filter(|holder| may_park && self.parking.knows(holder, now.monotonic)) else {
            return Err((BounceReason::Absent, Duration::ZERO));
        };
        let full = Err((BounceReason::MailboxFull, RETRY_PARKING));
        if !self.has_room_to_park(frame.bytes().len()) {
            return full;
        }
        // It may wait for a day, and shouldn't keep the buffer of what was read with it.
        let own = Bytes::copy_from_slice(frame.bytes());
        let parked = Parked::new(own, frame.header().lane, frame.header().expiry, now);
        if self.parking.park(holder, parked).is_err() {
            return full;
        }
        self.stats.accepted += 1;
        self.hint(sender, Hint::Accepted(number));
        Ok(())
    }

    /// Does the same with a frame that was under way to a link that is over. It is returned if it is to go to the shelf.
    pub(super) fn accept_under_way(&mut self, holder: Holder, from: Life, number: u64, parked: Parked) -> Option<Parked> {
        let has_room = self.has_room_to_park(parked.frame.len());
        if !has_room || self.parking.count_under_way(holder, parked.frame.len()).is_err() {
            self.bounce(from, number, BounceReason::MailboxFull, RETRY_PARKING);
            return None;
        }
        self.stats.accepted += 1;
        self.hint(from, Hint::Accepted(number));
        Some(parked)
    }

    /// Fills the lanes of a member from its shelf, before anything new comes for it. What finds no room follows when the lanes are empty.
    /// Returns whether there was anything.
    pub(super) fn fill_from_shelf(&mut self, id: LinkId, now: Now) -> bool {
        let Some(holder) = self.holder(id) else { return false };
        let mut any = false;
        while let Some(parked) = self.parking.take(holder) {
            let Some(link) = self.links.get_mut(id) else { break };
            let Parked { frame, lane, expiry, .. } = parked;
            let len = frame.len();
            if link.stream.queue.is_empty() {
                link.moved = now.monotonic;
            }
            match link.stream.queue.push(lane, len, Waiting { frame, from: None, number: 0, expiry }) {
                Ok(()) => {
                    self.memory.queued.add(len);
                    any = true;
                }
                Err(Waiting { frame, .. }) => {
                    link.stream.has_shelf = true;
                    self.parking.put_back(holder, vec![Parked::new(frame, lane, expiry, now)]);
                    break;
                }
            }
        }
        if any {
            self.sweep_soon(now);
        }
        any
    }

    /// Finds where a label leads for one link, and under which label that link sends.
    ///
    /// A member reaches the members of its swarm, and the strangers that are bound to it; a stranger reaches, through its
    /// mailbox, the member that it is bound to, a guest does so under any label. To everybody else a stranger is absent.
    fn route(&mut self, from: LinkId, destination: Label, now: Now) -> Option<(Label, Route)> {
        match &self.links.get(from)?.phase {
            Phase::Member(member) => {
                let swarm = &self.swarms[member.swarm];
                match swarm.members.get(&destination) {
                    Some(Seat::Linked(to)) => return Some((member.label, Route::Local(*to))),
                    Some(Seat::Lost(to)) => return Some((member.label, Route::Lost(*to))),
                    Some(Seat::Gone(_)) | None => {}
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
            Seeks::Member(label) => self.swarms[swarm].link_of(&label),
        };
        let Some(member) = member else { return Route::Absent };
        if let Some(Phase::Stranger(stranger)) = self.links.get_mut(stranger).map(|link| &mut link.phase) {
            stranger.bound_to = member;
        }
        self.count_stranger(member, 1);
        Route::Local(member)
    }
}
