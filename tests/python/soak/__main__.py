"""The command: `python -m soak`. Its exit code is 1 if a leg did not keep what is promised."""

# ruff: noqa: T201 - a command

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Callable, Mapping, Sequence

from soak.legs import LEGS, Order, Report


def main(
    arguments: Sequence[str], *, legs: Mapping[str, Callable[[Order], Report]] = LEGS, clock: Callable[[], float] = time.monotonic
) -> int:
    """Runs the legs one after another, and sums up."""
    parser = argparse.ArgumentParser(prog="make soak", description="Looks for what shows only after a while.")
    parser.add_argument("legs", nargs="*", metavar="LEG", help=f"{', '.join(legs)}; by default all")
    parser.add_argument("--minutes", type=float, default=10.0, help="minutes of each leg")
    parser.add_argument("--seed", type=int, default=1, help="where chance begins")
    parser.add_argument("--seeds", default="", metavar="FROM..TO", help="simulated networks, instead of as many as there is time for")
    given = parser.parse_args(arguments)
    if unknown := [leg for leg in given.legs if leg not in legs]:
        parser.error(f"no leg is called {', '.join(unknown)}: there are {', '.join(legs)}")
    order = Order(given.minutes, given.seed, given.seeds)

    begin = clock()
    summary: list[str] = []
    broken = 0
    for name in given.legs or legs:
        print(f"-- {name}", flush=True)
        started = clock()
        report = attempt(legs[name], order)
        print(*report.lines, sep="\n", flush=True)
        summary.append(
            f"{name:<10} {'kept' if report.kept else 'BROKEN':<7} {(clock() - started) / 60:6.1f} min   {report.lines[-1] if report.lines else ''}"
        )
        broken += not report.kept
    print(f"-- soak: {given.minutes:g} minutes a leg were asked for, seed {given.seed}; it ran for {(clock() - begin) / 60:.1f} minutes")
    print(*summary, sep="\n", flush=True)
    return 1 if broken else 0


def attempt(leg: Callable[[Order], Report], order: Order) -> Report:
    """Runs a leg. One that fails by itself is broken, and the others still run."""
    try:
        return leg(order)
    except AssertionError as failure:
        return Report(kept=False, lines=(f"the leg failed: {failure}",))


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
