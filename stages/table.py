"""Tabulate a run: its verdict, Tables 1 and 2, the data of the plots, a summary for comparison, and the report."""

from _src import stage

from pathlib import Path

from selectq.files import only_writer, write_bytes, write_csv, write_json
from selectq.params.configs import Params
from selectq.params.configurations import list_configurations
from selectq.params.load import load_params
from selectq.stale import drop_others
from selectq.statistics.rows import with_written_p
from selectq.tables.audit import audit_points, audit_sheet, compare_with_paper, read_audit
from selectq.tables.evidence import read_evidence
from selectq.tables.latency import latency_points
from selectq.tables.looks import with_looks
from selectq.tables.markdown import to_markdown
from selectq.tables.oscillation import oscillation_by_kind, oscillation_sheet
from selectq.tables.paper import figures_beside, read_paper
from selectq.tables.plot_data import accuracy_points
from selectq.tables.program_sheets import bytes_sheet, environment_sheet, parity_sheet
from selectq.tables.report import Beside, ReportSheets, commit_of, render_report
from selectq.tables.sheets import Provenance, sheet1, sheet2
from selectq.tables.tables import summary, table1, table2, to_frame
from selectq.tables.verdict import find_verdict, rank, ranking_json, verdict_markdown

LATENCIES = Path("benchmarks/results")
METRICS = Path("metrics")
PLOTS = Path("plots")
RESULTS = Path("results")


@stage(load_params)
def main(params: Params) -> None:
    statistics = params.statistics
    with only_writer(RESULTS):
        configurations = list_configurations(params.ptq, params.qat, params.qat_training.algorithm_names)
        for folder in ("simulated", "int8", "parity", "drift", "causes"):
            drop_others(METRICS / folder, [*params.ptq, *params.qat])
        drop_others(METRICS / "learning", ["fp32", *params.qat])
        drop_others(METRICS / "oscillation", params.qat)
        drop_others(METRICS / "calibration", params.calibration_sweep.names)
        evidence = read_evidence(METRICS, RESULTS, params.ptq, params.qat, params.calibration_sweep.names)
        ranking = rank(configurations, evidence, statistics.margin_points, statistics.confidence)
        verdict = find_verdict(ranking, evidence, params.range_skew)
        latency, paper = latency_points(LATENCIES), figures_beside(evidence.fp32.data, params.model.network)
        rows1 = table1(configurations, evidence, paper)
        rows2 = table2(configurations, evidence, paper, params.regime)
        provenance = Provenance(params.seed, params.regime, params.range_skew, statistics)
        oscillation = oscillation_by_kind(evidence.oscillation)
        measured = read_audit(METRICS / "audit.csv")
        audited = compare_with_paper(measured, read_paper())
        images = evidence.fp32.test_images
        sheets = ReportSheets(
            table2=sheet2(rows2, ranking, evidence, provenance),
            parity=parity_sheet(ranking.configurations, evidence, min(params.parity.images, images)),
            bytes=bytes_sheet(ranking.configurations, evidence),
            environment=environment_sheet(configurations, evidence),
            oscillation=oscillation_sheet(oscillation),
            audit=audit_sheet(audited, read_paper()),
        )
        beside = Beside(
            network=params.model.title,
            ranking=ranking,
            latency=latency,
            audit=audit_points(audited, measured, read_paper()),
            sweep_images=min(params.calibration_sweep.evaluation_images, images),
            commit=commit_of(Path.cwd()),
        )

        write_bytes(RESULTS / "verdict.md", verdict_markdown(verdict).encode())
        write_json(RESULTS / "verdict.json", ranking_json(ranking))
        write_csv(RESULTS / "table1.csv", to_frame(rows1))
        write_csv(RESULTS / "table2.csv", with_written_p(to_frame(rows2)))
        write_bytes(RESULTS / "table1.md", to_markdown(sheet1(rows1)).encode())
        write_bytes(RESULTS / "table2.md", to_markdown(sheets.table2).encode())
        write_csv(RESULTS / "oscillation.csv", oscillation)
        write_csv(RESULTS / "audit.csv", audited)
        write_bytes(RESULTS / "audit.md", to_markdown(sheets.audit).encode())
        write_bytes(RESULTS / "report.html", render_report(verdict, sheets, rows2, evidence, beside))
        write_csv(PLOTS / "accuracy.csv", with_looks(accuracy_points(rows2), "config"))
        write_csv(PLOTS / "calibration.csv", evidence.calibration)
        write_csv(PLOTS / "learning.csv", with_looks(evidence.learning, "config"))
        write_csv(PLOTS / "drift.csv", with_looks(evidence.drift, "config"))
        write_csv(PLOTS / "causes.csv", with_looks(evidence.causes, "config"), digits=8)
        write_csv(PLOTS / "channel_ranges.csv", evidence.channel_ranges)
        write_csv(PLOTS / "histograms.csv", with_looks(evidence.histograms, "config"), digits=8)
        write_csv(PLOTS / "confusion.csv", evidence.confusion)
        write_csv(PLOTS / "latency.csv", with_looks(latency, "case"))
        write_json(METRICS / "summary.json", summary(configurations, evidence))
        print(f"wrote {RESULTS}/verdict.md, {RESULTS}/table2.md and {RESULTS}/report.html")
