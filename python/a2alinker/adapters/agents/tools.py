"""Tools of an SDK agent that are done by agents on other machines.

The SDK calls a tool in a coroutine, on the loop that its `Runner` runs on, several at a time. The a2alinker agent may live there or on any other loop. A
tool whose task is cancelled, by the run's end or by the tool's own `timeout_seconds`, cancels the call.

What a tool raises would end the run, so that nothing that a model or another agent can cause is raised here: the model is told.
"""

from __future__ import annotations

import json
from collections.abc import Awaitable, Callable, Iterable
from types import NoneType
from typing import Any, Final

from agents import FunctionTool

from ...outbox import Priority, lane_of
from ...peer import Peer
from .._mail import READ, SEND, Mail
from .._reach import AnyAgent
from .._skills import PRIORITY, TAKEN_WITHIN, WAIT, RemoteSkill, Terms, Tool, aremote_skills, distinct, remote_skills
from .._words import Failure

LONGEST_WAIT: Final = 60.0  # seconds that a model may wait for messages; chosen: a run that waits for ever helps nobody

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
    mail = Mail(agent, priority)

    async def send(given: dict[str, Any]) -> Answer:
        if wrong := _wrong({"in_reply_to": None, **given}, to=str, text=str, in_reply_to=(int, NoneType)):
            return wrong
        return await mail.asend(given["to"], given["text"], given.get("priority"), given.get("in_reply_to"))

    properties = {
        "to": {"type": "string", "description": "The name or id of the agent."},
        "text": {"type": "string", "description": "What to say."},
        "priority": PRIORITY.schema,
        "in_reply_to": {
            "type": "integer",
            "description": "The number of the message that this answers, if its sender waits for an answer.",
        },
    }
    return _tool("send_message", SEND, properties, ["to", "text"], send)


def inbox_tool(agent: AnyAgent) -> FunctionTool:
    """Makes the tool `read_messages`: it gives the model the messages that came, each with its verified sender. Nothing else may read them then."""
    mail = Mail(agent)

    async def read(given: dict[str, Any]) -> Answer:
        seconds = given.get("wait") or 0.0
        if wrong := _wrong({"wait": seconds}, wait=(int, float)):
            return wrong
        return await mail.aread(min(float(seconds), LONGEST_WAIT))

    properties = {"wait": {"type": "number", "description": f"Seconds to wait if there are none, at most {LONGEST_WAIT:.0f}."}}
    return _tool("read_messages", READ, properties, [], read)


def _made(agent: AnyAgent, skills: list[RemoteSkill], terms: Terms) -> list[FunctionTool]:
    return [_of_skill(name, Tool(agent, skill, terms)) for name, skill in distinct(skills)]


def _of_skill(name: str, tool: Tool) -> FunctionTool:
    asked = tool.skill.asked
    properties = {parameter.name: parameter.schema for parameter in asked}
    return _tool(name, tool.skill.text, properties, [parameter.name for parameter in asked if parameter.required], tool.run)


def _tool(
    name: str,
    description: str,
    properties: dict[str, Any],
    required: list[str],
    run: Callable[[dict[str, Any]], Awaitable[Answer]],
) -> FunctionTool:
    async def invoke(_: Any, arguments: str) -> str:
        given = _parsed(arguments)
        answer = given if isinstance(given, Failure) else await run(given)
        return answer if isinstance(answer, str) else f"{answer.words} (code: {answer.code})"

    schema = {"type": "object", "properties": properties, "required": required, "additionalProperties": False}
    # A strict schema would have every parameter required and no defaults, which a skill of another agent needn't be.
    return FunctionTool(name=name, description=description, params_json_schema=schema, on_invoke_tool=invoke, strict_json_schema=False)


def _parsed(arguments: str) -> dict[str, Any] | Failure:
    """Returns what a model gave, which is meant to be a JSON object."""
    try:
        given = json.loads(arguments) if arguments.strip() else {}
    except (ValueError, RecursionError):
        return _not_fitting("they aren't JSON")
    return given if isinstance(given, dict) else _not_fitting("they aren't a JSON object")


def _wrong(given: dict[str, Any], **kinds: Any) -> Failure | None:
    for name, kind in kinds.items():
        if not isinstance(given.get(name), kind) or isinstance(given[name], bool):
            return _not_fitting(f"{name!r} is missing or of another type")
    return None


def _not_fitting(why: str) -> Failure:
    return Failure(f"The arguments don't fit: {why}. Correct them and call again.", "bad_arguments", retryable=False)
