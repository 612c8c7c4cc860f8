"""What a handler knows about the request that it serves, and what is counted of messages that cause each other."""

from __future__ import annotations

from collections.abc import Awaitable, Generator, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from .agent import Agent
    from .handlers import Work
    from .message import Message
    from .peer import Peer

# The message that this task or thread handles: the event of a request in a handler and in what the handler starts, that of the message in hand
# in the body of a loop over messages, None for a program's own doing. What is sent meanwhile counts as caused by it.
cause: ContextVar[tuple[Any, ...] | None] = ContextVar("a2alinker_cause", default=None)

# Where depth and budget stand in the events of messages and requests.
DEPTH, BUDGET = 8, 9


def chain(event: tuple[Any, ...] | None, budget: int | None = None) -> tuple[int, int | None]:
    """Returns depth and budget of what this message causes, given the budget that the program sets."""
    if event is None:
        return 0, budget
    left: int | None = event[BUDGET]
    if left is not None:
        budget = left - 1 if budget is None else min(budget, left - 1)
    return event[DEPTH] + 1, budget


@contextmanager
def unprompted() -> Iterator[None]:
    """What is sent inside isn't caused by the message that is being handled: `with a2alinker.unprompted(): await agent.send(...)`.

    Agents that answer each other for ever are stopped after 64 messages that caused each other. A program that hands out one piece of work
    after the other, each when the last is done, knows its own end and says so in this way.
    """
    before = cause.set(None)
    try:
        yield
    finally:
        cause.reset(before)


class Context:
    """The request that a handler serves. A parameter annotated with this class gets it, and isn't part of the skill's signature."""

    __slots__ = ("_work",)

    def __init__(self, work: Work) -> None:
        self._work = work

    @property
    def peer(self) -> Peer:
        """Who asked."""
        return self.message.sender

    @property
    def message(self) -> Message:
        """The request itself: its priority, thread and age. Its body is [positional arguments, keyword arguments]."""
        return self._work.message

    @property
    def agent(self) -> Agent:
        """The agent that serves."""
        return self._work.agent

    @property
    def skill(self) -> str:
        """The name under which the skill was called."""
        return self._work.skill.name

    @property
    def attempt(self) -> int:
        """How often this call was given to a worker, from 1: above 1 another one may have begun it already."""
        return self._work.attempt

    @property
    def cancelled(self) -> bool:
        """Whether the caller cancelled, is gone, or the skill's timeout is over.

        Coroutines needn't look: they are cancelled. A function in a thread can't be stopped from outside and should look now and then.
        """
        return self._work.cancelled

    def progress(self, body: Any) -> Awaitable[None]:
        """Sends a partial answer.

        In a coroutine, `await context.progress(...)` waits while the outbox is full. In a function that runs in a thread the call itself
        waits, and there is nothing to await.

        Raises:
            BodyError: the value can't be sent.
            AgentClosed: the agent closed meanwhile.
        """
        return self._work.progress(body)

    def __repr__(self) -> str:
        return f"<Context of {self.skill!r} for {self.peer!r}>"


class Ready:
    """An awaitable that is complete already."""

    __slots__ = ()

    def __await__(self) -> Generator[Any, None, None]:
        return
        yield


READY = Ready()
