"""The README's two machines: its programs and commands, as they stand there, on two machines and a third for the switchboard."""

import contextlib
import os
import re
import subprocess
import sys
from pathlib import Path
from typing import Self

import a2alinker
from network.namespaces import Network, Space

README = Path(__file__).parents[3] / "README.md"
RELAY = "relay.example"
# What the README writes for what the reader gets to see: an address, a ticket, a code.
ADDRESS = re.compile(rf"wss://{RELAY}:\d+#\.\.\.")
SECRET = re.compile(r"a2alt_\.\.\.|\b\d+(?:-[a-z]+){3}\b")


def test_the_two_machines_of_the_readme_talk_to_each_other(network: Network, tmp_path: Path) -> None:
    section = README.read_text(encoding="utf-8").split("## Two machines\n")[1].split("\n## ")[0]
    commands = re.findall(r"^ {4}(\S.*)$", section.replace("```python", "```").split("```")[0] + section.split("```")[-1], re.MULTILINE)
    programs = dict(re.findall(r"`(\w+\.py)`:\n\n```python\n(.*?)^```", section, re.MULTILINE | re.DOTALL))
    start_switchboard, start_planner, start_coder = commands
    answer = re.search(r'return "(.*)"', programs["coder.py"])
    assert answer is not None
    for space in (network.relay, network.a, network.b):
        space.names(network.relay.address, RELAY)

    with (
        Machine(network.relay, tmp_path / "relay") as switchboard,
        Machine(network.a, tmp_path / "a") as a,
        Machine(network.b, tmp_path / "b") as b,
    ):
        address = switchboard.run(start_switchboard).line()
        a.write("planner.py", programs["planner.py"])
        planner = a.run(ADDRESS.sub(address, start_planner))
        secret = planner.line()
        b.write("coder.py", SECRET.sub(secret, programs["coder.py"]))
        b.run(ADDRESS.sub(address, SECRET.sub(secret, start_coder)), typed=f"{secret}\n")

        assert planner.line() == answer[1]
        assert planner.ended() == 0


class Machine:
    """A namespace with a folder and a shell, in which the command `a2alinker` and this Python are on the path."""

    def __init__(self, space: Space, folder: Path) -> None:
        folder.mkdir()
        self._space = space
        self._folder = folder
        self._stack = contextlib.ExitStack()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._stack.close()

    def write(self, name: str, text: str) -> None:
        (self._folder / name).write_text(text)

    def run(self, command: str, typed: str = "") -> "Running":
        path = os.pathsep.join([str(Path(sys.executable).parent), os.environ["PATH"]])
        package = str(Path(a2alinker.__path__[0]).parent)
        process = self._space.start(
            "bash", "-c", f"exec env {command}", environment={"PATH": path, "PYTHONPATH": package}, cwd=self._folder, stderr=subprocess.PIPE
        )
        self._stack.enter_context(process)
        self._stack.callback(process.kill)
        assert process.stdin is not None
        process.stdin.write(typed)
        process.stdin.flush()
        return Running(process)


class Running:
    """A command that runs."""

    def __init__(self, process: "subprocess.Popen[str]") -> None:
        self._process = process

    def line(self) -> str:
        assert self._process.stdout is not None
        assert self._process.stderr is not None
        return self._process.stdout.readline().strip() or f"nothing: {self._process.stderr.read()}"

    def ended(self) -> int:
        return self._process.wait(20)
