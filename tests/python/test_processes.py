"""Agents in separate processes, through a switchboard in another one, over TLS."""

import asyncio
import contextlib
import os
import signal
import sys
import time
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

import a2alinker
from a2alinker import PeerGone, StreamRestarted
from a2alinker._processes import python, switchboard
from swarms import until
from terminals import environment, play

AT_WORK = 1.0  # seconds of processor after which an agent has surely begun with what it is there for
ENDED_WITHIN = 2.5  # seconds from Ctrl-C to the prompt; half a second on a machine that has nothing else to do
EXAMPLES = Path(__file__).parents[2] / "examples"

WORKER = """
import asyncio, os, sys
import a2alinker

@a2alinker.skill(concurrency=8)
async def work(seconds: float, context: a2alinker.Context):
    yield os.getpid()
    if context.attempt == 1:
        await asyncio.sleep(seconds)

@a2alinker.skill
def pid() -> int:
    return os.getpid()

async def main():
    async with a2alinker.join(sys.argv[1], skills=[work, pid]) as agent:
        print("ready", flush=True)
        await asyncio.get_running_loop().run_in_executor(None, sys.stdin.read)

asyncio.run(main())
"""


@contextlib.asynccontextmanager
async def worker(name: str, host: a2alinker.Agent) -> AsyncIterator[asyncio.subprocess.Process]:
    """Runs a worker in a process of its own until the end of the block, or until it is killed."""
    invite = await host.invite(kind="ticket", local=True)
    async with python("-c", WORKER, name, environment={"A2ALINKER_TICKET": str(invite)}) as process:
        assert process.stdout is not None
        assert await process.stdout.readline() == b"ready\n"
        await invite.joined()
        yield process


async def test_a_worker_in_another_process_answers() -> None:
    async with switchboard() as (address, _), a2alinker.host("host", switchboard=address) as host, worker("worker", host) as process:
        assert await host.call("pid") == process.pid
        call = host.call("work", 0.01)
        assert [part async for part in call] == [process.pid]


async def test_the_work_of_a_killed_worker_is_finished_by_another() -> None:
    async with (
        switchboard() as (address, _),
        a2alinker.host("host", switchboard=address, peer_gone_after=1.0) as host,
        worker("one", host) as one,
        worker("two", host) as two,
    ):
        await until(lambda: len(host.discover(skill="work")) == 2)
        calls = [host.call("work", 600) for _ in range(6)]
        pids = [await anext(aiter(call)) for call in calls]
        victim, survivor = (one, two) if one.pid in pids else (two, one)
        orphans = [call for call, pid in zip(calls, pids, strict=True) if pid == victim.pid]
        assert orphans
        os.kill(victim.pid, signal.SIGKILL)
        assert await asyncio.gather(*orphans) == [None] * len(orphans)
        survivors_name = "two" if survivor is two else "one"
        for call in orphans:
            assert call.attempt == 2
            assert call.peer is not None
            assert call.peer.name == survivors_name
            with pytest.raises(StreamRestarted) as restarted:
                [part async for part in call]
            assert restarted.value.attempt == 2
            assert [part async for part in call] == [survivor.pid]
        for call in calls:
            assert call.cancel() is (call not in orphans)


async def test_a_call_to_a_killed_peer_fails_as_gone() -> None:
    async with (
        switchboard() as (address, _),
        a2alinker.host("host", switchboard=address, peer_gone_after=0.5) as host,
        worker("one", host) as process,
    ):
        call = host.call("work", 60, to="one")
        assert await anext(aiter(call)) == process.pid
        process.kill()
        with pytest.raises(PeerGone) as caught:
            await call
        assert caught.value.retryable
        assert len(caught.value.peer) == 52


async def test_the_agents_find_their_way_back_when_the_switchboard_restarts(tmp_path: Path) -> None:
    key = tmp_path / "key"
    options = ("-m", "a2alinker", "switchboard", "--listen")
    async with contextlib.AsyncExitStack() as stack:
        first = await asyncio.create_subprocess_exec(
            sys.executable,
            *options,
            "127.0.0.1:0",
            "--new-key",
            str(key),
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.DEVNULL,
        )
        assert first.stdout is not None
        address = (await first.stdout.readline()).decode().strip()
        host = await stack.enter_async_context(a2alinker.host("host", switchboard=address, peer_gone_after=30))
        await stack.enter_async_context(worker("one", host))
        await host.wait_for(skill="pid", timeout=20)
        events = host.events()
        first.kill()
        await first.wait()
        while not isinstance(event := await anext(events), a2alinker.LinkDown):
            pass
        assert event.retry_in >= 0
        call = host.call("pid")
        port = address.partition("#")[0].rpartition(":")[2]
        second = await asyncio.create_subprocess_exec(
            sys.executable,
            *options,
            f"127.0.0.1:{port}",
            "--key",
            str(key),
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.DEVNULL,
        )
        try:
            assert second.stdout is not None
            assert (await second.stdout.readline()).decode().strip() == address
            async with asyncio.timeout(30):
                assert await call > 0
        finally:
            await stack.aclose()
            second.terminate()
            await second.wait()


async def test_the_examples_run_as_they_stand() -> None:
    async with python(str(EXAMPLES / "review.py")) as process:
        assert process.stdout is not None
        assert (await process.stdout.read()).decode().splitlines() == [
            "Finds functions without a docstring.",
            "line 1: f() needs a docstring",
        ]
    async with (
        switchboard() as (address, _),
        python(str(EXAMPLES / "relay_host.py"), environment={"A2ALINKER_SWITCHBOARD": address}) as host,
    ):
        assert host.stdout is not None
        ticket = (await host.stdout.readline()).decode().strip()
        async with python(str(EXAMPLES / "relay_worker.py"), environment={"A2ALINKER_TICKET": ticket}, interruptible=True) as served:
            assert (await host.stdout.read()).decode().split() == ["1", "2", "3"]
            served.send_signal(signal.SIGINT)
            assert await served.wait() == 0


@pytest.mark.parametrize(
    ("command", "shown", "processes"),
    [
        ("demo", "a2alinker demo: asyncio", 3),
        ("demo", "% through", 5),
        ("bench --workload one-way --seconds 60 --bare none", "no ratios", 2),
        ("bench --workload one-way --seconds 60 --bare none --no-tls", "no ratios", 4),
    ],
)
def test_ctrl_c_ends_a_command_of_several_processes_at_once_and_quietly(command: str, shown: str, processes: int, tmp_path: Path) -> None:
    variables = {**environment(tmp_path), "TMPDIR": str(tmp_path), "A2L_TEST_MARK": str(tmp_path)}
    with play(tmp_path, variables, {}) as terminals:
        terminals.block(f"1$ a2alinker {command}; echo ended with $?")
        terminals.press("1", shown, "")
        asyncio.run(until(lambda: len(processes_of(tmp_path)) >= processes, 30))
        terminals.press("1", "", "\x03")
        begin = time.monotonic()
        terminals.block("1> …ended with 130")
        took = time.monotonic() - begin
        told = terminals.history("1")
        asyncio.run(until(lambda: processes_of(tmp_path) == []))
    assert "Traceback" not in told
    assert "Error" not in told
    assert took < ENDED_WITHIN


@pytest.mark.parametrize(
    ("command", "worker"),
    [("demo", "agents reviewer"), ("bench --json --workload one-way --seconds 60 --bare none --no-tls", "peers sender")],
)
async def test_who_interrupts_the_first_process_alone_ends_all_of_them_at_work(command: str, worker: str, tmp_path: Path) -> None:
    variables = {**os.environ, "TMPDIR": str(tmp_path), "A2L_TEST_MARK": str(tmp_path)}
    pipe = asyncio.subprocess.PIPE
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "a2alinker", *command.split(), env=variables, stdout=pipe, stderr=pipe
    )
    await until(lambda: any(worker in line and seconds > AT_WORK for line, seconds in processes_of(tmp_path)), 40)
    begin = time.monotonic()
    process.send_signal(signal.SIGINT)
    _, told = await process.communicate()
    took = time.monotonic() - begin
    assert (process.returncode, b"Traceback" in told) == (130, False), told.decode()
    assert took < ENDED_WITHIN
    await until(lambda: processes_of(tmp_path) == [])
    assert list(tmp_path.iterdir()) == []  # noqa: ASYNC240  one look at the disk


def processes_of(mark: Path) -> list[tuple[str, float]]:
    """The processes that have this mark in their environment, the shell aside: command line, and seconds of processor."""
    found = []
    for process in Path("/proc").iterdir():
        with contextlib.suppress(OSError):
            if process.name.isdigit() and f"A2L_TEST_MARK={mark}".encode() in (process / "environ").read_bytes().split(b"\0"):
                command = (process / "cmdline").read_bytes().replace(b"\0", b" ").decode()
                user, system = (process / "stat").read_text().rpartition(")")[2].split()[11:13]
                found.append((command, (int(user) + int(system)) / os.sysconf("SC_CLK_TCK")))
    return [(command, seconds) for command, seconds in found if not command.startswith("bash ")]
