"""A network in the forms that it takes on its way to a program."""

from dataclasses import dataclass
from pathlib import Path

from selectq.export.reference import ReferenceNetwork
from selectq.quantization.fused import FusedMobileNetV2


@dataclass(frozen=True)
class Program:
    """A converted network in its three forms."""

    simulation: FusedMobileNetV2
    reference: ReferenceNetwork
    path: Path
