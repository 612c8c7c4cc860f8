"""The rule that a skipped test fails the run, seen at work on tests planted for it."""

import subprocess
import sys
from pathlib import Path

import pytest

CONFTEST = Path(__file__).parents[1] / "conftest.py"

PLANTED = {
    "a skip": ("import pytest\ndef test_planted():\n    pytest.skip('too slow')\n", "test_planted.py::test_planted -- too slow"),
    "a skip mark": (
        "import pytest\n@pytest.mark.skip(reason='later')\ndef test_planted(): pass\n",
        "test_planted.py::test_planted -- later",
    ),
    "an expected failure": (
        "import pytest\n@pytest.mark.xfail(reason='bug')\ndef test_planted(): assert 0\n",
        "test_planted.py::test_planted -- bug",
    ),
    "a module": (
        "import pytest\npytest.importorskip('no_such_module_anywhere')\n",
        "test_planted.py -- could not import 'no_such_module_anywhere'",
    ),
}


def run_planted(folder: Path, test: str, allowed: str) -> subprocess.CompletedProcess[str]:
    (folder / "conftest.py").write_text(CONFTEST.read_text(encoding="utf-8"), encoding="utf-8")
    (folder / "allowed_skips.txt").write_text(allowed, encoding="utf-8")
    (folder / "test_planted.py").write_text(test, encoding="utf-8")
    command = [sys.executable, "-m", "pytest", "-p", "no:cacheprovider", "--rootdir", str(folder), str(folder)]
    return subprocess.run(command, cwd=folder, capture_output=True, text=True, timeout=60, check=False)


@pytest.mark.parametrize("kind", PLANTED)
def test_an_unlisted_skip_fails_the_run(tmp_path: Path, kind: str) -> None:
    test, entry = PLANTED[kind]
    run = run_planted(tmp_path, test + "\ndef test_other(): pass\n", "# nothing\n")
    assert run.returncode != 0
    assert entry in run.stdout


@pytest.mark.parametrize("kind", ["a skip", "a skip mark", "an expected failure"])
def test_a_listed_skip_passes(tmp_path: Path, kind: str) -> None:
    test, entry = PLANTED[kind]
    run = run_planted(tmp_path, test, f"# known\n{entry}\n")
    assert run.returncode == 0, run.stdout


def test_a_listed_name_with_another_reason_fails_the_run(tmp_path: Path) -> None:
    test, _ = PLANTED["a skip"]
    run = run_planted(tmp_path, test, "test_planted.py::test_planted -- needs a network\n")
    assert run.returncode != 0


def test_a_run_without_skips_passes(tmp_path: Path) -> None:
    run = run_planted(tmp_path, "def test_planted(): pass\n", "")
    assert run.returncode == 0, run.stdout
