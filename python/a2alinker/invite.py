"""How others come into the swarm: invites, and the rights that they grant."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Collection, Sequence
from dataclasses import KW_ONLY, dataclass
from typing import TYPE_CHECKING, Final, Literal

from . import _core
from ._html import card
from ._loop import Event, Seam, Signal
from .exceptions import ConfigurationError, InviteExpired, InviteRevoked, InviteUsed, NotReachable

if TYPE_CHECKING:
    from ipaddress import IPv4Address, IPv6Address

    from .peer import Peer, Roster

Kind = Literal["code", "ticket"]

LONGEST_CODE: Final = 600.0  # seconds; its words are few, and who pairs talks to one another
_GRACE: Final = 2.0  # seconds that somebody who came in time may need to become a peer


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
    """Admits agents to the swarm. `str(invite)` is the secret to hand over; whoever has it can join, so show it to nobody else.

    kind: "code", a number and three words for one agent, or "ticket", a long text.
    switchboard: the address that goes with a code, which says nothing about it; a ticket holds it itself.
    """

    __slots__ = ("_invites", "_secret", "_standing", "kind", "switchboard", "ttl", "uses")

    def __init__(self, invites: Invites, standing: _Standing, secret: str, terms: Terms, switchboard: str) -> None:
        self._invites = invites
        self._standing = standing
        self._secret = secret
        self.kind = terms.kind
        self.uses = terms.uses
        self.ttl = terms.ttl
        self.switchboard = switchboard

    async def joined(self) -> Peer:
        """Waits until somebody joins with this invite. Each call gives one of them, in the order of joining.

        Raises:
            AgentClosed: this agent closed before.
            InviteBurnt: somebody tried a code with wrong words.
            InviteExpired: its time was over before.
            InviteRevoked: the invite was revoked before.
            InviteUsed: as many as may join with it have joined, and each was given out.
        """
        return await self._invites.joined(self._standing)

    def revoke(self) -> None:
        """Takes the invite back. Who has joined with it stays. Idempotent."""
        self._invites.revoke(self._standing)

    def __str__(self) -> str:
        return self._secret

    def __repr__(self) -> str:
        uses = "any number of uses" if self.uses is None else f"{self.uses} use{'' if self.uses == 1 else 's'}"
        return f"<Invite {self.kind}, {uses}, {self.ttl:.0f} s>"

    def _repr_html_(self) -> str:
        uses = self.uses or "any number"
        return card("Invite", {"kind": self.kind, "uses": uses, "ttl": f"{self.ttl:.0f} s", "secret": "str(invite) gives it"})


@dataclass(frozen=True, slots=True)
class Terms:
    """What an invite is to be."""

    kind: Kind
    uses: int | None
    ttl: float
    rights: Rights

    def check(self) -> None:
        """Raises ConfigurationError for what can't be."""
        if self.kind not in ("code", "ticket"):
            raise ConfigurationError(f'kind is "code" or "ticket", not {self.kind!r}')
        if self.kind == "code" and self.uses != 1:
            raise ConfigurationError(f'a code admits one agent, uses=1, not {self.uses!r}: take kind="ticket" for several')
        if self.kind == "code" and self.ttl > LONGEST_CODE:
            raise ConfigurationError(f'a code lives for {LONGEST_CODE:.0f} s at most, not {self.ttl!r}: take kind="ticket" for longer')
        if self.uses is not None and not 1 <= self.uses <= 1_000_000:
            raise ConfigurationError(f"uses is 1 to 1000000, or None for any number, not {self.uses!r}")
        if not isinstance(self.rights, Rights):
            raise ConfigurationError(f"rights is Rights(...), or None for the usual ones, not {self.rights!r}")


class _Standing:
    """What has become of an invite so far."""

    __slots__ = ("came", "end", "left", "opened", "timer", "token")

    def __init__(self, token: int, uses: int | None, opened: asyncio.Future[str | None]) -> None:
        self.token = token
        self.left = uses  # how many may still come; None: any number
        self.opened = opened
        self.came: deque[Peer] = deque()  # and wasn't asked for yet
        self.end: Exception | None = None  # why nobody else will come
        self.timer: asyncio.TimerHandle | None = None


class Invites:
    """The invites of one agent."""

    __slots__ = ("_changed", "_roster", "_standings", "seam")

    def __init__(self, seam: Seam, roster: Roster) -> None:
        self.seam = seam
        self._roster = roster
        self._standings: dict[int, _Standing] = {}  # by token, of the invites with which somebody may still come
        self._changed = Signal(seam.loop)
        seam.on(_core.EVENT_INVITE, self._on_invite)
        seam.on(_core.EVENT_BURNT, self._on_burnt)
        seam.on(_core.EVENT_ADMITTED, self._on_admitted)
        seam.at_end(self._end)

    async def make(self, terms: Terms, addresses: Sequence[str]) -> Invite:
        """Makes an invite and waits until the switchboard takes newcomers for it. Cancelled, it is revoked."""
        rights = terms.rights
        wanted = (None if rights.skills is None else sorted(rights.skills), rights.admit, rights.terminals, rights.originate)
        token, text = self.seam.core.invite(terms.kind, terms.uses, terms.ttl, wanted, addresses)
        standing = self._standings[token] = _Standing(token, terms.uses, self.seam.loop.create_future())
        self.seam.flush_soon()
        try:
            code = await standing.opened
        except BaseException:
            self.revoke(standing)
            raise
        if standing.end is None:
            standing.timer = self.seam.loop.call_later(terms.ttl + _GRACE, self._finish, standing, InviteExpired())
        return Invite(self, standing, code or text or "", terms, addresses[0])

    async def joined(self, standing: _Standing) -> Peer:
        """Waits for the next one that joins with this invite."""
        while True:
            if standing.came:
                return standing.came.popleft()
            if standing.end is not None:
                raise standing.end
            if not self.seam.is_open:
                raise self.seam.closed_error()
            await self._changed.wait()

    def revoke(self, standing: _Standing) -> None:
        """Closes an invite. One that is used up as well: whoever lost the answer to it gets no other."""
        if standing.end is None:
            standing.came.clear()
        self._finish(standing, InviteRevoked())
        if self.seam.is_attached:
            self.seam.core.revoke(standing.token)
            self.seam.flush_soon()

    def _finish(self, standing: _Standing, end: Exception) -> None:
        if standing.end is not None:
            return
        standing.end = end
        if standing.timer is not None:
            standing.timer.cancel()
        self._standings.pop(standing.token, None)
        self._changed.set()

    def _on_invite(self, event: Event) -> None:
        _, token, error, code = event
        standing = self._standings.get(token)
        if standing is None or standing.opened.done():
            return
        if error is None:
            standing.opened.set_result(code)
        else:
            standing.opened.set_exception(error)

    def _on_burnt(self, event: Event) -> None:
        _, token, error = event
        if (standing := self._standings.get(token)) is not None:
            self._finish(standing, error)

    def _on_admitted(self, event: Event) -> None:
        _, token, info = event
        if (standing := self._standings.get(token)) is None or (peer := self._roster.find(info.id)) is None:
            return
        standing.came.append(peer)
        if standing.left is not None:
            standing.left -= 1
        if standing.left == 0:
            self._finish(standing, InviteUsed())
        self._changed.set()

    def _end(self) -> None:
        for standing in self._standings.values():
            if standing.timer is not None:
                standing.timer.cancel()
            if not standing.opened.done():
                standing.opened.set_exception(self.seam.closed_error())
        self._standings.clear()
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


# The modules are imported by who invites, and by nobody else.


def _host_of(address: str) -> str:
    from urllib.parse import urlsplit

    return urlsplit(address if "//" in address else f"//{address}").hostname or ""


def _ip_of(host: str) -> IPv4Address | IPv6Address | None:
    from ipaddress import IPv6Address, ip_address

    try:
        ip = ip_address(host)
    except ValueError:
        return None
    return (ip.ipv4_mapped or ip) if isinstance(ip, IPv6Address) else ip
