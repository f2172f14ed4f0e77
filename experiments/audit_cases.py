"""The functions and models of other people's libraries that `audit_in_the_open` looks through, each with arguments.

One function a library; a library is imported only there, so one that is absent or does not import is reported, no more.
"""

import functools
import importlib
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

Call = tuple[Callable[..., Any], tuple[Any, ...]]
Calls = dict[str, Call]

_rng = np.random.default_rng(0)
X = _rng.normal(size=(4, 6)).astype(np.float32)
POSITIVE = np.abs(X) + np.float32(0.1)
INSIDE = (np.tanh(X) * 0.9).astype(np.float32)
UNIT = ((INSIDE + 1) / 2).astype(np.float32)
COUNTS = np.arange(24, dtype=np.float32).reshape(4, 6) % 5
SEQUENCE = _rng.normal(size=(2, 5, 8)).astype(np.float32)
IMAGE = _rng.normal(size=(2, 6, 6, 4)).astype(np.float32)
KEY = jax.random.key(0)


def _module(name: str) -> Any:
    """Imported by name: optional packages are not among the project's dependencies."""
    return importlib.import_module(name)


def _density(made: Callable[..., Any]) -> Callable[..., Any]:
    """The logarithm of a density, of its value and its parameters."""
    return lambda value, *parameters: made(*parameters).log_prob(value)


def flax_linen() -> Calls:
    """Layers of flax.linen, applied to parameters of their own."""
    nn, fp8 = _module("flax.linen"), _module("flax.linen.fp8_ops")

    def applied(layer: Any, x: Any, **how: Any) -> Call:
        variables = layer.init({"params": KEY, "dropout": KEY}, x, **how)
        kept = ["batch_stats", "batch_norm", "intermediates"]
        run = functools.partial(layer.apply, rngs={"dropout": KEY}, mutable=kept)
        return lambda v, a: run(v, a, **how)[0], (variables, x)

    layers = {
        "LayerNorm": nn.LayerNorm(), "RMSNorm": nn.RMSNorm(), "GroupNorm": nn.GroupNorm(2), "Dense": nn.Dense(3),
        "InstanceNorm": nn.InstanceNorm(), "DenseGeneral": nn.DenseGeneral((2, 3)), "PReLU": nn.PReLU(),
        "WeightNorm": nn.WeightNorm(nn.Dense(3)), "RNN(LSTMCell)": nn.RNN(nn.LSTMCell(3)),
        "RNN(GRUCell)": nn.RNN(nn.GRUCell(3)), "RNN(OptimizedLSTMCell)": nn.RNN(nn.OptimizedLSTMCell(3)),
        "RNN(MGUCell)": nn.RNN(nn.MGUCell(3)), "RNN(SimpleCell)": nn.RNN(nn.SimpleCell(3)),
        "Bidirectional": nn.Bidirectional(nn.RNN(nn.GRUCell(3)), nn.RNN(nn.GRUCell(3))),
        "MultiHeadDotProductAttention": nn.MultiHeadDotProductAttention(2),
    }  # fmt: skip
    made = {f"flax.linen.{name}": applied(layer, SEQUENCE) for name, layer in layers.items()}
    made["flax.linen.BatchNorm"] = applied(nn.BatchNorm(use_running_average=False), SEQUENCE)
    made["flax.linen.Dropout"] = applied(nn.Dropout(0.3, deterministic=False), SEQUENCE)
    made["flax.linen.SpectralNorm"] = applied(nn.SpectralNorm(nn.Dense(3)), SEQUENCE, update_stats=True)
    made["flax.linen.Conv"] = applied(nn.Conv(3, (3, 3)), IMAGE)
    made["flax.linen.ConvTranspose"] = applied(nn.ConvTranspose(3, (3, 3)), IMAGE)
    made["flax.linen.max_pool"] = (lambda x: nn.max_pool(x, (2, 2), (2, 2)), (IMAGE,))
    scale, history = np.ones(1, np.float32), np.zeros(16, np.float32)
    eight = {"in_qdq": jnp.float8_e4m3fn, "out_qdq": jnp.float8_e5m2, "in_q": jnp.float8_e4m3fn}
    for name, kind in eight.items():
        made[f"flax.linen.fp8_ops.{name}"] = (
            functools.partial(getattr(fp8, name), jnp.float32, kind),
            (X, scale, history),
        )
    made["flax.linen.fp8_ops.out_dq"] = (functools.partial(fp8.out_dq, jnp.float32), (scale, scale * 2, X))
    contract = (((1,), (0,)), ((), ()))
    made["flax.linen.fp8_ops.dot_general_with_precision"] = (
        lambda a, b: fp8.dot_general_with_precision(a, b, contract),
        (X, X.T.copy()),
    )
    wide = _rng.normal(size=(16, 32)).astype(np.float32)
    made["flax.linen.Dense(fp8)"] = applied(nn.Dense(16, dot_general_cls=fp8.Fp8DotGeneralOp), wide)
    return made


def flax_nnx() -> Calls:
    """Layers of flax.nnx, taken apart into a graph and its arrays; and its functions that take one array."""
    nnx = _module("flax.nnx")

    def applied(layer: Any, x: Any, **how: Any) -> Call:
        graph, state = nnx.split(layer)
        return lambda s, a: nnx.merge(graph, s)(a, **how), (state, x)

    rngs = nnx.Rngs(0)
    layers = {
        "LayerNorm": nnx.LayerNorm(8, rngs=rngs), "RMSNorm": nnx.RMSNorm(8, rngs=rngs),
        "Linear": nnx.Linear(8, 3, rngs=rngs),
        "GroupNorm": nnx.GroupNorm(8, 2, rngs=rngs), "BatchNorm": nnx.BatchNorm(8, rngs=rngs), "PReLU": nnx.PReLU(),
        "Dropout": nnx.Dropout(0.3, rngs=rngs), "InstanceNorm": nnx.InstanceNorm(8, rngs=rngs),
        "RNN(LSTMCell)": nnx.RNN(nnx.LSTMCell(8, 3, rngs=rngs)), "RNN(GRUCell)": nnx.RNN(nnx.GRUCell(8, 3, rngs=rngs)),
        "MultiHeadAttention": nnx.MultiHeadAttention(2, 8, decode=False, rngs=rngs),
    }  # fmt: skip
    made = {f"flax.nnx.{name}": applied(layer, SEQUENCE) for name, layer in layers.items()}
    made["flax.nnx.Conv"] = applied(nnx.Conv(4, 3, (3, 3), rngs=rngs), IMAGE)
    units = "celu elu gelu glu hard_sigmoid hard_silu hard_tanh leaky_relu log_sigmoid log_softmax logsumexp relu selu"
    for name in (units + " sigmoid silu soft_sign softmax softplus standardize swish tanh").split():
        made[f"flax.nnx.{name}"] = (getattr(nnx, name), (X,))
    return made


def equinox() -> Calls:
    """Layers of equinox, and what it adds to JAX: checkpointed loops, errors at run time, neighbouring numbers."""
    eqx, internal, debug = _module("equinox"), _module("equinox.internal"), _module("equinox.debug")
    nn = eqx.nn

    def applied(layer: Any, x: Any, **how: Any) -> Call:
        arrays, rest = eqx.partition(layer, eqx.is_inexact_array)
        return lambda p, a: eqx.combine(p, rest)(a, **how), (arrays, x)

    x, many = X[0], X
    made = {
        "LayerNorm": applied(nn.LayerNorm(6), x), "RMSNorm": applied(nn.RMSNorm(6), x),
        "GroupNorm": applied(nn.GroupNorm(2, 6), x), "MLP": applied(nn.MLP(6, 3, 5, 2, key=KEY), x),
        "PReLU": applied(nn.PReLU(), x), "Dropout": applied(nn.Dropout(0.3), x, key=KEY),
        "Conv2d": applied(nn.Conv2d(4, 3, 3, key=KEY), IMAGE[0].transpose(2, 0, 1)),
        "MaxPool1d": applied(nn.MaxPool1d(2), many),
        "WeightNorm": applied(nn.WeightNorm(nn.Linear(6, 3, key=KEY)), x),
        "RotaryPositionalEmbedding": applied(nn.RotaryPositionalEmbedding(6), many),
    }  # fmt: skip
    made = {f"equinox.nn.{name}": call for name, call in made.items()}
    attention, rest = eqx.partition(nn.MultiheadAttention(2, 6, key=KEY), eqx.is_inexact_array)
    made["equinox.nn.MultiheadAttention"] = (lambda w, a: eqx.combine(w, rest)(a, a, a), (attention, many))
    cell, fixed = eqx.partition(nn.GRUCell(6, 3, key=KEY), eqx.is_inexact_array)
    made["equinox.nn.GRUCell"] = (lambda w, a, h: eqx.combine(w, fixed)(a, h), (cell, x, X[1, :3]))
    long, kept = eqx.partition(nn.LSTMCell(6, 3, key=KEY), eqx.is_inexact_array)
    made["equinox.nn.LSTMCell"] = (lambda w, a, h: eqx.combine(w, kept)(a, (h, h)), (long, x, X[1, :3]))

    def looped(a: Any) -> Any:
        def step(carry: Any) -> Any:
            return carry[0] + 1, jnp.sin(carry[1]) * 1.1

        start = (jnp.asarray(0), a)
        how = {"max_steps": 8, "kind": "checkpointed", "checkpoints": 3}
        return internal.while_loop(lambda carry: carry[0] < 5, step, start, **how)[1]

    made["equinox.internal.while_loop(checkpointed)"] = (looped, (x,))
    made["equinox.internal.nextafter"] = (internal.nextafter, (x,))
    made["equinox.internal.prevbefore"] = (internal.prevbefore, (x,))
    made["equinox.error_if"] = (lambda a: eqx.error_if(a, a.sum() > 1e9, "too large") ** 2, (x,))
    made["equinox.debug.backward_nan"] = (lambda a: debug.backward_nan(a, terminate=False) ** 2, (x,))
    return made


def distrax() -> Calls:
    """Densities, entropies and samples of distrax, and its products and powers without NaN."""
    dx, inner = _module("distrax"), _module("distrax._src.utils.math")
    none_below = np.where(X > 0, X, 0).astype(np.float32)
    shares = UNIT / UNIT.sum(-1, keepdims=True)
    made: Calls = {
        "multiply_no_nan": (inner.multiply_no_nan, (X, POSITIVE)),
        "multiply_no_nan(zeros)": (inner.multiply_no_nan, (X, none_below)),
        "power_no_nan": (inner.power_no_nan, (POSITIVE, X)),
        "power_no_nan(zeros)": (inner.power_no_nan, (none_below, POSITIVE)),
        "VonMises.sample": (lambda m, k: dx.VonMises(m, k).sample(seed=KEY), (X[0], POSITIVE[0])),
        "VonMises.entropy": (lambda m, k: dx.VonMises(m, k).entropy(), (X[0], POSITIVE[0])),
        "Categorical.log_prob": (_density(dx.Categorical), (np.arange(4), X)),
        "Categorical.entropy": (lambda s: dx.Categorical(s).entropy(), (X,)),
        "Multinomial.log_prob": (_density(lambda s: dx.Multinomial(10.0, logits=s)), (COUNTS, X)),
        "Dirichlet.log_prob": (_density(dx.Dirichlet), (shares, POSITIVE)),
        "Bernoulli.entropy": (lambda s: dx.Bernoulli(s).entropy(), (X,)),
        "Bernoulli.log_prob": (lambda s: dx.Bernoulli(s).log_prob(COUNTS > 2), (X,)),
        "Uniform.log_prob": (_density(dx.Uniform), (UNIT / 9, X * 0, POSITIVE)),
        "RationalQuadraticSpline": (
            lambda p, a: dx.RationalQuadraticSpline(p, -2.0, 2.0).forward_and_log_det(a),
            (_rng.normal(size=(4, 10)).astype(np.float32), X[:, 0]),
        ),
    }
    for name in ("Normal", "Laplace", "Gumbel", "Logistic", "LogStddevNormal", "VonMises"):
        made[f"{name}.log_prob"] = (_density(getattr(dx, name)), (INSIDE, X, POSITIVE))
    for name, value in {"Gamma": POSITIVE, "Beta": UNIT}.items():
        made[f"{name}.log_prob"] = (_density(getattr(dx, name)), (value, POSITIVE, POSITIVE[::-1].copy()))
    for name in ("Sigmoid", "Tanh", "GumbelCDF"):
        bijector = getattr(dx, name)()
        made[f"{name}.forward_and_log_det"] = (bijector.forward_and_log_det, (X,))
    return {f"distrax.{name}": call for name, call in made.items()}


def numpyro() -> Calls:
    """Densities of numpyro, and its stable functions."""
    dist, util = _module("numpyro.distributions"), _module("numpyro.distributions.util")
    shares = UNIT / UNIT.sum(-1, keepdims=True)
    made: Calls = {
        "util.log1mexp": (util.log1mexp, (-POSITIVE,)),
        "util.logdiffexp": (util.logdiffexp, (X + POSITIVE, X)),
        "BinomialLogits.log_prob": (_density(lambda s: dist.BinomialLogits(s, 10)), (COUNTS, X)),
        "TruncatedNormal.log_prob": (
            _density(lambda m, s: dist.TruncatedNormal(m, s, low=-1, high=2)),
            (INSIDE, X, POSITIVE),
        ),
    }
    low, high = np.full(6, 0.5, np.float32), np.full(6, 4, np.float32)
    between = {
        "log_prob": np.linspace(0.7, 3.5, 6, dtype=np.float32), "cdf": np.linspace(0.7, 3.5, 6, dtype=np.float32),
        "icdf": np.linspace(0.1, 0.9, 6, dtype=np.float32),
    }  # fmt: skip
    exponents = {
        "": np.array([-3, -1.5, -1.2, -0.5, 0, 2], np.float32), "(alpha = -1)": low * 0 - 1, "(alpha = 0)": low * 0,
        "(alpha near -1)": low * 0 - 1 + np.float32(3e-4),
    }  # fmt: skip
    for method, value in between.items():
        for words, alpha in exponents.items():
            made[f"DoublyTruncatedPowerLaw.{method}{words}"] = (
                lambda v, a, lo, hi, n=method: getattr(dist.DoublyTruncatedPowerLaw(a, lo, hi), n)(v),
                (value, alpha, low, high),
            )
    for name in ("Normal", "Laplace", "Gumbel", "Logistic", "Cauchy", "SoftLaplace", "VonMises"):
        made[f"{name}.log_prob"] = (_density(getattr(dist, name)), (INSIDE, X, POSITIVE))
    both = {
        "LogNormal": POSITIVE, "Gamma": POSITIVE, "Beta": UNIT, "InverseGamma": POSITIVE, "Weibull": POSITIVE,
        "Kumaraswamy": UNIT, "Pareto": POSITIVE + 3, "NegativeBinomial2": COUNTS, "GammaPoisson": COUNTS,
    }  # fmt: skip
    for name, value in both.items():
        made[f"{name}.log_prob"] = (_density(getattr(dist, name)), (value, POSITIVE, POSITIVE[::-1].copy()))
    one = {
        "StudentT": (X, POSITIVE), "Poisson": (COUNTS, POSITIVE), "Exponential": (POSITIVE, POSITIVE),
        "HalfCauchy": (POSITIVE, POSITIVE), "BernoulliLogits": (COUNTS % 2, X), "BernoulliProbs": (COUNTS % 2, UNIT),
        "Dirichlet": (shares, POSITIVE), "CategoricalLogits": (np.arange(4), X), "Chi2": (POSITIVE, POSITIVE),
        "GeometricLogits": (COUNTS, X),
    }  # fmt: skip
    for name, given in one.items():
        made[f"{name}.log_prob"] = (_density(getattr(dist, name)), given)
    return {f"numpyro.distributions.{name}": call for name, call in made.items()}


def tokamax() -> Calls:
    """The kernels of tokamax, in the implementation that runs on any device."""
    tk, base = _module("tokamax"), _module("tokamax._src.ops.attention.base")
    q = _rng.normal(size=(2, 5, 2, 8)).astype(np.float32)
    wide = _rng.normal(size=(8, 2, 3)).astype(np.float32)
    scale, shift = POSITIVE[0, :1].repeat(8), SEQUENCE[0, 0]
    bank, head = _rng.normal(size=(2, 8, 3)).astype(np.float32), _rng.normal(size=(8, 7)).astype(np.float32)
    rows, labels = SEQUENCE.reshape(-1, 8)[:10], (np.arange(10) % 7).astype(np.int32)
    xla = {"implementation": "xla"}
    return {
        "tokamax.dot_product_attention": (functools.partial(tk.dot_product_attention, **xla), (q, q * 0.5, q + 1)),
        "tokamax.gated_linear_unit": (
            functools.partial(tk.gated_linear_unit, activation=jax.nn.silu, **xla),
            (SEQUENCE, wide),
        ),
        "tokamax.layer_norm": (functools.partial(tk.layer_norm, **xla), (SEQUENCE, scale, shift)),
        "tokamax.ragged_dot": (lambda a, b: tk.ragged_dot(a, b, jnp.array([4, 6]), **xla), (rows, bank)),
        "tokamax.linear_softmax_cross_entropy_loss": (
            lambda x, w: tk.linear_softmax_cross_entropy_loss(x, jnp.asarray(labels), w, **xla),
            (rows, head),
        ),
        "tokamax softmax": (lambda x: base._softmax(x, True)[0], (X,)),
        "tokamax softmax, not normalized": (lambda x: base._softmax(x, False)[0], (X,)),
    }


LIBRARIES: dict[str, Callable[[], Calls]] = {
    "flax.linen": flax_linen,
    "flax.nnx": flax_nnx,
    "equinox": equinox,
    "distrax": distrax,
    "numpyro": numpyro,
    "tokamax": tokamax,
}
