"""Was it worth it: what a hand-derived backward pass saves in time and memory beside autodiff of the same function."""

from .comparing import bench_rules as bench_rules
from .comparing import compare as compare
from .comparison import Comparison as Comparison
from .comparison import Row as Row
