"""Complex arguments, values or both. JAX's convention: the cotangent u of y pulls back to u dy/dz, not conjugated."""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from .entry import Foreign, jvp, normal, of_arguments

Array = Any


def z(*shape: int, seed: int = 0) -> np.ndarray:
    return (normal(*shape, seed=seed) + 1j * normal(*shape, seed=seed + 50)).astype(np.complex64)


def power(x: Array) -> Array:
    return x.real**2 + x.imag**2


def phase(x: Array) -> Array:
    return jnp.arctan2(x.imag, x.real)


def phase_backward(kept: Any, u: Array) -> Any:
    (x,) = kept
    size = x.real**2 + x.imag**2
    return (jax.lax.complex(-u * x.imag / size, -u * x.real / size),)


def absolute_backward(kept: Any, u: Array) -> Any:
    (x,) = kept
    size = jnp.abs(x)
    return (u * jnp.where(size == 0, 0, x.conj() / jnp.where(size == 0, 1, size)),)


def mod_relu(x: Array, b: Array) -> Array:
    """Arjovsky 2016: relu(|z| + b) z / |z|."""
    size = jnp.abs(x)
    return jax.nn.relu(size + b) / size * x


def mod_relu_backward(kept: Any, u: Array) -> Any:
    x, b = kept
    size = jnp.abs(x)
    unit = x / size
    on = (size + b > 0).astype(size.dtype)
    along = (u * unit).real
    dx = on * ((1 + b / size) * u - b / size * unit.conj() * along)
    return dx, on * along


def matmul_backward(kept: Any, u: Array) -> Any:
    a, b = kept
    return u @ b.T, a.T @ u


def hermitian_form(a: Array, x: Array) -> Array:
    return (x.conj() @ a @ x).real


def fft_power(x: Array) -> Array:
    return power(jnp.fft.fft(x))


def fft_power_backward(kept: Any, u: Array) -> Any:
    f = jnp.fft.fft(kept[0])
    return (jnp.fft.fft(2 * u * f.conj()),)


def right() -> list[Foreign]:
    return [
        Foreign("squared modulus", of_arguments(power, lambda s, u: (2 * u * s[0].conj(),)), (z(3),)),
        Foreign("modulus", of_arguments(jnp.abs, absolute_backward), (z(3),)),
        Foreign("phase", of_arguments(phase, phase_backward), (z(3),)),
        Foreign(
            "modReLU", of_arguments(mod_relu, mod_relu_backward), (z(4), np.array([-0.2, 0.3, -3, 0.1], np.float32))
        ),
        Foreign("a product of complex matrices", of_arguments(jnp.matmul, matmul_backward), (z(2, 3), z(3, 2))),
        Foreign("exp of complex numbers", jvp(jnp.exp, lambda p, t: (jnp.exp(p[0]), t[0] * jnp.exp(p[0]))), (z(3),)),
        Foreign("conjugate", of_arguments(jnp.conj, lambda s, u: (u.conj(),)), (z(3),)),
        Foreign("power of a spectrum", of_arguments(fft_power, fft_power_backward), (z(4),)),
        Foreign("the real part", of_arguments(lambda x: x.real * 1.0, lambda s, u: (u.astype(s[0].dtype),)), (z(3),)),
        Foreign("a complex reciprocal", of_arguments(lambda x: 1 / x, lambda s, u: (-u / (s[0] * s[0]),)), (z(3),)),
    ]


def wrong() -> list[Foreign]:
    gradient = ("gradient",)
    conjugated = ("conjugat",)
    return [
        # pytorch 60180, 98946: the other convention. A backward pass ported from PyTorch is the conjugate of JAX's.
        Foreign(
            "squared modulus by PyTorch's convention",
            of_arguments(power, lambda s, u: (2 * u * s[0],)),
            (z(3),),
            causes=conjugated,
            checks=gradient,
        ),
        Foreign(
            "modulus by PyTorch's convention",
            of_arguments(jnp.abs, lambda s, u: (u * s[0] / jnp.abs(s[0]),)),
            (z(3),),
            causes=conjugated,
            checks=gradient,
        ),
        Foreign(
            "a product by PyTorch's convention",
            of_arguments(jnp.multiply, lambda s, u: (u * s[1].conj(), u * s[0].conj())),
            (z(3), z(3, seed=1)),
            causes=conjugated,
            checks=gradient,
        ),
        Foreign(
            "matrices: conjugate transposes",
            of_arguments(jnp.matmul, lambda s, u: (u @ s[1].conj().T, s[0].conj().T @ u)),
            (z(2, 3), z(3, 2)),
            causes=conjugated,
            checks=gradient,
        ),
        Foreign(
            "fft: the inverse for the transpose",
            of_arguments(jnp.fft.fft, lambda s, u: (jnp.fft.ifft(u),)),
            (z(4),),
            causes=("inverse", "flip", "revers"),
            checks=gradient,
        ),
        Foreign(
            "ifft: the size left out",
            of_arguments(jnp.fft.ifft, lambda s, u: (jnp.fft.fft(u),)),
            (z(4),),
            causes=("factor", "inverse", "revers"),
            checks=gradient,
        ),
        Foreign(
            "exp: conjugated",
            of_arguments(jnp.exp, lambda s, u: (u * jnp.exp(s[0].conj()),)),
            (z(3),),
            causes=conjugated,
            checks=gradient,
        ),
        Foreign(
            "phase: the other sign",
            of_arguments(phase, lambda s, u: (-phase_backward(s, u)[0],)),
            (z(3),),
            causes=("sign",),
            checks=gradient,
        ),
        Foreign(
            "the imaginary part of a gradient dropped",
            of_arguments(lambda x: x * x, lambda s, u: ((2 * u * s[0]).real.astype(u.dtype),)),
            (z(3),),
            causes=("imaginary",),
            checks=gradient,
        ),
        Foreign(
            "a reciprocal without its minus",
            of_arguments(lambda x: 1 / x, lambda s, u: (u / (s[0] * s[0]),)),
            (z(3),),
            causes=("sign",),
            checks=gradient,
        ),
        Foreign(
            "a reciprocal with a modulus",
            of_arguments(lambda x: 1 / x, lambda s, u: (-u / jnp.abs(s[0]) ** 2,)),
            (z(3),),
            causes=("conjugat", "modulus", "local derivative", "turned"),
            checks=gradient,
        ),
        Foreign(
            "modReLU: as if the modulus were constant",
            of_arguments(
                mod_relu,
                lambda s, u: (u * (jnp.abs(s[0]) + s[1] > 0) * (1 + s[1] / jnp.abs(s[0])), mod_relu_backward(s, u)[1]),
            ),
            (z(4), np.array([-0.2, 0.3, -3, 0.1], np.float32)),
            causes=("fork", "left out", "product"),
            checks=gradient,
        ),
        # Right at the real numbers given, wrong where an imaginary part is not zero: the "no other points".
        Foreign(
            "exp right on the real axis alone",
            of_arguments(jnp.exp, lambda s, u: (u * jnp.exp(s[0].real + 0j).astype(u.dtype),)),
            (normal(3).astype(np.complex64),),
            causes=("argument", "pattern", "elements", "residual", "left out", "complex"),
            checks=("gradient", "other_points"),
        ),
        Foreign(
            "a complex product in half precision",
            of_arguments(
                jnp.multiply,
                lambda s, u: (
                    (u.real.astype(jnp.float16) + 1j * u.imag.astype(jnp.float16)).astype(u.dtype) * s[1],
                    u * s[0],
                ),
            ),
            (z(3), z(3, seed=1)),
            causes=("accuracy", "float16", "precision"),
            checks=("gradient", "precision"),
        ),
    ]
