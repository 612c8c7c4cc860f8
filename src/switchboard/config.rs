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
    /// Bytes of memory for all that is kept, as `governor.rs` counts them. Beyond it a link may still have
    /// [`Config::small_backlog`] waiting, so that links that read don't suffer for those that don't. Chosen: a small server.
    pub memory: usize,
    /// Percent of the memory from which bulk is shed, and written frames are no longer kept for a resume. Chosen: there is time for the
    /// rest while bulk, which can wait, waits at its senders.
    pub bulk_percent: u8,
    /// Percent of the memory from which nothing more may wait for absent agents. Chosen: what waits for hours gives way to what moves.
    pub parking_percent: u8,
    /// Percent of the memory from which new links are refused. Chosen: those that are there can still finish.
    pub link_percent: u8,
    /// Bytes that may always wait for a link. Chosen: one frame of the largest size.
    pub small_backlog: usize,
    /// How long a link that was lost can be resumed, in whole seconds; zero: not at all.
    pub grace: Duration,
    /// How long a link that was lost isn't announced as gone.
    pub announce_after: Duration,
    /// Written frames and notices that are kept for the resume of one link. Chosen: with [`Config::retained_bytes`].
    pub retained_frames: usize,
    /// Bytes of written frames that are kept for the resume of one link. Chosen: more than is under way on a fast network (a gigabit per
    /// second and 30 ms), and twice what may be parked for one agent, so that what had waited isn't forgotten while it is under way.
    pub retained_bytes: usize,
    /// Lost links that are kept for a resume at one moment. Chosen: as many as there may be links.
    pub dormant_links: usize,
    /// Envelopes that wait for one absent agent. Chosen: a day of work orders.
    pub parked_per_agent: usize,
    /// Bytes of envelopes that wait for one absent agent. Chosen: a hundred envelopes of the largest size.
    pub parked_bytes_per_agent: usize,
    /// Bytes of envelopes that wait in one swarm. Chosen: for 32 agents that are full.
    pub parked_bytes_per_swarm: usize,
    /// Bytes of envelopes that wait in all; zero: none may wait. Chosen: a quarter of the memory.
    pub parked_bytes: usize,
    /// How long an agent that has left is known, so that envelopes may begin to wait for it. Chosen: as long as one may wait.
    pub known_for: Duration,
    /// Absent agents that are known in one swarm. Chosen: a large fleet that sleeps.
    pub known_per_swarm: usize,
    /// Absent agents that are known in all. Chosen: 64 MiB.
    pub known: usize,
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
            memory: 1024 * 1024 * 1024,
            bulk_percent: 70,
            parking_percent: 85,
            link_percent: 95,
            small_backlog: limits::FRAME,
            grace: limits::GRACE,
            announce_after: limits::ANNOUNCE_AFTER,
            retained_frames: 4_096,
            retained_bytes: 4 * 1024 * 1024,
            dormant_links: 10_000,
            parked_per_agent: 1_024,
            parked_bytes_per_agent: 2 * 1024 * 1024,
            parked_bytes_per_swarm: 64 * 1024 * 1024,
            parked_bytes: 256 * 1024 * 1024,
            known_for: limits::PARKING_TIME,
            known_per_swarm: 4_096,
            known: 65_536,
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
    /// Swarms with a link at this moment, or with one that can be resumed.
    pub swarms: u64,
    /// Mailboxes of tickets at this moment.
    pub mailboxes: u64,
    /// Links at this moment that were lost and can be resumed.
    pub dormant: u64,
    /// Links that went on after they had been lost, or taken over from a socket that was as good as lost.
    pub resumed: u64,
    /// Slots at this moment, those included whose holder is away.
    pub slots: u64,
    /// Guests that were let through to the holder of a slot.
    pub guests: u64,
    /// Bytes that wait in queues at this moment.
    pub queued_bytes: u64,
    /// Bytes of frames at this moment that were written and are kept for a resume.
    pub retained_bytes: u64,
    /// Envelopes at this moment that wait for absent agents.
    pub parked: u64,
    /// Their bytes.
    pub parked_bytes: u64,
    /// Absent agents at this moment for which an envelope may wait.
    pub known: u64,
    /// Bytes of [`Config::memory`] in use at this moment.
    pub memory_bytes: u64,
    /// Envelopes that began to wait for an absent agent.
    pub accepted: u64,
    /// Envelopes that expired while they waited for an absent agent.
    pub expired: u64,
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
