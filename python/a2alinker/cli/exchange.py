"""`send`, `recv` and `call`: one exchange with other agents."""

from __future__ import annotations

import argparse
import asyncio
import sys
from pathlib import Path
from typing import Any

from ..bodies import File
from ..call import Call
from ..exceptions import StreamRestarted
from . import exits, values
from .agents import member, run, somebody, somebody_who_can
from .messages import show
from .output import Output, shown
from .progress import Bar


def send(options: argparse.Namespace, output: Output) -> int:
    """Sends a message, and ends when its receiver has it."""
    if options.json_body is not None:
        body: Any = values.json_of(options.json_body)
    elif options.file is not None:
        body = values.stdin_blocks() if options.file == "-" else File(options.file)
    elif options.text is not None:
        body = values.stdin_text() if options.text == "-" else options.text
    else:
        raise exits.Stop("there is nothing to send: give a text, -, --json-body or --file", exits.USAGE, "argument")
    return run(_send(options, output, body))


async def _send(options: argparse.Namespace, output: Output, body: Any) -> int:
    async with member(options) as agent:
        await somebody(agent, options.to, options.wait)
        receipt = await agent.send(options.to, body, priority=options.priority, ttl=options.timeout, until=options.until)
        if receipt.progress is not None:
            with Bar(output, body.name if isinstance(body, File) else options.to) as bar:
                async for _ in receipt:
                    bar.update(receipt.progress)
        await (receipt.done() if options.until == "done" else receipt.delivered())
        record = {"state": receipt.state, "to": options.to, "id": receipt.message_id}
        if receipt.progress is not None:
            record["bytes"] = receipt.progress.bytes
        output.event(record, f"{receipt.state}: {options.to}")
    return 0


def recv(options: argparse.Namespace, output: Output) -> int:
    """Prints messages."""
    if options.save_to is not None and not Path(options.save_to).is_dir():
        raise exits.Stop(f"{options.save_to} is no folder to save files in", exits.USAGE, "argument")
    serving = asyncio.Event()
    return run(_recv(options, output, serving), serving=serving)


async def _recv(options: argparse.Namespace, output: Output, serving: asyncio.Event) -> int:
    async with member(options) as agent:
        output.talk(f"{agent.name} waits for messages. Ctrl-C ends it.")
        if options.count is None:
            serving.set()
        shown = await show(agent, output, count=options.count, quiet=options.timeout, save_to=options.save_to)
    if shown < (options.count or 1):
        raise exits.Stop(f"there were {shown} messages, and then none for {options.timeout:g} s", exits.TIMED_OUT, "timed_out")
    return 0


def call(options: argparse.Namespace, output: Output) -> int:
    """Calls a skill and prints the answer."""
    args, kwargs = values.arguments_of(options.arguments)
    return run(_call(options, output, args, kwargs))


async def _call(options: argparse.Namespace, output: Output, args: list[Any], kwargs: dict[str, Any]) -> int:
    async with member(options) as agent:
        if options.to is not None:
            await somebody(agent, options.to, options.wait)
        else:
            await somebody_who_can(agent, options.skill, options.wait)
        remote = agent.remote(options.skill, to=options.to, priority=options.priority, timeout=options.timeout)
        running = remote(*args, **kwargs)
        await print_parts(running, output, stream=options.stream)
        answer = await running
        worker = running.peer
        output.body("answer", answer, {"from": worker.name if worker else None, "attempt": running.attempt})
    return 0


async def print_parts(running: Call[Any], output: Output, *, stream: bool) -> None:
    """Prints the partial answers, or without `stream` tells a person of them; of each attempt, if the call moves."""
    while True:
        try:
            async for part in running:
                if stream or output.as_json:
                    output.body("part", part, {})
                elif sys.stderr.isatty():
                    output.talk(shown(f"... {part}", sys.stderr))
        except StreamRestarted as moved:
            output.event({"event": "restarted", "attempt": moved.attempt}, f"{moved}: it begins anew")
        else:
            return
