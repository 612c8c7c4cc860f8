//! The class `Bodies`: large bodies of one agent, in both directions.
//!
//! Where bytes cross: what is sent as `bytes` is borrowed until it has arrived, pieces of files and streams likewise; what comes in is copied
//! once, from the parts that hold it into one `bytes`.

#![allow(clippy::too_many_arguments, reason = "the signatures are those of Python, where arguments have names")]

use std::sync::Arc;

use bytes::Bytes;
use pyo3::prelude::*;
use pyo3::pybacked::PyBackedBytes;
use pyo3::types::{PyBytes, PyDict};

use super::arguments::{encode_headers, lane_of, message_id, peer_id, seconds, thread_id};
use super::errors::Error;
use super::events::Desk;
use super::receipt::Receipt;
use super::runtime;
use crate::agent::{BodyForm, BodySource, Content, ContentType, Head, Outgoing, Refusal, RefusalCode, Taken, Token};
use crate::net::client::{Client, Core};
use crate::proto::Now;

/// A handle to the large bodies of an agent. Usable from any thread.
#[pyclass(frozen, module = "a2alinker._core")]
pub(super) struct Bodies {
    client: Arc<Client<Desk>>,
}

impl Bodies {
    pub(super) fn new(client: &Arc<Client<Desk>>) -> Self {
        Self { client: Arc::clone(client) }
    }

    /// Gives `command` the agent, and lets go of the interpreter while it waits for that.
    fn with<R: Send>(&self, py: Python<'_>, command: impl FnOnce(&mut Core<Desk>, Now) -> R + Send) -> PyResult<R> {
        runtime::check()?;
        Ok(match self.client.try_with(command) {
            Ok(result) => result,
            Err(command) => py.detach(|| self.client.with(command)),
        })
    }
}

#[pymethods]
impl Bodies {
    #[pyo3(signature = (to, whole, name, length, repeatable, lane, thread, ttl, until_done, depth = 0, budget = None, headers = None, reply_to = None))]
    fn send(
        &self,
        py: Python<'_>,
        to: &[u8],
        whole: Option<PyBackedBytes>,
        name: Option<String>,
        length: Option<u64>,
        repeatable: bool,
        lane: u8,
        thread: Option<&[u8]>,
        ttl: f64,
        until_done: bool,
        depth: u16,
        budget: Option<u32>,
        headers: Option<&Bound<'_, PyDict>>,
        reply_to: Option<&[u8]>,
    ) -> PyResult<Receipt> {
        let outgoing = Outgoing {
            to: peer_id(to)?,
            lane: lane_of(lane)?,
            thread: thread.map(thread_id).transpose()?,
            ttl: seconds("ttl", ttl)?,
            until_done,
            depth,
            budget,
            reply_to: reply_to.map(message_id).transpose()?,
            headers: encode_headers(headers)?,
            content: Content { content_type: ContentType::Large, bytes: Bytes::new() },
        };
        let form = match (&whole, &name) {
            (Some(_), _) => BodyForm::Bytes,
            (None, Some(_)) => BodyForm::File,
            (None, None) => BodyForm::Stream,
        };
        let head = Head { form, length, name: name.unwrap_or_default() };
        let source = match whole {
            Some(whole) => BodySource::Whole(Bytes::from_owner(whole)),
            None => BodySource::Fed { repeatable },
        };
        let sent = self.with(py, move |core, now| {
            let (token, id) = core.agent.send_body(outgoing, &head, source, now).map_err(Error::from)?;
            Ok::<_, Error>(core.application.receipts.begin(token, id, until_done))
        })?;
        Ok(sent?)
    }

    /// Gives a piece of what `EVENT_BODY_WANTED` asked for.
    fn feed(&self, py: Python<'_>, body: Token, offset: u64, piece: PyBackedBytes) -> PyResult<()> {
        let piece = Bytes::from_owner(piece);
        Ok(self.with(py, move |core, now| core.agent.feed_body(body, offset, piece, now).map_err(Error::from))??)
    }

    /// The source has nothing more.
    fn finish(&self, py: Python<'_>, body: Token) -> PyResult<()> {
        self.with(py, move |core, now| core.agent.finish_body(body, now))
    }

    /// The source failed, or it isn't to be sent any more.
    fn give_up(&self, py: Python<'_>, body: Token, why: &str) -> PyResult<()> {
        self.with(py, move |core, now| core.agent.give_up_body(body, why, now))
    }

    /// Takes what has come, in whole parts, up to `limit` bytes and at least one part; None: nothing yet, no bytes: that was all.
    fn take<'py>(&self, py: Python<'py>, body: Token, limit: usize) -> PyResult<Option<Bound<'py, PyBytes>>> {
        let mut parts = Vec::new();
        let last = self.with(py, |core, now| {
            let mut length = 0;
            loop {
                match core.agent.take_part(body, now) {
                    Taken::Part(part) => {
                        length += part.len();
                        parts.push(part);
                        if length + crate::agent::limits::PART_MAX > limit {
                            return None;
                        }
                    }
                    other => return Some(other),
                }
            }
        })?;
        if !parts.is_empty() {
            return join(py, &parts).map(Some);
        }
        match last {
            Some(Taken::Whole) => Ok(Some(PyBytes::new(py, b""))),
            Some(Taken::Failed(error)) => Err(Error::Body(error).into()),
            Some(Taken::Nothing | Taken::Part(_)) | None => Ok(None),
        }
    }

    /// Bytes that have come of a body, 0 when it is over.
    fn received(&self, py: Python<'_>, body: Token) -> PyResult<u64> {
        self.with(py, move |core, _| core.agent.received_of(body).unwrap_or_default())
    }

    /// The reader is done. What it hasn't taken is refused.
    fn release(&self, py: Python<'_>, body: Token, why: &str) -> PyResult<()> {
        let refusal = Refusal::new(RefusalCode::Application, why);
        self.with(py, move |core, now| core.agent.release_body(body, &refusal, now))?;
        self.client.flush();
        Ok(())
    }
}

fn join<'py>(py: Python<'py>, parts: &[Bytes]) -> PyResult<Bound<'py, PyBytes>> {
    PyBytes::new_with(py, parts.iter().map(Bytes::len).sum(), |mut room| {
        for part in parts {
            let (here, rest) = room.split_at_mut(part.len());
            here.copy_from_slice(part);
            room = rest;
        }
        Ok(())
    })
}
