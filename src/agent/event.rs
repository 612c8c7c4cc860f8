//! What an agent tells the application and its shell: values, in the order in which they came to be.

use std::time::Duration;

use bytes::Bytes;

use super::error::{AdmissionError, CallError, LinkError};
use super::message::ContentType;
use crate::crypto::Code;
use crate::proto::{AgentId, Binding, Lane, MessageId, RunId, ThreadId};

/// Names one message, call or request within an agent; never used twice.
pub type Token = u64;

/// A body as it travels: how to read it, and its bytes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Content {
    /// How to read the bytes.
    pub content_type: ContentType,
    /// At most [`super::limits::BODY_MAX`] bytes.
    pub bytes: Bytes,
}

/// What the shell has to do.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Command {
    /// Open a connection to a switchboard and report with `handle_connected` or `handle_disconnected`. With `any_certificate` whatever
    /// certificate it shows will do: only for pairing by code, which finds out by itself whether it was the right one.
    Connect { any_certificate: bool },
    /// These addresses are the ones to connect to from the next [`Connect`](Self::Connect) on.
    Switchboards(Vec<String>),
    /// End the connection; `handle_disconnected` is not called for it.
    Disconnect,
    /// The switchboard connected to last refuses this agent: from the next [`Connect`](Self::Connect) on the others come first.
    PreferOthers,
    /// Ask the switchboard for a sign of life, which `handle_pong` reports.
    Ping,
    /// Write what [`super::Agent::file`] gives into the agent file, not on the way of frames, and report with `handle_saved`.
    Save,
}

/// What happened to the path between this machine and the switchboard.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PathChange {
    /// It is gone: the local address of the link was taken away, or the system would use another one from this moment on.
    Lost,
    /// Something about the network changed, and the link may have survived it.
    Unsure,
}

/// The connection that [`Command::Connect`] asked for, as the shell saw it being made.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Connected {
    /// Ties proofs to this connection.
    pub binding: Binding,
    /// Which of the addresses answered, as the shell was given it.
    pub address: String,
    /// Hash of the certificate's key (PROTOCOL.md section 2); `None` without TLS.
    pub pin: Option<[u8; 32]>,
    /// Roots, or a pin in the address, vouch for the certificate.
    pub vouched: bool,
    /// How many other addresses could have answered.
    pub others: usize,
}

/// Something the application may want to know.
#[derive(Debug)]
pub enum Event {
    /// The link is up (again); with `resumed` it goes on where the one before was lost.
    Linked { resumed: bool },
    /// The link broke, or could not be made; the agent asks for the next attempt after `retry_in`.
    LinkLost { error: LinkError, retry_in: Duration },
    /// Membership is there, in the agent file if there is one, and the link was up once: the agent is ready.
    Joined,
    /// The agent is over and will do nothing more.
    Closed(Option<CloseReason>),
    /// Something changed about a peer; [`super::Agent::peer`] gives its present state (for `Left`, its last).
    Peer { id: AgentId, change: PeerChange },
    /// A plain message. The application says `consumed` when it has taken it.
    Message(Incoming),
    /// A request: the application answers or refuses it, or its caller cancels it.
    Request(Incoming),
    /// The caller of this request doesn't want the answer any more, or is gone.
    Cancelled { request: Token },
    /// A message of this thread will never come: it expired at its sender.
    Gap { peer: AgentId, lane: Lane, thread: ThreadId },
    /// A sent message changed its state.
    Receipt { token: Token, state: ReceiptState },
    /// A call was given to this peer.
    CallMoved { call: Token, peer: AgentId, attempt: u32 },
    /// A partial answer.
    Progress { call: Token, answer: Incoming },
    /// The final answer.
    Answered { call: Token, answer: Incoming },
    /// The call ended without an answer.
    CallFailed { call: Token, error: CallError },
    /// The definition asked for with `describe`; `None`: the peer doesn't know it.
    Definition { call: Token, definition: Option<Bytes> },
    /// An invite can be used from now on, or can't be; a code has its text only then.
    Invite { invite: Token, result: Result<Option<Code>, LinkError> },
    /// A code is over without anybody having been admitted.
    Burnt { invite: Token, why: Burnt },
    /// Somebody was admitted with an invite of this agent, and becomes a peer when it links as a member.
    Admitted { invite: Token, id: AgentId, name: String },
    /// A chain of messages that cause each other has come to its limit, here or at this peer: the next one wasn't sent.
    LoopStopped { peer: AgentId, thread: ThreadId, here: bool },
    /// More of the source of a large body is wanted: up to `room` bytes from `offset` on, which begins anew at 0 if the receiver did.
    BodyWanted { body: Token, offset: u64, room: usize },
    /// Nothing more of the source of a large body is wanted.
    BodyOver { body: Token },
    /// So many bytes of a large body that is sent are in the receiver's memory. Told now and then.
    BodyMoved { body: Token, confirmed: u64 },
    /// There may be something to take of a large body that comes in, or it is over.
    BodyArrived { body: Token, received: u64 },
    /// The outbox was full and has room again.
    Space,
    /// The agent file could not be written; it is tried again. What changed since the last time would be lost by a restart.
    NotSaved { error: String },
}

/// Why a code is over before its time.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Burnt {
    /// Somebody tried wrong words.
    #[error(
        "somebody tried wrong words with this code, so it can't be used any more: make a new one, and say it only to whom it is for"
    )]
    WrongWords,
    /// Somebody knew the words, and saw another certificate than this agent's switchboard has.
    #[error(
        "whoever used this code saw another certificate than this agent's switchboard has: it went to another switchboard, or somebody \
         stands between; nobody was admitted, and the code can't be used any more"
    )]
    Certificate,
    /// Its number is somebody else's after the link was away, or no invite more can be opened.
    #[error("the number of this code was lost while the link was away, or too many invites are open: make a new one")]
    Lost,
}

/// Why an agent ended by itself.
#[derive(Debug)]
pub enum CloseReason {
    /// It could not become a member.
    Admission(AdmissionError),
    /// Another link with the same identity took over; this agent stays away.
    Replaced,
    /// The switchboard refuses this agent for good.
    Refused(LinkError),
}

/// What changed about a peer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PeerChange {
    /// Its card is known for the first time.
    Joined,
    /// Its card changed: other skills, another run.
    Changed,
    /// Its link is up.
    Up,
    /// Its link is down; it may come back.
    Down,
    /// It said goodbye, or was down for too long: calls to it are over.
    Gone,
    /// Its identity ended: it is forgotten.
    Left,
}

/// A message that came in.
#[derive(Clone, Debug)]
pub struct Incoming {
    /// Names it in `answer`, `refuse`, `done`.
    pub token: Token,
    /// Who sent it, authenticated by the session.
    pub sender: AgentId,
    /// Its id.
    pub id: MessageId,
    /// The message that this one answers.
    pub reply_to: Option<MessageId>,
    /// The lane it came on.
    pub lane: Lane,
    /// Its thread; zero for the common one.
    pub thread: ThreadId,
    /// When it is too late, in Unix milliseconds of the local clock.
    pub expiry: u64,
    /// How long it was meant to live, in milliseconds: it was sent at `expiry - ttl_ms`.
    pub ttl_ms: u32,
    /// How many messages stand between it and the one that started it all.
    pub depth: u16,
    /// How many messages its sender lets it cause, itself included; `None`: that isn't limited.
    pub budget: Option<u32>,
    /// For a request: which attempt of its caller.
    pub attempt: u32,
    /// The skill it asks for.
    pub skill: Option<String>,
    /// The application's headers: a MessagePack map, or empty.
    pub headers: Bytes,
    /// An earlier run of this agent may have had it already.
    pub maybe_repeated: bool,
    /// The sender waits until it is handled.
    pub wants_done: bool,
    /// The body.
    pub content: Content,
}

/// What is known about a sent message. Only `Delivered`, `Done` and `Refused` come from the receiver, authenticated. Those before them are
/// hints, and may pass into each other.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ReceiptState {
    /// In the outbox.
    Queued,
    /// A hint of the switchboard: the receiver is not linked at present. It is sent when it comes.
    Unknown,
    /// A hint of the switchboard: the receiver is not linked, and nothing more can wait for it there. It is tried again, at the earliest
    /// after this pause.
    Full { retry_after: Duration },
    /// A hint of the switchboard: the message waits there for its receiver.
    Accepted,
    /// In the receiver's memory.
    Delivered,
    /// Handled.
    Done,
    /// Not handled, and why.
    Refused { code: super::message::RefusalCode, reason: String },
    /// Its time was over before it was confirmed; it may have arrived.
    Expired,
    /// The agent closed, or the peer ended for good, before it was confirmed.
    Failed,
}

/// A snapshot of what is known about a peer.
#[derive(Clone, Debug)]
pub struct PeerView {
    /// Its verified card.
    pub card: std::sync::Arc<super::card::VerifiedCard>,
    /// Its link is up, as far as the switchboard says.
    pub linked: bool,
    /// Calls to it are over: see [`PeerChange::Gone`].
    pub gone: bool,
    /// Its run, as the newest card has it.
    pub run: RunId,
}

/// What the application sends.
#[derive(Clone, Debug)]
pub struct Outgoing {
    /// The receiver.
    pub to: AgentId,
    /// `Urgent` to `Bulk`.
    pub lane: Lane,
    /// Messages of one thread arrive in order; `None`: the common thread.
    pub thread: Option<ThreadId>,
    /// How long it is worth delivering; at most 24 h.
    pub ttl: Duration,
    /// Keep it until the receiver has handled it, and say so.
    pub until_done: bool,
    /// Depth of the message in whose handling it is sent, plus one; 0 outside.
    pub depth: u16,
    /// How many messages it may cause, itself included; in the handling of one that has a budget, that less one. `None`: any number.
    pub budget: Option<u32>,
    /// The message that this one replies to.
    pub reply_to: Option<MessageId>,
    /// The application's headers: a MessagePack map of at most 1 KiB, or empty.
    pub headers: Bytes,
    /// The body.
    pub content: Content,
}

/// A call to a skill, or a request to one peer.
#[derive(Clone, Debug)]
pub struct CallRequest {
    /// The skill; `None`: a plain request to `to`.
    pub skill: Option<String>,
    /// This peer and no other; `None`: any linked holder of the skill.
    pub to: Option<AgentId>,
    /// Only these may be chosen; empty: all holders.
    pub among: Vec<AgentId>,
    /// `Urgent` to `Bulk`.
    pub lane: Lane,
    /// The thread; `None`: one of its own.
    pub thread: Option<ThreadId>,
    /// How long the request is worth delivering.
    pub ttl: Duration,
    /// When the caller gives up; `None`: never.
    pub timeout: Option<Duration>,
    /// How long the caller waits between signs of progress (partial answers); `None`: for ever.
    pub progress_timeout: Option<Duration>,
    /// See [`Outgoing::depth`].
    pub depth: u16,
    /// See [`Outgoing::budget`].
    pub budget: Option<u32>,
    /// See [`Outgoing::headers`].
    pub headers: Bytes,
    /// The arguments, or the body of a plain request.
    pub content: Content,
}
