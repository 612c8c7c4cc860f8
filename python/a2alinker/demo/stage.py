"""Starts the processes of the demo, kills one of them while it works, and watches.

The stage takes no part in the work. It stands where an operator would: it sees the processes, the planner's account of what happens,
and, through the tap, what crosses the switchboard's sockets.
"""

import asyncio
import contextlib
import json
import signal
import tempfile
from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from .._processes import ProcessError, python, switchboard
from . import evidence
from .agents import REVIEWERS
from .board import Board, Display, Task
from .tap import Recording, Tap

AGENTS = ("planner", *REVIEWERS, "tester")

KILL_FROM = 0.3
"""Share of a task from which on its worker may be killed: it has begun for sure."""

KILL_MARGIN = 0.3
"""Seconds of work that must be left: the answer can't be out before the signal is there."""


@dataclass(slots=True)
class Outcome:
    """What the stage saw."""

    board: Board
    recordings: list[Recording]
    control: list[Recording]
    kill: "Kill | None"
    exit_codes: dict[str, int]


@dataclass(slots=True)
class Kill:
    """A worker was killed while it was at this task."""

    victim: str
    task: Task
    share: float  # of the task, when the signal was sent


async def play(source: Path, *, shows: bool = True) -> Outcome:
    """Plays the demo once. `shows`: whether to draw what happens.

    Raises:
        ProcessError: a process ended before its time, or didn't start.
    """
    board = Board(f"a2alinker demo: {source.name}", list(AGENTS))
    display = Display(board)
    kill: Kill | None = None
    agents: dict[str, asyncio.subprocess.Process] = {}
    async with contextlib.AsyncExitStack() as stack:
        # A tester that is broken off leaves what it wrote there.
        workspace = stack.enter_context(tempfile.TemporaryDirectory(prefix="a2alinker-demo-", ignore_cleanup_errors=True))
        address, _ = await stack.enter_async_context(switchboard(plain=True))
        host, port = urlsplit(address).hostname or "", urlsplit(address).port or 0
        board.note(f"a2alinker switchboard listens on {address}; a tap stands in front of it")
        tap = await stack.enter_async_context(Tap(host, port))
        async with contextlib.AsyncExitStack() as cast:
            planner = agents["planner"] = await cast.enter_async_context(
                agent(workspace, "planner", f"ws://127.0.0.1:{tap.port}", str(source))
            )
            if shows:
                cast.callback(asyncio.create_task(redraw(display)).cancel)
            async for event in events(planner):
                board.take(event)
                if event["event"] == "ticket":
                    for name in AGENTS[1:]:
                        role = name.partition("-")[0]
                        agents[name] = await cast.enter_async_context(agent(workspace, role, name, ticket=event["ticket"]))
                elif event["event"] == "progress" and kill is None:
                    kill = kill_if_at_work(agents, board, event)
                elif event["event"] == "end":
                    break
        if shows:
            display.update(final=True)
        recordings = list(tap.recordings)
        await evidence.plant("127.0.0.1", tap.port, planted(board))
    codes = {name: process.returncode or 0 for name, process in agents.items()}
    return Outcome(board, recordings, tap.recordings[len(recordings) :], kill, codes)


def kill_if_at_work(agents: dict[str, asyncio.subprocess.Process], board: Board, event: dict[str, Any]) -> Kill | None:
    """Kills a reviewer if this is its own sign of life from the middle of a task."""
    task, victim = board.under_way[event["job"]], event["worker"]
    share = event["done"] / max(1, event["total"])
    if victim not in REVIEWERS or share < KILL_FROM or task.seconds_left(share) < KILL_MARGIN:
        return None
    agents[victim].send_signal(signal.SIGKILL)
    board.kill(victim, f"SIGKILL for {victim}, {share:.0%} through {task.skill} {task.path}")
    return Kill(victim, task, share)


def planted(board: Board) -> list[str]:
    """One name of each kind, for the control of the search."""
    return [max(names, key=len) for names in names_of(board).values()]


def names_of(board: Board) -> dict[str, set[str]]:
    """All that must not be seen: the names of files, of what is in them, of skills and of agents."""
    functions = {part for task in board.finished for function in task.result.get("functions", ()) for part in function["name"].split(".")}
    return {
        "file names": set(board.lines),
        "names of functions and classes": functions,
        "skill names": set(board.facts["skills"]),
        "agent names": set(AGENTS),
    }


def agent(workspace: str, *arguments: str, ticket: str = "") -> contextlib.AbstractAsyncContextManager[asyncio.subprocess.Process]:
    """Runs one agent; the ticket goes by its environment, where other users can't read it, never by its arguments."""
    environment = {"A2ALINKER_TICKET": ticket, "TMPDIR": workspace}
    return python("-m", f"{__package__}.agents", *arguments, environment=environment)


async def events(planner: asyncio.subprocess.Process) -> AsyncIterator[dict[str, Any]]:
    """What the planner tells, line by line; it must not end by itself."""
    assert planner.stdout is not None  # a pipe was asked for
    async for line in planner.stdout:
        yield json.loads(line)
    raise ProcessError(f"the planner ended early, with code {await planner.wait()}")


async def redraw(display: Display) -> None:
    """Keeps the clock in the table going."""
    while True:
        display.update()
        await asyncio.sleep(0.1)
