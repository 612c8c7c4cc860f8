"""Behind nginx, which ends TLS: set up as docs/switchboard.md says, with a certificate of a private authority."""

import asyncio
import contextlib
import os
import re
import shutil
import signal
import socket
import ssl
import time
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

import a2alinker
from a2alinker import LinkDown, Switchboard, UntrustedSwitchboard
from authority import Authority
from swarms import next_message, until

DOCUMENT = Path(__file__).parents[2] / "docs" / "switchboard.md"
READ_TIMEOUT = 22  # seconds after which nginx cuts what is idle; more than the 20 s between pings, and less than its default
HOST = "0.0.0.0"  # this machine by an address that isn't loopback, where certificates are judged

FRAME = """\
daemon off;
pid {folder}/nginx.pid;
error_log {folder}/error.log;
worker_processes 1;
events {{ worker_connections 256; }}
http {{
    access_log off;
    client_body_temp_path {folder}/body;
    proxy_temp_path {folder}/proxy;
    fastcgi_temp_path {folder}/fastcgi;
    uwsgi_temp_path {folder}/uwsgi;
    scgi_temp_path {folder}/scgi;
{server}
}}
"""


class Nginx:
    """nginx in front of a switchboard."""

    def __init__(self, folder: Path, port: int, process: asyncio.subprocess.Process) -> None:
        self.address = f"wss://{HOST}:{port}"
        self._folder = folder
        self._process = process

    def reload(self) -> None:
        """Has it read its configuration anew."""
        self._process.send_signal(signal.SIGHUP)

    def log(self) -> str:
        """What it complained about."""
        return (self._folder / "error.log").read_text(encoding="utf-8")


def documented_server() -> str:
    blocks: list[str] = re.findall(r"^```nginx\n(.*?)^```", DOCUMENT.read_text(encoding="utf-8"), re.MULTILINE | re.DOTALL)
    (block,) = blocks
    return block


def configuration(folder: Path, authority: Authority, port: int, switchboard_port: int) -> str:
    chain, key = authority.issue(folder, HOST)
    server = documented_server()
    for documented, here in {
        "listen 443 ssl;": f"listen {HOST}:{port} ssl;",
        "server_name relay.example;": "",
        "/etc/ssl/relay.example.pem": str(chain),
        "/etc/ssl/private/relay.example.key": str(key),
        "127.0.0.1:7447": f"127.0.0.1:{switchboard_port}",
    }.items():
        assert documented in server
        server = server.replace(documented, here)
    return FRAME.format(folder=folder, server=server.replace("location / {", f"location / {{\n proxy_read_timeout {READ_TIMEOUT}s;"))


@contextlib.asynccontextmanager
async def nginx(folder: Path, authority: Authority, port: int, switchboard_port: int) -> AsyncIterator[Nginx]:
    program = shutil.which("nginx", path=f"{os.environ['PATH']}:/usr/sbin")
    assert program, "nginx is missing: apt-get install nginx-light"
    (folder / "nginx.conf").write_text(configuration(folder, authority, port, switchboard_port), encoding="utf-8")
    process = await asyncio.create_subprocess_exec(program, "-e", f"{folder}/error.log", "-p", str(folder), "-c", f"{folder}/nginx.conf")
    try:
        await until(lambda: process.returncode is not None or accepts(port))
        assert process.returncode is None, (folder / "error.log").read_text(encoding="utf-8")
        yield Nginx(folder, port, process)
    finally:
        if process.returncode is None:
            process.terminate()
        await process.wait()


@contextlib.asynccontextmanager
async def behind_nginx(folder: Path) -> AsyncIterator[tuple[Nginx, str]]:
    """Gives an nginx in front of a switchboard, and the file of the authority that vouches for it."""
    authority, port = Authority(), free_port()
    async with (
        Switchboard(behind_proxy=True, advertise=f"{HOST}:{port}") as switchboard,
        nginx(folder, authority, port, switchboard.port) as proxy,
    ):
        assert switchboard.url == proxy.address
        yield proxy, str(authority.file(folder))


async def test_agents_link_call_and_send_large_bodies_through_nginx_and_across_its_reload(tmp_path: Path) -> None:
    async def double(text: str) -> str:
        return text * 2

    async with behind_nginx(tmp_path) as (proxy, ca_file):
        with pytest.raises(UntrustedSwitchboard, match="UnknownIssuer"):
            await a2alinker.host("host", switchboard=proxy.address)
        async with (
            a2alinker.host("host", switchboard=proxy.address, ca_file=ca_file) as host,
            a2alinker.join("worker", await host.invite(kind="ticket", local=True), ca_file=ca_file, skills=[double]) as worker,
        ):
            await host.wait_for(skill="double", timeout=10)
            assert await host.call("double", "ab", timeout=10) == "abab"
            for size in (60_000, 1_000_000):
                await host.send("worker", os.urandom(size))
                assert len((await next_message(worker)).body) == size

            events = host.events()
            proxy.reload()
            invite = await host.invite(kind="ticket", local=True)
            async with a2alinker.join("late", invite, ca_file=ca_file) as late:
                await late.wait_for(skill="double", timeout=10)
                assert await late.call("double", "c", timeout=10) == "cc"
            assert await host.call("double", "d", timeout=10) == "dd"
            assert not [event async for event in drained(events) if isinstance(event, LinkDown)]


async def test_who_joins_by_code_needs_no_authority_for_the_certificate_of_nginx(tmp_path: Path) -> None:
    async with (
        behind_nginx(tmp_path) as (proxy, ca_file),
        a2alinker.host("host", switchboard=proxy.address, ca_file=ca_file) as host,
        a2alinker.join("worker", await host.invite(local=True), switchboard=proxy.address) as worker,
    ):
        assert worker.switchboard.startswith(f"{proxy.address}#"), "from the code on it believes the pin that both have seen"
        await worker.wait_for(name="host", timeout=10)
        await worker.send("host", "hello")
        assert (await next_message(host)).body == "hello"


async def test_an_idle_link_outlives_the_timeout_of_nginx(tmp_path: Path) -> None:
    async with behind_nginx(tmp_path) as (proxy, ca_file):
        async with (
            a2alinker.host("host", switchboard=proxy.address, ca_file=ca_file) as host,
            a2alinker.join("worker", await host.invite(kind="ticket", local=True), ca_file=ca_file) as worker,
        ):
            events = worker.events()
            await host.wait_for(name="worker", timeout=10)
            (other := tmp_path / "other").mkdir()
            assert await cut_after(other) < READ_TIMEOUT + 5, "where nobody pings, nginx cuts"
            await asyncio.sleep(2)
            await host.send("worker", "still here")
            assert (await next_message(worker)).body == "still here"
            assert not [event async for event in drained(events) if isinstance(event, LinkDown)]
        assert "timed out" not in proxy.log()


async def cut_after(folder: Path) -> float:
    """Returns how long nginx leaves a WebSocket open on which nobody speaks."""

    async def upgrade(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\r\n")
        await reader.read()
        writer.close()

    authority, port = Authority(), free_port()
    async with (
        await asyncio.start_server(upgrade, "127.0.0.1", 0) as server,
        nginx(folder, authority, port, server.sockets[0].getsockname()[1]),
    ):
        trust = ssl.create_default_context(cafile=str(authority.file(folder)))
        reader, writer = await asyncio.open_connection("127.0.0.1", port, ssl=trust, server_hostname=HOST)
        writer.write(b"GET / HTTP/1.1\r\nHost: x\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\r\n")
        assert b"101" in await reader.readuntil(b"\r\n\r\n")
        begun = time.monotonic()
        await reader.read()
        writer.close()
        return time.monotonic() - begun


async def drained(events: a2alinker.events.EventStream) -> AsyncIterator[object]:
    """Gives the events that are there."""
    with contextlib.suppress(TimeoutError):
        while True:
            async with asyncio.timeout(0.05):
                yield await anext(events)


def free_port() -> int:
    with socket.create_server((HOST, 0)) as free:
        port: int = free.getsockname()[1]
        return port


def accepts(port: int) -> bool:
    with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port), 1):
        return True
    return False
