"""Runs taken in turn, their medians, and the ratios to the bare relay."""

import os
import platform
import time
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from statistics import median
from typing import Any

from .paths import Route
from .workloads import WORKLOADS, Workload

FIRST_COLUMN = 30  # characters
COLUMN = 18


@dataclass(slots=True)
class Results:
    """All single runs, in the order in which they were made."""

    runs: list[dict[str, Any]] = field(default_factory=list)

    def figure(self, path: str, workload: str) -> float | None:
        """The median over the runs of one workload on one path, in the workload's unit."""
        figures = [run["figure"] for run in self.runs if (run["path"], run["workload"]) == (path, workload)]
        return median(figures) if figures else None

    def record(self) -> dict[str, Any]:
        """Every run with the machine's load before it."""
        machine = {"cpus": os.cpu_count(), "platform": platform.platform(), "python": platform.python_version()}
        return {"machine": machine, "runs": self.runs}


async def measure(routes: Sequence[Route], workloads: Iterable[str], rounds: int, seconds: float) -> Results:
    """Runs every workload on every path, path after path within each round, so that all share what else the machine does."""
    results = Results()
    for number in range(rounds):
        for name in workloads:
            for route in routes:
                if route.supports(WORKLOADS[name]):
                    load = os.getloadavg()[0]
                    run = await route.run(name, seconds)
                    figure = figure_of(WORKLOADS[name], run)
                    results.runs.append(
                        {"round": number, "path": route.name, "workload": name, "figure": figure, "load": load, "at": time.time(), **run}
                    )
    return results


def figure_of(workload: Workload, run: dict[str, Any]) -> float:
    """The one figure of a run that the table shows."""
    match workload.unit:
        case "us":
            return float(run["p50_us"])
        case "/s":
            return float(run["messages"] / run["seconds"])
        case "MB/s":
            return float(run["bytes"] / run["seconds"] / 1e6)


def table(results: Results, routes: Sequence[Route], yardsticks: Sequence[str], workloads: Sequence[str]) -> list[str]:
    """The medians by path, each with its ratio to the better of the yardsticks."""
    lines = [f"{'':<{FIRST_COLUMN}}" + "".join(f"{name:>{COLUMN}}" for name in workloads)]
    for route in routes:
        cells = []
        for name in workloads:
            figure = results.figure(route.name, name)
            limits = [limit for path in yardsticks if (limit := results.figure(path, name)) is not None]
            cells.append("" if figure is None else shown(WORKLOADS[name], figure, limits if route.name not in yardsticks else []))
        lines.append(f"{route.name:<{FIRST_COLUMN}}" + "".join(f"{cell:>{COLUMN}}" for cell in cells))
    return lines


def shown(workload: Workload, figure: float, limits: list[float]) -> str:
    """A figure, and in brackets how many times the limit's time it takes, or which share of the limit's rate it reaches."""
    if workload.unit == "us":
        ratio = f" ({figure / min(limits):.1f}x)" if limits else ""
        return f"{figure:,.0f} us{ratio}"
    ratio = f" ({figure / max(limits):.0%})" if limits else ""
    return f"{figure / 1000:,.1f} k/s{ratio}" if workload.unit == "/s" else f"{figure:,.0f} MB/s{ratio}"
