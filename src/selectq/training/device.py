"""Where tensors live and computation runs."""

import ctypes
import os
import sys

import torch

from selectq.errors import UserError

# glibc's mallopt parameters (malloc.h)
_M_TRIM_THRESHOLD, _M_MMAP_THRESHOLD, _M_MMAP_MAX = -1, -3, -4


def choose_device() -> torch.device:
    """The GPU if there is one, else the CPU; SELECTQ_DEVICE decides otherwise. Algorithms are deterministic."""
    _keep_freed_memory()
    os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")
    torch.use_deterministic_algorithms(True)
    name = os.environ.get("SELECTQ_DEVICE") or ("cuda" if torch.cuda.is_available() else "cpu")
    if name not in ("cpu", "cuda") or (name == "cuda" and not torch.cuda.is_available()):
        raise UserError(f"SELECTQ_DEVICE: {name!r} is not usable here; allowed: cpu, and cuda where there is a GPU")
    return torch.device(name)


def _keep_freed_memory() -> None:
    """Have the C library keep freed tensors' pages: else a third of a CPU training step goes into page faults."""
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None) if sys.platform == "linux" else None
    if mallopt:
        mallopt(_M_MMAP_MAX, 0)
        mallopt(_M_MMAP_THRESHOLD, 2**31 - 1)
        mallopt(_M_TRIM_THRESHOLD, 2**31 - 1)
