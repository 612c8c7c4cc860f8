"""Joining by code, through real switchboards over TLS."""

import asyncio
import re
import socket
from typing import Any

import pytest

import a2alinker
from a2alinker import (
    ConfigurationError,
    InviteBurnt,
    InviteDamaged,
    InviteExpired,
    InviteRevoked,
    InviteUnknown,
    InviteUsed,
    InviteWrong,
    Switchboard,
    UntrustedSwitchboard,
    sync,
)
from swarms import until

CODE = re.compile(r"[1-9]\d*-[a-z]+-[a-z-]+-[a-z]+")


def wrong(code: str) -> str:
    return f"{code.partition('-')[0]}-acid-acid-acid"


def bare(address: str) -> str:
    return address.partition("#")[0]


async def test_a_code_links_two_agents_that_were_told_nothing_else() -> None:
    async with a2alinker.host("planner") as planner:
        invite = await planner.invite(local=True)
        assert CODE.fullmatch(str(invite)), str(invite)
        address = bare(planner.switchboard)
        async with a2alinker.join("coder", str(invite), switchboard=address, skills=[review]) as coder:
            peer = await invite.joined()
            assert (peer.name, peer.id) == ("coder", coder.id)
            await planner.wait_for(name="coder")
            assert await planner.call("review", "def f(): pass") == "needs a docstring"


def review(text: str) -> str:
    """Review a piece of code."""
    return "needs a docstring"


async def test_codes_are_read_as_people_write_them() -> None:
    async with a2alinker.host("planner") as planner:
        for write in (str.upper, lambda code: f"  {code.replace('-', ' ')}\n", lambda code: code.replace("-", " - ", 1)):
            invite = await planner.invite(local=True)
            async with a2alinker.join("coder", write(str(invite)), switchboard=planner.switchboard):
                await invite.joined()


async def test_an_invite_object_knows_its_switchboard(monkeypatch: pytest.MonkeyPatch) -> None:
    async with a2alinker.host("planner") as planner:
        invite = await planner.invite(local=True)
        assert invite.switchboard == planner.switchboard
        async with a2alinker.join("coder", invite):
            await invite.joined()
        invite = await planner.invite(local=True)
        monkeypatch.setenv("A2ALINKER_SWITCHBOARD", planner.switchboard)
        monkeypatch.setenv("A2ALINKER_TICKET", str(invite))
        async with a2alinker.join("coder"):
            await invite.joined()


async def test_wrong_words_burn_the_code_and_both_sides_are_told() -> None:
    async with a2alinker.host("planner") as planner:
        invite = await planner.invite(local=True)
        with pytest.raises(InviteWrong, match="words of the code are wrong") as caught:
            await a2alinker.join("guesser", wrong(str(invite)), switchboard=planner.switchboard)
        assert (caught.value.code, caught.value.retryable) == ("invite_wrong", False)
        with pytest.raises(InviteBurnt, match="wrong words"):
            await invite.joined()
        with pytest.raises(InviteUsed, match="somebody tried wrong words"):
            await a2alinker.join("coder", invite)
        assert not planner.peers


async def test_a_word_that_is_none_is_answered_with_the_nearest_and_costs_nothing() -> None:
    async with a2alinker.host("planner") as planner:
        invite = await planner.invite(local=True)
        number, _, words = str(invite).partition("-")
        for text, expected in (
            (f"{number}-lanturn-acid-acid", 'did you mean "lantern"'),
            (f"{number}-qqqqq-acid-acid", 'no word "qqqqq"$'),
            (f"{number}-acid", "number and 3 words"),
        ):
            with pytest.raises(InviteDamaged, match=expected):
                await a2alinker.join("coder", text, switchboard=planner.switchboard)
        async with a2alinker.join("coder", f"{number} {words}", switchboard=planner.switchboard):
            await invite.joined()


async def test_a_code_is_used_once() -> None:
    async with a2alinker.host("planner") as planner:
        invite = await planner.invite(local=True)
        async with a2alinker.join("coder", invite):
            with pytest.raises(InviteUsed):
                await a2alinker.join("late", invite)


async def test_an_expired_code_and_a_revoked_one_say_what_they_are() -> None:
    async with a2alinker.host("planner") as planner:
        short = await planner.invite(ttl=0.2, local=True)
        revoked = await planner.invite(local=True)
        waiting = asyncio.create_task(revoked.joined())
        await asyncio.sleep(0)
        revoked.revoke()
        with pytest.raises(InviteRevoked):
            await waiting
        with pytest.raises(InviteExpired):
            await short.joined()
        for invite in (short, revoked):
            with pytest.raises(InviteUnknown, match="expired or was revoked"):
                await a2alinker.join("late", invite)


async def test_a_code_needs_the_address_of_a_switchboard() -> None:
    with pytest.raises(ConfigurationError, match="A2ALINKER_SWITCHBOARD"):
        await a2alinker.join("coder", "7-lantern-paprika-walrus")


async def test_a_code_is_unknown_at_another_switchboard() -> None:
    async with Switchboard() as elsewhere, a2alinker.host("planner") as planner:
        invite = await planner.invite(local=True)
        with pytest.raises(InviteUnknown):
            await a2alinker.join("coder", invite, switchboard=elsewhere)


@pytest.mark.parametrize(
    ("options", "text"),
    [
        ({"uses": 2}, 'kind="ticket"'),
        ({"uses": None}, "one agent"),
        ({"ttl": 601}, "600 s"),
        ({"ttl": 0}, "ttl"),
        ({"kind": "word"}, "kind"),
    ],
)
async def test_terms_that_a_code_cannot_have_are_refused(options: dict[str, Any], text: str) -> None:
    async with a2alinker.host("planner") as planner:
        with pytest.raises(ConfigurationError, match=text):
            await planner.invite(local=True, **options)


async def test_a_code_shows_its_words_only_as_text() -> None:
    async with a2alinker.host("planner") as planner:
        invite = await planner.invite(local=True)
        words = str(invite).partition("-")[2]
        shown = repr(invite) + invite._repr_html_() + repr(planner)
        assert words not in shown
        assert repr(invite) == "<Invite code, 1 use, 600 s>"
        assert (invite.kind, invite.uses, invite.ttl) == ("code", 1, 600.0)


async def test_more_codes_than_there_are_slots_is_an_error_and_revoking_makes_room() -> None:
    async with a2alinker.host("planner") as planner:
        invites = [await planner.invite(local=True) for _ in range(16)]
        assert len({str(invite).partition("-")[0] for invite in invites}) == 16
        with pytest.raises(ConfigurationError, match="16 codes"):
            await planner.invite(local=True)
        invites[3].revoke()
        await planner.invite(local=True)


async def test_the_certificate_that_pairing_saw_is_the_only_one_from_then_on() -> None:
    # On loopback any certificate is good; an address of this machine that others could use, too, is not loopback.
    host = own_address()
    switchboard = await Switchboard("0.0.0.0:0", advertise=host)
    port = switchboard.url.partition("#")[0].rpartition(":")[2]
    async with a2alinker.host("planner", switchboard=switchboard.local_url) as planner:
        invite = await planner.invite(local=True)
        async with a2alinker.join("coder", str(invite), switchboard=bare(switchboard.url)) as coder:
            assert coder.switchboard == switchboard.url, "the pin came to be known"
            await switchboard.close()
            async with Switchboard(f"0.0.0.0:{port}", advertise=host) as other:
                assert other.url != switchboard.url
                await until(lambda: isinstance(coder.link_error, UntrustedSwitchboard), 20)
                assert not coder.health()["linked"]


async def test_a_pin_that_was_given_and_does_not_match_leaves_the_code_unspent() -> None:
    async with Switchboard() as other, a2alinker.host("planner") as planner:
        invite = await planner.invite(local=True)
        mismatch = f"{bare(planner.switchboard)}#{other.url.partition('#')[2]}"
        with pytest.raises(UntrustedSwitchboard):
            await a2alinker.join("coder", str(invite), switchboard=mismatch)
        async with a2alinker.join("coder", invite):
            await invite.joined()


def own_address() -> str:
    """Returns the address of this machine on the way out; nothing is sent."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        try:
            probe.connect(("192.0.2.1", 9))
        except OSError:
            pytest.skip("this machine has no network but loopback")
        return str(probe.getsockname()[0])


def test_without_a_loop_it_is_the_same() -> None:
    with sync.host("planner") as planner:
        invite = planner.invite(local=True)
        assert invite.kind == "code"
        with sync.join("coder", str(invite), switchboard=bare(planner.switchboard)):
            assert invite.joined(timeout=10).name == "coder"
