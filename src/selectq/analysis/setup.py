"""A post-training experiment as data, so that a flaw is a change of one of its parts."""

import copy
from collections.abc import Callable
from dataclasses import dataclass

from torch import Tensor, nn

from selectq.analysis.simulations import Fused, Simulated, SimulatedBackend
from selectq.config.configs import ActivationScheme, AuditConfig, CalibrationConfig
from selectq.data.counts import CALIBRATION_BATCH
from selectq.data.packed import Split
from selectq.graph.nodes import Graph
from selectq.ptq.dead_channels import zero_dead_channels

Preparation = Callable[[Tensor], Tensor]
"""uint8 images (N, 3, H, W) to float ones, which the network is shown."""


@dataclass(frozen=True)
class Setup:
    """One experiment: quantize `model` after training, and test it.

    Attributes:
        original: the FP32 network as it was trained; not to be changed.
        model: a copy of it that flaws may change, in evaluation mode, its dead channels silenced.
        graph: of `original`, whatever flaws put into its copy.
        training: the images that calibration takes its own from.
        calibration: which of them, and how ranges are estimated.
        activations: how activations become integers.
        calibration_pixels, inference_pixels: how the images are prepared.
        backend: how the network is put together and simulated.
    """

    original: nn.Module
    model: nn.Module
    graph: Graph
    training: Split
    calibration: CalibrationConfig
    activations: ActivationScheme
    calibration_pixels: Preparation
    inference_pixels: Preparation
    backend: type[SimulatedBackend]
    weight_bits: int
    seed: int

    def calibration_batches(self) -> list[Tensor]:
        """The calibration images, prepared: float (B, 3, H, W) each."""
        sample = self.training.sample(self.calibration.images, self.seed)
        return [self.calibration_pixels(chunk) for chunk in sample.chunks(CALIBRATION_BATCH)]

    def simulation(self) -> SimulatedBackend:
        """The experiment's network, calibrated."""
        recipe = Simulated(self.calibration, self.activations, self.weight_bits)
        return self.backend(self.model, self.training.normalization, self.calibration_batches(), recipe)


def sound_setup(model: nn.Module, graph: Graph, training: Split, config: AuditConfig, seed: int) -> Setup:
    """The experiment without a flaw. Nothing of `model`, which is in evaluation mode, is changed."""
    silenced = copy.deepcopy(model)
    zero_dead_channels(silenced, graph)
    return Setup(
        original=model,
        model=silenced,
        graph=graph,
        training=training,
        calibration=config.calibration,
        activations=config.activations,
        calibration_pixels=training.normalization,
        inference_pixels=training.normalization,
        backend=Fused,
        weight_bits=config.weight_bits,
        seed=seed,
    )
