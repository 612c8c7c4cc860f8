"""The agents of a run, each a process of its own: `python -m chaos.agents`. The first line of standard input says what to be and do.

    sender      hosts the swarm or joins it, sends so many messages to all receivers, and waits for the last receipt of each
    receiver    joins with an agent file, and takes what comes until it is killed

Each writes its journal and says on standard output how far it is. The end of standard input ends it.
"""

# ruff: noqa: T201 - programs that tell the test how far they are

from __future__ import annotations

import asyncio
import contextlib
import dataclasses
import json
import random
import sys
import zlib
from collections import Counter
from pathlib import Path
from typing import Any, Final, Literal

import a2alinker
from chaos.journal import Declined, Handed, Journal, Sent, Told, now

LANES: Final = ("urgent", "high", "normal", "bulk")
THREADS: Final = 4  # besides the common one
UNDER_WAY: Final = 2_000  # messages of a sender without a final receipt; beyond it it waits
BURST: Final = 40  # messages that are sent without a pause at most
PATIENCE: Final = 60.0  # seconds for a link, and for the peers; a switchboard that is killed again and again takes some of them


@dataclasses.dataclass(frozen=True, slots=True)
class Part:
    """What a process is to be, and to do."""

    role: Literal["sender", "receiver"]
    name: str
    switchboard: str
    journal: str
    invite: str | None = None  # a sender without one hosts
    identity: str | None = None
    run: int = 1
    receivers: tuple[str, ...] = ()
    messages: int = 0
    rate: float = 1_000.0  # messages a second, as long as the receivers keep up
    ttl: float = 180.0  # seconds of life of a message that has to arrive
    seed: int = 0
    large: float = 0.005  # share of bodies of 100 kB and more


# -- what is sent --


@dataclasses.dataclass(slots=True)
class Mixture:
    """Draws messages of all lanes, threads, sizes and manners, the same ones for a seed."""

    part: Part
    _dice: random.Random = dataclasses.field(init=False)
    _counts: Counter[tuple[str, str, str]] = dataclasses.field(default_factory=Counter)

    def __post_init__(self) -> None:
        self._dice = random.Random(f"{self.part.name} {self.part.seed}")

    def draw(self, number: int) -> tuple[Sent, dict[str, Any]]:
        """Returns the next message as it is noted, and its body."""
        dice, part = self._dice, self.part
        receiver = dice.choice(part.receivers)
        lane = dice.choices(LANES, (10, 20, 50, 20))[0]
        thread = str(dice.randrange(THREADS + 1))
        size = self._size(lane)
        until = "done" if dice.random() < 0.3 else "delivered"
        ttl = part.ttl if dice.random() < 0.97 else dice.uniform(0.3, 3.0)
        seq = self._counts[receiver, thread, lane]
        self._counts[receiver, thread, lane] += 1
        uid = f"{part.name}-{number}"
        sent = Sent(0.0, uid, part.name, receiver, thread, lane, seq, until, ttl, 0.0, size)
        pad = dice.randbytes(size)
        body = {"uid": uid, "thread": thread, "seq": seq, "pad": pad, "decline": until == "done" and dice.random() < 0.05}
        return sent, {**body, "sum": checksum(body)}

    def burst(self) -> int:
        """Returns how many are sent without a pause."""
        return self._dice.randint(1, BURST)

    def _size(self, lane: str) -> int:
        kind = self._dice.random()
        if lane == "urgent" or kind < 0.80:
            return self._dice.randint(0, 400)
        if kind < 0.96:
            return self._dice.randint(400, 16_000)
        if kind < 1 - self.part.large:
            return self._dice.randint(16_000, 100_000)
        return self._dice.randint(100_000, 900_000)


def checksum(body: dict[str, Any]) -> int:
    """Returns a sum over all of a body but the sum itself."""
    return zlib.crc32(repr([body[key] for key in ("uid", "thread", "seq", "decline")]).encode(), zlib.crc32(body["pad"]))


def thread_id(thread: str) -> bytes | None:
    """Returns the id of a thread; 0 is the common one."""
    return None if thread == "0" else bytes(15) + bytes([int(thread)])


def thread_of(message: a2alinker.Message) -> str:
    """Returns the name of the thread that a message came in."""
    return str((message.thread or bytes(16))[-1])


# -- sender --


async def send(agent: a2alinker.Agent, part: Part, journal: Journal) -> None:
    """Sends all messages at the given rate, and returns when the receipts of all are final."""
    room = asyncio.Semaphore(UNDER_WAY)
    mixture = Mixture(part)
    begin, number = now(), 0
    async with asyncio.TaskGroup() as watching:
        while number < part.messages:
            for _ in range(min(mixture.burst(), part.messages - number)):
                await room.acquire()
                sent, body = mixture.draw(number)
                number += 1
                at = now()
                journal.write(dataclasses.replace(sent, at=at, expires=at + sent.ttl))
                lane: Any = sent.lane
                until: Any = sent.until
                receipt = await agent.send(sent.receiver, body, priority=lane, thread=thread_id(sent.thread), ttl=sent.ttl, until=until)
                watching.create_task(watch(receipt, sent.uid, journal, room))
            await asyncio.sleep(max(0.0, begin + number / part.rate - now()))
        print("sent", flush=True)


async def watch(receipt: a2alinker.Receipt, uid: str, journal: Journal, room: asyncio.Semaphore) -> None:
    """Notes all that a receipt says."""
    async for state in receipt:
        if state != "queued":
            journal.write(Told(now(), uid, state))
    room.release()


async def sender(part: Part, journal: Journal) -> None:
    """Opens the agent, waits for all receivers, and sends when told to."""
    if part.invite is None:
        opening = a2alinker.host(part.name, switchboard=part.switchboard, timeout=PATIENCE)
    else:
        opening = a2alinker.join(part.name, part.invite, switchboard=part.switchboard, timeout=PATIENCE)
    async with opening as agent:
        print(await agent.invite(kind="ticket", uses=None, local=True) if part.invite is None else "ready", flush=True)
        await line()
        for receiver in part.receivers:
            await agent.wait_for(name=receiver, timeout=PATIENCE)
        print("all there", flush=True)
        await line()
        await send(agent, part, journal)
        print("finished", flush=True)
        await line()


# -- receiver --


async def receiver(part: Part, journal: Journal) -> None:
    """Opens the agent and takes what comes."""
    assert part.identity is not None
    opening = a2alinker.join(part.name, part.invite, identity=part.identity, switchboard=part.switchboard, timeout=PATIENCE)
    async with opening as agent:
        print("ready", flush=True)
        taking = asyncio.create_task(take(agent, part, journal))
        ended = asyncio.create_task(line())
        await asyncio.wait({taking, ended}, return_when=asyncio.FIRST_COMPLETED)
        taking.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await taking


async def take(agent: a2alinker.Agent, part: Part, journal: Journal) -> None:
    """Notes each message before anything is done about it."""
    async for message in agent:
        body = message.body
        intact = body["sum"] == checksum(body) and body["thread"] == thread_of(message)
        handed = Handed(
            now(),
            body["uid"],
            message.sender.name,
            part.name,
            part.run,
            thread_of(message),
            message.priority,
            body["seq"],
            message.maybe_repeated,
            intact,
        )
        journal.write(handed)
        if body["decline"]:
            journal.write(Declined(now(), body["uid"], part.name, part.run))
            await message.refuse("as it was asked to")


async def line() -> str:
    """Waits for a line of standard input, or its end."""
    return await asyncio.to_thread(sys.stdin.readline)


async def main() -> None:
    """Plays a part."""
    given = json.loads(sys.stdin.readline())
    part = Part(**{**given, "receivers": tuple(given["receivers"])})
    journal = Journal(Path(part.journal))
    await (sender if part.role == "sender" else receiver)(part, journal)


if __name__ == "__main__":
    asyncio.run(main())
