"""Post-training quantization with its algorithms: some change the FP32 network before, some the quantized one after."""

import copy
import dataclasses
from collections.abc import Callable, Collection, Iterable, Sequence

from torch import Tensor
from torchvision.models import MobileNetV2

from selectq.data.augment import image_batches
from selectq.data.packed import Dataset
from selectq.networks.checkpoint import Fp32Checkpoint
from selectq.params.configs import PtqConfig, WeightScheme
from selectq.quantization.network import Network
from selectq.quantization.post_training import calibration_images, fold_parent, quantize
from selectq.quantization.quantized import Scheme
from selectq.quantization.repairs.batch_norm import reestimate_batch_norm
from selectq.quantization.repairs.bias_correction import correct_bias
from selectq.quantization.repairs.dead_channels import zero_dead_channels
from selectq.quantization.repairs.equalization import equalize

EQUIVALENT: dict[str, Callable[[MobileNetV2], None]] = {
    "zero_dead_channels": zero_dead_channels,
    "equalize": equalize,
}
"""Algorithms that change the FP32 network and keep its function."""

ADAPTED: dict[str, Callable[[MobileNetV2, WeightScheme, Iterable[Tensor]], None]] = {
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
        UserError: more calibration images are asked for than the split holds.
    """
    scheme, device = Scheme(config.weights, config.activations), dataset.train.device
    images = calibration_images(dataset, config.calibration, seed)
    reference = equivalent_parent(parent, config.repairs)
    adapted = copy.deepcopy(reference.model).to(device)
    for name, adapt in ADAPTED.items():
        if name in config.repairs:
            adapt(adapted, scheme.weights, image_batches(images))
    network = quantize(dataclasses.replace(reference, model=adapted), dataset, config.calibration, scheme, seed)
    for name, correct in CORRECTED.items():
        if name in config.repairs:
            correct(fold_parent(reference, device), network, list(image_batches(images)))
    return network


def equivalent_parent(parent: Fp32Checkpoint, repairs: Collection[str]) -> Fp32Checkpoint:
    """The FP32 network after the algorithms that keep its function: what each quantized layer is compared with."""
    model = copy.deepcopy(parent.model)
    for name, repair in EQUIVALENT.items():
        if name in repairs:
            repair(model)
    return dataclasses.replace(parent, model=model)
