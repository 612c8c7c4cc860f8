"""Where a command gets an invite from, and where it doesn't: arguments can be seen by every user of the machine.

In this order: `--invite-file`, `--invite-stdin`, A2ALINKER_INVITE, A2ALINKER_TICKET, and a question on the terminal. `join` reads from
standard input by itself when that isn't a terminal.
"""

from __future__ import annotations

import argparse
import os
import re
import signal
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Final

from .exits import USAGE, Stop

VARIABLES: Final = ("A2ALINKER_INVITE", "A2ALINKER_TICKET")
HOW: Final = "with --invite-file FILE, --invite-stdin or in A2ALINKER_INVITE"

_AT_ONCE: Final = ((signal.SIGINT, signal.default_int_handler), (signal.SIGTERM, signal.SIG_DFL))
_SECRET: Final = re.compile(r"\s*(?:a2alt_[a-z2-7\s]{20,}|\d+(?:-[a-z]+){3,6})\s*", re.IGNORECASE)


def refuse_in_arguments(arguments: Sequence[str]) -> None:
    """Raises Stop if an argument is a code or ticket, alone or behind `--option=`."""
    for argument in arguments:
        if _SECRET.fullmatch(argument) or (argument.startswith("--") and _SECRET.fullmatch(argument.partition("=")[2])):
            raise Stop(
                "an argument looks like an invite. Other users of this machine can see arguments, and shells keep them: "
                f"consider this one known, ask for another, and give it {HOW}, or when you are asked for it",
                USAGE,
                "secret_in_arguments",
            )


def invite_of(options: argparse.Namespace, *, stdin: bool = False) -> str:
    """Returns the invite to join with. `stdin`: whether the command reads it from there if nothing else is said.

    Raises:
        Stop: there is none.
    """
    if options.invite_file is not None:
        try:
            return _given(Path(options.invite_file).read_text(encoding="utf-8"), f"{options.invite_file} is empty")
        except (OSError, UnicodeDecodeError) as problem:
            raise Stop(f"the invite can't be read: {problem}", USAGE, "invite_file") from None
    if options.invite_stdin:
        return _given(_read_line(), "there was no invite on standard input")
    for variable in VARIABLES:
        if text := os.environ.get(variable, "").strip():
            return text
    if sys.stdin is not None and sys.stdin.isatty():
        return _given(_read_line("Code or ticket: "), "no invite was given")
    if stdin and sys.stdin is not None:
        return _given(_read_line(), f"there is no invite: give it on standard input, {HOW}")
    raise Stop(f"there is no invite: give it {HOW}, or an agent that is a member already with --identity FILE", USAGE, "no_invite")


def _read_line(question: str = "") -> str:
    """Waits for a line. Meanwhile signals act at once: the event loop, which handles them otherwise, stands still."""
    before = {number: signal.signal(number, handler) for number, handler in _AT_ONCE}
    try:
        print(question, end="", file=sys.stderr, flush=True)
        return sys.stdin.readline()
    except KeyboardInterrupt:
        print(end="\n" if question else "", file=sys.stderr)
        raise
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def _given(text: str, otherwise: str) -> str:
    if not text.strip():
        raise Stop(otherwise, USAGE, "no_invite")
    return text.strip()
