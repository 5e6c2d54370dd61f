"""Networks quantized after training, in the reference form and as program files: each is made once."""

import atexit
import functools
import tempfile
from dataclasses import dataclass
from pathlib import Path

import torch
from known_networks import NETWORKS, OTHERS, build
from small_networks import CLASSES, IMAGE_SIZE, batches_of, calibration, checkpoint, model_config, scheme
from torch import Tensor, nn

from selectq.export.describe import describe_program
from selectq.export.formats import write_program
from selectq.export.reference import ReferenceNetwork, to_reference
from selectq.parity.backends import Backend, program_backends, reference_backend, simulation_backend
from selectq.programs.manifest import Manifest
from selectq.quantization.folding import fold
from selectq.quantization.network import LookupNode, Network
from selectq.quantization.quantized import QuantizedCheckpoint, Scheme, insert_quantizers
from selectq.quantization.range_estimation import estimate_ranges

SIZE = 48
NAMES = [*NETWORKS, *OTHERS]
BESIDE_WEIGHTS = 190_000
"""Bytes that the nodes, scales and biases of a narrow MobileNetV2 may take."""
_folder = tempfile.TemporaryDirectory(prefix="programs")
atexit.register(_folder.cleanup)


def images(count: int, seed: int = 0) -> Tensor:
    """uint8 noise (count, 3, H, W), coarse and fine, so that logits differ between images."""
    generator = torch.Generator().manual_seed(seed)
    coarse = torch.rand(count, 3, SIZE // 8, SIZE // 8, generator=generator)
    fine = torch.rand(count, 3, SIZE, SIZE, generator=generator)
    return (255 * (0.7 * nn.functional.interpolate(coarse, size=SIZE) + 0.3 * fine)).to(torch.uint8)


@dataclass(frozen=True)
class Exported:
    """A network before and after conversion."""

    simulation: Network
    reference: ReferenceNetwork
    manifest: Manifest
    folder: Path

    @classmethod
    def of(cls, made: QuantizedCheckpoint, size: int) -> "Exported":
        """A checkpoint's network, for images of so many pixels."""
        folder = Path(tempfile.mkdtemp(dir=_folder.name))
        return cls(made.network, to_reference(made.network), describe_program(made, size), folder)

    def path(self, ending: str = ".onnx") -> Path:
        """The program file in the format of an ending; written once: the exporters take seconds."""
        path = self.folder / f"some{ending}"
        if not path.exists():
            write_program(path, self.reference, self.manifest)
        return path

    def backends(self, *formats: str) -> list[Backend]:
        """The simulation, the reference, and those of programs."""
        for ending in formats:
            self.path(f".{ending}")
        programs = program_backends(self.folder, "some", formats, self.reference)
        return [simulation_backend(self.simulation), reference_backend(self.reference), *programs]

    def lookups(self, function: str) -> int:
        """How many of its nodes compute an elementwise function."""
        sites = self.simulation.sites()
        return sum(isinstance(site, LookupNode) and site.function == function for site in sites)


@functools.cache
def program_of(chosen: Scheme) -> Exported:
    """The briefly trained network under a scheme."""
    return Exported.of(checkpoint(chosen), IMAGE_SIZE)


def exported(name: str, chosen: Scheme | None = None) -> Exported:
    """A network of `NAMES`."""
    return _exported(name, chosen or scheme())


@functools.cache
def _exported(name: str, chosen: Scheme) -> Exported:
    return export(build(name, len(CLASSES)), chosen)


def export(model: nn.Module, chosen: Scheme) -> Exported:
    """An FP32 network, quantized after training."""
    return Exported.of(QuantizedCheckpoint("some", quantized(model, chosen), model_config(), CLASSES, chosen), SIZE)


def quantized(model: nn.Module, chosen: Scheme) -> Network:
    """An FP32 network, quantized after training on `images`."""
    network = fold(model).to(memory_format=torch.channels_last)
    ranges = estimate_ranges(network, batches_of(images(24, seed=1)), calibration(), chosen.activations)
    insert_quantizers(network, chosen, ranges)
    return network.eval()
