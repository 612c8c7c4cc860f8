"""The ways to a switchboard as users set them up: proxies, several switchboards, IPv6, and addresses that others can't use."""

import asyncio
import base64
import contextlib
import os
import socket
import sys
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Literal

import pytest

import a2alinker
from a2alinker import ConfigurationError, LinkUp, NotReachable, ProxyRefused, Switchboard, SwitchboardUnreachable
from a2alinker.invite import reachable
from authority import Authority
from swarms import next_message

ANYWHERE = "0.0.0.0"  # this machine by an address that isn't loopback, so that a proxy is used


class Proxy:
    """An HTTP proxy that wants `user` and `p@ss`."""

    def __init__(self) -> None:
        self.asked_for: list[str] = []

    async def __call__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        request = (await reader.readuntil(b"\r\n\r\n")).decode()
        if f"\r\nProxy-Authorization: Basic {base64.b64encode(b'user:p@ss').decode()}\r\n" not in request:
            writer.write(b"HTTP/1.1 407 Proxy Authentication Required\r\n\r\n")
            writer.close()
            return
        self.asked_for.append(request.split()[1])
        there_reader, there_writer = await asyncio.open_connection("127.0.0.1", int(request.split()[1].rpartition(":")[2]))
        writer.write(b"HTTP/1.1 200 OK\r\n\r\n")
        await asyncio.gather(carry(reader, there_writer), carry(there_reader, writer))


async def carry(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    with contextlib.suppress(OSError):
        while data := await reader.read(65_536):
            writer.write(data)
    writer.close()


@contextlib.asynccontextmanager
async def proxied_switchboard() -> AsyncIterator[tuple[Proxy, str, str]]:
    """Gives a proxy, where it is, and the address of a switchboard that it leads to."""
    proxy = Proxy()
    async with await asyncio.start_server(proxy, "127.0.0.1", 0) as server, Switchboard(f"{ANYWHERE}:0") as switchboard:
        yield proxy, f"127.0.0.1:{server.sockets[0].getsockname()[1]}", f"wss://{ANYWHERE}:{switchboard.port}#{switchboard.pin}"


async def test_agents_go_through_the_proxy_of_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    async with proxied_switchboard() as (proxy, at, address):
        monkeypatch.setenv("HTTPS_PROXY", f"http://user:p%40ss@{at}")
        async with a2alinker.host("host", switchboard=address) as host:
            assert proxy.asked_for == [address.removeprefix("wss://").partition("#")[0]]
            monkeypatch.setenv("NO_PROXY", f"other.example,{ANYWHERE}")
            async with a2alinker.join("worker", await host.invite(kind="ticket", local=True)) as worker:
                await worker.wait_for(name="host", timeout=10)
                await worker.send("host", "hello")
                assert (await next_message(host)).body == "hello"
        assert len(proxy.asked_for) == 1, "the worker went past it"


async def test_what_is_wrong_with_a_proxy_is_told_without_its_password(monkeypatch: pytest.MonkeyPatch) -> None:
    async with proxied_switchboard() as (_, at, address):
        monkeypatch.setenv("HTTPS_PROXY", f"http://user:secret@{at}")
        with pytest.raises(ProxyRefused, match="user and password") as refused:
            await a2alinker.host("host", switchboard=address)
        assert refused.value.proxy == f"http://{at}"
        assert "secret" not in str(refused.value)
        monkeypatch.setenv("HTTPS_PROXY", f"socks5://user:secret@{at}")
        with pytest.raises(ConfigurationError, match="HTTPS_PROXY is a SOCKS proxy") as unusable:
            await a2alinker.host("host", switchboard=address)
        assert "secret" not in str(unusable.value)
        with socket.create_server(("127.0.0.1", 0)) as unused:
            nobody = unused.getsockname()[1]
        monkeypatch.setenv("HTTPS_PROXY", f"http://127.0.0.1:{nobody}")
        with pytest.raises(SwitchboardUnreachable) as unreachable:
            await a2alinker.host("host", switchboard=address, timeout=1)
        assert unreachable.value.address == f"http://127.0.0.1:{nobody}"
        # A switchboard on this machine needs no proxy.
        async with a2alinker.host("host") as host:
            assert host.health()["linked"]


async def test_of_several_switchboards_one_that_answers_is_used_and_the_invite_has_all() -> None:
    with socket.create_server(("127.0.0.1", 0)) as unused:
        nobody = f"wss://127.0.0.1:{unused.getsockname()[1]}"
    async with Switchboard() as switchboard, a2alinker.host("host", switchboard=(nobody, switchboard)) as host:
        assert host.switchboard == switchboard.url
        invite = await host.invite(kind="ticket", local=True)
        async with a2alinker.join("worker", invite) as worker:
            assert worker.switchboard == switchboard.url
            async with a2alinker.join("second", await host.invite(kind="ticket", local=True), switchboard=[switchboard.url]) as second:
                assert second.swarm == host.swarm


async def test_several_switchboards_may_stand_in_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    async with Switchboard() as one, Switchboard() as other:
        monkeypatch.setenv("A2ALINKER_SWITCHBOARD", f"{one.url} {other.url}")
        async with a2alinker.host("host") as host:
            assert host.switchboard == one.url
            events = host.events()
            await one.close()
            while not (isinstance(event := await anext(events), LinkUp) and event.switchboard == other.url):
                pass
    with pytest.raises(ConfigurationError, match="9 switchboards"):
        await a2alinker.host("host", switchboard=["wss://relay.example:7447"] * 9)


@pytest.mark.parametrize("kind", ["ticket", "code"])
async def test_an_invite_that_the_first_switchboard_does_not_know_is_looked_for_at_the_next(kind: Literal["ticket", "code"]) -> None:
    async with Switchboard() as elsewhere, a2alinker.host("host") as host:
        invite = await host.invite(kind=kind, local=True)
        async with a2alinker.join("worker", invite, switchboard=[elsewhere, host.switchboard]) as worker:
            assert worker.switchboard == host.switchboard


async def test_ipv6_from_listening_to_the_invite() -> None:
    async with Switchboard("[::1]:0") as switchboard:
        assert switchboard.url.startswith(f"wss://[::1]:{switchboard.port}#")
        async with (
            a2alinker.host("host", switchboard=switchboard) as host,
            a2alinker.join("worker", await host.invite(kind="ticket", local=True)) as worker,
        ):
            assert worker.swarm == host.swarm
    async with a2alinker.host("host", listen="[::]:0", advertise="[2001:db8::7]:443") as host:
        assert host.switchboard.startswith("wss://[2001:db8::7]:443#")
        assert str(await host.invite(kind="ticket"))


@pytest.mark.parametrize(
    "host",
    [
        "localhost",
        "LOCALHOST",
        "box.localhost",
        "127.0.0.1",
        "127.1.2.3",
        "[::1]",
        "[::ffff:127.0.0.1]",
        "0.0.0.0",
        "[::]",
        "169.254.1.2",
        "[fe80::1]",
    ],
)
def test_addresses_that_others_cannot_use_are_no_invites(host: str) -> None:
    address = f"wss://{host}:7447#pin"
    with pytest.raises(NotReachable, match="local=True") as caught:
        reachable([address])
    assert caught.value.address == address
    assert reachable([address, "wss://relay.example:7447"]) == ["wss://relay.example:7447"]


@pytest.mark.parametrize("host", ["relay.example", "10.0.0.1", "[2001:db8::7]", "[fd00::7]", socket.gethostname(), "localhost.example"])
def test_names_and_addresses_of_networks_may_be_of_use_to_others(host: str) -> None:
    assert reachable([f"wss://{host}:7447"]) == [f"wss://{host}:7447"]


async def test_the_authorities_of_ssl_cert_file_are_the_system_s(tmp_path: Path) -> None:
    authority = Authority()
    chain, key = authority.issue(tmp_path, ANYWHERE)
    program = "import sys; from a2alinker import sync; sync.host('host', switchboard=sys.argv[1]).close()"
    async with Switchboard(f"{ANYWHERE}:0", certificate_file=str(chain), private_key_file=str(key)) as switchboard:
        for variables, ending in (({"SSL_CERT_FILE": str(authority.file(tmp_path))}, 0), ({}, 1)):
            arguments = ("-c", program, f"wss://{ANYWHERE}:{switchboard.port}")
            process = await asyncio.create_subprocess_exec(
                sys.executable, *arguments, env={**os.environ, **variables}, stderr=asyncio.subprocess.PIPE
            )
            _, errors = await process.communicate()
            assert (process.returncode, b"UntrustedSwitchboard" in errors) == (ending, ending == 1), errors
