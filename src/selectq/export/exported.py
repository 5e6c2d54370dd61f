"""The reference form as a `torch.export` program, which every format is written from."""

import torch
from torch import nn
from torch.export import Dim, ExportedProgram


def export_program(network: nn.Module, image_size: int, batch: int, largest_batch: int | None) -> ExportedProgram:
    """Trace a network on uint8 images (batch, 3, H, W), with a batch of any size up to `largest_batch`.

    Args:
        network: in evaluation mode.
        image_size: height and width in pixels.
        batch: of the images it is traced on.
        largest_batch: None for no limit.
    """
    example = torch.zeros((batch, 3, image_size, image_size), dtype=torch.uint8)
    return torch.export.export(network, (example,), dynamic_shapes=({0: Dim("batch", min=1, max=largest_batch)},))


def forget_sources(program: ExportedProgram) -> None:
    """Remove from every node where in the source it came from: half of the file, and paths of this machine."""
    for node in program.graph.nodes:
        for key in node.meta.keys() - {"val", "tensor_meta"}:
            del node.meta[key]
