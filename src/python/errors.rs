//! What users see of an error: which class of `a2alinker.exceptions`, with which attributes.
//!
//! The classes are written in Python, where users read them; they are imported when the first one is raised. `code` and `retryable` are
//! theirs. One function, [`Face::of`], holds the whole mapping.

use pyo3::prelude::*;
use pyo3::sync::PyOnceLock;
use pyo3::types::{PyDict, PyModule};

use super::body::{DecodeError, EncodeError};

/// Everything that this module can raise.
#[derive(Debug)]
pub(super) enum Error {
    /// The process was forked from the one in which the runtime's threads are.
    Forked,
    /// The application's value can't be sent.
    Encode(EncodeError),
    /// What was received is no body.
    Decode(DecodeError),
}

impl From<EncodeError> for Error {
    fn from(error: EncodeError) -> Self {
        Self::Encode(error)
    }
}

impl From<DecodeError> for Error {
    fn from(error: DecodeError) -> Self {
        Self::Decode(error)
    }
}

impl From<Error> for PyErr {
    fn from(mut error: Error) -> Self {
        let cause = match &mut error {
            Error::Encode(error) => error.take_cause(),
            _ => None,
        };
        Python::attach(|py| {
            let raised = Face::of(&error).raise(py).unwrap_or_else(|failure| failure);
            if cause.is_some() {
                raised.set_cause(py, cause);
            }
            raised
        })
    }
}

/// The class, text and attributes of an exception.
struct Face {
    class: &'static str,
    text: String,
    attributes: Vec<(&'static str, Attribute)>,
}

enum Attribute {
    Text(String),
    Seconds(f64),
}

impl Face {
    fn of(error: &Error) -> Self {
        match error {
            Error::Forked => Self::new("Forked", String::new()),
            Error::Encode(error) => Self::new("BodyError", error.to_string()),
            Error::Decode(error) => Self::new("ProtocolError", error.to_string()),
        }
    }

    fn new(class: &'static str, text: String) -> Self {
        Self { class, text, attributes: Vec::new() }
    }

    fn raise(self, py: Python<'_>) -> PyResult<PyErr> {
        static EXCEPTIONS: PyOnceLock<Py<PyModule>> = PyOnceLock::new();
        let module = EXCEPTIONS.get_or_try_init(py, || py.import("a2alinker.exceptions").map(Bound::unbind))?;
        let attributes = PyDict::new(py);
        for (name, value) in self.attributes {
            match value {
                Attribute::Text(text) => attributes.set_item(name, text)?,
                Attribute::Seconds(seconds) => attributes.set_item(name, seconds)?,
            }
        }
        let class = module.bind(py).getattr(self.class)?;
        class.call((self.text,), Some(&attributes)).map(PyErr::from_value)
    }
}
