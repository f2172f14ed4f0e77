"""What the parameters of JAX's primitives that move, pick and contract axes say."""

from dataclasses import dataclass
from typing import Any

from .compat import JaxprEqn


def reduced_axes(eqn: JaxprEqn) -> tuple[int, ...]:
    """The axes over which a reduction runs."""
    return tuple(eqn.params["axes"])


def broadcast_dimensions(eqn: JaxprEqn) -> tuple[int, ...]:
    """Where each axis of a `broadcast_in_dim`'s input stands in its output."""
    return tuple(eqn.params["broadcast_dimensions"])


def permutation(eqn: JaxprEqn) -> tuple[int, ...]:
    """The order of a transpose's axes."""
    return tuple(eqn.params["permutation"])


def integer_exponent(eqn: JaxprEqn) -> int:
    """The exponent of `integer_pow` or `square`."""
    return int(eqn.params.get("y", 2))


def bit_width(eqn: JaxprEqn) -> int:
    """How many bits `random_bits` draws for each number."""
    return int(eqn.params["bit_width"])


def counted_axis(eqn: JaxprEqn) -> int:
    """The axis along which an `iota` counts."""
    return int(eqn.params["dimension"])


@dataclass(frozen=True)
class Contraction:
    """A `dot_general`: the contracted and the batch axes of its two inputs."""

    contracted: tuple[tuple[int, ...], tuple[int, ...]]
    batch: tuple[tuple[int, ...], tuple[int, ...]]


def contraction(eqn: JaxprEqn) -> Contraction:
    """What a `dot_general` contracts."""
    (left, right), (batch_left, batch_right) = eqn.params["dimension_numbers"]
    return Contraction((tuple(left), tuple(right)), (tuple(batch_left), tuple(batch_right)))


@dataclass(frozen=True)
class RowGather:
    """A gather of whole slices at one integer index along one axis: `table[ids]`, `take_along_axis`."""

    axis: int  # of the operand, picked from
    operand_batch: tuple[int, ...]
    ids_batch: tuple[int, ...]
    offset: tuple[int, ...]  # axes of the output that come from the operand
    fills_with_zero: bool  # where an index is out of range


def row_gather(eqn: JaxprEqn, operand_shape: tuple[int, ...]) -> RowGather | None:
    """A gather as a `RowGather`; None for any other gather."""
    numbers: Any = eqn.params["dimension_numbers"]
    sizes = eqn.params["slice_sizes"]
    if len(numbers.start_index_map) != 1 or tuple(numbers.start_index_map) != tuple(numbers.collapsed_slice_dims):
        return None
    picked = {*numbers.start_index_map, *numbers.operand_batching_dims}
    if any(s != n for k, (s, n) in enumerate(zip(sizes, operand_shape)) if k not in picked):
        return None
    return RowGather(
        numbers.start_index_map[0],
        tuple(numbers.operand_batching_dims),
        tuple(numbers.start_indices_batching_dims),
        tuple(numbers.offset_dims),
        eqn.params.get("fill_value") == 0,
    )


@dataclass(frozen=True)
class Slice:
    """Where a `slice` begins and ends along each axis, and its steps."""

    start: tuple[int, ...]
    limit: tuple[int, ...]
    strides: tuple[int, ...]


def slice_of(eqn: JaxprEqn) -> Slice:
    """What a `slice` cuts out."""
    start, limit = tuple(eqn.params["start_indices"]), tuple(eqn.params["limit_indices"])
    return Slice(start, limit, tuple(eqn.params["strides"] or (1,) * len(start)))


def split_of(eqn: JaxprEqn) -> tuple[int, tuple[int, ...]]:
    """The axis of a `split`, and the lengths of its pieces."""
    return int(eqn.params["axis"]), tuple(eqn.params["sizes"])


def joined_axis(eqn: JaxprEqn) -> int:
    """The axis along which a `concatenate` joins, or the new one of a `stack`."""
    return int(eqn.params["dimension" if "dimension" in eqn.params else "axis"])


def padding(eqn: JaxprEqn) -> tuple[tuple[int, int, int], ...]:
    """For each axis what a `pad` puts before, behind and between the entries."""
    return tuple(eqn.params["padding_config"])
