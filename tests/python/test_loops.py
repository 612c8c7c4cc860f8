"""Agents that answer each other for ever are stopped, and told so, at both ends; what only looks like it is not."""

import asyncio
import contextlib
from typing import Any

import pytest

import a2alinker
from a2alinker import Agent, ConfigurationError, Context, LoopStopped, Message, TooDeep, sync
from swarms import next_message, pair, swarm

LIMIT = 64  # messages that may stand between one and the first of its chain


async def stopped(agent: Agent) -> LoopStopped:
    """Waits until the agent hears that a loop was stopped."""
    async with asyncio.timeout(20):
        async for event in agent.events():
            if isinstance(event, LoopStopped):
                return event
    raise AssertionError("the agent ended")


async def answer_for_ever(agent: Agent, *, by_reply: bool) -> int:
    """Answers each message; returns how many it got before it could not."""
    got = 0
    async for message in agent:
        got += 1
        if by_reply:
            await message.reply("and you?")
        else:
            await agent.send(message.sender, "and you?")
    return got


@contextlib.asynccontextmanager
async def both_stopped(host: Agent, worker: Agent) -> Any:
    """Gives what both agents hear of a loop that is begun inside."""
    events = [asyncio.ensure_future(stopped(agent)) for agent in (host, worker)]
    await asyncio.sleep(0)
    yield events
    await asyncio.gather(*events)


@pytest.mark.parametrize("by_reply", [True, False], ids=["reply", "send"])
async def test_two_agents_that_answer_each_other_are_stopped_at_both_ends(by_reply: bool) -> None:
    async with pair() as (host, worker):
        async with both_stopped(host, worker) as events:
            loops = [asyncio.ensure_future(answer_for_ever(agent, by_reply=by_reply)) for agent in (host, worker)]
            await host.send(worker.name, "how are you?")
        there, here = (event.result() for event in events)
        ended, running = await asyncio.wait(loops, return_when=asyncio.FIRST_EXCEPTION)
        problems = [loop.exception() for loop in ended]
        assert [type(problem) for problem in problems] == [TooDeep]
        for loop in running:
            loop.cancel()
        # 65 messages were sent, the first at depth 0, so the worker got the last one.
        assert (there.here, here.here) == ((False, True) if loops[1] in ended else (True, False))
        assert {there.peer and there.peer.name, here.peer and here.peer.name} == {"host", "worker-0"}
        assert isinstance(there.error, TooDeep)
        assert isinstance(here.error, TooDeep)


async def test_a_chain_may_be_as_long_as_the_agents_let_it() -> None:
    async with pair(max_depth=3) as (host, worker):
        await host.send(worker.name, 0)
        depths = []
        for agent in (worker, host, worker):
            message = await next_message(agent)
            depths.append(message.body)
            await message.reply(message.body + 1)
        message = await next_message(host)
        with pytest.raises(TooDeep):
            await message.reply("the host stops at three, the worker would go on")
        assert depths == [0, 1, 2]


async def test_a_budget_ends_a_chain_early_and_can_only_shrink() -> None:
    async with pair() as (host, worker):
        event = asyncio.ensure_future(stopped(worker))
        await host.send(worker.name, "first", budget=2)
        async for message in worker:
            await worker.send(message.sender, "second", budget=1000)
            break
        async for message in host:
            with pytest.raises(TooDeep):
                await host.send(message.sender, "third")
            with pytest.raises(TooDeep):
                await host.request(message.sender, "third")
            break
        assert not (await event).here
        await host.send(worker.name, "outside the loop nothing is caused by its last message")


async def test_a_call_on_a_spent_budget_is_answered_but_calls_nobody() -> None:
    @a2alinker.skill
    async def ask(context: Context) -> str:
        with pytest.raises(TooDeep):
            context.agent.call("ask", to=context.peer)
        return "answered"

    async with pair([ask], host_skills=[ask]) as (host, _):
        assert await host.remote("ask", budget=1)() == "answered"


async def test_a_handler_that_calls_too_deep_gives_its_caller_too_deep() -> None:
    @a2alinker.skill(concurrency=10)
    async def circle(context: Context) -> None:
        await context.agent.call("circle")

    async with swarm([circle], [circle], host_skills=[circle]) as (host, *_):
        with pytest.raises(TooDeep):
            await host.remote("circle", budget=5)()


async def test_a_stream_of_independent_messages_is_no_loop() -> None:
    count = 100_000
    async with pair() as (host, worker):

        async def take() -> int:
            got = 0
            async for message in worker:
                got += 1
                if got == count:
                    await message.reply("enough")
                    return got
            return got

        taking = asyncio.ensure_future(take())
        for number in range(count):
            await host.send(worker.name, number)
        assert (await next_message(host, 60)).body == "enough"
        assert await taking == count


async def test_what_is_not_caused_by_the_message_in_hand_begins_a_chain_of_its_own() -> None:
    async with pair(max_depth=2) as (host, worker):
        echoing = asyncio.ensure_future(_echo(worker))
        done = 0
        await host.send(worker.name, done)
        async for _ in host:
            done += 1
            if done == 3 * LIMIT:
                break
            with a2alinker.unprompted():
                await host.send(worker.name, done)
        echoing.cancel()
        assert done == 3 * LIMIT


async def test_what_another_task_sends_is_not_caused_by_a_message() -> None:
    async with pair(max_depth=1) as (host, worker):
        await host.send(worker.name, "one")
        message = await next_message(worker)
        await message.reply("two")
        await next_message(host)

        async def elsewhere() -> None:
            with a2alinker.unprompted():
                await host.send(worker.name, "three")

        await asyncio.ensure_future(elsewhere())
        assert (await next_message(worker)).body == "three"


def test_a_blocking_loop_is_guarded_as_well() -> None:
    with sync.host("host") as host, sync.join("worker", host.invite(local=True)) as worker:
        host.wait_for(name="worker")
        worker.wait_for(name="host")
        host.send("worker", "first", budget=1)
        for message in worker:
            with pytest.raises(TooDeep):
                worker.send(message.sender.name, "second")
            break
        worker.send("host", "third")
        assert host.receive(timeout=10).body == "third"


@pytest.mark.parametrize("options", [{"budget": 0}, {"budget": -1}, {"budget": 2**32}, {"budget": "x"}])
async def test_a_budget_that_can_not_be_is_refused(options: dict[str, Any]) -> None:
    async with pair() as (host, worker):
        with pytest.raises(ConfigurationError, match="budget"):
            await host.send(worker.name, "x", **options)
        with pytest.raises(ConfigurationError, match="budget"):
            host.remote("x", **options)


async def test_a_depth_that_can_not_be_is_refused() -> None:
    for depth in (0, 65_536, "x"):
        with pytest.raises(ConfigurationError, match="max_depth"):
            await a2alinker.host("host", max_depth=depth)  # type: ignore[arg-type]


async def _echo(agent: Agent) -> None:
    message: Message
    async for message in agent:
        await message.reply(message.body)
