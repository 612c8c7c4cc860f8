"""What the reviewers and the tester find out about one Python file: plain functions that know nothing of agents.

`review` measures functions, `find_copies` compares them, `run_doctests` runs the examples of one module in a process of its own.
Findings are dictionaries of JSON-like values, ready to be sent.
"""

import ast
import json
import keyword
import os
import subprocess
import sys
import tempfile
import tokenize
from collections.abc import Iterator
from difflib import SequenceMatcher
from functools import lru_cache
from pathlib import Path
from typing import Any

Finding = dict[str, Any]

SMALLEST_COMPARED = 80
"""Tokens that a function must have to be looked for elsewhere. Chosen: shorter ones are alike without meaning anything."""

COPIED_RUN = 20
"""Tokens in a row that count as copied: a copy that was edited in places still has runs of this length."""

COPIED_SHARE = 0.8
"""Share of the shorter function's tokens that must be copied for a finding."""

DOCTEST_SECONDS = 20.0
"""Time that the examples of one module may take; examples of strangers may wait for anything."""

_BRANCHES = (ast.If, ast.For, ast.AsyncFor, ast.While, ast.ExceptHandler, ast.IfExp, ast.comprehension, ast.match_case)
_FUNCTIONS = (ast.FunctionDef, ast.AsyncFunctionDef)


def review(source: str) -> Finding:
    """Measures the functions of one file and lists what is public and undocumented.

    Raises:
        SyntaxError: the file isn't valid Python for this interpreter.
    """
    tree = ast.parse(source)
    return {
        "lines": source.count("\n") + 1,
        "functions": [{"name": name, "line": node.lineno, "complexity": complexity(node)} for name, node in _functions(tree)],
        "undocumented": list(_undocumented(tree)),
    }


def find_copies(source: str, others: dict[str, str]) -> Iterator[tuple[int, int, list[Finding]]]:
    """Looks for functions that were copied, within one file and into others.

    Yields functions done, functions in all and the copies found so far, the last time with everything. Names and literals don't count, so a
    renamed copy is found, and small edits don't hide one. A file that isn't valid Python has no functions here.
    """
    copies: list[Finding] = []
    own = _shapes(source)
    elsewhere = [(path, *function) for path, text in others.items() for function in _shapes(text)]
    for done, (name, shape) in enumerate(own):
        yield done, len(own), copies
        matcher = SequenceMatcher(autojunk=False)
        matcher.set_seq2(shape)
        within = [("", *function) for function in own[done + 1 :] if not function[0].startswith(f"{name}.")]
        for path, other, other_shape in [*within, *elsewhere]:
            matcher.set_seq1(other_shape)
            shared = sum(block.size for block in matcher.get_matching_blocks() if block.size >= COPIED_RUN)
            if shared >= COPIED_SHARE * min(len(shape), len(other_shape)):
                copies.append({"name": name, "path": path, "other": other, "tokens": shared})
    yield len(own), len(own), copies


def complexity(function: ast.AST) -> int:
    """McCabe's number: one, and one more for each place where the path through the function forks."""
    forks = 0
    waiting = list(ast.iter_child_nodes(function))
    while waiting:
        node = waiting.pop()
        if isinstance(node, _BRANCHES):
            forks += 1
        elif isinstance(node, ast.BoolOp):
            forks += len(node.values) - 1
        if isinstance(node, ast.comprehension):
            forks += len(node.ifs)
        if not isinstance(node, _FUNCTIONS):  # a function inside is measured by itself
            waiting.extend(ast.iter_child_nodes(node))
    return 1 + forks


def compile_error(path: str, source: str) -> str | None:
    """Says why the file doesn't compile, or None if it does."""
    try:
        compile(source, path, "exec", dont_inherit=True)
    except (SyntaxError, ValueError) as error:
        return str(error)
    return None


def has_doctests(source: str) -> bool:
    """Whether any line looks like an example; only then is it worth starting a process."""
    return any(line.lstrip().startswith(">>> ") for line in source.splitlines())


def run_doctests(folder: Path, path: str) -> Finding:
    """Runs the examples of one module of the package in `folder`, in a process of its own that ends with this one, and counts them.

    Raises:
        OSError: the process can't be started.
    """
    life, ours = os.pipe()  # the second end is closed with this process, whatever ends it
    command = [sys.executable, "-I", "-c", _DOCTEST_PROGRAM, str(folder), path, str(life)]
    with os.fdopen(life, "rb"), os.fdopen(ours, "wb"), tempfile.TemporaryDirectory() as scratch:  # where examples may write files
        try:
            run = subprocess.run(
                command,
                cwd=scratch,
                env={**os.environ, "PYTHONDONTWRITEBYTECODE": "1"},
                stdin=subprocess.DEVNULL,
                pass_fds=[life],
                capture_output=True,
                text=True,
                timeout=DOCTEST_SECONDS,
                check=False,
            )
        except subprocess.TimeoutExpired:
            return {"attempted": 0, "failed": 0, "error": f"not finished after {DOCTEST_SECONDS:.0f} s"}
    if run.returncode != 0:
        lines = run.stderr.strip().splitlines()
        return {"attempted": 0, "failed": 0, "error": lines[-1] if lines else f"ended with {run.returncode}"}
    counted: Finding = json.loads(run.stdout.splitlines()[-1])
    return counted


_DOCTEST_PROGRAM = """
import contextlib, doctest, importlib, importlib.util, io, json, os, sys, threading
folder, path, life = sys.argv[1:]

def end_with_the_tester():
    os.read(int(life), 1)  # nothing ever comes but the end
    os._exit(1)

threading.Thread(target=end_with_the_tester, daemon=True).start()
sys.path.insert(0, folder)
parts = path.removesuffix(".py").split("/")
if parts[-1] == "__init__":
    parts.pop()
name = ".".join(parts)
for parent in (".".join(parts[:end]) for end in range(1, len(parts))):
    importlib.import_module(parent)
# By its file: a package of the standard library is imported already, from another place than the copy under test.
spec = importlib.util.spec_from_file_location(name, folder + "/" + path)
module = importlib.util.module_from_spec(spec)
sys.modules[name] = module
with contextlib.redirect_stdout(io.StringIO()):
    spec.loader.exec_module(module)
    result = doctest.testmod(module)
print(json.dumps({"attempted": result.attempted, "failed": result.failed, "error": None}))
"""


def _functions(tree: ast.AST, prefix: str = "") -> Iterator[tuple[str, ast.FunctionDef | ast.AsyncFunctionDef]]:
    for node in ast.iter_child_nodes(tree):
        if isinstance(node, _FUNCTIONS):
            yield prefix + node.name, node
            yield from _functions(node, f"{prefix}{node.name}.")
        elif isinstance(node, ast.ClassDef):
            yield from _functions(node, f"{prefix}{node.name}.")
        else:
            yield from _functions(node, prefix)


@lru_cache(maxsize=256)  # each file is compared with many
def _shapes(source: str) -> list[tuple[str, list[str]]]:
    """The functions worth comparing, as tokens in which every name and every literal is the same."""
    try:
        tree = ast.parse(source)
    except (SyntaxError, ValueError):
        return []
    lines = source.splitlines(keepends=True)
    shapes = [(name, _shape(lines[node.lineno - 1 : node.end_lineno])) for name, node in _functions(tree)]
    return [(name, shape) for name, shape in shapes if len(shape) >= SMALLEST_COMPARED]


def _shape(lines: list[str]) -> list[str]:
    shape = []
    for token in tokenize.generate_tokens(iter(lines).__next__):
        if token.type == tokenize.NAME:
            shape.append(token.string if keyword.iskeyword(token.string) else "name")
        elif token.type in (tokenize.NUMBER, tokenize.STRING):
            shape.append("literal")
        elif token.type == tokenize.OP:
            shape.append(token.string)
    return shape


def _undocumented(tree: ast.AST, prefix: str = "") -> Iterator[str]:
    """Names of public functions, methods and classes without a docstring; what is inside a function isn't public."""
    for node in ast.iter_child_nodes(tree):
        if isinstance(node, (*_FUNCTIONS, ast.ClassDef)):
            if node.name.startswith("_"):
                continue
            if ast.get_docstring(node) is None:
                yield prefix + node.name
            if isinstance(node, ast.ClassDef):
                yield from _undocumented(node, f"{prefix}{node.name}.")
        elif isinstance(node, (ast.If, ast.Try)):
            yield from _undocumented(node, prefix)
