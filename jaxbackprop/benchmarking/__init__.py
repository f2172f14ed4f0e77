"""Was it worth it: what a hand-derived backward pass saves in time and memory beside autodiff of the same function."""

from .benchmark import bench_rules as bench_rules
from .benchmark import benchmark as benchmark
from .results import Benchmark as Benchmark
from .results import Row as Row
