"""The four agents of the demo, each a process of its own: `python -m a2alinker.demo.agents ROLE ...`.

They are ordinary programs on the public API. What they tell the stage, one line of JSON on standard output each, is for its table and
report only: the work itself goes from agent to agent, through the switchboard. An agent ends when its standard input is closed.
"""

import argparse
import asyncio
import itertools
import json
import sys
import tempfile
import time
import tokenize
from collections import Counter
from collections.abc import Generator, Iterator
from pathlib import Path, PurePosixPath
from typing import Any

import a2alinker

from . import analysis

TOGETHER = 512 * 1024
"""Bytes of other files that go along with one call of `find_copies`; chosen: half of what a body may have."""

LARGEST_FILE = 256 * 1024
"""Bytes of a source file that is looked at; chosen: larger ones are tables or generated."""

REVIEWERS = ("reviewer-1", "reviewer-2")
AT_A_TIME = 3
"""Calls under way for each reviewer: each call picks one by chance, and none should be without work while the other has a queue."""

QUIET_REQUESTS = 300
"""Requests that measure the latency before the work begins."""

PAUSE = 0.02
"""Seconds between two requests that measure the latency while everybody works."""

GONE_AFTER = 2.0
"""Seconds without a link after which a worker's tasks are given to another; the default of 10 is for real networks."""


# -- the skills --


@a2alinker.skill
def measure_functions(path: str, source: str) -> dict[str, Any]:
    """Measures the complexity of each function and lists what is public and undocumented."""
    try:
        return analysis.review(source)
    except (SyntaxError, ValueError) as error:
        return {"error": str(error)}


@a2alinker.skill
def find_copies(path: str, source: str, others: dict[str, str]) -> Generator[list[int], None, dict[str, Any]]:
    """Looks for copied functions, within a file and in others; streams how many functions have been looked at."""
    copies: list[dict[str, Any]] = []
    for done, total, found in analysis.find_copies(source, others):
        yield [done, total]
        copies = found
    return {"copies": copies}


def testing_skills(workspace: Path) -> list[Any]:
    """The tester's skills: it keeps the files it is given, because a module's examples need the package around them."""

    @a2alinker.skill
    def compile_file(path: str, source: str) -> dict[str, Any]:
        """Compiles a file and keeps it for its examples."""
        kept = workspace / safe(path)
        kept.parent.mkdir(parents=True, exist_ok=True)
        kept.write_text(source, encoding="utf-8")
        return {"error": analysis.compile_error(path, source)}

    @a2alinker.skill
    def run_doctests(path: str) -> dict[str, Any]:
        """Runs the examples in a file's docstrings."""
        return analysis.run_doctests(workspace, str(safe(path)))

    return [compile_file, run_doctests]


def safe(path: str) -> PurePosixPath:
    """Raises unless the path stays within the folder that it is joined to: it comes from another agent."""
    parts = PurePosixPath(path)
    if parts.is_absolute() or ".." in parts.parts:
        raise ValueError(f"not a path within the package: {path!r}")
    return parts


# -- the workers --


async def work(name: str, skills: list[Any]) -> None:
    """Joins with the ticket in A2ALINKER_TICKET, serves, and sends plain requests back, until standard input is closed."""
    async with a2alinker.join(name, skills=skills) as agent:
        echoing = asyncio.create_task(echo(agent))
        await stdin_closed()
        echoing.cancel()


async def echo(agent: a2alinker.Agent) -> None:
    """Answers plain requests with their own body."""
    async for message in agent:
        await message.reply(message.body)


async def stdin_closed() -> None:
    """Waits until the stage wants this process to end, or is gone itself."""
    reader = asyncio.StreamReader()
    await asyncio.get_running_loop().connect_read_pipe(lambda: asyncio.StreamReaderProtocol(reader), sys.stdin)
    await reader.read()


# -- the planner --


async def plan(switchboard: str, source: Path) -> None:
    """Hosts, waits for the workers, spreads the files over them and tells the stage what came back."""
    files = read_package(source)
    async with a2alinker.host("planner", switchboard=switchboard, peer_gone_after=GONE_AFTER) as agent:
        tell("ticket", name=agent.name, ticket=str(await agent.invite(kind="ticket", uses=3, local=True)))
        watching = asyncio.create_task(watch(agent))
        tester = await agent.wait_for(skill="run_doctests")
        reviewers = [await agent.wait_for(name=name) for name in REVIEWERS]
        definition = await reviewers[0].describe("find_copies")
        tell("joined", skills=sorted({skill for peer in agent.peers.values() for skill in peer.skills}), described=definition.description)
        tell("files", lines={path: text.count("\n") + 1 for path, text in files.items()}, bytes=sum(map(len, files.values())))
        tell("latency", when="quiet", seconds=await latencies(agent, tester, QUIET_REQUESTS, pause=0.0))

        jobs = [Job("measure_functions", path, text) for path, text in files.items()] + list(comparisons(files))
        tests = [Job("compile_file", path, text) for path, text in files.items()]
        tests += [Job("run_doctests", path) for path, text in files.items() if analysis.has_doctests(text)]
        tell("jobs", counts=Counter(job.skill for job in jobs + tests))
        probing = asyncio.create_task(latencies(agent, tester, None, pause=PAUSE))
        async with asyncio.TaskGroup() as group:
            waiting, testing = iter(jobs), iter(tests)
            for _ in range(AT_A_TIME * len(reviewers)):
                group.create_task(hand_out(agent, waiting))
            group.create_task(hand_out(agent, testing))
        probing.cancel()
        tell("latency", when="at work", seconds=await probing)
        watching.cancel()
        tell("end", health={key: value for key, value in agent.health().items() if isinstance(value, int | float | str)})
        await stdin_closed()


class Job:
    """One call of a skill."""

    numbers = itertools.count()

    def __init__(self, skill: str, path: str, *arguments: Any) -> None:
        self.number = next(self.numbers)
        self.skill = skill
        self.path = path
        self.arguments = arguments


def comparisons(files: dict[str, str]) -> Iterator[Job]:
    """Each file with itself and all after it, in calls of bounded size; the largest first, because they take longest."""
    paths = sorted(files, key=lambda path: len(files[path]), reverse=True)
    for index, path in enumerate(paths):
        others: dict[str, str] = {}
        for other in paths[index + 1 :]:
            if others and sum(map(len, others.values())) + len(files[other]) > TOGETHER:
                yield Job("find_copies", path, files[path], others)
                others = {}
            others[other] = files[other]
        yield Job("find_copies", path, files[path], others)


async def hand_out(agent: a2alinker.Agent, waiting: Iterator[Job]) -> None:
    """Calls whoever is free, one call after the other, and tells what comes back."""
    for job in waiting:
        begin = time.monotonic()
        call = agent.call(job.skill, job.path, *job.arguments)
        tell("begun", job=job.number, skill=job.skill, path=job.path)
        await tell_progress(call, job)
        result = await call
        tell("finished", job=job.number, worker=name_of(call), attempt=call.attempt, seconds=time.monotonic() - begin, result=result)


async def tell_progress(call: a2alinker.Call[Any], job: Job) -> None:
    """Tells how far a call is, until it has ended."""
    while True:
        try:
            async for done, total in call:
                tell("progress", job=job.number, worker=name_of(call), attempt=call.attempt, done=done, total=total)
        except a2alinker.StreamRestarted:  # the call has moved to another worker, who begins anew
            continue
        return


def name_of(call: a2alinker.Call[Any]) -> str:
    """The name of the agent that works on a call."""
    return call.peer.name if call.peer else "?"


async def latencies(agent: a2alinker.Agent, peer: a2alinker.Peer, count: int | None, pause: float) -> list[float]:
    """Seconds that each of `count` small requests took, one after the other; without a count until it is cancelled."""
    taken: list[float] = []
    try:
        while count is None or len(taken) < count:
            begin = time.perf_counter()
            await agent.request(peer, len(taken))
            taken.append(time.perf_counter() - begin)
            if pause:
                await asyncio.sleep(pause)
    except asyncio.CancelledError:
        if count is not None:
            raise
    return taken


async def watch(agent: a2alinker.Agent) -> None:
    """Tells who comes and goes."""
    async for event in agent.events():
        if isinstance(event, a2alinker.PeerEvent):
            tell("peer", what=event.what, name=event.peer.name)


def read_package(folder: Path) -> dict[str, str]:
    """The Python files of a package by their path from the package's parent, in the encoding that each declares."""
    files = {}
    for file in sorted(folder.rglob("*.py")):
        if file.is_file() and file.stat().st_size <= LARGEST_FILE:
            try:
                with tokenize.open(file) as text:
                    files[file.relative_to(folder.parent).as_posix()] = text.read()
            except (SyntaxError, UnicodeDecodeError):
                tell("unreadable", path=file.relative_to(folder.parent).as_posix())
    return files


def tell(event: str, **details: Any) -> None:
    """Prints one event for the stage."""
    print(json.dumps({"event": event, **details}), flush=True)


def main() -> None:
    """Runs one of the agents."""
    parser = argparse.ArgumentParser(description="One agent of the demo; the stage starts it")
    roles = parser.add_subparsers(dest="role", required=True)
    planner = roles.add_parser("planner")
    planner.add_argument("switchboard")
    planner.add_argument("source", type=Path)
    for role in ("reviewer", "tester"):
        roles.add_parser(role).add_argument("name")
    arguments = parser.parse_args()
    match arguments.role:
        case "planner":
            asyncio.run(plan(arguments.switchboard, arguments.source))
        case "reviewer":
            asyncio.run(work(arguments.name, [measure_functions, find_copies]))
        case "tester":
            with tempfile.TemporaryDirectory(prefix="a2alinker-demo-") as workspace:
                asyncio.run(work(arguments.name, testing_skills(Path(workspace))))


if __name__ == "__main__":
    main()
