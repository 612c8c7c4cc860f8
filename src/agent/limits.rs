//! Bounds between agents: name, unit, reason. Those that the switchboard shares are in [`crate::proto::limits`].

use std::time::Duration;

/// Largest body of a message, in bytes. Chosen: it is held in memory whole at both ends.
pub const BODY_MAX: usize = 1 << 20;
/// Largest body that travels in parts, in bytes. Chosen: what an agent hands to another as one thing; its receiver may have to keep it whole.
pub const LARGE_BODY_MAX: u64 = 1 << 30;
/// Most bytes of a large body in one part (PROTOCOL.md section 7.4).
pub const PART_MAX: usize = 64 << 10;
/// Large bodies to one peer that may be open. Chosen: each costs its sender a few hundred bytes while it waits for its turn.
pub const BODIES_TO_PEER: usize = 64;
/// Large bodies from one peer that may be open. Chosen: twice what an honest one has, as it learns late that one is over.
pub const BODIES_FROM_PEER: usize = 128;
/// Progress of a large body is told this often, at most.
pub const PROGRESS_PAUSE: Duration = Duration::from_millis(100);
/// Most bytes that a sealed header can add to a body: all optional fields at their limits.
pub const MESSAGE_OVERHEAD_MAX: usize = 4_096;
/// Largest headers map of an application, in bytes (PROTOCOL.md section 7.1).
pub const HEADERS_MAX: usize = 1_024;
/// Longest time to live of a message.
pub const TTL_MAX: Duration = Duration::from_secs(24 * 60 * 60);
/// Longest chain of messages that were sent while handling one another, unless the agent has another limit. Chosen: longer than what people plan,
/// and over within seconds when two agents answer each other.
pub const DEPTH_MAX: u16 = 64;

/// Messages that a sender may have in a receiver's memory, for each lane and class. Chosen: at 250,000 messages a second it covers 16 ms.
pub const CREDIT_WINDOW_MESSAGES: u32 = 4_096;
/// Bytes that a sender may have in a receiver's memory, for each lane and class. Chosen: at least two of the largest messages, and less
/// than the switchboard queues for a lane, so that one sender alone never overflows it.
pub const CREDIT_WINDOW_BYTES: u32 = 3 << 20;

/// Receipts of requests and answers wait this long for a frame that goes the same way anyhow.
pub const RECEIPT_DELAY: Duration = Duration::from_millis(5);
/// What was sent and not confirmed for this long goes again; doubled each time, up to `RESEND_MAX`.
pub const RESEND_MIN: Duration = Duration::from_secs(2);
/// See [`RESEND_MIN`].
pub const RESEND_MAX: Duration = Duration::from_secs(30);
/// Longest pause that somebody else's word can impose: a switchboard's in Bounce and Reject, a worker's in a refusal. Chosen: it lets the
/// busy breathe, and what lies is over soon after it is gone.
pub const RETRY_AFTER_MAX: Duration = Duration::from_secs(60);
/// A peer is asked for its receipts this often while a message waits to be handled there.
pub const PROBE_INTERVAL: Duration = Duration::from_secs(10);

/// An opener without an answer is replaced after this long; doubled each time, up to `OPEN_MAX`.
pub const OPEN_TIMEOUT: Duration = Duration::from_secs(3);
/// See [`OPEN_TIMEOUT`].
pub const OPEN_MAX: Duration = Duration::from_secs(30);
/// Least time between two openers to a peer that are caused by unauthenticated complaints (PROTOCOL.md section 6.2).
pub const REOPEN_MIN: Duration = Duration::from_secs(1);
/// A session is replaced at this age.
pub const SESSION_LIFE: Duration = Duration::from_secs(24 * 60 * 60);
/// Sessions with one peer that are kept for receiving.
pub const SESSIONS_PER_PEER: usize = 4;
/// A responder takes early frames for this long after the opener.
pub const EARLY_LIFE: Duration = Duration::from_secs(60);
/// Frames of unknown sessions wait this long for their opener.
pub const STRAY_WAIT: Duration = Duration::from_secs(2);
/// Frames of unknown sessions that wait at a time.
pub const STRAYS: usize = 64;
/// A prekey is replaced at this age, and kept for opening that long again and for the longest time to live.
pub const PREKEY_LIFE: Duration = Duration::from_secs(24 * 60 * 60);

/// The shell reports on a connection attempt within this; then the agent gives it up.
pub const CONNECT_TIMEOUT: Duration = Duration::from_secs(15);
/// The switchboard completes the handshake within this.
pub const HANDSHAKE_TIMEOUT: Duration = Duration::from_secs(10);
/// A link on which nothing was heard for this much longer than the switchboard's ping interval is probed. Chosen: one ping late by the worst
/// usable network. With [`PROBE_TIMEOUT`] a link that died without a word is given up within two intervals of [`PING_INTERVAL`](crate::proto::limits::PING_INTERVAL):
/// a NAT that forgets a connection tells nobody.
pub const PING_GRACE: Duration = Duration::from_secs(5);
/// The longest ping interval of a switchboard that is waited for. Chosen: a third more than the default; beyond it an agent pings by itself.
pub const PING_INTERVAL_MAX: Duration = Duration::from_secs(30);
/// A probed link on which nothing is heard within this is given up. Chosen: a round trip on the slowest network in use, and a retransmission.
pub const PROBE_TIMEOUT: Duration = Duration::from_secs(4);
/// A wall clock that ran this much further than the monotonic one means that the machine slept, or that somebody set the clock: the link is probed.
pub const CLOCK_JUMP: Duration = Duration::from_secs(5);
/// First pause before linking again; doubled each time, up to `BACKOFF_MAX`, and drawn at random between half and whole.
pub const BACKOFF_MIN: Duration = Duration::from_millis(100);
/// See [`BACKOFF_MIN`]. Chosen: below the ten seconds after which peers are taken for gone.
pub const BACKOFF_MAX: Duration = Duration::from_secs(5);
/// A joiner whose link was up this recently tries again when its invite is unknown. Chosen: issuers come back from a lost link within it.
pub const MAILBOX_PATIENCE: Duration = Duration::from_secs(30);
/// An envelope of which the switchboard says nothing is made anew after this long; doubled each time, up to `PARKING_PAUSE_MAX`.
pub const PARKING_TIMEOUT: Duration = Duration::from_secs(10);
/// See [`PARKING_TIMEOUT`].
pub const PARKING_PAUSE_MAX: Duration = Duration::from_secs(60);
/// How far behind a clock may be of which neither a session nor the switchboard tells anything.
pub const UNKNOWN_CLOCK_TOLERANCE: Duration = Duration::from_secs(60);
/// After a bounce the receiver is left alone for at least this long.
pub const BOUNCE_PAUSE: Duration = Duration::from_millis(100);

/// Requests that are being handled are named to their callers this often.
pub const HEARTBEAT_INTERVAL: Duration = Duration::from_secs(5);
/// A caller that has heard nothing of its request for this long takes it for lapsed.
pub const LAPSE_AFTER: Duration = Duration::from_secs(30);
/// Heartbeats stop when the application's event loop hasn't turned for this long.
pub const LOOP_STALL: Duration = Duration::from_secs(60);
/// Calls that an agent may have open at a time.
pub const CALLS_MAX: usize = 65_536;
/// Cancels that came before their request and are remembered, for each peer.
pub const EARLY_CANCELS: usize = 256;
