//! What an operator may set, and what a switchboard counts.

use std::time::Duration;

use crate::proto::{LaneLimits, limits};

/// The limits of one switchboard.
#[derive(Debug, Clone)]
pub struct Config {
    /// Links at one moment, sockets in all. Chosen: 130 MiB while they are idle (13 KiB measured for each over TLS).
    pub links: usize,
    /// Links at one moment from one origin. Chosen: an office or a cluster behind one address fits.
    pub links_per_origin: usize,
    /// Handshakes that one origin may begin at once. Chosen: a swarm behind one address that comes back together.
    pub handshakes_at_once: u32,
    /// Handshakes of one origin per second, in the long run. Chosen: one costs about half a millisecond of this machine, so
    /// one address can't take more than a few hundredths of it.
    pub handshakes_per_second: u32,
    /// Strangers that one member has to answer at one moment. Chosen: the newcomers of a deployment that starts at once.
    pub strangers_per_member: usize,
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
