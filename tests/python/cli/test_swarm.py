"""The commands that talk to other agents, each a process, through the switchboard of a host that is one too."""

import json
import signal
import socket
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import pytest

from commands import PATIENCE, command, end, line, run, running, talk

SKILLS = """
import a2alinker

@a2alinker.skill
async def review(text: str, context: a2alinker.Context) -> str:
    "Review a piece of code."
    await context.progress("reading")
    return f"{text} needs a docstring"

@a2alinker.skill
def add(a: int, b: int = 1) -> int:
    return a + b

@a2alinker.skill
def raw(text: str) -> bytes:
    return text.encode()

@a2alinker.skill
def broken() -> None:
    raise ValueError("no luck")

@a2alinker.skill
async def slow() -> None:
    import asyncio
    await asyncio.sleep(3600)

@a2alinker.skill
async def forever(context: a2alinker.Context) -> None:
    import asyncio
    await context.progress("begun")
    await asyncio.sleep(3600)
"""


STUCK = """
import time
import a2alinker

@a2alinker.skill
def stuck() -> None:
    print("stuck", flush=True)
    time.sleep(60)
"""


class Swarm(NamedTuple):
    invite: Path  # a file with a ticket for any number
    worker: subprocess.Popen[str]


@pytest.fixture(scope="module")
def swarm(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Swarm]:
    folder = tmp_path_factory.mktemp("swarm")
    (folder / "skills.py").write_text(SKILLS)
    with running("host", "planner", "--ticket", "--uses", "any", "--listen", "127.0.0.1:0", stdin=subprocess.DEVNULL) as host:
        (folder / "invite").write_text(line(host))
        with running("join", "coder", "--skills", "skills.py", "--invite-file", "invite", "--json", cwd=folder) as worker:
            assert json.loads(line(worker))["skills"] == ["review", "add", "raw", "broken", "slow", "forever"]
            yield Swarm(folder / "invite", worker)
            _, err, code = end(worker, signal.SIGTERM)
            assert (err, code) == ("", 0)
        assert talk(host, until="coder is gone")
        assert end(host, signal.SIGINT)[2] == 0


def as_member(swarm: Swarm, *arguments: str, stdin: str = "") -> subprocess.CompletedProcess[str]:
    return run(*arguments, "--invite-file", str(swarm.invite), "--name", "me", stdin=stdin)


@pytest.mark.parametrize(
    ("arguments", "stdin", "out"),
    [
        (["review", "def f(): pass"], "", "def f(): pass needs a docstring\n"),
        (["review", "-"], "typed", "typed needs a docstring\n"),
        (["review", "f", "--stream"], "", "reading\nf needs a docstring\n"),
        (["review", "f", "--to", "coder"], "", "f needs a docstring\n"),
        (["add", "4"], "", "5\n"),
        (["add", "a=4", "b=-7"], "", "-3\n"),
        (["raw", "text"], "", "text"),
    ],
)
def test_a_call_prints_the_answer_and_nothing_else(swarm: Swarm, arguments: list[str], stdin: str, out: str) -> None:
    done = as_member(swarm, "call", *arguments, stdin=stdin)
    assert (done.stdout, done.stderr, done.returncode) == (out, "", 0)


def test_a_call_for_a_program_is_one_object_a_line(swarm: Swarm) -> None:
    done = as_member(swarm, "call", "review", "f", "--json")
    assert [json.loads(text) for text in done.stdout.splitlines()] == [
        {"part": "reading"},
        {"answer": "f needs a docstring", "from": "coder", "attempt": 1},
    ]
    done = as_member(swarm, "call", "raw", "text", "--json")
    assert json.loads(done.stdout)["answer_base64"] == "dGV4dA=="


@pytest.mark.parametrize(
    ("arguments", "code", "told", "word"),
    [
        (["call", "broken"], 6, "ValueError: no luck", "remote_error"),
        (["call", "add", "four"], 6, "a must be int", "bad_arguments"),
        (["call", "slow", "--timeout", "0.2"], 7, "no answer within", "call_timeout"),
        (["call", "nothing", "--wait", "0.5"], 5, "skills in this swarm: add, broken, forever, raw, review, slow", "skill_unknown"),
        (["call", "add", "1", "--to", "nobody", "--wait", "0.5"], 5, "agents in this swarm", "peer_unknown"),
        (["send", "nobody", "hello", "--wait", "0.5"], 5, "agents in this swarm: ", "peer_unknown"),
        (["send", "coder"], 2, "nothing to send", "argument"),
        (["recv", "--count", "1", "--timeout", "0.2"], 7, "0 messages", "timed_out"),
    ],
)
def test_what_fails_has_a_code_and_a_reason(swarm: Swarm, arguments: list[str], code: int, told: str, word: str) -> None:
    done = as_member(swarm, *arguments, "--json")
    problem = json.loads(done.stderr)
    assert (done.stdout, done.returncode, problem["error"]) == ("", code, word)
    assert told in problem["text"]
    if code == 6:
        assert as_member(swarm, *arguments).stderr == f"a2alinker: {problem['text']}\n"


def test_messages_arrive_as_they_were_sent(swarm: Swarm, tmp_path: Path) -> None:
    (tmp_path / "bytes").write_bytes(b"\xff\x00")
    sends: list[tuple[list[str], str, dict[str, Any]]] = [
        (["hello"], "", {"body": "hello", "priority": "normal"}),
        (["-", "--priority", "urgent"], "from stdin", {"body": "from stdin", "priority": "urgent"}),
        (["--json-body", '{"event": "started", "files": 3}'], "", {"body": {"event": "started", "files": 3}}),
        (["--file", str(tmp_path / "bytes")], "", {"body_base64": "/wA="}),
    ]
    for arguments, stdin, wanted in sends:
        sent = as_member(swarm, "send", "coder", *arguments, "--until-done", "--json", stdin=stdin)
        assert json.loads(sent.stdout)["state"] == "done", sent.stderr
        event: dict[str, Any] = {}
        while event.get("event") != "message":
            event = json.loads(line(swarm.worker))
        assert {**event, **wanted} == event
        assert event["from"] == "me"


def test_recv_prints_bodies_and_send_says_that_they_arrived(swarm: Swarm) -> None:
    arguments = ("recv", "--count", "2", "--invite-file", str(swarm.invite), "--name", "reader")
    with running(*arguments) as reader:
        assert as_member(swarm, "send", "reader", "one").stderr == "delivered: reader\n"
        assert as_member(swarm, "send", "reader", "--json-body", '["two"]', "--until-done").stderr == "done: reader\n"
        assert reader.wait(PATIENCE) == 0
        assert reader.stdout is not None
        assert reader.stdout.read() == 'one\n["two"]\n'


def test_recv_ends_quietly_when_its_reader_has_enough(swarm: Swarm) -> None:
    script = f"{' '.join(command())} recv --invite-file {swarm.invite} --name reader | head -n 1; exit ${{PIPESTATUS[0]}}"
    with subprocess.Popen(["bash", "-c", script], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as pipeline:
        assert as_member(swarm, "send", "reader", "first").returncode == 0
        out, err = pipeline.communicate(timeout=PATIENCE)
    assert (out, pipeline.returncode) == ("first\n", 141)
    assert "Traceback" not in err
    assert "Broken" not in err


@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_a_call_that_is_interrupted_says_goodbye_and_ends(swarm: Swarm, number: signal.Signals, code: int) -> None:
    name = f"caller-{code}"
    with running("call", "forever", "--stream", "--invite-file", str(swarm.invite), "--name", name) as caller:
        assert line(caller) == "begun"
        begun = time.monotonic()
        assert end(caller, number) == ("", "", code)
        assert time.monotonic() - begun < 5
    while (told := json.loads(line(swarm.worker))).get("name") != name or told["event"] != "gone":
        pass
    assert time.monotonic() - begun < 5  # without a goodbye it takes ten seconds


def test_a_worker_whose_skill_is_stuck_in_a_thread_ends_all_the_same(swarm: Swarm, tmp_path: Path) -> None:
    (tmp_path / "stuck.py").write_text(STUCK)
    with running("join", "stuck", "--skills", "stuck.py", "--invite-file", str(swarm.invite), cwd=tmp_path) as worker:
        talk(worker, until="is in the swarm")
        with running("call", "stuck", "--invite-file", str(swarm.invite), "--name", "caller"):
            assert line(worker) == "stuck"
            begun = time.monotonic()
            assert end(worker, signal.SIGINT)[2] == 0
            assert time.monotonic() - begun < 5


def test_peers_can_be_watched(swarm: Swarm) -> None:
    with running("peers", "--watch", "--invite-file", str(swarm.invite), "--name", "watcher") as watcher:
        while not line(watcher).startswith("planner"):
            pass
        assert as_member(swarm, "peers").returncode == 0
        while line(watcher) != "me joined":
            pass
        assert end(watcher, signal.SIGINT)[1:] == ("", 0)


def test_peers_are_listed_for_people_and_for_programs(swarm: Swarm) -> None:
    lines = as_member(swarm, "peers").stdout.splitlines()
    assert any(text.startswith("coder") and text.endswith("review, add, raw, broken, slow, forever") for text in lines)
    peers = [json.loads(text) for text in as_member(swarm, "peers", "--json").stdout.splitlines()]
    assert {"coder", "planner"} <= {peer["name"] for peer in peers if peer["state"] == "linked"}


def test_join_asks_for_the_invite_and_takes_it_from_standard_input(swarm: Swarm) -> None:
    with running("join", "typist", "--json") as typist:
        assert typist.stdin is not None
        typist.stdin.write(swarm.invite.read_text() + "\n")
        typist.stdin.flush()
        assert json.loads(line(typist))["name"] == "typist"


def test_an_invite_that_does_not_admit_is_code_four(tmp_path: Path, swarm: Swarm) -> None:
    damaged = tmp_path / "damaged"
    damaged.write_text(swarm.invite.read_text()[:-9])
    done = run("peers", "--invite-file", str(damaged))
    assert (done.returncode, done.stdout) == (4, "")


def test_nobody_at_the_switchboard_is_code_three(swarm: Swarm) -> None:
    done = run("peers", "--invite-file", str(swarm.invite), "--switchboard", "wss://127.0.0.1:9", "--link-timeout", "0.5")
    assert (done.returncode, done.stdout) == (3, "")
    assert "next attempt" in done.stderr


@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
@pytest.mark.parametrize("arguments", [["host", "planner"], ["join", "coder", "--invite-stdin"], ["recv", "--invite-stdin"]])
def test_who_is_interrupted_before_it_is_in_the_swarm_says_so(arguments: list[str], number: signal.Signals, code: int) -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent:
        address = f"ws://127.0.0.1:{silent.getsockname()[1]}"
        with running(*arguments, "--switchboard", address, "--link-timeout", "60") as process:
            if "--invite-stdin" in arguments:
                assert process.stdin is not None
                process.stdin.write("7-lantern-paprika-walrus\n")
                process.stdin.flush()
            connection, _ = silent.accept()
            with connection:
                assert end(process, number) == ("", "", code)
