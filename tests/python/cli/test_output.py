"""How the command prints: what other agents wrote steers no terminal, and colour is for terminals that want it."""

from __future__ import annotations

import argparse
import contextlib
import io
import json
import sys
from collections.abc import AsyncIterator
from typing import TYPE_CHECKING, Any, cast

import pytest

import a2alinker
from a2alinker import exceptions
from a2alinker.cli import exchange, exits
from a2alinker.cli.inviting import admit
from a2alinker.cli.output import Output, coloured, shown

if TYPE_CHECKING:
    from typing_extensions import Buffer


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


def test_control_characters_of_others_are_spelled_out_on_a_terminal_only() -> None:
    text = "a\x1b]0;title\x07b\u202ec\nd\té"
    assert shown(text, Terminal()) == "a\\x1b]0;title\\x07b\\u202ec\nd\té"
    assert shown(text, io.StringIO()) == text


def test_colour_is_for_terminals_that_want_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("NO_COLOR", raising=False)
    monkeypatch.setenv("TERM", "xterm")
    assert coloured("x", "bad", Terminal()) == "\x1b[31mx\x1b[0m"
    assert coloured("x", "bad", io.StringIO()) == "x"
    monkeypatch.setenv("TERM", "dumb")
    assert coloured("x", "bad", Terminal()) == "x"
    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.setenv("NO_COLOR", "1")
    assert coloured("x", "bad", Terminal()) == "x"


def test_bytes_inside_an_answer_are_told_from_text(capsys: pytest.CaptureFixture[str]) -> None:
    Output(as_json=True).body("answer", [b"\xff", {"a": b""}], {"from": "coder"})
    assert json.loads(capsys.readouterr().out) == {"answer": [{"base64": "/w=="}, {"a": {"base64": ""}}], "from": "coder"}


def test_a_line_is_written_at_once_so_that_another_process_cannot_write_into_it(monkeypatch: pytest.MonkeyPatch) -> None:
    class Screen(io.RawIOBase):
        def __init__(self) -> None:
            self.writes: list[bytes] = []

        def writable(self) -> bool:
            return True

        def write(self, data: Buffer) -> int:
            self.writes.append(bytes(data))
            return len(self.writes[-1])

    screen = Screen()
    for name in ("stdout", "stderr"):  # as Python makes them on a terminal
        monkeypatch.setattr(sys, name, io.TextIOWrapper(io.BufferedWriter(screen), line_buffering=True, write_through=True))
    Output(as_json=False).talk("me:")
    Output(as_json=False).data("good night", {})
    assert screen.writes == [b"me:\n", b"good night\n"]


def test_every_exception_has_an_exit_code_of_the_table() -> None:
    known = {code for code, _ in exits.TABLE}
    kinds = [kind for kind in vars(exceptions).values() if isinstance(kind, type) and issubclass(kind, exceptions.A2ALinkerError)]
    codes = {kind.__name__: exits.code_of(kind()) for kind in kinds}
    assert set(codes.values()) <= known - {exits.DONE, exits.INTERRUPTED}
    assert {codes[name] for name in ("SwitchboardUnreachable", "UntrustedSwitchboard", "LinkReplaced")} == {exits.LINK}
    assert {codes[name] for name in ("InviteUsed", "InviteExpired")} == {exits.INVITE}
    assert {codes[name] for name in ("PeerUnknown", "PeerGone", "SkillUnknown")} == {exits.NOBODY}
    assert {codes[name] for name in ("RemoteError", "CallRefused", "Refused", "NotPermitted")} == {exits.REFUSED}
    assert {codes[name] for name in ("CallTimeout", "Expired", "TimedOut")} == {exits.TIMED_OUT}


@pytest.mark.parametrize(("burnt", "end"), [(1, " The next one:"), (4, " That was the last one: too many were burnt.")])
async def test_what_is_said_of_a_burnt_code_is_sentences(burnt: int, end: str, capsys: pytest.CaptureFixture[str]) -> None:
    class Burnt:
        kind, uses, ttl, switchboard = "code", 1, 600.0, "wss://relay.example:7447"

        async def joined(self) -> None:
            raise exceptions.InviteBurnt("make a new one, and say it only to whom it is for")

    class Inviter:
        switchboard = "wss://relay.example:7447"

        def __init__(self) -> None:
            self.invites = 0

        async def invite(self, **_: object) -> Burnt:
            self.invites += 1
            if self.invites > burnt:
                raise exceptions.AgentClosed
            return Burnt()

    options = argparse.Namespace(uses=1, ticket=False, ttl=600.0, may_offer=None, may_admit=False, may_not_call=False)
    with contextlib.suppress(exceptions.AgentClosed):
        await admit(cast(a2alinker.Agent, Inviter()), options, Output(as_json=False), renew=True)
    assert capsys.readouterr().err.splitlines()[-1] == "make a new one, and say it only to whom it is for." + end


class Moving:
    """A call that goes to another worker after its first partial answer."""

    def __init__(self) -> None:
        self._attempts = iter((["one"], ["one", "two"]))

    async def __aiter__(self) -> AsyncIterator[str]:
        parts = next(self._attempts)
        for part in parts:
            yield part
        if len(parts) == 1:
            raise a2alinker.StreamRestarted("it was given to another worker", attempt=2)


@pytest.mark.parametrize(
    ("as_json", "out", "err"),
    [
        (True, '{"part": "one"}\n{"event": "restarted", "attempt": 2}\n{"part": "one"}\n{"part": "two"}\n', ""),
        (False, "one\none\ntwo\n", "it was given to another worker: it begins anew\n"),
    ],
)
async def test_partial_answers_of_a_call_that_moved_are_told_apart(
    as_json: bool, out: str, err: str, capsys: pytest.CaptureFixture[str]
) -> None:
    await exchange.print_parts(cast(a2alinker.Call[Any], Moving()), Output(as_json=as_json), stream=True)
    assert capsys.readouterr() == (out, err)
