"""A swarm with its switchboard in the test's process, and a kernel. Nothing of Jupyter's is read from or written to the home folder."""

import os
import socket
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from a2alinker import sync
from frameworks.kernels import Kernel


@pytest.fixture(scope="session", autouse=True)
def _own_folders(tmp_path_factory: pytest.TempPathFactory) -> None:
    folder: Path = tmp_path_factory.mktemp("jupyter")
    os.environ["JUPYTER_PREFER_ENV_PATH"] = "1"
    for variable in ("JUPYTER_CONFIG_DIR", "JUPYTER_DATA_DIR", "JUPYTER_RUNTIME_DIR", "IPYTHONDIR", "MPLCONFIGDIR"):
        os.environ[variable] = str(folder / variable.lower())


@pytest.fixture
def switchboard() -> Iterator[sync.Switchboard]:
    with sync.Switchboard() as switchboard:
        yield switchboard


@pytest.fixture
def gone_after() -> float:
    """Seconds without a link after which the kernel's agents count as gone, unless they have said goodbye."""
    return 2.0


@pytest.fixture
def desk(switchboard: sync.Switchboard, gone_after: float) -> Iterator[sync.Agent]:
    """The test's own agent, which sees who comes and goes."""
    with sync.host("desk", switchboard=switchboard, peer_gone_after=gone_after) as desk:
        yield desk


@pytest.fixture
def kernel(desk: sync.Agent) -> Iterator[Kernel]:
    """A kernel, whose agents join the swarm of `desk` by `join("name")`."""
    ticket = str(desk.invite(kind="ticket", uses=None, local=True))
    with Kernel(A2ALINKER_TICKET=ticket) as kernel:
        kernel.run(
            "import asyncio, time\nimport a2alinker\nfrom a2alinker import sync\nfrom a2alinker.adapters.jupyter import live, progress\nkept = []"
        )
        yield kernel


@pytest.fixture
def links(switchboard: sync.Switchboard, desk: sync.Agent) -> Callable[[int], int]:
    """Counts the links of the kernel's agents, once there are as many as expected or a moment has gone by."""

    def count(expected: int) -> int:
        deadline = time.monotonic() + 5.0
        while (there := switchboard.stats()["links"] - 1) != expected and time.monotonic() < deadline:
            time.sleep(0.01)
        return there

    return count


@pytest.fixture
def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])
