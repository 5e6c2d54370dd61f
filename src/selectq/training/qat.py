"""Quantization-aware training of the layers in scope."""

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import nn

from selectq.config.configs import PtqConfig, QatConfig, QatTrainingConfig
from selectq.config.planned import Planned
from selectq.data.packed import Dataset, Split
from selectq.kernels.simulation import QUANTIZED_KERNELS, quantized_forward
from selectq.networks.checkpoint import Fp32Checkpoint
from selectq.ptq.pipeline import ptq_pipeline
from selectq.quantization.network import Layer, Network
from selectq.quantization.quantized import Scheme
from selectq.quantization.quantizers import ActivationQuantizer, follow
from selectq.quantization.scale_assignment import ScaleAssignment
from selectq.quantization.scopes import freeze_outside, parameters_in_scope, quantizers_in_scope
from selectq.training.batches import AugmentedImages, Batches, FixedViews
from selectq.training.features import ClassifierFeatures
from selectq.training.forward import Forward, training_forward
from selectq.training.loop import Hooks, HookSequence, Plan, fit
from selectq.training.oscillation import OscillationCounter
from selectq.training.parallel import ALONE, Workers
from selectq.training.resume import Row, TrainingState
from selectq.training.schedules import qat_schedule


@dataclass(frozen=True)
class Retraining:
    """What is retrained, how, and from which random numbers: those of calibration, order and augmentation."""

    config: QatConfig
    training: QatTrainingConfig
    seed: int

    @property
    def scheme(self) -> Scheme:
        """How numbers become integers."""
        return Scheme(self.config.weights, self.config.activations)

    @property
    def start(self) -> PtqConfig:
        """The quantization after training that the retraining starts from."""
        config, training = self.config, self.training
        return PtqConfig(config.weights, config.activations, training.calibration, training.algorithms)


def retrain(
    retraining: Retraining, fp32: Fp32Checkpoint, dataset: Dataset, state: TrainingState, workers: Workers
) -> tuple[Network, list[Row]]:
    """Quantize `fp32` and retrain the layers in scope, on the data set's device; the network and its history.

    Raises:
        UserError: a parameter does not fit the network or the images, or the loss is no longer a number.
    """
    scope = parameters_in_scope(fp32.model, retraining.config.scope)
    network = ptq_pipeline(fp32, dataset, retraining.start, retraining.seed)
    return network, retrain_quantized(network, scope, retraining, dataset, state, workers=workers)


def carry_out(
    planned: Planned, fp32: Fp32Checkpoint, dataset: Dataset, seed: int, state: TrainingState, *, workers: Workers
) -> tuple[Network, list[Row]]:
    """What a plan says is to be done with `fp32`; without training the history is empty. Raises what `retrain` does."""
    if isinstance(planned.config, PtqConfig):
        return ptq_pipeline(fp32, dataset, planned.config, seed), []
    assert planned.training is not None
    return retrain(Retraining(planned.config, planned.training, seed), fp32, dataset, state, workers)


def retrain_quantized(
    network: Network,
    scope: frozenset[str],
    retraining: Retraining,
    dataset: Dataset,
    state: TrainingState,
    *,
    workers: Workers = ALONE,
) -> list[Row]:
    """Retrain a network that is quantized already, in place: what came from the FP32 parameters in `scope`.

    Returns its history; raises what `retrain` does.
    """
    config, training, seed = retraining.config, retraining.training, retraining.seed
    optimizer = build_optimizer(freeze_outside(network, scope), config, training)
    batches, forward = batches_and_forward(network, dataset.train, config, training, seed, workers=workers)
    follower = RangeFollower(quantizers_in_scope(network), training, workers)
    hooks = HookSequence(follower, ScaleUpdate(network), OscillationCounter(network, config.epochs))
    schedule, predict = qat_schedule(config, training), quantized_forward(network, dataset.train.device)
    plan = Plan(config.epochs, batches, forward, predict, schedule, seed, hooks=hooks, workers=workers)
    return fit(network, optimizer, dataset, plan, state)


def build_optimizer(
    parameters: list[nn.Parameter], config: QatConfig, training: QatTrainingConfig
) -> torch.optim.Optimizer:
    """The optimiser of the parameters. Adam steps alike in channels of unequal range; SGD does not."""
    builders: dict[str, Callable[[], torch.optim.Optimizer]] = {
        "sgd": lambda: torch.optim.SGD(
            parameters, lr=config.lr, momentum=training.momentum, weight_decay=training.weight_decay, fused=True
        ),
        "adam": lambda: torch.optim.Adam(parameters, lr=config.lr, weight_decay=training.weight_decay, fused=True),
    }
    return builders[training.optimizer]()


class RangeFollower(Hooks):
    """Has activation ranges follow the data for the first `range_epochs`, then stay fixed."""

    def __init__(
        self, quantizers: list[ActivationQuantizer], training: QatTrainingConfig, workers: Workers = ALONE
    ) -> None:
        self._quantizers = quantizers
        self._training = training
        self._workers = workers

    def before_step(self, epoch: float) -> None:
        """At the fractional `epoch`: say whether the quantizers watch the batch."""
        for quantizer in self._quantizers:
            quantizer.observing = epoch < self._training.range_epochs

    def after_step(self, epoch: float) -> None:
        """Move the ranges towards what was seen, by any process."""
        watching = [quantizer for quantizer in self._quantizers if quantizer.seen is not None]
        seen = self._workers.widest([quantizer.seen for quantizer in watching if quantizer.seen is not None])
        for quantizer, extremes in zip(watching, seen, strict=True):
            quantizer.seen = extremes
        follow(watching, self._training.range_averaging)


class ScaleUpdate(Hooks):
    """Has scales and zero points follow the weights and ranges that a step has moved."""

    def __init__(self, network: Network) -> None:
        self._assignment = ScaleAssignment(network)

    def after_step(self, epoch: float) -> None:
        """Choose the quantization parameters anew."""
        self._assignment.assign()


def batches_and_forward(
    network: Network,
    split: Split,
    config: QatConfig,
    training: QatTrainingConfig,
    seed: int,
    *,
    workers: Workers = ALONE,
) -> tuple[Batches, Forward]:
    """What a configuration trains on, and how that goes forward through a network frozen outside its scope.

    Where only the classifier learns, everything before it is computed once for each of `feature_views` views.
    """
    classifier = network.classifier()
    if classifier is not None and only_this_learns(network, classifier):
        views = FixedViews(split, training.batch_size, training.augment, training.feature_views, seed, workers=workers)
        return ClassifierFeatures(network, classifier, views), classifier
    images = AugmentedImages(split, training.batch_size, training.augment, workers)
    return images, training_forward(network, QUANTIZED_KERNELS, split.device)


def only_this_learns(network: Network, layer: Layer) -> bool:
    """Whether no other layer may learn."""
    learning = {id(parameter) for parameter in network.parameters() if parameter.requires_grad}
    return learning <= {id(parameter) for parameter in layer.parameters()}
