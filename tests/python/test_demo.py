"""The demo: what its agents find, that its search for names would find them, and the whole of it in real processes."""

import ast
import asyncio
import base64
import json
import os
import subprocess
import sys
import sysconfig
from pathlib import Path

import pytest

from a2alinker import demo
from a2alinker.demo import analysis, evidence
from a2alinker.demo.agents import comparisons, read_package, safe
from a2alinker.demo.board import Board, Task
from a2alinker.demo.evidence import FORMS, Searcher, Sight, patterns
from a2alinker.demo.report import record, report
from a2alinker.demo.stage import AGENTS, Kill, Outcome, names_of
from a2alinker.demo.tap import Recording, Tap, messages

HEAD = b"GET / HTTP/1.1\r\nUpgrade: websocket\r\n\r\n"
NAME = "secret_function"

COPIED = """
def first(values, limit):
    "Adds what is below the limit."
    total = 0
    for value in values:
        if value is None or value < 0:
            continue
        if value > limit:
            total += limit
        else:
            total += value
    while total > limit and len(values) > 1:
        total = total - values[-1] * (limit + 1)
    return {"total": total, "limit": limit, "count": len(values)}

class Holder:
    def renamed(self, numbers):
        summe = 1
        for number in numbers:
            if number is None or number < 7:
                continue
            if number > self:
                summe += self
            else:
                summe += number
        while summe > self and len(numbers) > 2:
            summe = summe - numbers[-2] * (self + 3)
        return {"sum": summe, "most": self, "n": len(numbers)}
"""


# -- what the agents find --


@pytest.mark.parametrize(
    ("body", "expected"),
    [
        ("return 1", 1),
        ("if a: return 1", 2),
        ("return a and b and c", 3),
        ("return [x for x in a if x if x > 1]", 4),
        ("for x in a:\n  while x: x -= 1", 3),
        ("try: pass\n except ValueError: pass\n except KeyError: pass", 3),
        ("match a:\n  case 1: pass\n  case _: pass", 3),
        ("return a if b else c", 2),
        ("def inner():\n  if a: return 2", 1),
    ],
)
def test_complexity_counts_every_fork_but_those_of_inner_functions(body: str, expected: int) -> None:
    function = ast.parse(f"def f():\n {body}").body[0]

    assert analysis.complexity(function) == expected


def test_only_public_names_without_a_docstring_are_undocumented() -> None:
    source = "def a(): pass\ndef b():\n 'B.'\ndef _c(): pass\nclass D:\n 'D.'\n def e(self): pass\n def _f(self): pass\nclass _G:\n def h(self): pass"

    assert analysis.review(source)["undocumented"] == ["a", "D.e"]


def test_a_renamed_copy_is_found_within_a_file_and_in_another() -> None:
    *_, (_, _, within) = analysis.find_copies(COPIED, {})
    *_, (_, _, across) = analysis.find_copies(COPIED[: COPIED.index("class")], {"other.py": COPIED[COPIED.index("class") :]})

    assert [(copy["name"], copy["path"], copy["other"]) for copy in within] == [("first", "", "Holder.renamed")]
    assert [(copy["name"], copy["path"], copy["other"]) for copy in across] == [("first", "other.py", "Holder.renamed")]


def test_functions_that_differ_are_no_copies() -> None:
    different = "def second(a):\n" + "".join(f"    print({number} * a, [a, {{'b': (a, a)}}][{number}:])\n" for number in range(20))

    *_, (_, _, copies) = analysis.find_copies(COPIED[: COPIED.index("class")], {"other.py": different})

    assert copies == []


def test_a_file_that_is_not_python_has_no_functions() -> None:
    *_, last = analysis.find_copies("def broken(:", {"other.py": COPIED})

    assert last == (0, 0, [])
    assert "broken.py" in (analysis.compile_error("broken.py", "def broken(:") or "")


def test_doctests_run_against_the_copy_and_are_counted(tmp_path: Path) -> None:
    package = tmp_path / "sample"
    package.mkdir()
    (package / "__init__.py").write_text("VALUE = 3\n")
    (package / "module.py").write_text('"""\n>>> VALUE + 1\n4\n>>> VALUE\n5\n"""\nfrom . import VALUE\n')
    (package / "broken.py").write_text('">>> 1"\nraise RuntimeError("no import")\n')

    assert analysis.run_doctests(tmp_path, "sample/module.py") == {"attempted": 2, "failed": 1, "error": None}
    assert "no import" in analysis.run_doctests(tmp_path, "sample/broken.py")["error"]


def test_doctests_that_do_not_end_are_given_up(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(analysis, "DOCTEST_SECONDS", 0.5)
    (tmp_path / "endless.py").write_text('">>> 1"\nwhile True: pass\n')

    assert "not finished" in analysis.run_doctests(tmp_path, "endless.py")["error"]


@pytest.mark.parametrize("path", ["../outside.py", "/etc/passwd", "package/../../outside.py"])
def test_the_tester_writes_nothing_outside_its_folder(path: str) -> None:
    with pytest.raises(ValueError, match="not a path within"):
        safe(path)


def test_every_pair_of_files_is_compared_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("a2alinker.demo.agents.TOGETHER", 10)
    files = {"a": "x" * 4, "b": "x" * 6, "c": "x" * 5, "d": "x" * 20}

    pairs = [frozenset((job.path, other)) for job in comparisons(files) for other in job.arguments[1]]

    assert sorted(map(sorted, pairs)) == [["a", "b"], ["a", "c"], ["a", "d"], ["b", "c"], ["b", "d"], ["c", "d"]]
    assert {job.path for job in comparisons(files)} == set(files)


def test_a_package_is_read_in_the_encodings_that_its_files_declare(tmp_path: Path) -> None:
    package = tmp_path / "sample"
    package.mkdir()
    (package / "latin.py").write_bytes("# coding: latin-1\nNAME = 'ä'\n".encode("latin-1"))

    assert read_package(package) == {"sample/latin.py": "# coding: latin-1\nNAME = 'ä'\n"}


# -- what the tap holds --


@pytest.mark.parametrize("size", [0, 1, 125, 126, 65_535, 65_536])
def test_the_recording_of_a_masked_message_gives_the_message(size: int) -> None:
    payload = os.urandom(size)

    assert list(messages(HEAD + masked(payload) + masked(b"next"))) == [HEAD, payload, b"next"]


def test_a_recording_that_was_cut_gives_what_is_there() -> None:
    assert list(messages(HEAD + masked(b"complete") + masked(b"cut here")[:-3])) == [HEAD, b"complete", b"cut h"]


def test_the_tap_passes_bytes_on_unchanged_and_keeps_them() -> None:
    async def scenario() -> tuple[bytes, Recording]:
        async def echo(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            writer.write(b"echo:" + await reader.readexactly(5))
            await writer.drain()
            writer.close()

        async with await asyncio.start_server(echo, "127.0.0.1", 0) as server, Tap("127.0.0.1", server.sockets[0].getsockname()[1]) as tap:
            reader, writer = await asyncio.open_connection("127.0.0.1", tap.port)
            writer.write(b"hello")
            answer = await reader.read()
            writer.close()
            return answer, tap.recordings[0]

    answer, recording = asyncio.run(scenario())

    assert answer == b"echo:hello"
    assert (bytes(recording.to_switchboard), bytes(recording.from_switchboard)) == (b"hello", b"echo:hello")


# -- the search --


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("shift", range(3))
def test_a_name_is_found_in_every_form_behind_the_mask(form: str, shift: int) -> None:
    text = b"-" * shift + NAME.encode() + b"-and more"
    shown = {
        "UTF-8": text,
        "UTF-16": text.decode().encode("utf-16-be"),
        "hexadecimal": text.hex().upper().encode(),
        "base64": base64.urlsafe_b64encode(text),
    }[form]

    search = Searcher({"names": [NAME, "another_name"]}).search([recording(os.urandom(100) + shown + os.urandom(100))])

    assert [(hit.name, hit.form, hit.direction) for hit in search.hits] == [(NAME, form, "to")]


def test_what_the_switchboard_writes_is_searched_too() -> None:
    seen = Recording(bytearray(HEAD), bytearray(HEAD + b"\x82\x20" + NAME.encode()))

    assert [hit.direction for hit in Searcher({"names": [NAME]}).search([seen]).hits] == ["from"]


def test_random_bytes_hold_no_name() -> None:
    names = [f"function_{number}" for number in range(500)] + ["sixsix"]

    search = Searcher({"names": names}).search([recording(os.urandom(4 << 20))])

    assert search.names == {"names": 501}
    assert search.hits == ()


def test_names_that_prove_nothing_are_left_out_and_counted() -> None:
    control = recording(b"")

    search = Searcher({"names": ["short", "Upgrade", NAME]}, unavoidable=[control]).search([control])

    assert (search.names, search.left_out) == ({"names": 1}, 2)


def test_the_expression_finds_each_of_many_words_alone() -> None:
    names = ["planner", "planner_two", "plan_nine", "reviewer-1", "reviewer-2", "(re)view.*+", "review_file"]
    searcher = Searcher({"names": names})

    for name in names:
        for form in FORMS:
            for pattern in patterns(name, form):
                found = searcher.search([recording(b"\x00" + pattern + b"\x00")]).found
                assert name in found


def test_the_labels_of_frames_are_what_can_be_seen() -> None:
    frame = b"\x10" + b"S" * 16 + b"\x01\x01\x03\x00" + b"D" * 16 + bytes(36) + b"sealed"
    seen = Recording(bytearray(HEAD), bytearray(HEAD + b"\x82" + bytes([len(frame)]) + frame))

    sight = Sight.of([seen])

    assert (sight.links, sight.frames) == (1, 1)
    assert sight.heaviest(5) == [(("53535353", "44444444"), (1, len(frame)))]


# -- the verdict --


def test_a_run_in_which_nothing_was_lost_and_nothing_seen_has_no_problems() -> None:
    lines, problems = report(outcome())

    assert problems == []
    assert any("reviewer-2 (attempt 2)" in line for line in lines)


def test_the_outcome_for_a_program_is_json() -> None:
    told = json.loads(json.dumps(record(outcome(), ["something was lost"])))

    assert told["problems"] == ["something was lost"]
    assert told["tasks"] == {"measure_functions": {"planned": 1, "finished": 1}, "find_copies": {"planned": 1, "finished": 1}}
    assert told["killed"] == {"worker": "reviewer-1", "skill": "find_copies", "path": "package/module.py", "done_by": "reviewer-2"}
    assert told["switchboard"]["links"] == 1


def test_with_json_the_demo_prints_nothing_else(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    async def play(source: Path, *, shows: bool) -> Outcome:
        assert not shows
        return outcome()

    monkeypatch.setattr("a2alinker.demo.stage.play", play)

    assert demo.main(["--json"]) == 0
    assert json.loads(capsys.readouterr().out)["problems"] == []


def test_a_name_in_what_the_switchboard_saw_is_a_problem() -> None:
    leaking = outcome()
    leaking.recordings.append(recording(b"the file package/module.py"))

    _, problems = report(leaking)

    assert problems == ["1 names are in what the switchboard saw"]


def test_a_search_that_misses_what_was_planted_is_a_problem() -> None:
    blind = outcome()
    blind.control = [recording(b"nothing was planted here")]

    _, problems = report(blind)

    assert len(problems) == 1
    assert "which was planted" in problems[0]


def test_a_task_that_nobody_finished_is_a_problem() -> None:
    lossy = outcome()
    lossy.board.planned["measure_functions"] = 2

    _, problems = report(lossy)

    assert problems == ["measure_functions: 1 of 2 tasks finished"]


def test_a_killed_worker_whose_task_nobody_took_over_is_a_problem() -> None:
    stuck = outcome()
    assert stuck.kill is not None
    stuck.kill.task.attempt = 1

    _, problems = report(stuck)

    assert any("not done by another" in problem for problem in problems)


# -- the whole --


def test_the_demo_loses_nothing_and_shows_nothing() -> None:
    package = Path(sysconfig.get_path("stdlib")) / "importlib"

    run = subprocess.run(
        [sys.executable, "-m", "a2alinker", "demo", "--source", str(package)], capture_output=True, text=True, timeout=110, check=False
    )

    assert run.returncode == 0, run.stdout + run.stderr
    assert "got SIGKILL" in run.stdout
    assert "Found: nothing." in run.stdout
    assert "nothing lost, no name seen" in run.stdout
    assert run.stderr == ""


def masked(payload: bytes) -> bytes:
    """A client's WebSocket message."""
    mask, size = os.urandom(4), len(payload)
    length = (
        bytes([0x80 | size]) if size < 126 else b"\xfe" + size.to_bytes(2, "big") if size < 65_536 else b"\xff" + size.to_bytes(8, "big")
    )
    return b"\x82" + length + mask + bytes(byte ^ mask[index % 4] for index, byte in enumerate(payload))


def recording(payload: bytes) -> Recording:
    """A connection on which a client sent this one message."""
    return Recording(bytearray(HEAD + masked(payload)), bytearray(HEAD))


def outcome() -> Outcome:
    """A small run as it should be: one file, one function, and a reviewer that was killed and replaced."""
    board = Board("demo", list(AGENTS))
    board.lines = {"package/module.py": 3}
    board.facts["skills"] = ["measure_functions", "find_copies"]
    board.planned = {"measure_functions": 1, "find_copies": 1}
    function = {"name": NAME, "line": 1, "complexity": 4}
    moved = Task("find_copies", "package/module.py", "reviewer-2", attempt=2, result={"copies": []})
    board.finished = [
        Task("measure_functions", "package/module.py", "reviewer-2", result={"functions": [function], "undocumented": [NAME]}),
        moved,
    ]
    plants = b" ".join(max(names, key=len).encode() for names in names_of(board).values())
    codes = {name: -9 if name == "reviewer-1" else 0 for name in AGENTS}
    return Outcome(board, [recording(os.urandom(1000))], [recording(plants)], Kill("reviewer-1", moved, 0.3), codes)


def test_planted_names_cross_the_switchboards_sockets_in_all_forms() -> None:
    async def scenario() -> list[Recording]:
        async def refuse(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            await reader.readuntil(b"\r\n\r\n")
            writer.write(HEAD)
            await reader.read(1)
            writer.close()

        async with (
            await asyncio.start_server(refuse, "127.0.0.1", 0) as server,
            Tap("127.0.0.1", server.sockets[0].getsockname()[1]) as tap,
        ):
            await evidence.plant("127.0.0.1", tap.port, [NAME])
            return tap.recordings

    search = Searcher({"names": [NAME]}).search(asyncio.run(scenario()))

    assert {hit.form for hit in search.hits} == set(FORMS)
