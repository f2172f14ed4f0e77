"""Work on further threads against the plain loop."""

import threading

import pytest

from jaxbackprop.data.parallel import in_parallel


@pytest.mark.parametrize("threads", [1, 2, 5])
def test_results_come_in_order_and_are_begun_before_they_are_asked_for(threads):
    begun = []

    def square(x: int) -> int:
        begun.append(threading.get_ident())
        return x * x

    results = in_parallel(square, iter(range(20)), threads=threads)
    assert next(results) == 0
    assert list(results) == [x * x for x in range(1, 20)]
    assert threading.get_ident() not in begun
    assert len(set(begun)) <= threads


def test_no_more_than_a_few_results_wait():
    asked = []
    results = in_parallel(lambda x: x, (asked.append(k) or k for k in range(100)), threads=2)
    next(results)
    assert len(asked) == 3


def test_an_error_comes_out_where_its_result_would():
    results = in_parallel(lambda x: 1 // x, [1, 0])
    assert next(results) == 1
    with pytest.raises(ZeroDivisionError):
        next(results)
