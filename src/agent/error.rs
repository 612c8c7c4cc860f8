//! What can go wrong for an agent, by who is at fault.

use std::time::Duration;

use thiserror::Error;

use super::message::RefusalCode;
use crate::crypto::CertificateError;
use crate::proto::{AgentId, FounderId, RejectCode};

/// A command of the application that can't be carried out. Nothing was sent.
#[derive(Clone, Debug, Error, PartialEq, Eq)]
#[non_exhaustive]
pub enum SendError {
    /// The outbox is full: wait for [`super::Event::Space`].
    #[error("the outbox is full ({messages} messages, {bytes} bytes): wait until some are delivered, or raise its limits")]
    OutboxFull { messages: usize, bytes: usize },
    /// No card of this peer is known.
    #[error("peer {0} is not known here: it never joined this swarm, or has left it")]
    PeerUnknown(AgentId),
    /// Nobody is known to have the skill.
    #[error("no known peer offers the skill {0:?}: check its name, or wait for a peer that has it")]
    SkillUnknown(String),
    /// The body is over the limit.
    #[error("the body has {got} bytes, the limit is {limit}: send it in parts")]
    BodyTooLarge { got: usize, limit: usize },
    /// The headers are over the limit.
    #[error("the headers take {got} bytes, the limit is {limit}")]
    HeadersTooLarge { got: usize, limit: usize },
    /// The chain of messages sent while handling messages is too long.
    #[error("this message stands at causal depth {depth}, the limit is {limit}: agents seem to answer each other in a loop")]
    TooDeep { depth: u16, limit: u16 },
    /// The message in whose handling this one is sent may cause no more.
    #[error(
        "the message that led to this one may cause no other: its budget is spent, so agents seem to answer each other in a loop"
    )]
    BudgetSpent,
    /// The token names nothing that is still open.
    #[error("this {what} is over already")]
    NotOpen { what: &'static str },
    /// The agent may not do this.
    #[error("this agent's certificate does not include the right to {right}: ask whoever invited it")]
    NotPermitted { right: &'static str },
    /// The invite can't be made.
    #[error(transparent)]
    Invite(#[from] super::admission::InviteError),
    /// The settings are wrong.
    #[error("{0}")]
    Invalid(String),
    /// The agent is closed.
    #[error("the agent is closed")]
    Closed,
}

/// Why a link is not up. All but the fatal ones are tried again.
#[derive(Clone, Debug, Error, PartialEq, Eq)]
#[non_exhaustive]
pub enum LinkError {
    /// The connection could not be made; the shell says why.
    #[error("{text}")]
    Connect { kind: ConnectFailure, text: String },
    /// The connection ended.
    #[error("the connection to the switchboard ended: {0}")]
    Lost(String),
    /// The switchboard refused the link.
    #[error("the switchboard refused the link ({code:?}): {text}")]
    Rejected { code: RejectCode, text: String },
    /// The switchboard said something that it may not say.
    #[error("the switchboard broke the protocol: {0}")]
    Protocol(String),
    /// No answer in time.
    #[error("the switchboard did not answer within {0:?}")]
    Silent(Duration),
    /// The path to the switchboard is gone.
    #[error("the network under the link changed")]
    NetworkChanged,
    /// The switchboard goes down.
    #[error("the switchboard is shutting down")]
    ShuttingDown,
    /// A mailbox for an invite could not be opened.
    #[error("the switchboard has no room for another invite of this agent: revoke one first")]
    MailboxRefused,
    /// A slot for a code could not be opened.
    #[error("the switchboard has no number left for another code: revoke one first, or try again in some minutes")]
    SlotRefused,
}

/// What kind of failure ended an attempt to connect; the shell's `kind` decides which exception users see.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ConnectFailure {
    /// The name could not be resolved.
    Name,
    /// Nobody listens there, or the network doesn't lead there.
    Unreachable,
    /// It didn't answer in time.
    TimedOut,
    /// Its certificate is not vouched for.
    Untrusted,
    /// TLS failed otherwise.
    Tls,
    /// It speaks, but isn't a switchboard.
    NotASwitchboard,
    /// The proxy on the way doesn't lead there.
    Proxy,
}

/// Why an agent file doesn't make an agent a member again.
#[derive(Clone, Debug, Error, PartialEq, Eq)]
#[non_exhaustive]
pub enum ResumeError {
    /// The caller's fault.
    #[error("the agent in this file is called {file:?}, not {given:?}: give its name, or another file")]
    Name { file: String, given: String },
    /// It was never admitted: an invite helps.
    #[error("the agent in this file has not joined a swarm yet: it needs an invite")]
    NoMembership,
    /// Nobody renewed it in time: a new invite helps.
    #[error(
        "the membership in this file expired {expiry} ms after 1970, because no admin was there to renew it: join anew, with a new invite and the same file"
    )]
    Expired { expiry: u64 },
    /// The caller's fault.
    #[error(
        "the agent in this file is a member of swarm {file}, and the invite is for {given}: leave the invite out, or use another file"
    )]
    OtherSwarm { file: FounderId, given: FounderId },
    /// The file was put together of several, or isn't what an agent wrote.
    #[error("the {what} in this file belongs to another agent or swarm")]
    Mismatch { what: &'static str },
    /// Likewise.
    #[error("the certificate in this file is not good: {0}")]
    Certificate(#[from] CertificateError),
    /// The settings are wrong: the caller's fault.
    #[error(transparent)]
    Settings(#[from] SendError),
}

/// Why an invite could not be used.
#[derive(Clone, Debug, Error, PartialEq, Eq)]
#[non_exhaustive]
pub enum AdmissionError {
    /// Not known at the switchboard.
    #[error(
        "this invite is not known at the switchboard: it expired or was revoked, its issuer is not linked at present, or it belongs to another switchboard"
    )]
    Unknown,
    /// All its uses are used up.
    #[error("this invite was used already: ask for a new one")]
    UsedUp,
    /// Too late.
    #[error("this invite has expired: ask for a new one")]
    Expired,
    /// Taken back.
    #[error("this invite was revoked by its issuer")]
    Revoked,
    /// The words of a code are wrong.
    #[error("the words of the code are wrong, or somebody interfered; the code can't be used any more: ask for a new one")]
    WrongCode,
    /// A code that is over.
    #[error(
        "this code can't be used any more: it was used, expired or revoked, or somebody tried wrong words; ask for a new one"
    )]
    Closed,
    /// The certificate that the switchboard showed here isn't the one that the inviter knows.
    #[error(
        "the certificate seen here is not that of the inviter's switchboard: the address leads to another one, or somebody stands between"
    )]
    Untrusted,
    /// The issuer says no.
    #[error("the issuer refused: {0}")]
    Refused(String),
    /// The issuer's answer doesn't verify.
    #[error("the answer to the invite does not verify: the invite was forged, or somebody interferes")]
    Forged,
    /// The link could not be had.
    #[error(transparent)]
    Link(#[from] LinkError),
}

/// Why a large body that was coming in is not whole, and won't be.
#[derive(Clone, Debug, Error, PartialEq, Eq)]
#[non_exhaustive]
pub enum BodyError {
    /// The sender says why.
    #[error("the sender gave up the body: {0}")]
    GivenUp(String),
    /// The sender's process is another one, which may send it anew.
    #[error("the sender was restarted before it had sent the whole body")]
    SenderRestarted,
    /// The sender said goodbye, or its identity ended.
    #[error("the sender left before it had sent the whole body")]
    SenderGone,
    /// A part expired at its sender.
    #[error("a part of the body expired before it was delivered")]
    Expired,
    /// Nothing more came within the message's time to live.
    #[error("nothing more of the body came for {0:?}")]
    Stalled(Duration),
    /// The sender's fault.
    #[error("the body has {got} bytes, and {expected} were announced")]
    WrongLength { expected: u64, got: u64 },
    /// The sender's fault.
    #[error("the digest of the body is wrong")]
    WrongDigest,
    /// The sender's fault.
    #[error("the body is longer than {limit} bytes")]
    TooLong { limit: u64 },
    /// The sender's fault.
    #[error("the end of the body can't be read")]
    Malformed,
}

/// Why a call ended without an answer.
#[derive(Clone, Debug, Error, PartialEq, Eq)]
#[non_exhaustive]
pub enum CallError {
    /// The worker said no, or its handler failed.
    #[error("{text}")]
    Refused { code: RefusalCode, type_name: String, text: String, retry_after: Duration },
    /// The peer went away.
    #[error("peer {0} is gone: its link is down, or it said goodbye")]
    PeerGone(AgentId),
    /// The worker shows no sign of life.
    #[error("peer {peer} has shown no sign of working on this call for {silent:?}")]
    Lapsed { peer: AgentId, silent: Duration },
    /// No progress within the caller's own limit.
    #[error("no progress within {0:?}")]
    NoProgress(Duration),
    /// The caller's own limit.
    #[error("no answer within {0:?}")]
    TimedOut(Duration),
    /// The request was worth delivering only so long.
    #[error("the request could not be confirmed as delivered within its time to live")]
    Expired,
    /// The agent closed.
    #[error("the agent was closed")]
    Closed,
}
