"""What stands for a value on the command line: JSON, text, `name=value`, `@file`, `-` for standard input."""

from __future__ import annotations

import json
import os
import re
import sys
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any, Final

from .exits import USAGE, Stop

BLOCK: Final = 256 * 1024  # bytes of standard input that are taken at once

_NAMED: Final = re.compile(r"([A-Za-z_]\w*)=(.*)", re.DOTALL)
_JSON_ONLY: Final = ("{", "[", '"')  # what begins so is a typing error if it isn't JSON


def arguments_of(given: Iterable[str]) -> tuple[list[Any], dict[str, Any]]:
    """Returns positional and named arguments for a skill.

    Raises:
        Stop: one can't be read, or is there twice.
    """
    positional: list[Any] = []
    named: dict[str, Any] = {}
    from_stdin = 0
    for text in given:
        match = _NAMED.fullmatch(text)
        value = match[2] if match else text
        from_stdin += value == "-"
        if from_stdin > 1:
            raise Stop("standard input can be read once: only one argument is -", USAGE, "argument")
        if match is None:
            positional.append(value_of(value))
        elif match[1] in named:
            raise Stop(f"{match[1]} is given twice", USAGE, "argument")
        else:
            named[match[1]] = value_of(value)
    return positional, named


def value_of(text: str) -> Any:
    """Returns what one argument means: standard input, a file's text, JSON if it is that, or itself."""
    if text == "-":
        return stdin_text()
    if text.startswith("@"):
        return file_text(text[1:])
    try:
        return json.loads(text)
    except ValueError as problem:
        if text.startswith(_JSON_ONLY):
            raise Stop(f"{text} isn't JSON: {problem}. To pass it as text, write it as a JSON string", USAGE, "argument") from None
        return text


def json_of(text: str) -> Any:
    """Returns what a JSON text, `@file` or `-` says."""
    source = stdin_text() if text == "-" else file_text(text[1:]) if text.startswith("@") else text
    try:
        return json.loads(source)
    except ValueError as problem:
        raise Stop(f"the body isn't JSON: {problem}", USAGE, "argument") from None


def stdin_text() -> str:
    """Returns all of standard input."""
    try:
        return sys.stdin.read()
    except UnicodeDecodeError:
        raise Stop("standard input isn't UTF-8 text; send bytes with `send --file`", USAGE, "argument") from None


def file_text(path: str) -> str:
    """Returns the text of a file."""
    try:
        return Path(path).read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as problem:
        raise Stop(f"{path} can't be read as text: {problem}", USAGE, "argument") from None


def stdin_blocks() -> Iterator[bytes]:
    """Gives what comes on standard input, as it comes."""
    while block := os.read(sys.stdin.fileno(), BLOCK):
        yield block
