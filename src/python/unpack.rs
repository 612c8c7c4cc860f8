//! MessagePack to Python objects, from bytes that a stranger may have written.
//!
//! Nothing is believed: containers nest at most [`DEPTH_LIMIT`] deep, a length must fit into the bytes that are left, and all open containers
//! together may promise no more elements than there are bytes, so that the memory used stays proportional to what was received.

use pyo3::prelude::*;
use pyo3::types::{PyBool, PyBytes, PyDict, PyFloat, PyList, PyString};
use rmp::Marker;

use super::body::{DEPTH_LIMIT, DecodeError};

/// Builds the one value that `data` holds.
///
/// # Errors
///
/// [`DecodeError`] for anything but exactly one well-formed value of the types that bodies have.
pub(super) fn unpack<'py>(py: Python<'py>, data: &[u8]) -> Result<Bound<'py, PyAny>, DecodeError> {
    let mut decoder = Decoder { py, data, position: 0, owed: 0 };
    let value = decoder.value(0)?;
    if decoder.position == data.len() { Ok(value) } else { Err(decoder.error("bytes after the end of a value")) }
}

struct Decoder<'a, 'py> {
    py: Python<'py>,
    data: &'a [u8],
    position: usize,
    /// Elements that open containers promised and that haven't been read; never more than there were bytes left when promised.
    owed: usize,
}

impl<'a, 'py> Decoder<'a, 'py> {
    fn value(&mut self, depth: usize) -> Result<Bound<'py, PyAny>, DecodeError> {
        let py = self.py;
        let [marker] = self.array()?;
        match Marker::from_u8(marker) {
            Marker::Null => Ok(py.None().into_bound(py)),
            Marker::True => Ok(PyBool::new(py, true).to_owned().into_any()),
            Marker::False => Ok(PyBool::new(py, false).to_owned().into_any()),
            Marker::FixPos(value) => Ok(self.integer(value)),
            Marker::FixNeg(value) => Ok(self.integer(value)),
            Marker::U8 => self.array().map(|bytes| self.integer(u8::from_be_bytes(bytes))),
            Marker::U16 => self.array().map(|bytes| self.integer(u16::from_be_bytes(bytes))),
            Marker::U32 => self.array().map(|bytes| self.integer(u32::from_be_bytes(bytes))),
            Marker::U64 => self.array().map(|bytes| self.integer(u64::from_be_bytes(bytes))),
            Marker::I8 => self.array().map(|bytes| self.integer(i8::from_be_bytes(bytes))),
            Marker::I16 => self.array().map(|bytes| self.integer(i16::from_be_bytes(bytes))),
            Marker::I32 => self.array().map(|bytes| self.integer(i32::from_be_bytes(bytes))),
            Marker::I64 => self.array().map(|bytes| self.integer(i64::from_be_bytes(bytes))),
            Marker::F32 => self.array().map(|bytes| PyFloat::new(py, f32::from_be_bytes(bytes).into()).into_any()),
            Marker::F64 => self.array().map(|bytes| PyFloat::new(py, f64::from_be_bytes(bytes)).into_any()),
            Marker::FixStr(length) => self.text(length.into()).map(Bound::into_any),
            Marker::Str8 => self.length8().and_then(|length| self.text(length)).map(Bound::into_any),
            Marker::Str16 => self.length16().and_then(|length| self.text(length)).map(Bound::into_any),
            Marker::Str32 => self.length32().and_then(|length| self.text(length)).map(Bound::into_any),
            Marker::Bin8 => self.length8().and_then(|length| self.binary(length)),
            Marker::Bin16 => self.length16().and_then(|length| self.binary(length)),
            Marker::Bin32 => self.length32().and_then(|length| self.binary(length)),
            Marker::FixArray(length) => self.list(length.into(), depth),
            Marker::Array16 => self.length16().and_then(|length| self.list(length, depth)),
            Marker::Array32 => self.length32().and_then(|length| self.list(length, depth)),
            Marker::FixMap(length) => self.dictionary(length.into(), depth),
            Marker::Map16 => self.length16().and_then(|length| self.dictionary(length, depth)),
            Marker::Map32 => self.length32().and_then(|length| self.dictionary(length, depth)),
            Marker::FixExt1 | Marker::FixExt2 | Marker::FixExt4 | Marker::FixExt8 | Marker::FixExt16 => {
                Err(self.error(EXTENSION))
            }
            Marker::Ext8 | Marker::Ext16 | Marker::Ext32 => Err(self.error(EXTENSION)),
            Marker::Reserved => Err(self.error("the reserved MessagePack marker")),
        }
    }

    fn integer<T>(&self, value: T) -> Bound<'py, PyAny>
    where
        T: IntoPyObject<
                'py,
                Target = pyo3::types::PyInt,
                Output = Bound<'py, pyo3::types::PyInt>,
                Error = std::convert::Infallible,
            >,
    {
        let Ok(integer) = value.into_pyobject(self.py);
        integer.into_any()
    }

    fn text(&mut self, length: usize) -> Result<Bound<'py, PyString>, DecodeError> {
        let bytes = self.take(length)?;
        match std::str::from_utf8(bytes) {
            Ok(text) => Ok(PyString::new(self.py, text)),
            Err(_) => Err(self.error("text that isn't UTF-8")),
        }
    }

    fn binary(&mut self, length: usize) -> Result<Bound<'py, PyAny>, DecodeError> {
        self.take(length).map(|bytes| PyBytes::new(self.py, bytes).into_any())
    }

    fn list(&mut self, length: usize, depth: usize) -> Result<Bound<'py, PyAny>, DecodeError> {
        self.promise(length, depth)?;
        let mut items = Vec::with_capacity(length);
        for _ in 0..length {
            self.owed -= 1;
            items.push(self.value(depth + 1)?);
        }
        PyList::new(self.py, items).map(Bound::into_any).map_err(|_| self.error(OUT_OF_MEMORY))
    }

    fn dictionary(&mut self, length: usize, depth: usize) -> Result<Bound<'py, PyAny>, DecodeError> {
        // A length that overflows was no possible one either way.
        self.promise(length.saturating_mul(2), depth)?;
        let dictionary = PyDict::new(self.py);
        for _ in 0..length {
            self.owed -= 2;
            let key = self.key()?;
            let value = self.value(depth + 1)?;
            dictionary.set_item(key, value).map_err(|_| self.error(OUT_OF_MEMORY))?;
        }
        Ok(dictionary.into_any())
    }

    fn key(&mut self) -> Result<Bound<'py, PyString>, DecodeError> {
        let [marker] = self.array()?;
        match Marker::from_u8(marker) {
            Marker::FixStr(length) => self.text(length.into()),
            Marker::Str8 => self.length8().and_then(|length| self.text(length)),
            Marker::Str16 => self.length16().and_then(|length| self.text(length)),
            Marker::Str32 => self.length32().and_then(|length| self.text(length)),
            _ => Err(self.error("a dictionary with a key that isn't text")),
        }
    }

    fn promise(&mut self, elements: usize, depth: usize) -> Result<(), DecodeError> {
        if depth >= DEPTH_LIMIT {
            return Err(self.error("a value nested too deep"));
        }
        // At a length that doesn't fit, the value is cut short: each element takes at least one byte.
        if elements > (self.data.len() - self.position).saturating_sub(self.owed) {
            return Err(self.error(CUT_SHORT));
        }
        self.owed += elements;
        Ok(())
    }

    fn length8(&mut self) -> Result<usize, DecodeError> {
        self.array().map(|bytes| u8::from_be_bytes(bytes).into())
    }

    fn length16(&mut self) -> Result<usize, DecodeError> {
        self.array().map(|bytes| u16::from_be_bytes(bytes).into())
    }

    fn length32(&mut self) -> Result<usize, DecodeError> {
        self.array().map(|bytes| u32::from_be_bytes(bytes) as usize)
    }

    fn array<const N: usize>(&mut self) -> Result<[u8; N], DecodeError> {
        match self.data[self.position..].first_chunk() {
            Some(bytes) => {
                self.position += N;
                Ok(*bytes)
            }
            None => Err(self.error(CUT_SHORT)),
        }
    }

    fn take(&mut self, length: usize) -> Result<&'a [u8], DecodeError> {
        match self.data[self.position..].get(..length) {
            Some(bytes) => {
                self.position += length;
                Ok(bytes)
            }
            None => Err(self.error(CUT_SHORT)),
        }
    }

    #[cold]
    fn error(&self, what: &'static str) -> DecodeError {
        DecodeError { what, offset: self.position }
    }
}

const CUT_SHORT: &str = "a value that is cut short";
const EXTENSION: &str = "a MessagePack extension type, which bodies don't have";
const OUT_OF_MEMORY: &str = "a value that doesn't fit into memory";
