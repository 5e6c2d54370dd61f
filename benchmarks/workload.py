"""What both sides train on: the parameters of the CIFAR-10 study and random images."""

import dataclasses
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from itertools import cycle
from pathlib import Path
from typing import Any

import torch
from timing import Batch
from torch import Tensor, nn

from selectq.config.configs import Params, QatConfig
from selectq.config.load import choose, validate
from selectq.data.augment import training_batches
from selectq.data.normalization import INTEGER_GRID
from selectq.data.packed import Dataset, Split
from selectq.networks.build import build_network
from selectq.networks.checkpoint import Fp32Checkpoint
from selectq.study import Study, study_parameters

CLASSES = 10
IMAGE_SIZE = 32
OTHER_BATCH = 64
BATCH_TO_SETTLE = 128
CHECKOUT = Path(__file__).resolve().parents[1]
STUDY = "cifar10"


def study_document() -> dict[str, Any]:
    """The study's parameters as a file would have them."""
    return study_parameters(Study(CHECKOUT, STUDY))


def study_params() -> Params:
    """The study's parameters."""
    return validate(study_document(), STUDY)


@dataclass(frozen=True)
class Workload:
    """The parameters, a data set that lies on the device, and the network's width."""

    params: Params
    dataset: Dataset
    width: float = 1.0

    def network(self) -> nn.Module:
        """A freshly initialised network of the parameters."""
        config = self.params.model
        if self.width != 1.0:
            config = dataclasses.replace(config, arguments={"width_mult": self.width})
        return build_network(config, CLASSES)

    def fp32(self) -> Fp32Checkpoint:
        """A network whose batch norms have seen the images, as a checkpoint."""
        model = self.network()
        settle_batch_norms(model, INTEGER_GRID(self.dataset.train.images[:BATCH_TO_SETTLE].cpu()))
        return Fp32Checkpoint(model, self.params.model, self.dataset.classes)

    @property
    def device(self) -> torch.device:
        """Where the images lie, and the networks too."""
        return self.dataset.train.images.device

    @property
    def full_qat(self) -> QatConfig:
        """The configuration `full`: every layer learns."""
        config: QatConfig = choose(self.params.qat, "full", "qat")
        return config


def workload_of(network: str, arguments: dict[str, Any], device: torch.device) -> Workload:
    """Another network of torchvision's, as it comes, on random pixels in batches of OTHER_BATCH."""
    params = shrunk(study_params(), OTHER_BATCH, OTHER_BATCH)
    model = dataclasses.replace(params.model, network=network, arguments=arguments, strides_removed=0)
    return Workload(dataclasses.replace(params, model=model), random_dataset(2 * OTHER_BATCH, device))


def random_dataset(images: int, device: torch.device, size: int = IMAGE_SIZE) -> Dataset:
    """`images` images of random pixels with random labels: a step takes as long on them as on real ones."""
    generator = torch.Generator().manual_seed(0)
    pixels = torch.randint(256, (images, 3, size, size), generator=generator, dtype=torch.uint8)
    labels = torch.randint(CLASSES, (images,), generator=generator)
    split = Split(pixels, labels).to(device)
    return Dataset(split, split, split, tuple(map(str, range(CLASSES))), {"name": "random pixels", "source": "made up"})


def shrunk(params: Params, batch_size: int, calibration_images: int) -> Params:
    """The parameters with small batches and little calibration."""
    training = params.qat_training
    calibration = dataclasses.replace(training.calibration, images=calibration_images)
    return dataclasses.replace(
        params,
        finetune=dataclasses.replace(params.finetune, batch_size=batch_size),
        qat_training=dataclasses.replace(training, batch_size=batch_size, calibration=calibration),
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
