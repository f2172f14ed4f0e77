"""Fixtures that several folders of tests share."""

import gc
import os
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import hypothesis
import jax
import pytest

from jaxbackprop.cli import main

# The first example of a property compiles; a deadline would fail on a busy machine.
hypothesis.settings.register_profile("compiles", deadline=None)
hypothesis.settings.load_profile("compiles")

# Nearly all the time of a test is XLA's, compiling what then runs for a moment: with little optimisation it takes less
# than half. XLA reads this once, before it compiles anything; what the environment says comes last and has its way.
LITTLE_OPTIMISATION = [
    "--xla_backend_optimization_level=0",
    "--xla_llvm_disable_expensive_passes=true",
    "--xla_cpu_parallel_codegen_split_count=1",
    *(["--xla_cpu_use_fusion_emitters=false"] if jax.__version_info__ < (0, 11) else []),  # a flag XLA has no more
]
os.environ["XLA_FLAGS"] = " ".join([*LITTLE_OPTIMISATION, os.environ.get("XLA_FLAGS", "")]).strip()

# Two devices on any machine, so that what is sharded over a mesh is tested everywhere.
jax.config.update("jax_num_cpu_devices", 2)

# A program that was compiled once in this process is not compiled again.
COMPILED = tempfile.TemporaryDirectory(prefix="jaxbackprop-tests-")
jax.config.update("jax_compilation_cache_dir", COMPILED.name)
jax.config.update("jax_persistent_cache_min_compile_time_secs", 0.0)
jax.config.update("jax_persistent_cache_min_entry_size_bytes", -1)
jax.jit(lambda: 0).lower().compile()  # JAX looks once whether it has a cache
# Ours goes by the package's files: what a test puts in their place must not be passed over.
jax.config.update("jax_enable_compilation_cache", False)

STATM = Path("/proc/self/statm")
MOST_PAGES = os.sysconf("SC_PHYS_PAGES") // 4
"""The memory of a process, in pages, from which its compiled programs are dropped after a file of tests: a quarter of
the machine's. They are traced and compiled again where the next file needs them.
"""


@pytest.fixture(scope="module", autouse=True)
def bounded_memory() -> Iterator[None]:
    """JAX keeps compiled programs; those of thousands of tests would fill the memory."""
    yield
    if STATM.exists() and int(STATM.read_text().split()[1]) > MOST_PAGES:
        gc.unfreeze()
        jax.clear_caches()
    gc.collect()
    gc.freeze()  # JAX's search for what holds a leaked tracer looks at all objects that are not


@pytest.fixture(scope="session")
def shared_data() -> Path:
    """The folder of real data sets beside the checkout; tests that need it are skipped where it is absent."""
    folder = Path(__file__).resolve().parents[2] / "shared" / "data"
    if not folder.is_dir():
        pytest.skip(f"the real data sets are not at {folder}")
    return folder


@pytest.fixture
def run(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Callable[..., Any]:
    """Run a command line in an empty folder: (exit status, stdout, stderr)."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("XLA_FLAGS", os.environ.get("XLA_FLAGS", ""))  # what a command tells JAX ends with the test
    monkeypatch.setenv("JAX_COMPILATION_CACHE_DIR", COMPILED.name)

    def run(*arguments: str) -> tuple[int, str, str]:
        with pytest.raises(SystemExit) as ended:
            main(list(arguments))
        said = capsys.readouterr()
        return int(ended.value.code or 0), said.out, said.err

    return run
