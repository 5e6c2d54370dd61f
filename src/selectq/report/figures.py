"""The figures of the report: which rows each shows, and in words what is seen in it."""

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import pandas as pd

from selectq.report.evidence import Evidence
from selectq.report.looks import Look, assign_looks, with_looks
from selectq.report.plan import Content, plan_map, plan_points
from selectq.report.vega import title_of
from selectq.report.verdict import Ranking
from selectq.statistics.schemas import rows_of


@dataclass(frozen=True)
class Figure:
    """A chart: its template, its rows, what is seen in it, and how it is to be read."""

    template: str
    rows: pd.DataFrame
    seen: str
    caption: str
    title: str = ""

    @property
    def heading(self) -> str:
        """The title, by default the template's."""
        return self.title or title_of(self.template)


def from_to(table: pd.DataFrame, column: str, words: str) -> str:
    """The rows of the lowest and of the highest value in `words`, a format of their columns."""
    ordered = table.sort_values(column, kind="stable")
    return " to ".join(dict.fromkeys(_write(words, ordered.iloc[place]) for place in (0, -1)))


def _largest(table: pd.DataFrame, column: str) -> "pd.Series[Any]":
    """The row of the highest value, of equals the first."""
    return table.sort_values(column, kind="stable", ascending=False).iloc[0]


def _write(words: str, row: "pd.Series[Any]") -> str:
    """With true minus signs."""
    return re.sub(r"(?<!\w)-(?=\d)", "−", words.format(**row))


def _each(table: pd.DataFrame, column: str, value: str, words: str) -> str:
    """What `from_to` says of each group that a column makes, with the group's name where there are several."""
    groups = [(str(name), rows) for name, rows in table.groupby(column, sort=False)]
    named = (f"{name}: " if len(groups) > 1 else "" for name, _ in groups)
    return "; ".join(f"{name}from {from_to(rows, value, words)}" for name, (_, rows) in zip(named, groups, strict=True))


def gap_figures(paired: pd.DataFrame, ranking: Ranking) -> list[Figure]:
    """Every comparison with one reference, in the order of the ranking."""
    order = [one.name for one in ranking.configurations]
    figures = []
    for reference, gaps in paired.groupby("reference", sort=False):
        name = "FP32" if reference == "fp32" else str(reference)
        rows = with_looks(gaps.sort_values("config", key=lambda names: names.map(order.index)), "config")
        found = from_to(rows, "gap_points", "{gap_points:+.2f} [{ci_low:+.2f}, {ci_high:+.2f}] ({config})")
        below = sum(rows["ci_high"] < -ranking.margin)
        figures.append(
            Figure(
                "gaps",
                rows.assign(margin=ranking.margin),
                f"{found}; wholly left of the grey band: {below} of {len(rows)}.",
                "One training of each; line: the interval over the choice of the test images; band:"
                f" ±{ranking.margin:g} points, less than counts. The scale is logarithmic on both sides of its middle.",
                f"Gap to {name}",
            )
        )
    return figures


def accuracy_figure(points: pd.DataFrame) -> Figure:
    """Accuracy of every INT8 program against the share of the parameters that was retrained for it."""
    return Figure(
        "accuracy",
        with_looks(points, "config"),
        f"Top-1 from {from_to(points, 'int8_top1', '{int8_top1:.2f} % ({config})')}; FP32"
        f" {points['fp32_top1'].iloc[0]:.2f} %.",
        "A point for each INT8 program, of one training; its bar is a standard error. The further left, the less was"
        " retrained; points of one share stand beside each other. Dashed: FP32.",
    )


def learning_figures(learning: pd.DataFrame) -> list[Figure]:
    """Accuracy by epoch: of the FP32 training, and of retraining."""
    if not len(learning):
        return []
    last = learning[learning["split"] == "validation"].groupby("config", sort=False).tail(1)
    found = ", ".join(f"{row.config} {row.top1:.2f} %" for row in rows_of(last))
    figure = Figure(
        "learning",
        with_looks(learning, "config"),
        f"On the validation images after the last epoch: {found}.",
        "Faint: on the training images, as augmented. After a single epoch the configurations stand beside each other.",
    )
    return [figure]


def calibration_figures(calibration: pd.DataFrame, fp32_top1: float, images: int) -> list[Figure]:
    """Accuracy by range estimator and number of calibration images, on so many test images, of each configuration."""
    words = "{test_top1:.2f} % ({estimator}, {images:,} images)"
    return [
        Figure(
            "calibration",
            with_looks(rows, "estimator").assign(fp32_top1=fp32_top1),
            f"Top-1 from {from_to(rows, 'test_top1', words)}.",
            f"PTQ by range estimator and number of calibration images, simulated, on {images:,} test images. Dashed:"
            " FP32 on all of them.",
            f"Calibration of {config}",
        )
        for config, rows in calibration.groupby("config", sort=False)
    ]


DRIFT_KINDS = (
    "Accumulated: the whole network is quantized, where the error is. Isolated: one block or layer alone is quantized,"
    " on exact input, where the error starts."
)


def drift_figure(drift: pd.DataFrame) -> Figure:
    """Drift of both kinds along the blocks."""
    last = drift[drift["layer_kind"] == "block"]
    last = last[last["index"] == last["index"].max()]
    return Figure(
        "drift_blocks",
        with_looks(drift, "config"),
        f"In the last block, {_each(last, 'kind', 'drift', '{drift:.3f} ({config})')}.",
        f"{DRIFT_KINDS} Drift: ‖FP32 − INT8‖₂ / ‖FP32‖₂ of the block's output, logarithmic.",
    )


SMALLEST_CAUSE = 1e-3
"""Of drift: what is less does not matter, and would squeeze the rest."""


def causes_by_kind(causes: pd.DataFrame) -> pd.DataFrame:
    """The root mean square of what starts in the layers of a kind, by configuration, kind and cause."""
    single = causes[~causes["cause"].isin(["total", "inherited"])]
    return _root_mean_square(single, ["config", "cause", "layer_kind"])


def _root_mean_square(drift: pd.DataFrame, columns: list[str]) -> pd.DataFrame:
    """Of the drift of each group that the columns make."""
    squares = drift.assign(drift=drift["drift"] ** 2)
    means = squares.groupby(columns, sort=False, as_index=False)["drift"].mean()
    return means.assign(drift=means["drift"] ** 0.5)


def cause_figure(causes: pd.DataFrame) -> Figure:
    """Which kinds of layers start the error, and how: a panel for each cause, a column for each kind of layer."""
    rows = causes_by_kind(causes)
    shown = rows[rows["drift"] >= SMALLEST_CAUSE]
    words = "Largest: {cause} in {layer_kind} layers, {drift:.3f} ({config})."
    return Figure(
        "causes",
        with_looks(shown, "config"),
        _write(words, _largest(shown, "drift")) if len(shown) else "Nothing is drawn.",
        "Root mean square, over the layers of a kind, of the drift that they add to what they inherit, logarithmic;"
        f" less than {SMALLEST_CAUSE:g} is not drawn. `dvc plots show` has all configurations.",
        "What starts the error, by kind of layer",
    )


def range_figure(ranges: pd.DataFrame) -> Figure:
    """Each channel's range in the FP32 network, of every inspected layer (the paper's figure 3)."""
    found = []
    for layer, rows in ranges.groupby("layer", sort=False):
        spans = (rows["high"] - rows["low"]).sort_values(ignore_index=True)
        median, widest = spans[len(spans) // 2], spans.iloc[-1]
        times = f", {widest / median:.1f} times the median" if median else ""
        found.append(f"{layer}: of {len(rows):,} channels the widest spans {widest:.2f}{times}")
    return Figure(
        "channel_ranges",
        ranges,
        f"{'; '.join(found)}.",
        "Each channel's activations in the FP32 network. One scale serves them all: the more unequal, the fewer integer"
        " codes the narrow channels get.",
    )


def histogram_figure(histograms: pd.DataFrame) -> Figure:
    """How often each integer code occurs, of every inspected layer (the paper's figure 4)."""
    counts = histograms.groupby(["layer", "config", "tensor"], sort=False, as_index=False).agg(codes=("level", "size"))
    used = ", ".join(f"{row.config} {row.codes} {row.tensor} codes of {row.layer}" for row in rows_of(counts))
    return Figure(
        "histograms",
        with_looks(histograms, "config"),
        f"Used: {used}.",
        "Share of the values on each integer code, logarithmic. Few codes, or nearly all values on one, mean that the"
        " scale is too coarse for most of them.",
        "Integer codes used",
    )


def confusion_figure(confusion: pd.DataFrame) -> Figure:
    """What one program takes for what: the true classes in rows, what they are taken for in columns."""
    wrong = confusion[(confusion["true_class"] != confusion["predicted_class"]) & (confusion["images"] > 0)]
    words = "; most often {true_class} for {predicted_class}, {images} times"
    most = words.format(**_largest(wrong, "images")) if len(wrong) else ""
    return Figure(
        "confusion",
        confusion,
        f"{wrong['images'].sum():,} mistakes{most}.",
        "Of each true class (row) the share, in percent, that is taken for each class (column). Of many classes, the 20"
        " of which most images go wrong.",
        f"What {confusion['config'].iloc[0]} takes for what",
    )


BLOCK = "block"


def drift_map_figures(drift: pd.DataFrame, configs: Sequence[str]) -> list[Figure]:
    """Kinds of layers in rows, depth in columns (what the paper's section 6.1 proposes), for each configuration."""
    figures = []
    for config in configs if len(drift) else ():
        layers = with_places(drift[drift["config"] == config])
        worst = layers.loc[layers.groupby("kind", sort=False)["drift"].idxmax()]
        words = "{kind}: {layer_kind} in block {place}, {drift:.3f} ({layer})"
        figures.append(
            Figure(
                "drift_map",
                _root_mean_square(layers, ["config", "kind", "layer_kind", "place"]),
                f"Largest, {'; '.join(_write(words, row) for _, row in worst.iterrows())}.",
                f"{DRIFT_KINDS} Root mean square over the layers of a kind in a block, logarithmic: lightest up to"
                " 0.001; numbers are percent.",
                f"{config}: drift by kind and depth",
            )
        )
    return figures


def with_places(drift: pd.DataFrame) -> pd.DataFrame:
    """The rows of layers, each with the number of its block as `place`: one that is in none stands behind them all,
    but an elementwise function with the layer that it follows."""
    is_block = drift["layer_kind"] == BLOCK
    blocks = drift[is_block].set_index("layer")["index"].to_dict()
    places: list[int] = []
    for row in rows_of(drift[~is_block]):
        parts = str(row.layer).split(".")
        around = [path for path in (".".join(parts[:end]) for end in range(len(parts), 0, -1)) if path in blocks]
        follows = places and row.layer_kind in ("lookup", "product")
        places.append(blocks[around[0]] if around else places[-1] if follows else len(blocks))
    return drift[~is_block].assign(place=places)


PAPER = "the paper"
CROWD = 12.0
"""Flaws that lose less, in points of the share lost, lie on each other: one look for them all."""

SHARED = {
    "several at once": Look("#767B82", "cross"),
    "next to nothing": Look("#767B82", "circle"),
    PAPER: Look("#E4002B", "diamond"),
}


def audit_figure(audit: pd.DataFrame) -> Figure:
    """What flaws lose per channel and per tensor; columns as `audit_points` gives them."""
    lost = audit[["channel_lost_pct", "tensor_lost_pct"]]
    worst = lost.max(axis=1).groupby(audit["flaw"]).transform("max")
    several = audit["flaw"].str.contains(" + ", regex=False)
    group = audit["flaw"].mask(several, "several at once").mask((worst < CROWD) & ~several, "next to nothing")
    looks = assign_looks(name for name in group if name not in SHARED) | SHARED
    in_steps = audit["setting"].str.fullmatch(r"\d+\.?\d*").groupby(audit["flaw"]).transform("all")
    rows = audit.assign(
        group=group,
        joined=in_steps & ~group.isin(SHARED),
        place=range(len(audit)),
        size=[170 if name == PAPER else 60 for name in group],
        colour=[looks[name].colour for name in group],
        marker=[looks[name].marker for name in group],
    )
    wanted = group == PAPER
    nearness = -((lost - lost[wanted].iloc[0]) ** 2).sum(axis=1)
    nearest = _largest(rows.assign(nearness=nearness)[~wanted], "nearness")
    return Figure(
        "audit",
        rows,
        f"{_lost(rows[wanted].iloc[0])}; nearest: {_lost(nearest)}.",
        "Share that PTQ with a flaw loses of what is above chance. On the diagonal, a scale per channel does not help."
        " The settings of one flaw are joined.",
    )


def _lost(row: "pd.Series[Any]") -> str:
    name = f"{row['flaw']} {row['setting']}".strip()
    return f"{name}: {row['tensor_lost_pct']:.0f} % per tensor, {row['channel_lost_pct']:.0f} % per channel"


def latency_figures(latency: pd.DataFrame) -> list[Figure]:
    """Time per image beside other runtimes, for each machine."""
    words = "{ms_per_image:.3f} ms ({program}, {case})"
    return [
        Figure(
            "latency",
            with_looks(rows.assign(batch=rows["batch"].astype(int)), "case"),
            f"By the number of images at once, {_each(rows, 'batch', 'ms_per_image', words)}.",
            f"One thread of {machine} with {rows['versions'].iloc[0]}; logarithmic.",
            "Time per image",
        )
        for machine, rows in latency.groupby("machine", sort=False)
    ]


def plan_figures(plan: Content) -> list[Figure]:
    """The curve of a plan, and what it expects of each layer."""
    points, gains = plan_points(plan), plan_map(plan)
    curve = Figure(
        "plan",
        points,
        f"Top-1 from {from_to(points, 'top1', '{top1:.2f} % ({treatment})')}; needed: an interval above"
        f" {points['needed_top1'].iloc[0]:.2f} %.",
        "On the validation images; bars are intervals of the gap to FP32. The further left, the less was retrained.",
    )
    if gains.empty:
        return [curve]
    most = _largest(gains, "expected_gain")
    heat = Figure(
        "plan_map",
        gains,
        f"The most is expected of {most['layer_kind']} layers in tenth {most['depth']} of the network.",
        "Share of all expected gain, by kind of layer and depth; a dot where layers are retrained. Gains of different"
        " layers do not add up: a score, no forecast.",
    )
    return [curve, heat]


def worst_and_best(ranking: Ranking) -> list[str]:
    """The configuration of the lowest accuracy, and the recommended one or else that of the highest.

    What takes a panel for each configuration is shown of these alone; `dvc plots show` has them all.
    """
    ordered = sorted(ranking.gaps, key=lambda name: ranking.gaps[name].points)
    best = ranking.recommended.name if ranking.recommended else ordered[-1]
    return list(dict.fromkeys([ordered[0], best]))


def error_figures(evidence: Evidence, ranking: Ranking) -> list[Figure]:
    """Where the error comes from."""
    telling = worst_and_best(ranking)
    causes, histograms, confusion = (
        table[table["config"].isin(configs)]
        for table, configs in (
            (evidence.causes, telling),
            (evidence.histograms, telling),
            (evidence.confusion, telling[-1:]),
        )
    )
    figures: list[tuple[pd.DataFrame, Callable[[pd.DataFrame], Figure]]] = [
        (evidence.drift, drift_figure),
        (causes, cause_figure),
        (evidence.channel_ranges, range_figure),
        (histograms, histogram_figure),
        (confusion, confusion_figure),
    ]
    return [figure(rows) for rows, figure in figures if len(rows)]
