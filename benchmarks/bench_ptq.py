"""What quantization without training loses at few bits, method by method and beside other tools: `make bench-ptq`.

Networks trained on a JPEG copy of CIFAR-10, where the folders of SELECTQ_DATA have them, and MobileNetV2 trained on
handwritten digits. All sides get the same FP32 network, calibration images and test images, of which there are 450 of
digits, and of CIFAR-10 5,000 of the 10,000, chosen at random. Seconds are of a core at work (CPU time of all threads),
which other programs disturb least. A row is written as soon as it is measured, and what has one is left out; so is a
peer that is not installed. Writes `ptq_<hardware>_<versions>.csv`, and a picture of it.
"""

import argparse
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from copy import deepcopy
from dataclasses import dataclass, field, replace
from functools import partial
from importlib.metadata import PackageNotFoundError, version
from itertools import product
from pathlib import Path
from typing import Any

import pandas as pd
import torch
from int8_models import quantize_static_onnx
from machine import machine_slug
from ptq_peers import BATCH_IMAGES, PEERS, Peer, Task
from ptq_picture import draw
from torch import Tensor
from workload import CHECKOUT

from selectq.config.algorithms import Entry
from selectq.config.configs import ActivationScheme, CalibrationConfig, Estimator, PtqConfig, WeightScheme
from selectq.config.load import overlay, read_yaml, write_yaml
from selectq.data.augment import image_batches
from selectq.data.device import choose_device
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
from selectq.graph.nodes import MOVES, Graph, Input
from selectq.kernels.simulation import quantized_forward
from selectq.networks.checkpoint import Fp32Checkpoint
from selectq.networks.range_skew import read_skewed
from selectq.ptq.pipeline import ptq_pipeline
from selectq.quantization.post_training import fold_model
from selectq.stage import run

COLUMNS = ["network", "setting", "tool", "method", "top1", "gap_points", "seconds", "goal", "met"]
CALIBRATION_IMAGES = 1024
TEST_IMAGES = 5000
SEED = 0
OURS = "selectq"
FP32_SIDE = ("FP32", "torch", "none")
"""Setting, tool and method of the network that all start from."""


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
    _on_cifar10("mobilenet_v2", "mobilenet_v2_half_cifar10.pth", width_mult=0.5),
    _on_cifar10("mobilenet_v3_small", "mobilenet_v3_small_cifar10.pth"),
    Network("digits"),
)

WIDE_KINDS = ("stem", "projection", "block", "head", "pool")
"""What these store, and what the last layer reads, keeps 8 bits: the field's count of W4A4."""


@dataclass(frozen=True)
class Setting:
    """Bit widths, how activation ranges are estimated, and the gap that reconstruction should reach, in points.

    `activation_bits` are those of what a layer reads; what a function or a sum alone reads keeps 8.
    """

    name: str
    weights: WeightScheme
    activation_bits: int
    estimator: Estimator
    goal: float | None

    def activations(self, graph: Graph) -> ActivationScheme:
        """The bits of a network's activations."""
        stored = [node for node in graph.nodes[:-1] if not isinstance(node.operation, (Input, *MOVES))]
        last = [*graph.layers()][-1]
        read = {
            node.name for node in stored for each in graph.real_readers(node.name) if each.is_layer and each != last
        }
        narrow = [node.name for node in stored if node.name in read and node.kind not in WIDE_KINDS]
        return ActivationScheme({"all": 8, **dict.fromkeys(narrow, self.activation_bits)}, symmetric=False)


W8A8 = Setting("W8A8", WeightScheme(8, "channel"), 8, "minmax", None)
SETTINGS = (
    Setting("W4A8", WeightScheme(4, "channel"), 8, "minmax", -0.3),
    Setting("W4A4, ends and sums 8", WeightScheme({"all": 4, "stem": 8, "classifier": 8}, "channel"), 4, "mse", -1.0),
    W8A8,
)

RECONSTRUCTIONS = ("adaptive_rounding", "reconstruct_blocks")
"""Tried where nearest rounding loses something: in the settings that have a goal."""

METHODS: dict[str, tuple[Entry, ...]] = {
    "nearest": (),
    "equalize + correct_bias": ("zero_dead_channels", "equalize", "correct_bias"),
    "the same + clip_weights": ("zero_dead_channels", "equalize", "clip_weights", "correct_bias"),
    **{name: ("zero_dead_channels", "equalize", "clip_weights", name) for name in RECONSTRUCTIONS},
}


def main() -> None:
    """Measure what has no row yet."""
    arguments, _ = (
        _arguments(),
        choose_device(),
    )  # for its side effect: freed memory is kept, as in the pipeline's stages
    name = f"ptq_{machine_slug(torch.device('cpu'), ['torch', 'onnxruntime'])}"
    path = arguments.output / f"{name}.csv"
    for network in (each for each in NETWORKS if not arguments.only or each.name in arguments.only):
        if not has_checkpoint(network):
            print(f"left out: {network.name} ({network.checkpoint} is in no folder of SELECTQ_DATA)")
            continue
        folder = arguments.workspaces / network.name
        prepare(network, folder)
        fp32 = read_skewed(folder / "models/fp32.safetensors", parameters(network)["range_skew"], SEED)
        dataset = read_dataset(folder / "data/images.safetensors").normalised(fp32.normalization)
        dataset = replace(dataset, test=dataset.test.sample(min(TEST_IMAGES, len(dataset.test)), SEED))
        measure(network.name, fp32, dataset, folder, path)
    draw(pd.read_csv(path), name, path.with_suffix(".png"))
    print(f"written: {path}")


def measure(name: str, fp32: Fp32Checkpoint, dataset: Dataset, folder: Path, path: Path) -> None:
    """Write a row of every side that has none yet."""
    rows = pd.read_csv(path).to_dict("records") if path.is_file() else []
    own = {(row["setting"], row["tool"], row["method"]): row["top1"] for row in rows if row["network"] == name}
    for setting, tool, method, quantized in sides(fp32, dataset, folder):
        if (setting, tool, method) in own:
            continue
        try:
            top1, seconds = quantized()
        except UserError as error:
            print(f"left out: {name}, {setting}, {tool}, {method}: {error}", file=sys.stderr)
            continue
        own[setting, tool, method] = top1 = round(top1, 2)
        gap = round(top1 - own[FP32_SIDE], 2)
        goal = next((each.goal for each in SETTINGS if each.name == setting and method in RECONSTRUCTIONS), None)
        met = None if goal is None else "yes" if gap >= goal else "no"
        rows.append(
            dict(zip(COLUMNS, (name, setting, tool, method, top1, gap, round(seconds, 1), goal, met), strict=True))
        )
        print(*rows[-1].values(), sep=", ", flush=True)
        write_csv(path, pd.DataFrame(rows, columns=COLUMNS))


Measure = Callable[[], tuple[float, float]]
"""Top-1 in percent of the test images, and the CPU seconds that quantizing took."""


def sides(fp32: Fp32Checkpoint, dataset: Dataset, folder: Path) -> Iterator[tuple[str, str, str, Measure]]:
    """Setting, tool, method, and what measures it; the FP32 network comes first."""
    yield *FP32_SIDE, lambda: (evaluate(fp32.model, dataset.test, "FP32")["top1"], 0.0)
    for setting in SETTINGS:
        for method, algorithms in METHODS.items():
            if setting.goal is not None or method not in RECONSTRUCTIONS:
                config = ptq_config(setting, fp32.graph, algorithms)
                yield setting.name, OURS, method, partial(quantized_by_us, fp32, dataset, config)
    for setting, ((package, method), peer) in product(SETTINGS, PEERS.items()):
        yield (
            setting.name,
            tool_name(package),
            method,
            partial(quantized_by_peer, package, peer, fp32, dataset, setting),
        )
    ort = partial(quantized_by_onnx_runtime, fp32, dataset, folder)
    yield W8A8.name, tool_name("onnxruntime"), "quantize_static", ort


def tool_name(package: str) -> str:
    """A package with its version, where it is installed."""
    try:
        return f"{package} {version(package)}"
    except PackageNotFoundError:
        return package


def ptq_config(setting: Setting, graph: Graph, algorithms: tuple[Entry, ...]) -> PtqConfig:
    """What our pipeline is given."""
    calibration = CalibrationConfig("train", CALIBRATION_IMAGES, setting.estimator, percentile=99.99, averaging=0.1)
    return PtqConfig(setting.weights, setting.activations(graph), calibration, algorithms)


def quantized_by_peer(
    package: str, peer: Peer, fp32: Fp32Checkpoint, dataset: Dataset, setting: Setting
) -> tuple[float, float]:
    """A peer's simulation.

    Raises:
        UserError: it is not installed, or cannot express the setting.
    """
    calibration = dataset.train.sample(CALIBRATION_IMAGES, SEED)
    batches = [each.contiguous() for batch in image_batches(calibration) for each in batch.split(BATCH_IMAGES)]
    model = deepcopy(fp32.model).to(memory_format=torch.contiguous_format)
    scheme = setting.activations(fp32.graph)
    task = Task(model, fp32.graph, batches, setting.weights, scheme)
    if not task.is_expressible():
        raise UserError("a module that computes no layer would need fewer bits than 8")
    torch.manual_seed(SEED)
    start = time.process_time()
    try:
        network = peer(task)
    except ModuleNotFoundError as error:
        raise UserError(str(error)) from None
    seconds = time.process_time() - start
    return evaluate(lambda images: network(images.contiguous()), dataset.test, package)["top1"], seconds


def quantized_by_us(fp32: Fp32Checkpoint, dataset: Dataset, config: PtqConfig) -> tuple[float, float]:
    """Our pipeline, simulated; its programs give the same predictions."""
    start = time.process_time()
    network = ptq_pipeline(fp32, dataset, config, SEED)
    seconds = time.process_time() - start
    return evaluate(quantized_forward(network, torch.device("cpu")), dataset.test, "test")["top1"], seconds


def quantized_by_onnx_runtime(fp32: Fp32Checkpoint, dataset: Dataset, folder: Path) -> tuple[float, float]:
    """ONNX Runtime's `quantize_static`, of the same folded network, in ONNX Runtime."""
    network = fold_model(fp32.model, capture(fp32.model), INTEGER_GRID, torch.device("cpu"))
    write_float_onnx(folder / "fp32.onnx", network, dataset.train.images.shape[-1])
    images = torch.cat(list(image_batches(dataset.train.sample(CALIBRATION_IMAGES, SEED)))).contiguous().numpy()
    start = time.process_time()
    quantize_static_onnx(folder / "fp32.onnx", folder / "static.onnx", images, FLOAT_INPUT)
    seconds = time.process_time() - start
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
