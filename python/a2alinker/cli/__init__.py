"""The command `a2alinker`, and `python -m a2alinker`: arguments and output, on the public API of the package.

    parser.py       what each command takes; completions.py writes the shells' part from it
    switchboard.py  serve.py (host, join)  invite.py  exchange.py (send, recv, call)  peers.py  doctor/  version.py
    agents.py       a command as an agent, and how it ends when it is told to
    invites.py      where an invite comes from; inviting.py hands them out
    skills.py       skills in a file of the user's; values.py: values in arguments; messages.py: what others sent
    output.py       data on stdout, talk on stderr; exits.py: exit codes

Each command is imported when it is asked for.
"""

from __future__ import annotations

import contextlib
import os
import sys
import threading
from collections.abc import Callable, Sequence
from importlib import import_module
from pathlib import Path

from ..exceptions import A2ALinkerError
from . import exits, parser
from .invites import refuse_in_arguments
from .output import Output, logged


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs the command and returns its exit code; wrong arguments end it with SystemExit(2). Without arguments they are the process's."""
    if arguments is not None:
        return _run(list(arguments))
    _open_what_is_closed()
    code = _run(sys.argv[1:])
    if any(thread is not threading.main_thread() and not thread.daemon for thread in threading.enumerate()):
        # Skills in threads, for whose answers nobody waits any more. The interpreter would wait for their end.
        with contextlib.suppress(BrokenPipeError):
            sys.stdout.flush()
        os._exit(code)
    return code


def _open_what_is_closed() -> None:
    """Python has None for an output that is closed from the start (`>&-`): what would be printed there has nowhere to go."""
    for name in ("stdout", "stderr"):
        if getattr(sys, name) is None:
            setattr(sys, name, Path(os.devnull).open("w", encoding="utf-8"))  # noqa: SIM115  until the process ends


def _run(given: list[str]) -> int:
    output = Output(as_json="--json" in given)
    try:
        refuse_in_arguments(given)
        if given and given[0] in parser.DELEGATED:  # these have arguments of their own
            return int(import_module(f"a2alinker.{given[0]}").main(given[1:]) or 0)
        options = parser.parse(given)
        output = Output(as_json=options.json)
        module, _, function = options.run.partition(":")
        run: Callable[..., int] = getattr(import_module(f".{module}", __package__), function)
        with logged(output):
            return run(options, output)
    except parser.Misuse as misuse:
        if not output.as_json:
            sys.stderr.write(misuse.usage)
        raise SystemExit(output.problem(exits.Stop(str(misuse), exits.USAGE, "argument"))) from None
    except (A2ALinkerError, exits.Stop) as problem:
        return output.problem(problem)
    except KeyboardInterrupt:
        return exits.INTERRUPTED
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())  # what is still in the buffer has nowhere to go
        return exits.NO_READER
