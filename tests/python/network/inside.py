"""An agent in a namespace: `python -m network.inside`, and the test's hand on it.

The process reads lines of JSON. The first says how to open the agent, each of the others calls a method of `Inside` by name in a thread of
its own; the outcome is a line of JSON. `Puppet` is the other end of the pipes.
"""

from __future__ import annotations

import contextlib
import itertools
import json
import os
import subprocess
import sys
import threading
import time
from collections import defaultdict
from collections.abc import Iterator
from concurrent.futures import Future
from pathlib import Path
from typing import Any, Final

import a2alinker
from a2alinker import sync
from network.namespaces import Network, Space

LIMIT: Final = 40.0  # seconds for one thing; a link that leads nowhere is noticed in ten
PAGE: Final = os.sysconf("SC_PAGE_SIZE")
TESTS: Final = str(Path(__file__).parents[1])


class Inside:
    """What a test can have an agent do. Whatever comes in is noted, and requests are answered with their body."""

    def __init__(self, agent: sync.Agent) -> None:
        self._agent = agent
        self._numbers: dict[str, list[int]] = defaultdict(list)
        self._bytes = 0
        self._came = threading.Condition()
        self._receipts: list[sync.Receipt] = []
        self._events: list[tuple[float, str]] = []
        threading.Thread(target=self._take, daemon=True).start()
        threading.Thread(target=self._listen, args=(agent.events(),), daemon=True).start()

    def _take(self) -> None:
        for message in self._agent:
            if message.wants_answer:
                message.reply(message.body)
                continue
            with self._came:
                match message.body:
                    case int(number):
                        self._numbers[message.sender.name].append(number)
                    case bytes(data):
                        self._bytes += len(data)
                    case sync.IncomingBody() as body:
                        threading.Thread(target=self._read, args=(body,), daemon=True).start()
                self._came.notify_all()

    def _read(self, body: sync.IncomingBody) -> None:
        for block in body:
            self._bytes += len(block)

    def _listen(self, events: sync.EventStream) -> None:
        for event in events:
            self._events.append((time.monotonic(), type(event).__name__))

    def invite(self, kind: Any = "ticket") -> str:
        """Makes an invite."""
        return str(self._agent.invite(kind=kind))

    def wait_for(self, name: str) -> None:
        """Waits for a peer."""
        self._agent.wait_for(name=name, timeout=LIMIT)

    def call(self, skill: str, *args: Any) -> Any:
        """Calls a skill."""
        return self._agent.call(skill, *args, timeout=LIMIT)

    def stream(self, skill: str, *args: Any) -> list[Any]:
        """Calls a skill and gives its partial answers."""
        return list(self._agent.remote(skill, timeout=LIMIT).submit(*args))

    def echo(self, to: str, size: int = 1, priority: Any = "normal") -> float:
        """Sends a request with so many random bytes, and gives the seconds until they are back."""
        body = os.urandom(size)
        begin = time.monotonic()
        assert self._agent.request(to, body, priority=priority, timeout=LIMIT).body == body
        return time.monotonic() - begin

    def send(self, to: str, first: int, count: int, pause: float = 0.0) -> None:
        """Sends numbers."""
        thread = bytes(16)
        for number in range(first, first + count):
            self._receipts.append(self._agent.send(to, number, thread=thread, until="done"))
            time.sleep(pause)

    def deliver(self, to: str, number: int) -> float:
        """Sends a number, and gives the time when it is delivered."""
        self._agent.send(to, number).delivered(timeout=LIMIT)
        return time.monotonic()

    def confirmed(self) -> None:
        """Waits until all that was sent is delivered."""
        for receipt in self._receipts:
            receipt.delivered(timeout=LIMIT)

    def numbers(self, sender: str, count: int) -> list[int]:
        """Gives the numbers from a peer, when there are so many."""
        with self._came:
            self._came.wait_for(lambda: len(self._numbers[sender]) >= count, LIMIT)
            return self._numbers[sender]

    def flood(self, to: str, size: int, piece: int) -> None:
        """Queues so many bytes as bulk, in pieces."""
        for _ in range(0, size, piece):
            self._agent.send(to, bytes(piece), priority="bulk")

    def send_large(self, to: str, size: int, priority: Any = "normal") -> float:
        """Sends a large body, and gives the seconds until it is delivered."""
        begin = time.monotonic()
        self._agent.send(to, bytes(size), priority=priority).delivered()
        return time.monotonic() - begin

    def taken(self) -> int:
        """Gives the bytes that came."""
        return self._bytes

    def memory(self) -> int:
        """Gives the resident bytes of this process."""
        return int(Path("/proc/self/statm").read_text().split()[1]) * PAGE

    def events(self) -> list[tuple[float, str]]:
        """Gives what happened, with the time of each."""
        return self._events


def shout(text: str) -> str:
    """Makes it loud."""
    return text.upper()


def count(to: int) -> Iterator[int]:
    """Counts."""
    yield from range(to)


class Puppet:
    """An agent's process in a namespace, and how a test drives it. Times are of the monotonic clock, which all share."""

    def __init__(self, process: subprocess.Popen[str]) -> None:
        self._process = process
        self._ids = itertools.count(1)
        self._asked: dict[int, Future[Any]] = {0: Future()}
        threading.Thread(target=self._read, daemon=True).start()

    def start(self, what: str, *args: Any, **kwargs: Any) -> Future[Any]:
        """Lets the agent do something."""
        number = next(self._ids)
        self._asked[number] = Future()
        self._write([number, what, args, kwargs])
        return self._asked[number]

    def do(self, what: str, *args: Any, **kwargs: Any) -> Any:
        """Lets the agent do something, and waits for the outcome."""
        return self.start(what, *args, **kwargs).result(2 * LIMIT)

    def open(self, options: dict[str, Any]) -> None:
        """Opens the agent."""
        self._write(options)
        self._asked[0].result(LIMIT)

    def _write(self, line: Any) -> None:
        assert self._process.stdin is not None
        self._process.stdin.write(json.dumps(line) + "\n")
        self._process.stdin.flush()

    def _read(self) -> None:
        assert self._process.stdout is not None
        for line in self._process.stdout:
            number, result, error = json.loads(line)
            if error is None:
                self._asked[number].set_result(result)
            else:
                self._asked[number].set_exception(AssertionError(error))
        for asked in self._asked.values():
            if not asked.done():
                asked.set_exception(AssertionError("the agent's process ended"))


@contextlib.contextmanager
def puppet(space: Space, name: str, *, environment: dict[str, str] | None = None, **options: Any) -> Iterator[Puppet]:
    """Opens an agent in a namespace: with `invite=` it joins, otherwise it hosts."""
    path = os.pathsep.join([TESTS, str(Path(a2alinker.__path__[0]).parent)])
    process = space.start(sys.executable, "-m", "network.inside", environment={"PYTHONPATH": path, **(environment or {})})
    with process:
        try:
            agent = Puppet(process)
            agent.open({"name": name, **options})
            yield agent
        finally:
            process.kill()


@contextlib.contextmanager
def pair(network: Network, kind: str = "ticket") -> Iterator[tuple[Puppet, Puppet]]:
    """Gives agents `a` and `b`, linked through a switchboard in the public network."""
    with network.switchboard() as address, puppet(network.a, "a", switchboard=address) as a:
        # Who has a code finds the switchboard by its bare address, and sees by pairing whether its certificate is the right one.
        where: dict[str, Any] = {"switchboard": address.partition("#")[0]} if kind == "code" else {}
        with puppet(network.b, "b", invite=a.do("invite", kind), **where) as b:
            a.do("wait_for", "b")
            b.do("wait_for", "a")
            yield a, b


def main() -> None:
    """Opens the agent and does what it is told until the pipe ends."""
    lock = threading.Lock()

    def answer(number: int, what: Any) -> None:
        result, error = None, None
        try:
            result = what()
        except Exception as problem:  # noqa: BLE001  the test hears of it
            error = f"{type(problem).__name__}: {problem}"
        with lock:
            sys.stdout.write(json.dumps([number, result, error]) + "\n")
            sys.stdout.flush()

    options = json.loads(sys.stdin.readline())
    inside: list[Inside] = []

    def open_() -> None:
        open_agent = sync.join if "invite" in options else sync.host
        inside.append(Inside(open_agent(**options, skills=[shout, count])))

    answer(0, open_)
    for line in sys.stdin:
        number, what, args, kwargs = json.loads(line)
        doing = lambda what=what, args=args, kwargs=kwargs: getattr(inside[0], what)(*args, **kwargs)  # noqa: E731
        threading.Thread(target=answer, args=(number, doing), daemon=True).start()


if __name__ == "__main__":
    main()
