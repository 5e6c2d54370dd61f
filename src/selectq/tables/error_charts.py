"""Charts of where the error comes from: drift, its causes, distributions, confusions, and the audit's flaws."""

from collections.abc import Sequence

import pandas as pd

from selectq.tables.charts import (
    BOTTOM,
    RIGHT,
    TOP,
    Chart,
    Curves,
    Row,
    axis_labels,
    beneath,
    by,
    ends,
    looks_of,
    rows_of,
)
from selectq.tables.looks import Look, assign_looks
from selectq.tables.plot_data import causes_by_kind
from selectq.tables.svg import (
    LINE,
    WIDTH,
    Scale,
    bars,
    grid,
    left_of,
    line,
    linear,
    logarithmic,
    marker,
    rectangle,
    series,
    shorten,
    text,
    width_of,
)

DRIFT_KINDS = {
    "accumulated": "The whole network is quantized: where the error is.",
    "isolated": "One block or layer alone is quantized, on exact input: where the error starts.",
}

CAUSE_KINDS = {
    "normalization": "pixels",
    "stem": "stem",
    "expansion": "expand",
    "depthwise": "depthw.",
    "projection": "project",
    "dense": "dense",
    "pointwise": "pointw.",
    "squeeze_excite": "sq.-exc.",
    "product": "product",
    "lookup": "function",
    "block": "sum",
    "head": "head",
    "pool": "pool",
    "classifier": "classif.",
}
"""What has an error of its own, in network order -> how it is written."""

SMALLEST_CAUSE = 1e-3
"""Of drift: what is less does not matter, and would squeeze the rest."""


def drift_charts(drift: pd.DataFrame) -> list[Chart]:
    """Drift of both kinds along the blocks."""
    blocks = [row for row in rows_of(drift) if row["layer_kind"] == "block" and row["drift"] > 0]
    return [_drift_chart(kind, rows) for kind, rows in by("kind", blocks).items()]


def _drift_chart(kind: str, rows: list[Row]) -> Chart:
    looks = looks_of("config", rows)
    y = logarithmic(row["drift"] for row in rows).between(BOTTOM, TOP)
    x = linear((row["index"] for row in rows), whole=True, margin=0.02).between(left_of(y) + 4, RIGHT)
    curves = Curves(
        "config",
        ("index", x),
        ("drift", y),
        lambda row: "{config}, block {index}: {drift:.4f}".format(**row),
        2.6,
        "thin",
    )
    axes = [*grid(x, y), *axis_labels(x, y, "block, in order of execution", "drift")]
    last = max(row["index"] for row in rows)
    low, high = ends([row for row in rows if row["index"] == last], "drift")
    return Chart(
        f"Drift of each block, {kind}",
        f"In the last block from {low['drift']:.3f} ({low['config']}) to {high['drift']:.3f} ({high['config']}).",
        f"{DRIFT_KINDS[kind]} Drift: ‖FP32 − INT8‖₂ / ‖FP32‖₂ of the block's output, logarithmic.",
        beneath(y),
        [*axes, *curves.draw(rows, looks)],
        looks,
    )


def cause_chart(causes: pd.DataFrame) -> Chart:
    """Which kinds of layers start the error, and how: a panel for each cause, a column for each kind of layer."""
    rows = [row for row in rows_of(causes_by_kind(causes)) if row["cause"] != "inherited"]
    looks, kinds = looks_of("config", rows), [kind for kind in CAUSE_KINDS if kind in by("layer_kind", rows)]
    shown = [row for row in rows if row["drift"] >= SMALLEST_CAUSE]
    scale = logarithmic([SMALLEST_CAUSE, 1.0, *(row["drift"] for row in shown)])
    left, height, gap, top = left_of(scale) + 4, 74.0, 30.0, 22.0
    x = Scale(0, len(kinds), tuple((place, "") for place in range(len(kinds) + 1)), start=left, end=RIGHT)
    column, names = (RIGHT - left) / len(kinds), list(looks)
    drawn: list[str] = []
    for cause, of_cause in by("cause", shown).items():
        y = scale.between(top + height, top)
        drawn += [text(2, top - 8, cause, css="panel"), *grid(x, y)]
        for row in of_cause:
            beside = (names.index(row["config"]) + 1) / (len(names) + 1)  # so that no marker hides another
            place = x(kinds.index(row["layer_kind"])) + column * beside, y(row["drift"])
            told = "{config}, {layer_kind}, {cause}: {drift:.4f}".format(**row)
            drawn.append(series(row["config"], [marker(place, looks[row["config"]], told)]))
        top += height + gap
    words = [CAUSE_KINDS[kind] for kind in kinds]
    rows_of_words = 1 + any(width_of(word) > column for word in words)
    for number, word in enumerate(words):
        across, down = x(number) + column / 2, top - gap + LINE * (1 + number % rows_of_words)
        drawn.append(text(min(across, RIGHT - width_of(word) / 2 + 8), down, word, "middle", "small"))
    largest = (
        "Nothing is drawn"
        if not shown
        else "Largest: {cause} in {layer_kind} layers, {drift:.3f} ({config})".format(**ends(shown, "drift")[1])
    )
    return Chart(
        "What starts the error, by kind of layer",
        f"{largest}.",
        "Root mean square, over the layers of a kind, of the drift that they add to what they inherit, logarithmic;"
        f" less than {SMALLEST_CAUSE:g} is not drawn. `dvc plots show` has all configurations.",
        top - gap + (1 + rows_of_words) * LINE,
        drawn,
        looks,
    )


def range_charts(ranges: pd.DataFrame) -> list[Chart]:
    """Each channel's range in the FP32 network, of every inspected layer (the paper's figure 3)."""
    return [_range_chart(layer, rows) for layer, rows in by("layer", rows_of(ranges)).items()]


def _range_chart(layer: str, rows: list[Row]) -> Chart:
    y = linear([0, *(row[end] for row in rows for end in ("low", "high"))]).between(BOTTOM, TOP)
    x = linear((row["channel"] for row in rows), margin=0.01).between(left_of(y) + 4, RIGHT)
    places = [(x(row["channel"]), y(row["low"]), y(row["high"])) for row in rows]
    spans = sorted(row["high"] - row["low"] for row in rows)
    median = spans[len(spans) // 2]
    times = f", {spans[-1] / median:.1f} times the median" if median else ""
    return Chart(
        f"Channel ranges of {layer}",
        f"Of {len(rows):,} channels the widest spans {spans[-1]:.2f}{times}.",
        "Each channel's activations in the FP32 network. One scale serves them all: the more unequal, the fewer integer"
        " codes the narrow channels get.",
        beneath(y),
        [
            *grid(x, y),
            *axis_labels(x, y, "channel", "activation, lowest to highest"),
            bars(places, max(1.0, 0.9 * (x.end - x.start) / len(rows)), "bars"),
        ],
    )


def histogram_charts(histograms: pd.DataFrame) -> list[Chart]:
    """How often each integer code occurs, of every inspected layer (the paper's figure 4)."""
    return [_histogram_chart(layer, rows) for layer, rows in by("layer", rows_of(histograms)).items()]


def _histogram_chart(layer: str, rows: list[Row]) -> Chart:
    looks, used = looks_of("config", rows), []
    y = logarithmic(100 * row["share"] for row in rows)
    across = {
        tensor: linear((row["level"] for row in of_tensor), margin=0.02)
        for tensor, of_tensor in by("tensor", rows).items()
    }
    left, height, between, top, drawn = left_of(y) + 4, 66.0, 14.0, 38.0, []
    width = (RIGHT - left - between * (len(across) - 1)) / len(across)
    for name, of_name in by("config", rows).items():
        for place, (tensor, of_tensor) in enumerate(by("tensor", of_name).items()):
            start = left + place * (width + between)
            x, up = across[tensor].between(start, start + width), y.between(top + height, top)
            places = [(x(row["level"]), up.start, up(100 * row["share"])) for row in of_tensor]
            drawn += [text(left, top - 23, name, css="panel"), text(start, top - 8, f"{len(of_tensor)} {tensor} codes")]
            drawn += grid(x, Scale(up.low, up.high, () if place else up.ticks, up.bend, up.start, up.end))
            drawn.append(bars(places, max(0.8, 0.8 * width / (x.high - x.low)), colour=looks[name].colour))
            used.append(f"{name} {len(of_tensor)} {tensor} codes")
        top += height + 58
    return Chart(
        f"Integer codes used by {layer}",
        f"Used: {', '.join(used)}.",
        "Share of the values on each integer code (%, logarithmic). Few codes, or nearly all values on one, mean that"
        " the scale is too coarse for most of them.",
        top - 36,
        drawn,
    )


LEGIBLE = 21.0
"""A cell of a confusion matrix that is wider shows its share."""


def confusion_chart(confusion: pd.DataFrame) -> Chart:
    """What one program takes for what: the true classes in rows, what they are taken for in columns."""
    rows = rows_of(confusion)
    true, predicted = list(by("true_class", rows)), list(by("predicted_class", rows))
    widest = min(110.0, max(map(width_of, (*true, *predicted))))
    left, top = widest + 12, 22.0
    side = (WIDTH - left - 2) / len(predicted)
    height = min(side, 26.0)
    drawn = [text(2, 11, "true class", css="label"), text(WIDTH - 2, 11, "what it is taken for: below", "end", "label")]
    for row in rows:
        x, y = left + side * predicted.index(row["predicted_class"]), top + height * true.index(row["true_class"])
        look = f'class="cell" fill-opacity="{row["share"] ** 0.5:.2f}"' if row["share"] else 'class="empty"'
        told = "{true_class} taken for {predicted_class}: {images} images, {percent:.1f} %".format(
            percent=100 * row["share"], **row
        )
        drawn.append(rectangle((x, y), (side - 1, height - 1), look, told))
        if side >= LEGIBLE and round(100 * row["share"]):
            css = "light" if row["share"] > 0.45 else "small"
            drawn.append(text(x + side / 2, y + height / 2 + 4, f"{100 * row['share']:.0f}", "middle", css))
    bottom = top + height * len(true)
    for place in range(0, len(true), _every(height)):
        drawn.append(text(left - 6, top + height * (place + 0.5) + 4, shorten(true[place], left - 10), "end"))
    turned = any(width_of(name) > side for name in predicted)
    for place in range(0, len(predicted), _every(side) if turned else 1):
        drawn.append(_column_name(left + side * (place + 0.5), bottom, shorten(predicted[place], left - 10), turned))
    wrong = [row for row in rows if row["true_class"] != row["predicted_class"] and row["images"]]
    most = (
        "; most often {true_class} for {predicted_class}, {images} times".format(**ends(wrong, "images")[1])
        if wrong
        else ""
    )
    return Chart(
        f"What {rows[0]['config']} takes for what",
        f"{sum(row['images'] for row in wrong):,} mistakes{most}.",
        "Of each true class (row) the share, in percent, that is taken for each class (column). Of many classes, the 20"
        " of which most images go wrong.",
        bottom + (12 + 0.75 * widest if turned else 1.4 * LINE),
        drawn,
    )


def _every(room: float) -> int:
    """Of names with so much room each, one in so many can be written."""
    return max(1, -(-13 // int(room)))


def _column_name(x: float, y: float, name: str, turned: bool) -> str:
    if not turned:
        return text(x, y + LINE, name, "middle")
    return f'<g transform="rotate(-45 {x:.1f} {y:.1f})">{text(x - 4, y + 8, name, "end")}</g>'


PAPER = "the paper"
COMBINED = "several at once"
HARMLESS = "next to nothing"
CROWD = 12.0
"""Flaws that lose less, in points of the share lost, lie on each other: one look for them all."""

GREY = "#767B82"
SHARED = {COMBINED: Look(GREY, "cross"), HARMLESS: Look(GREY, "circle"), PAPER: Look("#E4002B", "diamond")}


def audit_chart(audit: pd.DataFrame) -> Chart:
    """What flaws lose per channel and per tensor; columns as `audit_points` gives them."""
    rows = rows_of(audit.assign(group=_audit_groups(audit)))
    groups = by("group", rows)
    looks = assign_looks(group for group in groups if group not in SHARED) | SHARED
    y = linear([0, 100], margin=0.03).between(330, TOP)
    x = linear([0, 100], margin=0.03).between(left_of(y) + 4, RIGHT)
    drawn = [*grid(x, y), line([(x(0), y(0)), (x(100), y(100))], "zero")]
    drawn += axis_labels(x, y, "lost per channel (%)", "lost per tensor (%)")
    for group, of_group in groups.items():
        places = [(x(row["channel_lost_pct"]), y(row["tensor_lost_pct"])) for row in of_group]
        size = 7 if group == PAPER else 4
        joined = [line(places, "thin", looks[group].colour)] if _in_steps(of_group) and group not in SHARED else []
        points = [marker(place, looks[group], _lost(row), size) for place, row in zip(places, of_group, strict=True)]
        drawn.append(series(group, [*joined, *points]))
    wanted = groups[PAPER][0]
    nearest = min((row for row in rows if row is not wanted), key=lambda row: _distance(row, wanted))
    return Chart(
        "What each flaw loses",
        f"{_lost(wanted)}; nearest: {_lost(nearest)}.",
        "Share that PTQ with a flaw loses of what is above chance. On the diagonal, a scale per channel does not help."
        " The settings of one flaw are joined.",
        beneath(y),
        drawn,
        {group: looks[group] for group in groups},
    )


def _lost(row: Row) -> str:
    name = f"{row['flaw']} {row['setting']}".strip()
    return f"{name}: {row['tensor_lost_pct']:.0f} % per tensor, {row['channel_lost_pct']:.0f} % per channel"


def _in_steps(rows: Sequence[Row]) -> bool:
    """Whether the settings are several numbers."""
    return len(rows) > 1 and all(row["setting"].replace(".", "", 1).isdigit() for row in rows)


def _distance(one: Row, other: Row) -> float:
    return sum((one[column] - other[column]) ** 2 for column in ("channel_lost_pct", "tensor_lost_pct"))


def _audit_groups(audit: pd.DataFrame) -> "pd.Series[str]":
    """What each row of `audit_chart` is shown as: its flaw, or what it shares a look with."""
    worst = audit[["channel_lost_pct", "tensor_lost_pct"]].max(axis=1).groupby(audit["flaw"]).transform("max")
    groups = audit["flaw"].mask(audit["flaw"].str.contains(" + ", regex=False), COMBINED)
    return groups.mask((worst < CROWD) & (groups != COMBINED), HARMLESS)
