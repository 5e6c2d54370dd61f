"""Where tensors live and computation runs."""

import contextlib
import ctypes
import os
import sys
from collections.abc import Iterator

import torch

from selectq.errors import UserError

# glibc's mallopt parameters (malloc.h)
_M_TRIM_THRESHOLD, _M_MMAP_THRESHOLD, _M_MMAP_MAX = -1, -3, -4
_LARGEST, _NEVER = 2**31 - 1, -1

_MADV_HUGEPAGE = 14  # Linux's sys/mman.h
_SMALL_PAGE = 4096
_HEAPS = (2**33, 2**32, 2**31)  # bytes


def choose_device(deterministic: bool = True) -> torch.device:
    """The GPU if there is one, else the CPU; SELECTQ_DEVICE decides otherwise.

    With `deterministic` the same inputs give the same bits; without it, a GPU takes the fastest algorithms it finds.
    """
    _keep_freed_memory()
    os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")
    # What `use_deterministic_algorithms` does, but for loading torch's compiler, a second of each stage's start.
    torch.set_deterministic_debug_mode("error" if deterministic else "default")
    torch.utils.deterministic.fill_uninitialized_memory = False  # type: ignore[attr-defined]  # a third of a step
    torch.backends.cudnn.benchmark = not deterministic
    torch.backends.cudnn.allow_tf32 = False  # its 11 bits blur the integer codes; torch's default for convolutions
    name = os.environ.get("SELECTQ_DEVICE") or ("cuda" if torch.cuda.is_available() else "cpu")
    if name not in ("cpu", "cuda") or (name == "cuda" and not torch.cuda.is_available()):
        raise UserError(f"SELECTQ_DEVICE: {name!r} is not usable here; allowed: cpu, and cuda where there is a GPU")
    return torch.device(name)


@contextlib.contextmanager
def tensor_float32(allowed: bool) -> Iterator[None]:
    """Whether, within, a GPU's convolutions may multiply numbers of 11 bits, which is several times as fast.

    Good enough for a training step; what is measured or kept has all 24 bits.
    """
    before = torch.backends.cudnn.allow_tf32
    torch.backends.cudnn.allow_tf32 = allowed
    try:
        yield
    finally:
        torch.backends.cudnn.allow_tf32 = before


def _keep_freed_memory() -> None:
    """Have the C library keep freed tensors' pages, in large pages where the system has them on request.

    Else a third of a CPU training step goes into page faults, and a twentieth into address translation.
    """
    library = ctypes.CDLL(None)
    if sys.platform != "linux" or not hasattr(library, "mallopt"):
        return
    library.mallopt(_M_MMAP_MAX, 0)
    library.mallopt(_M_MMAP_THRESHOLD, _LARGEST)
    library.mallopt(_M_TRIM_THRESHOLD, _NEVER)
    library.malloc.restype = ctypes.c_void_p
    library.malloc.argtypes = [ctypes.c_size_t]
    library.free.argtypes = [ctypes.c_void_p]
    library.madvise.argtypes = [ctypes.c_void_p, ctypes.c_size_t, ctypes.c_int]
    for size in _HEAPS:  # address space that later tensors come from: untouched, it takes no memory
        heap = library.malloc(size)
        if heap:
            start = -(-heap // _SMALL_PAGE) * _SMALL_PAGE
            library.madvise(start, heap + size - start, _MADV_HUGEPAGE)
            library.free(heap)
            return
