"""The checker finds what was planted: each rule is broken in a run that is right otherwise, and in no other way."""

import dataclasses
from pathlib import Path
from typing import Any

import pytest

from chaos.checker import SLACK, TOLERANCE, check
from chaos.journal import Declined, Handed, Journal, Killed, Record, Sent, Started, Stopped, Told, read


def sent(number: int, at: float, *, until: str = "delivered", ttl: float = 100.0) -> Sent:
    return Sent(at, f"s-{number}", "s", "r", "1", "normal", number, until, ttl, at + ttl, 10)


def handed(number: int, at: float, *, run: int = 1, repeated: bool = False) -> Handed:
    return Handed(at, f"s-{number}", "s", "r", run, "1", "normal", number, repeated, intact=True)


def told(number: int, at: float, state: str) -> Told:
    return Told(at, f"s-{number}", state)


def good() -> list[Record]:
    """A run in which all that may happen happens: message 2 died with run 1, 3 was handed over twice, 4 too late, 5 was refused."""
    return [
        Started(0.0, "r", 1),
        sent(0, 1.0),
        handed(0, 1.1),
        told(0, 1.2, "delivered"),
        sent(1, 2.0, until="done"),
        told(1, 2.1, "unknown"),
        told(1, 2.2, "delivered"),
        handed(1, 2.3),
        told(1, 2.4, "done"),
        sent(2, 3.0),
        told(2, 3.1, "delivered"),
        sent(3, 3.2, until="done"),
        handed(3, 3.3),
        Killed(3.4, "r", 1),
        Started(4.0, "r", 2),
        handed(3, 4.1, run=2, repeated=True),
        told(3, 4.2, "done"),
        sent(4, 5.0, ttl=1.0),
        told(4, 6.5, "expired"),
        sent(5, 7.0, until="done"),
        handed(5, 7.1, run=2),
        Declined(7.15, "s-5", "r", 2),
        told(5, 7.2, "refused"),
    ]


def broken(records: list[Record]) -> dict[str, int]:
    return dict(check(records).broken())


def without(records: list[Record], record: Record) -> list[Record]:
    assert record in records
    return [one for one in records if one != record]


def changed(records: list[Record], record: Record, **values: Any) -> list[Record]:
    assert record in records
    return [dataclasses.replace(one, **values) if one == record else one for one in records]


def test_a_run_that_keeps_the_guarantee_is_counted_and_nothing_is_found() -> None:
    verdict = check(good())
    assert verdict.violations == []
    assert verdict.counts == {
        "sent": 6,
        "bytes": 60,
        "in lane normal": 6,
        "delivered": 2,
        "done": 2,
        "expired": 1,
        "refused": 1,
        "handed over": 5,
        "marked repeats": 1,
        "delivered to a run that was killed": 1,
        "expired, and handed over all the same": 0,
        "runs": 2,
        "kills of receivers": 1,
        "paths": 2,
    }


def test_a_message_of_which_nobody_heard_is_lost() -> None:
    assert broken([*good(), sent(6, 8.0)]) == {"lost": 1}
    assert broken([*good(), sent(6, 8.0), told(6, 8.1, "unknown")]) == {"lost": 1}


def test_a_sender_that_was_never_told_is_found_even_if_the_message_arrived() -> None:
    assert broken(without(good(), told(0, 1.2, "delivered"))) == {"never told": 1}
    assert broken(without(good(), told(1, 2.4, "done"))) == {"never told": 1}


def test_a_receipt_without_a_hand_over_is_a_lie_unless_a_run_died_that_can_have_had_it() -> None:
    assert broken(without(good(), Killed(3.4, "r", 1))) == {"claimed delivered": 1}
    assert broken(changed(good(), Killed(3.4, "r", 1), at=2.9)) == {"claimed delivered": 1}
    assert broken(without(good(), handed(0, 1.1))) == {}, "run 1 may have had it in memory"
    assert broken([*good(), sent(6, 8.0), told(6, 8.1, "delivered")]) == {"claimed delivered": 1}


def test_a_message_may_wait_in_memory_for_an_earlier_one_until_it_is_too_late() -> None:
    waiting: list[Record] = [*good(), sent(6, 8.0), sent(7, 8.0, ttl=1.0), told(7, 8.2, "delivered"), told(6, 12.0, "delivered")]
    assert broken([*waiting, handed(6, 11.9, run=2)]) == {}
    assert broken([*waiting, handed(6, 8.1, run=2), handed(7, 8.1, run=2)]) == {}
    early: list[Record] = [*good(), sent(6, 8.0), handed(6, 8.1, run=2), told(6, 8.1, "delivered"), sent(7, 20.0, ttl=1.0)]
    more: list[Record] = [sent(8, 30.0), handed(8, 30.1, run=2), told(8, 30.2, "delivered")]
    assert broken([*early, told(7, 20.2, "delivered"), *more]) == {"claimed delivered": 1}


def test_done_before_anybody_had_it_is_a_lie_whoever_died() -> None:
    assert broken(changed(good(), told(1, 2.4, "done"), at=2.25)) == {"claimed done": 1}
    assert broken(without(good(), handed(1, 2.3))) == {"claimed done": 1}
    assert broken(changed(good(), told(0, 1.2, "delivered"), state="done")) == {"claimed done": 1}


def test_a_refusal_that_nobody_spoke_is_a_lie() -> None:
    assert broken(without(good(), Declined(7.15, "s-5", "r", 2))) == {"claimed refused": 1}


def test_a_message_that_a_run_gets_twice_is_found_even_if_it_is_marked() -> None:
    assert broken([*good(), handed(5, 7.3, run=2)]) == {"delivered twice": 1}
    assert broken([*good(), handed(5, 7.3, run=2, repeated=True)]) == {"delivered twice": 1}


def test_a_repeat_to_another_run_is_found_if_it_is_not_marked() -> None:
    assert broken(changed(good(), handed(3, 4.1, run=2, repeated=True), repeated=False)) == {"delivered twice": 1}


def test_disorder_is_found_within_a_run_and_path() -> None:
    assert broken(changed(good(), handed(0, 1.1), at=2.35)) == {"out of order": 1}
    other = dataclasses.replace(handed(0, 2.35), thread="2")
    there = dataclasses.replace(sent(0, 1.0), thread="2")
    assert broken([*good()[:1], there, other, *good()[3:]]) == {}, "threads don't wait for one another"


def test_what_was_changed_or_redirected_is_found() -> None:
    for values, rule in (({"intact": False}, "changed"), ({"lane": "bulk"}, "redirected"), ({"receiver": "q"}, "redirected")):
        assert broken(changed(good(), handed(0, 1.1), **values)) == {rule: 1}


def test_what_nobody_sent_is_found() -> None:
    assert broken([*good(), dataclasses.replace(handed(0, 9.0), uid="x-1")]) == {"made up": 1}
    assert broken([*good(), Told(9.0, "x-1", "delivered")]) == {"made up": 1}


def test_a_receipt_after_the_last_word_is_found() -> None:
    assert broken([*good(), told(0, 1.3, "delivered")]) == {"receipt went backwards": 1}
    assert broken([*good(), told(5, 7.3, "done")]) == {"receipt went backwards": 1}


def test_expiry_before_its_time_and_words_after_it_are_found() -> None:
    assert broken(changed(good(), sent(4, 5.0, ttl=1.0), ttl=10.0, expires=15.0)) == {"expired early": 1}
    assert broken(changed(good(), told(4, 6.5, "expired"), at=6.0 + SLACK + 0.1)) == {"told too late": 1}


def test_a_message_that_was_given_up_although_there_was_time_is_found() -> None:
    assert broken([*good(), sent(6, 8.0), told(6, 8.1, "failed")]) == {"given up": 1}
    assert broken([*good(), sent(6, 8.0), told(6, 108.1, "expired")]) == {"given up": 1}


def test_a_hand_over_after_expiry_is_found_unless_the_receiver_was_stopped_meanwhile() -> None:
    late: list[Record] = [*good(), handed(4, 6.0 + TOLERANCE + 0.5, run=2)]
    late = [one for one in late if not isinstance(one, Handed | Sent | Told | Declined) or one.uid == "s-4"]
    assert broken(late) == {"delivered too late": 1}
    assert broken([*late, Stopped(5.5, "r", 3.0)]) == {}
    assert broken([*late, Stopped(5.5, "q", 3.0)]) == {"delivered too late": 1}


def test_journals_are_read_as_they_were_written_without_a_line_that_death_cut_off(tmp_path: Path) -> None:
    journal = Journal(tmp_path / "a")
    for record in good():
        journal.write(record)
    journal.close()
    path = tmp_path / "a"
    assert list(read([path])) == good()
    path.write_bytes(path.read_bytes()[:-3])
    assert list(read([path])) == good()[:-1]
    path.write_bytes(b'["handed",1\n')
    with pytest.raises(ValueError, match="delimiter"):
        list(read([path]))
