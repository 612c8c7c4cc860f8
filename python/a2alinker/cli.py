"""The command `a2alinker`: arguments and output. Data goes to stdout, talk to stderr.

Exit codes: 0 done, 1 it failed (the reason is on stderr), 2 wrong arguments, 130 interrupted.
"""

from __future__ import annotations

import argparse
import asyncio
import signal
import sys
from collections.abc import Callable, Sequence
from importlib import import_module

from .exceptions import A2ALinkerError
from .invite import is_local
from .switchboard import Switchboard

LISTEN = "127.0.0.1:7447"
DELEGATED = {"demo": "several agents work together, and one is killed", "bench": "measure messages and calls through a switchboard"}


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs the command and returns its exit code."""
    given = list(sys.argv[1:] if arguments is None else arguments)
    if given and given[0] in DELEGATED:  # these have arguments of their own, and take longer to import
        return _delegate(given[0], given[1:])
    options = _parser().parse_args(given)
    run: Callable[[argparse.Namespace], int] = options.run
    try:
        return run(options)
    except A2ALinkerError as problem:
        print(f"a2alinker: {problem}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        return 130


def _delegate(name: str, arguments: list[str]) -> int:
    return int(import_module(f"a2alinker.{name}").main(arguments) or 0)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="a2alinker", description="Links agents on different machines through a switchboard that can't read them."
    )
    commands = parser.add_subparsers(required=True, metavar="COMMAND")

    switchboard = commands.add_parser(
        "switchboard",
        help="run a switchboard",
        description="Runs a switchboard until SIGTERM or SIGINT. Prints the address to give to agents, wss://host:port#pin, on stdout.",
    )
    switchboard.add_argument(
        "--listen", metavar="HOST:PORT", default=LISTEN, help="where to listen (%(default)s); port 0 takes any free one"
    )
    switchboard.add_argument("--advertise", metavar="HOST[:PORT]", help="the name or address by which agents reach it")
    protection = switchboard.add_mutually_exclusive_group()
    protection.add_argument("--key", metavar="FILE", help="key of the self-signed certificate; with it a restart keeps the pin")
    protection.add_argument("--new-key", metavar="FILE", help="make such a key, and use it; the file must not exist")
    protection.add_argument("--certificate", metavar="FILE", help="a certificate chain in PEM instead; needs --private-key")
    switchboard.add_argument("--private-key", metavar="FILE", help="the private key of the certificate, in PEM")
    protection.add_argument("--plain", action="store_true", help="ws:// without TLS; anybody on the path sees who talks, and when")
    protection.add_argument("--behind-proxy", action="store_true", help="ws:// to a proxy that ends TLS")
    switchboard.set_defaults(run=_switchboard)

    for name, text in DELEGATED.items():
        commands.add_parser(name, help=text, add_help=False)
    commands.add_parser("version", help="print the version").set_defaults(run=_version)
    return parser


def _switchboard(options: argparse.Namespace) -> int:
    key = options.key
    if options.new_key is not None:
        from ._core import new_key

        new_key(options.new_key)
        key = options.new_key
    switchboard = Switchboard(
        options.listen,
        advertise=options.advertise,
        key_file=key,
        certificate_file=options.certificate,
        private_key_file=options.private_key,
        plain=options.plain,
        behind_proxy=options.behind_proxy,
    )
    asyncio.run(_run(switchboard, _remarks(options, key)))
    return 0


def _remarks(options: argparse.Namespace, key: str | None) -> list[str]:
    """Returns what an operator should know about what is started."""
    remarks = []
    if key is None and options.certificate is None and not options.plain and not options.behind_proxy:
        remarks.append("The key lives in memory: a restart changes the pin. Keep it with --new-key FILE.")
    if options.advertise is None and is_local(options.listen):
        remarks.append("Only this machine can reach it. For others: --listen 0.0.0.0:7447 --advertise NAME")
    elif options.advertise is None:
        remarks.append("If others reach this machine by another name than the one above, say so with --advertise.")
    return remarks


async def _run(switchboard: Switchboard, remarks: list[str]) -> None:
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGINT, signal.SIGTERM):
        try:
            loop.add_signal_handler(number, stop.set)
        except NotImplementedError:  # Windows
            signal.signal(number, lambda *_: loop.call_soon_threadsafe(stop.set))
    async with switchboard:
        print(switchboard.url, flush=True)
        for remark in remarks:
            print(remark, file=sys.stderr)
        await stop.wait()


def _version(options: argparse.Namespace) -> int:
    from ._core import __version__

    print(__version__)
    return 0
