//! The one tokio runtime of the process, and what becomes of it when the process forks.
//!
//! It starts with the first agent or switchboard and lives as long as the process: a static is never dropped, so neither the
//! interpreter's exit nor a forked child ever waits for its threads. A child inherits the memory of the runtime but none of its
//! threads; whatever it did with them would hang, so every entry point asks [`check`] first and refuses.

use std::sync::OnceLock;
use std::sync::atomic::{AtomicBool, Ordering};

use pyo3::prelude::*;
use tokio::runtime::{Builder, Handle, Runtime};

use super::errors::Error;

/// Threads of the runtime. Measured: two are no faster beyond the noise, for latency and throughput alike, and with one the frames of an
/// agent stay on one core.
const WORKERS: usize = 1;

static RUNTIME: OnceLock<Runtime> = OnceLock::new();
static IN_FORKED_CHILD: AtomicBool = AtomicBool::new(false);

/// Returns the runtime, starting it if this is its first use.
///
/// # Errors
///
/// In a forked child, and when the system grants no threads.
pub(super) fn handle() -> PyResult<&'static Handle> {
    check()?;
    if let Some(runtime) = RUNTIME.get() {
        return Ok(runtime.handle());
    }
    let runtime = Builder::new_multi_thread().worker_threads(WORKERS).thread_name("a2alinker").enable_all().build();
    let runtime = runtime.map_err(Error::System)?;
    Ok(RUNTIME.get_or_init(|| runtime).handle())
}

/// Refuses in a forked child.
///
/// # Errors
///
/// [`Error::Forked`].
pub(super) fn check() -> PyResult<()> {
    if is_alive() { Ok(()) } else { Err(Error::Forked.into()) }
}

/// Tells whether this is the process that the runtime belongs to, or will: before the runtime starts, a fork does no harm.
pub(super) fn is_alive() -> bool {
    !IN_FORKED_CHILD.load(Ordering::Relaxed)
}

/// Has the interpreter tell this module about each fork.
pub(super) fn watch_forks(module: &Bound<'_, PyModule>) -> PyResult<()> {
    let os = module.py().import("os")?;
    let Some(register) = os.getattr_opt("register_at_fork")? else {
        return Ok(());
    };
    let options = pyo3::types::PyDict::new(module.py());
    options.set_item("after_in_child", wrap_pyfunction!(runtime_ends_here, module)?)?;
    register.call((), Some(&options))?;
    Ok(())
}

#[pyfunction]
fn runtime_ends_here() {
    if RUNTIME.get().is_some() {
        IN_FORKED_CHILD.store(true, Ordering::Relaxed);
    }
}
