"""Models for the OpenAI Agents SDK that say what a test wants them to say, in each version of it; for those that have no `agents.testing`."""

from __future__ import annotations

import inspect
import json
import re
import uuid
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any

from agents import Model, ModelResponse, Usage
from openai.types.responses import (
    Response,
    ResponseCompletedEvent,
    ResponseFunctionToolCall,
    ResponseOutputMessage,
    ResponseOutputText,
    ResponseTextDeltaEvent,
)

Said = str | list[Any] | Exception  # a text, a list of texts and calls, or what the model raises
Step = Said | Callable[[list[Any]], Said | Awaitable[Said]]


def calls(name: str, arguments: str | None = None, /, **given: Any) -> ResponseFunctionToolCall:
    """The model calls a tool, with arguments or with a text that is meant to be some."""
    text = json.dumps(given) if arguments is None else arguments
    return ResponseFunctionToolCall(arguments=text, call_id=f"call_{uuid.uuid4().hex}", name=name, type="function_call")


class ScriptedModel(Model):  # type: ignore[misc,unused-ignore]
    """Plays its steps, one at each turn, and the last one for ever."""

    def __init__(self, *steps: Step) -> None:
        self._steps = list(steps)
        self.asked: list[list[Any]] = []  # the input of each turn
        self.tools: list[Any] = []  # those of the last turn

    async def get_response(
        self, system_instructions: str | None, input: str | list[Any], model_settings: Any, tools: list[Any], *rest: Any, **more: Any
    ) -> ModelResponse:
        output = [_item(said) for said in await self._said(input, tools)]
        return ModelResponse(output=output, usage=Usage(requests=1, input_tokens=7, output_tokens=3, total_tokens=10), response_id=None)

    async def stream_response(
        self, system_instructions: str | None, input: str | list[Any], model_settings: Any, tools: list[Any], *rest: Any, **more: Any
    ) -> AsyncIterator[Any]:
        said = await self._said(input, tools)
        for index, text in enumerate(said):
            for delta in re.findall(r"\S*\s*", text) if isinstance(text, str) else ():
                yield delta_event(delta, index)
        yield completed([_item(one) for one in said])

    async def _said(self, given: str | list[Any], tools: list[Any]) -> list[Any]:
        asked = [{"role": "user", "content": given}] if isinstance(given, str) else list(given)
        self.asked.append(asked)
        self.tools = tools
        step = self._steps.pop(0) if len(self._steps) > 1 else self._steps[0]
        said: Any = step
        if callable(step):
            said = step(asked)
            said = await said if inspect.isawaitable(said) else said
        if isinstance(said, Exception):
            raise said
        return said if isinstance(said, list) else [said]


def delta_event(text: str, index: int = 0) -> ResponseTextDeltaEvent:
    """Some of a text, as it comes."""
    return ResponseTextDeltaEvent(
        delta=text,
        logprobs=[],
        item_id="message",
        output_index=index,
        content_index=0,
        type="response.output_text.delta",
        sequence_number=0,
    )


def completed(output: list[Any]) -> ResponseCompletedEvent:
    """The end of a turn."""
    response = Response(
        id="response",
        created_at=0,
        model="scripted",
        object="response",
        output=output,
        tool_choice="auto",
        tools=[],
        parallel_tool_calls=True,
    )
    return ResponseCompletedEvent(response=response, type="response.completed", sequence_number=0)


def message(text: str) -> ResponseOutputMessage:
    """What an assistant says."""
    part = ResponseOutputText(text=text, type="output_text", annotations=[], logprobs=[])
    return ResponseOutputMessage(id=f"msg_{uuid.uuid4().hex}", content=[part], role="assistant", type="message", status="completed")


def outputs(result: Any) -> list[str]:
    """Returns what the tools of a run gave."""
    return [str(item.output) for item in result.new_items if item.type == "tool_call_output_item"]


def _item(said: Any) -> Any:
    return message(said) if isinstance(said, str) else said
