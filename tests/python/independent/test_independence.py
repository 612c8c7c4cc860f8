"""The second implementation shares nothing with the first: else it would agree with its mistakes."""

import ast
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

FOLDER = Path(__file__).parent
ALLOWED = {"cryptography", "kyber_py", "OpenSSL", "spake2", "websockets", "pytest", "independent"} | sys.stdlib_module_names


@pytest.mark.parametrize("file", sorted(FOLDER.glob("*.py")), ids=lambda file: file.name)
def test_a_file_imports_libraries_and_its_neighbours_only(file: Path) -> None:
    assert imported(file.read_text(encoding="utf-8")) <= ALLOWED


def test_the_check_sees_every_kind_of_import() -> None:
    sources = ("import a2alinker", "from a2alinker._core import Agent", "def f():\n    import swarms", "import os, a2alinker.cli as cli")
    for source in (*sources, "importlib.import_module('json')", "__import__('json')"):
        assert not imported(source) <= ALLOWED


def imported(source: str) -> set[str]:
    return {name.partition(".")[0] for node in ast.walk(ast.parse(source)) for name in _names(node)}


def _names(node: ast.AST) -> Iterator[str]:
    match node:
        case ast.Import(names):
            yield from (name.name for name in names)
        case ast.ImportFrom(module=module, level=level):
            yield module or "." if not level else "."
        case ast.Name(id="__import__") | ast.Attribute(attr="import_module"):
            yield "a dynamic import"
