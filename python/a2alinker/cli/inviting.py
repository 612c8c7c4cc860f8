"""Handing out invites: `invite`, and `host` as it serves."""

from __future__ import annotations

import argparse
from typing import Final, Literal

from ..agent import Agent
from ..exceptions import InviteBurnt, InviteExpired
from ..invite import Invite, Rights, is_local
from .output import Output

REPEATS: Final = 3  # codes burnt by wrong words that are replaced; chosen: people mistype, and one guess in 2^31 hits


async def admit(agent: Agent, options: argparse.Namespace, output: Output, *, renew: bool) -> None:
    """Prints invites until as many have joined as `options.uses` says.

    A ticket serves all of them; codes are for one each, so they come one after the other. `renew`: one that expires is replaced, and one that
    is burnt is a few times.

    Raises:
        InviteExpired, InviteBurnt: it came to nothing, and isn't replaced.
    """
    left: int | None = options.uses
    burnt, is_first = 0, True
    while left != 0:
        uses = left if options.ticket else 1
        kind: Literal["code", "ticket"] = "ticket" if options.ticket else "code"
        invite = await agent.invite(kind=kind, uses=uses, ttl=options.ttl, rights=_rights(options), local=is_local(agent.switchboard))
        _print(invite, output, is_first=is_first)
        is_first = False
        came = 0
        try:
            while came != uses:
                await invite.joined()
                came += 1
        except (InviteExpired, InviteBurnt) as problem:
            burnt += isinstance(problem, InviteBurnt)
            if not renew:
                raise
            if burnt > REPEATS:
                output.event({"event": problem.code}, f"{_sentence(problem)} That was the last one: too many were burnt.")
                return
            output.event({"event": problem.code}, f"{_sentence(problem)} The next one:")
        left = None if left is None else left - came


def _sentence(problem: Exception) -> str:
    return f"{str(problem).removesuffix('.')}."


def _rights(options: argparse.Namespace) -> Rights:
    return Rights(options.may_offer, admit=options.may_admit, originate=not options.may_not_call)


def _print(invite: Invite, output: Output, *, is_first: bool) -> None:
    address = invite.switchboard
    record = {"event": "invite", "kind": invite.kind, "invite": str(invite), "switchboard": address, "uses": invite.uses, "ttl": invite.ttl}
    output.data(str(invite), record)
    if not is_first:
        return
    whom = "one agent" if invite.uses == 1 else f"{invite.uses or 'any number of'} agents"
    output.talk(f"That admits {whom}, for {invite.ttl:g} s. There, and give it when asked:")
    output.talk("  a2alinker join NAME" + (f" --switchboard '{address}'" if invite.kind == "code" else ""))
    if is_local(address):
        output.talk("From this machine only: the switchboard listens on loopback. For others: --switchboard, or --listen and --advertise.")
