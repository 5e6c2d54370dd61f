"""What a plan says: which layers are retrained and which not, what that won, and why no more was tried."""

import dataclasses
import math
from dataclasses import dataclass
from typing import Any

import pandas as pd

from selectq.config.configs import Goal
from selectq.config.planned import Planned
from selectq.selection.allocation import FROZEN, RETRAINED
from selectq.selection.ladder import Climbed, Rung
from selectq.selection.retraining import layer_shares
from selectq.selection.trial import Trial


@dataclass(frozen=True)
class Plan:
    """What was tried where, to which end, and how that went.

    Attributes:
        start: what the retraining started from; None where nothing was retrained.
        scores: of `retraining_scores`; None where layers were not scored.
    """

    trial: Trial
    goal: Goal
    climbed: Climbed
    start: Rung | None
    scores: pd.DataFrame | None

    @property
    def reason(self) -> str:
        """Why no more was tried."""
        chosen, asked, images = self.climbed.chosen, self.goal.max_loss_points, len(self.trial.fp32_right)
        if self.climbed.met:
            return f"the goal is met by: {chosen.name}" + ("" if chosen.share else "; nothing is retrained")
        best = f"nothing that was tried meets the goal; the best, {chosen.name},"
        if chosen.gap.points <= -asked:
            return f"{best} loses {-chosen.gap.points:.2f} points where {asked:g} may be lost"
        needed = images * ((chosen.gap.points - chosen.gap.low) / (chosen.gap.points + asked)) ** 2
        return (
            f"{best} may lose {-chosen.gap.low:.2f} points, as far as {images:,} images tell; about"
            f" {math.ceil(needed):,} would show it, if the gap stays {chosen.gap.points:+.2f}"
        )

    @property
    def won(self) -> float | None:
        """Points that the retraining won on the validation images; None without one."""
        start, chosen = self.start, self.climbed.chosen
        return chosen.top1 - start.top1 if start and chosen.share else None

    @property
    def planned(self) -> Planned:
        """What is to be done, and nothing else."""
        candidate = self.climbed.chosen.candidate
        if candidate.retraining is None:
            return Planned(candidate.config)
        return Planned(candidate.retraining.config, candidate.retraining.training)

    def layers(self) -> list[dict[str, Any]]:
        """Of every layer: name, kind, depth from 0 to 1, its share of the parameters and of the backward pass where it
        alone is retrained (percent), whether it is; the two last and the expected gain where layers were scored."""
        fp32 = self.trial.fp32
        shares = layer_shares(fp32.model, fp32.graph)
        rows = {} if self.scores is None else self.scores.set_index("layer").to_dict("index")
        return [
            {
                "layer": name,
                "kind": fp32.graph[name].kind,
                "depth": round(index / max(1, len(shares) - 1), 4),
                "share_pct": round(share, 4),
                "backward_macs": rows[name]["backward_macs"] if rows else None,
                "choice": RETRAINED if name in self.climbed.chosen.layers else FROZEN,
                "expected_gain": _rounded(rows[name]["gain"]) if rows else None,
            }
            for index, (name, share) in enumerate(shares.items())
        ]

    def to_json(self) -> dict[str, Any]:
        """Everything."""
        chosen = self.climbed.chosen
        return {
            "goal": {**dataclasses.asdict(self.goal), "confidence": self.trial.confidence},
            "met": self.climbed.met,
            "reason": self.reason,
            "validation_images": len(self.trial.fp32_right),
            "fp32_top1": round(100 * float(self.trial.fp32_right.mean()), 4),
            "rungs": [_rung(rung) for rung in self.climbed.rungs],
            "chosen": {"name": chosen.name, "retrained_pct": round(chosen.share, 4), "won_points": _rounded(self.won)},
            "layers": self.layers(),
            "configuration": self.planned.entries(),
        }


def _rung(rung: Rung) -> dict[str, Any]:
    retraining = rung.candidate.retraining
    return {
        "name": rung.name,
        "retrained_pct": round(rung.share, 4),
        "scope": list(retraining.config.scope) if retraining else [],
        "epochs": retraining.config.epochs if retraining else 0,
        "lr": retraining.config.lr if retraining else None,
        "top1": round(rung.top1, 4),
        "gap_points": round(rung.gap.points, 4),
        "gap_low": round(rung.gap.low, 4),
        "gap_high": round(rung.gap.high, 4),
    }


def _rounded(value: float | None) -> float | None:
    return None if value is None else float(f"{value:.6g}")
