"""From the cheapest treatment to the dearest, as far as one that keeps up with FP32 on the validation images."""

import copy
import dataclasses
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Annotated

import pandas as pd
from scipy.stats import norm

from selectq.config.algorithms import RoundingSettings
from selectq.config.configs import AugmentConfig, Count, QatConfig, QatTrainingConfig
from selectq.config.fields import Between, Config
from selectq.data.packed import Dataset
from selectq.deploy.candidates import Candidate, Trial, Tried, choose
from selectq.deploy.outcome import Accuracy
from selectq.errors import UserError
from selectq.intervals import CONFIDENCE
from selectq.ptq.pipeline import equivalent_fp32
from selectq.quantization.network import Network
from selectq.quantization.post_training import fold_fp32
from selectq.quantization.scopes import parameters_in_scope
from selectq.selection.retraining import chosen_scope, share_pct
from selectq.selection.sensitivity import retraining_scores
from selectq.statistics.verdicts import Gap, judge
from selectq.training.qat import Retraining, retrain_quantized
from selectq.training.resume import Unsaved

LEARNED_ROUNDING = {
    "adaptive_rounding": "rounding learned by layers",
    "reconstruct_blocks": "rounding learned by blocks",
}
"""PTQ algorithms that come behind all others, the cheaper first, and their rungs' names."""

FEWEST_IMAGES = RoundingSettings().batch_images
"""Training images that learned rounding needs."""

RATES = (0.0001, 0.0003, 0.001)
"""Learning rates of Adam that every set of layers is tried with, for one epoch."""

BATCH = 64
SCORED_IMAGES = 256
PIXELS_OF_A_SHIFT = 16
"""In training, images are shifted by up to one pixel for so many of their height."""


@dataclass(frozen=True)
class Goal(Config):
    """What is asked for, and how far one may go for it.

    Attributes:
        max_loss: points of top-1 below FP32; the whole interval at `CONFIDENCE` must lie above that.
        budgets: percent of the parameters that may be retrained; the smallest that is enough is found.
        epochs: of a retraining.
    """

    max_loss: Annotated[float, Between(0.01, 100)]
    budgets: tuple[Annotated[float, Between(0.01, 100)], ...]
    epochs: Count

    def is_met(self, gap: Gap) -> bool:
        """Whether a network keeps up with FP32."""
        return judge(gap, "keeps up", self.max_loss) == "holds"

    @property
    def fewest_images(self) -> int:
        """With fewer no interval is so narrow: not even where no prediction changes."""
        bound = float(norm.isf((1 - CONFIDENCE) / 2))
        return int(bound**2 * (100 / self.max_loss - 1)) + 1

    def require_images(self, dataset: Dataset) -> None:
        """Refuse too few images.

        Raises:
            UserError: says how many would do.
        """
        training, validation = len(dataset.train), len(dataset.validation)
        if training < FEWEST_IMAGES:
            raise UserError(f"--retrain: {training} training images are too few; allowed: {FEWEST_IMAGES} or more")
        if validation < self.fewest_images:
            raise UserError(
                f"--max-loss: {self.max_loss:g} points cannot be shown on {validation:,} validation images;"
                f" {self.fewest_images:,} would do if no prediction changes"
            )


@dataclass(frozen=True)
class Rung:
    """A treatment, measured on the validation images.

    Attributes:
        tried: what it is, and the network.
        gap: to FP32, in points.
        seconds: that it took, with what was tried for it.
        share: of the parameters that is retrained, in percent.
        layers: that are retrained, by their names in the graph.
    """

    tried: Tried
    gap: Gap
    seconds: float
    share: float = 0.0
    layers: tuple[str, ...] = ()

    @property
    def name(self) -> str:
        """Of the treatment."""
        return self.tried.candidate.name

    @property
    def top1(self) -> float:
        """On the validation images, in percent."""
        return 100 * float(self.tried.right.mean())

    @property
    def gap_text(self) -> str:
        """The gap with its interval."""
        return f"{self.gap.points:+.2f} [{self.gap.low:+.2f}, {self.gap.high:+.2f}]"


@dataclass(frozen=True)
class Climbed:
    """What was tried, and what is taken.

    Attributes:
        rungs: in the order in which they were tried.
        chosen: the first that meets the goal; where none does, that of the smallest gap.
        met: whether it does.
        start: what the retraining started from; None where nothing was retrained.
        scores: of `retraining_scores`; None where nothing was retrained.
    """

    rungs: tuple[Rung, ...]
    chosen: Rung
    met: bool
    start: Rung | None
    scores: pd.DataFrame | None


def climb(trial: Trial, offered: Sequence[Candidate], goal: Goal, show: Callable[[Rung], None]) -> Climbed:
    """Try one treatment after another until one meets the goal; `show` is given each as it is done.

    Those offered come first, then learned rounding, then retraining under every budget. Gradients are computed, and
    layers chosen, only where all without training has failed. Test images are not looked at.

    Raises:
        UserError: a loss that is no longer a number.
    """
    ladder, rungs = _Ladder(trial, goal), list[Rung]()
    for rung in ladder.rungs(offered):
        show(rung)
        rungs.append(rung)
        if goal.is_met(rung.gap):
            return Climbed(tuple(rungs), rung, True, ladder.start, ladder.scores)
    return Climbed(tuple(rungs), max(rungs, key=lambda rung: rung.gap.points), False, ladder.start, ladder.scores)


class _Ladder:
    """The rungs, made as they are asked for."""

    def __init__(self, trial: Trial, goal: Goal) -> None:
        self._trial, self._goal = trial, goal
        self.start: Rung | None = None
        self.scores: pd.DataFrame | None = None

    def rungs(self, offered: Sequence[Candidate]) -> Iterator[Rung]:
        """See `climb`."""
        plain = []
        for candidate in offered:
            plain.append(self._quantized(candidate))
            yield plain[-1]
        best = choose([rung.tried for rung in plain])
        start, config = next(rung for rung in plain if rung.tried is best), best.candidate.config
        for algorithm, name in LEARNED_ROUNDING.items():
            behind = dataclasses.replace(config, algorithms=(*config.algorithms, algorithm))
            yield self._quantized(Candidate(name, behind))
        yield from self._retrainings(start)

    def _quantized(self, candidate: Candidate) -> Rung:
        began = time.monotonic()
        return self._rung(self._trial.quantize(candidate), began)

    def _rung(self, tried: Tried, began: float, share: float = 0.0, layers: tuple[str, ...] = ()) -> Rung:
        gap = Accuracy(self._trial.fp32_right, tried.right).gap
        return Rung(tried, gap, time.monotonic() - began, share, layers)

    def _retrainings(self, start: Rung) -> Iterator[Rung]:
        """A rung for each budget whose layers are others than those of the one before."""
        model, graph, before = self._trial.fp32.model, self._trial.fp32.graph, tuple[str, ...]()
        for budget in sorted(self._goal.budgets):
            began = time.monotonic()
            if self.scores is None:
                self.start, self.scores = start, self._score(start.tried)
            layers, scope = chosen_scope(model, graph, self.scores, budget)
            if scope not in ((), before):
                before, tried = scope, self._retrained(start.tried, scope, len(layers))
                yield self._rung(tried, began, share_pct(model, graph, scope), layers)

    def _score(self, start: Tried) -> pd.DataFrame:
        trial = self._trial
        split = trial.dataset.train
        network = fold_fp32(equivalent_fp32(trial.fp32, start.candidate.config.algorithm_names), split.device)
        images = split.sample(min(SCORED_IMAGES, len(split)), trial.seed)
        return retraining_scores(network, start.network, images, trial.seed)

    def _retrained(self, start: Tried, scope: tuple[str, ...], layers: int) -> Tried:
        """Retrained at the rate that left the smallest validation loss after one epoch."""
        losses = {rate: self._train(start, self._retraining(start, scope, 1, rate))[1] for rate in RATES}
        rate = min(losses, key=lambda rate: losses[rate])
        retraining = self._retraining(start, scope, self._goal.epochs, rate)
        name = f"{layers} layer{'s' * (layers > 1)} retrained, rate {rate:g}"
        network, _ = self._train(start, retraining)
        return self._trial.measure(Candidate(name, start.candidate.config, retraining), network)

    def _retraining(self, start: Tried, scope: tuple[str, ...], epochs: int, rate: float) -> Retraining:
        config, images = start.candidate.config, self._trial.dataset.train
        training = QatTrainingConfig(
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
        return Retraining(
            QatConfig(scope, config.weights, config.activations, epochs, rate), training, self._trial.seed
        )

    def _train(self, start: Tried, retraining: Retraining) -> tuple[Network, float]:
        """The network, and its loss on the validation images."""
        fp32, network = self._trial.fp32, copy.deepcopy(start.network)
        scope = parameters_in_scope(fp32.model, retraining.config.scope, fp32.graph)
        history = retrain_quantized(network, scope, retraining, self._trial.dataset, Unsaved())
        return network, float(history[-1]["loss"])
