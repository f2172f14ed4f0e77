"""The pytest plugin: one test for each registered rule of a package, and a mark for tests that return what to verify.

    pytest --verify-rules jaxbackprop          # a test for each rule of the package

    @pytest.mark.verify_rule
    def test_my_rule():
        return my_rule, (x, y)                 # the function, and the arguments to verify it at

    @pytest.mark.verify_rule(reference=plain, shapes=True)  # what else `verify` takes
    @pytest.mark.parametrize("dtype", [jnp.float32, jnp.bfloat16])
    def test_my_kernel(dtype):
        return my_kernel, (x.astype(dtype),)

A plain `jax.custom_vjp` or `custom_jvp` at the top of a module does not say what its arguments are: it is collected,
and skipped with that reason, so that nobody takes it for verified.
"""

import importlib
import sys
from collections.abc import Iterator
from typing import Any

import pytest


def pytest_addoption(parser: pytest.Parser) -> None:
    """`--verify-rules PACKAGE`, any number of times."""
    parser.getgroup("jaxbackprop").addoption(
        "--verify-rules",
        action="append",
        default=[],
        metavar="PACKAGE",
        help="verify every registered hand-derived rule of this package, as one test each",
    )


def pytest_configure(config: pytest.Config) -> None:
    """Make the mark known."""
    text = "verify_rule(**options): the test returns a hand-derived function and its arguments; options as of verify"
    config.addinivalue_line("markers", text)


class RuleItem(pytest.Item):
    """One rule."""

    def __init__(self, *, made: Any, **keywords: Any):
        super().__init__(**keywords)
        self.made = made

    def runtest(self) -> None:
        """Verify it."""
        from .api import verify

        verify(self.made).raise_if_failed()

    def repr_failure(self, excinfo: Any, style: Any = None) -> Any:
        """The report, without a traceback through the verifier."""
        from .report import VerificationError

        return str(excinfo.value) if excinfo.errisinstance(VerificationError) else super().repr_failure(excinfo, style)

    def reportinfo(self) -> tuple[Any, int | None, str]:
        """Where the rule is defined."""
        from ..jaxprs.provenance import source_of

        path, _, line = source_of(self.made).rpartition(":")
        return path or self.path, int(line) - 1 if line else None, f"rule {self.made.name}"


class PlainItem(pytest.Item):
    """A plain custom_vjp or custom_jvp, whose arguments are not known."""

    def runtest(self) -> None:
        """Say what is missing."""
        pytest.skip("not examined: its arguments are not known. Return it with some from a test marked verify_rule.")


class RulesCollector(pytest.Collector):
    """All rules of a package."""

    def collect(self) -> Iterator[pytest.Item]:
        """One item for each rule, and for each plain custom_vjp and custom_jvp."""
        from ..core.rule import rules
        from .api import load

        load(self.name)
        for name, made in rules(self.name).items():
            yield RuleItem.from_parent(self, name=name, made=made)
        for name in _plain_rules(self.name):
            yield PlainItem.from_parent(self, name=name)


def _plain_rules(package: str) -> list[str]:
    """The custom_vjp and custom_jvp functions at the top of a package's modules, by module and name."""
    import jax

    loaded = [m for name, m in sorted(sys.modules.items()) if name == package or name.startswith(f"{package}.")]
    return [
        f"{module.__name__}.{name}"
        for module in loaded
        for name, value in vars(module).items()
        if isinstance(value, jax.custom_vjp | jax.custom_jvp) and value.__module__ == module.__name__
    ]


@pytest.hookimpl(trylast=True)
def pytest_collection_modifyitems(session: pytest.Session, config: pytest.Config, items: list[pytest.Item]) -> None:
    """Add the rules of each package that was named.

    Raises:
        UsageError: there is no such package.
    """
    for package in config.getoption("--verify-rules") or ():
        try:
            importlib.import_module(package)
        except ModuleNotFoundError as error:
            raise pytest.UsageError(f"--verify-rules {package}: {error}") from None
        items += RulesCollector.from_parent(session, name=package, nodeid=f"rules of {package}").collect()


@pytest.hookimpl(tryfirst=True)
def pytest_pyfunc_call(pyfuncitem: pytest.Function) -> bool | None:
    """Run a marked test, and verify what it returns."""
    __tracebackhide__ = True
    marker = pyfuncitem.get_closest_marker("verify_rule")
    if marker is None:
        return None
    from .api import verify

    wanted = {name: pyfuncitem.funcargs[name] for name in pyfuncitem._fixtureinfo.argnames}
    returned = pyfuncitem.obj(**wanted)
    fun, args = returned if isinstance(returned, tuple) and len(returned) == 2 else (returned, ())
    if not callable(fun) or not isinstance(args, tuple | list):
        pytest.fail(
            f"a test marked verify_rule returns the function and a tuple of its arguments, as in "
            f"`return my_rule, (x, y)`; this one returned {returned!r:.80}",
            pytrace=False,
        )
    found = verify(fun, *args, **marker.kwargs)
    if not found.passed:
        pytest.fail(str(found), pytrace=False)
    return True
