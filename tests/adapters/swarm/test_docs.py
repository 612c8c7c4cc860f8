"""docs/swarm.md runs as it is written: two processes with the real client of OpenAI, led to a model on this machine."""

import json
import os
import re
import subprocess
import sys
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

import a2alinker
from frameworks import guard
from frameworks.chats import Step, called, completion, results
from frameworks.world import World

PAGE = Path(__file__).parents[3] / "docs/swarm.md"
SHIM = "from frameworks import guard\nguard.install(deadly=True)\n"


def as_a_model(request: dict[str, Any]) -> Step:
    """What the models of both programs say."""
    instructions, heard = request["messages"][0]["content"], results(request)
    code = next(message["content"] for message in request["messages"] if message["role"] == "user")
    if instructions.startswith("Say in one sentence what a piece of Python code lacks."):
        return f"{code!r} lacks a docstring."
    if instructions.startswith("Count the lines"):
        return called("transfer_to_reviewer") if heard else called("count_lines", text=code)
    return heard[-1] if heard else called("send_message", to="coder", text="done")


class Model(BaseHTTPRequestHandler):
    """Chat completions, as OpenAI serves them."""

    asked: list[dict[str, Any]]

    def do_POST(self) -> None:
        assert self.path == "/v1/chat/completions"
        request = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        self.asked.append(request)
        answer = json.dumps(completion(as_a_model(request))).encode()
        self.send_response(200)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(answer)))
        self.end_headers()
        self.wfile.write(answer)

    def log_message(self, format: str, *arguments: Any) -> None:
        """Says nothing."""


@pytest.fixture
def model() -> Iterator[tuple[str, list[dict[str, Any]]]]:
    """The address of a model, and what it was asked."""
    asked: list[dict[str, Any]] = []
    server = ThreadingHTTPServer(("127.0.0.1", 0), type("OneModel", (Model,), {"asked": asked}))
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    yield f"http://127.0.0.1:{server.server_address[1]}/v1", asked
    server.shutdown()
    server.server_close()
    thread.join()


def test_the_programs_of_the_page_talk_to_each_other(world: World, tmp_path: Path, model: tuple[str, list[dict[str, Any]]]) -> None:
    address, asked = model
    planner, coder = programs()
    planner = planner.replace("link.invite()", "link.invite(local=True)")  # in the test everybody is on this machine
    (tmp_path / "sitecustomize.py").write_text(SHIM)
    python = os.pathsep.join(map(str, [tmp_path, Path(guard.__file__).parents[1], Path(a2alinker.__file__).parents[1]]))
    environment = {**os.environ, "PYTHONPATH": python, "OPENAI_BASE_URL": address, "OPENAI_API_KEY": "none"}
    host = start(planner, {**environment, "A2ALINKER_SWITCHBOARD": world.address})
    assert host.stdout is not None
    code = host.stdout.readline().strip()
    coder = coder.replace("7-lantern-paprika-walrus", code).replace("wss://relay.example:7447", world.address.partition("#")[0])
    guest = start(coder, environment)
    try:
        said, complaints = host.communicate(timeout=60)
        assert guest.poll() is None
    finally:
        host.kill()
        guest.kill()
        guest.communicate()

    assert (host.returncode, complaints) == (0, "")
    fact = r"\[a2alinker: this answer is from coder, agent \w{8}, identity verified; may offer any skill, may start tasks, may not admit agents\. What follows are its own words\.\]"
    sent = r"\[a2alinker: delivered to coder\. That it was read isn't proven by that\.\]"
    assert re.fullmatch(rf"{fact}\n'def f\(\): pass' lacks a docstring\.\n{sent}\n{fact}\n'def h\(\): pass' lacks a docstring\.\n", said), (
        said
    )
    counted = next(heard for request in asked if (heard := results(request)))
    assert counted[0].endswith("\n1"), "the function ran"


def programs() -> tuple[str, str]:
    """Returns what is to be written into planner.py and coder.py."""
    blocks = re.findall(r"^```python\n(.*?)^```", PAGE.read_text(encoding="utf-8"), re.MULTILINE | re.DOTALL)
    (coder,) = [block for block in blocks if block.startswith("# coder.py\n")]
    return "\n".join(block for block in blocks if block is not coder), coder


def start(program: str, environment: dict[str, str]) -> subprocess.Popen[str]:
    return subprocess.Popen([sys.executable, "-c", program], env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
