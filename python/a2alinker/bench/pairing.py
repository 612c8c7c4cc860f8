"""How long joining by code takes: the inviter, the switchboard and each joiner are processes of their own on loopback, with TLS.

    python -m a2alinker.bench.pairing [--runs N]

A run begins when the joiner calls `join` with a code and ends when it is a member whose link is up. What the joiner's process does before,
starting and importing, isn't counted.
"""

import argparse
import asyncio
import statistics
import sys
from collections.abc import Sequence

import a2alinker

RUNS = 8  # of which the median is taken; chosen: a second or two. On loopback a switchboard doesn't count guests, so more are possible
JOINER = """
import asyncio, sys, time
import a2alinker

async def main():
    code, address = sys.argv[1:]
    start = time.perf_counter()
    agent = await a2alinker.join("joiner", code, switchboard=address)
    print(time.perf_counter() - start, flush=True)
    await agent.close()

asyncio.run(main())
"""
SWITCHBOARD = ("-m", "a2alinker", "switchboard", "--listen", "127.0.0.1:0")


async def measure(runs: int) -> list[float]:
    """Returns the seconds of each run."""
    switchboard = await asyncio.create_subprocess_exec(sys.executable, *SWITCHBOARD, stdout=asyncio.subprocess.PIPE)
    try:
        assert switchboard.stdout is not None
        address = (await switchboard.stdout.readline()).decode().strip()
        async with a2alinker.host("inviter", switchboard=address) as inviter:
            return [await _pair(inviter, address.partition("#")[0]) for _ in range(runs)]
    finally:
        switchboard.terminate()
        await switchboard.wait()


async def _pair(inviter: a2alinker.Agent, address: str) -> float:
    invite = await inviter.invite(local=True)
    joiner = await asyncio.create_subprocess_exec(sys.executable, "-c", JOINER, str(invite), address, stdout=asyncio.subprocess.PIPE)
    text, _ = await joiner.communicate()
    await invite.joined()
    return float(text)


def main(arguments: Sequence[str] | None = None) -> int:
    """Measures and prints."""
    parser = argparse.ArgumentParser(prog="python -m a2alinker.bench.pairing", description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--runs", type=int, default=RUNS, metavar="N", help="default: %(default)s")
    options = parser.parse_args(arguments)
    if options.runs < 1:
        parser.error("--runs is above 0")
    seconds = asyncio.run(measure(options.runs))
    shown = [f"{1000 * one:.0f}" for one in seconds]
    print(f"joining by code: {1000 * statistics.median(seconds):.0f} ms (median of {', '.join(shown)})")
    return 0


if __name__ == "__main__":
    sys.exit(main())
