"""Other points for a function, drawn at random: from its arguments' domains, declared or found from an example.

A declared domain says itself what lies in it. Elsewhere the example given is where drawing starts: numbers are scaled,
shifted, negated, tied, zeroed, shuffled; indices are drawn from the indices given. Whether the plain function has a
value at such a point is for the check to see.
"""

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

import jax.numpy as jnp
import numpy as np

from ..core.domains import Domain, real
from ..jaxprs.inputs import Inputs, Leaves, generator, is_key, replaced
from .inferred_domains import Property, properties_of, restored
from .problem import Problem, handwritten_function

if TYPE_CHECKING:
    from hypothesis.strategies import SearchStrategy


def domain_of(problem: Problem, i: int) -> Domain:
    """The domain declared for array `i` of the problem's point; any real number where none is."""
    made, point = problem.function.rule, problem.inputs
    if made is None:
        return real
    found = made.domain.get(made.signature.parameters[point.owners[i]].name, real)
    if not isinstance(found, Mapping):
        return found
    return found.get("float" if jnp.issubdtype(point.arrays[i].dtype, jnp.inexact) else "int", real)


def inferred(problem: Problem, i: int) -> tuple[Property, ...]:
    """The properties of array `i` as given that are taken for conditions of the function; none of a declared domain."""
    if i not in problem.inputs.live or problem.function.rule is not None:
        return ()
    x = problem.inputs.arrays[i]
    found = properties_of(x)
    key = ("inferred", i, *(p.name for p in found))
    return problem.programs.get(key, lambda: tuple(p for p in found if not p.if_unseen or _unseen(problem, i, p)))


def distinct(problem: Problem, i: int) -> bool:
    """Whether the integers of array `i` must stay distinct: a shuffled permutation, or places to which values are set.

    Where two values are set at one place, JAX does not say which of them stays.
    """
    x = problem.inputs.arrays[i]
    if is_key(x) or x.dtype.kind not in "iu" or x.size < 2 or len(np.unique(x)) < x.size:
        return False
    is_permutation = x.ndim == 1 and x.size > 3 and set(x.tolist()) == set(range(x.size)) and np.any(np.diff(x) < 0)
    return bool(is_permutation) or problem.holds("scatter")


def _unseen(problem: Problem, i: int, p: Property) -> bool:
    """Whether the plain function has one value for an array without the property and for the restored one, or none."""
    x = problem.inputs.arrays[i]
    moved = x + 0.1 * np.max(np.abs(x)) * problem.random("unseen", i).normal(size=x.shape).astype(x.dtype)
    values = []
    for made in (moved, restored(moved, [p])):
        point = problem.inputs.with_arrays(replaced(problem.inputs.arrays, [i], [made]))
        values.append(problem.moved(point).value())
    if not all(np.isfinite(y).all() for y in values[0]):
        return True
    return all(np.allclose(a, b, rtol=1e-9, atol=1e-12) for a, b in zip(*values, strict=True))


def arguments(fun: Callable, *args: Any, **settings: Any) -> "SearchStrategy[tuple]":
    """A hypothesis strategy for one's own tests: arguments like `args`, within the domains of `fun`'s arguments.

    @given(arguments(my_rule, x, y))
    def test_it(args): ...
    """
    function = handwritten_function(fun, fun, settings)
    problem = Problem(function, function.inputs(args))
    return _points(problem).map(lambda arrays: problem.inputs.rebuild(arrays))


def drawn(problem: Problem, count: int) -> list[Inputs]:
    """So many points, the same for the same function and seed; fewer where there are not so many different ones."""
    rng = generator("drawn", problem.function.name, problem.seed)
    found: dict[bytes, Inputs] = {}
    given = _fingerprint(problem.inputs.arrays)
    for _ in range(2 * count):  # some are alike
        if len(found) == count:
            break
        arrays = _moved_arrays(problem, lambda below: int(rng.integers(below)))
        key = _fingerprint(arrays)
        if key != given:
            found.setdefault(key, problem.inputs.with_arrays(arrays, "a drawn point"))
    return list(found.values())


def _fingerprint(arrays: Leaves) -> bytes:
    return b"".join(x.tobytes() for x in arrays if not is_key(x))


def _points(problem: Problem) -> "SearchStrategy[Leaves]":
    from hypothesis import strategies as st

    @st.composite
    def arrays(draw: Any) -> Leaves:
        # Every choice is made of booleans: into integers hypothesis mixes constants that it finds in loaded modules.
        def choose(below: int) -> int:
            bits = draw(st.tuples(*[st.booleans()] * (1 + (below - 1).bit_length())))
            return sum(bit << k for k, bit in enumerate(bits)) % below

        return _moved_arrays(problem, choose)

    return arrays()


Choose = Callable[[int], int]
"""A number below the one given, each about as likely as every other one."""


def _moved_arrays(problem: Problem, choose: Choose) -> Leaves:
    return [
        _shuffled(choose, x)
        if distinct(problem, i)
        else restored(_moved(choose, x, domain_of(problem, i)), inferred(problem, i))
        for i, x in enumerate(problem.inputs.arrays)
    ]


def _shuffled(choose: Choose, x: np.ndarray) -> np.ndarray:
    return np.random.default_rng(choose(2**8)).permutation(x.reshape(-1)).reshape(x.shape)


def _moved(choose: Choose, x: Any, domain: Domain) -> Any:
    """`x` after one or two moves; as it is where that leaves its domain."""
    if is_key(x) or not np.size(x) or domain.holds is None:
        return x
    rng = np.random.default_rng(choose(2**8))
    if x.dtype.kind in "iub":
        moves = _OF_INTEGERS
    elif jnp.issubdtype(x.dtype, jnp.inexact):
        moves = _OF_NUMBERS
    else:
        return x
    made = np.array(x)
    for _ in range(1 + choose(2)):
        name = sorted(moves)[choose(len(moves))]
        made = moves[name](made, rng, choose).astype(x.dtype)
    return made if domain.holds(made) else x


def _scaled(x: np.ndarray, rng: Any, choose: Choose) -> np.ndarray:
    return x * 10.0 ** (choose(10) - 6)


def _shifted(x: np.ndarray, rng: Any, choose: Choose) -> np.ndarray:
    return x + (-3.0, -0.5, 0.5, 3.0)[choose(4)]


def _far(x: np.ndarray, rng: Any, choose: Choose) -> np.ndarray:
    return x + (30.0 if choose(2) else -30.0)


def _some(x: np.ndarray, rng: Any, value: Any) -> np.ndarray:
    return np.where(rng.random(x.shape) < 0.4, value, x)


def _resampled(x: np.ndarray, rng: Any, choose: Choose) -> np.ndarray:
    """Elements of the array itself, some repeated: in range as the given ones are; ascending where those are."""
    flat = x.reshape(-1)
    made = rng.choice(flat, flat.size)
    if np.all(np.diff(flat.astype(np.int64)) >= 0):
        made = np.sort(made)
        made[0] = flat[0]
    return made.reshape(x.shape)


_OF_NUMBERS: dict[str, Callable[..., np.ndarray]] = {
    "scaled": _scaled,
    "shifted": _shifted,
    "shifted far": _far,
    "negated": lambda x, rng, choose: -x,
    "positive": lambda x, rng, choose: np.abs(x),
    "some zero": lambda x, rng, choose: _some(x, rng, 0),
    "some alike": lambda x, rng, choose: _some(x, rng, x.reshape(-1)[0]),
    "shuffled": lambda x, rng, choose: rng.permutation(x.reshape(-1)).reshape(x.shape),
}

_OF_INTEGERS: dict[str, Callable[..., np.ndarray]] = {
    "all alike": lambda x, rng, choose: np.full_like(x, x.reshape(-1)[0]),
    "resampled": _resampled,
}
