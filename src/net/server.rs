//! A running switchboard: the tasks around [`Switchboard`].
//!
//! ```text
//! accept task ──▶ one task per link (link.rs) ─┐
//! timer task ──────────────────────────────────┼──▶ Mutex<State>: the core, and whom to wake
//! ```
//!
//! A link's task reads what its socket has, hands all of it over under one lock, takes what waits for itself, and writes
//! that with one flush. Waking another link's task costs no thread hop: on a runtime with one thread it runs next, on one with
//! several it runs next on the same thread. The lock is held for moments and never across a system call or an await.
//!
//! What it costs, measured on two cores that others used as well, over loopback (time of the switchboard's process per frame, plain
//! and TLS): 256 bytes 0.4 and 0.5 us in a stream, 16 KiB 6 and 10 us, 64 KiB 17 and 29 us. A request and its reply take 35 us
//! through it where a bare WebSocket relay on one thread takes 35 to 41 us. An idle link holds 12 KiB over TLS, 5 KiB plain (`make bench-links`).
//!
//! After [`Server::start`] no file is opened, nothing is logged and no process is started.

mod link;

use std::fmt;
use std::net::{IpAddr, SocketAddr, ToSocketAddrs};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::Waker;
use std::time::{Duration, Instant, SystemTime};

use aws_lc_rs::{hmac, rand};
use tokio::net::{TcpListener, TcpStream};
use tokio::runtime::Handle;
use tokio::sync::{Notify, Semaphore, watch};
use tokio::task::{JoinHandle, JoinSet};
use tokio_rustls::rustls;

use super::address::{Address, Advertise, Listen, Pin};
use super::tls::{KeySource, ServerTls};
use super::{Error, os, ws};
use crate::proto::Now;
use crate::switchboard::{Admission, Config, LinkId, Origin, Output, Stats, Switchboard};

/// Time in which links are told that the switchboard ends, before they are cut. Chosen: a slow network and a busy client fit,
/// and no service manager kills a process that soon.
pub const SHUTDOWN_LIMIT: Duration = Duration::from_secs(3);

/// Sockets in the handshakes of TLS and WebSocket at one moment; more wait in the kernel. Chosen: 100 MiB of their buffers.
const HANDSHAKES: usize = 4096;

/// Pause after accepting failed, for instance because no descriptor is free. Chosen: long enough for some to be freed.
const ACCEPT_PAUSE: Duration = Duration::from_millis(50);

/// How a switchboard is run.
#[derive(Debug, Clone)]
pub struct ServerConfig {
    /// Where to listen.
    pub listen: Listen,
    /// The name by which others reach it, if it isn't the address listened on.
    pub advertise: Option<Advertise>,
    /// How links are protected on the way.
    pub security: Security,
    /// Bounds of links, rates and queues.
    pub limits: Config,
}

impl Default for ServerConfig {
    fn default() -> Self {
        Self { listen: Listen::default(), advertise: None, security: Security::Tls(KeySource::Fresh), limits: Config::default() }
    }
}

/// How links are protected on the way. What they carry is end-to-end encrypted in every case.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Security {
    /// TLS 1.3 with a key from here.
    Tls(KeySource),
    /// Plain `ws://`: whoever is on the path sees which pseudonyms talk, and when.
    Plain,
    /// Plain, because a proxy in front ends TLS. Links aren't bound to their TLS connection, and all come from one address.
    BehindProxy,
}

/// A running switchboard. Dropping it ends it at once; [`shutdown`](Self::shutdown) tells the links first.
#[derive(Debug)]
pub struct Server {
    shared: Arc<Shared>,
    url: Address,
    pin: Option<Pin>,
    port: u16,
    stop: watch::Sender<bool>,
    accepting: Mutex<Option<JoinHandle<()>>>,
    timer: JoinHandle<()>,
}

impl Server {
    /// Starts a switchboard on a runtime, whose time and I/O drivers must be enabled. It listens when this returns.
    ///
    /// # Errors
    /// [`Error::PortInUse`], [`Error::Listen`], [`Error::KeyFile`] or [`Error::Certificate`].
    pub fn start(config: ServerConfig, runtime: &Handle) -> Result<Self, Error> {
        let tls = match &config.security {
            Security::Tls(source) => Some(ServerTls::new(source, &certificate_names(&config))?),
            Security::Plain | Security::BehindProxy => None,
        };
        os::keep_freed_memory();
        let _context = runtime.enter();
        let (listener, bound) = listen(&config.listen)?;
        let pin = tls.as_ref().map(ServerTls::pin);
        let url = url(&config, bound, pin);
        let shared = Arc::new(Shared::new(&config, tls));
        let (stop, stopped) = watch::channel(false);
        let accepting = Mutex::new(Some(runtime.spawn(accept(listener, shared.clone(), stopped))));
        let timer = runtime.spawn(keep_time(shared.clone()));
        Ok(Self { shared, url, pin, port: bound.port(), stop, accepting, timer })
    }

    /// The address to give away.
    pub fn url(&self) -> &Address {
        &self.url
    }

    /// The pin of the certificate shown; none without TLS.
    pub fn pin(&self) -> Option<Pin> {
        self.pin
    }

    /// The port listened on.
    pub fn port(&self) -> u16 {
        self.port
    }

    /// Counts since the start, and what there is at this moment.
    pub fn stats(&self) -> Stats {
        self.shared.lock().core.stats()
    }

    /// Ends the switchboard: links hear Goodbye and are closed, within [`SHUTDOWN_LIMIT`]. Calling it again waits for
    /// nothing.
    pub async fn shutdown(&self) {
        self.stop.send_replace(true);
        let accepting = self.accepting.lock().unwrap_or_else(PoisonError::into_inner).take();
        if let Some(accepting) = accepting {
            // It ends by itself; a failure would mean that it ended already.
            let _ended = accepting.await;
        }
        self.timer.abort();
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.timer.abort();
        if let Some(accepting) = self.accepting.lock().unwrap_or_else(PoisonError::into_inner).take() {
            accepting.abort();
        }
    }
}

/// What all tasks of a switchboard share.
struct Shared {
    state: Mutex<State>,
    tls: Option<Arc<rustls::ServerConfig>>,
    started: Instant,
    /// Rung when the core has to be called earlier than the timer task knows.
    timer_changed: Notify,
    handshakes: Arc<Semaphore>,
    /// Makes origins of addresses; forgotten with the process.
    origin_key: hmac::Key,
    behind_proxy: bool,
    ping_interval: Duration,
    silence_limit: Duration,
}

/// The core and its shell's bookkeeping, under one lock.
struct State {
    core: Switchboard,
    /// What the shell knows of each link, by its slot.
    tasks: Vec<TaskState>,
    /// When the timer task will call.
    timer_due: Option<Duration>,
}

/// What the shell knows of a link.
#[derive(Debug, Default)]
struct TaskState {
    waker: Option<Waker>,
    /// The core has ended the link.
    closing: bool,
}

impl State {
    /// Carries out what the core asks for, except for the link whose task is calling: it looks by itself. Reports whether the
    /// timer has to be set anew.
    fn obey(&mut self, caller: Option<LinkId>) -> bool {
        while let Some(output) = self.core.poll_output() {
            let id = match output {
                Output::Wake(id) => id,
                Output::Close(id) => {
                    self.task(id).closing = true;
                    id
                }
            };
            if caller != Some(id)
                && let Some(waker) = &self.task(id).waker
            {
                waker.wake_by_ref();
            }
        }
        let due = self.core.poll_timeout();
        due.is_some_and(|due| self.timer_due.is_none_or(|known| due < known))
    }

    fn task(&mut self, id: LinkId) -> &mut TaskState {
        let slot = id.slot();
        if self.tasks.len() <= slot {
            self.tasks.resize_with(slot + 1, TaskState::default);
        }
        &mut self.tasks[slot]
    }
}

impl Shared {
    fn new(config: &ServerConfig, tls: Option<ServerTls>) -> Self {
        let started = Instant::now();
        let core = Switchboard::new(config.limits.clone(), now(started));
        Self {
            state: Mutex::new(State { core, tasks: Vec::new(), timer_due: None }),
            tls: tls.map(|tls| tls.config),
            started,
            timer_changed: Notify::new(),
            handshakes: Arc::new(Semaphore::new(HANDSHAKES)),
            origin_key: hmac::Key::new(hmac::HMAC_SHA256, &random::<32>()),
            behind_proxy: config.security == Security::BehindProxy,
            ping_interval: config.limits.ping_interval,
            silence_limit: config.limits.silence_limit,
        }
    }

    /// Locks the core. A panic under the lock would have ended one link's task; the others go on.
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn now(&self) -> Now {
        now(self.started)
    }

    /// Groups addresses: an IPv4 address, or the /64 that an IPv6 host has to itself. None where an address says nothing:
    /// behind a proxy, and on this machine, where a forwarder may stand for many.
    fn origin(&self, peer: SocketAddr) -> Option<Origin> {
        let ip = peer.ip().to_canonical();
        if self.behind_proxy || ip.is_loopback() {
            return None;
        }
        let tag = match ip {
            IpAddr::V4(ip) => hmac::sign(&self.origin_key, &ip.octets()),
            IpAddr::V6(ip) => hmac::sign(&self.origin_key, &ip.octets()[..8]),
        };
        let (first, _) = tag.as_ref().split_first_chunk().expect("an HMAC-SHA256 has 32 bytes");
        Some(Origin(u64::from_be_bytes(*first)))
    }
}

impl fmt::Debug for Shared {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Shared").finish_non_exhaustive()
    }
}

fn now(started: Instant) -> Now {
    let wall = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
    Now { monotonic: started.elapsed(), wall: u64::try_from(wall.as_millis()).unwrap_or(u64::MAX) }
}

fn random<const N: usize>() -> [u8; N] {
    let mut bytes = [0; N];
    rand::fill(&mut bytes).expect("the system gives random bytes after it gave those of the TLS key");
    bytes
}

/// Accepts sockets until it is told to stop, then sees the links off.
async fn accept(listener: TcpListener, shared: Arc<Shared>, mut stopped: watch::Receiver<bool>) {
    let mut links = JoinSet::new();
    loop {
        tokio::select! {
            _ = stopped.wait_for(|stopped| *stopped) => break,
            _ = links.join_next(), if !links.is_empty() => {}
            (stream, peer) = next_socket(&listener, &shared) => drop(links.spawn(serve(shared.clone(), stream, peer))),
        }
    }
    drop(listener);
    shared.with_state(|core, now| core.shut_down(now));
    let all_gone = async { while links.join_next().await.is_some() {} };
    // Whoever doesn't go is cut when `links` is dropped.
    let _late = tokio::time::timeout(SHUTDOWN_LIMIT, all_gone).await;
}

/// Accepts the next socket that may go on.
async fn next_socket(listener: &TcpListener, shared: &Shared) -> (TcpStream, SocketAddr) {
    loop {
        let Ok(_room) = shared.handshakes.acquire().await else { std::future::pending().await };
        match listener.accept().await {
            Ok((stream, peer)) => {
                let origin = shared.origin(peer);
                if shared.with_state(|core, now| core.admit(origin, now)) == Admission::Granted {
                    return (stream, peer);
                }
            }
            // Out of descriptors or memory, or the peer was gone before it was taken: both pass.
            Err(_) => tokio::time::sleep(ACCEPT_PAUSE).await,
        }
    }
}

/// Serves one socket from its handshakes to its end.
async fn serve(shared: Arc<Shared>, stream: TcpStream, peer: SocketAddr) {
    let Ok(room) = shared.handshakes.clone().acquire_owned().await else { return };
    let handshakes = tokio::time::timeout(ws::CONNECT_LIMIT, ws::accept(stream, shared.tls.clone()));
    // Whoever doesn't get through them isn't told more than its own library tells it.
    let Ok(Ok(connection)) = handshakes.await else { return };
    drop(room);
    let origin = shared.origin(peer);
    link::Task::open(shared, connection, origin).await;
}

impl Shared {
    /// Calls the core from outside the links' tasks, and obeys it.
    fn with_state<T>(&self, call: impl FnOnce(&mut Switchboard, Now) -> T) -> T {
        let now = self.now();
        let mut state = self.lock();
        let value = call(&mut state.core, now);
        let timer_changed = state.obey(None);
        drop(state);
        if timer_changed {
            self.timer_changed.notify_one();
        }
        value
    }
}

/// Calls the core when it asked to be called.
async fn keep_time(shared: Arc<Shared>) {
    loop {
        let due = {
            let mut state = shared.lock();
            state.timer_due = state.core.poll_timeout();
            state.timer_due
        };
        match due {
            None => shared.timer_changed.notified().await,
            Some(due) => {
                let due = tokio::time::Instant::from_std(shared.started + due);
                tokio::select! {
                    () = shared.timer_changed.notified() => {}
                    () = tokio::time::sleep_until(due) => shared.with_state(|core, now| core.handle_timeout(now)),
                }
            }
        }
    }
}

/// Opens the first of the addresses that a name stands for and that can be listened on.
fn listen(listen: &Listen) -> Result<(TcpListener, SocketAddr), Error> {
    let refuse = |source: std::io::Error| match source.kind() {
        std::io::ErrorKind::AddrInUse => Error::PortInUse { listen: listen.to_string() },
        _ => Error::Listen { listen: listen.to_string(), source },
    };
    let candidates = (listen.host.as_str(), listen.port).to_socket_addrs().map_err(refuse)?;
    let mut failure = std::io::Error::from(std::io::ErrorKind::AddrNotAvailable);
    for candidate in candidates {
        match os::listen(candidate).and_then(|listener| listener.local_addr().map(|bound| (listener, bound))) {
            Ok(listening) => return Ok(listening),
            Err(error) => failure = error,
        }
    }
    Err(refuse(failure))
}

/// The names that a self-signed certificate is made out to. Nothing depends on them but other people's tools.
fn certificate_names(config: &ServerConfig) -> Vec<String> {
    let advertised = config.advertise.iter().map(|advertise| advertise.host.clone());
    let mut names: Vec<_> = advertised.chain([config.listen.host.clone(), "localhost".to_owned()]).collect();
    names.dedup();
    names
}

/// The address to give away: the advertised name, or the address listened on, or this machine's when that is all of them.
fn url(config: &ServerConfig, bound: SocketAddr, pin: Option<Pin>) -> Address {
    let (secure, default_port) = match (&config.security, &config.advertise) {
        (Security::Tls(_), _) => (true, bound.port()),
        (Security::Plain, _) | (Security::BehindProxy, None) => (false, bound.port()),
        (Security::BehindProxy, Some(_)) => (true, HTTPS_PORT),
    };
    match &config.advertise {
        Some(advertise) => Address { secure, host: advertise.host.clone(), port: advertise.port.unwrap_or(default_port), pin },
        None => {
            let ip = if bound.ip().is_unspecified() { os::outward_address() } else { bound.ip() };
            Address { secure, host: ip.to_string(), port: bound.port(), pin }
        }
    }
}

/// Where a proxy that ends TLS is expected.
const HTTPS_PORT: u16 = 443;
