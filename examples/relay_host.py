"""Hosts a swarm through a switchboard, invites one worker and gives it work.

On a machine that both can reach:

    a2alinker switchboard --listen 0.0.0.0:7447 --advertise relay.example

It prints an address. On the first machine, with that address:

    A2ALINKER_SWITCHBOARD='wss://relay.example:7447#...' python examples/relay_host.py

It prints a ticket. On the second machine:

    A2ALINKER_TICKET='a2alt_...' python examples/relay_worker.py
"""

import asyncio

import a2alinker


async def main() -> None:
    """Hosts, invites, and has the words of some texts counted."""
    async with a2alinker.host("planner") as planner:
        # local=True, so that the example works with everything on one machine too
        print(await planner.invite(kind="ticket", local=True), flush=True)
        await planner.wait_for(skill="word_count")
        texts = ["one", "two words", "and three words"]
        async for count in planner.remote("word_count", returns=int).map(texts, ordered=True):
            print(count)


asyncio.run(main())
