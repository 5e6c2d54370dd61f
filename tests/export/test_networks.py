"""Programs of many networks: integer operators alone, and the same integers in every backend."""

from pathlib import Path
from typing import get_args

import pytest
from exported_networks import NAMES, Exported, exported, images
from known_networks import OTHERS
from small_networks import scheme
from torch import Tensor, nn

from selectq.errors import UserError
from selectq.export.formats import write_program
from selectq.export.onnx import float_operators, operator_counts
from selectq.graph.nodes import Normalize, Operation
from selectq.parity.compare import all_logits, compare_layers, compare_pairs
from selectq.quantization.quantized import Scheme

slow = pytest.mark.slow
FAST = ("custom", "mobilenet_v3_small", "shufflenet_v2_x1_0", "squeezenet1_1")
"""Together they have every kind of node."""

CASES = [pytest.param(name, scheme(), id=name, marks=() if name in FAST else slow) for name in NAMES]
CASES += [
    pytest.param("custom", scheme(granularity="tensor", symmetric=True), id="custom-symmetric"),
    pytest.param("custom", scheme(symmetric="unsigned"), id="custom-unsigned"),
    pytest.param("shufflenet_v2_x1_0", scheme(symmetric="unsigned"), id="shufflenet-unsigned", marks=slow),
    pytest.param("custom", scheme(4, bits=4), id="custom-w4a4"),
    pytest.param("mobilenet_v3_small", scheme(4, bits=4, symmetric=True), id="mobilenet_v3_small-w4a4", marks=slow),
]


def assert_same_integers(program: Exported, ending: str, backends: int) -> None:
    found, pixels = program.backends(ending), images(40, seed=2).numpy()
    logits = {backend.name: all_logits(backend, pixels, "some") for backend in found}
    pairs = compare_pairs("some", logits, logits["reference"].argmax(1))
    assert len(logits) == backends and pairs["flipped_pct"].max() == 0, pairs.to_string()
    layers = compare_layers("some", program.reference, found, pixels[:10])
    shown = sum(backend.stored is not None for backend in found)
    assert shown >= 2 and len(layers) == shown * len(list(program.simulation.sites()))
    assert layers["steps"].max() == 0, layers[layers["steps"] > 0].to_string()


@pytest.mark.parametrize(("name", "chosen"), CASES)
def test_onnx_is_integer_and_exact(name: str, chosen: Scheme) -> None:
    program = exported(name, chosen)
    assert_same_integers(program, "onnx", backends=4)
    gates, stored_logits = program.lookups("hard_swish"), program.simulation.classifier() is None
    expected = {"DequantizeLinear": gates + stored_logits, "QuantizeLinear": gates}
    counts = operator_counts(program.path())
    assert float_operators(counts) == {kind: count for kind, count in expected.items() if count}
    assert sum(counts[kind] for kind in ("QLinearConv", "QGemm") if kind in counts) == len(program.manifest.layers)


@pytest.mark.parametrize(
    "name", ["custom", pytest.param("shufflenet_v2_x1_0", marks=slow), pytest.param("squeezenet1_1", marks=slow)]
)
def test_pt2_is_exact(name: str) -> None:
    assert_same_integers(exported(name), "pt2", backends=3)


@slow  # ExecuTorch takes a minute
def test_pte_is_exact() -> None:
    """With concatenations, maxima and logits that are stored."""
    assert_same_integers(exported("squeezenet1_1"), "pte", backends=3)


def test_every_kind_of_node_is_tested_at_once() -> None:
    """But a normalization that is no integer grid: see test_normalization."""
    kinds = {type(node.operation) for name in FAST for node in exported(name).simulation.graph.nodes}
    assert kinds == {*get_args(Operation)} - {Normalize}


@pytest.mark.parametrize(
    ("name", "named"),
    [("mobilenet_v3_small", r"features\.0\.2 \(hard_swish\)"), ("shufflenet_v2_x1_0", r"stage2\.0\.?\d* \(\w+\)")],
)
def test_node_that_xnnpack_has_not_is_refused(name: str, named: str, tmp_path: Path) -> None:
    program = exported(name)
    with pytest.raises(UserError, match=rf"^formats: pte: {named}: .* Leave pte out$"):
        write_program(tmp_path / "some.pte", program.reference, program.manifest)


class Shared(nn.Module):
    """A hard-swish whose input a sum reads, too: 3 is no whole number of steps, though in its range."""

    def __init__(self, classes: int) -> None:
        super().__init__()
        self.stem, self.act = nn.Conv2d(3, 8, 3, 2), nn.Hardswish()
        self.pool, self.classifier = nn.AdaptiveAvgPool2d(1), nn.Linear(8, classes)
        nn.init.normal_(self.stem.weight)

    def forward(self, x: Tensor) -> Tensor:
        x = self.stem(x)
        logits: Tensor = self.classifier(self.pool(self.act(x) + x).flatten(1))
        return logits


def test_hard_swish_on_what_others_read_has_a_gate_in_float_and_is_exact(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(OTHERS, "shared", Shared)
    assert_same_integers(exported("shared"), "onnx", backends=4)
    found = float_operators(operator_counts(exported("shared").path()))
    assert found == {"DequantizeLinear": 1, "HardSigmoid": 1, "QuantizeLinear": 1}
