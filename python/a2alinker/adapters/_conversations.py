"""Conversations in the form that all frameworks understand, from both sides: whoever hands one over, and whoever is offered for them.

A conversation is a text or a history, in the form of chat completions (`role` and `content`) or of the Responses API (items). Whoever sends a text gets
a text; whoever sends a history gets a turn: `{"text": ..., "messages": [...], "context": {...}}`.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final

from ..exceptions import CallRefused, ConfigurationError
from ._skills import RemoteSkill
from ._words import answer_text

Messages = str | list[dict[str, Any]]

_TEXT_PARTS: Final = ("text", "input_text", "output_text")


# -- of whoever hands one over --


@dataclass(frozen=True, slots=True)
class Form:
    """How a skill takes a conversation."""

    argument: str  # what gets it, by its name on the wire
    whole: bool  # the history, or the last text alone
    context: bool  # whether it takes `context` as well

    @classmethod
    def of(cls, skill: RemoteSkill) -> Form:
        """Finds it out.

        Raises:
            ConfigurationError: the skill can't take over a conversation.
        """
        by_name = {parameter.wire: parameter for parameter in skill.parameters}
        required = [parameter for parameter in skill.parameters if parameter.required]
        messages = by_name.get("messages")
        if (
            messages is not None
            and messages.schema.get("type") != "string"
            and all(one.wire in ("messages", "context") for one in required)
        ):
            return cls("messages", True, "context" in by_name)
        if len(required) == 1 and required[0].schema.get("type") == "string":
            return cls(required[0].wire, False, False)
        raise ConfigurationError(
            f"the skill {skill.name!r} can't take over a conversation: it takes {skill.takes or 'nothing'}, and a handoff needs one with `messages`, "
            "or with one required parameter that is a text"
        )


def delta_of(part: Any) -> str | None:
    """Returns the text of a partial answer: itself, or what `{"delta": text}` has. None: it is something else, as what happens over there."""
    text = part.get("delta") if isinstance(part, dict) else part
    return text if isinstance(text, str) else None


def said(value: Any) -> tuple[list[str], dict[str, Any]]:
    """Returns the texts of an answer, at least one, the last being the answer, and the context that came with it.

    Raises:
        BadAnswer: it has no text form.
    """
    match value:
        case {"text": str(text)}:
            messages = value.get("messages")
            found = [one for one in messages if isinstance(one, dict)] if isinstance(messages, list) else []
            texts = [one["content"] for one in found if one.get("role") == "assistant" and isinstance(one.get("content"), str)]
            context = value.get("context")
            return [*texts, *([] if texts and texts[-1] == text else [text])], context if isinstance(context, dict) else {}
        case [*parts] if any(delta_of(part) for part in parts):  # it gave partial answers alone
            return ["".join(filter(None, map(delta_of, parts)))], {}
        case _:
            return [answer_text(value)], {}


# -- of whoever is offered for them --


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
