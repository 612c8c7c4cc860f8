//! From the addresses of a switchboard to one connection.

use std::future::Future;
use std::pin::Pin;

use crate::net::Error;
use crate::net::address::Address;
use crate::net::dial::{Outbound, race};
use crate::net::proxy::ProxyProblem;
use crate::net::tls::Acceptance;
use crate::net::ws::{self, Connection};

/// A connection on its way, with the address that won.
pub(super) type Connecting = Pin<Box<dyn Future<Output = Result<(Address, Connection), Error>> + Send>>;

/// Connects to whichever of `addresses` answers first, each having a head start over the next; the attempts at the others are dropped.
///
/// When all fail, the error is the one that says most.
pub(super) fn connect_any(addresses: Vec<Address>, outbound: Outbound, acceptance: Acceptance) -> Connecting {
    Box::pin(async move {
        let outbound = &outbound;
        let attempt = |address: Address| async move {
            let connection = ws::connect(&address, outbound, acceptance).await?;
            Ok((address, connection))
        };
        race(addresses, attempt).await.map_err(|failures: Vec<Error>| {
            // Of those that say as much as each other the first counts, as the addresses are in the order of preference.
            failures.into_iter().rev().max_by_key(telling).unwrap_or(Error::NoAddress)
        })
    })
}

/// Ranks errors by how much they say about what the user has to change.
fn telling(error: &Error) -> u8 {
    match error {
        Error::UntrustedSwitchboard { .. } => 5,
        Error::Proxy { problem: ProxyProblem::Unreachable(_) | ProxyProblem::TimedOut(_), .. } => 3,
        Error::NotASwitchboard { .. } | Error::Tls { .. } | Error::Proxy { .. } => 4,
        Error::Unreachable { .. } | Error::TimedOut { .. } => 3,
        Error::Resolve { .. } => 2,
        Error::NoAddress => 0,
        _ => 1,
    }
}
