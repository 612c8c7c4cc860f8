//! Every bound of the link protocol: name, unit, value, reason.
//!
//! What is *protocol* can't be changed by one side alone. What is *default* is a choice that each program may override.

use std::time::Duration;

/// Bytes of one frame, and so of one WebSocket message. Protocol; large enough for a padded 32 KiB plaintext with any header,
/// small enough that an urgent frame never waits long behind one.
pub const FRAME: usize = 65_536;

/// Bytes of a Data frame in lane 0. Protocol; 73 of header, 1 KiB of plaintext, 16 of tag. The relay can't check what a
/// control frame is for, so it checks that there is no room in it for anything else.
pub const CONTROL_FRAME: usize = 1_113;

/// Bytes of a resume token. Protocol; enough for an id and a MAC.
pub const RESUME_TOKEN: usize = 64;

/// Bytes of the text in a Reject. Protocol; one sentence for a person.
pub const REJECT_TEXT: usize = 512;

/// Labels in one Labels frame: 6 bytes of fields and 16 for each. Protocol, by the size of a frame.
pub const LABELS_PER_FRAME: usize = (FRAME - 6) / 16;

/// Mailboxes that one link may register. Protocol; one for each open ticket of its agent.
pub const MAILBOXES_PER_LINK: usize = 64;

/// The highest number of a slot. Protocol; seven digits, which a person still reads out.
pub const SLOT: u32 = 9_999_999;

/// Slots that one link may hold. Protocol; one for each open code of its agent.
pub const SLOTS_PER_LINK: usize = 16;

/// How far ahead the expiry of a slot may lie. Protocol; a code is good for minutes, and small numbers are few.
pub const SLOT_TIME: Duration = Duration::from_secs(3600);

/// How far ahead the expiry of a parkable frame may lie. Protocol; a day, the longest time to live of a message.
pub const PARKING_TIME: Duration = Duration::from_secs(24 * 3600);

/// Data frames that a client receives before it acknowledges them. Protocol; an acknowledgement then costs a hundredth of what it is for.
pub const LINK_ACK_FRAMES: u64 = 32;

/// Bytes of Data frames that a client receives before it acknowledges them. Protocol; two of the largest frames.
pub const LINK_ACK_BYTES: usize = 2 * FRAME;

/// How long a client waits with an acknowledgement for more to acknowledge. Protocol; twice a second on a quiet link.
pub const LINK_ACK_DELAY: Duration = Duration::from_millis(500);

/// How long a link that was lost can be resumed. Default; a laptop changes its network or a phone its cell in less.
pub const GRACE: Duration = Duration::from_secs(120);

/// How long a link that was lost isn't announced as gone. Default; a client that notices at once is back in less, and then nobody else
/// need notice anything.
pub const ANNOUNCE_AFTER: Duration = Duration::from_secs(2);

/// Certificates in a link chain. Protocol; V admits issuers, issuers admit members, and nobody goes further.
pub const LINK_CHAIN: usize = 2;

/// How far past its expiry a certificate is still good. Protocol; the clocks of two machines are seldom closer without care.
pub const CLOCK_TOLERANCE: Duration = Duration::from_secs(5 * 60);

/// The window in which control and urgent may take at most half of the bytes. Protocol; short enough that nobody watching
/// notices the rest standing still.
pub const URGENT_WINDOW: Duration = Duration::from_millis(100);

/// Bytes by which one unit of a lane's weight raises its deficit. Protocol; the size that coalescing aims at, so that a turn
/// is a few frames.
pub const LANE_QUANTUM: usize = 16 * 1024;

/// Weights of the lanes high, normal and bulk. Protocol; bulk keeps a fourteenth of the link at the worst.
pub const LANE_WEIGHTS: [usize; 3] = [8, 4, 2];

/// How long a client may take from Challenge to Hello. Default; a busy machine on a slow network needs one of them.
pub const HELLO_TIMEOUT: Duration = Duration::from_secs(5);

/// How often a switchboard sends a WebSocket ping. Default; below the 30 s after which common NATs forget a connection.
pub const PING_INTERVAL: Duration = Duration::from_secs(20);

/// Silence after which a switchboard treats a link as dead. Default; two pings lost, and some. Agents notice sooner, by pings of their own.
pub const LINK_SILENCE: Duration = Duration::from_secs(50);

/// Frames that wait in one lane of a link. Default; with small frames this is the bound that bites.
pub const LANE_FRAMES: usize = 1_024;

/// Bytes that wait in one lane of a link. Default; the credit of one sender (3 MiB of messages) with what padding and seals add, so that a
/// single sender never overflows it. A link with all lanes full holds 20 MiB.
pub const LANE_BYTES: usize = 4 * 1024 * 1024;
