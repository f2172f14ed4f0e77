"""All checks, in the order in which they are made. There is no other list."""

from . import (
    accumulation,
    devices,
    formula,
    gradient,
    other_inputs,
    precision,
    residuals,
    second_order,
    transformations,
)
from .result import Check

CHECKS: dict[str, Check] = {
    check.key: check
    for check in (
        Check(gradient.forward_pass, everywhere=True),
        Check(gradient.gradient, everywhere=True),
        Check(gradient.linear_in_the_upstream, everywhere=True),
        Check(gradient.taylor_remainder),
        Check(formula.declared_formula, everywhere=True),
        Check(formula.limits_at_infinity),
        Check(precision.precision, everywhere=True),
        Check(precision.bias),
        Check(accumulation.accumulation, everywhere=True),
        Check(other_inputs.other_points),
        Check(other_inputs.kinks),
        Check(other_inputs.other_batches),
        Check(residuals.exercised),
        Check(residuals.memory),
        Check(residuals.nothing_leaks),
        Check(residuals.no_gradient_of_integers),
        Check(transformations.structure),
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
