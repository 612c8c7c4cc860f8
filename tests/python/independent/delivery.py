"""Section 7: the transport sequence of one lane from one run: numbers, receipts, order within threads, credit.

It survives sessions and links: what isn't confirmed is built into frames again, under the same numbers.
"""

from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass, field

from independent.codec import Malformed, Reader
from independent.message import FREE, WANTS_DONE, Kind, Message
from independent.section import CHUNK, Chunk, Credit, Messages, Range, Receipt, Section

CLASSES = 4
GRANTED = 3  # of these; parts of large bodies begin with the initial credit
FIRST_GRANT = (32, 65_536)  # messages and bytes that may be under way before the peer said anything
RANGES = 20  # of one kind in a receipt: a control frame has at most 1,020 bytes
WINDOW = (256, 1 << 20)  # messages and bytes that this side takes in a lane and class beyond what is handled


@dataclass
class SendingLane:
    """What this side sent and hasn't had confirmed, and what waits for credit."""

    credit: list[tuple[int, int]] = field(default_factory=lambda: [FIRST_GRANT] * CLASSES)
    _spent: list[tuple[int, int]] = field(default_factory=lambda: [(0, 0)] * CLASSES)
    _waiting: deque[Message] = field(default_factory=deque)
    _under_way: dict[int, bytes] = field(default_factory=dict)
    _unsealed: deque[int] = field(default_factory=deque)
    _next: int = 0
    done: set[int] = field(default_factory=set)
    refused: dict[int, tuple[int, str]] = field(default_factory=dict)
    numbers: dict[bytes, int] = field(default_factory=dict)  # by message id

    def queue(self, message: Message) -> None:
        self._waiting.append(message)

    def doubt_all(self) -> None:
        """Takes all that isn't confirmed for lost: it is sent again."""
        self._unsealed = deque(self._under_way)

    @property
    def confirmed(self) -> bool:
        return not self._waiting and not self._under_way

    def sections(self) -> Iterator[list[Section]]:
        """Gives the content of each frame that is due."""
        self._admit()
        floor = min(self._under_way, default=self._next)
        while self._unsealed:
            number = self._unsealed.popleft()
            encoded = self._under_way.get(number)
            if encoded is None:
                continue
            if len(encoded) <= CHUNK:
                yield [Messages(floor, number, (encoded,))]
                continue
            for offset in range(0, len(encoded), CHUNK):
                yield [Chunk(floor, number, offset, len(encoded), encoded[offset : offset + CHUNK])]

    def _admit(self) -> None:
        while self._waiting:
            message = self._waiting[0]
            encoded, accounts = message.encode(), message.credit_class
            messages, size = self._spent[accounts][0] + 1, self._spent[accounts][1] + len(encoded)
            if messages > self.credit[accounts][0] or size > self.credit[accounts][1]:
                return
            self._waiting.popleft()
            self._spent[accounts] = messages, size
            self._under_way[self._next] = encoded
            self.numbers[message.identifier] = self._next
            self._unsealed.append(self._next)
            self._next += 1

    def handle_receipt(self, receipt: Receipt) -> None:
        if receipt.delivered_below > self._next:
            raise Malformed("a receipt for what was never sent")
        beyond = receipt.delivered
        for number in list(self._under_way):
            if number < receipt.delivered_below or any(first <= number < end for first, end in beyond):
                del self._under_way[number]
        for first, end in receipt.done:
            self.done.update(range(first, min(end, self._next)))
        for number, code, reason in receipt.refused:
            self.refused[number] = code, reason

    def handle_credit(self, credit: Credit) -> None:
        messages, size = self.credit[credit.credit_class]
        self.credit[credit.credit_class] = max(messages, credit.messages), max(size, credit.size)


@dataclass
class ReceivingLane:
    """What came in a lane: each number once, messages of a thread in their order."""

    lane: int
    _below: int = 0
    _beyond: set[int] = field(default_factory=set)
    _chunks: dict[int, dict[int, bytes]] = field(default_factory=dict)
    _held: dict[int, Message] = field(default_factory=dict)
    _floor: int = 0
    _done: set[int] = field(default_factory=set)
    _consumed: list[tuple[int, int]] = field(default_factory=lambda: [(0, 0)] * CLASSES)

    def handle(self, section: Messages | Chunk) -> list[tuple[int, Message]]:
        """Gives the messages, with their numbers, that may be handed over now."""
        self._floor = max(self._floor, section.floor)
        self._done = {number for number in self._done if number >= self._floor}
        self._chunks = {number: parts for number, parts in self._chunks.items() if number >= self._floor}
        self._settle(self._below, self._floor)
        if isinstance(section, Chunk):
            self._take_chunk(section)
        else:
            for at, encoded in enumerate(section.messages):
                self._take(section.first + at, encoded)
        return list(self._ready())

    def _take_chunk(self, chunk: Chunk) -> None:
        if self._seen(chunk.number):
            return
        parts = self._chunks.setdefault(chunk.number, {})
        parts[chunk.offset] = chunk.data
        if sum(map(len, parts.values())) == chunk.total:
            del self._chunks[chunk.number]
            self._take(chunk.number, b"".join(data for _, data in sorted(parts.items())))

    def _take(self, number: int, encoded: bytes) -> None:
        if self._seen(number):
            return
        self._held[number] = received = Message.decode(encoded)
        first = number - (gap_before(received) if received.kind == Kind.GAP else 0)
        self._settle(max(first, self._below), number + 1)

    def _settle(self, first: int, end: int) -> None:
        """Takes these numbers for those that won't come any more."""
        if first <= self._below < end:
            self._below = end
        else:
            self._beyond.update(range(first, end))
        self._beyond = {number for number in self._beyond if number >= self._below}
        while self._below in self._beyond:
            self._beyond.remove(self._below)
            self._below += 1

    def _seen(self, number: int) -> bool:
        return number < self._below or number in self._beyond

    def _ready(self) -> Iterator[tuple[int, Message]]:
        for number in sorted(self._held):
            message = self._held[number]
            before = number - message.after
            if message.after == 0 or (self._seen(before) and before not in self._held):
                yield number, self._held.pop(number)

    def consumed(self, number: int, message: Message, cost: tuple[int, int] | None = None) -> None:
        """Says that the application has handled a message: that gives credit back."""
        if message.flags & WANTS_DONE:
            self._done.add(number)
        if message.flags & FREE:
            return
        accounts, size = cost or (message.credit_class, len(message.encode()))
        messages, total = self._consumed[accounts]
        self._consumed[accounts] = messages + 1, total + size

    def sections(self) -> list[Section]:
        """Gives receipt and credits as they are."""
        receipt = Receipt(self.lane, self._below, _ranges(self._beyond), _ranges(self._done))
        return [receipt, *self.credits()]

    def credits(self) -> list[Section]:
        if self.lane == 0:
            return []
        totals = ((messages + WINDOW[0], size + WINDOW[1]) for messages, size in self._consumed)
        return [Credit(self.lane, accounts, messages, size) for accounts, (messages, size) in enumerate(totals)]


def gap_before(gap: Message) -> int:
    """How many numbers before it a gap stands for."""
    fields = Reader(gap.body)
    fields.take(5)
    return fields.u32() if fields else 0


def _ranges(numbers: set[int]) -> tuple[Range, ...]:
    ranges: list[Range] = []
    for number in sorted(numbers):
        if ranges and ranges[-1][1] == number:
            ranges[-1] = ranges[-1][0], number + 1
        else:
            ranges.append((number, number + 1))
    return tuple(ranges[:RANGES])
