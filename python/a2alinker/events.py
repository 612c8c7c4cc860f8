"""What `agent.events()` tells: the link, and who comes and goes."""

from __future__ import annotations

import weakref
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, fields
from typing import Final, Literal, TypeAlias

from . import _core
from ._html import card
from ._loop import Event as CoreEvent
from ._loop import Seam, Signal, logger
from .bodies import Progress
from .exceptions import IdentityFileError, LinkReplaced, TooDeep
from .outbox import PRIORITIES
from .peer import Peer, Roster

KEPT: Final = 1024  # events that wait for one reader; chosen: some minutes of a busy swarm. Beyond it the oldest are dropped


class _Told:
    """What all events have: a table for notebooks."""

    __slots__ = ()

    def _repr_html_(self) -> str:
        told = {one.name: getattr(self, one.name) for one in fields(self)}  # type: ignore[arg-type]  # each event is a dataclass
        return card(type(self).__name__, {name: value.name if isinstance(value, Peer) else value for name, value in told.items()})


@dataclass(frozen=True, slots=True)
class LinkUp(_Told):
    """The link to the switchboard is up, for the first time or again.

    resumed: it goes on where the one before was lost, and nothing need be sent again that the switchboard had.
    """

    switchboard: str
    resumed: bool = False


@dataclass(frozen=True, slots=True)
class LinkDown(_Told):
    """The link broke. The agent links again by itself, first in `retry_in` seconds."""

    error: Exception
    retry_in: float


@dataclass(frozen=True, slots=True)
class Replaced(_Told):
    """Another process with this agent's identity has taken over its link. This agent ends, and stays away."""


@dataclass(frozen=True, slots=True)
class PeerEvent(_Told):
    """Something changed at another agent.

    joined: it is a new member; changed: its skills or its certificate; up, down: its link; gone: goodbye, or down for longer than
    `peer_gone_after`; left: it will not come back.
    """

    what: Literal["joined", "changed", "up", "down", "gone", "left"]
    peer: Peer


@dataclass(frozen=True, slots=True)
class MessageLost(_Told):
    """A message of this thread expired at its sender before it was delivered, and the thread goes on without it."""

    sender: Peer | None
    priority: str
    thread: bytes | None


@dataclass(frozen=True, slots=True)
class LoopStopped(_Told):
    """Messages that caused each other came to their limit, and the next one wasn't sent: two agents answer each other without end.

    `error` is TooDeep. `here`: it was this agent that couldn't go on, and `error` was raised there; otherwise `peer` couldn't answer this one.
    """

    peer: Peer | None
    thread: bytes | None
    here: bool
    error: Exception


@dataclass(frozen=True, slots=True)
class BodyProgress(_Told):
    """A large body moves on: sent to `peer` or coming in from it, some ten times in a second at most.

    `message_id` is that of the receipt, or of the message. `name` is a file's, as its sender says. `total` is None for a stream that hasn't ended.
    """

    direction: Literal["out", "in"]
    peer: Peer | None
    message_id: str
    name: str | None
    bytes: int
    total: int | None


@dataclass(frozen=True, slots=True)
class NotSaved(_Told):
    """The agent file couldn't be written; `error` is an IdentityFileError.

    The agent goes on and tries again every half minute. What changed since the last save, such as a renewed membership, would be lost by a restart.
    """

    error: Exception


@dataclass(frozen=True, slots=True)
class EventsMissed(_Told):
    """This reader was too slow, and so many events were dropped before the next one."""

    count: int


Event: TypeAlias = LinkUp | LinkDown | Replaced | PeerEvent | MessageLost | BodyProgress | LoopStopped | NotSaved | EventsMissed


class EventStream:
    """An iterator over what happens from the moment it was made. Ends when the agent does."""

    __slots__ = ("__weakref__", "_changed", "_missed", "_seam", "_waiting")

    def __init__(self, seam: Seam) -> None:
        self._seam = seam
        self._waiting: deque[Event] = deque()
        self._missed = 0
        self._changed = Signal(seam.loop)

    def put(self, event: Event) -> None:
        """Takes an event; drops the oldest if there are too many."""
        if len(self._waiting) == KEPT:
            self._waiting.popleft()
            self._missed += 1
        self._waiting.append(event)
        self._changed.set()

    def wake(self) -> None:
        """Lets the reader look again."""
        self._changed.set()

    def __aiter__(self) -> EventStream:
        return self

    async def __anext__(self) -> Event:
        while not self._waiting:
            if not self._seam.is_attached:
                raise StopAsyncIteration
            await self._changed.wait()
        if self._missed:
            missed, self._missed = self._missed, 0
            return EventsMissed(missed)
        return self._waiting.popleft()

    def __repr__(self) -> str:
        return f"<EventStream, {len(self._waiting)} waiting>"

    def _repr_html_(self) -> str:
        return card("Events", {"waiting": len(self._waiting), "missed": self._missed})


class Events:
    """Hands events to all streams."""

    __slots__ = ("_identity", "_on_lost", "_roster", "_streams", "error", "seam", "switchboard")

    def __init__(self, seam: Seam, roster: Roster, on_link_lost: Callable[[Exception], None], identity: str | None) -> None:
        self.seam = seam
        self.switchboard: str | None = None  # None while there is no link
        self.error: Exception | None = None  # why the last link broke, or couldn't be made
        self._roster = roster
        self._on_lost = on_link_lost
        self._identity = identity or ""
        self._streams: weakref.WeakSet[EventStream] = weakref.WeakSet()
        seam.on(_core.EVENT_LINKED, self._on_linked)
        seam.on(_core.EVENT_LINK_LOST, self._on_link_lost)
        seam.on(_core.EVENT_GAP, self._on_gap)
        seam.on(_core.EVENT_LOOP_STOPPED, self._on_loop_stopped)
        seam.on(_core.EVENT_NOT_SAVED, self._on_not_saved)
        roster.on_change(lambda what, peer: self._tell(PeerEvent(what, peer)))  # type: ignore[arg-type]
        seam.at_end(self._end)

    def stream(self) -> EventStream:
        """Returns an iterator over what happens from here on."""
        stream = EventStream(self.seam)
        self._streams.add(stream)
        return stream

    def tell_progress(
        self, direction: Literal["out", "in"], peer_id: bytes, message_id: bytes, name: str | None, progress: Progress
    ) -> None:
        """Takes how far a large body is."""
        if self._streams:
            self._tell(BodyProgress(direction, self._roster.find(peer_id), message_id.hex(), name, *progress))

    def _tell(self, event: Event) -> None:
        logger.debug("%s", event)
        for stream in self._streams:
            stream.put(event)

    def _on_linked(self, event: CoreEvent) -> None:
        self.switchboard = event[1]
        self._tell(LinkUp(event[1], event[2]))

    def _on_link_lost(self, event: CoreEvent) -> None:
        _, error, retry_in = event
        self.switchboard = None
        self.error = error
        self._on_lost(error)
        logger.warning("the link is lost: %s; next attempt in %.1f s", error, retry_in)
        self._tell(LinkDown(error, retry_in))

    def _on_gap(self, event: CoreEvent) -> None:
        _, sender, lane, thread = event
        self._tell(MessageLost(self._roster.find(sender), PRIORITIES[lane], thread or None))

    def _on_loop_stopped(self, event: CoreEvent) -> None:
        _, sender, thread, here = event
        peer = self._roster.find(sender)
        name = peer.name if peer else "a peer that has left"
        end = "this agent's next message was not sent" if here else "the last message has no answer"
        error = TooDeep(f"{name} and this agent answered each other until the limit was reached, and {end}")
        logger.warning("a loop was stopped: %s", error)
        self._tell(LoopStopped(peer, thread if any(thread) else None, here, error))

    def _on_not_saved(self, event: CoreEvent) -> None:
        error = IdentityFileError(event[1], path=self._identity)
        logger.warning("the agent file isn't saved: %s", error)
        self._tell(NotSaved(error))

    def _end(self) -> None:
        self.switchboard = None
        if isinstance(self.seam.error, LinkReplaced):
            self._tell(Replaced())
        for stream in self._streams:
            stream.wake()
