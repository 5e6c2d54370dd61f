"""Where treatments are tried: quantized and retrained on the training images, measured on the validation images."""

from dataclasses import dataclass
from functools import cached_property

from torch import Tensor

from selectq.config.configs import PtqConfig
from selectq.data.evaluate import predict_logits, right_of
from selectq.data.packed import Dataset
from selectq.kernels.simulation import quantized_forward
from selectq.networks.checkpoint import Fp32Checkpoint
from selectq.ptq.pipeline import ptq_pipeline
from selectq.quantization.network import Network
from selectq.statistics.gaps import paired_gap
from selectq.statistics.predictions import Right
from selectq.statistics.verdicts import Gap
from selectq.training.qat import Retraining


@dataclass(frozen=True)
class Candidate:
    """A quantization, and the retraining behind it, if there is one."""

    name: str
    config: PtqConfig
    retraining: Retraining | None = None


@dataclass(frozen=True)
class Tried:
    """A candidate on the images that choose.

    Attributes:
        candidate: what it is.
        network: fake-quantized.
        right: which of the images it puts into the right class.
        distance: the mean squared difference of its logits from the FP32 network's.
    """

    candidate: Candidate
    network: Network
    right: Right
    distance: float


@dataclass(frozen=True)
class Trial:
    """One FP32 network, and the images.

    Attributes:
        fp32: the FP32 network, on the CPU.
        dataset: normalised as the network takes it.
        fp32_logits: its logits of the validation images, (N, classes).
        seed: of the calibration images' order, and of training.
        confidence: of intervals.
    """

    fp32: Fp32Checkpoint
    dataset: Dataset
    fp32_logits: Tensor
    seed: int
    confidence: float

    @cached_property
    def fp32_right(self) -> Right:
        """Which of the validation images the FP32 network puts into the right class."""
        return right_of(self.fp32_logits.numpy(), self.dataset.validation.labels)

    def gap(self, right: Right) -> Gap:
        """To FP32, of a network that puts these validation images into the right class."""
        return paired_gap(right, self.fp32_right, self.confidence)

    def quantize(self, candidate: Candidate) -> Tried:
        """A candidate without training."""
        return self.measure(candidate, ptq_pipeline(self.fp32, self.dataset, candidate.config, self.seed))

    def measure(self, candidate: Candidate, network: Network) -> Tried:
        """The fake-quantized network that a candidate gave."""
        validation = self.dataset.validation
        logits = predict_logits(quantized_forward(network, validation.device), validation, candidate.name)
        right = right_of(logits.numpy(), validation.labels)
        return Tried(candidate, network, right, (logits - self.fp32_logits).square().mean().item())
