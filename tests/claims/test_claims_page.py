"""The page as the command writes it, from the committed results."""

import re
from pathlib import Path

from selectq.claims.inconsistencies import inconsistencies_sheet
from selectq.claims.page import CLASSES, claims_page
from selectq.claims.paper_claims import CLAIMS
from selectq.claims.regimes import PLAIN, REPAIRED, read_measured
from selectq.models.mobilenetv2 import build_mobilenetv2
from selectq.params.load import load_params


def test_committed_page_is_what_the_committed_results_say(checkout: Path) -> None:
    params = load_params(checkout / "params.yaml")
    written = (checkout / "results" / "claims.md").read_text(encoding="utf-8")
    assert written == claims_page(checkout, params), "run `selectq claims`"


def test_every_claim_is_asked_in_every_regime_of_it(checkout: Path) -> None:
    page = (checkout / "results" / "claims.md").read_text(encoding="utf-8")
    rows = [line for line in page.split("## ")[0].splitlines() if line.startswith("| ")][2:]
    assert len(rows) == sum(len(claim.regimes) for claim in CLAIMS)
    for row in rows:
        verdict = row.split(" | ")[-1].strip(" |*")
        assert verdict in ("holds", "fails", "unclear", "–")
        assert (verdict == "–") == ("not run" in row)


def test_figures_of_the_paper_are_counted_on_the_network(checkout: Path) -> None:
    params = load_params(checkout / "params.yaml")
    cells = dict(inconsistencies_sheet(build_mobilenetv2(params.model, CLASSES)).rows)
    shares = {share for text in cells.values() for share in re.findall(r"parameters, (\d+\.\d\d) %", text)}
    assert {"43.64", "46.51", "3.44", "0.57"} <= shares
    assert cells["-2.46 to FP32 for the asymmetric configuration (Table 2)"].endswith("2.24")


def test_layers_of_a_configuration_are_its_scopes(checkout: Path) -> None:
    network = build_mobilenetv2(load_params(checkout / "params.yaml").model, CLASSES)
    measured = read_measured(checkout, PLAIN, 0.5, network)
    assert measured and measured.layers["clf"] == {"classifier.1"}
    named = set(measured.causes["layer"][measured.causes["layer_kind"].isin(["depthwise", "classifier"])])
    assert measured.layers["dw"] == named


def test_layers_of_a_configuration_are_its_scopes_behind_repairs_too(checkout: Path) -> None:
    network = build_mobilenetv2(load_params(checkout / "params.yaml").model, CLASSES)
    plain, repaired = (read_measured(checkout, regime, 0.5, network) for regime in (PLAIN, REPAIRED))
    assert plain and repaired and repaired.layers["dwpw_asym"] == plain.layers["dwpw_asym"]
