"""Drawing in SVG: scales from values to places, and the elements of a chart. The page has the colours of text."""

import math
import unicodedata
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from html import escape

from selectq.tables.looks import Look

WIDTH = 440
"""Of every chart, in its own units; a page scales it. Text is 12 high, readable on a phone too."""
CHARACTER = 7.4
"""Mean width of a character of that text, of a wide font."""

WIDTHS = dict.fromkeys("mwMW@%", 1.4) | dict.fromkeys("fijlrt.,:;'|()[] ", 0.6)
"""Of characters that are far from the mean, as a part of it."""
LINE = 15


@dataclass(frozen=True)
class Scale:
    """From values in [low, high] to places in [start, end].

    Attributes:
        low, high: the ends, as values.
        ticks: values that are marked, with their words.
        bend: the scale is linear in `bend(value)`.
        start, end: the places of the ends.
    """

    low: float
    high: float
    ticks: tuple[tuple[float, str], ...]
    bend: Callable[[float], float] = float
    start: float = 0.0
    end: float = 1.0

    def between(self, start: float, end: float) -> "Scale":
        """The same between other places."""
        return replace(self, start=start, end=end)

    def __call__(self, value: float) -> float:
        """The place of a value; of one outside, that of the nearer end."""
        low, high, bent = (self.bend(one) for one in (self.low, self.high, min(max(value, self.low), self.high)))
        return self.start + (self.end - self.start) * (bent - low) / (high - low)


def linear(values: Iterable[float], *, whole: bool = False, margin: float = 0.06) -> Scale:
    """All values, with some room beside them, and two to six marks at round numbers."""
    low, high = _ends(values, smallest=1.0 if whole else 1e-9)
    room = margin * (high - low)
    step = _round_step((high - low) / 5)
    step = max(1.0, round(step)) if whole else step
    decimals = max(0, -math.floor(math.log10(step) + 1e-9))
    marks = [number * step for number in range(math.ceil(low / step - 1e-6), math.floor(high / step + 1e-6) + 1)]
    return Scale(low - room, high + room, tuple((mark, write(mark, decimals)) for mark in marks))


def logarithmic(values: Iterable[float]) -> Scale:
    """All values above 0, marked at powers of ten: at three times these too where there are few, or at every second."""
    low, high = _ends([value for value in values if value > 0], smallest=0.0)
    low, high = low / 1.15, high * 1.15
    decades = math.log10(high / low)
    powers = range(math.floor(math.log10(low)), math.ceil(math.log10(high)) + 1)
    marks = [
        (factor * 10.0**power, write(factor * 10.0**power, max(0, -power)))
        for power in powers
        for factor in ((1, 3) if decades < 3 else (1,))
        if decades < 5 or power % 2 == 0
    ]
    return Scale(low, high, tuple(mark for mark in marks if low <= mark[0] <= high), math.log10)


def bent(values: Iterable[float], linear_to: float, marks: Iterable[float], sign: str = "") -> Scale:
    """All values, linear about 0 and logarithmic beyond about `linear_to`: small and large ones are told apart."""
    low, high = _ends(values, smallest=1e-9)
    room = 0.05 * (math.asinh(high / linear_to) - math.asinh(low / linear_to))
    low, high = (
        linear_to * math.sinh(math.asinh(end / linear_to) + side) for end, side in ((low, -room), (high, room))
    )
    shown = tuple((mark, _signed(mark, sign)) for mark in marks if low <= mark <= high)
    return Scale(low, high, shown, lambda value: math.asinh(value / linear_to))


def apart(scale: Scale) -> Scale:
    """Without the marks whose words would touch others': those nearest to 0 stay."""
    kept: list[tuple[float, str]] = []
    for value, words in sorted(scale.ticks, key=lambda tick: abs(tick[0])):
        needed = width_of(words) + CHARACTER
        if all(abs(scale(value) - scale(other)) >= (needed + width_of(told)) / 2 for other, told in kept):
            kept.append((value, words))
    return replace(scale, ticks=tuple(kept))


def _signed(value: float, sign: str) -> str:
    return f"{value:{sign}g}".replace("-", "−") if value else "0"


def write(value: float, decimals: int) -> str:
    """A number with a true minus sign."""
    return f"{value:,.{decimals}f}".replace("-", "−")


def _ends(values: Iterable[float], smallest: float) -> tuple[float, float]:
    found = [*values]
    low, high = min(found), max(found)
    missing = max(0.0, smallest - (high - low)) / 2
    return low - missing, high + missing


def _round_step(step: float) -> float:
    power = 10.0 ** math.floor(math.log10(step))
    return next(factor * power for factor in (1, 2, 5, 10) if factor * power >= step * 0.999)


def width_of(words: str) -> float:
    """About how wide a text is: East Asian characters take two places."""
    return CHARACTER * sum(
        1.8 if unicodedata.east_asian_width(sign) in "WF" else WIDTHS.get(sign, 1.0) for sign in words
    )


def shorten(words: str, room: float) -> str:
    """A text that fits into so much room, with an ellipsis where it had to be cut."""
    if width_of(words) <= room:
        return words
    kept = next(end for end in range(len(words), -1, -1) if width_of(words[:end]) + CHARACTER <= room or not end)
    return f"{words[:kept]}…"


def text(x: float, y: float, words: str, anchor: str = "start", css: str = "") -> str:
    """Words whose baseline begins, ends or is centred (`anchor`) at a place."""
    kind = f' class="{css}"' if css else ""
    return f'<text x="{x:.4g}" y="{y:.4g}" text-anchor="{anchor}"{kind}>{escape(words)}</text>'


def line(points: Iterable[tuple[float, float]], css: str = "", colour: str = "") -> str:
    """A line through places."""
    drawn = "L".join(f"{x:.1f},{y:.1f}" for x, y in points)
    kind, stroke = f' class="{css}"' if css else "", f' stroke="{colour}"' if colour else ""
    return f'<path d="M{drawn}" fill="none"{kind}{stroke}/>'


def rectangle(at: tuple[float, float], size: tuple[float, float], attributes: str, told: str = "") -> str:
    """A rectangle by its upper left corner, and its width and height; `told` is shown when it is pointed at."""
    (x, y), (width, height) = at, size
    shape = f'<rect x="{x:.1f}" y="{y:.1f}" width="{width:.1f}" height="{height:.1f}" {attributes}'
    return f"{shape}>{_title(told)}</rect>" if told else f"{shape}/>"


def bars(places: Iterable[tuple[float, float, float]], width: float, css: str = "", colour: str = "") -> str:
    """Upright lines, each from one height to another at a place across: (x, y, y)."""
    drawn = "".join(f"M{x:.1f},{low:.1f}V{high:.1f}" for x, low, high in places)
    kind, stroke = f' class="{css}"' if css else "", f' stroke="{colour}"' if colour else ""
    return f'<path d="{drawn}" stroke-width="{width:.2f}"{kind}{stroke}/>'


def marker(at: tuple[float, float], look: Look, told: str = "", size: float = 4) -> str:
    """A marker; `told` is shown when it is pointed at. The page holds the outlines."""
    x, y = at
    place = f'href="#m-{look.marker}" transform="translate({x:.1f},{y:.1f})scale({size:g})" fill="{look.colour}"'
    return f"<use {place}>{_title(told)}</use>"


def _title(told: str) -> str:
    return f"<title>{escape(told)}</title>" if told else ""


def series(name: str, elements: Sequence[str]) -> str:
    """What belongs to one name; the page brings it out when the name is pointed at."""
    return f'<g data-name="{escape(name)}">{"".join(elements)}</g>'


def grid(x: Scale, y: Scale) -> list[str]:
    """Lines across at the marks of both scales, with their words below and on the left."""
    drawn = []
    for value, words in y.ticks:
        drawn.append(line([(x.start, y(value)), (x.end, y(value))], "grid"))
        drawn.append(text(x.start - 6, y(value) + 4, words, "end"))
    for value, words in x.ticks:
        drawn.append(line([(x(value), y.start), (x(value), y.end)], "grid"))
        drawn.append(text(x(value), y.start + LINE, words, "middle"))
    return [*drawn, line([(x.start, y.start), (x.end, y.start)], "axis")]


def left_of(scale: Scale) -> float:
    """The room that a vertical scale's words take on the left of it."""
    return 8 + max((width_of(words) for _, words in scale.ticks), default=0.0)
