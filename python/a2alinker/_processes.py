"""Processes of this package that the demo, the benchmark and the tests start and end: a switchboard, and Python programs on pipes.

A terminal sends Ctrl-C to all of them. They don't get to see it: who started them ends them, and kills those whose work it breaks off, so that none
complains that another is gone.
"""

import asyncio
import contextlib
import os
import re
import signal
import sys
from collections.abc import AsyncIterator, Mapping
from typing import Any, Final

LONGEST_LINE: Final = 16 << 20  # bytes of one line that such a process prints; chosen: far above a result with all its findings
STARTING: Final = 20.0  # seconds that a process may take until it says that it is ready
ENDING: Final = 5.0  # seconds that a process may take to end when it is asked to


class ProcessError(Exception):
    """A process didn't do its part."""


@contextlib.asynccontextmanager
async def switchboard(*, plain: bool = False) -> AsyncIterator[tuple[str, asyncio.subprocess.Process]]:
    """Runs the switchboard command, and gives the address that it prints.

    Raises:
        ProcessError: it didn't start.
    """
    options = ["--plain"] if plain else []
    async with python("-m", "a2alinker", "switchboard", "--listen", "127.0.0.1:0", *options, stderr=asyncio.subprocess.PIPE) as process:
        try:
            yield await _address(process), process
        finally:
            _end(process)


async def start(program: str, *arguments: str, **options: Any) -> asyncio.subprocess.Process:
    """Starts a process that SIGINT doesn't reach, as it inherits that the signal is blocked. `options` are those of asyncio."""
    if not hasattr(signal, "pthread_sigmask"):  # Windows
        return await asyncio.create_subprocess_exec(program, *arguments, **options)
    signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGINT])
    try:
        return await asyncio.create_subprocess_exec(program, *arguments, **options)
    finally:
        signal.pthread_sigmask(signal.SIG_UNBLOCK, [signal.SIGINT])


async def finish(process: asyncio.subprocess.Process) -> None:
    """Waits until a process that was asked to end has ended; one that takes too long is killed."""
    try:
        await asyncio.wait_for(process.wait(), ENDING)
    except TimeoutError:
        kill(process)
        await process.wait()


def kill(process: asyncio.subprocess.Process) -> None:
    """Ends a process that may have ended already."""
    with contextlib.suppress(ProcessLookupError):
        process.kill()


@contextlib.asynccontextmanager
async def python(
    *arguments: str, environment: Mapping[str, str] | None = None, stderr: int | None = None, interruptible: bool = False
) -> AsyncIterator[asyncio.subprocess.Process]:
    """Runs Python with pipes at its standard input and output; at the end closes the first and waits. An exception kills it."""
    pipe = asyncio.subprocess.PIPE
    process = await (asyncio.create_subprocess_exec if interruptible else start)(
        sys.executable, *arguments, env={**os.environ, **(environment or {})}, stdin=pipe, stdout=pipe, stderr=stderr, limit=LONGEST_LINE
    )
    try:
        yield process
    except BaseException:
        kill(process)
        raise
    finally:
        assert process.stdin is not None  # a pipe was asked for
        process.stdin.close()
        await finish(process)


async def _address(process: asyncio.subprocess.Process) -> str:
    assert process.stdout is not None  # pipes were asked for
    assert process.stderr is not None
    with contextlib.suppress(TimeoutError):
        async with asyncio.timeout(STARTING):
            async for line in process.stdout:
                if found := re.search(r"wss?://\S+", line.decode()):
                    return found[0]
    _end(process)
    raise ProcessError(f"the switchboard didn't start: {(await process.stderr.read()).decode().strip()}")


def _end(process: asyncio.subprocess.Process) -> None:
    with contextlib.suppress(ProcessLookupError):
        process.terminate()
