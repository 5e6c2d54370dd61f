"""`docs/results.md` and README's results: the texts beside this file, with figures from the archived studies."""

from collections.abc import Mapping
from pathlib import Path
from typing import get_args

import pandas as pd

from selectq.claims.catalogue import catalogue
from selectq.claims.hypotheses import Finding, Judged
from selectq.claims.measured import Measured, Runs
from selectq.claims.page import reading_rules
from selectq.claims.recommendations import gap_cell, recommendations
from selectq.config.configs import Estimator
from selectq.report.audit import paper_lost_pct
from selectq.report.formatting import NOTHING, number_columns, text_columns
from selectq.report.markdown import markdown_table, rewrapped
from selectq.report.paper import read_paper
from selectq.statistics.schemas import AUDIT_LOSSES, OSCILLATION_BY_KIND, rows_of
from selectq.statistics.verdicts import Verdict

HARMLESS = 0.5
"""Points that a mistake may cost and still be named harmless."""

CALIBRATED_ON = 1024
"""Images that the estimators are compared on."""

STUDIED = ("cifar10", "skewed", "w4a8", "w4a4")
"""The settings that one study runs, off one FP32 network."""

VERDICTS: tuple[Verdict, ...] = ("holds", "smaller", "fails", "unclear")


def results_page(checkout: Path, runs: Runs, judged: Judged) -> str:
    """The page, from what the runs left in `results/`.

    Raises:
        UserError: a table is missing or damaged.
    """
    results = checkout / "results"
    audit = AUDIT_LOSSES.read(results / "cifar10" / "audit.csv")
    parts = {
        "recommendations": recommendations(runs, catalogue().situations),
        "rules": reading_rules(runs["cifar10"]),
        "settings": _settings({name: run for name, run in runs.items() if not run.setting.commit}),
        "archived": _archived({name: run for name, run in runs.items() if run.setting.commit}),
        "gaps": _gaps(runs),
        "calibration": _calibration(runs),
        "audit": _audit(audit),
        "oscillation": _oscillation(results),
    }
    text = {name: "\n".join(lines) for name, lines in parts.items()}
    text |= {"harmless_flaws": _harmless(audit), "in_short": in_short(runs, judged).rstrip()}
    figures = _image_figures(runs) | _other_figures(runs)
    finding = {key: f"- **{catalogue().claims[key].text}.** {_outcomes(judged[key])}" for key in judged}
    return _filled("results.md", finding=finding, **text, **figures)


def in_short(runs: Runs, judged: Judged) -> str:
    """What README and `docs/results.md` say first: a paragraph and bullets."""
    eight_bits = catalogue().of_group("8 bits")
    gaps = [runs[name].gap("channel_algorithms") for name in judged["ptq_keeps_up"] if name in eight_bits]
    leads = [(name, finding) for name, finding in judged["ptq_beats_qat"].items() if name in eight_bits]
    return _filled(
        "in_short.md",
        margin=f"{runs['cifar10'].margin:g}",
        count={key: _counts(judged[key]) for key in judged},
        losses_8=str(sum(gap.high < 0 for gap in gaps) or "none"),
        most_lost=f"{-min(gap.low for gap in gaps):.2f}",
        ptq_leads="; ".join(f"{runs[name].setting.name}: {finding.ours[0]}" for name, finding in leads),
        skewed_epochs=str(runs["skewed"].candidate("dwpw_asym").epochs),
    )


def _filled(text: str, **figures: object) -> str:
    """A text beside this file with its figures, as `{figure}` or `{finding[claim]}`."""
    return rewrapped(Path(__file__).with_name(text).read_text(encoding="utf-8").format(**figures))


def _counts(findings: Mapping[str, Finding]) -> dict[str, dict[Verdict, str]]:
    """Group of settings -> verdict -> in how many of them a claim has it."""
    counts = {}
    for group in (*catalogue().groups, "all"):
        found = [findings[name].verdict for name in catalogue().of_group(group) if name in findings]
        counts[group] = {
            verdict: f"{found.count(verdict)} of {len(found)} setting{'s' * (len(found) > 1)}" for verdict in VERDICTS
        }
    return counts


def _outcomes(findings: Mapping[str, Finding]) -> str:
    """Where a claim holds, fails, or is unclear, with the main figure."""
    sentences = []
    for verdict in VERDICTS:
        named = [
            f"{catalogue().settings[name].short} ({finding.brief})"
            for name, finding in findings.items()
            if finding.verdict == verdict
        ]
        sentences += [f"*{verdict.capitalize()}*: {', '.join(named)}."] if named else []
    return " ".join(sentences)


def _image_figures(runs: Runs) -> dict[str, str]:
    """How many images, and how sure they make of an accuracy or a gap."""
    plain = runs["cifar10"]
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
    plain, sweep = runs["cifar10"], runs["cifar10"].calibration
    longest = {name: max(run.epochs.values()) for name, run in runs.items()}
    return {
        "full_drift": f"{plain.drift_of_blocks('full')['drift'].iloc[-1]:.2f}",
        "full_gap": gap_cell(plain.gap("full")),
        "calibrated_on": f"{CALIBRATED_ON:,}",
        "sweep_counts": f"{sweep['images'].min():,} to {sweep['images'].max():,}",
        "sweep_spread": f"{sweep['test_top1'].max() - sweep['test_top1'].min():.1f}",
        "harmless": f"{HARMLESS:g}",
        "paper_fp32": f"{read_paper().fp32.fp32_top1:.2f}",
        "plain_fp32": f"{plain.fp32_top1:.2f}",
        "pretrained_fp32": f"{runs['archive/pretrained'].fp32_top1:.2f}",
        "scratch_epochs": str(max(longest[name] for name in STUDIED)),
        "longest_epochs": str(max(longest.values())),
        "skew": f"{runs['skewed'].params['range_skew']:g}",
        "hours": f"{sum(runs[name].minutes for name in STUDIED) / 60 / 2:.1f}",
    }


def _settings(runs: Runs) -> list[str]:
    headings = ("Setting", "Short", "Folder", "FP32 top-1", "Seeds", "QAT epochs", "Skew", "dwpw_asym, file", "Minutes")
    rows = [
        (
            *_run_cells(run, name),
            f"{run.figure('dwpw_asym', 'size_mb'):.2f} MB",
            f"{run.minutes:.0f}" if run.minutes else NOTHING,
        )
        for name, run in runs.items()
    ]
    return markdown_table(text_columns(*headings), rows)


def _archived(runs: Runs) -> list[str]:
    headings = ("Setting", "Short", "Folder", "FP32 top-1", "Seeds", "QAT epochs", "Skew", "Commit")
    rows = [(*_run_cells(run, name), run.setting.commit) for name, run in runs.items()]
    return markdown_table(text_columns(*headings), rows)


def _run_cells(run: Measured, name: str) -> tuple[str, ...]:
    return (
        run.setting.name,
        run.setting.short,
        f"results/{name}",
        f"{run.fp32_top1:.2f} %",
        str(1 + len(run.params["repeat"]["seeds"])),
        ", ".join(map(str, sorted(set(run.epochs.values()) - {0}))),
        f"{run.params['range_skew']:g}",
    )


MOST_COLUMNS = 4
"""Settings side by side: more would not fit a page."""


def _gaps(runs: Runs) -> list[str]:
    lines: list[str] = []
    for group in catalogue().groups.values():
        for start in range(0, len(group), MOST_COLUMNS):
            shown = [runs[name] for name in group[start : start + MOST_COLUMNS]]
            names = dict.fromkeys(name for run in shown for name in run.configurations())
            rows = [(name, *(_gap_or_nothing(run, name) for run in shown)) for name in names]
            columns = (*text_columns("Configuration"), *number_columns(*(run.setting.short for run in shown)))
            lines += ["", *markdown_table(columns, rows)]
    return lines[1:]


def _gap_or_nothing(run: Measured, name: str) -> str:
    return gap_cell(run.gap(name)) if name in run.configurations() else NOTHING


def _calibration(runs: Runs) -> list[str]:
    estimators = get_args(Estimator)
    rows = []
    for run in (runs[name] for name in STUDIED):
        table = run.calibration[run.calibration["images"] == CALIBRATED_ON]
        top1 = table[table["config"] == run.name("channel")].set_index("estimator")["test_top1"]
        rows.append((run.setting.short, *(f"{top1[name]:.1f} %" for name in estimators)))
    return markdown_table((*text_columns("Setting"), *number_columns(*estimators)), rows)


def _audit(audit: pd.DataFrame) -> list[str]:
    paper = [f"{paper_lost_pct(read_paper(), granularity):.0f} %" for granularity in ("tensor", "channel")]
    rows = [("(the paper)", *paper)]
    for row in rows_of(audit.head(5)):
        name = f"{row.flaw}: {row.setting}"
        rows.append((name, f"{row.tensor_lost_pct:.0f} %", f"{row.channel_lost_pct:.0f} %"))
    return markdown_table(text_columns("Mistake", "Per tensor", "Per channel"), rows)


def _harmless(audit: pd.DataFrame) -> str:
    alone = audit[~audit["flaw"].str.contains("+", regex=False) & (audit["flaw"] != "none")]
    worst = alone.groupby("flaw", sort=False)[["tensor_drop", "channel_drop"]].max().max(axis=1)
    return ", ".join(worst[worst <= HARMLESS].index)


def _oscillation(results: Path) -> list[str]:
    kinds, rows = ("depthwise", "projection", "expansion"), []
    for setting in (catalogue().settings[name] for name in ("cifar10", "w4a4")):
        table = OSCILLATION_BY_KIND.read(results / setting.folder / "oscillation.csv")
        shares = table[table["config"] == f"{setting.prefix}full"].set_index("layer_kind")["oscillating_pct"]
        rows.append((setting.short, *(f"{shares[kind]:.0f} %" for kind in kinds)))
    return markdown_table((*text_columns("Setting"), *number_columns(*kinds)), rows)
