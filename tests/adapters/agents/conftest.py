"""A swarm that the tests of this folder share, as a process with the SDK takes seconds to start: for tests that kill nobody in it."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from chaos.world import Process
from frameworks.world import World

PROGRAM = Path(__file__).parent / "remote_agent.py"


@pytest.fixture(scope="session")
def swarm(tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    """A swarm with a worker, and with the agents of remote_agent.py under the name coder."""
    with World(tmp_path_factory.mktemp("swarm")) as world:
        yield world


@pytest.fixture(scope="session")
def worker(swarm: World) -> Process:
    return swarm.worker("worker")


@pytest.fixture(scope="session")
def coder(swarm: World, worker: Process) -> Process:
    return swarm.worker("coder", program=PROGRAM, arguments=("delegating",))
