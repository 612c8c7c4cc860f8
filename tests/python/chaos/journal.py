"""What happened in a run, by those who did it: each process appends to a file of its own, a line of JSON and a system call each.

Times are of the monotonic clock, which all processes of a machine share.
"""

from __future__ import annotations

import dataclasses
import json
import os
import time
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar, Final, TypeAlias


@dataclass(frozen=True, slots=True)
class Sent:
    """A message, before its sender gave it to `send`. `seq` counts in its sender, receiver, thread and lane."""

    KIND: ClassVar = "sent"
    at: float
    uid: str
    sender: str
    receiver: str
    thread: str
    lane: str
    seq: int
    until: str
    ttl: float
    expires: float
    size: int


@dataclass(frozen=True, slots=True)
class Told:
    """What a receipt said."""

    KIND: ClassVar = "told"
    at: float
    uid: str
    state: str


@dataclass(frozen=True, slots=True)
class Started:
    """A run of a receiver is about to start: its core may have messages before its program can note anything. Runs count from 1."""

    KIND: ClassVar = "started"
    at: float
    receiver: str
    run: int


@dataclass(frozen=True, slots=True)
class Handed:
    """The program of a receiver has a message, before it does anything with it. `intact`: the body is the one that was sent."""

    KIND: ClassVar = "handed"
    at: float
    uid: str
    sender: str
    receiver: str
    run: int
    thread: str
    lane: str
    seq: int
    repeated: bool
    intact: bool


@dataclass(frozen=True, slots=True)
class Declined:
    """A receiver is about to refuse a message."""

    KIND: ClassVar = "declined"
    at: float
    uid: str
    receiver: str
    run: int


@dataclass(frozen=True, slots=True)
class Killed:
    """A run of a receiver is over, by SIGKILL."""

    KIND: ClassVar = "killed"
    at: float
    receiver: str
    run: int


@dataclass(frozen=True, slots=True)
class Stopped:
    """A receiver is about to be stopped, for so many seconds."""

    KIND: ClassVar = "stopped"
    at: float
    receiver: str
    seconds: float


Record: TypeAlias = Sent | Told | Started | Handed | Declined | Killed | Stopped
KINDS: Final[dict[str, type[Record]]] = {kind.KIND: kind for kind in (Sent, Told, Started, Handed, Declined, Killed, Stopped)}


def now() -> float:
    """Returns the time."""
    return time.monotonic()


class Journal:
    """A file to append to. What is written is there even if the process is killed right after."""

    def __init__(self, path: Path) -> None:
        self._file = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)

    def write(self, record: Record) -> None:
        """Appends a record."""
        values = [getattr(record, field.name) for field in dataclasses.fields(record)]
        line = json.dumps([record.KIND, *values], separators=(",", ":")).encode() + b"\n"
        if os.write(self._file, line) != len(line):
            raise OSError("the journal is cut short")

    def close(self) -> None:
        """Closes the file."""
        os.close(self._file)


def read(paths: Iterable[Path]) -> Iterator[Record]:
    """Reads journals. A line without an end was being written when its process was killed: then nothing was done about it yet."""
    for path in paths:
        for line in path.read_bytes().splitlines(keepends=True):
            if line.endswith(b"\n"):
                kind, *values = json.loads(line)
                make: Any = KINDS[kind]
                yield make(*values)
