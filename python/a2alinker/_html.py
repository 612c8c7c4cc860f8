"""Small tables for notebooks. Everything that goes into them is escaped: names and texts come from other agents."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

LONGEST = 200  # characters of one value; chosen: a line or two in a notebook
MOST_ROWS = 50  # of one table; chosen: more than that nobody reads, and a swarm can be large


def card(title: str, rows: Mapping[str, object]) -> str:
    """Returns a titled table with one row for each entry that isn't empty."""
    lines = "".join(
        f"<tr><th style='text-align:left'>{_text(name)}</th><td style='text-align:left'>{_text(value)}</td></tr>"
        for name, value in rows.items()
        if value not in ("", None)
    )
    return f"<table><caption><b>{_text(title)}</b></caption>{lines}</table>"


def table(title: str, columns: Iterable[str], rows: Iterable[Iterable[object]]) -> str:
    """Returns a titled table with a header. Of more than MOST_ROWS rows it shows the first ones, and says how many are left out."""
    header = "".join(f"<th>{_text(column)}</th>" for column in columns)
    shown = list(rows)
    left_out = len(shown) - MOST_ROWS
    lines = "".join("<tr>" + "".join(f"<td>{_text(value)}</td>" for value in row) + "</tr>" for row in shown[:MOST_ROWS])
    if left_out > 0:
        lines += f"<tr><td>and {left_out} more</td></tr>"
    return f"<table><caption><b>{_text(title)}</b></caption><tr>{header}</tr>{lines}</table>"


def _text(value: object) -> str:
    from html import escape

    text = value if isinstance(value, str) else str(value)
    return escape(text if len(text) <= LONGEST else text[: LONGEST - 1] + "…")
