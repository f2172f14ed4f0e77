"""Several processes that train one model together: what they agree on, and what the first does for all of them."""

from collections.abc import Callable, Sequence
from typing import Any, TypeVar

import jax
import jax.numpy as jnp
import numpy as np
from jax.experimental import multihost_utils
from jax.sharding import AxisType, Mesh, NamedSharding, PartitionSpec

T = TypeVar("T")

LONGEST_MESSAGE = 2000


def is_first() -> bool:
    """Whether this process writes the run's files."""
    return jax.process_index() == 0


def largest(number: int) -> int:
    """The largest of the numbers that the processes have."""
    return number if jax.process_count() == 1 else int(multihost_utils.process_allgather(np.int32(number)).max())


def by_the_first(function: Callable[[], Any]) -> None:
    """Call `function` in the first process, the others wait; an error ends all of them.

    Raises:
        RuntimeError: the first process failed, and this is another one.
    """
    if jax.process_count() == 1:
        function()
        return
    error, message = None, np.zeros(LONGEST_MESSAGE, np.uint8)
    if is_first():
        try:
            function()
        except Exception as raised:
            error = raised
            text = f"{type(raised).__name__}: {raised}".encode()[:LONGEST_MESSAGE]
            message[: len(text)] = np.frombuffer(text, np.uint8)
    received = np.asarray(multihost_utils.broadcast_one_to_all(message))
    if error is not None:
        raise error
    if received.any():
        text = bytes(received).rstrip(b"\0").decode(errors="replace")
        raise RuntimeError(f"fit: the first process ended with {text}")


def check_same(digest: str | None, what: str) -> None:
    """A ValueError where the processes have different hexadecimal digests, which are those of `what`."""
    if jax.process_count() > 1 and digest is not None:
        each = multihost_utils.process_allgather(np.frombuffer(bytes.fromhex(digest), np.uint8))
        if not (each == each[0]).all():
            raise ValueError(f"fit: {what} differ between the processes; each passes the same.")


def example_sharding(devices: Sequence[Any]) -> NamedSharding:
    """Arrays split over devices by their first axis, one row an example."""
    mesh = Mesh(np.array(devices), ("example",), axis_types=(AxisType.Auto,))
    return NamedSharding(mesh, PartitionSpec("example"))


def everywhere(share: NamedSharding | None) -> NamedSharding | None:
    """Arrays that each device of another sharding has whole; None where there is no other."""
    return None if share is None else NamedSharding(share.mesh, PartitionSpec())


def put(tree: T, sharding: NamedSharding | None) -> T:
    """Arrays on the devices of a sharding, those of other processes among them, which put the same there.

    Where there is no sharding, they stay where they are.
    """
    if sharding is None:
        return tree
    if sharding.is_fully_addressable:
        return jax.device_put(tree, sharding)

    def one(x: Any) -> jax.Array:
        if is_key(x):
            return jax.random.wrap_key_data(one(jax.random.key_data(x)), impl=jax.random.key_impl(x))
        x = np.asarray(x, jax.dtypes.canonicalize_dtype(x.dtype))
        return jax.make_array_from_callback(x.shape, sharding, lambda index: x[index])

    return jax.tree.map(one, tree)


def local(tree: T) -> T:
    """Arrays that each device has whole, as the first device of this process has them."""
    return jax.tree.map(lambda x: x.addressable_data(0), tree)


def is_key(x: Any) -> bool:
    """Whether an array is of random keys."""
    return jnp.issubdtype(x.dtype, jax.dtypes.prng_key)
