"""Error decomposition: how much of each layer's error is inherited, and how much its own quantization adds."""

import copy
from collections.abc import Callable, Iterable, Iterator
from itertools import pairwise

import pandas as pd
import torch
from torch import Tensor, nn

from selectq.analysis.drift import Reference, RelativeError, sum_of_squares
from selectq.quantization.network import (
    FloatActivation,
    Identity,
    LookupNode,
    Network,
    Site,
)
from selectq.quantization.quantizers import ActivationQuantizer

CAUSES = ("inherited", "changed weights", "weight rounding", "clipping", "activation rounding")
"""In the order in which they are let in."""

TOTAL = "total"

CAUSE_COLUMNS = ["index", "layer", "layer_kind", "cause", "drift"]


@torch.no_grad()
def measure_causes(fp32: Network, quantized: Network, batches: Iterable[Tensor]) -> pd.DataFrame:
    """Split the error of every site and of the logits, in a wholly quantized network, into causes that add up.

    With x what the unit reads in the FP32 network and x' in the quantized network; W the FP32 network's parameters, V
    those of the quantized network in float and V' as it rounds them; act the activation function, clip the clamp to
    what the output's quantizer can represent, and Q(V' x') what the unit stores:

    - inherited: act(W x') - act(W x)
    - changed weights: act(V x') - act(W x'), 0 without training or PTQ algorithms
    - weight rounding: act(V' x') - act(V x'), that of the bias included
    - clipping: clip(act(V' x')) - act(V' x')
    - activation rounding: Q(V' x') - clip(act(V' x'))

    Sums and the pool have no parameters, the classifier no quantizer: such causes are 0 there. The sizes of the causes
    do not add up to the size of their sum: they may cancel.

    Args:
        fp32: in its float form.
        quantized: the same network, fake-quantized; its weights may be others, by training or PTQ algorithms.
        batches: float (B, 3, H, W), each seen once; memory does not grow with their number.

    Returns:
        Columns index (in order of execution), layer, layer_kind (`block` for a residual sum, `pool`), cause (one of
        `CAUSES`, or `total`), drift: ||cause||₂ / ||act(W x)||₂ over everything shown, in double precision.
    """
    splits = {site.name: Split(forms, site) for forms, site in _forms(fp32, quantized)}
    for batch in batches:
        _add_batch(fp32, quantized, splits, batch)
    rows = [
        (index, name, split.kind, cause, error.value())
        for index, (name, split) in enumerate(splits.items())
        for cause, error in split.errors.items()
    ]
    return pd.DataFrame(rows, columns=CAUSE_COLUMNS)


class Split:
    """The causes of one unit's error, added up over batches.

    Args:
        forms: the unit in float form with the parameters W, V and V' of `measure_causes`.
        quantized: the unit in the quantized network.
    """

    def __init__(self, forms: list[Site], quantized: Site) -> None:
        self.kind = quantized.kind
        self.errors = {cause: RelativeError() for cause in (*CAUSES, TOTAL)}
        self._forms = forms
        self._quantized = quantized

    def add(self, reference: Reference, read: tuple[Tensor, ...], stored: Tensor) -> None:
        """Take in a batch.

        Args:
            reference: what the FP32 network's unit put out.
            read: the quantized network's input of the unit, two for a residual sum.
            stored: what it made of it.
        """
        outputs = [reference.values, *self.step_by_step(read), stored]
        for error, (before, after) in zip(
            self.errors.values(), [*pairwise(outputs), (outputs[0], stored)], strict=True
        ):
            error.difference += 0.0 if after is before else sum_of_squares(after - before)
            error.reference += reference.squares

    def step_by_step(self, read: tuple[Tensor, ...]) -> list[Tensor]:
        """act(W x'), act(V x'), act(V' x') and clip(act(V' x')); the same tensor again where nothing changes."""
        outputs = [self._forms[0](*read)]
        for before, after in pairwise(self._forms):
            outputs.append(outputs[-1] if _same_parameters(before, after) else after(*read))
        return [*outputs, _clip(self._quantized, outputs[-1])]


def _forms(fp32: Network, quantized: Network) -> Iterator[tuple[list[Site], Site]]:
    """The float forms and the quantized form of every site and of the logits, in order of execution."""
    networks = (fp32, _float_form(quantized, rounded=False), _float_form(quantized, rounded=True), quantized)
    for *forms, site in zip(*map(_units, networks), strict=True):
        yield forms, site


def _float_form(quantized: Network, rounded: bool) -> Network:
    """A copy without quantizers, its parameters as they are or as `quantized` rounds them."""
    form = copy.deepcopy(quantized)
    for layer, original in zip(form.layers(), quantized.layers(), strict=True):
        if rounded:
            weight, bias = original.weight_quantizer(original.weight, original.bias)
            layer.weight.copy_(weight)
            layer.bias.copy_(bias)
        layer.weight_quantizer = Identity()
    for site in form.sites():
        site.activation = FloatActivation(site.bounds)
        if isinstance(site, LookupNode):
            site.gate = nn.Identity()
    return form


def _units(network: Network) -> list[Site]:
    """All nodes with an error of their own, in order of execution: the sites, and the layer that gives the logits."""
    return [module for module in network.parts.values() if isinstance(module, Site)]


def _same_parameters(one: Site, other: Site) -> bool:
    pairs = zip(one.parameters(recurse=False), other.parameters(recurse=False), strict=True)
    return all(torch.equal(*pair) for pair in pairs)


def _clip(site: Site, x: Tensor) -> Tensor:
    """`x`, clamped to what the site's quantizer can represent; `x` itself where that changes nothing."""
    if not isinstance(site.activation, ActivationQuantizer):
        return x
    quantizer, integers = site.activation, site.activation.integers()
    low, high = ((code - quantizer.zero_point) * quantizer.scale for code in (integers.quant_min, integers.quant_max))
    return x.clamp(low, high)


def _add_batch(fp32: Network, quantized: Network, splits: dict[str, Split], batch: Tensor) -> None:
    """Run both networks on a batch, and split every error as soon as the quantized network has made it."""
    references: dict[str, Reference] = {}

    def keep(site: Site, read: tuple[Tensor, ...], output: Tensor) -> None:
        references[site.name] = Reference(output)

    def split(site: Site, read: tuple[Tensor, ...], output: Tensor) -> None:
        splits[site.name].add(references.pop(site.name), read, output)

    _run(fp32, batch, keep)
    _run(quantized, batch, split)


def _run(network: Network, batch: Tensor, watch: Callable[[Site, tuple[Tensor, ...], Tensor], None]) -> None:
    """The forward pass by the modules themselves; `watch` is shown every site, its arguments and its output."""
    handles = [site.register_forward_hook(watch) for site in _units(network)]
    network(batch)
    for handle in handles:
        handle.remove()
