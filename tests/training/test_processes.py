"""Two processes of one machine: the losses of one, and errors that both of them see."""

import json
import os
import socket
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from flax import nnx

from jaxbackprop.models import MLP
from jaxbackprop.training import fit

PROGRAM = """
import json, sys
import jax
jax.config.update("jax_num_cpu_devices", 1)
jax.distributed.initialize(sys.argv[2], 2, int(sys.argv[1]))
import numpy as np
from flax import nnx
from jaxbackprop.models import MLP
from jaxbackprop.training import fit
X, Y = np.eye(8, dtype=np.float32), np.arange(8) % 3
def run(shift=0, **settings):
    return fit(MLP(8, [], 3, rngs=nnx.Rngs(0)), (X, (Y + shift) % 3), batch=4, out=sys.argv[3], **settings)
found = {"losses": [epoch.loss for epoch in run(epochs=2).epochs]}
for name, again in (("occupied", run), ("other data", lambda: run(int(sys.argv[1]), epochs=3, resume=True))):
    try:
        again()
    except Exception as error:
        found[name] = f"{type(error).__name__}: {error}"
print(json.dumps(found))
"""


def test_two_processes_train_as_one_and_fail_as_one(tmp_path: Path):
    with socket.socket() as free:
        free.bind(("localhost", 0))
        address = f"localhost:{free.getsockname()[1]}"
    processes = [
        subprocess.Popen(
            [sys.executable, "-c", PROGRAM, str(number), address, str(tmp_path / "run")],
            stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=os.environ | {"JAX_PLATFORMS": "cpu"},
        )
        for number in (0, 1)
    ]  # fmt: skip
    texts = [process.communicate(timeout=300) for process in processes]
    assert [process.returncode for process in processes] == [0, 0], texts
    first, second = (json.loads(out.splitlines()[-1]) for out, _ in texts)
    data = np.eye(8, dtype=np.float32), np.arange(8) % 3
    alone = fit(MLP(8, [], 3, rngs=nnx.Rngs(0)), data, batch=4, epochs=2)
    for found in (first, second):
        assert found["losses"] == pytest.approx([epoch.loss for epoch in alone.epochs], rel=1e-5)
        assert "the data differ between the processes" in found["other data"]
    assert first["occupied"].startswith("DataError")
    assert "the first process ended with DataError" in second["occupied"]
    resumed = fit(MLP(8, [], 3, rngs=nnx.Rngs(0)), data, batch=4, epochs=3, out=tmp_path / "run", resume=True)
    assert [epoch.loss for epoch in resumed.epochs[:2]] == first["losses"]
