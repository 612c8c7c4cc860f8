"""The builder of networks leaves the machine as it was, also after a run that was killed."""

import subprocess
from pathlib import Path

from network.namespaces import FILES, PREFIX, Network, Space, remove_leftovers, run


def seen_from_the_machine() -> tuple[str, ...]:
    forwarding = Path("/proc/sys/net/ipv4/ip_forward").read_text()
    return run("ip", "-o", "link"), run("ip", "-o", "addr"), run("ip", "route"), run("nft", "list", "ruleset"), forwarding


def test_a_network_is_not_seen_from_the_machine_and_leaves_nothing() -> None:
    before = seen_from_the_machine()
    with Network() as network:
        network.a.names(network.relay.address, "relay.example")
        assert "203.0.113.1" in network.a.run("cat", "/etc/hosts")
        assert "relay.example" not in Path("/etc/hosts").read_text()
        assert seen_from_the_machine() == before
        names = [space.name for space in (network.relay, network.nat_a, network.nat_b, network.a, network.b)]
        assert all(name in run("ip", "netns", "list") for name in names)
    assert seen_from_the_machine() == before
    assert not any(name in run("ip", "netns", "list") or (FILES / name).exists() for name in names)


def test_what_a_killed_run_left_behind_is_removed() -> None:
    with subprocess.Popen(["true"]) as ended:
        pass
    space = Space(f"{PREFIX}-{ended.pid}-0-a", "")
    space.names("203.0.113.1", "relay.example")
    with space.start("sh", "-c", "echo running; exec sleep 600") as left_running:
        try:
            assert left_running.stdout is not None
            assert left_running.stdout.readline() == "running\n"
            with Network() as of_a_live_run:
                assert left_running.wait(10) != 0
                assert space.name not in run("ip", "netns", "list")
                assert not (FILES / space.name).exists()
                remove_leftovers()
                assert of_a_live_run.a.run("true") == ""
        finally:
            left_running.kill()
