"""Messages from other agents, and the loop that takes them."""

from __future__ import annotations

import asyncio
import weakref
from time import time
from typing import Any, Final, NoReturn

from . import _core
from ._html import card
from ._lanes import Lanes
from ._loop import Event, Seam
from .bodies import ORDINARY, is_large, prepared
from .context import cause, chain
from .exceptions import AlreadyConsumed, OutboxFull, PeerUnknown, TooDeep, UsageError
from .outbox import DEFAULT_TTL, PRIORITIES, Outbox, Priority, Refusal
from .peer import Peer, text_id
from .receipt import Receipt

# Where things stand in the events of messages and requests.
TOKEN, SENDER, BODY, LANE, THREAD, EXPIRY_MS, TTL_MS, _DEPTH, _BUDGET, FLAGS, HEADERS, MESSAGE_ID, SKILL, ATTEMPT = range(1, 15)

PLAIN: Final = _core.EVENT_MESSAGE
WANTS_DONE: Final = _core.FLAG_WANTS_DONE
LARGE: Final = _core.FLAG_LARGE
NO_THREAD: Final = bytes(16)
CREDIT_BATCH: Final = 64  # messages handled before the core hears of it; chosen: a small part of what a sender may have under way

TOO_LATE: Final = "its time was over before the program took it"
NO_ANSWER: Final = "the receiver dropped the request without an answer"


class Message:
    """A message from another agent.

    `body` is what was sent: str, bytes, None, bool, int, float, or lists and dicts of these; an IncomingBody if it is a file, a stream or more
    than 1 MiB. It comes from another agent: treat it as foreign input.
    """

    __slots__ = ("_event", "_open", "_outbox", "body")

    def __init__(self, outbox: Outbox, event: Event, *, answerable: bool = True) -> None:
        self._outbox = outbox
        self._event = event
        self._open = answerable  # neither replied to nor refused, and not a skill's
        if event[FLAGS] & LARGE:
            self.body: Any = outbox.bodies.incoming(event[TOKEN], event[SENDER], event[MESSAGE_ID], event[BODY])
        else:
            self.body = event[BODY]

    @property
    def sender(self) -> Peer:
        """Who sent it, proven."""
        peer = self._outbox.roster.find(self._event[SENDER])
        if peer is None:
            raise PeerUnknown("the sender has left the swarm", peer=text_id(self._event[SENDER]))
        return peer

    @property
    def priority(self) -> Priority:
        """`urgent`, `high`, `normal` or `bulk`."""
        return PRIORITIES[self._event[LANE]]  # type: ignore[no-any-return]

    @property
    def thread(self) -> bytes | None:
        """The thread, 16 bytes, or None. Messages of one sender, thread and priority come in order."""
        thread: bytes = self._event[THREAD]
        return None if thread == NO_THREAD else thread

    @property
    def headers(self) -> dict[str, Any]:
        """What the sender put beside the body."""
        return self._event[HEADERS] or {}

    @property
    def id(self) -> str:
        """The id of the message, 32 hexadecimal digits."""
        return str(self._event[MESSAGE_ID].hex())

    @property
    def age(self) -> float:
        """Seconds since it was sent, by this machine's clock corrected by what is known of the sender's. 0 for an answer to a request."""
        expiry_ms: int = self._event[EXPIRY_MS]
        if not expiry_ms:
            return 0.0
        sent_ms: int = expiry_ms - self._event[TTL_MS]
        return max(0.0, time() - sent_ms / 1000)

    @property
    def maybe_repeated(self) -> bool:
        """Whether an earlier run of this agent may have got it already."""
        return bool(self._event[FLAGS] & _core.FLAG_MAYBE_REPEATED)

    @property
    def wants_answer(self) -> bool:
        """Whether the sender used `request` and waits."""
        return False

    @property
    def cancelled(self) -> bool:
        """Whether the sender of a request has stopped waiting."""
        return False

    async def reply(self, body: Any) -> Receipt:
        """Answers: with the final answer to a request, or with a message to the sender. The message counts as handled.

        A reply is caused by its message, so that agents that answer each other for ever come to an end (see `Agent.send`). Waits
        only while the outbox is full. Cancelled, it has sent nothing. An answer that the sender no longer waits for is dropped, and
        its receipt says `failed`.

        Raises:
            UsageError: it was answered or refused before.
            BodyError: the value can't be sent.
            TooDeep: it answers an answer to an answer, 64 times, or as often as a `budget` allows.
            AgentClosed, WrongLoop, Forked: as for `Agent.send`.
        """
        receipt = await self._answer(body, final=True)
        self.finish()
        self._open = False
        return receipt

    async def progress(self, body: Any) -> Receipt:
        """Sends a partial answer to a request; `reply` sends the final one. Raises what `reply` raises."""
        return await self._answer(body, final=False)

    async def refuse(self, reason: str = "", *, retry_after: float = 0.0) -> None:
        """Says no. The sender of a request gets CallRefused, the receipt of a message sent with `until="done"` says `refused`.

        Raises:
            UsageError: it was answered or refused before, or the loop over the messages has gone on, so that it counts as handled.
        """
        self._check()
        self._refuse(reason, retry_after)
        self._outbox.seam.flush_soon()
        self._open = False

    def _refuse(self, reason: str, retry_after: float) -> None:
        self._outbox.core.refuse(self._event[TOKEN], Refusal.REFUSED, "", reason, retry_after)

    @property
    def event(self) -> Event:
        """The core's event, which says what this message may cause."""
        return self._event

    @property
    def token(self) -> int:
        """The core's name for it."""
        return self._event[TOKEN]  # type: ignore[no-any-return]

    def finish(self) -> None:
        """Counts the message as handled. For the inbox."""
        if self._event[FLAGS] & WANTS_DONE and self._open:
            self._outbox.core.done(self._event[TOKEN])
            self._outbox.seam.flush_soon()

    async def _answer(self, body: Any, *, final: bool) -> Receipt:
        self._check()
        outbox = self._outbox
        body = await prepared(body)
        if not outbox.crowd:
            try:
                return self._post(body, final)
            except OutboxFull:
                pass
        return await outbox.when_room(self._post, body, final)

    def _post(self, body: Any, final: bool) -> Receipt:
        event = self._event
        thread = None if event[THREAD] == NO_THREAD else event[THREAD]
        outbox = self._outbox
        try:
            if type(body) not in ORDINARY and is_large(body):
                return outbox.bodies.send(
                    event[SENDER], body, event[LANE], thread, DEFAULT_TTL, False, *chain(event), None, event[MESSAGE_ID]
                )
            core = outbox.core.send(event[SENDER], body, event[LANE], thread, DEFAULT_TTL, False, *chain(event), None, event[MESSAGE_ID])
        except TooDeep:
            outbox.stop(event)
            raise
        outbox.seam.flush_soon()
        return Receipt(outbox, core, event[SENDER], until_done=False)

    def _check(self) -> None:
        self._outbox.seam.check()
        if not self._open:
            self._complain()

    def _complain(self) -> NoReturn:
        raise UsageError("this message was answered or refused before, or is the request to a skill, which answers by returning")

    def __repr__(self) -> str:
        text = repr(self.body)
        sender = self._outbox.roster.find(self._event[SENDER])
        return f"<Message from {sender.name if sender else '?'}: {text if len(text) <= 60 else text[:59] + '…'}>"

    def _repr_html_(self) -> str:
        sender = self._outbox.roster.find(self._event[SENDER])
        rows = {"from": sender and sender.name, "priority": self.priority, "age": f"{self.age:.1f} s", "body": repr(self.body)}
        return card("Message", rows)


class Request(Message):
    """A message whose sender waits for the answer."""

    __slots__ = ("__weakref__", "_cancelled", "_inbox")

    def __init__(self, outbox: Outbox, event: Event, inbox: Inbox) -> None:
        super().__init__(outbox, event)
        self._inbox = inbox
        self._cancelled = False

    @property
    def wants_answer(self) -> bool:
        """True."""
        return True

    @property
    def cancelled(self) -> bool:
        """Whether the sender has stopped waiting."""
        return self._cancelled

    def cancel(self) -> None:
        """The sender stopped waiting. For the inbox."""
        self._cancelled = True

    def finish(self) -> None:
        """Nothing: a request is finished by its answer alone."""

    def _post(self, body: Any, final: bool) -> Receipt:
        event = self._event
        if final:
            self._inbox.forget(event[TOKEN])
        return self._outbox.answer_to(event[SENDER], event[TOKEN], body, final, *chain(event))

    def _refuse(self, reason: str, retry_after: float) -> None:
        self._inbox.forget(self._event[TOKEN])
        self._outbox.refuse(self._event[TOKEN], Refusal.REFUSED, reason, retry_after=retry_after)

    def __del__(self) -> None:
        if self._open and not self._cancelled and self._outbox.seam.is_open and _core.runtime_alive():
            self._refuse(NO_ANSWER, 0.0)  # without flush_soon, as the collector runs in any thread; the core writes refusals by itself


class Inbox:
    """Messages and requests that wait for the program.

    What waits here is bounded by the credit of the senders. The core gives it back for messages that were handled, which are counted for each
    lane, as each lane keeps its order.
    """

    __slots__ = ("_handled", "_in_hand", "_lanes", "_outbox", "_reader", "_requests", "_waiter", "seam")

    def __init__(self, seam: Seam, outbox: Outbox) -> None:
        self.seam = seam
        self._outbox = outbox
        self._lanes = Lanes()
        self._in_hand: Message | None = None
        self._handled = [0] * len(PRIORITIES)  # messages that the core hasn't heard of, by lane
        self._waiter: asyncio.Future[None] | None = None
        self._reader: object = None  # the key of the iterator that reads; the iterator itself ends with its loop
        self._requests: dict[int, weakref.ref[Request]] = {}  # those that the program has taken and not answered
        seam.on(_core.EVENT_MESSAGE, self.put)
        seam.at_end(self.wake)

    def __len__(self) -> int:
        return len(self._lanes)

    def put(self, event: Event) -> None:
        """Takes a message or a request without skill."""
        self._lanes.put(event[LANE], event)
        if self._waiter is not None:
            self.wake()

    def wake(self) -> None:
        """Lets the reader look again."""
        waiter, self._waiter = self._waiter, None
        if waiter is not None and not waiter.done():
            waiter.set_result(None)

    def cancel(self, token: int) -> None:
        """The sender of a request doesn't wait any longer."""
        if (reference := self._requests.pop(token, None)) is not None:
            if (request := reference()) is not None:
                request.cancel()
        else:
            self._lanes.remove(lambda event: event[TOKEN] == token)
        self._outbox.refuse(token, Refusal.CANCELLED, "cancelled")  # the core keeps a request until it is answered, even so

    def forget(self, token: int) -> None:
        """This request needs no answer any more."""
        self._requests.pop(token, None)

    def read(self) -> Messages:
        """Returns an iterator, which takes the place of one that doesn't wait."""
        if self._waiter is not None and not self._waiter.done():
            raise AlreadyConsumed
        reader = Messages(self)
        self._reader = reader.key
        return reader

    def take(self, reader: Messages) -> Message | None:
        """Returns the next message, if there is one. The one before it counts as handled."""
        if reader.key is not self._reader:
            raise AlreadyConsumed
        if self._in_hand is not None:
            self._count(self._in_hand)
        event = self._lanes.take()
        # Looked at here and not in a method, which took 7 % of a receiver's time (docs/performance.md). A large body lives as long as it moves.
        while event is not None and event[EXPIRY_MS] < time() * 1000 and not event[FLAGS] & LARGE:
            self._pass_over(event)
            event = self._lanes.take()
        if event is None:
            self._tell()
            return None
        if event[0] == PLAIN:
            message = self._in_hand = Message(self._outbox, event)
        else:
            message = request = Request(self._outbox, event, self)
            self._requests[event[TOKEN]] = weakref.ref(request)
        return message

    async def wait(self) -> bool:
        """Waits until there may be a message. False: the agent is over, and no more will come."""
        if not self.seam.is_open:
            if self.seam.error is not None:
                raise self.seam.error
            return False
        self._waiter = self.seam.loop.create_future()
        await self._waiter
        return True

    def _pass_over(self, event: Event) -> None:
        """Refuses what is too late: its sender was told that it expired, and nothing is handed over after that."""
        self._outbox.refuse(event[TOKEN], Refusal.EXPIRED, TOO_LATE)
        if event[0] == PLAIN:
            self._handled[event[LANE]] += 1

    def _count(self, message: Message) -> None:
        message.finish()
        self._in_hand = None
        lane: int = message.event[LANE]
        handled = self._handled
        handled[lane] += 1
        if handled[lane] >= CREDIT_BATCH:
            self._tell()

    def _tell(self) -> None:
        if any(self._handled) and self.seam.is_attached:
            for lane, handled in enumerate(self._handled):
                if handled:
                    self.seam.core.consumed(lane, handled)
                    self._handled[lane] = 0
            self.seam.flush_soon()


class Messages:
    """The iterator behind `async for message in agent`. Cancelling it while it waits loses no message.

    In the body of the loop the message in hand counts as the cause of what is sent there; when the loop asks for the next one, or is left, it no
    longer does.
    """

    __slots__ = ("_before", "_event", "_inbox", "key")

    def __init__(self, inbox: Inbox) -> None:
        self.key = object()
        self._inbox = inbox
        self._before = cause.get()
        self._event: Event | None = None

    def __aiter__(self) -> Messages:
        return self

    async def __anext__(self) -> Message:
        while (message := self._inbox.take(self)) is None:
            self._let_go()
            if not await self._inbox.wait():
                raise StopAsyncIteration
        self._event = message.event
        cause.set(self._event)
        return message

    def _let_go(self) -> None:
        if self._event is not None and cause.get() is self._event:
            cause.set(self._before)

    def __del__(self) -> None:
        self._let_go()  # a loop that is left drops its iterator there and then
