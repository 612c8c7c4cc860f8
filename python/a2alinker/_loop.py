"""The seam between the native module and the event loop; everything asynchronous crosses here.

Events come in batches: one wake-up of the loop drains what the core has queued and hands each event to the method that registered
for its kind. Nothing here makes a future or a task per message. What the program sends is queued in the core at once, and written by
one `flush` at the end of the loop's turn, so that messages sent together travel together.

A seam also holds the agent's life (open, closing, ended) and tells every part when it ends. It is what the loop refers to, and it doesn't
know the `Agent`: so an agent that is dropped without `close()` is noticed.
"""

from __future__ import annotations

import asyncio
import atexit
import logging
import warnings
import weakref
from collections.abc import Callable
from typing import Any, Final

from . import _core
from .exceptions import A2ALinkerError, AgentClosed, Forked, NoEventLoop, UsageError, WrongLoop

logger = logging.getLogger("a2alinker")
running_loop = asyncio._get_running_loop

BATCH: Final = 1024  # events handled in one go; chosen: 1 ms of work, after which other tasks get their turn
BURST: Final = 64  # messages queued in one turn of the loop before they are written; chosen: a full frame of small ones
TICK: Final = 10.0  # seconds between signs of life of the event loop; the core gives up on a loop after 60

Event = tuple[Any, ...]
Handler = Callable[[Event], None]

_KINDS: Final = 1 + max(value for name, value in vars(_core).items() if name.startswith("EVENT_"))
_NO_LOOP: Final = object()  # owner of a seam that is closing: no running loop equals it


class Seam:
    """One agent on one event loop."""

    __slots__ = ("__weakref__", "_at_end", "_ended", "_handlers", "_tick", "_uses_waker", "core", "error", "loop", "owner", "unflushed")

    def __init__(self, core: _core.Agent, loop: asyncio.AbstractEventLoop) -> None:
        self.core = core
        self.loop = loop
        self.error: Exception | None = None  # why the agent ended, if it wasn't closed
        self.owner: object = loop  # the only running loop under which the agent may be used; none when it is closing
        self._handlers: list[Handler] = [_ignore] * _KINDS
        self._at_end: list[Callable[[], None]] = []
        self._ended = Signal(loop)
        self.unflushed = 0  # messages since the last flush; a flush is scheduled when there are any
        self._tick: asyncio.TimerHandle | None = None
        self._uses_waker = False
        self.on(_core.EVENT_CLOSED, lambda event: self.end(event[1]))

    def on(self, kind: int, handler: Handler) -> None:
        """Gives all events of this kind to `handler`."""
        self._handlers[kind] = handler

    def at_end(self, callback: Callable[[], None]) -> None:
        """Calls this once when the agent ends, whatever the cause. Reversed order: what was made last ends first."""
        self._at_end.append(callback)

    def attach(self) -> None:
        """Begins to handle events."""
        self._uses_waker = self.core.wake_fd < 0
        if not self._uses_waker:
            try:
                self.loop.add_reader(self.core.wake_fd, self.pump)
            except NotImplementedError:  # a proactor loop watches no descriptors
                self._uses_waker = True
        if self._uses_waker:
            self.core.set_waker(_waker(weakref.ref(self)))
        self._on_tick()
        _open_seams.add(self)

    # -- the program's side --

    @property
    def is_open(self) -> bool:
        """Whether the agent can be used: neither closing nor over."""
        return self.owner is not _NO_LOOP

    @property
    def is_attached(self) -> bool:
        """Whether events still come. True while the agent is closing."""
        return self in _open_seams

    def check(self) -> None:
        """Raises unless the agent is open and this is its loop."""
        if running_loop() is not self.owner:
            raise self.misuse()

    def misuse(self) -> UsageError:
        """Says why `check` failed."""
        if not _core.runtime_alive():
            return Forked()
        if not self.is_open:
            return self.closed_error()
        if running_loop() is None:
            return NoEventLoop("This thread runs no event loop: the agent can be used on the loop that opened it only.")
        return WrongLoop()

    def closed_error(self) -> AgentClosed:
        """Returns what whoever waits for this agent gets."""
        closed = AgentClosed(f"The agent is over: {self.error}" if self.error else "")
        closed.__cause__ = self.error
        return closed

    def flush_soon(self) -> None:
        """Writes what was queued when the loop has run what is ready, and at once after a burst: its sender may not let the loop turn."""
        self.unflushed += 1
        if self.unflushed == 1:
            self.loop.call_soon(self._flush)
        elif self.unflushed > BURST:
            self.unflushed = 1  # the scheduled flush is still to come
            self.core.flush()

    def _flush(self) -> None:
        self.unflushed = 0
        self.core.flush()

    # -- the end --

    def begin_closing(self) -> None:
        """From here on `check` fails; events are still handled."""
        self.owner = _NO_LOOP

    def end(self, error: Exception | None) -> None:
        """The agent is over. Idempotent."""
        if self not in _open_seams:
            return
        self.begin_closing()
        self.error = error
        _open_seams.discard(self)
        self._detach()
        for callback in reversed(self._at_end):
            try:
                callback()
            except Exception as problem:  # noqa: BLE001  the other parts must end too
                self._report("the end of an agent", problem)
        self._at_end.clear()
        self._ended.set()

    async def wait_ended(self) -> None:
        """Waits until the agent is over."""
        while self in _open_seams:
            await self._ended.wait()

    def abandon(self) -> None:
        """Ends the agent without a loop's help: its owner dropped it, its loop is closed, or the interpreter ends. From any thread."""
        if self not in _open_seams or not _core.runtime_alive():
            return
        self.core.close()
        if self.loop.is_closed():
            _open_seams.discard(self)
            self.owner = _NO_LOOP
        elif running_loop() is self.loop or not self.loop.is_running():
            self.end(None)
        else:
            self.loop.call_soon_threadsafe(self.end, None)

    def _detach(self) -> None:
        if self._tick is not None:
            self._tick.cancel()
        if not self._uses_waker and not self.loop.is_closed():
            self.loop.remove_reader(self.core.wake_fd)

    # -- the core's side --

    def pump(self) -> None:
        """Handles what the core has queued."""
        events = self.core.drain(BATCH)
        handlers = self._handlers
        for event in events:
            try:
                handlers[event[0]](event)
            except Exception as problem:  # noqa: BLE001  the other events must be handled too
                self._report(f"an event of kind {event[0]}", problem)
        if events and self._uses_waker:  # a descriptor stays readable as long as there are more
            self.loop.call_soon(self.pump)

    def _on_tick(self) -> None:
        self.core.turned()
        self._tick = self.loop.call_later(TICK, self._on_tick)

    def _report(self, what: str, problem: Exception) -> None:
        self.loop.call_exception_handler({"message": f"a2alinker: error while handling {what}", "exception": problem})


class Signal:
    """Wakes all that wait at the moment it is set."""

    __slots__ = ("_loop", "_waiters")

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self._loop = loop
        self._waiters: list[asyncio.Future[None]] = []

    def set(self) -> None:
        """Wakes them."""
        waiters, self._waiters = self._waiters, []
        for waiter in waiters:
            if not waiter.done():
                waiter.set_result(None)

    async def wait(self) -> None:
        """Waits until it is set the next time."""
        waiter: asyncio.Future[None] = self._loop.create_future()
        self._waiters.append(waiter)
        try:
            await waiter
        finally:
            if waiter.cancelled() and waiter in self._waiters:
                self._waiters.remove(waiter)


def current_loop() -> asyncio.AbstractEventLoop:
    """Returns the running loop.

    Raises:
        NoEventLoop: there is none in this thread.
        Forked: this is a forked process, in which no agent can run.
    """
    if not _core.runtime_alive():
        raise Forked()
    loop = running_loop()
    if loop is None:
        raise NoEventLoop()
    return loop


def _ignore(event: Event) -> None:
    logger.debug("event of kind %d is not handled", event[0])


def _waker(seam_ref: weakref.ref[Seam]) -> Callable[[], None]:
    def wake() -> None:
        seam = seam_ref()
        if seam is None:
            return
        try:
            seam.loop.call_soon_threadsafe(seam.pump)
        except RuntimeError:  # the loop was closed before the agent; its owner gets a ResourceWarning
            logger.debug("wake-up of a closed loop")

    return wake


_open_seams: weakref.WeakSet[Seam] = weakref.WeakSet()


@atexit.register
def _close_what_is_open() -> None:
    if not _core.runtime_alive():
        return  # a forked process: the agents are the parent's
    for seam in list(_open_seams):
        warnings.warn(f"agent {seam.core.name!r} was not closed: use `async with` or `await agent.close()`", ResourceWarning, stacklevel=1)
        try:
            seam.abandon()
        except A2ALinkerError as problem:
            logger.debug("closing at exit: %s", problem)
