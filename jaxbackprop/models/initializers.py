"""Where weights start, as the unit that follows them wants it. No model lives here."""

import jax
import jax.numpy as jnp
from jax import Array

from ..core.rule import Rule
from ..gates import sigmoid_like
from ..layers import affine_unit


def xavier(key: Array, fan_in: int, fan_out: int) -> Array:
    """Uniform within ±sqrt(6 / (fan_in + fan_out)): (fan_in, fan_out).

    Source  Glorot, Bengio 2010, "Understanding the difficulty of training deep feedforward neural networks"
    """
    limit = (6 / max(fan_in + fan_out, 1)) ** 0.5
    return jax.random.uniform(key, (fan_in, fan_out), jnp.float32, -limit, limit)


def he(key: Array, fan_in: int, fan_out: int) -> Array:
    """Normal with variance 2 / fan_in, for units that silence about half of what arrives: (fan_in, fan_out).

    Source  He, Zhang, Ren, Sun 2015, arXiv:1502.01852
    """
    return jax.random.normal(key, (fan_in, fan_out), jnp.float32) * (2 / max(fan_in, 1)) ** 0.5


def lecun(key: Array, fan_in: int, fan_out: int) -> Array:
    """Normal with variance 1 / fan_in, on which SELU's fixed point rests: (fan_in, fan_out).

    Source  LeCun, Bottou, Orr, Müller 1998, "Efficient BackProp"; Klambauer et al. 2017, arXiv:1706.02515
    """
    return jax.random.normal(key, (fan_in, fan_out), jnp.float32) * (1 / max(fan_in, 1)) ** 0.5


def weights_before(unit: str, key: Array, fan_in: int, fan_out: int) -> Array:
    """The weights of an affine layer that `unit` follows: Xavier's where it saturates, LeCun's for SELU, else He's."""
    draw = xavier if hasattr(sigmoid_like, unit) else lecun if unit == "selu" else he
    return draw(key, fan_in, fan_out)


def check_unit(model: str, unit: str) -> None:
    """Raise ValueError, naming `model`, where `unit` is not the name of a unit of one input."""
    if not isinstance(unit, str):
        name = unit.name if isinstance(unit, Rule) else "relu"
        raise ValueError(f"{model}: unit is {unit!r}; it is the name of a unit, such as {name!r}.")
    try:
        jax.eval_shape(lambda z: affine_unit(z, z, unit=unit), jax.ShapeDtypeStruct((1, 1), jnp.float32))
    except ValueError as error:
        raise ValueError(str(error).replace("affine_unit", model, 1)) from None
