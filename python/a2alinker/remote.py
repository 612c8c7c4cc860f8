"""A skill of the swarm as a function of this program."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, AsyncIterable, AsyncIterator, Callable, Iterable, Sequence
from typing import Any, Generic, TypeVar

from ._html import card
from .call import Call, Calls
from .exceptions import BadAnswer, ConfigurationError, SkillUnknown
from .outbox import check_budget, check_ttl, lane_of
from .peer import Peer, Roster

T = TypeVar("T")

Choose = Callable[[list[Peer]], Peer | Sequence[Peer]]


class Remote(Generic[T]):
    """A skill that others have: `remote(...)` starts a `Call`, `remote.map(...)` spreads many over the workers.

    All arguments of the call go to the skill, whatever their names.
    """

    __slots__ = (
        "_budget",
        "_calls",
        "_choose",
        "_convert",
        "_lane",
        "_progress_timeout",
        "_roster",
        "_tags",
        "_timeout",
        "_to",
        "_ttl",
        "skill",
    )

    def __init__(
        self,
        calls: Calls,
        roster: Roster,
        skill: str,
        *,
        to: Peer | str | None,
        choose: Choose | None,
        tags: Iterable[str],
        priority: str,
        timeout: float | None,
        progress_timeout: float | None,
        ttl: float,
        budget: int | None,
        returns: Any,
    ) -> None:
        if to is not None and (choose is not None or tags):
            raise ConfigurationError("give either `to`, or `choose` and `tags`")
        check_ttl(ttl)
        if budget is not None:
            check_budget(budget)
        self.skill = skill
        self._calls = calls
        self._roster = roster
        self._to = to
        self._choose = choose
        self._tags = tuple(tags)
        self._lane = lane_of(priority)
        self._timeout = timeout
        self._progress_timeout = progress_timeout
        self._ttl = ttl
        self._budget = budget
        self._convert: Callable[[Any], T] | None = None if returns is Any else _answer_as(skill, returns)

    def __call__(self, /, *args: Any, **kwargs: Any) -> Call[T]:
        """Starts a call.

        Raises:
            SkillUnknown: nobody is known to have the skill.
            PeerUnknown, AmbiguousPeer: `to` doesn't say whom.
            BodyError: an argument can't be sent.
            OutboxFull: too much waits to be sent.
            TooDeep: messages and calls that cause each other came to their limit.
            AgentClosed, WrongLoop, NoEventLoop, Forked: the agent can't be used, or not from here.
        """
        self._calls.seam.check()
        to = None if self._to is None else self._roster.resolve(self._to)
        return self._calls.call(
            self.skill,
            args,
            kwargs,
            to,
            self._among(),
            self._lane,
            self._ttl,
            self._timeout,
            self._progress_timeout,
            self._budget,
            self._convert,
        )

    async def map(self, items: Iterable[Any] | AsyncIterable[Any], *, limit: int = 16, ordered: bool = False) -> AsyncGenerator[T, None]:
        """Calls the skill with each item as its only argument, and gives the answers.

        At most `limit` calls are under way at a time. Answers come as they are ready, or in the order of the items if `ordered`; then at most
        `limit` of them wait for their turn. The first call that fails ends the others and raises its exception here. Leaving the loop
        early cancels what is under way; `contextlib.aclosing` does so at once.

        Raises:
            ConfigurationError: `limit` is less than 1.
            What `remote(...)` and awaiting its call raise.
        """
        if limit < 1:
            raise ConfigurationError(f"limit is at least 1, not {limit}")
        ended: asyncio.Queue[Call[T]] = asyncio.Queue()
        under_way: dict[Call[T], None] = {}  # a set that keeps the order of the items
        try:
            async for item in _each(items):
                while len(under_way) >= limit:
                    call = await self._next(under_way, ended, ordered)
                    yield await call
                call = await self._calls.outbox.when_room(self, item)
                under_way[call] = None
                call.when_done(ended.put_nowait)
            while under_way:
                call = await self._next(under_way, ended, ordered)
                yield await call
        finally:
            for call in under_way:
                call.cancel()

    async def _next(self, under_way: dict[Call[T], None], ended: asyncio.Queue[Call[T]], ordered: bool) -> Call[T]:
        if ordered:
            call = next(iter(under_way))
            while not call.done():
                await ended.get()
        else:
            call = await ended.get()
        del under_way[call]
        return call

    def _among(self) -> list[Peer] | None:
        if self._choose is None and not self._tags:
            return None
        candidates = [peer for peer in self._roster.discover(skill=self.skill, name=None, tags=()) if peer.has(self.skill, self._tags)]
        if candidates and self._choose is not None:
            chosen = self._choose(candidates)
            candidates = [chosen] if isinstance(chosen, Peer) else list(chosen)
        if not candidates:
            tags = f" with the tags {', '.join(self._tags)}" if self._tags else ""
            raise SkillUnknown(f"nobody has the skill {self.skill!r}{tags}, or none of them was chosen", skill=self.skill)
        return candidates

    def __repr__(self) -> str:
        return f"<Remote {self.skill}{f' of {self._to}' if self._to else ''}>"

    def _repr_html_(self) -> str:
        return card(f"Remote {self.skill}", {"to": self._to, "tags": ", ".join(self._tags)})


async def _each(items: Iterable[Any] | AsyncIterable[Any]) -> AsyncIterator[Any]:
    if isinstance(items, AsyncIterable):
        async for item in items:
            yield item
    else:
        for item in items:
            yield item


def _answer_as(skill: str, returns: Any) -> Callable[[Any], Any]:
    from .schema import Mismatch, converter_of

    convert = converter_of(returns)

    def as_asked(value: Any) -> Any:
        try:
            return convert(value)
        except Mismatch as problem:
            raise BadAnswer(f"the answer of {skill!r} isn't what `returns` says: {problem.at('answer')}") from None

    return as_asked
