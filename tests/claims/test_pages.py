"""The committed pages are what the committed results say, in the shape that readers are promised."""

from pathlib import Path

import pandas as pd
import pytest

from selectq.claims.catalogue import catalogue
from selectq.claims.hypotheses import HYPOTHESES, Judged, ask, judge_claims
from selectq.claims.measured import Runs
from selectq.claims.page import inconsistencies
from selectq.cli.claims import written_pages

CLAIMS = catalogue().claims


@pytest.fixture(scope="module")
def judged(runs: Runs) -> Judged:
    return judge_claims(runs)


@pytest.fixture(scope="module")
def pages(checkout: Path, runs: Runs) -> dict[str, str]:
    return written_pages(checkout, runs)


@pytest.mark.parametrize("name", ["results/claims.md", "docs/networks.md", "docs/results.md", "README.md"])
def test_committed_page_is_what_the_committed_results_say(checkout: Path, pages: dict[str, str], name: str) -> None:
    assert (checkout / name).read_text(encoding="utf-8") == pages[name], "run `selectq claims`"


def test_claims_stand_in_one_line_each_and_no_line_is_wide(pages: dict[str, str]) -> None:
    lines = pages["results/claims.md"].splitlines()
    assert max(map(len, lines)) <= 160
    for claim in CLAIMS.values():
        groups = [title for title, settings in catalogue().groups.items() if set(settings) & claim.settings]
        assert sum(line.startswith("| ") and f"| {claim.text} " in line for line in lines) == len(groups)


def test_catalogue_names_nothing_that_is_not_there() -> None:
    known = set(catalogue().settings)
    grouped = [name for group in catalogue().groups.values() for name in group]
    assert sorted(grouped) == sorted(known), "every setting is in one group"
    named = {name for one in catalogue().situations.values() for name in one}
    assert named | set().union(*(claim.settings for claim in CLAIMS.values())) <= known
    assert {claim.test[0] for claim in CLAIMS.values()} == set(HYPOTHESES)


def test_verdicts_of_one_row_are_corrected_for_their_number(runs: Runs, judged: Judged) -> None:
    """p = 0.04, the smallest of the four tests of that row."""
    alone = ask(CLAIMS["drift_grows"], runs["archive/pretrained_w4a8"])
    assert alone.verdict == "holds" and 0.03 < alone.p < 0.05
    together = judged["drift_grows"]["archive/pretrained_w4a8"]
    assert together.verdict == "unclear" and together.p == pytest.approx(4 * alone.p)


def test_own_error_must_tell_more_than_the_number_of_parameters(judged: Judged) -> None:
    """The rank correlation of 0.83 is of sets that are larger where their error is."""
    answer = judged["error_tells"]["archive/controls"]
    assert answer.verdict == "unclear" and "+0.83" in " ".join(answer.ours)


def test_figures_of_the_paper_are_counted_on_the_network(runs: Runs) -> None:
    cells = inconsistencies(runs["archive/controls"])
    counted = " ".join(cells.values())
    assert all(share in counted for share in ("43.64 %", "46.51 %", "3.44 %", "0.57 %"))
    assert cells["-2.46 to FP32, asymmetric configuration (Table 2)"].endswith("2.24")


def test_retrained_networks_are_compared_with_full_retraining_in_every_study(runs: Runs) -> None:
    for run in runs.values():
        retrained = {name for name in run.configurations() if run.candidate(name).retrained_pct}
        full = {run.name(name) for name in retrained if run.scope(name) == ["all"]}
        trained = set(map(run.name, retrained)) - full
        compared = set(run.paired.loc[run.paired["reference"].isin(full), "config"])
        assert compared == (trained if full else set()), run.setting.folder


def test_gap_to_fp32_is_that_of_the_tables(runs: Runs) -> None:
    skewed = runs["skewed"]
    row = skewed.table2.set_index("config").loc["channel"]
    assert skewed.gap("channel").points == pytest.approx(row["int8_top1"] - row["fp32_top1"], abs=1e-3)
    methods = skewed.methods.set_index("config").loc["dwpw_asym"]
    gap = skewed.gap("dwpw_asym")
    assert (gap.points, gap.seeds) == (methods["gap_points"], 3)
    assert gap.low < methods["ci_low"] and gap.high > methods["ci_high"], "the choice of the images is in it"


def cells(line: str) -> list[str]:
    return [cell.strip() for cell in line.strip("|").split("|")]


def test_counts_in_readme_are_those_of_the_table_of_claims(pages: dict[str, str]) -> None:
    readme = " ".join(pages["README.md"].split())
    for title, before in (
        ("8 bits", "no training) keep up with FP32 in"),
        ("4-bit weights", "PTQ algorithms keep up with FP32 in"),
    ):
        table = pages["results/claims.md"].partition(f"## {title}\n")[2]
        row = next(line for line in table.splitlines() if f"| {CLAIMS['ptq_keeps_up'].text} " in line)
        verdicts = [cell for cell in cells(row)[3:] if cell != "–"]
        assert f"{before} {verdicts.count('holds')} of {len(verdicts)} settings" in readme


def test_rows_of_readme_are_rows_of_the_results_and_their_files(checkout: Path, pages: dict[str, str]) -> None:
    of_readme, of_results = (
        [cells(line) for line in pages[name].splitlines() if line.startswith(("| 8 bits", "| 4-bit"))]
        for name in ("README.md", "docs/results.md")
    )
    assert of_readme and all(row in of_results for row in of_readme)
    skewed = pd.read_csv(checkout / "results/skewed/table2.csv").set_index("config")
    row = next(row for row in of_readme if "channel ranges skewed" in row[0])
    assert float(row[1]) == skewed.loc["channel", "gap_points"]
    gap, low, high = skewed.loc["channel_algorithms", ["gap_points", "ci_low", "ci_high"]]
    assert row[3] == f"{gap:+.2f} [{low:+.2f}, {high:+.2f}]"
