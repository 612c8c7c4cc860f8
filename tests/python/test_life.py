"""The life of an agent: closing, loops, threads, forks, and what happens when a program forgets."""

import asyncio
import gc
import os
import signal
import subprocess
import sys
import textwrap
import threading
import time
from typing import Any

import pytest

import a2alinker
from a2alinker import AgentClosed, Context, NoEventLoop, Undelivered, WrongLoop, _core
from swarms import next_message, pair, swarm, until


async def test_closing_waits_until_everything_is_delivered() -> None:
    async with pair() as (host, worker):
        for number in range(1000):
            host.send_nowait(worker.name, number)
        await host.close()
        received = 0
        async for message in worker:
            assert message.body == received
            received += 1
            if received == 1000:
                break


async def test_closing_says_what_was_not_delivered() -> None:
    async with swarm([], []) as (host, worker, _):
        peer = host.peers[worker.id]
        await worker.close()
        await until(lambda: not peer.linked)
        receipt = host.send_nowait(peer, "never") if peer.id in host.peers else None
        began = time.monotonic()
        if receipt is not None:
            with pytest.raises(Undelivered) as caught:
                await host.close(timeout=0.2)
            assert len(caught.value.receipts) == 1
            assert caught.value.receipts[0].message_id == receipt.message_id
        assert time.monotonic() - began < 3


async def test_closing_twice_or_at_once_is_fine() -> None:
    host = await a2alinker.host("host")
    await asyncio.gather(host.close(), host.close())
    await host.close()
    assert "closed" in repr(host)


async def test_a_cancelled_close_closes_at_once() -> None:
    async with swarm([], []) as (host, worker, _):
        for _ in range(20_000):
            host.send_nowait(worker.name, b"x" * 1000)
        began = time.monotonic()
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(0.2):
                await host.close(timeout=60)
        assert time.monotonic() - began < 3
        with pytest.raises(AgentClosed):
            await host.send(worker.name, "x")


async def test_a_closed_agent_says_so_everywhere() -> None:
    async with pair() as (host, worker):
        peer = host.peers[worker.id]
        call = host.request(peer, "x")
        await host.close()
        with pytest.raises(AgentClosed):
            await call
        for use in (
            lambda: host.send_nowait(peer, "x"),
            lambda: host.request(peer, "x"),
            lambda: host.call("skill"),
            host.events,
            lambda: host.skill(print),
            lambda: aiter(host),
        ):
            with pytest.raises(AgentClosed):
                use()
        for wait in (host.send(peer, "x"), host.wait_for(name="x"), host.invite(kind="ticket", local=True), host.__aenter__()):
            with pytest.raises(AgentClosed):
                await wait
        await host.serve_forever()
        assert host.health()["open"] is False
        assert not host.discover(skill="x")


async def test_closing_wakes_all_who_wait() -> None:
    host = await a2alinker.host("host")
    waits = [
        asyncio.create_task(host.wait_for(name="nobody")),
        asyncio.create_task(anext(aiter(host), None)),
        asyncio.create_task(anext(aiter(host.events()), None)),
        asyncio.create_task(host.serve_forever()),
        asyncio.create_task((await host.invite(kind="ticket", local=True)).joined()),
    ]
    await asyncio.sleep(0.05)
    await host.close()
    outcomes = await asyncio.wait_for(asyncio.gather(*waits, return_exceptions=True), 5)
    assert isinstance(outcomes[0], AgentClosed)
    assert outcomes[1:4] == [None, None, None]
    assert isinstance(outcomes[4], AgentClosed)


async def test_leaving_a_block_by_an_exception_keeps_the_exception() -> None:
    async with pair() as (_, worker):
        invite_host = await a2alinker.host("other")
        with pytest.raises(ZeroDivisionError):
            async with invite_host:
                _ = 1 / 0
        assert worker.health()["open"]


async def test_leaving_a_block_by_cancellation_is_quick() -> None:
    async def main(opened: asyncio.Event) -> None:
        async with swarm([], []) as (host, worker, _):
            for _ in range(20_000):
                host.send_nowait(worker.name, b"x" * 1000)
            opened.set()
            await asyncio.sleep(60)

    opened = asyncio.Event()
    task = asyncio.create_task(main(opened))
    await opened.wait()
    began = time.monotonic()
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert time.monotonic() - began < 8


async def test_running_handlers_are_cancelled_when_the_agent_closes() -> None:
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
        await worker.close()
        assert ended.is_set()
        call.cancel()


async def test_a_handler_may_close_its_own_agent() -> None:
    @a2alinker.skill
    async def leave(context: Context) -> None:
        await context.agent.close()

    async with pair([leave]) as (host, worker):
        call = host.call("leave")
        await asyncio.wait_for(worker.serve_forever(), 10)
        call.cancel()


async def test_a_function_in_a_thread_sees_that_it_was_cancelled() -> None:
    stopped = threading.Event()

    @a2alinker.skill
    def long(context: Context) -> None:
        while not context.cancelled:
            time.sleep(0.01)
        stopped.set()

    async with pair([long]) as (host, worker):
        call = host.call("long")
        await until(lambda: worker.health()["handlers"] == 1)
        call.cancel()
        await until(stopped.is_set)
        await until(lambda: worker.health()["handlers"] == 0)
        second = host.call("long")
        await until(lambda: worker.health()["handlers"] == 1)
        second.cancel()


async def test_from_another_thread_every_use_is_an_error() -> None:
    async with pair() as (host, worker):
        name = worker.name

        def use() -> list[type[BaseException]]:
            raised: list[type[BaseException]] = []
            for attempt in (lambda: host.send_nowait(name, "x"), lambda: host.request(name, "x"), host.events):
                try:
                    attempt()
                except a2alinker.UsageError as error:
                    raised.append(type(error))
            try:
                asyncio.run(host.send(name, "x"))
            except a2alinker.UsageError as error:
                raised.append(type(error))
            return raised

        assert await asyncio.to_thread(use) == [NoEventLoop, NoEventLoop, NoEventLoop, WrongLoop]

        def send_properly() -> str:
            loop = host._seam.loop
            receipt = asyncio.run_coroutine_threadsafe(host.send(name, "from a thread"), loop).result()
            return receipt.state

        assert await asyncio.to_thread(send_properly)
        assert (await next_message(worker)).body == "from a thread"


def test_a_loop_that_was_closed_early_makes_no_noise_and_no_hang() -> None:
    program = """
        import asyncio, a2alinker

        async def main():
            global host
            host = await a2alinker.host("host")
            host.events()

        asyncio.run(main())

        async def later():
            try:
                await host.send("x", "y")
            except a2alinker.WrongLoop:
                print("wrong loop")
            await host.close()
            await host.close()

        asyncio.run(later())
        print("closed")
    """
    assert run(program) == ("wrong loop\nclosed\n", "", 0)


def test_an_agent_that_was_never_closed_is_closed_at_exit_with_a_warning() -> None:
    program = """
        import asyncio, a2alinker
        loop = asyncio.new_event_loop()
        host = loop.run_until_complete(a2alinker.host("forgotten").__aenter__())
    """
    out, err, code = run(program, "-W", "default::ResourceWarning")
    assert (out, code) == ("", 0)
    assert "forgotten" in err
    assert "Traceback" not in err
    out, err, code = run(program)
    assert (out, err, code) == ("", "", 0), "warnings of this kind are off by default, and nothing else is said"


async def test_an_agent_that_is_dropped_is_closed_with_a_warning() -> None:
    async with a2alinker.Switchboard() as switchboard:
        host: a2alinker.Agent | None = await a2alinker.host("dropped", switchboard=switchboard, skills=[print])
        assert host is not None
        assert switchboard.stats()["links"] == 1
        with pytest.warns(ResourceWarning, match="dropped"):
            host = None  # at once, not when the collector finds a cycle
        await until(lambda: switchboard.stats()["links"] == 0)


@pytest.mark.skipif(not hasattr(os, "fork"), reason="this platform has no fork")
def test_after_a_fork_the_child_gets_an_error_and_the_parent_goes_on() -> None:
    program = """
        import asyncio, os, sys, a2alinker

        async def main():
            async with a2alinker.host("host") as host:
                invite = await host.invite(kind="ticket", local=True)
                async with a2alinker.join("worker", invite) as worker:
                    await host.wait_for(name="worker")
                    child = os.fork()
                    if child == 0:
                        said = []
                        for use in (lambda: host.send_nowait("worker", "x"), lambda: host.call("x"), lambda: a2alinker.host("x").__await__().send(None)):
                            try:
                                use()
                            except a2alinker.Forked as error:
                                said.append(error.code)
                        del host
                        os.write(1, ",".join(said).encode() + b"\\n")
                        os._exit(0)
                    os.waitpid(child, 0)
                    await host.send("worker", "still here")
                    async for message in worker:
                        os.write(1, message.body.encode() + b"\\n")
                        break

        asyncio.run(main())
    """
    assert run(program, "-W", "ignore::DeprecationWarning") == ("forked,forked,forked\nstill here\n", "", 0)


@pytest.mark.skipif(not hasattr(os, "fork"), reason="this platform has no fork")
def test_a_forked_child_can_end_normally_without_touching_the_parents_agent() -> None:
    program = """
        import asyncio, os, sys, a2alinker

        async def main():
            host = await a2alinker.host("host")
            child = os.fork()
            if child == 0:
                return "child"
            status = os.waitpid(child, 0)[1]
            await asyncio.sleep(0.1)
            print(host.health()["linked"], os.waitstatus_to_exitcode(status), flush=True)
            await host.close()
            return "parent"

        if asyncio.run(main()) == "child":
            sys.exit(7)
    """
    assert run(program, "-W", "ignore::DeprecationWarning", "-W", "default::ResourceWarning") == ("True 7\n", "", 0)


def test_an_interrupt_ends_a_serving_program_quickly_and_quietly() -> None:
    program = """
        import asyncio, a2alinker

        async def main():
            async with a2alinker.host("host") as host:
                print("serving", flush=True)
                await host.serve_forever()

        try:
            asyncio.run(main())
        except KeyboardInterrupt:
            print("interrupted")
    """
    process = subprocess.Popen(
        [sys.executable, "-c", textwrap.dedent(program)], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, encoding="utf-8"
    )
    assert process.stdout is not None
    assert process.stdout.readline() == "serving\n"
    began = time.monotonic()
    process.send_signal(signal.SIGINT)
    out, err = process.communicate(timeout=30)
    assert (out, err, process.returncode) == ("interrupted\n", "", 0)
    assert time.monotonic() - began < 5


async def test_a_loop_that_watches_no_descriptors_is_woken_otherwise(monkeypatch: pytest.MonkeyPatch) -> None:
    def add_reader(*_: object) -> None:
        raise NotImplementedError

    monkeypatch.setattr(asyncio.get_running_loop(), "add_reader", add_reader)
    async with pair([print]) as (host, worker):
        for number in range(5000):
            host.send_nowait(worker.name, number)
        numbers = []
        async for message in worker:
            numbers.append(message.body)
            if len(numbers) == 5000:
                break
        assert numbers == list(range(5000))


async def test_the_core_hears_that_the_loop_turns(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("a2alinker._loop.TICK", 0.01)
    async with a2alinker.host("host") as host:
        turns = []

        class Core:
            def turned(self) -> None:
                turns.append(time.monotonic())

        core, host._seam.core = host._seam.core, Core()  # type: ignore[assignment]
        await until(lambda: len(turns) >= 3)
        host._seam.core = core


async def test_events_tell_who_comes_and_goes() -> None:
    async with a2alinker.host("host") as host:
        events = host.events()
        invite = await host.invite(kind="ticket", local=True)
        async with a2alinker.join("worker", invite):
            peer = await host.wait_for(name="worker", timeout=10)
            await (await host.send(peer, "hello")).delivered()
        seen = []
        async with asyncio.timeout(20):
            async for event in events:
                if isinstance(event, a2alinker.PeerEvent):
                    assert event.peer is peer
                    seen.append(event.what)
                if "left" in seen:
                    break
        assert seen[0] == "joined"
        assert "up" in seen
        assert peer.id not in host.peers, "its identity ended with its process"


async def test_an_end_that_nobody_asked_for_is_told_everywhere() -> None:
    async with pair([print]) as (host, worker):
        call = host.request(worker.name, "x")
        reading = asyncio.create_task(anext(aiter(host)))
        serving = asyncio.create_task(host.serve_forever())
        sending = host.send_nowait(worker.name, "x", until="done")
        waiting = asyncio.create_task(sending.done())
        await asyncio.sleep(0)
        host._seam.core.close()
        host._seam.end(a2alinker.LinkReplaced())  # as if another process had taken over
        for task in (reading, serving):
            with pytest.raises(a2alinker.LinkReplaced):
                await task
        with pytest.raises(AgentClosed) as caught:
            await call
        assert isinstance(caught.value.__cause__, a2alinker.LinkReplaced)
        with pytest.raises(AgentClosed):
            await waiting
        with pytest.raises(AgentClosed, match="gave way"):
            await host.send(worker.name, "x")
        await host.close()


async def test_a_message_that_will_never_come_is_an_event() -> None:
    thread = b"0123456789abcdef"
    async with pair() as (host, worker):
        events = worker.events()
        gap = (_core.EVENT_GAP, host._seam.core.id, 3, thread)
        worker._seam._handlers[_core.EVENT_GAP](gap)
        async with asyncio.timeout(10):
            while not isinstance(event := await anext(events), a2alinker.MessageLost):
                pass
        assert (event.thread, event.priority, event.sender) == (thread, "normal", worker.peers[host.id])


async def test_a_slow_reader_of_events_learns_that_it_missed_some() -> None:
    async with a2alinker.host("host") as host:
        events = host.events()
        for number in range(3000):
            events.put(a2alinker.LinkUp(str(number)))
        first, second = await anext(events), await anext(events)
        assert first == a2alinker.EventsMissed(3000 - 1024)
        assert second == a2alinker.LinkUp(str(3000 - 1024))


async def test_waiting_for_a_peer_ends_in_time() -> None:
    async with a2alinker.host("host") as host:
        with pytest.raises(a2alinker.TimedOut, match="skill 'x'"):
            await host.wait_for(skill="x", timeout=0.05)
        with pytest.raises(TimeoutError):
            await host.wait_for(name="x", timeout=0.05)
        for options in ({}, {"skill": "a", "name": "b"}):
            with pytest.raises(a2alinker.ConfigurationError):
                await host.wait_for(**options)  # type: ignore[arg-type]


async def test_peers_is_a_live_read_only_mapping() -> None:
    async with swarm([print], [print]) as (host, first, second):
        peers = host.peers
        assert set(peers) == {first.id, second.id}
        assert peers[first.id].name == first.name
        assert host.id not in peers
        with pytest.raises(TypeError):
            peers["x"] = None  # type: ignore[index]
        assert {peer.id for peer in host.discover(skill="print")} == {first.id, second.id}
        assert host.discover(name=first.name) == [peers[first.id]]
        assert host.discover(skill="print", tags=["none"]) == []
        peer = peers[first.id]
        assert (peer.presence, peer.linked, peer.gone) == ("linked", True, False)
        assert peer.certificate_expires > time.time()
        await first.close()
        await until(lambda: not peer.linked)
        assert "linked" not in repr(peer)


async def test_two_agents_of_one_name_are_told_apart_by_id() -> None:
    async with a2alinker.host("host") as host:
        invite = await host.invite(kind="ticket", uses=2, local=True)
        async with a2alinker.join("twin", invite) as one, a2alinker.join("twin", invite) as two:
            await until(lambda: len(host.peers) == 2)
            with pytest.raises(a2alinker.AmbiguousPeer) as caught:
                await host.send("twin", "x")
            assert {peer.id for peer in caught.value.candidates} == {one.id, two.id}
            await host.send(one.id, "to one")
            assert (await next_message(one)).body == "to one"
            await two.close()
            await until(lambda: len(host.discover(name="twin")) == 1)
            await host.send("twin", "to the live one")
            assert (await next_message(one)).body == "to the live one"


async def test_an_error_in_a_handler_is_logged_here_and_told_there(caplog: pytest.LogCaptureFixture) -> None:
    @a2alinker.skill
    async def broken() -> None:
        raise RuntimeError("inside")

    async with pair([broken]) as (host, _):
        with pytest.raises(a2alinker.RemoteError, match="inside"):
            await host.call("broken")
    assert "skill broken failed" in caplog.text
    assert "RuntimeError: inside" in caplog.text


def run(program: str, *options: str) -> tuple[str, str, int]:
    """Runs a program and gives its output, its errors and its exit code."""
    ended = subprocess.run(
        [sys.executable, *options, "-c", textwrap.dedent(program)],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
        encoding="utf-8",
    )
    return ended.stdout, ended.stderr, ended.returncode


def test_nothing_of_an_agent_is_left_for_the_collector() -> None:
    async def scenario() -> Any:
        async with pair() as (host, worker):
            await host.send(worker.name, "x")
            await next_message(worker)

    asyncio.run(scenario())
    gc.collect()
    assert not [thing for thing in gc.get_objects() if isinstance(thing, a2alinker.Agent)]
