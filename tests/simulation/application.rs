//! What the applications of simulated agents do: read their inbox sooner or later, handle messages, work on requests.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::OnceLock;
use std::time::Duration;

use a2alinker::agent::{Content, ContentType, Token};
use a2alinker::proto::Lane;
use bytes::{BufMut, Bytes, BytesMut};

use super::dice::Dice;
use super::history::{Uid, Who};
use super::world::PLANTED;

/// How an application behaves.
#[derive(Clone, Copy, Debug)]
pub struct Manner {
    /// It takes a message out of its inbox at most this late.
    pub reads_within: Duration,
    /// Of a thousand messages whose sender waits for their handling it declines so many.
    pub declines: u64,
    /// Of a thousand such messages it handles so many before they are taken out of the inbox.
    pub hurries: u64,
    /// It works on a request at most so long,
    pub works_for: Duration,
    /// and on so many at a time; of others it says that it is busy.
    pub works_on: usize,
    /// Of a thousand requests it refuses so many.
    pub refuses: u64,
    /// It reads at all. Otherwise nothing is taken out of the inbox.
    pub reads: bool,
    /// Its event loop turns, so that callers hear that their requests are worked on.
    pub turns: bool,
}

impl Manner {
    pub const PROMPT: Self = Self {
        reads_within: Duration::ZERO,
        declines: 0,
        hurries: 0,
        works_for: Duration::from_millis(100),
        works_on: 64,
        refuses: 0,
        reads: true,
        turns: true,
    };

    pub fn random(dice: &mut Dice) -> Self {
        Self {
            reads_within: *dice
                .pick(&[Duration::ZERO, Duration::from_millis(50), Duration::from_secs(3)])
                .unwrap_or(&Duration::ZERO),
            declines: dice.within(0..200),
            hurries: dice.within(0..400),
            works_for: dice.millis(10..15_000),
            works_on: dice.within(1..6) as usize,
            refuses: dice.within(0..150),
            reads: true,
            turns: true,
        }
    }
}

/// A plain message that the application has and has not taken yet.
pub struct Unread {
    pub token: Token,
    pub message: Uid,
    pub lane: Lane,
    pub wants_done: bool,
}

/// A request that the application works on.
#[derive(Clone, Copy)]
pub struct Job {
    pub call: Uid,
    pub attempt: u32,
    /// Parts that it still gives before the answer.
    pub parts: u64,
    pub refuses: bool,
}

pub struct Application {
    pub manner: Manner,
    pub inbox: VecDeque<Unread>,
    pub jobs: BTreeMap<Token, Job>,
    /// What was sent and called from here.
    pub sent: BTreeMap<Token, Uid>,
    pub calls: BTreeMap<Token, Uid>,
    pub open_calls: BTreeSet<Token>,
}

impl Application {
    pub fn new(manner: Manner) -> Self {
        let (inbox, jobs, sent, calls, open_calls) = Default::default();
        Self { manner, inbox, jobs, sent, calls, open_calls }
    }
}

/// Longest body of a simulation.
pub const BODY_MAX: usize = 200 << 10;

/// Bytes in which the planted word stands every so many.
const PLANTED_EVERY: usize = 64;

/// Bytes without a pattern that short repetitions would hide in, but for the word that no switchboard may hold.
fn noise() -> &'static Bytes {
    static NOISE: OnceLock<Bytes> = OnceLock::new();
    NOISE.get_or_init(|| {
        let mut dice = Dice::new(0);
        let mut noise = BytesMut::new();
        while noise.len() < BODY_MAX + 4_096 {
            noise.put_u64(dice.number());
        }
        noise.chunks_exact_mut(PLANTED_EVERY).for_each(|part| part[..PLANTED.len()].copy_from_slice(PLANTED));
        noise.freeze()
    })
}

/// The body of a message: bytes that only this message has at these places.
pub fn body(uid: Uid, len: usize) -> Content {
    let from = (uid.wrapping_mul(97) % 4_096) as usize;
    Content { content_type: ContentType::Bytes, bytes: noise().slice(from..from + len) }
}

/// Headers name the message and the length of its body, so that even an empty one can be told from others. As in MessagePack.
pub fn headers(uid: Uid, len: usize) -> Bytes {
    let mut map = BytesMut::new();
    map.put_slice(&[0x81, 0xcf]);
    map.put_u64(uid);
    map.put_u8(0xcf);
    map.put_u64(len as u64);
    map.freeze()
}

/// Reads `headers`, and says whether the body is the one that was sent with them.
pub fn read(headers: &[u8], content: &Content) -> Option<(Uid, bool)> {
    let uid = u64::from_be_bytes(headers.get(2..10)?.try_into().ok()?);
    let len = usize::try_from(u64::from_be_bytes(headers.get(11..19)?.try_into().ok()?)).ok()?;
    Some((uid, len <= BODY_MAX && *content == body(uid, len)))
}

/// The body of an answer says which call it is for, who gives it, and for which attempt.
pub fn answer(call: Uid, worker: Who, attempt: u32, len: usize) -> Content {
    let mut bytes = BytesMut::new();
    bytes.put_u64(call);
    bytes.put_u64(worker as u64);
    bytes.put_u32(attempt);
    bytes.put_slice(&body(call, len).bytes);
    Content { content_type: ContentType::Bytes, bytes: bytes.freeze() }
}

/// Reads `answer`: call, worker, attempt, and whether the rest is intact.
pub fn read_answer(content: &Content) -> Option<(Uid, Who, u32, bool)> {
    let bytes = &content.bytes;
    let call = u64::from_be_bytes(bytes.get(..8)?.try_into().ok()?);
    let worker = u64::from_be_bytes(bytes.get(8..16)?.try_into().ok()?) as Who;
    let attempt = u32::from_be_bytes(bytes.get(16..20)?.try_into().ok()?);
    let rest = bytes.slice(20..);
    Some((call, worker, attempt, rest.len() <= BODY_MAX && rest == body(call, rest.len()).bytes))
}
