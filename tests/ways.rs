//! The ways to a switchboard over real sockets: proxies, several addresses, authorities, and paths that fall silent.

mod common {
    pub mod link;
    pub mod proxy;
    pub mod switchboard;
}

use std::path::PathBuf;

use a2alinker::net::Error;
use a2alinker::net::address::Address;
use a2alinker::net::dial::Outbound;
use a2alinker::net::proxy::{Proxies, ProxyProblem};
use a2alinker::net::server::{Security, ServerConfig};
use a2alinker::net::tls::{Acceptance, KeySource, Trust};
use a2alinker::net::ws::{self, Connection};
use common::proxy::{Manner, TestProxy};
use common::switchboard::TestSwitchboard;
use tokio::net::TcpListener;

/// User `us@r` and password `pass:word`.
const CREDENTIALS: &str = "dXNAcjpwYXNzOndvcmQ=";
const USER_INFO: &str = "us%40r:pass%3Aword";

// Proxies. The host of these addresses is known to the proxy alone: no name of it can be resolved here.

#[tokio::test]
async fn a_link_goes_through_the_proxy_of_its_scheme() {
    for switchboard in [TestSwitchboard::start(), TestSwitchboard::plain()] {
        let proxy = TestProxy::start(Manner::Leads(switchboard.server.port())).await;
        let connection = through(&switchboard, &format!("http://127.0.0.1:{}", proxy.port)).await.expect("a link");
        assert_eq!(connection.certificate().map(|seen| seen.pin), switchboard.server.pin());
        assert_eq!(proxy.tunnels(), 1);
    }
}

#[tokio::test]
async fn a_proxy_that_asks_gets_the_user_and_password_of_its_setting() {
    let switchboard = TestSwitchboard::start();
    let proxy = TestProxy::start(Manner::Asks(CREDENTIALS, switchboard.server.port())).await;
    let at = format!("127.0.0.1:{}", proxy.port);
    assert!(through(&switchboard, &format!("http://{USER_INFO}@{at}")).await.is_ok());

    let problem = problem(through(&switchboard, &format!("http://{at}")).await);
    assert!(matches!(problem, ProxyProblem::AuthenticationNeeded), "{problem}");
    let refused = through(&switchboard, &format!("http://us%40r:secret@{at}")).await.expect_err("another password");
    assert!(matches!(&refused, Error::Proxy { problem: ProxyProblem::AuthenticationRefused, .. }), "{refused}");
    assert!(refused.to_string().contains(&at) && !format!("{refused} {refused:?}").contains("secret"), "{refused}");
    assert_eq!(proxy.tunnels(), 1);
}

#[tokio::test]
async fn an_answer_that_drips_is_read_to_its_end_and_not_beyond() {
    let switchboard = TestSwitchboard::start();
    let proxy = TestProxy::start(Manner::Drips(switchboard.server.port())).await;
    assert!(through(&switchboard, &format!("127.0.0.1:{}", proxy.port)).await.is_ok());
}

#[tokio::test]
async fn each_way_in_which_a_proxy_fails_has_its_error() {
    let switchboard = TestSwitchboard::start();
    let failing = async |manner| {
        let proxy = TestProxy::start(manner).await;
        problem(through(&switchboard, &format!("127.0.0.1:{}", proxy.port)).await)
    };
    let says = |answer: &[u8]| Manner::Says(answer.to_vec());
    let huge = [&b"HTTP/1.1 200 OK\r\nX: "[..], &vec![b'x'; 1 << 20], b"\r\n\r\n"].concat();

    assert!(matches!(failing(says(b"HTTP/1.1 403 Forbidden\r\n\r\nno")).await, ProxyProblem::Refused { status: 403, .. }));
    assert!(matches!(failing(says(b"HTTP/1.0 502 Bad Gateway\r\n\r\n")).await, ProxyProblem::Upstream { status: 502, .. }));
    assert!(matches!(failing(says(b"")).await, ProxyProblem::Closed(_)));
    assert!(matches!(failing(says(b"HTTP/1.1 200 OK\r\nVia")).await, ProxyProblem::Closed(_)));
    assert!(matches!(failing(says(b"\x05\x00\x16\x03\x01")).await, ProxyProblem::NotHttp(_)));
    assert!(matches!(failing(says(b"HTTP/1.1 200 OK\r\n\r\nwelcome")).await, ProxyProblem::NotHttp(_)));
    assert!(matches!(failing(Manner::Says(huge)).await, ProxyProblem::NotHttp(_)));
    let silent = failing(Manner::Silent).await;
    assert!(matches!(silent, ProxyProblem::TimedOut(limit) if limit == ws::CONNECT_LIMIT), "{silent}");
    let free = TcpListener::bind("127.0.0.1:0").await.and_then(|listener| listener.local_addr()).expect("a free port").port();
    let absent = problem(through(&switchboard, &format!("127.0.0.1:{free}")).await);
    assert!(matches!(absent, ProxyProblem::Unreachable(_)), "{absent}");
}

// Certificates, on a link that isn't loopback.

#[tokio::test]
async fn a_private_authority_vouches_for_its_leaf_by_name_and_time() {
    let authority = Authority::new();
    let outbound = Outbound { trust: authority.trust(), ..Outbound::default() };
    let connect = async |name: &str, years, outbound: &Outbound| {
        let switchboard = authority.switchboard(name, years);
        ws::connect(&off_loopback(&switchboard), outbound, Acceptance::Vouched).await
    };

    let seen = connect("0.0.0.0", (2020, 2100), &outbound).await.expect("trusted").certificate().expect("TLS");
    assert!(seen.vouched);
    for (name, years, reason) in [
        ("relay.example", (2020, 2100), "not valid for name"),
        ("0.0.0.0", (2020, 2021), "expired"),
        ("0.0.0.0", (2099, 2100), "not valid yet"),
    ] {
        let refused = connect(name, years, &outbound).await.expect_err(reason);
        assert!(matches!(&refused, Error::UntrustedSwitchboard { reason: told, .. } if told.contains(reason)), "{refused}");
    }
    let unknown = connect("0.0.0.0", (2020, 2100), &Outbound::default()).await.expect_err("the system doesn't know it");
    assert!(matches!(&unknown, Error::UntrustedSwitchboard { reason, .. } if reason.contains("UnknownIssuer")), "{unknown}");
}

#[tokio::test]
async fn pairing_takes_any_certificate_and_says_who_vouches() {
    let switchboard = TestSwitchboard::with(ServerConfig {
        listen: "0.0.0.0:0".parse().expect("an address"),
        security: Security::Tls(KeySource::Fresh),
        ..ServerConfig::default()
    });
    let (mut address, pin) = (off_loopback(&switchboard), switchboard.server.pin().expect("TLS"));
    let seen = async |address: &Address, acceptance| {
        let connection = ws::connect(address, &Outbound::default(), acceptance).await.expect("accepted");
        connection.certificate().map(|seen| (seen.pin, seen.vouched))
    };
    assert_eq!(seen(&address, Acceptance::Any).await, Some((pin, false)));
    address.pin = Some(pin);
    assert_eq!(seen(&address, Acceptance::Any).await, Some((pin, true)));
    assert_eq!(seen(&address, Acceptance::Vouched).await, Some((pin, true)));
    let local = Address { host: "127.0.0.1".to_owned(), pin: None, ..address };
    assert_eq!(seen(&local, Acceptance::Vouched).await, Some((pin, false)), "on loopback any will do, and nobody vouches");
}

// IPv6.

#[tokio::test]
async fn what_listens_on_all_addresses_is_reached_by_both_families() {
    let config = ServerConfig { listen: "[::]:0".parse().expect("an address"), ..TestSwitchboard::config() };
    let switchboard = TestSwitchboard::with(config);
    for host in ["[::1]", "127.0.0.1", "localhost"] {
        let address = format!("wss://{host}:{}", switchboard.server.port()).parse().expect("an address");
        ws::connect(&address, &Outbound::default(), Acceptance::Vouched).await.unwrap_or_else(|error| panic!("{host}: {error}"));
    }
}

#[tokio::test]
async fn a_literal_of_ipv6_is_listened_on_and_given_away_in_brackets() {
    let config = ServerConfig { listen: "[::1]:0".parse().expect("an address"), ..TestSwitchboard::config() };
    let switchboard = TestSwitchboard::with(config);
    assert!(switchboard.url().to_string().starts_with(&format!("wss://[::1]:{}#", switchboard.server.port())));
    assert!(ws::connect(switchboard.url(), &Outbound::default(), Acceptance::Vouched).await.is_ok());
}

// Helpers.

/// Connects to `switchboard` under a name that only a proxy can know.
async fn through(switchboard: &TestSwitchboard, proxy: &str) -> Result<Connection, Error> {
    let address = Address { host: "switchboard.invalid".to_owned(), ..switchboard.url().clone() };
    let variable = if address.secure { "HTTPS_PROXY" } else { "HTTP_PROXY" };
    let proxies = Proxies::from_variables(|name| (name == variable).then(|| proxy.to_owned()));
    ws::connect(&address, &Outbound { proxies, ..Outbound::default() }, Acceptance::Vouched).await
}

fn problem(outcome: Result<Connection, Error>) -> ProxyProblem {
    match outcome.expect_err("no link") {
        Error::Proxy { problem, .. } => problem,
        other => panic!("not the proxy's error: {other}"),
    }
}

/// This machine by an address that isn't loopback, so that the certificate is judged.
fn off_loopback(switchboard: &TestSwitchboard) -> Address {
    Address { host: "0.0.0.0".to_owned(), pin: None, ..switchboard.url().clone() }
}

/// A certificate authority of its own for a test, in a folder that is removed at its end.
struct Authority {
    issuer: rcgen::CertifiedIssuer<'static, rcgen::KeyPair>,
    folder: PathBuf,
}

impl Authority {
    fn new() -> Self {
        let mut params = rcgen::CertificateParams::new(Vec::new()).expect("no names");
        params.is_ca = rcgen::IsCa::Ca(rcgen::BasicConstraints::Unconstrained);
        let key = rcgen::KeyPair::generate().expect("a key");
        let issuer = rcgen::CertifiedIssuer::self_signed(params, key).expect("a certificate");
        let folder = std::env::temp_dir().join(format!("a2alinker-ways-{}", std::process::id()));
        std::fs::create_dir_all(&folder).expect("a temporary folder");
        Self { issuer, folder }
    }

    fn trust(&self) -> Trust {
        Trust::from_pem_file(&self.file("authority.pem", &self.issuer.pem())).expect("a certificate")
    }

    /// A switchboard whose certificate is made out to `name`, from one new year to the other.
    fn switchboard(&self, name: &str, (from, until): (i32, i32)) -> TestSwitchboard {
        let mut params = rcgen::CertificateParams::new([name.to_owned()]).expect("a name");
        (params.not_before, params.not_after) = (rcgen::date_time_ymd(from, 1, 1), rcgen::date_time_ymd(until, 1, 1));
        let key = rcgen::KeyPair::generate().expect("a key");
        let chain = params.signed_by(&key, &self.issuer).expect("a certificate").pem();
        let (chain, key) = (self.file("chain.pem", &chain), self.file("key.pem", &key.serialize_pem()));
        TestSwitchboard::with(ServerConfig {
            listen: "0.0.0.0:0".parse().expect("an address"),
            security: Security::Tls(KeySource::Certificate { chain, key }),
            ..ServerConfig::default()
        })
    }

    fn file(&self, name: &str, content: &str) -> PathBuf {
        let path = self.folder.join(name);
        std::fs::write(&path, content).expect("a temporary file");
        path
    }
}

impl Drop for Authority {
    fn drop(&mut self) {
        let _gone = std::fs::remove_dir_all(&self.folder);
    }
}
