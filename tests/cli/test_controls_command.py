"""`selectq controls`: what it prints is a valid profile, and what the committed one holds."""

from pathlib import Path

import pytest
import yaml
from brightest import Command

from selectq.config.load import overlay, read_yaml, validate
from selectq.study import Study, study_parameters


def test_committed_profile_holds_what_the_command_prints(checkout: Path, here: Path, selectq: Command) -> None:
    base = study_parameters(Study(checkout, "skewed"))
    (here / "profiles").mkdir()
    (here / "dvc.yaml").touch()
    (here / "params.yaml").write_text(yaml.safe_dump(base))
    printed = yaml.safe_load(selectq("controls", "dw", "dwpw", "--count", 2, "--seed", 0).out)
    profile = read_yaml(checkout / "profiles/controls.yaml")
    left_out = {"proj": "projection", "exp": "expansion", "dwexp": "depthwise expansion"}
    assert {name: entry["scope"] for name, entry in profile["qat"].items() if name in left_out} == {
        name: [*kinds.split(), "classifier"] for name, kinds in left_out.items()
    }
    others = {*left_out, "last_third", "full_asym"}
    assert {name: profile["qat"][name] for name in printed["qat"]} == printed["qat"]
    kept = [name for name in printed["convert"] if name not in profile["ptq"]]
    assert sorted(profile["convert"]) == sorted({*kept, *others})


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
