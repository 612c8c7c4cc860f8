"""`version`."""

from __future__ import annotations

import argparse

from .._core import __version__
from .output import Output


def main(options: argparse.Namespace, output: Output) -> int:
    """Prints the version."""
    output.data(__version__, {"version": __version__})
    return 0
