"""All checks, in the order in which they are made. There is no other list."""

from collections.abc import Sequence

from . import (
    accumulation,
    devices,
    formula,
    gradient,
    kernels,
    other_inputs,
    precision,
    residuals,
    second_order,
    shapes,
    transformations,
)
from .result import Check

CHECKS: dict[str, Check] = {
    check.key: check
    for check in (
        Check(gradient.forward_pass, everywhere=True),
        Check(gradient.gradient, everywhere=True, needs_numbers=False),
        Check(gradient.linear_in_the_upstream, everywhere=True),
        Check(gradient.taylor_remainder),
        Check(formula.declared_formula, everywhere=True),
        Check(formula.limits_at_infinity),
        Check(precision.precision, everywhere=True),
        Check(precision.bias),
        Check(accumulation.accumulation, everywhere=True),
        Check(other_inputs.other_points, needs_numbers=False),
        Check(other_inputs.kinks, needs_numbers=False),
        Check(other_inputs.other_batches, needs_numbers=False),
        Check(shapes.shapes),
        Check(kernels.kernels),
        Check(residuals.exercised),
        Check(residuals.memory),
        Check(residuals.nothing_leaks),
        Check(residuals.no_gradient_of_integers),
        Check(transformations.structure, needs_numbers=False),
        Check(transformations.same_value_when_differentiated),
        Check(transformations.jit),
        Check(transformations.vmap),
        Check(transformations.scan),
        Check(transformations.checkpoint),
        Check(devices.shard_map),
        Check(second_order.second_order),
        Check(second_order.adjoint),
    )
}
"""By what `verify(checks=[...])` calls them."""


def chosen_checks(function: str, names: Sequence[str] | None) -> list[Check]:
    """The checks of these names; all where none are given.

    Args:
        function: to which the names were given, for the messages.
        names: of the checks.

    Raises:
        TypeError: `names` is one string.
        ValueError: there is no check of such a name.
    """
    if names is None:
        return list(CHECKS.values())
    if isinstance(names, str):
        raise TypeError(f"{function}: checks must be a list of names, such as checks=[{names!r}].")
    unknown = [name for name in names if name not in CHECKS]
    if unknown:
        raise ValueError(f"{function}: there is no check called {unknown[0]}. There are {', '.join(CHECKS)}.")
    return [CHECKS[name] for name in names]
