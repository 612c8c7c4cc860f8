//! From the name of a switchboard to a TCP connection that leads there, directly or through a proxy.
//!
//! Names may stand for several addresses of which some lead nowhere. So they are tried one after another, each with a head start over the
//! next and IPv6 and IPv4 in turn (Happy Eyeballs, RFC 8305): a family that swallows packets costs a quarter of a second.

use std::future::Future;
use std::io;
use std::net::SocketAddr;
use std::time::Duration;

use futures_util::StreamExt;
use futures_util::stream::FuturesUnordered;
use tokio::net::{TcpStream, lookup_host};

use super::address::Address;
use super::proxy::{Proxies, ProxyProblem};
use super::tls::Trust;
use super::{Error, os};

/// Head start of each attempt before the next one begins beside it. RFC 8305 section 8.
const HEAD_START: Duration = Duration::from_millis(250);

/// How an agent gets out: whom it believes, and through which proxies it goes.
#[derive(Clone, Debug, Default)]
pub struct Outbound {
    /// The certificate authorities that it believes.
    pub trust: Trust,
    /// The proxies of its environment.
    pub proxies: Proxies,
}

/// Connects to the switchboard at `address`, without a word to it.
pub(super) async fn dial(address: &Address, proxies: &Proxies) -> Result<TcpStream, Error> {
    let Some(proxy) = proxies.for_address(address)? else {
        let shown = address.without_pin();
        return connect(&address.host, address.port).await.map_err(|failure| match failure {
            Failure::Resolve(source) => Error::Resolve { address: shown, source },
            Failure::Connect(source) => Error::Unreachable { address: shown, source },
        });
    };
    let refuse = |problem| Error::Proxy { proxy: proxy.to_string(), problem };
    let mut stream = connect(&proxy.host, proxy.port).await.map_err(|failure| match failure {
        Failure::Resolve(source) | Failure::Connect(source) => refuse(ProxyProblem::Unreachable(source)),
    })?;
    proxy.open_tunnel(&mut stream, address).await.map_err(refuse)?;
    Ok(stream)
}

enum Failure {
    Resolve(io::Error),
    Connect(io::Error),
}

async fn connect(host: &str, port: u16) -> Result<TcpStream, Failure> {
    let addresses = in_turn(lookup_host((host, port)).await.map_err(Failure::Resolve)?.collect());
    let attempt = |address: SocketAddr| async move {
        let stream = TcpStream::connect(address).await?;
        os::prepare_outbound(&stream)?;
        Ok::<_, io::Error>(stream)
    };
    // The first failure is that of the address which the system prefers.
    race(addresses, attempt).await.map_err(|failures| {
        let none = || io::Error::new(io::ErrorKind::NotFound, "the name stands for no address");
        Failure::Connect(failures.into_iter().next().unwrap_or_else(none))
    })
}

/// Orders addresses so that the families take turns, beginning with that of the first (RFC 8305 section 4).
fn in_turn(addresses: Vec<SocketAddr>) -> Vec<SocketAddr> {
    let Some(leading) = addresses.first().map(SocketAddr::is_ipv6) else { return addresses };
    let (mut leaders, mut others): (Vec<_>, Vec<_>) = addresses.into_iter().partition(|address| address.is_ipv6() == leading);
    let paired = leaders.len().min(others.len());
    let rest = leaders.split_off(paired).into_iter().chain(others.split_off(paired)).collect::<Vec<_>>();
    leaders.into_iter().zip(others).flat_map(|(leader, other)| [leader, other]).chain(rest).collect()
}

/// Attempts `candidates` in their order: the next one begins when one has failed or has had its head start. The first that succeeds wins,
/// and the others are dropped.
///
/// # Errors
/// All failures, in the order in which they came.
pub(super) async fn race<C, F, T, E>(candidates: Vec<C>, attempt: impl Fn(C) -> F) -> Result<T, Vec<E>>
where
    F: Future<Output = Result<T, E>>,
{
    let mut waiting = candidates.into_iter().peekable();
    let mut running = FuturesUnordered::new();
    let mut failures = Vec::new();
    loop {
        if let Some(candidate) = waiting.next() {
            running.push(attempt(candidate));
        }
        let has_next = waiting.peek().is_some();
        let outcome = tokio::select! {
            biased;
            outcome = running.next() => outcome,
            () = tokio::time::sleep(HEAD_START), if has_next => continue,
        };
        match outcome {
            Some(Ok(won)) => return Ok(won),
            Some(Err(failure)) => failures.push(failure),
            None => return Err(failures),
        }
    }
}

#[cfg(test)]
mod tests {
    use tokio::time::Instant;

    use super::*;

    #[test]
    fn families_take_turns_and_the_preferred_one_begins() {
        let address = |text: &str| text.parse::<SocketAddr>().expect(text);
        let resolved = ["[2001:db8::1]:1", "[2001:db8::2]:1", "[2001:db8::3]:1", "192.0.2.1:1"].map(address);
        let ordered = ["[2001:db8::1]:1", "192.0.2.1:1", "[2001:db8::2]:1", "[2001:db8::3]:1"].map(address);
        assert_eq!(in_turn(resolved.to_vec()), ordered);
        let resolved = ["192.0.2.1:1", "192.0.2.2:1", "[2001:db8::1]:1"].map(address);
        assert_eq!(in_turn(resolved.to_vec()), ["192.0.2.1:1", "[2001:db8::1]:1", "192.0.2.2:1"].map(address));
        assert!(in_turn(Vec::new()).is_empty());
    }

    /// An attempt that takes so many milliseconds, and succeeds or fails.
    async fn after((millis, outcome): (u64, Result<u8, u8>)) -> Result<u8, u8> {
        tokio::time::sleep(Duration::from_millis(millis)).await;
        outcome
    }

    #[tokio::test]
    async fn one_that_swallows_packets_costs_its_head_start() {
        let begun = Instant::now();
        assert_eq!(race(vec![(3_600_000, Err(1)), (1, Ok(2))], after).await, Ok(2));
        assert!((HEAD_START..HEAD_START * 2).contains(&begun.elapsed()), "{:?}", begun.elapsed());
    }

    #[tokio::test]
    async fn one_that_fails_costs_nothing_more() {
        let begun = Instant::now();
        assert_eq!(race(vec![(1, Err(1)), (1, Err(2)), (1, Ok(3))], after).await, Ok(3));
        assert!(begun.elapsed() < HEAD_START, "{:?}", begun.elapsed());
    }

    #[tokio::test]
    async fn the_first_to_answer_wins_whichever_began_first() {
        assert_eq!(race(vec![(300, Ok(1)), (3_600_000, Ok(2))], after).await, Ok(1));
        assert_eq!(race(vec![(3_600_000, Ok(1)), (1, Ok(2))], after).await, Ok(2));
    }

    #[tokio::test]
    async fn when_all_fail_all_are_reported() {
        assert_eq!(race(vec![(500, Err(1)), (1, Err(2))], after).await, Err(vec![2, 1]));
        assert_eq!(race(Vec::new(), after).await, Err(vec![]));
    }
}
