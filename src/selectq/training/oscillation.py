"""Weights that jump back and forth between integer codes while they learn.

Nagel et al. 2022 ("Overcoming Oscillations in Quantization-Aware Training", section 2): a weight whose optimum lies
near a rounding threshold is pushed over it from both sides, since the straight-through gradient never gets small.
"""

from typing import Any

import pandas as pd
import torch
from torch import Tensor

from selectq.quantization.network import Network
from selectq.quantization.scale_assignment import weight_quantizer_of
from selectq.training.loop import Hooks
from selectq.training.resume import Row

OSCILLATION_COLUMNS = ["layer", "layer_kind", "weights", "flipped_pct", "oscillating_pct"]

HISTORY_KEY = "oscillation"
"""Under which the counts stand in the history."""


class Flips:
    """Which of N weights have changed their level, and which have changed it back, over the steps seen.

    Attributes:
        flipped: bool (N,), whether the level changed at least once.
        oscillating: bool (N,), whether it ever changed in the direction opposite to its previous change.
    """

    def __init__(self, codes: Tensor) -> None:
        """Begin with the `codes`, int8 (N,), before the first step."""
        self.flipped = torch.zeros_like(codes, dtype=torch.bool)
        self.oscillating, self._rose, self._fell = (self.flipped.clone() for _ in range(3))
        self._codes = codes

    def see(self, codes: Tensor) -> None:
        """Take in the codes, int8 (N,), after a step."""
        rises, falls = codes > self._codes, codes < self._codes
        moves = rises | falls
        self.flipped |= moves
        self.oscillating |= (rises & self._fell) | (falls & self._rose)
        self._rose = rises | (self._rose & ~moves)  # the latest change of each weight was upwards
        self._fell = falls | (self._fell & ~moves)
        self._codes = codes


class OscillationCounter(Hooks):
    """Counts, over the steps of the last epoch, the weights that change their level, and those that change it back.

    A level is what the integer program would hold if training ended at this step, so a change counts whatever caused
    it: the weight moved over a rounding threshold, or the scale moved under the weight. Scales follow the largest
    weight at every step, where no algorithm chose the range, and the activation ranges around the layer for the first
    `range_epochs`.

    Counting begins anew with the epoch, so a resumed run counts what an uninterrupted one does. Only layers whose
    weights may learn are watched; the others' codes move with neighbouring ranges alone.
    """

    def __init__(self, network: Network, epochs: int) -> None:
        self._layers = [layer for layer in network.layers() if layer.weight.requires_grad]
        self._last_epoch = epochs - 1
        self._flips: Flips | None = None

    def before_step(self, epoch: float) -> None:
        """At the first step of the last epoch: remember the codes."""
        if epoch >= self._last_epoch and self._layers and self._flips is None:
            self._flips = Flips(self._codes())

    def after_step(self, epoch: float) -> None:
        """Compare the codes with those before the step."""
        if self._flips is not None:
            self._flips.see(self._codes())

    def after_epoch(self, epoch: int) -> Row:
        """After the last epoch: the counts of every layer, see `oscillation_table`."""
        return {HISTORY_KEY: self._counts()} if epoch == self._last_epoch else {}

    @torch.no_grad()
    def _codes(self) -> Tensor:
        """Of all weights that learn, layer after layer, int8."""
        codes = (weight_quantizer_of(layer).codes(layer.weight, layer.bias)[0] for layer in self._layers)
        return torch.cat([each.flatten() for each in codes]).to(torch.int8)

    def _counts(self) -> list[dict[str, Any]]:
        if self._flips is None:
            return []
        sizes = [layer.weight.numel() for layer in self._layers]
        parts = zip(self._layers, self._flips.flipped.split(sizes), self._flips.oscillating.split(sizes), strict=True)
        return [
            {
                "layer": layer.name,
                "layer_kind": layer.kind,
                "weights": len(flipped),
                "flipped": int(flipped.sum()),
                "oscillating": int(oscillating.sum()),
            }
            for layer, flipped, oscillating in parts
        ]


def oscillation_table(history: list[Row]) -> pd.DataFrame:
    """What an `OscillationCounter` counted in the last epoch of a history, a row for each layer whose weights learn.

    Returns:
        Columns layer, layer_kind, weights (how many), flipped_pct and oscillating_pct: the percentages of these weights
        whose level changed at least once, and changed back at least once. Without training it is empty.
    """
    counts = next(row[HISTORY_KEY] for row in history if HISTORY_KEY in row) if history else []
    table = pd.DataFrame(counts, columns=["layer", "layer_kind", "weights", "flipped", "oscillating"])
    for what in ("flipped", "oscillating"):
        table[f"{what}_pct"] = 100 * table[what] / table["weights"]
    return table[OSCILLATION_COLUMNS]
