"""Compiling the kernels on the machine that runs them, once, and loading them."""

import hashlib
import os
import platform
import shutil
import subprocess
import sys
from functools import cache
from importlib.metadata import version
from pathlib import Path

import torch

from selectq.errors import UserError
from selectq.files import written_whole

FOLDER = Path(__file__).parent
CPU_INFO = Path("/proc/cpuinfo")

SWITCH = "SELECTQ_KERNELS"
"""The environment variable that says `off` where the plain modules are to compute everything."""

FLAGS = ("-O3", "-march=native", "-std=c++20", "-fopenmp", "-fPIC", "-shared", "-fno-math-errno", "-fno-trapping-math")


class KernelsUnavailableError(UserError):
    """The kernels are turned off, or cannot be compiled or loaded here; the message says why in a line."""


@cache
def load_kernels(source: str, *headers: str) -> None:
    """Make the operators in a source file of this folder callable, compiling it first where no earlier run has.

    `headers` are the files of this folder that it includes.

    Raises:
        KernelsUnavailableError: SELECTQ_KERNELS=off; or no C++ compiler ($CXX, else c++), it fails, or its result
            cannot be kept.
        UserError: SELECTQ_KERNELS is neither on nor off.
    """
    _heed_switch()
    library = cache_folder() / f"{Path(source).stem}-{_key([source, *headers])}.so"
    if not library.exists():
        _compile(FOLDER / source, library)
    try:
        torch.ops.load_library(str(library))
    except OSError as error:
        raise KernelsUnavailableError(f"{library}: {str(error).splitlines()[0]}") from None


def _heed_switch() -> None:
    chosen = os.environ.get(SWITCH) or "on"
    if chosen not in ("on", "off"):
        raise UserError(f"{SWITCH}: {chosen!r}; allowed: on, off")
    if chosen == "off":
        raise KernelsUnavailableError(f"{SWITCH}=off")


def cache_folder() -> Path:
    """Where compiled kernels are kept: `selectq` in XDG_CACHE_HOME, else in ~/.cache."""
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "selectq"


def _key(files: list[str]) -> str:
    """A hash of all that decides what is compiled: source, flags, torch, and this processor's instruction sets."""
    known = CPU_INFO.read_text(encoding="utf-8") if CPU_INFO.exists() else platform.processor()
    instructions = next((line for line in known.splitlines() if line.startswith(("flags", "Features"))), known)
    sources = [(FOLDER / file).read_text(encoding="utf-8") for file in files]
    parts = [*sources, *FLAGS, version("torch"), platform.machine(), instructions]
    return hashlib.sha256("\n".join(parts).encode()).hexdigest()[:16]


def _compile(source: Path, library: Path) -> None:
    compiler = os.environ.get("CXX") or "c++"
    if shutil.which(compiler) is None:
        raise KernelsUnavailableError(f"there is no C++ compiler {compiler!r}; install g++, or set CXX")
    torch_folder = Path(torch.__file__).parent
    include = torch_folder / "include"
    paths = [f"-I{include}", f"-I{include}/torch/csrc/api/include", f"-L{torch_folder}/lib"]
    abi = f"-D_GLIBCXX_USE_CXX11_ABI={int(torch.compiled_with_cxx11_abi())}"
    print(f"compiling {source.name} (once, a quarter of a minute) ...", file=sys.stderr, flush=True)
    try:
        with written_whole(library) as partial:
            command = [compiler, *FLAGS, abi, *paths, str(source), "-o", str(partial), "-lc10", "-ltorch_cpu"]
            done = subprocess.run(command, capture_output=True, text=True, check=False)
            if done.returncode:
                raise KernelsUnavailableError(f"{compiler} failed: {_first_error(done.stderr)}")
    except OSError as error:
        raise KernelsUnavailableError(f"{error.filename}: {error.strerror}; set XDG_CACHE_HOME") from None


def _first_error(text: str) -> str:
    lines = text.splitlines() or ["without a message"]
    return next((line for line in lines if "error" in line), lines[0])
