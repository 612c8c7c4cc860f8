//! Receipts: what is known about each sent message, readable at any time without asking the agent.
//!
//! The state is a number in memory that the driver raises and Python reads. Nothing crosses into Python unless somebody watches.

use std::collections::HashMap;
use std::sync::atomic::{AtomicBool, AtomicU8, Ordering};
use std::sync::{Arc, OnceLock};

use pyo3::prelude::*;
use pyo3::types::PyBytes;

use crate::agent::{Agent, ReceiptState, Token};
use crate::proto::MessageId;

const QUEUED: u8 = 0;
const UNKNOWN: u8 = 1;
const DELIVERED: u8 = 2;
const DONE: u8 = 3;
const REFUSED: u8 = 4;
const EXPIRED: u8 = 5;
const FAILED: u8 = 6;

pub(super) fn add_constants(module: &Bound<'_, PyModule>) -> PyResult<()> {
    let states = [
        ("QUEUED", QUEUED),
        ("UNKNOWN", UNKNOWN),
        ("DELIVERED", DELIVERED),
        ("DONE", DONE),
        ("REFUSED", REFUSED),
        ("EXPIRED", EXPIRED),
        ("FAILED", FAILED),
    ];
    states.into_iter().try_for_each(|(name, value)| module.add(format!("RECEIPT_{name}"), value))
}

/// The state of one sent message. Reading it costs nothing; changes are reported only after `watch()`.
#[pyclass(frozen, module = "a2alinker._core")]
pub(super) struct Receipt(pub(super) Arc<Cell>);

#[pymethods]
impl Receipt {
    #[getter]
    fn token(&self) -> Token {
        self.0.token
    }

    #[getter]
    fn state(&self) -> u8 {
        self.0.state.load(Ordering::Acquire)
    }

    #[getter]
    fn reason(&self) -> &str {
        self.0.reason()
    }

    #[getter]
    fn message_id<'py>(&self, py: Python<'py>) -> Bound<'py, PyBytes> {
        PyBytes::new(py, self.0.message_id.as_bytes())
    }

    /// Has each change reported from here on, and returns the state at this moment.
    fn watch(&self) -> u8 {
        self.0.is_watched.store(true, Ordering::SeqCst);
        self.0.state.load(Ordering::SeqCst)
    }
}

/// What the driver writes and Python reads.
pub(super) struct Cell {
    token: Token,
    message_id: MessageId,
    /// The sender waits for `DONE`, so `DELIVERED` isn't the end.
    until_done: bool,
    state: AtomicU8,
    is_watched: AtomicBool,
    /// Set before the state that it explains.
    reason: OnceLock<String>,
}

impl Cell {
    fn reason(&self) -> &str {
        self.reason.get().map_or("", String::as_str)
    }
}

/// A change that somebody watches.
pub(super) struct Change {
    pub(super) state: u8,
    cell: Arc<Cell>,
}

impl Change {
    pub(super) fn token(&self) -> Token {
        self.cell.token
    }

    pub(super) fn reason(&self) -> &str {
        self.cell.reason()
    }
}

/// The receipts whose state can still change, and those of the calls that are open.
#[derive(Default)]
pub(super) struct Receipts {
    open: HashMap<Token, Arc<Cell>>,
    by_call: HashMap<Token, Arc<Cell>>,
}

impl Receipts {
    /// Begins the receipt of a message that was just queued.
    pub(super) fn begin(&mut self, token: Token, message_id: MessageId, until_done: bool) -> Receipt {
        let cell = Arc::new(Cell {
            token,
            message_id,
            until_done,
            state: AtomicU8::new(QUEUED),
            is_watched: AtomicBool::new(false),
            reason: OnceLock::new(),
        });
        self.open.insert(token, Arc::clone(&cell));
        Receipt(cell)
    }

    /// Begins the receipt of the request that a call has out at this moment.
    pub(super) fn begin_call(&mut self, call: Token, agent: &Agent) -> Option<Receipt> {
        let (token, message_id, _) = agent.request_of(call)?;
        if let Some(cell) = self.by_call.get(&call).filter(|cell| cell.token == token) {
            return Some(Receipt(Arc::clone(cell)));
        }
        let receipt = self.begin(token, message_id, false);
        self.by_call.insert(call, Arc::clone(&receipt.0));
        Some(receipt)
    }

    /// Returns the receipt of a call's present attempt.
    pub(super) fn of_call(&self, call: Token) -> Option<Receipt> {
        self.by_call.get(&call).map(|cell| Receipt(Arc::clone(cell)))
    }

    /// Forgets a call that is over.
    pub(super) fn end_call(&mut self, call: Token) {
        self.by_call.remove(&call);
    }

    /// Notes a new state, and returns it if somebody watches.
    pub(super) fn change(&mut self, token: Token, state: ReceiptState) -> Option<Change> {
        let cell = self.open.get(&token)?;
        let (state, reason) = match state {
            ReceiptState::Queued => (QUEUED, None),
            ReceiptState::Unknown => (UNKNOWN, None),
            ReceiptState::Delivered => (DELIVERED, None),
            ReceiptState::Done => (DONE, None),
            ReceiptState::Refused { reason, .. } => (REFUSED, Some(reason)),
            ReceiptState::Expired => (EXPIRED, None),
            ReceiptState::Failed => (FAILED, None),
        };
        if let Some(reason) = reason {
            cell.reason.get_or_init(|| reason);
        }
        cell.state.store(state, Ordering::SeqCst);
        let change = cell.is_watched.load(Ordering::SeqCst).then(|| Change { state, cell: Arc::clone(cell) });
        if state > DELIVERED || state == DELIVERED && !cell.until_done {
            self.open.remove(&token);
        }
        change
    }

    /// Returns the receipts that are neither delivered nor settled otherwise.
    pub(super) fn outstanding(&self) -> Vec<Receipt> {
        let mut cells: Vec<_> = self.open.values().filter(|cell| cell.state.load(Ordering::Acquire) < DELIVERED).collect();
        cells.sort_unstable_by_key(|cell| cell.token);
        cells.into_iter().map(|cell| Receipt(Arc::clone(cell))).collect()
    }
}
