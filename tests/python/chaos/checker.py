"""Holds the journals of a run against the guarantee of ARCHITECTURE.md. It knows nothing of processes and files.

    A direct message is handed to one run of the receiving process at most once, or its sender learns by its time to live that it is
    unconfirmed. `delivered` means in the receiver's memory; only `done` means handled.

What is in a receiver's memory and not yet in its program's hands dies with it, after it was truly delivered. From outside that
can't be told from a lie, so such messages are counted apart, and allowed only where a run was killed that can have had them. The same holds
for a message that arrived in time, waited for an earlier one of its thread, and was too late when its turn came.
"""

from __future__ import annotations

from bisect import bisect_left
from collections import Counter, defaultdict
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Final

from chaos.journal import Declined, Handed, Killed, Record, Sent, Started, Stopped, Told

TOLERANCE: Final = 2.0  # seconds by which clocks, and journals on a busy machine, may be late
SLACK: Final = 15.0  # seconds after its expiry until a sender must have been told; a busy machine needs some of them
PATIENT: Final = 60.0  # seconds of life from which on a message has to arrive, as nothing that goes wrong lasts that long

FINAL: Final = frozenset({"done", "refused", "expired", "failed"})
ARRIVED: Final = frozenset({"delivered", "done"})


@dataclass(frozen=True, slots=True)
class Violation:
    """What was promised and not kept."""

    rule: str
    uid: str
    about: str

    def __str__(self) -> str:
        return f"{self.rule}: {self.uid}: {self.about}"


@dataclass(slots=True)
class Verdict:
    """What was not kept, and how often everything happened."""

    violations: list[Violation] = field(default_factory=list)
    counts: Counter[str] = field(default_factory=Counter)

    def broken(self) -> Counter[str]:
        """Returns how often each rule was broken."""
        return Counter(violation.rule for violation in self.violations)

    def add(self, rule: str, uid: str, about: str) -> None:
        """Notes a violation."""
        self.violations.append(Violation(rule, uid, about))


@dataclass(slots=True)
class _Run:
    started: float
    killed: float | None = None


@dataclass(slots=True)
class _Message:
    sent: Sent
    handed: list[Handed] = field(default_factory=list)
    told: list[Told] = field(default_factory=list)
    declined: list[Declined] = field(default_factory=list)

    def is_final(self, state: str) -> bool:
        return state in FINAL or (state == "delivered" and self.sent.until == "delivered")

    @property
    def outcome(self) -> Told | None:
        return next((told for told in self.told if self.is_final(told.state)), None)


def check(records: Iterable[Record], *, patient: float = PATIENT) -> Verdict:
    """Checks a run that is over: its senders live, and have stopped to wait."""
    return _History(sorted(records, key=lambda record: record.at)).check(patient)


def _path(sent: Sent) -> tuple[str, ...]:
    return sent.sender, sent.receiver, sent.thread, sent.lane


class _History:
    def __init__(self, records: list[Record]) -> None:
        self._verdict = Verdict()
        self._end = records[-1].at if records else 0.0
        self._messages: dict[str, _Message] = {}
        self._runs: dict[str, dict[int, _Run]] = defaultdict(dict)
        self._stops: dict[str, list[Stopped]] = defaultdict(list)
        self._paths: dict[tuple[str, ...], list[_Message]] = defaultdict(list)
        for record in records:
            if isinstance(record, Sent):
                self._messages[record.uid] = _Message(record)
                self._paths[_path(record)].append(self._messages[record.uid])
        for record in records:
            match record:
                case Sent():
                    pass
                case Started():
                    self._runs[record.receiver][record.run] = _Run(record.at)
                case Killed():
                    self._runs[record.receiver][record.run].killed = record.at
                case Stopped():
                    self._stops[record.receiver].append(record)
                case Told() | Handed() | Declined():
                    if (message := self._messages.get(record.uid)) is None:
                        self._verdict.add("made up", record.uid, f"nobody sent it: {record}")
                    elif isinstance(record, Told):
                        message.told.append(record)
                    elif isinstance(record, Handed):
                        message.handed.append(record)
                    else:
                        message.declined.append(record)

    def check(self, patient: float) -> Verdict:
        for message in self._messages.values():
            self._count(message)
            self._check_content(message)
            self._check_repeats(message)
            self._check_time(message)
            self._check_receipts(message)
            self._check_end(message, patient)
        self._check_order()
        counts = self._verdict.counts
        counts["runs"] = sum(len(runs) for runs in self._runs.values())
        counts["kills of receivers"] = sum(run.killed is not None for runs in self._runs.values() for run in runs.values())
        return self._verdict

    def _count(self, message: _Message) -> None:
        counts = self._verdict.counts
        outcome = message.outcome
        counts["sent"] += 1
        counts["bytes"] += message.sent.size
        counts[f"in lane {message.sent.lane}"] += 1
        counts[outcome.state if outcome else "never told"] += 1
        counts["handed over"] += len(message.handed)
        counts["marked repeats"] += sum(again.repeated for again in message.handed[1:])

    def _check_content(self, message: _Message) -> None:
        """From whom, to whom, on which path and with which body it was sent."""
        sent = message.sent
        wanted = (sent.sender, sent.receiver, sent.thread, sent.lane, sent.seq)
        for handed in message.handed:
            got = (handed.sender, handed.receiver, handed.thread, handed.lane, handed.seq)
            if got != wanted:
                self._verdict.add("redirected", sent.uid, f"sent as {wanted}, handed over as {got}")
            if not handed.intact:
                self._verdict.add("changed", sent.uid, "it has another body than was sent")

    def _check_repeats(self, message: _Message) -> None:
        """At most once to a run; to a later run only marked."""
        runs: set[int] = set()
        for handed in message.handed:
            about = f"run {handed.run} of {handed.receiver} got it at {handed.at:.3f}"
            if handed.run in runs:
                self._verdict.add("delivered twice", message.sent.uid, f"{about}, again")
            elif runs and not handed.repeated:
                self._verdict.add("delivered twice", message.sent.uid, f"{about}, unmarked, after run {max(runs)}")
            runs.add(handed.run)

    def _check_time(self, message: _Message) -> None:
        """Not after its time, except what a process held that was stopped."""
        sent = message.sent
        for handed in message.handed:
            late = handed.at - sent.expires
            stopped = sum(stop.seconds for stop in self._stops[handed.receiver] if sent.at - stop.seconds < stop.at < handed.at)
            if late > TOLERANCE + stopped:
                self._verdict.add("delivered too late", sent.uid, f"{late:.1f} s after its expiry")

    def _check_receipts(self, message: _Message) -> None:
        """Each receipt says what is true, and none follows a final one."""
        uid, sent = message.sent.uid, message.sent
        is_over: str | None = None
        for told in message.told:
            if is_over is not None:
                self._verdict.add("receipt went backwards", uid, f"{told.state} at {told.at:.3f}, after {is_over}")
            if message.is_final(told.state):
                is_over = told.state
            match told.state:
                case "done" if not any(handed.at <= told.at for handed in message.handed):
                    self._verdict.add("claimed done", uid, f"nobody had it by {told.at:.3f}")
                case "done" if sent.until != "done":
                    self._verdict.add("claimed done", uid, "nobody was asked to say so")
                case "delivered" if not message.handed:
                    if self._died_with_a_receiver(sent, told):
                        self._verdict.counts["delivered to a run that was killed"] += 1
                    elif self._waited_in_vain(sent, told):
                        self._verdict.counts["delivered, and too late when its turn came"] += 1
                    else:
                        self._verdict.add("claimed delivered", uid, f"by {told.at:.3f}, and no run ever had it")
                case "refused" if not any(declined.at <= told.at for declined in message.declined):
                    self._verdict.add("claimed refused", uid, f"nobody had refused it by {told.at:.3f}")
                case "expired" if told.at + TOLERANCE < sent.expires:
                    self._verdict.add("expired early", uid, f"{sent.expires - told.at:.1f} s before its time")

    def _died_with_a_receiver(self, sent: Sent, told: Told) -> bool:
        """A run that was there between sending and receipt was killed."""
        runs = self._runs[sent.receiver].values()
        return any(run.killed is not None and run.killed >= sent.at and run.started <= told.at for run in runs)

    def _waited_in_vain(self, sent: Sent, told: Told) -> bool:
        """An earlier message of its path was under way when it arrived, and came so late that this one's time was over."""

        def stood_before(earlier: _Message) -> bool:
            if earlier.handed:
                return earlier.handed[-1].at > max(told.at, sent.expires) - TOLERANCE
            settled = earlier.outcome.at if earlier.outcome else self._end
            return min(settled, earlier.sent.expires) > told.at - TOLERANCE

        return sent.expires < self._end and any(
            stood_before(earlier) for earlier in self._paths[_path(sent)] if earlier.sent.seq < sent.seq
        )

    def _check_end(self, message: _Message, patient: float) -> None:
        """Its sender was told, in time; and it wasn't given up while there was time."""
        sent, outcome = message.sent, message.outcome
        if outcome is None:
            last = message.told[-1].state if message.told else "nothing"
            where = f"handed over {len(message.handed)} times" if message.handed else "never handed over"
            self._verdict.add(
                "lost" if not message.handed else "never told", sent.uid, f"its sender was told {last!r} last; it was {where}"
            )
            return
        if outcome.at > sent.expires + SLACK:
            self._verdict.add("told too late", sent.uid, f"{outcome.at - sent.expires:.1f} s after its expiry")
        given_up = outcome.state in {"expired", "failed"}
        if given_up and (sent.ttl >= patient or outcome.state == "failed"):
            self._verdict.add("given up", sent.uid, f"{outcome.state} after {outcome.at - sent.at:.1f} of {sent.ttl:.0f} s")
        if outcome.state in ARRIVED or given_up:
            self._verdict.counts["expired, and handed over all the same"] += bool(given_up and message.handed)

    def _check_order(self) -> None:
        """In the order of sending, for each sender, thread, lane and run of the receiver."""
        paths: dict[tuple[str, str, int, str, str], list[Handed]] = defaultdict(list)
        for message in self._messages.values():
            for handed in message.handed:
                paths[handed.sender, handed.receiver, handed.run, handed.thread, handed.lane].append(handed)
        for path, on_path in paths.items():
            on_path.sort(key=lambda one: one.at)
            numbers: list[int] = []
            for one in on_path:
                if numbers and one.seq < numbers[-1]:
                    earlier = numbers[bisect_left(numbers, one.seq)]
                    self._verdict.add("out of order", one.uid, f"number {one.seq} of {path} came after {earlier}")
                else:
                    numbers.append(one.seq)
        self._verdict.counts["paths"] = len(paths)
