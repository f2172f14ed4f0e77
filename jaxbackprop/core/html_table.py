"""Tables of results, as a notebook displays them."""

import re
from collections.abc import Iterable, Sequence
from html import escape

COLOURS = {"right": "#1a7f37", "ok": "#1a7f37", "agrees": "#1a7f37", "wrong": "#cf222e", "not finite": "#cf222e"}
"""Of verdicts; all others are amber."""
AMBER = "#9a6700"


def html_table(header: Sequence[str], rows: Iterable[Sequence[str]], *, verdicts: int | None = None) -> str:
    """A table, its texts escaped; the column `verdicts` is coloured by what stands in it.

    Columns of numbers are aligned right, all others left: notebooks align everything right.
    """
    rows = [list(row) for row in rows]
    texts = {k for row in rows for k, cell in enumerate(row) if not re.match(r"[\d+−.-]|$", cell)}
    sides = ["left" if k in texts else "right" for k in range(len(header))]
    marked = ([verdict(cell) if k == verdicts else escape(cell) for k, cell in enumerate(row)] for row in rows)
    body = "".join(f"<tr>{_cells('td', row, sides)}</tr>" for row in marked)
    return f"<table><tr>{_cells('th', map(escape, header), sides)}</tr>{body}</table>"


def _cells(tag: str, cells: Iterable[str], sides: Sequence[str]) -> str:
    return "".join(f"<{tag} style='text-align:{side}'>{cell}</{tag}>" for cell, side in zip(cells, sides, strict=True))


def verdict(word: str) -> str:
    """A verdict in bold, in its colour."""
    return f"<b style='color:{COLOURS.get(word, AMBER)}'>{escape(word)}</b>"


def html_lines(lines: Iterable[str]) -> str:
    """A paragraph for each line."""
    return "".join(f"<p>{escape(line)}</p>" for line in lines)
