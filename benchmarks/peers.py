"""The usual training loops that ours is compared with."""

import importlib
import warnings
from dataclasses import replace

import ours
import torch
from PIL import Image
from timing import Batch, Trainer
from torch import Tensor, nn
from torch._functorch import config as functorch_config
from torch.utils.data import DataLoader, Dataset
from torchvision import transforms
from torchvision.models import quantization as quantizable
from workload import CLASSES, IMAGE_SIZE, Workload, endless, prepared_batches

from selectq.config.configs import AugmentConfig, ModelConfig
from selectq.data.packed import Split
from selectq.networks.strides import remove_strides
from selectq.programs.quiet import quiet
from selectq.training.forward import Forward

LOADER_WORKERS = 2
MEMORY_BUDGET = 0.1  # of the activations that would be stored: less recomputation was slower on a CPU
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
    config = workload.params.finetune
    model = workload.network().to(workload.device)
    optimizer = torch.optim.SGD(
        model.parameters(),
        lr=config.lr,
        momentum=config.momentum,
        nesterov=config.nesterov,
        weight_decay=config.weight_decay,
    )
    loader = _loader(workload.dataset.train, config.batch_size, config.augment)
    batches = (_to_device(batch, workload.device) for batch in endless(lambda: loader))
    return Trainer(model.train(), optimizer, batches)


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


def compiled_fp32(workload: Workload) -> Trainer:
    """Our FP32 step by torch.compile instead of the kernels."""
    trainer = _plain_fp32(workload)
    return replace(trainer, forward=_compiled(trainer.forward))


def bfloat16_fp32(workload: Workload) -> Trainer:
    """Our FP32 step by torch's own operators in bfloat16."""
    trainer = _plain_fp32(workload)

    def forward(images: Tensor) -> Tensor:
        with torch.autocast(workload.device.type, torch.bfloat16):
            logits: Tensor = trainer.forward(images)
        return logits.float()

    return replace(trainer, forward=forward)


def compiled_qat(workload: Workload) -> Trainer:
    """Our full QAT step by torch.compile instead of the kernels; it computes again what is cheap, and stores less."""
    trainer = ours.qat(workload, "full", plain)
    return replace(trainer, forward=_compiled(trainer.forward))


def _plain_fp32(workload: Workload) -> Trainer:
    return ours.fp32(workload, plain)


def plain(network: nn.Module, *_: object) -> nn.Module:
    """The modules themselves."""
    return network


def _compiled(forward: Forward) -> Forward:
    """Compiled at the first call."""
    compiled: Forward = torch.compile(forward)

    def call(images: Tensor) -> Tensor:
        with quiet(), functorch_config.patch(activation_memory_budget=MEMORY_BUDGET):
            return compiled(images)

    return call


def torch_ao_nchw(workload: Workload) -> Trainer:
    """torch.ao's eager QAT, set up as torchvision's reference training script sets it up."""
    return _torch_ao(workload, torch.contiguous_format)


def torch_ao_channels_last(workload: Workload) -> Trainer:
    """The same with network and batches in channels last."""
    return _torch_ao(workload, torch.channels_last)


def _torch_ao(workload: Workload, memory_format: torch.memory_format) -> Trainer:
    network = _torch_ao_network(workload.params.model).to(workload.device).to(memory_format=memory_format)
    return Trainer(network, adam(network, workload), prepared_batches(workload, memory_format))


def adam(network: nn.Module, workload: Workload) -> torch.optim.Optimizer:
    """The optimiser of our QAT, as torch gives it by default."""
    training = workload.params.qat_training
    return torch.optim.Adam(network.parameters(), lr=workload.full_qat.lr, weight_decay=training.weight_decay)


def _torch_ao_network(config: ModelConfig) -> nn.Module:
    """torchvision's quantizable network of the name (for MobileNetV2's ReLU6 it has ReLU), prepared for training."""
    network = getattr(quantizable, config.network)(num_classes=CLASSES, **config.arguments).train()
    remove_strides(network, config.strides_removed)
    network.fuse_model(is_qat=True)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)  # torch.ao as a whole
        warnings.filterwarnings("ignore", "Please use quant_min and quant_max", UserWarning)  # torch.ao's own default
        network.qconfig = torch.ao.quantization.get_default_qat_qconfig("x86")
        prepared: nn.Module = torch.ao.quantization.prepare_qat(network)
    return prepared


def torchao_pt2e(workload: Workload) -> Trainer:
    """torchao's successor of it: the network as an exported graph, quantizers from its x86 backend, channels last."""
    model = workload.network().to(workload.device, memory_format=torch.channels_last)
    batch = workload.params.qat_training.batch_size
    example = torch.zeros(batch, 3, IMAGE_SIZE, IMAGE_SIZE, device=workload.device)
    example = example.to(memory_format=torch.channels_last)
    pt2e = importlib.import_module("torchao.quantization.pt2e")  # here: it loads torch's compiler
    steps = importlib.import_module("torchao.quantization.pt2e.quantize_pt2e")
    x86 = importlib.import_module("torchao.quantization.pt2e.quantizer.x86_inductor_quantizer")
    quantizer = x86.X86InductorQuantizer().set_global(x86.get_default_x86_inductor_quantization_config(is_qat=True))
    with quiet():
        exported = torch.export.export(model.train(), (example,)).module()
        prepared: nn.Module = steps.prepare_qat_pt2e(exported, quantizer)
        pt2e.move_exported_model_to_train(prepared)
    return Trainer(prepared, adam(prepared, workload), prepared_batches(workload, torch.channels_last))
