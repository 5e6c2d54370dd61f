"""`selectq quantize`: a trained network to an INT8 program, with as little training as is enough, and its loss."""

import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from selectq.cli.controls import as_yaml
from selectq.cli.text import aligned, printable, wrapped
from selectq.config.algorithms import RELU6_AS_RELU
from selectq.config.configs import ExportConfig, ModelConfig
from selectq.config.formats import FORMATS
from selectq.data.device import choose_device
from selectq.data.evaluate import predict_logits
from selectq.data.normalization import Normalization
from selectq.data.packed import Dataset
from selectq.deploy.candidates import (
    Candidate,
    Trial,
    Tried,
    candidates,
    choose,
    fp32_forward,
    has_replaceable_relu6,
    relu6_cost,
)
from selectq.deploy.card import Card, comparison, float_parts, gap_text, render_card
from selectq.deploy.ladder import Goal, Rung, climb
from selectq.deploy.lots import CALIBRATION, Lots, open_lots
from selectq.deploy.outcome import MARGIN, Accuracy, measure_costs, processor_notes, program_logits, right_of
from selectq.deploy.plan import Plan, write_plan
from selectq.deploy.trained import TrainedNetwork, named_by_options, read_trained
from selectq.errors import UserError
from selectq.export.describe import describe_program
from selectq.export.formats import write_program
from selectq.export.reference import to_reference
from selectq.files import require_writable, write_bytes
from selectq.intervals import CONFIDENCE
from selectq.kernels.simulation import quantized_forward
from selectq.networks.checkpoint import Fp32Checkpoint
from selectq.programs.manifest import Manifest
from selectq.programs.program import endings, find, open_program
from selectq.quantization.quantized import QuantizedCheckpoint, Scheme
from selectq.selection.retraining import layer_shares, require_layers

LISTED_CLASSES = 4
CONFIGURATION_WIDTH = 56
"""Characters of a line; the last entry may stand out."""
GOAL_MISSED = 3
"""The exit status where nothing that was tried meets the goal; the best is written all the same."""


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
        scheme: the widths.
        largest: images that calibration and retraining (`train`), and the choice (`validation`), take at most.
        goal: for which layers may be retrained; None: nothing is.
    """

    size: int | None
    out: Path | None
    seed: int
    keep_relu6: bool
    skip_bad: bool
    export: ExportConfig
    scheme: Scheme
    largest: Mapping[str, int]
    goal: Goal | None

    @property
    def margin(self) -> float:
        """Points of accuracy; a loss below it is no loss."""
        return self.goal.max_loss if self.goal else MARGIN


@named_by_options()
def run_quantize(trained: TrainedNetwork, images: Path, choices: Choices) -> None:
    """Quantize, write the program and its card, and print what was lost; exit status 3 where a goal is not reached.

    Args:
        trained: the network.
        images: a packed data set, or a folder or archive of labelled image files.
        choices: what else there is to say.

    Raises:
        UserError: weights, network, images or a file to write that are not as they should be.
    """
    out = _checked(choices.out or Path(f"{trained.weights.stem}.int8.onnx"))
    config = trained.config()
    lots = open_lots(images, choices.size, choices.seed, choices.skip_bad, choices.largest)
    fp32 = read_trained(config, lots.classes, lots.size)
    find(out.suffix[1:]).refuse(fp32.graph)  # rather than when all is done
    if choices.goal:
        require_layers(layer_shares(fp32.model, fp32.graph), choices.goal.budgets)
    dataset = lots.read().to(choose_device()).normalised(Normalization.of(config.normalization))
    if choices.goal:
        choices.goal.require_images(dataset)
    _show(_inputs(config, images, dataset, lots, "calibrate or retrain" if choices.goal else "calibrate"))
    forward = fp32_forward(fp32.model, dataset.test.device)
    trial = Trial(fp32, dataset, predict_logits(forward, dataset.validation, "FP32"), choices.seed)
    plan = _climb(trial, choices, choices.goal) if choices.goal else None
    chosen = plan.climbed.chosen.tried if plan else _choose(trial, choices)
    retraining = chosen.candidate.retraining
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
        recipe=_recipe(chosen.candidate),
        accuracy=Accuracy(
            right_of(fp32_logits, labels), right_of(logits, labels), choices.margin, retraining is not None
        ),
        costs=measure_costs(fp32, manifest.image_size, out),
        flipped=flipped,
        notes=lots.notes,
    )
    page = out.with_name(f"{out.name}.md")
    write_bytes(page, render_card(card).encode())
    _show([*_summary(card), ""])
    if plan:
        _show([f"plan:  {path}" for path in write_plan(out, plan, _configuration(plan))])
    _show([f"card:  {page}", f"model: {out}"])
    if plan and not plan.climbed.met:
        sys.exit(GOAL_MISSED)


def _checked(out: Path) -> Path:
    if out.suffix[1:] not in FORMATS.names():
        raise UserError(f"--out: {out} has no ending that tells the format; allowed: {endings()}")
    require_writable("--out", out)
    return out


def _offered(trial: Trial, choices: Choices) -> list[Candidate]:
    relu6 = has_replaceable_relu6(trial.fp32) and not choices.keep_relu6
    return candidates(min(CALIBRATION, len(trial.dataset.train)), relu6, choices.scheme)


def _choose(trial: Trial, choices: Choices) -> Tried:
    offered = _offered(trial, choices)
    tried = [trial.quantize(each) for each in offered]
    chosen = choose(tried)
    rows = [("candidates", "top-1", "logit MSE"), ("FP32", f"{100 * trial.fp32_right.mean():.2f} %", "")]
    for each in tried:
        mark = " (chosen)" if each is chosen else ""
        rows.append((each.candidate.name + mark, f"{100 * each.right.mean():.2f} %", f"{each.distance:.3g}"))
    _show([*aligned(rows, left=1)])
    if any(RELU6_AS_RELU in each.config.algorithm_names for each in offered):
        cost = relu6_cost(trial.fp32, trial.dataset, trial.fp32_logits)
        used = "is used" if RELU6_AS_RELU in chosen.candidate.config.algorithm_names else "is not used"
        _show(wrapped("", f"ReLU for ReLU6 costs the FP32 network {cost:.2f} points, and {used}"))
    return chosen


def _climb(trial: Trial, choices: Choices, goal: Goal) -> Plan:
    """Print every rung as it is done, then why there are no more."""
    asked = (
        f"at most {goal.max_loss:g} points below FP32, shown at {100 * CONFIDENCE:g} % confidence on validation images"
    )
    _show(wrapped("goal:     ", asked))
    _show([_line("tried", "share", "top-1", "gap [interval]", "s")])
    _show([_line("FP32", "", f"{100 * trial.fp32_right.mean():.2f}", "", "")])

    def show(rung: Rung) -> None:
        seconds = f"{rung.seconds:.0f}"
        _show([_line(rung.name, f"{rung.share:.2f}", f"{rung.top1:.2f}", rung.gap_text, seconds)])

    plan = Plan(trial, goal, climb(trial, _offered(trial, choices), goal, show))
    _show(["", *wrapped("stopped:  ", plan.reason)])
    _show(["", "for params.yaml, and its name under `convert`:", "", *_configuration(plan)])
    return plan


def _line(name: str, share: str, top1: str, gap: str, seconds: str) -> str:
    return f"{name:<36} {share:>6} {top1:>6} {gap:>23} {seconds:>4}"


def _configuration(plan: Plan) -> list[str]:
    return as_yaml(plan.entries(), CONFIGURATION_WIDTH).splitlines()


def _recipe(candidate: Candidate) -> str:
    widths = f"W{candidate.config.weights.bits}A{candidate.config.activations.bits}"
    if candidate.retraining is None:
        return f"{widths} without training: {candidate.name}"
    behind = f" behind {', '.join(candidate.config.algorithm_names)}" if candidate.config.algorithms else ""
    epochs = candidate.retraining.config.epochs
    return f"{widths}: {candidate.name}, {epochs} epoch{'s' * (epochs > 1)}{behind}"


def _write(out: Path, chosen: Tried, fp32: Fp32Checkpoint, size: int, export: ExportConfig) -> Manifest:
    """Write the program; returns its description, as the file has it."""
    config = chosen.candidate.config
    scheme = Scheme(config.weights, config.activations)
    names = config.algorithm_names
    checkpoint = QuantizedCheckpoint(out.stem, chosen.network, fp32.config, fp32.classes, scheme, names)
    write_program(out, to_reference(chosen.network), describe_program(checkpoint, size, export.input, export.layout))
    return open_program(out).manifest


def _inputs(config: ModelConfig, images: Path, data: Dataset, lots: Lots, use: str) -> list[str]:
    numbered = [f"{number} {printable(name)}" for number, name in enumerate(lots.classes)]
    listed = ", ".join(numbered if len(numbered) <= LISTED_CLASSES + 1 else [*numbered[:LISTED_CLASSES], "..."])
    return [
        *wrapped("network:  ", f"{config.title}, weights {printable(str(config.trained))}"),
        *wrapped("sha256:   ", str(config.trained_sha256)),
        *wrapped("images:   ", f"{printable(str(images))}, {lots.size} x {lots.size} pixels; {_normalization(config)}"),
        *wrapped(
            "splits:   ",
            f"{len(data.train):,} to {use}, {len(data.validation):,} to choose, {len(data.test):,} to report on",
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
