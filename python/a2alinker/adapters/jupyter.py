"""For notebooks: a bar for what takes long, and a live view of an agent.

    from a2alinker.adapters.jupyter import live, progress

    view = live(agent)                                          # health and peers in the output of the cell, until view.stop()
    async for answer in progress(agent.remote("review").map(texts), total=len(texts)):
        ...

Both take what `a2alinker` gives as well as what `a2alinker.sync` gives. `progress` needs nothing that isn't there, and shows its bar if tqdm is
installed; `live` needs IPython: `pip install 'a2alinker[jupyter]'` brings both.
"""

from __future__ import annotations

import asyncio
import contextlib
import time
import warnings
import weakref
from collections import deque
from collections.abc import AsyncGenerator, AsyncIterable, Generator, Iterable, Sized
from html import escape
from typing import TYPE_CHECKING, Any, Final, Literal, TypeVar, overload

from .._bridge import Bridge
from ..agent import Agent
from ..bodies import IncomingBody, safe_name
from ..call import Call
from ..exceptions import ConfigurationError, UsageError
from ..receipt import Receipt
from ._frameworks import require

if TYPE_CHECKING:
    from .. import sync

__all__ = ["LiveView", "live", "progress"]

T = TypeVar("T")

SAMPLES: Final = 3600  # round-trip times that a view keeps; chosen: an hour at one a second, some hundred kilobytes

State = Literal["live", "stopped", "agent closed"]


# -- progress --


@overload
def progress(what: AsyncIterable[T], *, total: int | None = ..., description: str | None = ...) -> AsyncGenerator[T, None]: ...
@overload
def progress(what: Iterable[T], *, total: int | None = ..., description: str | None = ...) -> Generator[T, None, None]: ...
def progress(what: Any, *, total: int | None = None, description: str | None = None) -> Any:
    """Gives what `what` gives, item by item, and shows a bar meanwhile. Iterate it as you would iterate `what`: with `for` or `async for`.

    The bar counts partial answers of a `Call`, bytes of an `IncomingBody`, bytes that the receiver of a large body has of a `Receipt` (whose
    items are its states), and items of anything else, such as `remote.map(...)`. It is shown by `tqdm.auto`, in a notebook as in a terminal; without tqdm
    there is none. Await the call, or `receipt.delivered()`, afterwards as without a bar. Leaving the loop early closes what it reads from, if that can be
    closed; `contextlib.aclosing` does so at once.

    total: how much it will be, where that isn't known: items, or bytes of a stream.
    description: words before the bar; by default the skill of a call, or the name of a file.
    """
    gauge = _Gauge(what, total, description)
    return _each_awaited(what, gauge) if hasattr(type(what), "__aiter__") else _each(what, gauge)


async def _each_awaited(what: AsyncIterable[T], gauge: _Gauge) -> AsyncGenerator[T, None]:
    iterator = aiter(what)
    with gauge.bar() as bar:
        try:
            async for item in iterator:
                gauge.advance(bar, item)
                yield item
        finally:
            if (close := getattr(iterator, "aclose", None)) is not None:
                await close()


def _each(what: Iterable[T], gauge: _Gauge) -> Generator[T, None, None]:
    iterator = iter(what)
    with gauge.bar() as bar:
        try:
            for item in iterator:
                gauge.advance(bar, item)
                yield item
        finally:
            if (close := getattr(iterator, "close", None)) is not None:
                close()


class _Gauge:
    """How far something is."""

    def __init__(self, what: Any, total: int | None, description: str | None) -> None:
        it = getattr(what, "_it", what)  # behind the faces of `a2alinker.sync` is the same as here
        self._receipt = it if isinstance(it, Receipt) and it.progress is not None else None
        self._in_bytes = self._receipt is not None or isinstance(it, IncomingBody)
        if total is None:
            total = _total_of(it)
        if description is None:
            description = it.what if isinstance(it, Call) else safe_name(it.name) if isinstance(it, IncomingBody) and it.name else None
        unit = {"unit": "B", "unit_scale": True, "unit_divisor": 1024} if self._in_bytes else {}
        self._options: dict[str, Any] = {"total": total, "desc": description, **unit}

    def bar(self) -> contextlib.AbstractContextManager[Any]:
        """Shows a bar, which gives None if there is no tqdm."""
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")  # that there are no widgets: then the bar is made of characters
                from tqdm.auto import tqdm  # type: ignore[import-untyped,unused-ignore]
        except ImportError:
            return contextlib.nullcontext()
        return tqdm(**self._options)  # type: ignore[no-any-return]

    def advance(self, bar: Any, item: Any) -> None:
        """Moves the bar on by an item."""
        if bar is None:
            return
        if self._receipt is None:
            bar.update(len(item) if self._in_bytes else 1)
        elif (progress := self._receipt.progress) is not None:
            bar.update(progress.bytes - bar.n)


def _total_of(it: Any) -> int | None:
    if isinstance(it, IncomingBody):
        return it.length
    if isinstance(it, Receipt):
        return None if it.progress is None else it.progress.total
    return len(it) if isinstance(it, Sized) else None


# -- the live view --


def live(agent: Agent | sync.Agent, *, interval: float = 1.0) -> LiveView:
    """Shows an agent's health and peers in the output of the cell, and keeps that up to date.

    It ends by `stop()`, with the agent, and when the same cell runs again; what it showed last stays. It holds no agent that nobody else holds.

    interval: seconds between two looks.

    Raises:
        FrameworkMissing: there is no IPython.
        UsageError: IPython is there, but doesn't run: this is no notebook.
        ConfigurationError: `interval` isn't above 0.
        AgentClosed, WrongLoop, NoEventLoop, Forked: the agent can't be used, or not from here.
    """
    require("IPython", "ipython", extra="jupyter")
    from IPython import get_ipython  # type: ignore[import-not-found,attr-defined,unused-ignore]

    from .._notebook import current_run, earlier, forget, remember

    if not interval > 0:
        raise ConfigurationError(f"interval is in seconds and above 0, not {interval!r}")
    if get_ipython() is None:  # type: ignore[no-untyped-call,unused-ignore]
        raise UsageError("live() shows something in a notebook or in IPython, and neither runs here")
    run = current_run()
    if run is not None:
        for view in earlier(run, LiveView):
            view.stop()
            forget(view)
    it = agent if isinstance(agent, Agent) else agent._it
    if it is agent:
        it._seam.check()
    view = LiveView(it, interval)
    if run is not None:
        remember(view, run)
    return view


class LiveView:
    """A view of an agent that follows it. `live` gives one."""

    def __init__(self, agent: Agent, interval: float) -> None:
        from IPython.display import display  # type: ignore[import-not-found,unused-ignore]

        self._agent = weakref.ref(agent)
        self._name = agent.name
        self._seam = agent._seam  # which doesn't hold the agent
        self._interval = interval
        self._began = time.monotonic()
        self._latencies: deque[tuple[float, float]] = deque(maxlen=SAMPLES)
        self._state: State = "live"
        self._html = ""
        bridge = Bridge(self._seam.loop)
        bridge.look(self._look)
        # Shown from here, as the output belongs to the cell of this thread.
        self._handle = display(self._bundle(), raw=True, display_id=True)  # type: ignore[no-untyped-call,unused-ignore]
        self._task: asyncio.Task[None] = bridge.look(lambda: self._seam.loop.create_task(self._follow()))
        _running.add(self._task)
        self._task.add_done_callback(self._end)

    @property
    def latencies(self) -> list[tuple[float, float]]:
        """What it has seen of the round trip to the switchboard, up to 3600 looks: seconds since the view began, and seconds that the trip took.

        The agent measures it when it links and then every 20 s, so several looks in a row see the same.
        """
        return list(self._latencies)

    @property
    def running(self) -> bool:
        """Whether it still follows its agent."""
        return not self._task.done()

    def stop(self) -> None:
        """Ends it; what it showed last stays. From any thread, and as often as you like."""
        with contextlib.suppress(RuntimeError):  # the loop is closed, and so is the agent
            self._seam.loop.call_soon_threadsafe(self._task.cancel)

    async def _follow(self) -> None:
        is_there = True
        while is_there:
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(self._interval):
                    await self._seam.wait_ended()
            is_there = self._look()
            self._show()

    def _end(self, task: asyncio.Task[None]) -> None:
        _running.discard(task)
        self._state = "stopped" if task.cancelled() else "agent closed"
        self._show()

    def _look(self) -> bool:
        """Takes in how the agent does. Returns whether there will be more to see."""
        agent = self._agent()
        if agent is None:
            return False
        health = agent.health()
        if health["linked"] and health["rtt"] is not None:
            self._latencies.append((time.monotonic() - self._began, health["rtt"]))
        self._html = health._repr_html_() + agent.peers._repr_html_()
        return self._seam.is_attached

    def _show(self) -> None:
        self._handle.update(self._bundle(), raw=True)

    def _bundle(self) -> dict[str, str]:
        return {
            "text/plain": repr(self),
            "text/html": f"<div><b>Agent {escape(self._name)}</b>, {self._state}</div>{self._html}",
        }

    def __repr__(self) -> str:
        return f"<LiveView of {self._name}, {self._state}>"


_running: set[asyncio.Task[None]] = set()  # loops hold their tasks weakly
