"""A circuit's page as a test sees it, and the circuits that several tests open."""

import jax
import jax.numpy as jnp
import numpy as np

from jaxbackprop.circuits import trace
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
        found = self.run("""[...document.querySelectorAll('#canvas text[data-wire]:not(.share)')]
            .map(e => [+e.dataset.wire, e.classList.contains('value'), e.textContent])""")
        made: dict[int, list[str]] = {}
        for wire, is_value, text in found:
            made.setdefault(wire, ["", ""])[0 if is_value else 1] = text
        return made

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
