//! How links come and go: Challenge, Hello, Welcome; replacement, expiry.

use std::time::Duration;

use bytes::Bytes;

use super::link::{Greeting, Link, LinkId, Member, Phase, Seeks, Stranger};
use super::origins::{Admission, Origin, Refusal};
use super::{Switchboard, millis};
use crate::proto::{
    Binding, Challenge, ClientFrame, Error, Features, GoodbyeReason, Hello, Label, LinkRights, Now, RejectCode, RoutingKey,
    ServerFrame, VERSION, VerifiedHello, Welcome, limits, verify_hello,
};

/// What this build can do beyond version 1.0.
const FEATURES: Features = Features::NONE;

impl Switchboard {
    /// Asks whether a socket that was just accepted may go on with its handshakes, which are the costly part.
    pub fn admit(&mut self, origin: Option<Origin>, now: Now) -> Admission {
        origin.map_or(Admission::Granted, |origin| self.origins.knock(origin, now.monotonic))
    }

    /// Takes a link whose socket is up, and challenges it; or refuses it when it is one too many, or comes too fast.
    ///
    /// `origin` is none where addresses say nothing, as behind a proxy. `nonce` must be random and is used for this link
    /// only. A link that says nothing for [`Config::hello_limit`](super::Config::hello_limit) is refused.
    pub fn handle_open(&mut self, now: Now, origin: Option<Origin>, binding: Binding, nonce: [u8; 32]) -> LinkId {
        let challenge = ServerFrame::Challenge(Challenge {
            version_min: VERSION,
            version_max: VERSION,
            features: FEATURES,
            wall: now.wall,
            binding: binding.kind(),
            nonce,
        });
        self.slots.begin(&nonce);
        let origin = origin.map(|origin| self.origins.counted_as(origin));
        let greeting = Greeting { challenge: challenge.encode(), binding };
        let id = self.links.insert(Link::new(origin, greeting, self.config.lanes));
        if let Some(link) = self.links.get_mut(id) {
            link.notices.push(challenge);
        }
        self.wake(id);
        self.set_deadline(id, now.monotonic + self.config.hello_limit);

        let admitted = origin.map_or(Ok(()), |origin| self.origins.enter(origin, now.monotonic));
        match admitted {
            _ if self.shutting_down => {
                self.reject(id, RejectCode::ShuttingDown, Duration::ZERO, "the switchboard is shutting down")
            }
            _ if self.links.len() > self.config.links => {
                self.reject(id, RejectCode::Full, RETRY_FULL, "the switchboard has no room for more links")
            }
            Ok(()) => {}
            Err(Refusal::Full) => self.reject(id, RejectCode::Full, RETRY_FULL, "too many links from this address"),
            Err(Refusal::Rate(wait)) => self.reject(id, RejectCode::Rate, wait, "too many new links from this address"),
        }
        id
    }

    /// Takes the first frame of a link, which has to be its Hello.
    pub(super) fn handle_greeting(&mut self, id: LinkId, frame: Bytes, now: Now) {
        let Some(Phase::Greeting(greeting)) = self.links.get(id).map(|link| &link.phase) else { return };
        let hello = match ClientFrame::decode(frame) {
            Ok(ClientFrame::Hello(hello)) => hello,
            Ok(ClientFrame::Goodbye(_)) => return self.end(id, None),
            Ok(ClientFrame::Unknown { .. }) => {
                self.stats.unknown_kinds += 1;
                return;
            }
            Ok(_) => return self.reject(id, RejectCode::Malformed, Duration::ZERO, "a link begins with a Hello"),
            Err(error @ Error::Version { what: "Hello", .. }) => {
                return self.reject(id, RejectCode::Version, Duration::ZERO, &error.to_string());
            }
            Err(error) => return self.reject(id, RejectCode::Malformed, Duration::ZERO, &error.to_string()),
        };
        match verify_hello(&greeting.challenge, &greeting.binding, &hello, now.wall) {
            Err(error) => self.reject(id, error.reject_code(), Duration::ZERO, &error.to_string()),
            Ok(VerifiedHello::Member { routing, label, rights, expiry }) => {
                self.welcome(id, &hello, now);
                self.join_as_member(id, routing, label, rights, expiry, now);
            }
            Ok(VerifiedHello::Stranger { routing, label, mailbox }) => {
                let seat = self.seat_stranger(&routing, label, mailbox, now);
                self.join_as_stranger(id, &hello, seat, now);
            }
            Ok(VerifiedHello::Guest { label, slot }) => {
                let seat = self.seat_guest(id, label, slot, now);
                self.join_as_stranger(id, &hello, seat, now);
            }
        }
    }

    fn welcome(&mut self, id: LinkId, hello: &Hello, now: Now) {
        let welcome = Welcome {
            version: VERSION,
            features: FEATURES.in_force(hello.body().features),
            wall: now.wall,
            binding: hello.body().binding,
            ping_seconds: u16::try_from(self.config.ping_interval.as_secs()).unwrap_or(u16::MAX),
            grace_seconds: 0,
            resume_token: Bytes::new(),
            resumed: None,
            boot: None,
        };
        if let Some(link) = self.links.get_mut(id) {
            link.notices.push(ServerFrame::Welcome(welcome));
        }
        self.wake(id);
    }

    /// A second link of the same key replaces the first: whoever proves the key last has it. What waits for the first is
    /// bounced, as it may be sealed for a run that is gone.
    fn join_as_member(&mut self, id: LinkId, routing: RoutingKey, label: Label, rights: LinkRights, expiry: u64, now: Now) {
        let index = self.swarms.find_or_make(routing);
        let older = self.swarms[index].join(label, id);
        let view = self.swarms[index].new_view();
        let member = Member { swarm: index, label, rights, expiry, mailboxes: Vec::new(), strangers: 0, view };
        if let Some(link) = self.links.get_mut(id) {
            link.phase = Phase::Member(member);
        }
        self.set_deadline(id, certificate_deadline(expiry, now));
        if let Some(older) = older {
            self.stats.replaced += 1;
            self.end(older, Some(ServerFrame::Replaced));
        }
        self.wake_members(index);
    }

    fn join_as_stranger(&mut self, id: LinkId, hello: &Hello, seat: Result<Stranger, Refused>, now: Now) {
        let stranger = match seat {
            Ok(stranger) => stranger,
            Err((code, wait, text)) => return self.reject(id, code, wait, text),
        };
        self.welcome(id, hello, now);
        let older = self.swarms[stranger.swarm].strangers.insert(stranger.label, id);
        self.count_stranger(stranger.bound_to, 1);
        if let Some(link) = self.links.get_mut(id) {
            link.phase = Phase::Stranger(stranger);
        }
        self.set_deadline(id, now.monotonic + self.config.stranger_limit);
        if let Some(older) = older {
            self.stats.replaced += 1;
            self.end(older, Some(ServerFrame::Replaced));
        }
    }

    /// Picks who answers a stranger: of those that registered the mailbox and are linked the one with the fewest strangers,
    /// of several the one that registered first.
    fn seat_stranger(&self, routing: &RoutingKey, label: Label, mailbox: Label, now: Now) -> Result<Stranger, Refused> {
        let found = self.swarms.find(routing).and_then(|swarm| Some((swarm, self.least_busy_registrant(swarm, &mailbox, now)?)));
        let (swarm, (strangers, bound_to)) = found.ok_or(NO_REGISTRANT)?;
        if strangers >= self.config.strangers_per_member {
            return Err(MEMBER_FULL);
        }
        Ok(Stranger { swarm, label, seeks: Seeks::Mailbox(mailbox), bound_to })
    }

    /// Finds who answers a guest. It costs the origin a token whether or not there is anybody, so that slots can't be
    /// searched for either.
    fn seat_guest(&mut self, id: LinkId, label: Label, slot: u32, now: Now) -> Result<Stranger, Refused> {
        if let Some(origin) = self.links.get(id).and_then(|link| link.origin) {
            let refuse = |wait| (RejectCode::Rate, wait, "too many guests from this address");
            self.origins.let_guest_in(origin, now.monotonic).map_err(refuse)?;
        }
        self.slots.expire(now.monotonic);
        let holder = self.slots.holder(slot).ok_or(NO_HOLDER)?;
        let swarm = self.swarms.find(&holder.routing).ok_or(NO_HOLDER)?;
        let bound_to = *self.swarms[swarm].members.get(&holder.label).ok_or(NO_HOLDER)?;
        match self.links.get(bound_to).map(|link| &link.phase) {
            Some(Phase::Member(member)) if member.strangers < self.config.strangers_per_member => {}
            _ => return Err(MEMBER_FULL),
        }
        self.stats.guests += 1;
        Ok(Stranger { swarm, label, seeks: Seeks::Member(holder.label), bound_to })
    }

    pub(super) fn least_busy_registrant(&self, swarm: usize, mailbox: &Label, now: Now) -> Option<(usize, LinkId)> {
        let registrants = self.swarms[swarm].registrants(mailbox, now.wall);
        let with_load = registrants.filter_map(|link| match &self.links.get(link)?.phase {
            Phase::Member(member) => Some((member.strangers, link)),
            Phase::Greeting(_) | Phase::Stranger(_) | Phase::Ended => None,
        });
        with_load.min_by_key(|(strangers, _)| *strangers)
    }

    /// Adds to the count of strangers that a member answers, if it is still linked.
    pub(super) fn count_stranger(&mut self, id: LinkId, change: isize) {
        if let Some(Phase::Member(member)) = self.links.get_mut(id).map(|link| &mut link.phase) {
            member.strangers = member.strangers.saturating_add_signed(change);
        }
    }

    pub(super) fn leave_as_member(&mut self, id: LinkId, member: &Member) {
        let swarm = &mut self.swarms[member.swarm];
        for mailbox in &member.mailboxes {
            swarm.unregister(*mailbox, id);
        }
        if swarm.leave(member.label, id) {
            self.wake_members(member.swarm);
        }
        self.swarms.tidy(member.swarm);
    }

    pub(super) fn leave_as_stranger(&mut self, id: LinkId, stranger: &Stranger) {
        let swarm = &mut self.swarms[stranger.swarm];
        if swarm.strangers.get(&stranger.label) == Some(&id) {
            swarm.strangers.remove(&stranger.label);
        }
        self.count_stranger(stranger.bound_to, -1);
        self.swarms.tidy(stranger.swarm);
    }

    fn wake_members(&mut self, swarm: usize) {
        let members: Vec<_> = self.swarms[swarm].members.values().copied().collect();
        for link in members {
            self.wake(link);
        }
    }

    /// Does what a link's deadline is for: it leaves its notices unread, has not said Hello, its certificate has expired, or
    /// its time as a stranger is over.
    pub(super) fn handle_deadline(&mut self, id: LinkId, now: Now) {
        let Some(link) = self.links.get(id) else { return };
        match &link.phase {
            _ if link.notices.overflowed => {
                self.stats.stalled += 1;
                self.end(id, None);
            }
            Phase::Greeting(_) => self.reject(id, RejectCode::TooSlow, Duration::ZERO, "no Hello came in time"),
            Phase::Member(member) if is_past(member.expiry, now) => {
                self.reject(id, RejectCode::CertificateExpired, Duration::ZERO, "the link certificate has expired");
            }
            // The wall clock was set back since the deadline was reckoned.
            Phase::Member(member) => {
                let due = certificate_deadline(member.expiry, now);
                self.set_deadline(id, due);
            }
            Phase::Stranger(_) => self.end(id, Some(ServerFrame::Goodbye(GoodbyeReason::Closing))),
            Phase::Ended => {}
        }
    }
}

/// Why a stranger isn't let in: the code, when it may come again, and a sentence for a person.
type Refused = (RejectCode, Duration, &'static str);

const NO_REGISTRANT: Refused = (RejectCode::UnknownMailbox, Duration::ZERO, "nobody who is linked answers for this mailbox");
const NO_HOLDER: Refused = (RejectCode::UnknownMailbox, Duration::ZERO, "nobody who is linked holds this slot");
const MEMBER_FULL: Refused = (RejectCode::Full, Duration::ZERO, "whoever could answer has too many to answer");

/// How long a client should wait when there is no room. Chosen: links end when people go home, not in seconds.
const RETRY_FULL: Duration = Duration::from_secs(30);

fn tolerated(expiry: u64) -> u64 {
    expiry.saturating_add(u64::from(millis(limits::CLOCK_TOLERANCE)))
}

fn is_past(expiry: u64, now: Now) -> bool {
    now.wall > tolerated(expiry)
}

/// When a certificate will have expired, on the monotonic clock and just past it. Reckoned in steps of a day at most, so that
/// neither a far expiry nor a clock that is set carries it away.
fn certificate_deadline(expiry: u64, now: Now) -> Duration {
    let left = Duration::from_millis(tolerated(expiry).saturating_sub(now.wall).saturating_add(1));
    now.monotonic + left.min(Duration::from_secs(24 * 3600))
}
