//! What an agent knows about another, as a snapshot.

use pyo3::prelude::*;
use pyo3::types::{PyBytes, PyFrozenSet, PyList, PyTuple};

use crate::agent::PeerView;
use crate::crypto::certificate::Rights;

/// What an agent knows about another: read-only, and not changed afterwards.
#[pyclass(frozen, module = "a2alinker._core")]
pub(super) struct PeerInfo(pub(super) PeerView);

#[pymethods]
impl PeerInfo {
    #[getter]
    fn id<'py>(&self, py: Python<'py>) -> Bound<'py, PyBytes> {
        PyBytes::new(py, self.0.card.identity.as_bytes())
    }

    #[getter]
    fn text_id(&self) -> String {
        self.0.card.identity.to_string()
    }

    #[getter]
    fn name(&self) -> &str {
        self.0.card.name()
    }

    #[getter]
    fn run<'py>(&self, py: Python<'py>) -> Bound<'py, PyBytes> {
        PyBytes::new(py, self.0.run.as_bytes())
    }

    #[getter]
    fn linked(&self) -> bool {
        self.0.linked
    }

    #[getter]
    fn gone(&self) -> bool {
        self.0.gone
    }

    /// Name, tags, concurrency and hash of the definition of each skill.
    #[getter]
    fn skills<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyList>> {
        let list = PyList::empty(py);
        for skill in &self.0.card.skills {
            let tags = PyTuple::new(py, skill.tags.iter().map(|tag| &**tag))?;
            list.append((&*skill.name, tags, skill.concurrency, PyBytes::new(py, &skill.definition_hash)))?;
        }
        Ok(list)
    }

    #[getter]
    fn rights<'py>(&self, py: Python<'py>) -> PyResult<RightsTuple<'py>> {
        rights_of(py, &self.0.card.member.rights)
    }

    #[getter]
    fn certificate_expiry_ms(&self) -> u64 {
        self.0.card.member.expiry
    }
}

/// Skills (None: any), admit, terminals, originate.
pub(super) type RightsTuple<'py> = (Option<Bound<'py, PyFrozenSet>>, bool, bool, bool);

pub(super) fn rights_of<'py>(py: Python<'py>, rights: &Rights) -> PyResult<RightsTuple<'py>> {
    let skills = rights.skills.as_ref().map(|skills| PyFrozenSet::new(py, skills)).transpose()?;
    Ok((skills, rights.admit, rights.terminals, rights.originate))
}
