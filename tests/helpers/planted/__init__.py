"""Rules that are wrong on purpose, and rules that are right but odd: what a verifier is measured by."""

from .cases import Planted as Planted
from .cases import judge as judge
from .mutations import mutations as mutations
from .odd import odd as odd
from .written import written as written
