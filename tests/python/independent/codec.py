"""Section 1: how values are written and read. `u8(1)` writes, `Reader(data).u8()` reads; lengths come before what they count."""

import base64
from collections.abc import Callable

# Gives as many random bytes as it is asked for. Everything that needs randomness takes one, so that tests can compute with known bytes.
Random = Callable[[int], bytes]


class Refused(Exception):
    """What came isn't taken, and has no effect."""


class Malformed(Refused):
    """Bytes that are no such structure: too short, too long, or with a length beyond its limit."""


class Forged(Refused):
    """A seal, signature or certificate that doesn't hold."""


def u8(value: int) -> bytes:
    return value.to_bytes(1, "big")


def u16(value: int) -> bytes:
    return value.to_bytes(2, "big")


def u32(value: int) -> bytes:
    return value.to_bytes(4, "big")


def u64(value: int) -> bytes:
    return value.to_bytes(8, "big")


def bytes16(value: bytes) -> bytes:
    return u16(len(value)) + value


def bytes32(value: bytes) -> bytes:
    return u32(len(value)) + value


def text8(value: str) -> bytes:
    encoded = value.encode()
    return u8(len(encoded)) + encoded


def text16(value: str) -> bytes:
    return bytes16(value.encode())


NO_EXTENSIONS = u16(0)


class Reader:
    """Takes a structure apart from its beginning. Whatever doesn't fit raises `Malformed`."""

    def __init__(self, data: bytes) -> None:
        self._data = data
        self._at = 0

    def take(self, length: int) -> bytes:
        if length > len(self._data) - self._at:
            raise Malformed(f"{length} bytes are missing")
        self._at += length
        return self._data[self._at - length : self._at]

    def number(self, size: int) -> int:
        return int.from_bytes(self.take(size), "big")

    def u8(self) -> int:
        return self.number(1)

    def u16(self) -> int:
        return self.number(2)

    def u32(self) -> int:
        return self.number(4)

    def u64(self) -> int:
        return self.number(8)

    def counted(self, size: int, limit: int) -> bytes:
        """Takes a length of `size` bytes and what it counts."""
        length = self.number(size)
        if length > limit:
            raise Malformed(f"{length} bytes where {limit} are the most")
        return self.take(length)

    def bytes16(self, limit: int = 0xFFFF) -> bytes:
        return self.counted(2, limit)

    def bytes32(self, limit: int = 0xFFFF) -> bytes:
        return self.counted(4, limit)

    def text8(self) -> str:
        return _text(self.counted(1, 0xFF))

    def text16(self, limit: int = 0xFFFF) -> str:
        return _text(self.bytes16(limit))

    def extensions(self) -> None:
        """Skips extensions: version 1 defines none, but they have to be well formed."""
        inner = Reader(self.bytes16())
        while inner:
            inner.u16()
            inner.bytes16()

    def rest(self) -> bytes:
        return self.take(len(self._data) - self._at)

    def taken(self) -> bytes:
        """Gives what was taken so far: what a signature at the end covers."""
        return self._data[: self._at]

    def end(self) -> None:
        if self:
            raise Malformed(f"{len(self._data) - self._at} bytes are left over")

    def __bool__(self) -> bool:
        return self._at < len(self._data)


def _text(data: bytes) -> str:
    try:
        return data.decode()
    except UnicodeDecodeError as error:
        raise Malformed("not UTF-8") from error


def base32(data: bytes) -> str:
    return base64.b32encode(data).decode().rstrip("=").lower()


def from_base32(text: str) -> bytes:
    if text != text.lower():
        raise Malformed("base32 in capitals")
    try:
        data = base64.b32decode(text.upper() + "=" * (-len(text) % 8))
    except ValueError as error:
        raise Malformed("not base32") from error
    if base32(data) != text:
        raise Malformed("base32 that ends in bits of no byte")
    return data
