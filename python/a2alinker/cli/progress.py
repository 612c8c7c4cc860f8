"""How far a large body is: a line on a terminal that is written again and again, or JSON objects for a program."""

from __future__ import annotations

import os
import sys
import time
from types import TracebackType
from typing import Final, Self

from ..bodies import Progress
from .output import Output, shown

PAUSE: Final = 0.5  # seconds between two records for a program
WIDTH: Final = 24  # characters of the bar
LONGEST_NAME: Final = 32
_UNITS: Final = ("B", "kB", "MB", "GB")


class Bar:
    """One body's progress. Nothing is shown where standard error is no terminal, and in JSON only what takes long."""

    def __init__(self, output: Output, name: str) -> None:
        self._output = output
        self._name = name if len(name) <= LONGEST_NAME else name[: LONGEST_NAME - 1] + "…"
        self._began = time.monotonic()
        self._told_at = self._began
        self._is_shown = not output.as_json and sys.stderr.isatty() and os.environ.get("TERM") != "dumb"
        self._length = 0  # of the line that stands there

    def update(self, progress: Progress) -> None:
        """Shows how far it is."""
        now = time.monotonic()
        if self._output.as_json:
            if now >= self._told_at + PAUSE:
                self._told_at = now
                self._output.data("", {"progress": progress.bytes, "total": progress.total})
        elif self._is_shown:
            line = shown(self._line(progress, now - self._began), sys.stderr)
            sys.stderr.write(f"\r{line:<{self._length}}")
            sys.stderr.flush()
            self._length = len(line)

    def _line(self, progress: Progress, seconds: float) -> str:
        rate = f"{size(progress.bytes / seconds)}/s" if seconds > 0 else ""
        if not progress.total:
            return f"{self._name}  {size(progress.bytes)}  {rate}"
        part = min(1.0, progress.bytes / progress.total)
        bar = "#" * round(part * WIDTH)
        return f"{self._name}  [{bar:-<{WIDTH}}] {part:4.0%}  {size(progress.bytes)} of {size(progress.total)}  {rate}"

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None) -> None:
        """Leaves the terminal as it was."""
        if self._length:
            sys.stderr.write(f"\r{'':<{self._length}}\r")
            sys.stderr.flush()


def size(number: float) -> str:
    """Returns a number of bytes in words."""
    unit = 0
    while number >= 1000 and unit < len(_UNITS) - 1:
        number /= 1000
        unit += 1
    return f"{number:.0f} {_UNITS[unit]}" if unit == 0 or number >= 100 else f"{number:.1f} {_UNITS[unit]}"
