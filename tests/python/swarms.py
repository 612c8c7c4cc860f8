"""Swarms for tests: agents that talk through a real switchboard in this process, over TLS on loopback."""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Callable, Sequence
from typing import Any

import a2alinker
from a2alinker import Agent, Skill

Skills = Sequence[Skill[..., Any] | Callable[..., Any]]


@contextlib.asynccontextmanager
async def swarm(*workers: Skills, host_skills: Skills = (), **options: Any) -> AsyncIterator[list[Agent]]:
    """Gives a host and one worker for each list of skills, all of whom know each other. `options` are for the host."""
    async with contextlib.AsyncExitStack() as stack:
        host = await stack.enter_async_context(a2alinker.host("host", skills=host_skills, **options))
        agents = [host]
        invite = await host.invite(kind="ticket", uses=max(1, len(workers)), local=True)
        for number, skills in enumerate(workers):
            agents.append(await stack.enter_async_context(a2alinker.join(f"worker-{number}", invite, skills=skills)))
        for agent in agents:
            for other in agents:
                if other is not agent:
                    await agent.wait_for(name=other.name, timeout=10)
        yield agents


@contextlib.asynccontextmanager
async def pair(skills: Skills = (), **options: Any) -> AsyncIterator[tuple[Agent, Agent]]:
    """Gives a host and one worker."""
    async with swarm(skills, **options) as (host, worker):
        yield host, worker


async def until(condition: Callable[[], bool], limit: float = 10.0) -> None:
    """Waits until something holds that has no event of its own."""
    async with asyncio.timeout(limit):
        while not condition():  # noqa: ASYNC110
            await asyncio.sleep(0.01)


async def next_message(agent: Agent, limit: float = 10.0) -> a2alinker.Message:
    """Takes one message; it is handled when the next one is taken."""
    async with asyncio.timeout(limit):
        async for message in agent:
            return message
    raise AssertionError("the agent ended")
