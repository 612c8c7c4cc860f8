"""The memory of a switchboard, a sender and a receiver under a steady load of mixed sizes, sample by sample.

The slope is that of the resident set: the proportional one moves whenever another process comes or goes that shares a library.
"""

from __future__ import annotations

import os
import time
from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from chaos.checker import Verdict, check
from chaos.journal import now
from chaos.world import Plan, World, world
from soak.slope import Slope, slope

RATE: Final = 200.0  # messages a second; what any machine keeps up with, so that the load is steady
LARGE: Final = 0.02  # share of bodies of 100 kB and more
SAMPLES: Final = 600  # in all
SHORTEST: Final = 0.1  # seconds between two of them; each costs a walk over the memory of three processes
WARM_UP: Final = 0.2  # share of the time that isn't looked at, as pools and caches fill
WARM_UP_MAX: Final = 300.0  # seconds of it at most
EVIDENCE: Final = 1_800.0  # seconds of samples below which a slope proves nothing
LEAK: Final = 4.0  # MiB an hour, beyond which even the lower end of the interval means that something leaks: six bytes a message
LATE: Final = 60.0  # seconds by which the load may end too late, and still be steady
FINISHING: Final = 120.0  # seconds until the last receipt
MIB: Final = 1 << 20
PAGE: Final = os.sysconf("SC_PAGE_SIZE")


@dataclass(frozen=True, slots=True)
class Sample:
    """Bytes of a process at a moment: proportional set size, and resident set size."""

    at: float
    pss: int
    rss: int


@dataclass(slots=True)
class Watched:
    """What was seen of all processes."""

    samples: dict[str, list[Sample]] = field(default_factory=lambda: defaultdict(list))
    verdict: Verdict = field(default_factory=Verdict)
    was_steady: bool = True

    @property
    def span(self) -> float:
        """Seconds from the first sample that counts to the last one."""
        return min((samples[-1].at - samples[0].at for samples in self.samples.values() if samples), default=0.0)

    def slopes(self) -> dict[str, Slope | None]:
        """Returns how fast each process grows, in MiB an hour of its resident set."""
        return {who: _slope(samples) for who, samples in self.samples.items()}

    @property
    def kept(self) -> bool:
        """Whether nothing is known to leak, and everything arrived."""
        leaks = [fitted for fitted in self.slopes().values() if fitted is not None and fitted.low > LEAK]
        return self.was_steady and not self.verdict.violations and not (leaks and self.span >= EVIDENCE)

    def lines(self) -> Iterator[str]:
        """Tells it to a person."""
        for who, fitted in self.slopes().items():
            last = self.samples[who][-1]
            grows = "what can't be said of so few samples"
            if fitted is not None:
                grows = f"{fitted.value:+.2f} MiB an hour, 95 % confidence interval {fitted.low:+.2f} to {fitted.high:+.2f}"
            yield f"{who}: RSS {last.rss / MIB:.1f} MiB, PSS {last.pss / MIB:.1f} MiB; RSS grows by {grows}"
        counts = self.verdict.counts
        yield f"{counts['sent']} messages, {counts['bytes'] / 1e6:.0f} MB, {len(self.verdict.violations)} violations; samples of {self.span / 60:.1f} minutes"
        if self.span < EVIDENCE:
            yield f"A slope from less than {EVIDENCE / 60:.0f} minutes proves nothing."
        if not self.was_steady:
            yield "The load was not steady: this machine doesn't keep up with it."
        yield from (str(violation) for violation in self.verdict.violations[:20])


def _slope(samples: list[Sample]) -> Slope | None:
    fitted = slope([sample.at for sample in samples], [sample.rss / MIB for sample in samples])
    return None if fitted is None else fitted * 3_600


def measure(folder: Path, seconds: float, seed: int, *, rate: float = RATE) -> Watched:
    """Runs a load for so long, and looks at the processes meanwhile."""
    plan = Plan(max(1, round(rate * seconds)), seed, senders=1, receivers=1, rate=rate, large=LARGE)
    watched = Watched()
    with world(folder, plan) as run:
        begin = now()
        run.begin()
        warm = begin + min(WARM_UP * seconds, WARM_UP_MAX)
        while not run.have_sent():
            if now() > begin + seconds + LATE:
                watched.was_steady = False
                break
            if now() >= warm:
                for who, pid in _processes(run).items():
                    watched.samples[who].append(look(pid))
            time.sleep(max(SHORTEST, seconds / SAMPLES))
        deadline = now() + FINISHING
        while watched.was_steady and not run.have_finished():
            assert now() < deadline, "the last receipts are missing"
            time.sleep(0.1)
        if watched.was_steady:
            watched.verdict = check(run.records())
    return watched


def _processes(run: World) -> dict[str, int]:
    return {
        "switchboard": run.relay.process.process.pid,
        "sender": run.senders[0].running.process.pid,
        "receiver": run.receivers[0].running.process.pid,
    }


def look(pid: int) -> Sample:
    """Takes a sample."""
    rollup = Path(f"/proc/{pid}/smaps_rollup").read_text()
    pss = next(line for line in rollup.splitlines() if line.startswith("Pss:"))
    resident = Path(f"/proc/{pid}/statm").read_text().split()[1]
    return Sample(now(), int(pss.split()[1]) << 10, int(resident) * PAGE)
