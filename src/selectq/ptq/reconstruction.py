"""Reconstruction: rounding is learned without labels, so that a layer or a block puts out what it does in float.

Layers: Nagel et al. 2020 ("Up or Down? Adaptive Rounding for Post-Training Quantization"). Blocks: Li et al. 2021
("BRECQ: Pushing the Limit of Post-Training Quantization by Block Reconstruction"), but by the plain squared error, with
Wei et al. 2022 ("QDrop: Randomly Dropping Quantization for Extremely Low-bit Post-Training Quantization").
"""

import sys
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from selectq.config.algorithms import RoundingSettings
from selectq.data.augment import EVALUATION_BATCH
from selectq.graph.nodes import PIXELS
from selectq.progress import progress
from selectq.ptq.registry import PtqState, When, register
from selectq.ptq.walk import Walk, outputs_of, read_behind, run_unit, single_nodes
from selectq.quantization.network import Block, FloatActivation, Layer, Network, Site
from selectq.quantization.post_training import fold_model
from selectq.quantization.rounding import LearnedRounding, put_on_codes
from selectq.quantization.scale_assignment import ScaleAssignment, weight_quantizer_of

MEMORY = 2 * 2**30
"""Bytes for what is kept of the calibration images; as many are used as fit."""

BYTES_OF_VALUE = 5
"""In float, and as an integer code."""

WARM_UP = 0.2
"""The share of the iterations in which weights may stay between integer codes."""

FIRST_BETA, LAST_BETA = 20.0, 2.0

BIAS_STEP = 1 / 64
"""The unit in which biases are learned, as a share of how far their layer's sums of products spread."""


def reconstruct(
    float_network: Network,
    quantized: Network,
    units: Iterable[Block],
    batches: Sequence[Tensor],
    settings: RoundingSettings,
    *,
    quantized_share: float,
    seed: int,
) -> list[str]:
    """Learn the rounding of every weight of a fake-quantized network, and its biases, in place, unit by unit.

    What a unit reads comes from the quantized network, in which the units before it are rounded already; what it should
    put out is what the float network does, behind the activation function and before it is stored: equation 25 of Nagel
    et al. Scales stay.

    Args:
        float_network: the same network in its float form.
        quantized: with quantizers inserted.
        units: the parts of the network, in order of execution.
        batches: float (B, 3, H, W).
        settings: of the learning.
        quantized_share: with this probability an activation that a unit reads, or stores inside itself, is quantized.
        seed: of the mini-batches, and of what is quantized in them.

    Returns:
        The layers for which nothing better than nearest rounding was found: they keep it.
    """
    images, sizes = torch.cat(list(batches)), [len(batch) for batch in batches]
    walks = Walks(Walk(float_network, images, sizes), Walk(quantized, images, sizes))
    mix, kept = Mix(quantized_share, torch.Generator().manual_seed(seed)), list[str]()
    assignment = ScaleAssignment(quantized)
    for unit in units:
        walks.in_float.compute(unit)
        part = _Part(quantized, unit, walks, mix)
        if part.layers and not part.learn_rounding(settings):
            kept += [layer.name for layer in part.layers]
        assignment.assign()  # where a bias would leave its integers, the scale gives way
        walks.quantized.compute(unit)
        for walk in (walks.in_float, walks.quantized):
            walk.release(unit)
    return kept


@dataclass(frozen=True)
class Walks:
    """Of the float network, which is a unit ahead, and of the quantized one."""

    in_float: Walk
    quantized: Walk


@dataclass(frozen=True)
class Mix:
    """Has each value quantized with the probability `share`; random numbers from the CPU."""

    share: float
    generator: torch.Generator

    def __call__(self, quantized: Tensor, in_float: Tensor) -> Tensor:
        """Two of a shape to the same shape."""
        if self.share == 1:
            return quantized
        return in_float + self._mask(in_float) * (quantized - in_float)  # `where` has a slow gradient

    def _mask(self, values: Tensor) -> Tensor:
        """1 with the probability `share`, else 0, of the shape of `values`: a random byte decides, eight to a draw."""
        ends, count = torch.iinfo(torch.long), values.numel()
        drawn = torch.randint(ends.min, ends.max, (count // 8 + 1,), generator=self.generator)
        chosen = drawn.view(torch.uint8)[:count] < 256 * self.share
        mask = torch.empty_like(values)
        mask.as_strided((count,), (1,)).copy_(chosen)
        return mask


class _Part:
    """A unit of the quantized network, with what it reads and what it should put out."""

    def __init__(self, network: Network, unit: Block, walks: Walks, mix: Mix) -> None:
        self.layers: list[Layer] = [network[name] for name in unit.nodes if network.graph[name].is_layer]
        self._network, self._unit, self._outputs = network, unit, outputs_of(network.graph, unit)
        self._float_walk, self._walk, self._mix = walks.in_float, walks.quantized, mix
        wanted = self._float_walk.read(self._outputs, slice(None))
        self._power = {name: values.square().mean() for name, values in wanted.items()}
        last = {origin for name in self._outputs for origin in network.graph.origins(name)}
        self._inside = [network[name] for name in unit.nodes if name not in last and isinstance(network[name], Site)]
        self._last = [network[name] for name in unit.nodes if name in last]

    def learn_rounding(self, settings: RoundingSettings) -> bool:
        """Put the weights on the integer codes that are learned, if that reduces the error; whether it does."""
        changed = [
            each for layer in self.layers for each in (layer.weight, layer.bias, weight_quantizer_of(layer).clip)
        ]
        before = [tensor.detach().clone() for tensor in changed]
        roundings = [LearnedRounding(layer, unit) for layer, unit in zip(self.layers, self._bias_units(), strict=True)]
        with _replaced({site: FloatActivation(site.bounds) for site in self._last}, "activation"):
            nearest = self._error()
            with (
                _replaced(dict(zip(self.layers, roundings, strict=True)), "weight_quantizer"),
                _replaced({site: _Mixed(site, self._mix) for site in self._inside}, "activation"),
            ):
                self._learn(roundings, settings)
            for layer, rounding in zip(self.layers, roundings, strict=True):
                put_on_codes(layer, rounding)
            better = self._error() < nearest
        if not better:
            with torch.no_grad():
                torch._foreach_copy_(changed, before)
        return better

    @torch.no_grad()
    def _bias_units(self) -> list[Tensor]:
        """Of each layer's bias, a scalar."""
        some = run_unit(self._network, self._unit, self._walk.read(self._unit.inputs, slice(0, EVALUATION_BATCH)))
        return [BIAS_STEP * layer.raw(some[layer.node.inputs[0]], layer.weight, None).std() for layer in self.layers]

    def _learn(self, roundings: Sequence[LearnedRounding], settings: RoundingSettings) -> None:
        learned = [parameter for rounding in roundings for parameter in rounding.parameters()]
        optimizer = torch.optim.Adam(learned, lr=settings.lr, fused=True)
        for step in range(settings.iterations):
            for rounding in roundings:
                rounding.refresh()
            chosen = torch.randperm(len(self._walk), generator=self._mix.generator)[: settings.batch_images]
            loss = self._difference(self._read(chosen), chosen)
            done = (step / settings.iterations - WARM_UP) / (1 - WARM_UP)
            if done >= 0:
                beta = FIRST_BETA + (LAST_BETA - FIRST_BETA) * done
                loss = loss + settings.rounding_weight * sum(rounding.undecided(beta) for rounding in roundings)
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()

    @torch.no_grad()
    def _error(self) -> float:
        """Over all images."""
        every = torch.arange(len(self._walk)).split(EVALUATION_BATCH)
        parts = [len(chosen) * self._difference(self._walk.read(self._unit.inputs, chosen), chosen) for chosen in every]
        return float(sum(parts))

    def _read(self, chosen: Tensor) -> dict[str, Tensor]:
        """What the unit reads of some images, some of it as in the float network."""
        read = self._walk.read(self._unit.inputs, chosen)
        if self._mix.share == 1:
            return read
        in_float = self._float_walk.read(self._unit.inputs, chosen)
        return {name: self._mix(values, in_float[name]) for name, values in read.items()}

    def _difference(self, given: dict[str, Tensor], chosen: Tensor) -> Tensor:
        """The squared error of an output channel as a share of the mean square, summed over channels; a scalar."""
        found, wanted = run_unit(self._network, self._unit, given), self._float_walk.read(self._outputs, chosen)
        errors = [(found[name] - wanted[name]).square().sum(1).mean() / power for name, power in self._power.items()]
        return torch.stack(errors).sum()


class _Mixed(nn.Module):
    """In place of a quantizer: some values as they are in float."""

    def __init__(self, site: Site, mix: Mix) -> None:
        super().__init__()
        self._quantizer, self._function, self._mix = site.activation, FloatActivation(site.bounds), mix

    def forward(self, x: Tensor) -> Tensor:
        """Any shape to the same shape."""
        return self._mix(self._quantizer(x), self._function(x))


@contextmanager
def _replaced(modules: Mapping[Site, nn.Module], attribute: str) -> Iterator[None]:
    """Have sites use other modules as one of their attributes for a while."""
    before = {site: getattr(site, attribute) for site in modules}
    for site, module in modules.items():
        setattr(site, attribute, module)
    try:
        yield
    finally:
        for site, module in before.items():
            setattr(site, attribute, module)


def images_that_fit(network: Network, units: Iterable[Block], image: Tensor) -> int:
    """For how many images what is kept of them at a time fits into `MEMORY`; `image` (1, 3, H, W) is one."""
    graph, kept, largest = network.graph, {PIXELS}, 0
    sizes = {PIXELS: image.numel()}
    with torch.no_grad():
        network.watched(image, lambda module, output: sizes.update({str(module.name): output.numel()}))
    for unit in units:
        kept.update(outputs_of(graph, unit))
        largest = max(largest, sum(sizes[name] for name in kept))
        kept &= read_behind(graph, unit)
    return MEMORY // (BYTES_OF_VALUE * largest)


def _reconstruct(name: str, state: PtqState, units: Sequence[Block], share: float) -> None:
    """Learn the rounding of the pipeline's network; say what keeps rounding to nearest, and which images do not fit."""
    settings, device = state.settings[name], next(state.quantized.parameters()).device
    reference = fold_model(state.reference, state.graph, state.normalization, device)
    batches = list(state.batches())
    count, fitting = sum(map(len, batches)), images_that_fit(reference, units, batches[0][:1])
    if fitting < count:
        fitting = max(fitting, settings.batch_images)
        print(f"{name}: {fitting:,} of {count:,} calibration images are used, as many as memory holds", file=sys.stderr)
        batches = list(torch.cat(batches)[:fitting].split(len(batches[0])))
    shown = progress(units, len(units), name, "unit")
    kept = reconstruct(reference, state.quantized, shown, batches, settings, quantized_share=share, seed=state.seed)
    if kept:
        print(f"{name}: nothing better than nearest rounding was found for {', '.join(kept)}", file=sys.stderr)


class AdaptiveRounding:
    """Rounding learned a layer at a time; see `reconstruct`."""

    name = "adaptive_rounding"
    when: When = "after"

    def apply(self, state: PtqState) -> None:
        """Change the weights of the quantized network."""
        _reconstruct(self.name, state, single_nodes(state.quantized.graph), 1.0)


class ReconstructBlocks:
    """Rounding learned a block at a time; see `reconstruct`."""

    name = "reconstruct_blocks"
    when: When = "after"

    def apply(self, state: PtqState) -> None:
        """Change the weights of the quantized network."""
        share = state.settings[self.name].quantized_share
        _reconstruct(self.name, state, state.quantized.blocks(), share)


register(AdaptiveRounding())
register(ReconstructBlocks())
