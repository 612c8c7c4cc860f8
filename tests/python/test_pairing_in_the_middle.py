"""Joining by code through somebody who ends TLS with a certificate of his own, between the joiner and a switchboard behind a proxy.

Where the switchboard ends TLS itself, the proof of the link is bound to the connection, and nobody in the middle gets as far as the code.
"""

import asyncio
import contextlib
import ssl
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

import a2alinker
from a2alinker import InviteBurnt, LinkError, Switchboard, UntrustedSwitchboard
from ways import certificate


@contextlib.asynccontextmanager
async def tls_end(own: ssl.SSLContext, port: int, towards: ssl.SSLContext | None = None) -> AsyncIterator[str]:
    """Ends TLS in front of what listens at `port`, and gives its address without a pin."""

    async def pass_on(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        far_reader, far_writer = await asyncio.open_connection("127.0.0.1", port, ssl=towards)
        with contextlib.suppress(OSError):
            await asyncio.gather(copy(reader, far_writer), copy(far_reader, writer))

    async def copy(source: asyncio.StreamReader, sink: asyncio.StreamWriter) -> None:
        try:
            while data := await source.read(65_536):
                sink.write(data)
                await sink.drain()
        finally:
            sink.close()

    server = await asyncio.start_server(pass_on, "127.0.0.1", 0, ssl=own)
    try:
        yield f"wss://127.0.0.1:{server.sockets[0].getsockname()[1]}"
    finally:
        server.close()


async def test_a_certificate_that_the_inviter_does_not_know_admits_nobody(tmp_path: Path) -> None:
    (honest, _), (other, _) = certificate(folder(tmp_path, "honest")), certificate(folder(tmp_path, "other"))
    async with (
        Switchboard("127.0.0.1:0", behind_proxy=True) as relay,
        tls_end(honest, relay.port) as proxy,
        tls_end(other, relay.port) as middle,
        a2alinker.host("planner", switchboard=proxy) as planner,
    ):
        invite = await planner.invite(local=True)
        with pytest.raises(UntrustedSwitchboard):
            await a2alinker.join("coder", str(invite), switchboard=middle)
        with pytest.raises(InviteBurnt):
            await invite.joined()
        assert not planner.peers

        invite = await planner.invite(local=True)
        async with a2alinker.join("coder", str(invite), switchboard=proxy):  # the control: the same way, and no pin either
            assert (await invite.joined()).name == "coder"


async def test_a_proof_that_is_carried_to_another_tls_connection_never_comes_to_the_code(tmp_path: Path) -> None:
    own, _ = certificate(folder(tmp_path, "own"))
    anyone = ssl.create_default_context()
    anyone.check_hostname, anyone.verify_mode = False, ssl.CERT_NONE
    async with (
        Switchboard("127.0.0.1:0") as relay,
        tls_end(own, relay.port, anyone) as middle,
        a2alinker.host("planner", switchboard=relay) as planner,
    ):
        invite = await planner.invite(local=True)
        with pytest.raises(LinkError):
            await a2alinker.join("coder", str(invite), switchboard=middle, timeout=5)
        async with a2alinker.join("coder", str(invite), switchboard=planner.switchboard):  # the guess wasn't spent
            assert (await invite.joined()).name == "coder"


def folder(parent: Path, name: str) -> Path:
    path = parent / name
    path.mkdir()
    return path
