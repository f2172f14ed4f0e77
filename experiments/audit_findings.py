"""What was found out about the rules that `audit_in_the_open` does not call right, by the place where they are defined.

Each was looked into without this project: against closed forms in mpmath, by algebra, by differences in float64, or by
calling the library alone. Faults are written up in results/faults.
"""

FAULTS = {
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
