"""A command as an agent: who it is, how it ends.

Each command is an agent of its own for as long as it runs: by `--identity FILE` the same one each time, otherwise one that an invite
admits and that ends with the command.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import functools
import getpass
import os
import re
import signal
import stat
import sys
from collections.abc import AsyncIterator, Coroutine, Sequence
from typing import Any, Final

from ..agent import Agent
from ..exceptions import TimedOut
from ..opening import join
from ..skill import Skill
from . import exits
from .invites import invite_of

_FORBIDDEN: Final = re.compile(r"[^A-Za-z0-9._-]+")
_STOPPING: Final = (signal.SIGINT, signal.SIGTERM)


def run(work: Coroutine[Any, Any, int], *, serves: bool = False) -> int:
    """Runs a command until it is done, or is asked to end, or nobody reads its output any more; returns the exit code.

    serves: it runs until it is ended, so SIGINT and SIGTERM are how it is done. A second signal ends the process at once.
    """
    return asyncio.run(_under_signals(work, serves))


async def _under_signals(work: Coroutine[Any, Any, int], serves: bool) -> int:
    loop = asyncio.get_running_loop()
    task = asyncio.ensure_future(work)
    reasons: list[int] = []

    def end(code: int) -> None:
        reasons.append(code)
        for number in _STOPPING:
            signal.signal(number, signal.SIG_DFL)
        task.cancel()

    def end_without_reader() -> None:
        loop.remove_reader(sys.stdout)
        end(exits.NO_READER)

    for number in _STOPPING:
        handler = functools.partial(loop.call_soon_threadsafe, end, exits.DONE if serves else exits.SIGNALLED + number)
        try:
            loop.add_signal_handler(number, handler)
        except NotImplementedError:  # Windows
            signal.signal(number, lambda *_, handler=handler: handler())
    if _is_pipe(sys.stdout.fileno()):
        with contextlib.suppress(NotImplementedError, OSError):
            loop.add_reader(sys.stdout, end_without_reader)  # readable: there is no reader at the other end
    try:
        return await task
    except asyncio.CancelledError:
        if not reasons:
            raise
        return reasons[0]


def _is_pipe(descriptor: int) -> bool:
    return stat.S_ISFIFO(os.fstat(descriptor).st_mode)


@contextlib.asynccontextmanager
async def member(options: argparse.Namespace, skills: Sequence[Skill[..., Any]] = (), *, stdin: bool = False) -> AsyncIterator[Agent]:
    """Opens the agent that a command is, and closes it. `stdin`: see `invite_of`."""
    invite = invite_of(options, stdin=stdin)
    opening = join(
        name_of(options), invite, skills=skills, switchboard=options.switchboard, timeout=options.link_timeout, ca_file=options.ca_file
    )
    async with opening as agent:
        yield agent


def name_of(options: argparse.Namespace) -> str:
    """Returns the name for a new agent: as given, or after the agent file, or after the user."""
    given: str | None = options.name
    if given is not None:
        return given
    with contextlib.suppress(OSError, KeyError):  # this user has no name
        return _FORBIDDEN.sub("-", getpass.getuser())[:64] or "guest"
    return "guest"


async def somebody(agent: Agent, to: str, wait: float) -> None:
    """Waits until an agent of this name or id is linked.

    Raises:
        Stop: none is within `wait` seconds.
    """
    changes = agent.events()
    try:
        async with asyncio.timeout(wait):
            while not any(peer.linked and to in (peer.name, peer.id) for peer in agent.peers.values()):
                await anext(changes)
    except TimeoutError:
        names = ", ".join(sorted({peer.name for peer in agent.peers.values()}))
        text = f"no agent {to!r} was linked within {wait:g} s; agents in this swarm: {names or 'none'}"
        raise exits.Stop(text, exits.NOBODY, "peer_unknown") from None


async def somebody_who_can(agent: Agent, skill: str, wait: float) -> None:
    """Waits until somebody linked has the skill.

    Raises:
        Stop: nobody does within `wait` seconds.
    """
    try:
        await agent.wait_for(skill=skill, timeout=wait)
    except TimedOut:
        skills = ", ".join(sorted({name for peer in agent.peers.values() for name in peer.skills}))
        text = f"nobody with the skill {skill!r} was linked within {wait:g} s; skills in this swarm: {skills or 'none'}"
        raise exits.Stop(text, exits.NOBODY, "skill_unknown") from None
