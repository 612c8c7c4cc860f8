"""The notebook with a crew, run as it stands."""

import json

import pytest

from frameworks.kernels import NOTEBOOKS, Kernel


@pytest.mark.timeout(300)
def test_the_notebook_with_a_remote_reviewer_runs_to_its_end() -> None:
    notebook = json.loads((NOTEBOOKS / "crewai_remote_reviewer.ipynb").read_text(encoding="utf-8"))
    with Kernel(OPENAI_API_KEY="none") as kernel:
        given = {
            cell["id"]: kernel.run("".join(cell["source"]), cell=cell["id"], limit=120)
            for cell in notebook["cells"]
            if cell["cell_type"] == "code"
        }
    assert "reviewer" in given["reviewer"].shown[-1]["text/html"]
    assert "[a2alinker: this answer is from reviewer, agent " in given["crew"].text
    assert "without a docstring: f (read by process " in given["crew"].text
