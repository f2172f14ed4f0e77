"""The page's pictures: arranged in Python, put together as boxes open; four views of one circuit, rules that open."""

from itertools import pairwise

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from circuit_zoo import ZOO
from pages import AT, NEURON, a_network, arrays

from jaxbackprop.circuits import trace
from jaxbackprop.circuits.drawing.as_html import LIVE
from jaxbackprop.circuits.drawing.format import format_array
from jaxbackprop.circuits.drawing.graph import VIEWS, plan
from jaxbackprop.circuits.drawing.layout import place
from jaxbackprop.circuits.expression.trace_expression import trace_expression
from jaxbackprop.gates import gelu
from jaxbackprop.layers import affine_unit

PLACED = """((view, open, exact) => (function plain(p) {
    const nodes = Object.values(p.nodes).map((n) => ({
        id: n.id, kind: n.node.kind, x: n.x, y: n.y, w: n.w, h: n.h, inside: n.inside ? plain(n.inside) : null,
    }));
    const routes = p.routes.map((r) => ({
        from: r.edge.from, to: r.edge.to, wire: r.edge.wire, points: r.points, exit: r.edge.exit, entry: r.edge.entry,
    }));
    return { width: p.width, height: p.height, nodes, routes };
})(compose(data.views[view], (part) => open === null || open.includes(part.box), exact)))(...arguments)"""


@pytest.fixture(scope="module")
def circuits():
    with jax.enable_x64(True):
        made = {name: ZOO[name]() for name in ("rnn", "attention", "named_scopes", "two_layers")}
        return {name: trace(fun, *args) for name, (fun, args) in made.items()}


@pytest.mark.parametrize("name", ["rnn", "attention", "named_scopes", "two_layers"])
def test_a_page_of_closed_boxes_is_the_picture_that_python_arranged(open_page, circuits, name):
    circuit = circuits[name]
    page = open_page(circuit)
    for view in VIEWS:
        for exact in (False, True):
            picture = place(plan(circuit, view, None if exact else 4), opened=())
            shown = page.run(PLACED, view, [], exact)
            assert view == "deltas" or picture.nodes
            assert [shown["width"], shown["height"]] == pytest.approx([picture.width, picture.height], abs=0.5)
            places = {node["id"]: [node[k] for k in "xywh"] for node in shown["nodes"]}
            assert set(places) == set(map(str, picture.nodes))
            for key, placed in picture.nodes.items():
                expected = [placed.x, placed.y, placed.w, placed.h]
                assert places[str(key)] == pytest.approx(expected, abs=0.5)
            for mine, route in zip(shown["routes"], picture.routes, strict=True):
                assert (mine["from"], mine["to"]) == (str(route.edge.source), str(route.edge.target))
                np.testing.assert_allclose(mine["points"], route.points, atol=0.7)


@pytest.mark.parametrize("exact", [False, True])
@pytest.mark.parametrize("name", ["rnn", "attention", "named_scopes", "two_layers"])
def test_whatever_is_open_nothing_overlaps_and_every_line_arrives(open_page, circuits, name, exact):
    """All boxes open, each alone with those around it, every second one."""
    page, circuit = open_page(circuits[name]), circuits[name]
    states = [None, [box.id for box in circuit.boxes[::2]], *([b.id for b in _around(box)] for box in circuit.boxes)]
    for view in VIEWS:
        for opened in states:
            _is_in_order(page.run(PLACED, view, opened, exact))


def _around(box):
    while box is not None:
        yield box
        box = box.parent


def _is_in_order(picture):
    nodes = {node["id"]: node for node in picture["nodes"]}
    solid = [node for node in nodes.values() if node["kind"] != "port"]
    for i, a in enumerate(solid):
        assert a["x"] >= 0
        assert a["y"] >= 0
        assert a["x"] + a["w"] <= picture["width"] + 0.5
        assert a["y"] + a["h"] <= picture["height"] + 0.5
        for b in solid[:i]:
            beside = a["x"] + a["w"] <= b["x"] or b["x"] + b["w"] <= a["x"]
            assert beside or a["y"] + a["h"] <= b["y"] or b["y"] + b["h"] <= a["y"], (a["id"], b["id"])
        if a["inside"]:
            assert (a["w"], a["h"]) == (a["inside"]["width"], a["inside"]["height"])
            _is_in_order(a["inside"])
    for route in picture["routes"]:
        source, target = nodes[route["from"]], nodes[route["to"]]
        (x, y), (ex, ey) = route["points"][0], route["points"][-1]
        assert [x, ex] == pytest.approx([source["x"] + source["w"], target["x"]], abs=0.5)
        assert y == pytest.approx(_port_height(source, route["exit"], y), abs=0.5)
        assert ey == pytest.approx(_port_height(target, route["entry"], ey), abs=0.5)
        assert source["y"] <= y <= source["y"] + source["h"]
        assert target["y"] <= ey <= target["y"] + target["h"]
        for x, y in route["points"]:
            assert 0 <= x <= picture["width"] + 0.5
            assert 0 <= y <= picture["height"] + 0.5
        others = [node for node in solid if node is not source and node is not target]
        for (left, above), (right, below) in pairwise(route["points"]):
            passed = [n for n in others if left <= n["x"] and n["x"] + n["w"] <= right]
            assert not passed or above == pytest.approx(below, abs=0.1)
            assert not any(n["y"] < above < n["y"] + n["h"] for n in passed)


def _port_height(node, port, otherwise):
    """Where a line meets an open box: at its port."""
    if not node["inside"]:
        return otherwise
    (found,) = [n for n in node["inside"]["nodes"] if n["id"] == port]
    return node["y"] + found["y"] + found["h"] / 2


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
    assert neuron.texts("#canvas .card .name") == [
        "no matrix product in it: there are no layers, and so no deltas to show"
    ]


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
        const rule = picture.nodes.g0, at = ([x, y]) => `${Math.round(x)} ${Math.round(y)}`;
        const out = ([x, y]) => at([x + rule.x, y + rule.y]);
        const ports = (side) => Object.values(rule.inside.nodes).filter((p) => p.node.side === side);
        const place = (p) => out([p.x + p.w / 2, p.y + p.h / 2]);
        return {
            arriving: picture.routes.filter((r) => r.edge.to === 'g0').map((r) => at(r.points.at(-1))),
            entering: ports('entry').map(place),
            used: rule.inside.routes.map((r) => r.edge.from),
            leaving: picture.routes.filter((r) => r.edge.from === 'g0').map((r) => at(r.points[0])),
            result: ports('exit').map(place),
            ports: ports('entry').map((p) => p.id),
        };
    })()""")
    assert len(ends["arriving"]) == 3
    assert sorted(ends["arriving"]) == sorted(ends["entering"])
    assert set(ends["ports"]) <= set(ends["used"])
    assert set(ends["leaving"]) == set(ends["result"])


def test_a_notebook_displays_the_page_to_step_through(browser, tmp_path):
    circuit = trace_expression("(x + y) * z", {"x": -2, "y": 5, "z": -4})
    path = tmp_path / "cell.html"
    path.write_text(
        f"<!doctype html><meta charset=utf-8><div style='width:800px'>{circuit._repr_html_()}</div>", "utf-8"
    )
    browser.get_log("browser")
    browser.get(path.as_uri())
    browser.switch_to.frame(0)
    try:
        browser.execute_script("go(steps)")
        shown = browser.execute_script(
            "return [...document.querySelectorAll('#canvas text.value')].map((t) => t.textContent)"
        )
        assert sorted(shown) == sorted(["−2", "5", "−4", "3", "−12"])
        assert browser.execute_script("return document.documentElement.scrollWidth <= innerWidth")
    finally:
        browser.switch_to.default_content()
    assert browser.get_log("browser") == []


def everything_written(page):
    """All texts of the page that hold numbers of the circuit, view by view, at the last step."""
    texts = []
    for view in ("circuit", "flowgraph", "chain"):
        page.run(f"(show('{view}'), go(steps), 0)")
        texts.append(page.texts("#canvas text:not(.sign)"))
    page.run("(show('circuit'), 0)")
    return (
        texts,
        page.run("gates.slice(0, data.order.length).map((g) => [g.numbers, g.back])"),
        page.run("wires.slice(0, data.wires_of_the_whole).map((w) => [w.value, w.gradient, w.sum])"),
    )


EVERY_LIVE_GATE = (
    "tanh(x*y) - exp(-z)/(1 + square(x)) + sigmoid(x - y)*sin(z) + cos(y) + relu(z - x) + max(x, y)*min(y, z)"
    " + sqrt(square(z) + 1) + reciprocal(2 + cos(x)) + log(3 + sin(y)) + power(2 + sin(x), y)"
)


@pytest.mark.parametrize(
    "text",
    [
        NEURON.replace("w0", "x").replace("x0", "y").replace("w1", "z").replace("x1", "x").replace("w2", "y"),
        EVERY_LIVE_GATE,
    ],
)
def test_an_argument_that_a_reader_changes_changes_all_numbers(open_page, text):
    """The page computes again what a circuit traced at those values has: every text is the same."""
    before, after = {"x": 0.5, "y": -1.25, "z": 2.0}, {"x": -1.5, "y": 0.75, "z": 0.001}
    expected = everything_written(open_page(trace_expression(text, after)))
    page = open_page(trace_expression(text, before))
    assert everything_written(page) != expected
    for name, value in after.items():
        page.run("(change(arguments[0], String(arguments[1])), 0)", page.circuit.wire(name).id, value)
    assert everything_written(page) == expected


def test_the_page_knows_the_arithmetic_of_the_gates_that_are_live(neuron):
    from selenium.webdriver.common.by import By

    assert set(neuron.run("Object.keys(ARITHMETIC)")) == LIVE
    assert "By hand and by autodiff it is the same." in neuron.texts("#panel p")
    field = neuron.browser.find_element(By.CSS_SELECTOR, "#live input[aria-label='value of w0']")
    field.clear()
    field.send_keys("-2.5")
    expected = trace_expression(neuron.circuit.name, AT | {"w0": -2.5})
    assert not any("autodiff it is the same" in text for text in neuron.texts("#panel p"))
    assert neuron.written()[neuron.circuit.wire("x0").id][1] == format_array(expected.wire("x0").gradient)


def test_arrays_and_other_gates_are_not_live(open_page):
    assert open_page(a_network()).run("live") is None
    assert open_page(trace_expression("gelu(x)", {"x": 1})).run("document.getElementById('live').hidden") is True


def test_the_quiz_grades_each_answer(open_page):
    from selenium.webdriver.common.by import By
    from selenium.webdriver.common.keys import Keys

    page = open_page(trace_expression("(x + y) * z", {"x": -2, "y": 5, "z": -4}), last_step=False)
    page.press("g")
    assert page.texts("#panel .quiz") == ["quiz: 0 right, 0 wrong, 0 shown, 7 left"]
    field = page.browser.find_element(By.CSS_SELECTOR, "#panel .guess input")
    field.send_keys("7" + Keys.ENTER)
    assert page.texts("#panel .quiz") == ["quiz: 0 right, 1 wrong, 0 shown, 7 left"]
    field.clear()
    field.send_keys("3" + Keys.ENTER)
    assert page.texts("#panel .quiz") == ["quiz: 1 right, 1 wrong, 0 shown, 6 left"]
    page.press(Keys.ARROW_RIGHT)
    page.click("#panel .guess button")
    assert page.texts("#panel .quiz") == ["quiz: 1 right, 1 wrong, 1 shown, 5 left"]


@pytest.mark.parametrize(
    ("answer", "right"),
    [("0.53", True), ("-0.53", False), ("0.0044", False), ("0.004", True), ("0", False), ("-0.004", False)],
)
def test_an_answer_is_right_to_two_decimals_or_two_digits(neuron, answer, right):
    target = "0.5344" if "53" in answer else "0.003982"
    assert neuron.run("sameNumbers(numbersIn(arguments[0]), numbersIn(arguments[1]))", answer, target) is right


def test_a_vector_is_an_answer_too(open_page):
    from selenium.webdriver.common.by import By
    from selenium.webdriver.common.keys import Keys

    page = open_page(trace_expression("sum(W @ x)", {"W": [[1, 2], [3, 4]], "x": [1, -1]}))
    page.press("g")
    page.click(f"[data-id=g{page.circuit.gates[0].id}] .sign")
    field = page.browser.find_element(By.CSS_SELECTOR, f"input[aria-label='guess g{page.circuit.wire('x').id}']")
    field.send_keys("[4, 5]" + Keys.ENTER)
    assert "1 wrong" in page.texts("#panel .quiz")[0]
    field.clear()
    field.send_keys("[4, 6]" + Keys.ENTER)
    assert "1 right" in page.texts("#panel .quiz")[0]
