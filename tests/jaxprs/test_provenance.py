"""Where functions are written, and what Python is running."""

import functools

import jax
import jax.numpy as jnp

from jaxbackprop.jaxprs.provenance import callers, lines_of, name_of, of_a_library, of_jax, source_of, written_in


def three_lines(x):
    y = jnp.sin(x)
    return y * 2


class Callable:
    def __call__(self, x):
        return three_lines(x)


def test_a_function_is_placed_through_whatever_wraps_it():
    place = source_of(three_lines)
    assert place.rpartition(":")[0] == __file__
    for wrapped in (jax.jit(three_lines), functools.partial(jax.jit(three_lines), 1.0), jax.custom_jvp(three_lines)):
        assert source_of(wrapped) == place
        assert name_of(wrapped) == "three_lines"
    assert source_of(Callable()) == source_of(Callable.__call__)
    assert source_of(Callable().__call__) == source_of(Callable.__call__)
    assert name_of(Callable()) == "Callable"
    assert source_of(max) == ""


def test_equations_know_the_function_they_were_traced_in():
    lines = lines_of(three_lines)
    assert lines is not None
    assert (lines.function, lines.last - lines.first) == ("three_lines", 2)
    sin, mul, add = jax.make_jaxpr(lambda x: three_lines(x) + 1)(1.0).jaxpr.eqns
    assert [written_in(eqn, [lines]) for eqn in (sin, mul, add)] == [True, True, False]
    assert lines_of(max) is None


def test_what_python_runs_is_told_and_the_line_outside_of_jax():
    found = []

    def body(x):
        found.append(callers())
        return x

    jax.make_jaxpr(jax.vmap(body))(jnp.ones(2))
    assert found[0].place.startswith(f"{__file__}:")
    assert body.__code__ in found[0].codes
    assert not found[0].traced_before


def test_files_of_libraries_and_of_jax_are_known():
    assert of_jax(source_of(jax.nn.relu))
    assert of_a_library(source_of(jax.nn.relu))
    assert not of_a_library(__file__)
