"""Messages that others sent to the agent, as the commands show them."""

from __future__ import annotations

import asyncio
from typing import Any, Final

from ..agent import Agent
from ..exceptions import PeerUnknown
from ..message import Message
from .output import Output

NO_ANSWERS: Final = "this agent shows messages and answers none"


async def show(agent: Agent, output: Output, *, count: int | None = None, quiet: float | None = None, **more: Any) -> int:
    """Prints messages until there were `count`, or none came for `quiet` seconds; returns how many. `more` goes into each record.

    A message counts as handled when it was written out.
    """
    messages = aiter(agent)
    shown = 0
    while shown != count:
        try:
            async with asyncio.timeout(quiet):
                message = await anext(messages, None)
        except TimeoutError:
            break
        if message is None:  # the agent is over
            break
        output.talk(f"{sender(message)}:")
        output.body("body", message.body, {**more, **record(message)})
        shown += 1
        if message.wants_answer:
            await message.refuse(NO_ANSWERS)
        elif shown == count:  # the others are finished when the next one is asked for
            message.finish()
    return shown


def record(message: Message) -> dict[str, Any]:
    """Returns what there is to say of a message beside its body."""
    return {
        "from": sender(message),
        "id": message.id,
        "priority": message.priority,
        "thread": message.thread and message.thread.hex(),
        "headers": message.headers,
        "age": round(message.age, 3),
        "maybe_repeated": message.maybe_repeated,
    }


def sender(message: Message) -> str:
    """Returns the name of whoever sent it, or its id if it has left the swarm."""
    try:
        return message.sender.name
    except PeerUnknown as unknown:
        return unknown.peer
