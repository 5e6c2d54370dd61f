"""Unequal channel ranges without a change of function: cross-layer equalisation run backwards.

Nagel et al. 2019 ("Data-Free Quantization Through Weight Equalization and Bias Correction", eq. 6) scale a
channel between two layers by s and divide the next layer's inputs by s; ReLU(s x) = s ReLU(x) for s > 0 keeps
the function. Ranges in networks pretrained on ImageNet are unequal; this gives any network such ranges.
"""

from itertools import pairwise
from pathlib import Path

import torch
from torch import nn

from selectq.errors import UserError
from selectq.graph.capture import capture
from selectq.graph.chains import Chain, chains
from selectq.graph.nodes import Graph
from selectq.networks.checkpoint import Fp32Checkpoint, read_fp32
from selectq.networks.layers import float_layer, rescale_channels


def read_skewed(path: Path, range_skew: float, seed: int) -> Fp32Checkpoint:
    """The network that is quantized: an FP32 checkpoint with its channel ranges skewed, the function unchanged."""
    checkpoint = read_fp32(path)
    if range_skew:
        skew_ranges(checkpoint.model, capture(checkpoint.model), range_skew, seed)
    return checkpoint


@torch.no_grad()
def skew_ranges(model: nn.Module, graph: Graph, sigma: float, seed: int) -> None:
    """Multiply every channel whose scale is free by exp(sigma * normal), in place.

    The function is unchanged in evaluation mode up to rounding. The batch norms are not folded.

    Raises:
        UserError: the network has no such channels.
    """
    generator = torch.Generator().manual_seed(seed)
    for chain in require_chains(graph, sigma):
        for layer, following in pairwise(float_layer(model, node) for node in chain):
            normal = torch.randn(len(layer.module.weight), generator=generator)
            rescale_channels(layer, following, torch.exp(sigma * normal))


def require_chains(graph: Graph, sigma: float) -> list[Chain]:
    """The chains of a network, of which there is one at least.

    Raises:
        UserError: there is none.
    """
    found = chains(graph)
    if not found:
        raise UserError(
            f"range_skew: {sigma:g} needs two layers with nothing but a ReLU between them, which this network has not;"
            " allowed: 0.0"
        )
    return found
