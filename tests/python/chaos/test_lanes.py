"""Lanes and back-pressure through the whole stack: real agents, a real switchboard, and ways that are narrow or stuck.

Latencies are compared with those on the same way without load, in the same run, so that a slow machine changes nothing.
"""

# ruff: noqa: T201 - the figures are part of the result

import asyncio
import contextlib
import statistics
from collections.abc import AsyncIterator
from typing import Any, Literal

import pytest

import a2alinker
from a2alinker import Agent, PeerEvent
from a2alinker._processes import switchboard
from chaos.journal import now
from chaos.proxy import ChaosProxy

RATE = 400_000  # bytes a second of the narrow way
DELAY = 0.02  # seconds each way
BUFFER = 16 << 10  # bytes that the kernel holds for each socket of the proxy: the way is narrow, not long
PIECE = bytes(64 << 10)
PIECES = 200  # 12.5 MiB: half a minute of the narrow way
PROBES = 15
# How many times as long urgent may take under load. Chosen: a frame of bulk that is being written can't be overtaken, nor what the kernels and the
# proxy hold of it, which is some tenths of a second of the narrow way. What waits behind all the bulk takes hundreds of times as long.
URGENT_RATIO = 15.0

CREDIT = 4_096  # messages of a lane that a receiver takes without its program taking them (PROTOCOL.md section 7)
FLOOD = CREDIT + 1_000
CUT_AFTER = 15.0  # seconds after which a switchboard cuts a socket that takes nothing
UNNOTICED_RATIO = 20.0  # times as long as before, at the median; a machine with two cores does much else meanwhile
PATIENCE = 40.0  # seconds


class Ways:
    """Agents, each behind a chaos proxy of its own."""

    def __init__(self, address: str, stack: contextlib.AsyncExitStack) -> None:
        self._address = address
        self._stack = stack
        self.proxies: dict[str, ChaosProxy] = {}
        self.agents: dict[str, Agent] = {}
        self._invite: str | None = None

    async def open(self, name: str, **options: Any) -> Agent:
        """Opens an agent; the first one hosts. Returns when all know each other."""
        _, _, port_and_pin = self._address.rpartition(":")
        port, _, pin = port_and_pin.partition("#")
        proxy = self.proxies[name] = self._stack.enter_context(ChaosProxy(int(port), buffer=BUFFER))
        own = f"wss://127.0.0.1:{proxy.port}#{pin}"
        if self._invite is None:
            agent = await self._stack.enter_async_context(a2alinker.host(name, switchboard=own, **options))
            self._invite = str(await agent.invite(kind="ticket", uses=None, local=True))
        else:
            agent = await self._stack.enter_async_context(a2alinker.join(name, self._invite, switchboard=own, **options))
        for other_name, other in self.agents.items():
            await agent.wait_for(name=other_name, timeout=PATIENCE)
            await other.wait_for(name=name, timeout=PATIENCE)
        self.agents[name] = agent
        return agent


@contextlib.asynccontextmanager
async def ways() -> AsyncIterator[Ways]:
    """Runs a switchboard for the agents of a test. At the end they are dropped with all that they have still to send."""
    async with switchboard() as (address, _), contextlib.AsyncExitStack() as stack:
        opened = Ways(address, stack)
        try:
            yield opened
        finally:
            for agent in opened.agents.values():
                agent.abandon()


class Taker:
    """Takes what comes for an agent, answers requests, and notes the bodies of messages."""

    def __init__(self, agent: Agent) -> None:
        self.bodies: list[Any] = []
        self.came = asyncio.Event()
        self._agent = agent
        self._task = asyncio.create_task(self._take())

    async def _take(self) -> None:
        async for message in self._agent:
            if message.wants_answer:
                await message.reply(message.body)
            else:
                self.bodies.append(message.body)
                self.came.set()

    async def until(self, count: int) -> None:
        """Waits until so many messages have come."""
        async with asyncio.timeout(PATIENCE):
            while len(self.bodies) < count:
                self.came.clear()
                await self.came.wait()


async def round_trip(agent: Agent, to: str, priority: Any, limit: float | None = None) -> float:
    """Returns the seconds until a request is answered."""
    begin = now()
    await agent.request(to, b"?", priority=priority, timeout=limit)
    return now() - begin


@pytest.mark.parametrize("narrow", ["sender's", "receiver's"])
async def test_urgent_overtakes_bulk_on_a_narrow_way(narrow: Literal["sender's", "receiver's"]) -> None:
    async with ways() as opened:
        sender, receiver = await opened.open("sender"), await opened.open("receiver")
        taker = Taker(receiver)
        for name in ("sender", "receiver"):
            opened.proxies[name].order(f"delay both {DELAY / 2}")
        if narrow == "sender's":
            opened.proxies["sender"].order(f"limit up {RATE}")
        else:
            opened.proxies["receiver"].order(f"limit down {RATE}")

        idle = sorted([await round_trip(sender, "receiver", "urgent") for _ in range(PROBES)])
        unloaded = statistics.median(idle)
        for _ in range(PIECES):
            sender.send_nowait("receiver", PIECE, priority="bulk")
        await taker.until(1)
        begin, before = now(), len(taker.bodies)
        busy = sorted([await round_trip(sender, "receiver", "urgent", PATIENCE) for _ in range(PROBES)])
        loaded = statistics.median(busy)
        await taker.until(before + 3)
        rate = (len(taker.bodies) - before) * len(PIECE) / (now() - begin)
        print(
            f"\n{narrow} way of {RATE / 1e3:.0f} kB/s: urgent {unloaded * 1e3:.0f} ms, under bulk {loaded * 1e3:.0f} ms ({loaded / unloaded:.1f}x), "
            f"worst {busy[-1] * 1e3:.0f} ms; bulk {rate / 1e3:.0f} kB/s"
        )
        assert len(taker.bodies) < PIECES, "the bulk was over before urgent was measured"
        assert loaded < URGENT_RATIO * unloaded
        assert rate > RATE / 4

        # The control: what doesn't overtake waits for the bulk, and longer than the limit above.
        with pytest.raises(a2alinker.CallTimeout):
            await round_trip(sender, "receiver", "bulk", URGENT_RATIO * unloaded)
        assert len(taker.bodies) < PIECES, "the bulk was over before the control was"


async def test_a_program_that_does_not_read_its_inbox_stops_nothing_else() -> None:
    def echo(what: str) -> str:
        return what

    async with ways() as opened:
        sender = await opened.open("sender", skills=[a2alinker.skill(name="answer")(echo)])
        idler = await opened.open("idler", skills=[a2alinker.skill(name="echo")(echo)])
        other = Taker(await opened.open("other"))
        flood = [sender.send_nowait("idler", number) for number in range(FLOOD)]
        async with asyncio.timeout(PATIENCE):
            await flood[CREDIT - 1].delivered()
        assert flood[-1].state == "queued", "there is no credit for it"

        async with asyncio.timeout(PATIENCE):
            assert [await sender.call("echo", str(number), to="idler") for number in range(20)] == [str(number) for number in range(20)]
            assert await idler.call("answer", "of a call by who doesn't read", to="sender")
            for priority in ("urgent", "high", "bulk"):
                await (await sender.send("idler", "in a lane of its own", priority=priority)).delivered()
            await (await sender.send("other", "to another peer")).delivered()
            await (await opened.agents["other"].send("idler", "from another peer")).delivered()
            await other.until(1)
        assert flood[-1].state == "queued", "nobody has read"

        reader = Taker(idler)
        await reader.until(FLOOD + 4)
        numbers = [body for body in reader.bodies if isinstance(body, int)]
        assert numbers == list(range(FLOOD))
        assert reader.bodies[0] == "in a lane of its own", "urgent is handed over first"
        print(
            f"\n{CREDIT} messages unread: calls both ways, other lanes and other peers go on; then {len(reader.bodies)} were read in order"
        )


async def test_a_socket_that_is_not_read_is_cut_and_nobody_else_notices() -> None:
    async with ways() as opened:
        sender = await opened.open("sender")
        stuck, other = Taker(await opened.open("stuck")), Taker(await opened.open("other"))
        before = statistics.median([await round_trip(sender, "other", "normal") for _ in range(PROBES)])
        links = closed(opened)
        watching = {name: opened.agents[name].events() for name in ("sender", "other")}
        opened.proxies["stuck"].order("stall down")
        begin = now()
        sent = [sender.send_nowait("stuck", number.to_bytes(4) + PIECE[:16_000], priority="normal") for number in range(400)]

        meanwhile: list[float] = []
        async with asyncio.timeout(PATIENCE):
            cut = asyncio.create_task(peer_down(watching["sender"], "stuck"))
            while not cut.done():
                meanwhile.append(await round_trip(sender, "other", "normal"))
        after = now() - begin
        during = statistics.median(meanwhile)
        print(
            f"\na socket that isn't read was cut after {after:.1f} s; meanwhile {len(meanwhile)} round trips past it took {during * 1e3:.1f} ms at the "
            f"median, {before * 1e3:.1f} before, worst {max(meanwhile) * 1e3:.0f}"
        )
        assert CUT_AFTER - 2 < after < 2 * CUT_AFTER
        assert during < UNNOTICED_RATIO * before
        others = [event async for event in what_is_there(watching["other"]) if getattr(getattr(event, "peer", None), "name", "") != "stuck"]
        assert others == [], "the other one's link is as it was"
        assert closed(opened) == links
        assert len(meanwhile) > PROBES
        assert not other.bodies

        opened.proxies["stuck"].order("clear")
        await stuck.until(len(sent))
        assert [int.from_bytes(body[:4]) for body in stuck.bodies] == list(range(len(sent)))

        # The control: had it been noticed, the figure above would have shown it.
        opened.proxies["other"].order(f"delay both {UNNOTICED_RATIO * before:.3f}")
        noticed = statistics.median([await round_trip(sender, "other", "normal") for _ in range(3)])
        assert noticed > UNNOTICED_RATIO * before


def closed(opened: Ways) -> list[int]:
    """Counts the links of the two that read which have ended."""
    return [opened.proxies[name].count("closed") for name in ("sender", "other")]


async def peer_down(events: Any, name: str) -> None:
    """Waits until a peer's link is down."""
    async for event in events:
        if isinstance(event, PeerEvent) and event.peer.name == name and event.what == "down":
            return


async def what_is_there(events: Any) -> AsyncIterator[Any]:
    """Gives the events that have happened already."""
    while True:
        try:
            yield await asyncio.wait_for(anext(events), 0.05)
        except TimeoutError:
            return
