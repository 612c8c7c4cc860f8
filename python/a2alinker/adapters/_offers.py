"""What a framework runs as a skill: how it is offered, a thread of its own for each run, and how it tells of its progress."""

from __future__ import annotations

import asyncio
import contextlib
import contextvars
import threading
from collections.abc import Callable
from concurrent.futures import Future
from typing import Any, Final, TypeVar

from .._loop import running_loop
from ..context import Context
from ..exceptions import A2ALinkerError
from ..skill import Skill
from ._reach import AnyAgent, CancelScope, Reach, current_scope

R = TypeVar("R")

LONGEST_PROGRESS: Final = 2_000  # characters of a text in a partial answer; chosen: it tells how it goes, and isn't the answer


def offer(agent: AnyAgent, skill: Skill[..., Any]) -> Skill[..., Any]:
    """Offers a skill of an agent on whatever loop, from any thread, or from a coroutine on the agent's own loop."""
    reach = Reach(agent)

    async def add(own: Any) -> None:
        own.skill(skill)

    if running_loop() is reach.loop:
        reach.agent.skill(skill)
    else:
        reach.wait(add)
    return skill


async def in_thread(run: Callable[[], R]) -> R:
    """Runs what blocks in a thread of its own, in which calls of other agents end when this is cancelled.

    The thread can't be stopped, so a cancelled run holds its place until it has ended: at the next call of another agent, or of what looks at
    `current_scope`.
    """
    scope = CancelScope(current_scope.get())
    outcome: Future[R] = Future()

    def begin() -> None:
        current_scope.set(scope)
        try:
            outcome.set_result(run())
        except BaseException as problem:  # noqa: BLE001  whatever it is belongs to who waits
            outcome.set_exception(problem)

    threading.Thread(target=contextvars.copy_context().run, args=(begin,), name="a2alinker offer", daemon=True).start()
    ended = asyncio.wrap_future(outcome)
    try:
        return await asyncio.shield(ended)
    except asyncio.CancelledError:
        scope.end()
        await asyncio.wait({ended})
        if not ended.cancelled():
            ended.exception()  # nobody asks for it
        raise
    finally:
        scope.end()


def told(context: Context, progress: dict[str, Any]) -> None:
    """Sends a partial answer from a run's thread; one that comes too late is dropped, as the call is over."""
    with contextlib.suppress(A2ALinkerError):
        context.progress({name: value[:LONGEST_PROGRESS] if isinstance(value, str) else value for name, value in progress.items()})
