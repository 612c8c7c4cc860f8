"""Crews and their agents as skills that agents on other machines can call."""

from __future__ import annotations

import inspect
import re
from collections.abc import Callable, Iterable
from contextvars import ContextVar
from typing import Any, Final

from crewai import Agent as CrewAgent
from crewai import Crew
from crewai.events import (
    AgentExecutionStartedEvent,
    TaskCompletedEvent,
    TaskStartedEvent,
    ToolUsageErrorEvent,
    ToolUsageFinishedEvent,
    crewai_event_bus,
)

from ...context import Context
from ...exceptions import ConfigurationError
from ...skill import Skill
from .._conversations import Messages, chat, turn
from .._offers import in_thread, offer, told
from .._reach import AnyAgent
from .._words import fact, foreign

REQUESTER: Final = "requester"  # the input that is filled in here: who asks
FLUSHED_WITHIN: Final = 5.0  # seconds for CrewAI's event bus to hand over what it has, before the answer goes out

_INPUT: Final = re.compile(r"[A-Za-z_][A-Za-z0-9_\-]*")  # as CrewAI has it; fetch_inputs also finds braces of other meaning

_serving: ContextVar[Context | None] = ContextVar("a2alinker_crewai_serving", default=None)


def offer_crew(
    agent: AnyAgent,
    crew: Crew,
    *,
    skill: str,
    description: str | None = None,
    tags: Iterable[str] = (),
    concurrency: int = 1,
    timeout: float | None = None,
) -> Skill[..., Any]:
    """Offers a crew as a skill. Each call runs a copy of it, in a thread of its own.

    Its arguments are the crew's inputs, the `{placeholders}` of its tasks and agents, as texts. The answer is the crew's: an object if its last task has an
    `output_pydantic` or `output_json`, else a text. Partial answers tell how it goes: `{"event": "task_started" | "agent_started" | "tool_finished" | "tool_failed" |
    "task_completed", "task": ..., "agent": ..., "tool": ..., "text": ...}`, from CrewAI's event bus.

    Who asks, and with which rights, stands in the first task's description, or where the crew has `{requester}`. A caller that cancels ends the run at its next step.

    skill: the name, 1 to 64 of [A-Za-z0-9._-]. description: for those who choose a skill; by default made of the tasks.
    tags, concurrency, timeout: as in `a2alinker.skill`.

    Raises:
        ConfigurationError: the crew's inputs or one of the arguments can't be.
    """
    if not isinstance(crew, Crew):
        raise ConfigurationError(f"offer_crew takes a crewai.Crew, not {crew!r}")
    names = sorted(name for name in crew.fetch_inputs() if _INPUT.fullmatch(name))
    if odd := [name for name in names if not name.isidentifier()]:
        raise ConfigurationError(f"these inputs can't be arguments of a skill: {', '.join(odd)}; use letters, digits and _")

    def run(context: Context, inputs: dict[str, str]) -> Any:
        copy = crew.copy()
        copy.stream = False  # it would hand out a stream instead of the answer
        given = {name: foreign(value) for name, value in inputs.items()}
        who = fact(context.peer, "request")
        if REQUESTER in names:
            given[REQUESTER] = who
        elif copy.tasks:
            copy.tasks[0].description = f"{who}\n\n{copy.tasks[0].description}"
        return _result(copy.kickoff(inputs=given))

    async def serve(context: Context, **inputs: str) -> Any:
        return await in_thread(lambda: _watched(context, lambda: run(context, inputs)))

    asked = [name for name in names if name != REQUESTER]
    kinds: dict[str, Any] = dict.fromkeys(asked, str)
    parameters = [inspect.Parameter(name, inspect.Parameter.POSITIONAL_OR_KEYWORD, annotation=str) for name in asked]
    parameters.append(inspect.Parameter("context", inspect.Parameter.KEYWORD_ONLY, annotation=Context))
    serve.__signature__ = inspect.Signature(parameters)  # type: ignore[attr-defined]
    serve.__annotations__ = {**kinds, "context": Context}
    says = description if description is not None else " Then: ".join(task.description for task in crew.tasks)[:1_000]
    return offer(agent, Skill(serve, name=skill, description=says, tags=tags, concurrency=concurrency, timeout=timeout))


def offer_agent(
    agent: AnyAgent,
    crew_agent: CrewAgent,
    *,
    skill: str,
    description: str | None = None,
    tags: Iterable[str] = (),
    concurrency: int = 1,
    timeout: float | None = None,
) -> Skill[..., Any]:
    """Offers one agent of CrewAI as a skill, with its role and tools, outside any crew. Each call runs a copy of it, in a thread of its own.

    Its argument `messages` is a text or a history of `{"role": ..., "content": ...}`; whoever sends a history gets `{"text": ..., "messages": [...], "context":
    {...}}`, so that it is a handoff target for other frameworks. Everything else is as in `offer_crew`.

    Raises:
        ConfigurationError: one of the arguments can't be.
    """
    if not isinstance(crew_agent, CrewAgent):
        raise ConfigurationError(f"offer_agent takes a crewai.Agent, not {crew_agent!r}")

    def run(context: Context, messages: Messages) -> Any:
        said = [{**message, "content": foreign(message["content"])} for message in chat(messages)]
        said[0]["content"] = f"{fact(context.peer, 'request')}\n{said[0]['content']}"
        output = crew_agent.copy().kickoff(said)
        return turn(messages, [str(output.raw)])

    async def serve(messages: Messages, context: Context) -> Any:
        """Answers a text or continues a history."""
        return await in_thread(lambda: _watched(context, lambda: run(context, messages)))

    says = description if description is not None else f"{crew_agent.role}: {crew_agent.goal}"
    return offer(agent, Skill(serve, name=skill, description=says, tags=tags, concurrency=concurrency, timeout=timeout))


def _watched(context: Context, run: Callable[[], Any]) -> Any:
    """Runs with CrewAI's events going to the caller as partial answers."""
    _serving.set(context)
    answer = run()
    crewai_event_bus.flush(timeout=FLUSHED_WITHIN)  # a crew has done so by itself, an agent alone hasn't
    return answer


def _result(output: Any) -> Any:
    if output.pydantic is not None:
        return output.pydantic.model_dump(mode="json")
    return output.json_dict if output.json_dict is not None else output.raw


# -- CrewAI's events: handlers run on threads of its bus, in the context of whoever emitted --


def _tell(**progress: Any) -> None:
    if (context := _serving.get()) is not None:
        told(context, {name: value for name, value in progress.items() if value})


def _task_name(task: Any) -> str:
    return str(getattr(task, "name", None) or getattr(task, "description", ""))


@crewai_event_bus.on(TaskStartedEvent)
def _(_: Any, event: TaskStartedEvent) -> None:
    _tell(event="task_started", task=_task_name(event.task))


@crewai_event_bus.on(AgentExecutionStartedEvent)
def _(_: Any, event: AgentExecutionStartedEvent) -> None:
    _tell(event="agent_started", agent=str(event.agent.role), task=_task_name(event.task))


@crewai_event_bus.on(ToolUsageFinishedEvent)
def _(_: Any, event: ToolUsageFinishedEvent) -> None:
    _tell(event="tool_failed" if event.failure else "tool_finished", tool=event.tool_name, agent=event.agent_role, text=str(event.output))


@crewai_event_bus.on(ToolUsageErrorEvent)
def _(_: Any, event: ToolUsageErrorEvent) -> None:
    _tell(event="tool_failed", tool=event.tool_name, agent=event.agent_role, text=str(event.error))


@crewai_event_bus.on(TaskCompletedEvent)
def _(_: Any, event: TaskCompletedEvent) -> None:
    _tell(event="task_completed", task=_task_name(event.task), agent=event.output.agent, text=event.output.raw)
