"""From the cheapest treatment to the dearest, as far as one that keeps up with FP32 on the validation images."""

import copy
import dataclasses
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass

import pandas as pd

from selectq.config.configs import Goal, PtqConfig, QatConfig, QatTrainingConfig
from selectq.errors import UserError
from selectq.quantization.network import Network
from selectq.quantization.scopes import parameters_in_scope
from selectq.selection.retraining import chosen_scope, share_pct
from selectq.selection.trial import Candidate, Trial
from selectq.statistics.predictions import Right
from selectq.statistics.schemas import AGAIN
from selectq.statistics.verdicts import Gap, judge
from selectq.training.qat import Retraining, retrain_quantized
from selectq.training.resume import Unsaved


@dataclass(frozen=True)
class Rung:
    """A treatment, measured on the validation images.

    Attributes:
        candidate: what it is.
        right: which of the images it puts into the right class.
        gap: to FP32, in points.
        network: fake-quantized; None where its predictions alone are known.
        share: of the parameters that is retrained, in percent.
        layers: that are retrained, by their names in the graph.
    """

    candidate: Candidate
    right: Right
    gap: Gap
    network: Network | None
    share: float = 0.0
    layers: tuple[str, ...] = ()

    @property
    def name(self) -> str:
        """Of the treatment."""
        return self.candidate.name

    @property
    def top1(self) -> float:
        """On the validation images, in percent."""
        return 100 * float(self.right.mean())

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
    """

    rungs: tuple[Rung, ...]
    chosen: Rung
    met: bool


def climb(rungs: Iterable[Rung], goal: Goal, show: Callable[[Rung], None]) -> Climbed:
    """Try one treatment after another until one meets the goal; `show` is given each as it is done.

    Rungs are made as they are asked for: what comes behind the first that is enough is never computed.

    Raises:
        UserError: a loss that is no longer a number.
    """
    tried = list[Rung]()
    for rung in rungs:
        show(rung)
        tried.append(rung)
        if judge(rung.gap, "keeps up", goal.max_loss_points) == "holds":
            return Climbed(tuple(tried), rung, True)
    return Climbed(tuple(tried), max(tried, key=lambda rung: rung.gap.points), False)


def untrained_rungs(
    trial: Trial, configs: Mapping[str, PtqConfig], right: pd.DataFrame, networks: Mapping[str, Network]
) -> dict[str, Rung]:
    """Those of quantizations without training, by name.

    Args:
        trial: what they are measured by.
        configs: name -> configuration, the cheapest first.
        right: which validation images each puts into the right class; columns as RIGHT.
        networks: of those that retraining may start from.

    Raises:
        UserError: predictions of other images.
    """
    rungs = {}
    for name, config in configs.items():
        own = right.loc[right["config"] == name, "right"].to_numpy(bool)
        if len(own) != len(trial.fp32_right):
            found = f"predictions of {len(own)} validation images, not {len(trial.fp32_right)}"
            raise UserError(f"{name}: {found}; {AGAIN}")
        rungs[name] = Rung(Candidate(name, config), own, trial.gap(own), networks.get(name))
    return rungs


@dataclass(frozen=True)
class Retrainer:
    """What makes the rungs on which layers are retrained; `training` is what they have in common."""

    trial: Trial
    goal: Goal
    training: QatTrainingConfig

    def rungs(self, start: Rung, scores: pd.DataFrame) -> Iterator[Rung]:
        """One for each budget whose layers are others than those of the one before, each from the network of `start`.

        `scores` are those of `retraining_scores`. Test images are not looked at.

        Raises:
            UserError: a loss that is no longer a number.
        """
        model, graph, before = self.trial.fp32.model, self.trial.fp32.graph, tuple[str, ...]()
        for budget in sorted(self.goal.budgets_pct):
            layers, scope = chosen_scope(model, graph, scores, budget, self.goal)
            if scope not in ((), before):
                before = scope
                yield self._retrained(start, scope, layers, share_pct(model, graph, scope))

    def _retrained(self, start: Rung, scope: tuple[str, ...], layers: tuple[str, ...], share: float) -> Rung:
        rate = self._best_rate(start, scope)
        retraining = self._retraining(start, scope, self.goal.epochs, rate)
        name = f"{len(layers)} layer{'s' * (len(layers) > 1)} retrained, rate {rate:g}"
        network, _ = self._train(start, retraining)
        tried = self.trial.measure(Candidate(name, start.candidate.config, retraining), network)
        return Rung(tried.candidate, tried.right, self.trial.gap(tried.right), network, share, layers)

    def _best_rate(self, start: Rung, scope: tuple[str, ...]) -> float:
        """The one that leaves the smallest validation loss after one epoch."""
        if len(self.goal.lrs) == 1:
            return self.goal.lrs[0]
        losses = {rate: self._train(start, self._retraining(start, scope, 1, rate))[1] for rate in self.goal.lrs}
        return min(losses, key=lambda rate: losses[rate])

    def _retraining(self, start: Rung, scope: tuple[str, ...], epochs: int, rate: float) -> Retraining:
        config = start.candidate.config
        training = dataclasses.replace(self.training, calibration=config.calibration, algorithms=config.algorithms)
        qat = QatConfig(scope, config.weights, config.activations, epochs, rate)
        return Retraining(qat, training, self.trial.seed)

    def _train(self, start: Rung, retraining: Retraining) -> tuple[Network, float]:
        """The network, and its loss on the validation images."""
        fp32, network = self.trial.fp32, copy.deepcopy(start.network)
        assert network is not None
        scope = parameters_in_scope(fp32.model, retraining.config.scope, fp32.graph)
        history = retrain_quantized(network, scope, retraining, self.trial.dataset, Unsaved())
        return network, float(history[-1]["loss"])
