"""The notebook with a crew, run as it stands."""

import pytest

from frameworks.kernels import run_notebook


@pytest.mark.timeout(300)
def test_the_notebook_with_a_remote_reviewer_runs_to_its_end() -> None:
    given = run_notebook("crewai_remote_reviewer")

    assert "reviewer" in given["reviewer"].shown[-1]["text/html"]
    assert "[a2alinker: this answer is from reviewer, agent " in given["crew"].text
    assert "without a docstring: f (read by process " in given["crew"].text
