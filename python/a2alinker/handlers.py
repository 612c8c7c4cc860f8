"""Serving: requests of other agents become running handlers, and what these give becomes answers."""

from __future__ import annotations

import asyncio
import contextlib
import contextvars
import heapq
import time
from collections import deque
from collections.abc import AsyncIterator, Awaitable, Callable, Generator, Iterable, Iterator
from typing import TYPE_CHECKING, Any, Final

from . import _core
from ._loop import Event, Seam, logger, running_loop
from .call import PARTIAL_BYTES, size_of
from .context import READY, Context, cause, chain
from .exceptions import AgentClosed, BadArguments, BodyError, CallRefused, ConfigurationError, OutboxFull, TooDeep
from .message import ATTEMPT, BODY, LANE, SKILL, TOKEN, Inbox, Message
from .outbox import Outbox, Refusal
from .receipt import Moot
from .skill import Skill

if TYPE_CHECKING:
    from concurrent.futures import Future, ThreadPoolExecutor

    from .agent import Agent

WAITING: Final = 16  # calls of one skill that wait for a free slot; chosen: enough to keep workers busy, few enough to move on soon
UNCONFIRMED_BYTES: Final = PARTIAL_BYTES // 8  # bytes of partial answers under way in one call; a reader that keeps up never loses one
RETRY_AFTER: Final = 0.25  # seconds, a hint to a caller that finds the skill busy


class Work:
    """One request being served."""

    __slots__ = (
        "_event",
        "_handlers",
        "_unconfirmed",
        "_unconfirmed_bytes",
        "args",
        "cancelled",
        "in_thread",
        "kwargs",
        "message",
        "skill",
        "task",
    )

    def __init__(self, handlers: Handlers, skill: Skill[..., Any], event: Event, args: list[Any], kwargs: dict[str, Any]) -> None:
        self._handlers = handlers
        self._event = event
        self.skill = skill
        self.args = args
        self.kwargs = kwargs
        self.message = Message(handlers.outbox, event, answerable=False)
        self.cancelled = False
        self.in_thread = False  # whether a thread has it, which may outlive the task
        self.task: asyncio.Task[None] | None = None
        self._unconfirmed: deque[tuple[_core.Receipt | Moot, int]] = deque()  # partial answers and their sizes
        self._unconfirmed_bytes = 0
        if (name := skill.signature.context) is not None:
            place = skill.signature.context_at
            if place is not None and place <= len(args):
                args.insert(place, Context(self))
            else:
                kwargs[name] = Context(self)

    @property
    def token(self) -> int:
        """The core's name for the request."""
        return self._event[TOKEN]  # type: ignore[no-any-return]

    @property
    def event(self) -> Event:
        """The core's event, which says what the request may cause."""
        return self._event

    @property
    def attempt(self) -> int:
        """How often the call was given to a worker."""
        return self._event[ATTEMPT]  # type: ignore[no-any-return]

    @property
    def agent(self) -> Agent:
        """The agent that serves."""
        return self._handlers.agent()

    def __lt__(self, other: Work) -> bool:
        """Orders what waits: by lane, then by arrival."""
        return (self._event[LANE], self.token) < (other._event[LANE], other.token)

    def progress(self, body: Any) -> Awaitable[None]:
        """See Context.progress."""
        if self.cancelled:
            return READY
        seam = self._handlers.seam
        on_loop = running_loop() is seam.loop
        try:
            self._post(body)
        except OutboxFull:
            later = self._post_later(body)
            if on_loop:
                return later
            asyncio.run_coroutine_threadsafe(later, seam.loop).result()
        if on_loop:
            seam.flush_soon()
            return Pace(self) if self._unconfirmed_bytes > UNCONFIRMED_BYTES else READY
        seam.core.flush()
        if self._unconfirmed_bytes > UNCONFIRMED_BYTES:
            asyncio.run_coroutine_threadsafe(self.confirmed(), seam.loop).result()
        return READY

    async def confirmed(self) -> None:
        """Waits until the caller has enough of the partial answers that a few more do no harm."""
        seam, outbox = self._handlers.seam, self._handlers.outbox
        while self._unconfirmed_bytes > UNCONFIRMED_BYTES and not self.cancelled:
            receipt, size = self._unconfirmed[0]
            while seam.is_attached and receipt.watch() < _core.RECEIPT_DELIVERED:
                await outbox.changed(receipt.token)
            self._unconfirmed.popleft()
            self._unconfirmed_bytes -= size

    def _post(self, body: Any) -> None:
        receipt = self._handlers.outbox.answer(self.token, body, False, *chain(self._event))
        size = size_of(body)
        self._unconfirmed.append((receipt, size))
        self._unconfirmed_bytes += size

    async def _post_later(self, body: Any) -> None:
        outbox = self._handlers.outbox
        await outbox.when_room(self._post, body)
        outbox.seam.flush_soon()


class Pace:
    """What `progress` gives when much is under way: it can be awaited, and needn't be."""

    __slots__ = ("_work",)

    def __init__(self, work: Work) -> None:
        self._work = work

    def __await__(self) -> Generator[Any, None, None]:
        return self._work.confirmed().__await__()


class Desk:
    """One skill's running and waiting work."""

    __slots__ = ("pool", "running", "skill", "waiting")

    def __init__(self, skill: Skill[..., Any]) -> None:
        self.skill = skill
        self.running = 0
        self.waiting: list[Work] = []  # a heap
        self.pool: ThreadPoolExecutor | None = None

    def threads(self) -> ThreadPoolExecutor:
        """Returns the pool, as many threads as calls may run."""
        if self.pool is None:
            from concurrent.futures import ThreadPoolExecutor  # not every agent has skills in threads

            self.pool = ThreadPoolExecutor(self.skill.concurrency, thread_name_prefix=f"a2alinker-{self.skill.name}")
        return self.pool


class Handlers:
    """All skills of one agent."""

    __slots__ = ("_desks", "_inbox", "_work", "agent", "outbox", "seam")

    def __init__(self, seam: Seam, outbox: Outbox, inbox: Inbox, agent: Callable[[], Agent], skills: Iterable[Skill[..., Any]]) -> None:
        self.seam = seam
        self.outbox = outbox
        self.agent = agent
        self._inbox = inbox
        self._desks = {skill.name: Desk(skill) for skill in skills}
        self._work: dict[int, Work] = {}  # by token: running or waiting
        seam.on(_core.EVENT_REQUEST, self._on_request)
        seam.on(_core.EVENT_CANCELLED, self._on_cancelled)
        seam.at_end(self.stop)

    @property
    def running(self) -> int:
        """How many handlers run."""
        return sum(desk.running for desk in self._desks.values())

    @property
    def names(self) -> list[str]:
        """The skills on offer."""
        return list(self._desks)

    def add(self, skill: Skill[..., Any]) -> None:
        """Offers one more skill; the peers are told."""
        if skill.name in self._desks:
            raise ConfigurationError(f"the agent has a skill {skill.name!r} already")
        self._desks[skill.name] = Desk(skill)
        self.seam.core.offer([offer_of(desk.skill) for desk in self._desks.values()])
        self.seam.flush_soon()

    def stop(self) -> None:
        """Refuses what waits and cancels what runs, so that callers turn to others at once."""
        for work in list(self._work.values()):
            if not work.cancelled:
                self._refuse(work.token, Refusal.BUSY, "the agent closes")
            self._cancel(work)
        for desk in self._desks.values():
            if desk.pool is not None:
                desk.pool.shutdown(wait=False, cancel_futures=True)
                desk.pool = None

    async def stopped(self, deadline: float) -> None:
        """Waits for the handlers to end after `stop`, until the deadline of the monotonic clock, but not for the caller's own task."""
        current = asyncio.current_task()
        tasks = [work.task for work in self._work.values() if work.task is not None and work.task is not current]
        if tasks:
            await asyncio.wait(tasks, timeout=max(0.0, deadline - time.monotonic()))

    def _on_request(self, event: Event) -> None:
        token, name = event[TOKEN], event[SKILL]
        if not self.seam.is_open:
            self._refuse(token, Refusal.BUSY, "the agent closes")
        elif name is None:
            self._inbox.put(event)
        elif (desk := self._desks.get(name)) is None:
            self._refuse(token, Refusal.SKILL_UNKNOWN, f"no skill {name!r} here")
        else:
            self._accept(desk, event)

    def _accept(self, desk: Desk, event: Event) -> None:
        token = event[TOKEN]
        try:
            args, kwargs = desk.skill.signature.bind(event[BODY])
        except BadArguments as problem:
            self._refuse(token, Refusal.BAD_ARGUMENTS, str(problem))
            return
        except Exception as problem:  # noqa: BLE001  a dataclass's own __post_init__, say
            self._refuse(token, Refusal.BAD_ARGUMENTS, f"{type(problem).__qualname__}: {problem}")
            return
        if desk.running >= desk.skill.concurrency and len(desk.waiting) >= WAITING:
            self._refuse(token, Refusal.BUSY, f"{desk.skill.name} is busy", retry_after=RETRY_AFTER)
            return
        work = self._work[token] = Work(self, desk.skill, event, args, kwargs)
        if desk.running < desk.skill.concurrency:
            self._start(desk, work)
        else:
            heapq.heappush(desk.waiting, work)

    def _start(self, desk: Desk, work: Work) -> None:
        desk.running += 1
        work.task = self.seam.loop.create_task(self._serve(desk, work), name=f"a2alinker skill {work.skill.name}")
        work.task.add_done_callback(lambda task: self._ended(desk, work, task))

    def _ended(self, desk: Desk, work: Work, task: asyncio.Task[None]) -> None:
        """A handler's task is over; it may have been cancelled before its first step."""
        del self._work[work.token]
        if not work.in_thread:
            self._release(desk)
        if task.cancelled():
            self._refuse(work.token, Refusal.CANCELLED, "the handler was cancelled")
        elif (problem := task.exception()) is not None:
            self._refuse_for(work, problem)

    def _release(self, desk: Desk) -> None:
        """A slot is free again."""
        desk.running -= 1
        while desk.waiting and desk.running < desk.skill.concurrency:
            work = heapq.heappop(desk.waiting)
            if not work.cancelled:
                self._start(desk, work)

    def _on_cancelled(self, event: Event) -> None:
        token = event[1]
        if (work := self._work.get(token)) is not None:
            self._cancel(work)
        else:
            self._inbox.cancel(token)

    def _cancel(self, work: Work) -> None:
        work.cancelled = True
        if work.task is not None:
            work.task.cancel()
        else:
            del self._work[work.token]  # it waits in a heap, which passes over it
            self._refuse(work.token, Refusal.CANCELLED, "cancelled")

    async def _serve(self, desk: Desk, work: Work) -> None:
        """Runs the handler and sends its answer."""
        cause.set(work.event)
        skill = desk.skill
        limit = asyncio.timeout(skill.timeout)
        try:
            async with limit:
                answer = await self._invoke(desk, work)
        except TimeoutError:
            if not limit.expired():
                raise
            work.cancelled = True
            self._refuse(work.token, Refusal.LAPSED, f"{skill.name} took longer than its limit of {skill.timeout} s")
        else:
            self._answer(work, answer)

    async def _invoke(self, desk: Desk, work: Work) -> Any:
        match desk.skill.kind:
            case "coroutine":
                return await desk.skill.function(*work.args, **work.kwargs)
            case "async generator":
                return await self._stream(work, desk.skill.function(*work.args, **work.kwargs))
            case "function":
                return await self._in_thread(desk, work, desk.skill.function)
            case "generator":
                return await self._in_thread(desk, work, lambda *args, **kwargs: _iterate(work, desk.skill.function(*args, **kwargs)))

    async def _stream(self, work: Work, parts: AsyncIterator[Any]) -> None:
        try:
            async for part in parts:
                await work.progress(part)
        finally:
            if (close := getattr(parts, "aclose", None)) is not None:
                await close()

    async def _in_thread(self, desk: Desk, work: Work, function: Callable[..., Any]) -> Any:
        """Runs a function in a thread. Its slot is free when the thread is, even if nobody waits for it any more."""
        context = contextvars.copy_context()
        future: Future[Any] = desk.threads().submit(context.run, _run, function, work)
        work.in_thread = True
        future.add_done_callback(lambda _: self._thread_ended(desk))
        return await asyncio.wrap_future(future)

    def _thread_ended(self, desk: Desk) -> None:
        with contextlib.suppress(RuntimeError):  # the loop was closed while the thread ran
            self.seam.loop.call_soon_threadsafe(self._release, desk)

    def _answer(self, work: Work, answer: Any) -> None:
        try:
            self.outbox.answer(work.token, answer, True, *chain(work.event))
            self.seam.flush_soon()
        except BodyError as problem:
            logger.error("the answer of skill %s can't be sent: %s", work.skill.name, problem)
            self._refuse(work.token, Refusal.RESULT, str(problem))
        except AgentClosed as problem:
            logger.debug("an answer came after the end of the agent: %s", problem)

    def _refuse_for(self, work: Work, problem: BaseException) -> None:
        """Tells the caller why there is no answer."""
        match problem:
            case CallRefused():
                self._refuse(work.token, Refusal.REFUSED, str(problem), retry_after=problem.retry_after)
            case TooDeep():
                self._refuse(work.token, Refusal.TOO_DEEP, str(problem))
            case BodyError():
                logger.error("a partial answer of skill %s can't be sent: %s", work.skill.name, problem)
                self._refuse(work.token, Refusal.RESULT, str(problem))
            case _:
                logger.error("skill %s failed", work.skill.name, exc_info=problem)
                self._refuse(work.token, Refusal.FAILED, str(problem), type(problem).__qualname__)

    def _refuse(self, token: int, code: Refusal, text: str, kind: str = "", retry_after: float = 0.0) -> None:
        if self.seam.is_attached:
            self.outbox.refuse(token, code, text, kind, retry_after)


def offer_of(skill: Skill[..., Any]) -> tuple[str, tuple[str, ...], int, bytes]:
    """Returns a skill as the core takes it."""
    return skill.name, skill.tags, skill.concurrency, skill.definition


def _run(function: Callable[..., Any], work: Work) -> Any:
    try:
        return function(*work.args, **work.kwargs)
    except StopIteration as problem:  # a future can't carry it
        raise RuntimeError("the handler raised StopIteration") from problem


def _iterate(work: Work, parts: Iterator[Any]) -> Any:
    """Runs a generator in its thread and returns what it returns."""
    while not work.cancelled:
        try:
            part = next(parts)
        except StopIteration as end:
            return end.value
        work.progress(part)
    close = getattr(parts, "close", None)
    return close() if close is not None else None
