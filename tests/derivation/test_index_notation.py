"""The normal form: equal expressions are equal objects."""

from fractions import Fraction

from jaxbackprop.derivation.index_notation import Factor, expression, fresh, new_index, number, quantity

n, i, j = (new_index(axis, 3) for axis in (1, 2, 3))
x, W, b = Factor("0", (n, i)), Factor("1", (i, j)), Factor("2", (j,))


def test_products_commute_and_like_terms_are_collected():
    assert quantity(x) * quantity(W) == quantity(W) * quantity(x)
    assert quantity(b) + quantity(b) == number(2) * quantity(b)
    assert not quantity(b) - quantity(b)


def test_the_name_of_a_bound_index_does_not_matter():
    k = fresh(i)
    one = (quantity(x) * quantity(W)).summed([i])
    other = (quantity(x).renamed({i: k}) * quantity(W).renamed({i: k})).summed([k])
    assert one == other
    assert one.free == {n, j}


def test_two_sums_in_a_product_keep_their_own_indices():
    total = quantity(x).summed([i])
    squared = total * total
    ((product, coefficient),) = squared.terms.items()
    assert coefficient == 1
    assert len(product.bound) == 2


def test_a_sum_over_nothing_is_the_size_of_the_axis():
    assert quantity(b).summed([i]) == quantity(b) * quantity(Factor("n2"))
    mean = quantity(b).summed([i]) * expression([((), [(Factor("n2"), Fraction(-1))], Fraction(1))])
    assert mean == quantity(b)


def test_powers_of_a_product():
    assert quantity(b).power(Fraction(1, 2)).power(Fraction(2)) == quantity(b)
    assert (number(2) * quantity(b)).power(Fraction(-1)) == number(Fraction(1, 2)) * quantity(b, -1)
