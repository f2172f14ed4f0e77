"""to_json() keeps to its written schema and loses nothing; to_dot() is what Graphviz reads."""

import json
import shutil
import subprocess

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from circuit_zoo import ZOO

from jaxbackprop.circuits import trace
from jaxbackprop.circuits.drawing.as_json import SCHEMA

TYPES = {
    "object": dict,
    "array": list,
    "string": str,
    "integer": int,
    "number": (int, float),
    "boolean": bool,
    "null": type(None),
}


def valid(value, schema) -> bool:
    """As much of JSON Schema as ours uses; an unknown word in it is an error."""
    known = {
        "$schema",
        "$defs",
        "title",
        "description",
        "type",
        "required",
        "properties",
        "additionalProperties",
        "$ref",
        "items",
        "enum",
        "const",
        "anyOf",
        "minimum",
    }
    assert set(schema) <= known
    if "$ref" in schema:
        return valid(value, SCHEMA["$defs"][schema["$ref"].rpartition("/")[2]])
    if "anyOf" in schema and not any(valid(value, s) for s in schema["anyOf"]):
        return False
    types = schema.get("type", list(TYPES))
    types = types if isinstance(types, list) else [types]
    if not any(
        isinstance(value, TYPES[t]) and not (isinstance(value, bool) and t in ("integer", "number")) for t in types
    ):
        return False
    if value != schema.get("const", value) or value not in schema.get("enum", [value]):
        return False
    if isinstance(value, dict):
        properties = schema.get("properties", {})
        if not set(schema.get("required", [])) <= set(value):
            return False
        if schema.get("additionalProperties") is False and not set(value) <= set(properties):
            return False
        return all(valid(v, properties[k]) for k, v in value.items() if k in properties)
    return not isinstance(value, list) or all(valid(v, schema.get("items", {})) for v in value)


@pytest.mark.parametrize("name", ["lecture_add_mul", "rnn", "complex", "random", "nnx_block", "empty", "custom_vjp"])
def test_json_keeps_to_the_schema_and_holds_every_number(name):
    with jax.enable_x64(True):
        fun, args = ZOO[name]()
        circuit = trace(fun, *args)
        document = json.loads(circuit.to_json())
    assert valid(document, SCHEMA)
    assert (len(document["gates"]), len(document["wires"])) == (len(circuit.gates), len(circuit.wires))
    for wire, made in zip(circuit.wires, document["wires"], strict=True):
        if wire.dtype == np.float64:
            np.testing.assert_array_equal(np.array(made["value"], np.float64).reshape(wire.shape), wire.value)
            if wire.differentiable:
                np.testing.assert_array_equal(np.array(made["gradient"], np.float64).reshape(wire.shape), wire.gradient)


def test_the_schema_refuses_what_is_not_in_it():
    document = json.loads(trace(jnp.sin, 1.0).to_json())
    assert valid(document, SCHEMA)
    assert not valid(document | {"version": 2}, SCHEMA)
    assert not valid(document | {"more": 1}, SCHEMA)
    document["gates"][0]["kind"] = "magic"
    assert not valid(document, SCHEMA)


def test_numbers_that_json_lacks_are_strings():
    document = json.loads(trace(lambda x: jnp.log(x) * jnp.inf, 0.0).to_json())
    values = [wire["value"] for wire in document["wires"] if wire["kind"] == "value"]
    assert values == ["-Infinity", "-Infinity"]


def test_a_large_array_is_summarised():
    document = json.loads(trace(lambda x: (x**2).sum(), jnp.arange(100.0)).to_json(elements=50))
    summary = document["wires"][0]["value"]["summary"]
    assert (summary["min"], summary["max"], summary["mean"], summary["finite"]) == (0, 99, 49.5, 1)
    assert valid(document, SCHEMA)


def test_dot_draws_each_gate_and_groups_boxes():
    with jax.enable_x64(True):
        fun, args = ZOO["named_scopes"]()
        circuit = trace(fun, *args)
    text = circuit.to_dot()
    assert text.count("subgraph cluster_") == len(circuit.boxes)
    assert all(f"g{gate.id} [label=" in text for gate in circuit.gates)
    if shutil.which("dot"):
        subprocess.run(["dot", "-Tsvg"], input=text.encode(), check=True, capture_output=True)


def test_files_are_written(tmp_path):
    circuit = trace(jnp.sin, 1.0)
    for write, name in (
        (circuit.to_svg, "c.svg"),
        (circuit.to_json, "c.json"),
        (circuit.to_dot, "c.dot"),
        (circuit.to_html, "c.html"),
    ):
        assert write(tmp_path / name) == (tmp_path / name).read_text(encoding="utf-8")
