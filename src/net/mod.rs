//! The I/O shell: sockets, TLS, WebSocket, timers and tasks that feed the state machines and obey them.
//!
//! Nothing here decides anything about the protocol. What a link may do, which order frames take, when a link has lasted
//! long enough: all of that is the sans-IO layers' business. What is decided here is how bytes reach them: how many
//! system calls and wake-ups a frame costs, which certificate is believed, how long a socket may stand still.
//!
//! - [`address`]: `wss://host:port#pin`, and what may stand after `--listen`
//! - [`tls`]: certificates, keys and pins of both sides
//! - [`ws`]: one established link as a [`ws::Connection`] of binary frames, the same for client and switchboard
//! - [`dial`]: from the name of a switchboard to a TCP connection (feature `client`); [`proxy`]: HTTP proxies on that way
//! - [`probe`]: what can be seen on the way to a switchboard, for whoever looks for what is wrong on it (feature `client`)
//! - [`client`]: the task of an agent (feature `client`); [`agent_file`]: what outlives it, on disk
//! - [`server`]: the switchboard's tasks (feature `server`)
//! - [`os`]: calls that differ between operating systems, each with a portable fallback

pub mod address;
#[cfg(feature = "client")]
pub mod agent_file;
#[cfg(feature = "client")]
pub mod client;
#[cfg(feature = "client")]
pub mod dial;
mod error;
pub mod os;
#[cfg(feature = "client")]
pub mod probe;
#[cfg(feature = "client")]
pub mod proxy;
#[cfg(feature = "server")]
pub mod server;
pub mod tls;
pub mod ws;

pub use error::Error;
