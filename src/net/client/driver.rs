//! The task of one agent: everything that waits.
//!
//! It is one future, polled by hand: reading, writing, connecting, closing and the timer are all looked at in one turn, so that a wake-up
//! for any of them finds the others' work, too, and no message crosses from task to task.

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use tokio::time::{Sleep, sleep_until};

use super::connect::{Connecting, connect_any};
use super::path::Path;
use super::{Application, Link, Shared, lock};
use crate::agent::{CloseReason, Command, ConnectFailure, Connected, Event, LinkError, PathChange};
use crate::net::Error;
use crate::net::address::Address;
use crate::net::agent_file::Saver;
use crate::net::dial::Outbound;
use crate::net::proxy::ProxyProblem;
use crate::net::tls::Acceptance;
use crate::net::ws::Connection;

/// Times the driver goes around before it lets other tasks of its thread run.
const ROUNDS: usize = 8;

/// How long an ended link may take to say goodbye.
pub(super) const CLOSE_LIMIT: Duration = Duration::from_secs(1);

/// The task. It ends when the agent is over and its socket is closed.
pub(super) struct Driver<A: Application> {
    shared: Arc<Shared<A>>,
    /// In the order of preference: the one connected to last comes first, unless it refused.
    addresses: Vec<Address>,
    outbound: Outbound,
    path: Option<Path>,
    connecting: Option<Connecting>,
    closing: Option<Pin<Box<dyn Future<Output = ()> + Send>>>,
    timer: Option<(Duration, Pin<Box<Sleep>>)>,
    saver: Saver,
    frames_in: Vec<Bytes>,
    frames_out: Vec<Bytes>,
    is_over: bool,
}

impl<A: Application> Future for Driver<A> {
    type Output = ();

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        let driver = &mut *self;
        driver.shared.waker.get_or_init(|| cx.waker().clone());
        for _ in 0..ROUNDS {
            if driver.closing.as_mut().is_some_and(|closing| closing.as_mut().poll(cx).is_ready()) {
                driver.closing = None;
            }
            while let Poll::Ready(saved) = driver.saver.poll_saved(cx) {
                lock(&driver.shared.core).agent.handle_saved(saved, driver.shared.clock.now());
            }
            if driver.is_over {
                // The farewell is said when the task is dropped, which is now or when the socket is closed and the agent file written.
                let is_done = driver.closing.is_none() && driver.saver.is_idle();
                return if is_done { Poll::Ready(()) } else { Poll::Pending };
            }
            if !driver.go_around(cx) && driver.poll_timer(cx).is_pending() {
                return Poll::Pending;
            }
        }
        cx.waker().wake_by_ref();
        Poll::Pending
    }
}

impl<A: Application> Driver<A> {
    pub(super) fn new(shared: Arc<Shared<A>>, addresses: Vec<Address>, outbound: Outbound, saver: Saver) -> Self {
        Self {
            shared,
            addresses,
            outbound,
            path: None,
            connecting: None,
            closing: None,
            timer: None,
            saver,
            frames_in: Vec::new(),
            frames_out: Vec::new(),
            is_over: false,
        }
    }

    /// Reads, hands over, writes and obeys; tells whether there may be more to do at once.
    fn go_around(&mut self, cx: &mut Context<'_>) -> bool {
        let shared = Arc::clone(&self.shared);
        let mut link = lock(&shared.link);
        let path_changed = self.poll_path(&link, cx);
        let connected = self.poll_connecting(&mut link, cx);
        let has_more_input = link.read(&mut self.frames_in, cx);
        // The socket may have become writable, which is why the task was woken.
        link.write(&mut self.frames_out, cx);

        let mut core = lock(&shared.core);
        let now = shared.clock.now();
        match connected {
            Some(Ok(connected)) => core.agent.handle_connected(connected, now),
            Some(Err(error)) => core.agent.handle_disconnected(error, now),
            None => {}
        }
        if let Link::Up(connection) = &mut *link {
            if connection.take_heard() {
                core.agent.handle_heard(now);
            }
            if connection.take_pong() {
                core.agent.handle_pong(now);
            }
        }
        for frame in self.frames_in.drain(..) {
            core.agent.handle_frame(frame, now);
        }
        if let Link::Broken(error) = &*link {
            core.agent.handle_disconnected(LinkError::Lost(error.to_string()), now);
            *link = Link::Down;
        }
        if let Poll::Ready(Some(change)) = path_changed {
            core.agent.handle_path_change(change, now);
        }
        if path_changed.is_ready() || core.agent.poll_timeout().is_some_and(|due| due <= now.monotonic) {
            core.agent.handle_timeout(now);
        }
        let gathered = shared.gather(&mut core, link.room(), &mut self.frames_out, now);
        let commands = std::mem::take(&mut core.commands);
        let is_over = core.farewell.is_some();
        drop(core);

        if gathered.has_events {
            (shared.bell)();
        }
        link.write(&mut self.frames_out, cx);
        let has_commands = !commands.is_empty();
        for command in commands {
            self.obey(command, &mut link);
        }
        if is_over {
            self.write_rest(&mut link, cx);
            self.obey(Command::Disconnect, &mut link);
            self.is_over = true;
        }
        has_more_input || gathered.has_more && link.is_writable() || has_commands || is_over || matches!(*link, Link::Broken(_))
    }

    fn poll_path(&mut self, link: &Link, cx: &mut Context<'_>) -> Poll<Option<PathChange>> {
        let path = self.path.get_or_insert_with(Path::start);
        if !matches!(link, Link::Up(_)) {
            path.handle_unlinked();
        }
        path.poll(cx)
    }

    fn poll_connecting(&mut self, link: &mut Link, cx: &mut Context<'_>) -> Option<Result<Connected, LinkError>> {
        let Poll::Ready(outcome) = self.connecting.as_mut()?.as_mut().poll(cx) else { return None };
        self.connecting = None;
        let mut core = lock(&self.shared.core);
        match outcome {
            Ok((address, connection)) => {
                let (binding, certificate) = (connection.binding(), connection.certificate());
                core.failure = None;
                if let Some(at) = self.addresses.iter().position(|known| *known == address) {
                    self.addresses[..=at].rotate_right(1);
                }
                if let Some(path) = &mut self.path {
                    path.handle_linked(connection.remote());
                }
                let address = address.to_string();
                core.switchboard.clone_from(&address);
                *link = Link::Up(Box::new(connection));
                Some(Ok(Connected {
                    binding,
                    address,
                    pin: certificate.map(|certificate| *certificate.pin.as_bytes()),
                    vouched: certificate.is_some_and(|certificate| certificate.vouched),
                    others: self.addresses.len().saturating_sub(1),
                }))
            }
            Err(error) => {
                let reported = LinkError::Connect { kind: kind_of(&error), text: error.to_string() };
                core.failure = Some(error);
                Some(Err(reported))
            }
        }
    }

    fn obey(&mut self, command: Command, link: &mut Link) {
        match command {
            Command::Connect { any_certificate } => {
                let acceptance = if any_certificate { Acceptance::Any } else { Acceptance::Vouched };
                self.connecting = Some(connect_any(self.addresses.clone(), self.outbound.clone(), acceptance));
            }
            Command::Switchboards(addresses) => {
                self.addresses = addresses.iter().filter_map(|address| address.parse().ok()).collect();
            }
            Command::PreferOthers => {
                if !self.addresses.is_empty() {
                    self.addresses.rotate_left(1);
                }
            }
            Command::Ping => {
                // The next turn, which commands always bring, writes it.
                if let Link::Up(connection) = link {
                    connection.ping();
                }
            }
            Command::Save => {
                let core = lock(&self.shared.core);
                if let Some(file) = core.agent.file(self.shared.clock.now()) {
                    self.saver.save(file);
                }
            }
            Command::Disconnect => {
                self.connecting = None;
                if let Link::Up(connection) = std::mem::replace(link, Link::Down) {
                    self.closing = Some(Box::pin(hang_up(*connection)));
                }
            }
        }
    }

    /// Moves all that the agent still has to say into the connection, whose closing writes it.
    fn write_rest(&mut self, link: &mut Link, cx: &mut Context<'_>) {
        while link.is_writable() {
            let gathered =
                self.shared.gather(&mut lock(&self.shared.core), link.room(), &mut self.frames_out, self.shared.clock.now());
            link.write(&mut self.frames_out, cx);
            if !gathered.has_more {
                break;
            }
        }
    }

    /// Waits for the time that was promised; ready means that the agent has to be asked again.
    fn poll_timer(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        let Some(wake_at) = lock(&self.shared.core).wake_at else {
            self.timer = None;
            return Poll::Pending;
        };
        let deadline = (self.shared.clock.start + wake_at).into();
        let (armed_for, timer) = self.timer.get_or_insert_with(|| (wake_at, Box::pin(sleep_until(deadline))));
        if *armed_for != wake_at {
            *armed_for = wake_at;
            timer.as_mut().reset(deadline);
        }
        timer.as_mut().poll(cx)
    }
}

impl<A: Application> Drop for Driver<A> {
    /// Hands over the last event, so that whoever waits for the end hears of it in any case.
    fn drop(&mut self) {
        let mut core = lock(&self.shared.core);
        let unexpected =
            || Event::Closed(Some(CloseReason::Refused(LinkError::Lost("the task of the agent was ended".to_owned()))));
        let farewell = core.farewell.take().unwrap_or_else(unexpected);
        core.hand_over(farewell);
        drop(core);
        (self.shared.bell)();
    }
}

async fn hang_up(mut connection: Connection) {
    let close = std::future::poll_fn(|cx| {
        std::task::ready!(connection.poll_flush(cx))?;
        connection.poll_close(cx)
    });
    // A switchboard that doesn't take the goodbye will notice the end of the connection.
    let _ = tokio::time::timeout(CLOSE_LIMIT, close).await;
}

fn kind_of(error: &Error) -> ConnectFailure {
    match error {
        Error::Resolve { .. } => ConnectFailure::Name,
        Error::TimedOut { .. } => ConnectFailure::TimedOut,
        Error::UntrustedSwitchboard { .. } => ConnectFailure::Untrusted,
        Error::Tls { .. } => ConnectFailure::Tls,
        Error::NotASwitchboard { .. } => ConnectFailure::NotASwitchboard,
        Error::Proxy { problem, .. } => match problem {
            ProxyProblem::Unreachable(_) | ProxyProblem::Closed(_) | ProxyProblem::Upstream { .. } => ConnectFailure::Unreachable,
            ProxyProblem::TimedOut(_) => ConnectFailure::TimedOut,
            _ => ConnectFailure::Proxy,
        },
        _ => ConnectFailure::Unreachable,
    }
}
