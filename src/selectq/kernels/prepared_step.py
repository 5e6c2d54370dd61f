"""The fake-quantized network's forward pass on a GPU."""

from torch import Tensor

from selectq.quantization.fused import FusedBlock, FusedConv2d, FusedLinear, FusedMobileNetV2, Watch
from selectq.quantization.network_scales import NetworkScales


class PreparedStep:
    """The network itself, with all scales and parameters computed at once, which takes a fraction of the launches."""

    def __init__(self, network: FusedMobileNetV2) -> None:
        self._network = network
        self._scales = NetworkScales(network)

    def __call__(self, images: Tensor) -> Tensor:
        """Float (N, 3, H, W) -> logits (N, classes)."""
        with self._scales.prepared():
            logits: Tensor = self._network(images)
        return logits

    def watched(self, images: Tensor, watch: Watch) -> Tensor:
        """As `FusedMobileNetV2.watched`."""
        with self._scales.prepared():
            return self._network.watched(images, watch)

    def part(self, module: FusedConv2d | FusedBlock | FusedLinear, x: Tensor) -> Tensor:
        """As `FusedMobileNetV2.part`."""
        return self._network.part(module, x)
