"""Pictures: the same bytes for the same data, nothing left out, and looks that stay apart."""

import made_up
import pandas as pd
import pytest
from matplotlib.figure import Figure

from selectq.params.configs import LAYER_KINDS
from selectq.tables import charts
from selectq.tables.plot_data import causes_by_kind


def test_same_data_same_bytes() -> None:
    ranges = made_up.channel_ranges()
    first, again = (charts.to_svg(charts.paint_channel_ranges, ranges, 3.0) for _ in range(2))
    other = charts.to_svg(charts.paint_channel_ranges, ranges.assign(high=ranges["high"] * ranges["channel"]), 3.0)
    assert first == again
    assert first != other
    assert first.startswith(b"<?xml")


def test_every_kind_of_layer_has_its_panel() -> None:
    kinds = [kind for panel in charts.LAYER_PANELS.values() for kind in panel]
    assert sorted(kinds) == sorted(set(LAYER_KINDS) - {"batchnorm"})


def test_every_kind_of_layer_has_causes() -> None:
    assert sorted(charts.CAUSE_KINDS) == sorted({*LAYER_KINDS, "block", "pool"} - {"batchnorm"})


def test_looks_stay_apart() -> None:
    names = [f"config{number}" for number in range(40)]
    looks = charts.assign_looks(names)
    assert list(looks) == ["fp32", *names]
    assert len(set(looks.values())) == 41


def test_layer_drift_shows_every_layer_of_every_configuration() -> None:
    names = ("tensor", "channel")
    drift = pd.concat(made_up.drift(name) for name in names)
    shown = drift[(drift["kind"] == "isolated") & (drift["layer_kind"] != "block")]
    figure = Figure()
    charts.paint_layer_drift(figure, shown, charts.assign_looks(names))
    assert [axes.get_title(loc="left") or axes.get_title() for axes in figure.axes] == list(charts.LAYER_PANELS)
    heights = sorted(height for axes in figure.axes for line in axes.lines for height in line.get_ydata())
    assert heights == sorted(shown["drift"])
    assert [text.get_text() for text in figure.legends[0].get_texts()] == list(names)


def test_gaps_have_a_line_for_each_configuration_and_the_margin_behind() -> None:
    gaps = made_up.paired().query("reference == 'fp32'")
    figure = Figure()
    charts.paint_gaps(figure, gaps, charts.assign_looks(gaps["config"]), margin_points=0.5)
    (axes,) = figure.axes
    assert [label.get_text() for label in axes.get_yticklabels()] == list(made_up.INT8_TOP1)
    assert [line.get_segments()[0][:, 0].tolist() for line in axes.collections] == gaps[
        ["ci_low", "ci_high"]
    ].to_numpy().tolist()
    assert [line.get_xdata()[0] for line in axes.lines[1:]] == list(gaps["gap_points"])
    assert axes.patches[0].get_extents().transformed(axes.transData.inverted()).intervalx == pytest.approx([-0.5, 0.5])
    assert axes.get_xlabel() == "gap to fp32 (points, logarithmic beyond ±2)"


def test_small_gaps_are_on_a_linear_axis() -> None:
    gaps, figure = made_up.paired().query("reference == 'full'"), Figure()
    charts.paint_gaps(figure, gaps, charts.assign_looks(gaps["config"]), margin_points=0.5)
    assert (figure.axes[0].get_xscale(), figure.axes[0].get_xlabel()) == ("linear", "gap to full (points)")


def test_causes_show_every_kind_of_every_configuration() -> None:
    names = ("tensor", "dwpw")
    shown = causes_by_kind(pd.concat(map(made_up.causes, names)))
    figure = Figure()
    charts.paint_causes(figure, shown, charts.assign_looks(names))
    titles = [axes.get_title(loc="left") or axes.get_title() for axes in figure.axes]
    assert titles == [cause for cause in made_up.CAUSES if cause != "total"]
    for axes, title in zip(figure.axes, titles, strict=True):
        lines = [line for line in axes.lines if line.get_label() in names]
        heights = [list(line.get_ydata()) for line in lines]
        expected = shown[shown["cause"] == title]
        assert heights == [list(expected[expected["config"] == name]["drift"]) for name in names]
        kinds = [list(charts.CAUSE_KINDS)[round(x)] for x in lines[0].get_xdata()]
        assert kinds == [*made_up.KINDS_OF_A_BLOCK, "block", "classifier"]
        assert max(lines[0].get_xdata() - lines[1].get_xdata()) < 0, "side by side"


def test_histograms_count_the_levels_used() -> None:
    figure, names = Figure(), ("tensor", "channel")
    charts.paint_histograms(figure, pd.concat(map(made_up.histograms, names)), charts.assign_looks(names))
    counts = [axes.texts[0].get_text() for axes in figure.axes]
    assert counts == ["26 levels used", "26 levels used", "255 levels used", "256 levels used"]


def test_one_level_is_enough_for_a_histogram() -> None:
    rows = [("tensor", "weight", 0, 1.0), ("tensor", "activation", 0, 1.0)]
    single = pd.DataFrame(rows, columns=["config", "tensor", "level", "share"])
    figure = Figure()
    charts.paint_histograms(figure, single, charts.assign_looks(["tensor"]))
    assert [axes.texts[0].get_text() for axes in figure.axes] == ["1 levels used", "1 levels used"]


def test_learning_curves_name_each_configuration_once() -> None:
    curves = pd.concat([made_up.learning_curve(name, 3) for name in ("full", "dwpw")])
    figure = Figure(layout="constrained")
    charts.paint_learning(figure, curves, charts.assign_looks(["full", "dwpw"]))
    assert [text.get_text() for text in figure.legends[0].get_texts()] == ["full", "dwpw"]
    assert len(figure.axes[0].lines) == 4


def test_confusion_has_the_true_class_in_the_row_and_its_share_in_the_cell() -> None:
    figure = Figure()
    charts.paint_confusion(figure, made_up.confusion("full"))
    (axes,) = figure.axes
    assert [label.get_text() for label in axes.get_yticklabels()] == list(made_up.CLASSES)
    written = {text.get_position(): text.get_text() for text in axes.texts}
    assert written == {(0, 0): "89", (1, 0): "11", (1, 1): "89", (2, 1): "11", (2, 2): "89", (0, 2): "11"}
    assert axes.get_ylim()[0] > axes.get_ylim()[1], "the first class is at the top"


def test_confusion_of_many_classes_is_not_written_out() -> None:
    names = [f"class {number}" for number in range(charts.COUNTED_CLASSES + 1)]
    rows = [(true, predicted, 1 / len(names)) for true in names for predicted in [*names, "other classes"]]
    figure = Figure()
    charts.paint_confusion(figure, pd.DataFrame(rows, columns=["true_class", "predicted_class", "share"]))
    assert not figure.axes[0].texts
    assert len(figure.axes[0].get_xticklabels()) == len(names) + 1


def test_calibration_shows_every_point_in_its_configuration_s_panel() -> None:
    figure = Figure()
    charts.paint_calibration(figure, made_up.calibration(), 90.0)
    assert [axes.get_title(loc="left") or axes.get_title() for axes in figure.axes] == ["tensor", "channel"]
    for axes, top1 in zip(figure.axes, (40.0, 60.0), strict=True):
        baseline, *lines = axes.lines
        assert set(baseline.get_ydata()) == {90.0}
        assert [list(line.get_xydata().flat) for line in lines] == [[128, top1 + 0.125, 512, top1 + 0.5]] * 2
    assert [text.get_text() for text in figure.legends[0].get_texts()] == ["FP32", "minmax", "mse"]


def test_latency_has_a_panel_for_each_machine_and_batch() -> None:
    columns = ["machine", "case", "batch", "program", "ms_per_image"]
    rows = [
        (machine, case, batch, program, 1.0)
        for machine in ("acme", "bolt")
        for case in ("asymmetric", "symmetric")
        for batch in (1, 64)
        for program in ("ours", "theirs")
    ]
    figure = Figure()
    charts.paint_latency(figure, pd.DataFrame(rows, columns=columns))
    titles = [axes.get_title(loc="left") or axes.get_title() for axes in figure.axes]
    assert titles == [
        f"{machine}\n{batch} at once" for machine in ("acme", "bolt") for batch in ("one image", "64 images")
    ]
    assert [text.get_text() for text in figure.legends[0].get_texts()] == ["asymmetric", "symmetric"]
