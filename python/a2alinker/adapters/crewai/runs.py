"""Runs of crews that end early.

CrewAI has no way to tell a tool that the run it works for was cancelled: its thread goes on. So each `akickoff` gets a cancel scope that ends with its task, by
the hooks that CrewAI has for whoever watches runs. In a scope that has ended no further model and no further tool is called either.

`kickoff` and `kickoff_async` run in threads that nobody can cancel; `cancel_scope` is for these, and for an `akickoff` that ends by a timeout in a task that
goes on.
"""

from __future__ import annotations

import asyncio
from typing import Any

from crewai.hooks import HookAborted, InterceptionPoint, register_hook

from .._reach import CancelScope, current_scope


class _RunScope(CancelScope):
    """The scope of one `akickoff`."""

    def __init__(self, task: asyncio.Task[Any], outer: CancelScope | None) -> None:
        super().__init__(outer)
        self.task = task
        self.outer = outer
        self.depth = 1  # crews and flows in crews run in the same task
        task.add_done_callback(self.task_ended)

    def task_ended(self, _: object) -> None:
        """Ends with the task that runs the crew."""
        self.end()


def watch() -> None:
    """Begins to watch runs. For the module of the tools, once."""
    register_hook(InterceptionPoint.EXECUTION_START, _begins)
    register_hook(InterceptionPoint.EXECUTION_END, _ends)
    register_hook(InterceptionPoint.PRE_MODEL_CALL, _goes_on)
    register_hook(InterceptionPoint.PRE_TOOL_CALL, _goes_on)


def _begins(_: Any) -> None:
    try:
        task = asyncio.current_task()
    except RuntimeError:
        return
    scope = current_scope.get()
    if isinstance(scope, _RunScope) and scope.task is task:
        scope.depth += 1
    elif task is not None:
        current_scope.set(_RunScope(task, scope if scope is not None and not scope.ended else None))


def _ends(_: Any) -> None:
    scope = current_scope.get()
    if isinstance(scope, _RunScope):
        scope.depth -= 1
        if scope.depth == 0:
            scope.task.remove_done_callback(scope.task_ended)  # which may run many crews, one after the other
            scope.end()
            current_scope.set(scope.outer)


def _goes_on(_: Any) -> None:
    scope = current_scope.get()
    if scope is not None and scope.ended:
        raise HookAborted("the run was cancelled by whoever asked for it", source="a2alinker")
