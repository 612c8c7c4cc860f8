"""The live view of an agent."""

import subprocess
import sys

import pytest

from a2alinker import sync
from frameworks.kernels import Kernel

OPENINGS = ["agent = await a2alinker.join('worker')", "agent = sync.join('worker')"]
KINDS = pytest.mark.parametrize("opening", OPENINGS, ids=["asynchronous", "blocking"])
TASKS = "len(a2alinker.adapters.jupyter._running)"


@KINDS
def test_the_view_follows_peers_and_health_until_it_is_stopped(kernel: Kernel, desk: sync.Agent, opening: str) -> None:
    kernel.run(opening)
    [shown] = kernel.run("view = live(agent, interval=0.1)").shown
    assert "<b>Agent worker</b>, live" in shown["text/html"]
    assert "Health" in shown["text/html"]

    kernel.run("other = sync.join('newcomer')")
    kernel.update_with("newcomer")

    kernel.run("view.stop(); view.stop()")
    last = kernel.update_with("<b>Agent worker</b>, stopped")
    assert "newcomer" in last["text/html"], "what it showed last stays"
    assert last["text/plain"] == "<LiveView of worker, stopped>"
    assert kernel.updates(0.3) == []
    assert kernel.value(f"[view.running, {TASKS}]") == [False, 0]


@KINDS
def test_the_view_ends_with_its_agent(kernel: Kernel, opening: str) -> None:
    kernel.run(opening)
    kernel.run("view = live(agent, interval=30)")

    kernel.run("await agent.close()" if "await" in opening else "agent.close()")

    kernel.update_with("agent closed")
    assert kernel.value(f"[view.running, {TASKS}]") == [False, 0]


def test_the_view_keeps_no_agent_alive(kernel: Kernel) -> None:
    kernel.run("agent = await a2alinker.join('worker')")
    kernel.run("view = live(agent, interval=0.1)")

    kernel.run("import gc, warnings; warnings.simplefilter('ignore', ResourceWarning)\ndel agent; gc.collect()")

    kernel.update_with("agent closed")
    assert kernel.value(f"[view.running, {TASKS}]") == [False, 0]


@KINDS
def test_a_view_ends_when_its_cell_runs_again(kernel: Kernel, opening: str) -> None:
    kernel.run(opening)
    kernel.run("views = []")
    for _ in range(3):
        kernel.run("views.append(live(agent, interval=0.1))", cell="view")
    kernel.run("views.append(live(agent, interval=0.1))", cell="another view")

    assert kernel.value(f"[[view.running for view in views], {TASKS}]") == [[False, False, True, True], 2]


def test_the_view_is_for_a_face_of_an_agent_too(kernel: Kernel) -> None:
    kernel.run("agent = await a2alinker.join('worker')")

    kernel.run("view = live(agent.sync, interval=0.1)")

    for _ in range(3):
        kernel.update_with("live")
    kernel.run("view.stop()")
    kernel.update_with("stopped")


def test_round_trip_times_are_kept_for_a_plot(kernel: Kernel) -> None:
    kernel.run("agent = await a2alinker.join('worker')")
    kernel.run("view = live(agent, interval=0.1)\nwhile len(view.latencies) < 5: await asyncio.sleep(0.05)\nview.stop()")

    latencies = kernel.value("view.latencies")

    assert len(latencies) >= 5
    assert [seconds for seconds, _ in latencies] == sorted(seconds for seconds, _ in latencies)
    assert all(0 < rtt < 5 for _, rtt in latencies)
    assert kernel.value("view._latencies.maxlen") == 3600


def test_a_large_swarm_makes_no_large_view(kernel: Kernel) -> None:
    kernel.run("agent = await a2alinker.join('worker')")
    kernel.run("""
peer = next(iter(agent.peers.values()))
for number in range(5000):
    agent.peers._by_id[f"{number:052}"] = peer
""")

    [shown] = kernel.run("view = live(agent); view.stop()").shown

    assert len(shown["text/html"]) < 100_000
    assert "more</td>" in shown["text/html"]


@pytest.mark.parametrize(
    ("call", "error"),
    [
        ("live(closed)", "AgentClosed"),
        ("live(agent, interval=0)", "ConfigurationError"),
        ("await asyncio.to_thread(live, agent)", "NoEventLoop"),
    ],
)
def test_what_can_not_be_viewed_is_an_error(kernel: Kernel, call: str, error: str) -> None:
    kernel.run("agent = await a2alinker.join('worker'); closed = await a2alinker.join('closed'); await closed.close()")

    outcome = kernel.run(call, fails=True)

    assert outcome.error == error, outcome.traceback
    assert kernel.value(TASKS) == 0


def test_without_ipython_the_error_names_the_extra() -> None:
    program = """
import sys
from a2alinker import sync, FrameworkMissing, UsageError
from a2alinker.adapters.jupyter import live
with sync.host("planner") as planner:
    try:
        live(planner)
    except UsageError as outside:
        print(outside)
    for name in [name for name in sys.modules if name.partition(".")[0] == "IPython"]:
        del sys.modules[name]
    import importlib.util
    find = importlib.util.find_spec
    importlib.util.find_spec = lambda name: None if name == "IPython" else find(name)
    try:
        live(planner)
    except FrameworkMissing as missing:
        print(missing, missing.extra)
"""
    ran = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=60, check=False)

    assert (ran.returncode, ran.stderr) == (0, "")
    assert ran.stdout == (
        "live() shows something in a notebook or in IPython, and neither runs here\n"
        "ipython isn't installed: pip install 'a2alinker[jupyter]' jupyter\n"
    )
