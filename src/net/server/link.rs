//! The task of one link: what is read is handed over, what waits is written, in batches.

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use tokio::time::{Instant, Sleep, sleep};

use super::{Shared, TaskState, random};
use crate::net::ws::Connection;
use crate::proto::limits;
use crate::switchboard::{LinkId, Origin};

/// Frames and bytes that are read before they are handed over. Chosen: enough that one lock serves many small frames, little
/// enough that a reply to the first doesn't wait for the last.
const READ_FRAMES: usize = 64;
const READ_BYTES: usize = 2 * limits::FRAME;

/// Batches that a link may do in its turn before others get theirs. Chosen: with larger turns one busy link delays all
/// others, with smaller ones the scheduler is called for every frame of 64 KiB.
const BATCHES_PER_TURN: usize = 4;

/// How often a link looks at the clock between two pings. Chosen: a link is cut that much of a ping interval late at most.
const LOOKS_PER_PING: u32 = 2;

/// Time for the closing handshake, in which the last frames reach a client that is still sending. Chosen: a slow network.
const CLOSE_LIMIT: Duration = Duration::from_secs(2);

/// One link from Challenge to the end of its socket. Dropping it at any point tells the core.
pub(super) struct Task {
    shared: Arc<Shared>,
    connection: Connection,
    id: LinkId,
    /// Read and not handed over yet. Empty between polls; kept for its memory.
    read: Vec<Bytes>,
    /// Taken from the core and not written yet. Empty between polls; kept for its memory.
    taken: Vec<Bytes>,
    /// Whether the core wants frames of this link.
    reading: bool,
    /// Whether the core had nothing more for this link when it was last asked.
    all_taken: bool,
    stage: Stage,
    /// Rings when it is time to look; once the link is closing, when that has taken too long.
    clock: Pin<Box<Sleep>>,
    looks: u32,
    silent_for: Duration,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Stage {
    Open,
    /// The core has ended the link: the last frames go out, then Close.
    Closing,
    /// Close has been sent. What still comes is thrown away, so that unread bytes don't make the kernel reset the connection
    /// before the client has read its farewell.
    Lingering,
}

/// The socket is of no more use.
struct Over;

impl Task {
    /// Introduces a link to the core.
    pub(super) fn open(shared: Arc<Shared>, connection: Connection, origin: Option<Origin>) -> Self {
        let binding = connection.binding();
        let nonce = random();
        let id = shared.with_state(|core, now| core.handle_open(now, origin, binding, nonce));
        let clock = sleep(shared.ping_interval / LOOKS_PER_PING);
        Self {
            shared,
            connection,
            id,
            read: Vec::new(),
            taken: Vec::new(),
            reading: true,
            all_taken: false,
            stage: Stage::Open,
            clock: Box::pin(clock),
            looks: 0,
            silent_for: Duration::ZERO,
        }
    }

    fn turn(&mut self, cx: &mut Context<'_>) -> Result<Poll<()>, Over> {
        self.look_at_the_clock(cx)?;
        for _ in 0..BATCHES_PER_TURN {
            if self.stage == Stage::Lingering {
                return self.linger(cx);
            }
            let read = self.read(cx);
            let moved = self.exchange(cx) | self.write(cx)?;
            // What came before the end counts: it has been handed over.
            read?;
            if self.stage == Stage::Closing && self.all_taken && !self.connection.is_blocked() {
                self.stage = Stage::Lingering;
            } else if !moved {
                return Ok(Poll::Pending);
            }
        }
        cx.waker().wake_by_ref();
        Ok(Poll::Pending)
    }

    /// Reads what the socket has, up to a batch.
    fn read(&mut self, cx: &mut Context<'_>) -> Result<(), Over> {
        let mut bytes = 0;
        while self.reading && self.read.len() < READ_FRAMES && bytes < READ_BYTES {
            match self.connection.poll_frame(cx) {
                Poll::Ready(Some(Ok(frame))) => {
                    bytes += frame.len();
                    self.read.push(frame);
                }
                Poll::Ready(Some(Err(_)) | None) => return Err(Over),
                Poll::Pending => break,
            }
        }
        Ok(())
    }

    /// Hands over what was read and takes what waits, under one lock. Reports whether there was anything.
    fn exchange(&mut self, cx: &mut Context<'_>) -> bool {
        let now = self.shared.now();
        let may_write = !self.connection.is_blocked();
        let mut moved = !self.read.is_empty();
        let mut state = self.shared.lock();
        for frame in self.read.drain(..) {
            state.core.handle_frame(self.id, frame, now);
        }
        if may_write {
            let mut bytes = 0;
            while bytes < self.connection.batch()
                && let Some(frame) = state.core.poll_transmit(self.id, now)
            {
                bytes += frame.len();
                self.taken.push(frame);
            }
            moved |= bytes > 0;
        }
        self.reading = state.core.wants_frames(self.id);
        let timer_changed = state.obey(Some(self.id));
        let task = state.task(self.id);
        if !task.waker.as_ref().is_some_and(|waker| waker.will_wake(cx.waker())) {
            task.waker = Some(cx.waker().clone());
        }
        let closing = task.closing;
        drop(state);
        self.all_taken = may_write && self.taken.is_empty();
        if closing && self.stage == Stage::Open {
            self.stage = Stage::Closing;
            self.clock.as_mut().reset(Instant::now() + CLOSE_LIMIT);
            moved = true;
        }
        if timer_changed {
            self.shared.timer_changed.notify_one();
        }
        moved
    }

    /// Writes what was taken and flushes once. Reports whether a blocked socket has come free.
    fn write(&mut self, cx: &mut Context<'_>) -> Result<bool, Over> {
        let was_blocked = self.connection.is_blocked();
        for frame in self.taken.drain(..) {
            self.connection.write(frame).map_err(|_| Over)?;
        }
        match self.connection.poll_flush(cx) {
            Poll::Ready(Ok(())) => Ok(was_blocked),
            Poll::Ready(Err(_)) => Err(Over),
            Poll::Pending => Ok(false),
        }
    }

    /// Sends Close, and reads to the end.
    fn linger(&mut self, cx: &mut Context<'_>) -> Result<Poll<()>, Over> {
        if self.connection.poll_close(cx).map_err(|_| Over)?.is_pending() {
            return Ok(Poll::Pending);
        }
        loop {
            match self.connection.poll_frame(cx) {
                Poll::Ready(Some(Ok(_))) => {}
                Poll::Ready(Some(Err(_)) | None) => return Err(Over),
                Poll::Pending => return Ok(Poll::Pending),
            }
        }
    }

    /// Pings, cuts a link that has been silent for too long, and ends one that doesn't close in time.
    ///
    /// Silence is counted from look to look, so that reading costs no look at the clock.
    fn look_at_the_clock(&mut self, cx: &mut Context<'_>) -> Result<(), Over> {
        let interval = self.shared.ping_interval / LOOKS_PER_PING;
        while self.clock.as_mut().poll(cx).is_ready() {
            if self.stage != Stage::Open {
                return Err(Over);
            }
            self.clock.as_mut().reset(Instant::now() + interval);
            self.looks = self.looks.wrapping_add(1);
            self.silent_for = if self.connection.take_heard() { Duration::ZERO } else { self.silent_for + interval };
            if self.silent_for >= self.shared.silence_limit {
                return Err(Over);
            }
            if self.looks.is_multiple_of(LOOKS_PER_PING) && !self.connection.is_blocked() {
                self.connection.ping();
            }
        }
        Ok(())
    }
}

impl Future for Task {
    type Output = ();

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        self.get_mut().turn(cx).unwrap_or(Poll::Ready(()))
    }
}

impl Drop for Task {
    fn drop(&mut self) {
        let now = self.shared.now();
        let mut state = self.shared.lock();
        state.core.handle_closed(self.id, now);
        // Another link may have the slot as soon as the lock is gone, so nothing of this one may be left in it.
        let timer_changed = state.obey(None);
        *state.task(self.id) = TaskState::default();
        drop(state);
        if timer_changed {
            self.shared.timer_changed.notify_one();
        }
    }
}
