"""The native module by itself: two agents in one process, joined by ticket through an embedded switchboard."""

import inspect
import os
import select
import signal
import socket
import subprocess
import sys
import threading
import time
import warnings
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from a2alinker import _core, exceptions
from a2alinker.exceptions import A2ALinkerError, AgentClosed, BodyError, ConfigurationError, Forked, InviteDamaged, PeerUnknown

NORMAL = 3
FOREVER = 10.0  # seconds after which a test gives up
Event = tuple[Any, ...]


class Driver:
    """Collects the events of one agent."""

    def __init__(self, core: _core.Agent) -> None:
        self.core = core
        self.events: list[Event] = []

    def wait(self, kind: int, accept: Callable[[Event], bool] = lambda event: True) -> Event:
        """Returns the next event of this kind that fits, and forgets it."""
        deadline = time.monotonic() + FOREVER
        while True:
            for event in self.events:
                if event[0] == kind and accept(event):
                    self.events.remove(event)
                    return event
            readable, _, _ = select.select([self.core.wake_fd], [], [], max(0.0, deadline - time.monotonic()))
            assert readable, f"no event of kind {kind}; there are {self.events}"
            self.events += self.core.drain()


@pytest.fixture(params=["wss", "ws"])
def switchboard(request: pytest.FixtureRequest) -> Iterator[_core.Switchboard]:
    switchboard = _core.Switchboard(listen="127.0.0.1:0", plain=request.param == "ws")
    yield switchboard
    switchboard.close()


@pytest.fixture
def pair(switchboard: _core.Switchboard) -> Iterator[tuple[Driver, Driver]]:
    review = ("review", ("code",), 2, b'{"name": "review", "description": "", "input": null, "output": null}')
    host = Driver(_core.Agent.host("planner", switchboards=[switchboard.url]))
    host.wait(_core.EVENT_JOINED)
    token, ticket = host.core.invite("ticket", 1, 60.0, (None, False, False, True), [switchboard.url])
    assert ticket is not None
    assert host.wait(_core.EVENT_INVITE)[1:] == (token, None, None)
    guest = Driver(_core.Agent.join("coder", invite=ticket, switchboards=[switchboard.url], skills=[review]))
    guest.wait(_core.EVENT_JOINED)
    admitted = host.wait(_core.EVENT_ADMITTED)
    assert admitted[1] == token
    assert admitted[2].name == "coder"
    host.wait(_core.EVENT_PEER, lambda event: event[1] == "up")
    guest.wait(_core.EVENT_PEER, lambda event: event[1] == "up")
    yield host, guest
    host.core.close()
    guest.core.close()


def test_a_message_crosses_with_all_that_belongs_to_it(pair: tuple[Driver, Driver]) -> None:
    host, guest = pair
    receipt = host.core.send(guest.core.id, {"n": [1, 2]}, NORMAL, bytes(range(16)), 60.0, True, 3, 7, {"h": 1})
    assert receipt.state == _core.RECEIPT_QUEUED
    assert host.core.outstanding()[0].token == receipt.token
    receipt.watch()
    host.core.flush()
    message = guest.wait(_core.EVENT_MESSAGE)
    token, sender, body, lane, thread, expiry, ttl, depth, budget, flags, headers, message_id = message[1:]
    assert (sender, body, lane, thread) == (host.core.id, {"n": [1, 2]}, NORMAL, bytes(range(16)))
    assert (ttl, depth, budget, flags, headers, message_id) == (60_000, 3, 7, _core.FLAG_WANTS_DONE, {"h": 1}, receipt.message_id)
    assert abs(expiry / 1000 - 60 - time.time()) < 5
    assert host.wait(_core.EVENT_RECEIPT, lambda event: event[2] == _core.RECEIPT_DELIVERED)[1] == receipt.token
    guest.core.done(token)
    guest.core.flush()
    host.wait(_core.EVENT_RECEIPT, lambda event: event[2] == _core.RECEIPT_DONE)
    assert receipt.state == _core.RECEIPT_DONE
    assert host.core.outstanding() == []


def test_a_request_is_answered_in_parts_and_then_finally(pair: tuple[Driver, Driver]) -> None:
    host, guest = pair
    call, _ = host.core.request(guest.core.id, "question", NORMAL, None, 60.0)
    host.core.flush()
    request = guest.wait(_core.EVENT_REQUEST)
    assert (request[2], request[3], request[13], request[14]) == (host.core.id, "question", None, 1)
    guest.core.answer(request[1], "part", False)
    guest.core.answer(request[1], "whole", True)
    guest.core.flush()
    assert host.wait(_core.EVENT_MOVED)[1:] == (call, guest.core.id, 1)
    assert host.wait(_core.EVENT_PROGRESS)[1:4] == (call, guest.core.id, "part")
    answer = host.wait(_core.EVENT_ANSWER)
    assert (answer[1], answer[3], answer[4]) == (call, guest.core.id, "whole")


def test_a_call_finds_the_holder_of_the_skill(pair: tuple[Driver, Driver]) -> None:
    host, guest = pair
    call = host.core.call("review", ("code",), {"strict": True}, None, None, NORMAL, 60.0, 30.0, None)
    host.core.flush()
    request = guest.wait(_core.EVENT_REQUEST)
    assert (request[3], request[13]) == ([["code"], {"strict": True}], "review")
    guest.core.refuse(request[1], 9, "ValueError", "no such thing")
    error = host.wait(_core.EVENT_FAILED, lambda event: event[1] == call)[2]
    assert type(error) is exceptions.RemoteError
    assert (error.type, error.text) == ("ValueError", "no such thing")
    with pytest.raises(exceptions.SkillUnknown):
        host.core.call("dance", (), {}, None, None, NORMAL, 60.0, None, None)


def test_what_peers_tell_of_themselves_is_seen(pair: tuple[Driver, Driver]) -> None:
    host, guest = pair
    peer = host.core.peer(guest.core.id)
    assert peer is not None
    assert (peer.id, peer.text_id, peer.name, peer.linked, peer.gone) == (guest.core.id, guest.core.text_id, "coder", True, False)
    ((name, tags, concurrency, definition_hash),) = peer.skills
    assert (name, tags, concurrency) == ("review", ("code",), 2)
    assert peer.rights == (None, False, False, True)
    assert peer.certificate_expiry_ms > time.time() * 1000
    token = host.core.describe(guest.core.id, definition_hash)
    assert host.wait(_core.EVENT_DEFINITION)[1:] == (token, b'{"name": "review", "description": "", "input": null, "output": null}')
    assert host.core.swarm == guest.core.swarm
    assert [peer.name for peer in guest.core.peers()] == ["planner"]


def test_a_burst_costs_few_wakeups_and_keeps_its_order(pair: tuple[Driver, Driver]) -> None:
    host, guest = pair
    for number in range(3000):
        host.core.send(guest.core.id, number, NORMAL, None, 60.0, False)
    host.core.flush()
    received: list[int] = []
    wakeups = 0
    while len(received) < 3000:
        assert select.select([guest.core.wake_fd], [], [], FOREVER)[0]
        wakeups += 1
        received += [event[3] for event in guest.core.drain() if event[0] == _core.EVENT_MESSAGE]
        guest.core.consumed(NORMAL, len(received))
        guest.core.flush()
    assert received == list(range(3000))
    assert wakeups < 300


def test_drain_takes_no_more_than_its_limit_and_the_bell_rings_on(pair: tuple[Driver, Driver]) -> None:
    host, guest = pair
    for number in range(10):
        host.core.send(guest.core.id, number, NORMAL, None, 60.0, False)
    host.core.flush()
    received: list[int] = []
    while len(received) < 10:
        assert select.select([guest.core.wake_fd], [], [], FOREVER)[0]
        batch = guest.core.drain(3)
        assert len(batch) <= 3
        received += [event[3] for event in batch if event[0] == _core.EVENT_MESSAGE]
    assert received == list(range(10))


def test_a_waker_is_called_when_events_wait(pair: tuple[Driver, Driver]) -> None:
    host, guest = pair
    rung = threading.Event()
    guest.core.set_waker(rung.set)
    host.core.send(guest.core.id, "hello", NORMAL, None, 60.0, False)
    host.core.flush()
    assert rung.wait(FOREVER)
    guest.wait(_core.EVENT_MESSAGE)


def test_closing_is_told_once_and_refuses_everything_after(pair: tuple[Driver, Driver]) -> None:
    host, guest = pair
    peer = guest.core.id
    host.core.close()
    host.core.close()
    assert host.wait(_core.EVENT_CLOSED)[1] is None
    assert not [event for event in host.core.drain() if event[0] == _core.EVENT_CLOSED]
    with pytest.raises(AgentClosed):
        host.core.send(peer, "late", NORMAL, None, 60.0, False)
    guest.wait(_core.EVENT_PEER, lambda event: event[1] in ("gone", "left"))


@pytest.mark.parametrize(
    ("arguments", "error"),
    [
        ((b"short", "body", NORMAL, None, 60.0, False), ConfigurationError),
        ((bytes(32), "body", 0, None, 60.0, False), ConfigurationError),
        ((bytes(32), "body", 5, None, 60.0, False), ConfigurationError),
        ((bytes(32), "body", NORMAL, b"thread", 60.0, False), ConfigurationError),
        ((bytes(32), "body", NORMAL, None, -1.0, False), ConfigurationError),
        ((bytes(32), "body", NORMAL, None, float("nan"), False), ConfigurationError),
        ((bytes(32), {1: 2}, NORMAL, None, 60.0, False), BodyError),
        ((bytes(32), "body", NORMAL, None, 60.0, False), PeerUnknown),
    ],
)
def test_a_wrong_argument_is_refused(arguments: Any, error: type[Exception], switchboard: _core.Switchboard) -> None:
    host = Driver(_core.Agent.host("planner", switchboards=[switchboard.url]))
    host.wait(_core.EVENT_JOINED)
    with pytest.raises(error):
        host.core.send(*arguments)
    host.core.close()


def test_nobody_there_is_reported_and_tried_again() -> None:
    gone = _core.Switchboard(listen="127.0.0.1:0", plain=True)
    address = gone.url
    gone.close()
    host = Driver(_core.Agent.host("planner", switchboards=[address]))
    for _ in range(2):
        _, error, retry_in = host.wait(_core.EVENT_LINK_LOST)
        assert type(error) in (exceptions.SwitchboardUnreachable, exceptions.ProtocolError, exceptions.LinkClosed)
        assert error.retryable or type(error) is exceptions.ProtocolError
        assert 0 < retry_in < 10
    host.core.close()
    host.wait(_core.EVENT_CLOSED)


def test_an_agent_links_again_when_the_switchboard_is_back() -> None:
    switchboard = _core.Switchboard(listen="127.0.0.1:0", plain=True)
    host = Driver(_core.Agent.host("planner", switchboards=[switchboard.url]))
    host.wait(_core.EVENT_JOINED)
    _, ticket = host.core.invite("ticket", 1, 60.0, (None, False, False, True), [switchboard.url])
    assert ticket is not None
    host.wait(_core.EVENT_INVITE)
    guest = Driver(_core.Agent.join("coder", invite=ticket, switchboards=[switchboard.url]))
    guest.wait(_core.EVENT_JOINED)
    host.wait(_core.EVENT_ADMITTED)
    switchboard.close()
    assert type(host.wait(_core.EVENT_LINK_LOST)[1]) is exceptions.LinkClosed
    receipt = host.core.send(guest.core.id, "meanwhile", NORMAL, None, 60.0, False)
    host.core.flush()
    switchboard = again("127.0.0.1", switchboard.port)
    assert host.wait(_core.EVENT_LINKED)[1] == switchboard.url
    assert guest.wait(_core.EVENT_MESSAGE)[3] == "meanwhile"
    receipt.watch()
    while receipt.state != _core.RECEIPT_DELIVERED:
        host.wait(_core.EVENT_RECEIPT)
    for agent in (host, guest):
        agent.core.close()
        agent.wait(_core.EVENT_CLOSED)
    switchboard.close()


def again(host: str, port: int) -> _core.Switchboard:
    """Starts a switchboard where another one has just ended."""
    deadline = time.monotonic() + FOREVER
    while True:
        try:
            return _core.Switchboard(listen=f"{host}:{port}", plain=True)
        except exceptions.PortInUse:
            assert time.monotonic() < deadline


def test_the_address_that_answers_is_taken(switchboard: _core.Switchboard) -> None:
    host = Driver(_core.Agent.host("planner", switchboards=[switchboard.url]))
    host.wait(_core.EVENT_JOINED)
    with socket.create_server(("127.0.0.1", 0)) as deaf:
        addresses = ["ws://127.0.0.1:1", f"ws://127.0.0.1:{deaf.getsockname()[1]}", switchboard.url]
        _, ticket = host.core.invite("ticket", 1, 60.0, (None, False, False, True), addresses)
        assert ticket is not None
        host.wait(_core.EVENT_INVITE)
        guest = Driver(_core.Agent.join("coder", invite=ticket, switchboards=[switchboard.url]))
        assert guest.wait(_core.EVENT_LINKED)[1] == switchboard.url
    for agent in (host, guest):
        agent.core.close()


def test_a_certificate_that_nobody_vouches_for_is_shown_with_its_pin() -> None:
    switchboard = _core.Switchboard(listen="127.0.0.1:0")
    # Linux connects this to itself, but it is no loopback address.
    address = f"wss://0.0.0.0:{switchboard.port}"
    other = "a" * 52
    host = Driver(_core.Agent.host("planner", switchboards=[f"{address}#{other}"]))
    error = host.wait(_core.EVENT_LINK_LOST)[1]
    assert type(error) is exceptions.UntrustedSwitchboard
    assert (error.address, error.pin, error.expected) == (address, switchboard.pin, other)
    host.core.close()
    host = Driver(_core.Agent.host("planner", switchboards=[f"{address}#{switchboard.pin}"]))
    host.wait(_core.EVENT_JOINED)
    host.core.close()
    switchboard.close()


def test_something_else_at_the_address_is_a_protocol_error() -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]

        def answer() -> None:
            connection, _ = listener.accept()
            with connection:
                connection.recv(4096)
                connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n")

        web = threading.Thread(target=answer)
        web.start()
        host = Driver(_core.Agent.host("planner", switchboards=[f"ws://127.0.0.1:{port}"]))
        assert type(host.wait(_core.EVENT_LINK_LOST)[1]) is exceptions.ProtocolError
        host.core.close()
        web.join()


def test_a_program_that_forgets_to_close_ends_without_noise() -> None:
    program = """
from a2alinker import _core
switchboard = _core.Switchboard(listen="127.0.0.1:0")
agent = _core.Agent.host("planner", switchboards=[switchboard.url])
agent.set_waker(lambda: None)
while not any(event[0] == _core.EVENT_JOINED for event in agent.drain()):
    agent.flush()
"""
    ended = subprocess.run([sys.executable, "-c", program], capture_output=True, timeout=FOREVER, text=True, check=False)
    assert (ended.returncode, ended.stdout, ended.stderr) == (0, "", "")


def test_a_wrong_address_or_ticket_is_refused_at_once() -> None:
    with pytest.raises(ConfigurationError):
        _core.Agent.host("planner", switchboards=["http://relay.example"])
    with pytest.raises(ConfigurationError):
        _core.Agent.host("plan ner", switchboards=["ws://127.0.0.1:1"])
    with pytest.raises(InviteDamaged):
        _core.Agent.join("coder", invite="a2alt_nonsense", switchboards=[])
    with pytest.raises(InviteDamaged):
        _core.invite_info("7-lantern-walrus")


def test_every_error_has_its_exception() -> None:
    samples = _core._error_samples()
    assert len(samples) > 60
    for sample in samples:
        assert isinstance(sample, A2ALinkerError)
        assert str(sample)
    raised = {type(sample) for sample in samples}
    assert len(raised) > 25
    declared = {cls for _, cls in inspect.getmembers(exceptions, inspect.isclass) if issubclass(cls, A2ALinkerError)}
    assert raised <= declared


def test_a_forked_child_refuses_instead_of_hanging(switchboard: _core.Switchboard) -> None:
    host = Driver(_core.Agent.host("planner", switchboards=[switchboard.url]))
    host.wait(_core.EVENT_JOINED)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)  # Python 3.12 warns of forks among threads
        child = os.fork()
    if child == 0:
        signal.alarm(20)
        os._exit(refuses_everything(host.core, switchboard))
    _, status = os.waitpid(child, 0)
    assert os.waitstatus_to_exitcode(status) == 0
    assert _core.runtime_alive()
    host.core.close()
    host.wait(_core.EVENT_CLOSED)


def refuses_everything(core: _core.Agent, switchboard: _core.Switchboard) -> int:
    """Runs in the child; returns how many entry points didn't refuse."""
    entries: list[Callable[[], object]] = [
        core.drain,
        core.flush,
        core.close,
        core.turned,
        core.peers,
        core.health,
        core.outstanding,
        switchboard.stats,
        switchboard.close,
        lambda: core.send(bytes(32), "x", NORMAL, None, 1.0, False),
        lambda: core.request(bytes(32), "x", NORMAL, None, 1.0),
        lambda: core.call("skill", (), {}, None, None, NORMAL, 1.0, None, None),
        lambda: core.cancel(1),
        lambda: core.call_receipt(1),
        lambda: core.answer(1, "x", True),
        lambda: core.refuse(1, 1, "", ""),
        lambda: core.done(1),
        lambda: core.consumed(NORMAL, 1),
        lambda: core.peer(bytes(32)),
        lambda: core.describe(bytes(32), bytes(32)),
        lambda: core.offer([]),
        lambda: core.invite("ticket", 1, 1.0, (None, False, False, True), []),
        lambda: core.revoke(1),
        lambda: core.set_waker(print),
        lambda: _core.Agent.host("child", switchboards=["ws://127.0.0.1:1"]),
        lambda: _core.Switchboard(listen="127.0.0.1:0"),
    ]
    failures = int(_core.runtime_alive())
    for entry in entries:
        try:
            entry()
        except Forked:
            continue
        failures += 1
    return failures
