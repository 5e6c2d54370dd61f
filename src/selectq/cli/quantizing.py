"""The work of `selectq quantize`, and what it prints."""

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from selectq.cli.text import aligned, printable, show, wrapped
from selectq.config.algorithms import RELU6_AS_RELU
from selectq.config.configs import ExportConfig, Goal, ModelConfig, PtqConfig
from selectq.data.device import choose_device
from selectq.data.evaluate import predict_logits, right_of
from selectq.data.normalization import Normalization
from selectq.data.packed import Dataset
from selectq.deploy.candidates import (
    candidates,
    choose,
    fp32_forward,
    has_replaceable_relu6,
    relu6_cost,
    scheme_of,
)
from selectq.deploy.card import Card, comparison, float_parts, gap_text, render_card
from selectq.deploy.ladder import Ladder, require_training_images
from selectq.deploy.lots import CALIBRATION, LARGEST, Lots, open_lots
from selectq.deploy.outcome import MARGIN, Accuracy, measure_costs, processor_notes, program_logits
from selectq.deploy.trained import read_trained, trained_config
from selectq.export.describe import describe_program
from selectq.export.formats import write_program
from selectq.export.reference import to_reference
from selectq.files import write_bytes, write_json
from selectq.intervals import CONFIDENCE
from selectq.kernels.simulation import quantized_forward
from selectq.networks.checkpoint import Fp32Checkpoint
from selectq.programs.manifest import Manifest
from selectq.programs.program import find, open_program
from selectq.quantization.network import Network
from selectq.quantization.quantized import QuantizedCheckpoint, Scheme
from selectq.report.plan import configuration_lines, plan_markdown
from selectq.selection.ladder import Rung, climb
from selectq.selection.plan import Plan
from selectq.selection.retraining import layer_shares, require_layers
from selectq.selection.trial import Candidate, Trial, Tried

LISTED_CLASSES = 4


@dataclass(frozen=True)
class Request:
    """The arguments of `selectq quantize`; without a `goal` nothing is retrained.

    `largest`: how many images of a split are used at most; None: as many as without retraining.
    """

    weights: Path
    images: Path
    network: str
    arguments: Mapping[str, object]
    size: int | None
    mean: tuple[float, ...]
    std: tuple[float, ...]
    out: Path
    export: ExportConfig
    seed: int
    keep_relu6: bool
    bits: tuple[int, int]
    skip_bad: bool
    largest: Mapping[str, int] | None
    goal: Goal | None

    @property
    def margin(self) -> float:
        """Points of accuracy; a loss below it is no loss."""
        return self.goal.max_loss_points if self.goal else MARGIN


def quantize(request: Request) -> bool:
    """Quantize, write the program and its card, and print what was lost; whether the goal, if there is one, is met.

    Raises:
        UserError: weights, network or images that are not as they should be.
    """
    out, goal = request.out, request.goal
    config = trained_config(request.weights, request.network, request.arguments, request.mean, request.std)
    lots = open_lots(request.images, request.size, request.seed, request.skip_bad, request.largest or LARGEST)
    fp32 = read_trained(config, lots.classes, lots.size)
    find(out.suffix[1:]).refuse(fp32.graph)  # rather than when all is done
    if goal:
        require_layers(layer_shares(fp32.model, fp32.graph), goal.budgets_pct, goal.cost)
    dataset = lots.read().to(choose_device()).normalised(Normalization.of(config.normalization))
    if goal:
        require_training_images(dataset)
        goal.require_images(len(dataset.validation), CONFIDENCE)
    show(_inputs(config, request.images, dataset, lots, "calibrate or retrain" if goal else "calibrate"))
    forward = fp32_forward(fp32.model, dataset.test.device)
    trial = Trial(fp32, dataset, predict_logits(forward, dataset.validation, "FP32"), request.seed, CONFIDENCE)
    plan = _climb(trial, request, goal) if goal else None
    chosen = plan.climbed.chosen if plan else _choose(trial, request)
    retraining, quantized = chosen.candidate.retraining, chosen.network
    assert quantized is not None
    checkpoint = _checkpoint(out.stem, chosen.candidate.config, quantized, fp32)
    manifest = _write(out, checkpoint, lots.size, request.export)

    logits, labels = program_logits(open_program(out), dataset.test), dataset.test.labels
    simulated = predict_logits(quantized_forward(quantized, dataset.test.device), dataset.test, "simulation")
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
            right_of(fp32_logits, labels), right_of(logits, labels), request.margin, retraining is not None
        ),
        costs=measure_costs(fp32, manifest.image_size, out),
        flipped=flipped,
        notes=lots.notes,
    )
    page = out.with_name(f"{out.name}.md")
    write_bytes(page, render_card(card).encode())
    show([*_summary(card), ""])
    if plan:
        show([f"plan:  {path}" for path in _write_plan(out, plan)])
    show([f"card:  {page}", f"model: {out}"])
    return plan is None or plan.climbed.met


def _offered(trial: Trial, request: Request) -> list[Candidate]:
    relu6 = has_replaceable_relu6(trial.fp32) and not request.keep_relu6
    return candidates(min(CALIBRATION, len(trial.dataset.train)), relu6, scheme_of(*request.bits))


def _choose(trial: Trial, request: Request) -> Tried:
    offered = _offered(trial, request)
    tried = [trial.quantize(each) for each in offered]
    chosen = choose(tried)
    rows = [("candidates", "top-1", "logit MSE"), ("FP32", f"{100 * trial.fp32_right.mean():.2f} %", "")]
    for each in tried:
        mark = " (chosen)" if each is chosen else ""
        rows.append((each.candidate.name + mark, f"{100 * each.right.mean():.2f} %", f"{each.distance:.3g}"))
    show([*aligned(rows, left=1)])
    if any(RELU6_AS_RELU in each.config.algorithm_names for each in offered):
        cost = relu6_cost(trial.fp32, trial.dataset, trial.fp32_logits)
        used = "is used" if RELU6_AS_RELU in chosen.candidate.config.algorithm_names else "is not used"
        show(wrapped("", f"ReLU for ReLU6 costs the FP32 network {cost:.2f} points, and {used}"))
    return chosen


def _climb(trial: Trial, request: Request, goal: Goal) -> Plan:
    """Print every rung as it is done, then why there are no more."""
    asked = (
        f"at most {goal.max_loss_points:g} points below FP32, shown at {100 * CONFIDENCE:g} % confidence on validation"
        " images"
    )
    show(wrapped("goal:     ", asked))
    show([_line("tried", "share", "top-1", "gap [interval]", "s")])
    show([_line("FP32", "", f"{100 * trial.fp32_right.mean():.2f}", "", "")])
    began = time.monotonic()

    def tell(rung: Rung) -> None:
        nonlocal began
        seconds, began = f"{time.monotonic() - began:.0f}", time.monotonic()
        show([_line(rung.name, f"{rung.share:.2f}", f"{rung.top1:.2f}", rung.gap_text, seconds)])

    ladder = Ladder(trial, goal)
    climbed = climb(ladder.rungs(_offered(trial, request)), goal, tell)
    plan = Plan(trial, goal, climbed, ladder.start, ladder.scores)
    show(["", *wrapped("stopped:  ", plan.reason)])
    show(["", "for params.yaml, and its name under `convert`:", "", *configuration_lines(plan.planned)])
    return plan


def _line(name: str, share: str, top1: str, gap: str, seconds: str) -> str:
    return f"{name:<36} {share:>6} {top1:>6} {gap:>23} {seconds:>4}"


def _write_plan(stem: Path, plan: Plan) -> list[Path]:
    """Write `STEM.plan.json` and `STEM.plan.md`."""
    paths = [stem.with_name(f"{stem.name}.plan.{ending}") for ending in ("json", "md")]
    write_json(paths[0], plan.to_json())
    write_bytes(paths[1], plan_markdown(plan.to_json()).encode())
    return paths


def _recipe(candidate: Candidate) -> str:
    widths = f"W{candidate.config.weights.bits}A{candidate.config.activations.bits}"
    if candidate.retraining is None:
        return f"{widths} without training: {candidate.name}"
    after = f" after {', '.join(candidate.config.algorithm_names)}" if candidate.config.algorithms else ""
    epochs = candidate.retraining.config.epochs
    return f"{widths}: {candidate.name}, {epochs} epoch{'s' * (epochs > 1)}{after}"


def _checkpoint(name: str, config: PtqConfig, network: Network, fp32: Fp32Checkpoint) -> QuantizedCheckpoint:
    scheme = Scheme(config.weights, config.activations)
    return QuantizedCheckpoint(name, network, fp32.config, fp32.classes, scheme, config.algorithm_names)


def _write(out: Path, checkpoint: QuantizedCheckpoint, size: int, export: ExportConfig) -> Manifest:
    """Write the program; returns its description, as the file has it."""
    write_program(
        out, to_reference(checkpoint.network), describe_program(checkpoint, size, export.input, export.layout)
    )
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
