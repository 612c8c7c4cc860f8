"""`host` and `join`: an agent that serves skills until it is ended, and tells what happens."""

from __future__ import annotations

import argparse
import asyncio
from collections.abc import Coroutine
from typing import Any

from ..agent import Agent
from ..events import EventsMissed, LinkDown, LinkUp, MessageLost, PeerEvent
from ..opening import host as open_host
from .agents import member, run
from .identities import alone_with
from .inviting import admit
from .messages import show
from .output import Output
from .skills import load


def host(options: argparse.Namespace, output: Output) -> int:
    """Founds a swarm, or resumes one, and hands out invites."""
    serving = asyncio.Event()
    return run(_host(options, output, serving), serving=serving)


def join(options: argparse.Namespace, output: Output) -> int:
    """Joins a swarm and serves."""
    serving = asyncio.Event()
    return run(_join(options, output, serving), serving=serving)


async def _host(options: argparse.Namespace, output: Output, serving: asyncio.Event) -> int:
    skills = load(options.skills) if options.skills else []
    opening = open_host(
        options.name,
        identity=options.identity,
        skills=skills,
        switchboard=options.switchboard,
        listen=options.listen,
        advertise=options.advertise,
        timeout=options.link_timeout,
        ca_file=options.ca_file,
    )
    with alone_with(options.identity):
        async with opening as agent:
            _greet(agent, output, "hosts a swarm")
            serving.set()
            invites = [] if options.no_invite else [admit(agent, options, output, renew=True)]
            await _serve(agent, output, *invites)
    return 0


async def _join(options: argparse.Namespace, output: Output, serving: asyncio.Event) -> int:
    skills = load(options.skills) if options.skills else []
    async with member(options, skills, stdin=True) as agent:
        _greet(agent, output, "is in the swarm")
        serving.set()
        await _serve(agent, output)
    return 0


def _greet(agent: Agent, output: Output, what: str) -> None:
    skills = agent.health()["skills"]
    record = {
        "event": "linked",
        "name": agent.name,
        "id": agent.id,
        "swarm": agent.swarm,
        "switchboard": agent.switchboard,
        "skills": skills,
    }
    serving = f", serves {', '.join(skills)}" if skills else ""
    output.event(record, f"{agent.name} {what} at {agent.switchboard.partition('#')[0]}{serving}. Ctrl-C ends it.")


async def _serve(agent: Agent, output: Output, *beside: Coroutine[Any, Any, object]) -> None:
    """Lets the agent live until it ends or one of the others fails."""
    life = asyncio.ensure_future(agent.serve_forever())
    tasks = {life, *map(asyncio.ensure_future, (*beside, _tell(agent, output), show(agent, output, event="message")))}
    try:
        while life in tasks:
            ended, tasks = await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
            for task in ended:
                task.result()
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


async def _tell(agent: Agent, output: Output) -> None:
    record: dict[str, Any]
    present = {peer.id for peer in agent.peers.values() if not peer.gone}
    async for event in agent.events():
        match event:
            case PeerEvent(what, peer):
                record = {"event": what, "name": peer.name, "id": peer.id, "skills": list(peer.skills)}
                if output.as_json:
                    output.data("", record)
                elif peer.linked and peer.id not in present:
                    output.talk(f"{peer.name} {'joined' if what == 'joined' else 'is back'}")
                elif peer.gone and peer.id in present:
                    output.talk(f"{peer.name} is gone")
                (present.discard if peer.gone else present.add)(peer.id)
            case LinkDown(error=error, retry_in=retry_in):
                record = {"event": "link_down", "error": str(error), "retry_in": round(retry_in, 3)}
                output.event(record)  # for a person the library says it
            case LinkUp(switchboard):
                output.event({"event": "link_up", "switchboard": switchboard}, f"{agent.name} is linked again")
            case MessageLost(sender, priority, _):
                name = sender.name if sender else None
                output.event(
                    {"event": "message_lost", "from": name, "priority": priority}, f"a message of {name or 'somebody'} came too late"
                )
            case EventsMissed(count):
                output.event({"event": "missed", "count": count}, f"{count} events were not told")
