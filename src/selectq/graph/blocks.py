"""Which block of a network a node belongs to: a residual block, or a layer that is in none."""

from collections.abc import Mapping

from torch import nn

CONTAINERS = (nn.Sequential, nn.ModuleList, nn.ModuleDict)


def block_of(name: str, modules: Mapping[str, nn.Module]) -> str:
    """The outermost module on the way to `name` that does not only hold other blocks; the whole name at the latest."""
    parts = name.split(".")
    for end in range(1, len(parts) + 1):
        path = ".".join(parts[:end])
        if path not in modules or not _holds_blocks(modules[path]):
            return path
    return name


def _holds_blocks(module: nn.Module) -> bool:
    return isinstance(module, CONTAINERS) and any(list(child.children()) for child in module.children())
