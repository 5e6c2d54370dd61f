"""The models that dvc.yaml registers are those that the parameters ship, each in every format."""

from pathlib import Path
from typing import Any

import pytest
import yaml
from dvc.repo import Repo
from dvc.repo.artifacts import name_is_compatible
from dvc.schema import SINGLE_ARTIFACT_SCHEMA
from pipeline_deps import expand_stages

from selectq.config.load import load_params, read_yaml

CHECKOUT = Path(__file__).resolve().parents[2]
PARAMS = load_params(CHECKOUT / "params.yaml")
SHIPPED = {f"{name.replace('_', '-')}-{format_}": (name, format_) for name in PARAMS.ship for format_ in PARAMS.formats}


@pytest.fixture(scope="module")
def artifacts() -> dict[str, Any]:
    return yaml.safe_load((CHECKOUT / "dvc.yaml").read_text())["artifacts"]


def test_every_shipped_file_is_registered_and_nothing_else(artifacts: dict[str, Any]) -> None:
    paths = {name: f"models/int8/{config}/{config}.{format_}" for name, (config, format_) in SHIPPED.items()}
    assert {name: artifact["path"] for name, artifact in artifacts.items()} == paths


def test_registered_files_and_cards_are_outputs_of_stages(artifacts: dict[str, Any]) -> None:
    stages = expand_stages(CHECKOUT, read_yaml(CHECKOUT / "params.yaml")).values()
    outputs = {path for stage in stages for path in stage.outputs}
    for name, artifact in artifacts.items():
        path = Path(artifact["path"])
        assert {path.as_posix(), path.parent.as_posix()} & outputs, name
        assert {artifact["meta"]["card"], artifact["meta"]["metrics"]} <= outputs, name


def test_each_says_what_it_is(artifacts: dict[str, Any]) -> None:
    for name, artifact in artifacts.items():
        config, format_ = SHIPPED[name]
        assert artifact["type"] == "model", name
        assert artifact["labels"] == ["int8", "mobilenet_v2", format_], name
        assert artifact["meta"] == {
            "configuration": config,
            "card": f"results/cards/{config}.md",
            "metrics": f"metrics/int8/{config}.json",
        }, name
        assert artifact["desc"], name


def test_dvc_takes_them(artifacts: dict[str, Any], tmp_path: Path) -> None:
    SINGLE_ARTIFACT_SCHEMA(artifacts)
    assert all(map(name_is_compatible, artifacts))
    assert not name_is_compatible("dwpw_asym.onnx"), "a file's name is none of an artifact"
    (tmp_path / ".dvc").mkdir()
    (tmp_path / ".dvc" / "config").write_text("[core]\n    no_scm = true\n    analytics = false\n")
    (tmp_path / "dvc.yaml").write_text(yaml.safe_dump({"artifacts": artifacts}))
    found = Repo(tmp_path).artifacts.read()["dvc.yaml"]
    assert {name: artifact.path for name, artifact in found.items()} == {
        name: artifact["path"] for name, artifact in artifacts.items()
    }
