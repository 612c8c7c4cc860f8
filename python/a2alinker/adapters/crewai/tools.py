"""Tools of a crew that are done by agents on other machines.

CrewAI calls a tool on a worker thread that has no event loop, several at a time, and keeps crews in checkpoints: what lives is private to a tool, and one that
comes out of a checkpoint finds the agent of its swarm again, if this process has given it to an adapter.
"""

from __future__ import annotations

import weakref
from collections.abc import Awaitable, Callable, Iterable
from typing import Annotated, Any, ClassVar

from crewai.tools import BaseTool, ToolFailure
from crewai.types.callback import SerializableCallable
from pydantic import BaseModel, ConfigDict, Field, PrivateAttr, WithJsonSchema, create_model

from ...agent import Agent
from ...exceptions import AgentClosed
from ...outbox import Priority
from ...peer import Peer
from .._mail import READ, READING, SEND, SENDING, Mail
from .._reach import AnyAgent, Reach
from .._schemas import Parameter
from .._skills import TAKEN_WITHIN, WAIT, RemoteSkill, Terms, Tool, aremote_skills, distinct, remote_skills, told_failure
from .._words import Failure
from . import runs

runs.watch()

_agents: weakref.WeakValueDictionary[str, Agent] = weakref.WeakValueDictionary()  # by swarm: those that tools were made for


def not_cached(arguments: Any = None, result: Any = None) -> bool:
    """The `cache_function` of these tools: another agent's answer may be another one the next time."""
    return False


class _Arguments(BaseModel):
    """Arguments that a model made up are refused instead of dropped, so that it learns of them."""

    model_config: ClassVar[ConfigDict] = ConfigDict(extra="forbid")


def _model_of(name: str, parameters: tuple[Parameter, ...]) -> type[BaseModel]:
    fields: dict[str, Any] = {}
    for one in parameters:
        hint = Annotated[one.annotation, WithJsonSchema(one.schema)] if one.required else one.annotation
        fields[one.name] = (hint, Field(default=... if one.required else one.default, description=one.description or None))
    return create_model(f"{name}_arguments", __base__=_Arguments, **fields)


class _LinkedTool(BaseTool):
    """What the tools here have in common: an agent, and an answer that may be a failure."""

    swarm: str = Field(default="", description="The id of the swarm whose agent uses it.")
    priority: Priority = Field(default="normal", description="Of what it sends, unless the model names another one.")
    cache_function: SerializableCallable = Field(default=not_cached, exclude=True)  # else no checkpoint is read without a setting for it
    _agent: Any = PrivateAttr(default=None)

    def __init__(self, agent: AnyAgent | None = None, **options: Any) -> None:
        super().__init__(**options)
        if agent is not None:
            self.bind(agent)

    def bind(self, agent: AnyAgent) -> None:
        """Gives the tool the agent that it uses: one that came out of a checkpoint has none until then."""
        self._agent = agent
        own = Reach(agent).agent
        self.swarm = own.swarm
        _agents[own.swarm] = own

    def _bound(self) -> AnyAgent:
        agent: AnyAgent | None = self._agent if self._agent is not None else _agents.get(self.swarm)
        if agent is None:
            raise AgentClosed(f"the tool {self.name!r} came out of a checkpoint and has no agent: call its bind(agent)")
        return agent

    def _answered(self, ask: Callable[[AnyAgent], str | Failure]) -> str | ToolFailure:
        try:
            told = ask(self._bound())
        except AgentClosed as problem:
            told = told_failure(problem, f"the tool {self.name!r}")
        return _as_answer(told)

    async def _aanswered(self, ask: Callable[[AnyAgent], Awaitable[str | Failure]]) -> str | ToolFailure:
        try:
            told = await ask(self._bound())
        except AgentClosed as problem:
            told = told_failure(problem, f"the tool {self.name!r}")
        return _as_answer(told)


class RemoteSkillTool(_LinkedTool):
    """A skill of another agent as a tool. Made by `tools_from`, or by `RemoteSkillTool.of` from one description.

    Its answer is a line of fact, who answered and with which rights, and then that agent's words. A failure is a `ToolFailure`, whose message says what can be
    done, whose `code` is that of the exception, and whose `retryable` says whether the same call may work later.
    """

    remote: dict[str, Any] = Field(description="The skill as its agent describes it.")
    timeout: float | None = Field(default=None, description="Seconds until the answer must be there; None: as long as it takes.")
    ttl: float = Field(default=TAKEN_WITHIN, description="Seconds until an agent must have the request.")
    _skill: RemoteSkill | None = PrivateAttr(default=None)

    @classmethod
    def of(
        cls,
        agent: AnyAgent,
        skill: RemoteSkill,
        *,
        name: str | None = None,
        priority: Priority = "normal",
        timeout: float | None = None,
        ttl: float = TAKEN_WITHIN,
        **options: Any,
    ) -> RemoteSkillTool:
        """Makes the tool of one skill. `options` are CrewAI's, as `result_as_answer=True` or `max_usage_count=3`.

        Raises:
            ConfigurationError: `priority`, `timeout` or `ttl` can't be.
        """
        Terms(priority, timeout, ttl)
        return cls(
            agent,
            name=name or skill.tool_name,
            description=skill.text,
            args_schema=_model_of(skill.tool_name, skill.asked),
            remote={
                "name": skill.name,
                "description": skill.description,
                "input": skill.input,
                "output": skill.output,
                "agent": skill.agent,
                "providers": list(skill.providers),
            },
            priority=priority,
            timeout=timeout,
            ttl=ttl,
            **options,
        )

    @property
    def skill(self) -> RemoteSkill:
        """The skill's description, which feeds every adapter."""
        if self._skill is None:
            kept = self.remote
            self._skill = RemoteSkill(
                kept["name"], kept["description"], kept["input"], kept["output"], kept["agent"], tuple(kept["providers"])
            )
        return self._skill

    def _run(self, **given: Any) -> str | ToolFailure:
        return self._answered(lambda agent: self._tool(agent).wait(given))

    async def _arun(self, **given: Any) -> str | ToolFailure:
        return await self._aanswered(lambda agent: self._tool(agent).run(given))

    def _tool(self, agent: AnyAgent) -> Tool:
        return Tool(agent, self.skill, Terms(self.priority, self.timeout, self.ttl))


class SendTool(_LinkedTool):
    """Sends a message to another agent, and tells the model whether it arrived: `SendTool(agent)`. Options are CrewAI's, and `priority`."""

    name: str = "send_message"
    description: str = SEND
    args_schema: type[BaseModel] = _model_of("sending", SENDING)

    def _run(self, **given: Any) -> str | ToolFailure:
        return self._answered(lambda agent: Mail(agent, self.priority).send(given))

    async def _arun(self, **given: Any) -> str | ToolFailure:
        return await self._aanswered(lambda agent: Mail(agent, self.priority).asend(given))


class InboxTool(_LinkedTool):
    """Gives the model the messages that came, each with its verified sender: `InboxTool(agent)`. Nothing else may read them then."""

    name: str = "read_messages"
    description: str = READ
    args_schema: type[BaseModel] = _model_of("reading", READING)

    def _run(self, **given: Any) -> str | ToolFailure:
        return self._answered(lambda agent: Mail(agent).read(given))

    async def _arun(self, **given: Any) -> str | ToolFailure:
        return await self._aanswered(lambda agent: Mail(agent).aread(given))


def tools_from(
    agent: AnyAgent,
    skills: Iterable[str] | None = None,
    *,
    to: Peer | str | None = None,
    priority: Priority = "normal",
    timeout: float | None = None,
    ttl: float = TAKEN_WITHIN,
    wait: float = WAIT,
) -> list[RemoteSkillTool]:
    """Makes a tool of each skill, for `Agent(tools=...)`. Blocks until the skills are there; on the agent's own loop `await atools_from(...)`.

    skills: their names; None: all that are on offer at this moment.
    to: the one agent that is to be called, by Peer, name or id. None: at each call whoever has the skill and is free, and another one if that fails.
    priority: of the calls, unless the model names another one.
    timeout: seconds until an answer must be there. None: as long as it takes.
    ttl: seconds until an agent must have a request; when nobody is there who could, the model is told after that.
    wait: seconds until the skills must be there.

    Raises:
        What `a2alinker.adapters.remote_skills` raises; WouldDeadlock on the thread of the agent's loop.
    """
    return _made(agent, remote_skills(agent, skills, to=to, timeout=wait), priority, timeout, ttl)


async def atools_from(
    agent: AnyAgent,
    skills: Iterable[str] | None = None,
    *,
    to: Peer | str | None = None,
    priority: Priority = "normal",
    timeout: float | None = None,
    ttl: float = TAKEN_WITHIN,
    wait: float = WAIT,
) -> list[RemoteSkillTool]:
    """As `tools_from`, to be awaited, on any loop."""
    return _made(agent, await aremote_skills(agent, skills, to=to, timeout=wait), priority, timeout, ttl)


def _made(agent: AnyAgent, skills: list[RemoteSkill], priority: Priority, timeout: float | None, ttl: float) -> list[RemoteSkillTool]:
    return [RemoteSkillTool.of(agent, skill, name=name, priority=priority, timeout=timeout, ttl=ttl) for name, skill in distinct(skills)]


def _as_answer(told: str | Failure) -> str | ToolFailure:
    return told if isinstance(told, str) else ToolFailure(message=told.words, code=told.code, retryable=told.retryable)
