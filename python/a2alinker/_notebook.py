"""Agents of a notebook's cell, when that cell runs again. Imported only where IPython is.

The policy, in sentences. What was opened while a cell ran, and is still open, is closed when the same cell runs again and opens an agent: before
the new one opens, so that its port, its name and its agent file are free. What it had sent has two seconds to be delivered; what isn't by then
is told in a warning. Several agents of one run live side by side, and those of other cells are never touched. The same cell is the one with the
same id, where the frontend sends ids, whatever its text; otherwise the one with the same text. A task that a cell started belongs to
that run of it for as long as it lives, and what an older run opens late never closes what a later one has.

An agent is closed on its own loop. If that doesn't turn, as the kernel's while a cell blocks in `a2alinker.sync`, the agent is ended at once.

Outside of cells (scripts, plain Python, callbacks of widgets) nothing of this happens.
"""

from __future__ import annotations

import asyncio
import itertools
import sys
import threading
import warnings
import weakref
from collections.abc import Awaitable, Callable, Coroutine
from concurrent.futures import Future
from typing import Any, Final, NamedTuple, TypeVar

from ._loop import running_loop
from .agent import Agent
from .exceptions import Undelivered

T = TypeVar("T")

CLOSING: Final = 2.0  # seconds for what an earlier run had sent; chosen: whoever runs a cell again waits for its new agent
TURN: Final = 0.3  # seconds after which a loop counts as blocked; chosen: far more than a callback takes, and no long wait
REMEMBERED: Final = 1024  # runs whose order is known; chosen: a long day's work. Beyond it the oldest are forgotten


class Run(NamedTuple):
    """One run of one cell."""

    cell: str | int
    number: int  # higher ones came later


def current_run() -> Run | None:
    """Returns the run of a cell to which the running code belongs, None if it belongs to none."""
    shell = getattr(sys.modules.get("IPython"), "get_ipython", lambda: None)()
    if shell is None:
        return None
    if hasattr(shell, "get_parent"):  # a kernel, which knows the request that its frontend sent
        request = shell.get_parent() or {}
        header = request.get("header", {})
        if header.get("msg_type") != "execute_request":
            return None
        cell = request.get("metadata", {}).get("cellId") or hash(request["content"]["code"])
        return Run(cell, _number(cell, header["msg_id"]))
    sources = shell.user_ns.get("In")
    if not sources or not sources[-1]:
        return None
    cell = hash(sources[-1])
    return Run(cell, _number(cell, shell.execution_count))


_counter = itertools.count()
_numbers: dict[tuple[str | int, str | int], int] = {}  # by cell, and what tells its runs apart
_made: weakref.WeakKeyDictionary[Any, Run] = weakref.WeakKeyDictionary()
_lock = threading.Lock()  # cells run in one thread, the loop of `a2alinker.sync` in another


def _number(cell: str | int, run: str | int) -> int:
    with _lock:
        if (number := _numbers.get((cell, run))) is None:
            number = _numbers[cell, run] = next(_counter)
            if len(_numbers) > REMEMBERED:
                del _numbers[next(iter(_numbers))]
        return number


def remember(thing: object, run: Run) -> None:
    """Notes what a run has made, for as long as somebody holds it."""
    with _lock:
        _made[thing] = run


def forget(thing: object) -> None:
    """It is over."""
    with _lock:
        _made.pop(thing, None)


def earlier(run: Run, kind: type[T]) -> list[T]:
    """Returns what earlier runs of the same cell have made, the last one first, as what was made later may need what was before."""
    with _lock:
        made = [thing for thing, its in _made.items() if isinstance(thing, kind) and its.cell == run.cell and its.number < run.number]
    return made[::-1]


async def open_in_cell(open_: Callable[[], Coroutine[Any, Any, Agent]]) -> Agent:
    """Opens an agent. If a cell does it, what its earlier runs have opened is closed before."""
    run = current_run()
    if run is None:
        return await open_()
    for agent in earlier(run, Agent):
        await _close(agent)
        forget(agent)  # only then: another agent of this run, which opens meanwhile, waits for the same
    agent = await open_()
    remember(agent, run)
    return agent


async def _close(agent: Agent) -> None:
    seam = agent._seam
    if not seam.is_attached:
        return
    if seam.loop is not running_loop() and not await _turns(seam.loop):
        _warn(agent, agent.health()["unconfirmed"])
        agent.abandon()
        if agent._switchboard is not None:
            await agent._switchboard.close()
        return
    try:
        await _on(seam.loop, lambda: agent.close(timeout=CLOSING))
    except Undelivered as undelivered:
        _warn(agent, len(undelivered.receipts))


def _warn(agent: Agent, unconfirmed: int) -> None:
    if unconfirmed:
        text = f"agent {agent.name!r} of an earlier run of this cell was closed, and {unconfirmed} of its messages were unconfirmed"
        warnings.warn(text, RuntimeWarning, stacklevel=2)


async def _turns(loop: asyncio.AbstractEventLoop) -> bool:
    if not loop.is_running():
        return False
    try:
        async with asyncio.timeout(TURN):
            await _on(loop, lambda: asyncio.sleep(0))
    except TimeoutError:
        return False
    return True


async def _on(loop: asyncio.AbstractEventLoop, start: Callable[[], Awaitable[None]]) -> None:
    from ._bridge import Bridge

    if loop is running_loop():
        return await start()
    future: Future[None] = Future()
    Bridge(loop).submit(start, future)
    return await asyncio.wrap_future(future)
