"""The sparse step beside autodiff of the library's rules on whole tables, and what compiled programs do not do."""

import os
import re
import subprocess
import sys
from functools import partial
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.sharding import Mesh

from jaxbackprop.data import Bags
from jaxbackprop.fasttext.predict.huffman import paths
from jaxbackprop.fasttext.settings import Settings
from jaxbackprop.fasttext.train.batched import AXIS, Batching, train_chunk_in_batches
from jaxbackprop.fasttext.train.chunks import Chunker
from jaxbackprop.fasttext.train.row_loops import ROLLED, SHORT, flags
from jaxbackprop.fasttext.train.sampler import Sampler
from jaxbackprop.fasttext.train.sequential import train_chunk
from jaxbackprop.fasttext.train.step import BinaryTargets, sparse_step
from jaxbackprop.fasttext.train.tables import Optimizer, Tables, init_slots
from jaxbackprop.layers import embedding_bag
from jaxbackprop.losses import hierarchical_softmax, negative_sampling, sigmoid_cross_entropy, softmax_cross_entropy

V, C, D, B, L = 101, 7, 6, 5, 9
LR = 0.25
LOSSES = ["softmax", "hs", "ns", "ova"]


def drawn(seed=0):
    rng = np.random.default_rng(seed)
    table, output = rng.normal(size=(V, D)), rng.normal(size=(C, D))
    ids = rng.integers(-1, V // 6, (B, L))  # some places empty, some rows named twice
    labels = rng.integers(0, C, B)
    return (jnp.asarray(x, jnp.float32) for x in (table, output)), jnp.asarray(ids), jnp.asarray(labels)


def question(loss, labels):
    """The targets `sparse_step` takes, and the same loss by the library's rule, each (h, output) -> (B,)."""
    if loss == "softmax":
        return labels, lambda h, W: softmax_cross_entropy(h @ W.T, labels)
    if loss == "ova":
        targets = jax.nn.one_hot(labels, C).at[:, 2].set(1)
        return targets, lambda h, W: sigmoid_cross_entropy(h @ W.T, targets)
    if loss == "ns":
        samples = (labels[:, None] + jnp.array([1, 3, 3])) % C
        rows = jnp.concatenate([labels[:, None], samples], 1)
        asked = BinaryTargets(rows, jnp.eye(1, 4).repeat(B, 0))
        return asked, lambda h, W: negative_sampling(h, W, labels, samples)
    tree = paths(np.arange(C, 0, -1) ** 2)
    ways = [slice(tree.offsets[c], tree.offsets[c + 1]) for c in labels]
    rows, codes = np.full((B, tree.longest), -1), np.zeros((B, tree.longest), int)
    for k, way in enumerate(ways):
        rows[k, : way.stop - way.start], codes[k, : way.stop - way.start] = tree.nodes[way], tree.codes[way]
    path, targets = jnp.asarray(rows), jnp.asarray(codes)
    return BinaryTargets(path, targets * 1.0), lambda h, W: hierarchical_softmax(h, W, path, targets)


@pytest.mark.parametrize("loss", LOSSES)
def test_a_step_is_the_gradient_of_the_librarys_rules_on_whole_tables(loss):
    (table, output), ids, labels = drawn()
    targets, by_rule = question(loss, labels)

    def total(table, output):
        return by_rule(embedding_bag(table, ids), output).sum()

    dtable, doutput = jax.grad(total, (0, 1))(table, output)
    losses = by_rule(embedding_bag(table, ids), output)
    expected = np.asarray(table - LR * dtable), np.asarray(output - LR * doutput)
    start = Tables(init_slots(table, "sgd"), init_slots(output, "sgd"))
    tables, loss = sparse_step(start, ids, targets, jnp.float32(LR))
    np.testing.assert_allclose(tables.input.rows, expected[0], rtol=0, atol=1e-5)
    np.testing.assert_allclose(tables.output.rows, expected[1], rtol=0, atol=1e-5)
    np.testing.assert_allclose(loss, losses, rtol=0, atol=1e-5)


@pytest.mark.parametrize("loss", LOSSES)
def test_a_scaled_step_divides_an_input_row_by_the_root_of_how_often_it_is_named(loss):
    (table, output), ids, labels = drawn(1)
    targets, by_rule = question(loss, labels)
    dtable, doutput = jax.grad(lambda a, b: by_rule(embedding_bag(a, ids), b).sum(), (0, 1))(table, output)
    times = np.array([(np.asarray(ids) == row).sum() for row in range(V)])
    assert times.max() > 2
    expected = np.asarray(table) - LR * np.asarray(dtable) / np.sqrt(np.maximum(times, 1))[:, None]
    expected_output = np.asarray(output - LR * doutput)
    start = Tables(init_slots(table, "sgd"), init_slots(output, "sgd"))
    tables, _ = sparse_step(start, ids, targets, jnp.float32(LR), scaled=True)
    np.testing.assert_allclose(tables.input.rows, expected, rtol=0, atol=1e-5)
    np.testing.assert_allclose(tables.output.rows, expected_output, rtol=0, atol=1e-5)


@pytest.mark.parametrize("optimizer", ["sgd", "adagrad", "adam"])
def test_rows_that_no_text_names_stay_as_they_are_to_the_last_bit(optimizer: Optimizer):
    (table, output), ids, labels = drawn()
    untouched = np.setdiff1d(np.arange(V), np.asarray(ids))
    before = np.asarray(table).copy()
    tables, _ = sparse_step(
        Tables(init_slots(table, optimizer), init_slots(output, optimizer)), ids, labels, jnp.float32(LR)
    )
    np.testing.assert_array_equal(np.asarray(tables.input.rows)[untouched], before[untouched])
    assert (np.asarray(tables.input.rows) != before).any(1).sum() == V - len(untouched)


def test_a_text_without_rows_changes_nothing():
    (table, output), ids, labels = drawn()
    before = np.asarray(table).copy(), np.asarray(output).copy()
    start = Tables(init_slots(table, "sgd"), init_slots(output, "sgd"))
    tables, losses = sparse_step(start, jnp.full_like(ids, -1), labels, jnp.float32(LR))
    np.testing.assert_array_equal(tables.input.rows, before[0])
    np.testing.assert_array_equal(tables.output.rows, before[1])
    assert not losses.any()


# --- what the compiled programs do not do ---


def abstract(optimizer: Optimizer = "sgd", rows=100_003, labels=37, dim=10):
    return jax.eval_shape(lambda: Tables(*(init_slots(jnp.zeros((n, dim)), optimizer) for n in (rows, labels))))


def chunker_for(loss, batch=1, labels=37):
    counts = np.arange(labels, 0, -1)
    settings = Settings(loss=loss)
    return Chunker(settings, Sampler(counts, 5, 0), paths(counts) if loss == "hs" else None, batch=batch)


def copies(compiled, rows=100_003, made=r" (copy|copy-start|broadcast)\(") -> list[str]:
    """The instructions of a compiled program that copy an array of as many rows as the table, or make one anew."""
    lines = [line for line in str(compiled.as_text()).splitlines() if re.search(rf"= \S*f32\[{rows}[,\]]", line)]
    return [line for line in lines if re.search(made, line)]


@pytest.mark.parametrize("optimizer", ["sgd", "adagrad", "adam"])
@pytest.mark.parametrize("loss", LOSSES)
def test_no_program_copies_the_table(loss, optimizer: Optimizer):
    in_order = train_chunk.lower(abstract(optimizer), *chunker_for(loss).shapes(), loss=loss, smoothing=0.0).compile()
    assert copies(in_order) == []
    cut = Batching(64, 2048, 128)
    times = jax.ShapeDtypeStruct((100_003,), jnp.float32)
    shapes = chunker_for(loss, 64).shapes()
    batches = train_chunk_in_batches.lower(
        abstract(optimizer), times, *shapes, loss=loss, smoothing=0.0, cut=cut
    ).compile()
    assert copies(batches) == []


def test_no_step_in_order_copies_the_output_table():
    program = train_chunk.lower(abstract(), *chunker_for("softmax").shapes(), loss="softmax", smoothing=0.0).compile()
    assert copies(program, rows=37, made=r" copy(-start)?\(") == []


def test_a_copy_would_be_seen_where_tables_are_not_given_away():
    kept = jax.jit(partial(train_chunk, loss="softmax", smoothing=0.0))
    assert copies(kept.lower(abstract(), *chunker_for("softmax").shapes()).compile())


def test_a_copy_would_be_seen_where_autodiff_makes_a_gradient_as_large_as_the_table():
    def step(table, ids):
        return table - 0.1 * jax.grad(lambda t: (t[ids].mean(0) ** 2).sum())(table)

    shapes = jax.ShapeDtypeStruct((100_003, 10), jnp.float32), jax.ShapeDtypeStruct((9,), jnp.int32)
    assert copies(jax.jit(step, donate_argnums=0).lower(*shapes).compile())


@pytest.mark.parametrize("loss", ["softmax", "hs"])
def test_a_loop_over_rows_is_compiled_to_one_function_at_any_length_of_a_row(loss):
    """XLA marks a loop that it does not interpret operation by operation; see LIMIT in row_loops.py."""
    for dim in (10, 16, 50, 100, 300):
        program = train_chunk.lower(abstract(dim=dim), *chunker_for(loss).shapes(), loss=loss, smoothing=0.0).compile()
        assert str(program.as_text()).count("xla_cpu_small_call") >= 4, dim


def machine_code(folder: Path, told: str) -> int:
    """How many bytes the program for rows of 16 has, compiled in a process whose JAX is told so."""
    script = """
from test_step import abstract, chunker_for, train_chunk
train_chunk.lower(abstract(dim=16), *chunker_for("softmax").shapes(), loss="softmax", smoothing=0.0).compile()
"""
    run_apart(script, f"{told} --xla_dump_to={folder} --xla_dump_hlo_module_re=.*train_chunk.*")
    return sum(path.stat().st_size for path in folder.glob("*.o"))


def test_the_flags_keep_the_loop_over_a_short_row_in_one_piece(tmp_path):
    """Taken apart into single numbers it is half as long again; see ROLLED in row_loops.py."""
    told, without = flags(SHORT), flags(SHORT + 1)
    assert ROLLED in told
    assert ROLLED not in without
    assert 0 < machine_code(tmp_path / "with", told) < 0.75 * machine_code(tmp_path / "without", without)


# --- several devices, hot rows ---


def trained(loss, mesh=None, hot=0):
    (table, output), _, _ = drawn()
    table = table[: V - V % 4]
    rng = np.random.default_rng(3)
    offsets = np.concatenate([[0], np.cumsum(rng.integers(1, 12, 50))])
    rows = Bags(rng.zipf(1.4, offsets[-1]) % len(table), offsets)
    labels = Bags(rng.integers(0, C, 50), np.arange(51))
    chunker = chunker_for(loss, 16, C)
    cut = Batching(16, 16 * 12, 16, hot)
    tables, times = Tables(init_slots(table, "sgd"), init_slots(output, "sgd")), jnp.zeros(len(table))
    total = 0.0
    for chunk in chunker.of(rows, labels, np.full(50, LR, np.float32)):
        tables, times, total = train_chunk_in_batches(
            tables, times, *chunk, loss=loss, smoothing=0.0, cut=cut, mesh=mesh
        )
    assert not np.asarray(times).any()
    return np.asarray(tables.input.rows), np.asarray(tables.output.rows), float(total)


@pytest.mark.parametrize("loss", LOSSES)
def test_devices_that_share_the_rows_come_to_the_tables_of_one_device(loss):
    mesh = Mesh(np.array(jax.devices()), (AXIS,))
    assert mesh.size > 1
    for one, several in zip(trained(loss), trained(loss, mesh), strict=True):
        np.testing.assert_allclose(several, one, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("loss", LOSSES)
def test_rows_summed_by_a_matrix_product_come_to_the_same_tables(loss):
    for plain, hot in zip(trained(loss), trained(loss, hot=8), strict=True):
        np.testing.assert_allclose(hot, plain, rtol=1e-5, atol=1e-5)


def test_four_devices_come_to_the_tables_of_one():
    script = """
import jax, numpy as np
from jax.sharding import Mesh
from test_step import trained
assert len(jax.devices()) == 4
for one, four in zip(trained("softmax"), trained("softmax", Mesh(np.array(jax.devices()), ("rows",)))):
    np.testing.assert_allclose(four, one, rtol=1e-5, atol=1e-5)
"""
    run_apart(script, "--xla_force_host_platform_device_count=4")


def run_apart(script: str, told: str) -> None:
    """Run a script that may import these tests in a process of its own, whose XLA is told so."""
    here = Path(__file__).resolve().parent
    path = os.pathsep.join(
        [str(here), str(here.parents[1] / "helpers"), str(here.parents[2]), os.environ.get("PYTHONPATH", "")]
    )
    env = {**os.environ, "XLA_FLAGS": told, "PYTHONPATH": path, "JAX_ENABLE_COMPILATION_CACHE": "0"}
    done = subprocess.run([sys.executable, "-c", script], env=env, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
