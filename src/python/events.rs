//! From the driver's thread to Python's, in batches: the queue, the bell and the tuples.
//!
//! The driver hands events over under the agent's lock; they are brought into the form of [`Notice`] there, wait in the queue, and become
//! tuples (`tuples`) when Python drains it. The bell rings when the queue turns non-empty and falls silent when it has been emptied, so
//! a burst costs one wake-up. The queue needs no bound of its own: messages and requests are bounded by the credit that the agent
//! gave, everything else by what the application itself has under way.

use std::collections::VecDeque;
use std::path::PathBuf;
use std::sync::{Arc, Condvar, Mutex, PoisonError};

use super::errors::Error;
use super::receipt::{Change, Receipts};
use crate::agent::{Event, LinkError, PeerChange, PeerView, Token};
use crate::net::client::{Application, View};
use crate::net::os::Bell;
use crate::proto::AgentId;

/// An event that is complete in itself: nothing has to be asked of the agent any more.
pub(super) enum Notice {
    Linked {
        switchboard: String,
        resumed: bool,
    },
    LinkLost {
        error: Error,
        retry_in: f64,
    },
    Closed(Option<Error>),
    Peer {
        what: &'static str,
        peer: PeerView,
    },
    Receipt(Change),
    Admitted {
        invite: Token,
        peer: PeerView,
    },
    /// Any other event, as it came.
    Event(Event),
    /// An event that tells nothing new by itself: it comes with the next one.
    InPassing(Event),
}

/// What waits for Python.
pub(super) struct Queue {
    waiting: Mutex<Waiting>,
    bell: Bell,
    /// Notified with each ring, for platforms without a descriptor to poll.
    rung: Condvar,
}

#[derive(Default)]
struct Waiting {
    notices: VecDeque<Notice>,
    /// One of them can't wait until something else happens.
    is_due: bool,
    is_ringing: bool,
    /// How often the bell has rung.
    rings: u64,
    /// A thread waits for the bell.
    is_awaited: bool,
    is_abandoned: bool,
}

impl Queue {
    pub(super) fn new() -> std::io::Result<Self> {
        Ok(Self { waiting: Mutex::default(), bell: Bell::new()?, rung: Condvar::new() })
    }

    pub(super) fn descriptor(&self) -> i32 {
        self.bell.descriptor()
    }

    /// Rings if something waits that nobody has been told of.
    pub(super) fn announce(&self) {
        let mut waiting = lock(&self.waiting);
        if waiting.is_ringing || !waiting.is_due {
            return;
        }
        waiting.is_ringing = true;
        waiting.rings += 1;
        let is_awaited = waiting.is_awaited;
        // Whoever hears the bell wants the lock.
        drop(waiting);
        self.bell.ring();
        if is_awaited {
            self.rung.notify_all();
        }
    }

    /// Takes up to `limit` notices. The bell goes on ringing as long as some are left.
    pub(super) fn take(&self, limit: usize) -> VecDeque<Notice> {
        let mut waiting = lock(&self.waiting);
        if waiting.notices.len() > limit {
            return waiting.notices.drain(..limit).collect();
        }
        waiting.is_due = false;
        waiting.is_ringing = false;
        // Also if it isn't thought to ring: it may have been about to when the last batch was taken.
        self.bell.silence();
        std::mem::take(&mut waiting.notices)
    }

    /// Waits until the bell has rung more than `rings` times, and returns how often; nothing when the agent is gone.
    pub(super) fn wait_for_ring(&self, rings: u64) -> Option<u64> {
        let mut waiting = lock(&self.waiting);
        waiting.is_awaited = true;
        while waiting.rings == rings && !waiting.is_abandoned {
            waiting = self.rung.wait(waiting).unwrap_or_else(PoisonError::into_inner);
        }
        (!waiting.is_abandoned).then_some(waiting.rings)
    }

    /// Lets go of whoever waits for the bell.
    pub(super) fn abandon(&self) {
        lock(&self.waiting).is_abandoned = true;
        self.rung.notify_all();
    }

    fn put(&self, notice: Notice) {
        let mut waiting = lock(&self.waiting);
        waiting.is_due |= !matches!(notice, Notice::InPassing(_));
        waiting.notices.push_back(notice);
    }
}

/// Most agents that were admitted and haven't linked yet. Chosen: more than join at once; beyond it the oldest are not reported.
const ADMITTED_MAX: usize = 1024;

/// The application of the state machine: receipts are brought up to date, everything else is queued.
pub(super) struct Desk {
    pub(super) receipts: Receipts,
    /// Who was admitted and is not yet a peer, and with which invite: it is reported with what is known of the peer.
    admitted: VecDeque<(AgentId, Token)>,
    queue: Arc<Queue>,
    agent_file: Option<PathBuf>,
}

impl Desk {
    pub(super) fn new(queue: Arc<Queue>, agent_file: Option<PathBuf>) -> Self {
        Self { receipts: Receipts::default(), admitted: VecDeque::new(), queue, agent_file }
    }
}

impl Application for Desk {
    fn agent_file(&self) -> Option<PathBuf> {
        self.agent_file.clone()
    }

    fn handle_event(&mut self, event: Event, view: View<'_>) {
        let notice = match event {
            Event::Receipt { token, state } => match self.receipts.change(token, state) {
                Some(change) => Notice::Receipt(change),
                None => return,
            },
            Event::Linked { resumed } => Notice::Linked { switchboard: view.switchboard.to_owned(), resumed },
            Event::LinkLost { error, retry_in } => {
                let error = match (&error, view.failure.take()) {
                    (LinkError::Connect { .. }, Some(failure)) => Error::Net(failure),
                    _ => Error::Link(error),
                };
                Notice::LinkLost { error, retry_in: retry_in.as_secs_f64() }
            }
            Event::Closed(reason) => Notice::Closed(reason.map(Error::Closed)),
            Event::Peer { id, change } => {
                if let Some(peer) = view.agent.peer(&id) {
                    self.queue.put(Notice::Peer { what: word_for(change), peer });
                }
                return self.report_admitted(&view);
            }
            Event::Admitted { invite, id, .. } => {
                if self.admitted.len() == ADMITTED_MAX {
                    self.admitted.pop_front();
                }
                self.admitted.push_back((id, invite));
                return self.report_admitted(&view);
            }
            // Whoever bound a call to a peer knows who has it.
            Event::CallMoved { call, attempt: 1, .. } if self.receipts.of_call(call).is_some() => Notice::InPassing(event),
            Event::CallMoved { call, .. } => {
                self.receipts.begin_call(call, view.agent);
                Notice::Event(event)
            }
            Event::Answered { call, .. } | Event::CallFailed { call, .. } => {
                self.receipts.end_call(call);
                Notice::Event(event)
            }
            event => Notice::Event(event),
        };
        self.queue.put(notice);
    }
}

impl Desk {
    /// Reports those admitted who are peers by this time.
    fn report_admitted(&mut self, view: &View<'_>) {
        let queue = &self.queue;
        self.admitted.retain(|(id, invite)| match view.agent.peer(id) {
            Some(peer) => {
                queue.put(Notice::Admitted { invite: *invite, peer });
                false
            }
            None => true,
        });
    }
}

fn word_for(change: PeerChange) -> &'static str {
    match change {
        PeerChange::Joined => "joined",
        PeerChange::Changed => "changed",
        PeerChange::Up => "up",
        PeerChange::Down => "down",
        PeerChange::Gone => "gone",
        PeerChange::Left => "left",
    }
}

fn lock<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
