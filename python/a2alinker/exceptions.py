"""Every exception of a2alinker.

    A2ALinkerError
    ├── LinkError (ConnectionError)         the way to the switchboard
    │   ├── SwitchboardUnreachable          nobody answers at the address
    │   ├── SwitchboardRefused              it answered, and said no
    │   ├── ProxyRefused                    the proxy on the way doesn't lead there
    │   ├── UntrustedSwitchboard            neither the system's roots nor the pin vouch for its certificate
    │   ├── LinkClosed                      it was up, and ended
    │   ├── LinkReplaced                    the same identity linked from elsewhere
    │   ├── NotReachable                    the address works on this machine only
    │   └── PortInUse                       the embedded switchboard can't listen there
    ├── ProtocolError                       the other side doesn't speak the protocol
    ├── SecurityError
    │   ├── AuthenticationFailed            a signature, key or seal doesn't fit
    │   ├── NotPermitted (PermissionError)  the certificate doesn't grant this
    │   └── CertificateExpired              membership is over, or a clock is wrong
    ├── InviteError (ValueError)
    │   ├── InviteDamaged                   neither a code nor a whole ticket
    │   ├── InviteWrong                     the words of the code are wrong
    │   ├── InviteBurnt                     somebody tried a code with wrong words
    │   ├── InviteUsed                      as many have joined as it allows, or a code is over
    │   ├── InviteExpired                   too old
    │   ├── InviteUnknown                   no inviter answers to it there
    │   └── InviteRevoked                   taken back
    ├── DeliveryError
    │   ├── PeerUnknown (LookupError)       no such agent in the swarm
    │   ├── AmbiguousPeer (LookupError)     several agents of that name
    │   ├── PeerGone (ConnectionError)      the agent ended or lost its link
    │   ├── OutboxFull                      too much waits to be sent
    │   ├── Expired (TimeoutError)          unconfirmed when its time was over
    │   ├── Refused                         the receiver said no to a message
    │   ├── BodySourceFailed                what a large body is made of failed while it was sent
    │   ├── BodyLost                        a large body ended before all of it had come
    │   ├── BodyDamaged                     a large body isn't what its sender announced
    │   ├── BodyTooLarge                    a large body is longer than the reader allows
    │   └── Undelivered                     closing left messages unconfirmed
    ├── CallError
    │   ├── CallRefused                     the handler said no
    │   ├── RemoteError                     the handler raised an exception
    │   ├── CallLapsed                      the handler shows no life, or hit its own limit
    │   ├── CallTimeout (TimeoutError)      the caller's own limit
    │   ├── CallCancelled                   cancelled by one of the two sides
    │   ├── SkillUnknown (LookupError)      nobody has the skill
    │   ├── BadArguments (TypeError)        the arguments don't fit the skill's signature
    │   ├── BadAnswer (TypeError)           the answer doesn't fit, or can't be sent
    │   ├── PeerBusy                        no free worker
    │   ├── TooDeep (RecursionError)        a chain of calls that goes round
    │   ├── Unsupported                     the peer doesn't know this kind of request
    │   ├── StreamRestarted                 partial answers begin anew, at another worker
    │   └── PartialAnswersLost              nobody read them in time
    ├── BodyError (TypeError, ValueError)   this value can't be sent
    ├── BodyNotSaved (OSError)              a large body that came in can't be written
    ├── ConfigurationError (ValueError)     an argument or variable is wrong
    │   ├── IdentityFileError               the agent file can't be used
    │   └── FrameworkMissing (ImportError)  an adapter's framework isn't installed
    ├── TimedOut (TimeoutError)             host, join, wait_for and the like took too long
    └── UsageError (RuntimeError)
        ├── AgentClosed                     the agent is closed
        ├── AlreadyConsumed                 a second loop over the agent's messages
        ├── NoEventLoop                     there is no running event loop
        ├── WrongLoop                       the agent belongs to another loop or thread
        ├── WouldDeadlock                   waiting here would stop what is waited for
        └── Forked                          this process is a fork of the agent's

Each has a stable `code` for logs and programs, and `retryable`: whether the same thing may work later without a change. All are made as
`Class(text, **attributes)`; the attributes are documented with each class, and are None or empty where nothing is known.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, ClassVar

if TYPE_CHECKING:
    from .receipt import Receipt


class A2ALinkerError(Exception):
    """The base of all exceptions of a2alinker."""

    code: ClassVar[str] = "error"
    retryable: ClassVar[bool] = False

    def __init_subclass__(cls, *, code: str, retryable: bool = False, **rest: Any) -> None:
        super().__init_subclass__(**rest)
        cls.code = code
        cls.retryable = retryable

    def __init__(self, text: str = "") -> None:
        super().__init__(text or (type(self).__doc__ or type(self).__name__).split("\n", 1)[0])


class LinkError(A2ALinkerError, ConnectionError, code="link", retryable=True):
    """The way to the switchboard is broken."""


class SwitchboardUnreachable(LinkError, code="switchboard_unreachable", retryable=True):
    """Nobody answers at the switchboard's address.

    The address is wrong, the switchboard isn't running, or a network or firewall is in between. `address` is what was tried.
    """

    def __init__(self, text: str = "", *, address: str = "") -> None:
        super().__init__(text)
        self.address = address


class SwitchboardRefused(LinkError, code="switchboard_refused", retryable=True):
    """The switchboard answered and refused the link.

    `reason` is its word for it: `full`, `rate`, `shutting down`, `version`, `authentication` and so on.
    `retry_after` is in seconds, 0 where it didn't say.
    """

    def __init__(self, text: str = "", *, reason: str = "", retry_after: float = 0.0) -> None:
        super().__init__(text)
        self.reason = reason
        self.retry_after = retry_after


class ProxyRefused(LinkError, code="proxy_refused"):
    """The proxy that the environment names (HTTPS_PROXY and the like) doesn't lead to the switchboard.

    It wants another user and password, forbids the address, or isn't an HTTP proxy; the text says which. Mend its setting, or take the
    switchboard's host out with NO_PROXY. `proxy` is its address, without the password.
    """

    def __init__(self, text: str = "", *, proxy: str = "") -> None:
        super().__init__(text)
        self.proxy = proxy


class UntrustedSwitchboard(LinkError, code="untrusted_switchboard"):
    """Neither the system's certificate authorities nor the pin of the address vouch for the switchboard's certificate.

    It is another switchboard, it was restarted without its key file, or somebody is in between. If its operator confirms the pin, add
    it to the address: `wss://host:port#pin`. `pin` is the one seen, `expected` the one of the address.
    """

    def __init__(self, text: str = "", *, address: str = "", pin: str = "", expected: str = "") -> None:
        super().__init__(text)
        self.address = address
        self.pin = pin
        self.expected = expected


class LinkClosed(LinkError, code="link_closed", retryable=True):
    """The link to the switchboard ended.

    An agent links again by itself; whoever sees this exception learns why there was no link at that time.
    """


class LinkReplaced(LinkError, code="link_replaced"):
    """Another process linked with the same identity, and this agent gave way.

    Two processes share an agent's identity. End one of them; this agent doesn't come back by itself.
    """


class NotReachable(LinkError, code="not_reachable"):
    """The switchboard's address works on this machine only, so an invite to it is of no use elsewhere.

    Host with `switchboard=` or with `listen=` and `advertise=`, or say `local=True` if everybody joins from this machine.
    """

    def __init__(self, text: str = "", *, address: str = "") -> None:
        super().__init__(text)
        self.address = address


class PortInUse(LinkError, code="port_in_use", retryable=True):
    """The switchboard can't listen at its address.

    Another program has the port (give port 0 to take any free one), or the address isn't one of this machine.
    """

    def __init__(self, text: str = "", *, address: str = "") -> None:
        super().__init__(text)
        self.address = address


class ProtocolError(A2ALinkerError, code="protocol"):
    """The other side doesn't speak the protocol, or not this version.

    Something else listens at the address, or one side is much older than the other.
    """


class SecurityError(A2ALinkerError, code="security"):
    """Something doesn't prove what it has to prove."""


class AuthenticationFailed(SecurityError, code="authentication_failed"):
    """A signature, a key or a seal doesn't fit. Nothing more is said on purpose.

    The ticket is of another swarm, the data was changed on its way, or a peer is broken.
    """


class NotPermitted(SecurityError, PermissionError, code="not_permitted"):
    """The agent's certificate doesn't grant this.

    Rights come with the invite: see `Rights`. Ask for an invite that grants it.
    """


class CertificateExpired(SecurityError, code="certificate_expired"):
    """The certificate of an agent is no longer valid, or not yet.

    Membership lasts 30 days: join again with a fresh invite. If it is younger, the clock of one of the machines is wrong.
    """


class InviteError(A2ALinkerError, ValueError, code="invite"):
    """The invite doesn't admit."""


class InviteDamaged(InviteError, code="invite_damaged"):
    """This is neither a code nor a whole ticket: characters are missing or changed, or it is something else.

    A code is a number and three words, as in `7-lantern-paprika-walrus`; of a ticket copy the whole: it starts with `a2alt_`.
    """


class InviteWrong(InviteError, code="invite_wrong"):
    """The words of the code are wrong, and now it can't be used any more. Ask for a new one, and compare all of it."""


class InviteBurnt(InviteError, code="invite_burnt"):
    """Somebody tried the code with wrong words, or through another switchboard, and nobody was admitted. Make a new one.

    Whoever it was for mistyped, or somebody guesses: a guess is right once in two thousand million times.
    """


class InviteUsed(InviteError, code="invite_used"):
    """As many agents have joined with this invite as it allows, or somebody spoilt the code with wrong words. Ask for a new one."""


class InviteExpired(InviteError, code="invite_expired"):
    """The invite's time is over. Ask for a new one, or for one with a longer `ttl`."""


class InviteUnknown(InviteError, code="invite_unknown", retryable=True):
    """No inviter answers to this code or ticket at that switchboard.

    The inviting agent has ended or isn't linked at present, the code has expired, or the switchboard is another one.
    """


class InviteRevoked(InviteError, code="invite_revoked"):
    """The inviter took the invite back."""


class DeliveryError(A2ALinkerError, code="delivery"):
    """A message could not be delivered."""


class PeerUnknown(DeliveryError, LookupError, code="peer_unknown", retryable=True):
    """There is no agent with this name or id in the swarm, as far as this agent knows.

    `peer` is what was asked for. If the agent has yet to join: `await agent.wait_for(name=...)`.
    """

    def __init__(self, text: str = "", *, peer: str = "") -> None:
        super().__init__(text)
        self.peer = peer


class AmbiguousPeer(DeliveryError, LookupError, code="ambiguous_peer"):
    """Several agents have this name. Send to one of the `candidates`, by `Peer` or by id."""

    def __init__(self, text: str = "", *, peer: str = "", candidates: tuple[Any, ...] = ()) -> None:
        super().__init__(text)
        self.peer = peer
        self.candidates = candidates


class PeerGone(DeliveryError, ConnectionError, code="peer_gone", retryable=True):
    """The peer ended, or has had no link for longer than `peer_gone_after`, before it answered.

    What it did with the message until then is unknown. `peer` is its id.
    """

    def __init__(self, text: str = "", *, peer: str = "") -> None:
        super().__init__(text)
        self.peer = peer


class OutboxFull(DeliveryError, code="outbox_full", retryable=True):
    """Too many messages wait to be sent or confirmed. `await agent.send(...)` waits for room, `send_nowait` doesn't.

    A body that alone is larger than the outbox never fits, and then `retryable` is of no use.
    """


class Expired(DeliveryError, TimeoutError, code="expired", retryable=True):
    """No confirmation came until the message's `ttl` was over.

    It may or may not have arrived: only a confirmation proves anything.
    """


class Refused(DeliveryError, code="refused"):
    """The receiver refused the message. `reason` is its text."""

    def __init__(self, text: str = "", *, reason: str = "") -> None:
        super().__init__(text)
        self.reason = reason


class BodySourceFailed(DeliveryError, code="body_source_failed"):
    """The file or iterator that a large body is made of failed while it was sent, and the receiver was told. `__cause__` is what it raised."""


class BodyLost(DeliveryError, code="body_lost", retryable=True):
    """A large body ended before all of it had come: its sender gave up, left or was restarted, or nothing came for too long.

    A sender that is restarted, or whose receiver is, may send it again from the beginning, as another message.
    """


class BodyDamaged(DeliveryError, code="body_damaged"):
    """The length or the digest of a large body isn't what its sender announced. Nothing of it should be used, and its sender was told."""


class BodyTooLarge(DeliveryError, code="body_too_large"):
    """A large body is longer than the reader allows. `limit` is in bytes. Its sender was told."""

    def __init__(self, text: str = "", *, limit: int = 0) -> None:
        super().__init__(text)
        self.limit = limit


class Undelivered(DeliveryError, code="undelivered"):
    """The agent closed while these messages were unconfirmed. `receipts` tells which.

    Close with a longer `timeout`, or look at `receipt.state` and send again from the next run.
    """

    def __init__(self, text: str = "", *, receipts: tuple[Receipt, ...] = ()) -> None:
        super().__init__(text)
        self.receipts = receipts


class CallError(A2ALinkerError, code="call"):
    """A call ended without an answer."""


class CallRefused(CallError, code="call_refused"):
    """The handler refused. A handler raises this exception itself in order to refuse.

    `retry_after` is in seconds, 0 where it didn't say.
    """

    def __init__(self, text: str = "", *, retry_after: float = 0.0) -> None:
        super().__init__(text)
        self.retry_after = retry_after


class RemoteError(CallError, code="remote_error"):
    """The handler raised an exception. `type` is its class, `text` its text; the traceback is in the log of the other side."""

    def __init__(self, text: str = "", *, type: str = "") -> None:
        super().__init__(f"{type}: {text}" if type and text else type or text)
        self.type = type
        self.text = text


class CallLapsed(CallError, code="call_lapsed", retryable=True):
    """The handler shows no life any more.

    Its event loop hasn't turned for 60 s, it made no progress within `progress_timeout`, or it reached the skill's own `timeout`.
    """


class CallTimeout(CallError, TimeoutError, code="call_timeout", retryable=True):
    """There was no answer within the `timeout` that the caller set. The call was cancelled."""


class CallCancelled(CallError, code="call_cancelled"):
    """The call was cancelled, here by `Call.cancel()` or there by the handler's own doing."""


class SkillUnknown(CallError, LookupError, code="skill_unknown", retryable=True):
    """Nobody in the swarm has this skill, or not the peer that was asked.

    `skill` is its name. If an agent with it has yet to join: `await agent.wait_for(skill=...)`.
    """

    def __init__(self, text: str = "", *, skill: str = "") -> None:
        super().__init__(text)
        self.skill = skill


class BadArguments(CallError, TypeError, code="bad_arguments"):
    """The arguments don't fit the signature of the skill. `await peer.describe(skill)` tells what it wants."""


class BadAnswer(CallError, TypeError, code="bad_answer"):
    """The answer isn't of the type asked for with `returns=`, or the handler returned something that can't be sent."""


class PeerBusy(CallError, code="peer_busy", retryable=True):
    """Every worker that could take the call has its hands full. `retry_after` is in seconds, 0 where none said."""

    def __init__(self, text: str = "", *, retry_after: float = 0.0) -> None:
        super().__init__(text)
        self.retry_after = retry_after


class TooDeep(CallError, RecursionError, code="too_deep"):
    """Messages caused by messages reached their limit: most likely agents answer or call each other in a circle.

    64 in a row unless `host` and `join` were told otherwise by `max_depth`, or fewer by a `budget`. What isn't caused by the message in hand is
    sent inside `with a2alinker.unprompted():`.
    """


class Unsupported(CallError, code="unsupported"):
    """The peer doesn't know this kind of request. It is probably older than this agent."""


class StreamRestarted(CallError, code="stream_restarted"):
    """The call was given to another worker after some of its partial answers had been read: they begin anew.

    The first worker was gone, busy or showed no life. The call itself goes on: another loop over it gives the partial answers of the new attempt from the
    first one on, and `await call` its final answer. `attempt` is its number.
    """

    def __init__(self, text: str = "", *, attempt: int = 0) -> None:
        super().__init__(text)
        self.attempt = attempt


class PartialAnswersLost(CallError, code="partial_answers_lost"):
    """The call's partial answers came faster than they were read, and those that waited were dropped.

    The call itself goes on: `await call` still gives the final answer. `limit` is in bytes.
    """

    def __init__(self, text: str = "", *, limit: int = 0) -> None:
        super().__init__(text)
        self.limit = limit


class BodyError(A2ALinkerError, TypeError, ValueError, code="body"):
    """This value can't be sent.

    Bodies are str, bytes, None, bool, int (64 bit), float, lists and str-keyed dicts of these, dataclasses and pydantic models; up to
    1 MiB when encoded. Messages may also be bytes, a `File` or an iterator that gives bytes, of up to 1 GiB.
    """


class BodyNotSaved(A2ALinkerError, OSError, code="body_not_saved"):
    """A large body that came in can't be written. `path` is where it should have gone, `__cause__` what the system said."""

    def __init__(self, text: str = "", *, path: str = "") -> None:
        super().__init__(text)
        self.path = path


class ConfigurationError(A2ALinkerError, ValueError, code="configuration"):
    """An argument, an environment variable or a file has a value that can't be used. The text says which."""


class IdentityFileError(ConfigurationError, code="identity_file"):
    """The agent file can't be used: it is missing its folder, damaged, open to others, not yours, or can't be written.

    The text says which, and what to do. `path` is the file. Nothing was joined, and no invite was used.
    """

    def __init__(self, text: str = "", *, path: str = "") -> None:
        super().__init__(text)
        self.path = path


class FrameworkMissing(ConfigurationError, ImportError, code="framework_missing"):
    """The framework that an adapter is for isn't installed, is too old, or is another package of the same name.

    The text says which, and what to install. `extra` is the extra of a2alinker that brings it, as in `pip install 'a2alinker[crewai]'`.
    """

    def __init__(self, text: str = "", *, extra: str = "") -> None:
        super().__init__(text)
        self.extra = extra


class TimedOut(A2ALinkerError, TimeoutError, code="timed_out", retryable=True):
    """What was waited for didn't happen within the given `timeout`."""


class UsageError(A2ALinkerError, RuntimeError, code="usage"):
    """The program uses an agent in a way that can't work."""


class AgentClosed(UsageError, code="agent_closed"):
    """The agent is closed, and does nothing any more. Open a new one."""


class AlreadyConsumed(UsageError, code="already_consumed"):
    """Another loop reads this agent's messages. Each message goes to one reader: keep one loop and hand on from there."""


class NoEventLoop(UsageError, code="no_event_loop"):
    """There is no running event loop in this thread. Call from a coroutine, started with `asyncio.run(...)`."""


class WrongLoop(UsageError, code="wrong_loop"):
    """The agent belongs to another event loop or thread.

    From another thread: `agent.sync.send(...)`. After the end of its loop an agent is of no use.
    """


class WouldDeadlock(UsageError, code="would_deadlock"):
    """This is the thread of the agent's own event loop, and to wait here would stop what is waited for.

    `await` the agent's own method instead; `agent.sync` is for other threads, as of `asyncio.to_thread(...)`.
    """


class Forked(UsageError, code="forked"):
    """This process was forked from the one in which the agent runs, and the agent's threads are not in it.

    Open agents after the fork, or start processes with `multiprocessing.get_context("spawn")`.
    """
