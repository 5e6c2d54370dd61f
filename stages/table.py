"""Tabulate a run: its verdict, Tables 1 and 2, the data of the plots, a summary for comparison, and the report."""

from _src import stage

from pathlib import Path

from selectq.config.configs import AUTO, Params
from selectq.config.configurations import list_configurations
from selectq.config.load import load_params
from selectq.config.planned import planned_configurations
from selectq.files import only_writer, write_bytes, write_csv, write_json
from selectq.report.audit import audit_table, compare_with_paper
from selectq.report.evidence import read_evidence
from selectq.report.latency import latency_points
from selectq.report.looks import with_looks
from selectq.report.markdown import to_markdown
from selectq.report.page import Report, commit_of, render_report
from selectq.report.paper import figures_beside, read_paper
from selectq.report.plan import missed, plan_map, plan_markdown, plan_points, read_plan
from selectq.report.report_tables import accuracy_table, configurations_table, provenance_note
from selectq.report.sections import Beside, report_sections
from selectq.report.tables import accuracy_points, oscillation_by_kind, summary, table1, table2
from selectq.report.verdict import find_verdict, rank, ranking_json, verdict_markdown
from selectq.stale import drop_others
from selectq.statistics.schemas import AUDIT, with_written_p

LATENCIES = Path("benchmarks/results")
METRICS = Path("metrics")
PLOTS = Path("plots")
RESULTS = Path("results")


@stage(load_params)
def main(params: Params) -> None:
    statistics = params.statistics
    with only_writer(RESULTS):
        configurations = list_configurations(params.ptq, params.qat, params.qat_training.algorithm_names)
        configurations += planned_configurations(params.convert)
        for folder in ("int8", "parity", "drift", "causes"):
            drop_others(METRICS / folder, params.convert)
        drop_others(METRICS / "simulated", [*params.convert, AUTO])
        for folder in ("learning", "oscillation"):
            drop_others(METRICS / folder, ["fp32", *params.qat, AUTO])
        drop_others(METRICS / "calibration", params.calibration_sweep.names)
        ptq, qat = ([one.name for one in configurations if one.method == method] for method in ("ptq", "qat"))
        evidence = read_evidence(METRICS, RESULTS, ptq, qat, params.calibration_sweep.names)
        ranking = rank(configurations, evidence, statistics.margin_points, statistics.confidence)
        plan = read_plan()
        verdict = find_verdict(ranking, evidence, params.range_skew, missed(plan))
        paper = figures_beside(evidence.fp32.data, params.model.network)
        rows1 = table1(configurations, evidence, paper)
        rows2 = table2(configurations, evidence, paper, params.setting)
        note = provenance_note(params.seed, params.setting, params.range_skew)
        accuracies = accuracy_table(rows2, ranking, evidence, statistics, note)
        audit = AUDIT.read(METRICS / "audit.csv")
        beside = Beside(
            table2=rows2,
            oscillation_by_kind=oscillation_by_kind(evidence.oscillation),
            audit=audit,
            audit_losses=compare_with_paper(audit, read_paper()),
            latency=latency_points(LATENCIES),
            plan=plan,
        )
        images = {"swept": params.calibration_sweep.evaluation_images, "compared": params.parity.images}
        report = Report(
            lead=f"{params.model.title} on {evidence.fp32.data}, setting {params.setting}",
            verdict=verdict,
            found=ranking.recommended is not None,
            configs=[one.name for one in ranking.configurations],
            sections=report_sections(evidence, ranking, beside, accuracies, **images),
            commit=commit_of(Path.cwd()),
        )

        write_bytes(RESULTS / "verdict.md", verdict_markdown(verdict).encode())
        write_json(RESULTS / "verdict.json", ranking_json(ranking))
        write_csv(RESULTS / "table1.csv", rows1)
        write_csv(RESULTS / "table2.csv", with_written_p(rows2))
        write_bytes(RESULTS / "table1.md", to_markdown(configurations_table(rows1)).encode())
        write_bytes(RESULTS / "table2.md", to_markdown(accuracies).encode())
        write_csv(RESULTS / "oscillation.csv", beside.oscillation_by_kind)
        write_csv(RESULTS / "audit.csv", beside.audit_losses)
        write_bytes(RESULTS / "audit.md", to_markdown(audit_table(beside.audit_losses, read_paper())).encode())
        write_bytes(RESULTS / "plan.md", plan_markdown(plan).encode())
        write_bytes(RESULTS / "report.html", render_report(report))
        write_csv(PLOTS / "accuracy.csv", with_looks(accuracy_points(rows2), "config"))
        write_csv(PLOTS / "calibration.csv", evidence.calibration)
        write_csv(PLOTS / "learning.csv", with_looks(evidence.learning, "config"))
        write_csv(PLOTS / "drift.csv", with_looks(evidence.drift, "config"))
        write_csv(PLOTS / "causes.csv", with_looks(evidence.causes, "config"), digits=8)
        write_csv(PLOTS / "channel_ranges.csv", evidence.channel_ranges)
        write_csv(PLOTS / "histograms.csv", with_looks(evidence.histograms, "config"), digits=8)
        write_csv(PLOTS / "confusion.csv", evidence.confusion)
        write_csv(PLOTS / "latency.csv", with_looks(beside.latency, "case"))
        write_csv(PLOTS / "plan.csv", plan_points(plan))
        write_csv(PLOTS / "plan_map.csv", plan_map(plan), digits=9)
        write_json(METRICS / "summary.json", summary(configurations, evidence))
        print(f"wrote {RESULTS}/verdict.md, {RESULTS}/table2.md and {RESULTS}/report.html")
