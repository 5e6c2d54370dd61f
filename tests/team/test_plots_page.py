"""`dvc plots show` draws every chart in a real browser that reaches no network."""

import re
import shutil
import subprocess
from pathlib import Path

import pytest
import yaml
from trivial_pipeline import CHECKOUT, Repository

DRAWN = ("dvc.yaml", "params.yaml", "dvc.lock", "plots", "profiles", ".dvc/plots")

NARROW = 500
"""Pixels: no headless Chromium has a narrower window."""


@pytest.fixture
def charts(tmp_path: Path) -> Repository:
    """The checkout's plots, with nothing but what `dvc plots show` reads."""
    for name in DRAWN:
        source, target = CHECKOUT / name, tmp_path / name
        target.parent.mkdir(parents=True, exist_ok=True)
        if source.is_dir():
            shutil.copytree(source, target, ignore=shutil.ignore_patterns("page.html"))
        else:
            shutil.copy(source, target)
    repository = Repository(tmp_path)
    repository.write(".dvc/config", "[core]\n    no_scm = true\n")
    return repository


def document(repository: Repository, browser: str, width: int) -> str:
    """The page of `dvc plots show` as the browser has it in a window of so many pixels."""
    shown = repository.dvc("plots", "show", "--out", "shown")
    assert shown.returncode == 0, shown.stderr
    page = repository.root / "shown" / "index.html"
    options = ["--headless", "--no-sandbox", "--disable-gpu", "--virtual-time-budget=20000", "--dump-dom"]
    offline = "--host-resolver-rules=MAP * ~NOTFOUND"
    profile = f"--user-data-dir={repository.root / 'browser'}"
    command = [browser, *options, offline, profile, f"--window-size={width},800", page.as_uri()]
    return subprocess.run(command, capture_output=True, text=True, check=True, timeout=120).stdout


def titles(page: str) -> set[str]:
    """Of the charts that are drawn."""
    return set(re.findall(r"aria-label=\"Title text '([^']+)'", page))


@pytest.fixture
def browser() -> str:
    found = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
    if found is None:
        pytest.skip("there is no Chromium here")
    return found


def test_every_chart_is_drawn_without_a_network(charts: Repository, browser: str) -> None:
    assert titles(document(charts, browser, 1280)) == set(), "DVC's own page needs a network"
    installed = charts.selectq("plots-page")
    assert installed.returncode == 0, installed.stderr
    wanted = {title for plot in yaml.safe_load(charts.read("dvc.yaml"))["plots"] for title in plot}
    assert wanted <= titles(document(charts, browser, 1280))


def test_no_chart_is_wider_than_a_narrow_window(charts: Repository, browser: str) -> None:
    assert charts.selectq("plots-page").returncode == 0
    page = document(charts, browser, NARROW)
    widths = [float(width) for width in re.findall(r'<svg[^>]* width="([\d.]+)"', page)]
    assert titles(page) and max(widths) <= NARROW


def test_page_fetches_nothing(charts: Repository) -> None:
    assert charts.selectq("plots-page").returncode == 0
    page = charts.read(".dvc/plots/page.html")
    assert "<script src" not in page and "<link" not in page and "{plot_divs}" in page
