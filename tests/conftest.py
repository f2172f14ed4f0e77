"""Fixtures that several folders of tests share."""

from pathlib import Path

import hypothesis
import jax
import pytest

# The first example of a property compiles; a deadline would fail on a busy machine.
hypothesis.settings.register_profile("compiles", deadline=None)
hypothesis.settings.load_profile("compiles")

# Two devices on any machine, so that what is sharded over a mesh is tested everywhere.
jax.config.update("jax_num_cpu_devices", 2)
# What a command keeps for the next one must not pass from test to test.
jax.config.update("jax_enable_compilation_cache", False)


@pytest.fixture(scope="session")
def shared_data() -> Path:
    """The folder of real data sets beside the checkout; tests that need it are skipped where it is absent."""
    folder = Path(__file__).resolve().parents[2] / "shared" / "data"
    if not folder.is_dir():
        pytest.skip(f"the real data sets are not at {folder}")
    return folder
