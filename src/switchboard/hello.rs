//! How links come and go: Challenge, Hello, Welcome; replacement, registration, expiry.

use std::time::Duration;

use bytes::Bytes;

use super::link::{Greeting, Link, LinkId, Member, Phase, Stranger};
use super::origins::{Admission, Origin, Refusal};
use super::{Switchboard, millis};
use crate::proto::{
    Binding, Challenge, ClientFrame, Error, Features, GoodbyeReason, Hello, Label, LinkRights, Now, RegisterStatus, RejectCode,
    RoutingKey, ServerFrame, VERSION, VerifiedHello, Welcome, limits, verify_hello,
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
            Ok(VerifiedHello::Stranger { routing, label, mailbox }) => match self.pick_registrant(&routing, &mailbox, now) {
                Ok(member) => {
                    self.welcome(id, &hello, now);
                    self.join_as_stranger(id, routing, label, mailbox, member, now);
                }
                Err(code) => self.reject(id, code, Duration::ZERO, "nobody who is linked answers for this mailbox"),
            },
            Ok(VerifiedHello::Guest { .. }) => {
                self.reject(id, RejectCode::UnknownMailbox, Duration::ZERO, "nobody who is linked holds this slot");
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

    fn join_as_stranger(&mut self, id: LinkId, routing: RoutingKey, label: Label, mailbox: Label, bound_to: LinkId, now: Now) {
        let index = self.swarms.find_or_make(routing);
        let older = self.swarms[index].strangers.insert(label, id);
        if let Some(link) = self.links.get_mut(id) {
            link.phase = Phase::Stranger(Stranger { swarm: index, label, mailbox, bound_to });
        }
        self.count_stranger(bound_to, 1);
        self.set_deadline(id, now.monotonic + self.config.stranger_limit);
        if let Some(older) = older {
            self.stats.replaced += 1;
            self.end(older, Some(ServerFrame::Replaced));
        }
    }

    /// Picks who answers a stranger: of those that registered the mailbox and are linked the one with the fewest strangers,
    /// of several the one that registered first.
    fn pick_registrant(&self, routing: &RoutingKey, mailbox: &Label, now: Now) -> Result<LinkId, RejectCode> {
        let index = self.swarms.find(routing).ok_or(RejectCode::UnknownMailbox)?;
        let (strangers, link) = self.least_busy_registrant(index, mailbox, now).ok_or(RejectCode::UnknownMailbox)?;
        if strangers >= self.config.strangers_per_member { Err(RejectCode::Full) } else { Ok(link) }
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

    /// Opens a mailbox. Only who may issue certificates can answer a stranger, so only they may. An answer is always given.
    pub(super) fn handle_register(&mut self, id: LinkId, mailbox: Label, expiry: u64, now: Now) {
        let Some(link) = self.links.get_mut(id) else { return };
        let status = match &mut link.phase {
            Phase::Member(member) if member.rights.may_issue => {
                let swarm = &mut self.swarms[member.swarm];
                // Those that have expired make room.
                member.mailboxes.retain(|held| {
                    let stands = *held == mailbox || swarm.is_registered(held, id, now.wall);
                    if !stands {
                        swarm.unregister(*held, id);
                    }
                    stands
                });
                let is_new = !member.mailboxes.contains(&mailbox);
                if is_new && member.mailboxes.len() >= limits::MAILBOXES_PER_LINK {
                    RegisterStatus::Full
                } else {
                    if is_new {
                        member.mailboxes.push(mailbox);
                    }
                    swarm.register(mailbox, id, expiry);
                    RegisterStatus::Done
                }
            }
            Phase::Member(_) | Phase::Stranger(_) | Phase::Greeting(_) | Phase::Ended => RegisterStatus::NotAllowed,
        };
        link.notices.push_registered(mailbox, status);
        self.notify(id);
    }

    /// Closes a mailbox. Strangers that were bound to this link stay bound: an answer may be on its way.
    pub(super) fn handle_unregister(&mut self, id: LinkId, mailbox: Label) {
        if let Some(Phase::Member(member)) = self.links.get_mut(id).map(|link| &mut link.phase) {
            member.mailboxes.retain(|held| *held != mailbox);
            self.swarms[member.swarm].unregister(mailbox, id);
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
