"""Libraries that solve: linear and nonlinear systems, optimization, transport, differential equations, integrals.

One function a library; a library is imported only there, so one that is absent or does not import is reported, no more.
"""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from .arrays import (
    INSIDE,
    LABELS,
    OTHER,
    POSITIVE,
    SHARES,
    UNIT,
    Calls,
    X,
    each_in,
    module,
    normal,
    positive_definite,
    under,
)  # fmt: skip


def jaxopt() -> Calls:
    """Solvers of jaxopt with their implicit derivatives, projections, proximal operators, perturbed functions."""
    jo = module("jaxopt")
    data, target, classes = normal(8, 3), normal(8, seed=2), np.arange(8) % 3
    start, ridge = jnp.zeros(3), np.float32(0.5)

    def least_squares(w: Any, l2: Any, x: Any, y: Any) -> Any:
        return jnp.mean((x @ w - y) ** 2) / 2 + l2 * jnp.sum(w**2) / 2

    def residuals(w: Any, x: Any, y: Any) -> Any:
        return x @ w - y

    def smooth(w: Any, x: Any, y: Any) -> Any:
        return jnp.mean((x @ w - y) ** 2) / 2

    solvers = {
        "GradientDescent": jo.GradientDescent(least_squares, maxiter=500, tol=1e-6),
        "LBFGS": jo.LBFGS(least_squares, tol=1e-6), "BFGS": jo.BFGS(least_squares, tol=1e-6),
        "NonlinearCG": jo.NonlinearCG(least_squares, tol=1e-6, maxiter=200),
        "PolyakSGD": jo.PolyakSGD(least_squares, maxiter=300, max_stepsize=0.5),
        "ArmijoSGD": jo.ArmijoSGD(least_squares, maxiter=300, tol=1e-6),
    }  # fmt: skip
    made: Calls = {
        name: (lambda l2, x, y, s=s: s.run(start, l2, x, y).params, (ridge, data, target))
        for name, s in solvers.items()
    }
    gauss = {"GaussNewton": jo.GaussNewton(residuals), "LevenbergMarquardt": jo.LevenbergMarquardt(residuals)}
    made |= {name: (lambda x, y, s=s: s.run(start, x, y).params, (data, target)) for name, s in gauss.items()}
    quadratic, linear = positive_definite(3), normal(3)
    made |= {
        "ProximalGradient": (
            lambda l1, x, y: jo.ProximalGradient(smooth, jo.prox.prox_lasso, tol=1e-7).run(start, l1, x=x, y=y).params,
            (np.float32(0.1), data, target),
        ),
        "ProjectedGradient": (
            lambda x, y: jo.ProjectedGradient(smooth, jo.projection.projection_simplex, tol=1e-7).run(
                start + 1 / 3, 1.0, x=x, y=y
            ).params, (data, target),
        ),
        "BlockCoordinateDescent": (
            lambda l1, x, y: jo.BlockCoordinateDescent(jo.objective.least_squares, jo.prox.prox_lasso).run(
                start, l1, (x, y)
            ).params, (np.float32(0.1), data, target),
        ),
        "FixedPointIteration": (
            lambda a: jo.FixedPointIteration(lambda z, a: jnp.cos(z) * a, maxiter=200, tol=1e-7).run(
                jnp.zeros(3), a
            ).params, (UNIT[0, :3],),
        ),
        "AndersonAcceleration": (
            lambda a: jo.AndersonAcceleration(lambda z, a: jnp.cos(z) * a, maxiter=50, tol=1e-7).run(
                jnp.zeros(3), a
            ).params, (UNIT[0, :3],),
        ),
        "Bisection": (
            lambda a: jo.Bisection(lambda z, a: z**3 + z - a, 0.0, 3.0, tol=1e-7).run(None, a).params,
            (np.float32(2.5),),
        ),
        "Broyden": (
            lambda a: jo.Broyden(lambda z, a: z**3 + z - a, tol=1e-7).run(jnp.zeros(3), a).params, (UNIT[0, :3],),
        ),
        "EqualityConstrainedQP": (
            lambda q, c, a, b: jo.EqualityConstrainedQP(tol=1e-7).run(None, (q, c), (a, b)).params.primal,
            (quadratic, linear, np.ones((1, 3), np.float32), np.ones(1, np.float32)),
        ),
        "OSQP": (
            lambda q, c: jo.OSQP(tol=1e-6).run(
                None, (q, c), (jnp.ones((1, 3)), jnp.ones(1)), (-jnp.eye(3), jnp.zeros(3))
            ).params.primal, (quadratic, linear),
        ),
        "BoxCDQP": (
            lambda q, c: jo.BoxCDQP(tol=1e-7, maxiter=200).run(
                jnp.zeros(3), (q, c), (jnp.full(3, -0.5), jnp.full(3, 0.5))
            ).params, (quadratic, linear),
        ),
        "MirrorDescent": (
            lambda x, y: jo.MirrorDescent(
                smooth, lambda z, _: jax.nn.softmax(z), jnp.log, maxiter=300, stepsize=0.5, tol=1e-7
            ).run(start + 1 / 3, None, x=x, y=y).params, (data, target),
        ),
        "isotonic_l2_pav": (jo.isotonic.isotonic_l2_pav, (X[0],)),
        "perturbations.make_perturbed_argmax": (
            lambda x: jo.perturbations.make_perturbed_argmax(
                lambda s: jax.nn.one_hot(jnp.argmax(s), 6), 64, 0.5
            )(x, jax.random.PRNGKey(0)), (X[0],),
        ),
        "perturbations.make_perturbed_max": (
            lambda x: jo.perturbations.make_perturbed_max(
                lambda s: jax.nn.one_hot(jnp.argmax(s), 6), 64, 0.5
            )(x, jax.random.PRNGKey(0)), (X[0],),
        ),
        "perturbations.make_perturbed_fun": (
            lambda x: jo.perturbations.make_perturbed_fun(jnp.max, 64, 0.5)(x, jax.random.PRNGKey(0)), (X[0],),
        ),
    }  # fmt: skip
    project = jo.projection
    balls = "projection_simplex projection_l1_sphere projection_l1_ball projection_l2_sphere projection_l2_ball"
    made |= each_in(lambda onto, x: onto(x, 1.0), project, f"{balls} projection_linf_ball", X[0])
    made |= {
        "projection_sparse_simplex": (lambda x: project.projection_sparse_simplex(x, 3), (X[0],)),
        "projection_hyperplane": (lambda x, a: project.projection_hyperplane(x, (a, 1.0)), (X[0], X[1])),
        "projection_halfspace": (lambda x, a: project.projection_halfspace(x, (a, 0.1)), (X[0], X[1])),
        "projection_affine_set": (lambda x, a: project.projection_affine_set(x, (a, jnp.ones(2))), (X[0], X[1:3])),
        "projection_box_section": (
            lambda x, w: project.projection_box_section(x, (-jnp.ones(6), jnp.ones(6), w, 0.5)), (X[0], OTHER[0]),
        ),
        "projection_polyhedron": (
            lambda x: project.projection_polyhedron(
                x, (jnp.ones((1, 3)), jnp.ones(1), -jnp.eye(3), jnp.zeros(3))
            ), (X[0, :3],),
        ),
        "projection_transport": (
            lambda s: project.projection_transport(s, (SHARES[0, :3] / SHARES[0, :3].sum(), jnp.full(4, 0.25))),
            (normal(3, 4),),
        ),
        "projection_birkhoff": (project.projection_birkhoff, (normal(3, 3),)),
        "kl_projection_birkhoff": (project.kl_projection_birkhoff, (normal(3, 3),)),
        "loss.multiclass_logistic_loss": (lambda x: jax.vmap(jo.loss.multiclass_logistic_loss)(LABELS, x), (X,)),
        "loss.multiclass_sparsemax_loss": (lambda x: jax.vmap(jo.loss.multiclass_sparsemax_loss)(LABELS, x), (X,)),
        "loss.binary_sparsemax_loss": (lambda x: jo.loss.binary_sparsemax_loss(1, x), (X,)),
        "loss.make_fenchel_young_loss": (jo.loss.make_fenchel_young_loss(jax.nn.logsumexp), (SHARES[0], X[0])),
        "loss.huber_loss": (jo.loss.huber_loss, (X, INSIDE)),
        "objective.multiclass_logreg": (
            lambda w, x: jo.objective.multiclass_logreg(w, (x, classes)), (normal(3, 3), data),
        ),
    }  # fmt: skip
    made |= {
        f"prox.{name}": (getattr(jo.prox, name), (X[0], np.float32(0.3)))
        for name in "prox_lasso prox_non_negative_lasso prox_group_lasso prox_ridge prox_non_negative_ridge".split()
    }
    made["prox.prox_elastic_net"] = (lambda x: jo.prox.prox_elastic_net(x, (0.3, 0.5)), (X[0],))
    return under("jaxopt", made)


def optimistix() -> Calls:
    """Root finders, least squares, minimisers and fixed points of optimistix with their implicit derivatives."""
    ox = module("optimistix")
    data, target = normal(8, 3), normal(8, seed=2)
    a = UNIT[0, :3]

    def cubic(y: Any, a: Any) -> Any:
        return y**3 + y - a

    def residual(y: Any, args: Any) -> Any:
        x, t = args
        return x @ y + 0.1 * jnp.sum(y**2) - t

    def objective(y: Any, a: Any) -> Any:
        return jnp.sum((y - a) ** 2 + 0.3 * jnp.cosh(y))

    tight = {"rtol": 1e-6, "atol": 1e-6}
    roots = {"Newton": ox.Newton(**tight), "Chord": ox.Chord(**tight), "Dogleg": ox.Dogleg(**tight),
             "LevenbergMarquardt": ox.LevenbergMarquardt(**tight)}  # fmt: skip
    minimisers = {"BFGS": ox.BFGS(**tight), "DFP": ox.DFP(**tight), "LBFGS": ox.LBFGS(**tight),
                  "NonlinearCG": ox.NonlinearCG(**tight), "GradientDescent": ox.GradientDescent(0.2, **tight),
                  "NelderMead": ox.NelderMead(**tight)}  # fmt: skip
    squares = {"GaussNewton": ox.GaussNewton(**tight), "LevenbergMarquardt": ox.LevenbergMarquardt(**tight),
               "IndirectLevenbergMarquardt": ox.IndirectLevenbergMarquardt(**tight),
               "Dogleg": ox.Dogleg(**tight)}  # fmt: skip
    made: Calls = {
        f"root_find({n})": (lambda a, s=s: ox.root_find(cubic, s, jnp.zeros(3), a, throw=False).value, (a,))
        for n, s in roots.items()
    }
    made |= {
        f"minimise({n})": (
            lambda a, s=s: ox.minimise(objective, s, jnp.zeros(3), a, max_steps=2000, throw=False).value, (a,),
        )
        for n, s in minimisers.items()
    }  # fmt: skip
    made |= {
        f"least_squares({n})": (
            lambda x, t, s=s: ox.least_squares(residual, s, jnp.zeros(3), (x, t), throw=False).value, (data, target),
        )
        for n, s in squares.items()
    }  # fmt: skip
    made |= {
        "fixed_point": (
            lambda a: ox.fixed_point(
                lambda y, a: jnp.cos(y) * a, ox.FixedPointIteration(**tight), jnp.zeros(3), a
            ).value, (a,),
        ),
        "root_find(Bisection)": (
            lambda a: ox.root_find(
                cubic, ox.Bisection(**tight), jnp.array(0.5), a, options={"lower": 0.0, "upper": 3.0}
            ).value, (np.float32(2.5),),
        ),
        "root_find(Newton), recursively checkpointed": (
            lambda a: ox.root_find(
                cubic, ox.Newton(**tight), jnp.zeros(3), a, adjoint=ox.RecursiveCheckpointAdjoint()
            ).value, (a,),
        ),
    }  # fmt: skip
    made |= {f"{n}": (getattr(ox, n), (X,)) for n in "two_norm rms_norm max_norm".split()}
    made["rms_norm(zeros)"] = (ox.rms_norm, (X * 0,))
    return under("optimistix", made)


def lineax() -> Calls:
    """Linear solves of lineax by every solver, and its norms."""
    lx = module("lineax")
    spd, b = positive_definite(4), normal(4)
    square, tall = (normal(4, 4) + 3 * np.eye(4)).astype(np.float32), normal(6, 4)
    tags = lx.positive_semidefinite_tag

    def solved(solver: Any, *tags: Any) -> Any:
        return lambda m, v: lx.linear_solve(lx.MatrixLinearOperator(m, tags), v, solver).value

    made: Calls = {
        "linear_solve(LU)": (solved(lx.LU()), (square, b)), "linear_solve(QR)": (solved(lx.QR()), (tall, normal(6))),
        "linear_solve(QR), wide": (solved(lx.QR()), (tall.T.copy(), b)),
        "linear_solve(SVD)": (solved(lx.SVD()), (tall, normal(6))),
        "linear_solve(Cholesky)": (solved(lx.Cholesky(), tags), (spd, b)),
        "linear_solve(CG)": (solved(lx.CG(1e-7, 1e-7), tags), (spd, b)),
        "linear_solve(BiCGStab)": (solved(lx.BiCGStab(1e-6, 1e-6)), (square, b)),
        "linear_solve(GMRES)": (solved(lx.GMRES(1e-6, 1e-6)), (square, b)),
        "linear_solve(LSMR)": (solved(lx.LSMR(1e-6, 1e-6)), (tall, normal(6))),
        "linear_solve(Normal(CG))": (solved(lx.Normal(lx.CG(1e-7, 1e-7))), (tall, normal(6))),
        "linear_solve(Triangular)": (
            solved(lx.Triangular(), lx.lower_triangular_tag), (np.linalg.cholesky(spd).astype(np.float32), b),
        ),
        "linear_solve(AutoLinearSolver)": (solved(lx.AutoLinearSolver(well_posed=True)), (square, b)),
        "linear_solve(Diagonal)": (
            lambda d, v: lx.linear_solve(lx.DiagonalLinearOperator(d), v, lx.Diagonal()).value, (POSITIVE[0], X[0]),
        ),
        "linear_solve(Tridiagonal)": (
            lambda d, lo, up, v: lx.linear_solve(lx.TridiagonalLinearOperator(d, lo, up), v, lx.Tridiagonal()).value,
            (POSITIVE[0] + 3, X[0, 1:], X[1, 1:], X[2]),
        ),
        "linear_solve(complex LU)": (solved(lx.LU()), (square + 0.5j * normal(4, 4), b + 0.2j)),
        "linear_solve(JacobianLinearOperator)": (
            lambda a, v: lx.linear_solve(
                lx.JacobianLinearOperator(lambda y, _: y**3 + a * y, jnp.ones(4)), v, lx.LU()
            ).value, (POSITIVE[0, :4], b),
        ),
        "internal.two_norm": (lx.internal.two_norm, (X,)), "internal.two_norm(zeros)": (lx.internal.two_norm, (X * 0,)),
        "internal.two_norm(complex)": (lx.internal.two_norm, (X + 1j * INSIDE,)),
        "internal.rms_norm": (lx.internal.rms_norm, (X,)), "internal.max_norm": (lx.internal.max_norm, (X,)),
        "internal.max_norm(zeros)": (lx.internal.max_norm, (X * 0,)),
    }  # fmt: skip
    return under("lineax", made)


def diffrax() -> Calls:
    """Differential equations of diffrax with each way to differentiate them."""
    dx = module("diffrax")
    start, rate = POSITIVE[0, :3], POSITIVE[1, :3]

    def solved(solver: Any, adjoint: Any, controller: Any = None) -> Any:
        return lambda y, a: dx.diffeqsolve(
            dx.ODETerm(lambda t, y, a: -a * y + jnp.sin(t)), solver, 0.0, 1.0, 0.1, y, args=a, adjoint=adjoint,
            stepsize_controller=controller or dx.ConstantStepSize(), max_steps=128,
        ).ys  # fmt: skip

    recursive = dx.RecursiveCheckpointAdjoint()
    made: Calls = {
        f"{name}, checkpointed": (solved(getattr(dx, name)(), recursive), (start, rate))
        for name in "Euler Heun Tsit5 Dopri5 Midpoint Ralston Bosh3".split()
    }
    implicit = dx.VeryChord(rtol=1e-6, atol=1e-6)
    made |= {
        "Tsit5, backsolve": (solved(dx.Tsit5(), dx.BacksolveAdjoint()), (start, rate)),
        "Tsit5, forward mode": (solved(dx.Tsit5(), dx.ForwardMode()), (start, rate)),
        "Tsit5, direct": (solved(dx.Tsit5(), dx.DirectAdjoint()), (start, rate)),
        "Tsit5, adaptive": (solved(dx.Tsit5(), recursive, dx.PIDController(rtol=1e-5, atol=1e-5)), (start, rate)),
        "ImplicitEuler": (solved(dx.ImplicitEuler(implicit), recursive), (start, rate)),
        "Kvaerno3": (solved(dx.Kvaerno3(implicit), recursive), (start, rate)),
        "steady state, implicit": (
            lambda y, a: dx.diffeqsolve(
                dx.ODETerm(lambda t, y, a: a - y), dx.Tsit5(), 0.0, None, 0.1, y, args=a,
                adjoint=dx.ImplicitAdjoint(), event=dx.Event(dx.steady_state_event()),
                stepsize_controller=dx.PIDController(rtol=1e-5, atol=1e-5),
            ).ys, (start, rate),
        ),
        "LinearInterpolation": (
            lambda y: dx.LinearInterpolation(jnp.linspace(0.0, 1.0, 6), y).evaluate(0.37), (X[0],),
        ),
        "CubicInterpolation": (
            lambda y: dx.CubicInterpolation(
                jnp.linspace(0.0, 1.0, 6), dx.backward_hermite_coefficients(jnp.linspace(0.0, 1.0, 6), y)
            ).evaluate(0.37), (X[0],),
        ),
        "EulerMaruyama": (
            lambda y, a: dx.diffeqsolve(
                dx.MultiTerm(
                    dx.ODETerm(lambda t, y, a: -a * y),
                    dx.ControlTerm(lambda t, y, a: 0.1 * a, dx.VirtualBrownianTree(
                        0.0, 1.0, 1e-2, (), jax.random.PRNGKey(0))),
                ), dx.Euler(), 0.0, 1.0, 0.1, y, args=a,
            ).ys, (start, rate),
        ),
    }  # fmt: skip
    return under("diffrax", made)


def ott() -> Calls:
    """Transport, costs, soft sorting and the stable functions of OTT."""
    utils, costs, geometry = module("ott.math.utils"), module("ott.geometry.costs"), module("ott.geometry.pointcloud")
    regular, problem = module("ott.geometry.regularizers"), module("ott.problems.linear.linear_problem")
    sinkhorn, sqrtm = module("ott.solvers.linear.sinkhorn"), module("ott.math.matrix_square_root")
    implicit, tools = module("ott.solvers.linear.implicit_differentiation"), module("ott.tools.soft_sort")
    divergence = module("ott.tools.sinkhorn_divergence")
    x, y, spd = normal(4, 2), normal(5, 2, seed=2), positive_definite(3)
    one_zero = X.copy()
    one_zero[1] = 0
    none_left = X.copy()
    none_left[1] = -np.inf

    def transported(**how: Any) -> Any:
        def cost(x: Any, y: Any) -> Any:
            of = problem.LinearProblem(geometry.PointCloud(x, y, epsilon=0.5))
            return sinkhorn.Sinkhorn(threshold=1e-4, max_iterations=200, **how)(of).reg_ot_cost

        return cost

    def plan(x: Any, y: Any) -> Any:
        of = problem.LinearProblem(geometry.PointCloud(x, y, epsilon=0.5))
        return sinkhorn.Sinkhorn(threshold=1e-4, max_iterations=200, implicit_diff=implicit.ImplicitDiff())(of).matrix

    made: Calls = {
        "utils.norm": (utils.norm, (X,)), "utils.norm(zeros)": (utils.norm, (X * 0,)),
        "utils.norm(axis=-1)": (lambda v: utils.norm(v, axis=-1), (X,)),
        "utils.norm(axis=-1), a row of zeros": (lambda v: utils.norm(v, axis=-1), (one_zero,)),
        "utils.norm(ord=1)": (lambda v: utils.norm(v[0], ord=1), (X,)),
        "utils.logsumexp": (lambda m: utils.logsumexp(m, axis=-1), (X,)),
        "utils.logsumexp, keepdims": (lambda m: utils.logsumexp(m, axis=0, keepdims=True), (X,)),
        "utils.logsumexp, a row of -inf": (lambda m: utils.logsumexp(m, axis=-1), (none_left,)),
        "utils.logsumexp, weights": (lambda m, b: utils.logsumexp(m, axis=-1, b=b), (X, OTHER)),
        "utils.logsumexp, signs": (
            lambda m, b: utils.logsumexp(m, axis=-1, b=b, return_sign=True)[0], (X, OTHER - 0.5),
        ),
        "utils.softmin": (lambda m, g: utils.softmin(m, g, -1), (X, np.float32(0.7))),
        "utils.softmin(all)": (lambda m, g: utils.softmin(m, g, None), (X, np.float32(0.7))),
        "utils.lambertw": (utils.lambertw, (POSITIVE,)), "utils.lambertw(0)": (utils.lambertw, (POSITIVE * 0,)),
        "utils.lambertw(negative)": (utils.lambertw, (np.array([-0.3, -0.1, -0.01], np.float32),)),
        "utils.safe_log": (utils.safe_log, (POSITIVE,)), "utils.kl": (utils.kl, (SHARES, SHARES[::-1].copy())),
        "utils.gen_js": (utils.gen_js, (SHARES, SHARES[::-1].copy())), "utils.gen_ent": (utils.gen_ent, (SHARES,)),
        "matrix_square_root.sqrtm": (lambda m: sqrtm.sqrtm(m)[:2], (spd,)),
        "matrix_square_root.sqrtm_only": (sqrtm.sqrtm_only, (spd,)),
        "matrix_square_root.inv_sqrtm_only": (sqrtm.inv_sqrtm_only, (spd,)),
        "matrix_square_root.sqrtm(batch)": (lambda m: sqrtm.sqrtm(m)[0], (np.stack([spd, spd * 2]),)),
        "matrix_square_root.solve_sylvester_bartels_stewart": (
            sqrtm.solve_sylvester_bartels_stewart, (spd, spd + np.eye(3, dtype="f"), normal(3, 3)),
        ),
        "sinkhorn, implicit": (transported(implicit_diff=implicit.ImplicitDiff()), (x, y)),
        "sinkhorn, unrolled": (transported(implicit_diff=None), (x, y)),
        "sinkhorn, not in logarithms": (transported(lse_mode=False), (x, y)),
        "sinkhorn, plan, implicit": (plan, (x, y)),
        "sinkhorn_divergence": (
            lambda x, y: divergence.sinkdiv(x, y, epsilon=0.5)[0], (x, y),
        ),
        "soft_sort.sort": (tools.sort, (X[0],)), "soft_sort.ranks": (tools.ranks, (X[0],)),
        "soft_sort.quantile": (lambda v: tools.quantile(v, q=0.4), (X[0],)),
        "soft_sort.topk_mask": (lambda v: tools.topk_mask(v, k=2), (X[0],)),
        "costs.SoftDTW": (lambda a, b: costs.SoftDTW(gamma=0.5)(a, b), (X[0], X[1])),
        "costs.Bures": (
            lambda a, b: costs.Bures(2)(
                jnp.concatenate([jnp.zeros(2), a.ravel()]), jnp.concatenate([jnp.ones(2), b.ravel()])
            ), (positive_definite(2), positive_definite(2, seed=3)),
        ),
        "costs.Arccos(n=1)": (lambda a, b: costs.Arccos(n=1)(a, b), (X[0], X[1])),
        "costs.RegTICost.h_legendre": (costs.RegTICost(regular.L1(), lam=0.3).h_legendre, (X[0],)),
        "costs.RegTICost": (lambda a, b: costs.RegTICost(regular.L1(), lam=0.3)(a, b), (X[0], X[1])),
    }  # fmt: skip
    for name, cost in {
        "Euclidean": costs.Euclidean(), "SqEuclidean": costs.SqEuclidean(), "Cosine": costs.Cosine(),
        "PNormP": costs.PNormP(1.5), "SqPNorm": costs.SqPNorm(1.5), "EuclideanP": costs.EuclideanP(1.5),
    }.items():  # fmt: skip
        made[f"costs.{name}"] = (lambda a, b, c=cost: c(a, b), (X[0], X[1]))
    made["costs.Euclidean(equal points)"] = (lambda a, b: costs.Euclidean()(a, b), (X[0], X[0]))
    return under("ott", made)


def quadax() -> Calls:
    """Adaptive quadrature of quadax, differentiated in its arguments and limits."""
    qx = module("quadax")

    def f(t: Any, a: Any) -> Any:
        return jnp.exp(-a * t**2) * jnp.cos(t)

    def integral(rule: Any, **how: Any) -> Any:
        return lambda a, lo, hi: rule(lambda t, a: f(t, a), jnp.stack([lo, hi]), args=(a,), **how)[0]

    at = (np.float32(0.7), np.float32(0.2), np.float32(1.9))
    made: Calls = {
        name: (integral(getattr(qx, name)), at) for name in "quadgk quadcc quadts romberg rombergts tanhsinh".split()
    }
    made["quadgk, Leibniz"] = (integral(qx.quadgk, adjoint=qx.LeibnizAdjoint()), at)
    made["romberg, Leibniz"] = (integral(qx.romberg, adjoint=qx.LeibnizAdjoint()), at)
    made["quadgk(to infinity)"] = (
        lambda a: qx.quadgk(lambda t, a: jnp.exp(-a * t), jnp.array([0.0, jnp.inf]), args=(a,))[0], at[:1],
    )  # fmt: skip
    made["simpson"] = (lambda y: qx.simpson(y, dx=0.1), (X[0],))
    made["cumulative_trapezoid"] = (lambda y: qx.cumulative_trapezoid(y, dx=0.1), (X[0],))
    return under("quadax", made)


def interpax() -> Calls:
    """Interpolation of interpax, by every method."""
    ix = module("interpax")
    knots, values = np.linspace(0, 1, 6, dtype=np.float32), X[0]
    at = np.array([0.13, 0.37, 0.81], np.float32)
    made: Calls = {
        f"interp1d({method})": (lambda q, f, m=method: ix.interp1d(q, knots, f, m), (at, values))
        for method in "nearest linear cubic cubic2 catmull-rom cardinal monotonic monotonic-0 akima".split()
    }
    made |= {
        f"interp2d({method})": (
            lambda q, f, m=method: ix.interp2d(q, q[::-1], knots[:4], knots, f, m), (at * 0.6, X),
        )
        for method in ("linear", "cubic", "cubic2")
    }  # fmt: skip
    splines = "CubicSpline PchipInterpolator Akima1DInterpolator"
    made |= each_in(lambda spline, q, f: spline(knots, f)(q), ix, splines, at, values)
    made["fft_interp1d"] = (lambda f: ix.fft_interp1d(f, 9), (values,))
    made["RBFInterpolator"] = (lambda q, f: ix.RBFInterpolator(knots[:, None], f)(q[:, None]), (at, values))
    return under("interpax", made)


def orthax() -> Calls:
    """Orthogonal polynomials of orthax: values, products, derivatives, quadrature."""
    made: Calls = {}
    for kind, short in {"chebyshev": "cheb", "legendre": "leg", "hermite": "herm", "laguerre": "lag"}.items():
        of = module(f"orthax.{kind}")
        made[f"{kind}.{short}val"] = (getattr(of, f"{short}val"), (INSIDE[0], X[0, :4]))
        made[f"{kind}.{short}mul"] = (getattr(of, f"{short}mul"), (X[0, :4], X[1, :3]))
        made[f"{kind}.{short}der"] = (getattr(of, f"{short}der"), (X[0, :4],))
        made[f"{kind}.{short}int"] = (getattr(of, f"{short}int"), (X[0, :4],))
    made["chebyshev.chebroots"] = (lambda c: jnp.abs(module("orthax.chebyshev").chebroots(c)), (X[0, :4],))
    return under("orthax", made)


LIBRARIES = {
    "jaxopt": jaxopt, "optimistix": optimistix, "lineax": lineax, "diffrax": diffrax, "ott": ott, "quadax": quadax,
    "interpax": interpax, "orthax": orthax,
}  # fmt: skip
