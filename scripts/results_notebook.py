"""Runs the notebook that shows every result: `python scripts/results_notebook.py` writes docs/results.ipynb.

It needs nbclient and ipykernel.
"""

from pathlib import Path

import nbclient  # pyright: ignore[reportMissingImports]
import nbformat  # pyright: ignore[reportMissingImports]

ROOT = Path(__file__).resolve().parents[1]
TARGET = ROOT / "docs" / "results.ipynb"

CELLS = [
    (
        "markdown",
        """# Every result in a notebook

The last expression of a cell is displayed: reports as tables, derivations as typeset equations, circuits as the page to
step through. `print` shows the same as text.""",
    ),
    (
        "code",
        """import jax.numpy as jnp
import numpy as np

import jaxbackprop as jbp


def loss(W, b, x):
    a = jbp.gates.sigmoid(jbp.layers.affine(x, W, b))
    return jnp.mean(a**2)


rng = np.random.default_rng(0)
W, b, x = (jnp.asarray(rng.normal(size=shape), jnp.float32) for shape in [(3, 4), (4,), (2, 3)])""",
    ),
    ("markdown", """A circuit; step through it with the arrow keys, or press `g` for a quiz."""),
    (
        "code",
        """circuit = jbp.trace(loss, W, b, x)
circuit""",
    ),
    ("markdown", """A circuit of numbers is computed again when you change one."""),
    ("code", """jbp.trace(lambda x, y, z: jbp.gates.mul(jbp.gates.add(x, y), z), -2.0, 5.0, -4.0)"""),
    ("markdown", """Is the training step healthy?"""),
    ("code", """circuit.health(learning_rate=0.1)"""),
    ("markdown", """A gradient worked out elsewhere, here with its sign turned:"""),
    ("code", """circuit.check({"W": circuit.gradients["W"], "b": -circuit.gradients["b"]})"""),
    ("markdown", """Is a rule right? One that is, and one that forgets $(1 - a)$:"""),
    ("code", """jbp.verify(jbp.gates.sigmoid, jnp.array([0.3, -1.2]))"""),
    (
        "code",
        """forgetful = jbp.gates.sigmoid.with_backward(lambda a, upstream: upstream * a)
jbp.verify(forgetful, jnp.array([0.3, -1.2]))""",
    ),
    ("markdown", """Every rule that runs in a program:"""),
    ("code", """jbp.audit(loss, W, b, x)"""),
    ("markdown", """A derivation:"""),
    (
        "code",
        """def neuron(w, x):
    return jnp.sum(jnp.tanh(x @ w))


jbp.derive(neuron, jnp.ones(3), jnp.ones((2, 3)))""",
    ),
    ("markdown", """A benchmark, beside autodiff:"""),
    ("code", """jbp.benchmark(jbp.gates.sigmoid, jnp.ones((64, 64)))"""),
    ("markdown", """What training did:"""),
    (
        "code",
        """from flax import nnx

model = jbp.MLP(2, [8], 2, rngs=nnx.Rngs(0))
inputs = rng.normal(size=(200, 2)).astype(np.float32)
labels = (inputs[:, 0] * inputs[:, 1] > 0).astype(np.int32)
jbp.fit(model, (inputs, labels), epochs=3)""",
    ),
]


def main() -> None:
    make = {"markdown": nbformat.v4.new_markdown_cell, "code": nbformat.v4.new_code_cell}
    cells = [make[kind](text, id=f"cell-{k}") for k, (kind, text) in enumerate(CELLS)]
    notebook = nbformat.v4.new_notebook(cells=cells)
    nbclient.NotebookClient(notebook, timeout=600, kernel_name="python3", record_timing=False).execute()
    text = nbformat.writes(notebook).replace(f"{ROOT}/", "")  # no folder of the machine it ran on
    TARGET.write_text(text + "\n", encoding="utf-8")
    print(f"written to {TARGET}")


if __name__ == "__main__":
    main()
