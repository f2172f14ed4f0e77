"""Backpropagation derived by hand, proved against autodiff, and put to work.

The public names, grouped by floor. What needs flax is loaded when first used, so that a rule is quick to import.
"""

from . import gates as gates
from . import layers as layers
from . import losses as losses
from .rule import Form as Form
from .rule import Rule as Rule
from .rule import Saving as Saving
from .rule import rule as rule
from .rule import rules as rules

__version__ = "0.1.0"
