"""Figures: nothing left out, every row's values told, and words that say what is seen."""

import re

import made_up
import pandas as pd
import pytest

from selectq.config.configs import STORING_KINDS, WEIGHT_KINDS
from selectq.config.configurations import Configuration
from selectq.graph.nodes import NORMALIZATION
from selectq.report import figures
from selectq.report.audit import audit_points, compare_with_paper
from selectq.report.evidence import Evidence
from selectq.report.figures import Figure
from selectq.report.looks import assign_looks
from selectq.report.paper import read_paper
from selectq.report.tables import accuracy_points, table2
from selectq.report.vega import draw, read_template
from selectq.report.verdict import Ranking, rank

NAMES = list(made_up.INT8_TOP1)


@pytest.fixture(scope="module")
def ranking(configurations: list[Configuration], evidence: Evidence) -> Ranking:
    return rank(configurations, evidence, 0.5, 0.95)


def drawn(figure: Figure) -> str:
    return draw(figure.template, figure.rows)


def told(figure: Figure) -> list[str]:
    """What pointing at the figure's marks tells."""
    return re.findall("<title>(.*?)</title>", drawn(figure))


def places(figure: Figure, told: str) -> list[str]:
    """How far right the points stand that tell this."""
    return re.findall(rf'<path transform="translate\(([\d.]+),[^>]*><title>{told}', drawn(figure))


def written(figure: Figure) -> list[str]:
    """The words in the picture."""
    return re.findall("<(?:text|tspan)[^>]*>([^<]+)", re.sub("<title>.*?</title>", "", drawn(figure)))


def gathered(table: str) -> pd.DataFrame:
    return pd.concat(map(getattr(made_up, table), NAMES), ignore_index=True)


def audit_figure() -> Figure:
    losses = compare_with_paper(made_up.audit(), read_paper())
    return figures.audit_figure(audit_points(losses, made_up.audit(), read_paper()))


@pytest.fixture(scope="module")
def every_figure(
    configurations: list[Configuration], evidence: Evidence, latency: pd.DataFrame, ranking: Ranking
) -> list[Figure]:
    table = table2(configurations, evidence, read_paper(), "plain")
    return [
        *figures.gap_figures(evidence.paired, ranking),
        figures.accuracy_figure(accuracy_points(table)),
        *figures.learning_figures(evidence.learning),
        *figures.calibration_figures(evidence.calibration, 90.0, 200),
        *figures.error_figures(evidence, ranking),
        *figures.drift_map_figures(evidence.drift, ["tensor"]),
        audit_figure(),
        *figures.latency_figures(latency),
        *figures.plan_figures(made_up.plan()),
    ]


def test_every_figure_is_drawn_told_and_said_in_words(every_figure: list[Figure]) -> None:
    for figure in every_figure:
        svg = drawn(figure)
        assert re.search(r"\d", figure.seen) and figure.seen.endswith("."), figure.heading
        assert figure.caption.endswith("."), figure.heading
        assert len(told(figure)) >= len(figure.rows) * (figure.template not in ("drift_blocks", "histograms"))
        assert not re.search("NaN|undefined|null|Infinity", svg), figure.heading
        assert "revision" not in svg, figure.heading
        width, height = map(float, re.findall(r'viewBox="0 0 (\d+) (\d+)"', svg)[0])
        assert width <= 520 and height <= 900, figure.heading


def test_the_page_s_colours_are_those_of_the_words(every_figure: list[Figure]) -> None:
    """So that they can be read in the dark; numbers in a cell stand on the cell's own colour."""
    for figure in every_figure:
        fills = set(re.findall(r'<text[^>]* fill="([^"]*)"', drawn(figure)))
        assert fills <= {"var(--ink)", "var(--soft)", "black", "white"}, figure.heading
        assert figure.template in ("confusion", "drift_map") or not fills & {"black", "white"}, figure.heading


def test_names_have_their_looks(every_figure: list[Figure]) -> None:
    for figure in every_figure:
        if "colour" in figure.rows and "config" in figure.rows and figure.template != "calibration":
            looks = assign_looks(figure.rows["config"])
            used = set(re.findall(r'(?:fill|stroke)="(#[0-9A-F]{6})"', drawn(figure))) - {"#767B82"}
            assert used == {look.colour for look in looks.values()} - {"#767B82"}, figure.heading


def test_gaps_are_in_the_order_of_choice_with_their_intervals(evidence: Evidence, ranking: Ranking) -> None:
    figure, against_full = figures.gap_figures(evidence.paired, ranking)
    assert (figure.heading, against_full.heading) == ("Gap to FP32", "Gap to full")
    order = [one.name for one in ranking.configurations]
    assert list(figure.rows["config"]) == order == [name for name in written(figure) if name in NAMES]
    assert "configuration: dwpw_asym, gap, points: +0.40, from: −0.10, to: +0.90" in told(figure)
    assert "−50.00 [−50.50, −49.50] (tensor) to +0.40 [−0.10, +0.90] (dwpw_asym)" in figure.seen
    assert figure.seen.endswith("wholly left of the grey band: 4 of 6.")


def test_points_of_one_share_stand_beside_each_other(every_figure: list[Figure]) -> None:
    (figure,) = (each for each in every_figure if each.template == "accuracy")
    assert len({place for name in NAMES for place in places(figure, f"configuration: {name},")}) == len(NAMES)
    assert figure.seen == "Top-1 from 40.00 % (tensor) to 90.40 % (dwpw_asym); FP32 90.00 %."


def test_learning_curves_have_both_splits_and_a_marker_for_every_epoch() -> None:
    curves = pd.concat([made_up.learning_curve(name, 3) for name in ("full", "dwpw")])
    (figure,) = figures.learning_figures(curves)
    assert len(told(figure)) == 2 * 2 * 3
    first = curves.query("config == 'full' and split == 'validation'")["top1"].iloc[-1]
    assert f"after the last epoch: full {first:.2f} %" in figure.seen


def test_a_single_epoch_is_drawn_beside_each_other() -> None:
    curves = pd.concat([made_up.learning_curve(name, 1) for name in ("full", "dwpw", "mine")])
    (figure,) = figures.learning_figures(curves)
    found = places(figure, r"configuration: \w+, images: validation")
    assert len(found) == len(set(found)) == 3, "none hides another"


@pytest.mark.parametrize("images", [(128,), (128, 512)], ids=["one number", "two"])
def test_calibration_shows_every_estimator(images: tuple[int, ...]) -> None:
    calibration = made_up.calibration().query("images in @images")
    shown = figures.calibration_figures(calibration, 90.0, 200)
    assert [figure.heading for figure in shown] == ["Calibration of tensor", "Calibration of channel"]
    for figure in shown:
        assert len(told(figure)) == 2 * len(images)
        assert "200 test images" in figure.caption


def test_latency_has_a_panel_for_each_batch(latency: pd.DataFrame) -> None:
    (figure,) = figures.latency_figures(latency)
    assert len(told(figure)) == len(latency)
    assert {"one image at once", "64 images at once"} <= set(written(figure)) and "acme-4c-vnni" in figure.caption
    assert figure.seen.startswith("By the number of images at once, ") and "64: from " in figure.seen


def test_drift_is_of_both_kinds() -> None:
    figure = figures.drift_figure(pd.concat([made_up.drift("tensor"), made_up.drift("channel")]))
    assert len(told(figure)) == 2 * 2 * 19
    assert figure.seen.startswith("In the last block, accumulated: from 0.165 (channel) to 0.550 (tensor); isolated: ")


def test_drift_map_has_kinds_in_rows_and_blocks_in_columns() -> None:
    units = [
        ("a", "block", 0, 0.5),
        ("b", "block", 1, 0.5),
        ("a.0", "depthwise", 0, 0.03),
        ("a.1", "depthwise", 1, 0.04),
    ]
    units += [("b", "dense", 2, 0.002), ("act", "lookup", 3, 0.2), ("last", "classifier", 4, 0.0001)]
    rows = [("some", index, layer, kind, "isolated", drift) for layer, kind, index, drift in units]
    table = pd.DataFrame(rows, columns=["config", "index", "layer", "layer_kind", "kind", "drift"])
    (figure,) = figures.drift_map_figures(pd.concat([table, table.assign(config="other")]), ["some"])
    cells = [words for words in told(figure) if "block" in words]
    assert {
        f"configuration: some, isolated, block: {place}, layer kind: {kind}, drift: {drift}"
        for place, kind, drift in (
            (0, "depthwise", "0.0354"),
            (1, "dense", "0.0020"),
            (1, "lookup", "0.2000"),
            (2, "classifier", "0.0001"),
        )
    } == set(cells)
    assert figure.seen == "Largest, isolated: lookup in block 1, 0.200 (act)."
    assert {"3.5", "0.2", "20"} <= set(written(figure)) and "0.0" not in written(figure)


def test_every_kind_of_layer_has_its_place() -> None:
    kinds = {NORMALIZATION, *WEIGHT_KINDS, *STORING_KINDS} - {"block"}
    for template in ("causes", "drift_map"):
        assert all(f'"{kind}"' in read_template(template) for kind in kinds)


def test_causes_leave_out_what_is_inherited_and_what_is_small() -> None:
    figure = figures.cause_figure(pd.concat(map(made_up.causes, ("tensor", "dwpw"))))
    panels = {words for words in written(figure) if words in made_up.CAUSES}
    assert panels == {"changed weights", "weight rounding", "activation rounding"}
    assert len(told(figure)) == 2 * 3 * 5
    assert (
        "configuration: tensor, cause: weight rounding, layer kind: depthwise, drift (relative L2 error): 0.01000"
        in told(figure)
    )
    assert figure.seen.startswith("Largest: activation rounding in ")
    small = figures.cause_figure(made_up.causes("tensor").assign(drift=1e-6))
    assert small.seen == "Nothing is drawn." and told(small) == []


def test_histograms_count_the_codes_used() -> None:
    figure = figures.histogram_figure(pd.concat(map(made_up.histograms, ("tensor", "channel"))))
    counts = ("tensor 26 weight", "tensor 26 activation", "channel 255 weight", "channel 256 activation")
    assert figure.seen == f"Used: {', '.join(f'{count} codes of {made_up.LAYER}' for count in counts)}."
    assert {"26 codes used", "255 codes used", "256 codes used"} <= set(written(figure))


def test_confusion_has_the_true_class_in_the_row_and_its_share_in_the_cell() -> None:
    figure = figures.confusion_figure(made_up.confusion("full"))
    assert [word for word in written(figure) if word in ("89", "11")] == ["89", "11", "89", "11", "11", "89"]
    assert sum("true class: red, predicted class: red, images: 712" in words for words in told(figure)) == 2
    assert figure.seen.startswith("264 mistakes; most often ")
    assert figure.heading == "What full takes for what"


def test_confusion_of_many_classes_fits() -> None:
    names = [f"非常に長いクラス {number}" for number in range(20)]
    rows = [("x", true, predicted, 5, 1 / 21) for true in names for predicted in [*names, "other classes"]]
    figure = figures.confusion_figure(
        pd.DataFrame(rows, columns=["config", "true_class", "predicted_class", "images", "share"])
    )
    assert len(told(figure)) == 20 * 21


def test_audit_shows_the_paper_and_what_is_nearest() -> None:
    figure = audit_figure()
    assert len(told(figure)) == len(made_up.AUDIT) + 1
    assert figure.seen.startswith("the paper") and "nearest: fusion none" in figure.seen


def test_flaws_that_lose_next_to_nothing_and_combinations_share_a_look() -> None:
    shares = {
        "range_skew": (60.0, 30.0),
        "fusion": (5.0, 3.0),
        "products": (4.0, 1.0),
        "fusion + range_skew": (70.0, 40.0),
    }
    rows = [(flaw, "1", tensor, channel) for flaw, (tensor, channel) in {**shares, "the paper": (60.0, 32.0)}.items()]
    figure = figures.audit_figure(
        pd.DataFrame(rows, columns=["flaw", "setting", "tensor_lost_pct", "channel_lost_pct"])
    )
    assert list(figure.rows["group"].unique()) == ["range_skew", "next to nothing", "several at once", "the paper"]
    assert {"range_skew", "next to nothing", "several at once", "the paper"} <= set(written(figure))
