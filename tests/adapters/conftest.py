"""What the tests of all adapters share: the network guard, a swarm in processes, tests that are coroutines."""

import os
from collections.abc import Iterator
from pathlib import Path

# Before any framework is imported: none of them is to report what it does.
os.environ.update(
    CREWAI_DISABLE_TELEMETRY="true",
    CREWAI_DISABLE_TRACKING="true",
    CREWAI_TRACING_ENABLED="false",
    OTEL_SDK_DISABLED="true",
    OPENAI_AGENTS_DISABLE_TRACING="1",
    OPENAI_API_KEY="none",
)

import pytest

from coroutines import pytest_pyfunc_call  # noqa: F401  a hook
from frameworks import guard
from frameworks.world import World

guard.install()


@pytest.fixture(autouse=True)
def _own_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    for variable in [name for name in os.environ if name.startswith("A2ALINKER_") or name.lower().endswith("_proxy")]:
        monkeypatch.delenv(variable)


@pytest.fixture(autouse=True)
def _nothing_leaves_this_machine() -> Iterator[None]:
    guard.tried.clear()
    yield
    assert guard.tried == [], "the test, or a framework in it, tried to reach beyond this machine"


@pytest.fixture
def world(tmp_path: Path) -> Iterator[World]:
    """A switchboard with TLS in a process of its own, and nobody linked to it yet."""
    with World(tmp_path) as world:
        yield world
