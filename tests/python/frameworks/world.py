"""A swarm in processes for tests of adapters: a real switchboard with TLS, workers that can be killed, and an agent in the test's own process."""

from __future__ import annotations

import contextlib
import re
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from a2alinker import Undelivered, sync
from chaos.world import Process, Relay

HERE = Path(__file__).resolve().parent
WORKER = HERE / "worker.py"
READY = "ready"
PATIENCE = 60.0  # seconds until a process is ready; importing CrewAI takes some


class World:
    """A switchboard, and what has joined it. Leaving it ends all of them."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._stack = contextlib.ExitStack()
        self.relay = Relay(folder)
        self._stack.callback(self._end_relay)
        self._host: sync.Agent | None = None
        self._ticket = ""

    @property
    def address(self) -> str:
        """The switchboard's address with its pin."""
        return f"wss://127.0.0.1:{self.relay.port}#{self.relay.pin}"

    @property
    def agent(self) -> sync.Agent:
        """The test's own agent, which hosts the swarm; opened with its first use."""
        if self._host is None:
            self._host = sync.host("desk", switchboard=self.address, peer_gone_after=2.0)
            self._stack.callback(self._close, self._host)
        return self._host

    def use_ticket(self, ticket: object) -> None:
        """Lets workers join another swarm than that of `agent`."""
        self._ticket = str(ticket)

    def worker(
        self, name: str = "worker", *, program: Path = WORKER, python: str | None = None, arguments: tuple[str, ...] = ()
    ) -> Process:
        """Starts a worker in a process of its own, and returns when it is linked."""
        ticket = self._ticket or str(self.agent.invite(kind="ticket", uses=None, local=True))
        process = Process(self._folder / f"{name}.stderr", str(program), name, *arguments, python=python)
        self._stack.callback(process.kill)
        process.say(ticket)
        assert process.hear(PATIENCE) == READY
        return process

    def _close(self, host: sync.Agent) -> None:
        with contextlib.suppress(Undelivered):  # tests kill whom it sent something
            host.close(timeout=2.0)

    def _end_relay(self) -> None:
        self.relay.process.kill()  # the one that runs by then

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None) -> None:
        self._stack.close()


def python_of(framework: str) -> str:
    """Returns the interpreter of another framework's environment."""
    python = HERE.parents[2] / "target/environments" / framework / "bin/python"
    assert python.exists(), f"there is no environment of {framework}: make environments"
    return str(python)


def pid_in(answer: Any) -> int:
    """Returns the process id that a worker's skill puts into its answer."""
    found = re.search(r"\(pid (\d+)\)", str(answer))
    assert found, answer
    return int(found[1])
