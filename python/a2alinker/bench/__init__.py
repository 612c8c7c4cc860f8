"""`a2alinker bench`: how fast agents exchange messages on this machine, beside a bare Rust WebSocket relay in the same run.

Sender, switchboard and receiver are processes of their own on the loopback interface. All that is measured is end-to-end encrypted, with
receipts, through the public API; the receiver counts the messages and checks the number of each one. Machines differ and are shared, so
runs of all paths take turns and the median of each is compared with the median of the bare relay's.

    peers.py      the two agent processes
    paths.py      the paths a message can take: through the switchboard with TLS and without, through the bare relay
    nats.py       the same with nats-py and nats-server, if asked for
    figures.py    import time and memory, if asked for
    pairing.py    joining by code; runs by itself
    delivery.py   large files, outages, shares of the priorities; runs by itself
    workloads.py  what is measured
    results.py    medians, ratios, the table and the JSON
"""

import argparse
import asyncio
import contextlib
import json
import os
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TextIO

from .._processes import ProcessError
from ..cli.exits import FAILED, Stop
from ..cli.output import Output
from ..cli.parser import Parser
from .paths import BareRelay, Route, agents
from .results import Results, measure, table
from .workloads import WORKLOADS

BARE_RELAY = Path("target/release/examples/bare_relay")
"""Where `make bench` builds the bare relay, seen from the folder of the repository."""


def parser() -> Parser:
    """Returns what parses the arguments."""
    made = Parser(prog="a2alinker bench", description=(__doc__ or "").splitlines()[0])
    made.add_argument("--no-tls", action="store_true", help="leave the runs with TLS out")
    made.add_argument("--quick", action="store_true", help="one short run of each: shows that it works, not how fast it is")
    made.add_argument("--rounds", type=int, default=5, help="runs of each workload on each path (default: %(default)s)")
    made.add_argument("--seconds", type=float, default=2.0, help="how long one run lasts (default: %(default)s)")
    made.add_argument("--workload", action="append", choices=list(WORKLOADS), help="only this one; may be given several times")
    made.add_argument("--bare", type=Path, default=BARE_RELAY, help="the bare relay's program (default: %(default)s, if it is there)")
    made.add_argument("--figures", action="store_true", help="measure import time and a client's memory instead")
    made.add_argument("--against", choices=["nats"], help="in the same rounds also NATS; needs: pip install 'a2alinker[bench]'")
    made.add_argument(
        "--json",
        nargs="?",
        const="-",
        metavar="FILE",
        help="write every single run and the machine's load; to standard output without FILE",
    )
    return made


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs the benchmark and prints the table.

    Raises:
        Misuse: the arguments are wrong.
    """
    options = parser().parse_args(arguments)
    if options.quick:
        options.rounds, options.seconds = 1, 0.3
    if options.rounds < 1 or options.seconds <= 0:
        parser().error("--rounds and --seconds are above 0")

    try:
        if options.figures:
            from .figures import figures, shown

            measured = asyncio.run(figures())
            print(*shown(measured), sep="\n", file=_table_of(options))
            record = measured
        else:
            record = asyncio.run(run(options)).record()
    except ProcessError as failure:
        return Output(as_json=options.json is not None).problem(Stop(str(failure), FAILED, "process"))
    if options.json == "-":
        print(json.dumps(record))
    elif options.json is not None:
        Path(options.json).write_text(json.dumps(record, indent=1) + "\n", encoding="utf-8")
    return 0


def _table_of(options: argparse.Namespace) -> TextIO:
    """Where the table goes: out of the way of JSON."""
    return sys.stderr if options.json == "-" else sys.stdout


async def run(options: argparse.Namespace) -> Results:
    """Starts what is needed, measures and prints the table.

    Raises:
        ProcessError: messages were lost, or a process ended before its time.
    """
    workloads = options.workload or list(WORKLOADS)
    out = _table_of(options)
    routes: list[Route] = []
    yardsticks = []
    if options.bare.is_file():
        routes += [
            BareRelay("bare relay, one thread", options.bare, "--one-thread"),
            BareRelay("bare relay, tokio's default", options.bare),
        ]
        yardsticks = [route.name for route in routes]
    else:
        print(f"{options.bare} is not there: no ratios. `make bench` builds it.", file=out)
    async with contextlib.AsyncExitStack() as stack:
        if options.against == "nats":
            from . import nats

            routes.append(await stack.enter_async_context(nats.clients("nats-py, without TLS")))
        routes.append(await stack.enter_async_context(agents("a2alinker, without TLS", plain=True)))
        if not options.no_tls:
            routes.append(await stack.enter_async_context(agents("a2alinker", plain=False)))
        results = await measure(routes, workloads, options.rounds, options.seconds)
    load, cpus = os.getloadavg()[0], os.cpu_count()
    print(f"Medians of {options.rounds} runs of {options.seconds} s, {cpus} CPUs, load {load:.1f}; 256 B unless said\n", file=out)
    print(*table(results, routes, yardsticks, workloads), sep="\n", file=out)
    if yardsticks:
        print("\nIn brackets: times the latency, or share of the rate, of the better bare relay in the same run.", file=out)
    return results
