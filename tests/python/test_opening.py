"""Coming into a swarm: addresses, tickets, and what bad ones get."""

import asyncio
import contextlib
import socket
from typing import Any

import pytest

import a2alinker
from a2alinker import (
    ConfigurationError,
    InviteDamaged,
    InviteExpired,
    InviteRevoked,
    InviteUnknown,
    InviteUsed,
    NoEventLoop,
    NotPermitted,
    NotReachable,
    Peer,
    PortInUse,
    ProtocolError,
    Rights,
    Switchboard,
    SwitchboardUnreachable,
    TimedOut,
    UntrustedSwitchboard,
    UsageError,
)
from swarms import pair, until


async def test_host_and_join_can_be_awaited_or_entered() -> None:
    host = await a2alinker.host("host")
    invite = await host.invite(kind="ticket", local=True)
    async with a2alinker.join("worker", invite) as worker:
        assert (await invite.joined()).id == worker.id
        assert worker.swarm == host.swarm
        assert len(worker.id) == len(worker.swarm) == 52
    await host.close()


async def test_the_port_of_a_host_is_free_when_it_has_closed() -> None:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        listen = f"127.0.0.1:{probe.getsockname()[1]}"
    for _ in range(30):
        async with a2alinker.host("host", listen=listen) as host:
            assert host.health()["linked"]


async def test_a_switchboard_is_shared_by_address_or_object(monkeypatch: pytest.MonkeyPatch) -> None:
    async with Switchboard() as switchboard:
        assert switchboard.url.startswith(f"wss://127.0.0.1:{switchboard.port}#")
        assert switchboard.url.endswith(switchboard.pin)
        assert len(switchboard.pin) == 52
        async with a2alinker.host("one", switchboard=switchboard) as one, a2alinker.host("two", switchboard=switchboard.url) as two:
            assert one.switchboard == two.switchboard == switchboard.url
            assert one.swarm != two.swarm
            assert not one.peers, "swarms on one switchboard don't see each other"
            assert switchboard.stats()["links"] == 2
            monkeypatch.setenv("A2ALINKER_SWITCHBOARD", switchboard.url)
            async with a2alinker.host("three") as three:
                assert three.switchboard == switchboard.url


async def test_the_ticket_may_come_from_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    async with a2alinker.host("host") as host:
        monkeypatch.setenv("A2ALINKER_TICKET", str(await host.invite(kind="ticket", local=True)))
        async with a2alinker.join("worker") as worker:
            assert worker.swarm == host.swarm


async def test_without_any_invite_joining_says_what_to_do() -> None:
    with pytest.raises(ConfigurationError, match="A2ALINKER_TICKET"):
        await a2alinker.join("worker")


@pytest.mark.parametrize("invite", ["a2alt_", "a2alt_aaaa", "7-lantern-walrus", "a2alt_" + "a" * 300, "x" * 10_000, "a2alt_\N{SNOWMAN}", 7])
async def test_what_is_no_invite_is_called_damaged(invite: Any) -> None:
    with pytest.raises(InviteDamaged):
        await a2alinker.join("worker", invite)


@pytest.mark.parametrize(
    "invite",
    [
        "hello",
        "lantern-paprika-walrus",
        "\N{FULLWIDTH DIGIT SEVEN}-lantern-paprika-walrus",
        "\N{SUPERSCRIPT TWO}-lantern-paprika-walrus",
        "A2ALT_AAAA",
    ],
)
async def test_what_begins_neither_as_a_code_nor_as_a_ticket_is_called_neither(invite: str) -> None:
    with pytest.raises(InviteDamaged, match=r"neither a code \(7-lantern-paprika-walrus\) nor a ticket \(a2alt_…\)"):
        await a2alinker.join("worker", invite)


async def test_each_changed_character_of_a_ticket_is_noticed() -> None:
    async with a2alinker.host("host") as host:
        text = str(await host.invite(kind="ticket", local=True))
        for at in range(0, len(text), 7):
            changed = text[:at] + ("b" if text[at] != "b" else "c") + text[at + 1 :]
            with pytest.raises(InviteDamaged):
                await a2alinker.join("worker", changed)


async def test_a_used_ticket_admits_nobody_else() -> None:
    async with a2alinker.host("host") as host:
        invite = await host.invite(kind="ticket", uses=1, local=True)
        async with a2alinker.join("first", invite):
            with pytest.raises(InviteUsed):
                await a2alinker.join("second", invite)


async def test_a_ticket_for_any_number_of_uses_admits_several() -> None:
    async with a2alinker.host("host") as host:
        invite = await host.invite(kind="ticket", uses=None, local=True)
        async with a2alinker.join("one", invite) as one, a2alinker.join("two", invite) as two:
            assert {(await invite.joined()).id, (await invite.joined()).id} == {one.id, two.id}
            assert "any number" in repr(invite)


@pytest.mark.parametrize(("kind", "uses"), [("code", 1), ("ticket", 1), ("ticket", 2)])
async def test_who_waits_for_more_than_an_invite_admits_is_told(kind: Any, uses: int) -> None:
    async with a2alinker.host("host") as host, contextlib.AsyncExitStack() as stack:
        invite = await host.invite(kind=kind, uses=uses, local=True)
        joined = [await stack.enter_async_context(a2alinker.join(f"worker-{number}", invite)) for number in range(uses)]
        async with asyncio.timeout(10):
            assert {(await invite.joined()).id for _ in joined} == {worker.id for worker in joined}
            for _ in range(2):
                with pytest.raises(InviteUsed):
                    await invite.joined()


async def test_of_several_that_wait_for_one_newcomer_one_gets_it_and_the_others_are_told() -> None:
    async with a2alinker.host("host") as host:
        invite = await host.invite(kind="ticket", local=True)
        waiting = [asyncio.create_task(invite.joined()) for _ in range(3)]
        async with a2alinker.join("worker", invite) as worker, asyncio.timeout(10):
            results = await asyncio.gather(*waiting, return_exceptions=True)
        assert [result.id for result in results if isinstance(result, Peer)] == [worker.id]
        assert sum(isinstance(result, InviteUsed) for result in results) == 2


async def test_nothing_is_kept_of_an_invite_that_is_over() -> None:
    async with a2alinker.host("host") as host:
        used, revoked, standing = [await host.invite(kind="ticket", local=True) for _ in range(3)]
        expired = await host.invite(ttl=0.1, local=True)
        revoked.revoke()
        async with a2alinker.join("worker", used):
            await used.joined()
        with pytest.raises(InviteExpired):
            await expired.joined()
        assert list(host._invites._standings.values()) == [standing._standing]


async def test_an_expired_ticket_says_so() -> None:
    async with a2alinker.host("host") as host:
        invite = await host.invite(kind="ticket", ttl=0.2, local=True)
        await asyncio.sleep(0.5)
        with pytest.raises(InviteExpired):
            await a2alinker.join("late", invite)


async def test_a_revoked_ticket_admits_nobody() -> None:
    async with a2alinker.host("host") as host:
        invite = await host.invite(kind="ticket", local=True)
        waiting = asyncio.create_task(invite.joined())
        await asyncio.sleep(0)
        invite.revoke()
        invite.revoke()
        with pytest.raises(InviteRevoked):
            await waiting
        with pytest.raises((InviteRevoked, InviteUnknown)):
            await a2alinker.join("late", invite)


async def test_a_ticket_is_unknown_when_its_issuer_is_gone_or_elsewhere() -> None:
    async with Switchboard() as here, Switchboard() as elsewhere:
        host = await a2alinker.host("host", switchboard=here)
        invite = await host.invite(kind="ticket", local=True)
        with pytest.raises(InviteUnknown):
            await a2alinker.join("worker", invite, switchboard=elsewhere)
        await host.close()
        with pytest.raises(InviteUnknown):
            await a2alinker.join("worker", invite)


async def test_an_invite_shows_its_secret_only_as_text() -> None:
    async with a2alinker.host("host") as host:
        invite = await host.invite(kind="ticket", local=True)
        assert str(invite).startswith("a2alt_")
        assert str(invite)[:12] not in repr(invite) + invite._repr_html_() + repr(host) + host._repr_html_()
        assert (invite.uses, invite.ttl) == (1, 600.0)


@pytest.mark.parametrize(
    ("options", "text"),
    [
        ({"kind": "words"}, '"code" or "ticket"'),
        ({"kind": "ticket", "uses": 0}, "uses"),
        ({"kind": "ticket", "ttl": 0}, "ttl"),
        ({"rights": "x"}, r"Rights\("),
        ({"rights": ""}, r"Rights\("),
    ],
)
async def test_a_wrong_invite_is_an_error_that_says_what_is_right(options: dict[str, Any], text: str) -> None:
    async with a2alinker.host("host") as host:
        with pytest.raises(ConfigurationError, match=text):
            await host.invite(local=True, **options)


async def test_an_invite_that_only_this_machine_can_use_must_be_wanted() -> None:
    async with a2alinker.host("host") as host:
        with pytest.raises(NotReachable, match="local=True") as caught:
            await host.invite(kind="ticket")
        assert caught.value.address == host.switchboard
    async with a2alinker.host("host", listen="0.0.0.0:0", advertise="relay.example") as host:
        assert "relay.example" in host.switchboard
        assert str(await host.invite(kind="ticket"))


async def test_rights_travel_in_the_invite_and_show_on_the_peer() -> None:
    async with a2alinker.host("host") as host:
        invite = await host.invite(kind="ticket", rights=Rights(["review"], originate=False), local=True)
        async with a2alinker.join("worker", invite) as worker:
            peer = await host.wait_for(name="worker", timeout=10)
            assert peer.rights == Rights(frozenset({"review"}), admit=False, terminals=False, originate=False)
            await worker.wait_for(name="host", timeout=10)
            with pytest.raises(NotPermitted):
                worker.request("host", "x")
            with pytest.raises(PermissionError):
                await worker.invite(kind="ticket", local=True)
            with pytest.raises(NotPermitted):
                worker.skill(name="other")(lambda: None)


def test_rights_are_read_only_and_checked() -> None:
    assert Rights() == Rights(None, admit=False, terminals=False, originate=True)
    assert Rights(["a", "a"]).skills == {"a"}
    assert hash(Rights(["a"])) == hash(Rights({"a"}))
    with pytest.raises(ConfigurationError):
        Rights("review")


async def test_an_admin_admits_others() -> None:
    async with a2alinker.host("host") as host:
        invite = await host.invite(kind="ticket", rights=Rights(admit=True), local=True)
        async with a2alinker.join("admin", invite) as admin:
            second = await admin.invite(kind="ticket", local=True)
            async with a2alinker.join("worker", second) as worker:
                assert (await second.joined()).id == worker.id
                assert (await host.wait_for(name="worker", timeout=10)).id == worker.id
                await worker.wait_for(name="host", timeout=10)


@pytest.mark.parametrize("name", ["", "a b", "x" * 65, "\N{SNOWMAN}", "a/b", None, 7])
async def test_a_name_with_forbidden_characters_is_refused(name: Any) -> None:
    with pytest.raises(ConfigurationError, match="name"):
        await a2alinker.host(name)
    with pytest.raises(ConfigurationError, match="name"):
        await a2alinker.join(name, "a2alt_x")


@pytest.mark.parametrize(
    "options",
    [
        {"switchboard": "relay.example"},
        {"switchboard": "https://relay.example:7447"},
        {"switchboard": "wss://relay.example:7447#short"},
        {"switchboard": "wss://relay.example:99999"},
        {"listen": "nowhere:port"},
        {"timeout": 0},
        {"peer_gone_after": -1},
        {"outbox_bytes": 10},
        {"outbox_messages": 0},
        {"skills": [int, int]},
        {"skills": lambda: None},
        {"ca_file": "/no/such/file.pem"},
    ],
)
async def test_a_wrong_option_is_a_configuration_error(options: dict[str, Any]) -> None:
    with pytest.raises(ConfigurationError):
        await a2alinker.host("host", **options)


async def test_a_switchboard_where_nobody_answers_is_unreachable() -> None:
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        address = f"wss://127.0.0.1:{unused.getsockname()[1]}"
    with pytest.raises(SwitchboardUnreachable) as caught:
        await a2alinker.host("host", switchboard=address, timeout=0.5)
    assert caught.value.retryable
    assert isinstance(caught.value, ConnectionError)


async def test_something_else_at_the_address_is_a_protocol_error() -> None:
    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nhi")
        writer.close()
        await writer.wait_closed()

    async with await asyncio.start_server(answer, "127.0.0.1", 0) as server:
        port = server.sockets[0].getsockname()[1]
        for scheme in ("ws", "wss"):
            with pytest.raises((ProtocolError, a2alinker.LinkClosed)):
                await a2alinker.host("host", switchboard=f"{scheme}://127.0.0.1:{port}", timeout=1)


async def test_silence_at_the_address_is_a_timeout_or_unreachable() -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent, pytest.raises((TimedOut, SwitchboardUnreachable)):
        await a2alinker.host("host", switchboard=f"ws://127.0.0.1:{silent.getsockname()[1]}", timeout=0.5)


async def test_a_port_in_use_is_an_error_that_names_it() -> None:
    async with Switchboard() as switchboard:
        with pytest.raises(PortInUse) as caught:
            await Switchboard(f"127.0.0.1:{switchboard.port}")
        assert str(switchboard.port) in str(caught.value)


async def test_a_switchboard_has_a_life() -> None:
    switchboard = Switchboard()
    with pytest.raises(UsageError, match="isn't started"):
        _ = switchboard.url
    assert "not started" in repr(switchboard)
    assert await switchboard is switchboard
    assert switchboard.url in repr(switchboard)
    await switchboard.close()
    await switchboard.close()
    assert "closed" in repr(switchboard)
    with pytest.raises(UsageError):
        await switchboard


async def test_joining_can_be_cancelled_and_leaves_nothing() -> None:
    async with Switchboard() as switchboard:
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(0):
                await a2alinker.host("host", switchboard=switchboard)
        await until(lambda: switchboard.stats()["links"] == 0)


def test_without_a_loop_awaiting_is_an_error() -> None:
    opening = a2alinker.host("host")
    with pytest.raises(NoEventLoop):
        opening.__await__().send(None)
    with pytest.raises(RuntimeError):
        Switchboard().__await__().send(None)


async def test_everything_shows_itself_and_escapes_what_others_say() -> None:
    @a2alinker.skill(description="<script>alert(1)</script>")
    async def review(text: str) -> str:
        return text

    async with pair([review]) as (host, worker):
        peer = await host.wait_for(skill="review", timeout=10)
        call = host.call("review", "<b>")
        await call
        receipt = await host.send(worker.name, "<b>x</b>")
        await receipt.delivered()
        message = await anext(aiter(worker))
        things: list[Any] = [host, peer, host.peers, call, receipt, message, review, host.remote("review"), await peer.describe("review")]
        for thing in things:
            assert repr(thing)
            html = thing._repr_html_()
            assert html.startswith("<table>")
            assert "<script>" not in html
            assert "<b>x" not in html


async def test_a_certificate_that_nobody_vouches_for_is_not_trusted() -> None:
    # On loopback any certificate is accepted; this address isn't called loopback, and leads to this machine all the same.
    async with Switchboard("0.0.0.0:0") as switchboard, Switchboard() as another:
        address = f"wss://0.0.0.0:{switchboard.port}"
        for untrusted in (address, f"{address}#{another.pin}"):
            with pytest.raises(UntrustedSwitchboard) as caught:
                await a2alinker.host("host", switchboard=untrusted)
            assert caught.value.pin == switchboard.pin
            assert caught.value.expected == untrusted.partition("#")[2]
            assert switchboard.pin in str(caught.value)
            assert not caught.value.retryable
        async with a2alinker.host("host", switchboard=f"{address}#{switchboard.pin}") as host:
            assert host.health()["linked"]


async def test_a_changed_certificate_is_not_trusted_by_those_who_have_the_ticket() -> None:
    async with (
        Switchboard("0.0.0.0:0") as before,
        Switchboard("0.0.0.0:0") as after,
        a2alinker.host("host", switchboard=f"wss://0.0.0.0:{before.port}#{before.pin}") as host,
    ):
        ticket = str(await host.invite(kind="ticket", local=True))
        restarted = f"wss://0.0.0.0:{after.port}#{before.pin}"
        with pytest.raises(UntrustedSwitchboard):
            await a2alinker.join("worker", ticket, switchboard=restarted)


async def test_an_agent_opens_although_its_first_handshakes_are_cut() -> None:
    cut = 0

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        nonlocal cut
        if cut < 3:
            cut += 1
            await reader.read(1)
            writer.close()
            return
        there_reader, there_writer = await asyncio.open_connection("127.0.0.1", switchboard.port)
        await asyncio.gather(_carry(reader, there_writer), _carry(there_reader, writer))

    async with Switchboard() as switchboard, await asyncio.start_server(serve, "127.0.0.1", 0) as server:
        port = server.sockets[0].getsockname()[1]
        async with a2alinker.host("host", switchboard=f"wss://127.0.0.1:{port}#{switchboard.pin}"):
            assert cut == 3


async def _carry(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    while data := await reader.read(1 << 16):
        writer.write(data)
        await writer.drain()
    writer.close()
