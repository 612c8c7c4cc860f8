"""The command `a2alinker` as a process, for tests."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

PATIENCE = 30.0  # seconds; far above what any of these takes


def command(*arguments: str) -> list[str]:
    return [sys.executable, "-m", "a2alinker", *arguments]


def run(*arguments: str, stdin: str = "", **environment: str) -> subprocess.CompletedProcess[str]:
    """Runs the command to its end."""
    return subprocess.run(
        command(*arguments), input=stdin, capture_output=True, text=True, timeout=PATIENCE, env=_environment(environment), check=False
    )


@contextmanager
def running(*arguments: str, cwd: Path | None = None, stdin: Any = subprocess.PIPE, **environment: str) -> Iterator[subprocess.Popen[str]]:
    """Starts the command, and ends it with the block if it still runs."""
    process = subprocess.Popen(
        command(*arguments),
        stdin=stdin,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        encoding="utf-8",
        cwd=cwd,
        env=_environment(environment),
    )
    with process:
        try:
            yield process
        finally:
            if process.poll() is None:
                process.kill()


def line(process: subprocess.Popen[str]) -> str:
    """Returns the next line of its standard output."""
    assert process.stdout is not None
    text = process.stdout.readline()
    if not text:
        assert process.stderr is not None
        raise AssertionError(f"it ended: {process.stderr.read()}")
    return text.rstrip("\n")


def talk(process: subprocess.Popen[str], *, until: str) -> str:
    """Reads its standard error up to the line that holds these words, and returns that."""
    assert process.stderr is not None
    heard = []
    for text in process.stderr:
        if until in text:
            return text.rstrip("\n")
        heard.append(text)
    raise AssertionError(f"it never said {until!r}, but: {''.join(heard)}")


def end(process: subprocess.Popen[str], number: int) -> tuple[str, str, int]:
    """Sends a signal; returns what it had still to say, and its exit code."""
    process.send_signal(number)
    out, err = process.communicate(timeout=PATIENCE)
    return out, err, process.returncode


def _environment(more: Mapping[str, str]) -> dict[str, str]:
    clean = {name: value for name, value in os.environ.items() if not name.startswith("A2ALINKER_")}
    return {**clean, **more}
