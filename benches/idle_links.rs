//! What an idle link costs a switchboard, and how long it takes until a link is up: `make bench-links`.
//!
//! Starts a switchboard as a process of its own, links members of many small swarms to it over TLS, keeps them as idle as agents
//! that have nothing to say (they answer pings), and compares the process's proportional set size with that before the first
//! link. What the kernel keeps for the sockets is not in it. Connecting is timed on the first links, one after another: TCP,
//! TLS, WebSocket, Challenge, Hello and Welcome.

use std::future::poll_fn;
use std::io::{self, BufRead, BufReader};
use std::path::PathBuf;
use std::process::{Child, Command, ExitCode, Stdio};
use std::time::{Duration, Instant};

use a2alinker::net::address::Address;
use a2alinker::net::dial::Outbound;
use a2alinker::net::tls::Acceptance;
use a2alinker::net::ws::{self, Connection};
use a2alinker::net::{Error, os};
use a2alinker::proto::{
    ClientFrame, Features, HelloBody, LinkCertificate, LinkChain, LinkKeyPair, LinkRights, Role, RoutingKeyPair, ServerFrame,
    sign_hello,
};
use bytes::Bytes;
use clap::Parser;
use futures_util::{StreamExt, stream};
use tokio::task::JoinSet;

/// A day in the year 2100.
const NEVER: u64 = 4_102_444_800_000;

#[derive(Parser)]
#[command(about = "Memory of a switchboard for each idle link, and the time to connect")]
struct Arguments {
    /// The switchboard's program
    #[arg(default_value = "target/release/a2alinker-switchboard")]
    switchboard: PathBuf,
    #[arg(long, default_value_t = 10_000)]
    links: usize,
    /// Links of one swarm
    #[arg(long, default_value_t = 10)]
    members: usize,
    /// Links that are opened one after another and timed
    #[arg(long, default_value_t = 500)]
    timed: usize,
    /// Links that are opened beside one another after that
    #[arg(long, default_value_t = 16)]
    at_once: usize,
    /// Seconds from the last link to the measurement; every link is pinged once in 20
    #[arg(long, default_value_t = 30.0)]
    idle: f64,
    /// Without TLS
    #[arg(long)]
    plain: bool,
}

#[tokio::main]
async fn main() -> ExitCode {
    match measure(&Arguments::parse()).await {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => {
            eprintln!("idle_links: {failure}");
            ExitCode::FAILURE
        }
    }
}

async fn measure(arguments: &Arguments) -> Result<(), Failure> {
    os::raise_descriptor_limit();
    let (switchboard, address) = Switchboard::start(arguments)?;
    let empty = switchboard.memory()?;
    let mut links = JoinSet::new();

    let mut times = Vec::new();
    for number in 0..arguments.timed.min(arguments.links) {
        let begin = Instant::now();
        let connection = link(&address, number, arguments.members).await?;
        times.push(begin.elapsed());
        links.spawn(idle(connection));
    }
    let mut opening = stream::iter(times.len()..arguments.links)
        .map(|number| link(&address, number, arguments.members))
        .buffer_unordered(arguments.at_once);
    while let Some(connection) = opening.next().await {
        links.spawn(idle(connection?));
    }

    tokio::select! {
        () = tokio::time::sleep(Duration::from_secs_f64(arguments.idle)) => {}
        Some(ended) = links.join_next() => return Err(Failure::LinkEnded(format!("{ended:?}"))),
    }
    let full = switchboard.memory()?;
    let count = arguments.links as u64;
    println!("switchboard, no links        {:>10} KiB", empty / 1024);
    println!("switchboard, {count:>6} links    {:>10} KiB", full / 1024);
    println!("each idle link               {:>10.1} KiB", full.saturating_sub(empty) as f64 / 1024.0 / count as f64);
    times.sort_unstable();
    if let (Some(median), Some(late)) = (times.get(times.len() / 2), times.get(times.len() * 9 / 10)) {
        let (median, late) = (median.as_secs_f64() * 1e3, late.as_secs_f64() * 1e3);
        println!("connect and authenticate     {median:>10.1} ms median, {late:.1} ms for nine in ten, of {}", times.len());
    }
    Ok(())
}

/// Links one member, up to and including the Welcome.
async fn link(address: &Address, number: usize, members: usize) -> Result<Connection, Failure> {
    let mut connection = ws::connect(address, &Outbound::default(), Acceptance::Vouched).await?;
    let challenge = next(&mut connection).await?;
    let routing = RoutingKeyPair::from_seed(&seed(number / members));
    let key = LinkKeyPair::from_seed(&seed(number));
    let certificate = LinkCertificate::issue_by_routing(&routing, key.public(), NEVER, LinkRights::default());
    let binding = connection.binding();
    let body = HelloBody {
        features: Features::NONE,
        binding: binding.kind(),
        routing: routing.public(),
        link_key: key.public(),
        resume_token: Bytes::new(),
        received: 0,
        role: Role::Member(LinkChain::new(vec![certificate]).expect("one certificate is a chain")),
    };
    connection.write(ClientFrame::Hello(sign_hello(&challenge, &binding, &key, body)).encode())?;
    poll_fn(|cx| connection.poll_flush(cx)).await?;
    match ServerFrame::decode(next(&mut connection).await?) {
        Ok(ServerFrame::Welcome(_)) => Ok(connection),
        other => Err(Failure::NotWelcome(format!("{other:?}"))),
    }
}

async fn next(connection: &mut Connection) -> Result<Bytes, Failure> {
    poll_fn(|cx| connection.poll_frame(cx)).await.ok_or_else(|| Failure::LinkEnded("closed".to_owned()))?.map_err(Failure::Net)
}

/// Reads until the link ends, which it shouldn't; pings are answered below.
async fn idle(mut connection: Connection) -> Failure {
    loop {
        if let Err(failure) = next(&mut connection).await {
            return failure;
        }
    }
}

fn seed(number: usize) -> [u8; 32] {
    let mut seed = [0x5A; 32];
    seed[..8].copy_from_slice(&(number as u64).to_be_bytes());
    seed
}

/// The switchboard's process. Ended when dropped.
struct Switchboard(Child);

impl Switchboard {
    fn start(arguments: &Arguments) -> Result<(Self, Address), Failure> {
        let mut command = Command::new(&arguments.switchboard);
        command.args(["--listen", "127.0.0.1:0"]).args(arguments.plain.then_some("--plain"));
        let mut child = command.stdout(Stdio::piped()).stderr(Stdio::null()).spawn()?;
        let output = child.stdout.take().expect("a pipe was asked for");
        let switchboard = Self(child);
        let mut line = String::new();
        BufReader::new(output).read_line(&mut line)?;
        Ok((switchboard, line.parse()?))
    }

    /// Its proportional set size in bytes.
    fn memory(&self) -> Result<u64, Failure> {
        let rollup = std::fs::read_to_string(format!("/proc/{}/smaps_rollup", self.0.id()))?;
        let line = rollup.lines().find_map(|line| line.strip_prefix("Pss:")).unwrap_or_default();
        let kibibytes: Option<u64> = line.trim().strip_suffix("kB").and_then(|number| number.trim().parse().ok());
        Ok(kibibytes.ok_or(io::ErrorKind::InvalidData)? * 1024)
    }
}

impl Drop for Switchboard {
    fn drop(&mut self) {
        // It may have ended by itself.
        let _ended = self.0.kill();
        let _status = self.0.wait();
    }
}

#[derive(Debug, thiserror::Error)]
enum Failure {
    #[error(transparent)]
    Net(#[from] Error),
    #[error("the switchboard's process can't be started or looked at: {0}")]
    Process(#[from] io::Error),
    #[error("a link ended: {0}")]
    LinkEnded(String),
    #[error("instead of a Welcome came {0}")]
    NotWelcome(String),
}

impl From<io::ErrorKind> for Failure {
    fn from(kind: io::ErrorKind) -> Self {
        Self::Process(kind.into())
    }
}
