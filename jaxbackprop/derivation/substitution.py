"""A quantity replaced by an expression."""

from collections.abc import Iterable
from fractions import Fraction

from .index_notation import Expression, Factor, Index, Product, expression, opened


def substituted(
    e: Expression, key: str, indices: tuple[Index, ...], by: Expression, only: Product | None = None
) -> Expression | None:
    """`e` with a quantity replaced by an expression over `indices`; None where a power of a sum would be needed.

    Args:
        e: where it stands.
        key: the quantity.
        indices: of `by`.
        by: what it is.
        only: replace it in this term alone.
    """
    done: list[tuple[Iterable[Index], Iterable[tuple[Factor, Fraction]], Fraction]] = []
    waiting = list(e.terms.items())
    while waiting:
        product, c = waiting.pop()
        if only is not None and product != only:
            done.append((product.bound, product.powers, c))
            continue
        ((bound, powers), _), = opened(Expression({product: c}))  # fmt: skip
        found = next(((f, p) for f, p in powers if f.key == key), None)
        if found is None:
            done.append((bound, powers, c))
            continue
        factor, p = found
        rest = [(f, k) for f, k in powers if f != factor]
        new = by.renamed(dict(zip(indices, factor.indices, strict=True)))
        if p != 1:
            if not new.is_product or (p.denominator != 1 and next(iter(new.terms.values())) != 1):
                return None
            new = new.power(p)
        for (more, factors), d in opened(new):
            if any(f.key == key for f, _ in factors):
                return None
            term = expression([((*bound, *more), [*rest, *factors], c * d)])
            if only is None and any(f.key == key for f, _ in rest):
                waiting += term.terms.items()
            else:
                done += [(b, fs, k) for (b, fs), k in term.terms.items()]
    return expression(done)
