//! What happens to the network and the clock of this machine under a link that stands still.
//!
//! A connection whose local address is taken away, or whose machine slept, isn't told: it only falls silent. The system can be asked which
//! address it would use now, which sends nothing, and on Linux tells when that may have changed.

use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, UdpSocket};
use std::task::{Context, Poll};

/// Returns the address from which this machine would reach `remote`; none if it has no way there.
///
/// Connecting a UDP socket sends nothing: it only makes the kernel choose a route.
pub fn source_for(remote: SocketAddr) -> Option<IpAddr> {
    let any: IpAddr = if remote.is_ipv4() { Ipv4Addr::UNSPECIFIED.into() } else { Ipv6Addr::UNSPECIFIED.into() };
    let probe = || -> io::Result<IpAddr> {
        let socket = UdpSocket::bind((any, 0))?;
        socket.connect(remote)?;
        Ok(socket.local_addr()?.ip())
    };
    probe().ok()
}

/// Tells when addresses, routes or the clock may have changed. What did is for the caller to find out.
#[derive(Debug)]
pub struct Watch {
    events: platform::Events,
    /// Looks anyhow, where the system doesn't tell.
    poll: Option<tokio::time::Interval>,
}

impl Watch {
    /// Begins to watch. Must be called within a tokio runtime.
    pub fn start() -> Self {
        let events = platform::Events::subscribe();
        let poll = (!events.are_complete()).then(|| {
            let mut poll = tokio::time::interval(platform::POLL);
            poll.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
            poll
        });
        Self { events, poll }
    }

    /// Is ready, once each time, when something may have changed.
    pub fn poll_changed(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        let has_changed = self.events.poll(cx) | self.poll.as_mut().is_some_and(|poll| poll.poll_tick(cx).is_ready());
        if has_changed { Poll::Ready(()) } else { Poll::Pending }
    }
}

#[cfg(target_os = "linux")]
mod platform {
    use std::io;
    use std::os::fd::OwnedFd;
    use std::pin::Pin;
    use std::task::{Context, Poll};
    use std::time::Duration;

    use rustix::io::Errno;
    use rustix::net::netlink::SocketAddrNetlink;
    use rustix::net::{AddressFamily, SocketFlags, SocketType, bind, socket_with};
    use rustix::time::{Itimerspec, TimerfdClockId, TimerfdFlags, TimerfdTimerFlags, Timespec, timerfd_create, timerfd_settime};
    use tokio::io::{AsyncRead, ReadBuf};
    use tokio::net::unix::pipe::Receiver;

    /// How often to look where the kernel may not be asked to tell. Chosen: cheap (two sockets), and soon enough for a person.
    pub(super) const POLL: Duration = Duration::from_secs(2);

    /// `RTMGRP_IPV4_IFADDR`, `RTMGRP_IPV4_ROUTE`, `RTMGRP_IPV6_IFADDR` and `RTMGRP_IPV6_ROUTE` of rtnetlink(7).
    const GROUPS: u32 = 0x10 | 0x40 | 0x100 | 0x400;

    /// An expiry that isn't reached: the year 2262, where the kernel's clock ends.
    const NEVER: i64 = i64::MAX / 1_000_000_000;

    /// What can be read when something happened. It is no pipe: tokio's type for them reads any descriptor, and safely.
    #[derive(Debug)]
    pub(super) struct Events {
        network: Option<Receiver>,
        clock: Option<Receiver>,
    }

    impl Events {
        pub(super) fn subscribe() -> Self {
            Self {
                network: network().and_then(Receiver::from_owned_fd_unchecked).ok(),
                clock: clock().and_then(Receiver::from_owned_fd_unchecked).ok(),
            }
        }

        pub(super) fn are_complete(&self) -> bool {
            self.network.is_some() && self.clock.is_some()
        }

        pub(super) fn poll(&mut self, cx: &mut Context<'_>) -> bool {
            drain(&mut self.network, cx) | drain(&mut self.clock, cx)
        }
    }

    /// Reads all that is there, and reports whether anything was. What is told matters less than that something was.
    fn drain(events: &mut Option<Receiver>, cx: &mut Context<'_>) -> bool {
        let mut any = false;
        while let Some(receiver) = events {
            let mut buffer = [0; 8192];
            match Pin::new(receiver).poll_read(cx, &mut ReadBuf::new(&mut buffer)) {
                Poll::Pending => break,
                Poll::Ready(Ok(())) => any = true,
                Poll::Ready(Err(error)) => {
                    any = true;
                    // More was to be told than fits; and so a timer tells that the clock was set (timerfd_create(2)).
                    if !matches!(Errno::from_io_error(&error), Some(Errno::NOBUFS | Errno::CANCELED)) {
                        *events = None;
                    }
                }
            }
        }
        any
    }

    fn network() -> io::Result<OwnedFd> {
        let flags = SocketFlags::CLOEXEC | SocketFlags::NONBLOCK;
        let socket = socket_with(AddressFamily::NETLINK, SocketType::RAW, flags, None)?;
        bind(&socket, &SocketAddrNetlink::new(0, GROUPS))?;
        Ok(socket)
    }

    /// A timer that is read when the clock is set, which the kernel also does when the machine wakes up.
    fn clock() -> io::Result<OwnedFd> {
        let timer = timerfd_create(TimerfdClockId::Realtime, TimerfdFlags::CLOEXEC | TimerfdFlags::NONBLOCK)?;
        let never =
            Itimerspec { it_interval: Timespec { tv_sec: 0, tv_nsec: 0 }, it_value: Timespec { tv_sec: NEVER, tv_nsec: 0 } };
        timerfd_settime(&timer, TimerfdTimerFlags::ABSTIME | TimerfdTimerFlags::CANCEL_ON_SET, &never)?;
        Ok(timer)
    }
}

#[cfg(not(target_os = "linux"))]
mod platform {
    use std::task::Context;
    use std::time::Duration;

    /// How often to look. Chosen: cheap (two sockets), and soon enough for a person.
    pub(super) const POLL: Duration = Duration::from_secs(2);

    #[derive(Debug)]
    pub(super) struct Events;

    impl Events {
        pub(super) fn subscribe() -> Self {
            Self
        }

        pub(super) fn are_complete(&self) -> bool {
            false
        }

        pub(super) fn poll(&mut self, _: &mut Context<'_>) -> bool {
            false
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn loopback_is_reached_from_itself() {
        assert_eq!(source_for("127.0.0.1:9".parse().expect("an address")), Some(Ipv4Addr::LOCALHOST.into()));
        assert_eq!(source_for("[::1]:9".parse().expect("an address")), Some(Ipv6Addr::LOCALHOST.into()));
    }

    #[cfg(target_os = "linux")]
    #[tokio::test]
    async fn nothing_is_reported_while_nothing_happens() {
        let mut watch = Watch::start();
        assert!(watch.poll.is_none(), "this machine tells, and needn't be asked");
        let quiet = tokio::time::timeout(std::time::Duration::from_millis(50), std::future::poll_fn(|cx| watch.poll_changed(cx)));
        assert!(quiet.await.is_err());
    }
}
