//! Links that break without a word, or under one's feet: how soon an agent is back, over real sockets.

mod common {
    pub mod agents;
}

use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use a2alinker::agent::{Event, LinkError, PathChange};
use a2alinker::net::address::Address;
use a2alinker::net::server::{Security, Server, ServerConfig};
use a2alinker::switchboard::Config;
use common::agents::{Node, World, message};

/// What a link may take from the moment at which its path is known to be gone until a message is delivered over the next one.
const BACK_WITHIN: Duration = Duration::from_secs(1);

#[test]
fn a_message_is_delivered_within_a_second_after_the_path_is_gone() {
    let world = World::new();
    let path = SilentPath::to(world.switchboard.url());
    let (host, guest) = world.pair_at(vec![path.address()]);
    delivered(&guest, &host);
    path.fall_silent();
    guest.client.with(|core, now| core.agent.handle_path_change(PathChange::Lost, now));
    guest.client.flush();
    let back = delivered(&guest, &host);
    assert!(back < BACK_WITHIN, "{back:?}");
    println!("from the loss of the path to the first delivered message: {back:?}");
}

#[test]
fn a_doubtful_link_that_answers_stays_and_a_silent_one_is_given_up_in_seconds() {
    let world = World::new();
    let path = SilentPath::to(world.switchboard.url());
    let (host, guest) = world.pair_at(vec![path.address()]);
    let doubt = || {
        guest.client.with(|core, now| core.agent.handle_path_change(PathChange::Unsure, now));
        guest.client.flush();
    };
    doubt();
    // The switchboard reads the ping before the message that follows it, and answers before what it sends later.
    delivered(&guest, &host);
    delivered(&host, &guest);
    guest.expect_nothing(|event| matches!(event, Event::LinkLost { .. }));

    path.fall_silent();
    doubt();
    let begun = Instant::now();
    guest.until(|event| matches!(event, Event::LinkLost { error: LinkError::Silent(_), .. }));
    assert!(begun.elapsed() < Duration::from_secs(6), "{:?}", begun.elapsed());
    delivered(&guest, &host);
}

#[test]
fn a_link_that_falls_silent_is_given_up_soon_after_the_switchboard_s_ping_is_missed() {
    let limits = Config { ping_interval: Duration::from_secs(1), ..Config::default() };
    let world = World::with(ServerConfig { limits, ..ServerConfig::default() });
    let path = SilentPath::to(world.switchboard.url());
    let (host, guest) = world.pair_at(vec![path.address()]);
    delivered(&guest, &host);
    path.fall_silent();
    let begun = Instant::now();
    guest.until(|event| matches!(event, Event::LinkLost { error: LinkError::Silent(_), .. }));
    // An interval, its grace, and the probe.
    assert!(begun.elapsed() < Duration::from_secs(1 + 5 + 4 + 1), "{:?}", begun.elapsed());
    delivered(&guest, &host);
}

#[test]
fn a_switchboard_that_is_full_or_ends_leads_to_the_next_at_once() {
    let world = World::new();
    let full = {
        let limits = Config { links: 0, ..Config::default() };
        let config =
            ServerConfig { listen: "127.0.0.1:0".parse().unwrap(), security: Security::Plain, limits, ..ServerConfig::default() };
        Server::start(config, world.runtime.handle()).unwrap()
    };
    let begun = Instant::now();
    let (host, guest) = world.pair_at(vec![full.url().clone(), world.switchboard.url().clone()]);
    assert!(begun.elapsed() < Duration::from_secs(2), "{:?}", begun.elapsed());
    delivered(&guest, &host);
}

#[test]
fn an_address_where_nobody_listens_costs_nothing_and_one_that_swallows_packets_a_head_start() {
    let world = World::new();
    let free = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap().local_addr().unwrap();
    let silent = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
    let (nobody, silent) = (plain(free), plain(silent.local_addr().unwrap()));
    let (host, guest) = world.pair_at(vec![nobody, silent, world.switchboard.url().clone()]);
    delivered(&guest, &host);
    guest.client.with(|core, now| core.agent.handle_path_change(PathChange::Lost, now));
    guest.client.flush();
    // The one that answered is kept, and so comes first.
    let back = delivered(&guest, &host);
    assert!(back < Duration::from_millis(250), "{back:?}");
}

/// Sends a message and returns how long it took to arrive.
fn delivered(from: &Node, to: &Node) -> Duration {
    let begun = Instant::now();
    from.send(message(to.id, 0, "hello"));
    to.message();
    begun.elapsed()
}

fn plain(address: SocketAddr) -> Address {
    Address { secure: false, host: address.ip().to_string(), port: address.port(), pin: None }
}

/// A path to a switchboard. When it falls silent, the connections on it stay open and carry nothing more; those made later do.
struct SilentPath {
    here: SocketAddr,
    /// Of the connections made so far.
    is_silent: Arc<std::sync::Mutex<Arc<AtomicBool>>>,
}

impl SilentPath {
    fn to(switchboard: &Address) -> Self {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
        let (here, there) = (listener.local_addr().unwrap(), (Ipv4Addr::LOCALHOST, switchboard.port));
        let is_silent = Arc::new(std::sync::Mutex::new(Arc::new(AtomicBool::new(false))));
        let silence = is_silent.clone();
        thread::spawn(move || {
            for client in listener.incoming().map_while(Result::ok) {
                let Ok(server) = TcpStream::connect(there) else { return };
                let silent = silence.lock().unwrap().clone();
                for (from, to) in [(&client, &server), (&server, &client)] {
                    let (from, to, silent) = (from.try_clone().unwrap(), to.try_clone().unwrap(), silent.clone());
                    thread::spawn(move || carry(from, to, &silent));
                }
            }
        });
        Self { here, is_silent }
    }

    fn address(&self) -> Address {
        plain(self.here)
    }

    fn fall_silent(&self) {
        let mut current = self.is_silent.lock().unwrap();
        current.store(true, Ordering::SeqCst);
        *current = Arc::default();
    }
}

fn carry(mut from: TcpStream, mut to: TcpStream, is_silent: &AtomicBool) {
    use std::io::{Read, Write};
    let mut buffer = vec![0; 65_536];
    while let Ok(count @ 1..) = from.read(&mut buffer) {
        if !is_silent.load(Ordering::SeqCst) && to.write_all(&buffer[..count]).is_err() {
            break;
        }
    }
    // Neither end learns that the other is gone once the path is silent.
    if !is_silent.load(Ordering::SeqCst) {
        let _ended = to.shutdown(std::net::Shutdown::Write);
    }
}
