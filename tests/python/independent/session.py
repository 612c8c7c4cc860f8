"""Section 6.2: the frames of a session. One key and one counter for each direction and lane; keys step forward, never back."""

from independent.codec import Forged
from independent.keys import expand, extract
from independent.outer import EARLY, DataFrame, Kind, Lane, OuterHeader
from independent.sealing import aead_open, aead_seal

FRAMES_PER_KEY = 65_536
AHEAD = 16  # generations that a receiver follows
WINDOW = 1_024  # counters behind the highest that a receiver still takes
LAST_COUNTER = 2**64 - 1

FROM_INITIATOR, TO_INITIATOR = 0, 1


def nonce(counter: int) -> bytes:
    return bytes(4) + counter.to_bytes(8, "big")


def early_key(opener_export: bytes, lane: int) -> bytes:
    return expand(extract(b"a2alinker/1 early", opener_export), b"a2alinker/1 early key" + bytes([lane]), 32)


def traffic_secret(prk: bytes, direction: int, lane: int) -> bytes:
    return expand(prk, b"a2alinker/1 traffic" + bytes([direction, lane]), 32)


def next_secret(secret: bytes) -> bytes:
    return expand(secret, b"a2alinker/1 rekey", 32)


def frame_key(secret: bytes) -> bytes:
    return expand(secret, b"a2alinker/1 key", 32)


class Window:
    """The counters that were seen: the highest, and a bit for each one below it."""

    def __init__(self) -> None:
        self._seen = 0  # bit n stands for the counter `_highest` - n
        self._highest = 0

    def check(self, counter: int) -> None:
        behind = self._highest - counter
        if counter == LAST_COUNTER or behind > WINDOW or (behind >= 0 and self._seen >> behind & 1):
            raise Forged("a frame that was there before, or comes too late")

    def mark(self, counter: int) -> None:
        if counter > self._highest:
            self._seen = self._seen << (counter - self._highest) if counter - self._highest <= WINDOW else 0
            self._highest = counter
        self._seen = (self._seen | 1 << (self._highest - counter)) & ((2 << WINDOW) - 1)


class SendingLane:
    def __init__(self, secret: bytes) -> None:
        self._secret = secret
        self._generation = 0
        self._counter = 0

    def seal(self, lane: int, session: bytes, destination: bytes, expiry: int, content: bytes) -> DataFrame:
        while self._counter // FRAMES_PER_KEY > self._generation:
            self._generation += 1
            self._secret = next_secret(self._secret)
        header = OuterHeader(Kind.SESSION, lane, destination, session, generation=self._generation, counter=self._counter, expiry=expiry)
        self._counter += 1
        return _seal(frame_key(self._secret), header, content)

    def skip(self, frames: int) -> None:
        """Goes on as if so many frames had been sealed."""
        self._counter += frames


class ReceivingLane:
    def __init__(self, secret: bytes) -> None:
        self._secrets = {0: secret}  # by generation: the newest, and the one before
        self._window = Window()

    def open(self, frame: DataFrame) -> bytes:
        generation, newest = frame.header.generation, max(self._secrets)
        secret = self._secrets.get(generation)
        if not secret:
            if not newest < generation <= newest + AHEAD:
                raise Forged("a key that is gone, or too far ahead")
            before = secret = self._secrets[newest]
            for _ in range(generation - newest):
                before, secret = secret, next_secret(secret)
        else:
            before = b""
        self._window.check(frame.header.counter)
        content = aead_open(frame_key(secret), nonce(frame.header.counter), frame.header.encode(), frame.sealed)
        if before:
            self._secrets = {generation - 1: before, generation: secret}
        self._window.mark(frame.header.counter)
        return content


class Session:
    """One end of an established session. `initiator` is who opened it, `direction` the one in which this end sends."""

    def __init__(self, prk: bytes, identifier: bytes, initiator: bytes, destination: bytes, direction: int) -> None:
        self.identifier = identifier
        self.initiator = initiator
        self._destination = destination
        self.sending = {lane: SendingLane(traffic_secret(prk, direction, lane)) for lane in Lane}
        self._receiving = {lane: ReceivingLane(traffic_secret(prk, 1 - direction, lane)) for lane in Lane}

    def seal(self, lane: Lane, content: bytes, expiry: int = 0) -> DataFrame:
        return self.sending[lane].seal(lane, self.identifier, self._destination, expiry, content)

    def open(self, frame: DataFrame) -> bytes:
        """Gives the content. What doesn't open leaves no trace."""
        if frame.header.session != self.identifier or frame.header.kind != Kind.SESSION or frame.header.flags & EARLY:
            raise Forged("not a frame of this session")
        return self._receiving[Lane(frame.header.lane)].open(frame)


class EarlySender:
    """Seals under the opener's export until the answer is there. Not forward secret, and a relay can replay it with its opener."""

    def __init__(self, opener_export: bytes, identifier: bytes, destination: bytes) -> None:
        self._export = opener_export
        self._identifier = identifier
        self._destination = destination
        self._counters = dict.fromkeys(Lane, 0)

    def seal(self, lane: Lane, content: bytes, expiry: int = 0) -> DataFrame:
        counter = self._counters[lane]
        self._counters[lane] += 1
        header = OuterHeader(Kind.SESSION, lane, self._destination, self._identifier, flags=EARLY, counter=counter, expiry=expiry)
        return _seal(early_key(self._export, lane), header, content)


class EarlyReceiver:
    def __init__(self, opener_export: bytes, identifier: bytes) -> None:
        self._export = opener_export
        self._identifier = identifier
        self._windows = {lane: Window() for lane in Lane}

    def open(self, frame: DataFrame) -> bytes:
        header = frame.header
        if header.session != self._identifier or not header.flags & EARLY or header.generation or header.counter >= FRAMES_PER_KEY:
            raise Forged("not an early frame of this session")
        window = self._windows[Lane(header.lane)]
        window.check(header.counter)
        content = aead_open(early_key(self._export, header.lane), nonce(header.counter), header.encode(), frame.sealed)
        window.mark(header.counter)
        return content


def _seal(key: bytes, header: OuterHeader, content: bytes) -> DataFrame:
    return DataFrame(header, aead_seal(key, nonce(header.counter), header.encode(), content))
