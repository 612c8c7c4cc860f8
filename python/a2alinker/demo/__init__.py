"""`a2alinker demo`: four agents in four processes review a Python package together, through a switchboard that sees none of it.

A planner hosts and gives a ticket to two reviewers and a tester. It spreads the files over whoever has the skill; one reviewer is killed
while it works, and the other finishes its files. At the end there is a report of what they found, and of what the switchboard saw.

    agents.py    the four programs, on the public API
    analysis.py  what they do with a file
    stage.py     starts the processes, kills one, watches; tap.py records what crosses the switchboard's sockets
    board.py     the live table; evidence.py and report.py the end
"""

import asyncio
import json
import sysconfig
from collections.abc import Sequence
from pathlib import Path

from ..cli.exits import FAILED, Stop
from ..cli.output import Output
from ..cli.parser import Parser

DEFAULT = "asyncio"
"""The package of the standard library that is reviewed unless another is given: about half a minute of work for one core."""


def parser() -> Parser:
    """Returns what parses the arguments."""
    made = Parser(prog="a2alinker demo", description=(__doc__ or "").splitlines()[0])
    made.add_argument(
        "--source", type=Path, metavar="FOLDER", help=f"folder of a Python package (default: {DEFAULT} of the standard library)"
    )
    made.add_argument("--json", action="store_true", help="print the outcome as one JSON object, and no table")
    return made


def main(arguments: Sequence[str] | None = None) -> int:
    """Plays the demo; returns 0 if nothing was lost and no name was seen.

    Raises:
        Misuse: the arguments are wrong.
    """
    options = parser().parse_args(arguments)
    source = (options.source or Path(sysconfig.get_path("stdlib")) / DEFAULT).resolve()
    if not next(source.rglob("*.py"), None) if source.is_dir() else True:
        parser().error(f"{source} is no folder with Python files")

    from .._processes import ProcessError
    from .report import record, report
    from .stage import play

    try:
        outcome = asyncio.run(play(source, shows=not options.json))
    except ProcessError as failure:
        return Output(as_json=options.json).problem(Stop(str(failure), FAILED, "process"))
    lines, problems = report(outcome)
    if options.json:
        print(json.dumps(record(outcome, problems)))
        return 1 if problems else 0
    print(*lines, "", sep="\n")
    print(*(f"FAILED: {problem}" for problem in problems), sep="\n", end="\n" if problems else "")
    if not problems:
        print(f"All {len(outcome.board.finished)} tasks done, nothing lost, no name seen. {outcome.board.elapsed:.1f} s.")
    return 1 if problems else 0
