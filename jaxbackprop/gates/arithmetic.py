"""Gates of arithmetic: each local derivative is one line. Broadcasting gates un-broadcast inside `Rule`."""

from jaxtyping import Array, Float

from ..examples import nonzero
from ..rule import Saving, rule


@rule(broadcasts=True)
def add(x: Float[Array, "*x"], y: Float[Array, "*y"]) -> Saving[Float[Array, "*xy"]]:
    """The addition gate, a distributor: each input receives the upstream gradient unchanged.

    Forward   f = x + y
    Local     df/dx = 1,  df/dy = 1
    Backward  dx = upstream,  dy = upstream
    Source    CS231n notes, "Backpropagation, intuitions"
    """
    return x + y, None


@add.backward
def add_backward(saved, upstream):
    return upstream, upstream


@rule(broadcasts=True)
def sub(x: Float[Array, "*x"], y: Float[Array, "*y"]) -> Saving[Float[Array, "*xy"]]:
    """The subtraction gate: a distributor that turns the sign for the second input.

    Forward   f = x - y
    Local     df/dx = 1,  df/dy = -1
    Backward  dx = upstream,  dy = -upstream
    Source    CS231n notes, "Backpropagation, intuitions"
    """
    return x - y, None


@sub.backward
def sub_backward(saved, upstream):
    return upstream, -upstream


@rule(broadcasts=True)
def mul(x: Float[Array, "*x"], y: Float[Array, "*y"]) -> Saving[Float[Array, "*xy"]]:
    """The multiplication gate, a swapper: each input receives the other one.

    Forward   f = x y
    Local     df/dx = y,  df/dy = x
    Backward  dx = y upstream,  dy = x upstream
    Source    CS231n notes, "Backpropagation, intuitions"
    """
    return x * y, (x, y)


@mul.backward
def mul_backward(saved, upstream):
    x, y = saved
    return y * upstream, x * upstream


@rule(where={"y": nonzero}, broadcasts=True)
def div(x: Float[Array, "*x"], y: Float[Array, "*y"]) -> Saving[Float[Array, "*xy"]]:
    """The division gate: the numerator gets a share, the denominator that share times -f.

    Forward   f = x / y
    Local     df/dx = 1/y,  df/dy = -f/y
    Backward  dx = upstream / y,  dy = -f dx
    Source    CS231n notes, "Backpropagation, intuitions"
    """
    f = x / y
    return f, (f, y)


@div.backward
def div_backward(saved, upstream):
    f, y = saved
    dx = upstream / y
    return dx, -f * dx
