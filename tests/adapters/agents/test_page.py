"""The programs of docs/agents-sdk.md run as they are copied, in two processes, with a server of the test's in place of OpenAI's."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

import a2alinker
from frameworks.pages import blocks, line_of, running
from frameworks.responses_api import Asked, responses_api
from frameworks.world import World

PAGE = "agents-sdk.md"
BETTER = 'def add(a, b):\n    """Adds."""\n    return a + b'
PATIENCE = 90.0  # seconds; importing the SDK twice takes some


def test_the_two_programs_of_the_page_talk_to_each_other(world: World, tmp_path: Path) -> None:
    coder, planner = blocks(PAGE)[:2]
    # What is different in a test: everybody is on this machine.
    planner = planner.replace("uses=None)", "uses=None, local=True)")

    with responses_api(model) as api:
        there = {"OPENAI_BASE_URL": api.address}
        with (
            running(planner, tmp_path, A2ALINKER_SWITCHBOARD=world.address, **there) as first,
            running(coder, tmp_path, A2ALINKER_TICKET=line_of(first), **there),
        ):
            said, complaints = first.communicate(timeout=PATIENCE)

    assert (first.returncode, complaints) == (0, "")
    assert said.startswith("Coder says: [a2alinker: this answer is from coder, agent ")
    assert said.endswith(f"\n{BETTER}\n")
    asked_of_coder = [asked["input"] for asked in api.asked if is_coder(asked)]
    assert len(asked_of_coder) == 1
    history = [line["content"] for line in asked_of_coder[0]]
    assert history[0].startswith("[a2alinker: this conversation is from planner, agent ")
    assert history[1] == "def add(a, b): return a + b"
    assert any("It needs a docstring." in line for line in history[2:])


@pytest.mark.parametrize("name", ["ask", "listen", "ask_without_a_framework"])
async def test_what_else_the_page_shows_does_what_it_says(world: World, monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    (block,) = [block for block in blocks(PAGE) if f"async def {name}(" in block]
    shown: dict[str, Any] = {}
    exec(block, shown)
    offered: dict[str, Any] = {}
    exec(blocks(PAGE)[0].replace("asyncio.run(main())", ""), offered)

    with responses_api(model) as api:
        monkeypatch.setenv("OPENAI_BASE_URL", api.address)
        ticket = str(world.agent.invite(kind="ticket", uses=None, local=True))
        async with a2alinker.join("asking", ticket) as linked, a2alinker.join("coder", ticket) as coder:
            offered["offer_agent"](coder, offered["coder"], skill="coder")
            await linked.wait_for(skill="coder")
            answer = await shown[name](linked)

    assert (answer[-1]["content"] if isinstance(answer, list) else answer.split("\n", 1)[1]) == BETTER


def model(asked: Asked) -> str | tuple[str, dict[str, Any]]:
    """What the models of the page do: the coder writes, the others look and hand over."""
    if is_coder(asked):
        return BETTER
    given = [item for item in asked["input"] if item.get("type") == "function_call_output"]
    if any(tool["name"] == "review" for tool in asked["tools"]) and not given:
        return "review", {"text": "def add(a, b): return a + b"}
    return "transfer_to_coder", {}


def is_coder(asked: Asked) -> bool:
    return "short functions" in (asked.get("instructions") or "")
