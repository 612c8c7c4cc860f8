//! What can go wrong between two sockets, in words that say what to do about it.

use std::io;
use std::path::PathBuf;
use std::time::Duration;

use super::address::Pin;
#[cfg(feature = "client")]
use super::{agent_file::AgentFileProblem, proxy::ProxyProblem};

/// A failure of the shell: addresses, sockets, certificates, WebSocket.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// The caller wrote an address that can't be used. Not retryable.
    #[error("`{text}` is not a switchboard address: {problem}")]
    Address { text: String, problem: &'static str },
    /// There is nothing to connect to. The caller's to change.
    #[error("there is no address of a switchboard to connect to")]
    NoAddress,
    /// The name of the switchboard could not be resolved. Retryable: the network may be down.
    #[error("the name of the switchboard {address} could not be resolved: {source}")]
    Resolve { address: String, source: io::Error },
    /// Nobody answers at the address. Retryable.
    #[error("the switchboard {address} can't be reached: {source}")]
    Unreachable { address: String, source: io::Error },
    /// The environment names a proxy for this address, and it doesn't lead there; `problem` tells whether a retry is sensible.
    #[cfg(feature = "client")]
    #[error("the proxy {proxy} {problem}")]
    Proxy { proxy: String, problem: ProxyProblem },
    /// The other side stopped answering before the link was up. Retryable.
    #[error("the switchboard {address} did not answer within {limit:?}")]
    TimedOut { address: String, limit: Duration },
    /// Neither the system's roots nor the pin vouch for the certificate. Not retryable.
    #[error(
        "the certificate of {address} is not trusted ({reason}); its pin is {seen}. If that is the pin which the operator of the switchboard \
         gave you, use the address {address}#{seen}"
    )]
    UntrustedSwitchboard { address: String, seen: Pin, expected: Option<Pin>, reason: String },
    /// TLS failed for another reason than trust, for instance because the port speaks plain text. Not retryable.
    #[error("no TLS connection to {address}: {reason}")]
    Tls { address: String, reason: String },
    /// Something answers, but it isn't a switchboard. Not retryable.
    #[error("{address} does not answer like a switchboard: {reason}")]
    NotASwitchboard { address: String, reason: String },
    /// The other side broke the rules of WebSocket or sent what isn't a frame. Retryable with a new link.
    #[error("the link broke the transport's rules: {reason}")]
    Transport { reason: String },
    /// The other side closed the connection. Retryable with a new link.
    #[error("the switchboard closed the connection")]
    Closed,
    /// The link is gone. Retryable with a new link.
    #[error("the link was lost: {source}")]
    Lost { source: io::Error },
    /// The other side has been silent for too long. Retryable with a new link.
    #[error("nothing was heard on the link for {limit:?}")]
    Silent { limit: Duration },
    /// The switchboard can't listen where it was told to.
    #[error("can't listen on {listen}: {source}")]
    Listen { listen: String, source: io::Error },
    /// Another process listens there. The caller's to change.
    #[error("can't listen on {listen}: another process does. Choose another port, or port 0 for any free one")]
    PortInUse { listen: String },
    /// Plain `ws://` was asked for on an address that others can reach, but not by name.
    #[error("{listen} can be reached from other machines: plain ws:// there must be asked for by name (--plain)")]
    PlainOffLoopback { listen: String },
    /// A key or certificate file can't be used. The caller's to change.
    #[error("{}: {problem}", path.display())]
    KeyFile { path: PathBuf, problem: String },
    /// An agent file can't be read or written. The caller's to change.
    #[cfg(feature = "client")]
    #[error("{}: {problem}", path.display())]
    AgentFile { path: PathBuf, problem: AgentFileProblem },
    /// A certificate or TLS configuration could not be made from the given keys.
    #[error("the certificate or its key can't be used: {reason}")]
    Certificate { reason: String },
}
