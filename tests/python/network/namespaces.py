"""Networks made of network namespaces. Nothing in one reaches the machine's own network, and nothing of that is changed.

    a 10.0.1.2 ------- nat-a 198.51.100.2 -------+
                                                 relay 203.0.113.1   the public network, with the switchboard
    b 10.0.2.2 ------- nat-b 198.51.100.6 -------+

The two in the middle of each row translate addresses and refuse what comes in unasked; the relay passes packets on between them. With
IPv6 there is no translation, and the same refusal.

All names begin with `a2l-` and the number of the process. What a killed run left behind is removed by the next one.
"""

from __future__ import annotations

import contextlib
import itertools
import os
import re
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any, Final, Literal, Self

PREFIX: Final = "a2l"
PORT: Final = 7447
FILES: Final = Path("/etc/netns")  # what stands in the folder of a namespace's name there covers the same file in /etc; see ip-netns(8)
ROLES: Final = ("relay", "nat-a", "nat-b", "a", "b")
_NUMBERS: Final = itertools.count()

# Rules of a NAT: replies come in, everything else is dropped without a word. What conntrack doesn't know isn't translated, and dropped.
FIREWALL: Final = """
table inet filter {
    chain forward {
        type filter hook forward priority filter; policy drop;
        ct state established,related accept
        iifname "lan" ct state new accept
    }
    chain input {
        type filter hook input priority filter; policy drop;
        meta l4proto { icmp, ipv6-icmp } accept
    }
}
"""
MASQUERADE: Final = """
table ip nat {
    chain postrouting {
        type nat hook postrouting priority srcnat;
        oifname "wan" masquerade
    }
}
"""


class Space:
    """One namespace, as a machine of its own."""

    def __init__(self, name: str, address: str) -> None:
        self.name = name
        self.address = address
        run("ip", "netns", "add", name)
        self.ip("link set lo up")

    def ip(self, *commands: str) -> None:
        """Runs commands of `ip` here."""
        run("ip", "-netns", self.name, "-batch", "-", given="\n".join(commands))

    def nft(self, rules: str) -> None:
        """Loads rules of nftables."""
        self.run("nft", "-f", "-", given=rules)

    def sysctl(self, **values: int) -> None:
        """Sets variables of the kernel for this namespace; `__` stands for a dot."""
        self.run("sysctl", "-qw", *(f"{name.replace('__', '.')}={value}" for name, value in values.items()))

    def run(self, *command: str, given: str = "") -> str:
        """Runs a command here and returns what it prints."""
        return run("ip", "netns", "exec", self.name, *command, given=given)

    def wait_until_forgotten(self, address: str) -> None:
        """Waits until the connection tracking here has no connection to an address."""
        while f"dst={address} " in self.run("cat", "/proc/net/nf_conntrack"):
            time.sleep(0.1)

    def start(self, *command: str, environment: Mapping[str, str] | None = None, **options: Any) -> subprocess.Popen[str]:
        """Starts a command here, with pipes; nothing of the tester's own settings reaches it."""
        own = {key: value for key, value in os.environ.items() if not key.startswith("A2ALINKER_") and not key.lower().endswith("_proxy")}
        return subprocess.Popen(
            ["ip", "netns", "exec", self.name, *command],
            env={**own, **(environment or {})},
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            **options,
        )

    def names(self, address: str, name: str) -> None:
        """Lets a name mean an address here."""
        (FILES / self.name).mkdir(parents=True, exist_ok=True)
        (FILES / self.name / "hosts").write_text(f"127.0.0.1 localhost\n{address} {name}\n")

    def remove(self) -> None:
        """Ends what runs here, and the namespace with all that is in it."""
        remove(self.name)


@dataclass(frozen=True)
class _Plan:
    """Addresses of a network: of the switchboard, and by side of the wire to the relay, its far end, the agent and its gateway."""

    relay: str
    wires: dict[str, tuple[str, str]]
    agents: dict[str, tuple[str, str]]
    bits: tuple[int, int, int]  # of the relay's address, a wire, an agent's network
    everywhere: str


PLANS: Final[dict[str, _Plan]] = {
    "IPv4": _Plan(
        "203.0.113.1",
        {"a": ("198.51.100.1", "198.51.100.2"), "b": ("198.51.100.5", "198.51.100.6")},
        {"a": ("10.0.1.2", "10.0.1.1"), "b": ("10.0.2.2", "10.0.2.1")},
        (32, 30, 24),
        "0.0.0.0",
    ),
    "IPv6": _Plan(
        "2001:db8::1",
        {"a": ("2001:db8:a::1", "2001:db8:a::2"), "b": ("2001:db8:b::1", "2001:db8:b::2")},
        {"a": ("2001:db8:1::2", "2001:db8:1::1"), "b": ("2001:db8:2::2", "2001:db8:2::1")},
        (128, 64, 64),
        "[::]",
    ),
}


class Network:
    """The network of the picture, for the time of a `with` block."""

    def __init__(self, family: Literal["IPv4", "IPv6"] = "IPv4") -> None:
        self._plan = PLANS[family]
        self._family = family
        self._stack = contextlib.ExitStack()

    def __enter__(self) -> Self:
        remove_leftovers()
        with self._stack as stack:
            number = next(_NUMBERS)
            plan = self._plan
            addresses = {"relay": plan.relay, "a": plan.agents["a"][0], "b": plan.agents["b"][0]}
            addresses |= {f"nat-{side}": plan.wires[side][1] for side in "ab"}
            spaces = {}
            for role in ROLES:
                spaces[role] = Space(f"{PREFIX}-{os.getpid()}-{number}-{role}", addresses[role])
                stack.callback(spaces[role].remove)
            self.relay, self.nat_a, self.nat_b, self.a, self.b = spaces.values()
            self._wire()
            self._stack = stack.pop_all()
        return self

    def _wire(self) -> None:
        plan, (whole, wire, lan) = self._plan, self._plan.bits
        self.relay.ip(f"addr add {plan.relay}/{whole} dev lo{_nodad(plan.relay)}")
        for side, nat, agent in (("a", self.nat_a, self.a), ("b", self.nat_b, self.b)):
            here, there = plan.wires[side]
            inside, gateway = plan.agents[side]
            self.relay.ip(f"link add to-{side} type veth peer name wan netns {nat.name}")
            nat.ip(f"link add lan type veth peer name lan netns {agent.name}")
            self.relay.ip(f"addr add {here}/{wire} dev to-{side}{_nodad(here)}", f"link set to-{side} up")
            nat.ip(f"addr add {there}/{wire} dev wan{_nodad(there)}", f"addr add {gateway}/{lan} dev lan{_nodad(gateway)}")
            nat.ip("link set wan up", "link set lan up")
            agent.ip(f"addr add {inside}/{lan} dev lan{_nodad(inside)}", "link set lan up")
            nat.ip(f"route add default via {here}")
            agent.ip(f"route add default via {gateway}")
            if self._family == "IPv6":
                self.relay.ip(f"route add {gateway}/{lan} via {there}".replace("::1/", "::/"))
            nat.nft(FIREWALL + (MASQUERADE if self._family == "IPv4" else ""))
        for router in (self.relay, self.nat_a, self.nat_b):
            router.sysctl(net__ipv4__ip_forward=1) if self._family == "IPv4" else router.sysctl(net__ipv6__conf__all__forwarding=1)

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None) -> None:
        self._stack.close()

    @contextlib.contextmanager
    def switchboard(self, *options: str) -> Iterator[str]:
        """Runs the switchboard command in the public network, and gives the address that it prints."""
        advertised = f"[{self.relay.address}]" if ":" in self.relay.address else self.relay.address
        listen = f"{self._plan.everywhere}:{PORT}"
        process = self.relay.start(
            sys.executable,
            "-m",
            "a2alinker",
            "switchboard",
            "--listen",
            listen,
            "--advertise",
            advertised,
            *options,
            stderr=subprocess.PIPE,
        )
        with process:
            try:
                assert process.stdout is not None
                assert process.stderr is not None
                yield process.stdout.readline().strip() or process.stderr.read()
            finally:
                process.terminate()


def _nodad(address: str) -> str:
    """An address is of use at once, without asking on the wire whether somebody else has it."""
    return " nodad" if ":" in address else ""


def run(*command: str, given: str = "") -> str:
    """Runs a command and returns what it prints.

    Raises:
        RuntimeError: it failed, with what it said.
    """
    done = subprocess.run(command, input=given, capture_output=True, text=True, check=False)
    if done.returncode:
        raise RuntimeError(f"{' '.join(command)} failed: {done.stderr.strip() or done.stdout.strip()}\n{given}")
    return done.stdout


def remove(name: str) -> None:
    """Removes a namespace and ends what runs in it."""
    for pid in run("ip", "netns", "pids", name).split():
        with contextlib.suppress(ProcessLookupError):
            os.kill(int(pid), signal.SIGKILL)
    run("ip", "netns", "del", name)
    shutil.rmtree(FILES / name, ignore_errors=True)


def remove_leftovers() -> None:
    """Removes the namespaces of runs that ended without doing so."""
    for name in re.findall(rf"^{PREFIX}-\d+-\S+", run("ip", "netns", "list"), re.MULTILINE):
        if not Path(f"/proc/{name.split('-')[1]}").exists():
            remove(name)


CONNECT: Final = """
import socket, sys
try:
    socket.create_connection((sys.argv[1], int(sys.argv[2])), timeout=1).close()
    print("connected")
except OSError as problem:
    print(problem)
"""
LISTEN: Final = """
import socket, sys
listener = socket.create_server(("::", 0), family=socket.AF_INET6, dualstack_ipv6=True)
print(listener.getsockname()[1], flush=True)
while True:
    listener.accept()[0].close()
"""


def connects(space: Space, address: str, port: int) -> bool:
    """Returns whether a TCP connection from there succeeds within a second."""
    return space.run(sys.executable, "-c", CONNECT, address, str(port)).strip() == "connected"


@contextlib.contextmanager
def listener(space: Space) -> Iterator[int]:
    """Accepts connections there, and gives the port."""
    with space.start(sys.executable, "-c", LISTEN) as process:
        try:
            assert process.stdout is not None
            yield int(process.stdout.readline())
        finally:
            process.kill()
