"""What becomes of calls when a process is killed, the switchboard restarts, or who asked gives up."""

import contextvars
import os
import signal
import threading
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
import swarm

from a2alinker import CallCancelled
from a2alinker.adapters import cancel_scope
from a2alinker.adapters.swarm import LinkedSwarm, functions_from, remote_agent
from chaos.world import Process
from frameworks.chats import ScriptedChat, called, results
from frameworks.world import World, pid_in

REMOTE_SWARM = Path(__file__).parent / "remote_swarm.py"
ASK = [{"role": "user", "content": "x"}]
PATIENCE = 60.0  # seconds


def run_in_thread(run: Callable[[], Any]) -> Future[Any]:
    """Runs as a framework's thread does: in the context of who starts it."""
    outcome: Future[Any] = Future()
    context = contextvars.copy_context()

    def begin() -> None:
        try:
            outcome.set_result(context.run(run))
        except BaseException as problem:  # noqa: BLE001
            outcome.set_exception(problem)

    threading.Thread(target=begin, daemon=True).start()
    return outcome


def one_call(world: World, skill: str, chat: ScriptedChat) -> Any:
    return swarm.Swarm(chat).run(swarm.Agent(functions=functions_from(world.agent, [skill])), ASK)


def test_another_worker_takes_over_when_one_is_killed_in_the_middle_of_a_call(world: World) -> None:
    first = world.worker("first")
    chat = ScriptedChat(called("take_over", text="x"), "Done.")
    run = run_in_thread(lambda: one_call(world, "take_over", chat))
    assert first.hear() == "attempt 1"
    second = world.worker("second")

    first.kill()

    run.result(PATIENCE)
    (result,) = results(chat.last)
    assert result.startswith("[a2alinker: this answer is from second, ")
    assert "attempt 2" in result
    assert pid_in(result) == second.process.pid


def test_another_machine_takes_over_a_conversation(world: World) -> None:
    first = world.worker("first")
    run = run_in_thread(lambda: LinkedSwarm(ScriptedChat()).run(remote_agent(world.agent, "take_over"), ASK))
    assert first.hear() == "attempt 1"
    second = world.worker("second")

    first.kill()

    content = run.result(PATIENCE).messages[-1]["content"]
    assert content.startswith("[a2alinker: this answer is from second, ")
    assert pid_in(content) == second.process.pid


def test_a_call_goes_on_when_the_switchboard_restarts_in_the_middle_of_it(world: World) -> None:
    remote = world.worker("remote", program=REMOTE_SWARM)
    run = run_in_thread(
        lambda: LinkedSwarm(ScriptedChat()).run(remote_agent(world.agent, "reviewer"), [{"role": "user", "content": "hold on"}])
    )
    assert remote.hear() == "holding"

    world.relay.restart()
    remote.say("go on")

    content = run.result(PATIENCE).messages[-1]["content"]
    assert '"heard": ["went on"]' in content
    assert pid_in(content) == remote.process.pid


def test_calls_before_and_after_a_restart_of_the_switchboard_are_answered(world: World) -> None:
    worker = world.worker()
    (review,) = functions_from(world.agent, ["review"])

    before = review(text="x")
    world.relay.restart()
    after = review(text="x")

    assert pid_in(before) == pid_in(after) == worker.process.pid


def test_no_call_is_lost_or_answered_twice_when_the_switchboard_restarts_under_ten_runs(world: World) -> None:
    world.worker()
    (together,) = functions_from(world.agent, ["together"])

    def run(number: int) -> str:
        chat = ScriptedChat(called("together", number=number), "Done.")
        swarm.Swarm(chat).run(swarm.Agent(functions=[together]), ASK)
        return results(chat.last)[0]

    with ThreadPoolExecutor(10) as pool:
        runs = [pool.submit(run, number) for number in range(10)]
        world.relay.restart()
        said = [run.result(PATIENCE) for run in runs]

    assert [f"\n{number} of at most " in text for number, text in enumerate(said)] == [True] * 10


def test_ctrl_c_ends_the_run_and_the_call_of_a_function(world: World) -> None:
    worker = world.worker()
    (hold,) = functions_from(world.agent, ["hold"])

    with pytest.raises(KeyboardInterrupt):
        interrupted(worker, lambda: swarm.Swarm(ScriptedChat(called("hold"))).run(swarm.Agent(functions=[hold]), ASK), "holding ")

    assert worker.hear() == "cancelled"


@pytest.mark.parametrize("stream", [False, True])
def test_ctrl_c_ends_the_run_and_the_call_of_a_remote_agent(world: World, stream: bool) -> None:
    remote = world.worker("remote", program=REMOTE_SWARM)
    agent = remote_agent(world.agent, "nothing", back_to=swarm.Agent())

    with pytest.raises(KeyboardInterrupt):
        interrupted(remote, lambda: list(LinkedSwarm(ScriptedChat()).run(agent, ASK, stream=stream)), "working")

    assert remote.hear() == "cancelled"


def test_a_stream_that_nobody_reads_on_is_cancelled(world: World) -> None:
    remote = world.worker("remote", program=REMOTE_SWARM)
    stream = LinkedSwarm(ScriptedChat()).run(remote_agent(world.agent, "spoken"), [{"role": "user", "content": "hang"}], stream=True)
    while not (next(stream).get("content") or "").startswith("two"):
        pass
    assert remote.hear() == "hanging"

    stream.close()

    again = remote_agent(world.agent, "spoken", timeout=30)
    assert "three" in LinkedSwarm(ScriptedChat()).run(again, ASK).messages[-1]["content"], "it does one at a time, and has its hands free"


def test_leaving_a_cancel_scope_cancels_a_function_and_ends_a_linked_run(world: World) -> None:
    worker = world.worker()
    chat = ScriptedChat(called("hold"), "never asked for")
    agent = swarm.Agent(functions=functions_from(world.agent, ["hold"]))

    with cancel_scope():
        run = run_in_thread(lambda: LinkedSwarm(chat).run(agent, ASK))
        assert worker.hear() == "holding "

    assert worker.hear() == "cancelled"
    with pytest.raises(CallCancelled):
        run.result(PATIENCE)
    assert len(chat.requests) == 1


@pytest.mark.parametrize("stream", [False, True])
def test_leaving_a_cancel_scope_cancels_a_remote_agent_and_nobody_goes_on(world: World, stream: bool) -> None:
    remote = world.worker("remote", program=REMOTE_SWARM)
    chat = ScriptedChat("never asked for")
    agent = remote_agent(world.agent, "nothing", back_to=swarm.Agent())

    with cancel_scope():
        run = run_in_thread(lambda: list(LinkedSwarm(chat).run(agent, ASK, stream=stream)))
        assert remote.hear() == "working"

    assert remote.hear() == "cancelled"
    with pytest.raises(CallCancelled):
        run.result(PATIENCE)
    assert chat.requests == []


def test_a_call_of_a_remote_agent_has_a_time_limit(world: World) -> None:
    remote = world.worker("remote", program=REMOTE_SWARM)
    chat = ScriptedChat("Too slow.")

    LinkedSwarm(chat).run(remote_agent(world.agent, "nothing", timeout=0.5, back_to=swarm.Agent()), ASK)

    assert results(chat.last)[0].startswith(
        "[a2alinker: failed, code call_timeout, retryable yes]\nThere was no answer from the agent nothing"
    )
    assert [remote.hear(), remote.hear()] == ["working", "cancelled"]


def interrupted(worker: Process, run: Callable[[], Any], line: str) -> Any:
    """Runs on this thread, and presses Ctrl-C when the worker has said a line."""

    def press() -> None:
        assert worker.hear() == line
        os.kill(os.getpid(), signal.SIGINT)

    before = signal.signal(signal.SIGINT, signal.default_int_handler)  # which is ignored in programs that a shell began in the background
    presser = threading.Thread(target=press, daemon=True)
    presser.start()
    try:
        return run()
    finally:
        presser.join(PATIENCE)
        signal.signal(signal.SIGINT, before)
