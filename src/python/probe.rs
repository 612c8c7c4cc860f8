//! `probe`: what can be seen on the way to a switchboard, as a dict.

use std::net::IpAddr;
use std::path::PathBuf;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use pyo3::prelude::*;
use pyo3::types::PyDict;

use super::errors::Error;
use super::runtime;
use crate::net::address::Address;
use crate::net::dial::Outbound;
use crate::net::probe::{Failure, Probe, Stage, probe as go};
use crate::net::proxy::Proxies;
use crate::net::tls::Trust;

/// Goes the way to a switchboard as an agent would, and returns what it saw. Blocks, for at most `timeout` seconds at each step.
#[pyfunction]
#[pyo3(signature = (address, *, ca_file = None, timeout = 10.0))]
pub(super) fn probe<'py>(py: Python<'py>, address: &str, ca_file: Option<PathBuf>, timeout: f64) -> PyResult<Bound<'py, PyDict>> {
    let runtime = runtime::handle()?;
    let address: Address = address.parse().map_err(Error::Net)?;
    let limit = Duration::try_from_secs_f64(timeout).map_err(|error| Error::Argument(error.to_string()))?;
    let trust = ca_file.map_or_else(|| Ok(Trust::system()), |path| Trust::from_pem_file(&path)).map_err(Error::Net)?;
    let outbound = Outbound { trust, proxies: Proxies::from_variables(|name| std::env::var(name).ok()) };
    let seen = py.detach(|| runtime.block_on(go(&address, &outbound, limit)));
    facts(py, &address, seen)
}

fn facts<'py>(py: Python<'py>, address: &Address, seen: Probe) -> PyResult<Bound<'py, PyDict>> {
    let facts = PyDict::new(py);
    facts.set_item("address", address.without_pin())?;
    facts.set_item("host", &address.host)?;
    facts.set_item("port", address.port)?;
    facts.set_item("secure", address.secure)?;
    facts.set_item("loopback", address.is_loopback())?;
    facts.set_item("pin", address.pin.map(|pin| pin.to_string()).unwrap_or_default())?;
    facts.set_item("proxy", seen.proxy.unwrap_or_default())?;
    if let Some((addresses, took)) = seen.resolved {
        facts.set_item("resolved", addresses.iter().map(IpAddr::to_string).collect::<Vec<_>>())?;
        facts.set_item("resolve_seconds", took.as_secs_f64())?;
    }
    if let Some((peer, took)) = seen.connected {
        facts.set_item("connected", peer.to_string())?;
        facts.set_item("connect_seconds", took.as_secs_f64())?;
    }
    if let Some(seen) = seen.tls {
        let tls = PyDict::new(py);
        tls.set_item("version", seen.version)?;
        tls.set_item("group", seen.group)?;
        tls.set_item("pin", seen.pin.to_string())?;
        tls.set_item("vouched", seen.refusal.is_none())?;
        tls.set_item("reason", seen.refusal.unwrap_or_default())?;
        tls.set_item("expires", seen.expiry)?;
        tls.set_item("seconds", seen.took.as_secs_f64())?;
        facts.set_item("tls", tls)?;
    }
    if let Some((seen, clock)) = seen.challenge {
        let challenge = PyDict::new(py);
        challenge.set_item("version_min", seen.version_min)?;
        challenge.set_item("version_max", seen.version_max)?;
        challenge.set_item("wall", Duration::from_millis(seen.wall).as_secs_f64())?;
        facts.set_item("challenge", challenge)?;
        facts.set_item("clock", unix_seconds(clock))?;
    }
    facts.set_item("round_trips", seen.round_trips.iter().map(Duration::as_secs_f64).collect::<Vec<_>>())?;
    if let Some((stage, failure)) = seen.failure {
        let error = PyDict::new(py);
        error.set_item("stage", word(stage))?;
        let (kind, text) = match failure {
            Failure::TimedOut(limit) => ("timed_out", format!("no answer within {limit:?}")),
            Failure::Refused => ("refused", "the connection was refused".to_owned()),
            Failure::Other(text) => ("other", text),
        };
        error.set_item("kind", kind)?;
        error.set_item("text", text)?;
        facts.set_item("error", error)?;
    }
    Ok(facts)
}

fn word(stage: Stage) -> &'static str {
    match stage {
        Stage::Proxy => "proxy",
        Stage::Name => "name",
        Stage::Connection => "connection",
        Stage::Tls => "tls",
        Stage::Switchboard => "switchboard",
        Stage::RoundTrip => "round trip",
    }
}

fn unix_seconds(time: SystemTime) -> f64 {
    time.duration_since(UNIX_EPOCH).unwrap_or_default().as_secs_f64()
}
