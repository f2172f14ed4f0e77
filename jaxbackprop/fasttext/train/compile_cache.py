"""Compiled programs kept for the next process, and found there without being traced.

JAX asks its own cache by a program's text, and to make that text takes as long as to train on a small file: see
experiments/text_against_fasttext.py. Here a program goes by what it is made from: the package's code, shapes, settings,
versions, flags and the machine.
"""

import hashlib
import os
import pickle
import platform
import warnings
from functools import cache
from importlib.metadata import version
from pathlib import Path
from typing import Any

import jax
from jax.experimental.serialize_executable import deserialize_and_load, serialize
from jax.stages import Compiled

from ...jaxprs import compat
from ...training.private_folder import is_private

FOLDER = "jaxbackprop"
FOLDERS = ("core", "losses", "fasttext")  # of the package: whose code a program is made from
DIGEST = 32
UNUSED = "xla_gpu_redzone_padding_bytes"  # a program for a CPU is the same for any number here


def compiled(function: Any, *arguments: Any, **settings: Any) -> Compiled:
    """`function.lower(*arguments, **settings).compile()`, or what an earlier process kept of it.

    Programs for a CPU are kept where JAX keeps its own (`jax_compilation_cache_dir`), if that is a folder of this
    machine. What is read from there is run: like JAX's, the folder must be one's own.
    """
    folder = _folder()
    if folder is None:
        return function.lower(*arguments, **settings).compile()
    path = folder / _name(function, arguments, settings)
    program = _kept(path)
    if program is None:
        # JAX's cache must not answer: a program that was read from a file loses parts when it is written once more
        never_asked = {UNUSED: int.from_bytes(os.urandom(6))}
        program = function.lower(*arguments, **settings).compile(compiler_options=never_asked)
        _keep(path, program)
    return program


def _folder() -> Path | None:
    settings = compat.settings()
    where, used = settings["jax_compilation_cache_dir"], settings["jax_enable_compilation_cache"]
    usable = where and "://" not in where and used and jax.default_backend() == "cpu"
    return folder if usable and is_private(folder := Path(where) / FOLDER) else None


def _name(function: Any, arguments: Any, settings: Any) -> str:
    """The same for what compiles to the same, another for any other."""
    leaves, tree = jax.tree.flatten(arguments)
    shapes = [(x.shape, str(x.dtype)) for x in leaves]
    key = (function.__name__, str(tree), shapes, sorted(settings.items()), sorted(compat.settings().items()))
    return hashlib.blake2b(f"{key} {_here()}".encode(), digest_size=DIGEST).hexdigest()


@cache
def _here() -> str:
    """Code, versions, flags and machine, as they are in this process."""
    code = hashlib.blake2b()
    for folder in FOLDERS:
        for path in sorted((Path(__file__).parents[2] / folder).rglob("*.py")):
            code.update(path.read_bytes())
    device = jax.devices()[0]
    cpu = Path("/proc/cpuinfo")
    features = next((x for x in cpu.read_text().splitlines() if x.startswith("flags")), "") if cpu.exists() else ""
    return repr((
        code.hexdigest(), jax.__version__, version("jaxlib"), device.platform, device.device_kind, jax.device_count(),
        device.client.platform_version, os.environ.get("XLA_FLAGS"), platform.machine(), platform.node(), features,
    ))  # fmt: skip


def _kept(path: Path) -> Compiled | None:
    """The program in a file, or None where there is none, or only a part of one."""
    if not path.exists():
        return None
    content = path.read_bytes()
    if hashlib.blake2b(content[DIGEST:], digest_size=DIGEST).digest() != content[:DIGEST]:
        return None
    return deserialize_and_load(*pickle.loads(content[DIGEST:]), execution_devices=jax.devices()[:1])


def _keep(path: Path, program: Compiled) -> None:
    content = pickle.dumps(serialize(program))
    try:
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        unfinished = path.with_name(f"{path.name}.{os.urandom(4).hex()}")
        unfinished.write_bytes(hashlib.blake2b(content, digest_size=DIGEST).digest() + content)
        unfinished.replace(path)
    except OSError as error:  # a full disk, a folder without permission: the program is there all the same
        warnings.warn(f"{path.parent}: a compiled program could not be kept ({error}).", stacklevel=3)
