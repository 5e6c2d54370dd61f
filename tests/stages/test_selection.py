"""Test images are for measuring: whatever is trained, calibrated or chosen comes out the same without them.

The stages run on three data sets: one; the same with other test images; and the same with other validation images, on
which nothing is trained or calibrated, but by which is chosen.
"""

import dataclasses
import io
import json
import shutil
from pathlib import Path

import pandas as pd
import pytest
import torch
from small_networks import coloured_noise
from workspaces import Workspace, packed_images

from selectq.data.packed import Dataset, Split, write_dataset
from selectq.files import sha256

ALGORITHMS = ["zero_dead_channels", "equalize", "reestimate_batchnorm", "correct_bias"]
OWN = Path(__file__).with_name("own_network.py")
CHANGES = {
    "model": {"network": "own_network.py:small", "network_sha256": sha256(OWN)},
    "ptq": {"channel": {"algorithms": ALGORITHMS}},
    "calibration_sweep": {"names": ["channel"], "images": [24], "estimators": ["minmax"]},
    "statistics": {"confidence": 0.9},
    "plan": {"ptq": ["channel"], "start": "channel", "max_loss_points": 26.0, "budgets_pct": [100], "epochs": 1},
}
PLANNED = {"models/plan.json", "models/quantized/auto.safetensors"}
FP32, CHOSEN_BY, PLAN = "metrics/fp32.json", "metrics/calibration/channel.csv", "results/plan.json"


def others(split: Split, seed: int) -> Split:
    """As many images, all of one class: even a network that answers at random is right about others than before."""
    return Split(coloured_noise(len(split), seed).images, torch.zeros_like(split.labels))


def outputs(folder: Path, dataset: Dataset) -> dict[str, bytes]:
    """What the stages write that train, calibrate or choose."""
    workspace = Workspace(folder).write(CHANGES)
    shutil.copy(OWN, folder)
    write_dataset(folder / "data/images.safetensors", dataset)
    workspace.run_all(
        ("finetune_fp32",),
        *((stage, "--name", "channel") for stage in ("ptq", "calibration")),
        *(("qat", "--name", name) for name in ("dw", "clf")),
        *((stage,) for stage in ("sensitivity", "plan", "auto")),
    )
    return {**workspace.outputs(), PLAN: (folder / PLAN).read_bytes()}


@pytest.fixture(scope="module")
def plain(tmp_path_factory: pytest.TempPathFactory) -> dict[str, bytes]:
    return outputs(tmp_path_factory.mktemp("plain"), packed_images())


def without(table: bytes, column: str) -> pd.DataFrame:
    return pd.read_csv(io.BytesIO(table)).drop(columns=column)


def test_other_test_images_change_nothing_but_what_is_measured_on_them(plain: dict[str, bytes], tmp_path: Path) -> None:
    dataset = packed_images()
    found = outputs(tmp_path, dataclasses.replace(dataset, test=others(dataset.test, seed=7)))
    changed = {name for name in plain if found[name] != plain[name]}
    assert changed == {"models/logits/fp32.safetensors", FP32, CHOSEN_BY}
    before, after = json.loads(plain[FP32]), json.loads(found[FP32])
    assert {key for key in before if before[key] != after[key]} == {"test_top1"}
    pd.testing.assert_frame_equal(without(plain[CHOSEN_BY], "test_top1"), without(found[CHOSEN_BY], "test_top1"))


def test_other_validation_images_change_no_network(plain: dict[str, bytes], tmp_path: Path) -> None:
    dataset = packed_images()
    found = outputs(tmp_path, dataclasses.replace(dataset, validation=others(dataset.validation, seed=7)))
    networks = {name for name in plain if name.startswith("models/")} - PLANNED
    assert [name for name in networks if found[name] != plain[name]] == []
    for name in (FP32, *(f"metrics/simulated/{each}.json" for each in ("channel", "dw", "clf"))):
        before, after = json.loads(plain[name]), json.loads(found[name])
        assert {key for key in before if before[key] != after[key]} == {"validation_top1"}, name
    column = "validation_top1"
    pd.testing.assert_frame_equal(without(plain[CHOSEN_BY], column), without(found[CHOSEN_BY], column))
