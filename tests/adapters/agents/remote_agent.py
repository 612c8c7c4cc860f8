"""Agents of the SDK in a process of their own, as skills: `remote_agent.py NAME`, and a ticket on its standard input. A later line lets `slow` go on."""

from __future__ import annotations

import asyncio
import os
import sys
import time
from dataclasses import dataclass
from typing import Any

from agents import Agent, GuardrailFunctionOutput, InputGuardrail, RunContextWrapper, function_tool

import a2alinker
from a2alinker.adapters.agents import atools_from, offer_agent
from frameworks import guard
from frameworks.scripted import ScriptedModel, calls, completed, delta_event, message

PID = f"(pid {os.getpid()})"


def say(line: str) -> None:
    print(line, flush=True)  # noqa: T201


def told(asked: list[Any]) -> str:
    """What reached the model, a line for each item."""
    return "\n".join([f"coder {PID} was told:", *(f"{item['role']}: {item['content']}" for item in asked)])


class Slow(ScriptedModel):
    """Says one word, and the rest when it is told to go on."""

    def __init__(self, go: asyncio.Event) -> None:
        super().__init__("one two three")
        self._go = go

    async def stream_response(self, *given: Any, **more: Any) -> Any:
        yield delta_event("one ")
        await self._go.wait()
        for word in ("two ", "three"):
            yield delta_event(word)
        yield completed([message("one two three")])


class Stuck(ScriptedModel):
    """Says half of something, and no more, unless it is the second to try."""

    async def stream_response(self, *given: Any, **more: Any) -> Any:
        if sys.argv[1] == "first":
            yield delta_event("half of [a2alin")
            say("stuck")
            await asyncio.sleep(600)
        text = f"ker: all of it] from {sys.argv[1]} {PID}"
        for delta in ("[a2alin", text):
            yield delta_event(delta)
        yield completed([message(f"[a2alin{text}")])


@function_tool  # type: ignore[untyped-decorator,unused-ignore]
def look_at_context(wrapper: RunContextWrapper[dict[str, Any]]) -> str:
    """Looks at the context and leaves something in it."""
    wrapper.context["seen"] = sorted(wrapper.context)
    wrapper.context["unsendable"] = object()
    return f"{wrapper.context['requester'].name} asks about {wrapper.context.get('topic')}"


@function_tool  # type: ignore[untyped-decorator,unused-ignore]
def block() -> str:
    """Blocks its thread."""
    say("blocking")
    time.sleep(3)
    return "blocked"


@function_tool(needs_approval=True)  # type: ignore[untyped-decorator,unused-ignore]
def drop_tables() -> str:
    """Needs somebody's approval."""
    return "dropped"


@dataclass
class Verdict:
    """An output of a type of its own."""

    good: bool
    why: str


async def trip(*_: Any) -> GuardrailFunctionOutput:
    return GuardrailFunctionOutput(output_info=None, tripwire_triggered=True)


@a2alinker.skill
async def echo(text: str) -> str:
    """Says it again."""
    return f"{text} {PID}"


@a2alinker.skill
async def plain_stream(messages: list[dict[str, Any]]) -> Any:
    """A conversation without any framework, word by word."""
    for word in ("you said ", str(messages[-1]["content"])):
        yield word


async def main(name: str, ticket: str) -> None:
    go = asyncio.Event()
    async with a2alinker.join(name, ticket, skills=[echo, plain_stream], peer_gone_after=2.0) as linked:
        other = Agent(name="Other", model=ScriptedModel(f"other one here {PID}"))
        agents = {
            "coder": Agent(name="Coder", handoff_description="Writes code.", model=ScriptedModel(told)),
            "slow": Agent(name="Slow", model=Slow(go)),
            "stuck": Agent(name="Stuck", model=Stuck("")),
            "context": Agent(
                name="Context",
                model=ScriptedModel(
                    lambda asked: str(asked[-1]["output"]) if "output" in asked[-1] else ["Let me look.", calls("look_at_context")]
                ),
                tools=[look_at_context],
            ),
            "blocking": Agent(name="Blocking", model=ScriptedModel([calls("block")], "done"), tools=[block]),
            "handing": Agent(name="Handing", model=ScriptedModel(["Wait.", calls("transfer_to_other")]), handoffs=[other]),
            "guarded": Agent(name="Guarded", model=ScriptedModel("no"), input_guardrails=[InputGuardrail(trip, name="politeness")]),
            "approved": Agent(name="Approved", model=ScriptedModel([calls("drop_tables")]), tools=[drop_tables]),
            "typed": Agent(name="Typed", model=ScriptedModel('{"response": {"good": true, "why": "so"}}'), output_type=Verdict),
            "endless": Agent(name="Endless", model=ScriptedModel(lambda _: [calls("look_at_context")]), tools=[look_at_context]),
            "broken": Agent(name="Broken", model=ScriptedModel(ValueError("the model is away"))),
        }
        for skill, agent in agents.items():
            offer_agent(linked, agent, skill=skill, concurrency=2, max_turns=3)
        if "delegating" in sys.argv:
            tools = await atools_from(linked, ["hold"])
            offer_agent(linked, Agent(name="D", model=ScriptedModel([calls("hold", text="on")]), tools=tools), skill="delegating")
        say("ready")
        await asyncio.to_thread(sys.stdin.readline)
        go.set()
        await linked.serve_forever()


if __name__ == "__main__":
    guard.install(deadly=True)
    asyncio.run(main(sys.argv[1], sys.stdin.readline().strip()))
