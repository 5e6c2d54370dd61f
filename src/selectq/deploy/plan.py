"""The plan beside a program: which layers were retrained and which not, what that won, and what it cost."""

import dataclasses
import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from selectq.deploy.candidates import Trial
from selectq.deploy.ladder import Climbed, Goal, Rung
from selectq.files import write_bytes, write_json
from selectq.intervals import CONFIDENCE
from selectq.report.formatting import NOTHING, number_columns, text_columns
from selectq.report.markdown import bullet, code, markdown_table, prose
from selectq.selection.allocation import FROZEN, RETRAINED
from selectq.selection.retraining import layer_shares

NAME = "planned"
"""Of the configuration in the pipeline's parameters."""


@dataclass(frozen=True)
class Plan:
    """All that a plan says: what was tried where, to which end, and how that went."""

    trial: Trial
    goal: Goal
    climbed: Climbed

    @property
    def reason(self) -> str:
        """Why no more was tried."""
        chosen, asked, images = self.climbed.chosen, self.goal.max_loss, len(self.trial.fp32_right)
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
        start, chosen = self.climbed.start, self.climbed.chosen
        return chosen.top1 - start.top1 if start and chosen.share else None

    def entries(self) -> dict[str, Any]:
        """What is chosen, as sections of the pipeline's parameters."""
        candidate = self.climbed.chosen.tried.candidate
        if candidate.retraining is None:
            return {"ptq": {NAME: _plain(candidate.config)}}
        training, config = _plain(candidate.retraining.training), _plain(candidate.retraining.config)
        return {"qat_training": training, "qat": {NAME: config}}

    def layers(self) -> list[dict[str, Any]]:
        """Of every layer: name, kind, share_pct, choice, and expected_gain where layers were scored."""
        fp32, scores = self.trial.fp32, self.climbed.scores
        gains = {} if scores is None else dict(zip(scores["layer"], scores["gain"], strict=True))
        return [
            {
                "layer": name,
                "kind": fp32.graph[name].kind,
                "share_pct": round(share, 4),
                "choice": RETRAINED if name in self.climbed.chosen.layers else FROZEN,
                "expected_gain": _rounded(gains.get(name)),
            }
            for name, share in layer_shares(fp32.model, fp32.graph).items()
        ]

    def to_json(self) -> dict[str, Any]:
        """Everything."""
        chosen = self.climbed.chosen
        return {
            "goal": {**dataclasses.asdict(self.goal), "confidence": CONFIDENCE},
            "met": self.climbed.met,
            "reason": self.reason,
            "validation_images": len(self.trial.fp32_right),
            "fp32_top1": round(100 * float(self.trial.fp32_right.mean()), 4),
            "rungs": [_rung(rung) for rung in self.climbed.rungs],
            "chosen": {"name": chosen.name, "retrained_pct": round(chosen.share, 4), "won_points": _rounded(self.won)},
            "layers": self.layers(),
            "configuration": self.entries(),
        }


def write_plan(stem: Path, plan: Plan, configuration: Sequence[str]) -> list[Path]:
    """Write `STEM.plan.json` and `STEM.plan.md`; `configuration` is `entries` as lines of YAML."""
    paths = [stem.with_name(f"{stem.name}.plan.{ending}") for ending in ("json", "md")]
    write_json(paths[0], plan.to_json())
    write_bytes(paths[1], "\n".join(_page(plan, configuration)).encode())
    return paths


def _page(plan: Plan, configuration: Sequence[str]) -> list[str]:
    images, goal = len(plan.trial.fp32_right), plan.goal
    won = "" if plan.won is None else f" Measured gain of the retraining: {plan.won:+.2f} points."
    rungs = [
        (rung.name, f"{rung.share:.2f}", f"{rung.top1:.2f}", rung.gap_text, f"{rung.seconds:.0f}")
        for rung in plan.climbed.rungs
    ]
    layers = [
        (
            each["layer"],
            each["kind"],
            f"{each['share_pct']:.2f}",
            each["choice"],
            NOTHING if each["expected_gain"] is None else f"{each['expected_gain']:.3g}",
        )
        for each in plan.layers()
    ]
    return [
        "# The plan",
        "",
        *prose(
            f"Goal: at most {goal.max_loss:g} points below FP32, shown at {100 * CONFIDENCE:g} % confidence on"
            f" {images:,} validation images. {plan.reason[0].upper()}{plan.reason[1:]}.{won}"
        ),
        "",
        *markdown_table(
            (*text_columns("Tried"), *number_columns("Retrained, %", "Top-1, %", "Gap, points", "Seconds")), rungs
        ),
        "",
        *markdown_table(
            (
                *text_columns("Layer", "Kind"),
                *number_columns("Share, %"),
                *text_columns("Choice"),
                *number_columns("Expected gain"),
            ),
            layers,
        ),
        "",
        *bullet(
            "Expected gain: what a natural-gradient step on the layer alone takes from KL(FP32 ‖ quantized), by a"
            " diagonal second-order model that promises more than there is: a score to rank layers by. That layers with"
            " large ones beat as many others is not shown."
        ),
        *bullet("The gap of what was chosen is a little too good: it was chosen for it. The test images tell more."),
        "",
        *code("yaml", configuration),
        "",
    ]


def _rung(rung: Rung) -> dict[str, Any]:
    retraining = rung.tried.candidate.retraining
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
        "seconds": round(rung.seconds, 1),
    }


def _rounded(value: float | None) -> float | None:
    return None if value is None else float(f"{value:.6g}")


def _plain(config: Any) -> dict[str, Any]:
    """A section of the parameters as YAML has it: tuples are lists."""
    return {
        name: list(value) if isinstance(value, tuple) else value for name, value in dataclasses.asdict(config).items()
    }
