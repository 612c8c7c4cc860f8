//! Whether the switchboard still answers: when it was last heard, when to ask, and when to give the link up.

use std::time::Duration;

use crate::agent::limits::{CLOCK_JUMP, PING_GRACE, PING_INTERVAL_MAX, PROBE_TIMEOUT};
use crate::proto::Now;

/// What is to be done about a link that is up.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Verdict {
    Alive,
    /// It has been quiet for long: it has to be asked.
    Quiet,
    /// It was asked and said nothing; so long it has been silent.
    Silent(Duration),
}

#[derive(Debug)]
pub(super) struct Pulse {
    last_heard: Duration,
    /// Silence after which the link is probed.
    quiet_limit: Duration,
    /// A ping went out, and its answer, or at least something, has to be heard by then.
    probed_until: Option<Duration>,
    /// The path changed since that ping: its answer proves nothing about the new one.
    doubted_again: bool,
    asked_at: Option<Duration>,
    round_trip: Option<Duration>,
    /// What the clocks said at the last timeout.
    clock: Now,
}

impl Pulse {
    pub(super) fn new(now: Now) -> Self {
        Self {
            last_heard: now.monotonic,
            quiet_limit: PING_INTERVAL_MAX + PING_GRACE,
            probed_until: None,
            doubted_again: false,
            asked_at: None,
            round_trip: None,
            clock: now,
        }
    }

    /// How long an answer takes: to the Hello, or to the last ping.
    pub(super) fn round_trip(&self) -> Option<Duration> {
        self.round_trip
    }

    /// Something came. It may have been on its way before the path was in doubt: a probe waits for longer, and goes on.
    pub(super) fn handle_heard(&mut self, now: Now) {
        self.last_heard = now.monotonic;
        if let Some(until) = &mut self.probed_until {
            *until = now.monotonic + PROBE_TIMEOUT;
        }
    }

    /// The Hello goes out.
    pub(super) fn handle_hello(&mut self, now: Now) {
        self.asked_at = Some(now.monotonic);
    }

    /// The Welcome came, which answers the Hello and says how often the switchboard pings.
    pub(super) fn handle_welcome(&mut self, ping_interval: Duration, now: Now) {
        self.take_round_trip(now);
        self.quiet_limit = ping_interval.clamp(Duration::from_secs(1), PING_INTERVAL_MAX) + PING_GRACE;
    }

    /// The answer to a ping came. Whether another ping has to follow.
    pub(super) fn handle_pong(&mut self, now: Now) -> bool {
        self.handle_heard(now);
        self.probed_until = None;
        self.take_round_trip(now);
        std::mem::take(&mut self.doubted_again) && self.probe(now)
    }

    /// The link has to prove that it lives. Whether a ping has to go out now: one at a time, as WebSocket has one answer for several (RFC 6455
    /// section 5.5.3).
    pub(super) fn probe(&mut self, now: Now) -> bool {
        if self.probed_until.is_some() {
            self.doubted_again = true;
            return false;
        }
        self.asked_at = Some(now.monotonic);
        self.probed_until = Some(now.monotonic + PROBE_TIMEOUT);
        true
    }

    /// The connection is over.
    pub(super) fn reset(&mut self) {
        self.probed_until = None;
        self.doubted_again = false;
        self.asked_at = None;
    }

    /// When to look at it again, while the link is up.
    pub(super) fn poll_timeout(&self) -> Duration {
        self.probed_until.unwrap_or(self.last_heard + self.quiet_limit)
    }

    pub(super) fn verdict(&self, now: Now) -> Verdict {
        if self.poll_timeout() > now.monotonic {
            Verdict::Alive
        } else if self.probed_until.is_some() {
            Verdict::Silent(now.monotonic - self.last_heard)
        } else {
            Verdict::Quiet
        }
    }

    /// Whether the machine slept since this was last asked: the wall clock ran further than the monotonic one, which stands still then.
    pub(super) fn has_slept(&mut self, now: Now) -> bool {
        let before = std::mem::replace(&mut self.clock, now);
        let wall = Duration::from_millis(now.wall.saturating_sub(before.wall));
        wall.saturating_sub(now.monotonic.saturating_sub(before.monotonic)) >= CLOCK_JUMP
    }

    fn take_round_trip(&mut self, now: Now) {
        if let Some(asked) = self.asked_at.take() {
            self.round_trip = Some(now.monotonic.saturating_sub(asked));
        }
    }
}
