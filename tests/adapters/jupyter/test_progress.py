"""Bars for what takes long."""

import asyncio
import contextlib
import sys
from collections.abc import AsyncIterator, Generator, Iterator
from typing import Any

import pytest

import a2alinker
from a2alinker import sync
from a2alinker.adapters.jupyter import progress
from frameworks.kernels import Kernel

LIMIT = 20.0  # seconds for what takes a moment
MIB = 1 << 20


class Bars:
    """The bars that were shown. There are none without tqdm, and what is given through is the same."""

    def __init__(self, there: bool) -> None:
        self.there = there
        self.shown: list[Any] = []

    def check(self, *expected: dict[str, Any]) -> None:
        told = [{name: getattr(bar, name) for name in wanted} for bar, wanted in zip(self.shown, expected, strict=self.there)]
        assert told == (list(expected) if self.there else [])


@pytest.fixture(params=["tqdm", "no tqdm"])
def bars(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Bars:
    bars = Bars(request.param == "tqdm")
    if not bars.there:
        monkeypatch.setitem(sys.modules, "tqdm", None)
        monkeypatch.setitem(sys.modules, "tqdm.auto", None)
        return bars
    import tqdm.auto

    class Bar(tqdm.auto.tqdm):  # type: ignore[misc, unused-ignore]
        def __init__(self, **options: Any) -> None:
            super().__init__(**options)
            bars.shown.append(self)

    monkeypatch.setattr(tqdm.auto, "tqdm", Bar)
    return bars


class Source:
    """What can be closed, and isn't when nobody holds it."""

    closed = 0

    def __iter__(self) -> "Source":
        return self

    def __next__(self) -> int:
        return 1

    def close(self) -> None:
        self.closed += 1

    async def asynchronous(self) -> AsyncIterator[int]:
        try:
            yield 1
        finally:
            self.close()


def count(to: int) -> Generator[int, None, str]:
    yield from range(to)
    return "done"


def double(number: int) -> int:
    return 2 * number


@pytest.fixture
def worker(desk: sync.Agent) -> Iterator[sync.Agent]:
    with sync.join("worker", desk.invite(kind="ticket", local=True), skills=[count, double]) as worker:
        desk.wait_for(skill="count", timeout=LIMIT)
        worker.wait_for(name="desk", timeout=LIMIT)
        yield worker


def test_partial_answers_of_a_call(bars: Bars, desk: sync.Agent, worker: sync.Agent) -> None:
    call = desk.call.submit("count", 3)

    assert list(progress(call, total=3)) == [0, 1, 2]

    assert call.result(LIMIT) == "done"
    bars.check({"n": 3, "total": 3, "desc": "count", "disable": True})  # a bar that was closed is disabled


def test_answers_of_map(bars: Bars, desk: sync.Agent, worker: sync.Agent) -> None:
    answers = progress(desk.remote("double").map(range(5), ordered=True), total=5, description="doubling")

    assert list(answers) == [0, 2, 4, 6, 8]

    bars.check({"n": 5, "desc": "doubling"})


def test_any_iterable(bars: Bars) -> None:
    assert list(progress(["a", "b"])) == ["a", "b"]

    bars.check({"n": 2, "total": 2})


def test_bytes_of_a_large_body_on_both_sides(bars: Bars, desk: sync.Agent, worker: sync.Agent) -> None:
    body = bytes(range(256)) * (3 * MIB // 256)
    receipt = desk.send("worker", body)

    incoming = worker.receive(timeout=LIMIT).body
    assert b"".join(progress(incoming)) == body

    assert list(progress(receipt))[-1] == "delivered"
    bars.check(*[{"n": 3 * MIB, "total": 3 * MIB, "unit": "B"}] * 2)


def test_states_of_a_small_message(bars: Bars, desk: sync.Agent, worker: sync.Agent) -> None:
    receipt = desk.send("worker", "hello")

    assert list(progress(receipt))[-1] == "delivered"

    bars.check({"unit": "it", "total": None})


def test_everything_can_be_awaited_as_well(bars: Bars) -> None:
    asyncio.run(_awaited())

    bars.check({"n": 3}, {"n": 4}, {"n": 2 * MIB}, {"n": 2 * MIB})


async def _awaited() -> None:
    async with a2alinker.host("desk") as desk:
        invite = await desk.invite(kind="ticket", local=True)
        async with a2alinker.join("worker", invite, skills=[count, double]) as worker:
            await desk.wait_for(skill="count", timeout=LIMIT)
            call = desk.call("count", 3)
            assert [part async for part in progress(call)] == [0, 1, 2]
            assert await call == "done"
            assert sorted([answer async for answer in progress(desk.remote("double").map(range(4)))]) == [0, 2, 4, 6]
            receipt = await desk.send("worker", bytes(2 * MIB))
            async for message in worker:
                assert b"".join([block async for block in progress(message.body)]) == bytes(2 * MIB)
                break
            assert [state async for state in progress(receipt)][-1] == "delivered"
            await receipt.delivered()


def test_what_fails_fails_as_without_a_bar(bars: Bars, desk: sync.Agent, worker: sync.Agent) -> None:
    def breaks() -> Iterator[int]:
        yield 1
        raise KeyError("lost")

    worker.skill(breaks)
    desk.wait_for(skill="breaks", timeout=LIMIT)
    call = desk.call.submit("breaks")

    with pytest.raises(a2alinker.RemoteError, match="lost"):
        list(progress(call))
    bars.check({"n": 1, "disable": True})


def test_leaving_the_loop_early_closes_what_it_reads_from(bars: Bars) -> None:
    source = Source()

    for item in (items := progress(source)):
        assert item == 1
        break
    items.close()
    asyncio.run(_leave(source))

    assert source.closed == 2
    bars.check(*[{"n": 1, "disable": True}] * 2)


async def _leave(source: Source) -> None:
    async with contextlib.aclosing(progress(source.asynchronous())) as items:
        assert await anext(items) == 1
    assert source.closed == 2, "at once"


def test_a_bar_in_a_notebook_shows_no_foreign_markup(kernel: Kernel, desk: sync.Agent) -> None:
    kernel.run("agent = sync.join('worker')")
    desk.wait_for(name="worker", timeout=LIMIT)
    desk.send("worker", a2alinker.File(__file__, "<script>alert(1)</script>.bin"))
    kernel.run("body = agent.receive(timeout=20).body")

    outcome = kernel.run("blocks = list(progress(body))")

    assert "script" in str(outcome) + str(kernel.updates(0.3)), "the bar has the file's name"
    assert "<script>" not in str(outcome)
    assert "Warning" not in outcome.errors
