"""`completions`: what bash, zsh and fish need to know in order to complete the command, written from the parser."""

from __future__ import annotations

import argparse
from collections.abc import Iterator
from dataclasses import dataclass
from importlib import import_module
from typing import Final, Literal

from . import parser
from .output import Output

FILES: Final = ("FILE", "FOLDER")  # what the value of an option is called if it is a path


@dataclass(frozen=True)
class Option:
    """One option of a command."""

    flags: tuple[str, ...]
    text: str
    value: Literal["none", "choice", "path", "other"]
    choices: tuple[str, ...] = ()


@dataclass(frozen=True)
class Command:
    """One command."""

    name: str
    text: str
    options: tuple[Option, ...]
    words: tuple[str, ...]  # that may stand alone, where there is a fixed choice


def main(options: argparse.Namespace, output: Output) -> int:
    """Prints the script for one shell."""
    commands = tuple(tree())
    script = {"bash": bash, "zsh": zsh, "fish": fish}[options.shell](commands)
    output.data(script, {"shell": options.shell, "script": script})
    return 0


def tree() -> Iterator[Command]:
    """Gives the commands as the parser knows them."""
    whole = parser.parser()
    (subparsers,) = (action for action in whole._actions if isinstance(action, argparse._SubParsersAction))
    texts = {choice.dest: choice.help or "" for choice in subparsers._choices_actions}
    for name, command in subparsers.choices.items():
        its = import_module(f"a2alinker.{name}").parser() if name in parser.DELEGATED else command
        options = tuple(_option(its, action) for action in its._actions if action.option_strings)
        words = [str(choice) for action in its._actions if not action.option_strings for choice in action.choices or ()]
        yield Command(name, texts[name], options, tuple(words))


def _option(command: argparse.ArgumentParser, action: argparse.Action) -> Option:
    flags = tuple(action.option_strings)
    text = command._get_formatter()._expand_help(action) if action.help else ""
    if action.nargs == 0:
        return Option(flags, text, "none")
    if action.choices is not None:
        return Option(flags, text, "choice", tuple(map(str, action.choices)))
    return Option(flags, text, "path" if action.metavar in FILES else "other")


def bash(commands: tuple[Command, ...]) -> str:
    """Returns the script for bash: `source <(a2alinker completions bash)`."""
    cases = "\n".join(map(_bash_case, commands))
    return f"""\
_a2alinker() {{
    local word=${{COMP_WORDS[COMP_CWORD]}} before=${{COMP_WORDS[COMP_CWORD-1]}} words=
    COMPREPLY=()
    if [[ $COMP_CWORD -eq 1 ]]; then
        words='{" ".join(command.name for command in commands)} --help'
    else
        case ${{COMP_WORDS[1]}} in
{cases}
        esac
    fi
    COMPREPLY=($(compgen -W "$words" -- "$word"))
}}
complete -o bashdefault -o default -F _a2alinker a2alinker
"""


def _bash_case(command: Command) -> str:
    values = [f"{'|'.join(option.flags)}) words='{' '.join(option.choices)}' ;;" for option in command.options if option.value == "choice"]
    free = [flag for option in command.options if option.value in ("path", "other") for flag in option.flags]
    if free:
        values.append(f"{'|'.join(free)}) ;;  # any value; bash offers files")
    flags = " ".join(flag for option in command.options for flag in option.flags)
    values.append(f"*) words='{' '.join((*command.words, flags))}' ;;")
    inner = "\n".join(f"                {line}" for line in values)
    return f"            {command.name}) case $before in\n{inner}\n            esac ;;"


def zsh(commands: tuple[Command, ...]) -> str:
    """Returns the script for zsh: `source <(a2alinker completions zsh)`, or as `_a2alinker` in a folder of `fpath`."""
    names = "\n".join(f"        {_quoted(f'{command.name}:{command.text}')}" for command in commands)
    cases = "\n".join(_zsh_case(command) for command in commands)
    return f"""\
#compdef a2alinker
_a2alinker() {{
    local -a commands=(
{names}
    )
    if (( CURRENT == 2 )); then
        _describe command commands
        return
    fi
    local command=$words[2]
    shift words
    (( CURRENT-- ))
    case $command in
{cases}
    esac
}}
if [[ $funcstack[1] == _a2alinker ]]; then
    _a2alinker "$@"
else
    compdef _a2alinker a2alinker
fi
"""


def _zsh_case(command: Command) -> str:
    specifications = []
    for option in command.options:
        text = option.text.replace("[", "\\[").replace("]", "\\]").replace(":", "\\:")
        after = {"none": "", "choice": f":value:({' '.join(option.choices)})", "path": ":file:_files", "other": ":value: "}[option.value]
        specifications += [_quoted(f"{flag}[{text}]{after}") for flag in option.flags]
    specifications.append(_quoted(f"*:word:({' '.join(command.words)})" if command.words else "*: :_files"))
    lines = " \\\n".join(f"            {specification}" for specification in specifications)
    return f"        {command.name}) _arguments \\\n{lines} ;;"


def fish(commands: tuple[Command, ...]) -> str:
    """Returns the script for fish: `a2alinker completions fish > ~/.config/fish/completions/a2alinker.fish`."""
    lines = ["complete -c a2alinker -f"]
    lines += [f"complete -c a2alinker -n __fish_use_subcommand -a {command.name} -d {_quoted(command.text)}" for command in commands]
    for command in commands:
        here = f"complete -c a2alinker -n '__fish_seen_subcommand_from {command.name}'"
        if command.words:
            lines.append(f"{here} -a {_quoted(' '.join(command.words))}")
        for option in command.options:
            names = " ".join(f"-l {flag[2:]}" if flag.startswith("--") else f"-s {flag[1:]}" for flag in option.flags)
            value = {"none": "", "choice": f" -x -a {_quoted(' '.join(option.choices))}", "path": " -r -F", "other": " -x"}[option.value]
            lines.append(f"{here} {names}{value} -d {_quoted(option.text)}")
    return "\n".join(lines) + "\n"


def _quoted(text: str) -> str:
    return "'" + text.replace("'", "'\\''") + "'"
