"""The agent: what a program holds of its place in a swarm."""

from __future__ import annotations

import asyncio
import time
import warnings
import weakref
from collections.abc import Callable, Iterable, Sequence
from types import TracebackType
from typing import TYPE_CHECKING, Any, Final, ParamSpec, Self, TypeVar, overload

from . import _core
from ._html import card
from ._loop import Seam, logger, running_loop
from .bodies import Bodies
from .call import Call, Calls
from .events import Events, EventStream
from .exceptions import ConfigurationError, TimedOut, Undelivered, WrongLoop
from .handlers import Handlers
from .health import Health
from .invite import LONGEST_CODE, Invite, Invites, Kind, Rights, Terms, reachable
from .message import Inbox, Message, Messages
from .outbox import DEFAULT_TTL, Outbox, Priority, To, Until, check_budget, check_thread, check_ttl, lane_of
from .peer import Peer, Peers, Roster
from .receipt import Receipt
from .remote import Choose, Remote
from .skill import Skill
from .switchboard import Switchboard

if TYPE_CHECKING:
    from .sync import Agent as BlockingAgent

P = ParamSpec("P")
R = TypeVar("R")
T = TypeVar("T")

GOODBYE: Final = 2.0  # seconds for the core to say goodbye; chosen: one round trip on a bad network


class Agent:
    """A participant of a swarm. `host` and `join` give one.

    It belongs to the event loop that opened it, and all its methods are called there; `progress` of a handler's context is the exception.
    Close it with `await agent.close()` or by `async with`: an agent that is dropped is closed with a ResourceWarning.
    """

    __slots__ = (
        "__weakref__",
        "_addresses",
        "_bodies",
        "_calls",
        "_events",
        "_handlers",
        "_inbox",
        "_invites",
        "_outbox",
        "_roster",
        "_seam",
        "_switchboard",
    )

    def __init__(
        self,
        seam: Seam,
        skills: Sequence[Skill[..., Any]],
        addresses: list[str],
        switchboard: Switchboard | None,
        on_link_lost: Callable[[Exception], None],
        identity: str | None = None,
    ) -> None:
        this = weakref.ref(self)
        self._seam = seam
        self._addresses = addresses
        self._switchboard = switchboard
        if switchboard is not None:
            seam.at_end(switchboard.end)
        self._roster = Roster(seam)
        self._outbox = Outbox(seam, self._roster)
        self._bodies = Bodies(seam, self._outbox)
        self._inbox = Inbox(seam, self._outbox)
        self._calls = Calls(seam, self._outbox)
        self._handlers = Handlers(seam, self._outbox, self._inbox, lambda: _alive(this), skills)
        self._invites = Invites(seam, self._roster)
        self._events = Events(seam, self._roster, on_link_lost, identity)
        self._bodies.on_progress(self._events.tell_progress)

    # -- who it is --

    @property
    def name(self) -> str:
        """Its name."""
        return self._seam.core.name

    @property
    def id(self) -> str:
        """Its identity, 52 characters."""
        return self._seam.core.text_id

    @property
    def swarm(self) -> str:
        """The id of its swarm, 52 characters."""
        return self._seam.core.swarm

    @property
    def switchboard(self) -> str:
        """The address of its switchboard, or the first one if it knows several."""
        return self._addresses[0] if self._switchboard is not None else self._events.switchboard or self._addresses[0]

    @property
    def link_error(self) -> Exception | None:
        """Why the link broke last, or couldn't be made; None if it never did."""
        return self._events.error

    @property
    def peers(self) -> Peers:
        """The other agents by id. The mapping follows the swarm."""
        return self._roster.peers

    def health(self) -> Health:
        """Returns how the agent does: link, queues, counters, in a dict. For people and logs; the entries may change between versions.

        `ephemeral`: its identity ends with the process. `save_error`: why its agent file couldn't be written last, or None. `rtt`: seconds that the
        switchboard took to answer at the last handshake or ping. `clock_skew`: seconds by which this clock is ahead of the switchboard's, by its
        word. `queued`: messages and bytes that wait for their first frame, by priority. `unconfirmed`: messages that were sent and aren't
        confirmed. `reconnects`, `resumed`: how often the link came up again, and how often it went on from the one before. `link_error`: why it broke
        last, or None.
        """
        return Health(
            {
                **self._seam.core.health(),
                "open": self._seam.is_open,
                "switchboard": self._events.switchboard,
                "link_error": None if self._events.error is None else str(self._events.error),
                "peers": len(self.peers),
                "inbox": len(self._inbox),
                "calls": len(self._calls),
                "handlers": self._handlers.running,
                "skills": self._handlers.names,
            }
        )

    @property
    def sync(self) -> BlockingAgent:
        """The same agent for other threads: its methods block there instead of being awaited. See `a2alinker.sync`."""
        from .sync import face_of

        return face_of(self, self._seam.loop)

    # -- messages --

    async def send(
        self,
        to: To,
        body: Any,
        *,
        priority: Priority = "normal",
        thread: bytes | None = None,
        ttl: float = DEFAULT_TTL,
        until: Until = "delivered",
        headers: dict[str, Any] | None = None,
        budget: int | None = None,
    ) -> Receipt:
        """Sends a message, and returns when it is queued. Waits only while the outbox is full. Cancelled, it has sent nothing.

        to: a Peer, a name, an id, or a sequence of these: then the receipt has a part for each.
        body: str, bytes, None, bool, int, float, lists and str-keyed dicts of these, dataclasses, pydantic models; up to 1 MiB encoded. Or up
            to 1 GiB: bytes, a `File`, or an iterator, asynchronous or not, that gives bytes. These arrive as an `IncomingBody`, which the
            receiver reads as it comes.
        priority: `urgent` overtakes everything; the others share what is left 8:4:2.
        thread: 16 bytes. Messages to one peer with the same thread and priority are handed over in order.
        ttl: seconds until the receiver must have it; then it is dropped, and the receipt says `expired`. A large body must move on within it.
        until: `done` asks the receiver to say when it has handled the message.
        headers: a small dict for the receiver's program, up to 1 KiB encoded.
        budget: how many messages may follow from this one, itself included, each sent while the one before is handled. By default only
            their number in a row is limited, to 64 (`max_depth` of `host` and `join`).

        What is sent in a handler or in the body of a loop over messages counts as caused by the message that is in hand there; see
        `a2alinker.unprompted` for what isn't.

        Raises:
            PeerUnknown, AmbiguousPeer: `to` doesn't say whom.
            TooDeep: messages that cause each other came to their limit. Whoever sent the one in hand is told, and both have a LoopStopped event.
            BodyError: the body can't be sent.
            ConfigurationError: another argument is wrong.
            OutboxFull: this body alone is larger than the outbox.
            AgentClosed, WrongLoop, NoEventLoop, Forked: the agent can't be used, or not from here.
        """
        return await self._outbox.post_or_wait(to, body, priority, thread, ttl, until, headers, budget)

    def send_nowait(
        self,
        to: To,
        body: Any,
        *,
        priority: Priority = "normal",
        thread: bytes | None = None,
        ttl: float = DEFAULT_TTL,
        until: Until = "delivered",
        headers: dict[str, Any] | None = None,
        budget: int | None = None,
    ) -> Receipt:
        """Sends a message without waiting. Arguments and exceptions are those of `send`.

        Raises:
            OutboxFull: too much waits to be sent. Of a message to several, it may have been queued for the first ones.
        """
        return self._outbox.post(to, body, priority, thread, ttl, until, headers, budget)

    def __aiter__(self) -> Messages:
        """Gives the messages and requests of other agents, urgent ones first: `async for message in agent`.

        One loop at a time. A message counts as handled when the loop asks for the next one, or by `reply` or `refuse`. The loop ends
        when the agent is closed.

        Raises:
            AlreadyConsumed: another loop waits for them; or, in a loop that wasn't waiting, another one has taken its place.
            LinkReplaced and others: the agent came to an end that nobody here asked for.
        """
        self._seam.check()
        return self._inbox.read()

    # -- calls --

    def request(
        self,
        to: Peer | str,
        body: Any,
        *,
        priority: Priority = "normal",
        thread: bytes | None = None,
        ttl: float = DEFAULT_TTL,
        timeout: float | None = None,
        headers: dict[str, Any] | None = None,
        budget: int | None = None,
    ) -> Call[Message]:
        """Sends a message that wants an answer: what the receiver gives to `message.reply`.

        timeout: seconds until the answer must be there; None: as long as it takes.

        The other arguments and exceptions are those of `send_nowait`; the Call fails with a CallError or DeliveryError.
        """
        self._seam.check()
        check_thread(thread)
        check_ttl(ttl)
        if budget is not None:
            check_budget(budget)
        return self._calls.request(self._roster.resolve(to), body, lane_of(priority), thread, ttl, timeout, headers, budget)

    def call(
        self,
        skill: str,
        /,
        *args: Any,
        to: Peer | str | None = None,
        priority: Priority = "normal",
        timeout: float | None = None,
        **kwargs: Any,
    ) -> Call[Any]:
        """Calls a skill of another agent: `await agent.call("review", text)`.

        to: the agent to call; if not given, any linked agent that has the skill, and another one if that is gone or busy.
        timeout: seconds until the answer must be there; None: as long as it takes.

        All else goes to the skill; if it has parameters named `to`, `priority` or `timeout`, use `remote`.

        Raises:
            What `Remote.__call__` raises; the Call fails with a CallError or DeliveryError.
        """
        return self.remote(skill, to=to, priority=priority, timeout=timeout)(*args, **kwargs)

    @overload
    def remote(
        self,
        skill: str,
        *,
        to: Peer | str | None = ...,
        choose: Choose | None = ...,
        tags: Iterable[str] = ...,
        priority: Priority = ...,
        timeout: float | None = ...,
        progress_timeout: float | None = ...,
        ttl: float = ...,
        budget: int | None = ...,
    ) -> Remote[Any]: ...
    @overload
    def remote(
        self,
        skill: str,
        *,
        returns: type[T],
        to: Peer | str | None = ...,
        choose: Choose | None = ...,
        tags: Iterable[str] = ...,
        priority: Priority = ...,
        timeout: float | None = ...,
        progress_timeout: float | None = ...,
        ttl: float = ...,
        budget: int | None = ...,
    ) -> Remote[T]: ...
    def remote(
        self,
        skill: str,
        *,
        returns: Any = Any,
        to: Peer | str | None = None,
        choose: Choose | None = None,
        tags: Iterable[str] = (),
        priority: Priority = "normal",
        timeout: float | None = None,
        progress_timeout: float | None = None,
        ttl: float = DEFAULT_TTL,
        budget: int | None = None,
    ) -> Remote[Any]:
        """Returns a skill of the swarm as a function: `review = agent.remote("review"); await review(text)`.

        returns: the type of the answer; it is checked, and dataclasses and pydantic models are made of it.
        to: the agent to call, as in `call`.
        choose: picks one or several of the agents that have the skill, at each call.
        tags: only agents whose skill has all of these.
        timeout: seconds until the answer must be there. progress_timeout: seconds between signs of progress. None: as long as it takes.
        ttl: seconds until a worker must have the request; the time in which nobody is there who could counts, too.
        budget: how many messages and calls may follow from each call, as in `send`.
        """
        return Remote(
            self._calls,
            self._roster,
            skill,
            to=to,
            choose=choose,
            tags=tags,
            priority=priority,
            timeout=timeout,
            progress_timeout=progress_timeout,
            ttl=ttl,
            budget=budget,
            returns=returns,
        )

    @overload
    def skill(self, function: Callable[P, R], /) -> Skill[P, R]: ...
    @overload
    def skill(
        self,
        /,
        *,
        name: str | None = ...,
        description: str | None = ...,
        tags: Iterable[str] = ...,
        concurrency: int = ...,
        timeout: float | None = ...,
    ) -> Callable[[Callable[P, R]], Skill[P, R]]: ...
    def skill(self, function: Callable[..., Any] | None = None, /, **options: Any) -> Any:
        """Offers a function from here on: `@agent.skill`, or `@agent.skill(concurrency=4)`. See `a2alinker.skill`."""
        if function is None:
            return lambda function: self.skill(Skill(function, **options))
        self._seam.check()
        offered = function if isinstance(function, Skill) else Skill(function)
        self._handlers.add(offered)
        return offered

    # -- the swarm --

    async def invite(
        self,
        *,
        kind: Kind = "code",
        uses: int | None = 1,
        ttl: float = LONGEST_CODE,
        rights: Rights | None = None,
        local: bool = False,
    ) -> Invite:
        """Makes an invite, and returns when newcomers can use it. `str(invite)` is what to hand over.

        kind: "code", a number and three words, which one agent joins with within ten minutes, if it is told the switchboard's address, too;
            whoever tries wrong words spoils it. Or "ticket", a long text to paste that holds the address.
        uses: how many agents may join; None for any number. One for a code.
        ttl: seconds in which they may join; 600 at most for a code. Their membership lasts longer.
        rights: what they may do; by default offer any skill and call others.
        local: allows a switchboard that only this machine can reach.

        Raises:
            ConfigurationError: `kind`, `uses` or `ttl` is wrong.
            NotReachable: nobody else could use it, and `local` isn't set.
            NotPermitted: this agent may not admit, or not with these rights.
            SwitchboardRefused: the switchboard takes no more invites.
        """
        self._seam.check()
        terms = Terms(kind, uses, ttl, Rights() if rights is None else rights)
        terms.check()
        check_ttl(ttl)
        addresses = self._addresses if local else reachable(self._addresses)
        return await self._invites.make(terms, addresses)

    def discover(self, *, skill: str | None = None, name: str | None = None, tags: Iterable[str] = ()) -> list[Peer]:
        """Returns the agents, not gone, that have this name and a skill with this name and all these tags."""
        return self._roster.discover(skill=skill, name=name, tags=tags)

    async def wait_for(self, *, skill: str | None = None, name: str | None = None, timeout: float | None = None) -> Peer:
        """Waits until an agent that has this skill or name is linked, and returns it.

        Raises:
            TimedOut: there was none within `timeout` seconds.
            AgentClosed: this agent closed meanwhile.
        """
        self._seam.check()
        if (skill is None) == (name is None):
            raise ConfigurationError("give wait_for() either skill= or name=")
        try:
            async with asyncio.timeout(timeout):
                return await self._roster.wait_for(skill=skill, name=name)
        except TimeoutError:
            raise TimedOut(f"no agent with the {f'skill {skill!r}' if skill else f'name {name!r}'} was linked within {timeout} s") from None

    def events(self) -> EventStream:
        """Returns an iterator over what happens from here on.

        LinkUp, LinkDown, Replaced, PeerEvent, MessageLost, BodyProgress, LoopStopped, NotSaved, EventsMissed.
        """
        self._seam.check()
        return self._events.stream()

    # -- its life --

    async def serve_forever(self) -> None:
        """Waits until the agent ends; its skills are served whether or not anybody waits.

        Raises:
            LinkReplaced and others: the agent came to an end that nobody here asked for.
        """
        if self._seam.is_open:
            self._seam.check()
        await self._seam.wait_ended()
        if self._seam.error is not None:
            raise self._seam.error

    async def close(self, *, timeout: float = 10.0) -> None:
        """Closes the agent: running handlers and calls are cancelled, what was sent is delivered, the peers hear goodbye.

        timeout: seconds to wait until each outgoing message is in its receiver's memory, or waits for it at the switchboard. Cancelled, it closes at once. Closing twice is fine.

        Raises:
            Undelivered: these messages were unconfirmed in the end.
            WrongLoop, Forked: the agent can't be closed from here. If its loop is closed, it can be closed from any other.
        """
        seam = self._seam
        if not _core.runtime_alive() or (seam.is_open and not seam.loop.is_closed()):
            seam.check()
        if seam.loop.is_closed():
            self.abandon()
        elif running_loop() is not seam.loop:
            raise WrongLoop()
        elif not seam.is_open:
            await seam.wait_ended()
        else:
            await self._close(timeout)

    async def _close(self, timeout: float) -> None:
        seam = self._seam
        deadline = time.monotonic() + timeout
        seam.begin_closing()
        unconfirmed: list[Receipt] = []
        try:
            self._handlers.stop()
            self._calls.end()
            self._inbox.wake()
            await self._handlers.stopped(deadline)
            seam.core.flush()
            unconfirmed = await self._outbox.settled(deadline)
            seam.core.close()
            async with asyncio.timeout(GOODBYE):
                await seam.wait_ended()
        except TimeoutError:
            logger.debug("no goodbye within %.0f s", GOODBYE)
        finally:
            self.abandon()
        if self._switchboard is not None:
            await self._switchboard.close()  # so that whoever hosts again finds the port free
        if unconfirmed:
            raise Undelivered(f"{len(unconfirmed)} messages were unconfirmed when the agent closed", receipts=tuple(unconfirmed))

    def abandon(self) -> None:
        """Ends the agent at once, without waiting for anything. From any thread."""
        self._seam.abandon()
        if self._switchboard is not None:
            self._switchboard.end()

    async def __aenter__(self) -> Self:
        self._seam.check()
        return self

    async def __aexit__(self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None) -> None:
        """Closes the agent.

        If the block raised, nothing hides that: what is undelivered is noted on the exception. A cancelled block isn't kept waiting.
        """
        if error is None:
            await self.close()
            return
        try:
            await self.close(timeout=10.0 if isinstance(error, Exception) else 0.0)
        except Undelivered as undelivered:
            error.add_note(f"a2alinker: {undelivered}")

    def __del__(self) -> None:
        if self._seam.is_attached and _core.runtime_alive():
            warnings.warn(f"{self!r} was not closed: use `async with` or `await agent.close()`", ResourceWarning, 2, self)
            self.abandon()

    def __repr__(self) -> str:
        state = "closed" if not self._seam.is_open else "linked" if self._events.switchboard else "not linked"
        return f"<Agent {self.name} {self.id[:8]} {state}>"

    def _repr_html_(self) -> str:
        rows = {
            "id": self.id,
            "link": self._events.switchboard or "none",
            "peers": ", ".join(peer.name for peer in self.peers.values()),
            "skills": ", ".join(self._handlers.names),
        }
        return card(f"Agent {self.name}", rows)


def _alive(reference: weakref.ref[Agent]) -> Agent:
    agent = reference()
    if agent is None:
        raise WrongLoop("the agent was dropped while its handler ran")
    return agent
