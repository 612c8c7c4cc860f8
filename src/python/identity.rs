//! The class `IdentityFile`: an agent file that can be read and written, before an agent is made of it.

use std::path::{self, PathBuf};
use std::time::Duration;

use pyo3::prelude::*;
use pyo3::types::PyDict;

use super::arguments::seed;
use super::errors::Error;
use super::peer::rights_of;
use super::runtime;
use crate::agent::{AgentFile, ResumeError};
use crate::crypto::Random;
use crate::net::agent_file;
use crate::net::client::Clock;

/// An agent file. It shows nothing that is secret.
#[pyclass(frozen, module = "a2alinker._core")]
pub(super) struct IdentityFile {
    pub(super) path: PathBuf,
    pub(super) file: AgentFile,
}

#[pymethods]
impl IdentityFile {
    /// Reads an agent file and checks that it can be written, or makes one: no invite is used up by an agent that can't be kept.
    #[staticmethod]
    #[pyo3(signature = (path, name, *, founds))]
    fn open(py: Python<'_>, path: PathBuf, name: &str, founds: bool) -> PyResult<Self> {
        runtime::check()?;
        py.detach(|| Self::open_checked(path, name, founds)).map_err(PyErr::from)
    }

    #[getter]
    fn path(&self) -> &path::Path {
        &self.path
    }

    /// The agent founded its swarm, or is going to.
    #[getter]
    fn is_founder(&self) -> bool {
        self.file.is_founder()
    }

    /// The agent has to be invited: it never was, or its membership has expired.
    #[getter]
    fn needs_invite(&self) -> bool {
        self.file.needs_invite(Clock::start().now())
    }

    #[getter]
    fn switchboards(&self) -> Vec<String> {
        self.file.switchboards().to_vec()
    }
}

impl IdentityFile {
    fn open_checked(path: PathBuf, name: &str, founds: bool) -> Result<Self, Error> {
        if path.as_os_str().is_empty() {
            return Err(Error::Argument("identity is the path of an agent file, and not empty".to_owned()));
        }
        // The process may go to another folder while the agent runs.
        let path = path::absolute(&path).map_err(|error| Error::Argument(format!("{}: {error}", path.display())))?;
        let file = match agent_file::read(&path)? {
            Some(file) if file.name() == name => {
                agent_file::check(&path, &file)?;
                file
            }
            Some(file) => {
                let error = ResumeError::Name { file: file.name().to_owned(), given: name.to_owned() };
                return Err(Error::Resume { path, error });
            }
            None => {
                let (mut random, now) = (Random::from_seed(seed()?), Clock::start().now());
                let made = if founds { AgentFile::founding } else { AgentFile::new };
                let file = made(name, &mut random, now).map_err(|error| Error::Argument(error.to_string()))?;
                agent_file::write(&path, &file)?;
                file
            }
        };
        Ok(Self { path, file })
    }
}

/// Returns what an agent file says without being used, or nothing if there is none.
#[pyfunction]
pub(super) fn identity_info(py: Python<'_>, path: PathBuf) -> PyResult<Option<Bound<'_, PyDict>>> {
    let Some(file) = py.detach(|| agent_file::read(&path)).map_err(Error::from)? else { return Ok(None) };
    let info = PyDict::new(py);
    info.set_item("name", file.name())?;
    info.set_item("founder", file.is_founder())?;
    info.set_item("needs_invite", file.needs_invite(Clock::start().now()))?;
    info.set_item("switchboards", file.switchboards())?;
    let certificate = file.certificate();
    info.set_item("expires", certificate.map(|certificate| Duration::from_millis(certificate.expiry).as_secs_f64()))?;
    info.set_item("rights", certificate.map(|certificate| rights_of(py, &certificate.rights)).transpose()?)?;
    Ok(Some(info))
}
