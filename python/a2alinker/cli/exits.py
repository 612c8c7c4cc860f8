"""How the command ends: its exit codes, and which exception means which."""

from __future__ import annotations

import signal
from typing import Final

from .. import exceptions as e

DONE: Final = 0
FAILED: Final = 1
USAGE: Final = 2
LINK: Final = 3
INVITE: Final = 4
NOBODY: Final = 5
REFUSED: Final = 6
TIMED_OUT: Final = 7
SIGNALLED: Final = 128  # plus the number of the signal, as a shell counts
NO_READER: Final = SIGNALLED + 13  # SIGPIPE, which Windows doesn't name
INTERRUPTED: Final = SIGNALLED + signal.SIGINT

TABLE: Final = (
    (DONE, "done; also when a command that serves, and has begun to, is ended by Ctrl-C or SIGTERM"),
    (FAILED, "failed; `doctor` found something wrong"),
    (USAGE, "an argument, variable or file can't be used"),
    (LINK, "the switchboard can't be reached or isn't trusted, or the link was lost for good"),
    (INVITE, "the invite doesn't admit, or nobody came with it"),
    (NOBODY, "no such agent, nobody with that skill, or it is gone"),
    (REFUSED, "the other agent refused or failed, or this one may not"),
    (TIMED_OUT, "no answer or confirmation in time"),
    (INTERRUPTED, "interrupted (SIGTERM: 143, whoever read the output is gone: 141)"),
)

# The first that fits counts.
_BY_EXCEPTION: Final[tuple[tuple[type[Exception], int], ...]] = (
    (e.LinkError, LINK),
    (e.ProtocolError, LINK),
    (e.InviteError, INVITE),
    (e.ConfigurationError, USAGE),
    (e.BodyError, USAGE),
    (e.PeerUnknown, NOBODY),
    (e.AmbiguousPeer, NOBODY),
    (e.PeerGone, NOBODY),
    (e.SkillUnknown, NOBODY),
    (e.Expired, TIMED_OUT),
    (e.Undelivered, TIMED_OUT),
    (e.CallTimeout, TIMED_OUT),
    (e.CallLapsed, TIMED_OUT),
    (e.TimedOut, TIMED_OUT),
    (e.CallError, REFUSED),
    (e.Refused, REFUSED),
    (e.BodySourceFailed, USAGE),
    (e.SecurityError, REFUSED),
)


class Stop(Exception):
    """The command can't do what it was asked to. For what the library has no word for."""

    def __init__(self, text: str, code: int, word: str) -> None:
        super().__init__(text)
        self.exit = code
        self.code = word
        self.retryable = False


def code_of(problem: Exception) -> int:
    """Returns the exit code for what went wrong."""
    if isinstance(problem, Stop):
        return problem.exit
    return next((code for kind, code in _BY_EXCEPTION if isinstance(problem, kind)), FAILED)


def epilog() -> str:
    """Returns the table for `--help`."""
    return "\n".join(["exit codes:", *(f"  {code:<4} {text}" for code, text in TABLE)])
