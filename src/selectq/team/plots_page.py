"""The page that `dvc plots show` fills, with all of Vega in it: DVC's own page loads that from the network."""

from pathlib import Path

from selectq.errors import UserError
from selectq.files import write_bytes
from selectq.report.vega import VEGA_LITE
from selectq.team.dvc import opened

PAGE = Path("plots") / "page.html"
"""In `.dvc/`. It is made anew from the installed library, not committed."""

EMBED = """
const AXIS_WIDTH = 70;  // pixels beside a panel, where a template's usermeta says no other
const PHONE = 600;
const fitted = (spec, room) => {
  const axis = spec.usermeta?.axis_width ?? AXIS_WIDTH;
  const narrowed = (view) => view.width > 0 ? {...view, width: Math.min(view.width, room - axis)} : view;
  const stacked = room < PHONE ? {columns: 3, layout: {top: {anchor: "start", direction: "vertical"}}} : {};
  const fit = {...spec, config: {...spec.config, legend: {...spec.config?.legend, ...stacked}}};
  if (!spec.columns) return narrowed(fit);  // one panel, or a template of DVC's own
  const columns = Math.max(1, Math.floor(room / (spec.spec.width + axis)));
  return {...fit, columns: Math.min(spec.columns, columns), spec: narrowed(spec.spec)};
};
window.vegaEmbed = (element, spec) => {
  const room = document.querySelector(element).clientWidth;
  return vegaEmbed(element, fitted(spec, room), {renderer: "svg", actions: room >= PHONE});
};
"""
"""What the page calls for every chart: panels beside each other as there is room, none wider than the screen."""

HEAD = """<!DOCTYPE html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
{refresh_tag}
<title>selectq: plots</title>
<style>
  body { font: 16px/1.5 system-ui, sans-serif; color: #222; margin: 0 auto; padding: 1rem; max-width: 72rem; }
  body > div { margin: 0 0 2rem; overflow-x: auto; }
  table { border-collapse: collapse; }
  td, th { padding: 0.2rem 0.6rem; border-bottom: 1px solid #ddd; text-align: right; }
</style>
<script>
"""

BODY = """
</script>
</head>
<body>
<h1>Plots</h1>
{plot_divs}
</body>
</html>
"""


def install_plots_page(checkout: Path) -> None:
    """Write the page, and have DVC use it in this checkout.

    Raises:
        UserError: DVC or Vega is not installed.
    """
    write_bytes(checkout / ".dvc" / PAGE, (HEAD + _vega() + BODY).encode())
    with opened(checkout) as repository, repository.config.edit("local") as local:
        local.setdefault("plots", {})["html_template"] = str(PAGE)


def _vega() -> str:
    try:
        import vl_convert  # noqa: PLC0415  # half a second that no other command needs
    except ImportError:
        raise UserError("Vega is not installed; install selectq[pipeline], or run `make setup`") from None
    return vl_convert.javascript_bundle(EMBED, VEGA_LITE)
