"""The built-in text set: sentences of the Python standard library's own documentation, by what they are about.

The docstrings are found by parsing the library's source, so nothing is imported; they are the same on every run of one
version of Python. A module is wholly in the training set or wholly in the test set, and no sentence is in both.
"""

import ast
import re
import sysconfig
import zlib
from collections.abc import Iterator
from functools import cache
from pathlib import Path

from .errors import DataError
from .labelled_text import Texts

# Modules that every installation has, in every version from 3.11 on that has them at all; a package stands for all
# modules in it. Each topic has enough modules to keep some for the test.
TOPICS = {
    "concurrency": "asyncio threading multiprocessing concurrent queue sched subprocess selectors _threading_local",
    "files": "pathlib shutil tarfile zipfile gzip bz2 lzma _compression tempfile fileinput os glob genericpath"
    " posixpath ntpath _pyio filecmp fnmatch stat",
    "importing": "importlib pkgutil zipimport runpy modulefinder",
    "mail": "email mailbox smtplib imaplib poplib mimetypes quopri",
    "mathematics": "_pydecimal statistics fractions random numbers datetime _pydatetime calendar colorsys heapq bisect"
    " _pylong",
    "testing": "unittest doctest",
    "xml": "xml html",
}
TEST_SHARE = 0.2  # of a topic's sentences; the modules are taken in an order that depends on their names only
LARGEST_IN_TEST = 0.15  # of a topic's sentences: a larger module always teaches
WORDS = (5, 60)  # the words of a sentence, fewest and most
SENTENCE_END = re.compile(r"(?<=[.!?])\s+(?=[A-Z\"'])")
PARAGRAPH_END = re.compile(r"\n\s*\n")
WORD = re.compile(r"\w+|[^\w\s]")


def plain(text: str) -> str:
    """`text` in lower case, its punctuation set apart by blanks: what a bag of words wants."""
    return " ".join(WORD.findall(text.lower()))


@cache
def docstrings(library: Path | None = None) -> tuple[Texts, Texts]:
    """Training and test sentences, each labelled by its topic.

    A sentence that two topics share belongs to neither; one that both sets share belongs to the training set.
    `library` is the folder of the standard library's source, by default that of the Python that runs.
    """
    topics = modules(library)
    held_out = {module for found in topics.values() for module in _held_out(found)}
    topics_of: dict[str, set[str]] = {}
    for topic, found in topics.items():
        for sentences in found.values():
            for sentence in sentences:
                topics_of.setdefault(sentence, set()).add(topic)
    sides: tuple[dict[str, str], dict[str, str]] = {}, {}
    for topic, found in topics.items():
        for module, sentences in found.items():
            side = sides[module in held_out]
            side.update((sentence, topic) for sentence in sentences if len(topics_of[sentence]) == 1)
    train, test = sides
    return _texts(train), _texts({sentence: topic for sentence, topic in test.items() if sentence not in train})


def modules(library: Path | None = None) -> dict[str, dict[str, tuple[str, ...]]]:
    """Topic -> module (its path in the library) -> the sentences of its docstrings, in `plain` form."""
    return _modules(library or Path(sysconfig.get_path("stdlib")))


@cache
def _modules(library: Path) -> dict[str, dict[str, tuple[str, ...]]]:
    topics = {
        topic: {path.relative_to(library).as_posix(): _sentences(path) for path in _files(library, names.split())}
        for topic, names in TOPICS.items()
    }
    if not all(any(found.values()) for found in topics.values()):
        raise DataError("no docstring", expected="the source of Python's standard library", file=library)
    return topics


def _files(library: Path, names: list[str]) -> list[Path]:
    found = [path for name in names for path in (library / f"{name}.py", *sorted((library / name).rglob("*.py")))]
    tests = {"test", "tests", "__pycache__"}
    return [path for path in found if path.is_file() and tests.isdisjoint(path.relative_to(library).parts)]


def _held_out(found: dict[str, tuple[str, ...]]) -> set[str]:
    """The modules of a topic that are kept for the test."""
    total = sum(map(len, found.values()))
    left, chosen = TEST_SHARE * total, set()
    for module in sorted(found, key=lambda name: zlib.crc32(name.encode())):
        if 0 < len(found[module]) <= min(left, LARGEST_IN_TEST * total):
            chosen.add(module)
            left -= len(found[module])
    return chosen


def _sentences(path: Path) -> tuple[str, ...]:
    tree = ast.parse(path.read_bytes(), str(path))
    return tuple(plain(sentence) for doc in _docs(tree) for sentence in _cut(doc))


def _docs(node: ast.AST) -> Iterator[str]:
    """The docstrings of a module and of its classes and functions; nothing else can hold one."""
    if isinstance(node, (ast.Module, ast.ClassDef, ast.FunctionDef, ast.AsyncFunctionDef)):
        yield ast.get_docstring(node) or ""
    for child in getattr(node, "body", []) + getattr(node, "orelse", []):
        if isinstance(child, ast.stmt):
            yield from _docs(child)


def _cut(doc: str) -> Iterator[str]:
    """The sentences of a docstring; what looks like code or a table is passed over."""
    for paragraph in PARAGRAPH_END.split(doc):
        if ">>>" not in paragraph:
            for sentence in SENTENCE_END.split(" ".join(paragraph.split())):
                if WORDS[0] <= len(sentence.split()) <= WORDS[1] and sentence[0].isupper() and sentence[-1] in ".!?:":
                    yield sentence


def _texts(topic_of: dict[str, str]) -> Texts:
    """The sentences in an order that mixes the topics, for training that takes them as they come."""
    mixed = sorted(topic_of, key=lambda sentence: (zlib.crc32(sentence.encode()), sentence))
    return Texts(tuple(mixed), tuple((topic_of[sentence],) for sentence in mixed), source="docstrings")
