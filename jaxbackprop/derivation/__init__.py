"""From a function to the derivation on paper and to a rule in code."""

from .derivation import Derivation as Derivation
from .derivation import derive as derive
from .quantities import CannotDerive as CannotDerive
