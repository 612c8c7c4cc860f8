"""Joins a swarm with a ticket and serves a skill until it is interrupted. How to start it: see relay_host.py."""

import asyncio
import contextlib

import a2alinker


@a2alinker.skill(concurrency=4)
def word_count(text: str) -> int:
    """Counts the words of a text."""
    return len(text.split())


async def main() -> None:
    """Serves until it is ended."""
    async with a2alinker.join("worker", skills=[word_count]) as worker:
        print(f"serving in {worker}", flush=True)
        await worker.serve_forever()


with contextlib.suppress(KeyboardInterrupt):
    asyncio.run(main())
