"""1,000 equations are traced and drawn within 10 s, an MLP step within 20 gradients, and 10,000 gates stay usable."""

import shutil
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from harness import report

import jaxbackprop as jbp
from jaxbackprop.gates import relu
from jaxbackprop.layers import affine
from jaxbackprop.losses import softmax_cross_entropy


def measure(equations: int = 1000, blocks: int = 100, hidden: int = 512, repeats: int = 30) -> dict[str, Any]:
    """Seconds are processor time of this process, all its threads together: the machine may be shared."""
    return {
        "thousand": thousand(equations),
        "step": step(hidden, repeats),
        "page": page(blocks),
    }


def claim(found: dict[str, Any]) -> None:
    assert found["thousand"]["trace_s"] + found["thousand"]["svg_s"] + found["thousand"]["html_s"] < 10
    assert found["step"]["ratio"] < 20
    browser = found["page"]["browser"]
    assert not browser or max(browser["open_ms"] / 10, browser["box_ms"], browser["step_ms"]) < 500


def thousand(equations: int) -> dict[str, float]:
    """A residual network in blocks of ten layers, three equations a layer, traced for the first time and drawn."""

    def deep(Ws: list[jax.Array], x: jax.Array) -> jax.Array:
        for i, W in enumerate(Ws):
            with jax.named_scope(f"block {i // 10}"):
                x = jnp.tanh(x @ W) + x
        return x.sum()

    args = [jnp.eye(8) * 0.1 for _ in range(equations // 3)], jnp.ones((4, 8))
    trace_s, circuit = timed(lambda: jbp.trace(deep, *args))
    svg_s, _ = timed(lambda: circuit.to_svg())
    html_s, _ = timed(lambda: circuit.to_html())
    return {"gates": len(circuit.gates), "trace_s": trace_s, "svg_s": svg_s, "html_s": html_s}


def step(hidden: int, repeats: int) -> dict[str, float]:
    """The loss of an MLP with two hidden layers on 128 examples: traced, and its jitted gradient; the quickest runs."""

    def loss(params: list, x: jax.Array, labels: jax.Array) -> jax.Array:
        for i, (W, b) in enumerate(params):
            x = affine(x, W, b)
            x = relu(x) if i < 2 else x
        return softmax_cross_entropy(x, labels).mean()

    rng = np.random.default_rng(0)
    sizes = [(784, hidden), (hidden, hidden), (hidden, 10)]
    params = [(jnp.asarray(rng.normal(size=s) * 0.03, jnp.float32), jnp.zeros(s[1])) for s in sizes]
    x, labels = jnp.asarray(rng.normal(size=(128, 784)), jnp.float32), jnp.arange(128) % 10
    gradient = jax.jit(jax.grad(loss))

    def traced() -> list:
        return [wire.gradient for wire in jbp.trace(loss, params, x, labels).arguments if wire.differentiable]

    plain_s = min(timed(lambda: gradient(params, x, labels))[0] for _ in range(repeats))
    trace_s = min(timed(traced)[0] for _ in range(repeats))
    return {"gradient_s": plain_s, "trace_s": trace_s, "ratio": trace_s / plain_s}


def page(blocks: int) -> dict[str, Any]:
    """A program of 100 gates a block as a page; milliseconds in a browser, where Chromium and selenium are at hand."""

    def deep(x: jax.Array) -> jax.Array:
        for i in range(blocks):
            with jax.named_scope(f"block {i}"):
                for _ in range(50):
                    x = jnp.sin(x) * 1.01
        return x

    trace_s, circuit = timed(lambda: jbp.trace(deep, 0.5))
    html_s, text = timed(lambda: circuit.to_html())
    made = {"gates": len(circuit.gates), "trace_s": trace_s, "html_s": html_s, "megabytes": len(text.encode()) / 1e6}
    return {**made, "browser": in_browser(text)}


def in_browser(text: str) -> dict[str, float]:
    """How long the page takes to open, a box to open, a step to be shown; and how much is drawn."""
    chrome, driver = shutil.which("chromium") or shutil.which("google-chrome"), shutil.which("chromedriver")
    try:
        from selenium import webdriver
        from selenium.webdriver.chrome.service import Service
    except ImportError:
        return {}
    if chrome is None or driver is None:
        return {}
    options = webdriver.ChromeOptions()
    options.binary_location = chrome
    for argument in ("--headless=new", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage"):
        options.add_argument(argument)
    browser = webdriver.Chrome(options=options, service=Service(driver))
    clock = "const t = performance.now(); {}; document.body.getBoundingClientRect(); return performance.now() - t"
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "page.html"
        path.write_text(text, encoding="utf-8")
        browser.get(path.as_uri())
        drawn = browser.execute_script("return document.querySelectorAll('#canvas .item').length")
        opened = browser.execute_script("return performance.timing.domComplete - performance.timing.navigationStart")
        made = {"items_drawn": drawn, "open_ms": opened}
        for name, act in (("box_ms", "toggle(0)"), ("step_ms", "go(state.step - 1)"), ("all_boxes_ms", "allBoxes()")):
            if name == "all_boxes_ms":
                browser.execute_script("toggle(0)")  # closed again: all are opened
            made[name] = browser.execute_script(clock.format(act))
        browser.quit()
    return made


def timed(act: Callable[[], Any]) -> tuple[float, Any]:
    """Seconds of processor time, and what came of it."""
    start = time.process_time()
    made = act()
    jax.block_until_ready([made] if isinstance(made, list) else ())
    return time.process_time() - start, made


if __name__ == "__main__":
    report(measure, claim)
