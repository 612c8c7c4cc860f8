//! The switchboard over real sockets and TLS: links, refusals, and what bad input gets at each layer.

mod common {
    pub mod link;
    pub mod switchboard;
}

use std::io::ErrorKind;
use std::path::PathBuf;
use std::process::Command;
use std::time::Duration;

use a2alinker::net::address::{Address, Pin};
use a2alinker::net::dial::Outbound;
use a2alinker::net::server::{Security, Server, ServerConfig};
use a2alinker::net::tls::{Acceptance, KeySource, Trust};
use a2alinker::net::{Error, ws};
use a2alinker::proto::{
    Binding, BounceReason, ClientFrame, GoodbyeReason, Lane, RejectCode, ServerFrame, SlotStatus, limits, slot_label,
};
use a2alinker::switchboard::Config;
use bytes::Bytes;
use common::link::{Link, NEVER, Swarm, able, envelope, guest};
use common::switchboard::{SwitchboardProcess, TestSwitchboard};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::runtime::Handle;

/// Longer than anything that isn't broken takes.
const PATIENCE: Duration = Duration::from_secs(10);

// Links.

#[tokio::test]
async fn a_frame_crosses_the_switchboard_over_tls() {
    let switchboard = TestSwitchboard::start();
    let swarm = Swarm::new(1);
    let (ann, bob) = (swarm.member(1), swarm.member(2));
    let (mut from, labels) = Link::member(switchboard.url(), &ann).await;
    assert_eq!((labels.forget_others, labels.came), (true, vec![]));
    let (mut to, labels) = Link::member(switchboard.url(), &bob).await;
    assert_eq!(labels.came, [ann.label()]);
    assert!(matches!(from.next().await, ServerFrame::Labels(labels) if labels.came == [bob.label()]));
    assert!(matches!(from.binding, Binding::Exporter(_)));

    from.send_data(bob.label(), Lane::Normal, b"sealed").await;
    let frame = to.next_data().await;
    assert_eq!((frame.sealed(), frame.source()), (&b"sealed"[..], ann.label()));
}

#[tokio::test]
async fn frames_of_every_size_cross_in_order() {
    for switchboard in [TestSwitchboard::start(), TestSwitchboard::plain()] {
        let swarm = Swarm::new(1);
        let (ann, bob) = (swarm.member(1), swarm.member(2));
        let (mut from, _) = Link::member(switchboard.url(), &ann).await;
        let (mut to, _) = Link::member(switchboard.url(), &bob).await;
        let largest = limits::FRAME - 73;
        let sizes = [0, 1, 300, 4_096, 16_384, 16_385, 40_000, largest, 1, largest];
        for (number, size) in sizes.iter().enumerate() {
            from.send_data(bob.label(), Lane::Normal, &vec![number as u8; *size]).await;
        }
        for (number, size) in sizes.iter().enumerate() {
            assert_eq!(to.next_data().await.sealed(), vec![number as u8; *size]);
        }
    }
}

#[tokio::test]
async fn a_plain_link_is_bound_to_nothing() {
    let switchboard = TestSwitchboard::plain();
    assert!(!switchboard.url().secure);
    let (link, _) = Link::member(switchboard.url(), &Swarm::new(1).member(1)).await;
    assert_eq!(link.binding, Binding::None);
}

#[tokio::test]
async fn a_proof_can_t_be_carried_from_one_tls_connection_to_another() {
    let switchboard = TestSwitchboard::start();
    let ann = Swarm::new(1).member(1);
    let mut between = Link::open(switchboard.url()).await.expect("up");
    let elsewhere = Link::open(switchboard.url()).await.expect("up");
    let hello = ann.hello(&between.challenge, &elsewhere.binding);
    between.send(hello).await;
    assert!(matches!(between.next().await, ServerFrame::Reject(reject) if reject.code == RejectCode::Authentication));
    between.ended().await;
}

#[tokio::test]
async fn a_link_that_is_replaced_is_told_and_closed() {
    let switchboard = TestSwitchboard::start();
    let swarm = Swarm::new(1);
    let ann = swarm.member(1);
    let (mut older, _) = Link::member(switchboard.url(), &ann).await;
    let (mut newer, _) = Link::member(switchboard.url(), &ann).await;
    assert_eq!(older.next().await, ServerFrame::Replaced);
    older.ended().await;
    newer.send_data(ann.label(), Lane::Normal, b"to myself").await;
    assert_eq!(newer.next_data().await.sealed(), b"to myself");
}

#[tokio::test]
async fn a_stranger_is_linked_to_the_mailbox_of_its_ticket() {
    let switchboard = TestSwitchboard::start();
    let swarm = Swarm::new(1);
    let (admin, mailbox) = (swarm.admin(1), swarm.member(200).label());
    let (mut inside, _) = Link::member(switchboard.url(), &admin).await;
    inside.send(ClientFrame::Register { mailbox, expiry: NEVER }).await;
    assert!(matches!(inside.next().await, ServerFrame::Registered { .. }));

    let newcomer = swarm.stranger(9, mailbox);
    let mut outside = Link::up(switchboard.url(), &newcomer).await;
    outside.send_data(mailbox, Lane::Urgent, b"let me in").await;
    let request = inside.next_data().await;
    inside.send_data(request.source(), Lane::Urgent, b"come in").await;
    assert_eq!((request.source(), outside.next_data().await.sealed()), (newcomer.label(), &b"come in"[..]));
}

#[tokio::test]
async fn a_guest_is_linked_to_the_holder_of_its_slot() {
    let switchboard = TestSwitchboard::start();
    let swarm = Swarm::new(1);
    let (mut inside, _) = Link::member(switchboard.url(), &swarm.admin(1)).await;
    let nobody = guest(9, 7);
    let mut outside = Link::open(switchboard.url()).await.expect("up");
    outside.say_hello(&nobody).await;
    assert!(matches!(outside.next().await, ServerFrame::Reject(reject) if reject.code == RejectCode::UnknownMailbox));

    inside.send(ClientFrame::OpenSlot { slot: 7, expiry: NEVER }).await;
    assert_eq!(inside.next().await, ServerFrame::SlotOpened { asked: 7, slot: 7, status: SlotStatus::Done });
    let mut outside = Link::up(switchboard.url(), &nobody).await;
    outside.send_data(slot_label(7), Lane::Urgent, b"ask").await;
    let ask = inside.next_data().await;
    inside.send_data(ask.source(), Lane::Urgent, b"tell").await;
    assert_eq!((ask.source(), outside.next_data().await.sealed()), (nobody.label(), &b"tell"[..]));
}

#[tokio::test]
async fn a_link_that_was_cut_goes_on_over_another_socket_with_what_it_missed() {
    for switchboard in [TestSwitchboard::start(), TestSwitchboard::plain()] {
        let swarm = Swarm::new(1);
        let (ann, mut bob) = (able(swarm.member(1)), able(swarm.member(2)));
        let (mut from, _) = Link::welcomed(switchboard.url(), &ann).await;
        let (mut first, welcome) = Link::welcomed(switchboard.url(), &bob).await;
        let large = vec![7; 60_000];
        for sealed in [&b"0"[..], b"1", &large, b"3"] {
            from.send_data(bob.label(), Lane::Normal, sealed).await;
        }
        first.send_data(swarm.member(9).label(), Lane::Normal, b"for nobody").await;
        for sealed in [b"0", b"1"] {
            assert_eq!(first.next_data().await.sealed(), sealed);
        }
        drop(first);
        from.send_data(bob.label(), Lane::Normal, b"4").await;

        (bob.body.resume_token, bob.body.received) = (welcome.resume_token, 2);
        let (mut second, welcome) = Link::welcomed(switchboard.url(), &bob).await;
        assert_eq!(welcome.resumed, Some(1));
        for sealed in [&large[..], b"3", b"4"] {
            assert_eq!(second.next_data().await.sealed(), sealed);
        }
        assert_eq!((switchboard.server.stats().resumed, switchboard.server.stats().bounced), (1, 1));
    }
}

#[tokio::test]
async fn a_link_is_taken_over_from_a_socket_that_is_still_open() {
    let switchboard = TestSwitchboard::start();
    let mut ann = able(Swarm::new(1).member(1));
    let (mut half_open, welcome) = Link::welcomed(switchboard.url(), &ann).await;
    ann.body.resume_token = welcome.resume_token;
    let (mut link, welcome) = Link::welcomed(switchboard.url(), &ann).await;
    assert_eq!(welcome.resumed, Some(0));
    assert!(matches!(half_open.next().await, ServerFrame::Labels(_)));
    assert!(half_open.next_bytes().await.is_ok_and(|frame| frame.is_none()), "closed without a word");
    link.send_data(ann.label(), Lane::Normal, b"to myself").await;
    assert_eq!(link.next_data().await.sealed(), b"to myself");
}

#[tokio::test]
async fn an_envelope_waits_for_an_agent_that_is_away() {
    let switchboard = TestSwitchboard::start();
    let swarm = Swarm::new(1);
    let (ann, bob) = (able(swarm.member(1)), able(swarm.member(2)));
    let (mut away, _) = Link::welcomed(switchboard.url(), &bob).await;
    let (mut from, _) = Link::welcomed(switchboard.url(), &ann).await;
    away.send(ClientFrame::Goodbye(GoodbyeReason::Closing)).await;
    while !matches!(from.next().await, ServerFrame::Labels(labels) if labels.went == [bob.label()]) {}
    from.send(ClientFrame::Data(envelope(bob.label(), Lane::Normal, b"later"))).await;
    assert_eq!(from.next().await, ServerFrame::Accepted { number: 0 });
    from.send(ClientFrame::Goodbye(GoodbyeReason::Closing)).await;
    from.ended().await;

    let (mut back, _) = Link::welcomed(switchboard.url(), &bob).await;
    let frame = back.next_data().await;
    assert_eq!((frame.sealed(), frame.source()), (&b"later"[..], ann.label()));
    back.send(ClientFrame::LinkAck { received: 1 }).await;
}

#[tokio::test]
async fn a_half_open_link_is_cut_and_one_that_answers_pings_is_not() {
    let limits =
        Config { ping_interval: Duration::from_millis(50), silence_limit: Duration::from_millis(200), ..Config::default() };
    let switchboard = TestSwitchboard::with(ServerConfig { limits, ..TestSwitchboard::config() });
    let swarm = Swarm::new(1);
    let (silent, quiet) = (swarm.member(1), swarm.member(2));
    let (mut alive, _) = Link::member(switchboard.url(), &quiet).await;
    let (_half_open, _) = Link::member(switchboard.url(), &silent).await;
    assert!(matches!(alive.next().await, ServerFrame::Labels(labels) if labels.came == [silent.label()]));
    assert!(matches!(alive.next().await, ServerFrame::Labels(labels) if labels.went == [silent.label()]));
    alive.send_data(quiet.label(), Lane::Normal, b"still here").await;
    assert_eq!(alive.next_data().await.sealed(), b"still here");
}

#[tokio::test]
async fn a_slow_reader_costs_only_itself() {
    let limits = Config { stall_limit: Duration::from_millis(500), ..Config::default() };
    let switchboard = TestSwitchboard::with(ServerConfig { limits, ..TestSwitchboard::config() });
    let swarm = Swarm::new(1);
    let (ann, bob, eve) = (swarm.member(1), swarm.member(2), swarm.member(3));
    let (mut from, _) = Link::member(switchboard.url(), &ann).await;
    let (_slow, _) = Link::member(switchboard.url(), &bob).await;
    let (mut brisk, _) = Link::member(switchboard.url(), &eve).await;

    let mut full = None;
    while full.is_none() {
        from.send_data(bob.label(), Lane::Bulk, &[0; 60_000]).await;
        from.send_data(eve.label(), Lane::Normal, b"brisk").await;
        assert_eq!(brisk.next_data().await.sealed(), b"brisk");
        while let Some(frame) = from.next_if_there().await {
            if let ServerFrame::Bounce(bounce) = frame {
                assert_eq!((bounce.reason, bounce.number % 2), (BounceReason::Full, 0), "only what was for the slow one");
                full = Some(bounce);
            }
        }
    }
    loop {
        if let ServerFrame::Labels(labels) = from.next().await
            && labels.went == [bob.label()]
        {
            break;
        }
    }
    assert_eq!(switchboard.server.stats().stalled, 1);
}

// Certificates.

#[tokio::test]
async fn a_certificate_is_believed_by_its_pin_and_otherwise_shown_with_it() {
    let switchboard = off_loopback(KeySource::Fresh);
    let pin = switchboard.server.pin().expect("TLS");
    let address = |pin| Address { secure: true, host: "0.0.0.0".to_owned(), port: switchboard.server.port(), pin };
    for wrong in [None, Some(Pin::from_bytes([7; 32]))] {
        let refused = ws::connect(&address(wrong), &Outbound::default(), Acceptance::Vouched).await.expect_err("not trusted");
        assert!(matches!(&refused, Error::UntrustedSwitchboard { seen, .. } if *seen == pin), "{refused}");
        assert!(refused.to_string().contains(&pin.to_string()), "the message says what to write");
    }
    assert!(ws::connect(&address(Some(pin)), &Outbound::default(), Acceptance::Vouched).await.is_ok());
}

#[tokio::test]
async fn a_certificate_is_believed_by_a_given_authority_and_its_name() {
    let folder = Folder::new("authority");
    let key = rcgen::KeyPair::generate().expect("a key");
    let certificate =
        rcgen::CertificateParams::new(["0.0.0.0".to_owned()]).and_then(|params| params.self_signed(&key)).expect("a certificate");
    let (chain, key) = (folder.file("chain.pem", &certificate.pem()), folder.file("key.pem", &key.serialize_pem()));
    let switchboard = off_loopback(KeySource::Certificate { chain: chain.clone(), key });
    let outbound = Outbound { trust: Trust::from_pem_file(&chain).expect("a certificate"), ..Outbound::default() };
    let address = |host: &str| Address { secure: true, host: host.to_owned(), port: switchboard.server.port(), pin: None };
    assert!(ws::connect(&address("0.0.0.0"), &outbound, Acceptance::Vouched).await.is_ok());
    let other_name = ws::connect(&address("0.0.0.0"), &Outbound::default(), Acceptance::Vouched)
        .await
        .expect_err("the system doesn't know it");
    assert!(matches!(other_name, Error::UntrustedSwitchboard { .. }));
}

#[tokio::test]
async fn a_key_file_keeps_the_pin_and_is_never_overwritten() {
    let folder = Folder::new("key");
    let file = folder.path("switchboard.key");
    let start =
        |source| Server::start(ServerConfig { security: Security::Tls(source), ..TestSwitchboard::config() }, &Handle::current());
    let first = start(KeySource::NewFile(file.clone())).expect("made").pin();
    #[cfg(unix)]
    {
        use std::os::unix::fs::PermissionsExt;
        assert_eq!(std::fs::metadata(&file).expect("the file").permissions().mode() & 0o777, 0o600);
    }
    assert_eq!(start(KeySource::File(file.clone())).expect("used").pin(), first);
    assert_ne!(start(KeySource::Fresh).expect("made").pin(), first);
    let before = std::fs::read(&file).expect("the file");
    let refused = start(KeySource::NewFile(file.clone())).expect_err("it exists");
    assert!(matches!(&refused, Error::KeyFile { problem, .. } if problem.contains("--key")), "{refused}");
    assert_eq!(std::fs::read(&file).expect("the file"), before);

    let missing = start(KeySource::File(folder.path("none"))).expect_err("no file");
    assert!(missing.to_string().contains("--new-key"), "{missing}");
    let garbage = start(KeySource::File(folder.file("garbage", "garbage"))).expect_err("no key");
    assert!(matches!(garbage, Error::KeyFile { .. }));
    let (chain, key) = (folder.file("empty.pem", ""), file);
    assert!(matches!(start(KeySource::Certificate { chain, key }), Err(Error::KeyFile { .. })));
}

// What isn't a switchboard, or isn't there.

#[tokio::test]
async fn each_way_not_to_reach_a_switchboard_has_its_error() {
    let plain = TestSwitchboard::plain();
    let secure = TestSwitchboard::start();
    let (plain_port, secure_port) = (plain.server.port(), secure.server.port());
    let connect = async |text: String| {
        ws::connect(&text.parse().expect("an address"), &Outbound::default(), Acceptance::Vouched).await.expect_err("no link")
    };

    let error = connect(format!("wss://127.0.0.1:{plain_port}")).await;
    assert!(matches!(&error, Error::Tls { reason, .. } if reason.contains("ws://")), "{error}");
    let error = connect(format!("ws://127.0.0.1:{secure_port}")).await;
    assert!(matches!(error, Error::NotASwitchboard { .. } | Error::Unreachable { .. }), "{error}");
    let error = connect(format!("ws://127.0.0.1:{}", http_server().await)).await;
    assert!(matches!(&error, Error::NotASwitchboard { reason, .. } if reason.contains("404")), "{error}");
    let free = TcpListener::bind("127.0.0.1:0").await.and_then(|listener| listener.local_addr()).expect("a free port").port();
    let error = connect(format!("wss://127.0.0.1:{free}")).await;
    assert!(matches!(&error, Error::Unreachable { source, .. } if source.kind() == ErrorKind::ConnectionRefused), "{error}");
    let error = connect("wss://no-such-host.invalid:7447".to_owned()).await;
    assert!(matches!(error, Error::Resolve { .. }), "{error}");
}

#[tokio::test]
async fn a_port_in_use_is_said_so() {
    let first = TestSwitchboard::start();
    let listen = format!("127.0.0.1:{}", first.server.port()).parse().expect("an address");
    let refused = Server::start(ServerConfig { listen, ..ServerConfig::default() }, &Handle::current()).expect_err("in use");
    assert!(matches!(refused, Error::PortInUse { .. }), "{refused}");
}

#[tokio::test]
async fn the_address_to_give_away_is_the_advertised_one() {
    let advertise = Some("relay.example".parse().expect("a name"));
    let config = ServerConfig { advertise: advertise.clone(), ..TestSwitchboard::config() };
    let switchboard = TestSwitchboard::with(config.clone());
    let (port, pin) = (switchboard.server.port(), switchboard.server.pin().expect("TLS"));
    assert_eq!(switchboard.url().to_string(), format!("wss://relay.example:{port}#{pin}"));
    let proxied = TestSwitchboard::with(ServerConfig { security: Security::BehindProxy, ..config });
    assert_eq!(proxied.url().to_string(), "wss://relay.example:443");
}

// Garbage, layer by layer. After each the switchboard serves others as before.

#[tokio::test]
async fn bytes_that_are_no_tls_are_cut_off() {
    let switchboard = TestSwitchboard::start();
    for garbage in [&b"GET / HTTP/1.1\r\n\r\n"[..], &[0xFF; 70_000], &[22, 3, 1, 0xFF, 0xFF, 1, 2, 3], b""] {
        let mut socket = tcp(&switchboard).await;
        // The other end may be gone before all of it is sent.
        let _cut = socket.write_all(garbage).await;
        let _cut = socket.shutdown().await;
        read_to_end(&mut socket).await;
    }
    assert_serves(&switchboard).await;
}

#[tokio::test]
async fn bytes_that_are_no_websocket_are_cut_off() {
    let switchboard = TestSwitchboard::plain();
    for garbage in [&b"\0\0\0\0\r\n\r\n"[..], b"POST / HTTP/1.1\r\n\r\n", b"GET / HTTP/1.1\r\nHost: x\r\n\r\n", &[b'a'; 100_000]]
    {
        let mut socket = tcp(&switchboard).await;
        let _cut = socket.write_all(garbage).await;
        let answer = read_to_end(&mut socket).await;
        assert!(!String::from_utf8_lossy(&answer).contains("101 Switching"), "{answer:?}");
    }
    assert_serves(&switchboard).await;
}

#[tokio::test]
async fn a_websocket_without_our_subprotocol_is_told_what_this_is() {
    let switchboard = TestSwitchboard::plain();
    for offered in ["", "Sec-WebSocket-Protocol: chat, a2alinker.9\r\n"] {
        let mut socket = tcp(&switchboard).await;
        let request = format!("{UPGRADE}{offered}\r\n");
        socket.write_all(request.as_bytes()).await.expect("sent");
        let answer = String::from_utf8_lossy(&read_to_end(&mut socket).await).into_owned();
        assert!(answer.starts_with("HTTP/1.1 400") && answer.contains("a2alinker switchboard"), "{answer}");
    }
}

#[tokio::test]
async fn text_fragments_beyond_the_limit_and_oversize_messages_end_a_link() {
    let switchboard = TestSwitchboard::plain();
    let masked = |first: u8, payload: &[u8]| {
        let mut bytes = vec![first, 0xFE];
        bytes.extend((payload.len() as u16).to_be_bytes());
        bytes.extend([0; 4]);
        bytes.extend(payload);
        bytes
    };
    let mut too_long = vec![0x82, 0xFF];
    too_long.extend((limits::FRAME as u64 + 1).to_be_bytes());
    too_long.extend([0; 4]);
    let mut fragments = masked(0x02, &[0; 40_000]);
    fragments.extend(masked(0x80, &[0; 40_000]));
    let unmasked = vec![0x82, 1, 0];
    for garbage in [masked(0x81, &[b'a'; 200]), too_long, fragments, unmasked, masked(0x83, &[0; 200]), masked(0xC2, &[0; 200])] {
        let mut socket = tcp(&switchboard).await;
        socket.write_all(format!("{UPGRADE}Sec-WebSocket-Protocol: a2alinker.1\r\n\r\n").as_bytes()).await.expect("sent");
        socket.write_all(&garbage).await.expect("sent");
        read_to_end(&mut socket).await;
    }
    assert_serves(&switchboard).await;
    let forgotten = async {
        while switchboard.server.stats().links > 0 {
            tokio::task::yield_now().await;
        }
    };
    tokio::time::timeout(PATIENCE, forgotten).await.expect("no link is left behind");
}

#[tokio::test]
async fn frames_of_unknown_kind_are_passed_over() {
    let switchboard = TestSwitchboard::start();
    let ann = Swarm::new(1).member(1);
    let (mut link, _) = Link::member(switchboard.url(), &ann).await;
    for kind in [0x15, 0x30, 0x40, 0xFF] {
        link.send_bytes(Bytes::copy_from_slice(&[kind, 1, 2, 3])).await.expect("sent");
    }
    link.send_data(ann.label(), Lane::Normal, b"after").await;
    assert_eq!(link.next_data().await.sealed(), b"after");
    assert_eq!(switchboard.server.stats().unknown_kinds, 4);
}

#[tokio::test]
async fn a_link_that_is_refused_hears_why_though_it_is_still_sending() {
    let switchboard = TestSwitchboard::start();
    let mut link = Link::open(switchboard.url()).await.expect("up");
    for _ in 0..50 {
        link.send_bytes(Bytes::from(vec![0x10; 60_000])).await.expect("sent");
    }
    assert!(matches!(link.next().await, ServerFrame::Reject(reject) if reject.code == RejectCode::Malformed));
    link.ended().await;
}

// The end.

#[tokio::test]
async fn shutting_down_says_goodbye_and_waits_for_nobody_for_long() {
    let switchboard = TestSwitchboard::start();
    let swarm = Swarm::new(1);
    let (mut polite, _) = Link::member(switchboard.url(), &swarm.member(1)).await;
    let (_deaf, _) = Link::member(switchboard.url(), &swarm.member(2)).await;
    let _unfinished = tcp(&switchboard).await;
    let hearing = async {
        while !matches!(polite.next().await, ServerFrame::Goodbye(GoodbyeReason::ShuttingDown)) {}
        polite.ended().await;
    };
    let ending = tokio::time::timeout(PATIENCE, switchboard.server.shutdown());
    let (ended, ()) = tokio::join!(ending, hearing);
    assert!(ended.is_ok());
    assert_eq!(switchboard.server.stats().links, 0);
    assert!(TcpStream::connect(("127.0.0.1", switchboard.server.port())).await.is_err());
    switchboard.server.shutdown().await;
}

#[tokio::test]
async fn dropping_a_switchboard_frees_its_port() {
    let switchboard = TestSwitchboard::start();
    let (mut link, _) = Link::member(switchboard.url(), &Swarm::new(1).member(1)).await;
    let listen = format!("127.0.0.1:{}", switchboard.server.port()).parse().expect("an address");
    drop(switchboard);
    link.ended().await;
    let config = ServerConfig { listen, ..ServerConfig::default() };
    assert!(Server::start(config, &Handle::current()).is_ok());
}

// The binary.

#[cfg(unix)]
#[tokio::test]
async fn the_binary_ends_cleanly_on_sigterm_and_sigint() {
    for signal in ["-TERM", "-INT"] {
        let mut process = SwitchboardProcess::start(&[]);
        let (mut link, _) = Link::member(&process.url, &Swarm::new(1).member(1)).await;
        let sent = Command::new("kill").args([signal, &process.id().to_string()]).status().expect("kill exists");
        assert!(sent.success());
        assert_eq!(link.next().await, ServerFrame::Goodbye(GoodbyeReason::ShuttingDown));
        link.ended().await;
        assert_eq!(process.wait().await.code(), Some(0));
    }
}

#[test]
fn the_binary_says_what_is_wrong_and_exits_with_a_code() {
    let run = |arguments: &[&str]| {
        let output = Command::new(env!("CARGO_BIN_EXE_a2alinker-switchboard")).args(arguments).output().expect("built");
        (output.status.code(), String::from_utf8_lossy(&output.stderr).into_owned())
    };
    let (code, text) = run(&["--listen", "wss://127.0.0.1:0"]);
    assert!(code == Some(2) && text.contains("no scheme"), "{text}");
    let (code, text) = run(&["--plain", "--key", "file"]);
    assert!(code == Some(2) && text.contains("cannot be used with"), "{text}");
    let (code, text) = run(&["--key", "/nonexistent/key"]);
    assert!(code == Some(1) && text.contains("--new-key"), "{text}");
    let taken = std::net::TcpListener::bind("127.0.0.1:0").expect("a free port");
    let (code, text) = run(&["--listen", &taken.local_addr().expect("bound").to_string()]);
    assert!(code == Some(1) && text.contains("another process"), "{text}");
}

#[cfg(target_os = "linux")]
#[tokio::test]
async fn a_running_switchboard_has_no_file_open_and_no_child() {
    let folder = Folder::new("nofile");
    let key = folder.path("key");
    let process = SwitchboardProcess::start(&["--new-key", key.to_str().expect("a path in UTF-8")]);
    let swarm = Swarm::new(1);
    let (ann, bob) = (swarm.member(1), swarm.member(2));
    let (mut from, _) = Link::member(&process.url, &ann).await;
    let (mut to, _) = Link::member(&process.url, &bob).await;
    from.send_data(bob.label(), Lane::Normal, b"sealed").await;
    to.next_data().await;

    let (files, sockets) = open_files(process.id());
    assert_eq!((files, sockets > 0), (vec![], true));
    let children = format!("/proc/{0}/task/{0}/children", process.id());
    assert_eq!(std::fs::read_to_string(children).expect("our child").trim(), "");

    let _own = std::fs::File::open(&key).expect("the key file");
    assert!(open_files(std::process::id()).0.contains(&key), "an open file would have been seen");
}

/// Ten thousand links of a release build cost half of it each (`make bench-links`).
#[cfg(target_os = "linux")]
#[tokio::test]
async fn an_idle_link_costs_a_switchboard_at_most_24_kib() {
    const LIMIT: u64 = 24 * 1024;
    let process = SwitchboardProcess::start(&[]);
    let mut links = Vec::new();
    let mut sizes = Vec::new();
    // The first hundred pay for what all share.
    for swarms in [1..=10, 11..=40] {
        for (swarm, member) in swarms.flat_map(|swarm| (1..=10).map(move |member| (swarm, member))) {
            links.push(Link::member(&process.url, &Swarm::new(swarm).member(member)).await);
        }
        sizes.push((links.len() as u64, proportional_set_size(process.id())));
    }
    let [(few, before), (many, after)] = sizes[..] else { panic!("it was measured twice") };
    let each = after.saturating_sub(before) / (many - few);
    assert!((1..=LIMIT).contains(&each), "{each} bytes for each link: {before} with {few}, {after} with {many}");
}

// Helpers.

/// Returns how much memory a process has, in bytes.
#[cfg(target_os = "linux")]
fn proportional_set_size(process: u32) -> u64 {
    let rollup = std::fs::read_to_string(format!("/proc/{process}/smaps_rollup")).expect("our child");
    let line = rollup.lines().find_map(|line| line.strip_prefix("Pss:")).expect("Linux 4.14 or later");
    line.trim().trim_end_matches(" kB").parse::<u64>().expect("a number") * 1024
}

/// What a browser asks when it wants a WebSocket, without an end.
const UPGRADE: &str = "GET / HTTP/1.1\r\nHost: x\r\nConnection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\n\
                       Sec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\n";

/// A switchboard that clients reach as 0.0.0.0, which is this machine but not a loopback address, so that its certificate
/// is judged.
fn off_loopback(source: KeySource) -> TestSwitchboard {
    let listen = "0.0.0.0:0".parse().expect("an address");
    TestSwitchboard::with(ServerConfig { listen, security: Security::Tls(source), ..ServerConfig::default() })
}

async fn tcp(switchboard: &TestSwitchboard) -> TcpStream {
    TcpStream::connect(("127.0.0.1", switchboard.server.port())).await.expect("the switchboard listens")
}

/// Reads until the other side is gone, politely or not.
async fn read_to_end(socket: &mut TcpStream) -> Vec<u8> {
    let mut bytes = Vec::new();
    let reading = tokio::time::timeout(PATIENCE, socket.read_to_end(&mut bytes)).await;
    let _reset = reading.expect("the switchboard closes the connection");
    bytes
}

/// The regular files and folders that a process has open, and how many sockets.
#[cfg(target_os = "linux")]
fn open_files(process: u32) -> (Vec<PathBuf>, usize) {
    let (mut files, mut sockets) = (Vec::new(), 0);
    for entry in std::fs::read_dir(format!("/proc/{process}/fd")).expect("the process lives") {
        let descriptor = entry.expect("an entry").path();
        // Descriptors of this process come and go while it looks.
        let (Ok(target), Ok(metadata)) = (std::fs::read_link(&descriptor), std::fs::metadata(&descriptor)) else { continue };
        if metadata.is_file() || metadata.is_dir() {
            files.push(target);
        } else if target.to_string_lossy().starts_with("socket:") {
            sockets += 1;
        }
    }
    (files, sockets)
}

async fn assert_serves(switchboard: &TestSwitchboard) {
    let ann = Swarm::new(1).member(1);
    let (mut link, _) = Link::member(switchboard.url(), &ann).await;
    link.send_data(ann.label(), Lane::Normal, b"as before").await;
    assert_eq!(link.next_data().await.sealed(), b"as before");
    link.send(ClientFrame::Goodbye(GoodbyeReason::Closing)).await;
    link.ended().await;
}

/// Answers one request as web servers do that know no WebSocket.
async fn http_server() -> u16 {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
    let port = listener.local_addr().expect("bound").port();
    tokio::spawn(async move {
        let (mut socket, _) = listener.accept().await.expect("a client");
        let mut request = [0; 4096];
        let _request = socket.read(&mut request).await;
        socket.write_all(b"HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\n\r\n").await.expect("answered");
    });
    port
}

/// A folder of its own for a test, removed at its end.
struct Folder(PathBuf);

impl Folder {
    fn new(name: &str) -> Self {
        let path = std::env::temp_dir().join(format!("a2alinker-relay-{name}-{}", std::process::id()));
        std::fs::create_dir_all(&path).expect("a temporary folder");
        Self(path)
    }

    fn path(&self, name: &str) -> PathBuf {
        self.0.join(name)
    }

    fn file(&self, name: &str, content: &str) -> PathBuf {
        let path = self.path(name);
        std::fs::write(&path, content).expect("a temporary file");
        path
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        let _gone = std::fs::remove_dir_all(&self.0);
    }
}
