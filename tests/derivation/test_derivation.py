"""`derive` as it is used: the rule is verified, the formulas are those of the lectures, what it cannot is refused."""

import collections
import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from derivable import DERIVABLE, Derivable, normal
from jaxtyping import Array, Float

import jaxbackprop as jbp


def derive(case: Derivable) -> jbp.Derivation:
    return jbp.derive(case.function, *case.args, sums_to_one=case.sums_to_one)


@pytest.mark.parametrize("name", DERIVABLE)
def test_the_rule_is_right(name):
    derived = derive(DERIVABLE[name])
    assert derived.proof.verdict == "proved", derived.proof
    assert derived.verify(["gradient"]).passed, derived.code
    assert derived.latex.count(r"\tag") == derived.markdown.count(r"\tag") > 0


@pytest.mark.parametrize("name", ["layer_norm", "embedding_bag", "two_outputs"])
def test_the_rule_for_plain_jax_is_the_same(name):
    """No import of this library, and the same numbers; integers get no gradient."""
    derived = derive(DERIVABLE[name])
    code = derived.to_code("custom_vjp")
    assert "jbp" not in code
    namespace: dict = {}
    exec(code, namespace)
    function = namespace[name]

    def loss(function, *args):
        return sum(jnp.cos(y).sum() for y in jax.tree.leaves(function(*args)))

    gradients = (jax.grad(loss, 1)(f, *derived.args) for f in (function, derived.rule))
    np.testing.assert_array_equal(*gradients)


BACKWARD = {
    "sigmoid": "dz_ni = upstream_ni a_ni (1 - a_ni)",
    "tanh": "dz_ni = upstream_ni (1 - a_ni^2)",
    "softmax": "dz_ni = p_ni (upstream_ni - sum_i' p_ni' upstream_ni')",
    "log_softmax": "dz_ni = upstream_ni - p_ni sum_i' upstream_ni'",
    "cross_entropy": "dz_ni = upstream (p_ni - y_ni) / N",
    "cross_entropy_of_labels": "dz_ni = upstream (p_ni - 1[labels_n = i]) / N",
    "affine": "dW_ij = sum_n x_ni upstream_nj",
    "layer_norm": "dx_bi = (dn_bi - n_bi sum_i' n_bi' dn_bi' / I - sum_i' dn_bi' / I) / root_b",
    "attention": "dS_nj = P_nj (sum_k V_jk upstream_nk - sum_k O_nk upstream_nk)",
    "embedding_bag": "dtable_ni = sum_jk 1[ids_jk = n] upstream_ji / K",
}


@pytest.mark.parametrize("name", BACKWARD)
def test_the_backward_pass_reads_like_the_lecture(name):
    assert BACKWARD[name] in str(derive(DERIVABLE[name])).replace("Backward  ", "")


def test_the_deltas_of_a_two_layer_network_are_computed_once_and_used_again():
    """CS224n, note 3: delta3 = U o a2 (1 - a2), delta2 = W2^T delta3 o a1 (1 - a1), and gradients from them."""
    derived = derive(DERIVABLE["score_of_one"])
    lines = str(derived)
    assert "dz2_k = upstream U_k a2_k (1 - a2_k)" in lines
    assert "dz1_j = a1_j (sum_k W2_kj dz2_k) (1 - a1_j)" in lines
    assert "dW1_ji = dz1_j x_i" in lines
    assert "dz1 = (dz2 @ W2) * a1 * (1 - a1)" in derived.code
    assert r"\delta^{(1)} &= (\big(W^{(2)}\big)^\top \delta^{(2)}) \circ a^{(1)} \circ (1 - a^{(1)})" in derived.latex


def test_the_whole_text_of_a_derivation():
    derived = derive(DERIVABLE["softmax"])
    assert derived.latex == (
        r"""\paragraph{Forward}
\begin{align}
\mathrm{top}_{n} &= \max_{i} z_{ni} \tag{1} \\
e_{ni} &= e^{z_{ni} - \mathrm{top}_{n}} \tag{2} \\
t_{n} &= \sum_{i} e_{ni} \tag{3} \\
p_{ni} &= \frac{e_{ni}}{t_{n}} && \parbox[t]{0.4\linewidth}{\raggedright\small its sum over i is 1} \tag{4}
\end{align}
\paragraph{Backward, by the chain rule}
\begin{align}
\delta^{p}_{ni} &= \bar{p}_{ni} && \parbox[t]{0.4\linewidth}{\raggedright\small what arrives from the loss} \tag{5} \\
\delta^{t}_{n} &= -\frac{1}{{t_{n}}^{2}}\, \sum_{i} e_{ni}\, \delta^{p}_{ni} && \parbox[t]{0.4\linewidth}{\raggedright\small $t$ enters $p$ with the power -1} \tag{6} \\
\delta^{e}_{ni} &= \frac{\delta^{p}_{ni}}{t_{n}} + \delta^{t}_{n} && \parbox[t]{0.4\linewidth}{\raggedright\small adder at a fork: $e$ is used 2 times; swapper: the delta of $p$ times $t$; distributor: each term of the sum $t$ receives its delta} \tag{7} \\
\frac{\partial L}{\partial z_{ni}} &= \delta^{e}_{ni}\, e_{ni} && \parbox[t]{0.4\linewidth}{\raggedright\small the derivative of exp is exp itself, $e$} \tag{8}
\end{align}
\paragraph{Made simple}
\begin{align}
\frac{\partial L}{\partial z_{ni}} &= p_{ni}\, \Big(\bar{p}_{ni} - \sum_{i'} p_{ni'}\, \bar{p}_{ni'}\Big) && \parbox[t]{0.4\linewidth}{\raggedright\small the deltas of $t$, $e$ put in} \tag{9}
\end{align}
"""  # noqa: E501
    )
    assert derived.code == (
        '''import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

import jaxbackprop as jbp


@jbp.rule
def softmax(z: Float[Array, "N I"]) -> jbp.WithResiduals[Float[Array, "N I"]]:
    """softmax, its backward pass derived.

    Forward   top_n = max_i z_ni
              e_ni = exp(z_ni - top_n)
              t_n = sum_i e_ni
              p_ni = e_ni / t_n
    Backward  dz_ni = p_ni (upstream_ni - sum_i' p_ni' upstream_ni')
    Source    jaxbackprop.derive
    """
    top = z.max(1)
    e = jnp.exp(z - top[:, None])
    t = e.sum(1)
    p = e / t[:, None]
    return p, (p,)


@softmax.backward
def softmax_backward(residuals, upstream):
    (p,) = residuals
    # what arrives through t and e
    dz = p * (upstream - (p * upstream).sum(1, keepdims=True))
    return dz
'''
    )
    assert "<table>" in derived._repr_html_()


def test_names_keep_their_case_in_markdown():
    markdown = derive(DERIVABLE["log_softmax"]).markdown
    assert "*$l'$ enters $l$ many times: its deltas are summed*" in markdown
    assert "L" not in markdown.replace(r"\partial L", "")


def test_a_rule_derived_at_one_size_is_right_at_every_size():
    """The sizes in it are read from the arrays, though two axes of the example were as long as each other."""
    case = DERIVABLE["layer_norm"]
    derived = jbp.derive(case.function, normal(5, 5), normal(5), normal(5))
    args = normal(2, 8), normal(8), normal(8)
    assert jbp.verify(derived.rule, *args, reference=case.function, checks=["gradient"]).passed


def test_a_number_that_is_a_root_of_a_size_is_read_from_the_array():
    def attend(Q, K, V):
        P = jax.nn.softmax(Q @ K.T / jnp.sqrt(Q.shape[-1]))
        return P @ V

    derived = jbp.derive(attend, normal(4, 3), normal(5, 3), normal(5, 2))
    assert "jnp.sqrt(Q.shape[1])" in derived.code
    assert not derived.conditions
    args = normal(3, 7), normal(2, 7), normal(2, 4)
    assert jbp.verify(derived.rule, *args, reference=attend, checks=["gradient"]).passed


def test_a_number_that_depends_on_sizes_otherwise_is_a_condition():
    def scaled(x):
        return x**2 * (x.shape[0] + 3)

    (condition,) = jbp.derive(scaled, normal(4, 3)).conditions
    assert "the sizes are those it was derived at" in condition

    def third(x):
        return x.sum(-1) / 3  # as long as the axis is by chance

    (condition,) = jbp.derive(third, normal(4, 3)).conditions
    assert "x (4, 3)" in condition


def test_the_rule_is_measured_beside_autodiff():
    result = jbp.benchmark(derive(DERIVABLE["tanh"]), rounds=2, oracle=False)
    assert result.time_ratio > 0


def test_what_is_saved_is_no_more_than_the_rules_of_this_library_save():
    """Layer norm: the normalised input, one number a row, the scale; the mask of a ReLU alone."""
    for name, rule in (("layer_norm", jbp.layers.layer_norm), ("relu", jbp.gates.relu), ("softmax", jbp.gates.softmax)):
        case = DERIVABLE[name]
        residuals = jax.eval_shape(lambda *a, rule=rule: rule.forward(*a)[1], *case.args)
        ours = sum(x.size * x.dtype.itemsize for x in jax.tree.leaves(residuals))
        assert derive(case).residuals.bytes <= ours


def test_what_is_saved_is_weighed_against_operations():
    """A sign is a byte, masks that occur together are one; a matrix product is computed again if worth it."""
    assert jbp.derive(lambda x: jnp.abs(x), normal(3)).saved == {"sign": 3}
    assert list(jbp.derive(lambda x: jnp.clip(x, -1.0, 1.0), normal(3, 5)).saved.values()) == [15]
    case = DERIVABLE["attention"]
    passes, products = (jbp.derive(case.function, *case.args, operations_per_byte=k) for k in (0, 100))
    assert "P" in passes.saved
    assert set(products.saved) <= {"Q", "K", "V", "O", "top", "t2"}
    assert products.proof.verdict == "proved"
    assert products.verify(["gradient"]).passed, products.code


def test_the_guard_of_a_row_in_which_all_is_masked_does_not_show_in_the_gradient_of_softmax():

    def share(z):
        e = jnp.exp(z)
        total = e.sum(-1, keepdims=True)
        p = e / jnp.where(total == 0, 1, total)
        return p

    derived = jbp.derive(share, normal(3, 5))
    assert "dz_ni = p_ni (upstream_ni - sum_i' p_ni' upstream_ni')" in str(derived)
    z = normal(3, 5).at[1].set(-1000)
    found, expected = (jax.grad(lambda z, f=f: jnp.sin(f(z)).sum())(z) for f in (derived.rule, share))
    np.testing.assert_allclose(found, expected, atol=1e-6)
    assert not found[1].any()

    def signed(z):
        total = z.sum(-1, keepdims=True)
        return z / jnp.where(total == 0, 1, total)

    def divided_first(z):
        e = jnp.exp(z)
        total = e.sum(-1, keepdims=True)
        return jnp.where(total == 0, 0, e / total)

    z = jnp.full((1, 3), -1000.0)
    assert np.isfinite(jbp.derive(divided_first, normal(3, 5)).rule(z)).all()
    guarded = jbp.derive(signed, normal(3, 5))  # numbers of both signs may cancel: there the mask counts
    z = jnp.array([[1.0, -1.0, 0.0, 2.0, -2.0]])
    found, expected = (jax.grad(lambda z, f=f: jnp.sin(f(z)).sum())(z) for f in (guarded.rule, signed))
    np.testing.assert_allclose(found, expected, atol=1e-6)


def test_a_line_too_long_for_a_slide_is_broken():
    derived = jbp.derive(jbp.gates.silu, normal(3))
    for text in (derived.slides, derived.latex):
        assert r"&\quad {}" in text
    assert derived.slides.count(r"\begin{frame}") == derived.slides.count(r"\end{frame}") > 1
    lecture = derive(DERIVABLE["score_of_one"]).slides
    assert r"\quad {}" not in lecture
    assert r"\delta^{(1)} &= (\big(W^{(2)}\big)^\top \delta^{(2)}) \circ a^{(1)} \circ (1 - a^{(1)})" in lecture


def test_a_wrong_line_of_the_printed_rule_would_be_found():
    """The judge of a derivation is no part of it: a rule with a sign changed does not pass."""
    derived = derive(DERIVABLE["softmax"])
    wrong = derived.rule.with_backward(lambda p, upstream: p[0] * (upstream + (p[0] * upstream).sum(-1, keepdims=True)))
    assert not jbp.verify(wrong, *derived.args, reference=derived.function, checks=["gradient"]).passed
    assert dataclasses.replace(derived, function=lambda z: jax.nn.softmax(z) ** 2).proof.verdict == "refuted"


def transposed_and_stretched(x, b):
    return (x + b).T, jnp.broadcast_to(b.sum(-1), (4, 3))


def gram(x):
    return x @ x.T


def with_a_column(x, w):
    return x * w + w.sum()


def unused(x, w):
    return x**2


def masked_softmax(S, mask):
    P = jax.nn.softmax(jnp.where(mask, S, -jnp.inf))
    return P


def leaky(x, slope):
    a = jnp.where(x > 0, x, slope * x)
    return a


def mean_of_a_sum(x, c):
    v = x + c[:, None]
    return v.mean(1)


def maximum_of_itself(x):
    return jnp.maximum(x, x) * jnp.where(x > x, 2.0, 3.0)


def largest_of_ties(x):
    return jnp.maximum(x, 0).max(-1)


def of_a_mask(x, mask):
    d = mask * 1.0
    dx = d - (x > 0)
    return dx * x


@pytest.mark.parametrize(
    ("function", "args"),
    [
        (transposed_and_stretched, (normal(3, 5), normal(3, 5))),
        (gram, (normal(3, 5),)),
        (with_a_column, (normal(3, 5), normal(3, 1))),
        (unused, (normal(3, 5), normal(2))),
        (masked_softmax, (normal(3, 5), jnp.arange(15).reshape(3, 5) % 4 < 3)),
        (leaky, (normal(3, 5), normal(5))),
        (mean_of_a_sum, (normal(3, 5), normal(3))),
        (maximum_of_itself, (normal(3, 5),)),
        (largest_of_ties, (-jnp.abs(normal(3, 5)) - 3,)),
        (of_a_mask, (normal(3, 5), jnp.arange(15).reshape(3, 5) % 2 == 0)),
        (lambda x: jnp.tanh(x), (40 + normal(3, 5) / 9,)),
        (lambda x: jnp.tanh(jax.nn.relu(x)) ** 2, (2 + normal(3, 5) / 9,)),
        (lambda x: jnp.where(jnp.isinf(x), 0.0, jnp.clip(x, -0.5, 0.5)), (normal(3, 5),)),
    ],
)
def test_odd_functions_have_right_rules_too(function, args):
    """Also where the given arguments lie where a unit saturates or a mask is 1 everywhere: the rule holds elsewhere."""
    derived = jbp.derive(function, *args)
    assert derived.verify(["gradient"]).passed, derived.code
    moved = [x - 2.1 if jnp.issubdtype(x.dtype, jnp.floating) else x for x in args]
    for elsewhere in (moved, args):
        for got, expected in zip(pulled(derived.rule, elsewhere), pulled(function, elsewhere), strict=True):
            assert np.isfinite(expected).all()
            np.testing.assert_allclose(got, expected, rtol=1e-4, atol=1e-5)


def pulled(function, args):
    floats = [k for k, x in enumerate(args) if jnp.issubdtype(x.dtype, jnp.floating)]

    def loss(*xs):
        full = list(args)
        for k, x in zip(floats, xs, strict=True):
            full[k] = x
        return sum((jnp.cos(jnp.arange(y.size)) * y.ravel()).sum() for y in jax.tree.leaves(function(*full)))

    return jax.grad(loss, tuple(range(len(floats))))(*(args[k] for k in floats))


STEPS = (
    "m * k", "m + k", "m @ W", "jnp.tanh(m)", "jax.nn.softmax(m)", "m - n[:, None]", "m / (n[:, None] ** 2 + 1)",
    "jnp.maximum(m, k)", "m + b", "m * b", "jnp.where(m > 0, k, 0.5)", "m - m.mean(0)", "(m @ k.T) @ m",
    "m * n[:, None]", "1 / (1 + jnp.exp(-m))", "jnp.abs(m)", "(m + b).sum(0) + m",
)  # fmt: skip
ROWS = ("m.sum(1)", "m.mean(1)", "(m * k).sum(1)", "jnp.log(n**2 + 1)", "m.max(1)", "jnp.sqrt(n**2 + 1)")


@pytest.mark.parametrize("seed", range(12))
def test_random_programs_have_proved_rules(seed):
    """Matrices and rows put together at random."""
    rng = np.random.default_rng(seed)
    chosen = [(rng.choice(STEPS), rng.choice(ROWS), rng.integers(2)) for _ in range(3)]

    def program(m, k, n, W, b):
        names = {"jax": jax, "jnp": jnp, "m": m, "k": k, "n": n, "W": W, "b": b}
        for step, row, which in chosen:
            names["n"] = eval(row, names)
            names["mk"[which]] = eval(step, names)
        return names["m"], names["k"], names["n"]

    args = (normal(3, 5), normal(3, 5), normal(3), normal(5, 5), normal(5))
    derived = jbp.derive(program, *args)
    assert derived.proof.verdict == "proved", (chosen, derived.proof, derived.code)


def sort_first(x):
    y = jnp.sort(x)
    return y[0]


def shifted_rows(table, ids):
    return table[ids + 1]


Pair = collections.namedtuple("Pair", "x y")


def of_a_pair(pair):
    return pair.x * pair.y


@pytest.mark.parametrize(
    ("function", "args", "says"),
    [
        (sort_first, (jnp.arange(3.0),), r"the primitive sort has no derivation at .*test_derivation.py:\d+"),
        (shifted_rows, (jnp.ones((4, 2)), jnp.array([0, 1])), r"arithmetic on integer indices at .*test_derivation.py"),
        (lambda key, x: x, (jax.random.split(jax.random.key(0)), jnp.ones(3)), "key has dtype key<fry>"),
        (lambda upstream: upstream * 2, (jnp.ones(3),), "a use of its own for the name upstream"),
        (lambda x: x > 0, (jnp.ones(3),), "does not return a floating-point array"),
        (lambda x: {"y": x}, (jnp.ones(3),), "does not return a floating-point array"),
        (lambda x: x.astype(int) * x, (jnp.ones(3),), "a conversion of float64 to int"),
        (of_a_pair, (Pair(1.0, 2.0),), "pair is or holds a Pair; give arrays, or lists, tuples and dictionaries"),
    ],
)
def test_what_cannot_be_derived_is_refused_with_its_line(function, args, says):
    with pytest.raises(jbp.CannotDerive, match=says):
        jbp.derive(function, *args)


@jax.custom_vjp
def square(x):
    return x**2


square.defvjp(lambda x: (x**2, x), lambda x, upstream: (x * upstream,))  # the factor 2 is forgotten


@jax.custom_vjp
def cube(x):
    return x**3


cube.defvjp(lambda x: (x**3, x), lambda x, upstream: (3 * x**2 * upstream,))


def test_a_wrong_rule_inside_the_function_is_named_with_its_line():
    def energy(x):
        return (square(x) + cube(x)).sum()

    derived = jbp.derive(energy, normal(4))
    assert [site.name for site in derived.wrong_rules] == ["square"]
    assert "dx_i = " in str(derived)
    for text in (str(derived), derived.markdown, derived.latex):
        assert "backward pass of square (" in text
        assert "test" in text.partition("square (")[2].partition(")")[0]
    assert "cube (" not in str(derived)
    assert derived.proof.verdict == "refuted"
    right = jbp.derive(lambda x: cube(x).sum(), normal(4))
    assert right.wrong_rules == ()
    assert right.proof.verdict == "proved"
    assert "Wrong" not in str(right)


def test_a_condition_is_stated():
    derived = derive(DERIVABLE["cross_entropy"])
    assert derived.conditions == ("each row of y sums to 1",)
    assert "Provided  each row of y sums to 1" in derived.code
    assert "sum_i y_ni" in str(jbp.derive(derived.function, *derived.args)).replace("sum_i'", "sum_i").replace(
        "i'", "i"
    )


def test_a_jitted_function_and_a_rule_are_read_like_a_plain_one():
    case = DERIVABLE["softmax"]
    plain = str(derive(case)).splitlines()[-1]
    assert str(jbp.derive(jax.jit(case.function), *case.args)).splitlines()[-1] == plain
    assert "dz_ni = upstream_ni a_ni (1 - a_ni)" in str(jbp.derive(jbp.gates.sigmoid, normal(3, 5))).replace(
        "y_ni", "a_ni"
    )


def test_axes_are_called_as_they_are_annotated():
    def scores(x: Float[Array, "batch features"], W: Float[Array, "features classes"]):
        z = x @ W
        return jnp.tanh(z)

    derived = jbp.derive(scores, normal(3, 5), normal(5, 4))
    assert "z_bc = sum_f x_bf W_fc" in str(derived)
    assert 'W: Float[Array, "F C"]' in derived.code


def test_what_is_drawn_from_a_key_is_drawn_again():
    def noisy(x, W, key):
        z = x @ W
        m = jax.random.bernoulli(key, 0.8, z.shape)
        h = jnp.where(m, jnp.tanh(z) / 0.8, 0)
        return h + 0.1 * jax.random.normal(key, h.shape) * z

    args = normal(3, 5), normal(5, 4), jax.random.key(1)
    derived = jbp.derive(noisy, *args)
    assert "1 with probability 0.8, else 0, drawn from key" in str(derived)
    assert derived.saved["key"] == 8
    assert "m" not in derived.saved
    assert derived.proof.verdict == "proved"
    assert derived.verify(["gradient"]).passed, derived.code
    gradient = jax.grad(lambda W: noisy(args[0], W, args[2]).sum())(args[1])
    assert derived.check({"dW": gradient}).passed
    other = jax.random.key(2)
    found, expected = (jax.grad(lambda W, f=f: f(args[0], W, other).sum())(args[1]) for f in (derived.rule, noisy))
    np.testing.assert_allclose(found, expected, rtol=1e-4, atol=1e-5)
    with pytest.raises(jbp.CannotDerive, match=r"has no derivation at .*test_derivation.py"):
        jbp.derive(lambda x, key: x * jax.random.normal(jax.random.split(key)[0], x.shape), normal(3), other)
