"""What is kept of a fake-quantized network, as JSON."""

from collections.abc import Collection
from typing import Any

import torch

from selectq.config.algorithms import RELU6_AS_RELU
from selectq.data.evaluate import evaluate
from selectq.data.packed import Split
from selectq.graph.capture import capture
from selectq.graph.chains import chains
from selectq.networks.checkpoint import Fp32Checkpoint
from selectq.ptq.pipeline import equivalent_fp32
from selectq.quantization.post_training import fold_fp32


def simulated_metrics(
    fp32: Fp32Checkpoint, algorithms: Collection[str], validation_top1: float, retrained: int
) -> dict[str, Any]:
    """Accuracy, parameters, and how many chains of layers `equalize` acts on, where it is among the algorithms.

    Args:
        fp32: what was quantized.
        algorithms: those that acted on it; that `equalize` found nothing to act on is printed.
        validation_top1: in percent.
        retrained: how many of the parameters learnt.
    """
    metrics = {
        "validation_top1": round(validation_top1, 4),
        "parameters": sum(parameter.numel() for parameter in fp32.model.parameters()),
        "params_retrained": retrained,
        "torch": torch.__version__,
    }
    if "equalize" not in algorithms:
        return metrics
    replaced = equivalent_fp32(fp32, [name for name in algorithms if name == RELU6_AS_RELU])
    found = len(chains(capture(replaced.model)))
    if not found:
        print("equalize: changes nothing, the network has no two layers with at most a ReLU or a max pool between them")
    return metrics | {"equalized_chains": found}


def relu6_metrics(fp32: Fp32Checkpoint, validation: Split) -> dict[str, float]:
    """What ReLU for ReLU6 costs the FP32 network, in points of the validation images."""
    networks = (fp32, equivalent_fp32(fp32, [RELU6_AS_RELU]))
    forwards = [fold_fp32(network, validation.device) for network in networks]
    before, after = (evaluate(forward, validation, "FP32 validation")["top1"] for forward in forwards)
    return {
        "fp32_validation_top1": round(before, 4),
        "fp32_relu_validation_top1": round(after, 4),
        "fp32_relu6_as_relu_cost": round(before - after, 4),
    }
