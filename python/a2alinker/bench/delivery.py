"""What becomes of messages when much or little goes: large files, a link that is cut, one priority beside the others.

    python -m a2alinker.bench.delivery [--megabytes N] [--cuts N] [--seconds S]

Sender, switchboard and receiver are processes of their own on loopback, with TLS. A file counts from `send` until the receiver has written it, with
its digest checked. A cut closes the sender's connection and refuses new ones for a second; its time counts from the moment when the path is
back until a message that was sent meanwhile is delivered. For the shares the sender keeps as many messages of 1 KiB of each priority under way as
it may, on a way of 4 MB/s; the receiver counts what it gets. A proxy stands between sender and switchboard, in the sender's process: the file is
slower for it.
"""

import argparse
import asyncio
import contextlib
import os
import statistics
import sys
import tempfile
import time
from collections.abc import AsyncIterator, Sequence
from pathlib import Path
from typing import Final

import a2alinker

from .. import _processes

RECEIVER: Final = """
import asyncio, sys
import a2alinker

async def main():
    ticket, address, folder = sys.argv[1:]
    counts = {}
    async with a2alinker.join("receiver", ticket, switchboard=address) as agent:
        async for message in agent:
            if message.wants_answer:
                await message.reply(counts)
                counts = {}
            elif isinstance(message.body, a2alinker.IncomingBody):
                await message.body.save(folder)
            else:
                counts[message.priority] = counts.get(message.priority, 0) + 1

asyncio.run(main())
"""
RATE: Final = 4e6  # bytes a second; chosen: less than a program can send, so that messages wait
FILLING: Final = 1.0  # seconds until everything is full
OUTAGE: Final = 1.0  # seconds; chosen: some attempts to connect fail meanwhile
BESIDE_BULK: Final[tuple[tuple[a2alinker.Priority, ...], ...]] = (("urgent", "high"), ("high", "normal"), ("urgent",))
FILLER: Final = b"x" * 1024


class Way:
    """From the sender to the switchboard, as a port of its own that can be cut."""

    def __init__(self, there: int) -> None:
        self._there = there
        self._is_cut = False
        self.narrow = False  # whether it carries only RATE bytes a second to the switchboard
        self._writers: set[asyncio.StreamWriter] = set()

    async def carry(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Takes a connection."""
        if self._is_cut:
            writer.transport.abort()
            return
        there_reader, there_writer = await asyncio.open_connection("127.0.0.1", self._there)
        self._writers |= {writer, there_writer}
        with contextlib.suppress(ConnectionError):
            await asyncio.gather(self._copy(reader, there_writer, there=True), self._copy(there_reader, writer))

    async def _copy(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, *, there: bool = False) -> None:
        while data := await reader.read(1 << 16):
            writer.write(data)
            await writer.drain()
            if there and self.narrow:
                await asyncio.sleep(len(data) / RATE)
        writer.close()

    def cut(self) -> None:
        """Ends what is carried, and takes nothing more."""
        self._is_cut = True
        while self._writers:
            self._writers.pop().transport.abort()

    def mend(self) -> None:
        """Carries again."""
        self._is_cut = False


@contextlib.asynccontextmanager
async def _pair(folder: Path) -> AsyncIterator[tuple[a2alinker.Agent, Way]]:
    async with _processes.switchboard() as (address, _):
        port = int(address.partition("#")[0].rpartition(":")[2])
        way = Way(port)
        async with await asyncio.start_server(way.carry, "127.0.0.1", 0) as server:
            here = address.replace(f":{port}", f":{server.sockets[0].getsockname()[1]}", 1)
            async with a2alinker.host("sender", switchboard=here) as sender:
                ticket = str(await sender.invite(kind="ticket", local=True))
                async with _processes.python("-c", RECEIVER, ticket, address, os.fspath(folder)):
                    await sender.wait_for(name="receiver", timeout=20)
                    await sender.request("receiver", "ready?")
                    yield sender, way


async def body(sender: a2alinker.Agent, megabytes: int, folder: Path) -> float:
    """Megabytes of a file in a second."""
    source = folder / "source"
    source.write_bytes(os.urandom(1_000_000) * megabytes)
    begin = time.perf_counter()
    await (await sender.send("receiver", a2alinker.File(source), until="done")).done()
    return megabytes / (time.perf_counter() - begin)


async def resume(sender: a2alinker.Agent, way: Way) -> float:
    """Seconds from the end of an outage until a message sent during it is delivered."""
    way.cut()
    receipt = await sender.send("receiver", "sent while the link was cut")
    await asyncio.sleep(OUTAGE)
    way.mend()
    begin = time.perf_counter()
    await receipt.delivered()
    return time.perf_counter() - begin


async def share(sender: a2alinker.Agent, way: Way, beside: Sequence[a2alinker.Priority], seconds: float) -> float:
    """The part of all that the receiver gets that is bulk, while there is more of each priority than it takes."""

    async def keep_sending(priority: a2alinker.Priority) -> None:
        while True:
            await sender.send("receiver", FILLER, priority=priority)
            await asyncio.sleep(0)

    way.narrow = True
    tasks = [asyncio.ensure_future(keep_sending(priority)) for priority in (*beside, "bulk")]
    await asyncio.sleep(FILLING)
    await sender.request("receiver", "begin anew", priority="urgent")
    await asyncio.sleep(seconds)
    counts = (await sender.request("receiver", "how many?", priority="urgent")).body
    way.narrow = False
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)
    await (await sender.send("receiver", "the end", priority="bulk")).delivered()
    await sender.request("receiver", "begin anew")
    total: int = sum(counts.values())
    return float(counts["bulk"] / total)


async def measure(megabytes: int, cuts: int, seconds: float) -> None:
    """Measures and prints one figure after the other."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        (folder / "received").mkdir()
        async with _pair(folder / "received") as (sender, way):
            print(
                f"large file: {await body(sender, megabytes, folder):.0f} MB/s ({megabytes} MB, by way of a proxy in the sender's process)",
                flush=True,
            )
            times = [await resume(sender, way) for _ in range(cuts)]
            shown = ", ".join(f"{1000 * one:.0f}" for one in times)
            print(f"resume after an outage of {OUTAGE:g} s: {1000 * statistics.median(times):.0f} ms (median of {shown})", flush=True)
            for beside in BESIDE_BULK:
                print(f"bulk beside {' and '.join(beside)}: {await share(sender, way, beside, seconds):.1%} of the messages", flush=True)


def main(arguments: Sequence[str] | None = None) -> int:
    """Measures and prints."""
    parser = argparse.ArgumentParser(prog="python -m a2alinker.bench.delivery", description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--megabytes", type=int, default=256, metavar="N", help="size of the file (default: %(default)s)")
    parser.add_argument("--cuts", type=int, default=9, metavar="N", help="default: %(default)s")
    parser.add_argument("--seconds", type=float, default=5.0, help="how long each share is measured (default: %(default)s)")
    options = parser.parse_args(arguments)
    if options.megabytes < 1 or options.cuts < 1 or options.seconds <= 0:
        parser.error("--megabytes and --cuts are at least 1, --seconds above 0")
    asyncio.run(measure(options.megabytes, options.cuts, options.seconds))
    return 0


if __name__ == "__main__":
    sys.exit(main())
