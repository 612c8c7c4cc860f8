//! What users see of an error: which class of `a2alinker.exceptions`, with which attributes.
//!
//! The classes are written in Python, where users read them, and are imported when the first one is raised; `code` and `retryable` are
//! theirs. One function, [`Face::of`], holds the whole mapping.

use std::io;
use std::path::{Path, PathBuf};
use std::time::Duration;

use pyo3::prelude::*;
use pyo3::sync::PyOnceLock;
use pyo3::types::{PyDict, PyModule};

use super::body::{DecodeError, EncodeError};
use crate::agent::admission::InviteError;
use crate::agent::{
    AdmissionError, BodyError, Burnt, CallError, CloseReason, ConnectFailure, LinkError, RefusalCode, ResumeError, SendError,
};
use crate::crypto::InvitedError;
use crate::net;
use crate::net::agent_file::AgentFileProblem;
use crate::net::proxy::ProxyProblem;
use crate::proto::{AgentId, RejectCode};

/// Everything that this module can raise or report.
#[derive(Debug)]
pub(super) enum Error {
    /// The process was forked from the one in which the runtime's threads are.
    Forked,
    /// The operating system refuses what every agent needs: threads, descriptors, random bytes.
    System(io::Error),
    /// An argument from Python can't be used.
    Argument(String),
    /// The application's value can't be sent.
    Encode(EncodeError),
    /// What was received is no body.
    Decode(DecodeError),
    /// The text is neither a code nor a ticket.
    Invited(InvitedError),
    /// A code is over before its time.
    Burnt(Burnt),
    /// The agent refuses a command.
    Send(SendError),
    /// The link is not up.
    Link(LinkError),
    /// The shell failed: sockets, certificates, addresses.
    Net(net::Error),
    /// An agent file can be read, and doesn't make this agent a member.
    Resume { path: PathBuf, error: ResumeError },
    /// A large body that came in isn't whole.
    Body(BodyError),
    /// A call ended without an answer.
    Call(CallError),
    /// The agent ended by itself.
    Closed(CloseReason),
}

macro_rules! error_from {
    ($($variant:ident($source:ty)),* $(,)?) => {$(
        impl From<$source> for Error {
            fn from(error: $source) -> Self {
                Self::$variant(error)
            }
        }
    )*};
}

error_from! {
    Encode(EncodeError), Decode(DecodeError), Invited(InvitedError), Send(SendError), Link(LinkError), Net(net::Error), Call(CallError),
    Closed(CloseReason),
}

impl From<Error> for PyErr {
    fn from(mut error: Error) -> Self {
        let cause = match &mut error {
            Error::Encode(error) => error.take_cause(),
            _ => None,
        };
        Python::attach(|py| {
            let raised = Face::of(&error).raise(py).unwrap_or_else(|failure| failure);
            if cause.is_some() {
                raised.set_cause(py, cause);
            }
            raised
        })
    }
}

/// The class, text and attributes of an exception.
struct Face {
    class: &'static str,
    text: String,
    attributes: Vec<(&'static str, Attribute)>,
}

enum Attribute {
    Text(String),
    Seconds(f64),
}

impl Face {
    fn of(error: &Error) -> Self {
        match error {
            Error::Forked => Self::new("Forked", ""),
            Error::System(error) => Self::new("LinkError", format!("the operating system refuses what a link needs: {error}")),
            Error::Argument(text) => Self::new("ConfigurationError", text),
            Error::Encode(error) => Self::new("BodyError", error),
            Error::Decode(error) => Self::new("ProtocolError", error),
            Error::Invited(error) => Self::new("InviteDamaged", error),
            Error::Burnt(why) => Self::new("InviteBurnt", why),
            Error::Send(error) => Self::of_send_error(error),
            Error::Link(error) => Self::of_link_error(error),
            Error::Net(error) => Self::of_net_error(error),
            Error::Resume { path, error } => Self::of_resume_error(path, error),
            Error::Body(error) => Self::of_body_error(error),
            Error::Call(error) => Self::of_call_error(error),
            Error::Closed(CloseReason::Admission(error)) => Self::of_admission_error(error),
            Error::Closed(CloseReason::Replaced) => Self::new("LinkReplaced", ""),
            Error::Closed(CloseReason::Refused(error)) => Self::of_link_error(error),
        }
    }

    fn of_send_error(error: &SendError) -> Self {
        match error {
            SendError::OutboxFull { .. } => Self::new("OutboxFull", error),
            SendError::PeerUnknown(peer) => Self::new("PeerUnknown", error).with_peer(peer),
            SendError::SkillUnknown(skill) => Self::new("SkillUnknown", error).with_text("skill", skill),
            SendError::BodyTooLarge { .. } | SendError::HeadersTooLarge { .. } => Self::new("BodyError", error),
            SendError::TooDeep { .. } | SendError::BudgetSpent => Self::new("TooDeep", error),
            SendError::NotOpen { .. } => Self::new("UsageError", error),
            SendError::NotPermitted { .. } => Self::new("NotPermitted", error),
            SendError::Invite(InviteError::NotPermitted { .. }) => Self::new("NotPermitted", error),
            SendError::Invite(_) | SendError::Invalid(_) => Self::new("ConfigurationError", error),
            SendError::Closed => Self::new("AgentClosed", error),
        }
    }

    fn of_link_error(error: &LinkError) -> Self {
        match error {
            LinkError::Connect { kind, .. } => match kind {
                ConnectFailure::Name | ConnectFailure::Unreachable | ConnectFailure::TimedOut => {
                    Self::new("SwitchboardUnreachable", error)
                }
                ConnectFailure::Untrusted => Self::new("UntrustedSwitchboard", error),
                ConnectFailure::Tls | ConnectFailure::NotASwitchboard => Self::new("ProtocolError", error),
                ConnectFailure::Proxy => Self::new("ProxyRefused", error),
            },
            LinkError::Lost(_) | LinkError::Silent(_) | LinkError::NetworkChanged | LinkError::ShuttingDown => {
                Self::new("LinkClosed", error)
            }
            LinkError::Rejected { code: RejectCode::UnknownMailbox, .. } => Self::new("InviteUnknown", error),
            LinkError::Rejected { code: RejectCode::CertificateExpired, .. } => Self::new("CertificateExpired", error),
            LinkError::Rejected { code, .. } => Self::new("SwitchboardRefused", error).with_text("reason", word_for(*code)),
            LinkError::Protocol(_) => Self::new("ProtocolError", error),
            LinkError::MailboxRefused | LinkError::SlotRefused => {
                Self::new("SwitchboardRefused", error).with_text("reason", word_for(RejectCode::Full))
            }
        }
    }

    fn of_net_error(error: &net::Error) -> Self {
        match error {
            net::Error::Resolve { address, .. }
            | net::Error::Unreachable { address, .. }
            | net::Error::TimedOut { address, .. } => Self::new("SwitchboardUnreachable", error).with_text("address", address),
            net::Error::UntrustedSwitchboard { address, seen, expected, .. } => {
                let expected = expected.map(|pin| pin.to_string()).unwrap_or_default();
                Self::new("UntrustedSwitchboard", error)
                    .with_text("address", address)
                    .with_text("pin", seen)
                    .with_text("expected", expected)
            }
            net::Error::Proxy { proxy, problem } => match problem {
                ProxyProblem::Unusable(_) => Self::new("ConfigurationError", error),
                ProxyProblem::Unreachable(_)
                | ProxyProblem::TimedOut(_)
                | ProxyProblem::Upstream { .. }
                | ProxyProblem::Closed(_) => Self::new("SwitchboardUnreachable", error).with_text("address", proxy),
                ProxyProblem::AuthenticationNeeded
                | ProxyProblem::AuthenticationRefused
                | ProxyProblem::Refused { .. }
                | ProxyProblem::NotHttp(_) => Self::new("ProxyRefused", error).with_text("proxy", proxy),
            },
            net::Error::Tls { .. } | net::Error::NotASwitchboard { .. } | net::Error::Transport { .. } => {
                Self::new("ProtocolError", error)
            }
            net::Error::Lost { .. } | net::Error::Closed | net::Error::Silent { .. } => Self::new("LinkClosed", error),
            net::Error::Listen { listen, .. } | net::Error::PortInUse { listen } => {
                Self::new("PortInUse", error).with_text("address", listen)
            }
            net::Error::AgentFile { path, .. } => Self::new("IdentityFileError", error).with_text("path", path.display()),
            net::Error::Address { .. }
            | net::Error::NoAddress
            | net::Error::PlainOffLoopback { .. }
            | net::Error::KeyFile { .. }
            | net::Error::Certificate { .. } => Self::new("ConfigurationError", error),
        }
    }

    fn of_resume_error(path: &Path, error: &ResumeError) -> Self {
        let text = format!("{}: {error}", path.display());
        match error {
            ResumeError::Settings(error) => Self::of_send_error(error),
            ResumeError::Expired { .. } => Self::new("CertificateExpired", text),
            _ => Self::new("IdentityFileError", text).with_text("path", path.display()),
        }
    }

    fn of_admission_error(error: &AdmissionError) -> Self {
        match error {
            AdmissionError::Unknown => Self::new("InviteUnknown", error),
            AdmissionError::UsedUp => Self::new("InviteUsed", error),
            AdmissionError::WrongCode => Self::new("InviteWrong", error),
            AdmissionError::Closed => Self::new("InviteUsed", error),
            AdmissionError::Untrusted => Self::new("UntrustedSwitchboard", error),
            AdmissionError::Expired => Self::new("InviteExpired", error),
            AdmissionError::Revoked => Self::new("InviteRevoked", error),
            AdmissionError::Refused(_) => Self::new("InviteError", error),
            AdmissionError::Forged => Self::new("AuthenticationFailed", error),
            AdmissionError::Link(error) => Self::of_link_error(error),
        }
    }

    fn of_body_error(error: &BodyError) -> Self {
        match error {
            BodyError::GivenUp(_)
            | BodyError::SenderRestarted
            | BodyError::SenderGone
            | BodyError::Expired
            | BodyError::Stalled(_) => Self::new("BodyLost", error),
            BodyError::WrongLength { .. } | BodyError::WrongDigest | BodyError::TooLong { .. } | BodyError::Malformed => {
                Self::new("BodyDamaged", error)
            }
        }
    }

    fn of_call_error(error: &CallError) -> Self {
        match error {
            CallError::Refused { code, type_name, retry_after, .. } => Self::of_refusal(*code, error, type_name, *retry_after),
            CallError::PeerGone(peer) => Self::new("PeerGone", error).with_peer(peer),
            CallError::Lapsed { .. } | CallError::NoProgress(_) => Self::new("CallLapsed", error),
            CallError::TimedOut(_) => Self::new("CallTimeout", error),
            CallError::Expired => Self::new("Expired", error),
            CallError::Closed => Self::new("AgentClosed", error),
        }
    }

    fn of_refusal(code: RefusalCode, error: &CallError, type_name: &str, retry_after: Duration) -> Self {
        match code {
            RefusalCode::Application | RefusalCode::Unknown(_) => {
                Self::new("CallRefused", error).with_seconds("retry_after", retry_after)
            }
            RefusalCode::Unsupported => Self::new("Unsupported", error),
            RefusalCode::Expired => Self::new("Expired", error),
            RefusalCode::Busy => Self::new("PeerBusy", error).with_seconds("retry_after", retry_after),
            RefusalCode::SkillUnknown => Self::new("SkillUnknown", error),
            RefusalCode::BadArguments => Self::new("BadArguments", error),
            RefusalCode::NotPermitted => Self::new("NotPermitted", error),
            RefusalCode::Cancelled => Self::new("CallCancelled", error),
            RefusalCode::HandlerError => Self::new("RemoteError", error).with_text("type", type_name),
            RefusalCode::Lapsed => Self::new("CallLapsed", error),
            RefusalCode::TooDeep => Self::new("TooDeep", error),
            RefusalCode::ResultNotConvertible => Self::new("BadAnswer", error),
        }
    }

    fn new(class: &'static str, text: impl ToString) -> Self {
        Self { class, text: text.to_string(), attributes: Vec::new() }
    }

    fn with_text(mut self, name: &'static str, value: impl ToString) -> Self {
        self.attributes.push((name, Attribute::Text(value.to_string())));
        self
    }

    fn with_seconds(mut self, name: &'static str, value: Duration) -> Self {
        self.attributes.push((name, Attribute::Seconds(value.as_secs_f64())));
        self
    }

    fn with_peer(self, peer: &AgentId) -> Self {
        self.with_text("peer", peer)
    }

    fn raise(self, py: Python<'_>) -> PyResult<PyErr> {
        static EXCEPTIONS: PyOnceLock<Py<PyModule>> = PyOnceLock::new();
        let module = EXCEPTIONS.get_or_try_init(py, || py.import("a2alinker.exceptions").map(Bound::unbind))?;
        let attributes = PyDict::new(py);
        for (name, value) in self.attributes {
            match value {
                Attribute::Text(text) => attributes.set_item(name, text)?,
                Attribute::Seconds(seconds) => attributes.set_item(name, seconds)?,
            }
        }
        let class = module.bind(py).getattr(self.class)?;
        class.call((self.text,), Some(&attributes)).map(PyErr::from_value)
    }
}

/// The switchboard's word for its reason.
fn word_for(code: RejectCode) -> &'static str {
    match code {
        RejectCode::Version => "version",
        RejectCode::Authentication => "authentication",
        RejectCode::CertificateExpired => "certificate expired",
        RejectCode::CertificateChain => "certificate chain",
        RejectCode::UnknownMailbox => "unknown mailbox",
        RejectCode::Full => "full",
        RejectCode::Rate => "rate",
        RejectCode::ShuttingDown => "shutting down",
        RejectCode::Malformed => "malformed",
        RejectCode::TooSlow => "too slow",
        RejectCode::Binding => "binding",
        RejectCode::Unknown(_) => "unknown",
    }
}

/// Returns one exception for each error that can be told from others by its class or attributes, for the tests.
#[pyfunction]
pub(super) fn _error_samples() -> Vec<PyErr> {
    samples().into_iter().map(PyErr::from).collect()
}

fn samples() -> Vec<Error> {
    use crate::crypto::{CodeError, TicketError};

    let (peer, text, time) = (AgentId::ZERO, || "text".to_owned(), Duration::from_secs(2));
    let io = || io::Error::from(io::ErrorKind::Other);
    let refusals = (0..=12).map(|code| CallError::Refused {
        code: RefusalCode::from(code),
        type_name: "ValueError".to_owned(),
        text: text(),
        retry_after: time,
    });
    let rejections = (0..=11).map(|code| LinkError::Rejected { code: RejectCode::from_byte(code), text: text() });
    let connects = [
        ConnectFailure::Name,
        ConnectFailure::Unreachable,
        ConnectFailure::TimedOut,
        ConnectFailure::Untrusted,
        ConnectFailure::Tls,
        ConnectFailure::NotASwitchboard,
        ConnectFailure::Proxy,
    ];
    let links = [
        LinkError::Lost(text()),
        LinkError::Protocol(text()),
        LinkError::Silent(time),
        LinkError::NetworkChanged,
        LinkError::ShuttingDown,
        LinkError::MailboxRefused,
        LinkError::SlotRefused,
    ];
    let admissions = [
        AdmissionError::Unknown,
        AdmissionError::UsedUp,
        AdmissionError::WrongCode,
        AdmissionError::Closed,
        AdmissionError::Untrusted,
        AdmissionError::Expired,
        AdmissionError::Revoked,
        AdmissionError::Refused(text()),
        AdmissionError::Forged,
        AdmissionError::Link(LinkError::ShuttingDown),
    ];
    let sends = [
        SendError::OutboxFull { messages: 1, bytes: 2 },
        SendError::PeerUnknown(peer),
        SendError::SkillUnknown(text()),
        SendError::BodyTooLarge { got: 2, limit: 1 },
        SendError::HeadersTooLarge { got: 2, limit: 1 },
        SendError::TooDeep { depth: 65, limit: 64 },
        SendError::BudgetSpent,
        SendError::NotOpen { what: "request" },
        SendError::NotPermitted { right: "admit" },
        SendError::Invite(InviteError::NotPermitted { right: "admit" }),
        SendError::Invite(InviteError::TooMany),
        SendError::Invite(InviteError::CodeTerms),
        SendError::Invalid(text()),
        SendError::Closed,
    ];
    let bodies = [
        BodyError::GivenUp(text()),
        BodyError::SenderRestarted,
        BodyError::SenderGone,
        BodyError::Expired,
        BodyError::Stalled(time),
        BodyError::WrongLength { expected: 1, got: 2 },
        BodyError::WrongDigest,
        BodyError::TooLong { limit: 1 },
        BodyError::Malformed,
    ];
    let calls = [
        CallError::PeerGone(peer),
        CallError::Lapsed { peer, silent: time },
        CallError::NoProgress(time),
        CallError::TimedOut(time),
        CallError::Expired,
        CallError::Closed,
    ];
    let nets = [
        net::Error::Address { text: text(), problem: "problem" },
        net::Error::NoAddress,
        net::Error::Resolve { address: text(), source: io() },
        net::Error::Unreachable { address: text(), source: io() },
        net::Error::TimedOut { address: text(), limit: time },
        net::Error::UntrustedSwitchboard {
            address: text(),
            seen: net::address::Pin::from_bytes([0; 32]),
            expected: None,
            reason: text(),
        },
        net::Error::Tls { address: text(), reason: text() },
        net::Error::NotASwitchboard { address: text(), reason: text() },
        net::Error::Transport { reason: text() },
        net::Error::Lost { source: io() },
        net::Error::Closed,
        net::Error::Silent { limit: time },
        net::Error::Listen { listen: text(), source: io() },
        net::Error::PortInUse { listen: text() },
        net::Error::PlainOffLoopback { listen: text() },
        net::Error::KeyFile { path: text().into(), problem: text() },
        net::Error::Certificate { reason: text() },
        net::Error::AgentFile { path: text().into(), problem: AgentFileProblem::NoFolder },
    ];
    let proxies = [
        ProxyProblem::Unusable("problem"),
        ProxyProblem::Unreachable(io()),
        ProxyProblem::TimedOut(time),
        ProxyProblem::AuthenticationNeeded,
        ProxyProblem::AuthenticationRefused,
        ProxyProblem::Refused { address: text(), status: 403, words: text() },
        ProxyProblem::Upstream { address: text(), status: 502, words: text() },
        ProxyProblem::Closed(io()),
        ProxyProblem::NotHttp("problem"),
    ];
    let proxies = proxies.map(|problem| net::Error::Proxy { proxy: text(), problem });
    let plain = [
        Error::Forked,
        Error::System(io()),
        Error::Argument(text()),
        Error::Decode(DecodeError { what: "what", offset: 0 }),
        Error::Invited(TicketError::Damaged.into()),
        Error::Invited(CodeError::NotACode.into()),
        Error::Invited(InvitedError::Neither),
        Error::Burnt(Burnt::WrongWords),
        Error::Resume { path: text().into(), error: ResumeError::NoMembership },
        Error::Resume { path: text().into(), error: ResumeError::Expired { expiry: 0 } },
        Error::Closed(CloseReason::Replaced),
        Error::Closed(CloseReason::Refused(LinkError::ShuttingDown)),
    ];
    let connects = connects.map(|kind| LinkError::Connect { kind, text: text() });
    let links = links.into_iter().chain(connects).chain(rejections);
    (plain.into_iter())
        .chain(sends.map(Error::from))
        .chain(bodies.map(Error::Body))
        .chain(calls.into_iter().chain(refusals).map(Error::from))
        .chain(links.map(Error::from))
        .chain(nets.into_iter().chain(proxies).map(Error::from))
        .chain(admissions.map(|error| Error::Closed(CloseReason::Admission(error))))
        .collect()
}
