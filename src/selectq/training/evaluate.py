"""Logits and accuracy of anything callable on a batch."""

from collections.abc import Callable

import torch
from torch import Tensor

from selectq.data.augment import EVALUATION_BATCH, image_batches
from selectq.data.packed import Split
from selectq.progress import progress


@torch.no_grad()
def predict_logits(network: Callable[[Tensor], Tensor], images: Tensor, label: str) -> Tensor:
    """uint8 (N, 3, H, W) -> float32 logits (N, classes) on the CPU."""
    total = -(-len(images) // EVALUATION_BATCH)
    return torch.cat([network(batch).float().cpu() for batch in progress(image_batches(images), total, label)])


def top1(logits: Tensor, labels: Tensor) -> float:
    """Percent of images whose largest logit is their label's, 0 to 100."""
    return 100.0 * (logits.argmax(1) == labels.to(logits.device)).double().mean().item()


def evaluate(network: Callable[[Tensor], Tensor], split: Split, label: str) -> dict[str, float]:
    """Cross-entropy loss and top-1 accuracy (percent) over a split."""
    logits, labels = predict_logits(network, split.images, label), split.labels.cpu()
    return {"loss": torch.nn.functional.cross_entropy(logits, labels).item(), "top1": top1(logits, labels)}
