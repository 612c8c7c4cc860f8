"""The notebooks of the examples, and the cells of docs/jupyter.md, run as they stand."""

import re
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

import nbformat
import pytest
from nbclient import NotebookClient

from frameworks.kernels import Kernel

REPOSITORY = Path(__file__).parents[3]
NOTEBOOKS = sorted((REPOSITORY / "examples" / "notebooks").glob("*.ipynb"))
PATIENCE = 60  # seconds for one cell


class Notebook:
    """A notebook that is run by nbclient, cell by cell, in a kernel of its own."""

    def __init__(self, path: Path, kernel: Kernel) -> None:
        self.nb = nbformat.read(path, as_version=4)
        self.kernel = kernel
        self._client = NotebookClient(self.nb, km=kernel.manager, timeout=PATIENCE)
        self._client.reset_execution_trackers()

    def run(self, *names: str) -> str:
        """Runs the cells with these ids, and returns what the last one printed or gave, as text."""
        self._client.kc = self.kernel.client
        by_id = {cell["id"]: (index, cell) for index, cell in enumerate(self.nb.cells) if cell["cell_type"] == "code"}
        shown = ""
        for name in names:
            index, cell = by_id[name]
            self._client.execute_cell(cell, index)
            shown = "".join(text_of(output) for output in cell["outputs"])
        return shown

    def outputs(self, name: str) -> list[nbformat.NotebookNode]:
        return [output for cell in self.nb.cells if cell["id"] == name for output in cell["outputs"]]

    def all_ids(self) -> list[str]:
        return [cell["id"] for cell in self.nb.cells if cell["cell_type"] == "code"]


@contextmanager
def notebook(name: str, **environment: str) -> Iterator[Notebook]:
    with Kernel(**environment) as kernel:
        yield Notebook(REPOSITORY / "examples" / "notebooks" / f"{name}.ipynb", kernel)


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_a_notebook_is_stored_valid_and_without_outputs(path: Path) -> None:
    read = nbformat.read(path, as_version=nbformat.NO_CONVERT)

    nbformat.validate(read)
    assert (read.nbformat, read.nbformat_minor) >= (4, 5)
    code = [cell for cell in read.cells if cell.cell_type == "code"]
    assert code
    assert [cell.id for cell in code if cell.outputs or cell.execution_count is not None] == []
    assert read.cells[0].cell_type == "markdown", "it begins by saying what it shows"


def test_monitoring_runs_from_top_to_bottom() -> None:
    with notebook("monitoring") as monitoring:
        cells = monitoring.all_ids()
        monitoring.run(*cells[: cells.index("leave") + 1])
        # nbclient takes no updates of a display between cells; what the view shows by then is its own.
        assert monitoring.kernel.value("[name in view._html for name in ('worker-0', 'worker-1', 'worker-2')]") == [True, True, False]
        assert "median" in monitoring.run("measure")
        for cell in ("plot", "switchboard-latency"):
            monitoring.run(cell)
            assert "<polyline" in monitoring.outputs(cell)[0]["data"]["image/svg+xml"]
        monitoring.run("close")
        assert monitoring.kernel.value("[view.running, host.health()['open']]") == [False, False]


def test_the_two_quickstart_notebooks_talk_and_survive_a_restart() -> None:
    with ExitStack() as stack:
        host = stack.enter_context(notebook("quickstart_host"))
        host.run("open")
        ticket = host.run("ticket").strip()
        worker = stack.enter_context(notebook("quickstart_worker", A2ALINKER_TICKET=ticket))

        # As the text says: the host, the worker, and back.
        worker.run("ticket", "skills", "join")
        assert "worker" in host.run("wait")
        assert host.run("call") == "'needs a docstring'"
        assert host.run("stream").splitlines()[:3] == ["one", "two", "three"]
        assert host.run("sync") == "'fine'"
        assert host.run("many") == "20"
        assert "delivered" in worker.run("message")
        assert host.run("messages").strip() == "worker says hello from the other notebook"
        assert worker.run("answer").strip() == "planner says thanks"

        # Cells run again: nobody is there twice.
        worker.run("join")
        host.run("sync")
        assert host.run("call") == "'needs a docstring'"
        assert links_at(host) == 3, "planner, critic and worker"

        # The worker's kernel restarts: it has said goodbye, and its notebook runs again from the top.
        worker.kernel.restart()
        assert links_at(host) == 2
        assert host.kernel.value("[peer.name for peer in planner.discover()]") == ["critic"]
        worker.run("ticket", "skills", "join")
        assert host.run("wait", "call") == "'needs a docstring'"
        assert links_at(host) == 3

        worker.run("close")
        host.run("close")
        assert host.kernel.value("planner.health()['open']") is False


def test_the_cells_of_the_page_run_in_two_kernels() -> None:
    page = (REPOSITORY / "docs" / "jupyter.md").read_text(encoding="utf-8")
    cells = re.findall(r"^```python\n# (\w+)\.ipynb\n(.*?)^```", page, re.MULTILINE | re.DOTALL)
    assert len(cells) == page.count("```python")

    with Kernel() as planner, Kernel() as worker:
        kernels = {"planner": planner, "worker": worker}
        ticket = ""
        for name, source in cells:
            outcome = kernels[name].run(source.replace('"a2alt_..."', f'"{ticket}"'))
            ticket = ticket or outcome.text.strip()
        assert ticket.startswith("a2alt_")
        assert planner.value("view.running") is True


def text_of(output: nbformat.NotebookNode) -> str:
    match output["output_type"]:
        case "stream" if output["name"] == "stdout":
            return str(output["text"])
        case "execute_result":
            return str(output["data"]["text/plain"])
    return ""


def links_at(host: Notebook) -> int:
    """Returns how many links the host's switchboard has once those of ended kernels are gone."""
    host.kernel.run("import asyncio\nawait asyncio.sleep(0.5)")
    return int(host.kernel.value("planner._switchboard.stats()['links']"))
