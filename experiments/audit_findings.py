"""What was found out about the rules that `audit_in_the_open` does not call right, by the place where they are defined.

Each was looked into without this project: against closed forms in mpmath, by algebra, by differences in float64, or by
calling the library alone. Faults are written up in results/faults.
"""

FAULTS = {
    "mujoco/mjx/_src/collision_sdf.py:91": "the gradient in the size of the cylinder is thrown away",
    "ott/math/utils.py:49": "with an axis, NaN at a row of zeros, where 0 is promised",
    "ott/math/utils.py:132": "the value becomes 0 instead of -inf once it is differentiated; with keepdims it raises",
    "ott/math/utils.py:189": "no gradient in the smoothing parameter gamma",
    "ott/math/utils.py:251": "the second derivative at 0 is NaN; it is -2",
    "numpyro/distributions/truncated.py:1216": "log_prob: d/dlow and d/dhigh are those of the density, not divided by "
    "it, and d/dhigh has the wrong sign unless alpha is -1",
    "numpyro/distributions/truncated.py:1337": "cdf at alpha = -1: d/dhigh has the wrong sign",
    "distrax/_src/utils/math.py:81": "power_no_nan at x = 0, y > 0: d/dy is NaN, the truth is 0 (jnp.power's answer)",
    "tokamax/_src/ops/op.py:249": "right once; a second derivative raises (its backward pass calls custom_vmap)",
}

MEANT = {
    "flax/linen/fp8_ops.py:305": "out_dq passes the gradient on unscaled and gives its scales none: one of three rules "
    "(in_q, quantized_dot, out_dq) that are right only together",
}

PROGRAMS = {
    "lineax.linear_solve(Cholesky)": "the matrix is tagged as positive semidefinite and only one of its triangles is "
    "read: the gradient is that along symmetric changes, as promised",
    "rlax.clip_gradient": "clips the gradient of x^2, as it should",
}
"""Programs whose gradient is not that of their value, though no rule in them is a fault."""

FALSE_ALARMS: dict[str, str] = {
    "equinox/internal/_primitive.py:212": "in LSMR alone, a false alarm: its value is computed from another input than "
    "its derivative, and the program's own gradient is right",
}
"""Right rules that are called wrong, until that is mended."""
