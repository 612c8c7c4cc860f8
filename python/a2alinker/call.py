"""Calls: a request to another agent, its partial answers and its answer."""

from __future__ import annotations

import asyncio
import warnings
import weakref
from collections import deque
from collections.abc import AsyncIterator, Callable, Generator, Sequence
from typing import Any, Final, Generic, TypeVar

from . import _core
from ._html import card
from ._loop import Event, Seam, logger
from .context import cause, chain
from .exceptions import AlreadyConsumed, CallCancelled, CallTimeout, PartialAnswersLost, StreamRestarted, TooDeep
from .message import Message
from .outbox import Outbox
from .peer import Peer
from .receipt import Receipt

PARTIAL_BYTES: Final = 4 << 20  # bytes of partial answers that wait in one call; chosen: four of the largest bodies
_OVERHEAD: Final = 16  # bytes counted for each value in a body, so that many small ones count too

T = TypeVar("T")


class Call(Generic[T]):
    """A call under way. It starts when it is made.

    `await call` gives the answer, `async for part in call` the partial answers, and then `await call` the answer. A task that is cancelled
    while it awaits cancels the call. A call that is dropped before its answer is cancelled too, with a ResourceWarning.
    """

    __slots__ = (
        "__weakref__",
        "_calls",
        "_convert",
        "_error",
        "_given",
        "_limit_hit",
        "_part_waiter",
        "_restarted",
        "_running",
        "_seen",
        "_size",
        "_value",
        "_waiters",
        "_waiting",
        "attempt",
        "peer_id",
        "timer",
        "token",
        "what",
    )

    def __init__(self, calls: Calls, what: str, convert: Callable[[Event], T]) -> None:
        self.what = what  # the name of the skill, or "request"
        self._running = True
        self._seen = False  # whether the outcome was asked for
        self._calls = calls
        self._convert = convert
        self.token = -1
        self._value: T | None = None
        self._error: BaseException | None = None
        self._waiters: list[asyncio.Future[None]] = []  # who waits for the end
        self._part_waiter: asyncio.Future[None] | None = None  # who waits for a partial answer
        self._waiting: deque[tuple[Any, int]] | None = None  # partial answers and their sizes
        self._size = 0
        self._limit_hit = False
        self._given = False  # whether the reader got parts of the present attempt
        self._restarted = False  # whether it has yet to hear that they begin anew
        self.peer_id: bytes | None = None
        self.attempt = 0  # how often it was given to an agent; above 1, one was gone or busy
        self.timer: asyncio.TimerHandle | None = None

    @property
    def peer(self) -> Peer | None:
        """The agent that works on it at present, or that answered. None before one was found."""
        return None if self.peer_id is None else self._calls.outbox.roster.find(self.peer_id)

    @property
    def receipt(self) -> Receipt | None:
        """The receipt of the request's present attempt, None before there is one."""
        core = self._calls.seam.core.call_receipt(self.token)
        return None if core is None or self.peer_id is None else Receipt(self._calls.outbox, core, self.peer_id, False)

    def done(self) -> bool:
        """Returns whether it has ended, in whatever way."""
        return not self._running

    def cancel(self) -> bool:
        """Ends the call with CallCancelled and tells the other side. Returns False if it had ended before."""
        if not self._running:
            return False
        self._seen = True
        self._calls.cancel(self.token)
        self.end(None, CallCancelled(f"{self.what} was cancelled by the caller"))
        return True

    def __await__(self) -> Generator[Any, None, T]:
        while self._running:
            waiter: asyncio.Future[None] = self._calls.seam.loop.create_future()
            self._waiters.append(waiter)
            try:
                yield from waiter
            except asyncio.CancelledError:
                self.cancel()
                raise
        self._seen = True
        if self._error is not None:
            raise self._error
        return self._value  # type: ignore[return-value]

    async def __aiter__(self) -> AsyncIterator[Any]:
        """Gives the partial answers until the call ends: by its answer, which ends the loop, or otherwise, which raises.

        One reader at a time.

        Raises:
            StreamRestarted: another worker has the call, and gives them from the first on: begin another loop.
            PartialAnswersLost: more than 4 MiB of them waited for the reader.
            AlreadyConsumed: another loop waits for them.
            CallError, DeliveryError: the call ended without an answer.
        """
        self._seen = True
        while True:
            if self._limit_hit:
                self._limit_hit = False
                raise PartialAnswersLost(f"more than {PARTIAL_BYTES} bytes of partial answers waited to be read", limit=PARTIAL_BYTES)
            if self._restarted:
                self._restarted = False
                raise StreamRestarted(f"{self.what} was given to another worker, attempt {self.attempt}", attempt=self.attempt)
            if self._waiting:
                part, size = self._waiting.popleft()
                self._size -= size
                self._given = True
                yield part
            elif self._running:
                await self._next_part()
            elif self._error is not None:
                raise self._error
            else:
                return

    async def _next_part(self) -> None:
        if self._part_waiter is not None:
            raise AlreadyConsumed("Another loop reads the partial answers of this call.")
        self._part_waiter = self._calls.seam.loop.create_future()
        try:
            await self._part_waiter
        except asyncio.CancelledError:
            self.cancel()
            raise
        finally:
            self._part_waiter = None

    # -- from Calls --

    def end(self, event: Event | None, error: BaseException | None) -> None:
        """Takes the answer, or why there is none."""
        if not self._running:
            return
        self._running = False
        if self.timer is not None:
            self.timer.cancel()
        if event is not None:
            try:
                self._value = self._convert(event)
            except Exception as problem:  # noqa: BLE001  whatever a pydantic model raises belongs to who awaits
                error = problem
        self._error = error
        for waiter in self._waiters:
            if not waiter.done():
                waiter.set_result(None)
        self._wake_reader()

    def when_done(self, callback: Callable[[Call[T]], None]) -> None:
        """Calls this from the loop when the call has ended."""
        waiter: asyncio.Future[None] = self._calls.seam.loop.create_future()
        waiter.add_done_callback(lambda _: callback(self))
        if self._running:
            self._waiters.append(waiter)
        else:
            waiter.set_result(None)

    def add_part(self, body: Any) -> None:
        """Takes a partial answer."""
        if self._limit_hit:
            return
        size = size_of(body)
        if self._waiting is None:
            self._waiting = deque()
        self._size += size
        if self._size > PARTIAL_BYTES:
            self._limit_hit = True
            self._size = 0
            self._waiting.clear()
        else:
            self._waiting.append((body, size))
        self._wake_reader()

    def moved(self, peer_id: bytes, attempt: int) -> None:
        """The call was given to this peer. What an earlier one said doesn't belong to what this one will say."""
        self.peer_id = peer_id
        self.attempt = attempt
        if self._waiting is not None:
            self._waiting.clear()
            self._size = 0
        if self._given or self._limit_hit:
            self._given = self._limit_hit = False
            self._restarted = True
            self._wake_reader()

    def _wake_reader(self) -> None:
        if self._part_waiter is not None and not self._part_waiter.done():
            self._part_waiter.set_result(None)

    def __del__(self) -> None:
        if self._running and self.token >= 0 and self._calls.seam.is_open and _core.runtime_alive():
            self._running = False
            self._calls.drop(self.token, self.timer)
            warnings.warn(f"{self!r} was dropped before its answer came, and is cancelled: await it, or keep it", ResourceWarning, 2, self)
        elif self._error is not None and not self._seen:
            logger.warning("a call of %s failed, and nobody asked: %s", self.what, self._error)

    def __repr__(self) -> str:
        state = "running" if self._running else f"failed: {self._error}" if self._error is not None else "answered"
        return f"<Call {self.what} {state}>"

    def _repr_html_(self) -> str:
        state = "running" if self._running else "failed" if self._error is not None else "answered"
        rows = {"state": state, "peer": self.peer and self.peer.name, "attempt": self.attempt or "", "error": self._error}
        return card(f"Call {self.what}", rows)


class Calls:
    """The calls of one agent that are under way."""

    __slots__ = ("_by_token", "outbox", "seam")

    def __init__(self, seam: Seam, outbox: Outbox) -> None:
        self.seam = seam
        self.outbox = outbox
        self._by_token: dict[int, weakref.ref[Call[Any]]] = {}  # weak, so that a dropped call is noticed
        seam.on(_core.EVENT_ANSWER, self._on_answer)
        seam.on(_core.EVENT_FAILED, self._on_failed)
        seam.on(_core.EVENT_PROGRESS, self._on_progress)
        seam.on(_core.EVENT_MOVED, self._on_moved)
        seam.at_end(self.end)

    def __len__(self) -> int:
        return len(self._by_token)

    def request(
        self,
        to: Peer,
        body: Any,
        lane: int,
        thread: bytes | None,
        ttl: float,
        timeout: float | None,
        headers: dict[str, Any] | None,
        budget: int | None,
    ) -> Call[Message]:
        """Starts a request to one peer, or raises OutboxFull."""
        event = cause.get()
        try:
            token, _ = self.seam.core.request(to.key, body, lane, thread, ttl, *chain(event, budget), headers)
        except TooDeep:
            self.outbox.stop(event)
            raise
        call: Call[Message] = Call(self, "request", self._message)
        call.peer_id = to.key
        if timeout is not None:
            call.timer = self.seam.loop.call_later(timeout, self._on_timeout, token, timeout)
        return self._start(call, token)

    def call(
        self,
        skill: str,
        args: tuple[Any, ...],
        kwargs: dict[str, Any],
        to: Peer | None,
        among: Sequence[Peer] | None,
        lane: int,
        ttl: float,
        timeout: float | None,
        progress_timeout: float | None,
        budget: int | None,
        convert: Callable[[Any], T] | None,
    ) -> Call[T]:
        """Starts a call of a skill, or raises SkillUnknown or OutboxFull."""
        event = cause.get()
        to_id = None if to is None else to.key
        among_ids = None if among is None else [peer.key for peer in among]
        causality = chain(event, budget)
        try:
            token = self.seam.core.call(skill, args, kwargs, to_id, among_ids, lane, ttl, timeout, progress_timeout, *causality)
        except TooDeep:
            self.outbox.stop(event)
            raise
        call: Call[T] = Call(self, skill, _body_of if convert is None else lambda event: convert(event[4]))
        call.peer_id = to_id
        return self._start(call, token)

    def cancel(self, token: int) -> None:
        """Forgets a call and tells the other side."""
        if self._by_token.pop(token, None) is not None and self.seam.is_attached:
            self.seam.core.cancel(token)
            self.seam.flush_soon()

    def drop(self, token: int, timer: asyncio.TimerHandle | None) -> None:
        """As `cancel`, for the collector, which runs in any thread."""
        self._by_token.pop(token, None)
        self.seam.core.cancel(token)
        self.seam.core.flush()
        if timer is not None:
            timer.cancel()

    def end(self) -> None:
        """Ends what is under way with AgentClosed."""
        while self._by_token:
            token, reference = self._by_token.popitem()
            if self.seam.is_attached:
                self.seam.core.cancel(token)
            if (call := reference()) is not None:
                call.end(None, self.seam.closed_error())

    def _start(self, call: Call[T], token: int) -> Call[T]:
        call.token = token
        self._by_token[token] = weakref.ref(call)
        self.seam.flush_soon()
        return call

    def _message(self, event: Event) -> Message:
        kind, _, token, sender, body, lane, thread, depth, budget, headers, message_id = event
        return Message(self.outbox, (kind, token, sender, body, lane, thread, 0, 0, depth, budget, 0, headers, message_id))

    def _find(self, token: int) -> Call[Any] | None:
        reference = self._by_token.get(token)
        return None if reference is None else reference()

    def _on_answer(self, event: Event) -> None:
        reference = self._by_token.pop(event[1], None)
        if reference is not None and (call := reference()) is not None:
            call.peer_id = event[3]
            call.end(event, None)

    def _on_failed(self, event: Event) -> None:
        _, token, error = event
        if token not in self._by_token:
            self.outbox.roster.describe_failed(token, error)
            return
        reference = self._by_token.pop(token)
        if (call := reference()) is not None:
            call.end(None, error)

    def _on_progress(self, event: Event) -> None:
        if (call := self._find(event[1])) is not None:
            call.add_part(event[3])

    def _on_moved(self, event: Event) -> None:
        _, token, peer_id, attempt = event
        if (call := self._find(token)) is not None:
            call.moved(peer_id, attempt)

    def _on_timeout(self, token: int, timeout: float) -> None:
        if (call := self._find(token)) is not None:
            self.cancel(token)
            call.end(None, CallTimeout(f"{call.what} had no answer within {timeout} s"))


def size_of(body: Any) -> int:
    """Returns about how many bytes a body takes."""
    match body:
        case str() | bytes():
            return _OVERHEAD + len(body)
        case list() | tuple():
            return _OVERHEAD + sum(map(size_of, body))
        case dict():
            return _OVERHEAD + sum(map(size_of, body)) + sum(map(size_of, body.values()))
    return _OVERHEAD


def _body_of(event: Event) -> Any:
    return event[4]
