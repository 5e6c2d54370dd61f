"""The fastest way to compute a network's training forward pass on a device."""

import sys
from collections.abc import Callable, Sequence
from typing import Protocol, cast, runtime_checkable

import torch
from torch import Tensor, nn

from selectq.kernels.forward import Kernels, Network, Step, kernel_forward

Forward = Callable[[Tensor], Tensor]
"""Float images (N, 3, H, W) -> logits (N, classes), with gradients."""


def training_forward(
    network: Network, kernels: Kernels[Network, Step], device: torch.device
) -> Network | Step | Forward:
    """What to call on training batches, all of one shape, instead of `network`: the same results up to rounding.

    On a CPU the project's own kernels, on a GPU a recording of as few operations as possible. Where the kernels cannot
    be had, a message says why and the network itself is returned.

    Args:
        network: on `device`.
        kernels: for the CPU; a GPU records the network itself.
        device: where training runs.
    """
    if device.type == "cuda":
        return RecordedStep(network, network)
    return kernel_forward(network, kernels, device)


@runtime_checkable
class Observer(Protocol):
    """A module that, while `observing`, leaves two tensors of each training batch in `seen`."""

    observing: bool
    seen: tuple[Tensor, Tensor] | None


Recording = Callable[[Tensor], tuple[Tensor, ...]]
"""Float images (N, 3, H, W) -> logits (N, classes), and the two tensors of each module that observes."""


class RecordedStep:
    """A GPU's training pass as a CUDA graph, recorded once: starting it is one operation, where it was thousands.

    Its logits, gradients, batch-norm statistics, random numbers and observations are those of the step that it records,
    bit for bit. It records anew where other modules observe. The logits hold until the next batch.
    """

    def __init__(self, network: nn.Module, step: Forward) -> None:
        """Of `step`, a training pass through `network`, which is on a GPU."""
        self._network = network
        self._step = step
        self._observers: list[Observer] = [module for module in network.modules() if isinstance(module, Observer)]
        self._observing: list[Observer] = []
        self._recording: Recording | None = None

    def __call__(self, images: Tensor) -> Tensor:
        """Float (N, 3, H, W), the first batch's shape -> logits (N, classes)."""
        observing = [module for module in self._observers if module.observing]
        if self._recording is None or observing != self._observing:
            self._recording = None  # its memory is free for the next one
            self._recording, self._observing = self._record(observing, images), observing
        logits, *seen = self._recording(images)
        for module, low, high in zip(observing, seen[::2], seen[1::2], strict=True):
            module.seen = (low.detach(), high.detach())
        return logits

    def _record(self, observing: Sequence[Observer], images: Tensor) -> Recording:
        """What the rehearsals did to statistics and random numbers is undone."""
        buffers, random = [buffer.clone() for buffer in self._network.buffers()], torch.cuda.get_rng_state()
        pass_ = _Observed(self._network, self._step, observing)
        torch.autograd.graph.set_warn_on_accumulate_grad_stream_mismatch(False)  # each recording would be warned of
        try:
            return cast(Recording, torch.cuda.make_graphed_callables(pass_, (images.clone(),)))
        except RuntimeError as error:
            print(f"training unrecorded, several times as slow: {str(error).splitlines()[0]}", file=sys.stderr)
            return pass_
        finally:
            for buffer, before in zip(self._network.buffers(), buffers, strict=True):
                buffer.copy_(before)
            torch.cuda.set_rng_state(random)


class _Observed(nn.Module):
    """A step that puts out what it leaves in its observers, too."""

    def __init__(self, network: nn.Module, step: Forward, observing: Sequence[Observer]) -> None:
        super().__init__()
        self.network = network  # for its parameters
        self._step = step
        self._observing = observing

    def forward(self, images: Tensor) -> tuple[Tensor, ...]:
        """Float (N, 3, H, W) -> logits (N, classes) and the scalars seen."""
        logits = self._step(images)
        return (logits, *(end for module in self._observing for end in module.seen or ()))
