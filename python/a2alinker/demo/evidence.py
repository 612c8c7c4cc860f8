"""The search for names in what the switchboard saw, and the proof that the search would find them.

Each name is looked for as it is and in the forms in which it could hide without being encrypted. A search that finds nothing proves
nothing by itself: so planted names cross the same sockets on a connection of their own, and the same search has to find them there.
"""

import asyncio
import base64
import os
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from .tap import Recording, messages

SHORTEST = 6
"""Bytes that a name must have to be searched for: a shorter one turns up in random bytes by chance (5 bytes: once in a terabyte, but
with thousands of names in several forms, in tens of megabytes, that is one false alarm in some hundred runs)."""

FORMS = ("UTF-8", "UTF-16", "hexadecimal", "base64")


_Tree = dict[int, "_Tree"]  # of words: what may follow each byte
_END = -1  # a word may end here

_BINARY, _CLOSE = 0x82, 0x88  # the first byte of such a WebSocket frame

_DATA = b"\x10"  # the first byte of an end-to-end frame on a link
_DATA_HEADER = 73  # bytes of its prefix and outer header


@dataclass(frozen=True, slots=True)
class Hit:
    """One place where a name was found."""

    name: str
    form: str
    direction: str

    def __str__(self) -> str:
        return f"{self.name!r} as {self.form} {self.direction} the switchboard"


@dataclass(frozen=True, slots=True)
class Search:
    """What was searched for and what was found."""

    names: Mapping[str, int]  # by kind
    left_out: int
    hits: tuple[Hit, ...]

    @property
    def found(self) -> set[str]:
        """The names that were found, in whatever form."""
        return {hit.name for hit in self.hits}


class Searcher:
    """Looks for many names in all forms at once."""

    def __init__(self, names: Mapping[str, Iterable[str]], unavoidable: Iterable[Recording] = ()) -> None:
        """`unavoidable` are connections whose WebSocket handshake has words that aren't searched for: every client sends them."""
        handshake = b"".join(
            next(messages(stream)) for recording in unavoidable for stream in (recording.to_switchboard, recording.from_switchboard)
        )
        wanted = {kind: set(given) for kind, given in names.items()}
        searched = {
            kind: {name for name in given if len(name.encode()) >= SHORTEST and name.encode() not in handshake}
            for kind, given in wanted.items()
        }
        self._counts = {kind: len(given) for kind, given in searched.items()}
        self._left_out = sum(map(len, wanted.values())) - sum(self._counts.values())
        # Of some names only the last bits differ, which base64 shares with what follows: then it means either.
        self._meaning: dict[bytes, set[tuple[str, str]]] = {}
        for name in set().union(*searched.values()):
            for form in FORMS:
                for pattern in patterns(name, form):
                    self._meaning.setdefault(pattern, set()).add((name, form))
        self._expression = re.compile(_any_of(self._meaning))

    def search(self, recordings: Iterable[Recording]) -> Search:
        """Searches the bytes as they crossed, and the messages as the switchboard decodes them."""
        hits = set()
        for recording in recordings:
            # What the switchboard writes is not masked, so its bytes are its messages.
            clear = b"\n".join(messages(recording.to_switchboard))
            for direction, searched in (("to", recording.to_switchboard), ("to", clear), ("from", recording.from_switchboard)):
                hits |= {Hit(name, form, direction) for name, form in self.find(searched)}
        return Search(self._counts, self._left_out, tuple(sorted(hits, key=lambda hit: (hit.name, hit.form, hit.direction))))

    def find(self, searched: bytes | bytearray) -> set[tuple[str, str]]:
        """Returns which names are in these bytes, and in which form."""
        found = {match[0] for match in self._expression.finditer(searched)}
        return {meaning for pattern in found for meaning in self._meaning[pattern]}


@dataclass(frozen=True, slots=True)
class Sight:
    """What the switchboard can make out without any key: PROTOCOL.md section 3.4."""

    links: int
    bytes_read: int
    bytes_written: int
    frames: int
    by_labels: Mapping[tuple[str, str], tuple[int, int]]  # (sender, receiver) -> frames and bytes

    @classmethod
    def of(cls, recordings: Iterable[Recording]) -> "Sight":
        """Takes the headers of all frames that the switchboard passed on."""
        recordings = list(recordings)
        by_labels: dict[tuple[str, str], tuple[int, int]] = {}
        for recording in recordings:
            for message in messages(recording.from_switchboard):
                if message[:1] == _DATA and len(message) >= _DATA_HEADER:
                    labels = message[1:17].hex()[:8], message[21:37].hex()[:8]
                    frames, size = by_labels.get(labels, (0, 0))
                    by_labels[labels] = frames + 1, size + len(message)
        return cls(
            len(recordings),
            sum(len(recording.to_switchboard) for recording in recordings),
            sum(len(recording.from_switchboard) for recording in recordings),
            sum(frames for frames, _ in by_labels.values()),
            by_labels,
        )

    def heaviest(self, count: int) -> list[tuple[tuple[str, str], tuple[int, int]]]:
        """The pairs of labels between which most bytes went."""
        return sorted(self.by_labels.items(), key=lambda item: -item[1][1])[:count]


def patterns(name: str, form: str) -> list[bytes]:
    """The bytes that show the name in this form."""
    raw = name.encode()
    match form:
        case "UTF-8":
            return [raw]
        case "UTF-16":
            return [name.encode("utf-16-le").rstrip(b"\0")]  # without the last zero it is also within big-endian text
        case "hexadecimal":
            return [raw.hex().encode(), raw.hex().upper().encode()]
        case "base64":
            return [pattern for shift in range(3) for pattern in _base64(raw, shift)]
    raise ValueError(form)


def _base64(raw: bytes, shift: int) -> list[bytes]:
    """The characters that depend on `raw` alone when it begins `shift` bytes after a multiple of three, in both alphabets."""
    text = base64.b64encode(bytes(shift) + raw)
    first = (8 * shift + 5) // 6
    end = 8 * (shift + len(raw)) // 6
    inner = text[first:end]
    return [inner, inner.replace(b"+", b"-").replace(b"/", b"_")]


def _any_of(words: Iterable[bytes]) -> bytes:
    """An expression for any of the words, as a tree: an alternation of thousands would be tried one by one at every byte."""
    root: _Tree = {}
    for word in words:
        node = root
        for byte in word:
            node = node.setdefault(byte, {})
        node[_END] = {}
    return _branch(root)


def _branch(node: _Tree) -> bytes:
    literal = b""
    while len(node) == 1:
        ((byte, node),) = node.items()
        if byte == _END:
            return literal
        literal += re.escape(bytes([byte]))
    options = [re.escape(bytes([byte])) + _branch(after) for byte, after in sorted(node.items()) if byte != _END]
    optional = b"?" if _END in node else b""
    return literal + b"(?:" + b"|".join(options) + b")" + optional


async def plant(host: str, port: int, names: Iterable[str]) -> None:
    """Sends the names in all forms to the switchboard as an unencrypted WebSocket message, masked as any client's."""
    reader, writer = await asyncio.open_connection(host, port)
    key = base64.b64encode(os.urandom(16)).decode()
    writer.write(
        f"GET / HTTP/1.1\r\nHost: {host}:{port}\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Key: {key}\r\n"
        "Sec-WebSocket-Version: 13\r\nSec-WebSocket-Protocol: a2alinker.1\r\n\r\n".encode()
    )
    await reader.readuntil(b"\r\n\r\n")
    forms = [pattern for name in names for form in FORMS for pattern in patterns(name, form)]
    writer.write(_frame(_BINARY, b"\x7f" + b"\n".join(forms)) + _frame(_CLOSE, b""))
    await writer.drain()
    await reader.read()
    writer.close()


def _frame(kind: int, payload: bytes) -> bytes:
    """A masked frame of up to 65,535 bytes (RFC 6455 section 5.2)."""
    mask = os.urandom(4)
    masked = bytes(byte ^ mask[index % 4] for index, byte in enumerate(payload))
    length = bytes([0x80 | len(payload)]) if len(payload) < 126 else b"\xfe" + len(payload).to_bytes(2, "big")
    return bytes([kind]) + length + mask + masked
