"""Messages that others sent to the agent, as the commands show them."""

from __future__ import annotations

import asyncio
import contextlib
import sys
from typing import Any, Final

from ..agent import Agent
from ..bodies import IncomingBody
from ..exceptions import BodyNotSaved, DeliveryError, PeerUnknown, UsageError
from ..message import Message
from .output import Output, shown
from .progress import Bar

JSON_LIMIT: Final = 1 << 20  # bytes of a large body that are put into a JSON object

NO_ANSWERS: Final = "this agent shows messages and answers none"


async def show(
    agent: Agent, output: Output, *, count: int | None = None, quiet: float | None = None, save_to: str | None = None, **more: Any
) -> int:
    """Prints messages until there were `count`, or none came for `quiet` seconds; returns how many. `more` goes into each record.

    A message counts as handled when it was written out. `save_to`: the folder for large bodies.
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
        if isinstance(message.body, IncomingBody):
            await _show_large(message, message.body, output, save_to, {**more, **record(message)})
        else:
            output.body("body", message.body, {**more, **record(message)})
        shown += 1
        if message.wants_answer:
            await message.refuse(NO_ANSWERS)
        elif shown == count:  # the others are finished when the next one is asked for
            message.finish()
    return shown


async def _show_large(message: Message, body: IncomingBody, output: Output, save_to: str | None, record: dict[str, Any]) -> None:
    """Saves a large body, or writes it out as it comes; in JSON only a short one. What goes wrong with it ends nothing else."""
    record = {**record, "name": body.name}
    try:
        if save_to is not None:
            with Bar(output, body.name or "body") as bar:
                body.on_arrival(bar.update)
                path = await body.save(save_to)
            output.data(shown(str(path), sys.stdout), {"saved": str(path), "bytes": body.received, **record})
        elif output.as_json:
            output.body("body", await body.read(limit=JSON_LIMIT), record)
        else:
            async for block in body:
                await asyncio.to_thread(output.body, "body", block, {})  # whoever reads it may be slow
    except (DeliveryError, BodyNotSaved) as problem:
        await _refuse(message, problem)
        output.event({"error": problem.code, "text": str(problem), **record}, f"from {sender(message)}: {problem}")


async def _refuse(message: Message, problem: Exception) -> None:
    with contextlib.suppress(UsageError):
        await message.refuse(str(problem))


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
