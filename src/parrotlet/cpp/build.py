"""Finds the compiler, compiles, and loads."""

from __future__ import annotations

import contextlib
import ctypes
import functools
import hashlib
import importlib.util
import os
import shlex
import shutil
import subprocess
import sys
import sysconfig
import threading
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path

from ..files import cache_folder, written_aside

FLAGS = ["-std=c++20", "-O3", "-march=native", "-pthread", "-shared", "-fPIC"]
SHARED = Path(__file__).with_name("lanes.h")
"""What the sources include."""
PACKAGE = Path(__file__).parents[1]
NO_COMPILER = "no C++ compiler found (install g++, or set CXX)"
TRAINING, GENERATION = PACKAGE / "model" / "kernels.cpp", PACKAGE / "engine" / "native.cpp"

_begun: dict[Path, Future[None]] = {}
_loading = threading.Lock()
"""Held while a library is compiled: two threads may ask for it at once."""


def compiler() -> list[str] | None:
    """The command of the C++ compiler: CXX, or the system's."""
    command = shlex.split(os.environ.get("CXX", "")) or ["clang++" if sys.platform == "darwin" else "g++"]
    return command if shutil.which(command[0]) else None


@functools.cache
def torch_lacks(device_type: str) -> str | None:
    """What torch's compiler does not find on this machine, and what to do; None: it finds all that it needs."""
    if device_type == "cuda":
        if importlib.util.find_spec("triton") is None:
            return "Triton is not installed"
        if not any(map(shutil.which, [os.environ["CC"]] if os.environ.get("CC") else ["gcc", "clang"])):
            return "no C compiler found (install gcc, or set CC to one program)"
    elif (found := compiler()) is None:
        return NO_COMPILER
    elif len(found) > 1:
        return f"torch takes one program as CXX, not {' '.join(found)}"
    if sys.platform == "linux" and not Path(sysconfig.get_path("include"), "Python.h").is_file():
        return "Python's headers are missing (install python3-dev, or python3-devel)"
    return None


def compile_ahead(source: Path) -> None:
    """Begin to compile what `library` will be asked for, in the background. What goes wrong is told there."""
    with contextlib.suppress(subprocess.CalledProcessError, OSError):
        if (found := compiler()) and not (path := _path(source, found)).exists() and path not in _begun:
            pool = ThreadPoolExecutor(1)
            _begun[path] = pool.submit(_compile, source, found, path)
            pool.shutdown(wait=False)


@functools.cache
def library(source: Path, without: str) -> ctypes.CDLL | None:
    """`source`, compiled for this machine. Where it can't be: None, and a notice what it is like `without`."""
    if (found := compiler()) is None:
        print(f"{NO_COMPILER}: {without}", file=sys.stderr)
        return None
    try:
        path = _path(source, found)
        with _loading:
            if begun := _begun.pop(path, None):
                begun.result()
            elif not path.exists():
                _compile(source, found, path)
        return ctypes.CDLL(str(path))
    except (subprocess.CalledProcessError, OSError) as error:
        print(f"{source.name} can't be compiled: {without} ({error})", file=sys.stderr)
        return None


def _path(source: Path, compiler: list[str]) -> Path:
    """Known by the source and by what the compiler defines: its version, and what the processor can do."""
    defined = subprocess.run([*compiler, *FLAGS, "-dM", "-E", "-xc++", os.devnull], stdout=subprocess.PIPE, check=True)
    known = source.read_bytes() + SHARED.read_bytes() + defined.stdout + " ".join(FLAGS).encode()
    return cache_folder() / "native" / f"{hashlib.sha256(known).hexdigest()[:16]}.so"


def _compile(source: Path, compiler: list[str], path: Path) -> None:
    print(f"compiling {source.parent.name}/{source.name} for this machine, once: a few seconds", file=sys.stderr)
    with written_aside(path) as aside:
        subprocess.run([*compiler, *FLAGS, str(source), "-o", str(aside)], check=True)
