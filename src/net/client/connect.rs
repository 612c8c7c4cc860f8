//! From the addresses of a switchboard to one connection.

use std::future::Future;
use std::pin::Pin;
use std::time::Duration;

use futures_util::StreamExt;
use futures_util::stream::FuturesUnordered;

use crate::net::Error;
use crate::net::address::Address;
use crate::net::tls::Trust;
use crate::net::ws::{self, Connection};

/// Head start of each address before the next one is tried beside it. RFC 8305 section 8.
const HEAD_START: Duration = Duration::from_millis(250);

/// A connection on its way, with the address that won.
pub(super) type Connecting = Pin<Box<dyn Future<Output = Result<(Address, Connection), Error>> + Send>>;

/// Connects to whichever of `addresses` answers first; the attempts at the others are dropped.
///
/// When all fail, the error is the one that says most.
pub(super) fn connect_any(addresses: Vec<Address>, trust: Trust) -> Connecting {
    Box::pin(async move {
        let attempt = |(position, address): (u32, Address)| {
            let trust = trust.clone();
            async move {
                tokio::time::sleep(HEAD_START * position).await;
                let connection = ws::connect(&address, &trust).await?;
                Ok((address, connection))
            }
        };
        let mut attempts: FuturesUnordered<_> = (0..).zip(addresses).map(attempt).collect();
        let mut failure = Error::NoAddress;
        while let Some(outcome) = attempts.next().await {
            match outcome {
                Ok(connected) => return Ok(connected),
                Err(error) if telling(&error) > telling(&failure) => failure = error,
                Err(_) => {}
            }
        }
        Err(failure)
    })
}

/// Ranks errors by how much they say about what the user has to change.
fn telling(error: &Error) -> u8 {
    match error {
        Error::UntrustedSwitchboard { .. } => 5,
        Error::NotASwitchboard { .. } | Error::Tls { .. } => 4,
        Error::Unreachable { .. } | Error::TimedOut { .. } => 3,
        Error::Resolve { .. } => 2,
        Error::NoAddress => 0,
        _ => 1,
    }
}
