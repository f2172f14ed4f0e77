"""The only file of circuits that writes to the disk: a drawing, where a path is given for it."""

from pathlib import Path


def write_bytes(content: bytes, path: str | Path | None) -> bytes:
    """`content` itself, written to `path` where one is given."""
    if path is not None:
        Path(path).write_bytes(content)
    return content


def write_file(text: str, path: str | Path | None) -> str:
    """`text` itself, written to `path` where one is given."""
    if path is not None:
        Path(path).write_text(text, encoding="utf-8")
    return text
