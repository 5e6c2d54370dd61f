"""Data-parallel training: processes that torchrun started, each with its share of every batch.

Together they take the steps that one process would take, up to rounding: gradients are averaged; activation ranges and
the statistics of batch norms are those of the whole batch.
"""

import contextlib
import os
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor, nn

from selectq.errors import UserError


@dataclass(frozen=True)
class Workers:
    """The processes that train together, seen from one of them."""

    rank: int = 0
    count: int = 1

    @property
    def first(self) -> bool:
        """Whether this is the one that writes."""
        return self.rank == 0

    @property
    def share(self) -> slice:
        """This process's share of a batch, or of a split."""
        return slice(self.rank, None, self.count)

    def require_equal_shares(self, batch_size: int) -> None:
        """Raise a UserError if a batch cannot be divided evenly."""
        if batch_size % self.count:
            raise UserError(f"batch_size: {batch_size} cannot be divided among {self.count} processes; use a multiple")

    def sum(self, x: Tensor) -> Tensor:
        """The sum over the processes, of `x`'s shape; without gradients."""
        total = x.detach().clone()
        if self.count > 1:
            dist.all_reduce(total)
        return total

    def average_gradients(self, parameters: Iterable[nn.Parameter]) -> None:
        """Give every process the mean of all processes' gradients, in one message."""
        if self.count == 1:
            return
        gradients = [parameter.grad for parameter in parameters if parameter.grad is not None]
        mean = self.sum(torch.cat([gradient.flatten() for gradient in gradients])) / self.count
        for gradient, values in zip(gradients, mean.split([gradient.numel() for gradient in gradients]), strict=True):
            gradient.copy_(values.view(gradient.shape))

    def widest(self, ranges: list[tuple[Tensor, Tensor]]) -> list[tuple[Tensor, Tensor]]:
        """Of each range, its lowest and highest value (scalars), the widest that the processes have."""
        if self.count == 1 or not ranges:
            return ranges
        ends = torch.stack([torch.stack([-low, high]) for low, high in ranges])  # (ranges, 2)
        dist.all_reduce(ends, dist.ReduceOp.MAX)
        return [(-ends[index, 0], ends[index, 1]) for index in range(len(ranges))]


ALONE = Workers()


@contextlib.contextmanager
def training_workers(device: torch.device) -> Iterator[Workers]:
    """The processes that torchrun started for this training; without torchrun, this one alone."""
    count = int(os.environ.get("WORLD_SIZE", "1"))
    if count == 1:
        yield ALONE
        return
    if device.type == "cuda":
        torch.cuda.set_device(int(os.environ["LOCAL_RANK"]))
    dist.init_process_group("nccl" if device.type == "cuda" else "gloo")
    try:
        yield Workers(dist.get_rank(), count)
    finally:
        dist.destroy_process_group()


def share_statistics(model: nn.Module, workers: Workers) -> None:
    """Have every batch norm of `model` use the whole batch's statistics, in place; names and tensors stay as they are.

    torch's own SyncBatchNorm refuses the CPU.
    """
    for module in model.modules():
        for name, child in module.named_children():
            if type(child) is nn.BatchNorm2d:
                setattr(module, name, SharedBatchNorm2d(child, workers))


class SharedBatchNorm2d(nn.BatchNorm2d):
    """Batch norm over the batch of all processes; takes over the parameters and buffers of `norm`."""

    def __init__(self, norm: nn.BatchNorm2d, workers: Workers) -> None:
        super().__init__(norm.num_features, norm.eps, norm.momentum)
        self.weight, self.bias = norm.weight, norm.bias
        self.running_mean, self.running_var = norm.running_mean, norm.running_var
        self.num_batches_tracked = norm.num_batches_tracked
        self._workers = workers

    def forward(self, x: Tensor) -> Tensor:
        """(N, C, H, W) to the same shape."""
        if not self.training:
            return super().forward(x)
        count = self._workers.count
        mean = _SumOverWorkers.apply(x.mean((0, 2, 3)), self._workers) / count  # (C,)
        centred = x - mean.view(1, -1, 1, 1)
        variance = _SumOverWorkers.apply(centred.square().mean((0, 2, 3)), self._workers) / count  # (C,)
        self._follow(mean.detach(), variance.detach(), x.numel() // x.shape[1] * count)
        slope = self.weight * (variance + self.eps).rsqrt()
        return centred * slope.view(1, -1, 1, 1) + self.bias.view(1, -1, 1, 1)

    def _follow(self, mean: Tensor, variance: Tensor, count: int) -> None:
        """Move the running statistics as torch does, with the unbiased variance of `count` values."""
        assert self.running_mean is not None and self.running_var is not None and self.momentum is not None
        assert self.num_batches_tracked is not None
        self.num_batches_tracked.add_(1)
        self.running_mean.lerp_(mean, self.momentum)
        self.running_var.lerp_(variance * (count / (count - 1)), self.momentum)


class _SumOverWorkers(torch.autograd.Function):
    """A sum whose every summand gets the gradients of all processes."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, workers: Workers) -> Tensor:
        ctx.workers = workers
        return workers.sum(x)

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor, None]:
        return ctx.workers.sum(gradients[0]), None
