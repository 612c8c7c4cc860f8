"""A Swarm works with what other frameworks run, each in a process and an environment of its own."""

import os
from pathlib import Path
from typing import Any

import swarm

from a2alinker.adapters.swarm import LinkedSwarm, functions_from, remote_agent
from frameworks.chats import ScriptedChat, called, results
from frameworks.world import World, pid_in, python_of

ADAPTERS = Path(__file__).parents[1]
CREWS = ADAPTERS / "crewai/offering.py"
SDK_AGENTS = ADAPTERS / "agents/remote_agent.py"


def test_a_swarm_calls_a_crew_in_another_process_as_a_function(world: World) -> None:
    studio = world.worker("studio", program=CREWS, python=python_of("crewai"))
    planner = swarm.Agent(name="Planner", functions=functions_from(world.agent, ["research"]))
    chat = ScriptedChat(model=lambda request: results(request)[-1] if results(request) else called("research", topic="relays"))

    response = swarm.Swarm(chat).run(planner, [{"role": "user", "content": "research"}])

    answer = response.messages[-1]["content"]
    assert pid_in(answer) == studio.process.pid != os.getpid()
    assert answer.startswith("[a2alinker: this answer is from studio, agent ")
    assert "Research relays" in answer
    assert "this request is from desk" in answer


def test_a_swarm_hands_its_conversation_to_an_agent_of_crewai(world: World) -> None:
    studio = world.worker("studio", program=CREWS, python=python_of("crewai"))
    answer = handed_over(world, "writer")
    assert pid_in(answer) == studio.process.pid
    assert "write this down" in answer


def test_a_swarm_hands_its_conversation_to_an_agent_of_the_agents_sdk(world: World) -> None:
    coder = world.worker("coder", program=SDK_AGENTS, python=python_of("agents-0.24"))
    answer = handed_over(world, "coder")
    assert pid_in(answer) == coder.process.pid
    assert "user: write this down" in answer


def handed_over(world: World, skill: str) -> str:
    target = remote_agent(world.agent, skill)

    def transfer() -> swarm.Agent:
        return target

    planner = swarm.Agent(name="Planner", functions=[transfer])
    client = LinkedSwarm(ScriptedChat(called("transfer")))
    messages: list[Any] = client.run(planner, [{"role": "user", "content": "write this down"}]).messages
    return str(messages[-1]["content"])
