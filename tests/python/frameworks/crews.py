"""A model that says what a test wants: text in CrewAI's own form, or native tool calls."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable
from typing import Any

from crewai import Agent, Crew, Task
from crewai.llms.base_llm import BaseLLM
from pydantic import PrivateAttr

Step = str | dict[str, Any] | list[dict[str, Any]] | Callable[[list[dict[str, Any]]], Any]


class ScriptedLLM(BaseLLM):
    """Says one step after the other; the last one again and again. What it was asked is in `asked`.

    A step is a text; a dict {"tool": ..., "arguments": ...} or a list of these, which are tool calls; or a function of the messages that gives one of them.
    """

    native: bool = True
    _steps: list[Step] = PrivateAttr(default_factory=list)
    _lock: Any = PrivateAttr(default_factory=threading.Lock)
    asked: list[Any] = []  # noqa: RUF012  pydantic copies it
    offered: list[Any] = []  # noqa: RUF012

    @classmethod
    def saying(cls, *steps: Step, native: bool = True) -> ScriptedLLM:
        llm = cls(model="scripted", native=native)
        llm._steps = list(steps)
        return llm

    def call(self, messages: Any, tools: Any = None, *_: Any, **__: Any) -> Any:
        with self._lock:
            self.asked.append(json.loads(json.dumps(messages, default=str)))
            self.offered.append(tools)
            step = self._steps.pop(0) if len(self._steps) > 1 else self._steps[0]
        if callable(step):
            step = step(messages)
        if isinstance(step, str):
            return step if self.native else f"Thought: I know.\nFinal Answer: {step}"
        calls = step if isinstance(step, list) else [step]
        if not self.native:
            return f"Thought: I need it.\nAction: {calls[0]['tool']}\nAction Input: {json.dumps(calls[0]['arguments'])}"
        return [
            {"id": f"call_{number}", "type": "function", "function": {"name": one["tool"], "arguments": json.dumps(one["arguments"])}}
            for number, one in enumerate(calls)
        ]

    async def acall(self, messages: Any, tools: Any = None, *rest: Any, **more: Any) -> Any:
        return self.call(messages, tools, *rest, **more)

    def supports_function_calling(self) -> bool:
        return self.native

    def get_context_window_size(self) -> int:
        return 100_000

    def get_input_tokens_count(self, messages: Any) -> int:
        return len(str(messages)) // 4

    @property
    def heard(self) -> str:
        """All that it was told, as one text."""
        return json.dumps(self.asked)


def crew_of(llm: ScriptedLLM, tools: list[Any], *, task: str = "Have the code reviewed.", **options: Any) -> Crew:
    """A crew of one, with one task."""
    agent = Agent(role="Writer", goal="Write good code", backstory="Careful.", llm=llm, tools=tools, verbose=False, **options)
    work = Task(description=task, expected_output="The review", agent=agent)
    return Crew(agents=[agent], tasks=[work], memory=False, tracing=False, verbose=False)


def answer_of_tool(messages: list[dict[str, Any]]) -> str:
    """Says what the tools gave: so a crew's result is theirs."""
    native = [str(message["content"]) for message in messages if message["role"] == "tool"]
    written = [
        str(message["content"]).partition("Observation:")[2].strip() for message in messages if "Observation:" in str(message["content"])
    ]
    return "\n".join(native or written[-1:])
