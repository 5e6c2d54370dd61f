"""The page of networks: what was measured, and what the graph knows, from made-up tables."""

from pathlib import Path
from typing import get_args

import pytest

from selectq.claims.networks_page import networks_page
from selectq.errors import UserError
from selectq.graph.nodes import Operation

MEASURED = """\
network,parameters,fp32_mb,int8_mb,fp32_top1,ptq_top1,ptq_algorithms_top1,float_nodes,flipped_pct,latency_ratio,qat_ratio,epochs,qat_batch
mobilenet_v3_small,1528106,6.18,1.75,97.11,96.44,96.89,36,0.0,1.02,,15,64
resnet18,11181642,44.75,11.29,98.67,98.67,98.67,0,0.2,1.3,2.5,15,64
"""
DRIFT = """\
network,kind,nodes,isolated,accumulated,gain
mobilenet_v3_small,depthwise,11,0.02,0.05,1.4
mobilenet_v3_small,squeeze_excite,18,0.004,0.03,0.9
mobilenet_v3_small,product,9,0.003,0.05,0.8
resnet18,dense,17,0.01,0.04,1.1
resnet18,pool,1,,0.03,0.75
other,dense,1,0.5,0.5,1.5
"""


@pytest.fixture
def checkout(tmp_path: Path) -> Path:
    (tmp_path / "results").mkdir()
    (tmp_path / "results/networks.csv").write_text(MEASURED)
    (tmp_path / "results/networks_drift.csv").write_text(DRIFT)
    return tmp_path


def rows(page: str, first: str) -> list[list[str]]:
    """The cells of the table rows that begin with a word."""
    lines = [line for line in page.splitlines() if line.startswith(f"| {first} ")]
    return [[cell.strip() for cell in line.strip("|").split("|")] for line in lines]


def test_every_network_has_its_row_and_what_is_not_measured_is_left_open(checkout: Path) -> None:
    (small, *_), (resnet, *_) = (rows(networks_page(checkout), name) for name in ("`mobilenet_v3_small`", "`resnet18`"))
    assert small[1:] == ["1.53 M", "6.18 MB", "1.75 MB", "97.11 %", "96.44 %", "96.89 %", "36", "0 %", "1.02", "–"]
    assert resnet[-3:] == ["0.2 %", "1.30", "2.50"]


def test_network_that_has_not_learned_is_named(checkout: Path) -> None:
    assert "not learned" not in networks_page(checkout)
    path = checkout / "results/networks.csv"
    path.write_text(path.read_text().replace("98.67,98.67,98.67", "10.0,10.0,10.0"))
    assert "- **`resnet18`** has not learned (10.00 %): its accuracies say nothing." in networks_page(checkout)


def test_drift_is_of_the_networks_that_are_compared(checkout: Path) -> None:
    page = networks_page(checkout)
    assert rows(page, "`resnet18`")[1:] == [
        ["`resnet18`", "dense", "17", "1.00 %", "4.00 %", "1.10"],
        ["`resnet18`", "pool", "1", "–", "3.00 %", "0.75"],
    ]
    assert "other" not in page.partition("## What the graph knows")[0].partition("## Which layers")[2]


@pytest.mark.parametrize(("gain", "words"), [("0.8", "softens the error"), ("1.2", "adds to the error")])
def test_finding_follows_the_gain_of_the_products(gain: str, words: str, checkout: Path) -> None:
    path = checkout / "results/networks_drift.csv"
    path.write_text(path.read_text().replace("product,9,0.003,0.05,0.8", f"product,9,0.003,0.05,{gain}"))
    text = " ".join(networks_page(checkout).split())
    assert "most error starts in depthwise (2.00 %), squeeze_excite (0.40 %), product (0.30 %)" in text
    assert f"Squeeze-excite {words}: after its product the drift is {float(gain):.2f} times" in text
    assert "its own layers add 0.40 %" in text


def test_every_operation_of_the_graph_is_described(checkout: Path) -> None:
    page = networks_page(checkout)
    assert all(f"- `{operation.__name__}`: " in page for operation in get_args(Operation))
    assert "15 epochs" in page and "batch 64" in page and "{" not in page


def test_table_that_is_missing(checkout: Path) -> None:
    (checkout / "results/networks_drift.csv").unlink()
    with pytest.raises(UserError, match=r"results/networks_drift\.csv: cannot be read"):
        networks_page(checkout)
