"""The reference form as a `torch.export` program, which .pt2 and .pte files are written from."""

import torch
from torch import Tensor, nn
from torch.export import Dim, ExportedProgram

from selectq.data.normalization import Normalization
from selectq.programs.manifest import Input, Manifest


class TakesImages(nn.Module):
    """A network of uint8 pixels (N, 3, H, W) behind what makes these of images as a description says."""

    factor: Tensor
    shift: Tensor

    def __init__(self, network: nn.Module, manifest: Manifest, normalization: Normalization) -> None:
        super().__init__()
        self.network, self.input = network, manifest.input
        if self.input.dtype == "float32":
            self.register_buffer("factor", 1 / torch.tensor(normalization.scale).view(3, 1, 1))
            self.register_buffer("shift", torch.tensor(normalization.shift).view(3, 1, 1))

    def forward(self, images: Tensor) -> Tensor:
        """Images as described -> (N, classes)."""
        if self.input.layout == "nhwc":
            images = images.permute(0, 3, 1, 2)
        if self.input.dtype == "float32":
            images = (images * self.factor + self.shift).round().clamp(0, 255).to(torch.uint8)
        logits: Tensor = self.network(images)
        return logits


def export_program(
    network: nn.Module, manifest: Manifest, normalization: Normalization, batch: int, largest_batch: int | None
) -> ExportedProgram:
    """Trace a network with what it takes, with a batch of any size up to `largest_batch`.

    Args:
        network: of uint8 pixels (N, 3, H, W), in evaluation mode.
        manifest: says what the program takes.
        normalization: of the FP32 network.
        batch: of the images it is traced on.
        largest_batch: None for no limit.
    """
    shape = (batch, *manifest.input.shape(manifest.image_size))
    example = torch.zeros(shape, dtype=getattr(torch, manifest.input.dtype))
    module = network if manifest.input == Input() else TakesImages(network, manifest, normalization).eval()
    return torch.export.export(module, (example,), dynamic_shapes=({0: Dim("batch", min=1, max=largest_batch)},))


def forget_sources(program: ExportedProgram) -> None:
    """Remove from every node where in the source it came from: half of the file, and paths of this machine."""
    for node in program.graph.nodes:
        for key in node.meta.keys() - {"val", "tensor_meta"}:
            del node.meta[key]
