"""`invite`: a member that may admit prints an invite, and stays until somebody has come."""

from __future__ import annotations

import argparse

from .agents import member, run
from .inviting import admit
from .output import Output


def main(options: argparse.Namespace, output: Output) -> int:
    """Admits others."""
    return run(_invite(options, output))


async def _invite(options: argparse.Namespace, output: Output) -> int:
    async with member(options) as agent:
        await admit(agent, options, output, renew=False)
    return 0
