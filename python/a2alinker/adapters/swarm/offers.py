"""A local Swarm as a skill that agents on other machines can call, and hand conversations over to.

Each call is a run of its own, in a thread of its own. Swarm's `run` can't be stopped and tells nothing before its end, so the loop over completions and calls
of functions stands here once more.
"""

from __future__ import annotations

import copy
import json
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any, Final

import swarm

from ... import _core
from ...context import Context
from ...exceptions import BodyError, CallRefused, ConfigurationError, PeerUnknown
from ...skill import Skill
from .._conversations import Messages, chat, turn
from .._offers import in_thread, offer, told
from .._reach import AnyAgent
from .._words import fact, foreign
from .handoff import REQUESTER, check_cancelled

MOST_MESSAGES: Final = 50  # of one run, as Swarm counts its turns; chosen: some ten tool calls, and an end to a model that calls for ever


def offer_swarm(
    agent: AnyAgent,
    client: swarm.Swarm,
    swarm_agent: swarm.Agent,
    *,
    skill: str,
    description: str | None = None,
    tags: Iterable[str] = (),
    concurrency: int = 1,
    timeout: float | None = None,
    context_variables: dict[str, Any] | None = None,
    accept: Iterable[str] | None = None,
    max_turns: int = MOST_MESSAGES,
) -> Skill[..., Any]:
    """Offers runs of a Swarm as a skill, which is a handoff target for `remote_agent` and answers plain calls.

    Its arguments are `messages`, a text or a history of `{"role": ..., "content": ...}`, and `context`, an object. Whoever sends a text gets a text, whoever sends a
    history `{"text": ..., "messages": [...], "context": {...}}`. Partial answers tell how it goes: `{"event": "message" | "tool_started" | "tool_finished", "agent":
    ..., "text": ..., "tool": ...}`. A caller that cancels, or is gone, ends the run before its next completion or function.

    Who asks, and with which rights, is told to the models in a system message before the conversation, and to functions in
    `context_variables["requester"]`; no caller can set it. Everything else that came in is the caller's word, in what it calls system messages, too.

    agent: the link, of a2alinker or of a2alinker.sync.
    client: the Swarm that runs it; a LinkedSwarm if some of its agents are on other machines.
    swarm_agent: who begins.
    skill: the name, 1 to 64 of [A-Za-z0-9._-]. description: for those who choose a skill.
    tags, concurrency, timeout: as in `a2alinker.skill`. A run that was cancelled holds its place until it has ended.
    context_variables: what each run begins with, a copy for each. Those that the run didn't change stay here.
    accept: names of the context variables that callers may set; None: all of them.
    max_turns: messages that a run may add, as Swarm counts its turns; beyond them the caller is refused.

    Raises:
        ConfigurationError: one of the arguments can't be.
    """
    if not isinstance(client, swarm.Swarm):
        raise ConfigurationError(f"client is a swarm.Swarm, as LinkedSwarm(client) makes one of a client of OpenAI, not {client!r}")
    if not isinstance(swarm_agent, swarm.Agent):
        raise ConfigurationError(f"swarm_agent is a swarm.Agent, not {swarm_agent!r}")
    if isinstance(accept, str):
        raise ConfigurationError(f"accept is a list: accept=[{accept!r}]")
    if max_turns < 1:
        raise ConfigurationError(f"max_turns is at least 1, not {max_turns!r}")
    try:
        own = copy.deepcopy(context_variables or {})
    except TypeError as problem:
        raise ConfigurationError(f"context variables are copied for each run, and these can't be: {problem}") from None
    accepted = None if accept is None else frozenset(accept)

    async def converse(messages: Messages, request: Context, context: dict[str, Any] | None = None) -> str | dict[str, Any]:
        given = {name: value for name, value in (context or {}).items() if accepted is None or name in accepted}
        try:
            peer = request.peer
        except PeerUnknown:
            peer = None
        run = _Run(client, swarm_agent, messages, {**copy.deepcopy(own), **given, REQUESTER: fact(peer, "request")}, request, max_turns)
        texts = await in_thread(run.texts)
        return turn(messages, texts, _public(run.variables, own, given))

    says = f"Continues a conversation as the agent {swarm_agent.name}." if description is None else description
    return offer(agent, Skill(converse, name=skill, description=says, tags=tags, concurrency=concurrency, timeout=timeout))


@dataclass(slots=True)
class _Run:
    """One run of a Swarm for a caller."""

    client: Any
    agent: Any  # who has the conversation
    asked: Messages
    variables: dict[str, Any]
    request: Context
    max_turns: int
    said: list[str] = field(default_factory=list)

    def texts(self) -> list[str]:
        """Runs it, and returns what was said. The last text is the answer."""
        told_first = {"role": "system", "content": self.variables[REQUESTER]}
        history = [told_first, *({**message, "content": foreign(message["content"])} for message in chat(self.asked))]
        begun = len(history)
        while len(history) - begun < self.max_turns:
            check_cancelled()
            known = len(history)
            completion = self.client.get_chat_completion(self.agent, history, self.variables, None, False, False)
            message = completion.choices[0].message
            history.append({**json.loads(message.model_dump_json()), "sender": self.agent.name})
            self._say(history[known:], is_last=not message.tool_calls)
            if not message.tool_calls:
                return self.said
            caller = self.agent  # a handoff doesn't change whose functions the other calls are for
            for tool_call in message.tool_calls:
                history += self._call(caller, tool_call)
        raise CallRefused(f"there was no answer within {self.max_turns} messages")

    def _say(self, messages: list[dict[str, Any]], *, is_last: bool) -> None:
        texts = [message["content"] for message in messages if message["content"]]
        self.said += texts
        for text in texts[:-1] if is_last else texts:
            self._tell(event="message", text=text)

    def _call(self, caller: Any, tool_call: Any) -> list[dict[str, Any]]:
        check_cancelled()
        tool = tool_call.function.name
        self._tell(event="tool_started", tool=tool)
        outcome = self.client.handle_tool_calls([tool_call], caller.functions, self.variables, False)
        self._tell(event="tool_finished", tool=tool)
        self.variables.update(outcome.context_variables)
        if outcome.agent is not None:
            self.agent = outcome.agent
        return outcome.messages  # type: ignore[no-any-return]

    def _tell(self, **progress: Any) -> None:
        told(self.request, {**progress, "agent": self.agent.name})


def _public(variables: dict[str, Any], own: dict[str, Any], given: dict[str, Any]) -> dict[str, Any]:
    """Returns the context variables that go to the caller: what came from there and what the run has set, as far as they can be sent."""
    return {
        name: value
        for name, value in variables.items()
        if name != REQUESTER and _can_be_sent(name, value) and (name in given or name not in own or value != own[name])
    }


def _can_be_sent(name: str, value: Any) -> bool:
    try:
        _core.encode_body({name: value})
    except BodyError:
        return False
    return True
