//! What can be seen on the way to a switchboard, step by step, for whoever looks for what is wrong on it.
//!
//! The way is the one that an agent takes, by the same functions, up to the switchboard's first frame; only the certificate is taken
//! whatever it is, and judged afterwards. Nothing is concluded here: that is for the reader of the [`Probe`].

use std::future::{Future, poll_fn};
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::task::Poll;
use std::time::{Duration, Instant, SystemTime};

use tokio::net::lookup_host;
use tokio_rustls::TlsStream;

use super::Error;
use super::address::{Address, Pin};
use super::dial::{Outbound, dial};
use super::tls::{Acceptance, judge, pin_of};
use super::ws::{Connection, Transport, encrypt, upgrade};
use crate::proto::{Challenge, ServerFrame};

/// How often the round trip is measured. Chosen: enough for a median.
const PINGS: usize = 5;

/// What was seen, as far as the way could be gone.
#[derive(Debug, Default)]
pub struct Probe {
    /// The proxy that the way leads through.
    pub proxy: Option<String>,
    /// What the name stands for, and how long it took to find out. Not asked when a proxy does.
    pub resolved: Option<(Vec<IpAddr>, Duration)>,
    /// The other end of the TCP connection, and how long it took.
    pub connected: Option<(SocketAddr, Duration)>,
    /// What TLS came to.
    pub tls: Option<Tls>,
    /// The switchboard's first frame, and this machine's clock when it came.
    pub challenge: Option<(Challenge, SystemTime)>,
    /// How long a ping and its answer took.
    pub round_trips: Vec<Duration>,
    /// Where the way ended, and why.
    pub failure: Option<(Stage, Failure)>,
}

/// A TLS connection.
#[derive(Debug)]
pub struct Tls {
    pub version: String,
    /// The group of the key exchange.
    pub group: String,
    pub pin: Pin,
    /// Why the authorities don't vouch for the certificate; none if they do.
    pub refusal: Option<String>,
    /// When the certificate ends, in Unix seconds.
    pub expiry: Option<u64>,
    /// How long the handshake took.
    pub took: Duration,
}

/// A part of the way.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Stage {
    Proxy,
    Name,
    Connection,
    Tls,
    Switchboard,
    RoundTrip,
}

/// Why it ended.
#[derive(Debug)]
pub enum Failure {
    /// There was no answer in time.
    TimedOut(Duration),
    /// Nobody listens.
    Refused,
    /// Something else.
    Other(String),
}

impl From<Error> for Failure {
    fn from(error: Error) -> Self {
        match error {
            Error::Unreachable { source, .. } if source.kind() == io::ErrorKind::ConnectionRefused => Self::Refused,
            other => Self::Other(other.to_string()),
        }
    }
}

/// Goes the way to `address`, with `limit` for each step.
pub async fn probe(address: &Address, outbound: &Outbound, limit: Duration) -> Probe {
    let mut seen = Probe::default();
    seen.failure = go(address, outbound, limit, &mut seen).await.err();
    seen
}

async fn go(address: &Address, outbound: &Outbound, limit: Duration, seen: &mut Probe) -> Result<(), (Stage, Failure)> {
    let proxy = outbound.proxies.for_address(address).map_err(|error| (Stage::Proxy, error.into()))?;
    seen.proxy = proxy.map(ToString::to_string);
    if proxy.is_none() {
        let begun = Instant::now();
        let looked_up =
            async { lookup_host((address.host.as_str(), address.port)).await.map_err(|error| Failure::Other(error.to_string())) };
        let found = within(limit, Stage::Name, looked_up).await?;
        seen.resolved = Some((found.map(|address| address.ip()).collect(), begun.elapsed()));
    }

    let begun = Instant::now();
    let stage = if proxy.is_some() { Stage::Proxy } else { Stage::Connection };
    let stream = within(limit, stage, async { dial(address, &outbound.proxies).await.map_err(Failure::from) }).await?;
    let peer = stream.peer_addr().map_err(|error| (stage, Failure::Other(error.to_string())))?;
    seen.connected = Some((peer, begun.elapsed()));

    let begun = Instant::now();
    let handshake = async { encrypt(stream, address, &outbound.trust, Acceptance::Any).await.map_err(Failure::from) };
    let (transport, _) = within(limit, Stage::Tls, handshake).await?;
    seen.tls = tls(address, outbound, &transport, begun.elapsed()).map_err(|error| (Stage::Tls, error.into()))?;

    let meeting = async {
        let mut connection = upgrade(transport, address).await?;
        let frame = poll_fn(|cx| connection.poll_frame(cx)).await.unwrap_or(Err(Error::Closed))?;
        Ok::<_, Error>((connection, frame, SystemTime::now()))
    };
    let (mut connection, frame, now) = within(limit, Stage::Switchboard, async { meeting.await.map_err(Failure::from) }).await?;
    let refuse = |text: String| (Stage::Switchboard, Failure::Other(text));
    seen.challenge = match ServerFrame::decode(frame) {
        Ok(ServerFrame::Challenge(challenge)) => Some((challenge, now)),
        Ok(ServerFrame::Reject(reject)) => return Err(refuse(format!("it refuses: {}", reject.text))),
        Ok(_) => return Err(refuse("it begins with another frame than a switchboard".to_owned())),
        Err(error) => return Err(refuse(error.to_string())),
    };

    for _ in 0..PINGS {
        let measured = async { ping(&mut connection).await.map_err(Failure::from) };
        seen.round_trips.push(within(limit, Stage::RoundTrip, measured).await?);
    }
    // What was to be seen was seen; a switchboard that doesn't take the farewell changes nothing of it.
    let _ = tokio::time::timeout(limit, poll_fn(|cx| connection.poll_close(cx))).await;
    Ok(())
}

fn tls(address: &Address, outbound: &Outbound, transport: &Transport, took: Duration) -> Result<Option<Tls>, Error> {
    let Transport::Tls(stream) = transport else { return Ok(None) };
    let TlsStream::Client(stream) = &**stream else { return Ok(None) };
    let connection = stream.get_ref().1;
    let chain = connection.peer_certificates().unwrap_or_default();
    let judgement = judge(address, &outbound.trust, chain)?;
    let broken = |error: tokio_rustls::rustls::Error| Error::Tls { address: address.without_pin(), reason: error.to_string() };
    let Some(certificate) = chain.first() else { return Ok(None) };
    Ok(Some(Tls {
        version: connection
            .protocol_version()
            .and_then(|version| version.as_str())
            .unwrap_or_default()
            .replace("TLSv1_", "TLS 1."),
        group: connection.negotiated_key_exchange_group().map(|group| format!("{:?}", group.name())).unwrap_or_default(),
        pin: pin_of(certificate).map_err(broken)?,
        refusal: judgement.refusal,
        expiry: judgement.expiry,
        took,
    }))
}

/// Measures one ping. Frames that come meanwhile are dropped.
async fn ping(connection: &mut Connection) -> Result<Duration, Error> {
    let begun = Instant::now();
    connection.take_heard();
    connection.ping();
    poll_fn(|cx| {
        if let Poll::Ready(Err(error)) = connection.poll_flush(cx) {
            return Poll::Ready(Err(error));
        }
        loop {
            match connection.poll_frame(cx) {
                Poll::Ready(Some(Ok(_))) => {}
                Poll::Ready(Some(Err(error))) => return Poll::Ready(Err(error)),
                Poll::Ready(None) => return Poll::Ready(Err(Error::Closed)),
                Poll::Pending if connection.take_heard() => return Poll::Ready(Ok(begun.elapsed())),
                Poll::Pending => return Poll::Pending,
            }
        }
    })
    .await
}

async fn within<T>(limit: Duration, stage: Stage, step: impl Future<Output = Result<T, Failure>>) -> Result<T, (Stage, Failure)> {
    let outcome = tokio::time::timeout(limit, step).await.unwrap_or(Err(Failure::TimedOut(limit)));
    outcome.map_err(|failure| (stage, failure))
}
