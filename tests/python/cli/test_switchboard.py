"""`a2alinker switchboard`, and the command as a whole: what it prints, where, and how it ends."""

import json
import os
import re
import signal
import subprocess
import sys
from pathlib import Path

import pytest

import a2alinker
from a2alinker import cli
from commands import end, line, run, running

ADDRESS = re.compile(r"wss://127\.0\.0\.1:\d+#[a-z2-7]{52}")
LOCAL = ("--listen", "127.0.0.1:0")


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_switchboard_prints_its_address_and_ends_cleanly(number: signal.Signals) -> None:
    with running("switchboard", *LOCAL) as process:
        assert ADDRESS.fullmatch(line(process))
        out, err, code = end(process, number)
    assert (out, code) == ("", 0)
    assert "restart changes the pin" in err
    assert "Only this machine" in err


def test_a_key_file_keeps_the_pin(tmp_path: Path) -> None:
    key = tmp_path / "switchboard.key"
    with running("switchboard", *LOCAL, "--new-key", str(key)) as process:
        made = line(process)
        end(process, signal.SIGTERM)
    assert key.stat().st_mode & 0o777 == 0o600
    with running("switchboard", *LOCAL, "--key", str(key)) as process:
        used = line(process)
        _, err, _ = end(process, signal.SIGTERM)
    assert made.partition("#")[2] == used.partition("#")[2]
    assert "pin" not in err
    again = run("switchboard", *LOCAL, "--new-key", str(key))
    assert (again.stdout, again.returncode) == ("", 2)
    assert "switchboard.key" in again.stderr


def test_an_advertised_name_is_what_is_printed() -> None:
    with running("switchboard", "--listen", "0.0.0.0:0", "--advertise", "relay.example:7447") as process:
        assert re.fullmatch(r"wss://relay\.example:7447#[a-z2-7]{52}", line(process))


def test_a_plain_switchboard_has_no_pin() -> None:
    with running("switchboard", *LOCAL, "--plain", "--json") as process:
        told = json.loads(line(process))
        assert re.fullmatch(r"ws://127\.0\.0\.1:\d+", told["url"])
        assert told["pin"] == ""
        assert end(process, signal.SIGTERM) == ("", "", 0)


def test_a_port_in_use_is_one_plain_line() -> None:
    with running("switchboard", *LOCAL) as process:
        port = line(process).partition("#")[0].rpartition(":")[2]
        second = run("switchboard", "--listen", f"127.0.0.1:{port}")
    assert (second.stdout, second.returncode) == ("", 3)
    assert second.stderr.startswith("a2alinker: ")
    assert port in second.stderr
    assert "Traceback" not in second.stderr


@pytest.mark.parametrize(
    "arguments",
    [
        ["switchboard", "--listen", "wss://nowhere"],
        ["switchboard", *LOCAL, "--key", "/no/such/file"],
        ["switchboard", *LOCAL, "--certificate", "/no/such/file"],
        ["switchboard", *LOCAL, "--certificate", "/no/such/file", "--private-key", "/no/such/file"],
    ],
)
def test_what_can_not_be_used_is_one_plain_line(arguments: list[str], capfd: pytest.CaptureFixture[str]) -> None:
    assert cli.main(arguments) == 2
    out, err = capfd.readouterr()
    assert out == ""
    assert err.count("\n") == 1
    assert err.startswith("a2alinker: ")


@pytest.mark.parametrize("arguments", [[], ["nothing"], ["switchboard", "--nothing"], ["switchboard", "--plain", "--key", "x"]])
def test_wrong_arguments_end_with_two(arguments: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as caught:
        cli.main(arguments)
    assert caught.value.code == 2
    assert "usage: a2alinker" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("arguments", "text"),
    [
        (["send", "--json"], "required: TO"),
        (["--json"], "required: COMMAND"),
        (["host", "planner", "--json", "--ttl", "700"], "600 s at most: take --ticket"),
        (["demo", "--json", "--nothing"], "--nothing"),
        (["demo", "--json", "--source", "/no/such/folder"], "/no/such/folder"),
        (["bench", "--rounds", "0", "--json"], "above 0"),
    ],
)
def test_wrong_arguments_are_told_in_json_if_that_is_wanted(arguments: list[str], text: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as caught:
        cli.main(arguments)
    assert caught.value.code == 2
    out, err = capsys.readouterr()
    told = json.loads(err)
    assert (out, told["error"], told["retryable"]) == ("", "argument", False)
    assert text in told["text"]


def test_what_follows_two_hyphens_is_no_option() -> None:
    done = run("call", "--invite-file", "/no/such/file", "review", "--", "--json")
    assert (done.returncode, done.stderr.partition(":")[0]) == (2, "a2alinker")


@pytest.mark.parametrize("kind", ["host", "invite"])
def test_a_code_for_longer_than_codes_live_is_refused_before_anything_is_linked(kind: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        cli.main([kind, *(["planner"] if kind == "host" else []), "--ttl", "700"])
    assert "argument --ttl: a code lives for 600 s at most" in capsys.readouterr().err


@pytest.mark.parametrize("closed", [">&-", "2>&-", ">&- 2>&-", "<&- >&- 2>&-"])
def test_a_closed_output_is_like_one_that_nobody_reads(closed: str) -> None:
    script = f'"$0" -m a2alinker version {closed}; echo $?; "$0" -m a2alinker send {closed}; echo $?'
    done = subprocess.run(["bash", "-c", script, sys.executable], capture_output=True, text=True, check=True)
    assert [line for line in done.stdout.splitlines() if line.isdecimal()] == ["0", "2"]
    assert "Traceback" not in done.stderr


def test_a_switchboard_runs_without_an_output() -> None:
    script = f'exec "$0" -m a2alinker switchboard {" ".join(LOCAL)} >&-'
    with subprocess.Popen(["bash", "-c", script, sys.executable], stderr=subprocess.PIPE, text=True) as process:
        assert process.stderr is not None
        assert "restart changes the pin" in process.stderr.readline()
        process.terminate()
        assert process.wait(10) == 0
        assert "Traceback" not in process.stderr.read()


def test_version_and_help(capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["version"]) == 0
    assert capsys.readouterr().out == f"{a2alinker.__version__}\n"
    assert cli.main(["version", "--json"]) == 0
    assert json.loads(capsys.readouterr().out) == {"version": a2alinker.__version__}
    with pytest.raises(SystemExit) as caught:
        cli.main(["--help"])
    assert caught.value.code == 0
    help_text = capsys.readouterr().out
    assert all(name in help_text for name in ("switchboard", "host", "join", "demo", "bench", "version", "exit codes:"))


def test_the_version_needs_nothing_beyond_the_package() -> None:
    """A shell that asks for the version or completes doesn't wait for what only some commands need."""
    program = "import sys, a2alinker; before = set(sys.modules); from a2alinker.cli import main; main(['version']); print(set(sys.modules) - before)"
    imported = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True).stdout
    assert "a2alinker.cli.version" in imported
    assert "a2alinker.cli.serve" not in imported
    assert "a2alinker.bench" not in imported


def test_the_command_is_installed_beside_python() -> None:
    command = Path(sys.executable).parent / "a2alinker"
    assert os.access(command, os.X_OK)
    assert subprocess.run([command, "version"], capture_output=True, text=True, check=True).stdout.strip() == a2alinker.__version__
