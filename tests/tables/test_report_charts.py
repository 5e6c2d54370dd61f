"""Charts: nothing left out, every point where its value is, and words that say what is seen."""

import re

import made_up
import pandas as pd
import pytest

from selectq.graph.nodes import NORMALIZATION
from selectq.params.configs import STORING_KINDS, WEIGHT_KINDS
from selectq.tables import drift_map, error_charts, outcome_charts
from selectq.tables.audit import audit_points, compare_with_paper
from selectq.tables.charts import Chart
from selectq.tables.looks import assign_looks
from selectq.tables.paper import read_paper

NAMES = list(made_up.INT8_TOP1)


def told(chart: Chart) -> list[str]:
    """What pointing at the chart's marks tells."""
    return re.findall("<title>(.*?)</title>", "".join(chart.elements))


def written(chart: Chart) -> list[str]:
    """The words in the picture."""
    return re.findall("<text[^>]*>(.*?)</text>", "".join(chart.elements))


def places(chart: Chart, colour: str) -> list[tuple[float, float]]:
    """Of the markers of a colour."""
    found = re.findall(rf'translate\(([\d.-]+),([\d.-]+)\)scale\([\d.]+\)" fill="{colour}"', "".join(chart.elements))
    return [(float(x), float(y)) for x, y in found]


def all_charts() -> list[Chart]:
    tables = {
        name: pd.concat(map(getattr(made_up, name), NAMES)) for name in ("drift", "causes", "histograms", "confusion")
    }
    learning = pd.concat(made_up.learning_curve(name, 3) for name in ("fp32", "full", "dwpw"))
    audit = compare_with_paper(made_up.audit(), read_paper())
    return [
        *(outcome_charts.gap_chart(rows, NAMES, 0.5) for _, rows in made_up.paired().groupby("reference")),
        *outcome_charts.learning_charts(learning),
        *outcome_charts.calibration_charts(made_up.calibration(), 90.0, 200),
        *error_charts.drift_charts(tables["drift"]),
        *drift_map.drift_maps(tables["drift"], ["tensor", "dwpw"]),
        error_charts.cause_chart(tables["causes"]),
        *error_charts.range_charts(made_up.channel_ranges()),
        *error_charts.histogram_charts(tables["histograms"]),
        error_charts.confusion_chart(made_up.confusion("full")),
        error_charts.audit_chart(audit_points(audit, made_up.audit(), read_paper())),
    ]


def test_everything_is_inside_the_picture_and_said_in_words() -> None:
    for chart in all_charts():
        drawn = "".join(chart.elements)
        across = [float(x) for x in re.findall(r'(?: x="|translate\()([\d.-]+)', drawn)]
        down = [float(y) for y in re.findall(r' y="([\d.-]+)', drawn)]
        assert min(across) >= 0 and max(across) <= 440, chart.heading
        assert min(down) >= 0 and max(down) <= chart.height, chart.heading
        assert re.search(r"\d", chart.seen) and chart.caption.endswith("."), chart.heading
        assert "nan" not in drawn


def test_gaps_are_in_the_order_of_choice_with_their_intervals() -> None:
    order = list(reversed(NAMES))
    chart = outcome_charts.gap_chart(made_up.paired().query("reference == 'fp32'"), order, 0.5)
    assert [words.partition(":")[0] for words in told(chart)] == order
    assert "dwpw_asym: +0.40 [−0.10, +0.90]" in told(chart)
    assert "−50.00 [−50.50, −49.50] (tensor) to +0.40 [−0.10, +0.90] (dwpw_asym)" in chart.seen
    assert chart.seen.endswith("wholly left of the grey band: 4 of 6.")


def test_learning_curves_have_both_splits_and_a_marker_for_every_epoch() -> None:
    curves = pd.concat([made_up.learning_curve(name, 3) for name in ("full", "dwpw")])
    (chart,) = outcome_charts.learning_charts(curves)
    assert len(told(chart)) == 2 * 2 * 3
    assert list(chart.legend) == ["full", "dwpw"]
    first = curves.query("config == 'full' and split == 'validation'")["top1"].iloc[-1]
    assert f"after epoch 3: full {first:.2f} %" in chart.seen


def test_a_single_epoch_is_drawn_as_points_beside_each_other() -> None:
    curves = pd.concat([made_up.learning_curve(name, 1) for name in ("full", "dwpw", "mine")])
    (chart,) = outcome_charts.learning_charts(curves)
    found = [places(chart, look.colour)[0][0] for look in assign_looks(["full", "dwpw", "mine"]).values()]
    assert found == sorted(set(found)), "none hides another"
    assert 'class="solid"' not in "".join(chart.elements) and "after one epoch" in chart.seen


@pytest.mark.parametrize("images", [(128,), (128, 512)], ids=["one number", "two"])
def test_calibration_shows_every_estimator(images: tuple[int, ...]) -> None:
    calibration = made_up.calibration().query("images in @images")
    charts = outcome_charts.calibration_charts(calibration, 90.0, 200)
    assert [chart.heading for chart in charts] == ["Calibration of tensor", "Calibration of channel"]
    for chart in charts:
        assert len(told(chart)) == 2 * len(images)
        assert "200 test images" in chart.caption and "FP32" in written(chart)


def test_latency_has_a_chart_for_each_machine_and_batch(latency: pd.DataFrame) -> None:
    charts = outcome_charts.latency_charts(latency)
    assert [chart.heading for chart in charts] == [
        "Time per image, 64 images at once",
        "Time per image, one image at once",
    ]
    assert sum(len(told(chart)) for chart in charts) == len(latency)
    assert all("acme-4c-vnni" in chart.caption for chart in charts)


def test_drift_grows_upwards() -> None:
    accumulated, isolated = error_charts.drift_charts(pd.concat([made_up.drift("tensor"), made_up.drift("channel")]))
    assert "accumulated" in accumulated.heading and "isolated" in isolated.heading
    heights = [y for _, y in places(accumulated, assign_looks(["tensor"])["tensor"].colour)]
    assert len(heights) == 19 and heights == sorted(heights, reverse=True)
    assert accumulated.seen == "In the last block from 0.165 (channel) to 0.550 (tensor)."


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
    (chart,) = drift_map.drift_maps(pd.concat([table, table.assign(config="other")]), ["some"])
    assert told(chart) == [
        "some, block 0, depthwise: 0.0354",
        "some, block 1, dense: 0.0020",
        "some, block 1, lookup: 0.2000",
        "some, block 2, classifier: 0.0001",
    ]
    assert chart.seen == "Largest: lookup in block 1, 0.200 (act)."
    depthwise, dense, lookup, classifier = (
        float(x) for x in re.findall('fill-opacity="(.*?)"', "".join(chart.elements))
    )
    assert lookup == 1 > depthwise > dense > classifier == 0
    assert {"3.5", "0.2", "20"} <= set(written(chart))


def test_every_kind_of_layer_has_causes() -> None:
    assert sorted(error_charts.CAUSE_KINDS) == sorted({NORMALIZATION, *WEIGHT_KINDS, *STORING_KINDS})


def test_causes_leave_out_what_is_inherited_and_what_is_small() -> None:
    chart = error_charts.cause_chart(pd.concat(map(made_up.causes, ("tensor", "dwpw"))))
    assert [words for words in written(chart) if words in made_up.CAUSES] == [
        "changed weights",
        "weight rounding",
        "activation rounding",
    ]
    assert len(told(chart)) == 2 * 3 * 5 and "tensor, depthwise, weight rounding: 0.0100" in told(chart)


def test_histograms_count_the_codes_used() -> None:
    (chart,) = error_charts.histogram_charts(pd.concat(map(made_up.histograms, ("tensor", "channel"))))
    counts = ("tensor 26 weight", "tensor 26 activation", "channel 255 weight", "channel 256 activation")
    assert chart.seen == f"Used: {', '.join(f'{count} codes' for count in counts)}."


def test_one_code_is_enough_for_a_histogram() -> None:
    rows = [("tensor", "x", tensor, 0, 1.0) for tensor in ("weight", "activation")]
    single = pd.DataFrame(rows, columns=["config", "layer", "tensor", "level", "share"])
    assert "tensor 1 weight codes" in error_charts.histogram_charts(single)[0].seen


def test_confusion_has_the_true_class_in_the_row_and_its_share_in_the_cell() -> None:
    chart = error_charts.confusion_chart(made_up.confusion("full"))
    assert [word for word in written(chart) if word.isdigit()] == ["89", "11", "89", "11", "11", "89"]
    assert "red taken for red: 712 images, 89.0 %" in told(chart) and "blue taken for red: 88 images, 11.0 %" in told(
        chart
    )
    assert chart.seen.startswith("264 mistakes; most often ")


def test_confusion_of_many_classes_fits() -> None:
    names = [f"非常に長いクラス {number}" for number in range(20)]
    rows = [("x", true, predicted, 5, 1 / 21) for true in names for predicted in [*names, "other classes"]]
    columns = ["config", "true_class", "predicted_class", "images", "share"]
    chart = error_charts.confusion_chart(pd.DataFrame(rows, columns=columns))
    assert len(told(chart)) == 20 * 21 and "…" in "".join(written(chart))


def test_audit_shows_the_paper_and_what_is_nearest() -> None:
    audited = compare_with_paper(made_up.audit(), read_paper())
    chart = error_charts.audit_chart(audit_points(audited, made_up.audit(), read_paper()))
    assert len(told(chart)) == len(made_up.AUDIT) + 1
    assert chart.seen.startswith("the paper") and "nearest: fusion none" in chart.seen


def test_flaws_that_lose_next_to_nothing_and_combinations_share_a_look() -> None:
    shares = {
        "range_skew": (60.0, 30.0),
        "fusion": (5.0, 3.0),
        "products": (4.0, 1.0),
        "fusion + range_skew": (70.0, 40.0),
    }
    rows = [(flaw, "1", tensor, channel) for flaw, (tensor, channel) in {**shares, "the paper": (60.0, 32.0)}.items()]
    columns = ["flaw", "setting", "tensor_lost_pct", "channel_lost_pct"]
    chart = error_charts.audit_chart(pd.DataFrame(rows, columns=columns))
    assert list(chart.legend) == ["range_skew", "next to nothing", "several at once", "the paper"]
