"""Plays what a page shows, in real terminals: each is a bash on a pseudo-terminal, in which is typed what stands behind its prompt.

In a block marked `console`:

    1$ command          typed in terminal 1, when its shell asks for the next command
    1$ ^C               Ctrl-C in terminal 1
    1> text             terminal 1 shows this line by and by
    question: text      the line ends a question of the program's: what stands behind it is typed
    text                the terminal of the last command shows this line; `…` stands for anything

Codes and ports are others each time. A code is remembered when it is shown; where the page types it, the real one is typed.
"""

from __future__ import annotations

import contextlib
import os
import pty
import re
import select
import signal
import sys
import time
from collections.abc import Iterator, Mapping
from pathlib import Path

PATIENCE = 30.0  # seconds until a line must have been shown
PROMPT = "next-command> "
CODE = re.compile(r"\b\d+-[a-z]+-[a-z]+-[a-z]+\b")
STEP = re.compile(r"(\d)([$>]) (.*)")
QUESTION = re.compile(r"(Code or ticket: )(.+)")


class Terminal:
    """One bash."""

    def __init__(self, folder: Path, environment: Mapping[str, str]) -> None:
        self._shown = ""  # and not yet looked for
        self.history = ""
        self._pid, self._master = pty.fork()
        if self._pid == 0:
            os.chdir(folder)
            os.execvpe("bash", ["bash", "--norc", "--noprofile", "--noediting", "-i"], {**environment, "PS1": PROMPT, "TERM": "dumb"})
        self.wait_for(re.escape(PROMPT), whole_line=False)

    def type(self, text: str) -> None:
        """Types. What was shown before doesn't count any more."""
        self._shown = ""
        os.write(self._master, text.encode())

    def wait_for(self, pattern: str, *, whole_line: bool = True) -> re.Match[str]:
        """Waits until a line is shown that fits, and takes it."""
        wanted = re.compile(rf"^(?:{re.escape(PROMPT)})*{pattern}\n" if whole_line else pattern, re.MULTILINE)
        deadline = time.monotonic() + PATIENCE
        while (found := wanted.search(self._shown)) is None:
            ready, _, _ = select.select([self._master], [], [], max(0.0, deadline - time.monotonic()))
            if not ready:
                raise AssertionError(f"{pattern!r} was not shown, but:\n{self.history}")
            self._read()
        self._shown = self._shown[: found.start()] + self._shown[found.end() :]
        return found

    def _read(self) -> None:
        try:
            text = os.read(self._master, 65536).decode(errors="replace").replace("\r", "")
        except OSError:  # the shell has ended
            raise AssertionError(f"the terminal ended:\n{self.history}") from None
        self._shown += text
        self.history += text

    def close(self) -> None:
        """Hangs up: the shell tells its jobs."""
        with contextlib.suppress(ProcessLookupError):
            os.kill(self._pid, signal.SIGHUP)
        os.close(self._master)
        with contextlib.suppress(ChildProcessError):
            os.waitpid(self._pid, 0)


class Play:
    """A page on its terminals."""

    def __init__(self, folder: Path, environment: Mapping[str, str], replaced: Mapping[str, str]) -> None:
        self._folder = folder
        self._environment = environment
        self._real = dict(replaced)  # by what stands on the page
        self._terminals: dict[str, Terminal] = {}
        self._at = ""

    def block(self, text: str) -> None:
        """Plays one block."""
        for line in text.splitlines():
            if step := STEP.fullmatch(line):
                number, mark, words = step.groups()
                if mark == "$":
                    self._at = number
                    self._command(self._terminal(number), words)
                else:
                    self._expect(self._terminal(number), words)
            elif question := QUESTION.fullmatch(line):
                self.press(self._at, question[1], self._meant(question[2]) + "\n")
            elif line:
                self._expect(self._terminal(self._at), line)

    def press(self, number: str, after: str, keys: str) -> None:
        """Types as soon as a terminal shows `after`, which needn't end a line."""
        terminal = self._terminal(number)
        terminal.wait_for(re.escape(after), whole_line=False)
        terminal.type(keys)

    def history(self, number: str) -> str:
        """All that a terminal has shown."""
        return self._terminal(number).history

    def _command(self, terminal: Terminal, words: str) -> None:
        if words == "^C":
            terminal.type("\x03")
            terminal.wait_for(re.escape(PROMPT), whole_line=False)
            terminal.type("\n")  # leaves a prompt for the next command
            return
        terminal.type(self._meant(words) + "\n")
        if not words.endswith("&"):
            return
        terminal.wait_for(re.escape(PROMPT), whole_line=False)
        terminal.type("\n")

    def _expect(self, terminal: Terminal, line: str) -> None:
        pattern = ".*".join(re.escape(self._meant(part)) for part in line.split("…"))
        code = CODE.search(line)
        if code and code[0] not in self._real:
            pattern = pattern.replace(re.escape(code[0]), f"({CODE.pattern})")
        found = terminal.wait_for(pattern + " *")
        if code and code[0] not in self._real:
            self._real[code[0]] = found[1]

    def _meant(self, text: str) -> str:
        for shown, real in self._real.items():
            text = text.replace(shown, real)
        return text

    def _terminal(self, number: str) -> Terminal:
        if number not in self._terminals:
            self._terminals[number] = Terminal(self._folder, self._environment)
        return self._terminals[number]

    def close(self) -> None:
        for terminal in self._terminals.values():
            terminal.close()


def environment(folder: Path) -> dict[str, str]:
    """Returns the variables of a fresh shell in which `a2alinker` is this one."""
    clean = {name: value for name, value in os.environ.items() if not name.startswith("A2ALINKER_")}
    command = folder / "bin" / "a2alinker"
    command.parent.mkdir()
    command.write_text(f'#!/bin/sh\nexec {sys.executable} -m a2alinker "$@"\n')
    command.chmod(0o755)
    return {**clean, "PATH": f"{command.parent}:{clean['PATH']}", "NO_COLOR": "1"}


@contextlib.contextmanager
def play(folder: Path, environment: Mapping[str, str], replaced: Mapping[str, str]) -> Iterator[Play]:
    """Gives terminals whose shells are in `folder`, and ends them."""
    played = Play(folder, environment, replaced)
    try:
        yield played
    finally:
        played.close()
