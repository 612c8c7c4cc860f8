"""The minimal client at a real switchboard, with a real agent: each in a process of its own, reached by nothing but their protocol."""

import json
import subprocess
import sys
from collections import deque
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import replace
from queue import Queue
from random import Random
from threading import Thread
from typing import Any

import pytest

from independent import admission, message
from independent.admission import Ticket
from independent.agent import Peer
from independent.client import PATIENCE, Client, join_by_code, join_by_ticket, wall
from independent.codec import Forged
from independent.keys import SigningKey
from independent.link import Credentials
from independent.message import Message
from independent.outer import DATA, DataFrame, Kind, Lane, OuterHeader
from independent.section import CHUNK, Credit, Heartbeat, Messages, Receipt, Section, encode
from independent.transport import Closed, Link

HOST = """
import asyncio, json, sys
import a2alinker

@a2alinker.skill
def upper(text: str) -> str:
    return text.upper()

def say(**words):
    print(json.dumps(words), flush=True)

async def listen(host):
    async for message in host:
        say(got=message.body if len(message.body) < 100 else len(message.body), sender=message.sender.name)

async def obey(host, words):
    try:
        match json.loads(words):
            case ["invite", options]:
                invite = await host.invite(local=True, **options)
                say(invite=str(invite))
                say(joined=(await invite.joined()).name)
            case ["send", text, priority]:
                await (await host.send("independent", text, priority=priority)).delivered()
                say(delivered=text)
            case ["call", skill, text]:
                say(result=await host.call(skill, text, to="independent"))
            case ["describe", skill]:
                say(definition=(await host.discover(name="independent")[0].describe(skill)).name)
            case ["peers"]:
                say(peers=[peer.name for peer in host.peers.values()])
    except Exception as error:
        say(error=type(error).__name__, text=str(error))

async def main():
    async with a2alinker.host("host", switchboard=sys.argv[1], skills=[upper]) as host:
        tasks = [asyncio.create_task(listen(host))]
        loop = asyncio.get_running_loop()
        while words := await loop.run_in_executor(None, sys.stdin.readline):
            tasks.append(asyncio.create_task(obey(host, words)))

asyncio.run(main())
"""


class Host:
    """A real agent, told what to do on its standard input."""

    def __init__(self, process: subprocess.Popen[str]) -> None:
        self._process = process
        self._said: Queue[dict[str, Any]] = Queue()
        self._unread: deque[dict[str, Any]] = deque()
        Thread(target=self._listen, daemon=True).start()

    def tell(self, *words: object) -> None:
        assert self._process.stdin
        print(json.dumps(words), file=self._process.stdin, flush=True)

    def said(self, word: str, seconds: float = PATIENCE) -> Any:
        """Waits for the host to say something under this word. Anything else waits for who asks for it."""
        for said in self._unread:
            if word in said:
                self._unread.remove(said)
                return said[word]
        while word not in (said := self._said.get(timeout=seconds)):
            assert "error" not in said, said
            self._unread.append(said)
        return said[word]

    def has_said(self, word: str) -> bool:
        """Looks whether something, or an error, was said, without taking it."""
        while not self._said.empty():
            self._unread.append(self._said.get_nowait())
        return any(word in said or "error" in said for said in self._unread)

    def invite(self, **options: object) -> str:
        self.tell("invite", options)
        return str(self.said("invite"))

    def _listen(self) -> None:
        assert self._process.stdout
        with suppress(ValueError):  # the test is over: the pipe is closed, or the last line cut
            for line in self._process.stdout:
                self._said.put(json.loads(line))


@contextmanager
def running(*arguments: str) -> Iterator[subprocess.Popen[str]]:
    with subprocess.Popen(
        [sys.executable, *arguments], text=True, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL
    ) as process:
        try:
            yield process
        finally:
            process.kill()


@pytest.fixture(scope="module")
def switchboard() -> Iterator[str]:
    with running("-m", "a2alinker", "switchboard", "--listen", "127.0.0.1:0") as process:
        assert process.stdout
        yield process.stdout.readline().strip()


@pytest.fixture
def host(switchboard: str) -> Iterator[Host]:
    with running("-c", HOST, switchboard) as process:
        yield Host(process)


@pytest.fixture
def client(host: Host) -> Iterator[Client]:
    joined = join_by_ticket(host.invite(kind="ticket"), "independent", {"reverse": lambda text: text[::-1]})
    try:
        meet(joined, host)
        yield joined
        joined.close()
    finally:
        joined.link.cut()


def meet(client: Client, host: Host) -> None:
    """Lets the host learn the client's card, which the client's first opener brings, and has it answer that."""
    client.run_until(lambda: host.has_said("joined") and peer(client).session and not peer(client).initiation)
    assert host.said("joined") == "independent"


def peer(client: Client) -> Peer:
    found = client.agent.peer("host")
    assert found
    return found


def test_messages_go_both_ways_and_are_confirmed(client: Client, host: Host) -> None:
    sent = client.agent.text(peer(client), "to the host")
    client.run_until(lambda: client.agent.is_done(peer(client), sent))
    assert host.said("got") == "to the host"
    assert peer(client).card.label in client.agent.linked_labels

    for lane, priority in ((Lane.URGENT, "urgent"), (Lane.HIGH, "high"), (Lane.NORMAL, "normal"), (Lane.BULK, "bulk")):
        host.tell("send", f"by {priority}", priority)
        client.run_until(lambda: host.has_said("delivered"))
        assert host.said("delivered") == f"by {priority}"
        _, received = client.agent.inbox.pop()
        assert (received.body.decode(), received.content_type) == (f"by {priority}", message.TEXT)
        assert peer(client).receiving[lane].sections()
    assert client.agent.refused == []


def test_what_is_larger_than_a_chunk_arrives_whole(client: Client, host: Host) -> None:
    text = "x" * (3 * CHUNK)
    sent = client.agent.text(peer(client), text, Lane.BULK)
    client.run_until(lambda: client.agent.is_done(peer(client), sent, Lane.BULK))
    assert host.said("got") == len(text)
    host.tell("send", text, "bulk")
    client.run_until(lambda: client.agent.inbox)
    assert client.agent.inbox[0][1].body.decode() == text


def test_credit_lets_more_through_than_the_first_grant(client: Client, host: Host) -> None:
    texts = [f"message {number}" for number in range(600)]
    for text in texts:
        client.agent.text(peer(client), text)
    client.run_until(lambda: peer(client).sending[Lane.NORMAL].confirmed)
    assert [host.said("got") for _ in texts] == texts
    for text in texts[:300]:
        host.tell("send", text, "normal")
    client.run_until(lambda: len(client.agent.inbox) == 300)
    assert sorted(received.body.decode() for _, received in client.agent.inbox) == sorted(texts[:300])
    client.run_until(lambda: host.has_said("delivered"))
    assert {host.said("delivered") for _ in range(300)} == set(texts[:300])


def test_a_skill_is_called_described_and_refused(client: Client, host: Host) -> None:
    host.tell("call", "reverse", "stressed")
    client.run_until(lambda: host.has_said("result"))
    assert host.said("result") == "desserts"
    host.tell("describe", "reverse")
    client.run_until(lambda: host.has_said("definition"))
    assert host.said("definition") == "reverse"

    arguments = message.pack([["shout"], {}])
    asked = client.agent.send(peer(client), message.Kind.REQUEST, arguments, message.MESSAGE_PACK, skill="upper")
    unknown = client.agent.send(peer(client), message.Kind.REQUEST, arguments, message.MESSAGE_PACK, skill="lower")
    client.run_until(lambda: {asked, unknown} <= client.agent.answers.keys())
    assert client.agent.answers[asked].body == b"SHOUT"
    assert client.agent.answers[unknown].kind == message.Kind.REFUSAL
    assert client.agent.answers[unknown].body[0] == message.SKILL_UNKNOWN


def test_an_unknown_kind_of_message_is_refused(client: Client, host: Host) -> None:
    asked = client.agent.send(peer(client), 200, b"", message.NONE)
    client.run_until(lambda: asked in client.agent.answers)
    assert client.agent.answers[asked].body[0] == message.UNSUPPORTED


def test_when_openers_cross_both_sides_send_on_the_session_of_the_smaller_identity(client: Client, host: Host) -> None:
    other = peer(client)
    forget_sessions(client)
    host.tell("send", "crossing", "normal")
    ours = client.agent.text(other, "crossed")
    client.agent.flush()
    assert other.initiation
    frames = [client.link.expect()]
    while kind(frames[-1]) != Kind.OPENER:
        frames.append(client.link.expect())
    for frame in frames:
        client.agent.handle(frame)
    assert other.crossed
    client.run_until(lambda: client.agent.is_done(other, ours) and host.has_said("delivered"))
    assert len(other.sessions) == 2
    assert other.session
    assert other.session.initiator == min(other.card.identity, client.agent.card.identity)

    host.tell("send", "afterwards", "normal")
    seen = listen_until(client, lambda: any(received.body == b"afterwards" for _, received in client.agent.inbox))
    used = {frame.header.session for frame in seen if frame.header.kind == Kind.SESSION and frame.header.lane == Lane.NORMAL}
    assert used == {other.session.identifier}


def test_a_session_outlives_its_link(client: Client, host: Host) -> None:
    first = client.agent.text(peer(client), "before")
    client.run_until(lambda: client.agent.is_done(peer(client), first))
    sessions = set(peer(client).sessions)
    client.link.cut()
    host.tell("send", "while away", "normal")
    client.relink()
    second = client.agent.text(peer(client), "after")
    client.run_until(lambda: client.agent.inbox and client.agent.is_done(peer(client), second))
    assert [received.body for _, received in client.agent.inbox] == [b"while away"]
    assert (host.said("got"), host.said("got")) == ("before", "after")
    assert sessions <= set(peer(client).sessions)
    session = peer(client).session
    assert session
    assert session.identifier in sessions
    client.run_until(lambda: host.has_said("delivered"))


def test_a_second_link_of_the_same_key_ends_the_first(client: Client) -> None:
    old = client.link
    client.relink()
    with pytest.raises(Closed):
        list(iter(old.expect, b""))
    old.cut()


def test_replayed_and_tampered_frames_have_no_effect(client: Client, host: Host) -> None:
    other = peer(client)
    first = client.agent.text(other, "zero")
    client.run_until(lambda: client.agent.is_done(other, first))
    assert host.said("got") == "zero"
    assert other.session
    client.agent.text(other, "one")
    client.agent.flush()
    frames = list(client.agent.outgoing)
    client.agent.outgoing.clear()
    sealed = next(frame for frame in frames if kind(frame) == Kind.SESSION and DataFrame.decode(frame).header.lane == Lane.NORMAL)
    for at in (17 + 2, 17 + 3, 17 + 36, 17 + 39, 17 + 40, 17 + 47, 17 + 55, 73, 74, len(sealed) // 2, len(sealed) - 1):
        client.link.send(sealed[:at] + bytes([sealed[at] ^ 1]) + sealed[at + 1 :])
    client.link.send(sealed[:-1])
    client.link.send(sealed)
    client.link.send(sealed)
    last = client.agent.text(other, "two")
    client.run_until(lambda: client.agent.is_done(other, last))
    assert (host.said("got"), host.said("got")) == ("one", "two")
    assert not host.has_said("got")


def test_a_replayed_frame_of_the_host_is_refused(client: Client, host: Host) -> None:
    host.tell("send", "once", "normal")
    seen = listen_until(client, lambda: host.has_said("delivered"))
    host.said("delivered")
    frames = [frame for frame in seen if frame.header.kind in {Kind.SESSION, Kind.OPENER}]
    assert frames
    for frame in frames:
        client.agent.handle(frame.encode())
    assert len(client.agent.refused) == len(frames)
    assert [received.body for _, received in client.agent.inbox] == [b"once"]


def test_replayed_and_tampered_openers_are_not_answered(client: Client, host: Host) -> None:
    other = peer(client)
    forget_sessions(client)
    client.agent.text(other, "first")
    client.agent.flush()
    frames = list(client.agent.outgoing)
    client.agent.outgoing.clear()
    opener = next(frame for frame in frames if kind(frame) == Kind.OPENER)
    for at in (17 + 20, 17 + 55, 73, 73 + 1_119, 73 + 1_120, len(opener) - 1):
        client.link.send(opener[:at] + bytes([opener[at] ^ 1]) + opener[at + 1 :])
    for frame in frames:
        client.link.send(frame)
    client.link.send(opener)
    seen = listen_until(client, lambda: other.sending[Lane.NORMAL].confirmed)
    assert host.said("got") == "first"
    last = client.agent.text(other, "last")
    seen += listen_until(client, lambda: client.agent.is_done(other, last))
    assert [frame.header.session for frame in seen if frame.header.kind == Kind.ANSWER] == [DataFrame.decode(opener).header.session]
    assert host.said("got") == "last"


def test_early_frames_for_an_earlier_run_wait_for_the_answer(client: Client, host: Host) -> None:
    other = peer(client)
    forget_sessions(client)
    present = other.card
    other.card = replace(present, run=bytes(16))
    client.agent.text(other, "early")
    client.agent.flush()
    other.card = present
    listen_until(client, lambda: other.session)
    last = client.agent.text(other, "later")
    client.run_until(lambda: client.agent.is_done(other, last))
    client.run_until(lambda: other.sending[Lane.NORMAL].confirmed)
    assert (host.said("got"), host.said("got")) == ("later", "early")


@pytest.mark.parametrize("minutes", [-7, 7])
def test_openers_of_another_time_are_not_answered(client: Client, host: Host, minutes: int) -> None:
    other = peer(client)
    forget_sessions(client)
    client.agent.now = lambda: wall() + 60_000 * minutes
    client.agent.text(other, "by a wrong clock")
    client.agent.flush()
    client.agent.now = wall
    opener = next(DataFrame.decode(frame) for frame in client.agent.outgoing if kind(frame) == Kind.OPENER)
    seen = listen_until(client, lambda: other.session)
    answered = {frame.header.session for frame in seen if frame.header.kind == Kind.ANSWER}
    assert answered
    assert opener.header.session not in answered


def test_nonsense_inside_a_good_seal_harms_nobody(client: Client, host: Host) -> None:
    other, dice = peer(client), Random(7)
    assert other.session
    plain = Message(bytes(16), message.Kind.PLAIN, b"text", message.TEXT, wall() + 60_000, 60_000).encode()
    sections: list[Section] = [
        Messages(0, 5, (plain, plain)),
        Receipt(3, 0, ((1, 2),), ((3, 4),), ((5, 6, "no"),)),
        Credit(3, 0, 1, 1),
        Heartbeat((bytes(16),)),
    ]
    for _ in range(300):
        content = bytearray(encode(dice.sample(sections, dice.randint(1, 4))))
        for _ in range(dice.randint(1, 3)):
            content[dice.randrange(len(content))] = dice.randrange(256)
        cut = bytes(content[: dice.randint(0, len(content))])
        client.link.send(other.session.seal(dice.choice((Lane.CONTROL, Lane.NORMAL, Lane.BULK)), cut).encode())
    # What the host says of numbers that the client never gave, it refuses with the frame that says it; with an answer of its own, if that is in there.
    for _ in range(3):
        sent = client.agent.text(other, "still here", Lane.URGENT)
        with suppress(Closed):
            client.run_until(lambda sent=sent: client.agent.is_done(other, sent, Lane.URGENT))  # type: ignore[misc]
            break
    else:
        pytest.fail("the host confirms nothing any more")
    while host.said("got") != "still here":
        pass


def test_a_request_that_was_tampered_with_admits_nobody(host: Host) -> None:
    text = host.invite(kind="ticket")
    ticket = Ticket.parse(text)
    stranger = Link(ticket.addresses[0], Credentials(SigningKey(bytes(32)), v=ticket.v, mailbox=ticket.mailbox))
    identity = SigningKey(b"\1" * 32)
    asked = admission.Request(identity.public, bytes(32), bytes(16), "intruder", bytes(1216), bytes(1216), 0)
    frame = admission.seal_request(ticket, identity, asked, bytes).encode()
    for at in (17 + 20, 17 + 55, 73, 90, len(frame) - 1):
        stranger.send(frame[:at] + bytes([frame[at] ^ 1]) + frame[at + 1 :])
    answers = list(iter(lambda: stranger.receive(0.3), None))
    assert DATA not in {frame[0] for frame in answers if frame}
    stranger.close()

    assert not host.has_said("joined")
    joined = join_by_ticket(text, "independent", {})
    meet(joined, host)
    joined.close()


def test_a_client_joins_by_code(host: Host, switchboard: str) -> None:
    joined = join_by_code(host.invite(kind="code"), switchboard, "independent", {})
    try:
        meet(joined, host)
        sent = joined.agent.text(peer(joined), "by code")
        joined.run_until(lambda: joined.agent.is_done(peer(joined), sent))
        assert host.said("got") == "by code"
        joined.close()
    finally:
        joined.link.cut()


def test_wrong_words_burn_a_code_and_both_sides_are_told(host: Host, switchboard: str) -> None:
    text = host.invite(kind="code")
    slot, _, words = text.partition("-")
    with pytest.raises(Forged, match="wrong"):
        join_by_code(f"{slot}-{words[1:]}", switchboard, "intruder", {})
    assert host.said("error") == "InviteBurnt"
    with pytest.raises(Forged):
        join_by_code(text, switchboard, "independent", {})


def forget_sessions(client: Client) -> None:
    """Ends the session on both sides: this one forgets it, the other is told that it can't be opened here."""
    other = peer(client)
    for identifier in other.sessions:
        header = OuterHeader(Kind.CANNOT_OPEN, Lane.CONTROL, other.card.label, identifier)
        client.link.send(DataFrame(header, b"").encode())
    other.session = None
    other.sessions.clear()


def listen_until(client: Client, condition: Callable[[], object]) -> list[DataFrame]:
    """Runs the client, and gives the Data frames that came meanwhile."""
    seen: list[DataFrame] = []
    client.observe = seen.append
    client.run_until(condition)
    client.observe = None
    return seen


def kind(frame: bytes) -> int:
    return DataFrame.decode(frame).header.kind if frame[0] == DATA else 0
