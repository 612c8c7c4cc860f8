"""Files from command to command: what is printed, what is saved, and that no process holds them in memory."""

# ruff: noqa: T201 - the figures are part of the result

import json
import os
import pty
import signal
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import pytest

from commands import PATIENCE, command, end, line, run, running

SIZE = int(os.environ.get("A2ALINKER_BODY", str(64 << 20)))  # bytes of the file that is too large for anybody's memory; `make soak`: 1 GiB
MEMORY = (
    48 << 20
)  # bytes that a process may grow by; chosen: far below the file, and above what a debug build and an allocator make of 3 MiB

DATA = bytes(range(256)) * 9_000


class Place(NamedTuple):
    address: str
    switchboard: subprocess.Popen[str]
    invite: Path
    folder: Path


@pytest.fixture
def place(tmp_path: Path) -> Iterator[Place]:
    with running("switchboard", "--listen", "127.0.0.1:0") as switchboard:
        address = line(switchboard)
        host = running("host", "planner", "--ticket", "--uses", "any", "--switchboard", address, stdin=subprocess.DEVNULL)
        with host as planner:
            (tmp_path / "invite").write_text(line(planner))
            (tmp_path / "downloads").mkdir()
            (tmp_path / "build.tar").write_bytes(DATA)
            yield Place(address, switchboard, tmp_path / "invite", tmp_path)


def as_member(place: Place, name: str, *arguments: str) -> tuple[str, ...]:
    return (*arguments, "--invite-file", str(place.invite), "--name", name)


def reading(place: Place, *arguments: str) -> tuple[str, ...]:
    return as_member(place, "reader", "recv", *arguments)


def test_a_file_is_sent_and_saved(place: Place) -> None:
    downloads = place.folder / "downloads"
    with running(*reading(place, "--save-to", str(downloads), "--count", "2")) as reader:
        for expected in ("build.tar", "build-2.tar"):
            sent = run(*as_member(place, "me", "send", "reader", "--file", str(place.folder / "build.tar"), "--until-done"))
            assert (sent.stdout, sent.stderr, sent.returncode) == ("", "done: reader\n", 0)
            assert line(reader) == str(downloads / expected)
            assert (downloads / expected).read_bytes() == DATA
        assert reader.wait(PATIENCE) == 0


def test_programs_hear_of_progress_and_outcome(place: Place) -> None:
    downloads = place.folder / "downloads"
    with running(*reading(place, "--save-to", str(downloads), "--count", "1", "--json")) as reader:
        sent = run(*as_member(place, "me", "send", "reader", "--file", str(place.folder / "build.tar"), "--json"))
        *progress, outcome = [json.loads(text) for text in sent.stdout.splitlines()]
        assert (outcome["state"], outcome["bytes"]) == ("delivered", len(DATA))
        assert all(step.keys() == {"progress", "total"} for step in progress)
        got = json.loads(line(reader))
        while "progress" in got:
            got = json.loads(line(reader))
        assert (got["saved"], got["bytes"], got["name"]) == (str(downloads / "build.tar"), len(DATA), "build.tar")
        assert got["from"] == "me"


def test_without_a_folder_bytes_are_printed_as_they_come(place: Place) -> None:
    arguments = as_member(place, "me", "send", "reader", "--file", "-")
    with (
        (place.folder / "build.tar").open("rb") as file,
        subprocess.Popen(command(*reading(place, "--count", "1")), stdout=subprocess.PIPE, stderr=subprocess.DEVNULL) as reader,
        subprocess.Popen(command(*arguments), stdin=file, stderr=subprocess.PIPE) as sender,
    ):
        assert reader.communicate(timeout=PATIENCE)[0] == DATA
        assert (sender.communicate(timeout=PATIENCE)[1], sender.returncode) == (b"delivered: reader\n", 0)


def test_what_is_too_long_for_json_is_refused_and_the_next_one_printed(place: Place) -> None:
    with running(*reading(place, "--count", "2", "--json")) as reader:
        sent = run(*as_member(place, "me", "send", "reader", "--file", str(place.folder / "build.tar"), "--until-done"))
        assert sent.returncode == 6
        assert "at most" in sent.stderr
        assert json.loads(line(reader))["error"] == "body_too_large"
        (place.folder / "small").write_bytes(b"\xff\x00")
        assert run(*as_member(place, "me", "send", "reader", "--file", str(place.folder / "small"))).returncode == 0
        got = json.loads(line(reader))
        assert (got["body_base64"], got["name"]) == ("/wA=", "small")


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (("send", "planner", "--file", "no such file"), "can't be read"),
        (("send", "planner", "--file", "/"), "is no file"),
        (("recv", "--save-to", "no such folder"), "no folder"),
    ],
)
def test_what_can_not_be_read_or_written_is_a_mistake_of_the_command_line(place: Place, arguments: tuple[str, ...], told: str) -> None:
    done = run(*as_member(place, "me", *arguments))
    assert (done.returncode, done.stdout) == (2, "")
    assert told in done.stderr


def test_a_terminal_sees_a_bar_and_is_left_clean(place: Place) -> None:
    master, slave = pty.openpty()
    environment = {**os.environ, "TERM": "xterm"}
    with running(*reading(place, "--save-to", str(place.folder / "downloads"), "--count", "1")) as reader:
        arguments = as_member(place, "me", "send", "reader", "--file", str(place.folder / "build.tar"))
        with subprocess.Popen(command(*arguments), stdout=subprocess.DEVNULL, stderr=slave, env=environment) as sender:
            os.close(slave)
            shown = b""
            while True:
                try:
                    shown += os.read(master, 4096)
                except OSError:  # the other end is closed
                    break
            assert sender.wait(PATIENCE) == 0
        assert line(reader)
    os.close(master)
    text = shown.decode()
    assert "build.tar  [" in text
    assert "100%" in text
    assert "of 2.3 MB" in text
    assert text.endswith(" \rdelivered: reader\r\n")


def test_a_body_larger_than_memory_should_hold_passes_three_processes(place: Place) -> None:
    large = place.folder / "large.bin"
    with large.open("wb") as file:
        for number in range(SIZE >> 20):
            file.write(number.to_bytes(4) * (1 << 18))
    with running(*reading(place, "--save-to", str(place.folder / "downloads"))) as reader:  # it stays, to be measured
        small = as_member(place, "me", "send", "planner", "--file", str(place.folder / "invite"))
        baseline = _peak_of(subprocess.Popen(command(*small), stderr=subprocess.DEVNULL))
        idle = {"switchboard": _memory(place.switchboard.pid), "receiver": _memory(reader.pid)}
        begin = time.monotonic()
        sending = as_member(place, "me", "send", "reader", "--file", str(large), "--timeout", "60")
        grown = {"sender": _peak_of(subprocess.Popen(command(*sending), stderr=subprocess.DEVNULL)) - baseline}
        seconds = time.monotonic() - begin
        saved = Path(line(reader))
        grown["switchboard"] = _memory(place.switchboard.pid, "VmHWM") - idle["switchboard"]
        grown["receiver"] = _memory(reader.pid, "VmHWM") - idle["receiver"]
        assert _same(large, saved)
        print(
            f"{SIZE >> 20} MiB in {seconds:.1f} s with start and end; grown by "
            + ", ".join(f"{name} {size / (1 << 20):.1f} MiB" for name, size in grown.items())
        )
        assert max(grown.values()) < MEMORY
        end(reader, signal.SIGTERM)


def _memory(pid: int, what: str = "VmRSS") -> int:
    text = Path(f"/proc/{pid}/status").read_text()
    return next(int(row.split()[1]) << 10 for row in text.splitlines() if row.startswith(f"{what}:"))


def _peak_of(process: "subprocess.Popen[bytes]") -> int:
    """Returns the most memory that a process had, when it has ended well."""
    peak = 0
    with process:
        while process.poll() is None:
            try:
                peak = max(peak, _memory(process.pid, "VmHWM"))
            except (StopIteration, FileNotFoundError):  # it is ending
                break
            time.sleep(0.02)
        assert process.wait(SIZE / 1e6 + PATIENCE) == 0
    return peak


def _same(one: Path, other: Path) -> bool:
    with one.open("rb") as first, other.open("rb") as second:
        while block := first.read(1 << 20):
            if block != second.read(1 << 20):
                return False
        return not second.read(1)
