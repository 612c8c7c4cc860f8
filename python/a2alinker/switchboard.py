"""A switchboard inside this process."""

from __future__ import annotations

import asyncio
from collections.abc import Generator
from types import TracebackType
from typing import Any, Self

from . import _core
from ._html import card
from ._loop import current_loop
from .exceptions import UsageError

CLOSING = 300  # hundredths of a second that links may take to end
LOOPBACKS = {"0.0.0.0": "127.0.0.1", "[::]": "[::1]", "": "127.0.0.1"}  # noqa: S104  where to reach what listens everywhere
LOOPBACK = "127.0.0.1:0"  # the default: any free port, reachable from this machine only


class Switchboard:
    """A switchboard on this process's own threads: `async with Switchboard(...) as switchboard`, or `await Switchboard(...)`.

    listen: address and port to listen at; port 0 takes any free one.
    advertise: the name or address, with or without port, by which agents reach it; that of `listen` if not given.
    key_file: the private key of a self-signed certificate, as `a2alinker switchboard --new-key FILE` makes it; the pin stays with it. Without one
        each start makes a certificate of its own, and a restart changes the pin.
    certificate_file, private_key_file: a certificate chain and its key in PEM instead.
    plain: without TLS. Only for loopback and trusted networks; what agents say to each other stays sealed.
    behind_proxy: a proxy ends TLS in front of it.

    Raises on start:
        PortInUse: it can't listen there.
        ConfigurationError: an address or file can't be used.
    """

    def __init__(
        self,
        listen: str = LOOPBACK,
        *,
        advertise: str | None = None,
        key_file: str | None = None,
        certificate_file: str | None = None,
        private_key_file: str | None = None,
        plain: bool = False,
        behind_proxy: bool = False,
    ) -> None:
        self._listen = listen
        self._options: dict[str, Any] = {
            "listen": listen,
            "advertise": advertise,
            "key_file": key_file,
            "certificate_file": certificate_file,
            "private_key_file": private_key_file,
            "plain": plain,
            "behind_proxy": behind_proxy,
        }
        self._core: _core.Switchboard | None = None
        self._closed = False

    def start(self) -> None:
        """Begins to listen. Idempotent."""
        if self._closed:
            raise UsageError("the switchboard was closed; make a new one")
        if self._core is None:
            self._core = _core.Switchboard(**self._options)

    @property
    def url(self) -> str:
        """The address to give to agents: `wss://host:port#pin`."""
        return self._started().url

    @property
    def local_url(self) -> str:
        """The address by which this process reaches it, whatever is advertised."""
        scheme, _, rest = self.url.partition("://")
        host = self._listen.rpartition(":")[0]
        _, mark, pin = rest.partition("#")
        return f"{scheme}://{LOOPBACKS.get(host, host)}:{self.port}{mark}{pin}"

    @property
    def pin(self) -> str:
        """The pin of its certificate, empty without TLS."""
        return self._started().pin

    @property
    def port(self) -> int:
        """The port that it listens at."""
        return self._started().port

    def stats(self) -> dict[str, int]:
        """Returns counters: links, frames, bytes and the like. Nothing in them concerns a single agent."""
        return self._started().stats()

    async def close(self) -> None:
        """Ends it, and with it all links, which are told. Its port is free afterwards. Idempotent."""
        self.end()
        for _ in range(CLOSING):
            if self._core is None or self._core.is_over:
                break
            await asyncio.sleep(0.01)

    def end(self) -> None:
        """As `close`, from where nothing can be awaited."""
        self._closed = True
        if self._core is not None:
            self._core.close()

    def _started(self) -> _core.Switchboard:
        if self._core is None:
            raise UsageError("the switchboard isn't started: `async with Switchboard(...) as switchboard`")
        return self._core

    def __await__(self) -> Generator[Any, None, Self]:
        return self.__aenter__().__await__()

    async def __aenter__(self) -> Self:
        current_loop()
        self.start()
        return self

    async def __aexit__(self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None) -> None:
        await self.close()

    def __repr__(self) -> str:
        state = "closed" if self._closed else self.url if self._core is not None else "not started"
        return f"<Switchboard {state}>"

    def _repr_html_(self) -> str:
        return card(
            "Switchboard",
            {"state": "closed" if self._closed else "listens" if self._core else "not started", "url": self._core and self._core.url},
        )
