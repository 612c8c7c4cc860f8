//! The proxy: takes connections, leads each to the same address, and ends those that it is told to end.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use socket2::SockRef;
use tokio::net::{TcpListener, TcpSocket, TcpStream};
use tokio::sync::watch;
use tokio::task::JoinHandle;

use super::flow::{Broken, Flow, roll};
use super::orders::{End, Order, Orders, Way};
use super::report::{Carried, Happening, Report};

/// Connections at a time. Chosen: far above what the agents of a test have; one more is closed at once.
const CONNECTIONS: usize = 64;
/// Connections that the kernel keeps for the proxy until it takes them.
const BACKLOG: u32 = 64;

#[derive(Clone, Copy, Debug)]
pub struct Config {
    pub listen: SocketAddr,
    pub to: SocketAddr,
    /// Where the bits are that are flipped follows from it.
    pub seed: u64,
    /// Bytes that the kernel holds for each socket and way; by default as many as it likes. What it holds nobody can overtake.
    pub buffer: Option<u32>,
}

/// Runs until it is dropped.
pub struct Proxy {
    pub port: u16,
    orders: watch::Sender<Orders>,
    report: Report,
    open: Arc<AtomicUsize>,
    accepting: JoinHandle<()>,
}

impl Proxy {
    pub fn start(config: Config, report: Report) -> io::Result<Self> {
        let listener = listen(&config)?;
        let port = listener.local_addr()?.port();
        let (orders, watched) = watch::channel(Orders::default());
        let open = Arc::<AtomicUsize>::default();
        let accepting = tokio::spawn(accept(listener, config, watched, report.clone(), open.clone()));
        Ok(Self { port, orders, report, open, accepting })
    }

    /// Does what a line says.
    pub fn obey(&self, line: &str) {
        let Some(order) = Order::parse(line) else {
            self.report.tell(Happening::NotUnderstood { order: line.to_owned() });
            return;
        };
        self.orders.send_modify(|orders| orders.obey(order));
        let connections = self.open.load(Ordering::Relaxed);
        self.report.tell(Happening::Obeyed { order: line.trim().to_owned(), connections });
    }
}

impl Drop for Proxy {
    fn drop(&mut self) {
        self.accepting.abort();
    }
}

fn listen(config: &Config) -> io::Result<TcpListener> {
    let socket = socket(config, config.listen)?;
    socket.set_reuseaddr(true)?;
    socket.bind(config.listen)?;
    socket.listen(BACKLOG)
}

/// Connections inherit the sizes from the socket that listens.
fn socket(config: &Config, address: SocketAddr) -> io::Result<TcpSocket> {
    let socket = if address.is_ipv4() { TcpSocket::new_v4()? } else { TcpSocket::new_v6()? };
    if let Some(bytes) = config.buffer {
        // The kernel doubles what it is asked for.
        socket.set_recv_buffer_size(bytes / 2)?;
        socket.set_send_buffer_size(bytes / 2)?;
    }
    Ok(socket)
}

async fn accept(listener: TcpListener, config: Config, orders: watch::Receiver<Orders>, report: Report, open: Arc<AtomicUsize>) {
    let mut dice = config.seed;
    for connection in 0.. {
        let client = match listener.accept().await {
            Ok((client, _)) => client,
            // Whoever came is gone again, or descriptors are short for a moment.
            Err(_) => {
                tokio::time::sleep(Duration::from_millis(50)).await;
                continue;
            }
        };
        if open.load(Ordering::Relaxed) == CONNECTIONS {
            report.tell(Happening::TurnedAway { connection, why: "too many" });
            continue;
        }
        let (orders, report) = (orders.clone(), report.clone());
        let count = Counted::new(open.clone());
        let seed = roll(&mut dice);
        tokio::spawn(async move {
            let _count = count;
            connect(config, Arrival { connection, client, seed }, orders, &report).await;
        });
    }
}

struct Arrival {
    connection: u64,
    client: TcpStream,
    seed: u64,
}

async fn connect(config: Config, arrival: Arrival, orders: watch::Receiver<Orders>, report: &Report) {
    let Arrival { connection, client, seed } = arrival;
    let server = match socket(&config, config.to) {
        Ok(socket) => socket.connect(config.to).await,
        Err(error) => Err(error),
    };
    let Ok(server) = server else {
        reset(&client);
        report.tell(Happening::TurnedAway { connection, why: "nobody listens" });
        return;
    };
    for stream in [&client, &server] {
        // A socket that refuses this is over already, which is seen below.
        let _set = stream.set_nodelay(true);
    }
    report.tell(Happening::Opened { connection });
    let (mut up, mut down) = (Carried::default(), Carried::default());
    let how = carry(connection, (&client, &server), orders, report, (&mut up, &mut down), seed).await;
    report.tell(Happening::Closed { connection, how, up, down });
}

async fn carry(
    connection: u64,
    (client, server): (&TcpStream, &TcpStream),
    orders: watch::Receiver<Orders>,
    report: &Report,
    (up, down): (&mut Carried, &mut Carried),
    seed: u64,
) -> &'static str {
    let mut watched = orders.clone();
    let ends = watched.borrow().ends;
    let up = Flow::new((connection, Way::Up), (client, server), orders.clone(), report, up, seed);
    let down = Flow::new((connection, Way::Down), (server, client), orders, report, down, !seed);
    tokio::select! {
        ordered = watched.wait_for(|orders| orders.ends > ends) => match ordered.map(|orders| orders.end) {
            Ok(End::Reset) => {
                reset(client);
                reset(server);
                "reset"
            }
            Ok(End::Cut) => "cut",
            Err(_) => "the proxy ended",
        },
        ended = async { tokio::try_join!(up.run(), down.run()) } => match ended {
            Ok(_) => "closed",
            Err(Broken::Lost) => "cut after loss",
            Err(Broken::Reset) => {
                reset(client);
                reset(server);
                "reset by a peer"
            }
        },
    }
}

/// Lets the socket's end be an RST.
fn reset(stream: &TcpStream) {
    // A socket that refuses this is over already.
    let _set = SockRef::from(stream).set_linger(Some(Duration::ZERO));
}

struct Counted(Arc<AtomicUsize>);

impl Counted {
    fn new(open: Arc<AtomicUsize>) -> Self {
        open.fetch_add(1, Ordering::Relaxed);
        Self(open)
    }
}

impl Drop for Counted {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}
