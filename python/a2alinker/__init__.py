"""a2alinker: agents on different machines talk, end-to-end encrypted, through a switchboard that can't read what passes.

    async with a2alinker.host("planner", switchboard="wss://relay.example:7447#pin") as planner:
        print(await planner.invite())                           # 7-lantern-paprika-walrus
        await planner.wait_for(skill="review")
        print(await planner.call("review", "def f(): pass"))

    @a2alinker.skill
    async def review(text: str) -> str:
        "Review a piece of code."
        return "needs a docstring"

    async with a2alinker.join("coder", "7-lantern-paprika-walrus", switchboard="wss://relay.example:7447", skills=[review]) as coder:
        await coder.serve_forever()

Without an event loop: `a2alinker.sync.host` and `a2alinker.sync.join`.

All names below are public, and nothing else is.
"""

import logging
from typing import TYPE_CHECKING

from ._core import __version__
from .agent import Agent
from .bodies import File, IncomingBody, Progress
from .call import Call
from .context import Context, unprompted
from .events import (
    BodyProgress,
    Event,
    EventsMissed,
    LinkDown,
    LinkUp,
    LoopStopped,
    MessageLost,
    NotSaved,
    PeerEvent,
    Replaced,
)
from .exceptions import (
    A2ALinkerError,
    AgentClosed,
    AlreadyConsumed,
    AmbiguousPeer,
    AuthenticationFailed,
    BadAnswer,
    BadArguments,
    BodyDamaged,
    BodyError,
    BodyLost,
    BodyNotSaved,
    BodySourceFailed,
    BodyTooLarge,
    CallCancelled,
    CallError,
    CallLapsed,
    CallRefused,
    CallTimeout,
    CertificateExpired,
    ConfigurationError,
    DeliveryError,
    Expired,
    Forked,
    FrameworkMissing,
    IdentityFileError,
    InviteBurnt,
    InviteDamaged,
    InviteError,
    InviteExpired,
    InviteRevoked,
    InviteUnknown,
    InviteUsed,
    InviteWrong,
    LinkClosed,
    LinkError,
    LinkReplaced,
    NoEventLoop,
    NotPermitted,
    NotReachable,
    OutboxFull,
    PartialAnswersLost,
    PeerBusy,
    PeerGone,
    PeerUnknown,
    PortInUse,
    ProtocolError,
    ProxyRefused,
    Refused,
    RemoteError,
    SecurityError,
    SkillUnknown,
    StreamRestarted,
    SwitchboardRefused,
    SwitchboardUnreachable,
    TimedOut,
    TooDeep,
    Undelivered,
    Unsupported,
    UntrustedSwitchboard,
    UsageError,
    WouldDeadlock,
    WrongLoop,
)
from .health import Health
from .invite import Invite, Rights
from .message import Message
from .opening import host, join
from .outbox import Priority
from .peer import Peer, Peers, SkillDefinition, SkillInfo
from .receipt import Receipt
from .remote import Remote
from .skill import Skill, skill
from .switchboard import Switchboard

__all__ = [
    "A2ALinkerError",
    "Agent",
    "AgentClosed",
    "AlreadyConsumed",
    "AmbiguousPeer",
    "AuthenticationFailed",
    "BadAnswer",
    "BadArguments",
    "BodyDamaged",
    "BodyError",
    "BodyLost",
    "BodyNotSaved",
    "BodyProgress",
    "BodySourceFailed",
    "BodyTooLarge",
    "Call",
    "CallCancelled",
    "CallError",
    "CallLapsed",
    "CallRefused",
    "CallTimeout",
    "CertificateExpired",
    "ConfigurationError",
    "Context",
    "DeliveryError",
    "Event",
    "EventsMissed",
    "Expired",
    "File",
    "Forked",
    "FrameworkMissing",
    "Health",
    "IdentityFileError",
    "IncomingBody",
    "Invite",
    "InviteBurnt",
    "InviteDamaged",
    "InviteError",
    "InviteExpired",
    "InviteRevoked",
    "InviteUnknown",
    "InviteUsed",
    "InviteWrong",
    "LinkClosed",
    "LinkDown",
    "LinkError",
    "LinkReplaced",
    "LinkUp",
    "LoopStopped",
    "Message",
    "MessageLost",
    "NoEventLoop",
    "NotPermitted",
    "NotReachable",
    "NotSaved",
    "OutboxFull",
    "PartialAnswersLost",
    "Peer",
    "PeerBusy",
    "PeerEvent",
    "PeerGone",
    "PeerUnknown",
    "Peers",
    "PortInUse",
    "Priority",
    "Progress",
    "ProtocolError",
    "ProxyRefused",
    "Receipt",
    "Refused",
    "Remote",
    "RemoteError",
    "Replaced",
    "Rights",
    "SecurityError",
    "Skill",
    "SkillDefinition",
    "SkillInfo",
    "SkillUnknown",
    "StreamRestarted",
    "Switchboard",
    "SwitchboardRefused",
    "SwitchboardUnreachable",
    "TimedOut",
    "TooDeep",
    "Undelivered",
    "Unsupported",
    "UntrustedSwitchboard",
    "UsageError",
    "WouldDeadlock",
    "WrongLoop",
    "__version__",
    "host",
    "join",
    "skill",
    "sync",
    "unprompted",
]

if TYPE_CHECKING:
    from . import sync
else:

    def __getattr__(name):
        """Imports `a2alinker.sync` with its first use: most programs have a loop, and it would be a tenth of their import."""
        if name != "sync":
            raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
        from importlib import import_module

        return import_module(f"{__name__}.{name}")

    def __dir__():
        return sorted({*globals(), "sync"})


logging.getLogger("a2alinker").addHandler(logging.NullHandler())
