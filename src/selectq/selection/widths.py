"""Mixed widths: which layers' weights keep more bits, from all of them to none, and what that costs in accuracy."""

import copy
import json
import random
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass

import pandas as pd
import torch
from torch import Tensor

from selectq.config.configs import ActivationScheme, CalibrationConfig, WeightScheme
from selectq.data.augment import image_batches
from selectq.data.evaluate import top1
from selectq.data.packed import Dataset, Split
from selectq.errors import UserError
from selectq.kernels.simulation import quantized_forward
from selectq.progress import progress
from selectq.quantization.network import Layer, Network
from selectq.quantization.post_training import calibrate, calibration_images
from selectq.quantization.quantized import Scheme, insert_quantizers
from selectq.selection.allocation import Option, allocate
from selectq.selection.sensitivity import divergence, width_scores

CURVE_COLUMNS = [
    "step",
    "choice",
    "size_mb",
    "predicted_loss",
    "validation_loss",
    "validation_top1",
    "test_top1",
    "bits",
]
CHOSEN = "chosen"

PACKED_BITS, BIAS_BYTES = 4, 4
"""Weights of up to so many bits are stored two in a byte, others one; a bias is an int32."""

TOLERANCE = 0.01
"""By how much of the bytes that are saved a random choice may save more."""

ATTEMPTS = 1000
"""Random orders of the layers that are tried for one random choice; a hit takes a few."""


@dataclass(frozen=True)
class Curve:
    """What is measured.

    Attributes:
        wide, narrow: the two widths: more than `PACKED_BITS`, and up to so many.
        activations: of everything stored.
        steps: into how many even parts the way from all wide to all narrow is divided.
        draws: random choices beside each chosen one between the ends.
        seed: of calibration, drawn labels and random choices.
    """

    wide: int
    narrow: int
    activations: ActivationScheme
    steps: int
    draws: int
    seed: int

    def scheme(self, bits: Mapping[str, int]) -> Scheme:
        """With the widths of some layers; the others are wide."""
        return Scheme(WeightScheme({"all": self.wide, **bits}, "channel"), self.activations)


def stored_bytes(count: int, bits: int) -> int:
    """Bytes of so many weights as programs store them."""
    return -(-count // 2) if bits <= PACKED_BITS else count


def layer_bytes(layer: Layer, bits: int) -> int:
    """Bytes of a layer's weights and biases, as stored."""
    return stored_bytes(layer.weight.numel(), bits) + BIAS_BYTES * layer.bias.numel()


def measure_curve(network: Network, dataset: Dataset, calibration: CalibrationConfig, curve: Curve) -> pd.DataFrame:
    """Accuracy against size, for the widths that output Fisher chooses and for random ones of the same size.

    Choices are made on the calibration images, without labels; test images are measured, and decide nothing.

    Args:
        network: FP32, in its float form, with all that acts on it before quantization; per-channel weights follow.
        dataset: on the network's device, normalised.
        calibration: which images set activation ranges, and give the scores.
        curve: what else there is to say.

    Returns:
        A row for each choice: step (0: all wide), choice (`chosen`, or `random<number>`), size_mb (weights and
        biases as stored), predicted_loss and validation_loss (KL(FP32 ‖ quantized), nats), validation_top1 and
        test_top1 (percent), bits (JSON, as it may stand under `weights.bits`).
    """
    ranges = calibrate(network, dataset, calibration, curve.scheme({}), curve.seed)

    def quantized(bits: Mapping[str, int]) -> Network:
        made = copy.deepcopy(network)
        insert_quantizers(made, curve.scheme(bits), ranges)
        return made.eval()

    names = [layer.name for layer in network.layers()]
    forms = {width: quantized(dict.fromkeys(names, width)) for width in (curve.wide, curve.narrow)}
    scores = width_scores(network, forms, calibration_images(dataset, calibration, curve.seed), curve.seed)
    options = width_options(network, scores, curve)
    measured = Evaluation(network, dataset)
    choices = [*choices_of(options, curve)]
    rows = [
        (step, choice, *_sums(options, bits), *measured(quantized(bits)), _written(bits, curve))
        for step, choice, bits in progress(choices, len(choices), "widths", unit="choice")
    ]
    return pd.DataFrame(rows, columns=CURVE_COLUMNS)


def width_options(network: Network, scores: pd.DataFrame, curve: Curve) -> dict[str, list[Option[int]]]:
    """Layer -> both widths: half the output Fisher as loss, bytes as `size`; `scores` are those of `width_scores`."""
    fishers = scores.set_index("layer")
    return {
        layer.name: [
            Option(bits, fishers[f"fisher_{bits}"][layer.name] / 2, {"size": layer_bytes(layer, bits)})
            for bits in (curve.wide, curve.narrow)
        ]
        for layer in network.layers()
    }


def choices_of(options: Mapping[str, list[Option[int]]], curve: Curve) -> Iterator[tuple[int, str, dict[str, int]]]:
    """Step, `chosen` or `random<number>`, and the widths of all layers."""
    wide, narrow = (sum(own[end].costs["size"] for own in options.values()) for end in (0, 1))
    generator = random.Random(curve.seed)
    for step in range(curve.steps + 1):
        budget = wide - (wide - narrow) * step // curve.steps
        yield step, CHOSEN, allocate(options, {"size": budget})
        for number in range(curve.draws if 0 < step < curve.steps else 0):
            yield step, f"random{number + 1}", random_widths(options, budget, generator)


def random_widths(options: Mapping[str, list[Option[int]]], budget: float, generator: random.Random) -> dict[str, int]:
    """Widths of about the size `budget`: layers in random order become narrow where they fit, until enough is saved.

    Raises:
        UserError: no such set of layers is found.
    """
    savings = {name: wide.costs["size"] - narrow.costs["size"] for name, (wide, narrow) in options.items()}
    wanted = sum(wide.costs["size"] for wide, _ in options.values()) - budget
    for _ in range(ATTEMPTS):
        saved, chosen = 0.0, {name: wide.choice for name, (wide, _) in options.items()}
        for name in generator.sample(list(options), len(options)):
            if saved < wanted and saved + savings[name] <= wanted * (1 + TOLERANCE):
                saved, chosen[name] = saved + savings[name], options[name][1].choice
        if saved >= wanted:
            return chosen
    raise UserError(f"--steps: too few random sets of layers come within {TOLERANCE:.0%} of {wanted:,.0f} bytes saved")


class Evaluation:
    """The divergence from the float network on the validation images, and accuracies."""

    def __init__(self, network: Network, dataset: Dataset) -> None:
        self._dataset = dataset
        self._expected = _logits(network, dataset.validation)

    def __call__(self, quantized: Network) -> tuple[float, float, float]:
        """KL(FP32 ‖ quantized) in nats and top-1 in percent on the validation images, top-1 on the test images."""
        validation, test = self._dataset.validation, self._dataset.test
        forward = quantized_forward(quantized, validation.device)
        logits = _logits(forward, validation)
        loss = divergence(self._expected.double(), logits.double()).item() / len(validation)
        return loss, top1(logits, validation.labels), top1(_logits(forward, test), test.labels)


@torch.no_grad()
def _logits(network: Callable[[Tensor], Tensor], split: Split) -> Tensor:
    return torch.cat([network(batch) for batch in image_batches(split)])


def _sums(options: Mapping[str, list[Option[int]]], bits: Mapping[str, int]) -> tuple[float, float]:
    """Size in MB (10⁶ bytes), and predicted loss."""
    given = [option for name, own in options.items() for option in own if option.choice == bits[name]]
    return sum(option.costs["size"] for option in given) / 1e6, sum(option.loss for option in given)


def _written(bits: Mapping[str, int], curve: Curve) -> str:
    return json.dumps({"all": curve.wide, **{name: width for name, width in bits.items() if width != curve.wide}})
