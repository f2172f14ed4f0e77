"""The page in a real headless browser: its numbers are the circuit's, its console is silent, it can be used."""

import re

import jax
import jax.numpy as jnp
import pytest
from pages import AT, NEURON, PAGES, a_network

from jaxbackprop.circuits import trace
from jaxbackprop.circuits.drawing.format import backward_formula, format_array, format_number
from jaxbackprop.circuits.expression.trace_expression import trace_expression
from jaxbackprop.gates import sigmoid


def test_the_page_needs_no_network(neuron):
    assert not re.search(r"""(src|href)\s*=\s*["'](?!data:)""", neuron.text)
    assert not re.search(r"https?://(?!www\.w3\.org/)", neuron.text)
    assert neuron.run("performance.getEntriesByType('resource').length") == 0


def test_all_numbers_on_the_wires_are_the_circuits(neuron):
    shown = neuron.written()
    for wire in neuron.circuit.wires:
        if wire.kind != "literal":
            assert shown[wire.id] == [format_array(wire.value), format_array(wire.gradient)]


def test_each_step_shows_the_next_gate_and_its_arithmetic(neuron):
    """Forward the values appear gate by gate; backward the gradients, each with local x upstream = downstream."""
    from selenium.webdriver.common.keys import Keys

    circuit = neuron.circuit
    neuron.press(Keys.HOME)
    assert [v for v, _ in neuron.written().values()].count("") == len(circuit.gates)
    for k, gate in enumerate(circuit.gates):
        neuron.press(Keys.ARROW_RIGHT)
        shown = neuron.written()
        assert shown[gate.outputs[0].id][0] == format_array(gate.outputs[0].value)
        assert neuron.texts("#at") == [f"forward {k + 1} of {len(circuit.gates)}"]
        assert neuron.texts("#panel .v")[0].endswith(f"= {format_number(gate.outputs[0].value)}")
        assert neuron.run("document.querySelector('#canvas .now').dataset.id") == f"g{gate.id}"
    for gate in reversed(circuit.gates):
        neuron.press(Keys.ARROW_RIGHT)
        shown, panel = neuron.written(), neuron.texts("#panel .g")
        for slot, wire in enumerate(gate.inputs):
            if wire.differentiable:
                assert shown[wire.id][1] == format_array(wire.gradient)
                assert f"{wire.name}: {backward_formula(gate, slot)}" in panel
    assert neuron.texts("#at") == [f"back {len(circuit.gates)} of {len(circuit.gates)}"]


def test_steps_go_back_as_they_came(neuron):
    from selenium.webdriver.common.keys import Keys

    neuron.press(Keys.HOME, *[Keys.ARROW_RIGHT] * 3)
    three = neuron.written()
    neuron.press(*[Keys.ARROW_RIGHT] * 4, *[Keys.ARROW_LEFT] * 4)
    assert neuron.written() == three
    neuron.click("[data-step=last]")
    neuron.click("[data-step=first]")
    assert neuron.texts("#at") == ["start"]


def test_numbers_are_unrounded_on_request(neuron):
    neuron.press("n")
    assert neuron.written()[neuron.circuit.wire("x0").id][1] == "0.39322386648296365"
    neuron.press("n")
    assert neuron.written()[neuron.circuit.wire("x0").id][1] == "0.3932"


def test_hovering_shows_a_wire_whole(neuron):
    from selenium.webdriver.common.action_chains import ActionChains
    from selenium.webdriver.common.by import By

    label = neuron.browser.find_element(By.CSS_SELECTOR, f"text.value[data-wire='{neuron.circuit.wire('x0').id}']")
    ActionChains(neuron.browser).move_to_element(label).perform()
    (tip,) = neuron.texts("#tip")
    assert tip.splitlines()[0] == "x0  scalar float64"
    assert "gradient  0.39322386648296365" in tip
    assert "autodiff  0.39322386648296365" in tip


def test_a_number_is_hidden_until_it_is_guessed(neuron):
    from selenium.webdriver.common.by import By
    from selenium.webdriver.common.keys import Keys

    w0 = neuron.circuit.wire("w0").id
    neuron.press("g")
    assert neuron.written()[w0] == ["2", "?"]
    gradients = [g for _, g in neuron.written().values() if g]
    assert set(gradients) == {"?"}
    box = neuron.browser.find_element(By.CSS_SELECTOR, f"input[aria-label='guess g{w0}']")
    box.send_keys("0.1966" + Keys.TAB)
    assert "the sign is turned" in neuron.texts("#panel .guess span")
    box.clear()
    box.send_keys("-0.197" + Keys.ENTER)
    assert neuron.written()[w0] == ["2", format_array(neuron.circuit.wire("w0").gradient)]
    neuron.press(Keys.ESCAPE)
    neuron.click("#guess")
    assert "?" not in [g for _, g in neuron.written().values()]


def test_boxes_open_and_close(open_page):
    page = open_page(a_network())
    ids = "[...document.querySelectorAll('#canvas .item')].map(e => e.dataset.id)"
    assert set(page.run(ids)) >= {"b0", "b1", "g0", "g1"}
    page.press("o")
    closed = set(page.run(ids))
    assert {"b0", "b1"} <= closed
    assert "g0" not in closed
    page.click("[data-id=b0] .name")
    assert "g0" in page.run(ids)
    assert "g2" not in page.run(ids)
    page.click("[data-id=b0] .bar text")
    assert "g0" not in page.run(ids)


def test_a_rule_opens_into_its_primal(open_page):
    page = open_page(a_network())
    rule = page.circuit.gate("gelu")
    for _ in range(2):
        page.click(f"[data-id=g{rule.id}] .sign")
    inside = page.run(
        "document.querySelector(`[data-id=${arguments[0]}]`).querySelectorAll('.item.gate').length", f"g{rule.id}"
    )
    assert inside == len(page.circuit.open(rule).gates) > 5


def test_search_finds_a_gate_in_a_closed_box_and_opens_it(open_page):
    from selenium.webdriver.common.by import By
    from selenium.webdriver.common.keys import Keys

    page = open_page(a_network())
    page.press("o", "/")
    page.browser.find_element(By.ID, "search").send_keys("tanh" + Keys.ENTER)
    assert page.texts("#found") == ["1/1"]
    assert page.run("document.querySelector('.hit-by-search').dataset.id") == f"g{page.circuit.gate('tanh').id}"
    assert page.texts("#panel h2") == ["tanh"]


def test_heat_maps_show_arrays(open_page):
    page = open_page(a_network())
    page.click(f"[data-id=g{page.circuit.gate('tanh').id}] .sign")
    assert page.run("document.querySelectorAll('#panel .map')[0].querySelectorAll('rect').length") == 2 * 3
    caption = page.texts("#panel figcaption")[0]
    assert caption.startswith("value of h_2 [2, 3], from −")


def test_colours_come_with_a_width_a_dash_or_a_sign(open_page):
    page = open_page(a_network())
    for mode in ("value", "gradient", "health", "disagreement"):
        page.run(
            "(s => { s.value = arguments[0]; s.dispatchEvent(new Event('change')); })($('colour'))",
            mode,
        )
        styles = page.run(
            "[...document.querySelectorAll('.wire')].map(({style: s}) => [s.stroke, s.strokeWidth, s.strokeDasharray])"
        )
        coloured = [s for s in styles if s[0]]
        assert coloured or mode == "health"
        assert all(width or dash for _, width, dash in coloured)
        assert page.texts("#legend")[0]


def test_light_and_dark_differ_and_can_be_switched(neuron):
    paper = "getComputedStyle(document.body).backgroundColor"
    before = neuron.run(paper)
    neuron.press("d")
    assert neuron.run(paper) != before


def test_everything_can_be_reached_by_keyboard(neuron):
    from selenium.webdriver.common.action_chains import ActionChains
    from selenium.webdriver.common.keys import Keys

    seen = set()
    for _ in range(40):
        ActionChains(neuron.browser).send_keys(Keys.TAB).perform()
        seen.add(
            neuron.run(
                "document.activeElement.dataset.id || document.activeElement.id || document.activeElement.tagName"
            )
        )
    assert {f"g{gate.id}" for gate in neuron.circuit.gates} <= seen
    assert {"search", "colour", "guess", "dark", "slider"} <= seen


def test_it_is_readable_on_a_phone(browser, open_page):
    browser.execute_cdp_cmd(
        "Emulation.setDeviceMetricsOverride", {"width": 390, "height": 800, "deviceScaleFactor": 2, "mobile": True}
    )
    try:
        page = open_page(trace_expression(NEURON, AT))
        assert page.run("document.documentElement.scrollWidth") <= 390
        for selector in ("#stage", "#panel", "footer"):
            top, height = page.run(
                "(r => [r.top, r.height])(document.querySelector(arguments[0]).getBoundingClientRect())", selector
            )
            assert 0 <= top < 800
            assert height > 40
    finally:
        browser.execute_cdp_cmd("Emulation.clearDeviceMetricsOverride", {})


def test_a_wrong_gate_is_marked_and_named(open_page):
    wrong = sigmoid.with_backward(lambda a, u: u * a)
    page = open_page(trace(lambda x, y: wrong(x * y) * y, 0.3, 0.8))
    assert page.texts("#canvas .wrong .badge") == ["✗"]
    assert page.texts("#panel .bad")[0] == "The first wrong gate on the way back is sigmoid."


def test_a_flat_program_of_200_gates_opens_on_its_first_gates(open_page):
    """They stand in a line that can be read, not on a diagonal; all of it is in view on request."""

    def flat(x, w):
        for _ in range(70):
            x = x + 0.1 * jnp.sin(x * w)
        return x

    page = open_page(trace(flat, 0.5, 1.1), last_step=False)
    inside = """(() => {
        const stage = $("stage").getBoundingClientRect(), gates = [...document.querySelectorAll("#canvas .item.gate")];
        return gates.map((g) => g.getBoundingClientRect()).map((r) =>
            r.left >= stage.left && r.right <= stage.right && r.top >= stage.top && r.bottom <= stage.bottom);
    })()"""
    seen = page.run(inside)
    assert page.opens_on_its_first_gate()
    assert len(seen) == 280
    assert all(seen[:5])
    assert page.texts("#canvas .now .sign") == ["×"]
    page.press("0")
    assert all(page.run(inside))


def test_ten_thousand_flat_gates_open_on_the_first_and_stay_usable(open_page):
    def flat(x):
        for _ in range(5000):
            x = jnp.sin(x) * 1.01
        return x

    page = open_page(trace(flat, 0.5), last_step=False)
    assert len(page.circuit.gates) == 10_000
    drawn = page.run("document.querySelectorAll('#canvas .item').length")
    assert 250 < drawn < 600
    assert page.texts("#canvas .now .sign") == ["sin"]
    assert page.opens_on_its_first_gate()
    assert page.run("performance.getEntriesByType('navigation')[0].duration") < 5000
    assert len(page.text) < 16e6
    page.run("(go(steps), 0)")
    shown = page.written()
    assert len(shown) > 40
    for wire in map(page.circuit.wires.__getitem__, shown):
        assert shown[wire.id] == [format_array(wire.value), format_array(wire.gradient)]
    page.run("(go(1), 0)")
    page.press("o")
    page.press("o")
    assert re.match(r"(\d+) of 200 boxes are open: all of them would be too much to draw", page.texts("#note")[0])
    assert drawn < page.run("document.querySelectorAll('#canvas .item').length") <= page.run("DRAWABLE")
    page.press("o")
    assert page.texts("#note") == [""]
    spent = page.run("(() => { const t = performance.now(); toggle(7); return performance.now() - t; })()")
    assert spent < 2000
    stepped = page.run("(() => { const t = performance.now(); go(state.step + 1); return performance.now() - t; })()")
    assert stepped < 500


@pytest.mark.parametrize("name", PAGES)
def test_every_page_of_a_lecture_opens_on_its_first_gate_and_shows_the_circuits_numbers(open_page, name):
    page = open_page(PAGES[name](), last_step=False)
    assert page.opens_on_its_first_gate()
    page.run("(allBoxes(), state.open.size || allBoxes(), go(steps), 0)")
    wires = [wire for wire in page.circuit.wires if wire.kind != "literal" and (wire.edges or wire.is_output)]
    assert page.written() == {w.id: [format_array(w.value), format_array(w.gradient)] for w in wires}


def test_the_page_opens_at_its_first_step_with_the_explanation(open_page):
    page = open_page(trace_expression("(x + y) * z", {"x": -2, "y": 5, "z": -4}), last_step=False)
    assert page.texts("#at") == ["forward 1 of 2"]
    assert page.texts("#panel .sum") == ["x + y", "−2 + 5 = 3"]
    assert page.texts("#panel p")[-2].startswith("→ computes the next gate")


def test_no_number_is_shown_before_its_step(open_page):
    """Not by a click on a gate either, nor inside a rule that is opened, nor on a closed box."""
    from selenium.webdriver.common.keys import Keys

    page = open_page(a_network(), last_step=False)
    page.press(Keys.HOME)
    rule = page.circuit.gate("gelu").id
    page.click(f"[data-id=g{rule}] .sign")
    assert page.texts("#panel .sum") == ["h = gelu(dot_general)"]
    page.click(f"[data-id=g{rule}] .sign")  # open
    page.run("(toggle(1), 0)")  # a box closed: its arguments' gradients
    shown = page.run(
        "[...document.querySelectorAll('#canvas text.value, #canvas text.gradient')].map((t) => t.textContent)"
    )
    values = {format_array(wire.value) for wire in page.circuit.arguments}
    assert {text for text in shown if text} <= values | {"params['W2']: gradient "}
    page.press(Keys.END)
    assert f"params['W2']: gradient {format_array(page.circuit.wire('W2').gradient)}" in page.texts("#canvas .box text")


def test_a_zero_bias_is_no_illness(open_page):
    def f(x, b):
        return jnp.tanh(x + b).sum()

    page = open_page(trace(f, jnp.ones(3), jnp.zeros(3)))
    page.run("(s => { s.value = 'health'; s.dispatchEvent(new Event('change')); })($('colour'))")
    assert page.run("[...document.querySelectorAll('.wire')].filter((w) => w.style.strokeDasharray).length") == 0


def test_text_in_names_cannot_become_markup(open_page):
    def f(x):
        with jax.named_scope("<b>bold</b>"):
            return jnp.sin(x) * 2

    page = open_page(trace(f, 1.0))
    assert page.run("document.querySelectorAll('#canvas b, #panel b').length") == 0
    assert "<b>bold" not in page.text.split("</style>")[-1]
