"""All processes of a run: a switchboard that can be killed, a chaos proxy in front of each agent, senders, and receivers that can be killed.

sender 0 (host) --- proxy ---+                 +--- proxy --- receiver 0 (agent file)
                             +- switchboard ---+
sender 1 ---------- proxy ---+                 +--- proxy --- receiver 1 (agent file)
"""

from __future__ import annotations

import contextlib
import dataclasses
import json
import os
import re
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final

import a2alinker
from chaos.agents import Part
from chaos.journal import Journal, Killed, Record, Started, Stopped, now, read
from chaos.proxy import PATIENCE, ChaosProxy

TESTS: Final = Path(__file__).parents[1]
STARTING: Final = 90.0  # seconds until an agent that starts in the middle of a storm is linked


class Process:
    """A program on pipes; whoever asks is told the next line that it says. What it has to complain about goes to a file."""

    def __init__(self, complaints: Path, *arguments: str, python: str | None = None) -> None:
        # Another interpreter has an a2alinker of its own, and must not see what is installed beside this one.
        path = os.pathsep.join([str(TESTS), *([str(Path(a2alinker.__path__[0]).parent)] if python is None else [])])
        own = {key: value for key, value in os.environ.items() if not key.startswith("A2ALINKER_")}
        self._complaints = complaints
        pipe = subprocess.PIPE
        with complaints.open("ab") as errors:
            self.process = subprocess.Popen(
                [python or sys.executable, *arguments], stdin=pipe, stdout=pipe, stderr=errors, text=True, env={**own, "PYTHONPATH": path}
            )
        self._lines: list[str | None] = []
        self._taken = 0
        self._said = threading.Condition()
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()

    def say(self, line: str) -> None:
        """Writes a line to its standard input."""
        assert self.process.stdin is not None
        self.process.stdin.write(line + "\n")
        self.process.stdin.flush()

    def hear(self, patience: float = PATIENCE) -> str:
        """Returns the next line of its standard output."""
        with self._said:
            assert self._said.wait_for(lambda: len(self._lines) > self._taken, patience), f"nothing within {patience:.0f} s"
            line = self._lines[self._taken]
            assert line is not None, self.complaint()
            self._taken += 1
        return line

    def heard(self, line: str) -> bool:
        """Returns whether it has said this."""
        with self._said:
            return line in self._lines

    @property
    def has_ended(self) -> bool:
        """Whether its standard output has ended, and so the process."""
        with self._said:
            return None in self._lines

    def complaint(self) -> str:
        """Returns how it ended, and what it had to complain about."""
        return f"the process ended with {self.process.wait(PATIENCE)}: {self._complaints.read_text()[-2_000:]}"

    def signal(self, number: int) -> None:
        """Sends a signal."""
        self.process.send_signal(number)

    def kill(self) -> None:
        """Kills it, and returns when it is gone."""
        self.process.kill()
        self.process.wait(PATIENCE)
        assert self.process.stdin is not None
        with contextlib.suppress(BrokenPipeError):
            self.process.stdin.close()
        self._reader.join(PATIENCE)

    def _read(self) -> None:
        assert self.process.stdout is not None
        with self.process.stdout as lines:
            for line in lines:
                self._add(line.rstrip("\n"))
        self._add(None)

    def _add(self, line: str | None) -> None:
        with self._said:
            self._lines.append(line)
            self._said.notify_all()


class Relay:
    """A switchboard that keeps key and port when it is killed."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self.process = self._start("127.0.0.1:0", "--new-key")
        address = self.process.hear()
        found = re.fullmatch(r"wss://[^:]+:(\d+)#(\S+)", address)
        assert found, address
        self.port, self.pin = int(found[1]), found[2]
        self.kills = 0

    def restart(self) -> None:
        """Kills it and starts it again; returns when it listens."""
        self.process.kill()
        self.kills += 1
        self.process = self._start(f"127.0.0.1:{self.port}", "--key")
        address = self.process.hear()
        assert address.endswith(f":{self.port}#{self.pin}"), address

    def _start(self, listen: str, key: str) -> Process:
        arguments = ("-m", "a2alinker", "switchboard", "--listen", listen, key, str(self._folder / "relay.key"))
        return Process(self._folder / "relay.stderr", *arguments)


@dataclasses.dataclass
class Agent:
    """An agent's part, its proxy, and its process if one runs."""

    part: Part
    proxy: ChaosProxy
    process: Process | None = None
    stopped: bool = False

    @property
    def name(self) -> str:
        """Its name."""
        return self.part.name

    @property
    def running(self) -> Process:
        """Its process, which has to run."""
        assert self.process is not None
        return self.process


@dataclasses.dataclass(frozen=True, slots=True)
class Plan:
    """How large a run is."""

    messages: int
    seed: int
    senders: int = 2
    receivers: int = 3
    rate: float = 1_000.0  # messages a second, of all senders together
    ttl: float = 180.0
    large: float = 0.005  # share of bodies of 100 kB and more


class World:
    """A run, ready to begin. Closing it ends all processes."""

    def __init__(self, folder: Path, plan: Plan, stack: contextlib.ExitStack) -> None:
        self._folder = folder
        self._stack = stack
        self._journal = Journal(self._path("world"))
        stack.callback(self._journal.close)
        self.plan = plan
        self.relay = Relay(folder)
        self.senders: list[Agent] = []
        self.receivers: list[Agent] = []
        stack.callback(self._end)
        names = tuple(f"receiver-{number}" for number in range(plan.receivers))
        each = -(-plan.messages // plan.senders)
        sending: dict[str, Any] = {
            "receivers": names,
            "rate": plan.rate / plan.senders,
            "ttl": plan.ttl,
            "seed": plan.seed,
            "large": plan.large,
        }
        for number in range(plan.senders):
            count = min(each, plan.messages - number * each)
            self.senders.append(self._agent("sender", f"sender-{number}", messages=count, **sending))
        for name in names:
            self.receivers.append(self._agent("receiver", name, identity=str(folder / f"{name}.agent")))
        self._open()

    @property
    def agents(self) -> list[Agent]:
        """All agents."""
        return [*self.senders, *self.receivers]

    def have_sent(self) -> bool:
        """Returns whether all senders have given all their messages to `send`."""
        return all(sender.running.heard("sent") for sender in self.senders)

    def begin(self) -> None:
        """Lets the senders send."""
        for sender in self.senders:
            sender.running.say("go")

    def have_finished(self) -> bool:
        """Returns whether all senders know what became of all their messages."""
        for sender in self.senders:
            assert not sender.running.has_ended, sender.running.complaint()
        return all(sender.running.heard("finished") for sender in self.senders)

    def kill(self, receiver: Agent) -> None:
        """Kills a receiver."""
        receiver.running.kill()
        self._journal.write(Killed(now(), receiver.name, receiver.part.run))
        receiver.process = None
        receiver.stopped = False

    def start(self, receiver: Agent) -> None:
        """Starts a receiver's next run, and doesn't wait for it."""
        run = receiver.part.run + 1
        receiver.part = dataclasses.replace(receiver.part, run=run, invite=None, journal=str(self._path(f"{receiver.name}-{run}")))
        receiver.process = self._play(receiver.part)

    def tend(self) -> int:
        """Starts receivers again that could not open, as whatever supervises agents would, and returns how many. None may end later."""
        failed = [receiver for receiver in self.receivers if receiver.process is not None and receiver.process.has_ended]
        for receiver in failed:
            assert not receiver.running.heard("ready"), receiver.running.complaint()
            self.kill(receiver)
            self.start(receiver)
        return len(failed)

    def stop(self, receiver: Agent, seconds: float) -> None:
        """Stops a receiver, who is to go on after so many seconds."""
        self._journal.write(Stopped(now(), receiver.name, seconds))
        receiver.running.signal(signal.SIGSTOP)
        receiver.stopped = True

    def go_on(self, receiver: Agent) -> None:
        """Lets a receiver go on, if it was stopped."""
        if receiver.stopped:
            receiver.stopped = False
            receiver.running.signal(signal.SIGCONT)

    def records(self) -> list[Record]:
        """Reads all journals."""
        return list(read(sorted(self._folder.glob("*.journal"))))

    def _agent(self, role: Any, name: str, **options: Any) -> Agent:
        proxy = self._stack.enter_context(ChaosProxy(self.relay.port, seed=self.plan.seed))
        address = f"wss://127.0.0.1:{proxy.port}#{self.relay.pin}"
        return Agent(Part(role, name, address, str(self._path(name)), **options), proxy)

    def _open(self) -> None:
        host, *others = self.agents
        host.process = self._play(host.part)
        invite = host.running.hear(STARTING)
        for agent in others:
            agent.part = dataclasses.replace(agent.part, invite=invite)
            agent.process = self._play(agent.part)
        for agent in others:
            assert agent.running.hear(STARTING) == "ready"
        for sender in self.senders:
            sender.running.say("look")
        for sender in self.senders:
            assert sender.running.hear(STARTING) == "all there"

    def _play(self, part: Part) -> Process:
        if part.role == "receiver":
            self._journal.write(Started(now(), part.name, part.run))
        process = Process(self._folder / f"{part.name}.stderr", "-m", "chaos.agents")
        process.say(json.dumps(dataclasses.asdict(part)))
        return process

    def _path(self, name: str) -> Path:
        return self._folder / f"{name}.journal"

    def _end(self) -> None:
        for agent in self.agents:
            if agent.process is not None:
                agent.process.kill()
        self.relay.process.kill()


@contextlib.contextmanager
def world(folder: Path, plan: Plan) -> Iterator[World]:
    """Starts all processes, and ends them with the block."""
    with contextlib.ExitStack() as stack:
        yield World(folder, plan, stack)
