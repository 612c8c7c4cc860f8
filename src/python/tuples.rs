//! Events as Python sees them: tuples whose first element is the kind, laid out as `_core.pyi` says.

use pyo3::IntoPyObjectExt;
use pyo3::prelude::*;
use pyo3::types::{PyBytes, PyTuple};

use super::body::{self, DecodeError};
use super::errors::Error;
use super::events::Notice;
use super::peer::PeerInfo;
use crate::agent::{ContentType, Event, Head, Incoming, Token};
use crate::proto::{AgentId, ThreadId};

macro_rules! kinds {
    ($($name:ident = $value:literal),* $(,)?) => {
        /// Kinds of events.
        mod kind {
            $(pub(super) const $name: u8 = $value;)*
        }

        const KINDS: &[(&str, u8)] = &[$((concat!("EVENT_", stringify!($name)), $value)),*];
    };
}

kinds! {
    LINKED = 1,
    LINK_LOST = 2,
    JOINED = 3,
    CLOSED = 4,
    PEER = 5,
    MESSAGE = 6,
    REQUEST = 7,
    CANCELLED = 8,
    GAP = 9,
    RECEIPT = 10,
    PROGRESS = 11,
    ANSWER = 12,
    FAILED = 13,
    MOVED = 14,
    DEFINITION = 15,
    INVITE = 16,
    ADMITTED = 17,
    SPACE = 18,
    BURNT = 19,
    NOT_SAVED = 20,
    LOOP_STOPPED = 21,
    BODY_WANTED = 22,
    BODY_OVER = 23,
    BODY_MOVED = 24,
    BODY_ARRIVED = 25,
}

/// The message may have been handed to an earlier run of this agent.
const FLAG_MAYBE_REPEATED: u8 = 0x01;
/// The sender waits until the message is handled.
const FLAG_WANTS_DONE: u8 = 0x02;
/// The body is large, and follows.
const FLAG_LARGE: u8 = 0x04;

pub(super) fn add_constants(module: &Bound<'_, PyModule>) -> PyResult<()> {
    module.add("FLAG_MAYBE_REPEATED", FLAG_MAYBE_REPEATED)?;
    module.add("FLAG_WANTS_DONE", FLAG_WANTS_DONE)?;
    module.add("FLAG_LARGE", FLAG_LARGE)?;
    module.add("BODY_MAX", crate::agent::limits::BODY_MAX)?;
    module.add("LARGE_BODY_MAX", crate::agent::limits::LARGE_BODY_MAX)?;
    KINDS.iter().try_for_each(|(name, value)| module.add(*name, *value))
}

/// Something received whose body can't be read.
pub(super) enum Unreadable {
    /// A plain message: its sender is to be told.
    Message { token: Token, error: DecodeError },
    /// A request: likewise.
    Request { token: Token, error: DecodeError },
    /// A partial answer: the call is over for the application, and its worker should stop.
    Progress { call: Token },
}

/// Builds the tuples of one batch.
pub(super) struct Tuples<'py> {
    py: Python<'py>,
    /// The sender before: bursts come from one peer, and its id needs to be made once.
    sender: Option<(AgentId, Bound<'py, PyBytes>)>,
    common_thread: Bound<'py, PyBytes>,
    pub(super) unreadable: Vec<Unreadable>,
}

type Object<'py> = Bound<'py, PyAny>;

impl<'py> Tuples<'py> {
    pub(super) fn new(py: Python<'py>) -> Self {
        Self { py, sender: None, common_thread: PyBytes::new(py, ThreadId::ZERO.as_bytes()), unreadable: Vec::new() }
    }

    /// Builds the tuple of a notice; nothing for a message that can't be read.
    pub(super) fn build(&mut self, notice: Notice) -> PyResult<Option<Bound<'py, PyTuple>>> {
        let py = self.py;
        match notice {
            Notice::Linked { switchboard, resumed } => (kind::LINKED, switchboard, resumed).into_pyobject(py).map(Some),
            Notice::LinkLost { error, retry_in } => (kind::LINK_LOST, PyErr::from(error), retry_in).into_pyobject(py).map(Some),
            Notice::Closed(error) => (kind::CLOSED, error.map(PyErr::from)).into_pyobject(py).map(Some),
            Notice::Peer { what, peer } => (kind::PEER, what, PeerInfo(peer)).into_pyobject(py).map(Some),
            Notice::Receipt(change) => (kind::RECEIPT, change.token, change.state, change.reason).into_pyobject(py).map(Some),
            Notice::Admitted { invite, peer } => (kind::ADMITTED, invite, PeerInfo(peer)).into_pyobject(py).map(Some),
            Notice::Event(event) | Notice::InPassing(event) => self.event(event),
        }
    }

    fn event(&mut self, event: Event) -> PyResult<Option<Bound<'py, PyTuple>>> {
        let py = self.py;
        match event {
            Event::Message(incoming) => self.message(&incoming),
            Event::Request(incoming) => self.request(&incoming),
            Event::Progress { call, answer } => self.progress(call, &answer),
            Event::Answered { call, answer } => self.answer(call, &answer),
            Event::Joined => (kind::JOINED,).into_pyobject(py).map(Some),
            Event::Cancelled { request } => (kind::CANCELLED, request).into_pyobject(py).map(Some),
            Event::Gap { peer, lane, thread } => {
                (kind::GAP, self.peer_id(peer), lane as u8, self.thread(thread)).into_pyobject(py).map(Some)
            }
            Event::CallMoved { call, peer, attempt } => {
                (kind::MOVED, call, self.peer_id(peer), attempt).into_pyobject(py).map(Some)
            }
            Event::CallFailed { call, error } => self.failure(call, Error::Call(error)).map(Some),
            Event::Definition { call, definition } => {
                (kind::DEFINITION, call, PyBytes::new(py, &definition.unwrap_or_default())).into_pyobject(py).map(Some)
            }
            Event::Invite { invite, result: Ok(code) } => {
                (kind::INVITE, invite, py.None(), code.map(|code| code.to_string())).into_pyobject(py).map(Some)
            }
            Event::Invite { invite, result: Err(error) } => {
                (kind::INVITE, invite, PyErr::from(Error::Link(error)), py.None()).into_pyobject(py).map(Some)
            }
            Event::Burnt { invite, why } => (kind::BURNT, invite, PyErr::from(Error::Burnt(why))).into_pyobject(py).map(Some),
            Event::LoopStopped { peer, thread, here } => {
                (kind::LOOP_STOPPED, self.peer_id(peer), self.thread(thread), here).into_pyobject(py).map(Some)
            }
            Event::Space => (kind::SPACE,).into_pyobject(py).map(Some),
            Event::BodyWanted { body, offset, room } => (kind::BODY_WANTED, body, offset, room).into_pyobject(py).map(Some),
            Event::BodyOver { body } => (kind::BODY_OVER, body).into_pyobject(py).map(Some),
            Event::BodyMoved { body, confirmed } => (kind::BODY_MOVED, body, confirmed).into_pyobject(py).map(Some),
            Event::BodyArrived { body, received } => (kind::BODY_ARRIVED, body, received).into_pyobject(py).map(Some),
            Event::NotSaved { error } => (kind::NOT_SAVED, error).into_pyobject(py).map(Some),
            // The desk makes notices of these.
            Event::Linked { .. }
            | Event::LinkLost { .. }
            | Event::Closed(_)
            | Event::Peer { .. }
            | Event::Receipt { .. }
            | Event::Admitted { .. } => Ok(None),
        }
    }

    fn message(&mut self, incoming: &Incoming) -> PyResult<Option<Bound<'py, PyTuple>>> {
        let contents = match incoming.content.content_type {
            ContentType::Large => self.head(incoming),
            _ => self.contents(incoming),
        };
        match contents {
            Ok((body, headers)) => PyTuple::new(self.py, self.delivery(kind::MESSAGE, incoming, body, headers)?).map(Some),
            Err(error) => {
                self.unreadable.push(Unreadable::Message { token: incoming.token, error });
                Ok(None)
            }
        }
    }

    fn request(&mut self, incoming: &Incoming) -> PyResult<Option<Bound<'py, PyTuple>>> {
        match self.contents(incoming) {
            Ok((body, headers)) => {
                let [a, b, c, d, e, f, g, h, i, j, k, l, m] = self.delivery(kind::REQUEST, incoming, body, headers)?;
                let (skill, attempt) = (self.object(incoming.skill.as_deref())?, self.object(incoming.attempt)?);
                PyTuple::new(self.py, [a, b, c, d, e, f, g, h, i, j, k, l, m, skill, attempt]).map(Some)
            }
            Err(error) => {
                self.unreadable.push(Unreadable::Request { token: incoming.token, error });
                Ok(None)
            }
        }
    }

    /// The fields that messages and requests have in common.
    fn delivery(
        &mut self,
        kind: u8,
        incoming: &Incoming,
        body: Object<'py>,
        headers: Object<'py>,
    ) -> PyResult<[Object<'py>; 13]> {
        // Of a large body only its end says whether the sender waits until it is handled.
        let is_large = incoming.content.content_type == ContentType::Large;
        let flags = if incoming.maybe_repeated { FLAG_MAYBE_REPEATED } else { 0 }
            | if incoming.wants_done || is_large { FLAG_WANTS_DONE } else { 0 }
            | if is_large { FLAG_LARGE } else { 0 };
        Ok([
            self.object(kind)?,
            self.object(incoming.token)?,
            self.peer_id(incoming.sender).into_any(),
            body,
            self.object(incoming.lane as u8)?,
            self.thread(incoming.thread).into_any(),
            self.object(incoming.expiry)?,
            self.object(incoming.ttl_ms)?,
            self.object(incoming.depth)?,
            self.object(incoming.budget)?,
            self.object(flags)?,
            headers,
            PyBytes::new(self.py, incoming.id.as_bytes()).into_any(),
        ])
    }

    fn progress(&mut self, call: Token, answer: &Incoming) -> PyResult<Option<Bound<'py, PyTuple>>> {
        match self.contents(answer) {
            Ok((body, _)) => {
                let id = PyBytes::new(self.py, answer.id.as_bytes());
                (kind::PROGRESS, call, self.peer_id(answer.sender), body, id).into_pyobject(self.py).map(Some)
            }
            Err(error) => {
                self.unreadable.push(Unreadable::Progress { call });
                self.failure(call, error.into()).map(Some)
            }
        }
    }

    fn answer(&mut self, call: Token, answer: &Incoming) -> PyResult<Option<Bound<'py, PyTuple>>> {
        let (body, headers) = match self.contents(answer) {
            Ok(contents) => contents,
            Err(error) => return self.failure(call, error.into()).map(Some),
        };
        let fields = [
            self.object(kind::ANSWER)?,
            self.object(call)?,
            self.object(answer.token)?,
            self.peer_id(answer.sender).into_any(),
            body,
            self.object(answer.lane as u8)?,
            self.thread(answer.thread).into_any(),
            self.object(answer.depth)?,
            self.object(answer.budget)?,
            headers,
            PyBytes::new(self.py, answer.id.as_bytes()).into_any(),
        ];
        PyTuple::new(self.py, fields).map(Some)
    }

    fn failure(&self, call: Token, error: Error) -> PyResult<Bound<'py, PyTuple>> {
        (kind::FAILED, call, PyErr::from(error)).into_pyobject(self.py)
    }

    fn contents(&self, incoming: &Incoming) -> Result<(Object<'py>, Object<'py>), DecodeError> {
        let body = body::decode(self.py, incoming.content.content_type, &incoming.content.bytes)?;
        Ok((body, self.headers(incoming)?))
    }

    /// What is known of a large body: form, length, name.
    fn head(&self, incoming: &Incoming) -> Result<(Object<'py>, Object<'py>), DecodeError> {
        let unreadable = DecodeError { what: "the head of a large body that can't be read", offset: 0 };
        let Ok(Head { form, length, name }) = Head::decode(&incoming.content.bytes) else { return Err(unreadable) };
        let head = (form as u8, length, name).into_pyobject(self.py).map_err(|_| unreadable)?;
        Ok((head.into_any(), self.headers(incoming)?))
    }

    fn headers(&self, incoming: &Incoming) -> Result<Object<'py>, DecodeError> {
        match &incoming.headers[..] {
            [] => Ok(self.py.None().into_bound(self.py)),
            headers => body::decode_headers(self.py, headers),
        }
    }

    fn peer_id(&mut self, id: AgentId) -> Bound<'py, PyBytes> {
        match &self.sender {
            Some((known, object)) if *known == id => object.clone(),
            _ => {
                let object = PyBytes::new(self.py, id.as_bytes());
                self.sender = Some((id, object.clone()));
                object
            }
        }
    }

    fn thread(&self, thread: ThreadId) -> Bound<'py, PyBytes> {
        if thread == ThreadId::ZERO { self.common_thread.clone() } else { PyBytes::new(self.py, thread.as_bytes()) }
    }

    fn object(&self, value: impl IntoPyObjectExt<'py>) -> PyResult<Object<'py>> {
        value.into_bound_py_any(self.py)
    }
}
