"""The benchmark of PTQ methods: what it asks of the pipeline and of peers, what a row says, and what the docs show."""

import math
import re
from pathlib import Path
from typing import Any

import bench_ptq
import pandas as pd
import pytest
import torch
from bench_ptq import FP32_SIDE, METHODS, NETWORKS, RECONSTRUCTIONS, SETTINGS
from known_networks import build
from ptq_peers import PEERS, Task
from ptq_picture import draw
from small_networks import coloured_dataset, trained

from selectq.config.load import overlay, read_yaml, validate
from selectq.errors import UserError
from selectq.graph.capture import capture
from selectq.ptq.pipeline import ptq_pipeline
from selectq.quantization.quantized import Scheme
from selectq.quantization.scale_assignment import quantizer_of
from selectq.quantization.scopes import require_kinds

W4A8, NARROW, _ = SETTINGS


@pytest.mark.parametrize("network", NETWORKS, ids=lambda network: network.name)
def test_parameters_are_valid_but_for_the_checkpoint(network: bench_ptq.Network) -> None:
    document = overlay(read_yaml(bench_ptq.CHECKOUT / "params.yaml"), network.changes)
    assert validate(document, network.name).model.is_trained is False


@pytest.mark.parametrize("name", ["mobilenet_v2", "mobilenet_v3_small"])
def test_only_what_a_layer_but_the_last_reads_gets_fewer_bits(name: str) -> None:
    graph = capture(build(name))
    for setting in SETTINGS:
        require_kinds(graph, Scheme(setting.weights, setting.activations(graph)))
    bits = NARROW.activations(graph).bits
    assert isinstance(bits, dict) and set(bits.values()) == {4, 8} and bits["all"] == 8
    kinds = {graph[module].kind for module in bits if module != "all"}
    assert {"expansion", "depthwise"} <= kinds and not kinds & {"stem", "projection", "block", "pool", "classifier"}
    if name == "mobilenet_v3_small":
        assert "lookup" in kinds, "what a convolution reads"
        swished = {node.inputs[0] for node in graph.nodes if node.kind == "lookup"}
        assert not swished & bits.keys(), "what only a function reads"


def test_every_method_is_tried_where_nearest_rounding_loses() -> None:
    tried = {side[:3] for side in bench_ptq.sides(trained(), coloured_dataset(), Path())}
    for setting in SETTINGS:
        methods = {method for name, tool, method in tried if (name, tool) == (setting.name, "selectq")}
        assert methods == METHODS.keys() - (RECONSTRUCTIONS if setting.goal is None else ())
        assert {(setting.name, bench_ptq.tool_name(package), method) for package, method in PEERS} <= tried
    assert set(RECONSTRUCTIONS) < set(METHODS)


def test_rows_are_written_as_they_are_measured_and_not_measured_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    asked = []

    def measure(method: str, top1: float) -> bench_ptq.Measure:
        return lambda: asked.append(method) or (top1, 1.25)  # type: ignore[func-returns-value]  # tells and answers

    def refuse() -> tuple[float, float]:
        raise UserError("No module named 'peer'")

    sides = [
        (*FP32_SIDE, measure("none", 70.004)),
        ("W4A8", "selectq", "nearest", measure("nearest", 65)),
        ("W4A8", "peer", "adaround", refuse),
        ("W4A8", "selectq", "adaptive_rounding", measure("adaptive_rounding", 69.69)),
        ("W4A8", "selectq", "reconstruct_blocks", measure("reconstruct_blocks", 69.7)),
    ]
    monkeypatch.setattr(bench_ptq, "sides", lambda *given: sides)
    path = tmp_path / "ptq.csv"
    for _ in range(2):
        bench_ptq.measure("some", trained(), coloured_dataset(), tmp_path, path)
    assert asked == ["none", "nearest", "adaptive_rounding", "reconstruct_blocks"]
    assert "left out: some, W4A8, peer, adaround: No module named 'peer'" in capsys.readouterr().err
    table = pd.read_csv(path)
    assert list(table) == bench_ptq.COLUMNS
    assert list(table["gap_points"]) == [0, -5, -0.31, -0.3] and list(table["seconds"]) == [1.2] * 4
    assert math.isnan(table["goal"][1]) and list(table["met"][2:]) == ["no", "yes"]
    draw(table, "a machine", tmp_path / "ptq.png")
    assert (tmp_path / "ptq.png").read_bytes().startswith(b"\x89PNG")


def docs_row(row: Any) -> str:
    """A row of the table as docs/benchmarks.md shows it."""
    missed = {"no": " (missed)"}.get(row.met, "")
    gap, seconds = ("", "") if row.setting == "FP32" else (f"{row.gap_points:.2f}{missed}", f"{row.seconds:.0f}")
    cells = (row.network, row.setting, row.tool, row.method, f"{row.top1:.2f}", gap.replace("-", "−"), seconds)
    return f"| {' | '.join(cells)} |"


def test_docs_show_what_was_measured() -> None:
    (path,) = (bench_ptq.CHECKOUT / "benchmarks/results").glob("ptq_*.csv")
    shown = (bench_ptq.CHECKOUT / "docs/benchmarks.md").read_text(encoding="utf-8")
    table = pd.read_csv(path)
    names = "|".join(table["network"].unique())
    expected = [docs_row(row) for row in table.itertuples()]
    assert re.findall(rf"^\| (?:{names}) \| .*", shown[shown.index(path.name) :], re.MULTILINE) == expected
    assert path.with_suffix(".png").is_file()


def test_peers_get_the_bits_that_our_pipeline_has() -> None:
    fp32 = trained("relu")
    activations = NARROW.activations(fp32.graph)
    task = Task(fp32.model, fp32.graph, [], NARROW.weights, activations)
    config = bench_ptq.ptq_config(NARROW, fp32.graph, ())
    network = ptq_pipeline(fp32, coloured_dataset(train=1100), config, seed=0)
    assert task.weight_bits == {layer.name: layer.weight_quantizer.scheme.bits for layer in network.layers()}
    for layer in network.layers():
        if layer.stored:
            assert task.activation_bits[layer.name] == quantizer_of(layer).scheme.bits, layer.name
    assert task.activation_bits["features.2.conv.0.2"] == 4, "a ReLU shares the bits of its convolution"
    assert task.activation_bits["features.0.2"] == 8
    assert task.is_expressible()


def test_peers_are_not_asked_for_fewer_bits_of_a_function_alone() -> None:
    model = build("mobilenet_v3_small")
    graph = capture(model)
    for setting, expressible in ((W4A8, True), (NARROW, False)):
        task = Task(model, graph, [], setting.weights, setting.activations(graph))
        assert task.is_expressible() is expressible


def test_a_peer_that_is_not_installed_is_left_out() -> None:
    def missing(task: Task) -> torch.nn.Module:
        raise ModuleNotFoundError("No module named 'peer'")

    with pytest.raises(UserError, match="No module named 'peer'"):
        bench_ptq.quantized_by_peer("peer", missing, trained(), coloured_dataset(train=1100), W4A8)
