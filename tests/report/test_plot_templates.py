"""The plots of dvc.yaml: their columns exist, and DVC fills their templates at one revision or several."""

import json
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import made_up
import pandas as pd
import pytest
import vl_convert
import yaml
from dvc_render import VegaRenderer

from selectq.config.configurations import Configuration
from selectq.report.evidence import Evidence
from selectq.report.looks import assign_looks, with_looks
from selectq.report.paper import read_paper
from selectq.report.plan import plan_map, plan_points
from selectq.report.tables import accuracy_points, table2
from selectq.report.vega import TEMPLATES, VEGA_LITE

CHECKOUT = Path(__file__).resolve().parents[2]
REPORT_ALONE = {"gaps", "calibration", "drift_map", "audit"}


@dataclass(frozen=True)
class Plot:
    """One entry under `plots:` in dvc.yaml."""

    title: str
    template: str
    x: str
    y: str
    file: str


def read_plots() -> list[Plot]:
    entries = yaml.safe_load((CHECKOUT / "dvc.yaml").read_text())["plots"]
    found = [(title, body, *next(iter(body["y"].items()))) for entry in entries for title, body in entry.items()]
    return [Plot(title, body["template"], body["x"], y, file) for title, body, file, y in found]


PLOTS = read_plots()


def read_template(name: str) -> Any:
    return json.loads((CHECKOUT / name).read_text())


def values_of(key: str, node: Any) -> Iterator[Any]:
    """Every value under `key`, wherever in a specification."""
    if isinstance(node, dict):
        for name, value in node.items():
            if name == key:
                yield value
            yield from values_of(key, value)
    elif isinstance(node, list):
        for value in node:
            yield from values_of(key, value)


@pytest.fixture(scope="module")
def plots_folder(
    configurations: list[Configuration],
    evidence: Evidence,
    latency: pd.DataFrame,
    tmp_path_factory: pytest.TempPathFactory,
) -> Path:
    """A DVC repository with the plots and templates of the checkout, and the data of a made-up run."""
    folder = tmp_path_factory.mktemp("plots")
    tables = {
        "learning": evidence.learning,
        "drift": evidence.drift,
        "causes": evidence.causes,
        "channel_ranges": evidence.channel_ranges,
        "histograms": evidence.histograms,
        "confusion": evidence.confusion,
        "latency": latency,
        "plan": plan_points(made_up.plan()),
        "plan_map": plan_map(made_up.plan()),
        "accuracy": accuracy_points(table2(configurations, evidence, read_paper(), "plain")),
    }
    (folder / "plots").mkdir()
    named = {"latency": "case"} | dict.fromkeys(("learning", "drift", "causes", "histograms", "accuracy"), "config")
    for name, plain in tables.items():
        table = with_looks(plain, named[name]) if name in named else plain
        table.to_csv(folder / "plots" / f"{name}.csv", index=False)
    (folder / ".dvc").mkdir()
    shutil.copytree(TEMPLATES, folder / TEMPLATES.relative_to(CHECKOUT))
    (folder / ".dvc" / "config").write_text("[core]\n    no_scm = true\n    analytics = false\n")
    document = yaml.safe_load((CHECKOUT / "dvc.yaml").read_text())
    (folder / "dvc.yaml").write_text(yaml.safe_dump({"plots": document["plots"]}, sort_keys=False))
    return folder


def test_every_template_is_used() -> None:
    shown = {Path(plot.template) for plot in PLOTS}
    assert {path.relative_to(CHECKOUT) for path in TEMPLATES.glob("*.json") if path.stem not in REPORT_ALONE} == shown


@pytest.mark.parametrize("path", sorted(TEMPLATES.glob("*.json")), ids=lambda path: path.stem)
def test_template_takes_rows_and_has_its_own_words(path: Path) -> None:
    text = path.read_text()
    assert re.findall("<DVC_METRIC_[A-Z_]+>", text) == ["<DVC_METRIC_DATA>"]
    assert json.loads(text)["title"]["text"]


@pytest.mark.parametrize("plot", PLOTS, ids=lambda plot: Path(plot.template).stem)
def test_columns_exist(plot: Plot, plots_folder: Path) -> None:
    template = read_template(plot.template)
    columns = set(pd.read_csv(plots_folder / plot.file).columns)
    assert {plot.x, plot.y} <= columns
    named = set(values_of("field", template))
    in_expressions = set(re.findall(r"datum\.(\w+)", json.dumps(template))) - {"value", "label"}
    computed = set(values_of("as", template))
    assert named | in_expressions <= columns | computed | {"rev"}


@pytest.mark.parametrize("plot", PLOTS, ids=lambda plot: Path(plot.template).stem)
def test_every_axis_has_a_title_and_revisions_are_told_apart(plot: Plot) -> None:
    template = read_template(plot.template)
    for axis in ("x", "y"):
        assert any("title" in channel for channel in values_of(axis, template) if "field" in channel)
    channels = [*values_of("strokeDash", template), *values_of("facet", template)]
    assert '"rev"' in json.dumps(channels) or "datum.rev" in json.dumps(template)


def test_causes_of_the_template_are_those_that_are_measured() -> None:
    assert read_template("src/selectq/report/plots/causes.json")["facet"]["sort"] == list(made_up.CAUSES)


@pytest.mark.parametrize("name", ["learning", "drift_blocks", "drift_layers", "causes", "accuracy"])
def test_configurations_look_as_in_the_report(name: str, plots_folder: Path) -> None:
    """What Vega draws: every configuration's colour on its points, and beside its name in the legend."""
    plot = next(plot for plot in PLOTS if Path(plot.template).stem == name)
    table = pd.read_csv(plots_folder / plot.file)
    points = [{**row, "rev": "workspace"} for row in table.to_dict("records")]
    svg = vl_convert.vegalite_to_svg(fill(plot, points), vl_version=VEGA_LITE.removeprefix("v"))
    names = dict.fromkeys(table["config"])
    legend = re.search(r'aria-label="Symbol legend titled \'configuration\'[^"]*values: ([^"]*)"', svg)
    assert legend and sorted(names) == sorted(re.split(", ", legend[1]))
    colours = {look.colour for look in assign_looks(["fp32", *names]).values()}
    drawn = set(re.findall(r'(?:fill|stroke)="(#[0-9A-F]{6})"', svg)) - {"#FFFFFF"}
    assert drawn <= colours, "a palette of Vega's own"
    assert {look.colour for look in assign_looks(names).values()} <= drawn


def fill(plot: Plot, points: list[dict[Any, Any]]) -> Any:
    template = str(CHECKOUT / plot.template)
    return VegaRenderer(points, plot.title, template=template, x=plot.x, y=plot.y).get_filled_template()


def test_dvc_shows_every_plot(plots_folder: Path) -> None:
    result = subprocess.run(
        [sys.executable, "-W", "ignore", "-m", "dvc", "plots", "show", "--json"],
        cwd=plots_folder,
        env={**os.environ, "DVC_NO_ANALYTICS": "1"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert result.returncode == 0, result.stderr
    answer = json.loads(result.stdout)
    assert set(answer) == {"data"}, "dvc reports errors"
    assert list(answer["data"]) == [plot.title for plot in PLOTS]
    for plot in PLOTS:
        (item,) = answer["data"][plot.title]
        assert item["content"]["title"]["text"] == plot.title
        assert len(item["content"]["data"]["values"]) == len(pd.read_csv(plots_folder / plot.file))
        assert "<DVC_METRIC" not in json.dumps(item["content"])


@pytest.mark.parametrize("plot", PLOTS, ids=lambda plot: Path(plot.template).stem)
def test_two_revisions_fill_the_template(plot: Plot, plots_folder: Path) -> None:
    table = pd.read_csv(plots_folder / plot.file)
    points = [{**row, "rev": rev} for rev in ("old", "new") for row in table.to_dict("records")]
    filled = fill(plot, points)
    assert len(filled["data"]["values"]) == 2 * len(table)
    assert "<DVC_METRIC" not in json.dumps(filled)
