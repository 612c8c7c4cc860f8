"""`make soak` itself: its time, its seeds, its summary, and that what is broken is said."""

import itertools
from collections.abc import Iterator
from pathlib import Path

import pytest

from chaos.checker import Violation
from soak import memory
from soak.__main__ import main
from soak.legs import Order, Report, cut, decoders, large, rounds, seeds
from soak.memory import EVIDENCE, MIB, Sample, Watched


class Clock:
    """A clock that moves when it is told to."""

    def __init__(self) -> None:
        self.at = 0.0

    def __call__(self) -> float:
        return self.at


class Commands:
    """Takes the place of all commands: each takes so long, and the one of this number fails."""

    def __init__(self, clock: Clock, seconds: float, fails: int = -1) -> None:
        self.ran: list[tuple[tuple[str, ...], dict[str, str]]] = []
        self._clock, self._seconds, self._fails = clock, seconds, fails

    def __call__(self, *command: str, **environment: str) -> tuple[int, str]:
        self._clock.at += self._seconds
        self.ran.append((command, environment))
        if len(self.ran) - 1 == self._fails:
            return 101, "seed 17: delivered twice"
        return 0, "test result: ok. 12 passed; 0 failed"


def test_there_are_rounds_until_the_time_is_over_and_at_least_one() -> None:
    clock = Clock()

    def counted(minutes: float) -> Iterator[int]:
        for number in rounds(minutes, clock):
            yield number
            clock.at += 25

    assert list(counted(1.0)) == [0, 1, 2]
    assert list(counted(0.0)) == [0]


def test_seeds_follow_one_another_from_the_number_of_the_soak() -> None:
    clock = Clock()
    commands = Commands(clock, 30.0)
    report = seeds(Order(2.0, 3), run=commands, clock=clock)
    ranges = [environment["A2ALINKER_SEEDS"] for _, environment in commands.ran[1:]]
    assert ranges == ["3000000..3000500", "3000500..3001500", "3001500..3003500", "3003500..3007500"]
    assert report == Report(kept=True, lines=("seeds 3000000..3007500, and as many sieges",))


def test_seeds_can_be_named() -> None:
    clock = Clock()
    commands = Commands(clock, 1_000.0)
    assert seeds(Order(2.0, 3, "5..9"), run=commands, clock=clock).kept
    assert [environment for _, environment in commands.ran] == [{}, {"A2ALINKER_SEEDS": "5..9"}]


def test_a_command_that_fails_breaks_its_leg_and_its_words_are_shown() -> None:
    for leg in (seeds, decoders):
        clock = Clock()
        report = leg(Order(2.0, 1), run=Commands(clock, 30.0, fails=3), clock=clock)
        assert not report.kept
        assert report.lines[-1] == "seed 17: delivered twice"
    assert not cut(Order(1.0, 1), run=Commands(Clock(), 1.0, fails=0)).kept
    for one in range(2):
        assert not large(Order(1.0, 1), run=Commands(Clock(), 1.0, fails=one)).kept


def test_each_round_of_the_decoders_has_a_seed_of_its_own() -> None:
    clock = Clock()
    commands = Commands(clock, 10.0)
    report = decoders(Order(2.0, 4), run=commands, clock=clock)
    given = [environment["PROPTEST_RNG_SEED"] for _, environment in commands.ran]
    assert [number for number, _ in itertools.groupby(given)] == ["4000000", "4000001"]
    assert report.lines == ("2 rounds of 72 tests, those on random input with up to 20000 cases each",)


def test_the_summary_says_how_long_each_leg_ran_and_what_broke(capsys: pytest.CaptureFixture[str]) -> None:
    clock = Clock()

    def good(order: Order) -> Report:
        clock.at += 60 * order.minutes
        return Report(kept=True, lines=("all of it", "7 messages"))

    def bad(order: Order) -> Report:
        clock.at += 30
        raise AssertionError(f"seed {order.seed}")

    legs = {"bad": bad, "good": good}
    assert main(["--minutes", "2", "--seed", "9"], legs=legs, clock=clock) == 1
    said = capsys.readouterr().out.splitlines()
    assert said[-3:] == [
        "-- soak: 2 minutes a leg were asked for, seed 9; it ran for 2.5 minutes",
        "bad        BROKEN     0.5 min   the leg failed: seed 9",
        "good       kept       2.0 min   7 messages",
    ]
    assert main(["good"], legs=legs, clock=clock) == 0
    with pytest.raises(SystemExit):
        main(["better"], legs=legs, clock=clock)
    assert "no leg is called better" in capsys.readouterr().err


def watched(mib_an_hour: float, minutes: float) -> Watched:
    samples = [Sample(60.0 * minute, 40 * MIB, round((50 + mib_an_hour * minute / 60) * MIB)) for minute in range(round(minutes) + 1)]
    return Watched({"switchboard": samples})


def test_a_leak_is_found_in_half_an_hour_and_not_claimed_before() -> None:
    assert watched(0.0, 60).kept
    assert watched(3.0, 60).kept
    assert not watched(10.0, 60).kept
    assert not watched(10.0, EVIDENCE / 60).kept
    short = watched(10.0, 20)
    assert short.kept
    assert list(short.lines()) == [
        "switchboard: RSS 53.3 MiB, PSS 40.0 MiB; RSS grows by +10.00 MiB an hour, 95 % confidence interval +10.00 to +10.00",
        "0 messages, 0 MB, 0 violations; samples of 20.0 minutes",
        "A slope from less than 30 minutes proves nothing.",
    ]
    assert not any("proves nothing" in line for line in watched(0.0, 60).lines())


def test_what_goes_wrong_meanwhile_breaks_the_leg_whatever_the_slope() -> None:
    lost = watched(0.0, 60)
    lost.verdict.violations.append(Violation("lost", "s-1", "its sender was told 'nothing' last"))
    assert not lost.kept
    assert list(lost.lines())[-1].startswith("lost: s-1")
    slow = watched(0.0, 60)
    slow.was_steady = False
    assert not slow.kept


def test_a_short_load_is_watched_from_the_outside(tmp_path: Path) -> None:
    seen = memory.measure(tmp_path, 3.0, 1, rate=100.0)
    assert seen.kept
    assert seen.verdict.counts["sent"] == 300
    assert set(seen.samples) == {"switchboard", "sender", "receiver"}
    for samples in seen.samples.values():
        assert len(samples) > 3
        assert all(5 * MIB < sample.pss < sample.rss for sample in samples)
    assert "proves nothing" in list(seen.lines())[-1]
