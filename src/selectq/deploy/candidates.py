"""Quantizations, the cheapest first, and the choice among those without training."""

import copy
import dataclasses
from collections.abc import Sequence

import torch
from torch import Tensor, nn

from selectq.config.algorithms import RELU6_AS_RELU
from selectq.config.configs import ActivationScheme, CalibrationConfig, PtqConfig, WeightScheme
from selectq.data.evaluate import predict_logits, top1
from selectq.data.packed import Dataset
from selectq.graph.bounds import RELU6
from selectq.graph.capture import capture
from selectq.graph.nodes import Graph
from selectq.networks.build import replace_relu6
from selectq.networks.checkpoint import Fp32Checkpoint
from selectq.ptq.pipeline import equivalent_fp32
from selectq.quantization.quantized import Scheme
from selectq.selection.trial import Candidate, Tried

CORRECT_BIAS = "correct_bias"
ALGORITHMS = ("zero_dead_channels", "equalize", CORRECT_BIAS)


def scheme_of(weight_bits: int, activation_bits: int) -> Scheme:
    """Per channel, asymmetric; one width for all weights, and one for all activations."""
    return Scheme(WeightScheme(weight_bits, "channel"), ActivationScheme(activation_bits, symmetric=False))


def candidates(images: int, relu6: bool, scheme: Scheme) -> list[Candidate]:
    """Those without training to try, the cheapest first.

    Activations of fewer than 8 bits have too few codes for whole ranges: the best range is searched by squared error.

    Args:
        images: to calibrate on.
        relu6: whether ReLU may stand in for ReLU6.
        scheme: one width for all activations.
    """
    plain, wide = CalibrationConfig("train", images, "minmax", 99.99, 0.1), scheme.activations.bits == 8
    cut = dataclasses.replace(plain, estimator="percentile" if wide else "mse")
    behind = plain if wide else cut

    def of(name: str, calibration: CalibrationConfig, *algorithms: str) -> Candidate:
        return Candidate(name, PtqConfig(scheme.weights, scheme.activations, calibration, algorithms))

    found = [
        of("min-max", plain),
        of("percentile 99.99" if wide else "least squared error", cut),
        of("equalized, bias corrected", behind, *ALGORITHMS),
    ]
    return [*found, of("ReLU for ReLU6, equalized, corrected", behind, RELU6_AS_RELU, *ALGORITHMS)] if relu6 else found


def has_replaceable_relu6(fp32: Fp32Checkpoint) -> bool:
    """Whether a network has ReLU6, and all of it as modules, so that ReLU can stand in."""
    if not _has_relu6(fp32.graph):
        return False
    replaced = copy.deepcopy(fp32.model)
    replace_relu6(replaced)
    return not _has_relu6(capture(replaced))


def _has_relu6(graph: Graph) -> bool:
    return any(node.bounds == RELU6 for node in graph.nodes)


def choose(tried: Sequence[Tried]) -> Tried:
    """The one that is right most often; of those within one image, the nearest to FP32, and then the cheapest."""
    most = max(each.right.sum() for each in tried)
    return min((each for each in tried if each.right.sum() >= most - 1), key=lambda each: each.distance)


def fp32_forward(model: nn.Module, device: torch.device) -> nn.Module:
    """A copy of an FP32 network, to compute with on a device."""
    return copy.deepcopy(model).eval().to(device).to(memory_format=torch.channels_last)


def relu6_cost(fp32: Fp32Checkpoint, dataset: Dataset, fp32_logits: Tensor) -> float:
    """How much ReLU for ReLU6 costs the FP32 network, in points of top-1 on the validation images.

    `fp32_logits` are its logits of these.
    """
    split = dataset.validation
    replaced = fp32_forward(equivalent_fp32(fp32, [RELU6_AS_RELU]).model, split.device)
    logits, labels = predict_logits(replaced, split, "ReLU for ReLU6"), split.labels.cpu()
    return top1(fp32_logits, labels) - top1(logits, labels)
