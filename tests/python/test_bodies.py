"""Large bodies: files, streams and bytes beyond one message, from one agent into the hands of another."""

import asyncio
import contextlib
import errno
import gc
import os
import random
from collections.abc import AsyncIterator, Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

import a2alinker
from a2alinker import (
    AgentClosed,
    AlreadyConsumed,
    BodyError,
    BodyLost,
    BodyNotSaved,
    BodyProgress,
    BodySourceFailed,
    BodyTooLarge,
    File,
    IncomingBody,
    Refused,
    Undelivered,
    bodies,
)
from swarms import next_message, pair, swarm, until

MIB = 1 << 20
DATA = random.Random(7).randbytes(3 * MIB + 12_345)


async def stream(data: bytes, size: int) -> AsyncIterator[bytes]:
    for at in range(0, len(data), size):
        yield data[at : at + size]


def blocks(data: bytes, size: int) -> Iterator[bytes]:
    for at in range(0, len(data), size):
        yield data[at : at + size]


@pytest.fixture
def path(tmp_path: Path) -> Path:
    path = tmp_path / "report.bin"
    path.write_bytes(DATA)
    return path


async def next_body(agent: a2alinker.Agent) -> IncomingBody:
    body = (await next_message(agent)).body
    assert isinstance(body, IncomingBody)
    return body


@pytest.mark.parametrize(
    ("make", "name", "length"),
    [
        (lambda _: DATA, None, len(DATA)),
        (lambda _: bytearray(DATA), None, len(DATA)),
        (lambda _: memoryview(DATA), None, len(DATA)),
        (File, "report.bin", len(DATA)),
        (lambda path: File(str(path), name="other.txt"), "other.txt", len(DATA)),
        (lambda _: stream(DATA, 100_000), None, None),
        (lambda _: stream(DATA, len(DATA)), None, None),
        (lambda _: blocks(DATA, 70_001), None, None),
        (lambda path: path.open("rb"), None, None),
    ],
    ids=["bytes", "bytearray", "memoryview", "file", "named", "stream", "one-block", "iterator", "open-file"],
)
async def test_a_large_body_arrives_as_it_was(make: Callable[[Path], Any], name: str | None, length: int | None, path: Path) -> None:
    async with pair() as (host, worker):
        source = make(path)
        receipt = await host.send(worker.name, source)
        body = await next_body(worker)
        assert (body.name, body.length) == (name, length)
        assert await body.read() == DATA
        await receipt.delivered()
        assert receipt.progress == (len(DATA), len(DATA))
        assert body.received == len(DATA)
        if hasattr(source, "close"):
            source.close()


@pytest.mark.parametrize("size", [0, 1, 70_000])
async def test_small_files_are_bodies_too(size: int, tmp_path: Path) -> None:
    (tmp_path / "small").write_bytes(DATA[:size])
    async with pair() as (host, worker):
        receipt = await host.send(worker.name, File(tmp_path / "small"), until="done")
        body = await next_body(worker)
        saved = await body.save(tmp_path / "copy")
        assert saved.read_bytes() == DATA[:size]
        waiting = asyncio.ensure_future(next_message(worker))
        await receipt.done()
        waiting.cancel()


async def test_a_body_goes_to_several_and_a_stream_to_one(path: Path) -> None:
    async with swarm((), ()) as (host, one, two):
        receipt = await host.send([one.name, two.name], File(path))
        for worker in (one, two):
            assert await (await next_body(worker)).read() == DATA
        await receipt.delivered()
        with pytest.raises(BodyError, match="one receiver"):
            await host.send([one.name, two.name], stream(DATA, 1_000))


async def test_a_message_is_answered_with_a_file(path: Path) -> None:
    async with pair() as (host, worker):
        await host.send(worker.name, "send me the report")
        await (await next_message(worker)).reply(File(path))
        assert await (await next_body(host)).read() == DATA


async def test_blocks_come_while_the_stream_goes_on() -> None:
    more = asyncio.Event()

    async def slowly() -> AsyncIterator[bytes]:
        yield b"first"
        await more.wait()
        yield b"second"

    async with pair() as (host, worker):
        await host.send(worker.name, slowly())
        blocks = aiter(await next_body(worker))
        assert await anext(blocks) == b"first"
        more.set()
        assert await anext(blocks) == b"second"
        with pytest.raises(StopAsyncIteration):
            await anext(blocks)


async def test_what_is_urgent_passes_a_body_that_nobody_reads(path: Path) -> None:
    async with pair() as (host, worker):
        await host.send(worker.name, File(path))
        held = await next_message(worker)
        other = await host.send(worker.name, DATA)
        receipt = await host.send(worker.name, "quick", priority="urgent")
        await receipt.delivered()
        await next_message(worker)
        second = await next_body(worker)
        assert await second.read() == DATA, "the body behind it is read first"
        await other.delivered()
        assert await held.body.read() == DATA


async def test_progress_shows_at_both_ends(path: Path) -> None:
    async with pair() as (host, worker):
        seen: dict[str, list[BodyProgress]] = {"out": [], "in": []}

        async def watch(agent: a2alinker.Agent) -> None:
            async for event in agent.events():
                if isinstance(event, BodyProgress):
                    seen[event.direction].append(event)

        watching = [asyncio.ensure_future(watch(agent)) for agent in (host, worker)]
        receipt = await host.send(worker.name, File(path))
        body = await next_body(worker)

        async def read_slowly() -> None:
            async for _ in body:
                await asyncio.sleep(0.05)

        reading = asyncio.ensure_future(read_slowly())
        steps = [(state, receipt.progress) async for state in receipt]
        await reading
        await until(lambda: bool(seen["in"] and seen["in"][-1].bytes == len(DATA)))
        assert steps[-1] == ("delivered", (len(DATA), len(DATA)))
        assert [step for _, step in steps] == sorted(step for _, step in steps if step is not None)
        for direction, peer in (("out", worker), ("in", host)):
            last = seen[direction][-1]
            assert (last.name, last.bytes, last.total) == ("report.bin", len(DATA), len(DATA))
            assert last.peer is not None
            assert last.peer.name == peer.name
            assert last.message_id == receipt.message_id
        assert all(task.cancel() for task in watching)


# -- saving --


@pytest.mark.parametrize(
    ("given", "safe"),
    [
        ("report.pdf", "report.pdf"),
        ("../../etc/passwd", "passwd"),
        ("C:\\Windows\\system.ini", "system.ini"),
        ("/", "body"),
        ("", "body"),
        (None, "body"),
        ("..", "body"),
        (".bashrc", "bashrc"),
        ("a\x00b\nc", "a_b_c"),
        ("invoice\u202efdp.exe", "invoice_fdp.exe"),
        ("con.txt", "_con.txt"),
        ("x. ", "x"),
        ("ü" * 300 + ".pdf", "ü" * 91 + ".pdf"),
        ("what?*", "what_"),
    ],
)
def test_a_name_from_a_stranger_is_made_safe(given: str | None, safe: str) -> None:
    assert bodies.safe_name(given) == safe


async def test_a_file_is_saved_under_its_name_or_one_that_is_free(path: Path, tmp_path: Path) -> None:
    folder = tmp_path / "downloads"
    folder.mkdir()
    async with pair() as (host, worker):
        for expected in ("report.bin", "report-2.bin", "report-3.bin"):
            await host.send(worker.name, File(path, name="../report.bin"))
            saved = await (await next_body(worker)).save(folder)
            assert saved == folder / expected
            assert saved.read_bytes() == DATA
        assert len(list(folder.iterdir())) == 3, "no temporary file is left"


async def test_a_file_that_is_there_is_overwritten_only_when_told(path: Path, tmp_path: Path) -> None:
    there = tmp_path / "there"
    there.write_text("precious")
    async with pair() as (host, worker):
        await host.send(worker.name, File(path))
        body = await next_body(worker)
        for wrong in (there, tmp_path / "no such folder" / "file"):
            with pytest.raises(BodyNotSaved) as caught:
                await body.save(wrong)
            assert caught.value.path == str(wrong)
        assert there.read_text() == "precious"
        await body.save(there, overwrite=True)
        assert there.read_bytes() == DATA


async def test_a_full_disk_is_an_error_at_both_ends(path: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = tmp_path / "full"
    folder.mkdir()
    async with pair() as (host, worker):
        receipt = await host.send(worker.name, File(path), until="done")
        body = await next_body(worker)

        def write(self: object, block: bytes) -> None:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

        monkeypatch.setattr(bodies.Target, "write", write)
        with pytest.raises(BodyNotSaved, match="No space left"):
            await body.save(folder)
        with pytest.raises(Refused, match="could not save"):
            await receipt.done()
        assert not list(folder.iterdir())


async def test_a_save_that_is_cancelled_leaves_nothing(path: Path, tmp_path: Path) -> None:
    folder = tmp_path / "downloads"
    folder.mkdir()

    async def endless() -> AsyncIterator[bytes]:
        while True:
            yield bytes(10_000)
            await asyncio.sleep(0.001)

    async with pair() as (host, worker):
        receipt = await host.send(worker.name, endless())
        saving = asyncio.ensure_future((await next_body(worker)).save(folder))
        await until(lambda: bool(list(folder.iterdir())))
        saving.cancel()
        with pytest.raises(asyncio.CancelledError):
            await saving
        with pytest.raises(Refused):
            await receipt.delivered()
        assert not list(folder.iterdir())


# -- what goes wrong --


async def test_a_reader_with_less_room_refuses_the_body(path: Path) -> None:
    async with pair() as (host, worker):
        for source in (File(path), stream(DATA, 50_000)):
            receipt = await host.send(worker.name, source, until="done")
            with pytest.raises(BodyTooLarge) as caught:
                await (await next_body(worker)).read(limit=MIB)
            assert caught.value.limit == MIB
            with pytest.raises(Refused, match="at most"):
                await receipt.done()


async def test_a_body_that_is_dropped_is_refused_and_its_source_closed() -> None:
    closed = asyncio.Event()

    async def endless() -> AsyncIterator[bytes]:
        try:
            while True:
                yield bytes(50_000)
        finally:
            closed.set()

    async with pair() as (host, worker):
        receipt = await host.send(worker.name, endless())
        await _until_it_comes(await next_message(worker))
        waiting = asyncio.ensure_future(next_message(worker))
        await asyncio.sleep(0)
        gc.collect()
        await until(lambda: receipt.state == "refused")
        assert "unread" in receipt.reason
        await asyncio.wait_for(closed.wait(), 5)
        waiting.cancel()


async def test_a_body_is_refused_with_a_reason(path: Path) -> None:
    async with pair() as (host, worker):
        receipt = await host.send(worker.name, File(path), until="done")
        message = await next_message(worker)
        await message.refuse("not that one")
        with pytest.raises(Refused, match="not that one"):
            await receipt.done()
        with pytest.raises(BodyLost):
            await message.body.read()


@pytest.mark.parametrize("bad", [ValueError("no luck"), "text", 7], ids=["raises", "text", "number"])
async def test_a_source_that_fails_is_an_error_at_both_ends(bad: Any) -> None:
    async def failing() -> AsyncIterator[Any]:
        yield bytes(200_000)
        if isinstance(bad, Exception):
            raise bad
        yield bad

    async with pair() as (host, worker):
        receipt = await host.send(worker.name, failing())
        with pytest.raises(BodyLost, match="source failed"):
            await (await next_body(worker)).read()
        with pytest.raises(BodySourceFailed if isinstance(bad, Exception) else BodyError) as caught:
            await receipt.delivered()
        assert caught.value.__cause__ is (bad if isinstance(bad, Exception) else None)
        assert receipt.state == "failed"


async def test_a_file_that_shrinks_while_it_is_sent_is_an_error(path: Path) -> None:
    async with pair() as (host, worker):
        receipt = await host.send(worker.name, File(path))
        os.truncate(path, 1_000)
        with pytest.raises(BodyLost):
            await (await next_body(worker)).read()
        with pytest.raises(BodySourceFailed, match="by this time"):
            await receipt.delivered()


@pytest.mark.parametrize("make", [lambda folder: folder, lambda folder: folder / "missing", lambda folder: Path("/dev/null")])
async def test_what_is_no_file_is_refused_at_send(make: Callable[[Path], Path], tmp_path: Path) -> None:
    async with pair() as (host, worker):
        with pytest.raises(BodyError):
            await host.send(worker.name, File(make(tmp_path)))
        with pytest.raises(BodyError):
            host.send_nowait(worker.name, File(make(tmp_path)))


async def test_only_plain_messages_are_large() -> None:
    async with pair() as (host, worker):
        for body in (bytes(2 * MIB), stream(DATA, 1_000), "x" * 2 * MIB, [bytes(2 * MIB)]):
            with pytest.raises(BodyError):
                host.request(worker.name, body)
        for body in ("x" * 2 * MIB, [bytes(2 * MIB)]):
            with pytest.raises(BodyError, match="larger than"):
                await host.send(worker.name, body)


async def test_a_body_is_read_once(path: Path) -> None:
    async with pair() as (host, worker):
        await host.send(worker.name, File(path))
        body = await next_body(worker)
        first = asyncio.ensure_future(body.read())
        await asyncio.sleep(0)
        with pytest.raises(AlreadyConsumed):
            await body.read()
        assert await first == DATA
        with pytest.raises(AlreadyConsumed):
            await body.read()
        assert repr(body) == f"<IncomingBody 'report.bin' {len(DATA)} bytes, {len(DATA)} received>"
        assert "report.bin" in body._repr_html_()


async def test_closing_waits_until_a_body_is_delivered(path: Path) -> None:
    async with pair() as (host, worker):
        receipt = await host.send(worker.name, File(path))

        async def read() -> bytes:
            return await (await next_body(worker)).read()

        reading = asyncio.ensure_future(read())
        await host.close()
        assert receipt.state == "delivered"
        assert await reading == DATA


async def test_closing_in_the_middle_ends_the_body_at_both_ends() -> None:
    async def endless() -> AsyncIterator[bytes]:
        while True:
            yield bytes(10_000)
            await asyncio.sleep(0.01)

    async with pair() as (host, worker):
        receipt = await host.send(worker.name, endless())
        body = await next_body(worker)
        with contextlib.suppress(Undelivered):
            await host.close(timeout=0.2)
        with pytest.raises(BodyLost):
            await body.read()
        with pytest.raises(AgentClosed):
            await receipt.delivered()


async def test_a_reader_whose_agent_closes_hears_of_it() -> None:
    async def stuck() -> AsyncIterator[bytes]:
        yield b"x"
        await asyncio.sleep(3_600)

    async with pair() as (host, worker):
        await host.send(worker.name, stuck())
        reading = asyncio.ensure_future((await next_body(worker)).read())
        await asyncio.sleep(0.1)
        await worker.close()
        with pytest.raises(AgentClosed):
            await reading
        with contextlib.suppress(Undelivered):
            await host.close(timeout=0.1)


async def _until_it_comes(message: a2alinker.Message) -> None:
    await until(lambda: message.body.received > 0)
