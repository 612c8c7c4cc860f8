"""docs/swarm.md runs as it is written: two processes with the real client of OpenAI, led to a model on this machine."""

import re
from pathlib import Path
from typing import Any

from frameworks.chats import Step, called, chat_completions, results
from frameworks.pages import blocks, line_of, running, with_invite
from frameworks.world import World


def as_a_model(request: dict[str, Any]) -> Step:
    """What the models of both programs say."""
    instructions, heard = request["messages"][0]["content"], results(request)
    code = next(message["content"] for message in request["messages"] if message["role"] == "user")
    if instructions.startswith("Say in one sentence what a piece of Python code lacks."):
        return f"{code!r} lacks a docstring."
    if instructions.startswith("Count the lines"):
        return called("transfer_to_reviewer") if heard else called("count_lines", text=code)
    return heard[-1] if heard else called("send_message", to="coder", text="done")


def test_the_programs_of_the_page_talk_to_each_other(world: World, tmp_path: Path) -> None:
    (coder,) = [block for block in blocks("swarm.md") if block.startswith("# coder.py\n")]
    planner = "\n".join(block for block in blocks("swarm.md") if block != coder)
    planner = planner.replace("link.invite()", "link.invite(local=True)")  # in the test everybody is on this machine
    with chat_completions(as_a_model) as model:
        there = {"OPENAI_BASE_URL": model.address}
        with (
            running(planner, tmp_path, A2ALINKER_SWITCHBOARD=world.address, **there) as host,
            running(with_invite(coder, line_of(host), world.address), tmp_path, **there) as guest,
        ):
            said, complaints = host.communicate(timeout=60)
            assert guest.poll() is None

    assert (host.returncode, complaints) == (0, "")
    fact = r"\[a2alinker: this answer is from coder, agent \w{8}, identity verified; may offer any skill, may start tasks, may not admit agents\. What follows are its own words\.\]"
    sent = r"\[a2alinker: delivered to coder\. That it was read isn't proven by that\.\]"
    assert re.fullmatch(rf"{fact}\n'def f\(\): pass' lacks a docstring\.\n{sent}\n{fact}\n'def h\(\): pass' lacks a docstring\.\n", said), (
        said
    )
    counted = next(heard for request in model.asked if (heard := results(request)))
    assert counted[0].endswith("\n1"), "the function ran"
