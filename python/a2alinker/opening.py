"""How an agent comes to be: it hosts a swarm, or joins one."""

from __future__ import annotations

import asyncio
import os
import re
import sys
from collections.abc import Callable, Coroutine, Generator, Iterable, Sequence
from os import PathLike
from types import TracebackType
from typing import Any, Final

from . import _core
from ._loop import Seam, current_loop
from .agent import Agent
from .exceptions import ConfigurationError, IdentityFileError, ProtocolError, TimedOut
from .handlers import offer_of
from .skill import Skill, as_skill
from .switchboard import LOOPBACK, Switchboard

TIMEOUT: Final = 30.0  # seconds for host() and join(); a slow network needs some round trips, and a switchboard may be starting
PEER_GONE_AFTER: Final = 10.0  # seconds
OUTBOX_BYTES: Final = 64 << 20
OUTBOX_MESSAGES: Final = 100_000
MAX_DEPTH: Final = 64  # messages; as the core has it
DEEPEST: Final = 0xFFFF  # from the protocol
LEAST_OUTBOX_BYTES: Final = 2 << 20  # twice the largest body
# How often what answers has to speak something else until that is believed; chosen: with the pauses between, about a second. A handshake
# that is cut looks the same, and a switchboard that restarts behind something that takes its connections cuts several.
DOUBTED: Final = 4
MOST_SWITCHBOARDS: Final = 8  # what an invite has room for

TICKET_VARIABLE: Final = "A2ALINKER_TICKET"
SWITCHBOARD_VARIABLE: Final = "A2ALINKER_SWITCHBOARD"
NAME: Final = re.compile(r"[A-Za-z0-9._-]{1,64}")

Where = str | Switchboard | Sequence[str | Switchboard]
Skills = Iterable[Skill[..., Any] | Callable[..., Any]]


class Opening:
    """An agent that is about to open: await it, or use it as an async context manager, which closes the agent in the end."""

    __slots__ = ("_agent", "_opened")

    def __init__(self, opened: Callable[[], Coroutine[Any, Any, Agent]]) -> None:
        self._opened = opened
        self._agent: Agent | None = None

    def __await__(self) -> Generator[Any, None, Agent]:
        if "IPython" in sys.modules:
            from ._notebook import open_in_cell

            return open_in_cell(self._opened).__await__()
        return self._opened().__await__()

    async def __aenter__(self) -> Agent:
        self._agent = await self
        return await self._agent.__aenter__()

    async def __aexit__(self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None) -> None:
        agent, self._agent = self._agent, None
        if agent is not None:
            await agent.__aexit__(kind, error, traceback)


def host(
    name: str,
    *,
    identity: str | PathLike[str] | None = None,
    skills: Skills = (),
    switchboard: Where | None = None,
    listen: str = LOOPBACK,
    advertise: str | None = None,
    timeout: float = TIMEOUT,
    ca_file: str | None = None,
    peer_gone_after: float = PEER_GONE_AFTER,
    outbox_bytes: int = OUTBOX_BYTES,
    outbox_messages: int = OUTBOX_MESSAGES,
    max_depth: int = MAX_DEPTH,
) -> Opening:
    """Founds a swarm and gives its first agent.

    `async with host(...) as agent`, or `agent = await host(...)`. The arguments:

    name: 1 to 64 of [A-Za-z0-9._-].
    identity: the agent file, made if it isn't there. With it the agent is the same agent after a restart, in the same swarm, with the invites
        without a count that were open; the file is as secret as the agent. Without it agent and swarm end with the process.
    skills: what other agents may call; functions, decorated with `@skill` or not.
    switchboard: its address, `wss://host:port#pin`, or up to eight, which are tried in this order; if not given, those in the agent file,
        then the variable A2ALINKER_SWITCHBOARD, where spaces separate them; if not set, one is started in this process.
    listen, advertise: for that one, as in `Switchboard`. By default it is reachable from this machine only. With an agent file its key is kept in
        IDENTITY.key beside it; give `listen` a port, so that members find it again after a restart.
    timeout: seconds until the link must be up.
    ca_file: a PEM file of certificate authorities to trust instead of the system's.
    peer_gone_after: seconds without a link after which a peer counts as gone, and calls move to others.
    outbox_bytes, outbox_messages: how much may wait to be sent or confirmed; `send` waits beyond it.
    max_depth: how many messages in a row, each sent while the one before was handled, may lead to what this agent sends.

    Without `identity` the swarm ends with the process of its founder: nobody can join later, but those who are in it can go on.

    Raises:
        IdentityFileError: the agent file can't be used; the text says why.
        ConfigurationError: a name, address, skill or number can't be used.
        SwitchboardUnreachable, SwitchboardRefused, UntrustedSwitchboard, ProxyRefused, PortInUse: see there.
        TimedOut: the link wasn't up in time, and nothing better can be said.
        NoEventLoop, Forked: when awaited outside a running loop, or in a forked process.
    """

    async def open_() -> Agent:
        current_loop()
        _check(name, timeout, peer_gone_after, outbox_bytes, outbox_messages, max_depth)
        offered = _skills(skills)
        own: Switchboard | None = None
        file = await _identity(identity, name, founds=True)
        kept = _kept(file)
        links = told = _pinned(_addresses(switchboard), kept) or kept or _addresses(os.environ.get(SWITCHBOARD_VARIABLE, "").split())
        if not told:
            own = await Switchboard(listen, advertise=advertise, key_file=await _key_beside(file))
            links, told = [own.local_url], [own.url]
        try:
            core = _core.Agent.host(
                name,
                switchboards=links,
                identity=file,
                embedded=own is not None,
                skills=[offer_of(skill) for skill in offered],
                ca_file=ca_file,
                peer_gone_after=peer_gone_after,
                outbox_bytes=outbox_bytes,
                outbox_messages=outbox_messages,
                depth_max=max_depth,
            )
            return await _opened(core, offered, told, own, timeout, file)
        except BaseException:
            if own is not None:
                await own.close()
            raise

    return Opening(open_)


def join(
    name: str,
    invite: object | None = None,
    *,
    identity: str | PathLike[str] | None = None,
    skills: Skills = (),
    switchboard: Where | None = None,
    timeout: float = TIMEOUT,
    ca_file: str | None = None,
    peer_gone_after: float = PEER_GONE_AFTER,
    outbox_bytes: int = OUTBOX_BYTES,
    outbox_messages: int = OUTBOX_MESSAGES,
    max_depth: int = MAX_DEPTH,
) -> Opening:
    """Joins a swarm.

    `async with join(...) as agent`, or `agent = await join(...)`. The arguments:

    invite: the code or ticket that `agent.invite()` gave, as `Invite` or text; if not given, the variable A2ALINKER_TICKET. One in a program's
        arguments can be seen by other users of the machine: prefer the variable. A code may be written with blanks and in any case.
    identity: the agent file, made if it isn't there. Once the agent is a member it needs no invite any more: one that is given all the same
        isn't used, so that the command line of the first start is good for all. If nobody renewed its membership for 30 days, it
        takes a new invite and the same file.
    switchboard: its address, or several; if not given, the ones in the ticket, then those in the agent file, then A2ALINKER_SWITCHBOARD. A code
        says nothing about it, but the address needs no pin with it: pairing finds out whether it is the inviter's, and remembers its certificate.

    The other arguments are those of `host`.

    Raises:
        InviteDamaged, InviteWrong, InviteUsed, InviteExpired, InviteUnknown, InviteRevoked: the invite doesn't admit.
        CertificateExpired: the membership in the agent file has expired, and there is no invite.
        What `host` raises.
    """

    async def open_() -> Agent:
        current_loop()
        _check(name, timeout, peer_gone_after, outbox_bytes, outbox_messages, max_depth)
        offered = _skills(skills)
        file = await _identity(identity, name, founds=False)
        secret = _secret(invite, required=file is None)
        info = {} if secret is None else _core.invite_info(secret)
        is_code = info.get("kind") == "code"
        invited = _addresses(getattr(invite, "switchboard", None)) if is_code else list(info.get("addresses", []))
        kept = _kept(file) or _addresses(os.environ.get(SWITCHBOARD_VARIABLE, "").split())
        addresses = _pinned(_addresses(switchboard), kept) or invited or kept
        core = _core.Agent.join(
            name,
            invite=secret,
            switchboards=addresses,
            identity=file,
            skills=[offer_of(skill) for skill in offered],
            ca_file=ca_file,
            peer_gone_after=peer_gone_after,
            outbox_bytes=outbox_bytes,
            outbox_messages=outbox_messages,
            depth_max=max_depth,
        )
        agent = await _opened(core, offered, addresses, None, timeout, file)
        if is_code:
            # What this agent tells others about its switchboard has the certificate that it saw.
            seen = agent.switchboard
            addresses[:] = [seen, *(other for other in addresses if other.partition("#")[0] != seen.partition("#")[0])]
        return agent

    return Opening(open_)


async def _opened(
    core: _core.Agent,
    skills: list[Skill[..., Any]],
    addresses: list[str],
    own: Switchboard | None,
    timeout: float,
    file: _core.IdentityFile | None,
) -> Agent:
    """Returns the agent when it is a member and its link is up. Whatever goes wrong, nothing of it stays."""
    seam = Seam(core, asyncio.get_running_loop())
    joined: asyncio.Future[None] = seam.loop.create_future()

    def on_joined(_: object) -> None:
        if not joined.done():
            joined.set_result(None)

    def on_end() -> None:
        if not joined.done():
            joined.set_exception(seam.error or seam.closed_error())

    foreign = 0

    def on_link_lost(error: Exception) -> None:
        nonlocal foreign
        if joined.done() or getattr(error, "retryable", True):
            return
        foreign += isinstance(error, ProtocolError)
        if not isinstance(error, ProtocolError) or foreign > DOUBTED:
            joined.set_exception(error)  # trying again would only take the time

    seam.on(_core.EVENT_JOINED, on_joined)
    seam.at_end(on_end)
    agent = Agent(seam, skills, addresses, own, on_link_lost, None if file is None else str(file.path))
    seam.attach()
    try:
        async with asyncio.timeout(timeout):
            await joined
    except TimeoutError:
        agent.abandon()
        if agent.link_error is not None:
            raise agent.link_error from None
        raise TimedOut(f"the agent wasn't linked within {timeout} s") from None
    except BaseException:
        agent.abandon()
        raise
    return agent


def _check(name: object, timeout: float, peer_gone_after: float, outbox_bytes: int, outbox_messages: int, max_depth: object) -> None:
    if not isinstance(name, str) or not NAME.fullmatch(name):
        raise ConfigurationError(f"an agent's name is 1 to 64 of [A-Za-z0-9._-], not {name!r}")
    for what, seconds in (("timeout", timeout), ("peer_gone_after", peer_gone_after)):
        if not seconds > 0:
            raise ConfigurationError(f"{what} is in seconds and above 0, not {seconds!r}")
    if outbox_bytes < LEAST_OUTBOX_BYTES or outbox_messages < 1:
        raise ConfigurationError(f"outbox_bytes is at least {LEAST_OUTBOX_BYTES}, so that each body fits, and outbox_messages at least 1")
    if not (isinstance(max_depth, int) and 0 < max_depth <= DEEPEST):
        raise ConfigurationError(f"max_depth is a number of messages, 1 to {DEEPEST}, not {max_depth!r}")


def _skills(skills: Skills) -> list[Skill[..., Any]]:
    if isinstance(skills, Skill) or callable(skills):
        raise ConfigurationError("skills is a list: skills=[...]")
    offered = [as_skill(given) for given in skills]
    names = [skill.name for skill in offered]
    if doubled := {name for name in names if names.count(name) > 1}:
        raise ConfigurationError(f"several skills are named {', '.join(sorted(doubled))}")
    return offered


def _addresses(where: Where | None) -> list[str]:
    several = [] if where is None else [where] if isinstance(where, (str, Switchboard)) else list(where)
    if len(several) > MOST_SWITCHBOARDS:
        raise ConfigurationError(f"{len(several)} switchboards are more than an invite has room for, which is {MOST_SWITCHBOARDS}")
    return [one.url if isinstance(one, Switchboard) else one for one in several]


async def _identity(path: str | PathLike[str] | None, name: str, *, founds: bool) -> _core.IdentityFile | None:
    """Opens an agent file, off the loop: it is written, too, to see that it can be."""
    if path is None:
        return None
    file = await asyncio.to_thread(_core.IdentityFile.open, os.fspath(path), name, founds=founds)
    if file.is_founder and not founds:
        raise IdentityFileError(f"{file.path}: the agent in this file founded its swarm: open it with host()", path=str(file.path))
    if founds and not file.is_founder:
        raise IdentityFileError(
            f"{file.path}: the agent in this file belongs to a swarm that it joined: open it with join()", path=str(file.path)
        )
    return file


def _kept(file: _core.IdentityFile | None) -> list[str]:
    return [] if file is None else file.switchboards


def _pinned(addresses: list[str], kept: list[str]) -> list[str]:
    """Adds the pins that the agent file knows to addresses without one: who gave the address at the first start gives it at every start."""
    pins = {address.partition("#")[0]: address for address in kept}
    return [pins.get(address, address) for address in addresses]


async def _key_beside(file: _core.IdentityFile | None) -> str | None:
    """Returns the key file of an embedded switchboard whose agent has a file, made the first time: so its pin stays."""
    if file is None:
        return None
    path = f"{file.path}.key"
    if not os.path.exists(path):  # noqa: ASYNC240, PTH110  one look at the disk, and no pathlib for one
        await asyncio.to_thread(_core.new_key, path)
    return path


def _secret(invite: object | None, *, required: bool) -> str | None:
    text = (str(invite) if invite is not None else os.environ.get(TICKET_VARIABLE, "")).strip()
    if not text and not required:
        return None
    if not text:
        raise ConfigurationError(f"there is no invite: give join() one, or set {TICKET_VARIABLE}")
    return text
