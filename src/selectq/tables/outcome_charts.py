"""Charts of what came out: gaps, accuracies, learning curves, calibration, latency."""

from collections.abc import Callable, Sequence
from dataclasses import replace

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
    fp32_line,
    looks_of,
    rows_of,
)
from selectq.tables.looks import assign_looks
from selectq.tables.svg import (
    LINE,
    Scale,
    apart,
    bent,
    grid,
    left_of,
    line,
    linear,
    logarithmic,
    marker,
    rectangle,
    series,
    text,
    width_of,
    write,
)
from selectq.tables.tables import Table2Row

LINEAR_POINTS = 0.5
"""Gaps are on a linear axis up to about so many points: one that fails would squeeze all others into a dot."""

GAP_MARKS = (-90, -50, -20, -10, -5, -2, -1, -0.5, 0, 0.5, 1, 2, 5, 10, 20, 50)


def gap_chart(gaps: pd.DataFrame, order: Sequence[str], margin: float) -> Chart:
    """Of paired comparisons with one reference: a line for each interval, a marker at the gap, the margin as a band."""
    rows = sorted(rows_of(gaps), key=lambda row: order.index(row["config"]))
    reference = "FP32" if rows[0]["reference"] == "fp32" else str(rows[0]["reference"])
    looks, step, top = looks_of("config", rows), 22.0, 6.0
    left, bottom = 14 + max(map(width_of, looks)), top + step * len(rows)
    reach = [row[end] for row in rows for end in ("ci_low", "ci_high")]
    x = apart(bent([*reach, -margin, margin], LINEAR_POINTS, GAP_MARKS, "+").between(left, RIGHT))
    drawn = [rectangle((x(-margin), top), (x(margin) - x(-margin), bottom - top), 'class="band"')]
    drawn += [*grid(x, Scale(0, 1, (), start=bottom, end=top)), line([(x(0), top), (x(0), bottom)], "zero")]
    for place, row in enumerate(rows):
        y, name = top + step * (place + 0.5), row["config"]
        interval = line([(x(row["ci_low"]), y), (x(row["ci_high"]), y)], "bar", looks[name].colour)
        point = marker((x(row["gap_points"]), y), looks[name], f"{name}: {_write_gap(row)}", 5)
        drawn.append(series(name, [text(left - 8, y + 4, name, "end"), interval, point]))
    drawn.append(text(RIGHT, bottom + 2.2 * LINE, f"points against {reference}", "end", "label"))
    found = " to ".join(f"{_write_gap(row)} ({row['config']})" for row in _distinct(ends(rows, "gap_points")))
    below = sum(row["ci_high"] < -margin for row in rows)
    return Chart(
        f"Gap to {reference}",
        f"{found}; wholly left of the grey band: {below} of {len(rows)}.",
        f"One training of each; line: the interval over the choice of the test images; band: ±{margin:g} points, less"
        " than counts. The scale is logarithmic on both sides of its middle.",
        bottom + 2.6 * LINE,
        drawn,
    )


def _distinct(rows: Sequence[Row]) -> list[Row]:
    return [row for place, row in enumerate(rows) if row not in rows[:place]]


def _write_gap(row: Row) -> str:
    gap, low, high = (_signed(row[column]) for column in ("gap_points", "ci_low", "ci_high"))
    return f"{gap} [{low}, {high}]"


def _signed(value: float) -> str:
    return f"+{value:.2f}" if value >= 0 else write(value, 2)


def accuracy_chart(rows: Sequence[Table2Row]) -> Chart:
    """Accuracy of every INT8 program against the share of the parameters that was retrained for it."""
    shares: dict[float, list[Table2Row]] = {}
    for row in rows:
        if row.params_retrained_pct is not None:
            shares.setdefault(row.params_retrained_pct, []).append(row)
    shown = [row for of_share in shares.values() for row in of_share]
    looks, fp32 = assign_looks(row.config for row in shown), rows[0].fp32_top1
    y = linear([fp32, *(row.int8_top1 or 0 for row in shown)]).between(BOTTOM, TOP)
    x = bent([-0.3, 150], 1, (0, 1, 10, 100)).between(left_of(y) + 4, RIGHT)
    drawn = [*grid(x, y), *fp32_line(x, y, fp32), *axis_labels(x, y, "parameters retrained (%)", "top-1 (%)")]
    for share, of_share in shares.items():
        for number, row in enumerate(of_share):
            top1, error = row.int8_top1 or 0, row.standard_error_points
            across = x(share) + 7 * (number - (len(of_share) - 1) / 2)  # so that no marker hides another
            told = f"{row.config}: {top1:.2f} % with {share:.2f} % retrained; standard error {error:.2f}"
            error_bar = line([(across, y(top1 - error)), (across, y(top1 + error))], "thin", looks[row.config].colour)
            drawn.append(series(row.config, [error_bar, marker((across, y(top1)), looks[row.config], told, 5)]))
    worst, best = (pick(shown, key=lambda row: row.int8_top1 or 0) for pick in (min, max))
    return Chart(
        "Accuracy against the retrained share",
        f"Top-1 from {worst.int8_top1:.2f} % ({worst.config}) to {best.int8_top1:.2f} % ({best.config}); FP32"
        f" {fp32:.2f} %.",
        "A point for each INT8 program, of one training; its bar is a standard error. The further left, the less was"
        " retrained; points of one share stand beside each other.",
        beneath(y),
        drawn,
        looks,
    )


MANY_EPOCHS = 30
"""Whose markers would hide the curve."""


def learning_charts(learning: pd.DataFrame) -> list[Chart]:
    """Accuracy by epoch: of the FP32 training, and of retraining."""
    rows = rows_of(learning)
    fp32, others = ([row for row in rows if (row["config"] == "fp32") is is_fp32] for is_fp32 in (True, False))
    shown = (("FP32 training", fp32), ("Retraining (QAT)", others))
    return [_learning_chart(heading, part) for heading, part in shown if part]


def _learning_chart(heading: str, rows: list[Row]) -> Chart:
    looks, epochs = looks_of("config", rows), sorted({row["epoch"] for row in rows})
    y = linear(row["top1"] for row in rows).between(BOTTOM, TOP)
    place, below, scale = _epoch_axis(list(looks), epochs)
    x = scale.between(left_of(y) + 4, RIGHT)
    drawn = [*grid(x, y), *axis_labels(x, y, below, "top-1 (%)")]
    large = 3.4 if len(epochs) < MANY_EPOCHS else 1.8
    for split, size, css in (("train", 1.4, "dotted"), ("validation", large, "solid")):
        curves = Curves("config", ("place", x), ("top1", y), _told_of_epoch, size, css)
        drawn += curves.draw([{**row, "place": place(row)} for row in rows if row["split"] == split], looks)
    last = [row for row in rows if row["epoch"] == epochs[-1] and row["split"] == "validation"]
    found = ", ".join(f"{row['config']} {row['top1']:.2f} %" for row in last)
    return Chart(
        heading,
        f"On the validation images after {'one epoch' if len(epochs) == 1 else f'epoch {epochs[-1]}'}: {found}.",
        "Large markers: on the validation images. Small ones, dotted: on the training images, as augmented.",
        beneath(y),
        drawn,
        looks,
    )


def _told_of_epoch(row: Row) -> str:
    return "{config}, epoch {epoch}, {split}: {top1:.2f} %".format(**row)


Axis = tuple[Callable[[Row], float], str, Scale]
"""Where a row stands across, the axis' words, and its scale."""


def _epoch_axis(configs: list[str], epochs: list[int]) -> Axis:
    """By epoch; of a single one the configurations stand beside each other, as points."""
    if len(epochs) > 1:
        return lambda row: row["epoch"], "epoch", linear(epochs, whole=True, margin=0.03)
    beside = Scale(-0.5, len(configs) - 0.5, ())
    return lambda row: configs.index(row["config"]), f"all after epoch {epochs[0]}, beside each other", beside


def calibration_charts(calibration: pd.DataFrame, fp32_top1: float, images: int) -> list[Chart]:
    """Accuracy by range estimator and number of calibration images, a chart for each configuration."""
    return [
        _calibration_chart(name, rows, fp32_top1, images) for name, rows in by("config", rows_of(calibration)).items()
    ]


def _calibration_chart(name: str, rows: list[Row], fp32_top1: float, images: int) -> Chart:
    looks, counts = looks_of("estimator", rows), sorted({row["images"] for row in rows})
    y = linear([fp32_top1, *(row["test_top1"] for row in rows)]).between(BOTTOM, TOP)
    place, below, scale = _calibration_axis(list(looks), counts)
    x = apart(scale.between(left_of(y) + 4, RIGHT))
    placed = [{**row, "place": place(row)} for row in rows]
    curves = Curves(
        "estimator",
        ("place", x),
        ("test_top1", y),
        lambda row: "{estimator}, {images:,} images: {test_top1:.2f} %".format(**row),
    )
    found = " to ".join(
        "{test_top1:.2f} % ({estimator}, {images:,} images)".format(**row) for row in ends(rows, "test_top1")
    )
    return Chart(
        f"Calibration of {name}",
        f"Top-1 from {found}.",
        f"PTQ by range estimator and number of calibration images, simulated, on {images:,} test images. Dashed: FP32"
        " on all of them.",
        beneath(y),
        [*grid(x, y), *fp32_line(x, y, fp32_top1), *axis_labels(x, y, below, "top-1 (%)"), *curves.draw(placed, looks)],
        looks,
    )


def _calibration_axis(estimators: list[str], counts: list[int]) -> Axis:
    """By number of images; of a single one the estimators stand beside each other."""
    if len(counts) == 1:
        marks = tuple((float(place), name) for place, name in enumerate(estimators))
        by_name = Scale(-0.5, len(estimators) - 0.5, marks)
        return lambda row: estimators.index(row["estimator"]), f"estimator, with {counts[0]:,} images", by_name
    spread = logarithmic([counts[0] / 1.2, counts[-1] * 1.2])
    return lambda row: row["images"], "calibration images", replace(spread, ticks=tuple((n, f"{n:,}") for n in counts))


def latency_charts(latency: pd.DataFrame) -> list[Chart]:
    """Time per image beside other runtimes, a chart for each machine and batch."""
    machines = by("machine", rows_of(latency)).values()
    return [_latency_chart(rows) for of_machine in machines for rows in by("batch", of_machine).values()]


def _latency_chart(rows: list[Row]) -> Chart:
    looks, programs, step, top = looks_of("case", rows), by("program", rows), 36.0, 4.0
    bottom = top + step * len(programs)
    x = logarithmic(row["ms_per_image"] for row in rows).between(10, RIGHT)
    drawn = grid(x, Scale(0, 1, (), start=bottom, end=top))
    for place, (program, of_program) in enumerate(programs.items()):
        y = top + step * place
        drawn += [text(10, y + 13, program, css="panel"), line([(x.start, y + 25), (x.end, y + 25)], "grid")]
        for row in of_program:
            told = f"{program}, {row['case']}: {row['ms_per_image']:.3f} ms per image"
            drawn.append(series(row["case"], [marker((x(row["ms_per_image"]), y + 25), looks[row["case"]], told, 5)]))
    drawn.append(text(RIGHT, bottom + 2.2 * LINE, "ms per image, logarithmic", "end", "label"))
    found = " to ".join("{ms_per_image:.3f} ms ({program}, {case})".format(**row) for row in ends(rows, "ms_per_image"))
    batch = rows[0]["batch"]
    return Chart(
        f"Time per image, {'one image' if batch == 1 else f'{batch} images'} at once",
        f"From {found}.",
        f"One thread of {rows[0]['machine']} with {rows[0]['versions']}.",
        bottom + 2.6 * LINE,
        drawn,
        looks,
    )
