"""Tables of results, as a notebook displays them."""

from collections.abc import Iterable, Sequence
from html import escape

COLOURS = {"right": "#1a7f37", "ok": "#1a7f37", "agrees": "#1a7f37", "wrong": "#cf222e", "not finite": "#cf222e"}
"""Of verdicts; all others are amber."""
AMBER = "#9a6700"


def html_table(header: Sequence[str], rows: Iterable[Sequence[str]], *, verdicts: int | None = None) -> str:
    """A table, its texts escaped; the column `verdicts` is coloured by what stands in it."""
    head = "".join(f"<th>{escape(cell)}</th>" for cell in header)
    marked = ([verdict(cell) if k == verdicts else escape(cell) for k, cell in enumerate(row)] for row in rows)
    body = "".join(f"<tr>{''.join(f'<td>{cell}</td>' for cell in row)}</tr>" for row in marked)
    return f"<table><tr>{head}</tr>{body}</table>"


def verdict(word: str) -> str:
    """A verdict in bold, in its colour."""
    return f"<b style='color:{COLOURS.get(word, AMBER)}'>{escape(word)}</b>"


def html_lines(lines: Iterable[str]) -> str:
    """A paragraph for each line."""
    return "".join(f"<p>{escape(line)}</p>" for line in lines)
