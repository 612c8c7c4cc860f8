"""Skills of other agents, and messages to them, as functions of a Swarm agent.

Swarm reads a function's name, its signature and the names in its code, and calls it with whatever arguments its model made. A `TypeError` from there would
end the run. So each function takes anything, and shows the parameters of its skill as its signature: what doesn't fit is told to the model like any other
failure.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterable
from typing import Any, Final

from ...outbox import Priority
from ...peer import Peer
from .._mail import READ, READING, SEND, SENDING, Mail
from .._reach import AnyAgent
from .._schemas import Parameter
from .._skills import TAKEN_WITHIN, WAIT, RemoteSkill, Terms, Tool, aremote_skills, distinct, remote_skills
from .._words import Failure, plain

Function = Callable[..., str]

LONGEST_DOCSTRING: Final = 1_024  # characters; OpenAI refuses a request in which a function's description is longer

_OURS: Final = "Its parameters:"


def functions_from(
    agent: AnyAgent,
    skills: Iterable[str] | None = None,
    *,
    to: Peer | str | None = None,
    priority: Priority = "normal",
    timeout: float | None = None,
    ttl: float = TAKEN_WITHIN,
    wait: float = WAIT,
) -> list[Function]:
    """Returns a function for each skill, for `swarm.Agent(functions=[...])`. Blocks; see `afunctions_from`."""
    terms = Terms(priority, timeout, ttl)
    return _functions(agent, remote_skills(agent, skills, to=to, timeout=wait), terms)


async def afunctions_from(
    agent: AnyAgent,
    skills: Iterable[str] | None = None,
    *,
    to: Peer | str | None = None,
    priority: Priority = "normal",
    timeout: float | None = None,
    ttl: float = TAKEN_WITHIN,
    wait: float = WAIT,
) -> list[Function]:
    """Returns a function for each skill, for `swarm.Agent(functions=[...])`.

    The functions block and give a text. Its first line says what is known here, the rest are the words of the agent that has the skill:

        [a2alinker: this answer is from coder, agent 4mzq3bxa, identity verified; ...]
        [a2alinker: failed, code call_refused, retryable no]

    Only Ctrl-C and other exceptions that aren't errors leave a function. A model may name a priority for a call of its own.

    skills: their names; those that nobody offers yet are waited for. None: all that are on offer, under names that other agents chose.
    to: the one agent that is to be called, by Peer, name or id. None: at each call whoever has the skill and is free.
    priority: of each call. timeout: seconds until an answer must be there, None: as long as it takes.
    ttl: seconds until an agent must have a request; when nobody is there who could, the model is told after that.
    wait: seconds for the skills to be there.

    Raises:
        TimedOut: a skill or an agent that was named wasn't there in time.
        ConfigurationError: an argument is out of range.
        AmbiguousPeer: several agents have the name in `to`.
        AgentClosed, NoEventLoop, Forked: the agent can't be used.
    """
    terms = Terms(priority, timeout, ttl)
    return _functions(agent, await aremote_skills(agent, skills, to=to, timeout=wait), terms)


def send_function(agent: AnyAgent, *, priority: Priority = "normal") -> Function:
    """Returns a function `send_message` that sends a message to another agent and tells whether it arrived.

    priority: of each message, unless the model names another one.

    Raises:
        ConfigurationError: there is no such priority.
    """
    Terms(priority)
    return _function("send_message", _docstring(SEND, _OURS, SENDING), SENDING, Mail(agent, priority).send)


def inbox_function(agent: AnyAgent) -> Function:
    """Returns a function `read_messages` that gives the messages of other agents that came, each under a line that says whose it is."""
    return _function("read_messages", _docstring(READ, _OURS, READING), READING, Mail(agent).read)


def told(outcome: str | Failure) -> str:
    """Returns what a function gives to its model."""
    if isinstance(outcome, str):
        return outcome
    return f"[a2alinker: failed, code {outcome.code}, retryable {'yes' if outcome.retryable else 'no'}]\n{outcome.words}"


def _functions(agent: AnyAgent, skills: Iterable[RemoteSkill], terms: Terms) -> list[Function]:
    return [
        _function(name, _docstring(skill.text, "Its parameters, in their words:", skill.asked), skill.asked, Tool(agent, skill, terms).wait)
        for name, skill in distinct(skills)
    ]


def _function(name: str, docstring: str, parameters: tuple[Parameter, ...], run: Callable[[dict[str, Any]], str | Failure]) -> Function:
    # Swarm gives its context_variables to a function whose code has a variable of that name.
    def function(**given: Any) -> str:
        return told(run(given))

    function.__name__ = function.__qualname__ = name
    function.__doc__ = docstring
    function.__annotations__ = {one.name: one.kind for one in parameters} | {"return": str}
    shown = [
        inspect.Parameter(
            one.name, inspect.Parameter.KEYWORD_ONLY, annotation=one.kind, default=inspect.Parameter.empty if one.required else None
        )
        for one in parameters
    ]
    function.__signature__ = inspect.Signature(shown, return_annotation=str)  # type: ignore[attr-defined]
    return function


def _docstring(text: str, heading: str, parameters: tuple[Parameter, ...]) -> str:
    """Puts the parameters' descriptions under the text, as Swarm has no other place for them, and cuts what is too long of both."""
    lines = [f"{one.name}: {' '.join(one.description.split())}" for one in parameters if one.description]
    below = plain("\n".join([heading, *lines]), LONGEST_DOCSTRING // 2)
    room = LONGEST_DOCSTRING - len(below) - 1
    if len(text) > room:
        text = f'{text[: room - 2]}…"'  # within the quoted words of another agent
    return f"{text}\n{below}"
