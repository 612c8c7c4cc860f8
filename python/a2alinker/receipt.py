"""What became of a message that was sent."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Coroutine, Iterable, Sequence
from typing import TYPE_CHECKING, Any, Final, Literal

from . import _core
from ._html import card
from .exceptions import A2ALinkerError, AgentClosed, Expired, PeerGone, Refused, Undelivered, UsageError
from .peer import Peer, text_id

if TYPE_CHECKING:
    from .bodies import Progress
    from .outbox import Outbox

ReceiptState = Literal["queued", "unknown", "full", "accepted", "delivered", "done", "refused", "expired", "failed"]

_WORDS: Final[dict[int, ReceiptState]] = {
    _core.RECEIPT_QUEUED: "queued",
    _core.RECEIPT_UNKNOWN: "unknown",
    _core.RECEIPT_FULL: "full",
    _core.RECEIPT_ACCEPTED: "accepted",
    _core.RECEIPT_DELIVERED: "delivered",
    _core.RECEIPT_DONE: "done",
    _core.RECEIPT_REFUSED: "refused",
    _core.RECEIPT_EXPIRED: "expired",
    _core.RECEIPT_FAILED: "failed",
}
_PASSING: Final = frozenset({"queued", "unknown", "full", "accepted"})
_FAILURES: Final = frozenset({"refused", "expired", "failed"})
# From the least to the most that can be said of several messages together.
_RANK: Final[tuple[ReceiptState, ...]] = ("failed", "expired", "refused", "full", "unknown", "queued", "accepted", "delivered", "done")


class Moot:
    """What the core would say of an answer for which nobody waits any more."""

    __slots__ = ()

    token = 0
    state = _core.RECEIPT_FAILED
    reason = "the caller no longer waits"
    retry_after = None
    message_id = b""

    def watch(self) -> int:
        """Returns the state, which doesn't change."""
        return self.state


MOOT: Final = Moot()


class Receipt:
    """What became of one message.

    `queued` is passing, and so are the switchboard's hints, which prove nothing: `unknown` (it doesn't see the receiver at present), `accepted` (the
    message waits there for its receiver) and `full` (it takes nothing more for it at present; tried again after `retry_after`). `delivered` means
    that it is in the memory of the receiver, `done` that it was handled there, `refused` that the receiver said no; these three are proven by the
    receiver. `expired` means unconfirmed when its `ttl` was over, `failed` that this agent closed or the peer left before anything was confirmed.
    """

    __slots__ = ("_core", "_outbox", "_peer_id", "_until_done")

    def __init__(self, outbox: Outbox, core: _core.Receipt | Moot, peer_id: bytes | None, until_done: bool) -> None:
        self._outbox = outbox
        self._core = core
        self._peer_id = peer_id
        self._until_done = until_done

    @property
    def state(self) -> ReceiptState:
        """The state at this moment."""
        state = _WORDS[self._core.state]
        return "failed" if state in _PASSING and not self._outbox.seam.is_attached else state

    @property
    def reason(self) -> str:
        """Why it was refused or failed, in words; otherwise empty."""
        return self._core.reason

    @property
    def retry_after(self) -> float | None:
        """Seconds until a mailbox that is `full` is tried again; None in every other state."""
        return self._core.retry_after if self.state == "full" else None

    @property
    def progress(self) -> Progress | None:
        """How far a large body is: bytes in the receiver's memory, and in all if that is known. None for what is one message."""
        return None

    @property
    def message_id(self) -> str:
        """The id of the message, 32 hexadecimal digits."""
        return self._core.message_id.hex()

    @property
    def peer(self) -> Peer | None:
        """The receiver. None when there are several (see `parts`), or when it has left."""
        return None if self._peer_id is None else self._outbox.roster.find(self._peer_id)

    @property
    def parts(self) -> tuple[Receipt, ...]:
        """One receipt for each receiver, in the order of `to`."""
        return (self,)

    async def delivered(self) -> None:
        """Waits until the message is in the receiver's memory. Cancelling the wait changes nothing for the message.

        Raises:
            Expired: unconfirmed when its `ttl` was over.
            PeerGone: the peer left for good before it confirmed.
            AgentClosed: this agent closed before.
            Undelivered: for several receivers, those that it didn't reach.
        """
        while (state := self.state) in _PASSING:
            await self.change(state)
        if self.state in ("expired", "failed"):
            raise self._failure()

    async def done(self) -> None:
        """Waits until the receiver has handled the message.

        Raises:
            UsageError: the message wasn't sent with `until="done"`, so nobody will say.
            Refused: the receiver said no.
            Expired, PeerGone, AgentClosed, Undelivered: as for `delivered`.
        """
        if not self._until_done:
            raise UsageError('Only a message sent with until="done" is reported as done.')
        while (state := self.state) in _PASSING or state == "delivered":
            await self.change(state)
        if self.state in _FAILURES:
            raise self._failure()

    async def __aiter__(self) -> AsyncIterator[ReceiptState]:
        """Gives the present state and each change until there can be no more. Changes in quick succession may be given as one."""
        seen = self.state
        yield seen
        while not self.is_final(seen):
            try:
                await self.change(seen)
            except AgentClosed:
                return
            if self.state != seen:
                seen = self.state
                yield seen

    def is_final(self, state: ReceiptState) -> bool:
        """Returns whether nothing can follow this state."""
        return state == "done" or state in _FAILURES or (state == "delivered" and not self._until_done)

    async def change(self, seen: ReceiptState) -> None:
        """Waits until the state may be another one than `seen`."""
        self._core.watch()  # first: what changes after it is reported, and what changed before it is seen
        if self.state == seen:
            await self._outbox.changed(self._core.token)

    def _failure(self) -> A2ALinkerError:
        match self.state:
            case "refused":
                return Refused(f"The receiver refused the message: {self.reason}", reason=self.reason)
            case "expired":
                return Expired()
        if not self._outbox.seam.is_open:
            return AgentClosed("The agent closed before the message was confirmed.")
        return PeerGone(self.reason, peer=text_id(self._peer_id) if self._peer_id else "")

    def __repr__(self) -> str:
        return f"<Receipt {self.state}{f': {self.reason}' if self.reason else ''}>"

    def _repr_html_(self) -> str:
        return card("Receipt", {"state": self.state, "reason": self.reason, "message": self.message_id})


class GroupReceipt(Receipt):
    """What became of a message to several receivers. Its state is that of the part that got least far."""

    __slots__ = ("_parts",)

    def __init__(self, outbox: Outbox, parts: Sequence[Receipt], until_done: bool) -> None:
        self._outbox = outbox
        self._parts = tuple(parts)
        self._until_done = until_done

    @property
    def state(self) -> ReceiptState:
        """The state of the part that got least far."""
        return min((part.state for part in self._parts), key=_RANK.index, default="done")

    @property
    def reason(self) -> str:
        """The reasons of the parts."""
        return "; ".join(part.reason for part in self._parts if part.reason)

    @property
    def retry_after(self) -> float | None:
        """The longest of the parts'."""
        return max((part.retry_after for part in self._parts if part.retry_after is not None), default=None)

    @property
    def message_id(self) -> str:
        """The ids of the parts, separated by commas."""
        return ",".join(part.message_id for part in self._parts)

    @property
    def peer(self) -> Peer | None:
        """None: see `parts`."""
        return None

    @property
    def parts(self) -> tuple[Receipt, ...]:
        """One receipt for each receiver."""
        return self._parts

    async def delivered(self) -> None:
        """Waits until all have it."""
        await self._all(part.delivered() for part in self._parts)

    async def done(self) -> None:
        """Waits until all have handled it."""
        await self._all(part.done() for part in self._parts)

    async def _all(self, waits: Iterable[Coroutine[Any, Any, None]]) -> None:
        outcomes = await asyncio.gather(*waits, return_exceptions=True)
        failed = [(part, outcome) for part, outcome in zip(self._parts, outcomes, strict=True) if isinstance(outcome, Exception)]
        if failed:
            text = "; ".join(f"{part.peer or 'a peer'}: {outcome}" for part, outcome in failed)
            raise Undelivered(f"{len(failed)} of {len(self._parts)} receivers: {text}", receipts=tuple(part for part, _ in failed))

    async def change(self, seen: ReceiptState) -> None:
        """Waits until the state may be another one than `seen`."""
        states = [part.state for part in self._parts]
        if min(states, key=_RANK.index) != seen:
            return
        waits = [
            asyncio.ensure_future(part.change(state)) for part, state in zip(self._parts, states, strict=True) if not part.is_final(state)
        ]
        try:
            ended, _ = await asyncio.wait(waits, return_when=asyncio.FIRST_COMPLETED)
            problems = [problem for wait in ended if (problem := wait.exception()) is not None]
            if problems:
                raise problems[0]
        finally:
            for wait in waits:
                wait.cancel()
