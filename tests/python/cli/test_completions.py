"""Completion scripts. bash runs its own; the others are compared with the parser."""

import re
import shlex
import subprocess

import pytest

from a2alinker import cli
from a2alinker.cli import completions


def complete(*words: str, capsys: pytest.CaptureFixture[str]) -> list[str]:
    """Returns what a real bash offers for the last of the words."""
    script = script_for("bash", capsys)
    typed = " ".join(f"'{word}'" for word in words)
    asks = f"COMP_WORDS=({typed}); COMP_CWORD=$((${{#COMP_WORDS[@]}} - 1)); _a2alinker; printf '%s\\n' \"${{COMPREPLY[@]}}\""
    done = subprocess.run(["bash", "--norc", "-uc", f"{script}\n{asks}"], capture_output=True, text=True, check=True)
    assert done.stderr == ""
    return done.stdout.split()


def script_for(shell: str, capsys: pytest.CaptureFixture[str]) -> str:
    assert cli.main(["completions", shell]) == 0
    return capsys.readouterr().out


@pytest.mark.parametrize(
    ("words", "offered"),
    [
        (["a2alinker", "co"], ["completions"]),
        (["a2alinker", "call", "--pri"], ["--priority"]),
        (["a2alinker", "call", "--priority", "u"], ["urgent"]),
        (["a2alinker", "completions", "z"], ["zsh"]),
        (["a2alinker", "bench", "--q"], ["--quick"]),
        (["a2alinker", "join", "coder", "--skills", ""], []),  # a file: bash does that itself
        (["a2alinker", "nothing", "--"], []),
    ],
)
def test_bash_offers_what_fits(words: list[str], offered: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    assert complete(*words, capsys=capsys) == offered


def test_every_command_and_option_is_in_every_script(capsys: pytest.CaptureFixture[str]) -> None:
    scripts = {shell: script_for(shell, capsys) for shell in ("bash", "zsh", "fish")}
    commands = list(completions.tree())
    assert len(commands) > 10
    for command in commands:
        assert re.search(rf"^ *{command.name}\) case", scripts["bash"], re.MULTILINE)
        assert f"\n        {command.name}) _arguments" in scripts["zsh"]
        assert f"-a {command.name} -d" in scripts["fish"]
        for flag in (flag for option in command.options for flag in option.flags if flag.startswith("--")):
            assert f" {flag}" in scripts["bash"] or f"'{flag}" in scripts["bash"] or f"|{flag}" in scripts["bash"]
            assert f"'{flag}[" in scripts["zsh"]
            assert (
                f"from {command.name}' -l {flag[2:]} " in scripts["fish"] or f"from {command.name}' -s h -l {flag[2:]} " in scripts["fish"]
            )


@pytest.mark.parametrize(
    ("shell", "word"),
    [
        ("zsh", "--ca-file[certificate authorities to trust instead of the system's, in PEM]:file:_files"),
        ("zsh", "--priority[urgent overtakes everything (normal)]:value:(urgent high normal bulk)"),
        ("zsh", "--switchboard[wss\\://host\\:port#pin, or several in turn; or A2ALINKER_SWITCHBOARD]:value: "),
        ("fish", "certificate authorities to trust instead of the system's, in PEM"),
    ],
)
def test_what_the_help_says_is_one_word_to_the_shell(shell: str, word: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert word in shlex.split(script_for(shell, capsys))
