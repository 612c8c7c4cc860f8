"""The public names, and what importing them costs."""

import ast
import inspect
import subprocess
import sys
from pathlib import Path

import pytest

import a2alinker


def test_all_names_are_there_sorted_and_documented() -> None:
    assert sorted(a2alinker.__all__) == a2alinker.__all__
    for name in a2alinker.__all__:
        value = getattr(a2alinker, name)
        if inspect.isclass(value) or inspect.isfunction(value):
            assert inspect.getdoc(value), name


def test_nothing_else_is_public() -> None:
    modules = {path.stem for path in Path(a2alinker.__path__[0]).iterdir()}
    others = {name for name in vars(a2alinker) if not name.startswith("_")} - set(a2alinker.__all__) - modules
    assert others == {"TYPE_CHECKING", "logging"}


LOADED_WHEN_NEEDED = ("a2alinker.sync", "a2alinker._bridge", "a2alinker.schema", "a2alinker.signature", "ipaddress", "json", "urllib.parse")


def test_what_not_every_program_needs_is_imported_with_its_first_use() -> None:
    program = f"""
import sys
import a2alinker
needless = set({LOADED_WHEN_NEEDED}) & sys.modules.keys()
assert not needless, needless
assert "sync" in dir(a2alinker)
assert not hasattr(a2alinker, "nothing")
assert callable(a2alinker.sync.host)
from a2alinker import sync
assert sync is a2alinker.sync
a2alinker.skill(lambda text: text, name="shout")
assert "a2alinker.schema" in sys.modules
"""
    subprocess.run([sys.executable, "-c", program], check=True)


@pytest.mark.parametrize(
    "statement", ["import a2alinker.sync as sync", "from a2alinker.sync import host", "from a2alinker import *; sync.host"]
)
def test_the_face_without_a_loop_is_imported_in_each_way(statement: str) -> None:
    subprocess.run([sys.executable, "-c", statement], check=True)


def test_public_methods_have_docstrings() -> None:
    for name in a2alinker.__all__:
        kind = getattr(a2alinker, name)
        if inspect.isclass(kind) and kind.__module__.startswith("a2alinker"):
            for member, value in vars(kind).items():
                if not member.startswith("_") and (callable(value) or isinstance(value, property)):
                    assert inspect.getdoc(getattr(kind, member)), f"{name}.{member}"


def test_importing_takes_no_framework_and_little_time() -> None:
    program = "import time; t = time.process_time(); import a2alinker, sys; print(time.process_time() - t, *sys.modules)"
    times = []
    for _ in range(5):
        seconds, *modules = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True).stdout.split()
        times.append(float(seconds))
        assert not {"pydantic", "crewai", "numpy", "typing_extensions"} & set(modules)
    assert min(times) < 0.25, "60 ms on an idle machine; this bound only finds an import gone wrong"


def test_the_example_in_the_docstring_is_python() -> None:
    lines = (a2alinker.__doc__ or "").splitlines()
    code = "\n".join(line[4:] for line in lines if line.startswith("    ") or not line)
    compile(code, "docstring", "exec", flags=ast.PyCF_ALLOW_TOP_LEVEL_AWAIT)
    assert "async with a2alinker.host" in code


def test_importing_sets_up_no_logging_but_a_null_handler() -> None:
    program = "import logging, a2alinker; print([type(h).__name__ for h in logging.getLogger('a2alinker').handlers])"
    printed = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True).stdout
    assert printed.strip() == "['NullHandler']"
