"""A model for tests: a client of chat completions that answers as it is told to, in the types of `openai`."""

from __future__ import annotations

import copy
import json
import threading
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from typing import Any, Self

from openai.types.chat import ChatCompletion, ChatCompletionChunk

from frameworks.model_server import JSON, ModelServer, serving

Step = str | dict[str, Any]
Request = dict[str, Any]


def called(*names: str, **arguments: Any) -> Step:
    """A step that calls functions, all with the same arguments."""
    return {"calls": [(name, json.dumps(arguments)) for name in names]}


def called_with(name: str, arguments: str) -> Step:
    """A step that calls a function with arguments that needn't be JSON."""
    return {"calls": [(name, arguments)]}


class ScriptedChat:
    """Takes its steps one after the other, or asks a function for each. Thread-safe."""

    def __init__(self, *steps: Step, model: Callable[[Request], Step] | None = None) -> None:
        self._steps = iter(steps)
        self._model = model or (lambda request: next(self._steps))
        self._lock = threading.Lock()
        self.requests: list[Request] = []  # what it was asked, as it was then

    @property
    def chat(self) -> Self:
        """For `client.chat.completions.create`."""
        return self

    completions = chat

    def create(self, **request: Any) -> Any:
        """Answers."""
        with self._lock:
            self.requests.append(copy.deepcopy(request))
            step = self._model(request)
        return _chunks(step) if request.get("stream") else ChatCompletion.model_validate(completion(step))

    @property
    def last(self) -> Request:
        """The last request."""
        return self.requests[-1]


def chat_completions(model: Callable[[Request], Step]) -> AbstractContextManager[ModelServer]:
    """Serves completions on this machine until the block is left, for a client of OpenAI's own."""
    return serving("/chat/completions", lambda request: (JSON, json.dumps(completion(model(request))).encode()))


def results(request: Request) -> list[str]:
    """Returns what functions gave in the conversation of a request."""
    return [message["content"] for message in request["messages"] if message["role"] == "tool"]


def facts(request: Request) -> list[str]:
    """Returns what a request's system messages say after the instructions."""
    return [message["content"] for message in request["messages"][1:] if message["role"] == "system"]


def completion(step: Step) -> dict[str, Any]:
    """Returns a completion as it is on the wire."""
    message: dict[str, Any] = {"role": "assistant", "content": step if isinstance(step, str) else None}
    if not isinstance(step, str):
        message["tool_calls"] = [_call(number, name, arguments) for number, (name, arguments) in enumerate(step["calls"])]
    reason = "stop" if isinstance(step, str) else "tool_calls"
    choice = {"index": 0, "finish_reason": reason, "message": message}
    return {"id": "scripted", "object": "chat.completion", "created": 0, "model": "scripted", "choices": [choice]}


def _call(number: int, name: str, arguments: str) -> dict[str, Any]:
    return {"id": f"call_{number}", "type": "function", "function": {"name": name, "arguments": arguments}}


def _chunks(step: Step) -> Iterator[ChatCompletionChunk]:
    yield _chunk({"role": "assistant", "content": ""})
    if isinstance(step, str):
        for word in step.split(" "):
            yield _chunk({"content": word if word == step.split(" ", 1)[0] else f" {word}"})
        return
    for number, (name, arguments) in enumerate(step["calls"]):
        yield _chunk({"tool_calls": [{"index": number, **_call(number, name, arguments)}]})


def _chunk(delta: dict[str, Any]) -> ChatCompletionChunk:
    choice = {"index": 0, "delta": delta, "finish_reason": None}
    return ChatCompletionChunk.model_validate(
        {"id": "scripted", "object": "chat.completion.chunk", "created": 0, "model": "scripted", "choices": [choice]}
    )
