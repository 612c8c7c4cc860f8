"""From threads to event loops: what `agent.sync` and `a2alinker.sync` stand on.

A `Bridge` runs things on one loop for threads that don't run it, and lets them wait there. A wait can be interrupted by Ctrl-C or end by a
timeout, and then what was waited for is cancelled. `own_bridge` leads to a loop of this module's own: one for the process, in a daemon
thread, started when it is first needed, so it doesn't matter whether the program runs a loop.

The rest makes a blocking class out of an asynchronous one, method by method, with names, arguments and types as they are there: `sync.py`.
"""

from __future__ import annotations

import asyncio
import atexit
import contextlib
import functools
import os
import threading
import time
import weakref
from collections.abc import Awaitable, Callable
from concurrent.futures import CancelledError, Future
from typing import Any, Concatenate, Final, Generic, ParamSpec, Self, TypeVar, overload

from . import _core
from ._loop import logger, running_loop
from .agent import Agent
from .exceptions import AgentClosed, Forked, NoEventLoop, TimedOut, WouldDeadlock

A = TypeVar("A")
P = ParamSpec("P")
R = TypeVar("R")
W = TypeVar("W")

GLANCE: Final = 0.1  # seconds between looks whether the loop still runs; where waits can't be interrupted, Ctrl-C takes as long
AT_EXIT: Final = (
    1.0  # seconds for what was sent to be delivered when a program ends without closing its agents; chosen: nobody waits longer gladly
)
LAST_WAIT: Final = 5.0  # seconds for the thread to end after that

END: Final[Any] = object()  # given by an iterator on the loop that has no more


class Bridge:
    """The way from other threads to one event loop."""

    __slots__ = ("loop",)

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self.loop = loop

    def wait(self, start: Callable[[], Awaitable[R]], timeout: float | None = None) -> R:
        """Calls `start` on the loop and waits for what it gives. If the wait ends early, that is cancelled.

        Raises:
            TimedOut: it took longer than `timeout` seconds.
            WouldDeadlock: this is the loop's own thread.
            NoEventLoop: the loop doesn't run, or stopped meanwhile.
            AgentClosed: the loop was ended by cancelling what runs on it.
            Forked: this is a forked process, in which the loop doesn't run.
        """
        future: Future[R] = Future()
        try:
            self.submit(start, future)
            return self.outcome(future, timeout)
        except BaseException:
            future.cancel()
            raise

    def run(self, function: Callable[[], R]) -> R:
        """Calls a function on the loop, and gives what it returns. Raises what `wait` raises."""

        async def call() -> R:
            return function()

        return self.wait(call)

    def look(self, function: Callable[[], R]) -> R:
        """As `run`, for what may be read anywhere when nobody changes it: on the loop's own thread, or when it is over."""
        if running_loop() is self.loop or not self.loop.is_running() or not _core.runtime_alive():
            return function()
        return self.run(function)

    def submit(self, start: Callable[[], Awaitable[R]], future: Future[R]) -> None:
        """Calls `start` on the loop; the future gets what it gives. Cancelling the future cancels it."""
        if not _core.runtime_alive():
            raise Forked()
        if running_loop() is self.loop:
            raise WouldDeadlock()
        self.check_running()
        try:
            # It takes the caller's context along, and with it the depth of the request that the caller handles.
            self.loop.call_soon_threadsafe(self._begin, start, future)
        except RuntimeError:  # closed since
            raise self._not_running() from None

    def _begin(self, start: Callable[[], Awaitable[R]], future: Future[R]) -> None:
        task = self.loop.create_task(_awaited(start))
        _under_way.add(task)
        task.add_done_callback(_under_way.discard)
        task.add_done_callback(functools.partial(_hand_over, future))
        future.add_done_callback(functools.partial(self._pass_on_cancel, task))

    def _pass_on_cancel(self, task: asyncio.Task[Any], future: Future[Any]) -> None:
        if future.cancelled():
            with contextlib.suppress(RuntimeError):  # a loop that is closed has cancelled it
                self.loop.call_soon_threadsafe(task.cancel)

    def outcome(self, future: Future[R], timeout: float | None = None) -> R:
        """Waits for what `submit` was given. Raises what `wait` raises; the future is cancelled at the timeout alone."""
        deadline = None if timeout is None else time.monotonic() + timeout
        while True:
            glance = GLANCE if deadline is None else min(GLANCE, max(0.0, deadline - time.monotonic()))
            try:
                return future.result(glance)
            except CancelledError:
                raise AgentClosed("The agent's event loop ended meanwhile.") from None
            except TimeoutError:
                if future.done():
                    return future.result()  # which may raise a TimeoutError of its own
            self.check_running()
            if deadline is not None and time.monotonic() >= deadline and future.cancel():
                raise TimedOut(f"there was nothing within {timeout} s")

    def check_running(self) -> None:
        """Raises NoEventLoop unless the loop runs."""
        if not self.loop.is_running():
            raise self._not_running()

    def _not_running(self) -> NoEventLoop:
        return NoEventLoop("The agent's event loop doesn't run, so there is nobody who could do this: use `agent.sync` while it runs.")


_under_way: set[asyncio.Task[Any]] = set()  # loops hold their tasks weakly


async def _awaited(start: Callable[[], Awaitable[R]]) -> R:
    return await start()


def _hand_over(future: Future[Any], task: asyncio.Task[Any]) -> None:
    if task.cancelled():
        future.cancel()
    if future.set_running_or_notify_cancel():
        if (error := task.exception()) is not None:
            future.set_exception(error)
        else:
            future.set_result(task.result())
    elif not task.cancelled():
        task.exception()  # nobody asks any more


# -- a loop of its own --


class _Home:
    """The thread and the loop of `own_bridge`."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._bridge: Bridge | None = None
        self._over: asyncio.Event | None = None
        self._thread: threading.Thread | None = None

    def bridge(self) -> Bridge:
        if not _core.runtime_alive():
            raise Forked()
        with self._lock:
            if self._bridge is None:
                ready: Future[Bridge] = Future()
                self._thread = threading.Thread(target=self._run, args=(ready,), name="a2alinker.sync", daemon=True)
                self._thread.start()
                self._bridge = ready.result()
            return self._bridge

    def _run(self, ready: Future[Bridge]) -> None:
        try:
            asyncio.run(self._live(ready))
        except OSError as problem:  # no descriptors are left for a loop
            ready.set_exception(problem)

    async def _live(self, ready: Future[Bridge]) -> None:
        self._over = asyncio.Event()
        ready.set_result(Bridge(asyncio.get_running_loop()))
        await self._over.wait()
        for outcome in await asyncio.gather(*[agent.close(timeout=AT_EXIT) for agent in own_agents], return_exceptions=True):
            if outcome is not None:
                logger.warning("an agent that was open when the program ended: %s", outcome)

    def end(self) -> None:
        if self._bridge is not None and self._over is not None and self._thread is not None and _core.runtime_alive():
            with contextlib.suppress(RuntimeError):  # closed already
                self._bridge.loop.call_soon_threadsafe(self._over.set)
            self._thread.join(LAST_WAIT)


own_agents: weakref.WeakSet[Agent] = weakref.WeakSet()  # those on the loop of `own_bridge`
_home = _Home()


def own_bridge() -> Bridge:
    """Returns the way to this module's own loop, which it starts if need be."""
    return _home.bridge()


@atexit.register
def _end() -> None:
    _home.end()


def _start_afresh() -> None:
    global _home  # noqa: PLW0603  a forked process has none of its parent's threads, and perhaps its locks
    _home = _Home()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_start_afresh)


# -- what blocking classes are made of --


class Face(Generic[A]):
    """What other threads see of an object that belongs to a loop."""

    __slots__ = ("_bridge", "_it")

    def __init__(self, bridge: Bridge, it: A) -> None:
        self._bridge = bridge
        self._it = it

    def __eq__(self, other: object) -> bool:
        return self._it == other._it if isinstance(other, Face) else NotImplemented

    def __hash__(self) -> int:
        return hash(self._it)

    def __repr__(self) -> str:
        return self._bridge.look(lambda: repr(self._it))

    def _repr_html_(self) -> str:
        return self._bridge.look(lambda: str(self._it._repr_html_()))  # type: ignore[attr-defined]  # each class that has a face has it


def plain(_: Bridge, value: R) -> R:
    """Gives a result as it is."""
    return value


def waits(method: Callable[Concatenate[A, P], Awaitable[R]], wrap: Callable[[Bridge, R], W]) -> Callable[Concatenate[Face[A], P], W]:
    """Makes a method that waits for the outcome of an asynchronous one, and gives it in the form of `wrap`."""
    name = method.__name__

    @functools.wraps(method)
    def blocking(self: Face[A], /, *args: P.args, **kwargs: P.kwargs) -> W:
        return wrap(self._bridge, self._bridge.wait(lambda: getattr(self._it, name)(*args, **kwargs)))

    return blocking


def runs(method: Callable[Concatenate[A, P], R], wrap: Callable[[Bridge, R], W]) -> Callable[Concatenate[Face[A], P], W]:
    """Makes a method that runs one on the loop that doesn't wait for anything."""
    name = method.__name__

    @functools.wraps(method)
    def elsewhere(self: Face[A], /, *args: P.args, **kwargs: P.kwargs) -> W:
        return wrap(self._bridge, self._bridge.run(lambda: getattr(self._it, name)(*args, **kwargs)))

    return elsewhere


class Attribute(Generic[A, W]):
    """An attribute of the object behind a face."""

    def __init__(self, read: Callable[[Bridge, A], W], kind: type[A]) -> None:
        self._read = read
        self._kind = kind

    def __set_name__(self, owner: type, name: str) -> None:
        self.__doc__ = getattr(getattr(self._kind, name, None), "__doc__", None)

    @overload
    def __get__(self, face: None, owner: type) -> Self: ...
    @overload
    def __get__(self, face: Face[A], owner: type) -> W: ...
    def __get__(self, face: Face[A] | None, owner: type) -> Self | W:
        return self if face is None else self._read(face._bridge, face._it)


def reads(kind: type[A], read: Callable[[A], R]) -> Attribute[A, R]:
    """Makes an attribute that any thread can read."""
    return Attribute(lambda _, it: read(it), kind)


def looks_up(kind: type[A], read: Callable[[A], R], wrap: Callable[[Bridge, R], W]) -> Attribute[A, W]:
    """Makes an attribute that is read on the loop, and given in the form of `wrap`."""
    return Attribute(lambda bridge, it: wrap(bridge, bridge.look(lambda: read(it))), kind)
