"""Remote skills found and called from loops and threads, and calls that end with what they were made for."""

import asyncio
import contextvars
import subprocess
import sys
import threading
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest

import a2alinker
from a2alinker import CallCancelled, CallRefused, ConfigurationError, Context, FrameworkMissing, TimedOut, sync
from a2alinker.adapters import CancelScope, RemoteSkill, aremote_skills, cancel_scope, remote_skills
from a2alinker.adapters._conversations import chat, turn
from a2alinker.adapters._frameworks import require
from a2alinker.adapters._mail import Mail
from a2alinker.adapters._offers import in_thread
from a2alinker.adapters._reach import Reach
from a2alinker.adapters._skills import Terms, Tool, distinct
from a2alinker.adapters._words import Failure
from a2alinker.context import cause
from frameworks import guard
from swarms import pair, swarm

LIMIT = 20.0


async def review(text: str, strict: bool = True, *, words: list[str] | None = None) -> str:
    """Review a piece of code."""
    return f"{text} {strict} {words}"


async def priority(priority: str = "mine") -> str:
    return priority


async def parts(number: int) -> AsyncIterator[int]:
    for one in range(number):
        yield one


async def urgency(context: Context) -> str:
    return context.message.priority


def holding() -> tuple[Callable[[], Awaitable[None]], asyncio.Event, asyncio.Event]:
    """Returns a skill that works for ever, and the events of its beginning and its end."""
    began, ended = asyncio.Event(), asyncio.Event()

    async def hold() -> None:
        began.set()
        try:
            await asyncio.sleep(600)
        finally:
            ended.set()

    return hold, began, ended


def named(skills: list[RemoteSkill]) -> dict[str, RemoteSkill]:
    return {skill.name: skill for skill in skills}


async def test_a_remote_skill_says_what_it_takes_and_who_offers_it() -> None:
    async with swarm([review], [review]) as (host, *_):
        (skill,) = await aremote_skills(host, ["review"])
    assert (skill.name, skill.description, skill.agent) == ("review", "Review a piece of code.", None)
    assert skill.providers == ("worker-0", "worker-1")
    assert [(one.name, one.required, one.default) for one in skill.parameters] == [
        ("text", True, None),
        ("strict", False, True),
        ("words", False, None),
    ]
    assert [one.name for one in skill.asked] == ["text", "strict", "words", "priority"]
    assert skill.takes == "text (string, required), strict (boolean), words (any)"


async def test_a_skill_is_waited_for_and_missed_in_time() -> None:
    async with pair() as (host, worker):
        waiting = asyncio.create_task(aremote_skills(host, ["review"], timeout=LIMIT))
        await asyncio.sleep(0.1)
        worker.skill(review)
        assert [skill.name for skill in await waiting] == ["review"]
        with pytest.raises(TimedOut, match="'never'"):
            await aremote_skills(host, ["never"], timeout=0.2)
        with pytest.raises(TimedOut, match="'nobody'"):
            await aremote_skills(host, to="nobody", timeout=0.2)
        with pytest.raises(TimedOut, match="'never'"):
            await aremote_skills(host, ["never"], to="worker-0", timeout=0.2)
        with pytest.raises(ConfigurationError, match=r"skills=\['review'\]"):
            await aremote_skills(host, "review")


async def test_without_names_all_that_is_on_offer_is_found_or_all_of_one_agent() -> None:
    async with swarm([review], [parts, urgency]) as (host, *_):
        assert [skill.name for skill in await aremote_skills(host)] == ["parts", "review", "urgency"]
        only = await aremote_skills(host, to="worker-1")
        assert [skill.name for skill in only] == ["parts", "urgency"]
        assert {skill.agent for skill in only} == {host.discover(name="worker-1")[0].id}


async def test_a_tool_sends_what_was_given_and_leaves_defaults_to_the_skill() -> None:
    async with pair([review, priority, urgency]) as (host, _):
        skills = named(await aremote_skills(host))

        async def told(skill: str, **given: Any) -> str | Failure:
            answer = await Tool(host, skills[skill], Terms()).run(given)
            return answer.partition("\n")[2] if isinstance(answer, str) else answer

        assert await told("review", text="x") == "x True None"
        assert await told("review", text="x", strict=None, words=None, priority=None) == "x True None"
        assert await told("review", text="x", strict=False, words=["a"]) == "x False ['a']"
        assert await told("urgency", priority="urgent") == "urgent"
        assert await told("priority", priority="theirs") == "theirs", "a skill's own parameter of that name goes to the skill"
        made_up = await told("review", text="x", wrong=1)
        assert isinstance(made_up, Failure)
        assert made_up.code == "bad_arguments"
        assert "It takes text (string, required)" in made_up.words


async def test_partial_answers_without_a_final_one_are_the_answer() -> None:
    async with pair([parts]) as (host, _):
        (skill,) = await aremote_skills(host)
        answer = await Tool(host, skill, Terms()).run({"number": 3})
        assert isinstance(answer, str)
        assert answer.endswith("\n[0, 1, 2]")


async def test_a_skill_without_a_schema_takes_an_object_of_arguments() -> None:
    async with pair([review]) as (host, _):
        bare = RemoteSkill("review", "", None, None, None, ("worker-0",))
        assert "They don't describe it." in bare.text
        assert [one.name for one in bare.asked] == ["arguments", "priority"]
        answer = await Tool(host, bare, Terms()).run({"arguments": {"text": "x"}})
        assert isinstance(answer, str)
        assert answer.endswith("x True None")
        wrong = await Tool(host, bare, Terms()).run({"arguments": "x"})
        assert isinstance(wrong, Failure)
        assert wrong.code == "bad_arguments"


def test_skills_whose_names_look_alike_have_tools_that_dont() -> None:
    skills = [RemoteSkill(name, "", None, None, None, ()) for name in ("a.b", "a_b", "a-b", "1st")]
    assert [name for name, _ in distinct(skills)] == ["a_b", "a_b_2", "a_b_3", "skill_1st"]


@pytest.mark.parametrize("terms", [{"priority": "now"}, {"timeout": 0.0}, {"ttl": -1.0}])
def test_terms_that_cant_be_are_refused(terms: dict[str, Any]) -> None:
    with pytest.raises(ConfigurationError):
        Terms(**terms)


def test_what_is_no_agent_is_refused() -> None:
    with pytest.raises(ConfigurationError, match="an adapter takes an agent"):
        Reach("planner")  # type: ignore[arg-type]


# -- loops and threads --


async def test_an_agent_is_reached_from_its_loop_from_another_loop_and_from_threads() -> None:
    async with pair([review]) as (host, _):
        (skill,) = await aremote_skills(host)
        tool = Tool(host, skill, Terms())
        here = await tool.run({"text": "x"})
        elsewhere = await asyncio.to_thread(asyncio.run, tool.run({"text": "x"}))
        thread = await asyncio.to_thread(tool.wait, {"text": "x"})
        assert here == elsewhere == thread
        assert await asyncio.to_thread(remote_skills, host.sync) == [skill]


def test_a_coroutine_notices_that_the_loop_of_its_agent_is_gone(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("a2alinker.adapters._reach.LOOK", 0.1)
    ready, over, noticed = threading.Event(), threading.Event(), threading.Event()
    kept: list[a2alinker.Agent] = []

    async def live() -> None:
        agent = await a2alinker.host("host")
        kept.append(agent)
        ready.set()
        await asyncio.to_thread(over.wait, LIMIT)
        agent.abandon()
        asyncio.get_running_loop().stop()

    def home() -> None:
        loop = asyncio.new_event_loop()
        living = loop.create_task(live())
        loop.run_forever()
        noticed.wait(LIMIT)
        assert living.done()
        for task in asyncio.all_tasks(loop):
            task.cancel()
        loop.run_until_complete(asyncio.sleep(0))
        loop.close()

    thread = threading.Thread(target=home)
    thread.start()
    assert ready.wait(LIMIT)

    async def wait_there() -> None:
        async def never(_: a2alinker.Agent) -> None:
            await asyncio.Event().wait()

        await Reach(kept[0]).run(never)

    async def main() -> None:
        waiting = asyncio.create_task(wait_there())
        await asyncio.sleep(0.2)
        over.set()
        with pytest.raises(a2alinker.NoEventLoop):
            await waiting

    asyncio.run(asyncio.wait_for(main(), LIMIT))
    noticed.set()
    thread.join()


async def test_cancelling_a_coroutine_on_another_loop_cancels_the_call() -> None:
    hold, began, ended = holding()
    async with pair([hold]) as (host, _):
        (skill,) = await aremote_skills(host)
        tool = Tool(host, skill, Terms())

        async def brief() -> None:
            with pytest.raises(TimeoutError):
                async with asyncio.timeout(0.5):
                    await tool.run({})

        await asyncio.to_thread(asyncio.run, brief())
        await asyncio.wait_for(began.wait(), LIMIT)
        await asyncio.wait_for(ended.wait(), LIMIT)


# -- scopes --


async def test_a_scope_that_ends_cancels_what_threads_wait_for_in_it() -> None:
    hold, began, ended = holding()
    async with pair([hold]) as (host, _):
        (skill,) = await aremote_skills(host)
        tool = Tool(host, skill, Terms())
        with cancel_scope():
            waiting = asyncio.create_task(asyncio.to_thread(tool.wait, {}))
            await asyncio.wait_for(began.wait(), LIMIT)
        await asyncio.wait_for(ended.wait(), LIMIT)
        told = await waiting
        assert isinstance(told, Failure)
        assert told.code == "call_cancelled"


async def test_a_scope_ends_those_inside_and_not_those_outside() -> None:
    with cancel_scope() as outer:
        with cancel_scope() as inner:
            pass
        assert (inner.ended, outer.ended) == (True, False)
        nested = CancelScope(outer)
    assert nested.ended


async def test_scopes_that_are_over_leave_nothing_in_those_around_them() -> None:
    with cancel_scope() as outer:
        for _ in range(3):
            with cancel_scope():
                pass
            await in_thread(lambda: None)
        assert outer._waits == set()


def test_what_comes_after_the_end_of_its_scope_isnt_begun() -> None:
    with sync.host("host") as host, cancel_scope() as scope:
        scope.end()
        with pytest.raises(CallCancelled):
            Reach(host).wait(lambda agent: asyncio.sleep(0))


async def test_a_run_in_a_thread_that_is_cancelled_holds_its_place_until_it_has_ended() -> None:
    steps: list[str] = []

    def run() -> None:
        from a2alinker.adapters._reach import current_scope  # as a framework's hook would look

        scope = current_scope.get()
        assert scope is not None
        steps.append("began")
        deadline = time.monotonic() + LIMIT
        while not scope.ended and time.monotonic() < deadline:
            time.sleep(0.01)
        steps.append("ended")

    task = asyncio.create_task(in_thread(run))
    while not steps:  # noqa: ASYNC110
        await asyncio.sleep(0.01)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert steps == ["began", "ended"]


async def test_a_run_in_a_thread_gives_what_it_gives_and_raises_what_it_raises() -> None:
    variable: contextvars.ContextVar[int] = contextvars.ContextVar("variable")
    variable.set(5)
    assert await in_thread(variable.get) == 5
    with pytest.raises(ZeroDivisionError):
        await in_thread(lambda: 1 / 0)


# -- mail --


async def test_models_that_answer_each_other_for_ever_are_stopped() -> None:
    async with pair() as (host, worker):
        mails = [Mail(host), Mail(worker)]
        await mails[0].asend({"to": "worker-0", "text": "hello"})
        turn_number: int = 0
        sent: str | Failure = ""
        for turn_number in range(100):
            mine, other = mails[(turn_number + 1) % 2], ("host", "worker-0")[turn_number % 2]
            await mine.aread({"wait": LIMIT})
            sent = await mine.asend({"to": other, "text": "and to you"})
            if isinstance(sent, Failure):
                break
        assert isinstance(sent, Failure)
        assert sent.code == "too_deep"
        assert turn_number == 64


async def test_a_file_for_a_model_is_refused_and_its_sender_told(tmp_path: Path) -> None:
    (tmp_path / "report.txt").write_text("x" * 100)
    async with pair() as (host, worker):
        receipt = await worker.send("host", a2alinker.File(tmp_path / "report.txt"), until="done")
        read = await Mail(host).aread({"wait": LIMIT})
        assert isinstance(read, str)
        assert '"report.txt" of 100 bytes, which was refused' in read
        with pytest.raises(a2alinker.DeliveryError):
            await asyncio.wait_for(receipt.done(), LIMIT)


async def test_what_a_model_reads_and_sends_is_no_cause_of_what_its_program_sends() -> None:
    async with pair() as (host, worker):
        await worker.send("host", "x")
        await Mail(host).aread({"wait": LIMIT})
        assert cause.get() is None
        await Mail(host).asend({"to": "worker-0", "text": "y"})
        assert cause.get() is None


async def test_a_message_without_a_text_form_keeps_no_other_from_the_model() -> None:
    async with pair() as (host, worker):
        for body in ("before", {"data": b"\xff"}, b"\xfe", "after"):
            await (await worker.send("host", body)).delivered()
        read = await Mail(host).aread({"wait": LIMIT})
        assert isinstance(read, str)
        for text in ("before", r"{'data': b'\xff'}", "\ufffd", "after"):
            assert f"\n{text}" in read


async def test_reading_counts_the_messages_as_handled() -> None:
    async with pair() as (host, worker):
        receipt = await worker.send("host", "x", until="done")
        await Mail(host).aread({"wait": LIMIT})
        await asyncio.wait_for(receipt.done(), LIMIT)
        assert await Mail(host).aread({}) == "[a2alinker: no messages.]"


# -- conversations --


def test_histories_of_each_form_become_chat() -> None:
    assert chat("hello") == [{"role": "user", "content": "hello"}]
    assert chat(
        [
            {"role": "system", "content": "obey"},
            {"role": "user", "content": [{"type": "input_text", "text": "a"}, {"type": "image_url"}]},
            {"role": "assistant", "content": [{"type": "output_text", "text": "b"}]},
            {"type": "reasoning", "summary": []},
            {"type": "function_call", "name": "f", "arguments": "{}"},
            {"type": "function_call_output", "output": "5"},
            {"role": "assistant", "content": None},
        ]
    ) == [
        {"role": "user", "content": "obey"},
        {"role": "user", "content": "a\n(image_url left out)"},
        {"role": "assistant", "content": "b"},
        {"role": "assistant", "content": "(I called f with {})"},
        {"role": "user", "content": "(The call gave: 5)"},
    ]


@pytest.mark.parametrize("messages", [[], [5], [{}], [{"role": "user", "content": 5}], [{"role": "assistant", "content": None}]])
def test_what_is_no_history_is_refused(messages: Any) -> None:
    with pytest.raises(CallRefused):
        chat(messages)


def test_a_text_is_answered_by_a_text_and_a_history_by_a_turn() -> None:
    assert turn("x", ["a", "b"]) == "b"
    assert turn([{"role": "user", "content": "x"}], ["a", "b"], {"k": 1}) == {
        "text": "b",
        "messages": [{"role": "assistant", "content": "a"}, {"role": "assistant", "content": "b"}],
        "context": {"k": 1},
    }


# -- frameworks --


def test_importing_a2alinker_or_what_adapters_share_pulls_in_no_framework() -> None:
    program = """
import sys
import a2alinker, a2alinker.sync, a2alinker.adapters
frameworks = {"crewai", "swarm", "agents", "openai", "pydantic", "IPython", "ipykernel", "tqdm"} & {name.partition(".")[0] for name in sys.modules}
assert not frameworks, frameworks
"""
    subprocess.run([sys.executable, "-c", program], check=True)


@pytest.mark.parametrize("adapter", ["crewai", "swarm", "agents", "jupyter"])
def test_an_adapter_without_its_framework_names_the_extra(adapter: str) -> None:
    program = f"""
import a2alinker
try:
    import a2alinker.adapters.{adapter} as adapter
    adapter.live(None)
except a2alinker.FrameworkMissing as missing:
    print(missing.extra, missing)
"""
    run = subprocess.run([sys.executable, "-c", program], check=True, capture_output=True, text=True)
    assert run.stdout.startswith(f"{adapter} ")
    assert f"pip install 'a2alinker[{adapter}]'" in run.stdout


def test_a_framework_that_is_too_old_or_another_one_of_that_name_is_told_apart() -> None:
    assert require("pytest", "pytest", extra="x", at_least="8.0") == pytest.__version__
    with pytest.raises(FrameworkMissing, match=r"pytest .* is installed, and 999 or later is needed: pip install 'a2alinker\[x\]'. Beware"):
        require("pytest", "pytest", extra="x", at_least="999", trap="Beware")
    with pytest.raises(FrameworkMissing, match="belongs to pytest and not to no-such-thing"):
        require("pytest", "no-such-thing", extra="x")


# -- the network guard of tests/adapters --


@pytest.mark.parametrize(
    ("host", "here"),
    [
        ("127.0.0.1", True),
        ("::1", True),
        ("localhost", True),
        ("127.8.0.1", True),
        ("10.0.0.1", False),
        ("example.com", False),
        ("0.0.0.0", False),
    ],
)
def test_the_guard_knows_what_is_on_this_machine(host: str, here: bool) -> None:
    assert guard.is_here(host) is here


@pytest.mark.parametrize("deadly", [False, True])
@pytest.mark.parametrize("attempt", ["socket.create_connection(('192.0.2.1', 9), 1)", "socket.getaddrinfo('example.com', 80)"])
def test_the_guard_stops_what_would_leave_this_machine(attempt: str, deadly: bool) -> None:
    program = f"""
import socket
from frameworks import guard
guard.install(deadly={deadly})
try:
    {attempt}
except PermissionError as problem:
    print("stopped", problem, guard.tried)
"""
    folder = Path(guard.__file__).parents[1]
    run = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=False, env={"PYTHONPATH": str(folder)})
    if deadly:
        assert (run.returncode, run.stdout) == (99, "")
    else:
        assert run.stdout.startswith("stopped network guard: socket.")
