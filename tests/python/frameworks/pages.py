"""The programs of a page of the documents, run as they are copied: in processes of their own, under the network guard."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import a2alinker

DOCS = Path(__file__).resolve().parents[3] / "docs"
TESTS = Path(__file__).resolve().parents[1]
SHIM = "from frameworks import guard\nguard.install(deadly=True)\n"
CODE, RELAY = "7-lantern-paprika-walrus", "wss://relay.example:7447"  # as all pages have them


def blocks(page: str) -> list[str]:
    """Returns the blocks of Python of a page."""
    return re.findall(r"^```python\n(.*?)^```", (DOCS / page).read_text(encoding="utf-8"), re.MULTILINE | re.DOTALL)


def with_invite(program: str, code: str, switchboard: str) -> str:
    """Puts a real code and a real address where a page has its examples."""
    assert CODE in program
    assert RELAY in program
    return program.replace(CODE, code).replace(RELAY, switchboard.partition("#")[0])


@contextmanager
def running(program: str, folder: Path, **environment: str) -> Iterator[subprocess.Popen[str]]:
    """Starts a program, and ends it with the block if it still runs. The model is where `OPENAI_BASE_URL` says."""
    (folder / "sitecustomize.py").write_text(SHIM)
    path = os.pathsep.join(map(str, [folder, TESTS, Path(a2alinker.__path__[0]).parent]))
    process = subprocess.Popen(
        [sys.executable, "-c", program],
        env={**os.environ, "PYTHONPATH": path, "OPENAI_API_KEY": "none", **environment},
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    with process:
        try:
            yield process
        finally:
            process.kill()


def line_of(process: subprocess.Popen[str]) -> str:
    """Returns the next line that it says."""
    assert process.stdout is not None
    line = process.stdout.readline().strip()
    assert line, process.communicate()
    return line
