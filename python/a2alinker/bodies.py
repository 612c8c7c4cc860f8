"""Large bodies: files, streams, and bytes beyond what one message carries.

The core asks for a piece of the source when the receiver has room for it, and keeps what came in until it is taken. So the memory of both sides
doesn't grow with the body. Files are read and written in threads of their own, never on the event loop.
"""

from __future__ import annotations

import asyncio
import errno
import os
import re
import stat
import time
import weakref
from collections.abc import AsyncIterator, Callable, Iterator
from typing import TYPE_CHECKING, Any, Final, Literal, NamedTuple

from . import _core
from ._html import card
from ._loop import Event, Seam, logger
from .exceptions import (
    A2ALinkerError,
    AgentClosed,
    AlreadyConsumed,
    BodyError,
    BodyLost,
    BodyNotSaved,
    BodySourceFailed,
    BodyTooLarge,
    PeerGone,
    UsageError,
)
from .receipt import Receipt, ReceiptState

if TYPE_CHECKING:
    from pathlib import Path

    from .outbox import Outbox

PIECE: Final = 512 * 1024  # bytes read, taken or written in one go; chosen: some parts of the body, less than a millisecond of any disk
READ_LIMIT: Final = 64 << 20  # bytes that `read` takes unless told otherwise; chosen: no peer should fill the memory by surprise
PROGRESS_PAUSE: Final = 0.1  # seconds between two reports on one body
LONGEST_NAME: Final = 200  # bytes of a file's name that are kept; file systems allow 255, and a part of that is for temporary names

FILE: Final = 2  # form of a body whose name is that of a file
_STEMS: Final = 10_000  # names that are tried in a folder before giving up

# Values that go as one message, whatever is in them: what most messages are made of.
ORDINARY: Final = frozenset({str, dict, list, tuple, int, float, bool, type(None)})

_UNFIT: Final = re.compile(
    r"[\x00-\x1f\x7f-\x9f\u200e\u200f\u202a-\u202e\u2066-\u2069/\\:*?\"<>|\ud800-\udfff]+"
)  # in names, on some system
_RESERVED: Final = re.compile(r"(?i)(con|prn|aux|nul|com\d|lpt\d)(\.|$)")  # on Windows

_END: Final[Any] = object()

Direction = Literal["out", "in"]


class File:
    """A file to send: `await agent.send(peer, a2alinker.File("report.pdf"))`. It is read while it is sent, and mustn't change meanwhile.

    name: what the receiver sees; by default the last part of the path.
    """

    __slots__ = ("name", "path")

    def __init__(self, path: str | os.PathLike[str], name: str | None = None) -> None:
        from pathlib import Path

        self.path = Path(path)
        self.name = self.path.name if name is None else name

    def __repr__(self) -> str:
        return f"File({str(self.path)!r})"


class Progress(NamedTuple):
    """How far a large body is."""

    bytes: int  # in the receiver's memory, or read from there
    total: int | None  # None for a stream that hasn't ended


Tell = Callable[[Direction, bytes, bytes, str | None, Progress], None]

# -- what is sent --


class OpenFile:
    """A file that is being read, by one or several bodies."""

    __slots__ = ("descriptor", "length", "name")

    def __init__(self, file: File) -> None:
        try:
            self.descriptor = os.open(file.path, os.O_RDONLY | getattr(os, "O_BINARY", 0) | getattr(os, "O_NONBLOCK", 0))
        except (OSError, ValueError) as problem:
            self.descriptor = -1
            raise BodyError(f"{file.path} can't be read: {problem}") from problem
        status = os.fstat(self.descriptor)
        if not stat.S_ISREG(status.st_mode):
            raise BodyError(f"{file.path} is no file: send what it gives as an iterator")
        if status.st_size > _core.LARGE_BODY_MAX:
            raise BodyError(f"{file.path} has {status.st_size} bytes, the limit is {_core.LARGE_BODY_MAX}: send it in parts")
        self.length = status.st_size
        self.name = file.name

    def read(self, offset: int, size: int) -> bytes:
        """Returns up to `size` bytes from `offset` on."""
        if hasattr(os, "pread"):
            return os.pread(self.descriptor, size, offset)
        os.lseek(self.descriptor, offset, os.SEEK_SET)
        return os.read(self.descriptor, size)

    def __del__(self) -> None:
        if self.descriptor >= 0:
            os.close(self.descriptor)


def is_large(body: Any) -> bool:
    """Returns whether a body can't be, or isn't meant to be, one message."""
    if isinstance(body, (bytes, bytearray)):
        return len(body) > _core.BODY_MAX
    if isinstance(body, memoryview):
        return body.nbytes > _core.BODY_MAX
    kind = type(body)
    return kind is File or kind is OpenFile or hasattr(kind, "__aiter__") or hasattr(kind, "__next__")


def check_shared(body: Any, receivers: int) -> None:
    """Raises if a body can't go to so many."""
    if (
        receivers > 1
        and type(body) not in ORDINARY
        and is_large(body)
        and not isinstance(body, (bytes, bytearray, memoryview, File, OpenFile))
    ):
        raise BodyError("body: a stream can be read once, so it goes to one receiver")


async def prepared(body: Any) -> Any:
    """Opens a file, in a thread. Other bodies it returns as they are."""
    return await asyncio.to_thread(OpenFile, body) if type(body) is File else body


class Outgoing:
    """A large body that is being sent, and what it is made of."""

    __slots__ = ("_bodies", "_rest", "_source", "_task", "error", "fed", "moved", "name", "peer_id", "receipt", "told_at", "total")

    def __init__(self, bodies: Bodies, receipt: _core.Receipt, source: Any, peer_id: bytes, name: str | None, total: int | None) -> None:
        self._bodies = bodies
        self._source = source
        self._rest = memoryview(b"")  # of a block that was larger than what is wanted
        self._task: asyncio.Task[None] | None = None
        self.receipt = receipt
        self.peer_id = peer_id
        self.name = name
        self.total = total
        self.fed = 0
        self.moved = 0
        self.told_at = 0.0
        self.error: Exception | None = None

    def feed(self, offset: int, room: int) -> None:
        """Gives the core what it wants next."""
        self._task = self._bodies.seam.loop.create_task(self._feed(offset, room))

    async def _feed(self, offset: int, room: int) -> None:
        core, token = self._bodies.core, self.receipt.token
        try:
            piece = await self._piece(offset, room)
            if piece:
                core.feed(token, offset, piece)
                self.fed = offset + len(piece)
            else:
                self.total = self.fed if self.total is None else self.total
                core.finish(token)
        except UsageError:  # nobody wants more of it: the body or the agent is over
            return
        except Exception as problem:  # noqa: BLE001  whatever the source raises ends the body, and is told by its receipt
            self.error = problem
            logger.debug("the source of a body failed: %r", problem)
            core.give_up(token, f"its source failed ({type(problem).__name__})")
        self._bodies.seam.flush_soon()

    async def _piece(self, offset: int, room: int) -> bytes:
        if isinstance(self._source, OpenFile):
            piece = await asyncio.to_thread(self._source.read, offset, min(room, PIECE))
            if not piece and offset < self._source.length:
                raise BodySourceFailed(f"the file had {self._source.length} bytes when it was opened, and has {offset} by this time")
            return piece
        while not self._rest:
            block = await self._block()
            if block is _END:
                return b""
            if not isinstance(block, (bytes, bytearray, memoryview)):
                raise BodyError(f"a stream gives bytes, not {type(block).__name__}")
            self._rest = memoryview(block).cast("B")
        wanted, self._rest = self._rest[:room], self._rest[room:]
        return bytes(wanted)

    async def _block(self) -> Any:
        if hasattr(self._source, "__anext__"):
            return await anext(self._source, _END)
        return await asyncio.to_thread(next, self._source, _END)

    def end(self) -> None:
        """Nothing more of the source is wanted."""
        if self._task is not None and not self._task.done():
            self._task.cancel()
        source, self._source = self._source, None
        self._rest = memoryview(b"")
        if (close := getattr(source, "aclose", None)) is not None:
            self._task = self._bodies.seam.loop.create_task(_closed(close, self._task))


async def _closed(close: Callable[[], Any], before: asyncio.Task[None] | None) -> None:
    if before is not None:
        await asyncio.wait([before])
    try:
        await close()
    except Exception as problem:  # noqa: BLE001  nobody waits for it
        logger.debug("closing the source of a body: %r", problem)


class BodyReceipt(Receipt):
    """What became of a large body. As a Receipt; `delivered` means that all of it is in the receiver's memory, or was read from there."""

    __slots__ = ("_body",)

    def __init__(self, outbox: Outbox, core: _core.Receipt, peer_id: bytes, until_done: bool, body: Outgoing) -> None:
        super().__init__(outbox, core, peer_id, until_done)
        self._body = body

    @property
    def progress(self) -> Progress:
        """How far it is."""
        body = self._body
        if self.state in ("delivered", "done"):
            return Progress(body.fed if body.total is None else body.total, body.total)
        return Progress(body.moved, body.total)

    async def delivered(self) -> None:
        """Waits until all of it is in the receiver's memory, or was read from there.

        Raises:
            Refused: the receiver doesn't want it, or the rest of it.
            BodySourceFailed, BodyError: what it is made of failed, or isn't bytes.
            Expired: nothing of it moved for its `ttl`.
            PeerGone, AgentClosed: as for other messages.
        """
        await super().delivered()
        if self.state == "refused":
            raise self._failure()

    async def __aiter__(self) -> AsyncIterator[ReceiptState]:
        """Gives the present state, and again with each change of it or of `progress`, until there can be no more."""
        seen, progress = self.state, self.progress
        yield seen
        while not self.is_final(seen):
            try:
                await self.change(seen)
            except AgentClosed:
                return
            if (self.state, self.progress) != (seen, progress):
                seen, progress = self.state, self.progress
                yield seen

    def _failure(self) -> A2ALinkerError:
        if isinstance(self._body.error, A2ALinkerError):
            return self._body.error
        if self._body.error is not None:
            failure = BodySourceFailed(f"the source of the body failed: {self._body.error!r}")
            failure.__cause__ = self._body.error
            return failure
        gone = super()._failure()
        if isinstance(gone, PeerGone):
            text = "the receiver ended before it had the whole body, and a stream can't be sent from the beginning again"
            return PeerGone(text, peer=gone.peer)
        return gone


# -- what comes in --


class IncomingBody:
    """A large body as it comes in: `await body.save("downloads")`, `await body.read()`, or `async for block in body`.

    Read it once, in one of these ways, before or after the loop asks for the next message. What is dropped unread is refused, and its sender
    told. As long as it is neither read nor dropped, its sender waits. It comes from another agent: treat it as foreign input.
    """

    __slots__ = (
        "__weakref__",
        "_bodies",
        "_is_over",
        "_is_read",
        "_on_arrival",
        "_received",
        "_taken",
        "_token",
        "_waiter",
        "length",
        "message_id",
        "name",
        "peer_id",
        "told_at",
    )

    def __init__(self, bodies: Bodies, token: int, peer_id: bytes, message_id: bytes, head: tuple[int, int | None, str]) -> None:
        form, length, name = head
        self._bodies = bodies
        self._token = token
        self._received = 0
        self._taken = 0
        self._is_read = False  # somebody reads it
        self._is_over = False  # nothing more is to be had of the core
        self._waiter: asyncio.Future[None] | None = None
        self._on_arrival: Callable[[Progress], None] | None = None
        self.peer_id = peer_id
        self.message_id = message_id
        self.told_at = 0.0
        self.length = length
        """Bytes in all, as the sender says; None for a stream. Nothing longer is taken."""
        self.name: str | None = name if form == FILE else None
        """The file's name as the sender says, None if it is no file. It may hold anything, slashes included; `save` makes it safe."""

    @property
    def received(self) -> int:
        """Bytes that have come so far."""
        if not self._is_over and _core.runtime_alive():
            self._received = max(self._received, self._bodies.core.received(self._token))
        return self._received

    def __aiter__(self) -> AsyncIterator[bytes]:
        """Gives the bytes in blocks, as they come. After the last one the digest has been checked: only then are they what was sent.

        Raises:
            BodyLost: the sender gave up, left or was restarted, or nothing came for as long as the message's `ttl`.
            BodyDamaged: length or digest are wrong.
            AlreadyConsumed: somebody else reads it, or has.
            AgentClosed: this agent closed meanwhile.
        """
        return self._blocks()

    async def _blocks(self) -> AsyncIterator[bytes]:
        self._begin()
        while block := await self._next():
            yield block

    async def read(self, *, limit: int = READ_LIMIT) -> bytes:
        """Returns all of it. Cancelled, what it had read is lost, and the rest refused.

        limit: most bytes to hold in memory.

        Raises:
            BodyTooLarge: it is longer than `limit`; its sender is told.
            BodyLost, BodyDamaged, AlreadyConsumed, AgentClosed: as for a loop over it.
        """
        self._begin()
        if self.length is not None and self.length > limit:
            self._refuse_length(limit)
        blocks: list[bytes] = []
        size = 0
        try:
            while block := await self._next():
                size += len(block)
                if size > limit:
                    self._refuse_length(limit)
                blocks.append(block)
        finally:
            self.close()
        return b"".join(blocks)

    def _refuse_length(self, limit: int) -> None:
        self.close(f"the receiver takes {limit} bytes at most")
        raise BodyTooLarge(f"the body is longer than the limit of {limit} bytes: save() it, or raise the limit", limit=limit)

    async def save(self, path: str | os.PathLike[str], *, overwrite: bool = False) -> Path:
        """Writes it into a file, and returns where it is. The file appears when all of it is there and the digest is right.

        path: the file; or a folder, in which the file gets the name that its sender gave it, made safe, with a number if that is taken.
        overwrite: replaces a file that is there. Otherwise nothing is ever overwritten.

        Raises:
            BodyNotSaved: it can't be written. If there is such a file, or no such folder, it can be saved elsewhere; if there is no room, it is
                lost, and its sender told.
            BodyLost, BodyDamaged, AlreadyConsumed, AgentClosed: as for a loop over it.
        """
        self._begin()
        try:
            from pathlib import Path

            target = await asyncio.to_thread(Target, Path(path), self.name, overwrite)
        except OSError as problem:
            self._is_read = False  # it can be saved elsewhere
            raise BodyNotSaved(f"the body can't be saved: {problem}", path=str(path)) from problem
        try:
            try:
                while block := await self._next():
                    await asyncio.to_thread(target.write, block)
                return await asyncio.to_thread(target.finish)
            finally:
                await asyncio.shield(asyncio.to_thread(target.discard))
        except OSError as problem:
            if isinstance(problem, A2ALinkerError):
                raise
            self.close("the receiver could not save it")
            raise BodyNotSaved(f"the body can't be saved: {problem}", path=str(path)) from problem
        finally:
            self.close()

    def close(self, reason: str = "") -> None:
        """Drops what wasn't read of it; the sender hears that, with the reason. Idempotent."""
        if not self._is_over:
            self._is_over = True
            self._is_read = True
            self._bodies.release(self._token, reason or "the receiver dropped the body unread")
            self._wake()

    def on_arrival(self, callback: Callable[[Progress], None]) -> None:
        """Calls this with the progress now and then, until all has come."""
        self._on_arrival = callback

    def arrived(self, received: int) -> None:
        """The core has more, or something to say. For the agent's parts."""
        self._received = max(self._received, received)
        if self._on_arrival is not None:
            self._on_arrival(Progress(self._received, self.length))
        self._wake()

    def wake(self) -> None:
        """The agent is over. For the agent's parts."""
        self._wake()

    def _wake(self) -> None:
        waiter, self._waiter = self._waiter, None
        if waiter is not None and not waiter.done():
            waiter.set_result(None)

    def _begin(self) -> None:
        if self._is_read:
            raise AlreadyConsumed("this body was read or dropped before, or somebody reads it")
        self._is_read = True

    async def _next(self) -> bytes:
        """Returns what comes next, nothing at the end."""
        bodies = self._bodies
        while True:
            if self._is_over:
                raise BodyLost("the body was closed while it was being read")
            if not bodies.seam.is_attached:
                self._is_over = True
                raise bodies.seam.closed_error()
            try:
                block = bodies.core.take(self._token, PIECE)
            except Exception:
                self.close()
                raise
            if block is None:
                self._waiter = bodies.seam.loop.create_future()
                await self._waiter
                continue
            bodies.seam.flush_soon()
            self._taken += len(block)
            self._received = max(self._received, self._taken)
            if not block:
                self.close()
            return block

    def __del__(self) -> None:
        if not self._is_over and self._bodies.seam.is_attached and _core.runtime_alive():
            self._bodies.release(self._token, "the receiver dropped the body unread")

    def __repr__(self) -> str:
        length = "length unknown" if self.length is None else f"{self.length} bytes"
        name = f"{self.name[:60]!r} " if self.name else ""
        return f"<IncomingBody {name}{length}, {self._received} received>"

    def _repr_html_(self) -> str:
        return card("Incoming body", {"name": self.name, "length": self.length, "received": self._received})


class Target:
    """A file that is being written under a temporary name, and gets its own when it is whole. Its methods block."""

    __slots__ = ("_descriptor", "_folder", "_name", "_overwrite", "_temporary", "_wanted")

    def __init__(self, path: Path, name: str | None, overwrite: bool) -> None:
        self._descriptor = -1
        self._overwrite = overwrite
        self._name: str | None = None  # None: one that is free, by the name that the sender gave
        if path.is_dir():
            self._folder, name = path, safe_name(name)
        else:
            self._folder, name = path.parent, path.name
            self._name = name
            if not overwrite and os.path.lexists(path):
                raise FileExistsError(errno.EEXIST, os.strerror(errno.EEXIST), str(path))
        self._temporary = self._folder / f".{name[:64]}.{os.urandom(6).hex()}.part"
        flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | getattr(os, "O_BINARY", 0) | getattr(os, "O_NOFOLLOW", 0)
        self._descriptor = os.open(self._temporary, flags, 0o666)
        if self._name is None and overwrite:
            self._name = name
        self._wanted = name

    def write(self, block: bytes) -> None:
        """Appends a block."""
        rest = memoryview(block)
        while rest:
            rest = rest[os.write(self._descriptor, rest) :]

    def finish(self) -> Path:
        """Gives the file its name."""
        os.close(self._descriptor)
        self._descriptor = -1
        for name in [self._name] if self._name is not None else numbered(self._wanted):
            path = self._folder / name
            if self._overwrite:
                return self._temporary.replace(path)
            try:
                _rename_exclusively(self._temporary, path)
            except FileExistsError:
                if self._name is not None:
                    raise
            else:
                return path
        raise FileExistsError(errno.EEXIST, "all names like it are taken", str(self._folder / self._wanted))

    def discard(self) -> None:
        """Removes what is under the temporary name, if it is still there."""
        if self._descriptor >= 0:
            os.close(self._descriptor)
            self._descriptor = -1
        self._temporary.unlink(missing_ok=True)


def _rename_exclusively(temporary: Path, path: Path) -> None:
    try:
        os.link(temporary, path, follow_symlinks=False)
    except FileExistsError:
        raise
    except OSError:  # a file system without links: reserve the name, then replace what reserves it
        os.close(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o666))
        temporary.replace(path)


def safe_name(name: str | None) -> str:
    """Returns a name that is nothing but a name, on any system: no folder, nothing hidden, nothing that turns text around."""
    plain = _UNFIT.sub("_", re.split(r"[/\\]", name or "")[-1]).strip(" .")
    if _RESERVED.match(plain):
        plain = f"_{plain}"
    stem, dot, suffix = plain.rpartition(".")
    if len(plain.encode()) > LONGEST_NAME:
        suffix = suffix if dot and len(suffix.encode()) <= 16 else ""
        stem = (stem if suffix else plain).encode()[: LONGEST_NAME - 17].decode(errors="ignore")
        plain = f"{stem}.{suffix}" if suffix else stem
    return plain or "body"


def numbered(name: str) -> Iterator[str]:
    """Gives a name, then the same with numbers."""
    yield name
    stem, dot, suffix = name.rpartition(".")
    for number in range(2, _STEMS):
        yield f"{stem}-{number}.{suffix}" if dot and stem else f"{name}-{number}"


# -- both --


class Bodies:
    """The large bodies of one agent."""

    __slots__ = ("_incoming", "_on_progress", "_outbox", "_outgoing", "core", "seam")

    def __init__(self, seam: Seam, outbox: Outbox) -> None:
        self.seam = seam
        self.core = seam.core.bodies
        self._outbox = outbox
        self._outgoing: dict[int, Outgoing] = {}
        self._incoming: weakref.WeakValueDictionary[int, IncomingBody] = weakref.WeakValueDictionary()
        self._on_progress: Tell | None = None
        outbox.bodies = self
        seam.on(_core.EVENT_BODY_WANTED, self._on_wanted)
        seam.on(_core.EVENT_BODY_OVER, self._on_over)
        seam.on(_core.EVENT_BODY_MOVED, self._on_moved)
        seam.on(_core.EVENT_BODY_ARRIVED, self._on_arrived)
        seam.at_end(self._end)

    def on_progress(self, callback: Tell) -> None:
        """Calls this now and then: direction, peer, message, name, progress."""
        self._on_progress = callback

    def send(
        self,
        to: bytes,
        body: Any,
        lane: int,
        thread: bytes | None,
        ttl: float,
        until_done: bool,
        depth: int,
        budget: int | None,
        headers: dict[str, Any] | None,
        reply_to: bytes | None = None,
    ) -> Receipt:
        """Begins to send a large body, or raises OutboxFull."""
        whole, name, source, total = None, None, None, None
        if isinstance(body, (bytes, bytearray, memoryview)):
            whole = body if type(body) is bytes else bytes(body)
            total = len(whole)
            if total > _core.LARGE_BODY_MAX:
                raise BodyError(f"body: has {total} bytes, the limit is {_core.LARGE_BODY_MAX}: send it in parts")
        elif type(body) in (File, OpenFile):
            source = body if type(body) is OpenFile else OpenFile(body)
            name, total = source.name, source.length
        else:
            source = aiter(body) if hasattr(type(body), "__aiter__") else body
        repeatable = isinstance(source, OpenFile)
        core = self.core.send(to, whole, name, total, repeatable, lane, thread, ttl, until_done, depth, budget, headers, reply_to)
        outgoing = self._outgoing[core.token] = Outgoing(self, core, source, to, name, total)
        self.seam.flush_soon()
        return BodyReceipt(self._outbox, core, to, until_done, outgoing)

    def incoming(self, token: int, peer_id: bytes, message_id: bytes, head: tuple[int, int | None, str]) -> IncomingBody:
        """Makes the object of a body that comes in."""
        body = self._incoming[token] = IncomingBody(self, token, peer_id, message_id, head)
        return body

    def release(self, token: int, reason: str) -> None:
        """The reader is done, or gone. From any thread."""
        self.core.release(token, reason)

    def _on_wanted(self, event: Event) -> None:
        _, token, offset, room = event
        if (outgoing := self._outgoing.get(token)) is not None:
            outgoing.feed(offset, room)

    def _on_over(self, event: Event) -> None:
        if (outgoing := self._outgoing.pop(event[1], None)) is not None:
            outgoing.end()

    def _on_moved(self, event: Event) -> None:
        _, token, confirmed = event
        if (outgoing := self._outgoing.get(token)) is None:
            return
        outgoing.moved = max(outgoing.moved, confirmed)
        self._outbox.wake(token)
        self._tell("out", outgoing.peer_id, outgoing.receipt.message_id, outgoing.name, Progress(outgoing.moved, outgoing.total))

    def _on_arrived(self, event: Event) -> None:
        _, token, received = event
        if (body := self._incoming.get(token)) is None:
            return
        body.arrived(received)
        now = time.monotonic()
        if now >= body.told_at + PROGRESS_PAUSE or received == body.length:
            body.told_at = now
            self._tell("in", body.peer_id, body.message_id, body.name, Progress(received, body.length))

    def _tell(self, direction: Direction, peer_id: bytes, message_id: bytes, name: str | None, progress: Progress) -> None:
        if self._on_progress is not None:
            self._on_progress(direction, peer_id, message_id, name, progress)

    def _end(self) -> None:
        while self._outgoing:
            _, outgoing = self._outgoing.popitem()
            if not self.seam.loop.is_closed():
                outgoing.end()
        for body in list(self._incoming.values()):
            body.wake()
