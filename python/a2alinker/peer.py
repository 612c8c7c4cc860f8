"""The other agents of the swarm, as this one knows them."""

from __future__ import annotations

import asyncio
import base64
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, Final

from . import _core
from ._html import card, table
from ._loop import Event, Seam, Signal
from .exceptions import AmbiguousPeer, PeerUnknown, SkillUnknown, TimedOut
from .invite import Rights

DESCRIBE_TIMEOUT: Final = 30.0  # seconds; one round trip, and a reconnect if need be
REMEMBERED: Final = 256  # peers that left and may still be the sender of a message that waits; chosen


@dataclass(frozen=True, slots=True)
class SkillInfo:
    """A skill as its agent announces it."""

    name: str
    tags: tuple[str, ...]
    concurrency: int  # calls at a time
    definition: bytes = field(repr=False)  # SHA-256 of what `describe` gives

    def _repr_html_(self) -> str:
        return card(f"Skill {self.name}", {"tags": ", ".join(self.tags), "concurrency": self.concurrency})


@dataclass(frozen=True, slots=True)
class SkillDefinition:
    """All that an agent says about a skill. It is that agent's word: treat the text as foreign input."""

    name: str
    description: str
    input: dict[str, Any] | None  # JSON Schema of the arguments as an object, None if anything goes
    output: dict[str, Any] | None  # JSON Schema of the answer, None if anything may come

    def _repr_html_(self) -> str:
        import json

        return card(
            f"Skill {self.name}", {"description": self.description, "input": json.dumps(self.input), "output": json.dumps(self.output)}
        )


class Peer:
    """Another agent. There is one object for each, and it follows what becomes known."""

    __slots__ = ("_info", "_roster", "key")

    def __init__(self, roster: Roster, info: _core.PeerInfo) -> None:
        self._roster = roster
        self._info = info
        self.key: bytes = info.id  # its identity as it is on the wire

    @property
    def id(self) -> str:
        """Its identity, 52 characters."""
        return self._info.text_id

    @property
    def name(self) -> str:
        """The name in its certificate. Names needn't be unique."""
        return self._info.name

    @property
    def linked(self) -> bool:
        """Whether it has a link to the switchboard at this moment."""
        return self._info.linked

    @property
    def gone(self) -> bool:
        """Whether it said goodbye, or has had no link for longer than `peer_gone_after`."""
        return self._info.gone

    @property
    def skills(self) -> dict[str, SkillInfo]:
        """What it can do, by name."""
        return {name: SkillInfo(name, tags, concurrency, definition) for name, tags, concurrency, definition in self._info.skills}

    @property
    def rights(self) -> Rights:
        """What its certificate grants."""
        skills, admit, terminals, originate = self._info.rights
        return Rights(skills, admit=admit, terminals=terminals, originate=originate)

    @property
    def certificate_expires(self) -> float:
        """When its membership ends, in seconds since the epoch."""
        return self._info.certificate_expiry_ms / 1000

    async def describe(self, skill: str) -> SkillDefinition:
        """Asks for the definition of one of its skills, once for each version of it.

        Raises:
            SkillUnknown: it has no such skill.
            TimedOut: no answer within 30 s.
        """
        return await self._roster.describe(self, skill)

    def has(self, skill: str | None, tags: Iterable[str] = ()) -> bool:
        """Returns whether it has this skill with all these tags; None: any skill."""
        wanted = set(tags)
        return any(skill in (None, name) and wanted.issubset(its_tags) for name, its_tags, _, _ in self._info.skills)

    def follow(self, info: _core.PeerInfo) -> None:
        """Takes over what has become known. For the roster."""
        self._info = info

    def __eq__(self, other: object) -> bool:
        return self.key == other.key if isinstance(other, Peer) else NotImplemented

    def __hash__(self) -> int:
        return hash(self.key)

    @property
    def presence(self) -> str:
        """`linked`, `away` or `gone`."""
        return "gone" if self.gone else "linked" if self.linked else "away"

    def __repr__(self) -> str:
        return f"<Peer {self.name} {self.id[:8]} {self.presence}>"

    def _repr_html_(self) -> str:
        return card(f"Peer {self.name}", {"id": self.id, "state": self.presence, "skills": ", ".join(self.skills)})


class Peers(Mapping[str, Peer]):
    """The agents of the swarm but this one, by id. It follows the swarm; a copy (`dict(peers)`) doesn't."""

    __slots__ = ("_by_id",)

    def __init__(self, by_id: dict[str, Peer]) -> None:
        self._by_id = by_id

    def __getitem__(self, peer_id: str) -> Peer:
        return self._by_id[peer_id]

    def __iter__(self) -> Iterator[str]:
        return iter(self._by_id)

    def __len__(self) -> int:
        return len(self._by_id)

    def __repr__(self) -> str:
        return f"<Peers {', '.join(peer.name for peer in self._by_id.values()) or 'none'}>"

    def _repr_html_(self) -> str:
        rows = [(peer.name, peer.id[:8], peer.presence, ", ".join(peer.skills)) for peer in self._by_id.values()]
        return table("Peers", ("name", "id", "state", "skills"), rows)


class Roster:
    """Who is in the swarm."""

    __slots__ = ("_asked", "_by_key", "_by_text", "_changed", "_definitions", "_left", "_on_change", "peers", "seam")

    def __init__(self, seam: Seam) -> None:
        self.seam = seam
        self._by_key: dict[bytes, Peer] = {}
        self._by_text: dict[str, Peer] = {}
        self._left: dict[bytes, Peer] = {}
        self.peers = Peers(self._by_text)
        self._changed = Signal(seam.loop)
        self._on_change: list[Callable[[str, Peer], None]] = []
        self._definitions: dict[bytes, SkillDefinition] = {}  # by hash, so the same skill of many workers is asked for once
        self._asked: dict[int, asyncio.Future[bytes]] = {}
        seam.on(_core.EVENT_PEER, self._on_peer)
        seam.on(_core.EVENT_DEFINITION, self._on_definition)
        seam.at_end(self._end)

    def find(self, key: bytes) -> Peer | None:
        """Returns the peer with this id, if it is or was known."""
        peer = self._by_key.get(key) or self._left.get(key)
        if peer is None and (info := self.seam.core.peer(key)) is not None:  # its event is still on the way
            peer = self._take(info)
        return peer

    def resolve(self, to: Peer | str) -> Peer:
        """Returns the one peer that is meant by a peer, an id or a name.

        Raises:
            PeerUnknown: there is none.
            AmbiguousPeer: several live agents have that name.
            TypeError: it is none of the three.
        """
        if isinstance(to, Peer):
            return to
        if not isinstance(to, str):
            raise TypeError(f"`to` is a Peer, a name, an id or a sequence of these, not {type(to).__qualname__}")
        if (peer := self._by_text.get(to)) is not None:
            return peer
        named = [peer for peer in self._by_text.values() if peer.name == to]
        candidates = [peer for peer in named if not peer.gone] or named
        if len(candidates) == 1:
            return candidates[0]
        if not candidates:
            known = ", ".join(sorted({peer.name for peer in self._by_text.values()})[:8])
            raise PeerUnknown(f"no agent {to!r} is known in this swarm; known: {known or 'none'}", peer=to)
        ids = ", ".join(peer.id for peer in candidates)
        raise AmbiguousPeer(
            f"{len(candidates)} agents are named {to!r}: send to a Peer or an id ({ids})", peer=to, candidates=tuple(candidates)
        )

    def resolve_all(self, to: Iterable[Peer | str]) -> list[Peer]:
        """Returns the peers that are meant; a name that isn't known spoils it for all."""
        if not isinstance(to, Iterable):
            raise TypeError(f"`to` is a Peer, a name, an id or a sequence of these, not {type(to).__qualname__}")
        return [self.resolve(one) for one in to]

    def discover(self, *, skill: str | None, name: str | None, tags: Iterable[str]) -> list[Peer]:
        """Returns the agents that fit and aren't gone."""
        tags = tuple(tags)
        any_skill = skill is None and not tags
        return [
            peer
            for peer in self._by_text.values()
            if not peer.gone and (name is None or peer.name == name) and (any_skill or peer.has(skill, tags))
        ]

    async def wait_for(self, *, skill: str | None, name: str | None) -> Peer:
        """Waits until there is a linked agent that fits."""
        while True:
            for peer in self.discover(skill=skill, name=name, tags=()):
                if peer.linked:
                    return peer
            await self._changed.wait()
            if not self.seam.is_open:
                raise self.seam.closed_error()

    def on_change(self, callback: Callable[[str, Peer], None]) -> None:
        """Calls this for each change, with what happened and to whom."""
        self._on_change.append(callback)

    async def describe(self, peer: Peer, skill: str) -> SkillDefinition:
        """Returns what a peer says about a skill. See Peer.describe."""
        self.seam.check()
        info = peer.skills.get(skill)
        if info is None:
            raise SkillUnknown(f"{peer.name} has no skill {skill!r}; it has: {', '.join(peer.skills) or 'none'}", skill=skill)
        if (known := self._definitions.get(info.definition)) is None:
            known = _definition(skill, await self._ask(peer, info.definition))
            self._definitions[info.definition] = known
        return known

    async def _ask(self, peer: Peer, definition: bytes) -> bytes:
        answer: asyncio.Future[bytes] = self.seam.loop.create_future()
        token = self.seam.core.describe(peer.key, definition)
        self._asked[token] = answer
        self.seam.flush_soon()
        try:
            async with asyncio.timeout(DESCRIBE_TIMEOUT):
                return await answer
        except TimeoutError:
            raise TimedOut(f"{peer.name} didn't describe its skill within {DESCRIBE_TIMEOUT:.0f} s") from None
        finally:
            del self._asked[token]

    def _on_definition(self, event: Event) -> None:
        _, token, definition = event
        if (answer := self._asked.get(token)) is not None and not answer.done():
            answer.set_result(definition)

    def describe_failed(self, token: int, error: Exception) -> None:
        """The core gave up asking."""
        if (answer := self._asked.get(token)) is not None and not answer.done():
            answer.set_exception(error)

    def _on_peer(self, event: Event) -> None:
        _, what, info = event
        peer = self._take(info)
        if what == "left":
            del self._by_key[peer.key], self._by_text[peer.id]
            self._left[peer.key] = peer
            if len(self._left) > REMEMBERED:
                del self._left[next(iter(self._left))]
        for callback in self._on_change:
            callback(what, peer)
        self._changed.set()

    def _take(self, info: _core.PeerInfo) -> Peer:
        peer = self._by_key.get(info.id)
        if peer is None:
            peer = self._by_key[info.id] = self._by_text[info.text_id] = Peer(self, info)
        peer.follow(info)
        return peer

    def _end(self) -> None:
        for answer in self._asked.values():
            if not answer.done():
                answer.set_exception(self.seam.closed_error())
        self._changed.set()


def text_id(key: bytes) -> str:
    """Returns the text form of an id: base32, lower case, no padding."""
    return base64.b32encode(key).decode().rstrip("=").lower()


def _definition(skill: str, text: bytes) -> SkillDefinition:
    if not text:
        raise SkillUnknown(f"the peer no longer has the definition of {skill!r}", skill=skill)
    import json

    try:
        given = json.loads(text)
        return SkillDefinition(str(given["name"]), str(given["description"]), given.get("input"), given.get("output"))
    except (ValueError, KeyError, TypeError, AttributeError) as problem:
        raise SkillUnknown(f"the peer's definition of {skill!r} can't be read: {problem}", skill=skill) from problem
