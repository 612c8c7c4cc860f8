"""How an adapter reaches an agent, from whatever thread or event loop a framework calls it on.

CrewAI calls tools on worker threads, Swarm in a plain program, the Agents SDK in coroutines. What an adapter wants of its agent is a coroutine
function that runs on the agent's own loop; `Reach` takes it there and brings back what it gives.

A framework's run that is cancelled leaves its worker threads waiting, as Python's threads can't be stopped. A `CancelScope` ends those waits,
and with them the calls of other agents that they wait for. Scopes are found by context variable, which `asyncio.to_thread` and the frameworks'
own thread pools take along.
"""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Awaitable, Callable, Iterator
from concurrent.futures import Future
from contextlib import contextmanager
from contextvars import ContextVar
from typing import TypeVar

from .. import sync
from .._bridge import Bridge
from .._loop import running_loop
from ..agent import Agent
from ..exceptions import AgentClosed, CallCancelled, ConfigurationError

R = TypeVar("R")

AnyAgent = Agent | sync.Agent

LOOK: float = 1.0  # seconds between looks whether the agent's loop still runs, for coroutines on another one


class CancelScope:
    """Ends what was begun in it and still waits. Thread-safe."""

    def __init__(self, outer: CancelScope | None = None) -> None:
        self._lock = threading.Lock()
        self._waits: set[Callable[[], object]] = set()
        self._outer = outer
        self.ended = False
        if outer is not None:
            outer.add(self.end)

    def add(self, cancel: Callable[[], object]) -> None:
        """Calls `cancel` when the scope ends, or at once if it has."""
        with self._lock:
            if not self.ended:
                self._waits.add(cancel)
                return
        cancel()

    def discard(self, cancel: Callable[[], object]) -> None:
        """Forgets what `add` was given: it is over."""
        with self._lock:
            self._waits.discard(cancel)

    def end(self) -> None:
        """Cancels what waits, and what will. Idempotent; the scope around this one forgets it."""
        with self._lock:
            self.ended = True
            waits, self._waits = self._waits, set()
        if self._outer is not None:
            self._outer.discard(self.end)
        for cancel in waits:
            cancel()


current_scope: ContextVar[CancelScope | None] = ContextVar("a2alinker_cancel_scope", default=None)


@contextmanager
def cancel_scope() -> Iterator[CancelScope]:
    """Cancels what was called inside, of other agents, when the block is left.

    `with cancel_scope(): await crew.akickoff()`. It reaches the threads that a framework starts inside. Needed where a run ends early and its task goes on, as by `asyncio.timeout`; a task that
    is cancelled takes its calls along without it.
    """
    scope = CancelScope(current_scope.get())
    token = current_scope.set(scope)
    try:
        yield scope
    finally:
        current_scope.reset(token)
        scope.end()


class Reach:
    """The way to one agent."""

    __slots__ = ("_bridge", "agent")

    def __init__(self, agent: AnyAgent) -> None:
        if isinstance(agent, sync.Agent):
            self.agent, self._bridge = agent._it, agent._bridge
        elif isinstance(agent, Agent):
            self.agent, self._bridge = agent, Bridge(agent._seam.loop)
        else:
            raise ConfigurationError(f"an adapter takes an agent of a2alinker.host() or join(), or of a2alinker.sync, not {agent!r}")

    @property
    def loop(self) -> asyncio.AbstractEventLoop:
        """The agent's loop."""
        return self._bridge.loop

    def wait(self, start: Callable[[Agent], Awaitable[R]]) -> R:
        """Runs `start(agent)` on the agent's loop and waits for it, on a thread that doesn't run that loop.

        Raises:
            CallCancelled: the scope that this was begun in ended.
            WouldDeadlock, NoEventLoop, AgentClosed, Forked: see there.
            What `start` raises.
        """
        scope = current_scope.get()
        if scope is not None and scope.ended:
            raise CallCancelled("the run that asked for this was cancelled")
        future: Future[R] = Future()
        if scope is not None:
            scope.add(future.cancel)
        try:
            self._bridge.submit(lambda: start(self.agent), future)
            return self._bridge.outcome(future)
        except AgentClosed:
            if scope is not None and scope.ended:
                raise CallCancelled("the run that asked for this was cancelled") from None
            raise
        except BaseException:
            future.cancel()
            raise
        finally:
            if scope is not None:
                scope.discard(future.cancel)

    async def run(self, start: Callable[[Agent], Awaitable[R]]) -> R:
        """Runs `start(agent)` on the agent's loop, from a coroutine on that loop or any other. Cancelling this cancels that.

        It runs in a context of its own: what is sent there, and because of what, says nothing about the caller's task.
        """
        if running_loop() is self._bridge.loop:
            return await self._bridge.loop.create_task(self._begun(start))
        future: Future[R] = Future()
        self._bridge.submit(lambda: start(self.agent), future)
        outcome = asyncio.wrap_future(future)
        try:
            while not outcome.done():
                await asyncio.wait({outcome}, timeout=LOOK)
                if not outcome.done():
                    self._bridge.check_running()
            return outcome.result()
        finally:
            outcome.cancel()

    async def _begun(self, start: Callable[[Agent], Awaitable[R]]) -> R:
        return await start(self.agent)
