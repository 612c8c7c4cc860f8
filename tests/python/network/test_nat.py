"""Two agents, each behind a NAT that lets nothing in, and a switchboard that both reach."""

# ruff: noqa: T201 - the figures are part of the result

import time

import pytest

from network import inside
from network.inside import Puppet, pair
from network.namespaces import Network, connects, listener

LARGEST = (1 << 20) - 64  # bytes of a body whose encoding still fits into one message
RECONNECT_LIMIT = 1.0  # seconds; a fiftieth of one on a quiet machine


@pytest.mark.parametrize("kind", ["ticket", "code"])
def test_agents_behind_two_nats_talk_both_ways(network: Network, kind: str) -> None:
    with pair(network, kind) as (a, b):
        for agent, other in ((a, "b"), (b, "a")):
            trip, large = agent.do("echo", other), agent.do("echo", other, LARGEST)
            print(f"to {other}: round trip {trip * 1000:.1f} ms, 1 MiB there and back {large * 1000:.0f} ms")
            agent.do("send", other, 0, 100)
            agent.do("confirmed")
        assert a.do("call", "shout", "hello") == b.do("call", "shout", "hello") == "HELLO"
        assert a.do("stream", "count", 100) == b.do("stream", "count", 100) == list(range(100))
        assert a.do("numbers", "b", 100) == b.do("numbers", "a", 100) == list(range(100))


def test_neither_could_have_reached_the_other_directly(network: Network) -> None:
    with listener(network.b) as port:
        assert not connects(network.a, network.b.address, port)
        assert not connects(network.a, network.nat_b.address, port)
        # Controls: it listens; B gets out; and it is B's NAT that refuses, as the way to it is open.
        assert connects(network.b, network.b.address, port)
    with listener(network.relay) as port:
        assert connects(network.b, network.relay.address, port)
    network.nat_b.nft("flush ruleset")
    with listener(network.nat_b) as port:
        assert connects(network.a, network.nat_b.address, port)


def test_a_nat_that_forgets_a_connection_costs_a_pause(network: Network) -> None:
    """The NAT drops what it has no mapping for, as most do: no error comes, only silence."""
    with pair(network) as (a, b):
        network.nat_a.sysctl(
            net__netfilter__nf_conntrack_tcp_timeout_established=2,  # from the next packet on
            net__netfilter__nf_conntrack_tcp_loose=0,  # packets in mid-stream make no mapping
        )
        exchange(a, b, 0)
        network.nat_a.wait_until_forgotten(network.relay.address)
        network.nat_a.sysctl(net__netfilter__nf_conntrack_tcp_timeout_established=600)
        begin = time.monotonic()
        exchange(a, b, 100)
        print(f"from the first message after the mapping was lost to the confirmation of the last: {time.monotonic() - begin:.1f} s")
        assert "LinkDown" in [what for _, what in a.do("events")], "the mapping was still there"
        assert a.do("numbers", "b", 200) == b.do("numbers", "a", 200) == list(range(200))


def test_an_address_that_changes_costs_a_moment(network: Network) -> None:
    with pair(network) as (a, b):
        exchange(a, b, 0)
        begin = time.monotonic()
        network.a.ip("addr del 10.0.1.2/24 dev lan", "addr add 10.0.1.77/24 dev lan", "route add default via 10.0.1.1")
        there, back = a.start("deliver", "b", 100), b.start("deliver", "a", 100)
        took = [there.result(inside.LIMIT) - begin, back.result(inside.LIMIT) - begin]
        print(f"from the change of address to the first delivered message: {took[0]:.2f} s from there, {took[1]:.2f} s to there")
        assert max(took) < RECONNECT_LIMIT
        assert a.do("numbers", "b", 101) == b.do("numbers", "a", 101) == list(range(101))


def exchange(a: Puppet, b: Puppet, first: int) -> None:
    """Sends a hundred numbers each way at the same time."""
    sending = [a.start("send", "b", first, 100), b.start("send", "a", first, 100)]
    for started in sending:
        started.result(inside.LIMIT)
    for agent in (a, b):
        agent.do("confirmed")
