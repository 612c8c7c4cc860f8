"""The report at the end of the demo, and the verdict: what was lost, and what was seen."""

from collections import Counter
from collections.abc import Iterable, Iterator
from statistics import median, quantiles
from typing import Any

from .board import Board, Task
from .evidence import FORMS, Search, Searcher, Sight
from .stage import Outcome, names_of, planted

WORST = 8  # lines of each list of findings


def report(outcome: Outcome) -> tuple[list[str], list[str]]:
    """Returns the report, line by line, and what went wrong, empty if nothing did."""
    board = outcome.board
    searcher = Searcher(names_of(board), unavoidable=outcome.control)
    seen = searcher.search(outcome.recordings)
    control = searcher.search(outcome.control)
    lines = [
        *_files(board),
        *_worst(board),
        *_undocumented(board),
        *_copies(board),
        *_tests(board),
        *_who(board),
        *_kill(outcome),
        *_latency(board),
        *_switchboard(outcome, seen, control),
    ]
    return lines, [*_lost(outcome), *_found(outcome, seen, control)]


def record(outcome: Outcome, problems: list[str]) -> dict[str, Any]:
    """Returns the outcome for a program. `problems` are those of the report."""
    board, kill, sight = outcome.board, outcome.kill, Sight.of(outcome.recordings)
    killed = kill and {"worker": kill.victim, "skill": kill.task.skill, "path": kill.task.path, "done_by": kill.task.worker}
    return {
        "problems": problems,
        "seconds": round(board.elapsed, 3),
        "files": len(board.lines),
        "tasks": {skill: {"planned": planned, "finished": board.count(skill)} for skill, planned in board.planned.items()},
        "killed": killed,
        "latency_p50_us": {when: round(median(seconds) * 1e6, 1) for when, seconds in board.latencies.items() if seconds},
        "switchboard": {"links": sight.links, "frames": sight.frames, "bytes_read": sight.bytes_read, "bytes_written": sight.bytes_written},
    }


def _files(board: Board) -> Iterator[str]:
    yield from _head("Files")
    yield f"  {'file':<38}{'lines':>6}{'functions':>10}{'most complex':>13}{'undocumented':>13}{'copies':>7}   doctests     compared by"
    reviews, tests = _by_path(board, "measure_functions"), _by_path(board, "run_doctests")
    for path, count in board.lines.items():
        review = reviews[path].result if path in reviews else {}
        if error := review.get("error"):
            yield f"  {path:<38}{count:>6}   isn't valid Python: {error}"
            continue
        compared = [task for task in board.finished if (task.skill, task.path) == ("find_copies", path)]
        copies = sum(len(task.result["copies"]) for task in compared)
        worst = max((function["complexity"] for function in review.get("functions", ())), default=0)
        who = ", ".join(dict.fromkeys(f"{task.worker}{f' (attempt {task.attempt})' if task.attempt > 1 else ''}" for task in compared))
        doctests = _doctests(tests.get(path))
        functions, undocumented = len(review.get("functions", ())), len(review.get("undocumented", ()))
        yield f"  {path:<38}{count:>6}{functions:>10}{worst:>13}{undocumented:>13}{copies:>7}   {doctests:<13}{who}"


def _doctests(task: Task | None) -> str:
    if task is None:
        return "none"
    if task.result["error"]:
        return "don't run"
    return f"{task.result['attempted'] - task.result['failed']} of {task.result['attempted']} pass"


def _worst(board: Board) -> Iterator[str]:
    yield from _head("Most complex functions (McCabe)")
    functions = [(function, task.path) for task in _of(board, "measure_functions") for function in task.result.get("functions", ())]
    for function, path in sorted(functions, key=lambda pair: -pair[0]["complexity"])[:WORST]:
        yield f"  {function['complexity']:>4}  {function['name']}  {path}:{function['line']}"


def _undocumented(board: Board) -> Iterator[str]:
    by_path = {task.path: task.result.get("undocumented", []) for task in _of(board, "measure_functions")}
    yield from _head(f"Public and undocumented: {sum(map(len, by_path.values()))} functions and classes")
    for path, names in sorted(by_path.items(), key=lambda pair: -len(pair[1]))[:WORST]:
        if names:
            yield f"  {len(names):>4}  {path}: {', '.join(names[:4])}{', ...' if len(names) > 4 else ''}"


def _copies(board: Board) -> Iterator[str]:
    copies = [(copy, task.path) for task in _of(board, "find_copies") for copy in task.result["copies"]]
    yield from _head(f"Copied functions: {len(copies)} pairs")
    for copy, path in sorted(copies, key=lambda pair: -pair[0]["tokens"])[:WORST]:
        yield f"  {copy['tokens']:>4} tokens  {copy['name']} ({path}) and {copy['other']} ({copy['path'] or 'the same file'})"


def _tests(board: Board) -> Iterator[str]:
    compiled, tested = list(_of(board, "compile_file")), list(_of(board, "run_doctests"))
    broken = [task for task in compiled if task.result["error"]]
    yield from _head(f"Compiled: {len(compiled) - len(broken)} of {len(compiled)} files; files with doctests: {len(tested)}")
    for task in broken:
        yield f"  {task.path}: {task.result['error']}"
    for task in tested:
        if task.result["failed"] or task.result["error"]:
            yield f"  {task.path}: {task.result['error'] or _doctests(task)}"


def _who(board: Board) -> Iterator[str]:
    yield from _head("Who did what")
    for name in board.workers:
        done = Counter(task.skill for task in board.finished if task.worker == name)
        if done:
            yield f"  {name:<12}" + ", ".join(f"{skill} {count}" for skill, count in done.items())


def _kill(outcome: Outcome) -> Iterator[str]:
    if (kill := outcome.kill) is None:
        yield ""
        yield "  No worker was killed: no task took long enough to be sure that it would hit one at work. Give a larger package."
    else:
        task = kill.task
        yield ""
        what = f"{task.skill} {task.path}"
        yield f"  {kill.victim} got SIGKILL {kill.share:.0%} through {what}; {task.worker} did it on attempt {task.attempt}."


def _latency(board: Board) -> Iterator[str]:
    yield from _head("Latency: a small request and its answer, planner - switchboard - tester and back")
    for when, seconds in board.latencies.items():
        if len(seconds) >= 2:
            cuts = quantiles(seconds, n=100)
            yield f"  {when:<9} p50 {cuts[49] * 1e3:7.2f} ms   p99 {cuts[98] * 1e3:7.2f} ms   {len(seconds)} requests"


def _switchboard(outcome: Outcome, seen: Search, control: Search) -> Iterator[str]:
    yield from _head("What the switchboard saw")
    sight = Sight.of(outcome.recordings)
    yield f"  {sight.links} links; {sight.bytes_read:,} bytes read, {sight.bytes_written:,} written; {sight.frames:,} frames passed on."
    yield "  Of each frame it can read the labels of sender and receiver, the size, the priority and the expiry:"
    for (sender, receiver), (frames, size) in sight.heaviest(WORST):
        yield f"    {sender} -> {receiver}  {frames:>6} frames  {size:>11,} bytes"
    yield "  Searched in all of it, as " + ", ".join(FORMS) + ":"
    for kind, count in seen.names.items():
        yield f"    {count:>5} {kind}"
    if seen.left_out:
        yield f"    ({seen.left_out} names are left out: too short not to be met by chance, or words of the WebSocket handshake)"
    yield f"  Found: {', '.join(str(hit) for hit in seen.hits[:WORST]) or 'nothing'}."
    plants = planted(outcome.board)
    yield f"  Control: {len(plants)} of these names cross unencrypted on one more connection; the same search finds {len(control.found & set(plants))}."
    yield "  TLS is off here and would only hide the same bytes from the tap: so it holds what the switchboard itself reads."


def _lost(outcome: Outcome) -> Iterator[str]:
    board = outcome.board
    for skill, planned in board.planned.items():
        if board.count(skill) != planned:
            yield f"{skill}: {board.count(skill)} of {planned} tasks finished"
    kill = outcome.kill
    if kill is not None and (not kill.task.result or kill.task.worker == kill.victim or kill.task.attempt == 1):
        yield f"{kill.task.skill} {kill.task.path}, which the killed worker was at, was not done by another"
    for name, code in outcome.exit_codes.items():
        killed = kill is not None and kill.victim == name
        if (code >= 0) if killed else code:
            yield f"{name} ended with code {code}"


def _found(outcome: Outcome, seen: Search, control: Search) -> Iterator[str]:
    if seen.hits:
        yield f"{len(seen.found)} names are in what the switchboard saw"
    if missed := set(planted(outcome.board)) - control.found:
        yield f"the search doesn't find {', '.join(sorted(missed))}, which was planted"


def _of(board: Board, skill: str) -> Iterator[Task]:
    return (task for task in board.finished if task.skill == skill)


def _by_path(board: Board, skill: str) -> dict[str, Task]:
    return {task.path: task for task in _of(board, skill)}


def _head(text: str) -> Iterable[str]:
    return "", text, "-" * len(text)
