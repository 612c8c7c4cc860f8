"""What `doctor` concludes from what it has found: each check is one word on a fact, and what to do about it. Nothing here asks anybody.

The facts are those of `_core.probe`: how far the way to a switchboard could be gone, and what was seen there.
"""

from __future__ import annotations

import datetime
from collections.abc import Iterator
from dataclasses import dataclass
from statistics import median
from typing import Any, Final, Literal

CLOCK_NOTICED: Final = 60.0  # seconds; messages to agents without a session are judged by it, with this tolerance
CLOCK_REFUSED: Final = 300.0  # seconds; beyond it certificates are refused
SLOW: Final = 1.0  # seconds for a round trip, above which somebody waits for somebody
SOON: Final = 14 * 86_400.0  # seconds before a certificate ends in which a warning is due
LAST_DAYS: Final = (
    7 * 86_400.0
)  # seconds before a membership ends in which it should have been renewed: that begins after half of its 30 days
DESCRIPTORS: Final = 256  # chosen: what a program with an agent and a few connections of its own needs
HYBRID: Final = "X25519MLKEM768"
VERSION: Final = 1  # of the protocol

State = Literal["ok", "warn", "fail"]


@dataclass(frozen=True)
class Check:
    """One word of the doctor's."""

    name: str
    state: State
    text: str
    remedy: str = ""


def judge(facts: dict[str, Any]) -> Iterator[Check]:
    """Gives the checks of the way to a switchboard, in its order, up to where it ended."""
    yield Check("address", "ok", facts["address"])
    error: dict[str, str] = facts.get("error") or {}
    steps = (
        ("proxy", _proxy),
        ("name", _name),
        ("connection", _connection),
        ("tls", _tls),
        ("switchboard", _switchboard),
        ("round trip", _round_trip),
    )
    for stage, step in steps:
        if error.get("stage") == stage:
            yield Check(stage, "fail", error["text"], _remedy(stage, error["kind"], facts))
            return
        yield from step(facts)


def _remedy(stage: str, kind: str, facts: dict[str, Any]) -> str:
    match stage, kind:
        case "proxy", _:
            return "look at HTTPS_PROXY (HTTP_PROXY for ws://), or name the host in NO_PROXY to go directly"
        case "name", _:
            return "check the spelling and the DNS of this machine; with a network only for insiders: is the VPN up?"
        case "connection", "refused":
            return "nothing listens there: is the switchboard running, with this port, and with --listen on more than loopback?"
        case "connection", "timed_out":
            return "something swallows the packets: a firewall there or here, or the address is an inner one that isn't reached from here"
        case "connection", _:
            return "this machine has no way there: check its network, and the address"
        case "tls", "timed_out":
            return "something accepts connections there and says nothing: another service, or a switchboard that hangs"
        case "tls", _:
            return f"another service, or something in between that ends TLS; of a switchboard with --plain it is ws://{facts['host']}:{facts['port']}"
        case "switchboard", "timed_out":
            return "something accepts connections there and says nothing: another service, or wss:// is meant instead of ws://"
        case "switchboard", _:
            return "another service has this port, or a proxy in front of the switchboard doesn't pass WebSocket and its subprotocol on"
    return "try again; if it stays so, the network cuts connections that stay open"


def _proxy(facts: dict[str, Any]) -> Iterator[Check]:
    proxy = facts.get("proxy")
    yield Check("proxy", "ok", f"through {proxy}" if proxy else "none for this address")


def _name(facts: dict[str, Any]) -> Iterator[Check]:
    if facts.get("proxy"):
        yield Check("name", "ok", f"the proxy looks {facts['host']} up")
    elif facts["resolved"] != [facts["host"]]:
        yield Check("name", "ok", f"{facts['host']} is {', '.join(facts['resolved'])} ({_ms(facts['resolve_seconds'])})")


def _connection(facts: dict[str, Any]) -> Iterator[Check]:
    yield Check("connection", "ok", f"to {facts['connected']} in {_ms(facts['connect_seconds'])}")


def _tls(facts: dict[str, Any]) -> Iterator[Check]:
    if not facts["secure"]:
        if not facts["loopback"]:
            yield Check(
                "tls", "warn", "none: anybody on the path sees who talks, and when", "run the switchboard without --plain, and use wss://"
            )
        return
    tls: dict[str, Any] = facts["tls"]
    text = f"{tls['version']}, {tls['group']} in {_ms(tls['seconds'])}"
    if tls["group"] == HYBRID:
        yield Check("tls", "ok", text)
    else:
        yield Check("tls", "warn", f"{text}: not post-quantum", f"what ends TLS there doesn't know {HYBRID}; agents' own encryption does")
    yield _trust(facts, tls)
    if tls["vouched"] and tls["expires"] is not None and (left := tls["expires"] - facts["clock"]) < SOON:
        yield Check("certificate", "warn", f"it ends in {left / 86_400:.0f} days", "the operator has to renew it")


def _trust(facts: dict[str, Any], tls: dict[str, Any]) -> Check:
    seen, wanted = tls["pin"], facts["pin"]
    if wanted == seen:
        return Check("pin", "ok", "the certificate's is that of the address")
    if tls["vouched"]:
        until = "" if tls["expires"] is None else f", until {datetime.datetime.fromtimestamp(tls['expires'], datetime.UTC):%Y-%m-%d}"
        other = "" if not wanted else "; its pin isn't that of the address, which doesn't matter then"
        return Check("certificate", "ok", f"the authorities vouch for it{until}{other}")
    if facts["loopback"]:
        other = "another pin than the address's" if wanted else "no pin in the address"
        return Check("pin", "ok", f"{other}, and on this machine any certificate is taken")
    if wanted:
        return Check(
            "pin",
            "fail",
            f"the certificate's is {seen}, that of the address is {wanted}",
            "it was restarted without its key file, or it is another switchboard, or somebody is in between: ask its operator for the "
            "address that it prints",
        )
    return Check(
        "certificate",
        "fail",
        f"not trusted: {tls['reason']}",
        f"if its operator says that the pin is {seen}, use {facts['address']}#{seen}; with authorities of your own: --ca-file",
    )


def _switchboard(facts: dict[str, Any]) -> Iterator[Check]:
    challenge: dict[str, Any] = facts["challenge"]
    lowest, highest = challenge["version_min"], challenge["version_max"]
    if lowest <= VERSION <= highest:
        yield Check("switchboard", "ok", f"it is one, and speaks protocol version {VERSION}")
    else:
        newer = lowest > VERSION
        yield Check(
            "switchboard",
            "fail",
            f"it speaks protocol versions {lowest} to {highest}, this a2alinker speaks {VERSION}",
            "upgrade a2alinker here" if newer else "its operator has to upgrade it",
        )
    yield _clock(challenge["wall"] - facts["clock"])


def _clock(ahead: float) -> Check:
    if abs(ahead) < 1:
        return Check("clock", "ok", "it agrees with the switchboard's")
    text = f"the switchboard's is {abs(ahead):.0f} s {'ahead' if ahead > 0 else 'behind'}"
    if abs(ahead) < CLOCK_NOTICED:
        return Check("clock", "ok", text)
    state: State = "warn" if abs(ahead) < CLOCK_REFUSED else "fail"
    return Check(
        "clock", state, text, "set the clock of the machine that is wrong, best by NTP: certificates and times to live depend on it"
    )


def _round_trip(facts: dict[str, Any]) -> Iterator[Check]:
    middle = median(facts["round_trips"])
    slow = middle > SLOW
    yield Check(
        "round trip", "warn" if slow else "ok", f"{_ms(middle)} (median of {len(facts['round_trips'])})", "a slow network" if slow else ""
    )


def agent_file(known: dict[str, Any] | None, now: float) -> Check:
    """Judges what an agent file says; None: it isn't there."""
    if known is None:
        return Check("agent file", "warn", "it isn't there", "it is made when the agent joins or hosts; is the path right?")
    name = known["name"]
    if known["founder"]:
        return Check("agent file", "ok", f"{name}, the founder of its swarm")
    if known["expires"] is None:
        return Check("agent file", "fail", f"{name} isn't in a swarm yet", "join with an invite")
    until = f"{datetime.datetime.fromtimestamp(known['expires'], datetime.UTC):%Y-%m-%d}"
    if known["needs_invite"]:
        return Check("agent file", "fail", f"the membership of {name} ended on {until}", "join with a new invite, by the same file")
    rights = f"{name}, a member until {until}; it may {_rights(known)}"
    if known["expires"] - now < LAST_DAYS:
        return Check("agent file", "warn", rights, "run it while an agent is linked that may admit: that one renews it")
    return Check("agent file", "ok", rights)


def _rights(known: dict[str, Any]) -> str:
    skills, admit, terminals, originate = known["rights"]
    offer = "offer any skill" if skills is None else f"offer {', '.join(sorted(skills))}" if skills else ""
    granted = (offer, "call others" * originate, "admit others" * admit, "open terminals" * terminals)
    return ", ".join(filter(None, granted)) or "only listen"


def descriptors(limit: int | None) -> Check:
    """Judges how many files this process may have open; None: unknown, or any number."""
    if limit is None or limit >= DESCRIPTORS:
        return Check("open files", "ok", f"{'any number' if limit is None else limit} allowed")
    return Check("open files", "warn", f"only {limit} allowed", f"ulimit -n {DESCRIPTORS} or more, in the shell or service that starts it")


def _ms(seconds: float) -> str:
    return f"{seconds * 1000:.1f} ms" if seconds < 0.1 else f"{seconds * 1000:.0f} ms"
