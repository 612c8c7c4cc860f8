"""Types of the native module: the state machines of `src/`, driven by one tokio runtime per process.

Nothing here waits, `probe` excepted. What takes time answers later with an event, and all events of an agent cross in batches: `wake_fd` turns readable
when the first one is queued, and `drain` takes them. The public API is in the Python modules beside this file.
"""

from collections.abc import Sequence
from pathlib import Path
from typing import Any, Final, Self, final

__all__ = [
    "BODY_MAX",
    "EVENT_ADMITTED",
    "EVENT_ANSWER",
    "EVENT_BODY_ARRIVED",
    "EVENT_BODY_MOVED",
    "EVENT_BODY_OVER",
    "EVENT_BODY_WANTED",
    "EVENT_BURNT",
    "EVENT_CANCELLED",
    "EVENT_CLOSED",
    "EVENT_DEFINITION",
    "EVENT_FAILED",
    "EVENT_GAP",
    "EVENT_INVITE",
    "EVENT_JOINED",
    "EVENT_LINKED",
    "EVENT_LINK_LOST",
    "EVENT_LOOP_STOPPED",
    "EVENT_MESSAGE",
    "EVENT_MOVED",
    "EVENT_NOT_SAVED",
    "EVENT_PEER",
    "EVENT_PROGRESS",
    "EVENT_RECEIPT",
    "EVENT_REQUEST",
    "EVENT_SPACE",
    "FLAG_LARGE",
    "FLAG_MAYBE_REPEATED",
    "FLAG_WANTS_DONE",
    "LARGE_BODY_MAX",
    "RECEIPT_ACCEPTED",
    "RECEIPT_DELIVERED",
    "RECEIPT_DONE",
    "RECEIPT_EXPIRED",
    "RECEIPT_FAILED",
    "RECEIPT_FULL",
    "RECEIPT_QUEUED",
    "RECEIPT_REFUSED",
    "RECEIPT_UNKNOWN",
    "Agent",
    "Bodies",
    "IdentityFile",
    "PeerInfo",
    "Receipt",
    "Switchboard",
    "__version__",
    "_error_samples",
    "decode_body",
    "encode_body",
    "identity_info",
    "invite_info",
    "new_key",
    "probe",
    "runtime_alive",
]

__version__: Final[str]

# Kinds of events: the first element of each tuple that Agent.drain() returns. Ids of peers are 32 bytes, tokens are integers that
# are never used twice within an agent.
EVENT_LINKED: Final[int]  # (kind, switchboard: str, resumed: bool) the link is up (again), and goes on from the one before or not
EVENT_LINK_LOST: Final[int]  # (kind, error: Exception, retry_in: float) the link broke; the core links again by itself
EVENT_JOINED: Final[int]  # (kind,) membership is there and the link is up: host() and join() may return
EVENT_CLOSED: Final[int]  # (kind, error: Exception | None) the agent is over: closed, replaced, or it could not join
EVENT_PEER: Final[int]  # (kind, what: str, PeerInfo) what: "joined", "changed", "up", "down", "gone", "left"
# (kind, token, sender, body, lane, thread: bytes, expiry_ms, ttl_ms, depth, budget: int | None, flags, headers: dict | None, message_id: bytes)
EVENT_MESSAGE: Final[int]
# (kind, token, sender, body, lane, thread: bytes, expiry_ms, ttl_ms, depth, budget, flags, headers, message_id, skill: str | None, attempt)
EVENT_REQUEST: Final[int]
EVENT_CANCELLED: Final[int]  # (kind, token) the caller cancelled this request, or is gone
EVENT_GAP: Final[int]  # (kind, sender, lane, thread: bytes) a message of this thread expired at its sender and will never come
EVENT_RECEIPT: Final[int]  # (kind, token, state: int, reason: str) only for receipts that were watched
EVENT_PROGRESS: Final[int]  # (kind, call, sender, body, message_id) a partial answer
EVENT_ANSWER: Final[int]  # (kind, call, token, sender, body, lane, thread, depth, budget, headers, message_id) the final answer
EVENT_FAILED: Final[int]  # (kind, call, error: Exception) the call ended without an answer
EVENT_MOVED: Final[int]  # (kind, call, peer: bytes, attempt: int) the call was given to this peer (the first time included)
EVENT_DEFINITION: Final[int]  # (kind, token, definition: bytes) answer to describe(); empty: the peer doesn't know it
# (kind, token, error: Exception | None, code: str | None) an invite can be used, or couldn't be opened; a code has its text by now
EVENT_INVITE: Final[int]
EVENT_BURNT: Final[int]  # (kind, token, error: Exception) a code is over before its time
EVENT_ADMITTED: Final[int]  # (kind, token, PeerInfo) somebody joined with this invite
EVENT_NOT_SAVED: Final[int]  # (kind, text: str) the agent file could not be written; the core tries again
EVENT_LOOP_STOPPED: Final[int]  # (kind, peer, thread: bytes, here: bool) messages that cause each other came to their limit
EVENT_SPACE: Final[int]  # (kind,) the outbox was full and has room again
EVENT_BODY_WANTED: Final[
    int
]  # (kind, token, offset, room) a large body's source is to give up to `room` bytes from `offset` on, by feed() or finish()
EVENT_BODY_OVER: Final[int]  # (kind, token) nothing more of this source will be wanted
EVENT_BODY_MOVED: Final[int]  # (kind, token, confirmed) so many bytes of a body that is sent have arrived; now and then
EVENT_BODY_ARRIVED: Final[int]  # (kind, token, received) take() may give something, or raise

FLAG_MAYBE_REPEATED: Final[int]
FLAG_WANTS_DONE: Final[int]
FLAG_LARGE: Final[int]  # the message's body is (form, length: int | None, name: str): see Bodies

BODY_MAX: Final[int]  # bytes of what goes as one message
LARGE_BODY_MAX: Final[int]

# States of a receipt. Those below RECEIPT_DELIVERED are hints and may pass into each other; from there on they can only rise.
RECEIPT_QUEUED: Final[int]  # in this agent's outbox
RECEIPT_UNKNOWN: Final[int]  # hint: the switchboard doesn't know the receiver at present
RECEIPT_FULL: Final[int]  # hint: it doesn't, and takes nothing more for it; tried again after `retry_after`
RECEIPT_ACCEPTED: Final[int]  # hint: the message waits at the switchboard for its receiver
RECEIPT_DELIVERED: Final[int]  # in the receiver's memory
RECEIPT_DONE: Final[int]  # handled
RECEIPT_REFUSED: Final[int]  # refused by the receiver
RECEIPT_EXPIRED: Final[int]  # unconfirmed when its time was over
RECEIPT_FAILED: Final[int]  # the agent closed, or the peer is gone for good, before anything was confirmed

@final
class PeerInfo:
    """What an agent knows about another: a snapshot, read-only."""

    @property
    def id(self) -> bytes: ...
    @property
    def text_id(self) -> str: ...
    @property
    def name(self) -> str: ...
    @property
    def run(self) -> bytes: ...
    @property
    def linked(self) -> bool: ...
    @property
    def gone(self) -> bool: ...
    @property
    def skills(self) -> list[tuple[str, tuple[str, ...], int, bytes]]: ...  # name, tags, concurrency, SHA-256 of the definition
    @property
    def rights(self) -> tuple[frozenset[str] | None, bool, bool, bool]: ...  # skills, admit, terminals, originate
    @property
    def certificate_expiry_ms(self) -> int: ...

@final
class Receipt:
    """The state of one sent message. Reading it costs nothing; changes are reported only after `watch()`."""

    @property
    def token(self) -> int: ...
    @property
    def state(self) -> int: ...
    @property
    def reason(self) -> str: ...
    @property
    def retry_after(self) -> float | None: ...  # seconds; None unless the state is RECEIPT_FULL
    @property
    def message_id(self) -> bytes: ...
    def watch(self) -> int: ...  # from here on EVENT_RECEIPT reports each change; returns the state at this moment

@final
class IdentityFile:
    """An agent file that was read or made, and could be written."""

    @staticmethod
    def open(path: str, name: str, *, founds: bool) -> IdentityFile: ...  # raises IdentityFileError; touches the disk
    @property
    def path(self) -> Path: ...
    @property
    def is_founder(self) -> bool: ...
    @property
    def needs_invite(self) -> bool: ...
    @property
    def switchboards(self) -> list[str]: ...

@final
class Agent:
    """One agent: a handle to its state machine and to the task that drives it. Usable from any thread."""

    @staticmethod
    def host(
        name: str,
        *,
        switchboards: Sequence[str],  # in the order of preference
        identity: IdentityFile | None = None,
        embedded: bool = False,  # the switchboard ends with this process: its address isn't kept
        skills: Sequence[tuple[str, tuple[str, ...], int, bytes]] = ...,  # name, tags, concurrency, definition (JSON)
        ca_file: str | None = None,
        peer_gone_after: float = 10.0,
        outbox_bytes: int | None = None,
        outbox_messages: int | None = None,
        depth_max: int | None = None,
    ) -> Agent: ...
    @staticmethod
    def join(
        name: str,
        *,
        invite: str | None,  # a code or a ticket
        switchboards: Sequence[str],
        identity: IdentityFile | None = None,  # without a ticket, or where none is needed, the agent goes on as it was
        skills: Sequence[tuple[str, tuple[str, ...], int, bytes]] = ...,
        ca_file: str | None = None,
        peer_gone_after: float = 10.0,
        outbox_bytes: int | None = None,
        outbox_messages: int | None = None,
        depth_max: int | None = None,
    ) -> Agent: ...
    @property
    def id(self) -> bytes: ...
    @property
    def text_id(self) -> str: ...
    @property
    def name(self) -> str: ...
    @property
    def swarm(self) -> str: ...
    @property
    def wake_fd(self) -> int: ...  # -1 where the platform has no such descriptor: then set_waker must be used
    @property
    def bodies(self) -> Bodies: ...
    def set_waker(self, callback: Any) -> None: ...
    def drain(self, limit: int = ...) -> list[tuple[Any, ...]]: ...
    def flush(self) -> None: ...  # seals and writes what waits, on this thread if the socket is idle
    def send(
        self,
        to: bytes,
        body: object,
        lane: int,
        thread: bytes | None,
        ttl: float,
        until_done: bool,
        depth: int = 0,
        budget: int | None = None,  # how many messages this one may cause, itself included
        headers: dict[str, object] | None = None,
        reply_to: bytes | None = None,  # id of the plain message that this one replies to
    ) -> Receipt: ...  # raises OutboxFull, BodyError, PeerUnknown, AgentClosed
    def request(
        self,
        to: bytes,
        body: object,
        lane: int,
        thread: bytes | None,
        ttl: float,
        depth: int = 0,
        budget: int | None = None,
        headers: dict[str, object] | None = None,
    ) -> tuple[int, Receipt | None]: ...  # call token; None if the call failed at once, which EVENT_FAILED tells
    def call(
        self,
        skill: str,
        args: tuple[object, ...],
        kwargs: dict[str, object],
        to: bytes | None,  # None: any linked holder of the skill, moved on PeerGone or busy
        among: Sequence[bytes] | None,  # None: all holders
        lane: int,
        ttl: float,
        timeout: float | None,
        progress_timeout: float | None,
        depth: int = 0,
        budget: int | None = None,
    ) -> int: ...  # call token; raises SkillUnknown when nobody is known to have the skill
    def cancel(self, call: int) -> None: ...
    def call_receipt(self, call: int) -> Receipt | None: ...
    # To a request; the reply to a plain message is a send() with reply_to
    def answer(self, token: int, body: object, final: bool, depth: int = 0, budget: int | None = None) -> Receipt: ...
    def stop_loop(self, peer: bytes, id: bytes, lane: int, thread: bytes) -> None: ...  # tells its sender that this message caused too much
    def refuse(self, token: int, code: int, type: str, text: str, retry_after: float = 0.0) -> None: ...
    def done(self, token: int) -> None: ...  # this plain message has been handled
    # So many plain messages more of this lane were taken by the application: gives credit back
    def consumed(self, lane: int, messages: int) -> None: ...
    def turned(self) -> None: ...  # the event loop lives: heartbeats of running requests stop 60 s after the last call
    def peers(self) -> list[PeerInfo]: ...
    def peer(self, id: bytes) -> PeerInfo | None: ...
    def describe(self, peer: bytes, hash: bytes) -> int: ...
    # Replaces the skills; peers get the changed card
    def offer(self, skills: Sequence[tuple[str, tuple[str, ...], int, bytes]]) -> None: ...
    def invite(
        self,
        kind: str,  # "code" or "ticket"
        uses: int | None,  # None: uncounted
        ttl: float,
        rights: tuple[Sequence[str] | None, bool, bool, bool],
        addresses: Sequence[str],
    ) -> tuple[int, str | None]: ...  # token, a ticket's text; EVENT_INVITE says when it can be used, and gives a code's text
    def revoke(self, token: int) -> None: ...
    def health(self) -> dict[str, Any]: ...
    def outstanding(self) -> list[Receipt]: ...  # receipts that are neither delivered, accepted nor settled otherwise
    def close(self) -> None: ...  # says goodbye, ends the task; EVENT_CLOSED follows. Idempotent.

@final
class Bodies:
    """The large bodies of an agent. A body has the token of its message or receipt. Usable from any thread."""

    def send(
        self,
        to: bytes,
        whole: bytes | None,  # None: it is fed
        name: str | None,  # of a file
        length: int | None,
        repeatable: bool,  # it can be fed from the beginning again
        lane: int,
        thread: bytes | None,
        ttl: float,
        until_done: bool,
        depth: int = 0,
        budget: int | None = None,
        headers: dict[str, object] | None = None,
        reply_to: bytes | None = None,
    ) -> Receipt: ...  # raises OutboxFull, BodyError, PeerUnknown, AgentClosed
    def feed(self, body: int, offset: int, piece: bytes) -> None: ...  # raises UsageError when it is over, BodyError when it is too long
    def finish(self, body: int) -> None: ...
    def give_up(self, body: int, why: str) -> None: ...
    # At least one part and up to `limit` bytes; None: nothing yet, b"": that was all; raises BodyLost, BodyDamaged
    def take(self, body: int, limit: int) -> bytes | None: ...
    def received(self, body: int) -> int: ...  # bytes that have come, 0 when it is over
    def release(self, body: int, why: str) -> None: ...  # the reader is done; what it didn't take is refused

@final
class Switchboard:
    """A switchboard on this process's runtime."""

    def __new__(
        cls,
        *,
        listen: str,
        advertise: str | None = None,
        key_file: str | None = None,
        certificate_file: str | None = None,
        private_key_file: str | None = None,
        plain: bool = False,
        behind_proxy: bool = False,
    ) -> Self: ...  # raises PortInUse, ConfigurationError
    @property
    def url(self) -> str: ...
    @property
    def pin(self) -> str: ...
    @property
    def port(self) -> int: ...
    @property
    def is_over(self) -> bool: ...
    def stats(self) -> dict[str, int]: ...
    def close(self) -> None: ...

def new_key(path: str) -> str: ...  # writes a fresh private key (0600, never overwrites), returns the pin

# name, founder, needs_invite, switchboards, expires (Unix seconds, None before admission), rights as PeerInfo.rights has them; raises
# IdentityFileError; None if there is no such file
def identity_info(path: str) -> dict[str, Any] | None: ...
def invite_info(text: str) -> dict[str, Any]: ...  # kind, and of a ticket addresses, expiry_ms, counted, swarm; raises InviteDamaged

# Goes the way to a switchboard as an agent would, and tells what it saw: see src/net/probe.rs. Blocks; raises ConfigurationError for an
# address or ca_file that can't be used, for all else there is "error" with stage, kind and text.
def probe(address: str, *, ca_file: str | None = None, timeout: float = 10.0) -> dict[str, Any]: ...
def encode_body(body: object) -> tuple[int, bytes]: ...  # content type and bytes; raises BodyError
def decode_body(content_type: int, data: bytes) -> object: ...
def _error_samples() -> list[Exception]: ...  # one of each kind that this module raises, for the tests
def runtime_alive() -> bool: ...  # False in a child after fork()
