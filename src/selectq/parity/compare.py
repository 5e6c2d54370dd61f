"""Backends against each other: predictions and logits pair by pair, and stored values layer by layer."""

from collections.abc import Iterable, Mapping, Sequence
from itertools import combinations

import numpy as np
import pandas as pd
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from selectq.export.reference import QuantizeDequantize, ReferenceNetwork
from selectq.programs.format import Backend, Pixels, Stored
from selectq.progress import progress
from selectq.quantization.network import Site

BATCH = 100
SAME_LOGITS = 1e-4
"""Logits closer than this came of the same stored integers: the classifier alone sums in floating point."""


def in_batches(pixels: Pixels) -> list[Pixels]:
    """uint8 (N, 3, H, W) in parts of `BATCH`."""
    return [pixels[start : start + BATCH] for start in range(0, len(pixels), BATCH)]


def all_logits(backend: Backend, pixels: Pixels, label: str) -> NDArray[np.float32]:
    """A backend's logits (N, classes) on uint8 pixels (N, 3, H, W)."""
    batches = in_batches(pixels)
    return np.concatenate(
        [backend.logits(batch) for batch in progress(batches, len(batches), f"{label} {backend.name}")]
    )


def compare_pairs(config: str, logits: Mapping[str, NDArray[np.float32]], labels: NDArray[np.int64]) -> pd.DataFrame:
    """Every pair of backends; one row each.

    Args:
        config: the configuration's name.
        logits: backend -> (N, classes).
        labels: (N,).

    Returns:
        Columns config, one, other, flipped_pct (images of which they name different classes), differing_pct (images
        whose logits differ by more than `SAME_LOGITS`), logit_difference (the largest), one_top1, other_top1 (percent).
    """
    top1 = {name: round(100 * float((found.argmax(1) == labels).mean()), 4) for name, found in logits.items()}
    rows = []
    for one, other in combinations(logits, 2):
        difference = np.abs(logits[one] - logits[other]).max(1)
        flipped = (logits[one].argmax(1) != logits[other].argmax(1)).mean()
        shares = (100 * float(share) for share in (flipped, (difference > SAME_LOGITS).mean()))
        rows.append((config, one, other, *shares, float(difference.max()), top1[one], top1[other]))
    columns = ["config", "one", "other", "flipped_pct", "differing_pct", "logit_difference", "one_top1", "other_top1"]
    return pd.DataFrame(rows, columns=columns)


def compare_layers(
    config: str, reference: ReferenceNetwork, backends: Sequence[Backend], pixels: Pixels
) -> pd.DataFrame:
    """The stored values of a backend, layer by layer, against the reference's *given the same inputs*.

    A difference therefore belongs to the site where it is found, and does not add to those before.

    Args:
        config: the configuration's name.
        reference: quantize and dequantize operators in PyTorch.
        backends: those that do not show what they store are left out.
        pixels: uint8 (N, 3, H, W).

    Returns:
        Columns config, form, layer, kind, steps (the largest difference, in integer steps), differing_ppm (values that
        differ, in a million).
    """
    watched = [backend for backend in backends if backend.stored]
    totals = {(backend.name, site.name): _Steps() for backend in watched for site in reference.network.sites()}
    batches = in_batches(pixels)
    for batch in progress(batches, len(batches), f"{config} layer by layer"):
        for backend in watched:
            assert backend.stored is not None
            for name, steps in steps_of(reference, batch, backend.stored(batch)):
                totals[backend.name, name].add(steps)
    kinds = {site.name: site.kind for site in reference.network.sites()}
    rows = [(config, form, name, kinds[name], total.largest, total.ppm()) for (form, name), total in totals.items()]
    return pd.DataFrame(rows, columns=["config", "form", "layer", "kind", "steps", "differing_ppm"])


class _Steps:
    """Differences in integer steps, as they come in."""

    def __init__(self) -> None:
        self.largest, self.differing, self.count = 0, 0, 0

    def add(self, steps: Tensor) -> None:
        self.largest = max(self.largest, int(steps.max()))
        self.differing += int((steps > 0).sum())
        self.count += steps.numel()

    def ppm(self) -> float:
        return 1e6 * self.differing / self.count


@torch.no_grad()
def steps_of(reference: ReferenceNetwork, pixels: Pixels, stored: Stored) -> Iterable[tuple[str, Tensor]]:
    """Site name and |difference| in integer steps, in the shape of what the site stores.

    The reference runs with every site's output replaced by the stored values, so that each site behind it computes
    from these.
    """
    waiting = iter(stored)
    found: list[tuple[str, Tensor]] = []

    def replace(site: nn.Module, arguments: tuple[Tensor, ...], output: Tensor) -> Tensor:
        values = torch.from_numpy(next(waiting))
        assert isinstance(site, Site) and isinstance(site.activation, QuantizeDequantize)
        assert values.shape == output.shape, site.name
        found.append((site.name, ((values - output) / site.activation.scale).abs().round()))
        return values

    handles = [site.register_forward_hook(replace) for site in reference.network.sites()]
    reference(torch.from_numpy(pixels))
    for handle in handles:
        handle.remove()
    assert len(found) == len(stored), "a backend stores as many tensors as the reference"
    return found
