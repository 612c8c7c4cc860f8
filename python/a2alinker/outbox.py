"""What this agent sends. The core keeps it until it is confirmed; this module waits where the program has to wait."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Iterable, Sequence
from enum import IntEnum
from typing import TYPE_CHECKING, Any, Final, Literal, TypeVar

from . import _core
from ._loop import Event, Seam, Signal, logger, running_loop
from .bodies import ORDINARY, File, check_shared, is_large, prepared
from .context import cause, chain
from .exceptions import AgentClosed, ConfigurationError, OutboxFull, TooDeep, UsageError
from .peer import Peer, Roster
from .receipt import MOOT, GroupReceipt, Moot, Receipt

if TYPE_CHECKING:
    from .bodies import Bodies

Priority = Literal["urgent", "high", "normal", "bulk"]
Until = Literal["delivered", "done"]
To = Peer | str | Sequence[Peer | str]

NORMAL: Final = 3
_LANES: Final[dict[str, int]] = {"urgent": 1, "high": 2, "normal": NORMAL, "bulk": 4}
PRIORITIES: Final[tuple[Any, ...]] = ("control", "urgent", "high", "normal", "bulk")  # by lane; Priority for all that reach a program

THREAD_BYTES: Final = 16
DEFAULT_TTL: Final = 3600.0  # seconds
LONGEST_TTL: Final = 86_400.0  # seconds; from the protocol
MOST_BUDGET: Final = 0xFFFF_FFFF  # from the protocol

_SENDER, _LANE, _THREAD, _ID = 2, 4, 5, 12  # where they stand in the event of a message

R = TypeVar("R")


class Refusal(IntEnum):
    """Why a message or request isn't answered, as the protocol says it."""

    REFUSED = 1
    EXPIRED = 3
    BUSY = 4
    SKILL_UNKNOWN = 5
    BAD_ARGUMENTS = 6
    CANCELLED = 8
    FAILED = 9
    LAPSED = 10
    TOO_DEEP = 11
    RESULT = 12  # it can't be sent


class Outbox:
    """The sending half of one agent."""

    __slots__ = ("_changes", "_room", "_stopped", "_turn", "bodies", "core", "crowd", "roster", "seam")

    def __init__(self, seam: Seam, roster: Roster) -> None:
        self.seam = seam
        self.core = seam.core
        self.roster = roster
        self.bodies: Bodies  # set by themselves
        self.crowd = 0  # how many wait for room, or for those who do
        self._turn = asyncio.Lock()  # who waits for room waits in the order of coming, so that nobody overtakes
        self._room = Signal(seam.loop)
        self._changes: dict[int, list[asyncio.Future[None]]] = {}
        self._stopped = b""  # the id of the message whose sender was last told that it may cause nothing more
        seam.on(_core.EVENT_SPACE, lambda event: self._room.set())
        seam.on(_core.EVENT_RECEIPT, self._on_receipt)
        seam.at_end(self._end)

    def post(
        self,
        to: To,
        body: Any,
        priority: str,
        thread: bytes | None,
        ttl: float,
        until: str,
        headers: dict[str, Any] | None,
        budget: int | None,
    ) -> Receipt:
        """Queues a message, or raises OutboxFull."""
        seam = self.seam
        if running_loop() is not seam.owner:
            raise seam.misuse()
        if type(to) is not Peer and not isinstance(to, (str, Peer)):
            peers, lane, until_done = self._check_group(to, priority, thread, ttl, until)
            check_shared(body, len(peers))
            return GroupReceipt(
                self, [self._queue(peer, body, lane, thread, ttl, until_done, headers, budget) for peer in peers], until_done
            )
        lane = NORMAL if priority == "normal" else lane_of(priority)
        until_done = until != "delivered" and check_until(until)
        if thread is not None:
            check_thread(thread)
        if ttl != DEFAULT_TTL:
            check_ttl(ttl)
        if budget is not None:
            check_budget(budget)
        return self._queue(to if type(to) is Peer else self.roster.resolve(to), body, lane, thread, ttl, until_done, headers, budget)

    async def post_or_wait(
        self,
        to: To,
        body: Any,
        priority: str,
        thread: bytes | None,
        ttl: float,
        until: str,
        headers: dict[str, Any] | None,
        budget: int | None,
    ) -> Receipt:
        """Queues a message, and waits for room if need be. Cancelled, it has sent nothing, or to the first of several."""
        if type(body) is File:
            self.seam.check()
            body = await prepared(body)
        if type(to) is not Peer and not isinstance(to, (str, Peer)):
            return await self._post_to_all(to, body, priority, thread, ttl, until, headers, budget)
        if not self.crowd:
            try:
                return self.post(to, body, priority, thread, ttl, until, headers, budget)
            except OutboxFull:
                pass
        return await self.when_room(self.post, to, body, priority, thread, ttl, until, headers, budget)

    async def _post_to_all(
        self,
        to: Iterable[Peer | str],
        body: Any,
        priority: str,
        thread: bytes | None,
        ttl: float,
        until: str,
        headers: dict[str, Any] | None,
        budget: int | None,
    ) -> Receipt:
        self.seam.check()
        if budget is not None:
            check_budget(budget)
        peers, lane, until_done = self._check_group(to, priority, thread, ttl, until)
        check_shared(body, len(peers))
        parts: list[Receipt] = []
        for peer in peers:
            if not self.crowd:
                try:
                    parts.append(self._queue(peer, body, lane, thread, ttl, until_done, headers, budget))
                    continue
                except OutboxFull:
                    pass
            parts.append(await self.when_room(self._queue, peer, body, lane, thread, ttl, until_done, headers, budget))
        return GroupReceipt(self, parts, until_done)

    def _check_group(
        self, to: Iterable[Peer | str], priority: str, thread: bytes | None, ttl: float, until: str
    ) -> tuple[list[Peer], int, bool]:
        check_thread(thread)
        check_ttl(ttl)
        return self.roster.resolve_all(to), lane_of(priority), check_until(until)

    def _queue(
        self,
        to: Peer,
        body: Any,
        lane: int,
        thread: bytes | None,
        ttl: float,
        until_done: bool,
        headers: dict[str, Any] | None,
        budget: int | None,
    ) -> Receipt:
        event = cause.get()
        is_body = type(body) not in ORDINARY and is_large(body)
        if event is None and budget is None and not is_body:
            receipt = self.core.send(to.key, body, lane, thread, ttl, until_done, 0, None, headers)
        else:
            try:
                if is_body:
                    return self.bodies.send(to.key, body, lane, thread, ttl, until_done, *chain(event, budget), headers)
                receipt = self.core.send(to.key, body, lane, thread, ttl, until_done, *chain(event, budget), headers)
            except TooDeep:
                self.stop(event)
                raise
        self.seam.flush_soon()
        return Receipt(self, receipt, to.key, until_done)

    def stop(self, event: Event | None) -> None:
        """What this message caused was too deep: the sender of a plain message is told, once. A request is refused by whoever serves it."""
        if event is not None and event[0] == _core.EVENT_MESSAGE and event[_ID] != self._stopped:
            self._stopped = event[_ID]
            self.core.stop_loop(event[_SENDER], event[_ID], event[_LANE], event[_THREAD])

    def answer(self, token: int, body: Any, final: bool, depth: int, budget: int | None) -> _core.Receipt | Moot:
        """Queues an answer to a request, or raises OutboxFull, which a final answer never does. From any thread; the caller flushes.

        If nobody waits for it any more, the receipt says so.
        """
        try:
            return self.core.answer(token, body, final, depth, budget)
        except AgentClosed:
            raise
        except UsageError:
            return MOOT

    def refuse(self, token: int, code: Refusal, text: str, kind: str = "", retry_after: float = 0.0) -> None:
        """Refuses a request. Nothing happens if nobody waits for it any more. From any thread."""
        try:
            self.core.refuse(token, code, kind, text, retry_after)
        except UsageError:
            logger.debug("a request that was refused is over already")

    def answer_to(self, peer_id: bytes, token: int, body: Any, final: bool, depth: int, budget: int | None) -> Receipt:
        """As `answer`, on the loop."""
        receipt = self.answer(token, body, final, depth, budget)
        self.seam.flush_soon()
        return Receipt(self, receipt, peer_id, until_done=False)

    async def when_room(self, post: Callable[..., R], *args: Any) -> R:
        """Calls `post(*args)` until it doesn't raise OutboxFull, each time that there is room again.

        Cancelled, it has sent nothing.
        """
        self.crowd += 1
        try:
            async with self._turn:
                while True:
                    try:
                        return post(*args)
                    except OutboxFull:
                        await self._room.wait()
                    if not self.seam.is_open:
                        raise self.seam.closed_error()
        finally:
            self.crowd -= 1

    async def settled(self, deadline: float) -> list[Receipt]:
        """Waits until all that was sent is delivered, accepted or given up, or until the deadline of the monotonic clock. Returns what isn't."""
        try:
            async with asyncio.timeout(max(0.0, deadline - time.monotonic())):
                for receipt in self.core.outstanding():
                    while self.seam.is_attached and receipt.watch() < _core.RECEIPT_ACCEPTED:
                        await self.changed(receipt.token)
        except TimeoutError:
            pass
        return [Receipt(self, receipt, None, False) for receipt in self.core.outstanding()]

    async def changed(self, token: int) -> None:
        """Waits for the next change of a watched receipt, or for the end of the agent; after that there are none."""
        if not self.seam.is_attached:
            raise self.seam.closed_error()
        waiter: asyncio.Future[None] = self.seam.loop.create_future()
        self._changes.setdefault(token, []).append(waiter)
        try:
            await waiter
        finally:
            if waiter.cancelled() and (waiters := self._changes.get(token)) is not None:
                waiters.remove(waiter)
                if not waiters:
                    del self._changes[token]

    def _on_receipt(self, event: Event) -> None:
        self.wake(event[1])

    def wake(self, token: int) -> None:
        """Lets look again whoever waits for a change of this receipt."""
        for waiter in self._changes.pop(token, ()):
            if not waiter.done():
                waiter.set_result(None)

    def _end(self) -> None:
        self._room.set()
        while self._changes:
            _, waiters = self._changes.popitem()
            for waiter in waiters:
                if not waiter.done():
                    waiter.set_result(None)


def lane_of(priority: str) -> int:
    """Returns the lane of a priority."""
    try:
        return _LANES[priority]
    except (KeyError, TypeError):  # unhashable: models give anything
        raise ConfigurationError(f"priority is 'urgent', 'high', 'normal' or 'bulk', not {priority!r}") from None


def check_thread(thread: object) -> None:
    """Raises unless this can be a thread's id."""
    if thread is not None and not (isinstance(thread, bytes) and len(thread) == THREAD_BYTES):
        raise ConfigurationError(f"thread is {THREAD_BYTES} bytes: message.thread, or uuid.uuid4().bytes to begin one")


def check_ttl(ttl: float) -> None:
    """Raises unless this can be a message's life."""
    if not 0 < ttl <= LONGEST_TTL:
        raise ConfigurationError(f"ttl is in seconds, above 0 and up to {LONGEST_TTL:.0f}, not {ttl!r}")


def check_budget(budget: object) -> None:
    """Raises unless this can be how many messages one may cause."""
    if not (isinstance(budget, int) and 0 < budget <= MOST_BUDGET):
        raise ConfigurationError(f"budget is how many messages may follow from this one, itself included: 1 or more, not {budget!r}")


def check_until(until: str) -> bool:
    """Returns whether the receiver is to say when it has handled the message."""
    if until not in ("delivered", "done"):
        raise ConfigurationError(f"until is 'delivered' or 'done', not {until!r}")
    return until == "done"
