//! HTTP proxies on the way to a switchboard: which one an address goes through, and the CONNECT that asks it for a tunnel.
//!
//! The settings are the usual variables (`HTTPS_PROXY`, `HTTP_PROXY`, `ALL_PROXY`, `NO_PROXY`, lower case first), read once where an
//! agent is started and handed down; nothing here looks at the environment. Through the tunnel goes what would have gone over TCP: the
//! proxy sees TLS, and who connects to which switchboard.

use std::fmt;
use std::io;
use std::net::IpAddr;
use std::str::FromStr;
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use zeroize::Zeroizing;

use super::Error;
use super::address::{Address, HostPort, split_host_port};

/// The port of a proxy whose setting names none: that of its scheme, http.
const DEFAULT_PORT: u16 = 80;

/// Bytes of a proxy's answer, header and all. Chosen: what servers commonly allow for a header, and nothing to a client.
const ANSWER_BYTES: usize = 16 * 1024;

/// Characters of a proxy's own words that are shown. Chosen: one line.
const WORDS: usize = 100;

/// The proxies of one environment.
#[derive(Clone, Debug, Default)]
pub struct Proxies {
    /// For `wss://`.
    secure: Option<Setting>,
    /// For `ws://`.
    plain: Option<Setting>,
    exceptions: Vec<Exception>,
}

impl Proxies {
    /// No proxies: every connection is direct.
    pub fn none() -> Self {
        Self::default()
    }

    /// Takes the settings that `variable` gives, which is asked by name. What they hold is judged when it would be used.
    pub fn from_variables(variable: impl Fn(&str) -> Option<String>) -> Self {
        let first = |names: &[&'static str]| {
            names.iter().find_map(|name| {
                let value = variable(name).map(|value| value.trim().to_owned()).filter(|value| !value.is_empty())?;
                Some(Setting { variable: name, proxy: value.parse() })
            })
        };
        // In a CGI program HTTP_PROXY holds the header `Proxy` of whoever sends a request (CVE-2016-5385).
        let upper = if variable("REQUEST_METHOD").is_none() { "HTTP_PROXY" } else { "http_proxy" };
        let exceptions = ["no_proxy", "NO_PROXY"].iter().find_map(|name| variable(name)).unwrap_or_default();
        Self {
            secure: first(&["https_proxy", "HTTPS_PROXY", "all_proxy", "ALL_PROXY"]),
            plain: first(&["http_proxy", upper, "all_proxy", "ALL_PROXY"]),
            exceptions: exceptions.split([',', ' ', '\t', '\n']).filter_map(Exception::parse).collect(),
        }
    }

    /// The proxy through which `address` is reached. Loopback is always reached directly.
    ///
    /// # Errors
    /// [`Error::Proxy`] if the setting can't be used.
    pub(super) fn for_address(&self, address: &Address) -> Result<Option<&Proxy>, Error> {
        let setting = if address.secure { &self.secure } else { &self.plain };
        let Some(setting) = setting else { return Ok(None) };
        if address.is_loopback() || self.exceptions.iter().any(|exception| exception.covers(address)) {
            return Ok(None);
        }
        match &setting.proxy {
            Ok(proxy) => Ok(Some(proxy)),
            Err(problem) => {
                Err(Error::Proxy { proxy: format!("of {}", setting.variable), problem: ProxyProblem::Unusable(problem) })
            }
        }
    }
}

#[derive(Clone, Debug)]
struct Setting {
    variable: &'static str,
    proxy: Result<Proxy, &'static str>,
}

/// One HTTP proxy. Shown without its password, and without its user, who may be one.
#[derive(Clone)]
pub(super) struct Proxy {
    pub(super) host: String,
    pub(super) port: u16,
    /// User and password as the header has them.
    credentials: Option<Zeroizing<String>>,
}

impl fmt::Display for Proxy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "http://{}", HostPort(&self.host, self.port))
    }
}

impl fmt::Debug for Proxy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Proxy({self})")
    }
}

impl FromStr for Proxy {
    type Err = &'static str;

    /// Reads `http://user:password@host:port/`, of which all but the host may be left out.
    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let rest = match text.split_once("://") {
            None => text,
            Some((scheme, rest)) if scheme.eq_ignore_ascii_case("http") => rest,
            Some((scheme, _)) if scheme.eq_ignore_ascii_case("https") => {
                return Err("is reached by TLS, which isn't supported: write http://, the link itself is TLS all the same");
            }
            Some((scheme, _)) if scheme.to_ascii_lowercase().starts_with("socks") => {
                return Err("is a SOCKS proxy, which isn't supported: name an HTTP proxy, as in http://proxy.example:3128");
            }
            Some(_) => return Err("has a scheme that isn't known: write http://, as in http://proxy.example:3128"),
        };
        let authority = rest.split_once(['/', '?', '#']).map_or(rest, |(authority, _)| authority);
        let (user, place) = match authority.rsplit_once('@') {
            Some((user, place)) => (Some(user), place),
            None => (None, authority),
        };
        let (host, port) = split_host_port(place).map_err(|_| "has no host: write http://host:port")?;
        let credentials = user.map(credentials).transpose()?;
        Ok(Self { host, port: port.unwrap_or(DEFAULT_PORT), credentials })
    }
}

/// Encodes what stands before the `@` for Basic authentication (RFC 7617), where the same bytes are not percent-encoded.
fn credentials(user_info: &str) -> Result<Zeroizing<String>, &'static str> {
    let (user, password) = user_info.split_once(':').unwrap_or((user_info, ""));
    let problem = "has a user or password with a broken percent sequence: write a literal % as %25";
    let user = percent_decode(user).ok_or(problem)?;
    let password = Zeroizing::new(percent_decode(password).ok_or(problem)?);
    if user.contains(&b':') {
        return Err("has a user name with a colon, which Basic authentication can't carry");
    }
    let plain = Zeroizing::new([&user, &b":"[..], &password].concat());
    Ok(Zeroizing::new(data_encoding::BASE64.encode(&plain)))
}

fn percent_decode(text: &str) -> Option<Vec<u8>> {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.as_bytes();
    while let [first, after @ ..] = rest {
        rest = after;
        if *first != b'%' {
            bytes.push(*first);
            continue;
        }
        let (digits, after) = rest.split_at_checked(2)?;
        bytes.extend(data_encoding::HEXLOWER_PERMISSIVE.decode(digits).ok()?);
        rest = after;
    }
    Some(bytes)
}

/// What `NO_PROXY` takes out, one entry of it.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Exception {
    hosts: Hosts,
    /// Only this port; otherwise any.
    port: Option<u16>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum Hosts {
    All,
    /// A name and everything below it, in lower case.
    Domain(String),
    /// Addresses that share their first bits with this one.
    Network {
        ip: IpAddr,
        bits: u8,
    },
}

impl Exception {
    /// Reads `*`, `host`, `.domain`, `*.domain`, an IP address or a network, each but the last with or without `:port`. What is none of
    /// them takes nothing out: another program may know what it means.
    fn parse(entry: &str) -> Option<Self> {
        let entry = entry.trim();
        if let Some((ip, bits)) = entry.split_once('/') {
            let (ip, bits) = (ip.parse().ok()?, bits.parse().ok()?);
            return (bits <= width(ip)).then_some(Self { hosts: Hosts::Network { ip, bits }, port: None });
        }
        if let Ok(ip) = entry.parse() {
            return Some(Self { hosts: Hosts::Network { ip, bits: width(ip) }, port: None });
        }
        if entry == "*" {
            return Some(Self { hosts: Hosts::All, port: None });
        }
        let (host, port) = split_host_port(entry.trim_start_matches('*')).ok()?;
        let hosts = match host.parse() {
            Ok(ip) => Hosts::Network { ip, bits: width(ip) },
            Err(_) => Hosts::Domain(host.trim_matches('.').to_ascii_lowercase()),
        };
        (hosts != Hosts::Domain(String::new())).then_some(Self { hosts, port })
    }

    fn covers(&self, address: &Address) -> bool {
        if self.port.is_some_and(|port| port != address.port) {
            return false;
        }
        match &self.hosts {
            Hosts::All => true,
            Hosts::Domain(domain) => {
                let host = address.host.trim_end_matches('.').to_ascii_lowercase();
                host.strip_suffix(domain.as_str()).is_some_and(|before| before.is_empty() || before.ends_with('.'))
            }
            Hosts::Network { ip, bits } => address.host.parse().is_ok_and(|host| shares_bits(host, *ip, *bits)),
        }
    }
}

fn width(ip: IpAddr) -> u8 {
    if ip.is_ipv4() { 32 } else { 128 }
}

fn shares_bits(one: IpAddr, other: IpAddr, bits: u8) -> bool {
    let differing = match (one.to_canonical(), other) {
        (IpAddr::V4(one), IpAddr::V4(other)) => (one.to_bits() ^ other.to_bits()).leading_zeros(),
        (IpAddr::V6(one), IpAddr::V6(other)) => (one.to_bits() ^ other.to_bits()).leading_zeros(),
        _ => return false,
    };
    differing >= u32::from(bits)
}

/// What went wrong with a proxy.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ProxyProblem {
    /// The setting can't be used. The caller's to change.
    #[error("{0}")]
    Unusable(&'static str),
    /// Nobody answers there. Retryable.
    #[error("can't be reached: {0}")]
    Unreachable(io::Error),
    /// It answered too late, or not at all. Retryable.
    #[error("did not answer within {0:?}")]
    TimedOut(Duration),
    /// It wants to know who asks, or doesn't know the user. The caller's to change.
    #[error("wants a user and password: write them into its setting, as in http://user:password@proxy.example:3128")]
    AuthenticationNeeded,
    /// It doesn't take the user and password of its setting. The caller's to change.
    #[error("does not accept the user and password of its setting")]
    AuthenticationRefused,
    /// It doesn't lead there, by its rules. Not retryable.
    #[error("refuses to connect to {address}: {status} {words}")]
    Refused { address: String, status: u16, words: String },
    /// It couldn't reach the switchboard itself. Retryable.
    #[error("can't reach {address}: {status} {words}")]
    Upstream { address: String, status: u16, words: String },
    /// It closed the connection instead of answering. Retryable.
    #[error("closed the connection instead of answering: {0}")]
    Closed(io::Error),
    /// What answers there isn't an HTTP proxy. The caller's to change.
    #[error("does not answer like an HTTP proxy: {0}")]
    NotHttp(&'static str),
}

impl Proxy {
    /// Asks for a tunnel to `address`. After that `stream` leads there.
    ///
    /// # Errors
    /// What the proxy answers instead.
    pub(super) async fn open_tunnel(&self, stream: &mut TcpStream, address: &Address) -> Result<(), ProxyProblem> {
        stream.write_all(self.request(address).as_bytes()).await.map_err(ProxyProblem::Closed)?;
        let mut answer = Vec::new();
        let status = loop {
            if let Some(status) = Status::parse(&answer).map_err(ProxyProblem::NotHttp)? {
                break status;
            }
            let room = ANSWER_BYTES.saturating_sub(answer.len());
            if room == 0 {
                return Err(ProxyProblem::NotHttp("its answer is too long"));
            }
            if (&mut *stream).take(room as u64).read_buf(&mut answer).await.map_err(ProxyProblem::Closed)? == 0 {
                return Err(ProxyProblem::Closed(io::ErrorKind::UnexpectedEof.into()));
            }
        };
        let Status { code, words, has_more } = status;
        let address = HostPort(&address.host, address.port).to_string();
        match code {
            200..=299 if has_more => Err(ProxyProblem::NotHttp("it sends data before the tunnel is used")),
            200..=299 => Ok(()),
            407 if self.credentials.is_none() => Err(ProxyProblem::AuthenticationNeeded),
            407 => Err(ProxyProblem::AuthenticationRefused),
            500.. => Err(ProxyProblem::Upstream { address, status: code, words }),
            _ => Err(ProxyProblem::Refused { address, status: code, words }),
        }
    }

    fn request(&self, address: &Address) -> Zeroizing<String> {
        let target = HostPort(&address.host, address.port);
        let mut request = format!("CONNECT {target} HTTP/1.1\r\nHost: {target}\r\n");
        if let Some(credentials) = &self.credentials {
            request.push_str("Proxy-Authorization: Basic ");
            request.push_str(credentials);
            request.push_str("\r\n");
        }
        request.push_str("\r\n");
        Zeroizing::new(request)
    }
}

/// The first line of an answer whose header is complete.
#[derive(Debug, PartialEq, Eq)]
struct Status {
    code: u16,
    /// What the proxy says about it, fit to be shown.
    words: String,
    /// Whether bytes came behind the header.
    has_more: bool,
}

impl Status {
    /// Reads the answer as far as it has come; `None` if more has to come.
    fn parse(answer: &[u8]) -> Result<Option<Self>, &'static str> {
        const VERSION: &[u8] = b"HTTP/1.";
        const END: &[u8] = b"\r\n\r\n";
        let compared = VERSION.len().min(answer.len());
        if answer[..compared] != VERSION[..compared] {
            return Err("its answer isn't HTTP");
        }
        let Some(end) = answer.windows(END.len()).position(|bytes| bytes == END) else { return Ok(None) };
        let line = answer.split(|byte| *byte == b'\r').next().unwrap_or_default();
        let line = String::from_utf8_lossy(&line[VERSION.len()..]);
        let mut parts = line.splitn(3, ' ');
        let (_minor, code, words) = (parts.next(), parts.next().unwrap_or_default(), parts.next().unwrap_or_default());
        let code = code.parse().ok().filter(|code| (100..600).contains(code)).ok_or("its answer has no status")?;
        let words = words.chars().filter(|c| !c.is_control()).take(WORDS).collect();
        Ok(Some(Self { code, words, has_more: answer.len() > end + END.len() }))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn proxies(variables: &[(&str, &str)]) -> Proxies {
        Proxies::from_variables(|name| variables.iter().find(|(known, _)| *known == name).map(|(_, value)| (*value).to_owned()))
    }

    fn chosen(variables: &[(&str, &str)], address: &str) -> Option<String> {
        let address = address.parse().expect(address);
        proxies(variables).for_address(&address).expect("a proxy that can be used").map(Proxy::to_string)
    }

    #[test]
    fn each_scheme_has_its_variable_and_lower_case_comes_first() {
        let all = [
            ("HTTPS_PROXY", "http://secure:1"),
            ("HTTP_PROXY", "http://plain:2"),
            ("http_proxy", "http://lower:3"),
            ("ALL_PROXY", "http://all:4"),
        ];
        assert_eq!(chosen(&all, "wss://relay.example:7447").as_deref(), Some("http://secure:1"));
        assert_eq!(chosen(&all, "ws://relay.example:7447").as_deref(), Some("http://lower:3"));
        assert_eq!(chosen(&all[1..2], "wss://relay.example:7447"), None);
        assert_eq!(chosen(&all[3..], "wss://relay.example:7447").as_deref(), Some("http://all:4"));
        assert_eq!(chosen(&all[3..], "ws://relay.example:7447").as_deref(), Some("http://all:4"));
        assert_eq!(chosen(&[("HTTPS_PROXY", " "), ("all_proxy", "all")], "wss://a.b:1").as_deref(), Some("http://all:80"));
        assert_eq!(chosen(&[("HTTP_PROXY", "evil"), ("REQUEST_METHOD", "GET")], "ws://relay.example:7447"), None);
    }

    #[test]
    fn loopback_is_never_proxied() {
        let all = [("HTTPS_PROXY", "http://proxy:1"), ("HTTP_PROXY", "http://proxy:1")];
        for address in ["wss://127.0.0.1:1", "wss://localhost:1", "wss://[::1]:1", "ws://127.8.8.8:1"] {
            assert_eq!(chosen(&all, address), None, "{address}");
        }
    }

    #[test]
    fn no_proxy_takes_out_names_domains_addresses_networks_and_ports() {
        let is_direct = |exceptions: &str, host: &str| {
            chosen(&[("HTTPS_PROXY", "proxy:1"), ("NO_PROXY", exceptions)], &format!("wss://{host}")).is_none()
        };
        for (exceptions, host) in [
            ("*", "relay.example:7447"),
            ("relay.example", "relay.example:7447"),
            ("RELAY.example", "Relay.Example.:7447"),
            ("example", "relay.example:7447"),
            (".example", "relay.example:7447"),
            ("*.example", "relay.example:7447"),
            ("other, relay.example", "relay.example:7447"),
            ("other relay.example", "relay.example:7447"),
            ("relay.example:7447", "relay.example:7447"),
            ("10.1.2.3", "10.1.2.3:7447"),
            ("10.1.2.3:7447", "10.1.2.3:7447"),
            ("10.0.0.0/8", "10.1.2.3:7447"),
            ("10.1.2.0/25", "10.1.2.127:7447"),
            ("0.0.0.0/0", "10.1.2.3:7447"),
            ("10.0.0.0/8", "[::ffff:10.1.2.3]:7447"),
            ("2001:db8::/32", "[2001:db8::7]:7447"),
            ("2001:db8::7", "[2001:db8::7]:7447"),
            ("[2001:db8::7]:7447", "[2001:db8::7]:7447"),
        ] {
            assert!(is_direct(exceptions, host), "{exceptions} should cover {host}");
        }
        for (exceptions, host) in [
            ("", "relay.example:7447"),
            ("relay.example:443", "relay.example:7447"),
            ("lay.example", "relay.example:7447"),
            ("relay.example", "example:7447"),
            ("10.1.2.0/25", "10.1.2.128:7447"),
            ("10.0.0.0/33", "10.0.0.0:7447"),
            ("10.1.2.3", "10.1.2.30:7447"),
            ("2001:db8::/32", "10.1.2.3:7447"),
            (", . ,", "relay.example:7447"),
        ] {
            assert!(!is_direct(exceptions, host), "{exceptions} shouldn't cover {host}");
        }
    }

    #[test]
    fn user_and_password_are_decoded_and_never_shown() {
        let proxy: Proxy = "http://us%65r:p%40ss%3Aword@proxy.example:3128/".parse().expect("a proxy");
        assert_eq!(proxy.credentials.as_ref().map(|text| text.as_str()), Some("dXNlcjpwQHNzOndvcmQ="));
        assert_eq!(format!("{proxy} {proxy:?}"), "http://proxy.example:3128 Proxy(http://proxy.example:3128)");
        let request = proxy.request(&"wss://[2001:db8::7]:7447".parse().expect("an address"));
        assert_eq!(
            request.as_str(),
            "CONNECT [2001:db8::7]:7447 HTTP/1.1\r\nHost: [2001:db8::7]:7447\r\nProxy-Authorization: Basic dXNlcjpwQHNzOndvcmQ=\r\n\r\n"
        );
        let without: Proxy = "[::1]".parse().expect("a proxy");
        assert!(without.credentials.is_none() && without.to_string() == "http://[::1]:80");
    }

    #[test]
    fn a_setting_that_cannot_be_used_is_named_without_its_secrets_when_it_is_used() {
        let address = "wss://relay.example:7447".parse().expect("an address");
        for (value, reason) in [
            ("socks5://user:secret@proxy:1080", "SOCKS"),
            ("https://user:secret@proxy", "by TLS"),
            ("ftp://user:secret@proxy", "scheme"),
            ("http://user:secret@", "no host"),
            ("http://us%er:secret@proxy", "%25"),
            ("http://us%3Aer:secret@proxy", "colon"),
        ] {
            let proxies = proxies(&[("HTTPS_PROXY", value)]);
            let error = proxies.for_address(&address).expect_err(value).to_string();
            assert!(error.contains("HTTPS_PROXY") && error.contains(reason), "{error}");
            assert!(!format!("{error} {proxies:?}").contains("secret"), "{error} {proxies:?}");
            assert!(proxies.for_address(&"wss://127.0.0.1:1".parse().expect("an address")).is_ok(), "it isn't used there");
        }
    }

    #[test]
    fn an_answer_is_read_however_it_comes_in_and_never_panics() {
        let answer = b"HTTP/1.1 403 Not \x1b[31mhere\r\nVia: x\r\n\r\nbody";
        let header = answer.len() - 4;
        for end in 0..header {
            assert_eq!(Status::parse(&answer[..end]), Ok(None));
        }
        let status = |has_more| Status { code: 403, words: "Not [31mhere".to_owned(), has_more };
        assert_eq!(Status::parse(&answer[..header]), Ok(Some(status(false))));
        assert_eq!(Status::parse(answer), Ok(Some(status(true))));
        for garbage in ["HTTP/2 200\r\n\r\n", "SSH-2.0", "HTTP/1.1\r\n\r\n", "HTTP/1.1 2000 OK\r\n\r\n", "HTTP/1.\r\n\r\n", "H\0"]
        {
            assert!(Status::parse(garbage.as_bytes()).is_err(), "{garbage}");
        }
        let long = format!("HTTP/1.0 502 {}\r\n\r\n", "x".repeat(5_000));
        assert_eq!(Status::parse(long.as_bytes()).expect("HTTP").expect("whole").words.len(), WORDS);
    }
}
