"""`train`: a command for each kind of classifier."""

from . import mlp as mlp
from . import text as text
