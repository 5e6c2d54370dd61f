"""The benchmark of PTQ methods: what it asks of the pipeline, and what a row says."""

import math
from pathlib import Path

import bench_ptq
import pandas as pd
import pytest
from bench_ptq import METHODS, NETWORKS, RECONSTRUCTIONS, SETTINGS
from small_networks import coloured_dataset, trained

from selectq.config.configs import PtqConfig
from selectq.config.load import overlay, read_yaml, validate


@pytest.mark.parametrize("network", NETWORKS, ids=lambda network: network.name)
def test_parameters_are_valid_but_for_the_checkpoint(network: bench_ptq.Network) -> None:
    document = overlay(read_yaml(bench_ptq.CHECKOUT / "params.yaml"), network.changes)
    assert validate(document, network.name).model.is_trained is False


def test_every_method_is_tried_in_every_setting() -> None:
    for setting in SETTINGS:
        for algorithms in METHODS.values():
            assert isinstance(bench_ptq.ptq_config(setting, algorithms), PtqConfig)
    assert set(RECONSTRUCTIONS) < set(METHODS)


def test_rows_are_written_as_they_are_measured_and_not_measured_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked = []

    def measure(method: str, top1: float) -> bench_ptq.Measure:
        return lambda: asked.append(method) or (top1, 1.25)  # type: ignore[func-returns-value]  # tells and answers

    found = bench_ptq.evaluate(trained().model, coloured_dataset().test, "FP32")["top1"]
    sides = [
        (SETTINGS[1], "selectq", "nearest", measure("nearest", found - 5)),
        (SETTINGS[1], "selectq", "adaptive_rounding", measure("adaptive_rounding", found - 0.31)),
        (SETTINGS[1], "selectq", "reconstruct_blocks", measure("reconstruct_blocks", found - 0.3)),
    ]
    monkeypatch.setattr(bench_ptq, "sides", lambda *given: sides)
    path = tmp_path / "ptq.csv"
    for _ in range(2):
        bench_ptq.measure("some", trained(), coloured_dataset(), tmp_path, path)
    assert asked == ["nearest", "adaptive_rounding", "reconstruct_blocks"]
    table = pd.read_csv(path)
    assert list(table) == bench_ptq.COLUMNS
    assert list(table["gap_points"]) == [-5, -0.31, -0.3] and list(table["seconds"]) == [1.2, 1.2, 1.2]
    assert math.isnan(table["goal"][0]) and list(table["met"][1:]) == ["no", "yes"]
