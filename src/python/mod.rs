//! The native module `a2alinker._core`: converts, detaches from the interpreter and hands over.
//!
//! What it offers is written down in `python/a2alinker/_core.pyi`; the Python modules beside that file make the public API of it. Nothing
//! here decides about the protocol, and nothing waits: what takes time answers later with an event (`events`).

mod agent;
mod arguments;
mod bodies;
mod body;
mod errors;
mod events;
mod identity;
mod peer;
mod probe;
mod receipt;
mod runtime;
mod switchboard;
mod tuples;
mod unpack;

use std::path::PathBuf;

use pyo3::prelude::*;
use pyo3::types::{PyBytes, PyDict};

use crate::agent::ContentType;
use crate::crypto::Invited;
use crate::net::tls::{KeySource, ServerTls};
use errors::Error;

#[pymodule]
mod _core {
    use pyo3::prelude::*;

    #[pymodule_export]
    use super::{
        agent::Agent, bodies::Bodies, decode_body, encode_body, errors::_error_samples, identity::IdentityFile,
        identity::identity_info, invite_info, new_key, peer::PeerInfo, probe::probe, receipt::Receipt, runtime_alive,
        switchboard::Switchboard,
    };

    #[pymodule_init]
    fn init(module: &Bound<'_, PyModule>) -> PyResult<()> {
        module.add("__version__", env!("CARGO_PKG_VERSION"))?;
        super::tuples::add_constants(module)?;
        super::receipt::add_constants(module)?;
        super::runtime::watch_forks(module)
    }
}

/// Returns content type and bytes of a body.
#[pyfunction]
fn encode_body<'py>(body: &Bound<'py, PyAny>) -> PyResult<(u8, Bound<'py, PyBytes>)> {
    let (content_type, bytes) = body::encode(body).map_err(Error::from)?;
    Ok((content_type.into(), PyBytes::new(body.py(), &bytes)))
}

/// Builds the body that [`encode_body`] took apart.
#[pyfunction]
fn decode_body<'py>(content_type: u8, data: &Bound<'py, PyBytes>) -> PyResult<Bound<'py, PyAny>> {
    Ok(body::decode(data.py(), ContentType::from(content_type), data.as_bytes()).map_err(Error::from)?)
}

/// Writes a fresh private key that only its owner may read, and returns its pin. Never overwrites.
#[pyfunction]
fn new_key(path: PathBuf) -> PyResult<String> {
    let tls = ServerTls::new(&KeySource::NewFile(path), &[]).map_err(Error::from)?;
    Ok(tls.pin().to_string())
}

/// Returns what an invite says without being used: of a code, nothing but that it is one.
#[pyfunction]
fn invite_info<'py>(py: Python<'py>, text: &str) -> PyResult<Bound<'py, PyDict>> {
    let info = PyDict::new(py);
    match text.parse().map_err(Error::Invited)? {
        Invited::ByCode(_) => info.set_item("kind", "code")?,
        Invited::ByTicket(ticket) => {
            info.set_item("kind", "ticket")?;
            info.set_item("addresses", ticket.addresses)?;
            info.set_item("expiry_ms", ticket.expiry)?;
            info.set_item("counted", ticket.counted)?;
            info.set_item("swarm", ticket.founder.to_string())?;
        }
    }
    Ok(info)
}

/// Tells whether the runtime's threads are in this process: not in a child after `fork()`.
#[pyfunction]
fn runtime_alive() -> bool {
    runtime::is_alive()
}
