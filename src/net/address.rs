//! Where a switchboard is: `wss://host:port#pin`.
//!
//! The pin is the SHA-256 of the certificate's SubjectPublicKeyInfo in base32 (PROTOCOL.md section 2). It stands in the
//! fragment because a fragment never leaves the client.

use std::fmt;
use std::net::{IpAddr, Ipv6Addr};
use std::str::FromStr;

use super::Error;
use crate::proto::base32;

/// The port that a switchboard listens on unless told otherwise. Chosen; not assigned to anybody.
pub const DEFAULT_PORT: u16 = 7447;

/// The SHA-256 of a certificate's SubjectPublicKeyInfo.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Pin([u8; 32]);

impl Pin {
    /// The pin with these bytes.
    pub const fn from_bytes(bytes: [u8; 32]) -> Self {
        Self(bytes)
    }

    /// The bytes of the pin.
    pub const fn as_bytes(&self) -> &[u8; 32] {
        &self.0
    }
}

impl fmt::Display for Pin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&base32::encode(&self.0))
    }
}

impl fmt::Debug for Pin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Pin({self})")
    }
}

impl FromStr for Pin {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        base32::decode_array(&text.to_ascii_lowercase())
            .map(Self)
            .ok_or("the pin after `#` is damaged: it has 52 characters, a to z and 2 to 7")
    }
}

/// The address of a switchboard, as it is given away and typed in.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Address {
    /// Whether the link is TLS (`wss`) or plain (`ws`).
    pub secure: bool,
    /// A name, or an IP address without brackets.
    pub host: String,
    /// The TCP port.
    pub port: u16,
    /// The pin, if the address carries one.
    pub pin: Option<Pin>,
}

impl Address {
    /// Reports whether the host can only be this machine.
    pub fn is_loopback(&self) -> bool {
        is_loopback(&self.host)
    }

    /// The address without its pin, for messages and for the WebSocket request.
    pub fn without_pin(&self) -> String {
        let scheme = if self.secure { "wss" } else { "ws" };
        format!("{scheme}://{}", HostPort(&self.host, self.port))
    }
}

impl fmt::Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.without_pin())?;
        match self.pin {
            Some(pin) => write!(f, "#{pin}"),
            None => Ok(()),
        }
    }
}

impl FromStr for Address {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self, Error> {
        let refuse = |problem| Error::Address { text: text.to_owned(), problem };
        let trimmed = text.trim();
        let (secure, rest) = match trimmed.split_once("://") {
            Some(("wss", rest)) => (true, rest),
            Some(("ws", rest)) => (false, rest),
            Some(("http" | "https", _)) => return Err(refuse("write wss:// instead of http:// or https://")),
            Some(_) => return Err(refuse("it begins with wss:// (or ws:// on this machine)")),
            None => return Err(refuse("it begins with wss://, as in wss://relay.example:7447")),
        };
        let (rest, pin) = match rest.split_once('#') {
            Some((rest, pin)) => (rest, Some(pin.parse().map_err(refuse)?)),
            None => (rest, None),
        };
        if pin.is_some() && !secure {
            return Err(refuse("a pin needs TLS: write wss://"));
        }
        let authority = rest.strip_suffix('/').unwrap_or(rest);
        if authority.contains(['/', '?', '@']) {
            return Err(refuse("it has no path, query or user: only wss://host:port#pin"));
        }
        let (host, port) = split_host_port(authority).map_err(refuse)?;
        let port = port.ok_or_else(|| refuse("the port is missing, as in wss://relay.example:7447"))?;
        if port == 0 {
            return Err(refuse("port 0 means any free port, which only a listener can ask for"));
        }
        Ok(Self { secure, host, port, pin })
    }
}

/// Where a switchboard listens: `host:port`, where port 0 is any free one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Listen {
    /// A name, or an IP address without brackets.
    pub host: String,
    /// The TCP port.
    pub port: u16,
}

impl Listen {
    /// Reports whether only this machine can reach the listener.
    pub fn is_loopback(&self) -> bool {
        is_loopback(&self.host)
    }
}

impl Default for Listen {
    fn default() -> Self {
        Self { host: "127.0.0.1".to_owned(), port: DEFAULT_PORT }
    }
}

impl fmt::Display for Listen {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        HostPort(&self.host, self.port).fmt(f)
    }
}

impl FromStr for Listen {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self, Error> {
        let refuse = |problem| Error::Address { text: text.to_owned(), problem };
        if text.contains("://") {
            return Err(refuse("what to listen on has no scheme: write host:port, as in 0.0.0.0:7447"));
        }
        let (host, port) = split_host_port(text.trim()).map_err(refuse)?;
        Ok(Self { host, port: port.unwrap_or(DEFAULT_PORT) })
    }
}

/// The name by which others reach a switchboard: `host` or `host:port`; without a port it is the one listened on.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Advertise {
    /// A name, or an IP address without brackets.
    pub host: String,
    /// The TCP port, if it differs from the one listened on.
    pub port: Option<u16>,
}

impl FromStr for Advertise {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self, Error> {
        let refuse = |problem| Error::Address { text: text.to_owned(), problem };
        if text.contains("://") || text.contains('#') {
            return Err(refuse("give only the name, as in relay.example or relay.example:7447; scheme and pin are added"));
        }
        let (host, port) = split_host_port(text.trim()).map_err(refuse)?;
        if port == Some(0) {
            return Err(refuse("others can't reach port 0"));
        }
        Ok(Self { host, port })
    }
}

/// Reports whether a host is this machine by name or number.
pub fn is_loopback(host: &str) -> bool {
    host.eq_ignore_ascii_case("localhost") || host.parse::<IpAddr>().is_ok_and(|ip| ip.to_canonical().is_loopback())
}

/// Splits `host`, `host:port`, `[v6]` or `[v6]:port`, and checks that the host can be one.
pub(super) fn split_host_port(text: &str) -> Result<(String, Option<u16>), &'static str> {
    let (host, port) = match text.strip_prefix('[') {
        Some(rest) => {
            let (host, after) = rest.split_once(']').ok_or("the bracket of the IPv6 address isn't closed")?;
            host.parse::<Ipv6Addr>().map_err(|_| "between the brackets stands no IPv6 address")?;
            match after.strip_prefix(':') {
                Some(port) => (host, Some(port)),
                None if after.is_empty() => (host, None),
                None => return Err("after the bracket a port is expected, as in [::1]:7447"),
            }
        }
        None if text.matches(':').count() > 1 => return Err("an IPv6 address stands in brackets, as in [::1]:7447"),
        None => match text.split_once(':') {
            Some((host, port)) => (host, Some(port)),
            None => (text, None),
        },
    };
    let is_name = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '-' | '_' | ':');
    if host.is_empty() || host.len() > 253 || !host.chars().all(is_name) {
        return Err("the host is missing or has characters that no host name has");
    }
    let port = port.map(|port| port.parse().map_err(|_| "the port is a number from 1 to 65535")).transpose()?;
    Ok((host.to_owned(), port))
}

/// Writes a host and a port, an IPv6 address in brackets.
pub(super) struct HostPort<'a>(pub(super) &'a str, pub(super) u16);

impl fmt::Display for HostPort<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.0.contains(':') { write!(f, "[{}]:{}", self.0, self.1) } else { write!(f, "{}:{}", self.0, self.1) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const PIN: &str = "aebagbafaydqqcikbmga2dqpcaireeyuculbogazdinryhi6d4qa";

    fn problem<T: FromStr<Err = Error> + fmt::Debug>(text: &str) -> String {
        text.parse::<T>().expect_err(text).to_string()
    }

    #[test]
    fn an_address_survives_being_printed_and_read() {
        for text in [
            format!("wss://relay.example:7447#{PIN}"),
            "wss://relay.example:443".to_owned(),
            "ws://127.0.0.1:1".to_owned(),
            format!("wss://[2001:db8::7]:7447#{PIN}"),
        ] {
            let address: Address = text.parse().expect(&text);
            assert_eq!(address.to_string(), text);
        }
    }

    #[test]
    fn a_trailing_slash_spaces_and_capital_pins_are_forgiven() {
        let address: Address = format!(" wss://relay.example:7447/#{} ", PIN.to_ascii_uppercase()).parse().expect("forgiven");
        assert_eq!(address.to_string(), format!("wss://relay.example:7447#{PIN}"));
    }

    #[test]
    fn a_bad_address_says_what_to_write_instead() {
        assert!(problem::<Address>("relay.example:7447").contains("begins with wss://"));
        assert!(problem::<Address>("https://relay.example:7447").contains("instead of http"));
        assert!(problem::<Address>("wss://relay.example").contains("port is missing"));
        assert!(problem::<Address>("wss://relay.example:70000").contains("1 to 65535"));
        assert!(problem::<Address>("wss://relay.example:0").contains("port 0"));
        assert!(problem::<Address>("wss://:7447").contains("host is missing"));
        assert!(problem::<Address>("wss://::1:7447").contains("in brackets"));
        assert!(problem::<Address>("wss://[::1:7447").contains("isn't closed"));
        assert!(problem::<Address>("wss://u@relay.example:7447").contains("no path, query or user"));
        assert!(problem::<Address>(&format!("wss://relay.example:7447#{}", &PIN[..40])).contains("52 characters"));
        assert!(problem::<Address>("wss://relay.example:7447#!").contains("52 characters"));
        assert!(problem::<Address>(&format!("ws://127.0.0.1:7447#{PIN}")).contains("needs TLS"));
    }

    #[test]
    fn only_this_machine_is_loopback() {
        for host in ["localhost", "LOCALHOST", "127.0.0.1", "127.9.9.9", "::1", "::ffff:127.0.0.1"] {
            assert!(is_loopback(host), "{host}");
        }
        for host in ["localhost.example", "0.0.0.0", "10.0.0.1", "::", "127.0.0.1.example"] {
            assert!(!is_loopback(host), "{host}");
        }
    }

    #[test]
    fn what_to_listen_on_may_leave_the_port_out() {
        assert_eq!("0.0.0.0".parse::<Listen>().expect("host").to_string(), "0.0.0.0:7447");
        assert_eq!("[::]:0".parse::<Listen>().expect("v6").to_string(), "[::]:0");
        assert!(problem::<Listen>("wss://0.0.0.0:7447").contains("no scheme"));
        assert!(problem::<Listen>(":7447").contains("host is missing"));
    }

    #[test]
    fn what_is_advertised_is_a_name_with_or_without_a_port() {
        assert_eq!("relay.example".parse::<Advertise>().expect("name").port, None);
        assert_eq!("relay.example:443".parse::<Advertise>().expect("both").port, Some(443));
        assert!(problem::<Advertise>("wss://relay.example").contains("only the name"));
        assert!(problem::<Advertise>("relay.example:0").contains("port 0"));
    }
}
