"""The scales of a whole network at once: what `quantizers` computes layer by layer, in a few operations on all of them.

On a GPU every operation is a launch. Layer by layer, a training step would spend most of its time starting thousands of
operations on a handful of numbers each.
"""

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import TypeVar

import torch
from torch import Tensor

from selectq.data.augment import PIXEL_SCALE
from selectq.params.configs import ActivationScheme, WeightScheme
from selectq.quantization.fake_quantize import (
    BIAS_GRID,
    Grid,
    fake_quantize,
    fake_quantize_channels,
    to_levels,
    weight_grid,
)
from selectq.quantization.fused import FusedLayer, FusedMobileNetV2, Place
from selectq.quantization.quantizers import ActivationQuantizer, LayerQuantizer, SummandQuantizer, SumQuantizer
from selectq.quantization.scales import (
    activation_scale,
    activation_zero_point,
    covering_scale,
    largest_magnitude,
    multiple_of_unit,
    odd_multiple_of_unit,
    scale_with_room,
    tie_free_scale,
)

AnyScheme = TypeVar("AnyScheme", WeightScheme, ActivationScheme)


class NetworkScales:
    """Scales, zero points and integer codes of a fake-quantized network: bit for bit those of its quantizers.

    The network has P activation quantizers. The weights have S scales, in network order: one for each output channel,
    or one for each layer.
    """

    def __init__(self, network: FusedMobileNetV2) -> None:
        places, layers = list(network.places()), list(network.inputs())
        self._quantizers = [_quantizer(place) for place in places]
        self._layers = [layer for layer, _ in layers]
        self._readers = [_reader(layer) for layer in self._layers]
        self._per_channel = self._readers[0].scheme.granularity == "channel"
        self._channels = [len(layer.bias) for layer in self._layers]
        self._sizes = self._channels if self._per_channel else [1] * len(layers)
        device = self._layers[0].bias.device

        # each scheme that occurs, and where: a mask (S,) or (P,)
        self._weight_schemes = _where([reader.scheme for reader in self._readers], self._sizes, device)
        self._activation_schemes = _where([each.scheme for each in self._quantizers], [1] * len(places), device)

        self._one, self._none = torch.ones((), device=device), torch.zeros((), device=device)
        self._pixels = torch.full((1,), PIXEL_SCALE, device=device)
        self._is_summand = _which(self._quantizers, SummandQuantizer, device)  # (P,)
        self._is_sum = _which(self._quantizers, SumQuantizer, device)  # (P,)
        indices = {place: index for index, place in enumerate(places)}
        sources = [len(places) if source is None else indices[source] for _, source in layers]
        outputs = [indices[layer] for layer in self._layers[:-1] if isinstance(layer, Place)]  # the classifier has none
        self._sources = _spread(sources, self._sizes, device)  # (S,) places whose outputs are read; P for the pixels
        self._outputs = _spread(outputs, self._sizes[:-1], device)  # (S - classifier's,) places that are written
        self._bias_entries = _spread(range(len(layers)), self._channels, device)
        if self._per_channel:
            self._bias_entries = torch.arange(sum(self._channels), device=device)  # (biases,) of S

    @contextmanager
    def prepared(self) -> Iterator[None]:
        """Within, the network's quantizers use what is computed here; gradients pass. Nothing may move meanwhile."""
        stored, zero_points = self.stored()
        for quantizer, scale, zero_point in zip(self._quantizers, stored.unbind(), zero_points.unbind(), strict=True):
            quantizer.prepared = (scale, zero_point)
        scales, inputs = self.of_weights(stored)
        bias = torch.cat([layer.bias for layer in self._layers])
        biases = fake_quantize(bias, (scales * inputs)[self._bias_entries], self._none, BIAS_GRID).split(self._channels)
        parts = zip(self._layers, self._readers, scales.split(self._sizes), biases, strict=True)
        for layer, reader, scale, quantized_bias in parts:
            reader.prepared = (self._fake_quantized(layer.weight, scale, weight_grid(reader.scheme)), quantized_bias)
        try:
            yield
        finally:
            for quantizer in self._quantizers:
                quantizer.prepared = None
            for reader in self._readers:
                reader.prepared = None

    def stored(self) -> tuple[Tensor, Tensor]:
        """Scales and zero points of all places, (P,) float32 and int32, in the order of `places()`."""
        low = torch.stack([quantizer.low for quantizer in self._quantizers])
        high = torch.stack([quantizer.high for quantizer in self._quantizers])
        units = (getattr(quantizer, "unit", self._one) for quantizer in self._quantizers)
        unit = torch.stack(list(units))
        free = _chosen(self._activation_schemes, lambda scheme: activation_scale(low, high, scheme))
        scale = torch.where(self._is_summand, multiple_of_unit(free, unit), free)
        scale = torch.where(self._is_sum, odd_multiple_of_unit(free, unit), scale)
        zero_point = _chosen(self._activation_schemes, lambda scheme: activation_zero_point(low, scale, scheme))
        return scale, zero_point.to(torch.int32)

    def of_weights(self, stored: Tensor) -> tuple[Tensor, Tensor]:
        """Scales of all weights, (S,), and those of what their layers read, (S,), by those of the places, (P,)."""
        each = zip(self._layers, self._readers, strict=True)
        weights = torch.cat([largest_magnitude(layer.weight, reader.scheme) for layer, reader in each])
        inputs = torch.cat([stored, self._pixels])[self._sources]
        covering = _chosen(self._weight_schemes, lambda scheme: covering_scale(weights, scheme))
        scale = scale_with_room(covering, self._largest_biases(), inputs)
        written = len(self._outputs)
        tie_free = tie_free_scale(scale[:written], inputs[:written], stored[self._outputs])
        return torch.cat([tie_free, scale[written:]]), inputs

    def levels(self, layers: Sequence[FusedLayer]) -> Tensor:
        """The integer codes of the weights of some layers, one after another, int8."""
        scales, _ = self.of_weights(self.stored()[0])
        of_layer = dict(zip(self._layers, scales.split(self._sizes), strict=True))
        counts = [layer.weight.numel() // len(of_layer[layer]) for layer in layers for _ in range(len(of_layer[layer]))]
        repeats = torch.tensor(counts, device=scales.device)
        spread = torch.cat([of_layer[layer] for layer in layers]).repeat_interleave(repeats, output_size=sum(counts))
        weights = torch.cat([layer.weight.detach().flatten() for layer in layers])
        widest = max((weight_grid(scheme) for scheme, _ in self._weight_schemes), key=lambda grid: grid.quant_max)
        return to_levels(weights, spread, self._none, widest).to(torch.int8)  # no scale lets a weight saturate

    def _fake_quantized(self, weight: Tensor, scale: Tensor, grid: Grid) -> Tensor:
        if self._per_channel:
            return fake_quantize_channels(weight, scale, grid)
        return fake_quantize(weight, scale, self._none, grid)

    def _largest_biases(self) -> Tensor:
        biases = [layer.bias.detach() for layer in self._layers]
        if self._per_channel:
            return torch.cat(biases).abs()
        return torch.stack([bias.abs().amax() for bias in biases])


def _quantizer(place: Place) -> ActivationQuantizer:
    assert isinstance(place.activation, ActivationQuantizer), f"{place.name} is not quantized"
    return place.activation


def _reader(layer: FusedLayer) -> LayerQuantizer:
    assert isinstance(layer.read_parameters, LayerQuantizer), f"{layer.name} is not quantized"
    return layer.read_parameters


def _where(schemes: Sequence[AnyScheme], sizes: Sequence[int], device: torch.device) -> list[tuple[AnyScheme, Tensor]]:
    return [(scheme, _spread([one == scheme for one in schemes], sizes, device)) for scheme in dict.fromkeys(schemes)]


def _chosen(schemes: Sequence[tuple[AnyScheme, Tensor]], of_scheme: Callable[[AnyScheme], Tensor]) -> Tensor:
    """`of_scheme` of each entry's own scheme; computed once for each scheme that occurs."""
    chosen = of_scheme(schemes[0][0])
    for scheme, mask in schemes[1:]:
        chosen = torch.where(mask, of_scheme(scheme), chosen)
    return chosen


def _which(quantizers: Sequence[ActivationQuantizer], kind: type, device: torch.device) -> Tensor:
    return torch.tensor([isinstance(quantizer, kind) for quantizer in quantizers], device=device)


def _spread(values: Sequence[int], sizes: Sequence[int], device: torch.device) -> Tensor:
    """Each value, repeated as often as its size says."""
    return torch.tensor(values, device=device).repeat_interleave(torch.tensor(sizes, device=device))
