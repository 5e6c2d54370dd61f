"""The charts of the report and of `dvc plots`: one template of Vega-Lite for both, drawn as SVG for the report."""

import json
import re
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import pandas as pd

TEMPLATES = Path(__file__).parent / "plots"
VEGA_LITE = "v5.21"
"""What the templates are written for."""

DATA = '"<DVC_METRIC_DATA>"'
"""What DVC puts its rows in place of."""

WIDTH, HEIGHT = 330, 150
"""Of a panel in the report, in pixels before the page scales it; one that stands alone may be higher."""

INK, SOFT, GRID = "var(--ink)", "var(--soft)", "var(--grid)"
"""The page's colours, which follow the reader's choice of dark or light."""

STYLE = {
    "background": None,
    "font": "system-ui, sans-serif",
    "view": {"stroke": None},
    "axis": {
        "labelColor": INK,
        "titleColor": SOFT,
        "titleFontWeight": "normal",
        "titlePadding": 10,
        "labelFontSize": 12,
        "titleFontSize": 12,
        "gridColor": GRID,
        "domainColor": SOFT,
        "tickColor": SOFT,
    },
    "header": {"labelColor": INK, "labelFontSize": 12, "labelFontWeight": "bold", "labelAnchor": "start"},
    "legend": {
        "orient": "bottom",
        "columns": 2,
        "columnPadding": 24,
        "symbolOpacity": 1,
        "labelColor": INK,
        "titleColor": SOFT,
        "titleFontWeight": "normal",
        "labelFontSize": 12,
        "titleFontSize": 12,
    },
    "point": {"opacity": 1},
    "text": {"color": INK},
}

SILENT = ("line",)
"""Marks that stand for many rows, and so tell no values."""


@cache
def read_template(name: str) -> str:
    """The text of a template."""
    return (TEMPLATES / f"{name}.json").read_text(encoding="utf-8")


def filled_template(name: str, rows: str) -> dict[str, Any]:
    """A template with these rows, a JSON array of objects."""
    spec: dict[str, Any] = json.loads(read_template(name).replace(DATA, rows))
    return spec


def title_of(name: str) -> str:
    """The title that a template gives its chart."""
    return str(json.loads(read_template(name))["title"]["text"])


def draw(name: str, rows: "pd.DataFrame") -> str:
    """A template with these rows as SVG that needs no script: pointing at a mark shows its values."""
    import vl_convert  # noqa: PLC0415  # half a second that the model cards do without

    table = rows.assign(rev="workspace").to_json(orient="records", double_precision=12)
    spec = _for_report(filled_template(name, table))
    svg = vl_convert.vegalite_to_svg(spec, vl_version=VEGA_LITE.removeprefix("v"))
    return _with_titles(svg)


def _for_report(spec: dict[str, Any]) -> dict[str, Any]:
    """A filled template in the report's style: panels below each other, one revision, values as descriptions."""
    del spec["title"]
    view = spec.get("spec", spec)
    view["width"] = WIDTH
    if "facet" in spec:
        view["height"] = view["height"] if isinstance(view["height"], dict) else min(view["height"], HEIGHT)
        spec |= {"columns": 1, "spacing": 24}
    for encoding in _encodings(spec):
        for channel in [key for key, value in encoding.items() if isinstance(value, dict) and _of_revision(value)]:
            del encoding[channel]
    _describe(view, [])
    return {**spec, "config": STYLE, "padding": 2}


def _encodings(node: Any) -> Iterator[dict[str, Any]]:
    """Every mapping of channels, wherever in a specification."""
    if isinstance(node, dict):
        if isinstance(node.get("encoding"), dict):
            yield node["encoding"]
        for value in node.values():
            yield from _encodings(value)
    elif isinstance(node, list):
        for value in node:
            yield from _encodings(value)


def _of_revision(channel: dict[str, Any]) -> bool:
    return channel.get("field") == "rev"


def _describe(view: dict[str, Any], tooltip: list[dict[str, str]]) -> None:
    """Give every mark of a view the values that Vega would show when it is pointed at."""
    tooltip = [part for part in view.get("encoding", {}).pop("tooltip", tooltip) if part["field"] != "rev"]
    for layer in view.get("layer", []):
        _describe(layer, tooltip)
    mark = view.get("mark")
    if mark is not None and tooltip and mark["type"] not in SILENT:
        mark["description"] = {"expr": " + ', ' + ".join(map(_told, tooltip))}
    elif mark is not None:
        mark["aria"] = False


def _told(part: dict[str, str]) -> str:
    """The expression for one value with its name."""
    field = f"datum[{json.dumps(part['field'])}]"
    value = f"format({field}, {json.dumps(part['format'])})" if "format" in part else field
    return f"{json.dumps(part.get('title', part['field']) + ': ')} + {value}"


MARK = re.compile(
    r'<(path|line|rect|text) aria-label="([^"]*)" role="graphics-symbol"'
    r' aria-roledescription="(?!title)[^"]*"(.*?)(/>|>)'
)
TAG = re.compile("<[^>]*>")
LEFT_OUT = re.compile(r' (?:aria-[a-z]+|role|pointer-events)="[^"]*"|(?<=\d\.\d\d)\d+')
"""In tags: what screen readers would be told of every part (the page says what is seen of the whole), and decimals."""


def _with_titles(svg: str) -> str:
    """The drawing with what every mark tells as its title, and as wide as the page wants it."""
    svg = re.sub(r' width="[\d.]+" height="[\d.]+" viewBox', " viewBox", svg, count=1)
    return TAG.sub(lambda tag: LEFT_OUT.sub("", tag[0]), MARK.sub(_titled, svg))


def _titled(mark: re.Match[str]) -> str:
    tag, told, attributes, end = mark.groups()
    return f"<{tag}{attributes}><title>{told}</title>{f'</{tag}>' if end == '/>' else ''}"
