"""Links that are cut for a while, and links that are narrow."""

# ruff: noqa: T201 - the figures are part of the result

import os
import time

import pytest

from network import inside
from network.inside import pair
from network.namespaces import Network

# Seconds for which the link is cut: in `make test` just longer than it takes to give up the connection (10 s), in `make soak` a minute.
CUT = float(os.environ.get("A2ALINKER_CUT", "12"))
EACH_WAY = 200

# A large body on a link of 10 Mbit/s, 50 MB in `make soak`.
LARGE = int(os.environ.get("A2ALINKER_LARGE", "8000000"))
LARGE_RATE = int(os.environ.get("A2ALINKER_RATE", "10000000"))
LARGE_URGENT_LIMIT = 0.3  # seconds, in the median; chosen: the queue of the link itself and a part of the body

RATE = 1_000_000  # bits per second of the narrow link
WATCHED = 8.0  # seconds of bulk
BULK = 20_000_000
PIECE = 100_000
URGENT_LIMIT = 4.0  # seconds; what waits in the kernel and on the wire can't be overtaken, while the bulk needs minutes


def test_what_is_sent_while_a_link_is_cut_arrives_once_and_in_order(network: Network) -> None:
    with pair(network) as (a, b):
        for agent, other in ((a, "b"), (b, "a")):
            agent.do("send", other, 0, 10)
            agent.do("confirmed")
        network.relay.ip("link set to-a down")
        begin = time.monotonic()
        sending = [agent.start("send", other, 10, EACH_WAY, pause=CUT / 2 / EACH_WAY) for agent, other in ((a, "b"), (b, "a"))]
        for started in sending:
            started.result(inside.LIMIT + CUT)
        time.sleep(max(0.0, begin + CUT - time.monotonic()))
        assert a.do("numbers", "b", 0) == b.do("numbers", "a", 0) == list(range(10)), "the link wasn't cut"
        network.relay.ip("link set to-a up")
        restored = time.monotonic()
        a.do("confirmed")
        b.do("confirmed")
        print(
            f"cut for {restored - begin:.0f} s; {2 * EACH_WAY} messages confirmed {time.monotonic() - restored:.1f} s after the link was back"
        )
        assert a.do("numbers", "b", 10 + EACH_WAY) == b.do("numbers", "a", 10 + EACH_WAY) == list(range(10 + EACH_WAY))


def test_urgent_overtakes_bulk_on_a_narrow_link(network: Network) -> None:
    for space, device in ((network.nat_a, "wan"), (network.relay, "to-a")):
        space.run("tc", "qdisc", "add", "dev", device, "root", "tbf", "rate", f"{RATE}bit", "burst", "16kb", "latency", "200ms")
    with pair(network) as (a, b):
        idle = sorted(a.do("echo", "b", priority="urgent") for _ in range(10))
        memory = a.do("memory")
        flood = a.start("flood", "b", BULK, PIECE)
        while not b.do("taken"):
            time.sleep(0.1)
        loaded_memory, taken, begin = a.do("memory"), b.do("taken"), time.monotonic()
        busy = []
        while time.monotonic() < begin + WATCHED:
            busy.append(a.do("echo", "b", priority="urgent"))
            time.sleep(0.2)
        rate = 8 * (b.do("taken") - taken) / (time.monotonic() - begin)
        flood.result(inside.LIMIT)
        grown = a.do("memory") - loaded_memory
        busy.sort()
        print(
            f"urgent round trip: idle {idle[5] * 1000:.0f} ms; under bulk median {busy[len(busy) // 2] * 1000:.0f} ms, worst {busy[-1] * 1000:.0f} ms"
        )
        print(
            f"bulk: {rate / 1e6:.2f} Mbit/s of {RATE / 1e6:.0f}; memory {memory >> 20} MiB, with the bulk queued {loaded_memory >> 20}, grown by {grown >> 10} KiB since"
        )
        assert busy[-1] < URGENT_LIMIT
        assert rate > 0.7 * RATE
        assert grown < 4 << 20


@pytest.mark.parametrize("side", ["sender", "receiver"])
def test_urgent_overtakes_a_large_body(network: Network, side: str) -> None:
    ends = ((network.nat_a, "wan"), (network.relay, "to-a")) if side == "sender" else ((network.nat_b, "wan"), (network.relay, "to-b"))
    for space, device in ends:
        space.run("tc", "qdisc", "add", "dev", device, "root", "tbf", "rate", f"{LARGE_RATE}bit", "burst", "32kb", "limit", "64kb")
    with pair(network) as (a, b):
        idle = sorted(a.do("echo", "b", size=256, priority="urgent") for _ in range(20))
        memory = {name: agent.do("memory") for name, agent in (("a", a), ("b", b))}
        sending = a.start("send_large", "b", LARGE)
        while b.do("taken") < LARGE / 20:
            time.sleep(0.05)
        taken, begin, busy = b.do("taken"), time.monotonic(), []
        while not sending.done() and b.do("taken") < LARGE * 0.9:
            busy.append(a.do("echo", "b", size=256, priority="urgent"))
            time.sleep(0.02)
        rate = 8 * (b.do("taken") - taken) / (time.monotonic() - begin)
        sending.result(inside.LIMIT + 8 * LARGE / LARGE_RATE)
        grown = {name: (agent.do("memory") - memory[name]) >> 20 for name, agent in (("a", a), ("b", b))}
        busy.sort()
        print(
            f"{side}: urgent round trip idle {idle[10] * 1000:.0f} ms; beside a large body median {busy[len(busy) // 2] * 1000:.0f} ms, "
            f"p99 {busy[len(busy) * 99 // 100] * 1000:.0f} ms, worst {busy[-1] * 1000:.0f} ms of {len(busy)}; "
            f"body {rate / 1e6:.2f} Mbit/s of {LARGE_RATE / 1e6:.0f}; grown by {grown} MiB"
        )
        assert busy[len(busy) // 2] < LARGE_URGENT_LIMIT
        assert rate > 0.7 * LARGE_RATE
