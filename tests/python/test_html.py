"""What notebooks show: tables, in which nothing that others say is markup, and which stay small."""

import asyncio
import inspect
from collections.abc import Callable
from html.parser import HTMLParser
from types import SimpleNamespace
from typing import Any

import pytest

import a2alinker
from a2alinker import (
    BodyProgress,
    EventsMissed,
    Health,
    LinkDown,
    LinkUp,
    LoopStopped,
    MessageLost,
    NotSaved,
    Peer,
    PeerEvent,
    Peers,
    Remote,
    Replaced,
    Skill,
    SkillDefinition,
    SkillInfo,
    Switchboard,
    _core,
    sync,
)
from a2alinker._bridge import Bridge
from a2alinker.bodies import FILE, IncomingBody
from a2alinker.call import Call
from a2alinker.events import EventStream
from a2alinker.invite import Invite, Rights, Terms
from a2alinker.message import Message
from a2alinker.receipt import GroupReceipt, Receipt

HOSTILE = {
    "script": "<script>alert(1)</script>",
    "image": '"><img src=x onerror=alert(1)>',
    "quotes": "' onmouseover='alert(1)' \"",
    "end of the table": "</td></tr></table><h1>x</h1>",
    "entity": "&lt;script&gt;&#0;",
    "long": "x" * 10_000,
    "long markup": "<b>" * 4000,
}
LONGEST = 100_000  # characters of any table; a peers' table with its rows full of markup is the longest
OWN_TAGS = {"table", "caption", "b", "tr", "th", "td"}
OWN_ATTRIBUTES = [("style", "text-align:left")]
SECRET = "7-lantern-paprika-walrus"


# -- things made of what others say; the real ones would not let all of it in --


def peer(text: str) -> Peer:
    skills = [(f"{text}{number}", (text,), 1, b"") for number in range(50)]
    info = SimpleNamespace(id=b"id", text_id="id", name=text, linked=True, gone=False, skills=skills)
    return Peer(SimpleNamespace(), info)  # type: ignore[arg-type]


def outbox(text: str) -> Any:
    return SimpleNamespace(roster=SimpleNamespace(find=lambda _: peer(text)), seam=SimpleNamespace(is_attached=True, is_open=False))


def message(text: str) -> Message:
    event = (_core.EVENT_MESSAGE, 1, b"id", {"text": text}, 2, bytes(16), 1, 1, 0, None, 0, {text: text}, b"id")
    return Message(outbox(text), event)


def receipt(text: str) -> Receipt:
    core = SimpleNamespace(state=_core.RECEIPT_REFUSED, reason=text, message_id=b"id", retry_after=None)
    return Receipt(outbox(text), core, b"id", True)  # type: ignore[arg-type]


def call(text: str) -> Call[Any]:
    calls = SimpleNamespace(outbox=outbox(text), seam=SimpleNamespace(is_open=False))
    made: Call[Any] = Call(calls, text, lambda event: event)  # type: ignore[arg-type]
    made.peer_id = b"id"
    made.end(None, a2alinker.RemoteError(text))
    made._seen = True
    return made


def body(text: str) -> IncomingBody:
    bodies = SimpleNamespace(core=SimpleNamespace(received=lambda _: 1), seam=SimpleNamespace(is_attached=False))
    return IncomingBody(bodies, 1, b"id", b"id", (FILE, 5, text))  # type: ignore[arg-type]


def switchboard(text: str) -> Switchboard:
    made = Switchboard()
    made._core = SimpleNamespace(url=text)  # type: ignore[assignment]
    return made


def health(text: str) -> Health:
    return Health(linked=True, open=True, switchboard=text, link_error=text, save_error=text, skills=[text] * 100, refused_frames=3)


def invite(text: str) -> Invite:
    return Invite(SimpleNamespace(), SimpleNamespace(), SECRET, Terms("code", 1, 600.0, Rights()), text)  # type: ignore[arg-type]


def remote(text: str) -> Remote[Any]:
    options: Any = {"choose": None, "priority": "normal", "timeout": None, "progress_timeout": None, "ttl": 1.0, "budget": None}
    return Remote(SimpleNamespace(), SimpleNamespace(), text, to=text, tags=(), returns=Any, **options)  # type: ignore[arg-type]


def events() -> EventStream:
    return EventStream(SimpleNamespace(loop=None))  # type: ignore[arg-type]


def face(wrap: Callable[[Bridge, Any], Any], make: Callable[[str], Any]) -> Callable[[str], Any]:
    loop = asyncio.new_event_loop()
    loop.close()  # so that everything is looked at from here
    return lambda text: wrap(Bridge(loop), make(text))


THINGS: dict[str, Callable[[str], Any]] = {
    "peer": peer,
    "peers": lambda text: Peers({str(number): peer(text) for number in range(1000)}),
    "skill": lambda text: Skill(lambda: None, name="skill", description=text),
    "skill of a peer": lambda text: SkillInfo(text, (text,), 1, b""),
    "definition of a skill": lambda text: SkillDefinition(text, text, {text: text}, {text: text}),
    "message": message,
    "receipt": receipt,
    "receipt of several": lambda text: GroupReceipt(outbox(text), [receipt(text)] * 1000, True),
    "call": call,
    "remote": remote,
    "invite": invite,
    "incoming body": body,
    "switchboard": switchboard,
    "health": health,
    "events": lambda _: events(),
    "LinkUp": LinkUp,
    "LinkDown": lambda text: LinkDown(OSError(text), 1.0),
    "Replaced": lambda _: Replaced(),
    "PeerEvent": lambda text: PeerEvent("joined", peer(text)),
    "MessageLost": lambda text: MessageLost(peer(text), text, None),
    "BodyProgress": lambda text: BodyProgress("in", peer(text), text, text, 1, None),
    "LoopStopped": lambda text: LoopStopped(peer(text), None, True, RuntimeError(text)),
    "NotSaved": lambda text: NotSaved(OSError(text)),
    "EventsMissed": lambda _: EventsMissed(1),
    "sync.Peer": face(sync.Peer, peer),
    "sync.Peers": face(sync.Peers, lambda text: Peers({"id": peer(text)})),
    "sync.Message": face(sync.Message, message),
    "sync.Receipt": face(sync.Receipt, receipt),
    "sync.IncomingBody": face(sync.IncomingBody, body),
    "sync.Invite": face(sync.Invite, invite),
    "sync.Remote": face(sync.Remote, remote),
    "sync.EventStream": face(sync.EventStream, lambda _: events()),
}


@pytest.mark.parametrize("text", HOSTILE.values(), ids=HOSTILE)
@pytest.mark.parametrize("make", THINGS.values(), ids=THINGS)
def test_what_others_say_is_text_and_not_much_of_it(make: Callable[[str], Any], text: str) -> None:
    html = make(text)._repr_html_()

    page = Page(html)
    assert page.tags <= OWN_TAGS
    assert [attribute for attribute in page.attributes if attribute not in OWN_ATTRIBUTES] == []
    assert len(html) < LONGEST


@pytest.mark.parametrize("text", HOSTILE.values(), ids=HOSTILE)
async def test_agents_calls_and_health_of_a_real_swarm_show_text(text: str) -> None:
    with sync.host("host", skills=[Skill(lambda given: given, name="echo", description=text)]) as host:
        ticket = host.invite(kind="ticket", local=True)
        with sync.join("worker", ticket) as worker:
            worker.wait_for(skill="echo", timeout=10)
            call = worker.call.submit("echo", text)
            assert call.result(10) == text
            described = worker.discover(skill="echo")[0].describe("echo")
            for thing in (host, worker, host._it, worker.health(), worker.peers, call, described, host.events()):
                assert Page(thing._repr_html_()).tags <= OWN_TAGS


def test_an_invite_hides_its_secret() -> None:
    made = invite("wss://relay.example:7447#pin")

    for shown in (repr(made), made._repr_html_(), repr(face(sync.Invite, invite)(""))):
        assert "lantern" not in shown
        assert "Invite" in shown
    assert str(made) == SECRET


async def test_health_is_a_dict_that_shows_what_matters() -> None:
    async with a2alinker.host("host") as host:
        health = host.health()
        assert isinstance(health, dict)
        assert health["linked"]
        assert health["link_error"] is None
        html = health._repr_html_()
    shown = Page(html).text

    for row in ("link", "round trip", "peers", "queued urgent", "queued bulk", "unconfirmed", "calls", "handlers", "errors"):
        assert row in shown
    assert "ms" in shown
    assert Health()._repr_html_(), "entries may be missing"
    assert "closed" in host.health()._repr_html_()


def test_a_table_says_how_many_rows_it_leaves_out() -> None:
    assert "and 950 more" in Page(THINGS["peers"]("a")._repr_html_()).text
    assert "more" not in Page(Peers({"id": peer("a")})._repr_html_()).text


# Shown well enough by their repr: they hold what this program itself has said, or are tuples.
PLAIN = {"Context", "File", "Progress", "Rights"}


def test_every_public_class_has_a_table() -> None:
    kinds = [getattr(a2alinker, name) for name in a2alinker.__all__] + [getattr(sync, name) for name in sync.__all__]
    classes = [kind for kind in kinds if inspect.isclass(kind) and not issubclass(kind, Exception)]

    assert {kind.__name__ for kind in classes if not hasattr(kind, "_repr_html_")} == PLAIN


class Page(HTMLParser):
    """What a browser would make of it."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.tags: set[str] = set()
        self.attributes: list[tuple[str, str | None]] = []
        self.text = ""
        self.feed(html)
        self.close()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.add(tag)
        self.attributes += attrs

    def handle_data(self, data: str) -> None:
        self.text += data
