"""Pictures: the same bytes for the same data, nothing left out, and looks that stay apart."""

import made_up
import pandas as pd
from matplotlib.figure import Figure

from selectq.params.configs import LAYER_KINDS
from selectq.tables import charts


def test_same_data_same_bytes() -> None:
    ranges = made_up.channel_ranges()
    first, again = (charts.to_svg(charts.paint_channel_ranges, ranges, 3.0) for _ in range(2))
    other = charts.to_svg(charts.paint_channel_ranges, ranges.assign(high=ranges["high"] * ranges["channel"]), 3.0)
    assert first == again
    assert first != other
    assert first.startswith(b"<?xml")


def test_every_kind_of_layer_has_its_colour() -> None:
    assert set(charts.LAYER_KIND_COLOURS) == set(LAYER_KINDS) - {"batchnorm"}
    assert len(set(charts.LAYER_KIND_COLOURS.values())) == len(charts.LAYER_KIND_COLOURS)


def test_looks_stay_apart() -> None:
    names = [f"config{number}" for number in range(40)]
    looks = charts.assign_looks(names)
    assert list(looks) == ["fp32", *names]
    assert len(set(looks.values())) == 41


def test_layer_drift_shows_every_layer() -> None:
    drift = made_up.drift()
    shown = drift[(drift["kind"] == "isolated") & (drift["layer_kind"] != "block")]
    figure = Figure()
    charts.paint_layer_drift(figure, shown)
    assert [axes.get_title(loc="left") or axes.get_title() for axes in figure.axes] == ["tensor", "channel"]
    heights = [sorted(bar.get_height() for bar in axes.patches) for axes in figure.axes]  # type: ignore[attr-defined]
    assert heights == [sorted(rows["drift"]) for _, rows in shown.groupby("config", sort=False)]


def test_histograms_count_the_levels_used() -> None:
    figure = Figure()
    charts.paint_histograms(figure, made_up.histograms(), charts.assign_looks(["tensor", "channel"]))
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
