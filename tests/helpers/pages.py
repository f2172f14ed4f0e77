"""A circuit's page as a test sees it, and the circuits that several tests open."""

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx
from jax import lax

from jaxbackprop.circuits import trace
from jaxbackprop.circuits.expression.trace_expression import trace_expression
from jaxbackprop.gates import gelu

NEURON = "1 / (1 + exp(-(w0*x0 + w1*x1 + w2)))"
AT = {"w0": 2, "w1": -3, "w2": -3, "x0": -1, "x1": -2}


class Page:
    """A circuit's page, opened; at its last step, where every number is known, or as it opens."""

    def __init__(self, browser, circuit, folder, last_step=True):
        self.browser, self.circuit = browser, circuit
        path = folder / "page.html"
        self.text = circuit.to_html(path)
        browser.get_log("browser")
        browser.get(path.as_uri())
        if last_step:
            self.run("(go(steps), 0)")

    def run(self, script, *args):
        return self.browser.execute_script(f"return {script}", *args)

    def press(self, *keys):
        from selenium.webdriver.common.by import By

        for key in keys:
            self.browser.find_element(By.TAG_NAME, "body").send_keys(key)

    def click(self, selector):
        from selenium.webdriver.common.by import By

        if selector.startswith("[data-id"):
            self.press("0")  # all of it in view
        self.browser.find_element(By.CSS_SELECTOR, selector).click()

    def texts(self, selector):
        return self.run("[...document.querySelectorAll(arguments[0])].map(e => e.textContent)", selector)

    def written(self):
        """What stands on the wires: wire id -> (value, gradient), empty where nothing is shown yet."""
        found = self.run("""[...document.querySelectorAll('#canvas text[data-wire]:not(.share):not(.inner)')]
            .map(e => [+e.dataset.wire, e.classList.contains('value'), e.textContent])""")
        made: dict[int, list[str]] = {}
        for wire, is_value, text in found:
            made.setdefault(wire, ["", ""])[0 if is_value else 1] = text
        return made

    def opens_on_its_first_gate(self):
        """The current gate, or the closed box that it is in, is the first one and wholly in view."""
        return self.run("""(stage => state.step === 1 && currentGate() === data.order[0]
            && nodesNow().map(visible).every(id => {
                const frame = document.querySelector(`#canvas [data-id='${id}'] .frame`).getBoundingClientRect();
                return frame.width > 10 && frame.left >= stage.left && frame.right <= stage.right
                    && frame.top >= stage.top && frame.bottom <= stage.bottom;
            }))(canvas.getBoundingClientRect())""")

    def silent(self):
        return self.browser.get_log("browser") == []


def network(params, x):
    with jax.named_scope("first"):
        h = gelu(x @ params["W1"])
    with jax.named_scope("second"):
        h = jnp.tanh(h @ params["W2"])
    return (h @ params["U"]).sum()


def arrays(*shapes):
    rng = np.random.default_rng(1)
    return [jnp.asarray(rng.normal(size=shape), jnp.float32) for shape in shapes]


def a_network():
    rng = np.random.default_rng(0)
    sizes = {"W1": (4, 3), "W2": (3, 3), "U": (3,)}
    return trace(network, {n: rng.normal(size=s) for n, s in sizes.items()}, rng.normal(size=(2, 4)))


def an_mlp_loss():
    def loss(params, x, labels):
        (W1, b1), (W2, b2) = params
        z = jnp.tanh(x @ W1 + b1) @ W2 + b2
        return (jax.nn.logsumexp(z, 1) - jnp.take_along_axis(z, labels[:, None], 1)[:, 0]).mean()

    W1, W2, x = arrays((3, 3), (3, 3), (3, 3))
    return trace(loss, [(W1, jnp.zeros(3)), (W2, jnp.zeros(3))], x, jnp.arange(3))


class TransformerBlock(nnx.Module):
    """All of one width, so that few programs are compiled."""

    def __init__(self, width: int, rngs: nnx.Rngs):
        self.norm, self.norm2 = nnx.RMSNorm(width, rngs=rngs), nnx.RMSNorm(width, rngs=rngs)
        self.query, self.key, self.value, self.out, self.up, self.down = (
            nnx.Linear(width, width, rngs=rngs) for _ in range(6)
        )

    def __call__(self, x):
        h = self.norm(x)
        x = x + self.out(jax.nn.softmax(self.query(h) @ self.key(h).T) @ self.value(h))
        return x + self.down(jax.nn.relu(self.up(self.norm2(x))))


def a_transformer_block(split):
    block, (x,) = TransformerBlock(3, nnx.Rngs(0)), arrays((3, 3))
    if not split:
        return trace(lambda block, x: (block(x) ** 2).sum(), block, x)
    structure, state = nnx.split(block)
    return trace(lambda state, x: (nnx.merge(structure, state)(x) ** 2).sum(), state, x)


def an_lstm():
    def loss(W, b, xs):
        def step(carry, x):
            h, c = carry
            with jax.named_scope("cell"):
                i, f, o, g = jnp.split(jnp.concatenate([x, h]) @ W + b, 4)
                c = jax.nn.sigmoid(f) * c + jax.nn.sigmoid(i) * jnp.tanh(g)
                h = jax.nn.sigmoid(o) * jnp.tanh(c)
            return (h, c), h

        return (lax.scan(step, (jnp.zeros(2), jnp.zeros(2)), xs)[1] ** 2).sum()

    W, xs = arrays((4, 8), (3, 2))
    return trace(loss, W, jnp.zeros(8), xs)


PAGES = {
    "addition and multiplication": lambda: trace_expression("(x + y) * z", {"x": -2, "y": 5, "z": -4}),
    "fork": lambda: trace_expression("(x + y) * max(y, z)", {"x": 1, "y": 2, "z": 0}),
    "neuron": lambda: trace_expression(NEURON, AT),
    "merged neuron": lambda: trace_expression("sigmoid(w0*x0 + w1*x1 + w2)", AT),
    "MLP loss": an_mlp_loss,
    "transformer block": lambda: a_transformer_block(split=False),
    "transformer block, split and merged": lambda: a_transformer_block(split=True),
    "LSTM": an_lstm,
}
"""Circuits as they are shown in class."""
