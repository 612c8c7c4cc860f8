//! The class `Switchboard`: a relay on this process's runtime.

#![allow(clippy::too_many_arguments, reason = "the signatures are those of Python, where arguments have names")]

use std::mem;
use std::path::PathBuf;
use std::sync::{Arc, OnceLock};

use pyo3::prelude::*;
use pyo3::types::PyDict;
use tokio::task::JoinHandle;

use super::errors::Error;
use super::runtime;
use crate::net::server::{Security, Server, ServerConfig};
use crate::net::tls::KeySource;
use crate::switchboard::Config;

/// A switchboard on this process's runtime.
#[pyclass(frozen, module = "a2alinker._core")]
pub(super) struct Switchboard {
    server: Arc<Server>,
    closing: OnceLock<JoinHandle<()>>,
}

#[pymethods]
impl Switchboard {
    #[new]
    #[pyo3(signature = (
        *, listen, advertise = None, key_file = None, certificate_file = None, private_key_file = None, plain = false, behind_proxy = false
    ))]
    fn new(
        py: Python<'_>,
        listen: &str,
        advertise: Option<&str>,
        key_file: Option<PathBuf>,
        certificate_file: Option<PathBuf>,
        private_key_file: Option<PathBuf>,
        plain: bool,
        behind_proxy: bool,
    ) -> PyResult<Self> {
        let runtime = runtime::handle()?;
        let source = match (key_file, certificate_file, private_key_file) {
            (None, None, None) => KeySource::Fresh,
            (Some(path), None, None) => KeySource::File(path),
            (None, Some(chain), Some(key)) => KeySource::Certificate { chain, key },
            _ => return Err(argument("give key_file, or certificate_file and private_key_file, or none of them")),
        };
        let security = match (plain, behind_proxy) {
            (false, false) => Security::Tls(source),
            (true, false) => Security::Plain,
            (false, true) => Security::BehindProxy,
            (true, true) => return Err(argument("give plain or behind_proxy, not both")),
        };
        let listen = listen.parse().map_err(Error::Net)?;
        let advertise = advertise.map(str::parse).transpose().map_err(Error::Net)?;
        let config = ServerConfig { listen, advertise, security, limits: Config::default() };
        let server = py.detach(|| Server::start(config, runtime)).map_err(Error::Net)?;
        Ok(Self { server: Arc::new(server), closing: OnceLock::new() })
    }

    #[getter]
    fn url(&self) -> String {
        self.server.url().to_string()
    }

    #[getter]
    fn pin(&self) -> String {
        self.server.pin().map(|pin| pin.to_string()).unwrap_or_default()
    }

    #[getter]
    fn port(&self) -> u16 {
        self.server.port()
    }

    /// Whether it was closed, and neither listens nor serves a link any more.
    #[getter]
    fn is_over(&self) -> bool {
        self.closing.get().is_some_and(JoinHandle::is_finished)
    }

    fn stats<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyDict>> {
        runtime::check()?;
        let dictionary = PyDict::new(py);
        let stats = self.server.stats();
        dictionary.set_item("links", stats.links)?;
        dictionary.set_item("swarms", stats.swarms)?;
        dictionary.set_item("mailboxes", stats.mailboxes)?;
        dictionary.set_item("dormant", stats.dormant)?;
        dictionary.set_item("resumed", stats.resumed)?;
        dictionary.set_item("slots", stats.slots)?;
        dictionary.set_item("guests", stats.guests)?;
        dictionary.set_item("queued_bytes", stats.queued_bytes)?;
        dictionary.set_item("retained_bytes", stats.retained_bytes)?;
        dictionary.set_item("parked", stats.parked)?;
        dictionary.set_item("parked_bytes", stats.parked_bytes)?;
        dictionary.set_item("known", stats.known)?;
        dictionary.set_item("memory_bytes", stats.memory_bytes)?;
        dictionary.set_item("accepted", stats.accepted)?;
        dictionary.set_item("expired", stats.expired)?;
        dictionary.set_item("forwarded_frames", stats.forwarded_frames)?;
        dictionary.set_item("forwarded_bytes", stats.forwarded_bytes)?;
        dictionary.set_item("bounced", stats.bounced)?;
        dictionary.set_item("rejected", stats.rejected)?;
        dictionary.set_item("replaced", stats.replaced)?;
        dictionary.set_item("stalled", stats.stalled)?;
        dictionary.set_item("unknown_kinds", stats.unknown_kinds)?;
        Ok(dictionary)
    }

    /// Tells the links and ends, within a few seconds. Idempotent.
    fn close(&self) -> PyResult<()> {
        let runtime = runtime::handle()?;
        let server = Arc::clone(&self.server);
        self.closing.get_or_init(|| runtime.spawn(async move { server.shutdown().await }));
        Ok(())
    }
}

impl Drop for Switchboard {
    fn drop(&mut self) {
        if !runtime::is_alive() {
            // Locks that a thread of the parent held stay locked in its child for ever.
            mem::forget(Arc::clone(&self.server));
        }
    }
}

fn argument(text: &str) -> PyErr {
    Error::Argument(text.to_owned()).into()
}
