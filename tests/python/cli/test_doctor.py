"""`doctor` on ways that are sound, and on ways with one thing wrong: it has to find that one."""

import json
import socket
from collections.abc import Callable
from contextlib import AbstractContextManager
from pathlib import Path
from typing import NamedTuple

import pytest

import a2alinker
import ways
from a2alinker import cli
from a2alinker.cli import checks
from ways import DAY, NAME


class Finding(NamedTuple):
    code: int
    states: dict[str, str]
    texts: dict[str, str]  # with the remedy
    sound: bool  # nothing but ok


Doctor = Callable[..., Finding]


@pytest.fixture
def doctor(capsys: pytest.CaptureFixture[str]) -> Doctor:
    def examine(address: str, *arguments: str) -> Finding:
        code = cli.main(["doctor", address, "--json", "--link-timeout", "3", *arguments])
        found = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
        texts = {check["name"]: f"{check['text']} | {check['remedy']}" for check in found}
        states = {check["name"]: check["state"] for check in found}
        return Finding(code, states, texts, set(states.values()) == {"ok"})

    return examine


@pytest.fixture
def by_name(monkeypatch: pytest.MonkeyPatch) -> Callable[[str], str]:
    """Makes relay.example lead through a proxy, and returns its address."""

    def lead(setting: str) -> str:
        monkeypatch.setenv("https_proxy", setting)
        monkeypatch.delenv("no_proxy", raising=False)
        monkeypatch.delenv("NO_PROXY", raising=False)
        return f"wss://{NAME}:7447"

    return lead


async def test_a_sound_way_is_sound(doctor: Doctor) -> None:
    async with a2alinker.Switchboard() as switchboard:
        found = doctor(switchboard.url)
    assert found.sound
    assert found.code == 0
    assert list(found.states) == ["address", "proxy", "connection", "tls", "pin", "switchboard", "clock", "round trip", "open files"]
    assert "TLS 1.3, X25519MLKEM768" in found.texts["tls"]
    assert "median of 5" in found.texts["round trip"]


async def test_it_is_readable_for_people(capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["doctor", "wss://127.0.0.1:9"]) == 1
    lines = capsys.readouterr().out.splitlines()
    assert lines[0] == "ok    address       wss://127.0.0.1:9"
    assert lines[2] == "fail  connection    the connection was refused"
    assert lines[3].startswith(" " * 20 + "nothing listens there")


def test_a_name_that_can_not_be_resolved(doctor: Doctor) -> None:
    found = doctor("wss://relay.invalid:7447")
    assert (found.code, found.states["name"]) == (1, "fail")
    assert "DNS" in found.texts["name"]


@pytest.mark.parametrize(
    ("scheme", "way", "stage", "told"),
    [
        ("wss", ways.black_hole, "connection", "firewall"),
        ("wss", ways.silence, "tls", "says nothing"),
        ("ws", ways.silence, "switchboard", "says nothing"),
        ("wss", ways.web_server, "tls", "ws://"),
        ("ws", ways.web_server, "switchboard", "404"),
    ],
)
def test_what_else_may_listen_there(
    doctor: Doctor, scheme: str, way: Callable[[], AbstractContextManager[int]], stage: str, told: str
) -> None:
    with way() as port:
        found = doctor(f"{scheme}://127.0.0.1:{port}", "--link-timeout", "0.4")
    assert (found.code, found.states[stage]) == (1, "fail")
    assert told in found.texts[stage]
    assert list(found.states)[-2:] == [stage, "open files"]  # nothing is said of what lies behind


def test_tls_of_something_else(doctor: Doctor, tmp_path: Path) -> None:
    tls, _ = ways.certificate(tmp_path)
    with ways.web_server(tls) as port:
        found = doctor(f"wss://127.0.0.1:{port}")
    assert (found.code, found.states["tls"] in ("ok", "warn"), found.states["switchboard"]) == (1, True, "fail")
    assert "another service" in found.texts["switchboard"]


async def test_a_wrong_pin_is_told_with_the_one_seen(doctor: Doctor, by_name: Callable[[str], str]) -> None:
    async with a2alinker.Switchboard() as switchboard:
        with ways.proxy(switchboard.port) as setting:
            address = by_name(setting)
            right, wrong, none = doctor(f"{address}#{switchboard.pin}"), doctor(f"{address}#{'a' * 52}"), doctor(address)
    assert right.sound
    assert (wrong.code, wrong.states["pin"]) == (1, "fail")
    assert switchboard.pin in wrong.texts["pin"]
    assert (none.code, none.states["certificate"]) == (1, "fail")
    assert f"use {address}#{switchboard.pin}" in none.texts["certificate"]
    assert f"through {setting}" in none.texts["proxy"]


@pytest.mark.parametrize(
    ("name", "ends_in", "state", "told"),
    [
        (NAME, 90 * DAY, "ok", "vouch for it, until"),
        (NAME, 10 * DAY, "warn", "ends in 10 days"),
        (NAME, -DAY, "fail", "expired"),
        ("other.example", 90 * DAY, "fail", "not valid for name"),
    ],
)
def test_certificates_of_authorities(
    doctor: Doctor, by_name: Callable[[str], str], tmp_path: Path, name: str, ends_in: float, state: str, told: str
) -> None:
    tls, authority = ways.certificate(tmp_path, name=name, ends_in=ends_in)
    with ways.switchboard(tls=tls) as port, ways.proxy(port) as setting:
        found = doctor(by_name(setting), "--ca-file", authority)
    assert (found.states["certificate"], found.code) == (state, int(state == "fail"))
    assert told in found.texts["certificate"]
    assert found.states["switchboard"] == "ok"


def test_an_authority_that_is_not_known(doctor: Doctor, by_name: Callable[[str], str], tmp_path: Path) -> None:
    tls, _ = ways.certificate(tmp_path)
    with ways.switchboard(tls=tls) as port, ways.proxy(port) as setting:
        found = doctor(by_name(setting))
    assert (found.code, found.states["certificate"]) == (1, "fail")
    assert "UnknownIssuer" in found.texts["certificate"] or "issuer" in found.texts["certificate"]


@pytest.mark.parametrize(("versions", "told"), [((2, 3), "upgrade a2alinker here"), ((0, 0), "its operator has to upgrade it")])
def test_another_version_of_the_protocol(doctor: Doctor, versions: tuple[int, int], told: str) -> None:
    with ways.switchboard(versions=versions) as port:
        found = doctor(f"ws://127.0.0.1:{port}")
    assert (found.code, found.states["switchboard"]) == (1, "fail")
    assert told in found.texts["switchboard"]


@pytest.mark.parametrize(("ahead", "state", "told"), [(100.0, "warn", "ahead"), (-1000.0, "fail", "behind"), (20.0, "ok", "ahead")])
def test_a_clock_that_is_off(doctor: Doctor, ahead: float, state: str, told: str) -> None:
    with ways.switchboard(ahead=ahead) as port:
        found = doctor(f"ws://127.0.0.1:{port}")
    assert (found.states["clock"], found.code) == (state, int(state == "fail"))
    assert told in found.texts["clock"]


def test_a_proxy_that_refuses(doctor: Doctor, by_name: Callable[[str], str]) -> None:
    with ways.proxy(None) as setting:
        found = doctor(by_name(setting))
    assert (found.code, found.states["proxy"]) == (1, "fail")
    assert "403" in found.texts["proxy"]
    assert "HTTPS_PROXY" in found.texts["proxy"]


def test_a_proxy_that_is_not_there(doctor: Doctor, by_name: Callable[[str], str]) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        setting = f"http://127.0.0.1:{taken.getsockname()[1]}"
    found = doctor(by_name(setting))
    assert (found.code, found.states["proxy"]) == (1, "fail")


def test_few_open_files_are_a_warning() -> None:
    assert checks.descriptors(64).state == "warn"
    assert "ulimit -n" in checks.descriptors(64).remedy
    assert checks.descriptors(None).state == checks.descriptors(1024).state == "ok"


def test_a_plain_link_off_this_machine_and_a_slow_one_are_warnings() -> None:
    facts = {
        "address": "ws://relay.example:7447",
        "host": "relay.example",
        "port": 7447,
        "secure": False,
        "loopback": False,
        "pin": "",
        "proxy": "",
        "resolved": ["192.0.2.1"],
        "resolve_seconds": 0.01,
        "connected": "192.0.2.1:7447",
        "connect_seconds": 0.2,
        "challenge": {"version_min": 1, "version_max": 2, "wall": 1000.0},
        "clock": 1000.0,
        "round_trips": [2.0, 1.5, 0.1],
    }
    states = {check.name: check.state for check in checks.judge(facts)}
    assert states == {
        "address": "ok",
        "proxy": "ok",
        "name": "ok",
        "connection": "ok",
        "tls": "warn",
        "switchboard": "ok",
        "clock": "ok",
        "round trip": "warn",
    }


@pytest.mark.parametrize("address", ["relay.example", "http://relay.example:7447", "wss://relay.example:7447#short"])
def test_what_is_no_address_is_said_at_once(address: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["doctor", address]) == 2
    assert "is not a switchboard address" in capsys.readouterr().err


def test_without_an_address_it_says_how_to_give_one(capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["doctor"]) == 2
    assert "A2ALINKER_SWITCHBOARD" in capsys.readouterr().err
