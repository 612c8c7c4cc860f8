"""Messages for agents that are away, and links that go on where they stopped: through a real switchboard."""

import asyncio
import contextlib
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest

import a2alinker
from a2alinker import Agent, LinkDown, LinkReplaced, LinkUp, Replaced, Switchboard
from swarms import next_message, until


@contextlib.asynccontextmanager
async def separate() -> AsyncIterator[tuple[Switchboard, Agent]]:
    """Gives a switchboard of its own, and a host that may end before it."""
    async with Switchboard() as switchboard:
        host = await a2alinker.host("host", switchboard=switchboard)
        try:
            yield switchboard, host
        finally:
            with contextlib.suppress(a2alinker.Undelivered):
                await host.close(timeout=1)


class Way:
    """The way from an agent to a switchboard, which can be cut."""

    def __init__(self, port: int) -> None:
        self._port = port
        self._writers: set[asyncio.StreamWriter] = set()

    async def __call__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        there, back = await asyncio.open_connection("127.0.0.1", self._port)
        self._writers |= {writer, back}
        await asyncio.gather(self._pass(reader, back), self._pass(there, writer))

    async def _pass(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(OSError):
            while data := await reader.read(65_536):
                writer.write(data)
                await writer.drain()
        writer.close()

    def cut(self) -> None:
        """Ends all connections without a word of the switchboard's or the agent's own."""
        for writer in self._writers:
            writer.transport.abort()
        self._writers.clear()


async def test_a_message_for_one_that_is_away_is_accepted_and_waits_for_its_next_run(tmp_path: Path) -> None:
    path = tmp_path / "member"
    async with separate() as (_, host):
        member = await a2alinker.join("member", await host.invite(kind="ticket", local=True), identity=path)
        peer = await host.wait_for(name="member", timeout=10)
        await (await host.send(peer, "hello")).delivered()
        assert (await next_message(member)).body == "hello"
        await member.close()
        await until(lambda: not peer.linked)

        receipt = await host.send(peer, "while you were out")
        states = [state async for state in _until_accepted(receipt)]
        assert states[-1] == "accepted", states
        assert set(states) <= {"queued", "unknown", "accepted"}
        assert receipt.retry_after is None
        with pytest.raises(asyncio.TimeoutError):
            await asyncio.wait_for(receipt.delivered(), 0.2)
        await host.close()  # accepted is good enough

        async with a2alinker.join("member", identity=path) as member:
            message = await next_message(member)
            assert (message.body, message.maybe_repeated, message.sender.name) == ("while you were out", True, "host")


async def _until_accepted(receipt: a2alinker.Receipt) -> AsyncIterator[str]:
    async with asyncio.timeout(10):
        async for state in receipt:
            yield state
            if state == "accepted":
                return


async def test_what_was_accepted_is_delivered_when_its_receiver_is_back(tmp_path: Path) -> None:
    path = tmp_path / "member"
    async with a2alinker.host("host") as host:
        member = await a2alinker.join("member", await host.invite(kind="ticket", local=True), identity=path)
        peer = await host.wait_for(name="member", timeout=10)
        await member.close()
        await until(lambda: not peer.linked)
        receipts = [await host.send(peer, number) for number in range(100)]
        await until(lambda: all(receipt.state == "accepted" for receipt in receipts))
        async with a2alinker.join("member", identity=path) as member:
            bodies = [(await next_message(member)).body for _ in range(100)]
            assert bodies == list(range(100))
            await asyncio.gather(*(receipt.delivered() for receipt in receipts))


async def test_a_link_that_breaks_goes_on_and_says_so() -> None:
    async with Switchboard() as switchboard:
        way = Way(urlsplit(switchboard.url).port or 0)
        server = await asyncio.start_server(way, "127.0.0.1", 0)
        port = server.sockets[0].getsockname()[1]
        async with (
            server,
            a2alinker.host("host", switchboard=switchboard) as host,
            a2alinker.join("worker", await host.invite(kind="ticket", local=True), switchboard=f"wss://127.0.0.1:{port}") as worker,
        ):
            peer = await host.wait_for(name="worker", timeout=10)
            events = worker.events()
            sent = [await host.send(peer, number) for number in range(200)]
            way.cut()
            seen: list[Any] = []
            async with asyncio.timeout(20):
                while not any(isinstance(event, LinkUp) for event in seen):
                    seen.append(await anext(events))
            assert isinstance(seen[0], LinkDown)
            assert [event.resumed for event in seen if isinstance(event, LinkUp)] == [True]
            assert [(await next_message(worker)).body for _ in range(200)] == list(range(200))
            await asyncio.gather(*(receipt.delivered() for receipt in sent))
            health = worker.health()
            assert (health["reconnects"], health["resumed"]) == (1, 1)
            assert peer.linked, "nobody else need notice"


async def test_one_that_was_replaced_is_told_before_it_ends(tmp_path: Path) -> None:
    path = tmp_path / "member"
    async with a2alinker.host("host") as host:
        older = await a2alinker.join("member", await host.invite(kind="ticket", local=True), identity=path)
        events = older.events()
        async with a2alinker.join("member", identity=path):
            with pytest.raises(LinkReplaced):
                async with asyncio.timeout(10):
                    await older.serve_forever()
            assert [event async for event in events][-1] == Replaced()
        await older.close()


async def test_health_tells_of_the_link_and_of_what_waits(tmp_path: Path) -> None:
    async with a2alinker.host("host") as host:
        member = await a2alinker.join("member", await host.invite(kind="ticket", local=True), identity=tmp_path / "member")
        peer = await host.wait_for(name="member", timeout=10)
        health = host.health()
        assert 0 < health["rtt"] < 5
        assert abs(health["clock_skew"]) < 1, "it is the same machine"
        assert (health["reconnects"], health["resumed"]) == (0, 0)
        assert health["queued"]["normal"] == (0, 0)
        await member.close()
        await until(lambda: not peer.linked)
        large = await host.send(peer, b"x" * 20_000, priority="bulk")  # too large to wait anywhere else
        await until(lambda: host.health()["queued"]["bulk"][0] == 1)
        assert host.health()["queued"]["bulk"][1] > 20_000
        await until(lambda: large.state == "unknown")
        small = await host.send(peer, "x")
        await until(lambda: small.state == "accepted")
        assert host.health()["unconfirmed"] == 1
        with pytest.raises(a2alinker.Undelivered) as undelivered:
            await host.close(timeout=0.2)
        assert len(undelivered.value.receipts) == 1
