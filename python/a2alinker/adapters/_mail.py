"""Messages for models: sending one and hearing what became of it, and reading those that came."""

from __future__ import annotations

import asyncio
import json
import weakref
from dataclasses import dataclass, field
from typing import Any, Final

from ..agent import Agent
from ..bodies import IncomingBody
from ..context import DEPTH, cause
from ..exceptions import A2ALinkerError, AgentClosed, BadAnswer, BadArguments, CallCancelled, PeerUnknown
from ..message import Message
from ..outbox import Priority
from ._reach import AnyAgent, Reach
from ._schemas import Parameter, check, in_words
from ._skills import PRIORITY, told_failure
from ._words import Failure, answer_text, fact, foreign

CONFIRMED_WITHIN: Final = 5.0  # seconds that a model waits to hear whether its message arrived; chosen: some round trips and a reconnect
MOST_READ: Final = 20  # messages in one answer to a model; the rest waits
MOST_OPEN: Final = 64  # requests that a model has read and not answered; beyond it the oldest is refused

LONGEST_WAIT: Final = 60.0  # seconds that a model may wait for messages; chosen: a run that waits for ever helps nobody

SEND: Final = "Sends a message to another agent on another machine, and tells whether it arrived."
SENDING: Final = (
    Parameter("to", "to", {"type": "string", "description": "The agent's name or id."}, True, None),
    Parameter("text", "text", {"type": "string", "description": "What to say."}, True, None),
    PRIORITY,
    Parameter(
        "in_reply_to",
        "in_reply_to",
        {"type": "integer", "description": "The number of the message that this answers, if its sender waits for an answer."},
        False,
        None,
    ),
)
READ: Final = "Reads the messages that other agents have sent to this one."
READING: Final = (
    Parameter(
        "wait",
        "wait",
        {"type": "number", "description": f"Seconds to wait if there are none, {LONGEST_WAIT:.0f} at most; by default none."},
        False,
        None,
    ),
)


@dataclass(slots=True)
class _Desk:
    """What is known of one agent's mail, whichever tools read and write it."""

    open: dict[int, Message] = field(default_factory=dict)  # requests that were read and not answered, by their number
    number: int = 0
    last: tuple[Any, ...] | None = None  # the event of the message read last, which causes what is sent


_desks: weakref.WeakKeyDictionary[Agent, _Desk] = weakref.WeakKeyDictionary()


class Mail:
    """The messages of one agent, for the tools of models."""

    __slots__ = ("_priority", "_reach")

    def __init__(self, agent: AnyAgent, priority: Priority = "normal") -> None:
        self._reach = Reach(agent)
        self._priority = priority

    def send(self, given: dict[str, Any]) -> str | Failure:
        """Sends what SENDING describes, and waits a little for the receipt, on a thread that doesn't run the agent's loop."""
        try:
            message = check(SENDING, given)
            return self._reach.wait(lambda agent: _send(agent, message, self._priority))
        except A2ALinkerError as error:
            return told_failure(error, "sending a message", in_words(SENDING))

    async def asend(self, given: dict[str, Any]) -> str | Failure:
        """As `send`, on any loop."""
        try:
            message = check(SENDING, given)
            return await self._reach.run(lambda agent: _send(agent, message, self._priority))
        except A2ALinkerError as error:
            return told_failure(error, "sending a message", in_words(SENDING))

    def read(self, given: dict[str, Any]) -> str | Failure:
        """Reads what came, as READING says, on a thread that doesn't run the agent's loop."""
        try:
            wait = check(READING, given).get("wait", 0.0)
            return self._reach.wait(lambda agent: _read(agent, wait))
        except A2ALinkerError as error:
            return told_failure(error, "reading messages", in_words(READING))

    async def aread(self, given: dict[str, Any]) -> str | Failure:
        """As `read`, on any loop."""
        try:
            wait = check(READING, given).get("wait", 0.0)
            return await self._reach.run(lambda agent: _read(agent, wait))
        except A2ALinkerError as error:
            return told_failure(error, "reading messages", in_words(READING))


async def _send(agent: Agent, message: dict[str, Any], priority: Priority) -> str:
    desk = _desks.setdefault(agent, _Desk())
    to, text, in_reply_to = message["to"], message["text"], message.get("in_reply_to")
    # The model sends because of what it read: agents whose models answer each other for ever come to an end, as in a loop over messages.
    cause.set(desk.last if desk.last is not None else cause.get())
    if in_reply_to is not None:
        if (asked := desk.open.get(in_reply_to)) is None:
            raise BadArguments(f"no message {in_reply_to} waits for an answer; those that do: {', '.join(map(str, desk.open)) or 'none'}")
        if asked.cancelled:
            del desk.open[in_reply_to]
            raise CallCancelled("its sender no longer waits")
        receipt = await asked.reply(text)
        del desk.open[in_reply_to]
    else:
        receipt = await agent.send(to, text, priority=message.get("priority", priority))
    try:
        async with asyncio.timeout(CONFIRMED_WITHIN):
            await receipt.delivered()
    except TimeoutError as problem:
        if isinstance(problem, A2ALinkerError):
            raise
    name = receipt.peer.name if receipt.peer is not None else to
    match receipt.state:
        case "delivered" | "done":
            return f"[a2alinker: delivered to {name}. That it was read isn't proven by that.]"
        case "accepted":
            return f"[a2alinker: {name} is away. The message waits for it at the switchboard.]"
        case _:
            return f"[a2alinker: on its way to {name}, which hasn't confirmed it yet. It is sent again until it is confirmed or too old.]"


async def _read(agent: Agent, wait: float) -> str:
    desk = _desks.setdefault(agent, _Desk())
    messages = aiter(agent)
    taken: list[Message] = []
    try:
        async with asyncio.timeout(min(max(0.0, wait), LONGEST_WAIT)):
            taken.append(await anext(messages))
    except TimeoutError:
        return "[a2alinker: no messages.]"
    except StopAsyncIteration:
        raise AgentClosed from None
    # Asking once more than there are counts the last one as handled, too: a model has no loop that would do it.
    while len(taken) < MOST_READ and (message := agent._inbox.take(messages)) is not None:
        taken.append(message)
    desk.last = max((message.event for message in taken), key=lambda event: event[DEPTH])
    return "\n\n".join([await _told(desk, message) for message in taken])


async def _told(desk: _Desk, message: Message) -> str:
    desk.number += 1
    try:
        sender = message.sender
    except PeerUnknown:
        sender = None
    notes = [f"message {desk.number}, {message.priority}, {message.age:.0f} s old"]
    if message.maybe_repeated:
        notes.append("perhaps read before")
    if message.wants_answer:
        _keep(desk, message)
        notes.append(f"its sender waits for an answer: in_reply_to={desk.number}")
    body = message.body
    if isinstance(body, IncomingBody):
        await message.refuse("this agent's model reads texts, not files")
        desk.open.pop(desk.number, None)
        text = f"(a file or stream {json.dumps(body.name)} of {body.length} bytes, which was refused: models read texts)"
    else:
        text = _text_of(body)
    return f"{fact(sender, 'message')[:-1]} ({'; '.join(notes)})]\n{foreign(text)}"


def _text_of(body: Any) -> str:
    """Returns a body as a text, whatever it is: it has been taken, and those that were taken with it must reach the model, too."""
    if isinstance(body, bytes):
        return body.decode(errors="replace")
    try:
        return answer_text(body)
    except BadAnswer:
        return repr(body)


def _keep(desk: _Desk, message: Message) -> None:
    if len(desk.open) >= MOST_OPEN:
        del desk.open[next(iter(desk.open))]  # dropped without an answer, it is refused
    desk.open[desk.number] = message
