"""Logits and accuracy of anything callable on a batch."""

from collections.abc import Callable

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor

from selectq.data.augment import WHOLE, shown_batches
from selectq.data.packed import Split


@torch.no_grad()
def predict_logits(network: Callable[[Tensor], Tensor], split: Split, label: str) -> Tensor:
    """Float32 logits (N, classes) of all images, on the CPU."""
    return torch.cat([network(batch).float().cpu() for batch in shown_batches(split, label)])


def top1(logits: Tensor, labels: Tensor) -> float:
    """Percent of images whose largest logit is their label's, 0 to 100."""
    return 100.0 * (logits.argmax(1) == labels.to(logits.device)).double().mean().item()


def right_of(logits: NDArray[np.float32], labels: Tensor) -> NDArray[np.bool_]:
    """Which images' largest logit is their label's, (N,)."""
    right: NDArray[np.bool_] = logits.argmax(1) == labels.cpu().numpy()
    return right


def evaluate(
    network: Callable[[Tensor], Tensor],
    split: Split,
    label: str,
    share: slice = WHOLE,
    total: Callable[[Tensor], Tensor] = lambda own: own,
) -> dict[str, float]:
    """Cross-entropy loss and top-1 accuracy (percent) over a split.

    Where several processes compute a `share` each, `total` gives the sum of a tensor over all of them.
    """
    own = split.part(share)
    logits, labels = predict_logits(network, own, label), own.labels.cpu()
    loss, correct = F.cross_entropy(logits, labels, reduction="sum").double(), (logits.argmax(1) == labels).sum()
    totals = total(torch.stack([loss, correct]).to(split.device)) / len(split)
    return {"loss": totals[0].item(), "top1": 100.0 * totals[1].item()}
