"""The whole pipeline under many networks, on digits: every stage, from checking the parameters to the model card."""

import dataclasses
import json
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
import yaml
from stage_process import CHECKOUT
from workspaces import Workspace, by_label

from selectq.config.load import overlay, read_yaml
from selectq.data.packed import Dataset, read_dataset, write_dataset
from selectq.files import sha256
from selectq.graph.nodes import Conv, Linear, Lookup, Mul
from selectq.graph.parameters import parameter_kinds
from selectq.networks.checkpoint import read_fp32
from selectq.quantization.quantized import read_quantized

slow = pytest.mark.slow

CALIBRATION = {"images": 16}
KEPT = {"train": 32, "validation": 16, "test": 24}
"""Of the digits, so many images of each split."""

FLAWS: dict[str, Any] = {
    "dead_channels": ["kept"],
    "fusion": ["none"],
    "calibration_images": [1],
    "calibration_pixels": [],
    "inference_pixels": [],
    "activation_bits": [],
    "activation_range": ["symmetric"],
    "activation_function": ["relu6"],
    "batch_norm": ["training"],
    "statistics_batches": [],
    "outlier_channel": [10],
    "outlier_weight": [],
    "range_skew": [1.0],
    "products": ["saturating"],
}
OF_STRUCTURE = ("fusion", "batch_norm", "outlier_channel", "range_skew")
QAT = {
    "weights": {"bits": 8, "granularity": "channel"},
    "activations": {"bits": 8, "symmetric": False},
    "epochs": 1,
    "lr": 0.001,
}
TINY: dict[str, Any] = {
    "finetune": {"epochs": 1, "batch_size": 16, "lr": 0.02, "warmup_epochs": 0.2},
    "ptq": {
        "tensor": None,
        "channel": None,
        "tensor_algorithms": None,
        "channel_algorithms": {"calibration": CALIBRATION},
    },
    "calibration_sweep": {
        "names": ["channel_algorithms"],
        "images": [8],
        "estimators": ["percentile"],
        "evaluation_images": 8,
    },
    "drift": {"images": 8, "histogram_images": 4, "cause_images": 4},
    "audit": {"images": 8, "calibration": CALIBRATION, "combined": []},
    "qat_training": {"batch_size": 16, "calibration": CALIBRATION},
    "qat": dict.fromkeys(("full", "clf", "dw", "dwpw", "dwpw_asym")),
    "plan": {
        "ptq": ["channel_algorithms"],
        "start": "channel_algorithms",
        "max_loss_points": 20.0,
        "budgets_pct": [100],
        "epochs": 1,
        "lrs": [0.001],
        "score_images": 8,
    },
    "convert": ["channel_algorithms", "some", "auto"],
    "parity": {"images": 24, "layer_images": 4},
    "statistics": {"contrasts": ["some - channel_algorithms"]},
    "ship": ["channel_algorithms", "some"],
}
"""Laid over the committed parameters: a PTQ configuration with algorithms, a QAT one, one epoch, few images."""

STAGES = ("check", "finetune_fp32", "ranges", "audit")
OF_PTQ = ("ptq", "calibration", "convert", "drift")
OF_QAT = ("qat", "convert", "drift")
OF_PLAN = (("sensitivity",), ("plan",), ("auto",), ("convert", "--name", "auto"), ("drift", "--name", "auto"))
LAST = ("compare", "table")


@dataclass(frozen=True)
class Case:
    """A network, as `model.network` names it, and what goes with it.

    Attributes:
        scope: kinds of layers that it has, of which one configuration is retrained.
        inspect: convolutions whose ranges and histograms are shown.
        without: flaws that it cannot have.
        thorough: whether all flaws are tried and two formats written, or ONNX alone, and flaws of the structure.
    """

    network: str
    scope: tuple[str, ...]
    inspect: str
    arguments: dict[str, Any] = field(default_factory=dict)
    without: tuple[str, ...] = ()
    thorough: bool = False

    @property
    def formats(self) -> list[str]:
        return ["onnx", "pt2"] if self.thorough else ["onnx"]

    def parameters(self, folder: Path) -> dict[str, Any]:
        """What is laid over the committed parameters. A user's file lies in the folder."""
        own = folder / self.network.partition(":")[0]
        tried = {*(FLAWS if self.thorough else OF_STRUCTURE)} - {*self.without}
        return overlay(
            TINY,
            {
                "model": {
                    "network": self.network,
                    "arguments": self.arguments,
                    "network_sha256": sha256(own) if own.suffix == ".py" else None,
                },
                "formats": self.formats,
                "range_skew": 0.0 if "range_skew" in self.without else 0.5,
                "audit": {"flaws": {flaw: FLAWS[flaw] if flaw in tried else [] for flaw in FLAWS}},
                "qat": {"some": {**QAT, "scope": [*self.scope, "classifier"]}},
                "drift": {"inspect": [self.inspect]},
            },
        )


NO_CHAINS = ("range_skew", "outlier_channel")
CASES = {
    "mobilenet_v2": Case("mobilenet_v2", ("depthwise", "projection"), "features.14.conv.1.0", {"width_mult": 0.5}),
    "mobilenet_v3_small": Case("mobilenet_v3_small", ("depthwise", "squeeze_excite"), "depthwise"),
    "efficientnet_lite0": Case("timm:efficientnet_lite0", ("depthwise", "projection"), "depthwise"),
    "resnet18": Case("resnet18", ("dense",), "dense"),
    "regnet_x_400mf": Case("regnet_x_400mf", ("dense", "projection"), "dense"),
    "squeezenet1_1": Case("squeezenet1_1", ("dense",), "dense", without=(*NO_CHAINS, "batch_norm")),
    "shufflenet_v2_x1_0": Case("shufflenet_v2_x1_0", ("depthwise",), "depthwise"),
    "own": Case("own_network.py:small", ("depthwise", "squeeze_excite"), "stem", {"width": 24}, thorough=True),
}
IMAGES = "data/images.safetensors"


@pytest.fixture(scope="module")
def digits(tmp_path_factory: pytest.TempPathFactory) -> Dataset:
    """A few of the digits, from the stage that packs them."""
    folder = tmp_path_factory.mktemp("digits")
    (folder / "params.yaml").write_bytes((CHECKOUT / "params.yaml").read_bytes())
    Workspace(folder).run("download")
    dataset = read_dataset(folder / IMAGES)
    few = {name: by_label(getattr(dataset, name).sample(count, seed=0)) for name, count in KEPT.items()}
    return dataclasses.replace(dataset, **few)


def prepare(case: Case, folder: Path, dataset: Dataset) -> Workspace:
    """A workspace with the network's parameters and a few images."""
    (folder / "own_network.py").write_bytes(Path(__file__).with_name("own_network.py").read_bytes())
    parameters = overlay(read_yaml(CHECKOUT / "params.yaml"), case.parameters(folder))
    (folder / "params.yaml").write_text(yaml.safe_dump(parameters, sort_keys=False))
    write_dataset(folder / IMAGES, dataset)
    return Workspace(folder)


def run_all(workspace: Workspace) -> None:
    workspace.run_all(
        *((stage,) for stage in STAGES),
        *((stage, "--name", "channel_algorithms") for stage in OF_PTQ),
        *((stage, "--name", "some") for stage in OF_QAT),
        *OF_PLAN,
        *((stage,) for stage in LAST),
        *(("card", "--name", name) for name in ("channel_algorithms", "some")),
    )


@slow
@pytest.mark.parametrize("name", CASES)
def test_whole_pipeline(name: str, digits: Dataset, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)  # where a user's file is found when checkpoints are read below
    case, workspace = CASES[name], prepare(CASES[name], tmp_path, digits)
    run_all(workspace)
    for config in ("channel_algorithms", "some", "auto"):
        assert_same_predictions(tmp_path, config, case.formats)
        assert_drift_of_every_node(tmp_path, config)
    assert {*pd.read_csv(tmp_path / "results/table2.csv")["config"]} >= {"channel_algorithms", "some", "auto"}
    for config in ("channel_algorithms", "some"):
        card = (tmp_path / f"results/cards/{config}.md").read_text()
        assert card.startswith(f"# {config}: {case.network}") and ("MobileNetV2" in card) is False
    assert_retrained(tmp_path, (*case.scope, "classifier"))
    report = (tmp_path / "results/report.html").read_text()
    assert f"{case.network}" in report and 'id="drift"' in report and report.count("drift by kind and depth") >= 2


def assert_same_predictions(folder: Path, config: str, formats: list[str]) -> None:
    parity = json.loads((folder / f"metrics/parity/{config}.json").read_text())
    backends = 2 + 2 + ("pt2" in formats)  # simulation and reference; ONNX Runtime plain and optimised
    assert (parity["flipped_pct"], parity["layer_steps"]) == (0, 0)
    assert parity["pairs"] == backends * (backends - 1) / 2
    sizes = json.loads((folder / f"metrics/int8/{config}.json").read_text())["sizes"]
    assert sizes == {each: (folder / f"models/int8/{config}/{config}.{each}").stat().st_size for each in formats}


def assert_drift_of_every_node(folder: Path, config: str) -> None:
    """Of what has weights, and of products and functions; of every block with a convolution."""
    drift = pd.read_csv(folder / f"metrics/drift/{config}.csv")
    graph = read_quantized(folder / f"models/quantized/{config}.safetensors").network.graph
    nodes = [node for node in graph.nodes if isinstance(node.operation, Conv | Linear | Mul | Lookup)]
    isolated = drift[(drift["kind"] == "isolated") & (drift["layer_kind"] != "block")]
    assert [*isolated["layer"]] == [node.name for node in nodes]
    assert [*isolated["layer_kind"]] == [node.kind for node in nodes]
    assert set(drift.loc[drift["layer_kind"] == "block", "layer"]) == {
        node.block for node in nodes if isinstance(node.operation, Conv)
    }
    assert drift["drift"].between(0, 100).all() and drift["drift"].gt(0).any()


def assert_retrained(folder: Path, scope: tuple[str, ...]) -> None:
    model = read_fp32(folder / "models/fp32.safetensors").model
    sizes = {name: parameter.numel() for name, parameter in model.named_parameters()}
    expected = sum(sizes[name] for name, kind in parameter_kinds(model).items() if kind in scope)
    simulated = json.loads((folder / "metrics/simulated/some.json").read_text())
    assert simulated["params_retrained"] == expected > 0 and simulated["parameters"] == sum(sizes.values())


@pytest.mark.parametrize(
    ("name", "changes", "message"),
    [
        (
            "mobilenet_v3_small",
            {"formats": ["onnx", "pte"]},
            "formats: pte: features.0.2 (hard_swish): XNNPACK has none on integers. Leave pte out",
        ),
        (
            "resnet18",
            {"drift": {"inspect": ["depthwise"]}},
            "drift.inspect: 'depthwise' is no convolution; allowed: modules, or one of stem, dense, projection",
        ),
        (
            "squeezenet1_1",
            {"audit": {"flaws": {"batch_norm": ["training"]}}},
            "audit.flaws.batch_norm: this network has no batch norm; allowed: [], and no batch_norm in audit.combined",
        ),
        (
            "squeezenet1_1",
            {"audit": {"combined": [{"range_skew": 1.0}]}},
            "audit.flaws.range_skew: this network has no channel whose scale is free; allowed: [], and no range_skew in"
            " audit.combined",
        ),
        (
            "mobilenet_v3_small",
            {"qat": {"some": {"scope": ["dense"]}}},
            "qat.some.scope: 'dense' names no layer of MobileNetV3; it has: stem, expansion, depthwise, projection,"
            " squeeze_excite, head, classifier, batchnorm",
        ),
    ],
)
def test_what_a_network_cannot_do_is_refused_before_training(
    name: str, changes: dict[str, Any], message: str, tmp_path: Path
) -> None:
    parameters = overlay(read_yaml(CHECKOUT / "params.yaml"), CASES[name].parameters(tmp_path), changes)
    (tmp_path / "params.yaml").write_text(yaml.safe_dump(parameters, sort_keys=False))
    assert Workspace(tmp_path).refusal("check") == message
