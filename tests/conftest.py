"""A skipped test is a promise not kept: the run fails unless its name and reason stand in tests/allowed_skips.txt.

An expected failure counts as a skip. `tests/ignored_tests.rs` holds the Rust tests to the same list.
"""

from collections.abc import Generator
from pathlib import Path

import pytest

ALLOWED = Path(__file__).with_name("allowed_skips.txt")

_unlisted: list[str] = []


def _entry(report: pytest.TestReport | pytest.CollectReport) -> str:
    if isinstance(report.longrepr, tuple):
        reason = report.longrepr[2].removeprefix("Skipped: ")
    else:
        reason = getattr(report, "wasxfail", "no reason").removeprefix("reason: ")
    return f"{report.nodeid} -- {reason}"


def _note(report: pytest.TestReport | pytest.CollectReport) -> None:
    if report.skipped and (entry := _entry(report)) not in ALLOWED.read_text(encoding="utf-8").splitlines():
        _unlisted.append(entry)


def pytest_runtest_logreport(report: pytest.TestReport) -> None:
    _note(report)


def pytest_collectreport(report: pytest.CollectReport) -> None:
    _note(report)


def pytest_sessionfinish(session: pytest.Session) -> None:
    if _unlisted and session.exitstatus == pytest.ExitCode.OK:
        session.exitstatus = pytest.ExitCode.TESTS_FAILED


@pytest.hookimpl(wrapper=True)
def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> Generator[None]:
    yield
    if _unlisted:
        terminalreporter.section("skipped, but not in tests/allowed_skips.txt", red=True)
        for entry in _unlisted:
            terminalreporter.line(entry)
