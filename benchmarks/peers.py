"""The usual training loops that ours is compared with."""

import warnings

import torch
from PIL import Image
from timing import Batch, Trainer
from torch import Tensor, nn
from torch.utils.data import DataLoader, Dataset
from torchvision import transforms
from torchvision.models.quantization import mobilenet_v2
from workload import CLASSES, IMAGE_SIZE, Workload, endless, prepared_batches, sgd

from selectq.data.packed import Split
from selectq.models.mobilenetv2 import STAGES, build_mobilenetv2
from selectq.params.configs import AugmentConfig, ModelConfig
from selectq.training.qat import build_optimizer

LOADER_WORKERS = 2
PIXEL_MEAN = (0.5, 0.5, 0.5)
PIXEL_STD = (0.25, 0.25, 0.25)


class PilImages(Dataset[tuple[Tensor, int]]):
    """Decoded PIL images in memory, transformed one by one."""

    def __init__(self, split: Split, transform: transforms.Compose) -> None:
        pixels = split.images.cpu().permute(0, 2, 3, 1).contiguous().numpy()  # (N, H, W, 3)
        self._images = [Image.fromarray(image) for image in pixels]
        self._labels: list[int] = split.labels.tolist()
        self._transform = transform

    def __len__(self) -> int:
        return len(self._labels)

    def __getitem__(self, index: int) -> tuple[Tensor, int]:
        """Float (3, H, W) and a label."""
        return self._transform(self._images[index]), self._labels[index]


def data_loader_loop(workload: Workload) -> Trainer:
    """A DataLoader with torchvision's transforms, and the same network and optimiser in PyTorch's default layout."""
    params, config = workload.params, workload.params.finetune
    model = build_mobilenetv2(params.model, CLASSES).to(workload.device)
    optimizer = sgd(model, config)
    loader = _loader(workload.dataset.train, config.batch_size, config.augment)
    batches = (_to_device(batch, workload.device) for batch in endless(lambda: loader))
    return Trainer(model.train(), optimizer, batches, deterministic=False)


def _loader(split: Split, batch_size: int, augment: AugmentConfig) -> DataLoader[tuple[Tensor, int]]:
    transform = transforms.Compose(
        [
            transforms.RandomCrop(IMAGE_SIZE, padding=augment.crop_padding),
            transforms.RandomHorizontalFlip(0.5 if augment.flip else 0.0),
            transforms.ToTensor(),
            transforms.Normalize(PIXEL_MEAN, PIXEL_STD),
        ]
    )
    return DataLoader(
        PilImages(split, transform),
        batch_size,
        shuffle=True,
        drop_last=True,
        num_workers=LOADER_WORKERS,
        persistent_workers=True,  # epochs are short here: starting workers anew would weigh more than in real training
        pin_memory=torch.cuda.is_available(),
    )


def _to_device(batch: Batch, device: torch.device) -> Batch:
    images, labels = batch
    return images.to(device, non_blocking=True), labels.to(device, non_blocking=True)


def torch_ao_nchw(workload: Workload) -> Trainer:
    """torch.ao's eager QAT, set up as torchvision's reference training script sets it up."""
    return _torch_ao(workload, torch.contiguous_format)


def torch_ao_channels_last(workload: Workload) -> Trainer:
    """The same with network and batches in channels last."""
    return _torch_ao(workload, torch.channels_last)


def _torch_ao(workload: Workload, memory_format: torch.memory_format) -> Trainer:
    network = _torch_ao_network(workload.params.model).to(workload.device).to(memory_format=memory_format)
    optimizer = build_optimizer(list(network.parameters()), workload.full_qat, workload.params.qat_training)
    return Trainer(network, optimizer, prepared_batches(workload, memory_format), deterministic=False)


def _torch_ao_network(config: ModelConfig) -> nn.Module:
    """torchvision's quantizable MobileNetV2 (its activations are always ReLU), prepared for training."""
    setting = [[*stage, stride] for stage, stride in zip(STAGES, config.stage_strides, strict=True)]
    network = mobilenet_v2(num_classes=CLASSES, inverted_residual_setting=setting, dropout=config.dropout).train()
    network.features[0][0].stride = (config.stem_stride, config.stem_stride)
    network.fuse_model(is_qat=True)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)  # torch.ao as a whole
        warnings.filterwarnings("ignore", "Please use quant_min and quant_max", UserWarning)  # torch.ao's own default
        network.qconfig = torch.ao.quantization.get_default_qat_qconfig("x86")
        prepared: nn.Module = torch.ao.quantization.prepare_qat(network)
    return prepared
