"""The project's own training steps and passes, built from the functions that its stages call."""

import dataclasses
from collections.abc import Callable
from functools import partial
from itertools import count

import torch
from timing import Trainer
from torch import Tensor
from workload import Workload, endless, prepared_batches

from selectq.analysis.drift import measure_drift
from selectq.config.configs import QatConfig
from selectq.data.augment import image_batches, training_batches
from selectq.data.packed import Split
from selectq.kernels.simulation import QUANTIZED_KERNELS, quantized_forward
from selectq.networks.checkpoint import Fp32Checkpoint
from selectq.quantization.network import Network
from selectq.quantization.post_training import calibrate, fold_fp32, quantize
from selectq.quantization.quantized import Scheme
from selectq.quantization.scopes import freeze_outside, parameters_in_scope, quantizers_in_scope
from selectq.training.batches import FixedViews
from selectq.training.features import ClassifierFeatures
from selectq.training.finetune import FLOAT_KERNELS, finetune_optimizer
from selectq.training.forward import Forward, training_forward
from selectq.training.loop import HookSequence
from selectq.training.qat import RangeFollower, ScaleUpdate, build_optimizer

Way = Callable[..., Forward]
"""How a network's training forward pass is computed, as `training_forward` decides it."""


def fp32(workload: Workload, way: Way = training_forward) -> Trainer:
    """As stages/finetune_fp32.py: resident uint8 images, augmented in batches, channels last."""
    params, config = workload.params, workload.params.finetune
    model = workload.network().to(workload.device, memory_format=torch.channels_last)
    optimizer = finetune_optimizer(model, config)
    generator = torch.Generator().manual_seed(params.seed)
    batches = endless(lambda: training_batches(workload.dataset.train, config.batch_size, config.augment, generator))
    forward = way(model.train(), FLOAT_KERNELS, workload.device)
    return Trainer(forward, optimizer, batches)


def qat(workload: Workload, name: str, way: Way = training_forward) -> Trainer:
    """As stages/qat.py in its first epoch, when the activation ranges still follow the data."""
    config, training = workload.params.qat[name], workload.params.qat_training
    network, fp32 = quantized(workload, config)
    learning = freeze_outside(network, parameters_in_scope(fp32.model, config.scope))
    follower = RangeFollower(quantizers_in_scope(network), training)
    forward = way(network.train(), QUANTIZED_KERNELS, workload.device)
    batches = prepared_batches(workload, torch.channels_last)
    hooks = HookSequence(follower, ScaleUpdate(network))
    return Trainer(forward, build_optimizer(learning, config, training), batches, hooks)


def classifier(workload: Workload, name: str) -> Trainer:
    """As stages/qat.py where only the classifier learns, once its features are computed."""
    config, training = workload.params.qat[name], workload.params.qat_training
    network, fp32 = quantized(workload, config)
    learning = freeze_outside(network, parameters_in_scope(fp32.model, config.scope))
    views = FixedViews(workload.dataset.train, training.batch_size, training.augment, training.feature_views, seed=0)
    layer = network.train().classifier()
    assert layer is not None
    features, epochs = ClassifierFeatures(network, layer, views), count()
    batches = endless(lambda: features.epoch(next(epochs), torch.Generator().manual_seed(0)))
    return Trainer(layer, build_optimizer(learning, config, training), batches)


def quantized(workload: Workload, config: QatConfig) -> tuple[Network, Fp32Checkpoint]:
    """A quantized network as a configuration starts from, and the FP32 network."""
    fp32 = workload.fp32()
    scheme = Scheme(config.weights, config.activations)
    calibration = workload.params.qat_training.calibration
    return quantize(fp32, workload.dataset, calibration, scheme, workload.params.seed), fp32


def float_pass(workload: Workload) -> Callable[[], int]:
    """The plain forward pass: the folded float network over all images."""
    network = fold_fp32(workload.fp32(), workload.device)
    return lambda: _over(workload.dataset.test, network)


def evaluation(workload: Workload) -> Callable[[], int]:
    """The fake-quantized network over all images."""
    network, _ = quantized(workload, workload.full_qat)
    forward = quantized_forward(network.eval(), workload.device)
    return lambda: _over(workload.dataset.test, forward)


def calibration(workload: Workload) -> Callable[[], int]:
    """The ranges of all places, from all images."""
    network, scheme = fold_fp32(workload.fp32(), workload.device), _scheme(workload)
    images = len(workload.dataset.train)
    config = dataclasses.replace(workload.params.qat_training.calibration, images=images)

    def work() -> int:
        calibrate(network, workload.dataset, config, scheme, seed=0)
        return images

    return work


DRIFT_IMAGES = 500
DRIFT_PASSES = 4
"""Through the float network, the quantized one, its blocks alone and its layers alone."""


def drift(workload: Workload) -> Callable[[], int]:
    """Drift of every block and layer over all images; each counts once for each pass that it takes."""
    network, _ = quantized(workload, workload.full_qat)
    fp32, images = fold_fp32(workload.fp32(), workload.device), workload.dataset.test.part(slice(DRIFT_IMAGES))
    simulate = partial(quantized_forward, device=workload.device)

    def work() -> int:
        measure_drift(fp32, network, image_batches(images), simulate)
        return DRIFT_PASSES * len(images)

    return work


@torch.no_grad()
def _over(images: Split, forward: Callable[[Tensor], Tensor]) -> int:
    for batch in image_batches(images):
        forward(batch)
    return len(images)


def _scheme(workload: Workload) -> Scheme:
    return Scheme(workload.full_qat.weights, workload.full_qat.activations)
