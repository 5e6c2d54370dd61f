"""The project's own training steps, built from the functions that its stages call."""

import torch
from timing import Trainer
from workload import CLASSES, Workload, endless, prepared_batches, settle_batch_norms, sgd

from selectq.data.augment import normalise, training_batches
from selectq.models.checkpoint import Fp32Checkpoint
from selectq.models.mobilenetv2 import build_mobilenetv2
from selectq.quantization.post_training import quantize
from selectq.quantization.quantized import Scheme
from selectq.quantization.scopes import freeze_outside, parameters_in_scope, quantizers_in_scope
from selectq.training.qat import RangeFollower, build_optimizer


def fp32(workload: Workload) -> Trainer:
    """As stages/finetune_fp32.py: resident uint8 images, augmented in batches, channels last."""
    params, config = workload.params, workload.params.finetune
    model = build_mobilenetv2(params.model, CLASSES).to(workload.device, memory_format=torch.channels_last)
    optimizer = sgd(model, config)
    generator = torch.Generator().manual_seed(params.seed)
    batches = endless(lambda: training_batches(workload.dataset.train, config.batch_size, config.augment, generator))
    return Trainer(model.train(), optimizer, batches, deterministic=True)


def full_qat(workload: Workload) -> Trainer:
    """As stages/qat.py in its first epoch, when the activation ranges still follow the data."""
    params, config, training = workload.params, workload.full_qat, workload.params.qat_training
    model, classes = build_mobilenetv2(params.model, CLASSES), workload.dataset.classes
    settle_batch_norms(model, normalise(workload.dataset.train.images[: training.batch_size].cpu()))
    parent = Fp32Checkpoint(model, params.model, classes)
    scheme = Scheme(config.weights, config.activations)
    network = quantize(parent, workload.dataset, training.calibration, scheme, params.seed)
    learning = freeze_outside(network, parameters_in_scope(parent.model, config.scope))
    RangeFollower(quantizers_in_scope(network), training)(0.0)
    batches = prepared_batches(workload, torch.channels_last)
    return Trainer(network.train(), build_optimizer(learning, config, training), batches, deterministic=True)
