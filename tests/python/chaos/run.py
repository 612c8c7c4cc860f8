"""One run from its beginning to its verdict: what the tests and `make soak` play."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from chaos.checker import Verdict, check
from chaos.journal import now
from chaos.storm import Storm
from chaos.world import Plan, world

DRAINING: Final = 30.0  # seconds until all that receivers hold is in their programs' hands
# In the end a message is in a receiver's memory and its program just hasn't taken it: time will tell.
UNFINISHED: Final = frozenset({"claimed delivered"})


@dataclass(frozen=True, slots=True)
class Outcome:
    """How a run went."""

    seconds: float
    verdict: Verdict
    troubles: Counter[str]

    def lines(self) -> Iterator[str]:
        """Tells it to a person."""
        counts, broken = self.verdict.counts, self.verdict.broken()
        repeats = broken["delivered twice"]
        yield (
            f"{counts['sent']} messages, {counts['bytes'] / 1e6:.0f} MB, in {self.seconds:.0f} s: {broken['lost'] + broken['never told']} lost, "
            f"{repeats} unmarked repeats, {broken['out of order']} out of order, {len(self.verdict.violations)} violations"
        )
        states = ("delivered", "done", "refused", "expired", "failed", "never told")
        yield "receipts: " + ", ".join(f"{counts[state]} {state}" for state in states if counts[state])
        yield (
            f"handed over {counts['handed over']} times to {counts['runs']} runs on {counts['paths']} paths; {counts['marked repeats']} marked repeats; "
            f"{counts['delivered to a run that was killed']} died in the memory of a run that was killed, "
            f"{counts['delivered, and too late when its turn came']} arrived and were too late when their turn came"
        )
        yield "lanes: " + ", ".join(f"{counts[f'in lane {lane}']} {lane}" for lane in ("urgent", "high", "normal", "bulk"))
        yield "troubles: " + ", ".join(f"{count} {kind}" for kind, count in sorted(self.troubles.items()) if count)


def play(folder: Path, plan: Plan, *, limit: float, half_open_until_noticed: bool) -> Outcome:
    """Plays a run. It ends when all senders know what became of all their messages, which is to be within `limit` seconds."""
    with world(folder, plan) as run:
        begin = now()
        storm = Storm(run, plan.seed, half_open_until_noticed=half_open_until_noticed)
        run.begin()
        calm = storm.blow(run.have_finished, limit)
        deadline = now() + DRAINING
        while (verdict := check(run.records())).broken().keys() & UNFINISHED and now() < deadline:
            run.tend()
            time.sleep(0.2)
        return Outcome(now() - begin, verdict, calm.troubles)
