"""The order in which a program gets what waits for it: the rule of every queue on the way, once more in its inbox.

Urgent messages come first, but while others wait they are at most every second one, unless the others went before; after a tenth of a second that
is forgiven, so that a slow reader gets what is urgent at once. High, normal and bulk take turns, 8, 4 and 2 at a time (PROTOCOL.md section 4, in
messages instead of bytes: a program takes one at a time, whatever its size).
"""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable
from typing import Any, Final

Event = tuple[Any, ...]

WINDOW: Final = 0.1  # seconds; from the protocol
SAVED_UP: Final = 16  # urgent messages that may go in a row while others wait; chosen: a burst, and few enough that nobody notices
WEIGHTS: Final = (8, 4, 2)  # of high, normal and bulk; from the protocol


class Lanes:
    """Events by lane. Within a lane they keep their order."""

    __slots__ = ("_balance", "_clock", "_left", "_rest", "_turn", "_urgent", "_window")

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._urgent: deque[Event] = deque()
        self._rest: tuple[deque[Event], ...] = (deque(), deque(), deque())
        self._turn = 0  # whose turn it is in `_rest`
        self._left = WEIGHTS[0]  # how many it may still take
        self._balance = 0  # messages that the others are ahead; below zero, what they are owed
        self._window = 0.0

    def __len__(self) -> int:
        return len(self._urgent) + sum(map(len, self._rest))

    def put(self, lane: int, event: Event) -> None:
        """Takes an event of a lane from 1, urgent, to 4, bulk."""
        (self._rest[lane - 2] if lane > 1 else self._urgent).append(event)

    def take(self) -> Event | None:
        """Returns the event whose turn it is."""
        high, normal, bulk = self._rest
        if self._urgent:
            if not (normal or high or bulk):
                return self._urgent.popleft()
            if self._urgent_may_go():
                self._balance -= 1
                return self._urgent.popleft()
        if self._balance < SAVED_UP:
            self._balance += 1
        if not (high or bulk):
            return normal.popleft() if normal else None
        return self._take_turns()

    def remove(self, wanted: Callable[[Event], bool]) -> bool:
        """Takes out the event that is wanted, and returns whether it was there."""
        for queue in (self._urgent, *self._rest):
            if (found := next(filter(wanted, queue), None)) is not None:
                queue.remove(found)
                return True
        return False

    def _urgent_may_go(self) -> bool:
        if self._balance >= 0:
            return True
        now = self._clock()
        if now - self._window < WINDOW:
            return False
        self._window = now
        self._balance = 0
        return True

    def _take_turns(self) -> Event:
        while True:
            queue = self._rest[self._turn]
            if queue and self._left > 0:
                self._left -= 1
                return queue.popleft()
            self._turn = (self._turn + 1) % len(WEIGHTS)
            self._left = WEIGHTS[self._turn]
