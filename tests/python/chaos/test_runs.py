"""Thousands of messages while everything goes wrong: none lost, none twice unmarked, none out of order, no receipt that isn't true.

`make soak` plays the same for longer, with 100,000 messages a run.
"""

# ruff: noqa: T201 - the counts are part of the result

import dataclasses
import os
from collections import Counter
from collections.abc import Callable

import pytest

from chaos.checker import check
from chaos.journal import Handed, Record, Sent, Told, read
from chaos.run import Outcome, play
from chaos.world import Plan

SEED = int(os.environ.get("A2ALINKER_SEED", "1"))
# A few thousand messages within some twenty seconds of storm: long enough for several kills of the switchboard and the receivers.
PLAN = Plan(messages=4_000, seed=SEED, rate=250.0, ttl=100.0)
LIMIT = 100.0  # seconds; a busy machine, and a link on which nothing is heard, take some of them


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> tuple[Outcome, list[Record]]:
    folder = tmp_path_factory.mktemp("run")
    outcome = play(folder, PLAN, limit=LIMIT, half_open_until_noticed=False)
    return outcome, list(read(sorted(folder.glob("*.journal"))))


def test_nothing_is_lost_or_repeated_or_out_of_order_while_everything_goes_wrong(run: tuple[Outcome, list[Record]]) -> None:
    outcome, _ = run
    print(*outcome.lines(), sep="\n")
    assert outcome.verdict.violations == []
    counts, troubles = outcome.verdict.counts, outcome.troubles
    assert counts["sent"] == PLAN.messages
    assert counts["delivered"] + counts["done"] + counts["refused"] + counts["expired"] == PLAN.messages
    assert counts["delivered to a run that was killed"] < PLAN.messages / 10
    assert troubles["kill switchboard"] > 1
    assert troubles["kill receiver"] > 0
    assert sum(troubles.values()) > 10


def test_what_is_planted_in_the_journals_of_this_run_is_found(run: tuple[Outcome, list[Record]]) -> None:
    """The negative control: were the product to do this, the test above would fail."""
    _, records = run
    assert check(records).violations == []
    end = max(record.at for record in records)
    handed = sorted((record for record in records if isinstance(record, Handed)), key=lambda record: record.at)
    times = Counter(record.uid for record in handed)
    outcome = {record.uid: record.state for record in records if isinstance(record, Told) and record.state != "unknown"}
    one = next(record for record in handed if times[record.uid] == 1 and outcome.get(record.uid) == "delivered")
    done = next(record for record in handed if times[record.uid] == 1 and outcome.get(record.uid) == "done")

    def rules(*added: Record, without: Callable[[Record], bool] = lambda _: False) -> dict[str, int]:
        return dict(check([*(record for record in records if not without(record)), *added]).broken())

    again = dataclasses.replace(one, at=end + 1)
    assert rules(again)["delivered twice"] == 1
    assert rules(dataclasses.replace(again, run=1_000, repeated=False)) == {"delivered twice": 1}
    assert rules(dataclasses.replace(again, run=1_000, repeated=True)) == {}

    def about_one(record: Record) -> bool:
        return isinstance(record, Told | Handed) and record.uid == one.uid

    assert rules(without=about_one) == {"lost": 1}
    assert rules(without=lambda record: about_one(record) and isinstance(record, Told)) == {"never told": 1}

    sent = next(record for record in records if isinstance(record, Sent))
    lie = dataclasses.replace(sent, uid="planted", until="delivered", seq=1_000_000, at=end + 1, expires=end + 1 + sent.ttl)
    assert rules(lie, Told(end + 2, "planted", "delivered")) == {"claimed delivered": 1}
    # Its receipt may have said delivered on the way to done, and then both were claimed.
    assert rules(without=lambda record: record == done) in ({"claimed done": 1}, {"claimed delivered": 1, "claimed done": 1})

    def path(record: Handed) -> tuple[object, ...]:
        return record.sender, record.receiver, record.run, record.thread, record.lane

    first, second = next(
        (a, b) for a in handed for b in handed if path(a) == path(b) and a.seq < b.seq and outcome.get(a.uid) == "delivered"
    )
    late = dataclasses.replace(first, at=second.at + 1e-6)
    assert rules(late, without=lambda record: record == first)["out of order"] == 1
