"""`dvc plots show` draws every chart in a real browser that reaches no network."""

import re
import shutil
import subprocess

import pytest
import yaml
from trivial_pipeline import CHECKOUT, Repository

from selectq.team.plots_page import install_plots_page

DRAWN = ("dvc.yaml", "params.yaml", "dvc.lock", "plots", "profiles", "src/selectq/report/plots")

NARROW = 500
"""Pixels: no headless Chromium has a narrower window."""


@pytest.fixture(scope="module")
def charts(tmp_path_factory: pytest.TempPathFactory) -> Repository:
    """The checkout's plots, with nothing but what `dvc plots show` reads, and its page."""
    repository = Repository(tmp_path_factory.mktemp("plots"))
    for name in DRAWN:
        source, target = CHECKOUT / name, repository.root / name
        target.parent.mkdir(parents=True, exist_ok=True)
        if source.is_dir():
            shutil.copytree(source, target)
        else:
            shutil.copy(source, target)
    repository.write(".dvc/config", "[core]\n    no_scm = true\n")
    install_plots_page(repository.root)
    shown = repository.dvc("plots", "show", "--out", "shown")
    assert shown.status == 0, shown.err
    return repository


def drawn(charts: Repository, width: int) -> str:
    """The page as a browser that reaches no network has it, in a window of so many pixels."""
    browser = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
    if browser is None:
        pytest.skip("there is no Chromium here")
    options = ["--headless", "--no-sandbox", "--disable-gpu", "--virtual-time-budget=20000", "--dump-dom"]
    offline = "--host-resolver-rules=MAP * ~NOTFOUND"
    profile = f"--user-data-dir={charts.root / 'browser'}"
    page = (charts.root / "shown" / "index.html").as_uri()
    command = [browser, *options, offline, profile, f"--window-size={width},800", page]
    return subprocess.run(command, capture_output=True, text=True, check=True, timeout=120).stdout


def titles(page: str) -> set[str]:
    """Of the charts that are drawn."""
    return set(re.findall(r"aria-label=\"Title text '([^']+)'", page))


@pytest.mark.slow
def test_every_chart_is_drawn_without_a_network_and_fits_into_a_narrow_window(charts: Repository) -> None:
    page = drawn(charts, NARROW)
    wanted = {title for plot in yaml.safe_load(charts.read("dvc.yaml"))["plots"] for title in plot}
    assert wanted <= titles(page)
    assert max(float(width) for width in re.findall(r'<svg[^>]* width="([\d.]+)"', page)) <= NARROW


def test_page_fetches_nothing(charts: Repository) -> None:
    page = charts.read("shown/index.html")
    assert "<script src" not in page and "<link" not in page and "<h1>Plots</h1>" in page
