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
from pathlib import Path
from typing import Any, Final

from .. import _core
from ..agent import Agent
from ..exceptions import TimedOut
from ..opening import SWITCHBOARD_VARIABLE, host, join
from ..skill import Skill
from . import exits
from .identities import alone_with
from .invites import invite_of

_FORBIDDEN: Final = re.compile(r"[^A-Za-z0-9._-]+")
_STOPPING: Final = (signal.SIGINT, signal.SIGTERM)


def run(work: Coroutine[Any, Any, int], *, serving: asyncio.Event | None = None) -> int:
    """Runs a command until it is done, or is asked to end, or nobody reads its output any more; returns the exit code.

    serving: of a command that runs until it is ended; set when it has begun to serve. From then on SIGINT and SIGTERM are how it is done, and
        before they interrupt it, as any other command. A second signal ends the process at once.
    """
    return asyncio.run(_under_signals(work, serving))


async def _under_signals(work: Coroutine[Any, Any, int], serving: asyncio.Event | None) -> int:
    loop = asyncio.get_running_loop()
    task = asyncio.ensure_future(work)
    reasons: list[int] = []

    def end(code: int) -> None:
        reasons.append(code)
        for number in _STOPPING:
            signal.signal(number, signal.SIG_DFL)
        task.cancel()

    def end_by_signal(number: int) -> None:
        end(exits.DONE if serving is not None and serving.is_set() else exits.SIGNALLED + number)

    def end_without_reader() -> None:
        loop.remove_reader(sys.stdout)
        end(exits.NO_READER)

    for number in _STOPPING:
        handler = functools.partial(loop.call_soon_threadsafe, end_by_signal, number)
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
    identity: str | None = options.identity
    with alone_with(identity):
        known = None if identity is None else _core.identity_info(identity)
        name = options.name or (known["name"] if known else _new_name(identity))
        way = {"switchboard": options.switchboard, "timeout": options.link_timeout, "ca_file": options.ca_file}
        if known is not None and known["founder"]:
            opening = host(name, identity=identity, skills=skills, **way)
        else:
            invite = invite_of(options, stdin=stdin) if known is None or known["needs_invite"] else None
            _check_way(options, invite)
            opening = join(name, invite, identity=identity, skills=skills, **way)
        async with opening as agent:
            yield agent


def _check_way(options: argparse.Namespace, invite: str | None) -> None:
    if options.switchboard or os.environ.get(SWITCHBOARD_VARIABLE):
        return
    if invite is not None and _core.invite_info(invite)["kind"] == "code":
        raise exits.Stop(
            f"a code doesn't say where the switchboard is: give --switchboard ADDRESS, or set {SWITCHBOARD_VARIABLE}",
            exits.USAGE,
            "argument",
        )


def _new_name(identity: str | None) -> str:
    """Returns a name for an agent that has none yet: that of its file, or the user's."""
    name = "" if identity is None else Path(identity).stem
    with contextlib.suppress(OSError, KeyError):  # this user has no name
        name = name or getpass.getuser()
    return _FORBIDDEN.sub("-", name)[:64] or "guest"


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
