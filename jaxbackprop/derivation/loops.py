"""A loop as two scans: forward step by step, backward from the last step on; what need not wait stays outside.

The products that give a weight's gradient are sums over time, too: they stand behind the loop, as one product.
"""

from collections.abc import Iterable, Sequence
from dataclasses import replace

from .index_notation import DELTA, Expression, Factor, Index, delta_of, expression
from .numeric import is_delta, last_of
from .quantities import LITERAL_KINDS, CannotDerive, Program, Quantity
from .reverse_mode import Lines
from .writer import WIDTH, Writer


def at_one_step(program: Program) -> Program:
    """The program as one step of its loop sees it: no quantity has an index of time."""
    step = replace(program, quantities={})
    cycle = {*program.in_cycle()}
    for key, q in program.quantities.items():
        changed = replace(q, indices=_without(q.indices, program), over=_without(q.over, program))
        if has_time(q, program):
            changed.axes = tuple(i for i in q.axes if i is not None and i.axis not in program.loop_axes)
        if key in cycle:
            changed.definition = None if q.definition is None else without_time(q.definition, program)
            changed.otherwise = None if q.otherwise is None else without_time(q.otherwise, program)
            changed.selector = None if q.selector is None else _factor_without(q.selector, program)
        step.quantities[key] = changed
    return step


def has_time(q: Quantity, program: Program) -> bool:
    """Whether a quantity is another one in each step."""
    return any(i.axis in program.loop_axes for i in q.indices)


def _without(indices: Iterable[Index], program: Program) -> tuple[Index, ...]:
    return tuple(i for i in indices if i.axis not in program.loop_axes)


def _factor_without(f: Factor, program: Program) -> Factor:
    return Factor(f.key, _without(f.indices, program))


def without_time(e: Expression, program: Program) -> Expression:
    """An expression of quantities in one step."""
    if any(i.axis in program.loop_axes for product in e.terms for i in product.bound):
        raise CannotDerive("derive: a loop that sums over its steps inside a step has no derivation.")
    return expression(
        (b, [(_factor_without(f, program), p) for f, p in powers], c) for (b, powers), c in e.terms.items()
    )


# Forward.


def forward_loop(writer: Writer, cycle: Sequence[str], wanted: set[str]) -> list[str]:
    """The scan that computes the quantities of the cycle.

    Args:
        writer: writes what stands outside of the loop.
        cycle: keys of what is computed step by step, in order.
        wanted: keys of what is needed outside of the loop.
    """
    program = writer.program
    previous = program.previous
    read = {k for key in cycle for k in program[key].parents} - {*cycle}
    slices = [q for q in _in_order(program, read) if has_time(q, program) and q.kind != "previous"]
    carried = {q.recurrence.key for q in previous if q.recurrence}
    kept = [program[k] for k in cycle if k in wanted or k in carried]
    step = _step_writer(writer, [*previous, *slices])
    body = [line for key in cycle for line in step.lines(step.program[key])]
    after = [_carried(step, q) for q in previous]
    start = [writer.written(q.definition or Expression({}), q.indices[1:]) for q in previous]
    xs = [_along_time(writer, q) for q in slices]
    names = [q.name for q in kept]
    text = _step([q.name for q in previous], [q.name for q in slices], body, after, names)
    text += _scan(writer, "_", names, start, xs)
    for q in kept:
        writer.known[q.name] = q.indices
    return text


def previous_line(writer: Writer, q: Quantity) -> str:
    """The carried values before each step, from those after it."""
    assert q.recurrence is not None
    after = writer.laid_out(writer.factor(q.recurrence), q.indices)
    start = writer.written(q.definition or Expression({}), q.indices[1:])
    writer.known[q.name] = q.indices
    return f"{q.name} = jnp.concatenate([{start}[None], {after}[:-1]])"


def last_line(writer: Writer, q: Quantity) -> str:
    """The carried value behind the last step."""
    assert q.recurrence is not None
    t = next(i for i in q.recurrence.indices if i not in q.indices)
    writer.known[q.name] = q.indices
    return f"{q.name} = {writer.laid_out(writer.factor(q.recurrence), (t, *q.indices))}[-1]"


def _carried(step: Writer, q: Quantity) -> str:
    """The carried value behind a step, its axes those of the one before it."""
    assert q.recurrence is not None
    return step.laid_out(step.factor(_factor_without(q.recurrence, step.program)), _without(q.indices, step.program))


def _along_time(writer: Writer, q: Quantity) -> str:
    """An array with time in front."""
    axes = [i for i in (q.axes or q.indices) if i is not None]
    time = [i for i in axes if i.axis in writer.program.loop_axes]
    return writer.laid_out(writer.factor(q.factor), [*time, *(i for i in axes if i not in time)])


def _step_writer(writer: Writer, sliced: Sequence[Quantity]) -> Writer:
    program = at_one_step(writer.program)
    known = {
        name: axes for name, axes in writer.known.items() if not any(i and i.axis in program.loop_axes for i in axes)
    }
    known |= {q.name: program[q.key].axes or program[q.key].indices for q in sliced}
    return Writer(program, writer.letters, known, writer.shapes_of)


def _step(carry: list[str], slices: list[str], body: list[str], carried: list[str], kept: list[str]) -> list[str]:
    """The function of one step."""
    head = [carry[0] if len(carry) == 1 else "carry", slices[0] if len(slices) == 1 else "at_this_step"]
    lines = ["", f"def step({', '.join(head)}):"]
    if len(carry) > 1:
        lines.append(f"    {', '.join(carry)} = carry")
    if len(slices) > 1:
        lines.append(f"    {', '.join(slices)} = at_this_step")
    return [*lines, *(f"    {line}" for line in body), f"    return {_group(carried)}, {_group(kept)}", ""]


def _scan(
    writer: Writer, carried: str, kept: list[str], start: list[str], xs: list[str], option: str = ""
) -> list[str]:
    """The call of the loop, its arguments on a line of their own where it is long."""
    option += "" if xs else f", length={writer.size(writer.program.loop_axes[0])}"
    left, arguments = f"{carried}, {_group(kept) if kept else '_'}", f"step, {_group(start)}, {_group(xs)}{option}"
    if len(left) + len(arguments) < WIDTH - 20:
        return [f"{left} = jax.lax.scan({arguments})"]
    return [f"{left} = jax.lax.scan(", f"    {arguments}", ")"]


def _group(names: list[str]) -> str:
    return names[0] if len(names) == 1 else f"({', '.join(names)})" if names else "None"


def _in_order(program: Program, keys: Iterable[str]) -> list[Quantity]:
    return [program[k] for k in program.quantities if k in {*keys} and program[k].kind not in LITERAL_KINDS]


# Backward.


def split(program: Program, lines: Lines) -> tuple[list[str], list[str], list[str]]:
    """The lines before, in and behind the backward loop."""
    arriving = {q.key for q in program.quantities.values() if q.kind == "next"}
    if not arriving:
        return list(lines), [], []
    waits: dict[str, bool] = {}
    for key, line in lines.items():
        waits[key] = any(k in arriving or (is_delta(k) and waits[k[len(DELTA) :]]) for k in line.expression.keys)
    needed: set[str] = set()
    waiting = [q.key for q in program.previous if q.key in lines]
    waiting += [q.key for q in program.quantities.values() if q.kind == "last" and q.key in lines]
    while waiting:
        key = waiting.pop()
        if key not in needed:
            needed.add(key)
            waiting += [k[len(DELTA) :] for k in lines[key].expression.keys if is_delta(k)]
    for q in program.previous:
        if not waits.get(q.key):
            raise CannotDerive(f"derive: {q.name} does not reach the next step's value, which has no derivation.")
    inside = [k for k in lines if k in needed and waits[k]]
    return [k for k in lines if k in needed and not waits[k]], inside, [k for k in lines if k not in needed]


def backward_loop(writer: Writer, lines: Lines, inside: Sequence[str], behind: Sequence[str]) -> list[str]:
    """The reversed scan that computes the deltas of the loop.

    Args:
        writer: writes what stands outside of the loop.
        lines: all deltas.
        inside: keys of those in the loop, in order.
        behind: keys of those that are computed afterwards.
    """
    program = writer.program
    previous = program.previous
    arriving = [_companion(program, p, "next") for p in previous]
    first = [_companion(program, p, "first") for p in previous]
    read = {k for key in inside for k in lines[key].expression.keys}
    read |= {q.selector.key for q in _in_order(program, read) if q.kind == "one-hot" and q.selector}
    sliced = [q for q in _in_order(program, read) if has_time(q, program) and q.kind not in ("next", "one-hot")]
    deltas = [k for k in lines if delta_of(k) in read and k not in inside]

    step = _step_writer(writer, [*arriving, *sliced])
    xs, slices = [_along_time(writer, q) for q in sliced], [q.name for q in sliced]
    for key in deltas:
        q, name = program[key], program.delta_name(key)
        step.known[name] = _without(q.indices, program)
        if has_time(q, program):
            time = [i for i in q.indices if i.axis in program.loop_axes]
            piece = writer.factor(Factor(delta_of(key), q.indices))
            xs.append(writer.laid_out(piece, [*time, *_without(q.indices, program)]))
            slices.append(name)
    body = []
    for key in inside:
        q, name = step.program[key], program.delta_name(key)
        e = without_time(lines[key].expression, program)
        body.append(f"{name} = {step.written(e, q.indices)}")
        step.known[name] = q.indices
    kept = [k for k in inside if delta_of(k) in {d for key in behind for d in lines[key].expression.keys}]
    ends = [_end(writer, p, lines) for p in previous]
    names = [program.delta_name(k) for k in kept]
    carried = [program.delta_name(p.key) for p in previous]
    text = _step([q.name for q in arriving], slices, body, carried, names)
    text += _scan(writer, _group([q.name for q in first]), names, ends, xs, ", reverse=True")
    for key, name in zip(kept, names):
        writer.known[name] = program[key].indices
    for q in first:
        writer.known[q.name] = q.indices
    return text


def _companion(program: Program, previous: Quantity, kind: str) -> Quantity:
    """The delta that comes from the next step, or that of the first one."""
    found = (q for q in program.quantities.values() if q.kind == kind and q.recurrence)
    return next(q for q in found if q.recurrence and q.recurrence.key == previous.key)


def _end(writer: Writer, previous: Quantity, lines: Lines) -> str:
    """What arrives at a carried value behind the last step."""
    end = last_of(writer.program, previous)
    if end is None or end.key not in lines:
        return f"jnp.zeros({writer.shape(previous.indices[1:])}, {writer.dtype()})"
    assert end.recurrence is not None
    assert previous.recurrence is not None
    names = dict(zip(end.recurrence.indices, previous.recurrence.indices, strict=True))
    factor = Factor(delta_of(end.key), tuple(names[i] for i in end.indices))
    piece = writer.factor(factor)
    code = writer.laid_out(piece, previous.indices[1:])
    missing = set(previous.indices[1:]) - set(piece.axes)
    return f"jnp.broadcast_to({code}, {writer.shape(previous.indices[1:])})" if missing else code
