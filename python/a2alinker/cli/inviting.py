"""Handing out invites: `invite`, and `host` as it serves."""

from __future__ import annotations

import argparse
import asyncio
from typing import Final

from ..agent import Agent
from ..invite import Invite, Rights, is_local
from . import exits
from .output import Output

REPEATS: Final = 3  # codes burnt by wrong words that are replaced; chosen: people mistype, and one guess in 2^31 hits


async def admit(agent: Agent, options: argparse.Namespace, output: Output, *, renew: bool) -> None:
    """Prints invites until as many have joined as `options.uses` says.

    A ticket serves all of them; codes are for one each, so they come one after the other. `renew`: one that expires is replaced too.

    Raises:
        Stop: it expired before.
    """
    left: int | None = options.uses
    while left != 0:
        uses = left if options.ticket else 1
        invite = await agent.invite(kind="ticket", uses=uses, ttl=options.ttl, rights=_rights(options), local=is_local(agent.switchboard))
        _print(agent, invite, output)
        try:
            async with asyncio.timeout(options.ttl):
                while left != 0:
                    await invite.joined()
                    left = None if left is None else left - 1
                    if uses == 1:
                        break
        except TimeoutError:
            if not renew:
                raise exits.Stop(f"nobody joined within {options.ttl:g} s", exits.INVITE, "invite_expired") from None
            output.talk("The invite has expired. The next one:")


def _rights(options: argparse.Namespace) -> Rights:
    return Rights(options.may_offer, admit=options.may_admit, originate=not options.may_not_call)


def _print(agent: Agent, invite: Invite, output: Output) -> None:
    address = agent.switchboard
    output.data(str(invite), {"event": "invite", "kind": "ticket", "invite": str(invite), "switchboard": address, "ttl": invite.ttl})
    whom = "one agent" if invite.uses == 1 else f"{invite.uses or 'any number of'} agents"
    output.talk(f"That admits {whom}, for {invite.ttl:g} s. There:")
    output.talk("  a2alinker join NAME    and paste it when asked")
    if is_local(address):
        output.talk("From this machine only: the switchboard listens on loopback. For others: --switchboard, or --listen and --advertise.")
