"""JAX itself, and Optax's losses, projections and transformations."""

import inspect
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from .arrays import INSIDE, LABELS, OTHER, POSITIVE, SHARES, Calls, X, module, normal, positive_definite, under

NOT_OF_ONE_ARRAY = {"dot_product_attention", "one_hot", "scaled_matmul", "get_scaled_dot_general_config", "identity"}

NUMPY: dict[str, tuple[Any, ...]] = {
    **dict.fromkeys(("logaddexp", "logaddexp2", "hypot", "power"), (POSITIVE, OTHER)),
    **dict.fromkeys(("sinc", "cbrt", "i0", "exp2", "abs", "sign", "var", "std", "median", "sort", "cumprod"), (X,)),
}

SCIPY: dict[str, tuple[Any, ...]] = {
    **dict.fromkeys(("logsumexp", "erf", "expit", "log_ndtr", "i0e", "i1e", "spence", "log_softmax"), (X,)),
    **dict.fromkeys(("xlogy", "xlog1py", "betaln", "gammainc", "beta", "poch"), (POSITIVE, POSITIVE)),
    **dict.fromkeys(("rel_entr", "kl_div"), (SHARES, SHARES[::-1].copy())),
    **dict.fromkeys(("gammaln", "digamma", "entr", "exp1", "gamma"), (POSITIVE,)),
    **dict.fromkeys(("logit", "ndtri"), (SHARES,)),
    "erfinv": (INSIDE,),
    "betainc": (POSITIVE, POSITIVE, SHARES),
    "hyp1f1": (POSITIVE, POSITIVE, POSITIVE),
}


def of_jax() -> Calls:
    """The functions of JAX: units, special functions, implicit solvers."""
    made: Calls = {}
    for name in dir(jax.nn):
        fun = getattr(jax.nn, name)
        if inspect.isroutine(fun) or hasattr(fun, "lower") or hasattr(fun, "defjvp"):
            if not name.startswith(("_", "scaled", "get_")) and name not in NOT_OF_ONE_ARRAY:
                made[f"jax.nn.{name}"] = (fun, (X,))
    made |= {f"jax.numpy.{name}": (getattr(jnp, name), args) for name, args in NUMPY.items()}
    made |= {f"jax.scipy.special.{name}": (getattr(jax.scipy.special, name), args) for name, args in SCIPY.items()}
    q, spd, b = normal(2, 5, 2, 8), positive_definite(3), normal(3)
    sparse, ode = module("jax.scipy.sparse.linalg"), module("jax.experimental.ode")

    def root(a: Any) -> Any:
        def newton(f: Any, x: Any) -> Any:
            return jax.lax.fori_loop(0, 20, lambda _, x: x - f(x) / (3 * x**2 + 1), x)

        return jax.lax.custom_root(lambda x: x**3 + x - a, jnp.ones(6), newton, lambda g, y: y / g(jnp.ones_like(y)))

    return made | {
        "jax.nn.dot_product_attention": (jax.nn.dot_product_attention, (q, q * 0.5, q + 1)),
        "jax.lax.custom_root": (root, (POSITIVE[0],)),
        "jax.lax.custom_linear_solve": (
            lambda a, v: jax.lax.custom_linear_solve(
                lambda x: a @ x, v, lambda f, v: jnp.linalg.solve(a, v), symmetric=True
            ), (spd, b),
        ),
        "jax.scipy.sparse.linalg.cg": (lambda a, v: sparse.cg(lambda x: a @ x, v)[0], (spd, b)),
        "jax.scipy.sparse.linalg.bicgstab": (lambda a, v: sparse.bicgstab(lambda x: a @ x, v)[0], (spd, b)),
        "jax.experimental.ode.odeint": (
            lambda y, a: ode.odeint(lambda y, t, a: -a * y, y, jnp.array([0.0, 0.5, 1.0]), a),
            (POSITIVE[0, :2], POSITIVE[1, :2]),
        ),
        "jax.random.gamma": (lambda a: jax.random.gamma(jax.random.key(0), a), (POSITIVE[0],)),
        "jax.scipy.linalg.expm": (jax.scipy.linalg.expm, (normal(3, 3) * 0.5,)),
    }  # fmt: skip


USUAL: dict[str, tuple[Any, ...]] = {
    "multiclass_hinge_loss": (X, LABELS),
    "multiclass_perceptron_loss": (X, LABELS),
    "multiclass_sparsemax_loss": (X, LABELS),
    "triplet_margin_loss": (X, X[::-1].copy(), INSIDE),
    "ntxent": (X, LABELS),
}

ELSEWHERE = {"make_fenchel_young_loss", "ctc_loss", "ctc_loss_with_forward_probs"}


def of_optax() -> Calls:
    """The losses and projections of Optax."""
    optax = module("optax")
    made: Calls = {}
    for name, fun in vars(optax.losses).items():
        if inspect.isfunction(fun) and name not in ELSEWHERE:
            made[name] = (fun, USUAL.get(name, (X, LABELS) if "integer" in name else (X, SHARES)))
    for name in "simplex l1_ball l1_sphere l2_ball l2_sphere linf_ball".split():
        made[f"projection_{name}"] = (getattr(optax.projections, f"projection_{name}"), (X[0],))
    made["make_fenchel_young_loss"] = (optax.losses.make_fenchel_young_loss(jax.nn.logsumexp), (X[0], SHARES[0]))
    made["ctc_loss"] = (
        lambda x: optax.losses.ctc_loss(x, np.zeros((2, 5)), np.array([[1, 2], [3, 1]]), np.zeros((2, 2))),
        (normal(2, 5, 4),),
    )
    made["perturbations.make_perturbed_fun"] = (
        lambda x: optax.perturbations.make_perturbed_fun(
            lambda s: jax.nn.one_hot(jnp.argmax(s), 6), 64, 0.5
        )(jax.random.key(0), x), (X[0],),
    )  # fmt: skip
    made["global_norm"] = (optax.global_norm, ((X, INSIDE),))
    made["safe_norm"] = (lambda x: optax.safe_norm(x, 1e-3), (X,))
    return under("optax", made)


LIBRARIES = {"jax": of_jax, "optax": of_optax}
