"""What quantization without training loses at few bits, method by method and beside other tools: `make bench-ptq`.

MobileNetV2 trained on handwritten digits, and networks trained on a JPEG copy of CIFAR-10, where the folders of
SELECTQ_DATA have them. All sides get the same FP32 network, calibration images and test images. A row is written as
soon as it is measured, and what has one is left out. Writes `ptq_<hardware>_<versions>.csv`.
"""

import argparse
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

import pandas as pd
import torch
from int8_models import quantize_static_onnx
from machine import machine_slug
from torch import Tensor
from workload import CHECKOUT

from selectq.config.algorithms import Entry
from selectq.config.configs import ActivationScheme, CalibrationConfig, Estimator, PtqConfig, WeightScheme
from selectq.config.load import overlay, read_yaml, write_yaml
from selectq.data.augment import image_batches
from selectq.data.evaluate import evaluate
from selectq.data.fetch import data_folders
from selectq.data.normalization import INTEGER_GRID
from selectq.data.packed import Dataset, read_dataset
from selectq.errors import UserError
from selectq.export.float_program import INPUT_NAME as FLOAT_INPUT
from selectq.export.float_program import write_float_onnx
from selectq.export.onnx import open_session
from selectq.files import sha256, write_bytes, write_csv
from selectq.graph.capture import capture
from selectq.kernels.simulation import quantized_forward
from selectq.networks.checkpoint import Fp32Checkpoint
from selectq.networks.range_skew import read_skewed
from selectq.ptq.pipeline import ptq_pipeline
from selectq.quantization.post_training import fold_model
from selectq.stage import run

COLUMNS = ["network", "setting", "tool", "method", "top1", "gap_points", "seconds", "goal", "met"]
CALIBRATION_IMAGES = 1024
SEED = 0
OURS, ORT = "selectq", "ONNX Runtime"


@dataclass(frozen=True)
class Network:
    """A network: its parameters, as changes of the study's, and the trained checkpoint they start from, if any."""

    name: str
    changes: dict[str, Any] = field(default_factory=dict)
    checkpoint: str | None = None


def _on_cifar10(network: str, checkpoint: str, **arguments: Any) -> Network:
    return Network(
        network,
        {
            "data": {"name": "imagefolder", "validation_images": 5000, "imagefolder": {"image_size": 64}},
            "model": {
                "network": network,
                "arguments": arguments,
                "activation": "as_is",
                "normalization": {"mean": [0.485, 0.456, 0.406], "std": [0.229, 0.224, 0.225]},
            },
            "range_skew": 0.0,
        },
        checkpoint,
    )


NETWORKS = (
    Network("digits"),
    _on_cifar10("mobilenet_v2", "mobilenet_v2_half_cifar10.pth", width_mult=0.5),
    _on_cifar10("mobilenet_v3_small", "mobilenet_v3_small_cifar10.pth"),
)


@dataclass(frozen=True)
class Setting:
    """Bit widths, how activation ranges are estimated, and the gap that reconstruction should reach, in points."""

    name: str
    weights: WeightScheme
    activations: ActivationScheme
    estimator: Estimator
    goal: float | None


SETTINGS = (
    Setting("W8A8", WeightScheme(8, "channel"), ActivationScheme(8, symmetric=False), "minmax", None),
    Setting("W4A8", WeightScheme(4, "channel"), ActivationScheme(8, symmetric=False), "minmax", -0.3),
    Setting(
        "W4A4, ends and sums 8",
        WeightScheme({"all": 4, "stem": 8, "classifier": 8}, "channel"),
        ActivationScheme({"all": 4, "stem": 8, "projection": 8, "block": 8, "head": 8, "pool": 8}, symmetric=False),
        "mse",
        -1.0,
    ),
)

RECONSTRUCTIONS = ("adaptive_rounding", "reconstruct_blocks")
METHODS: dict[str, tuple[Entry, ...]] = {
    "nearest": (),
    "equalize + correct_bias": ("zero_dead_channels", "equalize", "correct_bias"),
    "the same + clip_weights": ("zero_dead_channels", "equalize", "clip_weights", "correct_bias"),
    **{name: ("zero_dead_channels", "equalize", name, "correct_bias") for name in RECONSTRUCTIONS},
}


def main() -> None:
    """Measure what has no row yet."""
    arguments = _arguments()
    path = arguments.output / f"ptq_{machine_slug(torch.device('cpu'), ['torch', 'onnxruntime'])}.csv"
    for network in (each for each in NETWORKS if not arguments.only or each.name in arguments.only):
        if not has_checkpoint(network):
            print(f"left out: {network.name} ({network.checkpoint} is in no folder of SELECTQ_DATA)")
            continue
        folder = arguments.workspaces / network.name
        prepare(network, folder)
        fp32 = read_skewed(folder / "models/fp32.safetensors", parameters(network)["range_skew"], SEED)
        dataset = read_dataset(folder / "data/images.safetensors").normalised(fp32.normalization)
        measure(network.name, fp32, dataset, folder, path)
    print(f"written: {path}")


def measure(name: str, fp32: Fp32Checkpoint, dataset: Dataset, folder: Path, path: Path) -> None:
    """Write a row of every side that has none yet."""
    fp32_top1 = evaluate(fp32.model, dataset.test, "FP32")["top1"]
    for setting, tool, method, quantized in sides(fp32, dataset, folder):
        known = pd.read_csv(path) if path.is_file() else pd.DataFrame(columns=COLUMNS)
        key = {"network": name, "setting": setting.name, "tool": tool, "method": method}
        if (known[list(key)] == list(key.values())).all(axis=1).any():
            continue
        top1, seconds = quantized()
        goal = setting.goal if method in RECONSTRUCTIONS else None
        gap = round(top1 - fp32_top1, 2)
        row = {**key, "top1": round(top1, 2), "gap_points": gap, "seconds": round(seconds, 1), "goal": goal}
        row["met"] = None if goal is None else "yes" if gap >= goal else "no"
        print(", ".join(f"{column} {value}" for column, value in row.items()), flush=True)
        write_csv(path, pd.DataFrame([*known.to_dict("records"), row], columns=COLUMNS))


Measure = Callable[[], tuple[float, float]]
"""Top-1 in percent of the test images, and the seconds that quantizing took."""


def sides(fp32: Fp32Checkpoint, dataset: Dataset, folder: Path) -> Iterator[tuple[Setting, str, str, Measure]]:
    """Setting, tool, method, and what measures it."""
    for setting in SETTINGS:
        for method, algorithms in METHODS.items():
            config = ptq_config(setting, algorithms)
            yield setting, OURS, method, partial(quantized_by_us, fp32, dataset, config)
    yield SETTINGS[0], ORT, "quantize_static", partial(quantized_by_onnx_runtime, fp32, dataset, folder)


def ptq_config(setting: Setting, algorithms: tuple[Entry, ...]) -> PtqConfig:
    """What our pipeline is given."""
    calibration = CalibrationConfig("train", CALIBRATION_IMAGES, setting.estimator, percentile=99.99, averaging=0.1)
    return PtqConfig(setting.weights, setting.activations, calibration, algorithms)


def quantized_by_us(fp32: Fp32Checkpoint, dataset: Dataset, config: PtqConfig) -> tuple[float, float]:
    """Our pipeline, simulated; its programs give the same predictions."""
    start = time.perf_counter()
    network = ptq_pipeline(fp32, dataset, config, SEED)
    seconds = time.perf_counter() - start
    return evaluate(quantized_forward(network, torch.device("cpu")), dataset.test, "test")["top1"], seconds


def quantized_by_onnx_runtime(fp32: Fp32Checkpoint, dataset: Dataset, folder: Path) -> tuple[float, float]:
    """ONNX Runtime's `quantize_static`, of the same folded network, in ONNX Runtime."""
    network = fold_model(fp32.model, capture(fp32.model), INTEGER_GRID, torch.device("cpu"))
    write_float_onnx(folder / "fp32.onnx", network, dataset.train.images.shape[-1])
    images = torch.cat(list(image_batches(dataset.train.sample(CALIBRATION_IMAGES, SEED)))).contiguous().numpy()
    start = time.perf_counter()
    quantize_static_onnx(folder / "fp32.onnx", folder / "static.onnx", images, FLOAT_INPUT)
    seconds = time.perf_counter() - start
    session = open_session(folder / "static.onnx", optimise=True)

    def logits(batch: Tensor) -> Tensor:
        return torch.from_numpy(session.run(None, {FLOAT_INPUT: batch.contiguous().numpy()})[0])

    return evaluate(logits, dataset.test, "test")["top1"], seconds


def prepare(network: Network, folder: Path) -> None:
    """The packed images and the FP32 network, by the pipeline's own scripts.

    Raises:
        UserError: a stage fails; it has said why.
    """
    folder.mkdir(parents=True, exist_ok=True)
    write_bytes(folder / "params.yaml", write_yaml(parameters(network)).encode())
    for stage, output in (("download", "data/images.safetensors"), ("finetune_fp32", "models/fp32.safetensors")):
        if (folder / output).is_file():
            continue
        if subprocess.run([sys.executable, CHECKOUT / f"stages/{stage}.py"], cwd=folder, check=False).returncode:
            raise UserError(f"{network.name}: stage {stage} failed in {folder}")


def parameters(network: Network) -> dict[str, Any]:
    """The committed parameters with the network's changes."""
    document = overlay(read_yaml(CHECKOUT / "params.yaml"), network.changes)
    if network.checkpoint is not None:
        found = next(folder for folder in data_folders() if (folder / network.checkpoint).is_file())
        document["model"] |= {"trained": network.checkpoint, "trained_sha256": sha256(found / network.checkpoint)}
    return document


def has_checkpoint(network: Network) -> bool:
    """Whether what the network starts from is in a folder of SELECTQ_DATA."""
    return network.checkpoint is None or any((folder / network.checkpoint).is_file() for folder in data_folders())


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--output", type=Path, default=CHECKOUT / "benchmarks/results", help="folder of the table")
    parser.add_argument(
        "--workspaces", type=Path, default=CHECKOUT / ".workspaces/ptq", help="images and FP32 networks"
    )
    parser.add_argument("--only", nargs="*", default=[], choices=[network.name for network in NETWORKS])
    return parser.parse_args()


if __name__ == "__main__":
    run(main)
