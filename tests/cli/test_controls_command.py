"""`selectq controls`: what it prints is a valid profile, and what an archived study was made of."""

from pathlib import Path

import pytest
import yaml
from brightest import Command

from selectq.config.load import overlay, read_yaml, validate
from selectq.study import Study, study_parameters


def test_archived_study_was_of_the_scopes_that_the_command_prints(checkout: Path, here: Path, selectq: Command) -> None:
    archived = read_yaml(checkout / "results/archive/controls/params.yaml")
    (here / "profiles").mkdir()
    (here / "dvc.yaml").touch()
    (here / "params.yaml").write_text(yaml.safe_dump(study_parameters(Study(checkout, "skewed"))))
    printed = yaml.safe_load(selectq("controls", "dw", "dwpw", "--count", 2, "--seed", 0).out)["qat"]
    random = {name: entry for name, entry in printed.items() if "random" in name}
    assert len(random) == 4
    assert {name: archived["qat"][name]["scope"] for name in random} == {
        name: entry["scope"] for name, entry in random.items()
    }


def test_printed_entries_are_a_profile(checkout: Path, selectq: Command, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(checkout)
    document = read_yaml(checkout / "params.yaml")
    printed = yaml.safe_load(selectq("controls", "dwpw_asym", "--count", 1, "--seed", 7).out)
    params = validate(overlay(document, printed), "merged")
    original, control = params.qat["dwpw_asym"], params.qat["dwpw_asym_random1"]
    assert control.scope != original.scope and control.scope[-1] == "classifier"
    assert (control.weights, control.activations, control.lr) == (original.weights, original.activations, original.lr)
    assert params.convert[-1] == "dwpw_asym_random1"


def test_unknown_name(checkout: Path, selectq: Command, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(checkout)
    assert selectq.refusal("controls", "absent").startswith("--name absent: no such configuration under qat")
