"""Which quantizations the calibration sweep tries, and on which images it measures them."""

import runpy
import sys
from itertools import product
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
from small_networks import quantized, scheme, trained
from workspaces import CHECKOUT, Workspace

from selectq.config.configs import PtqConfig
from selectq.data import evaluate
from selectq.data.packed import Split
from selectq.networks.checkpoint import write_fp32
from selectq.ptq import pipeline

SWEEP = {"names": ["channel"], "estimators": ["minmax", "mse"], "images": [8, 24], "evaluation_images": 5}


@pytest.mark.usefixtures("algorithms_put_back")
def test_everything_named_is_quantized_and_measured_on_both_splits(
    workspace: Workspace, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_fp32(workspace.write({"calibration_sweep": SWEEP}).folder / "models/fp32.safetensors", trained())
    tried: list[PtqConfig] = []
    measured: list[int] = []

    def tell(fp32: Any, dataset: Any, config: PtqConfig, seed: int) -> Any:
        tried.append(config)
        return quantized(scheme())

    def measure(network: Any, split: Split, label: str) -> dict[str, float]:
        measured.append(len(split))
        return {"top1": len(measured) / 100}

    monkeypatch.setattr(pipeline, "ptq_pipeline", tell)
    monkeypatch.setattr(evaluate, "evaluate", measure)
    monkeypatch.chdir(workspace.folder)
    monkeypatch.setattr(sys, "argv", ["calibration", "--name", "channel"])
    monkeypatch.syspath_prepend(str(CHECKOUT / "stages"))
    runpy.run_path(str(CHECKOUT / "stages/calibration.py"))["main"]()

    found = pd.read_csv(Path("metrics/calibration/channel.csv"))
    points = list(product(("minmax", "mse"), (8, 24)))
    assert list(found[["estimator", "images"]].itertuples(index=False, name=None)) == points
    assert [(each.calibration.estimator, each.calibration.images) for each in tried] == points
    assert {each.weights.granularity for each in tried} == {"channel"}
    assert measured == [5] * 8
    assert found["validation_top1"].tolist() == [each / 100 for each in range(1, 9, 2)]
    assert found["test_top1"].tolist() == [each / 100 for each in range(2, 9, 2)]
