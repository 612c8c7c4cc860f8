"""Agents without an event loop: the same names as in `a2alinker`, and what is awaited there blocks here.

    with a2alinker.sync.join("coder", ticket, skills=[review]) as coder:
        print(coder.call("lint", "def f(): pass", timeout=60))
        for message in coder:
            message.reply("thanks")

It works in a plain program, in worker threads, and inside a running loop such as a notebook's: all agents that are opened here live on one loop
in a thread of their own. `agent.sync` gives the same for an agent that lives on a loop of the program, for all other threads. Any number of
threads may use an agent at a time. On the loop's own thread, where coroutines and asynchronous skills run, everything here raises
WouldDeadlock.

Ctrl-C ends a wait, and cancels what was waited for. So does `timeout`, with TimedOut; a call has a timeout of its own.

A wait for an answer is `agent.call(...)`, `agent.request(...)` or `remote(...)`. With `.submit(...)` in place of `(...)` they give a `Call` at
once, which is a `concurrent.futures.Future`, and an iterable of the partial answers.

What comes with events and exceptions is as in `a2alinker`; a peer from there serves as `to` here as well.
"""

from __future__ import annotations

import asyncio
import contextlib
import functools
from collections.abc import AsyncIterator, Callable, Collection, Generator, Iterable, Iterator, Mapping
from concurrent.futures import Future
from types import TracebackType
from typing import Any, Concatenate, Generic, ParamSpec, Self, TypeVar, overload

from . import _core
from . import agent as _agent
from . import bodies as _bodies
from . import call as _call
from . import events as _events
from . import invite as _invite
from . import message as _message
from . import opening as _opening
from . import peer as _peer
from . import receipt as _receipt
from . import remote as _remote
from . import switchboard as _switchboard
from ._bridge import END, GLANCE, Attribute, Bridge, Face, looks_up, own_agents, own_bridge, plain, reads, runs, waits
from ._loop import running_loop
from .context import cause
from .exceptions import AgentClosed, WouldDeadlock
from .outbox import Priority
from .receipt import ReceiptState
from .skill import Skill

__all__ = [
    "Agent",
    "Call",
    "EventStream",
    "IncomingBody",
    "Invite",
    "Message",
    "Peer",
    "Peers",
    "Receipt",
    "Remote",
    "Switchboard",
    "host",
    "join",
]

A = TypeVar("A")
P = ParamSpec("P")
R = TypeVar("R")
T = TypeVar("T")
W = TypeVar("W")


class Peer(_peer.Peer):
    """Another agent. As `a2alinker.Peer`, but `describe` blocks."""

    __slots__ = ("_bridge", "_peer")

    def __init__(self, bridge: Bridge, peer: _peer.Peer) -> None:
        self._bridge = bridge
        self._peer = peer
        self._roster = peer._roster
        self.key = peer.key

    @property
    def _info(self) -> _core.PeerInfo:  # type: ignore[override]  # the other object follows what becomes known
        return self._peer._info

    def describe(self, skill: str) -> _peer.SkillDefinition:  # type: ignore[override]  # that is what this class is for
        """Asks for the definition of one of its skills. As `a2alinker.Peer.describe`."""
        return self._bridge.wait(lambda: self._peer.describe(skill))

    @classmethod
    def maybe(cls, bridge: Bridge, peer: _peer.Peer | None) -> Peer | None:
        """Gives a peer that may not be known."""
        return None if peer is None else cls(bridge, peer)

    @classmethod
    def each(cls, bridge: Bridge, peers: Iterable[_peer.Peer]) -> list[Peer]:
        """Gives several."""
        return [cls(bridge, peer) for peer in peers]


class Peers(Face[_peer.Peers], Mapping[str, Peer]):
    """The agents of the swarm but this one, by id. It follows the swarm; a loop over it sees those of its beginning."""

    __slots__ = ()

    def __getitem__(self, peer_id: str) -> Peer:
        return Peer(self._bridge, self._it[peer_id])

    def __iter__(self) -> Iterator[str]:
        return iter(self._bridge.look(lambda: list(self._it)))

    def __len__(self) -> int:
        return len(self._it)


class Receipt(Face[_receipt.Receipt]):
    """What became of one message. As `a2alinker.Receipt`, but waiting blocks."""

    __slots__ = ()

    state = reads(_receipt.Receipt, lambda receipt: receipt.state)
    reason = reads(_receipt.Receipt, lambda receipt: receipt.reason)
    message_id = reads(_receipt.Receipt, lambda receipt: receipt.message_id)
    progress = reads(_receipt.Receipt, lambda receipt: receipt.progress)
    retry_after = reads(_receipt.Receipt, lambda receipt: receipt.retry_after)
    peer = looks_up(_receipt.Receipt, lambda receipt: receipt.peer, Peer.maybe)

    @property
    def parts(self) -> tuple[Receipt, ...]:
        """One receipt for each receiver, in the order of `to`."""
        return tuple(Receipt(self._bridge, part) for part in self._it.parts)

    def delivered(self, *, timeout: float | None = None) -> None:
        """Waits until the message is in the receiver's memory, or raises TimedOut. Otherwise as `a2alinker.Receipt.delivered`."""
        self._bridge.wait(self._it.delivered, timeout)

    def done(self, *, timeout: float | None = None) -> None:
        """Waits until the receiver has handled the message, or raises TimedOut. Otherwise as `a2alinker.Receipt.done`."""
        self._bridge.wait(self._it.done, timeout)

    def __iter__(self) -> Iterator[ReceiptState]:
        """Gives the present state and each change until there can be no more."""
        return _each(self._bridge, lambda: aiter(self._it), plain)


class IncomingBody(Face[_bodies.IncomingBody]):
    """A large body as it comes in. As `a2alinker.IncomingBody`, but reading blocks: `body.save("downloads")`, `body.read()`, `for block in body`."""

    __slots__ = ()

    name = reads(_bodies.IncomingBody, lambda body: body.name)
    length = reads(_bodies.IncomingBody, lambda body: body.length)
    received = reads(_bodies.IncomingBody, lambda body: body.received)

    read = waits(_bodies.IncomingBody.read, plain)
    save = waits(_bodies.IncomingBody.save, plain)
    close = runs(_bodies.IncomingBody.close, plain)

    def __iter__(self) -> Iterator[bytes]:
        """Gives the bytes in blocks, as they come. Raises what a loop over `a2alinker.IncomingBody` raises."""
        return _each(self._bridge, lambda: aiter(self._it), plain)

    @classmethod
    def or_body(cls, bridge: Bridge, message: _message.Message) -> Any:
        """Gives the body of a message."""
        return cls(bridge, message.body) if isinstance(message.body, _bodies.IncomingBody) else message.body


class Message(Face[_message.Message]):
    """A message from another agent. As `a2alinker.Message`, but answering blocks while the outbox is full."""

    __slots__ = ()

    body = Attribute(IncomingBody.or_body, _message.Message)
    sender = looks_up(_message.Message, lambda message: message.sender, Peer)
    priority = reads(_message.Message, lambda message: message.priority)
    thread = reads(_message.Message, lambda message: message.thread)
    headers = reads(_message.Message, lambda message: message.headers)
    id = reads(_message.Message, lambda message: message.id)
    age = reads(_message.Message, lambda message: message.age)
    maybe_repeated = reads(_message.Message, lambda message: message.maybe_repeated)
    wants_answer = reads(_message.Message, lambda message: message.wants_answer)
    cancelled = reads(_message.Message, lambda message: message.cancelled)

    reply = waits(_message.Message.reply, Receipt)
    progress = waits(_message.Message.progress, Receipt)
    refuse = waits(_message.Message.refuse, plain)


class Call(Future[T]):
    """A call under way, as a future: `result(timeout)` gives the answer, `cancel()` cancels the call.

    Iterating gives the partial answers until the call ends, and raises what `a2alinker.Call` raises. A call that nobody holds goes on.
    """

    def __init__(self, bridge: Bridge, call: _call.Call[R], wrap: Callable[[Bridge, R], T]) -> None:
        super().__init__()
        self._bridge = bridge
        self._it = call

        async def answer() -> T:
            return wrap(bridge, await call)

        bridge.submit(answer, self)

    def result(self, timeout: float | None = None) -> T:
        """Waits for the answer. As `Future.result`, but raises WouldDeadlock on the thread of the agent's loop, and NoEventLoop if that is over."""
        if running_loop() is self._bridge.loop and not self.done():
            raise WouldDeadlock()
        while timeout is None:
            try:
                return super().result(GLANCE)
            except TimeoutError:
                if self.done():
                    break
                self._bridge.check_running()
        return super().result(timeout)

    @property
    def peer(self) -> Peer | None:
        """The agent that works on it at present, or that answered. None before one was found."""
        return Peer.maybe(self._bridge, self._bridge.look(lambda: self._it.peer))

    @property
    def receipt(self) -> Receipt | None:
        """The receipt of the request's present attempt, None before there is one."""
        receipt = self._bridge.look(lambda: self._it.receipt)
        return None if receipt is None else Receipt(self._bridge, receipt)

    @property
    def attempt(self) -> int:
        """How often it was given to an agent; above 1, one was gone or busy."""
        return self._it.attempt

    def __iter__(self) -> Iterator[Any]:
        return _each(self._bridge, lambda: aiter(self._it), plain)

    def __repr__(self) -> str:
        return repr(self._it)

    def _repr_html_(self) -> str:
        return self._bridge.look(self._it._repr_html_)


class Calling(Generic[P, W]):
    """A method that calls: `method(...)` waits for the answer, `method.submit(...)` gives a `Call`."""

    __slots__ = ("_bridge", "_make", "_wrap")

    def __init__(self, bridge: Bridge, make: Callable[P, _call.Call[R]], wrap: Callable[[Bridge, R], W]) -> None:
        self._bridge = bridge
        self._make: Callable[P, _call.Call[Any]] = make
        self._wrap: Callable[[Bridge, Any], W] = wrap

    def __call__(self, *args: P.args, **kwargs: P.kwargs) -> W:
        """Calls, and waits for the answer. If the wait is interrupted, the call is cancelled."""
        return self._wrap(self._bridge, self._bridge.wait(lambda: self._make(*args, **kwargs)))

    def submit(self, *args: P.args, **kwargs: P.kwargs) -> Call[W]:
        """Starts the call. Raises at once what prevents that."""
        return Call(self._bridge, self._bridge.run(lambda: self._make(*args, **kwargs)), self._wrap)


class _Calls(Generic[A, P, R, W]):
    """Makes a method a `Calling`."""

    def __init__(self, method: Callable[Concatenate[A, P], _call.Call[R]], wrap: Callable[[Bridge, R], W]) -> None:
        self.__doc__ = method.__doc__
        self.method = method
        self._wrap = wrap

    @overload
    def __get__(self, face: None, owner: type) -> Self: ...
    @overload
    def __get__(self, face: Face[A], owner: type) -> Calling[P, W]: ...
    def __get__(self, face: Face[A] | None, owner: type) -> Self | Calling[P, W]:
        return self if face is None else Calling(face._bridge, functools.partial(self.method, face._it), self._wrap)


class Remote(Calling[..., T]):
    """A skill that others have: `remote(...)` gives the answer, `remote.submit(...)` a `Call`, `remote.map(...)` spreads many over the workers."""

    __slots__ = ("_it",)

    def __init__(self, bridge: Bridge, remote: _remote.Remote[T]) -> None:
        super().__init__(bridge, remote, plain)
        self._it = remote

    @property
    def skill(self) -> str:
        """The name of the skill."""
        return self._it.skill

    def map(self, items: Iterable[Any], *, limit: int = 16, ordered: bool = False) -> Generator[T, None, None]:
        """Calls the skill with each item as its only argument, and gives the answers. As `a2alinker.Remote.map`."""
        sized = isinstance(items, Collection)  # it takes no time to give its items, as a generator may
        return _each(self._bridge, lambda: self._it.map(items if sized else _in_thread(items), limit=limit, ordered=ordered), plain)

    def __repr__(self) -> str:
        return repr(self._it)

    def _repr_html_(self) -> str:
        return self._it._repr_html_()


class Invite(Face[_invite.Invite]):
    """Admits agents to the swarm. `str(invite)` is the secret to hand over; whoever has it can join, so show it to nobody else."""

    __slots__ = ()

    kind = reads(_invite.Invite, lambda invite: invite.kind)
    switchboard = reads(_invite.Invite, lambda invite: invite.switchboard)
    uses = reads(_invite.Invite, lambda invite: invite.uses)
    ttl = reads(_invite.Invite, lambda invite: invite.ttl)
    revoke = runs(_invite.Invite.revoke, plain)

    def joined(self, *, timeout: float | None = None) -> Peer:
        """Waits until somebody joins with this invite, or raises TimedOut. Otherwise as `a2alinker.Invite.joined`."""
        return Peer(self._bridge, self._bridge.wait(self._it.joined, timeout))

    def __str__(self) -> str:
        return str(self._it)


class EventStream(Face[_events.EventStream]):
    """An iterator over what happens from the moment it was made. Ends when the agent does."""

    __slots__ = ()

    def __iter__(self) -> Self:
        return self

    def __next__(self) -> _events.Event:
        event = self._bridge.wait(lambda: _next(self._it))
        if event is END:
            raise StopIteration
        return event

    def receive(self, *, timeout: float | None = None) -> _events.Event:
        """Waits for the next event.

        Raises:
            TimedOut: there was none within `timeout` seconds.
            AgentClosed: there will be none.
        """
        return _received(self._bridge.wait(lambda: _next(self._it), timeout))


class Agent(Face[_agent.Agent]):
    """A participant of a swarm. `host` and `join` give one, and `agent.sync`.

    As `a2alinker.Agent`, but its methods block, and are called from any thread but that of the agent's loop. Close it with `agent.close()` or
    by `with`: an agent that is dropped is closed with a ResourceWarning. The agents of `host` and `join` that are open when the program
    ends are closed then.
    """

    __slots__ = ()

    name = reads(_agent.Agent, lambda agent: agent.name)
    id = reads(_agent.Agent, lambda agent: agent.id)
    swarm = reads(_agent.Agent, lambda agent: agent.swarm)
    switchboard = reads(_agent.Agent, lambda agent: agent.switchboard)
    link_error = reads(_agent.Agent, lambda agent: agent.link_error)
    peers = looks_up(_agent.Agent, lambda agent: agent.peers, Peers)
    health = runs(_agent.Agent.health, plain)

    send = waits(_agent.Agent.send, Receipt)
    send_nowait = runs(_agent.Agent.send_nowait, Receipt)
    request = _Calls(_agent.Agent.request, Message)
    call = _Calls(_agent.Agent.call, plain)

    invite = waits(_agent.Agent.invite, Invite)
    discover = runs(_agent.Agent.discover, Peer.each)
    wait_for = waits(_agent.Agent.wait_for, Peer)
    events = runs(_agent.Agent.events, EventStream)

    serve_forever = waits(_agent.Agent.serve_forever, plain)
    close = waits(_agent.Agent.close, plain)

    def abandon(self) -> None:
        """Ends the agent at once, without waiting for anything. From any thread."""
        self._it.abandon()

    def __iter__(self) -> Iterator[Message]:
        """Gives the messages and requests of other agents, urgent ones first: `for message in agent`.

        One loop at a time. A message counts as handled when the loop asks for the next one, or by `reply` or `refuse`. The loop ends
        when the agent is closed. Raises what a loop over `a2alinker.Agent` raises.
        """
        before = cause.get()
        try:
            for message in _each(self._bridge, lambda: aiter(self._it), Message):
                cause.set(message._it.event)
                yield message
        finally:
            cause.set(before)

    def receive(self, *, timeout: float | None = None) -> Message:
        """Waits for one message or request. The one before counts as handled; otherwise as a loop over the agent.

        Raises:
            TimedOut: there was none within `timeout` seconds.
            AgentClosed: there will be none.
            AlreadyConsumed: another thread waits for messages.
        """
        return Message(self._bridge, _received(self._bridge.wait(lambda: _next(aiter(self._it)), timeout)))

    @overload
    def remote(
        self,
        skill: str,
        *,
        to: _peer.Peer | str | None = ...,
        choose: _remote.Choose | None = ...,
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
        to: _peer.Peer | str | None = ...,
        choose: _remote.Choose | None = ...,
        tags: Iterable[str] = ...,
        priority: Priority = ...,
        timeout: float | None = ...,
        progress_timeout: float | None = ...,
        ttl: float = ...,
        budget: int | None = ...,
    ) -> Remote[T]: ...
    @functools.wraps(_agent.Agent.remote)
    def remote(self, skill: str, **options: Any) -> Remote[Any]:
        return Remote(self._bridge, self._bridge.run(lambda: self._it.remote(skill, **options)))

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
    @functools.wraps(_agent.Agent.skill)
    def skill(self, function: Callable[..., Any] | None = None, /, **options: Any) -> Any:
        if function is None:
            return lambda function: self.skill(Skill(function, **options))
        return self._bridge.run(lambda: self._it.skill(function))

    def __enter__(self) -> Self:
        self._bridge.wait(self._it.__aenter__)
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None) -> None:
        """Closes the agent. If the block raised, nothing hides that; after Ctrl-C nothing is waited for but the goodbye."""
        self._bridge.wait(lambda: self._it.__aexit__(kind, error, traceback))


class Switchboard(_switchboard.Switchboard):
    """A switchboard on this process's own threads: `with Switchboard(...) as switchboard`. As `a2alinker.Switchboard`, but `close` blocks."""

    def close(self) -> None:  # type: ignore[override]  # that is what this class is for
        """Ends it, and with it all links, which are told. Idempotent."""
        own_bridge().wait(super().close)

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None) -> None:
        self.close()


def _opens(opening: Callable[P, _opening.Opening]) -> Callable[P, Agent]:
    @functools.wraps(opening)
    def open_(*args: P.args, **kwargs: P.kwargs) -> Agent:
        async def opened() -> _agent.Agent:
            agent = await opening(*args, **kwargs)
            own_agents.add(agent)
            return agent

        bridge = own_bridge()
        return Agent(bridge, bridge.wait(opened))

    return open_


host = _opens(_opening.host)
join = _opens(_opening.join)


def face_of(agent: _agent.Agent, loop: asyncio.AbstractEventLoop) -> Agent:
    """Returns an agent as the threads see it that don't run its loop."""
    return Agent(Bridge(loop), agent)


def _each(bridge: Bridge, begin: Callable[[], AsyncIterator[R]], wrap: Callable[[Bridge, R], W]) -> Generator[W, None, None]:
    """Gives what an asynchronous iterator gives. Leaving the loop early closes that."""
    iterator = bridge.run(begin)
    try:
        while (value := bridge.wait(lambda: _next(iterator))) is not END:
            yield wrap(bridge, value)
    finally:
        if (close := getattr(iterator, "aclose", None)) is not None:
            with contextlib.suppress(Exception):  # the collector ends a loop in any thread, and the agent may be over
                bridge.submit(close, Future())


async def _next(iterator: AsyncIterator[R]) -> R:
    return await anext(iterator, END)


def _received(value: R) -> R:
    if value is END:
        raise AgentClosed()
    return value


async def _in_thread(items: Iterable[Any]) -> AsyncIterator[Any]:
    """Gives the items of what may block, or use the agent, while it makes them."""
    iterator = iter(items)
    while (item := await asyncio.to_thread(next, iterator, END)) is not END:
        yield item
