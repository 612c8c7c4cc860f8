"""The switchboard is blind: what agents say is neither in the bytes that cross its sockets nor in its memory.

Agents in processes of their own exchange planted words over TLS, in every way there is: names, skills, bodies, headers, arguments,
refusals. Each search has a control: a word that really leaks, by the same way, which the same search has to find.
"""

import asyncio
import base64
import json
import secrets
import ssl
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass
from io import FileIO
from pathlib import Path
from urllib.parse import urlsplit

import pytest

from a2alinker._processes import python, switchboard
from a2alinker.demo.evidence import Searcher
from a2alinker.demo.tap import Recording, Tap

AGENTS = Path(__file__).with_name("planted_agents.py")
PLANTED = (
    *("host", "guest", "skill", "description", "tag"),
    *("message", "header", "header value", "urgent", "large", "key", "request", "answer", "refused", "reason"),
    *("argument", "named", "partial"),
)
LARGE = 300_000  # bytes that the large message alone puts on the wire
PATIENCE = 60.0  # seconds for the whole exchange; it takes a few on a busy machine
LEAK_SEEN = 4.0  # seconds until a leak must be in memory; the switchboard waits 5 for the rest of a request


@dataclass
class Exchange:
    """What there is to search, after the agents have said everything and before they end."""

    words: dict[str, str]
    ticket: str
    leaked: str
    wire: list[Recording]
    leaky_wire: list[Recording]
    memory: list[bytes]  # empty where it may not be read
    agent_memory: list[bytes]
    leaky_memory: list[bytes]


def test_nothing_that_agents_say_crosses_the_sockets(exchange: Exchange) -> None:
    assert sum(len(recording.to_switchboard) for recording in exchange.wire) > LARGE
    assert Searcher({"said": exchange.words.values()}).search(exchange.wire).hits == ()


def test_nothing_that_agents_say_is_in_the_memory_of_the_switchboard(exchange: Exchange) -> None:
    needs_memory(exchange)
    searcher = Searcher({"said": exchange.words.values()})

    assert set().union(*map(searcher.find, exchange.memory)) == set()


def test_the_secret_of_a_ticket_is_in_neither(exchange: Exchange) -> None:
    needs_memory(exchange)
    text = exchange.ticket.removeprefix("a2alt_").upper()
    secret = base64.b32decode(text + "=" * (-len(text) % 8))[2:34]

    everything = [*exchange.memory, *(bytes(recording.to_switchboard) for recording in exchange.wire)]

    assert not any(secret in part or exchange.ticket.encode() in part for part in everything)


def test_the_search_finds_the_words_in_the_memory_of_an_agent(exchange: Exchange) -> None:
    needs_memory(exchange)
    searcher = Searcher({"said": exchange.words.values()})

    found = set().union(*map(searcher.find, exchange.agent_memory))

    assert {name for name, _ in found} == set(exchange.words.values())


def test_the_search_finds_a_word_that_leaks_on_the_wire(exchange: Exchange) -> None:
    assert Searcher({"leaked": [exchange.leaked]}).search(exchange.leaky_wire).found == {exchange.leaked}


def test_the_search_finds_a_word_that_leaks_inside_tls_in_memory(exchange: Exchange) -> None:
    needs_memory(exchange)
    searcher = Searcher({"leaked": [exchange.leaked]})

    assert set().union(*map(searcher.find, exchange.leaky_memory)) == {(exchange.leaked, "UTF-8")}
    assert Searcher({"leaked": [exchange.leaked]}).search(exchange.leaky_wire[:1]).hits == ()  # TLS hid it on the wire


@pytest.fixture(scope="module")
def exchange() -> Exchange:
    return asyncio.run(play())


def needs_memory(exchange: Exchange) -> None:
    if not exchange.memory:
        pytest.skip("the memory of another process may not be read here")


async def play() -> Exchange:
    """Lets the agents say everything, and collects what the switchboard had of it; then leaks a word in two ways."""
    words = {what: f"{what.replace(' ', '-')}-{secrets.token_hex(8)}" for what in PLANTED}
    leaked = f"leaked-{secrets.token_hex(8)}"
    async with asyncio.timeout(PATIENCE), switchboard() as (address, process):
        where = urlsplit(address)
        assert (where.scheme, where.port is not None) == ("wss", True)
        async with Tap("127.0.0.1", where.port or 0) as tap:
            async with agent("host", words, f"wss://127.0.0.1:{tap.port}#{where.fragment}") as host:
                ticket = await line_of(host)
                async with agent("join", words, ticket):
                    assert await line_of(host) == "done"
                    memory, agent_memory = memory_of(process.pid), memory_of(host.pid)
            wire = list(tap.recordings)
            leaky_memory = await leak_inside_tls(leaked, tap.port, process.pid)
            await leak_on_the_wire(leaked, tap.port)
            return Exchange(words, ticket, leaked, wire, tap.recordings[len(wire) :], memory, agent_memory, leaky_memory)


@asynccontextmanager
async def agent(role: str, words: dict[str, str], address: str) -> AsyncIterator[asyncio.subprocess.Process]:
    async with python(str(AGENTS), role) as process:
        assert process.stdin is not None
        process.stdin.write(json.dumps({"words": words, "address": address}).encode() + b"\n")
        yield process


async def line_of(process: asyncio.subprocess.Process) -> str:
    assert process.stdout is not None
    return (await process.stdout.readline()).decode().strip()


def memory_of(pid: int) -> list[bytes]:
    """The readable regions of a process's memory; none if this user may not read it, or the system has no such files."""
    try:
        regions = Path(f"/proc/{pid}/maps").read_text().splitlines()
        with Path(f"/proc/{pid}/mem").open("rb", buffering=0) as memory:
            return list(readable(memory, regions))
    except (PermissionError, FileNotFoundError):
        return []


def readable(memory: FileIO, regions: list[str]) -> Iterator[bytes]:
    for region in regions:
        addresses, permissions, *_ = region.split()
        begin, end = (int(address, 16) for address in addresses.split("-"))
        if permissions.startswith("r"):
            with suppress(OSError, OverflowError):  # pages of the kernel, which belong to no process
                memory.seek(begin)
                yield memory.read(end - begin)


async def leak_inside_tls(word: str, port: int, pid: int) -> list[bytes]:
    """Sends the word as part of a request that doesn't end, so that the switchboard holds what it has decrypted, and reads its memory."""
    anyone = ssl.create_default_context()
    anyone.check_hostname, anyone.verify_mode = False, ssl.CERT_NONE
    _, writer = await asyncio.open_connection("127.0.0.1", port, ssl=anyone)
    writer.write(f"GET / HTTP/1.1\r\nX-Leak: {word}\r\n".encode())
    await writer.drain()
    searcher, deadline = Searcher({"leaked": [word]}), time.monotonic() + LEAK_SEEN
    while True:
        await asyncio.sleep(0.05)  # the tap runs on this loop
        memory = memory_of(pid)
        if any(map(searcher.find, memory)) or time.monotonic() > deadline:
            writer.transport.abort()
            return memory


async def leak_on_the_wire(word: str, port: int) -> None:
    """Sends the word without TLS."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    writer.write(word.encode())
    await writer.drain()
    writer.write_eof()
    await reader.read()
    writer.close()
