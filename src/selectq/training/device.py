"""Where tensors live and computation runs."""

import os

import torch

from selectq.errors import UserError


def choose_device() -> torch.device:
    """The GPU if there is one, else the CPU; SELECTQ_DEVICE decides otherwise. Algorithms are deterministic."""
    os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")
    torch.use_deterministic_algorithms(True)
    name = os.environ.get("SELECTQ_DEVICE") or ("cuda" if torch.cuda.is_available() else "cpu")
    if name not in ("cpu", "cuda") or (name == "cuda" and not torch.cuda.is_available()):
        raise UserError(f"SELECTQ_DEVICE: {name!r} is not usable here; allowed: cpu, and cuda where there is a GPU")
    return torch.device(name)
