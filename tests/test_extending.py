"""The examples of docs/extend.md, carried out as they are written."""

import importlib
import re
import runpy
import shutil
import sys
import tomllib
from collections.abc import Iterator
from pathlib import Path

import pandas as pd
import pytest
import torch
from known_networks import alive
from pipeline_deps import read_stages, used_sources
from small_networks import (
    CLASSES,
    IMAGE_SIZE,
    calibration,
    checkpoint,
    coloured_dataset,
    float_images,
    scheme,
    trained,
)

from selectq.config.algorithms import ALGORITHMS
from selectq.config.configs import PtqConfig
from selectq.config.load import validate
from selectq.errors import UserError
from selectq.networks.build import build_network
from selectq.networks.checkpoint import Fp32Checkpoint
from selectq.ptq.pipeline import ptq_pipeline
from selectq.quantization.quantized import write_quantized
from selectq.quantization.scopes import check_network
from selectq.study import Study, study_parameters

CHECKOUT = Path(__file__).resolve().parents[1]
TEXT = (CHECKOUT / "docs" / "extend.md").read_text(encoding="utf-8")
SCREEN = 50
NAMES = ("clip_outliers",)


def ptq_config(*names: str) -> PtqConfig:
    return PtqConfig(scheme().weights, scheme().activations, calibration(), names)


def blocks(language: str) -> dict[str, str]:
    """The code blocks in a language that begin with the name of their file, without that line."""
    found = re.findall(rf"```{language}\n(?:#|---) ([^\n]+)\n(.*?)```", TEXT, re.DOTALL)
    assert len(dict(found)) == len(found)
    return dict(found)


def applied(diff: str, text: str) -> str:
    """A text with a diff's edits; each stands in it once."""
    for hunk in diff.split("@@\n"):
        lines = hunk.splitlines(keepends=True)
        old, new = ("".join(line[1:] for line in lines if line[0] in f" {sign}") for sign in "-+")
        assert text.count(old) == 1, old
        text = text.replace(old, new)
    return text


def test_examples_are_no_longer_than_a_screen() -> None:
    sections = re.split(r"^## ", TEXT, flags=re.MULTILINE)
    code = ["".join(re.findall(r"```.*?```", section, re.DOTALL)).count("\n") for section in sections]
    assert max(code) <= SCREEN and sum(map(bool, code)) > 6


@pytest.fixture
def checkout(tmp_path: Path) -> Path:
    """What the examples add to."""
    shutil.copytree(CHECKOUT / "profiles", tmp_path / "profiles")
    shutil.copytree(CHECKOUT / "stages", tmp_path / "stages")
    (tmp_path / "src").symlink_to(CHECKOUT / "src")
    for name in ("params.yaml", "dvc.yaml"):
        shutil.copy(CHECKOUT / name, tmp_path)
    return tmp_path


def test_network_is_quantized(checkout: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(checkout)
    profile = blocks("yaml")["profiles/blocks.yaml"]
    for name, text in {"blocks.py": blocks("python")["blocks.py"], "profiles/blocks.yaml": profile}.items():
        Path(name).write_text(text)
    unknown = validate(study_parameters(Study(Path(), "blocks")), "example")
    with pytest.raises(UserError, match=r"^model\.network: no hash") as refused:
        build_network(unknown.model, 3)
    digest = str(refused.value).rpartition("network_sha256: ")[2]
    Path("profiles/blocks.yaml").write_text(profile.replace("null # the first run says what to write here", digest))

    params = validate(study_parameters(Study(Path(), "blocks")), "example")
    torch.manual_seed(0)
    model = build_network(params.model, len(CLASSES)).double()
    check_network(model, params)
    alive(model, IMAGE_SIZE)
    fp32 = Fp32Checkpoint(model.float().eval(), params.model, CLASSES)
    network = ptq_pipeline(fp32, coloured_dataset(), ptq_config("equalize"), seed=0)
    assert {layer.kind for layer in network.layers()} == {"stem", "expansion", "depthwise", "projection", "classifier"}
    x = float_images(20, seed=1)
    with torch.no_grad():
        assert (network(x) - model(x)).norm() < 0.2 * model(x).norm()


@pytest.fixture
def installed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """The package of the PTQ algorithm, as pip leaves it."""
    for name, text in blocks("python").items():
        if name.startswith("my_package/"):
            (tmp_path / name).parent.mkdir(exist_ok=True)
            (tmp_path / name).write_text(text)
    groups = tomllib.loads(blocks("toml")["my_package's pyproject.toml"])["project"]["entry-points"]
    points = [
        f"[{group}]\n" + "".join(f"{name} = {at}\n" for name, at in each.items()) for group, each in groups.items()
    ]
    (tmp_path / "my_package-1.dist-info").mkdir()
    (tmp_path / "my_package-1.dist-info" / "METADATA").write_text(
        "Metadata-Version: 2.1\nName: my-package\nVersion: 1\n"
    )
    (tmp_path / "my_package-1.dist-info" / "entry_points.txt").write_text("\n".join(points))
    monkeypatch.syspath_prepend(tmp_path)
    importlib.invalidate_caches()
    vars(ALGORITHMS).pop("_offered", None)
    yield
    vars(ALGORITHMS).pop("_offered", None)
    for name in [name for name in sys.modules if name.startswith("my_package")]:
        del sys.modules[name]


def test_ptq_algorithm_acts(installed: None) -> None:
    plain, clipped = (ptq_pipeline(trained(), coloured_dataset(), ptq_config(*names), 0) for names in ((), NAMES))
    pairs = list(zip(plain.layers(), clipped.layers(), strict=True))
    shrunk = [one.weight.abs().max() > 1.05 * other.weight.abs().max() for one, other in pairs]
    assert any(shrunk)
    assert all(one.weight.abs().max() >= other.weight.abs().max() - 1e-6 for one, other in pairs)


def test_stage_runs_and_depends_on_what_it_uses(checkout: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    script, entry = blocks("python")["stages/zeros.py"], blocks("diff")["dvc.yaml"]
    (checkout / "stages" / "zeros.py").write_text(script)
    (checkout / "dvc.yaml").write_text(applied(entry, (checkout / "dvc.yaml").read_text()))
    stage = read_stages(checkout)["zeros"]
    used = {path.split("/")[2] for path in used_sources(checkout, stage.script)}
    assert {source.split("/")[2] for source in stage.sources} == used

    monkeypatch.chdir(checkout)
    monkeypatch.syspath_prepend(checkout / "stages")
    monkeypatch.setattr(sys, "argv", ["zeros", "--name", "tensor"])
    write_quantized(Path("models/quantized/tensor.safetensors"), checkpoint(scheme(8, "tensor"), "tensor"))
    runpy.run_path("stages/zeros.py")["main"]()
    found = pd.read_csv("metrics/zeros/tensor.csv")
    assert set(found["config"]) == {"tensor"} and len(found) == 53
    assert found["zero_pct"].between(0, 60).all() and found["zero_pct"].max() > 0.5


def test_column_s_edits_fit_the_code() -> None:
    for file in ("stages/calibration.py", "src/selectq/statistics/schemas.py"):
        compile(applied(blocks("diff")[file], (CHECKOUT / file).read_text()), file, "exec")
