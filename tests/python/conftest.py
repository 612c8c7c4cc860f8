"""Tests may be coroutines: each runs on a loop of its own. The environment of whoever runs the tests doesn't reach them."""

import asyncio
import inspect

import pytest

LIMIT = 60.0  # seconds for one test; far above what the slowest takes


@pytest.hookimpl(tryfirst=True)
def pytest_pyfunc_call(pyfuncitem: pytest.Function) -> bool | None:
    if not inspect.iscoroutinefunction(pyfuncitem.obj):
        return None
    arguments = {name: pyfuncitem.funcargs[name] for name in inspect.signature(pyfuncitem.obj).parameters}
    asyncio.run(asyncio.wait_for(pyfuncitem.obj(**arguments), LIMIT))
    return True


@pytest.fixture(autouse=True)
def _own_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    for variable in ("A2ALINKER_INVITE", "A2ALINKER_TICKET", "A2ALINKER_SWITCHBOARD"):
        monkeypatch.delenv(variable, raising=False)
    for variable in ("HTTPS_PROXY", "HTTP_PROXY", "ALL_PROXY", "NO_PROXY"):
        monkeypatch.delenv(variable, raising=False)
        monkeypatch.delenv(variable.lower(), raising=False)
