"""docs/crewai.md runs as it is written: processes of their own, the wheel, CrewAI's own client of OpenAI, led to a model on this machine."""

import os
import re
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import a2alinker
from a2alinker import sync
from frameworks import guard
from frameworks.chats import called, completion, results
from frameworks.model_server import chat_completions
from frameworks.world import World

PAGE = Path(__file__).parents[3] / "docs/crewai.md"
SHIM = "from frameworks import guard\nguard.install(deadly=True)\n"
CODE, RELAY = "7-lantern-paprika-walrus", "wss://relay.example:7447"


def as_a_model(request: dict[str, Any]) -> dict[str, Any]:
    """What the models of the page's programs say."""
    heard = results(request)
    if "Have this reviewed" in str(request["messages"]):
        return completion(heard[-1] if heard else called("review", text="def f(): pass"))
    return completion(f"All about it: {request['messages'][-1]['content']}")


def test_the_programs_of_the_page_talk_to_each_other(world: World, tmp_path: Path) -> None:
    programs = blocks()
    with chat_completions(as_a_model) as (model, asked):
        desk = programs["desk.py"].replace("desk.invite()", "desk.invite(local=True)")  # in the test everybody is on this machine
        with running(desk, tmp_path, model, A2ALINKER_SWITCHBOARD=world.address) as host:
            assert host.stdout is not None
            code = host.stdout.readline().strip()
            with running(with_invite(programs["reviewer.py"], code, world), tmp_path, model) as guest:
                said, complaints = host.communicate(timeout=90)
                assert guest.poll() is None

    assert host.returncode == 0, complaints
    lines = said.splitlines()
    at = next(number for number, line in enumerate(lines) if line.startswith("[a2alinker: this answer is from coder, agent "))
    assert lines[at + 1] == "without a docstring: f"
    assert "Review a piece of Python code." in str(asked[0]["tools"])


def test_the_crew_of_the_page_is_called_by_any_agent(world: World, tmp_path: Path) -> None:
    with chat_completions(as_a_model) as (model, _):
        code = str(world.agent.invite(local=True))
        with running(with_invite(blocks()["studio.py"], code, world), tmp_path, model):
            world.agent.wait_for(skill="researcher", timeout=60)
            answer = world.agent.call("research", topic="relays", timeout=60)
            assert "Research relays" in answer
            assert "this request is from desk" in answer
            assert "All about it" in world.agent.call("researcher", messages="tell me", timeout=60)


def blocks() -> dict[str, str]:
    """Returns the page's programs by their file names."""
    found = re.findall(r"^```python\n(# (\w+\.py)\n.*?)^```", PAGE.read_text(encoding="utf-8"), re.MULTILINE | re.DOTALL)
    return {name: program for program, name in found}


def with_invite(program: str, code: str, world: World) -> str:
    assert CODE in program
    assert RELAY in program
    return program.replace(CODE, code).replace(RELAY, world.address.partition("#")[0])


@contextmanager
def running(program: str, folder: Path, model: str, **environment: str) -> Iterator[subprocess.Popen[str]]:
    (folder / "sitecustomize.py").write_text(SHIM)
    python = os.pathsep.join(map(str, [folder, Path(guard.__file__).parents[1], Path(a2alinker.__file__).parents[1]]))
    process = subprocess.Popen(
        [sys.executable, "-c", program],
        env={**os.environ, "PYTHONPATH": python, "OPENAI_BASE_URL": model, "OPENAI_API_KEY": "none", **environment},
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    with process:
        try:
            yield process
        finally:
            process.kill()


def test_the_page_names_the_version_that_is_tested() -> None:
    from importlib.metadata import version

    assert f"| crewai | {version('crewai')} |" in PAGE.read_text(encoding="utf-8")
    assert sync.__all__
