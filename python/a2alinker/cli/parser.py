"""The arguments of every command. Importing this imports nothing of the library: `--help` and completion are quick."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from typing import Final, NoReturn, TypeAlias

from ..invite import LONGEST_CODE
from . import exits

LISTEN: Final = "127.0.0.1:7447"
DELEGATED: Final = {"demo": "several agents work together, and one is killed", "bench": "measure messages and calls through a switchboard"}
SHELLS: Final = ("bash", "zsh", "fish")
PRIORITIES: Final = ("urgent", "high", "normal", "bulk")


class Misuse(Exception):
    """The arguments of a command are wrong."""

    def __init__(self, command: argparse.ArgumentParser, text: str) -> None:
        super().__init__(text)
        self.usage = command.format_usage()


class Parser(argparse.ArgumentParser):
    """Leaves it to its caller to say what is wrong: a program that asked for JSON is told in JSON."""

    def error(self, message: str) -> NoReturn:
        """Raises Misuse."""
        raise Misuse(self, message)


def parse(given: Sequence[str]) -> argparse.Namespace:
    """Returns what the arguments say.

    Raises:
        Misuse: they are wrong.
    """
    options = parser().parse_args(given)
    if "ticket" in options and not options.ticket and options.ttl > LONGEST_CODE:
        options.command.error(f"argument --ttl: a code lives for {LONGEST_CODE:g} s at most: take --ticket for longer")
    return options


def parser() -> Parser:
    """Returns the parser. What it finds holds `run`, the module and function that do the work, and `command`, the parser of that command."""
    whole = Parser(
        prog="a2alinker",
        description="Links agents on different machines through a switchboard that can't read them.",
        epilog=exits.epilog(),
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    commands = whole.add_subparsers(required=True, metavar="COMMAND")
    _switchboard(commands)
    _host(commands)
    _join(commands)
    _invite(commands)
    _send(commands)
    _recv(commands)
    _call(commands)
    _peers(commands)
    for name, text in DELEGATED.items():
        commands.add_parser(name, help=text, add_help=False)
    _doctor(commands)
    _version(commands)
    _completions(commands)
    return whole


Commands: TypeAlias = "argparse._SubParsersAction[Parser]"  # it has no public name


def _command(commands: Commands, name: str, run: str, text: str, *parents: Parser, more: str = "") -> Parser:
    described = f"{text[0].upper()}{text[1:]}. {more}".strip()
    made = commands.add_parser(name, help=text, description=described, parents=[*parents, _output()])
    made.set_defaults(run=run, command=made)
    return made


def _switchboard(commands: Commands) -> None:
    command = _command(
        commands,
        "switchboard",
        "switchboard:main",
        "run a switchboard",
        more="Runs until SIGTERM or SIGINT. Prints the address to give to agents, wss://host:port#pin.",
    )
    command.add_argument("--listen", metavar="HOST:PORT", default=LISTEN, help="where to listen (%(default)s); port 0 takes any free one")
    command.add_argument("--advertise", metavar="HOST[:PORT]", help="the name or address by which agents reach it")
    protection = command.add_mutually_exclusive_group()
    protection.add_argument("--key", metavar="FILE", help="key of the self-signed certificate; with it a restart keeps the pin")
    protection.add_argument("--new-key", metavar="FILE", help="make such a key, and use it; the file must not exist")
    protection.add_argument("--certificate", metavar="FILE", help="a certificate chain in PEM instead; needs --private-key")
    command.add_argument("--private-key", metavar="FILE", help="the private key of the certificate, in PEM")
    protection.add_argument("--plain", action="store_true", help="ws:// without TLS; anybody on the path sees who talks, and when")
    protection.add_argument("--behind-proxy", action="store_true", help="ws:// to a proxy that ends TLS")


def _host(commands: Commands) -> None:
    command = _command(
        commands,
        "host",
        "serve:host",
        "found a swarm, hand out invites and serve skills",
        _link(),
        _inviting(),
        more="Prints each invite, and what others send to it. Starts a switchboard of its own unless it is given one.",
    )
    command.add_argument("name", metavar="NAME", help="name of this agent")
    command.add_argument("--skills", metavar="FILE", help="a Python file with functions decorated with @a2alinker.skill")
    command.add_argument("--no-invite", action="store_true", help="hand out no invite")
    command.add_argument("--listen", metavar="HOST:PORT", default=LISTEN, help="for its own switchboard (%(default)s)")
    command.add_argument("--advertise", metavar="HOST[:PORT]", help="for its own switchboard: the name by which others reach it")


def _join(commands: Commands) -> None:
    command = _command(
        commands, "join", "serve:join", "join a swarm and serve skills", _link(), _admission(), more="Prints what others send to it."
    )
    command.add_argument("name", metavar="NAME", help="name of this agent")
    command.add_argument("--skills", metavar="FILE", help="a Python file with functions decorated with @a2alinker.skill")


def _invite(commands: Commands) -> None:
    _command(
        commands,
        "invite",
        "invite:main",
        "print an invite, and stay until somebody has joined",
        _member(),
        _inviting(),
        more="For an agent that may admit.",
    )


def _send(commands: Commands) -> None:
    command = _command(commands, "send", "exchange:send", "send a message, and wait until its receiver has it", _member(), _exchange())
    command.add_argument("to", metavar="TO", help="name or id of the receiver")
    body = command.add_mutually_exclusive_group()
    body.add_argument("text", metavar="TEXT", nargs="?", help="the message; - reads it from standard input")
    body.add_argument("--json-body", metavar="JSON", help="a JSON value instead; @FILE and - work too")
    body.add_argument("--file", metavar="FILE", help="a file instead, up to 1 GiB; - for standard input")
    command.add_argument(
        "--until-done", dest="until", action="store_const", const="done", default="delivered", help="wait until the receiver has handled it"
    )
    command.add_argument(
        "--timeout", metavar="S", type=_seconds, default=30.0, help="seconds until the receiver must have it (%(default)g)"
    )


def _recv(commands: Commands) -> None:
    command = _command(commands, "recv", "exchange:recv", "print messages as they come", _member())
    command.add_argument("--count", metavar="N", type=_count, help="end after so many")
    command.add_argument("--save-to", metavar="DIR", help="save files and streams in this folder, and print where they are")
    command.add_argument(
        "--timeout", metavar="S", type=_seconds, help="end when none came for so many seconds; a failure if there were too few"
    )


def _call(commands: Commands) -> None:
    command = _command(
        commands,
        "call",
        "exchange:call",
        "call a skill and print the answer",
        _member(),
        _exchange(),
        more="An argument is a JSON value or else text, @FILE or -; NAME=VALUE passes it by name.",
    )
    command.add_argument("skill", metavar="SKILL", help="name of the skill")
    command.add_argument("arguments", metavar="ARG", nargs="*", help="what the skill takes")
    command.add_argument("--to", metavar="TO", help="name or id of the agent to call; by default anybody who has the skill")
    command.add_argument("--stream", action="store_true", help="print partial answers on stdout too")
    command.add_argument(
        "--timeout", metavar="S", type=_seconds, help="seconds until the answer must be there (default: as long as it takes)"
    )


def _peers(commands: Commands) -> None:
    command = _command(commands, "peers", "peers:main", "list the other agents of the swarm", _member())
    command.add_argument("--all", action="store_true", help="also those that are gone")
    command.add_argument("--watch", action="store_true", help="go on, and tell who comes and goes")


def _doctor(commands: Commands) -> None:
    command = _command(
        commands,
        "doctor",
        "doctor:main",
        "find what is wrong on the way to a switchboard",
        _link(),
        more="Ends with 1 if something has to change.",
    )
    command.add_argument("address", metavar="ADDRESS", nargs="?", help="the switchboard (default: --switchboard)")


def _version(commands: Commands) -> None:
    _command(commands, "version", "version:main", "print the version")


def _completions(commands: Commands) -> None:
    command = _command(commands, "completions", "completions:main", "print the completion script for a shell")
    command.add_argument("shell", metavar="SHELL", choices=SHELLS, help=" or ".join(SHELLS))


# -- what several commands take --


def _output() -> Parser:
    part = Parser(add_help=False)
    part.add_argument("--json", action="store_true", help="print JSON objects, one a line, for a program")
    return part


def _link() -> Parser:
    part = Parser(add_help=False)
    part.add_argument("--identity", metavar="FILE", help="the agent file: who the agent is, from run to run; made if it isn't there")
    group = part.add_argument_group("switchboard")
    group.add_argument(
        "--switchboard", metavar="ADDRESS", action="append", help="wss://host:port#pin, or several in turn; or A2ALINKER_SWITCHBOARD"
    )
    group.add_argument("--link-timeout", metavar="S", type=_seconds, default=10.0, help="seconds until the link must be up (%(default)g)")
    group.add_argument("--ca-file", metavar="FILE", help="certificate authorities to trust instead of the system's, in PEM")
    return part


def _admission() -> Parser:
    part = Parser(add_help=False)
    group = part.add_argument_group(
        "invite", "From A2ALINKER_INVITE or one of these; on a terminal you are asked for it. Never an argument."
    )
    source = group.add_mutually_exclusive_group()
    source.add_argument("--invite-file", metavar="FILE", help="read it from a file")
    source.add_argument("--invite-stdin", action="store_true", help="read it from the first line of standard input")
    return part


def _member() -> Parser:
    part = Parser(add_help=False, parents=[_link(), _admission()])
    part.add_argument("--name", metavar="NAME", help="name of the agent that this command is (default: that of the agent file, or yours)")
    return part


def _inviting() -> Parser:
    part = Parser(add_help=False)
    group = part.add_argument_group("what the invite grants")
    group.add_argument("--ticket", action="store_true", help="a ticket, long and to be pasted, instead of a code")
    group.add_argument("--uses", metavar="N", type=_uses, default=1, help="how many may join, or any (%(default)s); codes are for one each")
    group.add_argument("--ttl", metavar="S", type=_seconds, default=600.0, help="seconds in which they may join (%(default)g)")
    group.add_argument("--may-offer", metavar="SKILL", action="append", help="only these skills may be offered (default: any)")
    group.add_argument("--may-admit", action="store_true", help="they may invite others")
    group.add_argument("--may-not-call", action="store_true", help="they may not start calls of their own")
    return part


def _exchange() -> Parser:
    part = Parser(add_help=False)
    part.add_argument("--priority", choices=PRIORITIES, default="normal", help="urgent overtakes everything (%(default)s)")
    part.add_argument(
        "--wait", metavar="S", type=_seconds, default=10.0, help="seconds to wait until the other agent is there (%(default)g)"
    )
    return part


def _seconds(text: str) -> float:
    value = float(text)
    if not 0 < value <= 86_400:
        raise argparse.ArgumentTypeError(f"{text} isn't above 0 and at most 86400 seconds")
    return value


def _count(text: str) -> int:
    value = int(text)
    if value < 1:
        raise argparse.ArgumentTypeError(f"{text} isn't 1 or more")
    return value


def _uses(text: str) -> int | None:
    return None if text == "any" else _count(text)
