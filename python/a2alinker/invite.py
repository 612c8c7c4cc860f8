"""How others come into the swarm: invites, and the rights that they grant."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Collection, Sequence
from dataclasses import KW_ONLY, dataclass
from ipaddress import IPv4Address, IPv6Address, ip_address
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from . import _core
from ._html import card
from ._loop import Event, Seam, Signal
from .exceptions import ConfigurationError, InviteRevoked, NotReachable

if TYPE_CHECKING:
    from .peer import Peer, Roster


@dataclass(frozen=True, slots=True)
class Rights:
    """What an invite grants, and a certificate proves to every peer.

    skills: names of the skills that the agent may offer; None for any.
    admit: whether it may invite others, with rights no wider than its own.
    terminals: whether it may open terminals on others.
    originate: whether it may start calls of its own, rather than only within those that it serves.
    """

    skills: Collection[str] | None = None
    _: KW_ONLY
    admit: bool = False
    terminals: bool = False
    originate: bool = True

    def __post_init__(self) -> None:
        if isinstance(self.skills, str):
            raise ConfigurationError(f"skills is a collection of names: [{self.skills!r}], or None for any")
        if self.skills is not None:
            object.__setattr__(self, "skills", frozenset(self.skills))


class Invite:
    """Admits agents to the swarm. `str(invite)` is the secret to hand over; whoever has it can join, so show it to nobody else."""

    __slots__ = ("_invites", "_secret", "_token", "ttl", "uses")

    def __init__(self, invites: Invites, token: int, secret: str, uses: int | None, ttl: float) -> None:
        self._invites = invites
        self._token = token
        self._secret = secret
        self.uses = uses
        self.ttl = ttl

    async def joined(self) -> Peer:
        """Waits until somebody joins with this invite. Each call gives one of them, in the order of joining.

        Raises:
            AgentClosed: this agent closed before.
            InviteRevoked: the invite was revoked before.
        """
        return await self._invites.joined(self._token)

    def revoke(self) -> None:
        """Takes the invite back. Who has joined with it stays. Idempotent."""
        self._invites.revoke(self._token)

    def __str__(self) -> str:
        return self._secret

    def __repr__(self) -> str:
        uses = "any number of uses" if self.uses is None else f"{self.uses} use{'' if self.uses == 1 else 's'}"
        return f"<Invite ticket, {uses}, {self.ttl:.0f} s>"

    def _repr_html_(self) -> str:
        return card(
            "Invite", {"kind": "ticket", "uses": self.uses or "any number", "ttl": f"{self.ttl:.0f} s", "secret": "str(invite) gives it"}
        )


class Invites:
    """The invites of one agent."""

    __slots__ = ("_admitted", "_changed", "_opening", "_roster", "seam")

    def __init__(self, seam: Seam, roster: Roster) -> None:
        self.seam = seam
        self._roster = roster
        self._opening: dict[int, asyncio.Future[None]] = {}
        self._admitted: dict[int, deque[Peer]] = {}  # by the token of an invite that isn't revoked
        self._changed = Signal(seam.loop)
        seam.on(_core.EVENT_INVITE, self._on_invite)
        seam.on(_core.EVENT_ADMITTED, self._on_admitted)
        seam.at_end(self._end)

    async def make(self, uses: int | None, ttl: float, rights: Rights, addresses: list[str]) -> Invite:
        """Makes an invite and waits until the switchboard takes newcomers for it. Cancelled, it is revoked."""
        wanted = (None if rights.skills is None else sorted(rights.skills), rights.admit, rights.terminals, rights.originate)
        token, secret = self.seam.core.invite(uses, ttl, wanted, addresses)
        opening: asyncio.Future[None] = self.seam.loop.create_future()
        self._opening[token] = opening
        self._admitted[token] = deque()
        self.seam.flush_soon()
        try:
            await opening
        except BaseException:
            self.revoke(token)
            raise
        finally:
            del self._opening[token]
        return Invite(self, token, secret, uses, ttl)

    async def joined(self, token: int) -> Peer:
        """Waits for the next one that joins with this invite."""
        while (waiting := self._admitted.get(token)) is not None:
            if waiting:
                return waiting.popleft()
            if not self.seam.is_open:
                raise self.seam.closed_error()
            await self._changed.wait()
        raise InviteRevoked()

    def revoke(self, token: int) -> None:
        """Closes an invite."""
        if self._admitted.pop(token, None) is not None and self.seam.is_attached:
            self.seam.core.revoke(token)
            self.seam.flush_soon()
            self._changed.set()

    def _on_invite(self, event: Event) -> None:
        _, token, error = event
        opening = self._opening.get(token)
        if opening is None or opening.done():
            return
        if error is None:
            opening.set_result(None)
        else:
            opening.set_exception(error)

    def _on_admitted(self, event: Event) -> None:
        _, token, info = event
        if (waiting := self._admitted.get(token)) is not None and (peer := self._roster.find(info.id)) is not None:
            waiting.append(peer)
            self._changed.set()

    def _end(self) -> None:
        for opening in self._opening.values():
            if not opening.done():
                opening.set_exception(self.seam.closed_error())
        self._changed.set()


def is_local(address: str) -> bool:
    """Returns whether an address, with or without scheme, means this machine only."""
    host = _host_of(address)
    return host == "localhost" or host.endswith(".localhost") or ((ip := _ip_of(host)) is not None and ip.is_loopback)


def reachable(addresses: Sequence[str]) -> list[str]:
    """Returns those of the addresses that other machines can use; what a name means to them isn't known here.

    Raises NotReachable if there is none.
    """
    if not (useful := [address for address in addresses if _is_reachable(address)]):
        raise NotReachable(
            f"the switchboard's address {addresses[0].partition('#')[0]} works on this machine only. Host with switchboard='wss://...', or "
            "with listen='0.0.0.0:7447' and advertise='<a name or IP that others reach>'; or say local=True if everybody joins from here",
            address=addresses[0],
        )
    return useful


def _is_reachable(address: str) -> bool:
    ip = _ip_of(host := _host_of(address))
    return host != "" and not is_local(address) and not (ip is not None and (ip.is_unspecified or ip.is_link_local))


def _host_of(address: str) -> str:
    return urlsplit(address if "//" in address else f"//{address}").hostname or ""


def _ip_of(host: str) -> IPv4Address | IPv6Address | None:
    try:
        ip = ip_address(host)
    except ValueError:
        return None
    return (ip.ipv4_mapped or ip) if isinstance(ip, IPv6Address) else ip
