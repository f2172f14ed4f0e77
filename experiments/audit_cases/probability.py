"""Libraries of probability: densities, samplers, Gaussian processes, state spaces, many-body wave functions.

One function a library; a library is imported only there, so one that is absent or does not import is reported, no more.
"""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from .arrays import (
    COUNTS,
    INSIDE,
    KEY,
    OTHER,
    POSITIVE,
    SHARES,
    UNIT,
    Calls,
    X,
    density,
    each,
    each_in,
    module,
    normal,
    positive_definite,
    under,
)  # fmt: skip


def distrax() -> Calls:
    """Densities, entropies and samples of distrax, and its products and powers without NaN."""
    dx, inner = module("distrax"), module("distrax._src.utils.math")
    none_below = np.where(X > 0, X, 0).astype(np.float32)
    made: Calls = {
        "multiply_no_nan": (inner.multiply_no_nan, (X, POSITIVE)),
        "multiply_no_nan(zeros)": (inner.multiply_no_nan, (X, none_below)),
        "power_no_nan": (inner.power_no_nan, (POSITIVE, X)),
        "power_no_nan(zeros)": (inner.power_no_nan, (none_below, POSITIVE)),
        "VonMises.sample": (lambda m, k: dx.VonMises(m, k).sample(seed=KEY), (X[0], POSITIVE[0])),
        "VonMises.entropy": (lambda m, k: dx.VonMises(m, k).entropy(), (X[0], POSITIVE[0])),
        "Categorical.log_prob": (density(dx.Categorical), (np.arange(4), X)),
        "Categorical.entropy": (lambda s: dx.Categorical(s).entropy(), (X,)),
        "Multinomial.log_prob": (density(lambda s: dx.Multinomial(10.0, logits=s)), (COUNTS, X)),
        "Dirichlet.log_prob": (density(dx.Dirichlet), (SHARES, POSITIVE)),
        "Bernoulli.entropy": (lambda s: dx.Bernoulli(s).entropy(), (X,)),
        "Bernoulli.log_prob": (lambda s: dx.Bernoulli(s).log_prob(COUNTS > 2), (X,)),
        "Uniform.log_prob": (density(dx.Uniform), (UNIT / 9, X * 0, POSITIVE)),
        "RationalQuadraticSpline": (
            lambda p, a: dx.RationalQuadraticSpline(p, -2.0, 2.0).forward_and_log_det(a),
            (normal(4, 10), X[:, 0]),
        ),
    }
    for name in ("Normal", "Laplace", "Gumbel", "Logistic", "LogStddevNormal", "VonMises"):
        made[f"{name}.log_prob"] = (density(getattr(dx, name)), (INSIDE, X, POSITIVE))
    for name, value in {"Gamma": POSITIVE, "Beta": UNIT}.items():
        made[f"{name}.log_prob"] = (density(getattr(dx, name)), (value, POSITIVE, POSITIVE[::-1].copy()))
    for name in ("Sigmoid", "Tanh", "GumbelCDF"):
        bijector = getattr(dx, name)()
        made[f"{name}.forward_and_log_det"] = (bijector.forward_and_log_det, (X,))
    return {f"distrax.{name}": call for name, call in made.items()}


def numpyro() -> Calls:
    """Densities of numpyro, and its stable functions."""
    dist, util = module("numpyro.distributions"), module("numpyro.distributions.util")
    made: Calls = {
        "util.log1mexp": (util.log1mexp, (-POSITIVE,)),
        "util.logdiffexp": (util.logdiffexp, (X + POSITIVE, X)),
        "BinomialLogits.log_prob": (density(lambda s: dist.BinomialLogits(s, 10)), (COUNTS, X)),
        "TruncatedNormal.log_prob": (
            density(lambda m, s: dist.TruncatedNormal(m, s, low=-1, high=2)),
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
        made[f"{name}.log_prob"] = (density(getattr(dist, name)), (INSIDE, X, POSITIVE))
    both = {
        "LogNormal": POSITIVE, "Gamma": POSITIVE, "Beta": UNIT, "InverseGamma": POSITIVE, "Weibull": POSITIVE,
        "Kumaraswamy": UNIT, "Pareto": POSITIVE + 3, "NegativeBinomial2": COUNTS, "GammaPoisson": COUNTS,
    }  # fmt: skip
    for name, value in both.items():
        made[f"{name}.log_prob"] = (density(getattr(dist, name)), (value, POSITIVE, POSITIVE[::-1].copy()))
    one = {
        "StudentT": (X, POSITIVE), "Poisson": (COUNTS, POSITIVE), "Exponential": (POSITIVE, POSITIVE),
        "HalfCauchy": (POSITIVE, POSITIVE), "BernoulliLogits": (COUNTS % 2, X), "BernoulliProbs": (COUNTS % 2, UNIT),
        "Dirichlet": (SHARES, POSITIVE), "CategoricalLogits": (np.arange(4), X), "Chi2": (POSITIVE, POSITIVE),
        "GeometricLogits": (COUNTS, X),
    }  # fmt: skip
    for name, given in one.items():
        made[f"{name}.log_prob"] = (density(getattr(dist, name)), given)
    return {f"numpyro.distributions.{name}": call for name, call in made.items()}


def tensorflow_probability() -> Calls:
    """Special functions, linear algebra, samplers and densities of the JAX part of TensorFlow Probability."""
    tfp = module("tensorflow_probability.substrates.jax")
    tfm, tfd, tfb = tfp.math, tfp.distributions, tfp.bijectors
    pade = module("tensorflow_probability.substrates.jax.experimental.math.manual_special_functions")
    marginal = module("tensorflow_probability.substrates.jax.experimental.distributions.marginal_fns")
    kernels = tfm.psd_kernels
    some, more = POSITIVE[0], OTHER[0]
    spd, rhs = positive_definite(3), normal(3, 2)
    lower = np.linalg.cholesky(spd).astype(np.float32)
    made = each(tfm, "log_cosh dawsn erfcx logerfc logerfcx log_cumsum_exp smootherstep", X)
    made |= each(tfm, "sqrt1pm1 log1mexp softplus_inverse lambertw reduce_logmeanexp", POSITIVE)
    made |= each(tfm, "bessel_iv_ratio bessel_ive bessel_kve log_bessel_ive log_bessel_kve", some, more)
    made |= each(tfm, "lbeta log_gamma_difference", some, more + 8)
    made |= each(tfm, "log_add_exp log_sub_exp owens_t", X[0], X[1])
    made |= each(tfm, "igammainv igammacinv", some, UNIT[0])
    made |= {f"{name}(y)": call for name, call in each(tfm, "lbeta", some, more).items()}
    made |= {
        "bessel_kve(whole orders)": (tfm.bessel_kve, (np.array([0, 1, 2, 3], np.float32), some[:4])),
        "bessel_ive(whole orders)": (tfm.bessel_ive, (np.array([0, 1, 2, 3], np.float32), some[:4])),
        "bessel_ive(negative argument)": (lambda z: tfm.bessel_ive(np.float32(2), z), (-some,)),
        "betainc": (tfm.betainc, (some, more, UNIT[0])), "betaincinv": (tfm.betaincinv, (some, more, UNIT[1])),
        "erfcinv": (tfm.erfcinv, (UNIT,)), "log_gamma_correction": (tfm.log_gamma_correction, (POSITIVE + 8,)),
        "round_exponential_bump_function": (tfm.round_exponential_bump_function, (INSIDE,)),
        "lambertw(negative)": (tfm.lambertw, (np.array([-0.3, -0.1, -0.01], np.float32),)),
        "atan_difference": (tfm.atan_difference, (some, more)),
        "soft_threshold": (lambda x: tfm.soft_threshold(x, 0.3), (X,)),
        "soft_sorting_matrix": (lambda x: tfm.soft_sorting_matrix(x, 0.5), (X[0],)),
        "hyp2f1_small_argument": (tfm.hypergeometric.hyp2f1_small_argument, (some, more, more + 1, INSIDE[0] * 0.5)),
        "clip_by_value_preserve_gradient": (lambda x: tfm.clip_by_value_preserve_gradient(x, -0.5, 0.5), (X,)),
        "hpsd_logdet": (tfm.hpsd_logdet, (spd,)), "hpsd_solve": (tfm.hpsd_solve, (spd, rhs)),
        "hpsd_solvevec": (tfm.hpsd_solvevec, (spd, rhs[:, 0])),
        "hpsd_quadratic_form_solve": (tfm.hpsd_quadratic_form_solve, (spd, rhs)),
        "hpsd_quadratic_form_solvevec": (tfm.hpsd_quadratic_form_solvevec, (spd, rhs[:, 0])),
        "hpsd_logdet(with its Cholesky factor)": (lambda m: tfm.hpsd_logdet(m, jnp.linalg.cholesky(m)), (spd,)),
        "cholesky_update": (tfm.cholesky_update, (lower, rhs[:, 0])),
        "retrying_cholesky": (lambda m: marginal.retrying_cholesky(m)[0], (spd,)),
        "interp_regular_1d_grid": (lambda x, y: tfm.interp_regular_1d_grid(x, 0.0, 1.0, y), (UNIT[0], X[0])),
        "value_and_gradient": (lambda x: tfm.value_and_gradient(tfm.log_cosh, x)[1], (X,)),
        "ode.DormandPrince": (
            lambda y: tfm.ode.DormandPrince().solve(
                lambda t, y: -y * jnp.arange(1, 4), 0.0, y, solution_times=jnp.array([0.5, 1.0])
            ).states, (X[0, :3],),
        ),
        "ode.BDF": (
            lambda y: tfm.ode.BDF().solve(
                lambda t, y: -y * jnp.arange(1, 4), 0.0, y, solution_times=jnp.array([0.5])
            ).states, (X[0, :3],),
        ),
        "kernels.MaternOneHalf": (
            lambda a, x: kernels.MaternOneHalf(a[0], a[1]).matrix(x, x), (some[:2], normal(3, 2)),
        ),
        "kernels.MaternFiveHalves": (
            lambda a, x: kernels.MaternFiveHalves(a[0], a[1]).matrix(x, x), (some[:2], normal(3, 2)),
        ),
        "kernels.GeneralizedMatern": (
            lambda d, a, x: kernels.GeneralizedMatern(d, a[0], a[1]).matrix(x, x[::-1] + 1),
            (np.float32(1.3), some[:2], normal(3, 2)),
        ),
    }  # fmt: skip
    given = {"exp_pade_4_4": INSIDE, "log_pade_4_4": POSITIVE, "expm1_pade_4_4": INSIDE, "log1p_pade_4_4": INSIDE}
    made |= {name: (getattr(pade, name), (x,)) for name, x in given.items()}
    samplers: dict[str, Any] = {
        "Gamma": (tfd.Gamma, some, more), "Beta": (tfd.Beta, some, more), "Dirichlet": (tfd.Dirichlet, some),
        "InverseGaussian": (tfd.InverseGaussian, some, more), "InverseGamma": (tfd.InverseGamma, some, more),
        "VonMises": (tfd.VonMises, X[0], some), "TwoPieceNormal": (tfd.TwoPieceNormal, X[0], some, more),
        "StudentT": (tfd.StudentT, more + 2, X[0], some), "Chi2": (tfd.Chi2, some),
        "TruncatedNormal": (lambda m, s: tfd.TruncatedNormal(m, s, -2.0, 2.0), INSIDE[0], some),
        "Kumaraswamy": (tfd.Kumaraswamy, some, more), "ExpGamma": (tfd.ExpGamma, some, more),
        "TwoPieceStudentT": (tfd.TwoPieceStudentT, more + 2, X[0], some, more),
        "NoncentralChi2": (tfd.NoncentralChi2, some, more), "GammaGamma": (tfd.GammaGamma, some, more, some),
        "MixtureSameFamily": (
            lambda w, m: tfd.MixtureSameFamily(
                tfd.Categorical(logits=w), tfd.Normal(m, 0.7), reparameterize=True
            ), X[0, :3], X[1, :3],
        ),
    }  # fmt: skip
    for name, (kind, *parameters) in samplers.items():
        made[f"{name}.sample"] = (lambda *p, k=kind: k(*p).sample(2, seed=jax.random.PRNGKey(0)), tuple(parameters))
    distributions: dict[str, tuple[Any, Any]] = {
        "Normal": (tfd.Normal, X[0]), "Gamma": (tfd.Gamma, some), "Beta": (tfd.Beta, UNIT[0]),
        "InverseGaussian": (tfd.InverseGaussian, some), "LogNormal": (tfd.LogNormal, some),
        "Weibull": (tfd.Weibull, some), "Cauchy": (tfd.Cauchy, X[0]), "Laplace": (tfd.Laplace, X[0]),
        "Gumbel": (tfd.Gumbel, X[0]), "Logistic": (tfd.Logistic, X[0]), "VonMises": (tfd.VonMises, INSIDE[0]),
        "Kumaraswamy": (tfd.Kumaraswamy, UNIT[0]), "Moyal": (tfd.Moyal, X[0]), "LogLogistic": (tfd.LogLogistic, some),
        "HalfStudentT": (lambda a, b: tfd.HalfStudentT(a, 0.0, b), some), "BetaBinomial": (
            lambda a, b: tfd.BetaBinomial(5.0, a, b), COUNTS[0]),
        "NoncentralChi2": (tfd.NoncentralChi2, some), "NegativeBinomial": (
            lambda a, b: tfd.NegativeBinomial(a, logits=b), COUNTS[0]),
        "Skellam": (tfd.Skellam, COUNTS[0]), "ContinuousBernoulli": (
            lambda a, b: tfd.ContinuousBernoulli(logits=a - b), UNIT[0]),
        "GeneralizedNormal": (lambda a, b: tfd.GeneralizedNormal(0.0, a, b + 1), X[0]),
        "SinhArcsinh": (lambda a, b: tfd.SinhArcsinh(0.0, a, 0.1, b), X[0]),
        "ExponentiallyModifiedGaussian": (lambda a, b: tfd.ExponentiallyModifiedGaussian(0.0, a, b), X[0]),
    }  # fmt: skip
    for name, (kind, value) in distributions.items():
        made[f"{name}.log_prob"] = (density(kind), (value, some, more))
    for name, kind, value, *parameters in [
        ("StudentT", tfd.StudentT, X[0], more, X[1], some),
        ("VonMises", tfd.VonMises, INSIDE[0], X[0], some),
        ("NoncentralChi2", tfd.NoncentralChi2, some, some, more),
        ("Beta", tfd.Beta, UNIT[0], some, more),
        ("Gamma", tfd.Gamma, some, more, some),
        ("SkewNormal", tfd.TwoPieceNormal, X[0], X[1], some, more),
        ("LogitNormal", tfd.LogitNormal, UNIT[0], X[0], some),
        ("InverseGaussian", tfd.InverseGaussian, some, some, more),
        ("Poisson", tfd.Poisson, COUNTS[0], some),
    ]:
        made[f"{name}.cdf"] = (density(kind, "cdf"), (value, *parameters))
    for name, kind, *parameters in [
        ("StudentT", tfd.StudentT, more, X[1], some),
        ("NoncentralChi2", tfd.NoncentralChi2, some, more),
        ("Gamma", tfd.Gamma, more, some),
        ("Beta", tfd.Beta, some, more),
    ]:
        made[f"{name}.quantile"] = (density(kind, "quantile"), (UNIT[0], *parameters))
    for name in ("Sigmoid", "Softplus", "Tanh", "NormalCDF", "GumbelCDF", "SinhArcsinh", "Softsign"):
        bijector = getattr(tfb, name)()
        made[f"{name}.forward_log_det_jacobian"] = (bijector.forward_log_det_jacobian, (X,))
        made[f"{name}.inverse"] = (lambda x, b=bijector: b.inverse(b.forward(x) * 1.0), (INSIDE,))
    made["ScalarFunctionWithInferredInverse.inverse"] = (
        lambda y, a: tfp.experimental.bijectors.ScalarFunctionWithInferredInverse(
            lambda x, a: x**3 + a * x, additional_scalar_parameters_requiring_gradients=[a]
        ).inverse(y),
        (X[0], np.float32(1.5)),
    )
    return under("tfp", made)


def blackjax() -> Calls:
    """Laplace's approximation with its implicit derivative, integrators and metrics of blackjax."""
    laplace = module("blackjax.mcmc.laplace_marginal")
    integrators, metrics = module("blackjax.mcmc.integrators"), module("blackjax.mcmc.metrics")
    data = normal(4)

    def log_joint(theta: Any, phi: Any) -> Any:
        prior = -0.5 * jnp.sum((theta / phi) ** 2) - theta.size * jnp.log(phi)
        return prior - jnp.sum(jax.nn.softplus(-(theta * data))) - 0.5 * phi**2

    def potential(x: Any) -> Any:
        return jnp.sum(-jax.nn.softplus(x) - x**2 / 2)

    def leapfrog(kind: Any, x: Any, p: Any) -> Any:
        metric = metrics.default_metric(jnp.ones(6))
        state = integrators.new_integrator_state(potential, x, p)
        after = kind(potential, metric.kinetic_energy)(state, 0.1)
        return after.position, after.momentum

    marginal = laplace.laplace_marginal_factory(log_joint, jnp.zeros(4))
    made: Calls = {
        "laplace_marginal.log_marginal": (lambda phi: marginal.log_marginal(phi)[0], (np.float32(0.8),)),
        "laplace_marginal.get_theta_star": (marginal.get_theta_star, (np.float32(0.8),)),
    }
    made |= each_in(leapfrog, integrators, "velocity_verlet mclachlan yoshida", X[0], X[1])
    return under("blackjax", made)


def tinygp() -> Calls:
    """Log likelihoods of tinygp, dense and in linear time, and its kernels at equal and unequal points."""
    gp = module("tinygp")
    dense, fast = gp.kernels, gp.kernels.quasisep
    times, y = np.sort(normal(6)), normal(6, seed=2)

    def likelihood(kernel: Any) -> Any:
        return lambda a, t, v: gp.GaussianProcess(kernel(a), t, diag=0.1).log_probability(v)

    kernels = {
        "Exp": lambda a: a[0] * dense.Exp(a[1]), "ExpSquared": lambda a: a[0] * dense.ExpSquared(a[1]),
        "Matern32": lambda a: a[0] * dense.Matern32(a[1]), "Matern52": lambda a: a[0] * dense.Matern52(a[1]),
        "RationalQuadratic": lambda a: dense.RationalQuadratic(scale=a[0], alpha=a[1]),
        "ExpSineSquared": lambda a: dense.ExpSineSquared(scale=a[0], gamma=a[1]),
        "quasisep.Exp": lambda a: fast.Exp(a[0], a[1]), "quasisep.Matern32": lambda a: fast.Matern32(a[0], a[1]),
        "quasisep.Matern52": lambda a: fast.Matern52(a[0], a[1]), "quasisep.SHO": lambda a: fast.SHO(a[0], 0.7, a[1]),
        "quasisep.Celerite": lambda a: fast.Celerite(a[0] + 1, a[1] * 0.1, a[0] * 0.3, a[1]),
    }  # fmt: skip
    return under("tinygp", {n: (likelihood(k), (POSITIVE[0, :2] + 0.3, times, y)) for n, k in kernels.items()})


def gpjax() -> Calls:
    """Gram matrices of gpjax's kernels."""
    kernels = module("gpjax.kernels")

    def gram(kernel: Any, a: Any, x: Any) -> Any:
        return kernel(lengthscale=a[0], variance=a[1]).gram(x).as_matrix()

    names = "RBF Matern12 Matern32 Matern52 RationalQuadratic PoweredExponential Periodic"
    made = each_in(gram, kernels, names, POSITIVE[0, :2], normal(4, 2))
    return under("gpjax.kernels", made)


def dynamax() -> Calls:
    """Filters and smoothers of dynamax: log likelihoods and posteriors."""
    linear, hidden = module("dynamax.linear_gaussian_ssm.inference"), module("dynamax.hidden_markov_model.inference")
    spd, wide = positive_definite(2), positive_definite(3)
    emissions, weights, seen = normal(2, 2) * 0.4, normal(3, 2), normal(5, 3, seed=4)
    start, moves = (
        SHARES[0, :3] / SHARES[0, :3].sum(),
        np.full((3, 3), 0.1, np.float32) + 0.7 * np.eye(3, dtype=np.float32),
    )

    def parameters(f: Any, q: Any, h: Any, r: Any) -> Any:
        return linear.make_lgssm_params(jnp.zeros(2), jnp.eye(2), f, q, h, r)

    return under(
        "dynamax",
        {
            "lgssm_filter": (
                lambda f, q, h, r, y: linear.lgssm_filter(parameters(f, q, h, r), y).marginal_loglik,
                (emissions, spd, weights, wide, seen),
            ),
            "lgssm_smoother": (
                lambda f, q, h, r, y: linear.lgssm_smoother(parameters(f, q, h, r), y).smoothed_means,
                (emissions, spd, weights, wide, seen),
            ),
            "hmm_filter": (lambda p, a, s: hidden.hmm_filter(p, a, s).marginal_loglik, (start, moves, normal(5, 3))),
            "hmm_smoother": (lambda p, a, s: hidden.hmm_smoother(p, a, s).smoothed_probs, (start, moves, normal(5, 3))),
            "hmm_two_filter_smoother": (
                lambda p, a, s: hidden.hmm_two_filter_smoother(p, a, s).smoothed_probs, (start, moves, normal(5, 3)),
            ),
        },
    )  # fmt: skip


def netket() -> Calls:
    """Expectations with their gradient by sampling, wave functions and activations of netket."""
    nk = module("netket")
    spins = np.where(normal(6, 4) > 0, 1.0, -1.0)
    weights = normal(4).astype(np.float64)

    def model(made: Any, x: Any) -> Any:
        variables = made.init(jax.random.PRNGKey(0), x)
        return made.apply, (variables, x)

    def log_density(w: Any, x: Any) -> Any:
        return -jnp.sum((x - w) ** 2, axis=-1)

    def local(w: Any, x: Any) -> Any:
        return jnp.sum(jnp.sin(w * x) + w**2, axis=-1)

    complex_rbm = nk.models.RBM(alpha=1, param_dtype=complex)
    made: Calls = {
        "jax.expect": (lambda w, x: nk.jax.expect(log_density, local, w, x)[0], (weights, spins)),
        "jax.expect(in chunks)": (
            lambda w, x: nk.jax.expect(log_density, local, w, x, chunk_size=2)[0], (weights, spins),
        ),
        "jax.apply_packed": (
            lambda w, x: nk.jax.apply_packed(local, w, x, np.array([1, 0, 1, 1, 0, 1], bool), 0.0, chunk_size=2),
            (weights, spins),
        ),
        "jax.logsumexp_cplx": (lambda a, b: nk.jax.logsumexp_cplx(a, b=b), (weights + 0.3j, weights)),
        "jax.logdet_cmplx": (nk.jax.logdet_cmplx, ((np.eye(3) * 2 + normal(3, 3) * 0.3 + 0.1j),)),
        "nn.log_cosh": (nk.nn.log_cosh, (X,)), "nn.log_sinh": (nk.nn.log_sinh, (X,)),
        "nn.log_tanh": (nk.nn.log_tanh, (POSITIVE,)), "nn.reim_selu": (nk.nn.reim_selu, (X + 0.5j * INSIDE,)),
        "nn.reim_relu": (nk.nn.reim_relu, (X + 0.5j * INSIDE,)),
        "models.RBM": model(nk.models.RBM(alpha=1), spins), "models.RBM(complex)": model(complex_rbm, spins),
        "models.RBMModPhase": model(nk.models.RBMModPhase(alpha=1), spins),
        "models.Jastrow": model(nk.models.Jastrow(), spins), "models.MLP": model(nk.models.MLP(), spins),
        "models.Gaussian": model(nk.models.Gaussian(), spins),
    }  # fmt: skip
    return under("netket", made)


LIBRARIES = {
    "distrax": distrax, "numpyro": numpyro, "tensorflow_probability": tensorflow_probability, "blackjax": blackjax,
    "tinygp": tinygp, "gpjax": gpjax, "dynamax": dynamax, "netket": netket,
}  # fmt: skip
