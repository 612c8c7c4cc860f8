"""`switchboard`: runs one until it is ended."""

from __future__ import annotations

import argparse
import asyncio

from ..invite import is_local
from ..switchboard import Switchboard
from .agents import run
from .output import Output


def main(options: argparse.Namespace, output: Output) -> int:
    """Runs a switchboard and prints its address."""
    key = options.key
    if options.new_key is not None:
        from .._core import new_key

        new_key(options.new_key)
        key = options.new_key
    switchboard = Switchboard(
        options.listen,
        advertise=options.advertise,
        key_file=key,
        certificate_file=options.certificate,
        private_key_file=options.private_key,
        plain=options.plain,
        behind_proxy=options.behind_proxy,
    )
    serving = asyncio.Event()
    return run(_run(switchboard, output, _remarks(options, key), serving), serving=serving)


def _remarks(options: argparse.Namespace, key: str | None) -> list[str]:
    """Returns what an operator should know about what is started."""
    remarks = []
    if key is None and options.certificate is None and not options.plain and not options.behind_proxy:
        remarks.append("The key lives in memory: a restart changes the pin. Keep it with --new-key FILE.")
    if options.advertise is None and is_local(options.listen):
        remarks.append("Only this machine can reach it. For others: --listen 0.0.0.0:7447 --advertise NAME")
    elif options.advertise is None:
        remarks.append("If others reach this machine by another name than the one above, say so with --advertise.")
    return remarks


async def _run(switchboard: Switchboard, output: Output, remarks: list[str], serving: asyncio.Event) -> int:
    async with switchboard:
        output.data(switchboard.url, {"event": "listening", "url": switchboard.url, "pin": switchboard.pin})
        serving.set()
        for remark in remarks:
            output.talk(remark)
        await asyncio.Event().wait()
    return 0
