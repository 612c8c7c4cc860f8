"""The chaos proxy as a process, and how a test drives it. Orders are those of `tests/chaos_proxy/orders.rs`."""

from __future__ import annotations

import json
import subprocess
import threading
from collections import Counter
from pathlib import Path
from types import TracebackType
from typing import Any, Final, Self

ROOT: Final = Path(__file__).parents[3]
PROGRAM: Final = ROOT / "target" / "debug" / "examples" / "chaos_proxy"
PATIENCE: Final = 30.0  # seconds; far above what anything takes


class ChaosProxy:
    """A proxy that leads to a port of this machine, for the time of a `with` block."""

    def __init__(self, to: int, *, seed: int = 0, buffer: int | None = None) -> None:
        if not PROGRAM.exists():
            raise AssertionError(f"{PROGRAM} is missing: make target/stamps/chaos-proxy")
        sizes = [] if buffer is None else ["--buffer", str(buffer)]
        self.process = subprocess.Popen(
            [str(PROGRAM), "--to", f"127.0.0.1:{to}", "--seed", str(seed), *sizes],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        self.told: list[dict[str, Any]] = []
        self._said = threading.Condition()
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()
        self.port: int = self.wait_for("listening")["port"]

    def order(self, order: str) -> int:
        """Tells it what to do, and returns how many connections were there when it obeyed."""
        before = self.count("obeyed")
        assert self.process.stdin is not None
        self.process.stdin.write(order + "\n")
        self.process.stdin.flush()
        return int(self.wait_for("obeyed", before + 1)["connections"])

    def count(self, what: str) -> int:
        """Returns how often this has happened."""
        with self._said:
            return sum(told["what"] == what for told in self.told)

    def totals(self) -> Counter[str]:
        """Returns how often each thing has happened, each order by its first word."""
        with self._said:
            return Counter(told["order"].split()[0] if told["what"] == "obeyed" else told["what"] for told in self.told)

    def wait_for(self, what: str, times: int = 1) -> dict[str, Any]:
        """Waits until this has happened so often, and returns the last time."""
        found: list[dict[str, Any]] = []

        def look() -> bool:
            found[:] = [told for told in self.told if told["what"] in {what, "ended", "not understood"}]
            return len(found) >= times

        with self._said:
            assert self._said.wait_for(look, PATIENCE), f"the proxy never told of {what!r}, but of {self.told[-5:]}"
        assert found[times - 1]["what"] == what, found[-1]
        return found[times - 1]

    def _read(self) -> None:
        assert self.process.stdout is not None
        with self.process.stdout as lines:
            for line in lines:
                with self._said:
                    self.told.append(json.loads(line))
                    self._said.notify_all()
        with self._said:
            self.told.append({"what": "ended"})
            self._said.notify_all()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None) -> None:
        assert self.process.stdin is not None
        self.process.stdin.close()
        try:
            self.process.wait(PATIENCE)
        finally:
            self.process.kill()
            self._reader.join(PATIENCE)
