"""Pictures: nothing overlaps, every line arrives, and the four views say what they promise."""

import xml.etree.ElementTree as ET
from itertools import pairwise

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from circuit_zoo import ZOO
from hypothesis import given, settings
from hypothesis import strategies as st

from jaxbackprop.circuits import trace
from jaxbackprop.circuits.drawing.graph import Key, plan
from jaxbackprop.circuits.drawing.layout import Picture, keep_apart, place
from jaxbackprop.circuits.expression.trace_expression import trace_expression
from jaxbackprop.gates import sigmoid

SHOWN = ["lecture_add_mul", "rnn", "two_layers", "named_scopes", "attention", "custom_vjp", "remat", "nnx_block"]


def traced(name):
    fun, args = ZOO[name]()
    return trace(fun, *args)


@pytest.fixture(scope="module")
def circuits():
    with jax.enable_x64(True):
        return {name: traced(name) for name in SHOWN}


def inside_out(picture: Picture):
    yield picture
    for placed in picture.nodes.values():
        if placed.inside:
            yield from inside_out(placed.inside)


@pytest.mark.parametrize("view", ["circuit", "flowgraph", "deltas", "chain"])
@pytest.mark.parametrize("name", SHOWN)
def test_nothing_overlaps_and_boxes_hold_what_is_in_them(circuits, name, view):
    for picture in inside_out(place(plan(circuits[name], view, 3))):
        solid = [p for p in picture.nodes.values() if p.node.kind != "port"]
        ports = [p for p in picture.nodes.values() if p.node.kind == "port"]
        assert all(p.x + p.w / 2 in (0, picture.width) and 0 <= p.middle <= picture.height for p in ports)
        for i, a in enumerate(solid):
            assert a.x >= 0
            assert a.y >= 0
            assert a.x + a.w <= picture.width + 1e-6
            assert a.y + a.h <= picture.height + 1e-6
            for b in solid[:i]:
                apart = a.x + a.w <= b.x or b.x + b.w <= a.x or a.y + a.h <= b.y or b.y + b.h <= a.y
                assert apart, (a.node.title, b.node.title)


@pytest.mark.parametrize("view", ["circuit", "flowgraph", "chain"])
@pytest.mark.parametrize("name", SHOWN)
def test_no_line_runs_through_an_item_on_its_way(circuits, name, view):
    """It bends only between columns, where nothing stands, and passes a column level, where nothing else stands."""
    for picture in inside_out(place(plan(circuits[name], view, 3))):
        for route in picture.routes:
            ends = picture.nodes[route.edge.source], picture.nodes[route.edge.target]
            others = [p for p in picture.nodes.values() if p not in ends and p.node.kind != "port"]
            for (left, y), (right, below) in pairwise(route.points):
                passed = [p for p in others if left <= p.x and p.x + p.w <= right]
                assert not passed or y == pytest.approx(below, abs=0.05), (route.edge, passed[0].node.title)
                assert not any(p.y < y < p.y + p.h for p in passed), (route.edge, [p.node.title for p in passed])


@pytest.mark.parametrize("name", SHOWN)
def test_every_gate_is_drawn_once_and_every_line_leads_from_its_source_to_its_target(circuits, name):
    circuit, drawn = circuits[name], []
    for picture in inside_out(place(plan(circuit, "circuit", 3))):
        drawn += [p.node.key for p in picture.nodes.values() if p.node.key.kind == "gate"]
        assert len(picture.routes) == len(picture.subgraph.edges)
        for route in picture.routes:
            source, target = picture.nodes[route.edge.source], picture.nodes[route.edge.target]
            (x, y), (ex, ey) = route.points[0], route.points[-1]
            assert x == pytest.approx(source.x + source.w)
            assert source.y - 1 <= y <= source.y + source.h + 1
            assert ex == pytest.approx(target.x)
            assert target.y - 1 <= ey <= target.y + target.h + 1
    assert sorted(map(str, drawn)) == sorted(f"g{gate.id}" for gate in circuit.gates)


def test_a_parameter_used_everywhere_is_a_label_at_each_use(circuits):
    """W of the recurrent network enters five steps: five labels, and no line between steps for it."""
    circuit = circuits["rnn"]
    w = circuit.wire("W").id
    labels = [
        k for p in inside_out(place(plan(circuit, "circuit", 3))) for k in p.nodes if (k.kind, k.id) == ("label", w)
    ]
    assert len(labels) == 5


@settings(deadline=None)
@given(st.lists(st.tuples(st.floats(-100, 100), st.floats(0.1, 30)), min_size=1, max_size=12))
def test_positions_are_the_nearest_that_keep_apart(pairs):
    """Least squares under distances: no feasible step of any one item or run of items comes nearer the wishes."""
    wish, apart = [w for w, _ in pairs], [a for _, a in pairs[1:]]
    found = keep_apart(wish, apart)
    assert all(b - a >= gap - 1e-9 for a, b, gap in zip(found, found[1:], apart))

    def cost(ys):
        return sum((y - w) ** 2 for y, w in zip(ys, wish))

    for i in range(len(found)):
        for j in range(i + 1, len(found) + 1):
            for step in (1e-3, -1e-3):
                moved = [y + step * (i <= k < j) for k, y in enumerate(found)]
                if all(b - a >= gap for a, b, gap in zip(moved, moved[1:], apart)):
                    assert cost(moved) >= cost(found) - 1e-9


@pytest.mark.parametrize("view", ["circuit", "flowgraph", "deltas", "chain"])
def test_every_view_is_a_drawing_and_a_table(circuits, view):
    circuit = circuits["two_layers"]
    drawing = ET.fromstring(circuit.to_svg(view=view))
    assert drawing.tag.endswith("svg")
    assert len(list(drawing.iter())) > 10
    assert circuit.table(view).count("\n") > 4


def test_each_arrow_of_a_flowgraph_says_its_own_local_derivative_and_share():
    """f = (x + y) max(y, z) at 1, 2, 0: y feeds both, and receives 2 by the one and 3 by the other."""
    circuit = trace_expression("(x + y) * max(y, z)", {"x": 1, "y": 2, "z": 0})
    edges = plan(circuit, "flowgraph", 4).edges
    labels = {(circuit.wires[e.wire].name, e.target): (e.label.above, e.label.below) for e in edges}
    total, larger, f = (Key("wire", circuit.wire(name).id) for name in ("x + y", "max(y, z)", "f"))
    assert labels == {
        ("x", total): ("1", "2"),
        ("y", total): ("1", "2"),
        ("y", larger): ("1", "3"),
        ("z", larger): ("0", "0"),
        ("x + y", f): ("2", "2"),
        ("max(y, z)", f): ("3", "3"),
    }
    drawn = [e for e in ET.fromstring(circuit.to_svg(view="flowgraph")).iter() if e.tag.endswith("text")]
    beside = sorted(e.text or "" for e in drawn if e.get("class") == "gradient halo")
    assert beside == sorted(below for _, below in labels.values())


def test_an_arrow_to_one_of_several_outputs_claims_no_share():
    """What the gate sends back is the sum over its outputs, and stands on none of them."""
    circuit = trace(lambda x: jnp.prod(jnp.stack(jnp.split(x, 2))), jnp.array([2.0, 3.0]))
    split = circuit.gate("split")
    edges = [e for e in plan(circuit, "flowgraph", 4).edges if e.wire == split.inputs[0].id]
    assert [(e.label.above, e.label.below) for e in edges] == [("split", "")] * 2
    assert "split brings [3, 2]" in circuit.table("flowgraph")
    terms = [text.strip() for text in circuit.table("chain").splitlines() if text.startswith("∂output/∂x")]
    assert terms[0].count("δ(") == 2


def test_a_number_in_an_ordered_gate_crosses_nothing():
    """The 1 of 1/(1 + exp) stands above the denominator, as it enters the gate."""
    circuit = trace_expression("1 / (1 + exp(-x))", {"x": 1})
    nodes = list(place(plan(circuit, "circuit", 3)).nodes.values())
    quotient = next(n for n in nodes if n.node.title == "÷")
    one, total = (next(n for n in nodes if n.column == quotient.column - 1 and n.node.title == t) for t in "1+")
    assert one.y + one.h < total.y


def test_a_layer_of_a_loop_says_its_own_share_of_a_shared_bias():
    """h = (h w + b) three times: b receives w^2 + w + 1, the last layer brings 1 of it."""
    W, b, h = jnp.full((1, 1), 2.0), jnp.ones(1), jnp.ones((1, 1))

    def thrice(W, b, h):
        for _ in range(3):
            h = h @ W + b
        return h.sum()

    circuit = trace(thrice, W, b, h)
    assert float(circuit.gradients["b"][0]) == 7
    lines = [line.text for node in plan(circuit, "deltas", 4).nodes.values() for line in node.lines]
    assert [text.rpartition(" → ")[2] for text in lines if text.startswith("db")] == ["4", "2", "1"]


@pytest.mark.parametrize("view", ["circuit", "flowgraph", "chain"])
def test_a_closed_box_that_holds_a_wrong_gate_is_marked(view):
    wrong = sigmoid.with_backward(lambda a, u: u * a)

    def f(x):
        for name, unit in (("first", sigmoid), ("second", wrong)):
            with jax.named_scope(name):
                x = 2 * unit(3 * x)
        return x

    circuit = trace(f, 0.3)
    drawn = place(plan(circuit, view, 3), opened=())
    assert {p.node.title: p.node.badge for p in drawn.nodes.values() if p.node.kind == "box"} == {
        "first": "",
        "second": "✗",
    }
    assert circuit.to_svg(view=view, opened=()).count("✗") == 1


def test_an_unknown_view_is_an_error(circuits):
    for draw in (circuits["rnn"].table, lambda v: circuits["rnn"].to_svg(view=v)):
        with pytest.raises(ValueError, match="there is no view 'sideways'; there are circuit"):
            draw("sideways")


def test_the_drawing_holds_the_numbers_of_the_lecture():
    circuit = trace_expression("(x + y) * z", {"x": -2, "y": 5, "z": -4})
    texts = [
        (e.get("class") or "", e.text or "") for e in ET.fromstring(circuit.to_svg()).iter() if e.tag.endswith("text")
    ]
    values = [t for c, t in texts if c.startswith("value")]
    gradients = [t for c, t in texts if c.startswith("gradient")]
    assert sorted(values) == sorted(["−2", "5", "−4", "3", "−12"])
    assert sorted(gradients) == sorted(["−4", "−4", "3", "−4", "1"])


def test_the_deltas_of_the_score_network_line_up():
    """s = U^T f(W x + b): delta_1 = U f'(z), dW = delta_1 x^T, db = delta_1: CS224n's lecture, in NumPy."""
    rng = np.random.default_rng(0)
    W, b, U, x = rng.normal(size=(3, 4)), rng.normal(size=3), rng.normal(size=3), rng.normal(size=4)

    def score(W, b, U, x):
        z = W @ x + b
        a = jax.nn.sigmoid(z)
        return U @ a

    with jax.enable_x64(True):
        circuit = trace(score, W, b, U, x)
    a = 1 / (1 + np.exp(-(W @ x + b)))
    delta = U * a * (1 - a)
    for name, expected in {"z": delta, "b": delta, "W": np.outer(delta, x), "U": a, "x": W.T @ delta, "a": U}.items():
        np.testing.assert_allclose(circuit.wire(name).gradient, expected, rtol=1e-12)
    table = circuit.table("deltas")
    assert "layer 1: delta_1 = gradient at z" in table
    assert "dW = delta_1 [3] times x^T [4] → [3, 4]" in table
    assert "dx = W^T [4, 3] times delta_1 [3]" in table
    assert "db = delta_1" in table
    chain = circuit.table("chain")
    assert "δ(z) = ∂output/∂z" in chain
