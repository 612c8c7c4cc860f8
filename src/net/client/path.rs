//! What the machine's network does to a link: whether its path is still there.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::task::{Context, Poll, ready};

use crate::agent::PathChange;
use crate::net::os::network::{Watch, source_for};

/// Addresses for documentation (RFC 5737, RFC 3849), which stand for the rest of the world.
const OUTSIDE: [IpAddr; 2] =
    [IpAddr::V4(Ipv4Addr::new(192, 0, 2, 1)), IpAddr::V6(Ipv6Addr::new(0x2001, 0xDB8, 0, 0, 0, 0, 0, 1))];

/// Watches the path of one agent's links.
pub(super) struct Path {
    watch: Watch,
    /// Where the link leads, or the last one did: the switchboard, or the proxy on the way.
    remote: Option<SocketAddr>,
    is_linked: bool,
    outlook: Outlook,
}

/// The addresses from which this machine would reach the remote end and the outside. A change that leaves them as they were is none: on a
/// machine that runs containers the network changes all the time.
#[derive(PartialEq, Eq)]
struct Outlook {
    towards_remote: Option<IpAddr>,
    towards_outside: [Option<IpAddr>; 2],
}

impl Outlook {
    fn take(remote: Option<SocketAddr>) -> Self {
        let towards_outside = OUTSIDE.map(|ip| source_for((ip, 9).into()));
        Self { towards_remote: remote.and_then(source_for), towards_outside }
    }
}

impl Path {
    /// Begins to watch. Must be called within a tokio runtime.
    pub(super) fn start() -> Self {
        Self { watch: Watch::start(), remote: None, is_linked: false, outlook: Outlook::take(None) }
    }

    /// A link to `remote` is there.
    pub(super) fn handle_linked(&mut self, remote: Option<SocketAddr>) {
        self.remote = remote;
        self.is_linked = true;
        self.outlook = Outlook::take(remote);
    }

    /// There is no link any more.
    pub(super) fn handle_unlinked(&mut self) {
        self.is_linked = false;
    }

    /// Is ready when something happened: with a change of the path, or because the clock may have been set.
    pub(super) fn poll(&mut self, cx: &mut Context<'_>) -> Poll<Option<PathChange>> {
        ready!(self.watch.poll_changed(cx));
        let before = std::mem::replace(&mut self.outlook, Outlook::take(self.remote));
        Poll::Ready(if self.is_linked && before.towards_remote != self.outlook.towards_remote {
            Some(PathChange::Lost)
        } else {
            (before != self.outlook).then_some(PathChange::Unsure)
        })
    }
}
