"""A function, or the inside of a gate, becomes a graph: its jaxpr is walked once, with the values it really has.

Calls are inlined; a handwritten rule is one gate; loops, branches and checkpointed parts become boxes.
"""

from collections.abc import Callable, Collection, Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from ..jaxprs import compat as jaxprs
from ..jaxprs.compat import Jaxpr, JaxprEqn, Literal
from ..jaxprs.observe import Noticing
from ..jaxprs.provenance import call_name, defined, scopes
from ..jaxprs.queries import only_forgets_weak_type
from ..jaxprs.rules import HANDWRITTEN_BACKWARD, evaluate_stripped
from . import mutable_refs as refs
from . import naming
from .analysis.rule_check import check_derivatives, check_rule
from .gradients import Equation, Stack, Unstack, sweep
from .model import Box, Edge, Gate, Graph, Operation, Wire
from .output_cotangents import set_cotangent, set_output_cotangents
from .parts import divide_into_parts
from .summary import is_inexact, precision_of


def walk_function(
    fun: Callable,
    args: tuple,
    *,
    upstream: Any,
    open: bool | Collection[str],
    unroll: int,
    summaries: bool,
    autodiff: bool,
) -> Graph:
    """The graph of `fun(*args)`; the arguments are those of `trace`, `summaries` its `steps`."""
    everything, tree = jax.tree.flatten(args)
    functions = {i: leaf for i, leaf in enumerate(everything) if callable(leaf)}  # as an equinox activation
    leaves = [leaf for i, leaf in enumerate(everything) if i not in functions]
    refs.refuse(leaves, "an argument")
    structures: list[Any] = []

    def of_leaves(*leaves: Any) -> list[Any]:
        rest = iter(leaves)
        unflattened = tree.unflatten([functions[i] if i in functions else next(rest) for i in range(tree.num_leaves)])
        with naming.module_scopes(fun, unflattened):
            out = fun(*unflattened)
        structures.append(jax.tree.structure(out))
        return jax.tree.leaves(out)

    noticing = Noticing()
    with noticing.watching():
        program = jax.make_jaxpr(of_leaves)(*leaves)
    walk = _Walk(unroll, open)
    names = [name for i, name in enumerate(naming.argument_names(fun, args)) if i not in functions]
    arguments = [walk.wire(name, "argument", jnp.asarray(x)) for name, x in zip(names, leaves, strict=True)]
    outputs = walk.program(program.jaxpr, list(program.consts), arguments)
    set_output_cotangents(fun, outputs, structures[0], upstream)
    name = getattr(fun, "__name__", type(fun).__name__)
    graph = walk.graph(name, arguments, outputs, structures[0])
    sweep(graph.gates, check_rule, autodiff=autodiff, summaries=summaries)
    if autodiff and noticing.differentiates(program.jaxpr):
        check_derivatives(graph.gates, fun, args)
    divide_into_parts(graph)
    return graph


def walk_inside(gate: Gate) -> Graph:
    """A merged rule opened: its primal's gates at the values it had, under the gradient that reached it.

    Raises:
        ValueError: the gate has no inside, or only summaries of its inputs were kept.
    """
    body = jaxprs.body_of(gate.operation.eqn) if isinstance(gate.operation, Equation) else None
    if body is None:
        raise ValueError(f"{gate.name} is not a rule or a call: there is nothing inside it to open.")
    if not gate.is_whole:
        raise ValueError(f"only summaries of the inputs of {gate.name} were kept: trace with steps='whole'.")
    walk = _Walk(64, ())
    with precision_of(*(wire.value for wire in (*gate.inputs, *gate.outputs))):
        arguments = [walk.wire(wire.name, "argument", wire.value) for wire in gate.inputs]
        outputs = walk.program(*body, arguments)
        for wire, outer in zip(outputs, gate.outputs, strict=True):
            set_cotangent(wire, outer.upstream)
            wire.is_output = True
        graph = walk.graph(gate.name, arguments, outputs, jax.tree.structure(list(outputs)))
        sweep(graph.gates, check_rule, autodiff=True, summaries=False)
    return graph


def _unnamed(wire: Any) -> bool:
    return isinstance(wire, Wire) and wire.kind == "value" and not wire.named


class _Walk:
    """One pass over a jaxpr that makes wires, gates and boxes as values are computed."""

    def __init__(self, unroll: int, open: bool | Collection[str]):
        self.unroll, self.open = unroll, open
        self.wires: list[Wire] = []
        self.gates: list[Gate] = []
        self.boxes: list[Box] = []
        self.names = naming.Names()
        self.active: set[Wire] = set()

    def graph(self, name: str, arguments: list[Wire], outputs: list[Wire], tree: Any) -> Graph:
        """What was walked, all wires named."""
        for wire in self.wires:
            if not wire.named:
                wire.name = self.names.new(wire.name)
        long = [wire for wire in arguments if len(wire.name) > naming.LONG]
        for wire, short in zip(long, naming.short_names([wire.name for wire in long]), strict=True):
            wire.short = short
        return Graph(name, self.gates, self.wires, self.boxes, arguments, outputs, tree)

    def wire(self, name: str, kind: str, value: Any, source: Gate | None = None, named: bool = True) -> Wire:
        name = self.names.new(name) if named and kind != "literal" else name
        wire = Wire(len(self.wires), name, kind, value, source, named=named)
        self.wires.append(wire)
        if kind in ("argument", "constant") and is_inexact(value):
            self.active.add(wire)
        return wire

    def box(self, name: str, kind: str, parent: Box | None, note: str = "") -> Box:
        box = Box(len(self.boxes), name, kind, parent, note)
        self.boxes.append(box)
        return box

    def program(
        self, jaxpr: Jaxpr, consts: Sequence[Any], inputs: Sequence[Wire], box: Box | None = None, depth: int = 0
    ) -> list[Wire]:
        """The output wires of `jaxpr`; its gates go into `box`. `depth` of the user's lines belong to its caller."""
        known: dict[Any, Any] = dict(zip(jaxpr.invars, inputs, strict=True))
        refs.refuse(consts, "something it closes over")
        for var, value in zip(jaxpr.constvars, consts, strict=True):
            known[var] = self.wire("constant", "constant", value)
        targets, stacks = naming.assigned(jaxpr.eqns, depth)
        open_scopes: list[Box] = []
        for eqn, target, stack in zip(jaxpr.eqns, targets, stacks, strict=True):
            here = self._scope(open_scopes, naming.shown_scopes(scopes(eqn)), box)
            into = [self._at(known, atom) for atom in eqn.invars]
            leaving = self._equation(eqn, into, here, target, stack)
            if target and len(leaving) == 1 and _unnamed(leaving[0]):
                leaving[0].name, leaving[0].named = self.names.new(target), True
            known |= dict(zip(eqn.outvars, leaving, strict=True))
        return [self._at(known, atom) for atom in jaxpr.outvars]

    def _at(self, known: dict[Any, Any], atom: Any) -> Any:
        if isinstance(atom, Literal):
            value = np.asarray(atom.val, jaxprs.dtype_of(atom))
            return self.wire(
                f"{value:g}" if value.ndim == 0 and value.dtype.kind in "if" else str(value), "literal", value
            )
        return known[atom]

    def _scope(self, open_boxes: list[Box], path: tuple[str, ...], outer: Box | None) -> Box | None:
        """The box of a named scope; one that is left and entered again is another instance."""
        same = 0
        while same < min(len(open_boxes), len(path)) and open_boxes[same].note == path[same]:
            same += 1
        del open_boxes[same:]
        for name in path[same:]:
            parent = open_boxes[-1] if open_boxes else outer
            open_boxes.append(self.box(name, "scope", parent, note=name))
        return open_boxes[-1] if open_boxes else outer

    def _equation(self, eqn: JaxprEqn, into: list[Any], box: Box | None, target: str, stack: list) -> list[Any]:
        name, body = eqn.primitive.name, jaxprs.body_of(eqn)
        cells = [i for i, wire in enumerate(into) if isinstance(wire, refs.Cell)]
        if name == refs.MAKES:
            return [refs.Cell(into[0])]
        if only_forgets_weak_type(eqn) and into[0].kind != "literal":
            return into
        if name in jaxprs.CALLS and body is not None and (cells or any(w in self.active for w in into)):
            return self.program(*body, into, box, len(stack))
        if name in jaxprs.REMAT and body is not None:
            inner = self.box(call_name(eqn), "remat", box, "computed again on the way back")
            return self.program(*body, into, inner, len(stack))
        if name in jaxprs.RULES and body is not None:
            rule = call_name(eqn)
            if self.open is True or (self.open is not False and rule in self.open):
                return self.program(*body, into, self.box(rule, "rule", box), len(stack))
        if name == "cond":
            return self._cond(eqn, into, box, len(stack))
        if name == "scan" and jaxprs.scan_of(eqn).length <= self.unroll:
            return self._scan(jaxprs.scan_of(eqn), into, box, len(stack))
        if cells:
            return self._stateful(eqn, into, cells, box, stack)
        if name == "while":
            unrolled = self._while(eqn, into, box, len(stack))
            if unrolled is not None:
                return unrolled
        return self._gate(eqn, into, box, stack)

    def _stateful(self, eqn: JaxprEqn, into: list[Any], cells: list[int], box: Box | None, stack: list) -> list[Wire]:
        """What reads or writes references, as a gate: contents in, its outputs and the contents afterwards out."""
        name, cell = eqn.primitive.name, into[cells[0]]
        if name == refs.ENDS or (name == refs.READS and len(into) == 1):
            return [cell.now]
        if name == refs.WRITES and len(into) == 2:
            before, cell.now = cell.now, into[1]
            return [before]
        changed = name != refs.READS
        given = [wire.now if isinstance(wire, refs.Cell) else wire for wire in into]
        out = self._gate(eqn, given, box, stack, refs.Stateful(eqn, cells, changed))
        if changed:
            for i, wire in zip(cells, out[len(eqn.outvars) :], strict=True):
                into[i].now = wire
        return out[: len(eqn.outvars)]

    def _gate(
        self, eqn: JaxprEqn, into: list[Wire], box: Box | None, stack: list, operation: Equation | None = None
    ) -> list[Wire]:
        rule = eqn.primitive.name in jaxprs.RULES
        opaque = bool(jaxprs.inner_jaxprs(eqn)) and not rule
        name = call_name(eqn) if jaxprs.body_of(eqn) else eqn.primitive.name
        kind = "rule" if rule else "opaque" if opaque else "primitive"
        source = f"{stack[-1].file}:{stack[-1].line}" if stack else ""
        gate = self.gate(name, kind, operation or Equation(eqn), into, box, source)
        gate.settings = eqn.params if not rule and not opaque else {}
        gate.defined = defined(eqn)[1] if rule else ""
        if opaque and eqn.primitive.name == "scan":
            gate.note = f"{jaxprs.scan_of(eqn).length} steps, more than unroll={self.unroll}"
        return list(gate.outputs)

    def gate(
        self, name: str, kind: str, operation: Operation, into: Sequence[Wire], box: Box | None, source: str = ""
    ) -> Gate:
        gate = Gate(len(self.gates), name, kind, tuple(into), operation, source=source, box=box)
        self.gates.append(gate)
        gate.edges = tuple(Edge(wire, gate, slot) for slot, wire in enumerate(into))
        for edge in gate.edges:
            edge.wire.edges.append(edge)
        values = operation.forward(*(wire.value for wire in into))
        gate.outputs = tuple(self.wire(name, "value", value, gate, named=False) for value in values)
        if any(wire in self.active for wire in into):
            self.active.update(wire for wire in gate.outputs if is_inexact(wire.value))
        return gate

    def _cond(self, eqn: JaxprEqn, into: list[Wire], box: Box | None, depth: int) -> list[Wire]:
        branches = jaxprs.branches_of(eqn)
        taken = int(np.clip(int(into[0].value), 0, len(branches) - 1))
        inner = self.box("cond", "cond", box, f"branch {taken} of 0 to {len(branches) - 1}, chosen by {into[0].name}")
        return self.program(*branches[taken], into[1:], inner, depth)

    def _scan(self, loop: jaxprs.Loop, into: list[Wire], box: Box | None, depth: int) -> list[Wire]:
        outer = self.box("scan", "scan", box, f"{loop.length} steps{', from the last' * loop.reverse}")
        constants, carry = into[: loop.constants], into[loop.constants : loop.constants + loop.carried]
        sliced = into[loop.constants + loop.carried :]
        slices = [self._slices(wire, loop.length, outer) for wire in sliced]
        results: list[list[Wire]] = [[] for _ in loop.body.outvars[loop.carried :]]
        order = range(loop.length)[::-1] if loop.reverse else range(loop.length)
        for i in order:
            step = self.box(f"step {i}", "step", outer)
            out = self.program(loop.body, loop.consts, [*constants, *carry, *(s[i] for s in slices)], step, depth)
            carry = out[: loop.carried]
            for result, wire in zip(results, out[loop.carried :], strict=True):
                result.append(wire)
        ordered = [result[::-1] if loop.reverse else result for result in results]
        empty = loop.body.outvars[loop.carried :]
        return [*carry, *(self._stacked(ws, var, outer) for ws, var in zip(ordered, empty, strict=True))]

    def _slices(self, wire: Wire, length: int, box: Box) -> tuple[Wire, ...]:
        if length == 0:
            return ()
        gate = self.gate("slices", "wiring", Unstack(length), [wire], box)
        for i, out in enumerate(gate.outputs):
            out.name, out.named = self.names.new(f"{wire.name}[{i}]"), True
        return gate.outputs

    def _stacked(self, steps: list[Wire], var: Any, box: Box) -> Wire:
        if not steps:
            return self.wire("empty", "constant", jnp.zeros((0, *var.aval.shape), var.aval.dtype))
        return self.gate("stack", "wiring", Stack(), steps, box).outputs[0]

    def _while(self, eqn: JaxprEqn, into: list[Wire], box: Box | None, depth: int) -> list[Wire] | None:
        """The loop unrolled as often as it runs; None where that is more than `unroll` times."""
        loop = jaxprs.while_of(eqn)
        goes_on = jax.jit(lambda a: evaluate_stripped(*loop.condition, a, HANDWRITTEN_BACKWARD)[0])
        advance = jax.jit(lambda a: evaluate_stripped(*loop.body, a, HANDWRITTEN_BACKWARD))
        tested, constants, state = loop.split(into)
        cond_constants = [w.value for w in tested]
        values, steps = [w.value for w in state], 0
        while goes_on([*cond_constants, *values]):
            values, steps = advance([*(w.value for w in constants), *values]), steps + 1
            if steps > self.unroll:
                return None
        outer = self.box("while", "while", box, f"{steps} steps")
        for i in range(steps):
            state = self.program(*loop.body, [*constants, *state], self.box(f"step {i}", "step", outer), depth)
        return state
