"""Post-training quantization: fold, calibrate, insert quantizers."""

import torch
from torch import nn

from selectq.config.configs import CalibrationConfig
from selectq.data.augment import image_batches
from selectq.data.normalization import Normalization
from selectq.data.packed import Dataset, Split
from selectq.errors import UserError
from selectq.graph.capture import capture
from selectq.graph.nodes import Graph
from selectq.networks.checkpoint import Fp32Checkpoint
from selectq.quantization.fake_quantize import Range
from selectq.quantization.folding import fold
from selectq.quantization.network import Network
from selectq.quantization.quantized import Scheme, insert_quantizers
from selectq.quantization.range_estimation import estimate_ranges


def fold_fp32(fp32: Fp32Checkpoint, device: torch.device) -> Network:
    """The FP32 network with batch norms folded, on `device`, channels last."""
    return fold_model(fp32.model, capture(fp32.model), fp32.normalization, device)


def fold_model(model: nn.Module, graph: Graph, normalization: Normalization, device: torch.device) -> Network:
    """The same of a model, its graph, and how pixels become what it takes."""
    return fold(model, graph, normalization).to(device).to(memory_format=torch.channels_last)


def calibrate(
    network: Network, dataset: Dataset, config: CalibrationConfig, scheme: Scheme, seed: int
) -> dict[str, Range]:
    """The activation ranges of a float network on the calibration images of the parameters.

    Raises:
        UserError: more calibration images are asked for than the split holds, or a layer overflows on them.
    """
    images = calibration_images(dataset, config, seed)
    ranges = estimate_ranges(network, lambda: image_batches(images), config, scheme.activations)
    for place in network.sites():
        low, high = ranges[place.name]
        if not (high - low).isfinite():
            raise UserError(f"{place.name}: puts out {low:g} to {high:g} on the calibration images; see its weights")
    return ranges


def calibration_images(dataset: Dataset, config: CalibrationConfig, seed: int) -> Split:
    """The calibration images of the parameters.

    Raises:
        UserError: more are asked for than the split holds.
    """
    split: Split = getattr(dataset, config.split)
    return split.sample(config.images, seed)


def quantize(fp32: Fp32Checkpoint, dataset: Dataset, config: CalibrationConfig, scheme: Scheme, seed: int) -> Network:
    """The FP32 network, quantized after training, in evaluation mode on the data set's device."""
    return quantize_network(fold_fp32(fp32, dataset.train.device), dataset, config, scheme, seed)


def quantize_network(
    network: Network, dataset: Dataset, config: CalibrationConfig, scheme: Scheme, seed: int
) -> Network:
    """The float network, quantized in place, in evaluation mode."""
    insert_quantizers(network, scheme, calibrate(network, dataset, config, scheme, seed))
    return network.eval()
