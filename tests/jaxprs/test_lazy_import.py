"""A module loaded late is the module itself, and importing the library does not load it."""

import math
import subprocess
import sys

import pytest

from jaxbackprop.jaxprs.lazy_import import lazy_import, mpmath


def test_a_module_loaded_late_is_the_module():
    assert float(mpmath.sin(1)) == pytest.approx(math.sin(1))
    assert lazy_import("math") is math


def test_a_missing_module_is_missed_at_once():
    with pytest.raises(ModuleNotFoundError, match="no_such_module"):
        lazy_import("no_such_module")


def test_importing_the_library_does_not_load_them():
    program = "import jaxbackprop, sys; print([m for m in sys.modules if m.startswith(('mpmath.', 'scipy.'))])"
    said = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True).stdout
    assert said.strip() == "[]"
