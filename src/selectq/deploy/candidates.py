"""Quantizations without training, the cheapest first, and the choice among them."""

import copy
import dataclasses
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from selectq.config.algorithms import RELU6_AS_RELU
from selectq.config.configs import ActivationScheme, CalibrationConfig, PtqConfig, WeightScheme
from selectq.data.evaluate import predict_logits, top1
from selectq.data.packed import Dataset
from selectq.deploy.outcome import right_of
from selectq.graph.bounds import RELU6
from selectq.graph.capture import capture
from selectq.graph.nodes import Graph
from selectq.kernels.simulation import quantized_forward
from selectq.networks.build import replace_relu6
from selectq.networks.checkpoint import Fp32Checkpoint
from selectq.ptq.pipeline import equivalent_fp32, ptq_pipeline
from selectq.quantization.network import Network

WEIGHTS = WeightScheme(8, "channel")
ACTIVATIONS = ActivationScheme(8, symmetric=False)
ALGORITHMS = ("zero_dead_channels", "equalize", "correct_bias")


@dataclass(frozen=True)
class Candidate:
    """A quantization without training."""

    name: str
    config: PtqConfig


@dataclass(frozen=True)
class Tried:
    """A candidate on the images that choose.

    Attributes:
        candidate: what it is.
        network: fake-quantized.
        right: how many of the images it puts into the right class.
        distance: the mean squared difference of its logits from the FP32 network's.
    """

    candidate: Candidate
    network: Network
    right: int
    distance: float


def candidates(images: int, relu6: bool) -> list[Candidate]:
    """Those to try, the cheapest first.

    Args:
        images: to calibrate on.
        relu6: whether ReLU may stand in for ReLU6.
    """
    plain = CalibrationConfig("train", images, "minmax", 99.99, 0.1)
    percentile = dataclasses.replace(plain, estimator="percentile")
    found = [
        Candidate("min-max", PtqConfig(WEIGHTS, ACTIVATIONS, plain, ())),
        Candidate("percentile 99.99", PtqConfig(WEIGHTS, ACTIVATIONS, percentile, ())),
        Candidate("equalized, bias corrected", PtqConfig(WEIGHTS, ACTIVATIONS, plain, ALGORITHMS)),
    ]
    if relu6:
        algorithms = (RELU6_AS_RELU, *ALGORITHMS)
        found.append(
            Candidate("ReLU for ReLU6, equalized, corrected", PtqConfig(WEIGHTS, ACTIVATIONS, plain, algorithms))
        )
    return found


def has_replaceable_relu6(fp32: Fp32Checkpoint) -> bool:
    """Whether a network has ReLU6, and all of it as modules, so that ReLU can stand in."""
    if not _has_relu6(fp32.graph):
        return False
    replaced = copy.deepcopy(fp32.model)
    replace_relu6(replaced)
    return not _has_relu6(capture(replaced))


def _has_relu6(graph: Graph) -> bool:
    return any(node.bounds == RELU6 for node in graph.nodes)


def try_all(
    fp32: Fp32Checkpoint, dataset: Dataset, fp32_logits: Tensor, tried: Iterable[Candidate], seed: int
) -> list[Tried]:
    """Every candidate, quantized on the training images and simulated on the validation images.

    Args:
        fp32: the FP32 network, on the CPU.
        dataset: normalised as the network takes it.
        fp32_logits: its logits of the validation images, (N, classes).
        tried: the candidates.
        seed: of the calibration images' order.
    """
    found = []
    for candidate in tried:
        network = ptq_pipeline(fp32, dataset, candidate.config, seed)
        logits = predict_logits(quantized_forward(network, dataset.train.device), dataset.validation, candidate.name)
        right = int(right_of(logits.numpy(), dataset.validation.labels).sum())
        found.append(Tried(candidate, network, right, (logits - fp32_logits).square().mean().item()))
    return found


def choose(tried: Sequence[Tried]) -> Tried:
    """The one that is right most often; of those within one image, the nearest to FP32, and then the cheapest."""
    most = max(each.right for each in tried)
    return min((each for each in tried if each.right >= most - 1), key=lambda each: each.distance)


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
