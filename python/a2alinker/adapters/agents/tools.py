"""Tools of an SDK agent that are done by agents on other machines.

The SDK calls a tool in a coroutine, on the loop that its `Runner` runs on, several at a time. The a2alinker agent may live there or on any other loop. A
tool whose task is cancelled, by the run's end or by the tool's own `timeout_seconds`, cancels the call.

What a tool raises would end the run, so that nothing that a model or another agent can cause is raised here: the model is told.
"""

from __future__ import annotations

import json
from collections.abc import Awaitable, Callable, Iterable
from typing import Any

from agents import FunctionTool

from ...outbox import Priority, lane_of
from ...peer import Peer
from .._mail import READ, READING, SEND, SENDING, Mail
from .._reach import AnyAgent
from .._schemas import Parameter
from .._skills import TAKEN_WITHIN, WAIT, RemoteSkill, Terms, Tool, aremote_skills, distinct, remote_skills
from .._words import Failure

Answer = str | Failure


def tools_from(
    agent: AnyAgent,
    skills: Iterable[str] | None = None,
    *,
    to: Peer | str | None = None,
    priority: Priority = "normal",
    timeout: float | None = None,
    ttl: float = TAKEN_WITHIN,
    wait: float = WAIT,
) -> list[FunctionTool]:
    """Makes a tool of each skill, for `Agent(tools=...)`. Blocks until the skills are there; on the agent's own loop `await atools_from(...)`.

    The answer of a tool is a line of fact, who answered and with which rights, and then that agent's words. A failure is words that say what can be done, and
    the code of the exception. A tool is an ordinary `FunctionTool`: set its `timeout_seconds`, `needs_approval`, `is_enabled` or guardrails as you like.

    skills: their names; None: all that are on offer at this moment.
    to: the one agent that is to be called, by Peer, name or id. None: at each call whoever has the skill and is free, and another one if that is gone.
    priority: of the calls, unless the model names another one.
    timeout: seconds until an answer must be there. None: as long as it takes.
    ttl: seconds until an agent must have a request; when nobody is there who could, the model is told after that.
    wait: seconds until the skills must be there.

    Raises:
        ConfigurationError: `priority` or `timeout` can't be.
        What `a2alinker.adapters.remote_skills` raises; WouldDeadlock on the thread of the agent's loop.
    """
    terms = Terms(priority, timeout, ttl)
    return _made(agent, remote_skills(agent, skills, to=to, timeout=wait), terms)


async def atools_from(
    agent: AnyAgent,
    skills: Iterable[str] | None = None,
    *,
    to: Peer | str | None = None,
    priority: Priority = "normal",
    timeout: float | None = None,
    ttl: float = TAKEN_WITHIN,
    wait: float = WAIT,
) -> list[FunctionTool]:
    """As `tools_from`, to be awaited, on any loop."""
    terms = Terms(priority, timeout, ttl)
    return _made(agent, await aremote_skills(agent, skills, to=to, timeout=wait), terms)


def send_tool(agent: AnyAgent, *, priority: Priority = "normal") -> FunctionTool:
    """Makes the tool `send_message`: it sends a message to another agent, and tells the model whether it arrived.

    priority: of the messages, unless the model names another one.

    Raises:
        ConfigurationError: `priority` can't be.
    """
    lane_of(priority)
    return _tool("send_message", SEND, SENDING, Mail(agent, priority).asend)


def inbox_tool(agent: AnyAgent) -> FunctionTool:
    """Makes the tool `read_messages`: it gives the model the messages that came, each with its verified sender. Nothing else may read them then."""
    return _tool("read_messages", READ, READING, Mail(agent).aread)


def _made(agent: AnyAgent, skills: list[RemoteSkill], terms: Terms) -> list[FunctionTool]:
    return [_tool(name, skill.text, skill.asked, Tool(agent, skill, terms).run) for name, skill in distinct(skills)]


def _tool(
    name: str, description: str, parameters: tuple[Parameter, ...], run: Callable[[dict[str, Any]], Awaitable[Answer]]
) -> FunctionTool:
    async def invoke(_: Any, arguments: str) -> str:
        given = _parsed(arguments)
        answer = given if isinstance(given, Failure) else await run(given)
        return answer if isinstance(answer, str) else f"{answer.words} (code: {answer.code})"

    schema = {
        "type": "object",
        "properties": {one.name: one.schema for one in parameters},
        "required": [one.name for one in parameters if one.required],
        "additionalProperties": False,
    }
    # A strict schema would have every parameter required and no defaults, which a skill of another agent needn't be.
    return FunctionTool(name=name, description=description, params_json_schema=schema, on_invoke_tool=invoke, strict_json_schema=False)


def _parsed(arguments: str) -> dict[str, Any] | Failure:
    """Returns what a model gave, which is meant to be a JSON object."""
    try:
        given = json.loads(arguments) if arguments.strip() else {}
    except (ValueError, RecursionError):
        return _not_fitting("they aren't JSON")
    return given if isinstance(given, dict) else _not_fitting("they aren't a JSON object")


def _not_fitting(why: str) -> Failure:
    return Failure(f"The arguments don't fit: {why}. Correct them and call again.", "bad_arguments", retryable=False)
