"""The page's pictures: placed as Python places them, four views of one circuit, boxes and rules that open."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from circuit_zoo import ZOO
from pages import a_network, arrays

from jaxbackprop.circuits import trace
from jaxbackprop.circuits.drawing.as_html import VIEWS
from jaxbackprop.circuits.drawing.graph import plan
from jaxbackprop.circuits.drawing.layout import place
from jaxbackprop.circuits.drawing.format import backward_formula, format_array, format_number
from jaxbackprop.circuits.expression.trace_expression import trace_expression
from jaxbackprop.gates import gelu
from jaxbackprop.layers import affine_unit

PLACED = """((view, open) => (function told(p) {
    const items = Object.entries(p.items).map(([id, i]) => [id, i.x, i.y, i.w, i.h, i.inside ? told(i.inside) : null]);
    const routes = p.routes.map((r) => [r.link.from, r.link.to, r.points, r.first]);
    return [p.width, p.height, items, routes];
})(place(data.views[view], (part) => open === null || open.includes(part.box), whole)))(arguments[0], arguments[1])"""


def told(picture):
    items = [[id, i.x, i.y, i.w, i.h, told(i.inside) if i.inside else None] for id, i in picture.items.items()]
    routes = [[r.link.source, r.link.target, [list(p) for p in r.points], r.first] for r in picture.routes]
    return [picture.width, picture.height, items, routes]


def same_places(page, python):
    """Width and height, items and routes, box within box: names the same, numbers to a hundredth of a pixel."""
    assert page[:2] == pytest.approx(python[:2], abs=0.01)
    by_id = {item[0]: item for item in page[2]}
    assert set(by_id) == {item[0] for item in python[2]}
    for id, *numbers, inside in python[2]:
        assert by_id[id][1:5] == pytest.approx(numbers, abs=0.01)
        assert (by_id[id][5] is None) == (inside is None)
        if inside:
            same_places(by_id[id][5], inside)
    assert len(page[3]) == len(python[3])
    for mine, theirs in zip(page[3], python[3], strict=True):
        assert [mine[0], mine[1], mine[3]] == [theirs[0], theirs[1], theirs[3]]
        np.testing.assert_allclose(mine[2], theirs[2], atol=0.01)


@pytest.mark.parametrize("name", ["rnn", "attention", "named_scopes", "two_layers"])
def test_the_page_puts_everything_where_python_puts_it(open_page, name):
    """Places are worked out twice, in layout.py for files and in layout.js as boxes open: they must be one."""
    with jax.enable_x64(True):
        fun, args = ZOO[name]()
        circuit = trace(fun, *args)
        page = open_page(circuit)
        for view in VIEWS:
            for opened in (None, []):
                drawn = place(plan(circuit, view, 4), True if opened is None else opened)
                assert view == "deltas" or drawn.items
                same_places(page.run(PLACED, view, opened), told(drawn))


@pytest.mark.parametrize("view", ["flowgraph", "chain"])
def test_other_views_are_stepped_through_like_the_circuit(neuron, view):
    """Forward the nodes get their values, backward every card its gradient; what is current is marked."""
    from selenium.webdriver.common.keys import Keys

    def gradients():
        found = neuron.run("""[...document.querySelectorAll('#canvas .item > text.gradient')]
            .map(e => [+e.dataset.wire, e.textContent.replace('= ', '')])""")
        return {wire: text for wire, text in found}

    circuit = neuron.circuit
    neuron.click(f"[data-view={view}]")
    assert gradients() == {w.id: format_array(w.gradient) for w in circuit.wires if w.kind != "literal"}
    neuron.press(Keys.HOME)
    assert set(gradients().values()) == {""}
    for _ in circuit.gates:
        neuron.press(Keys.ARROW_RIGHT)
        assert neuron.texts("#canvas .now .name")
    if view == "flowgraph":
        values = neuron.texts("#canvas .item > text.value")
        assert sorted(values) == sorted(format_array(w.value) for w in circuit.wires if w.kind != "literal")
    for gate in reversed(circuit.gates):
        neuron.press(Keys.ARROW_RIGHT)
        now = gradients()
        assert all(now[w.id] == format_array(w.gradient) for w in gate.inputs if w.kind != "literal")
        marked = set(neuron.run("[...document.querySelectorAll('#canvas .now')].map(e => +e.dataset.wire)"))
        made = gate.outputs if view == "flowgraph" else [w for w in gate.inputs if w.kind != "literal"]
        assert marked == {w.id for w in made}
    neuron.press("g")
    assert set(gradients().values()) == {"?"}


def test_a_node_can_be_hovered_over_and_chosen(neuron):
    from selenium.webdriver.common.action_chains import ActionChains
    from selenium.webdriver.common.by import By

    neuron.click("[data-view=flowgraph]")
    neuron.press("0")
    product = neuron.circuit.wire("w0*x0")
    node = neuron.browser.find_element(By.CSS_SELECTOR, f"[data-id=w{product.id}] .frame")
    ActionChains(neuron.browser).move_to_element_with_offset(node, 0, 0).perform()
    assert neuron.texts("#tip")[0].startswith("w0*x0  scalar float64")
    neuron.click(f"[data-id=w{product.id}] .name")
    assert neuron.texts("#panel h2") == ["mul, a rule derived by hand"]
    neuron.click("[data-view=circuit]")  # the same gate, in another view
    assert neuron.run("document.querySelector('#canvas .now').dataset.id") == f"g{product.source.id}"


def test_the_deltas_are_cards_whose_numbers_can_be_unrounded(open_page):
    page = open_page(a_network())
    page.click("[data-view=deltas]")
    cards = page.texts("#canvas .card text")
    assert cards[0].startswith("layer 1: ")
    assert f"delta_2 = {format_array(page.circuit.wires[page.circuit.gates[2].outputs[0].id].gradient)}" in cards
    neuron = open_page(trace_expression("x * y", {"x": 2, "y": 3}))
    neuron.click("[data-view=deltas]")
    assert neuron.texts("#canvas > text") == ["no matrix product in it: there are no layers, and so no deltas to show"]


@pytest.mark.parametrize("view", ["flowgraph", "chain"])
def test_boxes_open_in_every_view(open_page, view):
    page = open_page(a_network())
    page.click(f"[data-view={view}]")
    page.press("o")
    assert page.run("document.querySelectorAll('#canvas .item.box:not(.open)').length") == 2
    page.click("[data-id=b0] .name")
    assert page.run("document.querySelectorAll('#canvas .item.box:not(.open)').length") == 1
    node = page.circuit.gate("gelu").outputs[0]
    assert page.run("!!document.querySelector(`[data-id=w${arguments[0]}]`)", node.id)


def test_an_opened_rule_is_joined_to_the_wires_around_it(open_page):
    """Each outer wire ends where an inner one begins, at a port in the border; and so where the result leaves."""
    page = open_page(
        trace(lambda x, W, b: jnp.sin(affine_unit(x, W, b, unit=gelu)).sum(), *arrays((2, 3), (3, 4), (4,)))
    )
    page.run("(toggle(-2), 0)")
    ends = page.run("""(() => {
        const rule = picture.items.g0, at = ([x, y]) => `${Math.round(x)} ${Math.round(y)}`;
        const out = ([x, y]) => at([x + rule.x, y + rule.y]);
        const port = (id) => { const p = rule.inside.items[id]; return out([p.x + p.w / 2, p.y + p.h / 2]); };
        return {
            arriving: picture.routes.filter((r) => r.link.to === 'g0').map((r) => at(r.points.at(-1))),
            entering: Object.values(rule.inside.part.enter).map(port),
            used: rule.inside.routes.map((r) => r.link.from),
            leaving: picture.routes.filter((r) => r.link.from === 'g0').map((r) => at(r.points[0])),
            result: Object.values(rule.inside.part.leave).map(port),
            ports: Object.values(rule.inside.part.enter),
        };
    })()""")
    assert len(ends["arriving"]) == 3
    assert sorted(ends["arriving"]) == sorted(ends["entering"])
    assert set(ends["ports"]) <= set(ends["used"])
    assert set(ends["leaving"]) == set(ends["result"])
