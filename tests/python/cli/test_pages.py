"""The pages on the command line, played in real terminals as they are written."""

import re
import socket
from pathlib import Path

import pytest

from a2alinker.cli import exits
from terminals import environment, play

DOCS = Path(__file__).parents[3] / "docs"


@pytest.mark.parametrize("page", ["tutorial.md", "cli.md"])
def test_the_page_happens_as_it_is_written(page: str, tmp_path: Path) -> None:
    skills = re.search(r"^```python\n(.*?)^```", (DOCS / "tutorial.md").read_text(encoding="utf-8"), re.MULTILINE | re.DOTALL)
    assert skills is not None
    (tmp_path / "skills.py").write_text(skills[1])
    blocks = re.findall(r"^```console\n(.*?)^```", (DOCS / page).read_text(encoding="utf-8"), re.MULTILINE | re.DOTALL)
    assert len(blocks) > 5
    with play(tmp_path, environment(tmp_path), {"7447": str(free_port())}) as terminals:
        for block in blocks:
            terminals.block(block)


def test_ctrl_c_at_the_question_for_the_invite_ends_the_command(tmp_path: Path) -> None:
    with play(tmp_path, environment(tmp_path), {}) as terminals:
        terminals.block("1$ a2alinker join coder; echo ended with $?\n")
        terminals.press("1", "Code or ticket: ", "\x03")
        terminals.block("1> ended with 130\n")


def test_the_table_of_exit_codes_is_that_of_the_program() -> None:
    table = "".join(f"| {code} | {text} |\n" for code, text in exits.TABLE)
    assert table.replace("`", "") in (DOCS / "cli.md").read_text(encoding="utf-8").replace("`", "")


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port: int = taken.getsockname()[1]
    return port
