"""Scores of every layer, from some images without labels: what fewer bits lose, and what retraining may win.

Labels are drawn from the FP32 softmax: the divergence of a network from itself has no gradient, that of its own
samples has, and its mean square is the Fisher information (Kunstner et al. 2019, arXiv:1905.12558).
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import get_args

import pandas as pd
import torch
import torch.nn.functional as F
from torch import Tensor

from selectq.config.configs import Score
from selectq.data.packed import Split
from selectq.graph.nodes import PIXELS
from selectq.quantization.network import FloatActivation, Layer, Network, NodeModule
from selectq.quantization.scale_assignment import weight_quantizer_of
from selectq.selection.layers import LAYER_COLUMNS, layer_table, reached_from, watched_layers

FISHER_IMAGES = 8
"""Images of one backward pass. Gradients of sampled labels are 0 in the mean, so that the square of a sum of them has
the sum of their squares for its mean: more at once is faster, and a noisier estimate."""

DIVERGENCE_IMAGES = 64
"""Images of one pass through the quantized network, of which every node's output is kept."""

LEAST_DAMPING = 1e-12
"""Where a network is so sure of every label that its Fisher information is 0, gains are 0 as well, or large ones."""

RETRAINING_COLUMNS = [score for score in get_args(Score) if score not in LAYER_COLUMNS]
"""Of `retraining_scores`, behind those of the layer itself."""


@dataclass
class _Sums:
    """Of one layer, over all images: by form, (∂L/∂y)² (Q(y) - y)² and (Q(y) - y)²; y²; the weight's (∂L/∂w)²."""

    fisher: dict[int, float]
    errors: dict[int, float]
    outputs: float = 0.0
    weight_fisher: Tensor = field(default_factory=lambda: torch.zeros(()))

    @torch.no_grad()
    def add(self, forms: Mapping[int, Layer], x: Tensor, y: Tensor, gradient: Tensor) -> None:
        """Take in a batch: what the layer reads, what it stores in float, and ∂L/∂y."""
        self.outputs += _squares(y)
        for form, layer in forms.items():
            error = layer(x) - y
            self.errors[form] += _squares(error)
            self.fisher[form] += _squares(error * gradient)


def width_scores(network: Network, quantized: Mapping[int, Network], images: Split, seed: int) -> pd.DataFrame:
    """What each layer loses by itself at each width: its output Fisher, and its drift.

    Half the sum of `fisher_<bits>` over the layers would be, to second order, KL(FP32 ‖ quantized) in nats, if no two
    errors went together, within a layer or between layers. As they do, it is too small; it is there to compare.

    Args:
        network: FP32, in its float form, on the images' device.
        quantized: width -> the same network, all of its layers quantized to it.
        images: which; their labels are not used.
        seed: of the labels that are drawn.

    Returns:
        The columns of `layer_table`, then `fisher_<bits>`, the mean over images of Σ (∂L/∂y)² (Q(y) - y)², and
        `drift_<bits>`, ||Q(y) - y||₂ / ||y||₂, for every width. y is what the layer stores in the float network, Q(y)
        what its quantized form makes of the same input, L the cross-entropy with a drawn label.
    """
    table, sums = _described(network, images), _float_pass(network, quantized, images, seed)
    for bits in quantized:
        table[f"fisher_{bits}"] = [each.fisher[bits] / len(images) for each in sums.values()]
        table[f"drift_{bits}"] = [_ratio(each, bits) for each in sums.values()]
    return table


def retraining_scores(network: Network, quantized: Network, images: Split, seed: int) -> pd.DataFrame:
    """What retraining each layer's weights may win, without retraining.

    Args:
        network: FP32, in its float form, on the images' device.
        quantized: the same network, quantized.
        images: which; their labels are not used.
        seed: of the labels that are drawn.

    Returns:
        The columns of `layer_table`, then, ĝ being the straight-through gradient of KL(FP32 ‖ quantized) in nats:

        - gain: 1/2 Σ ĝ² / (F + λ), the divergence that one natural-gradient step takes away; F is the diagonal Fisher
          information of the FP32 weights, λ its mean over all weights of the network
        - gradient: Σ |ĝ|
        - gradient_times_error: Σ |ĝ · Δw|, Δw what rounding changes
        - drift: ||Q(y) - y||₂ / ||y||₂ of the layer alone
        - causal_gain: by how much the divergence drops where this layer alone is float
    """
    table, sums = _described(network, images), _float_pass(network, {0: quantized}, images, seed)
    fishers = [each.weight_fisher / len(images) for each in sums.values()]
    damping = (torch.stack([fisher.sum() for fisher in fishers]).sum() / table["parameters"].sum()).item()
    damping = max(damping, LEAST_DAMPING)
    gradients, gains = _divergence_gradients(network, quantized, images), causal_gains(network, quantized, images)
    scores = []
    for layer, gradient, fisher, each in zip(quantized.layers(), gradients, fishers, sums.values(), strict=True):
        scores.append(
            {
                "gain": 0.5 * (gradient.square() / (fisher + damping)).sum().item(),
                "gradient": gradient.abs().sum().item(),
                "gradient_times_error": (gradient * _rounding(layer)).abs().sum().item(),
                "drift": _ratio(each, 0),
                "causal_gain": gains[layer.name],
            }
        )
    return table.join(pd.DataFrame(scores, columns=RETRAINING_COLUMNS))


@torch.no_grad()
def causal_gains(network: Network, quantized: Network, images: Split) -> dict[str, float]:
    """Layer -> by how much KL(FP32 ‖ quantized), in nats, drops where this layer alone has float weights and output.

    Nodes that a layer does not reach are computed once for a batch, not once for each layer.
    """
    behind, gains = reached_from(quantized.graph), dict.fromkeys((layer.name for layer in quantized.layers()), 0.0)
    for batch in _batches(images, DIVERGENCE_IMAGES):
        expected, outputs = network(batch), {PIXELS: batch}

        def keep(module: torch.nn.Module, output: Tensor, outputs: dict[str, Tensor] = outputs) -> None:
            assert isinstance(module, NodeModule)
            outputs[module.name] = output

        whole = divergence(expected, quantized.watched(batch, keep)).item()
        for layer in quantized.layers():
            given = {name: output for name, output in outputs.items() if name not in behind[layer.name]}
            given[layer.name] = _in_float(layer, outputs[layer.node.inputs[0]])
            logits = quantized.compute(quantized.graph.output.name, given)
            gains[layer.name] += (whole - divergence(expected, logits).item()) / len(images)
    return gains


def divergence(expected: Tensor, logits: Tensor) -> Tensor:
    """KL(expected ‖ other) in nats (a scalar), the sum over images; both are logits (N, classes)."""
    return F.kl_div(F.log_softmax(logits, 1), F.log_softmax(expected, 1), reduction="sum", log_target=True)


def _described(network: Network, images: Split) -> pd.DataFrame:
    return layer_table(network, next(_batches(images, 1)))


def _batches(images: Split, size: int) -> Iterator[Tensor]:
    return (images.normalization(chunk) for chunk in images.chunks(size))


def _ratio(sums: _Sums, form: int) -> float:
    return (sums.errors[form] / sums.outputs) ** 0.5 if sums.outputs else 0.0


def _rounding(layer: Layer) -> Tensor:
    """What rounding changes of the weight; of its shape."""
    return weight_quantizer_of(layer)(layer.weight, layer.bias)[0].detach() - layer.weight.detach()


def _in_float(layer: Layer, x: Tensor) -> Tensor:
    y: Tensor = FloatActivation(layer.bounds)(layer.raw(x, layer.weight, layer.bias))
    return y


def _float_pass(network: Network, forms: Mapping[int, Network], images: Split, seed: int) -> dict[str, _Sums]:
    """One forward and one backward pass of the float network over the images: layer -> its sums.

    Errors are made when a layer's gradient arrives, from what autograd keeps anyway: memory does not grow with forms,
    nor with images.
    """
    sums = {layer.name: _Sums(dict.fromkeys(forms, 0.0), dict.fromkeys(forms, 0.0)) for layer in network.layers()}

    def watch(layer: Layer, x: Tensor, y: Tensor) -> None:
        own = {form: quantized[layer.name] for form, quantized in forms.items()}
        y.register_hook(lambda gradient: sums[layer.name].add(own, x.detach(), y.detach(), gradient))

    generator, weights = torch.Generator().manual_seed(seed), [layer.weight for layer in network.layers()]
    for batch in _batches(images, FISHER_IMAGES):
        with watched_layers(network, watch):
            logits = network(batch)
        drawn = torch.multinomial(logits.detach().softmax(1).cpu(), 1, generator=generator).flatten()
        loss = F.cross_entropy(logits, drawn.to(logits.device), reduction="sum")
        for each, gradient in zip(sums.values(), torch.autograd.grad(loss, weights), strict=True):
            each.weight_fisher = each.weight_fisher.to(gradient) + gradient.square()
    return sums


def _squares(x: Tensor) -> float:
    return x.square().sum(dtype=torch.double).item()


def _divergence_gradients(network: Network, quantized: Network, images: Split) -> list[Tensor]:
    """The straight-through gradient of the mean of KL(FP32 ‖ quantized) for each layer's weight, of its shape."""
    weights = [layer.weight for layer in quantized.layers()]
    totals = [torch.zeros_like(weight) for weight in weights]
    for batch in _batches(images, DIVERGENCE_IMAGES):
        with torch.no_grad():
            expected = network(batch)
        gradients = torch.autograd.grad(divergence(expected, quantized(batch)), weights)
        torch._foreach_add_(totals, gradients)
    return [total / len(images) for total in totals]
