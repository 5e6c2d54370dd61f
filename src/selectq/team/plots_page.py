"""The page that `dvc plots show` fills, with all of Vega in it: DVC's own page loads that from the network."""

from pathlib import Path

from selectq.errors import UserError
from selectq.files import write_bytes
from selectq.team.dvc import ask_dvc

VEGA_LITE = "v5.21"
"""What the templates in `.dvc/plots/` are written for."""

PAGE = Path("plots") / "page.html"
"""In `.dvc/`. It is made anew from the installed library, not committed."""

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
    ask_dvc(checkout, "config", "--local", "plots.html_template", str(PAGE))


def _vega() -> str:
    try:
        import vl_convert  # noqa: PLC0415  # half a second that no other command needs
    except ImportError:
        raise UserError("Vega is not installed; install selectq[pipeline], or run `make setup`") from None
    return vl_convert.javascript_bundle("window.vegaEmbed = vegaEmbed;", VEGA_LITE)
