"""What stands in the arguments of the command: values, secrets that don't belong there, files of skills."""

import argparse
import io
from pathlib import Path

import pytest

from a2alinker import cli
from a2alinker.cli import invites, skills, values
from a2alinker.cli.exits import Stop

CODE = "7-lantern-paprika-walrus"
TICKET = "a2alt_" + "abcdefgh23456" * 8


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("def f(): pass", "def f(): pass"),
        ('"7"', "7"),
        ("7", 7),
        ("-1.5", -1.5),
        ("true", True),
        ("null", None),
        ('{"a": [1, "b"]}', {"a": [1, "b"]}),
        ("", ""),
    ],
)
def test_a_value_is_json_or_else_text(text: str, value: object) -> None:
    assert values.value_of(text) == value


@pytest.mark.parametrize("text", ["{a: 1}", "[1, 2", '"open'])
def test_what_begins_like_json_has_to_be_json(text: str) -> None:
    with pytest.raises(Stop, match="isn't JSON"):
        values.value_of(text)


def test_arguments_are_taken_by_place_and_by_name(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file = tmp_path / "code.py"
    file.write_text("x = 1\n")
    monkeypatch.setattr("sys.stdin", io.StringIO("typed"))
    given = [f"@{file}", "-", "limit=3", "text=a=b", 'quoted="c"', "x = 1"]
    assert values.arguments_of(given) == (["x = 1\n", "typed", "x = 1"], {"limit": 3, "text": "a=b", "quoted": "c"})


@pytest.mark.parametrize("given", [["-", "x=-"], ["x=1", "x=2"], ["@/no/such/file"]])
def test_arguments_that_can_not_be_meant_are_refused(given: list[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sys.stdin", io.StringIO(""))
    with pytest.raises(Stop) as caught:
        values.arguments_of(given)
    assert caught.value.exit == 2


@pytest.mark.parametrize("secret", [CODE, TICKET, CODE.upper(), f" {CODE}\n"])
@pytest.mark.parametrize("arguments", [["join", "coder"], ["send", "coder"], ["call", "review"]])
def test_an_invite_in_the_arguments_is_refused_before_anything_else(
    arguments: list[str], secret: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert cli.main([*arguments, secret]) == 2
    assert cli.main([*arguments, f"--invite={secret}"]) == 2
    out, err = capsys.readouterr()
    assert out == ""
    assert "--invite-file" in err
    assert secret.strip() not in err


@pytest.mark.parametrize("harmless", ["7-zip", "2026-11-22", "a2alt_", "step-by-step-now", "see 7-lantern-paprika-walrus"])
def test_what_only_resembles_an_invite_passes(harmless: str) -> None:
    invites.refuse_in_arguments([harmless, f"--x={harmless}"])


def options(**given: object) -> argparse.Namespace:
    return argparse.Namespace(**{"invite_file": None, "invite_stdin": False, **given})


def test_an_invite_comes_from_a_file_or_standard_input_or_the_environment(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file = tmp_path / "invite"
    file.write_text(f"\n  {TICKET[:40]}\n{TICKET[40:]}\n")
    monkeypatch.setenv("A2ALINKER_TICKET", "from the environment")
    monkeypatch.setattr("sys.stdin", io.StringIO(f"{CODE}\nnot this line\n"))
    assert invites.invite_of(options(invite_file=str(file))).replace("\n", "") == TICKET
    assert invites.invite_of(options(invite_stdin=True)) == CODE
    assert invites.invite_of(options()) == "from the environment"
    monkeypatch.setenv("A2ALINKER_INVITE", "rather this")
    assert invites.invite_of(options()) == "rather this"


def test_without_an_invite_the_command_says_how_to_give_one(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sys.stdin", io.StringIO(""))
    for given in (options(), options(invite_stdin=True), options(invite_file=str(tmp_path / "missing"))):
        with pytest.raises(Stop) as caught:
            invites.invite_of(given)
        assert caught.value.exit == 2
    with pytest.raises(Stop, match="--invite-file"):
        invites.invite_of(options(), stdin=True)


SKILLS = """
from __future__ import annotations
from dataclasses import dataclass
import a2alinker
import beside

@dataclass
class Finding:
    line: int

@a2alinker.skill
def review(finding: Finding) -> int:
    return finding.line + beside.ONE

def helper(): ...

@a2alinker.skill(name="count.words")
async def count(text: str) -> int:
    return len(text.split())
"""


def test_a_file_of_skills_gives_those_that_are_decorated(tmp_path: Path) -> None:
    (tmp_path / "beside.py").write_text("ONE = 1\n")
    (tmp_path / "skills.py").write_text(SKILLS)
    found = skills.load(str(tmp_path / "skills.py"))
    assert [skill.name for skill in found] == ["review", "count.words"]
    (args, kwargs) = found[0].signature.bind([[{"line": 2}], {}])
    assert found[0](*args, **kwargs) == 3
    assert sorted(path.name for path in tmp_path.iterdir()) == ["beside.py", "skills.py"]


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("def review(text): ...\n", "decorate functions"),
        ("import a2alinker\ndef f():\n    return 1 / 0\nf()\n", "ZeroDivisionError"),
        ("def f(:\n", "SyntaxError"),
        ("import sys\nsys.exit(3)\n", "SystemExit: 3"),
        ("import a2alinker\n@a2alinker.skill(concurrency=0)\ndef f(): ...\n", "concurrency"),
    ],
)
def test_what_is_wrong_with_a_file_of_skills_is_told_without_our_own_traceback(tmp_path: Path, text: str, told: str) -> None:
    file = tmp_path / "broken.py"
    file.write_text(text)
    with pytest.raises(Stop) as caught:
        skills.load(str(file))
    shown = str(caught.value)
    assert told in shown
    assert str(file) in shown
    assert str(Path(skills.__file__).parents[1]) not in shown
    assert caught.value.exit == 2


@pytest.mark.parametrize("name", ["missing.py", "."])
def test_a_file_of_skills_that_is_not_there_is_one_line(tmp_path: Path, name: str) -> None:
    with pytest.raises(Stop, match="no such file"):
        skills.load(str(tmp_path / name))
