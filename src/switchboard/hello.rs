//! How links come and go: Challenge, Hello, Welcome; replacement, expiry.

use std::time::Duration;

use bytes::Bytes;

use super::link::{Greeting, Link, LinkId, Member, Phase, Random, Seeks, Stranger, Stream};
use super::lives::Dormant;
use super::origins::{Admission, Origin, Refusal};
use super::slots::Holder;
use super::swarm::Seat;
use super::{Config, Switchboard, millis};
use crate::proto::signature::hash;
use crate::proto::{
    Binding, Challenge, ClientFrame, Error, Features, GoodbyeReason, Hello, Label, LinkRights, Now, RejectCode, RoutingKey,
    ServerFrame, VERSION, VerifiedHello, Welcome, limits, verify_hello,
};

/// What a switchboard of this configuration can do beyond version 1.0, for members.
fn features(config: &Config) -> Features {
    let resume = if config.grace.as_secs() > 0 { Features::RESUME.0 } else { 0 };
    let parking = if config.parked_bytes > 0 { Features::PARKING.0 } else { 0 };
    Features(resume | parking)
}

/// Makes bytes for one purpose of those that a link was opened with, from which neither those nor others made of them can be told.
fn made_of(random: &[u8; 32], purpose: &str) -> [u8; 32] {
    hash(&[b"a2alinker/1 switchboard ", purpose.as_bytes(), &[0], random])
}

impl Switchboard {
    /// Asks whether a socket that was just accepted may go on with its handshakes, which are the costly part.
    pub fn admit(&mut self, origin: Option<Origin>, now: Now) -> Admission {
        origin.map_or(Admission::Granted, |origin| self.origins.knock(origin, now.monotonic))
    }

    /// Takes a link whose socket is up, and challenges it; or refuses it when it is one too many, or comes too fast.
    ///
    /// `origin` is none where addresses say nothing, as behind a proxy. `random` must be random, is used for this link only, and is told to
    /// nobody: the nonce and the resume token are made of it. A link that says nothing for [`Config::hello_limit`](super::Config::hello_limit) is refused.
    pub fn handle_open(&mut self, now: Now, origin: Option<Origin>, binding: Binding, random: [u8; 32]) -> LinkId {
        let nonce = made_of(&random, "nonce");
        let challenge = ServerFrame::Challenge(Challenge {
            version_min: VERSION,
            version_max: VERSION,
            features: features(&self.config),
            wall: now.wall,
            binding: binding.kind(),
            nonce,
        });
        self.slots.begin(&nonce);
        let origin = origin.map(|origin| self.origins.counted_as(origin));
        self.boot.get_or_insert_with(|| *made_of(&random, "boot").first_chunk().expect("32 bytes are more than 16"));
        let greeting = Greeting { challenge: challenge.encode(), binding, random: Random(random) };
        let life = self.lives.begin();
        let id = self.links.insert(Link::new(origin, greeting, Stream::new(life, self.config.lanes)));
        self.lives.set_linked(life, id);
        if let Some(link) = self.links.get_mut(id) {
            link.stream.notices.push(challenge);
        }
        self.wake(id);
        self.set_deadline(id, now.monotonic + self.config.hello_limit);

        let admitted = origin.map_or(Ok(()), |origin| self.origins.enter(origin, now.monotonic));
        match admitted {
            _ if self.shutting_down => {
                self.reject(id, RejectCode::ShuttingDown, Duration::ZERO, "the switchboard is shutting down", now)
            }
            _ if self.links.len() > self.config.links || !self.has_room_for_links() => {
                self.reject(id, RejectCode::Full, RETRY_FULL, "the switchboard has no room for more links", now)
            }
            Ok(()) => {}
            Err(Refusal::Full) => self.reject(id, RejectCode::Full, RETRY_FULL, "too many links from this address", now),
            Err(Refusal::Rate(wait)) => self.reject(id, RejectCode::Rate, wait, "too many new links from this address", now),
        }
        id
    }

    /// Takes the first frame of a link, which has to be its Hello.
    pub(super) fn handle_greeting(&mut self, id: LinkId, frame: Bytes, now: Now) {
        let Some(Phase::Greeting(greeting)) = self.links.get(id).map(|link| &link.phase) else { return };
        let hello = match ClientFrame::decode(frame) {
            Ok(ClientFrame::Hello(hello)) => hello,
            Ok(ClientFrame::Goodbye(_)) => return self.end(id, None, now),
            Ok(ClientFrame::Unknown { .. }) => {
                self.stats.unknown_kinds += 1;
                return;
            }
            Ok(_) => return self.reject(id, RejectCode::Malformed, Duration::ZERO, "a link begins with a Hello", now),
            Err(error @ Error::Version { what: "Hello", .. }) => {
                return self.reject(id, RejectCode::Version, Duration::ZERO, &error.to_string(), now);
            }
            Err(error) => return self.reject(id, RejectCode::Malformed, Duration::ZERO, &error.to_string(), now),
        };
        match verify_hello(&greeting.challenge, &greeting.binding, &hello, now.wall) {
            Err(error) => self.reject(id, error.reject_code(), Duration::ZERO, &error.to_string(), now),
            Ok(VerifiedHello::Member { routing, label, rights, expiry }) => {
                let shown = Shown { routing, label, rights, expiry };
                self.welcome_member(id, &hello, &shown, now);
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

    /// Lets a member in: its link goes on if it shows the token of one that can be resumed, and is new otherwise.
    fn welcome_member(&mut self, id: LinkId, hello: &Hello, shown: &Shown, now: Now) {
        let in_force = features(&self.config).in_force(hello.body().features);
        let resumes = in_force.in_force(Features::RESUME) != Features::NONE;
        let earlier = if resumes { self.take_up(&shown.routing, shown.label, hello, now) } else { None };
        let token = self.random_of(id).filter(|_| resumes).map(|random| made_of(random, "resume token"));
        let resumed = earlier.as_ref().map(|dormant| dormant.stream.received);
        match earlier {
            Some(dormant) => self.resume_as_member(id, dormant, hello.body().received, shown, now),
            None => self.join_as_member(id, shown, now),
        }
        if let Some(link) = self.links.get_mut(id) {
            link.stream.features = in_force;
            if let Some(token) = token {
                link.stream.tokens.push(token);
            }
        }
        if in_force.in_force(Features::PARKING) != Features::NONE {
            self.parking.arrive(Holder { routing: shown.routing, label: shown.label });
            self.fill_from_shelf(id, now);
        }
        self.welcome(id, hello, in_force, token, resumed, now);
    }

    fn random_of(&self, id: LinkId) -> Option<&[u8; 32]> {
        match &self.links.get(id)?.phase {
            Phase::Greeting(greeting) => Some(&greeting.random.0),
            Phase::Member(_) | Phase::Stranger(_) | Phase::Ended => None,
        }
    }

    fn welcome(
        &mut self,
        id: LinkId,
        hello: &Hello,
        features: Features,
        token: Option<[u8; 32]>,
        resumed: Option<u64>,
        now: Now,
    ) {
        let grace = token.map_or(0, |_| self.config.grace.as_secs());
        let welcome = Welcome {
            version: VERSION,
            features,
            wall: now.wall,
            binding: hello.body().binding,
            ping_seconds: u16::try_from(self.config.ping_interval.as_secs()).unwrap_or(u16::MAX),
            grace_seconds: u16::try_from(grace).unwrap_or(u16::MAX),
            resume_token: token.map_or_else(Bytes::new, |token| Bytes::copy_from_slice(&token)),
            resumed,
            boot: self.boot.filter(|_| features != Features::NONE),
        };
        if let Some(link) = self.links.get_mut(id) {
            link.stream.notices.push(ServerFrame::Welcome(welcome));
        }
        self.wake(id);
    }

    /// A second link of the same key replaces the first: whoever proves the key last has it. What waits for the first is
    /// bounced, as it may be sealed for a run that is gone. So is what was kept for one that was lost.
    fn join_as_member(&mut self, id: LinkId, shown: &Shown, now: Now) {
        let Shown { routing, label, rights, expiry } = *shown;
        let index = self.swarms.find_or_make(routing);
        let older = self.swarms[index].join(label, id);
        let view = self.swarms[index].new_view();
        let member = Member { swarm: index, label, rights, expiry, mailboxes: Vec::new(), strangers: 0, view };
        if let Some(link) = self.links.get_mut(id) {
            link.phase = Phase::Member(member);
        }
        self.set_deadline(id, certificate_deadline(expiry, now));
        match older {
            Some(Seat::Linked(older)) => {
                self.stats.replaced += 1;
                self.end(older, Some(ServerFrame::Replaced), now);
            }
            Some(Seat::Lost(older) | Seat::Gone(older)) => self.end_dormant(older, now),
            None => {}
        }
        self.wake_members(index);
    }

    fn resume_as_member(&mut self, id: LinkId, dormant: Dormant, received: u64, shown: &Shown, now: Now) {
        let Shown { label, rights, expiry, .. } = *shown;
        let Some(mut member) = self.go_on(id, dormant, received, now) else { return };
        (member.rights, member.expiry) = (rights, expiry);
        let index = member.swarm;
        if !rights.may_issue {
            for mailbox in std::mem::take(&mut member.mailboxes) {
                self.swarms[index].unregister(mailbox, id);
            }
        }
        if let Some(link) = self.links.get_mut(id) {
            link.phase = Phase::Member(member);
        }
        self.set_deadline(id, certificate_deadline(expiry, now));
        if self.swarms[index].resume(label, id) {
            self.wake_members(index);
        }
    }

    fn join_as_stranger(&mut self, id: LinkId, hello: &Hello, seat: Result<Stranger, Refused>, now: Now) {
        let stranger = match seat {
            Ok(stranger) => stranger,
            Err((code, wait, text)) => return self.reject(id, code, wait, text, now),
        };
        self.welcome(id, hello, Features::NONE, None, None, now);
        let older = self.swarms[stranger.swarm].strangers.insert(stranger.label, id);
        self.count_stranger(stranger.bound_to, 1);
        if let Some(link) = self.links.get_mut(id) {
            link.phase = Phase::Stranger(stranger);
        }
        self.set_deadline(id, now.monotonic + self.config.stranger_limit);
        if let Some(older) = older {
            self.stats.replaced += 1;
            self.end(older, Some(ServerFrame::Replaced), now);
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
        let bound_to = self.swarms[swarm].link_of(&holder.label).ok_or(NO_HOLDER)?;
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

    /// Takes a member out of its swarm. Returns whose link it was.
    pub(super) fn leave_as_member(&mut self, id: LinkId, member: &Member, stream: &Stream, now: Now) -> Holder {
        let swarm = &mut self.swarms[member.swarm];
        let holder = Holder { routing: swarm.key, label: member.label };
        for mailbox in &member.mailboxes {
            swarm.unregister(*mailbox, id);
        }
        if swarm.leave(member.label, id) {
            self.leave_shelf(holder, stream, now);
            self.wake_members(member.swarm);
        }
        self.swarms.tidy(member.swarm);
        holder
    }

    pub(super) fn leave_as_stranger(&mut self, id: LinkId, stranger: &Stranger) {
        let swarm = &mut self.swarms[stranger.swarm];
        if swarm.strangers.get(&stranger.label) == Some(&id) {
            swarm.strangers.remove(&stranger.label);
        }
        self.count_stranger(stranger.bound_to, -1);
        self.swarms.tidy(stranger.swarm);
    }

    pub(super) fn wake_members(&mut self, swarm: usize) {
        let members: Vec<_> = self.swarms[swarm].linked().collect();
        for link in members {
            self.wake(link);
        }
    }

    /// Does what a link's deadline is for: it leaves its notices unread, has not said Hello, its certificate has expired, or
    /// its time as a stranger is over.
    pub(super) fn handle_deadline(&mut self, id: LinkId, now: Now) {
        let Some(link) = self.links.get(id) else { return };
        match &link.phase {
            _ if link.stream.notices.overflowed => {
                self.stats.stalled += 1;
                self.end(id, None, now);
            }
            Phase::Greeting(_) => self.reject(id, RejectCode::TooSlow, Duration::ZERO, "no Hello came in time", now),
            Phase::Member(member) if is_past(member.expiry, now) => {
                self.reject(id, RejectCode::CertificateExpired, Duration::ZERO, "the link certificate has expired", now);
            }
            // The wall clock was set back since the deadline was reckoned.
            Phase::Member(member) => {
                let due = certificate_deadline(member.expiry, now);
                self.set_deadline(id, due);
            }
            Phase::Stranger(_) => self.end(id, Some(ServerFrame::Goodbye(GoodbyeReason::Closing)), now),
            Phase::Ended => {}
        }
    }
}

/// What a member has proved.
struct Shown {
    routing: RoutingKey,
    label: Label,
    rights: LinkRights,
    expiry: u64,
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
