"""Skills from a file of the user's: a module with functions that are decorated with `@a2alinker.skill`."""

from __future__ import annotations

import contextlib
import importlib.util
import sys
import traceback
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final

from ..skill import Skill
from .exits import USAGE, Stop

MODULE: Final = "a2alinker_skills"  # under which the file is imported: no module of the user's own has that name
_OURS: Final = str(Path(__file__).parents[1])


def load(path: str) -> list[Skill[..., Any]]:
    """Returns the skills in a file, in the order in which they stand there.

    Modules beside the file can be imported from it, and don't hide others of the same name.

    Raises:
        Stop: it can't be read, raises an exception (its own traceback is in the text), or has no skill.
    """
    file = Path(path)
    if not file.is_file():
        raise Stop(f"{path}: there is no such file", USAGE, "skills_file")
    spec = importlib.util.spec_from_file_location(MODULE, file.resolve())
    if spec is None or spec.loader is None:
        raise Stop(f"{path} isn't a Python file: its name has to end with .py", USAGE, "skills_file")
    module = importlib.util.module_from_spec(spec)
    sys.modules[MODULE] = module  # dataclasses look their module up
    sys.path.append(str(file.resolve().parent))
    try:
        with _no_bytecode():
            spec.loader.exec_module(module)
    except (Exception, SystemExit) as problem:  # noqa: BLE001  whatever the file raises is the user's to see
        raise Stop(f"{path} can't be imported\n{_their_traceback(problem)}", USAGE, "skills_file") from None
    skills = list(dict.fromkeys(value for value in vars(module).values() if isinstance(value, Skill)))
    if not skills:
        raise Stop(f"{path} has no skills: decorate functions with @a2alinker.skill", USAGE, "skills_file")
    return skills


@contextlib.contextmanager
def _no_bytecode() -> Iterator[None]:
    before, sys.dont_write_bytecode = sys.dont_write_bytecode, True
    try:
        yield
    finally:
        sys.dont_write_bytecode = before


def _their_traceback(problem: BaseException) -> str:
    whole = told = traceback.TracebackException.from_exception(problem)
    seen: set[int] = set()
    waiting = [told]
    while waiting:
        told = waiting.pop()
        if id(told) in seen:
            continue
        seen.add(id(told))
        told.stack[:] = [frame for frame in told.stack if not frame.filename.startswith((_OURS, "<frozen importlib"))]
        waiting += [cause for cause in (told.__cause__, told.__context__) if cause is not None]
    return "".join(whole.format()).rstrip()
