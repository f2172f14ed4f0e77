"""A circuit as JSON, by the schema below. Reading it needs no jaxbackprop."""

import json
from typing import Any

import numpy as np

from ..model import Edge, Gate, Graph, Wire
from ..summary import Summary, summarise, to_numpy

SCHEMA: dict[str, Any] = {
    "$schema": "https://json-schema.org/draft/2020-12/schema",
    "title": "jaxbackprop circuit",
    "type": "object",
    "required": ["format", "version", "name", "arguments", "outputs", "gates", "wires", "boxes", "wrong"],
    "additionalProperties": False,
    "properties": {
        "format": {"const": "jaxbackprop.circuits"},
        "version": {"const": 1},
        "name": {"type": "string", "description": "the function's name"},
        "arguments": {"$ref": "#/$defs/ids", "description": "wire ids, in the order of the function's arguments"},
        "outputs": {"$ref": "#/$defs/ids", "description": "wire ids, in the order of what is returned"},
        "wrong": {"$ref": "#/$defs/ids", "description": "ids of wrong gates, the first in backward order first"},
        "gates": {"type": "array", "items": {"$ref": "#/$defs/gate"}, "description": "in program order; id = place"},
        "wires": {"type": "array", "items": {"$ref": "#/$defs/wire"}, "description": "id = place"},
        "boxes": {"type": "array", "items": {"$ref": "#/$defs/box"}, "description": "id = place; outer before inner"},
    },
    "$defs": {
        "ids": {"type": "array", "items": {"type": "integer", "minimum": 0}},
        "array": {
            "description": "null: there is none. Else its elements, nested by axis, NaN and infinities as strings, "
            "complex numbers as [real, imaginary]; or a summary of an array too large to be written out.",
            "anyOf": [
                {"type": ["null", "number", "boolean", "string", "array"]},
                {
                    "type": "object",
                    "required": ["summary"],
                    "properties": {"summary": {"type": "object", "required": ["min", "max", "mean", "rms", "finite"]}},
                },
            ],
        },
        "edge": {
            "type": "object",
            "required": ["gate", "slot", "gradient", "autodiff_gradient"],
            "additionalProperties": False,
            "description": "one use of a wire, with its own share of the gradient; the shares add up to the wire's",
            "properties": {
                "gate": {"type": "integer"},
                "slot": {"type": "integer"},
                "gradient": {"$ref": "#/$defs/array"},
                "autodiff_gradient": {"$ref": "#/$defs/array"},
            },
        },
        "gate": {
            "type": "object",
            "required": ["id", "name", "kind", "inputs", "outputs", "box", "source", "verdict"],
            "additionalProperties": False,
            "properties": {
                "id": {"type": "integer"},
                "name": {"type": "string"},
                "kind": {"enum": ["primitive", "rule", "opaque", "wiring"]},
                "inputs": {"$ref": "#/$defs/ids"},
                "outputs": {"$ref": "#/$defs/ids"},
                "box": {"type": ["integer", "null"]},
                "source": {"type": "string", "description": "file:line of the code that called it"},
                "defined": {"type": "string", "description": "file:line of a rule"},
                "verdict": {"enum": ["", "agrees", "kink", "undecided", "wrong"]},
                "detail": {"type": "string"},
                "note": {"type": "string"},
            },
        },
        "wire": {
            "type": "object",
            "required": ["id", "name", "kind", "shape", "dtype", "value", "gradient", "autodiff_gradient", "edges"],
            "additionalProperties": False,
            "properties": {
                "id": {"type": "integer"},
                "name": {"type": "string"},
                "kind": {"enum": ["argument", "constant", "literal", "value"]},
                "shape": {"type": "array", "items": {"type": "integer"}},
                "dtype": {"type": "string"},
                "value": {"$ref": "#/$defs/array"},
                "gradient": {"$ref": "#/$defs/array"},
                "autodiff_gradient": {"$ref": "#/$defs/array"},
                "gate": {"type": ["integer", "null"], "description": "the gate it comes from"},
                "edges": {"type": "array", "items": {"$ref": "#/$defs/edge"}},
            },
        },
        "box": {
            "type": "object",
            "required": ["id", "name", "kind", "parent"],
            "additionalProperties": False,
            "properties": {
                "id": {"type": "integer"},
                "name": {"type": "string"},
                "kind": {"enum": ["scope", "scan", "while", "step", "cond", "remat", "rule", "part"]},
                "parent": {"type": ["integer", "null"]},
                "note": {"type": "string"},
            },
        },
    },
}


def to_json(graph: Graph, elements: int) -> str:
    """The circuit in the form of `SCHEMA`; arrays of more than `elements` elements are summarised."""
    document = {
        "format": "jaxbackprop.circuits",
        "version": 1,
        "name": graph.name,
        "arguments": [wire.id for wire in graph.arguments],
        "outputs": [wire.id for wire in graph.outputs],
        "wrong": [gate.id for gate in graph.wrong],
        "gates": [_gate(gate) for gate in graph.gates],
        "wires": [_wire(wire, elements) for wire in graph.wires],
        "boxes": [
            {"id": b.id, "name": b.name, "kind": b.kind, "parent": b.parent.id if b.parent else None, "note": b.note}
            for b in graph.boxes
        ],
    }
    return json.dumps(document, allow_nan=False, ensure_ascii=False)


def _gate(gate: Gate) -> dict[str, Any]:
    return {
        "id": gate.id,
        "name": gate.name,
        "kind": gate.kind,
        "inputs": [w.id for w in gate.inputs],
        "outputs": [w.id for w in gate.outputs],
        "box": gate.box.id if gate.box else None,
        "source": gate.source,
        "defined": gate.defined,
        "verdict": gate.verdict,
        "detail": gate.detail,
        "note": gate.note,
    }


def _wire(wire: Wire, elements: int) -> dict[str, Any]:
    return {
        "id": wire.id,
        "name": wire.name,
        "kind": wire.kind,
        "shape": list(wire.shape),
        "dtype": str(wire.dtype),
        "value": array(wire.value, elements),
        "gradient": array(wire.gradient, elements),
        "autodiff_gradient": array(wire.autodiff_gradient, elements),
        "gate": wire.source.id if wire.source else None,
        "edges": [_edge(edge, elements) for edge in wire.edges],
    }


def _edge(edge: Edge, elements: int) -> dict[str, Any]:
    return {
        "gate": edge.gate.id,
        "slot": edge.slot,
        "gradient": array(edge.gradient, elements),
        "autodiff_gradient": array(edge.autodiff_gradient, elements),
    }


def array(value: Any, elements: int) -> Any:
    """An array as JSON values, or its summary."""
    if value is None:
        return None
    if not isinstance(value, Summary):
        x = to_numpy(value)
        if x.size <= elements:
            return _nested(x.tolist())
    kept = value if isinstance(value, Summary) else summarise(value)
    measures = {k: getattr(kept, k) if kept.finite else None for k in ("min", "max", "mean", "rms")}
    return {"summary": {**measures, "finite": kept.finite}}


def _nested(x: Any) -> Any:
    if isinstance(x, list):
        return [_nested(v) for v in x]
    if isinstance(x, complex):
        return [_nested(x.real), _nested(x.imag)]
    if isinstance(x, float) and not np.isfinite(x):
        return "NaN" if np.isnan(x) else "Infinity" if x > 0 else "-Infinity"
    return x
