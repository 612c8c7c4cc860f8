"""The notebook of a handoff, run as it stands."""

import pytest

from frameworks.kernels import run_notebook


@pytest.mark.timeout(300)
def test_the_notebook_of_a_handoff_runs_to_its_end() -> None:
    given = run_notebook("swarm_handoff")

    assert "remote" in given["remote"].shown[-1]["text/html"]
    assert "[a2alinker: this answer is from remote, agent " in given["run"].text
    assert "needs a docstring (process " in given["run"].text
    assert "'project': 'relay'" in given["context"].shown[-1]["text/plain"]
