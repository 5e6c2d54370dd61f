"""Training batches of what a frozen network computed once."""

from collections.abc import Iterator

import torch
from torch import Tensor

from selectq.data.augment import normalise
from selectq.progress import progress
from selectq.quantization.fake_quantize import to_levels
from selectq.quantization.fused import FusedMobileNetV2
from selectq.quantization.network_scales import NetworkScales
from selectq.quantization.quantizers import ActivationQuantizer
from selectq.training.batches import Batch, FixedViews
from selectq.training.device import tensor_float32


class ClassifierFeatures:
    """What the classifier reads of fixed views, (B, C): computed once for each view, when it is first shown.

    For networks in which only the classifier learns. The features are kept as the levels that the pool stores, a byte
    each, so they are the same bits as those of the network itself.
    """

    def __init__(self, network: FusedMobileNetV2, views: FixedViews) -> None:
        self._network = network
        self._views = views
        self._levels: dict[int, Tensor] = {}  # (N, C) of each view

    def __len__(self) -> int:
        return len(self._views)

    def epoch(self, index: int, generator: torch.Generator) -> Iterator[Batch]:
        """See `Batches`."""
        view = index % self._views.count
        if view not in self._levels:
            self._levels[view] = self._compute(view)
        scale, zero_point = self._quantizer().scale_and_zero_point()
        for chosen in self._views.chosen(generator):
            yield self._levels[view][chosen].float().sub_(zero_point).mul_(scale), self._views.labels(chosen)

    @torch.no_grad()
    def _compute(self, view: int) -> Tensor:
        bar = progress(self._views.view(view), self._views.chunks, f"features of view {view + 1}")
        with tensor_float32(False), NetworkScales(self._network).prepared():
            return torch.cat([self._quantize(self._network.pooled(normalise(chunk))) for chunk in bar])

    def _quantize(self, pooled: Tensor) -> Tensor:
        quantizer = self._quantizer()
        return to_levels(pooled, *quantizer.scale_and_zero_point(), quantizer.grid()).to(torch.uint8)

    def _quantizer(self) -> ActivationQuantizer:
        assert isinstance(self._network.pool.activation, ActivationQuantizer)
        return self._network.pool.activation
