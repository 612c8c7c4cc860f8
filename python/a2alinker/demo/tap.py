"""A proxy in front of the switchboard that keeps every byte that crosses its sockets.

The tap speaks no WebSocket: it copies bytes and remembers them. Afterwards `messages` takes the recording apart, because clients mask
what they send (RFC 6455 section 5.3): the switchboard sees it unmasked, and whoever searches must look at what the switchboard sees.
"""

import asyncio
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Self

READ = 256 * 1024
"""Bytes taken from a socket at a time. Chosen: as much as a socket buffer usually holds."""


@dataclass(slots=True)
class Recording:
    """One connection to the switchboard, byte for byte."""

    to_switchboard: bytearray = field(default_factory=bytearray)
    from_switchboard: bytearray = field(default_factory=bytearray)


class Tap:
    """Listens on a port of its own and passes everything on to the switchboard."""

    def __init__(self, host: str, port: int) -> None:
        self._switchboard = (host, port)
        self._server: asyncio.Server | None = None
        self._passing: set[asyncio.Task[None]] = set()
        self.recordings: list[Recording] = []
        self.port = 0

    async def __aenter__(self) -> Self:
        self._server = await asyncio.start_server(self._accept, "127.0.0.1", 0)
        self.port = self._server.sockets[0].getsockname()[1]
        return self

    async def __aexit__(self, *error: object) -> None:
        if self._server is not None:
            self._server.close()
        for task in self._passing:
            task.cancel()
        await asyncio.gather(*self._passing, return_exceptions=True)

    async def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None  # a connection callback always runs in one
        self._passing.add(task)
        recording = Recording()
        self.recordings.append(recording)
        try:
            there_reader, there_writer = await asyncio.open_connection(*self._switchboard)
            await asyncio.gather(
                _pass(reader, there_writer, recording.to_switchboard),
                _pass(there_reader, writer, recording.from_switchboard),
            )
        except OSError:
            writer.close()  # the switchboard is gone: so is the connection
        except asyncio.CancelledError:
            pass  # the tap ends; the stream's own callback would complain of a cancelled task
        finally:
            self._passing.discard(task)


async def _pass(reader: asyncio.StreamReader, writer: asyncio.StreamWriter, kept: bytearray) -> None:
    try:
        while chunk := await reader.read(READ):
            kept += chunk
            writer.write(chunk)
            await writer.drain()
    except ConnectionError:
        pass  # a killed process resets its connection; the other side learns it by the close below
    finally:
        writer.close()


def messages(stream: bytes | bytearray) -> Iterator[bytes]:
    """Takes one direction of a recorded WebSocket connection apart: first the HTTP head, then each frame's payload, unmasked.

    An incomplete frame at the end, as a killed process leaves it, is given as far as it goes.
    """
    at = stream.find(b"\r\n\r\n") + 4
    yield bytes(stream[:at])
    while at + 2 <= len(stream):
        masked, length = stream[at + 1] & 0x80, stream[at + 1] & 0x7F
        at += 2
        extended = {126: 2, 127: 8}.get(length, 0)
        if extended:
            length = int.from_bytes(stream[at : at + extended], "big")
            at += extended
        mask = bytes(stream[at : at + 4]) if masked else b""
        at += len(mask)
        payload = bytes(stream[at : at + length])
        at += length
        yield _unmasked(payload, mask) if mask else payload


def _unmasked(payload: bytes, mask: bytes) -> bytes:
    length = len(payload)
    pad = (mask * (length // len(mask) + 1))[:length]
    return (int.from_bytes(payload, "big") ^ int.from_bytes(pad, "big")).to_bytes(length, "big")
