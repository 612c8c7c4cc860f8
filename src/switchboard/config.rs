//! What an operator may set, and what a switchboard counts.

use std::time::Duration;

use crate::proto::{LaneLimits, limits};

/// The limits of one switchboard.
#[derive(Debug, Clone)]
pub struct Config {
    /// Links at one moment, sockets in all. Chosen: 120 MiB while they are idle (12 KiB measured for each over TLS).
    pub links: usize,
    /// Links at one moment from one origin. Chosen: an office or a cluster behind one address fits.
    pub links_per_origin: usize,
    /// Handshakes that one origin may begin at once. Chosen: a swarm behind one address that comes back together.
    pub handshakes_at_once: u32,
    /// Handshakes of one origin per second, in the long run. Chosen: one costs about half a millisecond of this machine, so
    /// one address can't take more than a few hundredths of it.
    pub handshakes_per_second: u32,
    /// Strangers and guests that one member has to answer at one moment. Chosen: the newcomers of a deployment that starts at once.
    pub strangers_per_member: usize,
    /// Slots at one moment, in all. Chosen: the numbers then have five digits at the most.
    pub slots: usize,
    /// Slots at one moment of one swarm. Chosen: several of its admins invite a team each.
    pub slots_per_swarm: usize,
    /// Slots at one moment of agents behind one origin. Chosen: no address holds more than a tenth of all.
    pub slots_per_origin: usize,
    /// Guests that one origin may bring at once. Chosen: people who join from one room.
    pub guests_at_once: u32,
    /// Guests of one origin per minute, in the long run. Chosen: each may spoil somebody's code by a wrong guess, and codes
    /// must not be spoilt wholesale.
    pub guests_per_minute: u32,
    /// How long a stranger may take to be admitted. Chosen: a person may have to agree.
    pub stranger_limit: Duration,
    /// How long a client may take from Challenge to Hello.
    pub hello_limit: Duration,
    /// How long a socket may take nothing while something waits for it. Chosen: a reader that is
    /// alive takes something in less, and what waits for it would only grow old.
    pub stall_limit: Duration,
    /// What waits for one link at most.
    pub lanes: LaneLimits,
    /// Bytes that wait for all links together. Beyond it a link may still have [`Config::small_backlog`] waiting, so that
    /// links that read don't suffer for those that don't.
    pub queued_bytes: usize,
    /// Bytes that may always wait for a link. Chosen: one frame of the largest size.
    pub small_backlog: usize,
    /// How often the shell pings, told to clients in the Welcome.
    pub ping_interval: Duration,
    /// Silence after which the shell takes a link for dead.
    pub silence_limit: Duration,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            links: 10_000,
            links_per_origin: 2_000,
            handshakes_at_once: 1_000,
            handshakes_per_second: 100,
            strangers_per_member: 256,
            slots: 10_000,
            slots_per_swarm: 256,
            slots_per_origin: 1_000,
            guests_at_once: 10,
            guests_per_minute: 10,
            stranger_limit: Duration::from_secs(600),
            hello_limit: limits::HELLO_TIMEOUT,
            stall_limit: Duration::from_secs(15),
            lanes: LaneLimits::default(),
            queued_bytes: 512 * 1024 * 1024,
            small_backlog: limits::FRAME,
            ping_interval: limits::PING_INTERVAL,
            silence_limit: limits::LINK_SILENCE,
        }
    }
}

/// Counts of a switchboard. Nothing in it belongs to one agent or swarm.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Stats {
    /// Links at this moment, those in the handshake or ending included.
    pub links: u64,
    /// Swarms with a link at this moment.
    pub swarms: u64,
    /// Mailboxes at this moment.
    pub mailboxes: u64,
    /// Slots at this moment, those included whose holder is away.
    pub slots: u64,
    /// Guests that were let through to the holder of a slot.
    pub guests: u64,
    /// Bytes that wait in queues at this moment.
    pub queued_bytes: u64,
    /// Data frames queued for their receivers.
    pub forwarded_frames: u64,
    /// Their bytes.
    pub forwarded_bytes: u64,
    /// Data frames that were not passed on, or not written in the end.
    pub bounced: u64,
    /// Links that were refused or ended with a Reject.
    pub rejected: u64,
    /// Links that another link of the same key replaced.
    pub replaced: u64,
    /// Links that were cut because they took nothing.
    pub stalled: u64,
    /// Frames of a kind that this build doesn't know.
    pub unknown_kinds: u64,
}
