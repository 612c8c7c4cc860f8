//! The shell of one agent: carries frames between a socket and the state machine, and does what the state machine commands.
//!
//! One task per agent, the *driver*, does all the waiting: it reads what is there, hands it over under one short lock, writes what the
//! agent has to say and arms one timer. It decides nothing: when to connect, how long to back off and when a link counts as dead is
//! the agent's to say.
//!
//! ```text
//!   any thread          with(|agent| send)   flush
//!                          |                   | seals and writes right here when the socket is idle,
//!                          v                   v otherwise wakes the driver
//!   Shared { core: Mutex<agent, application>,  link: Mutex<connection> }
//!                          ^                   ^
//!   driver           frames, timeouts          reads, writes, connects, closes
//! ```
//!
//! Locks are taken in the order link, core, and held for moments, never across a wait. The driver calls nothing of the application's
//! but [`Application::handle_event`], and rings its bell after the lock is open again.

mod connect;
mod driver;
mod path;

use std::path::PathBuf;
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError, TryLockError};
use std::task::{Context, Poll, Waker};
use std::time::{Duration, Instant, SystemTime};

use bytes::Bytes;
use tokio::runtime::Handle;
use tokio::task::JoinHandle;

use super::Error;
use super::address::Address;
use super::agent_file::Saver;
use super::dial::Outbound;
use super::ws::Connection;
use crate::agent::{Agent, Command, Event};
use crate::proto::Now;
use driver::Driver;

/// Frames read before they are handed over. Chosen: enough to spread the cost of the lock, few enough that an urgent reply doesn't
/// wait behind more than a millisecond of opening.
const FRAMES_AT_ONCE: usize = 32;

/// What an agent's events are handed to.
pub trait Application: Send + 'static {
    /// Takes one event, in the order in which they came to be. Runs under the agent's lock: it may look at the agent, and must not wait.
    fn handle_event(&mut self, event: Event, view: View<'_>);

    /// Where the agent's file is written, if it has one.
    fn agent_file(&self) -> Option<PathBuf> {
        None
    }
}

/// What may be looked at while an event is handled.
pub struct View<'a> {
    /// The agent that the event is of.
    pub agent: &'a Agent,
    /// Address of the switchboard that it is or was linked to.
    pub switchboard: &'a str,
    /// Why the last attempt to connect failed, for whoever takes it first; it stands behind [`LinkError::Connect`](crate::agent::LinkError::Connect).
    pub failure: &'a mut Option<Error>,
}

/// Tells monotonic and wall time in the form that the state machines take.
#[derive(Clone, Copy, Debug)]
pub struct Clock {
    start: Instant,
}

impl Clock {
    /// Starts a clock at zero.
    pub fn start() -> Self {
        Self { start: Instant::now() }
    }

    /// Reads both clocks.
    pub fn now(&self) -> Now {
        let wall = SystemTime::UNIX_EPOCH.elapsed().unwrap_or_default();
        Now { monotonic: self.start.elapsed(), wall: u64::try_from(wall.as_millis()).unwrap_or(u64::MAX) }
    }
}

/// A state machine with its application, under one lock.
pub struct Core<A> {
    /// The state machine.
    pub agent: Agent,
    /// Where its events go.
    pub application: A,
    switchboard: String,
    failure: Option<Error>,
    /// Commands that nobody has carried out yet.
    commands: Vec<Command>,
    /// When the driver is going to wake by itself. It may be earlier than needed, never later: moving the timer costs more than a
    /// wake-up in vain now and then.
    wake_at: Option<Duration>,
    /// The last event, held back until the socket is closed.
    farewell: Option<Event>,
}

/// One running agent: the state machine, the task that drives it, and the way in for any thread.
pub struct Client<A: Application> {
    shared: Arc<Shared<A>>,
    driver: JoinHandle<()>,
}

struct Shared<A> {
    clock: Clock,
    core: Mutex<Core<A>>,
    link: Mutex<Link>,
    /// The driver's; set when it first runs.
    waker: OnceLock<Waker>,
    bell: Box<dyn Fn() + Send + Sync>,
}

enum Link {
    Down,
    Up(Box<Connection>),
    /// It failed on another thread than the driver's, which has to learn of it.
    Broken(Error),
}

impl<A: Application> Client<A> {
    /// Starts to drive `agent`, which must have been made with a time of `clock`.
    ///
    /// `bell` is called without any lock, on whichever thread made events, once after each batch of them.
    pub fn start(
        agent: Agent,
        application: A,
        bell: impl Fn() + Send + Sync + 'static,
        clock: Clock,
        addresses: Vec<Address>,
        outbound: Outbound,
        runtime: &Handle,
    ) -> Self {
        let saver = Saver::new(application.agent_file());
        let core = Core {
            agent,
            application,
            switchboard: String::new(),
            failure: None,
            commands: Vec::new(),
            wake_at: None,
            farewell: None,
        };
        let shared = Arc::new(Shared {
            clock,
            core: Mutex::new(core),
            link: Mutex::new(Link::Down),
            waker: OnceLock::new(),
            bell: Box::new(bell),
        });
        let driver = Driver::new(Arc::clone(&shared), addresses, outbound, saver);
        Self { shared, driver: runtime.spawn(driver) }
    }

    /// Gives `command` the agent; waits for the lock.
    ///
    /// What the command makes the agent want is done by the next [`flush`](Self::flush).
    pub fn with<R>(&self, command: impl FnOnce(&mut Core<A>, Now) -> R) -> R {
        command(&mut lock(&self.shared.core), self.shared.clock.now())
    }

    /// Does the same without waiting, and gives the command back when the lock is taken.
    ///
    /// # Errors
    ///
    /// The command.
    pub fn try_with<R, F: FnOnce(&mut Core<A>, Now) -> R>(&self, command: F) -> Result<R, F> {
        match self.shared.core.try_lock() {
            Ok(mut core) => Ok(command(&mut core, self.shared.clock.now())),
            Err(TryLockError::Poisoned(poisoned)) => Ok(command(&mut poisoned.into_inner(), self.shared.clock.now())),
            Err(TryLockError::WouldBlock) => Err(command),
        }
    }

    /// Does what the agent wants done: writes on this thread if the socket is idle, and leaves the rest to the driver.
    pub fn flush(&self) {
        self.shared.flush();
    }
}

impl<A: Application> Drop for Client<A> {
    /// Ends the agent. The driver takes leave by itself, within [`driver::CLOSE_LIMIT`].
    fn drop(&mut self) {
        if !self.driver.is_finished() {
            self.with(|core, now| core.agent.close(now));
            self.flush();
        }
    }
}

impl<A: Application> Shared<A> {
    fn flush(&self) {
        // Until the driver has run once, its first turn is still to come and does everything.
        let Some(waker) = self.waker.get() else { return };
        let Ok(mut link) = self.link.try_lock() else { return waker.wake_by_ref() };
        let mut frames = Vec::new();
        let gathered = self.gather(&mut lock(&self.core), link.room(), &mut frames, self.clock.now());
        if gathered.has_events {
            (self.bell)();
        }
        link.write(&mut frames, &mut Context::from_waker(waker));
        if gathered.needs_driver || gathered.has_more && link.is_writable() || matches!(*link, Link::Broken(_)) {
            waker.wake_by_ref();
        }
    }

    /// Takes from the agent what it wants done, and frames for a link that has so much room.
    fn gather(&self, core: &mut Core<A>, room: usize, frames: &mut Vec<Bytes>, now: Now) -> Gathered {
        let mut bytes = 0;
        let mut has_more = room > 0;
        while bytes < room {
            let Some(frame) = core.agent.poll_transmit(now) else {
                has_more = false;
                break;
            };
            bytes += frame.len();
            frames.push(frame);
        }
        let has_events = core.collect_events();
        core.commands.extend(std::iter::from_fn(|| core.agent.poll_command()));
        let is_earlier = core.promise_wake_up(now);
        let needs_driver = is_earlier || !core.commands.is_empty() || core.farewell.is_some();
        Gathered { has_more, has_events, needs_driver }
    }
}

/// What [`Shared::gather`] found.
struct Gathered {
    /// It stopped when the room was taken.
    has_more: bool,
    has_events: bool,
    /// There is something that only the driver can do.
    needs_driver: bool,
}

impl<A: Application> Core<A> {
    fn collect_events(&mut self) -> bool {
        let mut any = false;
        while let Some(event) = self.agent.poll_event() {
            if matches!(event, Event::Closed(_)) {
                self.farewell = Some(event);
            } else {
                self.hand_over(event);
                any = true;
            }
        }
        any
    }

    fn hand_over(&mut self, event: Event) {
        let view = View { agent: &self.agent, switchboard: &self.switchboard, failure: &mut self.failure };
        self.application.handle_event(event, view);
    }

    /// Makes sure that the driver wakes when the agent wants to, and tells whether that is earlier than it was going to.
    fn promise_wake_up(&mut self, now: Now) -> bool {
        let promised = self.wake_at.filter(|wake_at| *wake_at > now.monotonic);
        let wanted = self.agent.poll_timeout();
        let is_earlier = wanted.is_some_and(|wanted| promised.is_none_or(|promised| wanted < promised));
        self.wake_at = if is_earlier { wanted } else { promised };
        is_earlier
    }
}

impl Link {
    fn is_writable(&self) -> bool {
        self.room() > 0
    }

    /// Bytes that should be written at once.
    fn room(&self) -> usize {
        match self {
            Self::Up(connection) if !connection.is_blocked() => connection.batch(),
            Self::Up(_) | Self::Down | Self::Broken(_) => 0,
        }
    }

    /// Writes all `frames`, as far as the socket takes them; the rest waits in the connection, which isn't writable until it has gone.
    fn write(&mut self, frames: &mut Vec<Bytes>, cx: &mut Context<'_>) {
        let Self::Up(connection) = self else { return frames.clear() };
        let outcome = frames.drain(..).try_for_each(|frame| connection.write(frame));
        let outcome = outcome.and_then(|()| match connection.poll_flush(cx) {
            Poll::Ready(outcome) => outcome,
            Poll::Pending => Ok(()),
        });
        if let Err(error) = outcome {
            *self = Self::Broken(error);
        }
    }

    /// Reads what is there, up to [`FRAMES_AT_ONCE`]; tells whether there may be more.
    fn read(&mut self, frames: &mut Vec<Bytes>, cx: &mut Context<'_>) -> bool {
        let Self::Up(connection) = self else { return false };
        while frames.len() < FRAMES_AT_ONCE {
            match connection.poll_frame(cx) {
                Poll::Ready(Some(Ok(frame))) => frames.push(frame),
                Poll::Ready(Some(Err(error))) => {
                    *self = Self::Broken(error);
                    return true;
                }
                Poll::Ready(None) => {
                    *self = Self::Broken(Error::Closed);
                    return true;
                }
                Poll::Pending => return false,
            }
        }
        true
    }
}

/// Locks; what a panicking thread left behind is still whole, because the state machines don't panic between two changes.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
