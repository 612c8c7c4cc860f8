"""What a handler knows about the request that it serves, and the causal depth that its own messages inherit."""

from __future__ import annotations

from collections.abc import Awaitable, Generator
from contextvars import ContextVar
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from .agent import Agent
    from .handlers import Work
    from .message import Message
    from .peer import Peer

# How many messages led to what this task or thread is doing: 0 for a program's own doing, one more than the request in a handler and in
# what the handler starts. Whatever is sent carries it, and a reply one more than its message; the core refuses beyond 64. A loop over an
# agent's messages doesn't set it: what a program sends between two messages needn't be caused by the first.
causal_depth: ContextVar[int] = ContextVar("a2alinker_causal_depth", default=0)


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
