"""Many networks through the whole pipeline, on handwritten digits: `make bench-networks`.

Each is trained for some epochs, quantized with PTQ algorithms and without, exported, held to parity, and timed beside
ONNX Runtime's own quantizer, and its QAT step beside torch.ao's. A row is written as soon as it is measured, and a
network that has one is skipped. What has run stays in a workspace: without the tables, only times are measured anew.
Leave the machine alone meanwhile.
"""

import argparse
import dataclasses
import json
import math
import os
import shutil
import subprocess
import sys
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path
from statistics import median
from typing import Any

import ours
import pandas as pd
import peers
import torch
import yaml
from int8_models import export_onnx, quantize_static_onnx
from timing import Side, time_in_turns
from workload import CHECKOUT, OTHER_BATCH, workload_of

from selectq.config.load import overlay, read_yaml
from selectq.data.packed import read_dataset
from selectq.errors import UserError
from selectq.export.onnx import ONNX
from selectq.files import sha256, write_bytes, write_csv
from selectq.latency.turns import TURNS, Timing, images_per_second, time_sides
from selectq.networks.checkpoint import read_fp32
from selectq.quantization.quantized import read_quantized
from selectq.stage import run
from selectq.statistics import schemas

PLAIN, ALGORITHMS = "plain", "algorithms"
NETWORK_FILE = Path(__file__).with_name("digit_network.py")
EPOCHS = 15
BATCH = 32
LEARNING_RATE = 0.02
"""At 0.05, the digits study's, narrow networks do not learn."""
DATA_FOLDERS = "SELECTQ_DATA"
QAT_STEPS, QAT_ROUNDS = 2, 5
OPENINGS = 6
FLOAT_IMAGES = 128
"""That ONNX Runtime's own quantizer is calibrated on."""


@dataclass(frozen=True)
class Network:
    """A network by name; `quantizable` says whether torchvision has one prepared for torch.ao."""

    name: str
    arguments: dict[str, Any] = field(default_factory=dict)
    quantizable: bool = False
    lr: float = LEARNING_RATE

    @property
    def title(self) -> str:
        """In the tables."""
        return " ".join([self.name, *map(str, self.arguments.values())])


NETWORKS = (
    Network("mobilenet_v2", quantizable=True),
    Network("mobilenet_v2", {"width_mult": 0.5}),
    Network("mobilenet_v3_small"),
    Network("mobilenet_v3_large", quantizable=True),
    Network("mnasnet0_5"),
    Network("timm:efficientnet_lite0"),
    Network("efficientnet_b0"),
    Network("resnet18", quantizable=True),
    Network("regnet_x_400mf"),
    Network("regnet_y_400mf"),
    Network("squeezenet1_1", lr=0.005),  # it has no batch norms
    Network("shufflenet_v2_x1_0", quantizable=True),
)


def main() -> None:
    """Measure every network that has no row yet."""
    arguments = _arguments()
    folders = [str(NETWORK_FILE.parent), *filter(None, [os.environ.get(DATA_FOLDERS)])]
    os.environ[DATA_FOLDERS] = os.pathsep.join(folders)  # where checkpoints find the file of their network
    rows, drifts = (arguments.output / name for name in ("networks.csv", "networks_drift.csv"))
    for network in chosen(arguments.only):
        if rows.is_file() and network.title in set(pd.read_csv(rows)["network"]):
            continue
        folder = arguments.workspaces / network.title.replace(" ", "_").replace(":", "_")
        row, drift = measure(network, folder, arguments.epochs)
        _append(drifts, drift)
        _append(rows, schemas.NETWORKS.frame([row]))
        print(", ".join(f"{name} {value}" for name, value in row.items()), flush=True)


def chosen(names: Iterable[str]) -> list[Network]:
    """The networks of some titles, all without.

    Raises:
        UserError: there is none of a title.
    """
    known = {network.title: network for network in NETWORKS}
    for name in names:
        if name not in known:
            raise UserError(f"--only: {name!r} is no network; allowed: {', '.join(known)}")
    return [known[name] for name in names] or list(NETWORKS)


def _append(path: Path, further: pd.DataFrame) -> None:
    before = [pd.read_csv(path)] if path.is_file() else []
    write_csv(path, pd.concat([*before, further], ignore_index=True))


def measure(network: Network, folder: Path, epochs: int) -> tuple[dict[str, Any], pd.DataFrame]:
    """Its row, and its drift by kind of layer."""
    run_stages(network, folder, epochs)
    read = {name: json.loads((folder / f"metrics/{name}.json").read_text()) for name in ("fp32", *_metrics())}
    row = {
        "network": network.title,
        "parameters": read["fp32"]["parameters"],
        "fp32_mb": round(read["fp32"]["size_bytes"] / 1e6, 2),
        "int8_mb": round(read[f"int8/{PLAIN}"]["size_bytes"] / 1e6, 2),
        "fp32_top1": round(read["fp32"]["test_top1"], 2),
        "ptq_top1": round(read[f"int8/{PLAIN}"]["test_top1"], 2),
        "ptq_algorithms_top1": round(read[f"int8/{ALGORITHMS}"]["test_top1"], 2),
        "float_nodes": read[f"int8/{PLAIN}"]["float_operators"],
        "flipped_pct": max(read[f"parity/{name}"]["flipped_pct"] for name in (PLAIN, ALGORITHMS)),
        "latency_ratio": round(latency_ratio(folder), 2),
        "qat_ratio": round(qat_ratio(network), 2) if network.quantizable else None,
        "epochs": epochs,
        "qat_batch": OTHER_BATCH,
    }
    return row, drift_by_kind(network.title, folder)


def _metrics() -> list[str]:
    return [f"{part}/{name}" for part in ("int8", "parity") for name in (PLAIN, ALGORITHMS)]


def run_stages(network: Network, folder: Path, epochs: int) -> None:
    """The pipeline's own scripts, in a folder of its own; not again where the same parameters have run to the end.

    Raises:
        UserError: a stage fails; it has said why.
    """
    written, params = yaml.safe_dump(parameters(network, epochs), sort_keys=False).encode(), folder / "params.yaml"
    if params.is_file() and params.read_bytes() == written and (folder / f"metrics/causes/{ALGORITHMS}.csv").is_file():
        return
    shutil.rmtree(folder, ignore_errors=True)
    write_bytes(params, written)
    each = [(stage, "--name", name) for name in (PLAIN, ALGORITHMS) for stage in ("ptq", "convert", "drift")]
    for stage, *options in [("check",), ("download",), ("finetune_fp32",), *each]:
        command = [sys.executable, CHECKOUT / "stages" / f"{stage}.py", *options]
        if subprocess.run(command, cwd=folder, check=False).returncode:
            raise UserError(f"{network.title}: stage {stage} failed in {folder}")


def parameters(network: Network, epochs: int) -> dict[str, Any]:
    """The committed parameters, with two configurations: quantized after training, with algorithms and without."""
    committed = read_yaml(CHECKOUT / "params.yaml")
    algorithms = committed["ptq"]["channel_algorithms"]
    changes: dict[str, Any] = {
        "model": {
            "network": f"{NETWORK_FILE.name}:named",
            "network_sha256": sha256(NETWORK_FILE),
            "arguments": {"name": network.name, **network.arguments},
        },
        "finetune": {"epochs": epochs, "batch_size": BATCH, "lr": network.lr},
        "range_skew": 0.0,
        "ptq": dict.fromkeys(committed["ptq"]) | {PLAIN: {**algorithms, "algorithms": []}, ALGORITHMS: algorithms},
        "qat": dict.fromkeys(committed["qat"]),
        "plan": {"ptq": [PLAIN], "start": PLAIN, "budgets_pct": [100]},
        "calibration_sweep": {"names": [PLAIN]},
        "drift": {"inspect": []},
        "audit": {"flaws": {name: [] for name in committed["audit"]["flaws"]}, "combined": []},
        "convert": [PLAIN, ALGORITHMS],
        "statistics": {"contrasts": []},
        "ship": [],
    }
    return overlay(committed, changes)


def latency_ratio(folder: Path) -> float:
    """How many times as fast our program is as that of ONNX Runtime's `quantize_static`; one image, one thread.

    Both are opened anew, in turns the first: where a session's weights come to lie in memory decides up to a fifth.
    """
    checkpoint = read_fp32(folder / "models/fp32.safetensors")
    pixels = read_dataset(folder / "data/images.safetensors").train.images[:FLOAT_IMAGES]
    images = checkpoint.normalization(pixels).contiguous().numpy()
    export_onnx(checkpoint.model, folder / "fp32.onnx")
    quantize_static_onnx(folder / "fp32.onnx", folder / "static.onnx", images)
    programs = {
        "ours": (folder / f"models/int8/{PLAIN}/{PLAIN}.onnx", pixels[:1].numpy()),
        "static": (folder / "static.onnx", images[:1]),
    }
    ratios: list[float] = []
    for opening in range(OPENINGS):
        order = list(programs)[:: 1 if opening % 2 else -1]
        sides = {name: ONNX.prepare(*programs[name], threads=1) for name in order}
        timed = time_sides(sides, dataclasses.replace(TURNS, repeats=TURNS.repeats // 3), "latency")
        speeds = {name: images_per_second(seconds, 1) for name, seconds in timed.items()}
        ratios += Timing(speeds["ours"], speeds["static"]).ratios()
    return median(ratios)


def qat_ratio(network: Network) -> float:
    """How many times as fast our full QAT step is as torch.ao's eager one."""
    workload = workload_of(network.name, network.arguments, torch.device("cpu"))
    trainers = {"ours": ours.qat(workload, "full"), "torch.ao": peers.torch_ao_nchw(workload)}
    sides = {
        name: Side(trainer.step, deterministic=name == "ours", steps=QAT_STEPS) for name, trainer in trainers.items()
    }
    speeds = time_in_turns(sides, QAT_ROUNDS, "QAT")
    return median(one / other for one, other in zip(speeds["ours"], speeds["torch.ao"], strict=True))


def drift_by_kind(title: str, folder: Path) -> pd.DataFrame:
    """Of plain PTQ, the mean drift of each kind of node: alone (`isolated`), and in the wholly quantized network.

    `gain` is the geometric mean of how many times as large a node's accumulated drift is as that of what it reads
    first: above 1 where error grows, below where it shrinks.
    """
    isolated = pd.read_csv(folder / f"metrics/drift/{PLAIN}.csv").query("kind == 'isolated' and layer_kind != 'block'")
    causes = pd.read_csv(folder / f"metrics/causes/{PLAIN}.csv").query("cause == 'total'").set_index("layer")
    graph = read_quantized(folder / f"models/quantized/{PLAIN}.safetensors").network.graph
    accumulated, gains = causes["drift"].to_dict(), dict[str, float]()
    for name, drift in accumulated.items():
        read = accumulated.get(graph.origins(graph[name].inputs[0])[0], 0.0)
        if read and drift:
            gains[name] = math.log(drift / read)
    alone = isolated.groupby("layer_kind")["drift"].mean()
    table = causes.assign(gain=pd.Series(gains, dtype=float)).groupby("layer_kind", sort=False)
    found = table.agg(nodes=("drift", "size"), accumulated=("drift", "mean"), gain=("gain", "mean")).reset_index()
    return pd.DataFrame(
        {
            "network": title,
            "kind": found["layer_kind"].replace("block", "sum"),
            "nodes": found["nodes"],
            "isolated": found["layer_kind"].map(alone).round(5),
            "accumulated": found["accumulated"].round(5),
            "gain": found["gain"].map(math.exp).round(3),
        }
    )


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--output", type=Path, default=CHECKOUT / "results", help="folder of the two tables")
    parser.add_argument("--workspaces", type=Path, default=CHECKOUT / ".workspaces/networks", help="where stages run")
    parser.add_argument("--epochs", type=int, default=EPOCHS, help="of the FP32 training")
    parser.add_argument("--only", nargs="*", default=[], metavar="NETWORK", help="these alone")
    return parser.parse_args()


if __name__ == "__main__":
    run(main)
