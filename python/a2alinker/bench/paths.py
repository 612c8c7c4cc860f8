"""The paths that a message can take in the benchmark, each with the same `run`."""

import asyncio
import contextlib
import json
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any, Protocol

from .._processes import ProcessError, finish, kill, python, start, switchboard
from .workloads import WORKLOADS, Workload

GRACE = 30.0
"""Seconds beyond a run's own length until it is given up: what is under way when the clock stops still has to arrive."""

Run = dict[str, Any]


class Route(Protocol):
    """One path."""

    name: str

    def supports(self, workload: Workload) -> bool:
        """Whether the workload can be run on this path."""
        ...

    async def run(self, name: str, seconds: float) -> Run:
        """Runs the workload once; `seconds` is how long messages are sent.

        Raises:
            ProcessError: messages were lost, or a process ended.
        """
        ...


class Peers:
    """A sender and a receiver process, which are told what to do in JSON lines; peers.py says how."""

    def __init__(self, name: str, sender: asyncio.subprocess.Process, receiver: asyncio.subprocess.Process) -> None:
        self.name = name
        self._sender = sender
        self._receiver = receiver

    def supports(self, workload: Workload) -> bool:
        """Every workload."""
        return True

    async def run(self, name: str, seconds: float) -> Run:
        """Lets the sender run the workload, and compares what it sent with what the receivers counted."""
        workload = WORKLOADS[name]
        assert self._sender.stdin is not None  # a pipe was asked for
        self._sender.stdin.write(json.dumps({"workload": name, "seconds": seconds}).encode() + b"\n")
        async with timeout(seconds):
            sent = await said(self._sender)
            if workload.kind == "requests":
                return sent
            counts = [await said(self._receiver) for _ in range(workload.receivers)]
        received = sum(count["messages"] for count in counts)
        if received != sent["messages"]:
            raise ProcessError(f"{received} of {sent['messages']} messages arrived")
        took = max(count["end"] for count in counts) - min(count["begin"] for count in counts)
        return {"messages": received, "seconds": took, "bytes": sum(count["bytes"] for count in counts)}


@contextlib.asynccontextmanager
async def agents(name: str, *, plain: bool) -> AsyncIterator[Peers]:
    """Python agents through the switchboard command, three processes."""
    module = f"{__package__}.peers"
    async with (
        switchboard(plain=plain) as (address, _),
        python("-m", module, "sender", address) as sender,
    ):
        ticket = (await said(sender))["ticket"]
        async with python("-m", module, "receiver", environment={"A2ALINKER_TICKET": ticket}) as receiver:
            await said(sender)
            yield Peers(name, sender, receiver)


class BareRelay:
    """Rust programs through a relay that does nothing but pass messages on, over plain WebSocket: benches/bare_relay.rs."""

    def __init__(self, name: str, program: Path, *options: str) -> None:
        self.name = name
        self._command = [str(program), *options]

    def supports(self, workload: Workload) -> bool:
        """Those with one receiver."""
        return workload.receivers == 1

    async def run(self, name: str, seconds: float) -> Run:
        """Starts a relay and both sides for this run alone."""
        workload = WORKLOADS[name]
        size, period = ("--size", str(workload.size)), ("--seconds", str(seconds))
        async with self._start("relay", serves=True) as relay, timeout(seconds):
            url = (await said(relay))["url"]
            if workload.kind == "requests":
                async with self._start("echo", url, serves=True) as echo:
                    await said(echo)
                    async with self._start("requester", url, *size, *period, "--in-flight", str(workload.in_flight)) as requester:
                        return await said(requester)
            async with self._start("sink", url) as sink:
                await said(sink)
                async with self._start("source", url, *size, *period) as source:
                    sent, received = await said(source), await said(sink)
        if received["messages"] != sent["messages"]:
            raise ProcessError(f"{received['messages']} of {sent['messages']} messages arrived")
        return received

    @contextlib.asynccontextmanager
    async def _start(self, *arguments: str, serves: bool = False) -> AsyncIterator[asyncio.subprocess.Process]:
        """Starts one role. Those that serve are told to end; the others end when they have said their result."""
        process = await start(*self._command, *arguments, stdout=asyncio.subprocess.PIPE)
        try:
            yield process
        except BaseException:
            kill(process)
            raise
        finally:
            if serves:
                process.terminate()
            await finish(process)


@contextlib.asynccontextmanager
async def timeout(seconds: float) -> AsyncIterator[None]:
    """Bounds a run that lasts `seconds`."""
    try:
        async with asyncio.timeout(seconds + GRACE):
            yield
    except TimeoutError:
        raise ProcessError(f"a run of {seconds} s had no result {GRACE:.0f} s later") from None


async def said(process: asyncio.subprocess.Process) -> dict[str, Any]:
    """The next line that a process prints."""
    assert process.stdout is not None  # a pipe was asked for
    line = await process.stdout.readline()
    if not line:
        raise ProcessError(f"a process of the benchmark ended with code {await process.wait()}")
    what: dict[str, Any] = json.loads(line)
    if "error" in what:
        raise ProcessError(what["error"])
    return what
