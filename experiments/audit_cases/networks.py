"""Libraries of neural networks and reinforcement learning.

One function a library; a library is imported only there, so one that is absent or does not import is reported, no more.
"""

import functools
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from .arrays import (
    IMAGE,
    INSIDE,
    KEY,
    POSITIVE,
    SEQUENCE,
    SHARES,
    UNIT,
    Call,
    Calls,
    X,
    each,
    module,
    normal,
    under,
)  # fmt: skip


def flax_linen() -> Calls:
    """Layers of flax.linen, applied to parameters of their own."""
    nn, fp8 = module("flax.linen"), module("flax.linen.fp8_ops")

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
    wide = normal(16, 32)
    made["flax.linen.Dense(fp8)"] = applied(nn.Dense(16, dot_general_cls=fp8.Fp8DotGeneralOp), wide)
    return made


def flax_nnx() -> Calls:
    """Layers of flax.nnx, taken apart into a graph and its arrays; and its functions that take one array."""
    nnx = module("flax.nnx")

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
    eqx, internal, debug = module("equinox"), module("equinox.internal"), module("equinox.debug")
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


def tokamax() -> Calls:
    """The kernels of tokamax, in the implementation that runs on any device."""
    tk, base = module("tokamax"), module("tokamax._src.ops.attention.base")
    q = normal(2, 5, 2, 8)
    wide = normal(8, 2, 3)
    scale, shift = POSITIVE[0, :1].repeat(8), SEQUENCE[0, 0]
    bank, head = normal(2, 8, 3), normal(8, 7)
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


def haiku() -> Calls:
    """Modules of haiku, transformed and applied to parameters of their own."""
    hk = module("haiku")

    def applied(made: Any, x: Any, **how: Any) -> Call:
        pure = hk.transform_with_state(lambda a: made()(a, **how))
        parameters, state = pure.init(KEY, x)
        return lambda p, a: pure.apply(p, state, KEY, a)[0], (parameters, x)

    def recurrent(core: Any) -> Call:
        pure = hk.transform(lambda a: hk.dynamic_unroll(core(), a, core().initial_state(2), time_major=False)[0])
        return lambda p, a: pure.apply(p, KEY, a), (pure.init(KEY, SEQUENCE), SEQUENCE)

    made = {
        "Linear": applied(lambda: hk.Linear(3), SEQUENCE),
        "LayerNorm": applied(lambda: hk.LayerNorm(-1, True, True), SEQUENCE),
        "RMSNorm": applied(lambda: hk.RMSNorm(-1), SEQUENCE),
        "GroupNorm": applied(lambda: hk.GroupNorm(2), SEQUENCE),
        "InstanceNorm": applied(lambda: hk.InstanceNorm(True, True), SEQUENCE),
        "BatchNorm": applied(lambda: hk.BatchNorm(True, True, 0.9), SEQUENCE, is_training=True),
        "MLP": applied(lambda: hk.nets.MLP([5, 3]), X),
        "Conv2D": applied(lambda: hk.Conv2D(3, 3), IMAGE),
        "Conv2DTranspose": applied(lambda: hk.Conv2DTranspose(3, 3), IMAGE),
        "DepthwiseConv2D": applied(lambda: hk.DepthwiseConv2D(2, 3), IMAGE),
        "SpectralNorm": applied(lambda: lambda a: hk.SpectralNorm()(a), X),
        "VectorQuantizer": applied(lambda: lambda a: hk.nets.VectorQuantizer(6, 4, 0.25)(a, True)["quantize"], X),
        "MultiHeadAttention": applied(
            lambda: lambda a: hk.MultiHeadAttention(2, 4, w_init=hk.initializers.VarianceScaling())(a, a, a), SEQUENCE
        ),
        "max_pool": (lambda a: hk.max_pool(a, 2, 2, "SAME"), (IMAGE,)),
        "avg_pool": (lambda a: hk.avg_pool(a, 2, 2, "SAME"), (IMAGE,)),
        "dropout": (lambda a: hk.dropout(KEY, 0.3, a), (X,)),
        "LSTM": recurrent(lambda: hk.LSTM(3)), "GRU": recurrent(lambda: hk.GRU(3)),
        "VanillaRNN": recurrent(lambda: hk.VanillaRNN(3)),
    }  # fmt: skip
    return under("haiku", made)


def penzai() -> Calls:
    """Layers of penzai, their parameters taken out."""
    pz = module("penzai.pz")

    def applied(layer: Any, x: Any, **how: Any) -> Call:
        pure, given = pz.unbind_params(layer, freeze=True)
        return lambda p, a: pz.bind_variables(pure, p)(a, **how), (given, x)

    rows = pz.nx.wrap(X, "batch", "features")
    layers = {
        "LayerNorm": pz.nn.LayerNorm.from_config("norm", KEY, {"features": 6}),
        "RMSLayerNorm": pz.nn.RMSLayerNorm.from_config("norm", KEY, {"features": 6}),
        "Affine": pz.nn.Affine.from_config("affine", KEY, {"features": 6}, {"out": 3}),
        "Linear": pz.nn.Linear.from_config("linear", KEY, {"features": 6}, {"out": 3}),
        "Softmax": pz.nn.Softmax("features"),
        "TanhSoftCap": pz.nn.TanhSoftCap(2.0),
        "Elementwise(gelu)": pz.nn.Elementwise(jax.nn.gelu),
        "Elementwise(relu)": pz.nn.Elementwise(jax.nn.relu),
        "Standardize": pz.nn.Standardize(across=("features",)),
        "RMSStandardize": pz.nn.RMSStandardize(across=("features",)),
    }  # fmt: skip
    return under("penzai.nn", {name: applied(layer, rows) for name, layer in layers.items()})


def e3nn_jax() -> Calls:
    """Spherical harmonics, tensor products and rotations of e3nn-jax."""
    e3nn = module("e3nn_jax")
    points, rotated = normal(4, 3), normal(4, 3, seed=2)
    irreps = e3nn.Irreps("2x0e + 1x1o")
    a, b = (e3nn.IrrepsArray(irreps, normal(4, 5, seed=k)) for k in (3, 4))
    axis = (points / np.linalg.norm(points, axis=-1, keepdims=True)).astype(np.float32)
    units = normal(4, 4)
    units = (units / np.linalg.norm(units, axis=-1, keepdims=True)).astype(np.float32)
    angles = (normal(4), normal(4, seed=2), normal(4, seed=3))
    made: Calls = {
        f"spherical_harmonics(l={degree}, {scale}, {how}{', at the pole' * pole})": (
            lambda x, n=degree, s=scale, h=how: e3nn.sh(n, x, True, s, algorithm=(h, "sparse", "custom_jvp")),
            (np.array([[0, 1, 0], [0, 0, 1]], np.float32) if pole else points,),
        )
        for degree, scale, how, pole in [
            (1, "norm", "recursive", False), (2, "integral", "recursive", False), (3, "component", "recursive", False),
            (4, "integral", "legendre", False), (2, "norm", "legendre", True), (3, "integral", "recursive", True),
        ]
    }  # fmt: skip
    made |= {
        "spherical_harmonics(dense)": (
            lambda x: e3nn.sh([0, 1, 2], x, True, "component", algorithm=("recursive", "dense", "custom_jvp")),
            (points,),
        ),
        "tensor_product": (e3nn.tensor_product, (a, b)),
        "elementwise_tensor_product": (e3nn.elementwise_tensor_product, (a, b)),
        "tensor_square": (e3nn.tensor_square, (a,)),
        "norm": (e3nn.norm, (a,)),
        "dot": (e3nn.dot, (a, b)),
        "cross": (e3nn.cross, (e3nn.IrrepsArray("1x1o", points), e3nn.IrrepsArray("1x1o", rotated))),
        "scalar_activation": (lambda x: e3nn.scalar_activation(x, [jax.nn.silu, None]), (a,)),
        "norm_activation": (lambda x: e3nn.norm_activation(x, [jax.nn.silu, jax.nn.sigmoid]), (a,)),
        "gate": (e3nn.gate, (e3nn.IrrepsArray("3x0e + 1x1o", normal(4, 6)),)),
        "soft_one_hot_linspace(smooth_finite)": (
            lambda x: e3nn.soft_one_hot_linspace(x, start=0.0, end=2.0, number=5, basis="smooth_finite", cutoff=True),
            (POSITIVE[:, 0],),
        ),
        "bessel": (lambda x: e3nn.bessel(x, 4, 2.0), (POSITIVE[:, 0],)),
        "sus": (e3nn.sus, (X,)), "soft_odd": (e3nn.soft_odd, (X,)),
        "poly_envelope": (lambda x: e3nn.poly_envelope(3, 2, 2.0)(x), (UNIT,)),
        "soft_envelope": (e3nn.soft_envelope, (UNIT,)),
        "quaternion_to_matrix": (e3nn.quaternion_to_matrix, (units,)),
        "matrix_to_axis_angle": (lambda q: e3nn.matrix_to_axis_angle(e3nn.quaternion_to_matrix(q)), (units,)),
        "axis_angle_to_matrix": (e3nn.axis_angle_to_matrix, (axis, POSITIVE[:, 0])),
        "angles_to_matrix": (e3nn.angles_to_matrix, angles),
        "log_coordinates_to_matrix": (e3nn.log_coordinates_to_matrix, (points,)),
        "to_s2grid": (
            lambda x: e3nn.to_s2grid(e3nn.IrrepsArray("0e + 1o", x), 6, 5, quadrature="gausslegendre").grid_values,
            (normal(4),),
        ),
    }  # fmt: skip
    return under("e3nn_jax", made)


def rlax() -> Calls:
    """Losses, transformations and clipped gradients of rlax."""
    rl = module("rlax")
    q, other, actions = normal(5, 3), normal(5, 3, seed=2), np.array([0, 2, 1, 1, 0])
    rewards, discounts, values = normal(5), np.full(5, 0.9, np.float32), normal(5, seed=3)
    ratios = POSITIVE.ravel()[:5]
    atoms, weights = np.linspace(-2, 2, 7, dtype=np.float32), normal(7)
    made = each(rl, "signed_hyperbolic signed_parabolic signed_logp1 signed_expm1 sigmoid", X)
    made |= {
        "clip_gradient": (lambda x: rl.clip_gradient(x, -0.5, 0.5) ** 2, (X,)),
        "huber_loss": (rl.huber_loss, (X,)),
        "l2_loss": (rl.l2_loss, (X, INSIDE)),
        "expectile_loss": (lambda p, t: rl.expectile_loss(p, t, 0.3), (X, INSIDE)),
        "log_loss": (rl.log_loss, (X, UNIT)),
        "categorical_cross_entropy": (rl.categorical_cross_entropy, (SHARES[0], X[0])),
        "categorical_kl_divergence": (rl.categorical_kl_divergence, (X, INSIDE)),
        "logit": (rl.logit, (UNIT,)),
        "q_learning": (rl.q_learning, (q[0], actions[0], rewards[0], discounts[0], other[0])),
        "double_q_learning": (
            rl.double_q_learning, (q[0], actions[0], rewards[0], discounts[0], other[0], other[1]),
        ),
        "expected_sarsa": (
            rl.expected_sarsa, (q[0], actions[0], rewards[0], discounts[0], other[0], SHARES[0, :3]),
        ),
        "td_lambda": (rl.td_lambda, (values, rewards, discounts, values[::-1].copy(), discounts)),
        "lambda_returns": (rl.lambda_returns, (rewards, discounts, values, discounts)),
        "vtrace": (rl.vtrace, (values, values[::-1].copy(), rewards, discounts, ratios)),
        "truncated_generalized_advantage_estimation": (
            lambda r, v: rl.truncated_generalized_advantage_estimation(r, discounts, 0.9, v), (rewards, normal(6)),
        ),
        "policy_gradient_loss": (rl.policy_gradient_loss, (q, actions, values, discounts)),
        "entropy_loss": (rl.entropy_loss, (q, discounts)),
        "dpg_loss": (lambda a: rl.dpg_loss(a, jnp.sin(a) + a, 0.5), (normal(3),)),
        "clipped_surrogate_pg_loss": (lambda r, a: rl.clipped_surrogate_pg_loss(r, a, 0.2), (ratios, values)),
        "quantile_regression_loss": (
            lambda d, t: rl.quantile_regression_loss(d, np.linspace(0.1, 0.9, 5, dtype=np.float32), t, 1.0),
            (values, rewards),
        ),
        "categorical_l2_project": (lambda p: rl.categorical_l2_project(atoms * 0.7 + 0.1, p, atoms), (weights,)),
        "clipped_entropy_softmax.entropy": (lambda x: rl.clipped_entropy_softmax(0.5).entropy(x), (X,)),
        "gaussian_diagonal.logprob": (
            rl.gaussian_diagonal().logprob, (normal(3), normal(3, seed=2), ratios[:3]),
        ),
        "multivariate_normal_kl_divergence": (
            rl.multivariate_normal_kl_divergence, (normal(3), ratios[:3], normal(3, seed=2), ratios[1:4]),
        ),
    }  # fmt: skip
    made |= each(rl, "qpg_loss rm_loss rpg_loss", q, other)
    return under("rlax", made)


def chex() -> Calls:
    """Chex checks and compares; what it wraps must keep its derivatives."""
    ch = module("chex")

    def checked(x: Any) -> Any:
        ch.assert_trees_all_equal_shapes(x, x)
        return jnp.where(x > 0, x, jax.nn.log_sigmoid(x))

    def fake_jit(x: Any) -> Any:
        with ch.fake_jit():
            return jax.jit(lambda y: jax.nn.logsumexp(y) + jax.nn.softplus(y).sum())(x)

    return under(
        "chex",
        {
            "assert_max_traces(softplus)": (ch.assert_max_traces(lambda x: jax.nn.softplus(x), n=100), (X,)),
            "assert_trees_all_equal_shapes": (checked, (X,)),
            "fake_jit(logsumexp)": (fake_jit, (X,)),
        },
    )


def quax() -> Calls:
    """Rules of JAX called through quax, on plain arrays and on low-rank ones."""
    qx, lora = module("quax"), module("quax.examples.lora")
    names = "relu softplus silu gelu log_sigmoid logsumexp softmax"
    made: Calls = {f"quaxify({name})": (qx.quaxify(getattr(jax.nn, name)), (X,)) for name in names.split()}
    low_rank = lora.LoraArray(jnp.asarray(normal(4, 6)), rank=2, key=KEY)
    made["quaxify(softplus of a product), low rank"] = (
        lambda w, x: jax.nn.softplus(qx.quaxify(jnp.matmul)(w, x)), (low_rank, normal(6, 3)),
    )  # fmt: skip
    made["quaxify(xlogy)"] = (qx.quaxify(jax.scipy.special.xlogy), (POSITIVE, POSITIVE))
    return under("quax", made)


LIBRARIES = {
    "flax.linen": flax_linen, "flax.nnx": flax_nnx, "equinox": equinox, "haiku": haiku, "penzai": penzai,
    "e3nn_jax": e3nn_jax, "rlax": rlax, "chex": chex, "quax": quax, "tokamax": tokamax,
}  # fmt: skip
