"""Other points for a function, drawn by hypothesis: from its arguments' domains, declared or found from an example.

A declared domain says itself what lies in it. Elsewhere the example given is where drawing starts: numbers are scaled,
shifted, negated, tied, zeroed, shuffled; indices are drawn from the indices given. Whether the plain function has a
value at such a point is for the check to see.

Every choice is made of booleans: into integers and floats hypothesis mixes the constants it finds in the modules that
are loaded, and a verdict must not depend on those.
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
    import hypothesis

    found: dict[bytes, Inputs] = {}
    given = _fingerprint(problem.inputs.arrays)

    @hypothesis.seed(int(generator("drawn", problem.function.name, problem.seed).integers(1 << 32)))
    @hypothesis.settings(
        max_examples=2 * count,  # some are alike
        database=None,
        deadline=None,
        phases=[hypothesis.Phase.generate],
        suppress_health_check=tuple(hypothesis.HealthCheck),  # pyright: ignore[reportArgumentType]
    )
    @hypothesis.given(_points(problem))
    def collect(arrays: Leaves) -> None:
        key = _fingerprint(arrays)
        if key != given and len(found) < count:
            found.setdefault(key, problem.inputs.with_arrays(arrays, "a drawn point"))

    collect()
    return list(found.values())


def _fingerprint(arrays: Leaves) -> bytes:
    return b"".join(x.tobytes() for x in arrays if not is_key(x))


def _points(problem: Problem) -> "SearchStrategy[Leaves]":
    from hypothesis import strategies as st

    point = problem.inputs

    @st.composite
    def arrays(draw: Any) -> Leaves:
        new = [
            restored(_moved(draw, st, x, domain_of(problem, i)), inferred(problem, i))
            for i, x in enumerate(point.arrays)
        ]
        return replaced(point.arrays, range(len(new)), new)

    return arrays()


def _moved(draw: Any, st: Any, x: Any, domain: Domain) -> Any:
    """`x` after one or two moves; as it is where that leaves its domain."""
    if is_key(x) or not np.size(x) or domain.holds is None:
        return x
    rng = np.random.default_rng(_choice(draw, st, 2**8))
    if x.dtype.kind in "iub":
        moves = _OF_INTEGERS
    elif jnp.issubdtype(x.dtype, jnp.inexact):
        moves = _OF_NUMBERS
    else:
        return x
    made = np.array(x)
    for _ in range(1 + draw(st.booleans())):
        name = sorted(moves)[_choice(draw, st, len(moves))]
        made = moves[name](made, rng, draw, st).astype(x.dtype)
    return made if domain.holds(made) else x


def _choice(draw: Any, st: Any, count: int) -> int:
    """A number below `count`, made of booleans: each number about as likely as every other one."""
    bits = draw(st.tuples(*[st.booleans()] * (1 + (count - 1).bit_length())))
    return sum(bit << k for k, bit in enumerate(bits)) % count


def _scaled(x: np.ndarray, rng: Any, draw: Any, st: Any) -> np.ndarray:
    return x * 10.0 ** (_choice(draw, st, 10) - 6)


def _shifted(x: np.ndarray, rng: Any, draw: Any, st: Any) -> np.ndarray:
    return x + (-3.0, -0.5, 0.5, 3.0)[_choice(draw, st, 4)]


def _far(x: np.ndarray, rng: Any, draw: Any, st: Any) -> np.ndarray:
    return x + (30.0 if draw(st.booleans()) else -30.0)


def _some(x: np.ndarray, rng: Any, value: Any) -> np.ndarray:
    return np.where(rng.random(x.shape) < 0.4, value, x)


def _resampled(x: np.ndarray, rng: Any, draw: Any, st: Any) -> np.ndarray:
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
    "negated": lambda x, rng, draw, st: -x,
    "positive": lambda x, rng, draw, st: np.abs(x),
    "some zero": lambda x, rng, draw, st: _some(x, rng, 0),
    "some alike": lambda x, rng, draw, st: _some(x, rng, x.reshape(-1)[0]),
    "shuffled": lambda x, rng, draw, st: rng.permutation(x.reshape(-1)).reshape(x.shape),
}

_OF_INTEGERS: dict[str, Callable[..., np.ndarray]] = {
    "all alike": lambda x, rng, draw, st: np.full_like(x, x.reshape(-1)[0]),
    "resampled": _resampled,
}
