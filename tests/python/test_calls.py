"""Calls: answers, partial answers, cancellation, limits, and everything that can end one without an answer."""

import asyncio
import gc
import time
from collections.abc import AsyncIterator, Generator
from dataclasses import dataclass
from typing import Any

import pytest

import a2alinker
from a2alinker import (
    BadAnswer,
    BadArguments,
    CallCancelled,
    CallError,
    CallLapsed,
    CallRefused,
    CallTimeout,
    ConfigurationError,
    Context,
    PartialAnswersLost,
    PeerBusy,
    PeerGone,
    RemoteError,
    SkillUnknown,
    StreamRestarted,
    TooDeep,
)
from swarms import next_message, pair, swarm, until


@a2alinker.skill(concurrency=64)
async def echo(value: Any) -> Any:
    """Gives back what it gets."""
    return value


@a2alinker.skill(concurrency=64)
async def sleep(seconds: float) -> str:
    await asyncio.sleep(seconds)
    return "slept"


@a2alinker.skill
async def count(to: int) -> AsyncIterator[int]:
    for number in range(to):
        yield number


@a2alinker.skill
def count_in_thread(to: int) -> Generator[int, None, str]:
    yield from range(to)
    return "counted"


@a2alinker.skill
def double(number: int) -> int:
    return 2 * number


@a2alinker.skill
async def report(context: Context, steps: int) -> str:
    for step in range(steps):
        await context.progress({"step": step})
    return f"{context.peer.name} {context.skill} {context.attempt} {context.cancelled}"


@a2alinker.skill
def report_in_thread(steps: int, *, context: Context) -> str:
    for step in range(steps):
        context.progress(step)
    return context.agent.name


@a2alinker.skill
async def fail(text: str) -> None:
    raise LookupError(text)


@a2alinker.skill
async def refuse(reason: str) -> None:
    raise CallRefused(reason, retry_after=1.5)


@a2alinker.skill
async def unsendable() -> object:
    return object()


@a2alinker.skill(timeout=0.1)
async def limited() -> None:
    await asyncio.sleep(60)


SKILLS: list[a2alinker.Skill[..., Any]] = [
    echo,
    sleep,
    count,
    count_in_thread,
    double,
    report,
    report_in_thread,
    fail,
    refuse,
    unsendable,
    limited,
]


async def test_a_call_gives_the_answer() -> None:
    async with pair(SKILLS) as (host, worker):
        assert await host.call("echo", {"a": [1]}) == {"a": [1]}
        assert await host.call("double", number=4, to=worker.name) == 8
        call = host.call("echo", 1)
        assert await call == 1
        assert await call == 1, "an answer stays"
        assert (call.done(), call.cancel()) == (True, False)
        assert call.peer == host.peers[worker.id]
        assert call.attempt == 1


async def test_sixty_four_calls_at_a_time_all_get_their_own_answer() -> None:
    async with pair(SKILLS) as (host, _):
        assert await asyncio.gather(*(host.call("echo", n) for n in range(64))) == list(range(64))


@pytest.mark.parametrize(("skill", "answer"), [("count", None), ("count_in_thread", "counted")])
async def test_generators_stream_partial_answers(skill: str, answer: Any) -> None:
    async with pair(SKILLS) as (host, _):
        call = host.call(skill, 100)
        assert [part async for part in call] == list(range(100))
        assert await call == answer


async def test_a_call_that_is_cancelled_before_its_handler_began_leaves_nothing() -> None:
    for skill in (sleep, double):
        async with pair([skill]) as (host, worker):
            for _ in range(50):
                host.call(skill.name, 1).cancel()
            await host.call(skill.name, 0)
            await until(lambda: worker.health()["requests"] == worker.health()["handlers"] == 0)


async def test_a_skill_answers_by_returning() -> None:
    @a2alinker.skill
    async def confused(context: Context) -> None:
        await context.message.reply("no")

    async with pair([confused]) as (host, _):
        with pytest.raises(RemoteError, match="returning"):
            await host.call("confused")


async def test_a_function_that_raises_stop_iteration_is_an_error_like_others() -> None:
    @a2alinker.skill
    def first(items: list[int]) -> int:
        return next(iter(items))

    async with pair([first]) as (host, _):
        assert await host.call("first", [1]) == 1
        with pytest.raises(RemoteError, match="StopIteration"):
            await host.call("first", [])


async def test_progress_comes_before_the_answer() -> None:
    async with pair(SKILLS) as (host, worker):
        call = host.call("report", 3)
        assert [part async for part in call] == [{"step": 0}, {"step": 1}, {"step": 2}]
        assert await call == "host report 1 False"
        call = host.call("report_in_thread", 3)
        assert [part async for part in call] == [0, 1, 2]
        assert await call == worker.name


async def test_partial_answers_that_nobody_reads_do_no_harm() -> None:
    async with pair(SKILLS) as (host, _):
        assert await host.call("report", 10) == "host report 1 False"


async def test_partial_answers_are_bounded() -> None:
    @a2alinker.skill
    async def flood(parts: int) -> AsyncIterator[bytes]:
        for _ in range(parts):
            yield b"x" * 100_000

    async with pair([flood]) as (host, _):
        call = host.call("flood", 100)
        assert await call is None
        with pytest.raises(PartialAnswersLost) as caught:
            async for _ in call:
                pass
        assert caught.value.limit == 4 << 20
        assert [len(part) async for part in host.call("flood", 100)] == [100_000] * 100, "a reader that keeps up gets everything"


@pytest.mark.parametrize("skill", ["report", "report_in_thread", "count", "count_in_thread"])
async def test_a_full_outbox_slows_a_handler_and_loses_nothing(skill: str) -> None:
    async with a2alinker.host("host") as host:
        invite = await host.invite(kind="ticket", local=True)
        async with a2alinker.join("worker", invite, skills=SKILLS, outbox_messages=3):
            await host.wait_for(skill=skill, timeout=10)
            call = host.call(skill, 200)
            assert len([part async for part in call]) == 200
            await call


async def test_a_handler_that_shows_no_progress_in_time_has_lapsed() -> None:
    @a2alinker.skill
    async def steps(context: Context, count: int, pause: float) -> str:
        for step in range(count):
            await asyncio.sleep(pause)
            await context.progress(step)
        return "done"

    async with pair([steps]) as (host, _):
        remote = host.remote("steps", progress_timeout=0.5)
        assert await remote(10, 0.1) == "done", "progress in time keeps it alive, however long it takes"
        with pytest.raises(CallLapsed):
            await remote(1, 60)


async def test_a_call_has_a_receipt_while_it_is_under_way() -> None:
    async with pair(SKILLS) as (host, worker):
        call = host.call("sleep", 60, to=worker.name)
        await until(lambda: worker.health()["handlers"] == 1)
        assert call.receipt is not None
        await call.receipt.delivered()
        assert call.receipt.peer == call.peer == host.peers[worker.id]
        call.cancel()


async def test_a_second_reader_of_partial_answers_is_an_error() -> None:
    async with pair(SKILLS) as (host, _):
        call = host.call("sleep", 0.2)
        reader = asyncio.create_task(anext(aiter(call), None))
        await asyncio.sleep(0)
        with pytest.raises(a2alinker.AlreadyConsumed):
            await anext(aiter(call))
        assert await reader is None


@pytest.mark.parametrize(
    ("skill", "args", "error", "text"),
    [
        ("fail", ["no such thing"], RemoteError, "LookupError: no such thing"),
        ("refuse", ["not today"], CallRefused, "not today"),
        ("unsendable", [], BadAnswer, "object"),
        ("limited", [], CallLapsed, "0.1 s"),
        ("double", ["four"], BadArguments, "number must be int"),
        ("double", [1, 2], BadArguments, "1 positional"),
        ("double", [], BadArguments, "needs 'number'"),
        ("nothing", [], SkillUnknown, "nothing"),
    ],
)
async def test_each_way_to_fail_has_its_exception(skill: str, args: list[Any], error: type[Exception], text: str) -> None:
    async with pair(SKILLS) as (host, _):
        with pytest.raises(error, match=text) as caught:
            await host.call(skill, *args)
        assert isinstance(caught.value, a2alinker.A2ALinkerError)
        if isinstance(caught.value, RemoteError):
            assert caught.value.type == "LookupError"
        if isinstance(caught.value, CallRefused):
            assert caught.value.retry_after == 1.5


async def test_a_skill_that_a_certain_peer_lacks_is_unknown() -> None:
    async with pair(SKILLS) as (host, worker):
        with pytest.raises(SkillUnknown):
            await host.call("nothing", to=worker.name)
        with pytest.raises(LookupError):
            await worker.call("echo", 1)


async def test_a_call_ends_at_the_callers_limit_and_the_handler_is_cancelled() -> None:
    ended = asyncio.Event()

    @a2alinker.skill
    async def long() -> None:
        try:
            await asyncio.sleep(60)
        finally:
            ended.set()

    async with pair([long]) as (host, _):
        with pytest.raises(CallTimeout):
            await host.call("long", timeout=0.2)
        with pytest.raises(TimeoutError):
            await host.call("long", timeout=0.2)
        async with asyncio.timeout(5):
            await ended.wait()


async def test_cancelling_the_task_that_awaits_cancels_the_handler() -> None:
    started, ended = asyncio.Event(), asyncio.Event()

    @a2alinker.skill
    async def long(context: Context) -> None:
        started.set()
        try:
            await asyncio.sleep(60)
        finally:
            assert context.cancelled
            ended.set()

    async with pair([long]) as (host, worker):
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(0.5):
                await host.call("long")
        async with asyncio.timeout(5):
            await ended.wait()
        await until(lambda: worker.health()["requests"] == 0)

        started.clear()
        ended.clear()
        call = host.call("long")
        waiting = asyncio.ensure_future(call)
        await started.wait()
        assert call.cancel()
        with pytest.raises(CallCancelled):
            await waiting
        assert not call.cancel()
        async with asyncio.timeout(5):
            await ended.wait()


async def test_cancelling_the_reader_of_partial_answers_cancels_the_call() -> None:
    async with pair(SKILLS) as (host, _):
        call = host.call("sleep", 60)
        with pytest.raises(TimeoutError):
            await asyncio.wait_for(all_parts(call), 0.1)
        with pytest.raises(CallCancelled):
            await call


async def all_parts(call: a2alinker.Call[Any]) -> list[Any]:
    return [part async for part in call]


async def test_a_call_that_is_dropped_is_cancelled_with_a_warning() -> None:
    ended = asyncio.Event()

    @a2alinker.skill
    async def long() -> None:
        try:
            await asyncio.sleep(60)
        finally:
            ended.set()

    async with pair([long]) as (host, worker):
        call = host.call("long")
        await until(lambda: worker.health()["handlers"] == 1)
        with pytest.warns(ResourceWarning, match="long"):
            del call
        async with asyncio.timeout(5):
            await ended.wait()


async def test_a_failed_call_that_nobody_asks_for_is_logged(caplog: pytest.LogCaptureFixture) -> None:
    async with pair(SKILLS) as (host, _):
        host.call("sleep", 60).cancel()
        assert "nobody asked" not in caplog.text
        call = host.call("fail", "unseen")
        await until(call.done)
        del call
        assert "nobody asked" in caplog.text


async def test_calls_move_to_another_worker_when_one_closes() -> None:
    started = asyncio.Event()

    @a2alinker.skill(name="work")
    async def first() -> str:
        started.set()
        await asyncio.sleep(60)
        return "first"

    @a2alinker.skill(name="work")
    async def second() -> str:
        return "second"

    async with swarm([first], []) as (host, worker, other):
        call = host.call("work")
        await started.wait()
        other.skill(second)
        await host.wait_for(skill="work")
        await until(lambda: bool(host.peers[other.id].skills))
        await worker.close()
        assert await call == "second"
        assert call.attempt == 2
        assert call.peer == host.peers[other.id]


async def test_a_call_to_one_peer_never_moves() -> None:
    async with swarm([sleep], [sleep]) as (host, worker, _):
        call = host.call("sleep", 60, to=worker.name)
        await until(lambda: worker.health()["handlers"] == 1)
        await worker.close()
        with pytest.raises((PeerGone, PeerBusy)):
            await call


async def test_a_call_waits_for_a_worker_to_come_back_until_its_limit() -> None:
    async with pair(SKILLS) as (host, worker):
        await worker.close()
        began = time.monotonic()
        with pytest.raises((CallTimeout, SkillUnknown)):
            await host.call("echo", 1, timeout=0.3)
        assert time.monotonic() - began < 5


async def test_a_busy_worker_turns_calls_away() -> None:
    @a2alinker.skill(concurrency=1)
    async def slow() -> None:
        await asyncio.sleep(60)

    async with pair([slow]) as (host, worker):
        calls = [host.call("slow", to=worker.name) for _ in range(18)]
        with pytest.raises(PeerBusy):
            await asyncio.gather(*calls)
        assert sum(call.done() for call in calls) == 1, "one runs, sixteen wait"
        for call in calls:
            call.cancel()


async def test_calls_spread_over_busy_workers() -> None:
    async with swarm([double], [double]) as (host, *_):
        assert sorted(await asyncio.gather(*(host.call("double", n) for n in range(60)))) == [2 * n for n in range(60)]


async def test_urgent_calls_are_started_before_others_that_wait() -> None:
    order: list[int] = []
    go = asyncio.Event()

    @a2alinker.skill
    async def note(number: int) -> None:
        await go.wait()
        order.append(number)

    async with pair([note]) as (host, worker):
        calls = [host.call("note", 0)]
        await until(lambda: worker.health()["handlers"] == 1)
        calls += [host.call("note", n, priority=p) for n, p in ((1, "bulk"), (2, "normal"), (3, "urgent"))]  # type: ignore[arg-type]
        await until(lambda: worker.health()["requests"] == 4)
        await asyncio.sleep(0.1)
        go.set()
        await asyncio.gather(*calls)
        assert order == [0, 3, 2, 1]


async def test_requests_are_answered_by_the_loop_over_messages() -> None:
    async with pair() as (host, worker):
        call = host.request(worker.name, "question", headers={"n": 1})
        message = await next_message(worker)
        assert (message.body, message.wants_answer, message.headers) == ("question", True, {"n": 1})
        await message.progress("thinking")
        await message.reply("answer")
        assert [part async for part in call] == ["thinking"]
        answer = await call
        assert (answer.body, answer.sender.name) == ("answer", worker.name)
        assert answer.age == 0
        assert call.peer == host.peers[worker.id]


async def test_a_request_can_be_refused_or_dropped_and_its_sender_hears_of_it() -> None:
    async with pair() as (host, worker):
        call = host.request(worker.name, "question")
        await (await next_message(worker)).refuse("ask someone else", retry_after=2)
        with pytest.raises(CallRefused, match="someone else") as caught:
            await call
        assert caught.value.retry_after == 2

        call = host.request(worker.name, "question")
        message: a2alinker.Message | None = await next_message(worker)
        assert message is not None
        message = None
        gc.collect()
        with pytest.raises(CallRefused, match="without an answer"):
            await call


async def test_answering_a_request_that_nobody_waits_for_is_harmless() -> None:
    async with pair() as (host, worker):
        with pytest.raises(CallTimeout):
            await host.request(worker.name, "question", timeout=0.3)
        message = await next_message(worker) if worker.health()["inbox"] else None
        call = host.request(worker.name, "another")
        message = await next_message(worker)
        call.cancel()
        await until(lambda: message.cancelled)
        receipt = await message.reply("too late")
        assert (receipt.state, receipt.reason) == ("failed", "the caller no longer waits")
        assert worker.health()["requests"] == 0, "cancelled requests leave nothing behind"


async def test_remote_makes_a_function_of_a_skill() -> None:
    @dataclass
    class Point:
        x: int
        y: int

    @a2alinker.skill
    async def swap(point: Point, to: str = "", priority: int = 0, timeout: int = 0) -> Point:
        return Point(point.y + priority, point.x + timeout)

    async with pair([swap]) as (host, worker):
        remote = host.remote("swap", returns=Point)
        assert await remote(Point(1, 2), to="x", priority=10, timeout=20) == Point(12, 21)
        with pytest.raises(BadAnswer, match="answer"):
            await host.remote("swap", returns=int)(Point(1, 2))
        assert await host.remote("swap", to=worker.id)(Point(1, 2)) == {"x": 2, "y": 1}


async def test_remote_chooses_by_tags_or_by_a_function() -> None:
    @a2alinker.skill(name="run", tags=["gpu", "big"])
    async def on_gpu() -> str:
        return "gpu"

    @a2alinker.skill(name="run")
    async def on_cpu() -> str:
        return "cpu"

    async with swarm([on_gpu], [on_cpu]) as (host, gpu, cpu):
        assert [await host.remote("run", tags=["gpu"])() for _ in range(5)] == ["gpu"] * 5
        assert await host.remote("run", choose=lambda peers: next(p for p in peers if p.name == cpu.name))() == "cpu"
        assert await host.remote("run", choose=lambda peers: [p for p in peers if p.name == gpu.name])() == "gpu"
        with pytest.raises(SkillUnknown, match="tpu"):
            host.remote("run", tags=["tpu"])()
        with pytest.raises(SkillUnknown):
            host.remote("run", choose=lambda _: [])()
        with pytest.raises(ConfigurationError):
            host.remote("run", to=gpu.name, tags=["gpu"])


@pytest.mark.parametrize("ordered", [True, False])
async def test_map_gives_every_answer(ordered: bool) -> None:
    async with swarm([echo], [echo]) as (host, *_):
        answers = [answer async for answer in host.remote("echo").map(range(200), limit=8, ordered=ordered)]
        assert sorted(answers) == list(range(200))
        assert not ordered or answers == sorted(answers)


async def test_map_takes_asynchronous_items_and_stops_at_the_first_failure() -> None:
    async def items() -> AsyncIterator[Any]:
        for item in (1, 2, "three", 4):
            yield item

    async with pair(SKILLS) as (host, _):
        answers = host.remote("double").map(items(), limit=1)
        assert [await anext(answers), await anext(answers)] == [2, 4]
        with pytest.raises(BadArguments):
            await anext(answers)
        with pytest.raises(ConfigurationError):
            await anext(host.remote("double").map([1], limit=0))


async def test_leaving_a_map_early_cancels_what_is_under_way() -> None:
    async with pair(SKILLS) as (host, worker):
        async for _ in host.remote("sleep").map([0.01, 60, 60, 60], limit=4):
            break
        await until(lambda: worker.health()["handlers"] == 0)
        await until(lambda: host.health()["calls"] == 0)


async def test_calls_inside_a_handler_deepen_and_a_circle_ends() -> None:
    @a2alinker.skill(concurrency=100)
    async def circle(context: Context, depth: int) -> int:
        return int(await context.agent.call("circle", depth + 1))

    async with swarm([circle], [circle]) as (host, *_):
        with pytest.raises(TooDeep):
            await host.call("circle", 0)


async def test_a_call_of_a_skill_offered_later_finds_it() -> None:
    async with pair() as (host, worker):

        @worker.skill(concurrency=2)
        async def late(text: str) -> str:
            """Comes late."""
            return text.upper()

        peer = await host.wait_for(skill="late", timeout=5)
        assert await host.call("late", "x") == "X"
        definition = await peer.describe("late")
        assert (definition.name, definition.description) == ("late", "Comes late.")
        assert definition.input is not None
        assert definition.input["properties"] == {"text": {"type": "string"}}
        assert peer.skills["late"].concurrency == 2
        with pytest.raises(ConfigurationError, match="already"):
            worker.skill(late)
        with pytest.raises(SkillUnknown, match="never"):
            await peer.describe("never")


async def test_a_stream_that_breaks_is_told_from_one_that_ends() -> None:
    going = asyncio.Event()

    @a2alinker.skill(concurrency=2)
    async def count() -> AsyncIterator[int]:
        yield 1
        yield 2
        if not going.is_set():
            await asyncio.Event().wait()

    async with swarm([count], [count]) as (host, one, two):
        broken = host.call("count", to="worker-0")
        parts = aiter(broken)
        assert [await anext(parts), await anext(parts)] == [1, 2]
        moving = host.call("count")
        await until(lambda: moving.peer is not None)
        assert moving.peer is not None
        first = one if moving.peer.name == "worker-0" else two
        reader = aiter(moving)
        assert [await anext(reader), await anext(reader)] == [1, 2]
        going.set()
        await first.close()
        with pytest.raises(StreamRestarted):
            await anext(reader)
        assert [part async for part in moving] == [1, 2], "the second worker's stream is whole, and ends"
        assert await moving is None
        if first is one:
            with pytest.raises((PeerGone, CallError)):
                await anext(parts)
        else:
            broken.cancel()


async def test_a_part_that_was_not_read_yet_is_not_mixed_with_those_of_another_worker() -> None:
    @a2alinker.skill
    async def who(context: Context) -> AsyncIterator[str]:
        yield context.agent.name
        if context.attempt == 1:
            await asyncio.Event().wait()

    async with swarm([who], [who]) as (host, one, two):
        call = host.call("who")
        await until(lambda: call.peer is not None and (one.health()["handlers"] or two.health()["handlers"]))
        assert call.peer is not None
        first, second = (one, two) if call.peer.name == one.name else (two, one)
        await host.wait_for(name=second.name)
        await first.close()
        await until(lambda: call.attempt == 2)
        assert [part async for part in call] == [second.name]
