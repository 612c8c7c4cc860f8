"""An agent of the SDK as a skill that agents on other machines can call.

It runs on the a2alinker agent's own loop, as every coroutine that is a skill does. There it finds what it uses: its MCP servers, and the HTTP client that all
models of OpenAI share in a process, which serve one loop alone. The SDK runs tools that are plain functions in threads; a coroutine that blocks holds up
the link as it holds up everything else on a loop.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
from collections.abc import Iterable
from typing import Any, Final

from agents import (
    Agent,
    InputGuardrailTripwireTriggered,
    ItemHelpers,
    OutputGuardrailTripwireTriggered,
    RunConfig,
    Runner,
    RunResultStreaming,
    StreamEvent,
)

from ...context import Context
from ...exceptions import A2ALinkerError, CallRefused, ConfigurationError
from ...skill import Skill
from .._conversations import Messages, chat, turn
from .._offers import LONGEST_PROGRESS, offer
from .._reach import AnyAgent
from .._words import fact, foreign

MOST_TURNS: Final = 10  # of a model in one call; that is what the SDK's Runner has
REQUESTER: Final = "requester"  # in the run's context: who asks


def offer_agent(
    agent: AnyAgent,
    sdk_agent: Agent,
    *,
    skill: str,
    description: str | None = None,
    tags: Iterable[str] = (),
    concurrency: int = 1,
    timeout: float | None = None,
    max_turns: int = MOST_TURNS,
    run_config: RunConfig | None = None,
) -> Skill[..., Any]:
    """Offers an agent of the SDK, with its tools and its handoffs, as a skill. Each call is a run of its own; nothing is kept between them.

    Its argument `messages` is a text or a history, of chat messages or of items of the Responses API; whoever sends a history gets `{"text": ..., "messages":
    [...], "context": {...}}`, so that it is a handoff target for `remote_agent` and for other frameworks. Partial answers are the model's words as they come,
    `{"delta": ...}`, and what the run does: `{"event": "tool_called", "tool": ...}`, `{"event": "handed_over", "agent": ...}`.

    Who asks, and with which rights, is the first input of the model. The run's context is a dict: what came along as `context`, and under `requester` the Peer
    who asks. It goes back with the answer, but for that and for what isn't JSON.

    skill: the name, 1 to 64 of [A-Za-z0-9._-]. description: for those who choose a skill; by default the agent's `handoff_description`.
    tags, concurrency, timeout: as in `a2alinker.skill`.
    max_turns: how often models may be asked in one call, 1 or more.
    run_config: of each run.

    Raises:
        ConfigurationError: one of the arguments can't be.
    """
    if not isinstance(sdk_agent, Agent):
        raise ConfigurationError(f"offer_agent takes an agents.Agent, not {sdk_agent!r}")
    if max_turns < 1:
        raise ConfigurationError(f"max_turns is 1 or more, not {max_turns!r}")

    async def serve(messages: Messages, request: Context, context: dict[str, Any] | None = None) -> str | dict[str, Any]:
        given = {**(context or {}), REQUESTER: request.peer}
        running = Runner.run_streamed(sdk_agent, _input(messages, request), context=given, max_turns=max_turns, run_config=run_config)
        try:
            async for event in running.stream_events():
                for progress in _progress(event):
                    with contextlib.suppress(A2ALinkerError):  # too late: the call is over
                        await request.progress(progress)
        except (InputGuardrailTripwireTriggered, OutputGuardrailTripwireTriggered) as stopped:
            raise CallRefused(f"a guardrail of this agent stopped it: {stopped.guardrail_result.guardrail.get_name()}") from stopped
        finally:
            await _ended(running)
        return turn(messages, _texts(running), _sendable(given))

    says = (
        description
        if description is not None
        else sdk_agent.handoff_description or f"{sdk_agent.name}, an agent that answers or takes over."
    )
    return offer(agent, Skill(serve, name=skill, description=says, tags=tags, concurrency=concurrency, timeout=timeout))


def _input(messages: Messages, request: Context) -> list[dict[str, str]]:
    """Returns a conversation of another agent for the model: who asks, then what was said, in which nothing passes for such a line."""
    said = [{**line, "content": foreign(line["content"])} for line in chat(messages)]
    return [{"role": "user", "content": fact(request.peer, "conversation")}, *said]


def _progress(event: StreamEvent) -> list[dict[str, Any]]:
    """Returns what the caller is told of an event."""
    match event.type:
        case "raw_response_event" if event.data.type == "response.output_text.delta":
            text = event.data.delta
            return [{"delta": text[at : at + LONGEST_PROGRESS]} for at in range(0, len(text), LONGEST_PROGRESS)]
        case "run_item_stream_event" if event.name == "tool_called":
            return [{"event": "tool_called", "tool": str(getattr(event.item.raw_item, "name", event.item.raw_item.type))}]
        case "run_item_stream_event" if event.name == "handoff_occured":
            return [{"event": "handed_over", "agent": event.item.target_agent.name}]
    return []


async def _ended(running: RunResultStreaming) -> None:
    """Ends a run that goes on, and waits for that."""
    task = running.run_loop_task
    if task is not None and not task.done():
        running.cancel()
        await asyncio.wait({task})


def _texts(running: RunResultStreaming) -> list[str]:
    """Returns what was said in a run, the answer last."""
    if running.interruptions:
        tools = ", ".join(sorted({str(asked.name) for asked in running.interruptions}))
        raise CallRefused(f"this agent may not do that without a person's approval, which can't be had in a call: {tools}")
    texts = [ItemHelpers.text_message_output(item) for item in running.new_items if item.type == "message_output_item"]
    if isinstance(running.final_output, str):
        return texts if texts and texts[-1] == running.final_output else [*texts, running.final_output]
    if running.last_agent.output_type is not None:
        del texts[-1:]  # the same, as the model wrote it
    return [*texts, _json(running.final_output)]


def _json(output: Any) -> str:
    """Returns an output of a type of its own as JSON.

    Raises:
        TypeError: it has none.
    """
    from pydantic_core import PydanticSerializationError, to_json  # the SDK stands on pydantic

    try:
        return to_json(output).decode()
    except PydanticSerializationError as problem:
        raise TypeError(f"the output of this agent can't be sent: {problem}") from None


def _sendable(context: dict[str, Any]) -> dict[str, Any]:
    kept = {}
    for name, value in context.items():
        with contextlib.suppress(TypeError, ValueError, RecursionError):
            if name != REQUESTER:
                kept[name] = json.loads(json.dumps(value, allow_nan=False))
    return kept
