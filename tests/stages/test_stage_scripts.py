"""The stage scripts as DVC runs them, one after another, but without DVC."""

import csv
import io
import json
import shutil
from itertools import combinations, product
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
import torch
import torchvision
from small_networks import NARROW
from torch import nn
from workspaces import Workspace, packed_images

from selectq.analysis.distributions import level_histograms
from selectq.config.load import read_yaml
from selectq.data.normalization import INTEGER_GRID
from selectq.files import read_tensors, sha256
from selectq.parity import backends
from selectq.quantization.quantized import read_quantized

slow = pytest.mark.slow

WRITTEN = {
    "metrics/audit.csv",
    "metrics/calibration/tensor.csv",
    "metrics/causes/dw.csv",
    "metrics/causes/tensor.csv",
    "metrics/channel_ranges.csv",
    "metrics/drift/dw.csv",
    "metrics/drift/dw.histograms.csv",
    "metrics/drift/tensor.csv",
    "metrics/drift/tensor.histograms.csv",
    "metrics/fp32.json",
    "metrics/int8/dw.confusion.csv",
    "metrics/int8/dw.json",
    "metrics/learning/auto.csv",
    "metrics/learning/dw.csv",
    "metrics/learning/fp32.csv",
    "metrics/oscillation/auto.csv",
    "metrics/oscillation/dw.csv",
    "metrics/parity/dw.csv",
    "metrics/parity/dw.json",
    "metrics/parity/dw.layers.csv",
    "metrics/sensitivity.csv",
    "metrics/simulated/auto.json",
    "metrics/simulated/dw.json",
    "metrics/simulated/tensor.json",
    "metrics/validation/tensor.csv",
    "models/fp32.safetensors",
    "models/int8/dw/dw.onnx",
    "models/logits/dw.safetensors",
    "models/logits/fp32.safetensors",
    "models/plan.json",
    "models/quantized/auto.safetensors",
    "models/quantized/dw.safetensors",
    "models/quantized/tensor.safetensors",
}


def metrics(workspace: Workspace, name: str) -> dict[str, Any]:
    return json.loads((workspace.folder / "metrics" / name).read_text())


def rows(workspace: Workspace, name: str) -> list[dict[str, str]]:
    return list(csv.DictReader(io.StringIO((workspace.folder / "metrics" / name).read_text())))


def test_stages_write_their_outputs_and_nothing_else(chain: Workspace) -> None:
    assert set(chain.outputs()) == WRITTEN
    assert {path.suffix for path in (chain.folder / ".checkpoints").iterdir()} == {".lock"}, "no state is left over"


def test_counts_are_those_of_the_configurations(chain: Workspace) -> None:
    model = torchvision.models.mobilenet_v2(num_classes=3, **NARROW["mobilenet_v2"])
    depthwise = [each for each in model.modules() if isinstance(each, nn.Conv2d) and each.groups > 1]
    whole, retrained = (
        sum(parameter.numel() for layer in layers for parameter in layer.parameters())
        for layers in ([model], [*depthwise, model.classifier])
    )
    assert metrics(chain, "fp32.json")["parameters"] == whole
    assert metrics(chain, "simulated/tensor.json")["params_retrained"] == 0
    assert metrics(chain, "simulated/dw.json")["params_retrained"] == retrained
    assert metrics(chain, "simulated/dw.json")["parameters"] == whole


@pytest.mark.parametrize("name", ["fp32", "dw"])
def test_kept_logits_give_the_reported_accuracy(name: str, chain: Workspace) -> None:
    tensors, _ = read_tensors(chain.folder / f"models/logits/{name}.safetensors")
    assert tensors["logits"].shape == (12, 3) and tensors["logits"].dtype == torch.float32
    right = (tensors["logits"].argmax(1) == packed_images().test.labels).double().mean().item()
    reported = metrics(chain, "fp32.json" if name == "fp32" else f"int8/{name}.json")["test_top1"]
    assert reported == pytest.approx(100 * right, abs=1e-3)


def test_program_s_metrics_are_of_the_file(chain: Workspace) -> None:
    found = metrics(chain, "int8/dw.json")
    size = len(chain.outputs()["models/int8/dw/dw.onnx"])
    assert found["sizes"] == {"onnx": size} and found["size_bytes"] == size == sum(found["bytes"].values())
    assert (found["operators"]["QLinearConv"], found["float_operators"]) == (52, 0)
    assert found["test_top1"] == pytest.approx(100 * found["correct"] / found["test_images"], abs=1e-3)


def test_parity_is_of_every_pair_of_backends_and_every_layer(chain: Workspace) -> None:
    names = {"simulation", "reference", "onnx_plain", "onnx"}
    pairs = rows(chain, "parity/dw.csv")
    assert {frozenset((row["one"], row["other"])) for row in pairs} == set(map(frozenset, combinations(names, 2)))
    layers = rows(chain, "parity/dw.layers.csv")
    assert len(layers) == 63 * len(names)
    worst = metrics(chain, "parity/dw.json")
    assert (worst["flipped_pct"], worst["layer_steps"], worst["pairs"]) == (0.0, 0, 6)
    assert set(worst["cpu"]) == {"vnni", "u8s8_saturates"}
    assert {"python", "torch", "onnxruntime"} <= set(worst["environment"]["versions"])


def test_confusion_is_of_the_kept_logits(chain: Workspace) -> None:
    found, classes = rows(chain, "int8/dw.confusion.csv"), packed_images().classes
    assert [(row["true_class"], row["predicted_class"]) for row in found] == list(product(classes, repeat=2))
    correct = sum(int(row["images"]) for row in found if row["true_class"] == row["predicted_class"])
    assert correct == metrics(chain, "int8/dw.json")["correct"]
    assert sum(int(row["images"]) for row in found) == 12


def test_model_beyond_the_tolerance_does_not_pass(
    chain: Workspace, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What is simulated is another network than what is exported."""
    workspace = Workspace(tmp_path).write()
    shutil.copytree(chain.folder / "models", tmp_path / "models")
    other = read_quantized(chain.folder / "models/quantized/tensor.safetensors").network
    simulate = backends.simulation_backend
    monkeypatch.setattr(backends, "simulation_backend", lambda network: simulate(other))
    assert workspace.failure("convert", "--name", "dw")[-1].startswith("parity: dw")
    assert (tmp_path / "metrics/parity/dw.layers.csv").exists(), "the evidence is there to be looked at"


def test_learning_curves_have_a_row_for_each_epoch_and_split(chain: Workspace) -> None:
    for name in ("fp32", "dw"):
        curve = rows(chain, f"learning/{name}.csv")
        assert list(curve[0]) == ["config", "epoch", "split", "loss", "top1"]
        assert [(row["config"], row["epoch"], row["split"]) for row in curve] == [
            (name, "1", "train"),
            (name, "1", "validation"),
        ]


def test_drift_is_of_every_block_and_layer(chain: Workspace) -> None:
    for name in ("tensor", "dw"):
        drift = rows(chain, f"drift/{name}.csv")
        assert list(drift[0]) == ["config", "index", "layer", "layer_kind", "kind", "drift"]
        assert {row["config"] for row in drift} == {name}
        assert len(drift) == 2 * (19 + 53)


def test_causes_are_of_every_layer_sum_and_the_pool(chain: Workspace) -> None:
    causes = rows(chain, "causes/dw.csv")
    assert list(causes[0]) == ["config", "index", "layer", "layer_kind", "cause", "drift"]
    assert {row["config"] for row in causes} == {"dw"} and len(causes) == (53 + 10 + 1) * 6
    learnt = {row["layer_kind"] for row in causes if row["cause"] == "changed weights" and float(row["drift"])}
    assert learnt == {"depthwise", "classifier"}


def test_oscillation_is_of_the_layers_that_learn(chain: Workspace) -> None:
    found = rows(chain, "oscillation/dw.csv")
    assert list(found[0]) == ["config", "layer", "layer_kind", "weights", "flipped_pct", "oscillating_pct"]
    assert {row["layer_kind"] for row in found} == {"depthwise", "classifier"} and len(found) == 18
    assert max(float(row["flipped_pct"]) for row in found) > 0


def test_sweep_by_the_configuration_s_own_calibration_ends_where_it_does(chain: Workspace) -> None:
    swept = rows(chain, "calibration/tensor.csv")
    assert [(row["estimator"], row["images"]) for row in swept] == list(product(("minmax", "percentile"), ("8", "24")))
    assert float(swept[1]["validation_top1"]) == metrics(chain, "simulated/tensor.json")["validation_top1"]


def test_drift_of_an_equalised_network_is_from_the_equalised_fp32(chain: Workspace, tmp_path: Path) -> None:
    name = "tensor_algorithms"
    workspace = Workspace(tmp_path).write({"range_skew": 1.0, "plan": {"ptq": [name], "start": name}})
    shutil.copytree(chain.folder / "models", tmp_path / "models")
    workspace.run_all(*((stage, "--name", name) for stage in ("ptq", "drift")), ("sensitivity",))
    assert max(float(row["drift"]) for row in rows(workspace, "sensitivity.csv")) < 0.3
    drift = rows(workspace, f"drift/{name}.csv")
    assert max(float(row["drift"]) for row in drift if row["kind"] == "isolated") < 0.3, "other scales would give 1"


def test_channel_ranges_are_of_the_inspected_layers(chain: Workspace) -> None:
    ranges = rows(chain, "channel_ranges.csv")
    assert {row["layer"] for row in ranges} == {"features.14.conv.1.0"}
    assert len(ranges) == 192


def test_histograms_are_of_images_of_all_classes(chain: Workspace) -> None:
    """The packed test images lie in the order of their labels: the first few are all of one class."""
    first = INTEGER_GRID(packed_images().test.images[:4])
    network = read_quantized(chain.folder / "models/quantized/tensor.safetensors").network
    of_one_class = level_histograms(network, ["features.14.conv.1.0"], [first])
    found = pd.read_csv(chain.folder / "metrics/drift/tensor.histograms.csv")
    shares = [
        dict(zip(table.level, table.share, strict=True))
        for table in (part[part.tensor == "activation"] for part in (found, of_one_class))
    ]
    assert shares[0] != pytest.approx(shares[1], abs=1e-6)


@slow
def test_two_runs_write_the_same_bytes(chain: Workspace, tmp_path: Path) -> None:
    again = Workspace(tmp_path / "another" / "folder").write()
    again.run_chain_anew()
    found, expected = again.outputs(), chain.outputs()
    assert found.keys() == expected.keys()
    assert [name for name in found if found[name] != expected[name]] == []


def test_repeated_training_differs_by_its_seed_alone(chain: Workspace, tmp_path: Path) -> None:
    workspace = Workspace(tmp_path).write()
    shutil.copytree(chain.folder / "models", tmp_path / "models")
    workspace.run_all(*(("repeat", "--name", "dw", "--seed", seed) for seed in ("0", "1")))
    own, same, other = (
        read_tensors(tmp_path / "models" / path)[0]["logits"]
        for path in ("logits/dw.safetensors", "logits/repeats/dw-0.safetensors", "logits/repeats/dw-1.safetensors")
    )
    assert torch.allclose(same, own, rtol=0, atol=1e-6), "the simulation is the integer program"
    assert not torch.allclose(other, own, rtol=0, atol=1e-4)


def test_another_seed_writes_other_bytes(chain: Workspace, tmp_path: Path) -> None:
    other = Workspace(tmp_path).write({"seed": 1})
    other.run("finetune_fp32")
    assert other.outputs()["models/fp32.safetensors"] != chain.outputs()["models/fp32.safetensors"]


def test_trained_network_is_taken_as_it_is(chain: Workspace, workspace: Workspace) -> None:
    state, _ = read_tensors(chain.folder / "models/fp32.safetensors")
    file = workspace.folder / "trained.pth"
    torch.save({"epoch": 3, "state_dict": {f"module.{name}": value for name, value in state.items()}}, file)
    changes = {"model": {"trained": "trained.pth"}}
    told = workspace.write(changes).refusal("finetune_fp32")
    assert told.endswith(f"set model.trained_sha256: {sha256(file)}") and workspace.outputs() == {}
    changes["model"]["trained_sha256"] = sha256(file)
    workspace.write(changes).run("finetune_fp32")
    found, _ = read_tensors(workspace.folder / "models/fp32.safetensors")
    assert all(torch.equal(value, state[name]) for name, value in found.items())
    for key in ("validation_top1", "test_top1"):
        assert metrics(workspace, "fp32.json")[key] == metrics(chain, "fp32.json")[key]
    (row,) = rows(workspace, "learning/fp32.csv")
    assert (row["epoch"], row["split"]) == ("0", "validation")


def test_another_normalization_is_quantized_with_the_network(workspace: Workspace) -> None:
    workspace.write({"model": {"normalization": {"mean": [0.5, 0.5, 0.5], "std": [1, 1, 1]}}})
    workspace.run_all(("finetune_fp32",), ("ptq", "--name", "tensor"))
    network = read_quantized(workspace.folder / "models/quantized/tensor.safetensors").network
    assert len(network.normalizations()) == 1 and network.normalization.shift == (127.5,) * 3


@pytest.mark.parametrize(
    ("stage", "section", "names"),
    [
        ("qat", "qat", "full, clf, dw, dwpw, dwpw_asym"),
        ("ptq", "ptq", "tensor, channel"),
        ("convert", "convert", "tensor, channel, full"),
    ],
)
def test_unknown_name_is_refused(stage: str, section: str, names: str, workspace: Workspace) -> None:
    message = workspace.refusal(stage, "--name", "absent")
    assert message.startswith(f"--name absent: no such configuration under {section}; allowed: ") and names in message
    assert workspace.outputs() == {}


def test_bad_parameter_anywhere_is_refused_by_every_stage(workspace: Workspace) -> None:
    workspace.write({"qat": {"dw": {"scope": []}}})
    assert "qat.dw.scope: [] lets nothing learn" in workspace.refusal("finetune_fp32")


@pytest.mark.parametrize(
    ("changes", "key"),
    [
        ({"finetune": {"nesterov": True, "momentum": 0.0}}, "finetune."),
        ({"finetune": {"batch_size": 1000}}, "batch_size: 1000"),
        ({"plan": {"score_images": 37}}, "of 36 training images plan.score_images: 37"),
        ({"drift": {"histogram_images": 13}}, "of 12 test images drift.histogram_images: 13"),
    ],
)
def test_parameters_that_cannot_work_are_refused_before_any_work(
    changes: dict[str, dict[str, object]], key: str, workspace: Workspace
) -> None:
    assert key in workspace.write(changes).refusal("finetune_fp32")
    assert workspace.outputs() == {}


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        (
            {"qat": {"dw": {"scope": ["features.99"]}}},
            "qat.dw.scope: 'features.99' names no layer of MobileNetV2; it has",
        ),
        (
            {"ptq": {"tensor": {"weights": {"bits": {"all": 8, "dense": 4}}}}},
            "ptq.tensor.weights.bits: 'dense' names no",
        ),
        (
            {"drift": {"inspect": ["features.14"]}},
            "drift.inspect: 'features.14' is no convolution; closest: features.14.",
        ),
        (
            {"plan": {"budgets_pct": [50, 0.01]}},
            "plan.budgets_pct: 0.01 % of the parameters holds no layer; smallest possible: ",
        ),
    ],
)
def test_layers_that_the_network_has_not_are_refused_by_the_check(
    changes: dict[str, Any], message: str, workspace: Workspace
) -> None:
    assert workspace.write(changes).refusal("check").startswith(message)


def test_folders_that_the_table_reads_are_there_where_nothing_is_written_into_them(
    workspace: Workspace, checkout: Path
) -> None:
    workspace.write({"calibration_sweep": {"names": []}}).run("check")
    read = {path for path in read_yaml(checkout / "dvc.yaml")["stages"]["table"]["deps"] if path.startswith("metrics/")}
    always = {"metrics/simulated", "metrics/learning", "metrics/drift", "metrics/causes"}
    folders = {path for path in read - always if not Path(path).suffix}
    assert folders and all((workspace.folder / path).is_dir() for path in folders)


def test_cost_of_relu_for_relu6_is_reported(workspace: Workspace) -> None:
    algorithms = ["relu6_as_relu", "equalize"]
    changes = {"model": {"activation": "as_is"}, "range_skew": 0.0, "ptq": {"tensor": {"algorithms": algorithms}}}
    workspace.write(changes)
    workspace.run_all(("finetune_fp32",), *(("ptq", "--name", name) for name in ("tensor", "channel")))
    found = metrics(workspace, "simulated/tensor.json")
    before, after = found["fp32_validation_top1"], found["fp32_relu_validation_top1"]
    assert before == metrics(workspace, "fp32.json")["validation_top1"]
    assert found["fp32_relu6_as_relu_cost"] == pytest.approx(before - after, abs=1e-3)
    assert "fp32_validation_top1" not in metrics(workspace, "simulated/channel.json")


def test_missing_images_are_refused(workspace: Workspace) -> None:
    (workspace.folder / "data/images.safetensors").unlink()
    assert "data/images.safetensors: no packed images" in workspace.refusal("finetune_fp32")


def test_damaged_fp32_is_refused(workspace: Workspace, chain: Workspace) -> None:
    content = chain.outputs()["models/fp32.safetensors"]
    (workspace.folder / "models").mkdir()
    (workspace.folder / "models/fp32.safetensors").write_bytes(content[: len(content) // 2])
    assert "models/fp32.safetensors: not a readable selectq file" in workspace.refusal("ptq", "--name", "tensor")
