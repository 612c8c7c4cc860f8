"""Tests may be coroutines: each runs on a loop of its own. The environment of whoever runs the tests doesn't reach them."""

import pytest

from coroutines import pytest_pyfunc_call  # noqa: F401  a hook


@pytest.fixture(autouse=True)
def _own_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    for variable in ("A2ALINKER_INVITE", "A2ALINKER_TICKET", "A2ALINKER_SWITCHBOARD"):
        monkeypatch.delenv(variable, raising=False)
    for variable in ("HTTPS_PROXY", "HTTP_PROXY", "ALL_PROXY", "NO_PROXY"):
        monkeypatch.delenv(variable, raising=False)
        monkeypatch.delenv(variable.lower(), raising=False)
