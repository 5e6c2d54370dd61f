"""What the report of a run shows, section by section."""

from dataclasses import dataclass
from html import escape

import pandas as pd

from selectq.report import figures
from selectq.report.audit import audit_points, audit_table
from selectq.report.evidence import Evidence
from selectq.report.formatting import Table
from selectq.report.page import Content, Section
from selectq.report.paper import read_paper
from selectq.report.plan import Content as PlanContent
from selectq.report.plan import rungs_table, summary_of
from selectq.report.report_tables import bytes_table, environment_table, oscillation_table, parity_table
from selectq.report.tables import accuracy_points
from selectq.report.verdict import Ranking

SOUND_AND_PAPER = 2
"""Rows of an audit that tried no flaw: the sound experiment and the paper's."""

LATENCY = (
    "Of the benchmark’s MobileNetV2 for 32 × 32 pixels, not of this run’s network: speed does not depend on the"
    " weights. The marker tells the scheme of the activations; stride_1 has four times the pixels."
)


@dataclass(frozen=True)
class Beside:
    """What is shown beside the evidence: tables with the columns of these schemas, and the plan."""

    table2: pd.DataFrame
    oscillation_by_kind: pd.DataFrame
    audit: pd.DataFrame
    audit_losses: pd.DataFrame
    latency: pd.DataFrame
    plan: PlanContent


def report_sections(
    evidence: Evidence, ranking: Ranking, beside: Beside, accuracies: Table, *, swept: int, compared: int
) -> list[Section]:
    """The sections of a run's report, in their order.

    `accuracies` is `beside.table2` for readers; `swept` and `compared` are the images of calibration and of parity.
    """
    ranked, images = ranking.configurations, evidence.fp32.test_images
    flaws = audit_points(beside.audit_losses, beside.audit, read_paper())
    audit = audit_table(beside.audit_losses, read_paper())
    parity = parity_table(ranked, evidence, min(compared, images))
    sizes, environment = bytes_table(ranked, evidence), environment_table(ranked, evidence)
    outcomes: Content = (
        accuracies,
        *figures.gap_figures(evidence.paired, ranking),
        figures.accuracy_figure(accuracy_points(beside.table2)),
    )
    training: Content = (
        *figures.learning_figures(evidence.learning),
        *figures.calibration_figures(evidence.calibration, evidence.fp32.test_top1, min(swept, images)),
        oscillation_table(beside.oscillation_by_kind),
    )
    plan: Content = (escape(summary_of(beside.plan)), rungs_table(beside.plan), *figures.plan_figures(beside.plan))
    maps = figures.drift_map_figures(evidence.drift, figures.worst_and_best(ranking))
    return [
        Section("configurations", "What each configuration achieves", outcomes),
        Section("plan", "The plan: the cheapest treatment that is enough", plan),
        Section("training", "Training and calibration", training),
        Section("error", "Where the error comes from", figures.error_figures(evidence, ranking)),
        Section("drift", "Drift by kind of layer and depth", maps),
        Section("audit", audit.title, (figures.audit_figure(flaws), audit) if len(flaws) > SOUND_AND_PAPER else ()),
        Section("speed", "Speed of such programs", (LATENCY, *figures.latency_figures(beside.latency))),
        Section("backends", parity.title, (parity,)),
        Section("files", sizes.title, (sizes,)),
        Section("environment", environment.title, (environment,)),
    ]
