"""`selectq quantize`: a trained network to an INT8 program, without training, and what it lost."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from torch import Tensor

from selectq.cli.text import aligned, printable, wrapped
from selectq.config.algorithms import RELU6_AS_RELU
from selectq.config.configs import ExportConfig, ModelConfig
from selectq.config.formats import FORMATS
from selectq.data.device import choose_device
from selectq.data.evaluate import predict_logits
from selectq.data.normalization import Normalization
from selectq.data.packed import Dataset
from selectq.deploy.candidates import (
    Tried,
    candidates,
    choose,
    fp32_forward,
    has_replaceable_relu6,
    relu6_cost,
    try_all,
)
from selectq.deploy.card import Card, comparison, float_parts, gap_text, render_card
from selectq.deploy.lots import Lots, open_lots
from selectq.deploy.outcome import Accuracy, measure_costs, processor_notes, program_logits, right_of
from selectq.deploy.trained import TrainedNetwork, named_by_options, read_trained
from selectq.errors import UserError
from selectq.export.describe import describe_program
from selectq.export.formats import write_program
from selectq.export.reference import to_reference
from selectq.files import require_writable, write_bytes
from selectq.kernels.simulation import quantized_forward
from selectq.networks.checkpoint import Fp32Checkpoint
from selectq.programs.manifest import Manifest
from selectq.programs.program import endings, find, open_program
from selectq.quantization.quantized import QuantizedCheckpoint, Scheme

LISTED_CLASSES = 4


@dataclass(frozen=True)
class Choices:
    """What else the command line says.

    Attributes:
        size: height and width of the images in pixels; None: what a packed file has, or 224.
        out: the program's file; None: the weights' name with `.int8.onnx`, in the working folder.
        seed: of the division of the images, and of their order in calibration.
        keep_relu6: ReLU does not stand in for ReLU6.
        skip_bad: leave out images that cannot be read.
        export: what the program takes.
    """

    size: int | None
    out: Path | None
    seed: int
    keep_relu6: bool
    skip_bad: bool
    export: ExportConfig


@named_by_options()
def run_quantize(trained: TrainedNetwork, images: Path, choices: Choices) -> None:
    """Quantize, write the program and its card, and print what was lost.

    Args:
        trained: the network.
        images: a packed data set, or a folder or archive of labelled image files.
        choices: what else there is to say.

    Raises:
        UserError: weights, network, images or a file to write that are not as they should be.
    """
    out = _checked(choices.out or Path(f"{trained.weights.stem}.int8.onnx"))
    config = trained.config()
    lots = open_lots(images, choices.size, choices.seed, choices.skip_bad)
    fp32 = read_trained(config, lots.classes, lots.size)
    find(out.suffix[1:]).refuse(fp32.graph)  # rather than when all is done
    dataset = lots.read().to(choose_device()).normalised(Normalization.of(config.normalization))
    _show(_inputs(config, images, dataset, lots))
    forward = fp32_forward(fp32.model, dataset.test.device)
    chosen = _choose(fp32, dataset, predict_logits(forward, dataset.validation, "FP32"), choices)
    manifest = _write(out, chosen, fp32, lots.size, choices.export)

    logits, labels = program_logits(open_program(out), dataset.test), dataset.test.labels
    simulated = predict_logits(quantized_forward(chosen.network, dataset.test.device), dataset.test, "simulation")
    fp32_logits = predict_logits(forward, dataset.test, "FP32").numpy()
    flipped = int((logits.argmax(1) != simulated.numpy().argmax(1)).sum())
    card = Card(
        path=out,
        manifest=manifest,
        network=config.title,
        weights_sha256=str(config.trained_sha256),
        normalization=_normalization(config),
        recipe=chosen.candidate.name,
        accuracy=Accuracy(right_of(fp32_logits, labels), right_of(logits, labels)),
        costs=measure_costs(fp32, manifest.image_size, out),
        flipped=flipped,
        notes=lots.notes,
    )
    page = out.with_name(f"{out.name}.md")
    write_bytes(page, render_card(card).encode())
    _show([*_summary(card), "", f"card:  {page}", f"model: {out}"])


def _checked(out: Path) -> Path:
    if out.suffix[1:] not in FORMATS.names():
        raise UserError(f"--out: {out} has no ending that tells the format; allowed: {endings()}")
    require_writable("--out", out)
    return out


def _choose(fp32: Fp32Checkpoint, dataset: Dataset, fp32_logits: Tensor, choices: Choices) -> Tried:
    relu6 = has_replaceable_relu6(fp32) and not choices.keep_relu6
    offered = candidates(len(dataset.train), relu6)
    tried = try_all(fp32, dataset, fp32_logits, offered, choices.seed)
    chosen, images = choose(tried), len(dataset.validation)
    fp32_right = right_of(fp32_logits.numpy(), dataset.validation.labels).sum()
    rows = [("candidates", "top-1", "logit MSE"), ("FP32", f"{100 * fp32_right / images:.2f} %", "")]
    for each in tried:
        mark = " (chosen)" if each is chosen else ""
        rows.append((each.candidate.name + mark, f"{100 * each.right / images:.2f} %", f"{each.distance:.3g}"))
    _show([*aligned(rows, left=1)])
    if relu6:
        cost = relu6_cost(fp32, dataset, fp32_logits)
        used = "is used" if RELU6_AS_RELU in chosen.candidate.config.algorithm_names else "is not used"
        _show(wrapped("", f"ReLU for ReLU6 costs the FP32 network {cost:.2f} points, and {used}"))
    return chosen


def _write(out: Path, chosen: Tried, fp32: Fp32Checkpoint, size: int, export: ExportConfig) -> Manifest:
    """Write the program; returns its description, as the file has it."""
    config = chosen.candidate.config
    scheme = Scheme(config.weights, config.activations)
    names = config.algorithm_names
    checkpoint = QuantizedCheckpoint(out.stem, chosen.network, fp32.config, fp32.classes, scheme, names)
    write_program(out, to_reference(chosen.network), describe_program(checkpoint, size, export.input, export.layout))
    return open_program(out).manifest


def _inputs(config: ModelConfig, images: Path, data: Dataset, lots: Lots) -> list[str]:
    numbered = [f"{number} {printable(name)}" for number, name in enumerate(lots.classes)]
    listed = ", ".join(numbered if len(numbered) <= LISTED_CLASSES + 1 else [*numbered[:LISTED_CLASSES], "..."])
    return [
        *wrapped("network:  ", f"{config.title}, weights {printable(str(config.trained))}"),
        *wrapped("sha256:   ", str(config.trained_sha256)),
        *wrapped("images:   ", f"{printable(str(images))}, {lots.size} x {lots.size} pixels; {_normalization(config)}"),
        *wrapped(
            "splits:   ",
            f"{len(data.train):,} to calibrate, {len(data.validation):,} to choose, {len(data.test):,} to report on",
        ),
        *wrapped("classes:  ", f"{listed}: folders in alphabetical order, as torchvision's ImageFolder numbers them"),
        *(line for note in lots.notes for line in wrapped("note:     ", note)),
        "",
    ]


def _normalization(config: ModelConfig) -> str:
    mean, std = config.normalization.mean, config.normalization.std
    return f"mean {_numbers(mean)}, std {_numbers(std)}"


def _numbers(values: Sequence[float]) -> str:
    return ", ".join(f"{each:.4g}" for each in values)


def _summary(card: Card) -> list[str]:
    images = len(card.accuracy.fp32)
    return [
        "",
        *aligned([("evaluation", "FP32", "INT8"), *comparison(card.accuracy, card.costs)], left=1),
        *wrapped("", f"gap {gap_text(card.accuracy)}, 95 % interval; see that FP32 is as accurate as you know it"),
        *wrapped("", f"predictions that differ between simulation and program: {card.flipped:,} of {images:,}"),
        *(line for note in processor_notes() for line in wrapped("", note)),
        *wrapped("", f"operators in floating point: {float_parts(card.path)}"),
        "",
        *wrapped("verdict: ", card.accuracy.verdict_text()),
    ]


def _show(lines: Sequence[str]) -> None:
    print("\n".join(lines), flush=True)
