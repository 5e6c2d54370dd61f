"""`docs/results.md`: the text of `results.md` beside this file, its figures and findings from the archived studies."""

from collections.abc import Mapping
from pathlib import Path
from typing import get_args

import pandas as pd

from selectq.claims.in_short import in_short
from selectq.claims.page import Judged, reading_rules
from selectq.claims.paper_claims import (
    BEATS_FULL,
    BEATS_FULL_ASYM,
    CLOSES_GAP,
    ENDS,
    GROWS,
    LIKE_FULL_ASYM,
    PTQ_BEATS_QAT,
    PTQ_KEEPS_UP,
    PTQ_LIKE_QAT,
    RANDOM_DW,
    RANDOM_DW_ASYM,
    RANDOM_DWPW,
    RANDOM_DWPW_ASYM,
    RELU6_CHANNEL,
    RELU6_TENSOR,
    TELLS,
    Claim,
)
from selectq.claims.questions import Answer, block_drift
from selectq.claims.recommendations import ALL_SITUATIONS, gap_cell, recommendations
from selectq.claims.searches import SEARCHES, rates_table, read_searches, search_figures
from selectq.claims.settings import (
    EIGHT_BITS,
    FOUR_BITS,
    PLAIN,
    PRETRAINED,
    RANDOM_LAYERS,
    SKEWED,
    SKEWED_PRETRAINED,
    W4A4,
    W4A4_MIXED,
    W4A4_PRETRAINED,
    W4A8,
    W4A8_PRETRAINED,
    Measured,
    Setting,
)
from selectq.params.configs import Estimator
from selectq.statistics.verdicts import Verdict
from selectq.tables.cells import NOTHING, Column, percent
from selectq.tables.evidence import read_table
from selectq.tables.markdown import markdown_table, rewrapped
from selectq.tables.paper import PaperFigures, read_paper

AUDIT_COLUMNS = {
    "flaw": str,
    "setting": str,
    "tensor_drop": float,
    "tensor_lost_pct": float,
    "channel_drop": float,
    "channel_lost_pct": float,
}
OSCILLATION_COLUMNS = {"config": str, "layer_kind": str, "oscillating_pct": float}
WIDTH_COLUMNS = {"weight_bits": str, "activation_bits": str, "epochs": str, "validation_top1": float}

Runs = Mapping[Setting, Measured]

TEXT = Path(__file__).with_name("results.md")

HARMLESS = 0.5
"""Points that a mistake may cost and still be named harmless."""

CALIBRATED_ON = 1024
"""Images that the estimators are compared on."""

CHANCE = 10.0
"""Percent that are right by chance, of ten classes."""


def results_page(checkout: Path, runs: Runs, judged: Judged) -> str:
    """The page, from what the runs left in `results/`.

    Raises:
        UserError: a table is missing or damaged.
    """
    results, searches = checkout / "results", read_searches(checkout)
    audit = read_table(results / PLAIN.profile / "audit.csv", AUDIT_COLUMNS, None)
    widths = read_table(results / SEARCHES[W4A4_MIXED] / "validation.csv", WIDTH_COLUMNS, None)
    parts = {
        "recommendations": recommendations(runs, ALL_SITUATIONS),
        "rules": reading_rules(runs[PLAIN]),
        "settings": _settings(runs),
        "gaps": _gaps(runs),
        "ptq": _findings(judged, PTQ_KEEPS_UP, PTQ_LIKE_QAT, PTQ_BEATS_QAT, CLOSES_GAP),
        "activations": _findings(judged, BEATS_FULL, BEATS_FULL_ASYM, LIKE_FULL_ASYM),
        "controls": _findings(judged, RANDOM_DW, RANDOM_DW_ASYM, RANDOM_DWPW, RANDOM_DWPW_ASYM),
        "drift": _findings(judged, TELLS, GROWS, ENDS),
        "relu6": _findings(judged, RELU6_TENSOR, RELU6_CHANNEL),
        "calibration": _calibration(runs),
        "widths": _widths(widths),
        "audit": _audit(audit),
        "oscillation": _oscillation(results),
        "rates": rates_table(searches),
    }
    text = {name: "\n".join(lines) for name, lines in parts.items()}
    text |= {"harmless_flaws": _harmless(audit), "in_short": in_short(runs, judged).rstrip()}
    figures = _image_figures(runs) | _other_figures(runs) | search_figures(searches, runs)
    return rewrapped(TEXT.read_text(encoding="utf-8").format(**text, **figures))


def _image_figures(runs: Runs) -> dict[str, str]:
    """How many images, and how sure they make of an accuracy or a gap."""
    plain = runs[PLAIN]
    errors = [gap.image_error for gap in plain.to_fp32.values()]
    return {
        "images": f"{plain.paired['images'].iloc[0]:,}",
        "single_error": f"{plain.table2['standard_error_points'].min():.1f}",
        "least_error": f"{min(errors):.2f}",
        "most_error": f"{max(errors):.2f}",
        "parity_images": f"{plain.params['parity']['images']:,}",
        "sweep_images": f"{plain.params['calibration_sweep']['evaluation_images']:,}",
        "audit_images": f"{plain.params['audit']['images']:,}",
    }


def _other_figures(runs: Runs) -> dict[str, str]:
    plain, sweep = runs[PLAIN], runs[PLAIN].calibration
    from_scratch = [run for run in runs.values() if run.params["model"]["weights"] == "none"]
    return {
        "full_drift": f"{block_drift(plain, 'full')['drift'].iloc[-1]:.2f}",
        "full_gap": gap_cell(plain.gap("full")),
        "calibrated_on": f"{CALIBRATED_ON:,}",
        "sweep_counts": f"{sweep['images'].min():,} to {sweep['images'].max():,}",
        "sweep_spread": f"{sweep['test_top1'].max() - sweep['test_top1'].min():.1f}",
        "harmless": f"{HARMLESS:g}",
        "paper_fp32": f"{read_paper().fp32.fp32_top1:.2f}",
        "plain_fp32": f"{plain.fp32_top1:.2f}",
        "best_fp32": f"{max(run.fp32_top1 for run in runs.values()):.2f}",
        "scratch_epochs": str(max(map(_longest, from_scratch))),
        "longest_epochs": str(max(map(_longest, runs.values()))),
    }


def _longest(run: Measured) -> int:
    return max(config["epochs"] for config in run.params["qat"].values())


def _settings(runs: Runs) -> list[str]:
    headings = ("Setting", "Short", "Folder", "FP32 top-1", "Seeds", "QAT epochs", "Skew", "dwpw_asym, file")
    rows = []
    for setting, run in runs.items():
        epochs = sorted({config["epochs"] for config in run.params["qat"].values()})
        rows.append(
            (
                setting.name,
                setting.short,
                f"results/{setting.profile}",
                f"{run.fp32_top1:.2f} %",
                str(1 + len(run.params["repeat"]["seeds"])),
                ", ".join(map(str, epochs)),
                f"{run.params['range_skew']:g}",
                f"{run.figure('dwpw_asym', 'size_mb'):.2f} MB",
            )
        )
    return markdown_table([Column(heading, "text") for heading in headings], rows)


def _gaps(runs: Runs) -> list[str]:
    lines: list[str] = []
    for settings in (EIGHT_BITS[:4], EIGHT_BITS[4:], FOUR_BITS[:4], FOUR_BITS[4:], RANDOM_LAYERS):
        columns = [Column("Configuration", "text"), *(Column(setting.short, "number") for setting in settings)]
        names = dict.fromkeys(name for setting in settings for name in runs[setting].configurations())
        rows = [(name, *(_gap_or_nothing(runs[setting], name) for setting in settings)) for name in names]
        lines += ["", *markdown_table(columns, rows)]
    return lines[1:]


def _gap_or_nothing(run: Measured, name: str) -> str:
    return gap_cell(run.gap(name)) if name in run.configurations() else NOTHING


def _findings(judged: Judged, *claims: Claim) -> list[str]:
    """A bullet for each claim: where it holds, fails, or is unclear, with the main figure."""
    return [f"- **{claim.text}.** {_outcomes(judged[claim])}" for claim in claims]


def _outcomes(answers: Mapping[Setting, Answer]) -> str:
    order: tuple[Verdict, ...] = ("holds", "smaller", "fails", "unclear")
    sentences = []
    for verdict in order:
        named = [f"{one.short} ({found.brief})" for one, found in answers.items() if found.verdict == verdict]
        sentences += [f"*{verdict.capitalize()}*: {', '.join(named)}."] if named else []
    return " ".join(sentences)


def _calibration(runs: Runs) -> list[str]:
    settings = (PLAIN, PRETRAINED, SKEWED, SKEWED_PRETRAINED, W4A8, W4A8_PRETRAINED, W4A4, W4A4_PRETRAINED)
    estimators = get_args(Estimator)
    rows = []
    for setting in settings:
        table = runs[setting].calibration
        table = table[(table["config"] == runs[setting].name("channel")) & (table["images"] == CALIBRATED_ON)]
        top1 = table.set_index("estimator")["test_top1"].to_dict()
        rows.append((setting.short, *(f"{top1[name]:.1f} %" for name in estimators)))
    return markdown_table([Column("Setting", "text"), *(Column(name, "number") for name in estimators)], rows)


def _widths(table: pd.DataFrame) -> list[str]:
    headings = ("Weight bits", "Activation bits", "QAT epochs", "Validation top-1")
    rows = [
        (
            *(row[column] or NOTHING for column in ("weight_bits", "activation_bits", "epochs")),
            percent(row["validation_top1"], 2),
        )
        for row in table.to_dict("records")
    ]
    return markdown_table([Column(heading, "text") for heading in headings], rows)


def _audit(audit: pd.DataFrame) -> list[str]:
    paper = {figures.method: figures for figures in read_paper().quantized.values()}
    of_paper = [_lost(paper[f"PTQ (Per-{granularity})"]) for granularity in ("Tensor", "Channel")]
    rows = [("(the paper)", *of_paper)]
    rows += [
        (f"{row['flaw']}: {row['setting']}", f"{row['tensor_lost_pct']:.0f} %", f"{row['channel_lost_pct']:.0f} %")
        for row in audit.head(5).to_dict("records")
    ]
    return markdown_table([Column(heading, "text") for heading in ("Mistake", "Per tensor", "Per channel")], rows)


def _lost(figures: PaperFigures) -> str:
    fp32, int8 = figures.fp32_top1 or 0.0, figures.int8_top1 or 0.0
    return f"{100 * (fp32 - int8) / (fp32 - CHANCE):.0f} %"


def _harmless(audit: pd.DataFrame) -> str:
    alone = audit[~audit["flaw"].str.contains("+", regex=False) & (audit["flaw"] != "none")]
    worst = alone.groupby("flaw", sort=False)[["tensor_drop", "channel_drop"]].max().max(axis=1)
    return ", ".join(worst[worst <= HARMLESS].index)


def _oscillation(results: Path) -> list[str]:
    kinds = ("depthwise", "projection", "expansion")
    rows = []
    for setting in (PLAIN, W4A4):
        table = read_table(results / setting.profile / "oscillation.csv", OSCILLATION_COLUMNS, None)
        shares = table[table["config"] == f"{setting.prefix}full"].set_index("layer_kind")["oscillating_pct"].to_dict()
        rows.append((setting.short, *(f"{shares[kind]:.0f} %" for kind in kinds)))
    return markdown_table([Column("Setting", "text"), *(Column(kind, "number") for kind in kinds)], rows)
