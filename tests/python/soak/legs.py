"""The legs: what each runs, round after round until its time is over, and what it says in the end."""

from __future__ import annotations

import os
import re
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final, Protocol

from chaos.run import play
from chaos.world import Plan
from soak import memory

ROOT: Final = Path(__file__).parents[3]
SHOWN: Final = 60  # lines of a command that failed

FIRST_SEEDS: Final = 500  # of a round; the next ones are as many as take a minute
SEED_STRIDE: Final = 1_000_000  # seeds of two soaks with neighbouring numbers don't meet
ROUND: Final = 60.0  # seconds of a round of seeds

MESSAGES: Final = 100_000  # of a run with real processes
RATE: Final = 1_000.0  # messages a second
RUN_LIMIT: Final = 3_600.0  # seconds; far above what a run takes

# What decodes, and how many cases each of its properties gets in a round. Chosen: a round takes about a minute.
DECODERS: Final[Mapping[tuple[str, str], int]] = {
    ("--test", "wire"): 20_000,
    ("--lib", "message::"): 20_000,
    ("--lib", "section::"): 20_000,
    ("--lib", "card::"): 20_000,
    ("--lib", "file::"): 5_000,
    ("--lib", "ws::"): 500,
}
CUT: Final = 65  # seconds; longer than anything waits before it gives up a link
NARROW: Final = 50_000_000  # bytes of a body on a narrow link; that is 40 s at 10 Mbit/s, the rate of these tests
FILE: Final = 1 << 30  # bytes of a file between programs whose memory is watched


@dataclass(frozen=True, slots=True)
class Order:
    """What a leg is told."""

    minutes: float
    seed: int
    seeds: str = ""  # of simulated networks, instead of as many as there is time for


@dataclass(frozen=True, slots=True)
class Report:
    """How a leg went."""

    kept: bool
    lines: tuple[str, ...]


class Run(Protocol):
    """Runs a command with these variables, and returns its exit code and what it said."""

    def __call__(self, *command: str, **environment: str) -> tuple[int, str]: ...


Clock = Callable[[], float]


def run(*command: str, **environment: str) -> tuple[int, str]:
    """Runs a command at the root of the repository."""
    ended = subprocess.run(
        command, cwd=ROOT, env={**os.environ, **environment}, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, check=False
    )
    return ended.returncode, ended.stdout


def rounds(minutes: float, clock: Clock) -> Iterator[int]:
    """Counts rounds until the time is over; there is always one."""
    begin, number = clock(), 0
    while number == 0 or clock() < begin + 60 * minutes:
        yield number
        number += 1


def failed(what: str, said: str) -> Report:
    """Reports a command that failed, with its last words."""
    return Report(kept=False, lines=(what, *said.splitlines()[-SHOWN:]))


def seeds(order: Order, *, run: Run = run, clock: Clock = time.monotonic) -> Report:
    """Plays simulated networks."""
    simulation = ("cargo", "test", "--quiet", "--locked", "--release", "--test", "simulation")
    code, said = run(*simulation, "--no-run")
    if code:
        return failed("the simulation doesn't build", said)
    if order.seeds:
        code, said = run(*simulation, "--", "--nocapture", A2ALINKER_SEEDS=order.seeds)
        return failed(f"seeds {order.seeds}", said) if code else Report(kept=True, lines=(f"seeds {order.seeds}",))
    first = following = order.seed * SEED_STRIDE
    count = FIRST_SEEDS
    for _ in rounds(order.minutes, clock):
        begin, upto = clock(), following + count
        code, said = run(*simulation, "--", "--nocapture", "keep_the_guarantee", A2ALINKER_SEEDS=f"{following}..{upto}")
        if code:
            return failed(f"seeds {following}..{upto}", said)
        following = upto
        count = max(1, min(round(count * ROUND / max(clock() - begin, 0.1)), SEED_STRIDE // 10))
    return Report(kept=True, lines=(f"seeds {first}..{following}, and as many sieges",))


def chaos(order: Order, *, clock: Clock = time.monotonic, messages: int = MESSAGES) -> Report:
    """Plays runs of real processes."""
    lines: list[str] = []
    total: Counter[str] = Counter()
    for number in rounds(order.minutes, clock):
        seed = order.seed + number
        with tempfile.TemporaryDirectory(prefix="a2alinker-soak-") as folder:
            outcome = play(Path(folder), Plan(messages, seed, rate=RATE), limit=RUN_LIMIT, half_open_until_noticed=True)
        lines += [f"run {number + 1}, seed {seed}", *(f"  {line}" for line in outcome.lines())]
        total += outcome.verdict.counts
        if outcome.verdict.violations:
            return Report(kept=False, lines=(*lines, *(str(violation) for violation in outcome.verdict.violations[:SHOWN])))
    return Report(kept=True, lines=(*lines, f"{total['sent']} messages in all, {total['kills of receivers']} kills of receivers"))


def steady(order: Order) -> Report:
    """Watches memory under a steady load."""
    with tempfile.TemporaryDirectory(prefix="a2alinker-soak-") as folder:
        outcome = memory.measure(Path(folder), 60 * order.minutes, order.seed)
    return Report(kept=outcome.kept, lines=tuple(outcome.lines()))


def decoders(order: Order, *, run: Run = run, clock: Clock = time.monotonic) -> Report:
    """Feeds the decoders."""
    properties = 0
    for number in rounds(order.minutes, clock):
        properties = 0
        for (kind, name), cases in DECODERS.items():
            target, names = ((kind, name), ()) if kind == "--test" else ((kind,), (name,))
            code, said = run(
                *("cargo", "test", "--quiet", "--locked", "--release", *target, "--", *names),
                PROPTEST_CASES=str(cases),
                PROPTEST_RNG_SEED=str(order.seed * SEED_STRIDE + number),
                PROPTEST_MAX_SHRINK_ITERS="100000",
            )
            if code:
                return failed(f"{name}, seed {order.seed * SEED_STRIDE + number}", said)
            properties += sum(int(passed) for passed in re.findall(r"(\d+) passed", said))
    return Report(
        kept=True,
        lines=(f"{number + 1} rounds of {properties} tests, those on random input with up to {max(DECODERS.values())} cases each",),
    )


def cut(order: Order, *, run: Run = run) -> Report:
    """Cuts a link for a minute, in a network of its own."""
    del order
    code, said = run(sys.executable, "-m", "pytest", "--quiet", "-s", "tests/python/network", "-k", "cut", A2ALINKER_CUT=str(CUT))
    return failed("the cut link", said) if code else Report(kept=True, lines=tuple(line for line in said.splitlines() if "cut for" in line))


def large(order: Order, *, run: Run = run) -> Report:
    """Sends large bodies: past urgent messages on a narrow link, and between programs that hold little of them."""
    del order
    pytest = (sys.executable, "-m", "pytest", "--quiet", "-s")
    lines: list[str] = []
    for what, command, environment in (
        ("large bodies on a narrow link", ("tests/python/network", "-k", "large"), {"A2ALINKER_LARGE": str(NARROW)}),
        ("a large file between programs", ("tests/python/cli/test_bodies.py", "-k", "memory"), {"A2ALINKER_BODY": str(FILE)}),
    ):
        code, said = run(*pytest, *command, **environment)
        if code:
            return failed(what, said)
        lines += [line for line in said.splitlines() if "MB" in line or "MiB" in line]
    return Report(kept=True, lines=tuple(lines))


LEGS: Final[Mapping[str, Callable[[Order], Report]]] = {
    "seeds": seeds,
    "chaos": chaos,
    "memory": steady,
    "decoders": decoders,
    "cut": cut,
    "large": large,
}
