"""Processes of this package that the demo, the benchmark and the tests start and end: a switchboard, and Python programs on pipes."""

import asyncio
import contextlib
import os
import re
import sys
from collections.abc import AsyncIterator, Mapping
from typing import Final

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


@contextlib.asynccontextmanager
async def python(
    *arguments: str, environment: Mapping[str, str] | None = None, stderr: int | None = None
) -> AsyncIterator[asyncio.subprocess.Process]:
    """Runs Python with pipes at its standard input and output; at the end closes the first and waits."""
    pipe = asyncio.subprocess.PIPE
    process = await asyncio.create_subprocess_exec(
        sys.executable, *arguments, env={**os.environ, **(environment or {})}, stdin=pipe, stdout=pipe, stderr=stderr, limit=LONGEST_LINE
    )
    try:
        yield process
    finally:
        assert process.stdin is not None  # a pipe was asked for
        process.stdin.close()
        try:
            await asyncio.wait_for(process.wait(), ENDING)
        except TimeoutError:
            process.kill()
            await process.wait()


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
