"""Which package `swarm` is: importing the adapter says what is wrong, in processes of their own with other packages in front."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

import a2alinker
from frameworks import guard

PROGRAM = """
import sys
from frameworks import guard
guard.install(deadly=True)
if {hidden!r}:
    sys.path[:] = [path for path in sys.path if "site-packages" not in path]
import a2alinker.adapters
try:
    import a2alinker.adapters.swarm
except a2alinker.FrameworkMissing as problem:
    assert isinstance(problem, ImportError)
    print(problem.extra, problem)
else:
    print("imported", sorted(name for name in a2alinker.adapters.swarm.__all__ if not hasattr(a2alinker.adapters.swarm, name)))
"""


def importing(folder: Path, *, hidden: bool = False) -> str:
    """Imports the adapter with a folder in front of all others, and returns what came of it."""
    own = folder / "own"  # so that it is found where what is installed is hidden
    own.mkdir()
    (own / "a2alinker").symlink_to(Path(a2alinker.__file__).parent)
    path = os.pathsep.join(map(str, [folder, Path(guard.__file__).parents[1], own]))
    run = subprocess.run(
        [sys.executable, "-c", PROGRAM.format(hidden=hidden)],
        env={**os.environ, "PYTHONPATH": path},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert run.returncode == 0, run.stderr
    return run.stdout.strip()


def install(folder: Path, distribution: str, version: str) -> None:
    """Makes a distribution that has a module `swarm`."""
    (folder / "swarm").mkdir(exist_ok=True)
    (folder / "swarm/__init__.py").write_text("raise RuntimeError('a game begins')")
    info = folder / f"{distribution.replace('-', '_')}-{version}.dist-info"
    info.mkdir()
    (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {distribution}\nVersion: {version}\n")
    (info / "RECORD").write_text("swarm/__init__.py,,\n")
    (info / "top_level.txt").write_text("swarm\n")


def test_the_adapter_has_the_names_that_it_promises(tmp_path: Path) -> None:
    assert importing(tmp_path) == "imported []"


def test_without_swarm_it_says_what_to_install(tmp_path: Path) -> None:
    assert importing(tmp_path, hidden=True) == "swarm openai-swarm isn't installed: pip install 'a2alinker[swarm]'"


@pytest.mark.parametrize("distribution", ["swarm", "swarms"])
def test_the_game_and_other_frameworks_are_told_apart_from_openai_swarm(tmp_path: Path, distribution: str) -> None:
    install(tmp_path, distribution, "0.0.2")

    said = importing(tmp_path, hidden=True)

    assert said.startswith(
        f"swarm the module 'swarm' that is installed belongs to {distribution} and not to openai-swarm: uninstall that, then pip install"
    )
    assert said.endswith("`swarm` is a game and `swarms` another framework: OpenAI Swarm is the package openai-swarm")


def test_a_version_that_is_too_old_is_named(tmp_path: Path) -> None:
    install(tmp_path, "openai-swarm", "0.1.0")

    assert importing(tmp_path, hidden=True).startswith("swarm openai-swarm 0.1.0 is installed, and 0.1.1 or later is needed: pip install")


def test_a_game_that_was_installed_over_openai_swarm_is_found_out(tmp_path: Path) -> None:
    install(tmp_path, "swarm", "0.0.2")
    (tmp_path / "swarm/__init__.py").write_text("def play(): ...")

    assert importing(tmp_path).startswith("swarm another package has overwritten a part of openai-swarm: uninstall both, then pip install")


def test_the_core_imports_no_framework(tmp_path: Path) -> None:
    program = "import sys, a2alinker, a2alinker.sync, a2alinker.adapters; print([name for name in ('swarm', 'openai', 'pydantic') if name in sys.modules])"
    path = os.pathsep.join(map(str, [Path(a2alinker.__file__).parents[1]]))

    run = subprocess.run(
        [sys.executable, "-c", program], env={**os.environ, "PYTHONPATH": path}, capture_output=True, text=True, timeout=60, check=True
    )

    assert run.stdout.strip() == "[]"
