"""What the command prints: data on stdout, as text or as one JSON object a line; talk on stderr."""

from __future__ import annotations

import base64
import contextlib
import json
import logging
import os
import sys
from collections.abc import Iterator
from typing import Any, Final, TextIO

from . import exits

_COLOURS: Final = {"good": "32", "warn": "33", "bad": "31", "faint": "2"}


class Output:
    """Where one run of the command prints."""

    def __init__(self, *, as_json: bool) -> None:
        self.as_json = as_json

    def data(self, text: str, record: dict[str, Any]) -> None:
        """Prints one piece of data, as one or the other. It has left the process when this returns."""
        _line(json.dumps(record, ensure_ascii=False) if self.as_json else text, sys.stdout)

    def body(self, key: str, body: Any, record: dict[str, Any]) -> None:
        """Prints what another agent sent: text and bytes as they are, all else as JSON. `key` is its name in the JSON object.

        JSON has no bytes: they stand under `key_base64`.
        """
        if self.as_json:
            named = {f"{key}_base64": _base64(body)} if isinstance(body, bytes) else {key: _jsonable(body)}
            self.data("", {**named, **record})
        elif isinstance(body, bytes):
            sys.stdout.buffer.write(body)
            sys.stdout.buffer.flush()
        else:
            self.data(shown(body if isinstance(body, str) else json.dumps(_jsonable(body), ensure_ascii=False), sys.stdout), {})

    def event(self, record: dict[str, Any], talk: str = "") -> None:
        """Tells what happened: a JSON object on stdout for a program, or a line on stderr for a person."""
        if self.as_json:
            self.data("", record)
        elif talk:
            self.talk(talk)

    def talk(self, text: str) -> None:
        """Says something to a person. A program that asked for JSON isn't bothered."""
        if not self.as_json:
            _line(text, sys.stderr)

    def problem(self, problem: Exception) -> int:
        """Says why the command failed, and returns the exit code."""
        if self.as_json:
            record = {"error": getattr(problem, "code", "error"), "text": str(problem), "retryable": getattr(problem, "retryable", False)}
            _line(json.dumps(record, ensure_ascii=False), sys.stderr)
        else:
            _line(f"{coloured('a2alinker:', 'bad', sys.stderr)} {shown(str(problem), sys.stderr)}", sys.stderr)
        return exits.code_of(problem)


@contextlib.contextmanager
def logged(output: Output) -> Iterator[None]:
    """Says what the library warns of: a link that is lost, a call that failed unseen."""
    logger, handler = logging.getLogger("a2alinker"), logging.Handler(logging.WARNING)
    handler.emit = lambda record: output.talk(shown(record.getMessage(), sys.stderr))  # type: ignore[method-assign]
    logger.addHandler(handler)
    try:
        yield
    finally:
        logger.removeHandler(handler)


def _line(text: str, stream: TextIO) -> None:
    """Writes a line by one system call: `print` takes two on a terminal, and what another process writes there gets in between."""
    stream.write(f"{text}\n")
    stream.flush()


def coloured(text: str, how: str, stream: TextIO) -> str:
    """Returns the text in a colour, if the stream is a terminal that wants any."""
    plain = os.environ.get("NO_COLOR") or os.environ.get("TERM") == "dumb" or not stream.isatty()
    return text if plain else f"\x1b[{_COLOURS[how]}m{text}\x1b[0m"


def shown(text: str, stream: TextIO) -> str:
    """Returns the text as it can be shown. Other agents wrote some of it: on a terminal, what would steer that is spelled out."""
    if not stream.isatty():
        return text
    return "".join(char if char.isprintable() or char in "\n\t" else ascii(char)[1:-1] for char in text)


def _base64(data: bytes) -> str:
    return base64.b64encode(data).decode()


def _jsonable(body: Any) -> Any:
    match body:
        case bytes():
            return {"base64": _base64(body)}
        case list():
            return [_jsonable(item) for item in body]
        case dict():
            return {key: _jsonable(value) for key, value in body.items()}
    return body
