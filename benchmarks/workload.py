"""What both sides train on: the parameters of params.yaml and random images."""

import dataclasses
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from itertools import cycle

import torch
from timing import Batch
from torch import Tensor, nn

from selectq.data.augment import training_batches
from selectq.data.packed import Dataset, Split
from selectq.params.configs import FinetuneConfig, Params, QatConfig
from selectq.params.load import choose

CLASSES = 10
IMAGE_SIZE = 32


@dataclass(frozen=True)
class Workload:
    """The parameters, and a data set that lies on the device."""

    params: Params
    dataset: Dataset

    @property
    def device(self) -> torch.device:
        """Where the images lie, and the networks too."""
        return self.dataset.train.images.device

    @property
    def full_qat(self) -> QatConfig:
        """The configuration `full`: every layer learns."""
        config: QatConfig = choose(self.params.qat, "full", "qat")
        return config


def random_dataset(images: int, device: torch.device) -> Dataset:
    """`images` images of random pixels with random labels: a step takes as long on them as on real ones."""
    generator = torch.Generator().manual_seed(0)
    pixels = torch.randint(256, (images, 3, IMAGE_SIZE, IMAGE_SIZE), generator=generator, dtype=torch.uint8)
    labels = torch.randint(CLASSES, (images,), generator=generator)
    split = Split(pixels, labels).to(device)
    return Dataset(split, split, split, tuple(map(str, range(CLASSES))), {"name": "random pixels"})


def shrunk(params: Params, batch_size: int, calibration_images: int) -> Params:
    """The parameters with small batches and little calibration."""
    training = params.qat_training
    calibration = dataclasses.replace(training.calibration, images=calibration_images)
    return dataclasses.replace(
        params,
        finetune=dataclasses.replace(params.finetune, batch_size=batch_size),
        qat_training=dataclasses.replace(training, batch_size=batch_size, calibration=calibration),
    )


def sgd(model: nn.Module, config: FinetuneConfig) -> torch.optim.SGD:
    """The optimiser of FP32 training."""
    return torch.optim.SGD(
        model.parameters(),
        lr=config.lr,
        momentum=config.momentum,
        nesterov=config.nesterov,
        weight_decay=config.weight_decay,
    )


def endless(epoch: Callable[[], Iterable[Batch]]) -> Iterator[Batch]:
    """The batches of one epoch after the other."""
    while True:
        yield from epoch()


def prepared_batches(workload: Workload, memory_format: torch.memory_format) -> Iterator[Batch]:
    """One epoch of QAT batches, made beforehand and repeated without end: a step costs nothing but itself."""
    training = workload.params.qat_training
    generator = torch.Generator().manual_seed(0)
    epoch = training_batches(workload.dataset.train, training.batch_size, training.augment, generator)
    return cycle([(images.contiguous(memory_format=memory_format), labels) for images, labels in epoch])


@torch.no_grad()
def settle_batch_norms(model: nn.Module, images: Tensor) -> None:
    """Give a fresh network the batch statistics of `images`, float (N, 3, H, W), and put it into evaluation mode.

    With the initial statistics, the signal would fade from layer to layer to numbers that may be slow to handle.
    """
    for module in model.modules():
        if isinstance(module, nn.BatchNorm2d):
            module.momentum = 1.0
    model.train()(images)
    model.eval()
