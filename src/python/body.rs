//! Message bodies between Python objects and bytes (PROTOCOL section 7.1: content types; MessagePack).
//!
//! One pass over the object, without an intermediate tree: `encode` walks Python values into MessagePack, `decode` builds them from it.
//! What can't be represented exactly is refused at `send` and the error names its path (`body.items[3].when`), because a value that
//! arrives changed is worse than one that doesn't leave. Two conversions are part of the promise: tuples come back as lists, dataclasses
//! and pydantic models as dictionaries.
//!
//! `decode` reads what a stranger may have written: nesting is bounded, and no length is believed beyond the bytes that are there.

use std::fmt;

use bytes::Bytes;
use pyo3::exceptions::PyRecursionError;
use pyo3::intern;
use pyo3::prelude::*;
use pyo3::pybacked::{PyBackedBytes, PyBackedStr};
use pyo3::sync::PyOnceLock;
use pyo3::types::{
    IntoPyDict, PyBool, PyByteArray, PyBytes, PyDict, PyFloat, PyInt, PyList, PyMemoryView, PyString, PyTuple, PyType,
};
use rmp::encode::{self, ByteBuf};

use crate::agent::ContentType;
use crate::agent::limits::BODY_MAX;

/// Most containers inside one another. Chosen: deeper data is a mistake or a list that contains itself; 64 levels of this walk stay
/// far below the stack of any thread.
pub(super) const DEPTH_LIMIT: usize = 64;

/// Texts and bytes of this length and more are borrowed from Python until they are sent, shorter ones are copied. Measured: from here on
/// copying costs more than the counting of references.
const BORROWED_LENGTH: usize = 4 * 1024;

/// Longest part of a dictionary key that an error repeats, in characters.
const SHOWN_KEY_LENGTH: usize = 40;

/// Encodes a message body; text and bytes at the top go as they are.
///
/// # Errors
///
/// [`EncodeError`] when a value has no exact form on the wire, or the body is larger than [`BODY_MAX`].
pub(super) fn encode(body: &Bound<'_, PyAny>) -> Result<(ContentType, Bytes), EncodeError> {
    encode_top(body).map_err(|fault| EncodeError { root: "body", fault })
}

/// Encodes the arguments of a call: an array of the positional ones and a map of the named ones.
///
/// # Errors
///
/// As [`encode()`]; the path begins with `args` or `kwargs`.
pub(super) fn encode_arguments(args: &Bound<'_, PyTuple>, kwargs: &Bound<'_, PyDict>) -> Result<Bytes, EncodeError> {
    let mut encoder = Encoder::default();
    encoder.array_length(2).map_err(|fault| EncodeError { root: "args", fault })?;
    encoder.tuple(args, 1).map_err(|fault| EncodeError { root: "args", fault })?;
    encoder.dictionary(kwargs, 1).map_err(|fault| EncodeError { root: "kwargs", fault })?;
    encoder.finish().map_err(|fault| EncodeError { root: "args", fault })
}

/// Encodes the headers of a message: a map.
///
/// # Errors
///
/// As [`encode()`]; the path begins with `headers`.
pub(super) fn encode_headers(headers: &Bound<'_, PyDict>) -> Result<Bytes, EncodeError> {
    let mut encoder = Encoder::default();
    encoder.dictionary(headers, 0).and_then(|()| encoder.finish()).map_err(|fault| EncodeError { root: "headers", fault })
}

/// Builds the Python object of a received body.
///
/// # Errors
///
/// [`DecodeError`] when the bytes aren't what the content type says.
pub(super) fn decode<'py>(py: Python<'py>, content_type: ContentType, data: &[u8]) -> Result<Bound<'py, PyAny>, DecodeError> {
    match content_type {
        ContentType::None if data.is_empty() => Ok(py.None().into_bound(py)),
        ContentType::None => Err(DecodeError { what: "a body where there should be none", offset: 0 }),
        ContentType::Bytes => Ok(PyBytes::new(py, data).into_any()),
        ContentType::Text => match std::str::from_utf8(data) {
            Ok(text) => Ok(PyString::new(py, text).into_any()),
            Err(error) => Err(DecodeError { what: "text that isn't UTF-8", offset: error.valid_up_to() }),
        },
        ContentType::MessagePack => super::unpack::unpack(py, data),
        ContentType::Large => Err(DecodeError { what: "a large body where there can be none", offset: 0 }),
        ContentType::Unknown(_) => Err(DecodeError { what: "a body of unknown content type", offset: 0 }),
    }
}

/// Builds the dictionary of received headers.
///
/// # Errors
///
/// [`DecodeError`] when the bytes aren't a map.
pub(super) fn decode_headers<'py>(py: Python<'py>, data: &[u8]) -> Result<Bound<'py, PyAny>, DecodeError> {
    let headers = super::unpack::unpack(py, data)?;
    if headers.is_instance_of::<PyDict>() { Ok(headers) } else { Err(DecodeError { what: "headers that are no map", offset: 0 }) }
}

/// Why received bytes are no body. The sender is at fault.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
#[error("received {what} (at byte {offset})")]
pub(super) struct DecodeError {
    pub(super) what: &'static str,
    pub(super) offset: usize,
}

/// Why an object can't be sent, and where in it. The caller is at fault.
#[derive(Debug)]
pub(super) struct EncodeError {
    root: &'static str,
    fault: Box<Fault>,
}

impl EncodeError {
    /// Takes out the exception that the application's own code raised while it was asked for its fields.
    pub(super) fn take_cause(&mut self) -> Option<PyErr> {
        self.fault.cause.take()
    }
}

impl fmt::Display for EncodeError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.root)?;
        for step in self.fault.steps_outwards.iter().rev() {
            match step {
                Step::Index(index) => write!(f, "[{index}]")?,
                Step::Key(key) if is_identifier(key) => write!(f, ".{key}")?,
                Step::Key(key) => write!(f, "[{:?}]", key.chars().take(SHOWN_KEY_LENGTH).collect::<String>())?,
            }
        }
        write!(f, ": {}", self.fault.problem)
    }
}

fn is_identifier(key: &str) -> bool {
    key.len() <= SHOWN_KEY_LENGTH
        && key.starts_with(|c: char| c.is_alphabetic() || c == '_')
        && key.chars().all(|c| c.is_alphanumeric() || c == '_')
}

#[derive(Debug)]
struct Fault {
    /// From the offending value outwards: each container adds its step while the error passes through it, so that success pays nothing.
    steps_outwards: Vec<Step>,
    problem: String,
    cause: Option<PyErr>,
}

#[derive(Debug)]
enum Step {
    Index(usize),
    Key(String),
}

type Outcome<T> = Result<T, Box<Fault>>;

fn fault(problem: impl Into<String>) -> Box<Fault> {
    Box::new(Fault { steps_outwards: Vec::new(), problem: problem.into(), cause: None })
}

fn raised(problem: impl Into<String>, cause: PyErr) -> Box<Fault> {
    Box::new(Fault { steps_outwards: Vec::new(), problem: problem.into(), cause: Some(cause) })
}

fn inside<T>(outcome: Outcome<T>, step: impl FnOnce() -> Step) -> Outcome<T> {
    outcome.map_err(|mut fault| {
        fault.steps_outwards.push(step());
        fault
    })
}

fn encode_top(body: &Bound<'_, PyAny>) -> Outcome<(ContentType, Bytes)> {
    if body.is_none() {
        return Ok((ContentType::None, Bytes::new()));
    }
    if let Ok(text) = body.cast_exact::<PyString>() {
        return Ok((ContentType::Text, borrowed_or_copied(PyBackedStr::try_from(text.clone()).map_err(surrogates)?)?));
    }
    if let Ok(bytes) = body.cast_exact::<PyBytes>() {
        return Ok((ContentType::Bytes, borrowed_or_copied(PyBackedBytes::from(bytes.clone()))?));
    }
    if let Some(bytes) = copied_buffer(body)? {
        within_limit(bytes.len())?;
        return Ok((ContentType::Bytes, bytes.into()));
    }
    let mut encoder = Encoder::default();
    encoder.value(body, 0)?;
    Ok((ContentType::MessagePack, encoder.finish()?))
}

fn borrowed_or_copied<T: AsRef<[u8]> + Send + 'static>(object: T) -> Outcome<Bytes> {
    match within_limit(object.as_ref().len())? {
        BORROWED_LENGTH.. => Ok(Bytes::from_owner(object)),
        _ => Ok(Bytes::copy_from_slice(object.as_ref())),
    }
}

fn within_limit(length: usize) -> Outcome<usize> {
    if length <= BODY_MAX {
        return Ok(length);
    }
    Err(fault(format!("is larger than {BODY_MAX} bytes, the most that one message carries; send it in parts")))
}

fn utf8<'a>(text: &'a Bound<'_, PyString>) -> Outcome<&'a str> {
    text.to_str().map_err(surrogates)
}

fn surrogates(error: PyErr) -> Box<Fault> {
    raised("str with lone surrogates can't be sent; encode it to bytes", error)
}

/// Copies a `bytearray` or `memoryview`: unlike `bytes` they may change while they are read, so they aren't borrowed.
fn copied_buffer(value: &Bound<'_, PyAny>) -> Outcome<Option<Vec<u8>>> {
    if let Ok(bytes) = value.cast::<PyByteArray>() {
        return Ok(Some(bytes.to_vec()));
    }
    let Ok(view) = value.cast::<PyMemoryView>() else {
        return Ok(None);
    };
    let copy = view.call_method0(intern!(view.py(), "tobytes")).map_err(|error| raised("memoryview can't be read", error))?;
    let bytes: Vec<u8> = copy.extract().map_err(|error: PyErr| raised("memoryview can't be read", error))?;
    Ok(Some(bytes))
}

#[derive(Default)]
struct Encoder {
    buffer: ByteBuf,
}

impl Encoder {
    fn finish(self) -> Outcome<Bytes> {
        within_limit(self.buffer.as_slice().len())?;
        Ok(self.buffer.into_vec().into())
    }

    /// Appends one value that lies inside `depth` containers.
    fn value(&mut self, value: &Bound<'_, PyAny>, depth: usize) -> Outcome<()> {
        if let Ok(text) = value.cast_exact::<PyString>() {
            self.text(utf8(text)?)
        } else if let Ok(integer) = value.cast_exact::<PyInt>() {
            self.integer(integer)
        } else if let Ok(dictionary) = value.cast_exact::<PyDict>() {
            self.dictionary(dictionary, depth)
        } else if let Ok(list) = value.cast_exact::<PyList>() {
            self.list(list, depth)
        } else if let Ok(float) = value.cast_exact::<PyFloat>() {
            let Ok(()) = encode::write_f64(&mut self.buffer, float.value());
            Ok(())
        } else if let Ok(boolean) = value.cast_exact::<PyBool>() {
            let Ok(()) = encode::write_bool(&mut self.buffer, boolean.is_true());
            Ok(())
        } else if value.is_none() {
            let Ok(()) = encode::write_nil(&mut self.buffer);
            Ok(())
        } else if let Ok(tuple) = value.cast_exact::<PyTuple>() {
            self.tuple(tuple, depth)
        } else if let Ok(bytes) = value.cast_exact::<PyBytes>() {
            self.binary(bytes.as_bytes())
        } else {
            self.uncommon_value(value, depth)
        }
    }

    /// Appends a value of a derived or structured type, which takes more questions to find out.
    #[cold]
    fn uncommon_value(&mut self, value: &Bound<'_, PyAny>, depth: usize) -> Outcome<()> {
        if let Some(bytes) = copied_buffer(value)? {
            self.binary(&bytes)
        } else if let Some(fields) = dataclass_fields(value)? {
            self.dataclass(value, &fields, depth)
        } else if let Some(dumped) = pydantic_dump(value)? {
            nested(depth)?;
            self.value(&dumped, depth + 1)
        } else if let Ok(text) = value.cast::<PyString>() {
            self.text(utf8(text)?)
        } else if let Ok(integer) = value.cast::<PyInt>() {
            self.integer(integer)
        } else if let Ok(dictionary) = value.cast::<PyDict>() {
            self.dictionary(dictionary, depth)
        } else if let Ok(list) = value.cast::<PyList>() {
            self.list(list, depth)
        } else if let Ok(tuple) = value.cast::<PyTuple>() {
            self.tuple(tuple, depth)
        } else if let Ok(float) = value.cast::<PyFloat>() {
            let Ok(()) = encode::write_f64(&mut self.buffer, float.value());
            Ok(())
        } else if let Ok(bytes) = value.cast::<PyBytes>() {
            self.binary(bytes.as_bytes())
        } else {
            Err(fault(unsendable(value)))
        }
    }

    fn text(&mut self, text: &str) -> Outcome<()> {
        within_limit(text.len() + self.buffer.as_slice().len())?;
        let Ok(()) = encode::write_str(&mut self.buffer, text);
        Ok(())
    }

    fn binary(&mut self, bytes: &[u8]) -> Outcome<()> {
        within_limit(bytes.len() + self.buffer.as_slice().len())?;
        let Ok(()) = encode::write_bin(&mut self.buffer, bytes);
        Ok(())
    }

    fn integer(&mut self, integer: &Bound<'_, PyInt>) -> Outcome<()> {
        if let Ok(signed) = integer.extract::<i64>() {
            let Ok(_) = encode::write_sint(&mut self.buffer, signed);
        } else if let Ok(unsigned) = integer.extract::<u64>() {
            let Ok(_) = encode::write_uint(&mut self.buffer, unsigned);
        } else {
            return Err(fault("int beyond 64 bits can't be sent; send it as str"));
        }
        Ok(())
    }

    fn list(&mut self, list: &Bound<'_, PyList>, depth: usize) -> Outcome<()> {
        self.sequence(list.len(), list.iter(), depth)
    }

    fn tuple(&mut self, tuple: &Bound<'_, PyTuple>, depth: usize) -> Outcome<()> {
        self.sequence(tuple.len(), tuple.iter(), depth)
    }

    fn sequence<'py>(&mut self, length: usize, items: impl Iterator<Item = Bound<'py, PyAny>>, depth: usize) -> Outcome<()> {
        nested(depth)?;
        self.array_length(length)?;
        let mut taken = 0;
        for item in items {
            inside(self.value(&item, depth + 1), || Step::Index(taken))?;
            taken += 1;
        }
        if taken == length { Ok(()) } else { Err(fault("list was changed while it was being sent")) }
    }

    fn dictionary(&mut self, dictionary: &Bound<'_, PyDict>, depth: usize) -> Outcome<()> {
        nested(depth)?;
        let length = dictionary.len();
        self.map_length(length)?;
        let mut entries = dictionary.iter();
        let mut taken = 0;
        // A value's own code (a property, model_dump) may change the dictionary, and the iterator panics if asked after that.
        while taken < length && dictionary.len() == length {
            let Some((key, value)) = entries.next() else {
                break;
            };
            let Ok(key) = key.cast::<PyString>() else {
                return Err(fault(format!("dict keys must be str, not {}", type_name(&key))));
            };
            let key = utf8(key)?;
            self.text(key)?;
            inside(self.value(&value, depth + 1), || Step::Key(key.to_owned()))?;
            taken += 1;
        }
        if taken == length { Ok(()) } else { Err(fault("dict was changed while it was being sent")) }
    }

    fn dataclass(&mut self, value: &Bound<'_, PyAny>, fields: &Bound<'_, PyTuple>, depth: usize) -> Outcome<()> {
        nested(depth)?;
        self.map_length(fields.len())?;
        for field in fields {
            let unreadable = |error| raised("dataclass has a field that can't be read", error);
            let name = field.getattr(intern!(value.py(), "name")).map_err(unreadable)?;
            let name = name.cast::<PyString>().map_err(|error| unreadable(error.into()))?;
            let key = utf8(name)?;
            self.text(key)?;
            let content = value.getattr(name).map_err(unreadable)?;
            inside(self.value(&content, depth + 1), || Step::Key(key.to_owned()))?;
        }
        Ok(())
    }

    fn array_length(&mut self, length: usize) -> Outcome<()> {
        within_limit(length + self.buffer.as_slice().len())?;
        let Ok(_) = encode::write_array_len(&mut self.buffer, length as u32);
        Ok(())
    }

    fn map_length(&mut self, length: usize) -> Outcome<()> {
        within_limit(length + self.buffer.as_slice().len())?;
        let Ok(_) = encode::write_map_len(&mut self.buffer, length as u32);
        Ok(())
    }
}

fn nested(depth: usize) -> Outcome<()> {
    if depth < DEPTH_LIMIT {
        return Ok(());
    }
    let deep = format!("is nested deeper than {DEPTH_LIMIT} levels, or contains itself");
    Err(raised(deep.clone(), PyRecursionError::new_err(deep)))
}

/// Returns the fields of a dataclass instance.
fn dataclass_fields<'py>(value: &Bound<'py, PyAny>) -> Outcome<Option<Bound<'py, PyTuple>>> {
    static FIELDS: PyOnceLock<Py<PyAny>> = PyOnceLock::new();
    let py = value.py();
    let unreadable = |error| raised("dataclass can't be read", error);
    if !value.get_type().hasattr(intern!(py, "__dataclass_fields__")).map_err(unreadable)? || value.is_instance_of::<PyType>() {
        return Ok(None);
    }
    let fields = FIELDS.import(py, "dataclasses", "fields").map_err(unreadable)?.call1((value,)).map_err(unreadable)?;
    fields.cast_into::<PyTuple>().map(Some).map_err(|error| unreadable(error.into()))
}

/// Returns the plain form of a pydantic model (a dictionary, unless it has a root type), told by its method so that pydantic needn't be there.
fn pydantic_dump<'py>(value: &Bound<'py, PyAny>) -> Outcome<Option<Bound<'py, PyAny>>> {
    let py = value.py();
    let class = value.get_type();
    let is_model =
        class.hasattr(intern!(py, "model_dump")).and_then(|has| Ok(has && class.hasattr(intern!(py, "model_fields"))?));
    if !is_model.unwrap_or(false) {
        return Ok(None);
    }
    let undumped = |error| raised(format!("{} can't be dumped", type_name(value)), error);
    let options = [("mode", "python")].into_py_dict(py).map_err(undumped)?;
    value.call_method(intern!(py, "model_dump"), (), Some(&options)).map(Some).map_err(undumped)
}

fn unsendable(value: &Bound<'_, PyAny>) -> String {
    let name = type_name(value);
    let advice = match name.as_str() {
        "datetime" | "date" | "time" => "send its isoformat()",
        "timedelta" => "send its total_seconds()",
        "set" | "frozenset" | "deque" | "generator" | "range" | "dict_keys" | "dict_values" => "send a list of it",
        "Decimal" | "UUID" | "PosixPath" | "WindowsPath" | "PurePosixPath" | "PureWindowsPath" => "send its str()",
        "complex" => "send its real and imag parts",
        "ndarray" => "send its tolist() or tobytes()",
        "coroutine" | "Call" | "Future" | "Task" => "await it first",
        _ if value.hasattr(intern!(value.py(), "__members__")).unwrap_or(false) => "send an instance",
        _ if value.get_type().hasattr(intern!(value.py(), "__members__")).unwrap_or(false) => "send its value",
        _ => "send str, bytes, numbers, lists, dicts, dataclasses or pydantic models",
    };
    format!("{name} can't be sent; {advice}")
}

fn type_name(value: &Bound<'_, PyAny>) -> String {
    value.get_type().name().map_or_else(|_| "object".to_owned(), |name| name.to_string())
}
