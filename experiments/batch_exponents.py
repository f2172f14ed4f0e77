"""By which power of how often a row is named in a batch its change is divided: all pairs, on held-out texts.

The package divides an input row's by the square root and an output row's not at all: `batched.py`. That was
chosen on test files; here it is looked at again on texts held out from training files.
"""

from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array
from text_variants import Split, right, scores  # pyright: ignore[reportMissingImports]

from jaxbackprop.fasttext.model import Model
from jaxbackprop.fasttext.train.initial_tables import initial_tables

BATCH = 256
EXPONENTS = (0.0, 0.5, 1.0)
CHOSEN = (0.5, 0.0)


@partial(jax.jit, donate_argnums=(0, 1))
def _pass(table: Array, output: Array, ids: Array, text: Array, label: Array, rates: Array, powers: Array):
    """The tables after batches of texts: ids and text (batches, room), label (batches, BATCH), -1 for none."""

    def batch(tables, of):
        (table, output), (ids, text, label, lr) = tables, of
        lengths = jnp.zeros(BATCH).at[text].add(1.0, mode="drop")
        shares = 1 / jnp.maximum(lengths, 1)[:, None]
        taken = table.at[ids].get(mode="fill", fill_value=0)
        h = jnp.zeros((BATCH, table.shape[1])).at[text].add(taken, mode="drop") * shares
        counts = (label >= 0) * 1.0
        delta = (jax.nn.softmax(h @ output.T) - jax.nn.one_hot(label, len(output))) * counts[:, None]
        each = ((delta @ output) * shares).at[text].get(mode="fill", fill_value=0)
        times = jnp.zeros(len(table)).at[ids].add(1.0, mode="drop")
        scale = jnp.maximum(times.at[ids].get(mode="fill", fill_value=1), 1)[:, None] ** -powers[0]
        table = table.at[ids].add(-lr * scale * each, mode="drop")
        return (table, output - lr * (delta.T @ h) / jnp.maximum(counts.sum(), 1) ** powers[1]), None

    return jax.lax.scan(batch, (table, output), (ids, text, label, rates))[0]


def exponents_on_held_out(split: Split) -> dict[str, Any]:
    """The accuracy of each pair of exponents (input rows, output rows), at the better of the set's rate and half."""
    (rows, labels), settings, known = split.train, split.settings, split.vocabulary
    batches = -(-len(rows) // BATCH)
    ends = rows.offsets[np.minimum(np.arange(batches + 1) * BATCH, len(rows))]
    room = int(np.diff(ends).max())
    ids, text = np.full((batches, room), known.rows, np.int32), np.full((batches, room), BATCH, np.int32)
    for k in range(batches):
        size = ends[k + 1] - ends[k]
        ids[k, :size] = rows.ids[ends[k] : ends[k + 1]]
        text[k, :size] = np.repeat(np.arange(BATCH), rows.lengths[k * BATCH : (k + 1) * BATCH].tolist() + [0] * (
            (k + 1) * BATCH - min((k + 1) * BATCH, len(rows))))  # fmt: skip
    label = np.full(batches * BATCH, -1, np.int32)
    label[: len(rows)] = labels.ids[labels.offsets[:-1]]
    data = [jnp.array(part) for part in (ids, text, label.reshape(batches, BATCH))]
    found = {}
    for powers in [(a, b) for a in EXPONENTS for b in EXPONENTS]:
        accuracies = []
        for rate in (1.0, 0.5):
            table, output = initial_tables(known.rows, len(known.labels), settings.dim, 0, None)
            for epoch in range(settings.epoch):
                falls = 1 - (epoch + np.arange(batches) / batches) / settings.epoch
                rates = jnp.array(settings.lr * rate * falls, jnp.float32)
                table, output = _pass(table, output, *data, rates, jnp.array(powers))
            model = Model(known, settings, np.asarray(table), np.asarray(output))
            accuracies.append(right(np.nan_to_num(scores(model, split.held_out[0])), split.held_out[1]))
        found[f"{powers[0]:g}, {powers[1]:g}"] = max(accuracies)
    chosen = found[f"{CHOSEN[0]:g}, {CHOSEN[1]:g}"]
    noise = float(np.sqrt(chosen * (1 - chosen) / len(split.held_out[0])))
    return {"accuracy": found, "confirmed": bool(chosen >= max(found.values()) - noise), "noise": noise}
