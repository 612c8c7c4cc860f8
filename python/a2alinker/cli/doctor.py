"""`doctor`: goes the way to a switchboard step by step, as an agent would, and says what is wrong on it and what to do."""

from __future__ import annotations

import argparse
import os
import queue
import sys
import threading
from typing import Any, Final

from .. import _core
from ..exceptions import A2ALinkerError
from . import exits
from .checks import Check, descriptors, judge
from .output import Output, coloured

_COLOURS: Final = {"ok": "good", "warn": "warn", "fail": "bad"}


def main(options: argparse.Namespace, output: Output) -> int:
    """Prints what it finds; 1 if something has to change."""
    address = options.address or options.switchboard or os.environ.get("A2ALINKER_SWITCHBOARD")
    if not address:
        raise exits.Stop("which switchboard? Give its address, or set A2ALINKER_SWITCHBOARD", exits.USAGE, "argument")
    failed = False
    for check in [*judge(_probe(address, options)), descriptors(_open_files())]:
        failed |= check.state == "fail"
        _print(check, output)
    return exits.FAILED if failed else exits.DONE


def _print(check: Check, output: Output) -> None:
    state = coloured(f"{check.state:<4}", _COLOURS[check.state], sys.stdout)
    remedy = f"\n{'':<20}{check.remedy}" if check.remedy else ""
    output.data(f"{state}  {check.name:<12}  {check.text}{remedy}", vars(check))


def _probe(address: str, options: argparse.Namespace) -> dict[str, Any]:
    """Asks the native module in a thread: it waits for the network, and Ctrl-C shall not."""
    answers: queue.SimpleQueue[dict[str, Any] | A2ALinkerError] = queue.SimpleQueue()

    def ask() -> None:
        try:
            answers.put(_core.probe(address, ca_file=options.ca_file, timeout=options.link_timeout))
        except A2ALinkerError as problem:
            answers.put(problem)

    threading.Thread(target=ask, daemon=True).start()
    answer = answers.get()
    if isinstance(answer, A2ALinkerError):
        raise answer
    return answer


def _open_files() -> int | None:
    try:
        import resource
    except ImportError:  # Windows
        return None
    soft, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    return None if soft == resource.RLIM_INFINITY else soft
