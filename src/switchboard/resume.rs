//! Links that outlive their sockets (PROTOCOL.md section 3.5).
//!
//! ```text
//!             socket lost          2 s: announced        118 s more: over
//!   linked ───────────────▶ lost ────────────────▶ gone ────────────────▶ what was kept is bounced,
//!      ▲                      │                      │                    envelopes go back to the shelf
//!      └──────────────────────┴── Hello with its token
//! ```
//!
//! - Only members resume, and only those that acknowledge what they receive (`RESUME` in force). Nothing is kept for others.
//! - While a link is *lost*, frames for it are queued as if it were there, and nobody hears of it. Once it is *gone* the others are told,
//!   what they send bounces, and envelopes go to its shelf.
//! - The token is that of the last Welcome, or the one before if that Welcome got lost. It is good for the same key in the same swarm
//!   only, whose Hello is signed as any other. With a wrong token a link is new, and what was kept is over.
//! - A Hello with a good token takes a link over from a socket that is still open: that one is as good as lost, and is closed without a
//!   word, since what it would be told is told to the new one.
//! - Both directions count on. What the client hasn't received is written once more, in the order in which it was written at first, with the
//!   notices that cite frames; then comes what waited.
//! - What the client asked for (mailboxes, slots) stays, but answers are not kept: it asks again.
//! - At its bounds (`log.rs`) a link forgets the oldest of what was written, and is new for a client that hasn't received that. While
//!   memory is short it forgets all of it.
//! - Of too many lost links the one that was lost first is over.

use std::time::Duration;

use super::link::{LinkId, Member, Phase, Stream, Waiting};
use super::lives::{Dormant, Life, Place};
use super::log::Entry;
use super::notices::Hint;
use super::parking::{Parked, is_expired, may_wait};
use super::slots::Holder;
use super::swarm::Seat;
use super::{Output, Switchboard};
use crate::proto::{BounceReason, DataFrame, Error, Hello, Label, Now, OuterHeader, RejectCode, RoutingKey};

impl Switchboard {
    /// Ends a link whose socket is of no more use. It sleeps if it can be resumed.
    pub(super) fn lose(&mut self, id: LinkId, now: Now) {
        let resumes = |stream: &Stream| stream.resumes() && !stream.notices.overflowed;
        let can_resume = self
            .links
            .get(id)
            .is_some_and(|link| matches!(link.phase, Phase::Member(_)) && resumes(&link.stream) && !self.config.grace.is_zero());
        if !can_resume {
            return self.end(id, None, now);
        }
        let Some(mut dormant) = self.take_from_socket(id, now) else { return };
        dormant.stream.notices.keep_hints();
        self.swarms[dormant.member.swarm].lose(dormant.member.label, dormant.stream.life);
        self.lives.put_to_sleep(dormant);
        self.end_overdue_lives(now);
    }

    /// Takes a member's stream from its socket, which is to be closed.
    fn take_from_socket(&mut self, id: LinkId, now: Now) -> Option<Dormant> {
        let link = self.links.get_mut(id)?;
        let Phase::Member(member) = std::mem::replace(&mut link.phase, Phase::Ended) else { return None };
        let stream = std::mem::replace(&mut link.stream, Stream::new(Life::OVER, self.config.lanes));
        link.awake = true;
        if let Some(due) = link.deadline.take() {
            self.deadlines.remove(&(due, id));
        }
        self.outputs.push_back(Output::Close(id));
        Some(Dormant { since: now.monotonic, was: id, member, stream })
    }

    /// Finds what a Hello wants to resume, and takes it from where it is.
    pub(super) fn take_up(&mut self, routing: &RoutingKey, label: Label, hello: &Hello, now: Now) -> Option<Dormant> {
        let (token, received) = (&hello.body().resume_token, hello.body().received);
        let swarm = self.swarms.find(routing)?;
        let seat = *self.swarms[swarm].members.get(&label)?;
        let stream = match seat {
            Seat::Linked(link) => &self.links.get(link)?.stream,
            Seat::Lost(life) | Seat::Gone(life) => &self.lives.dormant_mut(life)?.stream,
        };
        let is_good = stream.resumes() && stream.tokens.fits(token) && stream.log.can_resume(received);
        if !is_good || stream.notices.overflowed {
            return None;
        }
        match seat {
            Seat::Linked(link) => {
                let mut taken = self.take_from_socket(link, now)?;
                taken.stream.notices.keep_hints();
                Some(taken)
            }
            Seat::Lost(life) | Seat::Gone(life) => self.lives.take(life),
        }
    }

    /// Lets a stream go on over another socket, of which nothing but the Hello is known. The Welcome is still to be said.
    pub(super) fn go_on(&mut self, id: LinkId, dormant: Dormant, received: u64, now: Now) -> Option<Member> {
        let Dormant { was, mut member, mut stream, .. } = dormant;
        let swarm = &mut self.swarms[member.swarm];
        let holder = Holder { routing: swarm.key, label: member.label };
        while let Some(entry) = stream.log.pop_acknowledged(received) {
            self.memory.retained.sub(entry.len());
            self.parking.release_if_parked(holder, &entry);
        }
        let heard = stream.log.begin_replay().unwrap_or_else(|| member.view.heard());
        member.view = swarm.resumed_view(&member.view, heard);
        swarm.hand_over(&member.mailboxes, was, id);
        member.strangers = 0;
        for stranger in swarm.strangers.values() {
            if let Some(Phase::Stranger(stranger)) = self.links.get_mut(*stranger).map(|link| &mut link.phase)
                && stranger.bound_to == was
            {
                stranger.bound_to = id;
                member.strangers += 1;
            }
        }
        let link = self.links.get_mut(id)?;
        self.lives.end(link.stream.life);
        self.lives.set_linked(stream.life, id);
        link.stream = stream;
        link.moved = now.monotonic;
        self.stats.resumed += 1;
        Some(member)
    }

    /// Takes note that a client has received Data frames.
    pub(super) fn handle_link_ack(&mut self, id: LinkId, received: u64, now: Now) {
        let Some(link) = self.links.get_mut(id) else { return };
        let Phase::Member(member) = &link.phase else { return };
        if !link.stream.resumes() {
            return;
        }
        if received > link.stream.log.written() {
            let text = "an acknowledgement of frames that were not sent";
            return self.reject(id, RejectCode::Malformed, Duration::ZERO, text, now);
        }
        let holder = Holder { routing: self.swarms[member.swarm].key, label: member.label };
        while let Some(entry) = link.stream.log.pop_acknowledged(received) {
            self.memory.retained.sub(entry.len());
            self.parking.release_if_parked(holder, &entry);
        }
    }

    /// Brings what a link keeps of what was written back to its bounds, or to nothing while memory is short. An envelope that was accepted
    /// isn't forgotten: it waits on the shelf for the next link of its receiver, who may get it twice.
    pub(super) fn forget_oldest(&mut self, id: LinkId, now: Now) {
        let is_short = !self.has_room_to_retain();
        let (frames, bytes) = (self.config.retained_frames, self.config.retained_bytes);
        let Some(holder) = self.holder(id) else { return };
        let Some(link) = self.links.get_mut(id) else { return };
        let mut envelopes = Vec::new();
        while (is_short || link.stream.log.exceeds(frames, bytes))
            && let Some(entry) = link.stream.log.forget()
        {
            self.memory.retained.sub(entry.len());
            if let Entry::Data(Waiting { frame, from: None, expiry, .. }) = entry
                && let Ok(header) = header_of(&frame)
            {
                envelopes.push(Parked::new(frame, header.lane, expiry, now));
            }
        }
        self.parking.put_back(holder, envelopes);
    }

    /// Announces the links that stay lost, and ends those whose time is over.
    pub(super) fn handle_lost_links(&mut self, now: Now) {
        while let Some(life) = self.lives.next_to_announce(now.monotonic) {
            let Some(dormant) = self.lives.dormant_mut(life) else { continue };
            let (swarm, label) = (dormant.member.swarm, dormant.member.label);
            if dormant.stream.parks() {
                self.parking.leave(Holder { routing: self.swarms[swarm].key, label }, now.monotonic);
            }
            self.swarms[swarm].announce_lost(label, life);
            self.wake_members(swarm);
        }
        self.end_overdue_lives(now);
    }

    fn end_overdue_lives(&mut self, now: Now) {
        while let Some(life) = self.lives.next_to_end(now.monotonic, self.config.dormant_links) {
            self.end_dormant(life, now);
        }
    }

    /// Ends a link that was lost: it isn't resumed.
    pub(super) fn end_dormant(&mut self, life: Life, now: Now) {
        let Some(dormant) = self.lives.take(life) else { return };
        let (swarm, label) = (dormant.member.swarm, dormant.member.label);
        for mailbox in &dormant.member.mailboxes {
            self.swarms[swarm].unregister(*mailbox, dormant.was);
        }
        let holder = Holder { routing: self.swarms[swarm].key, label };
        if self.swarms[swarm].bury(label, life) {
            self.leave_shelf(holder, &dormant.stream, now);
            self.wake_members(swarm);
        }
        self.scatter(Some(holder), dormant.stream, now);
        self.swarms.tidy(swarm);
    }

    pub(super) fn leave_shelf(&mut self, holder: Holder, stream: &Stream, now: Now) {
        if stream.parks() && !self.shutting_down {
            self.parking.leave(holder, now.monotonic);
        }
    }

    /// Sends back what is left of a link that is over: frames are bounced as absent, envelopes go to the shelf of their receiver if it has
    /// one, in front of what came for it meanwhile, and those that weren't accepted before are now.
    pub(super) fn scatter(&mut self, holder: Option<Holder>, mut stream: Stream, now: Now) {
        let mut envelopes = Vec::new();
        let shelf = holder.filter(|_| stream.parks() && !self.shutting_down);
        while let Some(entry) = stream.log.forget() {
            self.memory.retained.sub(entry.len());
            if let Entry::Data(waiting) = entry {
                envelopes.extend(self.send_back(holder, shelf, waiting, now));
            }
        }
        for waiting in stream.queue.drain() {
            self.memory.queued.sub(waiting.frame.len());
            envelopes.extend(self.send_back(holder, shelf, waiting, now));
        }
        if let Some(holder) = shelf {
            self.parking.put_back(holder, envelopes);
        }
        self.lives.end(stream.life);
    }

    /// Returns what is to go to the shelf, and is counted there.
    fn send_back(&mut self, holder: Option<Holder>, shelf: Option<Holder>, waiting: Waiting, now: Now) -> Option<Parked> {
        if self.shutting_down {
            return None;
        }
        let Waiting { frame, from, number, expiry } = waiting;
        let header = header_of(&frame).ok()?;
        let Some(from) = from else {
            // It was on a shelf before.
            let holder = holder?;
            if shelf.is_none() || is_expired(expiry, now) {
                self.parking.release(holder, frame.len());
                return None;
            }
            return Some(Parked::new(frame, header.lane, expiry, now));
        };
        if is_expired(expiry, now) {
            self.bounce(from, number, BounceReason::Expired, Duration::ZERO);
            return None;
        }
        if let Some(holder) = shelf
            && may_wait(&header, now)
            && self.may_park(from)
        {
            return self.accept_under_way(holder, from, number, Parked::new(frame, header.lane, expiry, now));
        }
        self.bounce(from, number, BounceReason::Absent, Duration::ZERO);
        None
    }

    /// Whether the frames of a link may wait. That of a link that is over may not: nobody could be told.
    fn may_park(&mut self, sender: Life) -> bool {
        match self.lives.place_mut(sender) {
            Some(Place::Dormant(dormant)) => dormant.stream.parks(),
            Some(Place::Linked(link)) => self.links.get(*link).is_some_and(|link| link.stream.parks()),
            None => false,
        }
    }

    /// Tells a link what became of one of its frames, over whichever socket it has.
    pub(super) fn hint(&mut self, to: Life, hint: Hint) {
        match self.lives.place_mut(to) {
            Some(Place::Dormant(dormant)) => dormant.stream.notices.push_hint(hint),
            Some(Place::Linked(link)) => {
                let link = *link;
                if let Some(link) = self.links.get_mut(link) {
                    link.stream.notices.push_hint(hint);
                }
                self.notify(link);
            }
            None => {}
        }
    }
}

/// Reads the header of a frame that was parsed before.
fn header_of(frame: &[u8]) -> Result<OuterHeader, Error> {
    OuterHeader::decode(&frame[DataFrame::HEADER_LEN - OuterHeader::LENGTH..DataFrame::HEADER_LEN])
}
