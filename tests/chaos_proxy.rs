//! The proxy of `tests/chaos_proxy/`, mode by mode, over real sockets: what each order does, and what it leaves alone.

mod chaos_proxy {
    pub mod flow;
    pub mod orders;
    pub mod proxy;
    pub mod report;
}

use std::io::{self, ErrorKind};
use std::time::{Duration, Instant};

use chaos_proxy::orders::{Order, Way};
use chaos_proxy::proxy::{Config, Proxy};
use chaos_proxy::report::{Carried, Happening, Report, Told};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::mpsc;
use tokio::time::timeout;

/// Longer than anything that isn't broken takes.
const PATIENCE: Duration = Duration::from_secs(20);
/// How long nothing has to come. What is to be shown can't be shown sooner, and a slow machine makes it no less true.
const QUIET: Duration = Duration::from_millis(200);

#[tokio::test]
async fn without_orders_bytes_and_ends_pass_unchanged() {
    let mut way = Passage::open(None).await;
    let body: Vec<u8> = (0..1_000_000u32).map(|number| number as u8).collect();
    let (client, server) = (&mut way.client, &mut way.server);
    let (written, got) = tokio::join!(
        async {
            client.write_all(&body).await.expect("it is open");
            client.shutdown().await.expect("it is open");
        },
        async {
            let mut got = Vec::new();
            server.read_to_end(&mut got).await.expect("it ends in order");
            got
        }
    );
    let () = written;
    assert_eq!(got, body);
    way.down(b"after your end").await;
    drop(way.server);
    assert_eq!(ended(&mut way.client).await.expect("it ends in order"), 0);
    let up = Carried { passed: 1_000_000, lost: 0 };
    let down = Carried { passed: 14, lost: 0 };
    assert_eq!(way.told.closed().await, ("closed", up, down));
}

#[tokio::test]
async fn cut_ends_both_sides_in_order() {
    let mut way = Passage::open(None).await;
    way.up(b"before").await;
    way.proxy.obey("cut");
    assert_eq!(ended(&mut way.client).await.expect("an end in order"), 0);
    assert_eq!(ended(&mut way.server).await.expect("an end in order"), 0);
    assert_eq!(way.told.closed().await.0, "cut");
    way.open_another().await;
    way.up(b"a connection that came after the cut").await;
}

#[tokio::test]
async fn reset_ends_both_sides_by_rst() {
    let mut way = Passage::open(None).await;
    way.up(b"before").await;
    way.proxy.obey("reset");
    for stream in [&mut way.client, &mut way.server] {
        assert_eq!(ended(stream).await.expect_err("RST").kind(), ErrorKind::ConnectionReset);
    }
    assert_eq!(way.told.closed().await.0, "reset");
}

#[tokio::test]
async fn the_reset_of_one_side_reaches_the_other() {
    let mut way = Passage::open(None).await;
    way.up(b"before").await;
    socket2::SockRef::from(&way.client).set_linger(Some(Duration::ZERO)).expect("it is open");
    drop(way.client);
    assert_eq!(ended(&mut way.server).await.expect_err("RST").kind(), ErrorKind::ConnectionReset);
    assert_eq!(way.told.closed().await.0, "reset by a peer");
}

#[tokio::test]
async fn a_half_open_connection_swallows_all_and_tells_nobody() {
    let mut way = Passage::open(None).await;
    way.up(b"before").await;
    way.proxy.obey("swallow both");
    way.told.obeyed().await;
    way.client.write_all(b"gone").await.expect("it seems open");
    way.server.write_all(b"gone").await.expect("it seems open");
    quiet(&mut way.server).await;
    quiet(&mut way.client).await;
    way.proxy.obey("clear");
    way.client.write_all(b"still gone").await.expect("it seems open");
    quiet(&mut way.server).await;
    drop(way.client);
    quiet(&mut way.server).await;
    drop(way.server);
    let (how, up, down) = way.told.closed().await;
    assert_eq!((how, up.passed, up.lost, down.lost), ("closed", 6, 14, 4));
}

#[tokio::test]
async fn one_way_can_be_swallowed_while_the_other_goes_on() {
    let mut way = Passage::open(None).await;
    way.proxy.obey("swallow up");
    way.told.obeyed().await;
    way.client.write_all(b"gone").await.expect("it seems open");
    way.down(b"heard").await;
    quiet(&mut way.server).await;
}

#[tokio::test]
async fn a_stalled_way_stops_its_sender_and_loses_nothing() {
    let mut way = Passage::open(Some(8_192)).await;
    way.proxy.obey("stall up");
    way.told.obeyed().await;
    let body = vec![7; 32 << 20];
    let (reading, mut writing) = way.client.split();
    let mut stuck = Box::pin(writing.write_all(&body));
    assert!(timeout(QUIET, &mut stuck).await.is_err(), "nobody reads, so not all of it can be gone");
    drop((reading, stuck));
    way.down(b"the other way goes on").await;
    quiet(&mut way.server).await;
    way.proxy.obey("clear");
    assert_eq!(timeout(PATIENCE, way.server.read_u8()).await.expect("it goes on").expect("it is open"), 7);
}

#[tokio::test]
async fn a_dripping_way_gives_a_byte_a_second() {
    let mut way = Passage::open(None).await;
    way.proxy.obey("drip down");
    way.told.obeyed().await;
    let began = Instant::now();
    way.server.write_all(b"abc").await.expect("it is open");
    for (number, byte) in b"abc".iter().enumerate() {
        assert_eq!(way.client.read_u8().await.expect("it drips"), *byte);
        let least = Duration::from_secs(number as u64).saturating_sub(Duration::from_millis(50));
        assert!(began.elapsed() >= least, "byte {number} came after {:?}", began.elapsed());
    }
}

#[tokio::test]
async fn a_limited_way_carries_so_many_bytes_a_second() {
    const RATE: usize = 200_000;
    let mut way = Passage::open(Some(8_192)).await;
    way.proxy.obey(&format!("limit up {RATE}"));
    way.told.obeyed().await;
    let began = Instant::now();
    let (client, server) = (&mut way.client, &mut way.server);
    let mut got = vec![0; RATE];
    let (written, read) = tokio::join!(client.write_all(&[1; RATE]), server.read_exact(&mut got));
    written.expect("it is open");
    read.expect("it is open");
    assert!(began.elapsed() >= Duration::from_millis(900), "{:?}", began.elapsed());
    assert!(began.elapsed() <= PATIENCE, "{:?}", began.elapsed());
    assert!(got.iter().all(|byte| *byte == 1));
}

#[tokio::test]
async fn a_delayed_way_gives_everything_later_and_in_order() {
    const DELAY: Duration = Duration::from_millis(300);
    let mut way = Passage::open(None).await;
    way.proxy.obey("delay both 0.3");
    way.told.obeyed().await;
    let began = Instant::now();
    way.up(b"one").await;
    assert!(began.elapsed() >= DELAY, "{:?}", began.elapsed());
    way.client.write_all(b"two").await.expect("it is open");
    way.proxy.obey("clear");
    way.up(b"").await;
    assert_eq!(read(&mut way.server, 3).await, b"two", "what is under way comes at once when the delay ends");
}

#[tokio::test]
async fn one_bit_is_flipped_at_a_place_that_the_seed_tells() {
    let mut places = Vec::new();
    for _ in 0..2 {
        let mut way = Passage::open(None).await;
        way.up(b"first").await;
        way.proxy.obey("flip up");
        way.told.obeyed().await;
        way.client.write_all(&[0; 100]).await.expect("it is open");
        let got = read(&mut way.server, 100).await;
        assert_eq!(got.iter().map(|byte| byte.count_ones()).sum::<u32>(), 1);
        let Happening::Flipped { connection: 0, way: Way::Up, byte, bit } = way.told.next().await else { panic!("not told") };
        assert_eq!(got[byte as usize - 5], 1 << bit);
        way.up(b"and nothing after that").await;
        places.push((byte, bit));
    }
    assert_eq!(places[0], places[1]);
}

#[tokio::test]
async fn loss_takes_what_its_sender_believes_sent_and_then_cuts() {
    let mut way = Passage::open(None).await;
    way.up(b"first").await;
    way.proxy.obey("lose up 4");
    way.told.obeyed().await;
    way.client.write_all(b"ab").await.expect("it is open");
    quiet(&mut way.server).await;
    way.down(b"the other way goes on").await;
    way.client.write_all(b"cd").await.expect("it seems open");
    assert_eq!(ended(&mut way.server).await.expect("an end in order"), 0);
    let (how, up, _) = way.told.closed().await;
    assert_eq!((how, up), ("cut after loss", Carried { passed: 5, lost: 4 }));
}

#[tokio::test]
async fn what_is_under_way_at_a_cut_is_lost() {
    let mut way = Passage::open(None).await;
    way.proxy.obey("delay up 60");
    way.told.obeyed().await;
    way.client.write_all(b"never").await.expect("it is open");
    way.down(b"it has gone through the proxy").await;
    quiet(&mut way.server).await;
    way.proxy.obey("cut");
    assert_eq!(ended(&mut way.server).await.expect("an end in order"), 0);
    assert_eq!(way.told.closed().await.1, Carried { passed: 0, lost: 5 });
}

#[tokio::test]
async fn who_comes_while_nobody_listens_is_turned_away() {
    let nobody = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
    let to = nobody.local_addr().expect("bound");
    drop(nobody);
    let (report, told) = Report::new();
    let proxy = Proxy::start(config(to, None), report).expect("a free port");
    let mut told = Heard(told);
    let mut client = TcpStream::connect(("127.0.0.1", proxy.port)).await.expect("it listens");
    assert_eq!(ended(&mut client).await.expect_err("RST").kind(), ErrorKind::ConnectionReset);
    assert_eq!(told.next().await, Happening::TurnedAway { connection: 0, why: "nobody listens" });
}

#[tokio::test]
async fn more_connections_than_it_has_room_for_are_closed() {
    let mut way = Passage::open(None).await;
    let mut more = Vec::new();
    for _ in 1..64 {
        more.push(Passage::ends(&way.proxy, &way.listener, &mut way.told).await);
    }
    let mut one_more = TcpStream::connect(("127.0.0.1", way.proxy.port)).await.expect("it listens");
    assert_eq!(ended(&mut one_more).await.expect("an end in order"), 0);
    way.up(b"the others are left alone").await;
    more.truncate(62);
    way.told.closed().await;
    way.open_another().await;
}

#[tokio::test]
async fn what_is_no_order_is_said_to_be_none_and_changes_nothing() {
    let mut way = Passage::open(None).await;
    for line in
        ["", "cut up", "stall", "stall left", "limit up", "limit up 0", "limit up -1", "delay up nan", "delay up 1e9", "\"\\é"]
    {
        assert_eq!(Order::parse(line), None, "{line}");
    }
    way.proxy.obey("stall \"up\"");
    let told = timeout(PATIENCE, way.told.0.recv()).await.expect("it tells").expect("it runs");
    assert_eq!(
        told.to_string().split_once(',').expect("a line").1,
        r#""missed":0,"what":"not understood","order":"stall ?up?"}"#
    );
    way.up(b"it goes on").await;
}

#[test]
fn happenings_are_lines_of_json() {
    let line = |what| Told { at: 1.5, what, missed: 2 }.to_string();
    assert_eq!(line(Happening::Listening { port: 7 }), r#"{"at":1.500,"missed":2,"what":"listening","port":7}"#);
    let (up, down) = (Carried { passed: 1, lost: 2 }, Carried { passed: 3, lost: 4 });
    assert_eq!(
        line(Happening::Closed { connection: 9, how: "cut", up, down }),
        r#"{"at":1.500,"missed":2,"what":"closed","connection":9,"how":"cut","up":1,"up_lost":2,"down":3,"down_lost":4}"#
    );
    assert_eq!(
        line(Happening::Flipped { connection: 9, way: Way::Down, byte: 8, bit: 7 }),
        r#"{"at":1.500,"missed":2,"what":"flipped","connection":9,"way":"down","byte":8,"bit":7}"#
    );
}

#[tokio::test]
async fn a_reader_that_is_too_slow_learns_how_much_it_missed() {
    let (report, mut told) = Report::new();
    for port in 0..5_000 {
        report.tell(Happening::Listening { port });
    }
    assert_eq!(told.recv().await.expect("the first").missed, 0);
    report.tell(Happening::Listening { port: 1 });
    let mut missed = 0;
    while let Ok(line) = told.try_recv() {
        missed += line.missed;
    }
    assert_eq!(missed, 5_000 - 4_096);
}

/// A connection through a proxy, both of its ends, and what the proxy tells.
struct Passage {
    client: TcpStream,
    server: TcpStream,
    listener: TcpListener,
    proxy: Proxy,
    told: Heard,
}

impl Passage {
    async fn open(buffer: Option<u32>) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
        let (report, told) = Report::new();
        let proxy = Proxy::start(config(listener.local_addr().expect("bound"), buffer), report).expect("a free port");
        let mut told = Heard(told);
        let (client, server) = Self::ends(&proxy, &listener, &mut told).await;
        Self { client, server, listener, proxy, told }
    }

    async fn open_another(&mut self) {
        (self.client, self.server) = Self::ends(&self.proxy, &self.listener, &mut self.told).await;
    }

    async fn ends(proxy: &Proxy, listener: &TcpListener, told: &mut Heard) -> (TcpStream, TcpStream) {
        let client = TcpStream::connect(("127.0.0.1", proxy.port)).await.expect("it listens");
        let (server, _) = timeout(PATIENCE, listener.accept()).await.expect("it leads here").expect("a connection");
        told.opened().await;
        (client, server)
    }

    async fn up(&mut self, bytes: &[u8]) {
        self.client.write_all(bytes).await.expect("it is open");
        assert_eq!(read(&mut self.server, bytes.len()).await, bytes);
    }

    async fn down(&mut self, bytes: &[u8]) {
        self.server.write_all(bytes).await.expect("it is open");
        assert_eq!(read(&mut self.client, bytes.len()).await, bytes);
    }
}

fn config(to: std::net::SocketAddr, buffer: Option<u32>) -> Config {
    Config { listen: "127.0.0.1:0".parse().expect("an address"), to, seed: 5, buffer }
}

async fn read(stream: &mut TcpStream, bytes: usize) -> Vec<u8> {
    let mut got = vec![0; bytes];
    timeout(PATIENCE, stream.read_exact(&mut got)).await.expect("it comes").expect("it is open");
    got
}

/// Waits for the end: 0 bytes if it is in order, else why not.
async fn ended(stream: &mut TcpStream) -> io::Result<usize> {
    timeout(PATIENCE, stream.read(&mut [0])).await.expect("it ends")
}

/// Nothing comes, and no end.
async fn quiet(stream: &mut TcpStream) {
    assert!(timeout(QUIET, stream.read(&mut [0; 64])).await.is_err(), "something came");
}

struct Heard(mpsc::Receiver<Told>);

impl Heard {
    async fn next(&mut self) -> Happening {
        timeout(PATIENCE, self.0.recv()).await.expect("it tells").expect("it runs").what
    }

    async fn obeyed(&mut self) {
        while !matches!(self.next().await, Happening::Obeyed { .. }) {}
    }

    async fn opened(&mut self) {
        while !matches!(self.next().await, Happening::Opened { .. }) {}
    }

    async fn closed(&mut self) -> (&'static str, Carried, Carried) {
        loop {
            if let Happening::Closed { how, up, down, .. } = self.next().await {
                return (how, up, down);
            }
        }
    }
}
