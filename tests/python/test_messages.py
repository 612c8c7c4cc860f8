"""Messages between two agents: bodies, order, replies, the loop that takes them, and receipts."""

import asyncio
import dataclasses
import datetime
import time
import uuid
from typing import Any

import pydantic
import pytest

import a2alinker
from a2alinker import AlreadyConsumed, BodyError, ConfigurationError, PeerUnknown, Refused, Undelivered, UsageError
from swarms import next_message, pair, swarm, until


@dataclasses.dataclass
class Job:
    name: str
    parts: tuple[int, ...]


class Model(pydantic.BaseModel):
    title: str
    count: int = 1


@pytest.mark.parametrize(
    ("body", "arrives"),
    [
        ("text", "text"),
        (b"\x00\xff", b"\x00\xff"),
        (None, None),
        ({"a": [1, 2.5, None, True, "x", b"y"]}, {"a": [1, 2.5, None, True, "x", b"y"]}),
        ((1, (2,)), [1, [2]]),
        (Job("j", (1, 2)), {"name": "j", "parts": [1, 2]}),
        (Model(title="t"), {"title": "t", "count": 1}),
        (2**64 - 1, 2**64 - 1),
        ("x" * 300_000, "x" * 300_000),
    ],
    ids=lambda value: type(value).__name__,
)
async def test_a_body_arrives_as_it_was(body: Any, arrives: Any) -> None:
    async with pair() as (host, worker):
        await host.send(worker.name, body)
        message = await next_message(worker)
        assert message.body == arrives
        assert (message.sender.name, message.priority, message.thread) == ("host", "normal", None)
        assert not message.maybe_repeated
        assert 0 <= message.age < 5


@pytest.mark.parametrize(
    "body", [2**64, {1: 2}, datetime.datetime.now(tz=datetime.UTC), {1, 2}, object(), ["ok", {"a": object()}], "x" * (1 << 20) + "x"]
)
async def test_a_body_that_can_not_be_sent_is_refused_at_send(body: Any) -> None:
    async with pair() as (host, worker):
        with pytest.raises(BodyError):
            await host.send(worker.name, body)
        with pytest.raises(BodyError):
            host.request(worker.name, body)


async def test_a_body_that_contains_itself_is_refused() -> None:
    circle: list[Any] = []
    circle.append(circle)
    async with pair() as (host, worker):
        with pytest.raises(BodyError):
            await host.send(worker.name, circle)


async def test_messages_of_a_thread_and_priority_come_in_order() -> None:
    thread = uuid.uuid4().bytes
    async with pair() as (host, worker):
        for number in range(500):
            await host.send(worker.name, number, thread=thread)
        numbers = []
        async for message in worker:
            assert message.thread == thread
            numbers.append(message.body)
            if len(numbers) == 500:
                break
        assert numbers == list(range(500))


async def test_headers_travel_beside_the_body() -> None:
    async with pair() as (host, worker):
        await host.send(worker.name, "body", headers={"trace": "abc", "n": 1})
        assert (await next_message(worker)).headers == {"trace": "abc", "n": 1}
        await host.send(worker.name, "body")
        assert (await next_message(worker)).headers == {}


async def test_urgent_messages_are_taken_first() -> None:
    async with pair() as (host, worker):
        receipts = [await host.send(worker.name, n) for n in range(3)]
        receipts.append(await host.send(worker.name, "now", priority="urgent", until="done"))
        for receipt in receipts:
            await receipt.delivered()
        bodies = []
        async for message in worker:
            bodies.append(message.body)
            if len(bodies) == 4:
                break
        assert bodies == ["now", 0, 1, 2]


async def test_a_reply_reaches_the_sender_as_a_message() -> None:
    async with pair() as (host, worker):
        await host.send(worker.name, "question")
        await (await next_message(worker)).reply("answer")
        answer = await next_message(host)
        assert (answer.body, answer.sender.name, answer.wants_answer) == ("answer", worker.name, False)


async def test_answering_twice_is_an_error() -> None:
    async with pair() as (host, worker):
        await host.send(worker.name, "question")
        message = await next_message(worker)
        await message.reply("answer")
        with pytest.raises(UsageError):
            await message.reply("again")
        with pytest.raises(UsageError):
            await message.refuse("no")


@pytest.mark.parametrize("name", ["nobody", "", "a" * 52])
async def test_an_unknown_peer_is_an_error_that_says_who_is_known(name: str) -> None:
    async with pair() as (host, _):
        with pytest.raises(PeerUnknown, match="worker-0") as caught:
            await host.send(name, "x")
        assert caught.value.peer == name
        with pytest.raises(LookupError):
            host.request(name, "x")


@pytest.mark.parametrize(
    "options",
    [
        {"priority": "soon"},
        {"thread": "text"},
        {"thread": b"short"},
        {"ttl": 0},
        {"ttl": -1},
        {"ttl": 100_000},
        {"ttl": float("nan")},
        {"until": "read"},
    ],
)
async def test_a_wrong_option_is_an_error_that_names_it(options: dict[str, Any]) -> None:
    async with pair() as (host, worker):
        with pytest.raises(ConfigurationError, match=next(iter(options))):
            await host.send(worker.name, "x", **options)


async def test_a_wrong_receiver_is_an_error() -> None:
    async with pair() as (host, _):
        for to in (5, None, [5]):
            with pytest.raises(TypeError):
                await host.send(to, "x")  # type: ignore[arg-type]


async def test_delivered_means_in_memory_and_done_means_handled() -> None:
    async with pair() as (host, worker):
        receipt = await host.send(worker.name, 1, until="done")
        await receipt.delivered()
        assert receipt.state == "delivered"
        states = asyncio.create_task(all_states(receipt))
        async for message in worker:
            if message.body == 1:
                assert receipt.state == "delivered", "it is in hand, not handled"
                await host.send(worker.name, 2)
            else:
                break
        await receipt.done()
        assert (await states)[-1] == "done"


async def all_states(receipt: a2alinker.Receipt) -> list[str]:
    return [state async for state in receipt]


async def test_the_sender_learns_of_a_refusal() -> None:
    async with pair() as (host, worker):
        receipt = await host.send(worker.name, "please", until="done")
        await (await next_message(worker)).refuse("not today")
        with pytest.raises(Refused, match="not today"):
            await receipt.done()
        assert (receipt.state, receipt.reason) == ("refused", "not today")


async def test_done_of_a_message_that_does_not_ask_for_it_is_an_error() -> None:
    async with pair() as (host, worker):
        receipt = await host.send(worker.name, "x")
        await receipt.delivered()
        with pytest.raises(UsageError, match="until"):
            await receipt.done()
        assert receipt.peer == host.peers[worker.id]
        assert receipt.parts == (receipt,)
        assert len(receipt.message_id) == 32


async def test_a_message_to_several_has_a_receipt_with_parts() -> None:
    async with swarm([], [], []) as (host, first, second, third):
        receipt = await host.send([first.name, host.peers[second.id], third.id], "all", until="done")
        await receipt.delivered()
        assert [part.peer.name for part in receipt.parts if part.peer] == [first.name, second.name, third.name]
        for worker in (first, second, third):
            message = await next_message(worker)
            await (message.refuse("no") if worker is second else message.reply("yes"))
        with pytest.raises(Undelivered, match="1 of 3") as caught:
            await receipt.done()
        assert caught.value.receipts == (receipt.parts[1],)
        assert receipt.state == "refused"
        assert "refused" in [state async for state in receipt]


async def test_an_unknown_name_among_several_sends_nothing() -> None:
    async with pair() as (host, worker):
        with pytest.raises(PeerUnknown):
            await host.send([worker.name, "nobody"], "x")
        await host.send(worker.name, "only")
        assert (await next_message(worker)).body == "only"


async def test_a_second_loop_over_the_messages_is_an_error() -> None:
    async with pair() as (host, worker):
        reader = asyncio.create_task(next_message(worker))
        await asyncio.sleep(0)
        with pytest.raises(AlreadyConsumed):
            worker.__aiter__()
        await host.send(worker.name, "x")
        assert (await reader).body == "x"
        await host.send(worker.name, "y")
        assert (await next_message(worker)).body == "y", "a loop that was left makes room for the next"


async def test_a_loop_that_another_one_replaced_ends_with_an_error() -> None:
    async with pair() as (host, worker):
        for body in "ab":
            await (await host.send(worker.name, body)).delivered()
        first = worker.__aiter__()
        assert (await anext(first)).body == "a"
        assert (await next_message(worker)).body == "b"
        with pytest.raises(AlreadyConsumed):
            await anext(first)


async def test_cancelling_the_loop_loses_no_message() -> None:
    async with pair() as (host, worker):
        for number in range(20):
            with pytest.raises(TimeoutError):
                async with asyncio.timeout(0.001):
                    await next_message(worker, limit=60)
            await host.send(worker.name, number)
            assert (await next_message(worker)).body == number


async def test_the_loop_ends_when_the_agent_closes() -> None:
    async with pair() as (host, worker):

        async def read() -> list[Any]:
            return [message.body async for message in worker]

        reader = asyncio.create_task(read())
        await (await host.send(worker.name, "last")).delivered()
        await until(lambda: worker.health()["inbox"] == 0)
        await worker.close()
        assert await reader == ["last"]


async def test_sending_waits_for_room_and_nowait_does_not() -> None:
    async with pair(outbox_messages=50) as (host, worker):
        peer = host.peers[worker.id]
        with pytest.raises(a2alinker.OutboxFull) as caught:
            fill(host, peer)
        assert caught.value.retryable
        first = int((await next_message(worker)).body)
        sent = asyncio.gather(*(host.send(peer, f"later-{number}") for number in range(200)))
        bodies = []
        async for message in worker:
            bodies.append(message.body)
            if bodies[-1] == "later-199":
                break
        await sent
        assert first == 0
        assert [body for body in bodies if isinstance(body, str)] == [f"later-{number}" for number in range(200)], "nobody overtakes"


def fill(agent: a2alinker.Agent, peer: a2alinker.Peer) -> None:
    for number in range(10_000):
        agent.send_nowait(peer, number)


async def test_a_cancelled_send_that_waited_has_sent_nothing() -> None:
    async with pair(outbox_messages=5) as (host, worker):
        with pytest.raises(a2alinker.OutboxFull):
            fill(host, host.peers[worker.id])
        waiting = asyncio.create_task(host.send(worker.name, "never"))
        await asyncio.sleep(0)
        waiting.cancel()
        with pytest.raises(asyncio.CancelledError):
            await waiting
        await host.send(worker.name, "end")
        bodies = set()
        async for message in worker:
            bodies.add(message.body)
            if message.body == "end":
                break
        assert "never" not in bodies


async def test_what_nobody_takes_stays_with_the_sender() -> None:
    async with pair() as (host, worker):
        receipts = [host.send_nowait(worker.name, b"x" * 1000) for _ in range(20_000)]
        await receipts[0].delivered()
        await asyncio.sleep(0.3)
        assert receipts[-1].state == "queued", "a receiver that doesn't read takes no more than its credit"
        taken = 0
        async for _ in worker:
            taken += 1
            if taken == len(receipts):
                break
        await receipts[-1].delivered()


async def test_the_loop_guard_ends_a_ping_pong() -> None:
    async with pair() as (host, worker):

        async def echo(agent: a2alinker.Agent) -> None:
            async for message in agent:
                await message.reply(message.body)

        async with asyncio.TaskGroup() as group:
            echoes = [group.create_task(guarded(echo(agent))) for agent in (host, worker)]
            await host.send(worker.name, "ball")
            done, pending = await asyncio.wait(echoes, return_when=asyncio.FIRST_COMPLETED)
            assert all(isinstance(task.result(), a2alinker.TooDeep) for task in done)
            for task in pending:
                task.cancel()


async def test_a_long_dialogue_of_one_program_is_no_loop() -> None:
    async with pair() as (host, worker):
        for number in range(200):
            await host.send(worker.name, number)
            await (await next_message(worker)).reply(number + 1)
            assert (await next_message(host)).body == number + 1


async def guarded(coroutine: Any) -> Any:
    try:
        return await coroutine
    except a2alinker.TooDeep as error:
        return error


async def test_a_message_expires_in_its_time() -> None:
    # Beyond what the receiver grants, messages wait with their sender.
    async with pair() as (host, worker):
        began = time.monotonic()
        receipts = [await host.send(worker.name, b"x" * 1000, ttl=1.0) for _ in range(10_000)]
        with pytest.raises(a2alinker.Expired):
            await receipts[-1].delivered()
        assert time.monotonic() - began < 10
        assert receipts[0].state == "delivered"
        assert receipts[-1].state == "expired"


async def test_what_waited_too_long_for_its_program_is_not_handed_over() -> None:
    async with pair() as (host, worker):
        late = await host.send(worker.name, "late", ttl=0.3, until="done")
        await until(lambda: worker.health()["inbox"] == 1)
        with pytest.raises(a2alinker.Expired):
            await late.done()
        question = host.request(worker.name, "late, too", ttl=0.2)
        await until(lambda: worker.health()["inbox"] == 2)
        await asyncio.sleep(0.3)
        await host.send(worker.name, "in time")
        assert (await next_message(worker)).body == "in time"
        assert late.state == "expired"
        with pytest.raises(a2alinker.Expired):
            await question
