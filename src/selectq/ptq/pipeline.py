"""Post-training quantization: its algorithms in their order, with calibration and quantization among them."""

import copy
import dataclasses
from collections.abc import Collection, Iterable

from selectq.config.algorithms import algorithm_settings
from selectq.config.configs import PtqConfig
from selectq.data.augment import image_batches
from selectq.data.packed import Dataset
from selectq.networks.checkpoint import Fp32Checkpoint
from selectq.ptq.registry import PtqAlgorithm, PtqState, find
from selectq.quantization.network import Network
from selectq.quantization.post_training import calibration_images, fold_model, quantize_network
from selectq.quantization.quantized import Scheme
from selectq.quantization.scopes import require_kinds


def ptq_pipeline(fp32: Fp32Checkpoint, dataset: Dataset, config: PtqConfig, seed: int) -> Network:
    """The FP32 network after post-training quantization, in evaluation mode on the data set's device.

    Raises:
        UserError: an algorithm is not known, more calibration images are asked for than the split holds, or bits for a
            kind that is not there.
    """
    algorithms, device = find(config.algorithm_names), dataset.train.device
    images = calibration_images(dataset, config.calibration, seed)
    state = _on_fp32(fp32, algorithms)
    state.settings, state.seed = algorithm_settings(config.algorithms), seed
    state.scheme = Scheme(config.weights, config.activations)
    require_kinds(state.graph, state.scheme)
    state.batches, state.reference = lambda: image_batches(images), state.model
    state.normalization = fp32.normalization
    state.model = copy.deepcopy(state.reference).to(device)
    _apply(algorithms, "before", state)
    network = fold_model(state.model, state.graph, state.normalization, device)
    state.quantized = quantize_network(network, dataset, config.calibration, state.scheme, seed)
    _apply(algorithms, "after", state)
    return state.quantized


def equivalent_fp32(fp32: Fp32Checkpoint, algorithms: Collection[str]) -> Fp32Checkpoint:
    """The FP32 network after the algorithms that run on it: what each quantized layer is compared with.

    Raises:
        UserError: an algorithm is not known.
    """
    return dataclasses.replace(fp32, model=_on_fp32(fp32, find(algorithms)).model)


def _on_fp32(fp32: Fp32Checkpoint, algorithms: Iterable[PtqAlgorithm]) -> PtqState:
    state = PtqState(copy.deepcopy(fp32.model), fp32.graph, {})
    _apply(algorithms, "fp32", state)
    return state


def _apply(algorithms: Iterable[PtqAlgorithm], when: str, state: PtqState) -> None:
    for algorithm in algorithms:
        if algorithm.when == when:
            algorithm.apply(state)
