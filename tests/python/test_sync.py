"""Agents without a loop of the program's own, and agents on one that other threads use."""

import asyncio
import contextlib
import inspect
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Generator, Iterator
from concurrent.futures import CancelledError, Future, ThreadPoolExecutor
from pathlib import Path
from statistics import median
from typing import Any, assert_type

import pytest

import a2alinker
from a2alinker import (
    AgentClosed,
    AlreadyConsumed,
    CallRefused,
    CallTimeout,
    Context,
    InviteRevoked,
    NoEventLoop,
    PeerEvent,
    Refused,
    RemoteError,
    SkillUnknown,
    TimedOut,
    TooDeep,
    Undelivered,
    WouldDeadlock,
    sync,
)
from swarms import Skills
from swarms import pair as asynchronous_pair

LIMIT = 10.0  # seconds for what takes a moment
INTERRUPTED_WITHIN = 0.2  # seconds from Ctrl-C to KeyboardInterrupt


def shout(text: str) -> str:
    return text.upper()


def count(to: int) -> Generator[int, None, int]:
    yield from range(to)
    return to


@contextlib.contextmanager
def pair(skills: Skills = ()) -> Iterator[tuple[sync.Agent, sync.Agent]]:
    with sync.host("host") as host:
        invite = host.invite(kind="ticket", local=True)
        with sync.join("worker", invite, skills=skills) as worker:
            host.wait_for(name="worker", timeout=LIMIT)
            worker.wait_for(name="host", timeout=LIMIT)
            yield host, worker


# -- the surface --

# What modules of the package use among themselves, or stands under another name: `with` for `async with`, and so on.
PAIRS: dict[type, tuple[type, set[str]]] = {
    a2alinker.Agent: (sync.Agent, {"sync"}),
    a2alinker.Call: (sync.Call, {"end", "when_done", "add_part", "moved", "peer_id", "timer", "token", "what"}),
    a2alinker.Receipt: (sync.Receipt, {"change", "is_final"}),
    a2alinker.Message: (sync.Message, {"event", "finish", "token"}),
    a2alinker.Peer: (sync.Peer, set()),
    a2alinker.Peers: (sync.Peers, set()),
    a2alinker.Invite: (sync.Invite, set()),
    a2alinker.Remote: (sync.Remote, set()),
    a2alinker.Switchboard: (sync.Switchboard, set()),
    a2alinker.events.EventStream: (sync.EventStream, {"put", "wake"}),
}
COUNTERPARTS = {
    "__aiter__": "__iter__",
    "__anext__": "__next__",
    "__aenter__": "__enter__",
    "__aexit__": "__exit__",
    "__call__": "__call__",
}


def members(kind: type) -> set[str]:
    return {name for name in (*dir(kind), *getattr(kind, "__slots__", ())) if not name.startswith("_")}


@pytest.mark.parametrize("kind", PAIRS, ids=lambda kind: kind.__name__)
def test_each_public_member_has_a_blocking_counterpart(kind: type) -> None:
    blocking, internal = PAIRS[kind]
    assert internal <= members(kind), "the list of internals is out of date"
    assert members(kind) - internal - members(blocking) == set()
    assert not [name for name in members(blocking) if inspect.iscoroutinefunction(inspect.getattr_static(blocking, name))]
    for name, counterpart in COUNTERPARTS.items():
        assert not hasattr(kind, name) or hasattr(blocking, counterpart), name


def parameters(function: Callable[..., Any]) -> list[tuple[str, Any, Any]]:
    return [(parameter.name, parameter.kind, parameter.default) for parameter in inspect.signature(function).parameters.values()]


@pytest.mark.parametrize("kind", PAIRS, ids=lambda kind: kind.__name__)
def test_each_method_takes_the_same_arguments(kind: type) -> None:
    blocking, internal = PAIRS[kind]
    for name in members(kind) - internal:
        function = getattr(kind, name)
        if inspect.isfunction(function) and kind is not a2alinker.Call:  # whose methods are those of a future
            mirrored = inspect.getattr_static(blocking, name)
            there = parameters(getattr(mirrored, "method", mirrored))
            if there[-1][0] == "timeout" and there[-1] not in parameters(function):
                assert there.pop()[1:] == (inspect.Parameter.KEYWORD_ONLY, None)
            assert there == parameters(function), name


def test_host_and_join_take_the_same_arguments() -> None:
    assert parameters(sync.host) == parameters(a2alinker.host)
    assert parameters(sync.join) == parameters(a2alinker.join)


def test_a_missing_counterpart_would_be_found() -> None:
    class Grown(a2alinker.Invite):
        def extend(self) -> None: ...

    assert members(Grown) - members(sync.Invite) == {"extend"}


def test_what_is_documented_there_is_documented_here() -> None:
    for kind, (blocking, _) in PAIRS.items():
        assert blocking.__doc__
        for name in members(blocking):
            if not hasattr(kind, name) or inspect.getdoc(getattr(kind, name)):
                assert inspect.getdoc(inspect.getattr_static(blocking, name)), f"{blocking.__name__}.{name}"


def test_the_types_are_those_of_the_answers() -> None:
    with pair([shout]) as (host, worker):
        assert_type(host.remote("shout", returns=str)("a"), str)
        assert_type(host.remote("shout", returns=str).submit("a"), sync.Call[str])
        assert_type(host.wait_for(skill="shout", timeout=LIMIT), sync.Peer)
        assert_type(host.discover(skill="shout"), list[sync.Peer])
        assert_type(host.send("worker", "hello"), sync.Receipt)
        assert_type(host.request.submit("worker", "hello"), sync.Call[sync.Message])
        assert_type(worker.receive(timeout=LIMIT), sync.Message)
        assert_type(worker.receive(timeout=LIMIT).sender, sync.Peer)
        with pytest.raises(TypeError, match="tll"):
            host.send("worker", "hello", tll=3)  # type: ignore[call-arg]


# -- what it does --


def test_messages_requests_and_calls_go_both_ways() -> None:
    with pair([shout, count]) as (host, worker):
        receipt = host.send("worker", "plain", until="done", headers={"n": 1})
        receipt.delivered(timeout=LIMIT)
        with pytest.raises(TimedOut):
            receipt.done(timeout=0.05)
        answer = host.request.submit("worker", "question")
        for message in worker:
            if message.wants_answer:
                message.progress("partial")
                message.reply({"to": message.body})
                break
            assert (message.body, message.headers, message.sender.name) == ("plain", {"n": 1}, "host")
        assert list(answer) == ["partial"]
        assert answer.result(LIMIT).body == {"to": "question"}
        receipt.done(timeout=LIMIT)
        assert list(receipt) == ["done"]
        assert receipt.peer == host.discover(name="worker")[0] == next(iter(host.peers.values()))

        assert host.call("shout", "a", timeout=LIMIT) == "A"
        call = host.call.submit("count", 3)
        assert isinstance(call, Future)
        assert list(call) == [0, 1, 2]
        assert call.result(LIMIT) == 3
        assert call.peer == answer.peer == receipt.peer
        assert call.attempt == 1

        refused = worker.request.submit("host", "no?")
        host.receive(timeout=LIMIT).refuse("not today")
        with pytest.raises(CallRefused, match="not today"):
            refused.result(LIMIT)
        group = worker.send(["host"], "to several", until="done")
        host.receive(timeout=LIMIT).refuse("no")
        with pytest.raises(a2alinker.Undelivered):
            group.done(timeout=LIMIT)
        with pytest.raises(Refused):
            group.parts[0].done(timeout=LIMIT)


def test_what_goes_wrong_is_raised_where_it_is_waited_for() -> None:
    def fail() -> None:
        raise KeyError("lost")

    def sleep(context: Context) -> None:
        while not context.cancelled:
            time.sleep(0.01)

    with pair([fail, sleep]) as (host, worker):
        with pytest.raises(RemoteError, match="lost"):
            host.call("fail")
        with pytest.raises(SkillUnknown):
            host.call.submit("nothing")
        with pytest.raises(CallTimeout):
            host.call("sleep", timeout=0.05)
        with pytest.raises(TimedOut):
            worker.wait_for(skill="nothing", timeout=0.05)
        with pytest.raises(TimedOut):
            worker.receive(timeout=0.05)
        with pytest.raises(a2alinker.BodyError):
            host.send_nowait("worker", object())
    with pytest.raises(AgentClosed):
        host.send("worker", "too late")
    with pytest.raises(AgentClosed):
        host.receive()
    host.close()


def test_a_cancelled_future_cancels_the_call() -> None:
    began, ended = threading.Event(), threading.Event()

    def work(context: Context) -> None:
        began.set()
        while not context.cancelled:
            time.sleep(0.01)
        ended.set()

    with pair([work]) as (host, _):
        call = host.call.submit("work")
        assert began.wait(LIMIT)
        assert call.cancel()
        assert call.cancelled()
        with pytest.raises(CancelledError):
            call.result(LIMIT)
        assert ended.wait(LIMIT)


def test_many_calls_are_spread_by_map() -> None:
    cancelled = threading.Event()

    def double(n: int, context: Context) -> int:
        while n == 13 and not context.cancelled:
            time.sleep(0.01)
        if n == 13:
            cancelled.set()
        return 2 * n

    with pair([a2alinker.skill(concurrency=8)(double)]) as (host, _):
        remote = host.remote("double", returns=int)
        assert list(remote.map(range(8), ordered=True, limit=4)) == [2 * n for n in range(8)]
        # What makes the items may block, and use the agent.
        assert sorted(remote.map((host.call("double", n) for n in range(4)), limit=2)) == [0, 4, 8, 12]
        answers = remote.map([1, 13, 2])
        assert next(answers) in (2, 4)
        answers.close()
        assert cancelled.wait(LIMIT)


def test_invites_events_skills_and_switchboards() -> None:
    with sync.Switchboard() as switchboard, sync.host("host", switchboard=switchboard) as host:
        happened = host.events()
        invite = host.invite(kind="ticket", uses=None, local=True)
        with pytest.raises(TimedOut):
            invite.joined(timeout=0.05)
        with sync.join("worker", invite) as worker:
            assert invite.joined(timeout=LIMIT).name == "worker"
            while not (isinstance(event := happened.receive(timeout=LIMIT), PeerEvent) and event.what == "up"):
                pass
            host.send(event.peer, "hello").delivered(timeout=LIMIT)

            @worker.skill(tags=["loud"])
            def shout(text: str) -> str:
                "Makes it loud."
                return text.upper()

            peer = host.wait_for(skill="shout", timeout=LIMIT)
            assert peer.describe("shout").description == "Makes it loud."
            assert peer.skills["shout"].tags == ("loud",)
            assert repr(host.peers) == "<Peers worker>"
        invite.revoke()
        with pytest.raises(InviteRevoked):
            invite.joined(timeout=LIMIT)
        assert host._repr_html_()
        assert str(invite) not in repr(invite)
    assert list(happened)[-1:] != []


def test_a_skill_may_use_its_own_agent_from_its_thread_and_chains_end() -> None:
    def circle(context: Context) -> Any:
        try:
            return context.agent.sync.call("circle", to=context.peer.id)
        except (TooDeep, RemoteError):  # the last one could not even answer
            return "deep enough"

    with pair() as (host, worker):
        for agent in (host, worker):
            agent.skill(a2alinker.skill(concurrency=100)(circle))
        for agent in (host, worker):
            agent.wait_for(skill="circle", timeout=LIMIT)
        assert host.call("circle", timeout=30) == "deep enough"


# -- where it runs --


async def test_it_works_inside_a_running_loop() -> None:
    with pair([shout]) as (host, worker):
        assert host.call("shout", "a") == "A"
        await asyncio.to_thread(worker.send, "host", "from a thread")
        assert host.receive(timeout=LIMIT).body == "from a thread"


async def test_ten_threads_use_one_agent_at_a_time() -> None:
    def work(agent: sync.Agent, number: int) -> list[str]:
        agent.send("worker-0", number).delivered(timeout=LIMIT)
        return [agent.call("shout", f"{number}-{turn}") for turn in range(20)]

    async with asynchronous_pair([a2alinker.skill(concurrency=4)(shout)]) as (host, worker):
        with ThreadPoolExecutor(10) as threads:
            loop = asyncio.get_running_loop()
            answers = await asyncio.gather(*[loop.run_in_executor(threads, work, host.sync, number) for number in range(10)])
        assert answers == [[f"{number}-{turn}" for turn in range(20)] for number in range(10)]
        received = {(await asyncio.to_thread(worker.sync.receive, timeout=LIMIT)).body for _ in range(10)}
        assert received == set(range(10))


async def test_waiting_on_the_loop_of_the_agent_would_be_a_deadlock() -> None:
    async def ask(context: Context) -> str:
        with pytest.raises(WouldDeadlock):
            context.agent.sync.call("ask")
        return context.agent.sync.name

    async with asynchronous_pair([ask]) as (host, _):
        with pytest.raises(WouldDeadlock):
            host.sync.send("worker-0", "hello")
        call = await asyncio.to_thread(host.sync.call.submit, "ask")
        with pytest.raises(WouldDeadlock):
            call.result()
        assert next(iter(host.sync.peers.values())).name == "worker-0"
        assert await asyncio.wrap_future(call) == "worker-0"
    with pair([ask]) as (blocking, _):
        assert blocking.call("ask") == "worker"


def test_an_agent_whose_loop_stands_still_is_an_error_and_no_hang() -> None:
    loop = asyncio.new_event_loop()
    host = loop.run_until_complete(a2alinker.host("host").__aenter__())
    with pytest.raises(NoEventLoop):
        host.sync.wait_for(name="nobody")

    with ThreadPoolExecutor(1) as threads:

        async def until_asked() -> Future[Any]:
            waiting = threads.submit(host.sync.wait_for, name="nobody")
            while not host._roster._changed._waiters:  # noqa: ASYNC110
                await asyncio.sleep(0.01)
            return waiting

        waiting = loop.run_until_complete(until_asked())
        with pytest.raises(NoEventLoop):
            waiting.result(LIMIT)
    loop.run_until_complete(host.close())
    loop.close()
    with pytest.raises(NoEventLoop):
        host.sync.health()
    assert "closed" in repr(host.sync)


def test_who_waits_for_a_call_when_the_loop_stops_hears_of_it() -> None:
    loop = asyncio.new_event_loop()
    host = loop.run_until_complete(a2alinker.host("host").__aenter__())
    ticket = loop.run_until_complete(host.invite(kind="ticket", local=True))
    worker = loop.run_until_complete(a2alinker.join("worker", ticket).__aenter__())
    loop.run_until_complete(host.wait_for(name="worker", timeout=LIMIT))
    turning = threading.Thread(target=loop.run_forever)
    turning.start()
    call = host.sync.request.submit("worker", "nobody reads this")
    loop.call_soon_threadsafe(loop.stop)
    turning.join()

    with ThreadPoolExecutor(1) as threads, pytest.raises(NoEventLoop):
        threads.submit(call.result).result(LIMIT)

    for agent in (worker, host):
        with contextlib.suppress(Undelivered):
            loop.run_until_complete(agent.close(timeout=1))
    loop.close()


def test_who_waits_when_the_loop_ends_hears_of_it() -> None:
    waiting: list[Future[Any]] = []

    async def main(threads: ThreadPoolExecutor) -> None:
        async with a2alinker.host("host") as host:
            waiting.append(threads.submit(host.sync.serve_forever))
            waiting.append(threads.submit(host.sync.wait_for, name="nobody"))
            while not (host._roster._changed._waiters and host._seam._ended._waiters):  # noqa: ASYNC110
                await asyncio.sleep(0.01)

    with ThreadPoolExecutor(2) as threads:
        asyncio.run(main(threads))
        waiting[0].result(LIMIT)
        with pytest.raises((AgentClosed, NoEventLoop)):
            waiting[1].result(LIMIT)


def test_an_agent_that_is_dropped_leaves_no_link() -> None:
    with sync.Switchboard() as switchboard:
        agents = [sync.host("host", switchboard=switchboard)]
        with pytest.warns(ResourceWarning, match="was not closed"):
            agents[0] = sync.host("host", switchboard=switchboard)  # a cell of a notebook that is run twice
        deadline = time.monotonic() + LIMIT
        while switchboard.stats()["links"] > 1:
            assert time.monotonic() < deadline
            time.sleep(0.01)
        agents[0].close()


# -- processes --

OPENED = """
import os, sys, threading, time
import a2alinker
from a2alinker import sync
def work(context: a2alinker.Context) -> None:
    print("working", flush=True)
    while not context.cancelled:
        time.sleep(0.01)
    print("cancelled there\\n", end="", flush=True)
host = sync.host("host", skills=[work])
other = sync.join("other", host.invite(kind="ticket", local=True))
other.wait_for(skill="work", timeout=30)
host.wait_for(name="other", timeout=30)
"""

INTERRUPTIBLE = {
    "call": "other.call('work')",
    "serve_forever": "print('working', flush=True); host.serve_forever()",
    "messages": "print('working', flush=True); [message for message in host]",
    "wait_for": "print('working', flush=True); host.wait_for(name='nobody')",
}


@pytest.mark.parametrize("what", INTERRUPTIBLE)
def test_ctrl_c_ends_each_wait_at_once(what: str) -> None:
    program = f"""{OPENED}
with host, other:
    for turn in range(3):
        try:
            {INTERRUPTIBLE[what]}
        except KeyboardInterrupt:
            print(f"interrupted {{time.monotonic()}}\\ncalls {{other.health()['calls']}}\\n", end="", flush=True)
"""
    took = []
    with running(program) as process:
        lines = lines_of(process)
        for _ in range(3):
            wait_for(lines, "working")
            time.sleep(0.05)  # the wait that is to be interrupted begins after the line
            sent = time.monotonic()
            process.send_signal(signal.SIGINT)
            told = dict(next(lines).split() for _ in range(2))
            if what == "call":  # the other side hears of it as well, before or after
                told |= dict([next(lines).split()])
                assert told.pop("cancelled") == "there"
            took.append(float(told.pop("interrupted")) - sent)
            assert told == {"calls": "0"}
        assert process.wait(LIMIT) == 0
        assert stderr_of(process) == ""
    print(f"from Ctrl-C to KeyboardInterrupt in {what}: {median(took) * 1000:.1f} ms")  # noqa: T201  the figure is part of the result
    assert median(took) < INTERRUPTED_WITHIN


def test_ctrl_c_that_ends_a_program_ends_its_agents_too() -> None:
    with running(f"{OPENED}\nwith host, other:\n    other.call('work')") as process:
        lines = lines_of(process)
        wait_for(lines, "working")
        process.send_signal(signal.SIGINT)
        wait_for(lines, "cancelled")
        assert process.wait(LIMIT) in (-signal.SIGINT, 130)
        assert stderr_of(process).splitlines()[-1] == "KeyboardInterrupt"


def test_a_program_may_end_with_open_agents() -> None:
    with running(f"{OPENED}\nreceipt = host.send('other', 'last words'); other.call.submit('work', timeout=0.2)") as process:
        assert process.wait(LIMIT) == 0
        assert stderr_of(process) == ""


def test_a_thread_that_waits_when_the_program_ends_makes_no_noise() -> None:
    with running(f"{OPENED}\nthreading.Thread(target=host.serve_forever, daemon=True).start()\ntime.sleep(0.1)") as process:
        assert process.wait(LIMIT) == 0
        assert stderr_of(process) == ""


@pytest.mark.skipif(not hasattr(os, "fork"), reason="this system can't fork")
def test_a_forked_process_is_told() -> None:
    program = f"""{OPENED}
child = os.fork()
if child == 0:
    for use in (lambda: host.send("other", 1), lambda: sync.host("again"), host.close, lambda: other.call("work")):
        try:
            use()
        except a2alinker.Forked:
            print("forked", flush=True)
    print("child ends", flush=True)
    sys.exit()
assert os.waitpid(child, 0)[1] == 0
print(other.send("host", "still there").delivered(timeout=10), flush=True)
host.close(); other.close()
"""
    with running(program) as process:
        assert process.wait(LIMIT) == 0
        assert list(lines_of(process)) == ["forked"] * 4 + ["child ends", "None"]
        assert stderr_of(process) == ""


@pytest.mark.skipif(not hasattr(os, "fork"), reason="this system can't fork")
def test_a_process_forked_before_anything_was_opened_may_open_agents() -> None:
    program = """
import os, sys
from a2alinker import sync
if os.fork() == 0:
    with sync.host("child") as agent:
        print(agent.name, flush=True)
    sys.exit()
assert os.wait()[1] == 0
"""
    with running(program) as process:
        assert list(lines_of(process)) == ["child"]
        assert process.wait(LIMIT) == 0


@contextlib.contextmanager
def running(program: str) -> Iterator[subprocess.Popen[str]]:
    """Runs a program that shows all warnings."""
    command = [sys.executable, "-W", "default", "-c", program]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
        try:
            yield process
        finally:
            if process.poll() is None:
                process.kill()


def lines_of(process: subprocess.Popen[str]) -> Iterator[str]:
    assert process.stdout is not None
    return map(str.strip, process.stdout)


def wait_for(lines: Iterator[str], first_word: str) -> str:
    return next(line for line in lines if line.startswith(first_word))


def stderr_of(process: subprocess.Popen[str]) -> str:
    assert process.stderr is not None
    return process.stderr.read()


def test_large_bodies_are_read_and_saved_without_a_loop(tmp_path: Path) -> None:
    data = os.urandom(1_500_000)
    (tmp_path / "report.bin").write_bytes(data)
    with pair() as (host, worker):
        receipts = [host.send("worker", source) for source in (data, a2alinker.File(tmp_path / "report.bin"), iter([data[:9], data[9:]]))]
        bodies = [worker.receive(timeout=LIMIT).body for _ in receipts]
        assert all(isinstance(body, sync.IncomingBody) for body in bodies)
        assert [(body.name, body.length) for body in bodies] == [(None, len(data)), ("report.bin", len(data)), (None, None)]
        assert b"".join(bodies[0]) == data
        assert bodies[1].save(tmp_path).name == "report-2.bin"
        assert bodies[2].read() == data
        for receipt in receipts:
            receipt.delivered(timeout=LIMIT)
            assert receipt.progress == (len(data), len(data))
        assert bodies[0].received == len(data)
        with pytest.raises(AlreadyConsumed):
            bodies[1].read()
        refused = host.send("worker", data, until="done")
        worker.receive(timeout=LIMIT).body.close("not that one")
        with pytest.raises(Refused, match="not that one"):
            refused.done(timeout=LIMIT)
