"""What a2alinker costs besides time for messages: `a2alinker bench --figures`.

Each figure is of fresh processes, as it depends on what a process has done before. What a switchboard needs is measured by
benches/idle_links.rs.
"""

import asyncio
import os
import shutil
import sys
import tempfile
from pathlib import Path
from statistics import median
from typing import Any, Final

import a2alinker

from .._processes import ProcessError, python, switchboard
from .paths import said
from .peers import tell

IMPORTS: Final = 21  # of which the median is taken
MESSAGES: Final = 20  # that a client has exchanged before its memory is measured

TIMED_IMPORT: Final = """
import sys, time
begin, cpu = time.perf_counter(), time.process_time()
__import__(sys.argv[1])
print(time.perf_counter() - begin, time.process_time() - cpu)
"""
BARE: Final = "import os, pathlib; print(int(pathlib.Path('/proc/self/statm').read_text().split()[1]) * os.sysconf('SC_PAGE_SIZE'))"


def resident() -> int:
    """Returns the resident memory of this process in bytes; Linux alone tells it so."""
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE")


async def figures() -> dict[str, Any]:
    """Measures: seconds, and bytes of memory.

    Raises:
        ProcessError: a process ended before its time.
    """
    with tempfile.TemporaryDirectory() as cached, tempfile.TemporaryDirectory() as uncached:
        for folder in (cached, uncached):  # copies, so that bytecode is where it should be and nowhere else
            shutil.copytree(Path(a2alinker.__file__).parent, Path(folder) / "a2alinker", ignore=shutil.ignore_patterns("__pycache__"))
        alone, whole, compiled = await imports(("asyncio", cached, True), ("a2alinker", cached, True), ("a2alinker", uncached, False))
    return {
        "import_asyncio": alone,
        "import": whole,
        "import_without_bytecode": compiled,
        "messages": MESSAGES,
        "client_bytes": await client_memory(),
        "bare_bytes": int(await printed("-c", BARE)),
    }


def shown(figures: dict[str, Any]) -> list[str]:
    """Returns the figures as lines to print."""

    def line(what: str, times: dict[str, float]) -> str:
        return f"{what:<26}{times['seconds'] * 1e3:10.0f} ms median of {times['runs']}, {times['processor'] * 1e3:.0f} ms of processor"

    client, bare = figures["client_bytes"] / 2**20, figures["bare_bytes"] / 2**20
    return [
        line("import asyncio, to compare", figures["import_asyncio"]),
        line("import a2alinker", figures["import"]),
        line("  without bytecode of it", figures["import_without_bytecode"]),
        f"client after {figures['messages']} messages".ljust(26) + f"{client - bare:10.1f} MiB over bare Python, which has {bare:.1f} MiB",
    ]


async def imports(*kinds: tuple[str, str, bool]) -> list[dict[str, float]]:
    """The median time and processor time of imports: which module, from which folder, and whether they may write bytecode there.

    They take turns, so that all share what else the machine does. The first turn, which may write, doesn't count.
    """
    taken: list[list[tuple[float, float]]] = [[] for _ in kinds]
    for _ in range(IMPORTS + 1):
        for (module, folder, bytecode), times in zip(kinds, taken, strict=True):
            environment = {"PYTHONPATH": folder, "PYTHONDONTWRITEBYTECODE": "" if bytecode else "1"}
            wall, processor = (await printed("-c", TIMED_IMPORT, module, environment=environment)).split()
            times.append((float(wall), float(processor)))
    return [
        {"seconds": median(wall for wall, _ in times[1:]), "processor": median(processor for _, processor in times[1:]), "runs": IMPORTS}
        for times in taken
    ]


async def client_memory() -> int:
    """The resident memory of a process whose agent has joined and answered some messages."""
    async with switchboard() as (address, _), a2alinker.host("figures", switchboard=address) as agent:
        ticket = str(await agent.invite(kind="ticket", local=True))
        async with python("-m", __name__, environment={"A2ALINKER_TICKET": ticket}) as process:
            client = await agent.wait_for(name="client", timeout=30)
            for _ in range(MESSAGES):
                await agent.request(client, bytes(256))
            return int((await said(process))["resident"])


async def client() -> None:
    """Answers messages, and tells the process's memory after the last."""
    async with a2alinker.join("client") as agent:
        answered = 0
        async for message in agent:
            await message.reply(message.body)
            answered += 1
            if answered == MESSAGES:
                tell(resident=resident())


async def printed(*arguments: str, environment: dict[str, str] | None = None) -> str:
    """What a Python process prints."""
    async with python(*arguments, environment=environment) as process:
        assert process.stdout is not None  # a pipe was asked for
        text = (await process.stdout.read()).decode()
    if not text:
        raise ProcessError(f"{sys.executable} printed nothing")
    return text


if __name__ == "__main__":
    asyncio.run(client())
