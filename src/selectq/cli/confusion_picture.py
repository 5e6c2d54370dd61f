"""The confusion matrix as a picture."""

import io
import math
from collections.abc import Iterator, Sequence
from typing import Any

import matplotlib as mpl
import numpy as np
from matplotlib.axes import Axes
from matplotlib.colors import Colormap, Normalize, PowerNorm
from matplotlib.figure import Figure
from matplotlib.ticker import FixedLocator, PercentFormatter
from numpy.typing import NDArray

from selectq.cli.fonts import find_fonts
from selectq.cli.text import printable
from selectq.confusion import Confusion

COUNTED_CLASSES = 20
"""Up to so many classes, each cell shows its count."""

NAMED_CLASSES = 120
"""Up to so many classes, each is named; beyond, every second, third ... one."""

LONGEST_NAME = 28
"""In letters; of a longer name the beginning is drawn."""

SMALLEST_INCHES, LARGEST_INCHES = 5.0, 14.0
INCHES_PER_COUNT, INCHES_PER_CELL = 0.54, 0.125
"""Side of a cell with a count in it, and without."""

SMALLEST_SHARE = 1e-6
"""Below every share that is not 0."""

WITHOUT_IMAGES = "#d0d0d0"

LUMINANCE_WEIGHTS = (0.2126, 0.7152, 0.0722)
EQUAL_CONTRAST = 0.179
"""The luminance on which black and white text are equally readable, 4.6 : 1."""

STYLE: dict[Any, Any] = {
    "font.size": 9.0,
    "axes.titlesize": 10.5,
    "axes.titlelocation": "left",
    "axes.edgecolor": "#888888",
    "xtick.major.size": 0,
    "ytick.major.size": 0,
    "text.parse_math": False,  # a class may be called $
}
DOTS_PER_INCH = 160


def confusion_png(confusion: Confusion, title: str) -> bytes:
    """The PNG file of a confusion matrix; the same bytes for the same content."""
    content, classes = io.BytesIO(), [printable(name) for name in confusion.classes]
    title = "\n".join(map(printable, title.split("\n")))
    families, missing = find_fonts("".join([title, *classes]))
    per_class = INCHES_PER_COUNT if len(confusion.classes) <= COUNTED_CLASSES else INCHES_PER_CELL
    side = min(max(per_class * len(confusion.classes), SMALLEST_INCHES), LARGEST_INCHES)
    with mpl.rc_context({**STYLE, "font.family": families}):
        figure = Figure(figsize=(side + 2.0, side + 1.2), layout="constrained")
        named = Confusion(tuple(_drawn_names(classes, missing)), confusion.counts)
        paint_confusion(figure, named, "".join("?" if letter in missing else letter for letter in title))
        if any(set(name) & missing for name in classes):
            figure.axes[0].set_xlabel("predicted class (#2: the second in per_class.csv; no font here has its letters)")
        figure.savefig(content, format="png", dpi=DOTS_PER_INCH, metadata={"Software": None})
    return content.getvalue()


def _drawn_names(classes: Sequence[str], missing: set[str]) -> Iterator[str]:
    """Names that can be drawn: shortened, and the class's number in per_class.csv where no font has a letter of it."""
    for number, name in enumerate(classes, start=1):
        if set(name) & missing:
            yield f"#{number}"
        else:
            yield name if len(name) <= LONGEST_NAME else f"{name[: LONGEST_NAME - 1]}…"


def paint_confusion(figure: Figure, confusion: Confusion, title: str) -> None:
    """Colours by the share of the true class; counts in the cells up to `COUNTED_CLASSES`."""
    # Of the perceptually uniform maps, one that is light where there is little. Most cells of a good program are far
    # below 10 %: the square root spreads them. White is left for "never", grey for a class without images.
    colours = mpl.colormaps["magma_r"].with_extremes(bad=WITHOUT_IMAGES, under="white")
    scaling = PowerNorm(0.5, vmin=SMALLEST_SHARE, vmax=1)
    axes = figure.subplots()
    image = axes.imshow(np.ma.masked_invalid(confusion.shares), cmap=colours, norm=scaling, interpolation="nearest")
    axes.set_title(title)
    axes.set_xlabel("predicted class")
    axes.set_ylabel("true class")
    _name_classes(axes, confusion.classes)
    if len(confusion.classes) <= COUNTED_CLASSES:
        _write_counts(axes, confusion, colours, scaling)
    bar = figure.colorbar(image, ax=axes, shrink=0.6, aspect=30, pad=0.02)
    bar.outline.set_visible(False)
    bar.set_label("share of the true class's images")
    bar.ax.yaxis.set_major_locator(FixedLocator([SMALLEST_SHARE, 0.01, 0.05, 0.1, 0.25, 0.5, 0.75, 1]))
    bar.ax.yaxis.set_major_formatter(PercentFormatter(1, decimals=0, symbol=" %"))


def _name_classes(axes: Axes, classes: tuple[str, ...]) -> None:
    step = math.ceil(len(classes) / NAMED_CLASSES)
    named = range(0, len(classes), step)
    size = 9.0 if len(classes) <= COUNTED_CLASSES else 6.0
    labels = [classes[index] for index in named]
    axes.set_xticks(named, labels, fontsize=size, rotation=90 if len(classes) > COUNTED_CLASSES else 45)
    if len(classes) <= COUNTED_CLASSES:
        for label in axes.get_xticklabels():
            label.set(ha="right", rotation_mode="anchor")
    axes.set_yticks(named, labels, fontsize=size)


def _write_counts(axes: Axes, confusion: Confusion, colours: Colormap, scaling: Normalize) -> None:
    """The count in every cell that has one, dark on light cells and light on dark ones."""
    for row, column in zip(*np.nonzero(confusion.counts), strict=True):
        background = np.array(colours(scaling(confusion.shares[row, column]))[:3])
        colour = "black" if _luminance(background) > EQUAL_CONTRAST else "white"
        axes.text(column, row, f"{confusion.counts[row, column]:,}", ha="center", va="center", color=colour, fontsize=8)
    for row in np.flatnonzero(confusion.images == 0).tolist():
        axes.text((len(confusion.classes) - 1) / 2, row, "no images", ha="center", va="center", fontsize=8)


def _luminance(colour: NDArray[np.float64]) -> float:
    """WCAG's relative luminance of an sRGB colour (3,)."""
    linear = np.where(colour <= 0.04045, colour / 12.92, ((colour + 0.055) / 1.055) ** 2.4)
    return float(linear @ LUMINANCE_WEIGHTS)
