"""The command `a2alinker`: what it prints, where, and how it ends."""

import os
import re
import signal
import subprocess
import sys
from pathlib import Path

import pytest

import a2alinker
from a2alinker import cli

ADDRESS = re.compile(r"wss://127\.0\.0\.1:\d+#[a-z2-7]{52}\n")
LOCAL = ("--listen", "127.0.0.1:0")


def start(*arguments: str) -> subprocess.Popen[str]:
    command = [sys.executable, "-m", "a2alinker", *arguments]
    return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, encoding="utf-8")


def end(process: subprocess.Popen[str], number: signal.Signals) -> tuple[str, str, int]:
    process.send_signal(number)
    out, err = process.communicate(timeout=30)
    return out, err, process.returncode


def first_line(process: subprocess.Popen[str]) -> str:
    assert process.stdout is not None
    return process.stdout.readline()


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_switchboard_prints_its_address_and_ends_cleanly(number: signal.Signals) -> None:
    process = start("switchboard", *LOCAL)
    assert ADDRESS.fullmatch(first_line(process))
    out, err, code = end(process, number)
    assert (out, code) == ("", 0)
    assert "restart changes the pin" in err
    assert "Only this machine" in err


def test_a_key_file_keeps_the_pin(tmp_path: Path) -> None:
    key = tmp_path / "switchboard.key"
    process = start("switchboard", *LOCAL, "--new-key", str(key))
    made = first_line(process)
    end(process, signal.SIGTERM)
    assert key.stat().st_mode & 0o777 == 0o600
    process = start("switchboard", *LOCAL, "--key", str(key))
    used = first_line(process)
    _, err, _ = end(process, signal.SIGTERM)
    assert made.partition("#")[2] == used.partition("#")[2]
    assert "pin" not in err
    process = start("switchboard", *LOCAL, "--new-key", str(key))
    out, err = process.communicate(timeout=30)
    assert (out, process.returncode) == ("", 1)
    assert "switchboard.key" in err


def test_an_advertised_name_is_what_is_printed() -> None:
    process = start("switchboard", "--listen", "0.0.0.0:0", "--advertise", "relay.example:7447")
    assert re.fullmatch(r"wss://relay\.example:7447#[a-z2-7]{52}\n", first_line(process))
    end(process, signal.SIGTERM)


def test_a_plain_switchboard_has_no_pin() -> None:
    process = start("switchboard", *LOCAL, "--plain")
    assert re.fullmatch(r"ws://127\.0\.0\.1:\d+\n", first_line(process))
    assert end(process, signal.SIGTERM)[2] == 0


def test_a_port_in_use_is_one_plain_line() -> None:
    process = start("switchboard", *LOCAL)
    port = first_line(process).partition("#")[0].rpartition(":")[2]
    second = start("switchboard", "--listen", f"127.0.0.1:{port}")
    out, err = second.communicate(timeout=30)
    assert (out, second.returncode) == ("", 1)
    assert err.startswith("a2alinker: ")
    assert port in err
    assert "Traceback" not in err
    end(process, signal.SIGTERM)


@pytest.mark.parametrize(
    "arguments",
    [
        ["switchboard", "--listen", "nowhere"],
        ["switchboard", *LOCAL, "--key", "/no/such/file"],
        ["switchboard", *LOCAL, "--certificate", "/no/such/file"],
        ["switchboard", *LOCAL, "--certificate", "/no/such/file", "--private-key", "/no/such/file"],
    ],
)
def test_what_can_not_be_used_is_one_plain_line(arguments: list[str]) -> None:
    process = start(*arguments)
    out, err = process.communicate(timeout=30)
    assert (out, process.returncode) == ("", 1)
    assert err.count("\n") == 1
    assert err.startswith("a2alinker: ")


@pytest.mark.parametrize("arguments", [[], ["nothing"], ["switchboard", "--nothing"], ["switchboard", "--plain", "--key", "x"]])
def test_wrong_arguments_end_with_two(arguments: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as caught:
        cli.main(arguments)
    assert caught.value.code == 2
    assert "usage: a2alinker" in capsys.readouterr().err


def test_version_and_help(capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["version"]) == 0
    assert capsys.readouterr().out == f"{a2alinker.__version__}\n"
    with pytest.raises(SystemExit) as caught:
        cli.main(["--help"])
    assert caught.value.code == 0
    help_text = capsys.readouterr().out
    assert all(command in help_text for command in ("switchboard", "demo", "bench", "version"))


def test_the_command_is_installed_beside_python() -> None:
    command = Path(sys.executable).parent / "a2alinker"
    assert os.access(command, os.X_OK)
    assert subprocess.run([command, "version"], capture_output=True, text=True, check=True).stdout.strip() == a2alinker.__version__
