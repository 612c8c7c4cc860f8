"""`peers`: who is in the swarm."""

from __future__ import annotations

import argparse
import asyncio
import sys
from typing import Any, Final

from ..events import PeerEvent
from ..peer import Peer
from .agents import member, run
from .output import Output, coloured

SETTLE: Final = (
    0.5  # seconds after linking in which others become known; chosen: the switchboard tells at once, what is left is a round trip
)
_COLOURS: Final = {"linked": "good", "away": "warn", "gone": "faint"}


def main(options: argparse.Namespace, output: Output) -> int:
    """Lists the other agents."""
    serving = asyncio.Event()
    return run(_peers(options, output, serving), serving=serving)


async def _peers(options: argparse.Namespace, output: Output, serving: asyncio.Event) -> int:
    async with member(options) as agent:
        changes = agent.events()
        await asyncio.sleep(SETTLE)
        _list([peer for peer in agent.peers.values() if options.all or not peer.gone], output)
        if options.watch:
            serving.set()
            async for event in changes:
                if isinstance(event, PeerEvent):
                    record = {"event": event.what, **_record(event.peer)}
                    output.data(f"{event.peer.name} {event.what}", record)
            await agent.serve_forever()  # it is over; if nobody here asked for that, this raises why
    return 0


def _list(peers: list[Peer], output: Output) -> None:
    peers.sort(key=lambda peer: (peer.name, peer.id))
    if not peers:
        output.talk("nobody else is in the swarm")
    width = max((len(peer.name) for peer in peers), default=0)
    for peer in peers:
        state = coloured(f"{peer.presence:<6}", _COLOURS[peer.presence], sys.stdout)
        output.data(f"{peer.name:<{width}}  {state}  {peer.id[:8]}  {', '.join(peer.skills)}".rstrip(), _record(peer))


def _record(peer: Peer) -> dict[str, Any]:
    return {"name": peer.name, "id": peer.id, "state": peer.presence, "skills": list(peer.skills)}
