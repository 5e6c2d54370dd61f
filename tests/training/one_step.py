"""One training step by however many processes take part: gradients, statistics and ranges."""

import dataclasses

import torch
import torch.nn.functional as F
from small_networks import BATCH, coloured_dataset, committed_params, model_config, quantized, random_network, scheme
from torch import Tensor, nn

from selectq.config.configs import AugmentConfig
from selectq.quantization.scopes import quantizers_in_scope
from selectq.training.batches import AugmentedImages
from selectq.training.finetune import finetune_forward
from selectq.training.forward import Forward
from selectq.training.parallel import Workers
from selectq.training.qat import RangeFollower

CPU = torch.device("cpu")


def gradients(network: nn.Module, forward: Forward, workers: Workers) -> dict[str, Tensor]:
    """Of the mean loss of one augmented batch."""
    batches = AugmentedImages(coloured_dataset().train, BATCH, AugmentConfig(True, 2, 0), workers)
    images, labels = next(iter(batches.epoch(0, torch.Generator().manual_seed(0))))
    assert len(labels) == BATCH // workers.count
    F.cross_entropy(forward(images.to(next(network.parameters()))), labels).backward()
    workers.average_gradients(network.parameters())
    return {name: parameter.grad for name, parameter in network.named_parameters() if parameter.grad is not None}


def float_step(workers: Workers) -> dict[str, Tensor]:
    """In double precision, without the kernels, which are in single."""
    config = dataclasses.replace(committed_params().finetune, precision="float32")
    model = random_network(model_config(dropout=0.0), seed=0).train()
    forward = model if workers.count == 1 else finetune_forward(model, CPU, config, workers)
    found = gradients(model, forward, workers)
    return found | {f"buffer.{name}": value for name, value in model.named_buffers()}


def quantized_step(workers: Workers) -> dict[str, Tensor]:
    network = quantized(scheme()).train()
    follower = RangeFollower(quantizers_in_scope(network), committed_params().qat_training, workers)
    follower.before_step(0.0)
    found = gradients(network, network, workers)
    follower.after_step(0.0)
    return found | {f"buffer.{name}": value for name, value in network.named_buffers()}


def step(workers: Workers) -> dict[str, Tensor]:
    """Both steps' tensors, under `float.` and `quantized.`."""
    found = {"float": float_step(workers), "quantized": quantized_step(workers)}
    return {f"{kind}.{name}": value for kind, tensors in found.items() for name, value in tensors.items()}
