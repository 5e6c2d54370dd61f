"""Unequal channel ranges without a change of function: cross-layer equalisation run backwards.

Nagel et al. 2019 ("Data-Free Quantization Through Weight Equalization and Bias Correction", eq. 6) scale a
channel between two layers by s and divide the next layer's inputs by s; ReLU(s x) = s ReLU(x) for s > 0 keeps
the function. Ranges in networks pretrained on ImageNet are unequal; this gives any parent such ranges.
"""

import torch
from torch import Tensor, nn
from torchvision.models import MobileNetV2
from torchvision.models.mobilenetv2 import InvertedResidual


@torch.no_grad()
def skew_ranges(model: MobileNetV2, sigma: float, seed: int) -> None:
    """Multiply every channel between two convolutions of a block by exp(sigma * normal), in place.

    The function is unchanged in evaluation mode up to rounding, if the activations are ReLU.

    Args:
        model: the FP32 network, whose batch norms are not folded.
        sigma: standard deviation of the logarithm of the factors; 0 leaves the network as it is.
        seed: of the random factors.
    """
    generator = torch.Generator().manual_seed(seed)
    for block in model.features:
        if isinstance(block, InvertedResidual) and sigma > 0:
            *activated, projection, _ = block.conv
            convolutions = [layer[0] for layer in activated] + [projection]
            for layer, following in zip(activated, convolutions[1:], strict=True):
                factors = torch.exp(sigma * torch.randn(layer[1].num_features, generator=generator))
                rescale_channels(layer[1], following, factors.to(layer[1].weight))


def rescale_channels(norm: nn.BatchNorm2d, following: nn.Conv2d, factors: Tensor) -> None:
    """Scale the channels that `norm` puts out by `factors` (C,) and undo it in `following`."""
    norm.weight.mul_(factors)
    norm.bias.mul_(factors)
    # a depthwise filter (C, 1, 3, 3) has one input channel, found on its first axis; others (O, C, 1, 1) on the second
    following.weight.div_(factors.view(-1, 1, 1, 1) if following.groups > 1 else factors.view(1, -1, 1, 1))
