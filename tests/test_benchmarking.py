"""benchmark(): what can be known exactly of it. No test here asks how long anything takes."""

import gc
import json
import math
from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxbackprop.benchmarking import Benchmark, Row, bench_rules, benchmark
from jaxbackprop.benchmarking.benchmark import plain_function
from jaxbackprop.benchmarking.results import AUTODIFF, BY_HAND, in_bytes, in_seconds
from jaxbackprop.benchmarking.timing import interleaved, interval_of_median, ratio, spread
from jaxbackprop.benchmarking.workload import Contender, Workload, temporary_bytes
from jaxbackprop.cli import main
from jaxbackprop.gates import gather, mul
from jaxbackprop.gates.relu_like import relu
from jaxbackprop.layers import affine
from jaxbackprop.losses.fused_cross_entropy import linear_cross_entropy

quick = partial(benchmark, rounds=2)


def noisy(mean: float, seed: int, width: float = 0.01, rounds: int = 31) -> np.ndarray:
    return mean * np.exp(np.random.default_rng(seed).normal(scale=width, size=rounds))


def test_a_difference_well_beyond_the_noise_is_seen():
    found = ratio(noisy(0.8, 0), noisy(1.0, 1), noisy(0.8, 2))
    assert not found.within_noise
    assert found.low < found.median < found.high < 0.85
    assert found.low > 0.75


def test_equal_programs_are_within_noise():
    assert ratio(noisy(1.0, 0), noisy(1.0, 1), noisy(1.0, 2)).within_noise


def test_a_difference_below_that_of_two_copies_of_one_program_is_noise():
    """The interval of 0.97 excludes 1, but the copy is 5 % apart from itself."""
    mine, other = np.full(31, 0.97), np.full(31, 1.0)
    assert ratio(mine, other, 1.05 * mine).within_noise
    assert not ratio(mine, other, 1.01 * mine).within_noise


def test_a_drift_that_hits_both_programs_alike_does_not_hide_a_difference():
    """The machine becomes ten times slower: the times spread over a decade, the ratios within a round do not."""
    drift = np.geomspace(1, 10, 31)
    found = ratio(0.9 * drift, drift, 0.9 * drift)
    assert spread(drift) > 1
    assert found.median == pytest.approx(0.9)
    assert not found.within_noise


def test_the_interval_of_a_constant_is_that_constant_and_an_outlier_does_not_move_the_median():
    assert interval_of_median(np.full(9, 2.0)) == (2, 2, 2)
    assert interval_of_median(np.array([1.0] * 20 + [1e9]))[:2] == (1, 1)


def test_every_program_runs_in_every_round():
    called: list[str] = []
    programs = [lambda name=name: called.append(name) for name in "abc"]
    times = interleaved(programs, seconds=0, rounds=4)
    assert times.shape == (4, 3)
    assert (times > 0).all()
    assert set(called) == set("abc")
    assert gc.isenabled()


def residual_bytes(function, *args) -> int:
    return Workload(function, args).residual_bytes(Contender("f", function))


def test_residual_bytes_are_what_is_saved_beside_the_arguments():
    x, W = jnp.ones((8, 5)), jnp.ones((5, 3))
    assert residual_bytes(affine, x, W, jnp.ones(3)) == 0  # x and W are arguments
    assert residual_bytes(relu, x) == 40  # one byte a number
    assert residual_bytes(lambda x: jnp.sin(x), x) == 160  # cos x, four bytes a number
    assert residual_bytes(lambda x: jnp.exp(x), x) == 160
    assert residual_bytes(linear_cross_entropy, x, W, jnp.zeros(8, jnp.int32)) == 2 * 8 * 4


def test_the_upstream_gradient_is_not_the_users_own_random_numbers():
    """Whoever draws x from seed 0 would have a norm's gradient of 0 at an upstream gradient from seed 0."""
    drawn = np.random.default_rng(0).standard_normal((8, 5))
    (upstream,) = Workload(relu, (jnp.asarray(drawn),)).upstream
    assert abs(np.corrcoef(drawn.ravel(), np.asarray(upstream).ravel())[0, 1]) < 0.5


def test_temporary_memory_is_the_compiled_programs():
    """The hidden layer of x W V, 64 x 1000 floats, is neither input nor output: it must be somewhere."""
    args = jnp.ones((64, 4)), jnp.ones((4, 1000)), jnp.ones((1000, 2))

    def two_products(x, W, V):
        return (x @ W) @ V

    workload = Workload(two_products, args)
    program = workload.compile(Contender("two", two_products))
    assert temporary_bytes(program) == program.memory_analysis().temp_size_in_bytes
    assert 64 * 1000 * 4 <= temporary_bytes(program) <= 3 * 64 * 1000 * 4


def test_a_rule_that_never_stores_its_scores_shows_it():
    rng = np.random.default_rng(0)
    x, W = jnp.asarray(rng.normal(size=(64, 8)), jnp.float32), jnp.asarray(rng.normal(size=(8, 4000)), jnp.float32)
    found = quick(partial(linear_cross_entropy, at_once=64 * 200), x, W, jnp.arange(64))
    assert found.name == "linear_cross_entropy"
    assert found.memory_ratio < 0.25
    assert (found.row(AUTODIFF).residual_bytes or 0) >= 64 * 4000 * 4
    assert found.row(BY_HAND).residual_bytes == 2 * 64 * 4
    assert all((row.error or 0) < 1e-4 for row in found.rows if row.seconds)


def test_a_wrong_gradient_shows_in_the_error_column():
    """Twice the gradient is wrong by as much as the gradient is large."""
    twice = mul.with_backward(lambda saved, upstream: (2 * upstream * saved[1], upstream * saved[0]))
    found = quick(twice, jnp.array([1.0, -2.0, 3.0]), jnp.array([5.0, 7.0, 11.0]))
    assert found.row(BY_HAND).error == pytest.approx(1, abs=1e-6)
    assert "not those of the plain function" in found.row(BY_HAND).note
    assert "not those of the plain function" in str(found)
    assert not found.agrees
    assert (found.row(AUTODIFF).error or 0) < 1e-6
    assert found.row(AUTODIFF).note == ""


def test_a_nan_shows_in_the_error_column():
    poisoned = mul.with_backward(lambda saved, upstream: (upstream * jnp.nan, upstream * saved[0]))
    found = quick(poisoned, jnp.ones(3), jnp.ones(3))
    error = found.row(BY_HAND).error
    assert error is not None
    assert math.isnan(error)
    assert json.loads(found.to_json())["rows"][0]["error"] == "nan"
    assert "nan" in str(found)


def test_a_function_beside_its_reference_a_custom_vjp_and_a_rule_are_taken():
    def plain(x):
        return x**2

    @jax.custom_vjp
    def square(x):
        return x * x

    square.defvjp(lambda x: (x * x, x), lambda x, upstream: (2 * x * upstream,))
    assert plain_function(square)(3.0) == 9
    assert plain_function(mul) is mul.primal
    for made in (quick(square, 3.0), quick(lambda x: square(x), 3.0, reference=plain)):
        assert [r.name for r in made.rows][:2] == [BY_HAND, AUTODIFF]
        assert made.row(BY_HAND).error == pytest.approx(0, abs=1e-6)
    with pytest.raises(TypeError, match=r"neither a Rule nor a jax.custom_vjp.*\n.*reference=plain_function"):
        benchmark(plain, 3.0)


def test_static_arguments_stay_static():
    def power(x, n: int, how: str):
        return x**n if how == "up" else x ** (-n)

    found = quick(power, jnp.ones(3), 2, "up", reference=power)
    assert found.sizes == {"as given": "float32[3]"}


def test_others_can_run_along_and_must_answer_alike():
    x, y = jnp.ones(3), jnp.ones(3)

    def other(x, y):
        return y * x

    def unable(x, y):
        raise RuntimeError("no kernel here\nfor this device")

    assert quick(mul, x, y, against=other).row("other").time_ratio is not None
    assert quick(mul, x, y, against=[other]).row("other").residual_bytes == 0
    row = quick(mul, x, y, against={"not here": unable}).row("not here")
    assert (row.seconds, row.note) == (None, "RuntimeError: no kernel here")
    with pytest.raises(ValueError, match=r"total returns float32\[\], but the function compared float32\[3\]"):
        quick(mul, x, y, against={"total": lambda x, y: (x * y).sum()})
    with pytest.raises(ValueError, match="no argument is a floating-point array"):
        benchmark(lambda n: n, jnp.arange(3), reference=lambda n: n)


def two_sizes() -> Benchmark:
    rows = (
        Row(BY_HAND, "small", 1e-3, 0.1, temporary_bytes=100, residual_bytes=8, error=1e-7, ulps=0.5),
        Row(AUTODIFF, "small", 1e-3, 0.1, 1.0, (0.9, 1.1), True, 200, 0.5, 16, 1e-7, 0.5),
        Row(BY_HAND, "large", 2e-3, 0.1, temporary_bytes=1000, residual_bytes=80, error=1e-7, ulps=0.5),
        Row(AUTODIFF, "large", 4e-3, 0.1, 0.5, (0.45, 0.55), False, 4000, 0.25, 160, 1e-7, 0.5),
    )
    return Benchmark("loss", rows, {"small": "float32[3]", "large": "float32[30]"}, {"JAX": "0"})


def test_the_ratios_are_those_of_the_last_size():
    found = two_sizes()
    assert (found.time_ratio, found.memory_ratio, found.within_noise) == (0.5, 0.25, False)
    assert found.row(AUTODIFF, "small").within_noise
    with pytest.raises(KeyError, match="no row 'torch'; there are 'by hand' at 'small'"):
        found.row("torch")


def test_the_table_is_written_out():
    assert str(two_sizes()) == (
        "loss: forward and backward pass (JAX 0)\n"
        "\n"
        "small: float32[3]\n"
        "  contender  time  spread             by hand / this  temporary  residuals    error  ulp, one sign\n"
        "  by hand    1 ms    10 %                                 100 B        8 B  1.0e-07            0.5\n"
        "  autodiff   1 ms    10 %  1.00 (0.90 to 1.10) noise      200 B       16 B  1.0e-07            0.5\n"
        "\n"
        "large: float32[30]\n"
        "  contender  time  spread             by hand / this  temporary  residuals    error  ulp, one sign\n"
        "  by hand    2 ms    10 %                                  1 kB       80 B  1.0e-07            0.5\n"
        "  autodiff   4 ms    10 %  0.50 (0.45 to 0.55)             4 kB      160 B  1.0e-07            0.5"
    )


def test_json_says_all_that_the_comparison_says():
    said = json.loads(two_sizes().to_json())
    assert said["name"] == "loss"
    assert said["rows"][3]["time_interval"] == [0.45, 0.55]
    assert said["sizes"]["large"] == "float32[30]"


def test_the_plot_is_an_image(tmp_path):
    two_sizes().plot(str(tmp_path / "loss.png"))
    assert (tmp_path / "loss.png").read_bytes().startswith(b"\x89PNG")


def test_times_and_sizes_have_units():
    assert [in_seconds(s) for s in (2.5, 0.0025, 2.5e-6, 2.5e-9)] == ["2.5 s", "2.5 ms", "2.5 us", "0.0025 us"]
    assert [in_bytes(n) for n in (None, 12, 12_300, 4_560_000, 7_890_000_000)] == [
        "-",
        "12 B",
        "12.3 kB",
        "4.56 MB",
        "7.89 GB",
    ]


def test_the_librarys_rules_are_compared_by_name():
    (found,) = bench_rules(["mul"], quick=True)
    assert found.name == "mul"
    assert found.agrees
    assert list(found.sizes) == ["64 x 16"]
    with pytest.raises(ValueError, match="no rule 'mull'; there is mul"):
        bench_rules(["mull"])


def test_the_command_prints_a_table_or_json_and_refuses_unknown_names(capsys):
    with pytest.raises(SystemExit, match="0"):
        main(["bench", "neg", "--quick"])
    assert "neg: forward and backward pass" in capsys.readouterr().out
    with pytest.raises(SystemExit, match="0"):
        main(["bench", "neg", "--quick", "--json"])
    (said,) = json.loads(capsys.readouterr().out)
    assert said["rows"][0]["name"] == "by hand"
    with pytest.raises(SystemExit, match="2"):
        main(["bench", "negg"])
    assert "no rule 'negg'" in capsys.readouterr().err


def test_gradients_into_references_are_the_same_gradients():
    found = quick(affine, jnp.ones((4, 3)), jnp.ones((3, 2)), jnp.ones(2))
    row = found.row("autodiff into refs")
    assert row.seconds is None or (row.error or 0) < 1e-6
    assert (row.seconds is None) == bool(row.note)


def test_what_long_sums_lose_stands_beside_time_and_memory():
    """A row looked up 4,000 times: autodiff stops adding in bfloat16 at 256, the rule rounds once."""
    ids = jnp.arange(4096) % 4096 // 4000
    found = benchmark(gather, jnp.zeros((2, 3), jnp.bfloat16), ids, rounds=2)
    assert (found.row(BY_HAND).ulps or 0) <= 0.5
    assert (found.row(AUTODIFF).ulps or 0) > 64
    assert "ulp, one sign" in str(found)
