"""The pytest plugin: one test for each registered rule of a package, and a mark for tests that return what to verify.

pytest --verify-rules jaxbackprop          collects a test for each rule of the package

@pytest.mark.verify_rule
def test_my_rule():
return my_rule, (x, y)                 # the function, and the arguments to verify it at
"""

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
    config.addinivalue_line("markers", "verify_rule: the test returns a hand-derived function and its arguments")


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


class RulesCollector(pytest.Collector):
    """All rules of a package."""

    def collect(self) -> Iterator[RuleItem]:
        """One item for each rule."""
        from ..core.rule import rules
        from .api import load

        load(self.name)
        for name, made in rules(self.name).items():
            yield RuleItem.from_parent(self, name=name, made=made)


@pytest.hookimpl(trylast=True)
def pytest_collection_modifyitems(session: pytest.Session, config: pytest.Config, items: list[pytest.Item]) -> None:
    """Add the rules of each package that was named."""
    for package in config.getoption("--verify-rules") or ():
        items += RulesCollector.from_parent(session, name=package, nodeid=f"rules of {package}").collect()


@pytest.hookimpl(tryfirst=True)
def pytest_pyfunc_call(pyfuncitem: pytest.Function) -> bool | None:
    """Run a marked test, and verify what it returns."""
    if pyfuncitem.get_closest_marker("verify_rule") is None:
        return None
    from .api import assert_verified

    wanted = {name: pyfuncitem.funcargs[name] for name in pyfuncitem._fixtureinfo.argnames}
    returned = pyfuncitem.obj(**wanted)
    fun, args = returned if isinstance(returned, tuple) else (returned, ())
    assert_verified(fun, *args)
    return True
