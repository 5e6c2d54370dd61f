"""Batch-norm statistics measured again behind rounded weights, which shift and stretch what the float weights put out.

Sun et al. 2019 ("Hybrid 8-bit Floating Point (HFP8) Training and Inference for Deep Neural Networks"); Nagel et al.
2022 ("Overcoming Oscillations in Quantization-Aware Training") use it after training.

Folding comes after, and what is measured is for the weights as folding and rounding leave them. With a scale per
channel that holds: a new variance scales a channel's rounded weights and their errors alike. With one scale per tensor
it would move the weights against the grid that they share, and they would round to others than those it was measured
for: there the variances stay, and the means alone are measured.
"""

import copy
from collections.abc import Iterable

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from selectq.config.configs import WeightScheme
from selectq.graph.nodes import Graph
from selectq.networks.layers import FloatLayer, float_layer, normalised_convolutions, running_statistics
from selectq.ptq.dead_channels import constant_channels
from selectq.ptq.registry import PtqState, When, register
from selectq.quantization.fake_quantize import fake_quantize, weight_integers
from selectq.quantization.scales import weight_scale


@torch.no_grad()
def reestimate_batch_norm(model: nn.Module, graph: Graph, scheme: WeightScheme, batches: Iterable[Tensor]) -> None:
    """Replace every batch norm's running statistics, in place, by the mean over batches of what its layer puts out.

    A channel that puts out a constant for these images keeps its statistics: they say nothing about others.

    Args:
        model: the FP32 network, in evaluation mode. Its weights stay: it is to be folded and rounded.
        graph: of the model.
        scheme: of the rounding, of the whole network.
        batches: float (B, 3, H, W); each weighs as much as it has images.
    """
    rounded = copy.deepcopy(model)
    for node in graph.layers():
        layer = float_layer(rounded, node)
        layer.module.weight.copy_(rounded_weight(layer, scheme.of(node.kind, node.name)))
    norms = [norm for _, norm in normalised_convolutions(rounded, graph)]
    measured = [BatchStatistics(norm, scheme.granularity == "channel") for norm in norms]
    handles = [norm.register_forward_hook(each) for norm, each in zip(norms, measured, strict=True)]
    for batch in batches:
        rounded(batch)
    for handle in handles:
        handle.remove()
    for (_, norm), each in zip(normalised_convolutions(model, graph), measured, strict=True):
        each.put_into(norm)


def rounded_weight(layer: FloatLayer, scheme: WeightScheme) -> Tensor:
    """The layer's weight, rounded as it is when the batch norm is folded into it; same shape."""
    folded = layer.folded_weight()
    scale = weight_scale(folded, scheme)
    codes = fake_quantize(folded, scale, torch.zeros_like(scale), weight_integers(scheme))
    return layer.unfolded(codes).to(layer.module.weight)


class BatchStatistics:
    """A batch norm's statistics by batches; as its forward hook, has it normalise each batch by the batch's own."""

    def __init__(self, norm: nn.BatchNorm2d, with_variance: bool) -> None:
        self._running = running_statistics(norm)
        self._with_variance = with_variance
        self._batches: list[tuple[Tensor, Tensor]] = []
        self._sizes: list[int] = []

    def __call__(self, norm: nn.BatchNorm2d, inputs: tuple[Tensor], output: Tensor) -> Tensor:
        """The replacement of `output`; both (N, C, H, W)."""
        values = inputs[0].numel() // inputs[0].shape[1]  # of each channel; a single one has no unbiased variance
        variance, mean = torch.var_mean(inputs[0], (0, 2, 3), correction=min(1, values - 1))
        statistics = (mean, variance if self._with_variance else self._running[1])
        self._batches.append(statistics)
        self._sizes.append(len(inputs[0]))
        normalised = F.batch_norm(inputs[0], *statistics, norm.weight, norm.bias, eps=norm.eps)
        activation = getattr(norm, "act", None)  # timm's batch norm holds its activation function
        return normalised if activation is None else activation(normalised)

    def put_into(self, norm: nn.BatchNorm2d) -> None:
        """Replace the running statistics of the channels that vary, (C,) each, by the mean over the images' batches."""
        shares = torch.tensor(self._sizes).to(self._running[0]) / sum(self._sizes)  # (batches,)
        mean, variance = (shares @ torch.stack(each) for each in zip(*self._batches, strict=True))
        constant = constant_channels(variance, norm.eps)
        for running, new in zip(running_statistics(norm), (mean, variance), strict=True):
            running.copy_(torch.where(constant, running, new))


class ReestimateBatchNorm:
    """See `reestimate_batch_norm`."""

    name = "reestimate_batchnorm"
    when: When = "before"

    def apply(self, state: PtqState) -> None:
        """Change the statistics of the FP32 network."""
        reestimate_batch_norm(state.model, state.graph, state.scheme.weights, state.batches())


register(ReestimateBatchNorm())
