"""Agents on other machines that a conversation is handed over to.

The SDK hands a conversation over by making another `Agent` the one whose model is asked next. A remote agent is an `Agent` whose model is the link: the
history goes to a skill of another agent, and its answer is what the model says. So `result.last_agent` is the remote one, the SDK's streams,
sessions and guardrails work, and no model is asked here.

Of what the other side gives, a text alone enters the history here, after a line of fact that says whose it is.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Mapping
from typing import Any, Final
from uuid import uuid4

from agents import Agent, Handoff, Model, ModelResponse, Usage
from openai.types.responses import ResponseFunctionToolCall

from ...exceptions import A2ALinkerError, BadArguments, ConfigurationError, SkillUnknown
from ...outbox import Priority
from ...peer import Peer
from .._conversations import Form, chat, said
from .._reach import AnyAgent, Reach
from .._skills import WAIT, Answer, RemoteSkill, Terms, aremote_skills, call, remote_skills, told_failure
from .._words import fact, foreign
from .streaming import Listening, message

GivenContext = Mapping[str, Any] | Callable[[], Mapping[str, Any]]


def remote_agent(
    agent: AnyAgent,
    skill: str,
    *,
    to: Peer | str | None = None,
    name: str | None = None,
    handoff_description: str | None = None,
    back_to: Agent | None = None,
    context: GivenContext | None = None,
    priority: Priority = "normal",
    timeout: float | None = None,
    wait: float = WAIT,
) -> Agent:
    """Makes an SDK agent of a skill on another machine, for `Agent(handoffs=[...])`, or to be run itself. Blocks until the skill is there.

    A skill that takes `messages`, as `offer_agent` of any adapter makes it, gets the whole history as it stands in the SDK, but for what the model
    thought. One that takes a single text gets what the user said last. The answer's text is the agent's output, after a line that says who it is from.

    to: the one agent that is to be asked, by Peer, name or id. None: whoever has the skill and is free, and another one if that is gone.
    name: the agent's name here, which the tool for the handoff is named after; by default that of the skill.
    handoff_description: what the model is told that the agent is for; by default the skill's own description, marked as such.
    back_to: a local agent that the conversation goes back to if there is no answer, after words that say why. None: the exception ends the run.
    context: goes along as the conversation's context, if the skill takes one: a mapping, or what gives one at each turn. A model of the SDK doesn't see the
        run's own context, so that it has to be given here; what comes back as context isn't used.
    priority: of the calls.
    timeout: seconds until an answer must be there. None: as long as it takes.
    wait: seconds until the skill must be there.

    Raises:
        ConfigurationError: the skill can't take over a conversation; `priority` or `timeout` can't be.
        TimedOut: the skill or the agent wasn't there in time.
        AmbiguousPeer: several agents have the name in `to`.
        WouldDeadlock: on the thread of the agent's loop; use `await aremote_agent(...)` there.
    """
    terms = Terms(priority, timeout)
    found = remote_skills(agent, [skill], to=to, timeout=wait)
    return _made(agent, skill, found, terms, name, handoff_description, back_to, context)


async def aremote_agent(
    agent: AnyAgent,
    skill: str,
    *,
    to: Peer | str | None = None,
    name: str | None = None,
    handoff_description: str | None = None,
    back_to: Agent | None = None,
    context: GivenContext | None = None,
    priority: Priority = "normal",
    timeout: float | None = None,
    wait: float = WAIT,
) -> Agent:
    """As `remote_agent`, to be awaited, on any loop."""
    terms = Terms(priority, timeout)
    found = await aremote_skills(agent, [skill], to=to, timeout=wait)
    return _made(agent, skill, found, terms, name, handoff_description, back_to, context)


def _made(
    agent: AnyAgent,
    wanted: str,
    found: list[RemoteSkill],
    terms: Terms,
    name: str | None,
    handoff_description: str | None,
    back_to: Agent | None,
    context: GivenContext | None,
) -> Agent:
    if not found:
        raise SkillUnknown(f"the skill {wanted!r} is no longer on offer")
    if back_to is not None and not isinstance(back_to, Agent):
        raise ConfigurationError(f"back_to is an agents.Agent, not {back_to!r}")
    skill = found[0]
    own_name = name or skill.tool_name
    model = LinkModel(agent, own_name, skill, terms, context, back_to)
    return Agent(
        name=own_name,
        handoff_description=handoff_description if handoff_description is not None else skill.text,
        handoffs=[] if back_to is None else [back_to],
        model=model,
    )


class LinkModel(Model):
    """A model whose answers come from a skill of another agent."""

    def __init__(
        self, agent: AnyAgent, name: str, skill: RemoteSkill, terms: Terms, context: GivenContext | None, back_to: Agent | None
    ) -> None:
        self._reach = Reach(agent)
        self._name = name
        self._skill = skill
        self._terms = terms
        self._form = Form.of(skill)
        self._context = context
        self._back_to = back_to

    async def get_response(
        self,
        system_instructions: str | None,
        input: str | list[Any],
        model_settings: Any,
        tools: list[Any],
        output_schema: Any,
        handoffs: list[Handoff],
        tracing: Any,
        **server: Any,
    ) -> ModelResponse:
        """Asks the other agent. Called by the SDK."""
        self._check(tools, output_schema, server)
        try:
            arguments = self._arguments(system_instructions, input)
            answer = await self._reach.run(lambda agent: call(agent, self._skill, arguments, self._terms))
            output = [message(_said(answer))]
        except A2ALinkerError as error:
            output = self._sent_back(error, handoffs)
        return ModelResponse(output=output, usage=Usage(), response_id=None)  # no tokens: whose model it was counts them

    async def stream_response(
        self,
        system_instructions: str | None,
        input: str | list[Any],
        model_settings: Any,
        tools: list[Any],
        output_schema: Any,
        handoffs: list[Handoff],
        tracing: Any,
        **server: Any,
    ) -> AsyncIterator[Any]:
        """As `get_response`, event by event. Called by the SDK."""
        self._check(tools, output_schema, server)
        listening = Listening(f"a2alinker:{self._skill.name}")
        output: list[Any] = []
        yield listening.begin()
        try:
            async with contextlib.aclosing(self._parts(self._arguments(system_instructions, input))) as parts:
                async for what, given in parts:
                    if what is _ANSWER:
                        output = [message(_said(given))]
                    else:
                        for event in listening.began(given) if what is _PEER else listening.part(given):
                            yield event
        except A2ALinkerError as error:
            output = self._sent_back(error, handoffs)
        for event in listening.end(output):
            yield event

    async def _parts(self, arguments: dict[str, Any]) -> AsyncGenerator[tuple[object, Any], None]:
        """Gives what comes of a call, on the SDK's loop, whichever loop the agent is on."""
        loop = asyncio.get_running_loop()
        # Bounded by what `call` takes of partial answers.
        came: asyncio.Queue[tuple[object, Any]] = asyncio.Queue()

        def put(what: object, given: Any) -> None:
            loop.call_soon_threadsafe(came.put_nowait, (what, given))

        def start(agent: Any) -> Any:
            return call(agent, self._skill, arguments, self._terms, lambda part: put(_PART, part), lambda peer: put(_PEER, peer))

        under_way = asyncio.ensure_future(self._reach.run(start))
        under_way.add_done_callback(lambda _: put(_ANSWER, None))
        try:
            while (item := await came.get())[0] is not _ANSWER:
                yield item
            yield _ANSWER, await under_way
        finally:
            if not under_way.done():
                under_way.cancel()
                await asyncio.wait({under_way})

    def _check(self, tools: list[Any], output_schema: Any, server: dict[str, Any]) -> None:
        if output_schema is not None and not output_schema.is_plain_text():
            raise ConfigurationError(f"the remote agent {self._name!r} answers with a text, so it can have no output_type")
        if tools:
            raise ConfigurationError(f"the remote agent {self._name!r} has the tools of its own machine: give it none here")
        if server.get("conversation_id") is not None or server.get("previous_response_id") is not None:
            raise ConfigurationError(
                f"the remote agent {self._name!r} needs the history, and that of this run lies at OpenAI: run without conversation_id and previous_response_id"
            )

    def _arguments(self, instructions: str | None, given: str | list[Any]) -> dict[str, Any]:
        # What a model thought is sealed for its own maker.
        history = (
            [{"role": "user", "content": given}] if isinstance(given, str) else [item for item in given if item.get("type") != "reasoning"]
        )
        if not self._form.whole:
            return {self._form.argument: _last_text(history)}
        if instructions:
            history.insert(0, {"role": "system", "content": instructions})
        arguments: dict[str, Any] = {self._form.argument: history}
        if self._form.context and self._context is not None:
            arguments["context"] = dict(self._context() if callable(self._context) else self._context)
        return arguments

    def _sent_back(self, error: A2ALinkerError, handoffs: list[Handoff]) -> list[Any]:
        """Returns a response that hands the conversation back, with words that say why; or raises the error."""
        back_to = self._back_to
        transfer = None if back_to is None else next((one.tool_name for one in handoffs if one.agent_name == back_to.name), None)
        if transfer is None:
            raise error
        failed = told_failure(error, f"the remote agent {self._name!r}")
        words = f"[a2alinker: {self._name} gave no answer (code: {failed.code}).]\n{failed.words}"
        return [
            message(words),
            ResponseFunctionToolCall(arguments="{}", call_id=f"call_{uuid4().hex}", name=transfer, type="function_call"),
        ]


_PEER: Final = object()
_PART: Final = object()
_ANSWER: Final = object()


def _said(answer: Answer) -> str:
    texts, _ = said(answer.value)
    return f"{fact(answer.peer)}\n{foreign(texts[-1])}"


def _last_text(history: list[Any]) -> str:
    said = [item for item in history if item.get("role") == "user"] or history
    if not said:
        raise BadArguments("the conversation has no text yet")
    return chat(said[-1:])[-1]["content"]
