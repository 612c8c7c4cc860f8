"""Commands with an agent file, and joining by code."""

import json
import signal
import subprocess
from pathlib import Path

import pytest

from commands import PATIENCE, end, line, run, running, talk

LOCAL = ("--listen", "127.0.0.1:0")


def joins_by_code(folder: Path, host: subprocess.Popen[str], name: str, *arguments: str) -> subprocess.CompletedProcess[str]:
    """Runs a command that joins with the code which the host shows next."""
    invite = json.loads(line(host))
    while invite["event"] != "invite":
        invite = json.loads(line(host))
    file = str(folder / f"{name}.agent")
    given = ("--identity", file, "--invite-stdin", "--switchboard", invite["switchboard"])
    return run(*arguments, *given, stdin=invite["invite"] + "\n")


def test_an_agent_file_is_made_once_and_then_is_enough(tmp_path: Path) -> None:
    with running("host", "planner", "--uses", "2", "--json", *LOCAL) as host:
        first = joins_by_code(tmp_path, host, "me", "peers", "--json")
        assert first.returncode == 0, first.stderr
        assert [json.loads(text)["name"] for text in first.stdout.splitlines()] == ["planner"]
        file = tmp_path / "me.agent"
        assert file.stat().st_mode & 0o777 == 0o600
        for _ in range(2):
            again = run("peers", "--json", "--identity", str(file))
            assert [json.loads(text)["name"] for text in again.stdout.splitlines()] == ["planner"], again.stderr
        assert end(host, signal.SIGTERM)[2] == 0


def test_wrong_words_are_told_to_both_and_the_next_code_works(tmp_path: Path) -> None:
    with running("host", "planner", "--json", *LOCAL) as host:
        invite = {"event": ""}
        while invite["event"] != "invite":
            invite = json.loads(line(host))
        slot, *words = invite["invite"].split("-")
        given = ("--invite-stdin", "--switchboard", invite["switchboard"], "--name", "guesser")
        guess = run("peers", "--json", *given, stdin="-".join([slot, *reversed(words)]))
        assert (guess.returncode, json.loads(guess.stderr)["error"]) == (4, "invite_wrong")
        while invite["event"] != "invite_burnt":
            invite = json.loads(line(host))
        assert joins_by_code(tmp_path, host, "me", "peers").returncode == 0
        lost = run("peers", "--invite-stdin", stdin=f"{slot}-{words[0]}-{words[1]}-{words[2]}")
        assert (lost.returncode, "--switchboard" in lost.stderr) == (2, True)


def test_a_second_command_with_the_same_agent_file_is_refused(tmp_path: Path) -> None:
    file = str(tmp_path / "planner.agent")
    with running("host", "planner", "--no-invite", "--identity", file, *LOCAL) as host:
        talk(host, until="hosts a swarm")
        second = run("peers", "--identity", file, "--json")
        assert (second.returncode, json.loads(second.stderr)["error"]) == (2, "identity_in_use")
        assert end(host, signal.SIGINT) == ("", "", 0)


def test_invite_ends_when_somebody_has_come(tmp_path: Path) -> None:
    with running("host", "planner", "--json", "--may-admit", *LOCAL) as host:
        assert joins_by_code(tmp_path, host, "me", "peers").returncode == 0
        with running("invite", "--json", "--identity", str(tmp_path / "me.agent")) as inviter:
            assert joins_by_code(tmp_path, inviter, "friend", "peers").returncode == 0
            assert inviter.wait(PATIENCE) == 0
        with running("invite", "--ttl", "0.1", "--identity", str(tmp_path / "me.agent")) as inviter:
            assert inviter.wait(PATIENCE) == 4
        refused = run("invite", "--identity", str(tmp_path / "friend.agent"))
        assert (refused.returncode, refused.stdout) == (6, "")


def test_the_doctor_looks_at_the_agent_file(tmp_path: Path) -> None:
    file = tmp_path / "me.agent"
    with running("host", "planner", "--json", *LOCAL) as host:
        assert joins_by_code(tmp_path, host, "me", "peers").returncode == 0
        found = run("doctor", "--identity", str(file))
        assert found.returncode == 0, found.stdout
        assert "me, a member until 20" in found.stdout
        assert "it may offer any skill, call others" in found.stdout
        file.chmod(0o644)
        found = run("doctor", "--identity", str(file), "--json")
        checks = {check["name"]: check for check in map(json.loads, found.stdout.splitlines())}
        assert (found.returncode, checks["agent file"]["state"]) == (1, "fail")
        assert "chmod 600" in checks["agent file"]["text"]


def test_a_host_comes_back_to_its_swarm(tmp_path: Path) -> None:
    with running("switchboard", *LOCAL) as switchboard:
        address = line(switchboard)
        planner = ("host", "planner", "--identity", str(tmp_path / "planner.agent"), "--json", "--switchboard", address)
        with running(*planner) as host:
            assert joins_by_code(tmp_path, host, "me", "peers").returncode == 0
            host.kill()
        with running(*planner, "--no-invite") as host:
            assert json.loads(line(host))["event"] == "linked"
            sent = run("send", "planner", "hello", "--identity", str(tmp_path / "me.agent"))
            assert sent.returncode == 0, sent.stderr
            message = {"event": ""}
            while message["event"] != "message":
                message = json.loads(line(host))
            assert (message["from"], message["body"]) == ("me", "hello")


@pytest.mark.parametrize(
    ("file", "said"), [("/", "a folder or a device, not a file"), ("..", "a folder or a device, not a file"), ("", "not empty")]
)
def test_what_can_be_no_agent_file_is_said_in_one_line(file: str, said: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "within").mkdir()
    monkeypatch.chdir(tmp_path / "within")
    for command in (["host", "planner", *LOCAL], ["join", "coder", "--invite-stdin", "--switchboard", "ws://127.0.0.1:1"]):
        done = run(*command, "--identity", file, stdin="7-lantern-paprika-walrus")
        assert (done.returncode, done.stdout, done.stderr.count("\n")) == (2, "", 1), done.stderr
        assert said in done.stderr
    assert [path.name for path in tmp_path.rglob("*")] == ["within"]


def test_what_an_agent_file_is_not_is_said_in_one_line(tmp_path: Path) -> None:
    (tmp_path / "no.agent").write_text("something else")
    (tmp_path / "no.agent").chmod(0o600)
    done = run("peers", "--identity", str(tmp_path / "no.agent"))
    assert (done.returncode, done.stdout, done.stderr.count("\n")) == (2, "", 1)
    assert "not an agent file" in done.stderr
