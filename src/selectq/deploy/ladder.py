"""The ladder of a single trained network: PTQ, learned rounding behind the best of it, then retraining."""

import dataclasses
from collections.abc import Iterator, Sequence

import pandas as pd

from selectq.config.algorithms import RoundingSettings
from selectq.config.configs import AugmentConfig, Goal, QatTrainingConfig
from selectq.data.packed import Dataset
from selectq.deploy.candidates import CORRECT_BIAS, choose
from selectq.errors import UserError
from selectq.ptq.pipeline import equivalent_fp32
from selectq.quantization.post_training import fold_fp32
from selectq.selection.ladder import Retrainer, Rung
from selectq.selection.sensitivity import retraining_scores
from selectq.selection.trial import Candidate, Trial, Tried

LEARNED_ROUNDING = {"reconstruct_blocks": "rounding learned by blocks"}
"""The PTQ algorithm that comes behind all others but bias correction, and its rung's name. By layers, rounding takes as
long to learn, and wins less (benchmarks/results/ptq_*.csv)."""

FEWEST_IMAGES = RoundingSettings().batch_images
"""Training images that learned rounding needs."""

BATCH = 64
SCORED_IMAGES = 256
PIXELS_OF_A_SHIFT = 16
"""In training, images are shifted by up to one pixel for so many of their height."""


def require_training_images(dataset: Dataset) -> None:
    """Refuse too few images to train on.

    Raises:
        UserError: says how many would do.
    """
    training = len(dataset.train)
    if training < FEWEST_IMAGES:
        raise UserError(f"--retrain: {training} training images are too few; allowed: {FEWEST_IMAGES} or more")


class Ladder:
    """The rungs, made as they are asked for: those offered, then learned rounding, then retraining by budgets.

    Gradients are computed, and layers chosen, only where all without training has failed.

    Attributes:
        start: what the retraining started from; None as long as nothing is retrained.
        scores: of `retraining_scores`; None as long as nothing is retrained.
    """

    def __init__(self, trial: Trial, goal: Goal) -> None:
        self._trial, self._goal = trial, goal
        self.start: Rung | None = None
        self.scores: pd.DataFrame | None = None

    def rungs(self, offered: Sequence[Candidate]) -> Iterator[Rung]:
        """In their order."""
        plain = []
        for candidate in offered:
            plain.append(self._trial.quantize(candidate))
            yield self._rung(plain[-1])
        best = choose(plain)
        config = best.candidate.config
        for algorithm, name in LEARNED_ROUNDING.items():
            before = [entry for entry in config.algorithms if entry != CORRECT_BIAS]  # biases are learned as well
            behind = dataclasses.replace(config, algorithms=(*before, algorithm))
            yield self._rung(self._trial.quantize(Candidate(name, behind)))
        self.start, self.scores = self._rung(best), self._score(best)
        yield from Retrainer(self._trial, self._goal, self._training(best)).rungs(self.start, self.scores)

    def _rung(self, tried: Tried) -> Rung:
        return Rung(tried.candidate, tried.right, self._trial.gap(tried.right), tried.network)

    def _score(self, start: Tried) -> pd.DataFrame:
        trial = self._trial
        split = trial.dataset.train
        network = fold_fp32(equivalent_fp32(trial.fp32, start.candidate.config.algorithm_names), split.device)
        images = split.sample(min(SCORED_IMAGES, len(split)), trial.seed)
        return retraining_scores(network, start.network, images, trial.seed)

    def _training(self, start: Tried) -> QatTrainingConfig:
        config, images = start.candidate.config, self._trial.dataset.train
        return QatTrainingConfig(
            batch_size=min(BATCH, len(images)),
            optimizer="adam",
            momentum=0.9,
            weight_decay=0.0,
            warmup_epochs=0.1,
            range_epochs=0.0,  # the ranges of everything stay as they were calibrated
            range_averaging=0.02,
            feature_views=2,
            calibration=config.calibration,
            algorithms=config.algorithms,
            augment=AugmentConfig(False, images.images.shape[-1] // PIXELS_OF_A_SHIFT, 0),
        )
