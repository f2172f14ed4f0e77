"""The rules of the library are right; the checks themselves are broken on purpose in test_wrong_rules.

A quarter of the rules by all checks, the others by those of the gradient; `jaxbackprop verify` makes all checks of all
of them.
"""

import pytest

import jaxbackprop as jbp
from jaxbackprop.verification.checks.registry import CHECKS

RULES = jbp.rules()


@pytest.mark.parametrize("name", list(RULES)[::4])
def test_a_rule_passes_every_check(name):
    """A sign flip and an error of 1 % planted in each gradient must be found as well."""
    jbp.verify(RULES[name], prove=True).raise_if_failed()


@pytest.mark.parametrize("name", [name for k, name in enumerate(RULES) if k % 4])
def test_a_rule_has_the_right_gradient(name):
    """At every example, in every precision, and differentiated twice."""
    jbp.verify(RULES[name], checks=["forward_pass", "gradient", "precision", "second_order"]).raise_if_failed()


def test_nothing_of_the_lectures_is_missing():
    """The gates, units, layers and losses that the lectures derive by hand, each by its name."""
    gates = "add sub mul div neg power square sqrt reciprocal exp log sin cos abs copy max min where clip".split()
    arrays = "reduce_max reduce_sum reduce_mean matmul transpose reshape concatenate gather".split()
    units = "sigmoid tanh hard_tanh softsign relu leaky_relu prelu elu selu softplus silu gelu maxout".split()
    layers = "affine affine_unit embedding_bag ragged_embedding_bag window dropout layer_norm rms_norm".split()
    norms = "batch_norm batch_norm_running softmax log_softmax".split()
    losses = "softmax_cross_entropy sigmoid_cross_entropy squared_error max_margin multiclass_hinge".split()
    wanted = {*gates, *arrays, *units, *layers, *norms, *losses, "l1_penalty", "l2_penalty"}
    assert wanted <= set(RULES), wanted - set(RULES)
    assert len(CHECKS) >= 10
