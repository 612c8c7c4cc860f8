//! The native module `a2alinker._core`: converts, detaches from the interpreter and hands over.
//!
//! What it offers is written down in `python/a2alinker/_core.pyi`; the Python modules beside that file make the public API of it. Nothing
//! here decides about the protocol, and nothing waits: what takes time answers later with an event (`events`).

mod body;
mod errors;
mod runtime;
mod unpack;

use pyo3::prelude::*;
use pyo3::types::PyBytes;

use body::ContentType;
use errors::Error;

#[pymodule]
mod _core {
    use pyo3::prelude::*;

    #[pymodule_export]
    use super::{decode_body, encode_body, runtime_alive};

    #[pymodule_init]
    fn init(module: &Bound<'_, PyModule>) -> PyResult<()> {
        module.add("__version__", env!("CARGO_PKG_VERSION"))?;
        super::runtime::watch_forks(module)
    }
}

/// Returns content type and bytes of a body.
#[pyfunction]
fn encode_body<'py>(body: &Bound<'py, PyAny>) -> PyResult<(u8, Bound<'py, PyBytes>)> {
    let (content_type, bytes) = body::encode(body).map_err(Error::from)?;
    Ok((content_type as u8, PyBytes::new(body.py(), &bytes)))
}

/// Builds the body that [`encode_body`] took apart.
#[pyfunction]
fn decode_body<'py>(content_type: u8, data: &Bound<'py, PyBytes>) -> PyResult<Bound<'py, PyAny>> {
    let decoded =
        ContentType::try_from(content_type).and_then(|content_type| body::decode(data.py(), content_type, data.as_bytes()));
    Ok(decoded.map_err(Error::from)?)
}

/// Tells whether the runtime's threads are in this process: not in a child after `fork()`.
#[pyfunction]
fn runtime_alive() -> bool {
    runtime::is_alive()
}
