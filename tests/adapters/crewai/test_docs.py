"""docs/crewai.md runs as it is written: processes of their own, the wheel, CrewAI's own client of OpenAI, led to a model on this machine."""

from importlib.metadata import version
from pathlib import Path
from typing import Any

from frameworks.chats import Step, called, chat_completions, results
from frameworks.pages import DOCS, blocks, line_of, running, with_invite
from frameworks.world import World

PAGE = "crewai.md"
PROGRAMS = {block.partition("\n")[0].removeprefix("# "): block for block in blocks(PAGE)}


def as_a_model(request: dict[str, Any]) -> Step:
    """What the models of the page's programs say."""
    heard = results(request)
    if "Have this reviewed" in str(request["messages"]):
        return heard[-1] if heard else called("review", text="def f(): pass")
    return f"All about it: {request['messages'][-1]['content']}"


def test_the_programs_of_the_page_talk_to_each_other(world: World, tmp_path: Path) -> None:
    desk = PROGRAMS["desk.py"].replace("desk.invite()", "desk.invite(local=True)")  # in the test everybody is on this machine
    with chat_completions(as_a_model) as model:
        there = {"OPENAI_BASE_URL": model.address}
        with running(desk, tmp_path, A2ALINKER_SWITCHBOARD=world.address, **there) as host:
            reviewer = with_invite(PROGRAMS["reviewer.py"], line_of(host), world.address)
            with running(reviewer, tmp_path, **there) as guest:
                said, complaints = host.communicate(timeout=90)
                assert guest.poll() is None

    assert host.returncode == 0, complaints
    lines = said.splitlines()
    at = next(number for number, line in enumerate(lines) if line.startswith("[a2alinker: this answer is from coder, agent "))
    assert lines[at + 1] == "without a docstring: f"
    assert "Review a piece of Python code." in str(model.asked[0]["tools"])


def test_the_crew_of_the_page_is_called_by_any_agent(world: World, tmp_path: Path) -> None:
    with chat_completions(as_a_model) as model:
        studio = with_invite(PROGRAMS["studio.py"], str(world.agent.invite(local=True)), world.address)
        with running(studio, tmp_path, OPENAI_BASE_URL=model.address):
            world.agent.wait_for(skill="researcher", timeout=60)
            answer = world.agent.call("research", topic="relays", timeout=60)
            assert "Research relays" in answer
            assert "this request is from desk" in answer
            assert "All about it" in world.agent.call("researcher", messages="tell me", timeout=60)


def test_the_page_names_the_version_that_is_tested() -> None:
    assert f"| crewai | {version('crewai')} |" in (DOCS / PAGE).read_text(encoding="utf-8")
