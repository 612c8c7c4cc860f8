//! Receipts: what is known about each sent message, readable at any time without asking the agent.
//!
//! A state is a byte in memory that the driver raises and Python reads; nothing crosses into Python unless somebody watches. The bytes of
//! messages that were sent one after the other lie side by side on a *page*, so that a burst neither allocates nor searches for each
//! of its messages.

use std::array;
use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU8, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use pyo3::prelude::*;
use pyo3::types::PyBytes;

use crate::agent::{Agent, ReceiptState, Token};
use crate::proto::MessageId;

const QUEUED: u8 = 0;
const UNKNOWN: u8 = 1;
const FULL: u8 = 2;
const ACCEPTED: u8 = 3;
const DELIVERED: u8 = 4;
const DONE: u8 = 5;
const REFUSED: u8 = 6;
const EXPIRED: u8 = 7;
const FAILED: u8 = 8;

/// Receipts on a page: the bits of a word. A page stays as long as one of its receipts can change or is held.
const PAGE_LENGTH: usize = 64;

pub(super) fn add_constants(module: &Bound<'_, PyModule>) -> PyResult<()> {
    let states = [
        ("QUEUED", QUEUED),
        ("UNKNOWN", UNKNOWN),
        ("FULL", FULL),
        ("ACCEPTED", ACCEPTED),
        ("DELIVERED", DELIVERED),
        ("DONE", DONE),
        ("REFUSED", REFUSED),
        ("EXPIRED", EXPIRED),
        ("FAILED", FAILED),
    ];
    states.into_iter().try_for_each(|(name, value)| module.add(format!("RECEIPT_{name}"), value))
}

/// The state of one sent message. Reading it costs nothing; changes are reported only after `watch()`.
#[derive(Clone)]
#[pyclass(frozen, skip_from_py_object, module = "a2alinker._core")]
pub(super) struct Receipt {
    token: Token,
    message_id: MessageId,
    page: Arc<Page>,
}

#[pymethods]
impl Receipt {
    #[getter]
    fn token(&self) -> Token {
        self.token
    }

    #[getter]
    fn state(&self) -> u8 {
        self.page.states[place_of(self.token)].load(Ordering::Acquire)
    }

    #[getter]
    fn reason(&self) -> String {
        self.page.reason(self.token)
    }

    /// Seconds until a mailbox that was full is tried again; nothing in any other state.
    #[getter]
    fn retry_after(&self) -> Option<f64> {
        (self.state() == FULL).then(|| self.page.pause(self.token)).flatten()
    }

    #[getter]
    fn message_id<'py>(&self, py: Python<'py>) -> Bound<'py, PyBytes> {
        PyBytes::new(py, self.message_id.as_bytes())
    }

    /// Has each change reported from here on, and returns the state at this moment.
    fn watch(&self) -> u8 {
        self.page.watched.fetch_or(bit_of(self.token), Ordering::SeqCst);
        self.page.states[place_of(self.token)].load(Ordering::SeqCst)
    }
}

/// What the driver writes and Python reads.
struct Page {
    states: [AtomicU8; PAGE_LENGTH],
    /// A bit for each receipt that is watched.
    watched: AtomicU64,
    /// Why messages were refused, and how long a full mailbox is left alone, in seconds. Set before the state that it explains.
    reasons: Mutex<BTreeMap<Token, String>>,
    pauses: Mutex<BTreeMap<Token, f64>>,
}

impl Page {
    fn reason(&self, token: Token) -> String {
        self.reasons.lock().unwrap_or_else(PoisonError::into_inner).get(&token).cloned().unwrap_or_default()
    }

    fn pause(&self, token: Token) -> Option<f64> {
        self.pauses.lock().unwrap_or_else(PoisonError::into_inner).get(&token).copied()
    }
}

/// What the agent's side knows about the receipts of a page.
struct Sheet {
    page: Arc<Page>,
    ids: [MessageId; PAGE_LENGTH],
    /// A bit for each receipt whose state can still change.
    open: u64,
    /// A bit for each whose sender waits for `DONE`, so that `DELIVERED` isn't the end.
    until_done: u64,
}

impl Sheet {
    fn new() -> Self {
        let (reasons, pauses) = Default::default();
        let page = Page { states: array::from_fn(|_| AtomicU8::new(QUEUED)), watched: AtomicU64::new(0), reasons, pauses };
        Self { page: Arc::new(page), ids: [MessageId::ZERO; PAGE_LENGTH], open: 0, until_done: 0 }
    }

    fn open_receipts(&self, page: u64) -> impl Iterator<Item = Receipt> {
        let first = page * PAGE_LENGTH as u64;
        let open = (first..first + PAGE_LENGTH as u64).filter(|token| self.open & bit_of(*token) != 0);
        open.map(|token| self.receipt(token))
    }

    fn receipt(&self, token: Token) -> Receipt {
        Receipt { token, message_id: self.ids[place_of(token)], page: Arc::clone(&self.page) }
    }
}

fn page_of(token: Token) -> u64 {
    token / PAGE_LENGTH as u64
}

fn place_of(token: Token) -> usize {
    token as usize % PAGE_LENGTH
}

fn bit_of(token: Token) -> u64 {
    1 << place_of(token)
}

/// A change that somebody watches.
pub(super) struct Change {
    pub(super) token: Token,
    pub(super) state: u8,
    pub(super) reason: String,
}

/// The receipts whose state can still change, and those of the calls that are open.
#[derive(Default)]
pub(super) struct Receipts {
    sheets: BTreeMap<u64, Box<Sheet>>,
    by_call: BTreeMap<Token, Receipt>,
}

impl Receipts {
    /// Begins the receipt of a message that was just queued.
    pub(super) fn begin(&mut self, token: Token, message_id: MessageId, until_done: bool) -> Receipt {
        let sheet = self.sheets.entry(page_of(token)).or_insert_with(|| Box::new(Sheet::new()));
        sheet.ids[place_of(token)] = message_id;
        sheet.open |= bit_of(token);
        if until_done {
            sheet.until_done |= bit_of(token);
        }
        sheet.receipt(token)
    }

    /// Begins the receipt of the request that a call has out at this moment.
    pub(super) fn begin_call(&mut self, call: Token, agent: &Agent) -> Option<Receipt> {
        let (token, message_id, _) = agent.request_of(call)?;
        if let Some(receipt) = self.by_call.get(&call).filter(|receipt| receipt.token == token) {
            return Some(receipt.clone());
        }
        let receipt = self.begin(token, message_id, false);
        self.by_call.insert(call, receipt.clone());
        Some(receipt)
    }

    /// Returns the receipt of a call's present attempt.
    pub(super) fn of_call(&self, call: Token) -> Option<Receipt> {
        self.by_call.get(&call).cloned()
    }

    /// Forgets a call that is over.
    pub(super) fn end_call(&mut self, call: Token) {
        self.by_call.remove(&call);
    }

    /// Notes a new state, and returns it if somebody watches.
    pub(super) fn change(&mut self, token: Token, state: ReceiptState) -> Option<Change> {
        let sheet = self.sheets.get_mut(&page_of(token)).filter(|sheet| sheet.open & bit_of(token) != 0)?;
        let page = &sheet.page;
        let state = match state {
            ReceiptState::Queued => QUEUED,
            ReceiptState::Unknown => UNKNOWN,
            ReceiptState::Full { retry_after } => {
                page.pauses.lock().unwrap_or_else(PoisonError::into_inner).insert(token, retry_after.as_secs_f64());
                FULL
            }
            ReceiptState::Accepted => ACCEPTED,
            ReceiptState::Delivered => DELIVERED,
            ReceiptState::Done => DONE,
            ReceiptState::Refused { reason, .. } => {
                page.reasons.lock().unwrap_or_else(PoisonError::into_inner).insert(token, reason);
                REFUSED
            }
            ReceiptState::Expired => EXPIRED,
            ReceiptState::Failed => FAILED,
        };
        page.states[place_of(token)].store(state, Ordering::SeqCst);
        let is_watched = page.watched.load(Ordering::SeqCst) & bit_of(token) != 0;
        let change = is_watched.then(|| Change { token, state, reason: page.reason(token) });
        if state > DELIVERED || state == DELIVERED && sheet.until_done & bit_of(token) == 0 {
            sheet.open &= !bit_of(token);
            if sheet.open == 0 {
                self.sheets.remove(&page_of(token));
            }
        }
        change
    }

    /// Returns the receipts that are neither delivered, nor accepted by the switchboard, nor settled otherwise.
    pub(super) fn outstanding(&self) -> Vec<Receipt> {
        let open = self.sheets.iter().flat_map(|(page, sheet)| sheet.open_receipts(*page));
        open.filter(|receipt| receipt.state() < ACCEPTED).collect()
    }
}
