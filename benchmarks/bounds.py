"""The least that a step can take on this machine: its floating-point operations and bytes over measured ceilings."""

from collections.abc import Callable, Collection
from dataclasses import dataclass
from time import perf_counter

import torch
from torch import Tensor, nn
from torchvision.models import MobileNetV2
from workload import Workload

from selectq.graph.parameters import parameter_kinds

FLOAT_BYTES = 4
MATRIX = 2048
COPIED_FLOATS = 2**26
TRIALS = 5


@dataclass(frozen=True)
class Ceilings:
    """What the machine reaches: operations/s in a large product of float32 matrices, bytes/s in a large copy."""

    operations: float
    bytes: float


@dataclass(frozen=True)
class Work:
    """What one image needs, a multiplication and an addition being two operations."""

    operations: float
    bytes: float

    def images_per_second(self, ceilings: Ceilings) -> float:
        """If operations and memory traffic overlapped perfectly, and nothing else took any time."""
        return 1 / max(self.operations / ceilings.operations, self.bytes / ceilings.bytes)


def measure_ceilings(device: torch.device) -> Ceilings:
    """The best of some trials."""
    left, right = (torch.randn(MATRIX, MATRIX, device=device) for _ in range(2))
    source = torch.randn(COPIED_FLOATS, device=device)
    target = torch.empty_like(source)
    product = _best_seconds(lambda: torch.mm(left, right))
    copy = _best_seconds(lambda: target.copy_(source))
    return Ceilings(2 * MATRIX**3 / product, 2 * FLOAT_BYTES * COPIED_FLOATS / copy)


def _best_seconds(work: Callable[[], object]) -> float:
    seconds = []
    for _ in range(TRIALS + 1):
        start = perf_counter()
        work()
        if torch.cuda.is_available():
            torch.cuda.synchronize()
        seconds.append(perf_counter() - start)
    return min(seconds[1:])


def count_work(workload: Workload, learning: Collection[str]) -> Work:
    """A training step of `workload.network()` in which the named parameters learn.

    Operations: each layer's forward pass; as many again for its input's gradient, unless nothing before it learns; as
    many again for its weight's, if it learns. Bytes: every convolution's input and output once, each time one of these
    reads or writes it; everything between convolutions is counted as fused into them.
    """
    model = workload.network()
    shapes = _shapes(model, workload)
    operations = traffic = 0.0
    gradient_needed = False
    for name, (layer, inputs, outputs) in shapes.items():
        forward = 2.0 * outputs * layer.weight[0].numel()
        learns = any(parameter.startswith((f"{name}.", *_norm_of(name))) for parameter in learning)
        weight_learns = f"{name}.weight" in learning
        backward = gradient_needed + weight_learns
        operations += forward * (1 + backward)
        reads_gradient = gradient_needed or learns
        traffic += FLOAT_BYTES * (
            inputs + outputs + outputs * reads_gradient + inputs * gradient_needed + inputs * weight_learns
        )
        gradient_needed = gradient_needed or learns
    return Work(operations, traffic)


def _norm_of(name: str) -> tuple[str, ...]:
    """The prefix of the batch norm that follows a convolution."""
    parent, _, index = name.rpartition(".")
    return (f"{parent}.{int(index) + 1}.",) if parent.startswith("features") else ()


def _shapes(model: MobileNetV2, workload: Workload) -> dict[str, tuple[nn.Module, int, int]]:
    """Each convolution and the classifier, in network order, with the numbers of its inputs and outputs per image."""
    found: dict[str, tuple[nn.Module, int, int]] = {}
    layers = {name: module for name, module in model.named_modules() if isinstance(module, nn.Conv2d | nn.Linear)}

    def watch(name: str) -> Callable[[nn.Module, tuple[Tensor, ...], Tensor], None]:
        def hook(layer: nn.Module, arguments: tuple[Tensor, ...], output: Tensor) -> None:
            found[name] = layer, arguments[0].numel(), output.numel()

        return hook

    for name, layer in layers.items():
        layer.register_forward_hook(watch(name))
    size = workload.dataset.train.images.shape[-1]
    with torch.no_grad():
        model.eval()(torch.zeros(1, 3, size, size))
    return found


def all_parameters(workload: Workload) -> Collection[str]:
    """The names of the network's parameters."""
    return parameter_kinds(workload.network()).keys()
