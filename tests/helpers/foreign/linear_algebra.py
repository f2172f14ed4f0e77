"""Matrices: factorisations, solves, spectral functions, transforms; many are meant for matrices of one kind."""

from typing import Any

import jax.numpy as jnp
import numpy as np
from jax.scipy import linalg

from .entry import Foreign, normal, of_arguments, vjp

Array = Any


def positive(n: int, seed: int = 0) -> np.ndarray:
    a = normal(n, n, seed=seed)
    return (a @ a.T + n * np.eye(n)).astype(np.float32)


def symmetric(n: int, seed: int = 0) -> np.ndarray:
    a = normal(n, n, seed=seed)
    return (a + a.T) / np.float32(2)


def lower(n: int, seed: int = 0) -> np.ndarray:
    return (np.tril(normal(n, n, seed=seed)) + 2 * np.eye(n)).astype(np.float32)


def phi(x: Array) -> Array:
    return jnp.tril(x) - 0.5 * jnp.diag(jnp.diag(x))


def cholesky_backward(factor: Array, u: Array) -> Any:
    """Murray 2016, arXiv:1602.07527, equation 9."""
    p = phi(factor.T @ jnp.tril(u))
    s = linalg.solve_triangular(factor, (p + p.T) / 2, lower=True, trans=1)
    return (linalg.solve_triangular(factor, s.T, lower=True, trans=1).T,)


def solve_backward(kept: Any, u: Array) -> Any:
    a, x = kept
    db = jnp.linalg.solve(a.T, u)
    return -jnp.outer(db, x), db


def log_det(a: Array) -> Array:
    return jnp.linalg.slogdet(a)[1]


def eigenvalues(a: Array) -> Array:
    return jnp.linalg.eigvalsh(a)


def eigenvalues_backward(vectors: Array, u: Array) -> Any:
    return ((vectors * u) @ vectors.T,)


def nuclear_norm(a: Array) -> Array:
    return jnp.linalg.svd(a, compute_uv=False).sum()


def nuclear_forward(a: Array) -> Any:
    u, s, vt = jnp.linalg.svd(a, full_matrices=False)
    return s.sum(), u @ vt


def qr_r_log(a: Array) -> Array:
    return jnp.log(jnp.abs(jnp.diag(jnp.linalg.qr(a)[1]))).sum()


def triangular_solve_backward(kept: Any, u: Array) -> Any:
    t, x = kept
    db = linalg.solve_triangular(t, u, lower=True, trans=1)
    return -jnp.tril(jnp.outer(db, x)), db


def power_spectrum(x: Array) -> Array:
    f = jnp.fft.rfft(x)
    return f.real**2 + f.imag**2


def power_spectrum_backward(kept: Any, u: Array) -> Any:
    """The transpose of rfft: one row of the full transform for each kept frequency."""
    (x,) = kept
    f = jnp.fft.rfft(x)
    full = jnp.zeros(x.size, f.dtype).at[: u.size].set(2 * u * f)
    return ((jnp.fft.ifft(full) * x.size).real.astype(x.dtype),)


def inverse_sqrt(a: Array) -> Array:
    w, v = jnp.linalg.eigh(a)
    return (v / jnp.sqrt(w)) @ v.T


def inverse_sqrt_backward(kept: Any, u: Array) -> Any:
    """Divided differences (Daleckii and Krein) of x^(-1/2)."""
    w, v = kept
    s = jnp.sqrt(w)
    d = -1 / (s[:, None] * s[None, :] * (s[:, None] + s[None, :]))
    inner = v.T @ ((u + u.T) / 2) @ v
    return (v @ (d * inner) @ v.T,)


def inverse_sqrt_forward(a: Array) -> Any:
    w, v = jnp.linalg.eigh(a)
    return (v / jnp.sqrt(w)) @ v.T, (w, v)


def circulant_product(c: Array, x: Array) -> Array:
    return jnp.fft.irfft(jnp.fft.rfft(c) * jnp.fft.rfft(x), x.size)


def correlate(a: Array, u: Array) -> Array:
    return jnp.fft.irfft(jnp.conj(jnp.fft.rfft(a)) * jnp.fft.rfft(u), u.size)


def right() -> list[Foreign]:
    return [
        Foreign(
            "cholesky",
            vjp(jnp.linalg.cholesky, lambda a: (jnp.linalg.cholesky(a),) * 2, cholesky_backward),
            (positive(3),),
        ),
        Foreign(
            "solve",
            vjp(jnp.linalg.solve, lambda a, b: (lambda x: (x, (a, x)))(jnp.linalg.solve(a, b)), solve_backward),
            (positive(3), normal(3)),
        ),
        Foreign(
            "triangular solve",
            vjp(
                lambda t, b: linalg.solve_triangular(t, b, lower=True),
                lambda t, b: (lambda x: (x, (t, x)))(linalg.solve_triangular(t, b, lower=True)),
                triangular_solve_backward,
            ),
            (lower(3), normal(3)),
        ),
        Foreign("log determinant", of_arguments(log_det, lambda s, u: (u * jnp.linalg.inv(s[0]).T,)), (positive(3),)),
        Foreign(
            "eigenvalues of a symmetric matrix",
            vjp(eigenvalues, lambda a: tuple(jnp.linalg.eigh(a)), eigenvalues_backward),
            (symmetric(3),),
        ),
        Foreign("nuclear norm", vjp(nuclear_norm, nuclear_forward, lambda m, u: (u * m,)), (normal(3, 2),)),
        Foreign("power spectrum", of_arguments(power_spectrum, power_spectrum_backward), (normal(6),)),
        Foreign(
            "inverse square root of a matrix",
            vjp(inverse_sqrt, inverse_sqrt_forward, inverse_sqrt_backward),
            (positive(3),),
        ),
        Foreign(
            "circular convolution by FFT",
            of_arguments(circulant_product, lambda s, u: (correlate(s[1], u), correlate(s[0], u))),
            (normal(5), normal(5, seed=1)),
        ),
        Foreign(
            "trace of an inverse",
            of_arguments(
                lambda a: jnp.trace(jnp.linalg.inv(a)),
                lambda s, u: (-u * (jnp.linalg.inv(s[0]) @ jnp.linalg.inv(s[0])).T,),
            ),
            (positive(2),),
        ),
        Foreign("mahalanobis by cholesky", of_arguments(mahalanobis, mahalanobis_backward), (positive(3), normal(3))),
    ]


def mahalanobis(a: Array, x: Array) -> Array:
    return x @ linalg.cho_solve((jnp.linalg.cholesky(a), True), x)


def mahalanobis_backward(kept: Any, u: Array) -> Any:
    a, x = kept
    y = linalg.cho_solve((jnp.linalg.cholesky(a), True), x)
    return -u * jnp.outer(y, y), 2 * u * y


def cholesky_backward_whole_diagonal(factor: Array, u: Array) -> Any:
    p = jnp.tril(factor.T @ jnp.tril(u))
    s = linalg.solve_triangular(factor, (p + p.T) / 2, lower=True, trans=1)
    return (linalg.solve_triangular(factor, s.T, lower=True, trans=1).T,)


def power_spectrum_backward_of_a_full_one(kept: Any, u: Array) -> Any:
    """As if the other half of the frequencies were kept, too: the middle ones count twice."""
    (x,) = kept
    f = jnp.fft.rfft(x)
    return (2 * x.size * jnp.fft.irfft(2 * u * f, x.size) / 2,)


def wrong() -> list[Foreign]:
    gradient = ("gradient",)
    general = normal(3, 3, seed=7)
    solved = lambda back: vjp(jnp.linalg.solve, lambda a, b: (lambda x: (x, (a, x)))(jnp.linalg.solve(a, b)), back)  # noqa: E731
    return [
        Foreign(
            "cholesky: the diagonal not halved",
            vjp(jnp.linalg.cholesky, lambda a: (jnp.linalg.cholesky(a),) * 2, cholesky_backward_whole_diagonal),
            (positive(3),),
            causes=("diagonal", "factor"),
            checks=gradient,
        ),
        Foreign(
            "solve: not transposed",
            solved(lambda s, u: (-jnp.outer(jnp.linalg.solve(s[0], u), s[1]), jnp.linalg.solve(s[0], u))),
            (general, normal(3)),
            causes=("transpose",),
            checks=gradient,
        ),
        Foreign(
            "solve: no minus",
            solved(lambda s, u: (jnp.outer(jnp.linalg.solve(s[0].T, u), s[1]), jnp.linalg.solve(s[0].T, u))),
            (general, normal(3)),
            causes=("sign",),
            checks=gradient,
        ),
        Foreign(
            "solve: the outer product turned",
            solved(lambda s, u: (-jnp.outer(s[1], jnp.linalg.solve(s[0].T, u)), jnp.linalg.solve(s[0].T, u))),
            (general, normal(3)),
            causes=("transpose",),
            checks=gradient,
        ),
        Foreign(
            "log determinant: the inverse not transposed",
            of_arguments(log_det, lambda s, u: (u * jnp.linalg.inv(s[0]),)),
            (general,),
            causes=("transpose",),
            checks=gradient,
        ),
        Foreign(
            "determinant: without the determinant",
            of_arguments(jnp.linalg.det, lambda s, u: (u * jnp.linalg.inv(s[0]).T,)),
            (general,),
            causes=("factor", "output"),
            checks=gradient,
        ),
        Foreign(
            "inverse: not transposed",
            of_arguments(jnp.linalg.inv, lambda s, u: (-jnp.linalg.inv(s[0]) @ u @ jnp.linalg.inv(s[0]),)),
            (general,),
            causes=("transpose",),
            checks=gradient,
        ),
        Foreign(
            "nuclear norm: the left vectors alone",
            vjp(
                nuclear_norm,
                lambda a: (nuclear_norm(a), jnp.linalg.svd(a, full_matrices=False)[0]),
                lambda m, u: (u * m,),
            ),
            (normal(3, 2),),
            causes=("pattern", "elements", "none"),
            checks=gradient,
        ),
        Foreign(
            "eigenvalues: the vectors as rows",
            vjp(eigenvalues, lambda a: tuple(jnp.linalg.eigh(a)), lambda v, u: ((v.T * u) @ v,)),
            (symmetric(3),),
            causes=("transpose", "pattern", "elements"),
            checks=gradient,
        ),
        Foreign(
            "expm: as if all matrices commuted",
            of_arguments(linalg.expm, lambda s, u: (linalg.expm(s[0]).T @ u,)),
            (0.3 * normal(2, 2),),
            causes=("pattern", "elements"),
            checks=gradient,
        ),
        Foreign(
            "power spectrum: middle frequencies twice",
            of_arguments(power_spectrum, power_spectrum_backward_of_a_full_one),
            (normal(6),),
            causes=("factor", "pattern", "twice"),
            checks=gradient,
        ),
        Foreign(
            "circular convolution: the kernel not reversed",
            of_arguments(circulant_product, lambda s, u: (circulant_product(s[1], u), correlate(s[0], u))),
            (normal(5), normal(5, seed=1)),
            causes=("transposed",),
            checks=gradient,
        ),
        Foreign(
            "trace of an inverse: one inverse",
            of_arguments(lambda a: jnp.trace(jnp.linalg.inv(a)), lambda s, u: (-u * jnp.linalg.inv(s[0]).T,)),
            (general,),
            causes=("pattern", "elements", "left out"),
            checks=gradient,
        ),
        Foreign(
            "mahalanobis: 2 left out",
            of_arguments(mahalanobis, lambda s, u: (mahalanobis_backward(s, u)[0], mahalanobis_backward(s, u)[1] / 2)),
            (positive(3), normal(3)),
            causes=("factor 1/2",),
            checks=gradient,
        ),
        Foreign(
            "a quadratic form taken for symmetric",
            of_arguments(lambda a, x: x @ a @ x, lambda s, u: (u * jnp.outer(s[1], s[1]), 2 * u * s[0] @ s[1])),
            (general, normal(3)),
            causes=("fork", "transpose"),
            checks=gradient,
        ),
        Foreign(
            "Frobenius norm: not divided by itself",
            of_arguments(jnp.linalg.norm, lambda s, u: (u * s[0],)),
            (general,),
            causes=("factor", "output", "left out"),
            checks=gradient,
        ),
        Foreign(
            "pseudo-inverse by the formula for full rank",
            of_arguments(
                lambda a: jnp.linalg.inv(a.T @ a) @ a.T,
                lambda s, u: (
                    -(jnp.linalg.inv(s[0].T @ s[0]) @ s[0].T).T @ u @ (jnp.linalg.inv(s[0].T @ s[0]) @ s[0].T).T,
                ),
            ),
            (normal(3, 2),),
            causes=("fork", "product", "pattern"),
            checks=gradient,
        ),
    ]
