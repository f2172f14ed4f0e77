"""The functions and models of other people's libraries that `audit_in_the_open` looks through, each with arguments."""

from collections.abc import Callable

from . import networks, of_jax, probability, science, solvers
from .arrays import Calls

LIBRARIES: dict[str, Callable[[], Calls]] = {
    **of_jax.LIBRARIES,
    **networks.LIBRARIES,
    **probability.LIBRARIES,
    **solvers.LIBRARIES,
    **science.LIBRARIES,
}
