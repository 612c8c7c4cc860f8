"""What a framework runs as a skill: a thread of its own for each run, and conversations in the form that all frameworks understand.

A conversation comes in as a text or as a history, in the form of chat completions (`role` and `content`) or of the Responses API (items). Whoever sends
a text gets a text; whoever sends a history gets a turn: `{"text": ..., "messages": [...], "context": {...}}`.
"""

from __future__ import annotations

import asyncio
import contextlib
import contextvars
import json
import threading
from collections.abc import Callable, Sequence
from concurrent.futures import Future
from typing import Any, Final, TypeVar

from .._loop import running_loop
from ..context import Context
from ..exceptions import A2ALinkerError, CallRefused
from ..skill import Skill
from ._reach import AnyAgent, CancelScope, Reach, current_scope

R = TypeVar("R")

Messages = str | list[dict[str, Any]]
LONGEST_PROGRESS: Final = 2_000  # characters of a text in a partial answer; chosen: it tells how it goes, and isn't the answer

_TEXT_PARTS: Final = ("text", "input_text", "output_text")


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


def told(context: Context, progress: dict[str, Any]) -> None:
    """Sends a partial answer from a run's thread; one that comes too late is dropped, as the call is over."""
    with contextlib.suppress(A2ALinkerError):
        context.progress({name: value[:LONGEST_PROGRESS] if isinstance(value, str) else value for name, value in progress.items()})


def turn(asked: Messages, texts: Sequence[str], context: dict[str, Any] | None = None) -> str | dict[str, Any]:
    """Returns the answer to a conversation, in the form in which it was asked for. `texts` are what was said, the last one being the answer."""
    answer = texts[-1] if texts else ""
    if isinstance(asked, str):
        return answer
    return {"text": answer, "messages": [{"role": "assistant", "content": text} for text in texts], "context": context or {}}


def chat(messages: Messages) -> list[dict[str, str]]:
    """Returns a conversation of another agent as chat messages of users and assistants.

    What was called and what it gave become texts, as the receiver's model has other tools. What others call `system` is said by a user here:
    nobody else instructs this model.

    Raises:
        CallRefused: it isn't a conversation.
    """
    if isinstance(messages, str):
        return [{"role": "user", "content": messages}]
    found = [line for number, message in enumerate(messages) if (line := _line(message, f"messages[{number}]")) is not None]
    if not found:
        raise CallRefused("the conversation is empty")
    return found


def _line(message: Any, where: str) -> dict[str, str] | None:
    if not isinstance(message, dict):
        raise CallRefused(f"{where} isn't an object with role and content")
    match message.get("type"):
        case "function_call":
            return {"role": "assistant", "content": f"(I called {message.get('name')} with {message.get('arguments')})"}
        case "function_call_output":
            return {"role": "user", "content": f"(The call gave: {_text(message.get('output'), where)})"}
        case "reasoning":
            return None
        case str(kind) if "role" not in message:  # a tool that a provider runs, as its search
            return {"role": "assistant", "content": f"(I used {kind[:40]})"}
    role = message.get("role")
    text = _text(message.get("content"), where)
    if role == "tool":
        return {"role": "user", "content": f"(The call gave: {text})"}
    if role == "assistant":
        calls = [call.get("function", {}) for call in message.get("tool_calls") or () if isinstance(call, dict)]
        text = "\n".join([*([text] if text else []), *(f"(I called {call.get('name')} with {call.get('arguments')})" for call in calls)])
        return {"role": "assistant", "content": text} if text else None
    if role in ("user", "system", "developer"):
        return {"role": "user", "content": text}
    raise CallRefused(f"{where} has no role that is known: {str(role)[:40]!r}")


def _text(content: Any, where: str) -> str:
    if content is None:
        return ""
    if isinstance(content, str):
        return content
    if isinstance(content, list):
        parts = [part for part in content if isinstance(part, dict)]
        texts = [
            str(part.get("text", "")) if part.get("type") in _TEXT_PARTS else f"({part.get('type', 'something')} left out)"
            for part in parts
        ]
        return "\n".join(texts)
    if isinstance(content, dict):
        return json.dumps(content, ensure_ascii=False)
    raise CallRefused(f"{where} has a content that is no text")
