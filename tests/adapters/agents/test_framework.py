"""Which SDK is there, and what is said when it isn't the right one."""

from __future__ import annotations

import importlib.util
import os
import subprocess
import sys
from collections.abc import Callable
from importlib import metadata
from pathlib import Path
from typing import Any

import pytest
from agents import Agent, Runner

import a2alinker
from a2alinker.adapters import agents as adapter
from a2alinker.adapters.agents import remote_agent, tools_from
from chaos.world import Process
from frameworks.scripted import ScriptedModel, calls, outputs
from frameworks.world import World

IMPORT = "import a2alinker.adapters.agents"


def test_the_version_is_told() -> None:
    assert metadata.version("openai-agents") == adapter.VERSION
    assert sorted(adapter.__all__) == sorted(name for name in dir(adapter) if name in adapter.__all__)


def test_a_framework_that_is_not_there_names_the_extra(tmp_path: Path) -> None:
    error = imported("import sys; sys.modules['agents'] = None", tmp_path)
    assert "FrameworkMissing: openai-agents isn't installed: pip install 'a2alinker[agents]'" in error


def test_one_that_is_too_old_says_which_is_needed(tmp_path: Path) -> None:
    old = "from importlib import metadata; real = metadata.version; metadata.version = lambda name: '0.19.4' if name == 'openai-agents' else real(name)"
    error = imported(old, tmp_path)
    assert "FrameworkMissing: openai-agents 0.19.4 is installed, and 0.20 or later is needed: pip install 'a2alinker[agents]'" in error


def test_a_folder_of_the_users_that_has_its_name_is_named(tmp_path: Path) -> None:
    (tmp_path / "agents").mkdir()
    (tmp_path / "agents" / "__init__.py").write_text("")
    error = imported("", tmp_path)
    assert (
        f"FrameworkMissing: openai-agents is installed, but `import agents` gives {tmp_path / 'agents' / '__init__.py'}: rename that"
        in error
    )


def test_only_the_adapter_imports_it(tmp_path: Path) -> None:
    program = "import sys, a2alinker.adapters; assert 'agents' not in sys.modules and 'openai' not in sys.modules; raise SystemExit('as it should be')"
    assert "as it should be" in run(program, tmp_path)


def _official() -> Callable[..., Any]:
    from agents.testing import ScriptedModel as Official
    from agents.testing import assistant_message, function_call

    return lambda: Official([[function_call("review", {"text": "x"}, call_id="call_1")], [assistant_message("done")]])


MODELS = {"own": lambda: ScriptedModel([calls("review", text="x")], "done")}
if importlib.util.find_spec("agents.testing") is not None:  # from 0.24 on
    MODELS["official"] = _official()


@pytest.mark.parametrize("model", MODELS)
@pytest.mark.parametrize("streamed", [False, True])
async def test_the_sdks_own_scripted_model_sees_the_same(swarm: World, worker: Process, model: str, streamed: bool) -> None:
    agent = Agent(name="W", model=MODELS[model](), tools=tools_from(swarm.agent, ["review"]))

    result: Any
    if streamed:
        result = Runner.run_streamed(agent, "Look.")
        async for _ in result.stream_events():
            pass
    else:
        result = await Runner.run(agent, "Look.")

    assert result.final_output == "done"
    assert f"(pid {worker.process.pid})" in outputs(result)[0]


async def test_a_session_keeps_what_a_remote_agent_said(swarm: World, coder: Process) -> None:
    from agents import SQLiteSession

    session = SQLiteSession("one")
    remote = remote_agent(swarm.agent, "coder")

    await Runner.run(remote, "first", session=session)
    second = await Runner.run(remote, "second", session=session)

    assert "user: first" in second.final_output
    assert second.final_output.endswith("user: second")
    assert len(await session.get_items()) == 4


def test_the_errors_are_those_of_a2alinker() -> None:
    assert issubclass(a2alinker.FrameworkMissing, ImportError)


def imported(before: str, folder: Path) -> str:
    """What importing the adapter has to complain about, after something else."""
    return run(f"{before}\n{IMPORT}", folder)


def run(program: str, folder: Path) -> str:
    """Runs a program that fails, in a folder that Python finds modules in first, and returns what it wrote to stderr."""
    path = os.pathsep.join([str(folder), str(Path(a2alinker.__path__[0]).parent)])
    ended = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=False, cwd=folder, env={**os.environ, "PYTHONPATH": path}
    )
    assert ended.returncode == 1, ended.stderr
    return ended.stderr
