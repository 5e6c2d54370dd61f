"""`selectq search`: stages up to the retraining run, and the validation accuracies are kept."""

import json
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
import yaml
from small_checkout import REAL, write_checkout

from selectq.config.load import read_yaml, validate
from selectq.errors import UserError
from selectq.files import write_json
from selectq.search import run_search, validation_table
from selectq.statistics.schemas import VALIDATION

PIPELINE = """
stages:
  finetune_fp32:
    cmd: >-
      mkdir -p metrics && echo '{"validation_top1": 90.5}' > metrics/fp32.json
    outs: [metrics/fp32.json]
  qat:
    cmd: >-
      mkdir -p metrics/simulated && echo '{"validation_top1": 91.25}' > metrics/simulated/dw.json
    deps: [metrics/fp32.json]
    outs: [metrics/simulated/dw.json]
  ptq:
    cmd: >-
      mkdir -p metrics/simulated && echo '{"validation_top1": 88}' > metrics/simulated/tensor.json
    outs: [metrics/simulated/tensor.json]
  table:
    cmd: "false"
    deps: [metrics/simulated/dw.json]
"""


@pytest.fixture
def parameters() -> dict[str, Any]:
    """The committed ones with two configurations."""
    document = read_yaml(REAL / "params.yaml")
    document["ptq"] = {"tensor": document["ptq"]["tensor"]}
    document["qat"] = {"dw": document["qat"]["dw"]}
    document["convert"] = ["tensor", "dw"]
    document["plan"] |= {"ptq": ["tensor"], "start": "tensor"}
    document["statistics"]["contrasts"] = ["dw - tensor"]
    document["calibration_sweep"]["names"] = ["tensor"]
    document["ship"] = []
    document["repeat"] = {"names": [], "seeds": []}
    plain: dict[str, Any] = json.loads(json.dumps(document))
    return plain


@pytest.fixture
def checkout(tmp_path: Path, parameters: dict[str, Any], monkeypatch: pytest.MonkeyPatch) -> Path:
    """A small checkout, which is the current folder."""
    root = tmp_path / "checkout"
    files = {
        "dvc.yaml": PIPELINE,
        "params.yaml": yaml.safe_dump(parameters, sort_keys=False),
        "stages/none.py": "",
        "profiles/rates.yaml": "qat: {dw: {lr: 0.25}}\n",
    }
    write_checkout(root, files)
    monkeypatch.chdir(root)
    monkeypatch.setenv("DVC_NO_ANALYTICS", "1")
    return Path()


def test_stages_run_up_to_the_retraining(checkout: Path, capfd: pytest.CaptureFixture[str]) -> None:
    run_search(checkout, "rates")
    out = capfd.readouterr().out
    assert "Running stage 'qat'" in out and "Running stage 'ptq'" in out and "'table'" not in out
    assert out.endswith("kept: results/rates/validation.csv\n")
    kept = pd.read_csv("results/rates/validation.csv").set_index("config")
    assert kept["validation_top1"].to_dict() == {"fp32": 90.5, "tensor": 88.0, "dw": 91.25}
    assert kept.loc["dw", ["scope", "lr"]].to_list() == ["depthwise + classifier", 0.25]


def test_bits_of_single_kinds_are_named(tmp_path: Path, parameters: dict[str, Any]) -> None:
    parameters["qat"]["dw"]["weights"]["bits"] = {"all": 4, "stem": 8}
    for name, top1 in {"fp32": 90.0, "simulated/tensor": 80.0, "simulated/dw": 85.0}.items():
        write_json(tmp_path / "metrics" / f"{name}.json", {"validation_top1": top1})
    table = validation_table(validate(parameters, "p"), tmp_path).set_index("config")
    assert table["weight_bits"].fillna("").to_dict() == {"fp32": "", "tensor": "8", "dw": "4 (8: stem)"}


def test_missing_metrics(tmp_path: Path, parameters: dict[str, Any]) -> None:
    write_json(tmp_path / "metrics" / "fp32.json", {"validation_top1": 90.0})
    with pytest.raises(UserError, match=r"simulated/tensor\.json"):
        validation_table(validate(parameters, "made up"), tmp_path)


def test_columns_without_a_retraining(tmp_path: Path, parameters: dict[str, Any]) -> None:
    for name in ("fp32", "simulated/tensor"):
        write_json(tmp_path / "metrics" / f"{name}.json", {"validation_top1": 90.0})
    none = {**parameters, "qat": {}, "convert": ["tensor"]}
    none["statistics"] = {**read_yaml(REAL / "params.yaml")["statistics"], "contrasts": []}
    none["calibration_sweep"] = {**read_yaml(REAL / "params.yaml")["calibration_sweep"], "names": []}
    table = validation_table(validate(none, "made up"), tmp_path)
    assert list(table.columns) == list(VALIDATION.columns) and list(table["config"]) == ["fp32", "tensor"]
