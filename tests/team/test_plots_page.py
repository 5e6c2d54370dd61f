"""`dvc plots show` draws every chart in a real browser that reaches no network."""

import re
import shutil
import subprocess
from pathlib import Path

import pytest
import yaml
from trivial_pipeline import CHECKOUT, Repository

DRAWN = ("dvc.yaml", "params.yaml", "dvc.lock", "plots", "profiles", ".dvc/plots")


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


def drawn(repository: Repository, browser: str) -> list[str]:
    """The titles of the charts that the browser draws on the page of `dvc plots show`."""
    shown = repository.dvc("plots", "show", "--out", "shown")
    assert shown.returncode == 0, shown.stderr
    page = repository.root / "shown" / "index.html"
    options = ["--headless", "--no-sandbox", "--disable-gpu", "--virtual-time-budget=20000", "--dump-dom"]
    offline = "--host-resolver-rules=MAP * ~NOTFOUND"
    profile = f"--user-data-dir={repository.root / 'browser'}"
    command = [browser, *options, offline, profile, page.as_uri()]
    document = subprocess.run(command, capture_output=True, text=True, check=True, timeout=120).stdout
    return re.findall(r"aria-label=\"Title text '([^']+)'", document)


@pytest.fixture
def browser() -> str:
    found = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
    if found is None:
        pytest.skip("there is no Chromium here")
    return found


def test_every_chart_is_drawn_without_a_network(charts: Repository, browser: str) -> None:
    assert drawn(charts, browser) == [], "DVC's own page needs a network"
    installed = charts.selectq("plots-page")
    assert installed.returncode == 0, installed.stderr
    wanted = yaml.safe_load(charts.read("dvc.yaml"))["plots"]
    titles = [title for plot in wanted for title in plot]
    assert set(titles) <= set(drawn(charts, browser)) and len(titles) >= 6


def test_page_fetches_nothing(charts: Repository) -> None:
    assert charts.selectq("plots-page").returncode == 0
    page = charts.read(".dvc/plots/page.html")
    assert "<script src" not in page and "<link" not in page and "{plot_divs}" in page
