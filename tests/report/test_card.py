"""The model card: every number from a file, lines that run as they stand, and nothing said that was not measured."""

import contextlib
import dataclasses
import math
import re
import shlex
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import made_up
import numpy as np
import pytest
from PIL import Image

from selectq.config.algorithms import ALGORITHMS as PTQ_ALGORITHMS
from selectq.config.algorithms import RoundingSettings
from selectq.config.configs import CalibrationConfig, Params, PtqConfig, WeightScheme
from selectq.config.formats import FORMATS
from selectq.errors import UserError
from selectq.files import sha256
from selectq.intervals import write_interval
from selectq.report.card import Card, render_card
from selectq.report.evidence import read_program_evidence
from selectq.report.latency import Workload, read_latencies
from selectq.report.model_files import find_files
from selectq.report.recipe import ALGORITHMS, Recipe, write_recipe

SECTIONS = [
    "Files",
    "Input and output",
    "Accuracy",
    "Backends",
    "Recipe",
    "Integer operators",
    "Where the bytes go",
    "Latency",
    "Limits",
    "C++ and Android",
]


@pytest.fixture(scope="module")
def shipped(made_up_run: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A made-up run's folder with the shipped models' files; to be read, not changed."""
    folder = shutil.copytree(made_up_run, tmp_path_factory.mktemp("shipped") / "run")
    made_up.write_shipped(folder)
    return folder


def recipe_of(params: Params, name: str) -> Recipe:
    return Recipe(
        seed=params.seed,
        further_seeds=(),
        range_skew=params.range_skew,
        data=params.data,
        model=params.model,
        finetune=params.finetune,
        config={**params.ptq, **params.qat}[name],
        qat_training=params.qat_training,
    )


def card_of(shipped: Path, params: Params, name: str) -> Card:
    evidence = read_program_evidence(shipped / "metrics", name)
    with contextlib.chdir(shipped):
        files = find_files(Path("models/int8") / name, name, evidence.int8.sizes)
    latencies = read_latencies(shipped / "benchmarks/results", Workload.of(params.model, 32, "asymmetric"))
    return Card(made_up.manifest(name), files, recipe_of(params, name), evidence, 1000, tuple(latencies))


@pytest.fixture
def card(shipped: Path, params: Params) -> Card:
    return card_of(shipped, params, "dwpw_asym")


def sections(text: str) -> dict[str, str]:
    """Heading -> what stands below it, with line breaks inside paragraphs removed."""
    _, *parts = re.split(r"^## (.*)\n", text, flags=re.MULTILINE)
    return {heading: " ".join(body.split()) for heading, body in zip(parts[::2], parts[1::2], strict=True)}


def code_block(text: str, language: str) -> str:
    (found,) = re.findall(rf"^```{language}\n(.*?)^```$", text, flags=re.MULTILINE | re.DOTALL)
    return found


def test_widths_of_single_kinds_are_said(card: Card) -> None:
    config = dataclasses.replace(card.recipe.config, weights=WeightScheme({"all": 4, "stem": 8}, "channel"))
    text = render_card(dataclasses.replace(card, recipe=dataclasses.replace(card.recipe, config=config)))
    assert text.startswith("# dwpw_asym: mobilenet_v2 W4/8A8, 32 × 32 pixels\n")
    assert "weights signed 4 (8: stem) bit, symmetric" in sections(text)["Recipe"]


def test_sections_on_one_page(card: Card) -> None:
    text = render_card(card)
    assert list(sections(text)) == SECTIONS
    assert text.startswith("# dwpw_asym: mobilenet_v2 W8A8, 32 × 32 pixels\n\nmobilenet_v2 with 3 classes")
    assert text.endswith("\n") and text.count("\n") < 195
    assert max(map(len, text.splitlines())) <= 120


def test_summary_holds_size_accuracy_and_gap(card: Card) -> None:
    summary = " ".join(render_card(card).partition("## Files")[0].split())
    size = card.files[0].size_bytes
    assert f"of {size / 1e6:.2f} MB" in summary and "its FP32 model of 9.12 MB." in summary
    assert "puts 90.40 % of 2,500 test images into the right class, 0.40 points more than" in summary


@pytest.mark.parametrize(("top1", "words"), [(90.0, "the same as"), (87.6, "2.40 points less than")])
def test_summary_compares(top1: float, words: str, card: Card) -> None:
    int8 = dataclasses.replace(card.evidence.int8, test_top1=top1, correct=round(25 * top1))
    other = dataclasses.replace(card, evidence=dataclasses.replace(card.evidence, int8=int8))
    assert f"right class, {words} its FP32" in " ".join(render_card(other).split())


def test_files_are_named_with_size_hash_and_runtime(card: Card, shipped: Path) -> None:
    text = render_card(card)
    rows = [line.split("|") for line in text.splitlines() if "`models/int8/" in line and line.startswith("|")]
    found = [[cell.strip() for cell in row[1:5]] for row in rows]
    assert [(file, size, version) for file, size, _, version in found] == [
        ("`models/int8/dwpw_asym/dwpw_asym.onnx`", "0.00 MB", "1.32.0"),
        ("`models/int8/dwpw_asym/dwpw_asym.pt2`", "0.00 MB", "2.15.0"),
        ("`models/int8/dwpw_asym/dwpw_asym.pte`", "0.01 MB", "1.5.1"),
    ]
    assert "ONNX Runtime from 1.18 on" in found[0][2], "older ones refuse the file"
    hashes = [line.split("  ") for line in text.splitlines() if re.match("[0-9a-f]{64}  ", line)]
    assert hashes == [[sha256(shipped / path), path] for _, path in hashes]
    assert len(hashes) == 3


def test_lines_run_as_they_stand_and_agree(card: Card, shipped: Path, tmp_path: Path) -> None:
    """The picture's sides are red, and its centre, which the model sees, is blue."""
    text = render_card(card)
    shutil.copytree(shipped / "models", tmp_path / "models")
    pixels = np.zeros((64, 256, 3), np.uint8)
    pixels[..., 0], pixels[:, 96:160] = 200, (0, 0, 200)
    Image.fromarray(pixels).save(tmp_path / "image.png")

    snippet = code_block(text, "python")
    assert len(snippet.splitlines()) == 11
    assert python(tmp_path, snippet) == "[2]\n"
    command, *arguments = shlex.split(code_block(text, "sh"))
    assert command == "selectq"
    said = python(tmp_path, "from selectq.cli.main import main; main()", *arguments)
    assert said.split()[:2] == ["image.png", made_up.CLASSES[2]]


def python(folder: Path, source: str, *arguments: str) -> str:
    result = subprocess.run(
        [sys.executable, "-c", source, *arguments], cwd=folder, capture_output=True, text=True, check=False
    )
    assert result.returncode == 0, result.stderr
    return result.stdout


def test_input_output_and_classes(card: Card) -> None:
    text = sections(render_card(card))["Input and output"]
    for words in ("`pixels`: uint8, (batch, 3, 32, 32), NCHW, RGB,", "`logits`: float32, (batch, 3)"):
        assert words in text
    assert "pixels as decoded, 0 to 255: scaling is part of the program" in text
    assert "`0=red, 1=green, 2=blue`" in text


def test_many_classes_are_not_listed(card: Card) -> None:
    classes = tuple(f"class{number}" for number in range(1000))
    many = dataclasses.replace(card, manifest=dataclasses.replace(card.manifest, classes=classes), latencies=())
    text = render_card(many)
    assert "class999" not in text and "1,000, in the ONNX file" in text
    assert text.count("\n") < 195


def test_accuracy_has_wilson_s_interval(card: Card) -> None:
    text = sections(render_card(card))["Accuracy"]
    for correct in (2260, 2250):
        low, high = wilson(correct, 2500)
        assert f"{low:.2f} to {high:.2f} % | {correct:,} of 2,500" in text
    assert "Gap: +0.40 points" in text and "`digits & <others>`" in text


def wilson(correct: int, images: int) -> tuple[float, float]:
    """By its formula, in percent."""
    share, z = correct / images, 1.959964
    centre = (share + z**2 / (2 * images)) / (1 + z**2 / images)
    half = z / (1 + z**2 / images) * math.sqrt(share * (1 - share) / images + z**2 / (4 * images**2))
    return 100 * (centre - half), 100 * (centre + half)


@pytest.mark.parametrize(
    ("correct", "images", "text"),
    [(8162, 10_000, "80.85 to 82.37 %"), (450, 450, "99.15 to 100.00 %"), (0, 10, "0.00 to 27.75 %")],
)
def test_interval(correct: int, images: int, text: str) -> None:
    assert f"{write_interval(correct, images)} %" == text


def test_parity_of_every_form(card: Card) -> None:
    text = sections(render_card(card))["Backends"]
    assert text.count("90.40 % | 0.12 %") == 5 and text.count("90.36 % | 0.12 %") == 1
    assert "Logits differ beyond float rounding on at most 0.40 % of them, by at most 0.01." in text
    assert "largest difference at a layer's output, given the same inputs, in integer steps: 1." in text
    assert "on a CPU with VNNI, where sums of uint8 × int8 products do not saturate." in text


def test_backend_of_a_format_from_outside(
    shipped: Path, params: Params, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = shutil.copytree(shipped, tmp_path / "run")
    path = run / "metrics/parity/dwpw_asym.csv"
    path.write_text(path.read_text().replace("executorch", "npz"))
    monkeypatch.setitem(FORMATS._made, "npz", None)
    text = sections(render_card(card_of(run, params, "dwpw_asym")))["Backends"]
    assert re.search(r"\| npz +\| the .npz file in its runtime +\| 90.36 % \| 0.12 % \|", text)


def test_recipe_of_a_retrained_model(card: Card, params: Params) -> None:
    text = sections(render_card(card))["Recipe"]
    training = params.qat_training
    for words in (
        f"digits & <others>; {params.data.validation_images:,} training images are held out",
        "`mobilenet_v2`, the first stride 1, ReLU in place of any ReLU6; trained from scratch for"
        f" {params.finetune.epochs} epochs of SGD, batch {params.finetune.batch_size}",
        "`range_skew` 0: no channel rescaled.",
        "weights signed 8 bit, symmetric, one scale per output channel; activations unsigned 8 bit, asymmetric, one"
        " scale per tensor.",
        f"Calibration: {training.calibration.images:,} train images, {training.calibration.estimator}.",
        "depthwise + projection + classifier: 930,000 of 2,000,000 parameters (46.50 %), by quantization-aware"
        f" training for 3 epochs of Adam, batch {training.batch_size}, learning rate 0.001.",
        f"Seed: {params.seed}, one run.",
    ):
        assert words in text, words


def test_several_seeds_are_not_called_one(card: Card) -> None:
    again = dataclasses.replace(card, recipe=dataclasses.replace(card.recipe, further_seeds=(1, 2)))
    text = sections(render_card(again))
    assert "trained from the seeds 1, 2 too" in text["Recipe"]
    assert "one seed" not in text["Limits"] and "one run" not in text["Recipe"]


def test_each_class_has_its_accuracy(card: Card) -> None:
    text = re.sub(" +", " ", sections(render_card(card))["Accuracy"])
    for name in made_up.CLASSES:
        assert f"| {name} | 90.40 % | 723 of 800 |" in text


def test_backends_say_on_how_many_images(card: Card) -> None:
    assert "On 1,000 of the 2,500 test images" in sections(render_card(card))["Backends"]


def test_recipe_of_a_calibrated_model(shipped: Path, params: Params) -> None:
    text = sections(render_card(card_of(shipped, params, "channel")))["Recipe"]
    assert "Retrained: nothing of 2,000,000 parameters (0.00 %): quantized after training." in text
    assert "quantization-aware" not in text and "PTQ algorithms" not in text


def test_recipe_of_a_algorithms_model(shipped: Path, params: Params) -> None:
    card = card_of(shipped, params, "channel")
    config = dataclasses.replace(params.ptq["channel"], algorithms=("correct_bias", "zero_dead_channels"))
    text = sections(render_card(dataclasses.replace(card, recipe=dataclasses.replace(card.recipe, config=config))))
    constant, mean = "the weights of channels that put out a constant set to 0", "biases corrected by the mean error"
    assert f"PTQ algorithms: {constant}; {mean} of each channel." in text["Recipe"]


def test_recipe_says_the_settings_that_are_no_defaults(card: Card, params: Params) -> None:
    settings = {**dataclasses.asdict(RoundingSettings()), "iterations": 20, "lr": 0.1}
    config = dataclasses.replace(params.ptq["channel"], algorithms=("equalize", {"adaptive_rounding": settings}))
    recipe = dataclasses.replace(card.recipe, config=config)
    said = write_recipe(recipe, card.evidence.fp32, card.evidence.simulated)["PTQ algorithms"]
    assert said.endswith(
        "pass through; each weight rounded up or down as its layer's output asks for (iterations 20, lr 0.1)"
    )
    config = dataclasses.replace(config, algorithms=("adaptive_rounding",))
    recipe = dataclasses.replace(recipe, config=config)
    assert "(" not in write_recipe(recipe, card.evidence.fp32, card.evidence.simulated)["PTQ algorithms"]


def test_every_algorithm_has_its_words() -> None:
    assert ALGORITHMS.keys() == PTQ_ALGORITHMS.own.keys()


@pytest.mark.parametrize(
    ("change", "heading", "words"),
    [
        (lambda recipe: {"range_skew": 1.1}, "FP32 model", "`range_skew` 1.1: its channels rescaled"),
        (
            lambda recipe: {"model": dataclasses.replace(recipe.model, weights="IMAGENET1K_V1")},
            "FP32 model",
            "trained from the weights IMAGENET1K_V1 for",
        ),
        (lambda recipe: {"finetune": dataclasses.replace(recipe.finetune, epochs=1)}, "FP32 model", "1 epoch of SGD"),
        (
            lambda recipe: {"config": few_bits(recipe)},
            "Scheme",
            "weights signed 4 bit, symmetric, one scale per tensor; activations unsigned 6 bit, symmetric",
        ),
    ],
)
def test_recipe_says_what_is_different(
    change: Callable[[Recipe], dict[str, Any]], heading: str, words: str, card: Card
) -> None:
    other = dataclasses.replace(card.recipe, **change(card.recipe))
    assert words in write_recipe(other, card.evidence.fp32, card.evidence.simulated)[heading]
    assert words not in write_recipe(card.recipe, card.evidence.fp32, card.evidence.simulated)[heading]


def few_bits(recipe: Recipe) -> PtqConfig:
    config = recipe.config
    return PtqConfig(
        weights=dataclasses.replace(config.weights, bits=4, granularity="tensor"),
        activations=dataclasses.replace(config.activations, bits=6, symmetric=True),
        calibration=CalibrationConfig("train", 10, "minmax", 99.9, 0.1),
        algorithms=(),
    )


def test_operators_and_bytes(card: Card) -> None:
    text = sections(render_card(card))
    assert "as 52 QLinearConv, 10 QLinearAdd, 1 QGemm. It leaves 0 of these in float" in text["Integer operators"]
    total = card.files[0].size_bytes
    assert f"| 0.0 kB | 0.0 kB | 0.0 kB | {(total - 21) / 1000:.1f} kB | {total / 1000:.1f} kB |" in re.sub(
        " +", " ", text["Where the bytes go"]
    )


def test_latency_is_that_of_its_workload(card: Card) -> None:
    assert "acme-4c-vnni (onnxruntime-1.32.0), one thread:" in sections(render_card(card))["Latency"]
    without = sections(render_card(dataclasses.replace(card, latencies=())))
    assert without["Latency"] == "Not measured."


def test_limits(card: Card) -> None:
    text = sections(render_card(card))["Limits"]
    for words in (
        "2,500 images of `digits & <others>`",
        "one seed: how far another",
        "32 × 32",
        "without VNNI",
        "No robustness",
    ):
        assert words in text, words
    assert "at most 256 images" in text and "Simulated" not in text and "JPEG" not in text


def test_jpeg_copy_is_named_as_one(card: Card) -> None:
    fp32 = dataclasses.replace(card.evidence.fp32, data="imagefolder cifar10-jpeg")
    other = dataclasses.replace(card, evidence=dataclasses.replace(card.evidence, fp32=fp32))
    assert "JPEG copy of CIFAR-10" in sections(render_card(other))["Limits"]


def test_nothing_is_said_of_formats_that_were_not_made(card: Card) -> None:
    onnx = {"onnx": card.evidence.int8.size_bytes}
    int8, pairs = dataclasses.replace(card.evidence.int8, sizes=onnx), card.evidence.pairs
    fewer = pairs[(pairs["other"] != "executorch") & (pairs["one"] != "torch_export")]
    fewer = fewer[fewer["other"] != "torch_export"]
    evidence = dataclasses.replace(card.evidence, int8=int8, pairs=fewer)
    text = render_card(dataclasses.replace(card, files=card.files[:1], evidence=evidence, latencies=()))
    assert ".pte" not in text and "XNNPACK" not in text and ".pt2" not in text


def test_simulated_accuracy_is_called_so_and_has_no_latency(card: Card) -> None:
    int8 = dataclasses.replace(card.evidence.int8, integer_arithmetic=False)
    evidence = dataclasses.replace(card.evidence, int8=int8)
    recipe = dataclasses.replace(card.recipe, config=few_bits(card.recipe))
    text = render_card(dataclasses.replace(card, evidence=evidence, recipe=recipe))
    assert "(simulated: see Limits)" in " ".join(text.split())
    assert sections(text)["Latency"] == "Not measured."
    assert "Simulated: W4A6 has fewer than 8 bits" in sections(text)["Limits"]


@pytest.mark.parametrize(
    ("spoil", "message"),
    [
        (lambda path: path.unlink(), "no such file; run the stage that writes it"),
        (lambda path: path.write_bytes(b"other"), "5 bytes, but 3000 were measured; run convert@channel"),
    ],
    ids=["missing", "another"],
)
def test_file_that_was_not_measured_is_refused(
    spoil: Callable[[Path], object], message: str, shipped: Path, tmp_path: Path
) -> None:
    folder = shutil.copytree(shipped / "models/int8/channel", tmp_path / "int8")
    spoil(folder / "channel.pt2")
    sizes = read_program_evidence(shipped / "metrics", "channel").int8.sizes
    with pytest.raises(UserError) as refusal:
        find_files(folder, "channel", sizes)
    assert str(refusal.value) == f"{folder / 'channel.pt2'}: {message}"
