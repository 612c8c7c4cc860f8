"""Agents that keep their identity in a file: restarts of real processes, and every way in which a file can't be used."""

import asyncio
import contextlib
import os
import shutil
import stat
import subprocess
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

import a2alinker
from a2alinker import ConfigurationError, IdentityFileError, InviteUsed, LinkReplaced, opening
from a2alinker._processes import python, switchboard
from swarms import until

MEMBER = """
import asyncio, os, sys
import a2alinker

@a2alinker.skill
def pid() -> int:
    return os.getpid()

async def main():
    async with a2alinker.join("member", identity=sys.argv[1], skills=[pid]) as agent:
        print(agent.id, flush=True)
        try:
            await agent.serve_forever()
        except a2alinker.LinkReplaced:
            print("replaced", flush=True)
            await asyncio.get_running_loop().run_in_executor(None, sys.stdin.read)

asyncio.run(main())
"""

HOST = """
import asyncio, sys
import a2alinker

async def main():
    async with a2alinker.host("host", identity=sys.argv[1], switchboard=sys.argv[2]) as agent:
        print(agent.swarm, flush=True)
        for _ in range(2):
            print(await agent.invite(kind="ticket", local=True), flush=True)
        await agent.serve_forever()

asyncio.run(main())
"""


@contextlib.asynccontextmanager
async def member(path: Path, ticket: str = "") -> AsyncIterator[tuple[asyncio.subprocess.Process, str]]:
    """Runs a member in a process of its own, and gives its id."""
    async with python("-c", MEMBER, str(path), environment={"A2ALINKER_TICKET": ticket}) as process:
        yield process, await line(process)
        await killed(process)


async def line(process: asyncio.subprocess.Process) -> str:
    assert process.stdout is not None
    return (await process.stdout.readline()).decode().strip()


async def killed(process: asyncio.subprocess.Process) -> None:
    with contextlib.suppress(ProcessLookupError):
        process.kill()
    await process.wait()


async def test_a_member_that_was_killed_is_back_without_an_invite(tmp_path: Path) -> None:
    path = tmp_path / "member"
    async with switchboard() as (address, _), a2alinker.host("host", switchboard=address) as host:
        invite = await host.invite(kind="ticket", local=True)
        async with member(path, str(invite)) as (process, first):
            await host.wait_for(name="member", timeout=20)
            assert await host.call("pid") == process.pid
            assert stat.S_IMODE(path.stat().st_mode) == 0o600
            await killed(process)
        async with member(path) as (process, again):
            assert again == first
            async with asyncio.timeout(20):
                assert await host.call("pid") == process.pid
        # The command line of the first start is good for every start: the ticket has been used, and isn't looked at.
        async with member(path, str(invite)) as (process, again):
            assert again == first
        assert len(host.peers) == 1


async def test_a_host_that_was_killed_goes_on_with_its_swarm(tmp_path: Path) -> None:
    async with switchboard() as (address, _), contextlib.AsyncExitStack() as stack:
        first = await stack.enter_async_context(python("-c", HOST, str(tmp_path / "host"), address))
        swarm = await line(first)
        agent = await stack.enter_async_context(a2alinker.join("one", await line(first)))
        other = await stack.enter_async_context(a2alinker.join("two", await line(first), skills=[shout]))
        await agent.wait_for(name="two", timeout=20)
        await killed(first)
        assert await agent.call("shout", "a") == "A", "the members go on without it"

        second = await stack.enter_async_context(python("-c", HOST, str(tmp_path / "host"), address))
        assert await line(second) == swarm == agent.swarm
        async with a2alinker.join("three", await line(second)) as newcomer:
            await newcomer.wait_for(name="two", timeout=20)
            assert await newcomer.call("shout", "b") == "B"
            await until(lambda: len(agent.peers) == 3, limit=20)
        await killed(second)
        await other.close()


async def test_of_two_processes_with_one_file_the_newer_has_the_link(tmp_path: Path) -> None:
    path = tmp_path / "member"
    async with switchboard() as (address, _), a2alinker.host("host", switchboard=address) as host:
        invite = await host.invite(kind="ticket", local=True)
        async with member(path, str(invite)) as (older, _):
            await host.wait_for(name="member", timeout=20)
            async with member(path) as (newer, _):
                async with asyncio.timeout(20):
                    assert await line(older) == "replaced"
                for _ in range(3):
                    async with asyncio.timeout(20):
                        assert await host.call("pid") == newer.pid
                assert older.returncode is None, "it stays, and stays away"


async def test_the_address_of_the_first_start_is_good_for_every_start(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    given: list[list[str]] = []
    join = a2alinker._core.Agent.join

    def spy(name: str, *, switchboards: list[str], **options: Any) -> a2alinker._core.Agent:
        given.append(switchboards)
        return join(name, switchboards=switchboards, **options)

    async with a2alinker.host("host") as host:
        invite, path = await host.invite(kind="ticket", local=True), tmp_path / "member"
        pinned = host.switchboard
        async with a2alinker.join("member", invite, identity=path):
            pass
        monkeypatch.setattr(opening, "_core", SimpleNamespace(**{**vars(a2alinker._core), "Agent": SimpleNamespace(join=spy)}))
        for address in (pinned.partition("#")[0], None, "wss://127.0.0.1:1"):
            with contextlib.suppress(a2alinker.LinkError):
                async with a2alinker.join(
                    "member", identity=path, switchboard=address, timeout=5 if address != "wss://127.0.0.1:1" else 0.2
                ):
                    pass
    assert given == [[pinned], [pinned], ["wss://127.0.0.1:1"]]


async def test_who_joined_by_code_comes_back_with_the_same_arguments(tmp_path: Path) -> None:
    async with switchboard() as (address, _), a2alinker.host("host", switchboard=address) as host:
        arguments: dict[str, Any] = {"identity": tmp_path / "member", "switchboard": address.partition("#")[0]}
        code = str(await host.invite(local=True))
        async with a2alinker.join("member", code, **arguments) as agent:
            first = agent.id
            assert agent.switchboard == address
        async with a2alinker.join("member", code, **arguments) as agent:
            assert agent.id == first
            await agent.wait_for(name="host", timeout=20)
            await (await host.send("member", "hello")).delivered()
        assert len(host.peers) == 1


async def test_an_agent_says_whether_its_identity_ends_with_it(tmp_path: Path) -> None:
    path = tmp_path / "host"
    async with a2alinker.host("host", identity=path) as host:
        invite = await host.invite(kind="ticket", local=True)
        assert host.health()["ephemeral"] is False
        assert host.health()["save_error"] is None
        async with a2alinker.join("passing", invite) as passing:
            assert passing.health()["ephemeral"] is True


async def test_an_embedded_switchboard_keeps_its_pin(tmp_path: Path) -> None:
    path = tmp_path / "host"
    async with a2alinker.host("host", identity=path) as host:
        first, identity = host.switchboard, host.id
    async with a2alinker.host("host", identity=path) as host:
        assert host.switchboard.partition("#")[2] == first.partition("#")[2] != ""
        assert host.id == identity
    assert stat.S_IMODE((tmp_path / "host.key").stat().st_mode) == 0o600


async def test_a_failed_save_is_told_and_the_agent_goes_on(tmp_path: Path) -> None:
    folder = tmp_path / "folder"
    folder.mkdir()
    async with a2alinker.host("host", identity=folder / "host") as host:
        events = host.events()
        shutil.rmtree(folder)
        invite = await host.invite(kind="ticket", uses=None, local=True)
        while not isinstance(event := await anext(events), a2alinker.NotSaved):
            pass
        assert isinstance(event.error, IdentityFileError)
        assert event.error.path == str(folder / "host")
        assert "folder" in host.health()["save_error"]
        async with a2alinker.join("member", invite) as agent:
            await agent.wait_for(name="host", timeout=20)


# -- files that can't be used --


async def test_another_name_than_the_files_is_refused_with_both(tmp_path: Path) -> None:
    path = await made(tmp_path)
    with pytest.raises(IdentityFileError, match=r'"host".*"other"') as caught:
        await a2alinker.host("other", identity=path)
    assert isinstance(caught.value, ConfigurationError)
    assert caught.value.path == str(path)


async def test_a_hosts_file_is_for_host_and_a_members_for_join(tmp_path: Path) -> None:
    hosts = await made(tmp_path)
    with pytest.raises(IdentityFileError, match=r"host\(\)"):
        await a2alinker.join("host", identity=hosts)
    members = tmp_path / "member"
    with pytest.raises(IdentityFileError, match="needs an invite"):
        await a2alinker.join("member", identity=members)
    with pytest.raises(IdentityFileError, match=r"join\(\)"):
        await a2alinker.host("member", identity=members)


async def test_an_invite_to_another_swarm_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "member"
    async with a2alinker.host("one") as one, a2alinker.host("two") as two:
        async with a2alinker.join("member", await one.invite(kind="ticket", local=True), identity=path):
            pass
        with pytest.raises(IdentityFileError, match=f"{one.swarm}.*{two.swarm}"):
            await a2alinker.join("member", await two.invite(kind="ticket", local=True), identity=path)


@pytest.mark.parametrize("mode", [0o644, 0o640, 0o602])
async def test_a_file_that_others_may_read_is_refused(tmp_path: Path, mode: int) -> None:
    path = await made(tmp_path)
    path.chmod(mode)
    with pytest.raises(IdentityFileError, match="chmod 600"):
        await a2alinker.host("host", identity=path)
    path.chmod(0o600)
    async with a2alinker.host("host", identity=path):
        pass


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can give a file to another user")
async def test_a_file_of_another_user_is_refused(tmp_path: Path) -> None:
    path = await made(tmp_path)
    os.chown(path, 12345, -1)
    with pytest.raises(IdentityFileError, match=r"another user.*12345"):
        await a2alinker.host("host", identity=path)


@pytest.mark.parametrize("keep", [0, 20, 300])
async def test_a_file_that_is_cut_is_damaged(tmp_path: Path, keep: int) -> None:
    path = await made(tmp_path)
    path.write_bytes(path.read_bytes()[:keep])
    with pytest.raises(IdentityFileError, match=r"damaged|not an agent file"):
        await a2alinker.host("host", identity=path)


async def test_a_file_that_was_changed_is_damaged_and_left_as_it_is(tmp_path: Path) -> None:
    path = await made(tmp_path)
    text = path.read_text()
    changed = text[:300] + ("A" if text[300] != "A" else "B") + text[301:]
    path.write_text(changed)
    with pytest.raises(IdentityFileError, match="damaged"):
        await a2alinker.host("host", identity=path)
    assert path.read_text() == changed


async def test_a_file_of_a_later_version_says_so(tmp_path: Path) -> None:
    path = await made(tmp_path)
    path.write_text(path.read_text().replace("version 1", "version 2", 1))
    with pytest.raises(IdentityFileError, match=r"version 2.*upgrade"):
        await a2alinker.host("host", identity=path)


async def test_a_folder_a_link_and_a_place_that_is_not_there_are_refused(tmp_path: Path) -> None:
    path = await made(tmp_path)
    (tmp_path / "link").symlink_to(path)
    for name, says in (("", "a folder"), ("link", "symbolic link"), ("missing/host", "folder .* doesn't exist")):
        with pytest.raises(IdentityFileError, match=says):
            await a2alinker.host("host", identity=tmp_path / name)


async def test_no_invite_is_used_up_where_nothing_can_be_written(tmp_path: Path) -> None:
    path = tmp_path / "member"
    async with a2alinker.host("host") as host:
        invite = await host.invite(kind="ticket", local=True)
        with unwritable(tmp_path), pytest.raises(IdentityFileError, match="can't be written"):
            await a2alinker.join("member", invite, identity=path)
        async with a2alinker.join("member", invite, identity=path):
            pass
        with unwritable(tmp_path), pytest.raises(IdentityFileError, match="can't be written"):
            await a2alinker.join("member", identity=path)
        path.chmod(0o400)
        with pytest.raises(IdentityFileError, match="read-only"):
            await a2alinker.join("member", identity=path)
        with pytest.raises(InviteUsed):
            await a2alinker.join("other", invite)


async def test_two_agents_of_one_file_in_one_process_replace_each_other(tmp_path: Path) -> None:
    path = tmp_path / "member"
    async with a2alinker.host("host") as host:
        older = await a2alinker.join("member", await host.invite(kind="ticket", local=True), identity=path)
        async with a2alinker.join("member", identity=path):
            with pytest.raises(LinkReplaced):
                await older.serve_forever()


async def made(folder: Path) -> Path:
    """Returns the file of a host that has been there."""
    path = folder / "host"
    async with a2alinker.host("host", identity=path):
        pass
    return path


@contextlib.contextmanager
def unwritable(folder: Path) -> Iterator[None]:
    """Nothing can be written into this folder; to root, who may write anywhere, it is mounted read-only."""
    if os.geteuid() != 0:
        folder.chmod(0o500)
        try:
            yield
        finally:
            folder.chmod(0o700)
        return
    mounted = subprocess.run(["mount", "--bind", folder, folder], check=False, capture_output=True)
    if mounted.returncode != 0:
        pytest.skip("no folder can be mounted read-only here")
    try:
        subprocess.run(["mount", "-o", "remount,bind,ro", folder], check=True)
        yield
    finally:
        subprocess.run(["umount", folder], check=True)


@a2alinker.skill
def shout(text: str) -> str:
    """Say it loudly."""
    return text.upper()
