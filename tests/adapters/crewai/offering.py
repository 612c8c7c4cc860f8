"""Crews offered as skills by an agent in a process of its own: `offering.py NAME`, and a ticket on its standard input."""

import os
import sys
import time
from typing import Any

os.environ.update(CREWAI_DISABLE_TELEMETRY="true", OTEL_SDK_DISABLED="true", CREWAI_TRACING_ENABLED="false", OPENAI_API_KEY="none")

from frameworks import guard

guard.install(deadly=True)

from crewai import Agent, Crew, Task  # noqa: E402
from crewai.tools import tool  # noqa: E402
from pydantic import BaseModel  # noqa: E402

from a2alinker import sync  # noqa: E402
from a2alinker.adapters.crewai import offer_agent, offer_crew  # noqa: E402
from frameworks.crews import ScriptedLLM, crew_of  # noqa: E402

PID = f"(pid {os.getpid()})"
ticks = 0


def say(line: str) -> None:
    print(line, file=sys.__stdout__, flush=True)


class Verdict(BaseModel):
    good: bool
    pid: int


@tool("clock")
def clock() -> str:
    """Tells the time."""
    return "noon"


@tool("pause")
def pause() -> str:
    """Lets another run begin meanwhile."""
    time.sleep(0.5)
    return "paused"


@tool("tick")
def tick(number: int = 0) -> str:
    """Takes a second."""
    global ticks  # noqa: PLW0603
    ticks += 1
    say(f"tool {ticks}")
    time.sleep(0.5)
    return f"tick {ticks}"


def echo(messages: list[dict[str, Any]]) -> str:
    return f"{' | '.join(str(message['content']) for message in messages)} {PID}"


def pauses_and_echoes(messages: list[dict[str, Any]]) -> Any:
    return echo(messages) if any(message["role"] == "tool" for message in messages) else {"tool": "pause", "arguments": {}}


def breaks(_: Any) -> str:
    raise ValueError("the model is out of order")


def structured() -> Crew:
    llm = ScriptedLLM.saying(Verdict(good=True, pid=os.getpid()).model_dump_json())
    agent = Agent(role="Judge", goal="g", backstory="b", llm=llm)
    return Crew(agents=[agent], tasks=[Task(description="Judge", expected_output="v", agent=agent, output_json=Verdict)], memory=False)


def main(name: str) -> None:
    with sync.join(name, sys.stdin.readline().strip(), peer_gone_after=2.0) as agent:
        offer_crew(agent, crew_of(ScriptedLLM.saying(echo), [], task="Research {topic}."), skill="research")
        offer_crew(
            agent, crew_of(ScriptedLLM.saying(pauses_and_echoes), [pause], task="Research {topic}."), skill="slow_research", concurrency=4
        )
        offer_crew(agent, crew_of(ScriptedLLM.saying(echo), [], task="About {topic}, asked by {requester}"), skill="named")
        offer_crew(agent, structured(), skill="verdict")
        call_clock = {"tool": "clock", "arguments": {}}
        offer_crew(agent, crew_of(ScriptedLLM.saying(call_clock, "it is noon"), [clock]), skill="with_tool")
        call_tick = {"tool": "tick", "arguments": {}}
        endless = ScriptedLLM.saying(lambda messages: [{**call_tick, "arguments": {"number": len(messages)}}])
        offer_crew(agent, crew_of(endless, [tick], max_iter=1_000), skill="endless")
        offer_crew(agent, crew_of(ScriptedLLM.saying(breaks), []), skill="broken")
        offer_agent(agent, Agent(role="Writer", goal="g", backstory="b", llm=ScriptedLLM.saying(echo)), skill="writer")
        say("ready")
        agent.serve_forever()


if __name__ == "__main__":
    main(sys.argv[1])
