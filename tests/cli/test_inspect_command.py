"""`selectq inspect`: a real network's program, said in full within 80 columns."""

import csv
import json
from pathlib import Path

import onnx
import pytest
from brightest import CLASSES, Command, write_model
from exported_networks import program_of
from small_networks import mixed_scheme

from selectq.cli.inspect import operator_lines


@pytest.fixture
def printed(network_program: Path, selectq: Command) -> list[str]:
    ended = selectq("inspect", network_program)
    assert (ended.status, ended.err) == (0, "")
    return ended.out.splitlines()


def entries(path: Path) -> list[dict[str, object]]:
    """The manifest's layers."""
    (metadata,) = onnx.load(path).metadata_props
    return json.loads(metadata.value)["layers"]


def test_description(printed: list[str], network_program: Path) -> None:
    described = {line[:15].strip(): line[15:] for line in printed[: printed.index("")]}
    assert printed[0].startswith("file ")
    assert described["format"] == "ONNX"
    assert described["runs in"] == "ONNX Runtime 1.18 or newer (opset 21)"
    assert described["configuration"] == "dwpw_asym"
    assert described["classes"] == f"3: {', '.join(CLASSES)}"
    assert described["input"] == "pixels: uint8 (batch, 3, 16, 16), NCHW, RGB"
    assert described["preprocessing"] == "none: takes pixels as decoded; scaling is part of the program"
    assert described["output"] == "logits: float32 (batch, 3), NC"
    assert described["weights"] == "8 bits, symmetric, one scale per output channel"
    assert described["activations"] == "8 bits, unsigned, one scale per tensor, asymmetric"


def test_widths_of_single_kinds_are_said(selectq: Command) -> None:
    out = selectq("inspect", program_of(mixed_scheme()).path()).out
    described = " ".join(out[out.index("weights ") : out.index("Layers: ")].split())
    assert described.startswith("weights 4 (8: stem, classifier) bits, symmetric, one scale per output channel")
    assert "activations 4 (8: stem, projection, block, pool) bits, unsigned" in described
    (stem,) = (line for line in out.splitlines() if line.startswith("features.0.0 "))
    assert " 8 " in stem


def test_every_layer_has_its_line(printed: list[str], network_program: Path) -> None:
    start = next(number for number, line in enumerate(printed) if line.startswith("layer "))
    lines = [line.split() for line in printed[start + 1 : start + 54]]
    for line, entry in zip(lines, entries(network_program), strict=True):
        assert line[:2] == [entry["name"], entry["kind"]]
        assert line[2] == "x".join(map(str, entry["weight_shape"]))  # type: ignore[call-overload]
        assert line[3:6] == [entry["activation"], "8", str(entry["weight_scales"])]
        if entry["output_scale"] is None:
            assert line[6:] == ["float"]
        else:
            assert float(line[6]) == pytest.approx(entry["output_scale"], rel=1e-3)
            assert line[7] == str(entry["output_zero_point"])
    assert printed[start + 54] == ""


def test_bytes_add_up_to_the_size_of_the_file(printed: list[str], network_program: Path) -> None:
    start = next(number for number, line in enumerate(printed) if line.startswith("Size of the file"))
    total, *parts = [int(line.split(" bytes")[0].split()[-1].replace(",", "")) for line in printed[start : start + 5]]
    assert total == sum(parts) == network_program.stat().st_size
    assert parts[0] > total / 2, "the weights"


def test_operators_of_the_optimised_graph(printed: list[str]) -> None:
    text = " ".join(" ".join(printed[-4:]).split())
    assert (
        "ONNX Runtime runs it as 68 operators, optimised for this machine 68 of them integer: 1 Pad, 1 QGemm," in text
    )
    assert "52 QLinearConv" in text
    assert text.endswith("these stay float: none")


def test_operators_that_stay_float_are_named() -> None:
    lines = operator_lines("ONNX Runtime", {"QLinearConv": 51, "Transpose": 1}, {"Conv": 1, "DequantizeLinear": 2})
    assert lines == [
        "ONNX Runtime runs it as 55 operators, optimised for this machine",
        "  52 of them integer: 51 QLinearConv, 1 Transpose",
        "  these stay float: 1 Conv, 2 DequantizeLinear",
    ]


def test_lines_fit_80_columns(printed: list[str], here: Path, selectq: Command) -> None:
    many = write_model(here / "many.onnx", [f"class {number}" for number in range(100)])
    for line in (*printed[1:], *selectq("inspect", many).out.splitlines()[1:]):
        assert len(line) <= 80, line


def test_layers_as_csv(network_program: Path, here: Path, selectq: Command) -> None:
    assert selectq("inspect", network_program, "--layers-csv", "tables/layers.csv").status == 0
    rows = list(csv.DictReader(Path("tables/layers.csv").read_text().splitlines()))
    for row, entry in zip(rows, entries(network_program), strict=True):
        assert row["layer"] == entry["name"]
        assert [int(side) for side in row["weight_shape"].split("x")] == entry["weight_shape"]
        scale, zero_point = entry["output_scale"], entry["output_zero_point"]
        assert (row["output_scale"], row["output_zero_point"]) == (
            "" if scale is None else repr(scale),
            "" if zero_point is None else str(zero_point),
        )


@pytest.mark.parametrize("path", ["folder", "file/below.csv"])
def test_layers_csv_that_cannot_be_written_is_refused(path: str, model: Path, selectq: Command) -> None:
    Path("folder").mkdir()
    Path("file").touch()
    message = f"--layers-csv: {path} cannot be written: it is a folder, or inside of a file"
    assert selectq.refusal("inspect", model, "--layers-csv", path) == message
