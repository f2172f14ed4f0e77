"""Gates of arithmetic: each local derivative is one line. Broadcasting gates un-broadcast inside `Rule`.

Not here: what chooses between its inputs (`routing`), what moves or sums them (`shaping`), what a neuron applies (the
units in `sigmoid_like`, `relu_like` and `softmax`).
"""

import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from ..core.accumulation import to_accumulator
from ..core.domains import nonzero, positive
from ..core.rule import WithResiduals, rule


@rule(broadcasts=True, formula=np.add)
def add(x: Float[Array, "*x"], y: Float[Array, "*y"]) -> WithResiduals[Float[Array, "*xy"]]:
    """The addition gate, a distributor: each input receives the upstream gradient unchanged.

    Forward   f = x + y
    Local     df/dx = 1,  df/dy = 1
    Backward  dx = upstream,  dy = upstream
    Source    CS231n notes, "Backpropagation, intuitions", https://cs231n.github.io/optimization-2/
    """
    return x + y, None


@add.backward
def add_backward(residuals, upstream):
    return upstream, upstream


@rule(broadcasts=True, formula=np.subtract)
def sub(x: Float[Array, "*x"], y: Float[Array, "*y"]) -> WithResiduals[Float[Array, "*xy"]]:
    """The subtraction gate: a distributor that turns the sign for the second input.

    Forward   f = x - y
    Local     df/dx = 1,  df/dy = -1
    Backward  dx = upstream,  dy = -upstream
    Source    CS231n notes, "Backpropagation, intuitions", https://cs231n.github.io/optimization-2/
    """
    return x - y, None


@sub.backward
def sub_backward(residuals, upstream):
    return upstream, -upstream


@rule(broadcasts=True, formula=np.multiply)
def mul(x: Float[Array, "*x"], y: Float[Array, "*y"]) -> WithResiduals[Float[Array, "*xy"]]:
    """The multiplication gate, a swapper: each input receives the other one.

    Forward   f = x y
    Local     df/dx = y,  df/dy = x
    Backward  dx = y upstream,  dy = x upstream
    Source    CS231n notes, "Backpropagation, intuitions", https://cs231n.github.io/optimization-2/
    """
    return x * y, (x, y)


@mul.backward
def mul_backward(residuals, upstream):
    x, y = residuals
    upstream = to_accumulator(upstream)  # where one of them was broadcast, the products are added up
    return y * upstream, x * upstream


@rule(domain={"y": nonzero}, broadcasts=True, formula=np.divide)
def div(x: Float[Array, "*x"], y: Float[Array, "*y"]) -> WithResiduals[Float[Array, "*xy"]]:
    """The division gate: the numerator gets a share, the denominator that share times -f.

    Forward   f = x / y
    Local     df/dx = 1/y,  df/dy = -f/y
    Backward  dx = upstream / y,  dy = -f dx
    Source    CS231n notes, "Backpropagation, intuitions", https://cs231n.github.io/optimization-2/

    f is the value as rounded to its type: where one y divides many x and their gradients cancel, dy has the rounding of
    each f in halves.
    """
    f = x / y
    return f, (f, y)


@div.backward
def div_backward(residuals, upstream):
    f, y = residuals
    dx = to_accumulator(upstream) / y
    return dx, -f * dx


@rule(formula=np.negative)
def neg(x: Float[Array, "..."]) -> WithResiduals[Float[Array, "..."]]:
    """The negation gate turns the sign, forward and backward.

    Forward   f = -x
    Local     df/dx = -1
    Backward  dx = -upstream
    Source    CS231n notes, "Backpropagation, intuitions", https://cs231n.github.io/optimization-2/ (the gate * -1)
    """
    return -x, None


@neg.backward
def neg_backward(residuals, upstream):
    return -upstream


@rule(domain={"x": positive}, broadcasts=True, formula=np.power)
def power(x: Float[Array, "*x"], y: Float[Array, "*y"]) -> WithResiduals[Float[Array, "*xy"]]:
    """The power gate; base and exponent both receive a gradient.

    Forward   f = x^y
    Local     df/dx = y x^(y-1),  df/dy = f log x
    Backward  dx = y x^(y-1) upstream,  dy = f log x upstream
    Source    d e^(y log x) = e^(y log x) (y/x dx + log x dy)

    At x = 0: df/dx is 0 for y > 1 and for y = 0 (x^0 is constant), 1 for y = 1, infinite for 0 < y < 1; df/dy is 0 for
    y > 0, the limit of x^y log x (at y = 0, where x^y jumps from 1 to 0, we answer 0 too). For x < 0 only whole
    exponents have a power: dx is right there, dy does not exist and is NaN. A whole exponent known beforehand is better
    served by `square`, `reciprocal` and `mul`, which take any sign and have no dy to compute.
    """
    f = x**y
    return f, (x, y, f)


@power.backward
def power_backward(residuals, upstream):
    x, y, f = residuals
    zero = x == 0
    constant = zero & (y == 0)  # 0 * 0^(-1) would be NaN
    dx = y * x ** jnp.where(constant, 1, y - 1)
    dy = f * jnp.log(jnp.where(zero, 1, x))
    return dx * upstream, dy * upstream


@rule(formula=np.square)
def square(x: Float[Array, "..."]) -> WithResiduals[Float[Array, "..."]]:
    """The squaring gate: a swapper whose two inputs are one wire.

    Forward   f = x^2
    Local     df/dx = 2 x
    Backward  dx = 2 x upstream
    Source    f = x x and the sum at the fork: dx = x upstream + x upstream
    """
    return x * x, x


@square.backward
def square_backward(x, upstream):
    return 2 * x * upstream


@rule(domain={"x": positive}, formula=np.sqrt)
def sqrt(x: Float[Array, "..."]) -> WithResiduals[Float[Array, "..."]]:
    """The square root gate.

    Forward   f = x^(1/2)
    Local     df/dx = 1 / (2 f)
    Backward  dx = upstream / (2 f)
    Source    f^2 = x, so 2 f df = dx

    At x = 0 the tangent is vertical: dx is infinite (NaN where upstream is 0). Add an epsilon under the root.
    """
    f = jnp.sqrt(x)
    return f, f


@sqrt.backward
def sqrt_backward(f, upstream):
    return upstream / (2 * f)


@rule(domain={"x": nonzero}, formula=np.reciprocal)
def reciprocal(x: Float[Array, "..."]) -> WithResiduals[Float[Array, "..."]]:
    """The gate 1/x.

    Forward   f = 1 / x
    Local     df/dx = -1/x^2 = -f^2
    Backward  dx = -f^2 upstream
    Source    CS231n notes, "Backpropagation, intuitions" (sigmoid circuit), https://cs231n.github.io/optimization-2/
    """
    f = 1 / x
    return f, f


@reciprocal.backward
def reciprocal_backward(f, upstream):
    return -(f * upstream) * f  # f^2 alone may overflow where the product does not


@rule(formula=np.exp)
def exp(x: Float[Array, "..."]) -> WithResiduals[Float[Array, "..."]]:
    """The exponential gate: its output is its own derivative.

    Forward   f = e^x
    Local     df/dx = f
    Backward  dx = f upstream
    Source    CS231n notes, "Backpropagation, intuitions" (sigmoid circuit), https://cs231n.github.io/optimization-2/
    """
    f = jnp.exp(x)
    return f, f


@exp.backward
def exp_backward(f, upstream):
    return f * upstream


@rule(domain={"x": positive}, formula=np.log)
def log(x: Float[Array, "..."]) -> WithResiduals[Float[Array, "..."]]:
    """The natural logarithm gate.

    Forward   f = log x
    Local     df/dx = 1/x
    Backward  dx = upstream / x
    Source    e^f = x, so x df = dx
    """
    return jnp.log(x), x


@log.backward
def log_backward(x, upstream):
    return upstream / x


@rule(formula=np.sin)
def sin(x: Float[Array, "..."]) -> WithResiduals[Float[Array, "..."]]:
    """The sine gate.

    Forward   f = sin x
    Local     df/dx = cos x
    Backward  dx = cos x upstream
    Source    (cos x, sin x) runs round the unit circle at speed 1, its velocity at right angles to it
    """
    return jnp.sin(x), x


@sin.backward
def sin_backward(x, upstream):
    return jnp.cos(x) * upstream


@rule(formula=np.cos)
def cos(x: Float[Array, "..."]) -> WithResiduals[Float[Array, "..."]]:
    """The cosine gate.

    Forward   f = cos x
    Local     df/dx = -sin x
    Backward  dx = -sin x upstream
    Source    (cos x, sin x) runs round the unit circle at speed 1, its velocity at right angles to it
    """
    return jnp.cos(x), x


@cos.backward
def cos_backward(x, upstream):
    return -jnp.sin(x) * upstream
