"""What another agent says while it says it, for a thread that iterates.

The call waits in a thread of its own, as partial answers come on the agent's loop and the iterating thread has to be woken by each. A text that passes
through here in pieces is the same in the end as one that `foreign` was given whole.
"""

from __future__ import annotations

import contextvars
import queue
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import Future
from types import TracebackType
from typing import Any, Final, Generic, Self, TypeVar

from ..._bridge import GLANCE
from ...peer import Peer
from .._reach import CancelScope, current_scope
from .._words import Pieces, fact

T = TypeVar("T")

TAKEN_OVER: Final = "\n[a2alinker: another agent took over, and begins again.]\n"

_END: Final = object()


class Stream(Generic[T]):
    """A call under way. Iterate it in a `with` block, which cancels the call when it is left early."""

    def __init__(self, run: Callable[[Callable[[Peer | None], None], Callable[[Any], None]], T]) -> None:
        self._run = run
        self._scope = CancelScope(current_scope.get())
        self._parts: queue.SimpleQueue[Any] = queue.SimpleQueue()  # bounded by what `call` takes of partial answers
        self._outcome: Future[T] = Future()
        self._line = ""  # who speaks, until that was given
        self._given = ""  # since this agent began
        self._pieces = Pieces()

    def __enter__(self) -> Self:
        threading.Thread(target=contextvars.copy_context().run, args=(self._wait,), name="a2alinker stream", daemon=True).start()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None) -> None:
        self._scope.end()

    def __iter__(self) -> Iterator[str]:
        """Gives what is said, piece by piece, below a line that says who says it."""
        while (part := self._next()) is not _END:
            match part:
                case Peer() | None:
                    yield from self._begin(part)
                case {"delta": str(text)} if text:
                    yield from self._add(text)

    def outcome(self) -> T:
        """Returns what the call gave, or raises what it raised."""
        return self._outcome.result()

    def rest(self, text: str) -> str:
        """Returns what is left to say of the whole text: all of it, if that isn't what was said before."""
        return text[len(self._given) :] if text.startswith(self._given) else f"\n{text}"

    def _wait(self) -> None:
        current_scope.set(self._scope)
        try:
            self._outcome.set_result(self._run(self._parts.put, self._parts.put))
        except BaseException as problem:  # noqa: BLE001  whatever it is belongs to who iterates
            self._outcome.set_exception(problem)
        self._parts.put(_END)

    def _next(self) -> Any:
        while True:
            try:
                return self._parts.get(timeout=GLANCE)  # on some systems Ctrl-C doesn't end a wait without a timeout
            except queue.Empty:
                continue

    def _begin(self, peer: Peer | None) -> Iterator[str]:
        if self._given:
            yield TAKEN_OVER
        self._line = f"{fact(peer)}\n"
        self._given = ""
        self._pieces = Pieces()

    def _add(self, text: str) -> Iterator[str]:
        if self._line:
            self._given, self._line = self._line, ""
            yield self._given
        if said := self._pieces.add(text):
            self._given += said
            yield said
