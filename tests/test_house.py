"""The house is in order: floors, exports, docs and generated files."""

import ast
import re
import subprocess
import sys
from collections.abc import Iterator, Sequence
from functools import cache
from pathlib import Path

import jaxbackprop

ROOT = Path(__file__).resolve().parent.parent
PACKAGE = ROOT / "jaxbackprop"
# From the ground up: a file imports from its own folder and from what stands before it here.
ORDER: Sequence[str] = (
    "jaxprs core gates layers losses verification derivation circuits benchmarking models data training fasttext cli"
).split()
OPENS_FILES = ORDER[ORDER.index("data") :]
FILES = sorted(PACKAGE.rglob("*.py"))


def room(path: Path) -> str:
    """The entry of ORDER that a file of the package belongs to."""
    return path.relative_to(PACKAGE).parts[0].removesuffix(".py")


def named(path: Path) -> str:
    return str(path.relative_to(ROOT))


@cache
def tree_of(path: Path) -> ast.Module:
    return ast.parse(path.read_text())


def imports(path: Path) -> Iterator[tuple[int, str]]:
    """(line, dotted name) of everything a file imports, relative imports resolved."""
    package = ["jaxbackprop", *path.relative_to(PACKAGE).parent.parts]
    for node in ast.walk(tree_of(path)):
        if isinstance(node, ast.Import):
            yield from ((node.lineno, alias.name) for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            base = package[: len(package) - node.level + 1] if node.level else []
            module = ".".join([*base, *([node.module] if node.module else [])])
            if module == "jaxbackprop":
                yield from ((node.lineno, f"{module}.{alias.name}") for alias in node.names)
            else:
                yield node.lineno, module


def imports_of_files(path: Path) -> set[Path]:
    """The files of the package that a file imports when it is loaded; what stands in a function is not among them."""
    found = set()
    nodes: list[ast.AST] = [*tree_of(path).body]
    while nodes:
        node = nodes.pop()
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef) or is_type_checking(node):
            continue
        nodes += ast.iter_child_nodes(node)
        if isinstance(node, ast.ImportFrom) and node.level:
            folder = path.parents[node.level - 1].joinpath(*(node.module or "").split("."))
            for alias in node.names:
                candidates = (folder / f"{alias.name}.py", folder.with_suffix(".py"), folder / "__init__.py")
                found.update(c for c in candidates[:1] if c.exists())
                found.update(c for c in candidates[1:] if c.exists() and not (folder / f"{alias.name}.py").exists())
    return found


def is_type_checking(node: ast.AST) -> bool:
    return isinstance(node, ast.If) and ast.unparse(node.test) == "TYPE_CHECKING"


def imports_inside_functions(path: Path) -> Iterator[tuple[int, str]]:
    """(line, dotted name) of every import that runs when a function is called."""
    for function in ast.walk(tree_of(path)):
        if isinstance(function, ast.FunctionDef | ast.AsyncFunctionDef):
            for node in ast.walk(function):
                if isinstance(node, ast.Import):
                    yield from ((node.lineno, alias.name) for alias in node.names)
                elif isinstance(node, ast.ImportFrom):
                    yield node.lineno, "." * node.level + (node.module or "")


def calls(path: Path) -> Iterator[tuple[int, str]]:
    for node in ast.walk(tree_of(path)):
        if isinstance(node, ast.Call):
            yield node.lineno, ast.unparse(node.func)


def test_a_file_imports_only_from_its_own_room_or_from_below():
    wrong = []
    for path in FILES:
        if path.parent == PACKAGE and path.name in ("__init__.py", "__main__.py"):
            continue
        for line, name in imports(path):
            if name.startswith("jaxbackprop") and name != "jaxbackprop.__version__":
                other = name.split(".")[1] if "." in name else ""
                if other not in ORDER:
                    wrong.append(f"{named(path)}:{line} imports {name}, which stands nowhere in the house")
                elif ORDER.index(other) > ORDER.index(room(path)):
                    wrong.append(f"{named(path)}:{line} imports {name} from above")
    assert wrong == []


def test_a_file_keeps_the_rules_of_the_house():
    wrong = []
    for path in FILES:
        source = path.read_text()
        if not ast.get_docstring(tree_of(path)):
            wrong.append(f"{named(path)} does not say what lives there")
        if re.search(r"\bjax\._src\b", source):
            wrong.append(f"{named(path)} uses a private part of JAX")
        if re.search(r"^\s*(from|import) jaxbackprop\b", source, re.MULTILINE):
            wrong.append(f"{named(path)}: import relatively")
        # A drawing is written where a path is given for it; a page is put together from files of the package.
        may_open = room(path) in OPENS_FILES or path.name in ("write_file.py", "as_html.py")
        for line, called in calls(path):
            if called == "print" and room(path) != "cli":
                wrong.append(f"{named(path)}:{line} prints")
            opens = called == "open" or called.endswith((".read_text", ".write_text", ".read_bytes", ".write_bytes"))
            if opens and not may_open:
                wrong.append(f"{named(path)}:{line} opens a file below the data floor")
    assert wrong == []


PRIVATE = (
    r"jax\.extend", r"jax\.interpreters", r"jax\.core\b", r"\bdebug_info\b", r"\bsource_info\b", r"\bget_bind_params\b",
    r"\bmanual_axis_type\b", r"\.params\[", r"\.params\.get", r"\.ctx\.manager", r"config\.(read|values)\b",
    r"\bgetclosurevars\b",
)  # fmt: skip
"""What of JAX is private, unstable or different between its releases: `jaxprs/compat.py` alone knows it."""


def test_what_is_private_in_jax_stands_in_jaxprs():
    others = [path for path in FILES if not str(path.relative_to(PACKAGE)).startswith("jaxprs/")]
    found = {named(path): [p for p in PRIVATE if re.search(p, path.read_text())] for path in others}
    assert {name: patterns for name, patterns in found.items() if patterns} == {}, "jaxprs/compat.py should know it"


def test_no_two_files_import_each_other():
    """Not even over others: a file is loaded after all that it imports."""
    arrows = {path: sorted(imports_of_files(path) - {path}) for path in FILES if path.name != "__init__.py"}
    arrows |= {path: [] for path in FILES if path.name == "__init__.py"}  # they only hand on what others define
    done: set[Path] = set()

    def visit(path: Path, way: tuple[Path, ...]) -> None:
        assert path not in way, "a circle: " + " -> ".join(map(named, (*way[way.index(path) :], path)))
        if path not in done:
            for other in arrows[path]:
                visit(other, (*way, path))
            done.add(path)

    for path in arrows:
        visit(path, ())


OPTIONAL = ("cairosvg", "matplotlib", "hypothesis", "pooch", "requests", "sklearn", "orbax", "scipy", "tensorboardX")
"""Packages that only some users need, or that take long to load: imported by the function that uses them."""
STARTS_AT_ONCE = ("cli", "verification/pytest_plugin.py")
"""Loaded by every command and by every run of pytest: what they need is imported when it is needed."""


def test_only_optional_packages_are_imported_inside_functions():
    wrong = []
    for path in FILES:
        inside = str(path.relative_to(PACKAGE))
        if not inside.startswith(STARTS_AT_ONCE) and inside != "__init__.py":
            found = imports_inside_functions(path)
            wrong += [f"{named(path)}:{line} {name}" for line, name in found if name.split(".")[0] not in OPTIONAL]
    assert wrong == []


def test_what_is_public_is_documented():
    wrong = []
    for path in FILES:
        for node in tree_of(path).body:
            if isinstance(node, ast.FunctionDef | ast.ClassDef) and not node.name.startswith("_"):
                # A backward pass is documented by its rule.
                # An overload is documented by its function, an entry of a table of primitives by the primitive's name.
                overloaded = {ast.unparse(d).partition("(")[0] for d in node.decorator_list} & {"overload", "primitive"}
                if not (node.name.endswith("_backward") or overloaded or ast.get_docstring(node)):
                    wrong.append(f"{named(path)}:{node.lineno} {node.name}")
    assert wrong == []


def test_every_rule_cites_its_derivation():
    for name, made in jaxbackprop.rules().items():
        text = made.__doc__ or ""
        for section in ("Forward", "Backward", "Source"):
            assert section in text, f"{name}: its docstring has no {section}"
        assert "Kink" in text or made.kinks is None, f"{name}: it has kinks= but its docstring names no Kink"


def test_generated_files_are_up_to_date():
    done = subprocess.run(
        [sys.executable, ROOT / "scripts" / "sync.py", "--check"], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr


def test_every_test_file_is_named_after_the_file_it_tests():
    free = {
        "test_every_rule",
        "test_every_gate",
        "test_every_unit",
        "test_every_check",
        "test_verdicts",
        "test_wrong_rules",
        "test_foreign_rules",
        "test_kernel_corpus",
        "test_house",
        "test_docs",
        "test_experiments",
        "test_courses",
        "test_gpu",
        "test_published",
    }
    for path in sorted((ROOT / "tests").rglob("test_*.py")):
        relative = path.relative_to(ROOT / "tests").with_suffix("")
        target = PACKAGE / relative.parent / relative.name.removeprefix("test_")
        found = target.with_suffix(".py").exists() or target.is_dir() or relative.name in free
        assert found, f"{named(path)} tests no file of that name"


def test_the_version_is_the_changelogs():
    newest = re.search(r"^## (\S+)", (ROOT / "CHANGELOG.md").read_text(), re.MULTILINE)
    assert newest
    assert newest[1] == jaxbackprop.__version__
    assert f'version = "{newest[1]}"' in (ROOT / "pyproject.toml").read_text()


def test_the_quick_tests_are_there_and_touch_every_package():
    lines = (ROOT / "tests" / "quick.txt").read_text().split()
    files = [line for line in lines if not line.startswith("--deselect")]
    assert not [file for file in files if not (ROOT / file).exists()]
    touched = {Path(file).parts[1].removeprefix("test_").removesuffix(".py") for file in files}
    assert {path.parent.name for path in PACKAGE.glob("*/__init__.py")} <= touched
