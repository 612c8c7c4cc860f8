"""What an adapter adds to a call: the same skill called directly and as a tool of each framework that is installed, in turns.

    python -m a2alinker.bench.adapters [--calls N]

Caller, switchboard and worker are processes of their own on loopback, with TLS. A tool is called as its framework calls it, without a crew, a swarm or a
model around it, from the thread or the loop on which it does. Only the differences and ratios of one run mean something.
"""

import argparse
import asyncio
import json
import statistics
import sys
import time
from collections.abc import Callable, Sequence
from importlib.util import find_spec
from typing import Any, Final

from a2alinker import sync

from .._processes import STARTING, kill, python, switchboard

CALLS: Final = 300  # of each kind; chosen: some seconds in all
ROUNDS: Final = 10  # in which the kinds take turns, so that they share whatever else the machine does
WORKER: Final = """
import sys
from a2alinker import sync

async def echo(text: str) -> str:
    "Gives back what it gets."
    return text

with sync.join("worker", sys.argv[1], skills=[echo]) as worker:
    worker.serve_forever()
"""
TEXT: Final = "x" * 100

Kind = Callable[[], Any]


def kinds(agent: sync.Agent, runner: asyncio.Runner) -> dict[str, Kind]:
    """Returns the ways of calling, by name; the first one is without an adapter. `runner` has the loop on which coroutines are called."""
    found: dict[str, Kind] = {"agent.call": lambda: agent.call("echo", TEXT)}
    if find_spec("crewai"):
        from ..adapters.crewai import tools_from

        (tool,) = tools_from(agent, ["echo"])
        found["CrewAI"] = lambda: tool.run(text=TEXT)
    if find_spec("swarm"):
        from ..adapters.swarm import functions_from

        (function,) = functions_from(agent, ["echo"])
        found["Swarm"] = lambda: function(text=TEXT)
    if find_spec("agents"):
        from agents.tool_context import ToolContext

        from ..adapters.agents import tools_from as sdk_tools_from

        (sdk_tool,) = sdk_tools_from(agent, ["echo"])
        arguments = json.dumps({"text": TEXT})
        context = ToolContext(context=None, tool_name="echo", tool_call_id="1", tool_arguments=arguments)
        found["Agents SDK"] = lambda: runner.run(sdk_tool.on_invoke_tool(context, arguments))
    return found


def measure(ways: dict[str, Kind], calls: int) -> dict[str, list[float]]:
    """Returns the seconds of each call, by way."""
    taken: dict[str, list[float]] = {name: [] for name in ways}
    for call in ways.values():
        call()
    for _ in range(ROUNDS):
        for name, call in ways.items():
            for _ in range(max(1, calls // ROUNDS)):
                begin = time.perf_counter()
                call()
                taken[name].append(time.perf_counter() - begin)
    return taken


def _measured(agent: sync.Agent, calls: int) -> dict[str, list[float]]:
    with asyncio.Runner() as runner:
        return measure(kinds(agent, runner), calls)


async def in_a_swarm(calls: int) -> dict[str, list[float]]:
    """Starts what is needed, and measures.

    Raises:
        ProcessError: the switchboard didn't start.
    """
    async with switchboard() as (address, _):
        with sync.host("caller", switchboard=address) as agent:
            async with python("-c", WORKER, str(agent.invite(kind="ticket", local=True))) as worker:
                agent.wait_for(skill="echo", timeout=STARTING)
                taken = await asyncio.to_thread(_measured, agent, calls)
                kill(worker)
    return taken


def main(arguments: Sequence[str] | None = None) -> int:
    """Measures and prints."""
    parser = argparse.ArgumentParser(prog="python -m a2alinker.bench.adapters", description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--calls", type=int, default=CALLS, metavar="N", help="of each kind (default: %(default)s)")
    options = parser.parse_args(arguments)
    if options.calls < 1:
        parser.error("--calls is above 0")
    taken = asyncio.run(in_a_swarm(options.calls))
    direct = statistics.median(taken["agent.call"])
    for name, seconds in taken.items():
        middle = statistics.median(seconds)
        print(f"{name:<12} {1e6 * middle:7.0f} us median, {1e6 * (middle - direct):+6.0f} us, {middle / direct:.2f} times")
    return 0


if __name__ == "__main__":
    sys.exit(main())
