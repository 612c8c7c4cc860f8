"""`doctor`: goes the way to a switchboard step by step, as an agent would, and says what is wrong on it and what to do."""

from __future__ import annotations

import argparse
import os
import queue
import sys
import threading
import time
from typing import Any, Final

from .. import _core
from ..exceptions import A2ALinkerError, IdentityFileError
from ..opening import SWITCHBOARD_VARIABLE
from . import exits
from .checks import Check, agent_file, descriptors, judge
from .output import Output, coloured

_COLOURS: Final = {"ok": "good", "warn": "warn", "fail": "bad"}


def main(options: argparse.Namespace, output: Output) -> int:
    """Prints what it finds; 1 if something has to change."""
    known, checks = _identity(options.identity)
    given = [options.address] if options.address else options.switchboard
    addresses = given or known.get("switchboards") or os.environ.get(SWITCHBOARD_VARIABLE, "").split()
    if not addresses and not checks:
        raise exits.Stop(f"which switchboard? Give its address, or set {SWITCHBOARD_VARIABLE}", exits.USAGE, "argument")
    checks[:0] = [check for address in addresses for check in judge(_probe(address, options))]
    failed = False
    for check in [*checks, descriptors(_open_files())]:
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


def _identity(path: str | None) -> tuple[dict[str, Any], list[Check]]:
    if path is None:
        return {}, []
    try:
        known = _core.identity_info(path)
    except IdentityFileError as problem:
        return {}, [Check("agent file", "fail", str(problem))]
    return known or {}, [agent_file(known, time.time())]


def _open_files() -> int | None:
    try:
        import resource
    except ImportError:  # Windows
        return None
    soft, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    return None if soft == resource.RLIM_INFINITY else soft
