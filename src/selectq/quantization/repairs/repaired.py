"""Post-training quantization with its algorithms: some change the FP32 network before, some the quantized one after."""

import copy
import dataclasses
from collections.abc import Callable, Collection, Iterable, Sequence

from torch import Tensor, nn

from selectq.data.augment import image_batches
from selectq.data.packed import Dataset
from selectq.graph.capture import capture
from selectq.graph.nodes import Graph
from selectq.networks.checkpoint import Fp32Checkpoint
from selectq.params.configs import PtqConfig, WeightScheme
from selectq.quantization.network import Network
from selectq.quantization.post_training import calibration_images, fold_model, quantize_network
from selectq.quantization.quantized import Scheme
from selectq.quantization.repairs.batch_norm import reestimate_batch_norm
from selectq.quantization.repairs.bias_correction import correct_bias
from selectq.quantization.repairs.dead_channels import zero_dead_channels
from selectq.quantization.repairs.equalization import equalize
from selectq.quantization.scopes import require_kinds

EQUIVALENT: dict[str, Callable[[nn.Module, Graph], None]] = {
    "zero_dead_channels": zero_dead_channels,
    "equalize": equalize,
}
"""Algorithms that change the FP32 network and keep its function."""

ADAPTED: dict[str, Callable[[nn.Module, Graph, WeightScheme, Iterable[Tensor]], None]] = {
    "reestimate_batchnorm": reestimate_batch_norm,
}
"""Algorithms that prepare the FP32 network for rounded weights, by calibration images."""

CORRECTED: dict[str, Callable[[Network, Network, Sequence[Tensor]], None]] = {
    "correct_bias": correct_bias,
}
"""Algorithms that bring the quantized network nearer to the float one, by calibration images."""


def quantize_repaired(parent: Fp32Checkpoint, dataset: Dataset, config: PtqConfig, seed: int) -> Network:
    """The FP32 network after post-training quantization, in evaluation mode on the data set's device.

    Raises:
        UserError: more calibration images are asked for than the split holds, or bits for a kind that is not there.
    """
    scheme, device = Scheme(config.weights, config.activations), dataset.train.device
    graph = capture(parent.model)
    require_kinds(graph, scheme)
    images = calibration_images(dataset, config.calibration, seed)
    reference = equivalent_model(parent.model, graph, config.repairs)
    adapted = copy.deepcopy(reference).to(device)
    for name, adapt in ADAPTED.items():
        if name in config.repairs:
            adapt(adapted, graph, scheme.weights, image_batches(images))
    network = quantize_network(fold_model(adapted, graph, device), dataset, config.calibration, scheme, seed)
    for name, correct in CORRECTED.items():
        if name in config.repairs:
            correct(fold_model(reference, graph, device), network, list(image_batches(images)))
    return network


def equivalent_parent(parent: Fp32Checkpoint, repairs: Collection[str]) -> Fp32Checkpoint:
    """The FP32 network after the algorithms that keep its function: what each quantized layer is compared with."""
    return dataclasses.replace(parent, model=equivalent_model(parent.model, capture(parent.model), repairs))


def equivalent_model(model: nn.Module, graph: Graph, repairs: Collection[str]) -> nn.Module:
    """The same, alone."""
    model = copy.deepcopy(model)
    for name, repair in EQUIVALENT.items():
        if name in repairs:
            repair(model, graph)
    return model
