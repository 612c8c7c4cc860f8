"""One agent file, one command at a time on this machine.

The switchboard lets the newer of two links of one identity win, and the older agent ends. For a program that is the way to replace a run that
hangs; somebody who types a command would only be surprised that it ended their worker.
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator
from pathlib import Path

from .exits import USAGE, Stop


@contextlib.contextmanager
def alone_with(identity: str | None) -> Iterator[None]:
    """Keeps other commands from using this agent file meanwhile. Beside it stands a file for the lock, which stays.

    Raises:
        Stop: another command uses it.
    """
    if identity is None:
        yield
        return
    try:
        import fcntl
    except ImportError:  # Windows
        yield
        return
    if not identity or Path(identity).is_dir():  # what is wrong with that is for others to say
        yield
        return
    beside = f"{identity}.lock"
    try:
        descriptor = os.open(beside, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    except OSError:  # whether the agent file itself can be written is for others to say
        yield
        return
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        os.close(descriptor)
        raise Stop(
            f"{identity} is in use by another a2alinker command, which would lose its link. Each command needs an agent file of its own",
            USAGE,
            "identity_in_use",
        ) from None
    except OSError:  # a file system without locks
        os.close(descriptor)
        yield
        return
    try:
        yield
    finally:
        os.close(descriptor)
