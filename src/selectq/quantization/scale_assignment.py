"""The one place where quantization parameters are chosen: scales and zero points, from ranges and weights.

A pass over the graph. In order of execution it gives every site its scale, coarser than its range asks for where that
keeps all results away from rounding ties: then every runtime rounds alike. Weight scales follow from those of what
their layers read and store, for all layers at once: on a GPU every operation is a launch.
"""

import math
from collections.abc import Callable, Iterator, Sequence
from typing import TypeVar

import torch
from torch import Tensor

from selectq.config.configs import ActivationScheme, WeightScheme
from selectq.graph.bounds import HARD_SWISH_INPUT
from selectq.graph.nodes import Lookup
from selectq.quantization.fake_quantize import activation_integers, middle_code
from selectq.quantization.network import FUNCTIONS, AddNode, Layer, LookupNode, MulNode, Network, PoolNode, Site
from selectq.quantization.quantizers import GATE_SCALES, ActivationQuantizer, GateQuantizer, WeightQuantizer
from selectq.quantization.scale_groups import shared_scales, sum_groups
from selectq.quantization.scales import (
    TIE_FREE_RESOLUTION,
    activation_scale,
    activation_zero_point,
    bias_magnitude,
    common_unit,
    covering_scale,
    exact_weight_scale,
    is_near_tie,
    largest_magnitude,
    multiple_of_unit,
    odd_multiple_of_unit,
    scale_with_room,
    tie_free_output_scale,
    tie_free_scale,
    whole_share,
)

Scheme = TypeVar("Scheme", ActivationScheme, WeightScheme)

CODES = torch.arange(-255, 256, dtype=torch.double)
"""All integer codes, less any zero point."""


def quantizer_of(site: Site) -> ActivationQuantizer:
    """The quantizer of a site that has one."""
    assert isinstance(site.activation, ActivationQuantizer), f"{site.name} is not quantized"
    return site.activation


def weight_quantizer_of(layer: Layer) -> WeightQuantizer:
    """The weight quantizer of a layer that has one."""
    assert isinstance(layer.weight_quantizer, WeightQuantizer), f"{layer.name} is not quantized"
    return layer.weight_quantizer


class ScaleAssignment:
    """Chooses the quantization parameters of a fake-quantized network and stores them in its quantizers.

    Units of sums are fixed when this is made: from then on, ranges may move and scales stay multiples of them.
    """

    def __init__(self, network: Network) -> None:
        self._activations = _ActivationScales(network)
        self._weights = _WeightScales(network)
        self._normalizations = network.normalizations()

    @torch.no_grad()
    def assign(self) -> None:
        """Bring all quantization parameters up to date with ranges, weights and biases."""
        if self._activations.assign():
            self._assign_normalizations()
        self._weights.assign()

    def _assign_normalizations(self) -> None:
        """Their weights never move, so that their scales follow from what they store alone."""
        for normalization in self._normalizations:
            quantizer, stored = weight_quantizer_of(normalization), quantizer_of(normalization)
            scale = exact_weight_scale(normalization.weight.flatten(), stored.scale)
            quantizer.scale.copy_(scale)
            quantizer.bias_scale.copy_(scale)  # pixels have a scale of 1


class _ActivationScales:
    """Scales and zero points of all sites. Computed on the CPU, in float32."""

    def __init__(self, network: Network) -> None:
        self._network = network
        self._sites = list(network.sites())
        self._quantizers = [quantizer_of(site) for site in self._sites]
        shared, sums = shared_scales(network.graph), sum_groups(network.graph)
        self._shared = {site.name: (site.name,) for site in self._sites} | {
            name: each for each in shared for name in each
        }
        self._sums = {name: group for group in sums for name in group}
        self._gates = {site.name: _free_gates(network, site) for site in self._sites}
        self._free_sites = {site.name for site in self._sites if self._is_free(site)}
        self._schemes = _where(
            [quantizer.scheme for quantizer in self._quantizers], [1] * len(self._sites), torch.device("cpu")
        )
        self._below_zero = torch.tensor([site.bounds == HARD_SWISH_INPUT for site in self._sites])
        self._seen: list[int] = []
        self._lows, self._free_scales = self._read_ranges()
        self._units = {group: common_unit(self._free_scales[name] for name in group) for group in sums}
        self._scales: dict[str, Tensor] = {}

    def assign(self) -> bool:
        """Set the scale and the zero point of every site, if a range has moved; whether one has."""
        versions = [quantizer.low._version + quantizer.high._version for quantizer in self._quantizers]
        if versions == self._seen:
            return False
        self._seen, (self._lows, self._free_scales) = versions, self._read_ranges()
        self._scales = {name: self._free_scales[name] for name in self._free_sites}
        scales = torch.stack([self._scale(site.name) for site in self._sites])
        lows = torch.where(self._below_zero, HARD_SWISH_INPUT.low, self._lows)
        zero_points = self._of_each_scheme(activation_zero_point, lows, scales)
        device = self._quantizers[0].scale.device
        for name, values in (("scale", scales), ("zero_point", zero_points)):
            buffers = [quantizer.get_buffer(name) for quantizer in self._quantizers]
            torch._foreach_copy_(buffers, list(values.to(device).unbind()))
        return True

    def _read_ranges(self) -> tuple[Tensor, dict[str, Tensor]]:
        """The lower ends of the sites' ranges, and the scales that cover these. Those that share a scale share a range.

        On the CPU, for all sites at once: one by one, they would take as long as the layers of a small network.
        """
        ends = torch.stack([end for quantizer in self._quantizers for end in (quantizer.low, quantizer.high)]).cpu()
        lows, highs = ends[::2], ends[1::2]  # (sites,)
        members = {group: index for index, group in enumerate(dict.fromkeys(self._shared.values()))}
        group_of = torch.tensor([members[self._shared[site.name]] for site in self._sites])
        lows = torch.zeros(len(members)).scatter_reduce(0, group_of, lows, "amin", include_self=False)[group_of]
        highs = torch.zeros(len(members)).scatter_reduce(0, group_of, highs, "amax", include_self=False)[group_of]
        scales = self._of_each_scheme(activation_scale, lows, highs)
        return lows, dict(zip((site.name for site in self._sites), scales.unbind(), strict=True))

    def _of_each_scheme(
        self, choose: Callable[[Tensor, Tensor, ActivationScheme], Tensor], first: Tensor, second: Tensor
    ) -> Tensor:
        """What `choose` gives for each site, (sites,), by its scheme."""
        chosen = choose(first, second, self._schemes[0][0])
        for scheme, mask in self._schemes[1:]:
            chosen = torch.where(mask, choose(first, second, scheme), chosen)
        return chosen

    def _is_free(self, site: Site) -> bool:
        """Whether nothing but its range decides a site's scale."""
        alone = self._shared[site.name] == (site.name,) and site.name not in self._sums
        asks = site.bounds == HARD_SWISH_INPUT or isinstance(site, LookupNode) or bool(self._gates[site.name])
        return alone and not asks and not _multiplies_or_averages(site)

    def _scale(self, name: str) -> Tensor:
        """The scale of a site, and of those that share it."""
        if name not in self._scales:
            members = [self._network[member] for member in self._shared[name]]
            deciding = next((site for site in members if self._decides(site)), members[0])
            scale = self._choose(deciding, self._free_scales[deciding.name])
            while any(self._meets_tie(site, scale) for site in members):
                scale = self._choose(deciding, scale * (1 + 1 / TIE_FREE_RESOLUTION))
            self._scales |= dict.fromkeys(self._shared[name], scale)
        return self._scales[name]

    def _decides(self, site: Site) -> bool:
        """Whether a site's own operation needs a scale of its own: not where it reads what shares the scale."""
        return _multiplies_or_averages(site) and not self._reads_from(site, self._shared[site.name])

    def _choose(self, site: Site, scale: Tensor) -> Tensor:
        """`scale`, made coarser by what the site's operation and the sums that it is part of need."""
        group = self._sums.get(site.name)
        if site.bounds == HARD_SWISH_INPUT:
            return whole_share(scale, -HARD_SWISH_INPUT.low, self._steps_below_zero(site))
        if group is not None:
            unit = self._unit(group)
            needs_odd = any(_multiplies_or_averages(self._network[name]) for name in self._shared[site.name])
            needs_odd = needs_odd or any(isinstance(self._network[name], AddNode) for name in self._shared[site.name])
            return odd_multiple_of_unit(scale, unit) if needs_odd else multiple_of_unit(scale, unit)
        return tie_free_output_scale(scale, self._step(site)) if _multiplies_or_averages(site) else scale

    def _meets_tie(self, site: Site, scale: Tensor) -> bool:
        """Whether at this scale a sigmoid that is stored, or a gate on what is stored, is near a tie at some code."""
        if isinstance(site, LookupNode) and not site.multiplies:
            source = self._network.source(site.node.inputs[0])
            shared = source is not None and source.name in self._shared[site.name]
            read = scale if shared else self._read_scale(site.node.inputs[0])
            if is_near_tie(FUNCTIONS[site.function](CODES * read) / scale):
                return True
        codes = CODES[CODES != 0]  # where the input is 0, its gate does not matter
        return any(is_near_tie(FUNCTIONS[gate](codes * scale) / GATE_SCALES[gate]) for gate in self._gates[site.name])

    def _steps_below_zero(self, site: Site) -> int:
        scheme = quantizer_of(site).scheme
        return middle_code(scheme) if scheme.symmetric else activation_integers(scheme).quant_max

    def _unit(self, group: tuple[str, ...]) -> Tensor:
        """What all scales of a group are whole multiples of: a power of two, times the step of a product in the group.

        The first product or average counts; another whose step is not the same may meet rounding ties.
        """
        unit = torch.tensor(self._units[group])
        for name in group:
            site = self._network[name]
            if _multiplies_or_averages(site) and not self._reads_from(site, group):
                step = self._step(site)
                return step * 2.0 ** round(math.log2(unit / step))
        return unit

    def _reads_from(self, site: Site, group: tuple[str, ...]) -> bool:
        """Whether a site reads a member of its own group: then its step depends on the group's unit."""
        sources = (self._network.source(source) for source in site.node.inputs)
        return any(source is not None and source.name in group for source in sources)

    def _step(self, site: Site) -> Tensor:
        """What one step of a product's or an average's integer result is worth."""
        read = [self._read_scale(source) for source in site.node.inputs]
        if isinstance(site, MulNode):
            return read[0] * read[1]
        if isinstance(site, PoolNode):
            return read[0] / site.area
        assert isinstance(site, LookupNode) and isinstance(site.gate, GateQuantizer)
        return read[0] * site.gate.scale

    def _read_scale(self, name: str) -> Tensor:
        source = self._network.source(name)
        return torch.tensor(self._network.pixel_scale) if source is None else self._scale(source.name)


def _multiplies_or_averages(site: Site) -> bool:
    return isinstance(site, MulNode | PoolNode) or (isinstance(site, LookupNode) and site.multiplies)


def _free_gates(network: Network, site: Site) -> tuple[str, ...]:
    """The functions of the gates that read a site, but those that its scale keeps away from ties anyway."""
    if site.bounds == HARD_SWISH_INPUT:
        return ()
    readers = (reader.operation for reader in network.graph.real_readers(site.name))
    return tuple(each.function for each in readers if isinstance(each, Lookup) and each.function in GATE_SCALES)


class _WeightScales:
    """Scales of all weights, S of them: one for each output channel of all layers, or one for each layer."""

    def __init__(self, network: Network) -> None:
        pairs = list(network.inputs())
        self._layers = [layer for layer, _ in pairs]
        self._quantizers = [weight_quantizer_of(layer) for layer in self._layers]
        self._sources = [None if source is None else quantizer_of(source) for _, source in pairs]
        self._outputs = [quantizer_of(layer) if layer.stored else None for layer in self._layers]
        self._sizes = [len(quantizer.scale) for quantizer in self._quantizers]
        device = self._layers[0].bias.device
        self._schemes = _where([quantizer.scheme for quantizer in self._quantizers], self._sizes, device)
        self._pixels = torch.tensor(network.pixel_scale, device=device)
        self._one = torch.ones((), device=device)
        self._stored = _spread([layer.stored for layer in self._layers], self._sizes, device)  # (S,)
        self._repeats = torch.tensor(self._sizes, device=device)
        self._total = sum(self._sizes)

    def assign(self) -> None:
        """Set the scales of every layer's weight and bias."""
        read = [self._pixels if source is None else source.scale for source in self._sources]
        written = [self._one if output is None else output.scale for output in self._outputs]
        inputs, outputs = (self._for_each(scales) for scales in (read, written))
        scale = scale_with_room(self._covering(), self._largest_biases(), inputs)
        scale = torch.where(self._stored, tie_free_scale(scale, inputs, outputs), scale)
        changes = zip(self._quantizers, scale.split(self._sizes), (scale * inputs).split(self._sizes), strict=True)
        for quantizer, of_weight, of_bias in changes:
            _write(quantizer.scale, of_weight)
            _write(quantizer.bias_scale, of_bias)

    def _for_each(self, scales: Sequence[Tensor]) -> Tensor:
        """A scale of each layer (scalars) -> (S,)."""
        return torch.stack(list(scales)).repeat_interleave(self._repeats, output_size=self._total)

    def _covering(self) -> Tensor:
        """The scales at which no weight saturates but where a range was chosen, (S,)."""
        each = zip(self._layers, self._quantizers, strict=True)
        largest = torch.cat([largest_magnitude(layer.weight, quantizer.scheme) for layer, quantizer in each])
        clip = torch.cat([quantizer.clip for quantizer in self._quantizers])
        largest = torch.where(clip > 0, clip, largest)
        chosen = covering_scale(largest, self._schemes[0][0])
        for scheme, mask in self._schemes[1:]:
            chosen = torch.where(mask, covering_scale(largest, scheme), chosen)
        return chosen

    def _largest_biases(self) -> Tensor:
        """(S,)."""
        each = zip(self._layers, self._sizes, strict=True)
        return torch.cat([bias_magnitude(layer.bias, size) for layer, size in each])


def _write(buffer: Tensor, value: Tensor) -> None:
    """Leave a CPU's buffer alone if it holds the value: the kernels compute anew what follows from what was written."""
    if buffer.is_cuda or not torch.equal(buffer, value):
        buffer.copy_(value)


def _where(schemes: Sequence[Scheme], sizes: Sequence[int], device: torch.device) -> list[tuple[Scheme, Tensor]]:
    """Each scheme that occurs, and where: a mask (S,)."""
    return [(scheme, _spread([one == scheme for one in schemes], sizes, device)) for scheme in dict.fromkeys(schemes)]


def _spread(values: Sequence[bool], sizes: Sequence[int], device: torch.device) -> Tensor:
    """Each value, repeated as often as its size says."""
    return torch.tensor(values, device=device).repeat_interleave(torch.tensor(sizes, device=device))


def scales_of(network: Network) -> Iterator[tuple[str, Tensor]]:
    """Every scale with the name of the tensor it belongs to: activations first, weights follow them."""
    for site in network.sites():
        yield f"{site.name} (activations)", quantizer_of(site).scale
    for layer in [*network.normalizations(), *network.layers()]:
        quantizer = weight_quantizer_of(layer)
        yield f"{layer.name}.weight", quantizer.scale
        yield f"{layer.name}.bias", quantizer.bias_scale
