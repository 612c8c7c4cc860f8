"""What the documents show runs as it is written."""

import os
import re
import subprocess
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

import pytest

REPOSITORY = Path(__file__).parents[2]
WRITTEN_BY_THE_READER = ("planner.py", "coder.py", "desk.py", "reviewer.py", "studio.py")
PATIENCE = 60.0  # seconds; each of these takes one or two


def test_the_two_programs_of_the_readme_talk_to_each_other() -> None:
    planner, coder = python_blocks("README.md")
    assert len((planner + coder).splitlines()) < 25
    # What is different in a test: everybody is on this machine.
    planner = planner.replace("invite()", "invite(local=True)")

    with running("-m", "a2alinker", "switchboard", "--listen", "127.0.0.1:0") as switchboard:
        address = line_of(switchboard)
        with running("-c", planner, A2ALINKER_SWITCHBOARD=address) as host:
            code = line_of(host)
            coder = coder.replace("7-lantern-paprika-walrus", code).replace("wss://relay.example:7447", address.partition("#")[0])
            with running("-c", coder):
                assert line_of(host) == "needs a docstring"
                assert host.wait(PATIENCE) == 0


@pytest.mark.parametrize("page", ["docs/getting-started.md", "docs/sync.md"])
def test_the_page_is_a_program(page: str) -> None:
    program = "\n".join(python_blocks(page))

    run = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=PATIENCE, check=False)

    assert (run.returncode, run.stderr) == (0, "")


def test_the_codes_that_are_shown_could_exist() -> None:
    words = (REPOSITORY / "src/crypto/words.txt").read_text(encoding="utf-8").splitlines()
    pages = [*REPOSITORY.glob("*.md"), *(REPOSITORY / "docs").rglob("*.md"), *(REPOSITORY / "python").rglob("*.py")]
    shown = {code for page in pages for code in re.findall(r"\b\d+-[a-z]+-[a-z]+-[a-z]+\b", page.read_text(encoding="utf-8"))}

    assert "7-lantern-paprika-walrus" in shown
    assert [code for code in shown if not set(code.split("-")[1:]) <= set(words)] == []


def test_the_links_between_the_documents_lead_somewhere() -> None:
    pages = [*REPOSITORY.glob("*.md"), *(REPOSITORY / "docs").rglob("*.md")]

    broken = [
        f"{page.relative_to(REPOSITORY)}: {target}"
        for page in pages
        for target in re.findall(r"\]\(([^)#:]+)(?:#[^)]*)?\)", page.read_text(encoding="utf-8"))
        if not (page.parent / target).exists()
    ]

    assert broken == []


def test_the_tests_and_sources_that_the_documents_name_are_there() -> None:
    named = {
        (page.name, path)
        for page in [*REPOSITORY.glob("*.md"), *(REPOSITORY / "docs").rglob("*.md")]
        for path in re.findall(r"`((?:tests|src|benches|tools|examples|docs|python)/[\w/.-]+?)/?`", page.read_text(encoding="utf-8"))
    }

    assert named
    assert [f"{page}: {path}" for page, path in sorted(named) if not (REPOSITORY / path).exists()] == []


def test_the_source_files_that_the_documents_name_are_there() -> None:
    sources = [
        f"/{path.relative_to(REPOSITORY).as_posix()}"
        for folder in ("src", "tests", "benches", "python")
        for path in (REPOSITORY / folder).rglob("*.*")
    ]
    named = {
        (page.name, path)
        for page in [*REPOSITORY.glob("*.md"), *(REPOSITORY / "docs").rglob("*.md")]
        for path in re.findall(r"`([\w/-]+\.(?:rs|py|pyi))`", page.read_text(encoding="utf-8"))
        if path not in WRITTEN_BY_THE_READER
    }

    assert named
    assert [f"{page}: {path}" for page, path in sorted(named) if not any(source.endswith(f"/{path}") for source in sources)] == []


def test_each_attack_of_the_security_page_has_tests_that_exist() -> None:
    page = (REPOSITORY / "SECURITY.md").read_text(encoding="utf-8")
    table = page.split("## Attacks, and the tests that show them fail")[1].split("\n## ")[0]
    rows = [line for line in table.splitlines() if line.startswith("|") and not line.startswith(("| attack", "| ---", "| **"))]
    named = [re.findall(r"`(\w+)`", row.rsplit("|", 2)[1]) for row in rows]
    defined = {
        name
        for folder in ("src", "tests")
        for path in (REPOSITORY / folder).rglob("*.*")
        if path.suffix in {".rs", ".py"}
        for name in re.findall(r"\b(?:fn|def) (\w+)", path.read_text(encoding="utf-8"))
    }

    assert len(rows) > 15
    assert [row for row, tests in zip(rows, named, strict=True) if not tests] == []
    assert sorted({test for tests in named for test in tests} - defined) == []


def test_each_promise_names_a_test_that_exists() -> None:
    page = (REPOSITORY / "docs/guarantees.md").read_text(encoding="utf-8")
    rows = [[cell.strip() for cell in line.split("|")[1:-1]] for line in page.splitlines() if line.startswith("|")]
    promises = [row for row in rows if row[0] not in {"promise", "---"}]
    named = [(file, name) for *_, cell in promises for file, name in named_in(cell)]
    defined = {file: defined_in(REPOSITORY / file) for file, _ in named}

    assert len(promises) > 25
    assert [promise for promise, how, tests in promises if bool(tests) == how.startswith("**Not built yet**")] == []
    assert len(named) > 60
    assert [f"{file}: {name}" for file, name in named if name not in defined[file]] == []


def test_models_that_nobody_could_run_fail() -> None:
    run = subprocess.run(
        [REPOSITORY / "tools/models"], capture_output=True, text=True, check=False, env={**os.environ, "PROVERIF": "/no/such/proverif"}
    )

    assert (run.returncode, run.stdout) == (1, "")
    assert run.stderr == "ProVerif isn't installed (https://proverif.inria.fr): the models were not run\n"


def named_in(cell: str) -> Iterator[tuple[str, str]]:
    """Gives file and name of each test: those of Python with their file, those of Rust after it."""
    file = ""
    for word in re.findall(r"`([^`]+)`", cell):
        if "/" in word:
            file, _, name = word.partition("::")
        else:
            name = word
        if name:
            yield file, name


def defined_in(file: Path) -> set[str]:
    if not file.is_file():
        return set()
    attribute = r"#\[(?:tokio::)?test\b[^\n]*\n(?:\s*(?:#\[|//)[^\n]*\n)*\s*(?:async )?fn (\w+)"
    return set(
        re.findall(r"^(?:async )?def (test_\w+)" if file.suffix == ".py" else attribute, file.read_text(encoding="utf-8"), re.MULTILINE)
    )


def python_blocks(page: str) -> list[str]:
    text = (REPOSITORY / page).read_text(encoding="utf-8")
    return re.findall(r"^```python\n(.*?)^```", text, re.MULTILINE | re.DOTALL)


@contextmanager
def running(*arguments: str, **environment: str) -> Iterator[subprocess.Popen[str]]:
    clean: Mapping[str, str] = {name: value for name, value in os.environ.items() if not name.startswith("A2ALINKER_")}
    process = subprocess.Popen(
        [sys.executable, *arguments],
        env={**clean, **environment},
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    with process:
        try:
            yield process
        finally:
            if process.poll() is None:
                process.kill()


def line_of(process: subprocess.Popen[str]) -> str:
    assert process.stdout is not None
    line = process.stdout.readline().strip()
    if not line:
        assert process.stderr is not None
        raise AssertionError(process.stderr.read())
    return line
