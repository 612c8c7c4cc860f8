"""What the stage knows about the work at any moment, and the live table that shows it."""

import shutil
import sys
import time
from dataclasses import dataclass, field
from typing import Any, TextIO

BAR = 20  # characters
TOLD = {
    "joined": "has joined",
    "down": "has no link to the switchboard",
    "gone": "counts as gone: its tasks go to others",
    "left": "has left",
}
REDRAW = 0.1  # seconds between two drawings; more often can't be read


@dataclass(slots=True)
class Worker:
    """One agent as the table shows it."""

    name: str
    state: str = "starting"
    doing: str = ""
    done: int = 0
    share: float | None = None  # of the present task, if its worker streams progress


@dataclass(slots=True)
class Task:
    """One call of a skill, and what came of it."""

    skill: str
    path: str
    worker: str = ""
    attempt: int = 1
    seconds: float = 0.0
    result: dict[str, Any] = field(default_factory=dict)
    begin: float = 0.0  # when its present worker gave the first sign of it

    def seconds_left(self, share: float) -> float:
        """How long the rest takes if it goes on as until here."""
        return (time.monotonic() - self.begin) * (1 - share) / share


class Board:
    """Follows the planner's events."""

    def __init__(self, title: str, names: list[str]) -> None:
        self.title = title
        self.begin = time.monotonic()
        self.workers = {name: Worker(name) for name in names}
        self.lines: dict[str, int] = {}
        self.planned: dict[str, int] = {}
        self.under_way: dict[int, Task] = {}
        self.finished: list[Task] = []
        self.latencies: dict[str, list[float]] = {}
        self.facts: dict[str, Any] = {}
        self.history: list[str] = []

    @property
    def elapsed(self) -> float:
        """Seconds since the demo began."""
        return time.monotonic() - self.begin

    def note(self, text: str) -> None:
        """Adds a line to the history below the table."""
        self.history.append(f"{self.elapsed:5.1f} s  {text}")

    def kill(self, name: str, text: str) -> None:
        """The stage killed this worker."""
        worker = self.workers[name]
        worker.state, worker.share = "killed", None
        self.note(text)

    def take(self, event: dict[str, Any]) -> None:
        """Follows one event of the planner."""
        match event["event"]:
            case "ticket":
                self.workers[event["name"]].state = "hosting"
            case "peer":
                self._on_peer(event["what"], event["name"])
            case "joined":
                self.facts.update(skills=event["skills"])
                self.note(f"the planner sees the skills {', '.join(event['skills'])}; find_copies: “{event['described']}”")
            case "files":
                self.lines = event["lines"]
                self.note(f"{len(self.lines)} files, {sum(self.lines.values()):,} lines, {event['bytes']:,} bytes to look at")
            case "unreadable":
                self.note(f"{event['path']} can't be decoded and is left out")
            case "latency":
                self.latencies[event["when"]] = event["seconds"]
            case "jobs":
                self.planned = event["counts"]
            case "begun":
                self.under_way[event["job"]] = Task(event["skill"], event["path"])
            case "progress":
                self._on_progress(event)
            case "finished":
                self._on_finished(event)
            case "end":
                self.facts.update(health=event["health"])
                for worker in self.workers.values():
                    worker.share, worker.doing = None, ""
                    worker.state = "finished" if worker.state != "killed" else worker.state

    def _on_peer(self, what: str, name: str) -> None:
        if (worker := self.workers.get(name)) is not None:
            if what == "joined":
                worker.state = "idle"
            if what in TOLD:
                self.note(f"{name} {TOLD[what]}")

    def _on_progress(self, event: dict[str, Any]) -> None:
        task = self.under_way[event["job"]]
        if task.worker != event["worker"]:
            if task.worker:
                self.note(f"{task.skill} {task.path} goes from {task.worker} to {event['worker']}")
            task.begin = time.monotonic()
        task.worker, task.attempt = event["worker"], event["attempt"]
        if (worker := self.workers.get(task.worker)) is not None and worker.state != "killed":
            worker.state, worker.doing, worker.share = "at work", f"{task.skill} {task.path}", event["done"] / max(1, event["total"])

    def _on_finished(self, event: dict[str, Any]) -> None:
        task = self.under_way.pop(event["job"])
        task.worker, task.attempt, task.seconds, task.result = event["worker"], event["attempt"], event["seconds"], event["result"]
        self.finished.append(task)
        if (worker := self.workers.get(task.worker)) is not None:
            worker.done += 1
            worker.doing, worker.share = f"{task.skill} {task.path}", None
            worker.state = "idle" if worker.state != "killed" else worker.state
        if "copies" in task.result:
            self.note(f"{task.worker} has compared {task.path}: {len(task.result['copies'])} copies")

    def count(self, skill: str) -> int:
        """How many calls of a skill are finished."""
        return sum(task.skill == skill for task in self.finished)


class Display:
    """Draws the board: over itself again and again in a terminal, as a line per event elsewhere."""

    def __init__(self, board: Board, out: TextIO = sys.stdout) -> None:
        self._board = board
        self._out = out
        self._in_place = out.isatty()
        self._height = 0
        self._drawn = 0.0
        self._told = 0

    def update(self, final: bool = False) -> None:
        """Shows what has changed; in a terminal at most ten times a second, unless it is the last time."""
        if not self._in_place:
            for line in self._board.history[self._told :]:
                print(line, file=self._out)
            self._told = len(self._board.history)
            self._out.flush()
        elif final or time.monotonic() - self._drawn >= REDRAW:
            columns, rows = shutil.get_terminal_size()
            lines = [line[: columns - 1] for line in table(self._board, max(3, rows - 12))]
            up = f"\x1b[{self._height}A" if self._height else ""
            self._out.write(up + "".join(f"\x1b[2K{line}\n" for line in lines) + "\x1b[J")
            self._out.flush()
            self._height = len(lines)
            self._drawn = time.monotonic()


def table(board: Board, history: int) -> list[str]:
    """The table with the last `history` lines of what happened."""
    lines = [f"{board.title}   {board.elapsed:5.1f} s", "", f"  {'agent':<12}{'state':<10}{'done':>5}   at"]
    for worker in board.workers.values():
        bar = "" if worker.share is None else f"{_bar(worker.share)} {worker.share:4.0%}  "
        lines.append(f"  {worker.name:<12}{worker.state:<10}{worker.done:>5}   {bar}{worker.doing}")
    counts = "   ".join(f"{skill} {board.count(skill)}/{planned}" for skill, planned in board.planned.items())
    return [*lines, "", f"  {counts}", "", *(f"  {line}" for line in board.history[-history:])]


def _bar(share: float) -> str:
    full = round(share * BAR)
    return "█" * full + "░" * (BAR - full)
