"""The two agent processes of the benchmark: `python -m a2alinker.bench.peers ROLE`.

The sender hosts and does what it reads from standard input; the receiver is a process with as many agents as the widest workload needs,
and reports each one-way run on its own. Both speak JSON lines to the benchmark and end when their standard input is closed.
"""

import argparse
import asyncio
import json
import sys
import time
from collections.abc import Awaitable, Callable, Sequence
from functools import partial
from statistics import quantiles
from typing import Any

import a2alinker

from .workloads import END, MOST_RECEIVERS, NUMBER_BYTES, WORKLOADS, Workload

CLOCK_EVERY = 32
"""Messages between two looks at the clock; looking at each one would be measured too."""


async def send(switchboard: str) -> None:
    """Hosts, waits for the receivers, and runs each workload that it is told to."""
    commands = await standard_input()
    async with a2alinker.host("sender", switchboard=switchboard) as agent:
        tell(ticket=str(await agent.invite(kind="ticket", uses=MOST_RECEIVERS, local=True)))
        receivers = [await agent.wait_for(name=name_of(index), timeout=60) for index in range(MOST_RECEIVERS)]
        for receiver in receivers:  # sessions stand before the first clock starts
            await agent.request(receiver, bytes(NUMBER_BYTES))
        tell(ready=True)
        async for line in commands:
            command = json.loads(line)
            workload = WORKLOADS[command["workload"]]
            if workload.kind == "requests":
                tell(**await ask(partial(answer_of, agent, receivers[0]), workload, command["seconds"]))
            else:
                tell(**await stream(agent, receivers[: workload.receivers], workload, command["seconds"]))


async def answer_of(agent: a2alinker.Agent, receiver: a2alinker.Peer, body: bytes) -> object:
    """The body of the answer to one request."""
    return (await agent.request(receiver, body)).body


async def ask(request: Callable[[bytes], Awaitable[object]], workload: Workload, seconds: float) -> dict[str, Any]:
    """Sends requests, each as soon as there are fewer than `in_flight`, and checks that each answer carries its request's number."""
    filler = bytes(workload.size - NUMBER_BYTES)
    latencies: list[float] = []
    numbers = iter(range(END))
    begin = time.perf_counter()

    async def one_after_the_other() -> None:
        while (sent := time.perf_counter()) - begin < seconds:
            body = next(numbers).to_bytes(NUMBER_BYTES, "big") + filler
            answer = await request(body)
            latencies.append(time.perf_counter() - sent)
            if answer != body:
                raise AssertionError("an answer belongs to another request")

    async with asyncio.TaskGroup() as group:
        for _ in range(workload.in_flight):
            group.create_task(one_after_the_other())
    took = time.perf_counter() - begin
    cuts = quantiles(latencies, n=100)
    return {"messages": len(latencies), "seconds": took, "p50_us": cuts[49] * 1e6, "p99_us": cuts[98] * 1e6}


async def stream(agent: a2alinker.Agent, receivers: Sequence[a2alinker.Peer], workload: Workload, seconds: float) -> dict[str, Any]:
    """Sends numbered messages as fast as they are taken, then the end mark, and waits until that is delivered."""
    filler = bytes(workload.size - NUMBER_BYTES)
    to = receivers[0] if len(receivers) == 1 else receivers
    number = 0
    begin = time.perf_counter()
    while time.perf_counter() - begin < seconds:
        for number in range(number, number + CLOCK_EVERY):  # noqa: B020 - goes on from where it was
            await agent.send(to, number.to_bytes(NUMBER_BYTES, "big") + filler)
        number += 1
    last = await agent.send(to, END.to_bytes(NUMBER_BYTES, "big") + filler)
    await last.delivered()
    return {"messages": number * len(receivers), "seconds": time.perf_counter() - begin}


async def receive() -> None:
    """Joins with the ticket in A2ALINKER_TICKET, once for each receiver, and serves until standard input is closed."""
    commands = await standard_input()
    async with asyncio.TaskGroup() as group:
        tasks = [group.create_task(serve(name_of(index))) for index in range(MOST_RECEIVERS)]
        await commands.read()
        for task in tasks:
            task.cancel()


async def serve(name: str) -> None:
    """Answers requests with their own body; counts one-way messages, and reports when the end mark is there."""
    count = Count()
    async with a2alinker.join(name) as agent:
        async for message in agent:
            if message.wants_answer:
                await message.reply(message.body)
            else:
                count.take(message.body)


class Count:
    """The messages of one-way runs at one receiver, each with the number after the last."""

    def __init__(self) -> None:
        self.messages, self._bytes, self._begin = 0, 0, 0.0

    def take(self, body: bytes) -> None:
        """Counts a message; reports the run when it is the end mark."""
        number = int.from_bytes(body[:NUMBER_BYTES], "big")
        if number == self.messages:
            if not number:
                self._begin = time.perf_counter()
            self.messages += 1
            self._bytes += len(body)
        elif number == END:
            now = time.perf_counter()
            tell(messages=self.messages, seconds=now - self._begin, bytes=self._bytes, begin=self._begin, end=now)
            self.messages = self._bytes = 0
        else:
            tell(error=f"message {number} came where {self.messages} was due")
            raise AssertionError("a message is missing or out of order")


def name_of(index: int) -> str:
    """The name of one of the receivers."""
    return f"receiver-{index}"


async def standard_input() -> asyncio.StreamReader:
    """Standard input as a stream."""
    reader = asyncio.StreamReader()
    await asyncio.get_running_loop().connect_read_pipe(lambda: asyncio.StreamReaderProtocol(reader), sys.stdin)
    return reader


def tell(**what: Any) -> None:
    """Prints one line for the benchmark."""
    print(json.dumps(what), flush=True)


def main() -> None:
    """Runs one of the two processes."""
    parser = argparse.ArgumentParser(description="One agent process of the benchmark, which starts it")
    roles = parser.add_subparsers(dest="role", required=True)
    roles.add_parser("sender").add_argument("switchboard")
    roles.add_parser("receiver")
    arguments = parser.parse_args()
    asyncio.run(send(arguments.switchboard) if arguments.role == "sender" else receive())


if __name__ == "__main__":
    main()
