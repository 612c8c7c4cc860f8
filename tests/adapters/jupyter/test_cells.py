"""What becomes of agents when cells run again, are interrupted, or their kernel restarts."""

import subprocess
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from a2alinker import Context, sync
from frameworks.kernels import Kernel

Links = Callable[[int], int]

LIMIT = 20.0  # seconds for what takes a moment
NEVER = 300.0  # seconds after which a peer without a link counts as gone: in such a test it has said goodbye
# Everything is kept: an agent that nobody holds is closed in any case.
ASYNCHRONOUS = "agent = await a2alinker.join('worker'); kept.append(agent)"
BLOCKING = "agent = sync.join('worker'); kept.append(agent)"


# -- running a cell again --


@pytest.mark.parametrize("cell", ["cell-1", None], ids=["with a cell id", "without"])
@pytest.mark.parametrize("source", [ASYNCHRONOUS, BLOCKING], ids=["asynchronous", "blocking"])
@pytest.mark.parametrize("gone_after", [NEVER])
def test_a_cell_that_runs_again_leaves_one_link(kernel: Kernel, links: Links, desk: sync.Agent, source: str, cell: str | None) -> None:
    for _ in range(4):
        outcome = kernel.run(source, cell=cell)
        assert links(1) == 1
        assert outcome.errors == ""
        wait_until_alone(desk, kernel.value("agent.id"))


def test_an_agent_on_the_other_loop_is_closed_too(kernel: Kernel, links: Links) -> None:
    for source in (ASYNCHRONOUS, BLOCKING, ASYNCHRONOUS, BLOCKING):
        kernel.run(source, cell="cell-1")
        assert links(1) == 1


def test_a_blocked_loop_is_no_deadlock(kernel: Kernel) -> None:
    kernel.run(ASYNCHRONOUS, cell="cell-1")

    began = time.monotonic()
    kernel.run(BLOCKING, cell="cell-1")

    assert time.monotonic() - began < 2.0


def test_several_agents_of_one_run_live_side_by_side(kernel: Kernel, links: Links) -> None:
    one_by_one = "first = await a2alinker.join('worker')\nsecond = await a2alinker.join('worker')"
    together = "first, second = await asyncio.gather(a2alinker.join('worker'), a2alinker.join('worker'))"
    blocking = "first = sync.join('worker')\nsecond = sync.join('worker')"
    for source in (one_by_one, one_by_one, together, together, blocking, blocking):
        kernel.run(f"{source}\nkept += [first, second]", cell="cell-1")
        assert links(2) == 2
        assert kernel.value("[each.health()['linked'] for each in (first, second)]") == [True, True]


def test_other_cells_keep_their_agents(kernel: Kernel, links: Links) -> None:
    kernel.run(ASYNCHRONOUS, cell="cell-1")
    kernel.run(ASYNCHRONOUS, cell="cell-2")
    kernel.run(ASYNCHRONOUS, cell="cell-2")

    assert links(2) == 2
    assert kernel.value("[each.health()['linked'] for each in kept]") == [True, False, True]


def test_an_id_says_more_than_the_text_of_a_cell(kernel: Kernel, links: Links) -> None:
    kernel.run(ASYNCHRONOUS, cell="cell-1")
    kernel.run(f"{ASYNCHRONOUS}  # edited", cell="cell-1")
    assert links(1) == 1, "an edited cell is the same"

    kernel.run(f"{ASYNCHRONOUS}  # edited", cell="cell-2")
    assert links(2) == 2, "a copy of a cell is another one"


def test_port_name_and_agent_file_are_free_when_a_cell_runs_again(kernel: Kernel, tmp_path: Path, free_port: int) -> None:
    arguments = f"'planner', identity={str(tmp_path / 'planner')!r}, listen='127.0.0.1:{free_port}'"
    identities = set()
    for opened in (f"await a2alinker.host({arguments})", f"sync.host({arguments})"):
        for _ in range(4):
            kernel.run(f"planner = {opened}; kept.append(planner)", cell="cell-1")
            identities.add(kernel.value("planner.id"))

    assert len(identities) == 1


def test_what_an_earlier_run_did_not_deliver_is_a_warning(kernel: Kernel) -> None:
    kernel.run("switchboard = await a2alinker.Switchboard()")
    opening = "agent = await a2alinker.host('planner', switchboard=switchboard); kept.append(agent)"
    kernel.run(opening, cell="cell-1")
    kernel.run("other = await a2alinker.join('other', await agent.invite(kind='ticket', local=True)); await agent.wait_for(name='other')")
    kernel.run("await switchboard.close()\nreceipt = await agent.send('other', 'hello')\nswitchboard = await a2alinker.Switchboard()")

    began = time.monotonic()
    outcome = kernel.run(opening, cell="cell-1")

    assert "RuntimeWarning: agent 'planner' of an earlier run of this cell was closed, and 1 of its messages were unc" in outcome.errors
    assert time.monotonic() - began < 6.0
    assert kernel.value("agent.health()['linked']") is True


def test_a_task_belongs_to_the_run_that_started_it(kernel: Kernel, links: Links) -> None:
    kernel.run("go, late = asyncio.Event(), []")
    source = """
async def later():
    await go.wait()
    late.append(await a2alinker.join('late'))

agent = await a2alinker.join('worker'); kept.append(agent)
tasks = [asyncio.create_task(later())]
"""
    kernel.run(source, cell="cell-1")
    kernel.run("older = tasks[0]")
    kernel.run(source.replace("tasks = ", "# "), cell="cell-1")

    kernel.run("go.set(); await older")

    assert kernel.value("[agent.health()['linked'], late[0].health()['linked']]") == [True, True]
    assert links(2) == 2, "what an older run opens late closes nothing"
    kernel.run(source, cell="cell-1")
    assert links(2) == 2, "and is closed by the next one: worker and late again"


def test_plain_ipython_and_plain_python_do_as_they_should() -> None:
    program = """
import sys
import a2alinker
import a2alinker.adapters.jupyter
assert "IPython" not in sys.modules, "importing takes no IPython"

from IPython.core.interactiveshell import InteractiveShell

def opened():
    with sync.host("outside", switchboard=switchboard), sync.host("outside", switchboard=switchboard):
        return switchboard.stats()["links"]

from a2alinker import sync
switchboard = sync.Switchboard()
switchboard.start()
assert opened() == opened() == 2, "no shell runs yet"

shell = InteractiveShell.instance()
shell.user_ns["switchboard"] = switchboard
for source in ("import a2alinker; kept = []", *["kept.append(await a2alinker.host('planner', switchboard=switchboard))"] * 3):
    shell.run_cell(source, store_history=True).raise_error()
print(switchboard.stats()["links"])
shell.run_cell("await kept[-1].close()", store_history=True).raise_error()
"""
    ran = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=60, check=False)

    assert (ran.returncode, ran.stderr, ran.stdout) == (0, "", "1\n")


# -- both kinds in one kernel --


def test_awaited_and_blocking_agents_work_in_one_kernel(kernel: Kernel) -> None:
    kernel.run("""
def shout(text: str) -> str:
    return text.upper()

awaited = await a2alinker.join("awaited", skills=[shout])
blocking = sync.join("blocking", skills=[shout])
await awaited.wait_for(name="blocking", timeout=10)
""")

    assert kernel.run("print(await awaited.call('shout', 'one', to='blocking', timeout=10))").text == "ONE\n"
    # The kernel's loop stands still here, and with it `awaited`: its skill, a plain function, answers when the cell has ended.
    kernel.run("call = blocking.call.submit('shout', 'two', to='awaited')")
    assert kernel.run("print(call.result(timeout=10))").text == "TWO\n"
    kernel.run("blocking.close(); await awaited.close()")


# -- interrupting a cell --


@pytest.mark.parametrize(
    ("opening", "call", "error"),
    [(ASYNCHRONOUS, "await agent.call('work')", "CancelledError"), (BLOCKING, "agent.call('work')", "KeyboardInterrupt")],
    ids=["asynchronous", "blocking"],
)
def test_an_interrupted_cell_cancels_its_call(kernel: Kernel, desk: sync.Agent, opening: str, call: str, error: str) -> None:
    began, cancelled = threading.Event(), threading.Event()

    def work(context: Context) -> None:
        began.set()
        while not context.cancelled:
            time.sleep(0.01)
        cancelled.set()

    desk.skill(work)
    kernel.run(opening)
    kernel.run("while not agent.discover(skill='work'): await asyncio.sleep(0.01)")

    # An interrupt that finds the loop waiting is seen when that turns the next time (ipython/ipykernel#881), as for an agent every 10 s.
    kernel.run("async def turn():\n    while True: await asyncio.sleep(0.05)\nturning = asyncio.create_task(turn())")
    request = kernel.send(call)
    assert began.wait(LIMIT)
    kernel.interrupt()
    outcome = kernel.outcome(request)

    assert outcome.error == error, outcome.traceback
    assert cancelled.wait(LIMIT)
    assert kernel.value("agent.health()['calls']") == 0
    assert kernel.value("agent.health()['linked']") is True


# -- restarting a kernel --


@pytest.mark.parametrize("gone_after", [NEVER])
def test_a_restarted_kernel_has_said_goodbye(kernel: Kernel, links: Links, desk: sync.Agent) -> None:
    kernel.run(ASYNCHRONOUS)
    kernel.run(BLOCKING.replace("worker", "helper"))
    # The agents and a view are open, and a call is under way, when the kernel ends.
    kernel.run("view = live(kept[0], interval=0.1); call = kept[0].request('desk', 'question')")
    peers = [desk.wait_for(name=name, timeout=LIMIT) for name in ("worker", "helper")]
    happened = desk.events()

    kernel.restart()

    gone: set[str] = set()
    while len(gone) < 2:
        event = happened.receive(timeout=LIMIT)
        if getattr(event, "what", "") == "gone":
            gone.add(event.peer.name)  # type: ignore[union-attr]
    assert all(peer.gone for peer in peers)
    assert links(0) == 0
    assert "Traceback" not in kernel.stderr()
    assert "Task was destroyed" not in kernel.stderr()


def test_a_killed_kernel_leaves_no_link(kernel: Kernel, links: Links, desk: sync.Agent) -> None:
    kernel.run(ASYNCHRONOUS)
    peer = desk.wait_for(name="worker", timeout=LIMIT)

    kernel.restart(kill=True)

    assert links(0) == 0
    wait_until(lambda: peer.gone, "it has said nothing, and its time is over")
    kernel.run(f"import a2alinker\nkept = []\n{ASYNCHRONOUS}")
    assert links(1) == 1


def wait_until_alone(desk: sync.Agent, agent_id: str) -> None:
    wait_until(lambda: [peer.id for peer in desk.discover(name="worker")] == [agent_id], "the one before has said goodbye")


def wait_until(condition: Callable[[], bool], what: str) -> None:
    deadline = time.monotonic() + LIMIT
    while not condition():
        assert time.monotonic() < deadline, what
        time.sleep(0.02)
