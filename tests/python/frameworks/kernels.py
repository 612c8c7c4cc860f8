"""Kernels for tests: one process each, whose cells are run one at a time, as a frontend does it."""

from __future__ import annotations

import ast
import contextlib
import json
import os
import tempfile
import time
from dataclasses import dataclass, field
from pathlib import Path
from queue import Empty
from types import TracebackType
from typing import Any, Self

from jupyter_client.blocking.client import BlockingKernelClient
from jupyter_client.manager import KernelManager

GUARD = Path(__file__).with_name("guard.py")
LIMIT = 60.0  # seconds for one cell; far above what the slowest takes


@dataclass
class Outcome:
    """What a cell has given."""

    text: str = ""  # what it printed
    errors: str = ""  # what it wrote to stderr
    error: str | None = None  # the name of the exception that ended it
    traceback: str = ""
    shown: list[dict[str, Any]] = field(default_factory=list)  # by type, what it displayed or gave


class Kernel:
    """A kernel with the interpreter that runs the tests. It ends with the block."""

    def __init__(self, **environment: str) -> None:
        self._environment = environment
        self._stderr = tempfile.TemporaryFile()  # noqa: SIM115  closed with the kernel
        self.manager = KernelManager(kernel_name="python3", ip="127.0.0.1")
        self.client: BlockingKernelClient
        self._updates: list[dict[str, Any]] = []

    def __enter__(self) -> Self:
        self.manager.start_kernel(env={**os.environ, **self._environment}, stderr=self._stderr)
        self.client = self.manager.client()
        self._connect()
        return self

    def _connect(self) -> None:
        self.client.start_channels()
        self.client.wait_for_ready(timeout=LIMIT)
        self.client.execute(f"__import__('runpy').run_path({str(GUARD)!r})['install'](deadly=True)", silent=True)

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None) -> None:
        self.client.stop_channels()
        self.manager.shutdown_kernel()
        self.manager.cleanup_resources()
        self._stderr.close()

    def run(self, source: str, *, cell: str | None = None, fails: bool = False, limit: float = LIMIT) -> Outcome:
        """Runs a cell, with an id if the frontend is to send one, and returns what it gave. It may fail only if that is expected."""
        outcome = self.outcome(self.send(source, cell=cell), limit)
        assert fails or outcome.error is None, outcome.traceback
        return outcome

    def send(self, source: str, *, cell: str | None = None) -> str:
        """Begins to run a cell, and returns the id of the request."""
        content = {
            "code": source,
            "silent": False,
            "store_history": True,
            "user_expressions": {},
            "allow_stdin": False,
            "stop_on_error": False,  # or the kernel passes over what is sent soon after a cell that fails
        }
        message = self.client.session.msg("execute_request", content, metadata={"cellId": cell} if cell else {})
        self.client.shell_channel.send(message)
        return str(message["header"]["msg_id"])

    def outcome(self, request: str, limit: float = LIMIT) -> Outcome:
        """Waits until a cell has ended."""
        outcome = Outcome()
        deadline = time.monotonic() + limit
        while True:
            message = self._next(deadline)
            if message["parent_header"].get("msg_id") != request:
                continue
            content = message["content"]
            match message["msg_type"]:
                case "stream" if content["name"] == "stdout":
                    outcome.text += content["text"]
                case "stream":
                    outcome.errors += content["text"]
                case "error":
                    outcome.error = content["ename"]
                    outcome.traceback = "\n".join(content["traceback"])
                case "display_data" | "execute_result":
                    outcome.shown.append(content["data"])
                case "status" if content["execution_state"] == "idle":
                    return outcome

    def wait_for_text(self, request: str, text: str, limit: float = LIMIT) -> None:
        """Waits until a running cell has printed something."""
        deadline = time.monotonic() + limit
        printed = ""
        while text not in printed:
            message = self._next(deadline)
            if message["parent_header"].get("msg_id") == request and message["msg_type"] == "stream":
                printed += message["content"]["text"]

    def updates(self, seconds: float) -> list[dict[str, Any]]:
        """Returns what was displayed anew since this was asked last, and in this time, in which no cell runs."""
        deadline = time.monotonic() + seconds
        with contextlib.suppress(Empty):
            while time.monotonic() < deadline:
                self._next(deadline)
        updates, self._updates = self._updates, []
        return updates

    def update_with(self, words: str, limit: float = LIMIT) -> dict[str, Any]:
        """Waits until something is displayed anew that contains this."""
        deadline = time.monotonic() + limit
        while True:
            while self._updates:
                update = self._updates.pop(0)
                if words in update["text/html"]:
                    return update
            self._next(deadline)

    def _next(self, deadline: float) -> dict[str, Any]:
        message: dict[str, Any] = self.client.get_iopub_msg(timeout=max(0.0, deadline - time.monotonic()))
        if message["msg_type"] == "update_display_data":
            self._updates.append(message["content"]["data"])
        return message

    def value(self, expression: str) -> Any:
        """Returns the value of an expression that is a literal when printed."""
        return ast.literal_eval(self.run(f"print(repr({expression}))").text.strip())

    def interrupt(self) -> None:
        """Does what the stop button does."""
        self.manager.interrupt_kernel()

    def restart(self, *, kill: bool = False) -> None:
        """Does what the restart button does; or kills the process, as a system without memory does."""
        self.client.stop_channels()
        self.manager.restart_kernel(now=kill)
        self.client = self.manager.client()
        self._connect()

    def stderr(self) -> str:
        """Returns what the process wrote to its own stderr, beside the outputs of cells."""
        self._stderr.seek(0)
        return self._stderr.read().decode(errors="replace")


NOTEBOOKS = Path(__file__).resolve().parents[3] / "examples" / "notebooks"


def run_notebook(name: str, limit: float = 120.0) -> dict[str, Outcome]:
    """Runs the cells of an example in a kernel of its own, and returns what each gave, by its id."""
    notebook = json.loads((NOTEBOOKS / f"{name}.ipynb").read_text(encoding="utf-8"))
    cells = [cell for cell in notebook["cells"] if cell["cell_type"] == "code"]
    with Kernel(OPENAI_API_KEY="none") as kernel:
        return {cell["id"]: kernel.run("".join(cell["source"]), cell=cell["id"], limit=limit) for cell in cells}
