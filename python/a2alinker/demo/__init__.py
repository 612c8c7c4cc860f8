"""`a2alinker demo`: four agents in four processes review a Python package together, through a switchboard that sees none of it.

A planner hosts and gives a ticket to two reviewers and a tester. It spreads the files over whoever has the skill; one reviewer is killed
while it works, and the other finishes its files. At the end there is a report of what they found, and of what the switchboard saw.

    agents.py    the four programs, on the public API
    analysis.py  what they do with a file
    stage.py     starts the processes, kills one, watches; tap.py records what crosses the switchboard's sockets
    board.py     the live table; evidence.py and report.py the end
"""

import argparse
import asyncio
import sys
import sysconfig
from collections.abc import Sequence
from pathlib import Path

DEFAULT = "asyncio"
"""The package of the standard library that is reviewed unless another is given: about half a minute of work for one core."""


def parser() -> argparse.ArgumentParser:
    """Returns what parses the arguments."""
    made = argparse.ArgumentParser(prog="a2alinker demo", description=(__doc__ or "").splitlines()[0])
    made.add_argument(
        "--source", type=Path, metavar="FOLDER", help=f"folder of a Python package (default: {DEFAULT} of the standard library)"
    )
    return made


def main(arguments: Sequence[str] | None = None) -> int:
    """Plays the demo; returns 0 if nothing was lost and no name was seen."""
    options = parser().parse_args(arguments)
    source = (options.source or Path(sysconfig.get_path("stdlib")) / DEFAULT).resolve()
    if not next(source.rglob("*.py"), None) if source.is_dir() else True:
        parser().error(f"{source} is no folder with Python files")

    from .._processes import ProcessError
    from .report import report
    from .stage import play

    try:
        outcome = asyncio.run(play(source))
    except ProcessError as failure:
        print(f"a2alinker demo: {failure}", file=sys.stderr)
        return 1
    lines, problems = report(outcome)
    print(*lines, "", sep="\n")
    print(*(f"FAILED: {problem}" for problem in problems), sep="\n", end="\n" if problems else "")
    if not problems:
        print(f"All {len(outcome.board.finished)} tasks done, nothing lost, no name seen. {outcome.board.elapsed:.1f} s.")
    return 1 if problems else 0
