"""Training batches of what a frozen network computed once."""

from collections.abc import Iterator

import torch
from torch import Tensor

from selectq.data.device import tensor_float32
from selectq.graph.nodes import PIXELS
from selectq.progress import progress
from selectq.quantization.fake_quantize import to_codes
from selectq.quantization.network import LinearNode, Network
from selectq.quantization.scale_assignment import quantizer_of
from selectq.training.batches import Batch, FixedViews


class ClassifierFeatures:
    """What the classifier reads of fixed views, (B, C): computed once for each view, when it is first shown.

    For networks in which only the classifier learns. The features are kept as the integer codes that are stored, a byte
    each, so they are the same bits as those of the network itself.
    """

    def __init__(self, network: Network, classifier: LinearNode, views: FixedViews) -> None:
        self._network = network
        self._read = classifier.node.inputs[0]
        source = network.source(self._read)
        assert source is not None, "a classifier reads no pixels"
        self._quantizer = quantizer_of(source)
        self._views = views
        self._codes: dict[int, Tensor] = {}  # (N, C) of each view

    def __len__(self) -> int:
        return len(self._views)

    def epoch(self, index: int, generator: torch.Generator) -> Iterator[Batch]:
        """See `Batches`."""
        view = index % self._views.count
        if view not in self._codes:
            self._codes[view] = self._compute(view)
        scale, zero_point = self._quantizer.scale, self._quantizer.zero_point
        for chosen in self._views.chosen(generator):
            yield self._codes[view][chosen].float().sub_(zero_point).mul_(scale), self._views.labels(chosen)

    @torch.no_grad()
    def _compute(self, view: int) -> Tensor:
        bar = progress(self._views.view(view), self._views.chunks, f"features of view {view + 1}")
        with tensor_float32(False):
            return torch.cat([self._quantize(self._network.normalization(chunk)) for chunk in bar])

    def _quantize(self, images: Tensor) -> Tensor:
        read, quantizer = self._network.compute(self._read, {PIXELS: images}), self._quantizer
        return to_codes(read, quantizer.scale, quantizer.zero_point, quantizer.integers()).to(torch.uint8)
