"""The notebook of a handoff, run as it stands."""

import json

import pytest

from frameworks.kernels import NOTEBOOKS, Kernel


@pytest.mark.timeout(300)
def test_the_notebook_of_a_handoff_runs_to_its_end() -> None:
    notebook = json.loads((NOTEBOOKS / "swarm_handoff.ipynb").read_text(encoding="utf-8"))
    with Kernel(OPENAI_API_KEY="none") as kernel:
        given = {
            cell["id"]: kernel.run("".join(cell["source"]), cell=cell["id"], limit=120)
            for cell in notebook["cells"]
            if cell["cell_type"] == "code"
        }
    assert "remote" in given["remote"].shown[-1]["text/html"]
    assert "[a2alinker: this answer is from remote, agent " in given["run"].text
    assert "needs a docstring (process " in given["run"].text
    assert "'project': 'relay'" in given["context"].shown[-1]["text/plain"]
