"""The chaos proxy as a process: orders by lines, and its end with its parent. What each order does is shown by `tests/chaos_proxy.rs`."""

import contextlib
import os
import select
import signal
import socket
import subprocess
import sys
from pathlib import Path

import pytest

from chaos.proxy import PATIENCE, ChaosProxy

PARENT = """
import os, signal, sys
sys.path.insert(0, sys.argv[1])
from chaos.proxy import ChaosProxy
print(ChaosProxy(1).process.pid, flush=True)
os.kill(os.getpid(), signal.SIGKILL)
"""


def test_orders_are_obeyed_and_told_of() -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener, ChaosProxy(listener.getsockname()[1]) as proxy:
        with socket.create_connection(("127.0.0.1", proxy.port), PATIENCE) as client:
            server, _ = listener.accept()
            with server:
                client.sendall(b"hello")
                assert server.recv(5) == b"hello"
                assert proxy.order("cut") == 1
                assert server.recv(1) == client.recv(1) == b""
        assert proxy.wait_for("closed")["up"] == 5
        assert proxy.order("delay up 0.1") == 0
        assert proxy.totals() == {"listening": 1, "opened": 1, "cut": 1, "closed": 1, "delay": 1}


def test_a_wrong_order_is_an_error_of_the_test() -> None:
    with ChaosProxy(1) as proxy, pytest.raises(AssertionError, match="not understood"):
        proxy.order("stall left")


def test_the_proxy_ends_with_its_input_in_the_middle_of_a_connection() -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener, contextlib.ExitStack() as stack:
        proxy = stack.enter_context(ChaosProxy(listener.getsockname()[1]))
        client = stack.enter_context(socket.create_connection(("127.0.0.1", proxy.port), PATIENCE))
        proxy.wait_for("opened")
        assert proxy.process.stdin is not None
        proxy.process.stdin.close()
        assert proxy.process.wait(PATIENCE) == 0
        with contextlib.suppress(ConnectionResetError):
            assert client.recv(1) == b""


def test_the_proxy_ends_with_its_parent_however_that_ends() -> None:
    tests = str(Path(__file__).parents[1])
    parent = subprocess.run([sys.executable, "-c", PARENT, tests], capture_output=True, text=True, timeout=PATIENCE, check=False)
    assert parent.returncode == -signal.SIGKILL, parent.stderr
    wait_until_gone(int(parent.stdout))


def wait_until_gone(pid: int) -> None:
    with contextlib.suppress(ProcessLookupError):
        waiting = os.pidfd_open(pid)
        try:
            assert select.select([waiting], [], [], PATIENCE)[0], "it is still there"
        finally:
            os.close(waiting)
