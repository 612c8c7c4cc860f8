"""The network guard: what Python tries to reach beyond this machine is refused, and fails the test.

An audit hook sees every connection and every look-up of a name that goes through Python's `socket`, whichever library asks, and can't be taken out again. Native
code with sockets of its own, such as a2alinker's, isn't seen; its addresses are given by the tests.
"""

from __future__ import annotations

import ipaddress
import os
import sys
from typing import Any

tried: list[str] = []  # what was tried since the last look

_CONNECTS = ("socket.connect", "socket.sendto", "socket.sendmsg")
_LOOKS_UP = ("socket.getaddrinfo", "socket.gethostbyname", "socket.gethostbyaddr")


def install(*, deadly: bool = False) -> None:
    """Begins to watch. deadly: end the process at once, for one whose errors nobody would see."""

    def watch(event: str, arguments: tuple[Any, ...]) -> None:
        if event in _CONNECTS:
            address = arguments[1]
            target = address[0] if isinstance(address, tuple) else None  # others are files, or the kernel
        elif event in _LOOKS_UP:
            target = arguments[0]
        else:
            return
        if target is None or is_here(target):
            return
        tried.append(f"{event} {target!r}")
        if deadly:
            sys.stderr.write(f"network guard: {event} {target!r}\n")
            sys.stderr.flush()
            os._exit(99)
        raise PermissionError(f"network guard: {event} {target!r}")

    sys.addaudithook(watch)


def is_here(host: object) -> bool:
    """Returns whether this is an address of this machine alone."""
    if isinstance(host, bytes):
        host = host.decode(errors="replace")
    if not isinstance(host, str):
        return False
    if host in ("", "localhost"):
        return True
    try:
        return ipaddress.ip_address(host.partition("%")[0]).is_loopback
    except ValueError:
        return False
