"""Networks on which the usual way to a switchboard isn't there: no IPv4, or no way out but a proxy."""

import sys
from pathlib import Path

import pytest

from network.inside import pair, puppet
from network.namespaces import Network, connects, listener


def test_agents_on_a_network_without_ipv4_talk(network6: Network) -> None:
    for space in (network6.relay, network6.a, network6.b):
        assert "inet " not in space.run("ip", "-brief", "-4", "addr", "show", "scope", "global")
    with pair(network6) as (a, b):
        assert a.do("call", "shout", "hello") == b.do("call", "shout", "hello") == "HELLO"
    with listener(network6.b) as port:
        assert not connects(network6.a, network6.b.address, port)
        network6.nat_b.nft("flush ruleset")
        assert connects(network6.a, network6.b.address, port)


def test_an_agent_that_only_a_proxy_lets_out_reaches_the_switchboard(network: Network) -> None:
    with (
        network.switchboard() as address,
        network.relay.start(sys.executable, str(Path(__file__).with_name("proxy.py")), "0.0.0.0") as proxy,
    ):
        assert proxy.stdout is not None
        port = int(proxy.stdout.readline())
        network.nat_a.nft(f'insert rule inet filter forward iifname "lan" tcp dport != {port} drop')

        with (
            pytest.raises(AssertionError, match=r"SwitchboardUnreachable|TimedOut"),
            puppet(network.a, "a", switchboard=address, timeout=2.0),
        ):
            pass

        variables = {"HTTPS_PROXY": f"http://{network.relay.address}:{port}"}
        with puppet(network.a, "a", environment=variables, switchboard=address) as a, puppet(network.b, "b", invite=a.do("invite")) as b:
            b.do("wait_for", "a")
            assert b.do("call", "shout", "hello") == "HELLO"
        assert proxy.stdout.readline().split() == ["CONNECT", address.partition("//")[2].partition("#")[0]]
        proxy.kill()
