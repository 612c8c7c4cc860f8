"""Agents on other machines as handoff targets of a local Swarm.

A `RemoteAgent` is a Swarm agent like any other: functions return it, `run` begins with it. What is its own is where completions come from. `LinkedSwarm` hands
the history and the context variables to a skill on another machine, and takes what comes back into both:

    run() --> get_chat_completion(agent, history, context_variables)
                agent is local      the client, as in Swarm
                agent is remote     call skill(messages=history, context=variables) --> texts, context
                  it failed         control goes to `back_to`, by a call of a function that the remote agent has for that

Of a peer's answer only texts enter the history, as words of the assistant under the remote agent's name, each below the line that says whose they are.
"""

from __future__ import annotations

import json
import time
import uuid
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Any, Final

import swarm
from openai.types.chat import ChatCompletion, ChatCompletionChunk
from swarm.types import Response, Result
from swarm.util import debug_print

from ... import _core
from ..._loop import running_loop
from ...agent import Agent
from ...exceptions import A2ALinkerError, BodyError, CallCancelled, ConfigurationError, SkillUnknown, TimedOut, UsageError, WouldDeadlock
from ...outbox import Priority
from ...peer import Peer
from .._conversations import Form, said
from .._reach import AnyAgent, Reach, current_scope
from .._skills import WAIT, Answer, RemoteSkill, Terms, aremote_skills, call, told_failure
from .._words import Failure, fact, foreign
from ._streams import Stream
from .functions import told

MOST_TEXTS: Final = 20  # of one answer that enter the history, the last ones; chosen: a peer must not fill a local model's context window
REQUESTER: Final = "requester"  # the context variable of an offered Swarm that says who asked: a fact, which no peer sets or gets

_MARK: Final = "[a2alinker"
_KEPT: Final = ("role", "content", "sender", "name", "tool_calls", "tool_call_id", "tool_name")  # of a message; the rest stays here


@dataclass(frozen=True, slots=True)
class Link:
    """Where a remote agent's completions come from, and on which terms."""

    reach: Reach
    skill: str
    to: Peer | str | None
    share: frozenset[str] | None
    accept: frozenset[str] | None
    terms: Terms
    wait: float
    hands_back: str | None  # the name of the function that gives control to `back_to`

    def __deepcopy__(self, memo: Any) -> Link:
        return self  # Swarm copies what is in context variables, an agent perhaps


class RemoteAgent(swarm.Agent):
    """A Swarm agent that is on another machine. `remote_agent` makes one."""

    _link: Link


def remote_agent(
    agent: AnyAgent,
    skill: str,
    *,
    to: Peer | str | None = None,
    name: str | None = None,
    share: Iterable[str] | None = None,
    accept: Iterable[str] | None = None,
    back_to: swarm.Agent | None = None,
    priority: Priority = "normal",
    timeout: float | None = None,
    wait: float = WAIT,
) -> RemoteAgent:
    """Returns an agent on another machine as a handoff target for a `LinkedSwarm`: `def transfer_to_reviewer(): return reviewer`.

    Nothing is asked of the other machine yet. The skill takes a conversation, as those of `offer_swarm` do: `messages`, and perhaps `context`. One with a
    single required parameter that is a text gets what the user said last.

    agent: the link, of a2alinker or of a2alinker.sync.
    skill: its name. to: the one agent that is to be called, by Peer, name or id; None: each time whoever has the skill and is free.
    name: the Swarm agent's name; the skill's by default.
    share: names of the context variables that go there; None: all of them.
    accept: names of the context variables that may be set from there; None: all of them. `requester` neither goes nor comes.
    back_to: who goes on with the conversation if there is no answer, and is told why. None: the run ends with the exception.
    priority: of each call. timeout: seconds until an answer must be there, None: as long as it takes.
    wait: seconds for somebody to have the skill, each time.

    Raises:
        ConfigurationError: an argument can't be.
    """
    for option, names in (("share", share), ("accept", accept)):
        if isinstance(names, str):
            raise ConfigurationError(f"{option} is a list: {option}=[{names!r}]")
    if back_to is not None and not isinstance(back_to, swarm.Agent):
        raise ConfigurationError(f"back_to is a swarm.Agent, not {back_to!r}")
    name = skill if name is None else name
    functions = [] if back_to is None else [_hand_back(name, back_to)]
    made = RemoteAgent(name=name, model="none: it is on another machine", instructions=_only_linked(name), functions=functions)
    made._link = Link(
        Reach(agent),
        skill,
        to,
        None if share is None else frozenset(share),
        None if accept is None else frozenset(accept),
        Terms(priority, timeout),
        wait,
        functions[0].__name__ if functions else None,
    )
    return made


class LinkedSwarm(swarm.Swarm):  # its client is made as Swarm makes it
    """A Swarm whose agents may be on other machines. Otherwise as `swarm.Swarm`, with two differences.

    A run whose `cancel_scope` ended, or whose caller has cancelled where it is offered, ends at its next step by CallCancelled. And arguments of a tool call that
    are no JSON object, as models make them now and then, are told to the model; a Swarm raises them.

    It runs on a thread that doesn't run the loop of its link, and any number of threads may use one.
    """

    def get_chat_completion(
        self,
        agent: swarm.Agent,
        history: list[Any],
        context_variables: dict[str, Any],
        model_override: str | None,
        stream: bool,
        debug: bool,
    ) -> Any:
        """Asks the agent's model, or for a `RemoteAgent` the other machine.

        Raises:
            BodyError: a context variable can't be sent.
            A2ALinkerError: there was no answer, and nobody to go back to.
            CallCancelled: the run was cancelled.
        """
        check_cancelled()
        if not isinstance(agent, RemoteAgent):
            return super().get_chat_completion(agent, history, context_variables, model_override, stream, debug)
        debug_print(debug, f"Asking {agent.name} on another machine for a completion")
        turn = _Turn(agent, history, context_variables)
        return turn.chunks() if stream else turn.completion()

    def handle_tool_calls(self, tool_calls: list[Any], functions: list[Any], context_variables: dict[str, Any], debug: bool) -> Response:
        """Calls functions as Swarm does, one after the other.

        Raises:
            CallCancelled: the run was cancelled.
        """
        whole = Response(messages=[], agent=None, context_variables={})
        for tool_call in tool_calls:
            check_cancelled()
            if not _is_object(tool_call.function.arguments):
                whole.messages.append(_unreadable(tool_call))
                continue
            one = super().handle_tool_calls([tool_call], functions, context_variables, debug)
            whole.messages.extend(one.messages)
            whole.context_variables.update(one.context_variables)
            whole.agent = one.agent or whole.agent
        return whole


def check_cancelled() -> None:
    """Raises CallCancelled if the run that this is part of was cancelled."""
    scope = current_scope.get()
    if scope is not None and scope.ended:
        raise CallCancelled("the run was cancelled")


# -- one completion from another machine --


class _Turn:
    """One completion of a remote agent: what goes there, and what becomes of what comes back."""

    def __init__(self, agent: RemoteAgent, history: list[Any], context_variables: dict[str, Any]) -> None:
        self._name = agent.name
        self._link = agent._link
        self._history = history
        self._variables = context_variables
        self._sent = _shared(context_variables, self._link.share, agent.name)

    def completion(self) -> ChatCompletion:
        """Asks and waits."""
        try:
            text = self._take(self._link.reach.wait(self._ask))
        except A2ALinkerError as error:
            return _completion(self._name, tool_calls=[self._handed_back(error)])
        return _completion(self._name, content=text)

    def chunks(self) -> Iterator[ChatCompletionChunk]:
        """Asks, and gives what the other agent says as it comes, if its partial answers are `{"delta": text}`."""
        identity = f"a2alinker-{uuid.uuid4().hex}"
        yield _chunk(identity, self._name, {"role": "assistant", "content": ""})
        stream = Stream(lambda begin, part: self._link.reach.wait(lambda agent: self._ask(agent, begin, part)))
        try:
            if running_loop() is self._link.reach.loop:
                raise WouldDeadlock()  # the stream's own thread doesn't notice
            with stream:
                for text in stream:
                    yield _chunk(identity, self._name, {"content": text})
            text = self._take(stream.outcome())
        except A2ALinkerError as error:
            call_back = {"index": 0, **self._handed_back(error)}
            yield _chunk(identity, self._name, {"tool_calls": [call_back]}, "tool_calls")
            return
        yield _chunk(identity, self._name, {"content": stream.rest(text)}, "stop")

    async def _ask(self, agent: Agent, on_begin: Any = None, on_part: Any = None) -> tuple[RemoteSkill, Answer]:
        link = self._link
        try:
            found = await aremote_skills(agent, [link.skill], to=link.to, timeout=link.wait)
        except TimedOut as problem:
            raise SkillUnknown(str(problem), skill=link.skill) from None
        if not found:
            raise SkillUnknown(f"nobody has the skill {link.skill!r} any more", skill=link.skill)
        skill = found[0]
        return skill, await call(agent, skill, self._arguments(skill), link.terms, on_part, on_begin)

    def _arguments(self, skill: RemoteSkill) -> dict[str, Any]:
        form = Form.of(skill)
        if form.whole:
            messages = _sendable(self._history, self._name)
            return {form.argument: messages, "context": self._sent} if form.context else {form.argument: messages}
        asked = [str(message.get("content") or "") for message in self._history if message.get("role") == "user"]
        return {form.argument: asked[-1] if asked else ""}

    def _take(self, outcome: tuple[RemoteSkill, Answer]) -> str:
        """Takes an answer into history and context variables, all but the last text, which it returns."""
        _, answer = outcome
        texts, context = said(answer.value)
        for name, value in context.items():
            is_accepted = self._link.accept is None or name in self._link.accept
            if is_accepted and name != REQUESTER and not (name in self._sent and _wire(self._sent[name]) == value):
                self._variables[name] = value
        *others, last = [f"{fact(answer.peer)}\n{foreign(text)}" for text in texts[-MOST_TEXTS:]]
        self._history.extend({"role": "assistant", "content": text, "sender": self._name} for text in others)
        return last

    def _handed_back(self, error: A2ALinkerError) -> dict[str, Any]:
        """Returns the tool call that gives control back, or raises if there is nobody."""
        check_cancelled()
        if self._link.hands_back is None:
            raise error
        failure = told_failure(error, f"the agent {self._name}")
        arguments = {"words": failure.words, "code": failure.code, "retryable": failure.retryable}
        return {
            "id": f"call_{uuid.uuid4().hex[:24]}",
            "type": "function",
            "function": {"name": self._link.hands_back, "arguments": json.dumps(arguments)},
        }


def _shared(variables: dict[str, Any], share: frozenset[str] | None, name: str) -> dict[str, Any]:
    shared = {key: value for key, value in variables.items() if key != REQUESTER and (share is None or key in share)}
    for key, value in shared.items():
        try:
            _core.encode_body({key: value})
        except BodyError as problem:
            raise BodyError(
                f"the context variable {key!r} can't go to {name}: {problem}. Say which may: remote_agent(..., share=[...])"
            ) from None
    return shared


def _wire(value: Any) -> Any:
    """Returns a value as it is after a journey: tuples are lists."""
    return _core.decode_body(*_core.encode_body(value))


def _sendable(history: list[dict[str, Any]], name: str) -> list[dict[str, Any]]:
    """Returns what the other side gets to see of a history: without lines of fact for models here, and without the handoffs to itself."""
    handoff = json.dumps({"assistant": name})  # what Swarm says that a function gave which returned the agent
    handoffs = {message.get("tool_call_id") for message in history if message.get("role") == "tool" and message.get("content") == handoff}
    sendable = []
    for message in history:
        if message.get("role") == "system" and str(message.get("content")).startswith(_MARK):
            continue
        kept = {key: message[key] for key in _KEPT if message.get(key) is not None}
        if calls := kept.get("tool_calls"):
            kept["tool_calls"] = [one for one in calls if one.get("id") not in handoffs]
        if kept.get("tool_call_id") not in handoffs and (kept.get("content") or kept.get("tool_calls")):
            sendable.append(kept)
    return sendable


# -- in Swarm's terms --


def _hand_back(name: str, back_to: swarm.Agent) -> Any:
    def hand_back(words: str, code: str, retryable: bool) -> Result:
        return Result(value=told(Failure(words, code, retryable)), agent=back_to)

    hand_back.__name__ = hand_back.__qualname__ = (
        "back_from_" + "".join(letter if letter.isalnum() and letter.isascii() else "_" for letter in name)[:50]
    )
    return hand_back


def _only_linked(name: str) -> Any:
    def instructions(context_variables: dict[str, Any]) -> str:
        raise UsageError(f"the agent {name} is on another machine: run it with a2alinker.adapters.swarm.LinkedSwarm instead of swarm.Swarm")

    return instructions


def _is_object(arguments: str) -> bool:
    try:
        return isinstance(json.loads(arguments), dict)
    except ValueError:
        return False


def _unreadable(tool_call: Any) -> dict[str, Any]:
    words = "The arguments aren't a JSON object. Correct them and call again."
    return {
        "role": "tool",
        "tool_call_id": tool_call.id,
        "tool_name": tool_call.function.name,
        "content": told(Failure(words, "bad_arguments", False)),
    }


def _completion(name: str, **message: Any) -> ChatCompletion:
    choice = {
        "index": 0,
        "finish_reason": "tool_calls" if "tool_calls" in message else "stop",
        "message": {"role": "assistant", "content": None, **message},
    }
    return ChatCompletion.model_validate(
        {
            "id": f"a2alinker-{uuid.uuid4().hex}",
            "object": "chat.completion",
            "created": int(time.time()),
            "model": name,
            "choices": [choice],
        }
    )


def _chunk(identity: str, name: str, delta: dict[str, Any], finish_reason: str | None = None) -> ChatCompletionChunk:
    choice = {"index": 0, "delta": delta, "finish_reason": finish_reason}
    return ChatCompletionChunk.model_validate(
        {"id": identity, "object": "chat.completion.chunk", "created": int(time.time()), "model": name, "choices": [choice]}
    )
